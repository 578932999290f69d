"""A network in the inner loop of a simulation: a pendulum is swung up by a net that learnt it from a teacher.

The motor is too weak to lift the pendulum at once. The net, which is asked for a torque at every step, is a function
that the compiled loop calls: some tenths of a microsecond a step, on all cores, with no Python in between.

python examples/simulation.py [--out DIR] [--epochs N]
"""

import argparse
import time
from pathlib import Path

import numba
import numpy as np
from matplotlib.figure import Figure

from fastmlp.layers import Dense, InputLayer
from fastmlp.models import Sequential
from fastmlp.optimizers import Adam
from fastmlp.utils import set_random_seed

parser = argparse.ArgumentParser(description="Swing up pendulums by a net inside a compiled simulation.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figure")
parser.add_argument("--epochs", type=int, default=60)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
set_random_seed(0)

STEP, STEPS = 0.02, 750  # seconds, and how many: 15 s
STRONGEST = 0.4  # torque of the motor; 1 would hold the pendulum level


@numba.njit
def teacher(angle, speed):
    """Torque that brings the pendulum up, angle 0: holds it there, and elsewhere pumps energy until it suffices."""
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    if abs(angle) < 0.35 and abs(speed) < 0.8:
        torque = -4 * angle - 2 * speed
    else:
        energy = speed * speed / 2 + np.cos(angle) - 1  # 0 where it just reaches the top
        torque = -5 * energy * speed
    return min(max(torque, -STRONGEST), STRONGEST)


@numba.njit
def move(angle, speed, torque):
    """A step of time of a pendulum of mass, length and gravity 1."""
    speed += STEP * (np.sin(angle) + torque - 0.02 * speed)
    return angle + STEP * speed, speed


# What the teacher does in 40,000 situations. The net sees them as the point where the pendulum's end is, and its speed.
rng = np.random.default_rng(0)
angles, speeds = rng.uniform(-np.pi, np.pi, 40_000), rng.normal(scale=1.2, size=40_000)
angles[:10_000] *= 0.15  # more of them near the top, where it is to be held
speeds[:10_000] *= 0.4
x = np.stack([np.cos(angles), np.sin(angles), speeds], axis=1).astype(np.float32)
y = np.array([teacher(*state) for state in zip(angles, speeds)], np.float32)[:, None] / STRONGEST

model = Sequential(
    [
        InputLayer(shape=(3,)),
        Dense(48, activation="tanh"),
        Dense(48, activation="tanh"),
        Dense(1, activation="tanh"),
    ]
)
model.compile(loss="mse", optimizer=Adam(learning_rate=0.003))
history = model.fit(x, y, epochs=options.epochs, batch_size=128, validation_split=0.1, verbose=0)
print(f"mean squared error of the torque: {history.history['val_loss'][-1]:.4f}")

net = model.as_njit()


@numba.njit(parallel=True)
def simulate(starts, by_net):
    """Angles (pendulums, steps) from starts (pendulums, 2) of angle and speed."""
    path = np.empty((len(starts), STEPS))
    for i in numba.prange(len(starts)):
        angle, speed = starts[i]
        state, torque = np.empty(3, np.float32), np.empty(1, np.float32)
        for t in range(STEPS):
            if by_net:
                state[0], state[1], state[2] = np.cos(angle), np.sin(angle), speed
                net(state, torque)
                angle, speed = move(angle, speed, STRONGEST * torque[0])
            else:
                angle, speed = move(angle, speed, teacher(angle, speed))
            path[i, t] = angle
    return path


starts = np.stack([rng.uniform(-np.pi, np.pi, 2000), rng.normal(size=2000)], axis=1)
simulate(starts[:1], True)  # compiles
paths, standing = {}, {}
for name, by_net in (("teacher", False), ("net", True)):
    begin = time.perf_counter()
    paths[name] = simulate(starts, by_net)
    seconds = time.perf_counter() - begin
    standing[name] = (np.cos(paths[name]) > 0.95).mean(axis=0)  # how many are up at each time
    print(f"{name}: {standing[name][-1]:.1%} of {len(starts):,} pendulums stand at the end; "
          f"{starts.shape[0] * STEPS / seconds / 1e6:.1f} million steps a second")  # fmt: skip

figure = Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
left, right = figure.subplots(1, 2)
seconds = STEP * np.arange(STEPS)
shown = int(np.argmin(np.abs(np.abs(starts[:, 0]) - np.pi) + np.abs(starts[:, 1])))  # begins hanging, almost at rest
for name, color, line in (("net", "#0072B2", "-"), ("teacher", "#D55E00", "--")):
    left.plot(seconds, np.cos(paths[name][shown]), line, color=color, label=name)
    right.plot(seconds, 100 * standing[name], line, color=color, label=name)
left.set(title="A pendulum that hangs at first", xlabel="seconds", ylabel="height of its end")
right.set(title=f"{len(starts):,} pendulums", xlabel="seconds", ylabel="% that stand", ylim=(0, 102))
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
figure.savefig(options.out / "simulation.png")
