"""Networks in ONNX files, in operators of the standard alone; onnx_reader.py reads them back.

input (batch, ...) -> [Cast] -> [Flatten] -> Gemm, Sigmoid, Gemm, Softmax ... -> output (batch, outputs)
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.activations import Form
from fastmlp.checks import known_name, positive_int
from fastmlp.optional import needed

from . import atomic
from .description import layer_names
from .steps import Activation, Affine, LayerNormalization, PReLU, Scale, Step, steps_of

if TYPE_CHECKING:
    from fastmlp.models import Sequential

#: The first version of the standard with an operator for every activation that has one: 18 brought Mish, 20 Gelu.
OPSET = 20

# The oldest that is written, and the versions in which operators that are younger came.
_OLDEST = 13
_SINCE = {"LayerNormalization": 17, "ReduceMean": 18, "Mish": 18, "Gelu": 20}

#: Protobuf's own limit of a message.
MOST_BYTES = 2**31 - 1

#: Activations that are one operator, and its attributes made of the activation's numbers.
OPERATORS: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "sigmoid": ("Sigmoid", dict),
    "hard_sigmoid": ("HardSigmoid", lambda: {"alpha": 1 / 6, "beta": 0.5}),
    "tanh": ("Tanh", dict),
    "relu": ("Relu", dict),
    "leaky_relu": ("LeakyRelu", lambda slope: {"alpha": slope}),
    "elu": ("Elu", lambda alpha: {"alpha": alpha}),
    "selu": ("Selu", dict),
    "gelu": ("Gelu", dict),
    "gelu_approximate": ("Gelu", lambda: {"approximate": "tanh"}),
    "mish": ("Mish", dict),
    "softplus": ("Softplus", dict),
    "softsign": ("Softsign", dict),
    "exponential": ("Exp", dict),
    "softmax": ("Softmax", lambda: {"axis": -1}),
    "log_softmax": ("LogSoftmax", lambda: {"axis": -1}),
}


def need_onnx() -> Any:
    """The module onnx; ImportError with what to install."""
    return needed("onnx", "onnx", "an ONNX file")


def export(
    model: Sequential,
    path: str | os.PathLike[str],
    *,
    opset: int = OPSET,
    dtype: Any = None,
    input_dtype: Any = None,
    fold: bool = False,
    overwrite: bool = True,
) -> None:
    """Write the network as it predicts as an ONNX file.

    It has one input, "input", of shape (batch, *shape of a sample) and one output, "output", (batch, outputs); batches
    of every size pass. Layers keep their names: the arrays are "dense/kernel", "dense/bias" ... Weights are rounded
    once, to the file's float type, and outputs differ from predict's by the rounding of sums.

    Args:
        model: A model that has weights.
        path: The file.
        opset: Version of the standard's operators, from 13 on. 20 is the first with one for each activation (18 brought
            Mish, 20 Gelu), and read by onnxruntime since 1.17; an older one serves older readers of networks without
            those.
        dtype: "float32" or "float64"; None is the model's own. onnxruntime computes few activations in float64
            (sigmoid, tanh, the relus, silu, exponential, step and both softmaxes): for others take "float32" there. The
            numbers of ELU, SELU and hard_sigmoid are float32 by the standard, in files of float64 too.
        input_dtype: Type of the samples: None is that of the file, "uint8" takes pixels as they are, a quarter of the
            bytes, and converts them first.
        fold: Whether Rescaling and normalizations are multiplied into the Dense layers beside them: fewer operators,
            which differ by rounding.
        overwrite: Whether to replace a file that is there.

    Raises:
        ImportError: Without the package onnx.
        ValueError: If a layer needs a later opset, which is named, the package knows no such opset, or the file would
            be larger than 2 GB.
        FileExistsError: If there is a file, without overwrite.

    >>> import onnx, tempfile, fastmlp
    >>> from fastmlp.layers import Dense, Input
    >>> model = fastmlp.Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(2, activation="softmax")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.export(f"{folder}/model.onnx")
    ...     [node.op_type for node in onnx.load(f"{folder}/model.onnx").graph.node]
    ['Gemm', 'Tanh', 'Gemm', 'Softmax']
    """
    onnx = need_onnx()
    content = _proto(onnx, model, opset, dtype, input_dtype, fold).SerializeToString()
    atomic.write(path, content, overwrite)


def _proto(onnx: Any, model: Sequential, opset: int, dtype: Any, input_dtype: Any, fold: bool) -> Any:
    from fastmlp import __version__

    latest = onnx.defs.onnx_opset_version()
    if not _OLDEST <= positive_int("opset", opset) <= latest:
        raise ValueError(f"opset must be from {_OLDEST} to {latest}, the latest that onnx {onnx.__version__} knows, "
                         f"got {opset}")  # fmt: skip
    wish = model.dtype if dtype is None else np.dtype(dtype)
    kind = np.dtype(known_name("dtype", str(wish), ("float32", "float64")))
    given = kind if input_dtype is None else np.dtype(input_dtype)
    if given not in (kind, np.uint8):
        raise ValueError(f"input_dtype must be uint8 or None, the file's {kind}, got {input_dtype!r}")
    steps = steps_of(model, fold=fold)
    size = sum(value.size for step in steps for value in vars(step).values() if isinstance(value, np.ndarray))
    if size * kind.itemsize > MOST_BYTES:
        raise ValueError(f"an ONNX file holds at most 2 GB, but the weights are {size * kind.itemsize:,} bytes")

    graph = _Graph(onnx, kind, opset, dict(zip((layer.name for layer in model._layers), layer_names(model._layers))))
    if given != kind:
        graph.put("Cast", "input", to=graph.type_of(kind))
    if len(model._shape) != 1:
        graph.put("Flatten", "input", axis=1)
    for step in steps:
        _write(graph, step)
    if graph.nodes:
        graph.nodes[-1].output[0] = "output"
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            model.name,
            [onnx.helper.make_tensor_value_info("input", graph.type_of(given), ["batch", *model._shape])],
            [onnx.helper.make_tensor_value_info("output", graph.type_of(kind), ["batch", *model.output_shape[1:]])],
            graph.arrays,
        ),
        producer_name="fastmlp",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", opset)],
    )
    made.ir_version = onnx.helper.find_min_ir_version_for(made.opset_import)
    onnx.checker.check_model(made, full_check=True)
    return made


class _Graph:
    """A row of nodes in the making; `now` is the name of what the last one gives."""

    def __init__(self, onnx: Any, dtype: np.dtype[Any], opset: int, names: dict[str, str]):
        self.onnx, self.dtype, self.opset, self.names = onnx, dtype, opset, names
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.now = "input"
        self._taken: set[str] = {"input", "output"}

    def type_of(self, dtype: Any) -> int:
        """ONNX's number of a type."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def put(self, operator: str, layer: str, *inputs: str, first: str | None = None, **attributes: Any) -> str:
        """A node behind the last, or behind `first`; its output is `now`."""
        since = _SINCE.get(operator, 0)
        if self.opset < since:
            raise ValueError(
                f"layer {layer!r} needs the operator {operator}, which came with opset {since}, not {self.opset}; give "
                f"opset={OPSET}"
            )
        name = self._name(f"{self.names.get(layer, layer)}/{operator}")
        node = self.onnx.helper.make_node(operator, [first or self.now, *inputs], [name], name, **attributes)
        self.nodes.append(node)
        self.now = name
        return name

    def array(self, layer: str, name: str, values: Any) -> str:
        """Name of a constant with these values, in the file's float type."""
        name = self._name(f"{self.names.get(layer, layer)}/{name}")
        array = np.ascontiguousarray(values, self.dtype) if np.ndim(values) else np.array(values, self.dtype)
        self.arrays.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def axes(self, layer: str) -> str:
        """Name of a constant: the last axis."""
        name = self._name(f"{self.names.get(layer, layer)}/axes")
        self.arrays.append(self.onnx.numpy_helper.from_array(np.array([-1], np.int64), name))
        return name

    def _name(self, wish: str) -> str:
        name, number = wish, 0
        while name in self._taken:
            number += 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name


