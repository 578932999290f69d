"""What a batch is scored by: its targets brought into lanes, then its losses, their gradient and its metrics."""

from ._jit import kernel, out_of_line
from .lanes import transpose
from .losses import loss_lanes
from .metrics import metric_lanes
from .simd import element, keep_first, lanes, load, load_first, splat, store, sum_lanes


@kernel
def gather_targets(labels, targets, units, order, start, first, last, label_lanes, target_lanes, lanes_row, rows, at,
                   row):  # fmt: skip
    """Class indices and targets of the samples order[start + first : start + last], into lanes; first begins a line.

    labels, targets            see plan.Data, read
    label_lanes, target_lanes  those of the batch; targets of unit j from j * lanes_row on, written
    rows, at, row              room for the targets as rows, `row` apart from `at` on
    """
    out_of_line()
    line = lanes(rows)
    if labels.size > 0:
        for i in range(first, last):
            label_lanes[i] = element(labels, element(order, start + i))
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


@kernel
def score(loss, joint, metrics, a, at, row, labels, targets, units, scale, delta, totals, first, last):
    """Losses and metrics of the batch's samples from first to last, and the output's delta times scale.

    loss, joint, metrics   see plan.Plan
    a, at                  output in lanes: unit j of sample i at `at + j * row + i`, read; delta likewise, written
    labels, targets        of the batch, in lanes, read
    totals                 (lines, 1 + metrics) float64: sums over each line of samples, written
    first                  begins a line
    """
    out_of_line()
    line = lanes(a)
    zero = splat(a, 0)
    for i in range(first, last, line):
        losses = loss_lanes(loss, a, at + i, row, labels, targets, i, units, scale, delta, joint)
        totals[i // line, 0] = sum_lanes(keep_first(losses, last - i, zero))
        for m in range(metrics.size):
            values = metric_lanes(metrics[m], a, at + i, row, labels, targets, i, units)
            totals[i // line, 1 + m] = sum_lanes(keep_first(values, last - i, zero))
