"""The one door: what users pass in, C-ordered arrays out; every check and the text of every error about data.

Nothing is computed and nothing in a model changes before all of it has passed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from . import frames, sparse
from .arrays import for_kernels as _for_kernels
from .arrays import is_array
from .arrays import numbers as _array

Described = TypeVar("Described")


def known_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The known name that `name` is, in any case; ValueError with the nearest one if it is none."""
    names = sorted(known)
    by_case = {n.lower(): n for n in names}
    if not isinstance(name, str):
        raise TypeError(f"{kind} must be a name, got {name!r}; known: {', '.join(names)}")
    if name.lower() in by_case:
        return by_case[name.lower()]
    near = difflib.get_close_matches(name.lower(), by_case, n=1)
    hint = f"; did you mean {by_case[near[0]]!r}?" if near else "."
    raise ValueError(f"{kind} {name!r} is unknown{hint} Known: {', '.join(names)}")


def text(what: str, value: str) -> str:
    """`value`; TypeError unless it is a text, ValueError if it has letters that no file can hold."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, got {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {value!r} has letters that are no Unicode") from None
    return value


def resolve(kind: str, identifier: Any, base: type[Described], by_name: Callable[[str], Described]) -> Described:
    """Object of `base` from one, from its class, or from a name through by_name; TypeError for anything else."""
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, base):
        return identifier()
    if isinstance(identifier, str):
        return by_name(identifier)
    article = "an" if base.__name__[0] in "AEIOU" else "a"
    raise TypeError(f"{kind} must be a name or {article} {base.__name__}, got {identifier!r}")


def named_class(kind: str, name: str, classes: Mapping[str, type[Described]]) -> type[Described]:
    """The class by its key in `classes` or by its own name, both in any case; ValueError with the nearest key."""
    own = {cls.__name__.lower(): cls for cls in classes.values()}
    return own.get(name.lower()) or classes[known_name(kind, name, classes)]


def number(name: str, value: Any, least: float = -np.inf, most: float = np.inf) -> float:
    """`value` as float; TypeError unless it is a real number, ValueError if not finite or outside [least, most]."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        found = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be finite, got an integer that no float can hold") from None
    if not least <= found <= most or not np.isfinite(found):
        limits = [f"at least {least:g}"] * bool(np.isfinite(least)) + [f"at most {most:g}"] * bool(np.isfinite(most))
        raise ValueError(f"{name} must be finite{' and '.join(['', *limits])}, got {value}")
    return found


def bound(name: str, value: Any, least: float = -np.inf) -> Any:
    """`value`; TypeError unless it is a real number, ValueError if it is NaN or below `least`. It may be infinite."""
    if not (isinstance(value, (float, np.floating)) and np.isinf(value) and value >= least):
        number(name, value, least)
    return value


def switch(name: str, value: Any) -> bool:
    """`value` as bool; TypeError unless it is True or False, or 1 or 0: a text such as "False" would mean True."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}")


def float_type(dtype: Any) -> str:
    """Name of a float type that models compute in; TypeError for what names no type, ValueError for another."""
    try:
        name = str(np.dtype(dtype))
    except (TypeError, ValueError) as error:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}: {error}") from None
    return known_name("dtype", name, ("float32", "float64"))


def positive_int(name: str, value: Any, least: int = 1, most: int = 2**63 - 1) -> int:
    """`value` as int; TypeError unless it is an integer, ValueError below `least` or above `most`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer of at least {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got one that is larger")
    return int(value)


def finite(name: str, array: np.ndarray) -> None:
    """ValueError that names the first row with NaN or infinity."""
    if array.dtype.kind != "f" or not array.size:
        return
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum(dtype=array.dtype.newbyteorder("="))):
            return  # one pass without a temporary; a NaN or infinity can't hide in a sum
    flat = array.reshape(len(array), -1)
    for row in range(len(flat)):
        bad = ~np.isfinite(flat[row])
        if bad.any():
            value = flat[row][bad][0]
            beyond = f", as numbers beyond {array.dtype} are" if np.isinf(value) and array.dtype.itemsize < 8 else ""
            raise ValueError(
                f"{name} has {value} in row {row}{beyond}; remove such rows or fill the missing values first"
            )


