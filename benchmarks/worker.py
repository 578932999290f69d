"""The process of one peer: python -m benchmarks.worker PEER THREADS, commands on stdin, answers on stdout.

Each command is a line of JSON, {"do": name, ...}, and is answered by one. What a library prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from typing import Any

import numpy as np

from . import multiply
from .jobs import Job
from .peers import PEERS, Peer, Predictor


class Server:
    """Answers the commands, each by the method of its name."""

    def __init__(self, name: str):
        self.name = name
        self.library = PEERS[name].load()
        self.peer: Peer
        self.sparse: Any = None

    def ready(self) -> bool:
        """The library is imported."""
        return True

    def begin(self, job: dict[str, Any]) -> dict[str, Any]:
        """Make the net; the former job's is let go."""
        self.peer = self.library(Job(**job | {"units": tuple(job["units"])}))
        return {"rows": len(self.peer.data.x), "validation_rows": len(self.peer.data.x_val)}

    def first_epoch(self) -> tuple[float, float]:
        """Seconds of the first epoch, which compiles, and its validation loss."""
        start = time.perf_counter()
        loss = self.peer.epoch()
        return time.perf_counter() - start, loss

    def epoch(self) -> tuple[float, float]:
        """Seconds and validation loss of another."""
        return self.peer.timed_epoch()

    def predict(self, dtype: str, rows: int, seconds: float) -> dict[str, dict[str, Any]]:
        """Median seconds of a call, and the first row's output, for each way to predict so many rows."""
        x = self.peer.data.x
        x = np.resize(x, (rows, x.shape[1])).astype(dtype)  # in a small run they repeat
        return {name: _median_call(function, x, seconds) for name, function in self.peer.predictors().items()}

    def products(self, shapes: list[tuple[int, int, int]], threads: int, seconds: float) -> list[float]:
        """See multiply.seconds_of_products."""
        return multiply.seconds_of_products(self.name, shapes, threads, seconds)

    def options(self, job: str, rounds: int, rows: int | None) -> dict[str, list[float]]:
        """See options.seconds."""
        from . import options

        return options.seconds(job, rounds, rows)

    def sparse_begin(self, solver: str, smoke: bool) -> bool:
        """Make the matrix and the net of sparse.Epochs."""
        from . import sparse

        self.sparse = None  # let go of the former one first
        self.sparse = sparse.Epochs(self.name, solver, smoke)
        return True

    def sparse_epoch(self) -> dict[str, float]:
        """See sparse.Epochs.epoch."""
        return self.sparse.epoch()

    def round_trip(self, threads: int) -> float:
        """Seconds in which so many threads wait for each other once, of which a training step holds several."""
        from . import peaks

        return peaks.round_trip(threads)

    def peak(self, threads: int) -> float:
        """Multiply-adds of float32 that so many threads can do, in GFLOP/s."""
        from . import peaks  # not above: it imports Numba, which the other libraries' processes start without

        return peaks.fma_peak(threads)


def _median_call(function: Predictor, x: np.ndarray, seconds: float) -> dict[str, Any]:
    for _ in range(3):  # the first compiles
        output = function(x)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function(x)
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "output": output[0].tolist()}


def limit_threads(count: int) -> None:
    """Leave so many cores to this process; thread pools made from now on are of their number."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def serve(name: str) -> None:
    """Answer commands until stdin ends."""
    # The answers get stdout for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    server = Server(name)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(server, command.pop("do"))(**command)), file=answers, flush=True)


if __name__ == "__main__":
    limit_threads(int(sys.argv[2]))
    serve(sys.argv[1])
