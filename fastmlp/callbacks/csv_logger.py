"""CSVLogger: a line of a CSV file for every epoch."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable
from typing import Any, BinaryIO

from .base import Callback, Logs


class CSVLogger(Callback):
    """Writes the logs of every epoch to a CSV file, which can be read while training goes on.

    Columns are the epoch's number, from 0, and the names of the first epoch's logs, sorted. If none of these begins
    with val_, there is a val_ column for each as well, as validation may not come with every epoch. "NA" is no value.

    Args:
        filename: Path of the file; its folder must exist.
        separator: Between two columns.
        append: Whether to write behind what a file holds already; the header is written into an empty file only.

    Raises:
        ValueError: If separator is no single character.
        OSError: At the start of fit, if the file can't be written; later, if the disk is full or the file is gone. The
            lines of the epochs before stay whole.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> logger = CSVLogger(path)
    >>> logger.on_train_begin()
    >>> logger.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.75})
    >>> logger.on_train_end()
    >>> print(path.read_text().strip())
    epoch,loss,val_loss
    0,0.5,0.75
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False):
        self.filename = os.fspath(filename)
        if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
            raise ValueError(f"separator must be one character, and no quote or end of a line, got {separator!r}")
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self.csv_file: BinaryIO | None = None
        self._size: int | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Open the file. What is to be written over stays until there is something else, or nothing, to write."""
        from fastmlp.saving import atomic

        self._close()
        with atomic.explained(atomic.writable(self.filename), "the log can't be written", "; give another filename"):
            # A line is written at once, whole: what is left in a buffer would fail when the file is closed.
            self.csv_file = open(self.filename, "ab", buffering=0)  # noqa: SIM115
        self.keys = None
        self._size = None if self.append else 0

    def training_state(self) -> dict[str, Any]:
        """Columns, and how long the file is, without what is to be written over."""
        if self.csv_file is None:
            return {}
        size = os.fstat(self.csv_file.fileno()).st_size if self._size is None else self._size
        return {"keys": self.keys, "size": size}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Write on behind the lines of the epochs before; what comes behind them is of one that is trained again."""
        if self.csv_file is None:
            return
        self._size = min(state["size"], os.fstat(self.csv_file.fileno()).st_size)
        if self._size:
            self.keys = state["keys"]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write a line."""
        if self.csv_file is None:
            raise RuntimeError("CSVLogger has no open file: call on_train_begin before on_epoch_end")
        logs = logs or {}
        rows: list[list[Any]] = []
        self._cut()
        size = os.fstat(self.csv_file.fileno()).st_size
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
            if size == 0:
                rows.append(["epoch", *self.keys])
        rows.append([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        self._append(rows, size)

    def _append(self, rows: list[list[Any]], size: int) -> None:
        """Write lines behind the others, or none."""
        from fastmlp.saving import atomic

        assert self.csv_file is not None
        text = io.StringIO(newline="")  # csv ends lines itself
        csv.writer(text, delimiter=self.sep).writerows(rows)
        content = memoryview(text.getvalue().encode())
        with atomic.explained(self.filename, "the log can't be written", "; its lines so far stay"):
            try:
                while content:
                    content = content[self.csv_file.write(content) :]
            except OSError:
                with contextlib.suppress(OSError):
                    self.csv_file.truncate(size)
                raise
        atomic.check_still_there(self.filename, "the log")

    def on_train_end(self, logs: Logs = None) -> None:
        """Close the file."""
        self._cut()
        self._close()

    def _cut(self) -> None:
        """Take off what is to be written over."""
        if self.csv_file is not None and self._size is not None:
            self.csv_file.truncate(self._size)
            self._size = None

    def _close(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
            self.csv_file = None


def _cell(value: Any) -> Any:
    """A sequence as one quoted cell, everything else as it is."""
    if isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'
