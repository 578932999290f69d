"""Activation functions of arrays, by the kernels that the layers use.

>>> from fastmlp.activations import relu
>>> relu([-1.0, 2.0])
array([0., 2.], dtype=float32)

How far they may be off over all numbers of float32 and float64, in units of the last place:

    exact   linear, step, relu, relu6
    1       leaky_relu, hard_sigmoid, relu with other arguments
    2       tanh, exponential, softsign
    3       sigmoid, silu, softplus
    4       elu
    5       selu, mish
    7       gelu, on processors with fused multiply-add; 716 without, far below 0
    200     gelu's form by tanh in float32, 2000 in float64: only far below 0, where it has all but vanished

A result that is no normal number, or one of z times such a number, may be 0. NaN is kept, but step(NaN) is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import numbers as real_numbers
from .checks import known_name, number
from .kernels import activations as _kernels
from .kernels.plan import aligned_zeros

#: What an activation is to the kernels: a name of kernels.activations.NAMES, and its numbers.
Form = tuple[str, tuple[float, ...]]

# Names of Keras's whose kernel is another, or takes numbers.
_FORMS: dict[str, Form] = {
    "leaky_relu": ("leaky_relu", (0.2,)),
    "elu": ("elu", (1.0,)),
}

_ALIASES = {"swish": "silu"}


def form(name: str) -> Form:
    """The kernels' form of an activation by its name."""
    return _FORMS.get(name, (name, ()))


def relu_form(negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Form:
    """The kernels' form of a relu with Keras's arguments."""
    slope = number("negative_slope", negative_slope, 0.0, math.inf)
    high = math.inf if max_value is None else number("max_value", max_value, 0.0, math.inf)
    low = number("threshold", threshold, 0.0, math.inf)
    if low == 0 and slope == 0 and high in (6, math.inf):
        return ("relu6" if high == 6 else "relu"), ()
    if low == 0 and high == math.inf:
        return "leaky_relu", (slope,)
    return "general_relu", (slope, high, low)


def _floats(x: Any) -> np.ndarray:
    array = real_numbers("x", x)
    with np.errstate(over="ignore"):
        return np.array(
            array, np.float64 if array.dtype == np.float64 and isinstance(x, np.ndarray) else np.float32, order="C"
        )


def apply(form: Form, x: Any) -> np.ndarray:
    """The activation of that form of an array; softmax and log-softmax along its last axis."""
    array = _floats(x)
    name, numbers = form
    mixes = "softmax" in name
    if mixes and (array.ndim == 0 or array.shape[-1] == 0):
        raise ValueError(f"{name} needs at least one number along the last axis, got shape {array.shape}")
    units = array.shape[-1] if mixes else array.size
    rows = array.size // max(units, 1)
    width = -(-units // 16) * 16
    a = aligned_zeros((max(rows, 1), max(width, 16)), array.dtype)
    a[:rows, :units] = array.reshape(rows, units)
    none = np.zeros(0, array.dtype)
    # As rows of a matrix; their bias is zeros.
    kernel, _ = _kernels.FORMS[name]
    kernel(np.array(numbers), 0, a.reshape(-1), none, 0, a.shape[1], rows, units, np.zeros_like(a[0]), 0, 0)
    return a[:rows, :units].reshape(array.shape)


def linear(x: Any) -> np.ndarray:
    """x itself."""
    return _floats(x)


def step(x: Any) -> np.ndarray:
    """1 where x > 0, else 0. It has no gradient: a network with it predicts, but can't be trained through it."""
    return apply(form("step"), x)


def sigmoid(x: Any) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return apply(form("sigmoid"), x)


def hard_sigmoid(x: Any) -> np.ndarray:
    """x / 6 + 1/2 within [0, 1]."""
    return apply(form("hard_sigmoid"), x)


def tanh(x: Any) -> np.ndarray:
    """Hyperbolic tangent."""
    return apply(form("tanh"), x)


def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> np.ndarray:  # fmt: skip
    """max(x, 0), or in general x from threshold to max_value, max_value beyond, negative_slope (x - threshold) below.

    Raises:
        ValueError: If a number is negative.
    """
    return apply(relu_form(negative_slope, max_value, threshold), x)


def relu6(x: Any) -> np.ndarray:
    """min(max(x, 0), 6)."""
    return apply(form("relu6"), x)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> np.ndarray:
    """x, below zero negative_slope x. 0.2 is Keras's default."""
    return apply(relu_form(negative_slope), x)


def elu(x: Any, alpha: float = 1.0) -> np.ndarray:
    """x, below zero alpha (exp(x) - 1)."""
    return apply(("elu", (float(alpha),)), x)


def selu(x: Any) -> np.ndarray:
    """1.0507 times elu(x, 1.6733): keeps mean 0 and variance 1 from layer to layer with "lecun_normal" weights."""
    return apply(form("selu"), x)


def gelu(x: Any, approximate: bool = False) -> np.ndarray:
    """x times the normal distribution function of x; approximate: its form by tanh."""
    return apply(form("gelu_approximate" if approximate else "gelu"), x)


def silu(x: Any) -> np.ndarray:
    """x sigmoid(x), also called swish."""
    return apply(form("silu"), x)


def mish(x: Any) -> np.ndarray:
    """x tanh(softplus(x))."""
    return apply(form("mish"), x)


def softplus(x: Any) -> np.ndarray:
    """log(1 + exp(x))."""
    return apply(form("softplus"), x)


def softsign(x: Any) -> np.ndarray:
    """x / (1 + |x|)."""
    return apply(form("softsign"), x)


def exponential(x: Any) -> np.ndarray:
    """exp(x)."""
    return apply(form("exponential"), x)


def softmax(x: Any) -> np.ndarray:
    """exp(x_j) / sum_k exp(x_k) along the last axis, which sums to 1."""
    return apply(form("softmax"), x)


def log_softmax(x: Any) -> np.ndarray:
    """Logarithm of softmax."""
    return apply(form("log_softmax"), x)


swish = silu

#: Names that Dense(activation=...) takes.
NAMES = (
    "linear",
    "step",
    "sigmoid",
    "hard_sigmoid",
    "tanh",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "exponential",
    "softmax",
    "log_softmax",
)

_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {name: globals()[name] for name in NAMES}


#: What get takes for an activation.
Identifier = str | Callable[..., Any]


def get(identifier: Any) -> str:
    """Name of an activation given by name in any case, by one of this module's functions, or None for linear.

    Raises:
        ValueError: If the name is unknown; it names the nearest known one.
        TypeError: If it is neither a name nor one of these functions.
    """
    if identifier is None:
        return "linear"
    if isinstance(identifier, str):
        name = known_name("activation", identifier, (*NAMES, *_ALIASES))
        return _ALIASES.get(name, name)
    for name, function in _FUNCTIONS.items():
        if identifier is function:
            return name
    raise TypeError(
        f"activation must be a name or a function of fastmlp.activations, got {identifier!r}. Known: {', '.join(NAMES)}"
    )
