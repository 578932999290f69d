import numpy as np
import pytest
import twins
from support import DTYPES, lanes, network, samples, twin_of
from tolerance import assert_close

from fastmlp import optimizers as described
from fastmlp.kernels.optimizers import HYPER_SIZE, KERNELS, NAMES, SLOTS
from fastmlp.kernels.plan import aligned_zeros

OPTIMIZERS = {
    "sgd": described.SGD(0.1),
    "momentum": described.SGD(0.1, 0.9),
    "nesterov": described.SGD(0.1, 0.9, nesterov=True),
    "adam": described.Adam(0.01),
    "adam-numbers": described.Adam(0.1, beta_1=0.5, beta_2=0.8, epsilon=0.1),
    "adamw": described.AdamW(0.05, weight_decay=0.1),
    "amsgrad": described.Adam(0.01, beta_2=0.5, amsgrad=True),
    "nadam": described.Nadam(0.01),
    "nadam-numbers": described.Nadam(0.1, beta_1=0.5, beta_2=0.8, epsilon=0.1),
    "adamax": described.Adamax(0.01, beta_2=0.9),
    "rmsprop": described.RMSprop(0.01),
    "rmsprop-momentum": described.RMSprop(0.01, rho=0.5, momentum=0.7, epsilon=0.01),
    "centered_rmsprop": described.RMSprop(0.01, centered=True),
    "centered_rmsprop-momentum": described.RMSprop(0.01, momentum=0.5, epsilon=0.01, centered=True),
    "adagrad": described.Adagrad(0.1),
    "adadelta": described.Adadelta(1.0),
    "lion": described.Lion(0.01),
    "momentum-decay": described.SGD(0.1, 0.9, weight_decay=0.2),
    "lion-decay": described.Lion(0.01, beta_1=0.8, beta_2=0.7, weight_decay=0.5),
}
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
#: Of the twin's state, in the order of the kernel's.
STATE = {"momentum": "v", "nesterov": "v", "adam": ("m", "v"), "amsgrad": ("m", "v", "largest"), "nadam": ("m", "v"),
         "adamax": ("m", "u"), "rmsprop": ("v", "moved"), "centered_rmsprop": ("v", "moved", "mean"), "adagrad": "v",
         "adadelta": ("v", "moved"), "lion": "m", "sgd": ()}  # fmt: skip


class Alone:
    """Parameters and state of one optimizer."""

    def __init__(self, name, size, dtype):
        self.optimizer, self.rng = OPTIMIZERS[name], np.random.default_rng(0)
        kernel = self.optimizer.kernel_name
        self.kernel, self.hyper = KERNELS[kernel], self.optimizer.hyper()
        self.theta, self.gradient = aligned_zeros(size, dtype), aligned_zeros(size, dtype)
        self.theta[:] = self.rng.standard_normal(size)
        self.slots = aligned_zeros(SLOTS[kernel] * size, dtype) + dtype(self.optimizer.slot_start)

    def step(self, count, first=0, last=None):
        last = self.theta.size if last is None else last
        self.kernel(self.hyper, self.optimizer.learning_rate, count, self.theta, self.slots, self.gradient, first, last)


@pytest.mark.parametrize("kernel", NAMES)
def test_every_kernel_has_a_case_and_state_for_it(kernel):
    assert kernel in {optimizer.kernel_name for optimizer in OPTIMIZERS.values()}
    assert SLOTS[kernel] == len(STATE[kernel])


@dtypes
@optimizers
def test_ten_steps_equal_the_twin(name, dtype):
    alone = Alone(name, 5 * lanes(dtype), dtype)
    twin, expected = twin_of(alone.optimizer), alone.theta.astype(np.float64)
    travelled = np.abs(expected)
    for count in range(1, 11):
        alone.gradient[:] = alone.rng.standard_normal(alone.theta.size)
        alone.gradient[:3] = 0
        before = expected
        (expected,) = twin.apply([expected], [alone.gradient])
        travelled = travelled + np.abs(expected - before)
        alone.step(count)
        assert not alone.gradient.any()  # ready for the next step's sum
        # Every step rounds theta twice, its state four times, and the move, which may be the root of a difference.
        assert_close(alone.theta, expected, 20 * count, travelled)
        for found, key in zip(alone.slots.reshape(-1, alone.theta.size), STATE[alone.optimizer.kernel_name]):
            exact = twin.states[0][key]
            assert_close(found, exact, 8 * count, 1 + np.abs(exact))
    np.testing.assert_array_equal(alone.hyper, alone.optimizer.hyper())
    assert len(alone.hyper) == HYPER_SIZE


