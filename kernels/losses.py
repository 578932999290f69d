"""Losses: the loss of each sample and its gradient by the network's output, in one pass over a line of samples.

To add one: its section with a part on lanes, and a line in _PARTS; its twin goes into tests/twins.py. A loss that
is a mean over the units has a part of one unit, from which _mean makes that of all. The epoch calls the kernels by
address (see by_address.py).

Outputs, targets and gradients are kept in lanes (see plan.py): unit j of the samples at `at + j * row`, so that a sum
over the units is a sum of vectors. A part takes

    numbers, n    the loss's own numbers from numbers[n] on
    joint         whether the gradient by z of the last layer is wanted instead, where the activation and the loss
                  cancel: softmax with a crossentropy, sigmoid with the binary one
    a, at, row    the last layer's output, read
    labels        class indices of the batch, those of the line from `here` on
    targets       their values, unit j at `here + j * row`: whichever the loss needs
    units, scale  the gradient is multiplied by scale
    delta         gradient by a (or z), at the same places as a, written

and returns the line's losses.

Probabilities are clipped to [EPSILON, 1 - EPSILON] as Keras does (on JAX and PyTorch), and where one is clipped its
gradient is zero, there as here.
"""

import numpy as np

from ._jit import allocating_kernel, kernel, out_of_line, part
from .activations import BLOCK, log1p, log_of_sum, logistic, sign
from .lanes import transpose
from .simd import (
    absolute,
    exp,
    fma,
    keep_first,
    lanes,
    load,
    log,
    maximum,
    minimum,
    splat,
    sqrt,
    store,
    sum_lanes,
    tanh,
    where_at_most,
    where_equal,
    where_less,
)

#: Keras's backend epsilon.
EPSILON = 1e-7

#: Arguments of a kernel that scores samples, see by_address.address and _scoring.
SCORE = "fiiaiiaaaidafiiii"


@part
def clipped(p):
    """P within [EPSILON, 1 - EPSILON]; NaN is kept."""
    return minimum(maximum(p, splat(p, EPSILON)), splat(p, 1 - EPSILON))


@part
def where_inside(p, yes, no):
    """`yes` where EPSILON < p < 1 - EPSILON, and where p is NaN."""
    return where_at_most(p, splat(p, EPSILON), no, where_at_most(splat(p, 1 - EPSILON), p, no, yes))


@part
def nonzero(p):
    """P, and 1 where it is 0: a divisor of what is 0 there, too."""
    return where_equal(p, splat(p, 0), splat(p, 1), p)


@part
def power(x, exponent):
    """x^exponent for x >= 0, and a vector of the exponent."""
    zero, one = splat(x, 0), splat(x, 1)
    return where_less(zero, x, exp(exponent * log(where_less(zero, x, x, one))), where_equal(exponent, zero, one, zero))


@part
def smoothed(y, share, level):
    """y (1 - share) + share level: label smoothing."""
    return fma(y, splat(y, 1 - share), splat(y, share * level))


# ------------------------------------------------------------------ means over the units: (loss, gradient by p) of one


@part
def mean_squared_error_unit(numbers, n, joint, p, y):
    """(p - y)^2."""
    error = p - y
    return error * error, error + error


@part
def mean_absolute_error_unit(numbers, n, joint, p, y):
    """|p - y|."""
    error = p - y
    return absolute(error), sign(error)


@part
def mean_absolute_percentage_error_unit(numbers, n, joint, p, y):
    """100 |p - y| / max(|y|, EPSILON)."""
    error = p - y
    factor = splat(p, 100) / maximum(absolute(y), splat(p, EPSILON))
    return absolute(error) * factor, sign(error) * factor


@part
def mean_squared_logarithmic_error_unit(numbers, n, joint, p, y):
    """(log(1 + p) - log(1 + y))^2, both at least EPSILON."""
    low, one = splat(p, EPSILON), splat(p, 1)
    above = maximum(p, low) + one
    error = log(above) - log(maximum(y, low) + one)
    return error * error, where_at_most(p, low, splat(p, 0), (error + error) / above)


