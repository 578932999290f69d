"""Metrics, taken while the outputs of a batch are at hand.

Most are means over the samples: kernels of the same arguments as those of the losses (see losses.scoring), so every
loss is a metric too. The others count: a kernel of the arguments COUNT adds what a batch holds to the metric's counts,
from which Python makes the result at the end of the pass. The epoch calls both by address (see by_address.py).

To add one: its section with a part on lanes and a line in _PARTS, or a kernel and a line in COUNTERS; its twin goes
into tests/twins.py.
"""

import math

from . import losses
from ._jit import kernel, out_of_line, part
from .losses import scoring
from .simd import element, load, maximum, splat, where_equal, where_less

#: Arguments of a kernel that counts:
#: (numbers, numbers_at, a, at, row, labels, targets, weights, units, counts, counts_at, rows)
COUNT = "fiaiiaaaifii"

# ------------------------------------------------------------------ accuracy


@part
def binary_accuracy_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """Share of the units whose target equals (a > numbers[n])."""
    one, zero, threshold = splat(a, 1), splat(a, 0), splat(a, numbers[n])
    right = zero
    for j in range(units):
        above = where_less(threshold, load(a, at + j * row), one, zero)
        right = right + where_equal(load(targets, here + j * row), above, one, zero)
    return right / splat(a, units)


@part
def categorical_accuracy_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """1 if the first maximum is at the label, else 0."""
    top, first = load(a, at), splat(a, 0)
    for j in range(1, units):
        line = load(a, at + j * row)
        first = where_less(top, line, splat(a, j), first)
        top = maximum(top, line)
    # A row that begins with NaN has no larger one: it counts for unit 0, as NumPy's argmax does.
    return where_equal(first, load(labels, here), splat(a, 1), splat(a, 0))


@part
def top_k_categorical_accuracy_lanes(numbers, n, joint, a, at, row, labels, targets, here, units, scale, delta):
    """1 if fewer than numbers[n] outputs are above that of the label, else 0."""
    label, one, zero = load(labels, here), splat(a, 1), splat(a, 0)
    own, above = zero, zero
    for j in range(units):
        own = where_equal(label, splat(a, j), load(a, at + j * row), own)
    for j in range(units):
        above = above + where_less(own, load(a, at + j * row), one, zero)
    return where_less(above, splat(a, numbers[n]), one, zero)


_PARTS = {
    "binary_accuracy": binary_accuracy_lanes,
    "categorical_accuracy": categorical_accuracy_lanes,
    "top_k_categorical_accuracy": top_k_categorical_accuracy_lanes,
}

#: Kernel of each metric that is a mean.
MEANS = {**{name: scoring(name, lines) for name, lines in _PARTS.items()}, **losses.KERNELS}

# ------------------------------------------------------------------ counts at thresholds


@part
def in_top(a, at, row, units, j, k):
    """Whether output j of a sample is among its k largest; the first of equal ones come first."""
    own, above = element(a, at + j * row), 0
    for i in range(units):
        other = element(a, at + i * row)
        above += own < other or (own == other and i < j)
    return above < k


@kernel
def above_thresholds(numbers, numbers_at, a, at, row, labels, targets, weights, units, counts, counts_at, rows):
    """How many outputs, of positive and of negative targets, are above exactly t of the thresholds.

    numbers   count of thresholds; unit that is looked at, or -1 for all; k, of whose largest outputs only, or 0;
              whether the target is a class index; whether the thresholds are even, from below 0 to above 1; then they,
              ascending
    counts    (thresholds + 1, 2), added to: weights of the positive and of the negative ones
    """
    out_of_line()
    thresholds, only = int(numbers[numbers_at]), int(numbers[numbers_at + 1])
    k, sparse, first = int(numbers[numbers_at + 2]), numbers[numbers_at + 3] != 0, numbers_at + 5
    even, steps = numbers[numbers_at + 4] != 0, a.dtype.type(thresholds - 1)
    for i in range(rows):
        weight = 1.0
        if weights.size > 0:
            weight = float(element(weights, i))
        for j in range(units):
            if 0 <= only != j:
                continue
            p = element(a, at + j * row + i)
            y = (1.0 if element(labels, i) == j else 0.0) if sparse else float(element(targets, j * row + i))
            low, high = 0, thresholds
            if even:  # as Keras finds them, in the outputs' type
                low = high = max(1, min(math.ceil(p * steps), thresholds - 1))
            while low < high:  # how many are below p
                middle = (low + high) // 2
                if a.dtype.type(numbers[first + middle]) < p:
                    low = middle + 1
                else:
                    high = middle
            if k > 0 and not in_top(a, at + i, row, units, j, k):
                low = 0
            counts[counts_at + 2 * low] += weight * y
            counts[counts_at + 2 * low + 1] += weight * (1.0 - y)


