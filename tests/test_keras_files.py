"""Keras's own files, with real Keras on the other side; test_keras_archives.py has the rest."""

import json
import os

import numpy as np
import pytest
from test_saving import data, equal, everything, small, train
from test_toolkit_parity import INPUTS, ROWS, UNITS, WITHIN, X, build, weights_of

import fastmlp
from fastmlp import activations, metrics, serialization
from fastmlp.models import Sequential, load_model, model_from_json
from fastmlp.saving import keras_arrays, keras_configs, keras_networks

h5py = pytest.importorskip("h5py", reason="pip install 'fastmlp[keras-files]'")

os.environ.setdefault("KERAS_BACKEND", "jax")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning"),
]


@pytest.fixture(scope="module")
def keras():
    module = pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_disable_most_optimizations", True)  # each operation is compiled to run a few times
    yield module
    jax.config.update("jax_disable_most_optimizations", False)


def assert_close(ours, theirs, within):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=within * max(1.0, np.abs(b).max(initial=0.0)))


def outputs(model, x):
    """Of either library's model; Keras's runs operation by operation."""
    return model.predict(x) if isinstance(model, Sequential) else np.asarray(model(x))


def to_the_other(keras, model, path):
    """The same model in the other library, by a file."""
    model.save(path)
    if not isinstance(model, Sequential):
        return load_model(path)
    made = keras.models.load_model(path)
    made.run_eagerly = True
    return made


# ------------------------------------------------------------------ every class of the tables, both ways

#: Arguments of the classes that need some, or whose own show more than the defaults.
ARGUMENTS = {
    ("layer", "InputLayer"): ((6,),),
    ("layer", "Dense"): (5, "tanh", False),
    ("layer", "Activation"): ("gelu",),
    ("layer", "ReLU"): (2.0, 0.125, 0.5),
    ("layer", "Dropout"): (0.25,),
    ("layer", "GaussianNoise"): (0.25,),
    ("layer", "GaussianDropout"): (0.25,),
    ("layer", "BatchNormalization"): (-1, 0.5, 0.25),
    ("layer", "Rescaling"): (0.5, 0.25),
    ("layer", "ActivityRegularization"): (0.25, 0.5),
    ("loss", "Huber"): (0.5,),
    ("loss", "BinaryCrossentropy"): (False, 0.25),
    ("loss", "CategoricalFocalCrossentropy"): (0.5, 3.0),
    ("metric", "TopKCategoricalAccuracy"): (2,),
    ("metric", "AUC"): (50, "PR"),
    ("metric", "FBetaScore"): ("macro", 2.0),
    ("metric", "Precision"): (0.25, None, 1),
    ("optimizer", "SGD"): (0.5, 0.25, True),
    ("optimizer", "Adam"): (0.25, 0.5),
    ("schedule", "ExponentialDecay"): (0.5, 5, 0.25, True),
    ("schedule", "PiecewiseConstantDecay"): ([2, 4], [0.5, 0.25, 0.125]),
    ("schedule", "PolynomialDecay"): (0.5, 5),
    ("schedule", "InverseTimeDecay"): (0.5, 5, 0.25),
    ("schedule", "CosineDecay"): (0.5, 5),
    ("schedule", "CosineDecayRestarts"): (0.5, 5),
    ("initializer", "Constant"): (0.5,),
    ("initializer", "VarianceScaling"): (2.0, "fan_avg", "uniform", 3),
    ("constraint", "MinMaxNorm"): (0.25, 0.5),
    ("regularizer", "OrthogonalRegularizer"): (0.25, "columns"),
}

CLASSES = [
    (kind, name)
    for kind, known in serialization._classes.items()
    for name in known
    if ">" not in name and (kind, name) not in keras_configs.OWN
]


def object_of(m, kind, name):
    """An object of that class, of the module given; Keras's, too, where it has it under the same name."""
    where = m.optimizers.schedules if kind == "schedule" else getattr(m, "losses" if kind == "loss" else f"{kind}s")
    return getattr(where, name)(*ARGUMENTS.get((kind, name), ()))


