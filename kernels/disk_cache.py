"""The folder of compiled kernels: where it is, who may have written its files, what is kept.

    <base>/kernels/<digest of sources and versions>/<function>-<digest of the rest>.nbc
    <base>/kernels/<digest of sources and versions>/versions.txt    what the digest stands for, to be read by people

A file's content goes through pickle, which can run code. So a file is read only if this user or root owns it and not
everybody may write to it, and it begins with a checksum over its place and its content: one that was cut short,
altered, or put where another one belongs is no kernel. Nothing is written in place: a file is whole, or isn't there.

What is deleted is known by its name, file by file, so that other things in a shared folder stay.
"""

import contextlib
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Folders of digests that are kept, those of the last use: enough for every Python of a test matrix and an old release.
KEPT = 8
#: Seconds after its last use in which a folder is removed only where there are more than MOST.
RECENT = 86_400
#: Folders that there are at most, however often the sources change on a day.
MOST = 64
#: Seconds after which a temporary file is a leftover of a process that was killed.
ABANDONED = 3_600

_TRIES = 5

VERSIONS = "versions.txt"
_FOLDER = re.compile(r"[0-9a-f]{24}")
_KERNEL = re.compile(r"[\w.]+-[0-9a-f]{24}\.nbc")
_TEMPORARY = re.compile(r"(kernel-[0-9a-f]{16}|tmp\w+)\.tmp")
_CHECKSUM = 32


class Untrusted(Exception):
    """A file that someone else could have written."""


def base_folder(*variables: str) -> Path:
    """The first of these environment variables that is set, or fastmlp's folder in the user's cache.

    Raises:
        FileNotFoundError: If there is none: no variable, no HOME, and no entry in the system's list of users.
    """
    from platformdirs import user_cache_dir

    given = next((value for name in variables if (value := os.environ.get(name))), None)
    try:
        base = os.path.expanduser(given or user_cache_dir("fastmlp", False))
    except RuntimeError:  # of platformdirs, which once left the ~ in the name
        base = "~"
    if base.startswith("~"):  # it would become a folder of that name
        raise FileNotFoundError("this user has no home folder")
    return Path(base)


def kernels_folder() -> Path:
    """The folder of all digests: under $FASTMLP_CACHE_DIR, $NUMBA_CACHE_DIR or the user's cache."""
    return base_folder("FASTMLP_CACHE_DIR", "NUMBA_CACHE_DIR") / "kernels"


def source_digest(folder: Path) -> str | None:
    """SHA-256 of all sources in a folder; None if they can't be read, as those of a package in a zip file."""
    digest, count = hashlib.sha256(), 0
    try:
        for path in sorted(folder.rglob("*.py")):
            # An editor's lock is a link to nowhere beside the file.
            if not path.name.startswith(".") and path.is_file():
                digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
                count += 1
    except OSError:
        return None
    return digest.hexdigest() if count else None


def _checksum(path: Path, payload: bytes) -> bytes:
    """Over the place, too: a kernel that is put in another's place is none."""
    return hashlib.sha256(f"{path.parent.name}/{path.name}\0".encode() + payload).digest()


def sealed(path: Path, payload: bytes) -> bytes:
    """Content of the file at that place."""
    return _checksum(path, payload) + payload


