"""Networks of dense layers from ONNX files: the graph is followed from its input to its output, node by node.

onnx_nodes.py      files, arrays and nodes
onnx_operators.py  what each operator is

Nothing in a file is executed.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import activations, layers, random

from .onnx_files import need_onnx
from .onnx_nodes import MOST_AXES, Affine, Batch, Flow, Node, Outside, Part, Refused, array_of, read
from .onnx_operators import OPERATORS, constant_after, reshape
from .steps import Activation, LayerNormalization, PReLU, Scale, Step

if TYPE_CHECKING:
    from fastmlp.models import Sequential

# Broadcasting as it is now came with this version of the standard.
_OLDEST = 7

# Each flow holds all steps before it, so that time grows with the square.
_MOST_NODES = 10_000

# Constants that are made of others may together have this many bytes, and so many times those of the file.
_SMALL, _GROWTH = 1 << 20, 4


def from_onnx(path: str | os.PathLike[str], *, output: str | None = None, name: str | None = None) -> Sequential:
    """Model of the network in an ONNX file, with its weights and not compiled.

    It reads rows of dense layers as PyTorch, scikit-learn's and TensorFlow's converters and Sequential.export write
    them: Gemm and MatMul, Add and Mul with constants, normalizations, the activations, alone or made of several nodes,
    Flatten, Reshape, Cast, Dropout. Constants that are added and multiplied become a frozen BatchNormalization, which
    computes the same. Nothing in the file is executed; arrays outside it are read from its own folder alone.

    Args:
        path: The file.
        output: Which output to follow where there are several, by its name.
        name: Name of the model; None takes the graph's.

    Raises:
        ImportError: Without the package onnx.
        FileNotFoundError: If there is no file.
        OSError: If it can't be read: it is cut short, damaged, or of something else.
        ValueError: If it is no row of such layers, naming the node and its operator; if it has several inputs, or
            outputs without a choice; or if an array is not finite, not of its declared size, or outside the folder.

    >>> import tempfile, fastmlp
    >>> from fastmlp.layers import Dense, Input
    >>> model = fastmlp.Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(2, activation="softmax")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.export(f"{folder}/model.onnx")
    ...     read = fastmlp.models.from_onnx(f"{folder}/model.onnx")
    >>> [layer.activation for layer in read.layers]
    ['tanh', 'softmax']
    """
    onnx, file = need_onnx(), os.fspath(path)
    proto = read(onnx, file)
    try:
        graph = _Graph(onnx, proto, file)
        flow = graph.follow(output)
        return _model(flow, graph, name or _text(proto.graph.name) or None)
    except ValueError as error:
        raise ValueError(f"{file} can't be read as a model: {error}") from error


def _text(held: str | bytes) -> str:
    """A text of the file; protobuf gives those that aren't UTF-8 as bytes."""
    return held.decode(errors="replace") if isinstance(held, bytes) else held


# ------------------------------------------------------------------ the graph


