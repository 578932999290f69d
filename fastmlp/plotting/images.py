"""Samples as images: digits under their labels, and the surest mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .shared import check_lengths, class_indices, new_figure, root

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def sample_digits(
    x: Any, y: Any, *, rows: int = 3, columns: int = 8, figure: Figure | SubFigure | None = None
) -> Figure:
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
    x, labels = _images(x), class_indices(y, "y")
    check_lengths(x=x, y=labels)
    titles = [str(label) for label in labels[: rows * columns]]
    return _image_grid(x[: rows * columns], titles, columns, "Samples and their labels", figure)


def confident_mistakes(
    x: Any,
    y: Any,
    probabilities: Any,
    *,
    count: int = 10,
    columns: int = 5,
    figure: Figure | SubFigure | None = None,
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
    x, labels, probabilities = _images(x), class_indices(y, "y"), np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(
            f"probabilities has shape {probabilities.shape} but needs shape (samples, classes). "
            "Pass what model.predict(x) returned."
        )
    check_lengths(x=x, y=labels, probabilities=probabilities)
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


def _image_grid(
    images: np.ndarray, titles: Sequence[str], columns: int, heading: str, figure: Figure | SubFigure | None
) -> Figure:
    """Images in rows of `columns`, each under its title."""
    rows = max(1, -(-len(images) // columns))
    lines = max((title.count("\n") + 1 for title in titles), default=1)
    figure = new_figure(7.5, 0.3 + rows * (7.3 / columns + 0.18 * lines)) if figure is None else figure
    figure.suptitle(heading, fontsize=11)
    for place, (image, title) in enumerate(zip(images, titles), start=1):
        ax = figure.add_subplot(rows, columns, place)
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=max(float(images.max()), 1e-12))
        ax.set_title(title, fontsize=9, pad=3)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_color("#dddddd")
    return root(figure)


def _images(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 3:
        raise ValueError(
            f"x has shape {x.shape} but images have shape (samples, height, width). "
            "Reshape flat rows first: x.reshape(-1, 28, 28)."
        )
    return x
