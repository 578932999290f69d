import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, compiled_only, lanes, small_kernel, some
from tolerance import assert_close

from fastmlp.kernels.matmul import PANEL_LINES, TILES, matmul, pack, pack_transposed
from fastmlp.kernels.matmul import product_backward as backward_part
from fastmlp.kernels.matmul import product_forward as forward_part
from fastmlp.kernels.matmul import product_gradient as gradient_part
from fastmlp.kernels.plan import aligned_zeros, padded

pytestmark = pytest.mark.parametrize("dtype", DTYPES)

# Depths around that of a packed panel of each width.
DEPTHS = (*SIZES, *some(sorted({PANEL_LINES // width + i for width in TILES for i in (0, 1)} | {300, 1100}), ()))


# Parts are put into a kernel that calls them; these are the kernels.


@small_kernel
def product_forward(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, bias_at, rows, k, m, panel):
    forward_part(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, bias_at, rows, k, m, panel)


@small_kernel
def product_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, zeros, rows, k, m, panel):
    backward_part(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, zeros, rows, k, m, panel)


@small_kernel
def product_gradient(dw, dw_at, dw_row, x, x_at, x_row, d, d_at, d_row, zeros, rows, k, m, panel):
    gradient_part(dw, dw_at, dw_row, x, x_at, x_row, d, d_at, d_row, zeros, rows, k, m, panel)


class Padded:
    """A matrix in rows of whole lines, behind `before` elements that belong to somebody else."""

    def __init__(self, matrix, before, padding):
        self.shape, self.at, self.row = matrix.shape, before, padded(max(matrix.shape[1], 1), matrix.dtype)
        self.flat = aligned_zeros(before + self.shape[0] * self.row + lanes(matrix.dtype), matrix.dtype)
        self.flat[:] = 77
        self.rows[:] = padding
        self.matrix[:] = matrix
        self.start = self.flat.copy()

    @property
    def rows(self):
        return self.flat[self.at : self.at + self.shape[0] * self.row].reshape(self.shape[0], self.row)

    @property
    def matrix(self):
        return self.rows[:, : self.shape[1]]

    @property
    def place(self):
        return self.flat, self.at, self.row

    def assert_untouched(self):
        np.testing.assert_array_equal(self.flat, self.start)

    def assert_only_rows_written(self):
        mask = np.ones(self.flat.size, bool)
        mask[self.at : self.at + self.shape[0] * self.row] = False
        np.testing.assert_array_equal(self.flat[mask], self.start[mask])

    @property
    def last_line_padding(self):
        width = lanes(self.flat.dtype)
        return self.rows[:, self.shape[1] : -(-self.shape[1] // width) * width]


def matrices(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def panel(dtype):
    return aligned_zeros(PANEL_LINES * lanes(dtype), dtype)


def length(a, b):
    """|a| . |b|, the magnitude of the sums of a product."""
    return np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)


# ---------------------------------------------------------------------------------------------- matmul


def check_matmul(n, k, m, dtype):
    a, b = matrices(dtype, (n, k), (k, m))
    before = a.copy(), b.copy()
    out = np.full((n, m), np.nan, dtype)
    matmul(a, b, out)
    assert_close(out, reference.matmul(a, b), k, length(a, b))
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("n", SIZES)
def test_matmul_equals_its_twin(n, dtype):
    for k in DEPTHS:
        for m in SIZES:
            check_matmul(n, k, m, dtype)


@compiled_only
def test_matmul_equals_its_twin_in_every_size(dtype):
    for size in range(1, 131):
        check_matmul(size, size * 37 % 131, size * 53 % 131, dtype)


def test_a_sum_of_no_terms_is_zero(dtype):
    out = np.full((3, 5), np.nan, dtype)
    matmul(np.empty((3, 0), dtype), np.empty((0, 5), dtype), out)
    assert not out.any()


def test_a_row_has_the_same_bits_in_a_batch_of_any_size(dtype):
    for k, m in ((300, 2 * lanes(dtype) + 3), (5, 3 * lanes(dtype))):
        a, b = matrices(dtype, (some(40, 8), k), (k, m))
        alone = np.empty((len(a), m), dtype)
        for i in range(len(a)):
            matmul(a[i : i + 1], b, alone[i : i + 1])
        for n in range(1, len(a) + 1):  # every height of the register tile, packed or not
            batch = np.empty((n, m), dtype)
            matmul(a[:n], b, batch)
            assert batch.tobytes() == alone[:n].tobytes()


# ---------------------------------------------------------------------------------------------- packing


@pytest.mark.parametrize("width", TILES)
def test_a_panel_holds_some_lines_of_each_row(width, dtype):
    row = width * lanes(dtype)
    (b,) = matrices(dtype, (7, 2 * row + 3))
    target = np.full(8 * row, 7, dtype)
    pack(target, b, row, b.shape[1], width, 7)
    np.testing.assert_array_equal(target[: 7 * row].reshape(7, -1), b[:, row : 2 * row])
    assert (target[7 * row :] == 7).all()


@pytest.mark.parametrize("width", TILES)
def test_a_transposed_panel_holds_columns_and_zero_beyond_them(width, dtype):
    row = width * lanes(dtype)
    (w,) = matrices(dtype, (row, 43))
    for columns in (1, 5, lanes(dtype), row - 1, row):
        for depth in (1, 10, lanes(dtype), 35):
            target = np.full((depth + 1) * row, 7, dtype)
            pack_transposed(target, w[:columns].ravel(), 3, 43, columns, width, depth)
            expected = np.zeros((depth, row), dtype)
            expected[:, :columns] = w[:columns, 3 : 3 + depth].T
            np.testing.assert_array_equal(target[: depth * row].reshape(depth, row), expected)
            assert (target[depth * row :] == 7).all()


# ---------------------------------------------------------------------------------------------- layers' products


@pytest.mark.parametrize("n", SIZES)
def test_product_forward_equals_its_twin(n, dtype):
    for k in DEPTHS:
        for m in SIZES:
            x, w, b = matrices(dtype, (n, k), (k, m), (m,))
            # The padding of x is never read; that of w and b is zero, so that of z is, too.
            xs, ws = Padded(x, 5, np.nan), Padded(np.vstack([w, b]), 3, 0)
            z = Padded(np.full((n, m), np.nan, dtype), lanes(dtype), 55)
            product_forward(*z.place, *xs.place, *ws.place, ws.at + k * ws.row, n, k, m, panel(dtype))
            expected = reference.product_forward(x, w, b)
            assert_close(z.matrix, expected, k + 1, length(x, w) + np.abs(b))
            assert not z.last_line_padding.any()
            z.assert_only_rows_written()
            xs.assert_untouched()
            ws.assert_untouched()


@pytest.mark.parametrize("n", SIZES)
def test_product_backward_equals_its_twin(n, dtype):
    for m in DEPTHS:
        for k in SIZES:
            d, w = matrices(dtype, (n, m), (k, m))
            ds, ws = Padded(d, 5, np.nan), Padded(w, 3, np.nan)  # no padding is read
            dx = Padded(np.full((n, k), np.nan, dtype), lanes(dtype), 55)
            zeros = np.zeros(dx.row, dtype)
            product_backward(*dx.place, *ds.place, *ws.place, zeros, n, k, m, panel(dtype))
            assert_close(dx.matrix, reference.product_backward(d, w), m, length(d, w.T))
            assert not dx.last_line_padding.any()
            dx.assert_only_rows_written()
            ds.assert_untouched()
            ws.assert_untouched()
            assert not zeros.any()


@pytest.mark.parametrize("k", SIZES)
def test_product_gradient_adds_its_twin(k, dtype):
    for n in DEPTHS:
        for m in SIZES:
            x, d, start = matrices(dtype, (n, k), (n, m), (k, m))
            xs, ds = Padded(x, 5, np.nan), Padded(d, 3, 0)
            dw = Padded(start, lanes(dtype), 0)
            product_gradient(*dw.place, *xs.place, *ds.place, np.zeros(ds.row, dtype), n, k, m, panel(dtype))
            expected = reference.product_gradient(start, x, d)
            assert_close(dw.matrix, expected, n + 1, length(x.T, d) + np.abs(start))
            assert not dw.last_line_padding.any()
            dw.assert_only_rows_written()
            xs.assert_untouched()
            ds.assert_untouched()


@compiled_only
def test_all_products_equal_their_twins_in_every_size(dtype):
    for n in range(1, 131):
        k, m = n * 37 % 131, n * 53 % 131
        x, w, d, b = matrices(dtype, (n, k), (k, m), (n, m), (m,))
        xs, ws, ds = Padded(x, 0, 0), Padded(np.vstack([w, b]), 0, 0), Padded(d, 0, 0)
        z, dx, dw = Padded(d, 0, 0), Padded(x, 0, 0), Padded(0 * w, 0, 0)
        zeros = np.zeros(max(z.row, dx.row), dtype)
        product_forward(*z.place, *xs.place, *ws.place, k * ws.row, n, k, m, panel(dtype))
        product_backward(*dx.place, *ds.place, *ws.place, zeros, n, k, m, panel(dtype))
        product_gradient(*dw.place, *xs.place, *ds.place, zeros, n, k, m, panel(dtype))
        assert_close(z.matrix, reference.product_forward(x, w, b), k + 1, length(x, w) + np.abs(b))
        assert_close(dx.matrix, reference.product_backward(d, w), m, length(d, w.T))
        assert_close(dw.matrix, reference.product_gradient(0 * w, x, d), n, length(x.T, d))


def test_a_member_of_a_team_gives_its_rows_and_columns_the_same_bits(dtype):
    n, k, m = some((40, 300, 3 * lanes(dtype)), (7, 20, 2 * lanes(dtype)))
    x, w, d, b = matrices(dtype, (n, k), (k, m), (n, m), (m,))
    xs, ws, ds = Padded(x, 0, 0), Padded(np.vstack([w, b]), 0, 0), Padded(d, 0, 0)
    z, dx, dw = (Padded(0 * like, 0, 0) for like in (d, x, w))
    zeros = np.zeros(max(z.row, dx.row), dtype)
    product_forward(*z.place, *xs.place, *ws.place, k * ws.row, n, k, m, panel(dtype))
    product_backward(*dx.place, *ds.place, *ws.place, zeros, n, k, m, panel(dtype))
    product_gradient(*dw.place, *xs.place, *ds.place, zeros, n, k, m, panel(dtype))
    parts = [Padded(0 * like, 0, 0) for like in (d, x, w)]
    for first, last in ((0, 1), (1, 3), (3, n)):
        product_forward(z_part := parts[0].flat, first * z.row, z.row, xs.flat, first * xs.row, xs.row,
                        *ws.place, k * ws.row, last - first, k, m, panel(dtype))  # fmt: skip
        product_backward(parts[1].flat, first * dx.row, dx.row, ds.flat, first * ds.row, ds.row,
                         *ws.place, zeros, last - first, k, m, panel(dtype))  # fmt: skip
    for first in range(0, m, lanes(dtype)):
        product_gradient(parts[2].flat, first, dw.row, *xs.place, ds.flat, first, ds.row,
                         zeros, n, k, lanes(dtype), panel(dtype))  # fmt: skip
    assert z_part.tobytes() == z.flat.tobytes()
    assert parts[1].flat.tobytes() == dx.flat.tobytes()
    assert parts[2].flat.tobytes() == dw.flat.tobytes()
