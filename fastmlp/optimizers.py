"""Optimizers: descriptions of how a gradient moves the weights; the kernels do it."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import schedules as schedules
from .checks import known_name, resolve
from .kernels import optimizers as _kernels


class Optimizer:
    """Base of the optimizers: a learning rate, a kernel's name, the kernel's numbers."""

    def __init__(self, learning_rate: float, name: str):
        self.learning_rate = learning_rate
        self.name = name

    @property
    def learning_rate(self) -> float:
        """Size of a step; may be set between two calls of fit."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _number("learning_rate", value, 0.0, np.inf)

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        raise NotImplementedError(f"{type(self).__name__} must define kernel_name")

    def hyper(self) -> np.ndarray:
        """The kernel's numbers, (HYPER_SIZE,) float64."""
        numbers = np.zeros(_kernels.HYPER_SIZE)
        numbers[_kernels.LEARNING_RATE] = self.learning_rate
        return numbers


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

        plain      w -= learning_rate * g
        momentum   v = momentum * v - learning_rate * g;  w += v
        nesterov   v likewise;                            w += momentum * v - learning_rate * g

    Args:
        learning_rate: Size of a step. 0.01, Keras's default.
        momentum: Share of the last step that goes on, from 0 (none) to 1.
        nesterov: Whether to look ahead along the momentum.
        name: Name of the object.

    Raises:
        ValueError: If learning_rate is negative or not finite, or momentum outside [0, 1].
    """

    def __init__(
        self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, *, name: str = "SGD"
    ):
        super().__init__(learning_rate, name)
        self.momentum = _number("momentum", momentum, 0.0, 1.0)
        self.nesterov = bool(nesterov)

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "sgd" if self.momentum == 0 else "nesterov" if self.nesterov else "momentum"

    def hyper(self) -> np.ndarray:
        """The kernel's numbers, (HYPER_SIZE,) float64."""
        numbers = super().hyper()
        numbers[_kernels.MOMENTUM_RATE] = self.momentum
        return numbers

    def __repr__(self) -> str:
        return f"SGD(learning_rate={self.learning_rate}, momentum={self.momentum}, nesterov={self.nesterov})"


def _number(name: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not least <= value <= most or not np.isfinite(value):
        limits = f"from {least:g} to {most:g}" if np.isfinite(most) else f"finite and at least {least:g}"
        raise ValueError(f"{name} must be {limits}, got {value}")
    return float(value)


_NAMES = {"sgd": SGD}


def get(identifier: Any) -> Optimizer:
    """Optimizer from an object, a class or a name in any case.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.
    """
    return resolve("optimizer", identifier, Optimizer, lambda name: _NAMES[known_name("optimizer", name, _NAMES)]())
