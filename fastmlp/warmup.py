"""Compile everything ahead of the first use."""

from __future__ import annotations

import numpy as np


def warmup(dtypes: tuple[str, ...] = ("float32",), everything: bool = False) -> None:
    """Compile, or load from the disk cache, the kernels of fit, evaluate and predict.

    Without it the first call does so, which takes some seconds once on a machine. Call it when a service starts, or
    while an image is built. Activations, losses, metrics, optimizers and layers are small functions beside them, each
    of which is compiled when a model first uses it.

    Args:
        dtypes: Float types of the models to come; each has its own kernels. Input of uint8 and of the float type is
            prepared for.
        everything: Whether to compile every activation, loss, metric, optimizer and layer, too, a tenth of a second
            each; else they are compiled when a model first uses one, but for sigmoid, relu, softmax, the crossentropy
            of classes, accuracy, SGD and Adam.

    >>> import fastmlp
    >>> fastmlp.warmup()
    """
    from .layers import Dense, Input
    from .models import Sequential
    from .plan import compile_all

    for dtype in dtypes:
        for x in (np.zeros((2, 4), np.uint8), np.zeros((2, 4), dtype)):
            hidden = [Dense(2, activation=name, kernel_initializer="zeros") for name in ("sigmoid", "relu", "softmax")]
            model = Sequential([Input((4,)), *hidden], dtype=dtype)
            for optimizer in ("adam", "sgd"):
                model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
                model.fit(x, [0, 1], shuffle=False, verbose=0)
            model.evaluate(x, [0, 1], verbose=0)
            model.predict(x)
            model.predict(x[:1])
        if everything:
            compile_all(dtype)
