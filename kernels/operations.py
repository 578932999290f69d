"""What stands between the dense layers: normalisations, noise, activations with parameters.

Each has all that it does in one kernel, which the epoch calls by address (see by_address.py), at first for its output,
then for the gradient. The padding of a gradient's rows stays zero, whatever stands in that of the activations.

To add one: its section with a kernel, a line in OPERATIONS; its twin goes into tests/twins.py.

    phase                  FORWARD    out = f(below)
                           BACKWARD   delta_below = the gradient by below, from delta_out
                           GRADIENT   target += the gradient by the parameters
                           UNDO       put back what FORWARD has changed of its state, of those that are done BY_UNITS
    training               whether the batch is trained on
    numbers, numbers_at    the operation's own numbers, from numbers[numbers_at] on
    theta, params_at       its parameters, rows `row` apart; state_at   what it keeps besides, likewise
    target                 of theta's layout
    below, below_at        the activations that enter, as rows `row` apart; delta_below lies likewise
    out, out_at            those that leave; delta_out, delta_at   their gradient
    work, work_at          (2 * row * capacity,) what it keeps from forward to backward; a capacity is some lines
    units, rows            of the batch
    first, last            rows that this member of the team takes, forward and backward
    left, right            units that it takes, whole lines: for the gradient, and always where it is done BY_UNITS
    key                    number of the training step
    scale                  what the gradient of a sample's loss was multiplied by

The padding of a gradient stays zero, so that that of the weights does.
"""

import math

from ._jit import kernel, out_of_line, part
from .simd import (
    fma,
    keep_first,
    lanes,
    load,
    log,
    maximum,
    minimum,
    random_line,
    splat,
    sqrt,
    store,
    sum_lanes,
    where_less,
)

#: Arguments of an operation's kernel, see by_address.address.
OPERATE = "iifiaiiaaiaiaaiaiiiiiiiiid"

FORWARD, BACKWARD, GRADIENT, UNDO = range(4)

# Taylor's series of -cos(x) in x^2, for |x| <= pi, the highest power first.
_MINUS_COSINE = tuple((-1.0) ** (k + 1) / math.factorial(2 * k) for k in range(13, -1, -1))

# ------------------------------------------------------------------ parts that several operations share


@part
def copy(source, at, target, to, row, units, first, last):
    """Rows first to last of the source to the target."""
    for i in range(first, last):
        for j in range(i * row, i * row + units, lanes(source)):
            store(target, to + j, load(source, at + j))


@part
def stream(numbers, at, key):
    """Key of the random numbers of a step: another one for each seed, which is numbers[at], and each step."""
    return int(numbers[at]) * 1000003 + key


@part
def cosine_of_turns(u):
    """cos(2 pi u) for 0 <= u < 1."""
    x = splat(u, 2 * math.pi) * (u - splat(u, 0.5))
    square, value = x * x, splat(u, 0)
    for c in _MINUS_COSINE:
        value = fma(value, square, splat(u, c))
    return value


@part
def normal_line(like, key, index):
    """Standard normal numbers.

    source  Box & Muller (1958), Annals of Mathematical Statistics 29(2)
    """
    u, v = random_line(like, key, index), random_line(like, key ^ 0x5DEECE66D, index)
    return sqrt(splat(like, -2) * log(splat(like, 1) - u)) * cosine_of_turns(v)


# ------------------------------------------------------------------ nothing: an activation that stands alone


@kernel
def identity(phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
             delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key,
             scale):  # fmt: skip
    """The same numbers."""
    out_of_line()
    if phase == FORWARD:
        copy(below, below_at, out, out_at, row, units, first, last)
    elif phase == BACKWARD:
        copy(delta_out, delta_at, delta_below, below_at, row, units, first, last)


# ------------------------------------------------------------------ dropout
# source  Srivastava et al. (2014), JMLR 15: in training, what is kept is divided by its probability


@kernel
def dropout(phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
            delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key,
            scale):  # fmt: skip
    """numbers: seed, rate. The mask is not kept: it is drawn again for the gradient."""
    out_of_line()
    stream_key = stream(numbers, numbers_at, key)
    rate, zero = splat(theta, numbers[numbers_at + 1]), splat(theta, 0)
    factor = splat(theta, 1.0 / (1.0 - numbers[numbers_at + 1]))
    for i in range(first, last):
        for j in range(i * row, i * row + units, lanes(theta)):
            kept = zero
            if training:
                kept = where_less(random_line(theta, stream_key, j), rate, zero, factor)
            if phase == FORWARD:
                x = load(below, below_at + j)
                store(out, out_at + j, x * kept if training else x)
            elif phase == BACKWARD:
                store(delta_below, below_at + j, load(delta_out, delta_at + j) * kept)


