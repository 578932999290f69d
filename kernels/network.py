"""The whole network on a batch: short loops over the layers.

How a team shares a step (see also plan.py):

    rows    Of a layer of some lines every member has its own units, in all three products, so the weights it changes
            are those it read and stay in its own cache. Sharing the samples was tried first: on 784-128-10 with batches
            of 32 two threads then spent 80 us of a 180 us step on fetching weights from each other. Other layers'
            sums are shared by samples.
    parts   A narrow first layer is shared by parts of its inputs, for the same reason.
    lanes   From plan.turn on every member takes its own lines of samples forward, through the loss and back.

A barrier stands wherever one member reads what another wrote.
"""

from ._jit import part
from .activations import activate_lanes_backward
from .dense import (
    ZERO,
    bias_gradient,
    dense_gradient,
    fetch_inputs,
    gather,
    lanes_backward,
    lanes_forward,
    rows_backward,
    rows_forward,
    sparse_input_gradient,
    sums_forward,
    turn_backward,
    turn_forward,
)
from .lanes import transpose
from .optimizers import LEARNING_RATE, SGD, update
from .score import gather_targets, score
from .simd import lanes
from .sparse_input import fetch_ahead
from .team import barrier, share

#: A layer's inputs come in blocks of so many, for its gradient: whole register tiles.
INPUT_BLOCK = 48


@part
def whole_lines(theta, rows):
    """So many rows, filled up to a whole line of samples."""
    line = lanes(theta)
    return (rows + line - 1) // line * line


@part
def by_units(plan, layer, theta, size):
    """Whether a team shares activations `layer` by units."""
    return plan.units[layer] >= size * lanes(theta)


@part
def own_part(plan, layer, theta, rows, rank, size):
    """(first, last, left, right) of activations `layer` that are this member's."""
    units, line = plan.units[layer], lanes(theta)
    if by_units(plan, layer, theta, size):
        left, right = share(units, line, rank, size)
        return 0, rows, left, right
    first, last = share(rows, line, rank, size)
    return first, last, 0, units


@part
def own_parts(plan, data, rank, size):
    """(from, to): the parts of the inputs that are this member's."""
    return share(data.parts.size - 1, 1, rank, min(size, data.parts.size - 1)) if rank < data.parts.size - 1 else (0, 0)


@part
def in_parts(plan, data):
    """Whether the first layer is summed in parts of the inputs."""
    return plan.turn == 1 and data.parts.size > 2


@part
def own_inputs(plan, data, theta, rows, rank, size):
    """(first, last, from_part, to_part): rows of the batch, and parts of their inputs, that this member reads."""
    parts = data.parts.size - 1
    if in_parts(plan, data):
        from_part, to_part = own_parts(plan, data, rank, size)
        return 0, rows, from_part, to_part
    if data.starts.size > 0:
        first, last, _, _ = own_part(plan, 1, theta, rows, rank, size)
    else:
        first, last = share(rows, lanes(theta), rank, size)
    return first, last, 0, parts


@part
def read(plan, theta, data, order, start, rows, scratch, rank, size):
    """Read the batch's inputs that are this member's."""
    first, last, from_part, to_part = own_inputs(plan, data, theta, rows, rank, size)
    if data.starts.size > 0:
        fetch_ahead(data.starts, data.column, data.value, data.parts.size - 1, from_part, to_part,
                    order, start + rows + first, start + rows + last)  # fmt: skip
    else:
        gather(data.x, order, start, scratch.acts, plan.row[0], first, last, data.parts[from_part], data.parts[to_part],
               scratch.sync)  # fmt: skip


