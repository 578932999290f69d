"""What each ONNX operator is to a row of layers.

Some layers are several nodes, whose flow parts and meets again (silu is Mul(x, Sigmoid(x))): where two flows meet, what
each went through since they parted says which layer it is.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmlp import activations

from .onnx_nodes import Affine, Batch, Flow, Node, Part, Refused
from .steps import Activation, LayerNormalization, PReLU, Scale, Step

# How far a number written in float32 may be from the one it means.
_NEAR = 1e-5

# ------------------------------------------------------------------ constants


def constant_after(node: Node, most: int) -> np.ndarray:
    """What a node makes of constants; ValueError if that has more than `most` bytes."""
    size = _size_after(node)
    if size > most:
        raise node.refuse(f"makes a constant of {size} bytes, far more than the file holds")
    if node.domain or node.operator not in _CONSTANTS:
        raise node.refuse("computes with constants, which is not read")
    try:
        return np.asarray(_CONSTANTS[node.operator](node))
    except Refused:
        raise
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise node.refuse(f"doesn't fit its constants: {error}") from error


def _size_after(node: Node) -> int:
    """Bytes of what a node makes of constants, at most."""
    given = [value for value in node.given if isinstance(value, np.ndarray)]
    if node.operator == "Gather" and len(given) > 1:
        axis = node.attribute("axis", 0)
        kept = given[0].shape[axis] if isinstance(axis, int) and -given[0].ndim <= axis < given[0].ndim else 1
        return given[0].nbytes // max(kept, 1) * given[1].size
    if node.operator in ("Add", "Sub", "Mul") and len(given) > 1:
        sizes = itertools.zip_longest(given[0].shape[::-1], given[1].shape[::-1], fillvalue=1)
        return 8 * math.prod(max(pair) for pair in sizes)
    return sum(value.nbytes for value in given)


def _constant(node: Node) -> Any:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in node.attributes:
            value = node.attributes[name]
            return value if name == "value" else np.array(value, np.float32 if "float" in name else np.int64)
    raise node.refuse("holds no numbers")


def _axes(node: Node) -> tuple[int, ...] | None:
    """Axes, an attribute in older files and a constant in newer ones."""
    value = node.attribute("axes", node.optional(1))
    return None if value is None else tuple(int(axis) for axis in np.ravel(value))


_CONSTANTS: dict[str, Callable[[Node], Any]] = {
    "Constant": _constant,
    "Identity": lambda node: node.constant(0),
    "Cast": lambda node: node.constant(0),
    "Transpose": lambda node: np.transpose(node.constant(0), node.attribute("perm", None)),
    "Reshape": lambda node: node.constant(0).reshape([int(size) for size in node.constant(1)]),
    "Squeeze": lambda node: np.squeeze(node.constant(0), _axes(node)),
    "Unsqueeze": lambda node: np.expand_dims(node.constant(0), _axes(node) or ()),
    "Gather": lambda node: np.take(node.constant(0), node.constant(1), axis=node.attribute("axis", 0)),
    "Concat": lambda node: np.concatenate(
        [node.constant(i) for i in range(len(node.inputs))], node.attribute("axis", 0)
    ),
    "Neg": lambda node: -node.constant(0),
    "Add": lambda node: node.constant(0) + node.constant(1),
    "Sub": lambda node: node.constant(0) - node.constant(1),
    "Mul": lambda node: node.constant(0) * node.constant(1),
}


# ------------------------------------------------------------------ flows


def _behind(node: Node, flow: Flow, *steps: Step, units: int | None = None) -> Flow:
    return Flow((*flow.steps, *steps), flow.shape if units is None else (units,))


def _flat(node: Node, flow: Flow) -> int | None:
    """Numbers of a flat sample, None where the file leaves it open."""
    if len(flow.shape) != 1:
        raise node.refuse(f"takes flat samples, but theirs is the shape {flow.shape}")
    return flow.shape[0]


def _spread(node: Node, flow: Flow, values: np.ndarray) -> tuple[np.ndarray, Flow]:
    """A constant, for each number of a flat sample or one for all, and the flow, whose open size it may tell."""
    if values.dtype.kind not in "biuf":
        raise node.refuse(f"has a constant of type {values.dtype}")
    if values.size == 1:
        return values.reshape(()).astype(np.float64), flow
    shape = values.shape
    while len(shape) > len(flow.shape) and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != len(flow.shape) or any(b is not None and a != b for a, b in zip(shape, flow.shape)):
        raise node.refuse(f"has a constant of shape {values.shape}, which doesn't fit samples of shape {flow.shape}")
    return values.ravel().astype(np.float64), dataclasses.replace(flow, shape=shape)


def _scaled(node: Node, flow: Flow, factor: Any, offset: Any) -> Flow:
    factor, flow = _spread(node, flow, np.asarray(factor))
    offset, flow = _spread(node, flow, np.asarray(offset))
    return _behind(node, flow, Scale(node.label, 0, factor, offset))


def _same(node: Node) -> Flow:
    return node.flow()


def _dropout(node: Node) -> Flow:
    mode = node.optional(2)
    if mode is not None and bool(mode.any()):
        raise node.refuse("is in training mode; write the model for prediction")
    return node.flow()


def _cast(node: Node) -> Flow:
    from onnx import TensorProto

    flow = node.flow()
    if node.attribute("to", 0) not in (
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
    ):
        raise node.refuse("converts to a type that is no float")
    last = flow.steps[-1] if flow.steps else None
    if isinstance(last, Part) and last.name == "greater" and last.number == 0:
        return dataclasses.replace(flow, steps=(*flow.steps[:-1], Activation(node.label, 0, "step", ())))
    return flow


def _count(node: Node, shape: Sequence[int | None]) -> int:
    if None in shape:
        raise node.refuse("lays out samples of a shape that the file leaves open")
    return math.prod(size for size in shape if size is not None)


def _flatten(node: Node) -> Flow:
    flow = node.flow()
    if node.attribute("axis", 1) not in (1, -len(flow.shape)):
        raise node.refuse("lays the samples of a batch out in one; axis 1 is read")
    return flow if len(flow.shape) == 1 else _behind(node, flow, units=_count(node, flow.shape))


def reshape(node: Node, batch: int | None) -> Flow:
    """Samples laid out anew, each for itself; `batch` is the size of a batch if the file fixes one."""
    flow, target = node.flow(), [int(size) for size in np.ravel(node.constant(1))]
    kept = target[:1] in ([0], [-1], [batch])
    if target[:1] == [0] and node.attribute("allowzero", 0):
        kept = False
    rest = [
        flow.shape[i] if size == 0 and i < len(flow.shape) and not node.attribute("allowzero", 0) else size
        for i, size in enumerate(target[1:])
    ]
    count = None if None in flow.shape else _count(node, flow.shape)
    known = math.prod(size for size in rest if size is not None and size != -1)
    if rest.count(-1) == 1 and count is not None and known > 0 and count % known == 0 and target[0] != -1:
        rest = [count // known if size == -1 else size for size in rest]
    if rest == list(flow.shape) and kept:
        return flow
    if not kept or not rest or count is None or None in rest or -1 in rest or known < 1 or _count(node, rest) != count:
        raise node.refuse(f"makes {target} of samples of shape {flow.shape}; (batch, all their numbers) is read")
    return dataclasses.replace(flow, shape=tuple(rest))


def _product(node: Node, weights: np.ndarray, bias: np.ndarray | None) -> Flow:
    flow = node.flow()
    units = _flat(node, flow)
    if weights.ndim != 2 or 0 in weights.shape or weights.dtype.kind != "f":
        raise node.refuse(f"has weights of shape {weights.shape} and type {weights.dtype}; (inputs, units) of floats "
                          "are needed")  # fmt: skip
    inputs, outputs = weights.shape
    if units is not None and units != inputs:
        raise node.refuse(f"has weights for {inputs} numbers, but a sample has {units}")
    if bias is not None:
        if bias.size not in (1, outputs) or (bias.ndim and bias.shape[-1] != bias.size):
            raise node.refuse(f"has a bias of shape {bias.shape} for {outputs} units")
        bias = np.broadcast_to(bias.ravel(), (outputs,))
    return _behind(node, dataclasses.replace(flow, shape=(inputs,)), Affine(node.label, outputs, weights, bias),
                   units=outputs)  # fmt: skip


def _gemm(node: Node) -> Flow:
    if node.attribute("transA", 0):
        raise node.refuse("transposes the samples (transA), which no layer does")
    weights, bias = node.constant(1), node.optional(2)
    if weights.ndim == 2 and node.attribute("transB", 0):
        weights = weights.T
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    weights = weights if alpha == 1 else weights * weights.dtype.type(alpha)
    if bias is not None and beta != 1:
        bias = bias * bias.dtype.type(beta)
    return _product(node, weights, bias)


def _matmul(node: Node) -> Flow:
    return _product(node, node.constant(1), None)


def _add(node: Node) -> Flow:
    i = 0 if isinstance(node.given[0], Flow) else 1
    return _scaled(node, node.flow(i), 1.0, node.constant(1 - i))


def _sub(node: Node) -> Flow:
    first, second = node.given[0], node.given[1]
    if isinstance(first, Flow) and isinstance(second, Flow):
        base, a, b = _parted(first, second)
        if not a and [_named(step) for step in b] == ["mean"]:
            return _behind(node, base, Part(node.label, 0, "centre"))
        raise node.refuse("takes two results from each other, which no layer does")
    if isinstance(first, Flow):
        return _scaled(node, first, 1.0, -node.constant(1).astype(np.float64))
    return _scaled(node, node.flow(1), -1.0, node.constant(0))


def _mul(node: Node) -> Flow:
    if isinstance(node.given[0], Flow) and isinstance(node.given[1], Flow):
        return _met(node, node.given[0], node.given[1])
    i = 0 if isinstance(node.given[0], Flow) else 1
    return _scaled(node, node.flow(i), node.constant(1 - i), 0.0)


def _div(node: Node) -> Flow:
    flow = node.flow()
    if isinstance(node.given[1], Flow):
        return _quotient(node, flow, node.given[1])
    below = node.constant(1).astype(np.float64)
    if (below == 0).any():
        raise node.refuse("divides by zero")
    return _scaled(node, flow, 1 / below, 0.0)


def _batch_normalization(node: Node) -> Flow:
    flow = node.flow()
    units = _flat(node, flow)
    if node.attribute("training_mode", 0):
        raise node.refuse("is in training mode; write the model for prediction")
    gamma, beta, mean, variance = arrays = [node.constant(i) for i in range(1, 5)]
    shape = gamma.shape
    if len(shape) != 1 or any(array.shape != shape for array in arrays) or units not in (None, *shape):
        raise node.refuse(f"has arrays of shapes {[array.shape for array in arrays]} for samples of {units} numbers")
    step = Batch(node.label, shape[0], gamma, beta, mean, variance, _short(node.attribute("epsilon", 1e-5)))
    if (step.variance + step.epsilon <= 0).any():
        raise node.refuse("has a variance that is not positive")
    return _behind(node, flow, step, units=shape[0])


def _layer_normalization(node: Node) -> Flow:
    flow = node.flow()
    units, gamma, beta = _flat(node, flow), node.constant(1), node.optional(2)
    if node.attribute("axis", -1) not in (-1, 1):
        raise node.refuse("normalizes over the batch; axis -1 is read")
    beta = np.zeros(gamma.shape) if beta is None else beta
    if gamma.ndim != 1 or beta.shape != gamma.shape or units not in (None, len(gamma)):
        raise node.refuse(f"has arrays of shapes {gamma.shape} and {beta.shape} for samples of {units} numbers")
    step = LayerNormalization(node.label, len(gamma), gamma, beta, _short(node.attribute("epsilon", 1e-5)), False)
    return _behind(node, flow, step, units=len(gamma))


def _scaler(node: Node) -> Flow:
    """(x - offset) scale, of scikit-learn's converters."""
    factor, offset = (np.array(node.attribute(name, [d]), np.float64) for name, d in (("scale", 1.0), ("offset", 0.0)))
    return _scaled(node, node.flow(), factor, -offset * factor)


