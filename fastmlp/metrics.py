"""Metrics: what fit and evaluate report beside the loss, computed in the compiled pass over the data.

Each is a description. Most are means over the samples; the others count while the batches pass, and are made of the
counts at the end. A metric of one's own is a compiled function of one sample: see Custom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import losses
from .checks import known_name, number, positive_int, resolve, switch
from .kernels import custom as _custom
from .plan import Scoring
from .serialization import Configurable, deserialize


class Metric(Configurable, kind="metric"):
    """Base of the metrics.

    Attributes:
        name: What History and evaluate call it.
        needs: "labels" (class indices, of which one-hot rows are made where a metric of values needs them) or "values".
    """

    needs = "values"
    _default = ""

    def __init__(self, name: str | None = None):
        self.name = name or self._default

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself, or the one that is meant for a last layer of so many units; sparse if y is class indices.

        Raises:
            ValueError: If the targets don't fit the metric.
        """
        if sparse and self.needs == "values":
            raise ValueError(
                f"{self._default} compares y with each unit but y holds class indices; use y = to_categorical(y)"
            )
        return self

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        raise NotImplementedError(f"{type(self).__name__} must define scoring")

    def scoring_of(self, units: int, targets: np.ndarray | None) -> Scoring:
        """The same for targets of that kind, where they make a difference."""
        return self.scoring(units)

    def prepare(self, dtype: np.dtype) -> None:
        """Whatever must be ready before it scores outputs of that type."""

    def result(self, values: np.ndarray) -> Any:
        """The metric: of a mean, from the mean over the samples in values[0]; else from the counts."""
        return float(values[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


# ------------------------------------------------------------------ accuracy


class Accuracy(Metric):
    """Chosen by the shape of the targets, as Keras does, whatever the loss: binary for one unit, else categorical."""

    _default = "accuracy"

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric that is meant."""
        return BinaryAccuracy(self.name) if units == 1 else _Categorical(self.name)


class BinaryAccuracy(Metric):
    """Share of the outputs for which (p > threshold) is the target."""

    _default = "binary_accuracy"

    def __init__(self, name: str | None = None, threshold: float = 0.5):
        super().__init__(name)
        self.threshold = number("threshold", threshold, -math.inf, math.inf)

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return Scoring("binary_accuracy", (self.threshold,))


class _Categorical(Metric):
    """Share of the samples whose largest output is at the label, or at the largest target."""

    needs = "labels"
    _default = "categorical_accuracy"

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return Scoring("categorical_accuracy")


class CategoricalAccuracy(_Categorical):
    """Share of the samples whose largest output is at the largest target."""

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself."""
        if sparse:
            raise ValueError(
                f"{self._default} needs one-hot rows but y holds class indices; "
                f'use "sparse_{self._default}"' + (', or "accuracy", which finds out' if "top" not in self.name else "")
            )
        return self


class SparseCategoricalAccuracy(_Categorical):
    """The same for targets that are class indices."""

    _default = "sparse_categorical_accuracy"

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself."""
        if not sparse:
            raise ValueError(
                f"{self._default} needs class indices but y has a column for each unit; "
                f'use "{self._default.removeprefix("sparse_")}"'
                + (', or "accuracy", which finds out' if "top" not in self._default else "")
            )
        return self


class TopKCategoricalAccuracy(CategoricalAccuracy):
    """Share of the samples whose label is among the k largest outputs; equal outputs count for it.

    Args:
        k: How many; 5 is Keras's default.
        name: Name of the object.
    """

    _default = "top_k_categorical_accuracy"

    def __init__(self, k: int = 5, name: str | None = None):
        super().__init__(name)
        self.k = positive_int("k", k)

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return Scoring("top_k_categorical_accuracy", (float(self.k),))


class SparseTopKCategoricalAccuracy(SparseCategoricalAccuracy):
    """The same for targets that are class indices."""

    _default = "sparse_top_k_categorical_accuracy"

    def __init__(self, k: int = 5, name: str | None = None):
        super().__init__(name)
        self.k = positive_int("k", k)

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return Scoring("top_k_categorical_accuracy", (float(self.k),))


# ------------------------------------------------------------------ every loss, and what is made of one


class _OfLoss(Metric):
    """A loss, reported as a metric."""

    _loss: type[losses.Loss] = losses.Loss

    def __init__(self, name: str | None = None, **arguments: Any):
        super().__init__(name)
        self.loss = self._loss(**arguments)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal object: the loss's, and the name."""
        return {**self.loss.get_config(), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Object from what get_config returned; see Configurable.from_config."""
        if not isinstance(config, dict):
            return super().from_config(config)  # which refuses it
        made = cls(config.get("name"))
        made.loss = cls._loss.from_config({key: value for key, value in config.items() if key != "name"})
        return made

    @property
    def needs(self) -> str:  # type: ignore[override]
        """Kind of its targets."""
        return "labels" if self.loss.sparse else "values"

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself."""
        if self.loss.sparse and not sparse:
            raise ValueError(f"{self._default} needs class indices but y has a column for each unit")
        return super().for_targets(units, sparse)

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return self.scoring_of(units, None)

    def scoring_of(self, units: int, targets: np.ndarray | None) -> Scoring:
        """What it is to the kernels: a hinge takes targets 0 and 1 for -1 and 1."""
        own = self.loss.scoring(targets)
        return Scoring(own.kernel, own.numbers)


def _of_loss(name: str, loss: type[losses.Loss], default: str, text: str) -> type[_OfLoss]:
    return type(name, (_OfLoss,), {"_loss": loss, "_default": default, "__doc__": text, "__module__": __name__})


MeanSquaredError = _of_loss("MeanSquaredError", losses.MeanSquaredError, "mean_squared_error", "Mean of (y - p)^2.")
MeanAbsoluteError = _of_loss(
    "MeanAbsoluteError", losses.MeanAbsoluteError, "mean_absolute_error", "Mean of |y - p|."
)  # fmt: skip
MeanAbsolutePercentageError = _of_loss(
    "MeanAbsolutePercentageError",
    losses.MeanAbsolutePercentageError,
    "mean_absolute_percentage_error",
    "Mean of 100 |y - p| / |y|.",
)
MeanSquaredLogarithmicError = _of_loss(
    "MeanSquaredLogarithmicError",
    losses.MeanSquaredLogarithmicError,
    "mean_squared_logarithmic_error",
    "Mean of (log(1 + y) - log(1 + p))^2.",
)
LogCoshError = _of_loss("LogCoshError", losses.LogCosh, "logcosh", "Mean of log cosh(p - y).")
Huber = _of_loss("Huber", losses.Huber, "huber", "The Huber loss; argument delta.")
Poisson = _of_loss("Poisson", losses.Poisson, "poisson", "The Poisson loss.")
KLDivergence = _of_loss("KLDivergence", losses.KLDivergence, "kl_divergence", "The Kullback-Leibler divergence.")
Hinge = _of_loss("Hinge", losses.Hinge, "hinge", "The hinge loss.")
SquaredHinge = _of_loss("SquaredHinge", losses.SquaredHinge, "squared_hinge", "The squared hinge loss.")
CategoricalHinge = _of_loss("CategoricalHinge", losses.CategoricalHinge, "categorical_hinge", "The categorical hinge.")
BinaryCrossentropy = _of_loss(
    "BinaryCrossentropy",
    losses.BinaryCrossentropy,
    "binary_crossentropy",
    "The loss; arguments from_logits, label_smoothing.",
)
CategoricalCrossentropy = _of_loss(
    "CategoricalCrossentropy",
    losses.CategoricalCrossentropy,
    "categorical_crossentropy",
    "The loss; arguments from_logits, label_smoothing.",
)
SparseCategoricalCrossentropy = _of_loss(
    "SparseCategoricalCrossentropy",
    losses.SparseCategoricalCrossentropy,
    "sparse_categorical_crossentropy",
    "The loss; argument from_logits.",
)
BinaryFocalCrossentropy = _of_loss(
    "BinaryFocalCrossentropy", losses.BinaryFocalCrossentropy, "binary_focal_crossentropy", "The loss."
)
CategoricalFocalCrossentropy = _of_loss(
    "CategoricalFocalCrossentropy", losses.CategoricalFocalCrossentropy, "categorical_focal_crossentropy", "The loss."
)


class CosineSimilarity(_OfLoss):
    """sum_j y_j p_j / (|y| |p|), mean over the samples; the loss of this name is its negative."""

    _loss = losses.CosineSimilarity
    _default = "cosine_similarity"

    def result(self, values: np.ndarray) -> float:
        """The metric."""
        return -float(values[0])


class RootMeanSquaredError(_OfLoss):
    """Square root of the mean of (y - p)^2."""

    _loss = losses.MeanSquaredError
    _default = "root_mean_squared_error"

    def result(self, values: np.ndarray) -> float:
        """The metric."""
        return math.sqrt(values[0])


# ------------------------------------------------------------------ counts at thresholds


class _AtThresholds(Metric):
    """Base of the metrics made of true and false positives and negatives at thresholds.

    Args:
        thresholds: One, or several, above which an output is positive; None is 0.5 (or 0 where top_k is given).
        top_k: Only so many of a sample's largest outputs are positive.
        class_id: Look at this unit only.
        name: Name of the object.
    """

    needs = "any"
    _even = False

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ):
        super().__init__(name)
        self.top_k = None if top_k is None else positive_int("top_k", top_k)
        self.class_id = None if class_id is None else positive_int("class_id", class_id, least=0)
        self.thresholds = thresholds
        given = (0.5 if top_k is None else -math.inf) if thresholds is None else thresholds
        try:
            self._thresholds = [float(t) for t in np.atleast_1d(np.asarray(given, float))]
        except (TypeError, ValueError):
            raise TypeError(f"thresholds must be a number or several, got {thresholds!r}") from None
        if thresholds is not None and not all(0 <= t <= 1 for t in self._thresholds):
            raise ValueError(f"thresholds must lie from 0 to 1, got {thresholds}")
        self._sparse = False

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself."""
        if self.class_id is not None and self.class_id >= units:
            raise ValueError(f"class_id {self.class_id} is not below the last layer's {units} units")
        self._sparse = sparse and units > 1
        return self

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        ascending = sorted(self._thresholds)
        only, k = (-1 if self.class_id is None else self.class_id), self.top_k or 0
        numbers = (float(len(ascending)), float(only), float(k), float(self._sparse), float(self._even), *ascending)
        return Scoring("above_thresholds", numbers, counts=2 * (len(ascending) + 1))

    def _table(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(true positives, false positives, true negatives, false negatives) at each threshold, ascending."""
        positive, negative = values.reshape(-1, 2).T
        above = [np.cumsum(part[::-1])[::-1][1:] for part in (positive, negative)]
        return above[0], above[1], negative.sum() - above[1], positive.sum() - above[0]

    def _at(self, ascending: np.ndarray) -> Any:
        order = np.argsort(np.argsort(self._thresholds))
        return float(ascending[0]) if len(ascending) == 1 else ascending[order]


def _divide(a: Any, b: Any) -> np.ndarray:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) != 0)


