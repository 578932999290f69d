"""Models in files: their layers, weights and training, in one .safetensors file that can hold no code.

    <layer>/<variable>               an array of parameters, without the kernels' padding: "dense_1/kernel"
    optimizer/<i>/<layer>/<variable> the optimizer's state of it, array i (velocity, mean gradient ...)
    optimizer/gradient/...           gradients of batches that still wait for their step, where several make one

The metadata holds one JSON text, under "fastmlp": format, version, config, compile, iterations, and the seeds of layers
that draw random numbers. Reading a file makes objects of fastmlp's classes, and of those registered by hand, from their
arguments: see serialization.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import random

from . import atomic, limits
from .description import (
    STATE,
    check_fit,
    compile_of,
    config_of,
    count_of,
    fill,
    model_of,
    seeds_of,
    set_seeds,
    state_of,
    weights_of,
)

if TYPE_CHECKING:
    from fastmlp.models import Sequential

#: Of the files written; those of earlier ones are read.
FORMAT = 1

ENDING = ".safetensors"
_KEY = "fastmlp"

#: Numbers of a model by those of the file's arrays, and numbers that any may have: what a description may ask for.
_MORE, _FEW = 2, 10**5


def save(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save."""
    weights, state = weights_of(model), state_of(model)
    description = {
        "config": config_of(model),
        "compile": compile_of(model),
        "iterations": 0 if model.optimizer is None else model.optimizer.iterations,
        "seeds": seeds_of(model),
    }
    if weights.keys() & state.keys():
        raise ValueError(f"a layer has the name of optimizer state, {min(weights.keys() & state.keys())!r}; rename it")
    _write(path, {**weights, **state}, description, overwrite)


def save_weights(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save_weights."""
    _write(path, weights_of(model), {}, overwrite)


def load_weights(model: Sequential, path: str | os.PathLike[str]) -> None:
    """See Sequential.load_weights."""
    views = weights_of(model)
    _, arrays = _read(path)
    given = {name: array for name, array in arrays.items() if name in views or not name.startswith(STATE)}
    check_fit(views, given, os.fspath(path))
    fill(views, given)


def load_model(path: str | os.PathLike[str], *, compile: bool = True) -> Sequential:
    """See fastmlp.models.load_model."""
    from fastmlp.models import Sequential

    description, arrays = _read(path)
    name = os.fspath(path)
    if "config" not in description:
        raise ValueError(f"{name} holds weights only; make the model and call its load_weights({name!r})")
    try:
        most = _FEW + _MORE * sum(array.size for array in arrays.values())
        with random.kept():
            model = model_of(Sequential, description["config"], most)
        if compile and description["compile"] is not None:
            limits.check_metrics(description["compile"])
            model.compile(**description["compile"])
        seeds = {layer: count_of(f"the seed of {layer}", seed) for layer, seed in description["seeds"].items()}
        set_seeds(model, seeds, name)
        iterations = count_of("iterations", description["iterations"])
    except (TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        raise OSError(f"{name} isn't as Sequential.save writes it: {error!r}") from error
    views = weights_of(model)
    given = {key: array for key, array in arrays.items() if key in views or not key.startswith(STATE)}
    check_fit(views, given, name)
    state = {key: array for key, array in arrays.items() if key not in given}
    if model.optimizer is not None:
        model.optimizer.iterations = iterations
        if state:
            model._need_trainer()
            check_fit(state_of(model), state, name)
            fill(state_of(model), state)
    fill(weights_of(model), given)  # where a layer is not trained, the trainer has laid the weights out anew
    return model


def _write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], description: dict[str, Any], overwrite: bool
) -> None:
    from safetensors.numpy import save

    from fastmlp import __version__

    name = os.fspath(path)
    text = json.dumps({"format": FORMAT, "version": __version__, **description})
    content = save({key: np.array(array, order="C") for key, array in arrays.items()}, {_KEY: text})
    atomic.write(name, content, overwrite)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Description, empty where there is none, and arrays of a file."""
    name = atomic.readable(path)
    try:
        metadata, arrays = limits.safetensors(name)
        text = metadata.get(_KEY, "{}")
        if len(text) > limits.LONGEST_DESCRIPTION:
            raise ValueError(f"its description has {len(text)} letters, which no model's has")
        description = json.loads(text)
        wanted = description.get("format", FORMAT)
    except (ValueError, AttributeError, RecursionError) as error:
        raise OSError(
            f"{name} can't be read as a {ENDING} file ({error}): it is cut short, damaged, or of something else"
        ) from error
    if not isinstance(wanted, int) or wanted > FORMAT:
        raise ValueError(
            f"{name} has format {wanted} and was written by fastmlp {description.get('version')}; this version reads "
            f"formats up to {FORMAT}: update fastmlp"
        )
    return description, arrays
