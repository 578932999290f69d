"""The parts of the page, in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.arrays import dense
from fastmlp.callbacks.monitor import direction
from fastmlp.layers import Dense
from fastmlp.machine import machine, versions
from fastmlp.plotting.curves import _epochs
from fastmlp.serialization import serialize

from . import charts, pictures
from .charts import Series
from .markup import Markup, figure, join, number, percent, seconds, table, tag, text
from .results import Results, class_rows, confusion, roc, value_rows

if TYPE_CHECKING:
    from fastmlp.models import Sequential

# How much of anything is shown: what fills a screen or two.
_MISTAKES, _ROWS, _COLUMNS, _POINTS, _OUTPUTS, _UNITS, _PAIRS = 20, 12, 10, 800, 4, 64, 8
_MATRIX_UP_TO = 25  # classes whose counts have room
_TITLES = {"python": "Python", "system": "System", "processor": "Processor", "threads": "Threads"}
_SHORT = ("auc", "mae", "mape", "mse", "msle", "rmse")  # names that are initials


# ------------------------------------------------------------------ training


def training(curves: Mapping[str, Sequence[float]], history: Any) -> Markup:
    """A chart for each value that fit reported, losses, metrics, the learning rate; the history knows the epochs."""
    names = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    names.sort(key=lambda name: (name == "learning_rate", not name.endswith("loss"), name != "loss"))
    made = []
    for name in names:
        drawn = []
        for key, of, color in ((name, "training", "c1"), (f"val_{name}", "validation", "c2")):
            values = np.array(curves.get(key, ()), np.float64)
            if len(values):
                epochs = np.array(_epochs(history, curves, key), np.float64)
                drawn.append(Series(epochs, values, of, color, _best(key, values)))
        words = name.replace("_", " ")
        title = (words.upper() if name in _SHORT else words.capitalize()) + " by epoch"
        made.append(charts.lines(title, drawn, x_label="epoch", whole=True))
    note = tag("p", "A ring marks the best validation value.", class_="note")
    has_ring = any(direction(f"val_{name}") and f"val_{name}" in curves for name in names)
    return join([tag("div", *made, class_="charts"), *([note] if has_ring else [])])


def _best(key: str, values: np.ndarray) -> int | None:
    way = direction(key)
    if not key.startswith("val_") or way is None or np.isnan(values).all():
        return None
    return int(np.nanargmax(values) if way == "max" else np.nanargmin(values))


# ------------------------------------------------------------------ classes


def classes(found: Results, names: Sequence[str]) -> Markup:
    """Counts of right and wrong, and a row for each class."""
    pieces = []
    rows = class_rows(found.true, found.predicted, len(names))
    if found.kind != "labels":
        counts = confusion(found.true, found.predicted, len(names))
        pieces.append(_matrix(counts, names) if len(names) <= _MATRIX_UP_TO else _matrix_picture(counts))
        if len(names) > 2:
            pieces.append(_pairs(counts, names))
    pieces.append(_class_table(rows, names))
    note = (
        "Precision: how many of the samples taken for the class are of it. Recall: how many of its samples were found. "
        "F1: their harmonic mean. The last row is the mean over the classes that occur."
    )
    return join([tag("div", *pieces, class_="tables"), tag("p", note, class_="note")])


def _matrix(counts: np.ndarray, names: Sequence[str]) -> Markup:
    """The confusion matrix as a table, hits in blue and errors in orange by their share of the row."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    hit = np.eye(len(counts), dtype=bool)
    worst = max(share[~hit].max(initial=0), 0.01)
    lines = []
    for i, row in enumerate(counts):
        cells = [
            Markup(
                f'<td class="{"hit" if i == j else "miss" if n else "none"}" '
                f'style="--s:{share[i, j] if i == j else share[i, j] / worst:.3f}" '
                f'title="{text(names[i])} taken for {text(names[j])}: {percent(share[i, j])}">{n}</td>'
            )
            for j, n in enumerate(row)
        ]
        lines.append([names[i], *cells])
    return table("Confusion matrix: columns are predictions", ["true", *names], lines, class_="matrix")


