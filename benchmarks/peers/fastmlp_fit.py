"""fastmlp, as users write it."""

from __future__ import annotations

import fastmlp
from benchmarks.jobs import LEARNING_RATE, Job
from fastmlp.layers import Dense, Input

from . import Peer, Predictor


class Library(Peer):
    """Sequential, fit and predict."""

    def __init__(self, job: Job):
        super().__init__(job)
        layers = [Dense(m, activation=job.activation) for m in job.units[1:-1]]
        self.model = fastmlp.Sequential([Input((job.units[0],)), *layers, Dense(job.units[-1], activation="softmax")])
        self.model.compile(
            optimizer=fastmlp.optimizers.SGD(LEARNING_RATE),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        self.model.set_weights([array for pair in job.weights() for array in pair])

    def fit(self, epochs: int) -> fastmlp.callbacks.History:
        """Train for so many epochs."""
        data, batch = self.data, self.job.batch
        return self.model.fit(
            data.x, data.y, batch, epochs=epochs, verbose=0, validation_data=(data.x_val, data.y_val)
        )  # fmt: skip

    def epoch(self) -> float:
        return self.fit(1).history["val_loss"][0]

    def timed_epoch(self) -> tuple[float, float]:
        # fit checks and compresses the rows once, before its first epoch, as the others convert theirs beforehand: the
        # time of an epoch is that of its second.
        history = self.fit(2)
        return history.seconds[1], history.history["val_loss"][1]

    def predictors(self) -> dict[str, Predictor]:
        return {"predict": self.model.predict}
