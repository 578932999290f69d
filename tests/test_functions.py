"""Activations, losses, optimizers, metrics and utilities as objects and functions of arrays."""

import numpy as np
import pytest
import twins

import fastmlp
from fastmlp import activations, losses, metrics, optimizers, utils


@pytest.mark.parametrize("name", activations.NAMES)
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 7), (2, 3, 33)])
def test_activation_of_an_array_is_its_twin(name, shape):
    x = np.random.default_rng(0).standard_normal(shape) * 3
    a = getattr(activations, name)(x)
    assert a.dtype == np.float64
    assert a.shape == shape
    np.testing.assert_allclose(a, getattr(twins, name)(x), rtol=1e-12, atol=1e-15)


def test_activation_leaves_its_input_and_takes_lists():
    x = np.array([-1.0, 1.0], np.float32)
    assert np.array_equal(activations.step(x), [0, 1])
    assert np.array_equal(x, [-1, 1])
    assert activations.relu([-1, 2]).dtype == np.float32
    with pytest.raises(ValueError, match="at least one number"):
        activations.softmax(3.0)


def test_arguments_of_activations_are_those_of_the_twins():
    x = np.linspace(-4, 9, 50)
    for own, twin in (
        (activations.relu(x, 0.1), twins.relu(x, 0.1)),
        (activations.relu(x, 0, 6), twins.relu6(x)),
        (activations.relu(x, 0.3, 4.0, 1.0), twins.relu(x, 0.3, 4.0, 1.0)),
        (activations.leaky_relu(x, 0.4), twins.leaky_relu(x, 0.4)),
        (activations.elu(x, 0.5), twins.elu(x, 0.5)),
        (activations.gelu(x, approximate=True), twins.gelu(x, approximate=True)),
        (activations.swish(x), twins.silu(x)),
    ):
        np.testing.assert_allclose(own, twin, rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="negative_slope"):
        activations.relu(x, -1.0)


@pytest.mark.parametrize("name", losses.NAMES)
def test_loss_of_arrays_is_its_twin(name):
    rng = np.random.default_rng(0)
    p = activations.softmax(rng.standard_normal((6, 4)))
    y = rng.integers(0, 4, 6) if "sparse" in name else np.eye(4)[rng.integers(0, 4, 6)]
    expected, weights = getattr(twins, name)(p, y), rng.random(6)
    assert losses.get(name)(y, p) == pytest.approx(expected.mean(), rel=1e-9)
    assert losses.get(type(losses.get(name)).__name__.upper())(y, p) == pytest.approx(expected.mean(), rel=1e-9)
    assert getattr(losses, name)(y, p) == pytest.approx(expected.mean(), rel=1e-9)
    assert losses.get(name)(y, p, sample_weight=weights) == pytest.approx((weights * expected).mean(), rel=1e-9)


@pytest.mark.parametrize(("loss", "name", "arguments"), [
    (losses.Huber, "huber", {"delta": 0.2}),
    (losses.BinaryCrossentropy, "binary_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    (losses.CategoricalCrossentropy, "categorical_crossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    (losses.SparseCategoricalCrossentropy, "sparse_categorical_crossentropy", {"from_logits": True}),
    (losses.BinaryFocalCrossentropy, "binary_focal_crossentropy",
     {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "label_smoothing": 0.1}),
    (losses.CategoricalFocalCrossentropy, "categorical_focal_crossentropy", {"alpha": 0.5, "gamma": 1.0}),
])  # fmt: skip
def test_arguments_of_losses_are_those_of_the_twins(loss, name, arguments):
    rng = np.random.default_rng(0)
    p = activations.softmax(rng.standard_normal((6, 4)))
    y = rng.integers(0, 4, 6) if "sparse" in name else np.eye(4)[rng.integers(0, 4, 6)]
    expected = getattr(twins, name)(p, y, **arguments)
    assert loss(**arguments)(y, p) == pytest.approx(expected.mean(), rel=1e-9)


def test_hinges_take_targets_zero_and_one_for_minus_one_and_one():
    p, y = np.array([[0.2, -0.7], [1.5, 0.1]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    for name in ("hinge", "squared_hinge"):
        expected = getattr(twins, name)(p, y).mean()
        assert losses.get(name)(y, p) == pytest.approx(expected, rel=1e-12)
        assert losses.get(name)(2 * y - 1, p) == pytest.approx(expected, rel=1e-12)


def test_a_hinge_as_a_metric_takes_them_likewise(blobs):
    x, labels = blobs
    y = np.eye(3, dtype=np.float32)[labels]
    model = fastmlp.Sequential([fastmlp.layers.Input((5,)), fastmlp.layers.Dense(3)])
    model.compile(optimizer="sgd", loss="hinge", metrics=["hinge"])
    loss, metric = model.evaluate(x, y, verbose=0)
    assert metric == pytest.approx(loss, rel=1e-5)


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
        ({"momentum": 1.5}, ValueError, "momentum must be finite and at least 0 and at most 1"),
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
    with pytest.raises(TypeError, match="real numbers are needed"):
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
