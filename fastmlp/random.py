"""The generator of initial weights and of the order of the samples.

fastmlp draws from a generator of its own, so training leaves NumPy's and Python's global state as it was.
"""

import contextlib
import contextvars
import json
import os
import random as _python_random
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

_generator = np.random.default_rng()


class Own(Protocol):
    """A generator that somebody draws from instead."""

    def permutation(self, order: np.ndarray) -> np.ndarray:
        """The order of the next epoch."""

    def integers(self, high: int) -> int:
        """A whole number below `high`."""

    def state(self) -> np.ndarray:
        """Where it stands, as bytes, uint8."""

    def set_state(self, kept: bytes) -> None:
        """Go on from there; ValueError if it is something else."""


# Of the estimators, which draw from one of their own; a thread doesn't see that of another.
_own: contextvars.ContextVar[Own | None] = contextvars.ContextVar("_own", default=None)

# A child that is forked while another thread draws would wait for ever for the lock which that thread held.
if hasattr(os, "register_at_fork"):
    _held: list[Any] = []

    def _hold() -> None:
        _held.append(_generator.bit_generator.lock)
        _held[-1].acquire()

    def _release() -> None:
        _held.pop().release()

    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)


def generator() -> np.random.Generator:
    """The generator that initial weights and shuffles come from."""
    own: Any = _own.get()
    return _generator if own is None else own


@contextlib.contextmanager
def using(own: Own) -> Iterator[None]:
    """What is drawn within, by this thread, comes from `own`."""
    token = _own.set(own)
    try:
        yield
    finally:
        _own.reset(token)


def set_random_seed(seed: int) -> None:
    """Make all that follows repeatable: the same seed gives the same bits on the same machine.

    As in Keras, Python's `random` and `numpy.random` are seeded too, so that one's own draws repeat as well.

    Args:
        seed: From 0 to 2^32 - 1.

    Raises:
        ValueError: If the seed is outside that range.
        TypeError: If it is not an integer.

    >>> import fastmlp
    >>> fastmlp.utils.set_random_seed(7)
    """
    global _generator
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie from 0 to 2**32 - 1, got {seed}")
    _python_random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - the legacy state is what users' np.random calls draw from
    _generator = np.random.default_rng(int(seed))


def state() -> np.ndarray:
    """Where the generator stands, as bytes, uint8."""
    own = _own.get()
    if own is not None:
        return own.state()
    return np.frombuffer(json.dumps(_generator.bit_generator.state).encode(), np.uint8).copy()


def _bytes(kept: Any) -> bytes:
    array = np.asarray(kept)
    if array.dtype != np.uint8:
        raise TypeError(f"expected bytes as uint8, got {array.dtype}")
    return array.tobytes()


def set_state(kept: Any) -> None:
    """Let the generator go on from what state() returned.

    Raises:
        ValueError: If it is something else.
    """
    own = _own.get()
    try:
        if own is not None:
            own.set_state(_bytes(kept))
            return
        state = json.loads(_bytes(kept))
        np.random.default_rng(0).bit_generator.state = state  # one that fails half way leaves ours as it is
        _generator.bit_generator.state = state
    except (TypeError, KeyError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise ValueError(f"the state of the random generator can't be read ({error})") from error


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """What is drawn within leaves the generator where it was."""
    before = state()
    try:
        yield
    finally:
        set_state(before)
