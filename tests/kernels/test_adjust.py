import numpy as np
import pytest
import reference
import twins
from support import DTYPES, compiled_only, network, samples, some, twin_of
from tolerance import assert_close, central_difference, difference_tolerance

from fastmlp import constraints, optimizers, regularizers, threads
from fastmlp.kernels import adjust
from fastmlp.layers import BatchNormalization, Dense, PReLU
from fastmlp.plan import aligned_zeros

dtypes = pytest.mark.parametrize("dtype", DTYPES)
#: A kernel of several chunks, and one of a single line.
SIZES = some(((100, 70), (3, 5)), ((9, 17), (3, 5)))


class Alone:
    """The variables of two dense layers, adjusted by the kernel alone and by the twin."""

    def __init__(self, optimizer, dtype=np.float64, team=1, **options):
        (k, m), (_, last) = SIZES
        self.rng, self.team = np.random.default_rng(2), team
        self.net = network(k, Dense(m, **options), Dense(last, **options), optimizer=optimizer, dtype=dtype)
        assert self.net.plan.adjust
        self.gradient = aligned_zeros(self.net.theta.size, dtype)
        self.scratch, self.count, self.totals = self.net.scratch(1, team), 0, np.zeros(2)
        self.arrays = [array for arrays in self.net.weights for array in arrays]
        self.own = [g for i in range(2) for g in self.net.layout.views(self.gradient, i)]

    def apply(self, gradients, rows=1):
        """One call of the kernel: gradients of the batch come as the epoch makes them."""
        net, every = self.net, self.net.optimizer.every
        for own, g in zip(self.own, gradients):
            own += g / every
        self.count += 1
        threads.run(adjust.adjust, self.team, self.scratch.sync, net.plan.variables, net.plan.chunks, net.plan.numbers,
                    net.hyper, net.optimizer.learning_rate, net.theta, self.gradient, net.slots, self.scratch.partial,
                    self.scratch.sync, self.totals, rows, self.count, every, 1.0, net.plan.optimizer)  # fmt: skip

    def random(self):
        return [self.rng.standard_normal(array.shape).astype(array.dtype) for array in self.arrays]


def pieces(regularizer):
    """Twin's penalty and its gradient, and their numbers."""
    name = {"OrthogonalRegularizer": "orthogonal", "L1L2": "l1_l2"}.get(type(regularizer).__name__)
    name = name or type(regularizer).__name__.lower()
    return getattr(twins, name), getattr(twins, f"{name}_gradient"), regularizer.get_config()


REGULARIZERS = [
    regularizers.L1(0.1),
    regularizers.L2(0.2),
    regularizers.L1L2(0.1, 0.3),
    regularizers.OrthogonalRegularizer(0.5, "rows"),
    regularizers.OrthogonalRegularizer(0.5, "columns"),
]


@dtypes
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
def test_penalties_and_their_gradients_equal_the_twin(regularizer, dtype):
    alone = Alone(optimizers.SGD(1.0), dtype, kernel_regularizer=regularizer)
    value, gradient, numbers = pieces(regularizer)
    alone.arrays[0][2, 1] = alone.arrays[2][0, 0] = 0  # where |w| has a kink
    before = [array.copy() for array in alone.arrays]
    alone.apply([0, 0, 0, 0], rows=3)
    total = 0
    for i in (0, 2):
        exact = gradient(before[i], **numbers)
        assert_close(alone.arrays[i], before[i] - exact, 100, 1 + np.abs(before[i]))
        total += value(before[i], **numbers)
        np.testing.assert_array_equal(alone.arrays[i + 1], before[i + 1])
    assert_close(alone.totals[0], 3 * total, before[0].size, 3 * total, dtype)
    assert not alone.net.theta[alone.net.padding].any()
    assert not alone.gradient.any()


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
def test_gradients_of_penalties_are_central_differences(regularizer):
    alone = Alone(optimizers.SGD(1.0), kernel_regularizer=regularizer)
    w = alone.arrays[2]
    w[np.abs(w) < 1e-3] = 0.5
    exact = central_difference(lambda: regularizer(w), w)
    before = w.copy()
    alone.apply([0, 0, 0, 0])
    assert (np.abs(before - w - exact) <= difference_tolerance(4 * w.size, 1 + regularizer(before))).all()


@dtypes
def test_biases_and_other_parameters_have_penalties_too(dtype):
    bias, gamma = regularizers.L1(0.3), regularizers.L2(0.2)
    normalized = BatchNormalization(gamma_regularizer=gamma, beta_regularizer=gamma)
    row = (Dense(7, bias_regularizer=bias), normalized, PReLU(alpha_regularizer=bias), Dense(3))
    net = network(5, *row, optimizer=optimizers.SGD(1.0), dtype=dtype)
    start = [[array.copy() for array in arrays] for arrays in net.weights]
    start[0][1][2] = net.weights[0][1][2] = 0
    x, y, data = samples(net, 6)
    done = reference.forward(net.layout.stages, start, x, True)
    expected = reference.gradients(net.layout.stages, start, net.loss, x, y, None, done)
    penalty = 0
    for i, j, regularizer in ((0, 1, bias), (1, 0, gamma), (1, 1, gamma), (2, 0, bias)):
        value, gradient, numbers = pieces(regularizer)
        expected[i][j] = expected[i][j] + gradient(start[i][j], **numbers)
        penalty += value(start[i][j], **numbers)
    totals = net.train(data, np.arange(6), 6)
    loss = reference.scores(net.layout.stages, done, net.loss, (), y)[0]
    assert_close(totals[0], loss + 6 * penalty, 200, loss + 6 * penalty, dtype)
    for i in range(3):
        for j in reference.trained(net.layout.stages[i]):
            size = 1 + np.abs(expected[i][j]).max()
            assert_close(net.weights[i][j], start[i][j] - expected[i][j], 200, size)


