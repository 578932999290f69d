"""How far a kernel may lie from its plain version; the only source of tolerances in tests/kernels.

A sum of k products in precision eps is off by at most k * eps / 2 * (|x| . |w|) to first order, in whatever order it
is summed (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1). C leaves room for the roundings
of what stands around the sum.
"""

import numpy as np

C = 2


def tolerance(dtype, k, magnitude):
    """C * k * eps * magnitude: k roundings in sequence, magnitude the sum of the absolute terms, |x| . |w|."""
    return C * k * np.finfo(dtype).eps * np.asarray(magnitude, np.float64)


def assert_close(result, exact, k, magnitude, dtype=None):
    """The result, of its own precision unless given, is within tolerance(k, magnitude) of the float64 twin's."""
    result, exact = np.asarray(result), np.asarray(exact)
    assert result.shape == exact.shape
    error = np.abs(result.astype(np.float64) - exact)
    allowed = tolerance(dtype or result.dtype, k, magnitude) + np.zeros_like(error)
    wrong = ~(error <= allowed)
    assert not wrong.any(), (
        f"{wrong.sum()} of {wrong.size} differ, first at {tuple(np.argwhere(wrong)[0])}: "
        f"{result[wrong][0]} is not {exact[wrong][0]} +- {allowed[wrong][0]:.2g}"
    )


#: Step of a central difference in float64: where its truncation, h^2, meets its rounding, eps / h.
H = np.finfo(np.float64).eps ** (1 / 3)


def difference_tolerance(k, magnitude):
    """What a central difference with step H may be off: C * k * eps^(2/3) * magnitude, k roundings in the function."""
    return C * k * H**2 * np.asarray(magnitude, np.float64)


def central_difference(function, x):
    """Derivative of the float64 scalar function() by every element of the array x, which is moved and put back."""
    derivative = np.empty(x.shape)
    for at in np.ndindex(x.shape):
        kept = x[at]
        x[at] = kept + H
        above, step = function(), x[at]
        x[at] = kept - H
        below, step = function(), step - x[at]
        x[at] = kept
        derivative[at] = (above - below) / step
    return derivative


def ulps(result, exact):
    """Error in units of the last place of the exact value (given in a wider type) as the result's type has it."""
    rounded = np.abs(exact).astype(result.dtype)
    spacing = np.spacing(np.minimum(rounded, np.finfo(result.dtype).max)).astype(exact.dtype)
    return np.abs(result.astype(exact.dtype) - exact) / spacing
