import numpy as np
import pytest
import reference
from support import DTYPES, compiled_only, lanes, network, samples, some
from tolerance import assert_close

from fastmlp.kernels.optimizers import NAMES as OPTIMIZERS

MULTI = dict(metrics=("categorical_accuracy", "mean_squared_error"), loss="categorical_crossentropy")
UNITS, ACTIVATIONS = (17, 16, 33, 3), ("relu", "tanh", "softmax")

KINDS = [("float", False), ("float", True), ("uint8", False), ("uint8", True)]
kinds = pytest.mark.parametrize(
    ("kind", "compress"), KINDS, ids=lambda v: {True: "compressed", False: "dense"}.get(v, v)
)


def classifier(optimizer="sgd", **options):
    """A network of which ten steps neither stand still nor run away."""
    rate = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02}[optimizer]
    return network(UNITS, ACTIVATIONS, optimizer=optimizer, learning_rate=rate, **(MULTI | options))


def assert_same_training(net, start, totals, x, y, order, batch_size, steps):
    """Weights and sums equal the twin's after so many steps from the weights `start`."""
    weights, sums = reference.train(
        start, net.layout.activations, net.loss, net.metrics, net.optimizer, tuple(net.hyper[:2]),
        x[order], y[order], batch_size, steps, net.use_bias,
    )  # fmt: skip
    # In sequence: forward and backward through every layer, a sum over the batch, in each of the steps.
    roundings = steps * (2 * sum(k + 6 for k in net.layout.tables["units"]) + batch_size)
    for pair, expected in zip(net.weights, weights):
        for got, exact in zip(pair, expected):
            assert_close(got, exact, roundings, max(1, np.abs(exact).max()))
    assert_close(totals[0], sums[:, 0].sum(), roundings, np.abs(sums[:, 0]).sum(), net.theta.dtype)
    for m, name in enumerate(net.metrics):
        if name == "categorical_accuracy":
            assert totals[1 + m] == sums[:, 1 + m].sum()
        elif name == "binary_accuracy":  # counts, their factor, and the sum over a line
            assert_close(totals[1 + m], sums[:, 1 + m].sum(), 2 + lanes(net.theta.dtype), len(x), net.theta.dtype)
        else:
            assert_close(totals[1 + m], sums[:, 1 + m].sum(), roundings, len(x), net.theta.dtype)


