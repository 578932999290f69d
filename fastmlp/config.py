"""Settings of the process: the float type of new models."""

import numpy as np

from .checks import known_name

_floatx = "float32"


def floatx() -> str:
    """Float type of new models: "float32" unless set otherwise."""
    return _floatx


def set_floatx(value: str) -> None:
    """Let new models compute in "float32" (the default: twice as fast, and exact enough to train) or "float64".

    Raises:
        ValueError: For any other name.
    """
    global _floatx
    _floatx = known_name("float type", np.dtype(value).name if not isinstance(value, str) else value, _FLOATS)


_FLOATS = ("float32", "float64")


def epsilon() -> float:
    """Probabilities are clipped to [epsilon, 1 - epsilon] in the crossentropies: 1e-7, as in Keras."""
    from .kernels.losses import EPSILON

    return EPSILON
