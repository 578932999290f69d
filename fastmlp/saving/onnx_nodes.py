"""What the reader of ONNX files sees: nodes, arrays, and what flows between them.

What flows is a row of steps that samples go through. No array is made before the bytes of its numbers are there.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import atomic
from .onnx_files import MOST_BYTES
from .steps import Step

#: Of an array, as NumPy has them: the product of millions takes hours.
MOST_AXES = 64


@dataclass(frozen=True)
class Affine(Step):
    """x weights + bias, or without a bias."""

    weights: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True)
class Batch(Step):
    """BatchNormalization by its running mean and variance."""

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float


@dataclass(frozen=True)
class Part(Step):
    """Part of a layer that is several nodes; it must not be left at the end."""

    name: str
    number: float = 0.0


@dataclass(frozen=True)
class Flow:
    """What the samples went through, and the shape of one now; None where the file leaves a size open."""

    steps: tuple[Step, ...]
    shape: tuple[int | None, ...]


class Refused(ValueError):
    """A node that has no layer; the text says why."""


class Node:
    """A node with what enters it and its attributes."""

    def __init__(self, onnx: Any, proto: Any, outside: Outside):
        self.operator, self.outputs, self.inputs = proto.op_type, list(proto.output), list(proto.input)
        self.domain = "" if proto.domain == "ai.onnx" else proto.domain
        self.label = f"node {proto.name or proto.output[0]!r} ({proto.op_type})" if proto.output else proto.op_type
        self.attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                self.attributes[attribute.name] = array_of(onnx, attribute.t, outside)
            else:
                self.attributes[attribute.name] = onnx.helper.get_attribute_value(attribute)
        self.given: list[Any] = []

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute; texts as str."""
        value = self.attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def refuse(self, why: str) -> Refused:
        """The error that names the node."""
        return Refused(f"{self.label} {why}")

    def flow(self, i: int = 0) -> Flow:
        """What flows in at place i."""
        value = self.given[i] if i < len(self.given) else None
        if not isinstance(value, Flow):
            raise self.refuse(f"takes the samples as input {i}; here it is a constant, or not there")
        return value

    def constant(self, i: int) -> np.ndarray:
        """The constant at place i."""
        value = self.optional(i)
        if value is None:
            raise self.refuse(f"needs a constant as input {i}")
        return value

    def optional(self, i: int) -> np.ndarray | None:
        """The constant at place i, or None where there is none."""
        value = self.given[i] if i < len(self.given) else None
        if isinstance(value, Flow):
            raise self.refuse(f"needs a constant as input {i}, not what is computed from the samples")
        return value


# ------------------------------------------------------------------ the file


def read(onnx: Any, file: str) -> Any:
    """The model in a file; arrays that lie outside it stay there."""
    from google.protobuf.message import DecodeError

    if os.path.getsize(atomic.readable(file)) > MOST_BYTES:
        raise OSError(f"{file} can't be read as an ONNX file: it has more than the 2 GB that one can have")
    with open(file, "rb") as opened:
        content = opened.read()
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise OSError(
            f"{file} can't be read as an ONNX file: it is cut short, damaged, or of something else"
        ) from error
    if not proto.graph.node or not proto.opset_import:
        raise OSError(f"{file} holds no ONNX graph: it is cut short, or of something else")
    return proto


class Outside:
    """The files in the folder of an ONNX file, in which its arrays may lie: each takes bytes of its own."""

    def __init__(self, folder: str):
        self._folder = os.path.realpath(folder)
        self._taken: dict[str, int] = {}

    def with_data(self, onnx: Any, tensor: Any, size: int) -> Any:
        """The tensor with its bytes out of a file of that folder, and of no other."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        place = os.path.realpath(os.path.join(self._folder, location))
        if not location or os.path.isabs(location) or os.path.commonpath([self._folder, place]) != self._folder:
            raise ValueError(f"array {tensor.name!r} lies in {location!r}, outside the folder of the file")
        if not os.path.isfile(place):
            raise ValueError(f"array {tensor.name!r} lies in {location!r}, which isn't in the folder of the file")
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        held = os.path.getsize(place)
        if offset < 0 or length != size or offset + length > held:
            raise ValueError(f"array {tensor.name!r} is {size} bytes, which {location!r} doesn't hold from {offset} on")
        self._taken[place] = self._taken.get(place, 0) + size
        if self._taken[place] > held:
            raise ValueError(f"the arrays in {location!r} have more than its {held} bytes together")
        with open(place, "rb") as file:
            file.seek(offset)
            content = file.read(length)
        made = onnx.TensorProto()
        made.CopyFrom(tensor)
        made.ClearField("external_data")
        made.data_location = onnx.TensorProto.DEFAULT
        made.raw_data = content
        return made


def array_of(onnx: Any, tensor: Any, outside: Outside) -> np.ndarray:
    """Numbers of a tensor; floats of half the size become float32."""
    what = f"array {tensor.name!r}"
    known = onnx.TensorProto
    if tensor.data_type not in (known.FLOAT, known.DOUBLE, known.FLOAT16, known.BFLOAT16, known.INT32, known.INT64,
                                known.BOOL, known.UINT8, known.INT8):  # fmt: skip
        raise ValueError(f"{what} has the type {known.DataType.Name(tensor.data_type)}; floats are read")
    if len(tensor.dims) > MOST_AXES:
        raise ValueError(f"{what} has {len(tensor.dims)} axes; up to {MOST_AXES} are read")
    count = math.prod(tensor.dims)
    size = count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    if any(dim < 0 for dim in tensor.dims):
        raise ValueError(f"{what} has the shape {tuple(tensor.dims)}")
    if tensor.data_location == known.EXTERNAL:
        tensor = outside.with_data(onnx, tensor, size)
    if tensor.HasField("raw_data"):
        held, wanted = len(tensor.raw_data), size
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        held, wanted = len(getattr(tensor, field)), count
    if held != wanted:
        unit = "bytes" if tensor.HasField("raw_data") else "numbers"
        raise ValueError(f"{what} has the shape {tuple(tensor.dims)}, {wanted} {unit}, but the file holds {held}")
    array = np.asarray(onnx.numpy_helper.to_array(tensor))
    if array.dtype.kind not in "biuf" or (array.dtype.itemsize < 4 and array.dtype.kind == "f"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{what} has numbers that are not finite")
    return array
