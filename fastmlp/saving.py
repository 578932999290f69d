"""Models in files: their layers, weights and training, in one .safetensors file that can hold no code.

    <layer>/<variable>               an array of parameters, without the kernels' padding: "dense_1/kernel"
    optimizer/<i>/<layer>/<variable> the optimizer's state of it, array i (velocity, mean gradient ...)
    optimizer/gradient/...           gradients of batches that still wait for their step, where several make one

Layers without a name of their own are called by their kind and place in the model, as Keras does in its files: two
models that were made alike have the same names, however many were made before. The metadata holds one JSON text, under
"fastmlp": format, version, config, compile, iterations, and the seeds of layers that draw random numbers.

A file is written beside the old one and then takes its place, so there is a whole one at every moment. Reading one
makes objects of fastmlp's classes, and of those registered by hand, from their arguments: see serialization.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import random
from .layers import Layer, _Random
from .serialization import deserialize, serialize

if TYPE_CHECKING:
    from .models import Sequential

#: Of the files written; those of earlier ones are read.
FORMAT = 1

_ENDING = ".safetensors"
_KEY = "fastmlp"
_STATE = "optimizer/"


# ------------------------------------------------------------------ descriptions


def config_of(model: Sequential) -> dict[str, Any]:
    """What from_config makes an equal model of, without its weights."""
    return {
        "name": model.name,
        "dtype": model.dtype.name,
        "layers": [serialize(layer) for layer in model._layers],
        "build_input_shape": [None, *model._shape] if model.built else None,
    }


def model_of(cls: type[Sequential], config: Any) -> Sequential:
    """Model from what config_of returned, with new weights."""
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise TypeError(f"expected the config of a Sequential, a dictionary with a list of layers, got {config!r}")
    layers = [deserialize(layer, "layer") for layer in config["layers"]]
    model = cls(layers, name=config.get("name"), dtype=config.get("dtype"))
    if config.get("build_input_shape") is not None:
        model.build(config["build_input_shape"])
    return model


def to_json(model: Sequential, **options: Any) -> str:
    """The layers as a JSON text; options go to json.dumps."""
    return json.dumps({"class_name": "Sequential", "config": config_of(model)}, **options)


def model_from_json(text: str) -> Sequential:
    """Model of what to_json wrote, with new weights and not compiled.

    Raises:
        ValueError: If it is no JSON, or of something else than a Sequential, or names an unknown class or argument.
        TypeError: If it doesn't have the form of a description.
    """
    from .models import Sequential

    described = json.loads(text)
    if not isinstance(described, dict) or described.get("class_name") != "Sequential":
        raise ValueError("expected a JSON text of Sequential.to_json(), with class_name 'Sequential'")
    return model_of(Sequential, described.get("config"))


def _compiled(model: Sequential) -> dict[str, Any] | None:
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
    made = []
    for layer, counted in zip(layers, automatic):
        name, number = layer.kind if counted else layer.name, 0
        while counted and name in taken:
            number += 1
            name = f"{layer.kind}_{number}"
        taken.add(name)
        made.append(name)
    return made


def _weights(model: Sequential) -> dict[str, np.ndarray]:
    """All parameters, as views."""
    model._need_built()
    return {
        f"{name}/{variable.name}": variable.view
        for name, layer in zip(layer_names(model._layers), model._layers)
        for variable in layer.variables
    }


def _state(model: Sequential) -> dict[str, np.ndarray]:
    """The optimizer's arrays, as views; none before the first step."""
    trainer = model._trainer_as_it_is()
    if trainer is None:
        return {}
    return {_STATE + name: view for name, view in trainer.state(layer_names(model._layers)).items()}


def _seeds(model: Sequential) -> dict[str, int]:
    """Seeds of the layers that draw random numbers."""
    pairs = zip(layer_names(model._layers), model._layers)
    return {name: int(layer._drawn or 0) for name, layer in pairs if isinstance(layer, _Random)}


def _check(wanted: Mapping[str, np.ndarray], given: Mapping[str, Any], what: str) -> None:
    """ValueError that names what is missing, unexpected or of another shape."""
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


def _fill(views: Mapping[str, np.ndarray], given: Mapping[str, Any]) -> None:
    for name, view in views.items():
        view[...] = given[name]


# ------------------------------------------------------------------ files


