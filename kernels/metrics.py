"""Metrics of a line of samples, taken while their outputs are at hand; the mean over all samples is reported.

To add one: its section with a part on lanes, its name in NAMES, a line in `metric_lanes`; its twin goes into
tests/reference.py. Outputs and targets are kept in lanes, as for the losses.
"""

from ._jit import part
from .simd import fma, load, maximum, splat, where_equal, where_less

#: The metric of code i is NAMES[i].
NAMES = ("binary_accuracy", "categorical_accuracy", "mean_squared_error", "mean_absolute_error")
BINARY_ACCURACY, CATEGORICAL_ACCURACY, MEAN_SQUARED_ERROR, MEAN_ABSOLUTE_ERROR = range(len(NAMES))

# ------------------------------------------------------------------ accuracy


@part
def binary_accuracy_lanes(a, at, row, targets, here, units):
    """Share of the units whose target equals (a > 0.5)."""
    one, zero, half = splat(a, 1), splat(a, 0), splat(a, 0.5)
    right = zero
    for j in range(units):
        above = where_less(half, load(a, at + j * row), one, zero)
        right = right + where_equal(load(targets, here + j * row), above, one, zero)
    return right / splat(a, units)


@part
def categorical_accuracy_lanes(a, at, row, label, units):
    """1 if the first maximum is at the label, else 0."""
    top, first = load(a, at), splat(a, 0)
    for j in range(1, units):
        line = load(a, at + j * row)
        first = where_less(top, line, splat(a, j), first)
        top = maximum(top, line)
    # A row that begins with NaN has no larger one: it counts for unit 0, as NumPy's argmax does.
    return where_equal(first, label, splat(a, 1), splat(a, 0))


# ------------------------------------------------------------------ mean squared and absolute error


@part
def mean_squared_error_lanes(a, at, row, targets, here, units):
    """1/m sum_j (a_j - y_j)^2."""
    total = splat(a, 0)
    for j in range(units):
        error = load(a, at + j * row) - load(targets, here + j * row)
        total = fma(error, error, total)
    return total / splat(a, units)


@part
def mean_absolute_error_lanes(a, at, row, targets, here, units):
    """1/m sum_j |a_j - y_j|."""
    total = splat(a, 0)
    for j in range(units):
        error = load(a, at + j * row) - load(targets, here + j * row)
        total = total + maximum(error, -error)
    return total / splat(a, units)


# ------------------------------------------------------------------ dispatch


@part
def metric_lanes(code, a, at, row, labels, targets, here, units):
    """A metric of a line of samples.

    a        the last layer's output in lanes, unit j of these samples at `at + j * row`; read
    labels   class indices of the batch, those of the line from `here` on; targets their values, unit j at
             `here + j * row`: whichever the metric needs
    """
    if code == CATEGORICAL_ACCURACY:
        return categorical_accuracy_lanes(a, at, row, load(labels, here), units)
    if code == BINARY_ACCURACY:
        return binary_accuracy_lanes(a, at, row, targets, here, units)
    if code == MEAN_ABSOLUTE_ERROR:
        return mean_absolute_error_lanes(a, at, row, targets, here, units)
    return mean_squared_error_lanes(a, at, row, targets, here, units)
