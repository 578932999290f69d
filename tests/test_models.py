import io
import threading

import numpy as np
import pytest

import fastmlp
from fastmlp.layers import Activation, BatchNormalization, Dense, Dropout, Flatten, Input, InputLayer
from fastmlp.optimizers import SGD


def fit(model, x, y=None, **settings):
    return model.fit(x, y, verbose=0, **settings).history


def test_training_separates_the_blobs(classifier, blobs):
    x, y = blobs
    classifier.compile(optimizer=SGD(0.5), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = fit(classifier, x, y, epochs=60)
    assert history["loss"][-1] < 0.1 < history["loss"][0]
    assert history["accuracy"][-1] > 0.97


def test_same_seed_gives_the_same_bits(blobs):
    x, y = blobs
    runs = []
    for _ in range(2):
        fastmlp.utils.set_random_seed(3)
        model = fastmlp.Sequential([Dense(6, activation="tanh"), Dense(3, activation="softmax")])
        model.compile(optimizer=SGD(0.1, 0.9), loss="sparse_categorical_crossentropy")
        fit(model, x, y, epochs=3)
        runs.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*runs))


def test_training_leaves_the_callers_random_state(classifier, blobs):
    import random

    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    fit(classifier, *blobs, epochs=2)
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert random.getstate() == before[1]


def test_history_has_sorted_names_and_one_value_per_epoch(classifier, blobs):
    history = classifier.fit(*blobs, epochs=3, validation_split=0.2, verbose=0)
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 3 and isinstance(values[0], float) for values in history.history.values())
    assert history.epoch == [0, 1, 2]
    assert history.params == {"verbose": 0, "epochs": 3, "steps": 3}
    assert classifier.history is history


def test_initial_epoch_goes_on_counting(classifier, blobs):
    assert classifier.fit(*blobs, epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]
    assert classifier.fit(*blobs, epochs=0, verbose=0).history == {}


def test_validation_split_takes_the_last_rows(classifier, blobs):
    x, y = blobs
    split = fit(classifier, x, y, validation_split=0.25, shuffle=False)
    loss, accuracy = classifier.evaluate(x[90:], y[90:], verbose=0)
    assert split["val_loss"][0] == pytest.approx(loss, rel=1e-6)
    assert split["val_accuracy"][0] == pytest.approx(accuracy)


def test_validation_data_wins_over_validation_split(classifier, blobs):
    x, y = blobs
    history = classifier.fit(x, y, validation_split=0.25, validation_data=(x[:7], y[:7]), verbose=0)
    assert history.params["steps"] == 4
    assert history.history["val_loss"][0] == pytest.approx(classifier.evaluate(x[:7], y[:7], verbose=0)[0], rel=1e-6)


def test_evaluate_returns_list_scalar_or_dict(classifier, blobs):
    x, y = blobs
    results = classifier.evaluate(x, y, verbose=0)
    assert isinstance(results, list)
    assert len(results) == 2
    assert classifier.evaluate(x, y, verbose=0, return_dict=True) == dict(zip(["loss", "accuracy"], results))
    classifier.compile(loss="sparse_categorical_crossentropy")
    assert classifier.evaluate(x, y, verbose=0) == results[0]


def test_metric_keeps_the_name_the_user_typed(classifier, blobs):
    classifier.compile(
        loss="sparse_categorical_crossentropy", metrics=["acc", fastmlp.metrics.SparseCategoricalAccuracy()]
    )
    assert list(fit(classifier, *blobs)) == ["acc", "loss", "sparse_categorical_accuracy"]


def test_predict_is_call_and_rows_do_not_depend_on_their_batch(classifier, blobs):
    x, _ = blobs
    p = classifier.predict(x)
    assert p.shape == (120, 3)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert np.array_equal(classifier(x), p)
    assert np.array_equal(np.concatenate([classifier.predict(row[None]) for row in x]), p)


def test_compiling_again_keeps_the_weights_and_restarts_the_optimizer(classifier, blobs):
    classifier.compile(optimizer=SGD(0.1, momentum=0.9), loss="sparse_categorical_crossentropy")
    fit(classifier, *blobs)
    before = classifier.get_weights()
    classifier.compile(optimizer="SGD", loss="Categorical_Crossentropy")
    assert all(np.array_equal(a, b) for a, b in zip(before, classifier.get_weights()))


def test_momentum_goes_on_over_two_calls_of_fit(blobs):
    x, y = blobs
    weights = []
    for calls in ([2], [1, 1]):
        fastmlp.utils.set_random_seed(0)
        model = fastmlp.Sequential([Input((5,)), Dense(3, activation="softmax")])
        model.compile(optimizer=SGD(0.1, momentum=0.9), loss="sparse_categorical_crossentropy")
        for epochs in calls:
            fit(model, x, y, epochs=epochs, shuffle=False)
        weights.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights))


