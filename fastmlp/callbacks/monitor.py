"""What the callbacks that follow one value share: which way is better, and whether a value is."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from fastmlp.checks import bound, number

from .base import Callback, Logs

# Last words of the names of what should grow, and of what should shrink; as Keras has it where Keras knows.
_UP = (
    "acc", "accuracy", "auc", "precision", "recall", "sensitivity", "specificity", "f1", "f1_score", "fbeta_score",
    "f_score", "r2", "r2_score", "cosine_similarity", "correlation", "iou", "io_u", "true_positives", "true_negatives",
)  # fmt: skip
_DOWN = (
    "loss", "error", "crossentropy", "mse", "mae", "mape", "msle", "rmse", "hinge", "poisson", "log_cosh", "logcosh",
    "huber", "kl_divergence", "divergence", "kld", "false_positives", "false_negatives",
)  # fmt: skip


def direction(monitor: str) -> str | None:
    """Whether a value of that name is better when it is larger ("max") or smaller ("min"); None if unknown.

    The name's last word tells, after val_ in front and a number as in auc_1 behind are left out.

    >>> direction("val_sparse_categorical_accuracy"), direction("loss"), direction("learning_rate")
    ('max', 'min', None)
    """
    name = "_" + re.sub(r"_\d+$", "", monitor.removeprefix("val_")).removesuffix("_percentage").lower()
    if name.endswith(tuple(f"_{word}" for word in _UP)):
        return "max"
    if name.endswith(tuple(f"_{word}" for word in _DOWN)):
        return "min"
    return None


class MonitorCallback(Callback):
    """Base of the callbacks that follow one value of the logs.

    Args:
        monitor: Its name.
        mode: "min" if smaller is better, "max" if larger is, "auto" to tell by the name (see direction).
        baseline: Value that counts as the best so far; None takes the first.
        min_delta: By how much a value must be better to count as better.

    Warns:
        UserWarning: If mode is none of the three; "auto" is used then.
    """

    def __init__(
        self, monitor: str = "val_loss", mode: str = "auto", baseline: float | None = None, min_delta: float = 0
    ):
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f'{type(self).__name__} has mode={mode!r} but knows "auto", "min" and "max"; it uses "auto"',
                stacklevel=3,
            )
            mode = "auto"
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a value in the logs, got {monitor!r}")
        self.monitor = monitor
        self.mode = mode
        self.best = None if baseline is None else bound("the value to beat", baseline)
        self.min_delta = abs(number("min_delta", min_delta))

    def _find_direction(self) -> str:
        """Either "min" or "max"; ValueError if mode is "auto" and the name doesn't tell."""
        found = direction(self.monitor) if self.mode == "auto" else self.mode
        if found is None:
            raise ValueError(
                f"{type(self).__name__} can't tell by the name monitor={self.monitor!r} whether larger or smaller is "
                'better. Pass mode="max" if larger is, mode="min" if smaller is'
            )
        return found

    def _is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether value is better than reference by more than min_delta."""
        if reference is None:
            return True
        if self._find_direction() == "max":
            return bool(value - self.min_delta > reference)
        return bool(value + self.min_delta < reference)

    def _monitored(self, logs: Logs, consequence: str) -> Any:
        """The value, or None with a warning that names the consequence and what there is."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            there = ", ".join(logs or {}) or "nothing"
            hint = " Pass validation_data or validation_split." if self.monitor.startswith("val_") else ""
            warnings.warn(
                f"{type(self).__name__} finds no {self.monitor!r} in the logs, so {consequence}. There: {there}.{hint}",
                stacklevel=3,
            )
        return value


def say(text: str) -> None:
    """Print below the bar, which the cursor may stand behind."""
    print(f"\n{text}", flush=True)


def check_function(name: str, function: Any) -> Callable[..., Any]:
    """The function; TypeError if it can't be called."""
    if not callable(function):
        raise TypeError(f"{name} must be a function, got {function!r}")
    return function
