"""Whether memory grows: python -m benchmarks.growth FITS PREDICTS prints how much, as JSON."""

from __future__ import annotations

import gc
import json
import sys

import numpy as np

import fastmlp
from fastmlp.layers import Dense, Input

from .memory import resident_mb

#: Share of the calls that go before, in which caches and the allocator's arenas fill.
_BEFORE = 10


def main(fits: int, predicts: int) -> dict[str, float]:
    """MB of resident memory that so many fits of a tiny job, and predictions of one row, leave behind."""
    rng = np.random.default_rng(0)
    x, y = rng.random((64, 16), np.float32), rng.integers(0, 4, 64)
    model = fastmlp.Sequential([Input((16,)), Dense(8, activation="relu"), Dense(4, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    row = x[:1]

    def fit() -> None:
        model.fit(x, y, verbose=0, validation_data=(x, y))

    return {"fits": _growth(fit, fits), "predicts": _growth(lambda: model.predict(row), predicts)}


def _growth(call, count: int) -> float:
    for _ in range(1 + count // _BEFORE):
        call()
    gc.collect()
    before = resident_mb()
    for _ in range(count):
        call()
    gc.collect()
    return resident_mb() - before


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
