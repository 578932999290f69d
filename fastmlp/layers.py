"""Layers: descriptions of what a network is made of. The model gives them their weights, the kernels their work."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import activations, checks, constraints, initializers, random, regularizers
from .activations import Form
from .arrays import cast, numbers
from .checks import number, positive_int, switch, text
from .plan import DENSE, Stage
from .serialization import Configurable

_counters: dict[str, int] = {}

#: Of a model.
MOST_LAYERS = 10_000


def check_count(count: int) -> None:
    """ValueError where a model has more layers than any network, such as a file may describe in a few bytes."""
    if count > MOST_LAYERS:
        raise ValueError(f"the model has {count} layers; up to {MOST_LAYERS} are possible")


def automatic_name(kind: str) -> str:
    """dense, dense_1, dense_2, ...: counted in this process, as Keras does."""
    count = _counters.get(kind, 0)
    _counters[kind] = count + 1
    return f"{kind}_{count}" if count else kind


def _shape(shape: Any) -> tuple[int, ...]:
    try:
        sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    except TypeError:
        raise TypeError(f"the input shape must be a size or several, such as (28, 28), got {shape!r}") from None
    return tuple(positive_int("a size in the input shape", size) for size in sizes)


@dataclass(frozen=True)
class Variable:
    """One array of parameters of a layer.

    Attributes:
        name: "kernel", "bias", "gamma" ...
        view: The array, which changes with training.
        regularizer: Penalty on it, or None.
        constraint: What it is kept to after each step, or None.
        trained: Whether it has a gradient.
    """

    name: str
    view: np.ndarray
    regularizer: regularizers.Regularizer | None = None
    constraint: constraints.Constraint | None = None
    trained: bool = True


class Layer(Configurable, kind="layer"):
    """Base of the layers.

    Attributes:
        name: Name of the layer.
        trainable: Whether fit changes its parameters; may be set before compile.
        input_shape: Shape of one sample that enters, once the model is built.
        output_shape: Shape of one sample that leaves.
        dtype: Float type that the layer asks for, or None. All layers of a model compute in the model's.
    """

    kind = "layer"

    def __init__(
        self,
        *,
        name: str | None = None,
        input_shape: int | Sequence[int | None] | None = None,
        trainable: bool = True,
        dtype: DTypeLike | None = None,
    ):
        self.name = text("a layer's name", name) if name else automatic_name(self.kind)
        self._is_named = bool(name)
        self.dtype = None if dtype is None else checks.float_type(dtype)
        self.trainable = switch("trainable", trainable)
        #: Shape that the layer asks for, if it is the first.
        self.declared_shape = None if input_shape is None else _shape(input_shape)
        self.input_shape: tuple[int, ...] | None = None
        self.output_shape: tuple[int, ...] | None = None
        self._arrays: list[np.ndarray] = []

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal layer, not its weights."""
        config = super().get_config()
        if "input_shape" in config:  # that of the argument, not that of what it is built for
            config["input_shape"] = None if self.declared_shape is None else list(self.declared_shape)
        return {name: value for name, value in config.items() if name != "dtype" or value is not None}

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one sample behind this layer."""
        return shape

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels, for samples of so many numbers."""
        return []

    # ------------------------------------------------------------------ weights

    def attach(self, arrays: list[np.ndarray]) -> None:
        """Take these views of the model's parameters and fill them.

        With the initializers the first time; a layer that had weights before, when a layer was added behind it, keeps
        them.

        Raises:
            ValueError: If an initializer gives what isn't finite in the model's type.
        """
        if self._arrays:
            for array, old in zip(arrays, self._arrays):
                array[...] = old
        fresh, self._arrays = not self._arrays, arrays
        try:
            if fresh:
                with np.errstate(over="ignore"):  # which is looked for below
                    self.initialize()
                if not all(np.isfinite(array.sum(dtype=np.float64)) for array in arrays):
                    raise ValueError(
                        f"the initial weights of layer {self.name!r} are not finite as {arrays[0].dtype}; give its "
                        "initializers smaller numbers"
                    )
                fresh = False
        finally:
            if fresh:  # it was broken off: whoever builds the model next begins anew
                self._arrays = []

    def initialize(self) -> None:
        """Fill the parameters with their initial values."""

    @property
    def variables(self) -> list[Variable]:
        """The layer's arrays, in Keras's order; empty before the model is built."""
        return []

    @property
    def weights(self) -> list[np.ndarray]:
        """The layer's arrays, as views that change with training."""
        return [variable.view for variable in self.variables]

    @property
    def trainable_variables(self) -> list[Variable]:
        """Those that training changes by their gradients."""
        return [variable for variable in self.variables if variable.trained and self.trainable]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the layer's parameters."""
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Give the layer these parameters; see Sequential.set_weights."""
        assign(self.weights, weights, f"layer {self.name!r}")

    def count_params(self) -> int:
        """Number of parameters."""
        return sum(w.size for w in self.weights)

    def _need_flat(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 1:
            raise ValueError(
                f"layer {self.name!r} ({type(self).__name__}) needs flat samples but gets shape {shape}; put Flatten() "
                "before it"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def assign(own: list[np.ndarray], weights: list[Any], owner: str) -> None:
    """Copy weights into own after all shapes have been checked."""
    new = [numbers(f"array {i} of the weights", w) for i, w in enumerate(weights)]
    if [w.shape for w in new] != [w.shape for w in own]:
        raise ValueError(
            f"{owner} has weights of shapes {[w.shape for w in own]}, got {[w.shape for w in new]}"
            + ("; build the model first (give it an InputLayer)" if not own and new else "")
        )
    made = [cast(f"array {i} of the weights", values, target.dtype) for i, (target, values) in enumerate(zip(own, new))]
    for target, values in zip(own, made):
        target[...] = values


class InputLayer(Layer):
    """The shape of one sample; the first layer of a model.

    Args:
        shape: Shape without the batch axis, (28, 28) or 784.
        input_shape: The same under its older name.
        batch_size: Taken for Keras's sake: batches of every size pass.
        dtype: Likewise: samples of every type do.
        name: Name of the layer.

    Raises:
        ValueError: If no shape is given, or a size is below 1.
    """

    kind = "input_layer"

    def __init__(
        self,
        shape: int | Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: DTypeLike | None = None,
        *,
        input_shape: int | Sequence[int | None] | None = None,
        name: str | None = None,
    ):
        given = shape if shape is not None else input_shape
        if given is None:
            raise ValueError("InputLayer needs the shape of one sample, for instance InputLayer(shape=(28, 28))")
        super().__init__(name=name, input_shape=given)
        self.shape, self.batch_size = self.declared_shape, batch_size

    def get_config(self) -> dict[str, Any]:
        """Its shape and name."""
        return {"shape": list(self.shape or ()), "name": self.name}


def Input(
    shape: int | Sequence[int | None],
    batch_size: int | None = None,
    dtype: DTypeLike | None = None,
    *,
    name: str | None = None,
) -> InputLayer:
    """The same as InputLayer(shape), under Keras's other name."""
    return InputLayer(shape, batch_size, dtype, name=name)


