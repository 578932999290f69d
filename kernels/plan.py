"""The memory contract: what a network looks like to the kernels.

    theta    all parameters, flat; per layer its weights row by row (k rows), then its bias, one row
    acts     per layer the activations of the batch; first room for the batch's inputs as floats
    delta    the same layout: gradient of the loss by z

Every row is padded to whole lines of 64 bytes, so that a row of up to 16 float32 is one line; the padding of the
weights stays zero. Layer l reads the activations l and writes l + 1; 0 is the input.

Activations and deltas lie in one of two forms. Below `turn` they are rows: one per sample, its units side by side. From
`turn` on they are lanes: one row per unit, its samples side by side, so that softmax, losses and metrics need no sums
across a vector and narrow layers fill theirs. Both take the same room. The narrow layers at a network's end, its last
layer at least, are kept in lanes; `turned` then holds their deltas as rows, which the gradients need.
"""

import math
from typing import NamedTuple

import numpy as np

from .matmul import PANEL_LINES
from .simd import LINE


class Plan(NamedTuple):
    """Integer tables of one network; the same types for every depth and width, so one compiled form serves all.

    units        (layers + 1,) inputs, then units of each layer
    row          (layers + 1,) the same as stored, padded: distance of two rows in acts, and in the weights
    offset       (layers + 1,) acts, delta: activations l start at offset[l] * capacity
    weights      (layers,) offset of each layer's weights in theta
    bias         (layers,) offset of its bias
    trained      (layers,) 0 where the bias stays zero
    activation   (layers,) code, see activations.NAMES
    turn         the first activations that are kept in lanes, 1 .. layers
    loss         code, see losses.NAMES
    joint        1 where the loss gives the gradient by z of the last layer
    metrics      (metrics,) codes, see metrics.NAMES
    optimizer    code, see optimizers.NAMES
    """

    units: np.ndarray
    row: np.ndarray
    offset: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    trained: np.ndarray
    activation: np.ndarray
    turn: int
    loss: int
    joint: int
    metrics: np.ndarray
    optimizer: int


class Data(NamedTuple):
    """Samples as the kernels read them.

    x                      (n, k) dense rows, uint8 or theta's dtype; (0, k) where the compressed rows are used
    starts, column, value  the rows compressed (see sparse_input.py); starts is (0,) where the dense rows are used
    parts                  (parts + 1,) where each part of the inputs begins, and k: the first layer's sums of each part
                           are made apart and then added, so that two threads can share them
    labels                 (n,) class indices, or (0,)
    targets                (n, m) values, or (0, m)
    """

    x: np.ndarray
    starts: np.ndarray
    column: np.ndarray
    value: np.ndarray
    parts: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


class Scratch(NamedTuple):
    """What a call writes on the way; made once for batches of up to `capacity` rows.

    capacity      rows, padded; places the layers in acts and delta, and is the distance of two rows of lanes
    acts, delta   see above
    turned        the same layout as rows: deltas of what is kept in lanes
    sums          for each part of the inputs, capacity rows of activations `turn`: their sums over it
    labels        (capacity,) class indices of the batch, in theta's dtype
    targets       capacity rows of the last layer: targets of the batch, in lanes
    gradient      theta's size, or (0,) where the step is added while the gradient is summed
    totals        (lines of capacity, 1 + metrics) float64: losses and metrics of each line of the batch, summed
    panels        (threads, PANEL_LINES lines): packed operand of each thread
    sync          see team.py
    """

    capacity: int
    acts: np.ndarray
    delta: np.ndarray
    turned: np.ndarray
    sums: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    gradient: np.ndarray
    totals: np.ndarray
    panels: np.ndarray
    sync: np.ndarray


def padded(units: int, dtype) -> int:
    """Elements of a stored row: whole lines, and from 8 lines on an odd number of them.

    Rows a power of two apart would all fall into the same few sets of the first-level cache.
    """
    lanes = LINE // np.dtype(dtype).itemsize
    lines = -(-units // lanes)
    if lines >= 8 and lines % 2 == 0:
        lines += 1
    return lines * lanes


def aligned_zeros(shape, dtype) -> np.ndarray:
    """Zeros that start at a whole line: NumPy's own memory starts at an address % 64 of 16 or 48."""
    count = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    raw = np.zeros(count + LINE, np.uint8)
    first = -raw.ctypes.data % LINE
    return raw[first : first + count].view(dtype).reshape(shape)


def panel_shape(threads: int, dtype) -> tuple[int, int]:
    """Shape of Scratch.panels."""
    return threads, PANEL_LINES * LINE // np.dtype(dtype).itemsize
