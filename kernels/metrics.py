"""Metrics of one row, taken while its output is at hand; the mean over all rows is the reported value.

To add one: its section with a `<name>_row` part, its name in NAMES, a line in `metric_rows`; its twin goes into
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
    """1 if the first maximum is at the label, else 0.

    Asks who beats the label instead of looking for the maximum: no branch for the processor to guess wrong.
    """
    p = element(a, at + label)
    beaten = p != p
    for j in range(units):
        x = element(a, at + j)
        beaten |= (x > p) | ((x == p) & (j < label))
    return 0.0 if beaten else 1.0


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
def metric_rows(code, a, at, row, labels, targets, order, start, rows, units, metrics, metrics_at, m):
    """One metric of some rows.

    a         flat; the rows' outputs start at `at` and lie `row` apart, read
    labels    (n,) class indices, targets (n, units): whichever the metric needs, at order[start : start + rows]
    metrics   (..., metrics) float64; rows from metrics_at on of column m are written
    """
    out_of_line()
    for i in range(rows):
        here, sample = at + i * row, element(order, start + i)
        if code == CATEGORICAL_ACCURACY:
            result = categorical_accuracy_row(a, here, element(labels, sample), units)
        elif code == BINARY_ACCURACY:
            result = binary_accuracy_row(a, here, targets, sample, units)
        elif code == MEAN_ABSOLUTE_ERROR:
            result = mean_absolute_error_row(a, here, targets, sample, units)
        else:
            result = mean_squared_error_row(a, here, targets, sample, units)
        metrics[metrics_at + i, m] = result
