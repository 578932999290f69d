"""Activation functions, each as a value and a slope.

To add one: its section with `<name>_value(z)` and `<name>_slope(a)` on vectors, its name in NAMES, a line in
`value` and one in `slope`; its twin goes into tests/reference.py. The slope is a function of the output a, so that
training keeps no z. Softmax mixes the units of a row and has its own two kernels.
"""

import numpy as np

from ._jit import kernel, out_of_line, part
from .simd import (
    exp,
    fma,
    keep_first,
    lanes,
    load,
    load_first,
    max_lanes,
    maximum,
    splat,
    store,
    store_first,
    sum_lanes,
    where_less,
)
from .simd import tanh as tanh_lanes

#: The activation of code i is NAMES[i].
NAMES = ("linear", "step", "sigmoid", "tanh", "relu", "softmax")
LINEAR, STEP, SIGMOID, TANH, RELU, SOFTMAX = range(len(NAMES))

#: Codes without a usable gradient: a network that ends or passes through one can't be trained.
WITHOUT_GRADIENT = (STEP,)

# ------------------------------------------------------------------ step: 1 where z > 0, else 0


@part
def step_value(z):
    return where_less(splat(z, 0), z, splat(z, 1), splat(z, 0))


# ------------------------------------------------------------------ sigmoid: 1 / (1 + exp(-z))


@part
def sigmoid_value(z):
    one = splat(z, 1)
    return one / (one + exp(-z))


@part
def sigmoid_slope(a):
    return a * (splat(a, 1) - a)


# ------------------------------------------------------------------ tanh


@part
def tanh_value(z):
    return tanh_lanes(z)


@part
def tanh_slope(a):
    return fma(-a, a, splat(a, 1))


# ------------------------------------------------------------------ relu: max(z, 0); its slope at 0 is 0


@part
def relu_value(z):
    return maximum(z, splat(z, 0))


@part
def relu_slope(a):
    return where_less(splat(a, 0), a, splat(a, 1), splat(a, 0))


# ------------------------------------------------------------------ softmax: exp(z_j - max z) / sum_j


@kernel
def softmax_row(z, z_at, a, a_at, units):
    """Softmax of `units` numbers from z[z_at] into a[a_at]; reads and writes whole lines, zero beyond the units.

    source  Blanchard, Higham & Higham (2021), IMA J. Numer. Anal. 41(4): shifted by the maximum
    """
    line = lanes(a)
    low = load(z, z_at)
    top = keep_first(low, units, splat(a, -float("inf")))
    for j in range(line, units, line):
        top = maximum(top, keep_first(load(z, z_at + j), units - j, splat(a, -float("inf"))))
    shift = splat(a, max_lanes(top))
    zero = splat(a, 0)
    total = zero
    for j in range(0, units, line):
        e = keep_first(exp(load(z, z_at + j) - shift), units - j, zero)
        store(a, a_at + j, e)
        total = total + e
    scale = splat(a, 1) / splat(a, sum_lanes(total))
    for j in range(0, units, line):
        store(a, a_at + j, load(a, a_at + j) * scale)


@kernel
def softmax_row_backward(a, a_at, delta, delta_at, units):
    """delta_j = a_j (delta_j - sum_k delta_k a_k), in place, for one row whose lines are zero beyond the units."""
    line = lanes(a)
    total = splat(a, 0)
    for j in range(0, units, line):
        total = fma(load(a, a_at + j), load(delta, delta_at + j), total)
    mean = splat(a, sum_lanes(total))
    for j in range(0, units, line):
        store(delta, delta_at + j, load(a, a_at + j) * (load(delta, delta_at + j) - mean))


# ------------------------------------------------------------------ dispatch


@part
def value(code, z):
    """Activation of a vector."""
    if code == SIGMOID:
        return sigmoid_value(z)
    if code == RELU:
        return relu_value(z)
    if code == TANH:
        return tanh_value(z)
    if code == STEP:
        return step_value(z)
    return z


@part
def slope(code, a):
    """Derivative by z, as a function of the activation a."""
    if code == SIGMOID:
        return sigmoid_slope(a)
    if code == RELU:
        return relu_slope(a)
    if code == TANH:
        return tanh_slope(a)
    return splat(a, 1)


@kernel
def activate(code, a, at, row, rows, units):
    """Apply the activation in place to `rows` rows of whole lines."""
    out_of_line()
    line = lanes(a)
    if code == LINEAR:
        return
    for i in range(rows):
        if code == SOFTMAX:
            softmax_row(a, at + i * row, a, at + i * row, units)
        else:
            for j in range(0, units, line):
                store(a, at + i * row + j, value(code, load(a, at + i * row + j)))


@kernel
def activate_backward(code, a, delta, at, row, rows, units):
    """Turn the gradient by a into the gradient by z, in place; a and delta have the same layout."""
    out_of_line()
    line = lanes(a)
    if code == LINEAR:
        return
    for i in range(rows):
        if code == SOFTMAX:
            softmax_row_backward(a, at + i * row, delta, at + i * row, units)
        else:
            for j in range(0, units, line):
                here = at + i * row + j
                store(delta, here, load(delta, here) * slope(code, load(a, here)))


# ------------------------------------------------------------------ public: arrays of any shape


@kernel
def elementwise(code, z, a):
    """a = activation(z) for C-ordered arrays of the same size and dtype; a may be z.

    code   index into NAMES, not softmax
    z      any shape, read
    a      written
    """
    line = lanes(z)
    whole = z.size // line * line
    for i in range(0, whole, line):
        store(a, i, value(code, load(z, i)))
    if whole < z.size:
        store_first(a, whole, value(code, load_first(z, whole, z.size - whole)), z.size - whole)


@kernel
def step(z, a):
    """a = 1 where z > 0, else 0. z, a: C-ordered, one shape and dtype; a may be z."""
    elementwise(STEP, z, a)


@kernel
def sigmoid(z, a):
    """a = 1 / (1 + exp(-z)), within 3 ulp. z, a: C-ordered, one shape and dtype; a may be z."""
    elementwise(SIGMOID, z, a)


@kernel
def tanh(z, a):
    """a = tanh(z), within 2 ulp. z, a: C-ordered, one shape and dtype; a may be z."""
    elementwise(TANH, z, a)


@kernel
def relu(z, a):
    """a = max(z, 0). z, a: C-ordered, one shape and dtype; a may be z."""
    elementwise(RELU, z, a)


@kernel
def softmax(z, a):
    """Each row of a is the softmax of the row of z: exp(z_j - max z) / sum_j exp(z_j - max z).

    z   (n, m)  C-ordered, read
    a   (n, m)  written; may be z
    """
    units = z.shape[1]
    row = np.zeros(units + lanes(z), z.dtype)  # softmax_row works on whole lines
    for i in range(z.shape[0]):
        for j in range(units):
            row[j] = z[i, j]
        softmax_row(row, 0, row, 0, units)
        for j in range(units):
            a[i, j] = row[j]
