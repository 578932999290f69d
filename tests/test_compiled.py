"""Networks inside compiled code of a user's own."""

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import weakref
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaWarning, TypingError
from numba.core.runtime import _nrt_python, rtsys
from support import compiled_only
from test_steps import everything

import fastmlp
from fastmlp import activations, compiled, layers

pytestmark = compiled_only


def net(*units, activation="tanh", dtype="float32", shape=None):
    made = [layers.Dense(m, activation=activation) for m in units[1:]]
    return fastmlp.Sequential([layers.Input(shape or (units[0],)), layers.Flatten(), *made], dtype=dtype)


def samples(n, *shape, dtype=np.float32):
    return np.random.default_rng(3).standard_normal((n, *shape)).astype(dtype)


# Outputs of these nets are of size 1, of sums of at most 20 products in two or three layers.
close = {"rtol": 0, "atol": 2e-5}


def test_a_sample_and_a_batch_come_out_as_predict_has_them():
    model, x = net(5, 8, 3), samples(7, 5)
    f, expected = model.as_njit(), model.predict(x)
    assert f(x).dtype == np.float32
    np.testing.assert_allclose(f(x), expected, **close)
    np.testing.assert_allclose(f(x[2]), expected[2], **close)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_every_layer_comes_out_as_predict_has_it(dtype):
    model = fastmlp.Sequential.from_config(everything().get_config() | {"dtype": dtype})
    model.set_weights(everything().get_weights())
    x = samples(6, 3, 4, dtype=dtype)
    tolerance = {"rtol": 0, "atol": 2e-5 if dtype == "float32" else 1e-13}
    f, expected = model.as_njit(), model.predict(x)
    np.testing.assert_allclose(f(x), expected, **tolerance)
    np.testing.assert_allclose(f(x[1]), expected[1], **tolerance)
    np.testing.assert_allclose(f(x[1].ravel()), expected[1], **tolerance)


@pytest.mark.parametrize("activation", activations.NAMES)
def test_every_activation_comes_out_as_predict_has_it(activation):
    model, x = net(6, 5, 4, activation=activation), samples(4, 6)
    np.testing.assert_allclose(model.as_njit()(x), model.predict(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "bool", "int64", "float64"])
def test_inputs_of_other_types_are_converted(kind):
    x = np.random.default_rng(0).integers(0, 2, (4, 33)).astype(kind)
    model = net(33, 5)
    np.testing.assert_allclose(model.as_njit()(x), model.predict(x), **close)


def test_rows_and_columns_of_larger_arrays_may_lie_apart():
    model, wide = net(5, 3), samples(10, 12)
    f = model.as_njit()
    expected = model.predict(np.ascontiguousarray(wide[::2, 1:11:2]))
    np.testing.assert_allclose(f(wide[::2, 1:11:2]), expected, **close)
    np.testing.assert_allclose(f(wide[0, 1:11:2]), expected[0], **close)
    np.testing.assert_allclose(f(np.asfortranarray(wide[::2, 1:11:2])), expected, **close)
    readonly = wide[0, :5].copy()
    readonly.flags.writeable = False
    np.testing.assert_allclose(f(readonly), model.predict(wide[:1, :5])[0], **close)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_an_output_that_is_given_is_written_and_nothing_returned(kind):
    model, x = net(5, 8, 3), samples(4, 5)
    f, out = model.as_njit(), np.full((5, 3), 7, kind)
    assert f(x, out[:4]) is None
    np.testing.assert_allclose(out[:4], model.predict(x), **close)
    assert f(x[0], out[4]) is None
    np.testing.assert_array_equal(out[4], out[0])


def test_compiled_code_calls_it_without_allocating():
    f = net(5, 8, 3).as_njit()

    @numba.njit
    def run(x, out, times):
        for _ in range(times):
            for i in range(len(x)):
                f(x[i], out[i])
            f(x, out)

    x, out = samples(4, 5), np.empty((4, 3), np.float32)
    run(x, out, 1)
    _nrt_python.memsys_enable_stats()
    try:
        counts = [rtsys.get_allocation_stats().alloc]
        for times in (0, 1000):  # Numba allocates for the two arrays that come from Python
            run(x, out, times)
            counts.append(rtsys.get_allocation_stats().alloc)
        assert counts[2] - counts[1] == counts[1] - counts[0]
        f(x)
        assert rtsys.get_allocation_stats().alloc > counts[2] + 1
    finally:
        _nrt_python.memsys_disable_stats()


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_parallel_callers_get_what_a_serial_one_gets(kind):
    f = net(40, 20, 3, activation="softmax").as_njit()

    @numba.njit(parallel=True)
    def run(x, out):
        for i in numba.prange(len(x)):
            f(x[i], out[i])

    x, out = np.abs(samples(3000, 40) * 9).astype(kind), np.empty((3000, 3), np.float32)
    run(x, out)
    np.testing.assert_array_equal(out, f(x))


