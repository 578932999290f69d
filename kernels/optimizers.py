"""Optimizers: one sweep over parameters, gradient and state.

To add one: its section with a part on vectors, and a line in _PARTS; its twin goes into tests/twins.py. One part
makes the constants of a step, another takes a line of parameters w and its gradient g, keeps its state at `i`,
`size + i` ... of `slots`, and returns the new w. The epoch calls the kernels by address (see by_address.py). Plain sgd
has no sweep where nothing else is asked for: its step is added while the gradient is summed (see epoch.py).

source  Keras's formulas; momentum after Polyak (1964), nesterov after Sutskever et al. (2013), ICML
"""

import math

from ._jit import kernel, out_of_line, part
from .activations import sign
from .simd import absolute, fma, lanes, load, maximum, splat, sqrt, store

#: Arguments of an optimizer's kernel, see by_address.address and _sweep.
UPDATE = "fdiaaaii"

#: Places of the numbers that all optimizers share in `hyper`; an optimizer's own begin at OWN.
ITERATIONS, DECAY, OWN_DECAY, CLIP_VALUE, CLIP_NORM, GLOBAL_CLIP_NORM, EMA_MOMENTUM, EMA_OVERWRITE, EMA_SLOT, OWN = (
    range(10)
)
HYPER_SIZE = 16

# ------------------------------------------------------------------ sgd: w -= lr g


@part
def sgd_constants(hyper, rate, step):
    return rate, 0.0, 0.0, 0.0


@part
def sgd_line(w, g, c, slots, size, i):
    return fma(splat(w, -c[0]), g, w)


# ------------------------------------------------------------------ momentum: v = m v - lr g;  w += v


@part
def momentum_constants(hyper, rate, step):
    """Numbers: momentum."""
    return rate, hyper[OWN], 0.0, 0.0


@part
def momentum_line(w, g, c, slots, size, i):
    velocity = fma(splat(w, c[1]), load(slots, i), splat(w, -c[0]) * g)
    store(slots, i, velocity)
    return w + velocity


# ------------------------------------------------------------------ nesterov: v likewise;  w += m v - lr g


@part
def nesterov_line(w, g, c, slots, size, i):
    momentum, move = splat(w, c[1]), splat(w, -c[0]) * g
    velocity = fma(momentum, load(slots, i), move)
    store(slots, i, velocity)
    return w + fma(momentum, velocity, move)


# ------------------------------------------------------------------ adam
# source  Kingma & Ba (2015), ICLR; amsgrad after Reddi, Kale & Kumar (2018), ICLR


@part
def moment(old, new, share):
    """The running mean: old + (new - old) share."""
    return fma(new - old, share, old)


@part
def adam_constants(hyper, rate, step):
    """Numbers: beta_1, beta_2, epsilon; state: m, v."""
    beta1, beta2 = hyper[OWN], hyper[OWN + 1]
    return rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step), 1.0 - beta1, 1.0 - beta2, hyper[OWN + 2]


@part
def adam_line(w, g, c, slots, size, i):
    m = moment(load(slots, i), g, splat(w, c[1]))
    v = moment(load(slots, size + i), g * g, splat(w, c[2]))
    store(slots, i, m)
    store(slots, size + i, v)
    return w - splat(w, c[0]) * m / (sqrt(v) + splat(w, c[3]))


@part
def amsgrad_line(w, g, c, slots, size, i):
    """State: m, v, the largest v."""
    m = moment(load(slots, i), g, splat(w, c[1]))
    v = moment(load(slots, size + i), g * g, splat(w, c[2]))
    largest = maximum(load(slots, 2 * size + i), v)
    store(slots, i, m)
    store(slots, size + i, v)
    store(slots, 2 * size + i, largest)
    return w - splat(w, c[0]) * m / (sqrt(largest) + splat(w, c[3]))


# ------------------------------------------------------------------ nadam
# source  Dozat (2016), ICLR workshop: the momentum of step t is beta_1 (1 - 0.5 0.96^t)


@part
def nadam_constants(hyper, rate, step):
    """Numbers: beta_1, beta_2, epsilon; state: m, v."""
    beta1, beta2 = hyper[OWN], hyper[OWN + 1]
    product, decayed, t = 1.0, 1.0, 0.0
    while t < step and product > 1e-17:  # below it is nothing beside 1
        decayed *= 0.96
        product *= beta1 * (1.0 - 0.5 * decayed)
        t += 1.0
    here, ahead = beta1 * (1.0 - 0.5 * 0.96**step), beta1 * (1.0 - 0.5 * 0.96 ** (step + 1.0))
    scale = math.sqrt(1.0 - beta2**step)
    return (rate * scale * ahead / (1.0 - product * ahead), rate * scale * (1.0 - here) / (1.0 - product), 1.0 - beta1,
            1.0 - beta2, scale * hyper[OWN + 2])  # fmt: skip


@part
def nadam_line(w, g, c, slots, size, i):
    m = moment(load(slots, i), g, splat(w, c[2]))
    v = moment(load(slots, size + i), g * g, splat(w, c[3]))
    store(slots, i, m)
    store(slots, size + i, v)
    return w - fma(splat(w, c[0]), m, splat(w, c[1]) * g) / (sqrt(v) + splat(w, c[4]))


# ------------------------------------------------------------------ adamax
# source  Kingma & Ba (2015), ICLR, section 7


@part
def adamax_constants(hyper, rate, step):
    """Numbers: beta_1, beta_2, epsilon; state: m, u."""
    return rate / (1.0 - hyper[OWN] ** step), 1.0 - hyper[OWN], hyper[OWN + 1], hyper[OWN + 2]


