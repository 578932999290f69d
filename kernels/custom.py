"""Losses and metrics of a user's own: compiled functions of one sample, in a kernel that the epoch calls by address.

They are compiled in each process: their sources may be anywhere, so no digest could tell whether a file of machine code
is still theirs. The kernel may allocate, since the user's functions may.
"""

import numba
import numpy as np

from .simd import lanes

_OPTIONS = {"nogil": True, "error_model": "numpy"}


def compiled(function):
    """The same function if it is compiled by the user's own options, else compiled by those of the kernels."""
    return function if hasattr(function, "py_func") else numba.njit(**_OPTIONS)(function)


@numba.njit(**_OPTIONS)
def _no_gradient(y_true, y_pred, out):
    """What a metric has for a gradient."""


def scoring(value, gradient=None, sparse=False):
    """The kernel that scores samples by a user's functions: the arguments are those of losses.scoring.

    value      (y_true, y_pred) -> loss of one sample
    gradient   (y_true, y_pred, out) -> None, writes its gradient by y_pred; None of a metric, whose delta is left alone
    sparse     whether y_true is the class index, (1,), instead of the values (units,)

    y_true, y_pred and out, which is zeros, are arrays of the network's type.
    """
    differentiates = gradient is not None
    gradient = gradient or _no_gradient

    @numba.njit(**_OPTIONS)
    def score(
        numbers, numbers_at, joint, a, at, row, labels, targets, weights, units, scale, delta, totals, totals_row,
        column, first, last
    ):  # fmt: skip
        line, factor = lanes(a), a.dtype.type(scale)
        y_true, y_pred = np.zeros(1 if sparse else units, a.dtype), np.zeros(units, a.dtype)
        out = np.zeros(units, a.dtype)
        # An exception doesn't pass a call by address: it ends the kernel, and leaves these as the loss.
        for i in range(first, last, line):
            totals[i // line * totals_row + column] = np.nan
        for begin in range(first, last, line):
            total = 0.0
            for i in range(begin, min(begin + line, last)):
                if sparse:
                    y_true[0] = labels[i]
                else:
                    for j in range(units):
                        y_true[j] = targets[j * row + i]
                for j in range(units):
                    y_pred[j] = a[at + j * row + i]
                weight = weights[i] if weights.size > 0 else a.dtype.type(1)
                total += float(weight) * float(value(y_true, y_pred))
                if differentiates:
                    out[:] = 0
                    gradient(y_true, y_pred, out)
                    for j in range(units):
                        delta[at + j * row + i] = factor * weight * out[j]
            totals[begin // line * totals_row + column] = total

    return score
