"""Refuses to be imported in a sub-interpreter, before anything is that can't live in one."""

import importlib


def _is_main() -> bool:
    """Whether this is the process's main interpreter; of a Python that doesn't tell, so it is taken to be."""
    for name in ("_interpreters", "_xxsubinterpreters"):  # the first since Python 3.13
        try:
            module = importlib.import_module(name)
            return bool(module.get_current() == module.get_main())
        except (ImportError, AttributeError):
            continue
    return True


if not _is_main():
    raise ImportError(
        "fastmlp can't run in a sub-interpreter: NumPy and Numba keep one state for the whole process, and a process "
        "with both hangs at its end. Use a thread (training and prediction run without the GIL) or a process instead"
    )
