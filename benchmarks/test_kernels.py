"""Each kernel by itself, on one thread, beside what the machine can do at most.

    python -m pytest benchmarks --benchmark-only

Operations and bytes are those that the result needs: every product that is not known to be zero, every array once.
Shares are of the peaks measured in the same run (peaks.py). A share of the memory's bandwidth above one says that the
arrays stayed in a cache.
"""

import numpy as np
import pytest
import reference
import twins
from support import Padded, small_kernel
from tolerance import assert_close

from benchmarks.jobs import load_digits
from benchmarks.peaks import LEVELS, bandwidth, fma_peak
from fastmlp.kernels import activations, dense, losses, optimizers, sparse_input
from fastmlp.kernels.lanes import transpose
from fastmlp.kernels.matmul import PANEL_LINES
from fastmlp.kernels.matmul import product_backward as backward_part
from fastmlp.kernels.matmul import product_forward as forward_part
from fastmlp.kernels.matmul import product_gradient as gradient_part
from fastmlp.kernels.plan import aligned_zeros
from fastmlp.kernels.team import SYNC_SIZE

DTYPE = np.float32
LANES = 64 // np.dtype(DTYPE).itemsize

#: (rows, inputs, units): of the jobs 256 and 1024.
PRODUCTS = [(128, 784, 256), (128, 1024, 1024)]

#: Floating-point operations of a number's exponential and logarithm as simd.py computes them, a fused one being two.
EXP, LOG = 22, 28

#: Of each activation with its bias.
ACTIVATIONS = {"relu": 2, "sigmoid": 3 + EXP, "tanh": 25 + EXP, "softmax": 5 + EXP, "silu": 7 + EXP, "gelu": 85 + EXP}


@pytest.fixture(scope="session")
def ceilings():
    """The machine's peaks on one thread."""
    return {"fma_peak": fma_peak(1), "bandwidth": {level: bandwidth(level) for level in LEVELS}}


@pytest.fixture
def measure(benchmark, ceilings):
    """Function that times a kernel and keeps what it did a second."""

    def run(name, kernel, *arguments, operations, moved):
        benchmark(kernel, *arguments)
        if benchmark.stats is None:  # --benchmark-disable: called once, not timed
            return
        seconds = benchmark.stats.stats.median
        benchmark.extra_info |= {
            "kernel": name,
            "gflops": operations / seconds / 1e9,
            "fma_share": operations / seconds / 1e9 / ceilings["fma_peak"],
            "gb_per_second": moved / seconds / 1e9,
            "bandwidth_share": moved / seconds / 1e9 / ceilings["bandwidth"]["memory"],
            "intensity": operations / moved,
            "ceilings": ceilings,
        }

    return run


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPE)


def bytes_of(*arrays):
    return sum(array.nbytes for array in arrays)


# ---------------------------------------------------------------------------------------------- products

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


class Layer:
    """x (n, k), w (k, m) and d (n, m), with room for the results."""

    def __init__(self, n, k, m):
        self.sizes = n, k, m
        self.name = f"{n} x {k} x {m}"
        self.x, self.w, self.d = random(n, k), random(k, m, seed=1), random(n, m, seed=2)
        self.z, self.dx, self.dw = (np.zeros(a.shape, DTYPE) for a in (self.d, self.x, self.w))
        self.panel = aligned_zeros(PANEL_LINES * LANES, DTYPE)
        self.operations = 2 * n * k * m
        self.once = bytes_of(self.x, self.w, self.d)

    def magnitude(self, a, b):
        return np.abs(a).astype(np.float64) @ np.abs(b)


@pytest.fixture(params=PRODUCTS, ids=lambda sizes: "x".join(map(str, sizes)))
def layer(request):
    return Layer(*request.param)


def test_product_forward(layer, measure):
    z, x, w = Padded(layer.z, 0, 0), Padded(layer.x, 0, 0), Padded(layer.w, 0, 0)
    measure(f"forward {layer.name}", product_forward, *z.place, *x.place, *w.place, *layer.sizes, layer.panel,
            operations=layer.operations, moved=layer.once)  # fmt: skip
    expected = reference.product_forward(layer.x, layer.w)
    assert_close(z.matrix, expected, layer.sizes[1], layer.magnitude(layer.x, layer.w))


def test_product_backward(layer, measure):
    dx, d, w = Padded(layer.dx, 0, 0), Padded(layer.d, 0, 0), Padded(layer.w, 0, 0)
    measure(f"backward {layer.name}", product_backward, *dx.place, *d.place, *w.place, *layer.sizes, layer.panel,
            operations=layer.operations, moved=layer.once)  # fmt: skip
    expected = reference.product_backward(layer.d, layer.w)
    assert_close(dx.matrix, expected, layer.sizes[2], layer.magnitude(layer.d, layer.w.T))


