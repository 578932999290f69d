"""The same training job in fastmlp and in other libraries: each as a function that runs one epoch and validates.

Every maker takes a Job and returns a function without arguments that trains on all training rows once, in a new order,
then computes loss and accuracy of the validation rows, and returns that loss. All use float32 and plain SGD.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Job:
    """A training job.

    Attributes:
        name: What tables call it.
        units: Inputs, then the units of each layer; softmax follows the last.
        activation: Of the hidden layers, "sigmoid" or "relu".
        batch: Rows of a step.
        x, y: Training rows (n, units[0]) and class indices (n,).
        x_val, y_val: The same for validation.
    """

    name: str
    units: tuple[int, ...]
    activation: str
    batch: int
    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray

    @property
    def operations(self) -> float:
        """Floating-point operations of an epoch, dense: three products for training, one for validation."""
        weights = sum(k * m for k, m in zip(self.units, self.units[1:]))
        first = self.units[0] * self.units[1]
        return len(self.x) * (6 * weights - 2 * first) + len(self.x_val) * 2 * weights

    def floats(self) -> tuple[np.ndarray, np.ndarray]:
        """x and x_val as float32, for libraries that want floats: converted before the clock starts."""
        return self.x.astype(np.float32), self.x_val.astype(np.float32)

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same initial weights for all."""
        rng = np.random.default_rng(0)
        pairs = []
        for k, m in zip(self.units, self.units[1:]):
            limit = np.sqrt(6 / (k + m))
            pairs.append((rng.uniform(-limit, limit, (k, m)).astype(np.float32), np.zeros(m, np.float32)))
        return pairs


def _flat(job: Job) -> list[np.ndarray]:
    return [array for pair in job.weights() for array in pair]


def fastmlp_epoch(job: Job) -> Callable[[], float]:
    """fastmlp, as users write it."""
    import fastmlp
    from fastmlp.layers import Dense, Input

    layers = [Dense(m, activation=job.activation) for m in job.units[1:-1]]
    model = fastmlp.Sequential([Input((job.units[0],)), *layers, Dense(job.units[-1], activation="softmax")])
    model.compile(
        optimizer=fastmlp.optimizers.SGD(LEARNING_RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.set_weights(_flat(job))

    # fit checks and compresses the data once, before its first epoch; the time of an epoch is what History has.
    def epochs(count: int) -> list[float]:
        history = model.fit(job.x, job.y, job.batch, epochs=count, verbose=0, validation_data=(job.x_val, job.y_val))
        return history.seconds

    def epoch() -> float:
        history = model.fit(job.x, job.y, job.batch, verbose=0, validation_data=(job.x_val, job.y_val))
        return history.history["val_loss"][0]

    epoch.seconds = epochs  # type: ignore[attr-defined]
    return epoch


def jax_epoch(job: Job) -> Callable[[], float]:
    """JAX, its fastest form on a CPU: one jitted scan over the epoch's batches."""
    import jax
    import jax.numpy as jnp

    activation = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[job.activation]

    def logits(weights, x):
        for w, b in weights[:-1]:
            x = activation(x @ w + b)
        return x @ weights[-1][0] + weights[-1][1]

    def loss(weights, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, x)), y[:, None], 1).mean()

    x, x_val = (jnp.asarray(a) for a in job.floats())
    y, y_val = jnp.asarray(job.y, jnp.int32), jnp.asarray(job.y_val, jnp.int32)
    steps = len(job.x) // job.batch

    @jax.jit
    def run(weights, order):
        def step(weights, rows):
            value, gradient = jax.value_and_grad(loss)(weights, x[rows], y[rows])
            return jax.tree.map(lambda w, g: w - LEARNING_RATE * g, weights, gradient), value

        return jax.lax.scan(step, weights, order[: steps * job.batch].reshape(steps, job.batch))

    @jax.jit
    def validate(weights):
        return loss(weights, x_val, y_val), (logits(weights, x_val).argmax(1) == y_val).mean()

    state = [jax.tree.map(jnp.asarray, job.weights())]
    rng = np.random.default_rng(0)

    def epoch() -> float:
        state[0], losses = run(state[0], jnp.asarray(rng.permutation(len(job.x))))
        value, accuracy = validate(state[0])
        losses.block_until_ready()
        accuracy.block_until_ready()
        return float(value)

    return epoch


