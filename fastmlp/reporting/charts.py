"""Curves, points and bars as SVG, in the page's own colours: they follow light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .markup import Markup, number, tag, text

#: A chart is as wide as a phone's page, so that its letters keep their size there.
WIDTH, HEIGHT = 380, 250
_RIGHT, _TOP, _BOTTOM = 12, 30, 42
_LETTER = 6.8  # width of a letter of 12 pixels, on average


@dataclass(frozen=True)
class Series:
    """One curve: its places, its name in the legend, and the class of its colour, c1 or c2."""

    x: np.ndarray
    y: np.ndarray
    name: str = ""
    color: str = "c1"
    mark: int | None = None  #: Place of a point with a ring around it.


@dataclass(frozen=True)
class _Frame:
    """From numbers to places in the picture."""

    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def rows(self) -> list[tuple[float, str]]:
        """Ticks of the vertical axis."""
        return _labelled(ticks(*self.y, most=5))

    @cached_property
    def left(self) -> float:
        """Room for the numbers of the vertical axis."""
        return 16 + _LETTER * max((len(said) for _, said in self.rows), default=0)

    def across(self, value: float) -> float:
        left = self.left
        return left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - left - _RIGHT)

    def down(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - _TOP - _BOTTOM)


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round numbers from low to high: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> ticks(1, 3, whole=True)
    [1.0, 2.0, 3.0]
    """
    raw = max((high - low) / most, 1e-300)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(c * power for c in (1, 2, 5, 10) if c * power >= raw * (1 - 1e-9))
    if whole:
        step = max(step, 1.0)
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, digits) + 0.0 for i in range(first, last + 1)]


def span(values: np.ndarray, margin: float = 0.05) -> tuple[float, float]:
    """From the smallest to the largest, with some room on both sides; around a number that stands alone."""
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - room, high + room


def lines(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str = "",
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    whole: bool = False,
    diagonal: bool = False,
) -> Markup:
    """Curves; what is not finite is left out.

    Args:
        title: Above the chart, and what it is called where it can't be seen.
        series: One or two curves.
        x_label: Below the chart.
        y_label: Above the vertical axis.
        x: From where to where; by default so that all fits.
        y: Likewise.
        whole: Whether only whole numbers stand at the horizontal axis, as for epochs.
        diagonal: Whether to draw a thin line from corner to corner.
    """
    xs, ys = (np.concatenate([np.asarray(getattr(one, way), float) for one in series]) for way in "xy")
    frame = _Frame(x or span(xs, 0.02), y or span(ys))
    drawn = [_diagonal(frame)] if diagonal else []
    for one in series:
        places = [(frame.across(a), frame.down(b)) for a, b in zip(one.x, one.y) if math.isfinite(b)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places) if places else ""
        drawn.append(tag("path", d=path, class_=f"line {one.color}"))
        if len(places) <= 30:  # hundreds of points are a line; a few must be seen
            dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in places)
            drawn.append(tag("path", d=dots, class_=f"dots {one.color}"))
        if one.mark is not None:
            a, b = frame.across(one.x[one.mark]), frame.down(one.y[one.mark])
            drawn.append(tag("circle", cx=f"{a:.1f}", cy=f"{b:.1f}", r="6", class_="ring"))
    names = [(one.name, one.color) for one in series if one.name]
    return _chart(title, frame, drawn, x_label, y_label, names, whole)


def points(
    title: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    x_label: str,
    y_label: str,
    diagonal: bool = False,
    zero: bool = False,
) -> Markup:
    """A dot for each pair; `diagonal` draws the line y = x and one scale for both, `zero` the line y = 0."""
    both = span(np.concatenate([x, y]))
    frame = _Frame(both, both) if diagonal else _Frame(span(x), span(y))
    drawn = [_diagonal(frame)] if diagonal else []
    if zero:
        drawn.append(_rule(frame, 0.0))
    dots = "".join(f"M{frame.across(a):.1f} {frame.down(b):.1f}h0" for a, b in zip(x, y))
    drawn.append(tag("path", d=dots, class_="cloud c1"))
    return _chart(title, frame, drawn, x_label, y_label, [], False)


