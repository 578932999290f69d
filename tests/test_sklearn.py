"""The estimators: what they share with scikit-learn's, what they have besides, and what they are used with."""

import copy
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install 'fastmlp[sklearn]'")

import sklearn
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from support import compiled_only

import fastmlp
from fastmlp import optimizers
from fastmlp.callbacks import BackupAndRestore, Callback, LambdaCallback
from fastmlp.sklearn import MLPClassifier, MLPRegressor

pytestmark = [
    compiled_only,
    pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.{ConvergenceWarning.__name__}"),
]

QUICK = dict(hidden_layer_sizes=(16,), learning_rate_init=0.02, max_iter=60, random_state=0)


@pytest.fixture(scope="module")
def iris():
    """Scaled samples (150, 4) and their labels as words."""
    data = load_iris()
    return scale(data.data), data.target_names[data.target]


@pytest.fixture(scope="module")
def values():
    """Samples (90, 6) and three values of each."""
    x, y = make_regression(90, 6, n_targets=3, noise=1.0, random_state=0)
    return x, y / 50


# ---------------------------------------------------------------------------------------------- beside scikit-learn

TRAININGS = {
    "adam": dict(),
    "large-penalty": dict(alpha=1.0),
    "without-penalty": dict(alpha=0.0),
    "sgd": dict(solver="sgd", learning_rate_init=0.1),
    "sgd-of-one": dict(solver="sgd", learning_rate_init=0.1, momentum=0.0, alpha=0.0),
    "momentum": dict(solver="sgd", nesterovs_momentum=False, momentum=0.5),
    "invscaling": dict(solver="sgd", learning_rate="invscaling", learning_rate_init=0.3, power_t=0.2),
    "adaptive": dict(solver="sgd", learning_rate="adaptive", learning_rate_init=0.3, tol=0.1, n_iter_no_change=2),
    "in-order": dict(shuffle=False),
    "early-stopping": dict(early_stopping=True, n_iter_no_change=3),
    "logistic": dict(activation="logistic"),
    "tanh": dict(activation="tanh", hidden_layer_sizes=(7, 5)),
    "identity": dict(activation="identity", hidden_layer_sizes=()),
    "epsilon": dict(epsilon=0.01, beta_1=0.5, beta_2=0.9),
}
trainings = pytest.mark.parametrize("options", TRAININGS.values(), ids=TRAININGS)


def assert_same(own, other, size=1.0):
    """Curves, weights and what is counted agree to some roundings of float64."""
    np.testing.assert_allclose(own.loss_curve_, other.loss_curve_, rtol=1e-9, atol=1e-12 * size)
    for one, two in zip((*own.coefs_, *own.intercepts_), (*other.coefs_, *other.intercepts_)):
        np.testing.assert_allclose(one, two, rtol=1e-7, atol=1e-9)
    assert own.out_activation_ == other.out_activation_
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "best_loss_", "best_validation_score_"):
        expected = getattr(other, name)
        assert getattr(own, name) == (None if expected is None else pytest.approx(expected, rel=1e-9)), name
    if other.validation_scores_ is None:
        assert own.validation_scores_ is None
    else:
        assert own.validation_scores_ == pytest.approx(other.validation_scores_, rel=1e-9)


@trainings
def test_a_classifier_is_trained_as_that_of_scikit_learn(iris, options):
    options = dict(max_iter=25, batch_size=32, random_state=3, hidden_layer_sizes=(9,)) | options
    if options.get("early_stopping"):
        # Before 1.8 scikit-learn's own looks there for NaN among the names of the classes.
        iris = iris[0], np.unique(iris[1], return_inverse=True)[1]
    assert_same(MLPClassifier(**options).fit(*iris), neural_network.MLPClassifier(**options).fit(*iris))