def model_with(m, kind, name):
    """A compiled model in which that object is."""
    made = object_of(m, kind, name)
    layers, compiled = [], {"optimizer": "sgd", "loss": "mse"}
    if kind == "layer":
        layers = [made] if name == "InputLayer" else [m.layers.Input((6,)), m.layers.Dense(5), made]
    elif kind in ("initializer", "regularizer", "constraint"):
        layers = [m.layers.Input((6,)), m.layers.Dense(5, **{f"kernel_{kind}": made})]
    elif kind == "schedule":
        compiled["optimizer"] = m.optimizers.SGD(made)
    elif kind == "metric":
        compiled["metrics"] = [made]
    else:
        compiled[kind] = made
    model = m.Sequential([*(layers or [m.layers.Input((6,))]), m.layers.Dense(3, activation="softmax")])
    if compiled.get("metrics") and isinstance(made, metrics.Metric) and made.needs == "labels":
        compiled["loss"] = "sparse_categorical_crossentropy"
    model.compile(**compiled)
    return model


def described(model, kind):
    """What the model says of the object that model_with put in, in Keras's words."""
    whole = json.loads(model.to_json("keras") if isinstance(model, Sequential) else model.to_json())
    layers, compiled = whole["config"]["layers"], whole["compile_config"]
    if kind == "layer":
        return layers[2] if len(layers) == 4 else layers[0]
    if kind in ("initializer", "regularizer", "constraint"):
        return layers[1]["config"][f"kernel_{kind}"]
    if kind == "schedule":
        return compiled["optimizer"]["config"]["learning_rate"]
    return compiled["metrics"][0] if kind == "metric" else compiled[kind]


def assert_described_alike(ours, theirs):
    """Each argument that both name has the same value; Keras leaves some out, and rounds some to float32."""
    assert ours["class_name"] == theirs["class_name"]
    for key in ours["config"].keys() & theirs["config"].keys() - {"name", "dtype"}:
        a, b = ours["config"][key], theirs["config"][key]
        if isinstance(a, dict) and isinstance(a["config"], dict):
            assert_described_alike(a, b)
        elif key == "axis":
            assert np.ravel(a).tolist() == np.ravel(b).tolist()
        else:
            assert a == (pytest.approx(b) if isinstance(b, (float, list)) else b), key


@pytest.mark.parametrize(("kind", "name"), CLASSES)
def test_keras_reads_every_class(keras, tmp_path, kind, name):
    keras.utils.clear_session(free_memory=False)
    model = model_with(fastmlp, kind, name)
    theirs = to_the_other(keras, model, tmp_path / "model.keras")
    if (kind, name) not in (("metric", "Accuracy"), ("layer", "InputLayer")):
        assert_described_alike(described(model, kind), described(theirs, kind))
    if kind in ("layer", "initializer"):
        assert_close([outputs(theirs, X)], [model.predict(X)], 1e-6)


#: Those that Keras has as classes, too, and means the same by.
CLASSES_OF_KERAS = [
    (kind, name)
    for kind, name in CLASSES
    if kind != "metric" or (name not in keras_configs.FUNCTIONS and name != "Accuracy")
]


@pytest.mark.parametrize(("kind", "name"), CLASSES_OF_KERAS)
def test_every_class_of_keras_is_read(keras, tmp_path, kind, name):
    keras.utils.clear_session(free_memory=False)
    theirs = model_with(keras, kind, name)
    if kind == "metric":
        sparse = metrics.get(name).needs == "labels"
        theirs.compile(
            "sgd", "sparse_categorical_crossentropy" if sparse else "mse", metrics=[object_of(keras, kind, name)]
        )
    ours = to_the_other(keras, theirs, tmp_path / "model.keras")
    if name not in ("InputLayer", "Normalization"):  # of which Keras counts the axes from the other end
        assert_described_alike(described(ours, kind), described(theirs, kind))
    if kind in ("layer", "initializer"):
        assert_close([ours.predict(X)], [outputs(theirs, X)], 1e-6)


