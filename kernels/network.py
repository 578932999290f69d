"""The whole network on a batch: short loops over the layers.

A step has two phases. In the first every member of the team takes some rows through all layers, the loss and the
deltas, and touches nothing of the others; in the second every member takes some columns of every layer's
gradient. A barrier stands between the two and after the second, so that no weight changes under a reader.
"""

from ._jit import part
from .activations import activate_backward
from .dense import dense_backward, dense_forward, dense_gradient
from .losses import loss_rows
from .metrics import metric_rows
from .optimizers import LEARNING_RATE, SGD, update
from .simd import lanes
from .team import barrier, share

#: Rows are shared out in blocks of so many, a whole number of register tiles on most machines.
ROW_BLOCK = 12


@part
def forward(plan, theta, data, order, start, scratch, panel, first, last):
    """Activations of all layers for the batch's rows from first to last."""
    for layer in range(plan.activation.size):
        dense_forward(plan, layer, theta, data, order, start, scratch, panel, first, last)


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
def backward(plan, theta, scratch, panel, first, last):
    """Deltas of all layers from the last one's, for the batch's rows from first to last."""
    layers = plan.activation.size
    if not plan.joint:
        row = plan.row[layers]
        here = plan.offset[layers] * scratch.capacity + first * row
        activate_backward(plan.activation[layers - 1], scratch.acts, scratch.delta, here, row,
                          last - first, plan.units[layers])  # fmt: skip
    for layer in range(layers - 1, 0, -1):
        dense_backward(plan, layer, theta, scratch, panel, first, last)


@part
def gradients(plan, data, order, start, rows, scratch, panel, target, rank, size):
    """Add this member's columns of every layer's gradient to target."""
    line = lanes(target)
    for layer in range(plan.activation.size):
        first, last = share(plan.units[layer + 1], line, rank, size)
        dense_gradient(plan, layer, data, order, start, rows, scratch, panel, target, first, last)


@part
def train_step(plan, theta, slots, hyper, data, order, start, rows, scratch, panel, totals, rank, size):
    """One step of training on the batch order[start : start + rows]; adds its losses and metrics to totals."""
    first, last = share(rows, ROW_BLOCK, rank, size)
    # Plain SGD's step is linear in the gradient: scaled here once, it is added to the weights while it is summed.
    direct = plan.optimizer == SGD
    scale = theta.dtype.type((-hyper[LEARNING_RATE] if direct else 1.0) / rows)
    forward(plan, theta, data, order, start, scratch, panel, first, last)
    score(plan, data, order, start, scratch, scale, scratch.losses, scratch.metrics, 0, first, last)
    backward(plan, theta, scratch, panel, first, last)
    barrier(scratch.sync, size)
    if rank == 0:
        for i in range(rows):
            totals[0] += scratch.losses[i]
            for m in range(plan.metrics.size):
                totals[1 + m] += scratch.metrics[i, m]
    if direct:
        gradients(plan, data, order, start, rows, scratch, panel, theta, rank, size)
    else:
        gradients(plan, data, order, start, rows, scratch, panel, scratch.gradient, rank, size)
        barrier(scratch.sync, size)
        first, last = share(theta.size, 64 * lanes(theta), rank, size)
        update(plan.optimizer, hyper, theta, slots, scratch.gradient, first, last)
    barrier(scratch.sync, size)
