"""The first layer on rows that are mostly zeros: only the other pixels are multiplied.

Rows are kept compressed (the CSR form): `column` and `value` hold the non-zero inputs of all rows in turn, row i those
from starts[i] to starts[i + 1]. Four fifths of the digits' pixels are zero, so four fifths of the work is gone, and
the sums differ from the dense ones only in their order.
"""

from ._jit import kernel, out_of_line
from .simd import element, fma, load, splat, store


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


@kernel
def sparse_forward(z, z_at, starts, column, value, row, w, w_at, w_row, bias_at, units):
    """One row of z = x w + b, into whole lines of z.

    Four sums a line, since the next product can't wait for the last one's four cycles.
    """
    out_of_line()
    lanes = 64 // z.itemsize
    first, last = element(starts, row), element(starts, row + 1)
    zero = splat(z, 0)
    for j in range(0, units, lanes):
        sum0, sum1, sum2, sum3 = load(w, bias_at + j), zero, zero, zero
        at = w_at + j
        t = first
        while t + 4 <= last:
            sum0 = fma(splat(z, element(value, t)), load(w, at + element(column, t) * w_row), sum0)
            sum1 = fma(splat(z, element(value, t + 1)), load(w, at + element(column, t + 1) * w_row), sum1)
            sum2 = fma(splat(z, element(value, t + 2)), load(w, at + element(column, t + 2) * w_row), sum2)
            sum3 = fma(splat(z, element(value, t + 3)), load(w, at + element(column, t + 3) * w_row), sum3)
            t += 4
        while t < last:
            sum0 = fma(splat(z, element(value, t)), load(w, at + element(column, t) * w_row), sum0)
            t += 1
        store(z, z_at + j, (sum0 + sum1) + (sum2 + sum3))


@kernel
def sparse_gradient(dw, dw_at, dw_row, starts, column, value, row, delta, delta_at, first, last):
    """Add one row's x^T delta to dw, or, where delta holds -rate * delta, straight to w; lanes first to last."""
    out_of_line()
    lanes = 64 // dw.itemsize
    for j in range(first, last, lanes):
        d = load(delta, delta_at + j)
        at = dw_at + j
        for t in range(element(starts, row), element(starts, row + 1)):
            here = at + element(column, t) * dw_row
            store(dw, here, fma(splat(dw, element(value, t)), d, load(dw, here)))
