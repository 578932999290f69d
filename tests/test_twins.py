"""The plain versions in twins.py against real Keras on JAX, in float32."""

import os

import numpy as np
import pytest
import twins

os.environ.setdefault("KERAS_BACKEND", "jax")
jax = pytest.importorskip("jax", reason="pip install 'fastmlp[keras]'")
keras = pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")
if keras.backend.backend() != "jax":
    pytest.skip("subgradients are those of Keras on JAX", allow_module_level=True)

# Keras's variables don't take NumPy's copy argument yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EPS = np.float32(1e-7)
TOP = np.float32(1 - 1e-7)


def close(ours, theirs, rtol=1e-5, atol=1e-6):
    theirs = np.asarray(theirs)
    assert np.shape(ours) == theirs.shape
    assert np.asarray(ours).dtype == np.float64
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def f32(values):
    return np.array(values, np.float32)


def normal(*shape, seed=0, scale=1.0):
    return f32(np.random.default_rng(seed).standard_normal(shape) * scale)


def wide(x):
    return x.astype(np.float64)


def gradient(function, *arrays):
    """JAX's gradient of the function's sum by the first array."""
    return jax.grad(lambda first: keras.ops.sum(function(first, *arrays[1:])))(jax.numpy.asarray(arrays[0]))


def case_id(case):
    name, numbers = case
    return "-".join([name, *(f"{k}={v}" for k, v in numbers.items())])


def cases(table):
    return [pytest.param(*case, id=case_id(case)) for case in table]


# ---------------------------------------------------------------------------------------------- activations

ACTIVATIONS = [
    *(
        (name, {})
        for name in ("linear", "sigmoid", "hard_sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "selu")
    ),
    *((name, {}) for name in ("gelu", "silu", "mish", "softplus", "softsign", "exponential")),
    ("gelu", {"approximate": True}),
    ("elu", {"alpha": 0.5}),
    ("leaky_relu", {"negative_slope": 0.01}),
    ("relu", {"max_value": 3.0}),
    ("relu", {"max_value": 6.0}),
    ("relu", {"max_value": 0.0}),
    ("relu", {"threshold": 1.0}),
    ("relu", {"threshold": -1.0}),
    ("relu", {"threshold": 1.0, "max_value": 3.0}),
    ("relu", {"threshold": -1.0, "max_value": 3.0}),
    ("relu", {"threshold": 1.0, "max_value": 6.0}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"negative_slope": 0.1, "max_value": 3.0}),
    ("relu", {"negative_slope": 0.1, "max_value": 6.0}),
    ("relu", {"negative_slope": 0.1, "threshold": 1.0}),
    ("relu", {"negative_slope": 0.1, "threshold": -1.0, "max_value": 3.0}),
]
KINKS = f32([0.0, -0.0, 1, -1, 3, -3, 6, -6, 1e-7, -1e-7, 20, -20, 3.0001, 2.9999])
Z = np.concatenate([KINKS, normal(50, scale=3.0)])


@pytest.mark.parametrize(("name", "numbers"), cases(ACTIVATIONS))
def test_activation_and_slope(name, numbers):
    theirs = getattr(keras.activations, name)
    close(getattr(twins, name)(wide(Z), **numbers), theirs(Z, **numbers))
    slope = gradient(lambda z: theirs(z, **numbers), Z)
    close(getattr(twins, f"{name}_slope")(wide(Z), **numbers), slope)


