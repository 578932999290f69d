"""What the compiler made of the kernels, on processors with AVX-512."""

import re

import numpy as np
import pytest
from support import DTYPES, JIT, network, samples

from fastmlp.kernels import matmul as multiply
from fastmlp.kernels._jit import KERNELS, features
from fastmlp.kernels.matmul import TILES

pytestmark = pytest.mark.skipif(not (JIT and features("avx512f")), reason="looks at AVX-512 code only")


def assembly(name, dtype):
    """Machine code of a kernel for arrays of that type, compiled anew: what comes from the disk cache has no text."""
    kernel = KERNELS[f"fastmlp.kernels.{name}"]
    element = "float32" if dtype == np.float32 else "float64"
    signature = next(s for s in kernel.signatures if element in str(s))
    fresh = type(kernel)(kernel.py_func, targetoptions=kernel.targetoptions)
    fresh.compile(signature)
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


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """All kernels of a step, and the public product."""
    for dtype in DTYPES:
        net = network((7, 70, 3), ("tanh", "softmax"), loss="categorical_crossentropy", dtype=dtype)
        for compress in (False, True):
            _, _, data = samples(net, 20, compress=compress)
            net.train(data, np.arange(20), 10)
        multiply(np.ones((2, 3), dtype), np.ones((3, 20), dtype), np.empty((2, 20), dtype))


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
@pytest.mark.parametrize("name", ["activations.activate_lanes", "score.score"])
def test_exponentials_and_logarithms_are_vectors_and_no_calls(name, dtype):
    text = assembly(name, dtype)
    assert fmas(text)
    assert not re.findall(r"call\w*\s+\S*(?:exp|log|tanh)\S*", text)
    assert not re.findall(r"movabsq\s+\$_?(?:exp|log|tanh)\w*", text)  # the far form of a call


@pytest.mark.parametrize("name", ["matmul._product", "score.score", "dense.gather"])
def test_no_references_are_counted_inside_the_network(name):
    assert "NRT_incref" not in assembly(name, np.float32)
