"""The confusion matrix: which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.checks import known_name

from .shared import check_lengths, check_model, class_indices, class_shares, one_axes, predicted_classes, root

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What one hundred per cent is, by the value of normalize.
_WHOLES = {"true": "a row", "pred": "a column", "all": "all samples"}


def confusion_matrix(
    model_or_matrix: Any,
    x: Any = None,
    y: Any = None,
    labels: Sequence[Any] | None = None,
    normalize: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""How often each true class (row) was taken for each class (column): the count and its share of the row.

    Hits are blue and errors orange, each on its own scale: on one scale the hits would drown every error. With many
    classes the cells have no room for the shares, then none for the counts; the colours stay, under a scale each.

    Args:
        model_or_matrix: A model, which predicts the classes of x; or counts (classes, classes), true classes in rows;
            or true classes (samples,), which go with predicted ones as x.
        x: Samples for the model. Or, behind true classes, the predicted ones: indices (samples,), or probabilities
            (samples, classes), whose largest counts.
        y: True classes of the model's samples: indices (samples,) or (samples, 1), or one-hot (samples, classes).
        labels: The names of the classes, in the order of their indices; 0, 1, ... by default.
        normalize: None writes the counts, with shares of the row; "true", "pred" and "all" write shares only: of the
            row (the true class), of the column (the predicted class), or of all samples. The colours follow.
        ax: Where to draw; the one Axes of a new figure by default.

    Raises:
        ValueError: If lengths or shapes don't fit, an index has no name, or a number is no count.
        TypeError: If y is given without a model.
        RuntimeError: If the model has no weights yet.

    Example:
        >>> ax = confusion_matrix([[1, 0], [1, 3]], labels=["cat", "dog"])
        >>> [text.get_text() for text in ax.texts]
        ['1\n100 %', '0', '1\n25 %', '3\n75 %']
    """
    if normalize is not None:
        normalize = known_name("normalize", str(normalize), _WHOLES)
    counts = _counts(model_or_matrix, x, y, labels)
    m = len(counts)
    names = [str(name) for name in (range(m) if labels is None else labels)]
    shares = _shares(counts, normalize or "true")
    hit = np.eye(m, dtype=bool)
    own = ax is None
    # Half an inch a class, until the page is full.
    side = float(np.clip(2.0 + 0.55 * m, 3.5, 9.0))
    ax = one_axes(ax, side, side)
    cell = (side - 1.6 if own else _inches(ax)) / m
    written = _written(counts, shares, normalize, cell)
    worst = max(shares[~hit].max(initial=0), 0.01)  # no error at all: any scale will do
    best = 1.0 if normalize != "all" else max(shares[hit].max(initial=0), 0.01)
    # The scales stop before the maps' dark ends, so that black text stays legible on every cell.
    dark = (0.55, 0.6) if written else (1.0, 1.0)
    hits = ax.imshow(np.ma.masked_where(~hit, shares), cmap="Blues", vmin=0, vmax=best / dark[0])
    errors = ax.imshow(np.ma.masked_where(hit, shares), cmap="Oranges", vmin=0, vmax=worst / dark[1])
    if not written and own:
        from matplotlib.ticker import PercentFormatter

        root(ax.figure).set_size_inches(side + 2.2, side)
        for image, what in ((hits, "hits"), (errors, "errors")):
            bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.01, format=PercentFormatter(1))
            bar.set_label(f"share of {_WHOLES[normalize or 'true']}, {what}")
    size = 8 if cell >= 0.42 else 6.5
    for (row, column), text in written.items():
        color = "black" if counts[row, column] else "#aaaaaa"
        ax.text(column, row, text, color=color, ha="center", va="center", fontsize=size)
    _name_classes(ax, names, cell)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class" + (f" (100 % is {_WHOLES[normalize or 'true']})" if written else ""))
    right, total = counts.trace(), counts.sum()
    ax.set_title(f"{right} of {total} right ({100 * right / max(total, 1):.2f} %)")
    return ax


