"""The mixed load of benchmarks/soak.py, for seconds; `pytest -m long` runs it for a minute, `python -m` for an hour."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from support import compiled_only

pytestmark = [compiled_only, pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")]

ROOT = os.path.dirname(os.path.dirname(__file__))

#: Runs the command line after some lines that change what is asked for; forked processes have the change as well.
PROGRAM = """
import os, sys, threading, time
from benchmarks import soak
if os.environ.get("CHANGE"):
    exec(os.environ["CHANGE"])
sys.exit(soak.main(sys.argv[1:]))
"""


def start(*arguments, change=""):
    environment = os.environ | {"CHANGE": change}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, cwd=ROOT, env=environment)  # fmt: skip


def soak(*arguments, change="", timeout=280):
    """Exit status, stdout and stderr of a run."""
    process = start(*arguments, change=change)
    try:
        out, errors = process.communicate(timeout=timeout)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, errors


#: Only this is asked for: nothing is to be compiled.
ROWS = 'soak.KINDS = {"one row": soak.KINDS["one row"]}\n'
SMALL = ("--processes", "2", "--threads", "3", "--start", "fork")


def test_mixed_load_gets_the_serial_answers_and_leaves_no_memory_behind():
    # The allocator's arenas still fill in these seconds, so the bound is wide; the hour has a narrow one.
    status, out, errors = soak("--seconds", "8", "--growth", "64", "--start", "fork")
    assert status == 0, out + errors
    assert "0 errors and wrong answers" in out
    assert "never asked for" not in out


@pytest.mark.long
def test_a_minute_of_mixed_load_of_forked_and_new_processes():
    status, out, errors = soak("--seconds", "60", "--growth", "48")
    assert status == 0, out + errors
    assert "0 errors and wrong answers" in out


def test_the_same_seed_asks_for_the_same_things():
    change = """
asked = []
soak.KINDS = {name: (lambda work, case, name=name: asked.append((name, case)) or b"", 1) for name in "abc"}
class Work: nets = [None] * 4
class Stop: is_set = staticmethod(lambda: len(asked) == 60)
for seed in ("0/1/2", "0/1/2", "0/1/3"):
    asked.clear()
    soak.Client(Work, soak.serial(Work), seed, Stop).run()
    print(asked[24:])
sys.exit()
"""
    first, again, other = soak(change=change)[1].splitlines()
    assert first == again != other


def test_another_answer_than_the_serial_one_fails_the_run():
    change = (
        ROWS
        + """
main = os.getpid()
soak.KINDS["odd"] = (lambda work, case: b"serial" if os.getpid() == main else b"other", 1)
"""
    )
    status, out, _ = soak(*SMALL, "--seconds", "1", change=change)
    assert status == 1
    assert re.search("odd, model [0-3]: another answer than the serial one", out)
    assert " 0 errors" not in out


def test_an_error_fails_the_run_and_is_told_with_its_stack():
    change = (
        ROWS
        + """
main = os.getpid()
soak.KINDS["odd"] = (lambda work, case: b"" if os.getpid() == main else work.nothing, 1)
"""
    )
    status, out, _ = soak(*SMALL, "--seconds", "1", change=change)
    assert status == 1
    assert "AttributeError: 'Work' object has no attribute 'nothing'" in out


def test_growing_memory_fails_the_run():
    change = (
        ROWS
        + """
kept = []
def leak(work, case):
    time.sleep(0.01)
    kept.append(b"x" * 100_000)
    return b""
soak.KINDS["odd"] = (leak, 50)
"""
    )
    status, out, _ = soak(*SMALL, "--seconds", "3", "--growth", "4", change=change)
    assert status == 1
    assert "MB after, more than 4 MB of growth" in out
    assert "\n0 errors" in out


@pytest.mark.parametrize("how", ["threading.Event().wait()", "import ctypes; ctypes.PyDLL(None).sleep(600)"])
def test_a_hang_fails_the_run_with_the_stacks_of_all_threads(how):
    # The second holds the interpreter's lock, so that no Python code can notice it.
    change = (
        ROWS
        + f"""
main = os.getpid()
def hang_here(work, case):
    if os.getpid() != main:
        {how}
    return b""
soak.KINDS["odd"] = (hang_here, 1)
"""
    )
    status, out, errors = soak(*SMALL, "--seconds", "2", "--patience", "1", change=change)
    assert status == 1
    assert "ended with exit status" in out
    assert "hang_here" in errors


def test_ctrl_c_ends_the_run_with_its_report():
    process = start(*SMALL, "--seconds", "200", "--every", "0.3", change=ROWS)
    try:
        while "s  " not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert time.monotonic() - begin < 30
    assert "0 errors and wrong answers" in out
    assert errors == ""
