"""What every door is held to: nothing but its documented errors, soon, in bounded memory, with the model as it was.

A door is a function of a Random that makes one hostile input and hands it to the library. A door whose model must be
left alone hands its calls to `unchanged`.
"""

import contextlib
import dataclasses
import io
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np

import fastmlp

#: What may be raised, exactly or as a subclass; of these, some subclasses are no answer to a caller.
ANSWERS = (ValueError, TypeError, OSError, RuntimeError, ImportError, FloatingPointError)
NO_ANSWERS = (RecursionError, NotImplementedError, UnboundLocalError)

#: Seconds of computing that one input may take, and bytes that all may take beyond what is there when they begin.
MOST_SECONDS, MOST_BYTES = 20, 3 << 30

_FASTMLP = Path(fastmlp.__file__).resolve().parent
#: The library's files: kernels/ is a link to a folder beside it.
_OWN = (str(_FASTMLP), str((_FASTMLP / "kernels").resolve()))

#: Door by name.
DOORS: dict[str, Callable[[Random], None]] = {}


def door(function: Callable[[Random], None]) -> Callable[[Random], None]:
    """Decorator: a door under its function's name."""
    DOORS[function.__name__] = function
    return function


class TookTooLong(BaseException):
    """An input that took longer than MOST_SECONDS."""


@dataclasses.dataclass
class Finding:
    """What an input did that it must not."""

    door: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.door}, input {self.key}: {self.what}"


def limit_memory() -> None:
    """A declared size that is believed becomes a MemoryError, which is no answer, instead of a machine that stands."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, resource.RLIM_INFINITY))


def state_of(model: fastmlp.Sequential) -> dict[str, bytes]:
    """All that a refused call must leave alone."""
    kept = {"generator": fastmlp.random.state().tobytes(), "built": bytes([model.built])}
    kept["config"] = repr(model.get_config()).encode()
    if model.built:
        kept |= {f"weights {i}": array.tobytes() for i, array in enumerate(model.get_weights())}
    if model.built and model.optimizer is not None:
        kept |= {name: array.tobytes() for name, array in fastmlp.saving.description.state_of(model).items()}
        kept["iterations"] = repr(model.optimizer.iterations).encode()
        kept["rate"] = repr(model.optimizer.learning_rate).encode()
    return kept


def unchanged(model: fastmlp.Sequential, call: Callable[[], object]) -> None:
    """Run a call; if it is refused, the model must be as it was."""
    before = state_of(model)
    try:
        call()
    except FloatingPointError:
        raise  # a training that diverged has been one
    except ANSWERS as error:
        after = state_of(model)
        different = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        if different:
            raise AssertionError(f"a refused call has changed {sorted(different)[:4]}: {error!r}") from error
        raise


@contextlib.contextmanager
def _timed() -> Iterator[None]:
    def late(signum, frame):
        raise TookTooLong

    # Of computing; and fifteen times as many by the clock, for what waits on something.
    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, MOST_SECONDS),
        (signal.ITIMER_REAL, signal.SIGALRM, 15 * MOST_SECONDS),
    )
    before = [signal.signal(number, late) for _, number, _ in timers]
    for timer, _, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _is_own(error: BaseException) -> bool:
    """Whether a line of the library raised it, rather than something that the library called."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and str(Path(frames[-1].filename).resolve()).startswith(_OWN)


def try_one(name: str, key: str, strict: bool = False) -> Finding | None:
    """One input of a door, the same for the same key; the finding, if it is one.

    Args:
        name: The door.
        key: Of the input.
        strict: Whether errors that the library lets through from elsewhere are findings, too.
    """
    return try_with(name, key, Random(f"{name} {key}"), strict)


def try_with(name: str, key: str, rng: Random, strict: bool = False) -> Finding | None:
    """See try_one; with any source of choices."""
    try:
        with _timed(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)  # such as a mode that is unknown
            DOORS[name](rng)
    except TookTooLong as error:
        return Finding(name, key, f"took more than {MOST_SECONDS} s: {_where(error)}")
    except ANSWERS as error:
        if isinstance(error, NO_ANSWERS):
            return Finding(name, key, f"{error!r:.300}: {_where(error)}")
        if not str(error).strip():
            return Finding(name, key, f"{type(error).__name__} without a word: {_where(error)}")
        if strict and not _is_own(error):
            return Finding(name, key, f"let through: {error!r:.300}: {_where(error)}")
    except Exception as error:  # anything else is a finding
        return Finding(name, key, f"{error!r:.300}: {_where(error)}")
    return None


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if str(Path(f.filename).resolve()).startswith(_OWN)]
    chosen = [*own[-2:], *frames[-1:]]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(chosen))


def try_many(
    name: str,
    *,
    seed: int,
    inputs: int | None = None,
    seconds: float | None = None,
    strict: bool = False,
    note: Callable[[str, str], None] = lambda name, key: None,
    most_findings: int = 20,
) -> tuple[int, list[Finding]]:
    """So many inputs, or as many as there is time for: how many it were, and what was found, a kind once."""
    findings: dict[str, Finding] = {}
    begin, count = time.monotonic(), 0
    while (inputs is None or count < inputs) and (seconds is None or time.monotonic() - begin < seconds):
        key = f"{seed}-{count}"
        note(name, key)
        found = try_one(name, key, strict)
        count += 1
        if found is not None:
            findings.setdefault(found.what.rpartition(": ")[2], found)
            if len(findings) >= most_findings:
                break
    np.random.default_rng()  # numpy stays usable: a corrupted heap shows here or at exit
    return count, list(findings.values())
