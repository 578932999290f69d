"""Arrays of other libraries as NumPy's: one way in for whatever holds numbers; a copy only where it must be."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def is_sparse(x: Any) -> bool:
    """Whether x is a matrix or an array of scipy.sparse, in any of its forms; SciPy is not imported for it."""
    scipy = sys.modules.get("scipy.sparse")
    return scipy is not None and bool(scipy.issparse(x))


def numbers(name: str, values: Any) -> np.ndarray:
    """Anything NumPy can read, as an array of real numbers."""
    if is_sparse(values):
        raise TypeError(f"{name} is a sparse matrix, which only x can be; give {name}.toarray()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} is a masked array with masked values; fill or drop them first")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} can't be read as one array, its rows differ in length: {error}") from None
    if array.dtype == object:
        # pandas frames with mixed columns, lists of mixed numbers
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} holds objects that are no numbers (dtype object); encode them first, "
                "for instance classes as integers from 0"
            ) from None
    real(name, array.dtype)
    return array


def real(name: str, dtype: np.dtype) -> None:
    """TypeError unless it is a type of real numbers."""
    if dtype.kind not in "biuf":
        what = {"c": "complex numbers", "U": "strings", "S": "bytes"}.get(dtype.kind, "no real numbers")
        raise TypeError(f"{name} holds {what} (dtype {dtype}); real numbers are needed")


class _Alias:
    """Memory of an array, without its read-only flag, for NumPy to make an array of."""

    def __init__(self, array: np.ndarray):
        self._owner = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def for_kernels(array: np.ndarray, dtype: Any) -> np.ndarray:
    """C-ordered and aligned, in that dtype; a copy only where it must be.

    A read-only array (of JAX, np.memmap, a pandas column) comes back as an alias that says it is writable: to Numba
    the flag is a part of the type, and all kernels would be compiled again for it. They never write to data.
    """
    array = np.asarray(np.require(array, dtype, ["C", "A"]))  # no subclass: np.memmap is slow to slice
    return array if array.flags.writeable else np.asarray(_Alias(array))
