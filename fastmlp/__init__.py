"""fastmlp: multilayer perceptrons at the speed of the CPU, behind the Keras API.

>>> import fastmlp
>>> from fastmlp.layers import Dense, Flatten, InputLayer
>>> model = fastmlp.models.Sequential()
>>> model.add(InputLayer(shape=(28, 28)))
>>> model.add(Flatten())
>>> model.add(Dense(10, activation="softmax"))
>>> model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
>>> model.count_params()
7850
"""

from typing import TYPE_CHECKING, Any

from . import _interpreter  # noqa: F401

# isort: split
from . import (
    activations,
    callbacks,
    config,
    constraints,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from .layers import Dense, Flatten, Input, InputLayer
from .models import Sequential
from .optimizers import SGD
from .random import set_random_seed
from .threads import get_num_threads, set_num_threads
from .utils import to_categorical
from .warmup import warmup

if TYPE_CHECKING:
    from .reporting import report

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Dense",
    "Flatten",
    "Input",
    "InputLayer",
    "Sequential",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "get_num_threads",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "report",
    "set_num_threads",
    "set_random_seed",
    "to_categorical",
    "utils",
    "warmup",
]


def __getattr__(name: str) -> Any:
    """What is imported at its first use, so that `import fastmlp` stays fast."""
    if name == "report":
        from .reporting import report

        return report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
