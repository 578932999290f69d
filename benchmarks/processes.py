"""What whole processes of fastmlp take: their start, with and without compiled kernels, and their memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from .crew import ROOT


def starts(rows: int | None, repeats: int) -> dict[str, Any]:
    """See start.py: cold, with nothing compiled yet, and then so often from the disk cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"FASTMLP_CACHE_DIR": folder}
        arguments = [] if rows is None else [str(rows)]
        cold, *cached = (_run("benchmarks.start", arguments, environment) for _ in range(1 + repeats))
    return {"cold": cold, "cached": cached}


def growth(fits: int, predicts: int) -> dict[str, Any]:
    """See growth.py."""
    grown = _run("benchmarks.growth", [str(fits), str(predicts)], dict(os.environ))
    return {"fits": fits, "predicts": predicts, "megabytes": grown}


def one_row(rounds: int, seconds: float) -> dict[str, Any]:
    """See one_row.py: each way for so many seconds in each round."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return _run("benchmarks.one_row", [str(rounds), str(seconds)], os.environ | one_thread)


def _run(module: str, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])
