"""What users write: it must pass their strict type checkers. test_typing.py lets them read it, and runs it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastmlp
from fastmlp import Sequential, callbacks, layers, losses, metrics, optimizers
from fastmlp.datasets import fashion_mnist, kmnist, mnist, printed_digits
from fastmlp.initializers import HeNormal
from fastmlp.regularizers import L2


class Stop(callbacks.Callback):
    """Ends the training at a loss."""

    def __init__(self, loss: float) -> None:
        self.loss = loss

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """End it."""
        if logs is not None and logs["loss"] < self.loss:
            self.model.stop_training = True


def build() -> Sequential:
    """Layers by name, by object and by class."""
    model = Sequential([layers.Input((4,)), layers.Dense(8, activation="relu", kernel_initializer=HeNormal(seed=1))])
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.1, seed=0))
    model.add(layers.Dense(8, "tanh", kernel_regularizer=L2(1e-4), kernel_constraint="max_norm"))
    model.add(layers.LeakyReLU(0.1))
    model.add(layers.Dense(2, activation=fastmlp.activations.softmax, name="out"))
    return model


def compile_it(model: Sequential) -> None:
    """Each of the ways to name things."""
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    schedule = optimizers.schedules.ExponentialDecay(0.01, decay_steps=10, decay_rate=0.9)
    model.compile(
        optimizer=optimizers.Adam(learning_rate=schedule),
        loss=losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy", metrics.SparseTopKCategoricalAccuracy(k=2)],
    )


def train(model: Sequential, x: NDArray[np.float32], y: NDArray[np.int64]) -> list[float]:
    """Epochs, callbacks, validation."""
    watch = [callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True), Stop(0.01)]
    history = model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=watch, validation_split=0.25)
    first: float = history.history["loss"][0]
    return [first, *history.history["val_loss"]]


def judge(model: Sequential, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """Lists, dicts, predictions."""
    loss, accuracy, top = model.evaluate(x, y, verbose=0)
    by_name = model.evaluate(x, y, verbose=0, return_dict=True)
    best: float = max(by_name["accuracy"], float(accuracy), float(loss), float(top))
    probabilities = model.predict(x, verbose=0)
    classes = probabilities.argmax(axis=1)
    step: dict[str, float] = model.train_on_batch(x, y, return_dict=True)
    return best + np.count_nonzero(classes == y) / len(y) + step["loss"]


def keep(model: Sequential, folder: Path) -> Sequential:
    """A file and back."""
    path = folder / "model.safetensors"
    model.save(path)
    again = fastmlp.models.load_model(path)
    weights: list[np.ndarray] = again.get_weights()
    again.set_weights(weights)
    kernel = again.layers[0].get_weights()[0]
    assert kernel.shape == (4, 8)
    again.summary()
    return again


def data() -> int:
    """The data sets are arrays; nothing is loaded here."""
    loaders = [mnist.load_data, fashion_mnist.load_data, kmnist.load_data]
    (x, y), (x_test, y_test) = printed_digits.load_data()
    return len(loaders) + len(x) + len(y) + len(x_test) + len(y_test)


def main() -> None:
    """All of it, but for the data sets."""
    fastmlp.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    model = build()
    compile_it(model)
    assert len(train(model, x, y)) > 1
    assert np.isfinite(judge(model, x, y))
    with tempfile.TemporaryDirectory() as folder:
        assert np.array_equal(keep(model, Path(folder)).predict(x), model.predict(x))


if __name__ == "__main__":
    main()