def test_learning_rate_may_change_between_calls(classifier, blobs):
    classifier.optimizer.learning_rate = 0.0
    before = classifier.get_weights()
    fit(classifier, *blobs)
    assert all(np.array_equal(a, b) for a, b in zip(before, classifier.get_weights()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_model_computes_in_its_dtype(blobs, dtype):
    model = fastmlp.Sequential([Input((5,)), Dense(3, activation="softmax")], dtype=dtype)
    model.compile(loss="sparse_categorical_crossentropy")
    fit(model, *blobs)
    assert model.predict(blobs[0]).dtype == dtype
    assert all(w.dtype == dtype for w in model.get_weights())


def test_floatx_sets_the_dtype_of_new_models():
    fastmlp.config.set_floatx("float64")
    try:
        assert fastmlp.Sequential().dtype == np.float64
    finally:
        fastmlp.config.set_floatx("float32")
    with pytest.raises(ValueError, match="float16"):
        fastmlp.config.set_floatx("float16")


def test_weights_are_copied_out_and_in(classifier):
    weights = classifier.get_weights()
    assert [w.shape for w in weights] == [(5, 8), (8,), (8, 3), (3,)]
    weights[0][:] = 7
    assert not (classifier.get_weights()[0] == 7).any()
    classifier.set_weights(weights)
    assert (classifier.layers[0].kernel == 7).all()
    with pytest.raises(ValueError, match=r"\(5, 8\)"):
        classifier.set_weights(weights[:2])
    with pytest.raises(ValueError, match=r"\(8, 5\)"):
        classifier.set_weights([weights[0].T, *weights[1:]])


def test_model_without_an_input_layer_is_built_by_the_data(blobs):
    model = fastmlp.Sequential([Dense(4, activation="relu"), Dense(3, activation="softmax")])
    assert not model.built
    with pytest.raises(RuntimeError, match="InputLayer"):
        model.summary()
    model.compile(loss="sparse_categorical_crossentropy")
    fit(model, *blobs)
    assert model.input_shape == (None, 5)
    assert model.output_shape == (None, 3)


def test_weights_stay_when_a_layer_is_added():
    model = fastmlp.Sequential([Input((5,)), Dense(4)])
    first = model.get_weights()
    model.add(Dense(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, model.get_weights()))
    assert model.predict(np.ones((1, 5))).shape == (1, 2)


def test_layer_without_bias_never_gets_one(blobs):
    model = fastmlp.Sequential([Input((5,)), Dense(3, activation="softmax", use_bias=False)])
    model.compile(optimizer=SGD(0.1), loss="sparse_categorical_crossentropy")
    fit(model, *blobs, epochs=2)
    assert [w.shape for w in model.get_weights()] == [(5, 3)]
    x = np.zeros((1, 5), np.float32)
    np.testing.assert_allclose(model.predict(x), 1 / 3, rtol=1e-6)


@pytest.mark.parametrize(
    "convert", [list, lambda x: x.astype(np.float64), np.asfortranarray, lambda x: x[:, ::-1][:, ::-1]]
)
def test_any_array_that_numpy_reads_is_taken(classifier, blobs, convert):
    x, y = blobs
    expected = classifier.predict(x)
    np.testing.assert_allclose(classifier.predict(convert(x)), expected, rtol=1e-6)
    fit(classifier, convert(x), list(y))


def test_pandas_frames_are_taken(classifier, blobs):
    pandas = pytest.importorskip("pandas")
    x, y = blobs
    fit(classifier, pandas.DataFrame(x), pandas.Series(y))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16])
def test_integers_and_small_floats_are_taken_as_they_are(classifier, dtype):
    x = np.arange(10).reshape(2, 5).astype(dtype)
    np.testing.assert_allclose(classifier.predict(x), classifier.predict(x.astype(np.float32)), rtol=1e-6)


def test_a_row_that_lies_in_any_way_takes_the_short_way(classifier, blobs, monkeypatch):
    row = blobs[0][:1]
    expected = classifier.predict(row)
    monkeypatch.setattr(classifier._runner, "run", None)  # the long way
    shifted = np.frombuffer(b"." + row.tobytes(), np.uint8)[1:].view(np.float32).reshape(1, 5)
    for kind, same in {
        "of a request": np.frombuffer(row.tobytes(), np.float32).reshape(1, 5),
        "between others": np.repeat(row, 2, axis=1)[:, ::2],
        "not aligned": shifted,
    }.items():
        np.testing.assert_array_equal(classifier.predict(same), expected, kind)


def test_read_only_input_is_taken_and_not_changed(classifier, blobs):
    x, y = (a.copy() for a in blobs)
    x.flags.writeable = y.flags.writeable = False
    before = x.copy()
    compiled = len(getattr(fastmlp.kernels.epoch.run, "signatures", ()))
    fit(classifier, x, y, validation_split=0.2)
    classifier.predict(x)
    classifier.evaluate(x, y, verbose=0)
    assert np.array_equal(x, before)
    # Numba's type of a read-only array is another one; the kernels are not compiled again for it.
    assert len(getattr(fastmlp.kernels.epoch.run, "signatures", ())) <= max(compiled, 1)


def test_mostly_zero_rows_train_like_dense_ones():
    rng = np.random.default_rng(0)
    x = (rng.random((64, 30)) * (rng.random((64, 30)) < 0.2)).astype(np.float32)
    y = rng.integers(0, 3, 64)
    weights = []
    for offset in (0.0, 1e-30):  # the second has no zeros left, so it takes the dense way
        fastmlp.utils.set_random_seed(0)
        model = fastmlp.Sequential([Input((30,)), Dense(17, activation="tanh"), Dense(3, activation="softmax")])
        model.compile(optimizer=SGD(0.5), loss="sparse_categorical_crossentropy")
        fit(model, x + np.float32(offset), y, epochs=5)
        weights.append(model.get_weights())
    for a, b in zip(*weights):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_step_predicts_but_can_not_be_trained_through(blobs):
    model = fastmlp.Sequential([Input((5,)), Dense(4, activation="step"), Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    assert model.predict(blobs[0]).shape == (120, 3)
    with pytest.raises(ValueError, match="has no gradient"):
        fit(model, *blobs)


def test_divergence_ends_with_a_message_and_keeps_the_history():
    x = np.linspace(0, 100, 64, dtype=np.float32)[:, None]
    model = fastmlp.Sequential([Input((1,)), Dense(1)])
    model.compile(optimizer=SGD(1.0), loss="mse")
    says = (
        r"diverged in epoch \d+, batch \d: .* Layer 'dense.*' has the largest weights, up to .* learning_rate \(now 1\)"
    )
    with pytest.raises(FloatingPointError, match=says):
        fit(model, x, x[:, 0], epochs=50)
    assert len(model.history.epoch) < 50


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_batch_whose_loss_is_not_finite_changes_nothing_and_is_named(optimizer):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(96, 4)).astype(np.float32), rng.normal(size=(96, 1)).astype(np.float32)
    y[70] = 1e25  # its square is beyond float32
    model = fastmlp.Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(1)])
    other = fastmlp.Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(1)])
    other.set_weights(model.get_weights())
    model.compile(optimizer=optimizer, loss="mse")
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 5: the loss is inf"):
        fit(model, x, y, batch_size=16, shuffle=False)
    other.compile(optimizer=optimizer, loss="mse")
    fit(other, x[:64], y[:64], batch_size=16, shuffle=False)
    for own, expected in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(own, expected)
    assert model.optimizer.iterations == 4
    assert model.train_on_batch(x[64:80], y[64:80]) == np.inf
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])