def test_step_is_one_above_zero():
    np.testing.assert_array_equal(twins.step(f32([-1, -0.0, 0, 1e-30, 1])), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(twins.step_slope(np.zeros(3)), np.zeros(3))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_activation_of_rows(name):
    theirs = getattr(keras.activations, name)
    z = np.concatenate([normal(6, 5, scale=3.0), f32([[0, 0, 0, 0, 0], [100, 0, -100, 100, 1], [-1e4, 0, 0, 0, 1e4]])])
    delta = normal(*z.shape, seed=1)
    a = getattr(twins, name)(wide(z))
    close(a, theirs(z))
    close(getattr(twins, f"{name}_backward")(a, wide(delta)), gradient(lambda z: theirs(z) * delta, z))


def test_prelu():
    z, alpha = f32([[0, -0.0, 1], [-2, 3, 0], *normal(5, 3)]), f32([0.3, -0.2, 0])
    delta = wide(normal(7, 3, seed=1))
    layer = keras.layers.PReLU()

    def theirs(alpha, z):
        return layer.stateless_call([alpha], [], z)[0] * f32(delta)

    layer.build(z.shape)
    close(twins.prelu(wide(z), alpha) * delta, theirs(alpha, z))
    close(twins.prelu_slope(wide(z), alpha) * delta, gradient(lambda z: theirs(alpha, z), z))
    close(twins.prelu_gradient(wide(z), delta), gradient(theirs, alpha, z))


# ---------------------------------------------------------------------------------------------- losses


def values(kind):
    """Outputs and targets with the kind's edges."""
    rng = np.random.default_rng(7)
    if kind == "any":
        edges = f32([[0, 1, -1, 0.5], [1, 0, 3, -2], [0, 0, 0, 1]]), f32([[0, 0, 0, 1], [1, 1, 1, 1], [1, -1, 0.25, 0]])
        a, y = normal(6, 4, scale=2.0), normal(6, 4, seed=1)
    elif kind == "positive":
        edges = (
            f32([[0, EPS, -1, 2e-7], [0, EPS, 1, 1.5], [1, 1, 0, 0.5]]),
            f32([[1] * 4, [0.3, 0.3, 0.3, 0], [0, 1, 0, 2]]),
        )
        a, y = rng.random((6, 4)), rng.random((6, 4)) * 2
    elif kind in ("signs", "bits"):
        edges = f32([[1, -1, 1.5, 0.5], [1, 1, -1, -1], [0, 0, 0, 0]]), f32([[1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]])
        a, y = normal(6, 4), rng.integers(0, 2, (6, 4))
        if kind == "signs":
            edges, y = (edges[0], 2 * edges[1] - 1), 2 * y - 1
    elif kind == "binary":
        edges = (
            f32([[0, EPS, TOP, 1], [0, EPS, TOP, 1], [0.5, 2e-7, 0.25, 1], [1.5, -0.5, 1.5, -0.5]]),
            f32([[1] * 4, [0] * 4, [0, 1, 0, 1], [0, 1, 1, 0]]),
        )
        a, y = rng.random((6, 4)), rng.integers(0, 2, (6, 4))
    elif kind == "logits":
        edges = f32([[30, -30, 0, 5], [30, -30, 0, 5]]), f32([[1] * 4, [0] * 4])
        a, y = normal(6, 4, scale=2.0), rng.integers(0, 2, (6, 4))
    else:
        y = np.eye(4)[rng.integers(0, 4, 6)]
        if kind == "scores":  # logits of classes
            edges = f32([[30, -30, 0, 5], [30, 0, 0, 0], [1, 1, 1, 1]]), np.eye(4)[[1, 0, 2]]
            a = normal(6, 4, scale=2.0)
        else:  # shares; the last two rows lie on a limit, exactly
            half = np.float32(0.5) - np.float32(2**-23)
            on_limit = [[EPS, np.float32(2**-23) - EPS, half, 0.5], [TOP, np.float32(1) - TOP, 0, 0]]
            edges = f32([[0, 1, 0, 0], [0, 1, 0, 0], [0.2, 0.2, 0.3, 0.1], *on_limit]), np.eye(4)[[0, 1, 2, 0, 0]]
            a = np.exp(normal(6, 4))
            a /= a.sum(axis=1, keepdims=True)
    return f32(np.concatenate([edges[0], a])), f32(np.concatenate([edges[1], y]))


FOCAL = {"alpha": 0.4, "gamma": 3.0}
LOSSES = [
    ("mean_squared_error", {}, "any"),
    ("mean_absolute_error", {}, "any"),
    ("mean_absolute_percentage_error", {}, "any"),
    ("mean_squared_logarithmic_error", {}, "positive"),
    ("huber", {}, "any"),
    ("huber", {"delta": 0.5}, "any"),
    ("log_cosh", {}, "any"),
    ("poisson", {}, "bits"),
    ("kl_divergence", {}, "positive"),
    ("hinge", {}, "bits"),
    ("hinge", {}, "signs"),
    ("hinge", {}, "any"),
    ("squared_hinge", {}, "bits"),
    ("squared_hinge", {}, "signs"),
    ("squared_hinge", {}, "any"),
    ("categorical_hinge", {}, "shares"),
    ("categorical_hinge", {}, "signs"),
    ("categorical_hinge", {}, "scores"),
    ("cosine_similarity", {}, "any"),
    *(("binary_crossentropy", {"label_smoothing": s}, "binary") for s in (0.0, 0.1)),
    *(("binary_crossentropy", {"from_logits": True, "label_smoothing": s}, "logits") for s in (0.0, 0.1)),
    *(("categorical_crossentropy", {"label_smoothing": s}, "shares") for s in (0.0, 0.1)),
    *(("categorical_crossentropy", {"from_logits": True, "label_smoothing": s}, "scores") for s in (0.0, 0.1)),
    ("sparse_categorical_crossentropy", {}, "shares"),
    ("sparse_categorical_crossentropy", {"from_logits": True}, "scores"),
    ("binary_focal_crossentropy", {}, "binary"),
    ("binary_focal_crossentropy", {"gamma": 1.0}, "binary"),
    ("binary_focal_crossentropy", {"label_smoothing": 0.1, "apply_class_balancing": True, **FOCAL}, "binary"),
    ("binary_focal_crossentropy", {"from_logits": True}, "logits"),
    (
        "binary_focal_crossentropy",
        {"from_logits": True, "label_smoothing": 0.1, "apply_class_balancing": True},
        "logits",
    ),
    ("categorical_focal_crossentropy", {}, "shares"),
    ("categorical_focal_crossentropy", {"label_smoothing": 0.1, **FOCAL}, "shares"),
    ("categorical_focal_crossentropy", {"from_logits": True}, "scores"),
    ("categorical_focal_crossentropy", {"from_logits": True, "label_smoothing": 0.1, **FOCAL}, "scores"),
]
LOSS_CASES = [pytest.param(*case, id=f"{case_id(case[:2])}-{case[2]}") for case in LOSSES]


def loss_data(name, kind):
    a, y = values(kind)
    if name == "poisson":
        a, y = np.abs(a), np.abs(y)
        a[0] = EPS
    if name == "sparse_categorical_crossentropy":
        y = np.append(y[:-1].argmax(axis=1), 9)  # the last label is outside
    return a, y


@pytest.mark.parametrize(("name", "numbers", "kind"), LOSS_CASES)
def test_loss_and_gradient(name, numbers, kind):
    a, y = loss_data(name, kind)
    theirs = getattr(keras.losses, name)
    close(getattr(twins, name)(a, y, **numbers), theirs(y, a, **numbers))
    exact = gradient(lambda a: theirs(y, a, **numbers), a)
    close(getattr(twins, f"{name}_gradient")(a, y, **numbers), exact)


@pytest.mark.parametrize(("name", "numbers", "kind"), LOSS_CASES)
def test_gradient_is_the_difference_quotient(name, numbers, kind):
    a, y = (x[-5:] for x in loss_data(name, kind))  # no edges
    if y.ndim == 1:
        y = np.maximum(y, 0)
    a, h = wide(a), 1e-6
    quotient = np.empty_like(a)
    loss = getattr(twins, name)
    for column in range(a.shape[1]):
        move = h * np.eye(a.shape[1])[column]
        quotient[:, column] = (loss(a + move, y, **numbers) - loss(a - move, y, **numbers)) / (2 * h)
    np.testing.assert_allclose(
        getattr(twins, f"{name}_gradient")(a, y, **numbers), quotient, rtol=1e-6, atol=1e-7 * np.abs(quotient).max()
    )


def test_hinge_takes_0_and_1_for_signs_only_if_all_are():
    a, y = f32([[0.5, -0.5]]), f32([[0, 1]])
    for name in ("hinge", "squared_hinge"):
        for targets in (y, 2 * y - 1, f32([[0, 2]])):
            close(getattr(twins, name)(a, targets), getattr(keras.losses, name)(targets, a))
    assert twins.hinge(a, y) == twins.hinge(a, 2 * y - 1)


def test_short_vectors_in_cosine_similarity():
    y = f32([[3, 4], [3, 4], [0, 0]])
    a = f32([[1e-9, 2e-9], [2e-5, 1e-5], [1, 2]])
    close(twins.cosine_similarity(a, y), keras.losses.cosine_similarity(y, jax.numpy.asarray(a)))
    close(
        twins.cosine_similarity_gradient(a, y),
        gradient(lambda a: keras.losses.cosine_similarity(jax.numpy.asarray(y), a), a),
    )


def test_gradients_that_keras_leaves_undefined_are_finite():
    zero, y = f32([[0, 0]]), f32([[3, 4]])
    assert np.isnan(gradient(lambda a: keras.losses.cosine_similarity(jax.numpy.asarray(y), a), zero)).all()
    np.testing.assert_allclose(twins.cosine_similarity_gradient(zero, y), [[-6e6, -8e6]])
    a, y = f32([[0, 1]]), f32([[0, 1]])
    for gamma in (0.0, 0.5):
        assert np.isnan(gradient(lambda a, g=gamma: keras.losses.binary_focal_crossentropy(y, a, gamma=g), a)).all()
        np.testing.assert_array_equal(twins.binary_focal_crossentropy_gradient(a, y, gamma=gamma), [[0, 0]])
    w = f32([[0, 0], [1, 2]])
    assert np.isnan(gradient(keras.regularizers.OrthogonalRegularizer(), w)).any()
    assert np.isfinite(twins.orthogonal_gradient(w)).all()


# ---------------------------------------------------------------------------------------------- metrics


def metric(name, a, y, sample_weight=None, **numbers):
    """Keras's, fed in two parts."""
    measured = getattr(keras.metrics, name)(**numbers)
    for part in (slice(0, 10), slice(10, None)):
        measured.update_state(y[part], a[part], None if sample_weight is None else sample_weight[part])
    return np.asarray(measured.result())


def outputs(kind, n=33, m=6):
    rng = np.random.default_rng(11)
    labels = rng.integers(0, m, n)
    labels[:m] = np.arange(m)
    if kind == "regression":
        return normal(n, m), normal(n, m, seed=1)
    # Many ties, and values at thresholds: eighths, and multiples of 1/199
    a = np.where(rng.random((n, m)) < 0.5, rng.integers(0, 9, (n, m)) / 8, rng.integers(0, 200, (n, m)) / 199)
    a = f32(np.where(rng.random((n, m)) < 0.3, rng.random((n, m)), a))
    a[:3] = f32([[0] * m, [1] * m, [1.5, -0.5, 0.5, 0.25, 0.75, 0.1]])
    bits = f32(rng.integers(0, 2, (n, m)))
    return a, {"bits": bits, "one_hot": np.eye(m, dtype=np.float32)[labels], "labels": labels}[kind]


WEIGHTS = f32(np.random.default_rng(13).integers(0, 4, 33) / 2)
THRESHOLDS = [None, 0.25, [0.25, 0.75], [0.0, 0.5, 1.0], [0.1, 0.2, 0.7, 1.0]]
COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")
METRICS = [
    *(("binary_accuracy", "BinaryAccuracy", {"threshold": t}, "bits") for t in (0.5, 0.3)),
    ("categorical_accuracy", "CategoricalAccuracy", {}, "one_hot"),
    ("sparse_categorical_accuracy", "SparseCategoricalAccuracy", {}, "labels"),
    *(("top_k_categorical_accuracy", "TopKCategoricalAccuracy", {"k": k}, "one_hot") for k in (1, 3, 5)),
    *(("sparse_top_k_categorical_accuracy", "SparseTopKCategoricalAccuracy", {"k": k}, "labels") for k in (1, 3, 5)),
    *((n, n.title().replace("_", ""), {"thresholds": t}, "bits") for n in COUNTS for t in THRESHOLDS),
    *((n, n.title(), {"thresholds": t}, "bits") for n in ("precision", "recall") for t in THRESHOLDS),
    *((n, n.title(), {"top_k": k, **more}, "one_hot") for n in ("precision", "recall") for k in (1, 3)
      for more in ({}, {"class_id": 2}, {"thresholds": 0.5})),
    *((n, n.title(), {"class_id": 2}, "one_hot") for n in ("precision", "recall")),
    *(("f1_score", "F1Score", {"average": v, "threshold": t}, k) for v in (None, "micro", "macro", "weighted")
      for t, k in ((None, "one_hot"), (0.5, "bits"))),
    *(("fbeta_score", "FBetaScore", {"average": v, "beta": 2.0}, "one_hot") for v in (None, "micro", "weighted")),
    *(("auc", "AUC", {"curve": c, "summation_method": s}, "bits") for c in ("ROC", "PR")
      for s in ("interpolation", "minoring", "majoring")),
    *(("auc", "AUC", {"curve": c, "num_thresholds": t}, "bits") for c in ("ROC", "PR") for t in (2, 9)),
    *(("r2_score", "R2Score", {"class_aggregation": g}, "regression")
      for g in ("uniform_average", "variance_weighted_average", None)),
    ("r2_score", "R2Score", {"num_regressors": 3}, "regression"),
    ("root_mean_squared_error", "RootMeanSquaredError", {}, "regression"),
    ("cosine_similarity_metric", "CosineSimilarity", {}, "regression"),
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "theirs", "numbers", "kind"), [pytest.param(*m, id=f"{case_id((m[0], m[2]))}") for m in METRICS]
)
def test_metric(name, theirs, numbers, kind, weighted):
    a, y = outputs(kind)
    weight = WEIGHTS if weighted else None
    close(np.float64(getattr(twins, name)(a, y, weight, **numbers)), metric(theirs, a, y, weight, **numbers))


