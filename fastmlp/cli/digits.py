"""`fastmlp digits` and `fastmlp compare`: the tutorial's net, alone and beside Keras."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

from fastmlp import reference
from fastmlp.machine import versions
from fastmlp.printable import printable
from fastmlp.saving import atomic

from .shared import CommandError, Commands, add_command, count, make_writable, print_now, seed, timed, writing_to

Split = tuple[Any, Any]

DATA_NAMES = {"mnist": "MNIST", "printed_digits": "printed digits"}

DIGITS_HELP = """\
Train the tutorial's net on digits and compare its accuracy with Keras.

The net: 784 pixels, 16 and 8 sigmoid units, 10 softmax units; raw pixels 0..255, plain SGD with a
learning rate of 0.01, batches of 32, sparse categorical cross-entropy, the last fifth of the training
data held out for validation."""

DIGITS_EPILOG = """\
It writes into the folder --out, over files of an earlier run:
  run.json                  settings, versions, every epoch's loss and accuracy, the test result,
                            the times, and Keras's recorded result
  sample_digits.png         the first images and their labels
  activation_functions.png  the functions a unit can apply
  training_curves.png       loss and accuracy by epoch, training and validation
  confusion_matrix.png      which digit was taken for which
  confident_mistakes.png    the wrong predictions the net was surest of
  report.html               all of it on one page, with a canvas: draw a digit, and the net reads it

examples:
  fastmlp digits                     the whole tutorial, 20 epochs
  fastmlp digits --epochs 3          a quick look
  fastmlp digits --data printed      without a download"""

COMPARE_HELP = """\
Train Keras and fastmlp side by side: same initial weights, same batches, same order.

Shows loss and accuracy of both by epoch, the largest difference of any weight, and both times. On raw
pixels, 0..255, this net amplifies rounding: within an epoch any two programs drift apart, and so do
float32 and float64, which is shown as the yardstick. With --scale they stay together. Needs Keras
(pip install "fastmlp[keras]"); KERAS_BACKEND chooses its backend: jax, torch or tensorflow."""

COMPARE_EPILOG = """\
examples:
  fastmlp compare --epochs 3 --scale
  fastmlp compare --data printed --samples 10000"""


def add_to(commands: Commands) -> None:
    """The two commands and their options."""
    sub = add_command(
        commands, digits, "digits", "train on digits and compare the accuracy with Keras", DIGITS_HELP, DIGITS_EPILOG
    )
    _add_training_options(sub, epochs=20)
    sub.add_argument("--out", type=Path, default=Path("digits"), metavar="DIR", help="folder (default: %(default)s)")
    sub.add_argument(
        "--no-plots", dest="plots", action="store_false", help="write run.json but no figures and no report"
    )

    sub = add_command(
        commands, compare, "compare", "train Keras and fastmlp side by side", COMPARE_HELP, COMPARE_EPILOG
    )
    _add_training_options(sub, epochs=5)
    sub.add_argument("--samples", type=count, metavar="N", help="use the first N training samples only (default: all)")
    sub.add_argument("--scale", action="store_true", help="divide the pixels by 255")


def _add_training_options(sub: argparse.ArgumentParser, epochs: int) -> None:
    sub.add_argument(
        "--epochs", type=count, default=epochs, metavar="N", help="passes over the data (default: %(default)s)"
    )
    sub.add_argument("--seed", type=seed, default=0, metavar="N", help="of weights and order (default: %(default)s)")
    sub.add_argument(
        "--data",
        choices=("auto", "mnist", "printed"),
        default="auto",
        help="mnist is downloaded once; printed digits come with fastmlp; auto (default): mnist, "
        "or printed where it can't be had",
    )


def digits(options: argparse.Namespace) -> None:
    """`fastmlp digits`."""
    import fastmlp

    make_writable(options.out)
    seconds: dict[str, float] = {}
    data, (x, y), (x_test, y_test) = timed(seconds, "load", _load, options.data)
    _describe(data, (x, y), (x_test, y_test))

    fastmlp.utils.set_random_seed(options.seed)
    model = reference.tutorial_model(fastmlp)
    model.compile(
        optimizer=fastmlp.optimizers.SGD(learning_rate=0.01),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.summary()
    how = {"batch_size": 32, "epochs": options.epochs, "validation_split": 0.2, "verbose": "auto"}
    history = timed(seconds, "fit", model.fit, x, y, **how)
    test_loss, test_accuracy = timed(seconds, "evaluate", model.evaluate, x_test, y_test, verbose=0)
    seconds["fit_per_epoch"] = seconds["fit"] / options.epochs
    print(f"\nTrained in {seconds['fit']:.2f} s, {seconds['fit_per_epoch']:.3f} s per epoch.")
    print(f"Test loss {test_loss:.4f}, test accuracy {test_accuracy:.4f} on {len(x_test)} samples.\n")
    beside_keras = _beside_keras(data, options.epochs, test_accuracy)

    run = {
        "settings": {
            "data": data,
            "epochs": options.epochs,
            "seed": options.seed,
            "layers": "784-16-8-10, sigmoid, sigmoid, softmax",
            "optimizer": "SGD",
            "learning_rate": 0.01,
            "batch_size": 32,
            "validation_split": 0.2,
            "loss": "sparse_categorical_crossentropy",
        },
        "samples": {"train": len(x), "test": len(x_test)},
        "versions": versions(),
        "history": history.history,
        "test": {"loss": test_loss, "accuracy": test_accuracy},
        "seconds": seconds,
        "keras": beside_keras,
    }
    with writing_to(options.out), atomic.together(options.out) as place:
        made = Path(place)
        atomic.write(made / "run.json", (json.dumps(run, indent=2) + "\n").encode())
        written = ["run.json"]
        if options.plots:
            written += _write_figures(made, history, (x, y), (x_test, y_test), model.predict(x_test, verbose=0))
            title = f"fastmlp digits: {DATA_NAMES[data]}"
            fastmlp.report(model, history, x_test, y_test, made / "report.html", title=title)
            written.append("report.html")
    print(f"\nWrote {', '.join(written)} to {options.out}{os.sep}")
    if options.plots:
        print(f"Open {options.out / 'report.html'} in a browser, and draw a digit.")


def compare(options: argparse.Namespace) -> None:
    """`fastmlp compare`."""
    try:
        reference.import_keras()  # before the download: the answer may be no
    except ImportError as error:
        raise CommandError(str(error), status=1) from error
    data, (x, y), _ = _load(options.data)
    samples = options.samples or len(x)
    if not 2 <= samples <= len(x):
        raise CommandError(f"--samples needs 2..{len(x)}, the samples of {DATA_NAMES[data]}; got {samples}", status=2)
    split = int(samples * 0.8)
    if options.scale:
        x = (x / 255).astype("float32")
    print(
        f"{DATA_NAMES[data]}: {split} training and {samples - split} validation samples.\n"
        f"784-16-8-10, SGD 0.01, batches of 32, pixels {'0..1' if options.scale else '0..255'}, seed {options.seed}.\n"
        "Same initial weights, same batches, same order.\n",
        flush=True,
    )
    validation = (x[split:samples], y[split:samples])
    reference.compare(x[:split], y[:split], validation, epochs=options.epochs, seed=options.seed, report=print_now)


def _load(wanted: str) -> tuple[str, Any, Any]:
    """The data set's name, (x_train, y_train) and (x_test, y_test)."""
    from fastmlp.datasets import mnist, printed_digits

    if wanted != "printed":
        try:
            return "mnist", *mnist.load_data()
        except OSError as error:
            if wanted == "mnist":
                raise CommandError(f"{error}\nHere: --data printed.", status=1) from error
            said = [
                "MNIST could not be had; taking the printed digits instead.",
                "They are another task: their accuracies say nothing about MNIST's.",
                *str(error).splitlines(),
            ]
        block = ["*" * 80, *(f"* {line}" for line in said), "*" * 80]
        print("\n".join(block), file=sys.stderr, flush=True)
    return "printed_digits", *printed_digits.load_data()


