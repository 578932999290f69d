"""Activation functions: for each a kernel forward and one backward, which the epoch calls by address.

To add one: its section with parts on vectors, and a line in _OUTPUT or _INPUT; its twin goes into tests/twins.py.
A function is either given by

    value(z, numbers, at) and slope(a, numbers, at)   the slope a function of the output a, so that training keeps
                                                      nothing else
    value_and_slope(z, numbers, at)                   both at once; training keeps the slope

where its own numbers, if it has any, are numbers[at], numbers[at + 1] ... Softmax and log-softmax mix the units of a
sample and have kernels of their own.

Activations lie in rows or, at a network's end, in lanes (see plan.py); the kernels serve both:

    forward(numbers, numbers_at, a, slopes, at, row, rows, units, bias, bias_at, in_lanes)
        a        holds z without the bias, becomes the activation of z + bias: `rows` rows of `units` numbers, whole
                 lines, from `at` on, `row` apart
        slopes   of a's layout, written by the functions that need it, or (0,) where nothing is trained
        bias     in rows that of unit j is bias[bias_at + j]; in lanes, where a row is a unit, bias[bias_at + its row]
    backward(numbers, numbers_at, a, slopes, delta, at, row, rows, units, in_lanes)
        delta    of a's layout: the gradient by a becomes the gradient by z; zeros that fill up a row stay zeros
"""

import math

import numpy as np

from ._jit import allocating_kernel, kernel, out_of_line, part
from .lanes import transpose
from .simd import (
    absolute,
    element,
    exp,
    fma,
    keep_first,
    lanes,
    load,
    load_first,
    log,
    maximum,
    minimum,
    splat,
    store,
    store_first,
    sum_lanes,
    where_at_most,
    where_equal,
    where_less,
)
from .simd import tanh as tanh_lanes

#: Arguments of the two kernels, see by_address.address.
FORWARD, BACKWARD = "fiaaiiiiaii", "fiaaaiiiii"

# ------------------------------------------------------------------ parts that several functions share


@part
def expm1(x):
    """exp(x) - 1 without loss of digits near 0.

    source  Higham (2002), Accuracy and Stability of Numerical Algorithms, section 1.14.1
    """
    one = splat(x, 1)
    u = exp(x)
    small = where_equal(u, one, x, (u - one) * x / where_equal(u, one, one, log(u)))
    # Where exp(x) is 0 or infinite the quotient is not a number.
    return where_less(x, splat(x, -40), -one, where_less(splat(x, 40), x, u, small))


@part
def log1p(x):
    """log(1 + x) for x >= 0, likewise."""
    one = splat(x, 1)
    u = one + x
    return where_equal(u, one, x, log(u) * x / where_equal(u, one, one, u - one))


@part
def logistic(z):
    """1 / (1 + exp(-z))."""
    one = splat(z, 1)
    return one / (one + exp(-z))


@part
def sign(x):
    """-1, 0 or 1."""
    zero = splat(x, 0)
    return where_less(zero, x, splat(x, 1), where_less(x, zero, splat(x, -1), x))


@part
def log_of_sum(z):
    """log(1 + exp(z))."""
    return maximum(z, splat(z, 0)) + log1p(exp(-absolute(z)))


