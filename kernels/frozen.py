"""The network as it predicts, a row of steps, for compiled code of a user's own; see fastmlp/compiled.py.

Other kernels get arrays from Python. This one is called from machine code, for one sample in the middle of another
loop: it takes addresses, its memory is the stack, and what a network is made of stands in a table, so that it is
compiled once for all networks. A sum over the inputs is eight sums, none of which waits for another: in one, each of
the 784 additions of a layer of 16 units would wait for the one before. Bits differ from predict's, whose order differs.

The floating-point state is left as it is found: denormal numbers, which training flushes, are rare in a trained
network, and they are the caller's business.
"""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import JIT, kernel, out_of_line, part
from .by_address import call_at
from .simd import (
    LINE,
    element,
    fma,
    keep_first,
    lanes,
    load,
    load_as,
    splat,
    splat_element,
    sqrt,
    store,
    sum_lanes,
    where_less,
)

#: Columns of the table of steps. FIRST and SECOND are the offsets in theta of the step's arrays: weights; factor and
#: offset; gamma and beta; slope. ACTIVATION is the address of the forward kernel of what follows, or 0, BIAS the offset
#: of what that adds, and NUMBERS where its numbers begin, as OWN_NUMBERS for the step.
KIND, INPUTS, UNITS, ROW, FIRST, SECOND, BIAS, ACTIVATION, OWN_NUMBERS, NUMBERS = range(10)
COLUMNS = 10

#: Kinds: x w, to which the activation adds the bias; x factor + offset; normalization of a sample; slope below zero;
#: nothing but the activation.
AFFINE, SCALE, LAYER_NORMALIZATION, PRELU, NOTHING = range(5)

#: Inputs of another type than the network's are converted so many at a time.
BLOCK = 1024

#: Widest row of numbers, in elements: two of them and a block lie on the stack, 136 KB in float64. Threads have 512 KB
#: where they have least.
WIDEST = 8192


@intrinsic
def _typed_as(typingctx, like, array):
    """The same memory as numbers of another array's type, where it is that type: what is never run has a type, too."""
    made = types.Array(like.dtype, 1, "C")

    def codegen(context, builder, sig, args):
        source = context.make_array(array)(context, builder, args[1])
        data = builder.bitcast(source.data, context.get_data_type(like.dtype).as_pointer())
        return array_of(context, builder, made, data, cgutils.unpack_tuple(builder, source.shape)[0])

    return made(like, array), codegen


def _as_it_is(like, array):
    """Without the compiler nothing has to have a type."""
    return array


typed_as = _typed_as if JIT else _as_it_is


@part
def clear(a, at, row):
    """Zeros in whole lines."""
    for j in range(at, at + row, lanes(a)):
        store(a, j, splat(a, 0))


