"""The network as it predicts, beside predict."""

import itertools

import numpy as np
import pytest
from reference import predict_rows as outputs

import fastmlp
from fastmlp import activations, layers
from fastmlp.saving.steps import Affine, Scale, steps_of


def everything():
    """A model with a layer of each kind."""
    model = fastmlp.Sequential(
        [
            layers.InputLayer((3, 4)),
            layers.Flatten(),
            layers.Rescaling(0.5),
            layers.Normalization(mean=np.arange(12.0) / 9, variance=np.arange(1.0, 13.0)),
            layers.Dense(9),
            layers.BatchNormalization(),
            layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.05),
            layers.Dropout(0.3),
            layers.Dense(8, activation="tanh", use_bias=False),
            layers.LayerNormalization(),
            layers.PReLU(),
            layers.GaussianNoise(0.2),
            layers.Dense(7, activation="softmax"),
            layers.LayerNormalization(rms_scaling=True),
            layers.Rescaling(2.0, -1.0),
            layers.ELU(0.7),
            layers.Dense(5, activation="log_softmax"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.2, 1.2, w.shape) - 0.5 * (w.ndim == 2) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("fold", [False, True])
def test_steps_of_every_layer_predict_the_same(fold):
    model, x = everything(), np.random.default_rng(1).normal(size=(5, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(outputs(steps_of(model, fold=fold), x.reshape(5, 12)), model.predict(x), atol=2e-5)


@pytest.mark.parametrize("activation", activations.NAMES)
def test_steps_of_every_activation_predict_the_same(activation):
    model = fastmlp.Sequential([layers.Input((6,)), layers.Dense(5, activation=activation), layers.Dense(2)])
    x = np.random.default_rng(2).normal(size=(4, 6)).astype(np.float32)
    np.testing.assert_allclose(outputs(steps_of(model), x), model.predict(x), atol=1e-5)


def test_folding_leaves_no_scale_beside_a_product():
    steps = steps_of(everything(), fold=True)
    kinds = [type(step) for step in steps]
    assert not any({a, b} == {Affine, Scale} for a, b in itertools.pairwise(kinds))
    assert [type(step) for step in steps_of(everything())].count(Scale) == 4


def test_model_without_weights_has_no_steps():
    with pytest.raises(RuntimeError, match="has no weights yet"):
        steps_of(fastmlp.Sequential([layers.Dense(3)]))
