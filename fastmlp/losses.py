"""Losses: what fit makes small. Each is a description; calling it computes the mean loss of arrays.

>>> from fastmlp.losses import MeanSquaredError
>>> MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]])
2.0
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import arrays, checks
from .activations import Form, apply
from .kernels import canonical as _canonical
from .kernels import custom as _custom
from .kernels import losses as _kernels
from .kernels.plan import aligned_zeros
from .plan import Scoring
from .serialization import Configurable, deserialize


class Loss(Configurable, kind="loss"):
    """Base of the losses.

    Attributes:
        kernel_name: Which of kernels.losses.NAMES it runs.
        sparse: Whether its targets are class indices.
        classes: Whether it needs a unit for each class.
        probabilities: Whether it is for outputs that are probabilities, unless it takes logits.
        name: Name of the object.
    """

    kernel_name = ""
    sparse = False
    classes = False
    probabilities = False

    def __init__(self, *, name: str | None = None):
        self.name = name or self.kernel_name

    def numbers(self) -> tuple[float, ...]:
        """The kernel's numbers."""
        return ()

    def scoring(self, targets: np.ndarray | None = None) -> Scoring:
        """What it is to the kernels; `targets` are all that it will see, where they make a difference."""
        return Scoring(self.kernel_name, self.numbers(), weighted=True)

    def prepare(self, units: int, activation: Form, dtype: np.dtype) -> None:
        """Whatever must be ready and right before it scores outputs of so many units, which come of `activation`."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Mean loss of predictions y_pred (n, m) for the targets y_true.

        Weighted by sample_weight (n,), and still divided by n.
        """
        predictions = arrays.numbers("y_pred", y_pred)
        dtype = np.dtype(np.float64 if predictions.dtype == np.float64 else np.float32)
        predictions = np.ascontiguousarray(predictions, dtype)
        if predictions.ndim != 2:
            raise ValueError(f"y_pred must have shape (samples, units), got {predictions.shape}")
        n, units = predictions.shape
        if self.sparse:
            y = checks.class_indices(y_true, units, self.name, "y_true")
        else:
            y = checks.targets(y_true, units, dtype, self.name, "y_true")
        checks.same_length(predictions, y, "y_pred", "y_true")
        weights = None if sample_weight is None else checks.weights(sample_weight, n, dtype, "sample_weight")
        with np.errstate(all="ignore"):  # predictions may be infinite, and so is their loss
            return float(_scores(self.scoring(y), predictions, y, weights).sum() / n)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _scores(scoring: Scoring, a: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Sums of a scoring over each line of the samples, outputs a (n, m) and targets (n,) or (n, m) as rows."""
    n, units = a.shape
    width = -(-n // 16) * 16

    def lanes(rows: np.ndarray, fill: float) -> np.ndarray:
        made = aligned_zeros((rows.shape[1], width), a.dtype)
        made[:] = fill
        made[:, :n] = rows.T
        return made.reshape(-1)

    outputs, delta = lanes(a, 1.0), aligned_zeros(units * width, a.dtype)
    labels, targets = (y[:, None], a[:, :0]) if y.ndim == 1 else (a[:, :1] * 0, y)
    own = np.zeros(0, a.dtype) if weights is None else lanes(weights[:, None], 0.0)
    totals = np.zeros(width)
    kernel = _kernels.KERNELS[scoring.kernel] if isinstance(scoring.kernel, str) else scoring.kernel
    kernel(np.array([*scoring.numbers, 0.0]), 0, 0, outputs, 0, width, lanes(labels, 0.0), lanes(targets, 0.0), own,
           units, 1.0, delta, totals, 1, 0, 0, n)  # fmt: skip
    return totals


# ------------------------------------------------------------------ for values


class MeanSquaredError(Loss):
    """Mean of (y - p)^2 over units, then samples: for values of any size (linear last layer)."""

    kernel_name = "mean_squared_error"


class MeanAbsoluteError(Loss):
    """Mean of |y - p|: for values with outliers."""

    kernel_name = "mean_absolute_error"


class MeanAbsolutePercentageError(Loss):
    """Mean of 100 |y - p| / |y|: for values that matter in proportion to their size."""

    kernel_name = "mean_absolute_percentage_error"


class MeanSquaredLogarithmicError(Loss):
    """Mean of (log(1 + y) - log(1 + p))^2: for values from zero on that span several powers of ten."""

    kernel_name = "mean_squared_logarithmic_error"


class Huber(Loss):
    """Half the squared error up to delta, then a line: mean squared error that outliers don't dominate.

    Args:
        delta: Where the line begins; 1.0 is Keras's default.
        name: Name of the object.
    """

    kernel_name = "huber"

    def __init__(self, delta: float = 1.0, *, name: str | None = None):
        super().__init__(name=name)
        self.delta = checks.number("delta", delta, 0.0, math.inf)

    def numbers(self) -> tuple[float, ...]:
        """The kernel's numbers."""
        return (self.delta,)


class LogCosh(Loss):
    """Mean of log cosh(p - y): like Huber, but smooth."""

    kernel_name = "log_cosh"


class Poisson(Loss):
    """Mean of p - y log p: for counts."""

    kernel_name = "poisson"


class CosineSimilarity(Loss):
    """-sum_j y_j p_j / (|y| |p|), mean over the samples: for directions."""

    kernel_name = "cosine_similarity"


# ------------------------------------------------------------------ for two classes, or yes-or-no answers


class _Smoothed(Loss):
    """Base of the crossentropies with from_logits and label_smoothing."""

    probabilities = True

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, *, name: str | None = None):
        super().__init__(name=name or self.kernel_name)
        self.from_logits = checks.switch("from_logits", from_logits)
        self.label_smoothing = checks.number("label_smoothing", label_smoothing, 0.0, 1.0)
        if self.from_logits:
            self.kernel_name = f"{self.kernel_name}_from_logits"

    def numbers(self) -> tuple[float, ...]:
        """The kernel's numbers."""
        return (self.label_smoothing,)


