"""The training jobs: a net, its data and the batch; plain SGD, softmax and cross-entropy, in float32."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Job:
    """A training job.

    Attributes:
        units: Inputs, then the units of each layer; softmax follows the last.
        activation: Of the hidden layers, "sigmoid" or "relu".
        batch: Rows of a step.
        raw: Whether the digits are their uint8 pixels from 0 to 255, four fifths of which are zero; else they are
            float32 of at most one, without zeros.
        rows: Rows in all, the last fifth of which is held out; None takes all there are.
    """

    units: tuple[int, ...]
    activation: str
    batch: int
    raw: bool = False
    rows: int | None = None

    @property
    def title(self) -> str:
        """What tables call it."""
        data = "raw pixels" if self.raw else "float32 without zeros"
        return f"{'-'.join(map(str, self.units))} {self.activation}, batch {self.batch}, {data}"

    @property
    def sample_operations(self) -> int:
        """Floating-point operations of a sample's way forward, dense."""
        return 2 * sum(k * m for k, m in pairwise(self.units))

    def epoch_operations(self, rows: int, validation_rows: int) -> int:
        """Those of an epoch: three products for training, but no gradient of the input, and one for validation."""
        return rows * (3 * self.sample_operations - 2 * self.units[0] * self.units[1]) + (
            validation_rows * self.sample_operations
        )

    def with_rows(self, rows: int | None) -> Job:
        """The same on so many rows."""
        return replace(self, rows=rows)

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The initial weights and biases of every layer, the same for all peers."""
        rng = np.random.default_rng(0)
        pairs = []
        for k, m in pairwise(self.units):
            limit = np.sqrt(6 / (k + m))
            pairs.append((rng.uniform(-limit, limit, (k, m)).astype(np.float32), np.zeros(m, np.float32)))
        return pairs

    def load(self) -> Data:
        """The job's rows."""
        x, y = load_digits()
        x, y = x[: self.rows], y[: self.rows]
        if not self.raw:
            x = (x.astype(np.float32) + 1) / 256
        at = int(len(x) * 0.8)
        return Data(x[:at], y[:at], x[at:], y[at:])


@dataclass(frozen=True)
class Data:
    """Rows (n, k) and class indices (n,) for training, and others for validation."""

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray

    def floats(self) -> tuple[np.ndarray, np.ndarray]:
        """x and x_val as float32, for libraries that want floats: converted before the clock starts."""
        return self.x.astype(np.float32), self.x_val.astype(np.float32)


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's training images as rows (60000, 784) and their classes; without a network, the printed digits."""
    from fastmlp.datasets import mnist, printed_digits

    try:
        (x, y), _ = mnist.load_data()
    except OSError:
        print("MNIST is not here: the printed digits stand in for it", file=sys.stderr)
        (x, y), _ = printed_digits.load_data()
    return x.reshape(len(x), -1), y.astype(np.int32)


JOBS = {
    "seed": Job((784, 16, 8, 10), "sigmoid", 32, raw=True),
    "seed-dense": Job((784, 16, 8, 10), "sigmoid", 32),
    "128": Job((784, 128, 128, 10), "relu", 32),
    "256": Job((784, 256, 256, 10), "relu", 128),
    "1024": Job((784, 1024, 1024, 10), "relu", 128),
    "1024-512": Job((784, 1024, 1024, 10), "relu", 512),
}
