"""Numbers at the edges: of data, weights, rates and sizes. Where Keras says what comes of them, real Keras is asked."""

import os

import numpy as np
import pytest
from support import compiled_only, some

import fastmlp
from fastmlp import callbacks, initializers, losses, metrics, optimizers, regularizers
from fastmlp.layers import Activation, Dense, Dropout, Flatten, Input
from fastmlp.optimizers import schedules

os.environ.setdefault("KERAS_BACKEND", "jax")

# Keras's variables don't take NumPy's copy argument yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FLOATS = ["float32", "float64"]


@pytest.fixture
def keras():
    return pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")


def net(*layers, optimizer="sgd", loss="mse", dtype="float32", **settings):
    model = fastmlp.Sequential(list(layers), dtype=dtype)
    model.compile(optimizer=optimizer, loss=loss, **settings)
    return model


def fit(model, x, y, **arguments):
    return model.fit(x, y, **{"verbose": 0, "shuffle": False, **arguments}).history


def all_finite(model):
    return all(np.isfinite(w).all() for w in model.get_weights())


def same_bits(one, other):
    return all(a.tobytes() == b.tobytes() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def both(keras, build):
    """The network of build(module) here and in Keras, from the same weights; both compiled by build."""
    theirs, ours = build(keras), build(fastmlp)
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def assert_same_weights(theirs, ours, within=1e-5):
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=within, atol=within)


def numbers(n, k, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((n, k)).astype(dtype)


# ---------------------------------------------------------------------------------------------- logits and saturation

LOGITS = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4], [0.0, 1e4], [-0.0, 0.0]])


