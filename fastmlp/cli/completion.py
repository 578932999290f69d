"""`fastmlp completion`: a script by which the shell fills in commands and options."""

from __future__ import annotations

import argparse

from fastmlp.optional import needed

from .shared import CommandError, Commands, add_command

COMPLETION_EPILOG = """\
examples:
  fastmlp completion bash > ~/.local/share/bash-completion/completions/fastmlp
  fastmlp completion zsh > ~/.zfunc/_fastmlp                with fpath+=~/.zfunc before compinit
  fastmlp completion fish > ~/.config/fish/completions/fastmlp.fish"""


def add_to(commands: Commands) -> None:
    """The command and its shell."""
    short = "print a script by which the shell completes commands and options"
    sub = add_command(commands, completion, "completion", short, epilog=COMPLETION_EPILOG)
    sub.add_argument("shell", choices=("bash", "zsh", "fish"))


def completion(options: argparse.Namespace) -> None:
    """`fastmlp completion`."""
    from . import parser

    try:
        shtab = needed("shtab", "completion", "it")
    except ImportError as error:
        raise CommandError(str(error), status=1) from error
    print(shtab.complete(parser(), options.shell))
