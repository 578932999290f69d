"""The matrix products of a dense layer; the only file that knows how a product is done.

    forward    z  = x w             rows of x, lines of w; in lanes (see plan.py) columns of w, lines of x
    backward   dx = d wT            rows of d, columns of w gathered into lines; in lanes rows of w, lines of d
    gradient   dw = xT d            columns of x, lines of d; added to dw or straight to w

All are one form, c[i, j] = sum_p a[i, p] b[p, j]: the strides of a make its rows or its columns the
rows of the product. c is cut into panels of a few lines' width, those into tiles of a few rows. `_panel` holds a tile's
sums in registers: per step it loads the tile's lines of b, broadcasts each row's a, and does a fused multiply-add for
each row and line. Where b's rows lie far apart, or b is a transpose, a panel of PANEL_LINES lines is copied together
first, which stays in the first-level cache.

Every element is summed in the order of p, whatever the tile, the panel or the thread, so none of them changes a bit.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from . import workers
from ._jit import JIT, VECTORS, allocating_kernel, kernel, out_of_line, part
from .simd import (
    Vector,
    element,
    element_pointer,
    fma_value,
    lanes,
    load,
    prefetch_pointer,
    splat_value,
    store,
    transpose_block,
)
from .team import share

# The register tiles: width in lines -> heights in rows, tallest first, down to one. The sums, a row of b and a
# broadcast must fit the registers. Measured on AVX-512 with operands in cache, in shares of the FMA peak: 6 x 4 lines
# 0.99, 8 x 3, 12 x 2 and 14 x 2 the same, 7 x 4 (spills) 0.87, 16 x 1 (a broadcast per product) 0.88.
TILES: dict[int, tuple[int, ...]] = {
    "avx512f": {16: (1,), 8: (2, 1), 4: (6, 5, 4, 2, 1), 2: (12, 8, 4, 2, 1), 1: (16, 8, 4, 2, 1)},  # 32 registers
    "avx2": {4: (1,), 2: (2, 1), 1: (6, 4, 2, 1)},  # 16 registers, a line is two of them
    "sse2": {2: (1,), 1: (3, 2, 1)},  # 16 registers, a line is four of them
    "other": {4: (1,), 2: (2, 1), 1: (6, 4, 2, 1)},  # 32 registers, a line is four of them
}[VECTORS]

#: What `_panel` does with its sums: they are c, are added to c, or go on from c.
STORE, ADD, CONTINUE = (np.int64(i) for i in range(3))

# Lines of a packed panel: 128 KiB, a part of the second-level cache. A panel for the first level (512 lines) made 0.94
# of it on 1024 x 1024 x 1024, since sums are then stored and loaded more often.
PANEL_LINES = 2048

#: (width, tallest height), the widest first; and the widest that is good for any number of rows.
WIDTHS = tuple((width, heights[0]) for width, heights in sorted(TILES.items(), reverse=True))
WIDEST, TALL = next(pair for pair in WIDTHS if pair[1] > 3 or pair[0] == 1)

# Rows of the product from which packing b pays where its rows are further apart than this many lines.
PACK_ROWS, PACK_LINES = 24, 16


def _opaque(builder, value):
    """The same value, of which LLVM knows nothing.

    Else it derives all row pointers from one by a chain of additions, one cycle each: a 16 x 1 tile then ran at half
    the speed.
    """
    function = ir.FunctionType(value.type, [value.type])
    return builder.call(ir.InlineAsm(function, "", "=r,0", side_effect=False), [value])


_WORD, _BYTE_POINTER = ir.IntType(64), ir.IntType(8).as_pointer()


def _word(value):
    return ir.Constant(_WORD, value)


class _Rows:
    """Pointers to equally distant rows, four to a base register: base + 0, 1, 2 or 3 distances."""

    def __init__(self, builder, base, distance, height):
        self.distances = [_opaque(builder, builder.mul(distance, _word(i))) for i in range(1, min(height, 4))]
        self.bases = [
            _opaque(builder, builder.gep(base, [builder.mul(distance, _word(i))])) for i in range(0, height, 4)
        ]

    def pointer(self, builder, bases, i):
        base = bases[i // 4]
        return builder.gep(base, [self.distances[i % 4 - 1]]) if i % 4 else base


def _emit_tile(builder, vector_type, align, height, width, mode, c, c_row, a, a_row, a_step, b, b_row, depth):
    """One tile, from byte pointers and distances in bytes."""
    size = vector_type.count * align

    def line(pointer, w):
        at = builder.gep(pointer, [_word(w * size)]) if w else pointer
        return builder.bitcast(at, vector_type.as_pointer())

    c_rows = [builder.gep(c, [builder.mul(c_row, _word(i))]) for i in range(height)]
    targets = [(row, w) for row in c_rows for w in range(width)]
    for row, w in targets:  # they are read or written when the sums are done
        prefetch_pointer(builder, builder.gep(row, [_word(w * size)]))
    rows = _Rows(builder, a, a_row, height)

    before = builder.block
    going_on, test, body, after = (builder.append_basic_block(name) for name in ("going_on", "test", "body", "after"))
    builder.cbranch(builder.icmp_signed("==", mode, _word(int(CONTINUE))), going_on, test)
    builder.position_at_end(going_on)
    sums_before = [builder.load(line(*target), align=align) for target in targets]
    builder.branch(test)
    builder.position_at_end(test)
    left, b_now = builder.phi(_WORD), builder.phi(_BYTE_POINTER)
    bases = [builder.phi(_BYTE_POINTER) for _ in rows.bases]
    sums = [builder.phi(vector_type) for _ in targets]
    loop, zero = [left, b_now, *bases, *sums], ir.Constant(vector_type, [0.0] * vector_type.count)
    for phi, value, at_zero in zip(
        loop, [depth, b, *rows.bases, *sums_before], [depth, b, *rows.bases, *(zero for _ in sums)]
    ):
        phi.add_incoming(value, going_on)
        phi.add_incoming(at_zero, before)
    builder.cbranch(builder.icmp_signed(">", left, _word(0)), body, after)

    builder.position_at_end(body)
    b_lines = [builder.load(line(b_now, w), align=align) for w in range(width)]
    new = []
    for i in range(height):
        pointer = builder.bitcast(rows.pointer(builder, bases, i), vector_type.element.as_pointer())
        broadcast = splat_value(builder, builder.load(pointer), vector_type)
        row = sums[i * width : (i + 1) * width]
        new += [fma_value(builder, broadcast, b_line, total) for b_line, total in zip(b_lines, row)]
    forward = [builder.gep(base, [a_step]) for base in bases]
    for phi, value in zip(loop, [builder.sub(left, _word(1)), builder.gep(b_now, [b_row]), *forward, *new]):
        phi.add_incoming(value, body)
    builder.branch(test)

    builder.position_at_end(after)
    with builder.if_else(builder.icmp_signed("==", mode, _word(int(ADD)))) as (adding, storing):
        with adding:
            for target, total in zip(targets, sums):
                value = builder.fadd(builder.load(line(*target), align=align), total)
                builder.store(value, line(*target), align=align)
        with storing:
            for target, total in zip(targets, sums):
                builder.store(total, line(*target), align=align)


def _takes_second(heights):
    """Whether a panel's rows are shared out between its two tallest tiles, so that none is left for lower ones.

    So many of the lower of the two are taken that the taller fill the rest: 32 rows are four tiles of 5 and two of 6,
    not five of 6 and one of 2.
    """
    return len(heights) > 1 and heights[0] - heights[1] == 1 and heights[0] > 4


@intrinsic
def _panel_llvm(typingctx, mode, c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_row, rows, width, depth):
    vector = Vector(c.dtype)

    def codegen(context, builder, sig, args):
        kinds = sig.args
        vector_type = context.get_value_type(vector)
        align = vector.dtype.bitwidth // 8

        def number(i):
            return context.cast(builder, args[i], kinds[i], types.int64)

        def distance(i):
            return builder.mul(number(i), _word(align))

        def origin(i):
            pointer = element_pointer(context, builder, kinds[i], args[i], kinds[i + 1], args[i + 1])
            return builder.bitcast(pointer, _BYTE_POINTER)

        origins, distances = [origin(1), origin(4)], [distance(3), distance(6)]
        a_step, b, b_row = distance(7), origin(8), distance(10)
        mode, rows, width, depth = (number(i) for i in (0, 11, 12, 13))

        for lines, heights in TILES.items():
            with builder.if_then(builder.icmp_signed("==", width, _word(lines))):
                before = builder.block
                test, after = builder.append_basic_block("rows"), builder.append_basic_block("done")
                builder.branch(test)
                builder.position_at_end(test)
                left = builder.phi(_WORD)
                pointers = [builder.phi(_BYTE_POINTER) for _ in origins]
                for phi, value in zip([left, *pointers], [rows, *origins]):
                    phi.add_incoming(value, before)
                for height in heights:
                    fits = builder.icmp_signed(">=", left, _word(height))
                    if height == heights[0] and _takes_second(heights):
                        rest = builder.srem(left, _word(height))
                        seconds = builder.mul(builder.sub(_word(height), rest), _word(height - 1))
                        lower = builder.and_(builder.icmp_signed("!=", rest, _word(0)),
                                             builder.icmp_signed(">=", left, seconds))  # fmt: skip
                        fits = builder.and_(fits, builder.not_(lower))
                    tile, other = builder.append_basic_block("tile"), builder.append_basic_block("lower")
                    builder.cbranch(fits, tile, other)
                    builder.position_at_end(tile)
                    (c, a), (c_row, a_row) = pointers, distances
                    _emit_tile(builder, vector_type, align, height, lines, mode, c, c_row, a, a_row, a_step, b, b_row,
                               depth)  # fmt: skip
                    moved = [builder.gep(p, [builder.mul(d, _word(height))]) for p, d in zip(pointers, distances)]
                    for phi, value in zip([left, *pointers], [builder.sub(left, _word(height)), *moved]):
                        phi.add_incoming(value, builder.block)
                    builder.branch(test)
                    builder.position_at_end(other)
                builder.branch(after)
                builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(mode, c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_row, rows, width, depth), codegen


def _panel_numpy(mode, c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_row, rows, width, depth):
    count = width * lanes(c)
    c, a, b = c.reshape(-1), a.reshape(-1), b.reshape(-1)
    steps = np.arange(depth)
    b_lines = b[b_at + steps[:, None] * b_row + np.arange(count)]
    for i in range(rows):
        total = a[a_at + i * a_row + steps * a_step] @ b_lines
        target = c[c_at + i * c_row :][:count]
        target[:] = total if mode == STORE else target + total


# _panel(mode, c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_row, rows, width, depth):
# `rows` rows and `width` (of TILES) lines of c. Each array comes with the offset of its first element and its
# distances, in elements: `row` to the next row of the product (of b: to the next p), `step` from p to p + 1.
_panel = _panel_llvm if JIT else _panel_numpy


@kernel
def pack(panel, b, b_at, b_row, width, depth):
    """Copy `width` lines of `depth` rows of b into the panel, row after row."""
    line = lanes(panel)
    for p in range(depth):
        for j in range(0, width * line, line):
            store(panel, p * width * line + j, load(b, b_at + p * b_row + j))


@kernel
def pack_transposed(panel, w, w_at, w_row, columns, width, depth):
    """The same from the transpose: element q of the panel's row p is w[q, p]; those from `columns` on are zero."""
    line = lanes(panel)
    row = width * line
    for j in range(0, row, line):
        whole = depth // line * line if j + line <= columns else 0
        for p in range(0, whole, line):
            transpose_block(w, w_at + j * w_row + p, w_row, panel, p * row + j, row)
        for p in range(whole, depth):
            for q in range(j, j + line):
                panel[p * row + q] = element(w, w_at + q * w_row + p) if q < columns else 0


