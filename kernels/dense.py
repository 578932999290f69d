"""One stage, forward and backward, on some rows of a batch: a dense layer, or an operation (see operations.py).

    forward    a = activation(x w + b)
    backward   delta of the layer below = delta wT, times the slope of its activation
    gradient   dw = xT delta, db = sum of delta's rows, added to zeros; or, with delta already times -rate / n, to w, b

Below plan.turn activations are rows, from there on lanes (see plan.py). In lanes, w's elements are broadcast and lines
of samples multiplied: z[j, i] = sum_p w[p, j] x[p, i], so a layer of 8 units fills its lines.

The batch is order[start : start + rows]. What a call works on is bounded by first and last (rows of the batch; whole
lines of lanes) and by left and right (units of the layer, from the start of a line).
"""

import numpy as np

from . import operations
from ._jit import kernel, out_of_line, part
from .by_address import call_at
from .lanes import transpose
from .matmul import product_backward, product_forward, product_gradient, product_lanes, product_lanes_backward
from .plan import (
    ACTIVATE,
    ACTIVATE_NUMBERS,
    BIAS,
    OFFSET,
    OPERATE,
    OPERATE_NUMBERS,
    ROW,
    SLOPE,
    STATE,
    TRAIN_BIAS,
    TRAINED,
    UNITS,
    WEIGHTS,
    WORK,
)
from .simd import LINE, element, fma, lanes, load, load_as, prefetch, prefetch_far, splat, store, sum_lanes
from .sparse_input import sparse_forward, sparse_gradient
from .team import NOT_FINITE

# For arguments: Numba compiles a kernel anew where a literal is passed.
ZERO = np.int64(0)
ROWS, LANES = np.int64(0), np.int64(1)
FORWARD, BACKWARD, GRADIENT, UNDO = (
    np.int64(phase) for phase in (operations.FORWARD, operations.BACKWARD, operations.GRADIENT, operations.UNDO)
)
YES = np.bool_(True)


#: Rows ahead of the one being read that are fetched meanwhile, line by line: rows are at random places in memory. On
#: 48,000 rows of 784 float32 it halves the time of reading; with fetch_inputs the digits without zeros train in
#: 0.93 of the time that either takes alone.
AHEAD = 2


@kernel
def gather(x, scale, order, start, acts, row, first, last, left, right, sync):
    """The batch's dense inputs from left to right, as floats times scale, into acts, rows `row` apart.

    sync   see team.py; NOT_FINITE is set if one of them is NaN or infinite
    """
    out_of_line()
    k, line = x.shape[1], lanes(acts)
    zero, factor, number = splat(acts, 0), splat(acts, scale), acts.dtype.type(scale)
    check, rest = zero, acts.dtype.type(0)
    for i in range(first, last):
        here = element(order, start + i) * k
        ahead = element(order, min(start + i + AHEAD, order.size - 1)) * k
        p = left
        while p + line <= right:
            prefetch(x, ahead + p)
            inputs = load_as(acts, x, here + p) * factor
            store(acts, i * row + p, inputs)
            check = fma(inputs, zero, check)
            p += line
        while p < right:
            acts[i * row + p] = acts.dtype.type(element(x, here + p)) * number
            rest += acts[i * row + p] * acts.dtype.type(0)
            p += 1
    if sum_lanes(check) + rest != acts.dtype.type(0):
        sync[NOT_FINITE] = 1


