"""Plain versions of what Keras 3.15.1 computes on JAX: NumPy, float64, no concern for speed.

Subgradients are JAX's: relu 0 at 0, |x| +1 at 0, a clip or a maximum half at its bound, a maximum over a row shared
equally by its ties. Arrays keep the type they come in until their limits, rounded to it, have been taken.
"""

import math

import numpy as np

EPSILON = 1e-7


def _wide(*arrays):
    return [np.asarray(a).astype(np.float64) for a in arrays]


def _epsilon(a):
    """1e-7 as that array's type has it."""
    return np.float64(a.dtype.type(EPSILON))


def _limits(a):
    """Where probabilities of that type are clipped."""
    return _epsilon(a), np.float64(a.dtype.type(1 - EPSILON))


def _inside(x, low=-np.inf, high=np.inf):
    """Derivative of clip(x, low, high): 1 between, 1/2 at a bound, 0 beyond."""
    return np.where((x < low) | (x > high), 0.0, np.where((x == low) | (x == high), 0.5, 1.0))


def _sign(x):
    """Derivative of |x|: +1 at 0."""
    return np.where(x >= 0, 1.0, -1.0)


def _normalize(x, axis=-1):
    """Rows of length one; those shorter than 1e-7 are multiplied by 1e7."""
    return x / np.maximum(np.sqrt((x * x).sum(axis=axis, keepdims=True)), EPSILON)


def _normalize_backward(x, delta, axis=-1):
    """Keras's is NaN for a row of zeros; here what the factor 1e7 around it gives."""
    norm = np.sqrt((x * x).sum(axis=axis, keepdims=True))
    u = _normalize(x, axis)
    along = np.where(norm > EPSILON, (u * delta).sum(axis=axis, keepdims=True), 0)
    return (delta - u * along) / np.maximum(norm, EPSILON)


# ---------------------------------------------------------------------------------------------- activations

# <name>(z) is the activation, <name>_slope(z) its derivative by z.


def linear(z):
    return z * 1.0


def linear_slope(z):
    return np.ones_like(z)


def step(z):
    return np.where(z > 0, 1.0, 0.0)


def step_slope(z):
    return np.zeros_like(z)


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def sigmoid_slope(z):
    return sigmoid(z) * sigmoid(-z)


def hard_sigmoid(z):
    return relu6(z + 3) / 6


def hard_sigmoid_slope(z):
    return relu6_slope(z + 3) / 6


def tanh(z):
    return np.tanh(z)


def tanh_slope(z):
    return 4 * sigmoid_slope(2 * z)


def relu(z, negative_slope=0.0, max_value=None, threshold=0.0):
    """Not continuous at a threshold; with a maximum and a threshold below 0, what lies between is 0."""
    a = np.where(z > threshold, z, 0.0)
    if max_value is not None:
        a = np.clip(a, 0, max_value)
    return a - negative_slope * np.maximum(threshold - z, 0)


def relu_slope(z, negative_slope=0.0, max_value=None, threshold=0.0):
    """At a threshold 0, but for a leaky relu without maximum: at 0 it is 1. At a maximum 1/2, but at 6 it is 0."""
    if negative_slope and max_value is None and threshold == 0:
        return leaky_relu_slope(z, negative_slope)
    slope = np.where(z > threshold, 1.0, 0.0)
    if max_value == 6 and threshold == 0:
        slope *= z < 6
    elif max_value is not None:
        slope *= _inside(np.where(z > threshold, z, 0), 0, max_value) if threshold else _inside(z, high=max_value)
    return slope + negative_slope * (z < threshold)


def relu6(z):
    return np.clip(z, 0, 6)


def relu6_slope(z):
    """0 at 0 and at 6."""
    return np.where((z > 0) & (z < 6), 1.0, 0.0)


def leaky_relu(z, negative_slope=0.2):
    return np.where(z >= 0, z, negative_slope * z)


def leaky_relu_slope(z, negative_slope=0.2):
    """1 at 0."""
    return np.where(z >= 0, 1.0, negative_slope)


def elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def elu_slope(z, alpha=1.0):
    """Alpha at 0."""
    return np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0)))


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


def selu(z):
    return SELU_SCALE * elu(z, SELU_ALPHA)


def selu_slope(z):
    return SELU_SCALE * elu_slope(z, SELU_ALPHA)


def gelu(z, approximate=False):
    if approximate:
        return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    return 0.5 * z * np.vectorize(math.erfc)(-z / np.sqrt(2))


def gelu_slope(z, approximate=False):
    if approximate:
        t = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
        return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
    return 0.5 * np.vectorize(math.erfc)(-z / np.sqrt(2)) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def silu(z):
    return z * sigmoid(z)


