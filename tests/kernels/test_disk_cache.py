"""kernels/disk_cache.py: who may have written a file, what a failing disk leaves, what is kept and deleted.

What a new process does with it is in test_jit.py.
"""

import contextlib
import os
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import FullDisk, full, posix_only

from fastmlp.kernels import disk_cache

DIGESTS = [f"{i:024x}" for i in range(1, 13)]
DAY = 86_400


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """kernels_folder() of this test."""
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(disk_cache, "_used", set())
    monkeypatch.setattr(disk_cache, "_swept", set())
    return tmp_path / "kernels"


def place(folder, digest=DIGESTS[0], name="f"):
    return folder / digest / f"{name}-{'0' * 24}.nbc"


def written(folder, digest=DIGESTS[0], name="f", days=0.0):
    """A kernel whose folder was last used so many days ago."""
    path = place(folder, digest, name)
    disk_cache.write(path, b"content", "versions 1")
    used = time.time() - days * DAY
    os.utime(path.parent, (used, used))
    return path


def test_what_was_written_is_read(folder):
    assert disk_cache.read(written(folder)) == b"content"


def test_a_kernel_in_anothers_place_is_none(folder):
    path = written(folder)
    for other in (path.with_name(path.name.replace("f-", "g-")), folder / DIGESTS[1] / path.name):
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(path.read_bytes())
        with pytest.raises(ValueError, match="another's"):
            disk_cache.read(other)


# ------------------------------------------------------------------------------------------------- who wrote it


@posix_only
def test_what_everybody_may_write_to_is_not_read(folder):
    path = written(folder)
    path.chmod(0o646)
    with pytest.raises(disk_cache.Untrusted, match="everybody may write"):
        disk_cache.read(path)


@posix_only
def test_what_the_group_may_write_to_is_read(folder):
    # As volumes are handed to containers.
    path = written(folder)
    path.chmod(0o664)
    assert disk_cache.read(path) == b"content"


@posix_only
@pytest.mark.parametrize(("owner", "reader", "is_read"), [(7, 7, True), (0, 7, True), (8, 7, False), (7, 0, False)])
def test_only_what_the_user_or_root_owns_is_read(folder, monkeypatch, owner, reader, is_read):
    path, fstat = written(folder), os.fstat

    def told(handle):
        values = list(fstat(handle))
        values[stat.ST_UID] = owner
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", told)
    monkeypatch.setattr(os, "geteuid", lambda: reader)
    if is_read:
        assert disk_cache.read(path) == b"content"
    else:
        with pytest.raises(disk_cache.Untrusted, match="another user"):
            disk_cache.read(path)


@posix_only
def test_a_link_is_judged_by_the_file_that_it_leads_to(folder, tmp_path):
    path = written(folder)
    target = tmp_path / "elsewhere"
    path.rename(target)
    target.chmod(0o666)
    path.symlink_to(target)
    with pytest.raises(disk_cache.Untrusted):
        disk_cache.read(path)


@posix_only
def test_files_are_readable_for_all_and_writable_for_the_user_alone_whatever_the_umask(folder):
    before = os.umask(0)
    try:
        path = written(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


@posix_only
@pytest.mark.parametrize("made", ["folder", "pipe", "device", "link-to-nowhere"])
def test_what_is_no_file_is_not_waited_for(folder, made):
    path = place(folder)
    path.parent.mkdir(parents=True)
    if made == "folder":
        path.mkdir()
    elif made == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if made == "device" else "/nowhere/at/all")
    with pytest.raises((OSError, ValueError)):
        disk_cache.read(path)


# ------------------------------------------------------------------------------------------ a disk that fails


@pytest.mark.parametrize("where", ["mkdir", "open", "write", "close", "replace"])
def test_a_full_disk_leaves_nothing_half_written(folder, monkeypatch, where):
    old = written(folder, name="old")
    new = place(folder, name="new")
    with monkeypatch.context() as patch:
        if where == "mkdir":
            new = place(folder, DIGESTS[1])
            patch.setattr(Path, "mkdir", full)
        elif where in ("write", "close"):
            fdopen = os.fdopen
            patch.setattr(os, "fdopen", lambda *arguments: FullDisk(fdopen(*arguments), where))
        else:
            patch.setattr(os, where, full)
        with pytest.raises(OSError, match="No space left"):
            disk_cache.write(new, b"new", "versions 1")
    assert not new.exists()
    assert list(folder.rglob("*.tmp")) == []
    assert disk_cache.read(old) == b"content"


