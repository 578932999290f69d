"""What carries over from step to step: gradients that wait for their step, running means of the weights."""

import numpy as np
import pytest

import fastmlp
from fastmlp.layers import BatchNormalization, Dense, Input
from fastmlp.optimizers import SGD, Adam


def data(n=24):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 4)).astype(np.float32), rng.standard_normal((n, 2)).astype(np.float32)


def test_batches_of_different_sizes_make_one_step_together():
    x, y = data()
    model = fastmlp.Sequential([Input((4,)), Dense(5, activation="tanh"), Dense(2)])
    model.compile(SGD(0.1, gradient_accumulation_steps=2), "mse")
    before = model.get_weights()
    first, second = (model.layer_gradients(x[part], y[part]) for part in (slice(0, 16), slice(16, 24)))
    model.train_on_batch(x[:16], y[:16])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before))
    model.train_on_batch(x[16:], y[16:])
    both = [(a + b) / 2 for layer in first for a, b in zip(first[layer], second[layer])]
    for old, gradient, new in zip(before, both, model.get_weights()):
        np.testing.assert_allclose(new, old - np.float32(0.1) * gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [True, False])
def test_running_means_leave_alone_what_is_not_trained(scale):
    x, y = data()
    model = fastmlp.Sequential(
        [Input((4,)), Dense(5, trainable=False), BatchNormalization(scale=scale), Dense(2, use_bias=False)]
    )
    model.compile(Adam(0.0, use_ema=True, ema_momentum=0.5), "mse")
    before, theta = model.get_weights(), model.layers[1]._arrays[0].copy()
    model.fit(x, y, verbose=0, epochs=2)
    moving = [3, 4] if not scale else [4, 5]
    for i, (old, new) in enumerate(zip(before, model.get_weights())):
        assert i in moving or np.array_equal(old, new)
    assert np.array_equal(model.layers[1]._arrays[0], theta)
