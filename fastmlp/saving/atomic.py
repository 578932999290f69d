"""Files that are whole or not there, at every moment, and where they lie.

A file is written under a name that only this module gives, flushed to the disk, and takes its place by being renamed. A
process that is killed on the way leaves that file behind; the next one that writes into the folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

#: Names of what is not finished. Short and alike for all files: a long name would leave no room for more letters.
_UNFINISHED = re.compile(r"\.fastmlp-[0-9a-f]{16}\.unfinished")

#: Names of folders whose files are all written and only have to take their places.
_COMPLETE = re.compile(r"\.fastmlp-[0-9a-f]{16}\.complete")

#: Seconds after which what is unfinished belongs to a process that is no more: none writes that long without a pause.
_ABANDONED = 3600.0


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


def write(
    path: str | os.PathLike[str],
    content: bytes | Callable[[BinaryIO], Any],
    overwrite: bool = True,
    *,
    keep: str | os.PathLike[str] | None = None,
) -> None:
    """Write a file beside the old one, flush it to the disk, and let it take its place.

    Args:
        path: Path of the file. A link stays one, and what is no file, such as /dev/stdout, is written to.
        content: What goes into it, or a function that writes it to an open file.
        overwrite: Whether to replace a file of that name.
        keep: Where the old file goes, in the same folder; None lets it go.

    Raises:
        FileExistsError: If there is one, without overwrite.
        FileNotFoundError: If its folder doesn't exist.
        OSError: If it can't be written, with the path; the old one stays.
    """
    name = writable(path)
    if not overwrite and os.path.exists(name):
        raise FileExistsError(f"{name} exists; pass overwrite=True to replace it")
    if os.path.exists(name) and not os.path.isfile(name):
        with open(name, "wb") as stream:
            _fill(stream, content)
        return
    target = os.path.realpath(name)  # a link stays one
    folder = os.path.dirname(target)
    temporary = unfinished(folder)
    try:
        try:
            with open(temporary, "xb") as file:
                _fill(file, content)
                file.flush()
                os.fsync(file.fileno())
                written = os.fstat(file.fileno())
            _take_place(temporary, target, keep)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        if error.errno is None:
            raise
        stays = "; the file that is there stays as it was" if os.path.exists(target) else ""
        raise OSError(error.errno, f"it can't be written: {os.strerror(error.errno)}{stays}", name) from error
    flush_folder(folder)
    remove_abandoned(folder, written.st_mtime)


def _take_place(path: str, target: str, keep: str | os.PathLike[str] | None = None) -> None:
    """Put a finished file where another may be, whose mode it gets."""
    if os.path.exists(target):
        with contextlib.suppress(OSError):  # another's file, or a system without modes
            os.chmod(path, os.stat(target).st_mode & 0o7777)
        if keep is not None:
            os.replace(target, keep)
    os.replace(path, target)


def move(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Flush a file that others have written, and let it take its place on the same disk."""
    target = os.path.realpath(target)
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
    _take_place(os.fspath(path), target)
    flush_folder(os.path.dirname(target))


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it, if need be, and have their names on the disk: a file is lost with its folder.

    Raises:
        OSError: If it can't be made, with the path and what to do.
    """
    missing, above = [], os.path.abspath(folder)
    while not os.path.isdir(above) and os.path.dirname(above) != above:
        missing.append(above)
        above = os.path.dirname(above)
    if missing and os.path.exists(missing[-1]):
        raise NotADirectoryError(
            errno.ENOTDIR, f"the folder can't be made: {missing[-1]} is a file; move it, or give another folder",
            os.fspath(folder),
        )  # fmt: skip
    with explained(folder, "the folder can't be made", "; give another one"):
        os.makedirs(folder, exist_ok=True)
    for made in missing:
        flush_folder(os.path.dirname(made))


@contextlib.contextmanager
def explained(path: str | os.PathLike[str], what: str, hint: str = "") -> Iterator[None]:
    """What the disk says within, with what can't be done, the reason, the path, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, f"{what}: {os.strerror(error.errno)}{hint}", os.fspath(path)) from error


def check_still_there(path: str | os.PathLike[str], what: str) -> None:
    """FileNotFoundError if a file that is open was deleted or moved: what is written into it is lost."""
    if not os.path.exists(path):
        hint = f"{what} is gone: it was deleted or moved while it was written; give a place where it can stay"
        raise FileNotFoundError(errno.ENOENT, hint, os.fspath(path))


def _fill(file: BinaryIO, content: bytes | Callable[[BinaryIO], Any]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content)


@contextlib.contextmanager
def folder_in(folder: str | os.PathLike[str]) -> Iterator[str]:
    """A folder within for what others write step by step; it is removed at the end, with what is still in it."""
    make_folder(folder)
    made = unfinished(os.fspath(folder))
    os.mkdir(made)
    try:
        remove_abandoned(os.fspath(folder), os.stat(made).st_mtime)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def together(folder: str | os.PathLike[str]) -> Iterator[str]:
    """A folder within for files that belong together: at the end all take their places, and after an error none.

    If the process is killed while they do so, `complete` does the rest.

    Raises:
        OSError: If one can't be written, with its path; those that are there stay.
    """
    place = os.fspath(folder)
    with folder_in(place) as made:
        complete(place)
        try:
            yield made
            for name in os.listdir(made):
                writable(os.path.join(place, name))
            flush_folder(made)
            os.rename(made, made.removesuffix("unfinished") + "complete")
        except OSError as error:
            if error.errno is None or os.path.dirname(os.fspath(error.filename or "")) != made:
                raise
            path = os.path.join(place, os.path.basename(error.filename))
            stays = "; what is there stays as it was" if os.path.exists(path) else ""
            raise OSError(error.errno, f"{error.strerror}{stays}", path) from error
    flush_folder(place)
    complete(place)


def complete(folder: str | os.PathLike[str]) -> None:
    """Let the files of `together` take their places that a killed process has left on the way there."""
    place = os.fspath(folder)
    with os.scandir(place) as entries:
        left = [entry.path for entry in entries if _COMPLETE.fullmatch(entry.name)]
    for made in left:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            for name in sorted(os.listdir(made)):
                _take_place(os.path.join(made, name), os.path.realpath(os.path.join(place, name)))
            flush_folder(place)
            os.rmdir(made)


def unfinished(folder: str) -> str:
    """A new path in the folder for what is not finished."""
    return os.path.join(folder, f".fastmlp-{secrets.token_hex(8)}.unfinished")


def remove_abandoned(folder: str, now: float) -> None:
    """Remove what killed processes have left unfinished: what bears this module's names and is an hour old.

    `now` is the time of a file just written there: the clock of a server's disk may go otherwise than this machine's.
    """
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if not _UNFINISHED.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):  # another process was faster
                if now - _last_change(entry) < _ABANDONED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def _last_change(entry: os.DirEntry[str]) -> float:
    """Of a file, or of the newest in a folder."""
    last = entry.stat(follow_symlinks=False).st_mtime
    if entry.is_dir(follow_symlinks=False):
        with os.scandir(entry.path) as inner:
            last = max([last, *(one.stat(follow_symlinks=False).st_mtime for one in inner)])
    return last


def flush_folder(folder: str) -> None:
    """Have the names in a folder on the disk."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        opened = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
