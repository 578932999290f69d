"""The network as it predicts: a row of small steps, each with its numbers; every export is written from them.

What only training knows is gone: dropout, noise, penalties. Normalizations by fixed numbers are one product and one sum
for each number of a sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.plan import DENSE, Stage

if TYPE_CHECKING:
    from fastmlp.models import Sequential


@dataclass(frozen=True)
class Step:
    """Base of the steps.

    Attributes:
        layer: Name of the layer that it comes from, for errors.
        units: Numbers of a sample that leave it.
    """

    layer: str
    units: int


@dataclass(frozen=True)
class Affine(Step):
    """x weights + bias: weights (inputs, units), bias (units,)."""

    weights: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Scale(Step):
    """x factor + offset, each number of a sample by its own: both (units,)."""

    factor: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class LayerNormalization(Step):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta over the units of a sample, (units,) both.

    With rms_scaling x itself is divided by the deviation, not its distance from the mean.
    """

    gamma: np.ndarray
    beta: np.ndarray
    epsilon: float
    rms_scaling: bool


@dataclass(frozen=True)
class PReLU(Step):
    """x, below zero slope x; slope (units,)."""

    slope: np.ndarray


@dataclass(frozen=True)
class Activation(Step):
    """A function of kernels.activations.NAMES with its numbers."""

    name: str
    numbers: tuple[float, ...]


def steps_of(model: Sequential, *, fold: bool = False) -> list[Step]:
    """What `predict` does to a flat sample, in float64; arrays are copies.

    Args:
        model: A model that has weights.
        fold: Whether a Scale is multiplied into an Affine beside it: fewer steps, which differ by rounding.

    Raises:
        RuntimeError: If the model has no weights yet.
    """
    layout = model._need_built()
    made: list[Step] = []
    if layout.scale != 1:
        made.append(Scale("rescaling", layout.inputs, *_same(layout.inputs, layout.scale, 0.0)))
    for i, stage in enumerate(layout.stages):
        owner = model._layers[stage.owner].name if stage.owner >= 0 else stage.activation[0]
        made += _operation(owner, stage, [view.astype(np.float64) for view in layout.views(model._theta, i)])
        name, numbers = stage.activation
        if name != "linear":
            made.append(Activation(owner, stage.units, name, numbers))
    return folded(made) if fold else made


def _same(units: int, *values: float) -> list[np.ndarray]:
    return [np.full(units, value) for value in values]


def _operation(owner: str, stage: Stage, arrays: Sequence[np.ndarray]) -> list[Step]:
    numbers = stage.numbers
    if stage.kind == DENSE:
        return [Affine(owner, stage.units, *arrays)]
    if stage.kind == "rescaling":
        return [Scale(owner, stage.units, *_same(stage.units, *numbers))]
    if stage.kind == "normalization":
        mean, root = arrays[0], np.maximum(np.sqrt(arrays[1]), 1e-7)
        factor, offset = (root, mean) if numbers[0] else (1 / root, -mean / root)
        return [Scale(owner, stage.units, factor, offset)]
    if stage.kind == "batch_normalization":
        gamma, beta, mean, variance = arrays
        factor = gamma / np.sqrt(variance + numbers[1])
        return [Scale(owner, stage.units, factor, beta - mean * factor)]
    if stage.kind == "layer_normalization":
        return [LayerNormalization(owner, stage.units, arrays[0], arrays[1], numbers[0], bool(numbers[3]))]
    if stage.kind == "prelu":
        return [PReLU(owner, stage.units, *arrays)]
    return []  # identity, and what only training knows: dropout, noise, activity


def folded(steps: Sequence[Step]) -> list[Step]:
    """The same with each Scale multiplied into a Scale or an Affine beside it."""
    made: list[Step] = []
    for step in steps:
        before = made[-1] if made else None
        if isinstance(step, Scale) and isinstance(before, Affine):
            made[-1] = dataclasses.replace(
                before, weights=before.weights * step.factor, bias=before.bias * step.factor + step.offset
            )
        elif isinstance(step, Scale) and isinstance(before, Scale):
            factor, offset = before.factor * step.factor, before.offset * step.factor + step.offset
            made[-1] = dataclasses.replace(step, factor=factor, offset=offset)
        elif isinstance(step, Affine) and isinstance(before, Scale):
            weights = before.factor[:, None] * step.weights
            made[-1] = dataclasses.replace(step, weights=weights, bias=step.bias + before.offset @ step.weights)
        else:
            made.append(step)
    return made