def through(last, loss, dtype):
    """A network that only applies `last` to its two inputs, and takes steps of size 1."""
    layers = [Input((2,)), Dense(2, use_bias=False), *([Activation(last)] if last else [])]
    model = net(*layers, loss=loss, optimizer=optimizers.SGD(1.0), dtype=dtype)
    model.set_weights([np.eye(2)])
    return model


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("label", [0, 1])
def test_class_losses_of_logits_of_ten_thousand_are_exact(label, dtype):
    model = through(None, losses.SparseCategoricalCrossentropy(from_logits=True), dtype)
    z = LOGITS.astype(np.longdouble)
    gap = z[:, 1 - label] - z[:, label]
    exact = np.maximum(gap, 0) + np.log1p(np.exp(-abs(gap)))
    for x, loss in zip(LOGITS, exact):
        found = model.evaluate(x[None], [label], verbose=0)
        assert found == pytest.approx(float(loss), rel=float(4 * np.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_binary_losses_of_logits_of_ten_thousand_are_exact(target, dtype):
    model = through(None, losses.BinaryCrossentropy(from_logits=True), dtype)
    z = LOGITS.astype(np.longdouble)
    exact = (np.maximum(z, 0) - z * target + np.log1p(np.exp(-abs(z)))).mean(axis=1)
    for x, loss in zip(LOGITS, exact):
        found = model.evaluate(x[None], np.full((1, 2), target), verbose=0)
        assert found == pytest.approx(float(loss), rel=float(4 * np.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("loss", "y", "slope"),
    [
        (losses.SparseCategoricalCrossentropy(from_logits=True), np.array([1]), [1.0, -1.0]),
        (losses.CategoricalCrossentropy(from_logits=True), np.array([[0.0, 1.0]]), [1.0, -1.0]),
        (losses.BinaryCrossentropy(from_logits=True), np.array([[0.0, 1.0]]), [0.5, -0.5]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_gradient_of_a_wrong_logit_of_ten_thousand_is_whole(loss, y, slope, dtype):
    model = through(None, loss, dtype)
    gradient = model.layer_gradients(np.array([[1e4, -1e4]]), y)[model.layers[0].name][0]
    np.testing.assert_allclose(gradient, np.outer([1e4, -1e4], slope), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("last", "loss", "y"),
    [
        ("softmax", "sparse_categorical_crossentropy", np.array([1])),
        ("softmax", "categorical_crossentropy", np.array([[0.0, 1.0]])),
        ("sigmoid", "binary_crossentropy", np.array([[0.0, 1.0]])),
    ],
)
def test_probability_of_zero_costs_minus_log_epsilon_and_moves_nothing(last, loss, y, dtype):
    model = through(last, loss, dtype)
    x = np.array([[1e4, -1e4]])
    expected = -np.log(1e-7) if last == "softmax" else -np.log(np.array([1 - (1 - 1e-7), 1e-7], dtype)).mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-6 if dtype == "float64" else 0.02)
    fit(model, x, y, epochs=3)
    np.testing.assert_array_equal(model.get_weights()[0], np.eye(2))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softmax", "hard_sigmoid", "relu6"])
def test_saturated_layer_passes_no_gradient_and_no_nan(activation, dtype):
    model = net(Input((3,)), Dense(4, activation=activation), Dense(2), dtype=dtype)
    kernel = np.zeros((3, 4))
    kernel[:, 0], kernel[:, 1] = 1e4, -1e4
    model.layers[0].set_weights([kernel, [0.0, 0.0, -1e4, 1e4]])
    found = model.layer_gradients(np.ones((5, 3)), np.ones((5, 2)))
    assert np.isfinite(found[model.layers[1].name][0]).all()
    assert not np.any(found[model.layers[0].name][0])


# ---------------------------------------------------------------------------------------------- data


def test_zeros_train_alike_dense_compressed_and_sparse():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    y = np.arange(16) % 3
    models = []
    for way in ("dense", "compressed", "uint8", "sparse"):
        fastmlp.utils.set_random_seed(0)
        model = net(Input((30,)), Dense(7, activation="tanh"), Dense(3, activation="softmax"),
                    loss="sparse_categorical_crossentropy")  # fmt: skip
        before = model.get_weights()[0]
        x = np.zeros((16, 30), np.uint8 if way == "uint8" else np.float32)
        if way == "dense":
            for _ in range(3):
                model.train_on_batch(x, y)
        else:
            fit(model, scipy_sparse.csr_array(x) if way == "sparse" else x, y, batch_size=16, epochs=3)
        np.testing.assert_array_equal(model.get_weights()[0], before)
        assert np.any(model.get_weights()[1])
        models.append(model)
    for other in models[1:]:
        for a, b in zip(models[0].get_weights(), other.get_weights()):
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7)


def test_one_class_only_is_learnt(blobs, classifier):
    x, _ = blobs
    history = fit(classifier, x, np.full(len(x), 2), epochs=some(30, 5))
    assert history["loss"][-1] < history["loss"][0]
    assert (classifier.predict(x).argmax(axis=1) == 2).all()


def test_classes_without_samples_keep_a_probability(blobs):
    x, labels = blobs
    model = net(Input((5,)), Dense(9, activation="softmax"), loss="sparse_categorical_crossentropy")
    fit(model, x, np.where(labels == 1, 8, labels), epochs=5)
    p = model.predict(x)
    assert (p[:, [1, 3, 4, 5, 6, 7]] > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_sample_is_a_batch_of_its_own(optimizer):
    x, y = numbers(1, 4), numbers(1, 2)
    model = net(Input((4,)), Dense(3, activation="tanh"), Dense(2), optimizer=optimizer)
    history = fit(model, x, y, epochs=20)
    assert history["loss"][-1] < history["loss"][0]
    assert model.optimizer.iterations == 20


def test_batch_larger_than_the_data_is_all_of_them():
    x, y = numbers(5, 4), numbers(5, 2)
    models = []
    for batch in (5, 6, 10**9):
        fastmlp.utils.set_random_seed(0)
        models.append(net(Input((4,)), Dense(3, activation="tanh"), Dense(2)))
        fit(models[-1], x, y, batch_size=batch, epochs=3)
    assert same_bits(models[0], models[1])
    assert same_bits(models[0], models[2])


@pytest.mark.parametrize(
    "kind", ["float16", "bfloat16", "int8", "uint8", "int32", "int64", "uint64", "bool", "float64"]
)
def test_numbers_of_every_type_train_as_the_same_numbers_in_float32(kind):
    dtype = pytest.importorskip("ml_dtypes").bfloat16 if kind == "bfloat16" else np.dtype(kind)
    x = np.random.default_rng(0).integers(0, 2 if kind == "bool" else 100, (20, 6))
    models = []
    for values in (x.astype(np.float32), x.astype(dtype)):
        fastmlp.utils.set_random_seed(0)
        models.append(net(Input((6,)), Dense(5, activation="sigmoid"), Dense(2)))
        fit(models[-1], values, numbers(20, 2), epochs=2)
    for a, b in zip(*(model.get_weights() for model in models)):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


def test_largest_integers_are_taken():
    model = net(Input((1,)), Dense(1, use_bias=False))
    model.set_weights([[[1.0]]])
    for kind in (np.int64, np.uint64):
        top = np.iinfo(kind).max
        np.testing.assert_array_equal(model.predict(np.array([[top]], kind)), np.float32([[top]]))


@pytest.mark.parametrize("what", ["x", "y", "sample_weight", "predict"])
def test_numbers_beyond_float32_are_refused_with_their_row(what):
    model = net(Input((2,)), Dense(1))
    x, y, w = np.ones((6, 2)), np.ones(6), np.ones(6)
    {"x": x, "y": y, "sample_weight": w, "predict": x}[what][4] = 1e300
    name = "x" if what == "predict" else what
    with pytest.raises(ValueError, match=rf"{name} has -?inf in row 4, as numbers beyond float32 are; remove"):
        model.predict(x) if what == "predict" else fit(model, x, y, sample_weight=w)


@pytest.mark.parametrize("n", [1, 40])
def test_denormal_inputs_and_weights_count_as_zero_in_training(n):
    tiny = np.float32(1e-40)
    x = np.zeros((n, 8), np.float32)
    models = []
    for values in (x, x + tiny):
        fastmlp.utils.set_random_seed(0)
        models.append(net(Input((8,)), Dense(3, activation="tanh"), Dense(1)))
        weights = models[-1].get_weights()
        weights[1][:] = tiny if values is not x else 0
        models[-1].set_weights(weights)
        fit(models[-1], values, np.ones(n), epochs=3)
        assert all_finite(models[-1])
    for a, b in zip(*(model.get_weights() for model in models)):
        np.testing.assert_allclose(b, a, atol=1e-6)


@pytest.mark.parametrize("way", ["dense", "compressed"])
def test_minus_zero_is_zero(way):
    x = np.zeros((12, 9), np.float32)
    x[:, : 9 if way == "dense" else 2] = numbers(12, 9 if way == "dense" else 2)
    x[::2, :2] = 0
    models = []
    for zero in (0.0, -0.0):
        fastmlp.utils.set_random_seed(0)
        models.append(net(Input((9,)), Dense(3, activation="relu"), Dense(1)))
        fit(models[-1], np.where(x == 0, np.float32(zero), x), np.ones(12), epochs=3)
    for a, b in zip(*(model.get_weights() for model in models)):
        np.testing.assert_array_equal(b, a)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_raw_pixels_train_without_scaling(dtype):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    x = rng.integers(0, 256, (60, 8, 8))
    x[np.arange(60), y] = 255
    model = net(Input((8, 8)), Flatten(), Dense(16, activation="relu"), Dense(3, activation="softmax"),
                optimizer="adam", loss="sparse_categorical_crossentropy")  # fmt: skip
    history = fit(model, x.astype(dtype), y, epochs=some(30, 3))
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]


# ---------------------------------------------------------------------------------------------- sizes

WIDE = some(100_000, 300)


def test_one_unit_after_another_is_enough():
    model = net(Input((1,)), Dense(1, activation="tanh"), Dense(1, activation="tanh"), Dense(1))
    x = np.linspace(-1, 1, 20, dtype=np.float32)
    history = fit(model, x, 0.5 * x, epochs=some(40, 5))
    assert history["loss"][-1] < history["loss"][0]


def test_a_layer_of_a_hundred_thousand_units_is_trained():
    model = net(Input((2,)), Dense(WIDE, activation="relu"), Dense(1), optimizer=optimizers.SGD(1e-6))
    x, y = numbers(8, 2), numbers(8, 1)
    w, b, v, c = model.get_weights()
    exact = np.maximum(x.astype(float) @ w + b, 0) @ v.astype(float) + c
    np.testing.assert_allclose(model.predict(x), exact, rtol=1e-4, atol=1e-4)
    history = fit(model, x, y, epochs=3)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("way", ["dense", "sparse"])
def test_samples_of_a_hundred_thousand_inputs_are_trained_on(way):
    x = numbers(8, WIDE)
    if way == "sparse":
        x[np.random.default_rng(1).random(x.shape) > 0.01] = 0
    model = net(Input((WIDE,)), Dense(3, activation="tanh"), Dense(1), optimizer=optimizers.SGD(1e-6))
    w, b, v, c = model.get_weights()
    exact = np.tanh(x.astype(float) @ w + b) @ v.astype(float) + c
    np.testing.assert_allclose(model.predict(x), exact, rtol=1e-4, atol=1e-5)
    fit(model, x, numbers(8, 1), epochs=2)
    assert all_finite(model)


def test_a_hundred_thousand_classes_that_are_alike_cost_the_log_of_their_number():
    model = net(Input((2,)), Dense(WIDE, activation="softmax", kernel_initializer="zeros"),
                loss="sparse_categorical_crossentropy", optimizer=optimizers.SGD(1.0))  # fmt: skip
    x, y = np.ones((4, 2), np.float32), np.array([0, 1, WIDE // 2, WIDE - 1])
    assert model.evaluate(x, y, verbose=0) == pytest.approx(np.log(WIDE), rel=1e-6)
    fit(model, x, y)
    bias = model.get_weights()[1]
    np.testing.assert_allclose(bias[y], 0.25, rtol=1e-4)
    assert bias.sum(dtype=float) == pytest.approx(0, abs=1e-4)


def test_fifty_layers_are_those_of_keras(keras):
    def build(module):
        layers = [module.layers.Dense(6, activation="tanh") for _ in range(50)]
        model = module.Sequential([module.layers.Input((4,)), *layers, module.layers.Dense(2)])
        model.compile(optimizer=module.optimizers.SGD(0.05), loss="mse")
        return model

    theirs, ours = both(keras, build)
    x, y = numbers(16, 4), numbers(16, 2)
    for model in (theirs, ours):
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert_same_weights(theirs, ours)


@compiled_only
def test_the_mean_loss_of_ten_million_samples_keeps_its_digits():
    model = net(Input((1,)), Dense(1, use_bias=False), metrics=["mae"])
    model.set_weights([[[1.0]]])
    x = np.zeros((10_000_000, 1), np.float32)
    y = np.full(len(x), 0.1, np.float32)
    loss, mae = model.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(float(np.float32(0.1) ** 2), rel=2e-7)
    assert mae == pytest.approx(float(np.float32(0.1)), rel=2e-7)


@compiled_only
def test_the_loss_of_an_epoch_of_two_million_samples_keeps_its_digits():
    model = net(Input((1,)), Dense(1, use_bias=False), optimizer=optimizers.SGD(0.0))
    x = np.zeros((2_000_000, 1), np.float32)
    history = fit(model, x, np.full(len(x), 0.1, np.float32), batch_size=20_000)
    assert history["loss"][0] == pytest.approx(float(np.float32(0.1) ** 2), rel=2e-7)


# ---------------------------------------------------------------------------------------------- rates, weights, scales

OPTIMIZERS = ["SGD", "Adam", "AdamW", "Nadam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Lion"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_learning_rate_of_zero_changes_nothing(name):
    model = net(Input((3,)), Dense(2), optimizer=getattr(optimizers, name)(0.0))
    before = model.get_weights()
    fit(model, numbers(8, 3), numbers(8, 2), epochs=3)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(b, a)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_learning_rate_of_1e_30_moves_no_weight_by_more_than_a_rounding(name):
    model = net(Input((3,)), Dense(2), optimizer=getattr(optimizers, name)(1e-30))
    before = model.get_weights()
    fit(model, numbers(8, 3), numbers(8, 2), epochs=3)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_allclose(b, a, atol=1e-25)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_learning_rate_of_1e30_ends_with_the_message(name):
    model = net(Input((3,)), Dense(2), optimizer=getattr(optimizers, name)(1e30))
    with pytest.raises(FloatingPointError, match=r"diverged in epoch \d+, batch \d+: .*now 1e\+30"):
        fit(model, numbers(8, 3), numbers(8, 2), batch_size=4, epochs=50)
    fit(model, numbers(8, 3), numbers(8, 2), epochs=0)


def test_weights_near_the_largest_number_predict_infinity_and_end_a_training():
    model = net(Input((2,)), Dense(1))
    model.set_weights([np.full((2, 1), 3e38), [0.0]])
    assert model.predict(np.ones((3, 2))) == pytest.approx(np.inf)
    kept = model.get_weights()
    with pytest.raises(FloatingPointError, match=r"batch 1: the loss is inf.* up to 3e\+38"):
        fit(model, np.ones((3, 2)), np.ones(3))
    np.testing.assert_array_equal(model.get_weights()[0], kept[0])


SAMPLE_WEIGHTS = {
    "none at all": [0.0, 0.0, 0.0, 0.0],
    "one": [0.0, 0.0, 3.0, 0.0],
    "tiny": [1e-30, 1e-30, 2e-30, 1e-30],
    "huge": [1e20, 2e20, 1e20, 1e20],
    "tiny beside huge": [1e-30, 1e10, 1.0, 0.0],
}


@pytest.mark.parametrize("case", SAMPLE_WEIGHTS)
def test_weights_of_samples_at_the_edges_are_kerass(keras, case):
    def build(module):
        model = module.Sequential([module.layers.Input((3,)), module.layers.Dense(2)])
        model.compile(optimizer=module.optimizers.SGD(1e-22 if "huge" in case else 0.1), loss="mse",
                      weighted_metrics=["mae"])  # fmt: skip
        return model

    theirs, ours = both(keras, build)
    x, y, w = numbers(4, 3), numbers(4, 2), np.array(SAMPLE_WEIGHTS[case], np.float32)
    logs = []
    for model in (theirs, ours):
        logs.append(model.fit(x, y, sample_weight=w, epochs=2, shuffle=False, verbose=0).history)
    assert_same_weights(theirs, ours)
    for name in logs[0]:
        np.testing.assert_allclose(logs[1][name], logs[0][name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("weights", [{0: 0.0}, {0: 0.0, 1: 0.0, 2: 0.0}, {1: 1e-30}, {2: 1e6}])
def test_weights_of_classes_at_the_edges_are_kerass(keras, weights):
    def build(module):
        model = module.Sequential([module.layers.Input((3,)), module.layers.Dense(3, activation="softmax")])
        model.compile(optimizer=module.optimizers.SGD(1e-6), loss="sparse_categorical_crossentropy")
        return model

    theirs, ours = both(keras, build)
    x, y = numbers(9, 3), np.arange(9) % 3
    logs = []
    for model in (theirs, ours):
        logs.append(model.fit(x, y, class_weight=weights, epochs=2, shuffle=False, verbose=0).history["loss"])
    assert_same_weights(theirs, ours)
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)


@pytest.mark.parametrize("loss", ["categorical", "binary"])
def test_label_smoothing_of_one_is_kerass(keras, loss):
    def build(module):
        units, last = (3, "softmax") if loss == "categorical" else (2, "sigmoid")
        kind = module.losses.CategoricalCrossentropy if loss == "categorical" else module.losses.BinaryCrossentropy
        model = module.Sequential([module.layers.Input((3,)), module.layers.Dense(units, activation=last)])
        model.compile(optimizer=module.optimizers.SGD(0.5), loss=kind(label_smoothing=1.0))
        return model

    theirs, ours = both(keras, build)
    x, y = numbers(9, 3), np.eye(3, dtype=np.float32)[np.arange(9) % 3][:, : 3 if loss == "categorical" else 2]
    for model in (theirs, ours):
        model.fit(x, y, epochs=3, shuffle=False, verbose=0)
    assert_same_weights(theirs, ours)


# ---------------------------------------------------------------------------------------------- metrics

ANSWERS = {
    "all right": ([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2]),
    "only ones": ([1, 1, 1, 1], [0.9, 0.2, 0.1, 0.7]),
    "only zeros": ([0, 0, 0, 0], [0.9, 0.2, 0.1, 0.7]),
    "none called positive": ([1, 0, 1, 0], [0.1, 0.2, 0.1, 0.2]),
    "all called positive": ([1, 0, 1, 0], [0.9, 0.8, 0.9, 0.8]),
    "all alike": ([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5]),
    "zero and one": ([1, 0, 0, 1], [0.0, 0.0, 1.0, 1.0]),
}


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize(
    "name",
    ["AUC", "Precision", "Recall", "BinaryAccuracy", "F1Score", "TruePositives", "R2Score", "BinaryCrossentropy"],
)
def test_metrics_at_the_edges_are_kerass(keras, name, case):
    y, p = (np.array(values, np.float32)[:, None] for values in ANSWERS[case])
    arguments = {"threshold": 0.5} if name == "F1Score" else {}
    theirs = getattr(keras.metrics, name)(**arguments)
    theirs.update_state(y, p)
    model = net(Input((1,)), Dense(1, use_bias=False), metrics=[getattr(metrics, name)(**arguments)])
    model.set_weights([[[1.0]]])
    found = model.evaluate(p, y, verbose=0, return_dict=True)
    del found["loss"]
    np.testing.assert_allclose(next(iter(found.values())), np.asarray(theirs.result()), rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization"])
@pytest.mark.parametrize(("n", "units"), [(1, 4), (1, 1), (8, 1)])
def test_normalizations_of_one_sample_and_of_one_unit_are_kerass(keras, kind, n, units):
    def build(module):
        model = module.Sequential([module.layers.Input((3,)), module.layers.Dense(units),
                                   getattr(module.layers, kind)(), module.layers.Dense(2)])  # fmt: skip
        model.compile(optimizer=module.optimizers.SGD(0.1), loss="mse")
        return model

    theirs, ours = both(keras, build)
    x, y = numbers(n, 3), numbers(n, 2)
    for model in (theirs, ours):
        model.fit(x, y, epochs=5, shuffle=False, verbose=0)
    assert_same_weights(theirs, ours)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), rtol=1e-5, atol=1e-5)


def test_dropout_of_nothing_is_no_layer():
    models = []
    for layers in ([], [Dropout(0.0)]):
        fastmlp.utils.set_random_seed(0)
        models.append(net(Input((4,)), Dense(5, activation="tanh"), *layers, Dense(2)))
        fit(models[-1], numbers(12, 4), numbers(12, 2), epochs=3)
    for a, b in zip(*(model.get_weights() for model in models)):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rate", [0.999, 1 - 1e-7])
def test_dropout_of_nearly_everything_trains_on(rate):
    model = net(Input((4,)), Dense(50, activation="tanh"), Dropout(rate), Dense(2), optimizer=optimizers.SGD(1e-9))
    history = fit(model, numbers(12, 4), numbers(12, 2), epochs=5)
    assert np.isfinite(history["loss"]).all()
    assert all_finite(model)


SCHEDULES = {
    "ExponentialDecay": (0.1, 10, 0.5),
    "PiecewiseConstantDecay": ([5, 10], [0.1, 0.01, 0.001]),
    "PolynomialDecay": (0.1, 10),
    "InverseTimeDecay": (0.1, 10, 0.5),
    "CosineDecay": (0.1, 10),
    "CosineDecayRestarts": (0.1, 10),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_at_their_start_and_far_beyond_their_end_are_kerass(keras, name):
    theirs = getattr(keras.optimizers.schedules, name)(*SCHEDULES[name])
    ours = getattr(optimizers.schedules, name)(*SCHEDULES[name])
    for step in (0, 1, 9, 10, 11, 1000, 100_000):
        np.testing.assert_allclose(ours(step), np.asarray(theirs(step)), rtol=2e-4, atol=1e-9, err_msg=str(step))
    optimizer = optimizers.SGD(ours)
    optimizer.iterations = 10**9
    assert np.isfinite(optimizer.rates(5)).all()
    assert np.isfinite(optimizer.learning_rate)


# ---------------------------------------------------------------------------------------------- optimizers


@pytest.mark.parametrize("momentum", [0.0, 0.9999])
def test_running_means_of_weights_at_the_edges_are_kerass(keras, momentum):
    def build(module):
        model = module.Sequential([module.layers.Input((3,)), module.layers.Dense(2)])
        model.compile(optimizer=module.optimizers.SGD(0.1, use_ema=True, ema_momentum=momentum), loss="mse")
        return model

    theirs, ours = both(keras, build)
    for model in (theirs, ours):
        model.fit(numbers(8, 3), numbers(8, 2), batch_size=4, epochs=4, shuffle=False, verbose=0)
    assert_same_weights(theirs, ours)


@pytest.mark.parametrize("limit", [{"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 1.0}])
def test_a_gradient_of_zero_is_clipped_to_zero(limit):
    model = net(Input((3,)), Dense(2), optimizer=optimizers.SGD(0.1, **limit))
    x = numbers(8, 3)
    y, before = model.predict(x), model.get_weights()
    model.train_on_batch(x, y)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_allclose(b, a, atol=1e-7)
        assert np.isfinite(b).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_thousand_gradients_of_zero_after_one_leave_numbers_that_are_zero_or_normal(name, dtype):
    steps = some(10_000, 50)
    model = net(Input((2,)), Dense(2, use_bias=False), optimizer=getattr(optimizers, name)(1e-3), dtype=dtype)
    model.train_on_batch(np.ones((1, 2)), np.ones((1, 2)))
    fit(model, np.zeros((steps, 2)), np.zeros((steps, 2)), batch_size=1)
    assert all_finite(model)
    for state in model.training_state().values():
        if state.dtype.kind == "f":
            assert np.isfinite(state).all()
            least = np.finfo(state.dtype).tiny
            assert not ((state != 0) & (np.abs(state) < least)).any()


# ---------------------------------------------------------------------------------------------- calls


def test_a_split_may_leave_one_sample_to_validate_with(classifier, blobs):
    x, y = blobs
    history = fit(classifier, x, y, validation_split=1 / len(x))
    assert history["val_loss"] == [pytest.approx(classifier.evaluate(x[-1:], y[-1:], verbose=0)[0], rel=1e-6)]


def test_a_split_may_leave_one_sample_to_train_on(classifier, blobs):
    x, y = blobs
    fit(classifier, x[:4], y[:4], validation_split=0.75)
    assert classifier.optimizer.iterations == 1


def test_no_epochs_change_nothing_and_give_an_empty_history(classifier, blobs):
    before = classifier.get_weights()
    assert fit(classifier, *blobs, epochs=0) == {}
    for a, b in zip(before, classifier.get_weights()):
        np.testing.assert_array_equal(b, a)


def test_empty_validation_data_are_refused_before_anything_is_trained(classifier, blobs):
    x, y = blobs
    with pytest.raises(ValueError, match="x of validation_data is empty"):
        fit(classifier, x, y, validation_data=(x[:0], y[:0]))
    assert classifier.optimizer.iterations == 0


def test_no_samples_are_refused(classifier, blobs):
    x, y = blobs
    for call in (classifier.fit, classifier.evaluate, classifier.train_on_batch):
        with pytest.raises(ValueError, match="x is empty"):
            call(x[:0], y[:0])
    with pytest.raises(ValueError, match="x is empty"):
        classifier.predict(x[:0])


NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**400

#: Of fit: an argument, what is refused, and the error.
REFUSED = [
    ("batch_size", [0, -1], ValueError, "batch_size must be at least 1, got"),
    ("batch_size", [1.5, "32", NAN, True, [8]], TypeError, "batch_size must be an integer of at least 1, got"),
    ("batch_size", [2**70], ValueError, "batch_size must be at most 9223372036854775807"),
    ("epochs", [-1], ValueError, "epochs must be at least 0, got -1"),
    ("epochs", [1.5, NAN, None, "3"], TypeError, "epochs must be an integer of at least 0, got"),
    ("initial_epoch", [-1], ValueError, "initial_epoch must be at least 0, got -1"),
    ("steps_per_epoch", [0, -1], ValueError, "steps_per_epoch must be at least 1, got"),
    ("validation_freq", [0, -1], ValueError, "validation_freq must be at least 1, got"),
    ("validation_split", [1, -0.1, 1.5, NAN, INFINITY], ValueError, r"validation_split must lie between 0 and 1"),
    ("validation_split", [0.999], ValueError, "120 samples are not enough to split off validation_split=0.999"),
    ("class_weight", [{0: -1, 1: 1, 2: 1}, {0: NAN}, {1: INFINITY}, {2: 1e300}], ValueError, "the weight of class"),
    ("class_weight", [{3: 1.0}], ValueError, "class_weight has a class 3, but the classes are 0 to 2"),
    ("class_weight", ["balanced", [1, 2, 3]], TypeError, "class_weight must be a dictionary"),
    ("sample_weight", [np.full(120, -1.0)], ValueError, "sample_weight has -1.0 in row 0; weights must be at least"),
    ("sample_weight", [np.full(120, NAN), np.full(120, 1e300)], ValueError, "sample_weight has .* in row 0"),
    ("sample_weight", [np.ones(119), 1.0], ValueError, "sample_weight has shape .* expected"),
    ("y", [np.arange(120) % 4, np.arange(120) % 3 - 1], ValueError, r"y has the label .* from 0 to 2"),
    ("y", [np.full(120, 0.5), np.full(120, 2**40)], ValueError, r"y has the label .* in row 0, .* from 0 to 2"),
    ("y", [np.full(120, NAN)], ValueError, "y has nan in row 0"),
    ("shuffle", ["batch", 2, None], TypeError, "shuffle must be True or False, got"),
]


@pytest.mark.parametrize(("name", "values", "error", "words"), REFUSED)
def test_arguments_of_fit_without_sense_are_refused_and_change_nothing(classifier, blobs, name, values, error, words):
    before = classifier.get_weights()
    for value in values:
        with pytest.raises(error, match=words):
            classifier.fit(**{"x": blobs[0], "y": blobs[1], "verbose": 0, name: value})
    assert classifier.optimizer.iterations == 0
    for a, b in zip(before, classifier.get_weights()):
        np.testing.assert_array_equal(b, a)
    fit(classifier, *blobs)


class Wild(schedules.LearningRateSchedule):
    """A schedule that gives a rate which is none from step 3 on."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return 0.1 if step < 3 else self.rate

    def get_config(self):
        return {"rate": self.rate}


@pytest.mark.parametrize("rate", [NAN, INFINITY, 1e300])
def test_learning_rates_that_are_none_are_refused(classifier, blobs, rate):
    with pytest.raises(ValueError, match=r"learning.rate must be finite"):
        optimizers.SGD(rate)
    with pytest.raises(ValueError, match=r"learning.rate must be finite"):
        classifier.optimizer.learning_rate = rate
    scheduler = callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 1 else rate)
    with pytest.raises(ValueError, match=r"learning.rate must be finite"):
        fit(classifier, *blobs, epochs=3, callbacks=[scheduler])
    assert classifier.optimizer.learning_rate == 0.1
    classifier.compile(optimizers.SGD(Wild(rate)), "sparse_categorical_crossentropy")
    with pytest.raises(
        ValueError, match=r"Wild.* gives a learning rate of .* at step 3; it must be finite and at least 0"
    ):
        fit(classifier, *blobs)
    assert all_finite(classifier)


#: What is made, with arguments without sense, and the error.
MADE = [
    (Dense, ({"units": 0}, {"units": -3}), ValueError, "units must be at least 1"),
    (Dense, ({"units": 1.5}, {"units": NAN}, {"units": "3"}, {"units": None}), TypeError, "units must be an integer"),
    (Dense, ({"units": 1, "use_bias": "False"}, {"units": 1, "use_bias": None}), TypeError, "use_bias must be True or"),
    (Input, ({"shape": (0,)}, {"shape": (-1,)}, {"shape": (4, 0)}), ValueError, "a size in the input shape must be"),
    (Dropout, ({"rate": 1}, {"rate": -0.1}, {"rate": NAN}), ValueError, "rate must"),
    (optimizers.SGD, ({"learning_rate": -1}, {"learning_rate": HUGE}), ValueError, "learning_rate must be finite"),
    (optimizers.SGD, ({"momentum": 1.5}, {"momentum": NAN}, {"momentum": -1}), ValueError, "momentum must be finite"),
    (optimizers.SGD, ({"nesterov": "False"}, {"nesterov": np.ones(2)}), TypeError, "nesterov must be True or False"),
    (optimizers.SGD, ({"clipnorm": NAN}, {"weight_decay": -1}), ValueError, "must be finite"),
    (
        optimizers.Adam,
        ({"beta_1": 1}, {"beta_2": 1.0}),
        ValueError,
        "must be below 1, with which the mean of gradients",
    ),
    (optimizers.Adam, ({"beta_1": 10**30}, {"beta_2": 2}), ValueError, "must be finite and at least 0 and at most 1"),
    (schedules.ExponentialDecay, ((NAN, 3, 0.5), (0.1, 0, 0.5), (0.1, 3, -1)), ValueError, "must"),
    (schedules.PiecewiseConstantDecay, ((3, [0.1, 0.2]), ([1], 0.1)), TypeError, "must be lists of numbers, got"),
    (losses.BinaryCrossentropy, ({"label_smoothing": 2}, {"label_smoothing": NAN}), ValueError, "label_smoothing must"),
    (losses.BinaryCrossentropy, ({"from_logits": "no"},), TypeError, "from_logits must be True or False, got 'no'"),
    (losses.Huber, ({"delta": -1}, {"delta": NAN}), ValueError, "delta must be finite"),
    (
        metrics.TruePositives,
        ({"thresholds": "a"}, {"thresholds": [None, 1j]}),
        TypeError,
        "thresholds must be a number",
    ),
    (initializers.Constant, ((NAN,), (INFINITY,)), ValueError, "value must be finite"),
    (regularizers.L2, ((-1,), (NAN,), (HUGE,)), ValueError, "must be finite"),
    (callbacks.EarlyStopping, ({"patience": NAN}, {"patience": -1}, {"baseline": NAN}), ValueError, "must be finite"),
    (callbacks.EarlyStopping, ({"patience": "3"}, {"patience": None}, {"baseline": "a"}), TypeError, "be a number"),
    (callbacks.ReduceLROnPlateau, ({"factor": NAN}, {"factor": -1}, {"cooldown": -1}), ValueError, "must be finite"),
    (callbacks.ReduceLROnPlateau, ({"factor": "a"}, {"patience": [1]}, {"min_lr": None}), TypeError, "be a number"),
    (callbacks.CSVLogger, ({"filename": "a.csv", "separator": ";;"},), ValueError, "separator must be one character"),
]


@pytest.mark.parametrize(("made", "values", "error", "words"), MADE, ids=lambda value: getattr(value, "__name__", ""))
def test_objects_without_sense_are_refused_when_they_are_made(made, values, error, words):
    for given in values:
        with pytest.raises(error, match=words):
            made(**given) if isinstance(given, dict) else made(*given)


def test_callbacks_may_wait_for_ever(classifier, blobs):
    stopping = callbacks.EarlyStopping("loss", patience=INFINITY, baseline=-INFINITY)
    assert len(fit(classifier, *blobs, epochs=3, callbacks=[stopping])["loss"]) == 3


def test_initial_weights_beyond_the_type_are_refused():
    large = initializers.Constant(1e300)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"initial weights of layer .* are not finite as float32; give its init"):
            net(Input((3,)), Dense(2, kernel_initializer=large))
    assert net(Input((3,)), Dense(2, kernel_initializer=large), dtype="float64").get_weights()[0][0, 0] == 1e300


def test_widths_that_no_memory_holds_are_refused_before_it_is_taken():
    for units in (2**62, 10**12):
        with pytest.raises(ValueError, match=r"(GiB|than any memory holds).*; make it smaller"):
            net(Input((3,)), Dense(units))
