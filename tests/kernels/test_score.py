import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, lanes, whole_lines
from tolerance import assert_close

from fastmlp.kernels.losses import NAMES as LOSSES
from fastmlp.kernels.metrics import NAMES as METRICS
from fastmlp.kernels.score import gather_targets, score

SPARSE = "sparse_categorical_crossentropy"

# ---------------------------------------------------------------------------------------------- targets


class Targets:
    """Class indices and targets of n + 4 samples, an order of them, and room for those of a batch of n."""

    def __init__(self, n, units, dtype):
        rng = np.random.default_rng(0)
        self.n, self.order = n, rng.permutation(n + 4)
        self.labels = rng.integers(0, units, n + 4).astype(np.int32)
        self.targets = rng.standard_normal((n + 4, units)).astype(dtype)
        width = whole_lines(n, dtype)
        self.rows = Padded(np.full((width, units), 55, dtype), 2 * lanes(dtype), 55)
        # The padding of the rows is turned, too.
        self.lanes = Padded(np.full((self.rows.row, width), 55, dtype), 0, 55)
        self.label_lanes = np.full(width, 55, dtype)

    def gather(self, first, last, labels=None, targets=None):
        """Of the batch order[2 : 2 + n]."""
        labels = self.labels if labels is None else labels
        targets = self.targets if targets is None else targets
        units, kept = targets.shape[1], [a.copy() for a in (labels, targets, self.order)]
        gather_targets(labels, targets, units, self.order, 2, first, last, self.label_lanes, self.lanes.flat,
                       self.lanes.row, *self.rows.place)  # fmt: skip
        for array, before in zip((labels, targets, self.order), kept):
            np.testing.assert_array_equal(array, before)

    @property
    def batch(self):
        return self.order[2 : 2 + self.n]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", SIZES)
