"""The network of an estimator: its layers, how they begin, what it is trained by."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp import activations, checks, optimizers, random
from fastmlp.layers import Dense, Dropout, Input, Layer
from fastmlp.models import Sequential
from fastmlp.optimizers import Optimizer
from fastmlp.regularizers import L2

#: scikit-learn's names of activations that fastmlp has under other names.
ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}


class Order:
    """Orders of the samples as scikit-learn draws them: each is the one before, shuffled.

    Args:
        generator: Its RandomState.
    """

    def __init__(self, generator: np.random.RandomState):
        self._generator = generator
        self._order: np.ndarray | None = None

    def permutation(self, order: np.ndarray) -> np.ndarray:
        """The order of the next epoch."""
        if self._order is not None and len(self._order) != len(order):
            raise ValueError(
                f"the backup is of a training on {len(self._order)} samples, but there are {len(order)}; give the "
                "same, or delete it"
            )
        drawn = np.arange(len(order))
        self._generator.shuffle(drawn)
        self._order = (order if self._order is None else self._order)[drawn]
        return self._order

    def integers(self, high: int) -> int:
        """A whole number below `high`."""
        return int(self._generator.randint(high))

    def state(self) -> np.ndarray:
        """The generator's state and the last order, as bytes, uint8: a line of JSON, and what is large behind it."""
        state: Any = self._generator.get_state(legacy=False)
        key = state["state"].pop("key", np.empty(0, np.uint32))
        order = np.empty(0, np.int64) if self._order is None else self._order.astype(np.int64, copy=False)
        head = {"generator": state, "key": key.size, "dtype": key.dtype.str, "order": order.size}
        # As text the key of the usual generator would take as long as an epoch of a hundred samples.
        text = json.dumps(head, default=np.ndarray.tolist).encode() + b"\n"
        return np.frombuffer(text + key.tobytes() + order.tobytes(), np.uint8)

    def set_state(self, kept: bytes) -> None:
        """Go on from what state() returned; ValueError if it is something else."""
        text, _, rest = kept.partition(b"\n")
        head = json.loads(text)
        state, dtype = head["generator"], np.dtype(head["dtype"])
        at = head["key"] * dtype.itemsize
        order = np.frombuffer(rest[at:], np.int64)
        if len(order) != head["order"] or not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ValueError("its order of the samples is none")
        if at:
            state["state"]["key"] = np.frombuffer(rest[:at], dtype)
        self._generator.set_state(state)
        self._order = order if len(order) else None


