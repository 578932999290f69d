from itertools import pairwise

import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, lanes, network
from support import samples as samples_of
from tolerance import assert_close

from fastmlp.kernels.plan import aligned_zeros, padded
from fastmlp.kernels.sparse_input import (
    GROUP,
    compress,
    compress_rows,
    count_columns,
    count_groups,
    count_groups_of_rows,
    fetch_ahead,
    sparse_forward,
    sparse_gradient,
)

# Share of non-zero inputs: none, rows with fewer and with more than a group of them, all.
SHARES = (0, 0.1, 0.5, 1)

KINDS = [(dtype, kind) for dtype in DTYPES for kind in ("uint8", "own")]
kinds = pytest.mark.parametrize(("dtype", "kind"), KINDS)


def samples(n, k, share, dtype, kind, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 256, (n, k)).astype(np.uint8) if kind == "uint8" else rng.standard_normal((n, k)).astype(dtype)
    x[rng.random((n, k)) >= share] = 0
    return x


def cuts(k):
    """Some ways to cut k inputs into parts: whole, halved, with empty parts at both ends and in the middle."""
    return [np.array(parts) for parts in ([0, k], [0, k // 2, k], [0, 0, k // 3, k // 3, k, k])]


class Compressed:
    """Rows as the kernels compress them."""

    def __init__(self, x, parts, lines=1):
        self.parts = len(parts) - 1
        counts, kept = np.full((len(x), self.parts), -1, np.int64), (x.copy(), parts.copy())
        count_groups(x, parts, counts)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        starts = self.starts.copy()
        self.column = np.full(self.starts[-1] + 1, 9999, np.uint16)
        self.value = np.full(self.starts[-1] + 1, 99, x.dtype)
        compress(x, parts, lines, self.starts, self.column, self.value)
        assert (self.column[-1], self.value[-1]) == (9999, 99)
        for array, before in zip((x, parts, self.starts), (*kept, starts)):
            np.testing.assert_array_equal(array, before)

    @property
    def arrays(self):
        """What the products are given."""
        return self.starts, self.column[:-1], self.value[:-1], self.parts

    def part(self, row, h):
        """(column, value) of part h of a row."""
        here = slice(*self.starts[row * self.parts + h :][:2])
        return self.column[here], self.value[here]


# ---------------------------------------------------------------------------------------------- compressed rows


@kinds
def test_columns_are_counted_that_are_not_zero(dtype, kind):
    for n in (0, *SIZES):
        x = samples(n, 17, 0.3, dtype, kind)
        before, counts = x.copy(), np.full(17, -1, np.int64)
        count_columns(x, counts)
        np.testing.assert_array_equal(counts, np.count_nonzero(x, axis=0))
        np.testing.assert_array_equal(x, before)


@kinds
def test_every_part_of_a_row_takes_whole_groups(dtype, kind):
    for k in SIZES:
        for share in SHARES:
            for parts in cuts(k):
                x = samples(5, k, share, dtype, kind)
                counts = np.full((5, len(parts) - 1), -1, np.int64)
                count_groups(x, parts, counts)
                for h, (first, last) in enumerate(pairwise(parts)):
                    needed = np.count_nonzero(x[:, first:last], axis=1)
                    np.testing.assert_array_equal(counts[:, h], -(-needed // GROUP) * GROUP)


@kinds
def test_compressed_rows_hold_the_nonzero_inputs_in_order(dtype, kind):
    for k in SIZES:
        for share in SHARES:
            for parts in cuts(k):
                x = samples(5, k, share, dtype, kind)
                rows = Compressed(x, parts, lines=3)
                for i in range(5):
                    for h, (first, last) in enumerate(pairwise(parts)):
                        column, value = rows.part(i, h)
                        expected = first + np.flatnonzero(x[i, first:last])
                        np.testing.assert_array_equal(column[: len(expected)], 3 * expected)
                        np.testing.assert_array_equal(value[: len(expected)], x[i, expected])


@kinds
def test_a_group_is_filled_up_with_zeros_in_columns_of_its_part(dtype, kind):
    for k in SIZES:
        for parts in cuts(k):
            x = samples(5, k, 0.5, dtype, kind)
            rows = Compressed(x, parts)
            for i in range(5):
                for h, (first, last) in enumerate(pairwise(parts)):
                    column, value = rows.part(i, h)
                    count = np.count_nonzero(x[i, first:last])
                    assert not value[count:].any()
                    assert set(column[count:]) <= set(column[:count])
                    # Two of one column stand as far apart as there are columns.
                    distance = min(count, GROUP)
                    for t in range(max(count, distance), len(column)):
                        assert column[t] not in column[max(count, t - distance + 1) : t]


def test_nan_is_not_zero_and_minus_zero_is():
    column, value = Compressed(np.array([[np.nan, -0.0, 1.0]]), np.array([0, 3])).part(0, 0)
    np.testing.assert_array_equal(column[:2], [0, 2])
    np.testing.assert_array_equal(value, [np.nan, 1.0, *[0] * (GROUP - 2)])


# ---------------------------------------------------------------------------------------------- rows without zeros


def without_zeros(x, index, zeros=0):
    """CSR arrays of x: (indptr, indices, values), behind a number of another row; `zeros` of them are kept."""
    kept = x != 0
    kept.reshape(-1)[np.flatnonzero(~kept)[:zeros]] = True
    indptr = np.concatenate([[1], 1 + np.cumsum(kept.sum(axis=1))])
    indices = np.concatenate([[0], np.nonzero(kept)[1]]).astype(index)
    return indptr, indices, np.concatenate([[9], x[kept]]).astype(x.dtype)


@kinds
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_rows_without_zeros_are_compressed_as_dense_ones(dtype, kind, index):
    for k in SIZES:
        for share in SHARES:
            for parts in cuts(k):
                x = samples(5, k, share, dtype, kind)
                arrays = without_zeros(x, index, zeros=3)
                before = [array.copy() for array in arrays]
                expected = Compressed(x, parts, lines=3)
                counts = np.full((5, len(parts) - 1), -1, np.int64)
                count_groups_of_rows(*arrays, parts, counts)
                np.testing.assert_array_equal(np.cumsum(counts), expected.starts[1:])
                column = np.full(expected.starts[-1] + 1, 9999, np.uint16)
                value = np.full(expected.starts[-1] + 1, 99, x.dtype)
                compress_rows(*arrays, parts, 3, expected.starts, column, value)
                np.testing.assert_array_equal(column, expected.column)
                np.testing.assert_array_equal(value, expected.value)
                for array, kept in zip(arrays, before):
                    np.testing.assert_array_equal(array, kept)


# ---------------------------------------------------------------------------------------------- products

# An epoch's order whose batches, in the tests, begin at 1 or 2.
ORDER = np.array([1, 0, 2, 0, 1])


def weights(k, m, dtype):
    """W as it lies in theta, behind a line of another layer."""
    return Padded(np.random.default_rng(2).standard_normal((k, m)).astype(dtype), lanes(dtype), 0)


def row_lines(m, dtype):
    """Lines of a row of w."""
    return padded(m, dtype) // lanes(dtype)


@kinds
def test_sparse_forward_equals_the_dense_twin(dtype, kind):
    for k in SIZES:
        for m in SIZES:
            for share in SHARES:
                x, ws = samples(3, k, share, dtype, kind), weights(k, m, dtype)
                for parts in cuts(k)[:2]:
                    rows = Compressed(x, parts, row_lines(m, dtype))
                    z = Padded(np.full((3, m), np.nan, dtype), 5, 55)
                    for first, last in ((0, 2), (2, 3)):
                        sparse_forward(z.flat, z.at + first * z.row, z.row, *rows.arrays, 0, rows.parts, ORDER, 2,
                                       first, last, ws.flat, ws.at, m)  # fmt: skip
                    size = np.abs(x.astype(np.float64)) @ np.abs(ws.matrix).astype(np.float64)
                    expected = reference.product_forward(x, ws.matrix)
                    assert_close(z.matrix, expected[ORDER[2:]], k, size[ORDER[2:]])
                    assert not z.last_line_padding.any()
                    z.assert_only_lines_written()
                    ws.assert_untouched()


@kinds
def test_sparse_forward_of_one_part_is_the_sum_over_its_inputs(dtype, kind):
    k, m = 33, 17
    x, ws = samples(3, k, 0.4, dtype, kind), weights(k, m, dtype)
    for parts in cuts(k):
        rows = Compressed(x, parts, row_lines(m, dtype))
        for from_part in range(rows.parts + 1):
            for to_part in range(from_part, rows.parts + 1):
                own = slice(parts[from_part], parts[to_part])
                z = Padded(np.full((3, m), np.nan, dtype), 5, 55)
                sparse_forward(*z.place, *rows.arrays, from_part, to_part, ORDER, 2, 0, 3, ws.flat, ws.at, m)
                size = np.abs(x[:, own].astype(np.float64)) @ np.abs(ws.matrix[own]).astype(np.float64)
                expected = reference.product_forward(x[:, own], ws.matrix[own])
                assert_close(z.matrix, expected[ORDER[2:]], k, size[ORDER[2:]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_forward_gives_a_member_of_a_team_its_units_with_the_same_bits(dtype):
    k, width = 33, lanes(dtype)
    m = 3 * width
    x, ws = samples(3, k, 0.4, dtype, "own"), weights(k, m, dtype)
    rows = Compressed(x, np.array([0, k]), row_lines(m, dtype))
    whole, shared = (Padded(np.zeros((3, m), dtype), 0, 0) for _ in range(2))
    sparse_forward(*whole.place, *rows.arrays, 0, 1, ORDER, 2, 0, 3, ws.flat, ws.at, m)
    for left, right in ((0, width), (width, 3 * width)):
        sparse_forward(shared.flat, left, shared.row, *rows.arrays, 0, 1, ORDER, 2, 0, 3, ws.flat, ws.at + left,
                       right - left)  # fmt: skip
    assert shared.flat.tobytes() == whole.flat.tobytes()


@kinds
def test_sparse_gradient_adds_the_dense_twin(dtype, kind):
    for k in SIZES:
        for m in SIZES:
            for share in SHARES:
                x, w = samples(3, k, share, dtype, kind), weights(k, m, dtype)
                delta = Padded(np.random.default_rng(3).standard_normal((3, m)).astype(dtype), 5, 0)
                start = w.matrix.copy()
                for parts in cuts(k)[:2]:
                    w.flat[:] = w.start
                    rows = Compressed(x, parts, row_lines(m, dtype))
                    sparse_gradient(w.flat, w.at, *rows.arrays, 0, rows.parts, ORDER, 2, 3, *delta.place, 0, m)
                    d = np.empty((3, m), dtype)
                    d[ORDER[2:]] = delta.matrix
                    size = np.abs(x.astype(np.float64)).T @ np.abs(d).astype(np.float64) + np.abs(start)
                    assert_close(w.matrix, reference.product_gradient(start, x, d), 3 + 1, size)
                    assert not w.rows[:, m:].any()
                    w.assert_only_lines_written()
                    delta.assert_untouched()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_sparse_gradient_keeps_to_its_parts_and_columns_and_their_bits(share, dtype):
    k, width = 33, lanes(dtype)
    m = 3 * width
    x = samples(3, k, share, dtype, "own")
    delta = Padded(np.random.default_rng(3).standard_normal((3, m)).astype(dtype), 0, 0)
    for parts in cuts(k):
        rows = Compressed(x, parts, row_lines(m, dtype))
        whole, shared = weights(k, m, dtype), weights(k, m, dtype)
        sparse_gradient(whole.flat, whole.at, *rows.arrays, 0, rows.parts, ORDER, 2, 3, *delta.place, 0, m)
        for h in range(rows.parts):
            for left, right in ((0, width), (width, 3 * width)):
                own = weights(k, m, dtype)
                for target in (own, shared):
                    sparse_gradient(target.flat, target.at, *rows.arrays, h, h + 1, ORDER, 2, 3, *delta.place,
                                    left, right)  # fmt: skip
                own.assert_only_written(slice(parts[h], parts[h + 1]), slice(left, right))
        assert shared.flat.tobytes() == whole.flat.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_input_that_is_nan_makes_its_sums_nan(dtype):
    x, ws = samples(3, 17, 0.3, dtype, "own"), weights(17, 3, dtype)
    x[0, 16] = np.nan
    rows, z = Compressed(x, np.array([0, 17]), 1), Padded(np.zeros((3, 3), dtype), 0, 0)
    sparse_forward(*z.place, *rows.arrays, 0, 1, ORDER, 2, 0, 3, ws.flat, ws.at, 3)
    np.testing.assert_array_equal(np.isnan(z.matrix).all(axis=1), ORDER[2:] == 0)


@kinds
def test_fetching_ahead_reads_no_sample_beyond_the_last(dtype, kind):
    x = samples(3, 33, 0.2, dtype, kind)
    for parts in cuts(33):
        rows = Compressed(x, parts)
        kept = [np.copy(a) for a in rows.arrays]
        for first, last in ((0, 3), (3, 5), (3, 8), (5, 7), (9, 12)):
            for from_part in range(rows.parts):
                fetch_ahead(*rows.arrays, from_part, rows.parts, ORDER, first, last)
        for array, before in zip(rows.arrays, kept):
            np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_beyond_16_bits_are_kept_in_32(dtype):
    k, m = 9000, 130
    net = network(k, (m, "relu"), dtype=dtype)
    x, _, data = samples_of(net, 3, compress=True)
    assert data.column.dtype == np.uint32
    row = int(net.layout.tables["row"][1])
    z = aligned_zeros(3 * row, dtype)
    sparse_forward(
        z, 0, row, data.starts, data.column, data.value, 1, 0, 1, np.arange(3), 0, 0, 3, net.theta, 0, m
    )  # fmt: skip
    w, _ = net.weights[0]
    size = np.abs(x.astype(np.float64)) @ np.abs(w).astype(np.float64)
    assert_close(z.reshape(3, row)[:, :m], reference.product_forward(x, w), k + 1, size)
