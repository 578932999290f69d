"""Data sets in four gzipped IDX files, as MNIST was first published: found, checked by SHA-256, or downloaded once."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastmlp.datasets import _store

#: The arrays' files, under the names that all of these data sets use.
FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


@dataclass(frozen=True)
class IdxFiles:
    """A data set in IDX files.

    Attributes:
        title: What messages call it.
        url: Folder of the files on the net.
        keras_folder: Folder of the files in Keras's `datasets`.
        sha256: Of each file, in the order of FILES.
    """

    title: str
    url: str
    keras_folder: str
    sha256: tuple[str, ...]

    def load(self, path: str, stacklevel: int = 3) -> tuple[_store.Split, _store.Split]:
        """The arrays from the first folder that has all of them, else downloaded; see load_data of the data sets."""
        places = _store.places(path, self.keras_folder)
        for place in places:
            try:
                return _store.split(self.read(place))
            except FileNotFoundError:
                continue
            except ValueError as error:
                warnings.warn(
                    f"{place} does not hold {self.title}, so it is passed over: {error}", stacklevel=stacklevel
                )
        try:
            target = _store.cache_folder() / path
            self.download(target)
            return _store.split(self.read(target))
        except (OSError, ValueError) as error:
            raise _store.not_found(self.title, places, error, f"{self.url} ({', '.join(FILES.values())})") from error

    def read(self, folder: Path) -> _store.Arrays:
        """The four arrays of a folder; FileNotFoundError if a file is missing, ValueError if one is something else."""
        paths = {name: folder / file for name, file in FILES.items()}
        for path in paths.values():
            if not path.is_file():
                raise FileNotFoundError(f"there is no file {path}")
        return {
            name: read_idx(path, sha256, _store.SHAPES[name])
            for (name, path), sha256 in zip(paths.items(), self.sha256)
        }

    def download(self, folder: Path) -> None:
        """Fetch the files that aren't there already, whole."""
        for file, sha256 in zip(FILES.values(), self.sha256):
            if not _has_hash(folder / file, sha256):
                _store.download(f"{self.url}/{file}", sha256, folder / file)


def _has_hash(path: Path, sha256: str) -> bool:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def read_idx(path: Path, sha256: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a gzipped IDX file: uint8, of this shape.

    IDX is two zero bytes, the type (8: unsigned bytes), the number of axes, each axis's length as four bytes with the
    highest first, and the values.

    Args:
        path: The file. Nothing is inflated before its hash is right, and then no more than the shape needs.
        sha256: Its hash.
        shape: What it has to hold.

    Raises:
        ValueError: If it has another hash, or isn't such an array.
    """
    header = b"\x00\x00\x08" + bytes([len(shape)]) + b"".join(axis.to_bytes(4, "big") for axis in shape)
    size = len(header) + math.prod(shape)
    # gzip adds some bytes to what it can't make smaller.
    most = size + size // 1000 + 1024
    try:
        if os.path.getsize(path) > most:
            raise ValueError(f"{path.name} is larger than the {most} bytes that its data can take")
        packed = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}") from error
    found = hashlib.sha256(packed).hexdigest()
    if found != sha256:
        raise ValueError(f"the SHA-256 of {path.name} is {found}, but should be {sha256}")
    gunzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = gunzip.decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"{path.name} is not a gzip file: {error}") from error
    if content[: len(header)] != header:
        raise ValueError(f"{path.name} does not begin as an IDX file of {shape} bytes does")
    if len(content) != size or not gunzip.eof:
        raise ValueError(f"{path.name} does not hold the {size} bytes that it should")
    # A copy, because what lies in `content` can't be written to.
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()