def sizes_of(hidden_layer_sizes: Any) -> list[int]:
    """Units of each hidden layer, from a number or several."""
    several = hidden_layer_sizes if hasattr(hidden_layer_sizes, "__iter__") else [hidden_layer_sizes]
    sizes = list(several)
    if any(isinstance(size, (bool, np.bool_)) or not isinstance(size, (int, np.integer)) or size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be whole numbers > 0, got {hidden_layer_sizes!r}")
    return [int(size) for size in sizes]


def each(name: str, given: Any, hidden: int) -> list[Any]:
    """One value for each hidden layer, from one or several."""
    if isinstance(given, (list, tuple, np.ndarray)):
        if len(given) != hidden:
            raise ValueError(
                f"{name} has {len(given)} values, but hidden_layer_sizes has {hidden} layers: give one value, or one "
                "for each layer"
            )
        return list(given)
    return [given] * hidden


def activations_of(given: Any, hidden: int) -> list[str]:
    """fastmlp's names of the activation of each hidden layer."""
    names = each("activation", given, hidden)
    if not isinstance(given, (list, tuple, np.ndarray)):
        names = names or [given]  # looked at, even where there is no hidden layer
    return [activations.get(ACTIVATIONS.get(name, name) if isinstance(name, str) else name) for name in names]


def hidden(activation: Any, dropout: Any, count: int) -> tuple[list[str], list[float]]:
    """Activation and dropout of so many hidden layers; the activation of none still has a name."""
    return activations_of(activation, count), [float(rate) for rate in each("dropout", dropout, count)]


def described(model: Sequential) -> dict[str, list[Any]]:
    """What a network was built with, by the names of the parameters."""
    dense, rates = [layer for layer in model.layers if isinstance(layer, Dense)][:-1], []
    for layer in model.layers:
        if isinstance(layer, Dense):
            rates.append(0.0)
        elif isinstance(layer, Dropout):
            rates[-1] = layer.rate
    units, names = [layer.units for layer in dense], [layer.activation for layer in dense]
    return {"hidden_layer_sizes": units, "activation": names, "dropout": rates[:-1]}


def penalize(model: Sequential, alpha: float, keep_optimizer: bool) -> None:
    """Give the weights another penalty.

    Raises:
        ValueError: If it comes from or becomes none, where the optimizer's state must stay.
    """
    for layer in (layer for layer in model.layers if isinstance(layer, Dense)):
        if alpha and isinstance(layer.kernel_regularizer, L2):
            layer.kernel_regularizer.l2 = alpha / 2
            continue
        if keep_optimizer and bool(alpha) != (layer.kernel_regularizer is not None):
            raise ValueError("alpha can't become 0, or another number than 0, between calls of partial_fit")
        layer.kernel_regularizer = L2(alpha / 2) if alpha else None
    model._renumber()


def build(
    features: int,
    sizes: Sequence[int],
    outputs: int,
    last: str,
    *,
    activation: Any,
    alpha: float,
    dropout: Any,
    dtype: str,
    generator: np.random.RandomState,
) -> Sequential:
    """The network with the weights that it begins with, not compiled.

    Weights and biases are uniform within Glorot's bound, sqrt(6 / (inputs + units)), or sqrt(2 / ...) where the hidden
    activation is the sigmoid, as scikit-learn draws them.
    """
    names, rates = hidden(activation, dropout, len(sizes))
    penalty = L2(alpha / 2) if alpha else None
    units = [features, *sizes, outputs]
    # The last layer goes by the activation before it, as there.
    factors = [2.0 if name == "sigmoid" else 6.0 for name in (names[: len(sizes)] + names[-1:])]
    drawn = []
    for inputs, count, factor in zip(units, units[1:], factors):
        bound = math.sqrt(factor / (inputs + count))
        drawn += [generator.uniform(-bound, bound, (inputs, count)), generator.uniform(-bound, bound, count)]
    layers: list[Layer] = [Input((features,))]
    with random.using(Order(generator)):
        for count, name, rate in zip(sizes, names, rates):
            layers.append(Dense(count, name, kernel_initializer="zeros", kernel_regularizer=penalty))
            if rate:
                layers.append(Dropout(rate))
        layers.append(Dense(outputs, last, kernel_initializer="zeros", kernel_regularizer=penalty))
    model = Sequential(layers, name="mlp", dtype=dtype)
    model.set_weights(drawn)
    return model


def optimizer_of(estimator: Any) -> Optimizer:
    """What the parameters of an estimator say: an optimizer that has taken no step."""
    solver, rate = estimator.solver, estimator.learning_rate_init
    if isinstance(solver, Optimizer):
        made = copy.deepcopy(solver)
        made.iterations = 0
        return made
    if not isinstance(solver, str):
        raise TypeError(f"solver must be a name or an object of fastmlp.optimizers, got {solver!r}")
    if solver == "lbfgs":
        raise ValueError(
            "solver='lbfgs' is not there: fastmlp trains in batches. Use solver='adam', for small data with a larger "
            "learning_rate_init such as 0.01, or scikit-learn's own estimator"
        )
    name = checks.known_name("solver", solver, optimizers.NAMES)
    if name == "sgd":
        return optimizers.SGD(rate, estimator.momentum, estimator.nesterovs_momentum)
    options: dict[str, Any] = {}
    if name in ("adam", "adamw", "nadam", "adamax"):
        options = {"beta_1": estimator.beta_1, "beta_2": estimator.beta_2, "epsilon": estimator.epsilon}
    named: Optimizer = type(optimizers.get(name))(rate, **options)
    return named
