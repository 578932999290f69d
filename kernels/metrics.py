"""Metrics of one row, taken while its output is at hand; the mean over all rows is the reported value.

To add one: its section with a `<name>_row` kernel, its name in NAMES, a line in `metric_row`; its twin goes into
tests/reference.py.
"""

from ._jit import kernel, out_of_line, part
from .simd import element

#: The metric of code i is NAMES[i].
NAMES = ("binary_accuracy", "categorical_accuracy", "mean_squared_error", "mean_absolute_error")
BINARY_ACCURACY, CATEGORICAL_ACCURACY, MEAN_SQUARED_ERROR, MEAN_ABSOLUTE_ERROR = range(len(NAMES))

# ------------------------------------------------------------------ accuracy


@part
def binary_accuracy_row(a, at, targets, row, units):
    """Share of the units whose target equals (a > 0.5)."""
    right = 0
    for j in range(units):
        above = element(a, at + j) > a.dtype.type(0.5)
        right += element(targets, row * units + j) == a.dtype.type(above)
    return right / units


@part
def categorical_accuracy_row(a, at, label, units):
    """1 if the first maximum is at the label, else 0."""
    best, top = 0, element(a, at)
    for j in range(1, units):
        x = element(a, at + j)
        if x > top:
            best, top = j, x
    return 1.0 if best == label else 0.0


# ------------------------------------------------------------------ mean squared and absolute error


@part
def mean_squared_error_row(a, at, targets, row, units):
    """1/m sum_j (a_j - y_j)^2."""
    total = 0.0
    for j in range(units):
        error = element(a, at + j) - element(targets, row * units + j)
        total += error * error
    return total / units


@part
def mean_absolute_error_row(a, at, targets, row, units):
    """1/m sum_j |a_j - y_j|."""
    total = 0.0
    for j in range(units):
        total += abs(element(a, at + j) - element(targets, row * units + j))
    return total / units


# ------------------------------------------------------------------ dispatch


@kernel
def metric_row(code, a, at, labels, targets, row, units):
    """The metric of one row (float64).

    a        flat; the row's output starts at `at`, read
    labels   (n,) class indices, targets (n, units): whichever the metric needs, at `row`
    """
    out_of_line()
    if code == CATEGORICAL_ACCURACY:
        return categorical_accuracy_row(a, at, element(labels, row), units)
    if code == BINARY_ACCURACY:
        return binary_accuracy_row(a, at, targets, row, units)
    if code == MEAN_ABSOLUTE_ERROR:
        return mean_absolute_error_row(a, at, targets, row, units)
    return mean_squared_error_row(a, at, targets, row, units)
