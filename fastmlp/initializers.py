"""Initial values of weights, by Keras's rules; drawn from the generator that set_random_seed seeds.

>>> from fastmlp.initializers import Identity
>>> Identity(gain=2.0)((2, 3))
array([[2., 0., 0.],
       [0., 2., 0.]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import random
from .arrays import numbers
from .checks import finite, known_name, named_class, number, positive_int, resolve
from .serialization import Configurable, deserialize

# Standard deviation of a normal distribution cut off at two sigma, which VarianceScaling divides out; as in Keras,
# TruncatedNormal doesn't.
_TRUNCATED = 0.87962566103423978


class Initializer(Configurable, kind="initializer"):
    """Makes an array of initial values when called with a shape (inputs, units) or (units,)."""

    def __init__(self, seed: int | None = None):
        if seed is not None:
            positive_int("seed", seed, 0, 2**256)
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
        if isinstance(value, (int, float)):
            number("value", value)
        self.value = value

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        values = numbers("value", self.value)
        finite("value", np.atleast_1d(values))
        return np.full(shape, values, np.float64)


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
        if number("minval", minval) > number("maxval", maxval):
            raise ValueError(f"minval must be at most maxval, got {minval} and {maxval}")
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        return self._generator().uniform(self.minval, self.maxval, shape)


class RandomNormal(Initializer):
    """Normal with that mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        number("mean", mean)
        number("stddev", stddev, 0.0)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        return self._generator().normal(self.mean, self.stddev, shape)


class TruncatedNormal(Initializer):
    """Normal with that mean and standard deviation, drawn again where it is further than two of them from the mean.

    What remains has a standard deviation of 0.88 stddev.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean, self.stddev = number("mean", mean), number("stddev", stddev, 0.0)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        return self.mean + self.stddev * _truncated_normal(self._generator(), shape)


class VarianceScaling(Initializer):
    """Values of variance scale / fan, so that signals keep their size from layer to layer.

    Args:
        scale: The variance times fan.
        mode: fan is the number of inputs ("fan_in"), units ("fan_out") or their mean ("fan_avg").
        distribution: "uniform", "truncated_normal" (cut off at two standard deviations) or "untruncated_normal".
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
        if number("scale", scale) <= 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.scale = scale
        self.mode = known_name("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = known_name(
            "distribution", distribution, ("uniform", "truncated_normal", "untruncated_normal")
        )

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        fan_in, fan_out = shape[0], shape[-1]
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        generator = self._generator()
        if self.distribution == "uniform":
            limit = np.sqrt(3 * variance)
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return generator.standard_normal(shape) * np.sqrt(variance)
        return _truncated_normal(generator, shape) * (np.sqrt(variance) / _TRUNCATED)


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = generator.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(int(outside.sum()))
    return values


def _scaling(name: str, scale: float, mode: str, distribution: str, source: str) -> type[VarianceScaling]:
    def __init__(self: VarianceScaling, seed: int | None = None) -> None:
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


class Orthogonal(Initializer):
    """Rows or columns, whichever are fewer, at right angles to each other and of length gain.

    Q of the QR decomposition of a normal matrix. The sign of R's diagonal goes into Q, which makes Q uniform among the
    orthogonal matrices: Mezzadri (2007), Notices of the AMS 54(5). For deep linear nets: Saxe et al. (2014), ICLR.

    Args:
        gain: Factor of the matrix.
        seed: None draws from the common generator; a number gives the same values at each call.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = number("gain", gain)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        if len(shape) < 2:
            raise ValueError(f"Orthogonal makes matrices, but is asked for shape {shape}; it can't start a bias")
        rows, columns = int(np.prod(shape[:-1])), shape[-1]
        normal = self._generator().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q *= np.where(np.diagonal(r) < 0, -self.gain, self.gain)
        return (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """gain where row and column are equal, 0 elsewhere.

    Args:
        gain: Factor of the matrix.
    """

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = number("gain", gain)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Initial values, float64, of that shape."""
        if len(shape) != 2:
            raise ValueError(f"Identity makes matrices, but is asked for shape {shape}; it can't start a bias")
        return self.gain * np.eye(*shape)


# Keras has them under both names.
OrthogonalInitializer, IdentityInitializer = Orthogonal, Identity

_NAMES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "random_uniform": RandomUniform,
    "random_normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
    "identity": Identity,
}

# Keras's other spellings.
_ALIASES = {
    "zero": Zeros,
    "one": Ones,
    "uniform": RandomUniform,
    "normal": RandomNormal,
    "orthogonalinitializer": Orthogonal,
    "identityinitializer": Identity,
}


#: What get takes for a initializer.
Identifier = str | Initializer | type[Initializer] | dict[str, Any]


def get(identifier: Any) -> Initializer:
    """Initializer from an object, a class, a name in Keras's spellings or a dictionary of `serialize`.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.

    >>> get("glorot_uniform"), get("GlorotUniform")
    (GlorotUniform(seed=None), GlorotUniform(seed=None))
    """
    if isinstance(identifier, dict):
        return deserialize(identifier, "initializer")
    return resolve("an initializer", identifier, Initializer, _by_name)


def _by_name(name: str) -> Initializer:
    return (_ALIASES.get(name.lower()) or named_class("initializer", name, _NAMES))()
