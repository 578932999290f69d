"""`fastmlp train` and `fastmlp predict`: a network for a table, without code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastmlp import activations
from fastmlp.saving import atomic

from .shared import CommandError, Commands, add_command, count, make_writable, print_now, seed, writing_to

if TYPE_CHECKING:
    from fastmlp.tables import Training

TRAIN_HELP = """\
Train a network that tells one column of a table from the others, and say how good it is.

FILE is text with a header (.csv, .tsv; separated by commas, semicolons, tabs or bars), or .parquet, or - for the
standard input. What happens to its columns:
  numbers        standardized; a comma is the decimal point if every cell has it so
  texts          one input for each different text, up to 50 of them
  missing cells  (empty, NA, NaN, null, None, ?, -) the median stands in for a number, and an input more says so
  left out       what is constant, empty, a date, a running number, or text that differs from row to row; it is listed
What TARGET is:
  classes        text, true or false, or at most 10 different whole numbers that occur 5 times each on average
  numbers        any other numbers; --task overrides
Rows without a target are left out. A part of the rows, --test, is never trained on: by these the network is judged,
beside the simplest answer there is (always the commonest class, or always the mean). Another part, a seventh of the
rest, tells when to stop. The test rows hold the same share of each class."""

TRAIN_EPILOG = """\
It writes into the folder --out, over files of an earlier run, all or none:
  model.safetensors   the network, for `fastmlp predict` and fastmlp.models.load_model
  preprocessing.json  how columns become its inputs
  predictions.csv     the test rows: true, predicted, and how sure it was
  report.html         a page about all of it
  curves.png          loss by epoch
  run.json            settings, results, every epoch

examples:
  fastmlp train houses.csv --target price
  fastmlp train iris.csv --target species --hidden 16 --epochs 100
  fastmlp train wine.csv --target quality --task regression --separator ";"
  cat log.csv | fastmlp train - --target failed --out failures"""

PREDICT_HELP = """\
Predict the target of each row of a table, with a network of `fastmlp train`.

