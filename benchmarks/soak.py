"""A mixed load from many threads and processes: python -m benchmarks.soak --minutes 60

Every process has threads that ask for one thing after another, drawn from a stream that the seed fixes: trainings,
predictions of a row and of batches, evaluations, files written and read, calls of as_njit's functions, estimators,
pickles. Models are shared by the threads wherever that is allowed. Each answer must have the bits that the same request
had when it was made alone, on one thread, before the load began. Half of the processes are forked from this one, which
has computed all of that by then, and half are started anew.

Printed are requests a second, how many answers were compared, errors, and the memory of each process before and after.
Time and memory count from when every thread of a process has asked for everything once. The exit status is 0 if every
answer was right and memory stayed flat, 1 if not, and 130 after Ctrl-C. A request that takes longer than --patience is
a hang: the stacks of all threads are printed, and the run has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import importlib.util
import multiprocessing
import os
import pickle
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp
from fastmlp.kernels.workers import limit_threads
from fastmlp.layers import BatchNormalization, Dense, Dropout, Input, LayerNormalization

from .memory import resident_mb

#: Rows and columns of the samples, and classes; rows are few, so that trainings take milliseconds.
ROWS, INPUTS, CLASSES = 256, 64, 5

#: Exit status of a process that found a hang in itself.
HUNG = 3

#: Seconds between two looks of a process at its threads and its memory.
_LOOK = 0.25

#: Errors and wrong answers that are told in full; they are counted all.
_TOLD = 5


class Work:
    """What the requests are about: a few trained models and their samples, the same in every process.

    Args:
        seed: Of weights and samples.
    """

    def __init__(self, seed: int):
        fastmlp.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        self.y = rng.integers(0, CLASSES, ROWS)
        self.x = [
            rng.standard_normal((ROWS, INPUTS)).astype(np.float32),
            rng.integers(0, 255, (ROWS, INPUTS), np.uint8),
        ]
        hidden: list[tuple[str, list[Any]]] = [
            ("float32", [Dense(16, activation="sigmoid"), Dense(8, activation="tanh")]),
            ("float32", [Dense(256, activation="relu"), Dense(256, activation="relu")]),  # enough for a team of threads
            ("float32", [Dense(48, activation="relu"), BatchNormalization(), Dropout(0.2, seed=seed)]),
            ("float64", [Dense(24, activation="gelu"), LayerNormalization()]),
        ]
        self.nets = []
        for dtype, layers in hidden:
            net = fastmlp.Sequential([Input((INPUTS,)), *layers, Dense(CLASSES, activation="softmax")], dtype=dtype)
            net.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
            net.fit(self.x[0], self.y, epochs=2, verbose=0)
            self.nets.append(net)
        self.pickles = [pickle.dumps(net) for net in self.nets]
        self._functions: dict[int, Any] = {}
        self._compiling = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # Machine code and locks stay in their process.
        return {key: value for key, value in self.__dict__.items() if key not in ("_functions", "_compiling")}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept, _functions={}, _compiling=threading.Lock())

    def function(self, case: int) -> Any:
        """The network in compiled code: made once in a process, as what Numba has compiled stays in memory."""
        with self._compiling:
            if case not in self._functions:
                function = self.nets[case].as_njit()
                function(self.x[0][:2])
                self._functions[case] = function
            return self._functions[case]


def _bits(*arrays: Any) -> bytes:
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def _fit(work: Work, case: int) -> bytes:
    net = pickle.loads(work.pickles[case])
    # The shuffle draws from the generator of the process, which the other threads move on.
    history = net.fit(work.x[0], work.y, epochs=2, validation_data=(work.x[0][:50], work.y[:50]), shuffle=False,
                      verbose=0).history  # fmt: skip
    return _bits(*net.get_weights(), history["loss"], history["val_accuracy"])


def _row(work: Work, case: int) -> bytes:
    return _bits(*(work.nets[case].predict(x[i : i + 1]) for x in work.x for i in range(4)))


def _batch(work: Work, case: int) -> bytes:
    return _bits(*(work.nets[case].predict(x) for x in work.x))


def _evaluate(work: Work, case: int) -> bytes:
    return _bits(work.nets[case].evaluate(work.x[0], work.y, verbose=0))


def _file(ending: str) -> Callable[[Work, int], bytes]:
    def ask(work: Work, case: int) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"net{ending}"
            work.nets[case].save(path)
            again = fastmlp.models.load_model(path)
        again.train_on_batch(work.x[0][:32], work.y[:32])  # the optimizer's state was in it as well
        return _bits(again.predict(work.x[0]))

    return ask


def _pickle(work: Work, case: int) -> bytes:
    return _bits(pickle.loads(pickle.dumps(work.nets[case])).predict(work.x[1]))


def _njit(work: Work, case: int) -> bytes:
    function = work.function(case)
    return _bits(function(work.x[0][0]), function(work.x[0][:16]), function(work.x[1][:16]))


def _estimator(work: Work, case: int) -> bytes:
    from fastmlp.sklearn import MLPClassifier, MLPRegressor

    if case % 2:
        classifier = MLPClassifier(hidden_layer_sizes=12, max_iter=3, random_state=case).fit(work.x[0], work.y)
        return _bits(classifier.predict_proba(work.x[0]))
    regressor = MLPRegressor(hidden_layer_sizes=12, max_iter=3, random_state=case).fit(work.x[0], work.x[0][:, :2])
    return _bits(pickle.loads(pickle.dumps(regressor)).predict(work.x[0]))


#: What is asked for, and how often of all: cheap things more often, so that each takes a part of the time.
KINDS: dict[str, tuple[Callable[[Work, int], bytes], int]] = {
    "one row": (_row, 30),
    "batch": (_batch, 20),
    "evaluate": (_evaluate, 12),
    "as_njit": (_njit, 12),
    "fit": (_fit, 8),
    ".safetensors": (_file(".safetensors"), 6),
    "pickle": (_pickle, 6),
}
if importlib.util.find_spec("h5py"):
    KINDS[".keras"] = (_file(".keras"), 3)
if importlib.util.find_spec("sklearn"):
    KINDS["estimator"] = (_estimator, 3)

Answers = dict[tuple[str, int], bytes]


def answer(work: Work, kind: str, case: int) -> bytes:
    """A digest of the bits of what the request returns."""
    return hashlib.blake2b(KINDS[kind][0](work, case)).digest()


def serial(work: Work) -> Answers:
    """What every request returns on one thread, with nothing beside it."""
    limit_threads(1)
    try:
        return {(kind, case): answer(work, kind, case) for kind in KINDS for case in range(len(work.nets))}
    finally:
        limit_threads(None)


@dataclass
class Report:
    """What a process has seen.

    Attributes:
        counts: Answers compared, by kind.
        wrong: Answers that had other bits than the serial ones, and errors; the first of them told in full.
        failures: How many there were.
        memory: Resident MB, with the seconds since all threads had asked for everything once.
    """

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failures: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)

    def fail(self, text: str) -> None:
        """Note an error or a wrong answer."""
        self.failures += 1
        if len(self.wrong) < _TOLD:
            self.wrong.append(text)

    def before_and_after(self) -> tuple[float, float]:
        """The most MB of the first half of the time, in which caches and the allocator fill, and the last quarter's."""
        last = self.memory[-1][0] if self.memory else 0
        first = [mb for at, mb in self.memory if at <= last / 2] or [resident_mb()]
        return max(first), statistics.median([mb for at, mb in self.memory if at >= 0.75 * last] or first)