def test_product_gradient(layer, measure):
    dw, x, d = Padded(layer.dw, 0, 0), Padded(layer.x, 0, 0), Padded(layer.d, 0, 0)
    arguments = *dw.place, x.flat, x.at, 1, x.row, *d.place, *layer.sizes, layer.panel
    product_gradient(*arguments)
    expected = reference.product_gradient(0 * layer.w, layer.x, layer.d)
    assert_close(dw.matrix, expected, layer.sizes[0], layer.magnitude(layer.x.T, layer.d))
    measure(f"gradient {layer.name}", product_gradient, *arguments,
            operations=layer.operations, moved=layer.once + layer.dw.nbytes)  # fmt: skip


# ---------------------------------------------------------------------------------------------- rows of mostly zeros


class Sparse:
    """The first digits, compressed, and a layer on them."""

    def __init__(self, units, n=4800):
        self.x, self.units = load_digits()[0][:n], units
        self.w, self.z = (Padded(random(rows, units), 0, 0) for rows in (self.x.shape[1], n))
        parts, counts = np.array([0, self.x.shape[1]]), np.empty((n, 1), np.int64)
        sparse_input.count_groups(self.x, parts, counts)
        starts = np.concatenate([[0], np.cumsum(counts)])
        column, value = np.zeros(starts[-1], np.uint16), np.zeros(starts[-1], np.uint8)
        sparse_input.compress(self.x, parts, self.w.row // LANES, starts, column, value)
        self.rows = starts, column, value, 1, 0, 1, np.arange(n), 0
        self.operations = 2 * np.count_nonzero(self.x) * units
        self.once = bytes_of(starts, column, value, self.w.flat, self.z.flat)


@pytest.fixture(params=[16, 128])
def sparse(request):
    return Sparse(request.param)


def test_sparse_forward(sparse, measure):
    z, w = sparse.z, sparse.w
    measure(f"sparse forward 784 x {sparse.units}", sparse_input.sparse_forward, *z.place, *sparse.rows, 0,
            len(sparse.x), w.flat, w.at, sparse.units, operations=sparse.operations, moved=sparse.once)  # fmt: skip
    magnitude = sparse.x.astype(np.float64) @ np.abs(w.matrix)
    assert_close(z.matrix, reference.product_forward(sparse.x, w.matrix), sparse.x.shape[1], magnitude)


def test_sparse_gradient(sparse, measure):
    dw, d = sparse.w, sparse.z
    d.matrix[:] /= 1e6  # so that sums over many calls stay finite
    measure(f"sparse gradient 784 x {sparse.units}", sparse_input.sparse_gradient, dw.flat, dw.at, *sparse.rows,
            len(sparse.x), d.flat, d.at, d.row, 0, sparse.units,
            operations=sparse.operations, moved=sparse.once + dw.flat.nbytes)  # fmt: skip
    assert np.isfinite(dw.matrix).all()


# ---------------------------------------------------------------------------------------------- activations


NUMBERS = np.zeros(1)


def activate(name, measure, a, rows, units, bias, in_lanes, size):
    """Time a forward kernel, with room for the slope where training keeps it; what one call writes the next reads."""
    forward, kept = activations.FORMS[name][0], name in activations.KEEP_SLOPES
    slopes = np.zeros_like(a.flat) if kept else np.zeros(0, DTYPE)
    measure(name, forward, NUMBERS, 0, a.flat, slopes, a.at, a.row, rows, units, bias, 0, in_lanes,
            operations=ACTIVATIONS[name] * size, moved=(2 + kept) * a.flat.nbytes + bias.nbytes)  # fmt: skip


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "silu", "gelu"])
def test_activate(name, measure):
    rows, units = 240, 256
    z, bias = random(rows, units), aligned_zeros(units, DTYPE)
    bias[:] = random(units)
    checked = Padded(z, 0, 0)
    activations.FORMS[name][0](NUMBERS, 0, checked.flat, np.zeros(0, DTYPE), 0, checked.row, rows, units, bias, 0, 0)
    expected = getattr(twins, name)((z + bias).astype(np.float64))
    assert_close(checked.matrix, expected, 10, np.abs(expected))
    activate(name, measure, Padded(z, 0, 0), rows, units, bias, 0, rows * units)


