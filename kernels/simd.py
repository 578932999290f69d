"""The vector vocabulary: a vector is one cache line, 64 bytes, 16 float32 or 8 float64 lanes.

Kernels are written with it as if they were scalar code. A line is one AVX-512 register, two of AVX2, four of NEON
or SSE: LLVM splits it, so one source serves every machine, and a sum runs in the same order on all of them.
Without the compiler (NUMBA_DISABLE_JIT=1) a vector is a NumPy array of as many elements.

    load store load_first store_first    a line at an element offset of a C-ordered array of any shape, unchecked
    load_as                              the same from an array of another type (uint8 pixels), converted
    element                              one number likewise
    lanes                                numbers in a line of an array's dtype, a constant of the compiled code
    prefetch prefetch_far                start fetching the cache line of an element, into the first or second level
    splat like                           a number in every lane
    splat_element                        a number of an array of any type likewise
    keep_rolled                          in a loop of unknown length that must not be unrolled
    + - * / unary-    fma maximum minimum keep_first
    where_less where_at_most where_equal choose per lane by a comparison; none holds for NaN
    exp log tanh                         accurate to 2 ulp (float32 and float64), NaN kept
    sqrt absolute                        exact
    random_line                          uniform in [0, 1), a function of a key and an index alone
    sum_lanes max_lanes                  across a vector
    transpose_block                      a square of lines from one array into another, turned
"""

import math
import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

from ._jit import JIT

#: Bytes of a vector, and of the alignment and padding of every row of the network's own arrays.
LINE = 64


class Vector(types.Type):
    """Numba type of a line of float32 or float64."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = LINE * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        element = manager.lookup(fe_type.dtype).get_data_type()
        super().__init__(manager, fe_type, ir.VectorType(element, fe_type.lanes))


def call_llvm(builder, name, result, arguments):
    """Call the LLVM intrinsic of that full name; the argument types are those of the values."""
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def element_pointer(context, builder, array_type, array, index_type, index):
    """Pointer to the element at a flat offset, without bounds or wrap-around code."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [context.cast(builder, index, index_type, types.intp)])


def splat_value(builder, scalar, vector_type):
    """A scalar LLVM value in every lane."""
    first = builder.insert_element(ir.Constant(vector_type, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), None)
    return builder.shuffle_vector(first, ir.Constant(vector_type, ir.Undefined), zeros)


def fma_value(builder, a, b, c):
    """A * b + c, fused where the machine can (fmuladd, since a true fma is a slow call where it can't)."""
    return call_llvm(builder, f"llvm.fmuladd.{_suffix(a.type)}", a.type, [a, b, c])


def prefetch_pointer(builder, pointer, level=3):
    """Start fetching the cache line at a byte pointer, into the first-level cache (3) or the second (2)."""
    # for reading (0), as data (1)
    numbers = [ir.Constant(ir.IntType(32), number) for number in (0, level, 1)]
    call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *numbers])


def _suffix(vector_type):
    width = 32 if isinstance(vector_type.element, ir.FloatType) else 64
    return f"v{vector_type.count}f{width}"


def _constant(vector_type, value):
    if isinstance(vector_type.element, ir.IntType):
        return ir.Constant(vector_type, [int(value)] * vector_type.count)
    return ir.Constant(vector_type, [float(value)] * vector_type.count)


def _bits_type(vector_type):
    width = 32 if isinstance(vector_type.element, ir.FloatType) else 64
    return ir.VectorType(ir.IntType(width), vector_type.count)


def _first_lanes(builder, count, vector_type):
    """Mask of the lanes below count."""
    bits = _bits_type(vector_type)
    lanes = ir.Constant(bits, list(range(bits.count)))
    limit = splat_value(builder, builder.trunc(count, bits.element) if bits.element.width < 64 else count, bits)
    return builder.icmp_signed("<", lanes, limit)


def _vector_of(array):
    return Vector(array.dtype)


# ---------------------------------------------------------------------------------------------- memory


