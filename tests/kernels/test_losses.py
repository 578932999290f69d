import numpy as np
import pytest
import twins
from support import DTYPES, SIZES, Padded, lanes, some
from tolerance import assert_close, central_difference, difference_tolerance

from fastmlp.kernels import losses
from fastmlp.kernels.losses import EPSILON, KERNELS, NAMES

SPARSE = ("sparse_categorical_crossentropy", "sparse_categorical_crossentropy_from_logits")
CLASSES = [name for name in NAMES if "categorical" in name]

#: The activation whose gradient cancels with the loss's.
PARTNER = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax", SPARSE[0]: "softmax"}

#: Numbers of the losses that have any, as the kernels take them and as the twins do.
NUMBERS = {
    "huber": [((1.0,), {"delta": 1.0}), ((0.3,), {"delta": 0.3})],
    "hinge": [((0.0,), {}), ((1.0,), {})],
    "squared_hinge": [((0.0,), {}), ((1.0,), {})],
}
for suffix, logits in (("", {}), ("_from_logits", {"from_logits": True})):
    for kind in ("binary", "categorical"):
        NUMBERS[f"{kind}_crossentropy{suffix}"] = [
            ((0.0,), {**logits}),
            ((0.1,), {"label_smoothing": 0.1, **logits}),
        ]
    NUMBERS[f"binary_focal_crossentropy{suffix}"] = [
        ((0.0, 2.0, 0.25, 0.0), {**logits}),
        ((0.1, 1.5, 0.3, 1.0), {"label_smoothing": 0.1, "gamma": 1.5, "alpha": 0.3, "apply_class_balancing": True,
                                **logits}),
        ((0.0, 0.0, 0.25, 1.0), {"gamma": 0.0, "apply_class_balancing": True, **logits}),
    ]  # fmt: skip
    NUMBERS[f"categorical_focal_crossentropy{suffix}"] = [
        ((0.0, 2.0, 0.25), {**logits}),
        ((0.1, 1.5, 0.7), {"label_smoothing": 0.1, "gamma": 1.5, "alpha": 0.7, **logits}),
        ((0.0, 0.0, 1.0), {"gamma": 0.0, "alpha": 1.0, **logits}),
    ]
    NUMBERS[f"sparse_categorical_crossentropy{suffix}"] = [((), {**logits})]


def cases(names=NAMES):
    """Pairs of a loss and the numbers it is tried with, each by its place in NUMBERS."""
    return [(name, i) for name in names for i in range(len(NUMBERS.get(name, [0])))]


def own(name, case):
    """A loss's numbers behind two of somebody else's, and the twin's arguments."""
    numbers, arguments = NUMBERS[name][case] if name in NUMBERS else ((), {})
    return np.array([7.0, 7.0, *numbers, 9.0]), arguments


def twin(name, case, a, y, gradient=False):
    function = getattr(twins, name.removesuffix("_from_logits") + "_gradient" * gradient)
    return function(a, y, **own(name, case)[1])


def least_units(name):
    return 2 if name in CLASSES else 1


def outputs(name, n, units, dtype, seed=0):
    """What the last layer may give: probabilities, class by class or all together, logits, counts, or anything."""
    z = 2 * np.random.default_rng(seed).standard_normal((n, units))
    if name.endswith("_from_logits"):
        return z.astype(dtype)
    if "binary" in name:
        return twins.sigmoid(z).astype(dtype)
    if "crossentropy" in name or name == "kl_divergence":
        return twins.softmax(z).astype(dtype)
    return np.abs(z).astype(dtype) if name == "poisson" else z.astype(dtype)


def targets(name, case, n, units, dtype, soft=False, seed=1):
    rng = np.random.default_rng(seed)
    if name in SPARSE:
        return rng.integers(0, units, n).astype(np.int32)
    if name in CLASSES:
        return (rng.random((n, units)) if soft else np.eye(units)[rng.integers(0, units, n)]).astype(dtype)
    if "binary" in name:
        return (rng.random((n, units)) if soft else rng.integers(0, 2, (n, units))).astype(dtype)
    if "hinge" in name:
        y = rng.integers(0, 2, (n, units))
        return (y if case == 1 else 2 * y - 1).astype(dtype)
    if name == "kl_divergence":
        return twins.softmax(rng.standard_normal((n, units))).astype(dtype)
    y = rng.standard_normal((n, units)).astype(dtype)
    return np.abs(y) if name == "poisson" else y


