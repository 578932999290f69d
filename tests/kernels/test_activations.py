import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, lanes, some
from tolerance import H, assert_close, central_difference, difference_tolerance, tolerance, ulps

from fastmlp.kernels import activations
from fastmlp.kernels.activations import NAMES, WITHOUT_GRADIENT, activate, activate_backward, softmax_row
from fastmlp.kernels.plan import aligned_zeros, padded

ELEMENTWISE = [name for name in NAMES if name not in ("linear", "softmax")]
TRAINABLE = [name for code, name in enumerate(NAMES) if code not in WITHOUT_GRADIENT]

# What the functions promise, in units of the last place.
ULPS = {"step": 0, "relu": 0, "sigmoid": 3, "tanh": 2}


def numbers(dtype, shape, seed=0):
    return np.asarray(4 * np.random.default_rng(seed).standard_normal(shape), dtype)


def roundings(name, units):
    """Rounded operations in a sequence behind an activation's output."""
    return {"softmax": units + 4, "sigmoid": 3, "tanh": 2}.get(name, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_has_a_twin(name):
    assert hasattr(reference, name), f"tests/reference.py has no twin of the activation {name}"
    if name in TRAINABLE and name != "softmax":
        assert hasattr(reference, f"{name}_slope"), f"tests/reference.py has no twin of {name}_slope"


# ---------------------------------------------------------------------------------------------- public functions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_functions_are_as_accurate_as_they_say(name, dtype):
    for shape in (*SIZES, (), 0, (3, 5), (2, 3, 7), some(100_000, 300)):
        z = numbers(dtype, shape)
        before, a = z.copy(), np.full(shape, np.nan, dtype)
        getattr(activations, name)(z, a)
        assert a.dtype == dtype
        assert a.shape == z.shape
        assert (ulps(a, getattr(reference, name)(z.astype(np.longdouble))) <= ULPS[name]).all()
        np.testing.assert_array_equal(z, before)
        getattr(activations, name)(z, z)
        assert z.tobytes() == a.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nothing_is_written_behind_the_last_element(name, dtype):
    for size in SIZES:
        memory = np.full(size + lanes(dtype), 7, dtype)
        getattr(activations, name)(numbers(dtype, size), memory[:size])
        assert (memory[size:] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_limits_and_nan(name, dtype):
    large = np.finfo(dtype).max
    z = np.array([-np.inf, -large, -1e4, -0.0, 0.0, 1e4, large, np.inf, np.nan], dtype)
    a = np.empty_like(z)
    getattr(activations, name)(z, a)
    expected = {
        "step": [0, 0, 0, 0, 0, 1, 1, 1, 0],  # NaN is not above 0
        "sigmoid": [0, 0, 0, 0.5, 0.5, 1, 1, 1, np.nan],
        "tanh": [-1, -1, -1, 0, 0, 1, 1, 1, np.nan],
        "relu": [0, 0, 0, 0, 0, 1e4, large, np.inf, np.nan],
    }[name]
    np.testing.assert_array_equal(a, np.array(expected, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", SIZES)
def test_softmax_equals_its_twin(units, dtype):
    for n in SIZES:
        z = numbers(dtype, (n, units))
        before, a = z.copy(), np.full((n, units), np.nan, dtype)
        activations.softmax(z, a)
        expected = reference.softmax(z.astype(np.float64))
        # z - max is rounded before the exponential, which makes a relative error of it.
        assert_close(a, expected, units + 4, expected * (1 + np.ptp(z, axis=1, keepdims=True)))
        assert_close(a.sum(axis=1, dtype=np.float64), np.ones(n), units + 4, 1, dtype)
        np.testing.assert_array_equal(z, before)
        activations.softmax(z, z)
        assert z.tobytes() == a.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_large_logits_neither_overflows_nor_vanishes(dtype):
    for size in (1e4, float(np.finfo(dtype).max) / 4):
        z = np.array([[size, -size, 0, size], [-size, -size, -size, -size], [0, 0, -size, -size]], dtype)
        a = np.empty_like(z)
        activations.softmax(z, a)
        np.testing.assert_array_equal(a, np.array([[0.5, 0, 0, 0.5], [0.25] * 4, [0.5, 0.5, 0, 0]], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_keeps_nan_in_its_row(dtype):
    for at in range(lanes(dtype) + 3):
        z = numbers(dtype, (3, lanes(dtype) + 3))
        z[1, at] = np.nan
        activations.softmax(z, z)
        np.testing.assert_array_equal(np.isnan(z).all(axis=1), [False, True, False])
        assert not np.isnan(z[[0, 2]]).any()


# ---------------------------------------------------------------------------------------------- rows of a network


def rows(matrix, padding, before=0):
    """The matrix in stored rows behind `before` elements: (flat, at, row, view)."""
    n, units = matrix.shape
    row = padded(units, matrix.dtype)
    flat = aligned_zeros(before + n * row, matrix.dtype)
    flat[:] = padding
    view = flat[before:].reshape(n, row)[:, :units]
    view[:] = matrix
    return flat, before, row, view


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activate_equals_its_twin_on_padded_rows(name, dtype):
    for units in SIZES:
        for n in SIZES:
            z = numbers(dtype, (n, units))
            flat, at, row, view = rows(z, padding=3, before=lanes(dtype))
            activate(NAMES.index(name), flat, at, row, n - 1, units)
            expected = getattr(reference, name)(z.astype(np.float64))
            scale = 1 + (np.ptp(z, axis=1, keepdims=True) if name == "softmax" else 0)
            allowed = tolerance(dtype, roundings(name, units), np.abs(expected) * scale)
            exact = name not in ("softmax", "sigmoid", "tanh")
            assert (np.abs(view - expected)[:-1] <= (0 if exact else allowed[:-1])).all()
            np.testing.assert_array_equal(view[-1], z[-1])  # one row less was asked for
            assert (flat[:at] == 3).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_row_is_zero_beyond_the_units(dtype):
    for units in SIZES:
        whole = -(-units // lanes(dtype)) * lanes(dtype)
        for padding in (-1e4, 1e4, np.inf, np.nan):
            z = np.full(whole + lanes(dtype), padding, dtype)
            z[:units] = numbers(dtype, units)
            a = np.full_like(z, 5)
            softmax_row(z, 0, a, 0, units)
            assert_close(a[:units].sum(dtype=np.float64), 1.0, units + 4, 1, dtype)
            assert not a[units:whole].any()
            assert (a[whole:] == 5).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRAINABLE)
def test_activate_backward_equals_its_twin_on_padded_rows(name, dtype):
    for units in SIZES:
        for n in SIZES:
            a = getattr(reference, name)(numbers(np.float64, (n, units))).astype(dtype)
            delta = numbers(dtype, (n, units), seed=1)
            acts, at, row, _ = rows(a, padding=0, before=lanes(dtype))
            before = acts.copy()
            flat, _, _, view = rows(delta, padding=0, before=lanes(dtype))
            activate_backward(NAMES.index(name), acts, flat, at, row, n, units)
            wide = a.astype(np.float64)
            expected = reference.activate_backward(name, wide, delta.astype(np.float64))
            size = np.abs(delta).astype(np.float64)
            if name == "softmax":
                assert_close(view, expected, units + 3, wide * (size + (size * wide).sum(axis=1, keepdims=True)))
            else:
                assert_close(view, expected, 0 if name in ("linear", "relu") else 3, size)
            np.testing.assert_array_equal(acts, before)
            assert not flat[at:].reshape(n, row)[:, units:].any()  # padding stays zero


@pytest.mark.parametrize("name", TRAINABLE)
def test_slopes_are_central_differences(name):
    n, units = some((7, 17), (3, 5))
    z, upper = numbers(np.float64, (n, units)) / 2, numbers(np.float64, (n, units), seed=1)
    z[np.abs(z) < 2 * H] = 1  # relu has a corner at 0

    def weighted_sum():
        flat, at, row, view = rows(z, padding=0)
        activate(NAMES.index(name), flat, at, row, n, units)
        return float((view * upper).sum())

    acts, at, row, _ = rows(z, padding=0)
    activate(NAMES.index(name), acts, at, row, n, units)
    delta, _, _, view = rows(upper, padding=0)
    activate_backward(NAMES.index(name), acts, delta, at, row, n, units)
    error = np.abs(view - central_difference(weighted_sum, z))
    assert (error <= difference_tolerance(n * units, np.abs(upper).max())).all()


def test_the_slope_of_relu_at_zero_is_zero():
    acts, at, row, _ = rows(np.zeros((1, 4)), padding=0)
    delta, _, _, view = rows(np.ones((1, 4)), padding=0)
    activate_backward(NAMES.index("relu"), acts, delta, at, row, 1, 4)
    assert not view.any()
