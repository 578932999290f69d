"""What the figures share: colours, new figures and panels, and the checks of what is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.checks import finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Okabe & Ito's palette: distinct for colour-blind readers and, by lightness, in grey print.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"
PALETTE = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches, which pyplot knows nothing of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def root(figure: Figure | SubFigure) -> Figure:
    """The whole figure, also of a SubFigure."""
    whole = figure.get_figure(root=True)
    assert whole is not None  # what is drawn in belongs to one
    return whole


def plain_spines(ax: Axes) -> None:
    """Take the upper and the right line away."""
    ax.spines[["top", "right"]].set_visible(False)


def panels(
    count: int,
    columns: int,
    ax: Any,
    *,
    size: tuple[float, float],
    margins: tuple[float, float, float, float],
    what: str,
) -> np.ndarray:
    """Axes (count,) in rows of `columns`.

    Args:
        count: How many.
        columns: In a row of a new figure, at most. With 1 they are never beside each other.
        ax: None for a new figure; one Axes, which is divided up; or a sequence of `count` of them, which is taken.
        size: Width and height of a panel in a new figure, in inches.
        margins: What the words around a panel need when an Axes is divided up: left, right, bottom, top, in inches.
        what: What a panel shows, for the error.

    Raises:
        TypeError: If ax is something else.
        ValueError: If ax is a sequence of another length.
    """
    from matplotlib.axes import Axes

    if ax is None:
        columns = min(columns, count)
        rows = math.ceil(count / columns)
        grid = new_figure(columns * size[0], rows * size[1]).subplots(rows, columns, squeeze=False).ravel()
        if columns > 1:
            grid[0].figure.get_layout_engine().set(wspace=0.03)  # a panel's label must not touch its neighbour
        for unused in grid[count:]:
            unused.remove()
        return grid[:count]
    if not isinstance(ax, Axes):
        given = np.ravel(np.asarray(ax, dtype=object))
        if not all(isinstance(one, Axes) for one in given):
            raise TypeError(f"ax must be a matplotlib Axes, or a sequence of them, got {ax!r}")
        if len(given) != count:
            raise ValueError(
                f"there are {count} panels, one for each {what}, but ax has {len(given)} Axes. Pass {count}, "
                "or a single one, which is divided up"
            )
        return given
    made = np.empty(count, dtype=object)
    if count == 1:
        made[0] = ax
        return made
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    if columns > 1:
        # The grid whose panels are shaped most like those of a figure of their own.
        wish = math.log(size[0] / size[1] * box.height / box.width)
        columns = min(range(1, count + 1), key=lambda c: abs(math.log(math.ceil(count / c) / c) - wish))
    rows = math.ceil(count / columns)
    left, right = (inches * dpi / box.width for inches in margins[:2])
    bottom, top = (inches * dpi / box.height for inches in margins[2:])
    ax.set_axis_off()
    for i in range(count):
        row, column = divmod(i, columns)
        made[i] = ax.inset_axes(
            (
                column / columns + left,
                1 - (row + 1) / rows + bottom,
                # A tiny Axes leaves no room for words; the panels are drawn over them.
                max(1 / columns - left - right, 0.3 / columns),
                max(1 / rows - bottom - top, 0.3 / rows),
            )
        )
    return made


def one_axes(ax: Any, width: float, height: float) -> Axes:
    """The Axes itself, or that of a new figure of this size.

    Raises:
        TypeError: If ax is something else.
    """
    if ax is None:
        return new_figure(width, height).subplots()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be one matplotlib Axes, got {ax!r}")
    return ax


def inches_wide(ax: Axes) -> float:
    """Width of an Axes, before the layout makes room for the words around it."""
    return float(ax.get_window_extent().width) / root(ax.figure).dpi


def whole_epochs(axis: Any) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def class_indices(y: Any, name: str) -> np.ndarray:
    """Indices (samples,) from indices (samples,) or (samples, 1), or from rows with one value per class."""
    y = np.asarray(y)
    if y.ndim == 2:
        y = y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
    if y.ndim != 1:
        raise ValueError(f"{name} has shape {y.shape}; labels have shape (samples,) or (samples, classes).")
    wrong = (y < 0) | (y != np.floor(y))
    if wrong.any():
        raise ValueError(f"{name} holds {y[wrong][0]} but class indices are 0, 1, 2, ...")
    return y.astype(np.int64)


def check_lengths(**arrays: np.ndarray) -> None:
    """ValueError unless all have the same number of samples."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"every argument needs the same samples, but {listed}.")


def check_model(model: Any, needs: str) -> None:
    """An error unless the model has the method `needs`, and weights."""
    if not hasattr(model, needs):
        raise TypeError(f"expected a model with a method {needs}, such as fastmlp.Sequential, got {model!r}")
    if not getattr(model, "built", True):
        raise RuntimeError(
            f"model {model.name!r} has no weights yet: give it an InputLayer(shape=...) first, or call fit or build"
        )


def class_shares(model: Any, x: Any) -> np.ndarray:
    """What the model predicts, as one column for each class: (samples, classes).

    A single unit gives the probability p of class 1; the columns are 1 - p and p.

    Raises:
        ValueError: If a single unit doesn't give probabilities, or a prediction is NaN.
    """
    out = np.asarray(model.predict(x, verbose=0))
    if out.ndim != 2:
        raise ValueError(f"the model predicts values of shape {out.shape}; expected (samples, classes)")
    finite("the model's prediction", out)
    if out.shape[1] > 1:
        return out
    low, high = out.min(initial=0), out.max(initial=0)
    if low < 0 or high > 1:
        raise ValueError(
            f"the model's single unit gives values from {low:.4g} to {high:.4g}, but the probability of class 1 is "
            "needed, from 0 to 1. Give the last layer activation='sigmoid', or one unit for each class"
        )
    return np.concatenate([1 - out, out], axis=1)


def predicted_classes(shares: np.ndarray) -> np.ndarray:
    """The class with the largest share; on one half of two, class 0, as Keras's binary accuracy has it."""
    return shares.argmax(axis=1)