def silu_slope(z):
    return sigmoid(z) * (1 + z * sigmoid(-z))


def mish(z):
    return z * np.tanh(softplus(z))


def mish_slope(z):
    return np.tanh(softplus(z)) + z * tanh_slope(softplus(z)) * sigmoid(z)


def softplus(z):
    return np.logaddexp(z, 0)


def softplus_slope(z):
    return sigmoid(z)


def softsign(z):
    return z / (1 + np.abs(z))


def softsign_slope(z):
    return 1 / (1 + np.abs(z)) ** 2


def exponential(z):
    return np.exp(z)


def exponential_slope(z):
    return np.exp(z)


def prelu(z, alpha):
    return np.where(z > 0, z, alpha * z)


def prelu_slope(z, alpha):
    """0 at 0, unlike a leaky relu's."""
    return np.where(z > 0, 1.0, alpha * (z < 0))


def prelu_gradient(z, delta):
    """Gradient by alpha, one of each unit."""
    return (delta * np.minimum(z, 0)).sum(axis=0)


def softmax(z):
    return np.exp(log_softmax(z))


def softmax_backward(a, delta):
    """Gradient by z from the one by a."""
    return a * (delta - (a * delta).sum(axis=-1, keepdims=True))


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def log_softmax_backward(a, delta):
    return delta - np.exp(a) * delta.sum(axis=-1, keepdims=True)


# ---------------------------------------------------------------------------------------------- losses

# Of each row: <name>(a, y) is the loss, <name>_gradient(a, y) its gradient by the output a.


def mean_squared_error(a, y):
    a, y = _wide(a, y)
    return ((a - y) ** 2).mean(axis=1)


def mean_squared_error_gradient(a, y):
    a, y = _wide(a, y)
    return 2 * (a - y) / a.shape[1]


def mean_absolute_error(a, y):
    a, y = _wide(a, y)
    return np.abs(a - y).mean(axis=1)


def mean_absolute_error_gradient(a, y):
    """-1 where a = y: Keras takes |y - a|."""
    a, y = _wide(a, y)
    return -_sign(y - a) / a.shape[1]


def mean_absolute_percentage_error(a, y):
    a, y = _wide(a, y)
    return 100 * (np.abs(y - a) / np.maximum(np.abs(y), EPSILON)).mean(axis=1)


def mean_absolute_percentage_error_gradient(a, y):
    a, y = _wide(a, y)
    return -100 * _sign(y - a) / np.maximum(np.abs(y), EPSILON) / a.shape[1]


def mean_squared_logarithmic_error(a, y):
    low, (a, y) = _epsilon(a), _wide(a, y)
    return ((np.log1p(np.maximum(a, low)) - np.log1p(np.maximum(y, low))) ** 2).mean(axis=1)


def mean_squared_logarithmic_error_gradient(a, y):
    low, (a, y) = _epsilon(a), _wide(a, y)
    p = np.maximum(a, low)
    return 2 * (np.log1p(p) - np.log1p(np.maximum(y, low))) / (1 + p) * _inside(a, low) / a.shape[1]


def huber(a, y, delta=1.0):
    a, y = _wide(a, y)
    size = np.abs(a - y)
    return np.where(size <= delta, size**2 / 2, delta * size - delta**2 / 2).mean(axis=1)


def huber_gradient(a, y, delta=1.0):
    a, y = _wide(a, y)
    return np.clip(a - y, -delta, delta) / a.shape[1]


def log_cosh(a, y):
    a, y = _wide(a, y)
    return (a - y + softplus(-2 * (a - y)) - np.log(2)).mean(axis=1)


def log_cosh_gradient(a, y):
    a, y = _wide(a, y)
    return np.tanh(a - y) / a.shape[1]


def poisson(a, y):
    a, y = _wide(a, y)
    return (a - y * np.log(a + EPSILON)).mean(axis=1)


def poisson_gradient(a, y):
    a, y = _wide(a, y)
    return (1 - y / (a + EPSILON)) / a.shape[1]


def kl_divergence(a, y):
    low, (a, y) = _epsilon(a), _wide(a, y)
    p, y = np.clip(a, low, 1), np.clip(y, low, 1)
    return (y * np.log(y / p)).sum(axis=1)


def kl_divergence_gradient(a, y):
    """Half of it where a is 1, which a softmax in float32 reaches."""
    low, (a, y) = _epsilon(a), _wide(a, y)
    return -np.clip(y, low, 1) / np.clip(a, low, 1) * _inside(a, low, 1)


def _signs(y):
    """Targets 0 and 1 as -1 and 1, if all of the batch are."""
    (y,) = _wide(y)
    return 2 * y - 1 if ((y == 0) | (y == 1)).all() else y


