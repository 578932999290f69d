"""The report's figures, made from its JSON alone: jobs, curves and roofline."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .tables import duration, number, ratios

# Okabe & Ito's palette: distinct for colour-blind readers.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"


def write(report: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what was measured into the folder; returns the files."""
    figures = {}
    if "jobs" in report:
        figures["jobs"] = jobs(report)
    if "curves" in report:
        figures["curves"] = curves(report)
    if report.get("kernels", {}).get("kernels"):
        figures["roofline"] = roofline(report)
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values()):
        figure.savefig(path)
    return paths


def jobs(report: dict[str, Any]) -> Figure:
    """A panel for each job: the peers' epochs, in times fastmlp."""
    measured = list(report["jobs"].values())
    columns = min(2, len(measured))
    rows = -(-len(measured) // columns)
    figure = _figure(5.2 * columns, 0.6 + 2.6 * rows)
    figure.suptitle("Seconds of an epoch, in times fastmlp")
    for ax, job in zip(figure.subplots(rows, columns, squeeze=False).flat, measured):
        ours = job["peers"]["fastmlp"]["seconds"]
        by_peer = {name: ratios(peer["seconds"], ours) for name, peer in job["peers"].items()}
        medians = dict(sorted(((n, statistics.median(r)) for n, r in by_peer.items()), key=lambda item: -item[1]))
        values = np.array(list(medians.values()))
        low, high = (np.array([pick(by_peer[name]) for name in medians]) for pick in (min, max))
        # From one on, to either side: where a logarithmic axis begins says nothing.
        ax.barh(list(medians), values - 1, left=1, color=GREY, alpha=0.7)
        ax.errorbar(values, range(len(values)), xerr=[values - low, high - values], fmt="none", ecolor="black",
                    capsize=2)  # fmt: skip
        for place, value in enumerate(values):
            ax.annotate(number(value), (max(high[place], 1), place), (5, 0), textcoords="offset points", va="center",
                        fontsize=8)  # fmt: skip
        ax.set_xscale("log")
        ax.set_xlim(0.8 * min(low), 2.2 * max(high))
        ax.axvline(1, color=BLUE, linewidth=2)
        ax.get_yticklabels()[list(medians).index("fastmlp")].set_color(BLUE)
        _log_ticks(ax.xaxis)
        ax.set_title(f"{job['title']}\nfastmlp: {duration(statistics.median(ours))}", fontsize=9)
        ax.set_xlabel("times fastmlp (bars: median, lines: spread)", fontsize=8)
        _plain(ax)
    for ax in figure.axes[len(measured) :]:
        ax.set_visible(False)
    return figure


def curves(report: dict[str, Any]) -> Figure:
    """How the cost goes with width, batch, samples and threads."""
    panels = {
        "width": ("784-H-H-10 relu, batch 128", "units of a hidden layer, H", "µs a sample"),
        "batch": ("784-128-128-10 relu", "rows of a batch", "µs a sample"),
        "samples": ("784-128-128-10 relu, batch 32", "samples trained and validated", "ms an epoch"),
        "threads": ("784-256-256-10 relu, batch 128", "threads", "µs a sample"),
    }
    figure = _figure(10.4, 7.2)
    figure.suptitle("Cost of training and validation")
    for ax, (name, (title, xlabel, ylabel)) in zip(figure.subplots(2, 2).flat, panels.items()):
        points = report["curves"][name]
        for peer, color, marker in zip(points[0]["seconds"], (BLUE, VERMILLION, GREEN), "osD"):
            own = [point for point in points if peer in point["seconds"]]
            scale = [1e3 if name == "samples" else 1e6 / (p["rows"] + p["validation_rows"]) for p in own]
            seconds = [np.multiply(point["seconds"][peer], factor) for point, factor in zip(own, scale)]
            medians = [float(np.median(s)) for s in seconds]
            spread = [[m - s.min() for m, s in zip(medians, seconds)], [s.max() - m for m, s in zip(medians, seconds)]]
            ax.errorbar([point["value"] for point in own], medians, spread, color=color, marker=marker, markersize=4.5,
                        capsize=2, label=peer)  # fmt: skip
        values = [point["value"] for point in points]
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(values, [f"{value:,}" for value in values])
        if len(values) == 1:
            ax.set_xlim(values[0] / 2, values[0] * 2)
        _log_ticks(ax.yaxis)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.legend(frameon=False)
        _plain(ax)
    return figure


def roofline(report: dict[str, Any]) -> Figure:
    """Where each kernel stands between the peak of arithmetic and the bandwidths; those that only move, apart."""
    measured, ceilings = report["kernels"]["kernels"], report["kernels"]["ceilings"]
    computing = sorted((k for k in measured if k["gflops"]), key=lambda k: (round(k["intensity"], 3), k["gflops"]))
    moving = [kernel for kernel in measured if not kernel["gflops"]]
    peak, bandwidths = ceilings["fma_peak"], ceilings["bandwidth"]
    figure = _figure(11.5, 6.2)
    figure.suptitle("Kernels on one thread, float32")
    left, right = figure.subplots(1, 2, width_ratios=(4, 1))
    low = min(kernel["intensity"] for kernel in computing) / 2
    high = max(kernel["intensity"] for kernel in computing) * 3
    bottom = min(kernel["gflops"] for kernel in computing) / 2
    for style, (level, bandwidth) in zip((":", "--", "-"), bandwidths.items()):
        knee = min(peak / bandwidth, high)
        left.plot([low, knee], [low * bandwidth, knee * bandwidth], style, color=GREY, linewidth=1.2,
                  label=f"{level}, {bandwidth:.0f} GB/s")  # fmt: skip
    left.plot([peak / max(bandwidths.values()), high], [peak, peak], color=VERMILLION, linewidth=1.2,
              label=f"multiply-adds, {peak:.0f} GFLOP/s")  # fmt: skip
    for count, kernel in enumerate(computing, 1):
        at = kernel["intensity"], kernel["gflops"]
        left.plot(*at, "o", color=BLUE, markersize=4)
        # Numbers with a list beside them: names would lie on each other where kernels are alike.
        above = count % 2 == 0
        left.annotate(str(count), at, (0, 4 if above else -4), textcoords="offset points", ha="center",
                      va="bottom" if above else "top", fontsize=8)  # fmt: skip
    names = "\n".join(f"{count:2d}  {kernel['kernel']}" for count, kernel in enumerate(computing, 1))
    left.set(xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, peak * 1.8))
    left.set_title("Arithmetic", fontsize=10)
    left.set_xlabel("intensity, FLOP per byte (every array once)")
    left.set_ylabel("GFLOP/s")
    left.grid(color="#dddddd", linewidth=0.6)
    left.legend(frameon=False, fontsize=8, loc="lower right")
    left.text(1.02, 1, names, transform=left.transAxes, va="top", fontsize=8, linespacing=1.5)
    for axis in (left.xaxis, left.yaxis):
        _log_ticks(axis)
    _plain(left)
    right.bar([k["kernel"] for k in moving], [k["gb_per_second"] for k in moving], color=BLUE, width=0.5)
    for style, (level, bandwidth) in zip((":", "--", "-"), bandwidths.items()):
        if level != "first-level cache":  # far above the bars
            right.axhline(bandwidth, linestyle=style, color=GREY, linewidth=1.2)
            right.annotate(level, (0.5, bandwidth), (0, 3), xycoords=("axes fraction", "data"),
                           textcoords="offset points", ha="center", fontsize=8, color=GREY)  # fmt: skip
    right.set_ylim(0)
    right.set_title("Moves", fontsize=10)
    right.set_ylabel("GB/s")
    _plain(right)
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def _plain(ax) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _log_ticks(axis) -> None:
    """Ticks at 1, 2 and 5 of each power of ten, of which a short range has few."""
    low, high = axis.get_view_interval()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
    axis.set_view_interval(low, high)
