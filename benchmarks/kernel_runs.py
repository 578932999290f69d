"""The kernels' own benchmarks, test_kernels.py, as the report keeps them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .crew import LEFT_OUT, ROOT

#: Of the statistics of pytest-benchmark, in seconds.
_STATISTICS = ("min", "median", "iqr", "rounds")

_QUICKLY = ("--benchmark-max-time=0.001", "--benchmark-min-rounds=1", "--benchmark-calibration-precision=1")


def measure(folder: Path, smoke: bool) -> dict[str, Any]:
    """Run them; the whole result of pytest-benchmark goes into the folder."""
    path = folder.resolve() / "kernels.json"
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks/test_kernels.py", "--benchmark-only",
               "--benchmark-columns=median,iqr,rounds", f"--benchmark-json={path}", "-p", "no:cacheprovider",
               *(_QUICKLY if smoke else ())]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr)
    runs = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    kernels, ceilings = [], {}
    for run in runs:
        extra = run["extra_info"]
        ceilings = extra.pop("ceilings")
        kernels.append(extra | {"seconds": {name: run["stats"][name] for name in _STATISTICS}})
    return {"ceilings": ceilings, "kernels": kernels, "failed": done.returncode != 0}
