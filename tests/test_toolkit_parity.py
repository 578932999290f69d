"""Each feature in a short training, in real Keras (JAX backend) and here: same weights, same batches, same results.

ROWS says what there is. A row's functions take the module, keras or fastmlp, and build the same on both sides.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fastmlp

os.environ.setdefault("KERAS_BACKEND", "jax")

# Keras's variables don't take NumPy's copy argument yet, and it would rather have another layer than rms_scaling.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning"),
]

#: Largest difference, as a share of the largest number of an array, after ten steps in float32.
WITHIN = 1e-5

# Ten steps: two epochs of five batches, of which the last is short. All rows have batches of these two sizes and layers
# of these widths, so that Keras, which runs operation by operation here, compiles each operation once.
INPUTS, HIDDEN, UNITS, BATCH, COUNT, HELD_OUT = 6, 5, 3, 8, 37, 13

_rng = np.random.default_rng(20)
X = _rng.standard_normal((COUNT + HELD_OUT, INPUTS)).astype(np.float32)
_score = X[:, :UNITS] + 0.5 * _rng.standard_normal((len(X), UNITS)).astype(np.float32)
LABELS = _score.argmax(axis=1).astype(np.int32)
WEIGHTS = _rng.uniform(0.2, 2.0, len(X)).astype(np.float32)
TARGETS = {
    "labels": LABELS,
    "one_hot": np.eye(UNITS, dtype=np.float32)[LABELS],
    "values": _score,
    "positive": np.abs(_score) + np.float32(0.1),
    "answers": (_score > 0).astype(np.float32),
    "answer": (_score[:, 0] > 0).astype(np.float32),
    "signs": np.where(_score > 0, 1, -1).astype(np.float32),
    "shares": (np.exp(_score) / np.exp(_score).sum(axis=1, keepdims=True)).astype(np.float32),
}


@dataclass(frozen=True)
class Data:
    """Samples, targets and weights to train on (x, y, w) and to validate with (x_val, y_val, w_val)."""

    x: np.ndarray
    y: np.ndarray
    w: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    w_val: np.ndarray


def data_of(targets: str, x: np.ndarray = X) -> Data:
    y = TARGETS[targets]
    return Data(x[:COUNT], y[:COUNT], WEIGHTS[:COUNT], x[COUNT:], y[COUNT:], WEIGHTS[COUNT:])


def hidden(m: Any) -> list[Any]:
    """The layers before the last where a row is about something else."""
    return [m.layers.Dense(HIDDEN, activation="tanh")]


def sgd(m: Any) -> Any:
    """The optimizer where a row is about something else."""
    return m.optimizers.SGD(0.1, momentum=0.5)


@dataclass(frozen=True)
class Row:
    """A feature.

    Attributes:
        group: Kind of feature: "layers", "losses" ...
        name: What it is.
        layers: Makes the layers between the input and the last one.
        last: Makes the last layer, and what is behind it.
        optimizer: Makes the optimizer.
        loss: Name of the loss, or makes it.
        targets: Kind of targets in TARGETS.
        metrics: Makes the metrics.
        weighted: Makes the weighted metrics.
        compile: Further arguments of compile.
        fit: Further arguments of fit, from the module and the data.
        drive: Trains in another way than by fit, and returns what is to be equal.
        x: The samples.
        differs: Why the results are not those of Keras, where that is meant.
        check: Instead of the comparison: tests what is promised, given Keras.
    """

    group: str
    name: str
    layers: Callable[[Any], list[Any]] = hidden
    last: Callable[[Any], list[Any]] = lambda m: [m.layers.Dense(UNITS, activation="softmax")]
    optimizer: Callable[[Any], Any] = sgd
    loss: str | Callable[[Any], Any] = "sparse_categorical_crossentropy"
    targets: str = "labels"
    metrics: Callable[[Any], list[Any]] = lambda m: ["accuracy"]
    weighted: Callable[[Any], list[Any]] = lambda m: []
    compile: Callable[[Any], dict[str, Any]] = lambda m: {}
    fit: Callable[[Any, Data], dict[str, Any]] = lambda m, d: {}
    drive: Callable[[Any, Any, Data, Any], dict[str, Any]] | None = None
    x: np.ndarray | None = None
    differs: str = ""
    check: Callable[[Any], None] | None = None

    @property
    def data(self) -> Data:
        return data_of(self.targets, X if self.x is None else self.x)


# ---------------------------------------------------------------------------------------------- the comparison


def build(m: Any, row: Row) -> Any:
    """The row's compiled model."""
    loss = row.loss if isinstance(row.loss, str) else row.loss(m)
    model = m.Sequential([m.layers.Input(row.data.x.shape[1:]), *row.layers(m), *row.last(m)])
    options = {"run_eagerly": True, **row.compile(m)} if m is not fastmlp else row.compile(m)
    model.compile(row.optimizer(m), loss, metrics=row.metrics(m), weighted_metrics=row.weighted(m), **options)
    return model


def weights_of(model: Any) -> list[np.ndarray]:
    """All weights but those of Normalization, which in Keras count the samples, too."""
    return [w for layer in model.layers if type(layer).__name__ != "Normalization" for w in layer.get_weights()]


def share_weights(theirs: Any, ours: Any, seed: int) -> None:
    """Give both the initial weights of Keras, a little moved so that no bias is zero and no gamma one."""
    rng = np.random.default_rng(seed)
    for a, b in zip(theirs.layers, ours.layers, strict=True):
        if type(a).__name__ != "Normalization":
            moved = [w + rng.uniform(0, 0.2, w.shape).astype(np.float32) for w in a.get_weights()]
            a.set_weights(moved)
            b.set_weights(moved)


def results(m: Any, model: Any, row: Row, folder: Any) -> dict[str, Any]:
    """What is compared."""
    d = row.data
    if row.drive is not None:
        found: dict[str, Any] = row.drive(m, model, d, folder)
    else:
        settings = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "validation_data": (d.x_val, d.y_val)}
        found = {"history": model.fit(d.x, d.y, verbose=0, **(settings | row.fit(m, d))).history}
    return found | {
        "weights": weights_of(model),
        "predict": model.predict(d.x_val, batch_size=BATCH, verbose=0),
        "evaluate": model.evaluate(d.x_val, d.y_val, batch_size=BATCH, verbose=0, return_dict=True),
        "evaluate with weights": model.evaluate(
            d.x_val, d.y_val, sample_weight=d.w_val, batch_size=BATCH, verbose=0, return_dict=True
        ),
    }


def assert_same(ours: Any, theirs: Any, where: str, least: float = 0.05) -> None:
    """Dictionaries, lists, texts and numbers are equal, numbers within WITHIN of the largest of their array.

    Weights are compared with the largest of the model, what is smaller than `least` with that: scores such as R2 are 1
    minus a ratio, and rounded as such.
    """
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs), where
        for key in theirs:
            largest = max((np.abs(w).max() for w in theirs[key]), default=least) if key == "weights" else least
            assert_same(ours[key], theirs[key], f"{where}: {key}", float(largest))
    elif isinstance(theirs, str) or theirs is None:
        assert ours == theirs, where
    elif isinstance(theirs, (list, tuple)) and not all(isinstance(v, (int, float)) for v in theirs):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs)):
            assert_same(a, b, f"{where}[{i}]", least)
    else:
        a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        assert a.shape == b.shape, where
        largest = np.abs(b).max(initial=0.0, where=np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=0, atol=WITHIN * max(largest, least), err_msg=where)