@trainings
def test_a_regressor_is_trained_as_that_of_scikit_learn(values, options):
    options = dict(max_iter=25, batch_size=32, random_state=3, hidden_layer_sizes=(9,)) | options
    if options.get("solver") == "sgd":
        options["learning_rate_init"] = options.get("learning_rate_init", 0.001) / 10
    assert_same(MLPRegressor(**options).fit(*values), neural_network.MLPRegressor(**options).fit(*values))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_weights_of_samples_count_as_in_scikit_learn(iris, solver):
    weights = np.random.default_rng(0).uniform(0, 2, 150)
    options = dict(max_iter=20, batch_size=40, random_state=1, solver=solver, alpha=0.1)
    own = MLPClassifier(**options).fit(*iris, sample_weight=weights)
    try:
        other = neural_network.MLPClassifier(**options).fit(*iris, sample_weight=weights)
    except TypeError:
        pytest.skip("scikit-learn below 1.7 takes no sample_weight here")
    assert_same(own, other)


def test_two_classes_are_trained_as_in_scikit_learn(iris):
    x, y = iris[0][50:], iris[1][50:]
    own, other = (cls(max_iter=20, random_state=0).fit(x, y) for cls in (MLPClassifier, neural_network.MLPClassifier))
    assert_same(own, other)
    np.testing.assert_allclose(own.predict_proba(x), other.predict_proba(x), rtol=1e-9)


def test_several_answers_are_trained_as_in_scikit_learn():
    x, y = make_multilabel_classification(80, 6, n_classes=4, random_state=0)
    own, other = (
        cls(max_iter=30, random_state=0, learning_rate_init=0.01).fit(x, y)
        for cls in (MLPClassifier, neural_network.MLPClassifier)
    )
    assert_same(own, other)
    np.testing.assert_array_equal(own.predict(x), other.predict(x))
    np.testing.assert_allclose(own.predict_proba(x), other.predict_proba(x), rtol=1e-8)


def test_counts_are_trained_as_in_scikit_learn(values):
    x, y = values[0], np.random.default_rng(0).poisson(np.exp(values[0][:, 0]))
    try:
        other = neural_network.MLPRegressor("poisson", max_iter=30, random_state=0).fit(x, y)
    except TypeError:
        pytest.skip("scikit-learn below 1.7 has no loss='poisson'")
    assert_same(MLPRegressor("poisson", max_iter=30, random_state=0).fit(x, y), other)


def test_calls_of_partial_fit_are_as_in_scikit_learn(iris):
    x, y = iris
    own, other = MLPClassifier(random_state=0), neural_network.MLPClassifier(random_state=0)
    for rows in (slice(0, 60), slice(60, 150), slice(0, 150)):
        for estimator in (own, other):
            estimator.partial_fit(x[rows], y[rows], classes=np.unique(y))
    assert_same(own, other)


def test_a_warm_start_goes_on_as_in_scikit_learn(iris):
    options = dict(max_iter=8, random_state=0, warm_start=True)
    own, other = MLPClassifier(**options), neural_network.MLPClassifier(**options)
    for _ in range(3):
        own.fit(*iris)
        other.fit(*iris)
    assert len(own.loss_curve_) == 24
    assert_same(own, other)


def test_all_parameters_have_the_names_and_defaults_of_scikit_learn():
    for own, other in (
        (MLPClassifier(), neural_network.MLPClassifier()),
        (MLPRegressor(), neural_network.MLPRegressor()),
    ):
        wanted = {name: value for name, value in other.get_params().items() if name != "max_fun"}  # of L-BFGS
        assert {name: value for name, value in own.get_params().items() if name in wanted} == wanted


def test_float32_differs_by_its_rounding(iris):
    x, y = iris
    single = MLPClassifier(max_iter=25, random_state=0, dtype="float32").fit(x, y)
    double = MLPClassifier(max_iter=25, random_state=0).fit(x, y)
    assert (single.model_.dtype, double.model_.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single.loss_curve_, double.loss_curve_, rtol=1e-5)


# ---------------------------------------------------------------------------------------------- parameters


