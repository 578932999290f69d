"""The optimizer's step where more is to be done: penalties, clipping, running means of the weights, constraints.

The parameters are `variables` (a layer's weights, its bias ...), cut into `chunks`, which a team shares. The order is
Keras's: the gradient of the penalties is added and, where several steps make one, summed with the others; then the
gradient is clipped, the weights decay, the optimizer takes its step, the running mean follows, the constraint comes
last.

    variables   (count, VARIABLE) int64, flat: where it begins in theta, its rows, units and the distance of two rows,
                where its numbers begin, kind of its constraint, axis of its constraint, whether it decays
    numbers     of a variable: l1, l2, factor of the orthogonal penalty, 1 where that is of columns; then its
                constraint's: smallest norm, largest norm, rate
    chunks      (count, 3) int64, flat: first element, length in whole lines, variable
    partial     (2 * chunks + the longest row or column,) float64, written
"""

import math

from ._jit import kernel, out_of_line, part
from .by_address import call_at
from .optimizers import (
    CLIP_NORM,
    CLIP_VALUE,
    EMA_MOMENTUM,
    EMA_OVERWRITE,
    EMA_SLOT,
    GLOBAL_CLIP_NORM,
    OWN_DECAY,
)
from .simd import (
    absolute,
    element,
    fma,
    keep_first,
    lanes,
    load,
    maximum,
    minimum,
    splat,
    sqrt,
    store,
    sum_lanes,
    where_less,
)
from .team import DIVERGED, barrier, share

#: Arguments of the kernel, see by_address.address.
ADJUST = "jjffdaaafjfiiidiii"

#: Numbers of a variable and of a chunk.
VARIABLE, CHUNK = 8, 3
START, ROWS, UNITS, ROW, NUMBERS, CONSTRAINT, AXIS, DECAYS = range(VARIABLE)

#: Kinds of constraints.
CONSTRAINTS = ("none", "non_neg", "norm", "unit_norm")
_NON_NEG, _NORM, _UNIT_NORM = 1, 2, 3

#: Keras's backend epsilon, beside which norms are divisors.
EPSILON = 1e-7


@part
def add_penalty(variables, v, numbers, theta, gradient, first, last, factor):
    """Add factor times the gradient of l1 |w| + l2 w^2 to the gradient; returns the penalty.

    As in Keras, |w| has the slope 1 at 0; only the padding has none.
    """
    place, at = v * VARIABLE, variables[v * VARIABLE + NUMBERS]
    l1, l2, zero = numbers[at], numbers[at + 1], splat(theta, 0)
    size, square = splat(theta, 0), splat(theta, 0)
    push, pull = splat(theta, factor * l1), splat(theta, 2.0 * factor * l2)
    for i in range(first, last, lanes(theta)):
        w = load(theta, i)
        size, square = size + absolute(w), fma(w, w, square)
        own = variables[place + UNITS] - (i - variables[place]) % variables[place + ROW]
        store(gradient, i, load(gradient, i) + fma(pull, w, keep_first(where_less(w, zero, -push, push), own, zero)))
    return l1 * sum_lanes(size) + l2 * sum_lanes(square)


@part
def length(theta, at, count, step):
    """Square root of the sum of the squares of `count` numbers, `step` apart."""
    total = 0.0
    for i in range(at, at + count * step, step):
        total += float(element(theta, i)) ** 2
    return math.sqrt(total)


@part
def add_orthogonal_penalty(theta, gradient, at, count, distance, size, step, factor, every, room, room_at):
    """The same for factor times the mean size of the cosines between `count` vectors of `size` numbers.

    Vectors are `distance` apart and their numbers `step`; `room` has place for one.
    """
    pairs, penalty = max(count * (count - 1) / 2.0, 1.0), 0.0
    for i in range(count):
        own = at + i * distance
        norm = max(length(theta, own, size, step), EPSILON)
        for p in range(size):
            room[room_at + p] = 0.0
        inward = 0.0
        for j in range(count):
            other = at + j * distance
            norm_of_other = max(length(theta, other, size, step), EPSILON)
            cosine = 0.0
            for p in range(0, size * step, step):
                cosine += float(element(theta, own + p)) * float(element(theta, other + p))
            cosine /= norm * norm_of_other
            if i != j and cosine != 0.0:
                penalty += abs(cosine)
                toward = math.copysign(factor / pairs, cosine)
                for p in range(size):
                    room[room_at + p] += toward * float(element(theta, other + p * step)) / norm_of_other
                inward += toward * cosine
        for p in range(size):
            here = own + p * step
            move = (room[room_at + p] - inward * float(element(theta, here)) / norm) / norm
            gradient[here] += theta.dtype.type(move / every)
    return factor * 0.5 * penalty / pairs