def samples(
    x: Any, shape: tuple[int, ...], dtype: np.dtype, name: str = "x", all_finite: bool = True
) -> np.ndarray | sparse.Sparse:  # fmt: skip
    """Samples as rows: (n, k), C-ordered, uint8 or dtype; uint8 and dtype are not copied if C-ordered.

    Args:
        x: Anything NumPy can read, or a matrix of scipy.sparse, shape (n, *shape).
        shape: Shape of one sample.
        dtype: The model's float type.
        name: What errors call it.
        all_finite: Whether to look for NaN and infinity, which reads all of x once.

    Raises:
        TypeError: If x holds no real numbers.
        ValueError: If x is empty, has another shape, or holds NaN or infinity.
    """
    x = frames.without_zeros(x)
    is_sparse = sparse.is_sparse(x)
    array = x if is_sparse else _array(name, x)
    if shape == (1,) and array.ndim == 1 and not is_sparse:
        array = array[:, None]
    if array.shape[1:] != shape or array.ndim == 0:
        expected = ", ".join(map(str, shape)) + ("," if len(shape) == 0 else "")
        raise ValueError(
            f"{name} has shape {array.shape} but the model was built for samples of shape {shape}: "
            f"expected (samples, {expected})"
            + (f"; a single sample needs a leading axis: {name}[None]" if array.shape == shape else "")
            + ("; a sparse matrix has two axes: build the model for samples of shape (k,)" if is_sparse else "")
        )
    if array.shape[0] == 0:
        raise ValueError(f"{name} is empty: expected at least one sample of shape {shape}")
    if is_sparse:
        return sparse.rows(name, x, dtype)
    array = _for_kernels(array, np.uint8 if array.dtype == np.uint8 else dtype).reshape(len(array), -1)
    if all_finite:
        finite(name, array)
    return array


def shape_of_one(name: str, x: Any) -> tuple[int, ...]:
    """Shape of a sample, where the model doesn't know it yet."""
    shape = x.shape if hasattr(x, "shape") else _array(name, x).shape
    return tuple(shape[1:]) or (1,)


def in_rows(name: str, x: Any) -> Any:
    """Samples in a form whose rows can be sliced."""
    x = frames.without_zeros(x)
    return x.tocsr() if sparse.is_sparse(x) else _array(name, x)


def same_length(x: np.ndarray | sparse.Sparse, y: np.ndarray, x_name: str = "x", y_name: str = "y") -> None:
    """ValueError unless there is one target per sample."""
    if len(x) != len(y):
        raise ValueError(
            f"{x_name} has {len(x)} samples but {y_name} has {len(y)} targets; there must be one target per sample"
        )


def class_indices(y: Any, classes: int, loss: str, name: str = "y") -> np.ndarray:
    """Class indices (n,) int32 from (n,) or (n, 1); ValueError with value and row for any outside [0, classes)."""
    array = _array(name, y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{name} has shape {array.shape} but {loss} needs one class index per sample, shape (samples,). "
            f'Use loss="categorical_crossentropy" for one-hot targets, or {name} = {name}.argmax(axis=1).'
            + (" (to_categorical makes one-hot targets from class indices.)" if array.ndim == 2 else "")
        )
    finite(name, array)
    with np.errstate(invalid="ignore"):  # what no integer holds differs from what it was
        whole = array.astype(np.int64)
    wrong = (whole != array) | (whole < 0) | (whole >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{name} has the label {array[row]} in row {row}, but the last layer has {classes} units: "
            f"class indices must be whole numbers from 0 to {classes - 1}"
        )
    return whole.astype(np.int32)


