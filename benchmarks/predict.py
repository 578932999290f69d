"""Predictions of the seed job's net beside the peers: one row from Python, and many at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from .crew import Crew
from .jobs import JOBS

#: (dtype, rows) of the input.
CASES = (("uint8", 1), ("float32", 1), ("uint8", 10_000), ("float32", 10_000))

#: Keras on its other backends is as its training is, and a call on one row takes tens of milliseconds.
PEERS = ("fastmlp", "JAX scan", "PyTorch", "scikit-learn", "Keras on JAX", "NumPy")

#: Largest difference of two libraries' probabilities: sums of 784 products up to 255 in float32, and five roundings.
_TOLERANCE = 0.02


def measure(crew: Crew, rounds: int, rows: int | None, seconds: float) -> list[dict[str, Any]]:
    """For every case, each way's median seconds of a call in every round.

    Args:
        crew: The workers.
        rounds: Turns of every peer.
        rows: Of the data, all if None.
        seconds: That each way is called for in a turn.
    """
    names = [name for name in crew.names if name in PEERS]
    for name in names:
        crew.ask(name, "begin", job=asdict(JOBS["seed"].with_rows(rows)))
    report = []
    for dtype, count in CASES:
        times: dict[str, list[float]] = {}
        outputs: dict[str, list[float]] = {}
        for turn in range(rounds):
            for name in crew.turns(turn, names):
                answer = crew.ask(name, "predict", dtype=dtype, rows=count, seconds=seconds) or {}
                for form, result in answer.items():
                    times.setdefault(f"{name}, {form}", []).append(result["seconds"])
                    outputs[f"{name}, {form}"] = result["output"]
        _check_equal(outputs)
        report.append({"dtype": dtype, "rows": count, "seconds": times})
    return report


def _check_equal(outputs: dict[str, list[float]]) -> None:
    ours = outputs["fastmlp, predict"]
    for way, output in outputs.items():
        np.testing.assert_allclose(output, ours, rtol=0, atol=_TOLERANCE, err_msg=f"{way} predicts something else")