LOSS_METRICS = {
    "mean_squared_error": ("MeanSquaredError", "regression"),
    "mean_absolute_error": ("MeanAbsoluteError", "regression"),
    "mean_absolute_percentage_error": ("MeanAbsolutePercentageError", "regression"),
    "mean_squared_logarithmic_error": ("MeanSquaredLogarithmicError", "regression"),
    "log_cosh": ("LogCoshError", "regression"),
    "hinge": ("Hinge", "bits"),
    "squared_hinge": ("SquaredHinge", "bits"),
    "categorical_hinge": ("CategoricalHinge", "one_hot"),
    "kl_divergence": ("KLDivergence", "bits"),
    "poisson": ("Poisson", "bits"),
    "binary_crossentropy": ("BinaryCrossentropy", "bits"),
    "categorical_crossentropy": ("CategoricalCrossentropy", "one_hot"),
    "sparse_categorical_crossentropy": ("SparseCategoricalCrossentropy", "labels"),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name", [*LOSS_METRICS, "huber", "binary_focal_crossentropy", "categorical_focal_crossentropy"]
)
def test_metric_of_a_loss(name, weighted):
    theirs, kind = LOSS_METRICS.get(name, (None, "one_hot"))
    a, y = outputs(kind)
    a = np.abs(a) + np.float32(0.01)
    weight = WEIGHTS if weighted else None
    numbers = {} if theirs else {"fn": getattr(keras.losses, name)}
    close(twins.mean_metric(name, a, y, weight), metric(theirs or "MeanMetricWrapper", a, y, weight, **numbers))