# ---------------------------------------------------------------------------------------------- layers


def _dense(**options: Any) -> Callable[[Any], list[Any]]:
    """A Dense layer with options; those that are functions are given the module."""
    return lambda m: [
        m.layers.Dense(HIDDEN, **{"activation": "tanh", **{k: v(m) if callable(v) else v for k, v in options.items()}})
    ]


def _behind(make: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """A layer between two Dense layers."""
    return lambda m: [m.layers.Dense(HIDDEN), make(m)]


def _in_front(make: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """A layer that sees the input."""
    return lambda m: [make(m), m.layers.Dense(HIDDEN, activation="tanh")]


def _at_end(make: Callable[[Any], Any]) -> dict[str, Any]:
    """A layer behind the last Dense layer, of which the loss is taken."""
    return {"last": lambda m: [m.layers.Dense(UNITS), make(m)], "loss": "mse", "targets": "values"}


def _adapted(m: Any, **options: Any) -> Any:
    layer = m.layers.Normalization(**options)
    layer.adapt(X)
    return layer


def _noisy(name: str, *arguments: Any) -> Callable[[Any], np.ndarray]:
    """What a random layer makes of 4000 ones in training."""
    count = 4000

    def draw(m: Any) -> np.ndarray:
        layer = getattr(m.layers, name)(*arguments, seed=3)
        if m is not fastmlp:
            return np.asarray(layer(np.ones((1, count), np.float32), training=True))[0]
        # The gradient of a unit's weights is its input, where the gradient by its output is 1.
        model = m.Sequential([m.layers.Input((count,)), layer, m.layers.Dense(1, kernel_initializer="zeros")])
        model.compile("sgd", "mse")
        kernel, _ = model.layer_gradients(np.ones((1, count), np.float32), np.array([-0.5]))[model.layers[1].name]
        return kernel[:, 0]

    return draw


def _moments(name: str, *arguments: Any) -> Callable[[Any], None]:
    """Mean and deviation in training are those of Keras's layer, within what 4000 draws are off."""

    def check(keras: Any) -> None:
        draw = _noisy(name, *arguments)
        ours, theirs = draw(fastmlp), draw(keras)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.08)
        assert ours.std() == pytest.approx(theirs.std(), rel=0.08)
        if name == "Dropout":
            np.testing.assert_allclose(np.unique(ours), np.unique(theirs), rtol=1e-6)

    return check


MASKS = "draws other random numbers; their mean and deviation are compared"


def _random(name: str, rate: Any, off: Any = 0.0) -> list[Row]:
    """A random layer in training, and where it does nothing."""
    return [
        Row("layers", f"{name}({rate})", differs=MASKS, check=_moments(name, rate)),
        Row("layers", f"{name}({off})", _behind(lambda m: getattr(m.layers, name)(off))),
        Row("layers", f"{name} does nothing in evaluate and predict", _behind(lambda m: getattr(m.layers, name)(rate)),
            drive=lambda m, model, d, folder: {}),
    ]  # fmt: skip


def _frozen(m: Any) -> list[Any]:
    return [m.layers.Dense(HIDDEN, activation="tanh", trainable=False), m.layers.Dense(HIDDEN, activation="tanh")]


L = "layers"
LAYERS = [
    Row(L, "Dense", hidden),
    Row(L, "Dense(use_bias=False)", _dense(use_bias=False)),
    Row(L, "Dense(trainable=False)", _frozen),
    Row(L, "Dense(trainable=False), with Adam", _frozen, optimizer=lambda m: m.optimizers.Adam(0.01)),
    Row(L, "Dense(activation=...) as a function", lambda m: [m.layers.Dense(HIDDEN, activation=m.activations.relu)]),
    Row(L, "Dense(activity_regularizer=L1)", _dense(activity_regularizer=lambda m: m.regularizers.L1(0.02))),
    Row(L, "Dense(activity_regularizer=L2)", _dense(activity_regularizer=lambda m: m.regularizers.L2(0.03))),
    Row(L, "Dense(activity_regularizer=L1L2)", _dense(activity_regularizer=lambda m: m.regularizers.L1L2(0.01, 0.02))),
    Row(L, "Dense(activity_regularizer=...), last",
        last=lambda m: [m.layers.Dense(UNITS, activity_regularizer=m.regularizers.L2(0.03))], loss="mse",
        targets="values"),
    Row(L, "Flatten", lambda m: [m.layers.Flatten(), *hidden(m)], x=X.reshape(-1, 2, 3)),
    Row(L, "Activation", _behind(lambda m: m.layers.Activation("tanh"))),
    Row(L, "Activation, last", **_at_end(lambda m: m.layers.Activation("tanh"))),
    Row(L, "Activation(softmax) inside", _behind(lambda m: m.layers.Activation("softmax"))),
    Row(L, "ReLU", _behind(lambda m: m.layers.ReLU())),
    Row(L, "ReLU(max_value, negative_slope, threshold)",
        _behind(lambda m: m.layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2))),
    Row(L, "ReLU(max_value=6)", _behind(lambda m: m.layers.ReLU(max_value=6.0))),
    Row(L, "LeakyReLU", _behind(lambda m: m.layers.LeakyReLU())),
    Row(L, "LeakyReLU(negative_slope)", _behind(lambda m: m.layers.LeakyReLU(negative_slope=0.15))),
    Row(L, "PReLU", _behind(lambda m: m.layers.PReLU())),
    Row(L, "PReLU(alpha_regularizer, alpha_constraint)",
        _behind(lambda m: m.layers.PReLU(alpha_regularizer="l2", alpha_constraint="non_neg"))),
    Row(L, "PReLU, last", **_at_end(lambda m: m.layers.PReLU())),
    Row(L, "ELU", _behind(lambda m: m.layers.ELU())),
    Row(L, "ELU(alpha)", _behind(lambda m: m.layers.ELU(alpha=0.5))),
    Row(L, "Softmax", last=lambda m: [m.layers.Dense(UNITS), m.layers.Softmax()]),
    Row(L, "Softmax inside", _behind(lambda m: m.layers.Softmax())),
    Row(L, "ActivityRegularization", _behind(lambda m: m.layers.ActivityRegularization(l1=0.01, l2=0.02))),
    Row(L, "ActivityRegularization on the input", _in_front(lambda m: m.layers.ActivityRegularization(l2=0.02))),
    *_random("Dropout", 0.4),
    *_random("GaussianNoise", 0.3),
    *_random("GaussianDropout", 0.2),
    Row(L, "BatchNormalization", _behind(lambda m: m.layers.BatchNormalization())),
    Row(L, "BatchNormalization(momentum, epsilon)",
        _behind(lambda m: m.layers.BatchNormalization(momentum=0.7, epsilon=0.01))),
    Row(L, "BatchNormalization on the input", _in_front(lambda m: m.layers.BatchNormalization(momentum=0.8))),
    Row(L, "BatchNormalization before an activation",
        lambda m: [*_behind(lambda m: m.layers.BatchNormalization())(m), m.layers.Activation("relu")]),
    Row(L, "BatchNormalization behind an activation",
        lambda m: [*hidden(m), m.layers.BatchNormalization(), m.layers.Dense(HIDDEN, activation="relu")]),
    Row(L, "BatchNormalization, twice",
        lambda m: [m.layers.BatchNormalization(), *hidden(m), m.layers.BatchNormalization()]),
    Row(L, "BatchNormalization, last", **_at_end(lambda m: m.layers.BatchNormalization())),
    Row(L, "BatchNormalization(center=False)", _behind(lambda m: m.layers.BatchNormalization(center=False))),
    Row(L, "BatchNormalization(scale=False)", _behind(lambda m: m.layers.BatchNormalization(scale=False))),
    Row(L, "BatchNormalization(center=False, scale=False)",
        _behind(lambda m: m.layers.BatchNormalization(center=False, scale=False))),
    Row(L, "BatchNormalization(trainable=False)", _behind(lambda m: m.layers.BatchNormalization(trainable=False))),
    Row(L, "BatchNormalization(gamma_regularizer, beta_constraint)",
        _behind(lambda m: m.layers.BatchNormalization(gamma_regularizer="l2", beta_constraint="unit_norm"))),
    # Without a bias, which has no gradient in front of it: Adam would divide rounding by rounding.
    Row(L, "BatchNormalization, with AdamW",
        lambda m: [m.layers.Dense(HIDDEN, use_bias=False), m.layers.BatchNormalization()],
        optimizer=lambda m: m.optimizers.AdamW(0.01)),
    Row(L, "BatchNormalization, with sample_weight", _behind(lambda m: m.layers.BatchNormalization()),
        fit=lambda m, d: {"sample_weight": d.w}),
    Row(L, "LayerNormalization", _behind(lambda m: m.layers.LayerNormalization())),
    Row(L, "LayerNormalization(epsilon)", _behind(lambda m: m.layers.LayerNormalization(epsilon=0.1))),
    Row(L, "LayerNormalization on the input", _in_front(lambda m: m.layers.LayerNormalization())),
    Row(L, "LayerNormalization, last", **_at_end(lambda m: m.layers.LayerNormalization())),
    Row(L, "LayerNormalization(center=False)", _behind(lambda m: m.layers.LayerNormalization(center=False))),
    Row(L, "LayerNormalization(scale=False)", _behind(lambda m: m.layers.LayerNormalization(scale=False))),
    Row(L, "LayerNormalization(rms_scaling=True)", _behind(lambda m: m.layers.LayerNormalization(rms_scaling=True))),
    Row(L, "LayerNormalization(trainable=False)", _behind(lambda m: m.layers.LayerNormalization(trainable=False))),
    Row(L, "Rescaling", _in_front(lambda m: m.layers.Rescaling(0.5, offset=-0.1))),
    Row(L, "Rescaling inside", _behind(lambda m: m.layers.Rescaling(0.5, 1.0))),
    Row(L, "Normalization(mean, variance)", _in_front(lambda m: m.layers.Normalization(mean=0.3, variance=2.0))),
    Row(L, "Normalization(mean, variance) of each input",
        _in_front(lambda m: m.layers.Normalization(mean=[0, 1, 2, 1, 0, 1], variance=[1, 2, 3, 4, 5, 6]))),
    Row(L, "Normalization, adapted", _in_front(_adapted)),
    Row(L, "Normalization(axis=None), adapted", _in_front(lambda m: _adapted(m, axis=None))),
    Row(L, "Normalization(invert=True)",
        _in_front(lambda m: m.layers.Normalization(mean=0.3, variance=2.0, invert=True))),
    Row(L, "Dense(dtype, name), Dropout(dtype, name)", lambda m: [
        m.layers.Dense(HIDDEN, dtype="float32", name="one"), m.layers.Dropout(0.0, dtype="float32", name="two")]),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- activations

ACTIVATIONS = [
    *(Row("activations", name, _dense(activation=name)) for name in fastmlp.activations.NAMES if name != "step"),
    *(Row("activations", f"{name}, last", last=lambda m, name=name: [m.layers.Dense(UNITS, activation=name)],
          loss="mse", targets="values")
      for name in fastmlp.activations.NAMES if name != "step"),
    Row("activations", "swish", _dense(activation="swish")),
    Row("activations", "step", differs="Keras has none; 1 above 0, else 0", check=lambda keras: (
        np.testing.assert_array_equal(fastmlp.activations.step(np.array([-1.0, 0.0, 2.0])), [0.0, 0.0, 1.0]))),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- losses

# Targets and last activation of each loss, and its options.
_LOSSES = [
    ("MeanSquaredError", "values", "linear", {}),
    ("MeanAbsoluteError", "values", "linear", {}),
    ("MeanAbsolutePercentageError", "positive", "softplus", {}),
    ("MeanSquaredLogarithmicError", "positive", "softplus", {}),
    ("Huber", "values", "linear", {}),
    ("Huber", "values", "linear", {"delta": 0.4}),
    ("LogCosh", "values", "linear", {}),
    ("Poisson", "positive", "softplus", {}),
    ("CosineSimilarity", "values", "linear", {}),
    ("BinaryCrossentropy", "answers", "sigmoid", {}),
    ("BinaryCrossentropy", "answers", "linear", {"from_logits": True}),
    ("BinaryCrossentropy", "answers", "sigmoid", {"label_smoothing": 0.1}),
    ("BinaryCrossentropy", "answers", "linear", {"from_logits": True, "label_smoothing": 0.2}),
    ("BinaryCrossentropy", "shares", "sigmoid", {}),
    ("BinaryFocalCrossentropy", "answers", "sigmoid", {}),
    ("BinaryFocalCrossentropy", "answers", "sigmoid", {"gamma": 1.0, "label_smoothing": 0.1}),
    ("BinaryFocalCrossentropy", "answers", "sigmoid", {"apply_class_balancing": True, "alpha": 0.3}),
    ("BinaryFocalCrossentropy", "answers", "linear", {"from_logits": True, "gamma": 3.0}),
    ("Hinge", "signs", "linear", {}),
    ("Hinge", "answers", "linear", {}),
    ("SquaredHinge", "signs", "tanh", {}),
    ("SquaredHinge", "answers", "tanh", {}),
    ("CategoricalCrossentropy", "one_hot", "softmax", {}),
    ("CategoricalCrossentropy", "shares", "softmax", {}),
    ("CategoricalCrossentropy", "one_hot", "linear", {"from_logits": True}),
    ("CategoricalCrossentropy", "one_hot", "softmax", {"label_smoothing": 0.1}),
    ("CategoricalCrossentropy", "one_hot", "linear", {"from_logits": True, "label_smoothing": 0.2}),
    ("CategoricalCrossentropy", "one_hot", "sigmoid", {}),
    ("SparseCategoricalCrossentropy", "labels", "softmax", {}),
    ("SparseCategoricalCrossentropy", "labels", "linear", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", "labels", "sigmoid", {}),
    ("CategoricalFocalCrossentropy", "one_hot", "softmax", {}),
    ("CategoricalFocalCrossentropy", "one_hot", "softmax", {"alpha": 0.5, "gamma": 1.0, "label_smoothing": 0.1}),
    ("CategoricalFocalCrossentropy", "one_hot", "linear", {"from_logits": True}),
    ("CategoricalHinge", "one_hot", "linear", {}),
    ("KLDivergence", "shares", "softmax", {}),
]  # fmt: skip


def _call(name: str, options: dict[str, Any]) -> str:
    given = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{name}({given})" if given else name


def _careful(m: Any) -> Any:
    """For gradients of hundreds."""
    return m.optimizers.SGD(1e-3)


LOSSES = [
    *(Row("losses", f"{_call(name, options)}, {targets}, {activation}",
          last=lambda m, activation=activation: [m.layers.Dense(UNITS, activation=activation)],
          loss=lambda m, name=name, options=options: getattr(m.losses, name)(**options),
          targets=targets, fit=lambda m, d: {"sample_weight": d.w},
          optimizer=_careful if "Percentage" in name else sgd)
      for name, targets, activation, options in _LOSSES),
    Row("losses", "BinaryCrossentropy of one unit", last=lambda m: [m.layers.Dense(1, activation="sigmoid")],
        loss="binary_crossentropy", targets="answer"),
    Row("losses", "BinaryCrossentropy(from_logits=True) of one unit", last=lambda m: [m.layers.Dense(1)],
        loss=lambda m: m.losses.BinaryCrossentropy(from_logits=True), targets="answer"),
    Row("losses", "MeanSquaredError of one unit", last=lambda m: [m.layers.Dense(1)], loss="mse", targets="answer"),
    Row("losses", "by a function", last=lambda m: [m.layers.Dense(UNITS)],
        loss=lambda m: m.losses.mean_squared_error, targets="values"),
    *(Row("losses", f'"{name}"', last=lambda m: [m.layers.Dense(UNITS)], loss=name, targets="values")
      for name in ("mse", "mae", "huber", "log_cosh", "mean_squared_error", "MeanSquaredError", "cosine_similarity")),
    *(Row("losses", f'"{name}"', last=lambda m: [m.layers.Dense(UNITS, activation="softplus")], loss=name,
          targets="positive", optimizer=_careful) for name in ("mape", "msle", "poisson")),
    *(Row("losses", f'"{name}"', loss=name, targets="one_hot")
      for name in ("kl_divergence", "kld", "categorical_hinge", "hinge", "bce")),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- optimizers

_OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adamax", {}),
    ("Adamax", {"beta_1": 0.8, "beta_2": 0.9}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.8, "rho": 0.7}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "epsilon": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.8, "epsilon": 1e-3}),
    ("Lion", {}),
    ("Lion", {"beta_1": 0.8, "beta_2": 0.9, "weight_decay": 0.01}),
]  # fmt: skip
_COMMON = [
    {"weight_decay": 0.05},
    {"clipnorm": 0.05},
    {"clipvalue": 0.01},
    {"global_clipnorm": 0.1},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 3, "clipnorm": 0.05, "weight_decay": 0.01},
]


