import numpy as np
import pytest
import reference
from support import DTYPES, JIT, network, samples, some
from tolerance import assert_close, central_difference, difference_tolerance

from fastmlp import layers
from fastmlp.kernels.activations import NAMES as ACTIVATIONS
from fastmlp.kernels.losses import NAMES as LOSSES
from fastmlp.kernels.operations import NAMES as OPERATIONS
from fastmlp.losses import NAMES as NAMED_LOSSES
from fastmlp.losses import get as get_loss
from fastmlp.optimizers import SGD
from fastmlp.plan import NARROW

#: Inputs and layers: 1 to 4 dense ones, awkward widths.
NETS = {
    "one-unit": (1, (1, "sigmoid")),
    "one-layer": (7, (3, "linear")),
    "softmax-alone": (17, (7, "softmax")),
    "relu-softmax": (16, (17, "relu"), (3, "softmax")),
    "tanh-sigmoid": (3, (33, "tanh"), (2, "sigmoid")),
    "hidden-softmax": (7, (16, "softmax"), (3, "tanh")),
    "hidden-softmax-wide": (2, (17, "sigmoid"), (33, "softmax"), (7, "relu")),
    "hidden-linear": (33, (2, "linear"), (1, "sigmoid"), (17, "linear")),
    "four": (3, (7, "tanh"), (17, "relu"), (16, "sigmoid"), (2, "softmax")),
    "parts": (130, (17, "relu"), (3, "softmax")),
    "turn-in-the-middle": (7, (100, "relu"), (20, "tanh"), (3, "softmax")),
    "wide-last": (5, (17, "tanh"), (70, "linear")),
    "wide-softmax": (3, (70, "softmax")),
    "wide-hidden-softmax": (3, (80, "softmax"), (5, "sigmoid")),
    "hidden-softmax-between-wide": (3, (66, "relu"), (80, "softmax"), (70, "linear")),
    "wide": (130, (129, "relu"), (3, "linear")),  # rows of an odd number of lines
    "no-bias": (7, (17, "tanh", False), (5, "linear", False)),
}
#: Every activation in rows and in lanes; softplus keeps the losses' outputs above zero.
BY_ACTIVATION = {
    name: (5, (70, name), (7, "tanh"), (3, name))
    for name in ACTIVATIONS
    if name not in ("step", "general_relu", "gelu_approximate")
} | {"general_relu": (5, (70, None), layers.ReLU(1.5, 0.1, 0.25), (7, "tanh"), (3, None), layers.ReLU(1.5, 0.1, 0.25))}
STEPS = {"step": (7, (17, "step"), (3, "step")), "step-softmax": (3, (16, "step"), (7, "softmax"))}

