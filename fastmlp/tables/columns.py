"""What columns are, and how they become numbers: decided on training rows, kept as plain JSON, applied to any rows."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.saving import atomic

from .reading import TableError

#: Different texts that a column may have to be used.
MAX_CATEGORIES = 50
#: Different whole numbers that a target may have to be taken for classes, and classes that any target may have.
MAX_WHOLE_CLASSES, MAX_CLASSES = 10, 200
#: Rows that a class of whole numbers has on average.
MIN_ROWS_PER_CLASS = 5

_FORMAT = "fastmlp table 1"
# Columns that a message names, and names that are compared with each to find the one that is meant.
_MOST_SAID, _MOST_COMPARED, _LONGEST_COMPARED = 10, 1000, 200
# Share of cells that have to be numbers for the others to be taken as missing.
_MOSTLY = 0.95
_DATE = re.compile(r"(\d{4}([-/])\d{1,2}\2\d{1,2}|\d{1,2}([./])\d{1,2}\3(\d{4}|\d{2}))([ T].*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")


@dataclass
class Column:
    """A column that the network reads.

    Attributes:
        name: Its name.
        kind: "number" or "category".
        mean: What is taken off numbers.
        scale: What they are divided by then.
        fill: What stands in for a missing number: the median.
        categories: Texts, one input each; any other text leaves all of them 0.
        flag: Whether there is an input more that says that the cell is missing.
    """

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    categories: list[str] = field(default_factory=list)
    flag: bool = False

    @property
    def width(self) -> int:
        """Number of inputs."""
        return (1 if self.kind == "number" else len(self.categories)) + self.flag

    @property
    def input_names(self) -> list[str]:
        """What each of its inputs says, in order."""
        own = [self.name] if self.kind == "number" else [f"{self.name}: {text}" for text in self.categories]
        return own + [f"{self.name} missing"] * self.flag


@dataclass
class Preprocessing:
    """How rows of a table become inputs and targets of a network, and its outputs answers.

    Attributes:
        task: "classification" or "regression".
        target: Name of the column that is to be predicted.
        classes: The names of the classes, in the order of their indices; none in a regression.
        columns: What is read, in the order of the inputs.
        dropped: What isn't, with the reason.
    """

    task: str
    target: str
    classes: list[str]
    columns: list[Column]
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Number of inputs."""
        return sum(column.width for column in self.columns)

    @classmethod
    def fit(cls, frame: Any, target: str, task: str, classes: list[str]) -> Preprocessing:
        """Decide by these rows: which columns are numbers, which categories, which are of no use.

        Raises:
            TableError: If no column is left.
        """
        made = cls(task, target, classes, [])
        for name in frame.columns:
            if name != target:
                column, why = _decide(frame[name], name)
                if column is None:
                    made.dropped[name] = why
                else:
                    made.columns.append(column)
        if not made.columns:
            reasons = "; ".join(f"{name}: {why}" for name, why in made.dropped.items()) or "there is no other column"
            raise TableError(f"no column can be used to predict {target!r} ({reasons})")
        return made

    def transform(self, frame: Any) -> tuple[np.ndarray, list[str]]:
        """Inputs (rows, width) in float64, and what was noticed.

        Raises:
            TableError: If a column is missing.
        """
        missing = [column.name for column in self.columns if column.name not in frame.columns]
        if missing:
            said = [_with_nearest(name, frame.columns) for name in missing[:_MOST_SAID]]
            more = f" and {len(missing) - _MOST_SAID} more" if len(missing) > _MOST_SAID else ""
            raise TableError(f"the table lacks {', '.join(said)}{more}")
        x = np.zeros((len(frame), self.width))
        notes: list[str] = []
        place = 0
        for column in self.columns:
            into = x[:, place : place + column.width]
            notes += _fill(column, frame[column.name], into)
            place += column.width
        return x, notes

    def targets(self, frame: Any) -> np.ndarray:
        """Class indices, or values in float64; NaN where there is none, or a class that is unknown."""
        if self.task == "regression":
            return numbers(frame[self.target])[0]
        names = class_names(frame[self.target])
        index = {name: float(i) for i, name in enumerate(self.classes)}
        return np.array([math.nan if name is None else index.get(name, math.nan) for name in names])

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        content = {"format": _FORMAT, **asdict(self)}
        atomic.write(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Preprocessing:
        """What save wrote.

        Raises:
            TableError: If there is no such file, or it is something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != _FORMAT:
                raise ValueError(f"its format is not {_FORMAT!r}")
            columns = [Column(**column) for column in content.pop("columns")]
            made = cls(columns=columns, **content)
            made._check()
        except OSError as error:
            raise TableError(f"cannot read {path}: {error.strerror or error}; `fastmlp train` writes it") from error
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise TableError(f"{path} is not what `fastmlp train` writes: {error}") from error
        return made

    def _check(self) -> None:
        """ValueError unless every field is of its kind: the file may come from anywhere."""
        if not all(isinstance(held, list) for held in (self.classes, *(c.categories for c in self.columns))):
            raise ValueError("classes and categories must be lists")
        texts = [self.target, *self.classes, *(c.name for c in self.columns)]
        texts += [text for c in self.columns for text in c.categories]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a name is no text")
        if self.task not in ("classification", "regression") or (self.task == "classification") != bool(self.classes):
            raise ValueError("task and classes don't fit")
        if self.classes and len(set(self.classes)) != max(len(self.classes), 2):
            raise ValueError(f"classes are at least two and different, but it has {self.classes[:5]}")
        for c in self.columns:
            if c.kind not in ("number", "category") or not isinstance(c.flag, bool):
                raise ValueError(f"column {c.name!r} is of no known kind")
            if (
                not all(isinstance(v, (int, float)) and math.isfinite(v) for v in (c.mean, c.scale, c.fill))
                or not c.scale
            ):
                raise ValueError(f"column {c.name!r} holds numbers that are none")


def choose_task(values: Any) -> str:
    """The task, "classification" or "regression", by a target's values without missing ones.

    Texts, and true or false, are classes. Whole numbers are classes if they are at most 10 different ones, each 5 times
    on average. All other numbers are values.

    >>> import pandas as pd
    >>> [choose_task(pd.Series(values)) for values in (["yes", "no"], [0, 1, 2] * 5, [0.5, 1])]
    ['classification', 'classification', 'regression']
    """
    found, wrong = numbers(values)
    if len(wrong) or str(values.dtype) in ("bool", "boolean"):
        return "classification"
    different = np.unique(found)
    whole = bool((different == np.round(different)).all())
    few = len(different) <= MAX_WHOLE_CLASSES and len(found) >= MIN_ROWS_PER_CLASS * len(different)
    return "classification" if whole and few else "regression"


def class_names(values: Any) -> list[str | None]:
    """Each cell as the name of a class: no blanks around it, whole numbers without a point; None is missing."""
    names: list[str | None] = []
    for value, missing in zip(values.tolist(), values.isna().tolist()):
        if missing:
            names.append(None)
        else:
            names.append(re.sub(r"^([+-]?\d+)\.0+$", r"\1", str(value).strip()))
    return names


def in_order(names: Sequence[str]) -> list[str]:
    """Different names of classes, sorted as numbers if all are."""
    different = set(names)
    try:
        return sorted(different, key=float)
    except ValueError:
        return sorted(different)


def numbers(values: Any) -> tuple[np.ndarray, list[str]]:
    """A column as float64, and the texts that are no numbers; these and missing cells are NaN.

    A comma is the decimal point where every cell with one has it once, between digits.

    >>> import pandas as pd
    >>> numbers(pd.Series(["1,5", "2", None, "many"]))
    (array([1.5, 2. , nan, nan]), ['many'])
    """
    import pandas as pd

    kind = str(values.dtype)
    if kind.startswith("datetime"):
        return np.full(len(values), math.nan), ["a date"]
    if kind in ("bool", "boolean"):
        return np.full(len(values), math.nan), ["True", "False"]
    present = values.notna()
    if pd.api.types.is_numeric_dtype(values.dtype):
        found = values.to_numpy(dtype=np.float64, na_value=math.nan)
    else:
        try:
            found = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=math.nan)
        except (ValueError, TypeError, OverflowError):
            found = _numbers_among(values, present)
    wrong = present.to_numpy() & np.isnan(found)
    texts = [str(cell) for cell in dict.fromkeys(values[wrong].tolist())]
    found = np.where(np.isfinite(found), found, math.nan)
    return found, [cell for cell in texts if cell.strip().lower() not in ("nan", "+nan", "-nan")]


def _numbers_among(values: Any, present: Any) -> np.ndarray:
    """Cells that are numbers, some with a comma; NaN for all others."""
    import pandas as pd

    text = values.astype(str)
    with_comma = text[present & text.str.contains(",", regex=False)]
    if len(with_comma) and all(_DECIMAL_COMMA.fullmatch(cell.strip()) for cell in with_comma):
        text = text.str.replace(",", ".", regex=False)
    found: np.ndarray = pd.to_numeric(text.where(present), errors="coerce").to_numpy(dtype=np.float64)
    return found


def _decide(values: Any, name: str) -> tuple[Column | None, str]:
    """The column, or the reason why it is of no use."""
    import pandas as pd

    present = values.notna()
    count = int(present.sum())
    if not count:
        return None, "empty"
    texts = values[present].astype(str)
    if not pd.api.types.is_numeric_dtype(values.dtype):
        texts = texts.str.strip()
    different = texts.nunique()
    if different == 1:
        return None, f"always {texts.iloc[0]!r}"
    first = texts.iloc[:1000].map(lambda cell: bool(_DATE.fullmatch(cell)))
    if str(values.dtype).startswith("datetime") or first.mean() > _MOSTLY:
        return None, "dates; turn them into numbers first, such as the year, the month or the days since a day"
    found, _ = numbers(values)
    known = found[~np.isnan(found)]
    if len(known) >= _MOSTLY * count:
        if _is_running_number(known, name):
            return None, "a number of its own for each row, which says nothing about other rows"
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = float(known.mean()), float(known.std())
        if not math.isfinite(scale) or scale == 0:
            return None, f"always {known[0]:g}" if scale == 0 else "numbers too large to work with"
        flag = bool(np.isnan(found).any())
        return Column(name, "number", mean, scale, float(np.median(known)), [], flag), ""
    if different > MAX_CATEGORIES or (different > 0.5 * count and count >= 10):
        mixed = f", {len(known)} of them numbers" if len(known) else ""
        return None, f"{different} different texts in {count} cells{mixed}; at most {MAX_CATEGORIES} can be told apart"
    flag = count < len(values)
    return Column(name, "category", categories=sorted(texts.unique().tolist()), flag=flag), ""


def _is_running_number(known: np.ndarray, name: str) -> bool:
    """Whether it counts the rows, or is called an id and differs in each."""
    if len(known) < 10 or len(np.unique(known)) < len(known) or (known != np.round(known)).any():
        return False
    consecutive = np.ptp(known) == len(known) - 1
    called = re.search(r"(^|[\s_])(id|index|nr|no|key|uuid)$", name.lower()) or re.search(r"[a-z]I[dD]$", name)
    in_turn = bool((np.diff(known) > 0).all())
    return bool(called) or (consecutive and in_turn)


def _fill(column: Column, values: Any, into: np.ndarray) -> list[str]:
    """The inputs of a column."""
    notes = []
    if column.kind == "number":
        found, wrong = numbers(values)
        missing = np.isnan(found)
        if wrong:
            notes.append(f"{column.name}: {wrong[0]!r} and the like are no numbers and taken as missing.")
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is found by predict
            into[:, 0] = (np.where(missing, column.fill, found) - column.mean) / column.scale
    else:
        missing = values.isna().to_numpy()
        texts = values.astype(str).str.strip().to_numpy()
        for i, category in enumerate(column.categories):
            into[:, i] = (texts == category) & ~missing
        unknown = sorted({str(text) for text in texts[~missing]} - set(column.categories))
        if unknown:
            shown = ", ".join(map(repr, unknown[:3])) + (" ..." if len(unknown) > 3 else "")
            notes.append(f"{column.name}: {shown} did not occur in training, so it counts as none of the known ones.")
    if column.flag:
        into[:, -1] = missing
    elif missing.any():
        stands = "the median stands in" if column.kind == "number" else "they count as none of the known ones"
        notes.append(f"{column.name}: {int(missing.sum())} missing, none of them in training; {stands}.")
    return notes


def _with_nearest(name: str, there: Sequence[str]) -> str:
    # Comparing two texts takes time with the square of their lengths.
    alike = [str(column) for column in there[:_MOST_COMPARED] if len(str(column)) <= _LONGEST_COMPARED]
    near = difflib.get_close_matches(name, alike, n=1) if len(name) <= _LONGEST_COMPARED else []
    return f"{name!r}" + (f" (it has {near[0]!r})" if near else "")
