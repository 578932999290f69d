"""A network for a table: rows held out, the training, its results beside a baseline, and the folder that keeps all."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp
from fastmlp.callbacks import EarlyStopping, History, LambdaCallback
from fastmlp.machine import versions
from fastmlp.optional import needed
from fastmlp.saving import atomic

from .columns import MAX_CLASSES, Preprocessing, choose_task, class_names, in_order, numbers
from .reading import Table, TableError

#: Rows with a target that a table needs at least.
MIN_ROWS = 20

_VALIDATION = 0.15
_LARGEST = 1e150  # of a regression, whose loss is a square


@dataclass
class Settings:
    """How to train.

    Attributes:
        task: "classification" or "regression"; None is choose_task's answer.
        test: Share of the rows that the network never sees, by which it is judged.
        hidden: Units of the hidden layers.
        activation: Their activation.
        epochs: Passes over the data at most; the training ends by itself when the rows held out for that get no better
            for `patience` epochs.
        patience: See epochs.
        batch_size: Rows per step; None is 32, and 128 from 20,000 rows on.
        learning_rate: Of Adam.
        seed: Of the rows held out, the first weights and the order.
    """

    task: str | None = None
    test: float = 0.2
    hidden: tuple[int, ...] = (64, 32)
    activation: str = "relu"
    epochs: int = 200
    patience: int = 20
    batch_size: int | None = None
    learning_rate: float = 0.001
    seed: int = 0


@dataclass
class Training:
    """What came out.

    Attributes:
        model: The network. Of a regression it gives values in the target's own unit.
        preprocessing: How rows become its inputs.
        history: Of the training, of a regression in the target's own unit.
        x: Inputs of the test rows.
        y: Their targets.
        outputs: What the network says about them.
        rows: Their places in the table, from 0.
        counts: Rows for "train", "validation" and "test".
        result: Measures of the network on the test rows, by name.
        baseline: The same of the simplest answer: always the commonest class, or always the mean.
        per_class: For each class, its precision, recall, f1 and number of test rows.
        notes: What was noticed, one sentence each.
        settings: As given, filled in.
    """

    model: fastmlp.Sequential
    preprocessing: Preprocessing
    history: History
    x: np.ndarray
    y: np.ndarray
    outputs: np.ndarray
    rows: np.ndarray
    counts: dict[str, int]
    result: dict[str, float]
    baseline: dict[str, float]
    per_class: dict[str, dict[str, float]]
    notes: list[str]
    settings: Settings

    def save(self, folder: Path) -> list[str]:
        """Write the model, its preprocessing, the test rows' predictions, curves and a page; the names of the files.

        Either all take their places, or the files of an earlier training stay.

        Raises:
            OSError: If one can't be written.
        """
        with atomic.together(folder) as made:
            return self._save(Path(made))

    def _save(self, folder: Path) -> list[str]:
        self.model.save(folder / "model.safetensors")
        self.preprocessing.save(folder / "preprocessing.json")
        atomic.write(folder / "predictions.csv", self._predictions().to_csv(index=False).encode())
        target = self.preprocessing.target
        run = {
            "versions": versions(),
            "settings": asdict(self.settings),
            "task": self.preprocessing.task,
            "target": target,
            "rows": self.counts,
            "result": self.result,
            "baseline": self.baseline,
            "per_class": self.per_class,
            "notes": self.notes,
            "history": self.history.history,
        }
        atomic.write(folder / "run.json", (json.dumps(run, indent=2, ensure_ascii=False) + "\n").encode())
        from fastmlp import plotting

        curves = plotting.training_curves(self.history)
        atomic.write(folder / "curves.png", lambda file: curves.savefig(file, format="png"))
        written = ["model.safetensors", "preprocessing.json", "predictions.csv", "run.json", "curves.png"]
        fastmlp.report(
            self.model,
            self.history,
            self.x,
            self.y,
            folder / "report.html",
            labels=self.preprocessing.classes or [target],
            title=f"Predicting {target}",
            draw=False,
            feature_names=[name for column in self.preprocessing.columns for name in column.input_names],
        )
        return [*written, "report.html"]

    def _predictions(self) -> Any:
        import pandas as pd

        target = self.preprocessing.target
        columns: dict[str, Any] = {"row": self.rows + 1}
        answers, sureness = answers_of(self.outputs, self.preprocessing)
        true = self.y if not self.preprocessing.classes else [self.preprocessing.classes[int(i)] for i in self.y]
        columns[target if target != "row" else "true row"] = true
        columns[f"predicted {target}"] = answers
        if sureness is not None:
            columns["probability"] = sureness
        return pd.DataFrame(columns)


def train_table(
    table: Table, target: str, settings: Settings | None = None, say: Callable[[str], object] = print
) -> Training:
    """Train a network that tells one column of a table from the others.

    Args:
        table: What read_table read.
        target: Name of the column to predict. Rows without it are left out.
        settings: How; Settings() by default.
        say: Called with each line of what is going on.

    Raises:
        TableError: If the target is unknown or can't be predicted, there are too few rows, or no column is of use.
        ImportError: If scikit-learn is missing.

    >>> import pandas as pd
    >>> x = np.arange(100) % 9
    >>> table = Table(pd.DataFrame({"x": x, "y": np.where(x > 4, "high", "low")}), "an example")
    >>> training = train_table(table, "y", Settings(epochs=50), say=lambda line: None)
    >>> training.preprocessing.classes, training.result["accuracy"] > training.baseline["accuracy"]
    (['high', 'low'], True)
    """
    settings = settings or Settings()
    frame, task, classes, notes = _rows_with_target(table, target, settings.task)
    notes = [*table.notes, *notes]
    rows = np.arange(len(table))[frame.index.to_numpy()]
    train, test = _split(frame, target, task, settings)
    preprocessing = Preprocessing.fit(frame.iloc[train], target, task, classes)
    x_train, _ = preprocessing.transform(frame.iloc[train])
    x_test, noticed = preprocessing.transform(frame.iloc[test])
    y = preprocessing.targets(frame)
    notes += [f"In the test rows, {note}" for note in noticed]
    batch_size = settings.batch_size or (32 if len(train) < 20_000 else 128)
    settings = Settings(**{**asdict(settings), "task": task, "batch_size": batch_size})
    held_out = max(int(np.ceil(len(train) * _VALIDATION)), 1)
    counts = {"train": len(train) - held_out, "validation": held_out, "test": len(test)}
    for line in _plan(table, preprocessing, notes, counts, settings):
        say(line)

    fastmlp.set_random_seed(settings.seed)
    model, history = _fit(x_train, y[train], preprocessing, settings, say)
    x_test = x_test.astype(model.dtype)
    outputs = model.predict(x_test)
    result, per_class = measures(y[test], outputs, preprocessing)
    baseline, _ = measures(y[test], _simplest(y[train], len(test), preprocessing), preprocessing)
    return Training(
        model,
        preprocessing,
        history,
        x_test,
        y[test].astype(np.int64) if classes else y[test],
        outputs,
        rows[test],
        counts,
        result,
        baseline,
        per_class,
        notes,
        settings,
    )


def answers_of(outputs: np.ndarray, preprocessing: Preprocessing) -> tuple[list[Any], np.ndarray | None]:
    """The network's outputs as names of classes with their probabilities, or as values and None."""
    if not preprocessing.classes:
        return outputs[:, 0].tolist(), None
    shares = np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs
    best = shares.argmax(axis=1)
    return [preprocessing.classes[i] for i in best], shares.max(axis=1).round(6)


