"""The doors, led by coverage: Atheris chooses the inputs that reach new lines.

    pip install atheris
    python tests/fuzz/with_atheris.py onnx_model -max_total_time=600

The words behind the door are libFuzzer's. An input that is a finding is kept in a file crash-..., with which the same
command repeats it.
"""

import sys
from random import Random

import atheris

# Before Atheris changes what is imported: Numba can't compile what it has changed.
import fastmlp

with atheris.instrument_imports(include=["fastmlp", "h5py", "onnx", "zipfile"], exclude=["fastmlp.kernels"]):
    import doors_data  # noqa: F401 - registers doors
    import doors_descriptions  # noqa: F401
    import doors_files  # noqa: F401
    import harness

    import fastmlp.callbacks.backup_and_restore
    import fastmlp.saving.keras_files
    import fastmlp.saving.native
    import fastmlp.saving.onnx_reader
    import fastmlp.saving.torch_files
    import fastmlp.tables  # noqa: F401


class Choices(Random):
    """A Random whose draws are the bytes of an input, and those of a plain one where they end."""

    def __init__(self, data: bytes):
        super().__init__(len(data))
        self._given = atheris.FuzzedDataProvider(data)

    def getrandbits(self, bits: int) -> int:
        """What all draws of whole numbers come from."""
        if self._given.remaining_bytes() * 8 < bits:
            return super().getrandbits(bits)
        return self._given.ConsumeIntInRange(0, 2**bits - 1) if bits <= 63 else super().getrandbits(bits)

    def random(self) -> float:
        """A number from 0 to below 1."""
        return self.getrandbits(30) / 2**30


def main() -> None:
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in harness.DOORS:
        sys.exit(f"{__doc__}\ndoors: {', '.join(harness.DOORS)}")

    def one(data: bytes) -> None:
        found = harness.try_with(name, data.hex(), Choices(data))
        if found is not None:
            raise AssertionError(str(found))

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
