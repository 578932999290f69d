"""EarlyStopping: end a training that doesn't improve any more."""

from __future__ import annotations

from typing import Any

from fastmlp.checks import bound

from .base import Logs, take
from .monitor import MonitorCallback

_STATE = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")


class EarlyStopping(MonitorCallback):
    """Stops fit after the epoch that makes `patience` epochs without improvement.

    Args:
        monitor: What to follow. "val_loss": a loss on held-out data shows overfitting, the one of training doesn't.
        min_delta: By how much a value must be better to count as better.
        patience: Epochs without improvement after which to stop; 0 stops at the first.
        verbose: 1 to print why training ended.
        mode: "min", "max", or "auto" to tell by the name.
        baseline: A value that must be beaten too, or patience runs on.
        restore_best_weights: Whether to give the model back the weights of its best epoch at the end of fit, whatever
            ended it. False, as in Keras, keeps the last ones.
        start_from_epoch: Number of the first epoch to look at.

    Attributes:
        best: Best value so far.
        best_epoch: Its epoch, from 0.
        best_weights: Its weights, if they are to be restored.
        stopped_epoch: The epoch that training was stopped after, or 0.
        wait: Epochs without improvement.

    Raises:
        ValueError: At an epoch's end, if mode is "auto" and the name doesn't tell.

    Warns:
        UserWarning: If there is no such value in the logs; training goes on.

    >>> import fastmlp
    >>> model = fastmlp.Sequential([fastmlp.layers.Input((1,)), fastmlp.layers.Dense(1, use_bias=False)])
    >>> stopping = EarlyStopping(monitor="loss", patience=2)
    >>> stopping.set_model(model)
    >>> stopping.on_train_begin()
    >>> for epoch, loss in enumerate([0.5, 0.4, 0.45, 0.41]):
    ...     stopping.on_epoch_end(epoch, {"loss": loss})
    >>> stopping.best_epoch, stopping.stopped_epoch, model.stop_training
    (1, 3, True)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = bound("patience", patience, 0)
        self.verbose = verbose
        self.baseline = None if baseline is None else bound("baseline", baseline)
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = bound("start_from_epoch", start_from_epoch, 0)
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget the last training."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self.best_weights: list[Any] | None = None

    def training_state(self) -> dict[str, Any]:
        """The best epoch, its weights, and the epochs since."""
        return {name: getattr(self, name) for name in _STATE}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Go on waiting from there."""
        take(self, state, _STATE)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare, and stop the training if patience is at its end."""
        self._find_direction()
        current = self._monitored(logs, "it can't stop the training")
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            # Of the first epoch looked at, should none ever be better, as where all are NaN.
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best, self.best_epoch = current, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self._is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience:  # never in the first epoch, which is the best so far
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        """Restore the best weights."""
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: stopped, {self.monitor} has not improved for {self.wait} epochs")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"Weights of epoch {self.best_epoch + 1}, the best, are restored")
            self.model.set_weights(self.best_weights)
