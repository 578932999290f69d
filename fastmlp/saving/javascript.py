"""The trained network as JavaScript that needs nothing else: for a page, Node, Deno, a worker.

The weights are base64 of the model's own float type; everything is computed in double precision, so that outputs differ
from `predict` by float32's rounding only.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
from typing import TYPE_CHECKING

import numpy as np

from fastmlp import __version__

from . import atomic
from .steps import Activation, Affine, LayerNormalization, PReLU, Scale, Step, steps_of

if TYPE_CHECKING:
    from fastmlp.models import Sequential

# What a step calls; only those that a network needs are written.
_PARTS = {
    "affine": """\
// The sums of products over the inputs, and the bias; weights lie input by input.
function affine(x, units, weights, bias) {
  const z = numbers.slice(bias, bias + units);
  for (let i = 0; i < x.length; i++) {
    const value = x[i];
    if (value === 0) continue;
    for (let j = 0, w = weights + i * units; j < units; j++, w++) z[j] += value * numbers[w];
  }
  return z;
}""",
    "scale": """\
function scale(x, factor, offset) {
  return x.map((value, i) => value * numbers[factor + i] + numbers[offset + i]);
}""",
    "layerNormalization": """\
function layerNormalization(x, gamma, beta, epsilon, rmsScaling) {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  const root = Math.sqrt(variance + epsilon);
  return x.map((value, i) => (rmsScaling ? value : value - mean) / root * numbers[gamma + i] + numbers[beta + i]);
}""",
    "prelu": """\
function prelu(x, slope) {
  return x.map((value, i) => value < 0 ? value * numbers[slope + i] : value);
}""",
    "normal": """\
// The normal distribution function. Cody (1969), Mathematics of Computation 23: rational approximations of erf, erfc.
function normal(z) {
  const x = Math.min(Math.abs(z), 64) * Math.SQRT1_2, y = x * x;
  const polynomial = (at, first, others) => others.reduce((sum, c) => sum * at + c, first);
  const ratio = (at, top, bottom) => polynomial(at, 0, top) / polynomial(at, 1, bottom);
  if (x <= 0.46875) {
    const erf = x * ratio(y,
      [1.85777706184603153e-1, 3.16112374387056560, 113.864154151050156, 377.485237685302021, 3209.37758913846947],
      [23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062]);
    return z < 0 ? 0.5 - 0.5 * erf : 0.5 + 0.5 * erf;
  }
  const tail = 0.5 * Math.exp(-y) * (x <= 4
    ? ratio(x,
      [2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131,
        881.95222124176909, 1712.04761263407058, 2051.07837782607147, 1230.33935479799725],
      [15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019, 3290.79923573345963,
        4362.61909014324716, 3439.36767414372164, 1230.33935480374942])
    : (0.5641895835477562 - ratio(1 / y,
      [1.63153871373020978e-2, 0.305326634961232344, 0.360344899949804439, 0.125781726111229246, 1.60837851487422766e-2,
        6.58749161529837803e-4],
      [2.56852019228982242, 1.87295284992346725, 0.527905102951428412, 6.05183413124413191e-2, 2.33520497626869185e-3])
      / y) / x);
  return z < 0 ? tail : 1 - tail;
}""",
    "softmax": """\
function softmax(z) {
  const top = z.reduce((largest, value) => Math.max(largest, value), -Infinity);
  const e = z.map((value) => Math.exp(value - top));
  const total = e.reduce((sum, value) => sum + value, 0);
  return e.map((value) => value / total);
}""",
    "log_softmax": """\
