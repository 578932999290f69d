"""Functional models of Keras's that are a row of layers, told by what each is called with."""

from __future__ import annotations

from typing import Any

from .keras_words import class_and_config, layer_label, short, text_or_none


def row(entries: list[Any], config: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of a Functional in the order in which samples pass them.

    Raises:
        ValueError: If they are no row: a layer has several inputs, is used twice, or its output is used twice.
    """
    by_name: dict[str, dict[str, Any]] = {}
    for entry in entries:
        class_and_config(entry, layer_label(entry))
        name = text_or_none("a layer's name", entry.get("name", entry["config"].get("name")))
        if name is None or name in by_name:
            raise ValueError(f"the layers of a Functional need names of their own, got {name!r}")
        by_name[name] = entry
    (first, last) = (_end(config.get(key), key) for key in ("input_layers", "output_layers"))
    behind: dict[str, str] = {}
    for name, entry in by_name.items():
        if name == first:
            continue
        before = _before(name, entry.get("inbound_nodes"))
        if before in behind:
            raise ValueError(
                f"the output of layer {before!r} goes to both {behind[before]!r} and {name!r}; a model is a row of "
                "layers here, without branches"
            )
        behind[before] = name
    order = [first]
    while order[-1] in behind:
        order.append(behind.pop(order[-1]))
    if order[-1] != last or behind or any(name not in by_name for name in order):
        raise ValueError(f"the layers are no row from {first!r} to {last!r}: a model has no branches here")
    return [by_name[name] for name in order]


def _end(ends: Any, what: str) -> str:
    """Name of the one layer at an end: ["name", 0, 0], alone or in a list."""
    if isinstance(ends, dict):
        ends = list(ends.values())
    if isinstance(ends, list) and len(ends) == 1:
        ends = ends[0]
    if not (isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str)):
        raise ValueError(f"a model has one input and one output here, but its {what} are {short(ends)}")
    return ends[0]


def _before(name: str, nodes: Any) -> str:
    """Name of the layer whose output is the one input of this."""
    refused = f"layer {name!r} has several inputs, or is used more than once; a model is a row of layers here"
    if not isinstance(nodes, list) or len(nodes) != 1:
        raise ValueError(refused)
    arguments, kwargs = dict(nodes[0]).get("args"), dict(nodes[0]).get("kwargs") or {}
    tensor = arguments[0] if isinstance(arguments, list) and len(arguments) == 1 else None
    place = dict(tensor.get("config") or {}).get("keras_history") if isinstance(tensor, dict) else None
    if not (isinstance(place, list) and len(place) == 3 and isinstance(place[0], str) and place[1:] == [0, 0]):
        raise ValueError(refused)
    for key, value in dict(kwargs).items():
        if (key, value) not in (("training", False), ("training", None), ("mask", None)):
            raise ValueError(f"layer {name!r} is called with {key}={short(value)}, which can't be kept here")
    return place[0]