def _activation(name: str, *numbers: float) -> Callable[[Node], Flow]:
    return lambda node: _behind(node, node.flow(), Activation(node.label, 0, name, numbers))


def _with_number(name: str, attribute: str, default: float) -> Callable[[Node], Flow]:
    return lambda node: _behind(
        node, node.flow(), Activation(node.label, 0, name, (_short(node.attribute(attribute, default)),))
    )


def _short(value: float) -> float:
    """The short decimal number that a float32 means: 0.2, not 0.20000000298."""
    return float(str(np.float32(value)))


def _of_units(name: str) -> Callable[[Node], Flow]:
    def read(node: Node) -> Flow:
        flow = node.flow()
        _flat(node, flow)
        if node.attribute("axis", -1) not in (-1, 1):
            raise node.refuse("works along the batch; axis -1 is read")
        return _behind(node, flow, Activation(node.label, 0, name, ()))

    return read


def _fixed(name: str, **wanted: float) -> Callable[[Node], Flow]:
    """An activation whose numbers can't be chosen here: `wanted`."""

    def read(node: Node) -> Flow:
        for attribute, value in wanted.items():
            given = node.attribute(attribute, _DEFAULTS[name][attribute])
            if not math.isclose(given, value, rel_tol=_NEAR):
                raise node.refuse(f"has {attribute} {given:.6g}; {name} here is with {value:.6g}")
        return _behind(node, node.flow(), Activation(node.label, 0, name, ()))

    return read