@pytest.mark.parametrize("name", [name for name in activations.NAMES if name not in keras_configs.OWN_ACTIVATIONS])
def test_activations_are_the_same_on_both_sides(keras, tmp_path, name):
    made = [m.Sequential([m.layers.Input((INPUTS,)), m.layers.Dense(UNITS, activation=name)])
            for m in (fastmlp, keras)]  # fmt: skip
    for model in made:
        other = to_the_other(keras, model, tmp_path / "model.keras")
        assert_close([outputs(other, X)], [outputs(model, X)], 1e-6)


#: What is compared with Keras anyway, with its arguments: see test_toolkit_parity.
DESCRIBED = [
    row
    for row in ROWS
    if row.check is None
    and row.group not in ("callbacks", "training", "activations")
    and "exclude_from" not in row.name  # which the files can't hold
    and "Huber(delta" not in row.name  # whose delta Keras leaves out of its files
    and "rms_scaling" not in row.name  # where center doesn't count, and is True in Keras
]


@pytest.mark.parametrize("row", DESCRIBED, ids=lambda row: f"{row.group}: {row.name}")
def test_descriptions_with_arguments_are_those_of_keras(keras, row):
    keras.utils.clear_session(free_memory=False)
    ours, theirs = build(fastmlp, row), build(keras, row)
    again = keras_networks.network(json.loads(theirs.to_json()))
    model = again.model()
    model.compile(**keras_networks.compile_arguments(again.compile))
    written, wanted = keras_configs.config_of(ours), json.loads(theirs.to_json())
    read = keras_configs.config_of(model)
    for own in (json.loads(json.dumps(written)), json.loads(json.dumps(read))):
        for a, b in zip(own["config"]["layers"], wanted["config"]["layers"], strict=True):
            if a["class_name"] != "Normalization":
                assert_described_alike(a, b)
        assert_described_alike(own["compile_config"]["optimizer"], wanted["compile_config"]["optimizer"])
    assert model.metrics_names == ours.metrics_names
    assert model.loss.scoring(row.data.y) == ours.loss.scoring(row.data.y)


# ------------------------------------------------------------------ a training that goes on over there


def step(model, count=2, first=0):
    """Single steps of training, on the same batches in both."""
    rng = np.random.default_rng(7)
    x, labels = rng.standard_normal((64, INPUTS)).astype(np.float32), rng.integers(0, UNITS, 64)
    for i in range(first, first + count):
        model.train_on_batch(x[8 * i : 8 * i + 8], labels[8 * i : 8 * i + 8])


