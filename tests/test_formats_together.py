"""One network through several formats in a row, and what all of them do with paths."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

import fastmlp
from fastmlp.layers import BatchNormalization, Dense, Dropout, Flatten, Input, LayerNormalization, PReLU, Rescaling
from fastmlp.models import Sequential, load_model

WRITERS = {
    "model.keras": Sequential.save,
    "model.safetensors": Sequential.save,
    "model.weights.h5": Sequential.save_weights,
    "model.onnx": Sequential.export,
    "model.h": Sequential.export,
    "model.js": Sequential.export,
}
READERS = {
    "model.keras": load_model,
    "model.safetensors": load_model,
    "model.weights.h5": lambda path: small().load_weights(path),
    "model.onnx": fastmlp.models.from_onnx,
    "state.safetensors": lambda path: fastmlp.models.from_torch(path, "relu"),
}


def needs(name):
    if name.endswith((".keras", ".h5")):
        pytest.importorskip("h5py")
    if name.endswith(".onnx"):
        pytest.importorskip("onnx")


def small():
    return Sequential([Input((3,)), Dense(4, "relu"), Dense(2, "softmax")])


def trained(dtype="float32"):
    """A net of many kinds of layers behind a training, and samples."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((60, 2, 3)).astype(dtype), rng.integers(0, 3, 60)
    model = Sequential(
        [
            Input((2, 3)), Rescaling(0.5, 0.1), Flatten(), Dense(9, "tanh", name="größe"), BatchNormalization(),
            Dropout(0.2), Dense(7, use_bias=False), LayerNormalization(), PReLU(), Dense(3, "softmax"),
        ],
        dtype=dtype,
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=2, verbose=0)
    return model, x


# ---------------------------------------------------------------------------------------------- in a row


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keras_file_to_onnx_and_back_predicts_the_same(tmp_path, dtype):
    pytest.importorskip("h5py")
    pytest.importorskip("onnx")
    model, x = trained(dtype)
    model.save(tmp_path / "model.keras")
    load_model(tmp_path / "model.keras").export(tmp_path / "model.onnx")
    again = fastmlp.models.from_onnx(tmp_path / "model.onnx")
    assert again.dtype == dtype
    np.testing.assert_allclose(again.predict(x), model.predict(x), atol=1e-6 if dtype == "float32" else 1e-12)


def test_network_of_an_onnx_file_can_be_saved_to_all_others(tmp_path):
    pytest.importorskip("h5py")
    pytest.importorskip("onnx")
    model, x = trained()
    model.export(tmp_path / "model.onnx")
    read = fastmlp.models.from_onnx(tmp_path / "model.onnx")
    for name in ("again.keras", "again.safetensors"):
        read.save(tmp_path / name)
        assert (load_model(tmp_path / name).predict(x) == read.predict(x)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_keras_file_to_compiled_code_and_c_predicts_the_same(tmp_path, dtype):
    pytest.importorskip("h5py")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    model, x = trained(dtype)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.as_njit()(x), model.predict(x), atol=2e-6 if dtype == "float32" else 1e-12)

    loaded.export(tmp_path / "net.h")
    (tmp_path / "net.c").write_text('#include "net.h"\nvoid run(const float *x, float *out) { net_predict(x, out); }\n')
    library = tmp_path / "net.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", str(tmp_path / "net.c"), "-o", str(library), "-lm"], check=True)
    run, out = ctypes.CDLL(str(library)).run, np.zeros((len(x), 3), np.float32)
    for row, answer in zip(x.astype(np.float32), out):
        run(row.ctypes.data_as(ctypes.c_void_p), answer.ctypes.data_as(ctypes.c_void_p))
    np.testing.assert_allclose(out, model.predict(x), atol=2e-6)


def test_estimator_trained_without_zeros_can_be_exported(tmp_path):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    pytest.importorskip("sklearn")
    from fastmlp.sklearn import MLPClassifier

    x = scipy_sparse.random(120, 40, density=0.1, format="csr", dtype=np.float32, random_state=0)
    y = np.array(["nein", "ja/ß"])[(np.asarray(x.sum(axis=1)).ravel() > 2).astype(int)]
    estimator = MLPClassifier((8,), random_state=0, max_iter=5, tol=10, n_iter_no_change=2).fit(x, y)
    estimator.model_.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"input": x.toarray()})
    np.testing.assert_allclose(out, estimator.predict_proba(x)[:, 1:], atol=1e-6)


def test_weights_read_within_a_training_go_on_with_its_optimizer(tmp_path):
    pytest.importorskip("h5py")
    model, x = trained()
    model.save(tmp_path / "model.keras")
    kept, steps = model.get_weights(), model.optimizer.iterations
    model.fit(x, np.zeros(60), epochs=1, verbose=0)
    model.load_weights(tmp_path / "model.keras")
    assert all((a == b).all() for a, b in zip(model.get_weights(), kept))
    assert model.optimizer.iterations == 3 * steps // 2
    model.fit(x, np.zeros(60), epochs=1, verbose=0)
    assert model.optimizer.iterations == 2 * steps


def test_the_loss_of_estimators_is_named_where_keras_has_none(tmp_path):
    pytest.importorskip("h5py")
    model = small()
    model.compile("adam", fastmlp.losses.Canonical("softmax"))
    with pytest.raises(
        ValueError, match=r"the loss Canonical, which Keras doesn't have.* or compile with another loss"
    ):
        model.save(tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []
    model.save(tmp_path / "model.safetensors")
    assert type(load_model(tmp_path / "model.safetensors").loss) is fastmlp.losses.Canonical


# ---------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("name", WRITERS)
def test_writing_into_a_folder_that_is_not_there_names_the_folder(tmp_path, name):
    needs(name)
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere doesn't exist; make it first"):
        WRITERS[name](small(), tmp_path / "nowhere" / name)


@pytest.mark.parametrize("name", WRITERS)
def test_writing_to_a_folder_says_that_it_is_one(tmp_path, name):
    needs(name)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=f"{name} is a folder"):
        WRITERS[name](small(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", READERS)
def test_reading_a_folder_says_that_it_is_one(tmp_path, name):
    needs(name)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=f"{name} is a folder"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_reading_what_is_not_there_names_it(tmp_path, name):
    needs(name)
    with pytest.raises(FileNotFoundError, match=f"there is no file .*{name}"):
        READERS[name](tmp_path / name)