def save(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save."""
    weights, state = _weights(model), _state(model)
    description = {
        "config": config_of(model),
        "compile": _compiled(model),
        "iterations": 0 if model.optimizer is None else model.optimizer.iterations,
        "seeds": _seeds(model),
    }
    if weights.keys() & state.keys():
        raise ValueError(f"a layer has the name of optimizer state, {min(weights.keys() & state.keys())!r}; rename it")
    _write(path, {**weights, **state}, description, overwrite)


def save_weights(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save_weights."""
    _write(path, _weights(model), {}, overwrite)


def load_weights(model: Sequential, path: str | os.PathLike[str]) -> None:
    """See Sequential.load_weights."""
    views = _weights(model)
    _, arrays = _read(path)
    given = {name: array for name, array in arrays.items() if name in views or not name.startswith(_STATE)}
    _check(views, given, os.fspath(path))
    _fill(views, given)


def load_model(path: str | os.PathLike[str], *, compile: bool = True) -> Sequential:
    """The model that Sequential.save wrote: training goes on with it as it would have without saving.

    Nothing in the file is executed. The state of the generator that set_random_seed seeds is neither in the file nor
    changed: where two trainings are to be compared, set the same seed before both.

    Args:
        path: The file.
        compile: Whether to compile it as it was, with the optimizer's state.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it can't be read: it is cut short, damaged, or of something else.
        ValueError: If the path ends in something else than .safetensors, the file holds weights only, was written by a
            later version, names a class that is unknown here, or its arrays don't fit its layers.
    """
    from .models import Sequential

    description, arrays = _read(path)
    name = os.fspath(path)
    if "config" not in description:
        raise ValueError(f"{name} holds weights only; make the model and call its load_weights({name!r})")
    try:
        with random.kept():
            model = model_of(Sequential, description["config"])
        if compile and description["compile"] is not None:
            model.compile(**description["compile"])
        _set_seeds(model, {layer: int(seed) for layer, seed in description["seeds"].items()}, name)
        iterations = int(description["iterations"])
    except (TypeError, KeyError, AttributeError) as error:
        raise OSError(f"{name} isn't as Sequential.save writes it: {error!r}") from error
    views = _weights(model)
    given = {key: array for key, array in arrays.items() if key in views or not key.startswith(_STATE)}
    _check(views, given, name)
    state = {key: array for key, array in arrays.items() if key not in given}
    if model.optimizer is not None:
        model.optimizer.iterations = iterations
        if state:
            model._need_trainer()
            _check(_state(model), state, name)
            _fill(_state(model), state)
    _fill(_weights(model), given)  # where a layer is not trained, the trainer has laid the weights out anew
    return model


def _check_ending(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    if not name.endswith(_ENDING):
        foreign = any(name.endswith(ending) for ending in (".keras", ".h5"))
        raise ValueError(
            f"the path must end in {_ENDING}, the format of fastmlp's files, got {name!r}"
            + ("; Keras's own formats are not read or written" if foreign else "")
        )
    return name


def _write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], description: dict[str, Any], overwrite: bool
) -> None:
    from safetensors.numpy import save

    from . import __version__

    name = _check_ending(path)
    if not overwrite and os.path.exists(name):
        raise FileExistsError(f"{name} exists; pass overwrite=True to replace it")
    text = json.dumps({"format": FORMAT, "version": __version__, **description})
    content = save({key: np.array(array, order="C") for key, array in arrays.items()}, {_KEY: text})
    target = os.path.realpath(name)  # a link stays one
    temporary = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # Windows opens no folders
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description, empty where there is none, and arrays of a file."""
    from safetensors import SafetensorError, safe_open

    name = _check_ending(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"there is no file {name}")
    try:
        with safe_open(name, framework="np") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dictionary
            description = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            wanted = description.get("format", FORMAT)
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise OSError(
            f"{name} can't be read as a {_ENDING} file ({error}): it is cut short, damaged, or of something else"
        ) from error
    if not isinstance(wanted, int) or wanted > FORMAT:
        raise ValueError(
            f"{name} has format {wanted} and was written by fastmlp {description.get('version')}; this version reads "
            f"formats up to {FORMAT}: update fastmlp"
        )
    return description, arrays


# ------------------------------------------------------------------ a training that goes on


def training_state(model: Sequential) -> dict[str, np.ndarray]:
    """See Sequential.training_state."""
    model._need_trainer()
    optimizer, _ = model._need_compiled()
    numbers = {f"{layer}/seed": np.array(seed) for layer, seed in _seeds(model).items()}
    numbers[f"{_STATE}iterations"] = np.array(optimizer.iterations)
    if not optimizer.is_scheduled:
        numbers[f"{_STATE}learning_rate"] = np.array(optimizer.learning_rate)
    views = {**_weights(model), **_state(model)}
    return {**{name: view.copy() for name, view in views.items()}, **numbers, "random": random.state()}


def restore_training_state(model: Sequential, state: Mapping[str, Any]) -> None:
    """See Sequential.restore_training_state."""
    model._need_trainer()
    optimizer, _ = model._need_compiled()
    views = {**_weights(model), **_state(model)}
    numbers = training_state(model)
    numbers = {name: numbers[name] for name in numbers if name not in views and name != "random"}
    given = {name: value for name, value in state.items() if name != "random"}
    _check({**views, **numbers}, given, "the training state")
    if "random" not in state:
        raise ValueError("the training state doesn't fit the model: it lacks the state of the generator, random")
    random.set_state(state["random"])
    _fill(views, given)
    optimizer.iterations = int(given[f"{_STATE}iterations"])
    if not optimizer.is_scheduled:
        optimizer.learning_rate = float(given[f"{_STATE}learning_rate"])
    _set_seeds(model, {layer: int(given[f"{layer}/seed"]) for layer in _seeds(model)}, "the training state")


def _set_seeds(model: Sequential, seeds: dict[str, int], what: str) -> None:
    if seeds == _seeds(model):
        return
    if seeds.keys() != _seeds(model).keys():
        raise ValueError(f"{what} doesn't fit the model: it has seeds of {sorted(seeds)}, not {sorted(_seeds(model))}")
    for name, layer in zip(layer_names(model._layers), model._layers):
        if isinstance(layer, _Random):
            layer._drawn = seeds[name]
    model._renumber()