def test_weights_that_are_not_finite_are_named():
    model = fastmlp.Sequential([Input((2,)), Dense(3, name="first"), Dense(1, name="second")])
    model.compile(optimizer="sgd", loss="mse")
    model.layers[1].kernel[1, 0] = np.nan
    with pytest.raises(FloatingPointError, match=r"batch 1: .* Layer 'second' has weights that are not finite"):
        fit(model, np.ones((8, 2)), np.ones(8))


def test_two_fits_on_one_model_are_refused(classifier, blobs):
    def again(*_):
        with pytest.raises(RuntimeError, match="another thread"):
            fit(classifier, *blobs)
        with pytest.raises(RuntimeError, match="another thread"):
            classifier.train_on_batch(*blobs)
        tried.append(True)

    tried = []
    fit(classifier, *blobs, callbacks=[fastmlp.callbacks.LambdaCallback(on_epoch_end=again)])
    assert tried
    fit(classifier, *blobs)
    classifier.train_on_batch(*blobs)


def test_predict_from_many_threads_gives_the_serial_answer(classifier, blobs):
    x, _ = blobs
    expected, wrong = classifier.predict(x), []

    def work():
        wrong.extend(1 for _ in range(20) if not np.array_equal(classifier.predict(x), expected))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_nothing_changes_in_the_model_when_the_data_are_wrong(classifier, blobs):
    x, y = blobs
    before = classifier.get_weights()
    for bad_x, bad_y in [(x[:, :4], y), (x, y[:-1]), (x, y + 1), (x[:0], y[:0])]:
        with pytest.raises(ValueError, match=r"x|y"):
            fit(classifier, bad_x, bad_y)
    unbuilt = fastmlp.Sequential([Dense(3, activation="softmax")])
    unbuilt.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="label 3"):
        fit(unbuilt, x, y + 1)
    assert not unbuilt.built
    assert all(np.array_equal(a, b) for a, b in zip(before, classifier.get_weights()))


# ---------------------------------------------------------------------------------------------- messages


def test_layers_are_checked_when_they_are_added():
    model = fastmlp.Sequential([InputLayer(input_shape=(28, 28))])
    with pytest.raises(ValueError, match=r"put Flatten\(\) before it"):
        model.add(Dense(3))
    model.add(Flatten())
    layer = Dense(3)
    model.add(layer)
    with pytest.raises(ValueError, match="in a model already"):
        model.add(layer)
    with pytest.raises(ValueError, match="only be the first"):
        model.add(Input((3,)))
    with pytest.raises(TypeError, match="expected a layer"):
        model.add("dense")


def test_model_without_dense_layers_says_so():
    model = fastmlp.Sequential([Flatten()])
    with pytest.raises(ValueError, match="no Dense layer"):
        model.predict(np.ones((2, 3)))


@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_calls_before_compile_say_so(call, blobs):
    model = fastmlp.Sequential([Input((5,)), Dense(3)])
    with pytest.raises(RuntimeError, match=r"You must call `compile\(\)`"):
        getattr(model, call)(*blobs)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"loss": "mee"}, ValueError, "did you mean 'mse'"),
        ({"loss": None}, ValueError, "needs a loss"),
        ({"loss": 3}, TypeError, "a name or a Loss"),
        ({"loss": "mse", "optimizer": "adamm"}, ValueError, "optimizer 'adamm' is unknown"),
        ({"loss": "mse", "metrics": ["acuracy"]}, ValueError, "did you mean 'accuracy'"),
        ({"loss": "mse", "metrics": "accuracy"}, TypeError, r"metrics=\['accuracy'\]"),
    ],
)
def test_compile_names_what_is_wrong(settings, kind, message):
    model = fastmlp.Sequential([Input((5,)), Dense(3)])
    with pytest.raises(kind, match=message):
        model.compile(**settings)
    assert model.loss is None


