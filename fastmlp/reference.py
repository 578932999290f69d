"""Keras as the reference: its recorded accuracies, and a live comparison on the same batches."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

#: What the comparison shows, by Keras's names.
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Recorded:
    """Test accuracies of one job in Keras on one data set, one per seed.

    Attributes:
        epochs: Length of each run, over all its losses.
        seeds: The seed of each run.
        accuracies: The test accuracy of each run.
        keras: Keras's version.
        backend: Keras's backend.
    """

    epochs: int
    seeds: list[int]
    accuracies: list[float]
    keras: str
    backend: str

    @property
    def mean(self) -> float:
        """Mean test accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Standard deviation of a single run, estimated from the runs (divisor: runs - 1)."""
        return statistics.stdev(self.accuracies)

    @property
    def lowest(self) -> float:
        """Lowest test accuracy."""
        return min(self.accuracies)

    @property
    def highest(self) -> float:
        """Highest test accuracy."""
        return max(self.accuracies)

    @property
    def span(self) -> tuple[float, float]:
        """Where a further run of Keras lies 19 times out of 20: mean -+ t std sqrt(1 + 1/n).

        Ten runs alone would leave every sixth equally good one outside their lowest and highest.

        source  Hahn & Meeker (1991), Statistical Intervals, ch. 4; t by its expansion (Fisher & Cornish 1960), within
                0.3 % from 8 runs on
        """
        n = len(self.accuracies)
        z = statistics.NormalDist().inv_cdf(0.975)
        freedom = n - 1
        t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        width = t * self.std * math.sqrt(1 + 1 / n)
        return self.mean - width, self.mean + width

    def place(self, accuracy: float) -> str:
        """Where an accuracy lies: "within" the span, "below" or "above" it."""
        low, high = self.span
        if accuracy < low:
            return "below"
        return "above" if accuracy > high else "within"

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        numbers = {
            "mean": self.mean,
            "std": self.std,
            "lowest": self.lowest,
            "highest": self.highest,
            "span": self.span,
        }
        return {**asdict(self), **numbers}


def recorded() -> dict[str, dict[str, Recorded]]:
    """The accuracies Keras reached, by data set and job; Keras is not needed.

    Returns:
        For "mnist" and "printed_digits" the jobs "sparse" (what `fastmlp digits` runs: 20 epochs with sparse
        categorical cross-entropy) and "tutorial" (20 epochs with one-hot labels, then 20 with indices).

    Source: benchmarks/record_keras_reference.py wrote the file that comes with fastmlp.

    Example:
        >>> recorded()["mnist"]["sparse"].epochs
        20
    """
    text = resources.files("fastmlp").joinpath("keras_reference.json").read_text(encoding="utf-8")
    record = json.loads(text)
    job, versions = record["job"], record["versions"]
    return {
        data: {
            name: Recorded(
                epochs=job["epochs_per_loss"] * len(job["losses"][name]),
                seeds=[run["seed"] for run in summary["runs"]],
                accuracies=[run["test_accuracy"] for run in summary["runs"]],
                keras=versions["keras"],
                backend=versions["backend"],
            )
            for name, summary in result["jobs"].items()
        }
        for data, result in record["results"].items()
    }


def tutorial_model(library: ModuleType) -> Any:
    """The tutorial's net, 784-16-8-10 with sigmoids and a softmax, built from `library`'s own layers.

    Args:
        library: `fastmlp` or `keras`: anything with `models.Sequential` and `layers`.
    """
    layers = library.layers
    return library.models.Sequential(
        [
            layers.InputLayer((28, 28)),
            layers.Flatten(),
            layers.Dense(16, activation="sigmoid"),
            layers.Dense(8, activation="sigmoid"),
            layers.Dense(10, activation="softmax"),
        ]
    )


@dataclass(frozen=True)
class Run:
    """One library's side of a comparison: per epoch, the metrics by their Keras names and the seconds."""

    name: str
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    seconds: list[float] = field(default_factory=list)

    @property
    def first_seconds(self) -> float:
        """The first epoch: compiling or loading machine code, and training."""
        return self.seconds[0]

    @property
    def steady_seconds(self) -> float:
        """The median of the later epochs; nan where there is only one."""
        return statistics.median(self.seconds[1:]) if len(self.seconds) > 1 else float("nan")


