"""How many threads a call uses. The threads themselves are in kernels/workers.py."""

from __future__ import annotations

import time

from .checks import positive_int
from .kernels.workers import available, get_num_threads, limit_threads, run

__all__ = ["Pace", "available", "get_num_threads", "run", "set_num_threads", "team_size"]

#: Floating-point operations of a training step from which on a further thread may pay; Pace finds out whether it does.
WORTH = 100_000

#: The same for a single call, which has to wake the team first: that costs some 50 us.
WORTH_WAKING = 5_000_000

# Seconds of a slice of an epoch, after which it returns to Python for the progress bar and Ctrl-C; of one that only
# finds out how fast a team of another size is; and until that is tried again, at first and at last.
_SLICE, _TRIAL, _FIRST_WAIT, _LAST_WAIT = 0.05, 0.002, 0.05, 2.0


def set_num_threads(count: int) -> None:
    """Use at most so many threads from now on; results don't depend on it, not by a bit.

    From outside the environment variable FASTMLP_NUM_THREADS sets it for a process; where it is not set,
    NUMBA_NUM_THREADS or OMP_NUM_THREADS does, by which joblib, dask and others share the cores among their workers.

    Raises:
        ValueError: If count is below 1 or above the number of cores this process may use.
        TypeError: If it is not an integer.
    """
    count = positive_int("the number of threads", count)
    if count > available():
        raise ValueError(f"the number of threads must be at most {available()}, the cores of this process, got {count}")
    limit_threads(count)


def team_size(operations: float, waking: bool = False) -> int:
    """Threads that may pay for a step of training, or for a call of so many operations, which has to wake them."""
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
        self._due = dict.fromkeys(self._seconds, 0.0)
        self._wait = dict.fromkeys(self._seconds, 0.0)  # each is tried twice at first: the first slice warms the caches
        self._trial = True
        self._steps = steps
        self._size = most

    def next(self, left: int) -> tuple[int, int]:
        """Size of the team, and steps of the next slice; at most `left`."""
        now = time.perf_counter()
        due = [size for size, at in self._due.items() if now >= at]
        self._size = due[0] if due else min(self._seconds, key=self._seconds.__getitem__)
        steps = self._steps
        self._trial = bool(due)
        if due and self._seconds[self._size]:
            steps = int(_TRIAL / self._seconds[self._size])
        return self._size, max(1, min(left, steps))

    def took(self, steps: int, seconds: float) -> None:
        """The slice that next() named had so many steps and took so long."""
        wait = self._wait[self._size]
        self._due[self._size] = time.perf_counter() + wait
        if self._trial:
            self._wait[self._size] = max(_FIRST_WAIT, min(2 * wait, _LAST_WAIT))
        # A slice that something else disturbed raises it by a quarter only, so that it takes more than one to change.
        new, old = max(seconds, 1e-9) / steps, self._seconds[self._size]
        self._seconds[self._size] = min(new, 1.25 * old) if old else new
        if all(self._seconds.values()):
            # Towards a slice of _SLICE seconds; the results don't depend on where an epoch is cut.
            self._steps = min(4 * self._steps, int(_SLICE / min(self._seconds.values())))
