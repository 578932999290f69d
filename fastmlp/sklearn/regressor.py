"""MLPRegressor: one value or several."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions

from .base import BaseMLP


class MLPRegressor(RegressorMixin, BaseMLP):
    """scikit-learn's MLPRegressor, trained by fastmlp.

    Args:
        loss: "squared_error", half the mean square; "poisson", half the deviance, for counts y >= 0, whose logarithm
            the network computes.
        hidden_layer_sizes: Units of each hidden layer; a number is one layer, () none.
        activation: Of the hidden layers; this and all that follows as in MLPClassifier.
        solver: "adam", "sgd", another optimizer's name, or an object of fastmlp.optimizers.
        alpha: Price of the weights' squares.
        batch_size: Samples of a step; "auto" is 200, or all where there are fewer.
        learning_rate: "constant", "invscaling" or "adaptive", of solver="sgd".
        learning_rate_init: Size of a step.
        power_t: Exponent of "invscaling".
        max_iter: Epochs at most.
        shuffle: Whether each epoch takes the samples in a new order.
        random_state: Of all that is drawn.
        tol: By how much the loss, or the validation score, must be better to count as progress.
        verbose: Whether to print a line for each epoch.
        warm_start: Whether fit goes on where the last one ended.
        momentum: Of solver="sgd".
        nesterovs_momentum: Whether it looks ahead.
        early_stopping: Whether to stop by the score (R2) of held-out samples, and keep the best weights.
        validation_fraction: Share that is held out.
        beta_1: Of Adam and its kin.
        beta_2: Likewise.
        epsilon: Likewise.
        n_iter_no_change: Epochs without progress after which to stop.
        dropout: Share of the outputs of the hidden layers that a step leaves out.
        callbacks: Callbacks of fastmlp.callbacks.
        dtype: "float32", "float64", or None for that of the samples.

    Attributes are those of MLPClassifier but classes_; out_activation_ is "identity" or "exp".

    >>> from sklearn.datasets import make_regression
    >>> x, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> regressor = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(x, y)
    >>> regressor.score(x, y) > 0.99
    True
    """

    _parameter_constraints = {  # noqa: RUF012 - scikit-learn's name and form
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }
    _numeric = True

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        dropout: Any = 0.0,
        callbacks: Any = None,
        dtype: str | None = None,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.dropout = dropout
        self.callbacks = callbacks
        self.dtype = dtype

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train on samples X (samples, features) and their values.

        Args:
            X: Array, frame of pandas or polars, or matrix of scipy.sparse, which is trained on without its zeros.
            y: Values (samples,) or (samples, outputs).
            sample_weight: Weight of each sample in the loss, (samples,).

        Raises:
            ValueError: If a parameter or the data are wrong, or the weights become infinite.
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train one epoch, as fit does, and go on from there in the next call.

        Args:
            X: See fit.
            y: See fit.
            sample_weight: See fit.

        Raises:
            ValueError: As fit; with early_stopping.
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _targets(self, y: Any, incremental: bool, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"loss='poisson' is for counts, y >= 0, but y has {y.min()}; use loss='squared_error'")
        self._outputs = 1 if y.ndim == 1 else y.shape[1]
        values = np.asarray(y, dtype)
        return values, values

    def _last(self) -> tuple[str, int]:
        return "exponential" if self.loss == "poisson" else "linear", self._outputs

    def _score_of(self, x: Any, y: Any, weights: Any) -> float:
        return float(r2_score(y, self._output(x, checked=True), sample_weight=weights))

    def predict(self, X: Any) -> np.ndarray:
        """Values (samples,), or (samples, outputs) where there are several."""
        values = self._output(X)
        return values.ravel() if values.shape[1] == 1 else values

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may do with it."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
