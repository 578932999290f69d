"""The matrix products of a dense layer; the only file that knows how a product is done.

    forward    z  = x w + b         rows of x, lines of w; in lanes (see plan.py) columns of w, lines of x
    backward   dx = d wT            rows of d, columns of w gathered into lines; in lanes rows of w, lines of d
    gradient   dw = xT d            columns of x, lines of d; added to dw or straight to w

All are one form, c[i, j] = start[i, j] + sum_p a[i, p] b[p, j]: the strides of a make its rows or its columns the
rows of the product. c is cut into panels of a few lines' width, those into tiles of a few rows. `_panel` holds a tile's
sums in registers: per step it loads the tile's lines of b, broadcasts each row's a, and does a fused multiply-add for
each row and line. Where b's rows lie far apart, or b is a transpose, a panel of PANEL_LINES lines is copied together
first, which stays in the first-level cache.

Every element is summed in the order of p, whatever the tile, the panel or the thread, so none of them changes a bit.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import JIT, allocating_kernel, features, kernel, out_of_line, part
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

# The register tiles: width in lines -> heights in rows, tallest first. The sums, a row of b and a broadcast must fit
# the registers. Measured on AVX-512 with operands in cache, in shares of the FMA peak: 6 x 4 lines 0.99, 8 x 3, 12 x 2
# and 14 x 2 the same, 7 x 4 (spills) 0.87, 16 x 1 (a broadcast per product) 0.88.
TILES: dict[int, tuple[int, ...]]
if features("avx512f"):  # 32 registers
    TILES = {4: (6, 5, 4, 2, 1), 2: (12, 8, 4, 2, 1), 1: (16, 8, 4, 2, 1)}
elif features("avx2"):  # 16 registers, a line is two of them
    TILES = {1: (6, 4, 2, 1)}
elif features("sse2"):  # 16 registers, a line is four of them
    TILES = {1: (3, 2, 1)}
else:  # NEON: 32 registers, a line is four of them
    TILES = {1: (6, 4, 2, 1)}

WIDEST = max(TILES)
TALLEST = max(max(heights) for heights in TILES.values())

# Lines of a packed panel: 32 KiB, the smallest first-level cache.
PANEL_LINES = 512

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


def _emit_tile(builder, vector_type, align, height, width, c, c_row, start, start_row, add, a, a_row, a_step, b, b_row,
               depth):  # fmt: skip
    """One tile, from byte pointers and distances in bytes."""
    size = vector_type.count * align

    def line(pointer, w):
        at = builder.gep(pointer, [_word(w * size)]) if w else pointer
        return builder.bitcast(at, vector_type.as_pointer())

    c_rows = [builder.gep(c, [builder.mul(c_row, _word(i))]) for i in range(height)]
    start_rows = [builder.gep(start, [builder.mul(start_row, _word(i))]) for i in range(height)]
    for row in c_rows:  # they are read or written when the sums are done
        for w in range(width):
            prefetch_pointer(builder, builder.gep(row, [_word(w * size)]))
    begin = [[builder.load(line(row, w), align=align) for w in range(width)] for row in start_rows]
    rows = _Rows(builder, a, a_row, height)

    before = builder.block
    test, body, after = (builder.append_basic_block(name) for name in ("test", "body", "after"))
    builder.branch(test)
    builder.position_at_end(test)
    left, b_now = builder.phi(_WORD), builder.phi(_BYTE_POINTER)
    bases = [builder.phi(_BYTE_POINTER) for _ in rows.bases]
    sums = [[builder.phi(vector_type) for _ in range(width)] for _ in range(height)]
    loop = [left, b_now, *bases, *(total for row in sums for total in row)]
    for phi, value in zip(loop, [depth, b, *rows.bases, *(first for row in begin for first in row)]):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed(">", left, _word(0)), body, after)

    builder.position_at_end(body)
    b_lines = [builder.load(line(b_now, w), align=align) for w in range(width)]
    new = []
    for i, row in enumerate(sums):
        pointer = builder.bitcast(rows.pointer(builder, bases, i), vector_type.element.as_pointer())
        broadcast = splat_value(builder, builder.load(pointer), vector_type)
        new += [fma_value(builder, broadcast, b_line, total) for b_line, total in zip(b_lines, row)]
    forward = [builder.gep(base, [a_step]) for base in bases]
    for phi, value in zip(loop, [builder.sub(left, _word(1)), builder.gep(b_now, [b_row]), *forward, *new]):
        phi.add_incoming(value, body)
    builder.branch(test)

    builder.position_at_end(after)
    with builder.if_else(add) as (adding, storing):
        with adding:
            for row, totals in zip(c_rows, sums):
                for w, total in enumerate(totals):
                    value = builder.fadd(builder.load(line(row, w), align=align), total)
                    builder.store(value, line(row, w), align=align)
        with storing:
            for row, totals in zip(c_rows, sums):
                for w, total in enumerate(totals):
                    builder.store(total, line(row, w), align=align)


def _next_height(heights, left):
    """Height of the next tile of a panel with so many rows left; a rule that the loop below has in LLVM's terms.

    Where the two tallest differ by one, so many of the lower are taken that the taller fill the rest: 32 rows are four
    tiles of 5 and two of 6, not five of 6 and one of 2.
    """
    tall, second = heights[0], heights[1]
    if tall - second == 1 and left % tall and left >= second * (tall - left % tall):
        return second
    return next(h for h in heights if h <= left)


@intrinsic
def _panel_llvm(
    typingctx,
    c,
    c_at,
    c_row,
    start,
    start_at,
    start_row,
    add,
    a,
    a_at,
    a_row,
    a_step,
    b,
    b_at,
    b_row,
    rows,
    width,
    depth,
):
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

        origins = [origin(i) for i in (0, 3, 7)]
        b, b_row, a_step = origin(11), distance(13), distance(10)
        distances = [distance(i) for i in (2, 5, 9)]
        add, rows, width, depth = context.is_true(builder, kinds[6], args[6]), number(14), number(15), number(16)

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
                tall, second = heights[0], heights[1]
                for height in heights:
                    fits = builder.icmp_signed(">=", left, _word(height))
                    if height == tall and tall - second == 1:
                        rest = builder.srem(left, _word(tall))
                        seconds = builder.mul(builder.sub(_word(tall), rest), _word(second))
                        lower = builder.and_(builder.icmp_signed("!=", rest, _word(0)),
                                             builder.icmp_signed(">=", left, seconds))  # fmt: skip
                        fits = builder.and_(fits, builder.not_(lower))
                    tile, other = builder.append_basic_block("tile"), builder.append_basic_block("lower")
                    builder.cbranch(fits, tile, other)
                    builder.position_at_end(tile)
                    (c, start, a), (c_row, start_row, a_row) = pointers, distances
                    _emit_tile(builder, vector_type, align, height, lines, c, c_row, start, start_row, add,
                               a, a_row, a_step, b, b_row, depth)  # fmt: skip
                    moved = [builder.gep(p, [builder.mul(d, _word(height))]) for p, d in zip(pointers, distances)]
                    for phi, value in zip([left, *pointers], [builder.sub(left, _word(height)), *moved]):
                        phi.add_incoming(value, builder.block)
                    builder.branch(test)
                    builder.position_at_end(other)
                builder.branch(after)
                builder.position_at_end(after)
        return context.get_dummy_value()

    arguments = (c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, rows, width,
                 depth)  # fmt: skip
    return types.void(*arguments), codegen


def _panel_numpy(c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, rows, width,
                 depth):  # fmt: skip
    count = width * lanes(c)
    c, start, a, b = c.reshape(-1), start.reshape(-1), a.reshape(-1), b.reshape(-1)
    steps = np.arange(depth)
    b_lines = b[b_at + steps[:, None] * b_row + np.arange(count)]
    for i in range(rows):
        first = start_at + i * start_row
        total = start[first : first + count] + a[a_at + i * a_row + steps * a_step] @ b_lines
        target = c[c_at + i * c_row :][:count]
        target[:] = target + total if add else total


# _panel(c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, rows, width, depth):
# `rows` rows and `width` (of TILES) lines of c. Each array comes with the offset of its first element and its
# distances, in elements: `row` to the next row of the product (of b: to the next p), `step` from p to p + 1. With `add`
# the sums are added to c.
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
def _product(add, transposed, c, c_at, c_row, start, start_at, start_row,
             a, a_at, a_row, a_step, b, b_at, b_row, rows, columns, depth, panel):  # fmt: skip
    """c[i, j] = start[i, j] + sum_p a[i, p] b[p, j] for `rows` rows and `columns` columns, filled up to whole lines.

    add               the sums are added to c instead, and start must be zero
    transposed        b's memory holds its transpose: b[p, j] lies at b_at + j * b_row + p
    c, start, a, b    flat arrays with the offset of their first element and their strides, in elements: `row` to the
                      next row, `step` from a[i, p] to a[i, p + 1]; a start_row of 0 starts every row alike
    panel             (PANEL_LINES lines,) scratch of this thread
    """
    out_of_line()
    line = lanes(c)
    # The sums are the same, packed or not.
    packed = transposed or (rows >= PACK_ROWS and b_row > PACK_LINES * line)
    j = 0
    while j < columns:
        width = _width((columns - j + line - 1) // line)
        most = PANEL_LINES // width if packed else max(depth, 1)
        for p in range(0, max(depth, 1), most):
            steps = min(most, depth - p)
            if transposed:
                pack_transposed(panel, b, b_at + j * b_row + p, b_row, columns - j, width, steps)
            elif packed:
                pack(panel, b, b_at + p * b_row + j, b_row, width, steps)
            if packed:
                b_panel, b_panel_at, b_panel_row = panel, 0, width * line
            else:
                b_panel, b_panel_at, b_panel_row = b, b_at + p * b_row + j, b_row
            if p == 0 or add:
                begin, begin_at, begin_row = start, start_at + j, start_row
            else:
                begin, begin_at, begin_row = c, c_at + j, c_row
            _panel(c, c_at + j, c_row, begin, begin_at, begin_row, add, a, a_at + p * a_step, a_row, a_step,
                   b_panel, b_panel_at, b_panel_row, rows, width, steps)  # fmt: skip
        j += width * line


@part
def _width(lines):
    """Width of the next panel where so many lines are left: the widest of TILES that they fill, all powers of two."""
    width = WIDEST
    while width > lines:
        width //= 2
    return width


# NumPy's scalars, since Numba would compile _product anew for each combination of literal ones.
_NO, _YES, _ZERO, _ONE = np.bool_(False), np.bool_(True), np.int64(0), np.int64(1)


@part
def product_forward(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, bias, bias_at, rows, k, m, panel):
    """z = x w + b: z (rows, m), x (rows, k), w (k, m), b (m,) at bias_at of its array."""
    _product(_NO, _NO, z, z_at, z_row, bias, bias_at, _ZERO, x, x_at, x_row, _ONE, w, w_at, w_row, rows, m, k, panel)


@part
def product_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, zeros, rows, k, m, panel):
    """dx = d wT: dx (rows, k), d (rows, m), w (k, m)."""
    _product(_NO, _YES, dx, dx_at, dx_row, zeros, _ZERO, _ZERO, d, d_at, d_row, _ONE, w, w_at, w_row, rows, k, m, panel)


@part
def product_gradient(dw, dw_at, dw_row, x, x_at, x_unit, x_sample, d, d_at, d_row, zeros, rows, k, m, panel):
    """dw += xT d: dw (k, m), x (rows, k) whose samples and units are x_sample and x_unit apart, d (rows, m)."""
    _product(_YES, _NO, dw, dw_at, dw_row, zeros, _ZERO, _ZERO, x, x_at, x_unit, x_sample, d, d_at, d_row,
             k, m, rows, panel)  # fmt: skip


@part
def product_lanes(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, zeros, samples, k, m, panel):
    """z = wT x in lanes: z (m, samples), x (k, samples), w (k, m)."""
    _product(_NO, _NO, z, z_at, z_row, zeros, _ZERO, _ZERO, w, w_at, _ONE, w_row, x, x_at, x_row,
             m, samples, k, panel)  # fmt: skip


@part
def product_lanes_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, zeros, samples, k, m, panel):
    """dx = w d in lanes: dx (k, samples), d (m, samples), w (k, m)."""
    _product(_NO, _NO, dx, dx_at, dx_row, zeros, _ZERO, _ZERO, w, w_at, w_row, _ONE, d, d_at, d_row,
             k, samples, m, panel)  # fmt: skip


@allocating_kernel
def matmul(a, b, out):
    """out = a b.

    a     (n, k)  C-ordered, read
    b     (k, m)  C-ordered, read
    out   (n, m)  C-ordered, written; not a or b
    """
    n, k = a.shape
    m = b.shape[1]
    line = lanes(a)
    whole = m // line * line
    panel, zeros = np.empty(PANEL_LINES * line, a.dtype), np.zeros(whole + line, a.dtype)
    flat_a, flat_b, flat_out = a.reshape(a.size), b.reshape(b.size), out.reshape(out.size)
    if whole > 0:
        _product(_NO, _NO, flat_out, _ZERO, m, zeros, _ZERO, _ZERO, flat_a, _ZERO, k, _ONE,
                 flat_b, _ZERO, m, n, whole, k, panel)  # fmt: skip
    if whole < m:
        # The last columns don't fill a line: both b's and out's go through a padded copy.
        b_edge, edge = np.zeros((k, line), a.dtype), np.empty((n, line), a.dtype)
        for p in range(k):
            for j in range(whole, m):
                b_edge[p, j - whole] = b[p, j]
        _product(_NO, _NO, edge.reshape(edge.size), _ZERO, line, zeros, _ZERO, _ZERO, flat_a, _ZERO, k, _ONE,
                 b_edge.reshape(b_edge.size), _ZERO, line, n, line, k, panel)  # fmt: skip
        for i in range(n):
            for j in range(whole, m):
                out[i, j] = edge[i, j - whole]