function log_softmax(z) {
  const top = z.reduce((largest, value) => Math.max(largest, value), -Infinity);
  const shift = Math.log(z.reduce((sum, value) => sum + Math.exp(value - top), 0));
  return z.map((value) => value - top - shift);
}""",
}

# Activations of a single number, by the names of kernels.activations.NAMES; their numbers follow z.
_ACTIVATIONS = {
    "step": "(z) => z > 0 ? 1 : 0",
    "sigmoid": "(z) => 1 / (1 + Math.exp(-z))",
    "hard_sigmoid": "(z) => Math.min(Math.max(z + 3, 0), 6) / 6",
    "tanh": "Math.tanh",
    "relu": "(z) => Math.max(z, 0)",
    "relu6": "(z) => Math.min(Math.max(z, 0), 6)",
    "leaky_relu": "(z, slope) => z < 0 ? slope * z : z",
    "general_relu": "(z, slope, high, low) => z > low ? Math.min(z, high) : slope === 0 ? 0 : slope * (z - low)",
    "elu": "(z, alpha) => z > 0 ? z : alpha * Math.expm1(z)",
    "selu": "(z) => 1.0507009873554805 * (z > 0 ? z : 1.6732632423543772 * Math.expm1(z))",
    "gelu": "(z) => z * normal(z)",
    "gelu_approximate": "(z) => z / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)))",
    "silu": "(z) => z / (1 + Math.exp(-z))",
    "mish": "(z) => z * Math.tanh(Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))))",
    "softplus": "(z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))",
    "softsign": "(z) => z / (1 + Math.abs(z))",
    "exponential": "Math.exp",
}

_SAMPLE = """\
// A sample as numbers in a row: an array or typed array of them, or rows of a picture.
function sample(x) {
  const flat = Array.isArray(x) ? x.flat(Infinity) : Array.from(x);
  if (flat.length !== inputs) {
    const shape = inputShape.join(", ");
    throw new RangeError(`expected one sample of ${inputs} numbers, shape (${shape}), got ${flat.length}`);
  }
  return Float64Array.from(flat, Number);
}"""

_DECODE = """\
const numbers = (() => {
  const bytes = Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / SIZE }, (_, i) => view.getFloatBITS(i * SIZE, true));
})();"""


def export(
    model: Sequential, path: str | os.PathLike[str], *, module: bool = True, name: str = "network"
) -> None:  # fmt: skip
    """Write the trained network as JavaScript: `model.export("net.js")`.

    The file gives `predict(x)`, the outputs of one sample as a Float64Array, and `inputs`, `outputs`, `inputShape`; x
    is an array of that many numbers, or its rows. A module is used by `import { predict } from "./net.js"`; a classic
    script by `<script src="net.js"></script>` and `network.predict(x)`, also in a page that is opened as a file, where
    browsers load no modules.

    Args:
        model: A model that has weights.
        path: The file, in a folder that exists.
        module: Whether it is an ES module, rather than a classic script.
        name: What a classic script's object is called.

    Raises:
        RuntimeError: If the model has no weights yet.
        ValueError: If the name can't be one of JavaScript's variables.
        OSError: If the file can't be written.
    """
    atomic.write(path, script(model, module=module, name=name).encode())


def script(model: Sequential, *, module: bool = True, name: str = "network") -> str:
    """The text that `export` writes.

    >>> import fastmlp
    >>> model = fastmlp.Sequential([fastmlp.Input((2,)), fastmlp.Dense(1, activation="relu", use_bias=False)])
    >>> model.set_weights([[[1.0], [2.0]]])
    >>> text = script(model)
    >>> "export function predict(x)" in text, "Math.max(z, 0)" in text, "tanh" in text
    (True, True, False)
    """
    if not re.fullmatch(r"[A-Za-z_$][\w$]*", name, re.ASCII):
        raise ValueError(f"name must be one that a variable can have in JavaScript, got {name!r}")
    steps = steps_of(model, fold=True)
    calls, arrays = [], _Numbers()
    for step in steps:
        calls.append(f"  a = {_call(step, arrays)};{_comment(step.layer)}")
    floats = model.dtype.newbyteorder("<")
    packed = np.concatenate([np.zeros(0), *arrays.made]).astype(floats)
    size = floats.itemsize
    text = [
        f'const weights = "{base64.b64encode(packed.tobytes()).decode()}";',
        _DECODE.replace("SIZE", str(size)).replace("BITS", str(8 * size)),
        _SAMPLE,
        *_parts(steps),
        *(
            f"const {function} = {_ACTIVATIONS[function]};"
            for function in dict.fromkeys(step.name for step in steps if isinstance(step, Activation))
            if function in _ACTIVATIONS
        ),
        f"const inputs = {math.prod(model.input_shape[1:])}, outputs = {model.output_shape[1]};",  # type: ignore[arg-type]
        f"const inputShape = {json.dumps(list(model.input_shape[1:]))};",
        "\n".join(["function predict(x) {", "  let a = sample(x);", *calls, "  return a;", "}"]),
    ]
    head = f"// A multilayer perceptron, written by fastmlp {__version__}. predict(x) is the output for one sample."
    if module:
        public = ("const inputs", "const inputShape", "function predict")
        text = [f"export {part}" if part.startswith(public) else part for part in text]
        return "\n".join([head, *text]) + "\n"
    body = "\n".join(text)
    begin, end = f'const {name} = (() => {{\n"use strict";', "return { predict, inputs, outputs, inputShape };\n})();"
    return "\n".join([head, begin, body, end]) + "\n"


class _Numbers:
    """All arrays of a network in one, and where each begins."""

    def __init__(self) -> None:
        self.made: list[np.ndarray] = []
        self._end = 0

    def add(self, array: np.ndarray) -> int:
        start = self._end
        self.made.append(array.ravel())
        self._end += array.size
        return start


def _call(step: Step, arrays: _Numbers) -> str:
    """The expression for a step's output, of its input a."""
    if isinstance(step, Affine):
        return f"affine(a, {step.units}, {arrays.add(step.weights)}, {arrays.add(step.bias)})"
    if isinstance(step, Scale):
        return f"scale(a, {arrays.add(step.factor)}, {arrays.add(step.offset)})"
    if isinstance(step, LayerNormalization):
        places = f"{arrays.add(step.gamma)}, {arrays.add(step.beta)}"
        return f"layerNormalization(a, {places}, {float(step.epsilon)!r}, {str(step.rms_scaling).lower()})"
    if isinstance(step, PReLU):
        return f"prelu(a, {arrays.add(step.slope)})"
    assert isinstance(step, Activation), step
    if step.name in _PARTS:
        return f"{step.name}(a)"
    numbers = "".join(f", {float(number)!r}".replace("inf", "Infinity") for number in step.numbers)
    return f"a.map((z) => {step.name}(z{numbers}))"


def _parts(steps: list[Step]) -> list[str]:
    needed = {"affine"}
    for step in steps:
        needed |= {
            {Scale: "scale", LayerNormalization: "layerNormalization", PReLU: "prelu"}.get(type(step), "affine"),
            {"gelu": "normal"}.get(step.name, step.name) if isinstance(step, Activation) else "affine",
        }
    return [text for name, text in _PARTS.items() if name in needed]


def _comment(layer: str) -> str:
    """The layer's name behind its line, but for letters that could end the line, the script or the encoding."""
    return "  // " + re.sub(r"[^\w .,:()+-]", "_", layer, flags=re.ASCII)
