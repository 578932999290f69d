"""How a compiled model's batches are run: what it is scored by, the data of a call, the steps of training.

models.py checks and orchestrates, callbacks watch; here the kernels are called.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import checks, constraints, losses, optimizers, regularizers, threads
from . import plan as plans
from .kernels import epoch as kernels
from .kernels import single
from .kernels.by_address import address
from .kernels.optimizers import HYPER_SIZE, SLOTS
from .kernels.plan import Data, aligned_zeros
from .kernels.team import DIVERGED, NOT_FINITE
from .layers import Layer, Variable
from .metrics import Metric
from .sparse import Sparse

# Rows that a thread takes through the network at once in evaluate and predict: enough to use a packed panel of the
# weights many times, and few enough that their activations stay in the second-level cache.
_ROWS_PER_THREAD = 144

# Floating-point operations of evaluate and predict in the first call of the kernel, some milliseconds; and seconds of
# those that follow, after each of which Ctrl-C is heard.
_AT_FIRST, _SLICE = 5e8, 0.05

# Weights below which it isn't them that a row takes its time for.
_FEW_WEIGHTS = 500

# Buffers of evaluate and predict that a model keeps of each size, and what a call without these results is given.
_KEPT_WORKSPACES = 4
_NO_TOTALS, _NO_HYPER, _NO_RATES = np.zeros(0), np.zeros(HYPER_SIZE), np.zeros(0)
_NO_OUT = {name: np.zeros((0, 0), name) for name in ("float32", "float64")}
_NO_SLOTS = {name: np.zeros(0, name) for name in ("float32", "float64")}

# Floating-point operations of the first slice of a training, before it is known how fast it is.
_FIRST_SLICE = 1.5e8

# Bytes of a slice of samples that are converted while they are read.
_SLICE_BYTES = 64 << 20

# Elements of a chunk of parameters in kernels/adjust.py: enough for its sums to cost nothing beside them.
_CHUNK = 4096


@dataclass(frozen=True)
class Samples:
    """Checked samples (n, k), targets and weights; `shape` is that of one sample.

    They are checked for a model as it was compiled then, which `version` stands for.
    """

    x: np.ndarray | Sparse
    labels: np.ndarray | None
    targets: np.ndarray | None
    weights: np.ndarray | None
    shape: tuple[int, ...]
    version: int = 0

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, which: Any) -> Samples:
        """Those of a slice, as views, or of an array of indices."""
        labels, targets, weights = (None if a is None else a[which] for a in (self.labels, self.targets, self.weights))
        return Samples(self.x[which], labels, targets, weights, self.shape, self.version)

    @property
    def in_slices(self) -> bool:
        """Whether x lies in a file and is converted a slice at a time."""
        return checks.in_slices(self.x, np.dtype(np.uint8))

    def rows_of_slice(self, inputs: int, batch: int) -> int:
        """How many rows are converted at a time: whole batches of some megabytes."""
        return max(1, _SLICE_BYTES // (8 * inputs * batch)) * batch

    def converted(self, which: Any, dtype: np.dtype) -> Samples:
        """Some rows in a form that kernels read."""
        part = self.rows(which)
        return dataclasses.replace(part, x=checks.samples(np.asarray(part.x), self.shape, dtype))

    def pieces(self, inputs: int, dtype: np.dtype) -> Iterator[Samples]:
        """All rows, as slices of a file that is converted, else as batches of Keras's default size."""
        step = self.rows_of_slice(inputs, 32) if self.in_slices else 32
        for first in range(0, len(self), step):
            rows = slice(first, first + step)
            yield self.converted(rows, dtype) if self.in_slices else self.rows(rows)

    def for_kernels(self, layout: plans.Layout, *, compress: bool = True, train: bool = False) -> Data:
        """The same as kernels read them."""
        return plans.data(layout, self.x, self.labels, self.targets, self.weights, compress=compress, train=train)


