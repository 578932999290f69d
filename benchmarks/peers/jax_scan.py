"""JAX in its fastest form on a CPU: one jitted scan over the epoch's batches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.jobs import LEARNING_RATE, Job

from . import Peer, Predictor

ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}


class Library(Peer):
    """Functions of the weights, each jitted as a whole."""

    def __init__(self, job: Job):
        super().__init__(job)
        activation = ACTIVATIONS[job.activation]

        def logits(weights, x):
            for w, b in weights[:-1]:
                x = activation(x @ w + b)
            return x @ weights[-1][0] + weights[-1][1]

        def loss(weights, x, y):
            return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, x)), y[:, None], 1).mean()

        @jax.jit
        def train(weights, order, x, y):
            def step(weights, rows):
                value, gradient = jax.value_and_grad(loss)(weights, x[rows], y[rows])
                return jax.tree.map(lambda w, g: w - LEARNING_RATE * g, weights, gradient), value

            return jax.lax.scan(step, weights, order)

        @jax.jit
        def validate(weights, x, y):
            return loss(weights, x, y), (logits(weights, x).argmax(1) == y).mean()

        @jax.jit
        def predict(weights, x):
            return jax.nn.softmax(logits(weights, x.astype(jnp.float32)))

        self._train, self._validate, self._predict = train, validate, predict
        x, x_val = (jnp.asarray(rows) for rows in self.data.floats())
        self.train_data, self.validation_data = (x, jnp.asarray(self.data.y)), (x_val, jnp.asarray(self.data.y_val))
        self.weights = jax.tree.map(jnp.asarray, job.weights())
        self.random = np.random.default_rng(0)

    def epoch(self) -> float:
        batch = self.job.batch
        # A scan takes whole batches: of an epoch whose last one is shorter, its rows are left out.
        steps = len(self.data.x) // batch
        order = self.random.permutation(len(self.data.x))[: steps * batch].reshape(steps, batch)
        self.weights, losses = self._train(self.weights, jnp.asarray(order), *self.train_data)
        loss, accuracy = self._validate(self.weights, *self.validation_data)
        jax.block_until_ready((losses, accuracy))
        return float(loss)

    def predictors(self) -> dict[str, Predictor]:
        return {"jit": lambda x: np.asarray(self._predict(self.weights, x))}