class Precision(_AtThresholds):
    """True positives of all that are called positive."""

    _default = "precision"

    def result(self, values: np.ndarray) -> Any:
        """The metric: a number, or an array where several thresholds are given."""
        hits, alarms, _, _ = self._table(values)
        return self._at(_divide(hits, hits + alarms))


class Recall(_AtThresholds):
    """True positives of all that are positive."""

    _default = "recall"

    def result(self, values: np.ndarray) -> Any:
        """The metric: a number, or an array where several thresholds are given."""
        hits, _, _, missed = self._table(values)
        return self._at(_divide(hits, hits + missed))


class _Count(_AtThresholds):
    """Base of the plain counts."""

    _place = 0

    def __init__(self, thresholds: float | Sequence[float] | None = None, name: str | None = None):
        super().__init__(thresholds, name=name)

    def result(self, values: np.ndarray) -> Any:
        """The metric: a number, or an array where several thresholds are given."""
        return self._at(self._table(values)[self._place])


class TruePositives(_Count):
    """How many positive targets are above the threshold."""

    _default, _place = "true_positives", 0


class FalsePositives(_Count):
    """How many negative targets are above the threshold."""

    _default, _place = "false_positives", 1


class TrueNegatives(_Count):
    """How many negative targets are not above the threshold."""

    _default, _place = "true_negatives", 2