@kernel
def _product(add, transposed, packed, c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_row, rows, columns, depth,
             panel):  # fmt: skip
    """c[i, j] = sum_p a[i, p] b[p, j] for `rows` rows and `columns` columns, filled up to whole lines.

    add          the sums are added to c instead
    transposed   b's memory holds its transpose: b[p, j] lies at b_at + j * b_row + p
    packed       panels of b are copied together; the sums are the same
    c, a, b      flat arrays with the offset of their first element and their strides, in elements: `row` to the next
                 row, `step` from a[i, p] to a[i, p + 1]
    panel        (PANEL_LINES lines,) scratch of this thread, where panels are copied
    """
    out_of_line()
    line = lanes(c)
    j = 0
    while j < columns:
        width = _width((columns - j + line - 1) // line, rows)
        most = PANEL_LINES // width if packed or transposed else max(depth, 1)
        for p in range(0, max(depth, 1), most):
            steps = min(most, depth - p)
            mode = ADD if add else STORE if p == 0 else CONTINUE
            if transposed:
                pack_transposed(panel, b, b_at + j * b_row + p, b_row, columns - j, width, steps)
            elif packed:
                pack(panel, b, b_at + p * b_row + j, b_row, width, steps)
            if packed or transposed:
                b_panel, b_panel_at, b_panel_row = panel, 0, width * line
            else:
                b_panel, b_panel_at, b_panel_row = b, b_at + p * b_row + j, b_row
            _panel(mode, c, c_at + j, c_row, a, a_at + p * a_step, a_row, a_step, b_panel, b_panel_at, b_panel_row,
                   rows, width, steps)  # fmt: skip
        j += width * line


@part
def _width(lines, rows):
    """Width of the next panel where so many lines are left: the widest of TILES that they and the rows fill.

    Few rows take wider ones, since each line needs sums enough that none has to wait for another.
    """
    for width, height in WIDTHS:
        if width <= lines and height >= min(rows, TALL):
            return width
    return 1


@part
def worth_packing(rows, b, b_row):
    """Whether panels of b are worth a copy: used many times, and b's rows lie so far apart that each is on a page."""
    return rows >= PACK_ROWS and b_row > PACK_LINES * lanes(b)


# NumPy's scalars, since Numba would compile _product anew for each combination of literal ones.
_NO, _YES, _ZERO, _ONE = np.bool_(False), np.bool_(True), np.int64(0), np.int64(1)


@part
def product_forward(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, rows, k, m, panel):
    """z = x w: z (rows, m), x (rows, k), w (k, m)."""
    packed = worth_packing(rows, w, w_row)
    _product(_NO, _NO, packed, z, z_at, z_row, x, x_at, x_row, _ONE, w, w_at, w_row, rows, m, k, panel)


@part
def product_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, rows, k, m, panel):
    """dx = d wT: dx (rows, k), d (rows, m), w (k, m)."""
    _product(_NO, _YES, _YES, dx, dx_at, dx_row, d, d_at, d_row, _ONE, w, w_at, w_row, rows, k, m, panel)