def _rows_with_target(table: Table, target: str, task: str | None) -> tuple[Any, str, list[str], list[str]]:
    """The rows that can be used, the task, the classes, and what was noticed."""
    frame, notes = table.frame, []
    if target not in frame.columns:
        columns = [str(column) for column in frame.columns]
        near = difflib.get_close_matches(target, columns, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(columns[:20])}"
        if not near and all(column.replace(".", "", 1).replace("-", "", 1).isdigit() for column in columns):
            hint = "its first line holds numbers, but should hold the columns' names"
        raise TableError(f"{table.name} has no column {target!r}; {hint}")
    there = frame[target].notna()
    if not there.any():
        raise TableError(f"every row's {target!r} is missing")
    if not there.all():
        notes.append(f"{int((~there).sum())} rows without a {target!r} left out.")
        frame = frame[there]
    _enough(frame, target)
    task = task or choose_task(frame[target])
    if task == "regression":
        found, wrong = numbers(frame[target])
        if wrong:
            raise TableError(f"{target!r} holds {wrong[0]!r}, which is no number; classes need --task classification")
        if np.isnan(found).any():
            notes.append(f"{int(np.isnan(found).sum())} rows without a finite {target!r} left out.")
            frame = frame[~np.isnan(found)]
        if np.isfinite(found).sum() and np.nanmin(found) == np.nanmax(found):
            raise TableError(f"every {target!r} is {found[0]:g}, so there is nothing to learn")
        largest = np.nanmax(np.abs(found), initial=0)
        if largest > _LARGEST:
            raise TableError(f"{target!r} has {largest:g}, too large to be squared; divide it, or take its logarithm")
        _enough(frame, target)
        return frame, task, [], notes
    names = class_names(frame[target])
    rows_of = Counter(names)
    rare = {name for name, count in rows_of.items() if count < 3}
    if len(rows_of) > MAX_CLASSES or len(rare) > len(rows_of) / 2:
        raise TableError(
            f"{target!r} has {len(rows_of)} different values in {len(names)} rows, {len(rare)} of them in fewer than "
            "3: too many to be classes; give another --target, or --task regression if they are numbers"
        )
    if rare:
        gone = [name not in rare for name in names]
        shown = ", ".join(repr(name) for name in sorted(map(str, rare))[:5])
        notes.append(f"{gone.count(False)} rows of classes with fewer than 3 rows left out: {shown}.")
        frame, names = frame[gone], [name for name in names if name not in rare]
    classes = in_order([str(name) for name in names])
    if len(classes) == 1:
        raise TableError(f"every row's {target!r} is {classes[0]!r}; at least two classes are needed")
    _enough(frame, target)
    return frame, task, classes, notes


