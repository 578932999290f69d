"""A loss of one's own: the pinball loss, from which a net learns quantiles, such as what 9 in 10 values lie below.

python examples/own_loss.py [--out DIR] [--epochs N]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fastmlp.layers import Dense, InputLayer
from fastmlp.losses import Custom
from fastmlp.models import Sequential
from fastmlp.optimizers import Adam
from fastmlp.utils import set_random_seed

parser = argparse.ArgumentParser(description="Learn quantiles of a noisy curve by a loss of one's own.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figure")
parser.add_argument("--epochs", type=int, default=300)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
set_random_seed(0)

QUANTILES = np.array([0.1, 0.5, 0.9])


# Functions of one sample, compiled into the epoch: y_true and y_pred hold a number for each of the three outputs. To
# lie too low costs q for each unit of the error, to lie too high 1 - q: the mean is least where a share q lies below.
def pinball(y_true, y_pred):
    total = 0.0
    for j in range(y_pred.size):
        error, q = y_true[j] - y_pred[j], QUANTILES[j]
        total += max(q * error, (q - 1) * error)
    return total / y_pred.size


def pinball_gradient(y_true, y_pred, out):
    for j in range(y_pred.size):
        q = QUANTILES[j]
        out[j] = (-q if y_true[j] > y_pred[j] else 1 - q) / y_pred.size


def noisy_curve(n, rng):
    """Points (n, 1) on the line and values (n, 1) whose noise grows from left to right."""
    x = rng.uniform(0, 1, size=(n, 1))
    return x, np.sin(2 * np.pi * x) + (0.1 + 0.5 * x) * rng.normal(size=(n, 1))


rng = np.random.default_rng(0)
x_train, y_train = noisy_curve(2000, rng)
x_test, y_test = noisy_curve(2000, rng)

model = Sequential([InputLayer(shape=(1,)), Dense(32, activation="tanh"), Dense(32, activation="tanh"), Dense(3)])
# compile compares the gradient with differences of the loss, so that a slip shows here.
model.compile(loss=Custom(pinball, pinball_gradient), optimizer=Adam(learning_rate=0.003))
model.fit(x_train, np.repeat(y_train, 3, axis=1), epochs=options.epochs, verbose=0)
print(f"test loss {model.evaluate(x_test, np.repeat(y_test, 3, axis=1), verbose=0):.4f}")

# A share of about q of the test values lies below the output for q.
below = (y_test < model.predict(x_test, verbose=0)).mean(axis=0)
for q, share in zip(QUANTILES, below):
    print(f"quantile {q:.1f}: {share:.3f} of the test values lie below")

across = np.linspace(0, 1, 201)[:, None]
curves = model.predict(across, verbose=0)

figure = Figure(figsize=(7.5, 4.8), dpi=150, layout="constrained")
ax = figure.subplots()
ax.scatter(x_test[:, 0], y_test[:, 0], s=4, color="#999999", label="test values")
ax.fill_between(across[:, 0], curves[:, 0], curves[:, 2], color="#542788", alpha=0.2, label="from 0.1 to 0.9")
ax.plot(across[:, 0], curves[:, 1], color="#542788", label="0.5")
ax.set_title("Quantiles learnt by a loss of one's own")
ax.set_xlabel("x")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
figure.savefig(options.out / "own_loss.png")
