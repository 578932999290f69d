"""to_categorical and set_random_seed, as in keras.utils."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import arrays, checks
from .memory import memory
from .random import set_random_seed

__all__ = ["set_random_seed", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows from class indices.

    Args:
        x: Class indices from 0, any shape, of any kind that fit takes; a last axis of 1 is dropped; floats are cut to
            integers.
        num_classes: Length of the rows; None takes the largest index + 1.

    Returns:
        float64, shape (*x.shape, num_classes): 1 at the class, 0 elsewhere.

    Raises:
        TypeError: If x holds no numbers.
        ValueError: If x is empty, an index is missing, negative, or num_classes or more.

    >>> from fastmlp.utils import to_categorical
    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    indices = arrays.numbers("x", x)
    checks.finite("x", indices)
    if indices.size and max(float(indices.max()), -float(indices.min())) >= 2**53:
        raise ValueError(f"x has class indices from {indices.min()} to {indices.max()}, which are too large for any")
    indices = indices.astype(np.int64)
    shape = indices.shape[:-1] if indices.ndim > 1 and indices.shape[-1] == 1 else indices.shape
    indices = indices.reshape(-1)
    if not indices.size:
        raise ValueError("x is empty: there is no class index to encode")
    classes = checks.positive_int("num_classes", num_classes) if num_classes else int(indices.max()) + 1
    wrong = (indices < 0) | (indices >= classes)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"x has the class index {indices[at]} at {at}, expected 0 to {classes - 1}")
    if 8 * indices.size * classes > memory():
        raise ValueError(f"{indices.size} rows of {classes} classes are more than the memory of this machine holds")
    rows = np.zeros((indices.size, classes))
    rows[np.arange(indices.size), indices] = 1
    return rows.reshape(*shape, classes)
