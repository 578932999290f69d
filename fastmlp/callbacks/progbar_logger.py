"""ProgbarLogger: the bar of fit and evaluate, as a callback."""

from __future__ import annotations

from typing import Any

from fastmlp.progress import Progress

from .base import Callback, Logs, seldom


class ProgbarLogger(Callback):
    """Prints progress; fit and evaluate add one unless verbose is 0.

    It takes verbose, epochs and steps from params (see progress.Progress) and draws whenever the model reports, which
    need not be after every batch. Validation within fit shows in its epoch's line only, and predict prints nothing.

    Raises:
        ValueError: If params hold another verbose than 0, 1, 2 or "auto".
    """

    def __init__(self) -> None:
        self._progress = Progress(0, 1, 1)
        self._in_fit = False

    def set_params(self, params: dict[str, Any]) -> None:
        """Take verbose, epochs and steps of the call."""
        self.params = params
        self._progress = Progress(params.get("verbose", "auto"), params.get("epochs", 1), params.get("steps", 1))
        self._in_fit = False

    def on_train_begin(self, logs: Logs = None) -> None:
        """From here on evaluations are validation."""
        self._in_fit = True

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Print the epoch's number and start its bar."""
        self._progress.begin(epoch)

    @seldom
    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Draw."""
        self._progress.update(batch + 1, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Print the epoch's line."""
        self._progress.end(logs or {})

    def on_train_end(self, logs: Logs = None) -> None:
        """From here on evaluations are no validation."""
        self._in_fit = False

    def on_test_begin(self, logs: Logs = None) -> None:
        """Start the bar of evaluate."""
        if not self._in_fit:
            self._progress.begin(0)

    @seldom
    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Draw."""
        if not self._in_fit:
            self._progress.update(batch + 1, logs or {})

    def on_test_end(self, logs: Logs = None) -> None:
        """Print the line of evaluate."""
        if not self._in_fit:
            self._progress.end(logs or {})

    def _close(self) -> None:
        self._progress.close()
