"""The targets of a batch, and what a plan's loss and metrics make of it; their kernels have tests of their own."""

import numpy as np
import pytest
import reference
import twins
from support import DTYPES, SIZES, Padded, lanes, small_kernel, whole_lines
from tolerance import assert_close

from fastmlp import losses, metrics
from fastmlp import plan as plans
from fastmlp.kernels.score import count, gather_targets, score

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
        self.label_lanes, self.weight_lanes = np.full(width, 55, dtype), np.full(width, 55, dtype)
        self.weights = rng.random(n + 4).astype(dtype)

    def gather(self, first, last, labels=None, targets=None, weights=None):
        """Of the batch order[2 : 2 + n]."""
        labels = self.labels if labels is None else labels
        targets = self.targets if targets is None else targets
        weights = self.weights if weights is None else weights
        read = (labels, targets, weights, self.order)
        units, kept = targets.shape[1], [a.copy() for a in read]
        gather_targets(labels, targets, weights, units, self.order, 2, first, last, self.label_lanes, self.lanes.flat,
                       self.weight_lanes, self.lanes.row, *self.rows.place)  # fmt: skip
        for array, before in zip(read, kept):
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
        np.testing.assert_array_equal(batch.weight_lanes[:n], batch.weights[batch.batch])
        assert (batch.label_lanes[n:] == 55).all()
        assert (batch.weight_lanes[n:] == 55).all()
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
    for written in (batch.label_lanes != 55, batch.weight_lanes != 55):
        np.testing.assert_array_equal(written, (np.arange(n) >= first) & (np.arange(n) < n - 5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_targets_that_are_not_there_are_not_gathered(dtype):
    batch = Targets(7, 3, dtype)
    batch.gather(0, 7, labels=np.zeros(0, np.int32))
    assert (batch.label_lanes == 55).all()
    batch = Targets(7, 3, dtype)
    batch.gather(0, 7, targets=np.zeros((0, 3), dtype))
    batch.lanes.assert_untouched()
    batch.rows.assert_untouched()
    batch = Targets(7, 3, dtype)
    batch.gather(0, 7, weights=np.zeros(0, dtype))
    assert (batch.weight_lanes == 55).all()


# ---------------------------------------------------------------------------------------------- losses and metrics


# Parts are put into a kernel that calls them; these are the kernels.
@small_kernel
def score_lines(plan, scratch, at, units, scale, first, last):
    score(plan, scratch, at, units, scale, first, last)


@small_kernel
def count_batch(plan, scratch, at, units, totals, rows):
    count(plan, scratch, at, units, totals, rows)


#: Metrics that are means, a loss among them; and those that count. Weights count in every other one.
MEANS = {
    metrics.CategoricalAccuracy(): twins.categorical_accuracy,
    metrics.MeanSquaredError(): lambda a, y, w=None: twins.mean_metric("mean_squared_error", a, y, w),
    metrics.BinaryAccuracy(): twins.binary_accuracy,
    metrics.CategoricalCrossentropy(): lambda a, y, w=None: twins.mean_metric("categorical_crossentropy", a, y, w),
}
COUNTERS = (metrics.ConfusionMatrix(), metrics.F1Score(), metrics.Precision([0.2, 0.4]))
LOSSES = {
    losses.MeanSquaredError(): "mean_squared_error",
    losses.BinaryCrossentropy(): "binary_crossentropy",
    losses.CategoricalCrossentropy(): "categorical_crossentropy",
    losses.SparseCategoricalCrossentropy(): "sparse_categorical_crossentropy",
}

each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)


class Batch:
    """Probabilities of a batch with its targets in the scratch of a network; samples that fill up a line are NaN."""

    def __init__(self, loss, n, units, dtype, *, weighted=False, scorings=True, activation="linear"):
        rng = np.random.default_rng(0)
        self.loss, self.n, self.units, self.dtype = loss, n, units, dtype
        self.a = twins.softmax(rng.standard_normal((n, units))).astype(dtype)
        self.labels = rng.integers(0, units, n).astype(np.int32)
        self.y = np.eye(units, dtype=dtype)[self.labels]
        self.weights = rng.random(n).astype(dtype) if weighted else np.ones(n, dtype)
        kinds = (*MEANS, *COUNTERS) if scorings else ()
        made = [metric.for_targets(units, False).scoring_of(units, self.y) for metric in kinds]
        made = [plans.Scoring(s.kernel, s.numbers, i % 2 == 0, s.counts) for i, s in enumerate(made)]
        layout = plans.layout(4, [plans.Stage(plans.DENSE, units, (activation, ()))], np.dtype(dtype))
        self.plan, self.scorings = plans.plan(layout, loss.scoring(self.y), made, "sgd"), made
        self.means = len(MEANS) if scorings else 0
        self.scratch = plans.scratch(layout, n, 1, self.means, train=True, weighted=weighted)
        self.row = self.scratch.capacity
        self.at = int(layout.tables["offset"][1]) * self.row
        for array in (self.scratch.acts, self.scratch.labels, self.scratch.targets, self.scratch.weights):
            array[:] = np.nan
        self.scratch.delta[:] = 55
        self.scratch.totals[:] = np.nan
        self.lanes_of(self.scratch.acts, self.at)[:, :n] = self.a.T
        self.lanes_of(self.scratch.targets, 0)[:, :n] = self.y.T
        self.scratch.labels[:n] = self.labels
        if weighted:
            self.scratch.weights[:n] = self.weights
        self.lines = [slice(i, min(i + lanes(dtype), n)) for i in range(0, n, lanes(dtype))]

    def lanes_of(self, array, at):
        return array[at : at + self.units * self.row].reshape(self.units, self.row)

    @property
    def delta(self):
        return self.lanes_of(self.scratch.delta, self.at)[:, : self.n].T

    def score(self, first=0, last=None, scale=0.25):
        """Totals of each line; the arrays that are read stay as they are."""
        read = [getattr(self.scratch, name) for name in ("acts", "labels", "targets", "weights")]
        kept = [array.copy() for array in read]
        score_lines(self.plan, self.scratch, self.at, self.units, scale, first, self.n if last is None else last)
        for array, before in zip(read, kept):
            np.testing.assert_array_equal(array, before)
        return self.scratch.totals

    @property
    def loss_targets(self):
        return self.labels if self.loss.sparse else self.y


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@each_loss
def test_score_sums_losses_metrics_and_weights_of_each_line(loss, dtype, weighted):
    for units in SIZES[1:]:
        for n in SIZES:
            batch = Batch(loss, n, units, dtype, weighted=weighted)
            totals = batch.score()
            a, y, weights = batch.a, batch.y, batch.weights.astype(np.float64)
            for line, got in zip(batch.lines, totals):
                own, size = weights[line], 20 * (line.stop - line.start)  # no loss is above -log of 1e-7
                exact = (getattr(twins, LOSSES[loss])(a[line], batch.loss_targets[line]) * own).sum()
                assert_close(got[0], exact, units + 10 + lanes(dtype), size, dtype)
                for m, (twin, scoring) in enumerate(zip(MEANS.values(), batch.scorings)):
                    counted = own if scoring.weighted else np.ones_like(own)
                    exact = counted.sum() * twin(a[line], y[line], counted)
                    assert_close(got[1 + m], exact, units + 10 + lanes(dtype), size, dtype)
                if weighted:
                    assert_close(got[1 + len(MEANS)], own.sum(), lanes(dtype), own.sum(), dtype)
                assert np.isnan(got[1 + len(MEANS) + weighted :]).all()
            assert np.isnan(totals[len(batch.lines) :]).all()


@pytest.mark.parametrize("scorings", [False, True], ids=["alone", "with metrics"])
@pytest.mark.parametrize("dtype", DTYPES)
@each_loss
def test_score_writes_the_gradient_of_the_loss_times_scale_and_weights(loss, dtype, scorings):
    for n in SIZES:
        batch = Batch(loss, n, 3, dtype, weighted=True, scorings=scorings)
        batch.score(scale=-0.5)
        expected = getattr(twins, f"{LOSSES[loss]}_gradient")(batch.a, batch.loss_targets)
        a, weights = batch.a.astype(np.float64), batch.weights[:, None].astype(np.float64)
        assert_close(batch.delta, -0.5 * weights * expected, 3 + 7, weights * (1 + 1 / (a * (1 - a))))
        row = batch.lanes_of(batch.scratch.delta, batch.at)
        assert (row[:, whole_lines(n, dtype) :] == 55).all()
        assert (batch.scratch.delta[: batch.at] == 55).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "activation"), [
    (losses.SparseCategoricalCrossentropy(), "softmax"), (losses.CategoricalCrossentropy(), "softmax"),
    (losses.BinaryCrossentropy(), "sigmoid"),
], ids=["sparse", "categorical", "binary"])  # fmt: skip
def test_score_writes_the_joint_gradient_by_z(loss, activation, dtype):
    batch = Batch(loss, 17, 3, dtype, activation=activation)
    batch.score()
    share = 3 if activation == "sigmoid" else 1
    assert_close(batch.delta, 0.25 * (batch.a.astype(np.float64) - batch.y) / share, 3 + 7, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@each_loss
def test_a_member_of_a_team_scores_its_own_samples_with_the_same_bits(loss, dtype):
    width = lanes(dtype)
    n = 3 * width - 2
    whole, shared = (Batch(loss, n, 3, dtype, weighted=True) for _ in range(2))
    expected, first = whole.score().copy(), shared.score(0, width).copy()
    assert np.isnan(first[1:]).all()
    assert (shared.delta[width:] == 55).all()
    assert shared.score(width, n).tobytes() == expected.tobytes()
    assert shared.scratch.delta.tobytes() == whole.scratch.delta.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@each_loss
def test_a_sample_that_is_nan_makes_its_line_nan(loss, dtype):
    batch = Batch(loss, 2 * lanes(dtype), 3, dtype)
    batch.lanes_of(batch.scratch.acts, batch.at)[:, 1] = np.nan
    totals = batch.score()[:2, [0, 2]]
    np.testing.assert_array_equal(np.isnan(totals), [[True, True], [False, False]])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_count_adds_a_batch_to_the_counts_of_each_metric(dtype, weighted):
    for n in (1, 17):
        batch = Batch(losses.MeanSquaredError(), n, 5, dtype, weighted=weighted)
        totals = np.full(plans.totals(batch.plan, batch.scorings).size + 1, 2.0)
        for _ in range(2):
            count_batch(batch.plan, batch.scratch, batch.at, batch.units, totals, n)
        assert (totals[: 2 + len(MEANS)] == 2).all()
        assert totals[-1] == 2
        at = 2 + len(MEANS)
        for metric, scoring in zip(COUNTERS, batch.scorings[len(MEANS) :]):
            counts = totals[at : at + scoring.counts] - 2
            at += scoring.counts
            own = batch.weights if weighted and scoring.weighted else None
            if isinstance(metric, metrics.ConfusionMatrix):
                weight = n if own is None else own.sum(dtype=np.float64)
                assert_close(counts.sum(), 2 * weight, n, 2 * weight)
                wrong = twins.confusion_matrix(batch.labels, batch.a.argmax(axis=1), 5).ravel() == 0
                assert not counts[wrong].any()
            else:
                twin = twins.f1_score if isinstance(metric, metrics.F1Score) else twins.precision
                extra = {"thresholds": [0.2, 0.4]} if twin is twins.precision else {}
                twice = np.tile(batch.a, (2, 1)), np.tile(batch.y, (2, 1)), None if own is None else np.tile(own, 2)
                assert_close(metric.result(counts), twin(*twice, **extra), n + 20, 1)
        assert at == totals.size - 1