class Flatten(Layer):
    """Lay the axes of a sample out in one: (28, 28) becomes (784,)."""

    kind = "flatten"

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One axis with all elements."""
        return (int(np.prod(shape)),)


class Dense(Layer):
    """Every unit sees every input: activation(x w + b).

    Args:
        units: Number of units.
        activation: Name or function of fastmlp.activations; None is linear.
        use_bias: Whether there is b.
        kernel_initializer: Start of w, shape (inputs, units). "glorot_uniform" keeps the variance of signals and
            gradients from layer to layer.
        bias_initializer: Start of b, shape (units,).
        kernel_regularizer: Penalty on w that is added to the loss.
        bias_regularizer: Penalty on b.
        activity_regularizer: Penalty on the output, mean over the batch; L1, L2 or L1L2.
        kernel_constraint: What w is kept to after each step.
        bias_constraint: What b is kept to.
        input_shape: Shape of a sample if this is the first layer.
        input_dim: The same for flat samples.
        name: Name of the layer.
        trainable: Whether fit changes w and b.
        dtype: The model's float type; see Layer.

    Raises:
        ValueError: If units is below 1, a name is unknown, or softmax is asked of one unit.
        TypeError: If units is not an integer.

    >>> from fastmlp.layers import Dense
    >>> Dense(16, activation="relu").activation
    'relu'
    """

    kind = "dense"

    def __init__(
        self,
        units: int,
        activation: activations.Identifier | None = None,
        use_bias: bool = True,
        kernel_initializer: initializers.Identifier = "glorot_uniform",
        bias_initializer: initializers.Identifier = "zeros",
        kernel_regularizer: regularizers.Identifier | None = None,
        bias_regularizer: regularizers.Identifier | None = None,
        activity_regularizer: regularizers.Identifier | None = None,
        kernel_constraint: constraints.Identifier | None = None,
        bias_constraint: constraints.Identifier | None = None,
        *,
        input_shape: int | Sequence[int | None] | None = None,
        input_dim: int | None = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: DTypeLike | None = None,
    ):
        units = positive_int("units", units)
        self.activation = activations.get(activation)
        if self.activation == "softmax" and units == 1:
            raise ValueError(
                "softmax over one unit is always 1. For two classes use Dense(1, activation='sigmoid') with "
                "loss='binary_crossentropy', or Dense(2, activation='softmax')"
            )
        self.input_dim = input_dim
        shape = input_dim if input_shape is None else input_shape
        super().__init__(name=name, input_shape=shape, trainable=trainable, dtype=dtype)
        self.units = units
        self.use_bias = switch("use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(units,), from flat samples only."""
        self._need_flat(shape)
        return (self.units,)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        form, trained = activations.form(self.activation), 3 * self.trainable
        made = [Stage(DENSE, self.units, form, use_bias=self.use_bias, trained=trained)]
        if self.activity_regularizer is not None:
            made.append(Stage("activity", self.units, numbers=_prices(self.activity_regularizer, self.name)))
        return made

    def initialize(self) -> None:
        """Fill w and b with their initial values."""
        kernel, bias = self._arrays
        kernel[...] = self.kernel_initializer(kernel.shape)
        if self.use_bias:
            bias[...] = self.bias_initializer(bias.shape)

    @property
    def kernel(self) -> np.ndarray:
        """The weights w (inputs, units), a view."""
        self._need_arrays()
        return self._arrays[0]

    @property
    def bias(self) -> np.ndarray | None:
        """The bias b (units,), a view, or None without one."""
        self._need_arrays()
        return self._arrays[1] if self.use_bias else None

    def _need_arrays(self) -> None:
        if not self._arrays:
            raise RuntimeError(f"layer {self.name!r} has no weights before the model is built")

    @property
    def variables(self) -> list[Variable]:
        """The kernel, and the bias if there is one."""
        if not self._arrays:
            return []
        kernel, bias = self._arrays
        made = [Variable("kernel", kernel, self.kernel_regularizer, self.kernel_constraint)]
        if self.use_bias:
            made.append(Variable("bias", bias, self.bias_regularizer, self.bias_constraint))
        return made


