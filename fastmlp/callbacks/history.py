"""History: what a call of fit leaves behind."""

from __future__ import annotations

import time
from typing import Any

from .base import Callback, Logs


class History(Callback):
    """Losses and metrics of every epoch; fit makes one and returns it.

    Attributes:
        history: For each name (accuracy, loss, val_loss, ..., sorted) its values, one per epoch; behind them what other
            callbacks add, such as learning_rate.
        epoch: Numbers of the epochs, from 0.
        params: How fit was called: epochs, steps and verbose.
        seconds: Wall time of each epoch, validation included.
    """

    params: dict[str, Any]

    def __init__(self, params: dict[str, Any] | None = None):
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = params or {}
        self.seconds: list[float] = []
        self._start = 0.0

    def set_model(self, model: Any) -> None:
        """Become model.history."""
        super().set_model(model)
        model.history = self

    def on_train_begin(self, logs: Logs = None) -> None:
        """Count the epochs anew; values of an earlier call stay, as in Keras."""
        self.epoch, self.seconds = [], []

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Keep the values of an epoch."""
        self.add(epoch, logs or {}, time.perf_counter() - self._start)

    def add(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Keep the values of an epoch that took so long."""
        self.epoch.append(epoch)
        self.seconds.append(seconds)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"
