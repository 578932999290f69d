"""Callback, the base of all, and CallbackList, through which a model calls them.

What fit does with them, in this order (evaluate and predict likewise, with test and predict for train):

    callbacks = CallbackList(users, add_history=True, add_progbar=verbose != 0, model=model,
                             verbose=verbose, epochs=epochs, steps=steps)       # the model is built by now
    model.stop_training = False
    callbacks.on_train_begin()
    first = initial_epoch if callbacks.resume_epoch is None else callbacks.resume_epoch
    for each epoch from first:
        on_epoch_begin(epoch)
        for each slice of batches, a single batch if callbacks.wants_train_batches:
            on_train_batch_begin(its first batch), train, on_train_batch_end(its last batch, means so far)
            if model.stop_training: leave the slices
            if the loss is not finite: raise FloatingPointError     # TerminateOnNaN would have stopped the training
        if there are validation data: on_test_begin(), (batches), on_test_end(results without val_)
        on_epoch_end(epoch, means and val_ results)
        if model.stop_training: leave the epochs
    on_train_end(logs of the last epoch)       # not after an exception
    callbacks.close()                          # however it ended
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

Logs = dict[str, Any] | None
Hook = TypeVar("Hook", bound=Callable[..., None])


def seldom(hook: Hook) -> Hook:
    """Mark a hook of batches that may be called only now and then; what overrides it is not marked."""
    hook.seldom = True  # type: ignore[attr-defined]
    return hook


def take(callback: Callback, state: dict[str, Any], names: Sequence[str]) -> None:
    """Give a callback the attributes of those names; TypeError, and none, if one is of another kind than it has now."""
    values = {name: state[name] for name in names}
    for name, value in values.items():
        now = getattr(callback, name)
        if now is not None and value is not None and _kind(value) is not _kind(now):
            raise TypeError(f"{name} of {type(callback).__name__} can't be {value!r}")
    for name, value in values.items():
        setattr(callback, name, value)


def _kind(value: Any) -> type:
    return float if isinstance(value, (int, float, np.number)) else type(value)


class Callback:
    """Base of the callbacks: override the methods of the moments that matter.

    The hooks of single batches cost the time of a call from compiled code for each, so a model looks first whether one
    is overridden, by the class or by an attribute of the object (wants_train_batches and its siblings). If none is,
    they are still called, but only now and then, with the number of the last batch done, as Keras does with
    steps_per_execution. A callback content with that sets wants_train_batches = False.

    Attributes:
        model: The model that is at work.
        params: verbose, epochs and steps of the call.
        resume_epoch: Number of the epoch that fit shall begin with instead of its initial_epoch; None leaves it alone.
            To be set in on_train_begin.

    >>> class Steps(Callback):
    ...     count = 0
    ...     def on_train_batch_end(self, batch, logs=None):
    ...         self.count += 1
    >>> Steps().wants_train_batches, Callback().wants_train_batches
    (True, False)
    """

    params: dict[str, Any] | None = None
    resume_epoch: int | None = None
    _model: Any = None
    _among: CallbackList | None = None
    # Whether it has its turn behind the others, as what depends on their state must.
    _comes_last = False

    def set_params(self, params: dict[str, Any]) -> None:
        """Take verbose, epochs and steps of the call."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Take the model that is at work."""
        self._model = model

    @property
    def model(self) -> Any:
        """The model that is at work; None before."""
        return self._model

    @property
    def wants_train_batches(self) -> bool:
        """Whether on_train_batch_... must be called for every batch."""
        return self._needs("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")

    @property
    def wants_test_batches(self) -> bool:
        """Whether on_test_batch_... must be called for every batch."""
        return self._needs("on_test_batch_begin", "on_test_batch_end")

    @property
    def wants_predict_batches(self) -> bool:
        """Whether on_predict_batch_... must be called for every batch."""
        return self._needs("on_predict_batch_begin", "on_predict_batch_end")

    def _needs(self, *hooks: str) -> bool:
        return not all(getattr(getattr(self, hook), "seldom", False) for hook in hooks)

    def training_state(self) -> dict[str, Any]:
        """What the training's course depends on and BackupAndRestore shall keep, by name; nothing unless overridden.

        Numbers, texts and arrays, and lists and dictionaries of them.
        """
        return {}

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Go on from what training_state returned, tuples as lists; called behind on_train_begin, unless empty."""

    def _close(self) -> None:
        """Close what must not stay open; called at the end of fit, after an exception too."""

    def on_train_begin(self, logs: Logs = None) -> None:
        """Training starts; logs is empty."""

    def on_train_end(self, logs: Logs = None) -> None:
        """Training is over; logs are those of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """An epoch starts, the first with number 0; logs is empty."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """An epoch is over, validation included.

        All callbacks get the same logs, sorted by name: the loss and the metrics, and those with val_ in front. What
        one adds, the ones behind it and History see.
        """

    @seldom
    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """A step of training starts, the epoch's first with number 0; logs is empty."""
        self.on_batch_begin(batch, logs=logs)

    @seldom
    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """A step of training is done; logs are the means of the epoch so far."""
        self.on_batch_end(batch, logs=logs)

    @seldom
    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Older name of on_train_batch_begin, which calls it."""

    @seldom
    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Older name of on_train_batch_end, which calls it."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """Evaluation starts, or validation within fit."""

    def on_test_end(self, logs: Logs = None) -> None:
        """Evaluation is over; logs are its results, without val_."""

    @seldom
    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """A batch is going to be evaluated."""

    @seldom
    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """A batch is evaluated; logs are the means so far."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Prediction starts."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """Prediction is over."""

    @seldom
    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """A batch is going to be predicted."""

    @seldom
    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """A batch is predicted; logs has its "outputs"."""


