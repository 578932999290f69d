"""How the cost of an epoch goes with width, batch, samples and threads: fastmlp and its two fastest peers."""

from __future__ import annotations

import statistics
from dataclasses import asdict, replace
from typing import Any

from .crew import Crew
from .jobs import JOBS, Job

#: Rows of all curves but that of samples.
_ROWS = 12_000

_WIDTHS, _BATCHES = (16, 32, 64, 128, 256, 512, 1024), (8, 16, 32, 64, 128, 256, 512, 1024)
_SAMPLES = (2_000, 6_000, 20_000, 60_000)

#: Epochs of each peer at a point, in turn.
_ROUNDS = 3


def fastest_peers(jobs: dict[str, Any]) -> list[str]:
    """fastmlp and the two peers of the least seconds, relative to fastmlp, over all jobs measured."""
    ratios: dict[str, list[float]] = {}
    for job in jobs.values():
        ours = statistics.median(job["peers"]["fastmlp"]["seconds"])
        for name, peer in job["peers"].items():
            ratios.setdefault(name, []).append(statistics.median(peer["seconds"]) / ours)
    means = {name: statistics.geometric_mean(own) for name, own in ratios.items() if name != "fastmlp"}
    return ["fastmlp", *sorted(means, key=means.__getitem__)[:2]]


def measure(crew: Crew, names: list[str], threads: int, smoke: bool) -> dict[str, Any]:
    """For each curve its points: what varies, the samples trained and validated, and each peer's seconds."""
    rows = 3_200 if smoke else _ROWS
    wide, middle = JOBS["128"].with_rows(rows), JOBS["256"].with_rows(rows)

    def some(values: tuple[int, ...]) -> tuple[int, ...]:
        return values[:1] if smoke else values

    report: dict[str, Any] = {
        "width": [_point(crew, names, h, replace(middle, units=(784, h, h, 10))) for h in some(_WIDTHS)],
        "batch": [_point(crew, names, n, replace(wide, batch=n)) for n in some(_BATCHES)],
        "samples": [_point(crew, names, n, wide.with_rows(n)) for n in some(_SAMPLES)],
        "threads": [],
    }
    for count in sorted({1, *(1 << i for i in range(threads.bit_length()) if 1 << i < threads), threads}):
        if count == threads:
            report["threads"].append(_point(crew, names, count, middle))
        else:
            with Crew(names, count) as fewer:
                report["threads"].append(_point(fewer, names, count, middle))
                crew.died |= fewer.died
    return report


def _point(crew: Crew, names: list[str], value: int, job: Job) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    size: dict[str, int] = {}
    for name in crew.turns(0, names):
        size = crew.ask(name, "begin", job=asdict(job)) or size
        crew.ask(name, "first_epoch")
    for turn in range(_ROUNDS):
        for name in crew.turns(turn, names):
            if answer := crew.ask(name, "epoch"):
                seconds.setdefault(name, []).append(answer[0])
    return {"value": value, "title": job.title, **size, "seconds": seconds}