@part
def huber_unit(numbers, n, joint, p, y):
    """Half the squared error up to numbers[n], then a line.

    source  Huber (1964), Annals of Mathematical Statistics 35(1)
    """
    error, limit, half = p - y, splat(p, numbers[n]), splat(p, 0.5)
    size = absolute(error)
    loss = where_at_most(size, limit, half * error * error, limit * (size - half * limit))
    return loss, minimum(maximum(error, -limit), limit)


@part
def log_cosh_unit(numbers, n, joint, p, y):
    """log cosh(p - y)."""
    error = p - y
    return log_of_sum(splat(p, -2) * error) + error - splat(p, 0.6931471805599453), tanh(error)


@part
def poisson_unit(numbers, n, joint, p, y):
    """p - y log(p + EPSILON)."""
    above = p + splat(p, EPSILON)
    return p - y * log(above), splat(p, 1) - y / above


@part
def signed(numbers, n, y):
    """Targets of a hinge: -1 and 1, or from 0 and 1 where numbers[n] is 1."""
    return fma(y, splat(y, 1 + numbers[n]), splat(y, -numbers[n]))


@part
def hinge_unit(numbers, n, joint, p, y):
    """max(1 - y p, 0)."""
    y, zero = signed(numbers, n, y), splat(p, 0)
    gap = splat(p, 1) - y * p
    return maximum(gap, zero), where_less(zero, gap, -y, zero)


@part
def squared_hinge_unit(numbers, n, joint, p, y):
    """max(1 - y p, 0)^2."""
    y = signed(numbers, n, y)
    gap = maximum(splat(p, 1) - y * p, splat(p, 0))
    return gap * gap, splat(p, -2) * y * gap


@part
def binary_crossentropy_unit(numbers, n, joint, p, y):
    """-[y log p + (1 - y) log(1 - p)], y smoothed by numbers[n]; by z = logit(p) the gradient is p - y."""
    one, zero = splat(p, 1), splat(p, 0)
    y = smoothed(y, numbers[n], 0.5)
    q = clipped(p)
    gradient = p - y
    if not joint:
        gradient = gradient / (q * (one - q))
    return -fma(y, log(q), (one - y) * log(one - q)), where_inside(p, gradient, zero)


@part
def binary_crossentropy_from_logits_unit(numbers, n, joint, p, y):
    """The same of sigmoid(p): log(1 + exp(p)) - y p."""
    y = smoothed(y, numbers[n], 0.5)
    # In this order: for a sure and right answer the first two are equal, and what is left is all of the loss.
    return maximum(p, splat(p, 0)) - y * p + log1p(exp(-absolute(p))), logistic(p) - y


@part
def focal(numbers, n, p, y):
    """(loss, gradient) of the binary focal crossentropy: alpha_y (1 - p_y)^gamma times the crossentropy.

    numbers   smoothing, gamma, alpha, whether alpha is used
    source    Lin et al. (2017), ICCV
    """
    one, zero, gamma = splat(p, 1), splat(p, 0), splat(p, numbers[n + 1])
    y = smoothed(y, numbers[n], 0.5)
    q = clipped(p)
    crossentropy = -fma(y, log(q), (one - y) * log(one - q))
    slope = where_inside(p, (p - y) / (q * (one - q)), zero)
    missing = one - fma(y, p, (one - y) * (one - p))
    factor = power(missing, gamma)
    factor_slope = gamma * power(missing, gamma - one) * (one - y - y)
    weight = one
    if numbers[n + 3] != 0:
        alpha = splat(p, numbers[n + 2])
        weight = fma(y, alpha, (one - y) * (one - alpha))
    return weight * factor * crossentropy, weight * fma(factor, slope, factor_slope * crossentropy)


@part
def binary_focal_crossentropy_unit(numbers, n, joint, p, y):
    """See focal."""
    return focal(numbers, n, p, y)


