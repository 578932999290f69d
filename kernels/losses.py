"""Losses: the loss of each sample and its gradient by the network's output, in one pass over a line of samples.

To add one: its section with a part on lanes, its name in NAMES, a line in `loss_lanes`; its twin goes into
tests/reference.py. Outputs, targets and gradients are kept in lanes (see plan.py): unit j of the samples at
`at + j * row`, so that a sum over the units is a sum of vectors.

Probabilities are clipped to [EPSILON, 1 - EPSILON] as Keras does (on JAX and PyTorch), and where one is clipped its
gradient is zero, there as here. Where the last activation and the loss cancel (softmax with a crossentropy, sigmoid
with the binary one) `joint` asks for the gradient by z, which is then a plain difference.
"""

import numpy as np

from ._jit import allocating_kernel, out_of_line, part
from .lanes import transpose
from .simd import (
    fma,
    lanes,
    load,
    log,
    maximum,
    minimum,
    splat,
    store,
    where_at_most,
    where_equal,
)

#: The loss of code i is NAMES[i].
NAMES = (
    "mean_squared_error",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
)
MEAN_SQUARED_ERROR, BINARY_CROSSENTROPY, CATEGORICAL_CROSSENTROPY, SPARSE_CATEGORICAL_CROSSENTROPY = range(len(NAMES))

#: Keras's backend epsilon.
EPSILON = 1e-7


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


# ------------------------------------------------------------------ mean squared error


@part
def mean_squared_error_lanes(a, at, row, targets, here, units, scale, delta):
    """L = 1/m sum_j (a_j - y_j)^2; dL/da_j = 2/m (a_j - y_j)."""
    total = splat(a, 0)
    factor = splat(a, scale * a.dtype.type(2.0 / units))
    for j in range(units):
        error = load(a, at + j * row) - load(targets, here + j * row)
        total = fma(error, error, total)
        store(delta, at + j * row, factor * error)
    return total * splat(a, 1.0 / units)


# ------------------------------------------------------------------ binary crossentropy


@part
def binary_crossentropy_lanes(a, at, row, targets, here, units, scale, delta, joint):
    """L = -1/m sum_j [y_j log p_j + (1 - y_j) log(1 - p_j)]; dL/dz_j = (p_j - y_j) / m for p = sigmoid(z)."""
    one, zero = splat(a, 1), splat(a, 0)
    factor = splat(a, scale * a.dtype.type(1.0 / units))
    total = zero
    for j in range(units):
        p, y = load(a, at + j * row), load(targets, here + j * row)
        q = clipped(p)
        total = fma(y, log(q), fma(one - y, log(one - q), total))
        gradient = factor * (p - y)
        if not joint:
            gradient = gradient / (q * (one - q))
        store(delta, at + j * row, where_inside(p, gradient, zero))
    return total * splat(a, -1.0 / units)


# ------------------------------------------------------------------ categorical crossentropy


@part
def categorical_crossentropy_lanes(a, at, row, targets, here, units, scale, delta, joint):
    """L = -sum_j y_j log q_j with q = p / sum p; for p = softmax(z): dL/dz_j = p_j sum_k y_k - y_j."""
    zero, factor = splat(a, 0), splat(a, scale)
    norm = zero
    for j in range(units):
        norm = norm + load(a, at + j * row)
    total, mass = zero, zero
    for j in range(units):
        q, y = load(a, at + j * row) / norm, load(targets, here + j * row)
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


# ------------------------------------------------------------------ sparse categorical crossentropy


@part
def sparse_categorical_crossentropy_lanes(a, at, row, label, units, scale, delta, joint):
    """The same for a class index: L = -log q_label; for p = softmax(z): dL/dz_j = p_j - [j = label]."""
    zero = splat(a, 0)
    norm, p = zero, zero
    for j in range(units):
        line = load(a, at + j * row)
        norm = norm + line
        p = where_equal(label, splat(a, j), line, p)
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


# ------------------------------------------------------------------ dispatch


