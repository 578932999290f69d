import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, lanes, small_kernel, whole_lines
from tolerance import assert_close

from fastmlp.kernels import simd
from fastmlp.kernels.metrics import NAMES, metric_lanes

pytestmark = pytest.mark.parametrize("dtype", DTYPES)


# Parts are put into a kernel that calls them; this is the kernel.
@small_kernel
def measure_lines(code, a, at, row, labels, targets, units, result):
    for i in range(0, result.size, simd.lanes(a)):
        simd.store(result, i, metric_lanes(code, a, at + i, row, labels, targets, i, units))


def metric(name, a, labels, targets):
    """Of all rows, as the network has them: in lanes; NaN fills up the last line."""
    n, units = a.shape
    outputs, values = Padded(a.T, 5, np.nan), Padded(np.zeros((units, n), a.dtype), 0, np.nan)
    values.matrix[:] = targets.T if targets.size else 0
    indices = np.full(outputs.row, np.nan, a.dtype)
    indices[: len(labels)] = labels
    kept, result = (indices.copy(), values.flat.copy()), np.full(whole_lines(n, a.dtype), 7, a.dtype)
    measure_lines(NAMES.index(name), *outputs.place, indices, values.flat, units, result)
    outputs.assert_untouched()
    for array, before in zip((indices, values.flat), kept):
        np.testing.assert_array_equal(array, before)
    return result[:n]


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_equals_its_twin(name, dtype):
    assert hasattr(reference, name), f"tests/reference.py has no twin of the metric {name}"
    rng = np.random.default_rng(0)
    for units in SIZES:
        for n in SIZES:
            a = rng.random((n, units)).astype(dtype)
            labels = rng.integers(0, units, n).astype(np.int32)
            targets = (rng.integers(0, 2, (n, units)) if "accuracy" in name else rng.random((n, units))).astype(dtype)
            y = labels if name == "categorical_accuracy" else targets
            expected = getattr(reference, name)(a, y)
            result = metric(name, a, labels, targets)
            assert result.dtype == dtype
            if name == "categorical_accuracy":
                np.testing.assert_array_equal(result, expected)
            elif name == "binary_accuracy":
                assert_close(result, expected, 2, expected)  # a count, its factor and their product
            else:
                assert_close(result, expected, units + 3, expected)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_all_right_has_the_perfect_figure(name, dtype):
    for units in range(1, 131):
        labels = np.arange(3, dtype=np.int32) % units
        y = np.eye(units, dtype=dtype)[labels]
        np.testing.assert_array_equal(metric(name, y.copy(), labels, y), 1 if "accuracy" in name else 0)


def test_half_is_not_above_half(dtype):
    a, y = np.array([[0.5, np.nextafter(dtype(0.5), dtype(1))]]), np.array([[0.0, 1.0]])
    assert metric("binary_accuracy", a.astype(dtype), np.zeros(0, np.int32), y.astype(dtype)) == 1


def test_a_target_between_zero_and_one_is_never_right(dtype):
    a, y = np.array([[0.2, 0.9]], dtype), np.array([[0.5, 0.5]], dtype)
    assert metric("binary_accuracy", a, np.zeros(0, np.int32), y) == 0


def test_the_first_of_equal_maxima_counts(dtype):
    a, no_targets = np.array([[0.25, 0.375, 0.375, 0.0]] * 2, dtype), np.zeros((0, 4), dtype)
    np.testing.assert_array_equal(metric("categorical_accuracy", a, np.array([1, 2], np.int32), no_targets), [1, 0])


def test_the_last_of_many_units_may_be_the_largest(dtype):
    a = np.tile(np.arange(33, dtype=dtype), (lanes(dtype) + 1, 1))
    labels = np.where(np.arange(len(a)) % 2 == 0, 32, 31).astype(np.int32)
    expected = np.arange(len(a)) % 2 == 0
    np.testing.assert_array_equal(metric("categorical_accuracy", a, labels, np.zeros((0, 33), dtype)), expected)


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error"])
def test_an_error_keeps_nan_in_its_sample(name, dtype):
    for at in range(3):
        a, y = np.ones((2, 3), dtype), np.zeros((2, 3), dtype)
        a[1, at] = np.nan
        np.testing.assert_array_equal(np.isnan(metric(name, a, np.zeros(0, np.int32), y)), [False, True])


def test_a_sample_that_begins_with_nan_counts_for_its_first_unit(dtype):
    a, no_targets = np.array([[np.nan, 0.5, 0.25]] * 2, dtype), np.zeros((0, 3), dtype)
    np.testing.assert_array_equal(metric("categorical_accuracy", a, np.array([0, 1], np.int32), no_targets), [1, 0])
