"""What a file may ask for: arrays no longer than its bytes reach, descriptions that a model can have.

A few bytes can name any number. Sizes are compared with what is there before memory is taken or time spent for them.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np

#: Bytes of the longest description that is read: that of a layer has about a thousand.
LONGEST_DESCRIPTION = 1 << 24

#: Metrics of a model in a file, and thresholds of all of them, of which each has five arrays.
MOST_METRICS, MOST_THRESHOLDS = 100, 1_000_000


def safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a .safetensors file.

    Raises:
        ValueError: If it isn't one, or holds types that NumPy doesn't have.
        OSError: If it can't be read.
    """
    from safetensors import SafetensorError, safe_open

    # Before the file is mapped, which an endless one would be, too.
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        (header,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    if not 0 < header <= size - 8:
        raise ValueError(f"its header should have {header} bytes, the file has {size}")
    try:
        with safe_open(path, framework="np") as opened:
            arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it is no dictionary
            return opened.metadata() or {}, arrays
    except (SafetensorError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from error


def check_metrics(compiled: Any) -> None:
    """ValueError where a description, fastmlp's or Keras's, has metrics that take memory without end."""
    if not isinstance(compiled, dict):
        return
    entries = [entry for key in ("metrics", "weighted_metrics") for entry in _entries(compiled.get(key))]
    if len(entries) > MOST_METRICS:
        raise ValueError(f"it was compiled with {len(entries)} metrics; up to {MOST_METRICS} are read")
    configs = [entry.get("config") for entry in entries if isinstance(entry, dict)]
    counts = [config.get("num_thresholds") for config in configs if isinstance(config, dict)]
    total = sum(count for count in counts if isinstance(count, int))
    if total > MOST_THRESHOLDS:
        raise ValueError(f"its metrics have {total} thresholds together; up to {MOST_THRESHOLDS} are read")


def _entries(given: Any) -> list[Any]:
    """Descriptions of metrics, which Keras also puts into lists and dictionaries by outputs."""
    if isinstance(given, dict) and "class_name" not in given:
        given = list(given.values())
    if not isinstance(given, list):
        return [given]
    return [inner for entry in given for inner in (entry if isinstance(entry, list) else [entry])]