def hinge(a, y):
    (a,), y = _wide(a), _signs(y)
    return np.maximum(1 - y * a, 0).mean(axis=1)


def hinge_gradient(a, y):
    """Half of it where a y = 1."""
    (a,), y = _wide(a), _signs(y)
    return -y * _inside(1 - y * a, 0) / a.shape[1]


def squared_hinge(a, y):
    (a,), y = _wide(a), _signs(y)
    return (np.maximum(1 - y * a, 0) ** 2).mean(axis=1)


def squared_hinge_gradient(a, y):
    (a,), y = _wide(a), _signs(y)
    return -2 * y * np.maximum(1 - y * a, 0) / a.shape[1]


def categorical_hinge(a, y):
    a, y = _wide(a, y)
    return np.maximum(((1 - y) * a).max(axis=1) - (y * a).sum(axis=1) + 1, 0)


def categorical_hinge_gradient(a, y):
    """The largest wrong class may be the right one's own 0, of which nothing flows back."""
    a, y = _wide(a, y)
    wrong = (1 - y) * a
    largest = wrong == wrong.max(axis=1, keepdims=True)
    margin = wrong.max(axis=1) - (y * a).sum(axis=1) + 1
    return _inside(margin, 0)[:, None] * ((1 - y) * largest / largest.sum(axis=1, keepdims=True) - y)


def cosine_similarity(a, y):
    """Negative: a loss."""
    a, y = _wide(a, y)
    return -(_normalize(a) * _normalize(y)).sum(axis=1)


def cosine_similarity_gradient(a, y):
    a, y = _wide(a, y)
    return _normalize_backward(a, -_normalize(y))


def binary_crossentropy(a, y, from_logits=False, label_smoothing=0.0):
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        return (y * softplus(-a) + (1 - y) * softplus(a)).mean(axis=1)
    p = np.clip(a, *limits)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=1)


def binary_crossentropy_gradient(a, y, from_logits=False, label_smoothing=0.0):
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        return (sigmoid(a) - y) / a.shape[1]
    p = np.clip(a, *limits)
    return (p - y) / (p * (1 - p)) * _inside(a, *limits) / a.shape[1]


def categorical_crossentropy(a, y, from_logits=False, label_smoothing=0.0):
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + label_smoothing / a.shape[1]
    if from_logits:
        return -(y * log_softmax(a)).sum(axis=1)
    return -(y * np.log(np.clip(a / a.sum(axis=1, keepdims=True), *limits))).sum(axis=1)


def categorical_crossentropy_gradient(a, y, from_logits=False, label_smoothing=0.0):
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + label_smoothing / a.shape[1]
    if from_logits:
        return log_softmax_backward(log_softmax(a), -y)
    p = a / a.sum(axis=1, keepdims=True)
    return _shares_backward(a, -y / np.clip(p, *limits) * _inside(p, *limits))


def _shares_backward(a, delta):
    """Gradient by a from the one by a / sum(a)."""
    norm = a.sum(axis=1, keepdims=True)
    return (delta - (delta * a / norm).sum(axis=1, keepdims=True)) / norm


def _one_hot(labels, m):
    """Labels outside have a row of zeros."""
    return (labels[:, None] == np.arange(m)) * 1.0


def sparse_categorical_crossentropy(a, labels, from_logits=False):
    return categorical_crossentropy(a, _one_hot(labels, a.shape[1]), from_logits)


def sparse_categorical_crossentropy_gradient(a, labels, from_logits=False):
    return categorical_crossentropy_gradient(a, _one_hot(labels, a.shape[1]), from_logits)


def canonical(activation, a, y):
    """Loss of each sample that goes with the activation, as scikit-learn has it."""
    least, a = np.finfo(a.dtype).eps, a.astype(np.float64)
    y = _one_hot(y, a.shape[1]) if activation == "softmax" else y.astype(np.float64)
    if activation == "linear":
        return 0.5 * ((a - y) ** 2).mean(axis=1)
    if activation == "exponential":
        a = np.maximum(a, least)
        return (y * np.log(np.where(y > 0, y, 1) / a) - y + a).sum(axis=1)
    p = np.clip(a, least, 1 - least)
    return -(y * np.log(p) + ((1 - y) * np.log(1 - p) if activation == "sigmoid" else 0)).sum(axis=1)


def canonical_gradient(activation, a, y):
    """Its gradient by z, in front of the activation; that of the linear one is of the sum over the units."""
    y = _one_hot(y, a.shape[1]) if activation == "softmax" else y.astype(np.float64)
    return a.astype(np.float64) - y


