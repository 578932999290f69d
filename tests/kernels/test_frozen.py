"""kernels/frozen.py against its twin."""

import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, some
from tolerance import assert_close

from fastmlp.compiled import Network
from fastmlp.kernels import frozen
from fastmlp.kernels.activations import NAMES
from fastmlp.saving.steps import Activation, Affine, LayerNormalization, PReLU, Scale

NUMBERS = {"leaky_relu": (0.2,), "elu": (0.7,), "general_relu": (0.25, 2.0, 0.5)}
#: Inputs of another type come in blocks; a few more than one.
LONG = frozen.BLOCK + 9


def dense(k, *units, activation="tanh", seed=0):
    rng, made = np.random.default_rng(seed), []
    for m in units:
        made.append(Affine(f"dense_{len(made)}", m, rng.standard_normal((k, m)) / np.sqrt(k), rng.standard_normal(m)))
        made.append(Activation("activation", m, activation, NUMBERS.get(activation, ())))
        k = m
    return made


def operations(k, seed=3):
    rng = np.random.default_rng(seed)
    draw = lambda: rng.uniform(0.3, 1.5, k) * rng.choice([-1, 1], k)  # noqa: E731
    return {
        "scale": Scale("scale", k, draw(), draw()),
        "layer_normalization": LayerNormalization("normal", k, draw(), draw(), 1e-3, False),
        "rms": LayerNormalization("rms", k, draw(), draw(), 1e-3, True),
        "prelu": PReLU("prelu", k, draw()),
    }


def rounded(steps, dtype):
    """The steps with arrays as the dtype has them, so that the twin starts from the same numbers."""
    arrays = ("weights", "bias", "factor", "offset", "gamma", "beta", "slope")
    for step in steps:
        for name in arrays:
            if hasattr(step, name):
                object.__setattr__(step, name, getattr(step, name).astype(dtype).astype(np.float64))
    return steps


def plain(steps, x):
    """The twin's outputs, how many roundings follow each other, and a bound of the terms they are of.

    No activation is steeper than 1.8 but for the exponential, which is as steep as high; those of a whole sample move
    by at most twice what its largest number does. A normalization's slope is at most (2 + its largest output) / root.
    """
    a, size, k = x.astype(np.float64), np.abs(x).astype(np.float64), 0
    for step in steps:
        before, a = a, reference.predict_rows([step], a)
        k += 9
        if isinstance(step, Affine):
            k += len(step.weights)
            size = size @ np.abs(step.weights) + np.abs(step.bias)
        elif isinstance(step, Scale):
            size = size * np.abs(step.factor) + np.abs(step.offset)
        elif isinstance(step, PReLU):
            size = size * np.maximum(1, np.abs(step.slope))
        elif isinstance(step, LayerNormalization):
            k += step.units
            root = np.sqrt(before.var(axis=1, keepdims=True) + step.epsilon)
            largest = np.abs(before - (0 if step.rms_scaling else before.mean(axis=1, keepdims=True))).max() / root
            size = np.abs(step.gamma) * (2 + largest) * size.max(axis=1, keepdims=True) / root + np.abs(step.beta)
        elif step.name.endswith("softmax"):
            k += step.units
            size = 1 + np.abs(a) + 2 * size.max(axis=1, keepdims=True)
        else:
            steep = np.maximum(1.8, np.abs(a)) if step.name == "exponential" else 1.8
            size = 1 + np.abs(a) + steep * size
    return a, k, size


def outputs(steps, x, dtype, out_type=None):
    """Outputs of the kernel, in memory that holds something else before, and nothing beside them written."""
    made = Network(steps, x.shape[1:], np.dtype(dtype))
    floats, n = np.full(2 * made.wide + frozen.BLOCK, np.nan, dtype), len(x)
    out, read = np.full(n * made.units + 1, 77, out_type or dtype), (made.table, made.constants, made.theta, x.ravel())
    kept = [array.copy() for array in read]
    frozen.predict_rows(*read, n, floats, out[:-1])
    for array, before in zip(read, kept):
        np.testing.assert_array_equal(array, before)
    assert out[-1] == 77
    return out[:-1].reshape(n, made.units)


def check(steps, x, dtype):
    steps = rounded(steps, dtype)
    exact, k, size = plain(steps, x)
    assert_close(outputs(steps, x, dtype), exact, k, size)


def samples(k, dtype=np.float64, n=3, seed=1):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind != "f":
        return rng.integers(0, 120, (n, k)).astype(dtype)
    return rng.standard_normal((n, k)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", SIZES)
def test_one_layer_equals_the_twin_at_all_sizes(k, dtype):
    for m in (*SIZES, *some((64, 70, 130), (70,))):
        check(dense(k, m), samples(k, dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_every_activation_inside_and_last_equals_the_twin(name, dtype):
    check([*dense(5, 19, 4, activation=name), *dense(4, 3)], samples(5, dtype), dtype)
    check([*dense(5, 19), *dense(19, 4, activation=name)], samples(5, dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("name", operations(1))
def test_every_operation_equals_the_twin_first_inside_and_last(name, k, dtype):
    step, x = operations(k)[name], samples(k, dtype)
    check([step], x, dtype)
    check([step, *dense(k, 3)], x, dtype)
    check([*dense(k, k), step, Activation("tanh", k, "tanh", ())], x, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_activations_follow_each_other(dtype):
    steps = [Activation("a", 5, "elu", (0.7,)), Activation("b", 5, "softmax", ()), *dense(5, 4, activation="softmax")]
    check([*steps, Activation("c", 4, "relu", ())], samples(5, dtype), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("k", [7, *some((33, LONG), (33,))])
def test_inputs_of_every_type_are_converted(kind, k, dtype):
    x = samples(k, kind)
    check(dense(k, 5), x.astype(dtype), dtype)
    expected, steps = outputs(dense(k, 5), x.astype(dtype), dtype), dense(k, 5)
    got = outputs(steps, x, dtype)
    # In blocks the sum has another order.
    np.testing.assert_allclose(got, expected, rtol=0, atol=0 if k <= frozen.BLOCK else 1e-4)


def test_outputs_are_written_in_another_float_type():
    x = samples(4, np.float32)
    np.testing.assert_array_equal(outputs(dense(4, 3), x, np.float32, np.float64), outputs(dense(4, 3), x, np.float32))


def test_no_samples_write_nothing():
    assert outputs(dense(4, 3), samples(4, np.float32, n=0), np.float32).shape == (0, 3)