def scored(name, case, a, y, *, scale=1.0, joint=False, weights=None, first=0, last=None):
    """Sums of the losses of each line of samples, and the gradients of all rows of a, as the network has them."""
    n, units = a.shape
    last, dtype = n if last is None else last, a.dtype
    acts, delta = Padded(a.T, 5, np.nan), Padded(np.full((units, n), 7, dtype), 5, 7)
    row, line = acts.row, lanes(dtype)
    values, indices = Padded(np.zeros((units, n), dtype), 0, np.nan), np.full(row, np.nan, dtype)
    if name in SPARSE:
        indices[:n] = y
    else:
        values.matrix[:] = y.T
    of_samples = np.zeros(0, dtype)
    if weights is not None:
        of_samples = np.full(row, np.nan, dtype)
        of_samples[:n] = weights
    read = (indices, values.flat, of_samples)
    kept, totals = [array.copy() for array in read], np.full((row // line, 3), 55.0)
    KERNELS[name](own(name, case)[0], 2, int(joint), *acts.place, indices, values.flat, of_samples, units, scale,
                  delta.flat, totals.reshape(-1), 3, 1, first, last)  # fmt: skip
    acts.assert_untouched()
    delta.assert_only_written(slice(None), slice(first, -(-last // line) * line))
    for array, before in zip(read, kept):
        np.testing.assert_array_equal(array, before)
    used = slice(first // line, -(-last // line))
    assert (np.delete(totals, 1, axis=1) == 55).all()
    assert (np.delete(totals[:, 1], used) == 55).all()
    return totals[used, 1], delta.matrix.T.copy()


def by_line(of_samples, dtype):
    """Sums of each line of samples."""
    line = lanes(dtype)
    return np.array([of_samples[i : i + line].sum() for i in range(0, len(of_samples), line)])


# ---------------------------------------------------------------------------------------------- tolerances


def focal_size(missing, gamma, off):
    """missing^gamma, by what its relative error is more than eps: missing is off by `off`, an exponent by its log."""
    missing = np.maximum(missing, 1e-300)
    return missing**gamma * (1 + abs(gamma) * (off / missing + np.abs(np.log(missing))))


def magnitudes(name, case, a, y):
    """Sums of absolute terms: of each row's loss, and of its gradient by a."""
    arguments = own(name, case)[1]
    if name in SPARSE:
        y = np.eye(a.shape[1])[y]
    a, y, m = a.astype(np.float64), y.astype(np.float64), a.shape[1]
    smoothing = arguments.get("label_smoothing", 0)
    error, name = np.abs(a - y), name.removeprefix("sparse_")
    if name == "mean_squared_error":
        # The rounding of a - y, at most eps |a - y|, counts once more in its square.
        return (error**2).mean(axis=1), 2 * error / m
    if name == "mean_absolute_error":
        return error.mean(axis=1), 1 / m
    if name == "mean_absolute_percentage_error":
        factor = 100 / np.maximum(np.abs(y), EPSILON)
        return (error * factor).mean(axis=1), factor / m
    if name == "mean_squared_logarithmic_error":
        # A rounding of 1 + p is one of its logarithm.
        size = 2 + np.log1p(np.maximum(a, 0)) + np.log1p(np.maximum(y, 0))
        return (size**2).mean(axis=1), 2 * size / m
    if name == "huber":
        limit = arguments["delta"]
        loss = np.where(error <= limit, error**2, limit * (error + limit))
        return loss.mean(axis=1), np.minimum(error, limit) / m
    if name == "log_cosh":
        return (3 * error + 2).mean(axis=1), np.tanh(error) / m
    if name == "poisson":
        return (a + y * (np.abs(np.log(a + EPSILON)) + 1)).mean(axis=1), (1 + y / (a + EPSILON)) / m
    if name == "kl_divergence":
        return (y * (np.abs(np.log(y / a)) + 1)).sum(axis=1), y / a
    if name in ("hinge", "squared_hinge"):
        size = 1 + np.abs(a)
        return (size if name == "hinge" else size**2).mean(axis=1), (1 if name == "hinge" else 2 * size) / m
    if name == "categorical_hinge":
        return 1 + (np.abs(y * a) + np.abs((1 - y) * a)).sum(axis=1), 1 + np.abs(y)
    if name == "cosine_similarity":
        return np.ones(len(a)), 2 / np.linalg.norm(a, axis=1, keepdims=True)
    y = y * (1 - smoothing) + smoothing * (0.5 if "binary" in name else 1 / m)
    if "binary" in name:
        p = twins.sigmoid(a) if name.endswith("_from_logits") else a
        entropy = y * (np.abs(np.log(p)) + 1) + (1 - y) * (np.abs(np.log(1 - p)) + 1)
        by_p = (p + y) / (p * (1 - p))
        if name == "binary_crossentropy":
            return entropy.mean(axis=1), by_p / m
        if name == "binary_crossentropy_from_logits":
            return (np.abs(a) * (1 + y) + 1).mean(axis=1), (p + y) / m
        gamma, alpha = arguments.get("gamma", 2.0), arguments.get("alpha", 0.25)
        weight = y * alpha + (1 - y) * (1 - alpha) if arguments.get("apply_class_balancing") else 1
        missing = y * (1 - p) + (1 - y) * p
        factor, slope = focal_size(missing, gamma, 1), gamma * focal_size(missing, gamma - 1, 1)
        by_p = factor * by_p + slope * entropy
        through = p if name.endswith("_from_logits") else 1  # p (1 - p), off by eps / (1 - p) of itself
        return (weight * factor * entropy).mean(axis=1), weight * by_p * through / m
    mass = y.sum(axis=1, keepdims=True)
    if name.endswith("_from_logits"):
        q, norm = twins.softmax(a), 1.0
        away = 1 + 2 * (a.max(axis=1, keepdims=True) - a) + np.log(m)  # a rounding of a logit is one of its exponential
    else:
        norm, away = a.sum(axis=1, keepdims=True), 1.0
        q = a / norm
    logs = np.abs(np.log(q)) + away
    if "focal" not in name:
        by_a = q * away * mass + y if name.endswith("_from_logits") else mass / norm + y / a
        return (y * logs).sum(axis=1), by_a
    gamma, alpha = arguments.get("gamma", 2.0), arguments.get("alpha", 0.25)
    factor = focal_size(1 - q, gamma, q * away)
    by_q = alpha * y * (gamma * focal_size(1 - q, gamma - 1, q * away) * logs + factor * away / q)
    together = by_q + (by_q * q).sum(axis=1, keepdims=True)
    return (alpha * factor * y * logs).sum(axis=1), together * (q * away if name.endswith("_from_logits") else 1 / norm)


def steps(units):
    """Roundings in sequence: a sum over the units, and what stands around it."""
    return units + 10


# ---------------------------------------------------------------------------------------------- against the twins


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases())
def test_loss_and_gradient_equal_their_twins(name, case, dtype):
    for units in [units for units in SIZES if units >= least_units(name)]:
        for n in some(SIZES, (1, 3, 17)):
            for soft in (False, True):
                a, y = outputs(name, n, units, dtype), targets(name, case, n, units, dtype, soft)
                loss, gradient = scored(name, case, a, y, scale=0.25)
                loss_size, size = magnitudes(name, case, a, y)
                expected = by_line(twin(name, case, a, y), dtype)
                assert_close(loss, expected, steps(units) + lanes(dtype), by_line(loss_size, dtype), dtype)
                assert gradient.dtype == dtype
                assert_close(gradient, 0.25 * twin(name, case, a, y, gradient=True), steps(units), 0.25 * size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases())
def test_weights_of_samples_multiply_losses_and_gradients(name, case, dtype):
    n, units = lanes(dtype) + 3, 5
    a, y = outputs(name, n, units, dtype), targets(name, case, n, units, dtype)
    weights = np.random.default_rng(2).random(n).astype(dtype)
    weights[3] = 0
    loss, gradient = scored(name, case, a, y, weights=weights)
    loss_size, size = magnitudes(name, case, a, y)
    expected = by_line(weights * twin(name, case, a, y), dtype)
    assert_close(loss, expected, steps(units) + lanes(dtype), by_line(weights * loss_size, dtype), dtype)
    expected = weights[:, None] * twin(name, case, a, y, gradient=True)
    assert_close(gradient, expected, steps(units), weights[:, None] * size)
    assert not gradient[3].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_member_of_a_team_scores_its_own_lines_with_the_same_bits(name, dtype):
    width = lanes(dtype)
    n = 3 * width - 2
    a, y = outputs(name, n, 5, dtype), targets(name, 0, n, 5, dtype)
    loss, gradient = scored(name, 0, a, y)
    middle, of_middle = scored(name, 0, a, y, first=width, last=2 * width)
    end, of_end = scored(name, 0, a, y, first=2 * width)
    assert np.concatenate([middle, end]).tobytes() == loss[1:].tobytes()
    assert of_middle[width : 2 * width].tobytes() == gradient[width : 2 * width].tobytes()
    assert of_end[2 * width :].tobytes() == gradient[2 * width :].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(PARTNER))
def test_the_joint_gradient_is_the_one_through_the_activation(name, case, dtype):
    for units in [units for units in SIZES if units >= least_units(name)]:
        for soft in (False, True):
            a, y = outputs(name, 7, units, dtype), targets(name, case, 7, units, dtype, soft)
            loss, gradient = scored(name, case, a, y, scale=0.25, joint=True)
            wide, by_a = a.astype(np.float64), twin(name, case, a, y, gradient=True)
            if PARTNER[name] == "softmax":
                # The sum of the outputs, which the joint form takes for 1, is off by units roundings.
                expected = twins.softmax_backward(wide, by_a)
                size = 1 + (np.eye(units)[y] if name in SPARSE else y).sum(axis=1, keepdims=True)
            else:
                expected, size = by_a * wide * (1 - wide), (wide + 1) / units
            assert_close(gradient, 0.25 * expected, steps(units), 0.25 * size)
            np.testing.assert_array_equal(loss, scored(name, case, a, y)[0])


# ---------------------------------------------------------------------------------------------- central differences


def third_derivative(name, a, y):
    """A bound of it, which is the truncation error of a central difference."""
    if name.endswith("_from_logits") or name in ("mean_squared_error", "mean_absolute_error", "huber", "hinge",
                                                 "squared_hinge", "categorical_hinge", "log_cosh"):  # fmt: skip
        return 10 * (1 + np.abs(a)) ** 2
    if name == "mean_absolute_percentage_error":
        return (1 + np.abs(a)) * 100 / np.abs(y).min()
    if name == "mean_squared_logarithmic_error":
        return 20.0
    if name == "cosine_similarity":
        return 20 / np.linalg.norm(a, axis=1, keepdims=True) ** 3
    return 10 / (a if name in ("poisson", "kl_divergence") else a * (1 - a)) ** 3


@pytest.mark.parametrize(("name", "case"), cases())
def test_the_gradient_by_the_output_is_a_central_difference(name, case):
    n, units = some((7, 5), (2, 3))
    a, y = outputs(name, n, units, np.float64), targets(name, case, n, units, np.float64, soft=True)
    if "crossentropy" in name and "logits" not in name:
        a = np.clip(a, 0.05, 0.95)
    if name == "poisson":
        a += 0.1
    _, gradient = scored(name, case, a, y)
    error = np.abs(gradient - central_difference(lambda: scored(name, case, a, y)[0].sum(), a))
    assert (error <= difference_tolerance(n * units, third_derivative(name, a, y))).all()


@pytest.mark.parametrize(("name", "case"), cases(PARTNER))
def test_the_joint_gradient_is_a_central_difference_by_z(name, case):
    n, units = some((7, 5), (2, 3))
    z, activation = 2 * np.random.default_rng(0).standard_normal((n, units)), getattr(twins, PARTNER[name])
    y = targets(name, case, n, units, np.float64, soft=True)
    _, gradient = scored(name, case, activation(z), y, joint=True)
    error = np.abs(gradient - central_difference(lambda: scored(name, case, activation(z), y)[0].sum(), z))
    assert (error <= difference_tolerance(n * units, 1 + np.abs(z))).all()


# ---------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(name for name in NAMES if name.endswith("_from_logits")))
def test_losses_of_large_logits_equal_their_twins(name, case, dtype):
    z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, 1e4], [1e4, 9999.5, 9998], [-1e4, -1e4, -1e4], [100, 0, -100]], dtype)
    for label in range(3):
        y = np.full(5, label, np.int32) if name in SPARSE else np.tile(np.eye(3, dtype=dtype)[label], (5, 1))
        loss, gradient = scored(name, case, z, y)
        exact = twin(name, case, z, y)
        # What the kernel adds up is of the loss's own size, not the logits'.
        away = np.ptp(z, axis=1) if own(name, case)[1].get("label_smoothing") or "focal" in name else 0
        assert_close(loss, by_line(exact, dtype), 30, by_line(exact + 1 + away, dtype), dtype)
        assert_close(gradient, twin(name, case, z, y, gradient=True), 30, 1 + 0 * z)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_sure_and_right_logit_costs_its_exponential(sign, dtype):
    for size in (5, 20, 60):
        z, y = np.array([[sign * size]], dtype), np.array([[(1 + sign) / 2]], dtype)
        loss, _ = scored("binary_crossentropy_from_logits", 0, z, y)
        assert_close(loss, [np.log1p(np.exp(-float(size)))], 8, loss, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["categorical_crossentropy_from_logits", SPARSE[1]])
def test_logits_far_from_zero_cost_what_their_differences_do(name, dtype):
    near = np.array([[0, 1.5, -2.25]], dtype)
    y = np.array([1], np.int32) if name in SPARSE else np.array([[0, 1, 0]], dtype)
    loss, gradient = scored(name, 0, near, y)
    moved, of_moved = scored(name, 0, near + dtype(4096), y)
    assert loss.tobytes() == moved.tobytes()
    assert gradient.tobytes() == of_moved.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", PARTNER)
def test_a_clipped_probability_costs_minus_log_epsilon_and_has_no_gradient(name, joint, dtype):
    low, high = np.float64(dtype(EPSILON)), np.float64(dtype(1 - EPSILON))
    p = np.array([[0.0, 1.0]], dtype)
    y = np.array([0], np.int32) if name in SPARSE else np.array([[1.0, 0.0]], dtype)
    loss, gradient = scored(name, 0, p, y, joint=joint)
    expected = -np.log(low) if PARTNER[name] == "softmax" else -(np.log(low) + np.log(1 - high)) / 2
    assert_close(loss, [expected], 4, -np.log(low), dtype)
    assert not gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", PARTNER)
def test_a_right_and_certain_answer_costs_epsilon_and_has_no_gradient(name, joint, dtype):
    p = np.array([[0.0, 1.0]], dtype)
    loss, gradient = scored(name, 0, p, np.array([1], np.int32) if name in SPARSE else p.copy(), joint=joint)
    # 1 - clipped loses all but the last bits in float32: an error of eps, not of eps * loss.
    assert_close(loss, [-np.log(np.float64(dtype(1 - EPSILON)))], 2, 1, dtype)
    assert not gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["binary_focal_crossentropy", "categorical_focal_crossentropy"])
