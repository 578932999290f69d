"""The figures: digits, activation functions, training curves, confusion matrix, confident mistakes.

Each function returns a matplotlib Figure, made without pyplot: no backend is chosen, no global state changes.
Save it with `figure.savefig("name.png")`; a notebook under `%matplotlib inline` shows it as a cell's value.
matplotlib is imported on the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Okabe & Ito's palette: distinct for colour-blind readers and, by lightness, in grey print.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"


def sample_digits(x, y, *, rows: int = 3, columns: int = 8, figure: Figure | SubFigure | None = None) -> Figure:
    """The first images of a data set, each under its label.

    Args:
        x: Images, shape (samples, height, width), any real dtype; 0 is drawn white, the largest value black.
        y: Labels: class indices (samples,) or (samples, 1), or one-hot (samples, classes).
        rows: Rows of images.
        columns: Images in a row; rows * columns are shown, or all samples when there are fewer.
        figure: Where to draw, a Figure or SubFigure; a new Figure by default.

    Raises:
        ValueError: If x is not a stack of images or y has another length.

    Example:
        >>> x, y = np.zeros((5, 28, 28)), np.arange(5)
        >>> len(sample_digits(x, y).axes)
        5
    """
    x, labels = _images(x), _class_indices(y, "y")
    _check_lengths(x=x, y=labels)
    titles = [str(label) for label in labels[: rows * columns]]
    return _image_grid(x[: rows * columns], titles, columns, "Samples and their labels", figure)


def activation_functions(*, figure: Figure | SubFigure | None = None) -> Figure:
    """The curves of linear, step, sigmoid, tanh and relu, and softmax for two units.

    Softmax needs more than one unit: the panel shows its two shares for the pair (z, 0); they sum to one.

    Args:
        figure: Where to draw, a Figure or SubFigure; a new Figure by default.

    Example:
        >>> [ax.get_title() for ax in activation_functions().axes][:3]
        ['linear', 'step', 'sigmoid']
    """
    from fastmlp import activations

    figure = _new_figure(7.5, 4.4) if figure is None else figure
    axes = figure.subplots(2, 3).flat
    z = np.linspace(-4, 4, 802, dtype=np.float32)  # an even count leaves out 0, where step jumps
    for ax, name in zip(axes, ("linear", "step", "sigmoid", "tanh", "relu")):
        ax.plot(z, np.asarray(getattr(activations, name)(z)), color=BLUE)
        ax.set_title(name)
    ax = axes[5]
    shares = np.asarray(activations.softmax(np.stack([z, np.zeros_like(z)], axis=1)))
    for share, logit, color, place in zip(shares.T, ("z", "0"), (BLUE, VERMILLION), (2.4, -2.4)):
        ax.plot(z, share, color=color)
        ax.text(place, 1.06, f"share of {logit}", color=color, ha="center", va="bottom", fontsize=8)
    ax.set_title("softmax of (z, 0)")
    for number, ax in enumerate(figure.axes):
        ax.set_xlim(-4, 4)
        # Bounded functions share one scale, so that their ranges (0..1 and -1..1) can be compared.
        ax.set_ylim(*((-4.2, 4.2) if ax.get_title() in ("linear", "relu") else (-1.3, 1.3)))
        ax.axhline(0, color=GREY, linewidth=0.6, zorder=0)
        ax.axvline(0, color=GREY, linewidth=0.6, zorder=0)
        _plain_spines(ax)
        if number >= 3:
            ax.set_xlabel("z")
        if number % 3 == 0:
            ax.set_ylabel("activation")
    return _root(figure)


def training_curves(history: Any, *, figure: Figure | SubFigure | None = None) -> Figure:
    """Loss and metrics over the epochs, training beside validation: one panel each, the loss first.

    Args:
        history: What `fit` returned, or its dict {"loss": [...], "val_loss": [...], "accuracy": [...], ...}:
            one value per epoch. Epochs count from 1, or go on from `initial_epoch`.
        figure: Where to draw, a Figure or SubFigure; a new Figure by default.

    Raises:
        ValueError: If there is no "loss" or no epoch.

    Example:
        >>> figure = training_curves({"loss": [2.0, 1.0], "accuracy": [0.2, 0.7]})
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['loss', 'accuracy']
    """
    from matplotlib.ticker import MaxNLocator

    curves: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    if not curves.get("loss"):
        raise ValueError(
            f"training_curves needs the loss of at least one epoch but got {sorted(curves)}. "
            "Pass the History that fit returned, or its .history dict."
        )
    epochs = [epoch + 1 for epoch in getattr(history, "epoch", range(len(curves["loss"])))]
    names = ["loss", *(name for name in curves if not name.startswith("val_"))]
    names = [name for name in dict.fromkeys(names) if name != "learning_rate"]
    figure = _new_figure(max(5.0, 3.75 * len(names)), 3.0) if figure is None else figure
    marker = "o" if len(epochs) <= 30 else ""
    for ax, name in zip(np.ravel(figure.subplots(1, len(names))), names):
        ax.plot(epochs, curves[name], color=BLUE, marker=marker, markersize=3.5, label="training")
        if f"val_{name}" in curves:
            ax.plot(
                epochs,
                curves[f"val_{name}"],
                "--",
                color=VERMILLION,
                marker=marker,
                markersize=3.5,
                label="validation",
            )
            ax.legend(frameon=False)
        ax.set_title(name.replace("_", " ").capitalize() + " by epoch")
        ax.set_xlabel("epoch")
        ax.set_ylabel(name.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        if len(epochs) == 1:
            ax.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
        ax.grid(axis="y", color="#dddddd", linewidth=0.6)
        _plain_spines(ax)
    return _root(figure)


def confusion_matrix(y_true, y_pred, *, classes: Sequence | None = None, ax: Axes | None = None) -> Figure:
    r"""How often each true class (row) was taken for each class (column): the count and its share of the row.

    Hits are blue and errors orange, each on its own scale: on one scale the hits would drown every error.

    Args:
        y_true: True labels: class indices (samples,) or (samples, 1), or one-hot (samples, classes).
        y_pred: Predicted class indices, or predicted probabilities (samples, classes), whose largest counts.
        classes: The names of the classes, in the order of their indices; 0, 1, ... by default.
        ax: Where to draw; the one Axes of a new Figure by default.

    Raises:
        ValueError: If the lengths differ or an index has no name in classes.

    Example:
        >>> figure = confusion_matrix([0, 1, 1], [0, 1, 0], classes=["cat", "dog"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['1\n100 %', '0', '1\n50 %', '1\n50 %']
    """
    counts = _count_pairs(_class_indices(y_true, "y_true"), _class_indices(y_pred, "y_pred"), classes)
    m = len(counts)
    names = [str(name) for name in (range(m) if classes is None else classes)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    hit = np.eye(m, dtype=bool)
    if ax is None:
        side = max(3.5, 2.0 + 0.55 * m)
        ax = _new_figure(side, side).subplots()
    worst = max(shares[~hit].max(initial=0), 0.01)  # no error at all: any scale will do
    # The scales stop before the maps' dark ends, so that black text stays legible on every cell.
    ax.imshow(np.ma.masked_where(~hit, shares), cmap="Blues", vmin=0, vmax=1 / 0.55)
    ax.imshow(np.ma.masked_where(hit, shares), cmap="Oranges", vmin=0, vmax=worst / 0.6)
    for (row, column), count in np.ndenumerate(counts):
        percent = 100 * shares[row, column]
        text = f"{count}\n{percent:.{0 if percent >= 9.95 else 1}f} %" if count else "0"
        color = "black" if count else "#aaaaaa"
        ax.text(column, row, text, color=color, ha="center", va="center", fontsize=8)
    ax.set_xticks(range(m), names, rotation=90 if max(map(len, names)) > 3 else 0)
    ax.set_yticks(range(m), names)
    ax.set_xticks(np.arange(m - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(m - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class (100 % is a row)")
    right, total = counts.trace(), counts.sum()
    ax.set_title(f"{right} of {total} right ({100 * right / max(total, 1):.2f} %)")
    return _root(ax.figure)


def confident_mistakes(
    x, y, probabilities, *, count: int = 10, columns: int = 5, figure: Figure | SubFigure | None = None
) -> Figure:
    r"""The wrong predictions the model was surest of: image, true class, predicted class and its probability.

    Args:
        x: Images, shape (samples, height, width).
        y: True labels: class indices (samples,) or (samples, 1), or one-hot (samples, classes).
        probabilities: What `predict` returned, shape (samples, classes).
        count: Images at most, the surest first.
        columns: Images in a row.
        figure: Where to draw, a Figure or SubFigure; a new Figure by default.

    Raises:
        ValueError: If a shape does not fit.

    Example:
        >>> figure = confident_mistakes(np.zeros((2, 28, 28)), [0, 1], np.array([[0.1, 0.9], [0.2, 0.8]]))
        >>> figure.axes[0].get_title()
        'true 0, predicted 1\n90.0 %'
    """
    x, labels, probabilities = _images(x), _class_indices(y, "y"), np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(
            f"probabilities has shape {probabilities.shape} but needs shape (samples, classes). "
            "Pass what model.predict(x) returned."
        )
    _check_lengths(x=x, y=labels, probabilities=probabilities)
    predicted = probabilities.argmax(axis=1)
    sureness = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(-sureness[wrong], kind="stable")][:count]
    # Rounded down: a mistake at 99.97 % must not read as certain.
    percents = np.floor(1000 * sureness) / 10
    titles = [f"true {labels[i]}, predicted {predicted[i]}\n{percents[i]:.1f} %" for i in shown]
    heading = f"The {len(shown)} surest of {len(wrong)} mistakes in {len(labels)} samples"
    if len(shown) == 0:
        heading = f"No mistakes in {len(labels)} samples"
    return _image_grid(x[shown], titles, columns, heading, figure)


def _image_grid(images, titles, columns: int, heading: str, figure) -> Figure:
    """Images in rows of `columns`, each under its title."""
    rows = max(1, -(-len(images) // columns))
    lines = max((title.count("\n") + 1 for title in titles), default=1)
    figure = _new_figure(7.5, 0.3 + rows * (7.3 / columns + 0.18 * lines)) if figure is None else figure
    figure.suptitle(heading, fontsize=11)
    for place, (image, title) in enumerate(zip(images, titles), start=1):
        ax = figure.add_subplot(rows, columns, place)
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=max(float(images.max()), 1e-12))
        ax.set_title(title, fontsize=9, pad=3)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_color("#dddddd")
    return _root(figure)


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _root(figure) -> Figure:
    """The whole figure, also of a SubFigure."""
    return figure.get_figure(root=True)


def _plain_spines(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _images(x) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 3:
        raise ValueError(
            f"x has shape {x.shape} but images have shape (samples, height, width). "
            "Reshape flat rows first: x.reshape(-1, 28, 28)."
        )
    return x


def _class_indices(y, name: str) -> np.ndarray:
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


def _count_pairs(y_true: np.ndarray, y_pred: np.ndarray, classes: Sequence | None) -> np.ndarray:
    """Counts (classes, classes) of each pair of true (row) and predicted (column) index."""
    _check_lengths(y_true=y_true, y_pred=y_pred)
    highest = int(max(y_true.max(initial=0), y_pred.max(initial=0)))
    if classes is not None and highest >= len(classes):
        raise ValueError(f"the labels go up to {highest} but classes has {len(classes)} names. Name every class.")
    m = highest + 1 if classes is None else len(classes)
    return np.bincount(y_true * m + y_pred, minlength=m * m).reshape(m, m)


def _check_lengths(**arrays: np.ndarray) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"every argument needs the same samples, but {listed}.")