class FalseNegatives(_Count):
    """How many positive targets are not above the threshold."""

    _default, _place = "false_negatives", 3


class AUC(_AtThresholds):
    """Area under the curve of true by false positive rate, or of precision by recall, at evenly spaced thresholds.

    Args:
        num_thresholds: How many; 200 is Keras's default.
        curve: "ROC" or "PR".
        summation_method: "interpolation", "minoring" or "majoring".
        name: Name of the object.

    source  Davis & Goadrich (2006), ICML, for the interpolation of precision
    """

    _default = "auc"
    _even = True

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
    ):
        count = positive_int("num_thresholds", num_thresholds, least=2, most=10**6)
        super().__init__([(i + 1) / (count - 1) for i in range(count - 2)] or None, name=name)
        self.num_thresholds = count
        self.curve = known_name("curve", curve, ("ROC", "PR"))
        self.summation_method = known_name(
            "summation_method", summation_method, ("interpolation", "minoring", "majoring")
        )
        inner = self._thresholds if count > 2 else []
        # Every output is above the first and none above the last, those outside [0, 1] too.
        self._thresholds = [-math.inf, *inner, math.inf]

    def result(self, values: np.ndarray) -> float:
        """The metric."""
        hits, alarms, quiet, missed = self._table(values)
        if self.curve == "PR" and self.summation_method == "interpolation":
            step, positive = hits[:-1] - hits[1:], hits + alarms
            slope = _divide(step, np.maximum(positive[:-1] - positive[1:], 0))
            intercept = hits[1:] - slope * positive[1:]
            both = (positive[:-1] > 0) & (positive[1:] > 0)
            ratio = np.where(both, _divide(positive[:-1], np.maximum(positive[1:], 0)), 1.0)
            grown = slope * (step + intercept * np.log(ratio))
            return float(_divide(grown, np.maximum(hits[1:] + missed[1:], 0)).sum())
        recall = _divide(hits, hits + missed)
        if self.curve == "ROC":
            x, y = _divide(alarms, alarms + quiet), recall
        else:
            x, y = recall, _divide(hits, hits + alarms)
        pairs = y[:-1], y[1:]
        height = {"interpolation": sum(pairs) / 2, "minoring": np.minimum(*pairs), "majoring": np.maximum(*pairs)}
        return float(((x[:-1] - x[1:]) * height[self.summation_method]).sum())