def read(path: Path) -> bytes:
    """What was written to that place.

    Raises:
        OSError: If it isn't there or can't be read.
        Untrusted: If another user could have written it.
        ValueError: If it isn't what was written there.
    """
    # A pipe in its place must not be waited for.
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags)
    try:
        status = os.fstat(handle)  # of the file that is read, whatever happens to its name meanwhile
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no file")
        if hasattr(os, "geteuid"):  # elsewhere the user's own folder is closed to others
            if status.st_uid not in (os.geteuid(), 0):
                raise Untrusted(f"{path} belongs to another user")
            if status.st_mode & stat.S_IWOTH:
                raise Untrusted(f"everybody may write to {path}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read()
    finally:
        os.close(handle)
    payload = content[_CHECKSUM:]
    if _checksum(path, payload) != content[:_CHECKSUM]:
        raise ValueError("it is damaged, or another's")
    _say_used(path.parent)
    return payload


def write(path: Path, payload: bytes, versions: str) -> None:
    """Put a file there, whole or not at all.

    Args:
        path: In a folder of kernels_folder().
        payload: What read() returns.
        versions: What the folder's digest stands for, a line.

    Raises:
        OSError: If it can't be written; nothing of it stays then.
    """
    content = sealed(path, payload)
    for _ in range(_TRIES - 1):
        # The folder may be cleared meanwhile, also between two lines of pathlib's mkdir.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            _write(path, content, versions)
            return
    _write(path, content, versions)


def _write(path: Path, content: bytes, versions: str) -> None:
    folder = path.parent
    is_new = not folder.is_dir()
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    _replace(path, content)
    if is_new:
        with contextlib.suppress(OSError):
            _replace(folder / VERSIONS, f"{versions}\n".encode())
        prune(folder)
    _sweep(folder)


def _replace(path: Path, content: bytes) -> None:
    """Write beside the place, then move there."""
    temporary = path.parent / f"kernel-{secrets.token_hex(8)}.tmp"
    # Readable for others, so that an image may be warmed up by root and run by another user; to be written by nobody
    # else, whatever the umask is.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        try:
            os.replace(temporary, path)
        except PermissionError:
            # Windows moves nothing to where a file is just being read; that file is as good.
            if os.name != "nt" or not path.is_file():
                raise
            os.unlink(temporary)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


_used: set[str] = set()


def _say_used(folder: Path) -> None:
    """The folder's time says when it was last used, to the day; once per process."""
    if (name := str(folder)) not in _used:
        _used.add(name)
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > RECENT:
                os.utime(folder)


class Entry(NamedTuple):
    """A folder of kernels of one digest."""

    path: Path
    versions: str
    kernels: int
    size: int
    used: float


def entries(folder: Path | None = None) -> list[Entry]:
    """All folders of kernels, the one used last first.

    Args:
        folder: kernels_folder() by default.
    """
    found = []
    for path in _digest_folders(folder or kernels_folder()):
        with contextlib.suppress(OSError):
            sizes, kernels = [], 0
            for file in _own_files(path):
                with contextlib.suppress(OSError):  # another process has cleared it
                    sizes.append(file.stat().st_size)
                    kernels += file.suffix == ".nbc"
            found.append(Entry(path, _versions_of(path), kernels, sum(sizes), path.stat().st_mtime))
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def is_writable(folder: Path) -> bool:
    """Whether kernels can be kept there: it is tried, where the folder or, if it isn't there, the next above it is."""
    import tempfile

    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), None)
    if there is None:
        return False
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


def prune(current: Path) -> None:
    """Remove what is neither among the last KEPT in use nor was used within a day, and what is beyond the last MOST.

    What fails to go stays.
    """
    used = {}
    for path in _digest_folders(current.parent):
        with contextlib.suppress(OSError):  # another process has removed it
            used[path] = path.stat().st_mtime
    others = sorted((path for path in used if path.name != current.name), key=used.__getitem__, reverse=True)
    for i, path in enumerate(others[KEPT - 1 :], KEPT):
        if i >= MOST or time.time() - used[path] > RECENT:
            remove(path)


def remove(folder: Path) -> tuple[int, int, list[Path]]:
    """Delete fastmlp's files of one digest, and the folder if nothing else is in it.

    Returns how many files went, how many bytes, and which files can't be deleted.
    """
    count, size, left = 0, 0, []
    for path in _own_files(folder):
        try:
            length = path.lstat().st_size
            path.unlink()
            count, size = count + 1, size + length
        except FileNotFoundError:  # another process was first
            pass
        except OSError:
            left.append(path)
    with contextlib.suppress(OSError):
        folder.rmdir()
    return count, size, left


def clear() -> tuple[int, int]:
    """Delete all compiled kernels. Returns how many files went, and how many bytes.

    Processes that run keep what they have loaded; later ones compile anew.

    Raises:
        OSError: If some of them can't be deleted.
    """
    folder = kernels_folder()
    gone = [remove(path) for path in _digest_folders(folder)]
    left = [path for *_, paths in gone for path in paths]  # not what a process has written meanwhile
    if left:
        raise PermissionError(f"{len(left)} files in {folder} can't be deleted, such as {left[0]}")
    with contextlib.suppress(OSError):
        folder.rmdir()
    return sum(files for files, _, _ in gone), sum(size for _, size, _ in gone)


def _digest_folders(folder: Path) -> Iterator[Path]:
    """The folders that are fastmlp's own; links are followed nowhere."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if _FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path


def _own_files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            own = path.name == VERSIONS or _KERNEL.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)
            if own and (path.is_symlink() or path.is_file()):
                yield path


def _versions_of(folder: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (folder / VERSIONS).read_text("utf-8")[:200].strip()
    return "versions unknown"


_swept: set[str] = set()


def _sweep(folder: Path) -> None:
    """Delete what killed processes left; once per process."""
    if (name := str(folder)) in _swept:
        return
    _swept.add(name)
    for path in _own_files(folder):
        with contextlib.suppress(OSError):
            if path.suffix == ".tmp" and time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()
