import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fastmlp
from fastmlp import constraints, initializers, losses, metrics, optimizers, regularizers, saving
from fastmlp.callbacks import BackupAndRestore, LambdaCallback
from fastmlp.layers import (
    ELU,
    Activation,
    ActivityRegularization,
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    Input,
    LayerNormalization,
    LeakyReLU,
    Normalization,
    PReLU,
    ReLU,
    Rescaling,
    Softmax,
)
from fastmlp.models import Sequential, load_model, model_from_json
from fastmlp.serialization import deserialize, serialize


def data(n=50, units=3):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2, 3)).astype(np.float32)
    return x, rng.standard_normal((n, units)).astype(np.float32)


def everything(dtype="float32"):
    normalization = Normalization()
    normalization.adapt(data()[0])
    return Sequential(
        [
            Input((2, 3)), Rescaling(0.5, 0.1), normalization, Flatten(),
            Dense(17, "tanh", kernel_constraint="max_norm"), Dropout(0.2),
            LayerNormalization(), Dense(9, kernel_regularizer="l2", bias_constraint="non_neg"), PReLU(),
            GaussianNoise(0.1), BatchNormalization(), Activation("gelu"), GaussianDropout(0.1),
            Dense(5, use_bias=False, activity_regularizer="l1"), LeakyReLU(), BatchNormalization(scale=False),
            ActivityRegularization(0.01), Dense(4, trainable=False), ELU(0.5), ReLU(6.0, 0.1, 0.2), Dense(3), Softmax(),
        ],
        dtype=dtype,
    )  # fmt: skip


def small(optimizer="adam", loss="mse", **settings):
    model = Sequential([Input((2, 3)), Flatten(), Dense(7, "tanh"), Dense(3)])
    model.compile(optimizer, loss, **settings)
    return model


def equal(a, b):
    return len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b))


def train(model, epochs=2, seed=5, **settings):
    fastmlp.utils.set_random_seed(seed)
    x, y = data()
    return model.fit(x, y, epochs=epochs, verbose=0, batch_size=16, **settings).history


def assert_goes_on_alike(model, again):
    assert equal(again.get_weights(), model.get_weights())
    assert np.array_equal(again.predict(data()[0]), model.predict(data()[0]))
    assert train(model) == train(again)
    assert equal(again.get_weights(), model.get_weights())
    assert again.optimizer.iterations == model.optimizer.iterations


# ------------------------------------------------------------------ whole models


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loaded_model_trains_on_with_the_same_bits(tmp_path, dtype):
    model = everything(dtype)
    model.compile("adam", "mse", metrics=["mae", "accuracy"], weighted_metrics=[metrics.Huber(delta=0.5)])
    train(model)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    assert again.get_config() == model.get_config()
    assert (again.name, again.dtype, again.input_shape) == (model.name, model.dtype, model.input_shape)
    assert again.metrics_names == model.metrics_names == ["loss", "mae", "accuracy", "huber"]
    assert_goes_on_alike(model, again)


OPTIMIZERS = [
    optimizers.SGD(0.1), optimizers.SGD(0.1, 0.9, True, clipnorm=0.3), optimizers.AdamW(0.01),
    optimizers.Adam(0.01, amsgrad=True, global_clipnorm=0.5), optimizers.Nadam(0.01), optimizers.Adamax(0.01),
    optimizers.RMSprop(0.01, momentum=0.5, centered=True), optimizers.Adagrad(0.01, 0.3), optimizers.Adadelta(1.0),
    optimizers.Lion(0.001, clipvalue=0.1), optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    optimizers.SGD(0.1, gradient_accumulation_steps=3),
    optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 5, 0.5), weight_decay=0.1),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_state_of_every_optimizer_is_kept(tmp_path, optimizer):
    model = small(deserialize(serialize(optimizer)))
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    train(model)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert serialize(again.optimizer) == serialize(model.optimizer)
    assert again.optimizer.decays("dense/kernel")
    assert not again.optimizer.decays("dense/bias")
    assert_goes_on_alike(model, again)