@part
def adamax_line(w, g, c, slots, size, i):
    m = moment(load(slots, i), g, splat(w, c[1]))
    u = maximum(splat(w, c[2]) * load(slots, size + i), absolute(g))
    store(slots, i, m)
    store(slots, size + i, u)
    return w - splat(w, c[0]) * m / (u + splat(w, c[3]))


# ------------------------------------------------------------------ rmsprop
# source  Tieleman & Hinton (2012), Coursera lecture 6.5; centered after Graves (2013), arXiv:1308.0850


@part
def rmsprop_constants(hyper, rate, step):
    """Numbers: rho, momentum, epsilon; state: v, the momentum's."""
    return rate, 1.0 - hyper[OWN], hyper[OWN + 1], hyper[OWN + 2]


@part
def rmsprop_line(w, g, c, slots, size, i):
    v = moment(load(slots, i), g * g, splat(w, c[1]))
    move = fma(splat(w, c[2]), load(slots, size + i), splat(w, c[0]) * g / sqrt(v + splat(w, c[3])))
    store(slots, i, v)
    store(slots, size + i, move)
    return w - move


@part
def centered_rmsprop_line(w, g, c, slots, size, i):
    """State: v, the momentum's, mean gradient."""
    v = moment(load(slots, i), g * g, splat(w, c[1]))
    mean = moment(load(slots, 2 * size + i), g, splat(w, c[1]))
    spread = fma(-mean, mean, v) + splat(w, c[3])
    move = fma(splat(w, c[2]), load(slots, size + i), splat(w, c[0]) * g / sqrt(spread))
    store(slots, i, v)
    store(slots, size + i, move)
    store(slots, 2 * size + i, mean)
    return w - move


# ------------------------------------------------------------------ adagrad
# source  Duchi, Hazan & Singer (2011), JMLR 12


@part
def adagrad_constants(hyper, rate, step):
    """Numbers: epsilon; state: sum of squares, from its first value on."""
    return rate, hyper[OWN], 0.0, 0.0


@part
def adagrad_line(w, g, c, slots, size, i):
    total = fma(g, g, load(slots, i))
    store(slots, i, total)
    return w - splat(w, c[0]) * g / sqrt(total + splat(w, c[1]))


# ------------------------------------------------------------------ adadelta
# source  Zeiler (2012), arXiv:1212.5701


@part
def adadelta_constants(hyper, rate, step):
    """Numbers: rho, epsilon; state: mean squares of the gradients and of the moves."""
    return rate, 1.0 - hyper[OWN], hyper[OWN + 1], 0.0


@part
def adadelta_line(w, g, c, slots, size, i):
    epsilon, moves = splat(w, c[2]), load(slots, size + i)
    v = moment(load(slots, i), g * g, splat(w, c[1]))
    move = -(sqrt(moves + epsilon) * g / sqrt(v + epsilon))
    store(slots, i, v)
    store(slots, size + i, moment(moves, move * move, splat(w, c[1])))
    return fma(splat(w, c[0]), move, w)


# ------------------------------------------------------------------ lion
# source  Chen et al. (2023), NeurIPS


@part
def lion_constants(hyper, rate, step):
    """Numbers: beta_1, beta_2; state: m."""
    return rate, 1.0 - hyper[OWN], 1.0 - hyper[OWN + 1], 0.0


@part
def lion_line(w, g, c, slots, size, i):
    m = load(slots, i)
    store(slots, i, moment(m, g, splat(w, c[2])))
    return fma(splat(w, -c[0]), sign(moment(m, g, splat(w, c[1]))), w)


# ------------------------------------------------------------------ kernels from the parts


def _sweep(name, constants, line_of):
    """The kernel of an optimizer: one step on the parameters from first to last, whole lines.

    hyper      (HYPER_SIZE,) see the top
    rate       learning rate of this step
    step       number of this step, from 1
    theta      (size,) parameters, updated
    slots      (SLOTS * size,) state, updated
    gradient   (size,) read, and set to zero for the next step's sum
    """

    def update(hyper, rate, step, theta, slots, gradient, first, last):
        out_of_line()
        zero, c = splat(theta, 0), constants(hyper, rate, float(step))
        kept = splat(theta, 1.0 - rate * hyper[DECAY])
        for i in range(first, last, lanes(theta)):
            g = load(gradient, i)
            store(gradient, i, zero)
            store(theta, i, line_of(load(theta, i) * kept, g, c, slots, theta.size, i))

    update.__qualname__ = f"{name}_update"
    return kernel(update)


_PARTS = {
    "sgd": (sgd_constants, sgd_line, 0),
    "momentum": (momentum_constants, momentum_line, 1),
    "nesterov": (momentum_constants, nesterov_line, 1),
    "adam": (adam_constants, adam_line, 2),
    "amsgrad": (adam_constants, amsgrad_line, 3),
    "nadam": (nadam_constants, nadam_line, 2),
    "adamax": (adamax_constants, adamax_line, 2),
    "rmsprop": (rmsprop_constants, rmsprop_line, 2),
    "centered_rmsprop": (rmsprop_constants, centered_rmsprop_line, 3),
    "adagrad": (adagrad_constants, adagrad_line, 1),
    "adadelta": (adadelta_constants, adadelta_line, 2),
    "lion": (lion_constants, lion_line, 1),
}

#: Kernel of each optimizer.
KERNELS = {name: _sweep(name, *parts) for name, (*parts, _) in _PARTS.items()}

#: State per parameter, in arrays of theta's size.
SLOTS = {name: slots for name, (*_, slots) in _PARTS.items()}

NAMES = tuple(KERNELS)