def test_softmax_in_lanes(measure):
    units, samples = 10, 4800
    a, bias = Padded(random(units, samples), 0, 0), aligned_zeros(LANES, DTYPE)
    activate("softmax", measure, a, units, samples, bias, 1, units * samples)
    np.testing.assert_allclose(a.matrix.sum(axis=0), 1, rtol=1e-5)


def test_activate_backward(measure):
    # A slope of one, so that delta doesn't fall to denormal numbers over many calls.
    rows, units = 240, 256
    a, delta = Padded(np.ones((rows, units), DTYPE), 0, 0), Padded(random(rows, units), 0, 0)
    measure("relu backward", activations.FORMS["relu"][1], NUMBERS, 0, a.flat, np.zeros(0, DTYPE), delta.flat, a.at,
            a.row, rows, units, 0, operations=rows * units, moved=3 * a.flat.nbytes)  # fmt: skip
    delta.assert_untouched()


# ---------------------------------------------------------------------------------------------- losses


#: Operations of a unit and of a sample: the crossentropy's sum, the label's probability and its mass, and delta; a
#: logarithm and a division. Of an error its difference, square, sum and gradient; the sum's factor.
LOSSES = {"sparse_categorical_crossentropy": (4, LOG + 1), "mean_squared_error": (5, 1)}


@pytest.mark.parametrize("name", LOSSES)
def test_score(name, measure):
    units, samples = 10, 4800
    a = Padded(twins.softmax(random(samples, units)).T.astype(DTYPE), 0, 0)
    delta, targets = Padded(np.zeros((units, samples), DTYPE), 0, 0), Padded(random(units, samples), 0, 0)
    labels = np.random.default_rng(0).integers(0, units, samples)
    y = labels if "sparse" in name else targets.matrix.T
    labels, weights, totals = labels.astype(DTYPE), np.zeros(0, DTYPE), np.zeros(samples // LANES)
    by_unit, by_sample = LOSSES[name]
    read = bytes_of(labels) if "sparse" in name else bytes_of(targets.flat)
    measure(name, losses.KERNELS[name], NUMBERS, 0, "sparse" in name, *a.place, labels, targets.flat, weights, units,
            1.0, delta.flat, totals, 1, 0, 0, samples, operations=samples * (by_unit * units + by_sample),
            moved=read + bytes_of(a.flat, delta.flat, totals))  # fmt: skip
    loss = getattr(twins, name)(a.matrix.T, y)
    np.testing.assert_allclose(totals.sum(), loss.sum(), rtol=1e-5)


# ---------------------------------------------------------------------------------------------- what moves numbers


#: Operations of a parameter and how many arrays are moved: velocity, weights and gradient, each read and written.
OPTIMIZERS = {"momentum": (5, 6), "adam": (12, 8)}


@pytest.mark.parametrize("size", [1 << 17, 1 << 23], ids=["cached", "in memory"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update(name, size, measure):
    hyper = np.zeros(optimizers.HYPER_SIZE)
    # So near to 1 that the state doesn't fall to denormal numbers over many calls.
    hyper[optimizers.OWN :][:3] = 1 - 1e-12, 1 - 1e-12, 1e-7
    theta, gradient = (aligned_zeros(size, DTYPE) for _ in range(2))
    slots = aligned_zeros(optimizers.SLOTS[name] * size, DTYPE)
    slots[:] = 1 + np.abs(random(slots.size))
    by_parameter, moved = OPTIMIZERS[name]
    measure(f"{name}, {size * 4 >> 20 or 0.5} MB", optimizers.KERNELS[name], hyper, 1e-9, 1000, theta, slots, gradient,
            0, size, operations=by_parameter * size, moved=moved * theta.nbytes)  # fmt: skip
    assert np.isfinite(theta).all()


def test_transpose(measure):
    x = random(240, 1024)
    source, target = Padded(x, 0, 0), Padded(np.zeros(x.T.shape, DTYPE), 0, 0)
    measure("transpose", transpose, *source.place, *x.shape, *target.place, operations=0, moved=2 * x.nbytes)
    np.testing.assert_array_equal(target.matrix, reference.transpose(x))


def test_gather(measure):
    x, rows = load_digits()[0], 512
    order = np.random.default_rng(0).permutation(len(x))[:rows]
    acts, sync = Padded(np.zeros((rows, x.shape[1]), DTYPE), 0, 0), np.zeros(SYNC_SIZE, np.int64)
    measure("gather", dense.gather, x, 1.0, order, 0, acts.flat, acts.row, 0, rows, 0, x.shape[1], sync,
            operations=0, moved=rows * x.shape[1] * (1 + 4))  # fmt: skip
    np.testing.assert_array_equal(acts.matrix, reference.gather(x, order))