@part
def binary_focal_crossentropy_from_logits_unit(numbers, n, joint, p, y):
    """The same of sigmoid(p)."""
    s = logistic(p)
    loss, gradient = focal(numbers, n, s, y)
    return loss, gradient * s * (splat(p, 1) - s)


_UNITS = {
    "mean_squared_error": mean_squared_error_unit,
    "mean_absolute_error": mean_absolute_error_unit,
    "mean_absolute_percentage_error": mean_absolute_percentage_error_unit,
    "mean_squared_logarithmic_error": mean_squared_logarithmic_error_unit,
    "huber": huber_unit,
    "log_cosh": log_cosh_unit,
    "poisson": poisson_unit,
    "hinge": hinge_unit,
    "squared_hinge": squared_hinge_unit,
    "binary_crossentropy": binary_crossentropy_unit,
    "binary_crossentropy_from_logits": binary_crossentropy_from_logits_unit,
    "binary_focal_crossentropy": binary_focal_crossentropy_unit,
    "binary_focal_crossentropy_from_logits": binary_focal_crossentropy_from_logits_unit,
}


def _mean(unit):
    """The part of a loss that is the mean over the units of `unit`."""

    def mean_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
        total = splat(a, 0)
        factor = splat(a, scale * a.dtype.type(1.0 / units))
        for j in range(units):
            loss, gradient = unit(numbers, n, joint, load(a, at + j * row), load(targets, here + j * row))
            total = total + loss
            store(delta, at + j * row, factor * gradient)
        return total * splat(a, 1.0 / units)

    return part(mean_lanes)


# ------------------------------------------------------------------ Kullback-Leibler divergence


@part
def kl_divergence_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """sum_j y_j log(y_j / p_j), both within [EPSILON, 1]."""
    low, one, zero = splat(a, EPSILON), splat(a, 1), splat(a, 0)
    total, factor = zero, splat(a, scale)
    for j in range(units):
        p, y = load(a, at + j * row), minimum(maximum(load(targets, here + j * row), low), one)
        q = minimum(maximum(p, low), one)
        total = fma(y, log(y / q), total)
        gradient = where_at_most(p, low, zero, where_less(one, p, zero, -(factor * y / q)))
        # As in Keras, half of it at the bound 1, which a softmax in float32 reaches.
        store(delta, at + j * row, where_equal(p, one, splat(a, 0.5) * gradient, gradient))
    return total


# ------------------------------------------------------------------ categorical hinge


@part
def categorical_hinge_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """max(max_j (1 - y_j) p_j - sum_j y_j p_j + 1, 0)."""
    one, zero, factor = splat(a, 1), splat(a, 0), splat(a, scale)
    own, place = zero, zero
    other = load(a, at) * (one - load(targets, here))
    for j in range(units):
        p, y = load(a, at + j * row), load(targets, here + j * row)
        own = fma(y, p, own)
        wrong = p * (one - y)
        place = where_less(other, wrong, splat(a, j), place)
        other = maximum(other, wrong)
    gap = other - own + one
    factor = where_less(zero, gap, factor, zero)
    for j in range(units):
        y = load(targets, here + j * row)
        store(delta, at + j * row, factor * (where_equal(place, splat(a, j), one - y, zero) - y))
    return maximum(gap, zero)


# ------------------------------------------------------------------ cosine similarity


@part
def cosine_similarity_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """-sum_j y_j p_j / (|y| |p|)."""
    zero, low = splat(a, 0), splat(a, EPSILON)
    product, square_a, square_y = zero, zero, zero
    for j in range(units):
        p, y = load(a, at + j * row), load(targets, here + j * row)
        product = fma(p, y, product)
        square_a, square_y = fma(p, p, square_a), fma(y, y, square_y)
    norm_a, norm_y = maximum(sqrt(square_a), low), maximum(sqrt(square_y), low)
    cosine = product / (norm_a * norm_y)
    factor = splat(a, scale) / norm_a
    for j in range(units):
        p, y = load(a, at + j * row), load(targets, here + j * row)
        store(delta, at + j * row, factor * (cosine * p / norm_a - y / norm_y))
    return -cosine