def test_every_activation_may_be_named_and_each_layer_have_its_own(iris):
    classifier = MLPClassifier((8, 6), ["gelu", "logistic"], max_iter=2, random_state=0).fit(*iris)
    assert [layer.activation for layer in classifier.model_.layers] == ["gelu", "sigmoid", "softmax"]


def test_a_list_of_activations_must_fit_the_layers(iris):
    with pytest.raises(ValueError, match="activation has 1 values, but hidden_layer_sizes has 2 layers"):
        MLPClassifier((8, 6), ["gelu"]).fit(*iris)


def test_a_misspelt_activation_is_an_error(iris):
    with pytest.raises(ValueError, match="activation 'rlu' is unknown; did you mean 'relu'"):
        MLPClassifier(activation="rlu").fit(*iris)


@pytest.mark.parametrize("solver", ["adamw", "nadam", "adamax", "rmsprop", "lion"])
def test_other_optimizers_are_chosen_by_name(iris, solver):
    classifier = MLPClassifier(**QUICK | {"solver": solver}).fit(*iris)
    assert classifier.model_.optimizer.kernel_name in (solver, "adam")
    assert classifier.model_.optimizer.learning_rate == 0.02
    assert classifier.score(*iris) > 0.9


def test_a_copy_of_an_optimizer_is_used(iris):
    solver = optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), 0.9, clipnorm=1.0)
    classifier = MLPClassifier(**QUICK | {"solver": solver}).fit(*iris)
    assert classifier.score(*iris) > 0.9
    assert solver.iterations == 0
    assert classifier.model_.optimizer.iterations == 60


