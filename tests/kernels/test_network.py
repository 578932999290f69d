import numpy as np
import pytest
import reference
from support import DTYPES, JIT, network, samples, some
from tolerance import assert_close, central_difference, difference_tolerance

from fastmlp.kernels.activations import NAMES as ACTIVATIONS
from fastmlp.kernels.losses import NAMES as LOSSES
from fastmlp.plan import NARROW

#: Units of input and layers, activations: every activation hidden and last, 1 to 4 layers, awkward widths.
NETS = {
    "one-unit": ((1, 1), ("sigmoid",)),
    "linear": ((7, 3), ("linear",)),
    "softmax": ((17, 7), ("softmax",)),
    "relu-softmax": ((16, 17, 3), ("relu", "softmax")),
    "tanh-sigmoid": ((3, 33, 2), ("tanh", "sigmoid")),
    "hidden-softmax": ((7, 16, 3), ("softmax", "tanh")),
    "hidden-softmax-wide": ((2, 17, 33, 7), ("sigmoid", "softmax", "relu")),
    "hidden-linear": ((33, 2, 1, 17), ("linear", "sigmoid", "linear")),
    "four": ((3, 7, 17, 16, 2), ("tanh", "relu", "sigmoid", "softmax")),
    "parts": ((130, 17, 3), ("relu", "softmax")),
    "turn-in-the-middle": ((7, 100, 20, 3), ("relu", "tanh", "softmax")),
    "wide-last": ((5, 17, 70), ("tanh", "linear")),
    "wide-softmax": ((3, 70), ("softmax",)),
    "wide-hidden-softmax": ((3, 80, 5), ("softmax", "sigmoid")),
    "hidden-softmax-between-wide": ((3, 66, 80, 70), ("relu", "softmax", "linear")),
    "wide": ((130, 129, 3), ("relu", "linear")),  # rows of an odd number of lines
}
STEPS = {"step": ((7, 17, 3), ("step", "step")), "step-softmax": ((3, 16, 7), ("step", "softmax"))}
SMALL = [name for name, (units, _) in NETS.items() if name != "wide" and max(units) < some(200, 30)][:: some(1, 3)]


def roundings(units):
    """In sequence from input to output: a sum and an activation in each layer."""
    return sum(k + 6 for k in units[:-1]) + units[-1]


def forward_size(net, x):
    """Bound of the absolute terms that reach each output: |x| through |w|, as no activation is steeper than 1."""
    size = np.abs(x).astype(np.float64)
    for (w, b), name in zip(net.weights, net.layout.activations):
        size = size @ np.abs(w).astype(np.float64) + np.abs(b)
        if name in ("sigmoid", "tanh", "softmax", "step"):
            size = size + 1
    return size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*NETS, *STEPS])
def test_forward_equals_the_twin(name, dtype):
    units, activations = (NETS | STEPS)[name]
    for use_bias in (True, False):
        net = network(units, activations, dtype=dtype, use_bias=use_bias)
        for kind, train in (("float", False), ("uint8", False), ("float", True)):
            n = some(30, 5)
            x, _, data = samples(net, n, kind=kind, train=train)
            before = net.theta.copy()
            _, out = net.infer(data, np.arange(n), capacity=n, scored=False)
            assert out.dtype == dtype
            expected = reference.forward(net.weights, activations, x)[-1]
            assert_close(out, expected, roundings(units), forward_size(net, x))
            np.testing.assert_array_equal(net.theta, before)


def test_every_activation_stands_hidden_and_last():
    hidden = {name for _, activations in (NETS | STEPS).values() for name in activations[:-1]}
    last = {name for _, activations in (NETS | STEPS).values() for name in activations[-1:]}
    assert hidden == last == set(ACTIVATIONS)


def test_activations_turn_to_lanes_at_the_first_a_middle_and_the_last_layer():
    tables = {name: network(*NETS[name]).layout.tables for name in NETS}
    turns = {name: int(table["turn"]) for name, table in tables.items()}
    assert {name for name, turn in turns.items() if turn == 1 and NETS[name][0][1] > NARROW} >= {"wide-hidden-softmax"}
    assert {name for name, turn in turns.items() if 1 < turn < len(NETS[name][1])} >= {"turn-in-the-middle"}
    assert {name for name, turn in turns.items() if 1 < turn == len(NETS[name][1])} >= {"wide-last", "wide"}
    for name in ("hidden-softmax", "hidden-softmax-wide", "wide-hidden-softmax", "hidden-softmax-between-wide"):
        assert turns[name] <= 1 + NETS[name][1].index("softmax")
    assert turns["hidden-softmax-between-wide"] == 2


def test_a_narrow_first_layer_is_trained_in_parts_of_its_inputs():
    for name, parts in (("parts", [0, 48, 130]), ("relu-softmax", [0, 0, 16]), ("wide-last", [0, 5])):
        net = network(*NETS[name])
        np.testing.assert_array_equal(samples(net, 2)[2].parts, parts)
        np.testing.assert_array_equal(samples(net, 2, train=False)[2].parts, [0, net.layout.inputs])