# ------------------------------------------------------------------ noise: x + stddev N, or x (1 + stddev N)


@kernel
def noise(phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
          delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key,
          scale):  # fmt: skip
    """numbers: seed, stddev, whether x is multiplied."""
    out_of_line()
    stream_key, multiplied = stream(numbers, numbers_at, key), numbers[numbers_at + 2] != 0
    stddev, one = splat(theta, numbers[numbers_at + 1]), splat(theta, 1)
    for i in range(first, last):
        for j in range(i * row, i * row + units, lanes(theta)):
            if phase == FORWARD:
                x = load(below, below_at + j)
                if training:
                    drawn = stddev * normal_line(theta, stream_key, j)
                    x = fma(x, drawn, x) if multiplied else x + drawn
                store(out, out_at + j, x)
            elif phase == BACKWARD:
                d = load(delta_out, delta_at + j)
                if multiplied:
                    d = d * fma(stddev, normal_line(theta, stream_key, j), one)
                store(delta_below, below_at + j, d)


# ------------------------------------------------------------------ batch normalization
# source  Ioffe & Szegedy (2015), ICML


@kernel
def batch_normalization(
    phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
    delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key, scale
):  # fmt: skip
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, by the batch in training and by running means otherwise.

    numbers      momentum, epsilon, whether gamma is trained, whether beta is, whether the running means stand still
    parameters   gamma, beta; state: running mean, running variance
    work         of each unit: mean, 1 / sqrt, and the state as it was, for a batch that isn't trained on after all
    """
    out_of_line()
    zero, share = splat(theta, 0), splat(theta, 1.0 / rows)
    moving = training and numbers[numbers_at + 4] == 0
    momentum, epsilon = splat(theta, numbers[numbers_at]), splat(theta, numbers[numbers_at + 1])
    for j in range(left, right, lanes(theta)):
        gamma = load(theta, params_at + j)
        if phase == FORWARD:
            mean, variance = load(theta, state_at + j), load(theta, state_at + row + j)
            if moving:
                total, old_mean, old_variance = zero, mean, variance
                for i in range(0, rows * row, row):
                    total = total + load(below, below_at + i + j)
                mean, total = total * share, zero
                for i in range(0, rows * row, row):
                    gap = load(below, below_at + i + j) - mean
                    total = fma(gap, gap, total)
                variance = total * share
                # NaN where it is infinite: else all outputs were 0, and nobody would see that the batch is lost.
                variance = variance + (variance - variance)
                store(work, work_at + 2 * row + j, old_mean)
                store(work, work_at + 3 * row + j, old_variance)
                store(theta, state_at + j, fma(old_mean - mean, momentum, mean))
                store(theta, state_at + row + j, fma(old_variance - variance, momentum, variance))
            inverse = keep_first(splat(theta, 1) / sqrt(variance + epsilon), units - j, zero)
            store(work, work_at + j, mean)
            store(work, work_at + row + j, inverse)
            factor, beta = gamma * inverse, load(theta, params_at + row + j)
            for i in range(0, rows * row, row):
                store(out, out_at + i + j, fma(load(below, below_at + i + j) - mean, factor, beta))
        elif phase == UNDO:
            if moving:
                store(theta, state_at + j, load(work, work_at + 2 * row + j))
                store(theta, state_at + row + j, load(work, work_at + 3 * row + j))
        else:
            mean, inverse = load(work, work_at + j), load(work, work_at + row + j)
            total, product = zero, zero
            for i in range(0, rows * row, row):
                d = load(delta_out, delta_at + i + j)
                total = total + d
                product = fma(d, (load(below, below_at + i + j) - mean) * inverse, product)
            if phase == GRADIENT:
                if numbers[numbers_at + 2] != 0:
                    store(target, params_at + j, load(target, params_at + j) + product)
                if numbers[numbers_at + 3] != 0:
                    store(target, params_at + row + j, load(target, params_at + row + j) + total)
            else:
                factor, total, product = gamma * inverse, total * share, product * share
                if not moving:
                    total, product = zero, zero
                for i in range(0, rows * row, row):
                    normal = (load(below, below_at + i + j) - mean) * inverse
                    d = load(delta_out, delta_at + i + j) - total
                    store(delta_below, below_at + i + j, factor * fma(-normal, product, d))


# ------------------------------------------------------------------ layer normalization
# source  Ba, Kiros & Hinton (2016), arXiv:1607.06450


@kernel
def layer_normalization(
    phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
    delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key, scale
):  # fmt: skip
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, by the units of each sample.

    numbers      epsilon, whether gamma is trained, whether beta is, whether the mean is not taken from x
    parameters   gamma, beta; work: mean of each row, then 1 / sqrt of each
    """
    out_of_line()
    line, zero, one = lanes(theta), splat(theta, 0), theta.dtype.type(1)
    share, epsilon = theta.dtype.type(1.0 / units), theta.dtype.type(numbers[numbers_at])
    # x - mean is what is divided, or x itself: Keras's rms_scaling, whose divisor is still the deviation from the mean.
    taken = theta.dtype.type(0 if numbers[numbers_at + 3] != 0 else 1)
    means, inverses = work_at, work_at + rows
    if phase == FORWARD:
        for i in range(first, last):
            at, total = below_at + i * row, zero
            for j in range(0, units, line):
                total = total + keep_first(load(below, at + j), units - j, zero)
            mean = sum_lanes(total) * share
            centre, total = splat(theta, mean), zero
            for j in range(0, units, line):
                gap = keep_first(load(below, at + j) - centre, units - j, zero)
                total = fma(gap, gap, total)
            inverse = one / theta.dtype.type(math.sqrt(sum_lanes(total) * share + epsilon))
            work[means + i] = mean
            work[inverses + i] = inverse
            factor, centre = splat(theta, inverse), splat(theta, mean * taken)
            for j in range(0, units, line):
                normal = (load(below, at + j) - centre) * factor
                store(out, out_at + i * row + j,
                      fma(normal, load(theta, params_at + j), load(theta, params_at + row + j)))  # fmt: skip
    elif phase == BACKWARD:
        for i in range(first, last):
            at, above, total, product = below_at + i * row, delta_at + i * row, zero, zero
            mean, factor = work[means + i], splat(theta, work[inverses + i])
            centre = splat(theta, mean * taken)
            for j in range(0, units, line):
                d = keep_first(load(delta_out, above + j) * load(theta, params_at + j), units - j, zero)
                total = total + d
                product = fma(d, (load(below, at + j) - centre) * factor, product)
            lift, slope = splat(theta, sum_lanes(total) * share * taken), splat(theta, sum_lanes(product) * share)
            centre = splat(theta, mean)
            for j in range(0, units, line):
                normal = (load(below, at + j) - centre) * factor
                d = load(delta_out, above + j) * load(theta, params_at + j) - lift
                store(delta_below, at + j, keep_first(factor * fma(-normal, slope, d), units - j, zero))
    else:
        for j in range(left, right, line):
            total, product = zero, zero
            for i in range(rows):
                d = load(delta_out, delta_at + i * row + j)
                centre, factor = splat(theta, work[means + i] * taken), splat(theta, work[inverses + i])
                total = total + d
                product = fma(d, (load(below, below_at + i * row + j) - centre) * factor, product)
            if numbers[numbers_at + 1] != 0:
                store(target, params_at + j, load(target, params_at + j) + product)
            if numbers[numbers_at + 2] != 0:
                store(target, params_at + row + j, load(target, params_at + row + j) + total)