def _write(graph: _Graph, step: Step) -> None:
    layer = step.layer
    if isinstance(step, Affine):
        kernel, bias = graph.array(layer, "kernel", step.weights), graph.array(layer, "bias", step.bias)
        graph.put("Gemm", layer, kernel, bias)
    elif isinstance(step, Scale):
        _write_scale(graph, layer, "factor", "Mul", step.factor, 1.0)
        _write_scale(graph, layer, "offset", "Add", step.offset, 0.0)
    elif isinstance(step, LayerNormalization):
        _write_layer_normalization(graph, step)
    elif isinstance(step, PReLU):
        if graph.dtype == np.float64:  # onnxruntime's operator is for float32
            _write_general_relu(graph, layer, step.slope, math.inf, 0.0)
        else:
            graph.put("PRelu", layer, graph.array(layer, "alpha", step.slope))
    elif isinstance(step, Activation):
        _write_activation(graph, layer, (step.name, step.numbers))
    else:
        raise ValueError(f"layer {layer!r} ({type(step).__name__}) can't be held in an ONNX file")


def _write_scale(graph: _Graph, layer: str, name: str, operator: str, values: np.ndarray, nothing: float) -> None:
    """Mul or Add; one number where all are the same, no node where it changes nothing."""
    if (values == nothing).all():
        return
    same = bool((values == values.flat[0]).all())
    graph.put(operator, layer, graph.array(layer, name, float(values.flat[0]) if same else values))


