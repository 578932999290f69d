"""A training that is killed loses nothing: BackupAndRestore ends it with the bits that it would have had."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp import callbacks, layers

ROOT = os.path.dirname(os.path.dirname(__file__))
CASES = ("sgd", "adam", "plateau", "pieces")
X = np.random.default_rng(0).standard_normal((96, 6)).astype(np.float32)
Y = np.arange(96) % 3


def killed(folder, case, kills):
    """What tests/killing.py says."""
    program = [sys.executable, "-W", "ignore", os.path.join("tests", "killing.py"), case, kills, "1", str(folder)]
    run = subprocess.run(program, capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork what is to be killed")


@pytest.mark.parametrize("case", CASES)
def test_training_killed_five_times_ends_with_the_same_bits(tmp_path, case):
    told = killed(tmp_path, case, "5")
    assert told == {"same": True, "left": ["best.safetensors", "log.csv"], "kills": 5, "backups": told["backups"]}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_training_killed_fifty_times_ends_with_the_same_bits(tmp_path, case):
    told = killed(tmp_path, case, "50")
    assert told == {"same": True, "left": ["best.safetensors", "log.csv"], "kills": 50, "backups": told["backups"]}
    assert told["backups"] > 20


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_training_killed_at_any_call_of_the_disk_ends_with_the_same_bits(tmp_path, case):
    told = killed(tmp_path, case, "calls")
    assert (told["same"], told["left"]) == (True, ["best.safetensors", "log.csv"])
    assert told["kills"] >= 15


@pytest.mark.parametrize("most", [1, pytest.param(6, marks=pytest.mark.long)])
def test_commands_killed_while_they_write_leave_no_half_files(tmp_path, most):
    pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    told = killed(tmp_path, "commands", str(most))
    assert told["kills"] >= 4 * most
    assert told["half"] == []


# ------------------------------------------------------------------ within one process


class Interruption(Exception):
    pass


class Interrupt(callbacks.Callback):
    """Raises behind a batch of an epoch."""

    def __init__(self, epoch, batch):
        self.epoch, self.batch, self.now = epoch, batch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            raise Interruption


def net(seed=4, metrics=("accuracy",)):
    fastmlp.set_random_seed(seed)
    hidden = [layers.Dense(8, activation="relu"), layers.Dropout(0.2)]
    model = fastmlp.Sequential([layers.Input((6,)), *hidden, layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", list(metrics))
    return model


def fit(model, *watchers, **data):
    """Four epochs of six batches, or fewer where some samples validate."""
    data = data or {"x": X, "y": Y}
    return model.fit(**data, batch_size=16, epochs=4, verbose=0, callbacks=list(watchers))


def interrupted(folder, *watchers, at=(2, 3), seed=4, **data):
    """A training with a backup of every batch that ends in the middle."""
    with pytest.raises(Interruption):
        fit(net(seed), callbacks.BackupAndRestore(folder, save_freq=1), Interrupt(*at), *watchers, **data)


def equal(a, b):
    return all(np.array_equal(one, other) for one, other in zip(a.get_weights(), b.get_weights()))


@pytest.mark.parametrize("at", [(0, 1), (1, 0), (2, 3), (3, 5)])
def test_epoch_goes_on_behind_the_last_batch(tmp_path, at):
    whole = net()
    expected = fit(whole).history
    interrupted(tmp_path, at=at)
    resumed = net(9)
    seen = []

    class Batches(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(batch)

    fastmlp.set_random_seed(99)
    history = fit(resumed, Batches(), callbacks.BackupAndRestore(tmp_path, save_freq=1)).history
    assert history == expected
    assert equal(resumed, whole)
    epoch, batch = at
    assert seen == [i for e in range(4) for i in range(6) if (e, i) >= (epoch, batch)]


def test_samples_that_validate_are_the_same_without_a_seed(tmp_path):
    data = {"x": X, "y": Y, "validation_split": 0.25, "validation_from": "stratified"}
    whole = net()
    expected = fit(whole, **data).history
    interrupted(tmp_path, **data)
    resumed = net(123)
    assert fit(resumed, callbacks.BackupAndRestore(tmp_path, save_freq=1), **data).history == expected
    assert equal(resumed, whole)


def test_training_stopped_early_is_not_trained_on_when_killed_behind_it(tmp_path):
    def stopping():
        return callbacks.EarlyStopping("loss", baseline=0.0, patience=1, restore_best_weights=True)

    whole, resumed = net(), net()
    expected = fit(whole, stopping()).history

    class Killed(callbacks.Callback):
        def on_train_end(self, logs=None):
            raise Interruption

    with pytest.raises(Interruption):
        fit(net(), callbacks.BackupAndRestore(tmp_path), stopping(), Killed())
    assert fit(resumed, callbacks.BackupAndRestore(tmp_path), stopping()).history == expected
    assert len(expected["loss"]) < 4
    assert equal(resumed, whole)


def test_training_stopped_within_an_epoch_ends_with_that_epoch(tmp_path):
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 9:
                self.model.stop_training = True

    class Killed(callbacks.Callback):
        def on_test_begin(self, logs=None):
            if self.model.optimizer.iterations == 9:
                raise Interruption

    data = {"x": X, "y": Y, "validation_data": (X, Y)}
    whole, resumed = net(), net()
    expected = fit(whole, Stop(), **data).history
    with pytest.raises(Interruption):
        fit(net(), callbacks.BackupAndRestore(tmp_path, save_freq=1), Stop(), Killed(), **data)
    assert fit(resumed, callbacks.BackupAndRestore(tmp_path, save_freq=1), Stop(), **data).history == expected
    assert equal(resumed, whole)
    assert resumed.optimizer.iterations == 9


class Mean(callbacks.Callback):
    """A callback of a user's own, with numbers and arrays to keep."""

    def __init__(self):
        self.count, self.sums, self.seen = 0, None, []

    def on_epoch_end(self, epoch, logs=None):
        weights = self.model.get_weights()
        self.sums = weights if self.sums is None else [a + b for a, b in zip(self.sums, weights)]
        self.count += 1
        self.seen.append((epoch, np.float32(logs["loss"]), {"note": None}))

    def training_state(self):
        return {"count": self.count, "sums": self.sums, "seen": self.seen}

    def restore_training_state(self, state):
        self.count, self.sums = state["count"], state["sums"]
        self.seen = [tuple(entry) for entry in state["seen"]]