def test_categorical_loss_over_one_unit_is_refused():
    model = fastmlp.Sequential([Input((5,)), Dense(1, activation="sigmoid")])
    with pytest.raises(ValueError, match="binary_crossentropy"):
        model.compile(loss="sparse_categorical_crossentropy")


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer"),
        ({"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
        ({"validation_split": 1.5}, ValueError, "between 0 and 1"),
        ({"validation_split": 1.0}, ValueError, "between 0 and 1"),
        ({"validation_split": -0.1}, ValueError, "between 0 and 1"),
        ({"validation_split": 0.999}, ValueError, "not enough"),
        ({"validation_split": "a"}, TypeError, "must be a number"),
        ({"validation_data": 3}, ValueError, r"must be \(x_val, y_val\)"),
        ({"verbose": 7}, ValueError, "verbose"),
        ({"shuffle": "batch"}, TypeError, "shuffle must be True or False"),
    ],
)
def test_fit_names_the_setting_that_is_wrong(classifier, blobs, settings, kind, message):
    with pytest.raises(kind, match=message):
        classifier.fit(*blobs, **settings)


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (np.ones((4, 6)), ValueError, r"shape \(4, 6\) but the model was built for samples of shape \(5,\)"),
        (np.ones(5), ValueError, r"x\[None\]"),
        (np.ones((0, 5)), ValueError, "x is empty"),
        (np.array([["a"] * 5]), TypeError, "strings"),
        (np.ones((2, 5), complex), TypeError, "complex"),
        (np.array([[object()] * 5]), TypeError, "no numbers"),
        ([[1, 2], [3]], ValueError, "differ in length"),
        (np.array([[1.0] * 5, [1, np.nan, 1, 1, 1]]), ValueError, "nan in row 1"),
        (np.array([[np.inf] * 5]), ValueError, "inf in row 0"),
        (np.ma.masked_array(np.ones((2, 5)), mask=True), ValueError, "masked"),
    ],
)
def test_wrong_samples_are_named(classifier, x, kind, message):
    with pytest.raises(kind, match=message):
        classifier.predict(x)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("categorical_crossentropy", [0, 1, 2], r"(?s)sparse_categorical_crossentropy.*to_categorical"),
        ("sparse_categorical_crossentropy", np.eye(3), r"(?s)categorical_crossentropy.*argmax.*to_categorical"),
        ("sparse_categorical_crossentropy", [0, 1, 3], r"label 3 in row 2.*from 0 to 2"),
        ("sparse_categorical_crossentropy", [0, -1, 2], r"label -1 in row 1"),
        ("sparse_categorical_crossentropy", [0, 1.5, 2], r"label 1.5 in row 1"),
        ("sparse_categorical_crossentropy", [0, np.nan, 2], r"nan in row 1"),
        ("sparse_categorical_crossentropy", [0, 1], "x has 3 samples but y has 2 targets"),
        ("mse", np.ones(3), r"mean_squared_error compares it with the last layer's 3 units"),
        ("mse", np.full((3, 3), np.inf), "inf in row 0"),
    ],
)
def test_wrong_targets_are_named(classifier, loss, y, message):
    classifier.compile(loss=loss)
    with pytest.raises(ValueError, match=message):
        classifier.fit(np.ones((3, 5)), y, verbose=0)
    with pytest.raises(ValueError, match=message):
        classifier.evaluate(np.ones((3, 5)), y, verbose=0)


@pytest.mark.parametrize(
    ("metric", "loss", "message"),
    [
        ("sparse_categorical_accuracy", "mse", "categorical_accuracy"),
        ("categorical_accuracy", "sparse_categorical_crossentropy", "sparse_categorical_accuracy"),
        ("mae", "sparse_categorical_crossentropy", "to_categorical"),
    ],
)
def test_metric_that_does_not_fit_the_targets_is_refused(classifier, metric, loss, message):
    classifier.compile(loss=loss, metrics=[metric])
    y = [0, 1] if "sparse" in loss else np.eye(3)[:2]
    with pytest.raises(ValueError, match=message):
        classifier.fit(np.ones((2, 5)), y, verbose=0)


def test_accuracy_is_binary_for_one_unit_and_categorical_for_one_hot_rows(blobs):
    x, y = blobs
    model = fastmlp.Sequential([Input((5,)), Dense(1)])
    model.compile(loss="mse", metrics=["accuracy"])
    p = model.predict(x)[:, 0]
    assert model.evaluate(x, y > 0, verbose=0)[1] == pytest.approx(((p > 0.5) == (y > 0)).mean())
    model = fastmlp.Sequential([Input((5,)), Dense(3)])
    model.compile(loss="mse", metrics=["accuracy", "mae"])
    one_hot = fastmlp.utils.to_categorical(y)
    p = model.predict(x)
    assert model.evaluate(x, one_hot, verbose=0)[1] == pytest.approx((p.argmax(1) == y).mean())
    assert model.evaluate(x, one_hot, verbose=0)[2] == pytest.approx(np.abs(p - one_hot).mean(), rel=1e-5)


# ---------------------------------------------------------------------------------------------- what is printed


