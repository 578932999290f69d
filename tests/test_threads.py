"""No call aborts or hangs the process, results don't depend on threads, and the caller's state is left alone."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastmlp
from fastmlp import threads
from fastmlp.kernels import workers
from fastmlp.kernels._jit import JIT
from fastmlp.layers import Dense, Input

compiled = pytest.mark.skipif(not JIT, reason="without the compiler there is one thread")


def wide(seed=0):
    fastmlp.utils.set_random_seed(seed)
    model = fastmlp.Sequential([Input((40,)), Dense(130, activation="relu"), Dense(70, activation="tanh"), Dense(3)])
    model.compile(optimizer=fastmlp.optimizers.SGD(0.01, momentum=0.5), loss="mse", metrics=["mae"])
    return model


def job():
    """Training and prediction in teams; returns all the numbers that come out."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 40)).astype(np.float32), rng.standard_normal((300, 3)).astype(np.float32)
    model = wide()
    history = model.fit(x, y, batch_size=128, epochs=2, validation_split=0.2, verbose=0).history
    return [*model.get_weights(), model.predict(x), np.array(model.evaluate(x, y, verbose=0)), history["val_loss"]]


@pytest.fixture
def eager_teams(monkeypatch):
    """A thread is worth waking for any work, and a team may be larger than the machine."""
    monkeypatch.setattr(threads, "WORTH", 1)
    monkeypatch.setattr(threads, "WORTH_WAKING", 1)
    monkeypatch.setattr(workers, "_limit", 2)
    return monkeypatch


def equal(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b))


@compiled
@pytest.mark.parametrize("size", [2, 3, 5])
def test_results_have_the_same_bits_for_any_number_of_threads(eager_teams, size):
    eager_teams.setattr(workers, "_limit", 1)
    alone = job()
    eager_teams.setattr(workers, "_limit", size)
    assert equal(job(), alone)


