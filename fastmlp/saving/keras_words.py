"""The parts of Keras's descriptions, each looked at before it is believed."""

from __future__ import annotations

from typing import Any


def class_and_config(described: Any, what: str) -> tuple[str, dict[str, Any]]:
    """Class and arguments of a description; ValueError if the class isn't one of Keras's own."""
    if (
        not isinstance(described, dict)
        or not isinstance(described.get("class_name"), str)
        or not isinstance(described.get("config"), dict)
    ):
        raise ValueError(f"expected Keras's description of {what}, with class_name and config, got {short(described)}")
    name, module, registered = described["class_name"], described.get("module"), described.get("registered_name")
    if not isinstance(module, str) or module.partition(".")[0] != "keras" or registered not in (None, name):
        raise ValueError(
            f"{what} is of the class {short(registered or name)} of module {short(module)}, which is none of Keras's "
            "own; no other class is read from its files"
        )
    return name, described["config"]


def layer_label(described: Any) -> str:
    """What errors call a layer: by its name, if it has one."""
    config = described.get("config") if isinstance(described, dict) else None
    name = config.get("name") if isinstance(config, dict) else None
    return f"layer {name!r}" if isinstance(name, str) else "a layer"


def function_name(described: Any) -> str | None:
    """Name of one of Keras's functions, or None where something else is described."""
    if not isinstance(described, dict) or described.get("class_name") != "function":
        return None
    if not isinstance(described.get("config"), str) or described.get("module") not in ("builtins", None):
        raise ValueError(f"{short(described)} is a function of one's own, which can't be read")
    return str(described["config"])


def kind_of(argument: str) -> str:
    """Kind of the object that an argument of that name describes."""
    if argument == "learning_rate":
        return "schedule"
    return argument.rpartition("_")[2]


def text_or_none(what: str, value: Any) -> str | None:
    """The same; ValueError if it is something else."""
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{what} must be a text, got {short(value)}")


def listed(value: Any, what: str) -> list[Any]:
    """The same; ValueError if it is no list."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list as {what}, got {short(value)}")
    return value


def short(value: Any) -> str:
    """Its beginning, for errors."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
