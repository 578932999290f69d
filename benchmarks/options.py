"""What each option of training costs: epochs of fastmlp with it, in turn with the plain net's.

Runs in the process of the peer "fastmlp" (worker.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .crew import Crew
from .jobs import JOBS

#: The nets, by their jobs: one that lives in the first-level cache, and a wider one.
NETS = ("seed", "128")

#: Epochs of a turn, of which the fastest counts: what disturbs one only makes it slower.
_EPOCHS = 5


@dataclass(frozen=True)
class Option:
    """One way to train that is not the plain one.

    Attributes:
        group: What kind of option it is.
        between: Layers behind each hidden layer.
        front: Layers in front of the first.
        dense: Arguments of the hidden layers.
        compile: Arguments of compile.
        fit: Arguments of fit, made for so many samples.
    """

    group: str
    between: Callable[[Any], list[Any]] = lambda layers: []
    front: Callable[[Any], list[Any]] = lambda layers: []
    dense: dict[str, Any] = field(default_factory=dict)
    compile: Callable[[Any], dict[str, Any]] = lambda fastmlp: {}
    fit: Callable[[Any, int], dict[str, Any]] = lambda fastmlp, samples: {}


def _optimizer(name: str, **arguments: Any) -> Option:
    return Option("optimizer", compile=lambda m: {"optimizer": getattr(m.optimizers, name)(0.01, **arguments)})


OPTIONS = {
    "plain SGD": Option("plain"),
    "SGD with momentum": _optimizer("SGD", momentum=0.9),
    "Adam": _optimizer("Adam"),
    "AdamW": _optimizer("AdamW"),
    "Nadam": _optimizer("Nadam"),
    "Adamax": _optimizer("Adamax"),
    "RMSprop": _optimizer("RMSprop"),
    "Adagrad": _optimizer("Adagrad"),
    "Adadelta": _optimizer("Adadelta"),
    "Lion": _optimizer("Lion"),
    "clipnorm": _optimizer("SGD", clipnorm=1.0),
    "running mean of the weights": _optimizer("SGD", use_ema=True),
    "four batches for a step": _optimizer("SGD", gradient_accumulation_steps=4),
    "cosine schedule": Option(
        "optimizer", compile=lambda m: {"optimizer": m.optimizers.SGD(m.optimizers.schedules.CosineDecay(0.01, 10_000))}
    ),
    "l2 of the weights": Option("layers", dense={"kernel_regularizer": "l2"}),
    "max-norm of the weights": Option("layers", dense={"kernel_constraint": "max_norm"}),
    "Dropout": Option("layers", between=lambda layers: [layers.Dropout(0.2)]),
    "BatchNormalization": Option("layers", between=lambda layers: [layers.BatchNormalization()]),
    "LayerNormalization": Option("layers", between=lambda layers: [layers.LayerNormalization()]),
    "PReLU": Option("layers", between=lambda layers: [layers.PReLU()], dense={"activation": "linear"}),
    "Rescaling in front": Option("layers", front=lambda layers: [layers.Rescaling(1 / 255)]),
    "GaussianNoise in front": Option("layers", front=lambda layers: [layers.GaussianNoise(0.1)]),
    "gelu": Option("layers", dense={"activation": "gelu"}),
    "tanh": Option("layers", dense={"activation": "tanh"}),
    "weights of samples": Option("loss", fit=lambda m, samples: {"sample_weight": np.ones(samples)}),
    "weights of classes": Option("loss", fit=lambda m, samples: {"class_weight": {0: 2.0}}),
    "AUC and F1": Option("metrics", compile=lambda m: {"metrics": ["accuracy", "auc", "f1_score"]}),
    "callbacks of epochs": Option(
        "callbacks",
        fit=lambda m, samples: {
            "callbacks": [m.callbacks.EarlyStopping("loss", patience=99), m.callbacks.ReduceLROnPlateau("loss")]
        },
    ),
    "a callback of batches": Option(
        "callbacks",
        fit=lambda m, samples: {"callbacks": [m.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]},
    ),
}


def seconds(job: str, rounds: int, rows: int | None) -> dict[str, list[float]]:
    """The fastest epoch of each option in each round."""
    import fastmlp

    described = JOBS[job].with_rows(rows)
    data = described.load()
    fits = {}
    for name, option in OPTIONS.items():
        fastmlp.utils.set_random_seed(0)
        made: list[Any] = [fastmlp.layers.Input((described.units[0],)), *option.front(fastmlp.layers)]
        for units in described.units[1:-1]:
            dense = {"activation": described.activation} | option.dense
            made += [fastmlp.layers.Dense(units, **dense), *option.between(fastmlp.layers)]
        model = fastmlp.Sequential([*made, fastmlp.layers.Dense(described.units[-1], activation="softmax")])
        plain = {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
        model.compile(**plain | option.compile(fastmlp))
        fits[name] = model, option.fit(fastmlp, len(data.x))
    found: dict[str, list[float]] = {name: [] for name in OPTIONS}
    names = list(fits)
    for turn in range(rounds + 1):
        # Each round begins with another one: what slows the machine for a while would else meet the same ones again.
        first = turn * len(names) // (rounds + 1)
        for name in names[first:] + names[:first]:
            model, arguments = fits[name]
            history = model.fit(data.x, data.y, batch_size=described.batch, epochs=_EPOCHS, verbose=0, **arguments)
            if turn:  # the first compiles
                found[name].append(min(history.seconds))
    return found


def measure(crew: Crew, rounds: int, rows: int | None) -> dict[str, Any]:
    """For each net, its title and the seconds of an epoch with each option, by rounds."""
    return {
        job: {
            "title": JOBS[job].title,
            "seconds": crew.ask("fastmlp", "options", job=job, rounds=rounds, rows=rows),
        }
        for job in NETS
    }
