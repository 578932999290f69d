"""Where the batches of fit, evaluate and predict come from: arrays, files, or an iterable of batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, random
from . import plan as plans
from .training import Samples, Trainer

if TYPE_CHECKING:
    from .models import Sequential


class Source:
    """Batches of an epoch.

    Attributes:
        shape: Of one sample.
        steps: Batches of an epoch, or None where that is not known.
        is_empty: Whether the last epoch found nothing to train on.
        held_out: Samples to validate with instead of those that fit has split off, once resume has found others.
    """

    shape: tuple[int, ...] = ()
    steps: int | None = None
    is_empty = False
    held_out: Samples | None = None

    _totals: np.ndarray
    # Samples of the epoch so far, and, where one may stop within it, the generator's state before it drew from it.
    _samples = 0
    _before = np.zeros(0, np.uint8)
    _resumed: tuple[int, Mapping[str, np.ndarray], bool] | None = None

    def begin(self, trainer: Trainer) -> None:
        """Prepare for the epochs."""
        raise NotImplementedError

    def epoch(self, single: bool) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Train an epoch in slices: yields (first, first, {}) before each and (first, behind the last, logs) after.

        An epoch that is resumed may yield (batches done, -1, logs) first, as none may be left.
        """
        raise NotImplementedError

    def progress(self) -> dict[str, np.ndarray]:
        """What the running epoch depends on besides the model."""
        return {"totals": self._totals, "samples": np.array(self._samples), "before": self._before}

    def resume(self, batch: int, progress: Mapping[str, np.ndarray], stopped: bool) -> None:
        """Begin the next epoch behind so many batches, where progress() was asked; `stopped` lets no other follow.

        Raises:
            ValueError: If it was asked of another source.
        """
        samples = progress["samples"]
        if samples.shape != () or samples.dtype.kind not in "iu" or progress["totals"].dtype.kind != "f":
            raise ValueError("the backup doesn't hold the sums of an epoch; delete it to start the training anew")
        if progress["totals"].shape != self._totals.shape:
            raise ValueError(
                f"the backup holds sums of {progress['totals'].size} losses and metrics, but the model has "
                f"{self._totals.size}; compile it with the same ones, or delete the backup"
            )
        if batch and self.steps is not None and batch > self.steps:
            raise ValueError(
                f"the backup was made behind {batch} batches of an epoch, which now has {self.steps}; give the same "
                "samples and batch_size, or delete the backup"
            )
        if batch:
            self._resumed = batch, progress, stopped

    def _start(self, single: bool) -> tuple[int, bool]:
        """Begin an epoch; how many of its batches are done already, and whether it is to end there."""
        first, stopped, self._samples = 0, False, 0
        self._before = random.state() if single else np.zeros(0, np.uint8)
        self._totals[:] = 0
        if self._resumed is not None:
            first, progress, stopped = self._resumed
            self._totals[:], self._samples = progress["totals"], int(progress["samples"])
            self._before, self._resumed = progress["before"], None
        return first, stopped


