"""A team of threads that runs one kernel together: who does what, and how they wait for each other.

Every member calls the same kernel with its rank (0 .. size - 1); `share` says which tiles are its own, and
`barrier` holds it until all have arrived. The threads are ordinary Python threads that run without the GIL
(workers.py), so no threading layer of Numba is started that a fork or a second caller could abort.

Each sum belongs to one member and runs in a fixed order, so the result has the same bits for any size.
"""

import sys

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import JIT, kernel
from .simd import element_pointer

# The words of `sync` (int64): how many have arrived, how often all have, whether one failed, each in a cache line of
# its own; whether one met a NaN or an infinity among inputs that were not checked before, and the number, from 1, of
# the batch whose loss was one.
ARRIVED, ROUND, FAILED, NOT_FINITE, DIVERGED = 0, 8, 16, 24, 25
SYNC_SIZE = 32

# A waiting thread spins this often, about 20 us, before it offers its core to others at each further turn:
# on an oversubscribed machine the missing member may need it.
_SPINS = 1000


def _atomic(operation):
    @intrinsic
    def atomic(typingctx, array, index, value):
        def codegen(context, builder, sig, args):
            pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
            value = context.cast(builder, args[2], sig.args[2], types.int64)
            return builder.atomic_rmw(operation, pointer, value, "seq_cst")

        return types.int64(array, index, value), codegen

    return atomic


_atomic_add, _atomic_exchange = _atomic("add"), _atomic("xchg")


@intrinsic
def _atomic_load(typingctx, array, index):
    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, index), codegen


@intrinsic
def _pause(typingctx):
    """Tell the core that this is a waiting loop."""

    def codegen(context, builder, sig, args):
        if builder.module.triple.startswith(("x86_64", "i686")):
            function = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _give_way(typingctx):
    """Let the system run another thread on this core."""
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"

    def codegen(context, builder, sig, args):
        function = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, function, name), [])
        return context.get_dummy_value()

    return types.void(), codegen


if JIT:

    @kernel
    def barrier(sync, size):
        """Wait until all `size` members of the team are here.

        sync   (SYNC_SIZE,) int64, zeros at first, shared by the team
        """
        if size == 1:
            return
        turn = _atomic_load(sync, ROUND)
        if _atomic_add(sync, ARRIVED, 1) == size - 1:
            _atomic_exchange(sync, ARRIVED, 0)
            _atomic_add(sync, ROUND, 1)
            return
        spins = 0
        while _atomic_load(sync, ROUND) == turn and _atomic_load(sync, FAILED) == 0:
            spins += 1
            if spins < _SPINS:
                _pause()
            else:
                _give_way()
else:

    def barrier(sync, size):
        """Without the compiler a team has one member."""


@kernel
def share(count, tile, rank, size):
    """First and last + 1 of the items that are this member's, in whole tiles except at the end."""
    tiles = (count + tile - 1) // tile
    first = tiles * rank // size * tile
    last = tiles * (rank + 1) // size * tile
    return min(first, count), min(last, count)


# ---------------------------------------------------------------------------------------------- denormals

# Bits of the floating-point control word that treat denormal results and inputs as zero.
_FLUSH_X86 = 0x8040  # MXCSR: FTZ and DAZ
_FLUSH_ARM = 1 << 24  # FPCR: FZ


@intrinsic
def _control_word(typingctx):
    def codegen(context, builder, sig, args):
        triple = builder.module.triple
        if triple.startswith("x86_64"):
            word = cgutils.alloca_once(builder, ir.IntType(32))
            function = ir.FunctionType(ir.VoidType(), [word.type])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.x86.sse.stmxcsr"), [word])
            return builder.zext(builder.load(word), ir.IntType(64))
        if triple.startswith(("aarch64", "arm64")):
            function = ir.FunctionType(ir.IntType(64), [])
            return builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.aarch64.get.fpcr"), [])
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(), codegen


@intrinsic
def _set_control_word(typingctx, value):
    def codegen(context, builder, sig, args):
        triple = builder.module.triple
        if triple.startswith("x86_64"):
            word = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(builder.trunc(args[0], ir.IntType(32)), word)
            function = ir.FunctionType(ir.VoidType(), [word.type])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.x86.sse.ldmxcsr"), [word])
        elif triple.startswith(("aarch64", "arm64")):
            function = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
            name = "llvm.aarch64.set.fpcr"
            builder.call(cgutils.get_or_insert_function(builder.module, function, name), [args[0]])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def _flush_bits(typingctx):
    def codegen(context, builder, sig, args):
        triple = builder.module.triple
        bits = 0
        if triple.startswith("x86_64"):
            bits = _FLUSH_X86
        elif triple.startswith(("aarch64", "arm64")):
            bits = _FLUSH_ARM
        return ir.Constant(ir.IntType(64), bits)

    return types.int64(), codegen


if JIT:

    @kernel
    def flush_denormals():
        """Let this thread take denormal numbers for zero; returns the state to restore.

        Sigmoids of raw pixels saturate, a * (1 - a) * delta becomes denormal, and each such operation costs
        over a hundred cycles: 15x on the digits.
        """
        before = _control_word()
        _set_control_word(before | _flush_bits())
        return before

    @kernel
    def restore_denormals(before):
        """Put the floating-point control word back as flush_denormals found it."""
        _set_control_word(before)
else:

    def flush_denormals():
        """NumPy keeps denormals: slower, and equal within rounding."""
        return 0

    def restore_denormals(before):
        """Nothing was changed."""
