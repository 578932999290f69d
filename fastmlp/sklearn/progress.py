"""What is done behind each epoch of an estimator: the curve, the rate, and whether it is time to stop."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.callbacks import Callback

#: Attributes of an estimator that its training changes.
_KEPT = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
         "_no_improvement_count")  # fmt: skip


class Progress(Callback):
    """Follows a training by scikit-learn's rules.

    An epoch is no progress if the loss is above the best one less tol or, with early stopping, the validation score is
    below the best one plus tol. More than n_iter_no_change of these in a row end the training; with
    learning_rate="adaptive" they divide the rate by 5, down to 1e-6.

    Args:
        estimator: Whose attributes it writes.
        samples: Of an epoch.
        held_out: Validation samples, their targets as `score` takes them, and weights or None; None without early
            stopping.
        rows: Numbers of the validation samples.

    Attributes:
        stopped: Whether it has ended the training.
        best: The weights of the best validation score.
    """

    def __init__(self, estimator: Any, samples: int, held_out: tuple[Any, Any, Any] | None, rows: np.ndarray):
        self._estimator, self._samples, self._held_out, self._rows = estimator, samples, held_out, rows
        self.stopped = False
        self.best: list[np.ndarray] | None = None

    def training_state(self) -> dict[str, Any]:
        """The estimator's attributes, the best weights, and which samples are held out."""
        own = {name: getattr(self._estimator, name) for name in _KEPT if hasattr(self._estimator, name)}
        return {"own": own, "stopped": self.stopped, "best": self.best, "held_out": self._rows}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If other samples are held out now: those of before have been trained on.
        """
        if not np.array_equal(state["held_out"], self._rows):
            raise ValueError(
                "the backup is of a training that held out other samples for early_stopping; set random_state to a "
                "number, in both, or delete the backup"
            )
        for name, value in state["own"].items():
            setattr(self._estimator, name, value)
        self.stopped, self.best = state["stopped"], state["best"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Take the epoch's loss."""
        own = self._estimator
        own.n_iter_ += 1
        own.t_ += self._samples
        own.loss_ = (logs or {})["loss"]
        own.loss_curve_.append(own.loss_)
        self._say(f"Iteration {own.n_iter_}, loss = {own.loss_:.8f}")
        if self._held_out is None:
            progress = own.loss_ <= own.best_loss_ - own.tol
            own.best_loss_ = min(own.best_loss_, own.loss_)
        else:
            progress = self._validate()
        own._no_improvement_count = 0 if progress else own._no_improvement_count + 1
        scheduled = own.learning_rate if own.solver == "sgd" else "constant"
        if scheduled == "invscaling":
            self.model.optimizer.learning_rate = own.learning_rate_init / (own.t_ + 1) ** own.power_t
        if own._no_improvement_count > own.n_iter_no_change:
            self._stop(scheduled)

    def _validate(self) -> bool:
        """Score the held-out samples; whether that is progress."""
        own, (x, y, weights) = self._estimator, self._held_out or (None, None, None)
        score = own._score_of(x, y, weights)
        own.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        progress = not score < own.best_validation_score_ + own.tol  # a score that is NaN counts as progress there
        if score > own.best_validation_score_:
            own.best_validation_score_ = score
            self.best = self.model.get_weights()
        return bool(progress)

    def _stop(self, scheduled: str) -> None:
        """End the training, or go on with a smaller rate."""
        own, optimizer = self._estimator, self.model.optimizer
        what = "Training loss" if self._held_out is None else "Validation score"
        text = f"{what} did not improve more than tol={own.tol:f} for {own.n_iter_no_change} consecutive epochs."
        if scheduled == "adaptive" and optimizer.learning_rate > 1e-6:
            optimizer.learning_rate /= 5.0
            own._no_improvement_count = 0
            self._say(f"{text} Setting learning rate to {optimizer.learning_rate:f}")
            return
        small = " Learning rate too small." if scheduled == "adaptive" else ""
        self._say(f"{text}{small} Stopping.")
        self.stopped = self.model.stop_training = True

    def _say(self, text: str) -> None:
        if self._estimator.verbose:
            print(text)
