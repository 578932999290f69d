"""History: what a call of fit leaves behind."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from .base import Callback, Logs, take

_STATE = ("history", "epoch", "seconds", "places", "_last")


class History(Callback):
    """Losses and metrics of every epoch; fit makes one and returns it.

    Attributes:
        history: For each name (accuracy, loss, val_loss, ..., sorted) its values, one per epoch; behind them what other
            callbacks add, such as learning_rate.
        epoch: Numbers of the epochs, from 0.
        params: How fit was called: epochs, steps and verbose.
        seconds: Wall time of each epoch, validation included.
        places: For each name, the epochs, from 1, that its values are of: where plot draws them. They grow even where
            a second call of fit counts from 0 again, and have gaps where a value didn't come in every epoch.
        model: The model that was trained, for as long as somebody else holds it, then None. The model holds its
            history; were that so both ways, its memory would wait for Python's collector of cycles.
    """

    params: dict[str, Any]
    _model: weakref.ref[Any] | None

    def __init__(self, params: dict[str, Any] | None = None):
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = params or {}
        self.seconds: list[float] = []
        self.places: dict[str, list[int]] = {}
        self._last = 0
        self._start = 0.0
        self._model = None

    def set_model(self, model: Any) -> None:
        """Become model.history."""
        self._model = weakref.ref(model)
        model.history = self

    @property
    def model(self) -> Any:
        """See the attribute."""
        return None if self._model is None else self._model()

    def __getstate__(self) -> dict[str, Any]:
        # A pickle or a copy of the history alone has no model; that of a model gives its history the new one.
        return self.__dict__ | {"_model": None}

    def on_train_begin(self, logs: Logs = None) -> None:
        """Count the epochs anew; values of an earlier call stay, as in Keras."""
        self.epoch, self.seconds = [], []

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Keep the values of an epoch."""
        self.add(epoch, logs or {}, time.perf_counter() - self._start)

    def training_state(self) -> dict[str, Any]:
        """All values so far."""
        return {name: getattr(self, name) for name in _STATE}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Take the values of the epochs before."""
        take(self, state, _STATE)

    def add(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Keep the values of an epoch that took so long."""
        self.epoch.append(epoch)
        self.seconds.append(seconds)
        self._last = max(self._last, epoch) + 1
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
            self.places.setdefault(name, []).append(self._last)

    def plot(self, metrics: str | Sequence[str] | None = None, ax: Any = None) -> Any:
        """Draw losses, then metrics, then the learning rate, over the epochs: training beside validation.

        A ring marks the best validation value where the name tells whether larger or smaller is better.

        Args:
            metrics: Which panels, without val_: "accuracy" or ["loss", "accuracy"]; all by default.
            ax: Where to draw: a matplotlib Axes for each panel, or one, which is divided up; a new figure by default.

        Returns:
            Array of the Axes, one for each panel; the figure is `axes[0].figure`.

        Raises:
            ValueError: If there is no epoch, a name is unknown, or there are more or fewer Axes than panels.

        >>> history = History()
        >>> history.add(0, {"loss": 2.0, "val_loss": 2.5}, seconds=0.1)
        >>> [ax.get_title() for ax in history.plot()]
        ['Loss by epoch']
        """
        from fastmlp.plotting import history_panels

        return history_panels(self, metrics, ax)

    def _repr_html_(self) -> str:
        """Last and best values with small curves, where a notebook's cell ends with the history."""
        from fastmlp.notebook import history_html

        return history_html(self)

    def __repr__(self) -> str:
        last = ", ".join(
            f"{name}={values[-1]:.4g}" for name, values in self.history.items() if np.ndim(values[-1]) == 0
        )
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"
