"""The one decorator of every kernel, and the disk cache behind it.

Numba's own cache looks at one source file at a time, so an edit to a kernel that another file calls would go
unnoticed; it raises where no folder is writable, and two processes can mix up its index. Here the folder's name
is a digest of all sources and versions, a file's name one of function, argument types, processor and settings, and
every file carries its own checksum (disk_cache.py). Whatever goes wrong with the disk, the kernel is compiled instead.
"""

import contextlib
import hashlib
import os
import pickle
import re
import sys
import threading
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding
from numba import types
from numba.core import caching, compiler, config
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from . import disk_cache
from .disk_cache import kernels_folder, source_digest

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

# What Numba's settings say of where it runs, how wide, and what it tells; all others may shape the code.
_WITHOUT_EFFECT = {"CACHE_DIR", "CACHE_LOCATOR_CLASSES", "COLOR_SCHEME", "DEBUG_CACHE", "FULL_TRACEBACKS"}
_WITHOUT_EFFECT |= {"NUMBA_NUM_THREADS", "NUMBA_DEFAULT_NUM_THREADS", "THREADING_LAYER", "THREADING_LAYER_PRIORITY"}


_SETTINGS = sorted(
    name for name in vars(config) if name.isupper() and not name.startswith("CUDA") and name not in _WITHOUT_EFFECT
)


def _options() -> str:
    """Numba's settings as they are now, whether they come from the environment, its file or the program."""
    values = vars(config)
    return repr((VECTORS, [(name, values.get(name)) for name in _SETTINGS]))


_SOURCES = Path(__file__).parent
# Taken when the kernels are imported, so it names the code that is in memory.
_SOURCE_DIGEST = source_digest(_SOURCES)
_VERSIONS = {
    "Python": sys.version.split()[0],
    "Numba": numba.__version__,
    "llvmlite": llvmlite.__version__,
    "NumPy": np.__version__,
}
_BUILD = (
    sys.version_info[:2],
    sys.implementation.cache_tag,
    getattr(sys, "abiflags", ""),
    *list(_VERSIONS.values())[1:],
)
_DIGEST = hashlib.sha256(repr((_SOURCE_DIGEST, _BUILD)).encode()).hexdigest()


def cache_folder() -> Path:
    """Folder of the kernels compiled from these sources by these versions.

    Raises:
        FileNotFoundError: If nobody says where, or the sources can't be read, as those of a package in a zip file.
    """
    if _SOURCE_DIGEST is None:
        raise FileNotFoundError("the sources of the kernels are no files")
    return kernels_folder() / _DIGEST[:24]


def _about() -> str:
    """What a folder's digest stands for."""
    package = sys.modules.get(__package__.partition(".")[0])
    versions = {"fastmlp": getattr(package, "__version__", "?"), **_VERSIONS}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


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
        """The file of a function for these types, processor (its name and features) and settings."""
        key = repr((self._name, self._line, str(signature), codegen.magic_tuple(), _options()))
        name = re.sub(r"[^\w.]", "_", self._name)[:80]  # "<locals>" is no name for a file everywhere
        return cache_folder() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.nbc"

    def load_overload(self, sig, target_context):
        target_context.refresh()
        try:
            payload = disk_cache.read(self._path(sig, target_context.codegen()))
            return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception as error:
            # Not there, unreadable, cut short, another tool's: all mean the same, compile it.
            if isinstance(error, disk_cache.Untrusted):
                _say_once(
                    "untrusted", f"kernels are compiled anew: {error}. Set FASTMLP_CACHE_DIR to a folder of your own"
                )
            _say_once("cold", "compiling the kernels for this machine (some seconds, once) ...")
            return None

    def save_overload(self, sig, data):
        if data.lifted or data.library.has_dynamic_globals:
            return
        where = "on disk"
        try:
            path = self._path(sig, data.codegen)
            where = f"in {path.parent}"
            if source_digest(_SOURCES) != _SOURCE_DIGEST:
                return  # they changed on disk after they were imported
            disk_cache.write(path, caching.dumps(data._reduce()), _about())
        except Exception as error:
            _say_once(
                "unwritable",
                f"compiled kernels cannot be kept {where} ({error}), so every process compiles them anew; "
                "set FASTMLP_CACHE_DIR to a writable folder",
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


def _compile_aside(whole):
    """A dispatcher's method `compile`, `whole`, that a signal can't break off in the middle.

    Signals are heard by the main thread alone. Where one's handler raises, as Ctrl-C's does, inside Numba's compiler,
    Numba's tables stay half written, and inside LLVM it waits for seconds. So the main thread has another one compile,
    and waits. What that has begun it ends, and the next call finds it.
    """

    def compile_(signature):
        # Who holds the compiler's lock compiles something that calls this kernel, and would wait for itself.
        if threading.current_thread() is not threading.main_thread() or global_compiler_lock.is_locked():
            return whole(signature)
        results, errors, done = [], [], threading.Lock()

        def work():
            try:
                results.append(whole(signature))
            except BaseException as error:
                errors.append(error)
            done.release()

        done.acquire()
        threading.Thread(target=work, name="fastmlp compiles", daemon=True).start()
        done.acquire()
        if errors:
            raise errors[0]
        return results[0]

    return compile_


#: Every compiled kernel by name, for warmup() and its test.
KERNELS: dict[str, Any] = {}


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
    dispatcher.compile = _compile_aside(dispatcher.compile)
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
