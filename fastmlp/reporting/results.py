"""What a model says about samples whose answers are known, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import arrays, checks
from fastmlp.activations import apply

if TYPE_CHECKING:
    from fastmlp.models import Sequential


@dataclass(frozen=True)
class Results:
    """Predictions beside the truth.

    Attributes:
        kind: "classes", one of several; "binary", one unit for two; "labels", any of several; "values", regression.
        shares: What stands for each class (samples, classes), or the predicted values (samples, outputs).
        true: Class indices (samples,), or labels and values (samples, outputs).
        are_shares: Whether each row of shares is of probabilities that sum to 1.
        scores: Of the evaluation, by name; empty if the model is not compiled.
    """

    kind: str
    shares: np.ndarray
    true: np.ndarray
    are_shares: bool
    scores: dict[str, float]

    @property
    def predicted(self) -> np.ndarray:
        """The classes with the largest share; labels above one half; or the values."""
        if self.kind == "values":
            return self.shares
        if self.kind == "labels":
            return (self.shares > 0.5).astype(np.int64)
        return np.asarray(self.shares.argmax(axis=1))

    @property
    def wrong(self) -> np.ndarray:
        """Rows of the mistakes, the surest first; of values, of all rows, the largest error first."""
        if self.kind == "values":
            return np.argsort(-np.abs(self.shares - self.true).max(axis=1), kind="stable")
        if self.kind == "labels":
            return np.argsort(-np.abs(self.shares - self.true).max(axis=1), kind="stable")[: self._labels_missed()]
        wrong = np.flatnonzero(self.predicted != self.true)
        return wrong[np.argsort(-self.shares[wrong].max(axis=1), kind="stable")]

    def _labels_missed(self) -> int:
        return int((self.predicted != self.true).any(axis=1).sum())

    @property
    def accuracy(self) -> float:
        """Share of the samples, or of all labels, that are right."""
        return float((self.predicted == self.true).mean())


#: How an output becomes the shares: taken as it is, or through one of these functions, for logits and logarithms.
FORMS = ("as_it_is", "softmax", "sigmoid", "exp")


def form_of(model: Sequential) -> str:
    """Which of FORMS makes shares of the model's outputs."""
    last, _ = model._last_activation()
    if getattr(model.loss, "from_logits", False):
        return "softmax" if getattr(model.loss, "classes", False) else "sigmoid"
    return "exp" if last == "log_softmax" else "as_it_is"


def shares_of(form: str, outputs: np.ndarray) -> np.ndarray:
    """The shares by a function of FORMS, in float64."""
    outputs = outputs.astype(np.float64)
    if form == "as_it_is":
        return outputs
    return np.exp(outputs) if form == "exp" else apply((form, ()), outputs)


def results(model: Sequential, x: Any, y: Any) -> Results:
    """Predict and evaluate samples x, an array or a matrix of scipy.sparse.

    Raises:
        ValueError: If x or y doesn't fit the model.
        TypeError: If one holds no real numbers.
        RuntimeError: If the model has no weights yet.
    """
    units = model._need_built().outputs
    rows, _ = model._samples(x)
    target = arrays.numbers("y", y)
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    kind = _kind(model, units, target)
    if kind == "classes":
        target = target.argmax(axis=1) if target.ndim == 2 else checks.class_indices(target, units, "the report")
    elif kind == "binary":
        target = (target > 0.5).astype(np.int64)
    else:
        target = checks.targets(target, units, np.dtype(np.float64), "the report")
    checks.same_length(rows, target)
    outputs = model.predict(x, verbose=0)
    lost = ~np.isfinite(outputs).all(axis=1)
    if lost.any():
        raise ValueError(
            f"the model predicts {outputs[lost][0].tolist()} for row {lost.argmax()} of x: its weights are no good, or "
            "the inputs too large"
        )
    shares = outputs.astype(np.float64) if kind == "values" else shares_of(form_of(model), outputs)
    if kind == "binary":
        signed = _is_signed(model)  # hinge: the classes are -1 and 1, the border is 0
        shares = np.concatenate([-shares if signed else 1 - shares, shares], axis=1)
    are_shares = (
        kind in ("classes", "binary")
        and bool((shares >= -1e-6).all())
        and bool(np.allclose(shares.sum(axis=1), 1, atol=1e-3))
    )
    return Results(kind, shares, target, are_shares, _scores(model, x, y, kind, target, units))


