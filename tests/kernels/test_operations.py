import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, compiled_only, lanes, some, whole_lines
from tolerance import assert_close, central_difference, difference_tolerance

from fastmlp.kernels.operations import BACKWARD, BY_UNITS, FORWARD, GRADIENT, NAMES, OPERATIONS, PENALTIES
from fastmlp.kernels.plan import aligned_zeros, padded
from fastmlp.plan import Stage

#: Numbers of each operation; the seed comes first where it draws.
CASES = {
    "identity": ("identity", ()),
    "dropout": ("dropout", (11, 0.3)),
    "nothing-dropped": ("dropout", (11, 0.0)),
    "noise": ("noise", (12, 0.4, 0)),
    "noise-by-factors": ("noise", (13, 0.6, 1)),
    "batch_normalization": ("batch_normalization", (0.8, 1e-3, 1, 1, 0)),
    "batch_normalization-frozen": ("batch_normalization", (0.8, 1e-3, 1, 1, 1)),
    "batch_normalization-without-scale": ("batch_normalization", (0.99, 0.1, 0, 1, 0)),
    "batch_normalization-without-center": ("batch_normalization", (0.0, 1e-3, 1, 0, 0)),
    "layer_normalization": ("layer_normalization", (1e-3, 1, 1, 0)),
    "layer_normalization-without-center": ("layer_normalization", (0.1, 1, 0, 0)),
    "rms": ("layer_normalization", (1e-3, 1, 0, 1)),
    "prelu": ("prelu", ()),
    "rescaling": ("rescaling", (1.5, -0.25)),
    "normalization": ("normalization", (0,)),
    "normalization-inverted": ("normalization", (1,)),
    "activity": ("activity", (0.2, 0.3)),
    "activity-l1": ("activity", (0.2, 0.0)),
}
cases = pytest.mark.parametrize("case", CASES)
dtypes = pytest.mark.parametrize("dtype", DTYPES)
AROUND = 77


class Alone:
    """One operation on rows of its own, all of its arrays behind elements that belong to somebody else."""

    def __init__(self, case, n, units, dtype, key=5):
        kind, numbers = CASES[case]
        rng = np.random.default_rng(0)
        self.kernel, self.parameters, self.kept = OPERATIONS[kind]
        self.stage = Stage(kind, units, numbers=tuple(map(float, numbers)))
        self.n, self.units, self.row, self.dtype, self.key = n, units, padded(units, dtype), dtype, key
        # Padding of the activations may be anything; that of deltas and parameters is zero.
        self.x = rng.standard_normal((n, units)).astype(dtype)
        self.delta = rng.standard_normal((n, units)).astype(dtype)
        self.below = self._rows(self.x, 3)
        self.delta_out = self._rows(self.delta, 0)
        self.delta_below = self._rows(np.full((n, units), 55, dtype), 55)
        self.out = self._rows(np.full((n, units), 55, dtype), 55)
        rows = rng.uniform(0.5, 2, (self.parameters + self.kept, units)).astype(dtype)
        self.theta = self._rows(rows, 0)
        self.target = self._rows(np.ones((self.parameters, units), dtype), 0)
        self.work = self._rows(np.full((4, self.row + n), 55, dtype), 55)
        self.scale = 0.5

    def _rows(self, values, padding):
        """Rows of this operation's distance behind one line of AROUND, and with one line behind."""
        n, width = values.shape[0], padded(values.shape[1], self.dtype)
        flat = aligned_zeros(2 * lanes(self.dtype) + n * width, self.dtype)
        flat[:] = AROUND
        rows = flat[lanes(self.dtype) : flat.size - lanes(self.dtype)].reshape(n, width)
        rows[:] = padding
        rows[:, : values.shape[1]] = values
        return flat

    def view(self, flat, count):
        """Rows of one of the arrays, without padding."""
        start = lanes(self.dtype)
        return flat[start : start + count * self.row].reshape(count, self.row)[:, : self.units]

    @property
    def arrays(self):
        return list(self.view(self.theta, self.parameters + self.kept))

    @property
    def factor(self):
        return reference.drawn(self.stage, self.n, self.row, self.key, self.dtype)

    def run(self, phase, training=True, part=None):
        at, n = lanes(self.dtype), self.n
        first, last, left, right = part or (0, n, 0, self.units)
        own = np.array([99.0, *self.stage.numbers])
        self.kernel(phase, int(training), own, 1, self.theta, at, at + self.parameters * self.row, self.target,
                    self.below, at, self.out, at, self.delta_below, self.delta_out, at, self.work, at, self.row,
                    self.units, n, first, last, left, right, self.key, self.scale)  # fmt: skip

    def forward(self, training=True):
        self.run(FORWARD, training)
        return self.view(self.out, self.n)

    def backward(self):
        self.run(BACKWARD)
        return self.view(self.delta_below, self.n)

    def gradient(self):
        self.run(GRADIENT)
        return self.view(self.target, self.parameters)

    def copies(self):
        return {name: value.copy() for name, value in vars(self).items() if isinstance(value, np.ndarray)}


