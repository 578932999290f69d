"""A whole process of the seed job, as a user has it: python -m benchmarks.start [ROWS] prints what it took, as JSON."""

import time

_START = time.perf_counter()

import numba  # noqa: E402, F401

_NUMBA = time.perf_counter()

import fastmlp  # noqa: E402, F401

_FASTMLP = time.perf_counter()

import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402

from .jobs import JOBS  # noqa: E402
from .memory import peak_mb  # noqa: E402
from .peers.fastmlp_fit import Library  # noqa: E402

EPOCHS = 20


def main(rows: int | None) -> dict[str, dict[str, float]]:
    """Load the digits, train for EPOCHS epochs and evaluate; returns seconds and megabytes."""
    peer = Library(JOBS["seed"].with_rows(rows))
    base, loaded = peak_mb(), time.perf_counter()
    peer.fit(1)
    first = time.perf_counter()
    seconds = peer.fit(EPOCHS - 1).seconds
    trained = time.perf_counter()
    peer.model.evaluate(peer.data.x_val, peer.data.y_val, verbose=0)
    end = time.perf_counter()
    return {
        "seconds": {
            "import numba": _NUMBA - _START,
            "import fastmlp after numba": _FASTMLP - _NUMBA,
            "load the digits": loaded - _FASTMLP,
            "fit of the first epoch": first - loaded,
            "a later epoch": statistics.median(seconds),
            "evaluate": end - trained,
            "whole process": end - _START,
        },
        "megabytes": {"peak memory": peak_mb(), "peak memory above the loaded data": peak_mb() - base},
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else None)))