def _describe(data: str, train: Split, test: Split) -> None:
    import numpy as np

    print(f"Data: {DATA_NAMES[data]}")
    for name, (x, y) in (("train", train), ("test", test)):
        print(f"  {name:6}x {x.shape} {x.dtype}, values {x.min()}..{x.max()}; y {y.shape} {y.dtype}")
    print(f"  class {''.join(f'{digit:6}' for digit in range(10))}")
    for name, (_, y) in (("train", train), ("test", test)):
        print(f"  {name:6}{''.join(f'{count:6}' for count in np.bincount(y, minlength=10))}")
    print(flush=True)


def _beside_keras(data: str, epochs: int, accuracy: float) -> dict[str, Any]:
    """Print the accuracy beside Keras's recorded ones; what run.json says about it."""
    references = {name: jobs["sparse"] for name, jobs in reference.recorded().items()}
    here = references[data]
    print(f"Test accuracy after {here.epochs} epochs, beside Keras {here.keras} ({here.backend}):")
    for name, recorded in references.items():
        spread = printable(f"{recorded.mean:.4f} ± {recorded.std:.4f}")
        print(
            f"  Keras    {DATA_NAMES[name]:15}{spread}, {recorded.lowest:.4f}..{recorded.highest:.4f} "
            f"over {len(recorded.seeds)} seeds"
        )
    print(
        f"  fastmlp  {DATA_NAMES[data]:15}{accuracy:.4f}" + ("" if epochs == here.epochs else f" after {epochs} epochs")
    )
    place = here.place(accuracy) if epochs == here.epochs else None
    if place is None:
        verdict = f"The reference does not apply: it took {here.epochs} epochs, this run {epochs}."
    else:
        low, high = here.span
        verdict = (
            f"This run lies {place} {low:.4f}..{high:.4f}, where a further run of Keras would lie 19 times out of 20."
        )
    print(verdict)
    return {"applies": place is not None, "place": place, "verdict": verdict, "reference": here.as_dict()}


def _write_figures(folder: Path, history: Any, train: Split, test: Split, probabilities: Any) -> list[str]:
    from fastmlp import plotting

    x_test, y_test = test
    figures: dict[str, Any] = {
        "sample_digits.png": plotting.sample_digits(*train),
        "activation_functions.png": plotting.activation_functions(),
        "training_curves.png": plotting.training_curves(history),
        "confusion_matrix.png": plotting.confusion_matrix(y_test, probabilities).figure,
        "confident_mistakes.png": plotting.confident_mistakes(x_test, y_test, probabilities),
    }
    for name, figure in figures.items():
        atomic.write(folder / name, functools.partial(figure.savefig, format="png"))
    return list(figures)
