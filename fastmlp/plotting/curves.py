"""Curves: activation functions, and training by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.callbacks.monitor import direction
from fastmlp.checks import known_name

from .shared import BLUE, GREY, VERMILLION, inches_wide, new_figure, panels, plain_spines, root, whole_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


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

    figure = new_figure(7.5, 4.4) if figure is None else figure
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
        plain_spines(ax)
        if number >= 3:
            ax.set_xlabel("z")
        if number % 3 == 0:
            ax.set_ylabel("activation")
    return root(figure)


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
    curves: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    if not curves.get("loss"):
        raise ValueError(
            f"training_curves needs the loss of at least one epoch but got {sorted(curves)}. "
            "Pass the History that fit returned, or its .history dict."
        )
    names = ["loss", *(name for name in curves if not name.startswith("val_"))]
    names = [name for name in dict.fromkeys(names) if name != "learning_rate"]
    figure = new_figure(max(5.0, 3.75 * len(names)), 3.0) if figure is None else figure
    for ax, name in zip(np.ravel(figure.subplots(1, len(names))), names):
        _panel(ax, history, curves, name, mark_best=False)
    return root(figure)


def history_panels(history: Any, metrics: str | Sequence[str] | None = None, ax: Any = None) -> np.ndarray:
    """Losses, then metrics, then the learning rate, over the epochs: a panel each, training beside validation.

    A ring marks the best validation value where the name tells whether larger or smaller is better. What is not
    finite is left out, and counted in the panel's title.

    Args:
        history: What `fit` returned, or its dict {"loss": [...], "val_loss": [...], ...}. Epochs count from 1, or go
            on from `initial_epoch`.
        metrics: Which panels, without val_: "accuracy" or ["loss", "accuracy"]; all by default.
        ax: Where to draw: an Axes for each panel, or one, which is divided up; a new figure by default.

    Returns:
        The Axes, one for each panel.

    Raises:
        ValueError: If there is no epoch, a name is unknown, or there are more or fewer Axes than panels.

    Example:
        >>> axes = history_panels({"loss": [2.0, 1.0], "val_loss": [2.1, 1.8], "learning_rate": [0.1, 0.1]})
        >>> [ax.get_ylabel() for ax in axes]
        ['loss', 'learning rate']
    """
    curves: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    found = list(dict.fromkeys(name.removeprefix("val_") for name in curves if len(curves[name])))
    if not found:
        raise ValueError("the history holds no epoch, so there is nothing to draw. Call fit with epochs=1 or more")
    if metrics is None:
        names = found
    else:
        wished = [metrics] if isinstance(metrics, str) else list(metrics)
        if not wished:
            raise ValueError(f"metrics is empty; leave it out for all, or choose from {', '.join(found)}")
        names = [known_name("metric", str(name).removeprefix("val_"), found) for name in dict.fromkeys(wished)]
        names = list(dict.fromkeys(names))
    names.sort(key=lambda name: (name == "learning_rate", not name.endswith("loss"), name != "loss"))
    columns = len(names) if len(names) <= 3 else 2 if len(names) == 4 else 3
    axes = panels(
        len(names),
        columns,
        ax,
        size=(max(3.75, 5.0 / columns), 3.0),
        margins=(0.65, 0.1, 0.5, 0.35),
        what=f"of {', '.join(names)}",
    )
    for one, name in zip(axes, names):
        _panel(one, history, curves, name, mark_best=True)
    return axes


def _panel(ax: Axes, history: Any, curves: Mapping[str, Sequence[float]], name: str, *, mark_best: bool) -> None:
    """One name's values on the training and on the validation data."""
    rate, title = name == "learning_rate", name.replace("_", " ")
    drawn: list[np.ndarray] = []
    first, last, left_out, total = np.inf, -np.inf, 0, 0
    for key, label, style, color in ((name, "training", "-", BLUE), (f"val_{name}", "validation", "--", VERMILLION)):
        if key not in curves or not len(curves[key]):
            continue
        values, epochs = np.array(curves[key], np.float64), _epochs(history, curves, key)
        wrong = ~np.isfinite(values) | (rate & (values <= 0))
        left_out, total = left_out + int(wrong.sum()), total + len(values)
        values[wrong] = np.nan
        first, last = min(first, epochs[0]), max(last, epochs[-1])
        # Hundreds of points are a line; a few, or one between two that are left out, must be seen.
        gap = np.isnan(np.pad(values, 1, constant_values=np.nan))
        dots = np.flatnonzero((gap[:-2] & gap[2:]) | (len(values) <= 30))
        ax.plot(epochs, values, style, color=color, marker="o", markevery=dots.tolist(), markersize=3.5, label=label)
        drawn.append(values)
        if mark_best and key != name:
            _mark_best(ax, key, epochs, values)
    if not rate and (len(ax.lines) > 1 or f"val_{name}" in curves):
        ax.legend(frameon=False, fontsize=10 if inches_wide(ax) > 2.2 else 7)
    heading = title.capitalize() + " by epoch"
    if left_out:
        heading += f"\n{left_out} of {total} values not {'above 0' if rate else 'finite'}, left out"
    ax.set_title(heading)
    ax.set_xlabel("epoch")
    ax.set_ylabel(title)
    whole_epochs(ax.xaxis)
    # There is no epoch 0, so the axis ends before it.
    margin = max(0.3, 0.02 * (last - first))
    ax.set_xlim(first - min(margin, 0.5), last + margin)
    if rate:
        _decades(ax, np.concatenate(drawn))
    ax.grid(axis="y", color="#dddddd", linewidth=0.6)
    plain_spines(ax)


def _epochs(history: Any, curves: Mapping[str, Sequence[float]], key: str) -> list[int]:
    """Numbers, from 1, of the epochs that these values are of."""
    count = len(curves[key])
    for known in (getattr(history, "places", {}).get(key, ()), [epoch + 1 for epoch in getattr(history, "epoch", ())]):
        if len(known) == count:
            return list(known)
    return list(range(1, count + 1))


def _mark_best(ax: Axes, key: str, epochs: Sequence[int], values: np.ndarray) -> None:
    """A ring around the best value, explained in the legend."""
    way = direction(key)
    if way is None or np.isnan(values).all():
        return
    best = int(np.nanargmax(values) if way == "max" else np.nanargmin(values))
    label = f"best: epoch {epochs[best]}"
    if inches_wide(ax) > 1.5:
        label += f", {values[best]:.4g}"
    ring: Any = {"markersize": 8, "markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 1.2}
    ax.plot([epochs[best]], [values[best]], "o", label=label, zorder=3, **ring)


def _decades(ax: Axes, values: np.ndarray) -> None:
    """A log scale between two powers of ten, for a learning rate that stays has no range of its own."""
    ax.set_yscale("log")
    if np.isnan(values).all():
        return
    low, high = np.floor(np.log10(np.nanmin(values))), np.ceil(np.log10(np.nanmax(values)))
    if low == high:
        low, high = low - 1, high + 1
    ax.set_ylim(10.0**low / 1.3, 10.0**high * 1.3)
