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
