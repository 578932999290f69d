"""One row through a net inside other code: python -m benchmarks.one_row ROUNDS SECONDS prints all times, as JSON.

On one core: a function of fastmlp in a compiled loop, its C header in a loop of C, plain C with the loops of emlearn
0.23, and the calls from Python that libraries offer. Ways whose compiler or package is not installed are left out.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .worker import limit_threads

#: Units and the hidden layers' activation: the seed job's net, a wider one, and one such as controls a machine.
NETS = {
    "784-16-8-10, sigmoid": ((784, 16, 8, 10), "sigmoid"),
    "784-128-128-10, relu": ((784, 128, 128, 10), "relu"),
    "4-16-16-2, tanh": ((4, 16, 16, 2), "tanh"),
}

#: Rows that take turns, so that they don't lie in the first-level cache, as little as they do in a simulation.
ROWS = 256

#: Largest difference of two outputs: sums of 784 products in float32; int8 has weights of three digits.
_TOLERANCE, _TOLERANCE_INT8 = 1e-4, 0.1

#: Takes the rows of a net through it, into out.
Run = Callable[[], Any]

# The order of emlearn 0.23's eml_net_forward: unit by unit, each a sum over inputs that lie apart.
_EMLEARN = """
static void layer(const float *in, int in_length, const float *weights, const float *biases, float *out, int out_length)
{
    for (int o = 0; o < out_length; o++) {
        float sum = 0.0f;
        for (int i = 0; i < in_length; i++)
            sum += weights[o + i * out_length] * in[i];
        out[o] = sum + biases[o];
    }
}
"""
_C_ACTIVATIONS = {
    "sigmoid": "1.0f / (1.0f + expf(-a[j]))",
    "relu": "a[j] <= 0.0f ? 0.0f : a[j]",
    "tanh": "tanhf(a[j])",
}
_C_SOFTMAX = """
static void softmax(float *a, int length)
{
    float top = -INFINITY, sum = 0.0f;
    for (int j = 0; j < length; j++)
        top = a[j] > top ? a[j] : top;
    for (int j = 0; j < length; j++)
        sum += expf(a[j] - top);
    const float offset = top + logf(sum);
    for (int j = 0; j < length; j++)
        a[j] = expf(a[j] - offset);
}
"""
_LOOP = """
void run(const float *x, float *out, long rows)
{
    for (long i = 0; i < rows; i++)
        CALL(x + i * INPUTS, out + i * OUTPUTS);
}
"""


class Net:
    """A net with random weights in fastmlp, rows of float32, and where its outputs go."""

    def __init__(self, units: tuple[int, ...], activation: str):
        import fastmlp
        from fastmlp.layers import Dense, Input

        self.units, self.activation = units, activation
        fastmlp.utils.set_random_seed(0)
        hidden = [Dense(m, activation=activation) for m in units[1:-1]]
        self.model = fastmlp.Sequential([Input((units[0],)), *hidden, Dense(units[-1], activation="softmax")])
        self.x = np.random.default_rng(0).random((ROWS, units[0]), np.float32)
        self.pairs = list(zip(*[iter(self.model.get_weights())] * 2))

    def one_by_one(self, predict: Callable[[np.ndarray], np.ndarray]) -> tuple[Run, np.ndarray]:
        """Call it from Python for each row (1, inputs)."""
        out = np.empty((ROWS, self.units[-1]), np.float32)
        rows = [self.x[i : i + 1] for i in range(ROWS)]

        def run() -> None:
            for i, row in enumerate(rows):
                out[i] = predict(row)[0]

        return run, out


def ways(net: Net, folder: Path) -> Iterator[tuple[str, Run, np.ndarray]]:
    """Every way that is installed: its name, what takes all rows through, and where their outputs are afterwards."""
    yield "fastmlp, as_njit in a compiled loop", *_compiled(net)
    compiler = shutil.which("cc")
    if compiler is not None:
        for int8 in (False, True):
            path = folder / f"header{int8:d}.h"
            net.model.export(path, int8=int8)
            text = f'#include "{path.name}"\n' + _LOOP.replace("CALL", f"{path.stem}_predict")
            yield f"fastmlp, C header{' in int8' * int8}", *_c(net, text, folder / f"{path.stem}.c", compiler)
        yield "C as emlearn has it", *_c(net, _emlearn(net), folder / "emlearn.c", compiler)
    yield "fastmlp, predict", *net.one_by_one(net.model.predict)
    if importlib.util.find_spec("torch") is not None:
        yield "PyTorch, no_grad", *_torch(net)
    if all(importlib.util.find_spec(package) is not None for package in ("onnx", "onnxruntime")):
        yield from _onnx(net)


def _compiled(net: Net) -> tuple[Run, np.ndarray]:
    import numba

    predict, x = net.model.as_njit(), net.x
    out = np.empty((ROWS, net.units[-1]), np.float32)

    @numba.njit
    def loop(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(len(x)):
            predict(x[i], out[i])

    return lambda: loop(x, out), out


def _c(net: Net, text: str, source: Path, compiler: str) -> tuple[Run, np.ndarray]:
    text = text.replace("INPUTS,", f"{net.units[0]},").replace("OUTPUTS)", f"{net.units[-1]})")
    source.write_text(text, encoding="ascii")
    library = source.with_suffix(".so")
    flags = ["-std=c99", "-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", library, source, "-lm"], check=True)
    function, out = ctypes.CDLL(str(library)).run, np.empty((ROWS, net.units[-1]), np.float32)
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long], None
    x = net.x
    return lambda: function(x.ctypes.data, out.ctypes.data, ROWS), out


def _emlearn(net: Net) -> str:
    """The net in C; only names and sizes are its own."""
    lines, calls, here = ["#include <math.h>", _EMLEARN, _C_SOFTMAX], [], "x"
    for i, (w, b) in enumerate(net.pairs):
        for name, array in (("w", w), ("b", b)):
            numbers = ", ".join(f"{number!s}f" for number in array.ravel())
            lines.append(f"static const float {name}{i}[] = {{{numbers}}};")
        calls += [f"float a{i}[{len(b)}];", f"layer({here}, {len(w)}, w{i}, b{i}, a{i}, {len(b)});"]
        here = f"a{i}"
        if i < len(net.pairs) - 1:
            value = _C_ACTIVATIONS[net.activation].replace("a[j]", f"{here}[j]")
            calls.append(f"for (int j = 0; j < {len(b)}; j++) {here}[j] = {value};")
    size = net.units[-1]
    calls += [f"softmax({here}, {size});", f"for (int j = 0; j < {size}; j++) out[j] = {here}[j];"]
    lines.append("static void predict(const float *x, float *out)\n{\n    " + "\n    ".join(calls) + "\n}")
    return "\n".join(lines) + _LOOP.replace("CALL", "predict")


def _torch(net: Net) -> tuple[Run, np.ndarray]:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    made: list[nn.Module] = []
    for w, b in net.pairs:
        layer = nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(w.T.copy()), torch.from_numpy(b)
        made += [layer, {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}[net.activation]()]
    model = nn.Sequential(*made[:-1], nn.Softmax(1)).eval()

    def predict(row: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(row)).numpy()

    return net.one_by_one(predict)


def _onnx(net: Net) -> Iterator[tuple[str, Run, np.ndarray]]:
    """A call as users write it, and one on bound buffers, where what the library itself takes is nearly all."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(_onnx_model(net), options, providers=["CPUExecutionProvider"])
    yield "onnxruntime, run", *net.one_by_one(lambda row: session.run(None, {"x": row})[0])
    row, result = np.empty((1, net.units[0]), np.float32), np.empty((1, net.units[-1]), np.float32)
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, row.shape, row.ctypes.data)
    binding.bind_output("y", "cpu", 0, np.float32, result.shape, result.ctypes.data)

    def bound(x: np.ndarray) -> np.ndarray:
        row[:] = x
        session.run_with_iobinding(binding)
        return result

    yield "onnxruntime, bound buffers", *net.one_by_one(bound)


