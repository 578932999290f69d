"""Learning rates that change from step to step: the rate as a function of the number of steps already made.

>>> from fastmlp.optimizers.schedules import ExponentialDecay
>>> schedule = ExponentialDecay(0.8, decay_steps=10, decay_rate=0.5)
>>> schedule(10)
0.4
>>> schedule.rates(first=0, count=31)[::10]
array([0.8, 0.4, 0.2, 0.1])
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from .checks import number, positive_int, switch
from .serialization import Configurable, deserialize


class LearningRateSchedule(Configurable, kind="schedule"):
    """Base of the schedules. One of your own defines `__call__`; single steps are enough, arrays of steps are faster.

    >>> class Halving(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 if step < 2 else 0.05
    >>> Halving().rates(first=0, count=4)
    array([0.1 , 0.1 , 0.05, 0.05])
    """

    def __call__(self, step: Any) -> Any:
        """Learning rate at a step, counted from 0; for an array of steps, an array."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step)")

    def rates(self, first: int, count: int) -> np.ndarray:
        """Learning rates of `count` steps from `first` on, (count,) float64.

        All steps are asked for at once; one at a time if that gives no array of this shape.

        Raises:
            ValueError: If a rate is negative or not finite.
            TypeError: If a rate is no number.
        """
        first, count = positive_int("first", first, 0), positive_int("count", count, 0)
        rates = self._at_once(first, count) if count > 1 else None
        if rates is None:
            rates = np.array([self._single(step) for step in range(first, first + count)], np.float64)
        _check(rates, np.arange(first, first + count), self)
        return rates

    def _at_once(self, first: int, count: int) -> np.ndarray | None:
        try:
            rates = np.asarray(self(np.arange(first, first + count)))
        except Exception:  # "the truth value of an array is ambiguous" and the like; real ones will come back
            return None
        return rates.astype(np.float64) if rates.shape == (count,) and rates.dtype.kind in "iuf" else None

    def _single(self, step: int) -> float:
        rate = self(step)
        try:
            return float(rate)
        except (TypeError, ValueError):
            raise TypeError(f"{self!r} gives {rate!r} at step {step}; a number is needed") from None


#: The largest rate: that float32 can hold. With another one the first step would leave weights that aren't finite.
LARGEST = float(np.finfo(np.float32).max)


def _check(rates: np.ndarray, steps: np.ndarray, schedule: LearningRateSchedule) -> None:
    wrong = ~((rates >= 0) & (rates <= LARGEST))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{schedule!r} gives a learning rate of {rates.flat[at]} at step {steps.flat[at]}; "
            f"it must be finite and at least 0 and at most {LARGEST:g}"
        )


class _Formula(LearningRateSchedule):
    """A schedule whose _rate works on arrays."""

    def __call__(self, step: Any) -> Any:
        """Learning rate at a step, counted from 0: a float; for an array of steps, an array of float64.

        Raises:
            ValueError: If a rate is negative or not finite.
        """
        t = np.asarray(step, np.float64)
        with np.errstate(all="ignore"):
            rates = np.asarray(self._rate(t))
        _check(rates, np.asarray(step), self)
        return rates if t.ndim else float(rates)

    def _rate(self, t: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class ExponentialDecay(_Formula):
    """initial_learning_rate * decay_rate^(step / decay_steps).

    Args:
        initial_learning_rate: Rate at step 0.
        decay_steps: Steps after which the rate is decay_rate times what it was; positive.
        decay_rate: At least 0.
        staircase: Whether step / decay_steps is rounded down, so that the rate falls once in decay_steps.
        name: Name of the object.

    Raises:
        ValueError: If a number is out of its range or not finite.
        TypeError: If one is no number.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ):
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = _length("decay_steps", decay_steps)
        self.decay_rate = number("decay_rate", decay_rate, 0.0)
        self.staircase = switch("staircase", staircase)
        self.name = name

    def _rate(self, t: np.ndarray) -> np.ndarray:
        p = t / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (np.floor(p) if self.staircase else p)


class PiecewiseConstantDecay(_Formula):
    """values[0] up to and including the step boundaries[0], then values[1] up to boundaries[1], ..., then values[-1].

    Args:
        boundaries: Last step of each value but the last; rising.
        values: Rates, one more than boundaries.
        name: Name of the object.

    Raises:
        ValueError: If there isn't one value more than boundaries, boundaries don't rise, or a value is negative.
        TypeError: If one is no number.

    >>> PiecewiseConstantDecay([100, 200], [0.1, 0.01, 0.001]).rates(99, 4)
    array([0.1 , 0.1 , 0.01, 0.01])
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"):
        if not all(
            isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, str) for given in (boundaries, values)
        ):
            raise TypeError(f"boundaries and values must be lists of numbers, got {boundaries!r} and {values!r}")
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"values must be one more than boundaries, got {len(values)} values and {len(boundaries)} boundaries"
            )
        self.boundaries = [_keeping_int("a boundary", boundary) for boundary in boundaries]
        if any(later <= earlier for earlier, later in zip(self.boundaries, self.boundaries[1:])):
            raise ValueError(f"boundaries must rise, got {boundaries}")
        self.values = [number("a value", value, 0.0) for value in values]
        self.name = name

    def _rate(self, t: np.ndarray) -> np.ndarray:
        return np.asarray(self.values)[np.searchsorted(np.asarray(self.boundaries, np.float64), t, side="left")]


