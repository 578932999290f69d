import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, lanes, small_kernel, some
from tolerance import assert_close, central_difference, difference_tolerance

from fastmlp.kernels import losses, simd
from fastmlp.kernels.losses import EPSILON, NAMES, loss_lanes

SPARSE = "sparse_categorical_crossentropy"
CROSSENTROPIES = [name for name in NAMES if "crossentropy" in name]

#: The activation whose gradient cancels with the loss's.
PARTNER = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax", SPARSE: "softmax"}


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_a_twin(name):
    assert hasattr(reference, name), f"tests/reference.py has no twin of the loss {name}"
    assert hasattr(reference, f"{name}_gradient"), f"tests/reference.py has no twin of {name}_gradient"


def logits(name, n, units, seed=0):
    return 2 * np.random.default_rng(seed).standard_normal((n, units))


def outputs(name, n, units, dtype, seed=0):
    """What the last layer may give: anything for the squared error, else probabilities."""
    z = logits(name, n, units, seed)
    return (getattr(reference, PARTNER[name])(z) if name in PARTNER else z).astype(dtype)


def targets(name, n, units, dtype, soft=False, seed=1):
    rng = np.random.default_rng(seed)
    if name == SPARSE:
        return rng.integers(0, units, n).astype(np.int32)
    if name == "categorical_crossentropy":
        return (rng.random((n, units)) if soft else np.eye(units)[rng.integers(0, units, n)]).astype(dtype)
    if name == "binary_crossentropy":
        return (rng.random((n, units)) if soft else rng.integers(0, 2, (n, units))).astype(dtype)
    return rng.standard_normal((n, units)).astype(dtype)


# Parts are put into a kernel that calls them; this is the kernel.
@small_kernel
def score_lines(code, a, at, row, labels, targets, units, scale, delta, joint, loss):
    for i in range(0, loss.size, simd.lanes(a)):
        simd.store(loss, i, loss_lanes(code, a, at + i, row, labels, targets, i, units, scale, delta, joint))


