"""What the commands share: their error, how they are added, and options that are checked."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeAlias, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class CommandError(Exception):
    """What the user reads as one line on stderr, with the exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


#: What argparse's add_subparsers returns, which has no public name.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands,
    command: Callable[[argparse.Namespace], None],
    name: str,
    short: str,
    description: str | None = None,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """A command of its own: what it is called, what it does, and what runs it."""
    sub = commands.add_parser(
        name,
        help=short,
        description=description or f"{short[0].upper()}{short[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(command=command)
    return sub


def count(text: str) -> int:
    """An option of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def seed(text: str) -> int:
    """An option that NumPy takes as a seed."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text!r}")
    return int(text)


def make_writable(folder: Path) -> None:
    """Find out before the training, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(
            f"cannot write to --out {folder}: {error.strerror or error}. Give another folder.", status=2
        ) from error


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """What the disk says within, in a line."""
    try:
        yield
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise CommandError(f"cannot write to --out {folder}: {reason}", status=1) from error


def timed(
    seconds: dict[str, float],
    name: str,
    function: Callable[Arguments, Result],
    *arguments: Arguments.args,
    **keywords: Arguments.kwargs,
) -> Result:
    """The function's result; its wall time goes into seconds[name]."""
    start = time.perf_counter()
    result = function(*arguments, **keywords)
    seconds[name] = time.perf_counter() - start
    return result


def print_now(line: str) -> None:
    """Print a line that is read at once, also through a pipe."""
    print(line, flush=True)