# ------------------------------------------------------------------ prelu: x, below 0 times a slope of each unit
# source  He et al. (2015), ICCV


@kernel
def prelu(phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
          delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key,
          scale):  # fmt: skip
    """parameters: the slopes."""
    out_of_line()
    line, zero, one = lanes(theta), splat(theta, 0), splat(theta, 1)
    if phase == GRADIENT:
        for j in range(left, right, line):
            total = load(target, params_at + j)
            for i in range(0, rows * row, row):
                total = fma(load(delta_out, delta_at + i + j), minimum(load(below, below_at + i + j), zero), total)
            store(target, params_at + j, total)
        return
    for i in range(first * row, last * row, row):
        for j in range(0, units, line):
            x, slope = load(below, below_at + i + j), load(theta, params_at + j)
            if phase == FORWARD:
                store(out, out_at + i + j, fma(slope, minimum(x, zero), maximum(x, zero)))
            else:
                store(
                    delta_below,
                    below_at + i + j,
                    load(delta_out, delta_at + i + j) * where_less(zero, x, one, where_less(x, zero, slope, zero)),
                )


# ------------------------------------------------------------------ rescaling: x scale + offset


@kernel
def rescaling(phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
              delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key,
              scale):  # fmt: skip
    """numbers: scale, offset."""
    out_of_line()
    factor, offset = splat(theta, numbers[numbers_at]), splat(theta, numbers[numbers_at + 1])
    for i in range(first * row, last * row, row):
        for j in range(i, i + units, lanes(theta)):
            if phase == FORWARD:
                store(out, out_at + j, fma(load(below, below_at + j), factor, offset))
            elif phase == BACKWARD:
                store(delta_below, below_at + j, load(delta_out, delta_at + j) * factor)