def test_metric_of_no_weight_is_0():
    a, y = outputs("bits")
    assert twins.mean_metric("hinge", a, y, 0 * WEIGHTS) == metric("Hinge", a, y, 0 * WEIGHTS) == 0


def test_r2_of_constant_targets_is_0():
    a, y = outputs("regression")
    y = 0 * y + 2
    close(np.float64(twins.r2_score(a, y)), metric("R2Score", a, y))


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # by Keras itself
def test_confusion_matrix():
    from keras.src.metrics.metrics_utils import confusion_matrix

    labels, predicted = np.random.default_rng(0).integers(0, 4, (2, 50), np.int32)
    np.testing.assert_array_equal(
        twins.confusion_matrix(labels, predicted, 5), np.asarray(confusion_matrix(labels, predicted, 5))
    )


# ---------------------------------------------------------------------------------------------- optimizers

CLASSES = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "Nadam",
    "adamax": "Adamax",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "lion": "Lion",
}
EMA = {"use_ema": True, "ema_momentum": 0.7}
OPTIMIZERS = [
    *((name, {}, {}) for name in CLASSES),
    *((name, {"learning_rate": 0.1}, {"weight_decay": 0.05}) for name in CLASSES if name != "adamw"),
    *((name, {"learning_rate": 0.1}, {"gradient_accumulation_steps": 3, **EMA}) for name in CLASSES),
    ("sgd", {"momentum": 0.9}, {}),
    ("sgd", {"momentum": 0.9, "nesterov": True}, {}),
    ("sgd", {"nesterov": True}, {}),
    ("adam", {"amsgrad": True, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01}, {}),
    ("adamw", {"weight_decay": 0.1, "learning_rate": 0.1, "amsgrad": True}, {"clipnorm": 1.0}),
    ("nadam", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01}, {}),
    ("adamax", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 0.01}, {}),
    ("rmsprop", {"rho": 0.8, "momentum": 0.5, "epsilon": 0.01, "centered": True}, {}),
    ("rmsprop", {"centered": True}, {}),
    ("rmsprop", {"momentum": 0.5, "learning_rate": 0.1}, {"weight_decay": 0.1}),
    ("adagrad", {"initial_accumulator_value": 0.0, "epsilon": 0.01}, {}),
    ("adadelta", {"learning_rate": 1.0, "rho": 0.8}, {}),
    ("lion", {"beta_1": 0.8, "beta_2": 0.9}, {}),
    ("sgd", {"momentum": 0.9}, {"clipnorm": 0.5, "weight_decay": 0.1}),
    ("sgd", {}, {"clipnorm": 100.0}),
    ("sgd", {"learning_rate": 0.1}, {"clipvalue": 0.3}),
    ("sgd", {"learning_rate": 0.1}, {"global_clipnorm": 0.5}),
    ("sgd", {"learning_rate": 0.1}, {"global_clipnorm": 100.0}),
    ("sgd", {"learning_rate": 0.1}, EMA),
    ("sgd", {"learning_rate": 0.1}, {**EMA, "ema_overwrite_frequency": 3}),
    ("adam", {"learning_rate": 0.1}, {**EMA, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}),
    ("adam", {"learning_rate": 0.1}, {"gradient_accumulation_steps": 2, "weight_decay": 0.1, "global_clipnorm": 0.1}),
    ("sgd", {"momentum": 0.5, "learning_rate": 0.1}, {"gradient_accumulation_steps": 4, "clipnorm": 0.2}),
    ("sgd", {"learning_rate": (0.1, 2, 0.5)}, {"weight_decay": 0.1}),
    ("adam", {"learning_rate": (0.1, 2, 0.5)}, {"gradient_accumulation_steps": 3}),
    ("sgd", {"learning_rate": 0.1}, {"constraints": ("non_neg", "max_norm"), **EMA}),
    ("sgd", {"learning_rate": 0.1}, {"constraints": ("unit_norm", None), "gradient_accumulation_steps": 4}),
    ("sgd", {"learning_rate": 0.1}, {"constraints": ("unit_norm", None), "ema_overwrite_frequency": 2, **EMA}),
]