class PolynomialDecay(_Formula):
    """From initial_learning_rate to end_learning_rate in decay_steps, along a power of the steps that are left.

        p = min(step / decay_steps, 1)
        p = step / (decay_steps * max(1, ceil(step / decay_steps)))     with cycle
        (initial_learning_rate - end_learning_rate) * (1 - p)^power + end_learning_rate

    Args:
        initial_learning_rate: Rate at step 0.
        decay_steps: Steps to the end; positive.
        end_learning_rate: Rate at the end and from there on.
        power: Power of the remaining share; 1 is a straight line.
        cycle: Whether the rate rises again behind the end, to fall to it in each further decay_steps.
        name: Name of the object.

    Raises:
        ValueError: If a number is out of its range or not finite.
        TypeError: If one is no number.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = _length("decay_steps", decay_steps)
        self.end_learning_rate = number("end_learning_rate", end_learning_rate, 0.0)
        self.power = number("power", power, 0.0)
        self.cycle = switch("cycle", cycle)
        self.name = name

    def _rate(self, t: np.ndarray) -> np.ndarray:
        steps = self.decay_steps * (np.maximum(1, np.ceil(t / self.decay_steps)) if self.cycle else 1)
        p = np.minimum(t / steps, 1)
        return (self.initial_learning_rate - self.end_learning_rate) * (1 - p) ** self.power + self.end_learning_rate


class InverseTimeDecay(_Formula):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    Args:
        initial_learning_rate: Rate at step 0.
        decay_steps: Steps in the unit of time; positive.
        decay_rate: By how much the denominator grows in it.
        staircase: Whether step / decay_steps is rounded down, so that the rate falls once in decay_steps.
        name: Name of the object.

    Raises:
        ValueError: If a number is out of its range or not finite.
        TypeError: If one is no number.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ):
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = _length("decay_steps", decay_steps)
        self.decay_rate = number("decay_rate", decay_rate)
        self.staircase = switch("staircase", staircase)
        self.name = name

    def _rate(self, t: np.ndarray) -> np.ndarray:
        p = t / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * (np.floor(p) if self.staircase else p))


class CosineDecay(_Formula):
    """Along half a cosine from the top to alpha times the top in decay_steps, after a linear warmup if asked for.

        step < warmup_steps   initial_learning_rate + (warmup_target - initial_learning_rate) * step / warmup_steps
        then, with p = min((step - warmup_steps) / decay_steps, 1)
                              top * ((1 - alpha) * (1 + cos(pi p)) / 2 + alpha)

    Loshchilov & Hutter (2017), ICLR; the warmup: Goyal et al. (2017), arXiv:1706.02677.

    Args:
        initial_learning_rate: Rate at step 0, and the top if there is no warmup.
        decay_steps: Steps from the top to the end, not counting the warmup; positive.
        alpha: Share of the top that is left at the end.
        name: Name of the object.
        warmup_target: The top; None starts there, without a warmup.
        warmup_steps: Steps to the top.

    Raises:
        ValueError: If a number is out of its range or not finite.
        TypeError: If one is no number.

    >>> CosineDecay(0.0, decay_steps=4, warmup_target=0.2, warmup_steps=2).rates(0, 8).round(3)
    array([0.   , 0.1  , 0.2  , 0.171, 0.1  , 0.029, 0.   , 0.   ])
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ):
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, 0.0)
        self.decay_steps = _length("decay_steps", decay_steps)
        self.alpha = number("alpha", alpha, 0.0)
        self.name = name
        self.warmup_target = None if warmup_target is None else number("warmup_target", warmup_target, 0.0)
        self.warmup_steps = _keeping_int("warmup_steps", warmup_steps, 0.0)

    def _rate(self, t: np.ndarray) -> np.ndarray:
        if self.warmup_target is None:
            return self._decay(t, self.initial_learning_rate)
        rise = (self.warmup_target - self.initial_learning_rate) * (t / (self.warmup_steps or 1))
        decay = self._decay(t - self.warmup_steps, self.warmup_target)
        return np.where(t < self.warmup_steps, self.initial_learning_rate + rise, decay)

    def _decay(self, t: np.ndarray, top: float) -> np.ndarray:
        wave = _half_cosine(np.minimum(t / self.decay_steps, 1))
        return top * ((1 - self.alpha) * wave + self.alpha)


