"""Draws the tutorial's figures and writes down its numbers: python docs/tools/figures.py

It trains on MNIST, some seconds, and writes docs/assets/tutorial/. The pages take the numbers from numbers.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure

import fastmlp
from fastmlp import plotting, reference
from fastmlp.layers import Dense, Flatten, InputLayer, Rescaling

OUT = Path(__file__).resolve().parents[1] / "assets" / "tutorial"
SEEDS = range(10)

#: The same drawing is the same file.
SVG = {"metadata": {"Date": None}}
rcParams["svg.hashsalt"] = "fastmlp"


def net() -> fastmlp.Sequential:
    """The tutorial's net, compiled for class indices."""
    model = fastmlp.Sequential(
        [
            InputLayer(shape=(28, 28)),
            Flatten(),
            Dense(16, activation="sigmoid"),
            Dense(8, activation="sigmoid"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(seed: int, x, y, learning_rate: float = 0.01, epochs: int = 20):
    """A net of that seed and its history."""
    fastmlp.set_random_seed(seed)
    model = net()
    model.optimizer.learning_rate = learning_rate
    return model, model.fit(x, y, epochs=epochs, validation_split=0.2, verbose=0)


def compared(raw, scaled, faster) -> Figure:
    """Accuracy of three trainings by epoch."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    ax = figure.subplots()
    for history, label, color in (
        (raw, "0 to 255, learning rate 0.01", "#999999"),
        (scaled, "0 to 1, learning rate 0.01", "#0072B2"),
        (faster, "0 to 1, learning rate 1", "#D55E00"),
    ):
        values = history.history["val_accuracy"]
        ax.plot(np.arange(1, len(values) + 1), values, label=label, color=color, linewidth=2)
    ax.set_xlabel("epoch")
    ax.set_ylabel("validation accuracy")
    ax.set_ylim(0, 1)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right")
    return figure


def main() -> None:
    """Train, draw, and write."""
    OUT.mkdir(parents=True, exist_ok=True)
    (x, y), (x_test, y_test) = fastmlp.datasets.mnist.load_data()
    plotting.sample_digits(x, y).savefig(OUT / "samples.png", dpi=80)
    plotting.activation_functions().savefig(OUT / "activations.svg", **SVG)

    model, raw = trained(0, x, y)
    plotting.training_curves(raw).savefig(OUT / "curves.svg", **SVG)
    plotting.confusion_matrix(model, x_test, y_test).figure.savefig(OUT / "confusion.png", dpi=90)
    plotting.confident_mistakes(x_test, y_test, model.predict(x_test)).savefig(OUT / "mistakes.png", dpi=80)

    tests = np.array([trained(seed, x, y)[0].evaluate(x_test, y_test, verbose=0)[1] for seed in SEEDS])
    one, test_one = np.float32(x) / 255, np.float32(x_test) / 255
    scaled, scaled_history = trained(0, one, y)
    faster, faster_history = trained(0, one, y, learning_rate=1.0)
    compared(raw, scaled_history, faster_history).savefig(OUT / "scaled.svg", **SVG)

    answers = next(iter(model.layer_outputs(x_test).values()))
    fastmlp.set_random_seed(0)
    relu = fastmlp.Sequential(
        [InputLayer(shape=(28, 28)), Rescaling(1 / 255), Flatten(), Dense(128, activation="relu"), Dense(10, "softmax")]
    )
    relu.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    relu.fit(x, y, epochs=5, validation_split=0.2, verbose=0)
    keras = reference.recorded()["mnist"]["sparse"]
    numbers = {
        "raw_least": tests.min(),
        "raw_mean": tests.mean(),
        "raw_most": tests.max(),
        "scaled": scaled.evaluate(test_one, y_test, verbose=0)[1],
        "faster": faster.evaluate(test_one, y_test, verbose=0)[1],
        "keras_mean": keras.mean,
        "keras_deviation": keras.std,
        "saturated": ((answers < 0.01) | (answers > 0.99)).mean(),
        "relu": relu.evaluate(x_test, y_test, verbose=0)[1],
    }
    (OUT / "numbers.json").write_text(json.dumps({k: f"{v:.3f}" for k, v in numbers.items()}, indent=1) + "\n")
    print(numbers)


if __name__ == "__main__":
    main()
