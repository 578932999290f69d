"""Many threads, many processes, and Ctrl-C: nothing aborts, nothing hangs, every answer is the serial one."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from support import posix_only

import fastmlp
from fastmlp.layers import Dense, Input

ROOT = os.path.dirname(os.path.dirname(__file__))
X = np.random.default_rng(0).standard_normal((400, 20)).astype(np.float32)
Y = np.arange(400) % 3


def net(seed=0):
    """A compiled net, wide enough for a team of threads."""
    fastmlp.set_random_seed(seed)
    model = fastmlp.Sequential([Input((20,)), Dense(96, activation="relu"), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def trained(seed=0):
    """Bits of a net that was trained a little, and of what it predicts."""
    model = net(seed)
    model.fit(X, Y, epochs=2, verbose=0, shuffle=False)
    return b"".join([w.tobytes() for w in model.get_weights()] + [model.predict(X).tobytes()])


def in_its_own_process(code, timeout=240):
    """What this code prints in a process of its own, where every call is worth a team of threads."""
    setup = f"""
import sys; sys.path[:0] = [{os.path.join(ROOT, "tests")!r}]
import fastmlp, numpy as np
from fastmlp import threads
threads.WORTH = threads.WORTH_WAKING = 1
from test_processes import *
if __name__ == "__main__":
"""
    body = "\n".join("    " + line for line in code.strip().splitlines())
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", setup + body], capture_output=True, text=True, timeout=timeout, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_models_of_many_threads_are_trained_as_one_after_the_other():
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(trained, range(8), timeout=240))
    # set_random_seed is the process's: only the trainings, not the seeds' order, may differ.
    assert len({len(result) for result in results}) == 1
    models = [net(seed) for seed in range(8)]
    copies = [net(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda model: model.fit(X, Y, epochs=2, verbose=0, shuffle=False), models, timeout=240))
    for model, copy in zip(models, copies):
        copy.fit(X, Y, epochs=2, verbose=0, shuffle=False)
        for own, expected in zip(model.get_weights(), copy.get_weights()):
            np.testing.assert_array_equal(own, expected)


def test_second_training_of_a_model_is_refused_whichever_thread_begins():
    model, barrier, outcomes = net(), threading.Barrier(4), []

    def fit():
        barrier.wait()
        try:
            model.fit(X, Y, epochs=300, verbose=0)
            outcomes.append("trained")
        except RuntimeError as error:
            outcomes.append("another thread" in str(error))

    crew = [threading.Thread(target=fit) for _ in range(4)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(240)
    assert "trained" in outcomes
    assert set(outcomes) <= {"trained", True}
    model.fit(X, Y, verbose=0)


def test_predictions_beside_a_training_are_those_of_some_of_its_weights():
    model = net()
    with ThreadPoolExecutor(3) as pool:
        fit = pool.submit(model.fit, X, Y, epochs=100, verbose=0)
        answers = [model.predict(X) for _ in range(50)]
        fit.result(240)
    for answer in answers:
        assert answer.shape == (400, 3)
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)


def test_coroutines_train_and_predict_in_threads():
    async def serve():
        models = [net(seed) for seed in range(3)]
        await asyncio.gather(*(asyncio.to_thread(m.fit, X, Y, epochs=2, verbose=0, shuffle=False) for m in models))
        return await asyncio.gather(*(asyncio.to_thread(m.predict, X) for m in models))

    for seed, answer in enumerate(asyncio.run(serve())):
        model = net(seed)
        model.fit(X, Y, epochs=2, verbose=0, shuffle=False)
        np.testing.assert_array_equal(answer, model.predict(X))


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_pools_of_processes_give_the_serial_answer(method):
    code = f"""
expected = trained()
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as pool:
    print(all(result == expected for result in pool.map(trained, [0] * 4, timeout=200)))
"""
    # A spawned child imports the program anew, which must be a file for that.
    if method == "fork":
        assert in_its_own_process(code) == "True"
        return
    expected = trained()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert all(result == expected for result in pool.map(trained, [0] * 4, timeout=240))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_children_forked_while_another_thread_trains_predict_and_train_on():
    code = """
model = net()
expected = model.predict(X)
busy = threading.Thread(target=lambda: net(1).fit(X, Y, epochs=3000, verbose=0), daemon=True)
busy.start()
codes = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        same = np.array_equal(model.predict(X), expected)
        model.fit(X, Y, verbose=0)
        os._exit(0 if same else 1)
    codes.append(os.waitpid(child, 0)[1])
print(codes)
"""
    assert in_its_own_process(code) == "[0, 0, 0, 0]"


@pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])
def test_kernels_inside_a_parallel_loop_and_beside_it(layer):
    code = f"""
import numba
numba.config.THREADING_LAYER = {layer!r}
from fastmlp.kernels import sigmoid
@numba.njit(parallel=True)
def sigmoids(a, out):
    for i in numba.prange(len(a)):
        sigmoid(a[i], out[i])
if {layer!r} == "tbb":  # the package puts it where the loader doesn't look
    import ctypes, glob
    for library in glob.glob(os.path.join(sys.prefix, "lib", "libtbb.so.12")):
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
a = np.random.default_rng(0).standard_normal((16, 4096)).astype(np.float32)
out = np.empty_like(a)
try:
    sigmoids(a, out)
except ValueError:
    print("missing")
    raise SystemExit
model, expected = net(), trained()
fit = threading.Thread(target=lambda: model.fit(X, Y, epochs=200, verbose=0))
fit.start()
for _ in range(20):
    sigmoids(a, out)
    assert np.allclose(out, 1 / (1 + np.exp(-a)), atol=1e-6)
    model.predict(X)
fit.join()
print(numba.threading_layer(), trained() == expected)
"""
    answer = in_its_own_process(code)
    if answer == "missing":
        pytest.skip(f"Numba's threading layer {layer} is not there")
    assert answer == f"{layer} True"


@posix_only
def test_ctrl_c_at_any_time_leaves_model_and_team_usable():
    code = """
import signal, random, time
x = np.random.default_rng(0).standard_normal((4000, 256)).astype(np.float32)
y = np.arange(len(x)) % 10
model = fastmlp.Sequential([Input((256,)), Dense(256, activation="relu"), Dense(10, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
a = np.ones((300, 300), np.float32)
out = a.copy()
from fastmlp.kernels import matmul, workers
calls = [
    lambda: model.predict(x),
    lambda: model.evaluate(x, y, verbose=0),
    lambda: model.fit(x, y, verbose=0, batch_size=128),
    lambda: matmul(a, a, out),
]
for call in calls:
    call()
kept = model.get_weights()
expected = model.predict(x)
chosen, heard = random.Random(0), 0
for i in range(60):
    timer = threading.Timer(0.02 * chosen.random(), os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        while True:
            calls[i % 4]()
    except KeyboardInterrupt:
        heard += 1
    timer.join()
assert not workers._busy.locked()
model.set_weights(kept)
print(heard, np.array_equal(model.predict(x), expected))
"""
    assert in_its_own_process(code) == "60 True"


def test_sub_interpreter_is_refused():
    interpreters = pytest.importorskip("_xxsubinterpreters", reason="the module of Python 3.11 and 3.12")
    del interpreters
    code = """
import _xxsubinterpreters as interpreters
try:
    interpreters.run_string(interpreters.create(), "import fastmlp")
except Exception as error:
    print("can't run in a sub-interpreter" in str(error))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "True"
