"""What users write with the estimators of fastmlp.sklearn; see test_typing.py."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from fastmlp.sklearn import MLPClassifier, MLPRegressor


def classify(x: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """The share that is right."""
    classifier = MLPClassifier(hidden_layer_sizes=(8, 4), activation="tanh", max_iter=5, random_state=0)
    classes: np.ndarray = classifier.fit(x, y).predict(x)
    shares: np.ndarray = classifier.predict_proba(x)
    assert shares.shape == (len(x), 2)
    return np.count_nonzero(classes == y) / len(y)


def estimate(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values."""
    regressor = MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.01, max_iter=5, random_state=0)
    regressor.fit(x, y)
    return regressor.predict(x)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # five epochs are few, which they say
    samples = np.random.default_rng(0).normal(size=(40, 3))
    assert classify(samples, (samples[:, 0] > 0).astype(np.int64)) > 0
    assert estimate(samples, samples[:, 0]).shape == (40,)