def _excluded(m: Any) -> Any:
    optimizer = m.optimizers.AdamW(0.01, weight_decay=0.2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OP = "optimizers"
OPTIMIZERS = [
    *(Row(OP, _call(name, options), optimizer=lambda m, name=name, options=options: getattr(m.optimizers, name)(
        learning_rate=0.1 if name in ("SGD", "Adadelta") else 0.01, **options))
      for name, options in _OPTIMIZERS),
    *(Row(OP, _call(name, options), optimizer=lambda m, name=name, options=options: getattr(m.optimizers, name)(
        learning_rate=0.1 if name == "SGD" else 0.01, **options))
      for options in _COMMON for name in ("SGD", "Adam", "RMSprop")),
    Row(OP, "exclude_from_weight_decay", optimizer=_excluded),
    *(Row(OP, f'"{name}"', optimizer=lambda m, name=name: name) for name in fastmlp.optimizers.NAMES),
    Row(OP, "learning_rate set between two calls of fit",
        drive=lambda m, model, d, folder: {"histories": [_fit_at(model, d, rate) for rate in (0.1, 0.02)]}),
    Row(OP, "clipnorm, with regularizers and constraints",
        _dense(kernel_regularizer="l2", bias_regularizer="l1", kernel_constraint="max_norm"),
        optimizer=lambda m: m.optimizers.Adam(0.05, clipnorm=0.1)),
    Row(OP, "use_ema, with constraints", _dense(kernel_constraint="unit_norm"),
        optimizer=lambda m: m.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)),
]  # fmt: skip