# What the standard takes where a file says nothing.
_DEFAULTS = {
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
    "selu": {"alpha": 1.6732632, "gamma": 1.0507010},
    "silu": {"alpha": 1.0},
}


def _gelu(node: Node) -> Flow:
    if node.attribute("approximate", "none") != "none":
        raise node.refuse("is the approximation by tanh; layers have the exact gelu")
    return _behind(node, node.flow(), Activation(node.label, 0, "gelu", ()))


def _prelu(node: Node) -> Flow:
    slope, flow = _spread(node, node.flow(), node.constant(1))
    if slope.ndim == 0 and slope >= 0:
        return _behind(node, flow, Activation(node.label, 0, "leaky_relu", (float(slope),)))
    _flat(node, flow)
    return _behind(node, flow, PReLU(node.label, 0, slope))


def _clip(node: Node) -> Flow:
    low, high = (node.attribute(name, node.optional(i)) for i, name in ((1, "min"), (2, "max")))
    if low is None or np.size(low) != 1 or float(np.ravel(low)[0]) != 0:
        raise node.refuse("has another minimum than 0, which no layer has")
    if high is None:
        return _behind(node, node.flow(), Activation(node.label, 0, "relu", ()))
    form = activations.relu_form(max_value=float(np.ravel(high)[0]))
    return _behind(node, node.flow(), Activation(node.label, 0, *form))