def test_a_full_disk_leaves_the_file_that_was_there(folder, monkeypatch):
    path = written(folder)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        disk_cache.write(path, b"new", "versions 1")
    assert disk_cache.read(path) == b"content"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 16 KB."""
    mounted = tmp_path / "tiny"
    mounted.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", mounted], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def test_a_disk_of_sixteen_kilobytes_keeps_what_fits(tiny_disk, monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tiny_disk))
    path = written(tiny_disk / "kernels")
    with pytest.raises(OSError, match="No space left"):
        disk_cache.write(place(tiny_disk / "kernels", name="large"), bytes(100_000), "versions 1")
    assert disk_cache.read(path) == b"content"
    assert list(tiny_disk.rglob("*.tmp")) == []
    # Read-only, as a system's own folders are.
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    assert disk_cache.read(path) == b"content"
    assert not disk_cache.is_writable(tiny_disk / "kernels")
    with pytest.raises(OSError, match="Read-only"):
        disk_cache.write(path, b"new", "versions 1")
    with pytest.raises(PermissionError, match="can't be deleted"):
        disk_cache.clear()


def test_a_folder_that_is_cleared_between_two_steps_is_made_again(folder, monkeypatch):
    replace, calls = os.replace, []

    def cleared(source, target):
        calls.append(target)
        if len(calls) == 1:
            os.unlink(source)
            os.rmdir(Path(source).parent)
        replace(source, target)

    monkeypatch.setattr(os, "replace", cleared)
    assert disk_cache.read(written(folder)) == b"content"


def test_leftovers_of_killed_processes_go_when_they_are_old(folder):
    path = written(folder)
    old, young = (path.with_name(f"kernel-{letter * 16}.tmp") for letter in "ab")
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (0, time.time() - 2 * disk_cache.ABANDONED))
    disk_cache._swept.clear()  # it is done once per process
    written(folder, name="another")
    assert not old.exists()
    assert young.exists()


# ------------------------------------------------------------------------------------------------- what is kept


def test_folders_beyond_the_last_eight_go_when_a_new_one_is_made(folder):
    for age, digest in enumerate(DIGESTS[:10], start=2):
        (folder / digest).mkdir(parents=True)
        written(folder, digest, days=age)
    new = written(folder, DIGESTS[11]).parent
    assert {path.name for path in folder.iterdir()} == {new.name, *DIGESTS[:7]}


def test_a_folder_used_within_a_day_stays(folder):
    for digest in DIGESTS[:10]:
        (folder / digest).mkdir(parents=True)
        written(folder, digest, days=0.9)
    written(folder, DIGESTS[11])
    assert len(list(folder.iterdir())) == 11


def test_more_than_sixty_four_folders_there_never_are(folder):
    digests = [f"{i:024x}" for i in range(100, 180)]
    for i, digest in enumerate(digests):
        (folder / digest).mkdir(parents=True)
        written(folder, digest, days=0.5 - i / 1000)
    new = written(folder).parent
    assert {path.name for path in folder.iterdir()} == {new.name, *digests[17:]}


def test_what_others_write_and_read_while_it_is_cleared_and_counted_is_whole_or_not_there(folder):
    """One clears and one looks, as `fastmlp cache` does, while four processes would compile and load."""
    end, found = time.perf_counter() + 1.0, []

    def work(digest):
        while time.perf_counter() < end:
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                disk_cache.write(place(folder, digest), b"content", "versions 1")
                found.append(disk_cache.read(place(folder, digest)))

    def clear():
        while time.perf_counter() < end:
            disk_cache.clear()
            assert all(entry.kernels <= 1 for entry in disk_cache.entries())

    with ThreadPoolExecutor(6) as pool:
        tasks = [pool.submit(work, digest) for digest in DIGESTS[:2] * 2] + [pool.submit(clear)] * 2
        for task in tasks:
            task.result(60)
    assert set(found) == {b"content"}


def test_reading_counts_as_use(folder):
    path = written(folder, days=30)
    disk_cache._used.clear()
    disk_cache.read(path)
    assert time.time() - path.parent.stat().st_mtime < 60


def test_clearing_deletes_what_is_fastmlps_own_and_nothing_else(folder, tmp_path):
    written(folder)
    written(folder, DIGESTS[1])
    strange = [
        tmp_path / "thesis.txt",
        tmp_path / "datasets" / "mnist.npz",
        folder / "notes.nbc",
        folder / "models" / f"f-{'0' * 24}.nbc",
        folder / DIGESTS[1] / "f.nbc",
        folder / DIGESTS[1] / "important.tmp",
        folder / DIGESTS[1] / "deeper" / f"f-{'0' * 24}.nbc",
    ]
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    files, size = disk_cache.clear()
    assert (files, size) == (4, 2 * (32 + len("content") + len("versions 1\n")))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(strange)
    assert not (folder / DIGESTS[0]).exists()


@posix_only
def test_clearing_follows_no_link(folder, tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / f"f-{'0' * 24}.nbc").write_text("mine")
    folder.mkdir()
    (folder / DIGESTS[0]).symlink_to(target)
    assert disk_cache.clear() == (0, 0)
    assert len(list(target.iterdir())) == 1


def test_clearing_where_nothing_is_deletes_nothing(folder):
    assert disk_cache.clear() == (0, 0)


def test_entries_say_versions_files_bytes_and_use_the_last_first(folder):
    written(folder, DIGESTS[0], days=5)
    written(folder, DIGESTS[1], days=3)
    (folder / DIGESTS[2]).mkdir()
    os.utime(folder / DIGESTS[2], (0, 0))
    size = 32 + len("content") + len("versions 1\n")
    assert [(e.path.name, e.versions, e.kernels, e.size) for e in disk_cache.entries()] == [
        (DIGESTS[1], "versions 1", 1, size),
        (DIGESTS[0], "versions 1", 1, size),
        (DIGESTS[2], "versions unknown", 0, 0),
    ]


# -------------------------------------------------------------------------------------------------- where it is


def test_a_home_nobody_knows_is_no_folder_called_tilde(monkeypatch):
    for name in ("FASTMLP_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(FileNotFoundError, match="no home folder"):
        disk_cache.kernels_folder()


def test_a_tilde_in_the_variable_is_the_users_home(monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", "~/of-mine")
    assert disk_cache.kernels_folder() == Path.home() / "of-mine" / "kernels"


@posix_only
@pytest.mark.parametrize("made", ["lock", "folder"])
def test_what_only_looks_like_a_source_is_none(tmp_path, made):
    (tmp_path / "a.py").write_text("1")
    before = disk_cache.source_digest(tmp_path)
    if made == "lock":  # of Emacs
        (tmp_path / ".#a.py").symlink_to("user@machine.1234:5678")
    else:
        (tmp_path / "b.py").mkdir()
    assert disk_cache.source_digest(tmp_path) == before


def test_sources_that_are_not_there_have_no_digest(tmp_path):
    assert disk_cache.source_digest(tmp_path / "archive.zip" / "kernels") is None
