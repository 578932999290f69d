"""From descriptions to the kernels' tables and buffers; the only place where names become addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .activations import Form
from .kernels import activations, canonical, losses, metrics, operations, optimizers, sparse_input
from .kernels.by_address import address
from .kernels.network import INPUT_BLOCK
from .kernels.plan import (
    ACTIVATE,
    ACTIVATE_NUMBERS,
    BIAS,
    BY_UNITS,
    KIND,
    OFFSET,
    OPERATE,
    OPERATE_NUMBERS,
    OPERATION,
    PENALTY,
    ROW,
    SLOPE,
    STATE,
    TRAIN_BIAS,
    TRAIN_WEIGHTS,
    TRAINED,
    UNITS,
    WEIGHTS,
    WORK,
    Data,
    Plan,
    Scratch,
    aligned_zeros,
    padded,
    panel_shape,
)
from .kernels.simd import LINE
from .kernels.team import SYNC_SIZE
from .sparse import Sparse

# Rows with fewer than this share of non-zero inputs are kept compressed. Below it every width gained: compressed and
# dense rows took the same time at a share of 0.65 (16 units), 0.45 (64), 0.34 (256) and 0.28 (1024).
SPARSE_BELOW = 0.3

# Bytes of samples up to which a compressed copy is made: larger ones, as of a memory-mapped file, stay where they are.
COMPRESSED_UP_TO = 4 << 30

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

# Rows of kernels.plan.Plan.table that a layout has; the others are those of the functions.
_ROWS = {UNITS: "units", ROW: "row", OFFSET: "offset", KIND: "kind", WEIGHTS: "weights", BIAS: "bias", STATE: "state",
         WORK: "work", TRAINED: "trained"}  # fmt: skip

#: What a stage of the network does where it is no operation.
DENSE = "dense"

# What a call without them gets: made once, since a call on one row takes no longer than making them.
_NO_STARTS, _NO_COLUMNS, _NO_LABELS = np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.int32)
_NONE = {name: np.zeros(0, name) for name in ("float32", "float64")}
_NO_TARGETS = {name: np.zeros((0, 0), name) for name in ("float32", "float64")}


@dataclass(frozen=True)
class Stage:
    """A dense layer or an operation, and the activation that follows it.

    Attributes:
        kind: DENSE, or one of kernels.operations.NAMES.
        units: Numbers of a sample that leave it.
        activation: See activations.Form.
        numbers: Of an operation.
        use_bias: Whether a dense layer has one.
        trained: What is trained, flags TRAIN_WEIGHTS and TRAIN_BIAS.
        owner: Place of the layer it comes from among the model's.
    """

    kind: str
    units: int
    activation: Form = ("linear", ())
    numbers: tuple[float, ...] = ()
    use_bias: bool = True
    trained: int = TRAIN_WEIGHTS | TRAIN_BIAS
    owner: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the parameters and activations of a network lie; see kernels/plan.py for the fields of `tables`.

    Attributes:
        trainable: Where the parameters end in theta and what else is kept begins.
        size: Elements of theta.
        scale: What the inputs are multiplied by while they are read.
    """

    tables: dict[str, Any]
    stages: tuple[Stage, ...]
    trainable: int
    size: int
    dtype: np.dtype
    scale: float = 1.0

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return int(self.tables["units"][-1])

    @property
    def inputs(self) -> int:
        """Numbers in a sample."""
        return int(self.tables["units"][0])

    @property
    def last_activation(self) -> str:
        """Name of the kernel of the activation at the end."""
        return self.stages[-1].activation[0]

    @property
    def weights(self) -> int:
        """Multiplications of one sample's way forward."""
        units = self.tables["units"]
        return sum(
            int(units[i] * units[i + 1] if stage.kind == DENSE else 4 * units[i])
            for i, stage in enumerate(self.stages)
        )  # fmt: skip

    @property
    def only_dense(self) -> bool:
        """Whether there is no operation."""
        return all(stage.kind == DENSE for stage in self.stages)

    @property
    def in_parts(self) -> bool:
        """Whether training sums the first layer in parts of the inputs."""
        first = self.stages[0]
        return int(self.tables["turn"]) == 1 and first.kind == DENSE and first.units <= NARROW

    @property
    def most_threads(self) -> int:
        """Threads among which a step of training can be shared."""
        return _PARTS if self.in_parts else max(1, int(self.tables["row"][1:].max()) * self.dtype.itemsize // LINE)

    def step_operations(self, batch: int, inputs: float) -> float:
        """Floating-point operations of a training step; `inputs` is how many numbers of a sample are multiplied."""
        units = self.tables["units"]
        if self.stages[0].kind != DENSE:
            return batch * 6.0 * self.weights
        first = max(inputs, 1.0) * float(units[1])  # rows of zeros still cost a little
        return batch * (4 * first + 6 * (self.weights - float(units[0] * units[1])))

    def one_row(self, plan: Plan) -> np.ndarray:
        """The tables that predict_one needs, in one (see kernels/single.py)."""
        t = self.tables
        columns = (t["units"][:-1], t["units"][1:], t["row"][1:], t["weights"], t["bias"], plan.table[ACTIVATE, :-1],
                   plan.table[ACTIVATE_NUMBERS, :-1])  # fmt: skip
        return np.stack(columns, axis=1)

    def views(self, theta: np.ndarray, i: int) -> list[np.ndarray]:
        """Arrays of stage i in theta, without the padding.

        Weights (k, m) and bias (m,) of a dense layer; of an operation its parameters, then its state, each (m,).
        """
        stage, row = self.stages[i], int(self.tables["row"][i + 1])
        k, m = (int(u) for u in self.tables["units"][i : i + 2])
        first = int(self.tables["weights"][i])
        if stage.kind == DENSE:
            bias = int(self.tables["bias"][i])
            return [theta[first : first + k * row].reshape(k, row)[:, :m], theta[bias : bias + m]]
        _, parameters, state = operations.OPERATIONS[stage.kind]
        kept = int(self.tables["state"][i])
        starts = [*(first + r * row for r in range(parameters)), *(kept + r * row for r in range(state))]
        return [theta[start : start + m] for start in starts]


def layout(inputs: int, stages: Sequence[Stage], dtype: np.dtype) -> Layout:
    """Tables of a network of these stages over so many inputs.

    A rescaling in front, without an offset, is none of them: inputs are multiplied while they are read.
    """
    scale, stages = folded(stages)
    units = [inputs, *(stage.units for stage in stages)]
    row = [padded(u, dtype) for u in units]
    weights, bias, state, work, at, worked = [], [], [], [], 0, 0
    for stage, k, width in zip(stages, units, row[1:]):
        weights.append(at)
        if stage.kind == DENSE:
            bias.append(at + k * width)
            at += (k + 1) * width
        else:
            bias.append(-1)
            at += operations.OPERATIONS[stage.kind][1] * width
    trainable = at
    if not all(stage.kind == DENSE for stage in stages):
        bias = [trainable if place < 0 else place for place in bias]  # the zeros
        at += max(row)
    for stage, width in zip(stages, row[1:]):
        state.append(at)
        work.append(worked)
        if stage.kind != DENSE:
            at += operations.OPERATIONS[stage.kind][2] * width
            worked += 2 * width
    trained = [
        stage.trained & ~(0 if stage.use_bias else TRAIN_BIAS)
        if stage.kind == DENSE
        else stage.trained & (TRAIN_WEIGHTS if operations.OPERATIONS[stage.kind][1] else 0)
        for stage in stages
    ]
    if at + max(row) >= 2**60:
        raise ValueError(f"the network has {at} numbers, more than any memory holds; make it smaller")
    tables = {
        "units": units,
        "row": row,
        "offset": np.roll(np.cumsum([0, *row[1:]]), 1),  # the inputs lie behind the others
        "kind": [_kind(stage) for stage in stages],
        "weights": weights,
        "bias": bias,
        "state": state,
        "work": work,
        "trained": trained,
    }
    arrays: dict[str, Any] = {k: np.array(v, np.int64) for k, v in tables.items()}
    lowest = next((i for i, flags in enumerate(trained) if flags), len(stages))
    return Layout(arrays | {"turn": _turn(units, stages), "lowest": lowest}, tuple(stages), trainable, at, dtype, scale)


def folded(stages: Sequence[Stage]) -> tuple[float, Sequence[Stage]]:
    """What the inputs are multiplied by while they are read, and the stages behind that."""
    front = stages[0]
    if front.kind == "rescaling" and front.numbers[1] == 0 and front.activation[0] == "linear" and len(stages) > 1:
        return front.numbers[0], stages[1:]
    return 1.0, stages


def _kind(stage: Stage) -> int:
    """Flags of kernels.plan.Plan.kind."""
    if stage.kind == DENSE:
        return 0
    return OPERATION | BY_UNITS * (stage.kind in operations.BY_UNITS) | PENALTY * (stage.kind in operations.PENALTIES)


def _turn(units: Sequence[int], stages: Sequence[Stage]) -> int:
    """The first activations kept in lanes: those of the narrow dense layers at the end, and of the last stage."""
    turn = len(stages)
    while turn > 1 and stages[turn - 1].kind == DENSE and units[turn] <= NARROW and units[turn - 1] <= NARROW:
        turn -= 1
    return turn


@dataclass
class _Numbers:
    """Numbers of all functions, in turn."""

    values: list[float] = field(default_factory=list)

    def add(self, own: Sequence[float]) -> int:
        """Place where these begin."""
        self.values += [float(value) for value in own]
        return len(self.values) - len(own)


@dataclass(frozen=True)
class Scoring:
    """What a loss or a metric is to the kernels.

    Attributes:
        kernel: Name in kernels.losses.KERNELS, kernels.metrics.MEANS or COUNTERS; or a kernel of a user's own.
        numbers: Its numbers.
        weighted: Whether the samples' weights count in it.
        counts: How many counts it makes; 0 of a mean.
        canonical: Whether it is a loss of kernels/canonical.py: it gives the gradient by z, and in training a batch's
            is the mean by the samples' weights.
    """

    kernel: Any
    numbers: tuple[float, ...] = ()
    weighted: bool = False
    counts: int = 0
    canonical: bool = False

    def address(self, dtype: str) -> int:
        """Address of its kernel."""
        known = metrics.COUNTERS if self.counts else metrics.MEANS
        kernel = known[self.kernel] if isinstance(self.kernel, str) else self.kernel
        return address(kernel, metrics.COUNT if self.counts else losses.SCORE, dtype)


class Adjust:
    """What is done to each variable besides the optimizer's step; see kernels/adjust.py and training.Adjustments."""

    def variables(self, numbers: Any) -> np.ndarray:
        """The kernel's table; the variables' numbers are added to `numbers`."""
        raise NotImplementedError

    def chunks(self) -> np.ndarray:
        """The kernel's table."""
        raise NotImplementedError

    def address(self, dtype: str) -> int:
        """Address of the kernel."""
        raise NotImplementedError


def plan(
    layout: Layout,
    loss: Scoring | None = None,
    scorings: Sequence[Scoring] = (),
    optimizer: str | None = None,
    *,
    adjust: Adjust | None = None,
    every: int = 1,
) -> Plan:
    """The kernels' tables of a network; with an optimizer's name, for training."""
    dtype, numbers = layout.dtype.name, _Numbers()
    turn = layout.tables["turn"]
    operation, operation_numbers, forward, forward_numbers, slope = [], [], [], [], []
    for i, stage in enumerate(layout.stages):
        kernels = activations.FORMS[stage.activation[0]]
        # A linear activation has nothing to do behind an operation, but to go into lanes.
        idle = stage.activation[0] == "linear" and stage.kind != DENSE and i + 1 < turn
        forward.append(0 if idle else address(kernels[0], activations.FORWARD, dtype))
        forward_numbers.append(numbers.add(stage.activation[1]))
        backward = optimizer is not None and kernels[1] is not None
        slope.append(address(kernels[1], activations.BACKWARD, dtype) if backward else 0)
        operation_numbers.append(numbers.add(stage.numbers))
        operation.append(
            0
            if stage.kind == DENSE
            else address(operations.OPERATIONS[stage.kind][0], operations.OPERATE, dtype)
        )  # fmt: skip
    means = [(s.address(dtype), numbers.add(s.numbers), s.weighted) for s in scorings if not s.counts]
    counters, at = [], 2 + len(means)
    for s in scorings:
        if s.counts:
            counters.append((s.address(dtype), numbers.add(s.numbers), s.weighted, at))
            at += s.counts
    rows = {row: layout.tables[name] for row, name in _ROWS.items()} | {
        OPERATE: operation,
        OPERATE_NUMBERS: operation_numbers,
        ACTIVATE: forward,
        ACTIVATE_NUMBERS: forward_numbers,
        SLOPE: slope,
    }
    table = np.zeros((len(rows), len(layout.stages) + 1), np.int64)
    for row, values in rows.items():
        table[row, : len(values)] = values
    tables = {
        "means": np.array(means, np.int64).reshape(-1, 3),
        "counters": np.array(counters, np.int64).reshape(-1, 4),
        "variables": np.zeros(0, np.int64) if adjust is None else adjust.variables(numbers),
        "chunks": np.zeros(0, np.int64) if adjust is None else adjust.chunks(),
    }
    return Plan(
        table=table,
        **tables,
        turn=layout.tables["turn"],
        lowest=layout.tables["lowest"],
        loss=0 if loss is None else loss.address(dtype),
        loss_numbers=0 if loss is None else numbers.add(loss.numbers),
        joint=int(loss is not None and (loss.canonical or (loss.kernel, layout.last_activation) in _JOINT)),
        by_weight=int(loss is not None and loss.canonical),
        direct=int(optimizer == "sgd" and adjust is None and every == 1),
        optimizer=0 if optimizer is None else address(optimizers.KERNELS[optimizer], optimizers.UPDATE, dtype),
        adjust=0 if adjust is None else adjust.address(dtype),
        every=every,
        trainable=layout.trainable,
        numbers=np.array(numbers.values, np.float64),
    )


def compile_all(dtype: str) -> None:
    """Compile, or load, every function that a network can be made of."""
    from .kernels import adjust

    for forward, backward in activations.FORMS.values():
        address(forward, activations.FORWARD, dtype)
        if backward is not None:
            address(backward, activations.BACKWARD, dtype)
    for kernel in (*metrics.MEANS.values(), *canonical.KERNELS.values()):
        address(kernel, losses.SCORE, dtype)
    for kernel in metrics.COUNTERS.values():
        address(kernel, metrics.COUNT, dtype)
    for kernel in optimizers.KERNELS.values():
        address(kernel, optimizers.UPDATE, dtype)
    for kernel, _, _ in operations.OPERATIONS.values():
        address(kernel, operations.OPERATE, dtype)
    address(adjust.adjust, adjust.ADJUST, dtype)


def slots(layout: Layout, optimizer: str, start: float = 0.0) -> np.ndarray:
    """State of an optimizer at its start."""
    made = aligned_zeros(optimizers.SLOTS[optimizer] * layout.size, layout.dtype)
    made += layout.dtype.type(start)
    return made


def aligned_copy(theta: np.ndarray) -> np.ndarray:
    """The same numbers from the start of a memory line on."""
    made = aligned_zeros(theta.size, theta.dtype)
    made[:] = theta
    return made


def joined(slots: np.ndarray, more: np.ndarray) -> np.ndarray:
    """State of an optimizer with more behind it."""
    made = aligned_zeros(slots.size + more.size, slots.dtype)
    made[: slots.size], made[slots.size :] = slots, more
    return made


def scratch(
    layout: Layout,
    capacity: int,
    threads: int,
    means: int = 0,
    *,
    swept: bool = False,
    train: bool = False,
    weighted: bool = False,
    partial: int = 0,
    dense: bool = True,
) -> Scratch:
    """Buffers for batches of up to `capacity` rows.

    Args:
        layout: Of the network.
        capacity: Most rows of a batch.
        threads: Members of the team, at most.
        means: Metrics that are means.
        swept: Whether gradients are summed apart from the weights.
        train: Whether it is trained.
        weighted: Whether samples have weights.
        partial: Sums that the optimizer's adjustments need.
        dense: Whether dense rows are read; compressed ones take no room, however wide they are.
    """
    row, turn = layout.tables["row"], int(layout.tables["turn"])
    capacity = padded(capacity, layout.dtype)
    rows, inputs = int(row[1:].sum()) * capacity, int(row[0]) * capacity if dense else 0
    kept = train and any(stage.activation[0] in activations.KEEP_SLOPES for stage in layout.stages)
    worked = sum(2 * int(width) for stage, width in zip(layout.stages, row[1:]) if stage.kind != DENSE)
    return Scratch(
        capacity=capacity,
        acts=aligned_zeros(rows + inputs, layout.dtype),
        delta=aligned_zeros(rows, layout.dtype),
        slopes=aligned_zeros(rows if kept else 0, layout.dtype),
        gradient=aligned_zeros(layout.size if swept else 0, layout.dtype),
        turned=aligned_zeros(rows, layout.dtype),
        sums=aligned_zeros((_PARTS if layout.in_parts else 1) * int(row[turn]) * capacity, layout.dtype),
        work=aligned_zeros(worked * capacity, layout.dtype),
        labels=aligned_zeros(capacity, layout.dtype),
        targets=aligned_zeros(int(row[-1]) * capacity, layout.dtype),
        weights=aligned_zeros(capacity if weighted else 0, layout.dtype),
        totals=_totals_of_lines(2 + means, lines(capacity, layout.dtype)),
        partial=aligned_zeros(max(1, partial), np.float64),
        panels=aligned_zeros(panel_shape(threads, layout.dtype), layout.dtype),
        sync=aligned_zeros(SYNC_SIZE, np.int64),
    )


def totals(plan: Plan, scorings: Sequence[Scoring] = ()) -> np.ndarray:
    """Zeros for the sums of a call, float64, in memory lines of their own: see _totals_of_lines."""
    count = 2 + len(plan.means) + sum(s.counts for s in scorings)
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
    layout: Layout,
    x: np.ndarray | Sparse,
    labels: np.ndarray | None,
    targets: np.ndarray | None,
    weights: np.ndarray | None = None,
    *,
    compress: bool = False,
    train: bool = False,
) -> Data:
    """Samples (n, k) and their targets for the kernels.

    With `compress`, mostly zero rows are compressed; those that come without their zeros always are. With `train` they
    are trained on, so that a narrow first layer's inputs are cut into parts.
    """
    k = x.shape[1]
    parts = np.array([0, k // 2 // INPUT_BLOCK * INPUT_BLOCK, k] if train and layout.in_parts else [0, k])
    starts, column, value = _NO_STARTS, _NO_COLUMNS, np.zeros(0, x.dtype)
    if isinstance(x, Sparse):
        starts, column, value = _compressed_rows(layout, x, parts)
        x = np.empty((0, k), x.dtype)
    elif compress and layout.stages[0].kind == DENSE and x.nbytes <= COMPRESSED_UP_TO:
        columns = np.empty(k, np.int64)
        sparse_input.count_columns(x, columns)
        if columns.sum() < SPARSE_BELOW * x.size:
            starts, column, value = _compressed(layout, x, columns, parts)
            x = x[:0]
    return Data(
        x=x,
        scale=layout.scale,
        starts=starts,
        column=column,
        value=value,
        parts=parts,
        labels=_NO_LABELS if labels is None else labels,
        targets=_NO_TARGETS[layout.dtype.name] if targets is None else targets,
        weights=_NONE[layout.dtype.name] if weights is None else weights,
    )


def _halve(parts: np.ndarray, columns: np.ndarray) -> None:
    """Where the inputs are cut into two parts, move the cut so that both have as many non-zero ones."""
    if len(parts) > 2:
        running = np.cumsum(columns)
        parts[1] = np.searchsorted(running, running[-1] / 2)


def _compressed(layout: Layout, x: np.ndarray, columns: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Starts, columns and values of dense rows, of whose inputs `columns` counts the non-zero ones."""
    _halve(parts, columns)
    counts = np.empty((len(x), len(parts) - 1), np.int64)
    sparse_input.count_groups(x, parts, counts)
    starts, column, value, row_lines = _room(layout, x.shape[1], counts, x.dtype)
    sparse_input.compress(x, parts, row_lines, starts, column, value)
    return starts, column, _scaled(layout, value)


def _compressed_rows(layout: Layout, x: Sparse, parts: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same of rows that come without their zeros."""
    if len(parts) > 2:
        _halve(parts, x.count_columns())
    counts = np.empty((len(x), len(parts) - 1), np.int64)
    sparse_input.count_groups_of_rows(x.indptr, x.indices, x.values, parts, counts)
    starts, column, value, row_lines = _room(layout, x.shape[1], counts, x.values.dtype)
    sparse_input.compress_rows(x.indptr, x.indices, x.values, parts, row_lines, starts, column, value)
    return starts, column, _scaled(layout, value)


def _room(
    layout: Layout, k: int, counts: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Starts, room for columns and values, and how many lines a row of w has."""
    starts = np.concatenate([[0], np.cumsum(counts)])
    row_lines = lines(int(layout.tables["row"][1]), layout.dtype)
    if k * row_lines > 1 << 32:
        raise ValueError(
            f"{k} inputs of {layout.tables['units'][1]} units are too many: their weights have more than "
            f"2**32 memory lines of {LINE} bytes"
        )
    # Half the memory where it is enough; the wider ones have kernels of their own.
    kind = np.uint16 if k * row_lines <= 1 << 16 else np.uint32
    return starts, np.zeros(starts[-1], kind), np.zeros(starts[-1], dtype), row_lines


def _scaled(layout: Layout, value: np.ndarray) -> np.ndarray:
    """Values as the first layer takes them."""
    if layout.scale == 1:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(layout.dtype) * layout.dtype.type(layout.scale)
