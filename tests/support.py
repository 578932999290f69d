"""What tests share: types and sizes, tiny kernels, networks as Python hands them over, Keras in float64."""

import contextlib
import copy
import errno
import hashlib
import importlib
import inspect
import os
from dataclasses import dataclass

import numpy as np
import pytest
import reference
import twins

from fastmlp import losses, optimizers, threads, training
from fastmlp import plan as plans
from fastmlp.kernels import epoch
from fastmlp.kernels._jit import JIT, kernel
from fastmlp.kernels.plan import Data, Plan, Scratch, aligned_zeros, padded
from fastmlp.layers import Dense, stages_of

DTYPES = [np.float32, np.float64]


def some(full, few):
    """The full set of cases where kernels are compiled, a few where they run as plain Python, 1000x slower."""
    return full if JIT else few


#: Around the lanes of a vector and the heights of a tile.
SIZES = some((1, 2, 3, 7, 16, 17, 33), (1, 2, 7, 16, 17, 33))

compiled_only = pytest.mark.skipif(not JIT, reason="says something about machine code only")

posix_only = pytest.mark.skipif(os.name != "posix", reason="owners, modes, links and signals of POSIX")


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
    """A network with random weights, laid out as the models do it, and an optimizer of fastmlp.optimizers."""

    layers: list
    layout: plans.Layout
    plan: Plan
    theta: np.ndarray
    slots: np.ndarray
    optimizer: optimizers.Optimizer
    loss: losses.Loss
    metrics: tuple
    adjustments: training.Adjustments | None

    @property
    def weights(self):
        """Of every stage the list of its arrays, as views of theta."""
        return [self.layout.views(self.theta, i) for i in range(len(self.layout.stages))]

    @property
    def padding(self):
        """Whether each element of theta is in no array."""
        mask = np.ones(self.theta.size, bool)
        for i in range(len(self.layout.stages)):
            for view in self.layout.views(mask, i):
                view[...] = False
        return mask

    def slot(self, array):
        """The same place of the optimizer's first state as `array`, a view of theta, has there."""
        start = (array.ctypes.data - self.theta.ctypes.data) // self.theta.itemsize
        return np.lib.stride_tricks.as_strided(self.slots[start:], array.shape, array.strides)

    def draw(self, i, stage, n, key=0):
        """What the twin of stage i draws in a step."""
        return reference.drawn(stage, n, int(self.layout.tables["row"][i + 1]), key, self.theta.dtype.type)

    def scratch(self, capacity, team=1, train=True, weighted=False) -> Scratch:
        partial = self.adjustments.partial if self.adjustments else 0
        return plans.scratch(self.layout, capacity, team, len(self.metrics), swept=train and not self.plan.direct,
                             train=train, weighted=weighted, partial=partial)  # fmt: skip

    def train(self, data: Data, order, batch_size, *, cuts=(), team=1, capacity=None):
        """One epoch in slices that end at the cuts; returns the totals: loss, metrics, weights."""
        steps = -(-len(order) // batch_size)
        totals, rates = np.zeros(2 + len(self.metrics)), self.optimizer.rates(steps)
        scratch, hyper = self.scratch(capacity or batch_size, team, weighted=data.weights.size > 0), self.hyper
        for first, last in zip((0, *cuts), (*cuts, steps)):
            self._run(hyper, rates, data, order, batch_size, first, last, scratch, totals, self._outputs(0), True, team)
        self.optimizer.iterations += steps
        return totals

    def infer(self, data: Data, order, *, capacity, team=1, scored=True, wanted=True):
        """Sums of the losses and of each metric, and output of the samples."""
        totals = np.zeros(2 + len(self.metrics) if scored else 0)
        out = self._outputs(len(order) if wanted else 0)
        steps, scratch = -(-len(order) // capacity), self.scratch(capacity, team, False, data.weights.size > 0)
        rates = self.optimizer.rates(steps)
        self._run(self.hyper, rates, data, order, capacity, 0, steps, scratch, totals, out, False, team)
        return totals, out

    @property
    def hyper(self):
        return self.optimizer.hyper()

    def _outputs(self, n):
        return np.full((n, self.layout.outputs), np.nan, self.theta.dtype)

    def _run(self, hyper, rates, data, order, batch_size, first, last, scratch, totals, out, training, team):
        threads.run(
            epoch.run, team, scratch.sync, self.plan, self.theta, self.slots, hyper, rates,
            data, order, batch_size, first, last, scratch, totals, out, training,
        )  # fmt: skip


def network(
    inputs, *layers, loss="mean_squared_error", metrics=(), optimizer=None, dtype=np.float64, seed=0
) -> Network:  # fmt: skip
    """Layers of fastmlp.layers, or (units, activation, use_bias) for a dense one; SGD(0.1) if no optimizer is given.

    Layers are descriptions, of which copies are taken.
    """
    rng = np.random.default_rng(seed)
    layers = [Dense(*layer) if isinstance(layer, tuple) else copy.copy(layer) for layer in layers]
    layout = plans.layout(inputs, stages_of(layers, inputs), np.dtype(dtype))
    theta = aligned_zeros(layout.size, dtype)
    for i, layer in enumerate(layers):
        layer.attach([v for j, stage in enumerate(layout.stages) if stage.owner == i for v in layout.views(theta, j)])
        for name, view in ((variable.name, variable.view) for variable in layer.variables):
            view[...] = rng.standard_normal(view.shape) / (np.sqrt(len(view)) if name == "kernel" else 2)
            view += name == "gamma"
            if "variance" in name:
                view[...] = rng.uniform(0.5, 2, view.shape)
    optimizer, loss = optimizers.get(optimizer or optimizers.SGD(0.1)), losses.get(loss)
    adjustments = training.adjustments(layers, theta, optimizer)
    plan = plans.plan(layout, loss.scoring(), [plans.Scoring(name) for name in metrics], optimizer.kernel_name,
                      adjust=adjustments, every=optimizer.every)  # fmt: skip
    slots = plans.slots(layout, optimizer.kernel_name, optimizer.slot_start)
    if optimizer.use_ema:
        slots = plans.joined(slots, np.zeros(layout.size, dtype))
    return Network(layers, layout, plan, theta, slots, optimizer, loss, tuple(metrics), adjustments)


def twin_of(optimizer) -> twins.Optimizer:
    """The plain version of an optimizer of fastmlp.optimizers."""
    config = optimizer.get_config()
    config.pop("name")
    shared = optimizers.Optimizer().get_config().keys() - {"name", "learning_rate"}
    features = {key: config.pop(key) for key in list(config) if key in shared}
    name = type(optimizer).__name__.lower()
    if name == "adamw":
        config["weight_decay"] = features.pop("weight_decay")
    return twins.Optimizer(name, config, features)


#: Losses that are for values above zero.
_POSITIVE = ("poisson", "mean_squared_logarithmic_error", "mean_absolute_percentage_error")


def samples(net: Network, n, *, kind="float", compress=False, train=True, weighted=False, seed=1):
    """Random samples and targets that fit the network: (x, y, Data). kind "uint8": mostly zero rows of pixels.

    x is what enters the first stage: times the layout's scale.
    """
    rng = np.random.default_rng(seed)
    k, m, dtype = net.layout.inputs, net.layout.outputs, net.theta.dtype
    if kind == "uint8":
        x = (rng.integers(1, 4, (n, k)) * (rng.random((n, k)) < 0.2)).astype(np.uint8)
    else:
        x = (rng.standard_normal((n, k)) * (rng.random((n, k)) < (0.2 if compress else 1))).astype(dtype)
    labels, name = rng.integers(0, m, n).astype(np.int32), net.loss.kernel_name
    if net.loss.sparse:
        y = labels
    elif net.loss.classes or name == "kl_divergence":
        y = np.eye(m, dtype=dtype)[labels]
    elif name.startswith("binary"):
        y = rng.integers(0, 2, (n, m)).astype(dtype)
    elif name.endswith("hinge"):
        y = rng.choice([-1, 1], (n, m)).astype(dtype)
    else:
        y = rng.standard_normal((n, m)).astype(dtype)
        y = np.abs(y) + dtype.type(0.5) if name in _POSITIVE else y
    labels, values = (labels, None) if net.loss.sparse else (y.argmax(axis=1).astype(np.int32), y)
    weights = rng.uniform(0.5, 2, n).astype(dtype) if weighted else None
    data = plans.data(net.layout, x, labels, values, weights, compress=compress, train=train)
    assert (data.starts.size > 0) == compress, "the rows are not as sparse as the test needs them"
    return (x * net.layout.scale if net.layout.scale != 1 else x), y, data


def full(*_, **__):
    """A call of the system on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """A file on a disk that is full when its method `where` is called; a write still gets its first bytes there."""

    def __init__(self, file, where):
        self._file, self._where = file, where

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()
        if self._where == "close":
            full()

    def write(self, content):
        if self._where == "write":
            self._file.write(content[:10])
            full()
        return self._file.write(content)

    def __getattr__(self, name):
        return full if name == self._where else getattr(self._file, name)
