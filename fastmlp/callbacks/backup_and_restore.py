"""BackupAndRestore: a training that was interrupted goes on."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np

from .base import Callback, Logs, seldom
from .model_checkpoint import BatchCounter, check_save_freq


class BackupAndRestore(Callback):
    """Keeps a backup of the training in a folder, and has fit go on from there if there is one when it starts.

    A backup holds the weights, the optimizer's and the random generator's state, and the epoch's number, so that a
    training interrupted between two epochs ends with the same bits. The same call of fit, on a model made and compiled
    in the same way, restores it. Other callbacks start anew, and the History holds the epochs after the interruption.

    The file is written beside the old one and then takes its place, so there is a whole one at every moment. It is
    deleted when fit comes to its end, stopped early or not.

    Args:
        backup_dir: The folder; made if need be. One for each training.
        save_freq: "epoch", or a number of batches. An epoch that was interrupted within starts again from its first
            batch, with the weights of the backup, as in Keras.
        double_checkpoint: Whether to keep the backup before the last too, and take it if the last can't be read.
        delete_checkpoint: Whether the end of fit deletes the backup.

    Raises:
        ValueError: If backup_dir is empty, or save_freq something else.
        OSError: At the start of fit, if there is a backup that can't be read.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: Any = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        if not backup_dir:
            raise ValueError("backup_dir is empty; pass the path of a folder")
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = check_save_freq(save_freq)
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        folder = pathlib.Path(self.backup_dir)
        self._latest, self._previous = folder / "latest.safetensors", folder / "previous.safetensors"
        self._unfinished = folder / "unfinished.safetensors"
        self._epoch = 0
        self._counter = BatchCounter(self.save_freq)

    @property
    def wants_train_batches(self) -> bool:
        """Only if save_freq is a number of batches."""
        return self.save_freq != "epoch" or super().wants_train_batches

    def on_train_begin(self, logs: Logs = None) -> None:
        """Restore what there is."""
        self.resume_epoch = None
        self._counter = BatchCounter(self.save_freq)
        there = [path for path in (self._latest, self._previous) if path.exists()]
        for path in there:
            try:
                state, epoch = _read(path)
            except OSError:
                if path == there[-1]:
                    raise
                continue
            self.model.restore_training_state(state)
            self.resume_epoch = epoch
            return

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Remember where a backup within the epoch would start again."""
        self._epoch = epoch

    @seldom
    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Back up if it is time."""
        if self._counter.due(batch):
            self._write(self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Back up if every epoch is."""
        if self.save_freq == "epoch":
            self._write(epoch + 1, 0)

    def on_train_end(self, logs: Logs = None) -> None:
        """Delete the backup: the files that are one, and the folder if nothing else is in it."""
        if not self.delete_checkpoint:
            return
        for path in (self._latest, self._previous, self._unfinished):
            path.unlink(missing_ok=True)
        folder = self._latest.parent
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()

    def _write(self, epoch: int, batch: int) -> None:
        from safetensors.numpy import save

        state = {name: np.array(value, order="C") for name, value in self.model.training_state().items()}
        content = save(state, {"epoch": str(epoch), "batch": str(batch)})
        self._latest.parent.mkdir(parents=True, exist_ok=True)
        with open(self._unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if self.double_checkpoint and self._latest.exists():
            os.replace(self._latest, self._previous)
        os.replace(self._unfinished, self._latest)


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], int]:
    """State and epoch of a backup; OSError if the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, int(file.metadata()["epoch"])  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise OSError(f"backup {path} can't be read ({error}); delete it to start the training anew") from error