def test_lbfgs_is_refused_with_what_to_use(iris):
    with pytest.raises(ValueError, match=r"solver='lbfgs' is not there.*Use solver='adam'"):
        MLPClassifier(solver="lbfgs").fit(*iris)


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("hidden_layer_sizes", (3, 0), "hidden_layer_sizes must be whole numbers > 0"),
        ("hidden_layer_sizes", (3, 2.5), "hidden_layer_sizes must be whole numbers > 0"),
        ("alpha", -1.0, "'alpha' parameter"),
        ("batch_size", 0, "'batch_size' parameter"),
        ("learning_rate", "fast", "'learning_rate' parameter"),
        ("solver", "adm", "solver 'adm' is unknown; did you mean 'adam'"),
        ("dropout", [0.5, 0.5], "dropout has 2 values"),
        ("dropout", 1.0, "'dropout' parameter"),
        ("dtype", "float16", "'dtype' parameter"),
    ],
)
def test_wrong_parameters_are_named(iris, parameter, value, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier().set_params(**{parameter: value}).fit(*iris)


def test_a_batch_larger_than_the_data_is_clipped_with_a_warning(iris):
    with pytest.warns(UserWarning, match="batch_size=500 is larger than the 150 samples"):
        classifier = MLPClassifier(batch_size=500, max_iter=3).fit(*iris)
    assert classifier.model_.optimizer.iterations == 3


@pytest.mark.filterwarnings("error")
def test_an_end_before_convergence_is_a_warning(iris):
    for epochs in (1, 3):
        with pytest.warns(ConvergenceWarning, match=rf"Maximum iterations \({epochs}\) reached"):
            MLPClassifier(max_iter=epochs).fit(*iris)


@pytest.mark.filterwarnings("error")
def test_an_epoch_of_partial_fit_warns_of_nothing(iris):
    assert MLPClassifier(max_iter=1).partial_fit(*iris, classes=np.unique(iris[1])).n_iter_ == 1


@pytest.mark.filterwarnings("error")
def test_a_training_that_converges_warns_of_nothing(iris):
    assert MLPClassifier(**QUICK | {"max_iter": 500, "tol": 1e-2}).fit(*iris).n_iter_ < 500


def test_epochs_are_printed_on_demand(iris, capsys):
    MLPClassifier(max_iter=500, tol=0.1, n_iter_no_change=1, verbose=True, random_state=0).fit(*iris)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = ")
    assert lines[-1] == "Training loss did not improve more than tol=0.100000 for 1 consecutive epochs. Stopping."


def test_dropout_leaves_out_units_in_training_only(iris):
    plain = MLPClassifier(**QUICK).fit(*iris)
    dropped = MLPClassifier(**QUICK, dropout=0.4).fit(*iris)
    assert [layer.kind for layer in dropped.model_.layers] == ["dense", "dropout", "dense"]
    assert dropped.loss_ > plain.loss_
    np.testing.assert_array_equal(dropped.predict_proba(iris[0]), dropped.predict_proba(iris[0]))
    assert [w.shape for w in dropped.coefs_] == [(4, 16), (16, 3)]


def test_balanced_classes_weigh_the_same(iris):
    x, y = iris[0][50:115], iris[1][50:115]  # 50 of one class, 15 of another
    classifier = MLPClassifier(**QUICK, class_weight="balanced").fit(x, y)
    weights = np.where(y == "versicolor", 65 / 100, 65 / 30)
    np.testing.assert_array_equal(
        classifier.predict_proba(x), MLPClassifier(**QUICK).fit(x, y, weights).predict_proba(x)
    )


def test_weights_of_classes_and_samples_are_multiplied(iris):
    weights = np.random.default_rng(0).uniform(0.5, 2, 150)
    by_class = MLPClassifier(**QUICK, class_weight={"setosa": 3.0}).fit(*iris, sample_weight=weights)
    by_hand = MLPClassifier(**QUICK).fit(*iris, sample_weight=weights * np.where(iris[1] == "setosa", 3.0, 1.0))
    np.testing.assert_allclose(by_class.predict_proba(iris[0]), by_hand.predict_proba(iris[0]), rtol=1e-6)


def test_callbacks_watch_and_may_stop(iris):
    seen = []

    def stop(epoch, logs):
        seen.append(logs["loss"])
        callback.model.stop_training = epoch == 4

    callback = LambdaCallback(on_epoch_end=stop)
    classifier = MLPClassifier(callbacks=[callback], random_state=0).fit(*iris)
    assert classifier.n_iter_ == 5
    assert seen == classifier.loss_curve_


# ---------------------------------------------------------------------------------------------- interrupted trainings


class Interrupt(Callback):
    """Raises in front of a batch, counted over all epochs."""

    def __init__(self, batch):
        self.left = batch

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left < 0:
            raise InterruptedError


def told(estimator):
    """All that a training has left, with the bits of its weights."""
    names = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
    weights = [array.tobytes() for array in (*estimator.coefs_, *estimator.intercepts_)]
    return [getattr(estimator, name) for name in names], estimator.model_.optimizer.learning_rate, weights


RESUMED = {
    "adam": dict(dropout=0.2),
    "stopped early": dict(early_stopping=True, n_iter_no_change=3, max_iter=60),
    "adaptive": dict(solver="sgd", learning_rate="adaptive", tol=0.05, n_iter_no_change=1, nesterovs_momentum=False),
    "invscaling": dict(solver="sgd", learning_rate="invscaling", shuffle=False),
}


@pytest.mark.parametrize("save_freq", ["epoch", 1])
@pytest.mark.parametrize("name", RESUMED)
def test_interrupted_training_goes_on_with_the_same_bits(iris, tmp_path, name, save_freq):
    def made(*callbacks):
        settings = {"max_iter": 12, "random_state": 3, **RESUMED[name]}
        return MLPClassifier((8,), learning_rate_init=0.05, batch_size=32, callbacks=list(callbacks), **settings)

    backup = BackupAndRestore(tmp_path, save_freq=save_freq)
    for batch in (0, 13, 9):
        with pytest.raises(InterruptedError):
            made(backup, Interrupt(batch)).fit(*iris)
    assert told(made(backup).fit(*iris)) == told(made().fit(*iris))


def test_interrupted_warm_start_goes_on_with_the_same_bits(values, tmp_path):
    def begun():
        return MLPRegressor(hidden_layer_sizes=(8,), max_iter=4, random_state=3, batch_size=20, warm_start=True).fit(
            *values
        )

    whole, killed, resumed, backup = begun(), begun(), begun(), BackupAndRestore(tmp_path)
    with pytest.raises(InterruptedError):
        killed.set_params(callbacks=[backup, Interrupt(13)]).fit(*values)
    assert told(resumed.set_params(callbacks=[backup]).fit(*values)) == told(whole.fit(*values))
    assert len(resumed.loss_curve_) == 8


def test_interrupted_training_of_the_global_generator_goes_on_with_its_numbers(iris, tmp_path):
    def made(*callbacks):
        return MLPClassifier((8,), max_iter=6, batch_size=32, callbacks=list(callbacks))

    legacy = np.random.mtrand._rand
    legacy.seed(4)
    whole, after = made().fit(*iris), legacy.random_sample()
    legacy.seed(4)
    with pytest.raises(InterruptedError):
        made(BackupAndRestore(tmp_path), Interrupt(13)).fit(*iris)
    legacy.seed(5)
    assert told(made(BackupAndRestore(tmp_path)).fit(*iris)) == told(whole)
    assert legacy.random_sample() == after


def test_what_was_held_out_must_be_held_out_again(iris, tmp_path):
    classifier = MLPClassifier((8,), early_stopping=True, batch_size=32, callbacks=[BackupAndRestore(tmp_path)])
    with pytest.raises(InterruptedError):
        clone(classifier).set_params(callbacks=[BackupAndRestore(tmp_path), Interrupt(13)]).fit(*iris)
    with pytest.raises(ValueError, match=r"held out other samples for early_stopping; set random_state to a number"):
        classifier.fit(*iris)


def test_backup_of_another_number_of_samples_or_of_a_model_is_refused(iris, tmp_path):
    def made(*callbacks):
        return MLPClassifier((8,), max_iter=6, batch_size=32, random_state=1, callbacks=list(callbacks))

    with pytest.raises(InterruptedError):
        made(BackupAndRestore(tmp_path), Interrupt(13)).fit(*iris)
    with pytest.raises(ValueError, match=r"on 150 samples, but there are 120; give the same, or delete it"):
        made(BackupAndRestore(tmp_path)).fit(iris[0][:120], iris[1][:120])
    model = made().fit(*iris).model_
    with pytest.raises(ValueError, match=r"the state of the random generator can't be read"):
        model.fit(iris[0], np.arange(150) % 3, verbose=0, callbacks=[BackupAndRestore(tmp_path)])


# ---------------------------------------------------------------------------------------------- data


def test_labels_may_be_words(iris):
    classifier = MLPClassifier(**QUICK).fit(*iris)
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert set(classifier.predict(iris[0])) == set(classifier.classes_)
    assert classifier.score(*iris) > 0.95


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_columns_of_frames_are_known_by_name(iris, library):
    frames = pytest.importorskip(library)
    columns = ["a", "b", "c", "d"]
    frame = frames.DataFrame({name: iris[0][:, i] for i, name in enumerate(columns)})
    classifier = MLPClassifier(**QUICK).fit(frame, frames.Series(iris[1]))
    assert classifier.feature_names_in_.tolist() == columns
    np.testing.assert_array_equal(classifier.predict(frame), MLPClassifier(**QUICK).fit(*iris).predict(iris[0]))
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame[["b", "a", "c", "d"]])


