"""What the compiler made of the kernels, on processors with AVX-512."""

import re

import numba
import numpy as np
import pytest
from support import DTYPES, JIT

from fastmlp.kernels import activations, losses, optimizers
from fastmlp.kernels._jit import KERNELS, features
from fastmlp.kernels.matmul import TILES

pytestmark = pytest.mark.skipif(not (JIT and features("avx512f")), reason="looks at AVX-512 code only")


FORWARDS = [f"activations.{name}_forward" for name in activations.NAMES]
SCORES = [f"losses.{name}_score" for name in losses.NAMES]
UPDATES = [f"optimizers.{name}_update" for name in optimizers.KERNELS]


def protocol(name, doubles, longs, floats):
    """Arguments of a kernel that is called by its address."""
    kinds = {"forward": activations.FORWARD, "backward": activations.BACKWARD, "score": losses.SCORE,
             "update": optimizers.UPDATE}  # fmt: skip
    values = {"a": floats, "f": doubles, "j": longs, "i": 0, "d": 0.0}
    return tuple(values[letter] for letter in kinds[name.rpartition("_")[2]])


def arguments(name, dtype):
    """Arguments of a kernel, for their types."""
    floats, longs, bytes_ = np.zeros(8, dtype), np.zeros(8, np.int64), np.zeros(8, np.uint8)
    doubles = np.zeros(8)
    rows = longs, np.zeros(8, np.uint16), bytes_, 0, 0, 0, longs, 0
    return {
        "matmul._product": (*[np.bool_(False)] * 3, floats, 0, 0, floats, 0, 0, 0, floats, *[0] * 5, floats),
        "sparse_input.sparse_forward": (floats, 0, 0, *rows, 0, 0, floats, 0, 0),
        "sparse_input.sparse_gradient": (floats, 0, *rows, 0, floats, 0, 0, 0, 0),
        "dense.gather": (floats.reshape(2, 4), 1.0, longs, 0, floats, *[0] * 5, longs),
    }.get(name) or protocol(name, doubles, longs, floats)


def assembly(name, dtype):
    """Machine code of a kernel for arrays of that type, compiled anew: what comes from the disk cache has no text."""
    kernel = KERNELS[f"fastmlp.kernels.{name}"]
    fresh = type(kernel)(kernel.py_func, targetoptions=kernel.targetoptions)
    fresh.compile(tuple(numba.typeof(argument) for argument in arguments(name, dtype)))
    return fresh.inspect_asm(fresh.signatures[0])


def loops(text):
    """Bodies of the innermost loops: from a label to the jump back to it, without another label in between."""
    bodies = []
    for block in re.split(r"^(?=\.L\w+:)", text, flags=re.M):
        label, _, body = block.partition(":")
        jump = re.search(rf"^\s+j\w+\s+{re.escape(label)}$", body, flags=re.M)
        if jump:
            bodies.append(body[: jump.end()])
    return bodies


def fmas(text):
    return re.findall(r"vfn?m(?:add|sub)\w+[ps][sd]\s.*%zmm\d+", text)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tile_has_a_loop_of_512_bit_fmas_without_a_spill(dtype):
    inner = [body for body in loops(assembly("matmul._product", dtype)) if fmas(body)]
    found = {len(fmas(body)) for body in inner}
    for width, heights in TILES.items():
        for height in heights:
            # LLVM may do two steps of the sum in one turn of the loop.
            assert {width * height, 2 * width * height} & found, f"no loop for a tile of {height} x {width} lines"
    for body in inner:
        assert not re.search(r"%zmm\d+.*%rsp|%rsp.*%zmm", body), f"a sum is kept in memory:\n{body}"


@pytest.mark.parametrize("name", ["sparse_input.sparse_forward", "sparse_input.sparse_gradient"])
def test_a_group_of_inputs_takes_eight_fmas_of_whole_lines(name):
    found = [len(fmas(body)) for body in loops(assembly(name, np.float32))]
    assert 8 in found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARDS + SCORES)
def test_exponentials_and_logarithms_are_vectors_and_no_calls(name, dtype):
    text = assembly(name, dtype)
    assert re.search(r"zmm", text)
    assert not re.findall(r"call\w*\s+\S*(?:exp|log|tanh)\S*", text)
    assert not re.findall(r"movabsq\s+\$_?(?:exp|log|tanh)\w*", text)  # the far form of a call


@pytest.mark.parametrize("name", ["optimizers.sgd_update", "optimizers.adam_update"])
def test_an_optimizers_sweep_is_a_loop_of_512_bit_lines(name):
    inner = [body for body in loops(assembly(name, np.float32)) if fmas(body)]
    assert inner
    for body in inner:
        assert not re.search(r"\scall|%xmm|%ymm", body), body  # of constants none is made anew
        assert not re.search(r"%zmm\d+.*%rsp|%rsp.*%zmm", body), f"a constant is kept in memory:\n{body}"


@pytest.mark.parametrize("name", ["matmul._product", "losses.huber_score", "activations.relu_forward", "dense.gather",
                                  "optimizers.adam_update"])  # fmt: skip
def test_no_references_are_counted_inside_the_network(name):
    assert "NRT_incref" not in assembly(name, np.float32)
