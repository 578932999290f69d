"""Tables in files: what they hold, a network trained on them, and its answers for new rows. See `fastmlp train --help`.

reading.py    files to tables, or an error of one line
columns.py    which columns are of use, and how they become numbers
training.py   the network, its results beside a baseline, and the folder that keeps all of it
answering.py  what it says about new rows
"""

from __future__ import annotations

from .answering import Answers, predict_table
from .columns import Preprocessing, choose_task
from .reading import Table, TableError, read_table
from .training import Settings, Training, train_table

__all__ = [
    "Answers",
    "Preprocessing",
    "Settings",
    "Table",
    "TableError",
    "Training",
    "choose_task",
    "predict_table",
    "read_table",
    "train_table",
]
