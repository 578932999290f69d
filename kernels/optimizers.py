"""Optimizers: one sweep over parameters, gradient and state.

To add one: its section with a kernel on vectors, its name in NAMES, its number of slots in SLOTS, a line in
`update`; its twin goes into tests/reference.py. Plain "sgd" has no sweep: its step is added while the gradient
is summed (see dense.py).

source  Keras's formulas; momentum after Polyak (1964), nesterov after Sutskever et al. (2013), ICML
"""

from ._jit import kernel, out_of_line
from .simd import fma, lanes, load, splat, store

#: The optimizer of code i is NAMES[i].
NAMES = ("sgd", "momentum", "nesterov")
SGD, MOMENTUM, NESTEROV = range(len(NAMES))

#: State per parameter, in arrays of theta's size.
SLOTS = (0, 1, 1)

#: Places of an optimizer's numbers in `hyper`.
LEARNING_RATE, MOMENTUM_RATE = 0, 1
HYPER_SIZE = 8


@kernel
def update(code, hyper, theta, slots, gradient, first, last):
    """One step of the optimizer on the parameters from first to last, a whole number of lines.

        momentum   v = m v - lr g;  w += v
        nesterov   v = m v - lr g;  w += m v - lr g

    hyper      (HYPER_SIZE,) float64: learning rate, momentum
    theta      (size,) parameters, updated
    slots      (SLOTS[code] * size,) state, updated
    gradient   (size,) read, and set to zero for the next step's sum
    """
    out_of_line()
    line = lanes(theta)
    rate = splat(theta, hyper[LEARNING_RATE])
    momentum = splat(theta, hyper[MOMENTUM_RATE])
    for i in range(first, last, line):
        step = -(rate * load(gradient, i))
        velocity = fma(momentum, load(slots, i), step)
        store(slots, i, velocity)
        if code == NESTEROV:
            velocity = fma(momentum, velocity, step)
        store(theta, i, load(theta, i) + velocity)
        store(gradient, i, splat(theta, 0))
