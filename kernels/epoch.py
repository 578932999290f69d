"""The one crossing from Python: batches through the network, for training, for evaluation or for their output.

One kernel does all three, since most of it is common and would be compiled for each. Every member of a team (see
team.py) calls it with its rank. Denormals are flushed on each of its threads for the length of the call, and its
floating-point state is put back after it.
"""

import math

from ._jit import kernel, out_of_line
from .by_address import call_at
from .by_reference import reference
from .network import gradients, in_parts, team_backward, team_forward, through_lanes, undo, whole_lines
from .optimizers import ITERATIONS
from .plan import KIND, OFFSET, PENALTY, UNITS, WORK
from .score import count
from .simd import element, lanes
from .team import DIVERGED, barrier, flush_denormals, restore_denormals, share


@kernel
def weight_of(weights, order, start, rows):
    """Sum of the weights of the samples order[start : start + rows]; their number where they have none."""
    out_of_line()
    if weights.size == 0:
        return float(rows)
    total = 0.0
    for i in range(start, start + rows):
        total += float(element(weights, element(order, i)))
    return total


@kernel
def penalties(plan, scratch, rows):
    """What the operations add to the losses of the batch."""
    total = 0.0
    for layer in range(plan.table.shape[1] - 1):
        if plan.table[KIND, layer] & PENALTY:
            for i in range(rows):
                total += float(element(scratch.work, plan.table[WORK, layer] * scratch.capacity + i))
    return total


@kernel
def run(plan, theta, slots, hyper, rates, data, order, batch_size, first, last, scratch, totals, out, training, rank,
        size):  # fmt: skip
    """Take the batches from first to last through the network.

    plan, data, scratch   see plan.py; scratch has room for batch_size rows
    theta        parameters, updated in training
    slots        optimizer state, updated in training; hyper its numbers (see optimizers.py), of which ITERATIONS is the
                 number of steps before batch `first`; in training it is counted on by each step that is made
    rates        learning rate of each batch of `order`
    order        (n,) int64: which samples; batch i is order[i * batch_size :][:batch_size]
    totals       (2 + means + counts,) float64: sums of the losses, of each metric that is a mean and of the samples'
                 weights, then the counts of the other metrics, added to; or (0,), nothing is scored
    out          (n, units of the last layer): output of each sample, written; or (0, ...) where it is not wanted
    training     whether to train; a batch whose loss is NaN or infinite ends it, before it has changed anything, and
                 scratch.sync[DIVERGED] is its number, from 1
    rank, size   this member of the team, and how many they are
    """
    before = flush_denormals()
    plan, data, scratch = reference(plan), reference(data), reference(scratch)
    panel, line = scratch.panels[rank], lanes(theta)
    layers = plan.table.shape[1] - 1
    direct = plan.direct != 0
    target = theta if direct else scratch.gradient
    # Without a barrier at its end a member may begin the next step while another still adds gradients. With parts each
    # then reads and writes only its own weights and places of scratch.sums, until it meets the other at their barrier.
    apart = direct and in_parts(plan.turn, data.parts.size - 1)
    steps = int(hyper[ITERATIONS]) - first  # before all of `order`
    for batch in range(first, last):
        start = batch * batch_size
        rows = min(batch_size, order.size - start)
        key = steps + batch
        # Plain SGD's step is linear in the gradient: scaled once, in the loss, it is added to the weights as it is
        # summed. Where several steps make one of the optimizer's, their gradients are averaged.
        scale = (-rates[batch] if direct else 1.0 / plan.every) / rows
        # What the losses count, and the penalties on the parameters; a batch of samples without any weight has no loss.
        counted, penalized = 1.0, 1.0
        if training and plan.by_weight != 0:
            weight = weight_of(data.weights, order, start, rows)
            counted, penalized = (rows / weight, 1.0 / weight) if weight > 0.0 else (0.0, 0.0)
            scale *= counted
        team_forward(plan, theta, data, order, start, rows, scratch, panel, training, key, rank, size)
        through_lanes(plan, theta, data, order, start, rows, scratch, panel, scale, totals.size > 0, training, out,
                      rank, size)  # fmt: skip
        barrier(scratch.sync, size)
        if rank == 0 and totals.size > 0:
            for i in range(whole_lines(rows, line) // line):
                totals[0] += counted * scratch.totals[i, 0]
                for m in range(1, 2 + plan.means.shape[0]):
                    totals[m] += scratch.totals[i, m]
            count(plan, scratch, plan.table[OFFSET, layers] * scratch.capacity, plan.table[UNITS, layers], totals, rows)
            totals[0] += penalties(plan, scratch, rows)
        if training:
            if totals.size > 0 and plan.trainable > 0:
                loss = 0.0
                for i in range(whole_lines(rows, line) // line):
                    loss += scratch.totals[i, 0]
                loss += penalties(plan, scratch, rows)
                if not math.isfinite(loss):  # every member comes to the same
                    undo(plan, theta, rows, scratch, rank, size)
                    if rank == 0:
                        scratch.sync[DIVERGED] = batch + 1
                    break
            team_backward(plan, theta, rows, scratch, panel, key, scale, rank, size)
            gradients(plan, theta, data, order, start, rows, scratch, panel, target, key, scale, rank, size)
            if not direct:
                barrier(scratch.sync, size)
                step = key + 1
                if plan.adjust != 0:
                    call_at(plan.adjust, (plan.variables, plan.chunks, plan.numbers, hyper, rates[batch], theta,
                                          scratch.gradient, slots, scratch.partial, scratch.sync, totals, rows, step,
                                          plan.every, penalized, plan.optimizer, rank, size))  # fmt: skip
                    if scratch.sync[DIVERGED] != 0:  # a penalty on the weights was not finite
                        undo(plan, theta, rows, scratch, rank, size)
                        barrier(scratch.sync, size)
                        if rank == 0:
                            scratch.sync[DIVERGED] = batch + 1
                        break
                else:
                    begin, end = share(plan.trainable, 64 * line, rank, size)
                    call_at(plan.optimizer, (hyper, rates[batch], step, theta, slots, scratch.gradient, begin, end))
            if rank == 0:
                hyper[ITERATIONS] = key + 1
        if not apart:
            barrier(scratch.sync, size)
    restore_denormals(before)
