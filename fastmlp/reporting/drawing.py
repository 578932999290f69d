"""The canvas: its form, its sample pictures, and the script that runs the network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.saving import javascript

from . import pictures
from .markup import Markup, join, tag
from .results import form_of

if TYPE_CHECKING:
    from fastmlp.models import Sequential

# Of MNIST: the longer side of its digits is 20 of 28 pixels, and the median width of a stroke is 2.5 pixels, twice the
# distance from its middle to its edge over the first 1500 digits.
_BOX, _PEN = 20 / 28, 2.5 / 20

# Parameters up to which a report brings the canvas along unasked: as base64 they make a page of 4 MB.
WEIGHTS_UP_TO = 700_000


@dataclass(frozen=True)
class Canvas:
    """What the page's script must know.

    Attributes:
        shape: Rows and columns of a picture.
        scale: What numbers paper and ink are.
        labels: Names of the classes.
        signed: Whether a single unit's two classes are told apart at 0.
        are_shares: Whether what stands for the classes is probabilities.
        levels: Samples as bytes (samples, rows, columns).
        names: What each sample is.
    """

    shape: tuple[int, int]
    scale: pictures.Scale
    labels: Sequence[str]
    signed: bool
    are_shares: bool
    levels: np.ndarray
    names: Sequence[str]


@cache
def part(name: str) -> str:
    """A file of this package."""
    return files(__package__).joinpath(name).read_text("utf-8").replace("\r\n", "\n")


def script(model: Sequential) -> str:
    """The network, and what draws."""
    return "\n".join([javascript.script(model, module=False), part("digit.js"), part("draw.js")])


def box_of(levels: np.ndarray) -> float:
    """The longer side of what samples show, in pixels: the median over bytes (samples, rows, columns)."""
    shown = levels > 0
    sides = np.maximum(shown.any(axis=2).sum(axis=1), shown.any(axis=1).sum(axis=1))
    return float(np.median(sides))


def section(model: Sequential, canvas: Canvas, box: float | None = None) -> Markup:
    """The canvas and all around it.

    Args:
        model: The model, for its last layer.
        canvas: What is known of pictures and classes.
        box: Longer side of a digit in pixels; 20 of 28 of the picture's shorter side by default.
    """
    rows, columns = canvas.shape
    box = _BOX * min(rows, columns) if box is None else box
    form = {
        "rows": rows,
        "columns": columns,
        "box": box,
        "pen": _PEN * box,
        "paper": canvas.scale.paper,
        "ink": canvas.scale.ink,
        "whole": canvas.scale.whole,
        "shares": form_of(model),
        "signed": canvas.signed,
        "percents": canvas.are_shares,
        "labels": list(canvas.labels),
        "samples": [base64.b64encode(level.tobytes()).decode() for level in canvas.levels],
    }
    buttons = [
        tag(
            "button",
            tag("img", src=pictures.ink(level), alt="", width=columns, height=rows, class_="ink"),
            tag("span", name),
            type="button",
            data_sample=i,
            aria_label=f"Take a sample: {name}",
        )
        for i, (level, name) in enumerate(zip(canvas.levels, canvas.names))
    ]
    bars = [
        tag(
            "li",
            tag("span", label, class_="name"),
            tag("span", tag("span", class_="fill"), class_="track"),
            tag("span", class_="share"),
        )
        for label in canvas.labels
    ]
    keys = (
        "What you draw is brought into the form of the samples: scaled to their size, and centred by its mass. With "
        "the keyboard: arrow keys move, the space bar puts the pen down and lifts it, Delete clears."
    )
    return join(
        [
            tag(
                "div",
                tag(
                    "div",
                    tag(
                        "canvas",
                        id="draw-canvas",
                        tabindex="0",
                        role="application",
                        aria_label="Canvas to draw on",
                        aria_describedby="draw-keys",
                        style=f"aspect-ratio:{columns}/{rows}",
                    ),
                    tag(
                        "p",
                        tag("button", "Clear", type="button", id="draw-clear"),
                        tag(
                            "span",
                            "The network sees ",
                            tag("canvas", id="draw-seen", width=columns, height=rows, aria_hidden="true"),
                            class_="seen",
                        ),
                        class_="under",
                    ),
                    class_="board",
                ),
                tag(
                    "div",
                    tag("p", id="draw-said", role="status"),
                    tag("ol", *bars, id="draw-bars", class_="bars" + " many" * (len(bars) > 12)),
                    class_="answer",
                ),
                class_="draw",
            ),
            *([tag("div", *buttons, class_="samples")] if buttons else []),
            tag("p", keys, class_="note", id="draw-keys"),
            # Within an element of text, where only "</" could end it.
            Markup(f'<script type="application/json" id="draw-form">{_json(form)}</script>'),
            Markup("<noscript><p>Drawing needs JavaScript.</p></noscript>"),
        ]
    )


def _json(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")
