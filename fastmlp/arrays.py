"""Arrays of other libraries as NumPy's: one way in for whatever holds numbers; a copy only where it must be."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import frames


def is_sparse(x: Any) -> bool:
    """Whether x is a matrix or an array of scipy.sparse, in any of its forms; SciPy is not imported for it."""
    # It has no names yet where another thread is just importing it: x is none of its matrices then.
    issparse = getattr(sys.modules.get("scipy.sparse"), "issparse", None)
    return issparse is not None and bool(issparse(x))


def dense(x: Any) -> Any:
    """A matrix of scipy.sparse with its zeros; anything else as it is."""
    return x.toarray() if is_sparse(x) else x


def library(values: Any) -> str | None:
    """Which library, of those that need more than NumPy knows, it comes from; a subclass counts as its base."""
    for base in type(values).__mro__:
        root = base.__module__.partition(".")[0]
        if root in _OPENERS:
            return root
    return None


def is_array(x: Any) -> bool:
    """Whether x is one array of another library, a table, a matrix or a buffer, rather than an iterable of them."""
    if hasattr(x, "__array__") or hasattr(x, "__array_interface__") or hasattr(x, "__dlpack__"):
        return True
    return is_sparse(x) or _is_buffer(x)


def _is_buffer(x: Any) -> bool:
    try:
        memoryview(x).release()
    except (TypeError, ValueError):
        return False
    return True


def numbers(name: str, values: Any) -> np.ndarray:
    """Anything that holds real numbers, as an array; memory is shared where it can be.

    Args:
        name: What errors call it.
        values: An array of NumPy or of a library that follows one of its protocols (__array__, __array_interface__,
            __dlpack__), a tensor of PyTorch on the CPU, a table or column of pandas, polars or pyarrow, a buffer such
            as array.array, or nested lists.

    Raises:
        TypeError: If it holds no real numbers, or lies on another device.
        ValueError: If rows differ in length, a value is missing, or an integer is above 1.8e308.
    """
    values = opened(name, values)
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} is a masked array with masked values; fill or drop them first")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} can't be read as one array, its rows differ in length: {error}") from None
    except OverflowError as error:
        raise ValueError(f"{name} has a number that no float can hold: {error}") from None
    if array.dtype == object:
        # lists of mixed numbers
        try:
            array = array.astype(np.float64)
        except OverflowError as error:
            raise ValueError(f"{name} has a number that no float can hold: {error}") from None
        except (TypeError, ValueError):
            raise TypeError(
                f"{name} holds objects that are no numbers (dtype object); encode them first, "
                "for instance classes as integers from 0"
            ) from None
    if array.dtype.type.__module__ == "ml_dtypes":  # bfloat16 and smaller ones, which NumPy itself doesn't know
        array = array.astype(np.float32)
    real(name, array.dtype)
    return array


def opened(name: str, values: Any) -> Any:
    """What NumPy reads, from what it doesn't, or not well; see numbers."""
    if isinstance(values, np.ndarray):
        return values
    if is_sparse(values):
        raise TypeError(f"{name} is a sparse matrix, which only x can be; give {name}.toarray()")
    known = library(values)
    if known is not None:
        return _OPENERS[known](name, values)
    _on_host(name, values)
    if hasattr(values, "__array__") or hasattr(values, "__array_interface__") or not hasattr(values, "__dlpack__"):
        return values
    try:
        return np.from_dlpack(values)
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(f"{name} can't be read through __dlpack__: {error}; give a NumPy array") from None


def _on_host(name: str, values: Any) -> None:
    """TypeError for an array in the memory of another device."""
    elsewhere = hasattr(values, "__cuda_array_interface__")
    if not elsewhere and hasattr(values, "__dlpack_device__"):
        try:
            elsewhere = values.__dlpack_device__()[0] not in _HOST
        except (TypeError, IndexError) as error:
            raise TypeError(
                f"{name} has a __dlpack_device__ that names no device: {error}; give a NumPy array"
            ) from None
    if elsewhere:
        raise TypeError(
            f"{name} is a {type(values).__name__} in the memory of another device; copy it to the host first, for "
            "instance with .get() or .cpu()"
        )


def _of_torch(name: str, values: Any) -> Any:
    """A tensor's memory, without what belongs to its gradient."""
    if not hasattr(values, "detach"):
        return values
    if values.device.type != "cpu":
        raise TypeError(f"{name} is a tensor on {values.device}; give {name}.cpu()")
    if str(values.layout) != "torch.strided":
        raise TypeError(f"{name} is a tensor in the layout {values.layout}; give {name}.to_dense()")
    values = values.detach()
    if values.is_floating_point() and str(values.dtype) not in ("torch.float16", "torch.float32", "torch.float64"):
        values = values.float()  # bfloat16 and smaller ones, which NumPy doesn't know
    return values.resolve_conj().resolve_neg().numpy()


def _of_jax(name: str, values: Any) -> Any:
    """JAX brings its arrays to the host itself, wherever they lie."""
    return values


# Types of devices of DLPack whose memory the processor reads: its own, and pinned for CUDA and ROCm, and managed.
_HOST = (1, 3, 11, 13)

_OPENERS: dict[str, Callable[[str, Any], Any]] = {
    **{name: functools.partial(frames.numbers, library=name) for name in frames.LIBRARIES},
    "torch": _of_torch,
    "jax": _of_jax,
    "jaxlib": _of_jax,
}


def real(name: str, dtype: np.dtype) -> None:
    """TypeError unless it is a type of real numbers."""
    if dtype.kind not in "biuf":
        what = {"c": "complex numbers", "U": "strings", "S": "bytes"}.get(dtype.kind, "no real numbers")
        are_names = name == "y" and dtype.kind in "US"
        hint = "; np.unique(y, return_inverse=True)[1] makes class indices of names" if are_names else ""
        raise TypeError(f"{name} holds {what} (dtype {dtype}); real numbers are needed{hint}")


def cast(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in that float type; ValueError for a finite one that would become infinite."""
    with np.errstate(over="ignore"):
        made = values.astype(dtype)
    lost = np.isinf(made) & np.isfinite(values)
    if lost.any():
        raise ValueError(f"{name} has {values[lost][0]:g}, too large for {made.dtype}")
    return made


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
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is found where all values are looked at
        array = np.asarray(np.require(array, dtype, ["C", "A"]))  # no subclass: np.memmap is slow to slice
    return array if array.flags.writeable else np.asarray(_Alias(array))
