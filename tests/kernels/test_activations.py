import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, lanes, some, whole_lines
from tolerance import H, assert_close, central_difference, difference_tolerance, ulps

from fastmlp.kernels import activations
from fastmlp.kernels.activations import (
    NAMES,
    WITHOUT_GRADIENT,
    activate,
    activate_backward,
    activate_lanes,
    activate_lanes_backward,
)

ELEMENTWISE = [name for name in NAMES if name not in ("linear", "softmax")]
TRAINABLE = [name for code, name in enumerate(NAMES) if code not in WITHOUT_GRADIENT]

# Softmax is done in lanes only.
IN_ROWS = [name for name in NAMES if name != "softmax"]
TRAINABLE_IN_ROWS = [name for name in TRAINABLE if name != "softmax"]

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


def assert_activated(name, a, z):
    """`a` is the activation of z, whose rows are samples and whose sum with the bias is rounded, as in the kernel."""
    expected = getattr(reference, name)(z.astype(np.float64))
    if name not in ("softmax", "sigmoid", "tanh"):
        np.testing.assert_array_equal(a, expected)
    else:
        scale = 1 + (np.ptp(z, axis=1, keepdims=True) if name == "softmax" else 0)
        assert_close(a, expected, roundings(name, z.shape[1]), np.abs(expected) * scale)


def assert_gradient_by_z(name, by_z, a, by_a):
    """The gradient by z belongs to the one by a; rows are samples."""
    a, size = a.astype(np.float64), np.abs(by_a).astype(np.float64)
    expected = reference.activate_backward(name, a, by_a.astype(np.float64))
    if name == "softmax":
        assert_close(by_z, expected, a.shape[1] + 3, a * (size + (size * a).sum(axis=1, keepdims=True)))
    else:
        assert_close(by_z, expected, 0 if name in ("linear", "relu") else 3, size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", IN_ROWS)
def test_activate_equals_its_twin_on_padded_rows(name, dtype):
    for units in SIZES:
        for n in SIZES:
            z, bias = numbers(dtype, (n, units)), Padded(numbers(dtype, (1, units), seed=2), 2, 0)
            a = Padded(z, lanes(dtype), 3)
            activate(NAMES.index(name), *a.place, n - 1, units, bias.flat, bias.at)
            assert_activated(name, a.matrix[:-1], (z + bias.matrix)[:-1])
            # One row less was asked for.
            a.assert_only_written(slice(n - 1), slice(whole_lines(units, dtype)))
            bias.assert_untouched()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRAINABLE_IN_ROWS)
def test_activate_backward_equals_its_twin_on_padded_rows(name, dtype):
    for units in SIZES:
        for n in SIZES:
            by_a = numbers(dtype, (n, units), seed=1)
            acts = Padded(getattr(reference, name)(numbers(np.float64, (n, units))).astype(dtype), lanes(dtype), 0)
            delta = Padded(by_a, lanes(dtype), 0)
            activate_backward(NAMES.index(name), acts.flat, delta.flat, acts.at, acts.row, n, units)
            assert_gradient_by_z(name, delta.matrix, acts.matrix, by_a)
            assert not delta.rows[:, units:].any()  # padding stays zero
            delta.assert_only_lines_written()
            acts.assert_untouched()


# ---------------------------------------------------------------------------------------------- lanes of a network


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activate_lanes_equals_its_twin(name, dtype):
    for units in SIZES:
        for n in SIZES:
            z, bias = numbers(dtype, (n, units)), numbers(dtype, 2 + units, seed=2)
            before, a = bias.copy(), Padded(z.T, 5, np.nan)
            activate_lanes(NAMES.index(name), *a.place, units, whole_lines(n, dtype), bias, 2)
            assert_activated(name, a.matrix.T, z + bias[2:])
            a.assert_only_lines_written()
            np.testing.assert_array_equal(bias, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRAINABLE)
def test_activate_lanes_backward_equals_its_twin(name, dtype):
    for units in SIZES:
        for n in SIZES:
            by_a = numbers(dtype, (n, units), seed=1)
            a = getattr(reference, name)(numbers(np.float64, (n, units))).astype(dtype)
            acts, delta = Padded(a.T, 5, np.nan), Padded(by_a.T, 5, np.nan)
            activate_lanes_backward(
                NAMES.index(name), acts.flat, delta.flat, acts.at, acts.row, units, whole_lines(n, dtype)
            )
            assert_gradient_by_z(name, delta.matrix.T, a, by_a)
            delta.assert_only_lines_written()
            acts.assert_untouched()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activate_lanes_keeps_to_its_samples(name, dtype):
    width = lanes(dtype)
    z = Padded(numbers(dtype, (3, 3 * width)), 5, np.nan)
    activate_lanes(NAMES.index(name), z.flat, z.at + width, z.row, 3, width, numbers(dtype, 3, seed=2), 0)
    z.assert_only_written(slice(None), slice(width, 2 * width))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "step"])  # NaN is not above 0
def test_nan_stays_in_its_sample(name, dtype):
    for at in range(lanes(dtype)):
        z = numbers(dtype, (3, lanes(dtype)))
        z[1, at] = np.nan
        flat = z.reshape(-1)
        activate_lanes(NAMES.index(name), flat, 0, lanes(dtype), 3, lanes(dtype), np.zeros(3, dtype), 0)
        expected = np.zeros(z.shape, bool)
        expected[slice(None) if name == "softmax" else 1, at] = True
        np.testing.assert_array_equal(np.isnan(z), expected)


# ---------------------------------------------------------------------------------------------- slopes


@pytest.mark.parametrize("name", TRAINABLE)
def test_slopes_are_central_differences(name):
    n, units = some((17, 7), (5, 3))
    z, upper = numbers(np.float64, (n, units)) / 2, numbers(np.float64, (n, units), seed=1)
    z[np.abs(z) < 2 * H] = 1  # relu has a corner at 0
    samples, bias = whole_lines(n, np.float64), np.zeros(units)

    def activated():
        acts = Padded(z.T, 0, 0)
        activate_lanes(NAMES.index(name), *acts.place, units, samples, bias, 0)
        return acts

    acts, delta = activated(), Padded(upper.T, 0, 0)
    activate_lanes_backward(NAMES.index(name), acts.flat, delta.flat, 0, acts.row, units, samples)
    difference = central_difference(lambda: float((activated().matrix.T * upper).sum()), z)
    error = np.abs(delta.matrix.T - difference)
    assert (error <= difference_tolerance(n * units, np.abs(upper).max())).all()


def test_the_slope_of_relu_at_zero_is_zero():
    acts, delta = np.zeros(lanes(np.float64)), np.ones(lanes(np.float64))
    activate_backward(NAMES.index("relu"), acts, delta, 0, acts.size, 1, acts.size)
    assert not delta.any()