# ------------------------------------------------------------------ normalization: (x - mean) / sqrt(variance), fixed


@kernel
def normalization(
    phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
    delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key, scale
):  # fmt: skip
    """numbers: whether it is inverted; state: mean, variance, whose root is at least 1e-7."""
    out_of_line()
    line, low = lanes(theta), splat(theta, 1e-7)
    for j in range(0, units, line):
        mean, root = load(theta, state_at + j), maximum(sqrt(load(theta, state_at + row + j)), low)
        factor = splat(theta, 1) / root
        if numbers[numbers_at] != 0:
            factor = root
        for i in range(first * row + j, last * row + j, row):
            if phase == BACKWARD:
                store(delta_below, below_at + i, load(delta_out, delta_at + i) * factor)
            elif phase == FORWARD:
                x = load(below, below_at + i)
                if numbers[numbers_at] != 0:
                    store(out, out_at + i, fma(x, factor, mean))
                else:
                    store(out, out_at + i, (x - mean) * factor)


# ------------------------------------------------------------------ activity: l1 |x| + l2 x^2 is added to the loss


@kernel
def activity(phase, training, numbers, numbers_at, theta, params_at, state_at, target, below, below_at, out, out_at,
             delta_below, delta_out, delta_at, work, work_at, row, units, rows, first, last, left, right, key,
             scale):  # fmt: skip
    """numbers: l1, l2; work: the penalty of each row. As in Keras, |x| has the slope 1 at 0."""
    out_of_line()
    line, zero = lanes(theta), splat(theta, 0)
    l1, l2 = numbers[numbers_at], numbers[numbers_at + 1]
    up, twice = splat(theta, scale * l1), splat(theta, 2.0 * scale * l2)
    for i in range(first, last):
        size, square = zero, zero
        for j in range(0, units, line):
            here = i * row + j
            x = keep_first(load(below, below_at + here), units - j, zero)
            if phase == FORWARD:
                size, square = size + maximum(x, -x), fma(x, x, square)
                store(out, out_at + here, x)
            elif phase == BACKWARD:
                push = where_less(x, zero, -up, up)
                d = load(delta_out, delta_at + here) + fma(twice, x, push)
                store(delta_below, below_at + here, keep_first(d, units - j, zero))
        if phase == FORWARD:
            work[work_at + i] = theta.dtype.type(l1 * sum_lanes(size) + l2 * sum_lanes(square))


#: Kernel, rows of parameters and of state of each operation.
OPERATIONS = {
    "identity": (identity, 0, 0),
    "dropout": (dropout, 0, 0),
    "noise": (noise, 0, 0),
    "batch_normalization": (batch_normalization, 2, 2),
    "layer_normalization": (layer_normalization, 2, 0),
    "prelu": (prelu, 1, 0),
    "rescaling": (rescaling, 0, 0),
    "normalization": (normalization, 0, 2),
    "activity": (activity, 0, 0),
}

NAMES = tuple(OPERATIONS)

#: Those whose every unit needs all rows of the batch; a team shares their units, and the rows of the others.
BY_UNITS = ("batch_normalization",)

#: Those that add to the loss; its sum over row i of the batch is work[work_at + i].
PENALTIES = ("activity",)
