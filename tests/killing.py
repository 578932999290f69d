"""Trainings that are killed again and again, for test_interruption.py: a program, since it forks what it kills.

    python killing.py CASE KILLS SEED FOLDER      kills at random moments
    python killing.py CASE calls SEED FOLDER      kills before and behind every call that a backup makes of the disk
    python killing.py commands MOST SEED FOLDER   kills `fastmlp train` and `fastmlp digits` at their first files so

Prints how often it killed, and whether what came out in the end has the bits of the training that nothing disturbed.
"""

import itertools
import json
import os
import random
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
from golden import digest, formula

import fastmlp
from fastmlp import callbacks, layers, optimizers

X, VALUES = formula(240, 11), formula(240, 3)
LABELS = VALUES.argmax(axis=1)


class Pieces:
    """Batches that begin anew with every epoch."""

    def __iter__(self):
        for first in range(0, len(X), 20):
            yield X[first : first + 20], LABELS[first : first + 20]


def net(optimizer, *between):
    """A classifier with dropout."""
    fastmlp.set_random_seed(3)
    hidden = [layers.Dense(14, activation="relu"), *between, layers.Dropout(0.2)]
    model = fastmlp.Sequential([layers.Input((11,)), *hidden, layers.Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


def schedule():
    """Learning rates that fall with every step."""
    return optimizers.schedules.ExponentialDecay(0.05, 50, 0.9)


#: Of each case: the model, the arguments of fit, and when the backup is made.
CASES = {
    "sgd": lambda: (
        net(optimizers.SGD(schedule())),
        {"x": X, "y": LABELS, "validation_split": 0.2},
        {"save_freq": "epoch"},
    ),
    "adam": lambda: (
        net(optimizers.Adam(schedule(), use_ema=True), layers.BatchNormalization()),
        {"x": X, "y": LABELS, "validation_split": 0.25, "validation_from": "stratified"},
        {"save_freq": 5, "double_checkpoint": True},
    ),
    "plateau": lambda: (
        net(optimizers.SGD(0.1, momentum=0.9)),
        {"x": X, "y": LABELS, "validation_split": 0.2, "validation_from": "shuffled"},
        {"save_freq": 2},
    ),
    "pieces": lambda: (
        net(optimizers.Adam(0.01, gradient_accumulation_steps=3)),
        {"x": Pieces(), "validation_data": (X[:50], LABELS[:50])},
        {"save_freq": 7},
    ),
}


def train(case, folder, backup):
    """The digest of all that a training leaves behind."""
    model, data, settings = CASES[case]()
    kept = callbacks.BackupAndRestore(folder / "backup", **settings)
    # The backup stands first: it must nevertheless hold what the others have seen of the epoch.
    others = [
        callbacks.EarlyStopping(patience=6, restore_best_weights=True),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.ModelCheckpoint(folder / "best.safetensors", save_best_only=True),
    ]
    if case == "plateau":
        others.append(callbacks.ReduceLROnPlateau(patience=2, factor=0.7))
    history = model.fit(
        **data, batch_size=20, epochs=14, verbose=0, callbacks=[kept, *others] if backup else others
    )  # fmt: skip
    best = fastmlp.models.load_model(folder / "best.safetensors").get_weights()
    told = json.dumps([history.history, history.epoch, (folder / "log.csv").read_text()])
    return digest([*model.get_weights(), *best]) + digest([np.frombuffer(told.encode(), np.uint8)])


def started(case, folder, prepare, run=None):
    """A child that trains, or runs what is given: its number, and where it says what came out."""
    out, into = os.pipe()
    child = os.fork()
    if child:
        os.close(into)
        return child, out
    try:
        prepare()
        os.write(into, (run() if run else train(case, folder, True)).encode())
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(1)


def ended(child, out):
    """What it said; nothing if it was killed."""
    said = b""
    while part := os.read(out, 1000):
        said += part
    os.close(out)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return said.decode()


COUNTS = {"kills": 0, "backups": 0}


def count(folder):
    """One was killed, with a backup or too early for one."""
    COUNTS["kills"] += 1
    COUNTS["backups"] += (folder / "backup" / "latest.safetensors").exists()


def at_random(case, kills, seed, folder, seconds):
    """Kill so often; yields what came out of trainings that were through before."""
    chosen = random.Random(seed)
    while COUNTS["kills"] < kills:
        child, out = started(case, folder, lambda: None)
        if not select.select([out], [], [], chosen.random() * seconds)[0]:
            os.kill(child, signal.SIGKILL)
        if said := ended(child, out):
            yield said
        else:
            count(folder)


def at_calls(case, folder):
    """Kill at each of the first calls of every kind; a kill changes the place of the next."""
    for call in itertools.product(("fsync", "chmod", "replace", "unlink"), (1, 2, 4), (False, True)):
        child, out = started(case, folder, lambda call=call: deadly(*call))
        if said := ended(child, out):
            yield said
        else:
            count(folder)


def deadly(name, number, behind):
    """Let this process be killed before or behind the call of that number of a function of os."""
    real, calls = getattr(os, name), itertools.count(1)

    def call(*arguments, **options):
        now = next(calls)
        if now == number and not behind:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, name, call)


def commands(folder, most):
    """Kill commands at each file that they write; prints what can't be read of what they left."""
    from fastmlp import cli
    from fastmlp.cli import digits
    from fastmlp.saving import atomic

    table = folder / "table.csv"
    table.write_text("a,b,c\n" + "".join(f"{a:.4f},{b:.4f},{'yn'[int(a > b)]}\n" for a, b, *_ in X))
    pictures = ((np.abs(formula(60, 28, 28)) * 255).astype(np.uint8), np.arange(60) % 10)
    digits._load = lambda wanted: ("printed_digits", pictures, pictures)
    half, out = set(), folder / "out"
    lines = (["train", str(table), "--target", "c", "--epochs", "2", "--out"], ["digits", "--epochs", "1", "--out"])

    said = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in lines:
        shutil.rmtree(out, ignore_errors=True)
        assert cli.main([*line, str(out)]) == 0  # here, so that the children needn't import
        files = {path.name for path in out.iterdir() if path.is_file()}
        # While they are written, and while they take their places.
        numbers = [*range(1, min(most, len(files) + 1)), len(files) + 2]
        for call in itertools.product(("replace", "fsync")[:most], numbers, (False, True)):
            for path in out.iterdir() if call[1] % 2 else ():
                if path.is_file():
                    path.unlink()  # each second time over files of an earlier run
            run = lambda line=line: str(cli.main([*line, str(out)]))  # noqa: E731
            COUNTS["kills"] += not ended(*started("", folder, lambda call=call: deadly(*call), run))
            atomic.complete(out)
            there = [path for path in out.iterdir() if path.name in files]
            half |= {path.name for path in there if not readable(path)}
            half |= {path.name for path in there if len(there) < len(files)}  # of a run that is there in part
    os.dup2(said, 1)
    print(json.dumps({"half": sorted(half), **COUNTS}))


def readable(path):
    """Whether a file of a command is whole."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return fastmlp.models.load_model(path).built
    ends = {".html": b"</html>\n", ".png": b"IEND\xaeB`\x82", ".json": b"}\n", ".csv": b"\n"}[path.suffix]
    return content.endswith(ends) and (path.suffix != ".json" or bool(json.loads(content)))


def main():
    """See the top."""
    case, kills, seed, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    if case == "commands":
        commands(folder, int(kills))
        return
    (folder / "whole").mkdir()
    (folder / "killed").mkdir()
    expected = train(case, folder / "whole", False)  # compiles
    begin = time.perf_counter()
    assert train(case, folder / "whole", True) == expected
    seconds = time.perf_counter() - begin
    how = at_calls(case, folder / "killed") if kills == "calls" else at_random(
        case, int(kills), seed, folder / "killed", seconds
    )  # fmt: skip
    outcomes = [*how, ended(*started(case, folder / "killed", lambda: None))]
    assert outcomes[-1]
    left = sorted(path.name for path in (folder / "killed").iterdir() if not path.name.endswith(".unfinished"))
    print(json.dumps({"same": set(outcomes) == {expected}, "left": left, **COUNTS}))


if __name__ == "__main__":
    main()
