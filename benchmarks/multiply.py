"""Products of two matrices in the libraries that have a peer: how each is called, and on how many threads."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import numpy as np


def fastmlp() -> tuple[Callable, Callable, Callable]:
    """The public kernel, and its own threads."""
    from fastmlp import threads
    from fastmlp.kernels import matmul

    return matmul, lambda array: array, threads.set_num_threads


def numpy() -> tuple[Callable, Callable, Callable]:
    """np.matmul, which is its BLAS."""
    from threadpoolctl import threadpool_limits

    return np.matmul, lambda array: array, threadpool_limits


def torch() -> tuple[Callable, Callable, Callable]:
    """torch.mm, which is its BLAS."""
    import torch

    return lambda a, b, out: torch.mm(a, b, out=out), torch.from_numpy, torch.set_num_threads


#: Peer -> maker of (function of a, b and out; from a NumPy array to the library's; setter of the number of threads).
LIBRARIES = {"fastmlp": fastmlp, "NumPy": numpy, "PyTorch": torch}


def seconds_of_products(peer: str, shapes: list[tuple[int, int, int]], threads: int, seconds: float) -> list[float]:
    """Seconds of a call for every (rows, depth, columns), called for about `seconds` each.

    Every product is compared with NumPy's in float64 first, which takes one thread: those of its BLAS go on spinning
    for 0.1 s, and beside them two threads of fastmlp reached 0.65 of the peak instead of 0.9. Afterwards the library
    may use all threads again.
    """
    from threadpoolctl import threadpool_limits

    from fastmlp.kernels.workers import available

    multiply, convert, set_threads = LIBRARIES[peer]()
    set_threads(threads)
    rng = np.random.default_rng(0)
    results = []
    for n, k, m in shapes:
        a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((n, k), (k, m)))
        out = np.empty((n, m), np.float32)
        arguments: dict[str, Any] = {"a": convert(a), "b": convert(b), "out": convert(out), "multiply": multiply}
        multiply(arguments["a"], arguments["b"], arguments["out"])
        with threadpool_limits(1):
            expected = a.astype(np.float64) @ b
        np.testing.assert_allclose(out, expected, atol=1e-5 * k)
        timer = timeit.Timer("multiply(a, b, out)", globals=arguments)
        once = timer.timeit(1)
        calls = max(1, int(seconds / once))
        results.append(timer.timeit(calls) / calls)
    set_threads(available())
    return results
