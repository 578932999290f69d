"""What carries over from step to step: gradients that wait for their step, running means of the weights."""

import numpy as np
import pytest

import fastmlp
from fastmlp import activations
from fastmlp.layers import (
    Activation,
    ActivityRegularization,
    BatchNormalization,
    Dense,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    Input,
    LayerNormalization,
    Normalization,
    PReLU,
    Rescaling,
)
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


BETWEEN = [
    lambda: LayerNormalization(), lambda: LayerNormalization(rms_scaling=True), lambda: BatchNormalization(),
    lambda: PReLU("ones"), lambda: Dropout(0.3), lambda: GaussianNoise(0.3), lambda: GaussianDropout(0.3),
    lambda: Rescaling(2.0, 1.0), lambda: Normalization(mean=1.0, variance=2.0),
    lambda: ActivityRegularization(0.1, 0.1),
    *(lambda name=name: Activation(name) for name in activations.NAMES if name != "step"),
]  # fmt: skip


@pytest.mark.parametrize("units", [3, 70])
@pytest.mark.parametrize("between", BETWEEN, ids=lambda make: repr(make()))
def test_padding_of_the_weights_stays_zero(between, units):
    x, y = data()
    first = "sigmoid" if between().stages(1)[0].activation[0] == "linear" else None
    model = fastmlp.Sequential([Input((4,)), Dense(units, first), between(), Dense(5), between(), Dense(2)])
    model.compile(Adam(0.01), "mse")
    model.fit(x, y, verbose=0, epochs=2, batch_size=16)
    rest = model._theta.copy()
    rest[model._layout.trainable :] = 0
    for i in range(len(model._layout.stages)):
        for view in model._layout.views(rest, i):
            view[...] = 0
    assert not rest.any()