# ---------------------------------------------------------------------------------------------- around the step


FEATURES = {
    "clipnorm": {"clipnorm": 1.5},
    "clipnorm-wide": {"clipnorm": 1e6},
    "global_clipnorm": {"global_clipnorm": 2.0},
    "clipvalue": {"clipvalue": 0.4},
    "decay": {"weight_decay": 0.1, "clipvalue": 3.0},
    "ema": {"use_ema": True, "ema_momentum": 0.8},
    "ema-overwrite": {"use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 3},
    "accumulation-clipnorm": {"gradient_accumulation_steps": 2, "clipnorm": 1.0, "weight_decay": 0.1},
    "accumulation-ema": {"gradient_accumulation_steps": 2, "use_ema": True, "ema_overwrite_frequency": 2},
}
MAKERS = {
    "sgd": lambda **features: optimizers.SGD(0.1, **features),
    "momentum": lambda **features: optimizers.SGD(0.1, 0.9, **features),
    "adam": lambda **features: optimizers.Adam(0.05, epsilon=1e-3, **features),
    "rmsprop": lambda **features: optimizers.RMSprop(0.05, epsilon=1e-3, centered=True, **features),
}


def assert_ten_steps(alone, twin, penalties=None):
    """Of the kernel and the twin, on the same gradients; penalties(weights) are the twin's gradients of these."""
    expected = [array.astype(np.float64) for array in alone.arrays]
    travelled = [np.abs(w).max() for w in expected]
    for count in range(1, 11):
        gradients = alone.random()
        alone.apply(gradients)
        more = penalties(expected) if penalties else [0] * 4
        before = expected
        expected = twin.apply(expected, [g + extra for g, extra in zip(gradients, more)])
        travelled = [t + np.abs(w - b).max() for t, w, b in zip(travelled, expected, before)]
        for array, exact, t in zip(alone.arrays, expected, travelled):
            # A norm is a sum over all elements, in lanes of a chunk and then over the chunks; its error shrinks steps.
            assert_close(array, exact, 30 * count + 4 * np.sqrt(array.size), 4 * t)
        assert not alone.net.theta[alone.net.padding].any()
        if alone.net.optimizer.use_ema:
            slots = alone.net.slots[-alone.net.theta.size :]
            for i, mean in enumerate(twin.averages):
                view = alone.net.layout.views(slots, i // 2)[i % 2]
                assert_close(view, mean, 30 * count + 4 * np.sqrt(view.size), 4 * travelled[i])
    return expected


@dtypes
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", FEATURES)
def test_ten_steps_equal_the_twin(name, maker, dtype):
    optimizer = MAKERS[maker](**FEATURES[name])
    assert_ten_steps(Alone(optimizer, dtype), twin_of(optimizer))


@pytest.mark.parametrize("names", [["bias"], ["dense_", "bias"], ["kernel"], ["nothing"]], ids=str)
def test_weights_decay_but_for_those_left_out(names):
    optimizer = optimizers.SGD(0.1, 0.9, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_names=names)
    alone = Alone(optimizer)
    with_decay, without = (twins.Optimizer("sgd", {"learning_rate": 0.1, "momentum": 0.9}, features)
                           for features in ({"weight_decay": 0.3}, {}))  # fmt: skip
    weights = [array.copy() for array in alone.arrays]
    for _ in range(3):
        gradients = alone.random()
        alone.apply(gradients)
        both = with_decay.apply(weights, gradients), without.apply(weights, gradients)
        flags = [optimizer.decays(f"{layer.name}/{v.name}") for layer in alone.net.layers for v in layer.variables]
        weights = [both[not flag][i] for i, flag in enumerate(flags)]
    for array, exact in zip(alone.arrays, weights):
        assert_close(array, exact, 30, 10)
    if names in (["bias"], ["kernel"]):
        assert flags == [names == ["bias"], names == ["kernel"]] * 2


CONSTRAINTS = {
    "max_norm": (constraints.MaxNorm(0.8), lambda w: twins.max_norm(w, 0.8)),
    "max_norm-axis-1": (constraints.MaxNorm(0.8, axis=1), lambda w: twins.max_norm(w.T, 0.8).T),
    "min_max_norm": (constraints.MinMaxNorm(0.9, 1.1, 0.5), lambda w: twins.min_max_norm(w, 0.9, 1.1, 0.5)),
    "min_max_norm-axis-1": (constraints.MinMaxNorm(0.9, 1.1, 0.5, axis=1),
                            lambda w: twins.min_max_norm(w.T, 0.9, 1.1, 0.5).T),
    "non_neg": (constraints.NonNeg(), twins.non_neg),
    "unit_norm": (constraints.UnitNorm(), twins.unit_norm),
    "unit_norm-axis-1": (constraints.UnitNorm(axis=1), lambda w: twins.unit_norm(w.T).T),
}  # fmt: skip


@dtypes
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_of_kernels_equal_the_twin(name, dtype):
    constraint, function = CONSTRAINTS[name]
    alone = Alone(optimizers.SGD(0.1), dtype, kernel_constraint=constraint)
    twin = twin_of(alone.net.optimizer)
    twin.features["constraints"] = [function, None] * 2
    assert_ten_steps(alone, twin)


@dtypes
@pytest.mark.parametrize("name", [name for name in CONSTRAINTS if "axis" not in name])
def test_the_norm_of_a_bias_is_that_of_all_its_numbers(name, dtype):
    constraint, function = CONSTRAINTS[name]
    alone = Alone(optimizers.SGD(0.1), dtype, bias_constraint=constraint)
    twin = twin_of(alone.net.optimizer)
    twin.features["constraints"] = [None, function] * 2
    assert_ten_steps(alone, twin)


def everything(every=1, **more):
    """Penalty, several batches for a step, limit of the gradient, decay, running mean, constraint: in Keras's order."""
    return optimizers.Adam(0.05, epsilon=1e-2, weight_decay=0.2, clipnorm=0.7, use_ema=True, ema_momentum=0.6,
                           ema_overwrite_frequency=2, gradient_accumulation_steps=every if every > 1 else None,
                           **more)  # fmt: skip


@dtypes
@pytest.mark.parametrize("every", [1, 3])
def test_the_order_is_that_of_keras(every, dtype):
    options = {"kernel_regularizer": regularizers.L1L2(0.05, 0.3), "kernel_constraint": constraints.MaxNorm(0.9)}
    alone = Alone(everything(every), dtype, bias_constraint=constraints.NonNeg(), **options)
    twin = twin_of(alone.net.optimizer)
    twin.features["constraints"] = [lambda w: twins.max_norm(w, 0.9), twins.non_neg] * 2

    def penalties(weights):
        return [twins.l1_l2_gradient(w, 0.05, 0.3) if i % 2 == 0 else 0 for i, w in enumerate(weights)]

    assert_ten_steps(alone, twin, penalties)


@compiled_only
@dtypes
@pytest.mark.parametrize("name", [*FEATURES, "everything"])
def test_a_team_of_any_size_gives_the_same_bits(name, dtype):
    results = []
    for team in (1, 2, 3):
        if name == "everything":
            alone = Alone(everything(2), dtype, team, kernel_regularizer=regularizers.OrthogonalRegularizer(0.3),
                          bias_regularizer=regularizers.L1(0.1), bias_constraint=constraints.MaxNorm(0.9),
                          kernel_constraint=constraints.UnitNorm(axis=1))  # fmt: skip
        else:
            alone = Alone(MAKERS["adam"](**FEATURES[name]), dtype, team, kernel_regularizer=regularizers.L1L2(0.1, 0.1),
                          kernel_constraint=constraints.MinMaxNorm(0.5, 1.0, 0.5))  # fmt: skip
        for _ in range(6):
            alone.apply(alone.random())
        results.append((alone.net.theta.tobytes(), alone.net.slots.tobytes(), alone.totals.tobytes()))
    assert results[0] == results[1] == results[2]


@dtypes
def test_what_is_not_trained_is_not_adjusted(dtype):
    frozen = Dense(7, kernel_regularizer="l2", kernel_constraint="unit_norm", trainable=False)
    row = (frozen, BatchNormalization(scale=False), Dense(3, kernel_regularizer="l2"))
    net = network(5, *row, optimizer=everything(), dtype=dtype)
    before = [[array.copy() for array in arrays] for arrays in net.weights]
    _, _, data = samples(net, 12)
    net.train(data, np.arange(12), 3)
    for i, stage in enumerate(net.layout.stages):
        moved = [not np.array_equal(a, b) for a, b in zip(before[i], net.weights[i])]
        expected = [j in reference.trained(stage) for j in range(len(moved))]
        assert moved == (expected if stage.kind == "dense" else [False, True, True, True])
    assert not net.theta[net.padding].any()


def test_a_norm_of_zero_is_no_divisor():
    for constraint in ("unit_norm", constraints.MinMaxNorm(0.5, 1.0)):
        alone = Alone(optimizers.SGD(0.1), kernel_constraint=constraint, kernel_regularizer="orthogonal_regularizer")
        alone.arrays[0][:, 1] = alone.arrays[0][2] = 0
        alone.apply([0, 0, 0, 0])
        assert np.isfinite(alone.net.theta).all()
        assert not alone.arrays[0][:, 1].any()
