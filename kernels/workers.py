"""The threads of a team (see team.py), and how many there may be.

They are Python threads that wait for work and run kernels without the GIL. Nothing of Numba's threading layers is
started, so a fork after a parallel call and calls from several threads at once are harmless: a forked child makes
its own team when it first needs one, and who finds the team at work computes alone, with the same bits.
"""

import contextlib
import ctypes
import os
import queue
import threading
from typing import Any

import numpy as np

from ._jit import JIT
from .team import FAILED, SYNC_SIZE

#: For kernels whose members do not meet.
NO_BARRIER = np.zeros(SYNC_SIZE, np.int64)


def available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_limit: int | None = None


def get_num_threads() -> int:
    """How many threads a call may use: all cores that the process may use, unless set otherwise."""
    if not JIT:
        return 1
    if _limit is not None:
        return _limit
    wish = os.environ.get("FASTMLP_NUM_THREADS", "")
    return min(int(wish), available()) if wish.isdigit() and int(wish) > 0 else available()


def limit_threads(count: int | None) -> None:
    """Use at most so many threads from now on, or, with None, as many as unless set."""
    global _limit
    _limit = count


class _Worker(threading.Thread):
    """A thread that runs one job after another for ever."""

    def __init__(self) -> None:
        super().__init__(name="fastmlp", daemon=True)
        self.jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.place: Any = None
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


_current_cpu: Any = None
with contextlib.suppress(AttributeError, OSError, TypeError):  # there is one on Linux only
    _current_cpu = ctypes.CDLL(None).sched_getcpu


def _spread(size: int) -> None:
    """Let the team's workers run on cores of their own, none on the caller's.

    Else a woken thread can be put behind its caller and wait there, some milliseconds, for the system to notice: two
    threads then multiplied matrices at the speed of one.
    """
    if _current_cpu is None or not hasattr(os, "sched_setaffinity"):
        return
    here, allowed = _current_cpu(), os.sched_getaffinity(0)
    for i, worker in enumerate(_workers[: size - 1]):
        place = here, allowed, size
        if worker.place != place and worker.native_id is not None:
            others = sorted(allowed - {here})
            with contextlib.suppress(OSError):  # it may be forbidden; then the system decides alone
                os.sched_setaffinity(worker.native_id, others[i :: size - 1] or others)
            worker.place = place


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
        _spread(size)
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
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
