"""Metrics that are counted while a batch's output is at hand.

To add one: its section, its name in NAMES, a line in `hit`; its twin goes into tests/reference.py.
"""

from ._jit import kernel, out_of_line
from .simd import element

#: The metric of code i is NAMES[i]; "none" counts nothing.
NAMES = ("none", "binary_accuracy", "categorical_accuracy")
NONE, BINARY_ACCURACY, CATEGORICAL_ACCURACY = range(len(NAMES))


@kernel
def argmax(a, at, units):
    """Index of the first maximum."""
    best, top = 0, element(a, at)
    for j in range(1, units):
        x = element(a, at + j)
        if x > top:
            best, top = j, x
    return best


@kernel
def hit(code, a, at, labels, targets, row, units):
    """Share of the row's predictions that are right.

    binary_accuracy        units whose target equals (a > 0.5)
    categorical_accuracy   1.0 if the first maximum is at the label, else 0.0
    """
    out_of_line()
    if code == CATEGORICAL_ACCURACY:
        return 1.0 if argmax(a, at, units) == element(labels, row) else 0.0
    if code == BINARY_ACCURACY:
        right = 0
        for j in range(units):
            above = element(a, at + j) > a.dtype.type(0.5)
            right += element(targets, row * units + j) == a.dtype.type(above)
        return right / units
    return 0.0