@kinds
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ten_steps_equal_the_twin(optimizer, dtype, kind, compress):
    net = classifier(optimizer, dtype=dtype)
    start = [(w.copy(), b.copy()) for w, b in net.weights]
    batch_size, n = some((7, 67), (3, 28))  # nine batches and a short one
    x, y, data = samples(net, n, kind=kind, compress=compress)
    order = np.random.default_rng(3).permutation(n)
    kept = [np.copy(field) for field in data]
    totals = net.train(data, order, batch_size)
    assert_same_training(net, start, totals, x, y, order, batch_size, steps=10)
    assert not net.theta[net.padding].any()
    for field, before in zip(data, kept):
        np.testing.assert_array_equal(field, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_crossentropy", "sparse_categorical_crossentropy"])
def test_ten_steps_with_the_other_losses_equal_the_twin(loss, dtype):
    last = {"mean_squared_error": "linear", "binary_crossentropy": "sigmoid"}.get(loss, "softmax")
    metric = {"linear": "mean_absolute_error", "sigmoid": "binary_accuracy", "softmax": "categorical_accuracy"}[last]
    for use_bias in (True, False):
        net = network((7, 17, 3), ("sigmoid", last), loss=loss, learning_rate=0.1, dtype=dtype, use_bias=use_bias,
                      metrics=(metric,))  # fmt: skip
        start = [(w.copy(), b.copy()) for w, b in net.weights]
        x, y, data = samples(net, 38)
        order = np.arange(38)
        totals = net.train(data, order, 4)
        assert_same_training(net, start, totals, x, y, order, 4, steps=10)


# The losses of ten epochs of a fixed net, by the plain version (see `recorded`).
TEN_LOSSES = [
    1.6858253463559378,
    1.6344038764857494,
    1.6098042188775674,
    1.592672222243532,
    1.5789916926446315,
    1.5674525643552117,
    1.5573274783004947,
    1.5482244008932726,
    1.5399313222303215,
    1.5323165339607863,
]


def recorded():
    """Net, samples and hyper-parameters that don't depend on any generator of random numbers."""
    net = network((3, 5, 4), ("tanh", "softmax"), loss="sparse_categorical_crossentropy", learning_rate=0.5)
    for layer, (w, b) in enumerate(net.weights):
        w[...] = np.cos(1 + layer + np.arange(w.size)).reshape(w.shape)
        b[...] = 0.1 * np.sin(np.arange(b.size))
    x, labels, data = samples(net, 11)
    x[...] = np.sin(0.7 * np.arange(x.size)).reshape(x.shape)
    labels[...] = np.arange(11) * 3 % 4
    return net, x, labels, data


def test_ten_recorded_losses():
    net, _, _, data = recorded()
    losses = [net.train(data, np.arange(11), 4)[0] / 11 for _ in range(10)]
    assert_close(losses, TEN_LOSSES, 30 * 2 * (3 + 5 + 4 + 18), TEN_LOSSES)


def test_the_recorded_losses_are_those_of_the_twin():
    net, x, labels, _ = recorded()
    weights = [(w, b) for w, b in net.weights]
    _, sums = reference.train(weights, net.layout.activations, net.loss, (), "sgd", (0.5, 0), x, labels, 4, 30)
    assert_close(sums[:, 0].reshape(10, 3).sum(axis=1) / 11, TEN_LOSSES, 30, TEN_LOSSES)


# ---------------------------------------------------------------------------------------------- same bits


#: What a team shares in another way each: parts of the inputs, units, samples, and lines of lanes after any of them.
TEAM_NETS = {
    "parts": ((130, 33, 3), ("relu", "softmax")),
    "parts-alone": ((100, 5), ("softmax",)),
    "no-second-part": ((17, 16, 33, 3), ("relu", "tanh", "softmax")),  # of dense rows: it would be less than a block
    "units-then-lanes": ((40, 100, 20, 3), ("tanh", "relu", "softmax")),
    "units-twice": ((40, 130, 70, 3), ("relu", "tanh", "linear")),
    "units-and-samples": ((17, 20, 100, 20, 90), ("tanh", "relu", "sigmoid", "linear")),
    "wide-last": ((130, 20, 100), ("tanh", "softmax")),
    "wide-softmax": ((50, 80, 66, 3), ("softmax", "tanh", "linear")),
}


@compiled_only
@kinds
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov"])
@pytest.mark.parametrize("name", TEAM_NETS)
def test_a_team_of_any_size_gives_the_same_bits(name, optimizer, dtype, kind, compress):
    units, activations = TEAM_NETS[name]
    loss = "categorical_crossentropy" if activations[-1] == "softmax" else "mean_squared_error"
    results = []
    for team in (1, 2, 3):
        net = network(units, activations, **(MULTI | dict(loss=loss)), optimizer=optimizer, learning_rate=0.02,
                      dtype=dtype)  # fmt: skip
        _, _, data = samples(net, 150, kind=kind, compress=compress)
        totals = net.train(data, np.arange(150), 41, team=team)  # 41 rows: the last line is not full
        _, _, fresh = samples(net, 150, kind=kind, compress=compress, train=False)
        scores, out = net.infer(fresh, np.arange(150), capacity=41, team=team)
        results.append([a.tobytes() for a in (net.theta, net.slots, totals, scores, out)])
        assert np.isfinite(net.theta).all()
    assert results[0] == results[1] == results[2]


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16, 17, 33])
def test_a_team_larger_than_the_batch_gives_the_same_bits(batch_size, dtype):
    results = []
    for team in (1, 2, 3):
        net = classifier(dtype=dtype)
        _, _, data = samples(net, 34)
        totals = net.train(data, np.arange(34), batch_size, team=team)
        results.append((net.theta.tobytes(), totals.tobytes()))
    assert results[0] == results[1] == results[2]


