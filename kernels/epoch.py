"""One crossing from Python each: training, and everything else, over many batches.

Every member of a team (see team.py) calls the same function with its rank. Denormals are flushed on each of its
threads for the length of the call, and its floating-point state is put back after it.
"""

from ._jit import kernel
from .network import ROW_BLOCK, forward, score, train_step
from .simd import element
from .team import flush_denormals, restore_denormals, share


@kernel
def train(plan, theta, slots, hyper, data, order, batch_size, first, last, scratch, totals, rank, size):
    """Train on the batches from first to last of an epoch.

    plan, theta, data, scratch   see plan.py; theta is updated
    slots        optimizer state, updated; hyper its numbers (see optimizers.py)
    order        (n,) int64: the epoch's order of the samples; batch i is order[i * batch_size :][:batch_size]
    totals       (1 + metrics,) float64: sums of the losses and of each metric, added to
    rank, size   this member of the team, and how many they are
    """
    before = flush_denormals()
    panel = scratch.panels[rank]
    for batch in range(first, last):
        start = batch * batch_size
        rows = min(batch_size, order.size - start)
        train_step(plan, theta, slots, hyper, data, order, start, rows, scratch, panel, totals, rank, size)
    restore_denormals(before)


@kernel
def infer(plan, theta, data, order, scratch, losses, metrics, out, rank, size):
    """Run the network on every sample, for its losses and metrics or for its output.

    order          (n,) int64: which samples
    losses         (n,) float64, written; or (0,) where nothing is scored
    metrics        (n, metrics) float64, written with the losses
    out            (n, units of the last layer), written; or (0, units) where it is not wanted
    """
    before = flush_denormals()
    panel = scratch.panels[rank]
    layers = plan.activation.size
    units, row = plan.units[layers], plan.row[layers]
    # A member keeps to its own rows of scratch in every batch, so nobody waits.
    first, last = share(scratch.capacity, ROW_BLOCK, rank, size)
    for start in range(0, order.size, scratch.capacity):
        end = min(last, order.size - start)
        forward(plan, theta, data, order, start, scratch, panel, first, end)
        if losses.size > 0:
            score(plan, data, order, start, scratch, theta.dtype.type(0), losses, metrics, start, first, end)
        if out.size > 0:
            for i in range(first, end):
                at = plan.offset[layers] * scratch.capacity + i * row
                for j in range(units):
                    out[start + i, j] = element(scratch.acts, at + j)
    restore_denormals(before)