class BinaryCrossentropy(_Smoothed):
    """Mean of -[y log p + (1 - y) log(1 - p)]: for two classes, or several yes-or-no answers (sigmoid).

    Args:
        from_logits: Whether the last layer is linear, and the sigmoid part of the loss: exact where p is nearly 0 or 1.
        label_smoothing: Share of each target that is replaced by 1/2.
        name: Name of the object.
    """

    kernel_name = "binary_crossentropy"


class BinaryFocalCrossentropy(_Smoothed):
    """The binary crossentropy times (1 - the probability of what is true)^gamma: for many easy and few hard samples.

    Args:
        apply_class_balancing: Whether positive targets count alpha and negative ones 1 - alpha.
        alpha: See there.
        gamma: 0 gives the plain crossentropy; 2.0 is Keras's default.
        from_logits: Whether the last layer is linear, and the sigmoid part of the loss.
        label_smoothing: Share of each target that is replaced by 1/2.
        name: Name of the object.
    """

    kernel_name = "binary_focal_crossentropy"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        name: str | None = None,
    ):
        super().__init__(from_logits, label_smoothing, name=name)
        self.apply_class_balancing = checks.switch("apply_class_balancing", apply_class_balancing)
        self.alpha = checks.number("alpha", alpha, 0.0, 1.0)
        self.gamma = checks.number("gamma", gamma, 0.0, math.inf)

    def numbers(self) -> tuple[float, ...]:
        """The kernel's numbers."""
        return self.label_smoothing, self.gamma, self.alpha, float(self.apply_class_balancing)


class Hinge(Loss):
    """Mean of max(1 - y p, 0) for targets -1 and 1; targets 0 and 1 are taken for these."""

    kernel_name = "hinge"

    def scoring(self, targets: np.ndarray | None = None) -> Scoring:
        """What it is to the kernels: whether the targets are 0 and 1."""
        binary = targets is not None and bool(((targets == 0) | (targets == 1)).all())
        return Scoring(self.kernel_name, (float(binary),), weighted=True)


class SquaredHinge(Hinge):
    """Mean of max(1 - y p, 0)^2, likewise."""

    kernel_name = "squared_hinge"


# ------------------------------------------------------------------ for one of several classes


class CategoricalCrossentropy(_Smoothed):
    """-sum_j y_j log p_j, mean over the samples: for one of several classes as one-hot rows (softmax).

    Args:
        from_logits: Whether the last layer is linear, and the softmax part of the loss.
        label_smoothing: Share of each target that is replaced by 1 / classes.
        name: Name of the object.
    """

    kernel_name = "categorical_crossentropy"
    classes = True