class Arrays(Source):
    """Batches of arrays, in an order that is drawn anew for each epoch."""

    def __init__(
        self,
        model: Sequential,
        train: Samples,
        chosen: np.ndarray | None,
        batch: int,
        shuffle: bool,
        steps_per_epoch: int | None,
        split: Callable[[], tuple[Samples, np.ndarray | None, Samples]] | None = None,
        drawn: np.ndarray | None = None,
    ):
        self._model, self._train, self._shuffle = model, train, shuffle
        # What has split off the samples to validate with, by the generator in the state `drawn`.
        self._split, self._drawn = split, drawn
        self._chosen = np.arange(len(train)) if chosen is None else chosen
        self._batch = min(batch, len(self._chosen))
        self.shape = train.shape
        steps = math.ceil(len(self._chosen) / batch)
        self.steps = steps if steps_per_epoch is None else min(steps_per_epoch, steps)

    def begin(self, trainer: Trainer) -> None:
        """Bring the samples into the kernels' form."""
        self._trainer = trainer
        self._scorer = self._model._scorer(self._train)
        if not self._train.in_slices:
            self._data = self._train.for_kernels(self._model._need_built(), train=True)
        self._totals = plans.totals(trainer.plan(self._scorer), self._scorer.scorings)

    def epoch(self, single: bool) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Train an epoch."""
        order, weighted = self._chosen, self._train.weights is not None
        first, stopped = self._start(single)
        if self._shuffle and first:
            with random.kept():  # it stands where the backup was made
                random.set_state(self._before)
                order = random.generator().permutation(order)
        elif self._shuffle:
            order = random.generator().permutation(order)
        if self.steps is not None:
            order = order[: self.steps * self._batch]
        if stopped or (first and first == self.steps):
            yield first, -1, self._scorer.logs(self._totals, self._samples, weighted)
            return
        for before, begin, done in self._steps(order, single, first):
            if begin == done:
                yield before + begin, before + done, {}
            else:
                self._samples = min((before + done) * self._batch, len(order))
                yield before + begin, before + done, self._scorer.logs(self._totals, self._samples, weighted)

    def progress(self) -> dict[str, np.ndarray]:
        """The same, and where the generator stood before it drew which samples validate."""
        drawn = {} if self._drawn is None else {"drawn": self._drawn}
        return {**super().progress(), **drawn}

    def resume(self, batch: int, progress: Mapping[str, np.ndarray], stopped: bool) -> None:
        """The same, with the samples that have validated before."""
        super().resume(batch, progress, stopped)
        if self._split is None or self._drawn is None or "drawn" not in progress:
            return
        if not np.array_equal(progress["drawn"], self._drawn):
            with random.kept():
                random.set_state(progress["drawn"])
                _, chosen, self.held_out = self._split()
            if chosen is not None:
                self._chosen = chosen
            self._drawn = progress["drawn"]

    def _steps(self, order: np.ndarray, single: bool, done_before: int) -> Iterator[tuple[int, int, int]]:
        """Trainer.steps of the order behind its first batches, or of a part after the other with those before it."""
        scorer, batch, totals = self._scorer, self._batch, self._totals
        if not self._train.in_slices:
            rest = order[done_before * batch :]
            for begin, done in self._trainer.steps(scorer, self._data, rest, batch, totals, single):
                yield done_before, begin, done
            return
        layout = self._model._need_built()
        step = self._train.rows_of_slice(layout.inputs, batch)
        for first in range(done_before * batch, len(order), step):
            piece = self._train.converted(order[first : first + step], self._model.dtype)
            data = piece.for_kernels(layout, compress=False, train=True)
            for begin, done in self._trainer.steps(scorer, data, np.arange(len(piece)), batch, totals, single):
                yield first // batch, begin, done


class Batches(Source):
    """Batches that an iterable yields: (x, y), or (x, y, weights)."""

    def __init__(self, model: Sequential, batches: Any, steps: int | None, class_weight: dict[int, float] | None):
        self._model, self._batches, self._class_weight = model, batches, class_weight
        self.steps = steps
        if steps is None and hasattr(batches, "__len__"):
            self.steps = len(batches)
        self._limit = steps
        # The first batch tells the shape; it is kept for the first pass, together with what comes behind it.
        self._pass: Iterator[Samples] | None = self._raw()
        first = next(self._pass, None)
        if first is None:
            raise ValueError("the iterable of batches is empty")
        self._first: Samples | None = first
        self._scored = first
        self.shape = first.shape

    def _raw(self) -> Iterator[Samples]:
        """The batches from the iterable's start, or from where an iterator stands, checked."""
        for batch in checks.batches(self._batches):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise ValueError(f"an iterable must yield (x, y) or (x, y, weights), got {type(batch).__name__}")
            x, y, *weights = batch
            own = weights[0] if weights else None
            yield self._model._pair(x, y, own, self._class_weight, " of a batch")

    def pieces(self, done: int = 0) -> Iterator[Samples]:
        """The batches of one pass, behind so many that are done: an iterator is taken to stand behind them."""
        # An iterator that is limited goes on where it stood; anything else begins anew for each pass.
        source = self._raw() if self._pass is None else self._pass
        goes_on = hasattr(self._batches, "__next__")
        self._pass = source if goes_on else None
        first, self._first = self._first, None
        count = done
        for _ in range(0 if goes_on else done):
            if first is None:
                next(source, None)
            first = None
        while self._limit is None or count < self._limit:
            piece = first if first is not None else next(source, None)
            first = None
            if piece is None:
                return
            yield piece
            count += 1

    def begin(self, trainer: Trainer) -> None:
        """Nothing to prepare but what batches are scored by."""
        self._trainer = trainer
        self._scorer = self._model._scorer(self._scored)
        self._totals = plans.totals(trainer.plan(self._scorer), self._scorer.scorings)

    def epoch(self, single: bool) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Train an epoch."""
        step, stopped = self._start(single)
        layout, weighted = self._model._need_built(), self._scored.weights is not None
        if step:
            yield step, -1, self._scorer.logs(self._totals, self._samples, weighted)
        for piece in () if stopped else self.pieces(step):
            yield step, step, {}
            data = piece.for_kernels(layout, compress=False, train=True)
            self._trainer.batch(self._scorer, data, len(piece), self._totals)
            self._samples += len(piece)
            step += 1
            yield step - 1, step, self._scorer.logs(self._totals, self._samples, piece.weights is not None)
        self.is_empty = step == 0
        if self.is_empty:
            warnings.warn("the iterable of batches has run out before the last epoch; training ends", stacklevel=4)


def inputs_of(batches: Any, steps: int | None) -> Iterator[Any]:
    """The x of batches to predict."""
    for step, batch in enumerate(checks.batches(batches)):
        if step == steps:
            return
        if isinstance(batch, (tuple, list)) and not len(batch):
            raise ValueError(
                "an iterable of batches to predict must yield x, or x in front of others; it yields nothing"
            )
        yield batch[0] if isinstance(batch, (tuple, list)) else batch


def split(samples: Samples, fraction: Any, how: str) -> tuple[Samples, np.ndarray | None, Samples]:
    """Samples to train on, which of them, and those to validate with."""
    how = checks.known_name("validation_from", how, ("tail", "shuffled", "stratified"))
    at = checks.split(len(samples), fraction)
    if how == "tail":
        return samples.rows(slice(0, at)), None, samples.rows(slice(at, None))
    order = random.generator().permutation(len(samples))
    if how == "stratified":
        classes = samples.labels
        if classes is None and samples.targets is not None:
            targets = samples.targets
            classes = targets.argmax(axis=1) if targets.shape[1] > 1 else targets[:, 0]
        assert classes is not None
        # Each class in turn from the shuffled order; every sample's place in its class decides.
        kept = np.zeros(len(samples), bool)
        for value in np.unique(classes):
            own = order[classes[order] == value]
            kept[own[: round(len(own) * (1 - float(fraction)))]] = True
        order = np.concatenate([order[kept[order]], order[~kept[order]]])
        at = int(kept.sum())
        if at in (0, len(samples)):
            raise ValueError(f"{len(samples)} samples are not enough to split off {fraction} of each class")
    return samples, np.sort(order[:at]), samples.rows(np.sort(order[at:]))
