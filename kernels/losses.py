"""Losses: the loss of each row and its gradient by the network's output, in one pass.

To add one: its section with a `<name>_row` part, its name in NAMES, a line in `loss_rows`; its twin goes into
tests/reference.py. Probabilities are clipped to [EPSILON, 1 - EPSILON] as Keras does (on JAX and PyTorch), and
where one is clipped its gradient is zero, there as here.

Where the last activation and the loss cancel (softmax with a crossentropy, sigmoid with the binary one) `joint` asks
for the gradient by z, which is then a plain difference.
"""

import math

import numpy as np

from ._jit import kernel, out_of_line, part
from .simd import element, keep_first, lanes, load, splat, store, sum_lanes

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

# ------------------------------------------------------------------ mean squared error


@part
def mean_squared_error_row(a, at, targets, row, units, scale, delta):
    """L = 1/m sum_j (a_j - y_j)^2; dL/da_j = 2/m (a_j - y_j)."""
    total = 0.0
    factor = scale * a.dtype.type(2.0 / units)
    for j in range(units):
        error = element(a, at + j) - element(targets, row * units + j)
        total += error * error
        delta[at + j] = factor * error
    return total / units


# ------------------------------------------------------------------ binary crossentropy


@part
def binary_crossentropy_row(a, at, targets, row, units, scale, delta, joint):
    """L = -1/m sum_j [y_j log p_j + (1 - y_j) log(1 - p_j)]; dL/dz_j = (p_j - y_j) / m for p = sigmoid(z)."""
    low, high, one = a.dtype.type(EPSILON), a.dtype.type(1 - EPSILON), a.dtype.type(1)
    factor = scale * a.dtype.type(1.0 / units)
    total = 0.0
    for j in range(units):
        p, y = element(a, at + j), element(targets, row * units + j)
        inside = low < p < high
        clipped = min(max(p, low), high)
        total -= y * math.log(clipped) + (one - y) * math.log(one - clipped)
        if not inside:
            delta[at + j] = p - p  # zero, and NaN for NaN
        elif joint:
            delta[at + j] = factor * (p - y)
        else:
            delta[at + j] = factor * (p - y) / (p * (one - p))
    return total / units


# ------------------------------------------------------------------ categorical crossentropy


@part
def categorical_crossentropy_row(a, at, targets, row, units, scale, delta, joint):
    """L = -sum_j y_j log q_j with q = p / sum p; for p = softmax(z): dL/dz_j = p_j sum_k y_k - y_j."""
    low, high, zero = a.dtype.type(EPSILON), a.dtype.type(1 - EPSILON), a.dtype.type(0)
    norm = zero
    for j in range(units):
        norm += element(a, at + j)
    total, mass = 0.0, zero
    for j in range(units):
        q, y = element(a, at + j) / norm, element(targets, row * units + j)
        total -= y * math.log(min(max(q, low), high))
        # y_j without the clipped ones, which have no gradient
        y = y if low < q < high or q != q else zero
        delta[at + j] = y
        mass += y
    for j in range(units):
        p, y = element(a, at + j), delta[at + j]
        if joint:
            delta[at + j] = scale * (p * mass - y)
        else:
            delta[at + j] = scale * (mass / norm - (y / p if y != zero else zero))
    return total


# ------------------------------------------------------------------ sparse categorical crossentropy


@part
def sparse_categorical_crossentropy_row(a, at, label, units, scale, delta, joint):
    """The same for a class index: L = -log q_label; for p = softmax(z): dL/dz_j = p_j - [j = label]."""
    low, high, zero = a.dtype.type(EPSILON), a.dtype.type(1 - EPSILON), a.dtype.type(0)
    line = lanes(a)
    norm = splat(a, 0)
    for j in range(0, units, line):
        norm = norm + keep_first(load(a, at + j), units - j, splat(a, 0))
    norm = sum_lanes(norm)
    p = element(a, at + label)
    q = p / norm
    mass = scale if low < q < high or q != q else zero
    for j in range(0, units, line):
        gradient = load(a, at + j) * splat(a, mass) if joint else splat(a, mass / norm)
        store(delta, at + j, keep_first(gradient, units - j, splat(a, 0)))
    delta[at + label] -= mass if joint else (mass / p if mass != zero else zero)
    return -math.log(min(max(q, low), high))


