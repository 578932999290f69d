"""Compile everything ahead of the first use."""

from __future__ import annotations

import numpy as np


def warmup(dtypes: tuple[str, ...] = ("float32",)) -> None:
    """Compile, or load from the disk cache, the kernels of fit, evaluate and predict.

    Without it the first call does so, which takes some seconds once on a machine. Call it when a service starts, or
    while an image is built. Activations, losses, metrics, optimizers and layers are small functions beside them, each
    of which is compiled when a model first uses it.

    Args:
        dtypes: Float types of the models to come; each has its own kernels. Input of uint8 and of the float type is
            prepared for.

    >>> import fastmlp
    >>> fastmlp.warmup()
    """
    from .layers import Dense, Input
    from .models import Sequential

    for dtype in dtypes:
        for x in (np.zeros((2, 4), np.uint8), np.zeros((2, 4), dtype)):
            model = Sequential([Input((4,)), Dense(2, activation="softmax", kernel_initializer="zeros")], dtype=dtype)
            model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            model.fit(x, [0, 1], shuffle=False, verbose=0)
            model.evaluate(x, [0, 1], verbose=0)
            model.predict(x)
            model.predict(x[:1])
