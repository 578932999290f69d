"""Pools of other libraries and of Python's own: models go in and come back, and answers are the serial ones.

Workers that joblib or dask start run no more threads together than there are cores.
"""

import multiprocessing
import os
import subprocess
import sys

import pytest
from support import compiled_only

pytestmark = compiled_only

ROOT = os.path.dirname(os.path.dirname(__file__))

#: In front of each program: a trained model, what it answers, and what workers do with it. Programs are files, which
#: workers that are started anew import.
SETUP = """
import multiprocessing, os, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import numpy as np
import fastmlp
from fastmlp import threads
from fastmlp.layers import Dense, Input

X = np.random.default_rng(0).standard_normal((400, 20)).astype(np.float32)
Y = np.arange(400) % 3

def net(seed=0):
    fastmlp.set_random_seed(seed)
    made = fastmlp.Sequential([Input((20,)), Dense(96, activation="relu"), Dense(3, activation="softmax")])
    made.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    made.fit(X, Y, epochs=2, verbose=0)
    return made

def predicted(model, x):
    return model.predict(x)

def send(pipe, model, x):
    pipe.send(model.predict(x))

def in_threads(model):
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(predicted, [model] * 6, [X] * 6))

def trained_on(model):
    # The model that came, trained further: what it is then, and its optimizer with it.
    model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    return model

def run_threads(model):
    # The process, its threads that compute, and those that a call may use, where every call would wake them all.
    threads.WORTH = threads.WORTH_WAKING = 1
    for _ in range(3):
        model.predict(X)
    threads.WORTH, threads.WORTH_WAKING = 100_000, 5_000_000
    team = [thread for thread in threading.enumerate() if thread.name == "fastmlp"]
    return os.getpid(), 1 + len(team), fastmlp.get_num_threads()

def same(model, other):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights()))

if __name__ == "__main__":
    model = net()
    expected = model.predict(X)
    on = trained_on(net())
"""


def printed(tmp_path, program, timeout=240, **variables):
    """What a program prints that begins with SETUP and runs as a file of its own, with no limit of threads outside."""
    path = tmp_path / "program.py"
    lines = "\n".join("    " + line for line in program.strip().splitlines())
    path.write_text(f"{SETUP}\n{lines}\n", "utf-8")
    limits = ("FASTMLP_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if key not in limits} | variables
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    run = subprocess.run([sys.executable, "-W", "ignore", str(path)], capture_output=True, text=True, timeout=timeout,
                         cwd=tmp_path, env=environment)  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_model_is_an_argument_and_a_result_of_processes(tmp_path, method):
    program = f"""
context = multiprocessing.get_context({method!r})
with context.Pool(2) as pool:
    answers = pool.starmap_async(predicted, [(model, X)] * 4).get(200)
    models = pool.map_async(trained_on, [model] * 3).get(200)
own, theirs = context.Pipe()
child = context.Process(target=send, args=(theirs, model, X))
child.start()
answers.append(own.recv())
child.join()
print(child.exitcode, all(np.array_equal(answer, expected) for answer in answers))
print(all(same(on, other) for other in models), np.array_equal(model.predict(X), expected))
"""
    assert printed(tmp_path, program) == ["0", "True", "True", "True"]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_threads_that_each_have_a_pool_of_processes_with_threads_in_them(tmp_path, method):
    program = f"""
def in_processes(i):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({method!r})) as pool:
        return [answer for future in (pool.submit(in_threads, model), pool.submit(in_threads, model))
                for answer in future.result(200)]

with ThreadPoolExecutor(3) as pool:
    beside = pool.submit(net(1).fit, X, Y, epochs=10, verbose=0)
    answers = [answer for some in pool.map(in_processes, range(2)) for answer in some]
    beside.result(200)
print(len(answers), all(np.array_equal(answer, expected) for answer in answers))
"""
    assert printed(tmp_path, program) == ["24", "True"]


def test_workers_of_joblib_share_the_cores_and_answer_as_one_process_does(tmp_path):
    pytest.importorskip("joblib")
    program = """
import joblib
workers = 2
with joblib.Parallel(n_jobs=workers) as parallel:
    answers = parallel(joblib.delayed(predicted)(model, X) for _ in range(6))
    models = parallel(joblib.delayed(trained_on)(model) for _ in range(3))
    told = parallel(joblib.delayed(run_threads)(model) for _ in range(6))
seen = {process: counts for process, *counts in told}
print(all(np.array_equal(answer, expected) for answer in answers), all(same(on, other) for other in models))
share = max(1, joblib.cpu_count() // workers)
print(os.getpid() not in seen, all(allowed == share for _, allowed in seen.values()))
print(sum(running for running, _ in seen.values()) <= max(workers, joblib.cpu_count()))
"""
    assert set(printed(tmp_path, program)) == {"True"}


def test_limit_of_inner_threads_of_joblib_is_kept(tmp_path):
    pytest.importorskip("joblib")
    program = """
import joblib
with joblib.parallel_config("loky", inner_max_num_threads=2):
    seen = joblib.Parallel(n_jobs=2)(joblib.delayed(fastmlp.get_num_threads)() for _ in range(2))
print(seen == 2 * [min(2, threads.available())])
"""
    assert printed(tmp_path, program) == ["True"]


def test_estimators_are_searched_by_workers_as_by_one_process(tmp_path):
    pytest.importorskip("sklearn")
    program = """
from sklearn.model_selection import GridSearchCV
from fastmlp.sklearn import MLPClassifier

def searched(workers):
    sizes = {"hidden_layer_sizes": [(8,), (16, 4)]}
    search = GridSearchCV(MLPClassifier(max_iter=5, random_state=0), sizes, n_jobs=workers, cv=2).fit(X, Y)
    return search.cv_results_["mean_test_score"], search.predict_proba(X)

print(all(np.array_equal(one, two) for one, two in zip(searched(1), searched(2))))
"""
    assert printed(tmp_path, program) == ["True"]


def test_workers_of_dask_answer_as_one_process_does_and_start_no_team(tmp_path):
    pytest.importorskip("distributed")
    program = """
from distributed import Client, LocalCluster
for processes in (True, False):
    options = dict(processes=processes, n_workers=2, threads_per_worker=2, dashboard_address=None)
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        scattered = client.scatter(model, broadcast=True)
        futures = [client.submit(predicted, scattered, X, pure=False) for _ in range(6)]
        futures += [client.submit(predicted, model, X, pure=False) for _ in range(2)]
        answers = client.gather(futures)
        copies = [net() for _ in range(3)]  # in threads of this process they are not copied on their way
        models = client.gather([client.submit(trained_on, copy, pure=False) for copy in copies])
        seen = client.gather([client.submit(run_threads, copy, pure=False) for copy in copies])
    print(all(np.array_equal(answer, expected) for answer in answers), all(same(on, other) for other in models))
    allowed = 1 if processes else threads.available()  # in threads of this process, it is one team for all of them
    print(all(running <= allowed and may == allowed for _, running, may in seen))
    print(processes != any(process == os.getpid() for process, _, _ in seen))
"""
    assert set(printed(tmp_path, program)) == {"True"}
