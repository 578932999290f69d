"""A table from a file: which bytes are cells, and what is no table. Nothing is guessed about values here."""

from __future__ import annotations

import csv
import io
import os
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from fastmlp.memory import memory
from fastmlp.optional import needed

#: Cells that stand for a missing value, besides empty ones and pandas's own (NA, NaN, null, None, ...).
MISSING = ("?", "-")

# What a table takes in memory while it is read, as a multiple of its file.
_MEMORY = 20

# Each takes some KiB, however short its cells are.
_MOST_COLUMNS = 100_000

_SEPARATORS = (",", ";", "\t", "|")
_SPOKEN = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class TableError(ValueError):
    """What is wrong with a table, in one line that says what to do."""


@dataclass
class Table:
    """A table as it was read.

    Attributes:
        frame: Its cells in a pandas.DataFrame: text, or numbers where the file has types of its own; NaN is missing.
        name: How messages call it.
        notes: What was noticed on the way, one sentence each.
    """

    frame: Any
    name: str
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.frame)


def read_table(path: str | os.PathLike[str], separator: str | None = None, encoding: str = "utf-8") -> Table:
    r"""A table with a header from a file: .csv, .tsv, .parquet, or "-", the standard input.

    Args:
        path: The file. One that ends in .parquet is read with its types; all others are text.
        separator: What stands between cells; None finds out whether the header has commas, semicolons, tabs or bars.
        encoding: Of text.

    Raises:
        TableError: If there is no such file, or it is no table: empty, not of that encoding, with rows of different
            lengths or two columns of one name, or larger than the memory.
        ImportError: If pandas is missing, or what it needs for .parquet.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "cats.csv"
    ...     _ = path.write_text("name;weight\nMia;4,2\nTom;5\n")
    ...     table = read_table(path)
    >>> table.frame.columns.tolist(), len(table), table.notes
    (['name', 'weight'], 2, ['Cells are separated by semicolons.'])
    """
    name = os.fspath(path)
    if name == "-":
        return _parsed(_bounded(sys.stdin.buffer, "the standard input"), "the standard input", separator, encoding)
    try:
        with open(name, "rb") as file:
            if name.lower().endswith((".parquet", ".pq")):
                return _parquet(name)
            content = _bounded(file, name)
    except OSError as error:
        raise TableError(f"cannot read {name}: {error.strerror or error}") from error
    if name.lower().endswith((".tsv", ".tab")) and separator is None:
        separator = "\t"
    return _parsed(content, name, separator, encoding)


def _bounded(file: BinaryIO, name: str) -> bytes:
    """All of a file that the memory has room for, also of one that doesn't tell its size, such as a pipe."""
    most = _free_memory() // _MEMORY
    content = file.read(most + 1)
    if len(content) > most:
        raise TableError(
            f"{name} has more than {most / 2**20:,.0f} MiB, too many for the memory that is free; take a sample of its "
            "rows"
        )
    return content


def _parquet(name: str) -> Table:
    needed("pandas", "train", "a table")
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"{name} needs pyarrow, which reads .parquet: pip install pyarrow") from error
    try:
        with parquet.ParquetFile(name) as file:
            texts = _check_parquet(pa, file, name)
        # Texts by their places in a list of different ones, of which a few bytes may repeat a long one.
        with parquet.ParquetFile(name, read_dictionary=texts) as file:
            table = file.read(use_pandas_metadata=True)
        frame = _with_texts(pa, table, texts, name).to_pandas()
    except TableError:
        raise
    except (ValueError, OSError, KeyError, TypeError, RuntimeError, MemoryError, pa.ArrowException) as error:
        raise TableError(f"{name} is no .parquet file: {(str(error) or repr(error)).splitlines()[0]}") from error
    frame.columns = [str(column) for column in frame.columns]
    _check_header(list(frame.columns), name)
    return Table(frame.reset_index(drop=True), name)