def test_categories_of_pandas_are_labels(iris):
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series(iris[1], dtype="category")
    np.testing.assert_array_equal(
        MLPClassifier(**QUICK).fit(iris[0], labels).predict(iris[0]), MLPClassifier(**QUICK).fit(*iris).predict(iris[0])
    )


@pytest.mark.parametrize("form", ["csr_array", "csr_matrix", "csc_array", "coo_array"])
def test_sparse_samples_give_what_dense_ones_do(form):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 300)) * (rng.random((120, 300)) < 0.03)
    y = (x[:, :20].sum(axis=1) > 0).astype(int)
    made = getattr(scipy_sparse, form)(x)
    options = dict(max_iter=8, random_state=0, early_stopping=True, tol=0.0)
    sparse, dense = MLPClassifier(**options).fit(made, y), MLPClassifier(**options).fit(x, y)
    np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(sparse.predict_proba(made), dense.predict_proba(x), rtol=1e-10)
    assert sparse.score(made, y) == dense.score(x, y)


def test_sparse_samples_take_the_room_of_what_is_not_zero():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    n, k = 2000, 100_000  # 800 MB of float32
    rng = np.random.default_rng(0)
    x = scipy_sparse.csr_array((np.ones(20 * n, np.float32), rng.integers(0, k, 20 * n), np.arange(0, 20 * n + 1, 20)),
                               (n, k))  # fmt: skip
    classifier = MLPClassifier((4,), max_iter=1, random_state=0)
    tracemalloc.start()
    classifier.fit(x, np.arange(n) % 2).predict(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6


def test_bytes_are_read_as_they_are():
    x = np.random.default_rng(0).integers(0, 255, (60, 12)).astype(np.uint8)
    classifier = MLPClassifier(max_iter=3, random_state=0).fit(x, x[:, 0] > 128)
    assert classifier.model_.dtype == np.float32
    assert classifier.predict_proba(x).dtype == np.float32


def test_integers_are_computed_with_in_float64_as_in_scikit_learn():
    x = np.random.default_rng(0).integers(0, 9, (60, 12))
    assert MLPClassifier(max_iter=3).fit(x, x[:, 0] > 4).predict_proba(x).dtype == np.float64


def test_several_values_have_a_column_each(values):
    x, y = values
    regressor = MLPRegressor(**QUICK | {"max_iter": 300}).fit(x, y)
    assert regressor.predict(x).shape == (90, 3)
    assert regressor.score(x, y) > 0.99
    assert MLPRegressor(**QUICK).fit(x, y[:, 0]).predict(x).shape == (90,)


def test_counts_below_zero_are_an_error(values):
    with pytest.raises(ValueError, match="loss='poisson' is for counts, y >= 0"):
        MLPRegressor("poisson").fit(values[0], values[1][:, 0])


def test_values_that_are_too_large_are_an_error_that_says_so(values):
    regressor = MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0, max_iter=50)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        regressor.fit(values[0] * 1e6, values[1] * 1e6)


