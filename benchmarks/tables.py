"""The report as Markdown tables, made from its JSON alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any


def ratios(seconds: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Times fastmlp, round by round; a peer may have taken part in the first rounds only."""
    return [theirs / own for theirs, own in zip(seconds, ours)]


def duration(seconds: float) -> str:
    """Three digits with a unit."""
    factor, unit = (1, "s") if seconds >= 0.9995 else (1e3, "ms") if seconds >= 0.9995e-3 else (1e6, "µs")
    return f"{number(seconds * factor)} {unit}"


def number(value: float) -> str:
    """Three digits, not fewer than the whole ones."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 2)}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("|  |", "| |")


def machine(report: dict[str, Any]) -> str:
    """What ran where, in one line."""
    here = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in here["packages"].items() if name != "llvmlite")
    return (
        f"{here['threads']} threads of {here['processor']} ({here['vectors']}), {here['system']}, "
        f"Python {here['python']}, {versions}."
    )


def absent(report: dict[str, Any]) -> list[str]:
    """Who took no part, and why."""
    lines = []
    if report["missing"]:
        lines.append(f"Not installed, so not measured: {', '.join(report['missing'])}.")
    for name, death in report["died"].items():
        lines.append(f"{name} died when asked to {death['asked']}: {'; '.join(death['stderr'].splitlines()[-2:])}.")
    return lines


# ---------------------------------------------------------------------------------------------- training


def jobs(report: dict[str, Any]) -> str:
    """All jobs: how long an epoch of fastmlp takes, and how many times that the peers take."""
    measured = report["jobs"].values()
    names = [name for name in report["peers"] if name != "fastmlp" and any(name in job["peers"] for job in measured)]
    rows = []
    for job in measured:
        ours = job["peers"]["fastmlp"]["seconds"]
        median = statistics.median(ours)
        row = [job["title"], duration(median), f"{job['operations'] / median / 1e9:.0f}"]
        for name in names:
            peer = job["peers"].get(name)
            row.append(f"{number(statistics.median(ratios(peer['seconds'], ours)))} x" if peer else "")
        rows.append(row)
    return table(["an epoch, and times that", "fastmlp", "dense GFLOP/s", *names], rows)


def waiting(measured: dict[str, Any]) -> str:
    """How long the threads took to wait for each other in each round."""
    trips = measured.get("round_trips") or [0.0]
    if not any(trips):
        return ""
    return f"Its threads waited for each other in {duration(min(trips))} to {duration(max(trips))}."


def job(report: dict[str, Any], name: str) -> str:
    """One job in detail."""
    measured = report["jobs"][name]
    ours = measured["peers"]["fastmlp"]["seconds"]
    rows = []
    for peer, result in sorted(measured["peers"].items(), key=lambda item: statistics.median(item[1]["seconds"])):
        median, own = statistics.median(result["seconds"]), ratios(result["seconds"], ours)
        rows.append([
            peer,
            duration(median),
            number(statistics.median(own)),
            f"{number(min(own))}-{number(max(own))}",
            str(len(own)),
            f"{measured['operations'] / median / 1e9:.0f}",
            duration(report["start_seconds"][peer]),
            duration(result["first"]),
            f"{result['loss_after_first']:.3f}",
        ])  # fmt: skip
    head = [
        "",
        "an epoch",
        "times fastmlp",
        "spread",
        "rounds",
        "dense GFLOP/s",
        "process start",
        "first epoch",
        "loss after it",
    ]
    return "\n".join([
        f"{measured['title']}; {measured['rows']:,} training rows, shuffled each epoch, and "
        f"{measured['validation_rows']:,} validated. " + waiting(measured),
        "",
        table(head, rows),
    ])  # fmt: skip


def options(report: dict[str, Any]) -> str:
    """Each option's epoch, in times that of the plain net in the same round."""
    nets = list(report["options"].values())
    plain = [next(iter(net["seconds"].values())) for net in nets]
    rows = []
    for name in nets[0]["seconds"]:
        row = [name]
        for net, base in zip(nets, plain):
            own = ratios(net["seconds"][name], base)
            row.append(f"{statistics.median(own):.2f}")
        rows.append(row)
    head = [f"{net['title']}, {duration(statistics.median(base))}" for net, base in zip(nets, plain)]
    return table(["an epoch with it, in times the plain one", *head], rows)


