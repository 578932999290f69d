"""The disk cache of kernels/_jit.py, from outside: every test is about what a new process does."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support import JIT, compiled_only, posix_only

import fastmlp.kernels
from fastmlp.kernels import _jit, disk_cache

pytestmark = pytest.mark.filterwarnings("error")

# A kernel that calls nothing: quick to compile.
SHARE = "from fastmlp.kernels.team import share as f; print(f(100, 8, 1, 3))"
SHARES = "(32, 64)\n"
# And one that goes through activations.py and simd.py.
SIGMOID = """
import numpy as np
from fastmlp.kernels import sigmoid as f
a = np.zeros(3)
f(a, a)
print(*a)
"""
# Appended: what was compiled, and what came from the disk.
COUNT = "; print(sum(f.stats.cache_misses.values()), sum(f.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path):
    """The kernels alone, as a package that may be edited; its import takes half the time of the whole one."""
    root = tmp_path / "package"
    (root / "fastmlp").mkdir(parents=True)
    (root / "fastmlp" / "__init__.py").touch()
    source = Path(_jit.__file__).parent
    shutil.copytree(source, root / "fastmlp" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    return root


class Process:
    """A Python that runs the code and ends."""

    def __init__(self, package, cache, code, *options):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("FASTMLP_", "PYTHON"))}
        environment |= {"PYTHONPATH": str(package), "FASTMLP_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
        folder = package if os.path.isdir(package) else os.path.dirname(package)
        self._process = subprocess.Popen(
            [sys.executable, *options, "-c", code],
            env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ended(self):
        """What it printed, and its lines on stderr."""
        out, err = self._process.communicate(timeout=300)
        assert self._process.returncode == 0, err
        return out, err.splitlines()


def run(*arguments):
    return Process(*arguments).ended()


def files(cache):
    return sorted(cache.rglob("*.nbc"))


def assert_announced(lines):
    assert len(lines) == 1, lines
    assert lines[0].startswith("fastmlp: compiling the kernels")


def edit(package, name, old, new):
    path = package / "fastmlp" / "kernels" / name
    source = path.read_text()
    assert source.count(old) == 1
    path.write_text(source.replace(old, new))


@compiled_only
def test_the_second_process_compiles_nothing_and_says_nothing(package, tmp_path):
    cache = tmp_path / "cache"
    out, lines = run(package, cache, SHARE + COUNT)
    assert out == SHARES + "1 0\n"
    assert_announced(lines)
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(cache)}
    assert len(kept) == 1
    out, lines = run(package, cache, SHARE + COUNT)
    assert out == SHARES + "0 1\n"
    assert lines == []
    assert kept == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(cache)}


@compiled_only
def test_an_edit_to_any_file_below_gives_the_new_result(package, tmp_path):
    cache = tmp_path / "cache"
    assert run(package, cache, SIGMOID)[0] == "0.5 0.5 0.5\n"
    # In the file of the kernel, without moving a line; then two calls deeper, in the vector's exponential.
    edit(package, "activations.py", "return one / (one + exp(-z))", "return one * (one + exp(-z))")
    assert run(package, cache, SIGMOID)[0] == "2.0 2.0 2.0\n"
    edit(package, "simd.py", "_constant(x.type, 0), value)", "_constant(x.type, 0), builder.fadd(value, value))")
    assert run(package, cache, SIGMOID)[0] == "3.0 3.0 3.0\n"
    # And back: what was compiled at first is found again.
    edit(package, "simd.py", "builder.fadd(value, value))", "value)")
    edit(package, "activations.py", "return one * (one + exp(-z))", "return one / (one + exp(-z))")
    out, lines = run(package, cache, SIGMOID)
    assert out == "0.5 0.5 0.5\n"
    assert lines == []


DAMAGES = {
    "zero-length": lambda good, seal: b"",
    "shorter-than-a-checksum": lambda good, seal: good[:20],
    "cut-short": lambda good, seal: good[:-1],
    "garbage": lambda good, seal: bytes(range(256)) * 20,
    "wrong-checksum": lambda good, seal: bytes(32) + good[32:],
    "checksum-of-the-content-alone": lambda good, seal: hashlib.sha256(good[32:]).digest() + good[32:],
    "one-bit": lambda good, seal: good[:5000] + bytes([good[5000] ^ 1]) + good[5001:],
    "not-a-pickle": lambda good, seal: seal(b"not a pickle"),
    "not-a-kernel": lambda good, seal: seal(pickle.dumps(("not", "a", "kernel"))),
    "checksum-of-nothing": lambda good, seal: seal(b""),
}


def twice(x):
    return x + x


def nothing(a, n):
    """As it may be called by address."""
    a[0] = n


@compiled_only
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_ignored_and_replaced(damage, tmp_path, monkeypatch, capsys):
    # Without a process of its own: a new dispatcher looks for the file as a new process does.
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_jit, "KERNELS", {})
    monkeypatch.setattr(_jit, "_said", set())

    def called():
        _jit._said.clear()
        dispatcher = _jit.kernel(twice)
        assert dispatcher(21) == 42
        compiled, loaded = (sum(c.values()) for c in (dispatcher.stats.cache_misses, dispatcher.stats.cache_hits))
        return compiled, loaded, capsys.readouterr().err.splitlines()

    called()
    (path,) = files(tmp_path)
    path.write_bytes(DAMAGES[damage](path.read_bytes(), partial(disk_cache.sealed, path)))
    compiled, loaded, lines = called()
    assert (compiled, loaded) == (1, 0)
    assert_announced(lines)
    assert files(tmp_path) == [path]
    assert called() == (0, 1, [])


@compiled_only
def test_a_process_that_finds_a_damaged_file_compiles_instead(package, tmp_path):
    cache = tmp_path / "cache"
    run(package, cache, SHARE)
    (path,) = files(cache)
    path.write_bytes(path.read_bytes()[:-1])
    out, lines = run(package, cache, SHARE + COUNT, "-W", "error")
    assert out == SHARES + "1 0\n"
    assert_announced(lines)


@compiled_only
@pytest.mark.parametrize("below", [False, True], ids=["the-folder-is-a-file", "below-a-file"])
def test_without_a_writable_folder_it_compiles_and_says_so_once(package, tmp_path, below):
    file = tmp_path / "file"
    file.write_text("no folder")
    cache = file / "cache" if below else file
    # Two signatures: two files that can't be written, one line.
    out, lines = run(package, cache, SHARE + "; print(f(100.0, 8, 1, 3)[0])", "-W", "error")
    assert out == SHARES + "32.0\n"
    assert_announced(lines[:1])
    assert len(lines) == 2
    assert "cannot be kept" in lines[1]
    assert "FASTMLP_CACHE_DIR" in lines[1]
    assert str(cache) in lines[1]
    assert file.read_text() == "no folder"


@compiled_only
def test_a_closed_stderr_is_no_reason_to_fail(package, tmp_path):
    out, _ = run(package, tmp_path / "cache", "import sys; sys.stderr.close(); sys.stderr = None; " + SHARE)
    assert out == SHARES


@compiled_only
def test_sixteen_processes_at_once_on_an_empty_cache_are_all_right(package, tmp_path):
    cache = tmp_path / "cache"
    processes = [Process(package, cache, SHARE, "-W", "error") for _ in range(16)]
    for process in processes:
        out, lines = process.ended()
        assert out == SHARES
        assert len(lines) <= 1  # a late one may find the kernel
    assert len(files(cache)) == 1
    assert list(cache.rglob("*.tmp")) == []
    assert run(package, cache, SHARE + COUNT) == (SHARES + "0 1\n", [])


# A user whom the system doesn't know, as in a container that runs under any number.
HOMELESS = """
import os, pwd
def unknown(*_):
    raise KeyError
