import copy

import numpy as np
import pytest
import reference
from support import DTYPES, JIT, compiled_only, lanes, network, samples, some, twin_of
from tolerance import assert_close

from fastmlp import layers
from fastmlp.optimizers import SGD, Adagrad, Adam, Lion, RMSprop

MULTI = dict(metrics=("categorical_accuracy", "mean_squared_error"), loss="categorical_crossentropy")
UNITS, NET = (17, 16, 33, 3), (17, (16, "relu"), (33, "tanh"), (3, "softmax"))
#: Operations with state, random numbers and penalties.
OPERATING = (17, layers.Dropout(0.2, seed=1), (33, "linear"), layers.BatchNormalization(momentum=0.8),
             layers.Activation("relu"), layers.GaussianNoise(0.1, seed=2), (70, "gelu"), layers.LayerNormalization(),
             layers.ActivityRegularization(1e-3, 1e-3), (20, "tanh"), layers.PReLU(), (3, "softmax"))  # fmt: skip
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.02, 0.9),
    "nesterov": SGD(0.02, 0.9, nesterov=True),
    "adam": Adam(0.01),
}
kinds = pytest.mark.parametrize(
    ("kind", "compress"), [("float", False), ("uint8", False), ("float", True), ("uint8", True)]
)


def classifier(optimizer="sgd", net=NET, **options):
    return network(*net, optimizer=copy.copy(OPTIMIZERS[optimizer]), **(MULTI | options))


def copies(net):
    return [[array.copy() for array in arrays] for arrays in net.weights]


def assert_same_training(net, start, totals, x, y, order, batch_size, steps, weights=None, size=1.0):
    """Weights and sums equal the twin's after so many steps from the weights `start`."""
    expected, sums = reference.train(
        net.layout.stages, start, net.loss, net.metrics, twin_of(net.optimizer), x[order], y[order], batch_size, steps,
        None if weights is None else weights[order], net.draw,
    )  # fmt: skip
    # In sequence: forward and backward through every layer, a sum over the batch, in each of the steps.
    roundings = steps * (2 * sum(k + 6 for k in net.layout.tables["units"]) + batch_size)
    for arrays, exacts in zip(net.weights, expected):
        for got, exact in zip(arrays, exacts):
            assert_close(got, exact, roundings, size * max(1, np.abs(exact).max()))
    assert_close(totals[0], sums[:, 0].sum(), roundings, size * np.abs(sums[:, 0]).sum(), net.theta.dtype)
    for m, name in enumerate(net.metrics):
        if name == "categorical_accuracy":
            assert totals[1 + m] == sums[:, 1 + m].sum()
        else:
            assert_close(totals[1 + m], sums[:, 1 + m].sum(), roundings, size * len(x), net.theta.dtype)
    assert_close(totals[-1], sums[:, -1].sum(), lanes(net.theta.dtype), sums[:, -1].sum(), net.theta.dtype)


