"""Losses and metrics of a user's own."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp import losses, metrics, threads
from fastmlp.kernels import workers
from fastmlp.kernels._jit import JIT
from fastmlp.layers import Dense, Input

compiled = pytest.mark.skipif(not JIT, reason="without the compiler")


def squares(y_true, y_pred):
    return ((y_pred - y_true) ** 2).mean()


def squares_gradient(y_true, y_pred, out):
    out[:] = 2 * (y_pred - y_true) / y_pred.size


def crossentropy(y_true, y_pred):
    return -np.log(y_pred[int(y_true[0])])


def crossentropy_gradient(y_true, y_pred, out):
    label = int(y_true[0])
    out[label] = -1 / y_pred[label]


def net(last, dtype="float32", units=3, hidden=40):
    fastmlp.utils.set_random_seed(3)
    return fastmlp.Sequential([Input((6,)), Dense(hidden, "tanh"), Dense(units, last)], dtype=dtype)


def data(sparse=False, units=3):
    rng = np.random.default_rng(1)
    y = rng.integers(0, units, 75) if sparse else rng.uniform(0, 1, (75, units))
    return rng.standard_normal((75, 6)), y, rng.uniform(0, 2, 75)


def train(loss, last, dtype, sparse=False, weights=True, size=1, monkeypatch=None, **settings):
    """History, weights and results of a training by a team of that size."""
    if monkeypatch is not None:
        monkeypatch.setattr(threads, "WORTH", 1)
        monkeypatch.setattr(threads, "WORTH_WAKING", 1)
        monkeypatch.setattr(workers, "_limit", size)
    x, y, w = data(sparse)
    model = net(last, dtype)
    model.compile(fastmlp.optimizers.SGD(0.1, 0.9), loss, **settings)
    history = model.fit(x, y, sample_weight=w if weights else None, epochs=3, batch_size=32, verbose=0).history
    return history, model.get_weights(), model.evaluate(x, y, sample_weight=w, verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_own_squares_train_as_the_built_in_ones(monkeypatch, dtype, weights, size):
    if size > 1 and not JIT:
        pytest.skip("without the compiler there is one thread")
    own, built_in = (
        train(loss, "sigmoid", dtype, weights=weights, size=size, monkeypatch=monkeypatch)
        for loss in (losses.Custom(squares, squares_gradient), "mse")
    )
    np.testing.assert_allclose(own[0]["loss"], built_in[0]["loss"], rtol=1e-6)
    np.testing.assert_allclose(own[2], built_in[2], rtol=1e-6)
    for a, b in zip(own[1], built_in[1]):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@compiled
def test_own_loss_has_the_same_bits_for_any_number_of_threads(monkeypatch):
    loss = losses.Custom(squares, squares_gradient)
    one, two = (train(loss, None, "float32", size=size, monkeypatch=monkeypatch) for size in (1, 2))
    assert one[0] == two[0]
    assert all(np.array_equal(a, b) for a, b in zip(one[1], two[1]))


def test_own_crossentropy_of_class_indices_trains_as_the_built_in_one():
    own = train(losses.Custom(crossentropy, crossentropy_gradient, sparse=True), "softmax", "float64", sparse=True)
    built_in = train("sparse_categorical_crossentropy", "softmax", "float64", sparse=True)
    np.testing.assert_allclose(own[0]["loss"], built_in[0]["loss"], rtol=1e-9)
    for a, b in zip(own[1], built_in[1]):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


def test_own_metrics_count_beside_any_loss():
    own = metrics.Custom(squares, "own")
    history, _, results = train("mae", None, "float64", metrics=["mse", own], weighted_metrics=["mse", own])
    assert list(history) == ["loss", "mse", "own", "weighted_mse", "weighted_own"]
    np.testing.assert_allclose(history["own"], history["mse"], rtol=1e-12)
    np.testing.assert_allclose(history["weighted_own"], history["weighted_mse"], rtol=1e-12)
    np.testing.assert_allclose(results[2::2], results[1::2], rtol=1e-12)


def test_own_metric_of_class_indices():
    own = metrics.Custom(crossentropy, sparse=True)
    history, _, results = train("sparse_categorical_crossentropy", "softmax", "float64", True, False, metrics=[own])
    np.testing.assert_allclose(history["crossentropy"], history["loss"], rtol=1e-12)
    assert results[1] != results[0]  # the weights count in the loss only
    one_hot = net("softmax")
    one_hot.compile("sgd", "categorical_crossentropy", metrics=[own])
    x, y, _ = data(True)
    loss, value = one_hot.evaluate(x, np.eye(3)[y], verbose=0)
    assert value == pytest.approx(loss, rel=1e-6)


def test_loss_can_be_called_by_itself():
    loss = losses.Custom(squares, squares_gradient, name="own")
    y, p = [[1.0, 2.0], [0.0, 1.0], [1.0, 1.0]], [[1.0, 4.0], [3.0, 1.0], [1.0, 1.0]]
    assert loss(y, p) == pytest.approx((2 + 4.5) / 3)
    assert loss(y, p, [1.0, 2.0, 0.0]) == pytest.approx((2 + 9) / 3)
    assert repr(loss) == "Custom(name='own')"


@compiled
def test_compiled_functions_keep_their_options_and_may_call_others():
    @numba.njit(fastmath=True)
    def square(x):
        return x * x

    @numba.njit
    def value(y_true, y_pred):
        total = np.zeros(1, y_pred.dtype)  # allocates
        for j in range(y_pred.size):
            total[0] += square(y_pred[j] - y_true[j]) / y_pred.size
        return total[0]

    loss = losses.Custom(value, squares_gradient)
    assert loss.value is value
    own, built_in = (train(each, None, "float64") for each in (loss, "mse"))
    np.testing.assert_allclose(own[0]["loss"], built_in[0]["loss"], rtol=1e-12)


@pytest.mark.parametrize("last", [None, "relu", "sigmoid", "softmax", "log_softmax", "exponential"])
def test_right_gradients_pass_whatever_the_outputs(last):
    def absolute(y_true, y_pred):
        return np.abs(y_pred - y_true).sum()

    def absolute_gradient(y_true, y_pred, out):
        out[:] = np.sign(y_pred - y_true)

    net(last).compile("sgd", losses.Custom(absolute, absolute_gradient))
    if last in ("sigmoid", "softmax", "exponential"):
        net(last).compile("sgd", losses.Custom(crossentropy, crossentropy_gradient, sparse=True))


def test_wrong_gradient_is_found_when_the_model_is_compiled():
    def wrong(y_true, y_pred, out):
        out[:] = y_pred - y_true
        out[1] = 0

    model = net(None)
    with pytest.raises(
        ValueError,
        match=r"the gradient of loss 'squares' is wrong: for y_true=\[.*\] and y_pred=\[.*\] it is "
        r"-?[\d.]+ by y_pred\[0\], but value changes by -?[\d.]+ per unit. Correct one of them, or pass check_gradient",
    ):
        model.compile("sgd", losses.Custom(squares, wrong))
    assert model.loss is None
    model.compile("sgd", losses.Custom(squares, wrong, check_gradient=False))
    later = fastmlp.Sequential()
    later.compile("sgd", losses.Custom(squares, wrong))
    later.add(Dense(3))
    with pytest.raises(ValueError, match="is wrong"):
        later.fit(*data()[:2], verbose=0)


def test_check_draws_nothing_from_the_generator():
    model = net(None)
    before = fastmlp.random.generator().bit_generator.state
    model.compile("sgd", losses.Custom(squares, squares_gradient))
    assert fastmlp.random.generator().bit_generator.state == before


@compiled
def test_what_cant_be_compiled_is_told_in_one_line():
    def unknown(y_true, y_pred):
        return nothing_of_the_kind(y_pred)  # noqa: F821

    def text(y_true, y_pred):
        return "a"

    def several(y_true, y_pred):
        return y_pred

    model = net(None)
    with pytest.raises(
        ValueError, match=r"^loss 'unknown' can't be compiled: NameError: name 'nothing_of_the_kind'.*$"
    ):
        model.compile("sgd", losses.Custom(unknown, squares_gradient))
    for function in (text, several):
        with pytest.raises(ValueError, match=r"^loss 'own' can't be compiled: [^\n]+$") as error:
            model.compile("sgd", losses.Custom(function, squares_gradient, name="own"))
        print(error.value)
    with pytest.raises(ValueError, match=r"^metric 'unknown' can't be compiled: [^\n]+$"):
        model.compile("sgd", "mse", metrics=[metrics.Custom(unknown)])
    narrow = numba.njit("float32(float32[::1], float32[::1])")(squares)
    with pytest.raises(
        ValueError, match=r"fails on float64 arrays, on which its gradient is checked: .*check_gradient"
    ):
        model.compile("sgd", losses.Custom(narrow, squares_gradient))
    model.compile("sgd", losses.Custom(narrow, squares_gradient, check_gradient=False))
    assert np.isfinite(model.fit(*data()[:2], verbose=0).history["loss"][0])


@compiled
def test_exception_within_makes_the_loss_nan():
    def value(y_true, y_pred):
        if y_pred.size == 3:
            raise ValueError("never")
        return 0.0

    model = net(None)
    model.compile("sgd", losses.Custom(value, squares_gradient, check_gradient=False))
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        model.fit(*data()[:2], verbose=0)


def test_arguments_are_checked():
    with pytest.raises(TypeError, match="value must be a function, got 3"):
        losses.Custom(3, squares_gradient)
    with pytest.raises(TypeError, match="gradient must be a function, got None"):
        losses.Custom(squares, None)
    with pytest.raises(TypeError, match="value must be a function, got 'mse'"):
        metrics.Custom("mse")
    model, (x, y, _) = net("softmax"), data(True)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metrics.Custom(squares)])
    with pytest.raises(ValueError, match=r"metric 'squares' takes a target for each unit but y holds class indices"):
        model.evaluate(x, y, verbose=0)
    one = net(None, units=1)
    one.compile("sgd", "mse", metrics=[metrics.Custom(crossentropy, sparse=True)])
    with pytest.raises(ValueError, match="takes class indices, sparse=True, but y has a value for one unit"):
        one.evaluate(x, y, verbose=0)


def test_functions_cant_be_kept_in_files(tmp_path):
    path = tmp_path / "model.safetensors"
    model = net(None)
    model.compile("sgd", losses.Custom(squares, squares_gradient))
    with pytest.raises(
        ValueError, match=r"loss 'squares' is made of functions, .* keep the weights by model.save_weig"
    ):
        model.save(path)
    model.compile("sgd", "mse", metrics=[metrics.Custom(squares)])
    with pytest.raises(ValueError, match="metric 'squares' is made of functions, which can't be kept in a file"):
        model.save(path)
    model.save_weights(path)
    for get in (losses.get, metrics.get):
        with pytest.raises(ValueError, match="'x' is made of functions"):
            get({"class_name": "Custom", "config": {"name": "x"}})


@compiled
def test_works_without_the_compiler():
    tests = ["squares_train_as and float64 and 1-", "own_metrics", "class_indices", "wrong_gradient"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", " or ".join(
        f"({part})" for part in tests)]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
