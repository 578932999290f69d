"""Activation functions of arrays, by the kernels that the layers use.

>>> from fastmlp.activations import relu
>>> relu([-1.0, 2.0])
array([0., 2.], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .checks import known_name
from .kernels import activations as _kernels

#: Names that Dense(activation=...) takes.
NAMES = _kernels.NAMES


def _floats(x: Any) -> np.ndarray:
    array = np.asarray(x)
    return np.array(
        array, np.float64 if array.dtype == np.float64 and isinstance(x, np.ndarray) else np.float32, order="C"
    )


def linear(x: Any) -> np.ndarray:
    """x itself."""
    return _floats(x)


def step(x: Any) -> np.ndarray:
    """1 where x > 0, else 0. It has no gradient: a network with it predicts, but can't be trained through it."""
    a = _floats(x)
    _kernels.step(a, a)
    return a


def sigmoid(x: Any) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    a = _floats(x)
    _kernels.sigmoid(a, a)
    return a


def tanh(x: Any) -> np.ndarray:
    """Hyperbolic tangent."""
    a = _floats(x)
    _kernels.tanh(a, a)
    return a


def relu(x: Any) -> np.ndarray:
    """max(x, 0)."""
    a = _floats(x)
    _kernels.relu(a, a)
    return a


def softmax(x: Any) -> np.ndarray:
    """exp(x_j) / sum_k exp(x_k) along the last axis, which sums to 1."""
    a = _floats(x)
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"softmax needs at least one number along the last axis, got shape {a.shape}")
    rows = a.reshape(-1, a.shape[-1])
    _kernels.softmax(rows, rows)
    return a


_FUNCTIONS: dict[str, Callable[[Any], np.ndarray]] = {name: globals()[name] for name in NAMES}


def get(identifier: Any) -> str:
    """Name of an activation given by name in any case, by one of this module's functions, or None for linear.

    Raises:
        ValueError: If the name is unknown; it names the nearest known one.
        TypeError: If it is neither a name nor one of these functions.
    """
    if identifier is None:
        return "linear"
    if isinstance(identifier, str):
        return known_name("activation", identifier, NAMES)
    for name, function in _FUNCTIONS.items():
        if identifier is function:
            return name
    raise TypeError(
        f"activation must be a name or a function of fastmlp.activations, got {identifier!r}. Known: {', '.join(NAMES)}"
    )