def _counts(model_or_matrix: Any, x: Any, y: Any, labels: Sequence[Any] | None) -> np.ndarray:
    """Counts (classes, classes) from any of the three kinds of arguments."""
    if hasattr(model_or_matrix, "predict"):
        if x is None or y is None:
            raise ValueError("a model needs samples and their true classes: confusion_matrix(model, x, y)")
        check_model(model_or_matrix, "predict")
        shares, true = class_shares(model_or_matrix, x), class_indices(y, "y")
        if true.max(initial=0) >= shares.shape[1]:
            raise ValueError(
                f"y holds class {true.max()} but the model tells {shares.shape[1]} classes, 0 to {shares.shape[1] - 1}"
            )
        _check_names(labels, shares.shape[1], "the model tells")
        return _count_pairs(true, predicted_classes(shares), range(shares.shape[1]), "y", "x")
    if y is not None:
        raise TypeError(
            f"with x and y the first argument must be a model, got {type(model_or_matrix).__name__}. Pass "
            "confusion_matrix(model, x, y), confusion_matrix(y_true, y_pred) or confusion_matrix(matrix)"
        )
    if x is not None:
        return _count_pairs(class_indices(model_or_matrix, "y_true"), class_indices(x, "y_pred"), labels)
    counts = np.asarray(model_or_matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(
            f"a confusion matrix has shape (classes, classes), got {counts.shape}. "
            "Pass confusion_matrix(y_true, y_pred) to count classes"
        )
    whole = counts.astype(np.int64) if np.isfinite(counts).all() else counts
    if (whole != counts).any() or (whole < 0).any():
        wrong = counts[(counts != np.floor(counts)) | ~np.isfinite(counts) | (counts < 0)][0]
        raise ValueError(f"the matrix holds {wrong} but counts are 0, 1, 2, ...; shares are made here, see normalize")
    _check_names(labels, len(whole), "the matrix has")
    return whole


def _check_names(labels: Sequence[Any] | None, m: int, who: str) -> None:
    if labels is not None and len(labels) != m:
        raise ValueError(f"{who} {m} classes but labels has {len(labels)} names. Name every class.")


def _count_pairs(
    true: np.ndarray,
    predicted: np.ndarray,
    labels: Sequence[Any] | None,
    true_name: str = "y_true",
    predicted_name: str = "y_pred",
) -> np.ndarray:
    """Counts (classes, classes) of each pair of true (row) and predicted (column) index."""
    check_lengths(**{true_name: true, predicted_name: predicted})
    highest = int(max(true.max(initial=0), predicted.max(initial=0)))
    if labels is not None and highest >= len(labels):
        raise ValueError(f"the classes go up to {highest} but labels has {len(labels)} names. Name every class.")
    m = highest + 1 if labels is None else len(labels)
    return np.bincount(true * m + predicted, minlength=m * m).reshape(m, m)


def _shares(counts: np.ndarray, normalize: str) -> np.ndarray:
    """Counts by their row's, their column's or the whole sum; 0 where that is 0."""
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    return counts / np.maximum(counts.sum(axis=axis, keepdims=True), 1)


def _inches(ax: Axes) -> float:
    """The shorter side of an Axes."""
    box = ax.get_window_extent()
    return float(min(box.width, box.height)) / root(ax.figure).dpi


def _written(counts: np.ndarray, shares: np.ndarray, normalize: str | None, cell: float) -> dict[tuple[int, int], str]:
    """What stands in each cell of so many inches; nothing at all if a cell has no room for it."""
    percents = {place: _percent(share) for place, share in np.ndenumerate(shares)}
    texts = {}
    for place, count in np.ndenumerate(counts):
        if count == 0:
            texts[place] = "0"
        elif normalize is not None:
            texts[place] = percents[place] + (" %" if cell >= 0.42 else "")
        else:
            texts[place] = f"{count}\n{percents[place]} %" if cell >= 0.42 else str(count)
    longest = max(len(line) for text in texts.values() for line in text.split("\n"))
    # Of 8 or 6.5 points; digits are 0.6 of that wide.
    fits = cell >= max(0.26, 0.05 + longest * (0.06 if cell >= 0.42 else 0.05))
    return texts if fits else {}


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.{0 if percent >= 9.95 else 1}f}"


def _name_classes(ax: Axes, names: list[str], cell: float) -> None:
    """Names at rows and columns, and white lines between the cells."""
    m = len(names)
    size = 10 if cell >= 0.3 else 7
    # As many names as have room, for a line of text needs its height.
    step = max(1, int(np.ceil(size * 1.3 / 72 / cell)))
    wide = max(map(len, names)) * 0.6 * size / 72 > 0.9 * step * cell
    ax.set_xticks(range(0, m, step), names[::step], rotation=90 if wide else 0, fontsize=size)
    ax.set_yticks(range(0, m, step), names[::step], fontsize=size)
    ax.set_xticks(np.arange(m - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(m - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=min(1.5, 5 * cell))
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
