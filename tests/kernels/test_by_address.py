import numpy as np
import pytest
from support import DTYPES, JIT, compiled_only, small_kernel

from fastmlp.kernels import activations, losses, metrics, operations, optimizers
from fastmlp.kernels._jit import KERNELS
from fastmlp.kernels.by_address import address, call_at


@small_kernel
def write(a, floats, longs, whole, number, out):
    out[0] = a[whole] + number
    out[1] = floats[0]
    out[2] = longs[1]
    out[3] = whole


@small_kernel
def write_twice(a, floats, longs, whole, number, out):
    write(a, floats, longs, whole, number, out)
    for i in range(out.size):
        out[i] *= 2


@small_kernel
def call(where, a, floats, longs, whole, number, out):
    call_at(where, (a, floats, longs, whole, number, out))


@small_kernel
def call_with_constants(where, a, floats, longs, out):
    call_at(where, (a, floats, longs, 2, 1, out))


@small_kernel
def call_with_a_flag(where, a, floats, longs, flag, number, out):
    call_at(where, (a, floats, longs, flag, number, out))


@small_kernel
def call_with_a_part(where, a, floats, longs, whole, number, out):
    call_at(where, (a[1:], floats[:1], longs[-2:], whole, number, out))


PROTOCOL = "afjidf"


def arguments(dtype):
    return np.array([1.5, 2.5, 3.5, 4.5], dtype), np.array([0.1]), np.array([6, 7, 8]), np.full(4, np.nan)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_is_called_by_its_address(dtype):
    *read, out = arguments(dtype)
    call(address(write, PROTOCOL, np.dtype(dtype).name), *read, 2, 0.25, out)
    np.testing.assert_array_equal(out, [3.75, 0.1, 7, 2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_caller_reaches_several_functions(dtype):
    first, second = (address(function, PROTOCOL, np.dtype(dtype).name) for function in (write, write_twice))
    assert first != second
    *read, out = arguments(dtype)
    for where, factor in ((first, 1), (second, 2), (first, 1)):
        call(where, *read, 2, 0.25, out)
        np.testing.assert_array_equal(out, factor * np.array([3.75, 0.1, 7, 2]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_arguments_are_converted_to_the_protocols_types(dtype):
    name = np.dtype(dtype).name
    *read, out = arguments(dtype)
    where = address(write_twice, PROTOCOL, name)
    call(where, *read, np.uint8(1), dtype(0.5), out)
    np.testing.assert_array_equal(out, [6, 0.2, 14, 2])
    call_with_a_flag(where, *read, True, dtype(0.5), out)
    np.testing.assert_array_equal(out, [6, 0.2, 14, 2])
    call_with_a_part(where, *read, 2, 0.0, out)
    np.testing.assert_array_equal(out, [9, 0.2, 16, 4])


@small_kernel
def write_whole(a, floats, longs, whole, other, out):
    out[0] = whole + other


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_pass_as_whole_numbers(dtype):
    *read, out = arguments(dtype)
    call_with_constants(address(write_whole, "afjiif", np.dtype(dtype).name), *read, out)
    assert out[0] == 3


def test_an_address_stays():
    assert address(write, PROTOCOL, "float64") == address(write, PROTOCOL, "float64")


@compiled_only
def test_each_type_has_a_function_of_its_own():
    assert address(write, PROTOCOL, "float32") != address(write, PROTOCOL, "float64")


PROTOCOLS = {
    "activation": (activations.FORWARD, lambda: [forms[0] for forms in activations.FORMS.values()]),
    "slope": (activations.BACKWARD, lambda: [forms[1] for forms in activations.FORMS.values() if forms[1]]),
    "loss": (losses.SCORE, lambda: losses.KERNELS.values()),
    "mean": (losses.SCORE, lambda: metrics.MEANS.values()),
    "counter": (metrics.COUNT, lambda: metrics.COUNTERS.values()),
    "optimizer": (optimizers.UPDATE, lambda: optimizers.KERNELS.values()),
    "operation": (operations.OPERATE, lambda: [forms[0] for forms in operations.OPERATIONS.values()]),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_function_takes_the_arguments_of_its_protocol(protocol):
    letters, functions = PROTOCOLS[protocol]
    for function in functions():
        code = getattr(function, "py_func", function).__code__
        assert code.co_argcount == len(letters), code.co_name


@compiled_only
def test_the_functions_have_names_of_their_own_by_which_they_are_kept():
    reached = [function for _, functions in PROTOCOLS.values() for function in functions()]
    names = {f"{function.py_func.__module__}.{function.py_func.__qualname__}" for function in reached}
    assert len(names) == len({id(function) for function in reached})
    assert names <= KERNELS.keys()


def test_without_the_compiler_an_address_is_a_place_in_a_list():
    if not JIT:
        assert isinstance(address(write, PROTOCOL, "float32"), int)
        assert address(write, PROTOCOL, "float32") == address(write, PROTOCOL, "float64")