@kernel
def add_product(theta, w, row, x, at, k, a, to, whole):
    """a += x w for one sample: k numbers of x, of theta's type, and whole lines of units."""
    out_of_line()
    line, zero = lanes(theta), splat(theta, 0)
    j = 0
    while j + 4 * line <= whole:
        s0, s1, s2, s3, t0, t1, t2, t3 = zero, zero, zero, zero, zero, zero, zero, zero
        p, here = 0, w + j
        while p + 2 <= k:
            f, g, below = splat_element(theta, x, at + p), splat_element(theta, x, at + p + 1), here + row
            s0 = fma(f, load(theta, here), s0)
            s1 = fma(f, load(theta, here + line), s1)
            s2 = fma(f, load(theta, here + 2 * line), s2)
            s3 = fma(f, load(theta, here + 3 * line), s3)
            t0 = fma(g, load(theta, below), t0)
            t1 = fma(g, load(theta, below + line), t1)
            t2 = fma(g, load(theta, below + 2 * line), t2)
            t3 = fma(g, load(theta, below + 3 * line), t3)
            p, here = p + 2, below + row
        if p < k:
            f = splat_element(theta, x, at + p)
            s0 = fma(f, load(theta, here), s0)
            s1 = fma(f, load(theta, here + line), s1)
            s2 = fma(f, load(theta, here + 2 * line), s2)
            s3 = fma(f, load(theta, here + 3 * line), s3)
        store(a, to + j, load(a, to + j) + (s0 + t0))
        store(a, to + j + line, load(a, to + j + line) + (s1 + t1))
        store(a, to + j + 2 * line, load(a, to + j + 2 * line) + (s2 + t2))
        store(a, to + j + 3 * line, load(a, to + j + 3 * line) + (s3 + t3))
        j += 4 * line
    while j < whole:
        s0, s1, s2, s3, t0, t1, t2, t3 = zero, zero, zero, zero, zero, zero, zero, zero
        p, here = 0, w + j
        while p + 8 <= k:
            s0 = fma(splat_element(theta, x, at + p), load(theta, here), s0)
            s1 = fma(splat_element(theta, x, at + p + 1), load(theta, here + row), s1)
            s2 = fma(splat_element(theta, x, at + p + 2), load(theta, here + 2 * row), s2)
            s3 = fma(splat_element(theta, x, at + p + 3), load(theta, here + 3 * row), s3)
            t0 = fma(splat_element(theta, x, at + p + 4), load(theta, here + 4 * row), t0)
            t1 = fma(splat_element(theta, x, at + p + 5), load(theta, here + 5 * row), t1)
            t2 = fma(splat_element(theta, x, at + p + 6), load(theta, here + 6 * row), t2)
            t3 = fma(splat_element(theta, x, at + p + 7), load(theta, here + 7 * row), t3)
            p, here = p + 8, here + 8 * row
        while p < k:
            s0 = fma(splat_element(theta, x, at + p), load(theta, here), s0)
            p, here = p + 1, here + row
        store(a, to + j, load(a, to + j) + (((s0 + s1) + (s2 + s3)) + ((t0 + t1) + (t2 + t3))))
        j += line


@part
def convert(x, at, count, a, to):
    """So many numbers of x, of any type, into a."""
    line = lanes(a)
    p = 0
    while p + line <= count:
        store(a, to + p, load_as(a, x, at + p))
        p += line
    while p < count:
        a[to + p] = a.dtype.type(element(x, at + p))
        p += 1


@part
def begin_sample(steps, theta, x, at, floats):
    """The first step's product, or, where it is another step, the inputs themselves, to floats[0 ...]."""
    k, row, w = steps[0, INPUTS], steps[0, ROW], steps[0, FIRST]
    block = floats.size - BLOCK
    clear(floats, 0, row)
    if steps[0, KIND] != AFFINE:
        convert(x, at, k, floats, 0)
    elif x.dtype == theta.dtype:
        add_product(theta, w, row, typed_as(theta, x), at, k, floats, 0, row)
    else:
        for first in range(0, k, BLOCK):
            count = min(BLOCK, k - first)
            convert(x, at + first, count, floats, block)
            add_product(theta, w + first * row, row, floats, block, count, floats, 0, row)


@part
def scale(theta, a, at, row, factor, offset):
    """a = a factor + offset, whole lines."""
    for j in range(0, row, lanes(a)):
        store(a, at + j, fma(load(a, at + j), load(theta, factor + j), load(theta, offset + j)))


@part
def prelu(theta, a, at, row, slope):
    """Numbers below zero times their slope."""
    zero = splat(a, 0)
    for j in range(0, row, lanes(a)):
        z = load(a, at + j)
        store(a, at + j, where_less(z, zero, load(theta, slope + j) * z, z))


@part
def normalize(theta, numbers, a, at, units, gamma, beta, own):
    """a = gamma (a - mean) / sqrt(variance + epsilon) + beta; with numbers[own + 1] a itself is divided."""
    line, zero = lanes(a), splat(a, 0)
    total, squares = zero, zero
    for j in range(0, units, line):
        total = total + keep_first(load(a, at + j), units - j, zero)
    count = a.dtype.type(units)
    mean = splat(a, sum_lanes(total) / count)
    for j in range(0, units, line):
        centred = keep_first(load(a, at + j) - mean, units - j, zero)
        squares = fma(centred, centred, squares)
    root = sqrt(splat(a, sum_lanes(squares) / count) + splat(a, numbers[own]))
    shift = splat(a, 1) if numbers[own + 1] == 0 else zero
    for j in range(0, units, line):
        centred = load(a, at + j) - shift * mean
        store(a, at + j, fma(centred / root, load(theta, gamma + j), load(theta, beta + j)))