def size_of(alone, value):
    """Of what is summed and divided: deviations are at least sqrt(epsilon) = 0.03, most of them near 1."""
    arrays = alone.arrays
    if alone.stage.kind == "batch_normalization" and alone.n > 1:
        deviation = max(1, (1 / np.sqrt(alone.x.var(axis=0) + alone.stage.numbers[1])).max())
    elif alone.stage.kind == "layer_normalization":
        deviation = max(1, (1 / np.sqrt(alone.x.var(axis=1) + alone.stage.numbers[0])).max())
    elif "normalization" in alone.stage.kind:
        deviation = 32
    else:
        deviation = 1
    return deviation**2 * max(1, np.abs(value).max(), *(np.abs(a).max() for a in arrays), 0) * 4


def test_every_operation_has_a_case_and_those_that_need_all_rows_or_add_to_the_loss_are_named():
    assert {kind for kind, _ in CASES.values()} == set(NAMES)
    assert set(BY_UNITS) == {"batch_normalization"}
    assert set(PENALTIES) == {"activity"}


@cases
@dtypes
@pytest.mark.parametrize("units", some(SIZES, (1, 7, 17)))
def test_output_and_state_equal_the_twin(units, dtype, case):
    for n in some(SIZES, (1, 7)):
        for training in (True, False):
            alone = Alone(case, n, units, dtype)
            expected, arrays = reference.operate(alone.stage, [a.copy() for a in alone.arrays], alone.x.astype(float),
                                                 training, alone.factor)  # fmt: skip
            out = alone.forward(training)
            roundings = 2 * (n + units) + 30
            assert_close(out, expected, roundings, size_of(alone, expected))
            for found, exact in zip(alone.arrays, arrays):
                assert_close(found, exact, n + 8, size_of(alone, exact))
            if not training or alone.stage.kind != "batch_normalization" or "frozen" in case:
                assert all(np.array_equal(found, exact) for found, exact in zip(alone.arrays, arrays))


@cases
@dtypes
@pytest.mark.parametrize("units", some(SIZES, (1, 7, 17)))
def test_gradients_equal_the_twin(units, dtype, case):
    for n in some(SIZES, (1, 7)):
        alone = Alone(case, n, units, dtype)
        arrays = [a.copy() for a in alone.arrays]
        dx, by = reference.operate_backward(alone.stage, arrays, alone.x.astype(float), alone.delta.astype(float), True,
                                            alone.factor, alone.scale)  # fmt: skip
        alone.forward()
        roundings = 2 * (n + units) + 30
        assert_close(alone.backward(), dx, roundings, size_of(alone, dx))
        found = alone.gradient()
        for got, exact in zip(found, by):
            assert_close(got, 1 + exact, roundings, size_of(alone, 1 + np.abs(exact)) * n)
        # The padding of what weights are changed by stays zero.
        rows = alone.delta_below[lanes(dtype) : -lanes(dtype)].reshape(n, alone.row)
        assert not rows[:, units : whole_lines(units, dtype)].any()
        rows = alone.target[lanes(dtype) : -lanes(dtype)].reshape(alone.parameters, alone.row)
        assert not rows[:, units:].any()


