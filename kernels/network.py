"""The whole network on a batch: short loops over its stages.

How a team shares a step (see also plan.py):

    rows    Of a layer of some lines every member has its own units, in all three products, so the weights it changes
            are those it read and stay in its own cache. Sharing the samples was tried first: on 784-128-10 with batches
            of 32 two threads then spent 80 us of a 180 us step on fetching weights from each other. Other layers'
            sums are shared by samples.
    parts   A narrow first layer is shared by parts of its inputs, for the same reason.
    lanes   From plan.turn on every member takes its own lines of samples forward, through the loss and back.
    Operations are shared by samples, and those that need whole batches by units.

A barrier stands wherever one member reads what another wrote.
"""

from ._jit import kernel, part
from .dense import (
    LANES,
    ROWS,
    activate,
    activate_backward,
    bias_gradient,
    dense_gradient,
    fetch_inputs,
    gather,
    lanes_backward,
    lanes_forward,
    operation_backward,
    operation_forward,
    operation_gradient,
    operation_undo,
    rows_backward,
    rows_forward,
    sparse_input_gradient,
    sums_forward,
    turn_backward,
    turn_forward,
)
from .lanes import transpose
from .plan import BY_UNITS, KIND, OFFSET, OPERATION, ROW, TRAIN_WEIGHTS, TRAINED, UNITS
from .score import gather_targets, score
from .simd import lanes
from .sparse_input import fetch_ahead
from .team import barrier, share

#: A layer's inputs come in blocks of so many, for its gradient: whole register tiles.
INPUT_BLOCK = 48


@kernel
def whole_lines(rows, line):
    """So many rows, filled up to a whole line of samples."""
    return (rows + line - 1) // line * line


@kernel
def by_units(kind, units, line, size):
    """Whether a team shares a stage of that kind and so many units by units."""
    if kind & OPERATION:
        return kind & BY_UNITS != 0
    return units >= size * line


@kernel
def own_part(kind, units, line, rows, rank, size):
    """(first, last, left, right) of a stage's activations that are this member's."""
    if by_units(kind, units, line, size):
        left, right = share(units, line, rank, size)
        return 0, rows, left, right
    first, last = share(rows, line, rank, size)
    return first, last, 0, units


@kernel
def in_parts(turn, parts):
    """Whether the first layer is summed in parts of the inputs, of which there are so many."""
    return turn == 1 and parts > 1


@kernel
def own_parts(parts, rank, size):
    """(from, to): the parts of the inputs that are this member's."""
    if rank >= parts:
        return 0, 0
    return share(parts, 1, rank, min(size, parts))


@kernel
def own_inputs(turn, parts, compressed, units, line, rows, rank, size):
    """(first, last, from_part, to_part): rows of the batch, and parts of their inputs, that this member reads."""
    if in_parts(turn, parts):
        from_part, to_part = own_parts(parts, rank, size)
        return 0, rows, from_part, to_part
    if compressed and by_units(0, units, line, size):
        return 0, rows, 0, parts
    first, last = share(rows, line, rank, size)
    return first, last, 0, parts


@part
def read(plan, theta, data, order, start, rows, scratch, rank, size):
    """Read the batch's inputs that are this member's."""
    first, last, from_part, to_part = own_inputs(
        plan.turn, data.parts.size - 1, data.starts.size > 0, plan.table[UNITS, 1], lanes(theta), rows, rank, size
    )
    if data.starts.size > 0:
        fetch_ahead(data.starts, data.column, data.value, data.parts.size - 1, from_part, to_part,
                    order, start + rows + first, start + rows + last)  # fmt: skip
    else:
        gather(
            data.x,
            data.scale,
            order,
            start,
            scratch.acts[plan.table[OFFSET, 0] * scratch.capacity :],
            plan.table[ROW, 0],
            first,
            last,
            data.parts[from_part],
            data.parts[to_part],
            scratch.sync,
        )


@part
def team_forward(plan, theta, data, order, start, rows, scratch, panel, training, key, rank, size):
    """What lies below the lanes, for the whole batch, by the team; all is done when this returns."""
    turn, line, parts = plan.turn, lanes(theta), data.parts.size - 1
    read(plan, theta, data, order, start, rows, scratch, rank, size)
    from_part, to_part, below_by_units = 0, 1, False
    if in_parts(turn, parts):
        from_part, to_part = own_parts(parts, rank, size)
    for layer in range(1, turn + 1):
        kind = plan.table[KIND, layer - 1]
        first, last, left, right = own_part(kind, plan.table[UNITS, layer], line, rows, rank, size)
        own_units = by_units(kind, plan.table[UNITS, layer], line, size)
        if in_parts(turn, parts):
            first, last, left, right, own_units = 0, rows, 0, plan.table[UNITS, turn], True
        elif (own_units and (layer > 1 or data.starts.size == 0)) or below_by_units:
            barrier(scratch.sync, size)
        if kind & OPERATION:
            out = scratch.acts if layer < turn else scratch.sums
            at, row = plan.table[OFFSET, layer] * scratch.capacity if layer < turn else 0, plan.table[ROW, layer]
            operation_forward(plan, layer - 1, theta, scratch, out, at, rows, first, last, left, right, training, key)
            if layer < turn:
                activate(plan, layer - 1, out, theta, scratch.slopes, at + first * row + left, row, last - first,
                         right - left, left, ROWS)  # fmt: skip
        elif layer < turn:
            rows_forward(plan, layer - 1, theta, data, order, start, scratch, panel, first, last, left, right)
        else:
            for h in range(from_part, to_part):
                to = h + 1 if in_parts(turn, parts) else parts
                sums_forward(plan, theta, data, order, start, scratch, panel, h, h, to, first, last, left, right)
        below_by_units = own_units
    if below_by_units:
        barrier(scratch.sync, size)


