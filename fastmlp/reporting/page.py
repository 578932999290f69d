"""The page as a whole: its parts gathered, filled into report.html, and written."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import __version__, arrays, checks
from fastmlp.saving import atomic

from . import drawing, pictures, sections
from .markup import Markup, join, number, percent, seconds, tag, text
from .results import Results, form_of, results, roc, value_rows

if TYPE_CHECKING:
    from fastmlp.models import Sequential


def report(
    model: Sequential,
    history: Any,
    x: Any,
    y: Any,
    path: str | os.PathLike[str],
    *,
    labels: Sequence[Any] | None = None,
    title: str | None = None,
    image_shape: Sequence[int] | None = None,
    draw: bool | None = None,
    feature_names: Sequence[Any] | None = None,
) -> None:
    """Write a page about a model: its training, its results on these samples, and what it is made of.

    The page is one HTML file, which loads nothing and can be sent to anybody. For classes it shows the confusion
    matrix, precision and recall of each class, and the surest mistakes; for a single unit of two classes a ROC curve
    and other thresholds, too; for values predicted against true, and the errors. Where samples are pictures it shows
    the first layer's weights, and a canvas on which to draw: the network runs in the page.

    Args:
        model: A model that has weights; its optimizer, loss and metrics are described if it is compiled.
        history: What fit returned, or its dict {"loss": [...], ...}; None leaves the training out.
        x: Samples, shape (samples, *input_shape), best those it was not trained on. (rows, columns) are pictures. A
            matrix of scipy.sparse stays one: only the rows that are shown are made dense.
        y: Their targets: class indices (samples,), one-hot or labels (samples, classes), or values (samples, outputs).
        path: Path that ends in .html or .htm, in a folder that exists; a file of that name is replaced.
        labels: Names of the classes, or of the outputs, in order; 0, 1, ... by default.
        title: The page's heading; the model's name by default.
        image_shape: (rows, columns) of pictures that are given as flat rows.
        draw: Whether there is a canvas; None: where samples are pictures of classes, and the network has no more than
            700,000 weights, which the page has to hold.
        feature_names: Names of the inputs, in order; by default those of the columns of a frame, else x0, x1, ...

    Raises:
        TypeError: If the model, the history or data are of another kind.
        ValueError: If data, labels, feature_names or image_shape don't fit the model, or the path is no name of a page.
        RuntimeError: If the model has no weights yet.
        FileNotFoundError: If the folder doesn't exist.

    >>> import pathlib, tempfile
    >>> import fastmlp
    >>> model = fastmlp.Sequential([fastmlp.Input((2,)), fastmlp.Dense(2, activation="softmax")])
    >>> model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> history = model.fit([[0, 1], [1, 0]], [0, 1], epochs=2, verbose=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "report.html")
    ...     fastmlp.report(model, history, [[0, 1], [1, 0]], [0, 1], path, labels=["left", "right"])
    ...     page = path.read_text("utf-8")
    >>> "Confusion matrix" in page, "left" in page
    (True, True)
    """
    name = _checked(model, path)
    curves = _curves(history)
    inputs = _feature_names(feature_names, x, int(np.prod(model._shape)))
    x = checks.in_rows("x", x)
    found = results(model, x, y)
    names = _names(labels, found.shares.shape[1], found.kind)
    shape = pictures.shape_of(tuple(model._shape), image_shape)
    x = x if shape is None else arrays.dense(x)
    drawable = shape is not None and found.kind in ("classes", "binary")
    if draw and not drawable:
        raise ValueError(
            f"draw=True needs samples that are pictures of classes, but they have shape {tuple(model._shape)} and "
            f"{'classes' if found.kind in ('classes', 'binary') else 'no classes'}; give image_shape=(rows, columns) "
            "if they are flat"
        )
    wanted = drawable and (model.count_params() <= drawing.WEIGHTS_UP_TO if draw is None else draw)
    took = _predict_seconds(model, x)

    parts: list[tuple[str, str, Markup]] = []
    if wanted and shape is not None:
        parts.append(("draw", "Draw", drawing.section(model, *_canvas(model, found, names, x, shape))))
    if curves:
        parts.append(("training", "Training", sections.training(curves, history)))
    if found.kind == "values":
        parts.append(("results", "Predictions", sections.values(found, names)))
    else:
        made = [sections.classes(found, names)]
        if found.kind == "binary":
            made.append(sections.thresholds(found, names))
        parts.append(("results", "Right and wrong", join(made)))
    heading = "Largest errors" if found.kind == "values" else "Surest mistakes"
    parts.append(("mistakes", heading, sections.mistakes(found, names, x, shape, inputs)))
    weights = sections.first_weights(model, shape)
    network = [sections.layers(model), *([weights] if weights else [])]
    parts.append(("network", "The network", join(network)))
    parts.append(("origin", "How it was made", join([sections.compiled(model),
                                                    sections.origin(model, history, took, x.shape[0])])))  # fmt: skip
    tiles = _tiles(model, history, found, took)
    page = _page(title or model.name, _lead(model), tiles, parts, drawing.script(model) if wanted else None)
    atomic.write(name, page.encode())


def draw_page(
    model: Sequential,
    path: str | os.PathLike[str],
    x: Any = None,
    y: Any = None,
    *,
    labels: Sequence[Any] | None = None,
    title: str | None = None,
    image_shape: Sequence[int] | None = None,
) -> None:
    """Write a page with nothing but the canvas: to draw, and see what the network makes of it.

    Args:
        model: A model that has weights, of pictures and classes.
        path: Path that ends in .html or .htm, in a folder that exists; a file of that name is replaced.
        x: Samples to choose from, which also tell what numbers paper and ink are and how large a drawing is; without
            them pixels go from 0, paper, to 255, and a drawing is as large as MNIST's.
        y: What the samples are: class indices (samples,) or one-hot (samples, classes).
        labels: Names of the classes, in order; 0, 1, ... by default.
        title: The page's heading; the model's name by default.
        image_shape: (rows, columns) of pictures that are given as flat rows.

    Raises:
        TypeError: If the model or data are of another kind.
        ValueError: If the samples are no pictures, something doesn't fit the model, or the path is no name of a page.
        RuntimeError: If the model has no weights yet.
        FileNotFoundError: If the folder doesn't exist.
    """
    name = _checked(model, path)
    shape = pictures.shape_of(tuple(model._shape), image_shape)
    if shape is None:
        raise ValueError(
            f"samples have shape {tuple(model._shape)}, which is no picture; give image_shape=(rows, columns)"
        )
    units = model._need_built().outputs
    names = _names(labels, max(units, 2), "classes")
    if x is None:
        if y is not None:
            raise ValueError("y says what the samples x are; give both, or neither")
        empty = np.zeros((0, *shape), np.uint8)
        signed = "hinge" in getattr(model.loss, "kernel_name", "")
        canvas = drawing.Canvas(shape, pictures.Scale(), names, signed, _are_shares(model), empty, ())
        box = None
    elif y is None:
        raise ValueError("x needs y, which says what the samples are: draw_page(model, path, x, y)")
    else:
        x = checks.in_rows("x", x)
        found = results(model, x, y)
        if found.kind not in ("classes", "binary"):
            raise ValueError("the model tells no classes apart, so there is nothing to draw; see fastmlp.report")
        canvas, box = _canvas(model, found, names, arrays.dense(x), shape)
    parts = [("draw", "Draw", drawing.section(model, canvas, box))]
    atomic.write(name, _page(title or model.name, _lead(model), {}, parts, drawing.script(model)).encode())


# ------------------------------------------------------------------ what was given


def _checked(model: Any, path: str | os.PathLike[str]) -> str:
    """The path, where a page of this model can be written."""
    from fastmlp.models import Sequential

    if not isinstance(model, Sequential):
        hint = "; its network is model.model_, whose y are class indices" if hasattr(model, "model_") else ""
        raise TypeError(f"expected a fastmlp.Sequential, got {model!r}{hint}")
    model._need_built()
    name = os.fspath(path)
    if not isinstance(name, str):
        raise TypeError(f"path must be a str or a pathlib.Path, got {name!r}")
    if not name.lower().endswith((".html", ".htm")):
        raise ValueError(f"path must end in .html, got {name!r}")
    return atomic.writable(name)


def _curves(history: Any) -> Mapping[str, Sequence[float]]:
    """The values by epoch that a history holds; none for None, or before the first epoch."""
    if history is None:
        return {}
    curves = getattr(history, "history", history)
    if not isinstance(curves, Mapping) or not all(np.ndim(values) for values in curves.values()):
        raise TypeError(
            f"history must be what fit returned, or its dictionary of lists, one value for each epoch, or None; got "
            f"{history!r}"
        )
    # Metrics of each class for itself are no curve.
    return {name: values for name, values in curves.items() if len(values) and np.ndim(values) == 1}


def _names(labels: Sequence[Any] | None, count: int, kind: str) -> list[str]:
    if labels is None:
        return [str(i) for i in range(count)]
    if isinstance(labels, (str, bytes)) or len(labels) != count:
        given = repr(labels) if isinstance(labels, (str, bytes)) else f"{len(labels)} names"
        what = "outputs" if kind == "values" else "classes"
        raise ValueError(f"labels must be a list of {count} names, one for each of the {what}, got {given}")
    return [str(label) for label in labels]


def _feature_names(given: Sequence[Any] | None, x: Any, count: int) -> list[str]:
    """A name for each input: as given, or of the columns of a frame, or numbered."""
    if given is None:
        columns = getattr(x, "columns", None)
        if columns is None or callable(columns) or len(columns) != count:
            return [f"x{i}" for i in range(count)]
        given = list(columns)
    if isinstance(given, (str, bytes)) or len(given) != count:
        said = repr(given) if isinstance(given, (str, bytes)) else f"{len(given)} names"
        raise ValueError(f"feature_names must be a list of {count} names, one for each input, got {said}")
    return [str(name) for name in given]


def _are_shares(model: Sequential) -> bool:
    return model._last_activation()[0] in ("softmax", "sigmoid", "log_softmax") or form_of(model) == "softmax"


def _canvas(
    model: Sequential, found: Results, names: Sequence[str], x: np.ndarray, shape: tuple[int, int]
) -> tuple[drawing.Canvas, float]:
    """What the canvas needs, with the first sample of each class, and how large a drawing is."""
    images = x.reshape(-1, *shape)
    scale = pictures.scale_of(images)
    firsts = [int(np.argmax(found.true == i)) for i in range(len(names)) if (found.true == i).any()][:12]
    signed = "hinge" in getattr(model.loss, "kernel_name", "")
    canvas = drawing.Canvas(
        shape, scale, names, signed, found.are_shares, scale.levels(images[firsts]),
        [names[int(found.true[row])] for row in firsts],
    )  # fmt: skip
    box = drawing.box_of(scale.levels(images[:1000]))
    return canvas, min(max(box, 1.0), float(min(shape)))


def _predict_seconds(model: Sequential, x: Any) -> float:
    """Time of a prediction; the first one, which may compile, is behind us."""
    start = time.perf_counter()
    model.predict(x, verbose=0)
    return time.perf_counter() - start


# ------------------------------------------------------------------ the page


def _lead(model: Sequential) -> str:
    shape = " × ".join(map(str, model._shape))
    dense = [f"{layer.units} {layer.activation}" for layer in model._dense]
    return f"{shape} inputs → {' → '.join(dense)}; {model.count_params():,} parameters"


def _tiles(model: Sequential, history: Any, found: Results, took: float) -> dict[str, str]:
    """The key figures, by name."""
    n = len(found.true)
    made = {"Samples": f"{n:,}"}
    if found.kind == "values":
        rows = value_rows(found.true, found.shares)
        made |= {
            "R²": number(float(np.mean([row.r2 for row in rows]))),
            "Mean |error|": number(float(np.mean([row.mae for row in rows]))),
        }
    else:
        wrong = len(found.wrong)
        made |= {"Accuracy": percent(found.accuracy, 2), "Mistakes": f"{wrong:,}"}
        if found.kind == "binary":
            made["Area under ROC"] = number(roc(found.true, found.shares[:, 1])[2])
    if "loss" in found.scores:
        made["Loss"] = number(found.scores["loss"])
    spent = getattr(history, "seconds", ())
    if len(spent):
        made["Training"] = seconds(sum(spent))
        made["An epoch"] = seconds(float(np.median(spent)))
    made["A prediction"] = seconds(took / n)
    return made


def _page(
    title: str,
    lead: str,
    tiles: Mapping[str, str],
    parts: Sequence[tuple[str, str, Markup]],
    script: str | None,
) -> str:
    """The template, filled. Only the script whose digest stands in the policy runs, and nothing is loaded."""
    runs = "'none'"
    if script is not None:
        script = f"\n{script}"
        runs = f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; script-src {runs}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    figures = tag("dl", *(tag("div", tag("dt", name), tag("dd", said)) for name, said in tiles.items()), class_="tiles")
    links = tag("ul", *(tag("li", tag("a", heading, href=f"#{key}")) for key, heading, _ in parts))
    main = [
        tag("section", tag("h2", heading, id=f"{key}-heading"), inner, id=key, aria_labelledby=f"{key}-heading")
        for key, heading, inner in parts
    ]
    return Template(drawing.part("report.html")).substitute(
        policy=policy,
        version=__version__,
        title=text(title),
        style=drawing.part("style.css"),
        lead=text(lead),
        figures=figures if tiles else "",
        contents=tag("nav", links, aria_label="Contents") if len(parts) > 1 else "",
        main=join(main),
        date=datetime.date.today().isoformat(),
        script="" if script is None else f"<script>{script}</script>",
    )
