"""What has the same bits: beside what stands in docs/reproducibility, one test for each of its lines."""

import json
import os
import subprocess
import sys

import golden
import numpy as np
import pytest
from tolerance import tolerance

import fastmlp
from fastmlp import callbacks, layers, threads, training

ROOT = os.path.dirname(os.path.dirname(__file__))
RNG = np.random.default_rng(2)
X, Y = RNG.standard_normal((700, 40)), RNG.integers(0, 4, 700)
DTYPES = ("float32", "float64")


def net(dtype="float32", seed=1, optimizer="adam"):
    fastmlp.set_random_seed(seed)
    hidden = [layers.Dense(64, activation="relu"), layers.Dropout(0.3), layers.Dense(24, activation="tanh")]
    model = fastmlp.Sequential([layers.Input((40,)), *hidden, layers.Dense(4, activation="softmax")], dtype=dtype)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


def bits(model, history=None):
    told = "" if history is None else json.dumps(history.history)
    return b"".join(w.tobytes() for w in model.get_weights()) + told.encode()


def trained(dtype="float32", *watchers, x=X, optimizer="adam"):
    """Bits of weights and losses behind two epochs with validation."""
    model = net(dtype, optimizer=optimizer)
    data = {"x": x if x.dtype != np.float64 else x.astype(dtype), "y": Y}
    return bits(model, model.fit(**data, epochs=2, verbose=0, validation_split=0.2, callbacks=list(watchers)))


# ------------------------------------------------------------------ golden digests


@pytest.mark.parametrize("name", golden.JOBS)
def test_weights_have_the_digests_that_they_always_had(name):
    known = json.loads(golden.FILE.read_text()).get(golden.key())
    if known is None:
        pytest.skip(f"tests/golden.json has no {golden.key()!r}; add what `python tests/golden.py` prints")
    assert golden.JOBS[name]() == known[name], (
        f"the bits of {name!r} have changed on {golden.key()}; see the top of tests/golden.py for when they may"
    )


def test_every_platform_has_a_digest_for_every_job():
    for key, known in json.loads(golden.FILE.read_text()).items():
        assert known.keys() == golden.JOBS.keys(), key


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_NUM_THREADS": "1", "FASTMLP_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
        {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
    ],
    ids=["one thread", "many"],
)
def test_digests_are_those_of_a_process_of_its_own_with_other_settings(environment):
    code = "import golden, json; print(json.dumps([golden.digests(), golden.digests()]))"
    path = os.pathsep.join([ROOT, os.path.join(ROOT, "tests")])
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    first, second = json.loads(run.stdout)
    assert first == second == golden.digests()


def test_digest_is_the_same_behind_another_training():
    expected = golden.digests()
    model = net(seed=77)
    model.fit(X, Y, verbose=0)
    model.predict(X)
    assert golden.digests() == expected