def test_threads_call_it_at_once():
    f, x = net(40, 20, 3).as_njit(), samples(500, 40)

    @numba.njit(nogil=True)
    def run(x):
        out = np.empty((len(x), 3), np.float32)
        for i in range(len(x)):
            f(x[i], out[i])
        return out

    expected = run(x)
    with ThreadPoolExecutor(4) as pool:
        for out in pool.map(run, [x] * 20):
            np.testing.assert_array_equal(out, expected)


def test_weights_are_those_at_the_time_of_the_call():
    model, x = net(5, 3), samples(2, 5)
    f, before = model.as_njit(), model.predict(x)
    model.set_weights([w + 1 for w in model.get_weights()])
    np.testing.assert_allclose(f(x), before, **close)
    np.testing.assert_allclose(model.as_njit()(x), model.predict(x), **close)


def test_memory_stays_as_long_as_code_that_was_compiled_with_it():
    namespace = {"f": net(64, 64, 3).as_njit(), "numba": numba}
    exec("@numba.njit\ndef run(x): return f(x)\n@numba.njit(parallel=True)\ndef outer(x): return run(x)", namespace)
    x = samples(1, 64)[0]
    expected = namespace["outer"](x)
    network = weakref.ref(namespace["f"].py_func.__closure__[0].cell_contents)
    assert isinstance(network(), compiled.Network)
    del namespace["f"], namespace["run"]
    for _ in range(3):
        gc.collect()
    assert network() is not None
    kept = [np.full(64 * 65, np.nan, np.float32) for _ in range(50)]
    np.testing.assert_array_equal(namespace["outer"](x), expected)
    assert len(kept) == 50


def test_a_copy_in_another_process_has_weights_of_its_own(tmp_path):
    f, x = net(5, 8, 3).as_njit(), samples(4, 5)
    (tmp_path / "f.pickle").write_bytes(pickle.dumps((f, x, f(x))))
    text = """
        import pickle, sys
        import numpy as np
        f, x, expected = pickle.load(open(sys.argv[1], "rb"))
        np.testing.assert_array_equal(f(x), expected)
        print("the same")
    """
    assert _python(text, tmp_path / "f.pickle").stdout == "the same\n"


_USER = """
import sys, warnings
import numba
import numpy as np
import fastmlp
from fastmlp import layers

def network(scale):
    model = fastmlp.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.set_weights([np.full((3, 2), scale), np.zeros(2)])
    return model.as_njit()

f = network(float(sys.argv[1]))

@numba.njit(cache=True)
def by_global(x):
    return f(x)

@numba.njit(cache=True, parallel=True)
def in_parallel(x):
    out = np.zeros((4, 2), np.float32)
    for i in numba.prange(4):
        f(x, out[i])
    return out[3]

@numba.njit(cache=True)
def deeper(x):
    return by_global(x) * 1

def make(f):
    @numba.njit(cache=True)
    def by_closure(x):
        return f(x)
    return by_closure

@numba.njit(cache=True)
def by_argument(f, x):
    return f(x)

@numba.njit(cache=True)
def without(x):
    return x + 1

x = np.ones(3, np.float32)
without(x)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    results = [by_global(x), in_parallel(x), deeper(x), make(f)(x), by_argument(f, x)]
print([float(result[0]) for result in results])
print(sum("dynamic globals" in str(warning.message) for warning in seen))
"""