# Of erfc between 0.46875 and 4, and beyond: numerators and denominators but for their first coefficients.
_MIDDLE = (
    (5.64188496988670089e-1, 8.88314979438837594e00, 6.61191906371416295e01, 2.98635138197400131e02,
     8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03, 1.23033935479799725e03),
    (1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03, 3.29079923573345963e03,
     4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03),
)  # fmt: skip
_FAR = (
    (3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2,
     6.58749161529837803e-4),
    (1.87295284992346725e00, 5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


@part
def normal(z):
    """(Phi(z), exp(-z^2 / 2)): the normal distribution function, by erfc where 1/2 + erf/2 would cancel.

    source  Cody (1969), Mathematics of Computation 23: rational approximations
    """
    zero, one, half = splat(z, 0), splat(z, 1), splat(z, 0.5)
    size = minimum(absolute(z), splat(z, 64))  # beyond, all is 0 or 1
    # exp(-z^2 / 2) by what the rounding of z^2 / 2 took off, which an exponential of large arguments shows.
    square = half * size * size
    bell = exp(-square)
    bell = fma(-fma(half * size, size, -square), bell, bell)
    x = size * splat(z, _ROOT_HALF)
    # erf to 0.46875
    near = minimum(square, one)
    top = splat(z, 1.85777706184603153e-1)
    for c in (3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02, 3.20937758913846947e03):
        top = fma(top, near, splat(z, c))
    bottom = near + splat(z, 2.36012909523441209e01)
    for c in (2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03):
        bottom = fma(bottom, near, splat(z, c))
    inner = half * x * top / bottom
    # erfc(x) exp(x^2) to 4
    y = minimum(x, splat(z, 4))
    top = splat(z, 2.15311535474403846e-8)
    for c in _MIDDLE[0]:
        top = fma(top, y, splat(z, c))
    bottom = y + splat(z, 1.57449261107098347e01)
    for c in _MIDDLE[1]:
        bottom = fma(bottom, y, splat(z, c))
    tail = top / bottom
    # from 4 on
    inverse = one / maximum(square, one)
    top = splat(z, 1.63153871373020978e-2)
    for c in _FAR[0]:
        top = fma(top, inverse, splat(z, c))
    bottom = inverse + splat(z, 2.56852019228982242e00)
    for c in _FAR[1]:
        bottom = fma(bottom, inverse, splat(z, c))
    far = (splat(z, 0.56418958354775628695) - inverse * top / bottom) / maximum(x, one)
    tail = half * bell * where_less(splat(z, 4), x, far, tail)
    outer = where_less(z, zero, tail, one - tail)
    inner = where_less(z, zero, half - inner, half + inner)
    return where_at_most(x, splat(z, 0.46875), inner, outer), bell


# ------------------------------------------------------------------ linear


@part
def linear_value(z, numbers, at):
    return z


# ------------------------------------------------------------------ step: 1 where z > 0, else 0; it has no gradient


@part
def step_value(z, numbers, at):
    return where_less(splat(z, 0), z, splat(z, 1), splat(z, 0))


# ------------------------------------------------------------------ sigmoid: 1 / (1 + exp(-z))


@part
def sigmoid_value(z, numbers, at):
    return logistic(z)


@part
def sigmoid_slope(a, numbers, at):
    return a * (splat(a, 1) - a)


# ------------------------------------------------------------------ hard sigmoid: z / 6 + 1/2 within [0, 1]


@part
def hard_sigmoid_value(z, numbers, at):
    six = splat(z, 6)
    return minimum(maximum(z + splat(z, 3), splat(z, 0)), six) / six


@part
def hard_sigmoid_slope(a, numbers, at):
    inside = where_less(a, splat(a, 1), splat(a, 1 / 6), splat(a, 0))
    return where_less(splat(a, 0), a, inside, splat(a, 0))


# ------------------------------------------------------------------ tanh


@part
def tanh_value(z, numbers, at):
    return tanh_lanes(z)


@part
def tanh_slope(a, numbers, at):
    return fma(-a, a, splat(a, 1))


# ------------------------------------------------------------------ relu: max(z, 0); its slope at 0 is 0


@part
def relu_value(z, numbers, at):
    return maximum(z, splat(z, 0))


@part
def relu_slope(a, numbers, at):
    return where_less(splat(a, 0), a, splat(a, 1), splat(a, 0))


# ------------------------------------------------------------------ relu6: min(max(z, 0), 6)


@part
def relu6_value(z, numbers, at):
    return minimum(maximum(z, splat(z, 0)), splat(z, 6))


@part
def relu6_slope(a, numbers, at):
    return where_less(splat(a, 0), a, where_less(a, splat(a, 6), splat(a, 1), splat(a, 0)), splat(a, 0))


# ------------------------------------------------------------------ leaky relu: z, below 0 times numbers[at] > 0


@part
def leaky_relu_value(z, numbers, at):
    return where_less(z, splat(z, 0), splat(z, numbers[at]) * z, z)


@part
def leaky_relu_slope(a, numbers, at):
    return where_less(a, splat(a, 0), splat(a, numbers[at]), splat(a, 1))


# ------------------------------------------------------------------ general relu
# z from numbers[at + 2] to numbers[at + 1], the maximum beyond, below numbers[at] * (z - the threshold)


@part
def general_relu_value_and_slope(z, numbers, at):
    slope, high, threshold = splat(z, numbers[at]), splat(z, numbers[at + 1]), splat(z, numbers[at + 2])
    # Without a slope 0 and NaN stay what they are, and -infinity becomes 0.
    nothing = minimum(maximum(z, splat(z, 0)), splat(z, 0))
    below = where_equal(slope, splat(z, 0), nothing, slope * (z - threshold))
    value = where_less(threshold, z, minimum(z, high), below)
    inside = where_less(z, high, splat(z, 1), splat(z, 0))
    return value, where_at_most(z, threshold, slope, inside)


# ------------------------------------------------------------------ elu: z, below 0 numbers[at] * (exp(z) - 1)
# source  Clevert, Unterthiner & Hochreiter (2016), ICLR


@part
def elu_value_and_slope(z, numbers, at):
    zero, alpha = splat(z, 0), splat(z, numbers[at])
    below = minimum(z, zero)
    value = where_less(zero, z, z, alpha * expm1(below))
    return value, where_less(zero, z, splat(z, 1), alpha * exp(below))


# ------------------------------------------------------------------ selu
# source  Klambauer et al. (2017), NeurIPS: an elu that keeps mean 0 and variance 1

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@part
def selu_value_and_slope(z, numbers, at):
    zero, scale, low = splat(z, 0), splat(z, _SELU_SCALE), splat(z, _SELU_SCALE * _SELU_ALPHA)
    below = minimum(z, zero)
    return where_less(zero, z, scale * z, low * expm1(below)), where_less(zero, z, scale, low * exp(below))


# ------------------------------------------------------------------ gelu: z times the normal distribution function of z
# source  Hendrycks & Gimpel (2016), arXiv:1606.08415, with its approximation by tanh

_ROOT_HALF, _NORMAL_DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
_GELU_RATE, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


@part
def gelu_value_and_slope(z, numbers, at):
    share, bell = normal(z)
    return z * share, fma(z, splat(z, _NORMAL_DENSITY) * bell, share)


@part
def gelu_approximate_value_and_slope(z, numbers, at):
    """(1 + tanh u) / 2 is 1 / (1 + exp(-2 u)), which does not cancel below 0."""
    rate, cube, one = splat(z, 2 * _GELU_RATE), splat(z, _GELU_CUBE), splat(z, 1)
    square = minimum(z * z, splat(z, 1000))  # beyond, all is 0 or 1
    s = logistic(rate * z * fma(cube, square, one))
    value = z * s
    return value, fma(value * (one - s), rate * fma(splat(z, 3) * cube, square, one), s)


# ------------------------------------------------------------------ silu: z sigmoid(z)


@part
def silu_value_and_slope(z, numbers, at):
    s = logistic(z)
    value = z * s
    return value, fma(value, splat(z, 1) - s, s)


# ------------------------------------------------------------------ mish: z tanh(log(1 + exp(z)))
# source  Misra (2020), BMVC


@part
def mish_value_and_slope(z, numbers, at):
    t = tanh_lanes(log_of_sum(z))
    return z * t, fma(z * fma(-t, t, splat(z, 1)), logistic(z), t)


# ------------------------------------------------------------------ softplus: log(1 + exp(z))


@part
def softplus_value_and_slope(z, numbers, at):
    return log_of_sum(z), logistic(z)


# ------------------------------------------------------------------ softsign: z / (1 + |z|)


@part
def softsign_value_and_slope(z, numbers, at):
    below = splat(z, 1) + absolute(z)
    share = splat(z, 1) / below
    return z / below, share * share  # not z share, which is a denormal number where z is huge


# ------------------------------------------------------------------ exponential: exp(z)


@part
def exponential_value(z, numbers, at):
    return exp(z)


@part
def exponential_slope(a, numbers, at):
    return a


# ------------------------------------------------------------------ softmax: exp(z_j - max z) / sum_j


#: Units that are summed at once. In one row a sum of 100,000 numbers that are alike was off by 1e-3 in float32, as
#: every addition is rounded to the same side; the sums of blocks, summed, are not.
BLOCK = 256


@part
def softmax_lanes(z, at, row, units):
    """Softmax of a line of samples in place, unit j at `at + j * row`.

    source  Blanchard, Higham & Higham (2021), IMA J. Numer. Anal. 41(4): shifted by the maximum
    """
    top = load(z, at)
    for j in range(1, units):
        top = maximum(top, load(z, at + j * row))
    total = splat(z, 0)
    for begin in range(0, units, BLOCK):
        block = splat(z, 0)
        for j in range(begin, min(begin + BLOCK, units)):
            e = exp(load(z, at + j * row) - top)
            store(z, at + j * row, e)
            block = block + e
        total = total + block
    scale = splat(z, 1) / total
    for j in range(units):
        store(z, at + j * row, load(z, at + j * row) * scale)


@part
def softmax_row(z, at, units):
    """Softmax of `units` numbers of z from `at` on, in place, added up in the order of the units as in lanes.

    What fills up the last line becomes 0: its exponential may be infinite.
    """
    line = lanes(z)
    top = element(z, at)
    for j in range(at + 1, at + units):
        top = element(z, j) if top < element(z, j) else top
    for j in range(at, at + units, line):
        store(z, j, keep_first(exp(load(z, j) - splat(z, top)), at + units - j, splat(z, 0)))
    total = z.dtype.type(0)
    for begin in range(at, at + units, BLOCK):
        block = z.dtype.type(0)
        for j in range(begin, min(begin + BLOCK, at + units)):
            block += element(z, j)
        total += block
    scale = splat(z, z.dtype.type(1) / total)
    for j in range(at, at + units, line):
        store(z, j, load(z, j) * scale)


@part
def add_bias(a, at, row, rows, units, bias, bias_at, in_lanes):
    """Add the bias to `rows` rows; see forward above."""
    line = lanes(a)
    for i in range(rows):
        here = at + i * row
        if in_lanes:
            own = splat(a, element(bias, bias_at + i))
            for j in range(0, units, line):
                store(a, here + j, load(a, here + j) + own)
        else:
            for j in range(0, units, line):
                store(a, here + j, load(a, here + j) + load(bias, bias_at + j))


@kernel
def softmax_forward(numbers, numbers_at, a, slopes, at, row, rows, units, bias, bias_at, in_lanes):
    """See the top of the file."""
    out_of_line()
    add_bias(a, at, row, rows, units, bias, bias_at, in_lanes)
    if in_lanes:
        for i in range(at, at + units, lanes(a)):
            softmax_lanes(a, i, row, rows)
    else:
        for i in range(rows):
            softmax_row(a, at + i * row, units)


@kernel
def softmax_backward(numbers, numbers_at, a, slopes, delta, at, row, rows, units, in_lanes):
    """delta_j = a_j (delta_j - sum_k delta_k a_k)."""
    out_of_line()
    line, zero = lanes(a), splat(a, 0)
    if in_lanes:
        for i in range(at, at + units, line):
            mean = zero
            for j in range(i, i + rows * row, row):
                mean = fma(load(a, j), load(delta, j), mean)
            for j in range(i, i + rows * row, row):
                store(delta, j, load(a, j) * (load(delta, j) - mean))
    else:
        for i in range(at, at + rows * row, row):
            total = a.dtype.type(0)
            for j in range(i, i + units):
                total += element(a, j) * element(delta, j)
            mean = splat(a, total)
            for j in range(i, i + units, line):
                store(delta, j, keep_first(load(a, j) * (load(delta, j) - mean), i + units - j, zero))


# ------------------------------------------------------------------ log-softmax: z_j - log sum_k exp(z_k)


@kernel
def log_softmax_forward(numbers, numbers_at, a, slopes, at, row, rows, units, bias, bias_at, in_lanes):
    """See the top of the file."""
    out_of_line()
    add_bias(a, at, row, rows, units, bias, bias_at, in_lanes)
    line, zero = lanes(a), splat(a, 0)
    if in_lanes:
        for i in range(at, at + units, line):
            top, total = load(a, i), zero
            for j in range(i + row, i + rows * row, row):
                top = maximum(top, load(a, j))
            for begin in range(0, rows, BLOCK):
                block = zero
                for j in range(begin, min(begin + BLOCK, rows)):
                    block = block + exp(load(a, i + j * row) - top)
                total = total + block
            shift = log(total)
            for j in range(i, i + rows * row, row):  # in this order, or large numbers take digits of a small logarithm
                store(a, j, load(a, j) - top - shift)
    else:
        for i in range(at, at + rows * row, row):
            largest, total_of_row = element(a, i), a.dtype.type(0)
            for j in range(i + 1, i + units):
                largest = element(a, j) if largest < element(a, j) else largest
            for begin in range(i, i + units, BLOCK):
                block_of_row = a.dtype.type(0)
                for j in range(begin, min(begin + BLOCK, i + units)):
                    block_of_row += sum_lanes(exp(splat(a, element(a, j) - largest))) / a.dtype.type(line)
                total_of_row += block_of_row
            top, shift = splat(a, largest), log(splat(a, total_of_row))
            for j in range(i, i + units, line):
                store(a, j, load(a, j) - top - shift)


@kernel
def log_softmax_backward(numbers, numbers_at, a, slopes, delta, at, row, rows, units, in_lanes):
    """delta_j = delta_j - exp(a_j) sum_k delta_k."""
    out_of_line()
    line, zero = lanes(a), splat(a, 0)
    if in_lanes:
        for i in range(at, at + units, line):
            total = zero
            for j in range(i, i + rows * row, row):
                total = total + load(delta, j)
            for j in range(i, i + rows * row, row):
                store(delta, j, fma(-exp(load(a, j)), total, load(delta, j)))
    else:
        for i in range(at, at + rows * row, row):
            total_of_row = a.dtype.type(0)
            for j in range(i, i + units):
                total_of_row += element(delta, j)
            total = splat(a, total_of_row)
            for j in range(i, i + units, line):
                store(delta, j, keep_first(fma(-exp(load(a, j)), total, load(delta, j)), i + units - j, zero))


# ------------------------------------------------------------------ kernels from the parts


def _by_output(name, value, slope):
    """The two kernels of a function whose slope is one of its output; no backward where it has none."""

    def forward(numbers, numbers_at, a, slopes, at, row, rows, units, bias, bias_at, in_lanes):
        out_of_line()
        line = lanes(a)
        for i in range(rows):
            here = at + i * row
            if in_lanes:
                own = splat(a, element(bias, bias_at + i))
                for j in range(0, units, line):
                    store(a, here + j, value(load(a, here + j) + own, numbers, numbers_at))
            else:
                for j in range(0, units, line):
                    store(a, here + j, value(load(a, here + j) + load(bias, bias_at + j), numbers, numbers_at))

    def backward(numbers, numbers_at, a, slopes, delta, at, row, rows, units, in_lanes):
        out_of_line()
        for i in range(at, at + rows * row, row):
            for j in range(i, i + units, lanes(a)):
                store(delta, j, load(delta, j) * slope(load(a, j), numbers, numbers_at))

    return _named(name, forward), None if slope is None else _named(name, backward)


def _by_input(name, both):
    """The two kernels of a function whose slope is kept."""

    def forward(numbers, numbers_at, a, slopes, at, row, rows, units, bias, bias_at, in_lanes):
        out_of_line()
        line = lanes(a)
        for i in range(rows):
            here = at + i * row
            own = splat(a, element(bias, bias_at + i)) if in_lanes else splat(a, 0)
            for j in range(0, units, line):
                z = load(a, here + j) + (own if in_lanes else load(bias, bias_at + j))
                value, slope = both(z, numbers, numbers_at)
                store(a, here + j, value)
                if slopes.size > 0:
                    store(slopes, here + j, slope)

    def backward(numbers, numbers_at, a, slopes, delta, at, row, rows, units, in_lanes):
        out_of_line()
        for i in range(at, at + rows * row, row):
            for j in range(i, i + units, lanes(a)):
                store(delta, j, load(delta, j) * load(slopes, j))

    return _named(name, forward), _named(name, backward)


def _named(name, function):
    """A kernel of its own name, by which it is kept on disk."""
    function.__qualname__ = f"{name}_{function.__name__}"
    return kernel(function)


_OUTPUT = {
    "linear": (linear_value, None),
    "step": (step_value, None),
    "sigmoid": (sigmoid_value, sigmoid_slope),
    "hard_sigmoid": (hard_sigmoid_value, hard_sigmoid_slope),
    "tanh": (tanh_value, tanh_slope),
    "relu": (relu_value, relu_slope),
    "relu6": (relu6_value, relu6_slope),
    "leaky_relu": (leaky_relu_value, leaky_relu_slope),
    "exponential": (exponential_value, exponential_slope),
}
_INPUT = {
    "general_relu": general_relu_value_and_slope,
    "elu": elu_value_and_slope,
    "selu": selu_value_and_slope,
    "gelu": gelu_value_and_slope,
    "gelu_approximate": gelu_approximate_value_and_slope,
    "silu": silu_value_and_slope,
    "mish": mish_value_and_slope,
    "softplus": softplus_value_and_slope,
    "softsign": softsign_value_and_slope,
}

#: (forward, backward or None) of each activation.
FORMS = {
    **{name: _by_output(name, *parts) for name, parts in _OUTPUT.items()},
    **{name: _by_input(name, both) for name, both in _INPUT.items()},
    "softmax": (softmax_forward, softmax_backward),
    "log_softmax": (log_softmax_forward, log_softmax_backward),
}

NAMES = tuple(FORMS)

#: The functions whose slope training keeps.
KEEP_SLOPES = tuple(_INPUT)

#: Those without a usable gradient: a network that ends or passes through one can't be trained.
WITHOUT_GRADIENT = ("step",)

# ------------------------------------------------------------------ public: arrays of any shape


@part
def _line_by_line(value, z, a):
    line = lanes(z)
    whole = z.size // line * line
    for i in range(0, whole, line):
        store(a, i, value(load(z, i), 0, 0))
    if whole < z.size:
        store_first(a, whole, value(load_first(z, whole, z.size - whole), 0, 0), z.size - whole)


@kernel
def step(z, a):
    """a = 1 where z > 0, else 0. z, a: C-ordered, one shape and dtype; a may be z."""
    _line_by_line(step_value, z, a)


@kernel
def sigmoid(z, a):
    """a = 1 / (1 + exp(-z)), within 3 ulp. z, a: C-ordered, one shape and dtype; a may be z."""
    _line_by_line(sigmoid_value, z, a)


@kernel
def tanh(z, a):
    """a = tanh(z), within 2 ulp. z, a: C-ordered, one shape and dtype; a may be z."""
    _line_by_line(tanh_value, z, a)


@kernel
def relu(z, a):
    """a = max(z, 0). z, a: C-ordered, one shape and dtype; a may be z."""
    _line_by_line(relu_value, z, a)


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
