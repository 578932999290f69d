"""The same job in fastmlp and in other libraries, each as fast as its users commonly write it."""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.jobs import Job

#: From rows to the network's output, both NumPy arrays.
Predictor = Callable[[np.ndarray], np.ndarray]


class Peer(ABC):
    """A job in one library: float32, plain SGD, from the job's weights.

    Args:
        job: What to train. Making the peer loads and converts the data.
    """

    def __init__(self, job: Job):
        self.job = job
        self.data = job.load()

    @abstractmethod
    def epoch(self) -> float:
        """Train on all rows in a new order, then compute loss and accuracy of the validation rows; returns the loss."""

    def timed_epoch(self) -> tuple[float, float]:
        """Seconds of an epoch, and its validation loss."""
        start = time.perf_counter()
        loss = self.epoch()
        return time.perf_counter() - start, loss

    def predictors(self) -> dict[str, Predictor]:
        """The library's ways to predict, by name."""
        return {}


@dataclass(frozen=True)
class Entry:
    """Where a peer is: its module here, the packages it needs, and its variables of the environment."""

    module: str
    packages: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether its packages are."""
        return all(importlib.util.find_spec(package) is not None for package in self.packages)

    def load(self) -> type[Peer]:
        """Import the library; returns the class of the peer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f".{self.module}", __name__).Library


PEERS = {
    "fastmlp": Entry("fastmlp_fit", ("fastmlp",)),
    "JAX scan": Entry("jax_scan", ("jax",)),
    "PyTorch": Entry("torch_eager", ("torch",)),
    "scikit-learn": Entry("sklearn_mlp", ("sklearn",)),
    "Keras on JAX": Entry("keras_fit", ("keras", "jax"), {"KERAS_BACKEND": "jax"}),
    "Keras on TensorFlow": Entry("keras_fit", ("keras", "tensorflow"), {"KERAS_BACKEND": "tensorflow"}),
    "Keras on PyTorch": Entry("keras_fit", ("keras", "torch"), {"KERAS_BACKEND": "torch"}),
    "NumPy": Entry("numpy_by_hand", ("numpy",)),
}
