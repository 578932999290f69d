"""Models in files: fastmlp's own format, and those of other tools.

description.py     what a model consists of, by name
native.py          .safetensors, the whole model with its training
keras_files.py     .keras and .weights.h5, Keras's own files
keras_arrays.py    which arrays are where in them
keras_configs.py   descriptions of models in Keras's words
keras_networks.py  models from Keras's descriptions, with keras_rows.py and keras_words.py
hdf5.py            arrays in HDF5 files, read with distrust
steps.py           the network as it predicts, from which everything is exported
onnx_files.py      .onnx, written
onnx_reader.py     .onnx, read: node by node in onnx_nodes.py, what each means in onnx_operators.py
torch_files.py     state dicts of torch.nn.Sequential
c_header.py        the network as a header in C, with the functions of c_functions.py
javascript.py      the network as a script for pages
pickled.py         what pickle, joblib and copy.deepcopy keep
limits.py          what a file may ask for
atomic.py          writing a file so that it is whole or not there
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
from .pickled import restore, state

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
    "restore",
    "restore_training_state",
    "save",
    "save_weights",
    "state",
    "to_json",
    "training_state",
]

#: What a network can be exported to: the ending of its files, and the module here that has `export`.
EXPORTS = {
    "c": (".h", "c_header"),
    "javascript": (".js", "javascript"),
    "onnx": (".onnx", "onnx_files"),
    "torch": (".safetensors", "torch_files"),
}

#: Endings of files that hold models, of those that hold weights, and the modules here that read and write them.
MODELS = {".safetensors": "native", ".keras": "keras_files"}
WEIGHTS = {".safetensors": "native", ".weights.h5": "keras_files"}
#: What weights are read from: those of whole models, too, and of Keras 2.
READ = {**WEIGHTS, ".keras": "keras_files", ".h5": "keras_files"}


def save(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save."""
    _by_ending(path, MODELS, "of a whole model").save(model, path, overwrite)


def save_weights(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save_weights."""
    _by_ending(path, WEIGHTS, "of weights").save_weights(model, path, overwrite)


def load_weights(model: Sequential, path: str | os.PathLike[str]) -> None:
    """See Sequential.load_weights."""
    _by_ending(path, READ, "that weights are read from").load_weights(model, path)


def load_model(path: str | os.PathLike[str], *, compile: bool = True) -> Sequential:
    """The model in a file: one that Sequential.save wrote, or Keras.

    Training goes on with it as it would have without saving: with the optimizer's state, and from .safetensors with the
    same bits, if the same seed is set before both; the state of the generator that set_random_seed seeds is neither in
    the file nor changed.

    Keras's files, which end in .keras, are read without Keras, of a Sequential or a Functional that is a row of layers
    which fastmlp has. Their dropout goes on with other masks than Keras's. Nothing in a file is executed.

    Args:
        path: The file.
        compile: Whether to compile it as it was, with the optimizer's state.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If it can't be read: it is cut short, damaged, or of something else.
        ValueError: If the path has another ending, the file holds weights only, was written by a later version, names
            a class that is unknown here, or its arrays don't fit its layers.
        ImportError: If it ends in .keras and h5py isn't installed.
    """
    # Files that end in .h5 aren't read, but keras_files says what to do with them.
    module = _by_ending(path, {".h5": "keras_files"} if os.fspath(path).endswith(".h5") else MODELS, "of a whole model")
    made: Sequential = module.load_model(path, compile=compile)
    return made


def _by_ending(path: str | os.PathLike[str], endings: dict[str, str], what: str) -> Any:
    """The module that the path's ending tells."""
    name = os.fspath(path)
    for ending, module in endings.items():
        if name.endswith(ending):
            return importlib.import_module(f".{module}", __package__)
    raise ValueError(f"the path must end in {' or '.join(endings)}, the endings {what}, got {name!r}")


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
