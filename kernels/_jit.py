"""The one decorator of every kernel, and the disk cache behind it.

Numba's own cache looks at one source file at a time, so an edit to a kernel that another file calls would go
unnoticed; it raises where no folder is writable, and two processes can mix up its index. Here the folder's name
is a digest of everything that shapes the machine code, a file's name is a digest of function and argument types,
and every file carries its own checksum. Whatever goes wrong with the disk, the kernel is compiled instead.
"""

import contextlib
import hashlib
import os
import pickle
import sys
import tempfile
from pathlib import Path

import llvmlite
import numba
from llvmlite import binding
from numba import types
from numba.core import caching, compiler, config
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

#: False under NUMBA_DISABLE_JIT=1: kernels then run as plain Python, vectors as small NumPy arrays.
JIT = not config.DISABLE_JIT


def features(name: str) -> bool:
    """Whether the machine code may use that processor feature ("avx512f", "avx2", ...).

    Those of this machine, or of NUMBA_CPU_FEATURES if that is set, as the tests do to run the code of a lesser one.
    """
    if config.CPU_FEATURES is not None:
        return f"+{name}" in config.CPU_FEATURES.split(",")
    return bool(binding.get_host_cpu_features().get(name))


#: Which vectors the kernels' tiles are laid out for; where none of them is there, 128 bits and 32 registers as in NEON.
VECTORS = next((name for name in ("avx512f", "avx2", "sse2") if features(name)), "other")

# Variables of Numba that say where or how wide it runs, not what code it makes.
_WITHOUT_EFFECT = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_DEBUG_CACHE")


def _source_digest() -> str:
    """SHA-256 of everything that shapes the machine code: all kernel sources, versions and options."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    options = [
        (name, value)
        for name, value in sorted(os.environ.items())
        if name.startswith("NUMBA_") and name not in _WITHOUT_EFFECT
    ]
    versions = (sys.version_info[:2], sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
    digest.update(repr((versions, options)).encode())
    return digest.hexdigest()


# Taken when the kernels are imported, so it names the code that is in memory.
_DIGEST = _source_digest()


def cache_folder() -> Path:
    """Folder of the compiled kernels: under $FASTMLP_CACHE_DIR, $NUMBA_CACHE_DIR or the user's cache."""
    from platformdirs import user_cache_dir

    base = os.environ.get("FASTMLP_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR") or user_cache_dir("fastmlp", False)
    return Path(base) / "kernels" / _DIGEST[:24]


_said: set[str] = set()


def _say_once(subject: str, text: str) -> None:
    """One line on stderr, once per process and subject; a closed stderr is no reason to fail."""
    if subject in _said:
        return
    _said.add(subject)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"fastmlp: {text}\n")  # not print: without a stderr (None) it would write to stdout
        sys.stderr.flush()


class _DiskCache(caching._Cache):
    """One file per function and signature; a missing, damaged or unwritable file only costs a compilation."""

    def __init__(self, function):
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._line = function.__code__.co_firstlineno

    @property
    def cache_path(self):
        return str(cache_folder())

    def _path(self, signature, codegen) -> Path:
        key = repr((self._name, self._line, str(signature), codegen.magic_tuple()))
        return cache_folder() / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.nbc"

    def load_overload(self, sig, target_context):
        target_context.refresh()
        try:
            content = self._path(sig, target_context.codegen()).read_bytes()
            checksum, payload = content[:32], content[32:]
            if hashlib.sha256(payload).digest() != checksum:
                raise ValueError("the file is damaged")
            return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception:
            # Not there, unreadable, cut short, another tool's: all mean the same, compile it.
            _say_once("cold", "compiling the kernels for this machine (some seconds, once) ...")
            return None

    def save_overload(self, sig, data):
        if data.lifted or data.library.has_dynamic_globals or _source_digest() != _DIGEST:
            return  # the last: the sources changed on disk after they were imported
        try:
            path = self._path(sig, data.codegen)
            path.parent.mkdir(parents=True, exist_ok=True)
            payload = caching.dumps(data._reduce())
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(payload).digest() + payload)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except Exception as error:
            _say_once(
                "unwritable",
                f"compiled kernels cannot be kept in {self.cache_path} ({error}), so every process compiles them "
                "anew; set FASTMLP_CACHE_DIR to a writable folder",
            )

    def enable(self):
        """Always on; part of Numba's interface."""

    def disable(self):
        """Always on; part of Numba's interface."""

    def flush(self):
        """Nothing to flush: files are never rewritten; part of Numba's interface."""


# A child that is forked while another thread compiles would wait for ever for the lock which that thread held: the fork
# waits until nothing is compiled.
if hasattr(os, "register_at_fork"):
    _locks = [global_compiler_lock, getattr(binding.ffi.lib, "_lock", contextlib.nullcontext())]

    def _release() -> None:
        for lock in reversed(_locks):
            lock.__exit__(None, None, None)

    os.register_at_fork(
        before=lambda: [lock.__enter__() for lock in _locks], after_in_parent=_release, after_in_child=_release
    )


#: Every compiled kernel by name, for warmup() and its test.
KERNELS: dict = {}


def kernel(function, inline="never", allocates=False):
    """Compile with the options that all kernels share, and keep the machine code on disk.

    nogil         other Python threads run meanwhile; the worker team depends on it
    error_model   "numpy": x / 0 is inf or nan, with no test and branch at each division
    fastmath      off: the explicit vectors need none of it, and the same source gives the same bits
    parallel      off: threads come from the team (team.py), which no fork and no concurrent call can abort
    cfunc         no wrapper for C callers: nobody calls it, and it would be compiled with every kernel
    nrt           off: the caller keeps the arrays alive. Counted, each kernel that is called adds to and takes from
                  the counter of each of its arrays, by atomic instructions: two thirds of a small layer's time
    """
    if not JIT:
        return function
    dispatcher = numba.njit(
        nogil=True, error_model="numpy", no_cfunc_wrapper=True, inline=inline, _nrt=allocates
    )(function)  # fmt: skip
    dispatcher._cache = _DiskCache(function)
    KERNELS[f"{function.__module__}.{function.__qualname__}"] = dispatcher
    return dispatcher


def allocating_kernel(function):
    """A kernel that makes arrays of its own, as the public ones do; nothing inside the network may."""
    return kernel(function, allocates=True)


def part(function):
    """A kernel that is a part of others: its lines are put into each one that calls it.

    Numba optimises a whole kernel again in each one that calls it. train() has five levels of calls; compiled as
    kernels of their own they took 21 s for its first call, as parts 10 s.
    """
    return kernel(function, inline="always")


@intrinsic
def _out_of_line(typingctx):
    """Keep LLVM from inlining the function that calls this into its callers, and from making copies of it.

    For a kernel that does real work a call costs nothing, and its copies would have to be compiled: of `_product` alone
    there were four for the constants it is called with.
    """

    def codegen(context, builder, sig, args):
        builder.function.attributes.add("noinline")
        builder.function.attributes.add("noduplicate")
        return context.get_dummy_value()

    return types.void(), codegen


def _stays_in_line():
    """Without the compiler nothing is inlined."""


out_of_line = _out_of_line if JIT else _stays_in_line