def _python(text, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_numba_keeps_no_old_weights_in_its_cache(tmp_path):
    script = tmp_path / "user.py"
    script.write_text(_USER)
    said = []
    for scale in (1.0, 2.0, 1.0):
        run = subprocess.run([sys.executable, str(script), str(scale)], env=os.environ | {
            "NUMBA_CACHE_DIR": str(tmp_path / "numba")}, capture_output=True, text=True, check=True)  # fmt: skip
        said.append(run.stdout.splitlines())
    assert [lines[0] for lines in said] == [str([3.0 * scale] * 5) for scale in (1.0, 2.0, 1.0)]
    # A cache is there, and none of the five is in it.
    assert {lines[1] for lines in said} == {"5"}
    kept = {path.name.partition("-")[0] for path in (tmp_path / "numba").rglob("*.nbc")}
    assert {name for name in kept if name.startswith("user.")} == {"user.without"}


def test_a_caller_that_asks_for_the_cache_is_warned():
    f = net(5, 3).as_njit()
    with pytest.warns(NumbaWarning, match="dynamic globals"):
        numba.njit(cache=True)(lambda x: f(x))(samples(1, 5)[0])


@pytest.mark.parametrize(
    ("shape", "out", "message"),
    [
        ((4,), None, r"x has a shape that doesn't fit .* sample of shape \(5,\) or a batch \(n, 5\)"),
        ((2, 4), None, "x has a shape"),
        ((5,), (4,), r"out has a shape that doesn't fit: it must be \(3,\)"),
        ((2, 5), (3, 3), r"out has a shape that doesn't fit: it must be \(n, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shape, out, message):
    f = net(5, 3).as_njit()
    arguments = [np.zeros(shape, np.float32), *([] if out is None else [np.zeros(out, np.float32)])]
    with pytest.raises(ValueError, match=message):
        f(*arguments)


def test_images_are_taken_in_three_shapes_and_no_other():
    model = net(12, 3, shape=(3, 4))
    f, x = model.as_njit(), samples(5, 3, 4)
    expected = model.predict(x)
    np.testing.assert_allclose(f(x), expected, **close)
    np.testing.assert_allclose(f(x[0]), expected[0], **close)
    np.testing.assert_allclose(f(x[0].ravel()), expected[0], **close)
    with pytest.raises(ValueError, match=r"shape \(3, 4\) or \(12,\), 12 numbers, or \(n, 3, 4\)"):
        f(x.reshape(5, 12))
    with pytest.raises(TypingError, match="an array of 4 dimensions"):
        f(x[None])
    with pytest.raises(TypingError, match=r"give np.ascontiguousarray\(x\)"):
        f(x[::2, ::2])


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (1.5, None, "x must be an array of numbers, got float64"),
        (np.zeros(5, complex), None, "x must hold float32, float64, integers or truth values, got complex128"),
        (np.zeros(5, np.float32), np.zeros(3, np.int64), "out must be a C-ordered array of 1 dimension of float32 or"),
        (np.zeros(5, np.float32), np.zeros((3, 2))[:, 0], "out must be a C-ordered array of 1 dimension"),
        (np.zeros((2, 5)), np.zeros(3), "out must be a C-ordered array of 2 dimensions"),
    ],
)
def test_types_that_do_not_fit_are_named(x, out, message):
    f = net(5, 3).as_njit()
    with pytest.raises(TypingError, match=message):
        f(x) if out is None else f(x, out)


def test_what_is_not_a_number_comes_out_as_none():
    x = samples(2, 5)
    x[1, 2] = np.nan
    out = net(5, 3).as_njit()(x)
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()


def test_a_factor_that_does_not_fit_the_weights_stays_beside_them():
    model = fastmlp.Sequential([layers.Input((2,)), layers.Rescaling(1e30), layers.Dense(2, use_bias=False)])
    model.set_weights([np.full((2, 2), 1e20)])
    x = np.array([1e-30, 2e-30], np.float32)
    np.testing.assert_allclose(model.as_njit()(x), model.predict(x[None])[0], rtol=1e-5)


def test_weights_that_are_not_finite_are_refused():
    model = net(5, 3)
    model.set_weights([np.full((5, 3), np.nan), np.zeros(3)])
    with pytest.raises(ValueError, match="weights that are NaN or infinite"):
        model.as_njit()


def test_layers_that_are_too_wide_are_refused():
    with pytest.raises(ValueError, match="has 9,000 numbers of a sample; up to 8,192 fit the stack"):
        net(1, 9000).as_njit()


def test_a_model_without_weights_is_refused():
    with pytest.raises(RuntimeError, match="has no weights yet"):
        fastmlp.Sequential([layers.Dense(3)]).as_njit()


def test_without_the_compiler_it_is_a_function_of_python():
    text = """
        import numpy as np
        import fastmlp
        from fastmlp import layers
        from fastmlp.compiled import function
        model = fastmlp.Sequential([layers.Input((3, 2)), layers.Flatten(), layers.Dense(2)])
        model.set_weights([np.arange(12).reshape(6, 2), np.zeros(2)])
        f, out = model.as_njit(), np.empty((1, 2))
        print(f(np.ones((3, 2), np.uint8)), f(np.ones(6)), f(np.ones((1, 3, 2)), out), out)
        for wrong in (np.ones(5), np.ones((1, 1, 1, 6)), 3.0):
            try:
                f(wrong)
            except (TypeError, ValueError) as error:
                print(type(error).__name__)
    """
    run = _python(text, NUMBA_DISABLE_JIT="1")
    assert run.stdout.split("\n")[:-1] == ["[30. 36.] [30. 36.] None [[30. 36.]]", "ValueError", "TypeError",
                                           "TypeError"]  # fmt: skip