pwd.getpwuid = pwd.getpwnam = unknown
for name in ("HOME", "FASTMLP_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
"""


@compiled_only
@pytest.mark.skipif(os.name != "posix", reason="a list of users as POSIX has it")
def test_without_a_home_it_compiles_and_makes_no_folder(package):
    before = sorted(package.rglob("*"))
    out, lines = run(package, "", HOMELESS + SHARE, "-W", "error")
    assert out == SHARES
    assert_announced(lines[:1])
    assert len(lines) == 2
    assert "cannot be kept on disk (this user has no home folder)" in lines[1]
    assert "FASTMLP_CACHE_DIR" in lines[1]
    assert sorted(package.rglob("*")) == before


@compiled_only
def test_kernels_of_a_zip_file_are_compiled_in_each_process(package, tmp_path):
    # Nobody could tell whether what is kept belongs to these sources.
    (tmp_path / "archive").mkdir()
    archive = shutil.make_archive(str(tmp_path / "archive" / "package"), "zip", package)
    out, lines = run(archive, tmp_path / "cache", SHARE, "-W", "error")
    assert out == SHARES
    assert "cannot be kept on disk (the sources of the kernels are no files)" in lines[1]
    assert not (tmp_path / "cache").exists()


@compiled_only
@posix_only
def test_a_process_killed_while_it_writes_leaves_nothing_that_is_used(package, tmp_path):
    cache = tmp_path / "cache"
    kill = "import os, signal; os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
    if os.name == "nt":
        kill = "import os; os.replace = lambda *_: os._exit(9); "
    killed = Process(package, cache, kill + SHARE)
    with pytest.raises(AssertionError):
        killed.ended()
    assert files(cache) == []
    (leftover,) = cache.rglob("*.tmp")
    out, lines = run(package, cache, SHARE + COUNT, "-W", "error")
    assert out == SHARES + "1 0\n"
    assert_announced(lines)
    assert leftover.exists()  # for an hour: it could be another's who is writing
    assert run(package, cache, SHARE + COUNT) == (SHARES + "0 1\n", [])


@compiled_only
@posix_only
def test_a_file_that_everybody_may_write_to_is_replaced_and_said(package, tmp_path):
    cache = tmp_path / "cache"
    run(package, cache, SHARE)
    (path,) = files(cache)
    path.chmod(0o666)
    out, lines = run(package, cache, SHARE + COUNT)
    assert out == SHARES + "1 0\n"
    assert lines[0].startswith(f"fastmlp: kernels are compiled anew: everybody may write to {path}")
    assert_announced(lines[1:])
    assert run(package, cache, SHARE + COUNT) == (SHARES + "0 1\n", [])


@compiled_only
def test_a_folder_in_the_place_of_a_file_costs_a_compilation(package, tmp_path):
    cache = tmp_path / "cache"
    run(package, cache, SHARE)
    (path,) = files(cache)
    path.unlink()
    path.mkdir()
    out, lines = run(package, cache, SHARE + COUNT, "-W", "error")
    assert out == SHARES + "1 0\n"
    assert_announced(lines[:1])
    assert "cannot be kept" in lines[1]
    assert path.is_dir()


@compiled_only
def test_the_folder_says_of_which_versions_it_is(package, tmp_path):
    import numba

    cache = tmp_path / "cache"
    run(package, cache, SHARE)
    (said,) = cache.rglob("versions.txt")
    assert f"Numba {numba.__version__}, llvmlite" in said.read_text()


KEYED = ("processor", "features", "settings", "vectors")


@compiled_only
@pytest.mark.parametrize("changed", [None, *KEYED])
@pytest.mark.parametrize("by_address", [False, True], ids=["called", "by-address"])
def test_a_kernel_is_found_for_the_same_processor_and_settings_only(changed, by_address, tmp_path, monkeypatch, capsys):
    from numba.core import codegen, config

    from fastmlp.kernels.by_address import address

    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_jit, "KERNELS", {})

    def compiled():
        dispatcher = _jit.kernel(nothing)
        if by_address:
            assert address(dispatcher, "ai", "float32") != 0
        else:
            dispatcher(np.zeros(3, np.float32), 1)
        return sum(dispatcher.stats.cache_misses.values())

    assert compiled() == 1
    cpu, magic = codegen.JITCPUCodegen, codegen.JITCPUCodegen.magic_tuple
    if changed == "processor":
        monkeypatch.setattr(cpu, "magic_tuple", lambda self: (magic(self)[0], "another", magic(self)[2]))
    elif changed == "features":
        monkeypatch.setattr(cpu, "magic_tuple", lambda self: (*magic(self)[:2], "+another"))
    elif changed == "settings":
        # In the program, where no variable of the environment tells.
        monkeypatch.setattr(config, "SLP_VECTORIZE", 1)
    elif changed == "vectors":
        monkeypatch.setattr(_jit, "VECTORS", "another")
    assert compiled() == (0 if changed is None else 1)
    capsys.readouterr()


@compiled_only
def test_settings_from_numbas_file_have_files_of_their_own(package, tmp_path, monkeypatch):
    pytest.importorskip("yaml")
    monkeypatch.delenv("NUMBA_BOUNDSCHECK", raising=False)  # which would say the same before
    cache = tmp_path / "cache"
    run(package, cache, SHARE)
    (package / ".numba_config.yaml").write_text("boundscheck: 1\n")
    assert_announced(run(package, cache, SHARE)[1])
    assert len(files(cache)) == 2


@compiled_only
def test_sources_that_changed_after_the_import_are_not_cached_under_their_old_name(package, tmp_path):
    cache = tmp_path / "cache"
    change = f"open({str(package / 'fastmlp/kernels/plan.py')!r}, 'a').write('#\\n')"
    late = f"import fastmlp.kernels.team; {change}; {SHARE}"
    assert run(package, cache, late)[0] == SHARES
    assert files(cache) == []


@compiled_only
def test_settings_that_shape_the_code_have_files_of_their_own(package, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    run(package, cache, SHARE)
    monkeypatch.setenv("NUMBA_OPT", "1")
    assert_announced(run(package, cache, SHARE)[1])
    monkeypatch.delenv("NUMBA_OPT")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")  # says nothing about the code
    assert run(package, cache, SHARE)[1] == []
    assert len(files(cache)) == 2


def test_nothing_is_compiled_or_written_at_import(tmp_path):
    cache = tmp_path / "cache"
    code = (
        "import fastmlp.models; from fastmlp.kernels._jit import KERNELS;"
        "print([name for name, kernel in KERNELS.items() if kernel.overloads], len(KERNELS) > 20)"
    )
    root = Path(fastmlp.__file__).parents[1]
    out, lines = run(root, cache, code, "-W", "error")
    assert out == f"[] {JIT}\n"
    assert lines == []
    assert not cache.exists()


def test_every_kernel_is_listed_and_has_the_cache():
    assert (len(_jit.KERNELS) > 20) == JIT
    for name, kernel in _jit.KERNELS.items():
        assert isinstance(kernel._cache, _jit._DiskCache), name


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "own"))
    assert _jit.cache_folder().parent == tmp_path / "own" / "kernels"
    monkeypatch.delenv("FASTMLP_CACHE_DIR")
    assert _jit.cache_folder().parent == tmp_path / "numba" / "kernels"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert _jit.cache_folder().parent.name == "kernels"


def test_without_the_compiler_kernels_are_plain_functions():
    if JIT:
        pytest.skip("says something about plain Python only")

    def function():
        return 1

    assert _jit.kernel(function) is function
    assert _jit.part(function) is function
    assert fastmlp.kernels.matmul.__name__ == "matmul"