class SparseCategoricalCrossentropy(Loss):
    """-log p_label, mean over the samples: the same for class indices.

    Args:
        from_logits: Whether the last layer is linear, and the softmax part of the loss.
        name: Name of the object.
    """

    probabilities = True
    kernel_name = "sparse_categorical_crossentropy"
    sparse = True
    classes = True

    def __init__(self, from_logits: bool = False, *, name: str | None = None):
        super().__init__(name=name or self.kernel_name)
        self.from_logits = checks.switch("from_logits", from_logits)
        if self.from_logits:
            self.kernel_name = f"{self.kernel_name}_from_logits"


class CategoricalFocalCrossentropy(_Smoothed):
    """The categorical crossentropy times alpha (1 - p)^gamma: for many easy and few hard samples.

    Args:
        alpha: 0.25 is Keras's default.
        gamma: 0 gives the crossentropy times alpha; 2.0 is Keras's default.
        from_logits: Whether the last layer is linear, and the softmax part of the loss.
        label_smoothing: Share of each target that is replaced by 1 / classes.
        name: Name of the object.
    """

    kernel_name = "categorical_focal_crossentropy"
    classes = True

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        *,
        name: str | None = None,
    ):
        super().__init__(from_logits, label_smoothing, name=name)
        self.alpha = checks.number("alpha", alpha, 0.0, math.inf)
        self.gamma = checks.number("gamma", gamma, 0.0, math.inf)

    def numbers(self) -> tuple[float, ...]:
        """The kernel's numbers."""
        return self.label_smoothing, self.gamma, self.alpha


class CategoricalHinge(Loss):
    """max(max_j (1 - y_j) p_j - sum_j y_j p_j + 1, 0), mean over the samples, for one-hot targets."""

    kernel_name = "categorical_hinge"
    classes = True


class KLDivergence(Loss):
    """sum_j y_j log(y_j / p_j), mean over the samples: for targets that are distributions."""

    probabilities = True
    kernel_name = "kl_divergence"


# ------------------------------------------------------------------ with the activation that it goes with


class Canonical(Loss):
    """The loss that goes with the last activation, as scikit-learn's multilayer perceptrons have it.

        softmax      -log p_label, for class indices
        sigmoid      -sum_j [y_j log p_j + (1 - y_j) log(1 - p_j)]
        linear       half the mean over the units of (p_j - y_j)^2; its gradient is that of half their sum
        exponential  sum_j [y_j log(y_j / p_j) - y_j + p_j], for counts: half the deviance of Poisson's distribution

    It differs from the losses under Keras's names in three points. The gradient in front of the activation is p - y for
    each unit, without clipping. In training a batch's loss is the mean by the samples' weights. And penalties on the
    parameters are divided by the sum of the batch's weights, which is the number of its samples where they have none.

    Args:
        activation: That of the last layer: one of these.
        name: Name of the object.

    Raises:
        ValueError: If there is none for that activation; when the model is compiled, if its last layer has another one.
    """

    def __init__(self, activation: str, *, name: str | None = None):
        self.activation = checks.known_name("activation", activation, _canonical.KERNELS)
        self.sparse = self.classes = activation == "softmax"
        super().__init__(name=name or f"{activation}_canonical")
        self._dtype: Any = np.dtype(np.float32)

    def scoring(self, targets: np.ndarray | None = None) -> Scoring:
        """What it is to the kernels."""
        least = float(np.finfo(self._dtype).eps)
        return Scoring(_canonical.KERNELS[self.activation], (least,), weighted=True, canonical=True)

    def prepare(self, units: int, activation: Form, dtype: np.dtype) -> None:
        """Take the model's float type, whose precision is the least probability that counts as more than none."""
        if activation[0] != self.activation:
            raise ValueError(
                f"{self!r} goes with a last layer with activation={self.activation!r}, but it ends with "
                f"{activation[0]!r}"
            )
        self._dtype = dtype

    def __repr__(self) -> str:
        return f"Canonical({self.activation!r})"


# ------------------------------------------------------------------ of one's own


