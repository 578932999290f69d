"""The C of each step: what a header's function calls. NAME stands for the network's name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .steps import Activation, Affine, LayerNormalization, PReLU, Scale, Step


@dataclass(frozen=True)
class Quantized(Affine):
    """Weights that are `factor` times whole numbers from -127 to 127, the factor of each unit."""

    whole: np.ndarray
    factor: np.ndarray


# Of each activation the arguments behind x, and its value; NAME is the network's.
FUNCTIONS = {
    "step": ("", "x > 0.0f ? 1.0f : 0.0f"),
    "sigmoid": ("", "1.0f / (1.0f + expf(-x))"),
    "hard_sigmoid": ("", "(x < -3.0f ? 0.0f : x > 3.0f ? 6.0f : x + 3.0f) / 6.0f"),
    "tanh": ("", "tanhf(x)"),
    "relu": ("", "x < 0.0f ? 0.0f : x"),
    "relu6": ("", "x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x"),
    "leaky_relu": ("slope", "x < 0.0f ? slope * x : x"),
    "exponential": ("", "expf(x)"),
    "general_relu": ("slope, high, threshold",
                     "x > threshold ? (x > high ? high : x) : slope != 0.0f ? slope * (x - threshold) : "
                     "x != x ? x : 0.0f"),
    "elu": ("alpha", "x > 0.0f ? x : alpha * expm1f(x)"),
    "selu": ("", "x > 0.0f ? 1.05070099f * x : 1.75809934f * expm1f(x)"),
    "gelu": ("", "0.5f * x * erfcf(-0.707106781f * x)"),
    "gelu_approximate": ("", "x / (1.0f + expf(-1.59576912f * x * (1.0f + 0.044715f * x * x)))"),
    "silu": ("", "x / (1.0f + expf(-x))"),
    "mish": ("", "x * tanhf((x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))))"),
    "softplus": ("", "(x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)))"),
    "softsign": ("", "x / (1.0f + fabsf(x))"),
}  # fmt: skip

# What the steps call, written where a network has the step. C++ has no `restrict`, but compilers have one for it.
DENSE = """
/* out = x w + b, w in rows of units; four rows at a time, so that additions wait less for each other. */
static inline void NAME_dense(int inputs, int units, const float *NAME_RESTRICT x, const float *NAME_RESTRICT w,
                              const float *NAME_RESTRICT b, float *NAME_RESTRICT out)
{
    int i, j;
    for (j = 0; j < units; ++j)
        out[j] = b[j];
    for (i = 0; i + 4 <= inputs; i += 4, w += 4 * units) {
        const float x0 = x[i], x1 = x[i + 1], x2 = x[i + 2], x3 = x[i + 3];
        const float *w1 = w + units, *w2 = w1 + units, *w3 = w2 + units;
        for (j = 0; j < units; ++j)
            out[j] += (x0 * w[j] + x1 * w1[j]) + (x2 * w2[j] + x3 * w3[j]);
    }
    for (; i < inputs; ++i, w += units) {
        const float x0 = x[i];
        for (j = 0; j < units; ++j)
            out[j] += x0 * w[j];
    }
}
"""
DENSE_INT8 = """
/* out = s (x q) + b: weights s q in rows of units, s of each unit; four rows at a time, summed as floats. */
static inline void NAME_dense(int inputs, int units, const float *NAME_RESTRICT x, const signed char *NAME_RESTRICT q,
                              const float *NAME_RESTRICT s, const float *NAME_RESTRICT b, float *NAME_RESTRICT out)
{
    int i, j;
    for (j = 0; j < units; ++j)
        out[j] = 0.0f;
    for (i = 0; i + 4 <= inputs; i += 4, q += 4 * units) {
        const float x0 = x[i], x1 = x[i + 1], x2 = x[i + 2], x3 = x[i + 3];
        const signed char *q1 = q + units, *q2 = q1 + units, *q3 = q2 + units;
        for (j = 0; j < units; ++j)
            out[j] += (x0 * (float)q[j] + x1 * (float)q1[j]) + (x2 * (float)q2[j] + x3 * (float)q3[j]);
    }
    for (; i < inputs; ++i, q += units) {
        const float x0 = x[i];
        for (j = 0; j < units; ++j)
            out[j] += x0 * (float)q[j];
    }
    for (j = 0; j < units; ++j)
        out[j] = out[j] * s[j] + b[j];
}
"""
SCALE = """
/* a = a factor + offset */
static inline void NAME_scale(int units, float *NAME_RESTRICT a, const float *NAME_RESTRICT factor,
                              const float *NAME_RESTRICT offset)
{
    int j;
    for (j = 0; j < units; ++j)
        a[j] = a[j] * factor[j] + offset[j];
}
"""
PRELU = """
/* Below zero times the slope of its unit. */
static inline void NAME_prelu(int units, float *NAME_RESTRICT a, const float *NAME_RESTRICT slope)
{
    int j;
    for (j = 0; j < units; ++j)
        a[j] = a[j] < 0.0f ? a[j] * slope[j] : a[j];
}
"""
NORMALIZE = """
/* a = gamma (a - shift mean) / sqrt(variance + epsilon) + beta */
static inline void NAME_normalize(int units, float *NAME_RESTRICT a, const float *NAME_RESTRICT gamma,
                                  const float *NAME_RESTRICT beta, float epsilon, float shift)
{
    float mean = 0.0f, variance = 0.0f;
    int j;
    for (j = 0; j < units; ++j)
        mean += a[j];
    mean /= (float)units;
    for (j = 0; j < units; ++j)
        variance += (a[j] - mean) * (a[j] - mean);
    variance = sqrtf(variance / (float)units + epsilon);
    for (j = 0; j < units; ++j)
        a[j] = gamma[j] * ((a[j] - shift * mean) / variance) + beta[j];
}
"""
SOFTMAX = """
/* Shifted by the largest, so that no exponential is too large. */
static inline void NAME_softmax(int units, float *a)
{
    float top = a[0], sum = 0.0f;
    int j;
    for (j = 1; j < units; ++j)
        top = a[j] > top ? a[j] : top;
    for (j = 0; j < units; ++j) {
        a[j] = expf(a[j] - top);
        sum += a[j];
    }
    for (j = 0; j < units; ++j)
        a[j] /= sum;
}
"""
LOG_SOFTMAX = """
/* Logarithms of softmax, of which those of small probabilities keep their digits. */
static inline void NAME_log_softmax(int units, float *a)
{
    float top = a[0], sum = 0.0f;
    int j;
    for (j = 1; j < units; ++j)
        top = a[j] > top ? a[j] : top;
    for (j = 0; j < units; ++j)
        sum += expf(a[j] - top);
    sum = logf(sum);
    for (j = 0; j < units; ++j)
        a[j] = a[j] - top - sum;
}
"""
RESTRICT = """
#if defined(__cplusplus)
#if defined(__GNUC__) || defined(_MSC_VER)
#define NAME_RESTRICT __restrict
#else
#define NAME_RESTRICT
#endif
#else
#define NAME_RESTRICT restrict
#endif
"""
ACTIVATION = """
static inline void NAME_KIND(int units, float *aARGUMENTS)
{
    int j;
    for (j = 0; j < units; ++j) {
        const float x = a[j];
        a[j] = VALUE;
    }
}
"""


def helper(step: Step) -> str:
    """The function that the step calls, with NAME for the network's name.

    Raises:
        ValueError: If there is none, with the layer's name.
    """
    if isinstance(step, Affine):
        return DENSE_INT8 if isinstance(step, Quantized) else DENSE
    for kind, text in ((Scale, SCALE), (PReLU, PRELU), (LayerNormalization, NORMALIZE)):
        if isinstance(step, kind):
            return text
    if isinstance(step, Activation):
        if step.name in ("softmax", "log_softmax"):
            return SOFTMAX if step.name == "softmax" else LOG_SOFTMAX
        if step.name in FUNCTIONS:
            arguments, value = FUNCTIONS[step.name]
            taken = "".join(f", float {argument}" for argument in arguments.split(", ") if argument)
            return ACTIVATION.replace("KIND", step.name).replace("ARGUMENTS", taken).replace("VALUE", value)
    what = f"activation {step.name!r}" if isinstance(step, Activation) else f"a {type(step).__name__}"
    raise ValueError(f"layer {step.layer!r} has {what}, which a C header can't hold")