def binary_focal_crossentropy(
    a, y, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0
):
    """(1 - p_t)^gamma times the cross-entropy; p_t is not clipped, the cross-entropy is, from logits too."""
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + 0.5 * label_smoothing
    p = sigmoid(a) if from_logits else a
    q = np.clip(p, *limits)
    entropy = -(y * np.log(q) + (1 - y) * np.log(1 - q))
    weight = y * alpha + (1 - y) * (1 - alpha) if apply_class_balancing else 1.0
    return (weight * (y * (1 - p) + (1 - y) * p) ** gamma * entropy).mean(axis=1)


def binary_focal_crossentropy_gradient(
    a, y, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0
):
    """Keras's is NaN where p_t = 1 if gamma < 1; here the factor has no slope there."""
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + 0.5 * label_smoothing
    p = sigmoid(a) if from_logits else a
    q = np.clip(p, *limits)
    entropy = -(y * np.log(q) + (1 - y) * np.log(1 - q))
    weight = y * alpha + (1 - y) * (1 - alpha) if apply_class_balancing else 1.0
    missing = y * (1 - p) + (1 - y) * p
    slope = np.zeros_like(p)
    at = (missing != 0) | (gamma >= 1)
    slope[at] = gamma * missing[at] ** (gamma - 1)
    by_p = slope * (1 - 2 * y) * entropy + missing**gamma * (q - y) / (q * (1 - q)) * _inside(p, *limits)
    return weight * by_p * (sigmoid_slope(a) if from_logits else 1.0) / a.shape[1]


def categorical_focal_crossentropy(a, y, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0):
    """Everything from clipped probabilities, from logits too."""
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + label_smoothing / a.shape[1]
    p = softmax(a) if from_logits else a / a.sum(axis=1, keepdims=True)
    q = np.clip(p, *limits)
    return -(alpha * (1 - q) ** gamma * y * np.log(q)).sum(axis=1)


def categorical_focal_crossentropy_gradient(a, y, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0):
    limits, (a, y) = _limits(a), _wide(a, y)
    y = y * (1 - label_smoothing) + label_smoothing / a.shape[1]
    p = softmax(a) if from_logits else a / a.sum(axis=1, keepdims=True)
    q = np.clip(p, *limits)
    by_q = alpha * y * (gamma * (1 - q) ** (gamma - 1) * np.log(q) - (1 - q) ** gamma / q) * _inside(p, *limits)
    return softmax_backward(p, by_q) if from_logits else _shares_backward(a, by_q)


# ---------------------------------------------------------------------------------------------- metrics

# Of a whole data set. Weights are of samples; sums are divided by the weights' sum.


def weighted_mean(values, sample_weight=None):
    """Of the rows' means; 0 where the weights sum to 0."""
    values = values.reshape(len(values), -1).mean(axis=1)
    weight = np.ones(len(values)) if sample_weight is None else sample_weight.astype(np.float64)
    return (values * weight).sum() / weight.sum() if weight.sum() else 0.0


def mean_metric(loss, a, y, sample_weight=None, **numbers):
    """The metric of a loss's name."""
    return weighted_mean(globals()[loss](a, y, **numbers), sample_weight)


def cosine_similarity_metric(a, y, sample_weight=None):
    """Positive, unlike the loss."""
    return -mean_metric("cosine_similarity", a, y, sample_weight)


def root_mean_squared_error(a, y, sample_weight=None):
    return np.sqrt(mean_metric("mean_squared_error", a, y, sample_weight))


def binary_accuracy(a, y, sample_weight=None, threshold=0.5):
    return weighted_mean((a > a.dtype.type(threshold)) == y, sample_weight)


def categorical_accuracy(a, y, sample_weight=None):
    return sparse_categorical_accuracy(a, y.argmax(axis=1), sample_weight)


def sparse_categorical_accuracy(a, labels, sample_weight=None):
    return weighted_mean(a.argmax(axis=1) == labels, sample_weight)


def top_k_categorical_accuracy(a, y, sample_weight=None, k=5):
    return sparse_top_k_categorical_accuracy(a, y.argmax(axis=1), sample_weight, k)


def sparse_top_k_categorical_accuracy(a, labels, sample_weight=None, k=5):
    """In the top k is what fewer than k are greater than: ties are all in."""
    own = np.take_along_axis(a, labels[:, None], axis=1)
    return weighted_mean((a > own).sum(axis=1) < k, sample_weight)


def _counts(above, y, sample_weight):
    """Weights of true positives, false positives, true negatives, false negatives; above (thresholds, n, m)."""
    weight = np.ones(len(y)) if sample_weight is None else sample_weight.astype(np.float64)
    weight, positive = weight[:, None], y.astype(bool)
    cases = positive & above, ~positive & above, ~positive & ~above, positive & ~above
    return np.array([(case * weight).sum(axis=(1, 2)) for case in cases])


