"""A training whose loss is NaN or infinite ends in front of that batch, names it, and leaves the model as it was."""

import copy
import os

import numpy as np
import pytest

import fastmlp
from fastmlp import optimizers
from fastmlp.callbacks import Callback, EarlyStopping, TerminateOnNaN
from fastmlp.layers import ActivityRegularization, BatchNormalization, Dense, Input

os.environ.setdefault("KERAS_BACKEND", "jax")

BATCH, ROWS, BAD = 16, 96, 70  # the bad row is in batch 5 of 6


def data(bad=1e25):
    """Samples and targets, of which one's square is beyond float32."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((ROWS, 4)).astype(np.float32), rng.standard_normal((ROWS, 1)).astype(np.float32)
    y[BAD] = bad
    return x, y


def pair(optimizer="sgd", layers=(), dtype="float32"):
    """A compiled model, and another one that is the same."""
    fastmlp.utils.set_random_seed(0)
    model = fastmlp.Sequential([Input((4,)), *layers, Dense(3, activation="tanh"), Dense(1)], dtype=dtype)
    model.compile(optimizer=optimizer, loss="mse")
    return model, copy.deepcopy(model)


def fit(model, x, y, **arguments):
    return model.fit(x, y, **{"batch_size": BATCH, "verbose": 0, "shuffle": False, **arguments})


def assert_stopped_before(model, other, form=lambda x: x):
    """All of the state is that of the other model after four batches, and both train on alike."""
    x, y = data(bad=0.5)
    fit(other, form(x[: 4 * BATCH]), y[: 4 * BATCH])
    assert model.optimizer.iterations == other.optimizer.iterations == 4
    for _ in range(2):
        states = model.training_state(), other.training_state()
        for name, own in states[0].items():
            if "generator" not in name:
                np.testing.assert_array_equal(own, states[1][name], err_msg=name)
        for each in (model, other):
            fit(each, x, y)


class LooksAtBatches(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)


class BatchesOf:
    """An object of batches, as Keras's PyDataset is one."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return ROWS // BATCH

    def __getitem__(self, i):
        rows = slice(i * BATCH, (i + 1) * BATCH)
        return self.x[rows], self.y[rows]


def memory_map(x, folder):
    """x in a file of float64, which is converted a slice at a time."""
    np.save(folder / "x.npy", x.astype(np.float64))
    return np.load(folder / "x.npy", mmap_mode="r")


WAYS = ["arrays", "callback", "object of batches", "generator", "memory map", "sparse", "validation"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_into_fit_names_epoch_and_batch_and_stops_before_it(way, tmp_path):
    x, y = data()
    model, other = pair(optimizers.Adam(0.01))
    arguments, form = {}, lambda x: x
    if way == "callback":
        arguments["callbacks"] = [LooksAtBatches()]
    elif way == "object of batches":
        x, y = BatchesOf(x, y), None
    elif way == "generator":
        batches = BatchesOf(x, y)
        x, y = (batches[i] for i in range(len(batches))), None
    elif way == "memory map":
        x = memory_map(x, tmp_path)
    elif way == "sparse":
        form = pytest.importorskip("scipy.sparse").csr_array
        x = form(x)
    elif way == "validation":
        arguments["validation_data"] = data(bad=0.5)
    with pytest.raises(FloatingPointError, match=r"diverged in epoch 1, batch 5: the loss is inf\. .*now 0\.01"):
        fit(model, x, y, **arguments)
    assert_stopped_before(model, other, form)


def test_epochs_are_counted_from_one_and_go_on_from_initial_epoch():
    x, y = data()
    for first in (0, 7):
        model, _ = pair()
        fit(model, *data(bad=0.5), epochs=1)
        with pytest.raises(FloatingPointError, match=f"in epoch {first + 1}, batch 5"):
            fit(model, x, y, initial_epoch=first, epochs=first + 1)


def test_slices_of_a_memory_map_are_counted_through(tmp_path, monkeypatch):
    monkeypatch.setattr(fastmlp.training, "_SLICE_BYTES", 2 * BATCH * 4 * 8)  # two batches
    x, y = data()
    model, other = pair()
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 5"):
        fit(model, memory_map(x, tmp_path), y)
    assert_stopped_before(model, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(0.1),
        lambda: optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0),
        lambda: optimizers.Adam(0.1, use_ema=True),
        lambda: optimizers.RMSprop(0.1, weight_decay=0.01),
        lambda: optimizers.Adam(0.1, gradient_accumulation_steps=2),
        lambda: optimizers.Adam(0.1, gradient_accumulation_steps=3),
    ],
    ids=["plain", "clipped", "running mean", "decay", "every 2", "every 3"],
)
def test_the_optimizer_is_left_as_it_was(make):
    x, y = data()
    model, other = pair(make())
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 5"):
        fit(model, x, y)
    # At the end of a fit the running mean takes the weights' place, at an error not.
    if model.optimizer.use_ema:
        other_x, other_y = data(bad=0.5)
        for i in range(0, 4 * BATCH, BATCH):
            other.train_on_batch(other_x[i : i + BATCH], other_y[i : i + BATCH])
        for a, b in zip(model.get_weights(), other.get_weights()):
            np.testing.assert_array_equal(a, b)
        return
    assert_stopped_before(model, other)


