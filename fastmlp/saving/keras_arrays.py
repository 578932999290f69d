"""A model's arrays in Keras's HDF5 files.

    layers/<class>/vars      the arrays "0", "1", ... of a layer; classes in snake case, the second dense_1
    optimizer/vars           iterations, the learning rate unless a schedule gives it, then the optimizer's arrays

Keras keeps the optimizer's arrays by kind, in the order in which its classes make them (_ORDER).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.arrays import cast
from fastmlp.kernels.optimizers import SLOTS
from fastmlp.layers import Layer, Normalization
from fastmlp.optimizers import Optimizer

from . import hdf5
from .description import STATE, count_of, layer_names, state_of
from .keras_configs import normalization_axes
from .keras_networks import spread

if TYPE_CHECKING:
    from fastmlp.models import Sequential

#: Of each kernel, the optimizer's arrays in Keras's order. Those in one group alternate, variable by variable.
_ORDER: dict[str, tuple[tuple[int, ...], ...]] = {
    "sgd": (),
    "momentum": ((0,),),
    "nesterov": ((0,),),
    "adam": ((0, 1),),
    "amsgrad": ((0, 1), (2,)),
    "nadam": ((0, 1),),
    "adamax": ((0, 1),),
    "rmsprop": ((0,), (1,)),
    "centered_rmsprop": ((0,), (1,), (2,)),
    "adagrad": ((0,),),
    "adadelta": ((0, 1),),
    "lion": ((0,),),
}

# ------------------------------------------------------------------ writing


def groups(model: Sequential) -> dict[str, tuple[str, Sequence[np.ndarray]]]:
    """All arrays for hdf5.written."""
    made: dict[str, tuple[str, Sequence[np.ndarray]]] = {"vars": (model.name, [])}
    for path, layer in paths(model):
        made[f"layers/{path}/vars"] = layer.name, _stored(layer)
    if model.optimizer is not None:
        made["optimizer/vars"] = model.optimizer.name, _optimizer_arrays(model, model.optimizer)
    return made


def paths(model: Sequential) -> Iterator[tuple[str, Layer]]:
    """The layers by the names that Keras gives their groups."""
    counts: dict[str, int] = {}
    for layer in model.layers:
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        count = counts[name] = counts.get(name, -1) + 1
        yield (f"{name}_{count}" if count else name), layer


def _stored(layer: Layer) -> list[np.ndarray]:
    """The layer's arrays as Keras has them."""
    if not isinstance(layer, Normalization):
        return layer.weights
    axes = normalization_axes(layer)
    shape = layer.input_shape or ()
    return [*(w.reshape(shape) if axes else w[0] for w in layer.weights), np.array(0, np.int32)]


def _optimizer_arrays(model: Sequential, optimizer: Optimizer) -> list[np.ndarray]:
    """The optimizer's arrays in Keras's order; before the first step, those with which it begins."""
    kind = np.int32 if optimizer.iterations < 2**31 else np.int64
    made: list[np.ndarray] = [np.array(optimizer.iterations, kind)]
    if not optimizer.is_scheduled:
        made.append(np.array(optimizer.learning_rate, model.dtype))
    state = state_of(model)
    for key, view, factor in _slots(model, optimizer):
        block = key.removeprefix(STATE).partition("/")[0]
        begin = optimizer.slot_start if block.isdigit() and int(block) < SLOTS[optimizer.kernel_name] else 0.0
        made.append(state[key] * view.dtype.type(factor) if key in state else np.full_like(view, begin))
    if optimizer.kernel_name == "nadam":
        made.append(np.array(_product(optimizer), model.dtype))
    return made


