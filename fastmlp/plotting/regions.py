"""Decision regions: which class a model sees where, in the plane of two features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.checks import finite, positive_int

from .shared import PALETTE, check_lengths, check_model, class_indices, class_shares, one_axes, plain_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# With the palette's seven colours they make 35 different points, and they tell classes apart without colours.
_MARKERS = "o^sDv"


def decision_regions(model: Any, x: Any, y: Any, resolution: int = 200, ax: Axes | None = None) -> Axes:
    """The plane of two features in the colour of the class that the model predicts there, and the samples on it.

    The surer the model, the stronger the colour: it is white where all classes are equally likely. Lines part the
    classes.

    Args:
        model: A model of two features that ends in a single sigmoid unit or in a unit for each class. Outputs outside 0
            to 1 are taken for logits.
        x: Samples, shape (samples, 2).
        y: Their classes: indices (samples,) or (samples, 1), or one-hot (samples, classes).
        resolution: Points along each axis at which the model is asked.
        ax: Where to draw; the one Axes of a new figure by default.

    Raises:
        RuntimeError: If the model has no weights yet.
        ValueError: If x has another number of features, a length differs, y names a class the model doesn't know, or
            the model's single unit gives no probabilities.

    Example:
        >>> import fastmlp
        >>> from fastmlp.layers import Dense, Input
        >>> model = fastmlp.Sequential([Input((2,)), Dense(3, activation="softmax")])
        >>> ax = decision_regions(model, [[0, 0], [0, 1], [1, 1]], [0, 1, 2])
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('feature 0', 'feature 1')
    """
    check_model(model, "predict")
    points, true = np.asarray(x, np.float64), class_indices(y, "y")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(
            f"decision regions lie in the plane of 2 features, so x needs shape (samples, 2), but it has "
            f"{points.shape}. Take two columns, x[:, :2], and a model trained on these"
        )
    if (built_for := tuple(getattr(model, "input_shape", (None, 2))[1:])) != (2,):
        raise ValueError(f"the model was built for samples of shape {built_for}; train one on 2 features")
    check_lengths(x=points, y=true)
    finite("x", points)
    if positive_int("resolution", resolution, least=2) > 5000:
        raise ValueError(f"resolution is {resolution}, more points than a figure can show; pass 5000 or fewer")

    low, high = points.min(axis=0), points.max(axis=0)
    # A tenth around the data; a feature that never changes has no extent of its own.
    margin = np.where(high > low, 0.1 * (high - low), 0.5)
    low, high = low - margin, high + margin
    # The centres of the cells that the picture is made of.
    across, up = (start + (stop - start) * (np.arange(resolution) + 0.5) / resolution for start, stop in zip(low, high))
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    shares = _probabilities(class_shares(model, plane.astype(getattr(model, "dtype", np.float32))))
    m = shares.shape[1]
    if true.max() >= m:
        raise ValueError(f"y holds class {true.max()} but the model tells {m} classes, 0 to {m - 1}")

    own = ax is None
    ax = one_axes(ax, 6.0, 4.5)
    extent = (low[0], high[0], low[1], high[1])
    colors = _colors(m)
    image = _blend(shares, colors).reshape(resolution, resolution, 3)
    ax.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest", zorder=0)
    grid = shares.reshape(resolution, resolution, m)
    # Between two classes one line does; else each class has its own, and they meet.
    for one in range(1 if m == 2 else 0, m):
        lead = grid[..., one] - np.delete(grid, one, axis=-1).max(axis=-1)
        ax.contour(across, up, lead, levels=[0], colors="black", linewidths=0.8, zorder=1)
    size = float(np.clip(12000 / len(points), 6, 30))
    for one in np.unique(true):
        across_class, up_class = points[true == one].T
        ax.scatter(
            across_class, up_class, s=size, color=[colors[one]], marker=_MARKERS[one % len(_MARKERS)],
            edgecolors="black", linewidths=0.4, label=f"class {one}", zorder=2,
        )  # fmt: skip
    if own:
        columns = 1 + len(np.unique(true)) // 18
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), ncols=columns, markerscale=(30 / size) ** 0.5)
    else:
        ax.legend(framealpha=0.8, fontsize=8, loc="upper right", markerscale=(30 / size) ** 0.5)
    ax.set_xlim(*extent[:2])
    ax.set_ylim(*extent[2:])
    ax.set_xlabel("feature 0")
    ax.set_ylabel("feature 1")
    ax.set_title("Predicted class; the stronger the colour, the surer")
    plain_spines(ax)
    return ax


def _probabilities(shares: np.ndarray) -> np.ndarray:
    """Rows as they are if they lie within 0 and 1, else softmax of them."""
    shares = shares.astype(np.float64)
    if shares.min() >= 0 and shares.max() <= 1:
        return shares
    shares = np.exp(shares - shares.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def _colors(m: int) -> np.ndarray:
    """A colour (red, green, blue) for each class."""
    from matplotlib.colors import to_rgb

    colors = np.array([to_rgb(PALETTE[i % len(PALETTE)]) for i in range(m)])
    # Each further round of the palette is darker.
    return colors * 0.6 ** (np.arange(m)[:, None] // len(PALETTE))


def _blend(shares: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The colour of the largest share (n, 3): white if all are equal, half as strong as the samples if it is 1."""
    m = shares.shape[1]
    sureness = np.clip((shares.max(axis=1) - 1 / m) / (1 - 1 / m), 0, 1)[:, None]
    return 1 - 0.5 * sureness * (1 - colors[shares.argmax(axis=1)])