@part
def squares(gradient, first, last):
    """Sum of the squares of the gradient from first to last."""
    total = splat(gradient, 0)
    for i in range(first, last, lanes(gradient)):
        g = load(gradient, i)
        total = fma(g, g, total)
    return float(sum_lanes(total))


@part
def scale_of(chunks, count, partial, variable):
    """Norm of the gradient by one variable, or by all where it is below zero."""
    total = 0.0
    for c in range(count):
        if variable < 0 or chunks[c * CHUNK + 2] == variable:
            total += partial[2 * c + 1]
    return math.sqrt(total)


@part
def clip(hyper, chunks, count, partial, gradient, first, last, variable):
    """Limit the gradient from first to last by value, by the norm of its variable, or by that of all."""
    factor = 1.0
    if hyper[CLIP_NORM] > 0:
        factor = hyper[CLIP_NORM] / max(scale_of(chunks, count, partial, variable), hyper[CLIP_NORM])
    elif hyper[GLOBAL_CLIP_NORM] > 0:
        factor = hyper[GLOBAL_CLIP_NORM] / max(scale_of(chunks, count, partial, -1), hyper[GLOBAL_CLIP_NORM])
    elif hyper[CLIP_VALUE] > 0:
        limit = splat(gradient, hyper[CLIP_VALUE])
        for i in range(first, last, lanes(gradient)):
            store(gradient, i, minimum(maximum(load(gradient, i), -limit), limit))
    if factor != 1.0:
        times = splat(gradient, factor)
        for i in range(first, last, lanes(gradient)):
            store(gradient, i, load(gradient, i) * times)


@part
def follow(hyper, theta, slots, first, last, step):
    """The running mean of the weights, which replaces them every EMA_OVERWRITE steps; step is that of the optimizer."""
    at = int(hyper[EMA_SLOT] - 1) * theta.size
    kept = splat(theta, hyper[EMA_MOMENTUM] if step > 1 else 0.0)
    new = splat(theta, 1.0 - hyper[EMA_MOMENTUM] if step > 1 else 1.0)
    replaced = hyper[EMA_OVERWRITE] > 0 and step % int(max(hyper[EMA_OVERWRITE], 1.0)) == 0
    for i in range(first, last, lanes(theta)):
        mean = fma(kept, load(slots, at + i), new * load(theta, i))
        store(slots, at + i, mean)
        if replaced:
            store(theta, i, mean)


@part
def factor_of(norm, kind, low, high, rate):
    """What weights of that norm are multiplied by, as a vector."""
    wanted = splat(norm, 1)
    if kind == _NORM:
        limited = minimum(maximum(norm, splat(norm, low)), splat(norm, high))
        wanted = fma(splat(norm, rate), limited, splat(norm, 1.0 - rate) * norm)
    return wanted / (norm + splat(norm, EPSILON))


@part
def constrain(variables, v, numbers, theta, rank, size):
    """Apply the constraint of one variable, this member's share of it."""
    at = v * VARIABLE
    start, rows, units, row = variables[at], variables[at + ROWS], variables[at + UNITS], variables[at + ROW]
    kind, own = variables[at + CONSTRAINT], variables[at + NUMBERS] + 4
    low, high, rate = numbers[own], numbers[own + 1], numbers[own + 2]
    line, zero = lanes(theta), splat(theta, 0)
    left, right = share(units, line, rank, size)
    if kind == _NON_NEG:
        for i in range(start, start + rows * row, row):
            for j in range(i + left, i + right, line):
                w = load(theta, j)
                store(theta, j, where_less(w, zero, zero, w))
    elif variables[at + AXIS] == 0:
        for j in range(start + left, start + right, line):
            total = zero
            for i in range(j, j + rows * row, row):
                w = load(theta, i)
                total = fma(w, w, total)
            factor = factor_of(sqrt(total), kind, low, high, rate)
            for i in range(j, j + rows * row, row):
                store(theta, i, load(theta, i) * factor)
    else:
        first, last = share(rows, 1, rank, size)
        for i in range(start + first * row, start + last * row, row):
            total = zero
            for j in range(i, i + units, line):
                w = load(theta, j)
                total = fma(w, w, total)
            factor = factor_of(sqrt(splat(theta, sum_lanes(total))), kind, low, high, rate)
            for j in range(i, i + units, line):
                store(theta, j, load(theta, j) * factor)


