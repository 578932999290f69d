"""MNIST: 70,000 grey images of handwritten digits (LeCun, Cortes & Burges)."""

import warnings
from pathlib import Path

from fastmlp.datasets import _store

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"

#: SHA-256 of the file behind URL: what pooch lets through.
_FILE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

#: _store.digest() of the data: what load_data() lets through, whatever tool packed the file.
_DATA_SHA256 = "e5ea4841dd6fde90b155843179ce5756a4864227194eec7fb09d7cfc4cf702a5"


def load_data(path: str = "mnist.npz") -> tuple[_store.Split, _store.Split]:
    """MNIST from a file on this machine, or downloaded once.

    Looks, in this order, for

    - `$FASTMLP_DATA_DIR/<path>`
    - `datasets/<path>` in `$FASTMLP_CACHE_DIR` or fastmlp's folder in the user's cache
    - `datasets/mnist.npz` in `$KERAS_HOME` or `~/.keras`, where Keras keeps it

    and then downloads Keras's file (11 MB) to the second. The arrays themselves are checked with SHA-256,
    so any npz file of the same data will do; one that is damaged or holds other data is passed over with
    a warning.

    Args:
        path: Name of the file in `$FASTMLP_DATA_DIR` and in fastmlp's cache; a full path is taken as it is.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images (60000, 28, 28) and (10000, 28, 28), 0 the background
        and 255 the ink; labels (60000,) and (10000,), 0 to 9. All are uint8 and belong to the caller.

    Raises:
        FileNotFoundError: If no place has the data and the download fails; names the places and what to do.

    Source: Keras's `keras.datasets.mnist.load_data`, with the same file and arrays. Data under CC BY-SA 3.0.

    Example:
        >>> from fastmlp.datasets import mnist
        >>> (x_train, y_train), (x_test, y_test) = mnist.load_data()  # doctest: +SKIP
        >>> x_train.shape, x_train.dtype  # doctest: +SKIP
        ((60000, 28, 28), dtype('uint8'))
    """
    places = _places(path)
    for place in places:
        try:
            return _store.split(_read(place))
        except FileNotFoundError:
            continue
        except ValueError as error:
            warnings.warn(f"{place} is not MNIST, so it is passed over: {error}", stacklevel=2)
    try:
        target = _store.cache_folder() / path
        _download(target)
        return _store.split(_read(target))
    except (OSError, ValueError) as error:
        raise _store.not_found("MNIST", places, error, URL) from error


def _places(path: str) -> list[Path]:
    """Every file that may be MNIST, in the order of load_data."""
    return _store.places(path, "mnist.npz")


def _read(path: Path) -> _store.Arrays:
    """The arrays of path; FileNotFoundError if there is no such file, ValueError if it is not MNIST."""
    arrays = _store.read(path)
    found = _store.digest(arrays)
    if found != _DATA_SHA256:
        raise ValueError(f"the arrays' SHA-256 is {found}, but MNIST's is {_DATA_SHA256}")
    return arrays


def _download(target: Path) -> None:
    """Fetch Keras's file."""
    _store.download(URL, _FILE_SHA256, target)
