"""The same net in real Keras (JAX backend) and here: same initial weights, same batches, same results."""

import os

import numpy as np
import pytest

import fastmlp

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")

# Keras's variables don't take NumPy's copy argument yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CASES = {
    # loss: (last layer, targets made from class indices)
    "mean_squared_error": ((3, "linear"), lambda y: np.stack([y, y * 0.5, -y], 1).astype("float32")),
    "binary_crossentropy": ((1, "sigmoid"), lambda y: (y > 1).astype("float32")),
    "categorical_crossentropy": ((4, "softmax"), lambda y: fastmlp.utils.to_categorical(y, 4)),
    "sparse_categorical_crossentropy": ((4, "softmax"), lambda y: y),
}


def samples(count=320, inputs=12):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((count, inputs)).astype(np.float32)
    return x, (np.abs(x[:, :3]).argmax(axis=1) + (x[:, 3] > 1)).astype(np.int32)


def pair(inputs, layers, loss, optimizer=None):
    """The same network twice, with Keras's initial weights."""
    k, f = keras.layers, fastmlp.layers
    theirs = keras.Sequential([k.Input((inputs,)), *(k.Dense(u, activation=a) for u, a in layers)])
    ours = fastmlp.Sequential([f.Input((inputs,)), *(f.Dense(u, activation=a) for u, a in layers)])
    ours.set_weights(theirs.get_weights())
    settings = optimizer or {}
    theirs.compile(optimizer=keras.optimizers.SGD(**settings), loss=loss, metrics=["accuracy"])
    ours.compile(optimizer=fastmlp.optimizers.SGD(**settings), loss=loss, metrics=["accuracy"])
    return theirs, ours


def assert_same_weights(theirs, ours, within=1e-5):
    for a, b in zip(theirs.get_weights(), ours.get_weights()):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=within, atol=within)


@pytest.mark.parametrize("loss", CASES)
def test_weights_after_ten_steps_are_those_of_keras(loss):
    last, make = CASES[loss]
    x, labels = samples()
    theirs, ours = pair(12, [(9, "sigmoid"), (7, "relu"), (5, "tanh"), last], loss)
    for model in (theirs, ours):
        model.fit(x, make(labels), batch_size=32, epochs=1, shuffle=False, verbose=0)
    assert_same_weights(theirs, ours)


@pytest.mark.parametrize("loss", CASES)
def test_history_is_that_of_keras(loss):
    last, make = CASES[loss]
    x, labels = samples(count=110)  # a short last batch, and a split that floors
    theirs, ours = pair(12, [(8, "sigmoid"), last], loss)
    kept = [
        model.fit(x, make(labels), epochs=4, shuffle=False, validation_split=0.25, verbose=0).history
        for model in (theirs, ours)
    ]
    assert list(kept[1]) == list(kept[0])
    for name, values in kept[0].items():
        np.testing.assert_allclose(kept[1][name], values, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("optimizer", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "learning_rate": 0.05}])
def test_momentum_is_that_of_keras(optimizer):
    x, labels = samples()
    theirs, ours = pair(12, [(8, "tanh"), (4, "softmax")], "sparse_categorical_crossentropy", optimizer)
    for model in (theirs, ours):
        model.fit(x, labels, epochs=2, shuffle=False, verbose=0)
    assert_same_weights(theirs, ours, within=1e-4)


@pytest.mark.parametrize("loss", CASES)
def test_evaluate_and_predict_are_those_of_keras(loss):
    last, make = CASES[loss]
    x, labels = samples()
    theirs, ours = pair(12, [(8, "relu"), last], loss)
    np.testing.assert_allclose(
        ours.evaluate(x, make(labels), verbose=0), theirs.evaluate(x, make(labels), verbose=0), rtol=1e-5
    )
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_raw_pixels_train_alike_through_the_compressed_first_layer():
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (96, 28, 28)) * (rng.random((96, 28, 28)) < 0.2)).astype(np.uint8)
    y = rng.integers(0, 10, 96)
    theirs, ours = pair(784, [(16, "sigmoid"), (8, "sigmoid"), (10, "softmax")], "sparse_categorical_crossentropy")
    for model in (theirs, ours):
        model.fit(x.reshape(96, 784), y, epochs=4, shuffle=False, verbose=0)
    assert_same_weights(theirs, ours)


def test_clipped_probabilities_have_the_loss_and_the_missing_gradient_of_keras():
    x = np.array([[1.0], [1.0]], np.float32)
    theirs, ours = pair(1, [(2, "softmax")], "sparse_categorical_crossentropy", {"learning_rate": 1.0})
    for model in (theirs, ours):
        model.set_weights([np.array([[30.0, -30.0]], np.float32), np.zeros(2, np.float32)])
    logs = [m.fit(x, np.array([1, 1]), epochs=1, shuffle=False, verbose=0).history["loss"][0] for m in (theirs, ours)]
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-6)
    assert logs[1] == pytest.approx(16.118, abs=1e-3)
    assert_same_weights(theirs, ours)


def test_to_categorical_is_that_of_keras():
    for y, classes in [([0, 2, 1], None), ([[1], [0]], 4), (np.array([1.9, 0.2]), None)]:
        theirs, ours = keras.utils.to_categorical(y, classes), fastmlp.utils.to_categorical(y, classes)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "softmax"])
def test_activation_is_that_of_keras(name):
    x = np.linspace(-20, 20, 1001).astype(np.float32).reshape(7, 143)
    theirs = np.asarray(getattr(keras.activations, name)(x))
    np.testing.assert_allclose(getattr(fastmlp.activations, name)(x), theirs, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform"])
def test_initializer_has_the_spread_of_keras(name):
    theirs = np.asarray(keras.initializers.get(name)((300, 200)))
    ours = fastmlp.initializers.get(name)((300, 200))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)