# ------------------------------------------------------------------ counts of classes


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall) of each class.

    Args:
        average: None for an array of all classes; "micro" of all counts together, "macro" the mean over the classes,
            "weighted" that by how often each is true.
        beta: How much recall counts beside precision.
        threshold: Above which an output is positive; None takes each sample's largest one.
        name: Name of the object.
    """

    needs = "any"
    _default = "fbeta_score"

    def __init__(
        self, average: str | None = None, beta: float = 1.0, threshold: float | None = None, name: str | None = None
    ):
        super().__init__(name)
        self.average = average if average is None else known_name("average", average, ("micro", "macro", "weighted"))
        self.beta = number("beta", beta, 1e-12, math.inf)
        self.threshold = None if threshold is None else number("threshold", threshold, 0.0, 1.0)
        self._sparse = False

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself."""
        self._sparse = sparse
        return self

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        threshold = -1.0 if self.threshold is None else self.threshold
        return Scoring("class_counts", (threshold, float(self._sparse)), counts=3 * units)

    def result(self, values: np.ndarray) -> Any:
        """The metric: a number, or an array (units,) without average."""
        counts = values.reshape(-1, 3)
        truth = counts[:, 0] + counts[:, 2]
        if self.average == "micro":
            counts = counts.sum(axis=0, keepdims=True)
        precision = _divide(counts[:, 0], counts[:, 0] + counts[:, 1] + 1e-7)
        recall = _divide(counts[:, 0], counts[:, 0] + counts[:, 2] + 1e-7)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + 1e-7)
        if self.average == "weighted":
            return float((score * truth).sum() / (truth.sum() + 1e-7))
        return score if self.average is None else float(score.mean())


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall; see FBetaScore."""

    _default = "f1_score"

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str | None = None):
        super().__init__(average, 1.0, threshold, name)


class ConfusionMatrix(Metric):
    """How often samples of each class (rows) are taken for each class (columns), an array (classes, classes).

    Args:
        threshold: Of a single unit, above which it says class 1.
        name: Name of the object.
    """

    needs = "labels"
    _default = "confusion_matrix"

    def __init__(self, name: str | None = None, threshold: float = 0.5):
        super().__init__(name)
        self.threshold = number("threshold", threshold, 0.0, 1.0)

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself."""
        return self

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return Scoring("confusion", (self.threshold,), counts=max(units, 2) ** 2)

    def result(self, values: np.ndarray) -> np.ndarray:
        """The metric."""
        classes = math.isqrt(len(values))
        return values.reshape(classes, classes).copy()


