"""The first layer on rows that are mostly zeros: only the other pixels are multiplied.

Rows are kept compressed (the CSR form, in groups of GROUP): `column` and `value` hold the non-zero inputs of all rows
in turn. Where the inputs are cut into `parts` (see plan.Data), part h of row i are those from starts[i * parts + h] to
the next start, so the whole row ends where the next one begins. A column is kept as the line of w where its row begins.

Four fifths of the digits' pixels are zero, so four fifths of the work is gone, and the sums differ from the dense ones
only in their order.
"""

from ._jit import kernel, out_of_line, part
from .simd import LINE, element, fma, keep_rolled, lanes, load, prefetch_far, splat, splat_element, store

#: Non-zero inputs at a time: every part of a row is filled up to a multiple with zeros.
GROUP = 8


@kernel
def count_columns(x, counts):
    """counts[p] = number of rows whose input p is not zero. x (n, k) read, counts (k,) written."""
    counts[:] = 0
    for i in range(x.shape[0]):
        for p in range(x.shape[1]):
            counts[p] += x[i, p] != 0


@kernel
def count_groups(x, parts, counts):
    """counts[i, h] = GROUP times the groups that the non-zero inputs of row i from parts[h] to parts[h + 1] fill.

    x (n, k) read, parts (h + 1,) read, counts (n, h) written
    """
    for i in range(x.shape[0]):
        for h in range(parts.size - 1):
            count = 0
            for p in range(parts[h], parts[h + 1]):
                count += x[i, p] != 0
            counts[i, h] = (count + GROUP - 1) // GROUP * GROUP


@part
def fill_group(column, value, begin, t, end):
    """Fill up a row, of which begin to t is written, with zeros to its end."""
    for filled in range(t, end):
        column[filled] = column[begin + (filled - t) % (t - begin)]
        value[filled] = 0


@kernel
def compress(x, parts, lines, starts, column, value):
    """Write the non-zero inputs of every row.

    x        (n, k)                     read
    parts    (h + 1,)                   read
    lines    how many lines a row of w has
    starts   (n * h + 1,)               read: the running sum of count_groups
    column   (starts[-1],)              written: column of each non-zero input, times `lines`; those that fill up a
                                        group are zeros in the row's own columns, each in another one, so that none
                                        waits for the last
    value    (starts[-1],)              written
    """
    h = parts.size - 1
    for i in range(x.shape[0]):
        for part_of_row in range(h):
            begin, end = starts[i * h + part_of_row], starts[i * h + part_of_row + 1]
            t = begin
            for p in range(parts[part_of_row], parts[part_of_row + 1]):
                if x[i, p] != 0:
                    column[t] = p * lines
                    value[t] = x[i, p]
                    t += 1
            fill_group(column, value, begin, t, end)


@kernel
def count_groups_of_rows(indptr, indices, values, parts, counts):
    """As count_groups, from rows that are kept without most of their zeros (the CSR form of SciPy).

    indptr (n + 1,), indices (m,), values (m,), parts (h + 1,) read, counts (n, h) written; the indices of a row ascend,
    and lie below parts[h]
    """
    for i in range(counts.shape[0]):
        part_of_row, count = 0, 0
        for t in range(indptr[i], indptr[i + 1]):
            while indices[t] >= parts[part_of_row + 1]:
                counts[i, part_of_row] = (count + GROUP - 1) // GROUP * GROUP
                part_of_row, count = part_of_row + 1, 0
            count += values[t] != 0
        while part_of_row < parts.size - 1:
            counts[i, part_of_row] = (count + GROUP - 1) // GROUP * GROUP
            part_of_row, count = part_of_row + 1, 0


@kernel
def compress_rows(indptr, indices, values, parts, lines, starts, column, value):
    """As compress, from rows that are kept without most of their zeros; see count_groups_of_rows."""
    h = parts.size - 1
    for i in range(indptr.size - 1):
        source = indptr[i]
        for part_of_row in range(h):
            begin, end = starts[i * h + part_of_row], starts[i * h + part_of_row + 1]
            t = begin
            while source < indptr[i + 1] and indices[source] < parts[part_of_row + 1]:
                if values[source] != 0:
                    column[t] = indices[source] * lines
                    value[t] = values[source]
                    t += 1
                source += 1
            fill_group(column, value, begin, t, end)


