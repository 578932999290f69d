"""Every kernel's plain version, under the same name: NumPy, float64, no concern for speed."""

import numpy as np
import twins

from fastmlp.saving.steps import Affine, LayerNormalization, PReLU, Scale


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


# ---------------------------------------------------------------------------------------------- operations

# An operation is a fastmlp.plan.Stage; its arrays are its parameters and its state, in the order of Layout.views.

_GOLDEN, _MASK = 0x9E3779B97F4A7C15, 2**64 - 1


def _mixed(z):
    """splitmix64's end, Steele, Lea & Flood (2014), in Python's integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


def uniform(key, places, dtype):
    """Random numbers in [0, 1) at these places of the stream of that key, as float32 or float64 has them."""
    start, bits = _mixed(key & _MASK), 24 if dtype == np.float32 else 53
    drawn = [_mixed(start + (place + 1) * _GOLDEN & _MASK) >> (64 - bits) for place in np.ravel(places).tolist()]
    return np.array(drawn, np.float64).reshape(np.shape(places)) * 2.0**-bits


def drawn(stage, n, row, key, dtype):
    """What dropout multiplies by, and noise adds or multiplies by, (n, units); rows are `row` apart in the stream."""
    if stage.kind not in ("dropout", "noise"):
        return None
    places, stream = row * np.arange(n)[:, None] + np.arange(stage.units), int(stage.numbers[0]) * 1000003 + key
    u = uniform(stream, places, dtype)
    if stage.kind == "dropout":
        rate = stage.numbers[1]
        return (u >= dtype(rate)) / (1 - rate)
    normal = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * uniform(stream ^ 0x5DEECE66D, places, dtype))
    return stage.numbers[1] * normal + stage.numbers[2]


def operate(stage, arrays, x, training=False, factor=None):
    """Output, and the arrays afterwards; factor is what was drawn."""
    numbers = stage.numbers
    if training and stage.kind in ("dropout", "noise"):
        return (x + factor if stage.kind == "noise" and not numbers[2] else x * factor), arrays
    if stage.kind == "batch_normalization":
        out, *state = twins.batch_normalization(x, *arrays, training and not numbers[4], *numbers[:2])
        return out, [*arrays[:2], *state]
    if stage.kind == "layer_normalization":
        return twins.layer_normalization(x, *arrays, numbers[0], bool(numbers[3])), arrays
    if stage.kind == "prelu":
        return twins.prelu(x, *arrays), arrays
    if stage.kind == "rescaling":
        return twins.rescaling(x, *numbers), arrays
    if stage.kind == "normalization":
        return twins.normalization(x, *arrays, bool(numbers[0])), arrays
    return x, arrays


def operate_backward(stage, arrays, x, delta, training=True, factor=None, scale=1.0):
    """Gradient by x, and by each parameter; scale is what the gradient of a sample's loss was multiplied by."""
    numbers = stage.numbers
    if training and (stage.kind == "dropout" or (stage.kind == "noise" and numbers[2])):
        return delta * factor, []
    if stage.kind == "batch_normalization":
        gamma, _, *state = arrays
        dx, *by = twins.batch_normalization_backward(
            x, gamma, delta, *state, training and not numbers[4], numbers[1]
        )  # fmt: skip
        return dx, [d * flag for d, flag in zip(by, numbers[2:4])]
    if stage.kind == "layer_normalization":
        dx, *by = twins.layer_normalization_backward(x, arrays[0], delta, numbers[0], bool(numbers[3]))
        return dx, [d * flag for d, flag in zip(by, numbers[1:3])]
    if stage.kind == "prelu":
        return delta * twins.prelu_slope(x, *arrays), [twins.prelu_gradient(x, delta)]
    if stage.kind == "rescaling":
        return delta * numbers[0], []
    if stage.kind == "normalization":
        deviation = twins.normalization(np.ones(1), 0 * arrays[1], arrays[1], invert=True)
        return delta * deviation if numbers[0] else delta / deviation, []
    if stage.kind == "activity":
        return delta + scale * twins.l1_l2_gradient(x, *numbers), []
    return delta, []


def penalties(stage, x):
    """Sum over the samples of what a stage adds to the loss of each."""
    return twins.l1_l2(x, *stage.numbers) if stage.kind == "activity" else 0.0


# ---------------------------------------------------------------------------------------------- network, epoch

# Stages are those of a Layout, weights the arrays of each: w (k, m), b (m,) of a dense layer.


def _twin_of(activation):
    """Name in twins.py, and its arguments."""
    name, numbers = activation
    known = {"gelu_approximate": ("gelu", True), "general_relu": ("relu", *numbers)}
    return known.get(name, (name, *numbers))


def activation(form, z):
    name, *numbers = _twin_of(form)
    return getattr(twins, name)(z, *numbers)


def activation_backward(form, z, a, delta):
    """Gradient by z from the one by a."""
    name, *numbers = _twin_of(form)
    if "softmax" in name:
        return getattr(twins, f"{name}_backward")(a, delta)
    return delta * getattr(twins, f"{name}_slope")(z, *numbers)