# ------------------------------------------------------------------ categorical crossentropy


@part
def sum_of_units(a, at, row, units):
    """sum_j a_j of a line of samples."""
    total = splat(a, 0)
    for begin in range(0, units, BLOCK):
        block = splat(a, 0)
        for j in range(begin, min(begin + BLOCK, units)):
            block = block + load(a, at + j * row)
        total = total + block
    return total


@part
def categorical_crossentropy_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """L = -sum_j y_j log q_j, q = p / sum p; for p = softmax(z): dL/dz_j = p_j sum y - y_j. Smoothed by numbers[n]."""
    zero, factor = splat(a, 0), splat(a, scale)
    share, level = numbers[n], 1.0 / units
    norm = sum_of_units(a, at, row, units)
    total, mass = zero, zero
    for j in range(units):
        q, y = load(a, at + j * row) / norm, smoothed(load(targets, here + j * row), share, level)
        total = fma(y, log(clipped(q)), total)
        y = where_inside(q, y, zero)  # the clipped ones have no gradient
        store(delta, at + j * row, y)
        mass = mass + y
    for j in range(units):
        p, y = load(a, at + j * row), load(delta, at + j * row)
        if joint:
            store(delta, at + j * row, factor * fma(p, mass, -y))
        else:
            store(delta, at + j * row, factor * (mass / norm - y / nonzero(p)))
    return -total


@part
def log_of_sums(a, at, row, units):
    """Log sum_j exp(a_j) of a line of samples, in two parts: the largest a_j and the rest.

    They are taken off in turn, or large logits would take digits of what they differ by.
    """
    top, total = load(a, at), splat(a, 0)
    for j in range(1, units):
        top = maximum(top, load(a, at + j * row))
    for begin in range(0, units, BLOCK):
        block = splat(a, 0)
        for j in range(begin, min(begin + BLOCK, units)):
            block = block + exp(load(a, at + j * row) - top)
        total = total + block
    return top, log(total)


@part
def categorical_crossentropy_from_logits_lanes(
    numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta
):  # fmt: skip
    """The same of softmax(a): sum_j y_j (log sum_k exp(a_k) - a_j)."""
    zero, factor = splat(a, 0), splat(a, scale)
    share, level = numbers[n], 1.0 / units
    top, rest = log_of_sums(a, at, row, units)
    total, mass = zero, zero
    for j in range(units):
        y = smoothed(load(targets, here + j * row), share, level)
        total = fma(y, top - load(a, at + j * row) + rest, total)
        mass = mass + y
    for j in range(units):
        y = smoothed(load(targets, here + j * row), share, level)
        store(delta, at + j * row, factor * fma(exp(load(a, at + j * row) - top - rest), mass, -y))
    return total


# ------------------------------------------------------------------ sparse categorical crossentropy


@part
def sparse_categorical_crossentropy_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """The same for a class index: L = -log q_label; for p = softmax(z): dL/dz_j = p_j - [j = label]."""
    zero, label = splat(a, 0), load(labels, here)
    norm, p = sum_of_units(a, at, row, units), zero
    for j in range(units):
        p = where_equal(label, splat(a, j), load(a, at + j * row), p)
    q = p / norm
    mass = where_inside(q, splat(a, scale), zero)
    if joint:
        for j in range(units):
            own = where_equal(label, splat(a, j), mass, zero)
            store(delta, at + j * row, fma(load(a, at + j * row), mass, -own))
    else:
        by_label = mass / nonzero(p)
        for j in range(units):
            store(delta, at + j * row, mass / norm - where_equal(label, splat(a, j), by_label, zero))
    return -log(clipped(q))


@part
def sparse_categorical_crossentropy_from_logits_lanes(
    numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta
):  # fmt: skip
    """The same of softmax(a)."""
    zero, factor, label = splat(a, 0), splat(a, scale), load(labels, here)
    (top, rest), own = log_of_sums(a, at, row, units), zero
    for j in range(units):
        z = load(a, at + j * row)
        right = where_equal(label, splat(a, j), factor, zero)
        own = where_equal(label, splat(a, j), z, own)
        store(delta, at + j * row, fma(factor, exp(z - top - rest), -right))
    return top - own + rest


