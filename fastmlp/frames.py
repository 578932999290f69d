"""Tables of pandas, polars and pyarrow as arrays of numbers; none of them is imported."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

#: Libraries whose tables and columns are known here.
LIBRARIES = ("pandas", "polars", "pyarrow")


def numbers(name: str, values: Any, library: str) -> Any:
    """What NumPy makes an array of, without a copy where the library's memory allows it.

    Args:
        name: What errors call it.
        values: A frame, a table, a series or another column.
        library: Which of LIBRARIES it comes from.

    Raises:
        TypeError: If columns are no numbers; they are named.
        ValueError: If a value is missing; its row is named.
    """
    return {"pandas": _of_pandas, "polars": _of_polars, "pyarrow": _of_arrow}[library](name, values)


def without_zeros(values: Any) -> Any:
    """A frame of pandas as a matrix of scipy.sparse, where all its columns are kept without zeros; else as it is."""
    pandas: Any = sys.modules.get("pandas")
    frame: Any = getattr(pandas, "DataFrame", None)  # it has no names yet where another thread is just importing it
    if frame is None or not isinstance(values, frame) or not values.shape[1]:
        return values
    dtypes = values.dtypes
    if all(isinstance(dtype, pandas.SparseDtype) and dtype.fill_value == 0 for dtype in dtypes):
        return values.sparse.to_coo()
    return values


def _of_pandas(name: str, values: Any) -> Any:
    if not hasattr(values, "dtypes") or not hasattr(values, "isna"):
        return values  # an extension array, an accessor ...: NumPy sees
    is_frame = values.ndim == 2
    columns = [values.iloc[:, i] for i in range(values.shape[1])] if is_frame else [values]
    wrong = {_called(values, is_frame, i): column.dtype
             for i, column in enumerate(columns) if not _is_real(column)}  # fmt: skip
    if wrong:
        raise _no_numbers(name, wrong, is_frame, "pandas.get_dummies", f"pandas.factorize({name}, sort=True)[0]")
    if all(isinstance(column.dtype, np.dtype) for column in columns):
        return values.to_numpy()
    for i, column in enumerate(columns):
        # NaN of NumPy's own types is found where all arrays are looked at.
        if not isinstance(column.dtype, np.dtype) and column.hasnans:
            raise _missing(name, int(np.argmax(np.asarray(column.isna()))), _called(values, is_frame, i), is_frame)
    if not is_frame:
        return values.to_numpy(getattr(values.dtype, "numpy_dtype", None))
    common = np.result_type(*(_numpy_type(column.dtype) for column in columns))
    return values.to_numpy(common)


def _numpy_type(dtype: Any) -> np.dtype:
    """NumPy's type of a column of numbers."""
    return np.dtype(dtype if isinstance(dtype, np.dtype) else getattr(dtype, "numpy_dtype", np.float64))


def _is_real(column: Any) -> bool:
    """Whether a column of pandas holds real numbers; one of objects may."""
    kind = column.dtype.kind
    if kind != "O" or not isinstance(column.dtype, np.dtype):
        return kind in "biuf"
    return all(isinstance(value, (int, float, np.number, np.bool_)) for value in column)


def _called(values: Any, is_frame: bool, i: int) -> Any:
    return values.columns[i] if is_frame else values.name


def _of_polars(name: str, values: Any) -> Any:
    kind = type(values).__name__
    if kind == "LazyFrame":
        raise TypeError(f"{name} is a LazyFrame, which has not been computed yet; give {name}.collect()")
    if kind not in ("DataFrame", "Series"):
        return values
    is_frame = kind == "DataFrame"
    columns = values.get_columns() if is_frame else [values]
    wrong = {c.name: c.dtype for c in columns if not _is_real_polars(c.dtype)}
    if wrong:
        raise _no_numbers(
            name, wrong, is_frame, "to_dummies", f"{name}.cast(polars.Enum({name}.unique().sort())).to_physical()"
        )
    for column in columns:
        if column.null_count():
            raise _missing(name, int(column.is_null().arg_true()[0]), column.name, is_frame)
    return values.to_numpy(order="c") if is_frame else values.to_numpy()


def _is_real_polars(dtype: Any) -> bool:
    """Whether a type of polars is of real numbers; arrays of them are rows of a matrix."""
    while str(dtype).startswith("Array("):
        dtype = dtype.inner
    return bool(dtype.is_numeric()) or str(dtype) == "Boolean"


def _of_arrow(name: str, values: Any) -> Any:
    is_table = hasattr(values, "column_names")
    if not is_table and not hasattr(values, "null_count"):
        return values
    columns = dict(zip(values.column_names, values.columns)) if is_table else {None: values}
    wrong = {key: c.type for key, c in columns.items() if not str(c.type).startswith(("int", "uint", "half", "float",
                                                                                     "double", "bool"))}  # fmt: skip
    if wrong:
        raise _no_numbers(name, wrong, is_table, "dictionary_encode", f"{name}.dictionary_encode().indices")
    for key, column in columns.items():
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise _missing(name, row, key, is_table)
    made = [_of_column(column) for column in columns.values()]
    return np.column_stack(made) if is_table else made[0]


def _of_column(column: Any) -> np.ndarray:
    """A column of pyarrow, which may be in chunks."""
    chunks = hasattr(column, "chunks")
    return np.asarray(column.to_numpy() if chunks else column.to_numpy(zero_copy_only=False))


def _no_numbers(name: str, wrong: dict[Any, Any], is_frame: bool, one_hot: str, index: str) -> TypeError:
    if not is_frame:
        return TypeError(
            f"{name} holds no real numbers (dtype {next(iter(wrong.values()))}); encode classes as integers from 0 "
            f"first, for instance with {index}"
        )
    listed = ", ".join(f"{key!r} ({dtype})" for key, dtype in list(wrong.items())[:10])
    more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
    return TypeError(
        f"{name} has columns that hold no real numbers: {listed}{more}; encode them first, for instance with "
        f"{one_hot}, or drop them"
    )


def _missing(name: str, row: int, column: Any, is_frame: bool) -> ValueError:
    where = f"row {row}, column {column!r}" if is_frame else f"row {row}"
    return ValueError(f"{name} has a missing value in {where}; remove such rows or fill the missing values first")
