"""ModelCheckpoint: the model, or its weights, in files while training goes on."""

from __future__ import annotations

import os
from typing import Any

from .base import Logs, seldom
from .monitor import MonitorCallback, say

# What Sequential.save and save_weights write.
_WEIGHTS = (".safetensors", ".weights.h5")
_MODEL = (".safetensors", ".keras")


class ModelCheckpoint(MonitorCallback):
    """Saves the model at the end of every epoch, or every so many batches.

    Args:
        filepath: Path of the file, in which {epoch}, from 1, {batch}, from 1 and with a number as save_freq only, and
            the names of the logs are filled in: "{epoch:02d}-{val_loss:.3f}.safetensors". The folder is made. A path
            without them is written over. It ends in .safetensors, or as Keras's files do: in .keras, for weights only
            in .weights.h5.
        monitor: What tells the best model.
        verbose: 1 to print every decision.
        save_best_only: Whether to save only what is better than everything before.
        save_weights_only: Whether to call model.save_weights, not model.save.
        mode: "min", "max", or "auto" to tell by the name.
        save_freq: "epoch", or a number of batches. With batches the values are means of the epoch so far, and fit is
            slower, since it must come back from compiled code after each.
        initial_value_threshold: Value that must be beaten from the start, as when a training goes on.

    Attributes:
        best: Best value so far.

    Raises:
        ValueError: If the path has an ending that no model is saved under, or save_freq is something else; when
            saving, if mode is "auto" and the name doesn't tell.
        KeyError: When saving, if the path names something that is not in the logs.

    Warns:
        UserWarning: If save_best_only lacks its value, or it is no number; the model is saved then.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = check_save_freq(save_freq)
        endings = _WEIGHTS if save_weights_only else _MODEL
        if not self.filepath.endswith(endings):
            what = "weights" if save_weights_only else "a whole model"
            raise ValueError(f"filepath must end in {' or '.join(endings)} for {what}, got {self.filepath!r}")
        self._epoch = 0
        self._counter = BatchCounter(self.save_freq)

    @property
    def wants_train_batches(self) -> bool:
        """Only if save_freq is a number of batches."""
        return self.save_freq != "epoch" or super().wants_train_batches

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Remember the epoch for the file's name."""
        self._epoch = epoch

    @seldom
    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Save if it is time."""
        if self._counter.due(batch):
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save if every epoch is."""
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def training_state(self) -> dict[str, Any]:
        """The best value so far, and when the next file within an epoch is due."""
        return {"best": self.best, "counter": self._counter.place}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Keep what is better than that."""
        self.best, self._counter.place = state["best"], state["counter"]

    def _save(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> None:
        from fastmlp.saving import atomic

        path = self._path(epoch, batch, logs)
        if not self._should_save(epoch, logs, path):
            return
        if os.path.isdir(path):
            raise IsADirectoryError(f"ModelCheckpoint must write the file {path!r} but that is a folder; rename one")
        atomic.make_folder(os.path.dirname(path) or ".")
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)

    def _path(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> str:
        values = dict(logs) if batch is None else {"batch": batch + 1, **logs}
        try:
            return self.filepath.format(**{**values, "epoch": epoch + 1})
        except KeyError as error:
            raise KeyError(
                f"filepath {self.filepath!r} names {error} but there is only: epoch, {', '.join(values)}"
            ) from None

    def _should_save(self, epoch: int, logs: dict[str, Any], path: str) -> bool:
        if not self.save_best_only:
            if self.verbose:
                say(f"Epoch {epoch + 1}: saving to {path}")
            return True
        self._find_direction()
        current = self._monitored(logs, "every model is saved")
        if current is None:
            return True
        better = self._is_improvement(current, self.best)
        if self.verbose:
            before = "nothing" if self.best is None else f"{self.best:.5f}"
            verdict = f"better than {before}: saving to {path}" if better else f"no better than {before}"
            say(f"Epoch {epoch + 1}: {self.monitor} is {current:.5f}, {verdict}")
        if better:
            self.best = current
        return better


class BatchCounter:
    """Tells when so many batches have passed, across epochs, though it may hear only of every few.

    >>> counter = BatchCounter(2)
    >>> [counter.due(batch) for batch in (0, 1, 2, 0, 1)]
    [False, True, False, True, False]
    """

    def __init__(self, every: Any):
        self._every = every
        self._seen, self._last = 0, -1

    @property
    def place(self) -> list[int]:
        """Batches since it was last time, and the number of the last."""
        return [self._seen, self._last]

    @place.setter
    def place(self, place: list[int]) -> None:
        self._seen, self._last = place

    def due(self, batch: int) -> bool:
        """Whether it is time, now that the batch of that number is done."""
        if self._every == "epoch":
            return False
        self._seen += batch - self._last if batch > self._last else batch + 1  # a smaller number is a new epoch's
        self._last = batch
        if self._seen < self._every:
            return False
        self._seen = 0
        return True


def check_save_freq(save_freq: Any) -> Any:
    """The same; ValueError unless it is "epoch" or a number of batches."""
    if save_freq == "epoch" or (isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq > 0):
        return save_freq
    raise ValueError(f'save_freq must be "epoch" or a number of batches, got {save_freq!r}')
