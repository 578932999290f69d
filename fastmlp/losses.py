"""Losses: what fit makes small. Each is a description; calling it computes the mean loss of arrays.

>>> from fastmlp.losses import MeanSquaredError
>>> MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]])
2.0
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import checks
from .kernels import losses as _kernels

#: Names that compile(loss=...) takes.
NAMES = _kernels.NAMES

_SHORT = {
    "mse": "mean_squared_error",
    "bce": "binary_crossentropy",
    "meansquarederror": "mean_squared_error",
    "binarycrossentropy": "binary_crossentropy",
    "categoricalcrossentropy": "categorical_crossentropy",
    "sparsecategoricalcrossentropy": "sparse_categorical_crossentropy",
}


class Loss:
    """Base of the losses; kernel_name is one of NAMES."""

    kernel_name = ""

    @property
    def name(self) -> str:
        """Name of the loss."""
        return self.kernel_name

    def __call__(self, y_true: Any, y_pred: Any) -> float:
        """Mean loss of predictions y_pred (n, m) for the targets y_true."""
        predictions = np.asarray(y_pred)
        dtype = np.dtype(np.float64 if predictions.dtype == np.float64 else np.float32)
        predictions = np.ascontiguousarray(predictions, dtype)
        if predictions.ndim != 2:
            raise ValueError(f"y_pred must have shape (samples, units), got {predictions.shape}")
        y: np.ndarray
        if self.kernel_name == "sparse_categorical_crossentropy":
            y = checks.class_indices(y_true, predictions.shape[1], self.kernel_name, "y_true")
        else:
            y = checks.targets(y_true, predictions.shape[1], dtype, self.kernel_name, "y_true")
        checks.same_length(predictions, y, "y_pred", "y_true")
        return float(getattr(_kernels, self.kernel_name)(predictions, y, np.empty_like(predictions)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class MeanSquaredError(Loss):
    """Mean of (y - p)^2 over units, then samples: for values of any size (linear last layer)."""

    kernel_name = "mean_squared_error"


class BinaryCrossentropy(Loss):
    """Mean of -[y log p + (1 - y) log(1 - p)]: for two classes, or several yes-or-no answers (sigmoid)."""

    kernel_name = "binary_crossentropy"


class CategoricalCrossentropy(Loss):
    """-sum_j y_j log p_j, mean over the samples: for one of several classes as one-hot rows (softmax)."""

    kernel_name = "categorical_crossentropy"


class SparseCategoricalCrossentropy(Loss):
    """-log p_label, mean over the samples: the same for class indices."""

    kernel_name = "sparse_categorical_crossentropy"


mean_squared_error = MeanSquaredError()
binary_crossentropy = BinaryCrossentropy()
categorical_crossentropy = CategoricalCrossentropy()
sparse_categorical_crossentropy = SparseCategoricalCrossentropy()

_LOSSES: dict[str, Loss] = {name: globals()[name] for name in NAMES}


def get(identifier: Any) -> Loss:
    """Loss from an object, a class or a name in any case ("mse", "mean_squared_error", "MeanSquaredError").

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.
    """
    return checks.resolve("loss", identifier, Loss, _by_name)


def _by_name(name: str) -> Loss:
    return _LOSSES[_SHORT.get(name.lower()) or checks.known_name("loss", name, (*NAMES, "mse", "bce"))]