@kernel
def adjust(variables, chunks, numbers, hyper, rate, theta, gradient, slots, partial, sync, totals, rows, step, every,
           penalized, optimizer, rank, size):  # fmt: skip
    """One step of all parameters; see the top of the file, and epoch.run for the rest.

    step, every   number of this step, from 1; of so many one is the optimizer's
    sync          where the penalties are not finite, sync[DIVERGED] becomes 1 and the loss in totals infinite; no
                  weight is changed, and the gradients are gone, those that wait for their step as well
    penalized     what penalties are multiplied by
    """
    out_of_line()
    count, taken = chunks.size // CHUNK, step % every == 0
    from_chunk, to_chunk = share(count, 1, rank, size)
    for c in range(from_chunk, to_chunk):
        first, variable = chunks[c * CHUNK], chunks[c * CHUNK + 2]
        last, own = first + chunks[c * CHUNK + 1], variables[variable * VARIABLE + NUMBERS]
        partial[2 * c] = 0.0
        if numbers[own] != 0 or numbers[own + 1] != 0:
            penalty = add_penalty(variables, variable, numbers, theta, gradient, first, last, penalized / every)
            partial[2 * c] = penalized * penalty
    barrier(sync, size)
    if rank == 0:
        for v in range(variables.size // VARIABLE):
            at = v * VARIABLE
            own, row = variables[at + NUMBERS], variables[at + ROW]
            if numbers[own + 2] != 0:
                n, m, start = variables[at + ROWS], variables[at + UNITS], variables[at]
                if numbers[own + 3] != 0:
                    n, m, distance, number = m, n, 1, row
                else:
                    distance, number = row, 1
                factor = penalized * numbers[own + 2]
                partial[0] += add_orthogonal_penalty(theta, gradient, start, n, distance, m, number, factor, every,
                                                     partial, 2 * count)  # fmt: skip
        if totals.size > 0:
            for c in range(count):
                totals[0] += rows * partial[2 * c]
    if taken and (hyper[CLIP_NORM] > 0 or hyper[GLOBAL_CLIP_NORM] > 0):
        barrier(sync, size)
        for c in range(from_chunk, to_chunk):
            first = chunks[c * CHUNK]
            partial[2 * c + 1] = squares(gradient, first, first + chunks[c * CHUNK + 1])
    barrier(sync, size)
    penalty = 0.0
    for c in range(count):
        penalty += partial[2 * c]
    # In the type of the weights, in which its gradient would overflow; every member comes to the same.
    if not math.isfinite(theta.dtype.type(penalty)):
        if rank == 0 and totals.size > 0:
            totals[0] += math.inf
        for c in range(from_chunk, to_chunk):
            first = chunks[c * CHUNK]
            for i in range(first, first + chunks[c * CHUNK + 1], lanes(theta)):
                store(gradient, i, splat(gradient, 0))
        sync[DIVERGED] = 1
        return
    for c in range(from_chunk, to_chunk):
        first, variable = chunks[c * CHUNK], chunks[c * CHUNK + 2]
        last = first + chunks[c * CHUNK + 1]
        if taken:
            clip(hyper, chunks, count, partial, gradient, first, last, variable)
            if hyper[OWN_DECAY] > 0 and variables[variable * VARIABLE + DECAYS]:
                kept = splat(theta, 1.0 - rate * hyper[OWN_DECAY])
                for i in range(first, last, lanes(theta)):
                    store(theta, i, load(theta, i) * kept)
            call_at(optimizer, (hyper, rate, step // every, theta, slots, gradient, first, last))
        if hyper[EMA_SLOT] > 0:
            follow(hyper, theta, slots, first, last, (step - 1) // every + 1)
    barrier(sync, size)
    for v in range(variables.size // VARIABLE):
        if variables[v * VARIABLE + CONSTRAINT] != 0:
            constrain(variables, v, numbers, theta, rank, size)
