"""Training on a sparse matrix beside scikit-learn's MLPClassifier, which is what takes one as it is.

The matrix is random, of the shape of the 20 newsgroups' words (11,314 x 130,107, about 150 words a text, their
frequencies as Zipf's law has them), and an epoch is a whole call: fit, or partial_fit, with all that it checks.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from . import memory
from .crew import Crew

#: Both with a hidden layer of 100 relu units; plain SGD without momentum, and Adam, at the libraries' usual rates.
SOLVERS = ("sgd", "adam")
PEERS = ("fastmlp", "scikit-learn")

_ROWS, _COLUMNS, _CLASSES, _WORDS = 11_314, 130_107, 20, 190
_HIDDEN, _BATCH = 100, 200
_RATES = {"sgd": 0.01, "adam": 0.001}

# Seconds that a peer may take for all rounds of a solver.
_BUDGET = 60.0


def matrix(rows: int, columns: int) -> tuple[Any, np.ndarray]:
    """A CSR matrix (rows, columns) of float32 and classes (rows,)."""
    from scipy import sparse

    rng = np.random.default_rng(0)
    frequency = np.cumsum(1 / np.arange(1, columns + 1))
    row = np.repeat(np.arange(rows), rng.poisson(_WORDS, rows))
    words = rng.permutation(columns)[np.searchsorted(frequency, rng.random(len(row)) * frequency[-1])]
    x = sparse.coo_matrix((np.ones(len(row), np.float32), (row, words)), (rows, columns)).tocsr()
    rarity = (1 + np.log(rows / (1 + np.bincount(x.indices, minlength=columns)))).astype(np.float32)
    x.data *= rarity[x.indices]
    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)))[:, 0]
    x.data /= np.repeat(norms, np.diff(x.indptr)).astype(np.float32)
    return x, rng.integers(0, _CLASSES, rows)


class Epochs:
    """One library's epochs.

    Args:
        peer: One of PEERS.
        solver: One of SOLVERS.
        smoke: Whether to take a small matrix.
    """

    def __init__(self, peer: str, solver: str, smoke: bool):
        self.x, self.y = matrix(*((400, 2_000) if smoke else (_ROWS, _COLUMNS)))
        self.train = {"fastmlp": self._fastmlp, "scikit-learn": self._sklearn}[peer](solver)

    def epoch(self) -> dict[str, float]:
        """Seconds and loss of another epoch, and the most memory that the process has had so far, in MB."""
        start = time.perf_counter()
        loss = self.train()
        return {"seconds": time.perf_counter() - start, "loss": float(loss), "megabytes": memory.peak_mb()}

    def _fastmlp(self, solver: str) -> Any:
        import fastmlp
        from fastmlp.layers import Dense, Input

        layers = [Input((self.x.shape[1],)), Dense(_HIDDEN, activation="relu"), Dense(_CLASSES, activation="softmax")]
        model = fastmlp.Sequential(layers)
        optimizer = {"sgd": fastmlp.optimizers.SGD, "adam": fastmlp.optimizers.Adam}[solver](_RATES[solver])
        model.compile(optimizer, "sparse_categorical_crossentropy")
        return lambda: model.fit(self.x, self.y, batch_size=_BATCH, verbose=0).history["loss"][0]

    def _sklearn(self, solver: str) -> Any:
        from sklearn.neural_network import MLPClassifier

        model = MLPClassifier((_HIDDEN,), solver=solver, alpha=0.0, batch_size=_BATCH, momentum=0.0,
                              learning_rate_init=_RATES[solver], random_state=0)  # fmt: skip
        classes = np.arange(_CLASSES)
        return lambda: model.partial_fit(self.x, self.y, classes=classes).loss_


def measure(crew: Crew, rounds: int, smoke: bool) -> dict[str, Any]:
    """For each solver, what every peer's epochs took: the first apart, then one in each round it takes part in."""
    x, _ = matrix(*((400, 2_000) if smoke else (_ROWS, _COLUMNS)))
    report: dict[str, Any] = {"rows": x.shape[0], "columns": x.shape[1], "nonzeros": x.nnz / x.shape[0],
                              "hidden": _HIDDEN, "batch": _BATCH, "solvers": {}}  # fmt: skip
    for solver in SOLVERS:
        peers: dict[str, Any] = {}
        limits = {}
        for name in (name for name in crew.names if name in PEERS):
            crew.ask(name, "sparse_begin", solver=solver, smoke=smoke)
            first, second = crew.ask(name, "sparse_epoch"), crew.ask(name, "sparse_epoch")
            if second is not None:
                peers[name] = {"first": first["seconds"], "loss_after_first": second["loss"], "seconds": []}
                limits[name] = rounds if name == "fastmlp" else max(1, min(rounds, int(_BUDGET / second["seconds"])))
        for turn in range(rounds):
            for name in crew.turns(turn, list(peers)):
                if turn < limits[name] and (answer := crew.ask(name, "sparse_epoch")):
                    peers[name]["seconds"].append(answer["seconds"])
                    peers[name]["megabytes"] = answer["megabytes"]
        report["solvers"][solver] = {name: peer for name, peer in peers.items() if peer["seconds"]}
    return report
