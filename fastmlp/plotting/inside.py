"""Inside a network: the first layer's weights, the activations and the gradients of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastmlp.checks import positive_int
from fastmlp.layers import Dense, Flatten, InputLayer

from .shared import BLUE, GREY, VERMILLION, check_model, inches_wide, one_axes, panels, plain_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Activations with two limits, where their slope is gone.
_LIMITS = {"sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hard_tanh": (-1.0, 1.0)}
_NEAR, _MOST = 0.01, 0.95  # a unit is saturated if more than 95 % of its values are within 0.01 of a limit

# Units that first_layer draws unless asked for more: eight rows of eight.
_UNITS = 64


class ActivationSummary(NamedTuple):
    """What the units of a layer answer to some samples.

    Attributes:
        layer: Name of the layer.
        mean: Mean over samples and units.
        std: Standard deviation over samples and units.
        dead_share: Share of the units that never answer: constant over the samples, as a relu is that is never above
            0.
        saturated_share: Share of the sigmoid and tanh units that are within 0.01 of a limit for more than 95 % of the
            samples; 0 for other activations.
        units: Number of units.
        activation: Name of the activation, "" if the layer has none.
        not_finite_share: Share of the units with NaN or infinity for any sample; they count as neither dead nor
            saturated, and mean and std leave those values out.
    """

    layer: str
    mean: float
    std: float
    dead_share: float
    saturated_share: float
    units: int
    activation: str
    not_finite_share: float


def first_layer(model: Any, shape: Sequence[int] | None = None, count: int | None = None, ax: Any = None) -> np.ndarray:
    """The weights of each unit of the first Dense layer as an image: what the unit looks for.

    Red weights are positive, blue ones negative, white is 0; all images share one scale.

    Args:
        model: A model with weights.
        shape: Rows and columns of an image; by default those of the model's input, or a square.
        count: How many units, the first ones; by default all, but no more than 64.
        ax: Where to draw: an Axes for each unit, or one, which is divided up; a new figure by default.

    Returns:
        The Axes, one for each unit.

    Raises:
        RuntimeError: If the model has no weights yet.
        ValueError: If the inputs are no image of this shape, or no square, or count is more than the units.

    Example:
        >>> import fastmlp
        >>> from fastmlp.layers import Dense, Flatten, Input
        >>> model = fastmlp.Sequential([Input((28, 28)), Flatten(), Dense(16), Dense(10)])
        >>> len(first_layer(model))
        16
    """
    import matplotlib

    check_model(model, "layers")
    layer = next((layer for layer in model.layers if isinstance(layer, Dense)), None)
    if layer is None:
        raise ValueError(f"model {model.name!r} has no Dense layer, so there are no weights to draw")
    w = np.asarray(layer.kernel)
    k, m = w.shape
    rows, columns = _image_shape(model, k, shape)
    if count is None:
        count = min(m, _UNITS)
    elif positive_int("count", count) > m:
        raise ValueError(f"count is {count} but layer {layer.name!r} has {m} units; pass {m} or fewer")
    across = min(count, 8)
    # Room for the title above each image; wide or high images keep their shape.
    width = 7.5 / max(across, 4)
    height = width * min(max(rows / columns, 0.3), 3.0) + 0.22
    axes = panels(
        count, across, ax, size=(width, height), margins=(0.03, 0.03, 0.03, 0.2), what=f"unit of layer {layer.name!r}"
    )
    limit = np.abs(w[:, :count][np.isfinite(w[:, :count])]).max(initial=0) or 1.0
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad=GREY)  # NaN is none of the scale's colours
    for unit, one in enumerate(axes):
        image = one.imshow(w[:, unit].reshape(rows, columns), cmap=colors, vmin=-limit, vmax=limit)
        one.set_title(str(unit), fontsize=8, pad=2)
        one.set_xticks([])
        one.set_yticks([])
        one.spines[:].set_color("#dddddd")
    if ax is None:
        figure = axes[0].figure
        wide, high = figure.get_size_inches()
        if high > 1.5:
            figure.colorbar(image, ax=list(axes), label="weight", fraction=0.05, aspect=30, pad=0.02)
        else:
            # A low row of images leaves a scale beside it no room for its numbers.
            figure.colorbar(image, ax=list(axes), label="weight", location="bottom", aspect=40)
            high += 0.6
        figure.set_size_inches(wide, high + 0.3)  # with the line above
        shown = f"{m} unit{'s' * (m != 1)}" if count == m else f"first {count} of {m} units"
        figure.suptitle(f"Weights of layer {layer.name!r}, {shown}", fontsize=11)
    return axes


def activation_summary(model: Any, x: Any) -> list[ActivationSummary]:
    """What the units of each layer answer to these samples, in numbers.

    Flatten and the input are left out: they compute nothing.

    Args:
        model: A model with weights.
        x: At least two samples: on a single one every unit is constant.

    Raises:
        RuntimeError: If the model has no weights yet.
        ValueError: If x doesn't fit the model, or has one sample only.
    """
    return [_summary(*layer) for layer in _outputs(model, x)]


def activation_statistics(model: Any, x: Any, ax: Any = None) -> np.ndarray:
    """What the units of each layer answer to these samples: a strip with a histogram for each layer, and words.

    The words say how many units are dead or saturated, in orange where any are (see ActivationSummary); a layer that is
    dead altogether has a shaded strip. The line below a histogram goes from mean - std to mean + std.

    Args:
        model: A model with weights.
        x: At least two samples.
        ax: Where to draw: an Axes for each layer, or one, which is divided up; a new figure by default.

    Returns:
        The Axes, one for each layer, in order.

    Raises:
        RuntimeError: If the model has no weights yet.
        ValueError: If x doesn't fit the model, has one sample only, or there are more or fewer Axes than layers.
    """
    layers = _outputs(model, x)
    axes = panels(len(layers), 1, ax, size=(7.5, 1.3), margins=(0.1, 0.1, 0.3, 0.3), what="layer")
    for one, (name, activation, out) in zip(axes, layers):
        summary = _summary(name, activation, out)
        values = out[np.isfinite(out)]
        if values.size:
            bins = np.histogram_bin_edges(values, bins=60)
            if activation in _LIMITS:
                low, high = _LIMITS[activation]
                bins = np.linspace(min(low, values.min()), max(high, values.max()), 61)
            # In double precision: a constant in float32 has bins that its type can't tell apart.
            counts, edges = np.histogram(values.astype(np.float64), bins=bins.astype(np.float64))
            heights = np.sqrt(counts / counts.max())  # the root shows the few beside a peak
            one.fill_between(edges, np.append(heights, heights[-1]), step="post", color=BLUE, linewidth=0)
            spread = [summary.mean - summary.std, summary.mean + summary.std]
            one.plot(spread, [-0.12, -0.12], color=GREY, linewidth=2, solid_capstyle="butt")
            one.plot([summary.mean], [-0.12], "o", color=GREY, markersize=4)
        one.set_ylim(-0.25, 1.05)
        one.set_yticks([])
        plain_spines(one)
        one.spines["left"].set_visible(False)
        one.tick_params(axis="x", labelsize=8)
        words, healthy = _words(summary)
        one.set_title(_caption(summary, len(words), inches_wide(one)), loc="left", fontsize=9)
        one.set_title(
            words, loc="right", fontsize=9, fontweight="normal" if healthy else "bold",
            color=GREY if healthy else VERMILLION,
        )  # fmt: skip
        if summary.dead_share == 1:
            one.set_facecolor("#fbe3d6")
    return axes


def gradient_norms(model: Any, x: Any, y: Any, ax: Axes | None = None) -> Axes:
    """How large the gradient is that arrives at each layer: the root mean square over the elements of its kernel.

    Beside it stands its ratio to that of the weights. Steps are the gradient times the learning rate, so that layers
    whose ratios differ by powers of ten learn at different speeds: gradients that vanish or explode.

    Args:
        model: A compiled model with weights.
        x: Samples.
        y: Targets, as in fit.
        ax: Where to draw; the one Axes of a new figure by default.

    Raises:
        RuntimeError: If the model has no weights yet, or is not compiled.
        ValueError: If the data don't fit the model.
    """
    check_model(model, "layer_gradients")
    weights = {layer.name: layer.weights for layer in model.layers}
    names, gradients, ratios = [], [], []
    for name, found in model.layer_gradients(x, y).items():
        # The kernel is the first weight with two axes; a layer may have none.
        place = next((i for i, gradient in enumerate(found) if np.ndim(gradient) > 1), None)
        if place is None:
            continue
        gradient, weight = _rms(found[place]), _rms(weights[name][place])
        names.append(name)
        gradients.append(gradient)
        ratios.append(gradient / weight if weight else math.inf)
    ax = one_axes(ax, 6.5, 1.3 + 0.55 * len(names))
    drawn = [value for value in (*gradients, *ratios) if math.isfinite(value) and value > 0]
    low = 10.0 ** math.floor(math.log10(min(drawn, default=0.1)) - 0.3)
    high = max(drawn, default=1.0)
    ax.set_xscale("log")
    for values, offset, label, color in (
        (gradients, -0.19, "RMS of the gradient", BLUE),
        (ratios, 0.19, "its ratio to the RMS of the weights", "#E69F00"),
    ):
        seen = [value if math.isfinite(value) and value > low else low for value in values]
        places = np.arange(len(names)) + offset
        ax.barh(places, np.subtract(seen, low), left=low, height=0.36, color=color, label=label)
        for place, value, end in zip(places, values, seen):
            fine = math.isfinite(value) and value > 0
            text = f"{value:.2g}" if fine else _why_not(value, values is ratios)
            ax.annotate(
                text, (end, place), (3, 0), textcoords="offset points", va="center", fontsize=8,
                color="black" if fine else VERMILLION,
            )  # fmt: skip
    # The numbers behind the longest bars need room, which is a factor on a log scale.
    ax.set_xlim(low, high * (high / low) ** 0.2)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("root mean square over the kernel's elements")
    ax.set_title("Gradient of the loss by layer", pad=22)
    # Between title and axes, where no bar can be.
    ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2)
    plain_spines(ax)
    return ax


def _caption(summary: ActivationSummary, taken: int, width: float) -> str:
    """What a layer is, as far as it has room on a line beside so many other letters."""
    units = f"{summary.units} unit{'s' * (summary.units != 1)}"
    described = ", ".join(part for part in (summary.activation, units) if part)
    numbers = f"mean {summary.mean:.3g}, std {summary.std:.3g}"
    for caption in (f"{summary.layer} ({described}): {numbers}", f"{summary.layer} ({described})", summary.layer):
        if (len(caption) + taken + 2) * 0.075 < width:  # a letter of 9 points is about so wide
            return caption
    return summary.layer


def _why_not(value: float, ratio: bool) -> str:
    """Words in place of a bar."""
    if value == 0:
        return "0" if ratio else "0: no gradient arrives"
    return "the weights are 0" if ratio and math.isinf(value) else "not finite"


def _rms(values: Any) -> float:
    """Root of the mean square; in double precision, for small gradients have no square in float32."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))


