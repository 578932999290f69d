"""Optimizers: descriptions of how a gradient moves the weights; the kernels do it.

All take, by keyword, what Keras's base class takes:

    weight_decay                 the weights shrink by weight_decay * learning_rate of themselves at each step
    clipnorm                     limit of the gradient's norm by each variable (a layer's weights, its bias ...)
    clipvalue                    limit of each of its numbers
    global_clipnorm              limit of its norm by all variables together
    use_ema                      keep a running mean of the weights, which replaces them at the end of fit
    ema_momentum                 its share of the old mean
    ema_overwrite_frequency      replace the weights by it every so many steps, too
    gradient_accumulation_steps  batches whose gradients are averaged for one step
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import schedules as schedules
from .checks import known_name, number, positive_int, resolve, switch
from .kernels import optimizers as _kernels
from .serialization import Configurable, deserialize, serialize


class Optimizer(Configurable, kind="optimizer"):
    """Base of the optimizers.

    Args:
        learning_rate: Size of a step: a number, or one of fastmlp.optimizers.schedules.
        name: Name of the object.

    The other arguments are described at the top of this module.
    """

    def __init__(
        self,
        learning_rate: schedules.Rate = 0.001,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ):
        self.name = name or type(self).__name__.lower()
        self._learning_rate: Any = None
        self.learning_rate = learning_rate
        self.weight_decay = _optional("weight_decay", weight_decay)
        self.clipnorm = _optional("clipnorm", clipnorm)
        self.clipvalue = _optional("clipvalue", clipvalue)
        self.global_clipnorm = _optional("global_clipnorm", global_clipnorm)
        given = [key for key in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, key) is not None]
        if len(given) > 1:
            values = ", ".join(f"{key}={getattr(self, key)}" for key in given)
            raise ValueError(f"only one of clipnorm, clipvalue and global_clipnorm can be set, got {values}")
        self.use_ema = switch("use_ema", use_ema)
        self.ema_momentum = number("ema_momentum", ema_momentum, 0.0, 1.0)
        self.ema_overwrite_frequency = (
            None
            if ema_overwrite_frequency is None
            else positive_int("ema_overwrite_frequency", ema_overwrite_frequency)
        )  # fmt: skip
        self.gradient_accumulation_steps = (
            None
            if gradient_accumulation_steps is None
            else positive_int("gradient_accumulation_steps", gradient_accumulation_steps, least=2)
        )
        self.iterations = 0
        self._without_decay: tuple[str, ...] = ()

    @property
    def iterations(self) -> int:
        """Steps taken since compile."""
        return int(self._counting[_kernels.ITERATIONS])

    @iterations.setter
    def iterations(self, count: int) -> None:
        counting = np.zeros(_kernels.HYPER_SIZE)  # a new one: a shallow copy of the optimizer has this one, too
        counting[_kernels.ITERATIONS] = count
        self._counting = counting

    # ------------------------------------------------------------------ learning rate

    @property
    def learning_rate(self) -> Any:
        """Size of the next step, a number; may be set between two calls of fit, unless a schedule gives it."""
        if isinstance(self._learning_rate, float):
            return self._learning_rate
        return float(self._learning_rate(self.iterations))

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, schedules.LearningRateSchedule):
            self._learning_rate = value
            return
        if isinstance(self._learning_rate, schedules.LearningRateSchedule):
            raise TypeError(
                f"{self.name} follows {self._learning_rate!r}, so its learning_rate can't be set; make the optimizer "
                "with a number to set it later"
            )
        if isinstance(value, dict):
            self._learning_rate = schedules.get(value)
            return
        if callable(value) or isinstance(value, str):
            raise TypeError(
                f"learning_rate must be a number or one of fastmlp.optimizers.schedules, got {value!r}; for a function "
                "of the step derive a class from schedules.LearningRateSchedule and define __call__(self, step)"
            )
        rate = number("learning_rate", value, 0.0, math.inf)
        if rate > schedules.LARGEST:
            raise ValueError(f"learning_rate must be finite and at most {schedules.LARGEST:g}, got {rate}")
        self._learning_rate = rate

    def rates(self, count: int) -> np.ndarray:
        """Learning rates of the next `count` steps, float64."""
        if isinstance(self._learning_rate, float):
            return np.full(count, self._learning_rate)
        return self._learning_rate.rates(self.iterations, count)

    @property
    def is_scheduled(self) -> bool:
        """Whether a schedule gives the learning rate."""
        return not isinstance(self._learning_rate, float)

    # ------------------------------------------------------------------ for the kernels

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        raise NotImplementedError(f"{type(self).__name__} must define kernel_name")

    def numbers(self) -> tuple[float, ...]:
        """The kernel's own numbers."""
        return ()

    @property
    def slot_start(self) -> float:
        """What the kernel's state is filled with at first."""
        return 0.0

    @property
    def every(self) -> int:
        """Batches whose gradients make one step."""
        return self.gradient_accumulation_steps or 1

    @property
    def adjusts(self) -> bool:
        """Whether a step is more than the kernel's sweep: see kernels/adjust.py."""
        clips = self.clipnorm or self.clipvalue or self.global_clipnorm
        return bool(clips or self.use_ema or self.every > 1 or (self.weight_decay and self._without_decay))

    def hyper(self) -> np.ndarray:
        """The kernels' numbers, (HYPER_SIZE,) float64."""
        made = np.zeros(_kernels.HYPER_SIZE)
        made[_kernels.ITERATIONS] = self.iterations
        decay = self.weight_decay or 0.0
        made[_kernels.OWN_DECAY if self._without_decay else _kernels.DECAY] = decay
        made[_kernels.CLIP_VALUE] = self.clipvalue or 0.0
        made[_kernels.CLIP_NORM] = self.clipnorm or 0.0
        made[_kernels.GLOBAL_CLIP_NORM] = self.global_clipnorm or 0.0
        if self.use_ema:
            made[_kernels.EMA_MOMENTUM] = self.ema_momentum
            made[_kernels.EMA_OVERWRITE] = self.ema_overwrite_frequency or 0
            made[_kernels.EMA_SLOT] = _kernels.SLOTS[self.kernel_name] + 1
        own = self.numbers()
        made[_kernels.OWN : _kernels.OWN + len(own)] = own
        return made

    def counting(self) -> np.ndarray:
        """The same as hyper(), for a training: the kernel counts `iterations` in it.

        So they are those of the weights at any moment, also if Ctrl-C comes before Python hears of the last step.
        """
        self._counting = self.hyper()
        return self._counting

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Leave variables out of the weight decay.

        Args:
            var_list: Not taken: variables are known by their names here.
            var_names: Names or parts of them, for instance ["bias"], which leaves out all biases. A variable's name is
                its layer's, a slash, and its own: "dense_1/kernel".
        """
        if var_list is not None:
            raise ValueError('variables are known by their names: use var_names=["bias"] instead of var_list')
        self._without_decay = tuple(str(name) for name in var_names or ())

    def decays(self, variable: str) -> bool:
        """Whether a variable of that name decays."""
        return not any(part in variable for part in self._without_decay)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal object; a schedule stands for its rates."""
        config = super().get_config()
        if self.is_scheduled:
            config["learning_rate"] = serialize(self._learning_rate)
        if self._without_decay:
            config["exclude_from_weight_decay"] = list(self._without_decay)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Object from what get_config returned; see Configurable."""
        names = config.get("exclude_from_weight_decay") if isinstance(config, dict) else None
        made = super().from_config(
            config if names is None else {k: v for k, v in config.items() if k != "exclude_from_weight_decay"}
        )
        made.exclude_from_weight_decay(var_names=names)
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}(learning_rate={self._learning_rate})"


def _optional(name: str, value: Any) -> float | None:
    return None if value is None else number(name, value, 0.0, math.inf)


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

        plain      w -= learning_rate * g
        momentum   v = momentum * v - learning_rate * g;  w += v
        nesterov   v likewise;                            w += momentum * v - learning_rate * g

    Args:
        learning_rate: Size of a step, or a schedule. 0.01, Keras's default.
        momentum: Share of the last step that goes on, from 0 (none) to 1.
        nesterov: Whether to look ahead along the momentum.
        options: See the top of this module.

    Raises:
        ValueError: If learning_rate is negative or not finite, or momentum outside [0, 1].
    """

    def __init__(
        self, learning_rate: schedules.Rate = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ):
        super().__init__(learning_rate, **options)
        self.momentum = number("momentum", momentum, 0.0, 1.0)
        self.nesterov = switch("nesterov", nesterov)

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "sgd" if self.momentum == 0 else "nesterov" if self.nesterov else "momentum"

    @property
    def adjusts(self) -> bool:
        """Whether a step is more than the kernel's sweep."""
        return super().adjusts or (self.kernel_name == "sgd" and bool(self.weight_decay))

    def numbers(self) -> tuple[float, ...]:
        """The kernel's own numbers."""
        return (self.momentum,)

    def __repr__(self) -> str:
        return f"SGD(learning_rate={self._learning_rate}, momentum={self.momentum}, nesterov={self.nesterov})"