def _thresholded_relu(node: Node) -> Flow:
    form = activations.relu_form(threshold=_short(node.attribute("alpha", 1.0)))
    return _behind(node, node.flow(), Activation(node.label, 0, *form))


# ------------------------------------------------------------------ layers of several nodes


def _part(name: str) -> Callable[[Node], Flow]:
    return lambda node: _behind(node, node.flow(), Part(node.label, 0, name))


def _part_with_constant(name: str) -> Callable[[Node], Flow]:
    def read(node: Node) -> Flow:
        constant = node.constant(1)
        if constant.size != 1:
            raise node.refuse("has a constant for each number; one for all is read")
        return _behind(node, node.flow(), Part(node.label, 0, name, float(constant.ravel()[0])))

    return read


def _pow(node: Node) -> Flow:
    constant = node.constant(1)
    if constant.size != 1 or constant.ravel()[0] != 2:
        raise node.refuse("has another power than 2, which no layer has")
    return _part("square")(node)


def _reduce_mean(node: Node) -> Flow:
    _flat(node, node.flow())
    if _axes(node) not in ((-1,), (1,)) or not node.attribute("keepdims", 1):
        raise node.refuse("is read over the last axis, which it keeps")
    return _part("mean")(node)


def _parted(a: Flow, b: Flow) -> tuple[Flow, tuple[Step, ...], tuple[Step, ...]]:
    """Where two flows parted, and what each went through since."""
    at = 0
    while at < min(len(a.steps), len(b.steps)) and a.steps[at] is b.steps[at]:
        at += 1
    return dataclasses.replace(a, steps=a.steps[:at]), a.steps[at:], b.steps[at:]


def _named(step: Step) -> str:
    return step.name if isinstance(step, (Activation, Part)) else type(step).__name__


def _line(steps: Sequence[Step]) -> tuple[float, float] | None:
    """Factor and offset of products and sums by one number, or None if there is something else."""
    factor, offset = 1.0, 0.0
    for step in steps:
        if not isinstance(step, Scale) or step.factor.ndim or step.offset.ndim:
            return None
        factor, offset = factor * float(step.factor), offset * float(step.factor) + float(step.offset)
    return factor, offset


def _met(node: Node, a: Flow, b: Flow) -> Flow:
    """The product of two flows: silu, mish, gelu, or a square."""
    base, short, long = _parted(a, b)
    if len(short) > len(long):
        short, long = long, short
    kinds = [_named(step) for step in long]
    if not long:
        return _behind(node, base, Part(node.label, 0, "square"))
    if not short and kinds == ["sigmoid"]:
        return _behind(node, base, Activation(node.label, 0, "silu", ()))
    if not short and kinds == ["softplus", "tanh"]:
        return _behind(node, base, Activation(node.label, 0, "mish", ()))
    if kinds.count("erf") == 1:
        at = kinds.index("erf")
        first, inner, outer = _line(short), _line(long[:at]), _line(long[at + 1 :])
        if (
            first and inner and outer
            and np.allclose([first[1], inner[0], inner[1], outer[0] - outer[1]], [0, math.sqrt(0.5), 0, 0], atol=_NEAR)
        ):  # fmt: skip
            # c x (1 + erf(x / sqrt 2)) is 2 c gelu(x)
            factor = np.asarray(2 * first[0] * outer[0])
            return _behind(node, base, Activation(node.label, 0, "gelu", ()),
                           Scale(node.label, 0, factor, np.zeros(())))  # fmt: skip
    raise node.refuse("multiplies two results, and is none of silu, mish and gelu")


