"""Measure fastmlp beside its peers: python -m benchmarks --help.

Every ratio comes from one run in which all take turns; tables show medians, and the ratio's spread over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .peers import PEERS, Job, available, make

ROOT = Path(__file__).resolve().parent.parent


#: Name -> (units, activation of the hidden layers, batch, whether the input is float32 without zeros).
JOBS: dict[str, tuple[tuple[int, ...], str, int, bool]] = {
    "seed": ((784, 16, 8, 10), "sigmoid", 32, False),
    "seed-dense": ((784, 16, 8, 10), "sigmoid", 32, True),
    "128": ((784, 128, 128, 10), "relu", 32, True),
    "256": ((784, 256, 256, 10), "relu", 128, True),
    "1024": ((784, 1024, 1024, 10), "relu", 128, True),
}


def make_job(name: str, rows: int | None = None) -> Job:
    """A job on raw digits, or on digits of about unit size without zeros; the last fifth of the rows held out."""
    from fastmlp.datasets import mnist, printed_digits

    units, activation, batch, dense = JOBS[name]
    try:
        (x, y), _ = mnist.load_data()
    except OSError:
        print("MNIST is not here: the printed digits stand in for it")
        (x, y), _ = printed_digits.load_data()
    x, y = x.reshape(len(x), -1)[:rows], y[:rows].astype(np.int32)
    if dense:
        x = (x.astype(np.float32) + 1) / 256
    at = int(len(x) * 0.8)
    title = f"{'-'.join(map(str, units))} {activation}, batch {batch}{', no zeros' if dense else ''}"
    return Job(title, units, activation, batch, x[:at], y[:at], x[at:], y[at:])


def in_turn(job: Job, rounds: int, names: list[str]) -> dict[str, dict[str, Any]]:
    """Seconds of an epoch, each peer once a round; the first call, which compiles, apart."""
    epochs, results = {}, {}
    for name in names:
        start = time.perf_counter()
        epoch = make(name, job)
        loss = epoch()
        epochs[name] = epoch
        results[name] = {"first": time.perf_counter() - start, "loss_after_first": loss, "seconds": []}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if name == "fastmlp":
                # What fit does once (checking, compressing) is in its first epoch's call, not in an epoch's time.
                results[name]["seconds"].append(epochs[name].seconds(1)[0])
                continue
            start = time.perf_counter()
            epochs[name]()
            results[name]["seconds"].append(time.perf_counter() - start)
    ours = np.array(results["fastmlp"]["seconds"])
    for result in results.values():
        seconds = np.array(result["seconds"])
        ratios = seconds / ours
        result |= {
            "median": float(np.median(seconds)),
            "ratio": float(np.median(ratios)),
            "ratio_low": float(ratios.min()),
            "ratio_high": float(ratios.max()),
        }
    return results


_PROCESS = """
import json, pathlib, re, resource, sys, time

def peak():
    # The kernel's own mark for this program: ru_maxrss also knows the process that started it.
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)