def _buckets(a, count, edges):
    """Above which of so many even thresholds from 0 to 1; edges: the first is a little below 0."""
    index = np.ceil(np.clip(a, 0, 1) * a.dtype.type(count - 1)) - 1
    return (np.maximum(index, 0) if edges else index) >= np.arange(count)[:, None, None]


def confusion_counts(a, y, sample_weight=None, thresholds=None, top_k=None, class_id=None):
    """(4, thresholds): true positives, false positives, true negatives, false negatives of all outputs together."""
    if top_k is not None:
        first = np.argsort(-a, axis=1, kind="stable")[:, :top_k]
        kept = np.zeros(a.shape, bool)
        np.put_along_axis(kept, first, True, axis=1)
        a = np.where(kept, a, a.dtype.type(-1e10))
    if thresholds is None:
        thresholds = 0.5 if top_k is None else -1e10
    if class_id is not None:
        a, y = a[:, [class_id]], y[:, [class_id]]
    thresholds = np.atleast_1d(thresholds).astype(a.dtype)
    count = len(thresholds)
    if count >= 3 and np.allclose(thresholds, np.linspace(0, 1, count), atol=EPSILON):
        # Outputs are clipped to [0, 1]: none is above a last threshold of 1.
        return _counts(_buckets(a, count, edges=False), y, sample_weight)
    return _counts(a > thresholds[:, None, None], y, sample_weight)


def _one_or_all(values):
    return values[0] if len(values) == 1 else values


def _ratio(a, b):
    """a / b, 0 where b is 0."""
    return np.where(b == 0, 0.0, a / np.where(b == 0, 1, b))


def true_positives(a, y, sample_weight=None, thresholds=None):
    return _one_or_all(confusion_counts(a, y, sample_weight, thresholds)[0])


def false_positives(a, y, sample_weight=None, thresholds=None):
    return _one_or_all(confusion_counts(a, y, sample_weight, thresholds)[1])


def true_negatives(a, y, sample_weight=None, thresholds=None):
    return _one_or_all(confusion_counts(a, y, sample_weight, thresholds)[2])


def false_negatives(a, y, sample_weight=None, thresholds=None):
    return _one_or_all(confusion_counts(a, y, sample_weight, thresholds)[3])


def precision(a, y, sample_weight=None, thresholds=None, top_k=None, class_id=None):
    tp, fp, _, _ = confusion_counts(a, y, sample_weight, thresholds, top_k, class_id)
    return _one_or_all(_ratio(tp, tp + fp))


def recall(a, y, sample_weight=None, thresholds=None, top_k=None, class_id=None):
    tp, _, _, fn = confusion_counts(a, y, sample_weight, thresholds, top_k, class_id)
    return _one_or_all(_ratio(tp, tp + fn))


def fbeta_score(a, y, sample_weight=None, average=None, beta=1.0, threshold=None):
    """Epsilon in every divisor. Without threshold a row's largest is positive, ties too, unless within 1e-9 of 0."""
    positive = (a >= a.max(axis=1, keepdims=True)) & (np.abs(a) > 1e-9) if threshold is None else a > threshold
    weight = np.ones((len(a), 1)) if sample_weight is None else sample_weight[:, None].astype(np.float64)
    axis = None if average == "micro" else 0
    tp, fp, fn, of_class = (
        (weight * case).sum(axis=axis) for case in (positive * y, positive * (1 - y), (1 - positive) * y, y)
    )
    share, found = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
    score = (1 + beta**2) * share * found / (beta**2 * share + found + EPSILON)
    if average == "weighted":
        return (score * of_class / (of_class.sum() + EPSILON)).sum()
    return score if average is None else score.mean()


def f1_score(a, y, sample_weight=None, average=None, threshold=None):
    return fbeta_score(a, y, sample_weight, average, 1.0, threshold)


def auc(a, y, sample_weight=None, num_thresholds=200, curve="ROC", summation_method="interpolation"):
    """Thresholds 1/(T-1) apart, the outer ones beyond 0 and 1; all outputs together."""
    tp, fp, tn, fn = _counts(_buckets(a, num_thresholds, edges=True), y, sample_weight)
    if curve == "PR" and summation_method == "interpolation":
        # Davis & Goadrich (2006): true positives linear in all positives p between two thresholds
        p = tp + fp
        slope = _ratio(tp[:-1] - tp[1:], np.maximum(p[:-1] - p[1:], 0))
        intercept = tp[1:] - slope * p[1:]
        grown = np.where((p[:-1] > 0) & (p[1:] > 0), _ratio(p[:-1], p[1:]), 1.0)
        return _ratio(slope * (tp[:-1] - tp[1:] + intercept * np.log(grown)), tp[1:] + fn[1:]).sum()
    found = _ratio(tp, tp + fn)
    x, height = (_ratio(fp, fp + tn), found) if curve == "ROC" else (found, _ratio(tp, tp + fp))
    heights = {
        "interpolation": (height[:-1] + height[1:]) / 2,
        "minoring": np.minimum(height[:-1], height[1:]),
        "majoring": np.maximum(height[:-1], height[1:]),
    }
    return ((x[:-1] - x[1:]) * heights[summation_method]).sum()


