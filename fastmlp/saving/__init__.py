"""Models in files: fastmlp's own format, and those of other tools.

description.py  what a model consists of, by name
native.py       .safetensors, the whole model with its training
javascript.py   the network as a script for pages
steps.py        the network as it predicts, from which everything is exported
atomic.py       writing a file so that it is whole or not there
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from fastmlp.checks import known_name

from .description import (
    config_of,
    layer_names,
    model_from_json,
    model_of,
    restore_training_state,
    to_json,
    training_state,
)
from .native import load_model, load_weights, save, save_weights

if TYPE_CHECKING:
    from fastmlp.models import Sequential

__all__ = [
    "config_of",
    "export",
    "layer_names",
    "load_model",
    "load_weights",
    "model_from_json",
    "model_of",
    "restore_training_state",
    "save",
    "save_weights",
    "to_json",
    "training_state",
]

#: What a network can be exported to: the ending of its files, and the module here that has `export`.
EXPORTS = {"c": (".h", "c_header"), "javascript": (".js", "javascript"), "onnx": (".onnx", "onnx_files")}


def export(model: Sequential, path: str | os.PathLike[str], format: str | None = None, **options: Any) -> Any:
    """See Sequential.export."""
    name = os.fspath(path)
    if format is None:
        format = next((known for known, (ending, _) in EXPORTS.items() if name.endswith(ending)), None)
        if format is None:
            endings = ", ".join(f"{ending} ({known})" for known, (ending, _) in EXPORTS.items())
            raise ValueError(f"the path tells the format by its ending, {endings}, or give format=...; got {name!r}")
    _, module = EXPORTS[known_name("format", format, EXPORTS)]
    model._need_built()
    return importlib.import_module(f".{module}", __package__).export(model, name, **options)