@cases
def test_gradients_are_central_differences(case):
    n, units = some((6, 9), (3, 2))
    alone = Alone(case, n, units, np.float64)
    alone.x[np.abs(alone.x) < 0.01] = 0.5  # prelu and |x| have a kink at 0
    x = alone.view(alone.below, n)
    x[:] = alone.x
    start = alone.theta.copy()

    def loss():
        """What the deltas are the gradient of; the penalties come on top, each sample's times scale."""
        alone.theta[lanes(np.float64) + alone.parameters * alone.row :] = start[
            lanes(np.float64) + alone.parameters * alone.row :
        ]  # the running means
        total = (alone.forward() * alone.delta).sum()
        if alone.stage.kind in PENALTIES:
            total += alone.scale * alone.work[lanes(np.float64) :][:n].sum()
        return total

    allowed = difference_tolerance(2 * (n + units) + 30, n * size_of(alone, alone.x))
    loss()
    dx, by = alone.backward().copy(), alone.gradient() - 1
    assert (np.abs(dx - central_difference(loss, x)) <= allowed).all()
    flags = {"batch_normalization": alone.stage.numbers[2:4], "layer_normalization": alone.stage.numbers[1:3]}
    for array, found, flag in zip(alone.arrays, by, flags.get(alone.stage.kind, (1, 1))):
        assert (np.abs(found - central_difference(loss, array) * flag) <= allowed).all()


@cases
@dtypes
def test_nothing_outside_its_place_is_written(dtype, case):
    n, units = some((7, 2 * lanes(dtype) + 3), (4, lanes(dtype) + 1))
    alone = Alone(case, n, units, dtype)
    written = {FORWARD: ("out", "work", "theta"), BACKWARD: ("delta_below",), GRADIENT: ("target",)}
    for phase, names in written.items():
        before = alone.copies()
        alone.run(phase)
        for name, old in before.items():
            new = getattr(alone, name)
            if name not in names:
                np.testing.assert_array_equal(new, old)
            else:
                assert (new[: lanes(dtype)] == AROUND).all()
                assert (new[-lanes(dtype) :] == AROUND).all()


@cases
@dtypes
def test_the_shares_of_a_team_give_the_same_bits(dtype, case):
    line = lanes(dtype)
    n, units = 9, 3 * line + 1
    whole, parts = Alone(case, n, units, dtype), Alone(case, n, units, dtype)
    by_units = whole.stage.kind in BY_UNITS
    for phase in (FORWARD, BACKWARD, GRADIENT):
        whole.run(phase)
        for low, high in ((0, 1), (1, 3), (3, 4)):
            unit = (min(low * line, units), min(high * line, units))
            rows = {0: (0, 2), 1: (2, 7), 3: (7, 9)}[low]
            if phase == GRADIENT or by_units:
                parts.run(phase, part=(0, n, *unit))
            else:
                parts.run(phase, part=(*rows, 0, units))
    for name, value in whole.copies().items():
        assert value.tobytes() == getattr(parts, name).tobytes(), name


# ---------------------------------------------------------------------------------------------- random numbers


@dtypes
def test_the_twin_draws_the_same_numbers(dtype):
    # What is dropped is the same to the last sample, for a rate that is on no grid.
    alone = Alone("dropout", some(40, 5), 33, dtype)
    np.testing.assert_array_equal(alone.forward() == 0, alone.factor == 0)


@dtypes
@pytest.mark.parametrize("case", ["dropout", "noise-by-factors"])
def test_forward_and_backward_draw_the_same(case, dtype):
    alone = Alone(case, some(20, 4), 17, dtype)
    alone.view(alone.below, alone.n)[:] = alone.view(alone.delta_out, alone.n)
    # x + x N and x (1 + N) are rounded three times.
    assert_close(alone.forward(), alone.backward().astype(float), 3, np.abs(alone.delta) * (1 + np.abs(alone.factor)))