def r2_score(a, y, sample_weight=None, class_aggregation="uniform_average", num_regressors=0):
    """0 for an output whose targets are all alike. The adjustment counts outputs, n m, as samples, weights not."""
    a, y = _wide(a, y)
    weight = np.ones((len(a), 1)) if sample_weight is None else sample_weight[:, None].astype(np.float64)
    mean = (weight * y).sum(axis=0) / weight.sum()
    total = (weight * y * y).sum(axis=0) - mean * (weight * y).sum(axis=0)
    with np.errstate(divide="ignore"):
        score = 1 - (weight * (y - a) ** 2).sum(axis=0) / total
    score = np.where(np.isinf(score), 0, score)
    if class_aggregation == "uniform_average":
        score = score.mean()
    elif class_aggregation == "variance_weighted_average":
        score = (score * total).sum() / total.sum()
    if 0 < num_regressors < a.size - 1:
        return 1 - (1 - score) * (a.size - 1) / (a.size - num_regressors - 1)
    return score


def confusion_matrix(labels, predicted, classes):
    """Row: label; column: prediction."""
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


# ---------------------------------------------------------------------------------------------- optimizers

# One step: new w from w, gradient g, and the state that it changes; step counts from 1.


def sgd(w, state, g, step, learning_rate=0.01, momentum=0.0, nesterov=False):
    v = state["v"] = momentum * state.get("v", 0) - learning_rate * g
    return w + momentum * v - learning_rate * g if nesterov and momentum else w + v


