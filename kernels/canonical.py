"""Losses with the activation that they go with: softmax, sigmoid, linear, exp, as scikit-learn has them.

Of such a pair the gradient by z, in front of the activation, is p - y for each unit. It is never clipped, so a network
that is sure and wrong still learns; the losses' values are those that scikit-learn reports. A part takes what those of
losses.py take, with joint always 1. numbers[n] is the least probability whose logarithm is taken.

source  Bishop (2006), Pattern Recognition and Machine Learning, 4.3.6: canonical link functions
"""

from ._jit import part
from .losses import scoring
from .simd import load, log, maximum, minimum, splat, store, where_equal, where_less


@part
def softmax_canonical_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """-log p_label, of a class index."""
    zero, label, factor = splat(a, 0), load(labels, here), splat(a, scale)
    own = zero
    for j in range(units):
        p = load(a, at + j * row)
        own = where_equal(label, splat(a, j), p, own)
        store(delta, at + j * row, factor * (p - where_equal(label, splat(a, j), splat(a, 1), zero)))
    return -log(minimum(maximum(own, splat(a, numbers[n])), splat(a, 1.0 - numbers[n])))


@part
def sigmoid_canonical_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """-sum_j y_j log p_j + (1 - y_j) log(1 - p_j)."""
    total, one, factor = splat(a, 0), splat(a, 1), splat(a, scale)
    for j in range(units):
        p, y = load(a, at + j * row), load(targets, here + j * row)
        q = minimum(maximum(p, splat(a, numbers[n])), splat(a, 1.0 - numbers[n]))
        total = total - y * log(q) - (one - y) * log(one - q)
        store(delta, at + j * row, factor * (p - y))
    return total


@part
def linear_canonical_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """Half the mean over the units of (p_j - y_j)^2; the gradient is that of half their sum."""
    total, factor = splat(a, 0), splat(a, scale)
    for j in range(units):
        error = load(a, at + j * row) - load(targets, here + j * row)
        total = total + error * error
        store(delta, at + j * row, factor * error)
    return total * splat(a, 0.5 / units)


@part
def exp_canonical_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """Half the deviance of Poisson's distribution, sum_j y_j log(y_j / p_j) - y_j + p_j."""
    total, zero, one, factor = splat(a, 0), splat(a, 0), splat(a, 1), splat(a, scale)
    for j in range(units):
        p, y = load(a, at + j * row), load(targets, here + j * row)
        counted = where_less(zero, y, y, one)  # y log y is 0 at 0
        total = total + y * (log(counted) - log(maximum(p, splat(a, numbers[n])))) - y + p
        store(delta, at + j * row, factor * (p - y))
    return total


_PARTS = {
    "softmax": softmax_canonical_lanes,
    "sigmoid": sigmoid_canonical_lanes,
    "linear": linear_canonical_lanes,
    "exponential": exp_canonical_lanes,
}

#: Kernel of each, by the activation that it goes with.
KERNELS = {name: scoring(f"{name}_canonical", lines) for name, lines in _PARTS.items()}