class Scorer:
    """What batches are scored by: the loss and the metrics, for targets of one kind.

    Args:
        loss: Of the model.
        metrics: That take all samples alike.
        weighted: Metrics in which the samples' weights count.
        units: Of the last layer.
        targets: Of which the kind is taken, where it makes a difference.
    """

    def __init__(
        self,
        loss: losses.Loss,
        metrics: Sequence[Metric],
        weighted: Sequence[Metric],
        units: int,
        targets: np.ndarray | None,
    ):
        self.loss = loss.scoring(targets)
        self.metrics = [metric.for_targets(units, loss.sparse) for metric in (*metrics, *weighted)]
        flags = [False] * len(metrics) + [True] * len(weighted)
        self.scorings = tuple(
            dataclasses.replace(metric.scoring_of(units, targets), weighted=flag)
            for metric, flag in zip(self.metrics, flags)
        )
        self.names = names(metrics, weighted)
        self.means = sum(not scoring.counts for scoring in self.scorings)

    @property
    def key(self) -> tuple[Any, ...]:
        """What its plan depends on."""
        return self.loss, self.scorings

    def logs(self, totals: np.ndarray, samples: int, weighted: bool, penalty: float = 0.0) -> dict[str, Any]:
        """Values by name, from the sums over so many samples."""
        values: list[Any] = [float(totals[0] / samples) + penalty]
        mean, at = 1, 2 + self.means
        for metric, scoring in zip(self.metrics, self.scorings):
            if scoring.counts:
                values.append(metric.result(totals[at : at + scoring.counts]))
                at += scoring.counts
            else:
                weight = totals[1 + self.means] if weighted and scoring.weighted else samples
                values.append(metric.result(totals[mean : mean + 1] / weight) if weight else 0.0)
                mean += 1
        return dict(zip(self.names, values))


def names(metrics: Sequence[Metric], weighted: Sequence[Metric]) -> list[str]:
    """What History and evaluate call the loss and the metrics; a second metric of a name is weighted_..."""
    made = ["loss"]
    for metric in (*metrics, *weighted):
        name = metric.name
        if name in made:
            name = f"weighted_{name}"
        number = 1
        while name in made:
            name, number = f"{metric.name}_{number}", number + 1
        made.append(name)
    return made


# ---------------------------------------------------------------------------------------------- penalties


