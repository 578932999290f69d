"""Weights of torch.nn.Sequential: state dicts in .safetensors files, which can hold no code.

    "0.weight" (units, inputs), "0.bias" (units,), "2.weight" ...    numbered by the modules' places

Activations have no weights, so that they aren't in a state dict: who reads one names them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import checks, layers, random
from fastmlp.arrays import numbers

from . import atomic, limits
from .steps import Activation, Affine, LayerNormalization, PReLU, Step, steps_of

if TYPE_CHECKING:
    from fastmlp.models import Sequential

ENDING = ".safetensors"

# What each activation is in torch.nn; the numbers are the activation's own.
_MODULES = {
    "sigmoid": "Sigmoid()",
    "hard_sigmoid": "Hardsigmoid()",
    "tanh": "Tanh()",
    "relu": "ReLU()",
    "relu6": "ReLU6()",
    "leaky_relu": "LeakyReLU({!r})",
    "elu": "ELU({!r})",
    "selu": "SELU()",
    "gelu": "GELU()",
    "gelu_approximate": "GELU(approximate='tanh')",
    "silu": "SiLU()",
    "mish": "Mish()",
    "softplus": "Softplus()",
    "softsign": "Softsign()",
    "softmax": "Softmax(dim=-1)",
    "log_softmax": "LogSoftmax(dim=-1)",
}

# ------------------------------------------------------------------ to torch


def export(model: Sequential, path: str | os.PathLike[str], *, overwrite: bool = True) -> str:
    """Write the weights as the state dict of a torch.nn.Sequential, and return the Python text that makes it.

    Rescaling and normalizations by fixed numbers are multiplied into the Linear layers beside them; what only training
    needs is left out.

    Args:
        model: A model that has weights.
        path: The file, which ends in .safetensors.
        overwrite: Whether to replace a file that is there.

    Returns:
        "nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Sigmoid(), ...)", with `from torch import nn`; its
        load_state_dict(safetensors.torch.load_file(path)) has the model's outputs. The file's metadata hold it, too.

    Raises:
        ValueError: If the path ends otherwise, or torch.nn has no module of a layer, which is named.
        FileExistsError: If there is a file, without overwrite.

    >>> import tempfile, fastmlp
    >>> from fastmlp.layers import Dense, Input
    >>> model = fastmlp.Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.export(f"{folder}/model.safetensors", format="torch")
    'nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))'
    """
    from safetensors.numpy import save

    name = os.fspath(path)
    if not name.endswith(ENDING):
        raise ValueError(f"the path must end in {ENDING}, got {name!r}")
    modules = ["nn.Flatten()"] if len(model._shape) != 1 else []
    arrays: dict[str, np.ndarray] = {}
    inputs = int(np.prod(model._shape))
    for step in steps_of(model, fold=True):
        module, own = _module(step, inputs)
        if model.dtype == np.float64 and own:
            module = f"{module[:-1]}, dtype=torch.float64)"
        arrays |= {f"{len(modules)}.{key}": np.array(array, model.dtype, order="C") for key, array in own.items()}
        modules.append(f"nn.{module}")
        inputs = step.units
    text = f"nn.Sequential({', '.join(modules)})"
    atomic.write(name, save(arrays, {"format": "pt", "torch": text}), overwrite)
    return text


def _module(step: Step, inputs: int) -> tuple[str, dict[str, np.ndarray]]:
    """Text of a module of torch.nn, and its arrays."""
    if isinstance(step, Affine):
        return f"Linear({inputs}, {step.units})", {"weight": step.weights.T, "bias": step.bias}
    if isinstance(step, LayerNormalization) and not step.rms_scaling:
        return f"LayerNorm({step.units}, eps={step.epsilon!r})", {"weight": step.gamma, "bias": step.beta}
    if isinstance(step, PReLU):
        return f"PReLU({step.units})", {"weight": step.slope}
    if isinstance(step, Activation) and step.name in _MODULES:
        return _MODULES[step.name].format(*step.numbers), {}
    what = f"the activation {step.name!r}" if isinstance(step, Activation) else f"a {type(step).__name__}"
    raise ValueError(f"layer {step.layer!r} has {what} in this place, of which torch.nn has no module")


# ------------------------------------------------------------------ from torch


def from_torch(
    weights: str | os.PathLike[str] | Mapping[str, Any],
    activation: Any,
    output_activation: Any = None,
    *,
    input_shape: Any = None,
    name: str | None = None,
) -> Sequential:
    """Model with the weights of a torch.nn.Sequential of Linear layers, not compiled.

    Args:
        weights: A .safetensors file, or a state dict: names "0.weight", "0.bias", "2.weight" ..., behind any prefix
            ("net.0.weight"), and tensors or arrays, (units, inputs) and (units,). Layers are put in the order of the
            numbers in their names; a dict whose names have none in its own.
        activation: Of the hidden layers, as a state dict doesn't hold it: one for all, or a list with one for each.
            Names, or layers such as LeakyReLU(0.01), torch.nn.LeakyReLU's slope, where ours is 0.2; None is linear.
        output_activation: Of the last layer; linear, as torch's losses want it, unless given.
        input_shape: Shape of a sample, if it has several axes, as before torch.nn.Flatten.
        name: Name of the model.

    Raises:
        FileNotFoundError: If there is no file.
        OSError: If it can't be read.
        ValueError: If the path ends otherwise, a name or shape is of no Linear layer, an array is not finite, shapes
            don't follow each other, the order isn't told, or the activations are of another number.

    >>> import numpy as np, fastmlp
    >>> state = {"0.weight": np.ones((3, 2)), "0.bias": np.zeros(3), "2.weight": np.ones((1, 3)), "2.bias": np.zeros(1)}
    >>> model = fastmlp.models.from_torch(state, activation="relu")
    >>> model.predict(np.array([[1.0, 2.0]]), verbose=0)
    array([[9.]])
    """
    from fastmlp.models import Sequential

    if isinstance(weights, Mapping):
        arrays, what, in_order = {str(key): _array(key, value) for key, value in weights.items()}, "the dict", True
    else:
        arrays, what, in_order = _read(weights), os.fspath(weights), False
    linear = _linear_layers(arrays, what, in_order)
    hidden = list(activation) if isinstance(activation, (list, tuple)) else [activation] * (len(linear) - 1)
    if len(hidden) != len(linear) - 1:
        raise ValueError(
            f"activation has {len(hidden)} entries but {what} has {len(linear) - 1} hidden layers; the last layer's is "
            "output_activation"
        )
    wide = any(kernel.dtype == np.float64 for kernel, _ in linear)
    shape = (linear[0][0].shape[1],) if input_shape is None else layers.InputLayer(input_shape).declared_shape or ()
    if int(np.prod(shape)) != linear[0][0].shape[1]:
        raise ValueError(f"input_shape {shape} has {int(np.prod(shape))} numbers but the first layer takes "
                         f"{linear[0][0].shape[1]}")  # fmt: skip
    with random.kept():
        model = Sequential([layers.InputLayer(shape)], name=name, dtype="float64" if wide else "float32")
        if len(shape) != 1:
            model.add(layers.Flatten())
        for (kernel, bias), form in zip(linear, [*hidden, output_activation]):
            alone = isinstance(form, layers.Layer)
            dense = layers.Dense(len(kernel), None if alone else form, use_bias=bias is not None)
            model.add(dense)
            dense.set_weights([kernel.T] if bias is None else [kernel.T, bias])
            if alone:
                model.add(_copy(form))
    return model


def _copy(layer: layers.Layer) -> layers.Layer:
    """A layer of its own, so that one may be named for several places."""
    return type(layer)(**{key: value for key, value in layer.get_config().items() if key != "name"})


def _array(name: Any, value: Any) -> np.ndarray:
    """An array of a tensor, wherever it lies, or of anything NumPy reads."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value if str(value.dtype) in ("torch.float32", "torch.float64") else value.float()).numpy()
    try:
        return numbers(repr(name), value)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    file = os.fspath(path)
    if not file.endswith(ENDING):
        raise ValueError(
            f"the path must end in {ENDING}, got {file!r}; files of torch.save may hold code: "
            "load them in torch and give model.state_dict(), or write one with safetensors.torch.save_file"
        )
    atomic.readable(file)
    try:
        return limits.safetensors(file)[1]
    except ValueError as error:
        raise OSError(
            f"{file} can't be read as a {ENDING} file of floats ({error}): it is cut short, damaged, or of something "
            "else"
        ) from error