class Client(threading.Thread):
    """One thread of the load.

    Attributes:
        since: When its present request began.
        is_warm: Whether it has asked for everything once, so that what is compiled and kept is there.
    """

    def __init__(self, work: Work, expected: Answers, seed: str, stop: threading.Event):
        super().__init__(daemon=True)
        self.work, self.expected, self.seed, self.stop = work, expected, seed, stop
        self.since = time.monotonic()
        self.is_warm = False
        self.report = Report()

    def run(self) -> None:
        """Ask for everything once, then for one thing after another until told to stop."""
        stream = random.Random(self.seed)
        names, often = list(KINDS), [weight for _, weight in KINDS.values()]
        for kind, case in self.expected:
            if not self.stop.is_set():
                self._ask(kind, case)
        self.is_warm = True
        while not self.stop.is_set():
            self._ask(stream.choices(names, often)[0], stream.randrange(len(self.work.nets)))

    def _ask(self, kind: str, case: int) -> None:
        self.since = time.monotonic()
        try:
            if answer(self.work, kind, case) != self.expected[kind, case]:
                self.report.fail(f"{kind}, model {case}: another answer than the serial one")
        except Exception:
            self.report.fail(f"{kind}, model {case}: {traceback.format_exc()}")
        self.report.counts[kind] += 1


