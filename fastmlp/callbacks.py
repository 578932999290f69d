"""History: what a call of fit leaves behind."""

from __future__ import annotations

from typing import Any


class History:
    """Losses and metrics of every epoch.

    Attributes:
        history: For each name (loss, accuracy, val_loss, ...), sorted, its values, one per epoch.
        epoch: Numbers of the epochs, from 0.
        params: How fit was called: epochs, steps and verbose.
        seconds: Wall time of each epoch, validation included.
    """

    def __init__(self, params: dict[str, Any] | None = None):
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = params or {}
        self.seconds: list[float] = []

    def add(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Keep the values of an epoch."""
        self.epoch.append(epoch)
        self.seconds.append(seconds)
        for name in sorted(logs):
            self.history.setdefault(name, []).append(logs[name])

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"
