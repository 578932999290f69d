import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, compiled_only, lanes, small_kernel, some
from tolerance import assert_close

from fastmlp.kernels.matmul import PANEL_LINES, TILES, WIDEST, matmul, matmul_share, pack, pack_transposed
from fastmlp.kernels.matmul import product_backward as backward_part
from fastmlp.kernels.matmul import product_forward as forward_part
from fastmlp.kernels.matmul import product_gradient as gradient_part
from fastmlp.kernels.matmul import product_lanes as lanes_part
from fastmlp.kernels.matmul import product_lanes_backward as lanes_backward_part
from fastmlp.kernels.plan import aligned_zeros

pytestmark = pytest.mark.parametrize("dtype", DTYPES)

# Depths around that of a packed panel of each width.
DEPTHS = (*SIZES, *some(sorted({PANEL_LINES // width + i for width in TILES for i in (0, 1)} | {300, 1100}), ()))


# Parts are put into a kernel that calls them; these are the kernels.


@small_kernel
def product_forward(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, rows, k, m, panel):
    forward_part(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, rows, k, m, panel)


@small_kernel
def product_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, rows, k, m, panel):
    backward_part(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, rows, k, m, panel)


@small_kernel
def product_gradient(dw, dw_at, dw_row, x, x_at, x_unit, x_sample, d, d_at, d_row, rows, k, m, panel):
    gradient_part(dw, dw_at, dw_row, x, x_at, x_unit, x_sample, d, d_at, d_row, rows, k, m, panel)


@small_kernel
def product_lanes(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, samples, k, m, panel):
    lanes_part(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, samples, k, m, panel)


@small_kernel
def product_lanes_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, samples, k, m, panel):
    lanes_backward_part(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, samples, k, m, panel)


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


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_shares_of_a_team_make_up_the_product_bit_by_bit(size, dtype):
    wide = 5 * WIDEST * lanes(dtype) + 3
    for n, k, m in (
        (7, 5, wide),
        (some(80, 30), 33, 17),
        (33, 1, 3 * lanes(dtype)),
        (1, 9, 2),
        (some(30, 3), 300, wide),
    ):
        a, b = matrices(dtype, (n, k), (k, m))
        whole, shared = (np.full((n, m), np.nan, dtype) for _ in range(2))
        matmul(a, b, whole)
        for rank in range(size):
            before = np.isnan(shared)
            own = np.full((n, m), np.nan, dtype)
            matmul_share(a, b, own, rank, size)
            assert before[~np.isnan(own)].all()  # nobody writes another's share
            shared[~np.isnan(own)] = own[~np.isnan(own)]
        assert shared.tobytes() == whole.tobytes()


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
            x, w = matrices(dtype, (n, k), (k, m))
            # The padding of x is never read; that of w is zero, so that of z is, too.
            xs, ws = Padded(x, 5, np.nan), Padded(w, 3, 0)
            z = Padded(np.full((n, m), np.nan, dtype), lanes(dtype), 55)
            product_forward(*z.place, *xs.place, *ws.place, n, k, m, panel(dtype))
            assert_close(z.matrix, reference.product_forward(x, w), k, length(x, w))
            assert not z.last_line_padding.any()
            z.assert_only_lines_written()
            xs.assert_untouched()
            ws.assert_untouched()


@pytest.mark.parametrize("n", SIZES)
def test_product_backward_equals_its_twin(n, dtype):
    for m in DEPTHS:
        for k in SIZES:
            d, w = matrices(dtype, (n, m), (k, m))
            ds, ws = Padded(d, 5, np.nan), Padded(w, 3, np.nan)  # no padding is read
            dx = Padded(np.full((n, k), np.nan, dtype), lanes(dtype), 55)
            product_backward(*dx.place, *ds.place, *ws.place, n, k, m, panel(dtype))
            assert_close(dx.matrix, reference.product_backward(d, w), m, length(d, w.T))
            assert not dx.last_line_padding.any()
            dx.assert_only_lines_written()
            ds.assert_untouched()
            ws.assert_untouched()


def by_rows(x):
    """Samples as rows and as product_gradient takes them: (padded, place with x_unit and x_sample)."""
    xs = Padded(x, 5, np.nan)
    return xs, (xs.flat, xs.at, 1, xs.row)


def by_lanes(x):
    """The same in lanes."""
    xs = Padded(x.T, 5, np.nan)
    return xs, (xs.flat, xs.at, xs.row, 1)


@pytest.mark.parametrize("form", [by_rows, by_lanes])
@pytest.mark.parametrize("k", SIZES)
def test_product_gradient_adds_its_twin(k, form, dtype):
    for n in DEPTHS:
        for m in SIZES:
            x, d, start = matrices(dtype, (n, k), (n, m), (k, m))
            (xs, place), ds = form(x), Padded(d, 3, 0)
            dw = Padded(start, lanes(dtype), 0)
            product_gradient(*dw.place, *place, *ds.place, n, k, m, panel(dtype))
            expected = reference.product_gradient(start, x, d)
            assert_close(dw.matrix, expected, n + 1, length(x.T, d) + np.abs(start))
            assert not dw.last_line_padding.any()
            dw.assert_only_lines_written()
            xs.assert_untouched()
            ds.assert_untouched()


@pytest.mark.parametrize("n", SIZES)
def test_product_lanes_equals_its_twin(n, dtype):
    for k in DEPTHS:
        for m in SIZES:
            x, w = matrices(dtype, (k, n), (k, m))
            # No padding of w is read; the samples that fill up a line of x spoil none but their own lanes.
            xs, ws = Padded(x, 5, np.nan), Padded(w, 3, np.nan)
            z = Padded(np.full((m, n), np.nan, dtype), 7, 55)
            product_lanes(*z.place, *xs.place, *ws.place, n, k, m, panel(dtype))
            assert_close(z.matrix, reference.product_lanes(x, w), k, length(w.T, x))
            z.assert_only_lines_written()
            xs.assert_untouched()
            ws.assert_untouched()


@pytest.mark.parametrize("n", SIZES)
def test_product_lanes_backward_equals_its_twin(n, dtype):
    for m in DEPTHS:
        for k in SIZES:
            d, w = matrices(dtype, (m, n), (k, m))
            ds, ws = Padded(d, 5, np.nan), Padded(w, 3, np.nan)
            dx = Padded(np.full((k, n), np.nan, dtype), 7, 55)
            product_lanes_backward(*dx.place, *ds.place, *ws.place, n, k, m, panel(dtype))
            assert_close(dx.matrix, reference.product_lanes_backward(d, w), m, length(w, d))
            dx.assert_only_lines_written()
            ds.assert_untouched()
            ws.assert_untouched()


class Layer:
    """Operands of the five products of a layer as rows and as lanes, and where each puts its result."""

    def __init__(self, dtype, n, k, m):
        self.sizes, self.panel = (n, k, m), panel(dtype)
        x, w, d = self.matrices = matrices(dtype, (n, k), (k, m), (n, m))
        self.x, self.w, self.d = (Padded(a, 0, 0) for a in (x, w, d))
        self.x_lanes, self.d_lanes = Padded(x.T, 0, 0), Padded(d.T, 0, 0)
        self.z, self.dx, self.dw = (Padded(0 * like, 0, 0) for like in (d, x, w))
        self.z_lanes, self.dx_lanes = Padded(0 * d.T, 0, 0), Padded(0 * x.T, 0, 0)

    @property
    def results(self):
        return self.z, self.dx, self.dw, self.z_lanes, self.dx_lanes

    def multiply(self, first, last, left, right):
        """All products of the samples from first to last, and of the columns of dw from left to right."""
        (_, k, m), n, panel = self.sizes, last - first, self.panel
        x, d, z, dx, dw = self.x, self.d, self.z, self.dx, self.dw
        product_forward(z.flat, first * z.row, z.row, x.flat, first * x.row, x.row, *self.w.place,
                        n, k, m, panel)  # fmt: skip
        product_backward(dx.flat, first * dx.row, dx.row, d.flat, first * d.row, d.row, *self.w.place,
                         n, k, m, panel)  # fmt: skip
        product_gradient(dw.flat, left, dw.row, x.flat, 0, 1, x.row, d.flat, left, d.row,
                         len(x.matrix), k, right - left, panel)  # fmt: skip
        (z, z_at, row), (dx, dx_at, _), (x, x_at, _), (d, d_at, _) = (
            (a.flat, first, a.row) for a in (self.z_lanes, self.dx_lanes, self.x_lanes, self.d_lanes)
        )
        product_lanes(z, z_at, row, x, x_at, row, *self.w.place, n, k, m, panel)
        product_lanes_backward(dx, dx_at, row, d, d_at, row, *self.w.place, n, k, m, panel)


@compiled_only
def test_all_products_equal_their_twins_in_every_size(dtype):
    for n in range(1, 131):
        k, m = n * 37 % 131, n * 53 % 131
        layer = Layer(dtype, n, k, m)
        layer.multiply(0, n, 0, m)
        x, w, d = layer.matrices
        z, dx, dw, z_lanes, dx_lanes = (a.matrix for a in layer.results)
        assert_close(z, reference.product_forward(x, w), k, length(x, w))
        assert_close(dx, reference.product_backward(d, w), m, length(d, w.T))
        assert_close(dw, reference.product_gradient(0 * w, x, d), n, length(x.T, d))
        assert_close(z_lanes, reference.product_lanes(x.T, w), k, length(w.T, x.T))
        assert_close(dx_lanes, reference.product_lanes_backward(d.T, w), m, length(w, d.T))


def test_a_member_of_a_team_gives_its_rows_and_columns_the_same_bits(dtype):
    width = lanes(dtype)
    n, k, m = some((2 * width + 9, 300, 3 * width), (width + 3, 20, 3 * width))
    whole, shared = Layer(dtype, n, k, m), Layer(dtype, n, k, m)
    whole.multiply(0, n, 0, m)
    # A member's samples begin at a whole line, and so do its columns.
    for first, last, left, right in ((0, width, 0, width), (width, n, width, 3 * width)):
        shared.multiply(first, last, left, right)
    for result, expected in zip(shared.results, whole.results):
        assert result.flat.tobytes() == expected.flat.tobytes()


def test_lanes_of_samples_have_the_same_bits_beside_any_others(dtype):
    n, k, m = some((40, 300, 5), (20, 9, 5))
    x, w = matrices(dtype, (k, n), (k, m))
    ws = Padded(w, 0, 0)
    results = set()
    for last in range(lanes(dtype), n + 1):
        xs, z = Padded(x[:, :last], 0, 0), Padded(np.zeros((m, last), dtype), 0, 0)
        product_lanes(*z.place, *xs.place, *ws.place, last, k, m, panel(dtype))
        results.add(z.matrix[:, : lanes(dtype)].tobytes())
    assert len(results) == 1