def _fit_at(model: Any, d: Data, rate: float) -> dict[str, Any]:
    model.optimizer.learning_rate = rate
    return model.fit(d.x, d.y, batch_size=BATCH, shuffle=False, verbose=0).history


_SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.7}),
    ("ExponentialDecay", {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.7, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [2, 5], "values": [0.2, 0.1, 0.05]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.2, "decay_steps": 6, "end_learning_rate": 0.01, "power": 2.0}),
    ("PolynomialDecay", {"initial_learning_rate": 0.2, "decay_steps": 4, "end_learning_rate": 0.01, "cycle": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.5, "staircase": True}),
    ("CosineDecay", {"initial_learning_rate": 0.2, "decay_steps": 8, "alpha": 0.1}),
    ("CosineDecay", {"initial_learning_rate": 0.02, "decay_steps": 6, "warmup_target": 0.2, "warmup_steps": 3}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.2, "first_decay_steps": 3, "alpha": 0.1}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.2, "first_decay_steps": 2, "t_mul": 1.5, "m_mul": 0.8}),
]  # fmt: skip
SCHEDULES = [
    *(Row("schedules", _call(name, options), optimizer=lambda m, name=name, options=options: m.optimizers.SGD(
        getattr(m.optimizers.schedules, name)(**options)))
      for name, options in _SCHEDULES),
    Row("schedules", "with Adam and accumulated gradients", optimizer=lambda m: m.optimizers.Adam(
        m.optimizers.schedules.ExponentialDecay(0.05, 2, 0.8), gradient_accumulation_steps=2)),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- on weights

RE, CO, IN = "regularizers", "constraints", "initializers"
_REGULARIZERS = [
    ("L1", {}),
    ("L1", {"l1": 0.02}),
    ("L2", {}),
    ("L2", {"l2": 0.05}),
    ("L1L2", {"l1": 0.01, "l2": 0.02}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.3, "mode": "columns"}),
]
REGULARIZERS = [
    *(Row(RE, _call(name, options),
          _dense(kernel_regularizer=lambda m, name=name, options=options: getattr(m.regularizers, name)(**options)))
      for name, options in _REGULARIZERS),
    Row(RE, "of a bias", _dense(bias_regularizer=lambda m: m.regularizers.L1L2(0.01, 0.03))),
    Row(RE, "of every layer", _dense(kernel_regularizer="l2", bias_regularizer="l2"),
        last=lambda m: [m.layers.Dense(UNITS, activation="softmax", kernel_regularizer="l1")]),
    Row(RE, "with sample_weight", _dense(kernel_regularizer="l2"), fit=lambda m, d: {"sample_weight": d.w}),
    Row(RE, "of a layer with trainable=False", lambda m: [
        m.layers.Dense(HIDDEN, kernel_regularizer="l2", trainable=False), *hidden(m)]),
    *(Row(RE, f'"{name}"', _dense(kernel_regularizer=name)) for name in ("l1", "l2", "l1l2", "L1L2")),
]  # fmt: skip

