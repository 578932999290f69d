"""Pieces of HTML: everything that comes from outside is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Anything as HTML; Markup as it is.

    >>> text("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def join(pieces: Iterable[Any], between: str = "\n") -> Markup:
    """Pieces behind each other."""
    return Markup(between.join(text(piece) for piece in pieces))


def tag(name: str, *inner: Any, **attributes: Any) -> Markup:
    """An element; an attribute's underscores become hyphens, `class_` is class, None leaves it out.

    >>> tag("a", "x < y", class_="plain", aria_label='"so"')
    '<a class="plain" aria-label="&quot;so&quot;">x &lt; y</a>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "br", "hr"):
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(inner, '')}</{name}>")


def table(
    caption: str,
    head: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    row_heads: bool = True,
    foot: Sequence[Any] | None = None,
    class_: str | None = None,
) -> Markup:
    """A table that scrolls by itself where the page is narrow; the first cell of a row names it."""

    def line(cells: Sequence[Any]) -> Markup:
        first = tag("th", cells[0], scope="row") if row_heads else _cell(cells[0])
        return tag("tr", first, *map(_cell, cells[1:]))

    made = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
        tag("tbody", join(map(line, rows))),
        *([tag("tfoot", line(foot))] if foot else []),
        class_=class_,
    )
    return tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(value: Any) -> Markup:
    return value if isinstance(value, Markup) and value.startswith("<td") else tag("td", value)


def figure(*inner: Any, caption: Any = None, class_: str | None = None) -> Markup:
    """A figure with the words below it."""
    return tag("figure", *inner, *([tag("figcaption", caption)] if caption else []), class_=class_)


def number(value: float, digits: int = 4) -> str:
    """A number for people: so many digits that count, thousands apart, and a real minus.

    >>> number(1234567), number(999.96), number(0.00012344), number(-2.5), number(float("nan")), number(3e12)
    ('1,234,567', '1,000', '0.0001234', '−2.5', '–', '3e+12')
    >>> number(-0.0)
    '0'
    """
    value = float(value) + 0.0  # no zero has a sign
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞".rjust(1 + (value < 0), "−")
    rounded = value if abs(value) >= 10**digits else float(f"{value:.{digits}g}")
    if abs(value) >= 1e12:
        said = f"{value:.{digits}g}"
    elif rounded == int(rounded) or abs(value) >= 10**digits:
        said = f"{rounded:,.0f}"
    else:
        said = f"{value:.{digits}g}"
    return said.replace("-", "−", 1) if value < 0 else said


def percent(share: float, digits: int = 1) -> str:
    r"""A share in per cent, rounded down, so that only what is whole reads as 100 %.

    >>> [said.replace("\N{NO-BREAK SPACE}", " ") for said in (percent(0.9999), percent(1.0), percent(float("nan")))]
    ['99.9 %', '100 %', '–']
    """
    if math.isnan(share):
        return "–"
    if share == 1:
        return "100\N{NO-BREAK SPACE}%"
    return f"{math.floor(share * 100 * 10**digits + 1e-9) / 10**digits:.{digits}f}\N{NO-BREAK SPACE}%"


def seconds(value: float) -> str:
    r"""A time with its unit.

    >>> [seconds(value).replace("\N{NO-BREAK SPACE}", " ") for value in (75, 1.234, 0.0123, 4.2e-5)]
    ['75 s', '1.23 s', '12.3 ms', '42 µs']
    """
    for size, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{value / size:.3g}\N{NO-BREAK SPACE}{unit}"
    return f"{value * 1e9:.3g}\N{NO-BREAK SPACE}ns"
