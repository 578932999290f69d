"""LearningRateScheduler: a learning rate for each epoch from a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .base import Callback, Logs
from .monitor import check_function, say


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch, and adds it to the logs, and so to History.

    Args:
        schedule: Function of the epoch's number, from 0, and the present learning rate, or of the number alone, that
            returns a float.
        verbose: 1 to print every learning rate.

    Raises:
        TypeError: If schedule is no function.
        ValueError: In fit, if it returns no float.

    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.5))
    >>> scheduler = LearningRateScheduler(lambda epoch, rate: rate if epoch < 10 else rate * 0.9)
    >>> scheduler.set_model(model)
    >>> scheduler.on_epoch_begin(10)
    >>> model.optimizer.learning_rate
    0.45
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        self.schedule = check_function("schedule", schedule)
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Set the learning rate."""
        optimizer = self.model.optimizer
        arguments: tuple[Any, ...] = (epoch, float(optimizer.learning_rate))
        rate = self.schedule(*arguments[: 2 if _takes_two(self.schedule) else 1])
        if not isinstance(rate, (float, np.floating)):
            raise ValueError(f"schedule must return a float but returned {rate!r} for epoch {epoch}; use float(...)")
        optimizer.learning_rate = float(rate)
        if self.verbose:
            say(f"Epoch {epoch + 1}: learning_rate is {rate:g}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Add it to the logs."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_two(schedule: Callable[..., float]) -> bool:
    # Keras calls it with two and, after a TypeError, with one: an error within the schedule would be hidden.
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:
        return True  # written in C, without a signature
    return True