def test_learning_rate_set_meanwhile_is_kept(tmp_path):
    model = small("sgd")
    model.optimizer.learning_rate = 0.375
    model.save(tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").optimizer.learning_rate == 0.375


def test_every_loss_and_metric_can_be_written_and_read():
    for module, kind, base in ((losses, "loss", losses.Loss), (metrics, "metric", metrics.Metric)):
        for name in module.NAMES:
            made = module.get(name)
            again = deserialize(json.loads(json.dumps(serialize(made))), kind)
            assert isinstance(again, base)
            assert serialize(again) == serialize(made)
    loss = losses.CategoricalFocalCrossentropy(0.3, 1.5, from_logits=True, label_smoothing=0.1, name="own")
    assert losses.get(serialize(loss)).scoring() == loss.scoring()
    for metric in (metrics.Huber("a", delta=0.3), metrics.TopKCategoricalAccuracy(2), metrics.AUC(10, curve="PR"),
                   metrics.R2Score(None), metrics.Precision([0.2, 0.7], class_id=1), metrics.FBetaScore("macro", 2.0),
                   metrics.BinaryCrossentropy("b", from_logits=True)):  # fmt: skip
        again = metrics.get(serialize(metric))
        assert (again.name, again.scoring(3)) == (metric.name, metric.scoring(3))
    with pytest.raises(ValueError, match="has no argument 'detla'; did you mean 'delta'"):
        metrics.get({"class_name": "Huber", "config": {"detla": 0.3}})


def test_model_that_is_not_compiled_or_not_to_be_is_loaded_without(tmp_path):
    model = Sequential([Input((4,)), Dense(2)])
    model.save(tmp_path / "plain.safetensors")
    again = load_model(tmp_path / "plain.safetensors")
    assert again.loss is None
    assert equal(again.get_weights(), model.get_weights())
    trained = small()
    train(trained)
    trained.save(tmp_path / "trained.safetensors")
    again = load_model(tmp_path / "trained.safetensors", compile=False)
    assert again.optimizer is None
    assert equal(again.get_weights(), trained.get_weights())


def test_loading_leaves_the_generator_where_it_was(tmp_path):
    everything().save(tmp_path / "model.safetensors")
    before = fastmlp.random.generator().bit_generator.state
    load_model(tmp_path / "model.safetensors")
    assert fastmlp.random.generator().bit_generator.state == before


def test_names_in_files_dont_depend_on_models_made_before(tmp_path):
    first = small()
    first.save_weights(tmp_path / "weights.safetensors")
    assert sorted(load_file(tmp_path / "weights.safetensors")) == [
        "dense/bias", "dense/kernel", "dense_1/bias", "dense_1/kernel",
    ]  # fmt: skip
    second = small()
    assert [layer.name for layer in second.layers] != [layer.name for layer in first.layers]
    second.load_weights(tmp_path / "weights.safetensors")
    assert equal(second.get_weights(), first.get_weights())


def test_layers_own_names_are_those_of_the_file():
    layers = [Dense(3), Dense(2, name="dense_1"), Dense(2, name="out"), Dropout(0.1, name="dense"), Dense(1)]
    assert saving.layer_names(layers) == ["dense_1", "dense_2", "out", "dense", "dense_3"]


def test_weights_can_be_taken_from_a_whole_model_of_another_precision(tmp_path):
    model = small()
    train(model)
    model.save(tmp_path / "model.safetensors")
    wide = Sequential([Input((2, 3)), Flatten(), Dense(7, "tanh"), Dense(3)], dtype="float64")
    wide.load_weights(str(tmp_path / "model.safetensors"))
    assert equal(wide.get_weights(), model.get_weights())
    assert wide.get_weights()[0].dtype == np.float64


# ------------------------------------------------------------------ configs


def test_config_and_json_make_the_same_layers():
    model = everything("float64")
    again = Sequential.from_config(json.loads(json.dumps(model.get_config())))
    assert again.get_config() == model.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
    assert model_from_json(model.to_json(indent=2)).get_config() == model.get_config()
    unbuilt = Sequential([Dense(3, kernel_initializer=initializers.HeNormal(seed=1))])
    again = Sequential.from_config(unbuilt.get_config())
    assert not again.built
    assert again.layers[0].kernel_initializer.seed == 1
    frozen = Sequential([Dense(3, kernel_regularizer=regularizers.L2(0.5), trainable=False,
                               kernel_constraint=constraints.UnitNorm())])  # fmt: skip
    layer = Sequential.from_config(frozen.get_config()).layers[0]
    assert (layer.trainable, layer.kernel_regularizer.l2) == (False, 0.5)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", ValueError, "Expecting"),
        ("[]", ValueError, "class_name 'Sequential'"),
        ('{"class_name": "Model", "config": {}}', ValueError, "class_name 'Sequential'"),
        ('{"class_name": "Sequential", "config": {}}', TypeError, "a dictionary with a list of layers"),
        ('{"class_name": "Sequential", "config": {"layers": [{"class_name": "os.system", "config": {}}]}}', ValueError,
         "layer 'os.system' is unknown"),
        ('{"class_name": "Sequential", "config": {"layers": [{"class_name": "HeNormal", "config": {}}]}}', ValueError,
         "layer 'HeNormal' is unknown"),
    ],
)  # fmt: skip
def test_json_of_something_else_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        model_from_json(text)


