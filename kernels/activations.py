"""Activation functions, each as a value and a slope.

To add one: its section with `<name>_value(z)` and `<name>_slope(a)` on vectors, its name in NAMES, a line in
`value` and one in `slope`; its twin goes into tests/reference.py. The slope is a function of the output a, so that
training keeps no z. Softmax mixes the units of a sample and has two parts of its own, which work on lanes (see
plan.py).
"""

import numpy as np

from ._jit import allocating_kernel, kernel, out_of_line, part
from .lanes import transpose
from .simd import element, exp, fma, lanes, load, load_first, maximum, splat, store, store_first, where_less
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


@part
def softmax_lanes(z, at, row, units):
    """Softmax of a line of samples in place, unit j at `at + j * row`.

    source  Blanchard, Higham & Higham (2021), IMA J. Numer. Anal. 41(4): shifted by the maximum
    """
    top = load(z, at)
    for j in range(1, units):
        top = maximum(top, load(z, at + j * row))
    total = splat(z, 0)
    for j in range(units):
        e = exp(load(z, at + j * row) - top)
        store(z, at + j * row, e)
        total = total + e
    scale = splat(z, 1) / total
    for j in range(units):
        store(z, at + j * row, load(z, at + j * row) * scale)


@part
def softmax_lanes_backward(a, delta, at, row, units):
    """delta_j = a_j (delta_j - sum_k delta_k a_k), in place, for a line of samples."""
    mean = splat(a, 0)
    for j in range(units):
        mean = fma(load(a, at + j * row), load(delta, at + j * row), mean)
    for j in range(units):
        here = at + j * row
        store(delta, here, load(a, here) * (load(delta, here) - mean))


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
def activate(code, a, at, row, rows, units, bias, bias_at):
    """Add the bias and apply the activation, not softmax, in place to `rows` rows of whole lines.

    bias   that of unit j at bias_at + j
    """
    out_of_line()
    line = lanes(a)
    for i in range(at, at + rows * row, row):
        for j in range(0, units, line):
            store(a, i + j, value(code, load(a, i + j) + load(bias, bias_at + j)))


@kernel
def activate_backward(code, a, delta, at, row, rows, units):
    """Turn the gradient by a into the gradient by z, in place; a and delta have the same layout."""
    out_of_line()
    line = lanes(a)
    if code != LINEAR:
        for i in range(rows):
            for j in range(0, units, line):
                here = at + i * row + j
                store(delta, here, load(delta, here) * slope(code, load(a, here)))


@kernel
def activate_lanes(code, a, at, row, units, samples, bias, bias_at):
    """Add the bias and apply the activation in place, in lanes.

    a      unit j of `samples` samples, whole lines, at `at + j * row`
    bias   that of unit j at bias_at + j
    """
    out_of_line()
    line = lanes(a)
    for j in range(units):
        own = splat(a, element(bias, bias_at + j))
        here = at + j * row
        for i in range(here, here + samples, line):
            store(a, i, value(code, load(a, i) + own))
    if code == SOFTMAX:
        for i in range(at, at + samples, line):
            softmax_lanes(a, i, row, units)


@kernel
def activate_lanes_backward(code, a, delta, at, row, units, samples):
    """Turn the gradient by a into the gradient by z, in place, in lanes; a and delta have the same layout."""
    out_of_line()
    if code == SOFTMAX:
        for i in range(at, at + samples, lanes(a)):
            softmax_lanes_backward(a, delta, i, row, units)
    else:
        activate_backward(code, a, delta, at, row, units, samples)


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


@allocating_kernel
def softmax(z, a):
    """Each row of a is the softmax of the row of z: exp(z_j - max z) / sum_j exp(z_j - max z).

    z   (n, m)  C-ordered, read
    a   (n, m)  written; may be z
    """
    n, units = z.shape
    line = lanes(z)
    block = np.zeros(units * line, z.dtype)
    source, target = z.reshape(z.size), a.reshape(a.size)
    for i in range(0, n, line):
        rows = min(line, n - i)
        transpose(source, i * units, units, rows, units, block, 0, line)
        softmax_lanes(block, 0, line, units)
        transpose(block, 0, line, units, rows, target, i * units, units)