def _check_parquet(pa: Any, file: Any, name: str) -> list[str]:
    """Names of the columns of texts; an error where the table has cells of several values, or takes too much memory."""
    rows, schema = file.metadata.num_rows, file.schema_arrow
    _check_width(len(schema), name)
    _check_header([str(column.name) for column in schema], name)
    wide, texts = 0, []
    for column in schema:
        if pa.types.is_nested(column.type):
            raise TableError(f"the column {column.name!r} of {name} holds {column.type}; a cell is one number or text")
        if pa.types.is_fixed_size_binary(column.type):
            wide += column.type.byte_width
        elif column.type in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
            texts.append(column.name)
        wide += 16
    groups = (file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    _check_memory(rows * wide + sum(max(size, 0) for size in groups), name)
    return texts


def _with_texts(pa: Any, table: Any, texts: list[str], name: str) -> Any:
    """The table with its texts as such, once it is known how much they take."""
    from pyarrow import compute

    letters = 0
    for column in texts:
        for chunk in table.column(column).chunks:
            if pa.types.is_dictionary(chunk.type):
                lengths = compute.take(compute.binary_length(chunk.dictionary), chunk.indices)
                letters += compute.sum(compute.cast(lengths, pa.int64())).as_py() or 0
    _check_memory(4 * letters, name)
    for column in texts:
        held = table.column(column)
        if pa.types.is_dictionary(held.type):
            wide = pa.large_binary() if pa.types.is_binary(held.type.value_type) else pa.large_string()
            table = table.set_column(table.schema.get_field_index(column), column, held.cast(wide))
    return table


def _check_memory(size: int, name: str) -> None:
    if size > _free_memory() // 2:
        raise TableError(f"{name} takes {size / 2**20:,.0f} MiB, too many for the memory that is free; take a sample "
                         "of its rows")  # fmt: skip


def _parsed(content: bytes, name: str, separator: str | None, encoding: str) -> Table:
    pd = needed("pandas", "train", "a table")
    text = _decoded(content, name, encoding)
    if not text.strip():
        raise TableError(f"{name} is empty; a table has a header and rows")
    first = next(line for line in text.splitlines() if line.strip())
    between = separator or max(_SEPARATORS, key=lambda s: _count_cells(first, s))
    header = _check_rows(text, between, name)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=between,
            header=0,
            names=range(len(header)),
            dtype=str,
            na_values=list(MISSING),
            skipinitialspace=True,
            index_col=False,
        )
    except (ValueError, TypeError, OverflowError) as error:  # pandas's own reader is stricter than Python's
        raise TableError(f"{name} is no table: {str(error).splitlines()[0]}") from error
    notes = []
    if between != "," and separator is None:
        notes.append(f"Cells are separated by {_SPOKEN[between]}.")
    frame.columns = header
    nameless = [i for i, column in enumerate(header) if not column]
    if nameless:
        notes.append(f"{len(nameless)} column{'s' * (len(nameless) > 1)} without a name left out.")
        frame = frame[[column for column in header if column]]
    return Table(frame, name, notes)


def _count_cells(line: str, separator: str) -> int:
    """Cells of a line; one where that would be longer than csv takes."""
    try:
        return len(next(csv.reader([line], delimiter=separator)))
    except csv.Error:
        return 1


def _decoded(content: bytes, name: str, encoding: str) -> str:
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of escapes, from codecs of Python's own texts
            text = content.decode(encoding)
    except LookupError as error:
        raise TableError(f"the encoding {encoding!r} is unknown; try utf-8 or latin-1") from error
    except ValueError as error:
        if not isinstance(
            error, UnicodeDecodeError
        ):  # some codecs have errors, and names of codecs limits, of their own
            raise TableError(f"{name} can't be read with the encoding {encoding!r}: {error}") from error
        line = content.count(b"\n", 0, error.start) + 1
        raise TableError(
            f"{name} is not in {encoding.removesuffix('-sig')}: line {line} has the byte 0x{content[error.start]:02x}; "
            "give --encoding latin-1, or save it as UTF-8"
        ) from error
    if "\0" in text:
        raise TableError(f"{name} is no table of text: it holds zero bytes; save it as CSV")
    return text


def _check_rows(text: str, separator: str, name: str) -> list[str]:
    """The header; an error unless every row has as many cells."""
    header: list[str] | None = None
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    count = 0
    try:
        for row in rows:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if header is None:
                header = [cell.strip() for cell in row]
                _check_width(len(header), name)
                _check_header([column for column in header if column], name)
            elif len(row) != len(header):
                raise TableError(
                    f"line {rows.line_num} of {name} has {len(row)} cells, but the header has {len(header)}; put texts "
                    f"that hold {separator!r} into double quotes, or give another --separator"
                )
            else:
                count += 1
    except csv.Error as error:
        raise TableError(f"line {rows.line_num} of {name} cannot be read: {error}") from error
    if header is None or not count:
        raise TableError(f"{name} has a header but no rows")
    return header


def _check_width(count: int, name: str) -> None:
    if count > _MOST_COLUMNS:
        raise TableError(f"{name} has {count} columns; up to {_MOST_COLUMNS} are read")


def _check_header(header: list[str], name: str) -> None:
    twice = sorted(column for column, count in Counter(header).items() if count > 1)
    if twice:
        raise TableError(f"{name} has more than one column named {', '.join(map(repr, twice))}; rename them")


def _free_memory() -> int:
    """Bytes that may be used; as good as endless where the system doesn't tell."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        free = 2**62
    return min(free, memory())
