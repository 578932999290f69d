"""losses.Canonical in the training of a model."""

import numpy as np
import pytest
import twins

import fastmlp
from fastmlp.layers import Dense, Input
from fastmlp.losses import Canonical
from fastmlp.optimizers import SGD
from fastmlp.regularizers import L2

ALPHA, BATCH, RATE = 0.3, 4, 0.1


def logistic(penalty=ALPHA):
    model = fastmlp.Sequential(
        [Input((3,)), Dense(1, "sigmoid", kernel_regularizer=L2(penalty / 2) if penalty else None)], dtype="float64"
    )
    model.compile(SGD(RATE), Canonical("sigmoid"))
    return model


def by_hand(w, b, x, y, weights, penalty):
    """An epoch in batches, the last of which is short; its mean loss."""
    total = 0.0
    for first in range(0, len(x), BATCH):
        rows = slice(first, first + BATCH)
        own, p = weights[rows], twins.sigmoid(x[rows] @ w + b)
        loss = own @ twins.canonical("sigmoid", p, y[rows]) / own.sum() + penalty / 2 * (w**2).sum() / own.sum()
        total += loss * len(own)
        delta = own[:, None] * (p - y[rows]) / own.sum()
        w, b = w - RATE * (x[rows].T @ delta + penalty * w / own.sum()), b - RATE * delta.sum(axis=0)
    return w, b, total / len(x)


@pytest.mark.parametrize("penalty", [0.0, ALPHA])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_are_means_by_weight_and_penalties_are_divided_by_it(weighted, penalty):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 3)), rng.integers(0, 2, (10, 1)).astype(float)
    weights = rng.uniform(0.5, 2, 10) if weighted else None
    model = logistic(penalty)
    start = model.get_weights()
    history = model.fit(x, y, BATCH, verbose=0, shuffle=False, sample_weight=weights)
    w, b, loss = by_hand(*start, x, y, np.ones(10) if weights is None else weights, penalty)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-13)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-13)
    assert history.history["loss"] == [pytest.approx(loss, rel=1e-13)]


def test_a_batch_without_weight_changes_nothing():
    x, y, weights = np.ones((8, 3)), np.ones((8, 1)), np.repeat([0.0, 1.0], 4)
    half, whole = logistic(), logistic()
    half.set_weights(whole.get_weights())
    whole.fit(x, y, 4, verbose=0, shuffle=False, sample_weight=weights)
    half.fit(x[4:], y[4:], 4, verbose=0, shuffle=False)
    np.testing.assert_array_equal(half.get_weights()[0], whole.get_weights()[0])


def test_another_last_activation_is_an_error():
    model = fastmlp.Sequential([Input((3,)), Dense(2, "tanh")])
    with pytest.raises(ValueError, match="goes with a last layer with activation='sigmoid', but it ends with 'tanh'"):
        model.compile("sgd", Canonical("sigmoid"))


def test_an_activation_without_one_is_an_error():
    with pytest.raises(ValueError, match="activation 'tanh' is unknown"):
        Canonical("tanh")


def test_it_is_kept_in_files(tmp_path):
    model = logistic()
    model.save(tmp_path / "model.safetensors")
    again = fastmlp.models.load_model(tmp_path / "model.safetensors")
    assert again.loss.get_config() == {"activation": "sigmoid", "name": "sigmoid_canonical"}