def _onnx_model(net: Net) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes, numbers, here = [], [], "x"
    for i, (w, b) in enumerate(net.pairs):
        numbers += [numpy_helper.from_array(w.copy(), f"w{i}"), numpy_helper.from_array(b.copy(), f"b{i}")]
        last = i == len(net.pairs) - 1
        kind = "Softmax" if last else {"sigmoid": "Sigmoid", "relu": "Relu", "tanh": "Tanh"}[net.activation]
        nodes.append(helper.make_node("Gemm", [here, f"w{i}", f"b{i}"], [f"z{i}"]))
        here = "y" if last else f"a{i}"
        nodes.append(helper.make_node(kind, [f"z{i}"], [here]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", net.units[0]), ("y", net.units[-1]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """For each net, each way's median seconds of a row in every round, in turn."""
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for title, (units, activation) in NETS.items():
            net = Net(units, activation)
            own = Path(folder) / title.partition(",")[0]
            own.mkdir()
            made = list(ways(net, own))
            expected = net.model.predict(net.x)
            for name, run, out in made:
                out[:] = np.nan
                run()  # which compiles
                tolerance = _TOLERANCE_INT8 if "int8" in name else _TOLERANCE
                np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance, err_msg=f"{name} differs")
            times: dict[str, list[float]] = {name: [] for name, _, _ in made}
            for turn in range(rounds):
                first = turn * len(made) // rounds
                for name, run, _ in made[first:] + made[:first]:
                    times[name].append(_median(run, seconds) / ROWS)
            report[title] = times
    return report


def _median(run: Run, seconds: float) -> float:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    limit_threads(1)
    warnings.simplefilter("ignore")
    print(json.dumps(measure(int(sys.argv[1]), float(sys.argv[2]))))
