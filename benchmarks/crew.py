"""The peers' processes, which take turns: only the one that is asked computes.

Keras can have one backend in a process, and two libraries' thread pools disturb each other, so each peer has a process
of its own (worker.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .peers import PEERS

ROOT = Path(__file__).resolve().parent.parent

#: Seconds behind a turn, in which its thread pools stop spinning.
_SETTLE = 0.05

#: Seconds that a worker which no longer answers has to end by itself.
_LAST_WORDS = 5

#: Lines of a dead worker's stderr that are kept.
_LAST_LINES = 8

#: Variables that keep OpenBLAS from choosing the kernels made for this processor: NumPy would look slower than it is.
LEFT_OUT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

#: What sets the number of threads of the libraries' pools, from outside.
_THREADS = ("FASTMLP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
            "TF_NUM_INTRAOP_THREADS")  # fmt: skip


class WorkerDied(Exception):
    """A worker's process ended, or its answer could not be read."""


class _Worker:
    """One peer's process."""

    def __init__(self, name: str, threads: int):
        environment = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
        environment |= dict.fromkeys(_THREADS, str(threads)) | PEERS[name].environment
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            cwd=ROOT,
            text=True,
        )

    def ask(self, command: str, **arguments: Any) -> Any:
        """The answer to a command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": command, **arguments}), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            raise WorkerDied(self._last_lines()) from None

    def _last_lines(self) -> str:
        try:
            self._process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.seek(0)
        lines = [line.rstrip() for line in self._errors if line.strip()]
        return "\n".join([*lines[-_LAST_LINES:], f"exit status {self._process.returncode}"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


class Crew:
    """The workers of some peers; one that dies is reported and left out from then on.

    Args:
        names: Of PEERS.
        threads: Cores that each may use.

    Attributes:
        died: Name -> what it was asked, and the last lines of its stderr.
        start_seconds: Of each peer's process, until its library is imported.
    """

    def __init__(self, names: list[str], threads: int):
        self.died: dict[str, dict[str, str]] = {}
        self.start_seconds: dict[str, float] = {}
        self._workers: dict[str, _Worker] = {}
        for name in names:
            start = time.perf_counter()
            self._workers[name] = _Worker(name, threads)
            self.ask(name, "ready")
            self.start_seconds[name] = time.perf_counter() - start - _SETTLE

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *failure: object) -> None:
        for worker in self._workers.values():
            worker.close()

    @property
    def names(self) -> list[str]:
        """Those who live."""
        return list(self._workers)

    def ask(self, name: str, command: str, **arguments: Any) -> Any:
        """The answer of that worker when all others rest; None if it died, now or before.

        Raises:
            WorkerDied: If it was that of fastmlp, without which there is nothing to compare.
        """
        if name not in self._workers:
            return None
        try:
            answer = self._workers[name].ask(command, **arguments)
        except WorkerDied as error:
            if name == "fastmlp":
                raise
            self.died[name] = {"asked": command, "stderr": str(error)}
            print(f"{name} died when asked to {command}:\n{error}", file=sys.stderr)
            self._workers.pop(name).close()
            return None
        time.sleep(_SETTLE)
        return answer

    def turns(self, number: int, names: list[str]) -> Iterator[str]:
        """These of the living, each round beginning with another."""
        living = [name for name in names if name in self._workers]
        first = number % max(len(living), 1)
        yield from living[first:] + living[:first]
