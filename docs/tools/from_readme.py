"""What the pages take from the README: its measured tables and its table of features, so that each stands in one place.

A page asks for them by a comment: <!-- readme: benchmarks -->, <!-- readme: features -->, <!-- readme: bars -->. The
tutorial's numbers, which figures.py writes down, are <!-- number: raw_mean --> and so on.
"""

from __future__ import annotations

import html
import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[2] / "README.md"
NUMBERS = Path(__file__).resolve().parents[1] / "assets" / "tutorial" / "numbers.json"


def block(name: str) -> str:
    """What the README has between its marks of that name.

    Raises:
        ValueError: If the marks aren't there.
    """
    found = re.search(rf"<!-- {name}: begin[^>]*-->\n(.*?)<!-- {name}: end -->", README.read_text("utf-8"), re.DOTALL)
    if found is None:
        raise ValueError(f"README.md has no block {name!r} between <!-- {name}: begin --> and <!-- {name}: end -->")
    return found.group(1)


def rows(text: str) -> list[list[str]]:
    """Cells of the lines of a table in Markdown, without the line below its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]


#: Headings of the tables, in the README's order, by how their first line begins.
HEADINGS = (
    ("| an epoch, and times that", "All jobs"),
    ("| | an epoch | times fastmlp", "The digits in detail"),
    ("| an epoch with it", "What each option costs"),
    ("| predict", "Prediction"),
    ("| one row, on one thread", "One row in compiled code"),
    ("| a sparse matrix", "Sparse matrices"),
    ("| 1024 x", "A large product"),
    ("| rows, by", "Small products"),
    ("| a process of fastmlp", "From start to end"),
)


def benchmarks() -> str:
    """The README's tables, each below a heading of its own."""
    made = []
    paragraphs = block("benchmarks").strip().split("\n\n")
    for at, paragraph in enumerate(paragraphs):
        title = next((title for begin, title in HEADINGS if paragraph.startswith(begin)), None)
        if title == "The digits in detail":  # the line before the table says what the job is
            made.insert(len(made) - 1, f"## {title}")
        elif title:
            made.append(f"## {title}")
        elif paragraph.startswith("|") and at:
            raise ValueError(f"from_readme.HEADINGS has no heading for the table {paragraph.splitlines()[0]!r}")
        made.append(paragraph)
    return "\n\n".join(made)


def features() -> str:
    """The README's table of features, a table for each group."""
    head, *body = rows(block("features"))
    made = []
    for group, own in groupby(body, key=lambda row: row[0]):
        made.append(f"## {group[0].upper()}{group[1:]}")
        table = [head[1:], ["---"] * (len(head) - 1), *(row[1:] for row in own)]
        made.append("\n".join(f"| {' | '.join(row)} |" for row in table))
    return "\n\n".join(made)


def seconds(text: str) -> float:
    """A duration such as "10.8 ms"."""
    number, unit = text.split()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]


def epochs_of_digits() -> list[tuple[str, str, float]]:
    """Each library, how long it takes for an epoch of the digits as the README writes it, and in seconds."""
    table = next(part for part in block("benchmarks").split("\n\n") if part.startswith("| | an epoch | times"))
    head, *body = rows(table)
    at = head.index("an epoch")
    return [(row[0], row[at], seconds(row[at])) for row in body]


def twenty() -> str:
    """How long twenty epochs of the digits take here."""
    return f"{20 * epochs_of_digits()[0][2]:.2f} s"


def bars() -> str:
    """An SVG of how long an epoch of the digits takes in each library, from the README's table of that job."""
    times = epochs_of_digits()
    longest, line, left, width = max(time for *_, time in times), 30, 210, 760
    made = [
        f'<svg class="bars" viewBox="0 0 {width} {line * len(times)}" role="img" xmlns="http://www.w3.org/2000/svg">',
        "<title>Time of one epoch of the digits in each library</title>",
    ]
    for i, (name, text, time) in enumerate(times):
        length = max(2.0, time / longest * (width - left - 100))
        kind = "ours" if i == 0 else "other"
        made += [
            f'<text x="{left - 10}" y="{i * line + 20}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect class="{kind}" x="{left}" y="{i * line + 6}" width="{length:.1f}" height="{line - 12}" rx="3"/>',
            f'<text x="{left + length + 8:.1f}" y="{i * line + 20}">{html.escape(text)}</text>',
        ]
    return "".join([*made, "</svg>"])


PARTS = {"benchmarks": benchmarks, "features": features, "bars": bars, "twenty": twenty}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page: fills in what it asks for."""
    numbers = json.loads(NUMBERS.read_text("utf-8"))
    markdown = re.sub(r"<!-- number: (\w+) -->", lambda found: numbers[found.group(1)], markdown)
    return re.sub(r"<!-- readme: (\w+) -->", lambda found: PARTS[found.group(1)](), markdown)