@kernel
def finish_sample(steps, numbers, theta, floats):
    """What is left when begin_sample has been: all further steps. Returns where in floats the output begins."""
    out_of_line()
    here, other = 0, (floats.size - BLOCK) // 2
    for s in range(steps.shape[0]):
        kind, units, row = steps[s, KIND], steps[s, UNITS], steps[s, ROW]
        if kind == AFFINE and s > 0:
            clear(floats, other, row)
            add_product(theta, steps[s, FIRST], row, floats, here, steps[s, INPUTS], floats, other, row)
            here, other = other, here
        elif kind == SCALE:
            scale(theta, floats, here, row, steps[s, FIRST], steps[s, SECOND])
        elif kind == LAYER_NORMALIZATION:
            normalize(theta, numbers, floats, here, units, steps[s, FIRST], steps[s, SECOND], steps[s, OWN_NUMBERS])
        elif kind == PRELU:
            prelu(theta, floats, here, row, steps[s, FIRST])
        if steps[s, ACTIVATION] != 0:
            call_at(steps[s, ACTIVATION], (numbers, steps[s, NUMBERS], floats, floats[:0], here, row, 1, units, theta,
                                           steps[s, BIAS], False))  # fmt: skip
    return here


@kernel
def predict_rows(steps, numbers, theta, x, n, floats, out):
    """Outputs of the network for n samples.

    steps    (steps, 10) int64, see above
    numbers  float64, what activations and normalizations take
    theta    the steps' arrays in rows of whole lines; begins with zeros, as many as the widest row
    x        (n k,) of any real type, read
    floats   (2 wide + BLOCK,) of theta's type, written; wide: the longest row
    out      (n units,), written
    """
    k, units = steps[0, INPUTS], steps[steps.shape[0] - 1, UNITS]
    for i in range(n):
        begin_sample(steps, theta, x, i * k, floats)
        here = finish_sample(steps, numbers, theta, floats)
        for j in range(units):
            out[i * units + j] = floats[here + j]


def array_of(context, builder, array_type, data, count):
    """LLVM value of a flat array of `count` numbers from a pointer on, whose memory is nobody's."""
    array, word = context.make_array(array_type)(context, builder), context.get_value_type(types.intp)
    size = word(context.get_abi_sizeof(context.get_data_type(array_type.dtype)))
    shape, strides = (cgutils.pack_array(builder, [value]) for value in (count, size))
    context.populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
    return array._getvalue()


@intrinsic
def _stack_array(typingctx, like, count):
    """Array of so many numbers that lives as long as the kernel's call; it starts at a line and is not cleared."""
    made = types.Array(like.dtype, 1, "C")

    def codegen(context, builder, sig, args):
        data = builder.alloca(context.get_data_type(like.dtype), args[1])
        data.align = LINE
        return array_of(context, builder, made, data, args[1])

    return made(like, types.int64), codegen


@intrinsic
def _array_at(typingctx, pointer, count):
    """Array of so many numbers from a pointer on."""
    made = types.Array(pointer.dtype, 1, "C")

    def codegen(context, builder, sig, args):
        return array_of(context, builder, made, args[0], args[1])

    return made(pointer, types.int64), codegen


@kernel
def predict_at(head, numbers_at, theta_at, x_at, n, out_at):
    """The same by addresses: what compiled code of others calls.

    head        [steps, size of numbers, size of theta, wide], then the table of steps
    numbers_at, theta_at, x_at, out_at
                of the arrays; their types are the pointers'
    """
    out_of_line()
    count, wide = head[0], head[3]
    table = _array_at(head, 4 + count * COLUMNS)
    steps = table[4:].reshape(count, COLUMNS)
    numbers, theta = _array_at(numbers_at, head[1]), _array_at(theta_at, head[2])
    x = _array_at(x_at, n * steps[0, INPUTS])
    out = _array_at(out_at, n * steps[count - 1, UNITS])
    predict_rows(steps, numbers, theta, x, n, _stack_array(theta, 2 * wide + BLOCK), out)
