"""Keras, as users write it, on the backend that KERAS_BACKEND names."""

from __future__ import annotations

import keras

from benchmarks.jobs import LEARNING_RATE, Job

from . import Peer, Predictor


class Library(Peer):
    """Sequential, fit and predict."""

    def __init__(self, job: Job):
        super().__init__(job)
        layers = [keras.layers.Dense(m, activation=job.activation) for m in job.units[1:-1]]
        self.model = keras.Sequential(
            [keras.layers.Input((job.units[0],)), *layers, keras.layers.Dense(job.units[-1], activation="softmax")]
        )
        self.model.compile(
            optimizer=keras.optimizers.SGD(LEARNING_RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        self.model.set_weights([array for pair in job.weights() for array in pair])
        self.x, self.x_val = self.data.floats()

    def epoch(self) -> float:
        history = self.model.fit(
            self.x, self.data.y, self.job.batch, verbose=0, validation_data=(self.x_val, self.data.y_val)
        )
        return history.history["val_loss"][0]

    def predictors(self) -> dict[str, Predictor]:
        return {
            "model(x)": lambda x: keras.ops.convert_to_numpy(self.model(x)),
            "predict": lambda x: self.model.predict(x, verbose=0),
        }
