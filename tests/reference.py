"""Every kernel's plain version, under the same name: NumPy, float64, no concern for speed."""

import numpy as np
import twins


def draw_glyphs(distance, glyph, affine, elastic, basis, stroke, noise):
    """Images (n, h, h), uint8, as fastmlp.kernels.printed_digits.draw_glyphs writes them."""
    n, h = noise.shape[:2]
    y, x = np.indices((h, h))
    images = np.zeros((n, h, h), np.uint8)
    for i in range(n):
        last = distance.shape[1] - 1
        field = np.pad(distance[glyph[i]].astype(np.float64), (0, 1))
        bend = np.einsum("yj,xk,cjk->cyx", *(a.astype(np.float64) for a in (basis, basis, elastic[i])))
        u, v = (affine[i, c, 0] * x + affine[i, c, 1] * y + affine[i, c, 2] + bend[c] for c in range(2))
        inside = (u >= 0) & (u < last) & (v >= 0) & (v < last)
        u, v = np.where(inside, u, 0), np.where(inside, v, 0)
        column, row = u.astype(int), v.astype(int)
        right, down = u - column, v - row
        d = (1 - down) * ((1 - right) * field[row, column] + right * field[row, column + 1]) + down * (
            (1 - right) * field[row + 1, column] + right * field[row + 1, column + 1]
        )
        weight, blur, mottle, dust = stroke[i].astype(np.float64)
        t = np.clip((weight - d) / blur + 0.5, 0, 1)
        ink = inside * (3 * t**2 - 2 * t**3) * (1 - mottle * noise[i] / 255)
        ink = np.where(noise[i] == 255, np.maximum(ink, dust), ink)
        images[i] = np.floor(255 * ink + 0.5)
    return images


# ---------------------------------------------------------------------------------------------- matmul


def matmul(a, b):
    """A b in float64."""
    return a.astype(np.float64) @ b.astype(np.float64)


def product_forward(x, w):
    """x w."""
    return matmul(x, w)


def product_backward(d, w):
    """d wT."""
    return matmul(d, w.T)


def product_gradient(dw, x, d):
    """dw + xT d."""
    return dw.astype(np.float64) + matmul(x.T, d)


def product_lanes(x, w):
    """wT x."""
    return matmul(w.T, x)


def product_lanes_backward(d, w):
    """w d."""
    return matmul(w, d)


# ---------------------------------------------------------------------------------------------- lanes, dense, score


def transpose(source):
    return source.T


def gather(x, order):
    """Those rows, as floats."""
    return x[order].astype(np.float64)


def add_rows(target, source):
    """target + the sum of the source's rows."""
    return target.astype(np.float64) + source.sum(axis=0, dtype=np.float64)


# Activations, losses and metrics are in twins.py.


def activate_backward(name, a, delta):
    """Gradient by z from the one by a."""
    if name == "softmax":
        return twins.softmax_backward(a, delta)
    return delta * {"linear": 1 + 0 * a, "relu": a > 0, "sigmoid": a * (1 - a), "tanh": 1 - a * a}[name]


# ---------------------------------------------------------------------------------------------- optimizers

# One step: (theta, velocity) from theta, velocity, gradient, learning rate, momentum.


def sgd(theta, velocity, gradient, rate, momentum):
    return theta - rate * gradient, velocity


def momentum(theta, velocity, gradient, rate, momentum):
    velocity = momentum * velocity - rate * gradient
    return theta + velocity, velocity


def nesterov(theta, velocity, gradient, rate, momentum):
    velocity = momentum * velocity - rate * gradient
    return theta + momentum * velocity - rate * gradient, velocity


# ---------------------------------------------------------------------------------------------- network, epoch


def forward(weights, activations, x):
    """Input and output of every layer: len(weights) + 1 arrays; weights are pairs w (k, m), b (m,)."""
    a = [x.astype(np.float64)]
    for (w, b), name in zip(weights, activations):
        a.append(getattr(twins, name)(product_forward(a[-1], w) + b))
    return a


def gradients(weights, activations, loss, x, y):
    """Mean gradient over the batch of every w and b, as pairs."""
    a = forward(weights, activations, x)
    delta = getattr(twins, f"{loss}_gradient")(a[-1], y) / len(x)
    pairs = []
    for layer in range(len(weights) - 1, -1, -1):
        delta = activate_backward(activations[layer], a[layer + 1], delta)
        pairs.append((a[layer].T @ delta, delta.sum(axis=0)))
        delta = product_backward(delta, weights[layer][0])
    return pairs[::-1]


def train(weights, activations, loss, metrics, optimizer, hyper, x, y, batch_size, steps, use_bias=True):
    """So many steps over the rows of x in turn, from the start again at their end.

    Returns weights, and per step the sums over its batch: the loss, then the metrics. hyper: (rate, momentum)
    """
    weights = [[p.astype(np.float64) for p in pair] for pair in weights]
    velocity = [[np.zeros_like(p) for p in pair] for pair in weights]
    per_epoch = -(-len(x) // batch_size)
    sums = []
    for count in range(steps):
        first = count % per_epoch * batch_size
        rows = slice(first, first + batch_size)
        out = forward(weights, activations, x[rows])[-1]
        sums.append(
            [getattr(twins, loss)(out, y[rows]).sum(), *(getattr(twins, m)(out, y[rows]) * len(out) for m in metrics)]
        )
        for layer, pair in enumerate(gradients(weights, activations, loss, x[rows], y[rows])):
            for i in range(1 + use_bias):
                weights[layer][i], velocity[layer][i] = globals()[optimizer](
                    weights[layer][i], velocity[layer][i], pair[i], *hyper
                )
    return weights, np.array(sums)
