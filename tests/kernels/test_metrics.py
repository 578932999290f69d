import numpy as np
import pytest
import reference
from support import DTYPES, SIZES
from tolerance import assert_close

from fastmlp.kernels.metrics import NAMES, metric_rows

pytestmark = pytest.mark.parametrize("dtype", DTYPES)


def metric(name, a, labels, targets):
    """Of all rows, as the network calls it: the rows of a lie apart, the targets' don't."""
    n, units = a.shape
    flat = np.full((n, units + 3), 99, a.dtype)
    flat[:, :units] = a
    flat, before = flat.ravel(), flat.ravel().copy()
    result = np.full((n + 1, 3), 7.0)
    # The last rows first, written to the middle column from row 1 on.
    order, backwards = np.arange(n)[::-1].copy(), flat.reshape(n, -1)[::-1].ravel()
    metric_rows(NAMES.index(name), backwards, 0, units + 3, labels, targets, order, 0, n, units, result, 1, 1)
    np.testing.assert_array_equal(flat, before)
    assert (result[0] == 7).all()
    assert (result[:, [0, 2]] == 7).all()
    return result[:0:-1, 1]


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
            if "accuracy" in name:
                np.testing.assert_array_equal(result, expected)
            else:
                # float64 sums of float32 squares: their own rounding is all there is
                assert_close(result, expected, 4, expected, dtype)


def test_half_is_not_above_half(dtype):
    a, y = np.array([[0.5, np.nextafter(dtype(0.5), dtype(1))]]), np.array([[0.0, 1.0]])
    assert metric("binary_accuracy", a.astype(dtype), np.zeros(0, np.int32), y.astype(dtype)) == 1


def test_a_target_between_zero_and_one_is_never_right(dtype):
    a, y = np.array([[0.2, 0.9]], dtype), np.array([[0.5, 0.5]], dtype)
    assert metric("binary_accuracy", a, np.zeros(0, np.int32), y) == 0


def test_the_first_of_equal_maxima_counts(dtype):
    a, no_targets = np.array([[0.25, 0.375, 0.375, 0.0]] * 2, dtype), np.zeros((0, 4), dtype)
    np.testing.assert_array_equal(metric("categorical_accuracy", a, np.array([1, 2], np.int32), no_targets), [1, 0])