def load(number: int, work: Work, expected: Answers, options: argparse.Namespace, pipe: Connection) -> None:
    """What one process of the load does: it sends its Report, and before that, from time to time, a count."""
    faulthandler.enable()
    warnings.simplefilter("ignore")  # of estimators that stop before they converge
    parent, begin, stop = os.getppid(), time.monotonic(), threading.Event()
    threads = [Client(work, expected, f"{options.seed}/{number}/{i}", stop) for i in range(options.threads)]
    report = Report()
    # Python's own watchdog, which works even if this loop doesn't get the interpreter's lock.
    faulthandler.dump_traceback_later(options.patience + 5, exit=True)
    for thread in threads:
        thread.start()
    is_warm = False
    while (not is_warm or time.monotonic() - begin < options.seconds) and os.getppid() == parent:
        faulthandler.dump_traceback_later(options.patience + 5, exit=True)  # anew
        if pipe.poll(_LOOK):
            break  # the parent says that it's enough
        if is_warm:
            report.memory.append((time.monotonic() - begin, resident_mb()))
        elif all(thread.is_warm for thread in threads):
            is_warm, begin = True, time.monotonic()
        _look_for_hangs(threads, options.patience)
        pipe.send(sum(sum(thread.report.counts.values()) for thread in threads))
    stop.set()
    while any(thread.is_alive() for thread in threads):
        time.sleep(_LOOK)
        _look_for_hangs([thread for thread in threads if thread.is_alive()], options.patience)
    faulthandler.cancel_dump_traceback_later()
    for own in (thread.report for thread in threads):
        report.counts += own.counts
        report.failures += own.failures
        report.wrong += own.wrong
    pipe.send(report)