@kinds
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ten_steps_equal_the_twin(optimizer, dtype, kind, compress):
    for weighted in (False, True):
        net = classifier(optimizer, dtype=dtype)
        start = copies(net)
        batch_size, n = some((7, 67), (3, 28))  # nine batches and a short one
        x, y, data = samples(net, n, kind=kind, compress=compress, weighted=weighted)
        order = np.random.default_rng(3).permutation(n)
        kept = [np.copy(field) for field in data]
        totals = net.train(data, order, batch_size)
        assert_same_training(net, start, totals, x, y, order, batch_size, 10, data.weights if weighted else None)
        assert not net.theta[net.padding].any()
        for field, before in zip(data, kept):
            np.testing.assert_array_equal(field, before)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_ten_steps_through_operations_equal_the_twin(optimizer, kind):
    net = classifier(optimizer, OPERATING)
    start = copies(net)
    batch_size, n = some((7, 67), (3, 14))
    x, y, data = samples(net, n, kind=kind, weighted=True)
    order = np.random.default_rng(3).permutation(n)
    totals = net.train(data, order, batch_size)
    steps = -(-n // batch_size)
    # Batches of few samples have variances near 0, whose root is a divisor; gradients reach this size.
    assert_same_training(net, start, totals, x, y, order, batch_size, steps, data.weights, size=100.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_crossentropy", "sparse_categorical_crossentropy"])
def test_ten_steps_with_the_other_losses_equal_the_twin(loss, dtype):
    last = {"mean_squared_error": "linear", "binary_crossentropy": "sigmoid"}.get(loss, "softmax")
    metric = "categorical_accuracy" if last == "softmax" else "mean_absolute_error"
    for use_bias in (True, False):
        net = network(7, (17, "sigmoid", use_bias), (3, last, use_bias), loss=loss, dtype=dtype, metrics=(metric,))
        start = copies(net)
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
    net = network(3, (5, "tanh"), (4, "softmax"), loss="sparse_categorical_crossentropy", optimizer=SGD(0.5))
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
    _, sums = reference.train(net.layout.stages, net.weights, net.loss, (), twin_of(SGD(0.5)), x, labels, 4, 30)
    assert_close(sums[:, 0].reshape(10, 3).sum(axis=1) / 11, TEN_LOSSES, 30, TEN_LOSSES)


# ---------------------------------------------------------------------------------------------- same bits


#: What a team shares in another way each: parts of the inputs, units, samples, and lines of lanes after any of them.
NORMALIZED = (layers.BatchNormalization(),)
TEAM_NETS = {
    "parts": (130, (33, "relu"), (3, "softmax")),
    "parts-alone": (100, (5, "softmax")),
    "no-second-part": NET,  # of dense rows: it would be less than a block
    "units-then-lanes": (40, (100, "tanh"), (20, "relu"), (3, "softmax")),
    "units-twice": (40, (130, "relu"), (70, "tanh"), (3, "linear")),
    "units-and-samples": (17, (20, "tanh"), (100, "relu"), (20, "sigmoid"), (90, "linear")),
    "wide-last": (130, (20, "tanh"), (100, "softmax")),
    "wide-softmax": (50, (80, "softmax"), (66, "tanh"), (3, "linear")),
    "operations": OPERATING,
    "batches": (40, *NORMALIZED, (130, "tanh"), *NORMALIZED, (17, "relu"), *NORMALIZED),
    "noise-first": (40, layers.GaussianDropout(0.3, seed=4), layers.LayerNormalization(), (100, "softmax")),
    "frozen": (40, layers.Dense(100, "tanh", trainable=False), (70, "relu"), layers.PReLU(), (3, "linear")),
}
#: With more than the sweep: running means of the weights, a limit of the gradient, several batches for a step.
TEAM_OPTIMIZERS = {
    "sgd": lambda: SGD(0.02),
    "nesterov": lambda: SGD(0.02, 0.9, nesterov=True),
    "adjusted": lambda: Adam(0.01, global_clipnorm=0.5, use_ema=True, gradient_accumulation_steps=2),
}


@compiled_only
@kinds
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", TEAM_OPTIMIZERS)
@pytest.mark.parametrize("name", TEAM_NETS)
def test_a_team_of_any_size_gives_the_same_bits(name, optimizer, dtype, kind, compress):
    row = TEAM_NETS[name]
    compress = compress and isinstance(row[1], (tuple, layers.Dense))  # which alone reads compressed rows
    loss = "categorical_crossentropy" if network(*row).layout.last_activation == "softmax" else "mean_squared_error"
    results = []
    for team in (1, 2, 3):
        net = network(*row, **(MULTI | dict(loss=loss)), optimizer=TEAM_OPTIMIZERS[optimizer](), dtype=dtype)
        _, _, data = samples(net, 150, kind=kind, compress=compress, weighted=True)
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
    for row in (NET, OPERATING):
        results = []
        for team in (1, 2, 3):
            net = classifier(net=row, dtype=dtype)
            _, _, data = samples(net, 34)
            totals = net.train(data, np.arange(34), batch_size, team=team)
            results.append((net.theta.tobytes(), totals.tobytes()))
        assert results[0] == results[1] == results[2]


@compiled_only
def test_a_team_meets_again_after_many_steps():
    for row, optimizer in ((TEAM_NETS["parts"], "sgd"), ((30, (70, "relu"), (66, "tanh"), (3, "softmax")), "momentum")):
        results = []
        for team in (1, 2):
            net = classifier(optimizer, row, dtype=np.float32)
            _, _, data = samples(net, 2000, kind="uint8")
            totals = net.train(data, np.arange(2000), 2, team=team)
            results.append((net.theta.tobytes(), totals.tobytes()))
        assert results[0] == results[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "adjusted"])
def test_an_epoch_cut_anywhere_gives_the_same_bits(optimizer, dtype):
    for row in (NET, OPERATING) if JIT else (NET,):
        results = []
        for cuts in ((), (1,), (4,), (2, 3), (0, 5, 5)):
            own = {} if optimizer in OPTIMIZERS else {"optimizer": TEAM_OPTIMIZERS[optimizer]()}
            net = network(*row, **(MULTI | own)) if own else classifier(optimizer, row, dtype=dtype)
            _, _, data = samples(net, 17)
            totals = net.train(data, np.arange(17), 3, cuts=cuts)
            results.append([a.tobytes() for a in (net.theta, net.slots, totals)])
        assert all(result == results[0] for result in results)


def test_buffers_larger_than_the_batch_give_the_same_bits():
    for row in (NET, OPERATING):
        results = []
        for capacity in (5, 6, 40):
            net = classifier(net=row)
            _, _, data = samples(net, 12)
            totals = net.train(data, np.arange(12), 5, capacity=capacity)
            results.append((net.theta.tobytes(), totals.tobytes()))
        assert results[0] == results[1] == results[2]


def test_the_same_call_gives_the_same_bits():
    thetas = set()
    for _ in range(3):
        net = classifier("nesterov", OPERATING, dtype=np.float32)
        _, _, data = samples(net, 20)
        net.train(data, np.arange(20), 6)
        thetas.add(net.theta.tobytes())
    assert len(thetas) == 1


@pytest.mark.parametrize("first", [0, 7])
def test_random_numbers_go_on_where_the_last_epoch_ended(first):
    # Two epochs of one step each are those of one of two, if the samples are the same.
    one, two = (network(5, layers.Dropout(0.5, seed=3), (3, "linear")) for _ in range(2))
    one.optimizer.iterations = two.optimizer.iterations = first
    _, _, data = samples(one, 6)
    one.train(data, np.tile(np.arange(6), 2), 6)
    for _ in range(2):
        two.train(data, np.arange(6), 6)
    assert one.theta.tobytes() == two.theta.tobytes()


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, 0.5), Adam(0.01), Lion(0.01), RMSprop(0.01), Adagrad(0.01)],
                         ids=lambda optimizer: optimizer.kernel_name)  # fmt: skip
