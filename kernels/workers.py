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


#: What those who start several processes set for what runs in them: joblib's loky gives each worker its share of the
#: cores by both, dask's workers get OMP_NUM_THREADS=1. Without them N workers ran N teams of all cores. Looked at when
#: this is imported, as by Numba and OpenMP themselves: dask leaves its variable behind in the process that starts them.
_shares = [os.environ.get(name, "") for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")]

_limit: int | None = None


def get_num_threads() -> int:
    """How many threads a call may use: all cores that the process may use, unless set otherwise.

    set_num_threads comes first, then the variable FASTMLP_NUM_THREADS, then NUMBA_NUM_THREADS and OMP_NUM_THREADS as
    they were when fastmlp was imported; the first that is a number above 0.
    """
    if not JIT:
        return 1
    if _limit is not None:
        return _limit
    for wish in (os.environ.get("FASTMLP_NUM_THREADS", ""), *_shares):
        first = wish.partition(",")[0].strip()  # OpenMP's may go on with those of inner loops
        if first.isdecimal() and int(first) > 0:
            return min(int(first), available())
    return available()


def limit_threads(count: int | None) -> None:
    """Use at most so many threads from now on, or, with None, as many as unless set."""
    global _limit
    _limit = count


class _Job:
    """One member's share of a call.

    Ctrl-C can come between any two lines of the caller's, even before the share is handed out. So each share belongs to
    whoever takes it first: the worker, who then runs it, or the caller, who then needn't wait for it.
    """

    def __init__(self, kernel: Any, arguments: tuple[Any, ...], sync: np.ndarray):
        self.kernel, self.arguments, self.sync = kernel, arguments, sync
        self.errors: list[BaseException] = []
        self.is_done = False
        self._free = [True]

    def take(self) -> bool:
        """Whether it is the asker's now; to one of them only."""
        try:
            return self._free.pop()
        except IndexError:
            return False

    def run(self) -> None:
        """Do it, if it is not taken back, and say so."""
        if self.take():
            try:
                self.kernel(*self.arguments)
            except BaseException as error:
                self.sync[FAILED] = 1  # lets the others through the barrier
                self.errors.append(error)
        self.is_done = True


class _Worker(threading.Thread):
    """A thread that runs one job after another for ever."""

    def __init__(self) -> None:
        super().__init__(name="fastmlp", daemon=True)
        self.jobs: queue.SimpleQueue[tuple[_Job, queue.SimpleQueue[None]]] = queue.SimpleQueue()
        self.place: Any = None
        self.start()

    def run(self) -> None:
        while True:
            job, done = self.jobs.get()
            job.run()
            done.put(None)
            del job, done


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
        done: queue.SimpleQueue[None] = queue.SimpleQueue()
        jobs = [_Job(kernel, (*arguments, rank, size), sync) for rank in range(1, size)]
        errors: list[BaseException] = []
        try:
            for worker, job in zip(_workers, jobs):
                worker.jobs.put((job, done))
            kernel(*arguments, 0, size)
        except BaseException as error:
            sync[FAILED] = 1
            errors.append(error)
            jobs = [job for job in jobs if not job.take()]
        waiting = True
        while waiting:
            try:
                # A word of `done` can be lost to Ctrl-C: it says that something has changed, not what.
                while not all([job.is_done for job in jobs]):
                    done.get()
                waiting = False
            except KeyboardInterrupt as interrupt:  # the others still write: wait for them first
                errors.append(interrupt)
        errors += [error for job in jobs for error in job.errors]
        if errors:
            sync[:] = 0
            raise errors[0]
    finally:
        busy.release()
