"""Layers: descriptions of what a network is made of. The model gives them their weights, the kernels their work."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import activations, initializers
from .checks import positive_int

_counters: dict[str, int] = {}


def automatic_name(kind: str) -> str:
    """dense, dense_1, dense_2, ...: counted in this process, as Keras does."""
    count = _counters.get(kind, 0)
    _counters[kind] = count + 1
    return f"{kind}_{count}" if count else kind


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return tuple(positive_int("a size in the input shape", size) for size in sizes)


class Layer:
    """Base of the layers.

    Attributes:
        name: Name of the layer.
        input_shape: Shape of one sample that enters, once the model is built.
        output_shape: Shape of one sample that leaves.
    """

    kind = "layer"

    def __init__(self, *, name: str | None = None, input_shape: Any = None):
        self.name = name or automatic_name(self.kind)
        #: Shape that the layer asks for, if it is the first.
        self.declared_shape = None if input_shape is None else _shape(input_shape)
        self.input_shape: tuple[int, ...] | None = None
        self.output_shape: tuple[int, ...] | None = None

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one sample behind this layer."""
        return shape

    @property
    def weights(self) -> list[np.ndarray]:
        """The layer's parameters, as views that change with training."""
        return []

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the layer's parameters."""
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Give the layer these parameters; see Sequential.set_weights."""
        assign(self.weights, weights, f"layer {self.name!r}")

    def count_params(self) -> int:
        """Number of parameters."""
        return sum(w.size for w in self.weights)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def assign(own: list[np.ndarray], weights: list[Any], owner: str) -> None:
    """Copy weights into own after all shapes have been checked."""
    new = [np.asarray(w) for w in weights]
    if [w.shape for w in new] != [w.shape for w in own]:
        raise ValueError(
            f"{owner} has weights of shapes {[w.shape for w in own]}, got {[w.shape for w in new]}"
            + ("; build the model first (give it an InputLayer)" if not own and new else "")
        )
    for target, values in zip(own, new):
        target[...] = values


class InputLayer(Layer):
    """The shape of one sample; the first layer of a model.

    Args:
        shape: Shape without the batch axis, (28, 28) or 784.
        input_shape: The same under its older name.
        name: Name of the layer.

    Raises:
        ValueError: If no shape is given, or a size is below 1.
    """

    kind = "input_layer"

    def __init__(self, shape: Any = None, *, input_shape: Any = None, name: str | None = None):
        given = shape if shape is not None else input_shape
        if given is None:
            raise ValueError("InputLayer needs the shape of one sample, for instance InputLayer(shape=(28, 28))")
        super().__init__(name=name, input_shape=given)


def Input(shape: Any, *, name: str | None = None) -> InputLayer:
    """The same as InputLayer(shape), under Keras's other name."""
    return InputLayer(shape, name=name)


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
        input_shape: Shape of a sample if this is the first layer.
        input_dim: The same for flat samples.
        name: Name of the layer.

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
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        input_shape: Any = None,
        input_dim: int | None = None,
        name: str | None = None,
    ):
        units = positive_int("units", units)
        self.activation = activations.get(activation)
        if self.activation == "softmax" and units == 1:
            raise ValueError(
                "softmax over one unit is always 1. For two classes use Dense(1, activation='sigmoid') with "
                "loss='binary_crossentropy', or Dense(2, activation='softmax')"
            )
        super().__init__(name=name, input_shape=input_dim if input_shape is None else input_shape)
        self.units = units
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self._kernel: np.ndarray | None = None
        self._bias: np.ndarray | None = None

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(units,), from flat samples only."""
        if len(shape) != 1:
            raise ValueError(
                f"layer {self.name!r} (Dense) needs flat samples but gets shape {shape}; put Flatten() before it"
            )
        return (self.units,)

    def attach(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Take these views of the model's parameters, (inputs, units) and (units,), and fill them.

        With the initializers the first time; a layer that had weights before, when a layer was added behind it, keeps
        them.
        """
        if self._kernel is not None and self._bias is not None:
            kernel[...], bias[...] = self._kernel, self._bias
        else:
            kernel[...] = self.kernel_initializer(kernel.shape)
            if self.use_bias:
                bias[...] = self.bias_initializer(bias.shape)
        self._kernel, self._bias = kernel, bias

    @property
    def kernel(self) -> np.ndarray:
        """The weights w (inputs, units), a view."""
        if self._kernel is None:
            raise RuntimeError(f"layer {self.name!r} has no weights before the model is built")
        return self._kernel

    @property
    def bias(self) -> np.ndarray | None:
        """The bias b (units,), a view, or None without one."""
        if self._kernel is None:
            raise RuntimeError(f"layer {self.name!r} has no weights before the model is built")
        return self._bias if self.use_bias else None

    @property
    def weights(self) -> list[np.ndarray]:
        """The layer's parameters, as views that change with training."""
        if self._kernel is None or self._bias is None:
            return []
        return [self._kernel, self._bias] if self.use_bias else [self._kernel]
