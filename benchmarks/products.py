"""The public product, fastmlp.kernels.matmul, beside the libraries that NumPy and PyTorch call."""

from __future__ import annotations

import itertools
from typing import Any

from .crew import Crew
from .multiply import LIBRARIES

#: Rows, depth and columns of a large product.
LARGE = (1024, 1024, 1024)

#: Of small and skinny ones.
ROWS, SIZES = (1, 2, 4, 8, 16, 32), (16, 32, 64, 128, 256)
SMALL = list(itertools.product(ROWS, SIZES, SIZES))


def measure(crew: Crew, rounds: int, threads: int, smoke: bool) -> dict[str, Any]:
    """Seconds of a call in every round; the large product on one thread and on all, beside the peak at that time."""
    names = [name for name in crew.names if name in LIBRARIES]
    large = []
    for count in sorted({1, threads}):
        result: dict[str, Any] = {"threads": count, "peak": [], "seconds": {name: [] for name in names}}
        for turn in range(rounds):
            result["peak"].append(crew.ask("fastmlp", "peak", threads=count))
            for name in crew.turns(turn, names):
                answer = crew.ask(name, "products", shapes=[LARGE], threads=count, seconds=0 if smoke else 0.3)
                if answer:
                    result["seconds"][name] += answer
        large.append(result)
    shapes = SMALL[:: len(SMALL) // 12] if smoke else SMALL
    small: dict[str, Any] = {"shapes": shapes, "seconds": {name: [] for name in names}}
    for turn in range(rounds):
        for name in crew.turns(turn, names):
            answer = crew.ask(name, "products", shapes=shapes, threads=1, seconds=0.0005 if smoke else 0.003)
            if answer:
                small["seconds"][name].append(answer)
    return {"shape": LARGE, "large": large, "small": small}