def decayed(rate, steps, factor):
    """An exponential decay, here and in Keras."""
    return (
        lambda calls: rate * factor ** (calls / steps),
        keras.optimizers.schedules.ExponentialDecay(rate, steps, factor),
    )


@pytest.mark.parametrize(
    ("name", "numbers", "features"),
    [pytest.param(*o, id="-".join([case_id(o[:2]), *(f"{k}={v}" for k, v in o[2].items())])) for o in OPTIMIZERS],
)
def test_ten_steps_on_two_variables(name, numbers, features):
    weights = [normal(3, 4), normal(4, seed=1)]
    constraints = features.get("constraints", (None, None))
    known = {k: v for k, v in features.items() if k != "constraints"}
    numbers, their_numbers = dict(numbers), dict(numbers)
    if isinstance(numbers.get("learning_rate"), tuple):
        numbers["learning_rate"], their_numbers["learning_rate"] = decayed(*numbers["learning_rate"])
    theirs = getattr(keras.optimizers, CLASSES[name])(**their_numbers, **known)
    ours = twins.Optimizer(
        name, numbers, {**known, "constraints": [getattr(twins, c) if c else None for c in constraints]}
    )
    variables = [keras.Variable(w) for w in weights]
    for variable, constraint in zip(variables, constraints):
        variable.constraint = keras.constraints.get(constraint)
    rng = np.random.default_rng(3)
    for _ in range(10):
        gradients = [f32(rng.standard_normal(w.shape)) for w in weights]
        gradients[1][0] = 0  # never moves by itself
        theirs.apply([jax.numpy.asarray(g) for g in gradients], variables)
        weights = ours.apply(weights, gradients)
        for w, variable in zip(weights, variables):
            close(w, variable, rtol=1e-5, atol=1e-5)
    if known.get("use_ema"):
        theirs.finalize_variable_values(variables)
        for average, variable in zip(ours.averages, variables):
            close(average, variable, rtol=1e-5, atol=1e-5)