def torch_epoch(job: Job) -> Callable[[], float]:
    """PyTorch, eager, as its tutorials write it but with whole arrays instead of a DataLoader."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count() or 1)
    activation = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}[job.activation]
    layers: list[nn.Module] = []
    for w, b in job.weights():
        layer = nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(w.T.copy()), torch.from_numpy(b)
        layers += [layer, activation()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    loss = nn.CrossEntropyLoss()
    x, x_val = (torch.from_numpy(a) for a in job.floats())
    y, y_val = (torch.from_numpy(a.astype(np.int64)) for a in (job.y, job.y_val))

    def epoch() -> float:
        for rows in torch.randperm(len(x)).split(job.batch):
            optimizer.zero_grad(set_to_none=True)
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            z = model(x_val)
            (z.argmax(1) == y_val).float().mean().item()
            return float(loss(z, y_val))

    return epoch


def sklearn_epoch(job: Job) -> Callable[[], float]:
    """scikit-learn's MLPClassifier, one partial_fit per epoch."""
    from sklearn.metrics import accuracy_score, log_loss
    from sklearn.neural_network import MLPClassifier

    x, x_val = job.floats()
    model = MLPClassifier(
        job.units[1:-1],
        activation={"sigmoid": "logistic", "relu": "relu"}[job.activation],
        solver="sgd",
        alpha=0.0,
        batch_size=job.batch,
        learning_rate_init=LEARNING_RATE,
        momentum=0.0,
        random_state=0,
    )
    classes = np.unique(job.y)

    def epoch() -> float:
        model.partial_fit(x, job.y, classes=classes)
        p = model.predict_proba(x_val)
        accuracy_score(job.y_val, p.argmax(1))
        return float(log_loss(job.y_val, p.astype(np.float64), labels=classes))

    return epoch


def keras_epoch(job: Job) -> Callable[[], float]:
    """Keras on JAX, its fastest backend for small nets on a CPU."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    layers = [keras.layers.Dense(m, activation=job.activation) for m in job.units[1:-1]]
    model = keras.Sequential(
        [keras.layers.Input((job.units[0],)), *layers, keras.layers.Dense(job.units[-1], activation="softmax")]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(LEARNING_RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.set_weights(_flat(job))
    x, x_val = job.floats()

    def epoch() -> float:
        history = model.fit(x, job.y, job.batch, validation_data=(x_val, job.y_val), verbose=0)
        return history.history["val_loss"][0]

    return epoch


def numpy_epoch(job: Job) -> Callable[[], float]:
    """NumPy by hand."""
    weights = [[w.copy(), b.copy()] for w, b in job.weights()]
    x, x_val = job.floats()
    rng = np.random.default_rng(0)
    sigmoid = job.activation == "sigmoid"

    def forward(a):
        outputs = [a]
        for w, b in weights:
            z = outputs[-1] @ w + b
            if w is weights[-1][0]:
                z = np.exp(z - z.max(1, keepdims=True))
                outputs.append(z / z.sum(1, keepdims=True))
            else:
                outputs.append(1 / (1 + np.exp(-z)) if sigmoid else np.maximum(z, 0))
        return outputs

    def epoch() -> float:
        order = rng.permutation(len(x))
        with np.errstate(all="ignore"):
            for start in range(0, len(x), job.batch):
                rows = order[start : start + job.batch]
                outputs = forward(x[rows])
                delta = outputs.pop()
                delta[np.arange(len(rows)), job.y[rows]] -= 1
                delta *= np.float32(LEARNING_RATE / len(rows))
                for pair, a in zip(weights[::-1], outputs[::-1]):
                    w, b = pair
                    slope = (a * (1 - a) if sigmoid else (a > 0)) if a is not outputs[0] else None
                    below = (delta @ w.T) * slope if slope is not None else None
                    w -= a.T @ delta
                    b -= delta.sum(0)
                    delta = below
            p = forward(x_val)[-1]
        (p.argmax(1) == job.y_val).mean()
        return float(-np.log(np.maximum(p[np.arange(len(p)), job.y_val], 1e-7)).mean())

    return epoch


#: Name -> (module it needs, maker).
PEERS: dict[str, tuple[str, Callable[[Job], Callable[[], float]]]] = {
    "fastmlp": ("fastmlp", fastmlp_epoch),
    "JAX scan": ("jax", jax_epoch),
    "PyTorch": ("torch", torch_epoch),
    "scikit-learn": ("sklearn", sklearn_epoch),
    "Keras on JAX": ("keras", keras_epoch),
    "NumPy": ("numpy", numpy_epoch),
}


def available(names: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Peers that are installed, and those that are not."""
    names = names or list(PEERS)
    here = [name for name in names if importlib.util.find_spec(PEERS[name][0]) is not None]
    return here, [name for name in names if name not in here]


def make(name: str, job: Job) -> Callable[[], float]:
    """The peer's epoch function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PEERS[name][1](job)
