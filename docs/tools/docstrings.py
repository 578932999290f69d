"""Docstrings as pages: examples become blocks of code, and a kernel's table of arguments keeps its columns."""

from __future__ import annotations

import re
from typing import Any

import griffe


def fenced(text: str) -> str:
    """The text with its examples (lines from `>>>` to the next empty one) between fences, which Markdown needs.

    Indented ones move to the left, but for those below a heading such as `Example:`.
    """
    made: list[str] = []
    cut, indent = None, ""
    for line in text.splitlines():
        begins = re.match(r"( *)>>> ", line)
        if cut is None and begins:
            indent = begins.group(1)
            above = next((other.strip() for other in reversed(made) if other.strip()), "")
            cut = 0 if re.fullmatch(r"Examples?:", above) else len(indent)
            made += [""] * bool(made and made[-1].strip()) + [f"{indent[cut:]}```pycon"]
        elif cut is not None and not line.strip():
            made.append(f"{indent[cut:]}```")
            cut = None
        made.append(line[cut or 0 :])
    if cut is not None:
        made.append(f"{indent[cut:]}```")
    return "\n".join(made)


def in_columns(text: str) -> str:
    """A kernel's docstring: its first paragraph as it is, the others, which are tables and formulas, as plain text."""
    first, *others = text.split("\n\n")
    made = [f"```text\n{part}\n```" if re.search(r"\S {2,}\S", part) else part for part in others]
    return "\n\n".join([first, *made])


class Docstrings(griffe.Extension):
    """Changes each docstring as it is read."""

    def on_instance(self, *, obj: griffe.Object, **options: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        if obj.path.startswith("fastmlp.kernels."):
            text = in_columns(text)
        obj.docstring.value = fenced(text)