@pytest.mark.parametrize("place", ["targets", "inputs"])
def test_running_means_of_a_normalization_are_left_as_they_were(place):
    x, y = data(bad=1e25 if place == "targets" else 0.5)
    if place == "inputs":
        x[BAD] = 1e25
    model, other = pair(layers=[BatchNormalization()])
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 5"):
        fit(model, x, y)
    assert_stopped_before(model, other)


def test_a_penalty_on_activations_that_overflows_ends_it_too():
    x, y = data(bad=0.5)
    x[BAD] = 1e25
    model, other = pair(layers=[ActivityRegularization(l2=1e-3)])
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 5: the loss is inf"):
        fit(model, x, y)
    x, y = data(bad=0.5)
    fit(other, x[:64], y[:64])
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_penalty_on_weights_that_overflows_ends_it_before_they_change(optimizer):
    x, y = data(bad=0.5)
    fastmlp.utils.set_random_seed(0)
    layer = Dense(3, activation="tanh", kernel_regularizer=fastmlp.regularizers.L2(1.0), name="first")
    model = fastmlp.Sequential([Input((4,)), layer, BatchNormalization(), Dense(1)])
    model.compile(optimizer=optimizer, loss="mse")
    layer.kernel[0, 0] = 1e25
    before = model.get_weights()
    with pytest.raises(FloatingPointError, match=r"batch 1: the loss is inf\. Layer 'first' .* up to 1e\+25"):
        fit(model, x, y)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(b, a)
    layer.kernel[0, 0] = 1.0
    assert np.isfinite(fit(model, x, y).history["loss"][0])


def test_float64_diverges_where_float64_ends():
    x, y = data()
    model, other = pair(dtype="float64")
    assert np.isfinite(fit(copy.deepcopy(model), x, y).history["loss"][0])
    y = y.astype(np.float64)
    y[BAD] = 1e200
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 5: the loss is inf"):
        fit(model, x, y)
    assert_stopped_before(model, other)


def test_the_rate_of_a_schedule_is_that_of_the_batch():
    schedule = optimizers.schedules.PiecewiseConstantDecay([3], [0.5, 0.125])
    model, other = pair(optimizers.SGD(schedule))
    with pytest.raises(FloatingPointError, match=r"learning_rate \(now 0\.125\)"):
        fit(model, *data())
    assert_stopped_before(model, other)


def test_clipping_is_not_advised_where_it_is_done():
    for optimizer, advised in ((optimizers.SGD(0.1), True), (optimizers.SGD(0.1, clipvalue=1.0), False)):
        model, _ = pair(optimizer)
        with pytest.raises(FloatingPointError) as caught:
            fit(model, *data())
        assert ("clipnorm=1.0" in str(caught.value)) == advised


def test_terminate_on_nan_ends_in_order_before_the_batch():
    x, y = data()
    for callbacks in ([TerminateOnNaN()], [TerminateOnNaN(), LooksAtBatches()]):
        model, other = pair()
        history = fit(model, x, y, epochs=5, callbacks=callbacks)
        assert history.epoch == [0]
        assert history.history["loss"] == [np.inf]
        assert_stopped_before(model, other)


def test_a_single_batch_returns_its_loss_and_changes_nothing():
    x, y = data()
    model, other = pair("adam", layers=[BatchNormalization()])
    assert model.train_on_batch(x, y) == np.inf
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert model.optimizer.iterations == 0


def test_history_holds_the_epochs_before_and_callbacks_are_closed():
    model, _ = pair()
    x, y = data(bad=0.5)
    closed = []

    class Watches(EarlyStopping):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            y[BAD] = 1e25  # the model reads the array itself

        def _close(self):
            closed.append(True)

    with pytest.raises(FloatingPointError, match="in epoch 2, batch 5"):
        fit(model, x, y, epochs=3, callbacks=[Watches("loss", patience=9)])
    assert model.history.epoch == [0]
    assert closed


def test_a_validation_loss_that_is_not_finite_is_reported_only():
    model, _ = pair()
    history = fit(model, *data(bad=0.5), epochs=2, validation_data=data()).history
    assert history["val_loss"] == [np.inf, np.inf]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_goes_on_and_loses_the_weights():
    keras = pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    history = model.fit(*data(), batch_size=BATCH, epochs=3, shuffle=False, verbose=0)
    assert history.history["loss"] == [np.inf, np.inf, np.inf]
    assert np.abs(np.asarray(model.get_weights()[0])).max() > 1e20