def _image_shape(model: Any, k: int, shape: Sequence[int] | None) -> tuple[int, int]:
    """Rows and columns of an image of k inputs."""
    if shape is not None:
        sizes = tuple(positive_int("a size in shape", size) for size in shape)
        if len(sizes) != 2 or math.prod(sizes) != k:
            raise ValueError(
                f"shape is {sizes} but the first layer has {k} inputs: expected "
                f"(rows, columns) with rows * columns = {k}"
            )
        return sizes[0], sizes[1]
    sizes = tuple(size for size in model.input_shape[1:] if size != 1)
    if len(sizes) == 2 and math.prod(sizes) == k:
        return sizes[0], sizes[1]
    side = math.isqrt(k)
    if side * side != k or len(sizes) > 2:
        raise ValueError(
            f"the first layer has {k} inputs, of samples of shape {tuple(model.input_shape[1:])}, which are no square "
            f"image. Pass shape=(rows, columns) with rows * columns = {k}, for instance shape=(1, {k})"
        )
    return side, side


def _outputs(model: Any, x: Any) -> list[tuple[str, str, np.ndarray]]:
    """Name, activation and output (samples, units) of each layer that computes something."""
    check_model(model, "layer_outputs")
    silent = {layer.name for layer in model.layers if isinstance(layer, (InputLayer, Flatten))}
    activations = {layer.name: _activation(layer) for layer in model.layers}
    outputs = model.layer_outputs(x)
    found = [
        (name, activations.get(name, ""), np.asarray(out).reshape(len(out), -1))
        for name, out in outputs.items()
        if name in activations and name not in silent
    ]
    if not found:
        raise ValueError(f"model {model.name!r} has no layer that computes anything; add a Dense layer")
    if len(found[0][2]) < 2:
        raise ValueError(
            f"x has {len(found[0][2])} sample, on which every unit is constant. Pass at least two, better hundreds"
        )
    return found