The table needs the columns that the network reads, by name and in any order; others are kept. If it has the target,
too, the result is compared with it."""

PREDICT_EPILOG = """\
examples:
  fastmlp predict houses-model new.csv                    writes predictions.csv
  fastmlp predict houses-model new.csv --out priced.csv
  fastmlp predict houses-model new.csv --out - | head     to the standard output"""


def add_to(commands: Commands) -> None:
    """The two commands and their options."""
    sub = add_command(commands, train, "train", "train on a table in a file", TRAIN_HELP, TRAIN_EPILOG)
    sub.add_argument("file", metavar="FILE", help="the table, or - for the standard input")
    sub.add_argument("--target", required=True, metavar="COLUMN", help="what is to be predicted")
    sub.add_argument("--task", choices=("classification", "regression"), help="default: by the target, see above")
    sub.add_argument("--test", type=_share, default=0.2, metavar="SHARE", help="held out to test (0.2)")
    sub.add_argument("--hidden", type=_sizes, default=(64, 32), metavar="N,N", help="hidden units (default: 64,32)")
    sub.add_argument("--activation", type=_activation, default="relu", metavar="NAME", help="default: %(default)s")
    sub.add_argument("--epochs", type=count, default=200, metavar="N", help="at most so many (default: %(default)s)")
    sub.add_argument("--batch-size", type=count, metavar="N", help="rows a step (default: 32, or 128 from 20,000 rows)")
    sub.add_argument("--learning-rate", type=_rate, default=0.001, metavar="R", help="of Adam (default: %(default)s)")
    sub.add_argument("--seed", type=seed, default=0, metavar="N", help="of rows, weights, order (default: %(default)s)")
    sub.add_argument("--out", type=Path, metavar="DIR", help="folder (default: FILE's name with -model)")
    _add_reading_options(sub)

    sub = add_command(
        commands, predict, "predict", "predict rows of a table with such a network", PREDICT_HELP, PREDICT_EPILOG
    )
    sub.add_argument("model", type=Path, metavar="DIR", help="folder of `fastmlp train`")
    sub.add_argument("file", metavar="FILE", help="the table, or - for the standard input")
    sub.add_argument("--out", default="predictions.csv", metavar="FILE", help="default: %(default)s; - prints")
    _add_reading_options(sub)


def _add_reading_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--separator", type=_separator, metavar="S", help="between cells (default: by the header)")
    sub.add_argument("--encoding", default="utf-8", metavar="NAME", help="of text (default: %(default)s)")


def train(options: argparse.Namespace) -> None:
    """`fastmlp train`."""
    with _plain_errors():
        from fastmlp import tables

        table = tables.read_table(options.file, options.separator, options.encoding)
        names = ("task", "test", "hidden", "activation", "epochs", "batch_size", "learning_rate", "seed")
        settings = tables.Settings(**{name: getattr(options, name) for name in names})
        folder = options.out or Path("table-model" if options.file == "-" else f"{Path(options.file).stem}-model")
        make_writable(folder)
        training = tables.train_table(table, options.target, settings, say=print_now)
        for line in _results(training):
            print(line)
        with writing_to(folder):
            written = training.save(folder)
        print(f"\nWrote {', '.join(written)} to {folder}{os.sep}")
        print(f"New rows: fastmlp predict {folder} NEW.csv")


def _results(training: Training) -> Iterator[str]:
    result, baseline = training.result, training.baseline
    epochs = len(training.history.epoch)
    yield f"\nTrained {epochs} epochs. On {training.counts['test']} rows that it has not seen:"
    if "accuracy" in result:
        yield f"  the network is right        {result['accuracy']:7.1%}"
        yield f"  the commonest class alone   {baseline['accuracy']:7.1%}"
        width = max(len("class"), *(len(name) for name in training.per_class))
        yield f"\n  {'class':{width}}  precision  recall    f1   rows"
        for name, row in training.per_class.items():
            numbers = f"{row['precision']:9.3f} {row['recall']:7.3f} {row['f1-score']:5.3f} {row['rows']:6.0f}"
            yield f"  {name:{width}}  {numbers}"
        better = result["accuracy"] > baseline["accuracy"]
    else:
        yield f"  {'':16} network     always the mean"
        yield f"  {'R2':16} {result['R2']:<11.4f} {baseline['R2']:.4f}"
        yield f"  {'mean error':16} {result['MAE']:<11.5g} {baseline['MAE']:.5g}"
        yield f"  {'root mean square':16} {result['RMSE']:<11.5g} {baseline['RMSE']:.5g}"
        better = result["RMSE"] < baseline["RMSE"]
    if not better:
        yield "\nThat is no better than the simplest answer: the other columns may say nothing about the target."


def predict(options: argparse.Namespace) -> None:
    """`fastmlp predict`."""
    with _plain_errors():
        from fastmlp import tables

        to_stdout = options.out == "-"
        if not to_stdout and options.file != "-" and Path(options.out).resolve() == Path(options.file).resolve():
            raise CommandError(f"--out {options.out} is the table itself; give another name", status=2)
        table = tables.read_table(options.file, options.separator, options.encoding)
        answers = tables.predict_table(options.model, table)
        for note in answers.notes:
            print(note, file=sys.stderr)
        if to_stdout:
            answers.frame.to_csv(sys.stdout, index=False)
        else:
            try:
                atomic.write(options.out, answers.frame.to_csv(index=False).encode())
            except OSError as error:
                raise CommandError(f"cannot write to --out {options.out}: {error.strerror or error}", 2) from error
            print(f"Wrote {len(answers.frame)} rows to {options.out}")
        if answers.result:
            told = ", ".join(f"{name} {value:.4g}" for name, value in answers.result.items())
            print(f"The table has the target, too: {told}.", file=sys.stderr if to_stdout else sys.stdout)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What is wrong with a table, or not installed, in one line."""
    from fastmlp.tables import TableError

    try:
        yield
    except TableError as error:
        raise CommandError(str(error), status=2) from error
    except ImportError as error:
        raise CommandError(str(error), status=1) from error
    except FloatingPointError as error:
        raise CommandError(f"{error}; give a smaller --learning-rate", status=1) from error
    except MemoryError as error:
        raise CommandError("the table is too large for the memory; take a sample of its rows", status=1) from error


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1 such as 0.2, got {text!r}")
    return value


def _rate(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0 such as 0.001, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")  # which is in no range


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers of units such as 64,32, got {text!r}")
    return tuple(int(part) for part in parts)


def _activation(text: str) -> str:
    from fastmlp.kernels.activations import WITHOUT_GRADIENT

    try:
        name = activations.get(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if name in WITHOUT_GRADIENT or name in ("softmax", "log_softmax"):
        raise argparse.ArgumentTypeError(f"{name} is nothing for a hidden layer; take relu or tanh")
    return name


def _separator(text: str) -> str:
    text = {"tab": "\t", r"\t": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\n\r' or not text.isascii():
        raise argparse.ArgumentTypeError(f"expected one character of ASCII, or tab, got {text!r}")
    return text
