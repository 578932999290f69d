"""What a model consists of: its description, its arrays by name, and the state of its training.

Layers without a name of their own are called by their kind and place in the model, as Keras does in its files: two
models that were made alike have the same names, however many were made before.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import arrays, random
from fastmlp.checks import known_name, number
from fastmlp.layers import Layer, _Random, check_count
from fastmlp.serialization import deserialize, serialize

if TYPE_CHECKING:
    from fastmlp.models import Sequential

#: In front of the names of the optimizer's arrays.
STATE = "optimizer/"


# ------------------------------------------------------------------ descriptions


def config_of(model: Sequential) -> dict[str, Any]:
    """What from_config makes an equal model of, without its weights."""
    return {
        "name": model.name,
        "dtype": model.dtype.name,
        "layers": [serialize(layer) for layer in model._layers],
        "build_input_shape": [None, *model._shape] if model.built else None,
    }


def model_of(cls: type[Sequential], config: Any, most: int | None = None) -> Sequential:
    """Model from what config_of returned, with new weights; ValueError if it had more than `most` numbers."""
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise TypeError(f"expected the config of a Sequential, a dictionary with a list of layers, got {config!r}")
    check_count(len(config["layers"]))
    layers = [deserialize(layer, "layer") for layer in config["layers"]]
    if most is not None:
        shape = config.get("build_input_shape")
        asked = numbers_of(layers, layers[0].declared_shape or tuple(shape or ())[1:]) if layers else 0
        if asked > most:
            raise ValueError(f"the description is of a model of about {asked} numbers, but the file holds far fewer")
    model = cls(layers, name=config.get("name"), dtype=config.get("dtype"))
    if config.get("build_input_shape") is not None:
        model.build(config["build_input_shape"])
    return model


def numbers_of(layers: Sequence[Layer], shape: tuple[int, ...]) -> int:
    """About how many numbers the arrays of these layers have, before there are any, for samples of that shape."""
    from fastmlp.kernels import operations
    from fastmlp.plan import DENSE

    total = 0
    for layer in layers:
        units = math.prod(shape)
        for stage in layer.stages(units):
            if stage.kind == DENSE:
                total += (units + 1) * stage.units
            else:
                total += sum(operations.OPERATIONS[stage.kind][1:]) * stage.units
        shape = layer.shape_after(shape) if units < 2**62 else (units,)
    return total


def to_json(model: Sequential, format: str | None = None, **options: Any) -> str:
    """See Sequential.to_json."""
    if known_name("format", format or "fastmlp", ("fastmlp", "keras")) == "keras":
        from . import keras_configs

        return json.dumps(keras_configs.config_of(model), **options)
    return json.dumps({"class_name": "Sequential", "config": config_of(model)}, **options)


def model_from_json(text: str) -> Sequential:
    """Model of what to_json wrote, here or in Keras, with new weights and not compiled.

    Raises:
        ValueError: If it is no JSON, or of something else than a Sequential (of Keras's models, also a Functional that
            is a row of layers), or names an unknown class or argument.
        TypeError: If it doesn't have the form of a description.
    """
    from fastmlp.models import Sequential

    if not isinstance(text, (str, bytes, bytearray)):
        raise TypeError(f"expected a JSON text of to_json(), got {text!r}")
    try:
        described = json.loads(text)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply for the description of a model") from None
    if isinstance(described, dict) and "module" in described:
        from . import keras_networks

        return keras_networks.network(described).model()
    if not isinstance(described, dict) or described.get("class_name") != "Sequential":
        raise ValueError("expected a JSON text of Sequential.to_json(), with class_name 'Sequential'")
    return model_of(Sequential, described.get("config"))


def compile_of(model: Sequential) -> dict[str, Any] | None:
    """What compile made an equally compiled model of, or None."""
    if model.loss is None or model.optimizer is None:
        return None
    return {
        "optimizer": serialize(model.optimizer),
        "loss": serialize(model.loss),
        "metrics": [serialize(metric) for metric in model._metrics],
        "weighted_metrics": [serialize(metric) for metric in model._weighted_metrics],
    }


# ------------------------------------------------------------------ arrays by name


def layer_names(layers: Sequence[Layer]) -> list[str]:
    """Names of the layers in files: see the top."""
    automatic = [re.fullmatch(rf"{layer.kind}(_\d+)?", layer.name) is not None for layer in layers]
    taken = {layer.name for layer, counted in zip(layers, automatic) if not counted}
    numbers: dict[str, int] = {}
    made = []
    for layer, counted in zip(layers, automatic):
        name, number = layer.kind if counted else layer.name, numbers.get(layer.kind, 0)
        while counted and name in taken:
            number += 1
            name = f"{layer.kind}_{number}"
        if counted:
            numbers[layer.kind] = number
        taken.add(name)
        made.append(name)
    return made


def weights_of(model: Sequential) -> dict[str, np.ndarray]:
    """All parameters, as views."""
    model._need_built()
    return {
        f"{name}/{variable.name}": variable.view
        for name, layer in zip(layer_names(model._layers), model._layers)
        for variable in layer.variables
    }


def state_of(model: Sequential) -> dict[str, np.ndarray]:
    """The optimizer's arrays, as views; none before the first step."""
    trainer = model._trainer_as_it_is()
    if trainer is None:
        return {}
    return {STATE + name: view for name, view in trainer.state(layer_names(model._layers)).items()}