def targets(y: Any, units: int, dtype: np.dtype, loss: str, name: str = "y") -> np.ndarray:
    """Targets (n, units), C-ordered, in the model's float type, from that shape or, for one unit, (n,)."""
    array = _array(name, y)
    if array.ndim == 1 and units == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != units:
        if loss == "categorical_crossentropy":
            raise ValueError(
                f"{name} has shape {array.shape} but categorical_crossentropy needs one row of {units} class "
                f'probabilities per sample. Use loss="sparse_categorical_crossentropy", or {name} = '
                f"to_categorical({name})."
            )
        raise ValueError(
            f"{name} has shape {array.shape} but {loss} compares it with the last layer's {units} "
            f"unit{'s' * (units != 1)}: expected (samples, {units})" + (" or (samples,)" if units == 1 else "")
        )
    array = _for_kernels(array, dtype)
    finite(name, array)
    return array


def weights(values: Any, count: int, dtype: np.dtype, name: str) -> np.ndarray:
    """Weights (count,) of samples in the model's float type; ValueError for another length, or below zero."""
    array = _array(name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape} but there are {count} samples: expected ({count},)")
    array = _for_kernels(array, dtype)
    finite(name, array)
    if count and array.min() < 0:
        row = int(array.argmin())
        raise ValueError(f"{name} has {array[row]} in row {row}; weights must be at least zero")
    return array


def class_weights(given: Any, classes: np.ndarray, count: int, dtype: np.dtype) -> np.ndarray:
    """Weight of each sample by its class, of which there are `count`; those not in the dictionary weigh 1."""
    if hasattr(given, "to_dict"):
        given = given.to_dict()  # a series of pandas: its index has the classes
    if not isinstance(given, Mapping):
        raise TypeError(f"class_weight must be a dictionary {{class index: weight}}, got {given!r}")
    made = np.ones(len(classes), dtype)
    most = float(np.finfo(dtype).max)
    for label, weight in given.items():
        if positive_int("a class in class_weight", label, 0) >= count:
            raise ValueError(f"class_weight has a class {label!r}, but the classes are 0 to {count - 1}")
        weight = weight.item() if getattr(weight, "shape", None) == () else weight  # a scalar of PyTorch or JAX
        made[classes == label] = number(f"the weight of class {label}", weight, 0.0, most)
    return made


def frequency(name: str, value: Any) -> Callable[[int], bool]:
    """Whether something is done behind an epoch, counted from 1: every so many, or those of a list."""
    if isinstance(value, (list, tuple, set, np.ndarray)):
        chosen = {positive_int(f"an epoch in {name}", epoch) for epoch in value}
        return chosen.__contains__
    every = positive_int(name, value)
    return lambda epoch: epoch % every == 0


def in_slices(x: Any, dtype: np.dtype) -> bool:
    """Whether x is a memory-mapped array that must be converted, which is done a slice at a time."""
    return isinstance(x, np.memmap) and (x.dtype not in (np.uint8, dtype) or not x.flags.c_contiguous)


def is_batches(x: Any, y: Any) -> bool:
    """Whether x, without y, is an iterable of batches rather than an array."""
    if y is not None or isinstance(x, (np.ndarray, list, tuple, str, bytes)) or is_array(x):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def batches(source: Any) -> Iterator[Any]:
    """Iterator over the batches of an iterable, or of an object with __getitem__ and __len__ (Keras's PyDataset)."""
    if isinstance(source, Mapping):
        raise TypeError(f"a dictionary with the keys {list(source)[:5]} is no iterable of batches; give x and y")
    if hasattr(source, "__iter__") and not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        return iter(source)
    return (source[i] for i in range(len(source)))


def split(count: int, fraction: Any) -> int:
    """Rows used for training under Keras's validation_split: the last rows, floor(count * (1 - fraction)) before."""
    try:
        fraction = float(fraction)
    except (TypeError, ValueError):
        raise TypeError(f"validation_split must be a number, got {fraction!r}") from None
    except OverflowError:
        raise ValueError("validation_split must lie between 0 and 1 (exclusive), got an integer beyond") from None
    if not 0 < fraction < 1:
        raise ValueError(f"validation_split must lie between 0 and 1 (exclusive), got {fraction}")
    at = int(np.floor(count * (1.0 - fraction)))
    if at in (0, count):
        raise ValueError(
            f"{count} samples are not enough to split off validation_split={fraction}: "
            f"{at} would be left for training and {count - at} for validation"
        )
    return at
