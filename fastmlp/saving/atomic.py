"""Files that are whole or not there, at every moment, and where they lie."""

from __future__ import annotations

import contextlib
import os
import secrets


def readable(path: str | os.PathLike[str]) -> str:
    """The path of a file that is there.

    Raises:
        FileNotFoundError: If there is none.
        IsADirectoryError: If it is a folder.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        raise IsADirectoryError(f"{name} is a folder; give the path of a file in it")
    if not os.path.exists(name):
        raise FileNotFoundError(f"there is no file {name}")
    return name


def writable(path: str | os.PathLike[str]) -> str:
    """The path of a file that is there or can be.

    Raises:
        FileNotFoundError: If its folder doesn't exist.
        IsADirectoryError: If it is a folder.
    """
    name = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(name))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {os.fsdecode(folder)} doesn't exist; make it first")
    if os.path.isdir(name):
        raise IsADirectoryError(f"{name} is a folder; give the path of a file in it")
    return name


def write(path: str | os.PathLike[str], content: bytes, overwrite: bool = True) -> None:
    """Write a file beside the old one, flush it to the disk, and let it take its place.

    Raises:
        FileExistsError: If there is one, without overwrite.
        FileNotFoundError: If its folder doesn't exist.
        OSError: If it can't be written; the old one stays.
    """
    name = writable(path)
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
