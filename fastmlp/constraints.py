"""Constraints: what weights are turned into after each step, to stay within bounds.

Norms are taken along an axis: of a Dense kernel (inputs, units), axis 0 gives one for each unit.

>>> from fastmlp.constraints import MaxNorm
>>> MaxNorm(1.0)([[3.0, 0.3], [4.0, 0.4]]).round(3)
array([[0.6, 0.3],
       [0.8, 0.4]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import named_class, number, positive_int, resolve
from .serialization import Configurable, deserialize

#: What Keras adds to norms before it divides by them.
EPSILON = 1e-7


class Constraint(Configurable, kind="constraint"):
    """Base of the constraints."""

    def __call__(self, w: Any) -> np.ndarray:
        """The weights that take the place of w; w stays as it is."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")


class MaxNorm(Constraint):
    """Norms of at most max_value: w * min(|w|, max_value) / (|w| + 1e-7).

    Args:
        max_value: Largest norm, at least 0.
        axis: Along which norms are taken, 0 or 1.

    Raises:
        ValueError: If max_value is negative or not finite, or axis is neither 0 nor 1.
        TypeError: If max_value is no number or axis no integer.
    """

    def __init__(self, max_value: float = 2, axis: int = 0):
        self.max_value = number("max_value", max_value, 0.0)
        self.axis = _axis(axis)

    def __call__(self, w: Any) -> np.ndarray:
        """The weights that take the place of w; w stays as it is."""
        w = _floats(w)
        norms = _norms(w, self.axis)
        return w * (np.minimum(norms, self.max_value) / (norms + EPSILON))


class NonNeg(Constraint):
    """No weight below 0: max(w, 0)."""

    def __call__(self, w: Any) -> np.ndarray:
        """The weights that take the place of w; w stays as it is."""
        return np.maximum(_floats(w), 0)


class UnitNorm(Constraint):
    """Norms of 1: w / (|w| + 1e-7).

    Args:
        axis: Along which norms are taken, 0 or 1.

    Raises:
        ValueError: If axis is neither 0 nor 1.
        TypeError: If axis is no integer.
    """

    def __init__(self, axis: int = 0):
        self.axis = _axis(axis)

    def __call__(self, w: Any) -> np.ndarray:
        """The weights that take the place of w; w stays as it is."""
        w = _floats(w)
        return w / (_norms(w, self.axis) + EPSILON)


class MinMaxNorm(Constraint):
    """Norms that move into [min_value, max_value].

        target = (1 - rate) |w| + rate min(max(|w|, min_value), max_value)
        w * target / (|w| + 1e-7)

    Args:
        min_value: Smallest norm, at least 0.
        max_value: Largest norm, at least min_value.
        rate: Share of the way that is gone at each step, from 0 (none) to 1 (all).
        axis: Along which norms are taken, 0 or 1.

    Raises:
        ValueError: If a number is out of its range or not finite.
        TypeError: If axis is no integer or another no number.
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: int = 0):
        self.min_value = number("min_value", min_value, 0.0)
        self.max_value = number("max_value", max_value, 0.0)
        if self.max_value < self.min_value:
            raise ValueError(f"max_value must be at least min_value={min_value}, got {max_value}")
        self.rate = number("rate", rate, 0.0, 1.0)
        self.axis = _axis(axis)

    def __call__(self, w: Any) -> np.ndarray:
        """The weights that take the place of w; w stays as it is."""
        w = _floats(w)
        norms = _norms(w, self.axis)
        target = self.rate * np.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (target / (norms + EPSILON))


def _axis(axis: Any) -> int:
    if positive_int("axis", axis, 0) > 1:
        raise ValueError(f"axis must be 0 (norms over the inputs of each unit) or 1 (over its outputs), got {axis}")
    return int(axis)


def _floats(w: Any) -> np.ndarray:
    """w as an array in its own float type, anything else as float64."""
    w = np.asarray(w)
    return w if w.dtype.kind == "f" else w.astype(np.float64)


def _norms(w: np.ndarray, axis: int) -> np.ndarray:
    if axis >= w.ndim:
        raise ValueError(f"weights of shape {w.shape} have no axis {axis} to take norms along")
    return np.sqrt(np.sum(np.square(w), axis=axis, keepdims=True))


# Keras has the classes under these names too.
max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm

_NAMES: dict[str, type[Constraint]] = {
    "max_norm": MaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
    "min_max_norm": MinMaxNorm,
}


#: What get takes for a constraint.
Identifier = str | Constraint | type[Constraint] | dict[str, Any]


def get(identifier: Any) -> Constraint | None:
    """Constraint from an object, a class, a name in Keras's spellings or a dictionary of `serialize`; None is None.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.

    >>> get("max_norm"), get("NonNeg"), get(None)
    (MaxNorm(max_value=2.0, axis=0), NonNeg(), None)
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        return deserialize(identifier, "constraint")
    return resolve("a constraint", identifier, Constraint, _by_name)


def _by_name(name: str) -> Constraint:
    return named_class("constraint", name, _NAMES)()
