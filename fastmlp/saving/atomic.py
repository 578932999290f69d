"""Files that are whole or not there, at every moment."""

from __future__ import annotations

import contextlib
import os
import secrets


def write(path: str | os.PathLike[str], content: bytes, overwrite: bool = True) -> None:
    """Write a file beside the old one, flush it to the disk, and let it take its place.

    Raises:
        FileExistsError: If there is one, without overwrite.
        OSError: If it can't be written; the old one stays.
    """
    name = os.fspath(path)
    if not overwrite and os.path.exists(name):
        raise FileExistsError(f"{name} exists; pass overwrite=True to replace it")
    target = os.path.realpath(name)  # a link stays one
    temporary = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # Windows opens no folders
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