def forward(stages, weights, x, training=False, draw=None):
    """Of each stage input, z, output, what was drawn and its arrays afterwards; draw(i, stage, n) draws."""
    steps, a = [], x.astype(np.float64)
    for i, (stage, arrays) in enumerate(zip(stages, weights)):
        factor, below = draw(i, stage, len(x)) if training and draw else None, a
        if stage.kind == "dense":
            z = product_forward(below, arrays[0]) + arrays[1]
        else:
            z, arrays = operate(stage, arrays, below, training, factor)
        a = activation(stage.activation, z)
        steps.append((below, z, a, factor, arrays))
    return steps


def output(stages, weights, x):
    """Of the last stage, as in inference."""
    return forward(stages, weights, x)[-1][2]


def losses_of(loss, a, y):
    """Loss of each row; loss is one of fastmlp.losses."""
    return _of_loss(loss, "", a, y)


def _of_loss(loss, suffix, a, y):
    numbers = {k: v for k, v in loss.get_config().items() if k != "name"}
    name = loss.kernel_name.removesuffix("_from_logits")
    return getattr(twins, name + suffix)(a, y, **numbers)


def gradients(stages, weights, loss, x, y, sample_weight=None, steps=None):
    """Gradient of the mean loss by every array that training changes, else zeros; of each stage a list."""
    steps = forward(stages, weights, x) if steps is None else steps
    delta = _of_loss(loss, "_gradient", steps[-1][2], y) / len(x)
    if sample_weight is not None:
        delta = delta * sample_weight[:, None]
    found = []
    for stage, arrays, (below, z, a, factor, _) in list(zip(stages, weights, steps))[::-1]:
        delta = activation_backward(stage.activation, z, a, delta)
        if stage.kind == "dense":
            by = [below.T @ delta * (stage.trained & 1), delta.sum(axis=0) * (stage.trained >> 1 and stage.use_bias)]
            delta = product_backward(delta, arrays[0])
        else:
            delta, by = operate_backward(stage, arrays, below, delta, True, factor, 1 / len(x))
            by = [d * (stage.trained & 1) for d in by]
        found.append([*by, *(np.zeros_like(array) for array in arrays[len(by) :])])
    return found[::-1]


def scores(stages, steps, loss, metrics, y, sample_weight=None):
    """Sums over the samples of the loss with all penalties, of each metric and of the weights."""
    a, n = steps[-1][2], len(y)
    own = losses_of(loss, a, y) * (1 if sample_weight is None else sample_weight)
    values = [own.sum() + sum(penalties(stage, step[0]) for stage, step in zip(stages, steps))]
    for name in metrics:
        value = getattr(twins, "sparse_" + name if y.ndim == 1 else name)(a, y)
        values.append(value.sum() if np.ndim(value) else n * value)
    return np.array([*values, 0.0 if sample_weight is None else sample_weight.sum()])


def train(stages, weights, loss, metrics, optimizer, x, y, batch_size, steps, sample_weight=None, draw=None):
    """So many steps over the rows of x in turn, from the start again at their end.

    optimizer: of twins.py. Returns weights, and per step the sums over its batch; draw(i, stage, n, step) draws.
    """
    weights = [[array.astype(np.float64) for array in arrays] for arrays in weights]
    per_epoch, sums = -(-len(x) // batch_size), []
    for count in range(steps):
        first = count % per_epoch * batch_size
        rows = slice(first, first + batch_size)
        own = None if sample_weight is None else sample_weight[rows]

        def at_step(i, stage, n, count=count):
            return draw(i, stage, n, count)

        done = forward(stages, weights, x[rows], True, draw and at_step)
        sums.append(scores(stages, done, loss, metrics, y[rows], own))
        by = gradients(stages, weights, loss, x[rows], y[rows], own, done)
        weights = [list(step[4]) for step in done]
        # What is not trained has no variable.
        places = [(i, j) for i, stage in enumerate(stages) for j in trained(stage)]
        moved = optimizer.apply([weights[i][j] for i, j in places], [by[i][j] for i, j in places])
        for (i, j), array in zip(places, moved):
            weights[i][j] = array
    return weights, np.array(sums)


def trained(stage):
    """Which of a stage's arrays the optimizer changes."""
    if stage.kind == "dense":
        return [0] * bool(stage.trained & 1) + [1] * bool(stage.trained & 2 and stage.use_bias)
    flags = {"batch_normalization": stage.numbers[2:4], "layer_normalization": stage.numbers[1:3], "prelu": (1,)}
    return [j for j, flag in enumerate(flags.get(stage.kind, ())) if flag and stage.trained & 1]


# ---------------------------------------------------------------------------------------------- frozen


def predict_rows(steps, x):
    """What the steps make of flat samples, in float64."""
    a = np.asarray(x, np.float64)
    for step in steps:
        if isinstance(step, Affine):
            a = a @ step.weights + step.bias
        elif isinstance(step, Scale):
            a = a * step.factor + step.offset
        elif isinstance(step, PReLU):
            a = np.where(a < 0, step.slope * a, a)
        elif isinstance(step, LayerNormalization):
            centred = a - a.mean(axis=1, keepdims=True)
            taken = a if step.rms_scaling else centred
            root = np.sqrt((centred**2).mean(axis=1, keepdims=True) + step.epsilon)
            a = taken / root * step.gamma + step.beta
        elif step.name == "gelu_approximate":
            a = twins.gelu(a, approximate=True)
        else:
            name = "relu" if step.name == "general_relu" else step.name
            a = getattr(twins, name)(a, *step.numbers)
    return a