class R2Score(Metric):
    """1 - squared errors / squared distances of the targets from their mean: 1 is perfect, 0 as good as the mean.

    Args:
        class_aggregation: "uniform_average" of the units, "variance_weighted_average", or None for an array.
        num_regressors: Inputs of the model for the adjusted score; 0 for the plain one.
        name: Name of the object.
    """

    _default = "r2_score"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
    ):
        super().__init__(name)
        self.class_aggregation = (
            None
            if class_aggregation is None
            else known_name(
                "class_aggregation", class_aggregation, ("uniform_average", "variance_weighted_average")
            )
        )  # fmt: skip
        self.num_regressors = positive_int("num_regressors", num_regressors, least=0)

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return Scoring("moments", counts=5 * units)

    def result(self, values: np.ndarray) -> Any:
        """The metric."""
        count, total, square, errors, samples = values.reshape(-1, 5).T
        spread = square - total * _divide(total, count)
        raw = np.where(spread == 0, 0.0, 1 - _divide(errors, spread))
        if self.class_aggregation == "uniform_average":
            score = raw.mean()
        elif self.class_aggregation == "variance_weighted_average":
            score = (raw * spread).sum() / spread.sum()
        else:
            score = raw
        if self.num_regressors:
            n, p = samples.sum(), self.num_regressors  # of all units together and without weights, as in Keras
            if n - p - 1 > 0:
                score = 1 - (1 - score) * (n - 1) / (n - p - 1)
        return score if self.class_aggregation is None else float(score)


# ------------------------------------------------------------------ of one's own


class Custom(Metric):
    """A metric of one's own: the mean over the samples of a function, compiled and called within the compiled epoch.

        value(y_true, y_pred)   returns the metric of one sample, a float

    See losses.Custom for the arrays, and for what the function may do.

    Args:
        value: See above.
        name: Name of the object; None takes that of value.
        sparse: Whether y_true is the sample's class index, an array of one number, instead of a number for each unit.

    Raises:
        TypeError: If value is no function.
        ValueError: When the model is compiled: if the function can't be compiled.

    >>> import fastmlp
    >>> def largest_error(y_true, y_pred):
    ...     return np.abs(y_pred - y_true).max()
    >>> model = fastmlp.Sequential([fastmlp.Input((2,)), fastmlp.Dense(3)])
    >>> model.compile(optimizer="sgd", loss="mse", metrics=[fastmlp.metrics.Custom(largest_error)])
    >>> model.metrics_names
    ['loss', 'largest_error']
    """

    def __init__(self, value: Callable[..., Any], name: str | None = None, *, sparse: bool = False):
        if not callable(value):
            raise TypeError(f"value must be a function, got {value!r}")
        super().__init__(name or getattr(value, "__name__", "custom"))
        self.value, self.sparse = _custom.compiled(value), switch("sparse", sparse)
        self.needs = "labels" if sparse else "values"
        # Kept here: an address in a plan lives as long as the kernel.
        self._kernel = _custom.scoring(self.value, sparse=self.sparse)

    def for_targets(self, units: int, sparse: bool) -> Metric:
        """The metric itself."""
        if sparse and not self.sparse:
            raise ValueError(
                f"metric {self.name!r} takes a target for each unit but y holds class indices; pass sparse=True to "
                "metrics.Custom and read y_true[0], or use y = to_categorical(y)"
            )
        if self.sparse and not sparse and units == 1:
            raise ValueError(f"metric {self.name!r} takes class indices, sparse=True, but y has a value for one unit")
        return self

    def scoring(self, units: int) -> Scoring:
        """What it is to the kernels."""
        return Scoring(self._kernel)

    def prepare(self, dtype: np.dtype) -> None:
        """Compile the function."""
        losses.compile_custom(f"metric {self.name!r}", self.scoring(1), dtype)

    def get_config(self) -> dict[str, Any]:
        """ValueError: a function can't be written."""
        raise ValueError(losses.refusal("metric", self.name))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Custom:
        """ValueError: a function can't be read."""
        raise ValueError(losses.refusal("metric", str(dict(config).get("name"))))


# ------------------------------------------------------------------ names

_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "rmse": "root_mean_squared_error",
    "acc": "accuracy",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "log_cosh": "logcosh",
}

_CLASSES: dict[str, Callable[..., Metric]] = {
    cls._default: cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, Metric) and cls._default and not cls.__name__.startswith("_")
}

#: Names that compile(metrics=...) takes.
NAMES = tuple(_CLASSES)


#: What get takes for a metric.
Identifier = str | Metric | type[Metric] | dict[str, Any]


def get(identifier: Any) -> Metric:
    """Metric from an object, a class or a name; a name's metric is reported under the name as typed.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.
    """
    if isinstance(identifier, dict):
        return deserialize(identifier, "metric")
    return resolve("a metric", identifier, Metric, _by_name)


def _by_name(name: str) -> Metric:
    short = _SHORT.get(name.lower())
    if short is None:
        short = {cls.__name__.lower(): key for key, cls in _CLASSES.items()}.get(name.lower())
    return _CLASSES[short or known_name("metric", name, (*NAMES, *_SHORT))](name=name)