@dtypes
@pytest.mark.parametrize("case", ["dropout", "noise", "noise-by-factors"])
def test_every_step_and_every_seed_draw_anew(case, dtype):
    kind, (seed, *numbers) = CASES[case]
    outs = set()
    for own_seed, key in ((seed, 5), (seed, 6), (seed + 1, 5), (seed, 5)):
        alone = Alone(case, some(20, 4), 17, dtype, key=key)
        alone.stage = Stage(kind, 17, numbers=(float(own_seed), *map(float, numbers)))
        outs.add(alone.forward().tobytes())
    assert len(outs) == 3


@dtypes
def test_no_two_samples_and_no_two_units_draw_alike(dtype):
    alone = Alone("noise", some(50, 5), 33, dtype)
    drawn = alone.forward() - alone.x
    assert len(np.unique(drawn.round(5))) > 0.98 * drawn.size


@compiled_only
@dtypes
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_right_share(rate, dtype):
    n, units = 2000, 64
    kept = []
    for key in range(5):
        alone = Alone("dropout", n, units, dtype, key=key)
        alone.stage = Stage("dropout", units, numbers=(3.0, rate))
        alone.view(alone.below, n)[:] = 1
        out = alone.forward()
        assert set(np.unique(out)) == {0, dtype(1 / (1 - rate))}
        kept.append((out != 0).mean())
        # Of each unit and of each sample likewise, within five deviations of a binomial.
        for axis, count in ((0, n), (1, units)):
            assert np.abs((out != 0).mean(axis=axis) - (1 - rate)).max() < 5 * np.sqrt(rate * (1 - rate) / count)
    assert abs(np.mean(kept) - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / (5 * n * units))


@compiled_only
@dtypes
def test_noise_has_the_moments_of_the_normal_distribution(dtype):
    n, units = 4000, 64
    alone = Alone("noise", n, units, dtype)
    alone.stage = Stage("noise", units, numbers=(3.0, 1.0, 0.0))
    alone.view(alone.below, n)[:] = 0
    drawn = alone.forward().astype(np.float64)
    # The moment of order k has the deviation sqrt((m_2k - m_k^2) / count); each within five of these.
    moments, count = {0: 1, 1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15, 8: 105}, n * units
    for k in (1, 2, 3, 4):
        deviation = np.sqrt((moments[2 * k] - moments[k] ** 2) / count)
        assert abs((drawn**k).mean() - moments[k]) < 5 * deviation, k
    assert 4 < np.abs(drawn).max() < 6
    # Of neighbours nothing can be told.
    for a, b in ((drawn[:, 1:], drawn[:, :-1]), (drawn[1:], drawn[:-1])):
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)


# ---------------------------------------------------------------------------------------------- at the edge


@dtypes
def test_prelu_has_no_slope_at_zero_and_a_penalty_has_one(dtype):
    for case, slope in (("prelu", 0), ("activity-l1", 0.2 * 0.5)):
        alone = Alone(case, 2, 3, dtype)
        alone.view(alone.below, 2)[:] = 0
        alone.forward()
        expected = slope + alone.delta * (case != "prelu")
        assert_close(alone.backward(), expected, 2, np.abs(expected) + 1)


@dtypes
def test_the_penalties_of_each_sample_are_kept(dtype):
    alone = Alone("activity", 7, 17, dtype)
    alone.forward()
    expected = [reference.penalties(alone.stage, row) for row in alone.x]
    assert_close(alone.work[lanes(dtype) :][:7], expected, 17 + 4, 17)


@dtypes
def test_a_variance_of_zero_is_divided_by_its_least(dtype):
    alone = Alone("normalization", 2, 3, dtype)
    alone.arrays[1][:] = 0
    mean = alone.arrays[0]
    assert_close(alone.forward(), (alone.x - mean) / 1e-7, 4, 4e7)
