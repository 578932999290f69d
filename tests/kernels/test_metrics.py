import numpy as np
import pytest
import twins
from support import DTYPES, SIZES, Padded, lanes, some
from tolerance import assert_close

from fastmlp import metrics
from fastmlp.kernels import losses
from fastmlp.kernels.metrics import COUNTERS, MEANS

pytestmark = pytest.mark.parametrize("dtype", DTYPES)

OWN = [name for name in MEANS if name not in losses.KERNELS]


class Batch:
    """Outputs, labels or targets, and weights of samples, as the network has them: NaN fills up the last line."""

    def __init__(self, a, labels=None, targets=None, weights=None):
        (self.n, self.units), self.dtype = a.shape, a.dtype
        self.acts = Padded(a.T, 5, np.nan)
        row = self.acts.row
        self.labels = np.full(row, np.nan, a.dtype)
        if labels is not None:
            self.labels[: self.n] = labels
        values = Padded(np.zeros((self.units, self.n), a.dtype), 0, np.nan)
        if targets is not None:
            values.matrix[:] = targets.T
        self.targets, self.weights = values.flat, np.zeros(0, a.dtype)
        if weights is not None:
            self.weights = np.full(row, np.nan, a.dtype)
            self.weights[: self.n] = weights

    def mean(self, kernel, numbers=()):
        """Sums of the metric over each line of samples; the kernel's numbers stand behind two of somebody else's."""
        totals, delta = np.full((self.acts.row // lanes(self.dtype), 2), 55.0), np.zeros_like(self.acts.flat)
        kernel(np.array([7.0, 7.0, *numbers, 9.0]), 2, 0, *self.acts.place, self.labels, self.targets, self.weights,
               self.units, 0.0, delta, totals.reshape(-1), 2, 1, 0, self.n)  # fmt: skip
        self.acts.assert_untouched()
        assert (totals[:, 0] == 55).all()
        return totals[: -(-self.n // lanes(self.dtype)), 1]

    def count(self, kernel, numbers, counts):
        """Add to counts, which stand behind three of somebody else's."""
        memory = np.concatenate([[3.0, 3.0, 3.0], counts, [3.0]])
        kernel(np.array([7.0, 7.0, *numbers, 9.0]), 2, *self.acts.place, self.labels, self.targets, self.weights,
               self.units, memory, 3, self.n)  # fmt: skip
        self.acts.assert_untouched()
        assert (memory[[0, 1, 2, -1]] == 3).all()
        counts[:] = memory[3:-1]


def by_line(of_samples, dtype):
    line = lanes(dtype)
    return np.array([of_samples[i : i + line].sum() for i in range(0, len(of_samples), line)])


def data(n, units, dtype, seed=0):
    """Outputs between 0 and 1, labels, targets of every output that are 0 or 1, weights."""
    rng = np.random.default_rng(seed)
    a = rng.random((n, units)).astype(dtype)
    return a, rng.integers(0, units, n), rng.integers(0, 2, (n, units)).astype(dtype), rng.random(n).astype(dtype)


# ---------------------------------------------------------------------------------------------- means


def test_every_loss_is_a_metric(dtype):
    assert MEANS.items() >= losses.KERNELS.items()


def mean_by_hand(name, a, labels, targets):
    """(numbers, whether each sample is right, the twin as a function of the weights)."""
    if name == "binary_accuracy":
        right = ((a > a.dtype.type(0.4)) == targets).mean(axis=1)
        return (0.4,), right, lambda weights: twins.binary_accuracy(a, targets, weights, threshold=0.4)
    if name == "categorical_accuracy":
        right = a.argmax(axis=1) == labels
        return (), right, lambda weights: twins.sparse_categorical_accuracy(a, labels, weights)
    right = (a > np.take_along_axis(a, labels[:, None], axis=1)).sum(axis=1) < 3
    return (3,), right, lambda weights: twins.sparse_top_k_categorical_accuracy(a, labels, weights, k=3)


@pytest.mark.parametrize("name", OWN)
def test_a_mean_equals_its_twin(name, dtype):
    for units in SIZES:
        for n in some(SIZES, (1, 3, 17)):
            a, labels, targets, weights = data(n, units, dtype)
            numbers, right, whole = mean_by_hand(name, a, labels, targets)
            for own in (None, weights):
                right_weights = np.ones(n) if own is None else own.astype(np.float64)
                sums = Batch(a, labels, targets, own).mean(MEANS[name], numbers)
                exact = by_line(right * right_weights, dtype)
                if name != "binary_accuracy" and own is None:
                    np.testing.assert_array_equal(sums, exact)  # counts
                assert_close(sums, exact, lanes(dtype) + 2, exact, dtype)
                total = right_weights.sum()
                assert_close(sums.sum() / total, whole(own), n + 2, 1, dtype)


@pytest.mark.parametrize("name", OWN)
def test_what_is_all_right_has_the_perfect_figure(name, dtype):
    for units in some(range(1, 131), (1, 2, 7, 49)):
        labels = np.arange(3) % units
        y = np.eye(units, dtype=dtype)[labels]
        numbers = {"binary_accuracy": (0.5,), "top_k_categorical_accuracy": (1,)}.get(name, ())
        np.testing.assert_array_equal(Batch(y.copy(), labels, y).mean(MEANS[name], numbers), [3])


def test_a_threshold_is_not_above_itself(dtype):
    for threshold in (0.5, 0.3):
        at = dtype(threshold)
        a, y = np.array([[at, np.nextafter(at, dtype(1))]]), np.array([[0, 1]], dtype)
        assert Batch(a, targets=y).mean(MEANS["binary_accuracy"], (threshold,)) == 1


def test_a_target_between_zero_and_one_is_never_right(dtype):
    a, y = np.array([[0.2, 0.9]], dtype), np.array([[0.5, 0.5]], dtype)
    assert Batch(a, targets=y).mean(MEANS["binary_accuracy"], (0.5,)) == 0


def test_the_first_of_equal_maxima_counts_but_all_are_among_the_largest(dtype):
    a = np.array([[0.25, 0.375, 0.375, 0.0]], dtype)
    for label, first, among in ((1, 1, 1), (2, 0, 1), (0, 0, 0)):
        batch = Batch(a, [label])
        assert batch.mean(MEANS["categorical_accuracy"]) == first
        assert batch.mean(MEANS["top_k_categorical_accuracy"], (1,)) == among


def test_a_sample_that_begins_with_nan_counts_for_its_first_unit(dtype):
    a = np.array([[np.nan, 0.5, 0.25]] * 2, dtype)
    assert Batch(a, [0, 1]).mean(MEANS["categorical_accuracy"]) == 1


# ---------------------------------------------------------------------------------------------- counters


def counts_by_hand(name, a, labels, targets, weights, numbers):
    """Plain version of a counter, of all samples."""
    (n, units), onehot = a.shape, np.eye(a.shape[1])[labels]
    weight = np.ones((n, 1)) if weights is None else weights[:, None].astype(np.float64)
    if name == "confusion":
        classes = max(units, 2)
        made = np.zeros((classes, classes))
        guess, truth = (a[:, 0] > a.dtype.type(numbers[0])) * 1, targets[:, 0] > 0.5
        np.add.at(made, (truth * 1, guess) if units == 1 else (labels, a.argmax(axis=1)), weight[:, 0])
        return made.ravel()
    if name == "moments":
        error, y = a.astype(np.float64) - targets, targets.astype(np.float64)
        columns = weight + 0 * y, weight * y, weight * y * y, weight * error**2, np.ones_like(y)
        return np.stack([column.sum(axis=0) for column in columns], axis=1).ravel()
    if name == "class_counts":
        threshold, sparse = numbers
        y = onehot if sparse else targets
        above = a == a.max(axis=1, keepdims=True) if threshold < 0 else a > a.dtype.type(threshold)
        columns = weight * above * y, weight * above * (1 - y), weight * ~above * y
        return np.stack([column.sum(axis=0) for column in columns], axis=1).ravel()
    count, only, k, sparse = (int(number) for number in numbers[:4])
    y, thresholds = onehot if sparse else targets, np.array(numbers[5:]).astype(a.dtype)
    level = (a[:, :, None] > thresholds).sum(axis=2)
    if k > 0:
        first = np.argsort(np.argsort(-a, axis=1, kind="stable"), axis=1, kind="stable") < k
        level = level * first
    made = np.zeros((count + 1, 2))
    seen = slice(None) if only < 0 else slice(only, only + 1)
    np.add.at(made[:, 0], level[:, seen], (weight * y)[:, seen])
    np.add.at(made[:, 1], level[:, seen], (weight * (1 - y))[:, seen])
    return made.ravel()


#: Numbers of each counter.
COUNTED = [
    ("confusion", (0.5,)),
    ("moments", ()),
    ("class_counts", (-1.0, 0.0)),
    ("class_counts", (0.3, 0.0)),
    ("class_counts", (0.3, 1.0)),
    ("above_thresholds", (1.0, -1.0, 0.0, 0.0, 0.0, 0.5)),
    ("above_thresholds", (3.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.3, 0.9)),
    ("above_thresholds", (2.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.5)),
    ("above_thresholds", (1.0, -1.0, 2.0, 1.0, 0.0, -np.inf)),
    ("above_thresholds", (2.0, 0.0, 1.0, 0.0, 0.0, 0.25, 0.5)),
    ("above_thresholds", (5.0, -1.0, 0.0, 0.0, 1.0, -np.inf, 0.25, 0.5, 0.75, np.inf)),
]


def test_every_counter_is_tried(dtype):
    assert {name for name, _ in COUNTED} == set(COUNTERS)


@pytest.mark.parametrize(("name", "numbers"), COUNTED)
def test_a_counter_adds_what_a_batch_holds(name, numbers, dtype):
    for units in SIZES:
        for n in some(SIZES, (1, 7)):
            for weighted in (False, True):
                a, labels, targets, weights = data(n, units, dtype)
                weights = weights if weighted else None
                exact = counts_by_hand(name, a, labels, targets, weights, numbers)
                counts = np.full(exact.size, 2.0)
                Batch(a, labels, targets, weights).count(COUNTERS[name], numbers, counts)
                assert_close(counts, 2 + exact, n * units + 2, 2 + exact)


# ---------------------------------------------------------------------------------------------- through the classes


def figure(metric, a, y, weights=None, cut=None):
    """A metric's result for outputs a and targets y, class indices or rows, in two batches; as the models make it."""
    sparse, (n, units) = y.ndim == 1, a.shape
    metric = metric.for_targets(units, sparse)
    scoring = metric.scoring_of(units, y)
    labels = y if sparse else y.argmax(axis=1)
    cut = n // 3 + 1 if cut is None else cut
    counts, total = np.zeros(scoring.counts), 0.0
    for rows in (slice(cut), slice(cut, n)):
        if len(a[rows]) == 0:
            continue
        own = None if weights is None else weights[rows]
        batch = Batch(a[rows], labels[rows], None if sparse else y[rows], own)
        if scoring.counts:
            batch.count(COUNTERS[scoring.kernel], scoring.numbers, counts)
        else:
            total += batch.mean(MEANS[scoring.kernel], scoring.numbers).sum()
    if scoring.counts:
        return metric.result(counts)
    return metric.result(np.array([total / (n if weights is None else weights.astype(np.float64).sum())]))


def classes(dtype, n=41, units=5):
    """(probabilities that are mostly right, one-hot targets, labels, weights)."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, units, n)
    z = rng.standard_normal((n, units)) + 2 * np.eye(units)[labels]
    return twins.softmax(z).astype(dtype), np.eye(units, dtype=dtype)[labels], labels, rng.random(n).astype(dtype)


def answers(dtype, n=41, units=3):
    """(probabilities of each unit, targets 0 or 1, weights)."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, (n, units))
    a = twins.sigmoid(rng.standard_normal((n, units)) + 2 * y - 1)
    return a.astype(dtype), y.astype(dtype), rng.random(n).astype(dtype)


def assert_figure(result, expected, n, dtype):
    """Sums over n samples in float64 of what lies between 0 and the largest of all, and a few quotients of them."""
    expected = np.asarray(expected, np.float64)
    assert_close(np.asarray(result, np.float64), expected, n + 20, 1 + np.abs(expected).max(), dtype)


#: Loss classes as metrics: (class, the twin's name, arguments).
OF_LOSSES = [
    (metrics.MeanSquaredError, "mean_squared_error", {}),
    (metrics.MeanAbsoluteError, "mean_absolute_error", {}),
    (metrics.MeanAbsolutePercentageError, "mean_absolute_percentage_error", {}),
    (metrics.MeanSquaredLogarithmicError, "mean_squared_logarithmic_error", {}),
    (metrics.LogCoshError, "log_cosh", {}),
    (metrics.Huber, "huber", {"delta": 0.2}),
    (metrics.Poisson, "poisson", {}),
    (metrics.KLDivergence, "kl_divergence", {}),
    (metrics.Hinge, "hinge", {}),
    (metrics.SquaredHinge, "squared_hinge", {}),
    (metrics.CategoricalHinge, "categorical_hinge", {}),
    (metrics.BinaryCrossentropy, "binary_crossentropy", {"label_smoothing": 0.1}),
    (metrics.BinaryCrossentropy, "binary_crossentropy", {"from_logits": True}),
    (metrics.CategoricalCrossentropy, "categorical_crossentropy", {"label_smoothing": 0.1}),
    (metrics.CategoricalCrossentropy, "categorical_crossentropy", {"from_logits": True}),
    (metrics.SparseCategoricalCrossentropy, "sparse_categorical_crossentropy", {}),
    (metrics.SparseCategoricalCrossentropy, "sparse_categorical_crossentropy", {"from_logits": True}),
    (metrics.BinaryFocalCrossentropy, "binary_focal_crossentropy", {"gamma": 1.5}),
    (metrics.CategoricalFocalCrossentropy, "categorical_focal_crossentropy", {"alpha": 0.5}),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "name", "arguments"), OF_LOSSES)
def test_a_loss_as_a_metric_equals_its_twin(kind, name, arguments, weighted, dtype):
    a, onehot, labels, weights = classes(dtype)
    y, weights = labels if "sparse" in name else onehot, weights if weighted else None
    y = y + dtype(0.25) if "percentage" in name else y  # what is divided by
    expected = twins.mean_metric(name, a, y, weights, **arguments)
    assert_figure(figure(kind(**arguments), a, y, weights), expected, len(a), dtype)


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_made_of_losses_equal_their_twins(weighted, dtype):
    a, y, _, weights = classes(dtype)
    weights = weights if weighted else None
    for metric, twin in (
        (metrics.CosineSimilarity(), twins.cosine_similarity_metric),
        (metrics.RootMeanSquaredError(), twins.root_mean_squared_error),
    ):
        assert_figure(figure(metric, a, y, weights), twin(a, y, weights), len(a), dtype)


@pytest.mark.parametrize("weighted", [False, True])
def test_accuracies_equal_their_twins(weighted, dtype):
    a, onehot, labels, weights = classes(dtype)
    weights = weights if weighted else None
    for metric, y, expected in (
        (metrics.Accuracy(), onehot, twins.categorical_accuracy(a, onehot, weights)),
        (metrics.Accuracy(), labels, twins.sparse_categorical_accuracy(a, labels, weights)),
        (metrics.Accuracy(), onehot[:, :1], twins.binary_accuracy(a[:, :1], onehot[:, :1], weights)),
        (metrics.BinaryAccuracy(threshold=0.3), onehot, twins.binary_accuracy(a, onehot, weights, threshold=0.3)),
        (metrics.CategoricalAccuracy(), onehot, twins.categorical_accuracy(a, onehot, weights)),
        (metrics.SparseCategoricalAccuracy(), labels, twins.sparse_categorical_accuracy(a, labels, weights)),
        *((metrics.TopKCategoricalAccuracy(k), onehot, twins.top_k_categorical_accuracy(a, onehot, weights, k))
          for k in (1, 2, 5)),
        *((metrics.SparseTopKCategoricalAccuracy(k), labels,
           twins.sparse_top_k_categorical_accuracy(a, labels, weights, k)) for k in (1, 2, 5)),
    ):  # fmt: skip
        assert_figure(figure(metric, a[:, : onehot[:, : y.shape[-1]].shape[1] if y.ndim == 2 else None], y, weights),
                      expected, len(a), dtype)  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["true_positives", "false_positives", "true_negatives", "false_negatives"])
def test_counts_at_thresholds_equal_their_twins(name, weighted, dtype):
    a, y, weights = answers(dtype)
    weights = weights if weighted else None
    kind = metrics._CLASSES[name]
    for thresholds in (None, 0.3, [0.9, 0.2, 0.5]):
        expected = getattr(twins, name)(a, y, weights, thresholds)
        assert_figure(figure(kind(thresholds), a, y, weights), expected, a.size, np.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["precision", "recall"])
def test_precision_and_recall_equal_their_twins(name, weighted, dtype):
    a, onehot, labels, weights = classes(dtype)
    weights = weights if weighted else None
    kind = metrics._CLASSES[name]
    for options in (
        {}, {"thresholds": 0.3}, {"thresholds": [0.7, 0.1, 0.4]}, {"top_k": 2}, {"class_id": 1},
        {"thresholds": [0.2, 0.6], "class_id": 4}, {"top_k": 1, "class_id": 2}, {"thresholds": 0.4, "top_k": 2},
    ):  # fmt: skip
        expected = getattr(twins, name)(a, onehot, weights, **options)
        assert_figure(figure(kind(**options), a, onehot, weights), expected, a.size, np.float64)
        assert_figure(figure(kind(**options), a, labels, weights), expected, a.size, np.float64)


def test_precision_of_nothing_called_positive_is_zero(dtype):
    a, y = np.full((3, 1), 0.2, dtype), np.ones((3, 1), dtype)
    assert figure(metrics.Precision(), a, y) == 0
    assert figure(metrics.Recall(), a, 0 * y) == 0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_the_area_under_a_curve_equals_its_twin(curve, weighted, dtype):
    a, y, weights = answers(dtype)
    weights = weights if weighted else None
    for method in ("interpolation", "minoring", "majoring"):
        for count in (2, 3, 7, 200):
            options = {"num_thresholds": count, "curve": curve, "summation_method": method}
            expected = twins.auc(a, y, weights, **options)
            assert_figure(figure(metrics.AUC(**options), a, y, weights), expected, a.size, np.float64)


def test_outputs_outside_zero_and_one_count_for_the_outer_thresholds(dtype):
    a = np.array([[-1.5], [0], [0.4], [1], [7]], dtype)
    y = np.array([[0], [1], [0], [1], [1]], dtype)
    for curve in ("ROC", "PR"):
        expected = twins.auc(a, y, num_thresholds=5, curve=curve)
        assert_figure(figure(metrics.AUC(5, curve), a, y), expected, 5, np.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
def test_f_scores_equal_their_twins(average, weighted, dtype):
    a, onehot, labels, weights = classes(dtype)
    weights = weights if weighted else None
    for beta in (0.5, 1.0, 2.0):
        for threshold in (None, 0.3):
            expected = twins.fbeta_score(a, onehot, weights, average, beta, threshold)
            for y in (onehot, labels):
                result = figure(metrics.FBetaScore(average, beta, threshold), a, y, weights)
                assert_figure(result, expected, a.size, np.float64)
    expected = twins.f1_score(a, onehot, weights, average)
    assert_figure(figure(metrics.F1Score(average), a, onehot, weights), expected, a.size, np.float64)


def test_f_scores_count_all_of_equal_maxima_and_none_of_zero(dtype):
    a = np.array([[0.5, 0.5, 0.1], [0, 0, 0], [0.2, 0.3, 0.3]], dtype)
    y = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype)
    assert_figure(figure(metrics.F1Score(), a, y), twins.f1_score(a, y), 9, np.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("aggregation", [None, "uniform_average", "variance_weighted_average"])
def test_r2_equals_its_twin(aggregation, weighted, dtype):
    rng = np.random.default_rng(6)
    y = rng.standard_normal((41, 3)).astype(dtype)
    a, weights = (y + 0.5 * rng.standard_normal(y.shape)).astype(dtype), rng.random(41).astype(dtype)
    weights = weights if weighted else None
    for regressors in (0, 4):
        expected = twins.r2_score(a, y, weights, aggregation, regressors)
        result = figure(metrics.R2Score(aggregation, regressors), a, y, weights)
        assert_figure(result, expected, 41, np.float64)


def test_r2_of_an_output_whose_targets_are_all_alike_is_zero(dtype):
    y = np.array([[1, 2], [1, 3], [1, 5]], dtype)
    np.testing.assert_array_equal(figure(metrics.R2Score(None), y.copy(), y), [0, 1])


def test_the_confusion_matrix_equals_its_twin(dtype):
    a, onehot, labels, weights = classes(dtype)
    expected = twins.confusion_matrix(labels, a.argmax(axis=1), 5)
    np.testing.assert_array_equal(figure(metrics.ConfusionMatrix(), a, labels), expected)
    np.testing.assert_array_equal(figure(metrics.ConfusionMatrix(), a, onehot), expected)
    weighted = figure(metrics.ConfusionMatrix(), a, labels, weights)
    assert_figure(weighted.sum(), weights.sum(dtype=np.float64), 41, np.float64)
    assert ((weighted > 0) <= (expected > 0)).all()
    a, y, _ = answers(dtype, units=1)
    expected = twins.confusion_matrix(y[:, 0].astype(int), (a[:, 0] > dtype(0.3)) * 1, 2)
    np.testing.assert_array_equal(figure(metrics.ConfusionMatrix(threshold=0.3), a, y), expected)


def test_every_class_is_tried(dtype):
    tried = {
        *(kind._default for kind, _, _ in OF_LOSSES), "cosine_similarity", "root_mean_squared_error", "accuracy",
        "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "top_k_categorical_accuracy",
        "sparse_top_k_categorical_accuracy", "precision", "recall", "true_positives", "false_positives",
        "true_negatives", "false_negatives", "auc", "fbeta_score", "f1_score", "r2_score", "confusion_matrix",
    }  # fmt: skip
    assert tried == set(metrics.NAMES)
