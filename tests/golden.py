"""Small trainings whose weights have the same bits for ever: their digests are in golden.json.

Data, weights and learning rates are given by formulas, so that the digests tell of the kernels alone; what the seed
draws has a digest of its own. Each is a SHA-256 of the parameters behind the training, in the order of get_weights.

A digest belongs to an architecture and its vectors, "x86_64 avx512f". The kernels are compiled without fastmath, with
vectors and fused multiply-adds that are written out, and of the system's mathematics they call square roots only, which
are rounded correctly. So no digest should depend on the version of Numba, LLVM or NumPy, on the number of threads, on
the operating system, or on what ran before in the process: their names are in no key, and a digest that changes with
one of them is worth a look. What is left to others is whether LLVM fuses a multiplication with an addition, which it
does wherever the machine can; the power of a double in the first steps of Adam and its relatives; and NumPy's generator
in "drawn". AVX-512 and AVX2 have the same digests, since a vector of the kernels is a cache line on both.

A digest may change on purpose, when a kernel sums in another order or an initializer draws otherwise. Then users get
other bits from the same seed: a line in CHANGELOG.md says so.

    python tests/golden.py      the line of this machine for golden.json; that of AVX2 or SSE2 with NUMBA_CPU_NAME and
                                NUMBA_CPU_FEATURES as in .ci/run
"""

import hashlib
import json
import platform
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp import layers, optimizers
from fastmlp.kernels._jit import VECTORS

FILE = Path(__file__).with_name("golden.json")


def key():
    """What this machine's digests are kept under."""
    return f"{platform.machine()} {VECTORS}"


def formula(*shape, dtype=np.float32):
    """Numbers between -1 and 1, of a generator that any language has: s = (16807 s) mod (2^31 - 1), from 1."""
    values, state = np.empty(int(np.prod(shape))), 1
    for i in range(values.size):
        state = 16807 * state % (2**31 - 1)
        values[i] = state / 2**30 - 1
    return values.reshape(shape).astype(dtype)


def pixels():
    """Rows of 400 bytes of which nine out of ten are 0."""
    return np.maximum(1280 * formula(150, 400) - 1024, 0).astype(np.uint8)


def digest(arrays):
    """SHA-256 of the bytes, little end first."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return made.hexdigest()


def trained(optimizer, *hidden, dtype="float32", loss="sparse_categorical_crossentropy", last="softmax", x=None):
    """The digest of a net behind three epochs of 150 samples, the last batch short."""
    x, numbers = formula(150, 19) if x is None else x, formula(150, 5)
    model = fastmlp.Sequential([layers.Input(x.shape[1:]), *hidden, layers.Dense(5, activation=last)], dtype=dtype)
    model.compile(optimizer, loss, ["accuracy"] if last == "softmax" else ["mae"])
    for weights in model.trainable_weights:
        weights[...] = formula(*weights.shape, dtype=dtype) / np.sqrt(weights.shape[0]).astype(dtype)
    y = numbers.argmax(axis=1) if last == "softmax" else numbers
    model.fit(x, y, batch_size=32, epochs=3, shuffle=False, verbose=0)
    return digest(model.get_weights())


def drawn():
    """The digest of what the seed draws: initial weights, and the order of samples."""
    fastmlp.set_random_seed(7)
    kinds = ("glorot_uniform", "he_normal")
    model = fastmlp.Sequential([layers.Input((6,)), *(layers.Dense(6, kernel_initializer=kind) for kind in kinds)])
    return digest([*model.get_weights(), fastmlp.random.generator().permutation(1000)])


JOBS = {
    "sgd sigmoid": lambda: trained(
        optimizers.SGD(0.1), layers.Dense(16, activation="sigmoid"), layers.Dense(8, "tanh")
    ),
    "sgd relu float64": lambda: trained(optimizers.SGD(0.1), layers.Dense(33, activation="relu"), dtype="float64"),
    "nesterov dropout": lambda: trained(
        optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        layers.Dense(24, activation="relu"),
        layers.Dropout(0.3, seed=5),
    ),
    "adam batch normalization": lambda: trained(
        optimizers.Adam(0.01), layers.Dense(20), layers.BatchNormalization(), layers.ReLU()
    ),
    "adamw gelu": lambda: trained(optimizers.AdamW(0.01), layers.Dense(17, activation="gelu")),
    "rmsprop values": lambda: trained(
        optimizers.RMSprop(0.01), layers.Dense(12, activation="silu"), loss="mean_squared_error", last="linear"
    ),
    "wide": lambda: trained(optimizers.SGD(0.1), layers.Dense(300, activation="relu"), x=formula(150, 200)),
    "sparse pixels": lambda: trained(
        optimizers.SGD(0.01), layers.Rescaling(1 / 255), layers.Dense(40, activation="tanh"), x=pixels()
    ),
    "drawn": drawn,
}


def digests():
    """All of them, on this machine."""
    return {name: job() for name, job in JOBS.items()}


if __name__ == "__main__":
    print(f"{json.dumps(key())}: {json.dumps(digests(), indent=2)}")
