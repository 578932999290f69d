"""One dense layer, forward and backward, on some rows of a batch.

    forward    a = activation(x w + b)
    backward   delta of the layer below = delta wT, times the slope of its activation
    gradient   dw = xT delta, db = sum of delta's rows, added to zeros; or, with delta already times -rate / n, to w, b

The batch is order[start : start + rows]. What a call works on is bounded by first and last (rows of the batch) and by
left and right (units of the layer, from the start of a line).
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
def dense_forward(plan, layer, theta, data, order, start, scratch, panel, first, last, left, right):
    """Activations of one layer."""
    acts, capacity = scratch.acts, scratch.capacity
    row, below = plan.row[layer + 1], plan.row[layer]
    out = plan.offset[layer + 1] * capacity + first * row + left
    w, b = plan.weights[layer] + left, plan.bias[layer] + left
    if layer == 0 and data.starts.size > 0:
        sparse_forward(acts, out, row, data.starts, data.column, data.value, order, start, first, last,
                       theta, w, row, b, right - left)  # fmt: skip
    else:
        product_forward(acts, out, row, acts, plan.offset[layer] * capacity + first * below, below, theta, w, row, b,
                        last - first, plan.units[layer], right - left, panel)  # fmt: skip
    activate(plan.activation[layer], acts, out, row, last - first, right - left)


@part
def dense_backward(plan, layer, theta, scratch, panel, first, last, left, right):
    """Delta of the layer below `layer` from this layer's; left and right bound the units of the one below."""
    capacity = scratch.capacity
    row, below = plan.row[layer + 1], plan.row[layer]
    here = plan.offset[layer] * capacity + first * below + left
    product_backward(scratch.delta, here, below, scratch.delta, plan.offset[layer + 1] * capacity + first * row, row,
                     theta, plan.weights[layer] + left * row, row, scratch.zeros,
                     last - first, right - left, plan.units[layer + 1], panel)  # fmt: skip
    activate_backward(plan.activation[layer - 1], scratch.acts, scratch.delta, here, below,
                      last - first, right - left)  # fmt: skip


@part
def dense_gradient(
    plan, layer, data, order, start, rows, scratch, panel, target, top, bottom, left, right, bias
):  # fmt: skip
    """Add the layer's gradient to target, for the whole batch.

    target        theta, or zeros in theta's layout
    top, bottom   which inputs; all where the rows are compressed
    bias          whether that of the bias is wanted too
    """
    acts, delta, capacity = scratch.acts, scratch.delta, scratch.capacity
    row, below = plan.row[layer + 1], plan.row[layer]
    delta_at = plan.offset[layer + 1] * capacity
    at = plan.weights[layer]
    if layer == 0 and data.starts.size > 0:
        sparse_gradient(target, at, row, data.starts, data.column, data.value, order, start, rows,
                        delta, delta_at, row, left, right)  # fmt: skip
    else:
        product_gradient(target, at + top * row + left, row, acts, plan.offset[layer] * capacity + top, below,
                         delta, delta_at + left, row, scratch.zeros,
                         rows, bottom - top, right - left, panel)  # fmt: skip
    if plan.trained[layer] and bias:
        for j in range(left, right, lanes(target)):
            total = load(target, plan.bias[layer] + j)
            for i in range(rows):
                total = total + load(delta, delta_at + i * row + j)
            store(target, plan.bias[layer] + j, total)
