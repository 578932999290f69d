"""Kernels at the edges of numbers: outputs of ten thousand, sums of many units, batches that are not trained on."""

import numpy as np
import pytest
import twins
from support import DTYPES, Padded, lanes, network, samples, some
from test_losses import CLASSES, NAMES, SPARSE, scored, targets, twin
from test_operations import AROUND, Alone
from tolerance import assert_close

from fastmlp import optimizers, regularizers
from fastmlp.kernels import activations
from fastmlp.kernels._jit import JIT
from fastmlp.kernels.activations import BLOCK
from fastmlp.kernels.operations import FORWARD, UNDO
from fastmlp.layers import ActivityRegularization, BatchNormalization, Dense

dtypes = pytest.mark.parametrize("dtype", DTYPES)

#: Outputs of a network that is very sure, or very wrong, or tiny.
FAR = (1e4, -1e4, 104.0, -104.0, 1e-30, -1e-30, 0.0, -0.0)


def far_outputs(name, dtype):
    """Rows of such outputs, as the loss takes them; probabilities of 0 and of 1 where it is for these."""
    rng = np.random.default_rng(0)
    a = rng.choice(FAR, (24, 3))
    if name.endswith("_from_logits"):
        return a.astype(dtype)
    if "binary" in name:
        return twins.sigmoid(a).astype(dtype)
    if "crossentropy" in name or name == "kl_divergence":
        return twins.softmax(a).astype(dtype)
    return np.abs(a).astype(dtype) if name == "poisson" else a.astype(dtype)


@dtypes
@pytest.mark.parametrize("name", [name for name in NAMES if "focal" not in name])
def test_losses_of_outputs_of_ten_thousand_are_finite_and_those_of_the_twin(name, dtype):
    a, y = far_outputs(name, dtype), targets(name, 0, 24, 3, dtype)
    with np.errstate(all="ignore"):
        exact = twin(name, 0, a, y)
    for i, loss in enumerate(exact):
        total, gradient = scored(name, 0, a[i : i + 1], y[i : i + 1])
        assert np.isfinite(gradient).all()
        assert_close(np.asarray(total[0], dtype), np.asarray(loss), 16, 1 + abs(loss) + np.abs(a[i]).max())


@dtypes
@pytest.mark.parametrize("name", [name for name in NAMES if "focal" in name])
def test_focal_losses_of_outputs_of_ten_thousand_are_finite(name, dtype):
    a, y = far_outputs(name, dtype), targets(name, 0, 24, 3, dtype)
    totals, gradient = scored(name, 0, a, y)
    assert np.isfinite(totals).all()
    assert np.isfinite(gradient).all()


@dtypes
@pytest.mark.parametrize("units", [BLOCK - 1, BLOCK, BLOCK + 1, some(100_000, 3 * BLOCK)])
@pytest.mark.parametrize("name", [name for name in CLASSES if "crossentropy" in name and "focal" not in name])
def test_losses_of_many_classes_keep_their_digits(name, units, dtype):
    # Shares that are all alike are the worst: every addition is rounded to the same side.
    a = np.full((2, units), 0.0 if name.endswith("_from_logits") else 1 / units, dtype)
    labels = np.array([0, units - 1], np.int32)
    y = labels if name in SPARSE else np.eye(1, units, 0, dtype)[[0, 0]]
    total, _ = scored(name, 0, a, y)
    assert total.sum() == pytest.approx(2 * np.log(units), rel=max(1e-5 * (dtype == np.float32), 1e-12))


