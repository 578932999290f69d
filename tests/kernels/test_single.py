import numpy as np
import pytest
import twins
from support import DTYPES, SIZES, compiled_only, some
from tolerance import assert_close

from fastmlp import plan as plans
from fastmlp.kernels import epoch
from fastmlp.kernels.activations import NAMES
from fastmlp.kernels.plan import aligned_zeros
from fastmlp.kernels.single import predict_one

#: Numbers of the activations that have any, and the twin's arguments.
NUMBERS = {
    "leaky_relu": ((0.2,), {"negative_slope": 0.2}),
    "elu": ((0.7,), {"alpha": 0.7}),
    "general_relu": ((0.25, 2.0, 0.5), {"negative_slope": 0.25, "max_value": 2.0, "threshold": 0.5}),
    "gelu_approximate": ((), {"approximate": True}),
}
TWINS = {"general_relu": "relu", "gelu_approximate": "gelu"}

NETS = {
    "one-unit": ((1, 1), ("sigmoid",)),
    "three": ((16, 17, 33, 3), ("relu", "tanh", "softmax")),
    "hidden-softmax": ((7, 33, 130), ("softmax", "linear")),
    "wide": ((130, 129, 70), ("step", "sigmoid")),  # more than four lines of units
    **{f"{name} inside": ((5, 19, 4), (name, "linear")) for name in NAMES},
    **{f"{name} last": ((5, 19, 4), ("tanh", name)) for name in NAMES},
}


class Network:
    """Dense layers with random weights and a plan to predict with."""

    def __init__(self, units, activations, dtype, seed=0):
        rng = np.random.default_rng(seed)
        stages = [
            plans.Stage(plans.DENSE, m, (name, NUMBERS.get(name, ((),))[0])) for m, name in zip(units[1:], activations)
        ]
        self.layout, self.activations = plans.layout(units[0], stages, np.dtype(dtype)), activations
        self.plan, self.theta = plans.plan(self.layout), aligned_zeros(self.layout.size, dtype)
        self.weights = [self.layout.views(self.theta, i) for i in range(len(stages))]
        for k, (w, b) in zip(units, self.weights):
            w[...] = rng.standard_normal(w.shape) / np.sqrt(k)
            b[...] = rng.standard_normal(b.shape) / 2

    def samples(self, n, kind="float", seed=1):
        rng, k = np.random.default_rng(seed), self.layout.inputs
        return rng.integers(0, 4, (n, k)).astype(np.uint8) if kind == "uint8" else (
            rng.standard_normal((n, k)).astype(self.theta.dtype)
        )  # fmt: skip

    def batch(self, x):
        """Output of all samples as a batch."""
        none, n = np.zeros(0, self.theta.dtype), len(x)
        out, order = np.full((n, self.layout.outputs), np.nan, self.theta.dtype), np.arange(n)
        epoch.run(self.plan, self.theta, none, np.zeros(16), np.zeros(0), plans.data(self.layout, x, None, None), order,
                  n, 0, 1, plans.scratch(self.layout, n, 1), np.zeros(0), out, False, 0, 1)  # fmt: skip
        return out

    def one(self, x):
        """(whether it was taken, output) of a sample, in memory that holds something else before."""
        layers, dtype = self.layout.one_row(self.plan), self.theta.dtype
        floats = np.full((2, int(self.layout.tables["row"][1:].max())), 55, dtype)
        out, read = np.full((1, self.layout.outputs), 77, dtype), (layers, self.plan.numbers, self.theta, x)
        kept = [array.copy() for array in read]
        layers, numbers, theta, x = read
        taken = predict_one(layers, numbers, self.layout.scale, theta, x, floats, out)
        for array, before in zip(read, kept):
            np.testing.assert_array_equal(array, before)
        return taken, out

    def plain(self, x):
        """The twins' output, and a bound of the terms it is made of."""
        a, size = x.astype(np.float64), np.abs(x).astype(np.float64)
        for (w, b), name in zip(self.weights, self.activations):
            a = getattr(twins, TWINS.get(name, name))(a @ w.astype(np.float64) + b, **NUMBERS.get(name, ((), {}))[1])
            # No activation is steeper than 1.8, but for the exponential; an output may be its slope times its input.
            steep = np.maximum(1.8, np.abs(a)) if name == "exponential" else 1.8
            size = 1 + steep * (size @ np.abs(w).astype(np.float64) + np.abs(b))
        return a, size


@compiled_only
@pytest.mark.parametrize("kind", ["float", "uint8"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_one_sample_has_the_bits_that_it_has_in_a_batch(name, dtype, kind):
    net = Network(*NETS[name], dtype)
    x = net.samples(5, kind)
    batch = net.batch(x)
    for i in range(5):
        taken, out = net.one(x[i])
        assert taken
        assert out.tobytes() == batch[i : i + 1].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_one_sample_through_all_layers_equals_the_twins(name, dtype):
    net = Network(*NETS[name], dtype)
    x = net.samples(some(5, 2))
    expected, size = net.plain(x)
    for i in range(len(x)):
        # In sequence a sum and an activation in each layer.
        assert_close(net.one(x[i])[1][0], expected[i], sum(k + 9 for k in NETS[name][0]), size[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", SIZES)
def test_one_sample_equals_the_twin_at_all_sizes(k, dtype):
    for m in SIZES:
        net = Network((k, m), ("tanh",), dtype)
        x = net.samples(1)
        expected, size = net.plain(x)
        assert_close(net.one(x[0])[1], expected, k + 3, size)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sample_that_is_not_finite_is_refused_and_nothing_written(dtype, wrong):
    net = Network((33, 3), ("relu",), dtype)
    x = net.samples(1)[0]
    for at in range(33):
        spoilt = x.copy()
        spoilt[at] = wrong
        with np.errstate(invalid="ignore"):  # inf * 0, which plain Python warns of
            taken, out = net.one(spoilt)
        assert not taken
        assert (out == 77).all()
