"""The README's block of figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from . import tables
from .crew import ROOT

BEGIN = "<!-- benchmarks: begin, written by python -m benchmarks --readme -->"
END = "<!-- benchmarks: end -->"


def block(report: dict[str, Any]) -> str:
    """All jobs, the seed job in detail, options, predictions, products and starts.

    Raises:
        ValueError: If one of them was not measured.
    """
    lacking = [part for part in ("jobs", "options", "predict", "products", "starts") if part not in report]
    if lacking or "seed" not in report["jobs"]:
        raise ValueError(f"the README shows the seed job and all parts, but the report lacks {lacking or 'that job'}")
    parts = [
        tables.jobs(report),
        f"Medians of {report['rounds']} rounds in turn, of fewer for slow peers. {tables.machine(report)}",
        *tables.absent(report),
        tables.job(report, "seed"),
        tables.options(report),
        tables.predict(report),
        *([tables.row(report)] if "row" in report else []),
        *([tables.sparse(report)] if "sparse" in report else []),
        tables.large_product(report),
        tables.small_products(report),
        tables.starts(report),
    ]
    return "\n\n".join(parts)


def write(report: dict[str, Any], path: Path = ROOT / "README.md") -> None:
    """Put the block between the README's marks."""
    content = path.read_text(encoding="utf-8")
    new = f"{BEGIN}\n{block(report)}\n{END}"
    content = re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: new, content, flags=re.DOTALL)
    path.write_text(content, encoding="utf-8")
