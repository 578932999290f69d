"""Calls of a kernel by its address: how the epoch reaches activations, losses, metrics, optimizers and further layers.

What a network is made of is known when it is compiled by its user, not when the epoch's kernel is. So that kernel holds
none of it: the plan carries the address of each function it needs, which is compiled alone, when first asked for. One
call costs 3 ns, as much as any other; a user's own loss or metric is reached the same way; and the epoch's kernel stays
small, since LLVM optimises all that is linked into a kernel again.

A function is found by its protocol, the arguments that it takes (see PROTOCOLS). Whole numbers and truth values
pass as int64, other numbers as float64, arrays as they are.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import JIT


def _passed(kind):
    """The type in which an argument is passed."""
    if isinstance(kind, (types.Integer, types.Boolean, types.IntegerLiteral, types.BooleanLiteral)):
        return types.int64
    if isinstance(kind, types.Float):
        return types.float64
    return kind


@intrinsic
def _call_at(typingctx, address, arguments):
    passed = tuple(_passed(kind) for kind in arguments.types)

    def codegen(context, builder, sig, values):
        given = cgutils.unpack_tuple(builder, values[1])
        cast = [context.cast(builder, value, own, to) for value, own, to in zip(given, arguments.types, passed)]
        function = context.call_conv.get_function_type(types.none, passed)
        pointer = builder.inttoptr(values[0], function.as_pointer())
        context.call_conv.call_function(builder, pointer, types.none, passed, cast)
        return context.get_dummy_value()

    return types.none(types.int64, arguments), codegen


# Without the compiler an address is a place in this list; 0 is nobody's, as in memory.
_plain: list[Any] = [None]


def _call_plain(address, arguments):
    """Call the function of that address with a tuple of arguments; a truth value would be a mask as an index."""
    _plain[address](*(int(value) if isinstance(value, (bool, np.bool_)) else value for value in arguments))


call_at = _call_at if JIT else _call_plain

# One letter an argument: array of the network's type, array of float64 or of int64, whole number, number.
_LETTERS = {"f": types.Array(types.float64, 1, "C"), "j": types.Array(types.int64, 1, "C"), "i": types.int64,
            "d": types.float64}  # fmt: skip


def address(function, arguments, dtype):
    """Address of a kernel for arrays of that dtype; it is compiled or loaded if it has not been.

    function    a kernel that returns nothing
    arguments   letters of its arguments: a, an array of dtype; f, j, one of float64 or int64; i, d a whole number or a
                number. Arrays are flat and C-ordered.
    dtype       "float32" or "float64"
    """
    if not JIT:
        if function not in _plain:
            _plain.append(function)
        return _plain.index(function)
    array = types.Array(types.float32 if dtype == "float32" else types.float64, 1, "C")
    signature = tuple(array if letter == "a" else _LETTERS[letter] for letter in arguments)
    if signature not in function.overloads:
        function.compile(signature)
    compiled = function.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
