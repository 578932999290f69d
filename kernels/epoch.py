"""The one crossing from Python: batches through the network, for training, for evaluation or for their output.

One kernel does all three, since most of it is common and would be compiled for each. Every member of a team (see
team.py) calls it with its rank. Denormals are flushed on each of its threads for the length of the call, and its
floating-point state is put back after it.
"""

from ._jit import kernel
from .network import step
from .team import flush_denormals, restore_denormals


@kernel
def run(plan, theta, slots, hyper, data, order, batch_size, first, last, scratch, totals, out, training, rank, size):
    """Take the batches from first to last through the network.

    plan, data, scratch   see plan.py; scratch has room for batch_size rows
    theta        parameters, updated in training
    slots        optimizer state, updated in training; hyper its numbers (see optimizers.py)
    order        (n,) int64: which samples; batch i is order[i * batch_size :][:batch_size]
    totals       (1 + metrics,) float64: sums of the losses and of each metric, added to; or (0,), nothing is scored
    out          (n, units of the last layer): output of each sample, written; or (0, ...) where it is not wanted
    training     whether to train
    rank, size   this member of the team, and how many they are
    """
    before = flush_denormals()
    panel = scratch.panels[rank]
    for batch in range(first, last):
        start = batch * batch_size
        rows = min(batch_size, order.size - start)
        step(plan, theta, slots, hyper, data, order, start, rows, scratch, panel, totals, out, training, rank, size)
    restore_denormals(before)