def test_focal_losses_of_certain_answers_equal_their_twins(name, dtype):
    for case in range(len(NUMBERS[name])):
        for p in ([[0.0, 1.0]], [[1.0, 0.0]]):
            p, y = np.array(p, dtype), np.array([[1.0, 0.0]], dtype)
            loss, gradient = scored(name, case, p, y)
            # (1 - q)^gamma of the clipped q, one or two units of the last place, is taken as it is there.
            exact, by_a = twin(name, case, p, y), twin(name, case, p, y, gradient=True)
            assert_close(loss, exact, 16, np.abs(exact) + 1, dtype)
            assert_close(gradient, by_a, 16, np.abs(by_a) + 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PARTNER)
def test_the_gradient_is_whole_right_inside_the_limits(name, dtype):
    p = np.array([[2 * EPSILON, 1 - 2 * EPSILON]], dtype)
    y = np.array([0], np.int32) if name in SPARSE else np.array([[1.0, 0.0]], dtype)
    _, gradient = scored(name, 0, p, y, joint=True)
    expected = (p.astype(np.float64) - [[1.0, 0.0]]) / (2 if name == "binary_crossentropy" else 1)
    assert_close(gradient, expected, 4, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_divergence_clips_both_distributions(dtype):
    a, y = np.array([[0, 1, 1e-3, 1.5, 0.5]], dtype), np.array([[0, 1, 0, 0.25, 1.5]], dtype)
    loss, gradient = scored("kl_divergence", 0, a, y)
    assert_close(loss, twins.kl_divergence(a, y), 16, 4, dtype)
    assert_close(gradient, twins.kl_divergence_gradient(a, y), 8, np.abs(twins.kl_divergence_gradient(a, y)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_below_their_bounds_equal_the_twin(dtype):
    a, y = np.array([[-3, -1, 0, 0.5, 2]], dtype), np.array([[-1, 3, 0.25, 0, -2]], dtype)
    for name in ("mean_squared_logarithmic_error", "mean_absolute_percentage_error"):
        (loss, gradient), exact = scored(name, 0, a, y), twin(name, 0, a, y, gradient=True)
        assert_close(loss, twin(name, 0, a, y), 16, 1 + twin(name, 0, a, y), dtype)
        assert_close(gradient, exact, 8, 1 + np.abs(exact))


@pytest.mark.parametrize("dtype", DTYPES)
def test_huber_beyond_its_limit_is_a_line(dtype):
    a, y = np.array([[-1e4, 0.5, 1e4]], dtype), np.zeros((1, 3), dtype)
    loss, gradient = scored("huber", 0, a, y)
    assert_close(loss, twins.huber(a, y), 8, twins.huber(a, y), dtype)
    assert_close(gradient, np.array([[-1, 0.5, 1]]) / 3, 4, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_cosh_of_large_errors_neither_overflows_nor_loses_its_line(dtype):
    a, y = np.array([[-1e4, 1e4, 300, -300]], dtype), np.zeros((1, 4), dtype)
    loss, gradient = scored("log_cosh", 0, a, y)
    assert_close(loss, twins.log_cosh(a, y), 8, twins.log_cosh(a, y), dtype)
    assert_close(gradient, np.array([[-0.25, 0.25, 0.25, -0.25]]), 2, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_direction_of_length_zero_costs_nothing(dtype):
    a, y = np.array([[0, 0], [3, 4]], dtype), np.array([[1, 0], [0, 0]], dtype)
    loss, gradient = scored("cosine_similarity", 0, a, y)
    assert_close(loss, [0], 1, 0, dtype)
    assert_close(gradient, twins.cosine_similarity_gradient(a, y), 8, np.array([[2e7], [1]]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_categorical_hinge_counts_the_right_class_as_zero(dtype):
    a, y = np.array([[-0.5, -2.0, -1.0], [2.0, 0.5, -1.0]], dtype), np.array([[1, 0, 0]] * 2, dtype)
    loss, gradient = scored("categorical_hinge", 0, a, y)
    assert_close(loss, [twins.categorical_hinge(a, y).sum()], 8, 4, dtype)
    np.testing.assert_array_equal(gradient, twins.categorical_hinge_gradient(a, y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nan_is_kept_in_its_sample(name, joint, dtype):
    line = lanes(dtype)
    for at in range(3):
        a, y = outputs(name, line + 1, 3, dtype), targets(name, 0, line + 1, 3, dtype)
        a[0, at] = np.nan
        with np.errstate(invalid="ignore"):
            loss, gradient = scored(name, 0, a, y, joint=joint)
        assert list(np.isnan(loss)) == [True, False]
        assert np.isnan(gradient[0]).any() or name in ("hinge", "categorical_hinge")  # NaN is not above 0
        assert np.isfinite(gradient[1:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["categorical_crossentropy", SPARSE[0]])
def test_a_share_that_is_nan_is_not_taken_for_a_clipped_one(name, dtype):
    p = np.array([[0.25, np.nan, 0.5]], dtype)  # their sum is NaN, so all shares are
    y = np.array([0], np.int32) if name in SPARSE else np.array([[1.0, 0.0, 0.0]], dtype)
    _, gradient = scored(name, 0, p, y, joint=True)
    np.testing.assert_array_equal(gradient, np.array([[-0.75, np.nan, 0.5]], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_categorical_probabilities_are_taken_by_their_share(dtype):
    a, y = np.array([[1.0, 3.0]], dtype), np.array([[0.0, 1.0]], dtype)
    for name, target in (("categorical_crossentropy", y), (SPARSE[0], np.array([1], np.int32))):
        loss, gradient = scored(name, 0, a, target)
        assert_close(loss, [-np.log(0.75)], 4, 1, dtype)
        assert_close(gradient, np.array([[1 / 4, 1 / 4 - 1 / 3]]), 4, 1)


# ---------------------------------------------------------------------------------------------- public functions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["mean_squared_error", *PARTNER])
def test_the_public_function_returns_the_mean_and_its_gradient(name, dtype):
    for n, units in ((1, 2), (7, 3), some((33, 17), (4, 17))):
        a, y = outputs(name, n, units, dtype), targets(name, 0, n, units, dtype)
        before = a.copy(), y.copy()
        delta = np.full_like(a, np.nan)
        loss = getattr(losses, name)(a, y, delta)
        loss_size, size = magnitudes(name, 0, a, y)
        assert_close(loss, twin(name, 0, a, y).mean(), n + steps(units), loss_size.mean(), dtype)
        expected = twin(name, 0, a, y, gradient=True) / n
        if name in PARTNER:  # by z
            onehot = np.eye(units)[y] if name in SPARSE else y
            share = units if name == "binary_crossentropy" else 1
            expected, size = (a.astype(np.float64) - onehot) / n / share, 2 / share
        assert delta.dtype == dtype
        assert_close(delta, expected, steps(units), size / n)
        np.testing.assert_array_equal(a, before[0])
        np.testing.assert_array_equal(y, before[1])