def _where(node: Node) -> Flow:
    """A relu with numbers: z, or its maximum, above a threshold, and a line below."""
    condition, above, below = (node.flow(i) for i in range(3))
    at = min(len(_parted(above, below)[0].steps), len(_parted(above, condition)[0].steps))
    base = dataclasses.replace(above, steps=above.steps[:at])
    first, second, kind = above.steps[at:], below.steps[at:], condition.steps[at:]
    names = [_named(step) for step in first]
    if [_named(step) for step in kind] == ["greater"] and names in ([], ["min"]):
        threshold = _number_of(kind[0])
        high = _number_of(first[0]) if first else math.inf
        factor, offset = np.ones(()), np.zeros(())
        for step in second:
            if not isinstance(step, Scale):
                break
            factor, offset = factor * step.factor, offset * step.factor + step.offset
        else:
            if factor.ndim and threshold == 0 and not offset.any() and not first:
                return _behind(node, base, PReLU(node.label, 0, factor))
            if not factor.ndim and not offset.ndim and factor >= 0 and np.isclose(offset, -factor * threshold):
                form = activations.relu_form(_short_of(float(factor)), high if first else None, threshold)
                return _behind(node, base, Activation(node.label, 0, *form))
    raise node.refuse("chooses between results, and is no relu with numbers")


def _number_of(step: Step) -> float:
    return _short_of(step.number) if isinstance(step, Part) else math.nan


def _short_of(value: float) -> float:
    """As _short, where the number is one of float32."""
    return _short(value) if value == float(np.float32(value)) else value


def _quotient(node: Node, above: Flow, below: Flow) -> Flow:
    """x / (1 + |x|), softsign; or x, or its distance from the mean, by the deviation, a LayerNormalization."""
    kinds = [_named(step) for step in below.steps]
    if kinds[-2:] == ["abs", "Scale"] and above.steps == below.steps[:-2] and _line(below.steps[-1:]) == (1, 1):
        return _behind(node, above, Activation(node.label, 0, "softsign", ()))
    if kinds[-5:] == ["centre", "square", "mean", "Scale", "sqrt"]:
        base, line = below.steps[:-5], _line(below.steps[-2:-1])
        centred, units = above.steps == below.steps[:-4], _flat(node, above)
        if line and line[0] == 1 and units is not None and (centred or above.steps == base):
            ones = np.ones(units)
            step = LayerNormalization(node.label, units, ones, 0 * ones, _short_of(line[1]), not centred)
            return dataclasses.replace(above, steps=(*base, step))
    raise node.refuse("divides two results, and is neither softsign nor a layer normalization")


OPERATORS: dict[str, Callable[[Node], Flow]] = {
    "Identity": _same,
    "Dropout": _dropout,
    "Cast": _cast,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Neg": lambda node: _scaled(node, node.flow(), -1.0, 0.0),
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "ai.onnx.ml.Scaler": _scaler,
    "Sigmoid": _activation("sigmoid"),
    "HardSigmoid": _fixed("hard_sigmoid", alpha=1 / 6, beta=0.5),
    "Tanh": _activation("tanh"),
    "Relu": _activation("relu"),
    "LeakyRelu": _with_number("leaky_relu", "alpha", 0.01),
    "ThresholdedRelu": _thresholded_relu,
    "Elu": _with_number("elu", "alpha", 1.0),
    "Selu": _fixed("selu", alpha=1.6732632423543772, gamma=1.0507009873554805),
    "Gelu": _gelu,
    "Swish": _fixed("silu", alpha=1.0),
    "Mish": _activation("mish"),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "Exp": _activation("exponential"),
    "Softmax": _of_units("softmax"),
    "LogSoftmax": _of_units("log_softmax"),
    "PRelu": _prelu,
    "Clip": _clip,
    "Abs": _part("abs"),
    "Erf": _part("erf"),
    "Sqrt": _part("sqrt"),
    "Pow": _pow,
    "ReduceMean": _reduce_mean,
    "Greater": _part_with_constant("greater"),
    "Min": _part_with_constant("min"),
    "Where": _where,
}
