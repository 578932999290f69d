"""Packages that only some parts need: imported where these are used, and named where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

#: What packages are called where they are installed, if it isn't the name that is imported.
_CALLED = {"sklearn": "scikit-learn"}


def needed(module: str, extra: str, what: str) -> Any:
    """The module of a package that fastmlp can do without.

    Args:
        module: Its name.
        extra: The extra of fastmlp that installs it.
        what: What needs it, the beginning of the error's sentence.

    Raises:
        ImportError: If it isn't installed; the text says what to install. One that is there but broken says so itself.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name not in (module, package):
            raise
        called = _CALLED.get(package, package)
        raise ImportError(f'{what} needs {called}: pip install "fastmlp[{extra}]"', name=package) from error