def trained(m, optimizer):
    model = m.Sequential([m.layers.Input((INPUTS,)), m.layers.Dense(5, activation="tanh", kernel_regularizer="l2"),
                          m.layers.BatchNormalization(momentum=0.5), m.layers.PReLU(),
                          m.layers.Dense(4, trainable=False), m.layers.LayerNormalization(),
                          m.layers.Dense(UNITS, activation="softmax", bias_constraint="max_norm")])  # fmt: skip
    options = {} if m is fastmlp else {"run_eagerly": True}
    model.compile(optimizer(m), "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    step(model, 3)
    return model


STATES = {
    "SGD": lambda m: m.optimizers.SGD(0.1),
    "SGD, momentum": lambda m: m.optimizers.SGD(0.1, momentum=0.9),
    "SGD, nesterov, schedule": lambda m: m.optimizers.SGD(
        m.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.9, nesterov=True, clipnorm=0.1
    ),
    "Adam": lambda m: m.optimizers.Adam(0.01),
    "Adam, amsgrad, ema": lambda m: m.optimizers.Adam(0.01, amsgrad=True, use_ema=True, ema_overwrite_frequency=2),
    "Adam, accumulating": lambda m: m.optimizers.Adam(0.01, gradient_accumulation_steps=2, use_ema=True),
    "AdamW": lambda m: m.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5),
    "Nadam": lambda m: m.optimizers.Nadam(0.01),
    "Adamax": lambda m: m.optimizers.Adamax(0.01),
    "RMSprop": lambda m: m.optimizers.RMSprop(0.01),
    "RMSprop, centered": lambda m: m.optimizers.RMSprop(0.01, centered=True),
    "RMSprop, momentum": lambda m: m.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Adagrad": lambda m: m.optimizers.Adagrad(0.1, initial_accumulator_value=0.3),
    "Adadelta": lambda m: m.optimizers.Adadelta(1.0),
    "Lion": lambda m: m.optimizers.Lion(0.001),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("way", ["from here to Keras", "from Keras to here"])
def test_training_goes_on_in_the_other(keras, tmp_path, name, way):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    model = trained(fastmlp if way.endswith("to Keras") else keras, STATES[name])
    other = to_the_other(keras, model, tmp_path / "model.keras")
    assert_close(weights_of(other), weights_of(model), 0)
    step(model, 3, 3)
    step(other, 3, 3)
    assert_close(weights_of(other), weights_of(model), WITHIN)


def test_every_kernel_of_the_optimizers_has_its_order_in_keras():
    from fastmlp.kernels.optimizers import SLOTS

    for name, count in SLOTS.items():
        order = [block for group in keras_arrays._ORDER[name] for block in group]
        assert sorted(order) == list(range(count)), name


def test_optimizer_without_a_step_is_read_by_keras_without_a_warning(keras, tmp_path):
    for optimizer in ("adam", "adagrad", "nadam"):
        model = small(optimizer)
        theirs = to_the_other(keras, model, tmp_path / "model.keras")
        assert int(theirs.optimizer.iterations) == 0


def test_optimizer_of_keras_without_a_step_begins_anew(keras, tmp_path):
    theirs = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    theirs.compile(keras.optimizers.Adam(0.25), "mse")
    ours = to_the_other(keras, theirs, tmp_path / "model.keras")
    assert (ours.optimizer.iterations, ours.optimizer.learning_rate) == (0, 0.25)


# ------------------------------------------------------------------ whole models


def test_everything_goes_to_keras_and_comes_back(keras, tmp_path):
    model = everything()
    model.compile("adam", "mse", metrics=["mae", "accuracy"], weighted_metrics=[metrics.Huber(delta=0.5)])
    train(model)
    theirs = to_the_other(keras, model, tmp_path / "model.keras")
    x = data()[0]
    assert_close([outputs(theirs, x)], [model.predict(x)], 1e-6)
    again = to_the_other(keras, theirs, tmp_path / "again.keras")
    assert equal(again.get_weights(), model.get_weights())
    assert again.metrics_names == model.metrics_names
    assert again.optimizer.iterations == model.optimizer.iterations


def test_samples_of_two_axes_are_normalized_alike(keras, tmp_path):
    x = data()[0]
    for axis in (-1, (1, 2), 1, None):
        layer = keras.layers.Normalization(axis=axis)
        layer.adapt(x)
        theirs = keras.Sequential([keras.layers.Input((2, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(2)])
        ours = to_the_other(keras, theirs, tmp_path / "model.keras")
        assert_close([ours.predict(x)], [outputs(theirs, x)], 1e-6)
        assert_close([outputs(to_the_other(keras, ours, tmp_path / "b.keras"), x)], [outputs(theirs, x)], 1e-6)
    given = keras.layers.Normalization(axis=1, mean=[1.0, 2.0], variance=[3.0, 4.0])
    theirs = keras.Sequential([keras.layers.Input((2, 3)), given, keras.layers.Flatten(), keras.layers.Dense(2)])
    assert_close([to_the_other(keras, theirs, tmp_path / "model.keras").predict(x)], [outputs(theirs, x)], 1e-6)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_model_that_isnt_built_is_read_as_such(keras, tmp_path):
    theirs = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2, name="end")])
    theirs.compile("adam", "mse")
    ours = to_the_other(keras, theirs, tmp_path / "model.keras")
    assert not ours.built
    assert [layer.units for layer in ours.layers] == [4, 2]
    assert ours.predict(X).shape == (len(X), 2)


