"""Regularizers: penalties on weights that a layer adds to the loss.

>>> from fastmlp.regularizers import L2
>>> L2(0.5)([[1.0, 2.0], [0.0, 3.0]])
7.0
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import known_name, named_class, number, resolve
from .serialization import Configurable, deserialize

# Keras divides no row by less.
_LEAST_NORM = 1e-7


class Regularizer(Configurable, kind="regularizer"):
    """Base of the regularizers."""

    def __call__(self, w: Any) -> float:
        """Penalty of the weights w."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")


class L1L2(Regularizer):
    """l1 * sum |w| + l2 * sum w^2.

    Args:
        l1: Price of the sum of magnitudes, at least 0.
        l2: Price of the sum of squares, at least 0.

    Raises:
        ValueError: If one is negative or not finite.
        TypeError: If one is no number.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = number("l1", 0.0 if l1 is None else l1, 0.0)
        self.l2 = number("l2", 0.0 if l2 is None else l2, 0.0)

    def __call__(self, w: Any) -> float:
        """Penalty of the weights w, summed in float64."""
        w = np.asarray(w, np.float64)
        # A price of 0 is left out, so that it is free even where a sum is infinite.
        penalty = self.l1 * np.abs(w).sum() if self.l1 else 0.0
        return float(penalty + self.l2 * np.square(w).sum() if self.l2 else penalty)


class L1(L1L2):
    """l1 * sum |w|, which drives weights to zero.

    Args:
        l1: Price of the sum of magnitudes, at least 0; None is 0.01.

    Raises:
        ValueError: If it is negative or not finite.
        TypeError: If it is no number.
    """

    def __init__(self, l1: float = 0.01):
        super().__init__(l1=0.01 if l1 is None else l1)


class L2(L1L2):
    """l2 * sum w^2, which keeps weights small. Without a factor 1/2, so its gradient is 2 * l2 * w.

    Args:
        l2: Price of the sum of squares, at least 0; None is 0.01.

    Raises:
        ValueError: If it is negative or not finite.
        TypeError: If it is no number.
    """

    def __init__(self, l2: float = 0.01):
        super().__init__(l2=0.01 if l2 is None else l2)


class OrthogonalRegularizer(Regularizer):
    """factor times the mean of |cos| over all pairs of rows (or columns) of a matrix.

        u_i = w_i / max(|w_i|, 1e-7)
        factor * sum_{i<j} |u_i . u_j| / (r (r - 1) / 2)        of r rows

    Args:
        factor: Price, at least 0.
        mode: Whether "rows" or "columns" shall be at right angles. Of a Dense kernel (inputs, units), a row is what
            one input sends, a column what one unit receives.

    Raises:
        ValueError: If factor is negative or not finite, or mode is neither.
        TypeError: If factor is no number.

    >>> OrthogonalRegularizer(1.0)([[1.0, 0.0], [0.0, 5.0], [0.0, 2.0]])  # one of three pairs is parallel
    0.3333333333333333
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = number("factor", factor, 0.0)
        self.mode = known_name("mode", mode, ("rows", "columns"))

    def __call__(self, w: Any) -> float:
        """Penalty of the matrix w; 0 if there is no pair."""
        w = np.asarray(w, np.float64)
        if w.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer is for matrices, got shape {w.shape}")
        if self.mode == "columns":
            w = w.T
        unit = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), _LEAST_NORM)
        product = np.abs(unit @ unit.T)
        pairs = len(w) * (len(w) - 1) / 2
        return float(self.factor * np.triu(product, 1).sum() / pairs) if pairs else 0.0


# Keras has the classes under these names too.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

_NAMES: dict[str, type[Regularizer]] = {
    "l1": L1,
    "l2": L2,
    "l1_l2": L1L2,
    "orthogonal_regularizer": OrthogonalRegularizer,
}


#: What get takes for a regularizer.
Identifier = str | Regularizer | type[Regularizer] | dict[str, Any]


def get(identifier: Any) -> Regularizer | None:
    """Regularizer from an object, a class, a name in Keras's spellings or a dictionary of `serialize`; None is None.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.

    >>> get("l2"), get("OrthogonalRegularizer"), get(None)
    (L2(l2=0.01), OrthogonalRegularizer(factor=0.01, mode='rows'), None)
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        return deserialize(identifier, "regularizer")
    return resolve("a regularizer", identifier, Regularizer, _by_name)


def _by_name(name: str) -> Regularizer:
    return named_class("regularizer", name, _NAMES)()
