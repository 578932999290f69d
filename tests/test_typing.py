"""Users' code passes their type checkers in strict mode, so the public names have complete types."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

CODE = Path(__file__).parent / "typing"
PACKAGE = Path(fastmlp.__file__).parent.parent
# Behind each: what it needs.
FILES = {"user_code.py": "numpy", "estimators.py": "sklearn"}


def environment():
    """As a user's, who has installed this package."""
    if not (PACKAGE / "pyproject.toml").exists():
        return {**os.environ}
    return {**os.environ, "MYPYPATH": str(PACKAGE), "PYTHONPATH": str(PACKAGE)}


@pytest.fixture(params=FILES)
def code(request, tmp_path):
    """A folder that holds a file of users' code and nothing else."""
    if importlib.util.find_spec(FILES[request.param]) is None:
        pytest.skip(f"there is no {FILES[request.param]}")
    shutil.copy(CODE / request.param, tmp_path)
    return tmp_path / request.param


def test_mypy_finds_nothing(code):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent"]
    config = PACKAGE / "pyproject.toml"
    if config.exists():
        command += ["--config-file", str(config)]
    ran = subprocess.run(
        [*command, code.name], cwd=code.parent, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_pyright_finds_nothing(code):
    pytest.importorskip("pyright")
    # It is a program for Node.js, which the package fetches where there is none.
    if shutil.which("node") is None:
        pytest.skip("pyright needs Node.js")
    command = [sys.executable, "-m", "pyright", "--project", str(code.parent)]
    settings = {"include": [code.name], "typeCheckingMode": "strict", "extraPaths": [str(PACKAGE)]}
    (code.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    try:
        version = subprocess.run([*command[:3], "--version"], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("pyright does not start")
    if version.returncode != 0:
        pytest.skip(f"pyright does not start: {version.stderr[-300:]}")
    ran = subprocess.run(command, cwd=code.parent, env=environment(), capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 errors" in ran.stdout


def test_the_code_runs(code):
    ran = subprocess.run([sys.executable, str(code)], env=environment(), capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