class _Moments(Optimizer):
    """Base of those that keep means of the gradient and of its size."""

    def __init__(
        self,
        learning_rate: schedules.Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        self.beta_1, self.beta_2 = number("beta_1", beta_1, 0.0, 1.0), number("beta_2", beta_2, 0.0, 1.0)
        for name in ("beta_1", "beta_2"):
            if getattr(self, name) == 1:
                raise ValueError(
                    f"{name} must be below 1, with which the mean of gradients would stay 0 and be divided by 0"
                )
        self.epsilon = number("epsilon", epsilon, 0.0, math.inf)

    def numbers(self) -> tuple[float, ...]:
        """The kernel's own numbers."""
        return self.beta_1, self.beta_2, self.epsilon


class Adam(_Moments):
    """Steps by the running means of the gradient and of its square.

    Args:
        learning_rate: Size of a step, or a schedule.
        beta_1: Share of the old mean of the gradient.
        beta_2: Share of the old mean of its square.
        epsilon: Added to the divisor. 1e-7, Keras's default, where PyTorch and scikit-learn have 1e-8.
        amsgrad: Whether to divide by the largest mean square so far.
        options: See the top of this module.

    source  Kingma & Ba (2015), ICLR; amsgrad: Reddi, Kale & Kumar (2018), ICLR
    """

    def __init__(
        self,
        learning_rate: schedules.Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = switch("amsgrad", amsgrad)

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "amsgrad" if self.amsgrad else "adam"


class AdamW(Adam):
    """Adam with weight decay, 0.004 unless given.

    source  Loshchilov & Hutter (2019), ICLR
    """

    def __init__(
        self,
        learning_rate: schedules.Rate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)


class Nadam(_Moments):
    """Adam that looks ahead along its mean gradient, as Nesterov's momentum does.

    source  Dozat (2016), ICLR workshop
    """

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "nadam"


class Adamax(_Moments):
    """Adam by the largest gradient of late instead of the mean square.

    source  Kingma & Ba (2015), ICLR, section 7
    """

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "adamax"


class RMSprop(Optimizer):
    """Steps divided by the root of the running mean of the gradient's square.

    Args:
        learning_rate: Size of a step, or a schedule.
        rho: Share of the old mean.
        momentum: Share of the last step that goes on.
        epsilon: Added to the mean, below the root.
        centered: Whether the mean gradient's square is taken from it, so that it is the variance.
        options: See the top of this module.

    source  Tieleman & Hinton (2012), Coursera lecture 6.5
    """

    def __init__(
        self,
        learning_rate: schedules.Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        self.rho, self.momentum = number("rho", rho, 0.0, 1.0), number("momentum", momentum, 0.0, 1.0)
        self.epsilon = number("epsilon", epsilon, 0.0, math.inf)
        self.centered = switch("centered", centered)

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "centered_rmsprop" if self.centered else "rmsprop"

    def numbers(self) -> tuple[float, ...]:
        """The kernel's own numbers."""
        return self.rho, self.momentum, self.epsilon


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squares of the gradient.

    Args:
        learning_rate: Size of a step, or a schedule.
        initial_accumulator_value: Where the sum begins.
        epsilon: Added to the sum, below the root.
        options: See the top of this module.

    source  Duchi, Hazan & Singer (2011), JMLR 12
    """

    def __init__(
        self,
        learning_rate: schedules.Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = number("initial_accumulator_value", initial_accumulator_value, 0.0, math.inf)
        self.epsilon = number("epsilon", epsilon, 0.0, math.inf)

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "adagrad"

    @property
    def slot_start(self) -> float:
        """Where the sums begin."""
        return self.initial_accumulator_value

    def numbers(self) -> tuple[float, ...]:
        """The kernel's own numbers."""
        return (self.epsilon,)


class Adadelta(Optimizer):
    """Adagrad by running means, with the size of a step taken from the steps before.

    Args:
        learning_rate: What steps are multiplied by; 1.0 is the paper's, 0.001 Keras's default.
        rho: Share of the old means.
        epsilon: Added below the roots.
        options: See the top of this module.

    source  Zeiler (2012), arXiv:1212.5701
    """

    def __init__(self, learning_rate: schedules.Rate = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **options: Any):
        super().__init__(learning_rate, **options)
        self.rho, self.epsilon = number("rho", rho, 0.0, 1.0), number("epsilon", epsilon, 0.0, math.inf)

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "adadelta"

    def numbers(self) -> tuple[float, ...]:
        """The kernel's own numbers."""
        return self.rho, self.epsilon


class Lion(Optimizer):
    """Steps of one size, by the sign of a mean gradient: half of Adam's state.

    Args:
        learning_rate: Size of a step, or a schedule; take a third to a tenth of Adam's.
        beta_1: Share of the mean in what the sign is taken of.
        beta_2: Share of the old mean in the new one.
        options: See the top of this module.

    source  Chen et al. (2023), NeurIPS
    """

    def __init__(
        self, learning_rate: schedules.Rate = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **options: Any
    ):
        super().__init__(learning_rate, **options)
        self.beta_1, self.beta_2 = number("beta_1", beta_1, 0.0, 1.0), number("beta_2", beta_2, 0.0, 1.0)
        if not 0 < self.beta_1 <= 1:
            raise ValueError(f"beta_1 of Lion must be above 0, got {beta_1}: with 0 it is the sign of the gradient")

    @property
    def kernel_name(self) -> str:
        """Which of kernels.optimizers.NAMES it runs."""
        return "lion"

    def numbers(self) -> tuple[float, ...]:
        """The kernel's own numbers."""
        return self.beta_1, self.beta_2


_CLASSES: dict[str, type[Optimizer]] = {
    cls.__name__.lower(): cls
    for cls in (SGD, Adam, AdamW, Nadam, Adamax, RMSprop, Adagrad, Adadelta, Lion)
}  # fmt: skip

#: Names that compile(optimizer=...) takes.
NAMES = tuple(_CLASSES)


#: What get takes for a optimizer.
Identifier = str | Optimizer | type[Optimizer] | dict[str, Any]


def get(identifier: Any) -> Optimizer:
    """Optimizer from an object, a class or a name in any case.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.
    """
    if isinstance(identifier, dict):
        return deserialize(identifier, "optimizer")
    return resolve(
        "optimizer", identifier, Optimizer, lambda name: _CLASSES[known_name("optimizer", name, _CLASSES)]()
    )  # fmt: skip
