"""Keras's own files without Keras: what they hold, what they can't, and files that are wrong."""

import io
import json
import os
import struct
import sys
import zipfile

import numpy as np
import pytest
from test_saving import data, equal, everything, small, train

import fastmlp
from fastmlp import losses, metrics, serialization
from fastmlp.callbacks import ModelCheckpoint
from fastmlp.layers import Dense, Flatten, Input, Normalization
from fastmlp.models import Sequential, load_model
from fastmlp.saving import keras_networks
from fastmlp.serialization import register_serializable, serialize

h5py = pytest.importorskip("h5py", reason="pip install 'fastmlp[keras-files]'")

# ------------------------------------------------------------------ what they hold


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_own_files_hold_the_model_and_its_training(tmp_path, dtype):
    model = Sequential([Input((2, 3)), Flatten(), Dense(7, "tanh"), Dense(3)], dtype=dtype)
    model.compile("adam", "mse", metrics=["mae"])
    train(model)
    model.optimizer.learning_rate = 0.1
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert again.dtype == np.dtype(dtype)
    assert (again.name, again.optimizer.learning_rate) == (model.name, 0.1)
    assert equal(again.get_weights(), model.get_weights())
    assert train(model) == train(again)
    assert equal(again.get_weights(), model.get_weights())


def test_loading_without_compiling(tmp_path):
    model = small()
    train(model)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras", compile=False)
    assert again.optimizer is None
    assert equal(again.get_weights(), model.get_weights())
    again.save(tmp_path / "plain.keras")
    assert load_model(tmp_path / "plain.keras").optimizer is None


def test_loading_leaves_the_generator_where_it_was(tmp_path):
    everything().save(tmp_path / "model.keras")
    before = fastmlp.random.generator().bit_generator.state
    load_model(tmp_path / "model.keras")
    assert fastmlp.random.generator().bit_generator.state == before


def test_checkpoints_are_written_in_keras_format(tmp_path):
    model = small()
    x, y = data()
    whole = ModelCheckpoint(tmp_path / "{epoch}.keras")
    weights = ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[whole, weights])
    assert sorted(os.listdir(tmp_path)) == ["1.keras", "1.weights.h5", "2.keras", "2.weights.h5"]
    assert equal(load_model(tmp_path / "2.keras").get_weights(), model.get_weights())
    other = small()
    other.load_weights(tmp_path / "2.weights.h5")
    assert equal(other.get_weights(), model.get_weights())


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch):
    model = small()
    model.save(tmp_path / "model.keras")
    monkeypatch.setitem(sys.modules, "h5py", None)
    for call in (model.save, model.load_weights, load_model):
        with pytest.raises(ImportError, match=r'pip install "fastmlp\[keras-files\]"'):
            call(tmp_path / "model.keras")
    with pytest.raises(ImportError, match="pip install"):
        model.save_weights(tmp_path / "model.weights.h5")


def test_files_are_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    model = small()
    model.save(path)
    before = path.read_bytes()

    def fail(_):
        raise OSError("the disk is full")

    with pytest.raises(FileExistsError):
        model.save(path, overwrite=False)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is full"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.keras"]


# ------------------------------------------------------------------ what the format can't hold


def refused_at_save(model, tmp_path, match):
    with pytest.raises(ValueError, match=match):
        model.save(tmp_path / "model.keras")
    assert os.listdir(tmp_path) == []


def test_what_keras_lacks_is_refused_by_name(tmp_path):
    model = Sequential([Input((3,)), Dense(2, "step", name="jump")])
    refused_at_save(model, tmp_path, r"layer 'jump' has activation 'step', which Keras doesn't have.*\.safetensors")
    model = small(metrics=[metrics.ConfusionMatrix()])
    refused_at_save(model, tmp_path, "metric 'confusion_matrix' has the metric ConfusionMatrix, which Keras doesn't")
    optimizer = fastmlp.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    refused_at_save(small(optimizer), tmp_path, "optimizer 'adamw' leaves variables out of its weight decay")
    refused_at_save(Sequential([Input((3,)), Dense(2, name="a/b")]), tmp_path, "layer 'a/b'.*none with a slash")


