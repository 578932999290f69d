"""From rows to lanes and back: a matrix turned, in blocks of as many lines as a line has lanes."""

from ._jit import kernel, out_of_line
from .simd import element, lanes, transpose_block


@kernel
def transpose(source, at, row, rows, columns, target, to, distance):
    """target[j, i] = source[i, j] for `rows` rows and `columns` columns of the source.

    at, to          offsets of the first elements
    row, distance   of two rows of the source, and of the target
    """
    out_of_line()
    line = lanes(source)
    for i in range(0, rows, line):
        for j in range(0, columns, line):
            if i + line <= rows and j + line <= columns:
                transpose_block(source, at + i * row + j, row, target, to + j * distance + i, distance)
            else:
                for p in range(i, min(i + line, rows)):
                    for q in range(j, min(j + line, columns)):
                        target[to + q * distance + p] = element(source, at + p * row + q)
