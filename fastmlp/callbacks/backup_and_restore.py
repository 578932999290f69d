"""BackupAndRestore: a training that was interrupted goes on."""

from __future__ import annotations

import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from .base import Callback, Logs, seldom
from .model_checkpoint import BatchCounter, check_save_freq

# What stands in front of the names of arrays that are not the model's.
_CALLBACKS, _FIT = ":callbacks/", ":fit/"


class BackupAndRestore(Callback):
    """Keeps a backup of the training in a folder, and has fit go on from there if there is one when it starts.

    A backup holds all that the training depends on: the weights, the optimizer's and the random generator's state, the
    place within the training, which samples validate, and the state of the other callbacks, the History among them. So
    a training whose process was killed at any moment ends with the bits that it would have had, stops early where it
    would have, and its History is whole. The same call of fit, on a model made and compiled in the same way, restores
    it. A callback of your own keeps what its training_state returns.

    The file is written beside the old one and then takes its place, so there is a whole one at every moment. It is
    deleted when fit comes to its end, stopped early or not. The backup is written after the other callbacks have had
    their turn, wherever this one stands among them.

    Batches of an iterable are passed over up to where the backup was made, if it begins anew for every epoch as a list
    or a data loader does, with the same batches. An iterator goes on where it stands, as only its owner can bring it
    back to a place.

    Args:
        backup_dir: The folder; made if need be. One for each training.
        save_freq: "epoch", or a number of batches: an epoch that was interrupted within goes on behind that batch.
        double_checkpoint: Whether to keep the backup before the last too, and take it if the last can't be read.
        delete_checkpoint: Whether the end of fit deletes the backup.

    Raises:
        ValueError: If backup_dir is empty, or save_freq something else; at the start of fit, if the backup is of
            another model or other metrics.
        TypeError: When the first backup is written, if a callback's training_state holds what no file can.
        OSError: At the start of fit, if there is a backup that can't be read; later, if one can't be written; at the
            end, if it can't be deleted.
    """

    _comes_last = True

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
        self._remove_unfinished()
        there = [path for path in (self._latest, self._previous) if path.exists()]
        for path in there:
            try:
                backup = _read(path)
            except OSError:
                if path == there[-1]:
                    raise
                continue
            before = self.model.training_state()
            try:
                self._restore(backup)
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
                self.model.restore_training_state(before)
                if isinstance(error, ValueError):
                    raise
                raise OSError(
                    f"backup {path} can't be read ({error!r}); delete it to start the training anew"
                ) from error
            return

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Remember the epoch that a backup within it belongs to."""
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
        from fastmlp.saving import atomic

        for path in (self._latest, self._previous):
            with atomic.explained(path, "the backup can't be deleted", "; delete it, or the next fit goes on from it"):
                path.unlink(missing_ok=True)
        self._remove_unfinished()
        folder = self._latest.parent
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()

    def training_state(self) -> dict[str, Any]:
        """When the next backup within an epoch is due."""
        return {"counter": self._counter.place}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Count on from there."""
        self._counter.place = state["counter"]

    def _remove_unfinished(self) -> None:
        """What killed processes have left; none but this training writes into the folder."""
        from fastmlp.saving import atomic

        atomic.remove_abandoned(self.backup_dir, math.inf)

    # ------------------------------------------------------------------ the file

    def _write(self, epoch: int, batch: int) -> None:
        from safetensors.numpy import save

        from fastmlp.saving import atomic

        arrays: dict[str, np.ndarray] = dict(self.model.training_state())
        source = getattr(self.model, "_source", None)
        if source is not None:
            arrays.update({_FIT + name: value for name, value in source.progress().items()})
        callbacks = []
        for name, callback in self._all():
            kept: list[np.ndarray] = []
            state = _plain(callback.training_state(), kept, f"training_state of {name[0]}")
            callbacks.append([*name, state, len(kept)])
            arrays.update({f"{_CALLBACKS}{name[0]}/{name[1]}/{i}": array for i, array in enumerate(kept)})
        place = {"epoch": str(epoch), "batch": str(batch), "stopped": str(int(self.model.stop_training))}
        content = save(
            {name: np.array(value, order="C") for name, value in arrays.items()},
            {**place, "callbacks": json.dumps(callbacks)},
        )
        atomic.make_folder(self.backup_dir)
        atomic.write(self._latest, content, keep=self._previous if self.double_checkpoint else None)

    def _restore(self, backup: _Backup) -> None:
        self.model.restore_training_state(backup.state)
        self.resume_epoch = backup.epoch
        source = getattr(self.model, "_source", None)
        if source is not None and backup.progress:
            source.resume(backup.batch, backup.progress, backup.stopped)
        known = {name: state for name, state in backup.callbacks}
        for name, callback in self._all():
            if known.get(name):
                callback.restore_training_state(known[name])
        if backup.stopped and backup.batch:
            self.model.stop_training = True  # behind the epoch that it was in
        elif backup.stopped:
            self.resume_epoch = max(backup.epoch, int((self.params or {}).get("epochs", 0)))

    def _all(self) -> list[tuple[tuple[str, int], Callback]]:
        """The callbacks by the names of their classes, and numbers among those of the same name."""
        found: list[tuple[tuple[str, int], Callback]] = []
        for callback in [self] if self._among is None else self._among.callbacks:
            name = type(callback).__name__
            found.append(((name, sum(other[0] == name for other, _ in found)), callback))
        return found


