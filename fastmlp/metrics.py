"""Metrics: what fit and evaluate report beside the loss, as the mean over the samples."""

from __future__ import annotations

from typing import Any

from .checks import known_name, resolve
from .kernels import metrics as _kernels

_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "binaryaccuracy": "binary_accuracy",
    "categoricalaccuracy": "categorical_accuracy",
    "sparsecategoricalaccuracy": "sparse_categorical_accuracy",
    "meansquarederror": "mean_squared_error",
    "meanabsoluteerror": "mean_absolute_error",
}
_NAMES = (*_kernels.NAMES, "sparse_categorical_accuracy", "accuracy", "acc", "mse", "mae")


class Metric:
    """A metric by its name.

    Args:
        kind: Which, in full: "accuracy" is chosen by the targets' shape.
        name: What History and evaluate call it.
    """

    kind = ""

    def __init__(self, name: str | None = None, *, kind: str | None = None):
        self.kind = kind or self.kind
        self.name = name or self.kind

    def kernel_name(self, units: int, sparse: bool) -> str:
        """Which of kernels.metrics.NAMES it is for a last layer of so many units; sparse if y holds class indices.

        Raises:
            ValueError: If the targets don't fit the metric.
        """
        if self.kind in ("accuracy", "acc"):
            # As Keras does: by shape, whatever the loss.
            return "binary_accuracy" if units == 1 else "categorical_accuracy"
        if self.kind == "sparse_categorical_accuracy":
            if not sparse:
                raise ValueError(
                    "sparse_categorical_accuracy needs class indices but y has a column for each unit; "
                    'use "categorical_accuracy", or "accuracy", which finds out'
                )
            return "categorical_accuracy"
        if self.kind == "categorical_accuracy" and sparse:
            raise ValueError(
                "categorical_accuracy needs one-hot rows but y holds class indices; "
                'use "sparse_categorical_accuracy", or "accuracy", which finds out'
            )
        if self.kind in ("binary_accuracy", "mean_squared_error", "mean_absolute_error") and sparse:
            raise ValueError(
                f"{self.kind} compares y with each unit but y holds class indices; use y = to_categorical(y)"
            )
        return self.kind

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class BinaryAccuracy(Metric):
    """Share of the outputs for which (p > 0.5) is the target."""

    kind = "binary_accuracy"


class CategoricalAccuracy(Metric):
    """Share of the samples whose largest output is at the largest target."""

    kind = "categorical_accuracy"


class SparseCategoricalAccuracy(Metric):
    """The same for targets that are class indices."""

    kind = "sparse_categorical_accuracy"


class MeanSquaredError(Metric):
    """Mean of (y - p)^2."""

    kind = "mean_squared_error"


class MeanAbsoluteError(Metric):
    """Mean of |y - p|."""

    kind = "mean_absolute_error"


def get(identifier: Any) -> Metric:
    """Metric from an object, a class or a name; a name's metric is reported under the name as typed.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.
    """
    return resolve("a metric", identifier, Metric, _by_name)


def _by_name(name: str) -> Metric:
    return Metric(name, kind=_SHORT.get(name.lower()) or known_name("metric", name, _NAMES))