@intrinsic
def _load(typingctx, array, index):
    result = _vector_of(array)

    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        vector_type = context.get_value_type(result)
        return builder.load(builder.bitcast(pointer, vector_type.as_pointer()), align=result.dtype.bitwidth // 8)

    return result(array, index), codegen


@intrinsic
def _store(typingctx, array, index, vector):
    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        pointer = builder.bitcast(pointer, args[2].type.as_pointer())
        builder.store(args[2], pointer, align=vector.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, vector), codegen


@intrinsic
def _load_first(typingctx, array, index, count):
    result = _vector_of(array)

    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        vector_type = context.get_value_type(result)
        pointer = builder.bitcast(pointer, vector_type.as_pointer())
        mask = _first_lanes(builder, context.cast(builder, args[2], sig.args[2], types.int64), vector_type)
        align = ir.Constant(ir.IntType(32), result.dtype.bitwidth // 8)
        name = f"llvm.masked.load.{_suffix(vector_type)}.p0"
        return call_llvm(builder, name, vector_type, [pointer, align, mask, _constant(vector_type, 0)])

    return result(array, index, count), codegen


@intrinsic
def _store_first(typingctx, array, index, vector, count):
    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        pointer = builder.bitcast(pointer, args[2].type.as_pointer())
        mask = _first_lanes(builder, context.cast(builder, args[3], sig.args[3], types.int64), args[2].type)
        align = ir.Constant(ir.IntType(32), vector.dtype.bitwidth // 8)
        name = f"llvm.masked.store.{_suffix(args[2].type)}.p0"
        call_llvm(builder, name, ir.VoidType(), [args[2], pointer, align, mask])
        return context.get_dummy_value()

    return types.void(array, index, vector, count), codegen


@intrinsic
def _load_as(typingctx, like, array, index):
    result = _vector_of(like)

    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[1], args[1], sig.args[2], args[2])
        vector_type = context.get_value_type(result)
        source_type = ir.VectorType(pointer.type.pointee, result.lanes)
        source = builder.load(builder.bitcast(pointer, source_type.as_pointer()), align=array.dtype.bitwidth // 8)
        if array.dtype == result.dtype:
            return source
        if isinstance(array.dtype, types.Float):
            narrower = array.dtype.bitwidth > result.dtype.bitwidth
            return (builder.fptrunc if narrower else builder.fpext)(source, vector_type)
        return (builder.sitofp if array.dtype.signed else builder.uitofp)(source, vector_type)

    return result(like, array, index), codegen


@intrinsic
def _element(typingctx, array, index):
    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        return context.unpack_value(builder, sig.args[0].dtype, pointer)

    return array.dtype(array, index), codegen


@intrinsic
def _lanes(typingctx, array):
    count = LINE * 8 // array.dtype.bitwidth

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.IntType(64), count)

    return types.int64(array), codegen


def _prefetching(level):
    @intrinsic
    def fetch(typingctx, array, index):
        def codegen(context, builder, sig, args):
            pointer = element_pointer(context, builder, sig.args[0], args[0], sig.args[1], args[1])
            prefetch_pointer(builder, builder.bitcast(pointer, ir.IntType(8).as_pointer()), level)
            return context.get_dummy_value()

        return types.void(array, index), codegen

    return fetch


@intrinsic
def _splat(typingctx, array, number):
    result = array if isinstance(array, Vector) else _vector_of(array)

    def codegen(context, builder, sig, args):
        scalar = context.cast(builder, args[1], sig.args[1], result.dtype)
        return splat_value(builder, scalar, context.get_value_type(result))

    return result(array, number), codegen


@intrinsic
def _splat_element(typingctx, like, array, index):
    result = _vector_of(like)

    def codegen(context, builder, sig, args):
        pointer = element_pointer(context, builder, sig.args[1], args[1], sig.args[2], args[2])
        scalar = builder.load(pointer)
        vector_type = context.get_value_type(result)
        if array.dtype == types.uint8:
            # A byte is looked up: its conversion takes a slow move to a vector register first.
            table_type = ir.ArrayType(vector_type.element, 256)
            name = f"fastmlp.bytes.{_suffix(vector_type)}"
            table = builder.module.globals.get(name)
            if table is None:
                table = cgutils.global_constant(builder, name, ir.Constant(table_type, [float(i) for i in range(256)]))
            word = ir.IntType(64)
            pointer = builder.gep(table, [ir.Constant(word, 0), builder.zext(scalar, word)])
            scalar = builder.load(pointer)
        elif array.dtype != result.dtype:
            scalar = context.cast(builder, scalar, array.dtype, result.dtype)
        return splat_value(builder, scalar, vector_type)

    return result(like, array, index), codegen


@intrinsic
def _keep_rolled(typingctx):
    """Keep LLVM from unrolling the loop this stands in."""

    def codegen(context, builder, sig, args):
        assembly = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True)
        builder.call(assembly, [], attrs=("convergent",))
        return context.get_dummy_value()

    return types.void(), codegen


# ---------------------------------------------------------------------------------------------- arithmetic


def _register_operator(function, instruction):
    @infer_global(function)
    class Operator(AbstractTemplate):
        def generic(self, args, kws):
            if all(isinstance(a, Vector) for a in args) and len(set(args)) == 1:
                return signature(args[0], *args)

    def codegen(context, builder, sig, args):
        return getattr(builder, instruction)(*args)

    lower_builtin(function, *([Vector] * (1 if function is operator.neg else 2)))(codegen)


_register_operator(operator.add, "fadd")
_register_operator(operator.sub, "fsub")
_register_operator(operator.mul, "fmul")
_register_operator(operator.truediv, "fdiv")
_register_operator(operator.neg, "fneg")


def _elementwise(emit):
    """Intrinsic of vectors of one type to a vector of that type from emit(builder, *values)."""

    def codegen(context, builder, sig, args):
        return emit(builder, *args)

    typed = {
        2: lambda typingctx, a: (a(a), codegen),
        3: lambda typingctx, a, b: (a(a, b), codegen),
        4: lambda typingctx, a, b, c: (a(a, b, c), codegen),
        5: lambda typingctx, a, b, c, d: (a(a, b, c, d), codegen),
    }
    return intrinsic(typed[emit.__code__.co_argcount])


def _emit_maximum(builder, a, b):
    # Ordered compare: NaN in a passes on, and it is one instruction on x86.
    return builder.select(builder.fcmp_ordered("<", a, b), b, a)


def _emit_minimum(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", a, b), b, a)


def _emit_where_less(builder, a, b, yes, no):
    return builder.select(builder.fcmp_ordered("<", a, b), yes, no)


def _emit_where_at_most(builder, a, b, yes, no):
    return builder.select(builder.fcmp_ordered("<=", a, b), yes, no)


def _emit_where_equal(builder, a, b, yes, no):
    return builder.select(builder.fcmp_ordered("==", a, b), yes, no)


@intrinsic
def _keep_first(typingctx, vector, count, fill):
    def codegen(context, builder, sig, args):
        mask = _first_lanes(builder, context.cast(builder, args[1], sig.args[1], types.int64), args[0].type)
        return builder.select(mask, args[0], args[2])

    return vector(vector, count, fill), codegen


def _reduction(combine):
    """Intrinsic that folds the upper half onto the lower until one lane is left: the order never varies."""

    @intrinsic
    def reduce(typingctx, vector):
        def codegen(context, builder, sig, args):
            value, count = args[0], vector.lanes
            while count > 1:
                count //= 2
                index = ir.VectorType(ir.IntType(32), count)
                lower = builder.shuffle_vector(value, value, ir.Constant(index, list(range(count))))
                upper = builder.shuffle_vector(value, value, ir.Constant(index, list(range(count, 2 * count))))
                value = combine(builder, lower, upper)
            return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

        return vector.dtype(vector), codegen

    return reduce


@intrinsic
def _transpose_block(typingctx, source, source_at, source_row, target, target_at, target_row):
    """Lines i of the source, source_row apart, become lanes i of the target's lines, target_row apart.

    In log2(lanes) rounds of interleaving two lines each: 64 shuffles for 16 x 16 float32.
    """
    vector = _vector_of(source)

    def codegen(context, builder, sig, args):
        vector_type = context.get_value_type(vector)
        align, count = vector.dtype.bitwidth // 8, vector.lanes
        word, index = ir.IntType(64), ir.VectorType(ir.IntType(32), vector.lanes)

        def line(array, at, row, i):
            first = element_pointer(context, builder, sig.args[array], args[array], sig.args[at], args[at])
            distance = context.cast(builder, args[row], sig.args[row], types.int64)
            pointer = builder.gep(first, [builder.mul(distance, ir.Constant(word, i))])
            return builder.bitcast(pointer, vector_type.as_pointer())

        # After interleaving lines i and i + lanes / 2 into lines 2i and 2i + 1, log2(lanes) times, all is turned.
        low = ir.Constant(index, [i // 2 + count * (i % 2) for i in range(count)])
        high = ir.Constant(index, [count // 2 + i // 2 + count * (i % 2) for i in range(count)])
        lines = [builder.load(line(0, 1, 2, i), align=align) for i in range(count)]
        for _ in range(count.bit_length() - 1):
            pairs = list(zip(lines[: count // 2], lines[count // 2 :]))
            lines = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in (low, high)]
        for i, value in enumerate(lines):
            builder.store(value, line(3, 4, 5, i), align=align)
        return context.get_dummy_value()

    return types.void(source, source_at, source_row, target, target_at, target_row), codegen


# ---------------------------------------------------------------------------------------------- exp, log, tanh

# exp(x) = 2^n exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2 + rounding; ln 2 in two parts so that n * high
# is exact (Cody & Waite 1980, ch. 6). float32: the polynomial of Cephes expf; float64: Taylor's, whose
# first left-out term is below 2^-57.
_EXP: dict[int, dict] = {
    32: {
        "log2e": 1.44269504088896341,
        "high": 0.693359375,
        "low": -2.12194440e-4,
        "polynomial": [
            *(1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
            *(1.0, 1.0),
        ],
        "range": (-87.33654, 88.72283),
        "magic": 1.5 * 2.0**23,
        "mantissa": 23,
    },
    64: {
        "log2e": 1.44269504088896341,
        "high": 6.93145751953125e-1,
        "low": 1.42860682030941723212e-6,
        "polynomial": [1.0 / math.factorial(i) for i in range(13, -1, -1)],
        "range": (-708.3964185322641, 709.782712893384),
        "magic": 1.5 * 2.0**52,
        "mantissa": 52,
    },
}

# tanh(x) near 0, where 1 - 2 / (exp(2x) + 1) cancels: x + x z P(z) / Q(z), z = x^2 (Cephes tanhf and tanh).
_TANH = {
    32: (
        [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
        [1.0],
    ),
    64: (
        [-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3],
        [1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3],
    ),
}


# log(x) = n ln 2 + log(m) with x = 2^n m and sqrt(1/2) <= m < sqrt(2). float32: the polynomial of Cephes logf.
# float64: with s = (m - 1) / (m + 1), log(m) = 2 s + 2 s^3 / 3 + 2 s^5 / 5 + ...; |s| < 0.1716, so that the first
# left-out term, of s^23, is below 2^-60. ln 2 in two parts as above, log(m) less its largest term added in between.
_LOG = {
    32: [
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    ],
    64: [2.0 / i for i in range(21, 1, -2)],
}


def _horner(builder, coefficients, x):
    value = _constant(x.type, coefficients[0])
    for coefficient in coefficients[1:]:
        value = fma_value(builder, value, x, _constant(x.type, coefficient))
    return value


def _emit_exp(builder, x):
    bits = _bits_type(x.type)
    table = _EXP[bits.element.width]
    # Adding 1.5 * 2^mantissa rounds to an integer and leaves it in the low bits.
    magic = _constant(x.type, table["magic"])
    shifted = fma_value(builder, x, _constant(x.type, table["log2e"]), magic)
    n = builder.fneg(builder.fsub(shifted, magic))
    r = fma_value(builder, n, _constant(x.type, table["high"]), x)
    r = fma_value(builder, n, _constant(x.type, table["low"]), r)
    value = _horner(builder, table["polynomial"], r)
    # Times 2^n by adding n to the exponent's bits. Outside the normal range: inf, 0, and NaN for NaN.
    exponent = builder.shl(builder.bitcast(shifted, bits), _constant(bits, table["mantissa"]))
    value = builder.bitcast(builder.add(builder.bitcast(value, bits), exponent), x.type)
    lowest, highest = (_constant(x.type, limit) for limit in table["range"])
    value = builder.select(builder.fcmp_ordered("<", x, lowest), _constant(x.type, 0), value)
    too_large = builder.fadd(x, _constant(x.type, math.inf))
    return builder.select(builder.fcmp_unordered(">", x, highest), too_large, value)


def _emit_log(builder, x):
    bits = _bits_type(x.type)
    width = bits.element.width
    mantissa, bias = _EXP[width]["mantissa"], {32: 127, 64: 1023}[width]
    one, zero, half = (_constant(x.type, c) for c in (1, 0, 0.5))
    # Denormals are lifted into the normal range first.
    tiny = builder.fcmp_ordered("<", x, _constant(x.type, 2.0 ** (1 - bias)))
    lift = mantissa + 1
    y = builder.select(tiny, builder.fmul(x, _constant(x.type, 2.0**lift)), x)
    # m = y / 2^n: the exponent's bits, counted from those of sqrt(1/2).
    root = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}[width]
    offset = builder.sub(builder.bitcast(y, bits), _constant(bits, root))
    n = builder.ashr(offset, _constant(bits, mantissa))
    m = builder.bitcast(builder.sub(builder.bitcast(y, bits), builder.shl(n, _constant(bits, mantissa))), x.type)
    n = builder.sitofp(n, x.type)
    n = builder.fsub(n, builder.select(tiny, _constant(x.type, lift), zero))
    high, low = (_constant(x.type, _EXP[width][part]) for part in ("high", "low"))
    f = builder.fsub(m, one)
    square = builder.fmul(f, f)
    if width == 32:
        rest = builder.fmul(builder.fmul(f, square), _horner(builder, _LOG[32], f))
        rest = builder.fsub(fma_value(builder, n, low, rest), builder.fmul(half, square))
    else:
        # log(m) = f - f^2 / 2 + s (f^2 / 2 + r), r the series less its first term (as in FreeBSD's e_log.c)
        s = builder.fdiv(f, builder.fadd(f, _constant(x.type, 2)))
        z = builder.fmul(s, s)
        series = builder.fmul(z, _horner(builder, _LOG[64], z))
        half_square = builder.fmul(half, square)
        rest = builder.fmul(s, builder.fadd(half_square, series))
        rest = builder.fsub(fma_value(builder, n, low, rest), half_square)
    value = fma_value(builder, n, high, builder.fadd(f, rest))
    # log(0) = -inf, log(inf) = inf, NaN below zero and for NaN.
    infinity = _constant(x.type, math.inf)
    value = builder.select(builder.fcmp_ordered("==", x, infinity), x, value)
    value = builder.select(builder.fcmp_ordered("==", x, zero), builder.fneg(infinity), value)
    return builder.select(builder.fcmp_unordered("<", x, zero), _constant(x.type, math.nan), value)


def _emit_sqrt(builder, x):
    return call_llvm(builder, f"llvm.sqrt.{_suffix(x.type)}", x.type, [x])


def _emit_absolute(builder, x):
    return call_llvm(builder, f"llvm.fabs.{_suffix(x.type)}", x.type, [x])


def _emit_tanh(builder, x):
    numerator, denominator = _TANH[_bits_type(x.type).element.width]
    size = _emit_absolute(builder, x)
    one, two = _constant(x.type, 1), _constant(x.type, 2)
    far = builder.fsub(one, builder.fdiv(two, builder.fadd(_emit_exp(builder, builder.fadd(size, size)), one)))
    z = builder.fmul(x, x)
    near = builder.fmul(builder.fmul(x, z), _horner(builder, numerator, z))
    if len(denominator) > 1:
        near = builder.fdiv(near, _horner(builder, denominator, z))
    near = builder.fadd(x, near)
    value = builder.select(builder.fcmp_ordered("<", size, _constant(x.type, 0.625)), near, far)
    # The sign comes last, since near is +0 at -0.
    return call_llvm(builder, f"llvm.copysign.{_suffix(x.type)}", x.type, [value, x])


# ---------------------------------------------------------------------------------------------- random numbers

# Steele, Lea & Flood (2014), OOPSLA: the constants of splitmix64.
_GOLDEN, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _emit_mix(builder, z):
    for shift, factor in ((30, _MIX1), (27, _MIX2)):
        z = builder.mul(builder.xor(z, builder.lshr(z, _constant(z.type, shift))), _constant(z.type, factor))
    return builder.xor(z, builder.lshr(z, _constant(z.type, 31)))


@intrinsic
def _random_line(typingctx, like, key, index):
    """Uniform numbers in [0, 1), lane i that of index + i: splitmix64, its start chosen by the key."""
    vector = _vector_of(like)

    def codegen(context, builder, sig, args):
        element = context.get_data_type(vector.dtype)
        bits = ir.VectorType(ir.IntType(64), vector.lanes)
        key, index = (context.cast(builder, v, t, types.int64) for v, t in zip(args[1:], sig.args[1:]))
        counts = builder.add(splat_value(builder, index, bits), ir.Constant(bits, list(range(1, vector.lanes + 1))))
        start = _emit_mix(builder, splat_value(builder, key, bits))
        z = _emit_mix(builder, builder.add(start, builder.mul(counts, _constant(bits, _GOLDEN))))
        kept = {32: 24, 64: 53}[vector.dtype.bitwidth]
        numbers = builder.uitofp(builder.lshr(z, _constant(bits, 64 - kept)), ir.VectorType(element, vector.lanes))
        return builder.fmul(numbers, _constant(numbers.type, 2.0**-kept))

    return vector(like, key, index), codegen


# ---------------------------------------------------------------------------------------------- names

if JIT:
    random_line = _random_line
    load, store, load_first, store_first, element = _load, _store, _load_first, _store_first, _element
    splat, lanes, load_as, transpose_block = _splat, _lanes, _load_as, _transpose_block
    prefetch, prefetch_far = _prefetching(3), _prefetching(2)
    splat_element, keep_rolled = _splat_element, _keep_rolled
    keep_first = _keep_first
    maximum = _elementwise(_emit_maximum)
    minimum = _elementwise(_emit_minimum)
    where_less = _elementwise(_emit_where_less)
    where_at_most = _elementwise(_emit_where_at_most)
    where_equal = _elementwise(_emit_where_equal)
    fma = _elementwise(fma_value)
    exp = _elementwise(_emit_exp)
    log = _elementwise(_emit_log)
    tanh = _elementwise(_emit_tanh)
    sqrt = _elementwise(_emit_sqrt)
    absolute = _elementwise(_emit_absolute)
    sum_lanes = _reduction(lambda builder, a, b: builder.fadd(a, b))
    max_lanes = _reduction(_emit_maximum)
else:

    def lanes(array):
        return LINE // array.dtype.itemsize

    def prefetch(array, index):
        pass

    prefetch_far = prefetch

    def load(array, index):
        return array.reshape(-1)[index : index + lanes(array)].copy()

    def store(array, index, vector):
        array.reshape(-1)[index : index + vector.size] = vector

    def load_first(array, index, count):
        vector = np.zeros(lanes(array), array.dtype)
        vector[:count] = array.reshape(-1)[index : index + count]
        return vector

    def store_first(array, index, vector, count):
        array.reshape(-1)[index : index + count] = vector[:count]

    def element(array, index):
        return array.reshape(-1)[index]

    def splat(like, number):
        return np.full(lanes(like), number, like.dtype)

    def splat_element(like, array, index):
        return splat(like, element(array, index))

    def keep_rolled():
        pass

    def keep_first(vector, count, fill):
        return np.where(np.arange(vector.size) < count, vector, fill)

    def fma(a, b, c):
        return a * b + c

    def load_as(like, array, index):
        return array.reshape(-1)[index : index + lanes(like)].astype(like.dtype)

    def transpose_block(source, source_at, source_row, target, target_at, target_row):
        source, target, line = source.reshape(-1), target.reshape(-1), lanes(source)
        block = [source[source_at + i * source_row :][:line] for i in range(line)]
        for i, column in enumerate(np.array(block).T):
            target[target_at + i * target_row :][:line] = column

    def where_less(a, b, yes, no):
        return np.where(a < b, yes, no)

    def where_at_most(a, b, yes, no):
        return np.where(a <= b, yes, no)

    def where_equal(a, b, yes, no):
        return np.where(a == b, yes, no)

    def maximum(a, b):
        return np.where(a < b, b, a)  # NaN as the compiled form has it; np.maximum takes it from either

    def minimum(a, b):
        return np.where(a > b, b, a)

    def exp(x):
        # In float64, as NumPy's float32 form is off by up to 2.5 ulp; and infinity is a result, not a fault.
        with np.errstate(over="ignore"):
            return np.exp(x.astype(np.float64)).astype(x.dtype)

    def log(x):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(x.astype(np.float64)).astype(x.dtype)

    def _mix(z):
        for shift, factor in ((30, _MIX1), (27, _MIX2)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return z ^ (z >> np.uint64(31))

    def random_line(like, key, index):
        start = _mix(np.full(lanes(like), key % 2**64, np.uint64))
        z = _mix(start + (np.arange(1, lanes(like) + 1) + index).astype(np.uint64) * np.uint64(_GOLDEN))
        kept = {4: 24, 8: 53}[like.dtype.itemsize]
        return (z >> np.uint64(64 - kept)).astype(like.dtype) * like.dtype.type(2.0**-kept)

    def sqrt(x):
        with np.errstate(invalid="ignore"):
            return np.sqrt(x)

    tanh, absolute, sum_lanes, max_lanes = np.tanh, np.abs, np.sum, np.max