def fitting_losses(activations, outputs):
    """A loss with the gradient by a, and where it fits one that has it by z."""
    if activations[-1] == "softmax" and outputs > 1:
        return ["mean_squared_error", "categorical_crossentropy", "sparse_categorical_crossentropy"]
    if activations[-1] == "sigmoid":
        return ["mean_squared_error", "binary_crossentropy"]
    return ["mean_squared_error"]


def test_every_loss_is_taken_through_a_network():
    assert {loss for units, names in NETS.values() for loss in fitting_losses(names, units[-1])} == set(LOSSES)


def step_gradient(net, data, n):
    """Mean gradient of the batch by every parameter, from one step of plain SGD that is taken back."""
    before = net.theta.copy()
    net.hyper[0] = 1.0
    net.train(data, np.arange(n), n)
    gradient = before - net.theta
    net.theta[:] = before
    return gradient


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_central_differences(name):
    units, activations = NETS[name]
    for loss in fitting_losses(activations, units[-1]):
        for use_bias in (True, False):
            net = network(units, activations, loss=loss, use_bias=use_bias)
            n = some(5, 2)
            _, _, data = samples(net, n)
            gradient = step_gradient(net, data, n)

            def mean_loss(net=net, data=data, n=n):
                return net.infer(data, np.arange(n), capacity=n, wanted=False)[0][0] / n

            for layer in range(len(activations)):
                got_w, got_b = net.layout.views(gradient, layer)
                w, b = net.weights[layer]
                # Loss and gradient are of order 1; a difference sees the rounding of the loss, too.
                allowed = difference_tolerance(roundings(units), 1 + np.abs(gradient).max())
                part = slice(None, None, some(1, 3)), slice(None, None, some(1, 5))
                by_w = central_difference(mean_loss, w[part])  # a view: theta itself is moved
                assert (np.abs(got_w[part] - by_w) <= allowed).all()
                if use_bias:
                    assert (np.abs(got_b - central_difference(mean_loss, b)) <= allowed).all()
                else:
                    assert not got_b.any()
            assert not gradient[net.padding].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
def test_gradients_equal_the_twin(name, dtype):
    units, activations = NETS[name]
    for loss in fitting_losses(activations, units[-1]):
        net = network(units, activations, loss=loss, optimizer="momentum", learning_rate=1.0, dtype=dtype)
        n = some(13, 3)
        x, y, data = samples(net, n)
        expected = reference.gradients(net.weights, activations, loss, x, y)
        net.train(data, np.arange(n), n)
        for layer, pair in enumerate(expected):
            # The first velocity is the step itself: no rounding of theta hides the gradient.
            for got, exact in zip(net.layout.views(net.slots, layer), pair):
                size = max(1.0, np.abs(x).max() * max(np.abs(p).max() for each in expected for p in each))
                assert_close(-got, exact, 2 * roundings(units) + n, size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_stays_zero(dtype):
    for name in NETS if JIT else SMALL:
        units, activations = NETS[name]
        for optimizer in ("sgd", "nesterov"):
            net = network(units, activations, optimizer=optimizer, dtype=dtype)
            _, _, data = samples(net, 7)
            net.train(data, np.arange(7), 3)
            assert not net.theta[net.padding].any()
            assert net.slots.size == 0 or not net.slots[net.padding].any()


@pytest.mark.parametrize("use_bias", [False, True])
def test_a_bias_that_is_not_trained_stays_zero(use_bias):
    net = network((3, 7, 2), ("tanh", "linear"), optimizer="momentum", use_bias=use_bias)
    _, _, data = samples(net, 6)
    net.train(data, np.arange(6), 2)
    for _, b in net.weights:
        assert b.any() == use_bias


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["one-unit", "relu-softmax", "turn-in-the-middle", "wide-last"])
def test_a_batch_may_be_larger_than_any_layer_is_wide(name, dtype):
    units, activations = NETS[name]
    n = some(300, 150)
    net = network(units, activations, optimizer="momentum", learning_rate=1.0, dtype=dtype)
    x, y, data = samples(net, n)
    _, out = net.infer(data, np.arange(n), capacity=n)
    assert_close(out, reference.forward(net.weights, activations, x)[-1], roundings(units), forward_size(net, x))
    expected = reference.gradients(net.weights, activations, net.loss, x, y)
    net.train(data, np.arange(n), n)
    for layer, pair in enumerate(expected):
        for got, exact in zip(net.layout.views(net.slots, layer), pair):
            size = max(1.0, np.abs(x).max() * max(np.abs(p).max() for each in expected for p in each))
            assert_close(-got, exact, 2 * roundings(units) + n, size)