def test_labels_that_are_no_class_are_an_error(iris):
    classifier = MLPClassifier().partial_fit(iris[0], iris[1], classes=np.unique(iris[1]))
    with pytest.raises(ValueError, match="classes"):
        classifier.partial_fit(iris[0], np.full(150, "rose"))


def test_partial_fit_needs_the_classes_first(iris):
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        MLPClassifier().partial_fit(*iris)


def test_partial_fit_has_no_early_stopping(iris):
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        MLPClassifier(early_stopping=True).partial_fit(*iris, classes=np.unique(iris[1]))


def test_a_warm_start_can_not_change_the_layers(iris):
    classifier = MLPClassifier(**QUICK, warm_start=True).fit(*iris)
    with pytest.raises(ValueError, match=r"is of a network with \[16\]; set warm_start=False"):
        classifier.set_params(hidden_layer_sizes=(5,)).fit(*iris)


@pytest.mark.parametrize("parameter", [{"activation": "tanh"}, {"dropout": 0.3}, {"early_stopping": True}])
def test_what_a_training_that_goes_on_can_not_change_is_named(iris, parameter):
    classifier = MLPClassifier(**QUICK, warm_start=True).fit(*iris)
    with pytest.raises(ValueError, match=f"{next(iter(parameter))} is .*set warm_start=False to begin anew"):
        classifier.set_params(**parameter).fit(*iris)


