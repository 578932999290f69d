import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, lanes
from tolerance import assert_close

from fastmlp.kernels.plan import aligned_zeros, padded
from fastmlp.kernels.sparse_input import compress, count_nonzero, sparse_forward, sparse_gradient

# Share of non-zero inputs: none, rows with fewer and with more than the four that are summed at once, all.
SHARES = (0, 0.1, 0.5, 1)

KINDS = [(dtype, kind) for dtype in DTYPES for kind in ("uint8", "own")]


def samples(n, k, share, dtype, kind, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 256, (n, k)).astype(np.uint8) if kind == "uint8" else rng.standard_normal((n, k)).astype(dtype)
    x[rng.random((n, k)) >= share] = 0
    return x


def compressed(x):
    counts = np.full(len(x), -1, np.int64)
    count_nonzero(x, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    index, value = np.full(starts[-1], 9, np.uint16), np.full(starts[-1], 9, x.dtype)
    compress(x, starts, index, value)
    return starts, index, value


@pytest.mark.parametrize(("dtype", "kind"), KINDS)
def test_compressed_rows_hold_the_nonzero_inputs_in_order(dtype, kind):
    for k in SIZES:
        for share in SHARES:
            x = samples(5, k, share, dtype, kind)
            before = x.copy()
            starts, index, value = compressed(x)
            np.testing.assert_array_equal(np.diff(starts), np.count_nonzero(x, axis=1))
            row, column = np.nonzero(x)
            np.testing.assert_array_equal(index, column)
            np.testing.assert_array_equal(value, x[row, column])
            np.testing.assert_array_equal(np.repeat(np.arange(5), np.diff(starts)), row)
            np.testing.assert_array_equal(x, before)


def test_nan_is_not_zero_and_minus_zero_is():
    starts, index, value = compressed(np.array([[np.nan, -0.0, 1.0]]))
    np.testing.assert_array_equal(starts, [0, 2])
    np.testing.assert_array_equal(index, [0, 2])
    np.testing.assert_array_equal(value, [np.nan, 1.0])


def weights(k, m, dtype):
    """W and b as they lie in theta, behind a line of another layer: (flat, w_at, row, bias_at, w, b)."""
    row, before = padded(m, dtype), lanes(dtype)
    flat = aligned_zeros(before + (k + 1) * row, dtype)
    view = flat[before:].reshape(k + 1, row)[:, :m]
    view[:] = np.random.default_rng(2).standard_normal(view.shape)
    return flat, before, row, before + k * row, view[:k], view[k]


# An epoch's order whose batches, in the tests, begin at 1 or 2.
ORDER = np.array([1, 0, 2, 0, 1])


@pytest.mark.parametrize(("dtype", "kind"), KINDS)
def test_sparse_forward_equals_the_dense_twin(dtype, kind):
    for k in SIZES:
        for m in SIZES:
            for share in SHARES:
                x = samples(3, k, share, dtype, kind)
                starts, index, value = compressed(x)
                flat, w_at, row, bias_at, w, b = weights(k, m, dtype)
                before = flat.copy()
                z = np.full(5 * row, np.nan, dtype)
                rows = starts, index, value, ORDER
                sparse_forward(z, row, row, *rows, 2, 0, 2, flat, w_at, row, bias_at, m)
                sparse_forward(z, 3 * row, row, *rows, 2, 2, 3, flat, w_at, row, bias_at, m)
                size = np.abs(x.astype(np.float64)) @ np.abs(w).astype(np.float64) + np.abs(b)
                assert_close(
                    z.reshape(5, row)[1:4, :m], reference.product_forward(x, w, b)[ORDER[2:]], k + 1, size[ORDER[2:]]
                )
                whole = -(-m // lanes(dtype)) * lanes(dtype)
                assert not z.reshape(5, row)[1:4, m:whole].any()
                assert np.isnan(z.reshape(5, row)[[0, 4]]).all()
                np.testing.assert_array_equal(flat, before)


@pytest.mark.parametrize(("dtype", "kind"), KINDS)
def test_sparse_gradient_adds_the_dense_twin(dtype, kind):
    for k in SIZES:
        for m in SIZES:
            for share in SHARES:
                x = samples(3, k, share, dtype, kind)
                starts, index, value = compressed(x)
                flat, w_at, row, bias_at, w, b = weights(k, m, dtype)
                kept_w, kept_b = w.copy(), b.copy()
                delta = aligned_zeros((4, row), dtype)
                delta[:, :m] = np.random.default_rng(3).standard_normal((4, m))
                flat_delta = delta.reshape(-1)
                sparse_gradient(flat, w_at, row, starts, index, value, ORDER, 2, 3, flat_delta, row, row, 0, m)
                d = np.empty((3, m), dtype)
                d[ORDER[2:]] = delta[1:, :m]
                size = np.abs(x.astype(np.float64)).T @ np.abs(d).astype(np.float64) + np.abs(kept_w)
                assert_close(w, reference.product_gradient(kept_w, x, d), 3 + 1, size)
                np.testing.assert_array_equal(b, kept_b)  # belongs to dense_gradient
                whole = flat[w_at:bias_at].reshape(k, row)
                assert not whole[:, m:].any()
                assert not flat[:w_at].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_gradient_keeps_to_its_columns_and_their_bits(dtype):
    k, width = 7, lanes(dtype)
    m = 3 * width
    x = samples(1, k, 0.6, dtype, "own")
    starts, index, value = compressed(x)
    whole, parts = (weights(k, m, dtype)[0] for _ in range(2))
    _, w_at, row, _, w, _ = weights(k, m, dtype)
    delta = np.random.default_rng(3).standard_normal(row).astype(dtype)
    sparse_gradient(whole, w_at, row, starts, index, value, ORDER, 1, 1, delta, 0, row, 0, m)
    sparse_gradient(parts, w_at, row, starts, index, value, ORDER, 1, 1, delta, 0, row, width, 2 * width)
    first_part = parts[w_at : w_at + k * row].reshape(k, row)
    np.testing.assert_array_equal(first_part[:, :width], w[:, :width])
    np.testing.assert_array_equal(first_part[:, 2 * width : m], w[:, 2 * width :])
    sparse_gradient(parts, w_at, row, starts, index, value, ORDER, 1, 1, delta, 0, row, 0, width)
    sparse_gradient(parts, w_at, row, starts, index, value, ORDER, 1, 1, delta, 0, row, 2 * width, m)
    assert parts.tobytes() == whole.tobytes()
