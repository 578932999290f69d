"""The command `fastmlp`: the tutorial's digits, the comparison with Keras, what is installed, warming up.

Exit status: 0 done, 1 something needed is missing, 2 the arguments are wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastmlp import __version__, reference

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


class CommandError(Exception):
    """What the user reads as one line on stderr, with the exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """One line, without the usage block, and the place to read more."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: The words after the command's name; those of this process by default.

    Example:
        >>> main(["warmup"])  # doctest: +ELLIPSIS
        The kernels are ready after ... s.
        0
    """
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except CommandError as error:
        print(f"fastmlp {options.name}: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print(f"\nfastmlp {options.name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastmlp",
        description="Multilayer perceptrons at the speed of the CPU, behind the Keras API.",
        epilog="Each command explains itself: fastmlp digits --help",
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="name", required=True)

    def add(command, name: str, short: str, description: str | None = None, epilog: str | None = None):
        sub = commands.add_parser(
            name,
            help=short,
            description=description or f"{short[0].upper()}{short[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command)
        return sub

    def add_training_options(sub, epochs: int):
        sub.add_argument(
            "--epochs",
            type=_count,
            default=epochs,
            metavar="N",
            help="passes over the data (default: %(default)s)",
        )
        sub.add_argument(
            "--seed", type=_seed, default=0, metavar="N", help="of weights and order (default: %(default)s)"
        )
        sub.add_argument(
            "--data",
            choices=("auto", "mnist", "printed"),
            default="auto",
            help="mnist is downloaded once; printed digits come with fastmlp; auto (default): mnist, "
            "or printed where it can't be had",
        )

    sub = add(digits, "digits", "train on digits and compare the accuracy with Keras", DIGITS_HELP, DIGITS_EPILOG)
    add_training_options(sub, epochs=20)
    sub.add_argument("--out", type=Path, default=Path("digits"), metavar="DIR", help="folder (default: %(default)s)")
    sub.add_argument(
        "--no-plots", dest="plots", action="store_false", help="write run.json but no figures and no report"
    )

    sub = add(compare, "compare", "train Keras and fastmlp side by side", COMPARE_HELP)
    add_training_options(sub, epochs=5)
    sub.add_argument("--samples", type=_count, metavar="N", help="use the first N training samples only (default: all)")
    sub.add_argument("--scale", action="store_true", help="divide the pixels by 255")

    add(info, "info", "print versions, the processor's features and the folder of compiled kernels")
    sub = add(warmup, "warmup", "compile the kernels now, so that later runs start at once")
    sub.add_argument(
        "--all", action="store_true", help="every activation, loss, optimizer and layer, too: half a minute"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text!r}")
    return int(text)


def digits(options: argparse.Namespace) -> None:
    """`fastmlp digits`."""
    import fastmlp
    from fastmlp.machine import versions

    _make_writable(options.out)
    seconds: dict[str, float] = {}
    data, (x, y), (x_test, y_test) = _timed(seconds, "load", _load, options.data)
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
    history = _timed(seconds, "fit", model.fit, x, y, **how)
    test_loss, test_accuracy = _timed(seconds, "evaluate", model.evaluate, x_test, y_test, verbose=0)
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
    (options.out / "run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    written = ["run.json"]
    if options.plots:
        written += _write_figures(options.out, history, (x, y), (x_test, y_test), model.predict(x_test, verbose=0))
        title = f"fastmlp digits: {DATA_NAMES[data]}"
        fastmlp.report(model, history, x_test, y_test, options.out / "report.html", title=title)
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
    reference.compare(x[:split], y[:split], validation, epochs=options.epochs, seed=options.seed, report=_print_now)


def info(options: argparse.Namespace) -> None:
    """`fastmlp info`."""
    import llvmlite.binding as llvm

    from fastmlp import threads
    from fastmlp.kernels._jit import VECTORS, cache_folder
    from fastmlp.machine import versions

    for name, version in versions().items():
        print(f"{name:12}{version}")
    print(f"{'processor':12}{llvm.get_host_cpu_name()}")
    # The vector widths decide the speed; the other flags would fill the screen.
    kinds = ("avx", "sse", "fma", "neon", "sve", "f16c")
    features = sorted(name for name, has in llvm.get_host_cpu_features().items() if has and name.startswith(kinds))
    print(f"{'vectors':12}{' '.join(features) or 'none reported'}")
    code = {
        "avx512f": "AVX-512, 16 float32 at once",
        "avx2": "AVX2, 8 float32 at once (no AVX-512 here)",
        "sse2": "SSE2, 4 float32 at once (no AVX2 or AVX-512 here)",
        "other": "whatever vectors this processor has, 4 float32 at once",
    }
    print(f"{'code':12}{code[VECTORS]}")
    print(f"{'threads':12}{threads.get_num_threads()} of {threads.available()} cores (FASTMLP_NUM_THREADS sets it)")
    print(f"{'kernels':12}{cache_folder()}")


def warmup(options: argparse.Namespace) -> None:
    """`fastmlp warmup`."""
    import fastmlp

    seconds: dict[str, float] = {}
    _timed(seconds, "warmup", fastmlp.warmup, everything=options.all)
    print(f"The kernels are ready after {seconds['warmup']:.1f} s.")


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


def _describe(data: str, train, test) -> None:
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
        print(
            f"  Keras    {DATA_NAMES[name]:15}{recorded.mean:.4f} ± {recorded.std:.4f}, "
            f"{recorded.lowest:.4f}..{recorded.highest:.4f} over {len(recorded.seeds)} seeds"
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


def _write_figures(folder: Path, history, train, test, probabilities) -> list[str]:
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
        figure.savefig(folder / name)
    return list(figures)


def _make_writable(folder: Path) -> None:
    """Find out before the training, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(
            f"cannot write to --out {folder}: {error.strerror or error}. Give another folder.", status=2
        ) from error


def _timed(seconds: dict[str, float], name: str, function, *arguments, **keywords):
    """The function's result; its wall time goes into seconds[name]."""
    start = time.perf_counter()
    result = function(*arguments, **keywords)
    seconds[name] = time.perf_counter() - start
    return result


def _print_now(line: str) -> None:
    print(line, flush=True)