# ------------------------------------------------------------------ files that are wrong


def test_other_endings_are_refused(tmp_path):
    model = small()
    for call, endings in (
        (model.save, ".safetensors or .keras, the endings of a whole model"),
        (model.save_weights, ".safetensors or .weights.h5, the endings of weights"),
        (model.load_weights, ".safetensors or .weights.h5 or .keras or .h5, the endings that weights are read from"),
        (load_model, ".safetensors or .keras, the endings of a whole model"),
    ):
        with pytest.raises(ValueError, match=rf"must end in {endings}, got 'model'$"):
            call("model")
    for call, name in ((model.save, "model.h5"), (model.save, "model.weights.h5"), (model.save_weights, "model.keras")):
        with pytest.raises(ValueError, match="must end in"):
            call(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_damaged_and_foreign_files_are_refused(tmp_path):
    model = small()
    path = tmp_path / "model.safetensors"
    model.save(path)
    content = path.read_bytes()
    for wrong in (b"", content[:5], content[:40], content[:-1], b"PK\x03\x04" + content, content + b"0"):
        path.write_bytes(wrong)
        for call in (load_model, model.load_weights):
            with pytest.raises(OSError, match=r"can't be read as a .safetensors file .* it is cut short, damaged"):
                call(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_model(tmp_path / "none.safetensors")


def described(path, description, arrays=None):
    save_file(arrays or {"a": np.zeros(1)}, path, {"fastmlp": json.dumps(description)})


def test_descriptions_that_are_wrong_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"dense/kernel": np.zeros((2, 2))}, path)
    with pytest.raises(ValueError, match="holds weights only; make the model and call its load_weights"):
        load_model(path)
    described(path, {"format": 2, "version": "9.0"})
    with pytest.raises(ValueError, match=r"has format 2 and was written by fastmlp 9.0; .*formats up to 1: update"):
        load_model(path)
    described(path, [])
    with pytest.raises(OSError, match="can't be read"):
        load_model(path)
    config = small().get_config()
    for wrong in (
        {"config": {}},
        {"config": config},
        {"config": config, "compile": 3, "seeds": {}, "iterations": 0},
        {"config": config, "compile": None, "seeds": [], "iterations": 0},
        {"config": config, "compile": None, "seeds": {}, "iterations": None},
    ):
        described(path, wrong)
        with pytest.raises(OSError, match=r"isn't as Sequential.save writes it"):
            load_model(path)
    described(path, {"config": config, "compile": None, "seeds": {"dropout": 1}, "iterations": 0})
    with pytest.raises(ValueError, match=r"has seeds of \['dropout'\], not \[\]"):
        load_model(path)


def test_weights_that_dont_fit_change_nothing(tmp_path):
    path = tmp_path / "weights.safetensors"
    model = small()
    before = model.get_weights()
    other = Sequential([Input((2, 3)), Flatten(), Dense(8, "tanh"), Dense(3), Dense(3)])
    other.save_weights(path)
    with pytest.raises(
        ValueError,
        match=r"doesn't fit the model: it has the unknown dense_2/bias \(3,\), dense_2/kernel \(3, 3\); "
        r"it has dense/kernel \(6, 8\) instead of \(6, 7\), ",
    ):
        model.load_weights(path)
    arrays = load_file(path)
    save_file({"dense/kernel": arrays["dense/kernel"]}, path)
    with pytest.raises(ValueError, match=r"it lacks dense/bias \(8,\), dense_1/kernel"):
        other.load_weights(path)
    save_file({name: array.astype(np.int32) for name, array in arrays.items()}, path)
    with pytest.raises(ValueError, match="has dense/kernel as int32; floats are needed"):
        other.load_weights(path)
    assert equal(model.get_weights(), before)
    with pytest.raises(RuntimeError, match="has no weights yet"):
        Sequential([Dense(3)]).load_weights(path)
    with pytest.raises(RuntimeError, match="has no weights yet"):
        Sequential([Dense(3)]).save(path)


