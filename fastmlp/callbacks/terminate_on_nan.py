"""TerminateOnNaN: end a training whose loss is no number any more."""

from __future__ import annotations

import math

from .base import Callback, Logs, seldom


class TerminateOnNaN(Callback):
    """Ends fit in order when the loss is NaN or infinite: the History is returned and callbacks get on_train_end.

    Without it fit raises FloatingPointError, as nothing is learnt from there on.

    It looks at the mean loss whenever fit reports, several times a second, not after every batch: from NaN and infinity
    a mean never comes back, so a few batches more are all it costs, where a call for each would slow all of them down.

    Args:
        raise_error: Whether to raise instead, so that no callback gets on_train_end and a backup, say, stays.

    Raises:
        RuntimeError: In fit, with raise_error.
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = raise_error

    @seldom
    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"the loss is {loss} after batch {batch}: training diverged. Try a smaller learning_rate, or inputs "
                "scaled to about -1 to 1"
            )
        print(f"Batch {batch}: the loss is {loss}, training ends")
        self.model.stop_training = True
