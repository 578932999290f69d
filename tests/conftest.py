"""What every test starts from: the same seed, no bar, and quiet figures."""

import pytest

import fastmlp


@pytest.fixture(autouse=True)
def _seeded():
    fastmlp.utils.set_random_seed(1234)


@pytest.fixture
def blobs():
    """x (120, 5) float32 and labels (120,) of three separable classes."""
    import numpy as np

    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 120)
    centers = rng.standard_normal((3, 5)) * 4
    return (centers[labels] + rng.standard_normal((120, 5))).astype(np.float32), labels


@pytest.fixture
def classifier():
    """A compiled net for `blobs`."""
    model = fastmlp.Sequential(
        [
            fastmlp.layers.Input((5,)),
            fastmlp.layers.Dense(8, activation="sigmoid"),
            fastmlp.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
