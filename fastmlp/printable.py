"""Text for outputs that don't have every character, as a pipe on Windows or a container's without a locale."""

from __future__ import annotations

import sys

_PLAIN = str.maketrans("┏┳┓┡╇┩├┼┤└┴┘━─╌┃│", "++++++++++++=--||") | {ord("±"): "+-"}


def printable(text: str) -> str:
    """The text as standard output can write it: with plain lines, and ? for what has no plain form, where it must be.

    >>> printable("│ rows │")
    '│ rows │'
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    return text
