"""What fit and evaluate print: Keras's words; a live bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

import numpy as np

from . import notebook
from .printable import printable

# Seconds between two drawings of the bar: often enough for the eye, and rare enough to cost nothing.
_REFRESH = 0.1

# Width of the bar, as in Keras.
_CELLS = 20


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"


def line(step: int, steps: int, seconds: float, logs: dict[str, float]) -> str:
    """Elapsed time, time per step and values: "1s 33us/step - accuracy: 0.8215 - loss: 0.5512"; no matrices."""
    values = "".join(f" - {name}: {_number(logs[name])}" for name in sorted(logs) if np.ndim(logs[name]) == 0)
    return f"{_duration(seconds)} {_duration(seconds / max(step, 1))}/step{values}"


class Progress:
    """Progress of some epochs.

    Args:
        verbose: 0 nothing, 1 a live bar, 2 a line per epoch, "auto" 1. In a notebook the bar is one line that changes
            in place, of which the last state is saved. Where output is a file or a pipe it is a line per epoch, too:
            nothing is drawn over.
        epochs: Number of epochs, for "Epoch 1/20".
        steps: Batches of an epoch.
    """

    def __init__(self, verbose: Any, epochs: int, steps: int):
        if verbose not in (0, 1, 2, "auto"):
            raise ValueError(f'verbose must be 0, 1, 2 or "auto", got {verbose!r}')
        self._live = verbose in (1, "auto") and sys.stdout is not None and sys.stdout.isatty()
        self._silent = verbose == 0 or sys.stdout is None
        self._page = notebook.Line() if verbose in (1, "auto") and not self._silent and notebook.is_notebook() else None
        self._due, self._text, self._epoch = 0.0, "", 0
        self.verbose = verbose
        self._epochs, self._steps = epochs, steps
        self._bar: Any = None
        self._start = 0.0

    def begin(self, epoch: int) -> None:
        """An epoch starts."""
        self._start = time.perf_counter()
        self._epoch = epoch
        if self._silent or self._page is not None:
            return
        if self._epochs > 1:
            print(f"Epoch {epoch + 1}/{self._epochs}")
        if self._live:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._steps,
                bar_format=f"{{n_fmt}}/{{total_fmt}} {{bar:{_CELLS}}} {{desc}}",
                ascii=printable(" ━"),
                file=sys.stdout,
                ncols=shutil.get_terminal_size().columns,  # 80 where the terminal doesn't say
                mininterval=_REFRESH,
                miniters=1,
            )

    def update(self, step: int, logs: dict[str, float]) -> None:
        """So many batches are done; the values are means so far."""
        if self._page is not None:
            self._show(step, logs)
        if self._bar is not None:
            text = line(step, self._steps, time.perf_counter() - self._start, logs)
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(step - self._bar.n)

    def end(self, logs: dict[str, float]) -> None:
        """The epoch is over, validation included."""
        seconds = time.perf_counter() - self._start
        if self._page is not None:
            self._show(self._steps, logs)
            if self._epoch + 1 == self._epochs:
                self.close()
        elif self._bar is not None:
            # The last line is printed, not drawn: a bar is cut at the terminal's width, and it holds the results.
            self._bar.leave = False
            self.close()
            text = line(self._steps, self._steps, seconds, logs)
            print(printable(f"{self._steps}/{self._steps} {_CELLS * '━'} {text}"), flush=True)
        elif not self._silent:
            print(f"{self._steps}/{self._steps} - {line(self._steps, self._steps, seconds, logs)}", flush=True)

    def _show(self, step: int, logs: dict[str, float]) -> None:
        """Change a notebook's line, or keep its text for later where the last change was a moment ago."""
        now = time.perf_counter()
        done = _CELLS * step // max(self._steps, 1)
        bar = done * "━" + (_CELLS - done) * "╌"
        epoch = f"Epoch {self._epoch + 1}/{self._epochs}  " if self._epochs > 1 else ""
        self._text = f"{epoch}{step}/{self._steps} {bar} {line(step, self._steps, now - self._start, logs)}"
        if self._page is not None and now >= self._due:
            self._page.show(self._text)
            self._due, self._text = now + _REFRESH, ""

    def close(self) -> None:
        """Leave the bar as it stands, as after an error."""
        if self._page is not None and self._text:
            self._page.show(self._text)
            self._text = ""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