def _write_layer_normalization(graph: _Graph, step: LayerNormalization) -> None:
    layer = step.layer
    gamma = graph.array(layer, "gamma", step.gamma)
    if not step.rms_scaling and graph.dtype == np.float32:
        graph.put("LayerNormalization", layer, gamma, graph.array(layer, "beta", step.beta), epsilon=step.epsilon)
        return
    # The operator computes the deviation in float32, and RMSNormalization another one, about zero instead of the mean.
    x = graph.now
    axes, epsilon = graph.axes(layer), graph.array(layer, "epsilon", step.epsilon)
    centred = graph.put("Sub", layer, graph.put("ReduceMean", layer, axes, keepdims=1), first=x)
    graph.put("ReduceMean", layer, axes, first=graph.put("Mul", layer, centred), keepdims=1)
    graph.put("Add", layer, epsilon)
    deviation = graph.put("Sqrt", layer)
    graph.put("Div", layer, deviation, first=x if step.rms_scaling else centred)
    graph.put("Mul", layer, gamma)
    _write_scale(graph, layer, "beta", "Add", step.beta, 0.0)


def _write_activation(graph: _Graph, layer: str, form: Form) -> None:
    name, numbers = form
    if name == "leaky_relu" and graph.dtype == np.float64:  # whose slope would be float32
        _write_general_relu(graph, layer, numbers[0], math.inf, 0.0)
    elif name in OPERATORS:
        operator, attributes = OPERATORS[name]
        graph.put(operator, layer, **attributes(*numbers))
    elif name == "silu":
        x = graph.now
        graph.put("Mul", layer, graph.put("Sigmoid", layer), first=x)
    elif name == "relu6":
        graph.put("Clip", layer, graph.array(layer, "min", 0.0), graph.array(layer, "max", 6.0))
    elif name == "step":
        graph.put("Greater", layer, graph.array(layer, "zero", 0.0))
        graph.put("Cast", layer, to=graph.type_of(graph.dtype))
    elif name == "general_relu":
        _write_general_relu(graph, layer, *numbers)
    else:
        raise ValueError(f"layer {layer!r} has the activation {name!r}, which can't be held in an ONNX file")


def _write_general_relu(graph: _Graph, layer: str, slope: Any, high: float, threshold: float) -> None:
    """z above the threshold, `high` at most, and slope (z - threshold) below."""
    x, limit = graph.now, graph.array(layer, "threshold", threshold)
    above = graph.put("Greater", layer, limit)
    graph.put("Sub", layer, limit, first=x)
    below = graph.put("Mul", layer, graph.array(layer, "slope", slope))
    capped = x if math.isinf(high) else graph.put("Min", layer, graph.array(layer, "max", high), first=x)
    graph.put("Where", layer, capped, below, first=above)