def bars(title: str, edges: np.ndarray, counts: np.ndarray, *, x_label: str, y_label: str) -> Markup:
    """A histogram."""
    frame = _Frame((float(edges[0]), float(edges[-1])), (0.0, float(max(counts.max(), 1)) * 1.05))
    low = f"{frame.down(0):.1f}"
    steps = "".join(
        f"M{frame.across(a) + 0.5:.1f} {low}V{frame.down(n):.1f}H{frame.across(b) - 0.5:.1f}V{low}"
        for a, b, n in zip(edges, edges[1:], counts)
        if n
    )
    return _chart(title, frame, [tag("path", d=steps, class_="bars c1")], x_label, y_label, [], False)


def _diagonal(frame: _Frame) -> Markup:
    low, high = max(frame.x[0], frame.y[0]), min(frame.x[1], frame.y[1])
    return _straight(frame.across(low), frame.down(low), frame.across(high), frame.down(high), "guide")


def _rule(frame: _Frame, value: float) -> Markup:
    return _straight(frame.left, frame.down(value), WIDTH - _RIGHT, frame.down(value), "guide")


def _straight(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return tag("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_=kind)


def _chart(
    title: str,
    frame: _Frame,
    drawn: Sequence[Markup],
    x_label: str,
    y_label: str,
    names: Sequence[tuple[str, str]],
    whole: bool,
) -> Markup:
    """Axes, grid and words around what is drawn."""
    bottom, left, right = HEIGHT - _BOTTOM, frame.left, WIDTH - _RIGHT
    inside: list[Markup] = []
    for value, said in frame.rows:
        inside.append(_straight(left, frame.down(value), right, frame.down(value), "grid"))
        inside.append(_words(said, left - 7, frame.down(value) + 4, "end"))
    for value, said in _that_fit(frame, whole):
        inside.append(_straight(frame.across(value), bottom, frame.across(value), bottom + 4, "axis"))
        middle = min(frame.across(value), WIDTH - _LETTER * len(said) / 2)  # the last one may not leave the picture
        inside.append(_words(said, middle, bottom + 18, "middle"))
    inside.append(_straight(left, bottom, right, bottom, "axis"))
    inside.append(_words(x_label, (left + right) / 2, HEIGHT - 6, "middle"))
    inside.append(_words(y_label, 2, 12, "start"))
    at = float(right)
    for name, color in reversed(names):
        inside.append(_words(name, at, 12, "end"))
        at -= _LETTER * len(name) + 6
        inside.append(_straight(at - 18, 8, at, 8, f"line {color}"))
        at -= 30
    return tag(
        "figure",
        tag("figcaption", title),
        tag(
            "svg", *inside, *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=_told(title, names)
        ),
        class_="chart",
    )  # fmt: skip


def _that_fit(frame: _Frame, whole: bool) -> list[tuple[float, str]]:
    """Ticks of the horizontal axis, as many as have room for their words."""
    for most in range(6, 0, -1):
        made = _labelled(ticks(*frame.x, most=most, whole=whole))
        widest = max((len(said) for _, said in made), default=0) + 2
        if len(made) * widest * _LETTER <= WIDTH - frame.left:
            break
    return made


def _labelled(values: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks with their words, which all have the same number of digits."""
    say: Callable[[float], str] = number
    largest = max(map(abs, values), default=0)
    if 1e-4 <= largest < 1e6 and len(values) > 1:
        digits = max(0, -math.floor(math.log10(values[1] - values[0]) + 1e-9))
        say = lambda value: f"{value:,.{digits}f}".replace("-", "−")  # noqa: E731
    return [(value, say(value)) for value in values]


def _words(words: str, x: float, y: float, anchor: str) -> Markup:
    return tag("text", text(words), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _told(title: str, names: Sequence[tuple[str, str]]) -> str:
    return title + (f": {' and '.join(name for name, _ in names)}" if names else "")
