"""Models in pickles and copies: what pickle, joblib and copy.deepcopy keep of one.

The kernels' tables hold addresses of this process, so a model is kept as what it is made of, as in its own files, and
built anew. Its loss, metrics and optimizer are kept as the objects that they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastmlp import random

from .description import config_of, fill, model_of, seeds_of, set_seeds, state_of, weights_of

if TYPE_CHECKING:
    from fastmlp.models import Sequential


def state(model: Sequential) -> dict[str, Any]:
    """See Sequential.__getstate__."""
    built = model.built
    return {
        "config": config_of(model),
        "optimizer": model.optimizer,
        "loss": model.loss,
        "metrics": model._metrics,
        "weighted_metrics": model._weighted_metrics,
        "weights": {name: view.copy() for name, view in weights_of(model).items()} if built else {},
        "state": {name: view.copy() for name, view in state_of(model).items()} if built else {},
        "seeds": seeds_of(model),
        "history": model.history,
    }


def restore(model: Sequential, kept: dict[str, Any]) -> None:
    """See Sequential.__setstate__."""
    with random.kept():
        made = model_of(type(model), kept["config"])
    model.__dict__.update(made.__dict__)
    if kept["loss"] is not None:
        optimizer = kept["optimizer"]
        iterations = optimizer.iterations
        model.compile(optimizer, kept["loss"], kept["metrics"], kept["weighted_metrics"])
        optimizer.iterations = iterations
    set_seeds(model, kept["seeds"], "the pickle")
    if kept["state"]:
        model._need_trainer()
        fill(state_of(model), kept["state"])
    if kept["weights"]:
        fill(weights_of(model), kept["weights"])  # where a layer is not trained, the trainer has laid them out anew
    model.history = history = kept["history"]
    if history is not None and history.model is None:
        history.set_model(model)
