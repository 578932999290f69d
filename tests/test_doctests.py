"""The examples in the docstrings run."""

import subprocess
import sys

RUN = """
import doctest, importlib, importlib.util, pkgutil, fastmlp
from fastmlp.kernels._jit import JIT
names = ["fastmlp", *(module.name for module in pkgutil.walk_packages(fastmlp.__path__, "fastmlp."))]
failed = tried = 0
needed = {"fastmlp.sklearn": "sklearn", "fastmlp.tables": "pandas", "fastmlp.saving.onnx": "onnx"}
for part, package in needed.items():
    if not importlib.util.find_spec(package):
        names = [name for name in names if not name.startswith(part)]
for name in names:
    if "__main__" not in name and (JIT or not name.startswith(("fastmlp.kernels", "fastmlp.sklearn"))):
        result = doctest.testmod(importlib.import_module(name))
        failed, tried = failed + result.failed, tried + result.attempted
print(failed, tried)
"""


def test_examples_run(tmp_path):
    # In a process of their own: classes that an example makes are known to the package from then on.
    run = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, cwd=tmp_path)
    failed, tried = map(int, run.stdout.split()[-2:])
    assert not failed, run.stdout
    assert tried > 100
