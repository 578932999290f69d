"""The kernels of fastmlp: arrays and numbers in, arrays filled; nothing checked, nothing printed.

Read `simd.py` first: it is the language that the others are written in. Then `matmul.py` (how a product is done),
`dense.py` (a layer), `operations.py` (what stands between them), `network.py` (all of them on a batch) and `epoch.py`
(what Python calls); `single.py` is the short way for one sample, `frozen.py` the one for compiled code of others.
`by_address.py` says how these reach the functions of `activations.py`, `losses.py`, `canonical.py`, `metrics.py` and
`optimizers.py`; `plan.py` how the numbers lie in memory, `team.py` how threads share the work and `workers.py` where
they come from, `_jit.py` how all is compiled and `disk_cache.py` how it is kept.

Public are the array functions below. They can be called from Python and from your own `@njit` code, and take
C-ordered float32 or float64 arrays of one dtype, whose shapes must fit: kernels check nothing.

    >>> import numpy as np
    >>> from fastmlp.kernels import matmul, sigmoid
    >>> a, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    >>> out = np.empty((2, 4), np.float32)
    >>> matmul(a, b, out)
    >>> sigmoid(out, out)
    >>> out[0]
    array([0.95257413, 0.95257413, 0.95257413, 0.95257413], dtype=float32)
"""

from .activations import relu, sigmoid, softmax, step, tanh
from .losses import binary_crossentropy, categorical_crossentropy, mean_squared_error, sparse_categorical_crossentropy
from .matmul import matmul

__all__ = [
    "binary_crossentropy",
    "categorical_crossentropy",
    "matmul",
    "mean_squared_error",
    "relu",
    "sigmoid",
    "softmax",
    "sparse_categorical_crossentropy",
    "step",
    "tanh",
]