def adam(w, state, g, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    """Epsilon outside the root, of a v that is not corrected."""
    m = state["m"] = beta_1 * state.get("m", 0) + (1 - beta_1) * g
    v = state["v"] = beta_2 * state.get("v", 0) + (1 - beta_2) * g * g
    if amsgrad:
        v = state["largest"] = np.maximum(state.get("largest", 0), v)
    rate = learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return w - rate * m / (np.sqrt(v) + epsilon)


def adamw(w, state, g, step, learning_rate=0.001, weight_decay=0.004, **numbers):
    return adam(w - learning_rate * weight_decay * w, state, g, step, learning_rate, **numbers)


def nadam(w, state, g, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Epsilon outside the root, of a corrected v."""
    u, following = (beta_1 * (1 - 0.5 * 0.96**t) for t in (step, step + 1))
    product = state["product"] = state.get("product", 1) * u
    m = state["m"] = beta_1 * state.get("m", 0) + (1 - beta_1) * g
    v = state["v"] = beta_2 * state.get("v", 0) + (1 - beta_2) * g * g
    m = following * m / (1 - product * following) + (1 - u) * g / (1 - product)
    return w - learning_rate * m / (np.sqrt(v / (1 - beta_2**step)) + epsilon)


def adamax(w, state, g, step, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m = state["m"] = beta_1 * state.get("m", 0) + (1 - beta_1) * g
    u = state["u"] = np.maximum(beta_2 * state.get("u", 0), np.abs(g))
    return w - learning_rate * m / ((1 - beta_1**step) * (u + epsilon))


def rmsprop(w, state, g, step, learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    """Epsilon inside the root; the momentum sums steps that have their learning rate."""
    v = state["v"] = rho * state.get("v", 0) + (1 - rho) * g * g
    if centered:
        mean = state["mean"] = rho * state.get("mean", 0) + (1 - rho) * g
        v = v - mean * mean
    moved = state["moved"] = momentum * state.get("moved", 0) + learning_rate * g / np.sqrt(v + epsilon)
    return w - moved


def adagrad(w, state, g, step, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7):
    """Epsilon inside the root."""
    v = state["v"] = state.get("v", initial_accumulator_value) + g * g
    return w - learning_rate * g / np.sqrt(v + epsilon)


def adadelta(w, state, g, step, learning_rate=0.001, rho=0.95, epsilon=1e-7):
    """Epsilon inside both roots; what is summed has no learning rate."""
    v = state["v"] = rho * state.get("v", 0) + (1 - rho) * g * g
    moved = np.sqrt(state.get("moved", 0) + epsilon) * g / np.sqrt(v + epsilon)
    state["moved"] = rho * state.get("moved", 0) + (1 - rho) * moved * moved
    return w - learning_rate * moved


def lion(w, state, g, step, learning_rate=0.001, beta_1=0.9, beta_2=0.99):
    """The step's sign is of the momentum before."""
    m = state.get("m", 0)
    state["m"] = beta_2 * m + (1 - beta_2) * g
    return w - learning_rate * np.sign(beta_1 * m + (1 - beta_1) * g)


class Optimizer:
    """What Keras does around a step, in its order, on a list of arrays.

    numbers are the optimizer's own (adamw's weight_decay too); a learning_rate may be a function of the calls before,
    as a schedule is. features, all optional: weight_decay, one of clipnorm, clipvalue, global_clipnorm,
    use_ema, ema_momentum, ema_overwrite_frequency, gradient_accumulation_steps, and constraints, a list of functions.
    """

    def __init__(self, name, numbers=None, features=None):
        self.update, self.numbers, self.features = globals()[name], dict(numbers or {}), dict(features or {})
        self.learning_rate = self.numbers.pop("learning_rate", 0.01 if name == "sgd" else 0.001)
        self.calls = 0
        self.states = self.sums = self.averages = None

    def clip(self, gradients):
        clipnorm, clipvalue, largest = (self.features.get(k) for k in ("clipnorm", "clipvalue", "global_clipnorm"))
        if clipnorm:
            return [g * clipnorm / max(np.linalg.norm(g), clipnorm) for g in gradients]
        if largest:
            norm = np.sqrt(sum((g * g).sum() for g in gradients))
            return [g * largest / max(norm, largest) for g in gradients]
        return [np.clip(g, -clipvalue, clipvalue) for g in gradients] if clipvalue else gradients

    def apply(self, weights, gradients):
        """New weights. Averages, their writing back and constraints come with every call, updates with every last."""
        weights, gradients = _wide(*weights), _wide(*gradients)
        if self.states is None:
            self.states = [{} for _ in weights]
            self.sums = [np.zeros_like(w) for w in weights]
            self.averages = [np.zeros_like(w) for w in weights]
        every = self.features.get("gradient_accumulation_steps") or 1
        iterations = self.calls // every  # what Keras counts; a schedule is asked with the calls
        rate = self.learning_rate(self.calls) if callable(self.learning_rate) else self.learning_rate
        self.sums = [s + g for s, g in zip(self.sums, gradients)]
        if (self.calls + 1) % every == 0:
            # The mean is clipped; the decay is of the weights before the step, and no part of the gradient.
            decay = rate * (self.features.get("weight_decay") or 0)
            mean = self.clip([s / every for s in self.sums])
            weights = [
                self.update(w - decay * w, state, g, iterations + 1, learning_rate=rate, **self.numbers)
                for w, state, g in zip(weights, self.states, mean)
            ]
            self.sums = [np.zeros_like(w) for w in weights]
        if self.features.get("use_ema"):
            # The first iteration's averages are the weights themselves.
            momentum = self.features.get("ema_momentum", 0.99) if iterations else 0
            self.averages = [momentum * v + (1 - momentum) * w for v, w in zip(self.averages, weights)]
            frequency = self.features.get("ema_overwrite_frequency")
            if frequency and (iterations + 1) % frequency == 0:
                weights = list(self.averages)
        constraints = self.features.get("constraints") or [None] * len(weights)
        self.calls += 1
        return [c(w) if c else w for c, w in zip(constraints, weights)]


# ---------------------------------------------------------------------------------------------- layers


def batch_normalization(x, gamma, beta, moving_mean, moving_variance, training=True, momentum=0.99, epsilon=1e-3):
    """Output, new moving mean and variance; the variance divides by n in both uses. gamma, beta may be None."""
    x, mean, variance = _wide(x, moving_mean, moving_variance)
    moved = mean, variance
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
        moved = tuple(momentum * old + (1 - momentum) * new for old, new in zip(moved, (mean, variance)))
    return _scaled((x - mean) / np.sqrt(variance + epsilon), gamma, beta), *moved


def _scaled(x, gamma, beta):
    return x * (1 if gamma is None else gamma) + (0 if beta is None else beta)


def batch_normalization_backward(x, gamma, delta, moving_mean, moving_variance, training=True, epsilon=1e-3):
    """Gradients by x, gamma and beta."""
    x, delta, mean, variance = _wide(x, delta, moving_mean, moving_variance)
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
    unit = (x - mean) / np.sqrt(variance + epsilon)
    d = _scaled(delta, gamma, None)
    dx = d - d.mean(axis=0) - unit * (d * unit).mean(axis=0) if training else d
    return dx / np.sqrt(variance + epsilon), (delta * unit).sum(axis=0), delta.sum(axis=0)


def layer_normalization(x, gamma=None, beta=None, epsilon=1e-3, rms_scaling=False):
    """Over the last axis. rms_scaling divides by the deviation from the mean, but takes the mean not off."""
    (x,) = _wide(x)
    mean = 0 if rms_scaling else x.mean(axis=-1, keepdims=True)
    return _scaled((x - mean) / np.sqrt(x.var(axis=-1, keepdims=True) + epsilon), gamma, beta)


def layer_normalization_backward(x, gamma, delta, epsilon=1e-3, rms_scaling=False):
    """Gradients by x, gamma and beta."""
    x, delta = _wide(x, delta)
    centered = x - x.mean(axis=-1, keepdims=True)
    used = x if rms_scaling else centered
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)
    d = _scaled(delta, gamma, None)
    dx = d - centered * (d * used).mean(axis=-1, keepdims=True) / deviation**2
    if not rms_scaling:
        dx = dx - d.mean(axis=-1, keepdims=True)
    return dx / deviation, (delta * used / deviation).sum(axis=0), delta.sum(axis=0)


def normalization(x, mean, variance, invert=False):
    """Epsilon, 1e-7, is the least deviation."""
    x, mean, variance = _wide(x, mean, variance)
    deviation = np.maximum(np.sqrt(variance), EPSILON)
    return mean + x * deviation if invert else (x - mean) / deviation


def rescaling(x, scale, offset=0.0):
    return x.astype(np.float64) * scale + offset


# ---------------------------------------------------------------------------------------------- penalties, weights


def l1(w, l1=0.01):
    return l1_l2(w, l1=l1)


def l1_gradient(w, l1=0.01):
    return l1_l2_gradient(w, l1=l1)


def l2(w, l2=0.01):
    return l1_l2(w, l2=l2)


def l2_gradient(w, l2=0.01):
    return l1_l2_gradient(w, l2=l2)


def l1_l2(w, l1=0.0, l2=0.0):
    (w,) = _wide(w)
    return l1 * np.abs(w).sum() + l2 * (w * w).sum()


def l1_l2_gradient(w, l1=0.0, l2=0.0):
    """+l1 at 0."""
    (w,) = _wide(w)
    return l1 * _sign(w) + 2 * l2 * w


def orthogonal(w, factor=0.01, mode="rows"):
    """The mean |cosine| between two rows, or two columns."""
    u = _normalize(w.astype(np.float64) if mode == "rows" else w.T.astype(np.float64))
    return factor * np.abs(u @ u.T)[~np.eye(len(u), dtype=bool)].mean()


def orthogonal_gradient(w, factor=0.01, mode="rows"):
    """+1 is the slope of a |cosine| that is 0. Keras's is NaN if there is a row of zeros."""
    x = w.astype(np.float64) if mode == "rows" else w.T.astype(np.float64)
    u = _normalize(x)
    signs = _sign(u @ u.T) * (1 - np.eye(len(u)))
    dx = _normalize_backward(x, 2 * factor / (len(u) * (len(u) - 1)) * signs @ u)
    return dx if mode == "rows" else dx.T


def activity(penalty, a, **numbers):
    """Penalty on a layer's output, by the batch's own size."""
    return globals()[penalty](a, **numbers) / len(a)


def activity_gradient(penalty, a, **numbers):
    return globals()[f"{penalty}_gradient"](a, **numbers) / len(a)


def class_weights(y, class_weight):
    """Sample weights: 1 for a class without; labels are rounded, half to even."""
    labels = y if y.ndim == 1 else y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
    return np.array([class_weight.get(int(label), 1.0) for label in np.round(labels)])


# ---------------------------------------------------------------------------------------------- constraints

# Of w (k, m), every unit's weights, a column; of b (m,) all together.


def _norms(w):
    return np.sqrt((w.astype(np.float64) ** 2).sum(axis=0, keepdims=True))


def max_norm(w, max_value=2):
    """Epsilon in the divisor: what is short enough shrinks a little too."""
    return w * np.minimum(_norms(w), max_value) / (EPSILON + _norms(w))


def non_neg(w):
    return np.maximum(w, 0)


def unit_norm(w):
    return w / (EPSILON + _norms(w))


def min_max_norm(w, min_value=0.0, max_value=1.0, rate=1.0):
    desired = rate * np.clip(_norms(w), min_value, max_value) + (1 - rate) * _norms(w)
    return w * desired / (EPSILON + _norms(w))