def test_own_callbacks_keep_what_they_want_kept(tmp_path):
    whole, resumed = [Mean(), Mean()], [Mean(), Mean()]
    fit(net(), *whole)
    interrupted(tmp_path, Mean(), Mean())
    fit(net(), callbacks.BackupAndRestore(tmp_path, save_freq=1), *resumed)
    for a, b in zip(whole, resumed):
        assert (a.count, a.seen) == (b.count, b.seen)
        assert all(np.array_equal(x, y) for x, y in zip(a.sums, b.sums))


def test_what_no_file_can_keep_is_named(tmp_path):
    class Own(callbacks.Callback):
        def training_state(self):
            return {"file": object()}

    with pytest.raises(TypeError, match=r"training_state of Own holds <object object.*; numbers, texts, arrays"):
        fit(net(), callbacks.BackupAndRestore(tmp_path), Own())


def test_iterator_goes_on_where_it_stands(tmp_path):
    def stream():
        while True:
            for first in range(0, 96, 16):
                yield X[first : first + 16], Y[first : first + 16]

    whole, resumed = net(), net()
    expected = fit(whole, x=stream(), steps_per_epoch=5).history
    interrupted(tmp_path, x=stream(), steps_per_epoch=5)
    left = stream()
    for _ in range(2 * 5 + 3):
        next(left)
    backup = callbacks.BackupAndRestore(tmp_path, save_freq=1)
    assert fit(resumed, backup, x=left, steps_per_epoch=5).history == expected
    assert equal(resumed, whole)


def test_backup_of_other_metrics_is_refused(tmp_path):
    interrupted(tmp_path)
    with pytest.raises(ValueError, match=r"the backup holds sums of \d losses and metrics, .*compile it with the same"):
        fit(net(metrics=()), callbacks.BackupAndRestore(tmp_path, save_freq=1))


def test_backup_behind_more_batches_than_there_are_is_refused(tmp_path):
    interrupted(tmp_path, at=(2, 5))
    with pytest.raises(ValueError, match=r"made behind 5 batches of an epoch, which now has 3; give the same samples"):
        fit(net(), callbacks.BackupAndRestore(tmp_path, save_freq=1), x=X[:48], y=Y[:48])


def test_callbacks_that_have_come_or_gone_start_anew(tmp_path):
    interrupted(tmp_path, callbacks.EarlyStopping("loss", patience=5))
    plateau = callbacks.ReduceLROnPlateau("loss", patience=5)
    fit(net(), callbacks.BackupAndRestore(tmp_path, save_freq=1), plateau)
    assert plateau.best is not None


def test_files_in_slices_go_on_within_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr("fastmlp.training._SLICE_BYTES", 8 * 6 * 16 * 2)
    np.save(tmp_path / "x.npy", X.astype(np.float16))
    data = {"x": np.load(tmp_path / "x.npy", mmap_mode="r"), "y": Y}
    whole, resumed = net(), net()
    expected = fit(whole, **data).history
    interrupted(tmp_path / "backup", **data)
    assert fit(resumed, callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1), **data).history == expected
    assert equal(resumed, whole)