@pytest.mark.parametrize("alphas", [(0.1, 5.0), (0.0, 0.1), (0.1, 0.0)])
def test_a_warm_start_may_have_another_penalty_as_in_scikit_learn(iris, alphas):
    own, other = (
        cls(max_iter=5, random_state=0, warm_start=True) for cls in (MLPClassifier, neural_network.MLPClassifier)
    )
    for alpha in alphas:
        own.set_params(alpha=alpha).fit(*iris)
        other.set_params(alpha=alpha).fit(*iris)
    assert_same(own, other)


def test_partial_fit_may_have_another_penalty_as_in_scikit_learn(iris):
    own, other = MLPClassifier(random_state=0), neural_network.MLPClassifier(random_state=0)
    for alpha in (0.1, 5.0, 2.0):
        for estimator in (own, other):
            estimator.set_params(alpha=alpha).partial_fit(*iris, classes=np.unique(iris[1]))
    assert_same(own, other)
    with pytest.raises(ValueError, match="alpha can't become 0"):
        own.set_params(alpha=0.0).partial_fit(*iris)


def test_sure_answers_have_a_logarithm(iris):
    classifier = MLPClassifier(**QUICK).fit(*iris)
    classifier.coefs_[-1][...] *= 1e6
    logarithms = classifier.predict_log_proba(iris[0])
    assert logarithms.max() == 0
    assert np.isneginf(logarithms).any()


# ---------------------------------------------------------------------------------------------- the trained network


def test_coefs_are_the_weights_of_the_network(iris):
    classifier = MLPClassifier(**QUICK).fit(*iris)
    classifier.coefs_[1][...] = 0
    classifier.intercepts_[1][...] = np.log([1, 2, 5])
    np.testing.assert_allclose(classifier.predict_proba(iris[0]), np.tile([1 / 8, 2 / 8, 5 / 8], (150, 1)), rtol=1e-12)


def test_the_network_can_be_saved(iris, tmp_path):
    classifier = MLPClassifier(**QUICK).fit(*iris)
    classifier.model_.save(tmp_path / "iris.safetensors")
    again = fastmlp.models.load_model(tmp_path / "iris.safetensors")
    np.testing.assert_array_equal(again.predict(iris[0]), classifier.predict_proba(iris[0]))


def test_before_fit_there_is_no_network(iris):
    for name in ("coefs_", "intercepts_"):
        assert not hasattr(MLPClassifier(), name)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(iris[0])


def test_the_same_seed_gives_the_same_bits(iris):
    one, two = (MLPClassifier(**QUICK, dropout=0.2).fit(*iris) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(iris[0]), two.predict_proba(iris[0]))


def test_training_draws_nothing_from_the_generator_of_fastmlp(iris):
    before = fastmlp.random.state()
    MLPClassifier(**QUICK, dropout=0.2).fit(*iris)
    np.testing.assert_array_equal(fastmlp.random.state(), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda estimator: pickle.loads(pickle.dumps(estimator))])
def test_a_copy_goes_on_with_the_same_bits(iris, copied):
    classifier = MLPClassifier(random_state=0).partial_fit(*iris, classes=np.unique(iris[1]))
    again = copied(classifier)
    for one in (classifier, again):
        one.partial_fit(*iris)
    np.testing.assert_array_equal(classifier.predict_proba(iris[0]), again.predict_proba(iris[0]))
    assert again.loss_curve_ == classifier.loss_curve_


def test_a_clone_has_the_parameters_alone(iris):
    classifier = MLPClassifier(**QUICK, activation=["gelu"], solver=optimizers.Adam(0.01)).fit(*iris)
    made = clone(classifier)
    assert not hasattr(made, "model_")
    assert made.get_params()["activation"] == ["gelu"]
    assert made.fit(*iris).score(*iris) > 0.9


def test_it_is_shown_in_notebooks():
    assert "MLPClassifier" in MLPClassifier(hidden_layer_sizes=(5,))._repr_html_()
    assert repr(MLPClassifier(hidden_layer_sizes=(5,))) == "MLPClassifier(hidden_layer_sizes=(5,))"


