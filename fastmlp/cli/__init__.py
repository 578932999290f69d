"""The command `fastmlp`: tables and digits from the shell, without code.

digits.py      digits, compare: the tutorial, alone and beside Keras
table.py       train, predict: tables in files, see fastmlp.tables
machine.py     info, warmup: what is installed, and the kernels compiled for it
cache.py       cache: what is kept on disk
completion.py  completion: words that the shell fills in
shared.py      what they share

Exit status: 0 done, 1 something needed is missing, 2 the arguments are wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from typing import NoReturn

from fastmlp import __version__

from . import cache, completion, digits, machine, table
from .shared import CommandError

__all__ = ["CommandError", "main", "parser"]

EPILOG = """\
examples:
  fastmlp train houses.csv --target price            a network for a table, with a report
  fastmlp predict houses-model new.csv               what it says about new rows
  fastmlp digits --epochs 3                          the tutorial's digits
  fastmlp warmup                                     compile now, so that later runs start at once

Each command explains itself: fastmlp train --help"""


# What the disk can say in the middle of a command: full, no more for this user, gone read-only.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage block, and the place to read more."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")
        raise AssertionError  # exit doesn't return


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: The words after the command's name; those of this process by default.

    Example:
        >>> main(["warmup"])  # doctest: +ELLIPSIS
        The kernels are ready after ... s.
        0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name from a file is no reason to fail where it can't be printed
    options = parser().parse_args(arguments)
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
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        print(f"fastmlp {options.name}: {error.filename or 'the disk'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    made = _Parser(
        prog="fastmlp",
        description="Multilayer perceptrons at the speed of the CPU, behind the Keras API.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", dest="name", required=True)
    for part in (table, digits, machine, cache, completion):
        part.add_to(commands)
    return made
