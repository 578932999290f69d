"""What a batch is scored by: its targets brought into lanes, then its losses, their gradient and its metrics."""

from ._jit import kernel, out_of_line, part
from .by_address import call_at
from .lanes import transpose
from .simd import element, keep_first, lanes, load, load_first, splat, store, sum_lanes


@kernel
def gather_targets(labels, targets, weights, units, order, start, first, last, label_lanes, target_lanes, weight_lanes,
                   lanes_row, rows, at, row):  # fmt: skip
    """Targets and weights of the samples order[start + first : start + last], into lanes; first begins a line.

    labels, targets, weights   see plan.Data, read
    label_lanes, target_lanes, weight_lanes
                               those of the batch; targets of unit j from j * lanes_row on, written
    rows, at, row              room for the targets as rows, `row` apart from `at` on
    """
    out_of_line()
    line = lanes(rows)
    if labels.size > 0:
        for i in range(first, last):
            label_lanes[i] = element(labels, element(order, start + i))
    if weights.size > 0:
        for i in range(first, last):
            weight_lanes[i] = element(weights, element(order, start + i))
    if targets.size > 0:
        whole = units // line * line
        for i in range(first, last):
            source, here = element(order, start + i) * units, at + i * row
            for j in range(0, whole, line):
                store(rows, here + j, load(targets, source + j))
            if whole < units:
                store(rows, here + whole, load_first(targets, source + whole, units - whole))
        count = (last - first + line - 1) // line * line
        transpose(rows, at + first * row, row, count, row, target_lanes, first, lanes_row)


@part
def score(plan, scratch, at, units, scale, first, last):
    """Losses, means and weights of the batch's samples from first to last, and the output's delta times scale.

    The output, in lanes, starts at `at` of scratch.acts; first begins a line. Sums over each line of samples go to
    scratch.totals: the loss, each metric that is a mean, the weights.
    """
    row, line = scratch.capacity, lanes(scratch.acts)
    totals, columns = scratch.totals.reshape(scratch.totals.size), scratch.totals.shape[1]
    means = plan.means.shape[0]
    for m in range(means):
        # A loss that serves as a metric writes a gradient, too: to where that of the loss comes then. Rows of `turned`,
        # which are free as well, may lie where another member's are already.
        weights = scratch.weights if plan.means[m, 2] else scratch.weights[:0]
        call_at(plan.means[m, 0], (plan.numbers, plan.means[m, 1], 0, scratch.acts, at, row, scratch.labels,
                                   scratch.targets, weights, units, 0.0, scratch.delta, totals, columns, 1 + m,
                                   first, last))  # fmt: skip
    call_at(plan.loss, (plan.numbers, plan.loss_numbers, plan.joint, scratch.acts, at, row, scratch.labels,
                        scratch.targets, scratch.weights, units, scale, scratch.delta, totals, columns, 0, first,
                        last))  # fmt: skip
    if scratch.weights.size > 0:
        for i in range(first, last, line):
            own = keep_first(load(scratch.weights, i), last - i, splat(scratch.weights, 0))
            totals[i // line * columns + 1 + means] = sum_lanes(own)


@part
def count(plan, scratch, at, units, totals, rows):
    """Add the whole batch to the counts of the metrics that count, in totals."""
    for c in range(plan.counters.shape[0]):
        weights = scratch.weights if plan.counters[c, 2] else scratch.weights[:0]
        call_at(plan.counters[c, 0], (plan.numbers, plan.counters[c, 1], scratch.acts, at, scratch.capacity,
                                      scratch.labels, scratch.targets, weights, units, totals, plan.counters[c, 3],
                                      rows))  # fmt: skip
