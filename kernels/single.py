"""One sample through the network: no batch, no team, nothing to prepare; the same bits as in a batch."""

from ._jit import kernel, part
from .by_address import call_at
from .simd import fma, lanes, load, load_as, splat, splat_element, store, sum_lanes
from .team import flush_denormals, restore_denormals

#: Columns of `layers` below.
INPUTS, UNITS, ROW, WEIGHTS, BIAS, ACTIVATION, NUMBERS = range(7)


@part
def layer_of_one(layers, numbers, scale, layer, theta, x, a):
    """a = activation(scale x w + b) for one sample, whole lines."""
    line, zero, scaled = lanes(theta), splat(theta, 0), splat(theta, scale)
    k, units, row, at = layers[layer, INPUTS], layers[layer, UNITS], layers[layer, ROW], layers[layer, WEIGHTS]
    whole = (units + line - 1) // line * line
    j = 0
    while j + 4 * line <= whole:  # four sums at a time, none of which waits for another
        sum0, sum1, sum2, sum3 = zero, zero, zero, zero
        for p in range(k):
            factor, here = splat_element(theta, x, p) * scaled, at + p * row + j
            sum0 = fma(factor, load(theta, here), sum0)
            sum1 = fma(factor, load(theta, here + line), sum1)
            sum2 = fma(factor, load(theta, here + 2 * line), sum2)
            sum3 = fma(factor, load(theta, here + 3 * line), sum3)
        store(a, j, sum0)
        store(a, j + line, sum1)
        store(a, j + 2 * line, sum2)
        store(a, j + 3 * line, sum3)
        j += 4 * line
    while j < whole:
        total = zero
        for p in range(k):
            total = fma(splat_element(theta, x, p) * scaled, load(theta, at + p * row + j), total)
        store(a, j, total)
        j += line
    call_at(layers[layer, ACTIVATION], (numbers, layers[layer, NUMBERS], a, a[:0], 0, whole, 1, units, theta,
                                        layers[layer, BIAS], False))  # fmt: skip


@part
def is_finite(theta, x):
    """Whether no number of x, of theta's type or uint8, is NaN or infinite."""
    line, zero = lanes(theta), splat(theta, 0)
    check, whole = zero, x.size // line * line
    for p in range(0, whole, line):
        check = fma(load_as(theta, x, p), zero, check)
    for p in range(whole, x.size):
        check = fma(splat_element(theta, x, p), zero, check)
    return sum_lanes(check) == theta.dtype.type(0)


@kernel
def predict_one(layers, numbers, scale, theta, x, floats, out):
    """Output of the network for one sample; returns whether the sample is free of NaN and infinity.

    layers   (layers, 7) int64: inputs, units, padded row, offsets of weights and bias in theta, the activation's
             forward kernel (see activations.py) and where its numbers begin
    numbers  float64
    scale    what x is multiplied by
    theta    all parameters, see plan.py
    x        (k,) uint8 or theta's dtype, read
    floats   (2, widest row), written
    out      (1, units of the last layer), written
    """
    if not is_finite(theta, x):
        return False
    before = flush_denormals()
    last = layers.shape[0] - 1
    layer_of_one(layers, numbers, scale, 0, theta, x, floats[0])
    for layer in range(1, last + 1):
        layer_of_one(layers, numbers, 1.0, layer, theta, floats[(layer - 1) % 2], floats[layer % 2])
    for j in range(out.size):
        out[0, j] = floats[last % 2, j]
    restore_denormals(before)
    return True