@dataclass(frozen=True)
class Adjustments(plans.Adjust):
    """What is done with each variable besides the optimizer's step; see kernels/adjust.py.

    Attributes:
        places: Where each variable lies: start in theta, rows, units, distance of two rows.
        items: The variables, and whether each decays.
    """

    places: tuple[tuple[int, int, int, int], ...]
    items: tuple[tuple[Variable, bool], ...]

    def variables(self, numbers: Any) -> np.ndarray:
        """The kernel's table; the variables' numbers are added to numbers."""
        rows = []
        for place, (variable, decays) in zip(self.places, self.items):
            kind, axis, own = _constraint(variable.constraint)
            l1, l2, orthogonal, columns = _regularizer(variable.regularizer)
            at = numbers.add((l1, l2, orthogonal, columns, *own))
            if place[1] == 1 and variable.view.ndim == 1:
                axis = 1  # the norm of a bias is that of all its numbers
            rows.append((*place, at, kind, axis, int(decays)))
        return np.array(rows, np.int64).reshape(-1)

    def chunks(self) -> np.ndarray:
        """The kernel's table."""
        made = []
        for index, (start, rows, _, row) in enumerate(self.places):
            for first in range(0, rows * row, _CHUNK):
                made.append((start + first, min(_CHUNK, rows * row - first), index))
        return np.array(made, np.int64).reshape(-1)

    def address(self, dtype: str) -> int:
        """Address of the kernel."""
        from .kernels import adjust  # compiled only where it is needed

        return address(adjust.adjust, adjust.ADJUST, dtype)

    @property
    def partial(self) -> int:
        """Sums that the kernel keeps."""
        return 2 * (len(self.chunks()) // 3) + max(max(rows, units) for _, rows, units, _ in self.places)


def _regularizer(regularizer: regularizers.Regularizer | None) -> tuple[float, float, float, float]:
    """l1, l2, factor of the orthogonal penalty, whether of columns."""
    if regularizer is None:
        return 0.0, 0.0, 0.0, 0.0
    if type(regularizer) in (regularizers.L1, regularizers.L2, regularizers.L1L2):
        return regularizer.l1, regularizer.l2, 0.0, 0.0  # type: ignore[attr-defined]
    if type(regularizer) is regularizers.OrthogonalRegularizer:
        return 0.0, 0.0, regularizer.factor, float(regularizer.mode == "columns")
    raise ValueError(
        f"{regularizer!r} can't be trained with: L1, L2, L1L2 and OrthogonalRegularizer have compiled forms"
    )


def _constraint(constraint: constraints.Constraint | None) -> tuple[int, int, tuple[float, float, float]]:
    """Kind in kernels.adjust.CONSTRAINTS, axis, and its numbers."""
    none = (0.0, 0.0, 0.0)
    if constraint is None:
        return 0, 0, none
    if type(constraint) is constraints.NonNeg:
        return 1, 0, none
    if type(constraint) is constraints.MaxNorm:
        return 2, constraint.axis, (0.0, constraint.max_value, 1.0)
    if type(constraint) is constraints.MinMaxNorm:
        return 2, constraint.axis, (constraint.min_value, constraint.max_value, constraint.rate)
    if type(constraint) is constraints.UnitNorm:
        return 3, constraint.axis, none
    raise ValueError(
        f"{constraint!r} can't be trained with: NonNeg, MaxNorm, MinMaxNorm and UnitNorm have compiled forms"
    )


def adjustments(layers: Sequence[Layer], theta: np.ndarray, optimizer: optimizers.Optimizer) -> Adjustments | None:
    """What is to be done besides the optimizer's step, or None where there is nothing."""
    items, places, needed = [], [], optimizer.adjusts
    for layer in layers:
        trained = layer.trainable_variables
        needed |= len(trained) < sum(variable.trained for variable in layer.variables) and not _is_direct(optimizer)
        for variable in trained:
            needed |= variable.regularizer is not None or variable.constraint is not None
            _regularizer(variable.regularizer)
            _constraint(variable.constraint)
            items.append((variable, optimizer.decays(f"{layer.name}/{variable.name}")))
            places.append(_place(variable.view, theta))
    return Adjustments(tuple(places), tuple(items)) if needed and items else None


def _is_direct(optimizer: optimizers.Optimizer) -> bool:
    return optimizer.kernel_name == "sgd" and not optimizer.adjusts


def _place(view: np.ndarray, theta: np.ndarray) -> tuple[int, int, int, int]:
    """Start, rows, units and distance of two rows of a view of theta; a bias is one row."""
    item = theta.itemsize
    start = (view.ctypes.data - theta.ctypes.data) // item
    if view.ndim == 1:
        row = -(-view.size * item // 64) * 64 // item
        return start, 1, view.size, row
    return start, view.shape[0], view.shape[1], view.strides[0] // item


def _view(values: np.ndarray, place: tuple[int, int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """The variable at that place of an array that is laid out as theta."""
    start, rows, units, row = place
    return values[start : start + rows * row].reshape(rows, row)[:, :units].reshape(shape)


def penalty(layers: Sequence[Layer]) -> float:
    """Sum of the penalties on all weights."""
    return sum(
        variable.regularizer(variable.view)
        for layer in layers
        for variable in layer.trainable_variables
        if variable.regularizer is not None
    )


# ---------------------------------------------------------------------------------------------- training


class Trainer:
    """The steps of training of one compiled model; it lives until compile or another layer.

    Args:
        layers: Of the model.
        layout: Of the model.
        theta: Its parameters.
        optimizer: As compiled.
    """

    def __init__(
        self, layers: Sequence[Layer], layout: plans.Layout, theta: np.ndarray, optimizer: optimizers.Optimizer
    ):
        self.layout, self._theta, self.optimizer = layout, theta, optimizer
        self._adjust = adjustments(layers, theta, optimizer)
        kernel = optimizer.kernel_name
        self.slots = plans.slots(layout, kernel, optimizer.slot_start)
        if optimizer.use_ema:
            mean = np.zeros(layout.size, layout.dtype)
            self.slots = plans.joined(self.slots, mean)
        # One for all sizes of batches: where several make a step, it holds the sum of those that wait.
        self._gradient = aligned_zeros(layout.size if self.swept else 0, layout.dtype)
        self._variables = [
            (i, variable.name, _place(variable.view, theta), variable.view.shape)
            for i, layer in enumerate(layers)
            for variable in layer.trainable_variables
        ]
        self._plans: dict[Any, Any] = {}
        self._scratch: dict[Any, Any] = {}
        self._paces: dict[Any, threads.Pace] = {}
        #: Number, from 1, of the batch of the last slice whose loss was not finite and which was not trained on.
        self.diverged = 0

    @property
    def swept(self) -> bool:
        """Whether gradients are summed apart from the weights."""
        return self._adjust is not None or self.optimizer.kernel_name != "sgd"

    def plan(self, scorer: Scorer) -> Any:
        """The kernels' tables."""
        found = self._plans.get(scorer.key)
        if found is None:
            found = self._plans[scorer.key] = plans.plan(
                self.layout, scorer.loss, scorer.scorings, self.optimizer.kernel_name, adjust=self._adjust,
                every=self.optimizer.every,
            )  # fmt: skip
        return found

    def scratch(self, batch: int, scorer: Scorer, data: Data, team: int) -> Any:
        """Buffers for batches of up to so many rows of the data."""
        weighted, dense = data.weights.size > 0, data.starts.size == 0
        key = batch, scorer.means, weighted, dense, team
        if key not in self._scratch:
            if len(self._scratch) >= _KEPT_WORKSPACES:
                self._scratch.clear()
            made = plans.scratch(
                self.layout, batch, team, scorer.means, train=True, weighted=weighted,
                partial=0 if self._adjust is None else self._adjust.partial, dense=dense,
            )  # fmt: skip
            self._scratch[key] = made._replace(gradient=self._gradient)
        return self._scratch[key]

    def steps(
        self,
        scorer: Scorer,
        data: Data,
        order: np.ndarray,
        batch: int,
        totals: np.ndarray,
        single: bool = False,
    ) -> Iterator[tuple[int, int]]:
        """Train on all batches of `order`, a slice at a time; yields how many are done before each slice, and after it.

        Args:
            scorer: What they are scored by.
            data: The samples.
            order: Which of them, in batches.
            batch: Samples of a batch.
            totals: Sums over the samples, added to.
            single: Whether a slice is one batch.
        """
        layout, optimizer = self.layout, self.optimizer
        steps, samples = math.ceil(len(order) / batch), len(order)
        operations = layout.step_operations(min(batch, samples), _inputs(layout, data))
        team = min(threads.team_size(operations), layout.most_threads)
        pace = self._paces.get((batch, team))
        scratch, plan = self.scratch(batch, scorer, data, team), self.plan(scorer)

        def take(size: int, first: int, last: int) -> float:
            begin = time.perf_counter()
            hyper, scratch.sync[DIVERGED] = optimizer.counting(), 0
            threads.run(
                kernels.run, size, scratch.sync, plan, self._theta, self.slots, hyper, rates, data, order, batch, first,
                last, scratch, totals, _NO_OUT[layout.dtype.name], True,
            )  # fmt: skip
            self.diverged = int(scratch.sync[DIVERGED])
            return time.perf_counter() - begin

        rates = optimizer.rates(steps)
        if pace is None:
            pace = self._paces[batch, team] = threads.Pace(team, max(1, int(_FIRST_SLICE / operations)))
            take(1, 0, 0)  # loads the kernel: while it is compiled here, and not in a team, Ctrl-C is heard
            take(team, 0, 0)  # starts the threads, so that no slice's time has that in it
        first = 0
        while first < steps:
            size, count = pace.next(steps - first)
            count = 1 if single else count
            yield first, first
            if not optimizer.is_scheduled and rates[first] != optimizer.learning_rate:
                rates = optimizer.rates(steps)  # a callback has set it
            pace.took(count, take(size, first, first + count))
            count = self.diverged - first if self.diverged else count
            first += count
            yield first - count, first
            if self.diverged:
                return

    def state(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """What the next step depends on besides the weights, as views: "<i>/<layer>/<variable>" by names of the layers.

        The optimizer's arrays i, and "gradient" of batches that wait for their step.
        """
        size = self.layout.size
        blocks = {str(i): self.slots[i * size : (i + 1) * size] for i in range(self.slots.size // size)}
        if self.optimizer.every > 1:
            blocks["gradient"] = self._gradient
        return {
            f"{block}/{names[owner]}/{name}": _view(values, place, shape)
            for block, values in blocks.items()
            for owner, name, place, shape in self._variables
        }

    def renumber(self, layout: plans.Layout) -> None:
        """Take a layout that differs in numbers of operations only."""
        self.layout = layout
        self._plans.clear()

    def batch(self, scorer: Scorer, data: Data, count: int, totals: np.ndarray) -> None:
        """Train one step on the first `count` samples of data."""
        for _ in self.steps(scorer, data, np.arange(count), count, totals, single=True):
            pass

    def gradients(
        self, layers: Sequence[Layer], scorer: Scorer, data: Data, count: int
    ) -> dict[str, list[np.ndarray]]:  # fmt: skip
        """Gradients of the mean loss of `count` samples, by layer, of the arrays that are trained; nothing changes."""
        layout = self.layout
        # As a step of which the optimizer changes nothing, so that the gradient is left.
        plan = self.plan(scorer)._replace(direct=0, trainable=0, adjust=0, every=1)
        scratch = plans.scratch(
            layout, count, 1, scorer.means, swept=True, train=True, weighted=data.weights.size > 0,
            dense=data.starts.size == 0,
        )  # fmt: skip
        totals, theta = plans.totals(plan, scorer.scorings), plans.aligned_copy(self._theta)
        threads.run(
            kernels.run, 1, scratch.sync, plan, theta, self.slots, self.optimizer.hyper(), np.zeros(1), data,
            np.arange(count), count, 0, 1, scratch, totals, _NO_OUT[layout.dtype.name], True,
        )  # fmt: skip
        found = {}
        for layer in layers:
            own = []
            for variable in layer.trainable_variables:
                own.append(_view(scratch.gradient, _place(variable.view, self._theta), variable.view.shape).copy())
            if own:
                found[layer.name] = own
        return found

    def finish(self) -> None:
        """At the end of a fit: running means take the place of the weights."""
        if self.optimizer.use_ema and self.optimizer.iterations:
            mean = self.slots[SLOTS[self.optimizer.kernel_name] * self.layout.size :]
            for _, _, place, shape in self._variables:  # the others have none
                _view(self._theta, place, shape)[...] = _view(mean, place, shape)


def divergence(layers: Sequence[Layer], optimizer: optimizers.Optimizer, loss: float, epoch: int, batch: int) -> str:
    """What is said when the loss of a batch, counted from 1 as the epoch is, is NaN or infinite."""
    largest = {layer.name: max(float(np.abs(w).max()) for w in layer.weights) for layer in layers if layer.weights}
    lost = [name for name, value in largest.items() if not math.isfinite(value)]
    name = lost[0] if lost else max(largest, key=largest.__getitem__)
    where = "has weights that are not finite" if lost else f"has the largest weights, up to {largest[name]:.3g}"
    clips = optimizer.clipnorm or optimizer.clipvalue or optimizer.global_clipnorm
    return (
        f"training diverged in epoch {epoch}, batch {batch}: the loss is {loss}. Layer {name!r} {where}. Try a smaller "
        f"learning_rate (now {optimizer.learning_rate:g}), {'' if clips else 'clipnorm=1.0 in the optimizer, '}or "
        "inputs scaled to about -1 to 1. The weights are those before that batch; model.history holds the epochs before"
    )


# ---------------------------------------------------------------------------------------------- inference


def _inputs(layout: plans.Layout, data: Data) -> float:
    """How many inputs of a sample are multiplied, on the average."""
    rows = (len(data.starts) - 1) // (len(data.parts) - 1)
    return len(data.value) / max(1, rows) if len(data.starts) else layout.inputs


class Runner:
    """Batches through the network of one model, without training; keeps its buffers.

    Args:
        layout: Of the model.
        theta: Its parameters.
        shape: Of one sample.
    """

    def __init__(self, layout: plans.Layout, theta: np.ndarray, shape: tuple[int, ...]):
        self.layout, self._theta = layout, theta
        #: Shape of what one() takes; operations go the long way for one row, too.
        self.one_shape = (1, *shape) if layout.only_dense else None
        self._one: Any = None
        self._workspaces: dict[tuple[int, int, int, bool, bool, str], list[Any]] = {}
        self._plans: dict[Any, Any] = {}

    def plan(self, scorer: Scorer | None = None) -> Any:
        """The kernels' tables; without a scorer for the output alone."""
        key = None if scorer is None else scorer.key
        found = self._plans.get(key)
        if found is None:
            found = plans.plan(self.layout) if scorer is None else plans.plan(self.layout, scorer.loss, scorer.scorings)
            self._plans[key] = found
        return found

    def one(self, x: np.ndarray) -> np.ndarray | None:
        """Output for a sample of that shape, uint8 or of the model's type; None if it is not finite."""
        if self._one is None:
            layout, plan = self.layout, self.plan()
            floats = 2, int(layout.tables["row"][1:].max())
            self._one = layout.one_row(plan), plan.numbers, layout.scale, floats, (1, layout.outputs), layout.dtype
        tables, numbers, scale, floats, shape, dtype = self._one
        out = np.empty(shape, dtype)
        found = single.predict_one(tables, numbers, scale, self._theta, x.reshape(-1), np.empty(floats, dtype), out)
        return out if found else None

    def run(self, data: Data, order: np.ndarray, scorer: Scorer | None, totals: np.ndarray, out: np.ndarray) -> bool:
        """Take the samples of `order` through the network for whichever of totals and out are not empty.

        Returns whether all inputs are finite.
        """
        layout, count = self.layout, len(order)
        weights = layout.weights
        if len(data.starts):
            weights += int((_inputs(layout, data) - layout.inputs) * float(layout.tables["units"][1]))
        size = threads.team_size(2.0 * weights * count, waking=True)
        # A call on one row takes a few microseconds, making its buffers ten times as long: they are kept for the next
        # call, in two sizes for each team. Two threads in here at once have two of them.
        batch = 1 if count == 1 else _ROWS_PER_THREAD * size
        means, weighted = 0 if scorer is None else scorer.means, data.weights.size > 0
        dense = data.starts.size == 0
        kept = self._workspaces.setdefault((batch, size, means, weighted, dense, data.x.dtype.char), [])
        batches, plan = -(-count // batch), self.plan(scorer)
        call = plan, self._theta, _NO_SLOTS[layout.dtype.name], _NO_HYPER, _NO_RATES, data, order, batch
        try:
            scratch = kept.pop()
        except IndexError:
            scratch = plans.scratch(layout, batch, size, means, weighted=weighted, dense=dense)
            if size > 1:  # loads the kernel: while it is compiled here, and not in a team, Ctrl-C is heard
                threads.run(kernels.run, 1, scratch.sync, *call, 0, 0, scratch, totals, out, False)
        first, at_once = 0, max(1, int(_AT_FIRST / (2.0 * max(weights, _FEW_WEIGHTS) * batch)))
        while first < batches:
            begin, last = time.perf_counter(), min(first + at_once, batches)
            threads.run(kernels.run, size, scratch.sync, *call, first, last, scratch, totals, out, False)
            if last < batches:
                at_once = max(1, int(at_once * min(4.0, _SLICE / (time.perf_counter() - begin + 1e-9))))
            first = last
        finite = not scratch.sync[NOT_FINITE]
        scratch.sync[NOT_FINITE] = 0
        if len(kept) < _KEPT_WORKSPACES:
            kept.append(scratch)
        return finite

    def totals(self, scorer: Scorer, data: Data, order: np.ndarray) -> np.ndarray:
        """Sums of the loss and of the metrics over the samples of `order`."""
        totals = plans.totals(self.plan(scorer), scorer.scorings)
        self.run(data, order, scorer, totals, _NO_OUT[self.layout.dtype.name])
        return totals

    def outputs(self, data: Data, count: int) -> tuple[np.ndarray, bool]:
        """Output (count, units) of the network, and whether all inputs are finite."""
        out = np.empty((count, self.layout.outputs), self.layout.dtype)
        return out, self.run(data, np.arange(count), None, _NO_TOTALS, out)

    def layer_outputs(self, layers: Sequence[Layer], x: np.ndarray | Sparse) -> dict[str, np.ndarray]:
        """Output of each layer that is a stage, or part of one, for samples (n, k)."""
        layout, tables, plan = self.layout, self.layout.tables, self.plan()
        parts: list[list[np.ndarray]] = [[] for _ in layout.stages]
        scratch = plans.scratch(layout, min(len(x), _ROWS_PER_THREAD), 1, dense=not isinstance(x, Sparse))
        capacity = scratch.capacity
        for first in range(0, len(x), _ROWS_PER_THREAD):
            rows = x[first : first + _ROWS_PER_THREAD]
            n, out = len(rows), np.empty((len(rows), layout.outputs), layout.dtype)
            threads.run(
                kernels.run, 1, scratch.sync, plan, self._theta, _NO_SLOTS[layout.dtype.name], _NO_HYPER, _NO_RATES,
                plans.data(layout, rows, None, None), np.arange(n), n, 0, 1, scratch, _NO_TOTALS, out, False,
            )  # fmt: skip
            for i, own in enumerate(parts):
                units, row = int(tables["units"][i + 1]), int(tables["row"][i + 1])
                at = int(tables["offset"][i + 1]) * capacity
                block = scratch.acts[at : at + row * capacity]
                if i + 1 < tables["turn"]:
                    own.append(block.reshape(capacity, row)[:n, :units].copy())
                else:
                    own.append(block.reshape(row, capacity)[:units, :n].T.copy())
        found: dict[str, np.ndarray] = {}
        at = -1
        for owner, layer in enumerate(layers):
            mine = [i for i, stage in enumerate(layout.stages) if stage.owner == owner]
            if mine:
                at = mine[-1]
            elif not layer.stages(1):
                continue
            if at < 0:  # a rescaling in front: see plan.layout
                if not isinstance(x, Sparse):
                    found[layer.name] = x.astype(layout.dtype) * layout.dtype.type(layout.scale)
                continue
            found[layer.name] = np.concatenate(parts[at])
        return found