def _look_for_hangs(threads: Sequence[Client], patience: float) -> None:
    """End this process with the stacks of all threads, if one of them has been at its request for too long."""
    if any(time.monotonic() - thread.since > patience for thread in threads):
        print(f"A request takes longer than {patience:g} s: it hangs", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(HUNG)


class Crew:
    """The processes of the load, and what they report.

    Args:
        work: What the requests are about.
        expected: The serial answers.
        options: Of the command line.
    """

    def __init__(self, work: Work, expected: Answers, options: argparse.Namespace):
        methods = ["fork", "spawn"] if options.start == "both" else [options.start]
        self.reports: dict[int, Report] = {}
        self.failures: list[str] = []
        self.counts = [0] * options.processes
        self._pipes: dict[Any, int] = {}
        self._processes = []
        for number in range(options.processes):
            context: Any = multiprocessing.get_context(methods[number % len(methods)])
            own, theirs = context.Pipe()
            process = context.Process(target=load, args=(number, work, expected, options, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes[own] = number
            self._processes.append(process)

    @property
    def runs(self) -> bool:
        """Whether any has not ended yet."""
        return bool(self._pipes)

    def listen(self, seconds: float) -> None:
        """Take what they send, for so long at most."""
        for pipe in wait(list(self._pipes), seconds):
            number = self._pipes[pipe]
            try:
                told = pipe.recv()
            except (EOFError, OSError):
                self._lost(pipe, number)
                continue
            if isinstance(told, Report):
                self.reports[number] = told
                del self._pipes[pipe]
            else:
                self.counts[number] = told
        # A pipe whose other end a forked sibling holds as well doesn't say that its process is gone.
        for pipe, number in list(self._pipes.items()):
            if not self._processes[number].is_alive() and not pipe.poll():
                self._lost(pipe, number)

    def _lost(self, pipe: Any, number: int) -> None:
        del self._pipes[pipe]
        self._processes[number].join(5)
        self.failures.append(f"process {number} ended with exit status {self._processes[number].exitcode}")

    def stop(self) -> None:
        """Tell all to end when their present requests are answered."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send("stop")

    def end(self) -> None:
        """Wait for all; kill who is still there."""
        for process in self._processes:
            process.join(10 if not self._pipes else 0)
            if process.is_alive():
                process.kill()
                process.join()


def run(options: argparse.Namespace) -> int:
    """The whole run; returns the exit status."""
    warnings.simplefilter("ignore")
    work = Work(options.seed)
    expected = serial(work)
    print(
        f"{len(expected)} requests were answered on one thread; now {options.processes} processes of "
        f"{options.threads} threads ask for {options.seconds:g} s, seed {options.seed}",
        flush=True,
    )
    interrupts: list[int] = []
    # Ctrl-C goes to all processes of the terminal. Only this one hears it, and tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    crew = Crew(work, expected, options)
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
    begin = told = time.monotonic()
    last = (
        begin + options.seconds + 2 * options.patience + 60
    )  # they look for hangs themselves: this is the second line
    is_told = False
    try:
        while crew.runs:
            crew.listen(_LOOK)
            if (interrupts or crew.failures) and not is_told:
                crew.stop()
                is_told = True
            if time.monotonic() > last or len(interrupts) > 1:
                crew.failures.append(f"{len(crew._pipes)} processes didn't end")
                break
            if time.monotonic() - told > options.every:
                told = time.monotonic()
                print(f"{told - begin:6.0f} s  {sum(crew.counts):,} requests", flush=True)
        seconds = time.monotonic() - begin
    finally:
        crew.end()
    failed = _print(crew, seconds, options)
    return 130 if interrupts and not failed else int(failed)


def _print(crew: Crew, seconds: float, options: argparse.Namespace) -> bool:
    """Tell what came out; returns whether something was wrong."""
    reports = sorted(crew.reports.items())
    counts = sum((report.counts for _, report in reports), Counter())
    print(f"\n{counts.total():,} answers compared in {seconds:.0f} s: {counts.total() / seconds:,.0f} requests/s")
    print("".join(f"{kind:>14} {counts[kind]:,}\n" for kind in KINDS), end="")
    failed = bool(crew.failures)
    for number, report in reports:
        before, after = report.before_and_after()
        grown = after - before > options.growth
        failed = failed or grown or report.failures > 0
        print(f"process {number}: {report.counts.total():,} answers, {before:.1f} MB before, {after:.1f} MB after"
              + f", more than {options.growth:g} MB of growth" * grown)  # fmt: skip
    told = [*crew.failures, *(text for _, report in reports for text in report.wrong)]
    print(f"{sum(report.failures for _, report in reports) + len(crew.failures)} errors and wrong answers")
    for text in told[:_TOLD]:
        print(text)
    missing = [kind for kind in KINDS if not counts[kind]]
    if missing:
        print(f"never asked for: {', '.join(missing)}")
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    both = "both" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    parser = argparse.ArgumentParser(description="A mixed load from many threads and processes, every answer compared.")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--minutes", type=lambda text: 60 * float(text), dest="seconds", default=60.0)
    how_long.add_argument("--seconds", type=float)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=8, help="of each process")
    parser.add_argument("--start", choices=["both", "fork", "spawn"], default=both, help="how processes are started")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=120.0, help="seconds of a request, above which it hangs")
    parser.add_argument("--growth", type=float, default=16.0, help="most MB that the memory of a process may grow")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two lines of progress")
    try:
        return run(parser.parse_args(arguments))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
