import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, compiled_only, network, samples
from tolerance import assert_close

from fastmlp.kernels.activations import NAMES as ACTIVATIONS
from fastmlp.kernels.single import predict_one

NETS = {
    "one-unit": ((1, 1), ("sigmoid",)),
    "softmax": ((17, 7), ("softmax",)),
    "three": ((16, 17, 33, 3), ("relu", "tanh", "softmax")),
    "hidden-softmax": ((7, 33, 130), ("softmax", "linear")),
    "wide": ((130, 129, 70), ("step", "sigmoid")),  # more than four lines of units
}


def predicted(net, x):
    """(whether it was taken, output) of a sample, in memory that holds something else before."""
    layers = net.layout.layers
    floats = np.full((2, int(net.layout.tables["row"][1:].max())), 55, net.theta.dtype)
    out, kept = np.full((1, net.layout.outputs), 77, net.theta.dtype), (layers.copy(), net.theta.copy(), x.copy())
    taken = predict_one(layers, net.theta, x, floats, out)
    for array, before in zip((layers, net.theta, x), kept):
        np.testing.assert_array_equal(array, before)
    return taken, out


def test_every_activation_is_taken_through():
    assert {name for _, activations in NETS.values() for name in activations} == set(ACTIVATIONS)


@compiled_only
@pytest.mark.parametrize("kind", ["float", "uint8"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_one_sample_has_the_bits_that_it_has_in_a_batch(name, dtype, kind):
    net = network(*NETS[name], dtype=dtype)
    x, _, data = samples(net, 5, kind=kind, train=False)
    _, batch = net.infer(data, np.arange(5), capacity=5, scored=False)
    for i in range(5):
        taken, out = predicted(net, x[i])
        assert taken
        assert out.tobytes() == batch[i : i + 1].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_one_sample_through_all_layers_equals_the_twin(name, dtype):
    units, activations = NETS[name]
    net = network(units, activations, dtype=dtype)
    x = samples(net, 5)[0]
    expected = reference.forward(net.weights, activations, x)[-1]
    # In sequence a sum and an activation in each layer; as no activation is steeper than 1, |x| through |w| bounds all.
    size = np.abs(x).astype(np.float64)
    for w, b in net.weights:
        size = 1 + size @ np.abs(w).astype(np.float64) + np.abs(b)
    for i in range(5):
        assert_close(predicted(net, x[i])[1][0], expected[i], sum(k + 6 for k in units), size[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", SIZES)
def test_one_sample_equals_the_twin(k, dtype):
    for m in SIZES:
        net = network((k, m), ("tanh",), dtype=dtype)
        (w, b), x = net.weights[0], samples(net, 1)[0]
        expected = reference.forward(net.weights, ("tanh",), x)[-1]
        assert_close(predicted(net, x[0])[1], expected, k + 3, 1 + np.abs(x).astype(np.float64) @ np.abs(w) + np.abs(b))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sample_that_is_not_finite_is_refused_and_nothing_written(dtype, wrong):
    net = network((33, 3), ("relu",), dtype=dtype)
    x = samples(net, 1)[0][0]
    for at in range(33):
        spoilt = x.copy()
        spoilt[at] = wrong
        with np.errstate(invalid="ignore"):  # inf * 0, which plain Python warns of
            taken, out = predicted(net, spoilt)
        assert not taken
        assert (out == 77).all()