# ------------------------------------------------------------------ confusion matrix


@kernel
def confusion(numbers, numbers_at, a, at, row, labels, targets, weights, units, counts, counts_at, rows):
    """Weights of the samples of each true class (rows) for which each class (columns) has the first maximum.

    numbers   of a single unit, whose output above numbers[0] is class 1
    counts    (classes, classes), added to
    """
    out_of_line()
    classes = max(units, 2)
    for i in range(rows):
        if units == 1:
            guess = 1 if element(a, at + i) > a.dtype.type(numbers[numbers_at]) else 0
            truth = int(element(targets, i) > 0.5)
        else:
            guess, truth = 0, int(element(labels, i))
            for j in range(1, units):
                if element(a, at + guess * row + i) < element(a, at + j * row + i):
                    guess = j
        weight = 1.0
        if weights.size > 0:
            weight = float(element(weights, i))
        counts[counts_at + truth * classes + guess] += weight


# ------------------------------------------------------------------ counts of classes


@kernel
def class_counts(numbers, numbers_at, a, at, row, labels, targets, weights, units, counts, counts_at, rows):
    """For each unit the weights of true positives, false positives and false negatives.

    numbers   threshold above which an output is positive, or -1: the largest of the sample are, unless they are within
              1e-9 of 0 (as in Keras); whether the target is a class index
    counts    (units, 3), added to
    """
    out_of_line()
    threshold = numbers[numbers_at]
    for i in range(rows):
        largest = element(a, at + i)
        for j in range(1, units):
            largest = max(largest, element(a, at + j * row + i))
        weight = 1.0
        if weights.size > 0:
            weight = float(element(weights, i))
        for j in range(units):
            p, guess = element(a, at + j * row + i), 0.0
            if (p >= largest and abs(p) > 1e-9) if threshold < 0 else p > a.dtype.type(threshold):
                guess = 1.0
            y, here = 0.0, counts_at + 3 * j
            if numbers[numbers_at + 1] != 0:
                y = 1.0 if element(labels, i) == j else 0.0
            else:
                y = float(element(targets, j * row + i))
            counts[here] += weight * guess * y
            counts[here + 1] += weight * guess * (1.0 - y)
            counts[here + 2] += weight * (1.0 - guess) * y


# ------------------------------------------------------------------ moments of targets and errors


@kernel
def moments(numbers, numbers_at, a, at, row, labels, targets, weights, units, counts, counts_at, rows):
    """For each unit sums of the weights, of the targets, of their squares, of the squared errors, and the samples.

    counts    (units, 5), added to
    """
    out_of_line()
    for i in range(rows):
        weight = 1.0
        if weights.size > 0:
            weight = float(element(weights, i))
        for j in range(units):
            y, here = float(element(targets, j * row + i)), counts_at + 5 * j
            # In float64, which float() of a float32 is not in Numba.
            error = 1.0 * float(element(a, at + j * row + i)) - y
            counts[here] += weight
            counts[here + 1] += weight * y
            counts[here + 2] += weight * y * y
            counts[here + 3] += weight * error * error
            counts[here + 4] += 1.0


#: Kernel of each metric that counts.
COUNTERS = {
    "above_thresholds": above_thresholds,
    "confusion": confusion,
    "class_counts": class_counts,
    "moments": moments,
}