def _slots(model: Sequential, optimizer: Optimizer) -> list[tuple[str, np.ndarray, float]]:
    """Of the optimizer's arrays in Keras's order: name here, an array of that shape, factor from here to Keras."""
    kernel, groups = optimizer.kernel_name, []
    if optimizer.use_ema:
        groups.append([(str(SLOTS[kernel]), 1.0)])
    if optimizer.every > 1:  # Keras keeps the sum of the gradients that wait, not of their shares in the mean
        groups.append([("gradient", float(optimizer.every))])
    for blocks in _ORDER[kernel]:
        if blocks != (1,) or getattr(optimizer, "momentum", 0.0) > 0:  # RMSprop's, which Keras leaves out
            groups.append([(str(block), 1.0) for block in blocks])
    variables = [
        (f"{name}/{variable.name}", variable.view)
        for name, layer in zip(layer_names(model._layers), model._layers)
        for variable in layer.trainable_variables
    ]
    return [
        (f"{STATE}{block}/{name}", view, factor)
        for group in groups
        for name, view in variables
        for block, factor in group
    ]


def _product(optimizer: Any) -> float:
    """Nadam's product of the momenta so far, which Keras keeps."""
    product, step = 1.0, 0
    while step < optimizer.iterations // optimizer.every and product > 0:
        step += 1
        product *= optimizer.beta_1 * (1.0 - 0.5 * 0.96**step)
    return product


# ------------------------------------------------------------------ reading


@dataclass
class _Pair:
    """An array of a file, and where it belongs.

    Attributes:
        what: Its name, for errors.
        source: The array in the file, not read yet.
        shape: What it must have.
    """

    what: str
    source: Any
    shape: tuple[int, ...]

    def check(self, name: str) -> None:
        """ValueError if it has another shape, no floats, or fewer than it says."""
        if self.source.shape != self.shape:
            raise ValueError(
                f"{name} doesn't fit the model: it has {self.what} {self.source.shape} instead of {self.shape}"
            )
        if self.source.dtype.kind != "f":
            raise ValueError(f"{name} has {self.what} as {self.source.dtype}; floats are needed")
        hdf5.check_held(self.source, f"{self.what} in {name}")


def layer_values(
    model: Sequential, file: Any, name: str, axes: dict[int, tuple[int, ...]]
) -> dict[int, list[np.ndarray]]:
    """Of each layer, by its place in the model, the arrays that it takes; all shapes are checked before one is read."""
    legacy = file if "layer_names" in file.attrs else hdf5.member(file, "model_weights")
    found = _found(model, file, name) if legacy is None else _found_by_keras_2(model, legacy, name)
    made: dict[int, list[np.ndarray]] = {}
    pairs: dict[int, list[_Pair]] = {}
    for place, layer in enumerate(model._layers):
        if place in found and isinstance(layer, Normalization):
            made[place] = _normalization(layer, found[place], axes.get(place), name)
        elif place in found:
            pairs[place] = [
                _Pair(f"{layer.name}/{variable.name}", source, variable.view.shape)
                for variable, source in zip(layer.variables, found[place])
            ]
    for own in pairs.values():
        for pair in own:
            pair.check(name)
    return made | {place: [pair.source[()] for pair in own] for place, own in pairs.items()}


def _found(model: Sequential, file: Any, name: str) -> dict[int, list[Any]]:
    """Arrays of the file by places of the layers that take them."""
    groups = hdf5.names(file, "layers")
    if not groups and not hdf5.names(file, "optimizer"):
        raise ValueError(f"{name} has no group of layers: it is of something else than Keras's save_weights")
    places = {id(layer): place for place, layer in enumerate(model._layers)}
    found, known = {}, set()
    for path, layer in paths(model):
        known.add(path)
        arrays = hdf5.arrays(file, f"layers/{path}/vars")
        wanted = len(layer.variables)
        if isinstance(layer, Normalization) and len(arrays) in (0, 3):  # none where mean and variance were given
            if arrays:
                found[places[id(layer)]] = arrays[:2]
            continue
        if len(arrays) != wanted:
            lacks = f" (there is no group layers/{path})" if path not in groups else ""
            raise ValueError(
                f"{name} doesn't fit the model: layer {layer.name!r} has {wanted} arrays, the file {len(arrays)}{lacks}"
            )
        if wanted:
            found[places[id(layer)]] = arrays
    more = [group for group in groups if group not in known and hdf5.names(file, f"layers/{group}/vars")]
    if more:
        raise ValueError(f"{name} doesn't fit the model: it has the unknown {', '.join(sorted(more)[:5])}")
    return found


