import numpy as np
import pytest

import fastmlp
from fastmlp.layers import Dense, Flatten, Input, InputLayer


def test_input_layer_takes_either_word():
    assert InputLayer(input_shape=(28, 28)).declared_shape == (28, 28)
    assert InputLayer(shape=(28, 28)).declared_shape == (28, 28)
    assert Input(shape=(3,)).declared_shape == Input(3).declared_shape == (3,)
    with pytest.raises(ValueError, match="needs the shape"):
        InputLayer()
    with pytest.raises(ValueError, match="at least 1, got 0"):
        InputLayer((0, 3))


def test_first_dense_layer_may_name_the_input():
    assert fastmlp.Sequential([Dense(3, input_shape=(7,))]).input_shape == (None, 7)
    assert fastmlp.Sequential([Dense(3, input_dim=7)]).input_shape == (None, 7)
    assert fastmlp.Sequential([Flatten(input_shape=(2, 3)), Dense(3)]).input_shape == (None, 2, 3)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"units": 3.5}, TypeError, "units must be an integer"),
        ({"units": 0}, ValueError, "units must be at least 1, got 0"),
        ({"units": True}, TypeError, "units must be an integer"),
        ({"units": 3, "activation": "rlu"}, ValueError, "did you mean 'relu'"),
        ({"units": 3, "activation": np.tanh}, TypeError, "fastmlp.activations"),
        ({"units": 1, "activation": "softmax"}, ValueError, "sigmoid"),
        ({"units": 3, "kernel_initializer": "glorot"}, ValueError, "did you mean 'glorot_"),
        ({"units": 3, "bias_initializer": 3}, TypeError, "a name or an Initializer"),
    ],
)
def test_dense_names_the_setting_that_is_wrong(settings, kind, message):
    with pytest.raises(kind, match=message):
        Dense(**settings)


def test_activation_may_be_a_name_in_any_case_or_a_function():
    assert Dense(2, activation="ReLU").activation == "relu"
    assert Dense(2, activation=fastmlp.activations.tanh).activation == "tanh"
    assert Dense(2).activation == "linear"


def test_layers_are_named_by_kind_and_count():
    first, second = Dense(2), Dense(2)
    stem, _, count = first.name.partition("_")
    assert stem == "dense"
    assert second.name == f"dense_{int(count or 0) + 1}"
    assert Dense(2, name="own").name == "own"


def test_layer_weights_are_views_of_the_models():
    model = fastmlp.Sequential([Input((3,)), Dense(2)])
    layer = model.layers[0]
    layer.kernel[:] = 1
    layer.bias[:] = 2
    np.testing.assert_allclose(model.predict([[1, 1, 1]]), 5)
    layer.set_weights([np.zeros((3, 2)), np.ones(2)])
    np.testing.assert_allclose(model.predict([[1, 1, 1]]), 1)
    assert layer.count_params() == 8


def test_weights_before_building_say_so():
    with pytest.raises(RuntimeError, match="before the model is built"):
        _ = Dense(2).kernel


@pytest.mark.parametrize("name", ["zeros", "ones", "glorot_uniform", "he_normal", "random_normal", "RandomUniform"])
def test_initializers_fill_the_weights(name):
    values = fastmlp.initializers.get(name)((40, 30))
    assert values.shape == (40, 30)
    assert np.isfinite(values).all()
    if name == "glorot_uniform":
        assert np.abs(values).max() <= np.sqrt(6 / 70)


def test_initializer_with_a_seed_repeats_its_values():
    initializer = fastmlp.initializers.GlorotNormal(seed=3)
    assert np.array_equal(initializer((4, 4)), initializer((4, 4)))
    assert not np.array_equal(*(fastmlp.initializers.GlorotNormal()((4, 4)) for _ in range(2)))
    with pytest.raises(ValueError, match="scale must be positive"):
        fastmlp.initializers.VarianceScaling(0.0)


def test_layers_of_a_model_have_different_names():
    model = fastmlp.Sequential([Dense(3, name="first")])
    with pytest.raises(ValueError, match="has a layer 'first' already; give this one another name"):
        model.add(Dense(2, name="first"))
    later = Dense(2)
    model.add(Dense(2, name=later.name))
    taken = later.name
    model.add(later)  # one that was counted is counted on
    assert later.name != taken


def test_layers_take_keras_arguments_that_change_nothing():
    model = fastmlp.Sequential([Input((3,), batch_size=8, dtype="float32"), Dense(2, dtype="float32")])
    assert model.input_shape == (None, 3)
    assert "dtype" not in Dense(2).get_config()
    assert Dense(2, dtype="float32").get_config()["dtype"] == "float32"
    with pytest.raises(ValueError, match="asks for float64 but the model computes in float32"):
        model.add(Dense(2, dtype="float64"))
