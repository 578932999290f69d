"""The memory of this process."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """The most that was resident so far."""
    # Linux's own mark for this program: ru_maxrss also knows the process that started it.
    return _status("VmHWM") if _STATUS.exists() else _maximum()


def resident_mb() -> float:
    """What is resident now; where the system doesn't say, the most that was."""
    return _status("VmRSS") if _STATUS.exists() else _maximum()


def _status(key: str) -> float:
    return int(re.search(rf"{key}:\s*(\d+)", _STATUS.read_text())[1]) / 1024  # type: ignore[index]


def _maximum() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