@part
def loss_lanes(code, a, at, row, labels, targets, here, units, scale, delta, joint):
    """Losses of a line of samples and, times scale, their gradients.

    a         the last layer's output in lanes, unit j of these samples at `at + j * row`; read
    labels    class indices of the batch, those of the line from `here` on; targets their values, unit j at
              `here + j * row`: whichever the loss needs
    delta     written at the same places as a: by the activation, or by z if joint
    """
    if code == SPARSE_CATEGORICAL_CROSSENTROPY:
        return sparse_categorical_crossentropy_lanes(a, at, row, load(labels, here), units, scale, delta, joint)
    if code == CATEGORICAL_CROSSENTROPY:
        return categorical_crossentropy_lanes(a, at, row, targets, here, units, scale, delta, joint)
    if code == BINARY_CROSSENTROPY:
        return binary_crossentropy_lanes(a, at, row, targets, here, units, scale, delta, joint)
    return mean_squared_error_lanes(a, at, row, targets, here, units, scale, delta)


# ------------------------------------------------------------------ public: whole batches


@allocating_kernel
def _batch(code, a, labels, targets, delta, joint):
    """Mean loss of a batch and its gradient, in C-ordered rows; see the functions below."""
    out_of_line()
    n, units = a.shape
    line = lanes(a)
    row = (n + line - 1) // line * line
    # Ones in the lanes that only fill up a line: any probability will do there.
    outputs, gradient, values = (
        np.ones((units, row), a.dtype),
        np.zeros((units, row), a.dtype),
        np.zeros((units, row), a.dtype),
    )
    indices = np.zeros(row, a.dtype)
    transpose(a.reshape(a.size), 0, units, n, units, outputs.reshape(outputs.size), 0, row)
    transpose(targets.reshape(targets.size), 0, units, min(n, targets.shape[0]), units,
              values.reshape(values.size), 0, row)  # fmt: skip
    for i in range(labels.size):
        indices[i] = labels[i]
    total = 0.0
    scale = a.dtype.type(1.0 / n)
    losses = np.empty(line, a.dtype)
    for i in range(0, n, line):
        loss = loss_lanes(code, outputs, i, row, indices, values, i, units, scale, gradient, joint)
        store(losses, 0, loss)
        total += losses[: min(line, n - i)].sum()
    transpose(gradient.reshape(gradient.size), 0, row, units, n, delta.reshape(delta.size), 0, units)
    return total / n


@allocating_kernel
def mean_squared_error(a, y, delta):
    """Mean of (a - y)^2 over all elements, returned, and its gradient by a.

    a       (n, m)  output, read
    y       (n, m)  target, read
    delta   (n, m)  2 (a - y) / (n m), written
    """
    return _batch(MEAN_SQUARED_ERROR, a, np.zeros(0, np.int32), y, delta, False)


@allocating_kernel
def binary_crossentropy(p, y, delta):
    """Mean of -[y log p + (1 - y) log(1 - p)] over all elements, returned, and its gradient by z, p = sigmoid(z).

    p       (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    y       (n, m)  0, 1 or between, read
    delta   (n, m)  (p - y) / (n m), written
    """
    return _batch(BINARY_CROSSENTROPY, p, np.zeros(0, np.int32), y, delta, True)


@allocating_kernel
def categorical_crossentropy(p, y, delta):
    """Mean over the rows of -sum_j y_j log p_j, returned, and its gradient by z, p = softmax(z).

    p       (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    y       (n, m)  one-hot or soft targets, read
    delta   (n, m)  (p sum_k y_k - y) / n, written
    """
    return _batch(CATEGORICAL_CROSSENTROPY, p, np.zeros(0, np.int32), y, delta, True)


@allocating_kernel
def sparse_categorical_crossentropy(p, labels, delta):
    """Mean over the rows of -log p_label, returned, and its gradient by z, p = softmax(z).

    p        (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    labels   (n,)    class indices, read
    delta    (n, m)  (p - onehot(labels)) / n, written
    """
    return _batch(SPARSE_CATEGORICAL_CROSSENTROPY, p, labels, p, delta, True)