def _prices(regularizer: regularizers.Regularizer, name: str) -> tuple[float, float]:
    """Prices l1 and l2 of an activity regularizer."""
    if type(regularizer) not in (regularizers.L1, regularizers.L2, regularizers.L1L2):
        raise ValueError(f"layer {name!r} has activity_regularizer {regularizer!r}; L1, L2 and L1L2 are possible there")
    return regularizer.l1, regularizer.l2  # type: ignore[attr-defined]


# ------------------------------------------------------------------ activations as layers


class _ActivationLayer(Layer):
    """Base of the activations that stand alone."""

    def form(self) -> Form:
        """The kernels' form of it."""
        raise NotImplementedError

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("identity", units, self.form())]


class Activation(_ActivationLayer):
    """An activation as a layer, for instance behind BatchNormalization.

    Args:
        activation: Name or function of fastmlp.activations.
        options: input_shape, name.
    """

    kind = "activation"

    def __init__(self, activation: activations.Identifier | None, **options: Any):
        super().__init__(**options)
        self.activation = activations.get(activation)

    def form(self) -> Form:
        """The kernels' form of it."""
        return activations.form(self.activation)


class ReLU(_ActivationLayer):
    """x from threshold to max_value, max_value beyond, negative_slope (x - threshold) below.

    Args:
        max_value: None is no limit.
        negative_slope: Slope below the threshold.
        threshold: Where it begins.
        options: input_shape, name.
    """

    kind = "re_lu"

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ):
        super().__init__(**options)
        activations.relu_form(negative_slope, max_value, threshold)
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def form(self) -> Form:
        """The kernels' form of it."""
        return activations.relu_form(self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(_ActivationLayer):
    """x, below zero negative_slope x. 0.3 is Keras's default for the layer, 0.2 that for the function."""

    kind = "leaky_re_lu"

    def __init__(self, negative_slope: float = 0.3, **options: Any):
        super().__init__(**options)
        self.negative_slope = number("negative_slope", negative_slope, 0.0, math.inf)

    def form(self) -> Form:
        """The kernels' form of it."""
        return activations.relu_form(self.negative_slope)


class ELU(_ActivationLayer):
    """x, below zero alpha (exp(x) - 1)."""

    kind = "elu"

    def __init__(self, alpha: float = 1.0, **options: Any):
        super().__init__(**options)
        self.alpha = number("alpha", alpha)

    def form(self) -> Form:
        """The kernels' form of it."""
        return "elu", (self.alpha,)


class Softmax(_ActivationLayer):
    """Softmax of the units of each sample."""

    kind = "softmax"

    def __init__(self, axis: int = -1, **options: Any):
        super().__init__(**options)
        if axis not in (-1, 1):
            raise ValueError(f"Softmax works along the units of a sample, axis -1, got {axis}")
        self.axis = axis

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The same, from flat samples only."""
        self._need_flat(shape)
        return shape

    def form(self) -> Form:
        """The kernels' form of it."""
        return activations.form("softmax")


class PReLU(Layer):
    """x, below zero times a slope of each unit that is trained.

    Args:
        alpha_initializer: Start of the slopes, shape (units,).
        alpha_regularizer: Penalty on them.
        alpha_constraint: What they are kept to.
        options: input_shape, name, trainable.

    source  He et al. (2015), ICCV
    """

    kind = "p_re_lu"

    def __init__(
        self,
        alpha_initializer: initializers.Identifier = "zeros",
        alpha_regularizer: regularizers.Identifier | None = None,
        alpha_constraint: constraints.Identifier | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The same, from flat samples only."""
        self._need_flat(shape)
        return shape

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("prelu", units, trained=int(self.trainable))]

    def initialize(self) -> None:
        """Fill the slopes."""
        self._arrays[0][...] = self.alpha_initializer(self._arrays[0].shape)

    @property
    def variables(self) -> list[Variable]:
        """The slopes."""
        return [Variable("alpha", a, self.alpha_regularizer, self.alpha_constraint) for a in self._arrays]


# ------------------------------------------------------------------ noise


class _Random(Layer):
    """Base of the layers that draw random numbers in training."""

    def __init__(self, seed: int | None, **options: Any):
        super().__init__(**options)
        self.seed = None if seed is None else positive_int("seed", seed, least=0)
        self._drawn = int(random.generator().integers(2**31)) if seed is None else self.seed


class Dropout(_Random):
    """In training, zeros each number with probability rate and divides the others by 1 - rate.

    Args:
        rate: From 0 to below 1.
        seed: Of the layer's masks; None draws one from the generator that set_random_seed seeds.
        options: input_shape, name.

    source  Srivastava et al. (2014), JMLR 15
    """

    kind = "dropout"

    def __init__(self, rate: float, seed: int | None = None, **options: Any):
        self.rate = number("rate", rate, 0.0, 1.0)
        if self.rate == 1.0:
            raise ValueError("rate must be below 1: nothing would be left, got 1.0")
        super().__init__(seed, **options)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("dropout", units, numbers=(float(self._drawn or 0), self.rate))]


class GaussianNoise(_Random):
    """In training, adds normal noise.

    Args:
        stddev: Its standard deviation.
        seed: Of the noise; None draws one from the generator that set_random_seed seeds.
        options: input_shape, name.
    """

    kind = "gaussian_noise"

    def __init__(self, stddev: float, seed: int | None = None, **options: Any):
        self.stddev = number("stddev", stddev, 0.0, math.inf)
        super().__init__(seed, **options)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("noise", units, numbers=(float(self._drawn or 0), self.stddev, 0.0))]


class GaussianDropout(_Random):
    """In training, multiplies by normal noise around 1 with the variance of Dropout, rate / (1 - rate)."""

    kind = "gaussian_dropout"

    def __init__(self, rate: float, seed: int | None = None, **options: Any):
        self.rate = number("rate", rate, 0.0, 1.0)
        if self.rate == 1.0:
            raise ValueError("rate must be below 1, got 1.0")
        super().__init__(seed, **options)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("noise", units, numbers=(float(self._drawn or 0), math.sqrt(self.rate / (1 - self.rate)), 1.0))]


# ------------------------------------------------------------------ normalization


class _Normalized(Layer):
    """Base of the normalizations with gamma and beta."""

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: initializers.Identifier = "zeros",
        gamma_initializer: initializers.Identifier = "ones",
        beta_regularizer: regularizers.Identifier | None = None,
        gamma_regularizer: regularizers.Identifier | None = None,
        beta_constraint: constraints.Identifier | None = None,
        gamma_constraint: constraints.Identifier | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        if axis not in (-1, 1):
            raise ValueError(f"{type(self).__name__} works on the units of a sample, axis -1, got {axis}")
        self.axis, self.epsilon = axis, number("epsilon", epsilon, 0.0, math.inf)
        self.center, self.scale = switch("center", center), switch("scale", scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The same, from flat samples only."""
        self._need_flat(shape)
        return shape

    def initialize(self) -> None:
        """Fill gamma and beta; without them they are ones and zeros."""
        gamma, beta = self._arrays[:2]
        gamma[...] = self.gamma_initializer(gamma.shape) if self.scale else 1.0
        beta[...] = self.beta_initializer(beta.shape) if self.center else 0.0

    @property
    def variables(self) -> list[Variable]:
        """gamma if there is scale, beta if there is center."""
        if not self._arrays:
            return []
        made = []
        if self.scale:
            made.append(Variable("gamma", self._arrays[0], self.gamma_regularizer, self.gamma_constraint))
        if self.center:
            made.append(Variable("beta", self._arrays[1], self.beta_regularizer, self.beta_constraint))
        return made


class BatchNormalization(_Normalized):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, of a unit: by the batch in training, else by running means.

    Args:
        axis: -1, the units.
        momentum: Share of the old running mean; 0.99 is Keras's default.
        epsilon: Added to the variance; 0.001 is Keras's default.
        center: Whether there is beta.
        scale: Whether there is gamma.
        options: beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer and the
            regularizers and constraints of beta and gamma; input_shape, name, trainable.

    source  Ioffe & Szegedy (2015), ICML
    """

    kind = "batch_normalization"

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: initializers.Identifier = "zeros",
        gamma_initializer: initializers.Identifier = "ones",
        moving_mean_initializer: initializers.Identifier = "zeros",
        moving_variance_initializer: initializers.Identifier = "ones",
        **options: Any,
    ):
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, **options)
        self.momentum = number("momentum", momentum, 0.0, 1.0)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        numbers = (self.momentum, self.epsilon, float(self.scale), float(self.center), float(not self.trainable))
        trained = int(self.trainable and (self.scale or self.center))
        return [Stage("batch_normalization", units, numbers=numbers, trained=trained)]

    def initialize(self) -> None:
        """Fill gamma, beta and the running means."""
        super().initialize()
        mean, variance = self._arrays[2:]
        mean[...] = self.moving_mean_initializer(mean.shape)
        variance[...] = self.moving_variance_initializer(variance.shape)

    @property
    def variables(self) -> list[Variable]:
        """gamma, beta, running mean, running variance."""
        names = ("moving_mean", "moving_variance")
        kept = [Variable(name, array, trained=False) for name, array in zip(names, self._arrays[2:])]
        return super().variables + kept


class LayerNormalization(_Normalized):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, over the units of each sample.

    Args:
        axis: -1, the units.
        epsilon: Added to the variance; 0.001 is Keras's default.
        center: Whether there is beta.
        scale: Whether there is gamma.
        rms_scaling: Whether x itself, not its distance from the mean, is divided by the deviation, without beta.
        options: beta_initializer, gamma_initializer and the regularizers and constraints of both; input_shape, name,
            trainable.

    source  Ba, Kiros & Hinton (2016), arXiv:1607.06450
    """

    kind = "layer_normalization"

    def __init__(
        self,
        axis: int = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        rms_scaling: bool = False,
        **options: Any,
    ):
        super().__init__(axis, epsilon, center and not rms_scaling, scale or rms_scaling, **options)
        self.rms_scaling = switch("rms_scaling", rms_scaling)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        numbers = (self.epsilon, float(self.scale), float(self.center), float(self.rms_scaling))
        trained = int(self.trainable and (self.scale or self.center))
        return [Stage("layer_normalization", units, numbers=numbers, trained=trained)]


class Rescaling(Layer):
    """x scale + offset: Rescaling(1 / 255) for pixels.

    Args:
        scale: Number.
        offset: Number.
        options: input_shape, name.
    """

    kind = "rescaling"

    def __init__(self, scale: float, offset: float = 0.0, **options: Any):
        super().__init__(**options)
        self.scale, self.offset = number("scale", scale), number("offset", offset)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("rescaling", units, numbers=(self.scale, self.offset))]


class Normalization(Layer):
    """(x - mean) / sqrt(variance) by fixed numbers: given, or those of data by adapt.

    Args:
        axis: -1, mean and variance of each number of a sample; None, one of all.
        mean: Given mean; with variance.
        variance: Given variance.
        invert: Whether to do the opposite, x sqrt(variance) + mean.
        options: input_shape, name.
    """

    kind = "normalization"

    def __init__(
        self,
        axis: int | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        if axis not in (-1, 1, None):
            raise ValueError(
                f"Normalization works on the numbers of a sample, axis -1, or all together, None; got {axis}"
            )
        if (mean is None) != (variance is None):
            raise ValueError("Normalization takes mean and variance together, or neither and learns them by adapt")
        self.axis, self.invert = axis, switch("invert", invert)
        self.mean = None if mean is None else _fixed("mean", mean)
        self.variance = None if variance is None else _fixed("variance", variance)

    def adapt(self, data: Any) -> None:
        """Take mean and variance of these samples, shape (samples, ...); in place of those before.

        Raises:
            ValueError: If data are empty, or not of the shape that the model was built for.
        """
        x = numbers("data", data)
        if x.ndim == 1:
            x = x[:, None]
        if x.ndim == 0 or x.size == 0:
            raise ValueError(f"adapt needs at least one sample with at least one number, got shape {x.shape}")
        if self.input_shape is not None and x.shape[1:] != self.input_shape:
            raise ValueError(f"adapt got samples of shape {x.shape[1:]} but the model was built for {self.input_shape}")
        checks.finite("data", x)
        axes = None if self.axis is None else 0
        with np.errstate(over="ignore", invalid="ignore"):
            mean, variance = (np.asarray(of(axis=axes, dtype=np.float64)) for of in (x.mean, x.var))
        if not np.isfinite(variance).all():
            raise ValueError("data have numbers so large that their variance is infinite; scale them first")
        self.mean, self.variance = mean, variance
        if self._arrays:
            self.initialize()

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("normalization", units, numbers=(float(self.invert),))]

    def initialize(self) -> None:
        """Fill mean and variance; 0 and 1 before adapt."""
        for array, values, other in zip(self._arrays, (self.mean, self.variance), (0.0, 1.0)):
            if values is None:
                array[...] = other
                continue
            try:
                spread = np.broadcast_to(values, self.input_shape or values.shape).ravel()
                with np.errstate(over="ignore"):  # infinite is what it is in this type
                    array[...] = spread
            except ValueError:
                raise ValueError(
                    f"layer {self.name!r} has a mean and a variance of shape {values.shape}, which doesn't fit samples "
                    f"of shape {self.input_shape}"
                ) from None

    @property
    def variables(self) -> list[Variable]:
        """Mean and variance."""
        return [Variable(name, a, trained=False) for name, a in zip(("mean", "variance"), self._arrays)]


class ActivityRegularization(Layer):
    """Adds l1 |x| + l2 x^2, mean over the batch, to the loss; x passes.

    Args:
        l1: Price of the magnitudes.
        l2: Price of the squares.
        options: input_shape, name.
    """

    kind = "activity_regularization"

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any):
        super().__init__(**options)
        self.l1, self.l2 = number("l1", l1, 0.0, math.inf), number("l2", l2, 0.0, math.inf)

    def stages(self, units: int) -> list[Stage]:
        """What it is to the kernels."""
        return [Stage("activity", units, numbers=(self.l1, self.l2))]