# ------------------------------------------------------------------ categorical focal crossentropy


@part
def focal_of_classes(numbers, n, q, y):
    """(loss, gradient by q) of alpha (1 - q)^gamma (-y log q) for one class."""
    one, zero = splat(q, 1), splat(q, 0)
    gamma, alpha = splat(q, numbers[n + 1]), splat(q, numbers[n + 2])
    c = clipped(q)
    crossentropy = -(y * log(c))
    factor = power(one - c, gamma)
    gradient = -fma(gamma * power(one - c, gamma - one), crossentropy, factor * y / c)
    return alpha * factor * crossentropy, where_inside(q, alpha * gradient, zero)


@part
def categorical_focal_crossentropy_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """sum_j alpha (1 - q_j)^gamma (-y_j log q_j), q = p / sum p; numbers: smoothing, gamma, alpha.

    source  Lin et al. (2017), ICCV
    """
    zero, factor = splat(a, 0), splat(a, scale)
    norm, total, mean = sum_of_units(a, at, row, units), zero, zero
    for j in range(units):
        q, y = load(a, at + j * row) / norm, smoothed(load(targets, here + j * row), numbers[n], 1.0 / units)
        loss, gradient = focal_of_classes(numbers, n, q, y)
        total, mean = total + loss, fma(gradient, q, mean)
        store(delta, at + j * row, gradient)
    for j in range(units):
        store(delta, at + j * row, factor * (load(delta, at + j * row) - mean) / norm)
    return total


@part
def categorical_focal_crossentropy_from_logits_lanes(
    numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta
):  # fmt: skip
    """The same of softmax(a)."""
    zero, factor = splat(a, 0), splat(a, scale)
    (top, rest), total, mean = log_of_sums(a, at, row, units), zero, zero
    for j in range(units):
        q = exp(load(a, at + j * row) - top - rest)
        y = smoothed(load(targets, here + j * row), numbers[n], 1.0 / units)
        loss, gradient = focal_of_classes(numbers, n, q, y)
        total, mean = total + loss, fma(gradient, q, mean)
        store(delta, at + j * row, gradient)
    for j in range(units):
        q = exp(load(a, at + j * row) - top - rest)
        store(delta, at + j * row, factor * q * (load(delta, at + j * row) - mean))
    return total


# ------------------------------------------------------------------ kernels from the parts