@dtypes
@pytest.mark.parametrize("units", [BLOCK - 1, BLOCK, BLOCK + 1, some(100_000, 3 * BLOCK)])
@pytest.mark.parametrize("in_lanes", [0, 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_shares_of_many_classes_keep_their_digits(name, in_lanes, units, dtype):
    n = lanes(dtype)
    z = np.full((n, units), -0.3, dtype)
    z[:, 0] = 0
    exact = getattr(twins, name)(z.astype(float))
    acts = Padded(z.T if in_lanes else z, 0, 0)
    rows, width = acts.shape
    activations.FORMS[name][0](np.zeros(1), 0, acts.flat, np.zeros(0, dtype), acts.at, acts.row, rows, width,
                               np.zeros(acts.row if not in_lanes else units, dtype), 0, in_lanes)  # fmt: skip
    found = acts.matrix.T if in_lanes else acts.matrix
    np.testing.assert_allclose(found, exact, rtol=2e-5 if dtype == np.float32 else 1e-12)


@dtypes
@pytest.mark.parametrize("name", [name for name in CLASSES if name.endswith("_from_logits") and "focal" not in name])
def test_losses_of_many_logits_keep_their_digits(name, dtype):
    units = some(100_000, 3 * BLOCK)
    z = np.full((1, units), -0.3, dtype)
    z[:, 0] = 0
    y = np.array([1], np.int32) if name in SPARSE else np.eye(1, units, 1, dtype)
    total, _ = scored(name, 0, z, y)
    exact = np.log(1 + (units - 1) * np.exp(np.float64(dtype(-0.3)))) - np.float64(dtype(-0.3))
    assert total.sum() == pytest.approx(exact, rel=2e-6 if dtype == np.float32 else 1e-12)


@dtypes
def test_undone_a_normalization_has_the_state_it_had(dtype):
    alone = Alone("batch_normalization", 7, 2 * 16 + 3, dtype)
    before = alone.theta.copy()
    alone.run(FORWARD)
    assert alone.theta.tobytes() != before.tobytes()
    alone.run(UNDO)
    assert alone.theta.tobytes() == before.tobytes()
    assert AROUND in alone.theta


@dtypes
def test_undone_a_frozen_normalization_is_left_alone(dtype):
    alone = Alone("batch_normalization-frozen", 7, 5, dtype)
    before = alone.theta.copy()
    alone.run(FORWARD)
    alone.run(UNDO)
    assert alone.theta.tobytes() == before.tobytes()


@dtypes
def test_an_infinite_variance_is_no_number(dtype):
    # 1 / infinity would make all outputs 0, and the batch was lost without a word.
    alone = Alone("batch_normalization", 7, 5, dtype)
    alone.view(alone.below, 7)[3, 2] = np.sqrt(np.finfo(dtype).max) * 10
    with np.errstate(all="ignore"):
        out = alone.forward()
    assert np.isnan(out[:, 2]).all()
    assert np.isfinite(np.delete(out, 2, axis=1)).all()


def normalizing(optimizer, dtype, regularizer=None):
    """A network with running means, and 40 samples."""
    layers = [Dense(20, "tanh", kernel_regularizer=regularizer), BatchNormalization(), Dense(3)]
    net = network(5, *layers, optimizer=optimizer, dtype=dtype)
    _, _, data = samples(net, 40)
    return net, data


TEAMS = (1, 2, 3) if JIT else (1,)


@dtypes
@pytest.mark.parametrize("team", TEAMS)
@pytest.mark.parametrize(
    "make",
    [lambda: optimizers.SGD(0.1), lambda: optimizers.Adam(0.1), lambda: optimizers.Adam(0.1, clipnorm=1.0)],
    ids=["plain", "swept", "adjusted"],
)
def test_a_batch_without_a_finite_loss_changes_no_bit(make, team, dtype):
    net, data = normalizing(make(), dtype)
    other, _ = normalizing(make(), dtype)
    data.targets.reshape(-1)[18 * 3 + 1] = np.sqrt(np.finfo(dtype).max) * 10
    with np.errstate(all="ignore"):
        totals = net.train(data, np.arange(40), 8, team=team, capacity=16)
    assert np.isinf(totals[0])
    other.train(data, np.arange(16), 8, team=team, capacity=16)
    assert net.theta.tobytes() == other.theta.tobytes()
    assert net.slots.tobytes() == other.slots.tobytes()


@dtypes
@pytest.mark.parametrize("team", TEAMS)
def test_a_penalty_on_weights_that_overflows_changes_no_bit(team, dtype):
    net, data = normalizing(optimizers.Adam(0.1), dtype, regularizers.L2(1.0))
    net.weights[0][0][2, 3] = np.sqrt(np.finfo(dtype).max) * 10
    theta, slots = net.theta.copy(), net.slots.copy()
    with np.errstate(all="ignore"):
        totals = net.train(data, np.arange(40), 8, team=team, capacity=16)
    assert np.isinf(totals[0])
    assert net.theta.tobytes() == theta.tobytes()
    assert net.slots.tobytes() == slots.tobytes()


@dtypes
@pytest.mark.parametrize("team", TEAMS)
def test_a_penalty_on_activations_that_overflows_changes_no_bit(team, dtype):
    net = network(5, Dense(20), ActivityRegularization(l2=0.1), Dense(3, "tanh"), dtype=dtype)
    _, _, data = samples(net, 40)
    net.weights[0][0][:] *= np.sqrt(np.finfo(dtype).max)
    theta = net.theta.copy()
    with np.errstate(all="ignore"):
        totals = net.train(data, np.arange(40), 8, team=team, capacity=16)
    assert np.isinf(totals[0])
    assert net.theta.tobytes() == theta.tobytes()
