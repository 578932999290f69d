"""The memory contract: what a network looks like to the kernels.

A network is a row of stages: dense layers, and operations between them (see operations.py), each followed by an
activation, which may be linear.

    theta    all parameters, flat; per dense layer its weights row by row (k rows), then its bias, one row; per
             operation its rows of parameters. Behind them a row of zeros, and what operations keep besides
    acts     per stage the activations of the batch; behind them room for the batch's inputs as floats, where dense
             rows are read
    delta    the same layout without the inputs: gradient of the loss by z

Every row is padded to whole lines of 64 bytes, so that a row of up to 16 float32 is one line; the padding of the
weights stays zero. Stage l reads the activations l and writes l + 1; 0 is the input.

Activations and deltas lie in one of two forms. Below `turn` they are rows: one per sample, its units side by side. From
`turn` on they are lanes: one row per unit, its samples side by side, so that softmax, losses and metrics need no sums
across a vector and narrow layers fill theirs. Both take the same room. The narrow dense layers at a network's end, the
last stage at least, are kept in lanes; `turned` then holds their deltas as rows, which the gradients need.
"""

import math
from typing import NamedTuple

import numpy as np

from .matmul import PANEL_LINES
from .simd import LINE

#: Rows of Plan.table.
(UNITS, ROW, OFFSET, KIND, OPERATE, OPERATE_NUMBERS, WEIGHTS, BIAS, STATE, WORK, TRAINED, ACTIVATE, ACTIVATE_NUMBERS,
 SLOPE) = range(14)  # fmt: skip

#: Flags of a stage's KIND.
OPERATION, BY_UNITS, PENALTY = 1, 2, 4

#: Flags of what is TRAINED of it.
TRAIN_WEIGHTS, TRAIN_BIAS = 1, 2


class Plan(NamedTuple):
    """Integer tables of one network; the same types for every depth and width, so one compiled form serves all.

    Functions are given by their addresses (see by_address.py), and by where their own numbers begin in `numbers`.

    table        (14, stages + 1) int64: a column for each stage, whose rows are
                 UNITS, ROW, OFFSET: of activations l, inputs for 0: how many; how many as stored, padded, the distance
                 of two rows in acts and in the weights; acts, delta: they start at OFFSET * capacity
                 KIND               0 of a dense layer; of an operation OPERATION, with BY_UNITS and PENALTY where that
                                    holds
                 OPERATE            an operation's kernel; its numbers begin at numbers[OPERATE_NUMBERS]
                 WEIGHTS, BIAS      offsets of a dense layer's weights and bias in theta; of an operation's parameters
                                    and the row of zeros
                 STATE, WORK        offset in theta of what an operation keeps; work: what it keeps from forward to
                                    backward starts at WORK * capacity
                 TRAINED            what of it is trained: TRAIN_WEIGHTS (the parameters of an operation), TRAIN_BIAS
                 ACTIVATE           forward kernel, see activations.py; its numbers begin at numbers[ACTIVATE_NUMBERS]
                 SLOPE              backward kernel, or 0 where the activation is linear
                 One array, since a kernel that is handed a tuple of many takes long to compile
    numbers      float64
    lowest       the first stage with anything to train; deltas of activations up to it are not needed
    turn         the first activations that are kept in lanes, 1 .. stages
    loss         kernel, see losses.py; its numbers begin at numbers[loss_numbers]
    joint        1 where the loss gives the gradient by z of the last layer
    by_weight    1 where in training a batch's loss is the mean by its samples' weights, and penalties on parameters are
                 divided by the sum of these weights
    means        (means, 3) metrics that are means: kernel, its numbers, whether samples' weights count
    counters     (counters, 4) metrics that count: kernel, its numbers, whether weights count, its place in totals
    direct       1 where the optimizer is plain SGD and nothing else: its step is added while the gradient is summed
    optimizer    kernel, see optimizers.py
    adjust       kernel that makes the step where more than the optimizer's is to be done, or 0; see adjust.py
    every        steps whose gradients are averaged for one of the optimizer's
    trainable    how much of theta, from its start, the optimizer changes
    variables, chunks   see adjust.py
    """

    table: np.ndarray
    numbers: np.ndarray
    lowest: int
    turn: int
    loss: int
    loss_numbers: int
    joint: int
    by_weight: int
    means: np.ndarray
    counters: np.ndarray
    direct: int
    optimizer: int
    adjust: int
    every: int
    trainable: int
    variables: np.ndarray
    chunks: np.ndarray


class Data(NamedTuple):
    """Samples as the kernels read them.

    x                      (n, k) dense rows, uint8 or theta's dtype; (0, k) where the compressed rows are used
    scale                  what they are multiplied by while they are read; in compressed rows it is done already
    starts, column, value  the rows compressed (see sparse_input.py); starts is (0,) where the dense rows are used
    parts                  (parts + 1,) where each part of the inputs begins, and k: the first layer's sums of each part
                           are made apart and then added, so that two threads can share them
    labels                 (n,) class indices, or (0,)
    targets                (n, m) values, or (0, m)
    weights                (n,) weight of each sample, or (0,)
    """

    x: np.ndarray
    scale: float
    starts: np.ndarray
    column: np.ndarray
    value: np.ndarray
    parts: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


class Scratch(NamedTuple):
    """What a call writes on the way; made once for batches of up to `capacity` rows.

    capacity      rows, padded; places the layers in acts and delta, and is the distance of two rows of lanes
    acts, delta   see above
    slopes        as delta: slopes of the activations that keep them; (0,) where there are none
    turned        as delta, in rows: deltas of what is kept in lanes
    sums          for each part of the inputs, capacity rows of activations `turn`: their sums over it
    work          what operations keep from forward to backward
    labels        (capacity,) class indices of the batch, in theta's dtype
    targets       capacity rows of the last layer: targets of the batch, in lanes
    weights       (capacity,) weights of the samples, or (0,)
    gradient      theta's size, or (0,) where the step is added while the gradient is summed
    totals        (lines of capacity, 1 + means + 1) float64: losses, metrics, weights of each line of the batch, summed
    partial       float64: sums of parts of the parameters, see adjust.py
    panels        (threads, PANEL_LINES lines): packed operand of each thread
    sync          see team.py
    """

    capacity: int
    acts: np.ndarray
    delta: np.ndarray
    slopes: np.ndarray
    turned: np.ndarray
    sums: np.ndarray
    work: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    gradient: np.ndarray
    totals: np.ndarray
    partial: np.ndarray
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
