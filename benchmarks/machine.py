"""What ran where."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from fastmlp.kernels.workers import available

PACKAGES = ("numpy", "numba", "llvmlite", "jax", "torch", "scikit-learn", "keras", "tensorflow", "tensorflow-cpu")

_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "neon": "NEON"}


def describe() -> dict[str, Any]:
    """Processor, system and versions."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    features = llvm.get_host_cpu_features()
    return {
        "processor": _processor(),
        "llvm_name": llvm.get_host_cpu_name(),
        "vectors": next((name for feature, name in _VECTORS.items() if features.get(feature)), "SSE2"),
        "cores": os.cpu_count(),
        "threads": available(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
    }


def _processor() -> str:
    """The name it is sold by, where the system tells."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