LAYERS = {
    "identity": layers.Activation("tanh"),
    "dropout": layers.Dropout(0.3, seed=5),
    "noise": layers.GaussianNoise(0.5, seed=6),
    "noise-by-factors": layers.GaussianDropout(0.3, seed=7),
    "batch_normalization": layers.BatchNormalization(momentum=0.8),
    "layer_normalization": layers.LayerNormalization(),
    "layer_normalization-rms": layers.LayerNormalization(rms_scaling=True),
    "prelu": layers.PReLU(),
    "rescaling": layers.Rescaling(1.5, -0.25),
    "normalization": layers.Normalization(),
    "normalization-inverted": layers.Normalization(invert=True),
    "activity": layers.ActivityRegularization(0.02, 0.03),
}
#: Every operation on the inputs, between narrow layers, between wide ones, and last.
BY_OPERATION = {
    f"{name}-{place}": (7, *row)
    for name, layer in LAYERS.items()
    for place, row in {
        "first": (layer, (17, "tanh"), (3, "linear")),
        "narrow": ((17, "tanh"), layer, (5, "sigmoid"), (3, "linear")),
        "wide": ((70, "tanh"), layer, (80, "sigmoid"), (3, "linear")),
        "last": ((17, "tanh"), (5, "linear"), layer),
    }.items()
}
#: Several at once, with activations behind them that mix the units, or keep slopes.
MIXED = {
    "mixed": (
        20, layers.Normalization(), layers.Dropout(0.2, seed=1), (33, "linear"), layers.BatchNormalization(),
        layers.Activation("relu"), layers.Dropout(0.4, seed=2), (70, "gelu"), layers.LayerNormalization(),
        layers.Activation("softmax"), (20, "silu"), (3, "softmax"),
    ),
    "all-last": (7, (5, "linear"), layers.BatchNormalization(), layers.PReLU(), layers.Activation("softmax")),
    "padded": (  # what is not zero in the padding of activations
        5, (7, "sigmoid"), layers.ActivityRegularization(0.1, 0.2), (7, "exponential"),
        layers.GaussianNoise(0.5, seed=3), layers.LayerNormalization(), layers.Rescaling(1.0, 2.0), layers.PReLU(),
        (3, "linear"),
    ),
    "rescaled-twice": (5, layers.Rescaling(0.5), layers.Rescaling(1.0, 2.0), (70, None), layers.PReLU(), (70, None)),
}  # fmt: skip
ALL = NETS | BY_ACTIVATION | BY_OPERATION | MIXED
#: A few where kernels run as plain Python.
PLAIN = ("one-unit", "relu-softmax", "hidden-softmax", "no-bias", "dropout-first", "batch_normalization-narrow",
         "layer_normalization-last", "prelu-last", "activity-narrow")  # fmt: skip
SMALL = some([name for name in ALL if name not in ("wide", "mixed")], PLAIN)
MORE = ("noise-narrow", "normalization-first", "batch_normalization-wide", "padded", "all-last")
TRAINED = some([*ALL], [*PLAIN, *MORE])


def roundings(net):
    """In sequence from input to output: a sum, and what a stage does to it."""
    units = net.layout.tables["units"]
    return sum(int(k) + 12 for k in units[:-1]) + int(units[-1])


#: Of activations that are steeper than 1, or not bounded by what comes in.
STEEPNESS = {"selu": 1.8, "gelu": 1.2, "gelu_approximate": 1.2, "silu": 1.2, "mish": 1.2, "general_relu": 1.1}
BOUNDED = ("sigmoid", "hard_sigmoid", "tanh", "softmax", "step", "softplus", "softsign", "selu", "elu", "log_softmax")


def output_size(net, x):
    """Bound of the absolute terms that reach each output: what enters a stage, times its slopes, and what it adds."""
    size = np.abs(x).astype(np.float64)
    steps = reference.forward(net.layout.stages, net.weights, x)
    for stage, arrays, step in zip(net.layout.stages, net.weights, steps):
        below, _, a, _, _ = step
        absolute = [np.abs(array).astype(np.float64) for array in arrays]
        if stage.kind == "dense":
            size = size @ absolute[0] + absolute[1]
        elif stage.kind == "batch_normalization":
            gamma, beta, mean, variance = absolute
            size = (size + mean) * gamma / np.sqrt(variance + stage.numbers[1]) + beta
        elif stage.kind == "layer_normalization":
            # Each unit moves mean and deviation, too.
            deviation = np.sqrt(below.var(axis=1, keepdims=True) + stage.numbers[0])
            normal = np.abs(below).max(axis=1, keepdims=True) / deviation
            size = 3 * (1 + normal) * size.max(axis=1, keepdims=True) / deviation * absolute[0] + absolute[1]
        elif stage.kind == "normalization":
            root = np.sqrt(absolute[1])
            size = size * root + absolute[0] if stage.numbers[0] else (size + absolute[0]) / root
        elif stage.kind == "rescaling":
            size = size * abs(stage.numbers[0]) + abs(stage.numbers[1])
        elif stage.kind == "prelu":
            size = size * np.maximum(1, absolute[0])
        name = stage.activation[0]
        if name == "exponential":
            size = size * a
        elif "softmax" in name:
            size = size.max(axis=1, keepdims=True) + np.abs(a)
        size = size * STEEPNESS.get(name, 1) + (name in BOUNDED)
    return size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", some([*(ALL | STEPS)], [*TRAINED, *STEPS]))