def _matrix_picture(counts: np.ndarray) -> Markup:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return figure(
        tag(
            "img",
            src=pictures.shaded(share),
            alt="Confusion matrix: a dark diagonal is what is right, dark dots beside it are frequent mistakes",
            class_="ink big",
        ),
        caption=f"Confusion matrix of {len(counts)} classes: true ones in rows, predicted ones in columns; the darker, "
        "the larger the share of its row",
    )


def _pairs(counts: np.ndarray, names: Sequence[str]) -> Markup:
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong.ravel(), kind="stable")[:_PAIRS]
    rows = []
    for place in order:
        i, j = divmod(int(place), len(counts))
        if wrong[i, j]:
            rows.append([names[i], names[j], f"{wrong[i, j]:,}", percent(wrong[i, j] / counts[i].sum())])
    if not rows:
        return Markup()
    return table("The most frequent mistakes", ["True", "Taken for", "Samples", "Of its class"], rows)


def _class_table(rows: Sequence[Any], names: Sequence[str]) -> Markup:
    head = ["Class", "Precision", "Recall", "F1", "Support"]
    lines = [
        [name, percent(row.precision), percent(row.recall), percent(row.f1), f"{row.support:,}"]
        for name, row in zip(names, rows)
    ]
    seen = [row for row in rows if row.support]
    foot = ["Mean", *(percent(_mean([getattr(row, key) for row in seen])) for key in ("precision", "recall", "f1"))]
    foot.append(f"{sum(row.support for row in rows):,}")
    return table("Each class against the others", head, lines, foot=foot)


def _mean(values: Sequence[float]) -> float:
    """A class that is never predicted has no precision; in the mean it counts as 0."""
    return float(np.mean(np.nan_to_num(values))) if values else float("nan")


def thresholds(found: Results, names: Sequence[str]) -> Markup:
    """ROC curve, and what other thresholds would give."""
    score, true = found.shares[:, 1], found.true
    false_rate, true_rate, area = roc(true, score)
    kept = np.unique(np.linspace(0, len(false_rate) - 1, 300).astype(int))
    curve = charts.lines(
        f"ROC curve, area {number(area)}",
        [Series(false_rate[kept], true_rate[kept])],
        x_label="false positive rate",
        y_label="true positive rate",
        x=(-0.02, 1.02),
        y=(-0.02, 1.02),
        diagonal=True,
    )
    cuts = np.arange(1, 10) / 10 if found.are_shares else np.quantile(score, np.arange(1, 10) / 10)
    lines = []
    for cut in np.unique(cuts):
        row = class_rows(true, (score > cut).astype(np.int64), 2)[1]
        alarms = float(((score > cut) & (true != 1)).sum() / max((true != 1).sum(), 1))
        right = float(((score > cut) == (true == 1)).mean())
        lines.append([number(cut), *map(percent, (row.precision, row.recall, row.f1, alarms, right))])
    head = ["Above", "Precision", "Recall", "F1", "False positives", "Accuracy"]
    return join(
        [tag("div", curve, table(f"Thresholds for “{names[1]}”", head, lines), class_="tables")],
    )


# ------------------------------------------------------------------ values


