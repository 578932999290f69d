import numpy as np
import pytest
import reference
from support import DTYPES, lanes
from tolerance import assert_close

from fastmlp.kernels.optimizers import HYPER_SIZE, LEARNING_RATE, MOMENTUM_RATE, NAMES, SGD, SLOTS, update
from fastmlp.kernels.plan import aligned_zeros

SWEPT = [name for code, name in enumerate(NAMES) if code != SGD]


def numbers(rate, momentum):
    hyper = np.zeros(HYPER_SIZE)
    hyper[LEARNING_RATE], hyper[MOMENTUM_RATE] = rate, momentum
    return hyper


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_has_a_twin_and_a_number_of_slots(name):
    assert hasattr(reference, name), f"tests/reference.py has no twin of the optimizer {name}"
    assert len(SLOTS) == len(NAMES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SWEPT)
def test_ten_steps_equal_the_twin(name, dtype):
    rng = np.random.default_rng(0)
    size = 5 * lanes(dtype)
    theta = aligned_zeros(size, dtype)
    theta[:] = rng.standard_normal(size)
    slots, gradient = aligned_zeros(size * SLOTS[NAMES.index(name)], dtype), aligned_zeros(size, dtype)
    hyper = numbers(0.1, 0.9)
    expected, velocity = theta.astype(np.float64), np.zeros(size)
    travelled = np.abs(expected)
    for step in range(1, 11):
        gradient[:] = rng.standard_normal(size)
        expected, velocity = getattr(reference, name)(expected, velocity, gradient.astype(np.float64), 0.1, 0.9)
        travelled += np.abs(velocity) + 0.1 * np.abs(gradient)
        update(NAMES.index(name), hyper, theta, slots, gradient, 0, size)
        assert not gradient.any()  # ready for the next step's sum
        # Every step rounds the state four times, and theta once.
        assert_close(slots, velocity, 4 * step, travelled)
        assert_close(theta, expected, 5 * step, travelled)
    np.testing.assert_array_equal(hyper, numbers(0.1, 0.9))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SWEPT)
def test_only_the_parameters_from_first_to_last_are_touched(name, dtype):
    width = lanes(dtype)
    arrays = [aligned_zeros(5 * width, dtype) for _ in range(3)]
    for array in arrays:
        array[:] = 3
    update(NAMES.index(name), numbers(0.25, 0.5), *arrays, width, 3 * width)
    for array in arrays:
        touched = array != 3
        np.testing.assert_array_equal(touched, (np.arange(5 * width) >= width) & (np.arange(5 * width) < 3 * width))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SWEPT)
def test_the_shares_of_a_team_give_the_same_bits(name, dtype):
    rng = np.random.default_rng(0)
    width = lanes(dtype)
    whole = [rng.standard_normal(7 * width).astype(dtype) for _ in range(3)]
    parts = [array.copy() for array in whole]
    update(NAMES.index(name), numbers(0.1, 0.9), *whole, 0, 7 * width)
    for first, last in ((0, 1), (1, 4), (4, 7)):
        update(NAMES.index(name), numbers(0.1, 0.9), *parts, first * width, last * width)
    for array, part in zip(whole, parts):
        assert array.tobytes() == part.tobytes()