class CallbackList(Callback):
    """Callbacks, called in their order, but BackupAndRestore behind the others.

    Args:
        callbacks: A callback, or a list of them, in which there may be lists again; None is an empty one.
        add_history: Whether to put a History behind them if there is none.
        add_progbar: Whether to put a ProgbarLogger at the end if there is none.
        model: The model they work for.
        **params: What they find as params: verbose, epochs, steps.

    Attributes:
        callbacks: All of them, in order.
        history: The History among them, or None.

    Raises:
        TypeError: If one is no Callback.

    >>> from fastmlp.callbacks import CallbackList, LambdaCallback
    >>> callbacks = CallbackList([LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))])
    >>> callbacks.on_epoch_end(0, {"loss": 0.5, "accuracy": 1})
    0 {'accuracy': 1.0, 'loss': 0.5}
    >>> callbacks.wants_train_batches
    False
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        from .history import History
        from .progbar_logger import ProgbarLogger

        self.callbacks = list(_flat(callbacks))
        if add_history and not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(callback, ProgbarLogger) for callback in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        histories = [callback for callback in self.callbacks if isinstance(callback, History)]
        self.history = histories[-1] if histories else None
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback: Callback) -> None:
        """Put a callback behind the others."""
        self.callbacks.extend(_flat([callback]))

    def set_params(self, params: dict[str, Any]) -> None:
        """Hand them to all callbacks."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Hand it to all callbacks."""
        self._model = model
        for callback in self.callbacks:
            if callback._comes_last:
                callback._among = self
            callback.set_model(model)

    @property
    def wants_train_batches(self) -> bool:
        """Whether a callback needs to be called for every batch in fit."""
        return any(callback.wants_train_batches for callback in self.callbacks)

    @property
    def wants_test_batches(self) -> bool:
        """Whether a callback needs to be called for every batch in evaluate and in validation."""
        return any(callback.wants_test_batches for callback in self.callbacks)

    @property
    def wants_predict_batches(self) -> bool:
        """Whether a callback needs to be called for every batch in predict."""
        return any(callback.wants_predict_batches for callback in self.callbacks)

    @property
    def resume_epoch(self) -> int | None:  # type: ignore[override]
        """The epoch that the last callback which has a wish wants fit to begin with; None if none has."""
        wishes = [callback.resume_epoch for callback in self.callbacks if callback.resume_epoch is not None]
        return wishes[-1] if wishes else None

    def close(self) -> None:
        """Close files and the bar, however the call ended; may be called again."""
        for callback in self.callbacks:
            callback._close()
            callback._among = None

    _close = close

    def _call(self, hook: str, *place: int, logs: Logs) -> None:
        """Call a hook of all with the same logs, a new dict."""
        logs = _plain(logs)
        for callback in self._in_turn():
            getattr(callback, hook)(*place, logs)

    def _in_turn(self) -> list[Callback]:
        return sorted(self.callbacks, key=lambda callback: callback._comes_last)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_train_begin", logs=logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_train_end", logs=logs)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_epoch_end", epoch, logs=logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_train_batch_end", batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_batch_begin", batch, logs)

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_batch_end", batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_test_begin", logs=logs)

    def on_test_end(self, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_test_end", logs=logs)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_test_batch_end", batch, logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_predict_begin", logs=logs)

    def on_predict_end(self, logs: Logs = None) -> None:
        """Call all."""
        self._call("on_predict_end", logs=logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Call all."""
        self._call_of_batch("on_predict_batch_end", batch, logs)

    def _call_of_batch(self, hook: str, batch: int, logs: Logs) -> None:
        # By name, as Keras calls them: a lambda for a batch has a parameter `logs`.
        logs = _plain(logs)
        for callback in self._in_turn():
            getattr(callback, hook)(batch, logs=logs)


def check_kind(callbacks: Any) -> None:
    """TypeError unless they are None, a callback, a CallbackList, or nested lists of callbacks."""
    if not isinstance(callbacks, CallbackList):
        list(_flat(callbacks))


def _flat(callbacks: Any) -> Iterator[Callback]:
    if isinstance(callbacks, (list, tuple)):
        for callback in callbacks:
            yield from _flat(callback)
    elif isinstance(callbacks, Callback):
        yield callbacks
    elif callbacks is not None:
        hint = ""
        if isinstance(callbacks, type):
            hint = "; make an object of it: add ()"
        elif type(callbacks).__module__.startswith("keras."):
            hint = "; it is Keras's own: fastmlp.callbacks has the same under the same names"
        raise TypeError(f"callbacks must be objects of fastmlp.callbacks.Callback, got {callbacks!r}{hint}")


def _plain(logs: Logs) -> dict[str, Any]:
    """A new dict sorted by name, with everything a Python float that can be one; dicts within are spread out."""
    plain: dict[str, Any] = {}
    for name, value in sorted((logs or {}).items()):
        if isinstance(value, dict):
            plain.update(_plain(value))
            continue
        plain[name] = value
        if getattr(value, "ndim", 0) == 0:  # old NumPy makes floats of arrays of one element
            with contextlib.suppress(TypeError, ValueError):
                plain[name] = float(value)
    return plain