def _found_by_keras_2(model: Sequential, root: Any, name: str) -> dict[int, list[Any]]:
    """The same in a file of Keras 2, which names the layers in order, and their arrays."""
    stored = []
    for layer in hdf5.texts(root, "layer_names") or ():
        group = hdf5.member(root, layer)
        weights = None if group is None else hdf5.texts(group, "weight_names")
        if weights:
            stored.append([hdf5.array(group, weight) for weight in weights])
    places = [place for place, layer in enumerate(model._layers) if layer.variables]
    counts = [len(model._layers[place].variables) for place in places]
    expected = [3 if isinstance(model._layers[place], Normalization) else count for place, count in zip(places, counts)]
    if [len(arrays) for arrays in stored] != expected:
        raise ValueError(
            f"{name} doesn't fit the model: its layers have {[len(arrays) for arrays in stored]} arrays, those of the "
            f"model {expected}"
        )
    return {place: arrays[:count] for place, arrays, count in zip(places, stored, counts)}


def _normalization(
    layer: Normalization, sources: Sequence[Any], axes: tuple[int, ...] | None, name: str
) -> list[np.ndarray]:
    """Mean and variance for each number of a sample; without axes, those that the shape tells."""
    shape = layer.input_shape or ()
    every = tuple(range(1, len(shape) + 1))
    made = []
    for source, what in zip(sources, ("mean", "variance")):
        kept = axes
        if kept is None:
            kept = () if source.shape == () else every if source.shape == shape else every[-1:]
        pair = _Pair(f"{layer.name}/{what}", source, tuple(shape[axis - 1] for axis in kept))
        pair.check(name)
        where = f"layer {layer.name!r}"
        made.append(np.broadcast_to(spread(source[()], kept, shape, where), shape).reshape(-1))
    return made


def fill(model: Sequential, values: dict[int, list[np.ndarray]]) -> None:
    """Give the layers what layer_values returned."""
    made = []
    for place, held in values.items():
        layer = model._layers[place]
        for variable, array in zip(layer.variables, held):
            made.append((variable.view, cast(f"{variable.name} of {layer.name!r}", array, variable.view.dtype)))
    for view, array in made:
        view[...] = array


def optimizer_values(model: Sequential, file: Any, name: str) -> list[np.ndarray] | None:
    """The optimizer's arrays in Keras's order; None where the file has none, as of one that took no step in Keras."""
    optimizer, _ = model._need_compiled()
    arrays = hdf5.arrays(file, "optimizer/vars")
    slots = _slots(model, optimizer)
    numbers = 1 if optimizer.is_scheduled else 2
    more = optimizer.kernel_name == "nadam"
    if not arrays:
        return None
    if len(arrays) not in (numbers, numbers + len(slots) + more):
        raise ValueError(
            f"{name}: its optimizer has {len(arrays)} arrays, where {type(optimizer).__name__} has "
            f"{numbers + len(slots) + more} for this model; load_model(path, compile=False) gives the model alone"
        )
    if arrays[0].dtype.kind not in "iu" or any(array.shape != () for array in arrays[:numbers]):
        raise ValueError(f"{name}: its optimizer doesn't begin with the iterations and the learning rate")
    for (key, view, _), array in zip(slots, arrays[numbers:]):
        _Pair(key, array, view.shape).check(name)
    return [array[()] for array in arrays[: numbers + len(slots)]]


def fill_optimizer(model: Sequential, values: list[np.ndarray]) -> None:
    """Give the optimizer what optimizer_values returned."""
    optimizer, _ = model._need_compiled()
    optimizer.iterations = count_of("the optimizer's iterations", np.maximum(values[0], 0))
    numbers = 1 if optimizer.is_scheduled else 2
    # The description has the rate with all its digits, unless it was changed since.
    if numbers == 2 and np.float32(values[1]) != np.float32(optimizer.learning_rate):
        optimizer.learning_rate = float(values[1])
    state = state_of(model)
    for (key, _, factor), value in zip(_slots(model, optimizer), values[numbers:]):
        state[key][...] = cast(key, value / factor, state[key].dtype)