# ------------------------------------------------------------------ on one machine


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_same_seed_has_the_same_bits(dtype, optimizer):
    assert trained(dtype, optimizer=optimizer) == trained(dtype, optimizer=optimizer)
    assert trained("float32", optimizer=optimizer) != trained("float64", optimizer=optimizer)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_threads_has_the_same_bits(monkeypatch, dtype):
    monkeypatch.setattr(threads, "WORTH", 1)
    monkeypatch.setattr(threads, "WORTH_WAKING", 1)
    found = set()
    for count in (1, 2, 3, 5):
        monkeypatch.setattr(threads, "get_num_threads", lambda count=count: count)
        found.add(trained(dtype))
    assert len(found) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_callbacks_of_batches_have_the_bits_of_whole_epochs(dtype):
    class Batches(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    assert trained(dtype, Batches()) == trained(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_length_of_slices_has_the_same_bits(monkeypatch, dtype):
    expected = trained(dtype)
    monkeypatch.setattr(training, "_FIRST_SLICE", 1.0)
    monkeypatch.setattr(threads, "_SLICE", 1e-5)
    assert trained(dtype) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_train_on_batch_has_the_bits_of_an_epoch_without_shuffling(dtype):
    whole = net(dtype)
    whole.fit(X, Y, batch_size=100, shuffle=False, verbose=0)
    single = net(dtype)
    for first in range(0, 700, 100):
        single.train_on_batch(X[first : first + 100], Y[first : first + 100])
    assert bits(whole) == bits(single)


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_have_the_same_bits_in_pieces_of_any_size(monkeypatch, dtype):
    model = net(dtype)
    model.fit(X, Y, verbose=0)
    expected = model.predict(X)
    for size in (1, 7, 64, 699):
        pieces = [model.predict(X[first : first + size]) for first in range(0, 700, size)]
        assert np.concatenate(pieces).tobytes() == expected.tobytes()
    monkeypatch.setattr(training, "_ROWS_PER_THREAD", 16)
    monkeypatch.setattr(training, "_AT_FIRST", 1.0)
    monkeypatch.setattr(training, "_SLICE", 0.0)
    again = net(dtype)
    again.set_weights(model.get_weights())
    assert again.predict(X).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_files_in_slices_are_trained_and_predicted_with_the_bits_of_arrays(tmp_path, monkeypatch, dtype):
    np.save(tmp_path / "x.npy", X.astype(np.float16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    whole = net(dtype)
    expected = bits(whole, whole.fit(np.array(mapped), Y, verbose=0))
    monkeypatch.setattr(training, "_SLICE_BYTES", 8 * 40 * 32 * 3)
    sliced = net(dtype)
    assert bits(sliced, sliced.fit(mapped, Y, verbose=0)) == expected
    assert sliced.predict(mapped).tobytes() == whole.predict(np.array(mapped)).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_evaluation_in_slices_differs_by_the_rounding_of_a_sum_in_double(tmp_path, monkeypatch, dtype):
    np.save(tmp_path / "x.npy", X.astype(np.float16))
    mapped, model = np.load(tmp_path / "x.npy", mmap_mode="r"), net(dtype)
    whole = model.evaluate(np.asarray(mapped), Y, verbose=0)
    monkeypatch.setattr(training, "_SLICE_BYTES", 8 * 40 * 32 * 3)
    # The losses are summed in lanes of the vectors' type, a batch's lanes then in double: a slice begins new ones.
    np.testing.assert_allclose(model.evaluate(mapped, Y, verbose=0)[0], whole[0], rtol=tolerance(dtype, 700, 1))
    assert model.evaluate(mapped, Y, verbose=0)[1] == whole[1]


# ------------------------------------------------------------------ other vectors


def forward_bound(weights, x, dtype):
    """Outputs in float64 before softmax, and how far those of the kernels may lie from them.

    A layer of k inputs errs by gamma (|x| . |w| + |b|), and hands on what its inputs were off, times |w|. relu and tanh
    change no error into a larger one; tanh adds some roundings of its own.
    """
    eps = np.finfo(dtype).eps
    a, off = x.astype(np.float64), np.zeros(x.shape)
    for i in range(0, len(weights), 2):
        w, b = weights[i].astype(np.float64), weights[i + 1].astype(np.float64)
        own = tolerance(dtype, len(w) + 1, np.abs(a) @ np.abs(w) + np.abs(b))
        a, off = a @ w + b, off @ np.abs(w) + own
        if i == 0:
            a = np.maximum(a, 0)
        elif i == 2:
            a, off = np.tanh(a), off + 4 * eps
    return a, off


_ELSEWHERE = """
import sys, numpy as np, fastmlp
from fastmlp import layers
from fastmlp.kernels._jit import VECTORS
kept = np.load(sys.argv[1])
dtype = str(kept["dtype"])
hidden = [layers.Dense(64, activation="relu"), layers.Dense(24, activation="tanh")]
model = fastmlp.Sequential([layers.Input((40,)), *hidden, layers.Dense(4)], dtype=dtype)
model.set_weights([kept[f"w{i}"] for i in range(6)])
np.savez(sys.argv[2], z=model.predict(kept["x"]), vectors=VECTORS)
"""

VECTORS = {
    "sse2": "+sse2",
    "avx2": "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt",
}


@pytest.mark.long
@pytest.mark.skipif(golden.platform.machine() != "x86_64", reason="sets features of x86-64")
@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_vectors_predict_within_the_roundings_of_the_sums(tmp_path, vectors, dtype):
    model = net(dtype)
    model.fit(X, Y, epochs=3, verbose=0)
    weights, x = model.get_weights(), X.astype(dtype)
    np.savez(tmp_path / "in.npz", x=x, dtype=dtype, **{f"w{i}": w for i, w in enumerate(weights)})
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": VECTORS[vectors], "PYTHONPATH": ROOT}
    arguments = [str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ELSEWHERE, *arguments],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    there = np.load(tmp_path / "out.npz")
    assert str(there["vectors"]) == vectors
    exact, off = forward_bound(weights, x, dtype)
    assert (np.abs(there["z"].astype(np.float64) - exact) <= off).all()
    linear = fastmlp.Sequential(
        [layers.Input((40,)), layers.Dense(64, "relu"), layers.Dense(24, "tanh"), layers.Dense(4)], dtype=dtype
    )
    linear.set_weights(weights)
    assert (np.abs(there["z"].astype(np.float64) - linear.predict(x)) <= 2 * off).all()


def test_digests_of_avx2_are_those_of_avx512():
    known = json.loads(golden.FILE.read_text())
    assert known["x86_64 avx2"] == known["x86_64 avx512f"]