def test_own_functions_and_classes_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "_classes", {k: dict(v) for k, v in serialization._classes.items()})
    monkeypatch.setattr(serialization, "_names", dict(serialization._names))

    @register_serializable("physics")
    class Halves(fastmlp.initializers.Initializer):
        def __call__(self, shape):
            return np.full(shape, 0.5)

    model = Sequential([Input((3,)), Dense(2, kernel_initializer=Halves(), name="half")])
    refused_at_save(model, tmp_path, "layer 'half' has the initializer physics>Halves, which Keras doesn't have")

    def value(y_true, y_pred):
        return (y_pred[0] - y_true[0]) ** 2

    def gradient(y_true, y_pred, out):
        out[0] = 2 * (y_pred[0] - y_true[0])

    refused_at_save(small(loss=losses.Custom(value, gradient)), tmp_path, "loss 'value'")
    model.save_weights(tmp_path / "model.weights.h5")  # the arrays alone are no matter of classes


# ------------------------------------------------------------------ what can't be taken from Keras


def with_config(path, change, model=None):
    """A file whose config.json went through `change`."""
    (model or small()).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    changed = change(config)
    members["config.json"] = changed if isinstance(changed, bytes) else json.dumps(changed or config).encode()
    written(path, members)
    return path


def written(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def dense(config):
    return config["config"]["layers"][2]


CHANGES = {
    "class": (lambda c: dense(c).update(class_name="Conv2D"), r"layer 'dense.*' is of the class Conv2D, which fastmlp"),
    "lambda": (lambda c: dense(c).update(class_name="Lambda"), "is of the class Lambda, which fastmlp doesn't have"),
    "module": (lambda c: dense(c).update(module="os"), "layer 'dense.*' is of the class 'Dense' of module 'os', which"),
    "registered": (lambda c: dense(c).update(registered_name="pkg>Dense"), "'pkg>Dense' of module 'keras.layers'"),
    "no module": (lambda c: dense(c).update(module=None), "of module None, which is none of Keras's own"),
    "model": (lambda c: c.update(class_name="Mine"), "the model is of the class 'Mine'; of Keras's models"),
    "argument": (lambda c: dense(c)["config"].update(shape="round"), r"has shape='round', which fastmlp doesn't have"),
    "neutral": (lambda c: dense(c)["config"].update(lora_rank=4), "has lora_rank=4; here it works as lora_rank=None"),
    "dtype": (lambda c: dense(c)["config"].update(dtype="mixed_float16"), "layer 'dense.*' computes in 'mixed"),
    "two dtypes": (lambda c: dense(c)["config"].update(dtype="float64"), "compute in one float type here, but layer"),
    "activation": (lambda c: dense(c)["config"].update(activation="sparsemax"), r"activation 'sparsemax' is unknown"),
    "step": (lambda c: dense(c)["config"].update(activation="step"), "activation 'step', which Keras doesn't have"),
    "NaN as name": (lambda c: dense(c)["config"].update(name=float("nan")), "a layer's name must be a text, got nan"),
    "NaN as units": (lambda c: dense(c)["config"].update(units=float("nan")), r"layer 'dense.*' \(Dense\) can't be"),
    "huge": (lambda c: dense(c)["config"].update(units=10**12), r"describes a model of \d+ numbers, but its weights"),
    "huger": (lambda c: dense(c)["config"].update(units=10**40), "units must be at most"),
    "huge input": (
        lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 2**40, 2**40]),
        "too large for any memory",
    ),
    "object in a place of a number": (
        lambda c: dense(c)["config"].update(units={"class_name": "HeNormal", "config": {}}),
        "where a number or a name is needed",
    ),
    "optimizer": (
        lambda c: c["compile_config"]["optimizer"].update(class_name="Ftrl"),
        r"can't be compiled as it was: the optimizer is of the class Ftrl.*compile=False\) gives it without",
    ),
    "reduction": (
        lambda c: c["compile_config"]["loss"]["config"].update(reduction="sum"),
        "the loss .MeanSquaredError. has reduction='sum'; here it works as reduction='sum_over_batch_size' only",
    ),
    "function": (
        lambda c: c["compile_config"].update(loss={"class_name": "function", "module": "evil", "config": "run"}),
        "is a function of one's own, which can't be read",
    ),
    "many layers": (lambda c: c["config"]["layers"].extend([3] * 10_000), "the model has 10004 layers; up to 10000"),
    "two losses": (lambda c: c["compile_config"].update(loss=["mse", "mae"]), "compiled with 2 losses"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_descriptions_that_cant_be_taken_are_refused_by_name(tmp_path, name):
    change, match = CHANGES[name]
    path = with_config(tmp_path / "model.keras", change)
    with pytest.raises(ValueError, match=match):
        load_model(path)


def test_neutral_arguments_are_taken(tmp_path):
    def change(config):
        dense(config)["config"].update(lora_rank=None, quantization_config=None, dtype="float32")
        config["compile_config"]["loss"]["config"].update(reduction="mean", dtype="float32")

    assert load_model(with_config(tmp_path / "model.keras", change)).built


# ------------------------------------------------------------------ files that are wrong


def test_damaged_and_foreign_archives_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    small().save(path)
    content = path.read_bytes()
    for wrong in (
        b"",
        content[:40],
        content[:-1],
        content[: len(content) // 2],
        b"some text",
        b"\x89HDF\r\n\x1a\n" + bytes(900),
    ):
        path.write_bytes(wrong)
        with pytest.raises(OSError, match="damaged"):
            load_model(path)
    for members, match in (({"a.txt": b""}, "has no config.json"), ({"config.json": b"{}"}, "has no model.weights.h5")):
        written(path, members)
        with pytest.raises(OSError, match=match):
            load_model(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_model(tmp_path / "none.keras")
    with pytest.raises(ValueError, match=r"must end in .safetensors or .keras"):
        load_model("model.zip")


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        (b"{", OSError, "is no JSON text"),
        (b"\xff\xfe\x00", OSError, "is no JSON text"),
        (b"[" * 200000, OSError, "isn't as Keras writes it: RecursionError"),
        (b'{"a":' * 100000, OSError, "isn't as Keras writes it: RecursionError"),
        (b"[]", ValueError, "expected Keras's description of a model"),
        (b'{"class_name": "Sequential", "config": {}, "module": "keras"}', ValueError, "expected a list as the layers"),
        (b'{"class_name": "Sequential", "config": {"layers": [3]}, "module": "keras"}', ValueError, "of a layer, with"),
        (b"1" * 5000, ValueError, "digits"),
    ],
)
def test_descriptions_that_are_none_are_refused(tmp_path, text, error, match):
    path = with_config(tmp_path / "model.keras", lambda _: text)
    with pytest.raises(error, match=match):
        load_model(path)


def test_members_that_grow_or_come_twice_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    written(path, {**members, "config.json": b" " * (1 << 25)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"config.json in .* has 33554432 bytes, more than the 16777216 that are read"):
        load_model(path)
    written(path, {**members, "model.weights.h5": bytes(1 << 27)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"model.weights.h5 in .* would grow from \d+ to 134217728 bytes"):
        load_model(path)
    written(path, members, compression=zipfile.ZIP_DEFLATED)
    assert load_model(path).built
    written(path, members, compression=zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match="compressed in a way that Keras's files are not"):
        load_model(path)
    written(path, members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", members["config.json"])
    with pytest.raises(ValueError, match=r"has config.json 2 times"):
        load_model(path)
    written(path, {**members, "../../escaped": b"x", "/tmp/absolute": b"x"})
    assert load_model(path).built
    assert os.listdir(tmp_path) == ["model.keras"]


def test_files_of_another_keras_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for text, error, match in (
        (b'{"keras_version": "2.13.1"}', ValueError, r"was written by Keras 2.13.1; files of Keras 3 are read"),
        (b"[1]", OSError, "metadata.json in .* isn't as Keras writes it"),
        (b"[" * 200000, OSError, "metadata.json in .* isn't as Keras writes it"),
    ):
        written(path, {**members, "metadata.json": text})
        with pytest.raises(error, match=match):
            load_model(path)
    del members["metadata.json"]
    written(path, members)
    assert load_model(path).built


def test_size_that_the_archive_lies_about_is_found_out(tmp_path):
    path = tmp_path / "model.keras"
    small().save(path)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02", 0, content.rfind(b"PK\x01\x02"))  # the directory's entry of config.json
    content[at + 20 : at + 28] = struct.pack("<II", 10**6, 10**6)
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"can't be read"):
        load_model(path)


# ------------------------------------------------------------------ HDF5 that is wrong


def changed_weights(path, change):
    """A file of weights of `small` that went through `change`; and a model with others."""
    small().save_weights(path)
    with h5py.File(path, "a") as file:
        change(file)
    return small()


def replace(file, **options):
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", **options)


def linked(link):
    def change(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = link

    return change


def linked_group(file):
    file.move("layers/dense", "elsewhere")
    file["layers/dense"] = h5py.SoftLink("/elsewhere")


def virtual(file):
    del file["layers/dense/vars/0"]
    layout = h5py.VirtualLayout(shape=(6, 7), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(6, 7))
    file.create_virtual_dataset("layers/dense/vars/0", layout)


WRONG = {
    "other shape": (lambda f: replace(f, data=np.zeros((7, 6))), r"has dense.*/kernel \(7, 6\) instead of \(6, 7\)"),
    "huge shape": (
        lambda f: replace(f, shape=(1 << 40, 1 << 20), dtype="f4", chunks=(1024, 1024)),
        r"kernel \(1099511627776, 1048576\) instead of \(6, 7\)",
    ),
    "scalar": (lambda f: replace(f, data=np.float32(0)), r"kernel \(\) instead of"),
    "empty": (lambda f: replace(f, data=h5py.Empty("f4")), "holds float32, where floats are needed|no numbers"),
    "integers": (lambda f: replace(f, data=np.zeros((6, 7), int)), "as int64; floats are needed"),
    "texts": (lambda f: replace(f, data=np.full((6, 7), b"abc")), r"holds \|S3, where floats are needed"),
    "objects": (lambda f: replace(f, shape=(6, 7), dtype=h5py.string_dtype()), "holds object, where floats are needed"),
    "variable length": (
        lambda f: replace(f, shape=(6, 7), dtype=h5py.vlen_dtype(np.float32)), "holds object, where floats are needed",
    ),
    "compound": (lambda f: replace(f, shape=(6, 7), dtype=[("a", "f4")]), "where floats are needed"),
    "complex": (lambda f: replace(f, data=np.zeros((6, 7), complex)), "holds complex128, where floats are needed"),
    "compressed": (lambda f: replace(f, data=np.zeros((6, 7)), compression="gzip"), r"compressed or filtered \(gzip\)"),
    "checksummed": (lambda f: replace(f, data=np.zeros((6, 7)), fletcher32=True), "is compressed or filtered"),
    "external storage": (
        lambda f: replace(f, shape=(6, 7), dtype="f4", external=[("/etc/passwd", 0, 168)]), "lie in another file",
    ),
    "virtual": (virtual, "lie in another file"),
    "soft link": (linked(h5py.SoftLink("/layers/dense_1/vars/0")), "by a link to another place or file, '0'"),
    "external link": (linked(h5py.ExternalLink("/etc/passwd", "/x")), "by a link to another place or file, '0'"),
    "soft link to a group": (linked_group, "by a link to another place or file, 'dense'"),
    "group in place of an array": (
        lambda f: (f.pop("layers/dense/vars/0"), f.create_group("layers/dense/vars/0")), "there is no array",
    ),
    "array in place of a group": (
        lambda f: (f.pop("layers/dense"), f.create_dataset("layers/dense", data=1.0)), "has 2 arrays, the file 0",
    ),
    "missing array": (lambda f: f.pop("layers/dense/vars/1"), "has 2 arrays, the file 1"),
    "missing layer": (lambda f: f.pop("layers/dense_1"), r"the file 0 \(there is no group layers/dense_1\)"),
    "more layers": (lambda f: f.create_dataset("layers/dense_2/vars/0", data=1.0), "it has the unknown dense_2"),
    "other names": (lambda f: f.move("layers/dense/vars/1", "layers/dense/vars/bias"), "numbers its arrays, 0 to 1"),
    "other layout": (lambda f: f.move("layers", "weights"), "something else than Keras|has 2 arrays, the file 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_refused_and_change_nothing(tmp_path, name):
    change, match = WRONG[name]
    path = tmp_path / "model.weights.h5"
    model = changed_weights(path, change)
    before = model.get_weights()
    with pytest.raises(ValueError, match=match):
        model.load_weights(path)
    assert equal(model.get_weights(), before)


def test_damaged_and_foreign_hdf5_is_refused(tmp_path):
    path = tmp_path / "model.weights.h5"
    model = small()
    before = model.get_weights()
    model.save_weights(path)
    content = path.read_bytes()
    for wrong in (b"", b"text", content[:100], content[: len(content) // 2], content[:-5], b"PK\x03\x04" + content):
        path.write_bytes(wrong)
        with pytest.raises(OSError, match="can't be read as an HDF5 file"):
            model.load_weights(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1.0
    with pytest.raises(ValueError, match="something else than Keras's save_weights"):
        model.load_weights(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        model.load_weights(tmp_path / "none.weights.h5")
    assert equal(model.get_weights(), before)


def test_random_damage_is_an_error_or_harmless(tmp_path):
    path = tmp_path / "model.weights.h5"
    model = small()
    model.save_weights(path)
    content, rng = path.read_bytes(), np.random.default_rng(4)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 8):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        before = model.get_weights()
        try:
            model.load_weights(path)
        except (OSError, ValueError):
            assert equal(model.get_weights(), before)


def test_optimizer_state_that_doesnt_fit_is_refused(tmp_path):
    model = small("adam")
    train(model)
    path = tmp_path / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def changed(change):
        content = io.BytesIO(members["model.weights.h5"])
        with h5py.File(content, "a") as file:
            change(file["optimizer/vars"])
        written(path, {**members, "model.weights.h5": content.getvalue()})

    changed(lambda group: group.pop("9"))
    with pytest.raises(ValueError, match="its optimizer has 9 arrays, where Adam has 10"):
        load_model(path)
    assert load_model(path, compile=False).optimizer is None

    def reshaped(group):
        del group["2"]
        group["2"] = np.zeros((3, 3))

    changed(reshaped)
    with pytest.raises(ValueError, match=r"has optimizer/0/dense/kernel \(3, 3\) instead of \(6, 7\)"):
        load_model(path)

    def floats(group):
        del group["0"]
        group["0"] = np.float32(3)

    changed(floats)
    with pytest.raises(ValueError, match="doesn't begin with the iterations and the learning rate"):
        load_model(path)


def test_normalization_takes_any_shape_that_keras_gives_it(tmp_path):
    def model(axis):
        layer = Normalization(axis=axis)
        layer.adapt(data()[0])
        return Sequential([Input((2, 3)), layer, Flatten(), Dense(2)])

    path = tmp_path / "model.weights.h5"
    for axis in (-1, None):
        made, other = model(axis), model(axis)
        made.save_weights(path)
        other.layers[0].set_weights([w * 0 for w in other.layers[0].get_weights()])
        other.load_weights(path)
        assert equal(other.get_weights(), made.get_weights())
    with h5py.File(path, "a") as file:
        for i in range(2):
            del file[f"layers/normalization/vars/{i}"]
            file[f"layers/normalization/vars/{i}"] = np.array([1.0, 2.0, 3.0])
    other.load_weights(path)
    assert other.layers[0].get_weights()[0].tolist() == [1, 2, 3, 1, 2, 3]


def test_description_of_every_neutral_argument_is_looked_at():
    loss = {"module": "keras.losses", "class_name": "MeanSquaredError", "registered_name": None}
    taken = keras_networks.compile_arguments({"optimizer": "sgd", "loss": {**loss, "config": {"reduction": "mean"}}})
    assert serialize(taken["loss"])["class_name"] == "MeanSquaredError"
    with pytest.raises(ValueError, match="compiled without a loss"):
        keras_networks.compile_arguments({"optimizer": "sgd"})
