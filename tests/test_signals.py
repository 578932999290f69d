"""Ctrl-C, and handlers of other signals that raise: heard soon, at any moment, and everything goes on as before."""

import os

import pytest
from support import compiled_only
from test_processes import in_its_own_process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system sends no signals to itself")

#: What a process of its own runs first: sends itself a signal at a moment, and measures until it is heard.
SETUP = '''
import contextlib, os, random, signal, threading, time

class Heard:
    """How often a signal's error came, and the longest time from one to the other that the main thread computed."""

    def __init__(self, number=signal.SIGINT):
        self.number, self.count, self.gap = number, 0, 0.0
        self._clock = time.pthread_getcpuclockid(threading.main_thread().ident)

    def call(self, function, delay):
        """What function() returns, or None if the signal that is sent after `delay` seconds came first."""
        sent = []

        def send():
            # Seconds of the main thread: other programs that run beside don't count.
            sent.append(time.clock_gettime(self._clock))
            os.kill(os.getpid(), self.number)

        timer, answer = threading.Timer(delay, send), None
        try:
            timer.start()
            answer = function()
            timer.cancel()
            timer.join()
        except (KeyboardInterrupt, TimeoutError):
            self.gap = max(self.gap, time.clock_gettime(self._clock) - sent[0])
            self.count += 1
        timer.join()
        return answer
'''


def in_process(code, **arguments):
    """What the code prints in a process of its own, behind SETUP."""
    return in_its_own_process(SETUP + code, **arguments)


@compiled_only
def test_ctrl_c_while_kernels_compile_is_heard_at_once_and_the_next_call_takes_up_what_was_begun(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    code = """
model = fastmlp.Sequential([Input((4,)), Dense(3, activation="relu"), Dense(2)])
x, answer, heard, chosen = np.ones((1, 4), np.float32), None, Heard(), random.Random(0)
while answer is None:
    answer = heard.call(lambda: model.predict(x), 0.3 * chosen.random())
w = model.get_weights()
assert np.allclose(answer, np.maximum(x @ w[0] + w[1], 0) @ w[2] + w[3], atol=1e-6)
print(heard.count > 2, heard.gap < 0.2)
"""
    assert in_process(code) == "True True"


def moments(few, many):
    """How many of them: a few always, many behind the marker `long`."""
    return pytest.mark.parametrize("moments", [few, pytest.param(many, marks=pytest.mark.long)])


@compiled_only
@pytest.mark.parametrize("name", ["SIGINT", "SIGALRM"])
@moments(20, 300)
def test_a_training_that_is_interrupted_has_made_whole_steps_and_counts_each(name, moments):
    code = f"""
def late(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, late)

def made(optimizer):
    fastmlp.set_random_seed(1)
    model = fastmlp.Sequential([Input((20,)), Dense(96, activation="relu"), Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model

def fit(model, rows=400, epochs=10**6, **more):
    model.fit(X[:rows], Y[:rows], batch_size=50, epochs=epochs, shuffle=False, verbose=0, **more)

def one_by_one(model):
    while True:
        for i in range(0, 400, 50):
            model.train_on_batch(X[i : i + 50], Y[i : i + 50])

class Looks(fastmlp.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass

from fastmlp.kernels import workers
heard, chosen = Heard(signal.{name}), random.Random({moments})
kinds = [(o, way) for o in ("sgd", "adam") for way in (fit, lambda m: fit(m, callbacks=[Looks()]), one_by_one)]
models = [(made(o), made(o), way) for o, way in kinds]
for model, twin, _ in models:
    for net in (model, twin):
        fit(net, epochs=1)
for moment in range({moments}):
    model, twin, way = models[moment % len(models)]
    heard.call(lambda: way(model), 0.03 * chosen.random())
    steps = model.optimizer.iterations - twin.optimizer.iterations
    if steps >= 8:
        fit(twin, epochs=steps // 8)
    if steps % 8:
        fit(twin, rows=steps % 8 * 50, epochs=1)
    assert all(map(np.array_equal, model.get_weights(), twin.get_weights())), (moment, steps)
    assert not workers._busy.locked()
print(heard.count, heard.gap < 0.2)
"""
    assert in_process(code) == f"{moments} True"


@compiled_only
@pytest.mark.long
def test_ctrl_c_is_heard_within_a_fifth_of_a_second_of_usual_work():
    code = """
rng = np.random.default_rng(0)
pixels = (rng.random((60_000, 784)) * (rng.random((60_000, 784)) < 0.2) * 255).astype(np.uint8)
grey, digits = pixels / np.float32(255), rng.integers(0, 10, 60_000)
rows = rng.standard_normal((10_000_000, 8)).astype(np.float32)
signs = rows[:, 0] > 0

def made(inputs, units, outputs, optimizer, loss):
    last = Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")
    model = fastmlp.Sequential([Input((inputs,)), Dense(units, activation="tanh"), last])
    model.compile(optimizer, loss, ["accuracy"])
    return model

sgd, adam = [made(784, 128, 10, name, "sparse_categorical_crossentropy") for name in ("sgd", "adam")]
small = made(8, 16, 1, "sgd", "binary_crossentropy")
calls = [
    lambda: sgd.fit(pixels, digits, epochs=99, verbose=0),
    lambda: adam.fit(grey, digits, epochs=99, verbose=0, validation_split=0.1),
    lambda: [adam.evaluate(grey, digits, verbose=0) for _ in range(99)],
    lambda: [small.predict(rows) for _ in range(9)],
    lambda: [small.evaluate(rows, signs, verbose=0) for _ in range(9)],
]
sgd.fit(pixels[:64], digits[:64], verbose=0)
adam.fit(grey[:64], digits[:64], verbose=0)
small.fit(rows[:64], signs[:64], verbose=0)
heard, chosen = Heard(), random.Random(0)
for moment in range(100):
    heard.call(calls[moment % len(calls)], 1.2 * chosen.random())
print(heard.count, f"{heard.gap:.3f}")
"""
    count, gap = in_process(code).split()
    print(f"Ctrl-C at {count} moments was heard after at most {gap} s of the main thread's time")
    assert count == "100"
    assert float(gap) < 0.2
