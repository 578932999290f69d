"""What the classifier and the regressor share: parameters, training, and the attributes of the trained network."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastmlp import random, sparse
from fastmlp.layers import Dense
from fastmlp.losses import Canonical
from fastmlp.models import Sequential
from fastmlp.optimizers import Optimizer

from . import network
from .progress import Progress

#: scikit-learn's names of last activations.
_LINKS = {"sigmoid": "logistic", "linear": "identity", "exponential": "exp", "softmax": "softmax"}


def _checked(X: Any) -> Any:
    """The samples; of a sparse matrix in CSR, as scikit-learn has SciPy convert it without a look at its arrays."""
    return sparse.checked("X", X) if sparse.is_sparse(X) else X


class BaseMLP(BaseEstimator):
    """Base of the estimators; MLPClassifier and MLPRegressor say what the parameters mean."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, "array-like", callable],
        "solver": [str, Optimizer],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "callbacks": [object],
        "dtype": [StrOptions({"float32", "float64"}), None],
    }

    # ------------------------------------------------------------------ what the two differ in

    def _targets(self, y: Any, incremental: bool, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Checked targets as the network is trained on them, and as the split for early stopping takes them."""
        raise NotImplementedError

    def _last(self) -> tuple[str, int]:
        """Last activation and number of its units, once the targets are known."""
        raise NotImplementedError

    def _score_of(self, x: Any, y: Any, weights: Any) -> float:
        """Score of held-out samples."""
        raise NotImplementedError

    # ------------------------------------------------------------------ training

    def _read_as(self, first: bool) -> list[Any]:
        """Types of samples that are read as they are; others are converted to the first."""
        if not first:
            return [self.model_.dtype, np.uint8]
        return [np.float64, np.float32, np.uint8] if self.dtype is None else [np.dtype(self.dtype), np.uint8]

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> None:
        self._validate_params()
        sizes = network.sizes_of(self.hidden_layer_sizes)
        optimizer = network.optimizer_of(self)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        try:
            X, y = validate_data(
                self, _checked(X), y, accept_sparse="csr", multi_output=True, dtype=self._read_as(first), reset=first,
                y_numeric=self._numeric,
            )  # fmt: skip
        except OverflowError as error:
            raise ValueError(f"X or y holds a number beyond those of floats: {error}") from error
        # The computation's, for the targets and weights too; samples of uint8 are read as they are.
        dtype = np.dtype(X.dtype if X.dtype.kind == "f" else self.dtype or "float32") if first else self.model_.dtype
        targets, labels = self._targets(y, incremental, dtype)
        weights = self._weights(X, labels, sample_weight, dtype)
        generator = check_random_state(self.random_state)
        if first:
            self._begin(X.shape[1], sizes, dtype, generator)
        else:
            self._go_on(sizes, incremental)
        if first or not incremental:
            self.model_.compile(optimizer, Canonical(self._last()[0]))
        train, rest = self._split(X.shape[0], labels, generator)
        held_out = None
        if self.early_stopping:
            held_out = X[rest], labels[rest], None if weights is None else weights[rest]
            X, targets, weights = X[train], targets[train], None if weights is None else weights[train]
        self._train(X, targets, weights, held_out, rest, generator, incremental)

    _numeric = False

    def _weights(self, X: Any, labels: np.ndarray, sample_weight: Any, dtype: np.dtype) -> np.ndarray | None:
        """Weights of the samples, or None."""
        if sample_weight is None:
            return None
        weights: np.ndarray = _check_sample_weight(sample_weight, X, dtype=dtype)
        if not weights.any():
            raise ValueError("Sample weights must contain at least one non-zero number: all of sample_weight are zero")
        return weights

    def _begin(self, features: int, sizes: list[int], dtype: np.dtype, generator: Any) -> None:
        """A network at its start."""
        last, outputs = self._last()
        self.n_iter_ = self.t_ = 0
        self.n_outputs_, self.n_layers_ = outputs, len(sizes) + 2
        self.out_activation_ = _LINKS[last]
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.model_ = network.build(
            features, sizes, outputs, last, activation=self.activation, alpha=self.alpha, dropout=self.dropout,
            dtype=dtype.name, generator=generator,
        )  # fmt: skip

    def _go_on(self, sizes: list[int], incremental: bool) -> None:
        """Take the parameters of a training that goes on, as far as they may differ from those that it began with."""
        names, rates = network.hidden(self.activation, self.dropout, len(sizes))
        wanted = {"hidden_layer_sizes": sizes, "activation": names[: len(sizes)], "dropout": rates}
        for parameter, there in network.described(self.model_).items():
            if wanted[parameter] != there:
                raise ValueError(
                    f"{parameter} is {getattr(self, parameter)!r}, but the training that goes on is of a network with "
                    f"{there}; set warm_start=False to begin anew"
                )
        if self.early_stopping != (self.validation_scores_ is not None):
            raise ValueError(
                f"early_stopping is {self.early_stopping}, but the training that goes on began with "
                f"{not self.early_stopping}; set warm_start=False to begin anew"
            )
        network.penalize(self.model_, self.alpha, keep_optimizer=incremental)

    def _split(self, samples: int, labels: Any, generator: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on, and those held out for early stopping."""
        rows = np.arange(samples)
        if not self.early_stopping:
            return rows, rows[:0]
        stratify = labels if self._stratified else None
        train, rest = train_test_split(
            rows, random_state=generator, test_size=self.validation_fraction, stratify=stratify
        )  # fmt: skip
        if len(rest) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return train, rest

    _stratified = False

    def _train(
        self, X: Any, targets: Any, weights: Any, held_out: Any, rows: np.ndarray, generator: Any, incremental: bool
    ) -> None:  # fmt: skip
        """One epoch, or up to max_iter."""
        samples, epochs = X.shape[0], 1 if incremental else self.max_iter
        if self.batch_size != "auto" and self.batch_size > samples:
            warnings.warn(
                f"batch_size={self.batch_size} is larger than the {samples} samples; it is clipped to them",
                stacklevel=4,
            )
        batch = min(200 if self.batch_size == "auto" else self.batch_size, samples)
        self.n_iter_ = 0
        progress = Progress(self, samples, held_out, rows)
        callbacks = [self.callbacks, progress]
        with random.using(network.Order(generator)):
            try:
                self.model_.fit(
                    X, targets, batch, epochs, verbose=0, callbacks=callbacks, shuffle=bool(self.shuffle),
                    sample_weight=weights,
                )  # fmt: skip
            except KeyboardInterrupt:
                warnings.warn("Training interrupted by user.", stacklevel=4)
            except FloatingPointError as error:
                raise ValueError(f"{_NOT_FINITE} ({error})") from error
        if not incremental and self.n_iter_ == self.max_iter and not progress.stopped:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if progress.best is not None:
            self.model_.set_weights(progress.best)
        if not all(np.isfinite(array).all() for array in self.model_.weights):
            raise ValueError(_NOT_FINITE)

    # ------------------------------------------------------------------ prediction

    def _output(self, X: Any, checked: bool = False) -> np.ndarray:
        """Output (samples, outputs) of the network."""
        if not checked:
            check_is_fitted(self)
            X = validate_data(self, _checked(X), accept_sparse="csr", dtype=self._read_as(False), reset=False)
        return self.model_.predict(X)

    # ------------------------------------------------------------------ the network

    @property
    def _dense(self) -> list[Any]:
        if "model_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} has no network yet; call fit")
        model: Sequential = self.model_
        return [layer for layer in model.layers if isinstance(layer, Dense)]

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights (inputs, units) of each layer, as views: what is written to them, the network takes."""
        return [layer.weights[0] for layer in self._dense]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases (units,) of each layer, as views."""
        return [layer.weights[1] for layer in self._dense]

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may do with it."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