def test_targets_of_the_batch_come_into_lanes(units, dtype):
    for n in SIZES:
        batch = Targets(n, units, dtype)
        batch.gather(0, n)
        np.testing.assert_array_equal(batch.lanes.matrix[:units, :n], reference.transpose(batch.targets[batch.batch]))
        np.testing.assert_array_equal(batch.label_lanes[:n], batch.labels[batch.batch])
        assert (batch.label_lanes[n:] == 55).all()
        assert (batch.rows.flat[: batch.rows.at] == 77).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_member_of_a_team_gathers_the_targets_of_its_own_samples(dtype):
    width, units = lanes(dtype), 3
    first, n = width, 3 * width
    batch = Targets(n, units, dtype)
    batch.gather(first, n - 5)
    expected = reference.transpose(batch.targets[batch.batch])
    np.testing.assert_array_equal(batch.lanes.matrix[:units, first : n - 5], expected[:, first : n - 5])
    batch.lanes.assert_only_written(slice(None), slice(first, n))
    batch.rows.assert_only_written(slice(first, n), slice(None))
    np.testing.assert_array_equal(batch.label_lanes != 55, (np.arange(n) >= first) & (np.arange(n) < n - 5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_that_are_not_there_are_not_gathered(dtype):
    batch = Targets(7, 3, dtype)
    batch.gather(0, 7, labels=np.zeros(0, np.int32))
    assert (batch.label_lanes == 55).all()
    batch = Targets(7, 3, dtype)
    batch.gather(0, 7, targets=np.zeros((0, 3), dtype))
    batch.lanes.assert_untouched()
    batch.rows.assert_untouched()


# ---------------------------------------------------------------------------------------------- losses and metrics


class Batch:
    """Probabilities of a batch with its targets, in lanes: samples that only fill up a line are NaN."""

    def __init__(self, loss, n, units, dtype):
        rng = np.random.default_rng(0)
        self.loss, self.dtype = loss, dtype
        self.a = reference.softmax(rng.standard_normal((n, units))).astype(dtype)
        self.indices = rng.integers(0, units, n).astype(np.int32)
        self.y = np.eye(units, dtype=dtype)[self.indices]
        self.outputs, self.targets = Padded(self.a.T, 3, np.nan), Padded(self.y.T, 0, np.nan)
        self.labels = np.zeros(self.targets.row, dtype)
        self.labels[:n] = self.indices
        self.delta = Padded(np.full((units, n), 55, dtype), 3, 55)
        self.lines = [slice(i, i + lanes(dtype)) for i in range(0, n, lanes(dtype))]

    def score(self, names, first, last, *, scale=0.25, joint=False):
        """Sums of the batch's lines, and one line more; NaN where nothing is written."""
        totals = np.full((len(self.lines) + 1, 1 + len(names)), np.nan)
        codes, labels = np.array([METRICS.index(name) for name in names], np.int64), self.labels.copy()
        score(LOSSES.index(self.loss), int(joint), codes, *self.outputs.place, labels, self.targets.flat,
              self.a.shape[1], self.dtype(scale), self.delta.flat, totals, first, last)  # fmt: skip
        self.outputs.assert_untouched()
        self.targets.assert_untouched()
        np.testing.assert_array_equal(labels, self.labels)
        return totals

    def sums(self, names, samples):
        """Those of the twin."""
        a, y = self.a[samples].astype(np.float64), self.y[samples]
        loss = reference.score(self.loss, (), a, self.indices[samples] if self.loss == SPARSE else y)
        return np.concatenate([loss, *(reference.score(name, (), a, y) for name in names)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_score_sums_losses_and_metrics_of_each_line(loss, dtype):
    for units in SIZES[1:]:
        for n in SIZES:
            batch = Batch(loss, n, units, dtype)
            totals = batch.score(METRICS, 0, n)
            assert np.isnan(totals[-1]).all()
            for line, got in zip(batch.lines, totals):
                exact = batch.sums(METRICS, line)
                # A sample's sum over the units, then that over a line's samples; no loss is above -log of 1e-7, and a
                # probability's relative error is an absolute one of its logarithm.
                assert_close(got, exact, units + 4 + lanes(dtype), exact + len(batch.a[line]), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_score_counts_right_answers_exactly(dtype):
    for n in SIZES:
        batch = Batch(SPARSE, n, 7, dtype)
        totals = batch.score(("categorical_accuracy",), 0, n)
        assert totals[:-1, 1].sum() == reference.categorical_accuracy(batch.a, batch.indices).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_score_writes_the_gradient_by_the_output_times_scale(loss, dtype):
    for n in SIZES:
        batch = Batch(loss, n, 3, dtype)
        batch.score((), 0, n, scale=-0.5)
        y = batch.indices if loss == SPARSE else batch.y
        a = batch.a.astype(np.float64)
        size = {"mean_squared_error": 1, "binary_crossentropy": 1 / (a * (1 - a))}.get(loss, 1 + 1 / a)
        expected = -0.5 * getattr(reference, f"{loss}_gradient")(batch.a, y)
        assert_close(batch.delta.matrix.T, expected, 3 + 4, size)
        batch.delta.assert_only_lines_written()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", [SPARSE, "categorical_crossentropy"])
def test_score_writes_the_joint_gradient_by_z(loss, dtype):
    batch = Batch(loss, 17, 3, dtype)
    batch.score((), 0, 17, joint=True)
    assert_close(batch.delta.matrix.T, 0.25 * (batch.a.astype(np.float64) - batch.y), 3 + 4, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_member_of_a_team_scores_its_own_samples_with_the_same_bits(loss, dtype):
    width = lanes(dtype)
    n = 3 * width - 2
    whole, shared = Batch(loss, n, 3, dtype), Batch(loss, n, 3, dtype)
    expected = whole.score(METRICS, 0, n)
    first, second = shared.score(METRICS, 0, width), shared.score(METRICS, width, n)
    assert np.isnan(first[1:]).all()
    assert np.isnan(second[:1]).all()
    assert np.where(np.isnan(first), second, first).tobytes() == expected.tobytes()
    assert shared.delta.flat.tobytes() == whole.delta.flat.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_that_is_nan_makes_its_line_nan(loss, dtype):
    batch = Batch(loss, 2 * lanes(dtype), 3, dtype)
    batch.outputs.matrix[:, 1] = np.nan
    batch.outputs.start[:] = batch.outputs.flat
    totals = batch.score(("mean_squared_error",), 0, 2 * lanes(dtype))
    np.testing.assert_array_equal(np.isnan(totals), [[True, True], [False, False], [True, True]])
