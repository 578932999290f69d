"""The network as one header in C99 that depends on nothing but math.h: for devices, games, other languages.

Weights are static arrays, the steps a function that calls a few loops, which compilers vectorize: units lie side by
side, so that a product is a sum of rows, four at a time. All in float32, also of a model in float64.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import arrays, checks

from . import atomic
from .c_functions import RESTRICT, Quantized, helper
from .steps import Activation, Affine, LayerNormalization, PReLU, Scale, Step, steps_of

if TYPE_CHECKING:
    from fastmlp.models import Sequential

#: Last activations of a single unit whose output above one half means class 1.
_PROBABILITIES = ("sigmoid", "hard_sigmoid")


@dataclass(frozen=True)
class Comparison:
    """What the header's network answers beside the model's predict.

    Attributes:
        samples: How many were compared.
        difference: Largest difference of two outputs.
        same: Share of samples with the same class, of 1; None of a single output that is no probability.
        accuracy: Of the model, where classes were given.
        exported_accuracy: Of the header, likewise.
    """

    samples: int
    difference: float
    same: float | None = None
    accuracy: float | None = None
    exported_accuracy: float | None = None

    def __str__(self) -> str:
        text = f"compared with predict on {self.samples:,} samples: outputs differ by at most {self.difference:.3g}"
        if self.same is not None:
            text += f", {self.same:.2%} have the same class"
        if self.accuracy is not None:
            text += f"; accuracy {self.exported_accuracy:.2%} instead of {self.accuracy:.2%}"
        return text


def export(
    model: Sequential,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    int8: bool = False,
    x: Any = None,
    y: Any = None,
) -> Comparison | None:
    """Write a C99 header that has the network as a function.

        void <name>_predict(const float *x, float *out)    outputs of a sample of NAME_INPUTS numbers
        int <name>_class(const float *x)                   the class: the largest output, or whether a single one,
                                                           a probability, is above one half

    It includes math.h, allocates nothing and has no state, so that threads can share it. C++ takes it as well. Arrays
    and code are static: include it in one source file. Compile it with -O3 -march=native, or what the device has, and
    link -lm.

    Args:
        model: A model that has weights.
        path: The file; another one of that name is replaced when this one is whole.
        name: What its names begin with; None takes the file's.
        int8: Whether to store weights as whole numbers from -127 to 127, a quarter of the size, times a number of each
            unit. Sums stay floats, so that inputs of any range are taken and none has to be measured.
        x: Samples on which to compare it with predict; the result stands in the header, too.
        y: Their classes, (samples,) or one-hot, for both accuracies.

    Returns:
        The Comparison, or None without x.

    Raises:
        ValueError: If weights are NaN or infinite, in float32 too, the name is none in C, the path is no header's, x or
            y don't fit, or a layer can't be held, which is named.

    >>> import os, tempfile
    >>> import fastmlp
    >>> from fastmlp import layers
    >>> fastmlp.utils.set_random_seed(0)
    >>> model = fastmlp.Sequential([layers.Input((4,)), layers.Dense(8, "relu"), layers.Dense(3, "softmax")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = model.export(os.path.join(folder, "flowers.h"), int8=True, x=[[0.1, 0.2, 0.3, 0.4]])
    >>> result.difference < 0.01
    True
    """
    file = os.path.basename(os.fspath(path))
    if not file.endswith((".h", ".hpp", ".c", ".inc")):
        raise ValueError(f"a header's path ends in .h, got {os.fspath(path)!r}")
    if y is not None and x is None:
        raise ValueError("y needs x, the samples whose classes it holds")
    prefix = _name(file.rpartition(".")[0] if name is None else name, given=name is not None)
    steps = _in_float32(model)
    kept = [_quantized(step) if int8 else step for step in steps]
    compared = None if x is None else _compare(model, [_rounded(step) for step in kept], x, y)
    text = "".join(_text(model, file, prefix, kept, compared))
    atomic.write(path, text.encode("ascii"))
    return compared


def _name(wish: str, given: bool) -> str:
    """An identifier. All names in the file have something behind it, so that none is a keyword."""
    if given:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", wish):
            raise ValueError(f"name must be a name in C, letters, digits and _ behind a letter, got {wish!r}")
        return wish
    made = re.sub(r"[^A-Za-z0-9]+", "_", wish).strip("_")
    return made if made[:1].isalpha() else f"net_{made}" if made else "net"


# ---------------------------------------------------------------------------------------------- numbers


def _arrays(step: Step) -> dict[str, np.ndarray]:
    """Arrays of a step by their names."""
    return {key: value for key, value in vars(step).items() if isinstance(value, np.ndarray)}


def _in_float32(model: Sequential) -> list[Step]:
    """Steps, as few as float32 can hold: multiplied into others, a factor may leave its range."""
    for fold in (True, False):
        steps = steps_of(model, fold=fold)
        with np.errstate(over="ignore"):
            wrong = [step for step in steps for a in _arrays(step).values() if not np.isfinite(a.astype("f4")).all()]
        if not wrong:
            return steps
    raise ValueError(f"layer {wrong[0].layer!r} has weights that are NaN, infinite or too large for float32")


def _quantized(step: Step) -> Step:
    if not isinstance(step, Affine):
        return step
    largest = np.abs(step.weights).max(axis=0, initial=0)
    factor = np.where(largest > 0, largest / 127, 1).astype(np.float32).astype(np.float64)
    factor[factor == 0] = 1  # all weights of the unit are below what float32 can hold
    whole = np.clip(np.rint(step.weights / factor), -127, 127).astype(np.int8)
    return Quantized(step.layer, step.units, whole * factor, step.bias, whole, factor)


def _rounded(step: Step) -> Step:
    """The step as float32 holds it, for the kernel that stands in for the header."""
    if isinstance(step, Quantized):
        return Affine(step.layer, step.units, step.weights, step.bias)
    return step


def _compare(model: Sequential, steps: Sequence[Step], x: Any, y: Any) -> Comparison:
    """The same steps by kernels: sums of another order than the header's, which differ by rounding."""
    from fastmlp.compiled import Network, predict_with

    expected = model.predict(x).astype(np.float64)
    rows = arrays.dense(checks.in_rows("x", x)).reshape(len(expected), -1)
    got = predict_with(Network(steps, (rows.shape[1],), np.dtype(np.float32)), rows).astype(np.float64)
    theirs, ours = _classes(model, expected), _classes(model, got)
    difference = float(np.abs(got - expected).max())
    if y is None:
        return Comparison(len(rows), difference, None if ours is None else float((ours == theirs).mean()))
    if ours is None or theirs is None:
        raise ValueError("y holds classes, but the network's single output is no probability; leave y out")
    classes = np.asarray(y)
    if classes.ndim == 2:
        classes = classes.argmax(axis=1) if classes.shape[1] > 1 else classes[:, 0]
    if classes.shape != ours.shape:
        raise ValueError(
            f"y has shape {np.shape(y)}, which doesn't fit {len(rows)} samples of x: it holds their classes"
        )
    accuracies = [float((own == classes).mean()) for own in (theirs, ours)]
    return Comparison(len(rows), difference, float((ours == theirs).mean()), *accuracies)


def _classes(model: Sequential, outputs: np.ndarray) -> np.ndarray | None:
    if outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    return (outputs[:, 0] > 0.5).astype(int) if _is_probability(model) else None


def _is_probability(model: Sequential) -> bool:
    return model._last_activation()[0] in _PROBABILITIES


# ---------------------------------------------------------------------------------------------- text


def _literal(value: Any) -> str:
    """The shortest number that is this one in float32."""
    return "INFINITY" if np.isinf(value) else f"{np.float32(value)!s}f"


def _array(name: str, values: np.ndarray, type_: str = "float") -> Iterator[str]:
    flat = values.ravel()
    yield f"\nstatic const {type_} {name}[{flat.size}] = {{"
    texts = map(str, flat.tolist()) if type_ != "float" else map(_literal, flat.astype(np.float32))
    line = ""
    for text in texts:
        if len(line) + len(text) > 110:
            yield f"\n    {line.rstrip()}"
            line = ""
        line += f"{text}, "
    yield f"\n    {line.rstrip(', ')}\n}};\n"


def _plain(text: str) -> str:
    """Text that can't end a comment."""
    return re.sub(r"[^A-Za-z0-9 _.,:()+-]", "?", text)


def _description(steps: Sequence[Step], inputs: int) -> str:
    """The steps in a line: 784 -> dense 16 -> sigmoid ..."""
    words = [str(inputs)]
    kinds: list[tuple[type, str]] = [
        (Affine, "dense {}"), (Scale, "scale"), (LayerNormalization, "layer normalization"), (PReLU, "prelu")
    ]  # fmt: skip
    for step in steps:
        if isinstance(step, Activation):
            words.append(step.name)
            continue
        words.append(next((word for kind, word in kinds if isinstance(step, kind)), "?").format(step.units))
    return " -> ".join(words)


def _text(model: Sequential, file: str, name: str, steps: Sequence[Step], compared: Comparison | None) -> Iterator[str]:
    from fastmlp import __version__

    inputs, outputs = int(np.prod(model._shape)), model._need_built().outputs
    upper = name.upper()
    has_class = outputs > 1 or _is_probability(model)
    size = sum(_bytes(step) for step in steps)
    small = any(isinstance(step, Quantized) for step in steps)
    yield f"/* {_plain(file)}: the network {_plain(model.name)}, written by fastmlp {__version__}.\n *\n"
    yield f" *     {_description(steps, inputs)}\n *\n"
    yield f" * {size:,} bytes of {'weights in int8 and other numbers' if small else 'numbers'} in float32.\n"
    if compared is not None:
        yield f" * {str(compared).capitalize()}.\n"
    elif small:
        yield " * What int8 costs was not measured: give export samples, x=..., to have it stand here.\n"
    yield f" *\n *     float x[{upper}_INPUTS], out[{upper}_OUTPUTS];\n *     {name}_predict(x, out);\n"
    if has_class:
        yield f" *     int its_class = {name}_class(x);\n"
    yield " *\n * Include it in one source file, compile with -O3 and link -lm. Threads may share it.\n"
    yield f" */\n\n#ifndef FASTMLP_{upper}_H\n#define FASTMLP_{upper}_H\n\n#include <math.h>\n\n"
    yield f"#define {upper}_INPUTS {inputs}\n#define {upper}_OUTPUTS {outputs}\n"
    yield _named(RESTRICT, name)
    yield from _helpers(steps, name)
    for i, step in enumerate(steps):
        for key, array in _arrays(step).items():
            if isinstance(step, Quantized) and key == "weights":
                continue
            yield from _array(f"{name}_{key}_{i}", array, "signed char" if array.dtype == np.int8 else "float")
    yield from _predict(steps, name, inputs)
    if has_class:
        yield from _class(name, outputs)
    yield f"\n#endif /* FASTMLP_{upper}_H */\n"


def _bytes(step: Step) -> int:
    arrays = _arrays(step)
    if isinstance(step, Quantized):
        del arrays["weights"]
    return sum(array.size * (1 if array.dtype == np.int8 else 4) for array in arrays.values())


def _named(text: str, name: str) -> str:
    return text.replace("NAME_RESTRICT", f"{name.upper()}_RESTRICT").replace("NAME", name)


def _helpers(steps: Sequence[Step], name: str) -> Iterator[str]:
    """The functions that these steps need, each once."""
    wanted: dict[str, None] = {}
    for step in steps:
        wanted[helper(step)] = None
    for text in wanted:
        yield _named(text, name)


def _predict(steps: Sequence[Step], name: str, inputs: int) -> Iterator[str]:
    # Numbers move into another array by each product, and at first where something else changes the inputs.
    copied = not isinstance(steps[0], Affine)
    moved = [inputs] * copied + [step.units for step in steps if isinstance(step, Affine)]
    places = iter([*("ab"[i % 2] for i in range(len(moved) - 1)), "out"])
    buffers = {letter: max(widths) for i, letter in enumerate("ab") if (widths := moved[:-1][i::2])}
    upper = name.upper()
    yield f"\n/* Outputs of a sample: {upper}_INPUTS numbers x, in C order; {upper}_OUTPUTS into other memory, out. */"
    yield f"\nstatic inline void {name}_predict(const float *x, float *out)\n{{\n"
    for letter, width in buffers.items():
        yield f"    float {letter}[{width}];\n"
    here = "x"
    if copied:
        here = next(places)
        yield f"    int i;\n    for (i = 0; i < {inputs}; ++i)\n        {here}[i] = x[i];\n"
    width = inputs
    for i, step in enumerate(steps):
        own = {key: f"{name}_{key}_{i}" for key in _arrays(step)}
        if isinstance(step, Affine):
            weights = [own["whole"], own["factor"]] if isinstance(step, Quantized) else [own["weights"]]
            there = next(places)
            arguments = [str(width), str(step.units), here, *weights, own["bias"], there]
            function, here = "dense", there
        elif isinstance(step, Activation):
            function, arguments = step.name, [str(step.units), here, *map(_literal, step.numbers)]
        elif isinstance(step, LayerNormalization):
            shift = "0.0f" if step.rms_scaling else "1.0f"
            function = "normalize"
            arguments = [str(step.units), here, own["gamma"], own["beta"], _literal(step.epsilon), shift]
        else:
            function = "scale" if isinstance(step, Scale) else "prelu"
            arguments = [str(step.units), here, *own.values()]
        yield f"    {name}_{function}({', '.join(arguments)});\n"
        width = step.units
    yield "}\n"


def _class(name: str, outputs: int) -> Iterator[str]:
    upper = name.upper()
    yield f"\n/* The class of a sample. */\nstatic inline int {name}_class(const float *x)\n{{\n"
    yield f"    float out[{upper}_OUTPUTS];\n"
    if outputs == 1:
        yield f"    {name}_predict(x, out);\n    return out[0] > 0.5f;\n}}\n"
        return
    yield f"    int j, best = 0;\n    {name}_predict(x, out);\n    for (j = 1; j < {upper}_OUTPUTS; ++j)\n"
    yield "        best = out[j] > out[best] ? j : best;\n    return best;\n}\n"