# ---------------------------------------------------------------------------------------------- predictions


def predict(report: dict[str, Any]) -> str:
    """Time of a call, and times fastmlp."""
    cases = report["predict"]
    rows = []
    for way in dict.fromkeys(way for case in cases for way in case["seconds"]):
        row = [way]
        for case in cases:
            seconds, ours = case["seconds"].get(way), case["seconds"]["fastmlp, predict"]
            if seconds:
                ratio = statistics.median(ratios(seconds, ours))
                row.append(f"{duration(statistics.median(seconds))} ({number(ratio)} x)")
            else:
                row.append("")
        rows.append(row)
    head = [f"{case['rows']:,} row{'s' if case['rows'] > 1 else ''} of {case['dtype']}" for case in cases]
    return table(["predict, seed job's net", *head], rows)


def row(report: dict[str, Any]) -> str:
    """One row in a loop of compiled code or of Python: its time, and times the first way's, with the spread."""
    nets = report["row"]
    rows = []
    for way in dict.fromkeys(way for times in nets.values() for way in times):
        cells = [way]
        for times in nets.values():
            own = ratios(times[way], next(iter(times.values())))
            spread = f"{number(min(own))}-{number(max(own))}"
            cells.append(f"{duration(statistics.median(times[way]))} ({number(statistics.median(own))} x, {spread})")
        rows.append(cells)
    return table(["one row, on one thread", *nets], rows)


# ---------------------------------------------------------------------------------------------- products


def large_product(report: dict[str, Any]) -> str:
    """Speed of the large product, as share of the peak measured beside it."""
    products = report["products"]
    rows = []
    for result in products["large"]:
        operations = 2 * math.prod(products["shape"])
        for name, seconds in result["seconds"].items():
            if not seconds:
                continue
            speeds = [operations / own / 1e9 for own in seconds]
            shares = [speed / peak for speed, peak in zip(speeds, result["peak"])]
            rows.append([
                name,
                str(result["threads"]),
                f"{statistics.median(speeds):.0f}",
                f"{statistics.median(shares):.2f}",
                f"{min(shares):.2f}-{max(shares):.2f}",
            ])  # fmt: skip
    title = " x ".join(map(str, products["shape"]))
    return table([f"{title}, float32", "threads", "GFLOP/s", "share of the peak", "spread"], rows)


def small_products(report: dict[str, Any]) -> str:
    """Small products on one thread, by their number of rows: geometric means of NumPy's time to each library's."""
    small = report["products"]["small"]
    if not small["seconds"].get("NumPy"):
        return "Small products are compared with NumPy, which took no part."
    others = [name for name, turns in small["seconds"].items() if name != "NumPy" and turns]
    speedups = {name: small_speedups(small, name) for name in others}
    counts = sorted({n for n, _, _ in small["shapes"]})
    rows = []
    for count in [*counts, None]:
        row = ["all" if count is None else str(count)]
        for name in others:
            own = [s for (n, _, _), s in zip(small["shapes"], speedups[name]) if count in (None, n)]
            slower = sum(speedup < 1 for speedup in own)
            row += [f"{statistics.geometric_mean(own):.2f}", f"{min(own):.2f}", f"{slower} of {len(own)}"]
        rows.append(row)
    head = [text for name in others for text in (f"{name}: times as fast as NumPy", "worst", "slower in")]
    return table(["rows, by 16 to 256 deep and wide", *head], rows)


def small_speedups(small: dict[str, Any], name: str) -> list[float]:
    """For every shape, the median over the rounds of NumPy's time to that library's."""
    rounds = zip(small["seconds"]["NumPy"], small["seconds"][name])
    by_round = [ratios(theirs, own) for theirs, own in rounds]
    return [statistics.median(shape) for shape in zip(*by_round)]


# ---------------------------------------------------------------------------------------------- sparse matrices


