"""The whole network on a batch: short loops over the layers.

How a team shares a step: of a layer of some lines every member has its own units, in all three products, so the
weights it changes are those it read and stay in its own cache; rows were shared out first, and on 784-128-10 with
batches of 32 two threads then spent 80 us of a 180 us step on fetching weights from each other. Narrow layers, softmax
and the loss, which needs whole rows, are shared by rows. A barrier stands wherever one member reads what another wrote.
"""

from ._jit import part
from .activations import SOFTMAX, activate_backward
from .dense import dense_backward, dense_forward, dense_gradient, gather
from .losses import loss_rows
from .metrics import metric_rows
from .optimizers import LEARNING_RATE, SGD, update
from .simd import lanes
from .team import barrier, share

#: Rows are shared out in blocks of so many: a batch of 32 gives 16 to each of two threads, tiles of 6, 6 and 4.
ROW_BLOCK = 4

#: And a narrow layer's inputs, for its gradient: whole register tiles.
INPUT_BLOCK = 12


@part
def forward(plan, theta, data, order, start, scratch, panel, first, last):
    """Activations of all layers for the batch's rows from first to last, by one member."""
    if data.starts.size == 0:
        gather(plan, data, order, start, scratch.acts, first, last)
    for layer in range(plan.activation.size):
        dense_forward(plan, layer, theta, data, order, start, scratch, panel, first, last, 0, plan.units[layer + 1])


@part
def own_part(plan, layer, rows, line, rank, size):
    """(first, last, left, right) of activations `layer` that are this member's, and whether all rows are."""
    units = plan.units[layer]
    if units >= size * line and plan.activation[layer - 1] != SOFTMAX:
        left, right = share(units, line, rank, size)
        return 0, rows, left, right, True
    first, last = share(rows, ROW_BLOCK, rank, size)
    return first, last, 0, units, False


@part
def team_forward(plan, theta, data, order, start, rows, scratch, panel, rank, size):
    """Activations of all layers for the whole batch, by the team; at the end every member has its rows of the last."""
    if data.starts.size == 0:
        first, last = share(rows, ROW_BLOCK, rank, size)
        gather(plan, data, order, start, scratch.acts, first, last)
    below_by_units = data.starts.size > 0
    for layer in range(1, plan.units.size):
        first, last, left, right, by_units = own_part(plan, layer, rows, lanes(theta), rank, size)
        if by_units or (below_by_units and layer > 1):
            barrier(scratch.sync, size)
        dense_forward(plan, layer - 1, theta, data, order, start, scratch, panel, first, last, left, right)
        below_by_units = by_units
    if below_by_units:
        barrier(scratch.sync, size)


@part
def score(plan, data, order, start, scratch, scale, losses, metrics, at, first, last):
    """Losses and metrics of the batch's rows from first to last, and the last layer's delta times scale.

    losses (n,), metrics (n, metrics)   written from row `at` on
    """
    layers = plan.activation.size
    units, row = plan.units[layers], plan.row[layers]
    here = plan.offset[layers] * scratch.capacity + first * row
    loss_rows(plan.loss, scratch.acts, here, row, data.labels, data.targets, order, start + first, last - first, units,
              scale, scratch.delta, plan.joint, losses, at + first)  # fmt: skip
    for m in range(plan.metrics.size):
        metric_rows(plan.metrics[m], scratch.acts, here, row, data.labels, data.targets, order, start + first,
                    last - first, units, metrics, at + first, m)  # fmt: skip


@part
def team_backward(plan, theta, rows, scratch, panel, rank, size):
    """Deltas of all layers from the last one's, of which every member has its rows, for the whole batch."""
    layers = plan.activation.size
    if not plan.joint:
        first, last = share(rows, ROW_BLOCK, rank, size)
        row = plan.row[layers]
        here = plan.offset[layers] * scratch.capacity + first * row
        activate_backward(plan.activation[layers - 1], scratch.acts, scratch.delta, here, row,
                          last - first, plan.units[layers])  # fmt: skip
    above_by_units = False
    for layer in range(layers - 1, 0, -1):
        first, last, left, right, by_units = own_part(plan, layer, rows, lanes(theta), rank, size)
        if by_units or above_by_units:
            barrier(scratch.sync, size)
        dense_backward(plan, layer, theta, scratch, panel, first, last, left, right)
        above_by_units = by_units


@part
def team_gradients(plan, data, order, start, rows, scratch, panel, target, rank, size):
    """Add this member's share of every layer's gradient to target: units of a wide layer, inputs of a narrow one.

    Tried for a narrow layer on compressed rows: each of two threads with the half of the inputs whose weights fit its
    first-level cache, forward and here. 1.2x on the digits, but half as fast once three processes shared two cores,
    since a step of 17 us then waits at each barrier for a thread that is not running. Such steps stay with one thread.
    """
    line = lanes(target)
    for layer in range(plan.activation.size):
        units, inputs = plan.units[layer + 1], plan.units[layer]
        if units >= size * line or (layer == 0 and data.starts.size > 0):
            left, right = share(units, line, rank, size)
            dense_gradient(plan, layer, data, order, start, rows, scratch, panel, target, 0, inputs, left, right, True)
        else:
            top, bottom = share(inputs, INPUT_BLOCK, rank, size)
            dense_gradient(plan, layer, data, order, start, rows, scratch, panel, target, top, bottom, 0, units,
                           rank == 0)  # fmt: skip


@part
def train_step(plan, theta, slots, hyper, data, order, start, rows, scratch, panel, totals, rank, size):
    """One step of training on the batch order[start : start + rows]; adds its losses and metrics to totals."""
    # Plain SGD's step is linear in the gradient: scaled here once, it is added to the weights while it is summed.
    direct = plan.optimizer == SGD
    scale = theta.dtype.type((-hyper[LEARNING_RATE] if direct else 1.0) / rows)
    team_forward(plan, theta, data, order, start, rows, scratch, panel, rank, size)
    first, last = share(rows, ROW_BLOCK, rank, size)
    score(plan, data, order, start, scratch, scale, scratch.losses, scratch.metrics, 0, first, last)
    team_backward(plan, theta, rows, scratch, panel, rank, size)
    barrier(scratch.sync, size)
    if rank == 0:
        for i in range(rows):
            totals[0] += scratch.losses[i]
            for m in range(plan.metrics.size):
                totals[1 + m] += scratch.metrics[i, m]
    team_gradients(plan, data, order, start, rows, scratch, panel, theta if direct else scratch.gradient, rank, size)
    if not direct:
        barrier(scratch.sync, size)
        first, last = share(theta.size, 64 * lanes(theta), rank, size)
        update(plan.optimizer, hyper, theta, slots, scratch.gradient, first, last)
    barrier(scratch.sync, size)
