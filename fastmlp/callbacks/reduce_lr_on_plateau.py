"""ReduceLROnPlateau: smaller steps where larger ones lead no further."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.checks import bound, number

from .base import Logs
from .monitor import MonitorCallback, say


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` after `patience` epochs without improvement.

    The learning rate of the epoch is added to the logs, and so to History.

    Args:
        monitor: What to follow.
        factor: What to multiply the learning rate by, below 1.
        patience: Epochs without improvement after which to reduce it.
        verbose: 1 to print every reduction.
        mode: "min", "max", or "auto" to tell by the name.
        min_delta: By how much a value must be better to count as better; 1e-4, so that noise doesn't.
        cooldown: Epochs after a reduction that are not counted.
        min_lr: The learning rate never gets smaller than this.

    Attributes:
        best: Best value so far.
        wait: Epochs without improvement.
        cooldown_counter: Epochs that are still not counted.

    Raises:
        ValueError: If factor is 1 or more; at an epoch's end, if mode is "auto" and the name doesn't tell.

    Warns:
        UserWarning: If there is no such value in the logs.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        if number("factor", factor, 0.0) >= 1.0:
            raise ValueError(f"ReduceLROnPlateau needs a factor below 1, which reduces, got {factor}")
        self.factor = factor
        self.patience = bound("patience", patience, 0)
        self.verbose = verbose
        self.cooldown = bound("cooldown", cooldown, 0)
        self.min_lr = number("min_lr", min_lr, 0.0)
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget the last training."""
        self.best: float | None = None
        self.wait = self.cooldown_counter = 0

    def training_state(self) -> dict[str, Any]:
        """The best value and the epochs since."""
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Go on waiting from there."""
        self.best, self.wait, self.cooldown_counter = state["best"], state["wait"], state["cooldown_counter"]

    def in_cooldown(self) -> bool:
        """Whether epochs are not counted now."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare, and reduce the learning rate if patience is at its end."""
        self._find_direction()
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        current = self._monitored(logs, "it can't reduce the learning rate")
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
        if self._is_improvement(current, self.best):
            self.best, self.wait = current, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter, self.wait = self.cooldown, 0

    def _reduce(self, epoch: int) -> bool:
        """Whether the learning rate could be made smaller."""
        rate = float(self.model.optimizer.learning_rate)
        if not np.float32(rate) > np.float32(self.min_lr):  # equal but for rounding is equal
            return False
        new_rate = max(rate * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = new_rate
        if self.verbose:
            say(f"Epoch {epoch + 1}: no improvement of {self.monitor}, learning_rate is {new_rate:g} now")
        return True
