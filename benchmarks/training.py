"""Whole jobs beside the peers: every round each trains and validates one epoch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .crew import Crew
from .jobs import Job

#: Seconds that a peer may take for all rounds of a job, its first epoch apart; a slow one gets fewer rounds.
_BUDGET = 25.0

# The least rounds, and those of jobs of more operations in an epoch than a wide net's have.
_LEAST, _LEAST_LARGE, _LARGE = 3, 2, 2e11


def measure(crew: Crew, job: Job, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of every peer's epochs in turn: the first, which compiles, and one in each round it takes part in.

    Beside them, how long the machine's threads take to wait for each other: see peaks.round_trip.
    """
    peers: dict[str, Any] = {}
    report: dict[str, Any] = {"title": job.title, "batch": job.batch}
    for name in crew.names:
        size = crew.ask(name, "begin", job=asdict(job))
        first = crew.ask(name, "first_epoch")
        once = crew.ask(name, "epoch")
        if once is None:
            continue
        report |= size
        peers[name] = {"first": first[0], "loss_after_first": first[1], "seconds": [], "losses": []}
        operations = job.epoch_operations(**size)
        least = min(rounds, _LEAST_LARGE if operations > _LARGE else _LEAST)
        peers[name]["rounds"] = rounds if name == "fastmlp" else max(least, min(rounds, int(_BUDGET / once[0])))
        report["operations"] = operations
    report["round_trips"] = []
    for turn in range(rounds):
        report["round_trips"].append(crew.ask("fastmlp", "round_trip", threads=threads))
        for name in crew.turns(turn, list(peers)):
            if turn < peers[name]["rounds"] and (answer := crew.ask(name, "epoch")):
                peers[name]["seconds"].append(answer[0])
                peers[name]["losses"].append(answer[1])
    return report | {"peers": {name: peer for name, peer in peers.items() if peer["seconds"]}}