@dtypes
@optimizers
def test_padding_stays_zero(name, dtype):
    alone = Alone(name, lanes(dtype), dtype)
    alone.theta[3:] = 0
    for count in range(1, 4):
        alone.gradient[:3] = 1
        alone.step(count)
        assert not alone.theta[3:].any()
        assert alone.theta[:3].all()


@dtypes
@optimizers
def test_a_step_far_on_is_that_of_the_twin(name, dtype):
    # Powers of the betas have died out; nadam's product, too.
    alone = Alone(name, lanes(dtype), dtype)
    twin, expected, far = twin_of(alone.optimizer), alone.theta.astype(np.float64), 5000
    alone.gradient[:] = alone.rng.standard_normal(alone.theta.size)
    twin.calls = far - 1
    twin.states, twin.sums, twin.averages = [{"product": 0.0}], [0.0], [0.0]
    (expected,) = twin.apply([expected], [alone.gradient])
    alone.step(far)
    assert_close(alone.theta, expected, 30, np.abs(alone.theta) + 40 * alone.optimizer.learning_rate)


@dtypes
@optimizers
def test_only_the_parameters_from_first_to_last_are_touched(name, dtype):
    width = lanes(dtype)
    alone = Alone(name, 5 * width, dtype)
    arrays = [alone.theta, alone.gradient, *alone.slots.reshape(-1, 5 * width)]
    for array in arrays:
        array[:] = 3
    alone.step(2, width, 3 * width)
    for array in arrays:
        # The largest v so far may stay; all else moves.
        touched, own = array != 3, (np.arange(5 * width) >= width) & (np.arange(5 * width) < 3 * width)
        assert not touched[~own].any()
        if array is alone.theta or array is alone.gradient:
            assert touched[own].all()


@dtypes
@optimizers
def test_the_shares_of_a_team_give_the_same_bits(name, dtype):
    width = lanes(dtype)
    whole, parts = (Alone(name, 7 * width, dtype) for _ in range(2))
    for count in (1, 2):
        whole.gradient[:] = parts.gradient[:] = whole.rng.standard_normal(7 * width)
        whole.step(count)
        for first, last in ((0, 1), (1, 4), (4, 7)):
            parts.step(count, first * width, last * width)
    for array, part in ((whole.theta, parts.theta), (whole.slots, parts.slots), (whole.gradient, parts.gradient)):
        assert array.tobytes() == part.tobytes()


@dtypes
def test_zero_gradients_move_nothing_but_what_decays(dtype):
    for name, optimizer in OPTIMIZERS.items():
        alone = Alone(name, lanes(dtype), dtype)
        before = alone.theta.copy()
        alone.step(1)
        factor = 1 - optimizer.learning_rate * (optimizer.weight_decay or 0)
        assert_close(alone.theta, factor * before.astype(np.float64), 1, np.abs(before))


def test_the_largest_square_is_kept():
    alone = Alone("amsgrad", 8, np.float64)
    for count, size in ((1, 4.0), (2, 1.0), (3, 0.0)):
        alone.gradient[:] = size
        alone.step(count)
    assert (alone.slots.reshape(3, 8)[2] == 8).all()
    assert (alone.slots.reshape(3, 8)[1] < 8).all()


def test_plain_sgd_without_a_sweep_makes_the_same_step():
    # Added while the gradient is summed, or afterwards: within the rounding of the sums.
    thetas = []
    for optimizer in (described.SGD(0.1), described.SGD(0.1, clipvalue=1e9)):
        net = network(7, (5, "tanh"), (3, "linear"), optimizer=optimizer)
        _, _, data = samples(net, 12)
        net.train(data, np.arange(12), 4)
        thetas.append(net.theta)
    assert_close(*thetas, 3 * 40, 2)


def test_the_twin_is_found_by_name():
    assert twin_of(described.AdamW()).update is twins.adamw


@pytest.mark.parametrize("kind", [described.Nadam, described.Adamax])
def test_amsgrad_is_adams_alone(kind):
    with pytest.raises(TypeError, match="amsgrad"):
        kind(amsgrad=True)
    assert "amsgrad" not in kind().get_config()