def test_forward_equals_the_twin(name, dtype):
    net = network(*(ALL | STEPS)[name], dtype=dtype)
    n = some(30, 5)
    for kind, train in (("float", False), ("uint8", False), ("float", True)):
        x, _, data = samples(net, n, kind=kind, train=train)
        before = net.theta.copy()
        _, out = net.infer(data, np.arange(n), capacity=n, scored=False)
        assert out.dtype == dtype
        expected = reference.output(net.layout.stages, net.weights, x)
        assert_close(out, expected, roundings(net), output_size(net, x))
        np.testing.assert_array_equal(net.theta, before)


def kinds(nets):
    return {stage.kind for net in nets.values() for stage in network(*net).layout.stages}


def test_every_activation_and_operation_stands_at_every_place():
    stages = [network(*net).layout.stages for net in (ALL | STEPS).values()]
    hidden = {stage.activation[0] for row in stages for stage in row[:-1]}
    last = {row[-1].activation[0] for row in stages}
    assert hidden | {"gelu_approximate"} == last | {"gelu_approximate"} == set(ACTIVATIONS)
    for place in ("first", "narrow", "wide", "last"):
        found = kinds({name: net for name, net in BY_OPERATION.items() if name.endswith(f"-{place}")})
        # An activation that stands alone joins the stage before it, if it has none.
        assert found | {"identity"} == {*OPERATIONS, "dense"}
    assert "identity" in kinds(ALL)


def test_activations_turn_to_lanes_at_the_first_a_middle_and_the_last_stage():
    turns = {name: int(network(*net).layout.tables["turn"]) for name, net in ALL.items()}
    stages = {name: network(*net).layout.stages for name, net in ALL.items()}
    assert {name for name, turn in turns.items() if turn == 1 and stages[name][0].units > NARROW} >= {"wide-softmax"}
    assert {name for name, turn in turns.items() if 1 < turn < len(stages[name])} >= {"turn-in-the-middle"}
    assert {name for name, turn in turns.items() if 1 < turn == len(stages[name])} >= {"wide-last", "wide"}
    for name, turn in turns.items():
        # What mixes the units of a sample is in rows by itself, or in lanes.
        for i, stage in enumerate(stages[name]):
            assert "softmax" not in stage.activation[0] or i + 1 >= turn or stage.kind == "identity"


def test_a_narrow_first_layer_is_trained_in_parts_of_its_inputs():
    for name, parts in (("parts", [0, 48, 130]), ("relu-softmax", [0, 0, 16]), ("wide-last", [0, 5])):
        net = network(*NETS[name])
        np.testing.assert_array_equal(samples(net, 2)[2].parts, parts)
        np.testing.assert_array_equal(samples(net, 2, train=False)[2].parts, [0, net.layout.inputs])


def step(net, data, n):
    """Mean loss of the batch in training, and the gradient by every parameter; all is taken back."""
    before = net.theta.copy()
    net.optimizer.learning_rate, net.optimizer.iterations = 1.0, 0
    loss = net.train(data, np.arange(n), n)[0] / n
    gradient = before - net.theta
    net.theta[:] = before
    return loss, gradient