def test_optimizer_state_that_doesnt_fit_is_refused(tmp_path):
    model = small()
    train(model)
    path = tmp_path / "model.safetensors"
    model.save(path)
    with saving_as(path) as arrays:
        arrays.pop("optimizer/1/dense/kernel")
    with pytest.raises(ValueError, match=r"it lacks optimizer/1/dense/kernel \(6, 7\)"):
        load_model(path)


class saving_as:
    """Change the arrays of a file."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.description, self.arrays = saving.native._read(self.path)
        return self.arrays

    def __exit__(self, *_):
        described(self.path, self.description, self.arrays)


def test_interrupted_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    model = small()
    model.save(path)
    before = path.read_bytes()

    def fail(_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    model.set_weights([w + 1 for w in model.get_weights()])
    with pytest.raises(OSError, match="the disk is full"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_existing_file_is_kept_without_overwrite(tmp_path):
    path = tmp_path / "model.safetensors"
    model = small()
    model.save(path, overwrite=False)
    for call in (model.save, model.save_weights):
        with pytest.raises(FileExistsError, match="pass overwrite=True"):
            call(path, overwrite=False)
    model.save(path)


# ------------------------------------------------------------------ trainings that go on


class Interruption(Exception):
    pass


def interrupt(epoch, logs):
    if epoch == 2:
        raise Interruption


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[1], OPTIMIZERS[10], OPTIMIZERS[11], OPTIMIZERS[12]], ids=str)
def test_interrupted_training_ends_with_the_same_bits(tmp_path, optimizer):
    def make():
        fastmlp.utils.set_random_seed(11)
        model = everything()
        model.compile(deserialize(serialize(optimizer)), "mse")
        return model

    whole = make()
    losses_ = train(whole, epochs=6)["loss"]
    first = make()
    with pytest.raises(Interruption):
        train(first, 6, callbacks=[BackupAndRestore(tmp_path), LambdaCallback(on_epoch_end=interrupt)])
    fastmlp.utils.set_random_seed(99)
    again = everything()  # other weights and seeds of dropout, as of another process without a seed
    again.compile(deserialize(serialize(optimizer)), "mse")
    assert train(again, 6, seed=77, callbacks=[BackupAndRestore(tmp_path)])["loss"] == losses_
    assert equal(again.get_weights(), whole.get_weights())


def test_restored_state_repeats_the_training():
    model = small()
    x, y = data()
    train(model)
    state = model.training_state()
    model.optimizer.learning_rate = 0.5
    weights = []
    for _ in range(2):
        model.restore_training_state(state)
        assert model.optimizer.learning_rate == pytest.approx(0.001)
        model.fit(x, y, epochs=2, verbose=0)
        weights.append(model.get_weights())
    assert equal(*weights)


@pytest.mark.parametrize("name", ["dense/kernel", "optimizer/0/dense/bias", "optimizer/iterations", "random"])
def test_state_that_lacks_something_is_refused_and_changes_nothing(name):
    model = small()
    train(model)
    state = {key: value + 0 for key, value in model.training_state().items()}
    before = model.training_state()
    state["dense/bias"] += 1
    del state[name]
    with pytest.raises(ValueError, match=f"the training state doesn't fit the model: it lacks .*{name}"):
        model.restore_training_state(state)
    with pytest.raises(ValueError, match="the state of the random generator can't be read"):
        model.restore_training_state({**before, "random": np.zeros(3, np.uint8)})
    assert equal(list(model.training_state().values()), list(before.values()))


def test_state_needs_a_compiled_model():
    with pytest.raises(RuntimeError, match="You must call `compile"):
        Sequential([Input((2,)), Dense(3)]).training_state()