def test_fit_prints_a_line_per_epoch_where_output_is_no_terminal(classifier, blobs, capsys):
    classifier.fit(*blobs, epochs=2, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Epoch 1/2"
    assert lines[2] == "Epoch 2/2"
    assert lines[1].startswith("3/3 - ")
    assert [part.split(":")[0] for part in lines[1].split(" - ")[2:]] == [
        "accuracy",
        "loss",
        "val_accuracy",
        "val_loss",
    ]
    assert len(lines) == 4


def test_fit_draws_a_bar_on_a_terminal(classifier, blobs, capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    classifier.fit(*blobs, epochs=2, validation_split=0.2)
    out = capsys.readouterr().out
    assert "━━━━━━━━━━━━━━━━━━━━" in out
    assert "\r" in out
    assert "val_loss" in out


def test_verbose_0_prints_nothing(classifier, blobs, capsys):
    classifier.fit(*blobs, verbose=0)
    classifier.evaluate(*blobs, verbose=0)
    classifier.predict(blobs[0])
    assert capsys.readouterr().out == ""


def test_summary_lists_layers_shapes_and_parameters(capsys):
    layers = [InputLayer((28, 28)), Flatten(), Dense(16), Dense(8, name="middle"), Dense(10)]
    fastmlp.Sequential(layers, name="net").summary()
    out = capsys.readouterr().out
    assert 'Model: "net"' in out
    assert "(None, 784)" in out
    assert "middle (Dense)" in out
    assert "12,560" in out
    assert "Total params: 12,786 (49.95 KB)" in out
    assert "InputLayer" not in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_without_boxes_gets_plain_lines(classifier, blobs, monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr(out, "isatty", lambda: True)
    fastmlp.Sequential([Input((4,)), Dense(2, name="über")]).summary()
    classifier.fit(*blobs, epochs=1)
    out.flush()
    text = out.buffer.getvalue().decode(encoding)
    assert "+------" in text
    assert ("| ?ber (Dense)" if encoding == "ascii" else "| über (Dense)") in text
    assert f"{20 * '='} " in text


def test_rows_of_zeros_train_the_bias_alone():
    model = fastmlp.Sequential([Input((4,)), Dense(3, activation="softmax")])
    model.compile(optimizer=SGD(1.0), loss="sparse_categorical_crossentropy")
    before = model.get_weights()
    fit(model, np.zeros((8, 4), np.float32), np.full(8, 2))
    after = model.get_weights()
    assert np.array_equal(before[0], after[0])
    assert after[1][2] > 0 > after[1][0]


@pytest.mark.parametrize("library", ["jax.numpy", "torch"])
def test_arrays_of_other_libraries_are_taken(classifier, blobs, library):
    other = pytest.importorskip(library)
    x, y = blobs
    expected = classifier.predict(x)
    assert np.array_equal(classifier.predict(other.asarray(x)), expected)
    fit(classifier, other.asarray(x), other.asarray(y), validation_split=0.2)


# ---------------------------------------------------------------------------------------------- callbacks in fit


class Recorder(fastmlp.callbacks.Callback):
    """Every hook in turn, with its number."""

    def __init__(self):
        super().__init__()
        self.calls = []


def _recording(name):
    def hook(self, *place, logs=None):
        *numbers, _ = [*place, None]
        self.calls.append((name.removeprefix("on_"), *(n for n in numbers if isinstance(n, int))))

    return hook


for _name in [name for name in dir(fastmlp.callbacks.Callback) if name.startswith("on_") and "on_batch" not in name]:
    setattr(Recorder, _name, _recording(_name))


def test_hooks_are_called_in_the_order_of_keras(classifier, blobs):
    x, y = blobs
    recorder = Recorder()
    fit(classifier, x[:64], y[:64], epochs=2, validation_data=(x[64:100], y[64:100]), callbacks=[recorder])
    epoch = [("train_batch_begin", 0), ("train_batch_end", 0), ("train_batch_begin", 1), ("train_batch_end", 1),
             ("test_begin",), ("test_batch_begin", 0), ("test_batch_end", 0), ("test_batch_begin", 1),
             ("test_batch_end", 1), ("test_end",)]  # fmt: skip
    assert recorder.calls == [
        ("train_begin",),
        *(call for i in (0, 1) for call in (("epoch_begin", i), *epoch, ("epoch_end", i))),
        ("train_end",),
    ]
    recorder.calls.clear()
    classifier.evaluate(x[:33], y[:33], verbose=0, callbacks=[recorder])
    assert recorder.calls == epoch[4:]
    recorder.calls.clear()
    classifier.predict(x[:33], callbacks=[recorder])
    assert recorder.calls == [("predict_begin",), ("predict_batch_begin", 0), ("predict_batch_end", 0),
                              ("predict_batch_begin", 1), ("predict_batch_end", 1), ("predict_end",)]  # fmt: skip


def test_a_callback_that_looks_at_batches_changes_no_bit(blobs):
    weights, losses = [], []
    for callbacks in ([], [Recorder()]):
        fastmlp.utils.set_random_seed(0)
        model = fastmlp.Sequential([Input((5,)), Dense(8, "tanh"), Dropout(0.3), Dense(3, "softmax")])
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
        losses.append(fit(model, *blobs, epochs=3, callbacks=callbacks)["loss"])
        weights.append(model.get_weights())
    assert losses[0] == losses[1]
    assert all(np.array_equal(a, b) for a, b in zip(*weights))


def test_a_callback_ends_the_training_behind_a_batch(classifier, blobs):
    class Stop(fastmlp.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    history = classifier.fit(*blobs, epochs=5, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0]
    assert classifier.optimizer.iterations == 2


# ---------------------------------------------------------------------------------------------- weights


def linear(rate, weights=None, **options):
    """A small net without random numbers."""
    model = fastmlp.Sequential([Input((5,)), Dense(4, "tanh"), Dense(3, "softmax")], dtype="float64")
    if weights is None:
        weights = [np.cos(np.arange(w.size) + 1).reshape(w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    model.compile(optimizer=SGD(rate), loss="sparse_categorical_crossentropy", **options)
    return model


def test_samples_without_weight_are_as_if_they_were_not_there(blobs):
    x, y = blobs
    both, half = linear(0.1), linear(0.05)
    weights = np.repeat([1.0, 0.0], 20)
    both_losses = fit(both, x[:40], y[:40], batch_size=40, sample_weight=weights, epochs=3)["loss"]
    losses = fit(half, x[:20], y[:20], batch_size=20, epochs=3)["loss"]
    np.testing.assert_allclose(np.multiply(both_losses, 2), losses, rtol=1e-12)
    for a, b in zip(both.get_weights(), half.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_class_weight_is_the_weight_of_each_sample_of_the_class(blobs):
    x, y = blobs
    a, b = linear(0.1), linear(0.1)
    losses = fit(a, x, y, shuffle=False, class_weight={0: 3.0, 2: 0.5})["loss"]
    assert losses == fit(b, x, y, shuffle=False, sample_weight=np.choose(y, [3.0, 1.0, 0.5]))["loss"]
    assert all(np.array_equal(p, q) for p, q in zip(a.get_weights(), b.get_weights()))
    one_hot = linear(0.1)
    one_hot.compile(optimizer=SGD(0.1), loss="categorical_crossentropy")
    y = fastmlp.utils.to_categorical(y, 3)
    assert fit(one_hot, x, y, shuffle=False, class_weight={0: 3.0, 2: 0.5})["loss"] == pytest.approx(losses, rel=1e-12)


def test_weights_count_in_the_weighted_metrics_alone(blobs):
    x, y = blobs
    model = linear(0.1, metrics=["accuracy"], weighted_metrics=["accuracy"])
    weights = np.random.default_rng(0).uniform(0, 2, len(x))
    right = model.predict(x).argmax(axis=1) == y
    logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    assert logs["accuracy"] == pytest.approx(right.mean())
    assert logs["weighted_accuracy"] == pytest.approx((right * weights).sum() / weights.sum())


def test_validation_data_may_have_weights(classifier, blobs):
    x, y = blobs
    weights = np.linspace(0, 2, 20)
    history = fit(classifier, x[:100], y[:100], validation_data=(x[100:], y[100:], weights))
    expected = classifier.evaluate(x[100:], y[100:], sample_weight=weights, verbose=0)[0]
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(classifier.evaluate(x[100:], y[100:], verbose=0)[0], rel=1e-3)


# ---------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize(("frequency", "count"), [(1, 5), (2, 2), (5, 1), (6, 0), ([1, 4], 2), ([], 0)])
def test_validation_is_made_as_often_as_asked_for(classifier, blobs, frequency, count):
    history = fit(classifier, *blobs, epochs=5, validation_split=0.2, validation_freq=frequency)
    assert len(history.get("val_loss", ())) == count
    assert len(history["loss"]) == 5


def held_out(model, x, y, **settings):
    """Which samples fit holds out: their outputs tell, as the loss of each is a number of its own."""
    model.optimizer.learning_rate = 0.0
    return fit(model, x, y, **settings)["val_loss"][0]


def test_held_out_samples_are_the_last_any_or_some_of_each_class(classifier, blobs):
    x, _ = blobs
    y = np.repeat([0, 1, 2], [60, 40, 20])  # in order, so that the last ones are all of a class
    means = {how: held_out(classifier, x, y, validation_split=0.25, validation_from=how)
             for how in ("tail", "shuffled", "stratified")}  # fmt: skip
    assert means["tail"] == pytest.approx(classifier.evaluate(x[90:], y[90:], verbose=0)[0], rel=1e-6)
    assert len(set(means.values())) == 3


def test_stratified_keeps_the_share_of_every_class_and_loses_no_sample(blobs):
    from fastmlp.batches import split
    from fastmlp.training import Samples

    x = np.arange(120.0)[:, None]
    y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [60, 40, 20])).astype(np.int32)
    samples = Samples(x, y, None, None, (1,))
    for how in ("tail", "shuffled", "stratified"):
        train, chosen, held = split(samples, 0.25, how)
        kept = train.x[chosen] if chosen is not None else train.x
        np.testing.assert_array_equal(np.sort(np.concatenate([kept, held.x]), axis=0), x)
        if how == "stratified":
            assert np.bincount(held.labels).tolist() == [15, 10, 5]
            assert (held.labels == y[held.x[:, 0].astype(int)]).all()


def test_a_class_of_one_sample_leaves_nothing_to_validate_it_with():
    model = linear(0.1)
    with pytest.raises(ValueError, match="not enough to split off"):
        fit(model, np.zeros((3, 5)), [0, 1, 2], validation_split=0.25, validation_from="stratified")
    with pytest.raises(ValueError, match="did you mean 'shuffled'"):
        fit(model, np.zeros((3, 5)), [0, 1, 2], validation_split=0.25, validation_from="shufled")


# ---------------------------------------------------------------------------------------------- batches


class ListLike:
    """Batches by their numbers, as Keras's PyDataset."""

    def __init__(self, batches):
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, i):
        return self._batches[i]


class Iterable:
    """Begins anew each time, and has no length."""

    def __init__(self, batches):
        self._batches = batches

    def __iter__(self):
        return iter(self._batches)


def batches_of(x, y, size=32, weights=None):
    parts = (x, y) if weights is None else (x, y, weights)
    return [tuple(part[i : i + size] for part in parts) for i in range(0, len(x), size)]


@pytest.mark.parametrize("kind", [ListLike, Iterable])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_iterable_of_batches_trains_as_its_arrays_do(blobs, kind, weighted):
    x, y = blobs
    weights = np.linspace(0.5, 1.5, len(x)) if weighted else None
    whole, parts = linear(0.1, metrics=["accuracy"]), linear(0.1, metrics=["accuracy"])
    expected = fit(whole, x, y, epochs=3, shuffle=False, sample_weight=weights)
    history = fit(parts, kind(batches_of(x, y, weights=weights)), epochs=3)
    assert history["accuracy"] == expected["accuracy"]
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-12)
    for a, b in zip(whole.get_weights(), parts.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    evaluated = parts.evaluate(kind(batches_of(x, y, weights=weights)), verbose=0)
    np.testing.assert_allclose(evaluated, parts.evaluate(x, y, sample_weight=weights, verbose=0), rtol=1e-12)
    np.testing.assert_allclose(parts.predict(kind(batches_of(x, y))), parts.predict(x), rtol=1e-12)
    np.testing.assert_allclose(parts.predict(kind([x[:7], x[7:]])), parts.predict(x), rtol=1e-12)


def test_a_generator_goes_on_from_epoch_to_epoch(blobs):
    x, y = blobs

    def endless():
        while True:
            yield from batches_of(x, y)

    by_epochs, whole = linear(0.1), linear(0.1)
    history = by_epochs.fit(endless(), steps_per_epoch=2, epochs=4, verbose=0)
    assert history.epoch == [0, 1, 2, 3]
    assert by_epochs.optimizer.iterations == 8
    fit(whole, x, y, epochs=2, shuffle=False)
    for a, b in zip(by_epochs.get_weights(), whole.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_generator_that_runs_out_ends_the_training(blobs):
    model = linear(0.1)
    with pytest.warns(UserWarning, match="run out"):
        history = model.fit(iter(batches_of(*blobs)), epochs=3, verbose=0)
    assert history.epoch == [0]


def test_steps_of_an_iterable_and_of_validation_are_limited(classifier, blobs):
    x, y = blobs
    batches = batches_of(x, y, 10)
    history = classifier.fit(ListLike(batches), steps_per_epoch=3, verbose=0,
                             validation_data=ListLike(batches), validation_steps=2)  # fmt: skip
    assert classifier.optimizer.iterations == 3
    expected = classifier.evaluate(x[:20], y[:20], verbose=0)[0]
    assert history.history["val_loss"][0] == pytest.approx(expected, rel=1e-6)
    assert classifier.evaluate(ListLike(batches), steps=2, verbose=0)[0] == pytest.approx(expected, rel=1e-6)
    assert len(classifier.predict(ListLike(batches), steps=4)) == 40
    fit(classifier, x, y, steps_per_epoch=2)
    assert classifier.optimizer.iterations == 5


def test_training_on_a_batch_is_a_step_of_fit(blobs):
    x, y = blobs
    whole, parts = (linear(0.1, metrics=["accuracy"]) for _ in range(2))
    expected = fit(whole, x, y, shuffle=False)
    pieces = batches_of(x, y)
    values = [parts.train_on_batch(*piece) for piece in pieces]
    # As in Keras 3.15, those of each batch; the epoch's are their mean.
    mean = np.average(values, axis=0, weights=[len(piece[0]) for piece in pieces])
    np.testing.assert_allclose(mean, [expected["loss"][0], expected["accuracy"][0]], rtol=1e-12)
    for a, b in zip(whole.get_weights(), parts.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    parts.reset_metrics()
    before = parts.get_weights()
    first = parts.test_on_batch(x[:10], y[:10], return_dict=True)
    assert first == pytest.approx(parts.evaluate(x[:10], y[:10], verbose=0, return_dict=True), rel=1e-12)
    both = parts.test_on_batch(x[10:30], y[10:30])
    assert both == pytest.approx(parts.evaluate(x[10:30], y[10:30], verbose=0), rel=1e-12)
    assert all(np.array_equal(a, b) for a, b in zip(before, parts.get_weights()))
    assert np.array_equal(parts.predict_on_batch(x), parts.predict(x))


def test_single_batches_take_weights(blobs):
    x, y = (part[:30] for part in blobs)
    weights = np.choose(y, [3.0, 1.0, 0.5])
    models = [linear(0.1) for _ in range(3)]
    fit(models[0], x, y, batch_size=30, sample_weight=weights, shuffle=False)
    losses = [models[1].train_on_batch(x, y, sample_weight=weights),
              models[2].train_on_batch(x, y, class_weight={0: 3.0, 2: 0.5})]  # fmt: skip
    assert losses[0] == losses[1]
    for model in models[1:]:
        for a, b in zip(model.get_weights(), models[0].get_weights()):
            np.testing.assert_allclose(a, b, rtol=1e-12)


# ---------------------------------------------------------------------------------------------- trainable, insides


def test_a_frozen_layer_stays_and_thaws(blobs):
    model = fastmlp.Sequential([Input((5,)), Dense(6, "tanh"), BatchNormalization(), Dense(3, "softmax")])
    for optimizer in (SGD(0.1), SGD(0.1, 0.9), SGD(0.1, use_ema=True)):
        model.layers[0].trainable = model.layers[1].trainable = False
        model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
        assert len(model.trainable_weights) == 2
        assert len(model.non_trainable_weights) == 6
        before = model.get_weights()
        fit(model, *blobs)
        for i, (a, b) in enumerate(zip(before, model.get_weights())):
            assert np.array_equal(a, b) == (i < 6)
        model.layers[0].trainable = model.layers[1].trainable = True
        before = model.get_weights()
        fit(model, *blobs)
        assert not any(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_running_means_take_the_place_of_the_weights_at_the_end(blobs):
    means, weights = [], []
    for use_ema in (True, False):
        model = linear(0.1)
        model.compile(optimizer=SGD(0.1, use_ema=use_ema, ema_momentum=0.5), loss=model.loss)

        class Keep(fastmlp.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                weights.append(self.model.get_weights())  # noqa: B023

        weights = []
        fit(model, *blobs, shuffle=False, callbacks=[Keep()])
        means.append(model.get_weights())
    expected = weights[0]
    for new in weights[1:]:
        expected = [0.5 * a + 0.5 * b for a, b in zip(expected, new)]
    for a, b in zip(means[0], expected):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_outputs_of_layers_are_those_of_a_model_that_ends_there(blobs):
    x, _ = blobs
    row = [Input((5,)), Dense(70, "relu"), BatchNormalization(), Activation("tanh"), Dense(66), Dropout(0.5), Dense(4)]
    model = fastmlp.Sequential(row, dtype="float64")
    outputs = model.layer_outputs(np.repeat(x, 2, axis=0))
    a = np.repeat(x, 2, axis=0)
    dense = [layer for layer in model.layers if isinstance(layer, Dense)]
    for layer in model.layers:
        if layer is dense[0]:
            a = np.maximum(a @ layer.kernel + layer.bias, 0)
        elif isinstance(layer, BatchNormalization):
            a = np.tanh(a / np.sqrt(1.001))  # with the activation that stands behind it
        elif layer in dense:
            a = a @ layer.kernel + layer.bias
        np.testing.assert_allclose(outputs[layer.name], a, rtol=1e-9, atol=1e-12, err_msg=layer.name)
    assert list(outputs) == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(outputs[model.layers[-1].name], model.predict(np.repeat(x, 2, axis=0)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", SGD(0.1, clipnorm=0.1, gradient_accumulation_steps=2)])
def test_gradients_of_layers_are_those_of_a_step(blobs, optimizer):
    x, y = blobs
    model = linear(1.0)
    model.compile(optimizer=optimizer, loss=model.loss)
    before = model.get_weights()
    gradients = model.layer_gradients(x, y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    assert model.optimizer.iterations == 0
    step = linear(1.0)
    step.train_on_batch(x, y)
    flat = [g for layer in model.layers for g in gradients[layer.name]]
    for old, new, gradient in zip(before, step.get_weights(), flat):
        np.testing.assert_allclose(old - new, gradient, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------------- what can't be together


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"class_weight": {0: 1.0}, "sample_weight": np.ones(120)}, ValueError, "can't be used together"),
        ({"class_weight": [1, 2]}, TypeError, "must be a dictionary"),
        ({"class_weight": {"a": 1}}, TypeError, "a class in class_weight"),
        ({"class_weight": {0: -1.0}}, ValueError, "weight of class 0"),
        ({"sample_weight": np.ones(3)}, ValueError, "there are 120 samples"),
        ({"sample_weight": -np.ones(120)}, ValueError, "at least zero"),
        ({"validation_freq": 0}, ValueError, "validation_freq"),
        ({"validation_freq": [0]}, ValueError, "an epoch in validation_freq"),
        ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch"),
        ({"validation_steps": 1.5}, TypeError, "validation_steps"),
        ({"validation_data": (np.ones((2, 4)), [0, 1])}, ValueError, "x of validation_data"),
        ({"validation_data": (np.ones((2, 5)), [0, 1], [1.0])}, ValueError, "sample_weight of validation_data"),
    ],
)
def test_fit_names_what_does_not_go_together(classifier, blobs, settings, kind, message):
    before = classifier.get_weights()
    with pytest.raises(kind, match=message):
        fit(classifier, *blobs, **settings)
    assert all(np.array_equal(a, b) for a, b in zip(before, classifier.get_weights()))


@pytest.mark.parametrize(
    ("batches", "settings", "message"),
    [
        ([(np.ones((2, 5)), [0, 1])], {"validation_split": 0.5}, "validation_split needs arrays"),
        ([(np.ones((2, 5)), [0, 1])], {"sample_weight": [1, 1]}, "sample_weight needs arrays"),
        ([np.ones((2, 5))], {}, "must yield"),
        ([], {}, "is empty"),
        ([(np.ones((2, 4)), [0, 1])], {}, "x of a batch"),
        ([(np.ones((2, 5)), [0, 1], [1.0, 1.0])], {"class_weight": {0: 1.0}}, "can't be used together"),
    ],
)
def test_fit_names_what_is_wrong_with_an_iterable(classifier, batches, settings, message):
    with pytest.raises(ValueError, match=message):
        fit(classifier, Iterable(batches), **settings)


def test_penalties_without_a_compiled_form_are_refused(blobs):
    class Own(fastmlp.regularizers.Regularizer):
        def __call__(self, w):
            return 0.0

    model = fastmlp.Sequential([Input((5,)), Dense(3, "softmax", kernel_regularizer=Own())])
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="compiled forms"):
        fit(model, *blobs)


def test_a_matrix_among_the_metrics_is_kept_but_not_printed(blobs, capsys):
    x, y = blobs
    model = linear(0.1, metrics=["accuracy", fastmlp.metrics.ConfusionMatrix()])
    history = model.fit(x, y, verbose=2)
    assert history.history["confusion_matrix"][0].sum() == len(x)
    assert "confusion_matrix" not in capsys.readouterr().out + repr(history)


def test_summary_counts_what_is_trained(capsys):
    layers = [fastmlp.layers.Input((4,)), fastmlp.layers.BatchNormalization(), fastmlp.layers.Dense(3)]
    fastmlp.Sequential(layers).summary()
    printed = capsys.readouterr().out
    assert "Total params: 31 " in printed
    assert "Trainable params: 23 " in printed
    assert "Non-trainable params: 8 " in printed


def test_a_class_weight_of_no_class_and_missing_targets_are_named(classifier, blobs):
    x, y = blobs
    with pytest.raises(ValueError, match="class_weight has a class 7, but the classes are 0 to 2"):
        classifier.fit(x, y, class_weight={7: 2.0}, verbose=0)
    with pytest.raises(ValueError, match="y is missing: give x and y, or an iterable of batches"):
        classifier.fit(x, verbose=0)
