"""What tests share: types and sizes, tiny kernels, networks as Python hands them over, Keras in float64."""

import contextlib
import hashlib
import importlib
import inspect
import os
from dataclasses import dataclass

import numpy as np
import pytest

from fastmlp import plan as plans
from fastmlp import threads
from fastmlp.kernels import epoch, optimizers
from fastmlp.kernels._jit import JIT, kernel
from fastmlp.kernels.plan import Data, Plan, Scratch, aligned_zeros, padded
from fastmlp.layers import Dense

DTYPES = [np.float32, np.float64]


def some(full, few):
    """The full set of cases where kernels are compiled, a few where they run as plain Python, 1000x slower."""
    return full if JIT else few


#: Around the lanes of a vector and the heights of a tile.
SIZES = some((1, 2, 3, 7, 16, 17, 33), (1, 2, 7, 16, 17, 33))

compiled_only = pytest.mark.skipif(not JIT, reason="says something about machine code only")


@contextlib.contextmanager
def keras_in_float64():
    """Keras on JAX in float64, so that formulas can be compared to the last digits; the test is skipped without it."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")
    jax = pytest.importorskip("jax")
    # It moved there from jax.experimental.
    module = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
    with module.enable_x64(True):
        yield keras


def small_kernel(function):
    """A kernel of a test file; the digest in its name keeps an edited one from being found in the disk cache."""
    function.__qualname__ += "_" + hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]
    return kernel(function)


def lanes(dtype):
    """Elements of a vector."""
    return 64 // np.dtype(dtype).itemsize


def whole_lines(count, dtype):
    """So many elements, filled up to whole lines."""
    return -(-count // lanes(dtype)) * lanes(dtype)


class Padded:
    """A matrix in rows of whole lines, behind `before` elements that belong to somebody else.

    What is kept in lanes is the transpose of the samples: Padded(x.T, ...).
    """

    def __init__(self, matrix, before, padding):
        self.shape, self.at, self.row = matrix.shape, before, padded(max(matrix.shape[1], 1), matrix.dtype)
        self.flat = aligned_zeros(before + self.shape[0] * self.row + lanes(matrix.dtype), matrix.dtype)
        self.flat[:] = 77
        self.rows[:] = padding
        self.matrix[:] = matrix
        self.start = self.flat.copy()

    @property
    def rows(self):
        return self.flat[self.at : self.at + self.shape[0] * self.row].reshape(self.shape[0], self.row)

    @property
    def matrix(self):
        return self.rows[:, : self.shape[1]]

    @property
    def place(self):
        return self.flat, self.at, self.row

    @property
    def last_line_padding(self):
        return self.rows[:, self.shape[1] : whole_lines(self.shape[1], self.flat.dtype)]

    def assert_untouched(self):
        np.testing.assert_array_equal(self.flat, self.start)

    def assert_only_written(self, rows, columns):
        """Nothing but the rows and columns of these slices has changed, bit by bit."""
        now, before = self.flat.copy(), self.start.copy()
        for flat in (now, before):
            flat[self.at : self.at + self.shape[0] * self.row].reshape(self.shape[0], self.row)[rows, columns] = 0
        assert now.tobytes() == before.tobytes()

    def assert_only_lines_written(self):
        """Nothing but the whole lines that the matrix fills has changed."""
        self.assert_only_written(slice(None), slice(whole_lines(self.shape[1], self.flat.dtype)))


@dataclass
class Network:
    """A network with random weights, laid out as the models do it."""

    layout: plans.Layout
    plan: Plan
    theta: np.ndarray
    slots: np.ndarray
    hyper: np.ndarray
    optimizer: str
    loss: str
    metrics: tuple
    use_bias: bool

    @property
    def weights(self):
        """[(w, b), ...] as views of theta."""
        return [self.layout.views(self.theta, layer) for layer in range(len(self.layout.activations))]

    @property
    def padding(self):
        """Whether each element of theta is padding."""
        mask = np.ones(self.theta.size, bool)
        for layer in range(len(self.layout.activations)):
            for view in self.layout.views(mask, layer):
                view[...] = False
        return mask

    def scratch(self, capacity, team=1, train=True) -> Scratch:
        return plans.scratch(self.layout, capacity, team, len(self.metrics), self.optimizer if train else None)

    def train(self, data: Data, order, batch_size, *, cuts=(), team=1, capacity=None):
        """One epoch in slices that end at the cuts; returns the totals."""
        steps = -(-len(order) // batch_size)
        totals = np.zeros(1 + len(self.metrics))
        scratch = self.scratch(capacity or batch_size, team)
        for first, last in zip((0, *cuts), (*cuts, steps)):
            self._run(data, order, batch_size, first, last, scratch, totals, self._outputs(0), True, team)
        return totals

    def infer(self, data: Data, order, *, capacity, team=1, scored=True, wanted=True):
        """Sums of the losses and of each metric, and output of the samples."""
        totals = np.zeros(1 + len(self.metrics) if scored else 0)
        out = self._outputs(len(order) if wanted else 0)
        steps, scratch = -(-len(order) // capacity), self.scratch(capacity, team, train=False)
        self._run(data, order, capacity, 0, steps, scratch, totals, out, False, team)
        return totals, out

    def _outputs(self, n):
        return np.full((n, self.layout.outputs), np.nan, self.theta.dtype)

    def _run(self, data, order, batch_size, first, last, scratch, totals, out, training, team):
        threads.run(
            epoch.run, team, scratch.sync, self.plan, self.theta, self.slots, self.hyper,
            data, order, batch_size, first, last, scratch, totals, out, training,
        )  # fmt: skip


def network(units, activations, *, loss="mean_squared_error", metrics=(), optimizer="sgd", learning_rate=0.1,
            momentum=0.9, dtype=np.float64, use_bias=True, seed=0) -> Network:  # fmt: skip
    """Units of the input and of every layer, and an activation for every layer."""
    rng = np.random.default_rng(seed)
    layers = [Dense(m, activation=name, use_bias=use_bias) for m, name in zip(units[1:], activations)]
    layout = plans.layout(units[0], layers, np.dtype(dtype))
    theta = aligned_zeros(layout.size, dtype)
    for layer, k in enumerate(units[:-1]):
        w, b = layout.views(theta, layer)
        w[...] = rng.standard_normal(w.shape) / np.sqrt(k)
        b[...] = rng.standard_normal(b.shape) * 0.5 * use_bias
    hyper = np.zeros(optimizers.HYPER_SIZE)
    hyper[optimizers.LEARNING_RATE], hyper[optimizers.MOMENTUM_RATE] = learning_rate, momentum
    plan = plans.plan(layout, loss, metrics, optimizer)
    return Network(layout, plan, theta, plans.slots(layout, optimizer), hyper, optimizer, loss, metrics, use_bias)


def samples(net: Network, n, *, kind="float", compress=False, train=True, seed=1):
    """Random samples and targets that fit the network: (x, y, Data). kind "uint8": mostly zero rows of pixels."""
    rng = np.random.default_rng(seed)
    k, m, dtype = net.layout.inputs, net.layout.outputs, net.theta.dtype
    if kind == "uint8":
        x = (rng.integers(1, 4, (n, k)) * (rng.random((n, k)) < 0.2)).astype(np.uint8)
    else:
        x = (rng.standard_normal((n, k)) * (rng.random((n, k)) < (0.2 if compress else 1))).astype(dtype)
    labels, targets = rng.integers(0, m, n).astype(np.int32), None
    if net.loss == "sparse_categorical_crossentropy":
        y = labels
    else:
        if net.loss == "mean_squared_error":
            y = rng.standard_normal((n, m)).astype(dtype)
        elif net.loss == "binary_crossentropy":
            y = rng.integers(0, 2, (n, m)).astype(dtype)
        else:
            y = np.eye(m, dtype=dtype)[labels]
        labels, targets = y.argmax(axis=1).astype(np.int32), y
    data = plans.data(net.layout, x, labels, targets, compress=compress, train=train)
    assert (data.starts.size > 0) == compress, "the rows are not as sparse as the test needs them"
    return x, y, data
