"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import fastmlp
from fastmlp.kernels._jit import JIT


def modules():
    names = [module.name for module in pkgutil.walk_packages(fastmlp.__path__, "fastmlp.")]
    return ["fastmlp", *(name for name in names if "__main__" not in name and (JIT or "kernels" not in name))]


@pytest.mark.parametrize("name", modules())
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(importlib.import_module(name), report=True)
    assert failed == 0
