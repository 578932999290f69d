"""Train real Keras on the tutorial's job and record what it reaches in fastmlp/keras_reference.json.

    FASTMLP_DATA_DIR=<folder with mnist.npz> python benchmarks/record_keras_reference.py

takes about 20 minutes on two cores. The file is written after every seed, so a run that is cut short leaves
the seeds it got through. "std" is the sample's, with n - 1.
"""

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"  # the fastest of Keras's backends for a net this small on a CPU

import jax
import keras
import numpy as np
from tqdm import tqdm

from fastmlp.datasets import _store, mnist, printed_digits

DATA = {"mnist": mnist, "printed_digits": printed_digits}

#: The losses that a job is compiled with, one after the other; the weights are kept in between.
JOBS = {
    "sparse": ["sparse_categorical_crossentropy"],
    "tutorial": ["categorical_crossentropy", "sparse_categorical_crossentropy"],
}

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


def main():
    options = _options()
    record = {
        "job": {
            "net": "InputLayer(28, 28), Flatten, Dense(16, sigmoid), Dense(8, sigmoid), Dense(10, softmax)",
            "input": "uint8 pixels from 0 to 255, as they are",
            "optimizer": "SGD(learning_rate=0.01), a new one at each compile",
            "batch_size": 32,
            "validation_split": 0.2,
            "epochs_per_loss": options.epochs,
            "losses": JOBS,
            "seed": "keras.utils.set_random_seed(seed) before the net is made",
        },
        "versions": {
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "jax": jax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        "seeds": list(range(options.seeds)),
        "results": {},
    }
    names = list(DATA) if options.data == "both" else [options.data]
    with tqdm(total=len(names) * options.seeds) as bar:
        for name in names:
            train, test = DATA[name].load_data()
            arrays = dict(zip(_store.SHAPES, (*train, *test)))
            result = {"data_sha256": _store.digest(arrays), "jobs": {}}
            record["results"][name] = result
            runs = {job: [] for job in JOBS}
            for seed in record["seeds"]:
                for job, losses in JOBS.items():
                    bar.set_description(f"{name}, seed {seed}, {job}")
                    runs[job].append(_run(seed, losses, options.epochs, train, test))
                    result["jobs"][job] = _summary(runs[job])
                _write(options.out, record)
                bar.update()


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to N - 1 (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each loss (default: %(default)s)")
    parser.add_argument("--data", choices=[*DATA, "both"], default="both")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parents[1] / "fastmlp" / "keras_reference.json",
        help="file to write (default: fastmlp/keras_reference.json)",
    )
    return parser.parse_args()


def _run(seed, losses, epochs, train, test):
    """One training; the curves over all epochs and the accuracy on the test set after the last."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.layers.InputLayer(shape=(28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="sigmoid"),
            keras.layers.Dense(8, activation="sigmoid"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    curves = {name: [] for name in CURVES}
    x, labels = train
    for loss in losses:
        model.compile(optimizer=keras.optimizers.SGD(), loss=loss, metrics=["accuracy"])
        y = keras.utils.to_categorical(labels) if loss == "categorical_crossentropy" else labels
        history = model.fit(x, y, epochs=epochs, batch_size=32, validation_split=0.2, verbose=0)
        for name in CURVES:
            curves[name] += history.history[name]
    _, accuracy = model.evaluate(*test, verbose=0)  # the last loss of each job is the sparse form
    keras.backend.clear_session()
    return {"seed": seed, "test_accuracy": accuracy, "curves": curves}


def _summary(runs):
    """Spread of the test accuracy, mean curves, and each seed's last values."""
    accuracies = [run["test_accuracy"] for run in runs]
    return _rounded(
        {
            "test_accuracy": {
                "mean": statistics.mean(accuracies),
                "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
                "min": min(accuracies),
                "max": max(accuracies),
            },
            "mean_curves": {name: np.mean([run["curves"][name] for run in runs], axis=0) for name in CURVES},
            "runs": [
                {"seed": run["seed"], "test_accuracy": run["test_accuracy"]}
                | {name: run["curves"][name][-1] for name in CURVES}
                for run in runs
            ],
        }
    )


def _rounded(value):
    """The same structure for JSON: floats with six digits after the point, arrays as lists."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | np.ndarray):
        return [_rounded(item) for item in value]
    return round(float(value), 6) if isinstance(value, float | np.floating) else value


def _write(path, record):
    """Replace the file as a whole: a reader never sees half of it."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
