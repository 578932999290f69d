"""Descriptions (layers, initializers, schedules, ...) as dictionaries that JSON can hold, and back.

A dictionary names a class and the arguments of its constructor. Reading one looks the name up among the classes of
fastmlp and those that were registered by hand; nothing is imported, evaluated or unpickled, so a file can't run code.

>>> from fastmlp.initializers import HeNormal
>>> from fastmlp.serialization import deserialize, serialize
>>> serialize(HeNormal(seed=3))
{'class_name': 'HeNormal', 'config': {'seed': 3}}
>>> deserialize({"class_name": "HeNormal", "config": {"seed": 3}}, "initializer")
HeNormal(seed=3)
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .checks import known_name

#: Kind -> name in dictionaries -> class.
_classes: dict[str, dict[str, type[Configurable]]] = {}
#: The same names by class.
_names: dict[type, str] = {}


class Configurable:
    """Mixin of what can be written as a dictionary: get_config is the constructor's arguments by name.

    The base of a kind says which: `class Initializer(Configurable, kind="initializer")`. Its subclasses within fastmlp
    are known to `deserialize` by themselves, those of users after `@register_serializable()`.

    A class has to keep each argument under its name, or that name after an underscore; one that doesn't defines
    get_config, and from_config if the dictionary isn't the arguments. `**kwargs` stands for the arguments of the next
    base.
    """

    _described_kind = ""

    def __init_subclass__(cls, *, kind: str | None = None, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if kind is not None:
            cls._described_kind = kind
            _classes.setdefault(kind, {})
        elif cls.__module__.partition(".")[0] == __package__ and not cls.__name__.startswith("_"):
            _register(cls, cls.__name__)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal object, in types that JSON knows."""
        return {name: _plain(value, f"{type(self).__name__}'s {name}") for name, value in _arguments(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Object from what get_config returned.

        Raises:
            ValueError: If an argument is unknown to the class or missing, or names an unknown class.
            TypeError: If config is no dictionary.
        """
        if not isinstance(config, dict):
            raise TypeError(f"the config of {cls.__name__} must be a dictionary, got {config!r}")
        known = _parameters(cls)
        for name in config:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise ValueError(f"{cls.__name__} has no argument {name!r}{hint} Known: {', '.join(known) or 'none'}")
        missing = [p.name for p in known.values() if p.default is p.empty and p.name not in config]
        if missing:
            raise ValueError(f"the config of {cls.__name__} lacks {', '.join(missing)}")
        return cls(**{name: _objects(value) for name, value in config.items()})

    def __repr__(self) -> str:
        try:
            arguments = _arguments(self)
        except NotImplementedError:
            return f"<{type(self).__name__}>"
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


Described = TypeVar("Described", bound=type[Configurable])


def register_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Described], Described]:
    """Decorator for a class of one's own, so that models with it can be saved and loaded.

    Files call the class "package>name". A program that loads one has to define and register the class first.

    Args:
        package: Whose class it is, to keep apart classes of the same name.
        name: Name in files; None is the name of the class.

    Raises:
        ValueError: If another class has that name.
        TypeError: If the class derives from none that fastmlp can write.

    >>> from fastmlp.initializers import Initializer
    >>> from fastmlp.serialization import register_serializable, serialize
    >>> @register_serializable("physics")
    ... class Halves(Initializer):
    ...     def __call__(self, shape):
    ...         return np.full(shape, 0.5)
    >>> serialize(Halves())
    {'class_name': 'physics>Halves', 'config': {'seed': None}}
    """
    if not isinstance(package, str):
        raise TypeError("register_serializable needs its parentheses: @register_serializable()")

    def register(cls: Described) -> Described:
        if not (isinstance(cls, type) and issubclass(cls, Configurable) and cls._described_kind):
            raise TypeError(f"{cls!r} must be a class derived from one of fastmlp's, such as Initializer or Layer")
        _register(cls, f"{package}>{name or cls.__name__}")
        return cls

    return register


def serialize(described: Configurable) -> dict[str, Any]:
    """Dictionary {"class_name": ..., "config": {...}} that JSON can hold and `deserialize` turns into an equal object.

    Raises:
        ValueError: If the object's class isn't registered, so that the dictionary couldn't be read.
        TypeError: If an argument is nothing that JSON knows.
    """
    if not isinstance(described, Configurable):
        raise TypeError(f"only descriptions such as layers and initializers can be written, got {described!r}")
    cls = type(described)
    if cls not in _names:
        raise ValueError(
            f"{cls.__name__} isn't registered, so its objects couldn't be read back; put @register_serializable() of "
            "fastmlp.serialization above the class"
        )
    return {"class_name": _names[cls], "config": _plain(described.get_config(), f"the config of {cls.__name__}")}


def deserialize(dictionary: dict[str, Any], kind: str | None = None) -> Any:
    """Object from a dictionary of `serialize`.

    Args:
        dictionary: class_name and config; other keys are not looked at.
        kind: "initializer", "regularizer", "constraint", "schedule", ...: only such a class will do. None takes any.

    Raises:
        ValueError: If the class or an argument of it is unknown.
        TypeError: If it is no such dictionary.
    """
    if not isinstance(dictionary, dict) or not isinstance(dictionary.get("class_name"), str):
        raise TypeError(f"expected a dictionary with class_name and config, got {dictionary!r}")
    return _find(dictionary["class_name"], kind).from_config(dictionary.get("config", {}))


def _register(cls: type[Configurable], name: str) -> None:
    taken = _classes[cls._described_kind].get(name)
    if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(
            f"{name!r} is already {taken.__module__}.{taken.__qualname__}; give register_serializable another name"
        )
    # The same class again is a notebook cell that was run again: the newest counts.
    _classes[cls._described_kind][name] = cls
    _names[cls] = name


def _find(name: str, kind: str | None) -> type[Configurable]:
    if kind is not None:
        known = _classes[known_name("kind", kind, _classes)]
        return known.get(name) or known[known_name(kind, name, known)]
    every = {name for known in _classes.values() for name in known}
    name = name if name in every else known_name("class", name, every)
    found = {kind: known[name] for kind, known in _classes.items() if name in known}
    if len(found) > 1:
        raise ValueError(f"{name!r} may be a {' or a '.join(found)}: deserialize needs the kind")
    return next(iter(found.values()))


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Arguments by name of the constructor and, as long as **kwargs hands them on, of those of its bases."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base is object or "__init__" not in base.__dict__:
            continue
        _, *parameters = inspect.signature(base.__dict__["__init__"]).parameters.values()
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, parameter)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _arguments(described: Configurable) -> dict[str, Any]:
    arguments = {}
    for name in _parameters(type(described)):
        for attribute in (name, f"_{name}"):
            if hasattr(described, attribute):
                arguments[name] = getattr(described, attribute)
                break
        else:
            raise NotImplementedError(
                f"{type(described).__name__} keeps no attribute {name!r} for the argument of that name; "
                "keep it, or define get_config()"
            )
    return arguments


def _plain(value: Any, what: str) -> Any:
    """`value` in JSON's types."""
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, (np.bool_, np.integer, np.str_, np.ndarray)):
        return _plain(value.tolist(), what)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Configurable):
        return serialize(value)
    if isinstance(value, (list, tuple)):
        return [_plain(element, what) for element in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(element, what) for key, element in value.items()}
    raise TypeError(f"{what} can't be written to JSON: {value!r}")


def _objects(value: Any) -> Any:
    """`value` with the objects that its dictionaries describe."""
    if isinstance(value, list):
        return [_objects(element) for element in value]
    if isinstance(value, dict):
        if {"class_name", "config"} <= value.keys():
            return deserialize(value)
        return {key: _objects(element) for key, element in value.items()}
    return value