def test_clipped_gradient_of_zeros():
    for feature in ("clipnorm", "global_clipnorm", "clipvalue"):
        (w,) = twins.Optimizer("sgd", {}, {feature: 1.0}).apply([np.ones(3)], [np.zeros(3)])
        np.testing.assert_array_equal(w, 1)


# ---------------------------------------------------------------------------------------------- layers


def layer_pair(layer, x, gamma, beta):
    """Its output and new state, and its gradients, as functions of x, gamma and beta."""
    if not layer.built:
        layer.build(x.shape)
    fixed = [v.value for v in layer.non_trainable_variables]

    def call(x, gamma, beta, **arguments):
        given = [v for v in (gamma, beta) if v is not None]
        return layer.stateless_call(given, fixed, x, **arguments)

    return call


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("parts", ["gamma beta", "gamma", "beta", ""])
def test_batch_normalization(training, parts):
    x, delta = normal(9, 4, scale=3.0) + f32([0, 5, -5, 1]), normal(9, 4, seed=1)
    x[:, 3] = 1  # no variance
    gamma = f32([1, 2, -0.5, 0.1]) if "gamma" in parts else None
    beta = f32([0, 1, 2, 3]) if "beta" in parts else None
    mean, variance = f32([0, 4, -4, 0.5]), f32([1, 2, 3, 0.01])
    layer = keras.layers.BatchNormalization(scale=gamma is not None, center=beta is not None)
    layer.build(x.shape)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    call = layer_pair(layer, x, gamma, beta)
    theirs, moved = call(x, gamma, beta, training=training)
    out, *ours = twins.batch_normalization(x, gamma, beta, mean, variance, training)
    close(out, theirs, atol=1e-5)
    for a, b in zip(ours, moved, strict=True):
        close(a, b)
    dx, dgamma, dbeta = twins.batch_normalization_backward(x, gamma, delta, mean, variance, training)
    close(dx, gradient(lambda x: call(x, gamma, beta, training=training)[0] * delta, x), atol=1e-4)
    if gamma is not None:
        close(dgamma, gradient(lambda g: call(x, g, beta, training=training)[0] * delta, gamma), atol=1e-5)
    if beta is not None:
        close(dbeta, gradient(lambda b: call(x, gamma, b, training=training)[0] * delta, beta))