def _is_signed(model: Sequential) -> bool:
    return "hinge" in getattr(model.loss, "kernel_name", "")


def _kind(model: Sequential, units: int, y: np.ndarray) -> str:
    """What sort of answers there are, by the model's end, its loss and the targets."""
    last, _ = model._last_activation()
    loss = getattr(model.loss, "kernel_name", "")
    two_values = bool(np.isin(y, (0, 1)).all()) or (_is_signed(model) and bool(np.isin(y, (-1, 1)).all()))
    if units == 1:
        binary = last == "sigmoid" or loss.startswith("binary") or _is_signed(model)
        return "binary" if binary and two_values and y.ndim == 1 else "values"
    if y.ndim == 1:
        return "classes"
    one_of = bool(np.allclose(y.sum(axis=1), 1)) and bool((y >= 0).all()) if y.ndim == 2 else False
    if one_of and (two_values or getattr(model.loss, "classes", False)):
        return "classes"
    probabilities = last == "sigmoid" or loss.startswith("binary")
    return "labels" if probabilities and two_values else "values"


def _scores(model: Sequential, x: Any, y: Any, kind: str, target: np.ndarray, units: int) -> dict[str, float]:
    """What evaluate says; the targets in the form that the loss takes, whichever were given."""
    if model.loss is None or model.optimizer is None:
        return {}
    wanted: Any = y
    if kind == "classes":
        wanted = target if model.loss.sparse else np.eye(units, dtype=model.dtype)[target]
        if not model.loss.sparse and np.ndim(y) == 2 and np.shape(y)[1] == units:
            wanted = y  # rows may be distributions
    logs = model.evaluate(x, wanted, verbose=0, return_dict=True)
    return {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}


# ------------------------------------------------------------------ tables


@dataclass(frozen=True)
class ClassRow:
    """How well one class is told from the others; precision of a class that is never predicted is NaN."""

    precision: float
    recall: float
    f1: float
    support: int


def class_rows(true: np.ndarray, predicted: np.ndarray, classes: int) -> list[ClassRow]:
    """A row for each class, from indices (samples,) or from labels 0 and 1 (samples, classes).

    >>> class_rows(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)[0]
    ClassRow(precision=1.0, recall=0.5, f1=0.6666666666666666, support=2)
    """
    if true.ndim == 1:
        true, predicted = true[:, None] == np.arange(classes), predicted[:, None] == np.arange(classes)
    hits = np.logical_and(true, predicted).sum(axis=0)
    support, claimed = np.sum(true, axis=0).astype(int), np.sum(predicted, axis=0).astype(int)
    return [
        ClassRow(_ratio(hit, claim), _ratio(hit, own), _ratio(2 * hit, claim + own), int(own))
        for hit, claim, own in zip(hits, claimed, support)
    ]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes): true classes in rows."""
    return np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def roc(true: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """False and true positive rates from the highest threshold to the lowest, and the area below them.

    The area is NaN where only one class occurs.

    >>> roc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))[2]
    0.75
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # of equal scores all or none are above a threshold
    hits = np.append(0, np.cumsum(true[order] == 1)[last])
    alarms = np.append(0, np.cumsum(true[order] != 1)[last])
    if not hits[-1] or not alarms[-1]:
        return alarms / max(alarms[-1], 1), hits / max(hits[-1], 1), float("nan")
    false_rate, true_rate = alarms / alarms[-1], hits / hits[-1]
    area = np.sum(np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2)
    return false_rate, true_rate, float(area)


@dataclass(frozen=True)
class ValueRow:
    """How near one output comes; r2 is NaN where the true values don't vary."""

    r2: float
    mae: float
    rmse: float
    bias: float
    largest: float


def value_rows(true: np.ndarray, predicted: np.ndarray) -> list[ValueRow]:
    """A row for each output (samples, outputs)."""
    error = predicted - true
    spread = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    left = (error**2).sum(axis=0)
    return [
        ValueRow(
            float(1 - left[j] / spread[j]) if spread[j] else float("nan"),
            float(np.abs(error[:, j]).mean()),
            float(np.sqrt((error[:, j] ** 2).mean())),
            float(error[:, j].mean()),
            float(np.abs(error[:, j]).max()),
        )
        for j in range(true.shape[1])
    ]
