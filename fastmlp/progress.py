"""What fit and evaluate print: Keras's words, a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

import numpy as np

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
        verbose: 0 nothing, 1 a live bar, 2 a line per epoch, "auto" 1. Where output is no terminal (a file, a pipe, a
            notebook's page) the bar is a line per epoch too: nothing is drawn over.
        epochs: Number of epochs, for "Epoch 1/20".
        steps: Batches of an epoch.
    """

    def __init__(self, verbose: Any, epochs: int, steps: int):
        if verbose not in (0, 1, 2, "auto"):
            raise ValueError(f'verbose must be 0, 1, 2 or "auto", got {verbose!r}')
        self._live = verbose in (1, "auto") and sys.stdout is not None and sys.stdout.isatty()
        self._silent = verbose == 0 or sys.stdout is None
        self.verbose = verbose
        self._epochs, self._steps = epochs, steps
        self._bar: Any = None
        self._start = 0.0

    def begin(self, epoch: int) -> None:
        """An epoch starts."""
        self._start = time.perf_counter()
        if self._silent:
            return
        if self._epochs > 1:
            print(f"Epoch {epoch + 1}/{self._epochs}")
        if self._live:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._steps,
                bar_format=f"{{n_fmt}}/{{total_fmt}} {{bar:{_CELLS}}} {{desc}}",
                ascii=" ━",
                file=sys.stdout,
                ncols=shutil.get_terminal_size().columns,  # 80 where the terminal doesn't say
                mininterval=_REFRESH,
                miniters=1,
            )

    def update(self, step: int, logs: dict[str, float]) -> None:
        """So many batches are done; the values are means so far."""
        if self._bar is not None:
            text = line(step, self._steps, time.perf_counter() - self._start, logs)
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(step - self._bar.n)

    def end(self, logs: dict[str, float]) -> None:
        """The epoch is over, validation included."""
        seconds = time.perf_counter() - self._start
        if self._bar is not None:
            # The last line is printed, not drawn: a bar is cut at the terminal's width, and it holds the results.
            self._bar.leave = False
            self.close()
            text = line(self._steps, self._steps, seconds, logs)
            print(f"{self._steps}/{self._steps} {_CELLS * '━'} {text}", flush=True)
        elif not self._silent:
            print(f"{self._steps}/{self._steps} - {line(self._steps, self._steps, seconds, logs)}", flush=True)

    def close(self) -> None:
        """Leave the bar as it stands, as after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