def values(found: Results, names: Sequence[str]) -> Markup:
    """How near each output comes, and pictures of where it doesn't."""
    rows = value_rows(found.true, found.shares)
    head = ["Output", "R²", "Mean |error|", "RMS error", "Mean error", "Largest |error|"]
    lines = [[name, *map(number, (r.r2, r.mae, r.rmse, r.bias, r.largest))] for name, r in zip(names, rows)]
    n = len(found.true)
    kept = np.unique(np.linspace(0, n - 1, min(n, _POINTS)).astype(int))
    pieces = [table("How near the predictions come", head, lines)]
    for j, name in enumerate(names[:_OUTPUTS]):
        true, predicted = found.true[:, j], found.shares[:, j]
        residual = predicted - true
        of = f" of {name}" if len(names) > 1 else ""
        counts, edges = np.histogram(residual, bins=min(40, max(5, int(np.sqrt(n)))))
        made = [
            charts.points(
                f"Predicted against true{of}", true[kept], predicted[kept], x_label="true", y_label="predicted",
                diagonal=True,
            ),
            charts.points(
                f"Errors by prediction{of}", predicted[kept], residual[kept], x_label="predicted",
                y_label="predicted − true", zero=True,
            ),
            charts.bars(
                f"How often which error occurs{of}", edges, counts, x_label="predicted − true", y_label="samples"
            ),
        ]  # fmt: skip
        pieces.append(tag("div", *made, class_="charts"))
    notes = [f"{len(kept):,} of {n:,} samples are drawn."] if len(kept) < n else []
    if len(names) > _OUTPUTS:
        notes.append(f"The first {_OUTPUTS} of {len(names)} outputs are drawn.")
    return join([*pieces, *([tag("p", " ".join(notes), class_="note")] if notes else [])])


# ------------------------------------------------------------------ mistakes


def mistakes(
    found: Results, names: Sequence[str], x: Any, shape: tuple[int, int] | None, inputs: Sequence[str]
) -> Markup:
    """The wrong predictions that the model was surest of: as pictures, or as rows of numbers."""
    wrong = found.wrong
    n = len(found.true)
    if not len(wrong):
        return tag("p", f"None in {n:,} samples.")
    count = min(len(wrong), _MISTAKES if shape is not None and found.kind != "values" else _ROWS)
    shown = wrong[:count]
    if found.kind == "values":
        heading = f"The {count} largest errors in {n:,} samples"
    else:
        heading = f"The {count} surest of {len(wrong):,} mistakes in {n:,} samples"
    if shape is not None:
        images = x[shown].reshape(-1, *shape)
        scale = pictures.scale_of(x.reshape(-1, *shape))
        made = []
        for row, level in zip(shown, scale.levels(images)):
            said, true = _answer(found, names, int(row)), _truth(found, names, int(row))
            alt = f"Sample {row}: {true}, taken for {said}"
            picture = tag("img", src=pictures.ink(level), alt=alt, width=shape[1], height=shape[0], class_="ink")
            made.append(figure(picture, caption=join([tag("b", said), text(f"true {true}")], "<br>")))
        return join([tag("p", heading + ": what it was taken for, and the truth."), tag("div", *made, class_="images")])
    flat = dense(x[shown]).reshape(count, -1)
    head = ["Row", "True", "Predicted", *inputs[:_COLUMNS]]
    lines = [
        [row, _truth(found, names, row), _answer(found, names, row), *map(number, numbers[:_COLUMNS])]
        for row, numbers in zip(map(int, shown), flat)
    ]
    made_table = table(heading, head, lines)
    if flat.shape[1] > _COLUMNS:
        note = tag("p", f"The first {_COLUMNS} of {flat.shape[1]:,} inputs are shown.", class_="note")
        return join([made_table, note])
    return made_table


def _answer(found: Results, names: Sequence[str], row: int) -> str:
    shares = found.shares[row]
    if found.kind == "values":
        return ", ".join(map(number, shares[:_OUTPUTS])) + ", …" * (len(shares) > _OUTPUTS)
    if found.kind == "labels":
        return ", ".join(name for name, on in zip(names, found.predicted[row]) if on) or "none"
    best = int(shares.argmax())
    return f"{names[best]}, {percent(shares[best]) if found.are_shares else number(shares[best])}"


def _truth(found: Results, names: Sequence[str], row: int) -> str:
    if found.kind == "values":
        return ", ".join(map(number, found.true[row][:_OUTPUTS])) + ", …" * (len(names) > _OUTPUTS)
    if found.kind == "labels":
        return ", ".join(name for name, on in zip(names, found.true[row]) if on) or "none"
    return names[int(found.true[row])]


# ------------------------------------------------------------------ the network