class Custom(Loss):
    """A loss of one's own: two functions of one sample, compiled and called within the compiled epoch.

        value(y_true, y_pred)           returns the loss of the sample, a float
        gradient(y_true, y_pred, out)   writes its gradient by y_pred to out, which holds zeros

    y_true, y_pred and out are 1-d arrays of the model's float type, a number for each unit of the last layer. The mean
    over the samples, their weights, and the way back through the network are not the functions' business.

    The functions are compiled by Numba, with its rules for what they may do; those that were compiled by numba.njit
    keep their options. They may run in several threads at once. One that raises an exception makes the loss NaN.

    Args:
        value: See above.
        gradient: See above.
        sparse: Whether targets are class indices; y_true is then an array of one number, the sample's index.
        check_gradient: Whether to compare gradient with central differences of value on random data, in float64, when
            the model is compiled. Turn it off where the gradient is meant to be another one.
        name: Name of the object; None takes that of value.

    Raises:
        TypeError: If one is no function.
        ValueError: When the model is compiled: if a function can't be compiled, or the gradient is wrong.

    >>> import fastmlp
    >>> def value(y_true, y_pred):
    ...     return abs(y_pred[0] - y_true[0]) ** 1.5
    >>> def gradient(y_true, y_pred, out):
    ...     error = y_pred[0] - y_true[0]
    ...     out[0] = 1.5 * np.sign(error) * abs(error) ** 0.5
    >>> model = fastmlp.Sequential([fastmlp.Input((2,)), fastmlp.Dense(1)])
    >>> model.compile(optimizer="sgd", loss=fastmlp.losses.Custom(value, gradient))
    """

    def __init__(
        self,
        value: Callable[..., Any],
        gradient: Callable[..., Any],
        *,
        sparse: bool = False,
        check_gradient: bool = True,
        name: str | None = None,
    ):
        for key, function in (("value", value), ("gradient", gradient)):
            if not callable(function):
                raise TypeError(f"{key} must be a function, got {function!r}")
        super().__init__(name=name or getattr(value, "__name__", "custom"))
        self.value, self.gradient = _custom.compiled(value), _custom.compiled(gradient)
        self.sparse = checks.switch("sparse", sparse)
        self.check_gradient = checks.switch("check_gradient", check_gradient)
        # Kept here: an address in a plan lives as long as the kernel.
        self._kernel = _custom.scoring(self.value, self.gradient, self.sparse)
        self._checked: set[tuple[Any, ...]] = set()

    def scoring(self, targets: np.ndarray | None = None) -> Scoring:
        """What it is to the kernels."""
        return Scoring(self._kernel, weighted=True)

    def prepare(self, units: int, activation: Form, dtype: np.dtype) -> None:
        """Compile the functions and check the gradient, once for each kind of network."""
        key = units, activation, dtype.name
        if key in self._checked:
            return
        compile_custom(f"loss {self.name!r}", self.scoring(), dtype)
        if self.check_gradient:
            self._compare(units, activation)
        self._checked.add(key)

    def _compare(self, units: int, activation: Form) -> None:
        """ValueError if the gradient differs from central differences at random outputs of that activation."""
        rng = np.random.default_rng(0)
        for _ in range(5):
            p, y = (apply(activation, rng.uniform(-2, 2, units)) for _ in range(2))
            p += rng.uniform(0.001, 0.01, units)  # outputs may be equal, as zeros of relu, where a loss has a kink
            if self.sparse:
                y = rng.integers(0, units, 1).astype(np.float64)
            found, out = np.zeros(units), np.zeros(units)
            for j in range(units):
                step = np.zeros(units)
                step[j] = 6e-6 * max(abs(p[j]), 0.01)  # the cube root of float64's precision
                found[j] = (self._call(self.value, y, p + step) - self._call(self.value, y, p - step)) / (2 * step[j])
            self._call(self.gradient, y, p.copy(), out)
            with np.errstate(invalid="ignore"):
                # Not where a value is infinite or NaN: these may be outputs that the loss is not made for.
                wrong = (np.abs(out - found) > 1e-4 * np.maximum(1, np.abs(found))) & np.isfinite(found)
            if wrong.any():
                j = int(np.argmax(wrong))
                raise ValueError(
                    f"the gradient of loss {self.name!r} is wrong: for y_true={_shown(y)} and y_pred={_shown(p)} it is "
                    f"{out[j]:.6g} by y_pred[{j}], but value changes by {found[j]:.6g} per unit. Correct one of them, "
                    "or pass check_gradient=False"
                )

    def _call(self, function: Any, *arrays: np.ndarray) -> Any:
        try:
            return function(*arrays)
        except Exception as error:
            raise ValueError(
                f"loss {self.name!r} fails on float64 arrays, on which its gradient is checked: {_first_line(error)}. "
                "Correct it, or pass check_gradient=False"
            ) from error

    def get_config(self) -> dict[str, Any]:
        """ValueError: functions can't be written."""
        raise ValueError(refusal("loss", self.name))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Custom:
        """ValueError: functions can't be read."""
        raise ValueError(refusal("loss", str(dict(config).get("name"))))

    def __repr__(self) -> str:
        return f"Custom(name={self.name!r})"