def sparse(report: dict[str, Any]) -> str:
    """An epoch on a sparse matrix, whole calls, and times fastmlp."""
    measured = report["sparse"]
    rows = []
    for solver, peers in measured["solvers"].items():
        ours = peers["fastmlp"]["seconds"]
        for name, peer in peers.items():
            own = ratios(peer["seconds"], ours)
            rows.append([
                f"{solver}, {name}",
                duration(statistics.median(peer["seconds"])),
                number(statistics.median(own)),
                f"{number(min(own))}-{number(max(own))}",
                str(len(own)),
                duration(peer["first"]),
                f"{peer['loss_after_first']:.3f}",
                f"{number(peer['megabytes'])} MB",
            ])  # fmt: skip
    head = ["a sparse matrix", "an epoch", "times fastmlp", "spread", "rounds", "first epoch", "loss after it",
            "memory at most"]  # fmt: skip
    return "\n".join([
        f"A sparse matrix of {measured['rows']:,} x {measured['columns']:,} random numbers, {measured['nonzeros']:.0f} "
        f"in a row, one hidden layer of {measured['hidden']} relu units, batch {measured['batch']}.",
        "",
        table(head, rows),
    ])  # fmt: skip


# ---------------------------------------------------------------------------------------------- processes, kernels


def starts(report: dict[str, Any]) -> str:
    """A whole process, cold and from the disk cache, and what repeated calls leave behind."""
    cold, cached = report["starts"]["cold"], report["starts"]["cached"]
    rows = []
    for kind, text in (("seconds", duration), ("megabytes", lambda value: f"{number(value)} MB")):
        for key, value in cold[kind].items():
            rows.append([key, text(value), text(statistics.median(run[kind][key] for run in cached))])
    head = ["a process of fastmlp: import, load, 20 epochs, evaluate", "nothing compiled yet", "from the disk cache"]
    growth = report["growth"]
    grown = growth["megabytes"]
    return "\n".join([
        table(head, rows),
        "",
        f"Memory grew by {grown['fits']:.2f} MB over {growth['fits']:,} fits of a tiny job and by "
        f"{grown['predicts']:.2f} MB over {growth['predicts']:,} predictions of one row.",
    ])  # fmt: skip


def kernels(report: dict[str, Any]) -> str:
    """Every kernel on one thread beside the machine's peaks."""
    measured = report["kernels"]
    if not measured["kernels"]:
        return "No kernel was measured."
    ceilings = measured["ceilings"]
    rows = [
        [
            kernel["kernel"],
            duration(kernel["seconds"]["median"]),
            f"{kernel['gflops']:.0f}",
            f"{kernel['fma_share']:.2f}",
            f"{kernel['gb_per_second']:.0f}",
            f"{kernel['bandwidth_share']:.2f}",
            f"{kernel['intensity']:.2f}",
        ]
        for kernel in measured["kernels"]
    ]
    bandwidths = ", ".join(f"{value:.0f} in the {level}" for level, value in ceilings["bandwidth"].items())
    head = ["kernel", "time", "GFLOP/s", "share of peak", "GB/s", "share of memory's", "FLOP/byte"]
    return "\n".join([
        f"One thread: peak {ceilings['fma_peak']:.0f} GFLOP/s; bandwidth of a triad, GB/s: {bandwidths}.",
        "",
        table(head, rows),
    ])  # fmt: skip


def everything(report: dict[str, Any]) -> str:
    """All tables of what was measured."""
    parts = [machine(report), *absent(report)]
    if "jobs" in report:
        parts += [jobs(report), *(job(report, name) for name in report["jobs"])]
    if "options" in report:
        parts.append(options(report))
    if "predict" in report:
        parts.append(predict(report))
    if "row" in report:
        parts.append(row(report))
    if "products" in report:
        parts += [large_product(report), small_products(report)]
    if "sparse" in report:
        parts.append(sparse(report))
    if "starts" in report:
        parts.append(starts(report))
    if "kernels" in report:
        parts.append(kernels(report))
    return "\n\n".join(parts)