class _Graph:
    """The graph of a file, and what is known of its names."""

    def __init__(self, onnx: Any, proto: Any, file: str):
        self.onnx, self.file = onnx, file
        outside = Outside(os.path.dirname(os.path.abspath(file)))
        graph = proto.graph
        version = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        if version < _OLDEST:
            raise ValueError(f"it has opset {version}; {_OLDEST} and later ones are read: write it anew with one")
        if len(graph.node) > _MOST_NODES:
            raise ValueError(f"it has {len(graph.node)} nodes; up to {_MOST_NODES} are read")
        if graph.sparse_initializer:
            raise ValueError("it has sparse arrays; dense ones are read")
        self.known: dict[str, Any] = {tensor.name: array_of(onnx, tensor, outside) for tensor in graph.initializer}
        #: Names of constants that hold the samples' shape, whose number is open: good for a Reshape alone.
        self.shapes: set[str] = set()
        #: Bytes that nodes may still make of constants.
        self.most = _SMALL + _GROWTH * sum(array.nbytes for array in self.known.values())
        #: The same of the layers' arrays, of which many may take one constant.
        self.most_of_layers = 4 * self.most
        self.nodes = [Node(onnx, node, outside) for node in graph.node]
        self.outputs = [value.name for value in graph.output]
        inputs = [value for value in graph.input if value.name not in self.known]
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs, {[value.name for value in inputs]}; models have one")
        self.batch, self.input_shape = self._input(inputs[0])
        self.known[inputs[0].name] = Flow((), self.input_shape)
        #: Type of the weights.
        self.dtype = "float32"

    def _input(self, value: Any) -> tuple[int | None, tuple[int | None, ...]]:
        """Size of a batch, None where it is open, and shape of a sample."""
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            raise ValueError(f"its input {value.name!r} has no shape")
        sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim]
        if len(sizes) > MOST_AXES:
            raise ValueError(f"its input {value.name!r} has {len(sizes)} axes; up to {MOST_AXES} are read")
        if len(sizes) < 2:
            raise ValueError(f"its input {value.name!r} has {len(sizes)} axes; the batch and one more are needed")
        return sizes[0], tuple(sizes[1:])

    def follow(self, output: str | None) -> Flow:
        """What reaches the output."""
        if output is None and len(self.outputs) != 1:
            raise ValueError(f"it has {len(self.outputs)} outputs, {self.outputs}; choose one with output=...")
        wanted = self.outputs[0] if output is None else output
        if wanted not in self.outputs:
            raise ValueError(f"it has no output {wanted!r}; there are {self.outputs}")
        needed = {wanted}
        for node in reversed(self.nodes):
            if needed & set(node.outputs):
                needed |= set(node.inputs)
        nodes = [node for node in self.nodes if needed & set(node.outputs)]
        last = {name: i for i, node in enumerate(nodes) for name in node.inputs}
        for i, node in enumerate(nodes):
            self._run(node)
            node.given = []
            for name in {*node.inputs}:
                if last[name] == i and name != wanted:
                    self.known.pop(name, None)
        flow = self.known.get(wanted)
        if not isinstance(flow, Flow):
            raise ValueError(f"its output {wanted!r} doesn't depend on its input")
        return flow

    def _run(self, node: Node) -> None:
        for name in node.inputs:
            if name and name not in self.known:
                raise node.refuse(f"takes {name!r} before a node has made it: the graph has a cycle or a gap")
        node.given = [self.known[name] if name else None for name in node.inputs]
        node.given += [None] * (5 - len(node.given))  # no operator that is read has more places
        of_shapes = self.shapes & set(node.inputs)
        if node.operator == "Shape" and node.domain == "" and any(isinstance(x, Flow) for x in node.given):
            shape = node.flow().shape
            if None in shape:
                raise node.refuse("asks for a size that the file leaves open")
            made: Any = np.array([0, *shape], np.int64)  # to Reshape 0 is the size that was there, here the batch
            of_shapes = set(node.outputs)
        elif any(isinstance(x, Flow) for x in node.given):
            made = self._flow_after(node, bool(of_shapes))
        else:
            made = constant_after(node, self.most)
            if not any(isinstance(x, np.ndarray) and np.may_share_memory(made, x) for x in node.given):
                self.most -= made.nbytes
        if of_shapes and not isinstance(made, Flow):
            self.shapes.add(node.outputs[0])
        self.known[node.outputs[0]] = made
        if isinstance(made, np.ndarray) and made.dtype.kind == "f" and not np.isfinite(made).all():
            raise node.refuse("gives numbers that are not finite")

    def _flow_after(self, node: Node, of_shapes: bool) -> Flow:
        if of_shapes and node.operator != "Reshape":
            raise node.refuse("computes with the number of samples, which no layer does")
        key = f"{node.domain}.{node.operator}" if node.domain else node.operator
        if key in ("Gemm", "MatMul") and any(
            isinstance(x, np.ndarray) and x.dtype == np.float64 and x.ndim == 2 for x in node.given
        ):
            self.dtype = "float64"
        if key not in OPERATORS and key != "Reshape":
            raise node.refuse("is no part of a row of dense layers")
        try:
            made = reshape(node, self.batch) if key == "Reshape" else OPERATORS[key](node)
            self._count(node, made)
            return made
        except Refused:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise node.refuse(f"has a number that doesn't fit: {error}") from error

    def _count(self, node: Node, made: Flow) -> None:
        """Take the arrays of a node's steps off what there may be."""
        before = min(len(x.steps) for x in node.given if isinstance(x, Flow))
        for step in made.steps[before:]:
            sizes = [value.size for value in vars(step).values() if isinstance(value, np.ndarray)]
            if isinstance(step, PReLU):  # one number is as many as there are units
                sizes.append(made.shape[-1] or 1)
            self.most_of_layers -= 8 * sum(sizes)
        if self.most_of_layers < 0:
            raise node.refuse("is one of many that make arrays of the same constants, far more bytes than the file's")


# ------------------------------------------------------------------ the model


