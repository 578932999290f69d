"""Versions and the machine, for files that say where a result comes from."""

from __future__ import annotations

import platform
from importlib import metadata

from fastmlp import __version__, threads


def versions() -> dict[str, str]:
    """Versions of what computes, and the system."""
    return {
        "fastmlp": __version__,
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "numba": metadata.version("numba"),
        "llvmlite": metadata.version("llvmlite"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def machine() -> dict[str, str]:
    """The processor, as LLVM calls it, and how many threads compute."""
    import llvmlite.binding as llvm

    return {
        "processor": llvm.get_host_cpu_name(),
        "threads": f"{threads.get_num_threads()} of {threads.available()} cores",
    }
