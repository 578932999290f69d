"""Initial values of weights, by Keras's rules; drawn from the generator that set_random_seed seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import random
from .checks import known_name, resolve

# Standard deviation of a normal distribution cut off at two sigma, which VarianceScaling divides out.
_TRUNCATED = 0.87962566103423978


class Initializer:
    """Makes an array of initial values when called with a shape (inputs, units) or (units,)."""

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def _generator(self) -> np.random.Generator:
        # A seed of one's own gives the same values at each call, as in Keras.
        return random.generator() if self.seed is None else np.random.default_rng(self.seed)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape)")


class Constant(Initializer):
    """The same value everywhere."""

    def __init__(self, value: float = 0.0):
        super().__init__()
        self.value = value

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        return np.full(shape, self.value, np.float64)


class Zeros(Constant):
    """Zeros: the default of biases."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """Ones."""

    def __init__(self) -> None:
        super().__init__(1.0)


class RandomUniform(Initializer):
    """Uniform between minval and maxval."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        return self._generator().uniform(self.minval, self.maxval, shape)


class RandomNormal(Initializer):
    """Normal with that mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        return self._generator().normal(self.mean, self.stddev, shape)


class VarianceScaling(Initializer):
    """Values of variance scale / fan, so that signals keep their size from layer to layer.

    Args:
        scale: The variance times fan.
        mode: fan is the number of inputs ("fan_in"), units ("fan_out") or their mean ("fan_avg").
        distribution: "uniform", or "truncated_normal" (cut off at two standard deviations).
        seed: None draws from the common generator; a number gives the same values at each call.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ):
        super().__init__(seed)
        if scale <= 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.scale = scale
        self.mode = known_name("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = known_name("distribution", distribution, ("uniform", "truncated_normal"))

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        fan_in, fan_out = shape[0], shape[-1]
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        generator = self._generator()
        if self.distribution == "uniform":
            limit = np.sqrt(3 * variance)
            return generator.uniform(-limit, limit, shape)
        values = generator.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = generator.standard_normal(int(outside.sum()))
        return values * (np.sqrt(variance) / _TRUNCATED)


def _scaling(name: str, scale: float, mode: str, distribution: str, source: str) -> type[VarianceScaling]:
    def __init__(self, seed: int | None = None):
        VarianceScaling.__init__(self, scale, mode, distribution, seed)

    document = f"VarianceScaling(scale={scale:g}, mode={mode!r}, distribution={distribution!r}); {source}."
    return type(name, (VarianceScaling,), {"__init__": __init__, "__doc__": document, "__module__": __name__})


_GLOROT, _HE, _LECUN = "Glorot & Bengio (2010), AISTATS", "He et al. (2015), ICCV", "LeCun et al. (1998)"
GlorotUniform = _scaling("GlorotUniform", 1.0, "fan_avg", "uniform", _GLOROT)
GlorotNormal = _scaling("GlorotNormal", 1.0, "fan_avg", "truncated_normal", _GLOROT)
HeUniform = _scaling("HeUniform", 2.0, "fan_in", "uniform", _HE)
HeNormal = _scaling("HeNormal", 2.0, "fan_in", "truncated_normal", _HE)
LecunUniform = _scaling("LecunUniform", 1.0, "fan_in", "uniform", _LECUN)
LecunNormal = _scaling("LecunNormal", 1.0, "fan_in", "truncated_normal", _LECUN)

_NAMES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "random_uniform": RandomUniform,
    "random_normal": RandomNormal,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
}


def get(identifier: Any) -> Initializer:
    """Initializer from an object, a class or a name in Keras's spellings ("glorot_uniform", "GlorotUniform")."""
    return resolve("an initializer", identifier, Initializer, _by_name)


def _by_name(name: str) -> Initializer:
    classes = {cls.__name__.lower(): cls for cls in _NAMES.values()}
    return (classes.get(name.lower()) or _NAMES[known_name("initializer", name, _NAMES)])()