def _fixed(name: str, values: Any) -> np.ndarray:
    """Numbers that a Normalization is given, in float64 and finite."""
    made = numbers(name, values).astype(np.float64)
    checks.finite(name, np.atleast_1d(made))
    return made


def stages_of(layers: list[Layer], inputs: int) -> list[Stage]:
    """The kernels' stages of these layers. An activation that stands alone joins a stage before it that has none."""
    made: list[Stage] = []
    units = inputs
    for owner, layer in enumerate(layers):
        for stage in layer.stages(units):
            before = made[-1] if made else None
            if stage.kind == "identity" and before is not None and before.activation[0] == "linear":
                made[-1] = dataclasses.replace(before, activation=stage.activation)
            else:
                made.append(dataclasses.replace(stage, owner=owner))
            units = stage.units
    return _apart(made)


def _apart(stages: list[Stage]) -> list[Stage]:
    """The same with what mixes the units of a sample, before the end, between stages that are shared by samples."""
    made = []
    for stage in stages[:-1]:
        if "softmax" in stage.activation[0]:
            made += [
                dataclasses.replace(stage, activation=("linear", ())),
                Stage("identity", stage.units, stage.activation, owner=-1),
                Stage("identity", stage.units, owner=-1),
            ]
        else:
            made.append(stage)
    return [*made, *stages[-1:]]