@kernel
def fetch_ahead(starts, column, value, parts, from_part, to_part, order, first, last):
    """Start fetching some parts of the rows order[first : last], as far as there are any.

    Rows come in random order, and memory takes longer to answer than a row to be computed. For all rows alike their
    usual number of lines is fetched: a loop over exactly their own cost 100 cycles a row for its wrong guesses. They go
    into the second-level cache, since the first is full of weights.
    """
    out_of_line()
    usual = value.size // (starts.size - 1) * (to_part - from_part)
    for i in range(first, min(last, order.size)):
        begin = element(starts, element(order, i) * parts + from_part)
        for t in range(0, usual, LINE // column.itemsize):
            keep_rolled()
            prefetch_far(column, begin + t)
        for t in range(0, usual, LINE // value.itemsize):
            keep_rolled()
            prefetch_far(value, begin + t)


@kernel
def sparse_forward(
    z, z_at, z_row, starts, column, value, parts, from_part, to_part, order, start, first, last, w, w_at, units
):  # fmt: skip
    """z = x w, into whole lines, for the rows order[start + first : start + last] and some parts of the inputs.

    z_at, z_row   offset of the row of order[start + first] and the distance to the next

    Eight sums a line, since the next product can't wait for the last one's four cycles.
    """
    out_of_line()
    line, zero = lanes(z), splat(z, 0)
    for i in range(first, last):
        row = element(order, start + i) * parts
        begin, end = element(starts, row + from_part), element(starts, row + to_part)
        for j in range(0, units, line):
            sum0, sum1, sum2, sum3 = zero, zero, zero, zero
            sum4, sum5, sum6, sum7 = zero, zero, zero, zero
            at = w_at + j
            t = begin
            while t < end:
                keep_rolled()  # rows differ in length, and a remainder would be one more branch to guess wrong
                sum0 = fma(splat_element(z, value, t), load(w, at + element(column, t) * line), sum0)
                sum1 = fma(splat_element(z, value, t + 1), load(w, at + element(column, t + 1) * line), sum1)
                sum2 = fma(splat_element(z, value, t + 2), load(w, at + element(column, t + 2) * line), sum2)
                sum3 = fma(splat_element(z, value, t + 3), load(w, at + element(column, t + 3) * line), sum3)
                sum4 = fma(splat_element(z, value, t + 4), load(w, at + element(column, t + 4) * line), sum4)
                sum5 = fma(splat_element(z, value, t + 5), load(w, at + element(column, t + 5) * line), sum5)
                sum6 = fma(splat_element(z, value, t + 6), load(w, at + element(column, t + 6) * line), sum6)
                sum7 = fma(splat_element(z, value, t + 7), load(w, at + element(column, t + 7) * line), sum7)
                t += 8
            total = ((sum0 + sum1) + (sum2 + sum3)) + ((sum4 + sum5) + (sum6 + sum7))
            store(z, z_at + (i - first) * z_row + j, total)


@part
def add_product(dw, here, value, t, d):
    """dw[here :] += value[t] d."""
    store(dw, here, fma(splat_element(dw, value, t), d, load(dw, here)))


@kernel
def sparse_gradient(
    dw, dw_at, starts, column, value, parts, from_part, to_part, order, start, rows, delta, delta_at, delta_row,
    first, last
):  # fmt: skip
    """Add x^T delta of the rows order[start : start + rows] and some parts of the inputs to dw.

    dw is the gradient, or w itself where delta holds -rate * delta.

    first, last   columns of dw, whole lines
    """
    out_of_line()
    line = lanes(dw)
    for i in range(rows):
        row = element(order, start + i) * parts
        begin, end = element(starts, row + from_part), element(starts, row + to_part)
        for j in range(first, last, line):
            d = load(delta, delta_at + i * delta_row + j)
            at = dw_at + j
            t = begin
            while t < end:
                keep_rolled()
                add_product(dw, at + element(column, t) * line, value, t, d)
                add_product(dw, at + element(column, t + 1) * line, value, t + 1, d)
                add_product(dw, at + element(column, t + 2) * line, value, t + 2, d)
                add_product(dw, at + element(column, t + 3) * line, value, t + 3, d)
                add_product(dw, at + element(column, t + 4) * line, value, t + 4, d)
                add_product(dw, at + element(column, t + 5) * line, value, t + 5, d)
                add_product(dw, at + element(column, t + 6) * line, value, t + 6, d)
                add_product(dw, at + element(column, t + 7) * line, value, t + 7, d)
                t += 8
