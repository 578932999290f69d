"""From descriptions to the kernels' tables and buffers; the only place where names become codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels import activations, losses, metrics, optimizers, sparse_input
from .kernels.network import INPUT_BLOCK
from .kernels.plan import Data, Plan, Scratch, aligned_zeros, padded, panel_shape
from .kernels.simd import LINE
from .kernels.team import SYNC_SIZE
from .layers import Dense

# Rows with fewer than this share of non-zero inputs are kept compressed. Below it every width gained: compressed and
# dense rows took the same time at a share of 0.65 (16 units), 0.45 (64), 0.34 (256) and 0.28 (1024).
SPARSE_BELOW = 0.3

# Layers of at most so many units at a network's end are kept in lanes: see kernels/plan.py.
NARROW = 64

# A narrow first layer is summed in so many parts of its inputs, by as many threads. The number is fixed, as it shows in
# the bits.
_PARTS = 2

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

    tables: dict[str, Any]
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

    @property
    def in_parts(self) -> bool:
        """Whether training sums the first layer in parts of the inputs."""
        return int(self.tables["turn"]) == 1 and int(self.tables["units"][1]) <= NARROW

    @property
    def most_threads(self) -> int:
        """Threads among which a step of training can be shared."""
        return _PARTS if self.in_parts else max(1, int(self.tables["row"][1:].max()) * self.dtype.itemsize // LINE)

    def step_operations(self, batch: int, inputs: float) -> float:
        """Floating-point operations of a training step; `inputs` is how many numbers of a sample are multiplied."""
        units = self.tables["units"]
        first = max(inputs, 1.0) * float(units[1])  # rows of zeros still cost a little
        return batch * (4 * first + 6 * (self.weights - float(units[0] * units[1])))

    @property
    def layers(self) -> np.ndarray:
        """The tables that predict_one needs, in one (see kernels/single.py)."""
        t = self.tables
        columns = t["units"][:-1], t["units"][1:], t["row"][1:], t["weights"], t["bias"], t["activation"]
        return np.stack(columns, axis=1)

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
    arrays: dict[str, Any] = {k: np.array(v, np.int64) for k, v in tables.items()}
    return Layout(arrays | {"turn": _turn(units, names)}, names, at, dtype)


def _turn(units: Sequence[int], names: Sequence[str]) -> int:
    """The first activations kept in lanes: those of the narrow layers at the end, of the last, and of any softmax."""
    turn = len(names)
    while turn > 1 and units[turn] <= NARROW and units[turn - 1] <= NARROW:
        turn -= 1
    return min([turn, *(i for i, name in enumerate(names, 1) if name == "softmax")])


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
    row, turn = layout.tables["row"], int(layout.tables["turn"])
    capacity = padded(capacity, layout.dtype)
    rows = int(row.sum()) * capacity
    swept = optimizer is not None and optimizers.NAMES.index(optimizer) != optimizers.SGD
    return Scratch(
        capacity=capacity,
        acts=aligned_zeros(rows, layout.dtype),
        delta=aligned_zeros(rows, layout.dtype),
        gradient=aligned_zeros(layout.size if swept else 0, layout.dtype),
        turned=aligned_zeros(rows, layout.dtype),
        sums=aligned_zeros((_PARTS if layout.in_parts else 1) * int(row[turn]) * capacity, layout.dtype),
        labels=aligned_zeros(capacity, layout.dtype),
        targets=aligned_zeros(int(row[-1]) * capacity, layout.dtype),
        totals=_totals_of_lines(1 + metric_count, lines(capacity, layout.dtype)),
        panels=aligned_zeros(panel_shape(threads, layout.dtype), layout.dtype),
        sync=aligned_zeros(SYNC_SIZE, np.int64),
    )


def totals(count: int) -> np.ndarray:
    """Zeros (count,), float64, for the sums of a call, in memory lines of their own: see _totals_of_lines."""
    return _totals_of_lines(count, 1)[0, :count]


def _totals_of_lines(count: int, rows: int) -> np.ndarray:
    """Zeros (rows, count or more), float64, every row in memory lines of its own.

    They are written in every step. Where such a line also held tables that both threads read, which was a matter of
    chance, each write took it away from the other thread: a step of 5 us then took 9.
    """
    per_line = LINE // 8
    return aligned_zeros((rows, -(-count // per_line) * per_line), np.float64)


def lines(count: int, dtype: np.dtype) -> int:
    """Lines that so many samples fill."""
    return -(-count * dtype.itemsize // LINE)


def data(
    layout: Layout, x: np.ndarray, labels: np.ndarray | None, targets: np.ndarray | None, *, compress: bool = False,
    train: bool = False,
) -> Data:  # fmt: skip
    """Samples (n, k) and their targets for the kernels.

    With `compress`, mostly zero rows are compressed. With `train` they are trained on, so that a narrow first layer's
    inputs are cut into parts.
    """
    k = x.shape[1]
    parts = np.array([0, k // 2 // INPUT_BLOCK * INPUT_BLOCK, k] if train and layout.in_parts else [0, k])
    starts, column, value = _NO_STARTS, _NO_COLUMNS, x[:0].reshape(-1)
    if compress:
        columns = np.empty(k, np.int64)
        sparse_input.count_columns(x, columns)
        if columns.sum() < SPARSE_BELOW * x.size:
            if len(parts) > 2:  # of equally many non-zero inputs
                running = np.cumsum(columns)
                parts[1] = np.searchsorted(running, running[-1] / 2)
            counts = np.empty((len(x), len(parts) - 1), np.int64)
            sparse_input.count_groups(x, parts, counts)
            starts = np.concatenate([[0], np.cumsum(counts)])
            row_lines = lines(int(layout.tables["row"][1]), layout.dtype)
            # Half the memory where it is enough; the wider ones have kernels of their own.
            kind = np.uint16 if k * row_lines <= 1 << 16 else np.uint32
            column, value = np.zeros(starts[-1], kind), np.zeros(starts[-1], x.dtype)
            sparse_input.compress(x, parts, row_lines, starts, column, value)
            x = x[:0]
    return Data(
        x=x,
        starts=starts,
        column=column,
        value=value,
        parts=parts,
        labels=_NO_LABELS if labels is None else labels,
        targets=_NO_TARGETS[layout.dtype.name] if targets is None else targets,
    )
