"""Measure fastmlp beside its peers: python -m benchmarks --help.

Peers take turns, each in a process of its own on the same data, net, precision and threads; figures are ratios to
fastmlp in the same round. All raw seconds go into benchmarks.json, from which tables, figures and the README are made.
About 8 GB of memory are needed with all peers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from . import curves, figures, kernel_runs, machine, predict, processes, products, readme, tables, training
from . import options as option_costs
from .crew import Crew
from .jobs import JOBS
from .peers import PEERS

PARTS = ("jobs", "options", "predict", "products", "row", "starts", "kernels", "curves")

#: Rows of the smoke run.
SMOKE_ROWS = 3200


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report of all parts that are asked for, written anew after each.

    Raises:
        WorkerDied: If that of fastmlp did, without which there is nothing to compare.
    """
    asked = ["fastmlp", *(name for name in options.peers if name != "fastmlp")]
    here = [name for name in asked if PEERS[name].installed]
    smoke, rows = options.smoke, SMOKE_ROWS if options.smoke else None
    rounds = 1 if smoke else options.rounds
    report: dict[str, Any] = {"machine": machine.describe(), "peers": asked, "rounds": rounds,
                              "missing": [name for name in asked if name not in here], "died": {}}  # fmt: skip
    threads, start = report["machine"]["threads"], time.perf_counter()

    def done(part: str) -> None:
        _write(report, options.out)
        print(f"{part}: done, {time.perf_counter() - start:.0f} s", file=sys.stderr)

    if "starts" in options.part:
        report["starts"] = processes.starts(rows, 1 if smoke else 5)
        report["growth"] = processes.growth(*((20, 2_000) if smoke else (options.fits, options.predicts)))
        done("starts")
    if "row" in options.part:
        report["row"] = processes.one_row(rounds, 0.02 if smoke else 0.3)
        done("row")
    if "kernels" in options.part:
        report["kernels"] = kernel_runs.measure(options.out, smoke)
        done("kernels")
    if not set(options.part) & {"jobs", "options", "predict", "products", "curves"}:
        return report
    with Crew(here, threads) as crew:
        report |= {"start_seconds": crew.start_seconds, "died": crew.died}
        if "jobs" in options.part or "curves" in options.part:
            report["jobs"] = {}
            for name in options.job:
                report["jobs"][name] = training.measure(crew, JOBS[name].with_rows(rows), rounds, threads)
                done(f"job {name}")
        if "options" in options.part:
            report["options"] = option_costs.measure(crew, rounds, rows)
            done("options")
        if "predict" in options.part:
            report["predict"] = predict.measure(crew, rounds, rows, 0.02 if smoke else 0.3)
            done("predict")
        if "products" in options.part:
            report["products"] = products.measure(crew, rounds, threads, smoke)
            done("products")
        if "curves" in options.part:
            report["curves"] = curves.measure(crew, curves.fastest_peers(report["jobs"]), threads, smoke)
            done("curves")
    return report


def _write(report: dict[str, Any], folder: Path) -> None:
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (folder / "benchmarks.json").write_text(text + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--part", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    add("--job", nargs="+", choices=list(JOBS), default=list(JOBS), help="training jobs (default: all)")
    add("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="besides fastmlp (default: all)")
    add("--rounds", type=int, default=9, help="turns of each peer; slow ones get fewer (default: %(default)s)")
    add("--fits", type=int, default=1_000, help="of a tiny job, for the growth of memory (default: %(default)s)")
    add("--predicts", type=int, default=1_000_000, help="of one row, likewise (default: %(default)s)")
    add("--out", type=Path, default=Path("benchmarks/results"), help="folder (default: %(default)s)")
    add("--from", dest="source", type=Path, metavar="JSON", help="measure nothing: tables and figures of this report")
    add("--readme", action="store_true", help="put the tables into README.md")
    add("--smoke", action="store_true", help="a small run of everything that only shows that all works")
    return parser.parse_args()


def main() -> int:
    """Run what the arguments ask for; 1 if a peer died or a kernel failed."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    report = json.loads(options.source.read_text(encoding="utf-8")) if options.source else measure(options)
    text = tables.everything(report)
    (options.out / "benchmarks.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    for path in figures.write(report, options.out):
        print(f"\n{path}", end="")
    print()
    if options.readme:
        readme.write(report)
    return int(bool(report["died"]) or report.get("kernels", {}).get("failed", False))


if __name__ == "__main__":
    sys.exit(main())