@compiled_only
def test_a_team_meets_again_after_many_steps():
    results = []
    for team in (1, 2):
        net = network((130, 33, 3), ("relu", "softmax"), **MULTI, learning_rate=0.02, dtype=np.float32)
        _, _, data = samples(net, 2000, kind="uint8")
        totals = net.train(data, np.arange(2000), 2, team=team)
        results.append((net.theta.tobytes(), totals.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_epoch_cut_anywhere_gives_the_same_bits(optimizer, dtype):
    results = []
    for cuts in ((), (1,), (4,), (2, 3), (0, 5, 5)):
        net = classifier(optimizer, dtype=dtype)
        _, _, data = samples(net, 17)
        totals = net.train(data, np.arange(17), 3, cuts=cuts)
        results.append([a.tobytes() for a in (net.theta, net.slots, totals)])
    assert all(result == results[0] for result in results)


def test_buffers_larger_than_the_batch_give_the_same_bits():
    results = []
    for capacity in (5, 6, 40):
        net = classifier()
        _, _, data = samples(net, 12)
        totals = net.train(data, np.arange(12), 5, capacity=capacity)
        results.append((net.theta.tobytes(), totals.tobytes()))
    assert results[0] == results[1] == results[2]


def test_the_same_call_gives_the_same_bits():
    thetas = set()
    for _ in range(3):
        net = classifier("nesterov", dtype=np.float32)
        _, _, data = samples(net, 20)
        net.train(data, np.arange(20), 6)
        thetas.add(net.theta.tobytes())
    assert len(thetas) == 1


# ---------------------------------------------------------------------------------------------- infer


@kinds
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("train", [False, True])
def test_inference_equals_the_twin_for_buffers_smaller_than_the_data(train, dtype, kind, compress):
    net = classifier(dtype=dtype)
    n = some(50, 10)
    x, y, data = samples(net, n, kind=kind, compress=compress, train=train)
    order, before = np.random.default_rng(5).permutation(n), net.theta.copy()
    expected = reference.forward(net.weights, ACTIVATIONS, x[order])[-1]
    losses = reference.categorical_crossentropy(expected, y[order])
    roundings = sum(k + 6 for k in UNITS)
    # Logits of the last layer reach about this size; softmax makes a relative error of it.
    size = 1 + np.abs(x).max() * np.sqrt(UNITS[0])
    bits = set()
    for capacity in (1, 7, n - 1, n, n + 9):
        totals, out = net.infer(data, order, capacity=capacity)
        assert_close(out, expected, roundings, size)
        # Sums of float32 over a line, of float64 over the lines.
        assert_close(totals[0], losses.sum(), roundings + lanes(dtype), (size * (1 + losses)).sum(), dtype)
        assert totals[1] == reference.categorical_accuracy(expected, y[order]).sum()
        assert_close(totals[2], reference.mean_squared_error(expected, y[order]).sum(), roundings + lanes(dtype),
                     n * size, dtype)  # fmt: skip
        bits.add(out.tobytes())
    assert len(bits) == 1
    assert net.theta.tobytes() == before.tobytes()


def test_whole_lines_of_samples_are_summed_alike_in_batches_of_any_size():
    net = classifier()
    _, _, data = samples(net, 50)
    totals = {net.infer(data, np.arange(50), capacity=capacity)[0].tobytes() for capacity in (8, 16, 24, 64)}
    assert len(totals) == 1


def test_inference_of_some_samples_is_that_of_all():
    net = classifier()
    _, _, data = samples(net, 9)
    _, out = net.infer(data, np.arange(9), capacity=4)
    _, some_out = net.infer(data, np.array([8, 0, 3]), capacity=4)
    assert some_out.tobytes() == out[[8, 0, 3]].tobytes()


def test_what_is_not_wanted_is_not_written():
    net = classifier()
    _, _, data = samples(net, 5)
    totals, out = net.infer(data, np.arange(5), capacity=3)
    assert totals.all()
    assert net.infer(data, np.arange(5), capacity=3, wanted=False)[0].tobytes() == totals.tobytes()
    assert net.infer(data, np.arange(5), capacity=3, scored=False)[1].tobytes() == out.tobytes()


def test_no_samples_are_no_work():
    net = classifier()
    _, _, data = samples(net, 5)
    before = net.theta.copy()
    assert not net.train(data, np.arange(0), 3).any()
    totals, out = net.infer(data, np.arange(0), capacity=3)
    assert not totals.any()
    assert out.shape == (0, 3)
    np.testing.assert_array_equal(net.theta, before)
