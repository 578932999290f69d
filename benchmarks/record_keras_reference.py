"""Train real Keras on the tutorial's job and record what it reaches in fastmlp/keras_reference.json.

    FASTMLP_DATA_DIR=<folder with mnist.npz> python benchmarks/record_keras_reference.py

takes about 20 minutes on two cores for ten seeds. The file is written after every run, and runs that it has already,
of the same job and versions, are kept: one that was cut short goes on, and a larger --seeds adds to it. "std" is the
sample's, with n - 1.
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
        "results": {},
    }
    if options.out.exists():
        before = json.loads(options.out.read_text())
        if all(before[part] == record[part] for part in ("job", "versions")):
            record["results"] = before["results"]
    names = list(DATA) if options.data == "both" else [options.data]
    with tqdm(total=len(names) * options.seeds * len(options.jobs)) as bar:
        for name in names:
            train, test = DATA[name].load_data()
            digest = _store.digest(dict(zip(_store.SHAPES, (*train, *test))))
            if record["results"].get(name, {}).get("data_sha256") != digest:
                record["results"][name] = {"data_sha256": digest, "jobs": {}}
            jobs = record["results"][name]["jobs"]
            for seed in range(options.seeds):
                for job in options.jobs:
                    bar.set_description(f"{name}, seed {seed}, {job}")
                    runs = jobs.get(job, {"runs": []})["runs"]
                    if all(run["seed"] != seed for run in runs):
                        runs.append(_run(seed, JOBS[job], options.epochs, train, test))
                        jobs[job] = _summary(runs)
                        _write(options.out, record)
                    bar.update()


def _options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to N - 1 (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each loss (default: %(default)s)")
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--data", choices=[*DATA, "both"], default="both")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parents[1] / "fastmlp" / "keras_reference.json",
        help="file to write (default: fastmlp/keras_reference.json)",
    )
    return parser.parse_args()


def _run(seed, losses, epochs, train, test):
    """One training: the accuracy on the test set after the last epoch, and that epoch's values."""
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
    x, labels = train
    for loss in losses:
        model.compile(optimizer=keras.optimizers.SGD(), loss=loss, metrics=["accuracy"])
        y = keras.utils.to_categorical(labels) if loss == "categorical_crossentropy" else labels
        history = model.fit(x, y, epochs=epochs, batch_size=32, validation_split=0.2, verbose=0).history
    _, accuracy = model.evaluate(*test, verbose=0)  # the last loss of each job is the sparse form
    keras.backend.clear_session()
    return {"seed": seed, "test_accuracy": accuracy, **{name: values[-1] for name, values in sorted(history.items())}}


def _summary(runs):
    """Spread of the test accuracy, and the runs."""
    accuracies = [run["test_accuracy"] for run in runs]
    return _rounded(
        {
            "test_accuracy": {
                "mean": statistics.mean(accuracies),
                "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
                "min": min(accuracies),
                "max": max(accuracies),
            },
            "runs": runs,
        }
    )


def _rounded(value):
    """The same structure for JSON: floats with six digits after the point."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(float(value), 6) if isinstance(value, float) else value


def _write(path, record):
    """Replace the file as a whole: a reader never sees half of it."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
