"""NumPy by hand."""

from __future__ import annotations

import numpy as np

from benchmarks.jobs import LEARNING_RATE, Job

from . import Peer, Predictor


class Library(Peer):
    """Forward and backward written out, with softmax and cross-entropy differentiated together."""

    def __init__(self, job: Job):
        super().__init__(job)
        self.weights = job.weights()
        self.x, self.x_val = self.data.floats()
        self.random = np.random.default_rng(0)
        self.sigmoid = job.activation == "sigmoid"

    def forward(self, a: np.ndarray) -> list[np.ndarray]:
        """The input and the activations of every layer."""
        outputs = [a]
        for w, b in self.weights[:-1]:
            z = outputs[-1] @ w + b
            outputs.append(1 / (1 + np.exp(-z)) if self.sigmoid else np.maximum(z, 0))
        w, b = self.weights[-1]
        z = outputs[-1] @ w + b
        e = np.exp(z - z.max(1, keepdims=True))
        return [*outputs, e / e.sum(1, keepdims=True)]

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        """One batch."""
        *outputs, delta = self.forward(x)
        delta[np.arange(len(y)), y] -= 1
        delta *= np.float32(LEARNING_RATE / len(y))
        for layer in range(len(self.weights) - 1, -1, -1):
            (w, b), a = self.weights[layer], outputs[layer]
            dw, db = a.T @ delta, delta.sum(0)
            if layer > 0:  # with the weights as they were
                delta = (delta @ w.T) * (a * (1 - a) if self.sigmoid else a > 0)
            w -= dw
            b -= db

    def epoch(self) -> float:
        order = self.random.permutation(len(self.x))
        with np.errstate(all="ignore"):
            for start in range(0, len(order), self.job.batch):
                rows = order[start : start + self.job.batch]
                self.step(self.x[rows], self.data.y[rows])
            p = self.forward(self.x_val)[-1]
        y = self.data.y_val
        (p.argmax(1) == y).mean()
        return float(-np.log(np.maximum(p[np.arange(len(p)), y], 1e-7)).mean())

    def predictors(self) -> dict[str, Predictor]:
        def predict(x: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore"):
                return self.forward(x.astype(np.float32, copy=False))[-1]

        return {"by hand": predict}
