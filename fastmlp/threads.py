"""The team of threads that runs a kernel together (see kernels/team.py).

They are Python threads that wait for work and run kernels without the GIL. Nothing of Numba's threading layers is
started, so a fork after a parallel call and calls from several threads at once are harmless: a forked child makes
its own team when it first needs one, and who finds the team at work computes alone, with the same bits.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any

import numpy as np

from .checks import positive_int
from .kernels._jit import JIT
from .kernels.team import FAILED

#: Floating-point operations of a training step from which on a further thread may pay; Pace finds out whether it does.
WORTH = 100_000

#: The same for a single call, which has to wake the team first: that costs some 50 us.
WORTH_WAKING = 5_000_000

# Seconds of a slice of an epoch, after which it returns to Python for the progress bar and Ctrl-C; and of one that only
# finds out how fast a team of another size is, once in so many seconds.
_SLICE, _TRIAL, _BETWEEN_TRIALS = 0.05, 0.002, 1.0


def available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_limit: int | None = None


def get_num_threads() -> int:
    """How many threads a call may use: all cores that the process may use, unless set otherwise."""
    if _limit is not None:
        return _limit
    wish = os.environ.get("FASTMLP_NUM_THREADS", "")
    return min(int(wish), available()) if wish.isdigit() and int(wish) > 0 else available()


def set_num_threads(count: int) -> None:
    """Use at most so many threads from now on; results don't depend on it, not by a bit.

    The environment variable FASTMLP_NUM_THREADS sets it for a process from outside.

    Raises:
        ValueError: If count is below 1 or above the number of cores this process may use.
        TypeError: If it is not an integer.
    """
    global _limit
    count = positive_int("the number of threads", count)
    if count > available():
        raise ValueError(f"the number of threads must be at most {available()}, the cores of this process, got {count}")
    _limit = count


def team_size(operations: float, waking: bool = False) -> int:
    """Threads that may pay for a step of training, or for a call of so many operations, which has to wake them."""
    if not JIT:
        return 1
    return max(1, min(get_num_threads(), int(operations / (WORTH_WAKING if waking else WORTH))))


class Pace:
    """Chooses how many steps come next, and how many threads take them: as many as were fastest of late.

    Members of a team wait for each other several times in a step, so on a machine that runs other programs besides, two
    threads can be slower than one. The results have the same bits for any number.

    Args:
        most: Most threads that may be used; tried are this number and the powers of two below it.
        steps: Steps of the first slices, some milliseconds.
    """

    def __init__(self, most: int, steps: int):
        self._seconds = dict.fromkeys([most, *(1 << i for i in range(most.bit_length()) if 1 << i < most)], 0.0)
        self._tried = dict.fromkeys(self._seconds, -_BETWEEN_TRIALS)
        self._steps = steps
        self._size = most

    def next(self, left: int) -> tuple[int, int]:
        """Size of the team, and steps of the next slice; at most `left`."""
        now = time.perf_counter()
        due = [size for size, tried in self._tried.items() if now - tried >= _BETWEEN_TRIALS]
        self._size = due[0] if due else min(self._seconds, key=self._seconds.__getitem__)
        steps = self._steps
        if due and self._seconds[self._size]:
            steps = int(_TRIAL / self._seconds[self._size])
        return self._size, max(1, min(left, steps))

    def took(self, steps: int, seconds: float) -> None:
        """The slice that next() named had so many steps and took so long."""
        self._tried[self._size] = time.perf_counter()
        self._seconds[self._size] = max(seconds, 1e-9) / steps
        if all(self._seconds.values()):
            # Towards a slice of _SLICE seconds; the results don't depend on where an epoch is cut.
            self._steps = min(4 * self._steps, int(_SLICE / min(self._seconds.values())))


class _Worker(threading.Thread):
    """A thread that runs one job after another for ever."""

    def __init__(self) -> None:
        super().__init__(name="fastmlp", daemon=True)
        self.jobs: queue.SimpleQueue = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            kernel, arguments, sync, done = self.jobs.get()
            try:
                kernel(*arguments)
                done.put(None)
            except BaseException as error:
                sync[FAILED] = 1  # lets the others through the barrier
                done.put(error)
            del kernel, arguments, sync, done


_workers: list[_Worker] = []
_busy = threading.Lock()


def _forget() -> None:
    """In a forked child only the forking thread lives on."""
    global _busy
    _workers.clear()
    _busy = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(kernel: Any, size: int, sync: np.ndarray, *arguments: Any) -> None:
    """Call kernel(*arguments, rank, size) for every rank of a team of `size` threads, and wait for all.

    Computes alone if the team is at work for someone else, or no thread can be started (as at the interpreter's end).
    """
    busy = _busy
    if size == 1 or not busy.acquire(blocking=False):
        kernel(*arguments, 0, 1)
        return
    try:
        try:
            while len(_workers) < size - 1:
                _workers.append(_Worker())
        except RuntimeError:
            size = len(_workers) + 1
        done: queue.SimpleQueue = queue.SimpleQueue()
        for rank in range(1, size):
            _workers[rank - 1].jobs.put((kernel, (*arguments, rank, size), sync, done))
        errors: list[BaseException] = []
        try:
            kernel(*arguments, 0, size)
        except BaseException as error:
            sync[FAILED] = 1
            errors.append(error)
        waiting = size - 1
        while waiting:
            try:
                failure = done.get()
                waiting -= 1
            except KeyboardInterrupt as interrupt:  # the others still write: wait for them first
                failure = interrupt
            if failure is not None:
                errors.append(failure)
        if errors:
            sync[:] = 0
            raise errors[0]
    finally:
        busy.release()
