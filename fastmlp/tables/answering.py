"""What a trained network says about the rows of another table."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp
from fastmlp.saving import atomic

from .columns import Preprocessing
from .reading import Table, TableError
from .training import answers_of, measures


@dataclass
class Answers:
    """A table with what is predicted for each row.

    Attributes:
        frame: The table's columns, then "predicted <target>" and, of classes, "probability".
        notes: What was noticed, one sentence each.
        result: Measures by name, if the table has the target, else none.
    """

    frame: Any
    notes: list[str]
    result: dict[str, float]


def predict_table(folder: str | os.PathLike[str], table: Table) -> Answers:
    """Predict the target of each row of a table with the columns that `fastmlp train` saw.

    Args:
        folder: What `fastmlp train` wrote.
        table: What read_table read; other columns are kept and not looked at.

    Raises:
        TableError: If the folder holds no such model, or the table lacks a column.
    """
    place = Path(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # which is said below
        try:
            atomic.complete(place)
        except PermissionError as error:
            hint = "a training was killed while it wrote; train again, or run this as somebody who may write there"
            raise TableError(f"cannot read {place}: {hint} ({error.strerror})") from error
    preprocessing = Preprocessing.load(place / "preprocessing.json")
    try:
        model = fastmlp.models.load_model(place / "model.safetensors")
    except (OSError, ValueError, TypeError) as error:
        raise TableError(f"cannot read the model in {place}: {str(error).splitlines()[0]}") from error
    units = len(preprocessing.classes) if len(preprocessing.classes) > 2 else 1
    if model.input_shape != (None, preprocessing.width) or model.output_shape != (None, units):
        raise TableError(f"model.safetensors and preprocessing.json in {place} are not of one training; train again")
    x, notes = preprocessing.transform(table.frame)
    with np.errstate(over="ignore"):  # what becomes infinite is found by predict
        x = x.astype(model.dtype)
    outputs = model.predict(x)
    told, sureness = answers_of(outputs, preprocessing)
    target = preprocessing.target
    frame = table.frame.copy()
    frame[f"predicted {target}"] = told
    if sureness is not None:
        frame["probability"] = sureness
    result: dict[str, float] = {}
    if target in frame.columns:
        y = preprocessing.targets(table.frame)
        known = np.isfinite(y)
        if known.sum() > 1:
            result, _ = measures(y[known], outputs[known], preprocessing)
    return Answers(frame, [*table.notes, *notes], result)
