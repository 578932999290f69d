"""What notebooks show of a model, a history and of progress.

The tables carry their style with them and take the page's colours, so that they can be read on light and dark pages.
Names come from users and files: they are escaped.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from .callbacks.monitor import direction

if TYPE_CHECKING:
    from .callbacks import History
    from .models import Sequential

# Of the figures, where training is blue and validation vermillion; both stand out from white and from black.
_TRAINING, _VALIDATION = "#2f8fd0", "#e0662b"

# Pixels of a curve.
_WIDTH, _HEIGHT = 150, 30

# ------------------------------------------------------------------ tables


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], foot: str, title: str, texts: int = 1) -> str:
    """A table of cells that are HTML already; the first columns, of texts, to the left, the others to the right."""
    line = "border:0;border-bottom:1px solid rgba(128,128,128,.35)"

    def row(cells: Sequence[str], tag: str) -> str:
        sides = ["left"] * texts + ["right"] * (len(cells) - texts)
        return "<tr style='background:none'>" + "".join(
            f"<{tag} style='{line};text-align:{side};padding:.2em .8em'>{cell}</{tag}>"
            for side, cell in zip(sides, cells)
        ) + "</tr>"  # fmt: skip

    return (
        "<div style='display:inline-block;color:inherit'>"
        f"<div style='margin-bottom:.3em'>{title}</div>"
        "<table style='border-collapse:collapse;border:0;margin:0;color:inherit'>"
        f"<thead>{row(head, 'th')}</thead><tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"
        f"<div style='margin-top:.3em;opacity:.75;font-size:90%'>{foot}</div></div>"
    )


def model_html(model: Sequential) -> str:
    """The layers with their activations, output shapes and numbers of parameters, as summary prints them."""
    rows = []
    for layer in model.layers:
        function = getattr(layer, "activation", None)
        shape = "?" if layer.output_shape is None else f"({', '.join(['None', *map(str, layer.output_shape)])})"
        kind = escape(type(layer).__name__) + ("" if layer.trainable else " <i>(frozen)</i>")
        function = escape(function) if isinstance(function, str) and function != "linear" else ""
        count = f"{layer.count_params():,}" if model.built else "?"
        rows.append([escape(layer.name), kind, function, shape, count])
    trained, fixed = (sum(w.size for w in w) for w in (model.trainable_weights, model.non_trainable_weights))
    foot = "not built: the shape of the samples is not known yet"
    if model.built:
        foot = f"{trained + fixed:,} parameters, {model.dtype.name}" + (
            f", {fixed:,} of them not trained" * (fixed > 0)
        )
        if model.optimizer is not None and model.loss is not None:
            foot += f" &middot; {escape(type(model.optimizer).__name__)} on {escape(str(model.loss.name))}"
    return _table(["Layer", "Type", "Activation", "Output shape", "Parameters"], rows, foot,
                  f"<b>{escape(model.name)}</b>", texts=3)  # fmt: skip


def history_html(history: History) -> str:
    """Last and best values of each quantity, and their curves, training beside validation."""
    values = {name: v for name, v in history.history.items() if v and np.ndim(v[-1]) == 0}
    validated = any(name.startswith("val_") for name in values)
    rows = []
    for name in dict.fromkeys(name.removeprefix("val_") for name in values):
        training, validation = values.get(name), values.get(f"val_{name}")
        followed = f"val_{name}" if validation else name
        best = _best(values[followed], history.places.get(followed), direction(name))
        last = [_last(training), *[_last(validation)] * validated]
        rows.append([escape(name), *last, best, _curves(training, validation)])
    head = ["", "Training", *["Validation"] * validated, "Best (epoch)"]
    key = [f"<span style='color:{_TRAINING}'>training</span>",
           *[f"<span style='color:{_VALIDATION}'>validation</span>"] * validated]  # fmt: skip
    seconds = sum(history.seconds)
    foot = f"{len(history.epoch)} epochs in {seconds:.3g} s" if history.epoch else "no epoch yet"
    return _table([*head, ", ".join(key)], rows, foot, "<b>History</b>")


def _number(value: float) -> str:
    return f"{value:.4g}"


def _last(values: Sequence[float] | None) -> str:
    return _number(values[-1]) if values else ""


def _best(values: Sequence[float], places: Sequence[int] | None, wanted: str | None) -> str:
    finite = [(value, i) for i, value in enumerate(values) if math.isfinite(value)]
    if wanted is None or not finite:
        return ""
    value, i = (min if wanted == "min" else max)(finite, key=lambda pair: pair[0])
    return f"{_number(value)} ({places[i] if places and i < len(places) else i + 1})"


def _curves(training: Sequence[float] | None, validation: Sequence[float] | None) -> str:
    """Both over the epochs, as SVG; what is not finite is left out."""
    given = [(color, [float(v) for v in values]) for color, values in
             ((_TRAINING, training), (_VALIDATION, validation)) if values]  # fmt: skip
    finite = [value for _, values in given for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    longest = max(len(values) for _, values in given)
    every = -(-longest // _WIDTH)  # more points than that can't be seen
    drawn = ""
    for color, values in given:
        points = [
            f"{_at(i, 0, longest - 1, _WIDTH)},{_at(high - value, 0, high - low, _HEIGHT)}"
            for i, value in enumerate(values)
            if math.isfinite(value) and (i % every == 0 or i == len(values) - 1)
        ]
        if len(points) > 1:
            drawn += f"<polyline points='{' '.join(points)}' fill='none' stroke='{color}' stroke-width='1.5'/>"
        elif points:
            x, y = points[0].split(",")
            drawn += f"<circle cx='{x}' cy='{y}' r='2' fill='{color}'/>"
    return f"<svg width='{_WIDTH + 6}' height='{_HEIGHT + 6}' viewBox='-3 -3 {_WIDTH + 6} {_HEIGHT + 6}'>{drawn}</svg>"


def _at(value: float, low: float, high: float, length: int) -> str:
    """Pixel of a value; the middle where there is no range."""
    return f"{length * ((value - low) / (high - low) if high > low else 0.5):.1f}"


# ------------------------------------------------------------------ progress


def is_notebook() -> bool:
    """Whether code runs in a notebook's kernel, whose page can change what it shows."""
    # Another thread may be just importing it: then it has no names yet.
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)  # hosts derive their own from it


class Line:
    """A line below the cell whose text changes in place; the saved notebook holds the last one alone."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Let it say this."""
        content = {"text/plain": text}
        if self._handle is None:
            # By sys.modules: a notebook's kernel has it, and no one else needs it.
            self._handle = sys.modules["IPython"].display.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