def test_each_batch_has_a_learning_rate_of_its_own(optimizer):
    rates = np.array([0.1, 0.0, 0.05, 0.2])
    net = network(5, (3, "linear"), optimizer=optimizer)
    optimizer.iterations = 0
    start = copies(net)
    x, y, data = samples(net, 8)
    optimizer.rates = lambda count: rates[:count]
    net.train(data, np.arange(8), 2)
    twin = twin_of(optimizer)
    twin.learning_rate = lambda step: rates[step]
    expected, _ = reference.train(net.layout.stages, start, net.loss, (), twin, x, y, 2, 4)
    for got, exact in zip(net.weights[0], expected[0]):
        assert_close(got, exact, 4 * 40, 10)


# ---------------------------------------------------------------------------------------------- infer


@kinds
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("train", [False, True])
def test_inference_equals_the_twin_for_buffers_smaller_than_the_data(train, dtype, kind, compress):
    net = classifier(dtype=dtype)
    n = some(50, 10)
    x, y, data = samples(net, n, kind=kind, compress=compress, train=train)
    order, before = np.random.default_rng(5).permutation(n), net.theta.copy()
    steps = reference.forward(net.layout.stages, net.weights, x[order])
    expected = steps[-1][2]
    sums = reference.scores(net.layout.stages, steps, net.loss, net.metrics, y[order])
    roundings = sum(k + 6 for k in UNITS)
    # Logits of the last layer reach about this size; softmax makes a relative error of it.
    size = 1 + np.abs(x).max() * np.sqrt(UNITS[0])
    bits = set()
    for capacity in (1, 7, n - 1, n, n + 9):
        totals, out = net.infer(data, order, capacity=capacity)
        assert_close(out, expected, roundings, size)
        # Sums of float32 over a line, of float64 over the lines.
        assert_close(totals[0], sums[0], roundings + lanes(dtype), size * (n + sums[0]), dtype)
        assert totals[1] == sums[1]
        assert_close(totals[2], sums[2], roundings + lanes(dtype), n * size, dtype)
        assert totals[3] == 0
        bits.add(out.tobytes())
    assert len(bits) == 1
    assert net.theta.tobytes() == before.tobytes()


def test_inference_neither_draws_nor_moves_what_operations_keep():
    net = classifier(net=OPERATING)
    x, y, data = samples(net, 9)
    before = net.theta.copy()
    steps = reference.forward(net.layout.stages, net.weights, x)
    results = [net.infer(data, np.arange(9), capacity=capacity) for capacity in (2, 9)]
    sums = reference.scores(net.layout.stages, steps, net.loss, net.metrics, y)
    for totals, out in results:
        assert_close(out, steps[-1][2], 500, 10)
        assert_close(totals, sums, 500, 10 * (1 + np.abs(sums)))
    assert results[0][1].tobytes() == results[1][1].tobytes()
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
    assert totals[:-1].all()
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
