"""The one crossing from Python: batches through the network, for training, for evaluation or for their output.

One kernel does all three, since most of it is common and would be compiled for each. Every member of a team (see
team.py) calls it with its rank. Denormals are flushed on each of its threads for the length of the call, and its
floating-point state is put back after it.
"""

from ._jit import kernel
from .network import hidden_gradient, in_parts, input_gradient, team_backward, team_forward, through_lanes, whole_lines
from .optimizers import LEARNING_RATE, SGD, update
from .simd import lanes
from .team import barrier, flush_denormals, restore_denormals, share


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
    panel, line = scratch.panels[rank], lanes(theta)
    layers = plan.activation.size
    # Plain SGD's step is linear in the gradient: scaled once, in the loss, it is added to the weights as it is summed.
    direct = plan.optimizer == SGD
    rate = -hyper[LEARNING_RATE] if direct else 1.0
    target = theta if direct else scratch.gradient
    # Without a barrier at its end a member may begin the next step while another still adds gradients. With parts each
    # then reads and writes only its own weights and places of scratch.sums, until it meets the other at their barrier.
    apart = direct and in_parts(plan.turn, data.parts.size - 1)
    for batch in range(first, last):
        start = batch * batch_size
        rows = min(batch_size, order.size - start)
        team_forward(plan, theta, data, order, start, rows, scratch, panel, rank, size)
        through_lanes(plan, theta, data, order, start, rows, scratch, panel, theta.dtype.type(rate / rows),
                      totals.size > 0, training, out, rank, size)  # fmt: skip
        barrier(scratch.sync, size)
        if rank == 0:
            for i in range(whole_lines(rows, line) // line):
                for m in range(totals.size):
                    totals[m] += scratch.totals[i, m]
        if training:
            team_backward(plan, theta, rows, scratch, panel, rank, size)
            for layer in range(layers - 1, 0, -1):
                hidden_gradient(plan, layer, rows, scratch, panel, target, rank, size)
            input_gradient(plan, data, order, start, rows, scratch, panel, target, rank, size)
            if not direct:
                barrier(scratch.sync, size)
                begin, end = share(theta.size, 64 * line, rank, size)
                update(plan.optimizer, hyper, theta, slots, scratch.gradient, begin, end)
        if not apart:
            barrier(scratch.sync, size)
    restore_denormals(before)