class CosineDecayRestarts(_Formula):
    """Half a cosine over and over, each time t_mul times as long and m_mul times as high.

        initial_learning_rate * ((1 - alpha) * m_mul^i * (1 + cos(pi p)) / 2 + alpha)
        in the i-th period, of first_decay_steps * t_mul^i steps, when the share p of it is over

    Loshchilov & Hutter (2017), ICLR.

    Args:
        initial_learning_rate: Rate at step 0.
        first_decay_steps: Length of the first period; positive.
        t_mul: Length of a period by that of the one before; positive. Below 1, the periods add up to
            first_decay_steps / (1 - t_mul) steps, and there are no rates beyond.
        m_mul: Height of a period by that of the one before.
        alpha: Share of initial_learning_rate that is left at the end of each.
        name: Name of the object.

    Raises:
        ValueError: If a number is out of its range or not finite.
        TypeError: If one is no number.

    >>> CosineDecayRestarts(0.2, first_decay_steps=2).rates(0, 8).round(3)
    array([0.2  , 0.1  , 0.2  , 0.171, 0.1  , 0.029, 0.2  , 0.192])
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, 0.0)
        self.first_decay_steps = _length("first_decay_steps", first_decay_steps)
        self.t_mul = _length("t_mul", t_mul)
        self.m_mul = number("m_mul", m_mul, 0.0)
        self.alpha = number("alpha", alpha, 0.0)
        self.name = name

    def _rate(self, t: np.ndarray) -> np.ndarray:
        time = t / self.first_decay_steps
        if self.t_mul == 1:
            period = np.floor(time)
        else:
            period = np.floor(np.log(1 - time * (1 - self.t_mul)) / np.log(self.t_mul))
            # The quotient of logarithms may fall short of a whole number at the very step of a restart, as
            # log 243 / log 3 = 4.999... does.
            period = period + (time >= self._start(period + 1))
        p = (time - self._start(period)) / self.t_mul**period
        decay = self.m_mul**period * _half_cosine(p)
        return self.initial_learning_rate * ((1 - self.alpha) * decay + self.alpha)

    def _start(self, period: np.ndarray) -> np.ndarray:
        """Where a period begins, in lengths of the first."""
        return period if self.t_mul == 1 else (1 - self.t_mul**period) / (1 - self.t_mul)


def _half_cosine(p: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.cos(np.pi * p))


def _keeping_int(name: str, value: Any, least: float = -np.inf) -> float:
    checked = number(name, value, least)
    return int(value) if isinstance(value, (int, np.integer)) else checked


def _length(name: str, value: Any) -> float:
    checked = _keeping_int(name, value)
    if checked <= 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return checked


#: What an optimizer takes for a learning rate.
Rate = float | np.floating[Any] | LearningRateSchedule | dict[str, Any]


def get(identifier: Any) -> LearningRateSchedule:
    """Schedule from an object or a dictionary of `serialize`; schedules have no names, for none does without arguments.

    Raises:
        ValueError: If the dictionary names an unknown class or argument.
        TypeError: If it is nothing of the kind.
    """
    if isinstance(identifier, dict):
        return deserialize(identifier, "schedule")
    if isinstance(identifier, LearningRateSchedule):
        return identifier
    raise TypeError(f"a schedule must be a LearningRateSchedule, got {identifier!r}")


# `from fastmlp.optimizers.schedules import ...` works as in Keras, though optimizers is no package.
sys.modules[f"{__package__}.optimizers.schedules"] = sys.modules[__name__]