def _enough(frame: Any, target: str) -> None:
    if len(frame) < MIN_ROWS:
        raise TableError(f"there are {len(frame)} rows with a {target!r} to use; at least {MIN_ROWS} are needed")


def _split(frame: Any, target: str, task: str, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Places of the rows to train on and to test with; of classes, the same share of each."""
    train_test_split = needed("sklearn.model_selection", "train", "the split of a table").train_test_split
    names = class_names(frame[target]) if task == "classification" else None
    classes = len(set(names)) if names else 1
    count = max(round(len(frame) * settings.test), classes, 2)
    if len(frame) - count < max(2 * classes, 10):
        raise TableError(
            f"{len(frame)} rows are too few" + (f" for {classes} classes and" if names else " for") + " a test of "
            f"{settings.test:g}; give a smaller --test"
        )
    train, test = train_test_split(
        np.arange(len(frame)), test_size=count, random_state=settings.seed, stratify=names, shuffle=True
    )
    return train, test


def _plan(
    table: Table, preprocessing: Preprocessing, notes: list[str], counts: dict[str, int], settings: Settings
) -> list[str]:
    """What will be done, in plain words."""
    kinds = {"number": "numbers, standardized", "category": "categories, one input each"}
    lines = [f"{table.name}: {len(table)} rows, {len(table.frame.columns)} columns."]
    if preprocessing.classes:
        shown = ", ".join(preprocessing.classes[:10]) + (" ..." if len(preprocessing.classes) > 10 else "")
        lines.append(f"{preprocessing.target!r} has {len(preprocessing.classes)} classes: {shown}.")
    else:
        lines.append(f"{preprocessing.target!r} is a number.")
    for kind, words in kinds.items():
        columns = [column for column in preprocessing.columns if column.kind == kind]
        if columns:
            lines.append(f"Used as {words}: {', '.join(column.name for column in columns)}.")
    flagged = [column.name for column in preprocessing.columns if column.flag]
    if flagged:
        lines.append(
            f"With missing cells: {', '.join(flagged)}; the median stands in for a number, and an input more says so."
        )
    lines += [f"Not used: {name}: {why}." for name, why in preprocessing.dropped.items()]
    lines += notes
    lines.append(
        f"{counts['train']} rows to train on, {counts['validation']} to end the training, {counts['test']} to test."
    )
    sizes = [preprocessing.width, *settings.hidden, max(len(preprocessing.classes), 1)]
    if sizes[-1] == 2:
        sizes[-1] = 1
    lines.append(
        f"The network: {'-'.join(map(str, sizes))}, {settings.activation}; Adam {settings.learning_rate:g}, batches of "
        f"{settings.batch_size}, at most {settings.epochs} epochs, seed {settings.seed}."
    )
    return lines


def _fit(
    x: np.ndarray,
    y: np.ndarray,
    preprocessing: Preprocessing,
    settings: Settings,
    say: Callable[[str], object],
) -> tuple[fastmlp.Sequential, History]:
    m = len(preprocessing.classes)
    # Values keep their digits in float64: a target of large numbers that differ little needs them.
    dtype = "float32" if m else "float64"
    model = fastmlp.Sequential([fastmlp.Input((x.shape[1],))], dtype=dtype)
    for units in settings.hidden:
        model.add(fastmlp.Dense(units, activation=settings.activation))
    if m > 2:
        model.add(fastmlp.Dense(m, activation="softmax"))
        loss = "sparse_categorical_crossentropy"
    elif m == 2:
        model.add(fastmlp.Dense(1, activation="sigmoid"))
        loss = "binary_crossentropy"
    else:
        model.add(fastmlp.Dense(1))
        loss = "mean_squared_error"
    metrics = ["accuracy"] if m else ["mean_absolute_error"]
    model.compile(fastmlp.optimizers.Adam(settings.learning_rate), loss, metrics=metrics)
    middle, scale = (0.0, 1.0) if m else (float(y.mean()), float(y.std()))

    def tell(epoch: int, logs: dict[str, float]) -> None:
        if epoch == 0 or (epoch + 1) % 10 == 0:
            name, factor = ("loss", 1.0) if m else ("mean_absolute_error", scale)
            own, held_out = (f"{logs[key] * factor:.4g}" for key in (name, f"val_{name}"))
            say(f"  epoch {epoch + 1:3}: {'loss' if m else 'mean error'} {own}, of the rows held out {held_out}")

    stopping = EarlyStopping(patience=settings.patience, restore_best_weights=True)
    history = model.fit(
        x.astype(dtype),
        y.astype(np.int64) if m else (y - middle) / scale,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        callbacks=[stopping, LambdaCallback(on_epoch_end=tell)],
        verbose=0,
        validation_split=_VALIDATION,
        validation_from="stratified" if m else "shuffled",
    )
    if not m:
        # The last layer takes the target's unit on, so that the model alone says what it means; so do the losses.
        *others, kernel, bias = model.get_weights()
        model.set_weights([*others, kernel * scale, bias * scale + middle])
        for name, values in history.history.items():
            factor = scale**2 if name.endswith("loss") else scale
            values[:] = [value * factor for value in values]
    return model, history


def _simplest(y: np.ndarray, count: int, preprocessing: Preprocessing) -> np.ndarray:
    """Outputs of a network that says the same about all rows: the commonest class, or the mean."""
    if not preprocessing.classes:
        return np.full((count, 1), y.mean())
    shares = np.bincount(y.astype(np.int64), minlength=len(preprocessing.classes)) / len(y)
    return np.tile(shares, (count, 1))


def measures(
    y: np.ndarray, outputs: np.ndarray, preprocessing: Preprocessing
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Measures of all rows, and those of each class."""
    metrics = needed("sklearn.metrics", "train", "a table's results")
    if not preprocessing.classes:
        found = {
            "R2": metrics.r2_score(y, outputs[:, 0]),
            "MAE": metrics.mean_absolute_error(y, outputs[:, 0]),
            "RMSE": metrics.root_mean_squared_error(y, outputs[:, 0]),
        }
        return {name: float(value) for name, value in found.items()}, {}
    true = [preprocessing.classes[int(i)] for i in y]
    told, _ = answers_of(outputs, preprocessing)
    table = metrics.classification_report(true, told, labels=preprocessing.classes, output_dict=True, zero_division=0.0)
    per_class = {
        name: {key.replace("support", "rows"): float(value) for key, value in table[name].items()}
        for name in preprocessing.classes
    }
    return {"accuracy": float(metrics.accuracy_score(true, told))}, per_class