@part
def team_forward(plan, theta, data, order, start, rows, scratch, panel, rank, size):
    """What lies below the lanes, for the whole batch, by the team; all is done when this returns."""
    turn = plan.turn
    read(plan, theta, data, order, start, rows, scratch, rank, size)
    if in_parts(plan, data):
        from_part, to_part = own_parts(plan, data, rank, size)
        for h in range(from_part, to_part):
            sums_forward(plan, theta, data, order, start, scratch, panel, h, h, h + 1, ZERO, rows, ZERO,
                         plan.units[turn])  # fmt: skip
        barrier(scratch.sync, size)
        return
    parts = data.parts.size - 1
    below_by_units = False
    for layer in range(1, turn + 1):
        first, last, left, right = own_part(plan, layer, theta, rows, rank, size)
        own_units = by_units(plan, layer, theta, size)
        if (own_units and (layer > 1 or data.starts.size == 0)) or below_by_units:
            barrier(scratch.sync, size)
        if layer < turn:
            rows_forward(plan, layer - 1, theta, data, order, start, scratch, panel, first, last, left, right)
        else:
            sums_forward(plan, theta, data, order, start, scratch, panel, ZERO, ZERO, parts, first, last, left, right)
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
    end = first + whole_lines(theta, last - first)
    layers, capacity = plan.activation.size, scratch.capacity
    units, row, at = plan.units[layers], plan.row[layers], plan.offset[layers] * capacity
    turn_forward(plan, theta, scratch, data.parts.size - 1 if in_parts(plan, data) else 1, first, end)
    for layer in range(plan.turn, layers):
        lanes_forward(plan, layer, theta, scratch, panel, first, end)
    if out.size > 0:
        transpose(scratch.acts, at + first, capacity, units, last - first,
                  out.reshape(out.size), (start + first) * units, units)  # fmt: skip
    if scored:
        gather_targets(data.labels, data.targets, units, order, start, first, last, scratch.labels, scratch.targets,
                       capacity, scratch.turned, at, row)  # fmt: skip
        score(plan.loss, plan.joint, plan.metrics, scratch.acts, at, capacity, scratch.labels, scratch.targets, units,
              scale, scratch.delta, scratch.totals, first, last)  # fmt: skip
    if training:
        if not plan.joint:
            activate_lanes_backward(plan.activation[layers - 1], scratch.acts, scratch.delta, at + first, capacity,
                                    units, end - first)  # fmt: skip
        for layer in range(layers - 1, plan.turn - 1, -1):
            lanes_backward(plan, layer, theta, scratch, panel, first, end)
        for layer in range(plan.turn - 1, layers):
            turn_backward(plan, layer, scratch, first, end)


@part
def team_backward(plan, theta, rows, scratch, panel, rank, size):
    """Deltas of the layers below the lanes, for the whole batch."""
    for layer in range(plan.turn - 1, 0, -1):
        first, last, left, right = own_part(plan, layer, theta, rows, rank, size)
        rows_backward(plan, layer, theta, scratch, panel, first, last, left, right)
        barrier(scratch.sync, size)


@part
def input_gradient(plan, data, order, start, rows, scratch, panel, target, rank, size):
    """Add this member's share of the first layer's gradient to target: parts of its inputs, or units."""
    units = plan.units[1]
    first, last, from_part, to_part = own_inputs(plan, data, target, rows, rank, size)
    left, right, bias = 0, units, rank == 0
    if not in_parts(plan, data):
        left, right = share(units, lanes(target), rank, size)
        from_part, to_part, bias = 0, data.parts.size - 1, True
    if data.starts.size > 0:
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
    units, inputs = plan.units[layer + 1], plan.units[layer]
    top, bottom, left, right, bias = 0, inputs, 0, units, True
    if by_units(plan, layer + 1, target, size):
        left, right = share(units, lanes(target), rank, size)
    elif inputs <= INPUT_BLOCK:
        bias = rank == size - 1
        bottom = inputs if bias else 0
    else:
        top, bottom = share(inputs, INPUT_BLOCK, rank, size)
        bias = rank == 0
    if top < bottom:
        dense_gradient(plan, layer, scratch, panel, target, rows, top, bottom, left, right)
    if bias:
        bias_gradient(plan, layer, scratch, target, rows, left, right)


@part
def step(plan, theta, slots, hyper, data, order, start, rows, scratch, panel, totals, out, training, rank, size):
    """The batch order[start : start + rows] through the network; its losses and metrics are added to totals.

    Training, the weights make a step. See epoch.run for the arguments.
    """
    # Plain SGD's step is linear in the gradient: scaled here once, it is added to the weights while it is summed.
    direct = plan.optimizer == SGD
    scale = theta.dtype.type((-hyper[LEARNING_RATE] if direct else 1.0) / rows)
    team_forward(plan, theta, data, order, start, rows, scratch, panel, rank, size)
    through_lanes(plan, theta, data, order, start, rows, scratch, panel, scale, totals.size > 0, training, out,
                  rank, size)  # fmt: skip
    barrier(scratch.sync, size)
    if rank == 0:
        for i in range(whole_lines(theta, rows) // lanes(theta)):
            for m in range(totals.size):
                totals[m] += scratch.totals[i, m]
    if training:
        team_backward(plan, theta, rows, scratch, panel, rank, size)
        target = theta if direct else scratch.gradient
        for layer in range(plan.activation.size - 1, 0, -1):
            hidden_gradient(plan, layer, rows, scratch, panel, target, rank, size)
        input_gradient(plan, data, order, start, rows, scratch, panel, target, rank, size)
        if not direct:
            barrier(scratch.sync, size)
            first, last = share(theta.size, 64 * lanes(theta), rank, size)
            update(plan.optimizer, hyper, theta, slots, scratch.gradient, first, last)
    # Here a member may begin the next step while another still adds gradients. With parts each then reads and writes
    # only its own weights and places of scratch.sums, until it meets the other at their barrier.
    if not (direct and in_parts(plan, data)):
        barrier(scratch.sync, size)