def fitting_losses(net):
    """A loss with the gradient by a, and where it fits one that has it by z."""
    last, several = net.layout.last_activation, net.layout.outputs > 1
    if last == "softmax" and several:
        return ["mean_squared_error", "categorical_crossentropy", "sparse_categorical_crossentropy"]
    return ["mean_squared_error", "binary_crossentropy"] if last == "sigmoid" else ["mean_squared_error"]


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_central_differences(name):
    for loss in fitting_losses(network(*ALL[name])):
        net = network(*ALL[name], loss=loss)
        n = some(5, 2)
        x, _, data = samples(net, n)
        _, gradient = step(net, data, n)
        checked = np.zeros(net.theta.size, bool)
        # Loss and gradient are of the order of size; a difference sees the rounding of the loss, too.
        size = 1 + np.abs(step(net, data, n)[0]) + np.abs(gradient).max() + output_size(net, x).max()
        allowed = difference_tolerance(roundings(net), size)
        for stage, arrays, found, seen in zip(net.layout.stages, net.weights,
                                             *([net.layout.views(flat, i) for i in range(len(net.weights))]
                                               for flat in (gradient, checked))):  # fmt: skip
            for j in reference.trained(stage):
                few = tuple(slice(None, None, 1 + length // some(8, 2)) for length in arrays[j].shape)
                by = central_difference(lambda net=net, data=data, n=n: step(net, data, n)[0], arrays[j][few])
                assert (np.abs(found[j][few] - by) <= allowed).all(), (stage.kind, j, found[j][few], by)
                seen[j][...] = True
        # Nothing else has moved, but for what operations keep.
        assert not gradient[: net.layout.trainable][~checked[: net.layout.trainable]].any()


def gradients_by_momentum(net, data, n):
    """Of every stage the arrays' gradients: the first velocity is the step itself, no rounding of theta hides it."""
    net.train(data, np.arange(n), n)
    return [[-net.slot(array) for array in arrays] for arrays in net.weights]


def assert_gradients(net, found, expected, x, n):
    size = max(1.0, np.abs(x).max()) * max(1.0, *(np.abs(d).max() for each in expected for d in each), 0)
    for stage, got, exact in zip(net.layout.stages, found, expected):
        for j in reference.trained(stage):
            assert_close(got[j], exact[j], 2 * roundings(net) + 2 * n, size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRAINED)
def test_gradients_equal_the_twin(name, dtype):
    for loss in fitting_losses(network(*ALL[name])):
        for weighted in (False, True):
            net = network(*ALL[name], loss=loss, optimizer=SGD(1.0, 0.5), dtype=dtype)
            n = some(13, 3)
            x, y, data = samples(net, n, weighted=weighted)
            weights = data.weights if weighted else None
            stages, start = net.layout.stages, [[a.copy() for a in arrays] for arrays in net.weights]
            done = reference.forward(stages, start, x, True, net.draw)
            expected = reference.gradients(stages, start, net.loss, x, y, weights, done)
            assert_gradients(net, gradients_by_momentum(net, data, n), expected, x, n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMED_LOSSES)
def test_every_loss_is_taken_through_a_network(name, dtype):
    last = {"binary": "sigmoid", "categorical": "softmax", "sparse": "softmax", "kl": "softmax", "poisson": "softplus",
            "mean_squared_logarithmic": "softplus"}  # fmt: skip
    ends = [end for start, end in last.items() if name.startswith(start) and "hinge" not in name]
    for logits in (False, True) if "crossentropy" in name else (False,):
        loss = get_loss(name)
        if logits:
            loss = type(loss)(from_logits=True)
        assert loss.kernel_name in LOSSES
        end = "linear" if logits or not ends else ends[0]
        net = network(7, (17, "tanh"), (3, end), loss=loss, optimizer=SGD(1.0, 0.5), dtype=dtype)
        n = some(13, 5)
        x, y, data = samples(net, n, weighted=True)
        expected = reference.gradients(net.layout.stages, net.weights, loss, x, y, data.weights)
        sums = reference.scores(net.layout.stages, reference.forward(net.layout.stages, net.weights, x), loss, (), y,
                                data.weights)  # fmt: skip
        got, _ = net.infer(data, np.arange(n), capacity=n)
        assert_close(got, sums, roundings(net) + n, 2 * n * max(1, np.abs(sums).max()), dtype)
        assert_gradients(net, gradients_by_momentum(net, data, n), expected, x, n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", some([*ALL], ["padded", "softmax"]))
def test_padding_stays_zero(name, dtype):
    for optimizer in (SGD(0.1), SGD(0.1, 0.9, nesterov=True)):
        net = network(*ALL[name], optimizer=optimizer, dtype=dtype)
        _, _, data = samples(net, 7)
        net.train(data, np.arange(7), 3)
        size = net.layout.trainable
        assert not net.theta[:size][net.padding[:size]].any()
        assert net.slots.size == 0 or not net.slots[net.padding].any()
        assert np.isfinite(net.theta).all()


@pytest.mark.parametrize("layer", [layers.BatchNormalization, layers.LayerNormalization])
def test_padding_stays_zero_without_an_epsilon(layer):
    net = network(5, (7, "tanh"), layer(epsilon=0.0), (3, "linear"), optimizer=SGD(0.1, 0.9))
    _, _, data = samples(net, 6)
    with np.errstate(divide="ignore"):  # 1 / 0 in the padding, which plain Python warns of
        net.train(data, np.arange(6), 3)
    assert not net.theta[net.padding].any()
    assert not net.slots[net.padding].any()


def test_a_bias_that_is_not_trained_stays_zero():
    net = network(3, (7, "tanh", False), (2, "linear", False), optimizer=SGD(0.1, 0.9))
    for arrays in net.weights:
        arrays[1][...] = 0
    _, _, data = samples(net, 6)
    net.train(data, np.arange(6), 2)
    assert not any(arrays[1].any() for arrays in net.weights)


@pytest.mark.parametrize("frozen", [0, 1, 2, 3, (0, 1), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.9)], ids=["direct", "swept"])
def test_what_is_not_trainable_stays_and_the_others_move(optimizer, frozen):
    row = [layers.Dense(17, "tanh"), layers.BatchNormalization(), layers.PReLU(), layers.Dense(3)]
    for i in np.ravel(frozen):
        row[i].trainable = False
    net = network(40, *row, optimizer=optimizer)
    before = [[a.copy() for a in arrays] for arrays in net.weights]
    x, y, data = samples(net, 6)
    done = reference.forward(net.layout.stages, before, x, True)
    expected = reference.gradients(net.layout.stages, before, net.loss, x, y, None, done)
    net.train(data, np.arange(6), 6)
    for i, (old, new, by, arrays) in enumerate(zip(before, net.weights, expected, [step[4] for step in done])):
        for a, b, d, state in zip(old, new, by, arrays):
            assert_close(b, state - 0.1 * d, 2 * roundings(net), 10)
            assert np.array_equal(a, b) == (i in np.ravel(frozen))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["one-unit", "relu-softmax", "turn-in-the-middle", "wide-last", "mixed"][: some(5, 2)])
def test_a_batch_may_be_larger_than_any_layer_is_wide(name, dtype):
    n = some(300, 150)
    net = network(*ALL[name], optimizer=SGD(1.0, 0.5), dtype=dtype)
    x, y, data = samples(net, n)
    _, out = net.infer(data, np.arange(n), capacity=n)
    assert_close(out, reference.output(net.layout.stages, net.weights, x), roundings(net), output_size(net, x))
    start = [[a.copy() for a in arrays] for arrays in net.weights]
    done = reference.forward(net.layout.stages, start, x, True, net.draw)
    expected = reference.gradients(net.layout.stages, start, net.loss, x, y, None, done)
    assert_gradients(net, gradients_by_momentum(net, data, n), expected, x, n)


def test_every_network_here_compiles_to_one_kernel():
    if JIT:
        from fastmlp.kernels.epoch import run

        assert len(run.signatures) <= 8  # types and forms of the inputs, not networks