@part
def through_lanes(plan, theta, data, order, start, rows, scratch, panel, scale, scored, training, out, rank, size):
    """From the sums of plan.turn to the output, and to its losses and back to the delta of plan.turn, where wanted.

    Every member does so for its own lines of samples.
    """
    first, last = share(rows, lanes(theta), rank, size)
    if first == last:
        return
    end = first + whole_lines(last - first, lanes(theta))
    layers, capacity = plan.table.shape[1] - 1, scratch.capacity
    units, row, at = plan.table[UNITS, layers], plan.table[ROW, layers], plan.table[OFFSET, layers] * capacity
    parts = data.parts.size - 1
    turn_forward(plan, theta, scratch, parts if in_parts(plan.turn, parts) else 1, first, end)
    for layer in range(plan.turn, layers):
        lanes_forward(plan, layer, theta, scratch, panel, first, end)
    if out.size > 0:
        transpose(scratch.acts, at + first, capacity, units, last - first,
                  out.reshape(out.size), (start + first) * units, units)  # fmt: skip
    if scored:
        gather_targets(data.labels, data.targets, data.weights, units, order, start, first, last, scratch.labels,
                       scratch.targets, scratch.weights, capacity, scratch.turned, at, row)  # fmt: skip
        score(plan, scratch, at, units, scale, first, last)
    if training:
        if not plan.joint:
            activate_backward(plan, layers - 1, scratch, at + first, capacity, units, end - first, LANES)
        for layer in range(layers - 1, plan.turn - 1, -1):
            lanes_backward(plan, layer, theta, scratch, panel, first, end)
        for layer in range(plan.turn - 1, layers):
            turn_backward(plan, layer, scratch, first, end)


@part
def team_backward(plan, theta, rows, scratch, panel, key, scale, rank, size):
    """Deltas of the stages below the lanes, for the whole batch."""
    for layer in range(plan.turn - 1, plan.lowest, -1):
        kind = plan.table[KIND, layer]
        first, last, left, right = own_part(kind, plan.table[UNITS, layer], lanes(theta), rows, rank, size)
        if kind & OPERATION:
            operation_backward(plan, layer, theta, scratch, rows, first, last, left, right, key, scale)
        else:
            rows_backward(plan, layer, theta, scratch, panel, first, last, left, right)
        barrier(scratch.sync, size)


@part
def undo(plan, theta, rows, scratch, rank, size):
    """Put back what the batch has changed of the operations' state on its way forward."""
    for layer in range(plan.turn):
        if plan.table[KIND, layer] & BY_UNITS:
            left, right = share(plan.table[UNITS, layer + 1], lanes(theta), rank, size)
            operation_undo(plan, layer, theta, scratch, rows, left, right)


@part
def gradients(plan, theta, data, order, start, rows, scratch, panel, target, key, scale, rank, size):
    """Add this member's share of all gradients to target."""
    for layer in range(plan.table.shape[1] - 2, -1, -1):
        if plan.table[KIND, layer] & OPERATION:
            if plan.table[TRAINED, layer] & TRAIN_WEIGHTS:
                left, right = share(plan.table[UNITS, layer], lanes(theta), rank, size)
                operation_gradient(plan, layer, theta, scratch, target, rows, left, right, key, scale)
        elif layer > 0:
            hidden_gradient(plan, layer, rows, scratch, panel, target, rank, size)
        else:
            input_gradient(plan, data, order, start, rows, scratch, panel, target, rank, size)


@part
def input_gradient(plan, data, order, start, rows, scratch, panel, target, rank, size):
    """Add this member's share of the first layer's gradient to target: parts of its inputs, or units."""
    units = plan.table[UNITS, 1]
    parts = data.parts.size - 1
    first, last, from_part, to_part = own_inputs(plan.turn, parts, data.starts.size > 0, units, lanes(target), rows,
                                                 rank, size)  # fmt: skip
    left, right, bias = 0, units, rank == 0
    if not in_parts(plan.turn, parts):
        left, right = share(units, lanes(target), rank, size)
        from_part, to_part, bias = 0, parts, True
    if plan.table[TRAINED, 0] & TRAIN_WEIGHTS == 0:
        pass
    elif data.starts.size > 0:
        sparse_input_gradient(plan, data, order, start, rows, scratch, target, from_part, to_part, left, right)
    else:
        top, bottom = data.parts[from_part], data.parts[to_part]
        for p in range(top, bottom, INPUT_BLOCK):
            end = min(p + INPUT_BLOCK, bottom)
            fetch_inputs(data.x, order, start + rows + first, start + rows + last, p, end)
            dense_gradient(plan, 0, scratch, panel, target, rows, p, end, left, right)
    if bias:
        bias_gradient(plan, 0, scratch, target, rows, left, right)


@part
def hidden_gradient(plan, layer, rows, scratch, panel, target, rank, size):
    """Add this member's share of a further layer's gradient to target: units, or inputs of a narrow layer."""
    units, inputs = plan.table[UNITS, layer + 1], plan.table[UNITS, layer]
    top, bottom, left, right, bias = 0, inputs, 0, units, True
    if by_units(0, units, lanes(target), size):
        left, right = share(units, lanes(target), rank, size)
    elif inputs <= INPUT_BLOCK:
        bias = rank == size - 1
        bottom = inputs if bias else 0
    else:
        top, bottom = share(inputs, INPUT_BLOCK, rank, size)
        bias = rank == 0
    if top < bottom and plan.table[TRAINED, layer] & TRAIN_WEIGHTS:
        dense_gradient(plan, layer, scratch, panel, target, rows, top, bottom, left, right)
    if bias:
        bias_gradient(plan, layer, scratch, target, rows, left, right)
