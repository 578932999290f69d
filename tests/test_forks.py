"""Forks at awkward moments, and interpreters that end while threads compute: no hang, no abort, the serial answer."""

import os

import pytest
from support import compiled_only
from test_processes import in_its_own_process

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")

#: What is run first: children that say by their exit code whether all was well, within a minute.
SETUP = """
import signal, time

def child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            os._exit(0 if work() else 1)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(2)
    return pid

def again_and_again(work):
    def loop():
        while True:
            work()
    threading.Thread(target=loop, daemon=True).start()

"""


@compiled_only
def test_children_forked_while_another_thread_compiles_compute_on(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    code = """
model = fastmlp.Sequential([Input((4,)), Dense(3, activation="relu"), Dense(2)])
x = np.ones((1, 4), np.float32)
w = model.get_weights()
expected = np.maximum(x @ w[0] + w[1], 0) @ w[2] + w[3]
right = lambda: np.allclose(model.predict(x), expected, atol=1e-6)
first = threading.Thread(target=right)
first.start()
pids = []
for _ in range(3):
    time.sleep(0.1)
    pids.append(child(right))
first.join()
print([os.waitpid(pid, 0)[1] for pid in pids], right())
"""
    assert in_its_own_process(SETUP + code) == "[0, 0, 0] True"


@pytest.mark.parametrize("forks", [12, pytest.param(200, marks=pytest.mark.long)])
def test_children_forked_while_others_build_train_and_predict_give_the_serial_answer(forks):
    code = f"""
expected, shared = trained(), net()
answer = shared.predict(X)
again_and_again(lambda: net(1).fit(X, Y, epochs=3, verbose=0))
again_and_again(lambda: shared.predict(X))
again_and_again(lambda: fastmlp.Sequential([Input((20,)), Dense(2000)]).count_params())
codes = []
for i in range({forks}):
    time.sleep(0.002 * (i % 7))
    codes.append(os.waitpid(child(lambda: trained() == expected and (shared.predict(X) == answer).all()), 0)[1])
print(codes == [0] * {forks}, np.array_equal(shared.predict(X), answer))
os._exit(0 if sys.stdout.flush() is None else 1)
"""
    assert in_its_own_process(SETUP + code) == "True True"


@pytest.mark.parametrize("exits", [6, pytest.param(150, marks=pytest.mark.long)])
def test_an_interpreter_ends_in_order_while_daemon_threads_compute(exits):
    code = f"""
model = net()
trained()
codes = []
for i in range({exits}):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        again_and_again(lambda: model.predict(X))
        again_and_again(lambda: model.predict(X[:1]))
        again_and_again(lambda: net().fit(X, Y, verbose=0))
        time.sleep(0.003 * (i % 10))
        sys.exit(0)  # not os._exit: with all that Python does at its end
    codes.append(os.waitpid(pid, 0)[1])
print(codes == [0] * {exits})
"""
    assert in_its_own_process(SETUP + code) == "True"