class _Backup(NamedTuple):
    """What is in a file.

    Attributes:
        state: Of the model.
        epoch: That goes on.
        batch: How many batches of it are done.
        stopped: Whether a callback has stopped the training.
        progress: Of the epoch's source.
        callbacks: Their names and states.
    """

    state: dict[str, np.ndarray]
    epoch: int
    batch: int
    stopped: bool
    progress: dict[str, np.ndarray]
    callbacks: list[tuple[tuple[str, int], dict[str, Any]]]


def _read(path: pathlib.Path) -> _Backup:
    """What is in a backup; OSError if the file is damaged."""
    from fastmlp.saving import limits

    try:
        place, arrays = limits.safetensors(path)
        callbacks = []
        for name, number, state, count in json.loads(place.get("callbacks", "[]")):
            kept = [arrays.pop(f"{_CALLBACKS}{name}/{number}/{i}") for i in range(count)]
            callbacks.append(((name, number), _with_arrays(state, kept)))
        progress = {name.removeprefix(_FIT): arrays.pop(name) for name in list(arrays) if name.startswith(_FIT)}
        stopped = place.get("stopped") == "1"
        epoch, batch = int(place["epoch"]), int(place["batch"])
        if not (0 <= epoch < 2**63 and 0 <= batch < 2**63):
            raise ValueError(f"it is of epoch {epoch}, batch {batch}")
        return _Backup(arrays, epoch, batch, stopped, progress, callbacks)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise OSError(f"backup {path} can't be read ({error}); delete it to start the training anew") from error


def _plain(value: Any, arrays: list[np.ndarray], what: str) -> Any:
    """`value` in JSON's types; arrays are put into `arrays`, and their places there stand for them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(element, arrays, what) for element in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _plain(element, arrays, what) for key, element in value.items()}}
    raise TypeError(f"{what} holds {value!r}; numbers, texts, arrays, lists and dictionaries of them can be kept")


def _with_arrays(value: Any, arrays: list[np.ndarray]) -> Any:
    """What _plain was given; tuples have become lists."""
    if isinstance(value, list):
        return [_with_arrays(element, arrays) for element in value]
    if isinstance(value, dict) and "array" in value:
        return arrays[value["array"]]
    if isinstance(value, dict):
        return {key: _with_arrays(element, arrays) for key, element in value["dict"].items()}
    return value