@kernel
def fetch_inputs(x, order, first, last, left, right):
    """Start fetching the dense inputs from left to right of the rows order[first : last], as far as there are any.

    The rows are at random places in memory. A few at a time, between pieces of other work: fetched at once they take
    as long as they would when they are needed.
    """
    out_of_line()
    k = x.shape[1]
    for i in range(first, min(last, order.size)):
        here = element(order, i) * k
        for p in range(left, right, LINE // x.itemsize):
            prefetch_far(x, here + p)


@kernel
def add_rows(target, to, source, at, row, rows, count):
    """Add `rows` rows of the source, `row` apart, to `count` numbers of the target from `to` on; whole lines."""
    out_of_line()
    for j in range(0, count, lanes(target)):
        total = load(target, to + j)
        for i in range(rows):
            total = total + load(source, at + i * row + j)
        store(target, to + j, total)


@part
def activate(plan, layer, a, theta, slopes, at, row, rows, units, left, in_lanes):
    """Add the bias of a stage, of its units from left on, to `rows` rows of a and apply its activation, in place."""
    if plan.table[ACTIVATE, layer] != 0:
        call_at(plan.table[ACTIVATE, layer],
                (plan.numbers, plan.table[ACTIVATE_NUMBERS, layer], a, slopes, at, row, rows, units, theta,
                 plan.table[BIAS, layer] + left, in_lanes))  # fmt: skip


@part
def activate_backward(plan, layer, scratch, at, row, rows, units, in_lanes):
    """Turn the gradient by a stage's activations into the one by z, in place in delta."""
    if plan.table[SLOPE, layer] != 0:
        call_at(
            plan.table[SLOPE, layer],
            (
                plan.numbers,
                plan.table[ACTIVATE_NUMBERS, layer],
                scratch.acts,
                scratch.slopes,
                scratch.delta,
                at,
                row,
                rows,
                units,
                in_lanes,
            ),
        )


@kernel
def operate(plan, layer, phase, theta, target, scratch, out, out_at, rows, first, last, left, right, training, key,
            scale):  # fmt: skip
    """One phase of an operation."""
    out_of_line()  # most networks have none, and its call is a long one
    capacity = scratch.capacity
    # What leaves the stage before the lanes has its gradient in `turned`.
    delta = scratch.turned if layer + 1 == plan.turn else scratch.delta
    call_at(
        plan.table[OPERATE, layer],
        (
            phase,
            training,
            plan.numbers,
            plan.table[OPERATE_NUMBERS, layer],
            theta,
            plan.table[WEIGHTS, layer],
            plan.table[STATE, layer],
            target,
            scratch.acts,
            plan.table[OFFSET, layer] * capacity,
            out,
            out_at,
            scratch.delta,
            delta,
            plan.table[OFFSET, layer + 1] * capacity,
            scratch.work,
            plan.table[WORK, layer] * capacity,
            plan.table[ROW, layer],
            plan.table[UNITS, layer],
            rows,
            first,
            last,
            left,
            right,
            key,
            scale,
        ),
    )


@part
def rows_forward(plan, layer, theta, data, order, start, scratch, panel, first, last, left, right):
    """Activations of a layer below plan.turn."""
    acts, capacity = scratch.acts, scratch.capacity
    row, below = plan.table[ROW, layer + 1], plan.table[ROW, layer]
    out = plan.table[OFFSET, layer + 1] * capacity + first * row + left
    w = plan.table[WEIGHTS, layer] + left
    if layer == 0 and data.starts.size > 0:
        parts = data.parts.size - 1
        sparse_forward(acts, out, row, data.starts, data.column, data.value, parts, ZERO, parts,
                       order, start, first, last, theta, w, right - left)  # fmt: skip
    else:
        product_forward(
            acts,
            out,
            row,
            acts,
            plan.table[OFFSET, layer] * capacity + first * below,
            below,
            theta,
            w,
            row,
            last - first,
            plan.table[UNITS, layer],
            right - left,
            panel,
        )
    activate(plan, layer, acts, theta, scratch.slopes, out, row, last - first, right - left, left, ROWS)


@part
def operation_forward(plan, layer, theta, scratch, out, out_at, rows, first, last, left, right, training, key):
    """What an operation below plan.turn, or before it, puts out: as rows into `out`."""
    operate(
        plan, layer, FORWARD, theta, theta, scratch, out, out_at, rows, first, last, left, right, training, key, 0.0
    )


@part
def sums_forward(plan, theta, data, order, start, scratch, panel, place, from_part, to_part, first, last, left, right):
    """The sums x w of the layer that writes the activations plan.turn, over some parts of the inputs.

    They go, as rows, to `place` of scratch.sums; turn_forward adds the places and the bias.
    """
    layer = plan.turn - 1
    acts, capacity = scratch.acts, scratch.capacity
    row, below = plan.table[ROW, layer + 1], plan.table[ROW, layer]
    sums = scratch.sums
    out = place * capacity * row + first * row + left
    top = data.parts[from_part] if layer == 0 else 0
    bottom = data.parts[to_part] if layer == 0 else plan.table[UNITS, layer]
    if layer == 0 and data.starts.size > 0:
        sparse_forward(sums, out, row, data.starts, data.column, data.value, data.parts.size - 1, from_part, to_part,
                       order, start, first, last, theta, plan.table[WEIGHTS, layer] + left, right - left)  # fmt: skip
    else:
        product_forward(sums, out, row, acts, plan.table[OFFSET, layer] * capacity + first * below + top, below,
                        theta, plan.table[WEIGHTS, layer] + top * row + left, row,
                        last - first, bottom - top, right - left, panel)  # fmt: skip


@part
def turn_forward(plan, theta, scratch, places, first, last):
    """Activations plan.turn, in lanes, from the sums in so many places."""
    layer = plan.turn - 1
    capacity, row = scratch.capacity, plan.table[ROW, plan.turn]
    at = plan.table[OFFSET, plan.turn] * capacity + first
    samples = last - first
    sums, size = scratch.sums, capacity * row
    add_rows(sums, first * row, sums, size + first * row, size, places - 1, samples * row)
    transpose(sums, first * row, row, samples, row, scratch.acts, at, capacity)
    activate(
        plan,
        layer,
        scratch.acts,
        theta,
        scratch.slopes,
        at,
        capacity,
        plan.table[UNITS, plan.turn],
        samples,
        ZERO,
        LANES,
    )


@part
def lanes_forward(plan, layer, theta, scratch, panel, first, last):
    """Activations of a layer above plan.turn."""
    acts, capacity = scratch.acts, scratch.capacity
    out, below = (plan.table[OFFSET, layer + 1] * capacity + first, plan.table[OFFSET, layer] * capacity + first)
    product_lanes(
        acts,
        out,
        capacity,
        acts,
        below,
        capacity,
        theta,
        plan.table[WEIGHTS, layer],
        plan.table[ROW, layer + 1],
        last - first,
        plan.table[UNITS, layer],
        plan.table[UNITS, layer + 1],
        panel,
    )
    activate(
        plan, layer, acts, theta, scratch.slopes, out, capacity, plan.table[UNITS, layer + 1], last - first, ZERO, LANES
    )


@part
def lanes_backward(plan, layer, theta, scratch, panel, first, last):
    """Delta of the layer below `layer` from this layer's, both in lanes."""
    capacity = scratch.capacity
    here, above = (plan.table[OFFSET, layer] * capacity + first, plan.table[OFFSET, layer + 1] * capacity + first)
    product_lanes_backward(
        scratch.delta,
        here,
        capacity,
        scratch.delta,
        above,
        capacity,
        theta,
        plan.table[WEIGHTS, layer],
        plan.table[ROW, layer + 1],
        last - first,
        plan.table[UNITS, layer],
        plan.table[UNITS, layer + 1],
        panel,
    )
    activate_backward(plan, layer - 1, scratch, here, capacity, plan.table[UNITS, layer], last - first, LANES)


@part
def turn_backward(plan, layer, scratch, first, last):
    """Delta of a layer that is kept in lanes, as rows."""
    capacity, row = scratch.capacity, plan.table[ROW, layer + 1]
    at = plan.table[OFFSET, layer + 1] * capacity
    transpose(scratch.delta, at + first, capacity, row, last - first, scratch.turned, at + first * row, row)


@part
def rows_backward(plan, layer, theta, scratch, panel, first, last, left, right):
    """Delta of the layer below `layer`, as rows; left and right bound the units of the one below."""
    capacity = scratch.capacity
    row, below = plan.table[ROW, layer + 1], plan.table[ROW, layer]
    here = plan.table[OFFSET, layer] * capacity + first * below + left
    delta = scratch.turned if layer + 1 == plan.turn else scratch.delta
    product_backward(scratch.delta, here, below, delta, plan.table[OFFSET, layer + 1] * capacity + first * row, row,
                     theta, plan.table[WEIGHTS, layer] + left * row, row,
                     last - first, right - left, plan.table[UNITS, layer + 1], panel)  # fmt: skip
    activate_backward(plan, layer - 1, scratch, here, below, last - first, right - left, ROWS)


@part
def operation_backward(plan, layer, theta, scratch, rows, first, last, left, right, key, scale):
    """Delta of the stage below an operation, as rows."""
    operate(plan, layer, BACKWARD, theta, theta, scratch, scratch.acts, ZERO, rows, first, last, left, right, YES, key,
            scale)  # fmt: skip
    row = plan.table[ROW, layer]
    here = plan.table[OFFSET, layer] * scratch.capacity + first * row + left
    activate_backward(plan, layer - 1, scratch, here, row, last - first, right - left, ROWS)


@part
def operation_gradient(plan, layer, theta, scratch, target, rows, left, right, key, scale):
    """Add the gradient by an operation's parameters of some units to target, for the whole batch."""
    operate(plan, layer, GRADIENT, theta, target, scratch, scratch.acts, ZERO, rows, ZERO, rows, left, right, YES, key,
            scale)  # fmt: skip


@part
def operation_undo(plan, layer, theta, scratch, rows, left, right):
    """Put back what an operation's way forward in training has changed of its state, for some units."""
    operate(plan, layer, UNDO, theta, theta, scratch, scratch.acts, ZERO, rows, ZERO, rows, left, right, YES, ZERO, 0.0)


@part
def sparse_input_gradient(plan, data, order, start, rows, scratch, target, from_part, to_part, left, right):
    """Add the first layer's gradient to target, for the whole batch of compressed rows and some parts of the inputs."""
    delta = scratch.turned if plan.turn == 1 else scratch.delta
    sparse_gradient(
        target,
        plan.table[WEIGHTS, 0],
        data.starts,
        data.column,
        data.value,
        data.parts.size - 1,
        from_part,
        to_part,
        order,
        start,
        rows,
        delta,
        plan.table[OFFSET, 1] * scratch.capacity,
        plan.table[ROW, 1],
        left,
        right,
    )


@part
def dense_gradient(plan, layer, scratch, panel, target, rows, top, bottom, left, right):
    """Add the layer's gradient to target, for the whole batch, its inputs from top to bottom.

    target   theta, or zeros in theta's layout
    """
    capacity = scratch.capacity
    delta = scratch.turned if layer + 1 >= plan.turn else scratch.delta
    row = plan.table[ROW, layer + 1]
    below, unit = (capacity, 1) if layer >= plan.turn else (1, plan.table[ROW, layer])
    product_gradient(target, plan.table[WEIGHTS, layer] + top * row + left, row,
                     scratch.acts, plan.table[OFFSET, layer] * capacity + top * below, below, unit,
                     delta, plan.table[OFFSET, layer + 1] * capacity + left, row,
                     rows, bottom - top, right - left, panel)  # fmt: skip


@part
def bias_gradient(plan, layer, scratch, target, rows, left, right):
    """Add the gradient by the layer's bias to target, for the whole batch."""
    delta = scratch.turned if layer + 1 >= plan.turn else scratch.delta
    if plan.table[TRAINED, layer] & TRAIN_BIAS:
        row = plan.table[ROW, layer + 1]
        add_rows(
            target,
            plan.table[BIAS, layer] + left,
            delta,
            plan.table[OFFSET, layer + 1] * scratch.capacity + left,
            row,
            rows,
            right - left,
        )
