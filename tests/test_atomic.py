"""Every file is whole or not there: full disks, interruptions, two writers, and what killed processes leave."""

import ast
import contextlib
import errno
import os
import shutil
import stat
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support import FullDisk, full, posix_only

import fastmlp
from fastmlp import callbacks, cli, models
from fastmlp.layers import Dense, Input
from fastmlp.saving import atomic

X = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
Y = np.arange(60) % 3


def net(seed=0):
    fastmlp.set_random_seed(seed)
    model = fastmlp.Sequential([Input((6,)), Dense(5, activation="relu"), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def trained():
    model = net()
    model.fit(X, Y, verbose=0)
    return model


def needs(module):
    return lambda: pytest.importorskip(module)


#: Ending of a file, what writes it, and what has to be installed.
WRITERS = {
    "model.safetensors": (lambda model, path: model.save(path), lambda: None),
    "weights.safetensors": (lambda model, path: model.save_weights(path), lambda: None),
    "torch.safetensors": (lambda model, path: model.export(path, format="torch"), lambda: None),
    "model.keras": (lambda model, path: model.save(path), needs("h5py")),
    "model.weights.h5": (lambda model, path: model.save_weights(path), needs("h5py")),
    "model.onnx": (lambda model, path: model.export(path), needs("onnx")),
    "model.h": (lambda model, path: model.export(path), lambda: None),
    "model.js": (lambda model, path: model.export(path), lambda: None),
    "report.html": (lambda model, path: fastmlp.report(model, model.history, X, Y, path, draw=False), lambda: None),
}


def fill_disk(monkeypatch, where):
    """Let that step of writing fail."""
    if where in ("fsync", "replace"):
        monkeypatch.setattr(os, where, full)
    else:
        opened = open
        monkeypatch.setattr(atomic, "open", lambda *a, **k: FullDisk(opened(*a, **k), where), raising=False)


@pytest.mark.parametrize("where", ["write", "flush", "fsync", "close", "replace"])
@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, where):
    write, require = WRITERS[name]
    require()
    model, path = trained(), tmp_path / name
    write(model, path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        fill_disk(patch, where)
        with pytest.raises(OSError, match=r"it can't be written: No space left .*stays as it was") as caught:
            write(model, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before


def test_full_disk_without_an_old_file_leaves_nothing(tmp_path, monkeypatch):
    fill_disk(monkeypatch, "fsync")
    with pytest.raises(OSError, match=r"No space left on device: .*model.safetensors") as caught:
        net().save(tmp_path / "model.safetensors")
    assert "stays" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_model_on_a_real_disk_that_is_full_can_still_be_loaded(small_disk):
    path, model = small_disk / "model.safetensors", net()
    model.save(path)
    (small_disk / "fill").write_bytes(bytes(48 << 10))
    wide = fastmlp.Sequential([Input((6,)), Dense(2000)])
    with pytest.raises(OSError, match="No space left on device; the file that is there stays"):
        wide.save(path)
    assert sorted(file.name for file in small_disk.iterdir()) == ["fill", "model.safetensors"]
    np.testing.assert_array_equal(models.load_model(path).predict(X), model.predict(X))


def test_backup_on_a_real_disk_that_is_full_can_still_be_restored(small_disk):
    def fill(epoch, logs):
        if epoch == 1:
            with open(small_disk / "fill", "wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass

    backup = callbacks.BackupAndRestore(small_disk / "backup", double_checkpoint=True)
    full_at_1 = callbacks.LambdaCallback(on_epoch_end=fill)
    with pytest.raises(OSError, match="No space left on device; the file that is there stays"):
        net().fit(X, Y, epochs=4, verbose=0, callbacks=[full_at_1, backup])
    (small_disk / "fill").unlink()
    resumed = net()
    resumed.fit(X, Y, epochs=4, verbose=0, callbacks=[backup])
    whole = net()
    whole.fit(X, Y, epochs=4, verbose=0)
    assert backup.resume_epoch == 1
    assert all(np.array_equal(a, b) for a, b in zip(resumed.get_weights(), whole.get_weights()))


#: What writes into a folder during fit, and what must be installed.
WATCHERS = {
    "CSVLogger": (lambda folder: callbacks.CSVLogger(folder / "log.csv"), lambda: None),
    "ModelCheckpoint": (lambda folder: callbacks.ModelCheckpoint(folder / "model.safetensors"), lambda: None),
    "BackupAndRestore": (lambda folder: callbacks.BackupAndRestore(folder), lambda: None),
    "TensorBoard": (lambda folder: callbacks.TensorBoard(folder, histogram_freq=1), needs("tensorboardX")),
}


class At(callbacks.Callback):
    """Does something in front of an epoch."""

    def __init__(self, epoch, what):
        self.epoch, self.what = epoch, what

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.what()


class Disk:
    """Opens files that can be filled, at any moment, so that each next write gets ten bytes there."""

    is_full = False

    def open(self, path, mode, **options):
        return Filled(self, open(path, mode, **options))


class Filled:
    """A file of a Disk."""

    def __init__(self, disk, file):
        self._disk, self._file = disk, file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, content):
        if self._disk.is_full:
            self._file.write(content[:10])
            full()
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)


def files_of(folder):
    """What the files of a folder hold, by their names."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_is_trained(model, epochs):
    """That it has the weights of a training without callbacks."""
    whole = net()
    whole.fit(X, Y, epochs=epochs, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), whole.get_weights()))


@pytest.mark.parametrize("name", WATCHERS)
def test_callback_on_a_full_disk_says_so_and_keeps_what_it_has_written(tmp_path, monkeypatch, name):
    make, require = WATCHERS[name]
    require()
    disk, kept = Disk(), {}
    monkeypatch.setattr(atomic, "open", disk.open, raising=False)
    monkeypatch.setattr("fastmlp.callbacks.csv_logger.open", disk.open, raising=False)
    if name == "TensorBoard":
        monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda path: disk.open(path, "wb"))

    def fill():
        disk.is_full = True
        kept.update(files_of(tmp_path))

    model = net()
    with pytest.raises(OSError, match=r"can't be written: No space left on device; .* stays?") as caught:
        model.fit(X, Y, epochs=4, verbose=0, callbacks=[At(2, fill), make(tmp_path)])
    assert caught.value.errno == errno.ENOSPC
    assert os.path.relpath(caught.value.filename, tmp_path) in kept
    left = files_of(tmp_path)
    assert left.keys() == kept.keys()
    assert all(content.startswith(kept[path]) for path, content in left.items())
    if name != "TensorBoard":
        assert left == kept
    assert_is_trained(model, epochs=3)
    disk.is_full = False
    model.fit(X, Y, verbose=0, callbacks=[make(tmp_path)])


@posix_only
@pytest.mark.parametrize("name", WATCHERS)
def test_callback_whose_folder_vanishes_says_so_or_makes_it_anew(tmp_path, name):
    make, require = WATCHERS[name]
    require()
    folder, model = tmp_path / "folder", net()
    folder.mkdir()
    watchers = [At(2, lambda: shutil.rmtree(folder)), make(folder)]
    if name in ("CSVLogger", "TensorBoard"):  # the epochs before are lost
        with pytest.raises(FileNotFoundError, match=r"the log is gone: it was deleted or moved while .*; give a place"):
            model.fit(X, Y, epochs=3, verbose=0, callbacks=watchers)
        assert not folder.exists()
    else:
        model.fit(X, Y, epochs=3, verbose=0, callbacks=watchers)
        assert folder.exists() == (name == "ModelCheckpoint")
    assert_is_trained(model, epochs=3)
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("name", WATCHERS)
def test_callback_with_a_file_where_its_folder_should_be_names_it(tmp_path, name):
    make, require = WATCHERS[name]
    require()
    (tmp_path / "file").write_bytes(b"mine")
    model = net()
    with pytest.raises(OSError, match=r"file is a file; move it|file doesn't exist; make it first"):
        model.fit(X, Y, verbose=0, callbacks=[make(tmp_path / "file")])
    assert (tmp_path / "file").read_bytes() == b"mine"
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("name", WATCHERS)
def test_callback_on_a_disk_that_may_only_be_read_says_so(small_disk, name):
    make, require = WATCHERS[name]
    require()
    model = net()
    if subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True).returncode:
        pytest.skip("this system has no disks that may only be read")
    with pytest.raises(OSError, match=r"can't be (written|made): Read-only file system") as caught:
        model.fit(X, Y, verbose=0, callbacks=[make(small_disk / "folder" if name != "CSVLogger" else small_disk)])
    assert caught.value.errno == errno.EROFS
    assert str(caught.value.filename).startswith(str(small_disk))
    model.fit(X, Y, verbose=0)


def test_backup_that_cant_be_deleted_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.unlink", full)
    model = net()
    with pytest.raises(OSError, match=r"the backup can't be deleted: .*; delete it, or the next fit goes on from it"):
        model.fit(X, Y, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path)])
    assert model.history.epoch == [0]


def test_command_says_in_a_line_that_the_disk_is_full(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    rows = "\n".join(f"{a:.3f},{b:.3f},{'yn'[int(a > b)]}" for a, b, *_ in X)
    (tmp_path / "table.csv").write_text("a,b,c\n" + rows + "\n")
    fill_disk(monkeypatch, "fsync")
    command = ["train", str(tmp_path / "table.csv"), "--target", "c", "--epochs", "2", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 1
    assert "fastmlp train: " in (said := capsys.readouterr().err)
    assert "model.safetensors: it can't be written: No space left on device" in said
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    net(1).save(path)
    before = path.read_bytes()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                net(2).save(path)
        assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
        assert path.read_bytes() == before


@pytest.fixture
def flushed(monkeypatch):
    """Device and inode of all that was flushed to the disk, and of what was there when it was renamed."""
    told, fsync, replace = [], os.fsync, os.replace

    def flush(opened):
        told.append(("flush", *identity(os.fstat(opened))))
        fsync(opened)

    def rename(path, target):
        told.append(("rename", *identity(os.stat(path))))
        replace(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", rename)
    return told


def identity(status):
    return status.st_dev, status.st_ino


def written(path):
    """What `flushed` says of a file that is whole on the disk, under its name."""
    file, folder = identity(path.stat()), identity(path.parent.stat())
    return [("flush", *file), ("rename", *file), ("flush", *folder)]


@posix_only
def test_file_is_flushed_before_it_gets_its_name_and_the_folder_behind_it(tmp_path, flushed):
    path = tmp_path / "model.safetensors"
    net().save(path)
    assert flushed == written(path)


@posix_only
def test_files_that_others_wrote_are_flushed_when_they_are_moved(tmp_path, flushed):
    old, path = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"content")
    atomic.move(old, path)
    assert (flushed, path.read_bytes(), old.exists()) == (written(path), b"content", False)


@posix_only
def test_new_folders_have_their_names_on_the_disk(tmp_path, flushed):
    atomic.make_folder(tmp_path / "a" / "b")
    assert sorted(flushed) == sorted(("flush", *identity(folder.stat())) for folder in (tmp_path / "a", tmp_path))
    flushed.clear()
    atomic.make_folder(tmp_path / "a" / "b")
    assert flushed == []


def test_folder_where_a_file_is_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(OSError, match=r"the folder can't be made: .*file is a file; move it, or give another"):
            atomic.make_folder(folder)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*none doesn't exist; make it first"):
        net().save(tmp_path / "none" / "model.safetensors")


# ------------------------------------------------------------------ what is there already


def test_a_file_of_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * (255 - len(".safetensors")) + ".safetensors")
    net().save(path)
    assert models.load_model(path).count_params() == 53


@posix_only
def test_link_stays_one_and_mode_is_kept(tmp_path):
    real, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    net(1).save(real)
    real.chmod(0o640)
    link.symlink_to(real)
    net(2).save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    np.testing.assert_array_equal(models.load_model(real).predict(X), net(2).predict(X))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_what_is_no_file_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        atomic.write(pipe, b"through it")
        assert read.result(60) == b"through it"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_folder_of_that_name_is_an_error(tmp_path):
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(IsADirectoryError):
        net().save(tmp_path / "model.safetensors")


def test_two_writers_and_a_reader_see_whole_models_only(tmp_path):
    path, ends = tmp_path / "model.safetensors", threading.Event()
    two = [net(1), net(2)]
    two[0].save(path)

    def save(model):
        while not ends.is_set():
            model.save(path)

    expected = [model.predict(X).tobytes() for model in two]
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(save, model) for model in two]
        read = [models.load_model(path).predict(X).tobytes() for _ in range(40)]
        ends.set()
        for writer in writers:
            writer.result(60)
    assert set(read) <= set(expected)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


# ------------------------------------------------------------------ what killed processes leave


def aged(path, seconds):
    """Change a file's time to so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_next_save_removes_what_is_unfinished_and_an_hour_old(tmp_path):
    mine, fresh, tree = (atomic.unfinished(str(tmp_path)) for _ in range(3))
    others = [
        "notes.txt",
        "model.safetensors.12345678.tmp",
        ".fastmlp-x.unfinished",
        "a.fastmlp-0123456789abcdef.unfinished",
    ]
    Path(tree).mkdir()
    for path in (mine, fresh, os.path.join(tree, "half.npz"), *(tmp_path / name for name in others)):
        Path(path).write_bytes(b"half")
        aged(path, 4000)
    aged(tree, 4000)
    aged(fresh, 3000)
    net().save(tmp_path / "model.safetensors")
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {*others, os.path.basename(fresh), "model.safetensors"}


def test_folder_whose_newest_file_is_young_is_somebodys(tmp_path):
    tree = Path(atomic.unfinished(str(tmp_path)))
    tree.mkdir()
    (tree / "downloading").write_bytes(b"half")
    aged(tree, 4000)
    net().save(tmp_path / "model.safetensors")
    assert (tree / "downloading").exists()


def test_backup_takes_away_what_is_unfinished_at_once(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    Path(atomic.unfinished(str(folder))).write_bytes(b"half")
    net().fit(X, Y, verbose=0, callbacks=[callbacks.BackupAndRestore(folder)])
    assert not folder.exists()


# ------------------------------------------------------------------ all of the package


#: Files that open others to write: the one that does it for all; a log, line by line; what only a cache loses.
_ALLOWED = {"saving/atomic.py", "callbacks/csv_logger.py"}


def test_nothing_in_the_package_writes_files_by_itself():
    root, found = Path(fastmlp.__file__).parent, set()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name in _ALLOWED or name.startswith("kernels/"):
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            modes = [a.value for a in (*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode"))
                     if isinstance(a, ast.Constant)]  # fmt: skip
            writes = called == "open" and any(isinstance(mode, str) and set(mode) & set("wax+") for mode in modes)
            draws = called in ("savefig", "to_csv", "to_parquet", "savez") and any(
                ast.unparse(to) not in ("file", "sys.stdout") for to in call.args[:1]
            )
            if writes or draws or called in ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile"):
                found.add(f"{name}:{call.lineno} {called}")
    assert found == set()
