"""Where the batches of fit, evaluate and predict come from: arrays, files, or an iterable of batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
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
    """

    shape: tuple[int, ...] = ()
    steps: int | None = None
    is_empty = False

    def begin(self, trainer: Trainer) -> None:
        """Prepare for the epochs."""
        raise NotImplementedError

    def epoch(self, single: bool) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Train an epoch in slices: yields (first, first, {}) before each and (first, behind the last, logs) after."""
        raise NotImplementedError


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
    ):
        self._model, self._train, self._shuffle = model, train, shuffle
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
        if self._shuffle:
            order = random.generator().permutation(order)
        if self.steps is not None:
            order = order[: self.steps * self._batch]
        self._totals[:] = 0
        for before, begin, done in self._steps(order, single):
            if begin == done:
                yield before + begin, before + done, {}
            else:
                samples = min((before + done) * self._batch, len(order))
                yield before + begin, before + done, self._scorer.logs(self._totals, samples, weighted)

    def _steps(self, order: np.ndarray, single: bool) -> Iterator[tuple[int, int, int]]:
        """Trainer.steps of the whole order, or of a part after the other with the batches before it."""
        scorer, batch, totals = self._scorer, self._batch, self._totals
        if not self._train.in_slices:
            for begin, done in self._trainer.steps(scorer, self._data, order, batch, totals, single):
                yield 0, begin, done
            return
        layout = self._model._need_built()
        step = self._train.rows_of_slice(layout.inputs, batch)
        for first in range(0, len(order), step):
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

    def pieces(self) -> Iterator[Samples]:
        """The batches of one pass."""
        # An iterator that is limited goes on where it stood; anything else begins anew for each pass.
        source = self._raw() if self._pass is None else self._pass
        goes_on = hasattr(self._batches, "__next__")
        self._pass = source if goes_on else None
        first, self._first = self._first, None
        count = 0
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
        self._totals[:] = 0
        layout, samples, step = self._model._need_built(), 0, 0
        for piece in self.pieces():
            yield step, step, {}
            data = piece.for_kernels(layout, compress=False, train=True)
            self._trainer.batch(self._scorer, data, len(piece), self._totals)
            samples += len(piece)
            step += 1
            yield step - 1, step, self._scorer.logs(self._totals, samples, piece.weights is not None)
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
