"""The memory contract: what a network looks like to the kernels.

    theta    all parameters, flat; per layer its weights row by row (k rows), then its bias, one row
    acts     per layer the activations of the batch, row by row; before them room for the batch's inputs as floats
    delta    the same layout: gradient of the loss by z

Every row is padded to whole lines of 64 bytes, so that a row of up to 16 float32 is one line; the padding of the
weights stays zero. Layer l reads the activations l and writes l + 1; 0 is the input.
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
    loss: int
    joint: int
    metrics: np.ndarray
    optimizer: int


class Data(NamedTuple):
    """Samples as the kernels read them.

    x                      (n, k) dense rows, uint8 or theta's dtype; (0, k) where the compressed rows are used
    starts, column, value  the rows compressed (see sparse_input.py); starts is (0,) where the dense rows are used
    labels                 (n,) class indices, or (0,)
    targets                (n, m) values, or (0, m)
    """

    x: np.ndarray
    starts: np.ndarray
    column: np.ndarray
    value: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


class Scratch(NamedTuple):
    """What a call writes on the way; made once for batches of up to `capacity` rows.

    capacity      rows; places the layers in acts and delta, so that padding keeps its place in a short batch
    acts, delta   see above
    gradient      theta's size, or (0,) where the step is added while the gradient is summed
    losses        (capacity,) float64: loss of each row of the batch
    metrics       (capacity, metrics) float64
    panels        (threads, PANEL_LINES lines): packed operand of each thread
    zeros         one row of zeros, as long as the widest
    sync          see team.py
    """

    capacity: int
    acts: np.ndarray
    delta: np.ndarray
    gradient: np.ndarray
    losses: np.ndarray
    metrics: np.ndarray
    panels: np.ndarray
    zeros: np.ndarray
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