def test_functional_that_is_a_row_is_read(keras, tmp_path):
    first = entry = keras.layers.Input((2, 3))
    for layer in (keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.BatchNormalization(),
                  keras.layers.Dropout(0.3), keras.layers.Dense(1)):  # fmt: skip
        entry = layer(entry)
    theirs = keras.Model(first, entry)
    theirs.compile("nadam", keras.losses.mean_squared_error, metrics=[keras.metrics.mean_absolute_error])
    ours = to_the_other(keras, theirs, tmp_path / "model.keras")
    assert_close([ours.predict(data()[0])], [outputs(theirs, data()[0])], 1e-6)
    assert ours.metrics_names == ["loss", "mean_absolute_error"]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:You are saving")
def test_weights_go_both_ways(keras, tmp_path):
    models = [m.Sequential([m.layers.Input((2, 3)), m.layers.Flatten(), m.layers.Dense(7),
                            m.layers.BatchNormalization(), m.layers.Dense(3)]) for m in (fastmlp, keras)]  # fmt: skip
    ours, theirs = models
    ours.save_weights(tmp_path / "a.weights.h5")
    theirs.load_weights(tmp_path / "a.weights.h5")
    assert_close(weights_of(theirs), weights_of(ours), 0)
    theirs.set_weights([w + 1 for w in theirs.get_weights()])
    theirs.save_weights(tmp_path / "b.weights.h5")
    theirs.save(tmp_path / "b.keras")
    theirs.save(tmp_path / "b.h5")
    for name in ("b.weights.h5", "b.keras", "b.h5"):
        ours.set_weights([w * 0 for w in ours.get_weights()])
        ours.load_weights(tmp_path / name)
        assert_close(weights_of(ours), weights_of(theirs), 0)


def test_weights_bring_the_optimizer_along_in_keras(keras, tmp_path):
    ours, theirs = (trained(m, STATES["Adam"]) for m in (fastmlp, keras))
    step(ours)
    ours.save_weights(tmp_path / "a.weights.h5")
    theirs.load_weights(tmp_path / "a.weights.h5")
    assert int(theirs.optimizer.iterations) == ours.optimizer.iterations == 5
    step(ours, 2, 5)
    step(theirs, 2, 5)
    assert_close(weights_of(theirs), weights_of(ours), WITHIN)


def test_accuracy_under_a_name_of_its_own_is_the_one_that_is_meant(keras, tmp_path):
    for units, loss, expected in ((1, "mse", "BinaryAccuracy"), (3, "mse", "CategoricalAccuracy"),
                                  (3, "sparse_categorical_crossentropy", "SparseCategoricalAccuracy")):  # fmt: skip
        model = Sequential([fastmlp.Input((3,)), fastmlp.Dense(units, "softmax" if units > 1 else None)])
        model.compile("sgd", loss, metrics=[metrics.Accuracy(name="share"), "accuracy"])
        theirs = json.loads(to_the_other(keras, model, tmp_path / "model.keras").to_json())["compile_config"]["metrics"]
        assert (theirs[0]["class_name"], theirs[0]["config"]["name"], theirs[1]) == (expected, "share", "accuracy")
        assert load_model(tmp_path / "model.keras").metrics_names == ["loss", "share", "accuracy"]


def test_json_goes_both_ways(keras):
    model = everything()
    theirs = keras.models.model_from_json(model.to_json("keras", indent=1))
    assert [type(layer).__name__ for layer in theirs.layers] == [type(layer).__name__ for layer in model.layers]
    again = model_from_json(theirs.to_json())
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_branches_and_shared_layers_are_refused(keras, tmp_path):
    layers = keras.layers
    entry = layers.Input((4,))
    inner = layers.Dense(4, name="inner")(entry)
    twice = layers.Dense(4, name="twice")
    for model, match in (
        (keras.Model(entry, layers.Add(name="sum")([inner, entry])), "layer 'sum' has several inputs"),
        (keras.Model(entry, [inner, layers.Dense(3)(inner)]), "one input and one output here, but its output_layers"),
        (keras.Model(entry, twice(twice(entry))), "layer 'twice' has several inputs, or is used more than once"),
        (
            keras.Model(entry, layers.Dropout(0.5, name="on")(inner, training=True)),
            "layer 'on' is called with training",
        ),
    ):
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=match):
            load_model(tmp_path / "model.keras")