@part
def product_gradient(dw, dw_at, dw_row, x, x_at, x_unit, x_sample, d, d_at, d_row, rows, k, m, panel):
    """dw += xT d: dw (k, m), x (rows, k) whose samples and units are x_sample and x_unit apart, d (rows, m)."""
    packed = worth_packing(k, d, d_row)
    _product(_YES, _NO, packed, dw, dw_at, dw_row, x, x_at, x_unit, x_sample, d, d_at, d_row, k, m, rows, panel)


@part
def product_lanes(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, samples, k, m, panel):
    """z = wT x in lanes: z (m, samples), x (k, samples), w (k, m)."""
    packed = worth_packing(m, x, x_row)
    _product(_NO, _NO, packed, z, z_at, z_row, w, w_at, _ONE, w_row, x, x_at, x_row, m, samples, k, panel)


@part
def product_lanes_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, samples, k, m, panel):
    """dx = w d in lanes: dx (k, samples), d (m, samples), w (k, m)."""
    packed = worth_packing(k, d, d_row)
    _product(_NO, _NO, packed, dx, dx_at, dx_row, w, w_at, w_row, _ONE, d, d_at, d_row, k, samples, m, panel)


@kernel
def matmul_block(a, b, out, first, last, left, right, panel):
    """Rows first to last and columns left to right, whole lines, of out = a b; panel is used if that is not empty."""
    k, m = b.shape
    _product(_NO, _NO, panel.size > 0, out.reshape(out.size), first * m + left, m, a.reshape(a.size), first * k, k,
             _ONE, b.reshape(b.size), left, m, last - first, right - left, k, panel)  # fmt: skip


