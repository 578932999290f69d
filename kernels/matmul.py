"""The matrix products of a dense layer; the only file that knows how a product is done.

    forward    z  = x w + b         rows of x, lines of w
    backward   dx = d wT            rows of d, columns of w gathered into lines
    gradient   dw = xT d            columns of x, lines of d; added to dw or straight to w

All three are one form, c[i, j] = start[i, j] + sum_p a[i, p] b[p, j]: the strides of a make its rows or its columns
the rows of the product, and b is packed into panels one line wide and PANEL_ROWS rows deep that stay in the first-level
cache. The innermost `_tile` holds its sums in registers: per step one load of b's line, a broadcast of each row's
a, one fused multiply-add a row.

Every element is summed in the order of p, whatever the tile, the panel or the thread, so none of them changes a bit.
"""

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from ._jit import JIT, kernel, out_of_line, part
from .simd import Vector, element, element_pointer, fma_value, lanes, load, splat_value, store


def _tile_rows():
    """Heights of the register tile, the tallest first: sums, a line of b and a broadcast must fit the registers."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f") or not features.get("sse2"):
        return 12, 6, 3, 1  # 32 registers
    if features.get("avx2"):
        return 6, 4, 2, 1  # 16 registers, a line is two of them
    return 3, 2, 1, 1  # 16 registers, a line is four of them


TALL, MIDDLE, LOW, ONE = _tile_rows()

# Rows of a packed panel: 256 lines are 16 KiB, half of the smallest first-level cache.
PANEL_ROWS = 256


@intrinsic(prefer_literal=True)
def _tile_llvm(
    typingctx, rows, c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, depth
):
    if not isinstance(rows, types.IntegerLiteral):
        return None
    height = rows.literal_value
    vector = Vector(c.dtype)

    def codegen(context, builder, sig, args):
        kinds = sig.args
        vector_type = context.get_value_type(vector)
        align = vector.dtype.bitwidth // 8
        word = ir.IntType(64)

        def number(i):
            return context.cast(builder, args[i], kinds[i], types.int64)

        def origin(i):
            return element_pointer(context, builder, kinds[i], args[i], kinds[i + 1], args[i + 1])

        def line(pointer):
            return builder.bitcast(pointer, vector_type.as_pointer())

        c_pointer, start_pointer, a_pointer, b_pointer = origin(1), origin(4), origin(8), origin(12)
        c_row, start_row, a_row, a_step, b_row, depth = (number(i) for i in (3, 6, 10, 11, 14, 15))
        a_rows = [builder.gep(a_pointer, [builder.mul(a_row, ir.Constant(word, r))]) for r in range(height)]
        starts = [builder.gep(start_pointer, [builder.mul(start_row, ir.Constant(word, r))]) for r in range(height)]
        begin = [builder.load(line(p), align=align) for p in starts]

        before = builder.block
        test = builder.append_basic_block("test")
        body = builder.append_basic_block("body")
        after = builder.append_basic_block("after")
        builder.branch(test)
        builder.position_at_end(test)
        p = builder.phi(word)
        sums = [builder.phi(vector_type) for _ in range(height)]
        p.add_incoming(ir.Constant(word, 0), before)
        for total, first in zip(sums, begin):
            total.add_incoming(first, before)
        builder.cbranch(builder.icmp_signed("<", p, depth), body, after)
        builder.position_at_end(body)
        b_line = builder.load(line(builder.gep(b_pointer, [builder.mul(p, b_row)])), align=align)
        a_at = builder.mul(p, a_step)
        new = []
        for row, total in zip(a_rows, sums):
            broadcast = splat_value(builder, builder.load(builder.gep(row, [a_at])), vector_type)
            new.append(fma_value(builder, broadcast, b_line, total))
        p.add_incoming(builder.add(p, ir.Constant(word, 1)), body)
        for total, value in zip(sums, new):
            total.add_incoming(value, body)
        builder.branch(test)

        builder.position_at_end(after)
        targets = [line(builder.gep(c_pointer, [builder.mul(c_row, ir.Constant(word, r))])) for r in range(height)]
        with builder.if_else(context.is_true(builder, kinds[7], args[7])) as (adding, storing):
            with adding:
                for target, total in zip(targets, sums):
                    builder.store(builder.fadd(builder.load(target, align=align), total), target, align=align)
            with storing:
                for target, total in zip(targets, sums):
                    builder.store(total, target, align=align)
        return context.get_dummy_value()

    arguments = rows, c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, depth
    return types.void(*arguments), codegen


def _tile_numpy(rows, c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, depth):
    line = lanes(c)
    c, start, a, b = c.reshape(-1), start.reshape(-1), a.reshape(-1), b.reshape(-1)
    steps = np.arange(depth)
    b_lines = b[b_at + steps[:, None] * b_row + np.arange(line)]
    for r in range(rows):
        first = start_at + r * start_row
        total = start[first : first + line] + a[a_at + r * a_row + steps * a_step] @ b_lines
        target = c[c_at + r * c_row :][:line]
        target[:] = target + total if add else total


# _tile(rows, c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, depth):
# rows x 1 line of c. Each array comes with the offset of its first element and its strides, in elements: `row` to the
# next row of the product (of b: to the next p), `step` from p to p + 1. With `add` the sums are added to c.
_tile = _tile_llvm if JIT else _tile_numpy


@kernel
def pack(panel, b, b_at, b_row, depth):
    """Copy one line of `depth` rows of b into the panel, row after row."""
    line = lanes(panel)
    for p in range(depth):
        store(panel, p * line, load(b, b_at + p * b_row))


@kernel
def pack_transposed(panel, w, w_at, w_row, columns, depth):
    """The same from the transpose: lane q of the panel's row p is w[q, p]; lanes from `columns` on are zero."""
    line = lanes(panel)
    for q in range(columns):
        for p in range(depth):
            panel[p * line + q] = element(w, w_at + q * w_row + p)
    for q in range(columns, line):
        for p in range(depth):
            panel[p * line + q] = 0


