"""What a layer does beside its products; the layer itself is held against the twin in test_network.py."""

import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, lanes
from tolerance import assert_close

from fastmlp.kernels.dense import add_rows, fetch_inputs, gather
from fastmlp.kernels.plan import aligned_zeros
from fastmlp.kernels.team import NOT_FINITE, SYNC_SIZE

#: An order of nine samples whose batch, in the tests, begins at 2.
ORDER = np.array([8, 1, 0, 7, 3, 3, 2, 5, 6])

KINDS = [(dtype, kind) for dtype in DTYPES for kind in (np.uint8, dtype)]
kinds = pytest.mark.parametrize(("dtype", "kind"), KINDS, ids=lambda v: np.dtype(v).name)


def samples(kind, k):
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (9, k)) if kind is np.uint8 else rng.standard_normal((9, k))).astype(kind)


def room(dtype, rows, k):
    """For inputs as floats, full of what stood there before."""
    return Padded(np.full((rows, k), 55, dtype), 0, 55)


def gathered(x, acts, start, first, last, left, right, scale=1.0):
    """Gather into acts; returns what is said of NaN and infinity."""
    sync, kept = aligned_zeros(SYNC_SIZE, np.int64), (x.copy(), ORDER.copy())
    gather(x, scale, ORDER, start, acts.flat, acts.row, first, last, left, right, sync)
    for array, before in zip((x, ORDER), kept):
        np.testing.assert_array_equal(array, before)
    assert not np.delete(sync, NOT_FINITE).any()
    return sync[NOT_FINITE]


@kinds
def test_gather_multiplies_as_it_reads(dtype, kind):
    x, acts = samples(kind, 33), room(dtype, 5, 33)
    assert gathered(x, acts, 2, 0, 5, 0, 33, scale=1 / 255) == 0
    np.testing.assert_array_equal(acts.matrix, x[ORDER[2:7]].astype(dtype) * dtype(1 / 255))


@kinds
@pytest.mark.parametrize("k", SIZES)
def test_gather_equals_its_twin(k, dtype, kind):
    x, acts = samples(kind, k), room(dtype, 5, k)
    assert gathered(x, acts, 2, 0, 5, 0, k) == 0
    assert acts.matrix.dtype == dtype
    np.testing.assert_array_equal(acts.matrix, reference.gather(x, ORDER[2:7]))
    acts.assert_only_written(slice(None), slice(k))


@kinds
def test_gather_keeps_to_its_rows_and_inputs(dtype, kind):
    k = 3 * lanes(dtype) + 5
    x = samples(kind, k)
    for first, last in ((0, 0), (1, 3), (3, 4)):
        for left, right in ((0, 0), (0, 7), (5, k), (lanes(dtype), 2 * lanes(dtype)), (3, lanes(dtype) + 4)):
            acts = room(dtype, 4, k)
            gathered(x, acts, 2, first, last, left, right)
            expected = reference.gather(x, ORDER[2:6])
            np.testing.assert_array_equal(acts.matrix[first:last, left:right], expected[first:last, left:right])
            acts.assert_only_written(slice(first, last), slice(left, right))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_gather_keeps_what_is_not_finite_and_says_so(number, dtype):
    k = lanes(dtype) + 3
    for at in range(k):
        x, acts = samples(dtype, k), room(dtype, 3, k)
        x[ORDER[1], at] = number
        with np.errstate(invalid="ignore"):  # inf * 0, which plain Python warns of
            assert gathered(x, acts, 0, 0, 3, 0, k) == 1
        np.testing.assert_array_equal(acts.matrix, x[ORDER[:3]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_says_nothing_of_inputs_that_it_does_not_read(dtype):
    x, acts = samples(dtype, 17), room(dtype, 3, 17)
    x[ORDER[0]] = x[ORDER[3]] = np.nan
    x[:, [0, 16]] = np.inf
    assert gathered(x, acts, 0, 1, 3, 1, 16) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_takes_the_largest_numbers_for_finite(dtype):
    x, acts = samples(dtype, 17), room(dtype, 3, 17)
    x[:] = np.finfo(dtype).max
    assert gathered(x, acts, 0, 0, 3, 0, 17) == 0


@kinds
def test_fetching_inputs_reads_no_sample_beyond_the_last(dtype, kind):
    x, order = samples(kind, 33), ORDER.copy()
    before = x.copy()
    for first, last in ((0, 3), (7, 9), (8, 12), (9, 12), (20, 23), (3, 3)):
        for left, right in ((0, 33), (5, 5), (16, 33)):
            fetch_inputs(x, order, first, last, left, right)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(order, ORDER)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", SIZES)
def test_add_rows_equals_its_twin(count, dtype):
    rng = np.random.default_rng(0)
    for rows in (0, *SIZES):
        terms, start = rng.standard_normal((rows, count)).astype(dtype), rng.standard_normal((1, count)).astype(dtype)
        source, target = Padded(terms, 5, 0), Padded(start, 3, 0)
        add_rows(target.flat, target.at, *source.place, rows, count)
        size = np.abs(start[0]) + np.abs(terms).sum(axis=0, dtype=np.float64)
        assert_close(target.matrix[0], reference.add_rows(start[0], terms), rows, size)
        assert not target.last_line_padding.any()
        target.assert_only_lines_written()
        source.assert_untouched()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_may_be_added_to_the_one_before_them(dtype):
    x = np.random.default_rng(0).standard_normal((3, 2 * lanes(dtype))).astype(dtype)
    flat = x.copy().reshape(-1)
    add_rows(flat, 0, flat, x.shape[1], x.shape[1], 2, x.shape[1])
    assert_close(flat[: x.shape[1]], reference.add_rows(x[0], x[1:]), 2, np.abs(x).sum(axis=0, dtype=np.float64))
    np.testing.assert_array_equal(flat[x.shape[1] :], x[1:].ravel())
