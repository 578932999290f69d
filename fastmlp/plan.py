"""From descriptions to the kernels' tables and buffers; the only place where names become codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .kernels import activations, losses, metrics, optimizers, sparse_input
from .kernels.plan import Data, Plan, Scratch, aligned_zeros, padded, panel_shape
from .kernels.team import SYNC_SIZE
from .layers import Dense

# Rows with fewer than this share of non-zero inputs are kept compressed. Below it every width gained: compressed and
# dense rows took the same time at a share of 0.65 (16 units), 0.45 (64), 0.34 (256) and 0.28 (1024).
SPARSE_BELOW = 0.3

# (loss, last activation) whose gradients cancel, so that the loss gives the one by z.
_JOINT = {
    ("categorical_crossentropy", "softmax"),
    ("sparse_categorical_crossentropy", "softmax"),
    ("binary_crossentropy", "sigmoid"),
}


# What a call without them gets: made once, since a call on one row takes no longer than making them.
_NO_STARTS, _NO_COLUMNS, _NO_LABELS = np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.int32)
_NO_TARGETS = {name: np.zeros((0, 0), name) for name in ("float32", "float64")}


@dataclass(frozen=True)
class Layout:
    """Where the parameters and activations of a network lie; see kernels/plan.py for the fields of `tables`."""

    tables: dict[str, np.ndarray]
    activations: tuple[str, ...]
    size: int
    dtype: np.dtype

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return int(self.tables["units"][-1])

    @property
    def inputs(self) -> int:
        """Numbers in a sample."""
        return int(self.tables["units"][0])

    @property
    def weights(self) -> int:
        """Multiplications of one sample's way forward."""
        units = self.tables["units"]
        return int((units[:-1] * units[1:]).sum())

    def step_operations(self, batch: int, inputs: float) -> float:
        """Floating-point operations of a training step; `inputs` is how many numbers of a sample are multiplied."""
        units = self.tables["units"]
        first = max(inputs, 1.0) * float(units[1])  # rows of zeros still cost a little
        return batch * (4 * first + 6 * (self.weights - float(units[0] * units[1])))

    def views(self, theta: np.ndarray, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """The layer's weights (k, m) and bias (m,) in theta, without the padding."""
        k, m = self.tables["units"][layer : layer + 2]
        row = self.tables["row"][layer + 1]
        first, bias = self.tables["weights"][layer], self.tables["bias"][layer]
        return theta[first : first + k * row].reshape(k, row)[:, :m], theta[bias : bias + m]


def layout(inputs: int, layers: Sequence[Dense], dtype: np.dtype) -> Layout:
    """Tables of a network of dense layers over so many inputs."""
    units = [inputs, *(layer.units for layer in layers)]
    row = [padded(u, dtype) for u in units]
    weights, bias, at = [], [], 0
    for k, width in zip(units, row[1:]):
        weights.append(at)
        bias.append(at + k * width)
        at += (k + 1) * width
    names = tuple(layer.activation for layer in layers)
    tables = {
        "units": units,
        "row": row,
        "offset": np.cumsum([0, *row[:-1]]),
        "weights": weights,
        "bias": bias,
        "trained": [layer.use_bias for layer in layers],
        "activation": [activations.NAMES.index(name) for name in names],
    }
    return Layout({k: np.array(v, np.int64) for k, v in tables.items()}, names, at, dtype)


def plan(layout: Layout, loss: str, metric_names: Sequence[str], optimizer: str) -> Plan:
    """The kernels' tables for a compiled model."""
    return Plan(
        **layout.tables,
        loss=losses.NAMES.index(loss),
        joint=int((loss, layout.activations[-1]) in _JOINT),
        metrics=np.array([metrics.NAMES.index(name) for name in metric_names], np.int64),
        optimizer=optimizers.NAMES.index(optimizer),
    )


def slots(layout: Layout, optimizer: str) -> np.ndarray:
    """State of an optimizer at its start."""
    return aligned_zeros(optimizers.SLOTS[optimizers.NAMES.index(optimizer)] * layout.size, layout.dtype)


def scratch(
    layout: Layout, capacity: int, threads: int, metric_count: int = 0, optimizer: str | None = None
) -> Scratch:
    """Buffers for batches of up to `capacity` rows; without an optimizer nothing is trained."""
    row = layout.tables["row"]
    rows = int(row.sum()) * capacity
    swept = optimizer is not None and optimizers.NAMES.index(optimizer) != optimizers.SGD
    return Scratch(
        capacity=capacity,
        acts=aligned_zeros(rows, layout.dtype),
        delta=aligned_zeros(rows, layout.dtype),
        gradient=aligned_zeros(layout.size if swept else 0, layout.dtype),
        losses=np.zeros(capacity),
        metrics=np.zeros((capacity, metric_count)),
        panels=aligned_zeros(panel_shape(threads, layout.dtype), layout.dtype),
        zeros=aligned_zeros(int(row.max()), layout.dtype),
        sync=aligned_zeros(SYNC_SIZE, np.int64),
    )


def data(
    layout: Layout, x: np.ndarray, labels: np.ndarray | None, targets: np.ndarray | None, compress: bool = False
) -> Data:
    """Samples (n, k) and their targets for the kernels; with `compress`, mostly zero rows are compressed."""
    starts, column, value = _NO_STARTS, _NO_COLUMNS, x[:0].reshape(-1)
    if compress and x.shape[1] <= 1 << 16:
        counts = np.empty(len(x), np.int64)
        sparse_input.count_nonzero(x, counts)
        total = int(counts.sum())
        if total < SPARSE_BELOW * x.size:
            starts = np.concatenate([[0], np.cumsum(counts)])
            column, value = np.empty(total, np.uint16), np.empty(total, x.dtype)
            sparse_input.compress(x, starts, column, value)
            x = x[:0]
    return Data(
        x=x,
        starts=starts,
        column=column,
        value=value,
        labels=_NO_LABELS if labels is None else labels,
        targets=_NO_TARGETS[layout.dtype.name] if targets is None else targets,
    )
