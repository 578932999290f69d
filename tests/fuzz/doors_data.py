"""Doors for data: what fit, evaluate, predict and their like are given."""

import contextlib
import functools
import warnings
from random import Random

import inputs
import numpy as np
from harness import door, unchanged
from numba.core.errors import TypingError

import fastmlp
from fastmlp import checks, layers

SAMPLES, FEATURES, CLASSES = 12, 5, 3


@functools.cache
def _models() -> list[fastmlp.Sequential]:
    """Compiled models; each takes FEATURES numbers a sample. One has not been built."""
    fastmlp.utils.set_random_seed(3)
    classes = fastmlp.Sequential([layers.Input((FEATURES,)), layers.Dense(4, "relu"), layers.Dense(CLASSES, "softmax")])
    classes.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    one_hot = fastmlp.Sequential(
        [
            layers.Input((FEATURES,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=1),
            layers.Dense(CLASSES, "softmax"),
        ],
        dtype="float64",
    )
    one_hot.compile("adam", "categorical_crossentropy", ["accuracy", "top_k_categorical_accuracy"])
    values = fastmlp.Sequential([layers.Input((FEATURES,)), layers.Dense(1)])
    values.compile(fastmlp.optimizers.SGD(1e-4, momentum=0.9, clipnorm=1.0), "mse", ["mae"])
    images = fastmlp.Sequential([layers.Input((1, FEATURES)), layers.Flatten(), layers.Dense(2, "sigmoid")])
    images.compile("rmsprop", "binary_crossentropy", ["auc"] if "auc" in fastmlp.metrics.NAMES else None)
    for model in (classes, one_hot, values, images):
        x = np.zeros((4, *model.input_shape[1:]))
        y = np.zeros(4) if model in (classes, values) else np.zeros((4, model.output_shape[1]))
        model.fit(x, y, verbose=0)
    return [classes, one_hot, values, images]


def _fresh() -> fastmlp.Sequential:
    model = fastmlp.Sequential([layers.Dense(CLASSES, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def _model(rng: Random) -> fastmlp.Sequential:
    return _fresh() if rng.random() < 0.1 else rng.choice(_models())


def _right(model: fastmlp.Sequential) -> tuple[np.ndarray, np.ndarray]:
    shape = model.input_shape[1:] if model.built else (FEATURES,)
    x = np.linspace(-1, 1, SAMPLES * FEATURES, dtype=np.float32).reshape(SAMPLES, *shape)
    if not model.built or model.loss.sparse:
        return x, np.arange(SAMPLES) % CLASSES
    return x, np.eye(model.output_shape[1], dtype=np.float32)[np.arange(SAMPLES) % model.output_shape[1]]


def _x(rng: Random, model: fastmlp.Sequential, right: np.ndarray) -> object:
    how = rng.randrange(10)
    if how == 0:
        return sparse(rng)
    if how == 1:
        return frame(rng)
    return inputs.array(rng, right.shape)


def frame(rng: Random) -> object:
    """A frame of pandas whose columns are something."""
    import pandas as pd

    kinds = (
        lambda: np.arange(SAMPLES),
        lambda: ["a"] * SAMPLES,
        lambda: pd.Series([1, None] * (SAMPLES // 2), dtype="Int64"),
        lambda: pd.Categorical(["u", "v"] * (SAMPLES // 2)),
        lambda: pd.date_range("2020", periods=SAMPLES),
        lambda: [None] * SAMPLES,
        lambda: [10**400] * SAMPLES,
        lambda: [1 + 2j] * SAMPLES,
        lambda: pd.arrays.SparseArray([0, 1] * (SAMPLES // 2)),
        lambda: [np.inf] * SAMPLES,
        lambda: [[1]] * SAMPLES,
        lambda: pd.Series([True, pd.NA] * (SAMPLES // 2), dtype="boolean"),
        lambda: pd.interval_range(0, SAMPLES),
    )
    columns = [rng.choice((kinds[0], rng.choice(kinds)))() for _ in range(rng.choice((FEATURES, FEATURES, 0, 1)))]
    made = pd.concat([pd.Series(column) for column in columns], axis=1) if columns else pd.DataFrame()
    if columns and rng.random() < 0.3:
        made.columns = ["twice"] * len(columns)
    return made.iloc[:, 0] if columns and rng.random() < 0.1 else made


def sparse(rng: Random) -> object:
    """A matrix of scipy.sparse whose arrays were changed behind its back."""
    import scipy.sparse as sp

    base = sp.random(SAMPLES, FEATURES, 0.5, random_state=rng.randrange(100), dtype=rng.choice(("f4", "f8")))
    make = rng.choice(
        (
            sp.csr_matrix,
            sp.csr_array,
            sp.csc_matrix,
            sp.coo_matrix,
            sp.coo_array,
            sp.bsr_matrix,
            sp.dia_matrix,
            sp.lil_matrix,
            sp.dok_matrix,
        )
    )
    made = make(base)
    names = [
        name
        for name in ("indptr", "indices", "data", "row", "col", "offsets", "rows", "_shape", "coords", "_dict")
        if name in vars(made)
    ]
    for _ in range(rng.randrange(3)):
        name = rng.choice(names)
        now = vars(made)[name]
        if name == "_shape":
            vars(made)[name] = rng.choice(
                (
                    (SAMPLES, FEATURES + 1),
                    (SAMPLES + 3, FEATURES),
                    (2**40, FEATURES),
                    (1, 1),
                    (-1, FEATURES),
                    (SAMPLES,),
                    (0, FEATURES),
                )
            )
        elif name == "_dict":
            now[rng.choice(((99, 1), (-1, 0), (0, 99), (2**40, 0), "key", (0,), (0.5, 1)))] = rng.choice(
                (1.0, np.nan, "x")
            )
        elif name == "coords":
            vars(made)[name] = tuple(_wrong(rng, np.array(axis)) for axis in now)
        elif isinstance(now, np.ndarray):
            vars(made)[name] = _wrong(rng, now.copy())
    return made


def _wrong(rng: Random, now: np.ndarray) -> object:
    how = rng.randrange(9)
    if how <= 3 and now.size and now.dtype != object:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flat = now.reshape(-1)
            flat[rng.randrange(now.size)] = np.array(
                rng.choice((-1, 0, 1, 5, 99, 2**31 - 1, 2**40, -(2**31), np.nan, np.inf))
            ).astype(now.dtype)
        return now
    if how == 4:
        return now[: rng.randrange(len(now) + 1)] if now.ndim else now
    if how == 5 and now.dtype != object:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of complex numbers that lose a part
            return now.astype(rng.choice(("i8", "u8", "f8", "i4", "i2", ">i4", "c8", "?")))
    if how == 6:
        return now[::-1]
    if how == 7:
        return now.reshape(-1, 1) if now.ndim == 1 else now.reshape(-1)
    return np.empty(3, object) if rng.random() < 0.2 else np.repeat(now, 2, axis=0)


class _Row:
    """A list-like object of batches that says how long it is. It ends: what never does is read until memory ends."""

    def __init__(self, length: int, batch: object):
        self._length, self._batch = length, batch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> object:
        if i >= max(self._length, 3):
            raise IndexError(i)
        return self._batch


def _batches(rng: Random, x: object, y: object) -> object:
    """An iterable that yields something."""
    how = rng.randrange(8)
    if how == 0:
        return iter([(x, y), rng.choice(((x,), (x, y, None, 1), None, "ab", x, 7, []))])
    if how == 1:
        return rng.choice((iter(()), range(0), range(5), {1: 2}, {"ab", "cd"}, map(len, [1, 2])))
    if how == 2:
        return _Row(10**5, None)
    if how == 3:
        return _Row(-1, (x, y))
    if how == 4:
        return iter([(x, y, rng.choice((None, np.zeros(3), "x", -1.0)))])
    return iter([(x, y)] * rng.randrange(3))


def _arguments(rng: Random, model: fastmlp.Sequential, may_validate: bool) -> dict[str, object]:
    """x, y and more, of which one or two are hostile."""
    x, y = _right(model)
    given: dict[str, object] = {"x": x, "y": y}
    for _ in range(rng.choice((1, 1, 1, 2))):
        how = rng.randrange(12)
        if how <= 3:
            given["x"] = _x(rng, model, x)
        elif how <= 6:
            given["y"] = inputs.labels(rng, SAMPLES, CLASSES)
        elif how == 7:
            given["sample_weight"] = inputs.array(rng, (SAMPLES,))
        elif how == 8 and may_validate:
            own = inputs.array(rng, x.shape), inputs.labels(rng, SAMPLES, CLASSES)
            given["validation_data"] = rng.choice(
                (
                    own,
                    (x, own[1]),
                    (own[0], y),
                    (x, y, own[1]),
                    own[0],
                    (x,),
                    "xy",
                    3,
                    _batches(rng, *own),
                    [x, y],
                    (None, None),
                )
            )
        elif how == 9 and may_validate:
            given[
                rng.choice(
                    (
                        "batch_size",
                        "initial_epoch",
                        "validation_split",
                        "shuffle",
                        "class_weight",
                        "verbose",
                        "steps_per_epoch",
                        "validation_steps",
                        "validation_freq",
                        "callbacks",
                        "validation_from",
                    )
                )
            ] = inputs.thing(rng)
        elif how == 10 and may_validate:
            key = rng.choice((0, 1, 2, 3, -1, 1.0, "1", None, 2**70, True))
            given["class_weight"] = {key: inputs.thing(rng)} if rng.random() < 0.9 else inputs.thing(rng)
        elif how == 11:
            given["x"], given["y"] = _batches(rng, given["x"], given["y"]), None
    return given


@door
def fit(rng: Random) -> None:
    model = _model(rng)
    given = {"verbose": 0, **_arguments(rng, model, True)}
    unchanged_or_trained(model, given, lambda: model.fit(**given))


def unchanged_or_trained(model, given, call) -> None:
    """Batches are looked at when it is their turn: what was trained before stays trained."""
    x, held_out = given["x"], given.get("validation_data")
    later = given.get("y") is None or not isinstance(held_out, (tuple, list, type(None)))
    if later or hasattr(x, "__next__") or given.get("callbacks") is not None:
        call()
    else:
        unchanged(model, call)


@door
def train_on_batch(rng: Random) -> None:
    model = _model(rng)
    given = _arguments(rng, model, False)
    if rng.random() < 0.2:
        given["class_weight"] = {rng.randrange(-1, 5): inputs.thing(rng)}
    unchanged(model, lambda: model.train_on_batch(**given))


@door
def evaluate(rng: Random) -> None:
    model = _model(rng)
    given = _arguments(rng, model, False)
    if rng.random() < 0.2:
        given[rng.choice(("batch_size", "steps", "callbacks", "return_dict"))] = inputs.thing(rng)
    if given["y"] is None:
        model.evaluate(verbose=0, **given)  # the batches before the wrong one were right
    else:
        unchanged(model, lambda: model.evaluate(verbose=0, **given))


@door
def test_on_batch(rng: Random) -> None:
    model = _model(rng)
    given = _arguments(rng, model, False)
    unchanged(model, lambda: model.test_on_batch(**given))


@door
def predict(rng: Random) -> None:
    model = _model(rng)
    x, _ = _right(model)
    x = x[: rng.choice((1, SAMPLES))]
    wrong = _x(rng, model, x) if rng.random() < 0.9 else _batches(rng, x, x)
    more = {rng.choice(("batch_size", "steps", "callbacks")): inputs.thing(rng)} if rng.random() < 0.1 else {}
    if checks.is_batches(wrong, None):
        model.predict(wrong, **more)  # those before the wrong one were right, and may have built it
        return
    call = rng.choice(
        (lambda: model.predict(wrong, **more), lambda: model(wrong), lambda: model.predict_on_batch(wrong))
    )
    unchanged(model, call)


@door
def look_inside(rng: Random) -> None:
    model = rng.choice(_models())
    given = _arguments(rng, model, False)
    unchanged(model, lambda: model.layer_outputs(given["x"]))
    unchanged(model, lambda: model.layer_gradients(given["x"], given["y"]))


@door
def set_weights(rng: Random) -> None:
    model = rng.choice(_models())
    weights: list = [inputs.array(rng, w.shape) if rng.random() < 0.4 else w + 1 for w in model.get_weights()]
    if rng.random() < 0.2:
        weights = rng.choice((weights[1:], [*weights, weights[0]], None, "weights", 3, np.zeros(3), {}, [[]], [None]))
    before = model.get_weights()
    try:
        unchanged(model, lambda: model.set_weights(weights))
    finally:
        model.set_weights(before)


@door
def build(rng: Random) -> None:
    model = _fresh()
    shape = rng.choice((inputs.thing(rng), (None, inputs.thing(rng)), [None, rng.choice(inputs.NUMBERS)]))
    unchanged(model, lambda: model.build(shape))


@door
def restore_training_state(rng: Random) -> None:
    model = rng.choice(_models())
    state: dict = model.training_state()
    before = {name: array.copy() for name, array in state.items()}
    for _ in range(rng.choice((1, 2))):
        name = rng.choice(list(state))
        how = rng.randrange(4)
        if how == 0:
            del state[name]
        elif how == 1:
            state[name] = inputs.array(rng, np.shape(state[name]))
        elif how == 2:
            state[name] = inputs.thing(rng)
        elif isinstance(state[name], np.ndarray) and state[name].dtype.kind in "uif":
            raw = inputs.damaged(rng, state[name].tobytes())
            dtype = state[name].dtype
            state[name] = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
        if not state:
            break
    try:
        unchanged(model, lambda: model.restore_training_state(state))
    finally:
        model.restore_training_state(before)


#: Types for which the function is compiled here.
_COMPILED = ("<f4", "<f8", "|u1")


@functools.cache
def _compiled() -> list:
    """Functions of two networks."""
    return [model.as_njit() for model in (_models()[0], _models()[3])]


@door
def compiled_function(rng: Random) -> None:
    """What as_njit returns, called from Python; memory behind `out` must not be touched."""
    which = rng.randrange(2)
    function, units, shape = _compiled()[which], (CLASSES, 2)[which], ((FEATURES,), (1, FEATURES))[which]
    types = ("f4", "f8", "u1")
    sizes = rng.choice(
        (shape, (4, *shape), (FEATURES,), (4, FEATURES), (0, *shape), (FEATURES + 1,), (4, 2, FEATURES), ())
    )
    x: object = np.zeros(sizes, rng.choice(types))
    if isinstance(x, np.ndarray) and x.ndim and rng.random() < 0.3:
        x = rng.choice((x[::-1], x[..., ::-1], np.asfortranarray(x), x[..., ::2], x[:1]))
    if rng.random() < 0.05:
        x = inputs.array(rng, shape)
        if (np.ndim(x) and len(x) > 10**6) or not isinstance(x, np.ndarray) or x.dtype.str not in _COMPILED:
            return  # each other type is compiled first, to its error
    if rng.random() < 0.5:
        with contextlib.suppress(TypingError):
            function(x)
        return
    memory = np.full(4 * 8 * units, 77, rng.choice(("f4", "f8")))
    size = rng.choice((units, units - 1, units + 1, 4 * units, 0))
    out = memory[8 : 8 + size]
    if rng.random() < 0.5 and size == 4 * units:
        out = out.reshape(4, units)
    if rng.random() < 0.1 and isinstance(x, np.ndarray) and x.dtype == memory.dtype and x.size >= units:
        out = x.reshape(-1)[:units]  # both in one place
    try:
        with contextlib.suppress(TypingError):  # of another type or number of axes
            function(x, out)
    finally:
        if (memory[:8] != 77).any() or (memory[8 + size :] != 77).any():
            raise AssertionError("memory beside out was written to")


@door
def adapt(rng: Random) -> None:
    layer = layers.Normalization(axis=rng.choice((-1, None)))
    layer.adapt(_x(rng, _models()[0], np.zeros((SAMPLES, FEATURES))))
    np.asarray(layer.mean)


@door
def to_categorical(rng: Random) -> None:
    made = inputs.labels(rng, SAMPLES, CLASSES)
    if rng.random() < 0.5:
        fastmlp.utils.to_categorical(made)
    else:
        fastmlp.utils.to_categorical(made, inputs.thing(rng))


@door
def losses_and_metrics(rng: Random) -> None:
    """Called by themselves."""
    from fastmlp import losses, metrics

    a, b = inputs.array(rng, (SAMPLES, CLASSES)), np.full((SAMPLES, CLASSES), 0.5)
    pair = rng.choice(((a, b), (b, a), (inputs.labels(rng, SAMPLES, CLASSES), b)))
    if rng.random() < 0.7:
        losses.get(rng.choice(sorted(losses.NAMES)))(*pair)
    else:
        metric = metrics.get(rng.choice(sorted(metrics.NAMES)))
        if hasattr(metric, "update_state"):
            metric.update_state(*pair)


@door
def activations(rng: Random) -> None:
    from fastmlp import activations

    getattr(activations, rng.choice(sorted(activations.NAMES)))(inputs.array(rng, (3, FEATURES)))


@door
def estimators(rng: Random) -> None:
    """What scikit-learn's estimators are given, and the arguments that they are made with."""
    from fastmlp.sklearn import MLPClassifier, MLPRegressor

    kind = rng.choice((MLPClassifier, MLPRegressor))
    more = {rng.choice(_ESTIMATOR_ARGUMENTS): inputs.thing(rng)} if rng.random() < 0.4 else {}
    made = kind(**{"max_iter": 1, "hidden_layer_sizes": (2,), "random_state": 1, **more})
    right = np.linspace(-1, 1, SAMPLES * FEATURES).reshape(SAMPLES, FEATURES), np.arange(SAMPLES) % CLASSES
    if rng.random() < 0.4:
        made = kind(max_iter=1, hidden_layer_sizes=(2,), random_state=1).fit(*right)
        wrong = sparse(rng) if rng.random() < 0.3 else inputs.array(rng, (SAMPLES, FEATURES))
        rng.choice((lambda: made.predict(wrong), lambda: made.score(wrong, right[1])))()
        return
    x, y = right
    how = rng.randrange(4)
    if how == 0:
        x = sparse(rng)
    elif how == 1:
        x = _x(rng, _models()[0], x)
    elif how == 2:
        y = inputs.labels(rng, SAMPLES, CLASSES)
    made.fit(x, y)


_ESTIMATOR_ARGUMENTS = (
    "hidden_layer_sizes",
    "activation",
    "solver",
    "alpha",
    "batch_size",
    "learning_rate_init",
    "shuffle",
    "random_state",
    "tol",
    "validation_fraction",
    "early_stopping",
    "n_iter_no_change",
)