def _natural(name: str) -> list[Any]:
    """Key by which "net.10" comes behind "net.2"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _linear_layers(
    arrays: dict[str, np.ndarray], what: str, in_order: bool
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Weights (units, inputs) and bias or None of each layer, in order."""
    owners: dict[str, None] = {}  # in order, each once
    for key, array in arrays.items():
        owner, _, kind = key.rpartition(".")
        if (kind, array.ndim) not in (("weight", 2), ("bias", 1)) or 0 in array.shape:
            raise ValueError(f"{what} has {key!r} of shape {array.shape}, which is of no Linear layer")
        checks.finite(f"{key!r} of {what}", array)
        owners[owner] = None
    names = list(owners)
    layers.check_count(len(names))
    if not names:
        raise ValueError(f"{what} holds no arrays; expected '0.weight', '0.bias', ...")
    if len({re.sub(r"\d+", "#", name) for name in names}) == 1:
        names.sort(key=_natural)
    elif not in_order:
        raise ValueError(f"{what} has layers {sorted(names)}, whose names don't tell their order; give a dict in order")
    made: list[tuple[np.ndarray, np.ndarray | None]] = []
    for name in names:
        prefix = f"{name}." if name else ""
        kernel, bias = arrays.get(f"{prefix}weight"), arrays.get(f"{prefix}bias")
        if kernel is None:
            raise ValueError(f"{what} has {prefix}bias but no {prefix}weight")
        if bias is not None and len(bias) != len(kernel):
            raise ValueError(f"{what} has {prefix}bias of shape {bias.shape} for {len(kernel)} units")
        if made and kernel.shape[1] != len(made[-1][0]):
            raise ValueError(
                f"{what} has {prefix}weight of shape {kernel.shape}, which takes {kernel.shape[1]} numbers, behind a "
                f"layer of {len(made[-1][0])} units"
            )
        made.append((kernel, bias))
    return made