def _activation(layer: Any) -> str:
    """Name of the activation that made a layer's output, "" if there is none."""
    function = getattr(layer, "activation", None)
    if function is None:
        return ""
    return function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)


def _summary(name: str, activation: str, out: np.ndarray) -> ActivationSummary:
    good = np.isfinite(out)
    finite = good.all(axis=0)
    # In double precision: sums of many float32 lose digits, and a constant would get a spread.
    values = out[good].astype(np.float64)
    whole = out[:, finite]
    dead = np.ptp(whole, axis=0) == 0  # a relu that is never above 0 is 0 throughout
    saturated = np.zeros(whole.shape[1], bool)
    if activation in _LIMITS:
        low, high = _LIMITS[activation]
        saturated = np.mean((whole <= low + _NEAR) | (whole >= high - _NEAR), axis=0) > _MOST
    units = out.shape[1]
    return ActivationSummary(
        layer=name,
        mean=float(values.mean()) if values.size else math.nan,
        std=float(values.std()) if values.size else math.nan,
        dead_share=int(dead.sum()) / units,
        saturated_share=int(saturated.sum()) / units,
        units=units,
        activation=activation,
        not_finite_share=1 - int(finite.sum()) / units,
    )


def _words(summary: ActivationSummary) -> tuple[str, bool]:
    """What is wrong with a layer's units, or that nothing is."""
    found = []
    for share, what in (
        (summary.not_finite_share, "not finite"),
        (summary.dead_share, "dead"),
        (summary.saturated_share, "saturated"),
    ):
        number = round(share * summary.units)
        if number == summary.units:
            found.append(f"every unit {what}" if number > 1 else f"the unit {what}")
        elif number:
            found.append(f"{number} of {summary.units} units {what}")
    if found:
        return ", ".join(found), False
    return "no unit dead" + (" or saturated" if summary.activation in _LIMITS else ""), True