start = time.perf_counter()
import numba
numba_done = time.perf_counter()
import fastmlp
import_done = time.perf_counter()
from benchmarks.__main__ import make_job
from benchmarks.peers import make
job = make_job("seed", {rows})
loaded = time.perf_counter()
base = peak()
epoch = make("fastmlp", job)
seconds = epoch.seconds(20)
end = time.perf_counter()
print(json.dumps({{
    "import numba": numba_done - start,
    "import fastmlp after numba": import_done - numba_done,
    "first epoch": seconds[0],
    "later epoch": sorted(seconds[1:])[len(seconds) // 2],
    "whole process": end - start,
    "peak MB": peak(),
    "peak MB above the loaded data": peak() - base,
}}))
"""


def process(folder: Path, rows: int | None) -> dict[str, float]:
    """A whole process from import to the end of 20 epochs of the seed job, with that cache folder."""
    run = subprocess.run(
        [sys.executable, "-c", _PROCESS.format(rows=rows)],
        env={**os.environ, "FASTMLP_CACHE_DIR": str(folder)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def starts(rows: int | None, repeats: int) -> dict[str, dict[str, float]]:
    """Cold (nothing compiled), then from the disk cache; medians over the repeats for the latter."""
    with tempfile.TemporaryDirectory() as folder:
        cold = process(Path(folder), rows)
        cached = [process(Path(folder), rows) for _ in range(repeats)]
    return {"cold": cold, "cached": {key: float(np.median([run[key] for run in cached])) for key in cold}}


def machine() -> dict[str, Any]:
    """What ran where."""
    import llvmlite.binding as llvm

    packages = {}
    for name in ("numpy", "numba", "llvmlite", "jax", "torch", "scikit-learn", "keras"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    features = llvm.get_host_cpu_features()
    return {
        "processor": llvm.get_host_cpu_name(),
        "vectors": next((f for f in ("avx512f", "avx2", "neon") if features.get(f)), "sse2"),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
    }


def table(report: dict[str, Any]) -> str:
    """A job's table; the README's is that of the seed job."""
    here = report["machine"]
    packages = here["packages"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if name != "llvmlite")
    lines = [
        f"{report['job']}; {report['rows']:,} training rows, shuffled each epoch, "
        f"and {report['validation_rows']:,} validated.",
        f"{here['cores']} cores of a {here['processor']} ({here['vectors']}), Python {here['python']}, {versions}.",
        "",
        "| | an epoch, ms | times fastmlp | spread | dense GFLOP/s | first call, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, result in sorted(report["peers"].items(), key=lambda item: item[1]["median"]):
        lines.append(
            f"| {name} | {result['median'] * 1e3:.0f} | {result['ratio']:.1f} "
            f"| {result['ratio_low']:.1f}-{result['ratio_high']:.1f} "
            f"| {report['operations'] / result['median'] / 1e9:.0f} | {result['first']:.1f} |"
        )
    if report["missing"]:
        lines += ["", f"Not installed, so not measured: {', '.join(report['missing'])}."]
    if not report["starts"]:
        return "\n".join(lines)
    cold, cached = report["starts"]["cold"], report["starts"]["cached"]
    lines += [
        "",
        "| a process of fastmlp: import, load, 20 epochs | nothing compiled yet | from the disk cache |",
        "|---|---:|---:|",
        *(f"| {key}{'' if 'MB' in key else ', s'} | {cold[key]:.3g} | {cached[key]:.3g} |" for key in cold),
    ]
    return "\n".join(lines)


def write_readme(text: str) -> None:
    """Put the table between the README's marks."""
    readme = ROOT / "README.md"
    begin, end = "<!-- benchmarks: begin, written by python -m benchmarks --readme -->", "<!-- benchmarks: end -->"
    content = readme.read_text(encoding="utf-8")
    content = re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", content, flags=re.S)
    readme.write_text(content, encoding="utf-8")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--job", choices=list(JOBS), default="seed", help="net and data (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="epochs of each peer (default: %(default)s)")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), help="besides fastmlp (default: all)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder (default: %(default)s)")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--smoke", action="store_true", help="a small run that only shows that all works")
    options = parser.parse_args()
    rows = 3200 if options.smoke else None
    job = make_job(options.job, rows)
    wanted = None if options.peers is None else ["fastmlp", *(name for name in options.peers if name != "fastmlp")]
    here, missing = available(wanted)
    report = {
        "job": job.name,
        "rows": len(job.x),
        "validation_rows": len(job.x_val),
        "operations": job.operations,
        "machine": machine(),
        "missing": missing,
        "peers": in_turn(job, 2 if options.smoke else options.rounds, here),
        "starts": starts(rows, 1 if options.smoke else 5) if options.job == "seed" else {},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.job}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    if options.readme and options.job == "seed":
        write_readme(table(report))


if __name__ == "__main__":
    main()
