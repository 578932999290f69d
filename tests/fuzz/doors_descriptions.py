"""Doors for descriptions and arguments: what from_config, model_from_json and the classes themselves are given."""

import contextlib
import functools
import inspect
import io
import json
from random import Random

import inputs
import numpy as np
from harness import door

import fastmlp
from fastmlp import callbacks, layers, serialization
from fastmlp.models import Sequential, model_from_json

#: More numbers than this make a network too slow to try.
_FEW = 10**5


def everything() -> Sequential:
    """A compiled network with layers of all sorts."""
    fastmlp.utils.set_random_seed(2)
    model = Sequential(
        [
            layers.Input((2, 3)),
            layers.Flatten(),
            layers.Normalization(mean=[0.0] * 6, variance=[1.0] * 6),
            layers.Dense(4, "relu", kernel_regularizer="l2", bias_constraint="non_neg"),
            layers.BatchNormalization(),
            layers.Dropout(0.25, seed=5),
            layers.Dense(4, kernel_initializer="he_normal"),
            layers.PReLU(),
            layers.LayerNormalization(),
            layers.LeakyReLU(0.1),
            layers.Dense(3, "softmax"),
        ]
    )
    schedule = (
        fastmlp.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
        if hasattr(fastmlp.optimizers, "schedules")
        else 0.01
    )
    model.compile(fastmlp.optimizers.Adam(schedule), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(np.zeros((4, 2, 3)), [0, 1, 2, 0], verbose=0)
    return model


def plain() -> Sequential:
    """A network of the layers that every format has."""
    fastmlp.utils.set_random_seed(2)
    model = Sequential(
        [
            layers.Input((4,)),
            layers.Dense(5, "relu"),
            layers.BatchNormalization(),
            layers.Dense(3, "tanh"),
            layers.Dense(2, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(np.zeros((4, 4)), [0, 1, 1, 0], verbose=0)
    return model


@functools.cache
def _configs() -> tuple[dict, ...]:
    return everything().get_config(), plain().get_config()


@functools.cache
def _texts() -> tuple[str, ...]:
    return (
        everything().to_json(),
        plain().to_json(),
        plain().to_json(format="keras"),
        everything().to_json(format="keras"),
    )


@functools.cache
def _described() -> tuple[dict, ...]:
    from fastmlp.saving.description import compile_of

    made = compile_of(everything())
    return tuple([*made["metrics"], made["optimizer"], made["loss"], *everything().get_config()["layers"]])


def use(model: Sequential) -> None:
    """What was taken must work, where it is small enough to try."""
    if not model.built or model.count_params() > _FEW or np.prod(model.input_shape[1:]) > _FEW:
        return
    x = np.zeros((2, *model.input_shape[1:]), np.float32)
    model.predict(x)
    if model.optimizer is not None and model.loss is not None:
        y = np.zeros(2) if model.loss.sparse else np.zeros((2, model.output_shape[1]))
        model.fit(x, y, verbose=0)


@door
def from_config(rng: Random) -> None:
    use(Sequential.from_config(inputs.changed(rng, rng.choice(_configs()))))


@door
def json_text(rng: Random) -> None:
    text = rng.choice(_texts())
    if rng.random() < 0.3:
        damaged = inputs.damaged(rng, text.encode())
        use(model_from_json(damaged if rng.random() < 0.2 else damaged.decode(errors="replace")))
    elif rng.random() < 0.05:
        model_from_json(rng.choice(("[" * 10**5, '{"a":' * 10**5, "1" * 5000, "", None, 3, b"", "NaN")))
    else:
        use(model_from_json(json.dumps(inputs.changed(rng, json.loads(text)))))


@door
def deserialize(rng: Random) -> None:
    made = inputs.changed(rng, rng.choice(_described()))
    kind = rng.choice((None, None, "layer", "optimizer", inputs.value(rng)))
    serialization.deserialize(made, kind) if rng.random() < 0.8 else serialization.deserialize(made)


def _arguments(rng: Random, cls: type, count: int) -> dict[str, object]:
    """Those that it needs, and some more."""
    known = serialization._parameters(cls)
    needed = {
        "units": 3,
        "rate": 0.5,
        "activation": "relu",
        "scale": 2.0,
        "shape": (4,),
        "initial_learning_rate": 0.1,
        "decay_steps": 3,
        "decay_rate": 0.5,
        "end_learning_rate": 0.01,
        "boundaries": [1],
        "values": [0.1, 0.2],
        "first_decay_steps": 2,
        "thresholds": 0.5,
        "recall": 0.5,
        "precision": 0.5,
        "specificity": 0.5,
        "sensitivity": 0.5,
        "stddev": 0.1,
        "num_classes": 3,
        "schedule": lambda epoch: 0.1,
    }
    given = {p.name: needed[p.name] for p in known.values() if p.default is p.empty and p.name in needed}
    for name in rng.sample(sorted(known), min(count, len(known))):
        given[name] = inputs.thing(rng)
    return given


@door
def arguments(rng: Random) -> None:
    """Layers, optimizers, losses, metrics, initializers ... with arguments of any kind, and what was made is used."""
    kind = rng.choice(sorted(serialization._classes))
    cls = serialization._classes[kind][rng.choice(sorted(serialization._classes[kind]))]
    made = cls(**_arguments(rng, cls, rng.choice((1, 1, 2, 3))))
    if kind == "layer":
        stack = [made] if isinstance(made, layers.InputLayer) else [layers.Input((4,)), made]
        if isinstance(made, layers.Dense) and made.units > 1000:
            return
        model = Sequential([*stack, layers.Dense(2)])
        if np.prod(model.input_shape[1:]) > _FEW:
            return
        model.compile("sgd", "mse")
    else:
        inner: dict[str, object] = {}
        if kind in ("initializer", "regularizer", "constraint"):
            inner[f"kernel_{kind}"] = made
        model = Sequential([layers.Input((4,)), layers.Dense(2, **inner)])
        optimizer = made if kind == "optimizer" else "sgd"
        optimizer = fastmlp.optimizers.SGD(made) if kind == "schedule" else optimizer
        loss = made if kind == "loss" else "mse"
        model.compile(optimizer, loss, [made] if kind == "metric" else None)
    use(model)


@door
def compile(rng: Random) -> None:
    model = Sequential([layers.Input((4,)), layers.Dense(2, "sigmoid")])
    given = {"optimizer": "sgd", "loss": "mse"}
    names = ("optimizer", "loss", "metrics", "weighted_metrics", "loss_weights", "run_eagerly", "steps_per_execution")
    for name in rng.sample(names, 2):
        given[name] = inputs.thing(rng) if rng.random() < 0.7 else [inputs.thing(rng)]
    before = model.loss, model.optimizer
    try:
        model.compile(**given)
    except Exception:
        if (model.loss, model.optimizer) != before:
            raise AssertionError("a refused call of compile has changed the model") from None
        raise
    use(model)


@door
def constructors(rng: Random) -> None:
    """Sequential itself, and layers added to one."""
    how = rng.randrange(3)
    if how == 0:
        Sequential(
            inputs.thing(rng), name=rng.choice((None, inputs.thing(rng))), dtype=rng.choice((None, inputs.thing(rng)))
        )
    elif how == 1:
        model = Sequential([layers.Input((4,)), layers.Dense(2)])
        model.add(rng.choice((inputs.thing(rng), model.layers[0], layers.Input((3,)), layers.Flatten())))
    else:
        layers.Input(inputs.thing(rng))


@door
def callback_arguments(rng: Random) -> None:
    """Callbacks that were made with arguments of any kind, in a training."""
    import tempfile

    names = [
        name for name in callbacks.__all__ if name not in ("Callback", "CallbackList", "TensorBoard", "ProgbarLogger")
    ]
    cls = getattr(callbacks, rng.choice(names))
    with tempfile.TemporaryDirectory() as folder:
        known = inspect.signature(cls.__init__).parameters
        needed = {
            "filepath": f"{folder}/model.safetensors",
            "filename": f"{folder}/log.csv",
            "backup_dir": f"{folder}/b",
            "schedule": lambda epoch, rate=0.1: 0.1,
        }
        given: dict[str, object] = {name: needed[name] for name in known if name in needed}
        optional = [
            name for name in known if name not in ("self", "filepath", "filename", "backup_dir", "log_dir", "kwargs")
        ]
        for name in rng.sample(optional, min(len(optional), rng.choice((1, 2)))):
            given[name] = inputs.thing(rng)
        made = cls(**given)
        model = Sequential([layers.Input((4,)), layers.Dense(2)])
        model.compile("sgd", "mse")
        x = np.zeros((4, 4))
        with contextlib.redirect_stdout(io.StringIO()):
            model.fit(x, np.zeros((4, 2)), epochs=2, validation_data=(x, np.zeros((4, 2))), verbose=0, callbacks=[made])
