"""LambdaCallback: a callback from functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .base import Callback
from .monitor import check_function


class LambdaCallback(Callback):
    """Calls functions in place of the hooks.

    Args:
        on_epoch_begin: Called as f(epoch, logs).
        on_epoch_end: Called as f(epoch, logs).
        on_train_begin: Called as f(logs).
        on_train_end: Called as f(logs).
        on_train_batch_begin: Called as f(batch, logs=logs), so that the parameter must have that name.
        on_train_batch_end: Likewise. Either has fit call it for every batch.
        **kwargs: Any other hook of Callback by its name.

    Raises:
        TypeError: If a name is no hook's, or a value no function.

    >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> callback.on_epoch_end(3, {"loss": 0.25})
    3 0.25
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ):
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name, function in hooks.items():
            if name not in known:
                raise TypeError(f"LambdaCallback has no hook {name!r}. Known: {', '.join(sorted(known))}")
            if function is not None:
                setattr(self, name, check_function(name, function))