def layers(model: Sequential) -> Markup:
    """What the model consists of."""
    rows = []
    for layer in model.layers:
        activation = getattr(layer, "activation", None)
        name = activation if isinstance(activation, str) else "" if activation is None else type(activation).__name__
        shape = " × ".join(map(str, layer.output_shape or ()))
        rows.append([layer.name, type(layer).__name__, name, shape, f"{layer.count_params():,}"])
    foot = ["All", "", "", "", f"{model.count_params():,}"]
    return table("Layers", ["Layer", "Kind", "Activation", "Output", "Parameters"], rows, foot=foot, class_="layers")


def first_weights(model: Sequential, shape: tuple[int, int] | None) -> Markup | None:
    """The weights of each unit of the first Dense layer as a picture, where the inputs are one."""
    layer = next((layer for layer in model.layers if isinstance(layer, Dense)), None)
    if layer is None or shape is None or np.prod(shape) != layer.kernel.shape[0]:
        return None
    w = np.asarray(layer.kernel, np.float64)
    units = min(w.shape[1], _UNITS)
    limit = float(np.abs(w[:, :units][np.isfinite(w[:, :units])]).max(initial=0)) or 1.0
    made = [
        figure(
            tag(
                "img",
                src=pictures.diverging(w[:, j].reshape(shape), limit),
                alt=f"Weights of unit {j}",
                width=shape[1],
                height=shape[0],
            ),
            caption=str(j),
        )
        for j in range(units)
    ]
    which = f"all {units} units" if units == w.shape[1] else f"the first {units} of {w.shape[1]} units"
    said = (
        f"What {which} of “{layer.name}” look for: red weights are positive, blue ones negative; the strongest colours "
        f"are ±{number(limit, 3)}."
    )
    return join([tag("p", said), tag("div", *made, class_="images weights")])


# ------------------------------------------------------------------ how it came about


def compiled(model: Sequential) -> Markup:
    """Optimizer, loss and metrics with the arguments that are not the usual ones."""
    if model.loss is None or model.optimizer is None:
        return tag("p", "The model is not compiled.")
    rows: list[list[Any]] = [["Optimizer", _described(model.optimizer)], ["Loss", _described(model.loss)]]
    metrics = [*model._metrics, *model._weighted_metrics]
    if metrics:
        rows.append(["Metrics", join([_described(metric) for metric in metrics], "<br>")])
    return table("How it was compiled", ["Part", "Choice"], rows, class_="words")


def _described(thing: Any) -> str:
    """Its class, and the arguments that differ from the class's defaults; the learning rate always."""
    try:
        described = serialize(thing)
    except (NotImplementedError, TypeError, ValueError):  # functions of one's own have no description
        return repr(thing)
    try:
        usual = type(thing)().get_config()
    except TypeError:  # some arguments have no default
        usual = {}
    said = []
    for name, value in described["config"].items():
        if name == "name" or (name in usual and usual[name] == value and name != "learning_rate"):
            continue
        if isinstance(value, dict) and "class_name" in value:
            inner = ", ".join(f"{key}={number(v) if isinstance(v, float) else v}" for key, v in value["config"].items()
                              if key != "name")  # fmt: skip
            value = f"{value['class_name']}({inner})"
        said.append(f"{name}={value}")
    return str(described["class_name"]) + (f" ({', '.join(said)})" if said else "")


def origin(model: Sequential, history: Any, predict_seconds: float, n: int) -> Markup:
    """Times, versions and the machine."""
    rows: list[list[Any]] = []
    spent = list(getattr(history, "seconds", ()))
    if spent:
        rows.append(["Training", f"{seconds(sum(spent))} for {len(spent)} epoch{'s' * (len(spent) != 1)}"])
        rows.append(["An epoch", f"{seconds(float(np.median(spent)))} (median)"])
    rows.append(["Prediction", f"{seconds(predict_seconds)} for {n:,} samples"])
    rows.append(["Numbers", model.dtype.name])
    rows += [[_TITLES.get(name, name), said] for name, said in (versions() | machine()).items()]
    return table("Times, versions, machine", ["What", "Value"], rows, class_="words")