# With rms_scaling Keras has a gamma always, and never a beta.
@pytest.mark.parametrize(
    ("parts", "rms_scaling"), [*((p, False) for p in ("gamma beta", "gamma", "beta", "")), ("gamma", True)]
)
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
def test_layer_normalization(parts, rms_scaling):
    x, delta = normal(9, 4, scale=3.0) + 2, normal(9, 4, seed=1)
    x[3] = 1  # no variance
    gamma = f32([1, 2, -0.5, 0.1]) if "gamma" in parts else None
    beta = f32([0, 1, 2, 3]) if "beta" in parts else None
    numbers = {"rms_scaling": True} if rms_scaling else {}
    layer = keras.layers.LayerNormalization(scale=gamma is not None, center=beta is not None, **numbers)
    call = layer_pair(layer, x, gamma, beta)
    close(twins.layer_normalization(x, gamma, beta, **numbers), call(x, gamma, beta)[0], atol=1e-5)
    dx, dgamma, dbeta = twins.layer_normalization_backward(x, gamma, delta, **numbers)
    close(dx, gradient(lambda x: call(x, gamma, beta)[0] * delta, x), atol=1e-4)
    if gamma is not None:
        close(dgamma, gradient(lambda g: call(x, g, beta)[0] * delta, gamma), atol=1e-5)
    if beta is not None:
        close(dbeta, gradient(lambda b: call(x, gamma, b)[0] * delta, beta))