# ------------------------------------------------------------------ dispatch


@kernel
def loss_rows(code, a, at, row, labels, targets, order, start, rows, units, scale, delta, joint, losses, losses_at):
    """Losses of some rows and, times scale, their gradients.

    a        flat; the rows' outputs start at `at` and lie `row` apart in whole lines, read
    labels   (n,) class indices, targets (n, units): whichever the loss needs, at order[start : start + rows]
    delta    flat, written at the same places as a: by the activation, or by z if joint; zeros beyond the units stay
    losses   (rows,) float64 from losses_at on, written
    """
    out_of_line()
    for i in range(rows):
        here, sample = at + i * row, element(order, start + i)
        if code == SPARSE_CATEGORICAL_CROSSENTROPY:
            loss = sparse_categorical_crossentropy_row(a, here, element(labels, sample), units, scale, delta, joint)
        elif code == CATEGORICAL_CROSSENTROPY:
            loss = categorical_crossentropy_row(a, here, targets, sample, units, scale, delta, joint)
        elif code == BINARY_CROSSENTROPY:
            loss = binary_crossentropy_row(a, here, targets, sample, units, scale, delta, joint)
        else:
            loss = mean_squared_error_row(a, here, targets, sample, units, scale, delta)
        losses[losses_at + i] = loss


# ------------------------------------------------------------------ public: whole batches


@kernel
def _batch(code, a, labels, targets, delta, joint):
    """Mean loss of a batch and its gradient; see the functions below."""
    n, units = a.shape
    line = lanes(a)
    row = (units + line - 1) // line * line
    padded, gradient = np.zeros(n * row, a.dtype), np.zeros(n * row, a.dtype)  # loss_rows works on whole lines
    for i in range(n):
        padded[i * row : i * row + units] = a[i]
    losses = np.empty(n)
    scale = a.dtype.type(1.0 / n)
    loss_rows(code, padded, 0, row, labels, targets, np.arange(n), 0, n, units, scale, gradient, joint, losses, 0)
    for i in range(n):
        delta[i] = gradient[i * row : i * row + units]
    return losses.mean()


@kernel
def mean_squared_error(a, y, delta):
    """Mean of (a - y)^2 over all elements, returned, and its gradient by a.

    a       (n, m)  output, read
    y       (n, m)  target, read
    delta   (n, m)  2 (a - y) / (n m), written
    """
    return _batch(MEAN_SQUARED_ERROR, a, np.zeros(0, np.int32), y, delta, False)


@kernel
def binary_crossentropy(p, y, delta):
    """Mean of -[y log p + (1 - y) log(1 - p)] over all elements, returned, and its gradient by z, p = sigmoid(z).

    p       (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    y       (n, m)  0, 1 or between, read
    delta   (n, m)  (p - y) / (n m), written
    """
    return _batch(BINARY_CROSSENTROPY, p, np.zeros(0, np.int32), y, delta, True)


@kernel
def categorical_crossentropy(p, y, delta):
    """Mean over the rows of -sum_j y_j log p_j, returned, and its gradient by z, p = softmax(z).

    p       (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    y       (n, m)  one-hot or soft targets, read
    delta   (n, m)  (p sum_k y_k - y) / n, written
    """
    return _batch(CATEGORICAL_CROSSENTROPY, p, np.zeros(0, np.int32), y, delta, True)


@kernel
def sparse_categorical_crossentropy(p, labels, delta):
    """Mean over the rows of -log p_label, returned, and its gradient by z, p = softmax(z).

    p        (n, m)  probabilities, read; clipped to [1e-7, 1 - 1e-7], without gradient where they are
    labels   (n,)    class indices, read
    delta    (n, m)  (p - onehot(labels)) / n, written
    """
    return _batch(SPARSE_CATEGORICAL_CROSSENTROPY, p, labels, p, delta, True)