def scoring(name, lines):
    """The kernel that scores samples by a part, `lines`, on a line of them.

    numbers, numbers_at, joint, a, row, labels, targets, units, scale, delta   see the top of the file
    at                   the output of unit j of sample i is a[at + j * row + i]
    weights              weight of each sample of the batch, in lanes, by which losses and gradients are multiplied; or
                         (0,)
    totals, totals_row   totals[i // line * totals_row + column] becomes the sum of the losses of the line of sample i
    first, last          samples of the batch; first begins a line
    """

    def score(
        numbers, numbers_at, joint, a, at, row, labels, targets, weights, units, scale, delta, totals, totals_row,
        column, first, last
    ):  # fmt: skip
        out_of_line()
        line, zero, factor = lanes(a), splat(a, 0), a.dtype.type(scale)
        for i in range(first, last, line):
            losses = lines(numbers, numbers_at, joint, a, at + i, row, labels, targets, i, units, factor, delta)
            if weights.size > 0:
                own = load(weights, i)
                losses = losses * own
                for j in range(at + i, at + i + units * row, row):
                    store(delta, j, load(delta, j) * own)
            totals[i // line * totals_row + column] = sum_lanes(keep_first(losses, last - i, zero))

    score.__qualname__ = f"{name}_score"
    return kernel(score)


_PARTS = {
    **{name: _mean(unit) for name, unit in _UNITS.items()},
    "kl_divergence": kl_divergence_lanes,
    "categorical_hinge": categorical_hinge_lanes,
    "cosine_similarity": cosine_similarity_lanes,
    "categorical_crossentropy": categorical_crossentropy_lanes,
    "categorical_crossentropy_from_logits": categorical_crossentropy_from_logits_lanes,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy_lanes,
    "sparse_categorical_crossentropy_from_logits": sparse_categorical_crossentropy_from_logits_lanes,
    "categorical_focal_crossentropy": categorical_focal_crossentropy_lanes,
    "categorical_focal_crossentropy_from_logits": categorical_focal_crossentropy_from_logits_lanes,
}

#: Kernel of each loss.
KERNELS = {name: scoring(name, lines) for name, lines in _PARTS.items()}

NAMES = tuple(KERNELS)

# ------------------------------------------------------------------ public: whole batches


def _of_batch(name):
    """Mean loss of a batch and its gradient, in C-ordered rows; see the functions below."""
    score = KERNELS[name]

    def batch(a, labels, targets, delta):
        n, units = a.shape
        line = lanes(a)
        row = (n + line - 1) // line * line
        # Ones in the lanes that only fill up a line: any probability will do there.
        outputs, gradient, values = (
            np.ones((units, row), a.dtype),
            np.zeros((units, row), a.dtype),
            np.zeros((units, row), a.dtype),
        )
        indices, weights, totals = np.zeros(row, a.dtype), np.zeros(0, a.dtype), np.zeros(row // line)
        transpose(a.reshape(a.size), 0, units, n, units, outputs.reshape(outputs.size), 0, row)
        transpose(targets.reshape(targets.size), 0, units, min(n, targets.shape[0]), units,
                  values.reshape(values.size), 0, row)  # fmt: skip
        for i in range(labels.size):
            indices[i] = labels[i]
        score(np.zeros(1), 0, 1, outputs.reshape(outputs.size), 0, row, indices, values.reshape(values.size), weights,
              units, 1.0 / n, gradient.reshape(gradient.size), totals, 1, 0, 0, n)  # fmt: skip
        transpose(gradient.reshape(gradient.size), 0, row, units, n, delta.reshape(delta.size), 0, units)
        return totals.sum() / n

    batch.__qualname__ = f"{name}_batch"
    return allocating_kernel(batch)


_mean_squared_error, _binary, _categorical, _sparse = (
    _of_batch(name)
    for name in (
        "mean_squared_error",
        "binary_crossentropy",
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
    )
)


@allocating_kernel
def mean_squared_error(a, y, delta):
    """Mean of (a - y)^2 over all elements, returned, and its gradient by a.

    a       (n, m)  output, read
    y       (n, m)  target, read
    delta   (n, m)  2 (a - y) / (n m), written
    """
    return _mean_squared_error(a, np.zeros(0, np.int32), y, delta)


@allocating_kernel
def binary_crossentropy(p, y, delta):
    """Mean of -[y log p + (1 - y) log(1 - p)] over all elements, returned, and its gradient by z, p = sigmoid(z).

    p       (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    y       (n, m)  0, 1 or between, read
    delta   (n, m)  (p - y) / (n m), written
    """
    return _binary(p, np.zeros(0, np.int32), y, delta)


@allocating_kernel
def categorical_crossentropy(p, y, delta):
    """Mean over the rows of -sum_j y_j log p_j, returned, and its gradient by z, p = softmax(z).

    p       (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    y       (n, m)  one-hot or soft targets, read
    delta   (n, m)  (p sum_k y_k - y) / n, written
    """
    return _categorical(p, np.zeros(0, np.int32), y, delta)


@allocating_kernel
def sparse_categorical_crossentropy(p, labels, delta):
    """Mean over the rows of -log p_label, returned, and its gradient by z, p = softmax(z).

    p        (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    labels   (n,)    class indices, read
    delta    (n, m)  (p - onehot(labels)) / n, written
    """
    return _sparse(p, labels, p, delta)
