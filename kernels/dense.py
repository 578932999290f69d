"""One dense layer, forward and backward, on some rows of a batch.

    forward    a = activation(x w + b)
    backward   delta of the layer below = delta wT, times the slope of its activation
    gradient   dw = xT delta, db = sum of delta's rows, added to zeros; or, with delta already times -rate / n, to w, b

The batch is order[start : start + rows]; first and last bound the part of it, or of the columns, that is at hand.
"""

from ._jit import part
from .activations import activate, activate_backward
from .matmul import product_backward, product_forward, product_gradient
from .simd import lanes, load, store
from .sparse_input import sparse_forward, sparse_gradient


@part
def gather(plan, data, order, start, acts, first, last):
    """The batch's dense input rows, as floats, into acts."""
    k, row = plan.units[0], plan.row[0]
    x = data.x
    for i in range(first, last):
        sample = order[start + i]
        for p in range(k):
            acts[i * row + p] = x[sample, p]


@part
def dense_forward(plan, layer, theta, data, order, start, scratch, panel, first, last):
    """Activations of one layer for the batch's rows from first to last."""
    acts, capacity = scratch.acts, scratch.capacity
    units, row = plan.units[layer + 1], plan.row[layer + 1]
    out = plan.offset[layer + 1] * capacity + first * row
    if layer == 0 and data.starts.size > 0:
        sparse_forward(acts, out, row, data.starts, data.column, data.value, order, start, first, last,
                       theta, plan.weights[0], row, plan.bias[0], units)  # fmt: skip
    else:
        if layer == 0:
            gather(plan, data, order, start, acts, first, last)
        below = plan.row[layer]
        product_forward(acts, out, row, acts, plan.offset[layer] * capacity + first * below, below,
                        theta, plan.weights[layer], row, plan.bias[layer],
                        last - first, plan.units[layer], units, panel)  # fmt: skip
    activate(plan.activation[layer], acts, out, row, last - first, units)


@part
def dense_backward(plan, layer, theta, scratch, panel, first, last):
    """Delta of the layer below `layer` from this layer's, for the batch's rows from first to last."""
    capacity = scratch.capacity
    row, below = plan.row[layer + 1], plan.row[layer]
    here = plan.offset[layer] * capacity + first * below
    product_backward(scratch.delta, here, below, scratch.delta, plan.offset[layer + 1] * capacity + first * row, row,
                     theta, plan.weights[layer], row, scratch.zeros,
                     last - first, plan.units[layer], plan.units[layer + 1], panel)  # fmt: skip
    activate_backward(plan.activation[layer - 1], scratch.acts, scratch.delta, here, below,
                      last - first, plan.units[layer])  # fmt: skip


@part
def dense_gradient(plan, layer, data, order, start, rows, scratch, panel, target, first, last):
    """Add the layer's gradient to target, for the columns from first to last, whole lines.

    target   theta, or zeros in theta's layout
    """
    acts, delta, capacity = scratch.acts, scratch.delta, scratch.capacity
    row, below = plan.row[layer + 1], plan.row[layer]
    line = lanes(target)
    delta_at = plan.offset[layer + 1] * capacity
    at = plan.weights[layer]
    if layer == 0 and data.starts.size > 0:
        sparse_gradient(target, at, row, data.starts, data.column, data.value, order, start, rows,
                        delta, delta_at, row, first, last)  # fmt: skip
    else:
        product_gradient(target, at + first, row, acts, plan.offset[layer] * capacity, below,
                         delta, delta_at + first, row, scratch.zeros,
                         rows, plan.units[layer], last - first, panel)  # fmt: skip
    if plan.trained[layer]:
        for j in range(first, last, line):
            total = load(target, plan.bias[layer] + j)
            for i in range(rows):
                total = total + load(delta, delta_at + i * row + j)
            store(target, plan.bias[layer] + j, total)