_CONSTRAINTS = [
    ("MaxNorm", {"max_value": 0.5}),
    ("MaxNorm", {"max_value": 0.5, "axis": 1}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": 1}),
    ("MinMaxNorm", {"min_value": 0.4, "max_value": 0.6}),
    ("MinMaxNorm", {"min_value": 0.4, "max_value": 0.6, "rate": 0.3, "axis": 1}),
]
CONSTRAINTS = [
    *(Row(CO, _call(name, options),
          _dense(kernel_constraint=lambda m, name=name, options=options: getattr(m.constraints, name)(**options)))
      for name, options in _CONSTRAINTS),
    *(Row(CO, f"{name} of a bias", _dense(bias_constraint=lambda m, name=name: getattr(m.constraints, name)()))
      for name in ("MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm")),
    *(Row(CO, f'"{name}"', _dense(kernel_constraint=name))
      for name in ("max_norm", "non_neg", "unit_norm", "min_max_norm", "MaxNorm")),
    Row(CO, "with accumulated gradients", _dense(kernel_constraint="unit_norm"),
        optimizer=lambda m: m.optimizers.SGD(0.1, gradient_accumulation_steps=2)),
]  # fmt: skip

DRAWS = "draws other random numbers; their mean, deviation and bounds are compared"
_DRAWN = [
    ("RandomUniform", {"minval": -0.2, "maxval": 0.4}),
    ("RandomNormal", {"mean": 0.1, "stddev": 0.3}),
    ("TruncatedNormal", {"mean": 0.1, "stddev": 0.3}),
    ("VarianceScaling", {"scale": 2.0, "mode": "fan_out", "distribution": "uniform"}),
    ("VarianceScaling", {"scale": 0.5, "mode": "fan_avg", "distribution": "untruncated_normal"}),
    ("GlorotUniform", {}),
    ("GlorotNormal", {}),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
]


def _drawn(m: Any, initializer: Any) -> np.ndarray:
    """A Dense layer's kernel (200, 100) as the initializer fills it."""
    model = m.Sequential([m.layers.Input((200,)), m.layers.Dense(100, kernel_initializer=initializer)])
    return np.asarray(model.layers[0].get_weights()[0])


def _spread(name: str, options: dict[str, Any]) -> Callable[[Any], None]:
    def check(keras: Any) -> None:
        theirs, ours = (_drawn(m, getattr(m.initializers, name)(**options, seed=3)) for m in (keras, fastmlp))
        assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.03 * float(theirs.std()))
        if "untruncated_normal" not in options.values() and name != "RandomNormal":
            assert ours.max() == pytest.approx(theirs.max(), rel=0.02)
            assert ours.min() == pytest.approx(theirs.min(), rel=0.02)

    return check


def _orthogonal(keras: Any) -> None:
    for m in (keras, fastmlp):
        w = _drawn(m, m.initializers.Orthogonal(gain=2.0, seed=3))
        np.testing.assert_allclose(w.T @ w, 4 * np.eye(100), atol=1e-5)


