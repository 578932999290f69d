"""Activations, losses, optimizers, metrics and utilities as objects and functions of arrays."""

import numpy as np
import pytest
import reference

import fastmlp
from fastmlp import activations, losses, metrics, optimizers, utils


@pytest.mark.parametrize("name", activations.NAMES)
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 7), (2, 3, 33)])
def test_activation_of_an_array_is_its_twin(name, shape):
    x = np.random.default_rng(0).standard_normal(shape) * 3
    a = getattr(activations, name)(x)
    assert a.dtype == np.float64
    assert a.shape == shape
    np.testing.assert_allclose(a, getattr(reference, name)(x), rtol=1e-12, atol=1e-15)


def test_activation_leaves_its_input_and_takes_lists():
    x = np.array([-1.0, 1.0], np.float32)
    assert np.array_equal(activations.step(x), [0, 1])
    assert np.array_equal(x, [-1, 1])
    assert activations.relu([-1, 2]).dtype == np.float32
    with pytest.raises(ValueError, match="at least one number"):
        activations.softmax(3.0)


@pytest.mark.parametrize("name", losses.NAMES)
def test_loss_of_arrays_is_its_twin(name):
    rng = np.random.default_rng(0)
    p = activations.softmax(rng.standard_normal((6, 4)))
    y = rng.integers(0, 4, 6) if "sparse" in name else np.eye(4)[rng.integers(0, 4, 6)]
    expected = {
        "mean_squared_error": lambda: ((p - y) ** 2).mean(),
        "binary_crossentropy": lambda: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(),
        "categorical_crossentropy": lambda: -(y * np.log(p)).sum(1).mean(),
        "sparse_categorical_crossentropy": lambda: -np.log(p[np.arange(6), y]).mean(),
    }[name]()
    assert losses.get(name)(y, p) == pytest.approx(expected, rel=1e-9)
    assert losses.get(name.replace("_", "").upper())(y, p) == pytest.approx(expected, rel=1e-9)


def test_loss_checks_its_arrays():
    with pytest.raises(ValueError, match="y_pred has 2 samples but y_true has 3"):
        losses.MeanSquaredError()(np.ones((3, 1)), np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"\(samples, units\)"):
        losses.MeanSquaredError()([1.0], [1.0])


@pytest.mark.parametrize("module", [losses, optimizers, metrics])
def test_objects_and_classes_are_taken_beside_names(module):
    cls = {losses: losses.MeanSquaredError, optimizers: optimizers.SGD, metrics: metrics.BinaryAccuracy}[module]
    thing = cls()
    assert module.get(thing) is thing
    assert isinstance(module.get(cls), cls)
    with pytest.raises(TypeError, match="must be a name"):
        module.get(3.0)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be finite and at least 0, got -1"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number"),
        ({"momentum": 1.5}, ValueError, "momentum must be from 0 to 1"),
    ],
)
def test_sgd_names_the_number_that_is_wrong(settings, kind, message):
    with pytest.raises(kind, match=message):
        optimizers.SGD(**settings)


def test_to_categorical_makes_one_hot_rows():
    assert np.array_equal(utils.to_categorical([[2], [0]]), [[0, 0, 1], [1, 0, 0]])
    assert utils.to_categorical(np.zeros((2, 3)), 4).shape == (2, 3, 4)
    for y, classes, message in [([3], 3, "class index 3"), ([-1], None, "class index -1"), ([], None, "empty")]:
        with pytest.raises(ValueError, match=message):
            utils.to_categorical(y, classes)
    with pytest.raises(TypeError, match="must be numbers"):
        utils.to_categorical(["cat"])


def test_random_seed_is_checked_and_seeds_numpy_too():
    utils.set_random_seed(5)
    first = np.random.random()  # noqa: NPY002
    utils.set_random_seed(5)
    assert np.random.random() == first  # noqa: NPY002
    with pytest.raises(ValueError, match="from 0 to"):
        utils.set_random_seed(-1)
    with pytest.raises(TypeError, match="must be an integer"):
        utils.set_random_seed(1.5)


def test_history_shows_its_last_values():
    history = fastmlp.callbacks.History()
    assert repr(history) == "<History of 0 epochs>"
    history.add(0, {"loss": 0.5}, 0.1)
    assert repr(history) == "<History of 1 epochs: loss=0.5>"
