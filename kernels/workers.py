"""The threads of a team (see team.py), and how many there may be.

They are Python threads that wait for work and run kernels without the GIL. Nothing of Numba's threading layers is
started, so a fork after a parallel call and calls from several threads at once are harmless: a forked child makes
its own team when it first needs one, and who finds the team at work computes alone, with the same bits.
"""

import contextlib
import ctypes
import itertools
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


class _Call:
    """A kernel that every member of a team calls once.

    Ctrl-C, or another signal whose handler raises, can come between any two lines of the main thread's, but not within
    what one call of C does. A call of which any member may have begun is carried through: else the others would wait at
    their barrier for ever, or half a step be made. So what has been done can be told at any moment, and lead() goes on
    from there: a share is in `shares` until a worker takes it out, and `led` isn't empty once the caller's is done.
    """

    def __init__(self, kernel: Any, arguments: tuple[Any, ...], size: int, sync: np.ndarray):
        self._kernel, self._sync = kernel, sync
        self._shares = [[(*arguments, rank, size)] for rank in range(size)]
        self._words: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.led: list[Any] = []
        #: Of each other member that is ready None, or its error.
        self.ended: list[BaseException | None] = []

    def lead(self, crew: list["_Worker"]) -> None:
        """Hand out the shares, do the caller's, and wait for the others; again, if an error came in between."""
        for rank, worker in enumerate(crew, 1):
            if self._shares[rank]:
                worker.jobs.put((self, rank))
        if not self.led:
            self.led.extend(itertools.starmap(self._kernel, self._shares[0]))
        while len(self.ended) < len(crew):
            self._words.get()  # some may be lost: a word says that something has changed, not what

    def follow(self, rank: int) -> None:
        """Another member's share, if it isn't taken yet."""
        try:
            arguments = self._shares[rank].pop()
        except IndexError:
            return
        error = None
        try:
            self._kernel(*arguments)
        except BaseException as own:
            self._sync[FAILED] = 1  # lets the others through the barrier
            error = own
        self.ended.append(error)
        self._words.put(None)


class _Worker(threading.Thread):
    """A thread that takes part in one call after another for ever."""

    def __init__(self) -> None:
        super().__init__(name="fastmlp", daemon=True)
        self.jobs: queue.SimpleQueue[tuple[_Call, int]] = queue.SimpleQueue()
        self.place: Any = None
        self.start()

    def run(self) -> None:
        while True:
            call, rank = self.jobs.get()
            call.follow(rank)
            del call


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
    if size == 1 or busy.locked():
        kernel(*arguments, 0, 1)
        return
    with busy:  # a lock's own entry and exit, between which and the block no signal is heard
        try:
            while len(_workers) < size - 1:
                _workers.append(_Worker())
        except RuntimeError:
            size = len(_workers) + 1
        _spread(size)
        call, errors = _Call(kernel, arguments, size, sync), []
        while True:
            try:
                call.lead(_workers[: size - 1])
                break
            except BaseException as error:
                errors.append(error)
                if len(errors) > 1 and not call.led:  # what comes each time is the kernel's own
                    sync[FAILED] = 1
                    call.led.append(None)
        errors += [error for error in call.ended if error is not None]
        if errors:
            if sync[FAILED]:
                sync[:] = 0
            raise errors[0]