INITIALIZERS = [
    *(Row(IN, _call(name, options), differs=DRAWS, check=_spread(name, options)) for name, options in _DRAWN),
    Row(IN, "Orthogonal(gain=2.0)", check=_orthogonal,
        differs="draws other random numbers; columns are at right angles in both"),
    *(Row(IN, _call(name, options), drive=lambda m, model, d, folder, name=name, options=options: {
        "drawn": _drawn(m, getattr(m.initializers, name)(**options))})
      for name, options in (("Zeros", {}), ("Ones", {}), ("Constant", {"value": 0.3}), ("Identity", {"gain": 0.5}))),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- metrics

# Targets and last activation of each metric, and its options.
_METRICS = [
    ("BinaryAccuracy", "answers", "sigmoid", {}),
    ("BinaryAccuracy", "answers", "sigmoid", {"threshold": 0.6}),
    ("CategoricalAccuracy", "one_hot", "softmax", {}),
    ("SparseCategoricalAccuracy", "labels", "softmax", {}),
    ("TopKCategoricalAccuracy", "one_hot", "softmax", {"k": 2}),
    ("SparseTopKCategoricalAccuracy", "labels", "softmax", {"k": 2}),
    ("MeanSquaredError", "values", "linear", {}),
    ("RootMeanSquaredError", "values", "linear", {}),
    ("MeanAbsoluteError", "values", "linear", {}),
    ("MeanAbsolutePercentageError", "positive", "softplus", {}),
    ("MeanSquaredLogarithmicError", "positive", "softplus", {}),
    ("LogCoshError", "values", "linear", {}),
    ("CosineSimilarity", "values", "linear", {}),
    ("R2Score", "values", "linear", {}),
    ("R2Score", "values", "linear", {"class_aggregation": "variance_weighted_average"}),
    ("R2Score", "values", "linear", {"class_aggregation": None}),
    ("Poisson", "positive", "softplus", {}),
    ("KLDivergence", "shares", "softmax", {}),
    ("Hinge", "signs", "linear", {}),
    ("SquaredHinge", "signs", "tanh", {}),
    ("CategoricalHinge", "one_hot", "linear", {}),
    ("BinaryCrossentropy", "answers", "sigmoid", {}),
    ("BinaryCrossentropy", "answers", "linear", {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", "one_hot", "softmax", {}),
    ("CategoricalCrossentropy", "one_hot", "linear", {"from_logits": True, "label_smoothing": 0.1}),
    ("SparseCategoricalCrossentropy", "labels", "softmax", {}),
    ("SparseCategoricalCrossentropy", "labels", "linear", {"from_logits": True}),
    ("Precision", "answers", "sigmoid", {}),
    ("Precision", "answers", "sigmoid", {"thresholds": 0.4}),
    ("Precision", "answers", "sigmoid", {"thresholds": [0.3, 0.6, 0.5]}),
    ("Precision", "one_hot", "softmax", {"top_k": 2}),
    ("Precision", "one_hot", "softmax", {"class_id": 1}),
    ("Recall", "answers", "sigmoid", {}),
    ("Recall", "answers", "sigmoid", {"thresholds": [0.3, 0.6]}),
    ("Recall", "one_hot", "softmax", {"top_k": 1, "class_id": 2}),
    ("TruePositives", "answers", "sigmoid", {}),
    ("FalsePositives", "answers", "sigmoid", {"thresholds": [0.3, 0.6]}),
    ("TrueNegatives", "answers", "sigmoid", {}),
    ("FalseNegatives", "answers", "sigmoid", {"thresholds": 0.7}),
    ("AUC", "answers", "sigmoid", {}),
    ("AUC", "answers", "sigmoid", {"num_thresholds": 20, "summation_method": "minoring"}),
    ("AUC", "answers", "sigmoid", {"num_thresholds": 20, "summation_method": "majoring"}),
    ("AUC", "answers", "sigmoid", {"curve": "PR"}),
    ("AUC", "answers", "sigmoid", {"curve": "PR", "summation_method": "minoring"}),
    ("F1Score", "one_hot", "softmax", {"average": "macro"}),
    ("F1Score", "one_hot", "softmax", {"average": "micro"}),
    ("F1Score", "one_hot", "softmax", {"average": "weighted"}),
    ("F1Score", "answers", "sigmoid", {"average": None, "threshold": 0.5}),
    ("FBetaScore", "answers", "sigmoid", {"average": "macro", "beta": 2.0, "threshold": 0.4}),
]  # fmt: skip
# The loss that goes with each last activation.
_TRAINED_BY = {"linear": "mse", "softplus": "mse", "tanh": "mse", "sigmoid": "binary_crossentropy",
               "softmax": "categorical_crossentropy"}  # fmt: skip


def _confusion(keras: Any) -> None:
    model = build(fastmlp, Row("metrics", "", metrics=lambda m: [m.metrics.ConfusionMatrix()]))
    expected = np.zeros((UNITS, UNITS))
    np.add.at(expected, (LABELS, model.predict(X).argmax(axis=1)), 1)
    np.testing.assert_array_equal(model.evaluate(X, LABELS, verbose=0)[1], expected)


def _adjusted_r2(keras: Any) -> None:
    row = Row("metrics", "", last=lambda m: [m.layers.Dense(UNITS)], loss="mse", targets="values",
              metrics=lambda m: [m.metrics.R2Score(num_regressors=6)])  # fmt: skip
    model, theirs = build(fastmlp, row), keras.metrics.R2Score(num_regressors=6)
    theirs.update_state(row.data.y, model.predict(row.data.x))
    assert_same(model.evaluate(row.data.x, row.data.y, verbose=0)[1], float(theirs.result()), row.name)


METRICS = [
    *(Row("metrics", f"{_call(name, options)}, {targets}",
          last=lambda m, activation=activation: [m.layers.Dense(UNITS, activation=activation)],
          loss="sparse_categorical_crossentropy" if (targets, activation) == ("labels", "softmax")
          else (lambda m: m.losses.SparseCategoricalCrossentropy(from_logits=True)) if targets == "labels"
          else _TRAINED_BY[activation],
          targets=targets,
          metrics=lambda m, name=name, options=options: [getattr(m.metrics, name)(**options)],
          weighted=lambda m, name=name, options=options: [getattr(m.metrics, name)(**options, name="with_weights")],
          fit=lambda m, d: {"sample_weight": d.w, "validation_data": (d.x_val, d.y_val, d.w_val)})
      for name, targets, activation, options in _METRICS),
    *(Row("metrics", f'"{name}" of labels', metrics=lambda m, name=name: [name], weighted=lambda m, name=name: [name],
          fit=lambda m, d: {"sample_weight": d.w})
      for name in ("accuracy", "acc", "sparse_categorical_accuracy", "sparse_categorical_crossentropy")),
    *(Row("metrics", f'"{name}" of rows', loss="categorical_crossentropy", targets="one_hot",
          metrics=lambda m, name=name: [name], weighted=lambda m, name=name: [name])
      for name in ("accuracy", "categorical_accuracy", "mse", "mae", "binary_accuracy", "kl_divergence", "AUC",
                   "Precision")),
    Row("metrics", '"accuracy" of one unit', last=lambda m: [m.layers.Dense(1, activation="sigmoid")],
        loss="binary_crossentropy", targets="answer", weighted=lambda m: ["accuracy"],
        fit=lambda m, d: {"sample_weight": d.w}),
    Row("metrics", "AUC, Precision, Recall of one unit", last=lambda m: [m.layers.Dense(1, activation="sigmoid")],
        loss="binary_crossentropy", targets="answer",
        metrics=lambda m: [m.metrics.AUC(), m.metrics.Precision(), m.metrics.Recall()]),
    Row("metrics", '"accuracy" of values', last=lambda m: [m.layers.Dense(UNITS)], loss="mse", targets="one_hot"),
    Row("metrics", "several together", loss="categorical_crossentropy", targets="one_hot",
        metrics=lambda m: ["accuracy", m.metrics.F1Score(average="macro"), "mse", m.metrics.AUC(num_thresholds=50)]),
    Row("metrics", "R2Score(num_regressors=6)", check=_adjusted_r2,
        differs="Keras can't train with it on JAX; called directly, it is the same"),
    Row("metrics", "ConfusionMatrix", differs="Keras has none; NumPy counts", check=_confusion),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- training


def _on_batches(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
    """Single batches of training and of test in turn, with and without weights."""
    made: dict[str, Any] = {"train": [], "test": []}
    for first in range(0, COUNT, BATCH):
        own = slice(first, first + BATCH)
        made["train"].append(model.train_on_batch(d.x[own], d.y[own]))
        made["train"].append(model.train_on_batch(d.x[own], d.y[own], sample_weight=d.w[own], return_dict=True))
    for first in range(0, COUNT, BATCH):
        own = slice(first, first + BATCH)
        made["test"].append(model.test_on_batch(d.x[own], d.y[own], return_dict=True))
    made["class weights"] = model.train_on_batch(d.x[:BATCH], d.y[:BATCH], class_weight={0: 0.5, 2: 3.0})
    made["predicted"] = model.predict_on_batch(d.x[:BATCH])
    return made


def _batches(d: Data, epochs: int, weighted: bool = False) -> Any:
    for _ in range(epochs):
        for first in range(0, COUNT, BATCH):
            own = slice(first, first + BATCH)
            yield (d.x[own], d.y[own], d.w[own]) if weighted else (d.x[own], d.y[own])


def _from_generator(weighted: bool) -> Callable[[Any, Any, Data, Any], dict[str, Any]]:
    def drive(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
        model.fit(
            _batches(d, 2, weighted), steps_per_epoch=5, epochs=2, shuffle=False, verbose=0,
            validation_data=(d.x_val, d.y_val),
        )  # fmt: skip
        return {
            "history": model.history.history,
            "evaluated": model.evaluate(_batches(d, 1, weighted), steps=5, verbose=0, return_dict=True),
            "predicted": model.predict(((x,) for x, _ in _batches(d, 1)), steps=5, verbose=0),
        }

    return drive


def _from_dataset(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> Any:
            own = slice(index * BATCH, (index + 1) * BATCH)
            return d.x[own], d.y[own]

    made = model.fit(Batches(), epochs=2, shuffle=False, verbose=0, validation_data=Batches()).history
    return {"history": made, "evaluated": model.evaluate(Batches(), verbose=0)}


def _twice(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
    """fit, and fit again from there."""
    settings = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    first = model.fit(d.x, d.y, epochs=1, **settings).history
    again = model.fit(d.x, d.y, epochs=3, initial_epoch=1, **settings)
    return {"first": first, "again": again.history, "epochs": again.epoch}


def _thawed(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
    """A layer is trained at first and then not, and the model compiled again."""
    settings = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    first = model.fit(d.x, d.y, **settings).history
    model.layers[0].trainable = False
    options = {} if m is fastmlp else {"run_eagerly": True}
    model.compile(sgd(m), "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return {"first": first, "then": model.fit(d.x, d.y, **settings).history}


def _split(m: Any, d: Data) -> dict[str, Any]:
    return {"validation_data": None, "validation_split": 0.3, "sample_weight": d.w}


def _plain_compile(m: Any) -> dict[str, Any]:
    return {"steps_per_execution": 1, "jit_compile": False, "run_eagerly": True, "auto_scale_loss": True}


def _generator_with_class_weight(keras: Any) -> None:
    row = Row("training", "")
    d, share = row.data, {0: 0.5, 1: 2.0}
    from_arrays, from_generator = build(fastmlp, row), build(fastmlp, row)
    from_generator.set_weights(from_arrays.get_weights())
    from_arrays.fit(d.x, d.y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, class_weight=share)
    from_generator.fit(_batches(d, 2), steps_per_epoch=5, epochs=2, verbose=0, class_weight=share)
    assert_same(from_generator.history.history, from_arrays.history.history, row.name)
    assert_same(weights_of(from_generator), weights_of(from_arrays), row.name)


def _weighted_loss(keras: Any) -> None:
    build(fastmlp, Row("training", "", compile=lambda m: {"loss_weights": [1.0]}))
    with pytest.raises(ValueError, match="loss_weights"):
        build(fastmlp, Row("training", "", compile=lambda m: {"loss_weights": 0.5}))


T = "training"
TRAINING = [
    Row(T, "class_weight", fit=lambda m, d: {"class_weight": {0: 0.5, 1: 2.0}}, weighted=lambda m: ["accuracy"]),
    Row(T, "class_weight of one-hot targets", fit=lambda m, d: {"class_weight": {0: 0.5, 1: 2.0, 2: 1.5}},
        loss="categorical_crossentropy", targets="one_hot", weighted=lambda m: ["accuracy"]),
    Row(T, "class_weight of one unit", last=lambda m: [m.layers.Dense(1, activation="sigmoid")],
        loss="binary_crossentropy", targets="answer", fit=lambda m, d: {"class_weight": {0: 0.5, 1: 2.0}}),
    Row(T, "sample_weight", fit=lambda m, d: {"sample_weight": d.w}, weighted=lambda m: ["accuracy"]),
    Row(T, "sample_weight with zeros", fit=lambda m, d: {"sample_weight": np.where(d.w > 1, d.w, 0)},
        weighted=lambda m: ["accuracy"]),
    Row(T, "sample_weight, with Adam", fit=lambda m, d: {"sample_weight": d.w},
        optimizer=lambda m: m.optimizers.Adam(0.01)),
    Row(T, "validation_data with weights", weighted=lambda m: ["accuracy"],
        fit=lambda m, d: {"validation_data": (d.x_val, d.y_val, d.w_val)}),
    Row(T, "validation_split with weights", fit=_split, weighted=lambda m: ["accuracy"]),
    Row(T, "validation_freq", fit=lambda m, d: {"validation_freq": 2, "epochs": 5}),
    Row(T, "validation_freq as a list", fit=lambda m, d: {"validation_freq": [1, 3], "epochs": 4}),
    Row(T, "validation_batch_size", fit=lambda m, d: {"validation_batch_size": 5}),
    Row(T, "no validation", fit=lambda m, d: {"validation_data": None}),
    Row(T, "batch_size larger than the samples", fit=lambda m, d: {"batch_size": 100}),
    Row(T, "targets (samples, 1)", last=lambda m: [m.layers.Dense(1)], loss="mse", targets="answer",
        fit=lambda m, d: {"validation_data": None},
        drive=lambda m, model, d, folder: {
            "history": model.fit(d.x, d.y[:, None], batch_size=BATCH, shuffle=False, verbose=0).history}),
    Row(T, "class indices (samples, 1)", drive=lambda m, model, d, folder: {
        "history": model.fit(d.x, d.y[:, None], batch_size=BATCH, shuffle=False, verbose=0).history}),
    Row(T, "samples of uint8", x=_rng.integers(0, 6, X.shape).astype(np.uint8)),
    Row(T, "samples of float64", x=X.astype(np.float64)),
    Row(T, "samples of integers", x=_rng.integers(-3, 4, X.shape)),
    Row(T, "samples that are mostly zero", x=(X * (_rng.random(X.shape) < 0.2)).astype(np.float32)),
    Row(T, "three layers", lambda m: [m.layers.Dense(HIDDEN, activation=a) for a in ("relu", "gelu", "sigmoid")]),
    Row(T, "no hidden layer", lambda m: []),
    Row(T, "fit, and fit again", drive=_twice),
    Row(T, "trainable changed between two calls of fit", drive=_thawed),
    Row(T, "train_on_batch, test_on_batch, predict_on_batch", drive=_on_batches,
        weighted=lambda m: [m.metrics.SparseCategoricalAccuracy(name="with_weights")]),
    Row(T, "train_on_batch with penalties", _dense(kernel_regularizer="l2"), drive=_on_batches),
    Row(T, "train_on_batch with BatchNormalization", _behind(lambda m: m.layers.BatchNormalization()),
        drive=_on_batches),
    Row(T, "a generator and steps_per_epoch", drive=_from_generator(weighted=False)),
    Row(T, "a generator with weights", drive=_from_generator(weighted=True), weighted=lambda m: ["accuracy"]),
    Row(T, "a generator and class_weight", differs="Keras refuses it; the same as with arrays",
        check=_generator_with_class_weight),
    Row(T, "a PyDataset", drive=_from_dataset),
    Row(T, "steps_per_epoch of arrays", fit=lambda m, d: {"steps_per_epoch": 5}),
    Row(T, "steps_per_execution, jit_compile, run_eagerly, auto_scale_loss", compile=_plain_compile),
    Row(T, "loss_weights", differs="there is one loss: its weight is 1, another is refused", check=_weighted_loss),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- callbacks


def _with(*make: Callable[[Any], Any], **options: Any) -> Callable[[Any, Data], dict[str, Any]]:
    """Arguments of fit with these callbacks."""
    return lambda m, d: {"callbacks": [made(m) for made in make], **options}


def _csv(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
    path = folder / f"{m.__name__}.csv"
    logger = m.callbacks.CSVLogger(path, separator=";")
    model.fit(d.x, d.y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=[logger])
    rows = [line.split(";") for line in path.read_text().splitlines()]
    return {"columns": rows[0], "numbers": [[_number(text) for text in row] for row in rows[1:]]}


def _number(text: str) -> Any:
    return text if text == "NA" else float(text)


def _hooks(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
    """What LambdaCallback sees of a fit, batch by batch."""
    seen: list[Any] = []
    watching = m.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(f"epoch {epoch} begins"),
        on_epoch_end=lambda epoch, logs: seen.append([epoch, dict(sorted(logs.items()))]),
        on_train_begin=lambda logs: seen.append("training begins"),
        on_train_end=lambda logs: seen.append("training ends"),
        on_train_batch_begin=lambda batch, logs: seen.append(f"batch {batch} begins"),
        on_train_batch_end=lambda batch, logs: seen.append([batch, dict(sorted(logs.items()))]),
    )
    model.fit(d.x, d.y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=[watching])
    return {"seen": seen}


def _own_callback(m: Any, model: Any, d: Data, folder: Any) -> dict[str, Any]:
    """A class of the user's that stops the training and sets the learning rate."""

    class Own(m.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = 0.1 / (epoch + 1)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 2

    made = model.fit(d.x, d.y, batch_size=BATCH, epochs=9, shuffle=False, verbose=0, callbacks=[Own()])
    return {"history": made.history, "epochs": made.epoch, "params": made.params["epochs"]}


def _diverging(keras: Any) -> None:
    """With TerminateOnNaN both end; without it fit raises here, where Keras trains on."""
    row = Row("callbacks", "", optimizer=lambda m: m.optimizers.SGD(1e30), loss="mse", targets="values",
              last=lambda m: [m.layers.Dense(UNITS)], layers=_dense(activation="linear"))  # fmt: skip
    d = row.data
    lengths = []
    for m in (keras, fastmlp):
        stop = m.callbacks.TerminateOnNaN()
        made = build(m, row).fit(d.x, d.y, batch_size=BATCH, epochs=3, shuffle=False, verbose=0, callbacks=[stop])
        lengths.append(len(made.history["loss"]))
        assert not np.isfinite(made.history["loss"][-1])
    assert lengths == [1, 1]
    with pytest.raises(FloatingPointError, match="diverged"):
        build(fastmlp, row).fit(d.x, d.y, batch_size=BATCH, epochs=3, verbose=0)


def _halved(epoch: int, rate: float) -> float:
    return rate * 0.5


CB = "callbacks"
CALLBACKS = [
    Row(CB, "History", fit=_with(epochs=3)),
    Row(CB, "EarlyStopping", optimizer=lambda m: m.optimizers.SGD(1.0),
        fit=_with(lambda m: m.callbacks.EarlyStopping(patience=1), epochs=12)),
    # The loss falls, so its greatest value is that of the first epoch.
    Row(CB, "EarlyStopping(restore_best_weights=True)",
        fit=_with(lambda m: m.callbacks.EarlyStopping("val_loss", mode="max", patience=2, restore_best_weights=True),
                  epochs=9)),
    Row(CB, "EarlyStopping(restore_best_weights=True) that doesn't stop",
        fit=_with(lambda m: m.callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True),
                  epochs=4)),
    Row(CB, "EarlyStopping of accuracy",
        fit=_with(lambda m: m.callbacks.EarlyStopping("accuracy", min_delta=0.3, patience=1), epochs=9)),
    Row(CB, "EarlyStopping(baseline, start_from_epoch)",
        fit=_with(lambda m: m.callbacks.EarlyStopping(baseline=0.01, patience=2, start_from_epoch=1), epochs=9)),
    Row(CB, "ReduceLROnPlateau",
        fit=_with(lambda m: m.callbacks.ReduceLROnPlateau("loss", mode="max", factor=0.3, patience=1), epochs=5)),
    Row(CB, "ReduceLROnPlateau(cooldown, min_lr)",
        fit=_with(lambda m: m.callbacks.ReduceLROnPlateau(
            factor=0.5, patience=1, min_delta=0.5, cooldown=1, min_lr=0.03), epochs=7)),
    Row(CB, "LearningRateScheduler", fit=_with(lambda m: m.callbacks.LearningRateScheduler(_halved), epochs=3)),
    Row(CB, "LearningRateScheduler of the epoch alone",
        fit=_with(lambda m: m.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)), epochs=3)),
    Row(CB, "CSVLogger", drive=_csv),
    Row(CB, "LambdaCallback", drive=_hooks),
    Row(CB, "LambdaCallback, with penalties", _dense(kernel_regularizer="l2"), drive=_hooks),
    Row(CB, "a class of one's own", drive=_own_callback),
    Row(CB, "TerminateOnNaN, with a finite loss", fit=_with(lambda m: m.callbacks.TerminateOnNaN())),
    Row(CB, "TerminateOnNaN", differs="without it fit raises FloatingPointError when the loss is no number",
        check=_diverging),
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- otherwise in Keras


def _trained(*callbacks: Any, epochs: int = 3) -> Any:
    """A model after some epochs, the same for the same arguments."""
    fastmlp.utils.set_random_seed(3)
    model = build(fastmlp, Row("files", "", optimizer=lambda m: m.optimizers.Adam(0.01)))
    model.fit(X, LABELS, epochs=epochs, batch_size=BATCH, verbose=0, callbacks=list(callbacks))
    return model


def _equal(a: Any, b: Any) -> None:
    for own, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def _saved(keras: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = _trained()
        model.save(f"{folder}/model.safetensors")
        loaded = fastmlp.models.load_model(f"{folder}/model.safetensors")
        for one in (model, loaded):
            fastmlp.utils.set_random_seed(4)
            one.fit(X, LABELS, epochs=2, batch_size=BATCH, verbose=0)
        _equal(model, loaded)


def _checkpoint(keras: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/best.safetensors"
        kept = fastmlp.callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True)
        _equal(_trained(kept), fastmlp.models.load_model(path))


def _killed(keras: Any) -> None:
    class Kill(fastmlp.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(KeyboardInterrupt):
            _trained(fastmlp.callbacks.BackupAndRestore(folder), Kill(), epochs=4)
        _equal(_trained(fastmlp.callbacks.BackupAndRestore(folder), epochs=4), _trained(epochs=4))


def _own_functions(keras: Any) -> None:
    def value(y_true: Any, y_pred: Any) -> Any:
        return ((y_pred - y_true) ** 2).mean()

    def gradient(y_true: Any, y_pred: Any, out: Any) -> None:
        out[:] = 2 * (y_pred - y_true) / len(out)

    histories = []
    for loss, metric in (("mse", "mse"), (fastmlp.losses.Custom(value, gradient), fastmlp.metrics.Custom(value))):
        fastmlp.utils.set_random_seed(3)
        row = Row("own functions", "", targets="values", last=lambda m: [m.layers.Dense(UNITS)],
                  loss=lambda m, loss=loss: loss, metrics=lambda m, metric=metric: [metric])  # fmt: skip
        history = build(fastmlp, row).fit(row.data.x, row.data.y, epochs=2, verbose=0).history
        histories.append(list(history.values()))
    np.testing.assert_allclose(*histories, rtol=WITHIN)


OTHERS = [
    Row(CB, "ModelCheckpoint", differs="writes .safetensors; the best epoch comes back whole", check=_checkpoint),
    Row(CB, "BackupAndRestore", differs="a training that was killed ends with the same bits", check=_killed),
    Row("files", "save, load_model", differs="one .safetensors file; training goes on with the same bits",
        check=_saved),
    Row("own functions", "losses.Custom, metrics.Custom", differs="compiled functions; the same as built in",
        check=_own_functions),
]  # fmt: skip

ROWS: list[Row] = [
    *LAYERS, *ACTIVATIONS, *LOSSES, *OPTIMIZERS, *SCHEDULES, *REGULARIZERS, *CONSTRAINTS, *INITIALIZERS, *METRICS,
    *TRAINING, *CALLBACKS, *OTHERS,
]  # fmt: skip


# ---------------------------------------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def keras() -> Any:
    module = pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_disable_most_optimizations", True)  # hundreds of operations are compiled to run a few times
    yield module
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.group}: {row.name}")
def test_results_are_those_of_keras(keras, row, tmp_path):
    keras.utils.clear_session(free_memory=False)  # metrics are numbered by process
    if row.check is not None:
        assert row.differs, "a row with a test of its own says why"
        row.check(keras)
        return
    seed = zlib.crc32(row.name.encode())
    keras.utils.set_random_seed(seed)
    theirs, ours = build(keras, row), build(fastmlp, row)
    share_weights(theirs, ours, seed)
    before = weights_of(ours)
    expected, found = results(keras, theirs, row, tmp_path), results(fastmlp, ours, row, tmp_path)
    assert_same(found, expected, row.name)
    assert list(found.get("history", ())) == list(expected.get("history", ())), "keys of History are in Keras's order"
    assert row.drive is not None or not all(map(np.array_equal, weights_of(ours), before)), "nothing was trained"


def test_rows_have_names_of_their_own():
    names = [(row.group, row.name) for row in ROWS]
    assert len(set(names)) == len(names)
