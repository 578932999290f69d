"""Samples that are kept without their zeros: the CSR form of scipy.sparse, checked, in plain arrays.

SciPy is not imported: only who has it can bring its matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import arrays
from .arrays import is_sparse as is_sparse

# Non-zero numbers of the pieces in which predict takes the samples.
_PIECE = 1 << 22


@dataclass(frozen=True, eq=False)
class Sparse:
    """Samples (n, k) of which the non-zero numbers are kept, by rows.

    Row i has values[indptr[i] : indptr[i + 1]] in the columns indices[indptr[i] : indptr[i + 1]], which ascend.

    Attributes:
        indptr: (n + 1,) int64; need not begin at 0.
        indices: (m,) int32 or int64.
        values: (m,) uint8 or the model's float type.
        shape: (n, k).
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.values.dtype

    def count_columns(self) -> np.ndarray:
        """(k,): how many rows have a number other than zero in each column."""
        kept = slice(self.indptr[0], self.indptr[-1])
        return np.bincount(self.indices[kept][self.values[kept] != 0], minlength=self.shape[1])

    def __getitem__(self, which: Any) -> Sparse:
        """Those rows: of a slice without a copy, else of an array of indices."""
        if isinstance(which, slice):
            first, last, step = which.indices(len(self))
            if step == 1:
                indptr = self.indptr[first : max(first, last) + 1]
                return Sparse(indptr, self.indices, self.values, (len(indptr) - 1, self.shape[1]))
            which = np.arange(first, last, step)
        begins, counts = self.indptr[which], self.indptr[1:][which] - self.indptr[which]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        at = np.arange(indptr[-1]) + np.repeat(begins - indptr[:-1], counts)
        return Sparse(indptr, self.indices[at], self.values[at], (len(which), self.shape[1]))

    def pieces(self) -> Iterator[Sparse]:
        """All rows, some millions of numbers at a time."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.indptr, self.indptr[first] + _PIECE, side="right")) - 1
            last = min(max(last, first + 1), len(self))
            yield self[first:last]
            first = last


def rows(name: str, x: Any, dtype: np.dtype) -> Sparse:
    """A matrix of scipy.sparse as checked rows, in uint8 or dtype; not copied where it is canonical CSR of these types.

    Raises:
        TypeError: If it holds no real numbers.
        ValueError: If its arrays contradict each other, or a number is NaN or infinite.
    """
    arrays.real(name, x.dtype)
    matrix = checked(name, x)
    indptr = np.asarray(matrix.indptr, np.int64)
    if not _ascend(indptr, matrix.indices):
        matrix = matrix.copy()
        # SciPy remembers what it once found; whoever changed the indices since did not tell it.
        matrix.has_sorted_indices = matrix.has_canonical_format = False
        matrix.sum_duplicates()
        indptr = np.asarray(matrix.indptr, np.int64)
    index = np.int64 if matrix.indices.dtype.itemsize == 8 else np.int32
    with np.errstate(over="ignore"):  # what becomes infinite is found below
        values = arrays.for_kernels(matrix.data, np.uint8 if matrix.data.dtype == np.uint8 else dtype)
    made = Sparse(indptr, arrays.for_kernels(matrix.indices, index), values, matrix.shape)
    _finite(name, made)
    return made


def checked(name: str, x: Any) -> Any:
    """A matrix of scipy.sparse in CSR; ValueError if its arrays contradict each other, of which SciPy would crash."""
    try:
        return _as_csr(name, x)
    except (LookupError, AttributeError, ArithmeticError, MemoryError, TypeError, ValueError) as error:
        # Whoever changes the arrays of a matrix by hand may leave it in any state, which SciPy doesn't expect.
        if "corrupt sparse matrix" in str(error):
            raise
        raise ValueError(f"{name} is a corrupt sparse matrix: {error}") from error


def _as_csr(name: str, x: Any) -> Any:
    """The matrix in CSR, its arrays checked before SciPy's compiled code goes through them."""
    if x.format == "csr":
        _check(name, x.indptr, x.indices, x.data, x.shape)
        return x
    if x.format == "csc":
        _check(name, x.indptr, x.indices, x.data, x.shape[::-1])
    elif x.format == "lil":
        counts = [[len(row) for row in lists] for lists in (x.rows, x.data)]
        if counts[0] != counts[1] or len(counts[0]) != x.shape[0]:
            raise ValueError(f"{name} is a corrupt sparse matrix: its rows and data are of different lengths")
    elif x.format == "dia":
        x = _within(name, x).tocsr()
    elif x.format == "bsr":
        _, height, width = x.data.shape
        if x.shape[0] % height or x.shape[1] % width:
            raise ValueError(f"{name} is a corrupt sparse matrix: shape {x.shape} of blocks {height} by {width}")
        # Not SciPy's own check_format, which looks at nothing where indptr ends at 0.
        _check(name, x.indptr, x.indices, x.data[:, 0, 0], (x.shape[0] // height, x.shape[1] // width))
    else:
        x = x.tocoo()
        if not len(x.row) == len(x.col) == len(x.data):
            raise ValueError(f"{name} is a corrupt sparse matrix: {len(x.row)} rows, {len(x.col)} columns and "
                             f"{len(x.data)} values")  # fmt: skip
        for axis, coordinates in enumerate((x.row, x.col)):
            what = ("row", "column")[axis]
            _check_integers(name, coordinates, what)
            _check_range(name, coordinates, x.shape[axis], what)
    matrix = x.tocsr()
    _check(name, matrix.indptr, matrix.indices, matrix.data, matrix.shape)
    return matrix


def _within(name: str, x: Any) -> Any:
    """A matrix of diagonals made anew of those that lie within it."""
    offsets, data = x.offsets, x.data
    _check_integers(name, offsets, "offsets")
    if data.ndim != 2 or len(data) != len(offsets):
        raise ValueError(f"{name} is a corrupt sparse matrix: {len(offsets)} offsets for data of shape {data.shape}")
    inside = (offsets > -x.shape[0]) & (offsets < x.shape[1])
    return type(x)((data[inside], offsets[inside]), shape=x.shape)


def _check(name: str, indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, shape: tuple[int, int]) -> None:
    """ValueError unless the arrays of a CSR matrix fit together: the kernels, and SciPy's own, don't look."""
    wrong = f"{name} is a corrupt sparse matrix: "
    for array, what in ((indptr, "indptr"), (indices, "indices")):
        _check_integers(name, array, what)
    if data.ndim != 1:
        raise ValueError(f"{wrong}its data have shape {data.shape}, one axis is needed")
    indptr = indptr.astype(np.int64, copy=False)
    if indptr.shape != (shape[0] + 1,) or indptr[0] != 0:
        raise ValueError(f"{wrong}indptr must have {shape[0] + 1} numbers from 0 on, has shape {indptr.shape}")
    falls = np.diff(indptr) < 0
    if falls.any():
        row = int(falls.argmax())
        raise ValueError(f"{wrong}indptr must not fall, but goes from {indptr[row]} to {indptr[row + 1]} at {row}")
    if indptr[-1] > min(len(indices), len(data)):
        raise ValueError(
            f"{wrong}indptr ends at {indptr[-1]}, but there are {len(indices)} indices and {len(data)} values"
        )
    _check_range(name, indices[: indptr[-1]], shape[1], "index")


def _check_integers(name: str, array: np.ndarray, what: str) -> None:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} is a corrupt sparse matrix: its {what} has shape {array.shape} and type {array.dtype}, one axis "
            "of integers is needed"
        )


def _check_range(name: str, indices: np.ndarray, size: int, what: str) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= size):
        at = int(np.argmax((indices < 0) | (indices >= size)))
        raise ValueError(
            f"{name} is a corrupt sparse matrix: its {what} {indices[at]} at {at} lies outside 0 to {size - 1}"
        )


def _ascend(indptr: np.ndarray, indices: np.ndarray) -> bool:
    """Whether the indices of every row ascend, none twice."""
    last = indptr[-1]
    if last < 2:
        return True
    ascends = indices[1:last] > indices[: last - 1]
    starts = indptr[(indptr > 0) & (indptr < last)]
    ascends[starts - 1] = True
    return bool(ascends.all())


def _finite(name: str, x: Sparse) -> None:
    """ValueError that names the first row with NaN or infinity."""
    values = x.values[: x.indptr[-1]]
    if values.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum(dtype=values.dtype)):
            return
    bad = ~np.isfinite(values)
    if bad.any():
        at = int(bad.argmax())
        row = int(np.searchsorted(x.indptr, at, side="right")) - 1
        raise ValueError(f"{name} has {values[at]} in row {row}; remove such rows or fill the missing values first")