def refusal(kind: str, name: str) -> str:
    """Text of the error where a description with code would be written or read."""
    return (
        f"{kind} {name!r} is made of functions, which can't be kept in a file; keep the weights by model.save_weights, "
        "and compile the model anew where they are loaded"
    )


def compile_custom(what: str, scoring: Scoring, dtype: np.dtype) -> None:
    """Compile a user's functions; ValueError with what Numba says."""
    try:
        scoring.address(dtype.name)
    except Exception as error:  # Numba's own, and what its folding of constants meets
        raise ValueError(f"{what} can't be compiled: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The first line of an error's text that says something."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if line and not line.startswith("Failed in ")), type(error).__name__)


def _shown(values: np.ndarray) -> str:
    return np.array2string(values, precision=4, separator=", ", threshold=8)


_CLASSES: dict[str, type[Loss]] = {
    cls.kernel_name: cls
    for cls in (
        MeanSquaredError,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredLogarithmicError,
        Huber,
        LogCosh,
        Poisson,
        CosineSimilarity,
        BinaryCrossentropy,
        BinaryFocalCrossentropy,
        Hinge,
        SquaredHinge,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        CategoricalFocalCrossentropy,
        CategoricalHinge,
        KLDivergence,
    )
}

#: Names that compile(loss=...) takes.
NAMES = tuple(_CLASSES)

_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "logcosh": "log_cosh",
}


def _function(name: str) -> Callable[..., float]:
    def function(y_true: Any, y_pred: Any, *arguments: Any, **options: Any) -> float:
        return _CLASSES[name](*arguments, **options)(y_true, y_pred)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Mean loss of predictions for targets: {_CLASSES[name].__name__}(...)(y_true, y_pred)."
    return function


mean_squared_error = _function("mean_squared_error")
mean_absolute_error = _function("mean_absolute_error")
mean_absolute_percentage_error = _function("mean_absolute_percentage_error")
mean_squared_logarithmic_error = _function("mean_squared_logarithmic_error")
huber = _function("huber")
log_cosh = _function("log_cosh")
poisson = _function("poisson")
cosine_similarity = _function("cosine_similarity")
binary_crossentropy = _function("binary_crossentropy")
binary_focal_crossentropy = _function("binary_focal_crossentropy")
hinge = _function("hinge")
squared_hinge = _function("squared_hinge")
categorical_crossentropy = _function("categorical_crossentropy")
sparse_categorical_crossentropy = _function("sparse_categorical_crossentropy")
categorical_focal_crossentropy = _function("categorical_focal_crossentropy")
categorical_hinge = _function("categorical_hinge")
kl_divergence = _function("kl_divergence")

_BY_FUNCTION = {globals()[name]: name for name in NAMES}


#: What get takes for a loss.
Identifier = str | Loss | type[Loss] | dict[str, Any] | Callable[..., float]


def get(identifier: Any) -> Loss:
    """Loss from an object, a class, a function or a name in any case ("mse", "mean_squared_error", "MeanSquaredError").

    Raises:
        ValueError: If the name is unknown.
        TypeError: If it is nothing of the kind.
    """
    if isinstance(identifier, dict):
        return deserialize(identifier, "loss")
    if callable(identifier) and identifier in _BY_FUNCTION:
        return _CLASSES[_BY_FUNCTION[identifier]]()
    return checks.resolve("loss", identifier, Loss, _by_name)


def _by_name(name: str) -> Loss:
    short = _SHORT.get(name.lower())
    if short is None:
        short = {cls.__name__.lower(): kernel for kernel, cls in _CLASSES.items()}.get(name.lower())
    return _CLASSES[short or checks.known_name("loss", name, (*NAMES, *_SHORT))]()