def seeds_of(model: Sequential) -> dict[str, int]:
    """Seeds of the layers that draw random numbers."""
    pairs = zip(layer_names(model._layers), model._layers)
    return {name: int(layer._drawn or 0) for name, layer in pairs if isinstance(layer, _Random)}


def check_fit(wanted: Mapping[str, np.ndarray], given: Mapping[str, Any], what: str) -> None:
    """ValueError that names what is missing, unexpected or of another shape."""
    # Read by way of the one door, so that what is no array is named.
    given = {name: arrays.numbers(f"{name} of {what}", value) for name, value in given.items()}
    missing = [f"{name} {view.shape}" for name, view in wanted.items() if name not in given]
    unexpected = [f"{name} {np.shape(given[name])}" for name in given if name not in wanted]
    differing = [
        f"{name} {np.shape(given[name])} instead of {view.shape}"
        for name, view in wanted.items()
        if name in given and np.shape(given[name]) != view.shape
    ]
    groups = (("it lacks", missing), ("it has the unknown", unexpected), ("it has", differing))
    found = [f"{text} {', '.join(names[:5])}{', ...' * (len(names) > 5)}" for text, names in groups if names]
    if found:
        raise ValueError(f"{what} doesn't fit the model: {'; '.join(found)}")
    for name, view in wanted.items():
        kind = np.asarray(given[name]).dtype.kind
        if kind != view.dtype.kind and view.dtype.kind == "f":
            raise ValueError(f"{what} has {name} as {np.asarray(given[name]).dtype}; floats are needed")


def fill(views: Mapping[str, np.ndarray], given: Mapping[str, Any]) -> None:
    """Copy the arrays given into the views of those names, all of them or, with a ValueError, none."""
    made = {name: arrays.cast(name, np.asarray(given[name]), view.dtype) for name, view in views.items()}
    for name, view in views.items():
        view[...] = made[name]


# ------------------------------------------------------------------ a training that goes on


def training_state(model: Sequential) -> dict[str, np.ndarray]:
    """See Sequential.training_state."""
    model._need_trainer()
    optimizer, _ = model._need_compiled()
    numbers = {f"{layer}/seed": np.array(seed) for layer, seed in seeds_of(model).items()}
    numbers[f"{STATE}iterations"] = np.array(optimizer.iterations)
    if not optimizer.is_scheduled:
        numbers[f"{STATE}learning_rate"] = np.array(optimizer.learning_rate)
    views = {**weights_of(model), **state_of(model)}
    return {**{name: view.copy() for name, view in views.items()}, **numbers, "random": random.state()}


def restore_training_state(model: Sequential, state: Mapping[str, Any]) -> None:
    """See Sequential.restore_training_state."""
    model._need_trainer()
    optimizer, _ = model._need_compiled()
    views = {**weights_of(model), **state_of(model)}
    numbers = training_state(model)
    numbers = {name: numbers[name] for name in numbers if name not in views and name != "random"}
    given = {name: value for name, value in state.items() if name != "random"}
    check_fit({**views, **numbers}, given, "the training state")
    if "random" not in state:
        raise ValueError("the training state doesn't fit the model: it lacks the state of the generator, random")
    # All that may fail comes before anything changes.
    values = {name: arrays.numbers(f"{name} of the training state", given[name]) for name in views}
    iterations = count_of(f"{STATE}iterations", given[f"{STATE}iterations"])
    seeds = {layer: count_of(f"{layer}/seed", given[f"{layer}/seed"]) for layer in seeds_of(model)}
    if not optimizer.is_scheduled:
        rate = arrays.numbers(f"{STATE}learning_rate", given[f"{STATE}learning_rate"])
        number("the learning rate of the training state", float(rate), 0.0)
    values = {
        name: arrays.cast(f"{name} of the training state", values[name], view.dtype) for name, view in views.items()
    }
    random.set_state(state["random"])
    if not optimizer.is_scheduled:
        optimizer.learning_rate = float(rate)
    fill(views, values)
    optimizer.iterations = iterations
    set_seeds(model, seeds, "the training state")


def count_of(name: str, value: Any) -> int:
    """A count or a seed in a file, as int; ValueError unless it is a whole number of at least zero."""
    if not isinstance(value, (int, float, np.ndarray, np.number)):
        raise TypeError(f"{name} must be a whole number of at least 0, got {value!r}")
    found = arrays.numbers(name, value)
    if found.ndim or not np.isfinite(found) or found != np.rint(found) or not 0 <= float(found) < 2.0**63:
        raise ValueError(f"{name} must be a whole number of at least 0, got {value!r}")
    return int(found)


def set_seeds(model: Sequential, seeds: dict[str, int], what: str) -> None:
    """Give the layers that draw random numbers these seeds; `what` they come from stands in the error."""
    if seeds == seeds_of(model):
        return
    if seeds.keys() != seeds_of(model).keys():
        raise ValueError(
            f"{what} doesn't fit the model: it has seeds of {sorted(seeds)}, not {sorted(seeds_of(model))}"
        )
    for name, layer in zip(layer_names(model._layers), model._layers):
        if isinstance(layer, _Random):
            layer._drawn = seeds[name]
    model._renumber()
