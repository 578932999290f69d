"""Losses that go with the last activation."""

import numpy as np
import pytest
import twins
from support import DTYPES, SIZES, Padded, lanes
from tolerance import assert_close, central_difference, difference_tolerance

from fastmlp.kernels.canonical import KERNELS

names = pytest.mark.parametrize("name", KERNELS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)

ACTIVATIONS = {"softmax": twins.softmax, "sigmoid": twins.sigmoid, "linear": lambda z: z, "exponential": np.exp}


def samples(name, n, units, dtype):
    """Outputs of the last layer, and targets."""
    rng = np.random.default_rng(n)
    a = ACTIVATIONS[name](2 * rng.standard_normal((n, units))).astype(dtype)
    if name == "softmax":
        return a, rng.integers(0, units, n)
    if name == "sigmoid":
        return a, rng.integers(0, 2, (n, units)).astype(dtype)
    return a, (rng.poisson(2.0, (n, units)) if name == "exponential" else rng.standard_normal((n, units))).astype(dtype)


def scored(name, a, y, scale=1.0, weights=None):
    """Sums of the losses of each line of samples, and the gradients."""
    n, units = a.shape
    dtype = a.dtype
    acts, delta, values = Padded(a.T, 5, 1.0), Padded(np.zeros((units, n), dtype), 5, 0), np.zeros(0, dtype)
    row, labels = acts.row, np.zeros(acts.row, dtype)
    if name == "softmax":
        labels[:n] = y
    else:
        values = Padded(y.T, 0, 0.0).flat
    own = np.zeros(0, dtype)
    if weights is not None:
        own = np.zeros(row, dtype)
        own[:n] = weights
    line = lanes(dtype)
    totals, numbers = np.zeros(row // line), np.array([7.0, np.finfo(dtype).eps])
    KERNELS[name](numbers, 1, 1, *acts.place, labels, values, own, units, scale, delta.flat,
                  totals, 1, 0, 0, n)  # fmt: skip
    acts.assert_untouched()
    return totals[: -(-n // line)], delta.matrix.T.copy()


def sizes_of_terms(name, a, y):
    """Sums of absolute terms of each row's loss."""
    a = a.astype(np.float64)
    if name == "linear":
        return ((a - y) ** 2).mean(axis=1)
    if name == "exponential":
        return (y * (np.abs(np.log(np.maximum(y, 1))) + np.abs(np.log(a)) + 1) + y + a).sum(axis=1)
    least = np.finfo(np.float64).eps
    p = np.clip(a, least, 1 - least)
    # A rounding of 1 - p is one of its logarithm, as many times larger as p is nearer to 1.
    return (np.abs(np.log(p)) + np.abs(np.log(1 - p)) + 1 / (1 - p)).sum(axis=1)


@names
@dtypes
def test_losses_and_gradients_equal_the_twins(name, dtype):
    for n in SIZES:
        for units in (2, 3, 17):
            a, y = samples(name, n, units, dtype)
            totals, delta = scored(name, a, y, 0.5)
            exact, line = twins.canonical(name, a, y), lanes(dtype)
            size = sizes_of_terms(name, a, y)
            for i, total in enumerate(totals):
                rows = slice(i * line, (i + 1) * line)
                assert_close(total, exact[rows].sum(), units + line + 8, size[rows].sum(), dtype)
            gradient = 0.5 * twins.canonical_gradient(name, a, y)
            assert_close(delta, gradient, 2, np.abs(a) + np.abs(gradient))


@names
def test_the_gradient_is_the_slope_of_the_loss_in_front_of_the_activation(name):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, 4))
    _, y = samples(name, 3, 4, np.float64)
    slope = central_difference(lambda: twins.canonical(name, ACTIVATIONS[name](z), y).sum(), z)
    gradient = twins.canonical_gradient(name, ACTIVATIONS[name](z), y) / (4 if name == "linear" else 1)
    assert (np.abs(slope - gradient) < difference_tolerance(20, 30)).all()


@names
def test_weights_multiply_losses_and_gradients(name):
    a, y = samples(name, 5, 3, np.float64)
    weights = np.array([0.0, 1.0, 2.0, 0.5, 0.0])
    (total,), delta = scored(name, a, y, weights=weights)
    assert total == pytest.approx((weights * twins.canonical(name, a, y)).sum(), rel=1e-13)
    np.testing.assert_allclose(delta, weights[:, None] * twins.canonical_gradient(name, a, y), rtol=1e-13)


@dtypes
def test_a_network_that_is_sure_and_wrong_has_a_gradient(dtype):
    a = np.array([[1.0, 0.0]], dtype)
    (total,), delta = scored("softmax", a, np.array([1]))
    assert total == pytest.approx(-np.log(np.finfo(dtype).eps), rel=1e-6)
    assert delta.tolist() == [[1.0, -1.0]]
