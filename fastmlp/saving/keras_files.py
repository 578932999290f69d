"""Keras's own files, without Keras: .keras, a whole model, and .weights.h5, its arrays.

    .keras        a zip of config.json (see keras_configs.py), metadata.json and model.weights.h5
    .weights.h5   HDF5, see keras_arrays.py
    .h5           what Keras 2 wrote: only weights are read

What the generators of Dropout and noise layers have drawn so far isn't in them, so that a training goes on with other
masks.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastmlp import random

from . import atomic, hdf5, keras_arrays, keras_configs, keras_networks
from .limits import LONGEST_DESCRIPTION, check_metrics

if TYPE_CHECKING:
    from fastmlp.models import Sequential

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

#: A compressed member of a zip may grow to this many times its size, or to _SMALL bytes. Keras compresses nothing.
_GROWTH, _SMALL = 100, 1 << 26

#: Bytes that a number has at least in a model's weights, and numbers that any may have: what a description may ask.
_BYTES_PER_NUMBER, _FEW = 2, 10**6

#: The Keras whose layout the files have.
_KERAS = "3.0.0"


# ------------------------------------------------------------------ writing


def save(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save."""
    from fastmlp import __version__

    hdf5.need_h5py()
    config = json.dumps(keras_configs.config_of(model))
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    metadata = json.dumps({"keras_version": _KERAS, "date_saved": now, "fastmlp_version": __version__})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(_METADATA, metadata)
        archive.writestr(_CONFIG, config)
        archive.writestr(_WEIGHTS, hdf5.written(keras_arrays.groups(model)))
    atomic.write(path, content.getvalue(), overwrite)


def save_weights(model: Sequential, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """See Sequential.save_weights."""
    model._need_built()
    atomic.write(path, hdf5.written(keras_arrays.groups(model)), overwrite)


# ------------------------------------------------------------------ reading


def load_weights(model: Sequential, path: str | os.PathLike[str]) -> None:
    """See Sequential.load_weights."""
    model._need_built()
    name = os.fspath(path)
    with _weights(name) as file:
        values = keras_arrays.layer_values(model, file, name, {})
    keras_arrays.fill(model, values)


def load_model(path: str | os.PathLike[str], *, compile: bool = True) -> Sequential:
    """See fastmlp.models.load_model."""
    name = os.fspath(path)
    hdf5.need_h5py()
    if not name.endswith(".keras"):
        raise ValueError(
            f"{name} is no whole model in Keras 3's format, which ends in .keras; make the model and call its "
            f"load_weights({name!r})"
        )
    with _archive(name) as archive:
        if _METADATA in archive.namelist():
            _check_version(_member(archive, _METADATA, name, LONGEST_DESCRIPTION), name)
        text = _member(archive, _CONFIG, name, LONGEST_DESCRIPTION)
        content = _member(archive, _WEIGHTS, name)
    try:
        described = json.loads(text)
        network = keras_networks.network(described)
        allowed = _FEW + len(content) // _BYTES_PER_NUMBER
        if network.numbers > allowed:
            raise ValueError(
                f"it describes a model of {network.numbers} numbers, but its weights have {len(content)} bytes"
            )
        model = network.model()
        if compile and network.compile:
            _compile(model, network.compile)
    except ValueError as error:
        if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
            raise OSError(f"{_CONFIG} in {name} is no JSON text: {error}") from error
        raise ValueError(f"{name}: {error}") from error
    except (TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise OSError(f"{_CONFIG} in {name} isn't as Keras writes it: {error!r}") from error
    return _with_arrays(model, network, content, name)


def _check_version(text: bytes, name: str) -> None:
    """ValueError if the metadata say that it wasn't Keras 3."""
    try:
        version = dict(json.loads(text)).get("keras_version", _KERAS)
    except (ValueError, TypeError, RecursionError) as error:
        raise OSError(f"{_METADATA} in {name} isn't as Keras writes it: {error!r}") from error
    if not str(version).startswith("3."):
        raise ValueError(
            f"{name} was written by Keras {version}; files of Keras 3 are read. Save it again with that, or its "
            "weights alone to an .h5 file, which load_weights reads"
        )


def _compile(model: Sequential, config: Any) -> None:
    try:
        check_metrics(config)
        model.compile(**keras_networks.compile_arguments(config))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"the model can't be compiled as it was: {error}. load_model(path, compile=False) gives it without"
        ) from error


def _with_arrays(model: Sequential, network: keras_networks.Network, content: bytes, name: str) -> Sequential:
    """The model with the arrays of model.weights.h5."""
    if not model.built:
        with hdf5.opened(io.BytesIO(content), f"{_WEIGHTS} in {name}") as file:
            if any(hdf5.names(file, f"layers/{path}/vars") for path, _ in keras_arrays.paths(model)):
                raise ValueError(f"{name} has weights, but its description lacks the shape of a sample")
        return model
    if model.optimizer is not None:
        with random.kept():
            model._need_trainer()  # it may lay the weights out anew, so it comes first
    with hdf5.opened(io.BytesIO(content), f"{_WEIGHTS} in {name}") as file:
        values = keras_arrays.layer_values(model, file, name, network.axes)
        state = None if model.optimizer is None else keras_arrays.optimizer_values(model, file, name)
    keras_arrays.fill(model, values)
    if state is not None:
        keras_arrays.fill_optimizer(model, state)
    return model


# ------------------------------------------------------------------ archives


@contextlib.contextmanager
def _weights(name: str) -> Iterator[Any]:
    """The root group of the weights in a file of either kind; see hdf5.opened."""
    hdf5.need_h5py()
    if name.endswith(".keras"):
        with _archive(name) as archive:
            content = _member(archive, _WEIGHTS, name)
        source: Any = io.BytesIO(content)
    else:
        atomic.readable(name)
        source = open(name, "rb")  # noqa: SIM115 - closed below
    with source, hdf5.opened(source, name) as file:
        yield file


def _archive(name: str) -> zipfile.ZipFile:
    atomic.readable(name)
    try:
        return zipfile.ZipFile(name)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise OSError(
            f"{name} can't be read as a .keras file ({error}): it is cut short, damaged, or of something else"
        ) from error


def _member(archive: zipfile.ZipFile, member: str, name: str, longest: int | None = None) -> bytes:
    """A member of the zip, read into memory; its size is checked before.

    Raises:
        OSError: If there is none, or it can't be read.
        ValueError: If it is there twice, longer than `longest`, encrypted, or grows without measure.
    """
    found = [info for info in archive.infolist() if info.filename == member]
    if not found:
        raise OSError(f"{name} has no {member}: it is a zip of something else than Keras's save")
    info = found[0]
    if len(found) > 1:
        raise ValueError(f"{name} has {member} {len(found)} times, which is refused")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member} in {name} is encrypted, or compressed in a way that Keras's files are not")
    if longest is not None and info.file_size > longest:
        raise ValueError(f"{member} in {name} has {info.file_size} bytes, more than the {longest} that are read")
    if info.compress_size > os.path.getsize(name):
        raise OSError(f"{member} in {name} can't be read: it has {info.compress_size} bytes, more than there are")
    if info.file_size > max(_SMALL, _GROWTH * info.compress_size):
        raise ValueError(
            f"{member} in {name} would grow from {info.compress_size} to {info.file_size} bytes, which is refused"
        )
    try:
        with archive.open(info) as file:
            # The size is said, without which all is inflated before it is compared with that of the directory.
            return file.read(info.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise OSError(f"{member} in {name} can't be read ({error}): the file is cut short or damaged") from error