@compiled
def test_concurrent_predictions_give_the_serial_answer(eager_teams):
    model, x = wide(), np.random.default_rng(0).standard_normal((300, 40)).astype(np.float32)
    expected, results = model.predict(x), []
    workers = [threading.Thread(target=lambda: results.extend(model.predict(x) for _ in range(10))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 40
    assert all(np.array_equal(p, expected) for p in results)


def python(code, **variables):
    """Run the code in a process of its own, from this folder, with teams for any work; returns what it prints."""
    setup = """
import sys; sys.path.insert(0, "tests"); import test_threads
test_threads.threads.WORTH = test_threads.threads.WORTH_WAKING = 1
"""
    environment = os.environ | variables
    run = subprocess.run(
        [sys.executable, "-c", setup + code], capture_output=True, text=True, timeout=300, env=environment
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_forked_child_after_a_parallel_call_trains_on():
    # Not in this process: other libraries that the tests load warn of any fork.
    code = """
import multiprocessing
expected = test_threads.job()
with multiprocessing.get_context("fork").Pool(2) as pool:
    results = [pool.apply_async(test_threads.job) for _ in range(4)]
    print(all(test_threads.equal(result.get(timeout=120), expected) for result in results))
"""
    assert python(code).strip() == "True"


def test_no_threading_layer_of_numba_is_started():
    code = """
import numba
test_threads.job()
try:
    numba.threading_layer()
except ValueError as error:
    print(error)
"""
    assert "not initialized" in python(code)


@compiled
def test_error_in_a_member_reaches_the_caller_and_the_team_works_on(eager_teams):
    def broken(rank, size):
        if rank == 1:
            raise KeyError("rank 1")

    sync = np.zeros(fastmlp.kernels.team.SYNC_SIZE, np.int64)
    with pytest.raises(KeyError, match="rank 1"):
        threads.run(broken, 2, sync)
    assert not sync.any()
    assert equal(job(), job())


def test_number_of_threads_is_checked_and_kept(monkeypatch):
    monkeypatch.setattr(workers, "_limit", None)
    monkeypatch.setattr(workers, "_shares", [])
    monkeypatch.delenv("FASTMLP_NUM_THREADS", raising=False)
    assert fastmlp.get_num_threads() == threads.available()
    fastmlp.set_num_threads(1)
    assert fastmlp.get_num_threads() == 1
    assert threads.team_size(1e12) == threads.team_size(1e12, waking=True) == 1
    for wrong, kind in [(0, ValueError), (threads.available() + 1, ValueError), (1.5, TypeError)]:
        with pytest.raises(kind, match="number of threads"):
            fastmlp.set_num_threads(wrong)


@compiled
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FASTMLP_NUM_THREADS": "1"}, 1),
        ({"FASTMLP_NUM_THREADS": "many"}, 4),
        ({"FASTMLP_NUM_THREADS": "0"}, 4),
        ({"FASTMLP_NUM_THREADS": "²"}, 4),
        ({"FASTMLP_NUM_THREADS": "99"}, 4),
        ({"NUMBA_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": " 2,1"}, 2),
        ({"FASTMLP_NUM_THREADS": "", "NUMBA_NUM_THREADS": "", "OMP_NUM_THREADS": "3"}, 3),
        ({"FASTMLP_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}, 3),
        ({"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}, 2),
    ],
    ids=str,
)
def test_environment_limits_the_threads(monkeypatch, variables, expected):
    monkeypatch.setattr(workers, "_limit", None)
    monkeypatch.setattr(workers, "available", lambda: 4)
    monkeypatch.setenv("FASTMLP_NUM_THREADS", variables.get("FASTMLP_NUM_THREADS", ""))
    shares = [variables.get(name, "") for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")]
    monkeypatch.setattr(workers, "_shares", shares)
    assert fastmlp.get_num_threads() == expected


@compiled
def test_share_of_a_worker_is_known_when_it_is_imported_and_not_changed_later():
    code = """
import os
print(test_threads.fastmlp.get_num_threads())
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "99"
print(test_threads.fastmlp.get_num_threads())
"""
    assert python(code, OMP_NUM_THREADS="1").split() == ["1", "1"]


@compiled
def test_training_leaves_the_floating_point_state_alone(eager_teams):
    tiny = np.array([1e-40], np.float32)
    assert (tiny * np.float32(0.5))[0] > 0
    job()
    assert (tiny * np.float32(0.5))[0] > 0


def test_warmup_leaves_nothing_to_compile_but_what_a_network_is_made_of():
    code = """
import numpy as np, fastmlp
from fastmlp.kernels._jit import KERNELS
fastmlp.warmup()
before = {name: len(kernel.overloads) for name, kernel in KERNELS.items()}
for x in (np.zeros((6, 4, 4), np.uint8), np.eye(16, dtype=np.float32)[:6].reshape(6, 4, 4)):
    one_hot = ("categorical_crossentropy", np.eye(2)[[0] * 6])
    for loss, y in (("sparse_categorical_crossentropy", np.arange(6) % 2), one_hot):
        layers = [fastmlp.layers.Input((4, 4)), fastmlp.layers.Flatten(), fastmlp.layers.Dense(40, activation="relu")]
        model = fastmlp.Sequential([*layers, fastmlp.layers.Dense(2, activation="softmax")])
        model.compile(optimizer=fastmlp.optimizers.SGD(0.1, 0.9), loss=loss, metrics=["accuracy"])
        model.fit(x, y, epochs=2, validation_split=0.5, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict(x)
print(*sorted(name for name, kernel in KERNELS.items() if len(kernel.overloads) != before[name]))
"""
    names = ["losses.categorical_crossentropy_score", "optimizers.momentum_update"]
    assert python(code).split() == [f"fastmlp.kernels.{name}" for name in names if JIT]


@pytest.fixture
def clock(monkeypatch):
    """The time that Pace sees: a list of one number."""
    now = [0.0]
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])
    return now


def paced(pace, clock, seconds, slices, left=10**9):
    """(size, steps) of so many slices, of which a step takes seconds[size]."""
    taken = []
    for _ in range(slices):
        size, steps = pace.next(left)
        taken.append((size, steps))
        clock[0] += steps * seconds[size]
        pace.took(steps, steps * seconds[size])
    return taken


@pytest.mark.parametrize("fastest", [1, 2, 3])
def test_the_pace_is_that_of_the_team_that_is_fastest(clock, fastest):
    seconds = {size: 1e-5 * (1 + abs(size - fastest)) for size in (1, 2, 3)}
    taken = paced(threads.Pace(3, 10), clock, seconds, 60)
    assert [size for size, _ in taken[:6]] == [3, 3, 1, 1, 2, 2]  # a first slice may find cold caches
    assert sum(size == fastest for size, _ in taken[6:]) > 0.8 * len(taken[6:])


def test_the_pace_follows_when_another_team_becomes_the_fastest(clock):
    pace = threads.Pace(2, 10)
    assert paced(pace, clock, {1: 2e-5, 2: 1e-5}, 20)[-1][0] == 2
    assert paced(pace, clock, {1: 2e-5, 2: 9e-5}, 60)[-1][0] == 1


def test_a_slice_has_neither_no_steps_nor_more_than_are_left(clock):
    pace = threads.Pace(2, 1)
    assert all(steps == 1 for _, steps in paced(pace, clock, {1: 9.0, 2: 9.0}, 5))
    assert all(1 <= steps <= 3 for _, steps in paced(pace, clock, {1: 1e-7, 2: 1e-7}, 50, left=3))