@allocating_kernel
def matmul_share(a, b, out, rank, size):
    """One member's share of out = a b: columns where each gets some panels, else rows."""
    n, m = out.shape
    k, line = a.shape[1], lanes(a)
    first, last, left, right = 0, n, 0, m
    if m >= size * WIDEST * line:
        left, right = share(m, WIDEST * line, rank, size)
    else:
        first, last = share(n, TALL, rank, size)
    whole = left + (right - left) // line * line
    if first < last and left < whole:
        if worth_packing(last - first, b, m):
            matmul_block(a, b, out, first, last, left, whole, np.empty(PANEL_LINES * line, a.dtype))
        else:
            matmul_block(a, b, out, first, last, left, whole, a.reshape(a.size)[:0])
    if whole < right:
        # The last columns don't fill a line: both b's and out's go through a padded copy.
        b_edge, edge = np.zeros((k, line), a.dtype), np.empty((last - first, line), a.dtype)
        for p in range(k):
            for j in range(whole, right):
                b_edge[p, j - whole] = b[p, j]
        matmul_block(a[first:last], b_edge, edge, 0, last - first, 0, line, a.reshape(a.size)[:0])
        for i in range(first, last):
            for j in range(whole, right):
                out[i, j] = edge[i - first, j - whole]


@kernel
def _matmul(a, b, out):
    n, m = out.shape
    if m % lanes(a) == 0 and not worth_packing(n, b, m):
        matmul_block(a, b, out, 0, n, 0, m, a.reshape(a.size)[:0])
    else:  # which makes arrays: counting references to these alone takes longer than a small product
        matmul_share(a, b, out, 0, 1)


# Multiplications from which on a product called from Python is shared among threads, which must be woken first; and
# elements of a below which nothing else is looked at: a small product takes half a microsecond, an attribute a tenth.
_SHARED_FROM, _SMALL = 1 << 22, 1 << 14


def matmul(a, b, out):
    """out = a b.

    a     (n, k)  C-ordered, read
    b     (k, m)  C-ordered, read
    out   (n, m)  C-ordered, written; not a or b

    Called from Python, a large product uses as many threads as fastmlp.set_num_threads allows; called from a kernel,
    the one it is called on. The bits are the same.
    """
    if a.size < _SMALL or a.size * b.shape[1] < _SHARED_FROM:
        _matmul(a, b, out)
    else:
        workers.run(matmul_share, workers.get_num_threads(), workers.NO_BARRIER, a, b, out)


@overload(matmul)
def _matmul_in_kernels(a, b, out):
    return _matmul_alone


def _matmul_alone(a, b, out):
    _matmul(a, b, out)
