"""What this machine can do at most: float32 multiply-adds, and bytes moved at every level of memory.

Compiled without the kernels' disk cache, whose key doesn't know this file.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from fastmlp.kernels._jit import features
from fastmlp.kernels.plan import aligned_zeros
from fastmlp.kernels.simd import fma, lanes, load, splat, store
from fastmlp.kernels.team import SYNC_SIZE, barrier

#: Independent sums, in lines, that hide the latency of a multiply-add and fit the registers: a line is one register of
#: AVX-512, two of AVX2 and four of the others.
_SUMS = 12 if features("avx512f") else 6

#: Bytes of the three arrays of the triad together, for each level.
LEVELS = {"first-level cache": 3 << 13, "second-level cache": 3 << 17, "memory": 3 << 27}

_REPEATS = 5


@numba.njit(nogil=True)
def _six_sums(a, count):
    x, y = load(a, 0), splat(a, 0.5)
    sum0, sum1, sum2, sum3, sum4, sum5 = x, x, x, x, x, x
    for _ in range(count):
        sum0, sum1, sum2 = fma(sum0, y, x), fma(sum1, y, x), fma(sum2, y, x)
        sum3, sum4, sum5 = fma(sum3, y, x), fma(sum4, y, x), fma(sum5, y, x)
    store(a, 0, ((sum0 + sum1) + (sum2 + sum3)) + (sum4 + sum5))


@numba.njit(nogil=True)
def _twelve_sums(a, count):
    x, y = load(a, 0), splat(a, 0.5)
    sum0, sum1, sum2, sum3, sum4, sum5 = x, x, x, x, x, x
    sum6, sum7, sum8, sum9, sum10, sum11 = x, x, x, x, x, x
    for _ in range(count):
        sum0, sum1, sum2 = fma(sum0, y, x), fma(sum1, y, x), fma(sum2, y, x)
        sum3, sum4, sum5 = fma(sum3, y, x), fma(sum4, y, x), fma(sum5, y, x)
        sum6, sum7, sum8 = fma(sum6, y, x), fma(sum7, y, x), fma(sum8, y, x)
        sum9, sum10, sum11 = fma(sum9, y, x), fma(sum10, y, x), fma(sum11, y, x)
    store(a, 0, ((sum0 + sum1) + (sum2 + sum3)) + ((sum4 + sum5) + (sum6 + sum7)) + ((sum8 + sum9) + (sum10 + sum11)))


@numba.njit(nogil=True)
def _triad(a, b, c, repeats):
    """a = b / 2 + c, as in the STREAM benchmark."""
    half = splat(a, 0.5)
    for _ in range(repeats):
        for i in range(0, a.size, lanes(a)):
            store(a, i, fma(load(b, i), half, load(c, i)))


def _best_seconds(function, arguments: list[tuple]) -> float:
    """Of some repetitions, the least time in which as many threads as there are arguments made their calls."""
    with ThreadPoolExecutor(len(arguments)) as pool:
        times = []
        for _ in range(1 + _REPEATS):  # the first compiles
            start = time.perf_counter()
            for call in [pool.submit(function, *own) for own in arguments]:
                call.result()
            times.append(time.perf_counter() - start)
    return min(times[1:])


def fma_peak(threads: int, count: int = 5_000_000) -> float:
    """GFLOP/s of independent float32 multiply-adds in registers, on so many threads at once."""
    function = _twelve_sums if _SUMS == 12 else _six_sums
    line = 64 // np.dtype(np.float32).itemsize
    seconds = _best_seconds(function, [(aligned_zeros(line, np.float32), count) for _ in range(threads)])
    return threads * count * _SUMS * 2 * line / seconds / 1e9


@numba.njit(nogil=True)
def _barriers(sync, size, count):
    for _ in range(count):
        barrier(sync, size)


def round_trip(threads: int, count: int = 20_000) -> float:
    """Seconds in which so many threads wait for each other once.

    It tells where a virtual machine's cores are. On the README's machine a cache line goes to the other core and back
    in 0.1 us while both are on one chip of the processor, and in 0.36 us when the host has moved one to another chip.
    """
    if threads == 1:
        return 0.0
    sync = aligned_zeros(SYNC_SIZE, np.int64)
    return _best_seconds(_barriers, [(sync, threads, count) for _ in range(threads)]) / count


def bandwidth(level: str, moved: int = 1 << 30) -> float:
    """GB/s of a triad on one thread, two thirds read and one third written, in a level of LEVELS."""
    size = LEVELS[level] // 3
    arrays = [aligned_zeros(size // 4, np.float32) for _ in range(3)]
    repeats = max(1, moved // (3 * size))
    return repeats * 3 * size / _best_seconds(_triad, [(*arrays, repeats)]) / 1e9