@part
def _column(c, c_at, c_row, start, start_at, start_row, add, a, a_at, a_row, a_step, b, b_at, b_row, rows, depth):
    """One line of c for all rows: tall tiles first, then what is left in ever lower ones."""
    i = 0
    while i + TALL <= rows:
        _tile(TALL, c, c_at + i * c_row, c_row, start, start_at + i * start_row, start_row, add,
              a, a_at + i * a_row, a_row, a_step, b, b_at, b_row, depth)  # fmt: skip
        i += TALL
    if i + MIDDLE <= rows:
        _tile(MIDDLE, c, c_at + i * c_row, c_row, start, start_at + i * start_row, start_row, add,
              a, a_at + i * a_row, a_row, a_step, b, b_at, b_row, depth)  # fmt: skip
        i += MIDDLE
    while i + LOW <= rows:
        _tile(LOW, c, c_at + i * c_row, c_row, start, start_at + i * start_row, start_row, add,
              a, a_at + i * a_row, a_row, a_step, b, b_at, b_row, depth)  # fmt: skip
        i += LOW
    while i < rows:
        _tile(ONE, c, c_at + i * c_row, c_row, start, start_at + i * start_row, start_row, add,
              a, a_at + i * a_row, a_row, a_step, b, b_at, b_row, depth)  # fmt: skip
        i += 1


@kernel
def _product(add, transposed, c, c_at, c_row, start, start_at, start_row,
             a, a_at, a_row, a_step, b, b_at, b_row, rows, columns, depth, panel):  # fmt: skip
    """c[i, j] = start[i, j] + sum_p a[i, p] b[p, j] for `rows` rows and `columns` columns, filled up to whole lines.

    add               the sums are added to c instead, and start must be zero
    transposed        b's memory holds its transpose: b[p, j] lies at b_at + j * b_row + p
    c, start, a, b    flat arrays with the offset of their first element and their strides, in elements: `row` to the
                      next row, `step` from a[i, p] to a[i, p + 1]; a start_row of 0 starts every row alike
    panel             (PANEL_ROWS lines,) scratch of this thread
    """
    out_of_line()
    line = lanes(c)
    # Packing pays once a few tiles share the panel, or where b's rows lie lines apart; the sums are the same.
    packed = transposed or (rows > TALL and b_row > line)
    for j in range(0, columns, line):
        for p in range(0, max(depth, 1), PANEL_ROWS):
            steps = min(PANEL_ROWS, depth - p)
            if transposed:
                pack_transposed(panel, b, b_at + j * b_row + p, b_row, min(line, columns - j), steps)
            elif packed:
                pack(panel, b, b_at + p * b_row + j, b_row, steps)
            if packed:
                b_panel, b_panel_at, b_panel_row = panel, 0, line
            else:
                b_panel, b_panel_at, b_panel_row = b, b_at + p * b_row + j, b_row
            if p == 0 or add:
                begin, begin_at, begin_row = start, start_at + j, start_row
            else:
                begin, begin_at, begin_row = c, c_at + j, c_row
            _column(c, c_at + j, c_row, begin, begin_at, begin_row, add, a, a_at + p * a_step, a_row, a_step,
                    b_panel, b_panel_at, b_panel_row, rows, steps)  # fmt: skip


# NumPy's scalars, since Numba would compile _product anew for each combination of literal ones.
_NO, _YES, _ZERO, _ONE = np.bool_(False), np.bool_(True), np.int64(0), np.int64(1)


@part
def product_forward(z, z_at, z_row, x, x_at, x_row, w, w_at, w_row, bias_at, rows, k, m, panel):
    """z = x w + b: z (rows, m), x (rows, k), w (k, m), b (m,) at bias_at in w's array."""
    _product(_NO, _NO, z, z_at, z_row, w, bias_at, _ZERO, x, x_at, x_row, _ONE, w, w_at, w_row, rows, m, k, panel)


@part
def product_backward(dx, dx_at, dx_row, d, d_at, d_row, w, w_at, w_row, zeros, rows, k, m, panel):
    """dx = d wT: dx (rows, k), d (rows, m), w (k, m)."""
    _product(_NO, _YES, dx, dx_at, dx_row, zeros, _ZERO, _ZERO, d, d_at, d_row, _ONE, w, w_at, w_row, rows, k, m, panel)


@part
def product_gradient(dw, dw_at, dw_row, x, x_at, x_row, d, d_at, d_row, zeros, rows, k, m, panel):
    """dw += xT d: dw (k, m), x (rows, k), d (rows, m)."""
    _product(_YES, _NO, dw, dw_at, dw_row, zeros, _ZERO, _ZERO, x, x_at, _ONE, x_row, d, d_at, d_row, k, m, rows, panel)


@kernel
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
    panel = np.empty(PANEL_ROWS * line, a.dtype)
    zeros = np.zeros(line, a.dtype)
    flat_a, flat_b, flat_out = a.reshape(a.size), b.reshape(b.size), out.reshape(out.size)
    for j in range(0, whole, line):
        _product(_NO, _NO, flat_out, _ZERO + j, m, zeros, _ZERO, _ZERO, flat_a, _ZERO, k, _ONE,
                 flat_b, _ZERO + j, m, n, line, k, panel)  # fmt: skip
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
