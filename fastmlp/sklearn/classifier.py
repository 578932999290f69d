"""MLPClassifier: one of several classes, or several yes-or-no answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted

from .base import BaseMLP


class MLPClassifier(ClassifierMixin, BaseMLP):
    """scikit-learn's MLPClassifier, trained by fastmlp.

    Args:
        hidden_layer_sizes: Units of each hidden layer; a number is one layer, () none.
        activation: Of the hidden layers: scikit-learn's "identity", "logistic", "tanh" or "relu", or any of
            fastmlp.activations; or a list with one for each layer.
        solver: "adam", "sgd", the name of another optimizer of fastmlp, or an object of fastmlp.optimizers, of which
            a copy is used; then learning_rate_init and the parameters of "adam" and "sgd" have no effect.
        alpha: Price of the weights' squares: alpha / 2 * ||w||^2 / samples of the batch is added to its loss.
        batch_size: Samples of a step; "auto" is 200, or all where there are fewer.
        learning_rate: Of solver="sgd": "constant"; "invscaling", learning_rate_init / samples_seen ** power_t;
            "adaptive", divided by 5 where the training makes no progress, instead of an end.
        learning_rate_init: Size of a step.
        power_t: See learning_rate.
        max_iter: Epochs at most.
        shuffle: Whether each epoch takes the samples in a new order.
        random_state: Of the first weights, the order of the samples, the split for early_stopping, and dropout. The
            same number begins with the same weights and takes the same order as scikit-learn's estimator.
        tol: An epoch is progress if its loss is below the best one by tol, or its validation score above.
        verbose: Whether to print a line for each epoch.
        warm_start: Whether fit goes on where the last one ended, with a new optimizer.
        momentum: Of solver="sgd".
        nesterovs_momentum: Whether it looks ahead.
        early_stopping: Whether to hold out samples, stop where their score makes no progress, and keep the best
            weights.
        validation_fraction: Share that is held out.
        beta_1: Of Adam and its kin: share of the old mean gradient.
        beta_2: Likewise of the mean square.
        epsilon: Likewise, added to the divisor.
        n_iter_no_change: Epochs without progress after which to stop.
        dropout: Share of the outputs of the hidden layers that a step leaves out; a list has one for each layer.
        class_weight: {label: weight}, "balanced" for weights inverse to the classes' sizes, or None. They are
            multiplied by sample_weight.
        callbacks: Callbacks of fastmlp.callbacks, called in every fit. BackupAndRestore lets a fit that was interrupted
            go on with the same bits; with early_stopping, for a random_state that is a number.
        dtype: Float type of the computation; None is that of the samples, as in scikit-learn: float32 for float32 and
            uint8, which are read in place, else float64. "float32" is twice as fast.

    Attributes:
        classes_: Labels, in the order of the columns of predict_proba; a list of indices in multilabel classification.
        model_: The fastmlp.Sequential.
        coefs_: Weights of each layer, as views.
        intercepts_: Biases of each layer, as views.
        loss_: Loss of the last epoch, as scikit-learn has it: means of the batches before their steps, with penalty.
        best_loss_: The least one; None with early_stopping.
        loss_curve_: That of each epoch.
        validation_scores_: Accuracy on the held-out samples behind each epoch, or None.
        best_validation_score_: The best one, or None.
        n_iter_: Epochs of the last fit.
        t_: Samples seen.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if the samples of fit had names.
        n_layers_: Number of layers, with that of the inputs.
        n_outputs_: Units of the last layer.
        out_activation_: "softmax", or "logistic" for two classes and for multilabel classification.

    >>> from sklearn.datasets import make_classification
    >>> x, y = make_classification(n_samples=100, random_state=1)
    >>> classifier = MLPClassifier(random_state=1, max_iter=300, tol=1e-3).fit(x, y)
    >>> classifier.predict_proba(x).shape
    (100, 2)
    >>> bool((classifier.predict(x) == y).mean() > 0.9)
    True
    """

    _parameter_constraints = {  # noqa: RUF012 - scikit-learn's name and form
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, str, None],
    }

    def __init__(
        self,
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
        class_weight: Any = None,
        callbacks: Any = None,
        dtype: str | None = None,
    ):
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
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.dtype = dtype

    # ------------------------------------------------------------------ training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPClassifier:
        """Train on samples X (samples, features) and their labels.

        Args:
            X: Array, frame of pandas or polars, or matrix of scipy.sparse, which is trained on without its zeros.
            y: Labels (samples,) of any kind, or (samples, answers) of zeros and ones for multilabel classification.
            sample_weight: Weight of each sample in the loss, (samples,).

        Raises:
            ValueError: If a parameter or the data are wrong, or the weights become infinite.
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> MLPClassifier:
        """Train one epoch, as fit does, and go on from there in the next call.

        Args:
            X: See fit.
            y: See fit.
            classes: All labels that will come, in the first call.
            sample_weight: See fit.

        Raises:
            ValueError: As fit; if classes are missing in the first call, or with early_stopping.
        """
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def _targets(self, y: Any, incremental: bool, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            labels = unique_labels(y)
            if self.warm_start and set(labels) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {labels}"
                )
            if len(np.setdiff1d(labels, self.classes_, assume_unique=True)):
                raise ValueError(f"`y` has classes {labels} that are not in `self.classes_`, {self.classes_}")
        if self._label_binarizer.y_type_ == "multiclass":
            return np.searchsorted(self.classes_, y), y
        targets = self._label_binarizer.transform(y).astype(dtype)
        return targets, y if targets.shape[1] == 1 else self._label_binarizer.inverse_transform(targets)

    def _last(self) -> tuple[str, int]:
        kind, count = self._label_binarizer.y_type_, len(self.classes_)
        if kind == "multiclass":
            return "softmax", count
        return "sigmoid", count if kind.startswith("multilabel") else 1

    @property
    def _stratified(self) -> bool:  # type: ignore[override]
        return self._last()[1] == 1

    def _weights(self, X: Any, labels: np.ndarray, sample_weight: Any, dtype: np.dtype) -> np.ndarray | None:
        weights = super()._weights(X, labels, sample_weight, dtype)
        if self.class_weight is None:
            return weights
        own: np.ndarray = compute_sample_weight(self.class_weight, labels).astype(dtype)
        return own if weights is None else own * weights

    def _score_of(self, x: Any, y: Any, weights: Any) -> float:
        return float(accuracy_score(y, self._labels(self._output(x, checked=True)), sample_weight=weights))

    # ------------------------------------------------------------------ prediction

    def _labels(self, output: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._label_binarizer.inverse_transform(output.ravel() if self.n_outputs_ == 1 else output)
        return found

    def predict(self, X: Any) -> np.ndarray:
        """Most probable label of each sample; rows of zeros and ones in multilabel classification."""
        return self._labels(self._output(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, (samples, classes), or of each answer."""
        p = self._output(X)
        return np.hstack([1 - p, p]) if self.n_outputs_ == 1 else p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of predict_proba; -inf where that is 0."""
        check_is_fitted(self)
        with np.errstate(divide="ignore"):
            logarithms: np.ndarray = np.log(self.predict_proba(X))
        return logarithms

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may do with it."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