@pytest.mark.parametrize("invert", [False, True])
def test_normalization(invert):
    x, mean, variance = normal(9, 3), f32([1, 2, 0]), f32([2, 0.5, 0])
    theirs = keras.layers.Normalization(mean=mean, variance=variance, invert=invert)
    close(twins.normalization(x, mean, variance, invert), theirs(x))


def test_rescaling():
    x = np.arange(256, dtype=np.uint8).reshape(8, 32)
    close(twins.rescaling(x, 1 / 127.5, -1.0), keras.layers.Rescaling(1 / 127.5, -1.0)(x))
    close(twins.rescaling(x, 1 / 255), keras.layers.Rescaling(1 / 255)(x))


# ---------------------------------------------------------------------------------------------- penalties, weights

PENALTIES = [
    ("l1", "L1", {}),
    ("l1", "L1", {"l1": 0.3}),
    ("l2", "L2", {}),
    ("l2", "L2", {"l2": 0.3}),
    ("l1_l2", "L1L2", {}),
    ("l1_l2", "L1L2", {"l1": 0.3, "l2": 0.2}),
    ("orthogonal", "OrthogonalRegularizer", {}),
    ("orthogonal", "OrthogonalRegularizer", {"factor": 0.3, "mode": "columns"}),
]


@pytest.mark.parametrize(("name", "theirs", "numbers"), PENALTIES)
def test_penalty_and_gradient(name, theirs, numbers):
    theirs = getattr(keras.regularizers, theirs)(**numbers)
    for w in (normal(5, 3), f32([[1, 0, 0], [0, 2, -0.0], [1, 1, 0.5]])):
        close(getattr(twins, name)(w, **numbers), theirs(jax.numpy.asarray(w)))
        close(getattr(twins, f"{name}_gradient")(w, **numbers), gradient(theirs, w))


def test_activity_penalty_is_by_the_batch_size():
    x = normal(7, 3)
    layer = keras.layers.Activation("linear", activity_regularizer=keras.regularizers.L1L2(0.1, 0.2))
    layer(x)
    close(twins.activity("l1_l2", x, l1=0.1, l2=0.2), layer.losses[0])
    close(twins.activity_gradient("l1_l2", x, l1=0.1, l2=0.2) * 7, gradient(keras.regularizers.L1L2(0.1, 0.2), x))


@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)", "(n, m)", "half"])
def test_class_weights(shape):
    from keras.src.trainers.data_adapters.data_adapter_utils import class_weight_to_sample_weights

    y = np.random.default_rng(0).integers(0, 4, 20)
    y = {"(n,)": y, "(n, 1)": y[:, None], "(n, m)": np.eye(4)[y], "half": y + 0.5}[shape]
    weight = {0: 0.5, 2: 3.0}
    close(twins.class_weights(y, weight), class_weight_to_sample_weights(y, weight))


CONSTRAINTS = [
    ("max_norm", "MaxNorm", {}),
    ("max_norm", "MaxNorm", {"max_value": 0.5}),
    ("non_neg", "NonNeg", {}),
    ("unit_norm", "UnitNorm", {}),
    ("min_max_norm", "MinMaxNorm", {}),
    ("min_max_norm", "MinMaxNorm", {"min_value": 1.5, "max_value": 1.8, "rate": 0.4}),
]


@pytest.mark.parametrize(("name", "theirs", "numbers"), CONSTRAINTS)
def test_constraint(name, theirs, numbers):
    for w in (normal(5, 3), normal(3), np.zeros((4, 2), np.float32), f32([[1e-7, 0], [0, 1e-4]])):
        close(getattr(twins, name)(wide(w), **numbers), getattr(keras.constraints, theirs)(**numbers)(w), atol=1e-12)
