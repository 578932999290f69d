"""Two classes: one sigmoid output is the probability of class 1; the loss is binary cross-entropy.

python examples/two_classes.py [--out DIR] [--epochs N]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fastmlp.layers import Dense, InputLayer
from fastmlp.models import Sequential
from fastmlp.optimizers import SGD
from fastmlp.utils import set_random_seed

parser = argparse.ArgumentParser(description="Tell two interlocked moons apart.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figure")
parser.add_argument("--epochs", type=int, default=100)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
set_random_seed(0)


def two_moons(n, rng):
    """Points (n, 2) on two interlocked half circles, with noise, and their classes (n,)."""
    y = rng.integers(0, 2, size=n)
    angle = rng.uniform(0, np.pi, size=n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    x = np.where(y[:, None] == 0, upper, lower) + rng.normal(scale=0.15, size=(n, 2))
    return x.astype(np.float32), y


rng = np.random.default_rng(0)
x_train, y_train = two_moons(1000, rng)
x_test, y_test = two_moons(1000, rng)

# One sigmoid output, between 0 and 1. No straight line parts the moons; the hidden layers bend it.
model = Sequential(
    [
        InputLayer(shape=(2,)),
        Dense(16, activation="relu"),
        Dense(16, activation="relu"),
        Dense(1, activation="sigmoid"),
    ]
)
model.compile(loss="binary_crossentropy", optimizer=SGD(learning_rate=0.1, momentum=0.9), metrics=["accuracy"])
model.fit(x_train, y_train, epochs=options.epochs, verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test loss {loss:.4f}, test accuracy {accuracy:.4f}")

# A probability above one half counts as class 1: accuracy by hand.
probabilities = model.predict(x_test, verbose=0)[:, 0]
print(f"accuracy by hand: {np.mean((probabilities > 0.5) == y_test):.4f}")

# The probability everywhere: the net's view of the plane.
across, up = np.linspace(-1.6, 2.6, 211), np.linspace(-1.2, 1.7, 146)
plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2).astype(np.float32)
view = model.predict(plane, verbose=0).reshape(len(up), len(across))

figure = Figure(figsize=(7.5, 4.8), dpi=150, layout="constrained")
ax = figure.subplots()
shades = ax.contourf(across, up, view, levels=np.linspace(0, 1, 11), cmap="PuOr", alpha=0.4)
ax.contour(across, up, view, levels=[0.5], colors="black", linewidths=1)
for label, color, marker in ((0, "#b35806", "o"), (1, "#542788", "^")):
    points = x_test[y_test == label]
    ax.scatter(*points.T, s=8, color=color, marker=marker, label=f"class {label}")
figure.colorbar(shades, label="predicted probability of class 1")
ax.set_title("Test points and the predicted probability; the line is one half")
ax.legend(loc="upper left")
figure.savefig(options.out / "two_classes.png")