def _joined(steps: Sequence[Step]) -> list[Step]:
    """Sums behind a product are its bias, products and sums in a row are one, and behind a normalization its own."""
    made: list[Step] = []
    for step in steps:
        before = made[-1] if made else None
        if isinstance(step, Part):
            raise ValueError(f"{step.layer} is no layer by itself, and not read in this place")
        if not isinstance(step, Scale):
            made.append(step)
        elif isinstance(before, Affine) and (step.factor == 1).all():
            bias = step.offset if before.bias is None else before.bias + step.offset
            made[-1] = dataclasses.replace(before, bias=np.broadcast_to(bias, (before.units,)))
        elif isinstance(before, Scale):
            factor, offset = before.factor * step.factor, before.offset * step.factor + step.offset
            made[-1] = dataclasses.replace(step, factor=factor, offset=offset)
        elif isinstance(before, LayerNormalization) and not (before.rms_scaling and step.offset.any()):
            gamma, beta = before.gamma * step.factor, before.beta * step.factor + step.offset
            made[-1] = dataclasses.replace(before, gamma=gamma, beta=beta)
        else:
            made.append(step)
    return made


def _model(flow: Flow, graph: _Graph, name: str | None) -> Sequential:
    from fastmlp.models import Sequential

    steps = _joined(flow.steps)
    if len(flow.shape) != 1:
        raise ValueError(f"its output has the shape {flow.shape} for a sample; flat outputs are read")
    if not any(isinstance(step, Affine) for step in steps):
        raise ValueError("it has no dense layer: neither Gemm nor MatMul")
    shape = graph.input_shape
    if shape == (None,):
        shape = (next(len(step.weights) for step in steps if isinstance(step, Affine)),)
    made: list[layers.Layer] = [layers.InputLayer(shape)]
    if len(shape) != 1:
        made.append(layers.Flatten())
    arrays: list[list[np.ndarray] | None] = [None] * len(made)
    units = math.prod(size or 1 for size in shape)
    with random.kept():
        for step in steps:
            layer, own = _layer(step, units)
            last = made[-1]
            if isinstance(layer, layers.Activation) and isinstance(last, layers.Dense) and last.activation == "linear":
                last.activation = layer.activation
                continue
            made.append(layer)
            arrays.append(own)
            units = step.units if isinstance(step, Affine) else units
        model = Sequential(made, name=name, dtype=graph.dtype)
    for layer, own in zip(made, arrays):
        if own is not None:
            layer.set_weights(own)
    return model


def _layer(step: Step, units: int) -> tuple[layers.Layer, list[np.ndarray] | None]:
    """The layer of a step on so many numbers, and its weights, None where it has none."""
    if isinstance(step, Affine):
        own = [step.weights] if step.bias is None else [step.weights, step.bias]
        return layers.Dense(step.units, use_bias=step.bias is not None), own
    if isinstance(step, Scale):
        if not step.factor.ndim and not step.offset.ndim:
            return _rescaling(float(step.factor), float(step.offset)), None
        frozen = layers.BatchNormalization(epsilon=0.0, trainable=False)
        zeros, ones = np.zeros(units), np.ones(units)
        return frozen, [zeros + step.factor, zeros + step.offset, zeros, ones]
    if isinstance(step, Batch):
        return layers.BatchNormalization(epsilon=step.epsilon), [step.gamma, step.beta, step.mean, step.variance]
    if isinstance(step, LayerNormalization):
        layer = layers.LayerNormalization(epsilon=step.epsilon, rms_scaling=step.rms_scaling)
        return layer, [step.gamma] if step.rms_scaling else [step.gamma, step.beta]
    if isinstance(step, PReLU):
        return layers.PReLU(), [np.zeros(units) + step.slope]
    assert isinstance(step, Activation)
    return _activation_layer(step.name, step.numbers), None


def _rescaling(factor: float, offset: float) -> layers.Layer:
    if factor == 1 and offset == 0:
        return layers.Activation("linear")
    return layers.Rescaling(factor, offset)


def _activation_layer(name: str, numbers: tuple[float, ...]) -> layers.Layer:
    if name in activations.NAMES and activations.form(name) == (name, numbers):
        return layers.Activation(name)
    if name == "leaky_relu":
        return layers.LeakyReLU(*numbers)
    if name == "elu":
        return layers.ELU(*numbers)
    slope, high, threshold = numbers
    return layers.ReLU(None if math.isinf(high) else high, slope, threshold)