@dataclass(frozen=True)
class Comparison:
    """What `compare` measured.

    Attributes:
        keras: Keras's side.
        fastmlp: fastmlp's side.
        weight_differences: The largest absolute difference of any weight or bias, after each epoch.
        rounding: The same between fastmlp in float32 and in float64: what rounding alone does in this job.
    """

    keras: Run
    fastmlp: Run
    weight_differences: list[float] = field(default_factory=list)
    rounding: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Steady seconds of Keras over those of fastmlp: above one, fastmlp is faster."""
        return self.keras.steady_seconds / self.fastmlp.steady_seconds


def compare(
    x: Any,
    y: Any,
    validation_data: tuple[Any, Any],
    *,
    build: Callable[[ModuleType], Any] = tutorial_model,
    epochs: int = 5,
    batch_size: int = 32,
    learning_rate: float = 0.01,
    seed: int = 0,
    report: Callable[[str], object] = print,
) -> Comparison:
    """Train Keras and fastmlp from the same weights on the same batches in the same order, in turn.

    Both get rows that are already shuffled, by one permutation per epoch, and `shuffle=False`, so that losses and
    weights differ by rounding only. They take turns by epochs: a busy moment of the machine hits both.

    How far rounding carries is the job's doing: on MNIST's raw pixels, 0..255, 100 batches turn 1e-8 into 1e-2, for
    NumPy and for Keras itself against float64 as well; on pixels divided by 255 three epochs leave 2e-6. So fastmlp
    runs along in float64, untimed, and the distance to it is reported as the yardstick.

    Args:
        x: Training samples, shape (samples, *input_shape).
        y: Class indices, shape (samples,).
        validation_data: The pair (x_val, y_val), evaluated after each epoch.
        build: Makes the uncompiled model from a library; called with `keras` and with `fastmlp`.
        epochs: Epochs; from two on there is a steady time besides the first call's.
        batch_size: Rows in a batch.
        learning_rate: Step of plain SGD.
        seed: Of the initial weights, drawn by Keras, and of the permutations.
        report: Called with each line of the table.

    Raises:
        ImportError: If Keras is not installed.

    Example:
        >>> import fastmlp
        >>> (x, y), test = fastmlp.datasets.printed_digits.load_data()
        >>> compare(x, y, test, epochs=2).ratio > 1  # doctest: +SKIP
        True
    """
    keras, fastmlp = import_keras(), importlib.import_module("fastmlp")
    keras.utils.set_random_seed(seed)
    libraries = (keras, fastmlp, fastmlp)
    models = [build(keras), build(fastmlp), _in_float64(build, fastmlp)]
    for model, library in zip(models, libraries):
        model.set_weights(models[0].get_weights())
        model.compile(
            optimizer=library.optimizers.SGD(learning_rate=learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    result = Comparison(
        Run(f"Keras {keras.__version__} ({keras.backend.backend()})"), Run(f"fastmlp {fastmlp.__version__}")
    )
    runs = (result.keras, result.fastmlp)
    x, y = np.asarray(x), np.asarray(y)
    rng = np.random.default_rng(seed)
    for line in _table_head():
        report(line)
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        rows, targets = x[order], y[order]
        # Whoever comes second finds the shuffled rows in the processor's cache, so they change places.
        for model, run in list(zip(models, runs))[:: 1 if epoch % 2 else -1]:
            _train_one_epoch(model, rows, targets, validation_data, epoch, batch_size, run)
        _train_one_epoch(models[2], rows, targets, validation_data, epoch, batch_size, Run("float64"))
        result.weight_differences.append(_largest_difference(models[0], models[1]))
        result.rounding.append(_largest_difference(models[1], models[2]))
        report(_table_row(result, epoch))
    for line in _conclusion(result):
        report(line)
    return result


def _in_float64(build: Callable[[ModuleType], Any], fastmlp: ModuleType) -> Any:
    usual = fastmlp.config.floatx()
    fastmlp.config.set_floatx("float64")
    try:
        return build(fastmlp)
    finally:
        fastmlp.config.set_floatx(usual)


def _largest_difference(one: Any, other: Any) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one.get_weights(), other.get_weights()))


def _train_one_epoch(
    model: Any, x: Any, y: Any, validation_data: tuple[Any, Any], epoch: int, batch_size: int, run: Run
) -> None:
    start = time.perf_counter()
    history = model.fit(
        x,
        y,
        batch_size=batch_size,
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        validation_data=validation_data,
        verbose=0,
    ).history
    run.seconds.append(time.perf_counter() - start)
    for name in METRICS:
        run.history[name].append(float(history[name][-1]))


def _table_head() -> list[str]:
    names = "".join(f"  {name:^14}" for name in METRICS)
    return [f"{'':5}{names}    weights", f"epoch{'   Keras fastmlp' * len(METRICS)}  differ by"]


def _table_row(result: Comparison, epoch: int) -> str:
    sides = [(result.keras.history[name][epoch], result.fastmlp.history[name][epoch]) for name in METRICS]
    numbers = "".join(f"  {keras:6.4f} {fastmlp:7.4f}" for keras, fastmlp in sides)
    return f"{epoch + 1:5}{numbers}    {result.weight_differences[epoch]:.1e}"


def _conclusion(result: Comparison) -> list[str]:
    lines = [
        "",
        f"At the end the weights differ by up to {result.weight_differences[-1]:.1e}; those of fastmlp in float32 and",
        f"in float64 by up to {result.rounding[-1]:.1e}: that much is rounding alone.",
        "",
    ]
    steady = len(result.keras.seconds) - 1
    lines.append(f"{'seconds':24}{'first epoch':>14}" + (f"{f'median of {steady} more':>20}" if steady else ""))
    for run in (result.keras, result.fastmlp):
        line = f"{run.name:24}{run.first_seconds:14.3f}"
        lines.append(line + (f"{run.steady_seconds:20.3f}" if steady else ""))
    lines.append("The first epoch includes compiling or loading machine code.")
    if steady:
        lines.append(f"A steady epoch takes Keras {result.ratio:.2f} times as long as fastmlp.")
    return lines


def import_keras() -> ModuleType:
    """Keras with the backend it is configured for, or with an installed one where that backend is missing.

    Raises:
        ImportError: If Keras, or every backend for it, is missing.
    """
    if "keras" not in sys.modules:
        if importlib.util.find_spec("keras") is None:
            raise ImportError('the comparison needs Keras, which is not installed: pip install "fastmlp[keras]"')
        if "KERAS_BACKEND" not in os.environ and not _is_installed(_configured_backend()):
            # Unconfigured, Keras insists on TensorFlow; the variable is the only way to tell it otherwise.
            os.environ["KERAS_BACKEND"] = next(filter(_is_installed, ("jax", "torch", "tensorflow")), "jax")
    try:
        return importlib.import_module("keras")
    except (ImportError, ValueError) as error:  # ValueError: KERAS_BACKEND names no backend
        raise ImportError(
            f'Keras could not be imported ({error}): pip install "fastmlp[keras]" brings it with JAX; '
            "for another backend, install that and set KERAS_BACKEND to its name."
        ) from error


def _is_installed(backend: str) -> bool:
    return importlib.util.find_spec(backend) is not None


def _configured_backend() -> str:
    """What Keras's configuration file says, else its default."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return json.loads((home / "keras.json").read_text())["backend"]
    except (OSError, ValueError, KeyError):
        return "tensorflow"
