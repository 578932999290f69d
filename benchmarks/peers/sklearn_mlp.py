"""scikit-learn's MLPClassifier, one partial_fit per epoch."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier

from benchmarks.jobs import LEARNING_RATE, Job

from . import Peer, Predictor

ACTIVATIONS = {"sigmoid": "logistic", "relu": "relu"}


class Library(Peer):
    """An MLPClassifier that does what the others do: no penalty, no momentum, no early end."""

    def __init__(self, job: Job):
        super().__init__(job)
        self.x, self.x_val = self.data.floats()
        self.classes = np.arange(job.units[-1])
        self.model = MLPClassifier(
            job.units[1:-1],
            activation=ACTIVATIONS[job.activation],
            solver="sgd",
            alpha=0.0,
            batch_size=job.batch,
            learning_rate_init=LEARNING_RATE,
            momentum=0.0,
            random_state=0,
        )
        # Its weights exist after the first call only, and are then changed in place.
        self.model.partial_fit(self.x[: job.batch], self.data.y[: job.batch], classes=self.classes)
        for (w, b), coefs, intercepts in zip(job.weights(), self.model.coefs_, self.model.intercepts_):
            coefs[...], intercepts[...] = w, b

    def epoch(self) -> float:
        self.model.partial_fit(self.x, self.data.y)
        p = self.model.predict_proba(self.x_val)
        accuracy_score(self.data.y_val, p.argmax(1))
        return float(log_loss(self.data.y_val, p.astype(np.float64), labels=self.classes))

    def predictors(self) -> dict[str, Predictor]:
        return {"predict_proba": self.model.predict_proba}
