"""TensorBoard: losses, metrics and histograms of the weights for the tool of that name."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import time
from typing import Any

import numpy as np

from fastmlp.checks import positive_int
from fastmlp.optional import needed
from fastmlp.saving import atomic

from .base import Callback, Logs, seldom

# Two files of a folder that begin within the same second would have the same name without a number.
_FILES = itertools.count()

# Edges of a histogram's bins, as tensorboardX and TensorFlow have them: from 1e-12, each 1.1 times the one before.
_EDGES = list(
    itertools.takewhile(
        lambda edge: edge < 1e20, itertools.accumulate(itertools.repeat(1.1), float.__mul__, initial=1e-12)
    )
)
_BINS = [*(-edge for edge in reversed(_EDGES)), 0.0, *_EDGES]


class TensorBoard(Callback):
    """Writes what training shows into a folder that `tensorboard --logdir` draws, laid out as Keras lays it out.

        train/       epoch_loss, epoch_learning_rate, ...; batch_loss, ... by the number of batches since fit began;
                     <model>/<layer>/kernel/histogram, .../bias/histogram
        validation/  epoch_loss, ... of the validation; evaluation_loss_vs_iterations, ...

    Args:
        log_dir: The folder; one for each training.
        histogram_freq: Epochs between two histograms of the weights; 0 writes none.
        write_graph: Taken for Keras's sake; layers in a row need no drawing.
        write_images: Whether to write the weights as images (0 black, 1 white) along with the histograms.
        write_steps_per_second: Whether to write the speed.
        update_freq: "epoch", or "batch", or a number of batches after which to write the means so far as well. With
            batches fit is slower, since it must come back from compiled code after each.
        profile_batch: Must be 0: there is no profiler here.
        embeddings_freq: Must be 0: there are no embeddings here.
        embeddings_metadata: Must be None, likewise.

    Raises:
        ImportError: If tensorboardX, which writes the files, is not installed.
        ValueError: If a setting is out of range.
        OSError: In fit, at the end of an epoch, if the files can't be written; what was written stays.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Any = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ):
        needed("tensorboardX", "tensorboard", "TensorBoard")
        if profile_batch:
            raise ValueError(f"profile_batch must be 0, there is no profiler in fastmlp, got {profile_batch!r}")
        if embeddings_freq or embeddings_metadata:
            raise ValueError("embeddings_freq and embeddings_metadata must be left out: there are no embeddings here")
        every = 1 if update_freq == "batch" else update_freq
        if every != "epoch" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ValueError(f'update_freq must be "epoch", "batch" or a number of batches, got {update_freq!r}')
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = positive_int("histogram_freq", histogram_freq, least=0)
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = every
        self._files: dict[str, _EventFile] = {}
        self._batches = 0  # since fit began
        self._before_epoch = 0
        self._epoch_start = self._batch_start = 0.0

    @property
    def wants_train_batches(self) -> bool:
        """Only if update_freq is a number of batches."""
        return self.update_freq != "epoch" or super().wants_train_batches

    def _write(self, folder: str, values: dict[str, float], step: int) -> None:
        from tensorboardX import summary

        file = self._file(folder)
        for tag, value in values.items():
            file.add(summary.scalar(tag, value), step)

    def _file(self, folder: str) -> _EventFile:
        """Of train or validation: made when there is something to write."""
        if folder not in self._files:
            self._files[folder] = _EventFile(os.path.join(self.log_dir, folder))
        return self._files[folder]

    def _flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Count the batches anew."""
        self._batches = 0

    def training_state(self) -> dict[str, Any]:
        """The batches so far."""
        return {"batches": self._batches}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Count on from there."""
        self._batches = state["batches"]

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the clock."""
        self._before_epoch, self._epoch_start = self._batches, time.perf_counter()

    @seldom
    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Start the clock."""
        self._batch_start = time.perf_counter()

    @seldom
    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Write the means so far if it is time."""
        self._batches = self._before_epoch + batch + 1
        if self.update_freq == "epoch" or self._batches % self.update_freq:
            return
        values = {f"batch_{name}": value for name, value in (logs or {}).items()}
        if self.write_steps_per_second:
            values["batch_steps_per_second"] = 1 / max(time.perf_counter() - self._batch_start, 1e-9)
        self._write("train", values, self._batches)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write the epoch's values, and its histograms if it is time."""
        if logs:
            train = {f"epoch_{name}": value for name, value in logs.items() if not name.startswith("val_")}
            train["epoch_learning_rate"] = float(self.model.optimizer.learning_rate)
            if self.write_steps_per_second:
                seconds = max(time.perf_counter() - self._epoch_start, 1e-9)
                train["epoch_steps_per_second"] = (self._batches - self._before_epoch) / seconds
            self._write("train", train, epoch)
            validation = {f"epoch_{name[4:]}": value for name, value in logs.items() if name.startswith("val_")}
            if validation:
                self._write("validation", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        self._flush()

    def _write_weights(self, epoch: int) -> None:
        from tensorboardX import summary

        file = self._file("train")
        for layer in self.model.layers:
            for name, w in zip(("kernel", "bias"), layer.weights):
                tag = f"{self.model.name}/{layer.name}/{name}"
                finite = w[np.isfinite(w)]
                if finite.size:
                    file.add(summary.histogram(f"{tag}/histogram", finite, _BINS), epoch)
                if self.write_images:
                    image = np.atleast_2d(w)
                    image = image.T if image.shape[0] > image.shape[1] else image
                    gray = (255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
                    file.add(summary.image(f"{tag}/image", gray, dataformats="HW"), epoch)

    def on_test_end(self, logs: Logs = None) -> None:
        """Write the results by the number of training steps so far, of a compiled model."""
        iterations = getattr(self.model.optimizer, "iterations", None)
        if logs and iterations is not None:
            values = {f"evaluation_{name}_vs_iterations": value for name, value in logs.items()}
            self._write("validation", values, int(iterations))
            self._flush()

    def on_train_end(self, logs: Logs = None) -> None:
        """Close the files."""
        self._flush()
        self._close()

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


class _EventFile:
    """A new file in a folder, in TensorBoard's format: records of a length, a checksum, an event, a checksum.

    tensorboardX's SummaryWriter writes from a thread of its own. On a full disk this thread ends, nobody hears of it,
    and the eleventh event waits for it for ever; so only its messages and its ways to a file, here or in a cloud, are
    taken.
    """

    def __init__(self, folder: str):
        from tensorboardX import record_writer
        from tensorboardX.proto.event_pb2 import Event

        self._local = "://" not in folder
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.{next(_FILES)}"
        self._path = os.path.join(folder, name)
        if self._local:
            atomic.make_folder(folder)
        with self._explained():
            self._file = record_writer.open_file(self._path)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, summary: Any, step: int) -> None:
        """Write a summary of tensorboardX."""
        from tensorboardX.proto.event_pb2 import Event

        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        checks = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
        with self._explained():
            self._file.write(length + checks[0] + content + checks[1])

    def flush(self) -> None:
        """Hand all to the system, so that TensorBoard can show it."""
        with self._explained():
            self._file.flush()
        if self._local:
            atomic.check_still_there(self._path, "the log")

    def close(self) -> None:
        """Close it; what flush couldn't write is lost, and said by it."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        return atomic.explained(self._path, "the log can't be written", "; what is there stays")
