"""`fastmlp cache`: what is kept on disk, and how it goes."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .shared import CommandError, Commands, add_command

HELP = """\
Show what fastmlp keeps on disk, or delete it.

Compiled kernels are made anew when they are needed; data sets would have to be downloaded or drawn again. Only files
that fastmlp made are counted and deleted: whatever else is in the folder stays."""

EPILOG = """\
examples:
  fastmlp cache                       where, how large, of which versions, and whether it can be written to
  fastmlp cache --clear               delete the compiled kernels
  fastmlp cache --clear --datasets    and the data sets

FASTMLP_CACHE_DIR moves the folder."""


def add_to(commands: Commands) -> None:
    """The command and its options."""
    short = "show or delete what is kept on disk: compiled kernels, data sets"
    sub = add_command(commands, cache, "cache", short, HELP, EPILOG)
    kind = sub.add_mutually_exclusive_group()
    kind.add_argument("--info", action="store_true", help="show it (the default)")
    kind.add_argument("--clear", action="store_true", help="delete the compiled kernels")
    sub.add_argument("--datasets", action="store_true", help="with --clear: the data sets, too")


def cache(options: argparse.Namespace) -> None:
    """`fastmlp cache`."""
    if options.datasets and not options.clear:
        raise CommandError("--datasets says what --clear deletes; give both", status=2)
    try:
        if options.clear:
            _clear(options.datasets)
        else:
            _info()
    except BrokenPipeError:
        raise  # the reader has seen enough
    except OSError as error:
        raise CommandError(f"{error}; FASTMLP_CACHE_DIR names a folder", status=1) from error


def _info() -> None:
    from fastmlp.datasets import _store
    from fastmlp.kernels import disk_cache
    from fastmlp.kernels._jit import cache_folder

    folder = disk_cache.kernels_folder()
    found = disk_cache.entries()
    print(f"{'kernels':10}{folder}{'' if folder.exists() else ' (not there yet)'}")
    print(f"{'writable':10}{'yes' if disk_cache.is_writable(folder) else 'no: every process compiles anew'}")
    print(f"{'size':10}{_amount(sum(entry.kernels for entry in found), sum(entry.size for entry in found))}")
    current = cache_folder().name
    for entry in found:
        used = "of this version" if entry.path.name == current else f"last used {_ago(time.time() - entry.used)}"
        print(f"  {entry.path.name}  {_amount(entry.kernels, entry.size)}, {used}")
        print(f"  {'':24}  {entry.versions}")
    sets = _store.kept()
    print(f"{'data sets':10}{_store.cache_folder()}")
    print(f"{'size':10}{_amount(len(sets), sum(path.stat().st_size for path in sets))}")


def _clear(datasets: bool) -> None:
    from fastmlp.kernels import disk_cache

    files, size = disk_cache.clear()
    print(f"Deleted {_amount(files, size)} of compiled kernels in {disk_cache.kernels_folder()}.")
    if datasets:
        from fastmlp.datasets import _store

        folders = {path.parent for path in _store.kept()}
        for path in _store.kept():
            size = path.stat().st_size
            path.unlink()
            print(f"Deleted {path}, {size / 1e6:.1f} MB.")
        for folder in sorted(folders, reverse=True):
            _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def _amount(files: int, size: int) -> str:
    return f"{files} file{'' if files == 1 else 's'}, {size / 1e6:.1f} MB"


def _ago(seconds: float) -> str:
    days = int(max(seconds, 0) // 86400)
    return "within a day" if days == 0 else "a day ago" if days == 1 else f"{days} days ago"
