"""Regression: learn a curve from noisy samples with a linear output and the mean squared error.

python examples/regression.py [--out DIR] [--epochs N]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fastmlp.layers import Dense, InputLayer
from fastmlp.models import Sequential
from fastmlp.optimizers import SGD
from fastmlp.utils import set_random_seed

parser = argparse.ArgumentParser(description="Learn a curve from noisy samples.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figure")
parser.add_argument("--epochs", type=int, default=200)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
set_random_seed(0)


def curve(x):
    return np.sin(2 * x) + 0.3 * x


# 500 samples of the curve, each off by some noise. The net sees the samples only.
rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, size=(500, 1)).astype(np.float32)
y = (curve(x) + rng.normal(scale=0.2, size=x.shape)).astype(np.float32)

# The output may be any number, so its activation is linear: the weighted sum as it is.
model = Sequential(
    [
        InputLayer(shape=(1,)),
        Dense(32, activation="tanh"),
        Dense(32, activation="tanh"),
        Dense(1, activation="linear"),
    ]
)
model.compile(loss="mse", optimizer=SGD(learning_rate=0.05, momentum=0.9))
history = model.fit(x, y, epochs=options.epochs, validation_split=0.2, verbose=0)

# The noise has variance 0.04: no model can get below that on new samples.
print(
    f"mean squared error: training {history.history['loss'][-1]:.4f}, "
    f"validation {history.history['val_loss'][-1]:.4f}, noise alone 0.0400"
)

grid = np.linspace(-3, 3, 301, dtype=np.float32)[:, None]
learned = model.predict(grid, verbose=0)
print(f"largest distance from the true curve: {np.abs(learned - curve(grid)).max():.3f}")

figure = Figure(figsize=(7.5, 4), dpi=150, layout="constrained")
ax = figure.subplots()
ax.scatter(x, y, s=6, color="#999999", label="samples")
ax.plot(grid, curve(grid), "--", color="#D55E00", label="true curve")
ax.plot(grid, learned, color="#0072B2", label="learned curve")
ax.set_title("A curve learned from noisy samples")
ax.set_xlabel("x")
ax.set_ylabel("y")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
figure.savefig(options.out / "regression.png")
