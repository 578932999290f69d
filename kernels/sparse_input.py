"""The first layer on rows that are mostly zeros: only the other pixels are multiplied.

Rows are kept compressed (the CSR form): `column` and `value` hold the non-zero inputs of all rows in turn, row i those
from starts[i] to starts[i + 1]. Four fifths of the digits' pixels are zero, so four fifths of the work is gone, and
the sums differ from the dense ones only in their order.
"""

from ._jit import kernel, out_of_line, part
from .simd import LINE, element, fma, lanes, load, prefetch, splat, store


@kernel
def count_nonzero(x, counts):
    """counts[i] = number of non-zero inputs of row i. x (n, k) read, counts (n,) written."""
    for i in range(x.shape[0]):
        count = 0
        for p in range(x.shape[1]):
            count += x[i, p] != 0
        counts[i] = count


@kernel
def compress(x, starts, column, value):
    """Write the non-zero inputs of every row.

    x       (n, k)      read
    starts  (n + 1,)    read: the running sum of count_nonzero
    column   (starts[n],) written: column of each non-zero input
    value   (starts[n],) written
    """
    for i in range(x.shape[0]):
        t = starts[i]
        for p in range(x.shape[1]):
            if x[i, p] != 0:
                column[t] = p
                value[t] = x[i, p]
                t += 1


#: Rows fetched ahead of the one at hand: a microsecond, ten times what memory takes to answer.
AHEAD = 8


@part
def prefetch_row(starts, column, value, order, at):
    """Start fetching the row order[at], if there is one."""
    if at < order.size:
        row = element(order, at)
        begin, end = element(starts, row), element(starts, row + 1)
        for t in range(begin, end, LINE // column.itemsize):
            prefetch(column, t)
        for t in range(begin, end, LINE // value.itemsize):
            prefetch(value, t)


@kernel
def sparse_forward(
    z, z_at, z_row, starts, column, value, order, start, first, last, w, w_at, w_row, bias_at, units
):  # fmt: skip
    """z = x w + b, into whole lines, for the rows order[start + first : start + last].

    z_at, z_row   offset of the row of order[start + first] and the distance to the next

    Four sums a line, since the next product can't wait for the last one's four cycles. Rows come in random order, so
    later ones are fetched ahead: on the digits this halves the time of the pass.
    """
    out_of_line()
    line, zero = lanes(z), splat(z, 0)
    for i in range(first, last):
        row = element(order, start + i)
        prefetch_row(starts, column, value, order, start + i + AHEAD)
        begin, end = element(starts, row), element(starts, row + 1)
        for j in range(0, units, line):
            sum0, sum1, sum2, sum3 = load(w, bias_at + j), zero, zero, zero
            at = w_at + j
            t = begin
            while t + 4 <= end:
                sum0 = fma(splat(z, element(value, t)), load(w, at + element(column, t) * w_row), sum0)
                sum1 = fma(splat(z, element(value, t + 1)), load(w, at + element(column, t + 1) * w_row), sum1)
                sum2 = fma(splat(z, element(value, t + 2)), load(w, at + element(column, t + 2) * w_row), sum2)
                sum3 = fma(splat(z, element(value, t + 3)), load(w, at + element(column, t + 3) * w_row), sum3)
                t += 4
            while t < end:
                sum0 = fma(splat(z, element(value, t)), load(w, at + element(column, t) * w_row), sum0)
                t += 1
            store(z, z_at + (i - first) * z_row + j, (sum0 + sum1) + (sum2 + sum3))


@kernel
def sparse_gradient(
    dw, dw_at, dw_row, starts, column, value, order, start, rows, delta, delta_at, delta_row, first, last
):  # fmt: skip
    """Add x^T delta of the rows order[start : start + rows] to dw, columns from first to last, whole lines.

    dw is the gradient, or w itself where delta holds -rate * delta.
    """
    out_of_line()
    for i in range(rows):
        row = element(order, start + i)
        begin, end = element(starts, row), element(starts, row + 1)
        for j in range(first, last, lanes(dw)):
            d = load(delta, delta_at + i * delta_row + j)
            for t in range(begin, end):
                here = dw_at + j + element(column, t) * dw_row
                store(dw, here, fma(splat(dw, element(value, t)), d, load(dw, here)))