# ---------------------------------------------------------------------------------------------- with other tools


def test_it_is_searched_for_in_a_pipeline_by_two_processes(iris):
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**QUICK))
    grid = {"mlpclassifier__hidden_layer_sizes": [(4,), (16,)], "mlpclassifier__alpha": [1e-4, 100.0]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(*iris)
    assert search.best_params_["mlpclassifier__alpha"] == 1e-4
    assert search.best_score_ > 0.9
    again = GridSearchCV(pipeline, grid, cv=3).fit(*iris)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])


def test_predictions_are_made_across_folds(iris):
    predicted = cross_val_predict(MLPClassifier(**QUICK), *iris, cv=3, method="predict_proba")
    assert (np.unique(iris[1])[predicted.argmax(axis=1)] == iris[1]).mean() > 0.9


def test_weights_are_routed_to_it_when_asked_for(iris):
    weights = np.where(iris[1] == "setosa", 1.0, 1e-6)  # what has next to no weight isn't learnt
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = MLPClassifier(**QUICK).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        found = cross_validate(
            classifier, *iris, params={"sample_weight": weights}, cv=3, return_estimator=True, error_score="raise"
        )
    for fitted in found["estimator"]:
        assert fitted.predict_proba(iris[0])[:, 0].mean() > 0.6


def test_its_probabilities_are_calibrated(iris):
    calibrated = CalibratedClassifierCV(MLPClassifier(**QUICK), cv=3).fit(*iris)
    np.testing.assert_allclose(calibrated.predict_proba(iris[0]).sum(axis=1), 1)
    assert calibrated.score(*iris) > 0.9


def test_what_matters_is_found_by_permutation(values):
    x = values[0]
    regressor = MLPRegressor(**QUICK | {"max_iter": 300}).fit(x, x[:, 2])
    assert permutation_importance(regressor, x, x[:, 2], random_state=0).importances_mean.argmax() == 2


def test_it_votes_with_others(iris):
    members = [("mlp", MLPClassifier(**QUICK)), ("linear", LogisticRegression())]
    voting = VotingClassifier(members, voting="soft").fit(*iris)
    parts = [member.predict_proba(iris[0]) for member in voting.estimators_]
    np.testing.assert_allclose(voting.predict_proba(iris[0]), np.mean(parts, axis=0))
    assert voting.score(*iris) > 0.9


def test_it_is_kept_by_joblib(iris, tmp_path):
    joblib = pytest.importorskip("joblib")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**QUICK)).fit(*iris)
    joblib.dump(pipeline, tmp_path / "pipeline.joblib", compress=3)
    again = joblib.load(tmp_path / "pipeline.joblib")
    np.testing.assert_array_equal(again.predict_proba(iris[0]), pipeline.predict_proba(iris[0]))


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_fastmlp_itself_does_not_import_scikit_learn():
    assert run("import fastmlp, sys; print('sklearn' in sys.modules)").stdout == "False\n"


def test_without_scikit_learn_the_error_says_what_to_install():
    done = run("import sys; sys.modules['sklearn'] = None; import fastmlp.sklearn")
    assert 'ImportError: fastmlp.sklearn needs scikit-learn 1.6 or later: pip install "fastmlp[sklearn]"' in done.stderr


def test_an_old_scikit_learn_is_named():
    done = run("import sklearn; sklearn.__version__ = '1.5.2'; import fastmlp.sklearn")
    assert "needs scikit-learn 1.6 or later, here is 1.5.2" in done.stderr


@pytest.mark.parametrize("where", ["X", "y"])
def test_whole_numbers_beyond_those_of_floats_are_refused(where):
    data = {"X": np.ones((4, 2), object), "y": np.ones(4, object)}
    data[where].flat[0] = 10**400
    with pytest.raises(ValueError, match="a number beyond those of floats"):
        MLPRegressor(hidden_layer_sizes=3, max_iter=1).fit(**data)