def scored(name, a, y, scale=1.0, joint=False):
    """Losses and gradients of all rows of a, as the network has them: in lanes; NaN fills up the last line."""
    n, units = a.shape
    outputs, delta = Padded(a.T, 5, np.nan), Padded(np.full((units, n), 7, a.dtype), 5, 7)
    row = outputs.row
    values, indices = Padded(np.zeros((units, n), a.dtype), 0, np.nan), np.zeros(row, a.dtype)
    if name == SPARSE:
        indices[:n] = y
    else:
        values.matrix[:] = y.T
    kept, losses = (indices.copy(), values.flat.copy()), np.full(-(-n // lanes(a.dtype)) * lanes(a.dtype), 7, a.dtype)
    score_lines(NAMES.index(name), *outputs.place, indices, values.flat, units, a.dtype.type(scale), delta.flat,
                int(joint), losses)  # fmt: skip
    outputs.assert_untouched()
    delta.assert_only_lines_written()
    for array, before in zip((indices, values.flat), kept):
        np.testing.assert_array_equal(array, before)
    return losses[:n], delta.matrix.T.copy()


def magnitudes(name, a, y):
    """Sums of absolute terms: of the loss, and of its gradient by a and by z."""
    a = a.astype(np.float64)
    m = a.shape[1]
    if name == "mean_squared_error":
        size = np.abs(a) + np.abs(y)
        # The rounding of a - y, at most eps |a - y|, counts once more in its square.
        return ((a - y) ** 2).mean(axis=1), 2 * size / m, None
    if name == "binary_crossentropy":
        low, high = EPSILON, 1 - EPSILON
        p = np.clip(a, low, high)
        loss = (y * (np.abs(np.log(p)) + 1) + (1 - y) * (np.abs(np.log(1 - p)) + 1)).mean(axis=1)
        return loss, (p + y) / (p * (1 - p)) / m, (p + y) / m
    if name == SPARSE:
        y = np.eye(m)[y]
    norm = a.sum(axis=1, keepdims=True)
    loss = (y * (np.abs(np.log(np.maximum(a / norm, EPSILON))) + 1)).sum(axis=1)
    mass = y.sum(axis=1, keepdims=True)
    return loss, mass / norm + y / a, a * mass + y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_equal_their_twins(name, dtype):
    for units in SIZES[name in PARTNER and PARTNER[name] == "softmax" :]:
        for n in SIZES:
            for soft in (False, True):
                a, y = outputs(name, n, units, dtype), targets(name, n, units, dtype, soft)
                loss, gradient = scored(name, a, y, scale=0.25)
                loss_size, size, _ = magnitudes(name, a, y)
                assert_close(loss, getattr(reference, name)(a, y), units + 4, loss_size, dtype)
                expected = 0.25 * getattr(reference, f"{name}_gradient")(a, y)
                assert gradient.dtype == dtype
                assert_close(gradient, expected, units + 4, 0.25 * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CROSSENTROPIES)
def test_the_joint_gradient_is_the_one_through_the_activation(name, dtype):
    for units in SIZES[PARTNER[name] == "softmax" :]:
        for soft in (False, True):
            a, y = outputs(name, 7, units, dtype), targets(name, 7, units, dtype, soft)
            loss, gradient = scored(name, a, y, scale=0.25, joint=True)
            by_a = getattr(reference, f"{name}_gradient")(a, y)
            # Through the activation the output must sum to 1 as exactly as float64 has it.
            wide = a.astype(np.float64)
            if PARTNER[name] == "softmax":
                onehot = np.eye(units)[y] if name == SPARSE else y
                expected = wide * onehot.sum(axis=1, keepdims=True) - onehot
                assert_close(expected, reference.activate_backward("softmax", wide, by_a), units + 4,
                             magnitudes(name, a, y)[2], dtype)  # fmt: skip
            else:
                expected = reference.activate_backward("sigmoid", wide, by_a)
            assert_close(gradient, 0.25 * expected, 6, 0.25 * magnitudes(name, a, y)[2])
            np.testing.assert_array_equal(loss, scored(name, a, y)[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_by_the_output_is_a_central_difference(name):
    n, units = some((7, 17), (2, 3))
    a, y = outputs(name, n, units, np.float64), targets(name, n, units, np.float64, soft=True)
    a = np.maximum(a, 0.02) if name in PARTNER else a  # 1 / a^3 is the truncation error of a difference of log a
    _, gradient = scored(name, a, y)
    error = np.abs(gradient - central_difference(lambda: scored(name, a, y)[0].sum(), a))
    third = 1 / (a * (1 - a)) ** 3 if name in PARTNER else 1 + np.abs(a)
    assert (error <= difference_tolerance(n * units, third)).all()


@pytest.mark.parametrize("name", CROSSENTROPIES)
def test_the_joint_gradient_is_a_central_difference_by_z(name):
    n, units = some((7, 17), (2, 3))
    z, y = logits(name, n, units), targets(name, n, units, np.float64, soft=True)
    activation = getattr(reference, PARTNER[name])
    _, gradient = scored(name, activation(z), y, joint=True)
    error = np.abs(gradient - central_difference(lambda: scored(name, activation(z), y)[0].sum(), z))
    assert (error <= difference_tolerance(n * units, 1 + np.abs(z))).all()


# ---------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("joint", [False, True])
def test_a_clipped_probability_costs_minus_log_epsilon_and_has_no_gradient(dtype, joint):
    low, high = np.float64(dtype(EPSILON)), np.float64(dtype(1 - EPSILON))
    p = np.array([[0.0, 1.0]], dtype)
    onehot = np.array([[1.0, 0.0]], dtype)

    loss, gradient = scored("categorical_crossentropy", p, onehot, joint=joint)
    assert_close(loss, [-np.log(low)], 2, -np.log(low), dtype)
    assert not gradient.any()

    loss, gradient = scored(SPARSE, p, np.array([0], np.int32), joint=joint)
    assert_close(loss, [-np.log(low)], 2, -np.log(low), dtype)
    assert not gradient.any()

    loss, gradient = scored("binary_crossentropy", p, onehot, joint=joint)
    assert_close(loss, [-(np.log(low) + np.log(1 - high)) / 2], 4, -np.log(low), dtype)
    assert not gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("joint", [False, True])
def test_a_right_and_certain_answer_costs_epsilon_and_has_no_gradient(dtype, joint):
    high = np.float64(dtype(1 - EPSILON))
    p = np.array([[0.0, 1.0]], dtype)
    for name, y in (
        ("categorical_crossentropy", p.copy()),
        (SPARSE, np.array([1], np.int32)),
        ("binary_crossentropy", p.copy()),
    ):
        loss, gradient = scored(name, p, y, joint=joint)
        # 1 - clipped loses all but the last bits in float32: an error of eps, not of eps * loss.
        assert_close(loss, [-np.log(high)], 2, 1, dtype)
        assert not gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CROSSENTROPIES)
def test_the_gradient_is_whole_right_inside_the_limits(name, dtype):
    p = np.array([[2 * EPSILON, 1 - 2 * EPSILON]], dtype)
    y = np.array([0], np.int32) if name == SPARSE else np.array([[1.0, 0.0]], dtype)
    _, gradient = scored(name, p, y, joint=True)
    expected = (p.astype(np.float64) - [[1.0, 0.0]]) / (2 if name == "binary_crossentropy" else 1)
    assert_close(gradient, expected, 4, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nan_is_kept_in_loss_and_gradient(name, joint, dtype):
    for at in range(3):
        a, y = outputs(name, 2, 3, dtype), targets(name, 2, 3, dtype, soft=True)
        a[0, at] = np.nan
        loss, gradient = scored(name, a, y, joint=joint)
        assert np.isnan(loss[0])
        assert np.isnan(gradient[0, at])
        assert np.isfinite(loss[1])
        assert np.isfinite(gradient[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["categorical_crossentropy", SPARSE])
def test_a_share_that_is_nan_is_not_taken_for_a_clipped_one(name, dtype):
    p = np.array([[0.25, np.nan, 0.5]], dtype)  # their sum is NaN, so all shares are
    y = np.array([0], np.int32) if name == SPARSE else np.array([[1.0, 0.0, 0.0]], dtype)
    _, gradient = scored(name, p, y, joint=True)
    np.testing.assert_array_equal(gradient, np.array([[-0.75, np.nan, 0.5]], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_categorical_probabilities_are_taken_by_their_share(dtype):
    a, y = np.array([[1.0, 3.0]], dtype), np.array([[0.0, 1.0]], dtype)
    for name, target in (("categorical_crossentropy", y), (SPARSE, np.array([1], np.int32))):
        loss, gradient = scored(name, a, target)
        assert_close(loss, [-np.log(0.75)], 4, 1, dtype)
        assert_close(gradient, np.array([[1 / 4, 1 / 4 - 1 / 3]]), 4, 1)


# ---------------------------------------------------------------------------------------------- public functions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_public_function_returns_the_mean_and_its_gradient(name, dtype):
    for n, units in ((1, 2), (7, 3), some((33, 17), (4, 17))):
        a, y = outputs(name, n, units, dtype), targets(name, n, units, dtype)
        before = a.copy(), y.copy()
        delta = np.full_like(a, np.nan)
        loss = getattr(losses, name)(a, y, delta)
        loss_size, size, joint_size = magnitudes(name, a, y)
        assert_close(loss, getattr(reference, name)(a, y).mean(), n + units + 4, loss_size.mean(), dtype)
        expected = getattr(reference, f"{name}_gradient")(a, y) / n
        if name in PARTNER:  # by z
            onehot = np.eye(units)[y] if name == SPARSE else y
            expected = (a.astype(np.float64) - onehot) / n / (units if name == "binary_crossentropy" else 1)
            size = joint_size
        assert delta.dtype == dtype
        assert_close(delta, expected, units + 4, size / n)
        np.testing.assert_array_equal(a, before[0])
        np.testing.assert_array_equal(y, before[1])
