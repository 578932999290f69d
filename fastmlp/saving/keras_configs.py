"""Models in Keras 3's words, and back: layers, and how they are compiled.

Most classes have Keras's names and arguments, so that a description differs by little more than its form:

    fastmlp   {"class_name": "L2", "config": {"l2": 0.01}}
    Keras     {"module": "keras.regularizers", "class_name": "L2", "config": {"l2": 0.01}, "registered_name": None}

Names are looked up among fastmlp's own classes alone: modules and registered names in a file are compared, never
imported. What differs beyond the form stands below. What one side can't hold is a ValueError that names it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import losses, metrics, optimizers, random, serialization
from fastmlp.layers import InputLayer, Layer, Normalization
from fastmlp.serialization import Configurable, serialize

if TYPE_CHECKING:
    from fastmlp.models import Sequential

#: Module of each kind of description.
MODULES = {
    "layer": "keras.layers",
    "loss": "keras.losses",
    "metric": "keras.metrics",
    "optimizer": "keras.optimizers",
    "schedule": "keras.optimizers.schedules",
    "initializer": "keras.initializers",
    "regularizer": "keras.regularizers",
    "constraint": "keras.constraints",
}

#: Classes that Keras doesn't have.
OWN = {("loss", "Custom"), ("metric", "Custom"), ("metric", "ConfusionMatrix")}

#: Activations that Keras doesn't have.
OWN_ACTIVATIONS = ("step",)

#: Metrics that Keras has as functions alone; it wraps them.
FUNCTIONS = {
    "Huber": "huber",
    "BinaryFocalCrossentropy": "binary_focal_crossentropy",
    "CategoricalFocalCrossentropy": "categorical_focal_crossentropy",
}
_WRAPPER = "MeanMetricWrapper"

_ANY = object()

#: Arguments that are Keras's alone, with the values under which they do nothing.
NEUTRAL: dict[str, dict[str, tuple[Any, ...]]] = {
    "layer": {
        "activity_regularizer": (None,),
        "autocast": (True,),
        "build_config": (_ANY,),
        "data_format": ("channels_last", None),
        "lora_alpha": (_ANY,),  # of a rank that is None
        "lora_rank": (None,),
        "noise_shape": (None,),
        "optional": (False,),
        "quantization_config": (None,),
        "quantization_mode": (None,),
        "ragged": (False,),
        "renorm": (False,),
        "renorm_clipping": (_ANY,),  # of a renorm that is False
        "renorm_momentum": (_ANY,),
        "shared_axes": (None,),
        "sparse": (False,),
        "synchronized": (False,),
    },
    "loss": {
        "reduction": ("sum_over_batch_size", "mean"),
        "axis": (-1,),
        "ignore_class": (None,),
        "dtype": ("float32", "float64", None),
    },
    "metric": {
        "axis": (-1,),
        "ignore_class": (None,),
        "multi_label": (False,),
        "num_labels": (None,),
        "label_weights": (None,),
        "from_logits": (False,),
        "dtype": ("float32", "float64", None),
    },
    "optimizer": {"loss_scale_factor": (None,), "is_legacy_optimizer": (False,), "jit_compile": (_ANY,)},
    "initializer": {"input_axes": (None,), "output_axes": (None,)},
}

_WITHOUT = "load_model(path, compile=False) gives the model alone"


# ------------------------------------------------------------------ from here to Keras


def config_of(model: Sequential) -> dict[str, Any]:
    """What Keras's model_from_json makes an equal model of; compiled alike, if the model is.

    Raises:
        ValueError: If Keras doesn't have a layer, an activation, a loss ..., which is named.
        RuntimeError: If the model has no weights yet.
    """
    model._need_built()
    dtype, shape = model.dtype.name, [None, *model._shape]
    layers = [_layer(layer, dtype) for layer in model.layers]
    first = model._layers[0]
    name = first.name if isinstance(first, InputLayer) else _free("input_layer", model)
    entry = _form("keras.layers", "InputLayer", {"batch_shape": shape, "dtype": dtype, "name": name})
    described = {
        **_form(
            "keras",
            "Sequential",
            {
                "name": _name("the model", model.name),
                "trainable": True,
                "dtype": _policy(dtype),
                "layers": [entry, *layers],
                "build_input_shape": shape,
            },
        ),
        "build_config": {"input_shape": shape},
    }
    if model.loss is not None:
        described["compile_config"] = compile_of(model)
    return described


def compile_of(model: Sequential) -> dict[str, Any]:
    """What Keras's compile_from_config takes."""
    optimizer, loss = model._need_compiled()
    if optimizer._without_decay and optimizer.weight_decay:
        raise ValueError(
            f"optimizer {optimizer.name!r} leaves variables out of its weight decay (exclude_from_weight_decay), which "
            "Keras's files can't hold; save to .safetensors"
        )
    return {
        "optimizer": describe(optimizer, "optimizer", f"optimizer {optimizer.name!r}"),
        "loss": describe(loss, "loss", f"loss {loss.name!r}"),
        "loss_weights": None,
        "metrics": [_metric(metric, model, loss) for metric in model._metrics] or None,
        "weighted_metrics": [_metric(metric, model, loss) for metric in model._weighted_metrics] or None,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": "auto",
    }


def describe(described: Configurable, kind: str, where: str) -> dict[str, Any]:
    """Keras's description of an object of fastmlp.

    Raises:
        ValueError: If Keras doesn't have its class; `where` names it.
    """
    try:
        plain = serialize(described)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} can't be written to Keras's files: {error}") from error
    return _translated(plain, kind, where)


def _translated(plain: dict[str, Any], kind: str, where: str) -> dict[str, Any]:
    name = plain["class_name"]
    if ">" in name or (kind, name) in OWN:
        raise ValueError(
            f"{where} has the {kind} {name}, which Keras doesn't have, so that its files can't hold it; save to "
            ".safetensors"
        )
    config = {
        key: _translated(value, _kind_of(key), where) if isinstance(value, dict) and "class_name" in value else value
        for key, value in plain["config"].items()
    }
    return _form(MODULES[kind], name, config)


def _layer(layer: Layer, dtype: str) -> dict[str, Any]:
    where = f"layer {layer.name!r}"
    form = describe(layer, "layer", where)
    config: dict[str, Any] = form["config"]
    for key in ("input_shape", "input_dim"):
        config.pop(key, None)
    if config.get("activation") in OWN_ACTIVATIONS:
        raise ValueError(
            f"{where} has activation {config['activation']!r}, which Keras doesn't have, so that its files can't hold "
            "it; save to .safetensors"
        )
    if isinstance(layer, Normalization):
        # Given numbers, or those of adapt: either way they are the layer's arrays.
        config |= {"axis": list(normalization_axes(layer)), "mean": None, "variance": None}
    return form | {
        "config": {**config, "name": _name(where, layer.name), "dtype": _policy(dtype)},
        "build_config": {"input_shape": [None, *(layer.input_shape or ())]},
    }


def normalization_axes(layer: Normalization) -> tuple[int, ...]:
    """Keras's axes of what is normalized by numbers of its own: all of a sample, or none."""
    if layer.axis is None and all((array == array.flat[0]).all() for array in layer.weights):
        return ()
    return tuple(range(1, len(layer.input_shape or (0,)) + 1))


def _metric(metric: metrics.Metric, model: Sequential, loss: losses.Loss) -> Any:
    where = f"metric {metric.name!r}"
    if type(metric) is metrics.Accuracy:
        if metric.name in ("accuracy", "acc"):
            return metric.name
        # Keras has a class of that name, which compares exactly; what is meant is told by the targets.
        chosen = "BinaryAccuracy" if model._last_units == 1 else "CategoricalAccuracy"
        chosen = "SparseCategoricalAccuracy" if loss.sparse and model._last_units > 1 else chosen
        return _form("keras.metrics", chosen, {"name": metric.name})
    form = describe(metric, "metric", where)
    function = FUNCTIONS.get(form["class_name"])
    if function is None:
        return form
    config = {**form["config"], "fn": _form("builtins", "function", function, "function")}
    return _form("keras.src.metrics.reduction_metrics", _WRAPPER, config, _WRAPPER)


def _form(module: str, name: str, config: Any, registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def _policy(dtype: str) -> dict[str, Any]:
    return _form("keras", "DTypePolicy", {"name": dtype})


def _name(what: str, name: str) -> str:
    if "/" in name:
        raise ValueError(f"{what} has the name {name!r}; Keras takes none with a slash: rename it")
    return name


def _free(name: str, model: Sequential) -> str:
    taken = {layer.name for layer in model._layers}
    while name in taken:
        name += "_"
    return name


def _kind_of(argument: str) -> str:
    """Kind of the object that an argument of that name describes."""
    if argument == "learning_rate":
        return "schedule"
    return argument.rpartition("_")[2]


# ------------------------------------------------------------------ from Keras to here


@dataclass
class Network:
    """What a description of Keras's says.

    Attributes:
        name: Of the model.
        dtype: "float32" or "float64".
        layers: In order, new.
        input_shape: Shape of one sample, or None where it isn't known.
        axes: Of each layer Normalization, by its place in layers, Keras's axes.
        compile: Keras's compile_config, or None.
    """

    name: str | None
    dtype: str
    layers: list[Layer]
    input_shape: tuple[int, ...] | None
    axes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    compile: Any = None

    @property
    def numbers(self) -> int:
        """About how many numbers the model's arrays have, before there are any."""
        from fastmlp.kernels import operations
        from fastmlp.plan import DENSE

        if self.input_shape is None:
            return 0
        shape, total = self.input_shape, 0
        for layer in self.layers:
            units = math.prod(shape)
            for stage in layer.stages(units):
                if stage.kind == DENSE:
                    total += (units + 1) * stage.units
                else:
                    total += sum(operations.OPERATIONS[stage.kind][1:]) * stage.units
            shape = layer.shape_after(shape) if units < 2**62 else (units,)
        return total

    def model(self) -> Sequential:
        """The model, with new weights and not compiled."""
        from fastmlp.models import Sequential

        with random.kept():
            made = Sequential(self.layers, name=self.name, dtype=self.dtype)
            if self.input_shape is not None and not made.built:
                made.build(self.input_shape)
        return made


def network(described: Any) -> Network:
    """What a description of Keras's says, of a Sequential, or of a Functional that is a row of layers.

    Raises:
        ValueError: If it is of something else, or of layers or arguments that fastmlp doesn't have, which are named.
    """
    if not isinstance(described, dict) or not isinstance(described.get("config"), dict):
        raise ValueError("expected Keras's description of a model, with class_name and config")
    kind, config = described.get("class_name"), described["config"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise ValueError(
            f"the model is a {kind!s}; of Keras's models a Sequential can be read, and a Functional that is a row of "
            "layers"
        )
    entries = _listed(config.get("layers"), "the layers")
    if kind != "Sequential":
        entries = _row(entries, config)
    with random.kept():
        made = _network(config, entries)
    shape = config.get("build_input_shape")
    if made.input_shape is None and isinstance(shape, list):
        made.input_shape = _sample("build_input_shape", shape)
    made.compile = described.get("compile_config") or None
    return made


def _network(config: dict[str, Any], entries: list[dict[str, Any]]) -> Network:
    layers: list[Layer] = []
    dtypes: dict[str, str] = {}
    axes: dict[int, tuple[int, ...]] = {}
    shape: tuple[int, ...] | None = None
    for entry in entries:
        layer, own = _read_layer(entry, shape)
        if own["dtype"]:
            dtypes.setdefault(own["dtype"], layer.name)
        if "axes" in own:
            axes[len(layers)] = own["axes"]
        if isinstance(layer, InputLayer):
            if layers:
                raise ValueError(f"layer {layer.name!r} is an InputLayer, which can only be the first layer")
            shape = layer.declared_shape
        elif shape is not None:
            shape = layer.shape_after(shape)
        layers.append(layer)
    if len(dtypes) > 1:
        said = ", ".join(f"{name!r} in {dtype}" for dtype, name in dtypes.items())
        raise ValueError(f"all layers of a model compute in one float type here, but layer {said}")
    dtype = next(iter(dtypes), None) or _dtype(config.get("dtype"), "the model") or "float32"
    return Network(_text("the model's name", config.get("name")), dtype, layers,
                   layers[0].declared_shape if layers else None, axes)  # fmt: skip


def _read_layer(entry: Any, shape: tuple[int, ...] | None) -> tuple[Layer, dict[str, Any]]:
    """A layer, and what it says that its arguments here don't: dtype, axes. `shape` is that of a sample before it."""
    name, config = _class_and_config(entry, "a layer")
    label = _text("a layer's name", config.get("name"))
    where = f"layer {label!r}" if label else f"a layer {name}"
    own: dict[str, Any] = {"dtype": None}
    config = {key: value for key, value in config.items() if key != "dtype"}
    if name == "InputLayer":
        given = config.pop("batch_input_shape", None)
        given = config.pop("batch_shape", given)
        config["shape"] = list(_sample(where, given))
    else:
        own["dtype"] = _dtype(entry["config"].get("dtype"), where)
    if name == "Normalization":
        own["axes"], config = _normalization(config, shape, where)
    elif isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    if isinstance(config.get("activation"), dict):
        config["activation"] = _function(config["activation"]) or config["activation"]
        if isinstance(config["activation"], dict):
            raise ValueError(
                f"{where} has a layer as its activation ({config['activation'].get('class_name')}); put it behind the "
                "layer in Keras, and save again"
            )
    if "activation" in config and config["activation"] in OWN_ACTIVATIONS:
        raise ValueError(f"{where} has activation {config['activation']!r}, which Keras doesn't have")
    return _read(name, config, "layer", where), own


def _normalization(
    config: dict[str, Any], shape: tuple[int, ...] | None, where: str
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Keras's axes from 1 on, and the arguments here. There, axis -1 of samples with several axes is the last alone."""
    given = config.get("axis", -1)
    given = (
        () if given is None else (given,) if isinstance(given, int) else tuple(_listed(given, f"the axis of {where}"))
    )
    count = 1 if shape is None else len(shape)
    axes = tuple(sorted(axis + count + 1 if axis < 0 else axis for axis in given))
    if any(not 1 <= axis <= count for axis in axes) or len(set(axes)) < len(axes):
        raise ValueError(f"{where} has axis {list(given)}; its samples have the axes 1 to {count}")
    arguments = {**config, "axis": -1 if axes else None}
    for key in ("mean", "variance"):
        if config.get(key) is not None:
            arguments[key] = spread(np.asarray(config[key], np.float64), axes, shape, where)
    return axes, arguments


def spread(values: np.ndarray, axes: Sequence[int], shape: tuple[int, ...] | None, where: str) -> np.ndarray:
    """Numbers of Keras's axes for each number of a sample of that shape."""
    if shape is None or values.ndim == 0:
        return values
    kept = [size if axis in axes else 1 for axis, size in enumerate(shape, 1)]
    if values.size not in (1, math.prod(kept)):
        raise ValueError(
            f"{where} has numbers of shape {values.shape} for samples of shape {shape} and axis {list(axes)}"
        )
    return np.broadcast_to(values.reshape(kept if values.size > 1 else ()), shape)


def compile_arguments(config: Any) -> dict[str, Any]:
    """Arguments of Sequential.compile of a compile_config of Keras's.

    Raises:
        ValueError: If it names something that fastmlp doesn't have.
    """
    if not isinstance(config, dict):
        raise ValueError(f"expected a dictionary as compile_config, got {config!r}")
    given = config.get("optimizer")
    optimizer = given if isinstance(given, str) else _read(*_class_and_config(given, "the optimizer"), "optimizer",
                                                           "the optimizer")  # fmt: skip
    weights = config.get("loss_weights")
    return {
        "optimizer": optimizers.get(optimizer),
        "loss": _read_loss(_single(config.get("loss"))),
        "metrics": [_read_metric(metric) for metric in _several(config.get("metrics"))],
        "weighted_metrics": [_read_metric(metric) for metric in _several(config.get("weighted_metrics"))],
        "loss_weights": list(weights.values()) if isinstance(weights, dict) else weights,
    }


def _read_loss(given: Any) -> losses.Loss:
    if given is None:
        raise ValueError("it was compiled without a loss, which is needed here")
    name = given if isinstance(given, str) else _function(given)
    if name is not None:
        return losses.get(name)
    made: losses.Loss = _read(*_class_and_config(given, "the loss"), "loss", "the loss")
    return made


def _read_metric(given: Any) -> metrics.Metric:
    name = given if isinstance(given, str) else _function(given)
    if name is not None:
        return metrics.get(name)
    name, config = _class_and_config(given, "a metric")
    where = f"metric {config.get('name')!r}"
    if name == "Accuracy":
        raise ValueError(
            f"{where} is keras.metrics.Accuracy, which compares outputs exactly; compile with metrics=['accuracy']"
        )
    if name == _WRAPPER:
        function = config.get("fn")
        function = function if isinstance(function, str) else _function(function)
        name = type(metrics.get(function)).__name__
        config = {key: value for key, value in config.items() if key != "fn"}
    made: metrics.Metric = _read(name, config, "metric", where)
    return made


def _read(name: str, config: dict[str, Any], kind: str, where: str) -> Any:
    """Object of fastmlp's class of that name with Keras's arguments."""
    known = {key: cls for key, cls in serialization._classes[kind].items() if ">" not in key and (kind, key) not in OWN}
    cls = known.get(name)
    if cls is None:
        raise ValueError(
            f"{where} is a {name}, which fastmlp doesn't have. It has the {kind} classes {', '.join(sorted(known))}"
            + (f"; {_WITHOUT}" if kind in ("optimizer", "loss", "metric", "schedule") else "")
        )
    takes = {*serialization._parameters(cls), *serialization._parameters(getattr(cls, "_loss", object))}
    arguments = {}
    for key, value in config.items():
        if key in takes:
            arguments[key] = _value(key, value, where)
        else:
            _check_neutral(kind, name, key, value, where)
    try:
        return cls.from_config(arguments)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} ({name}) can't be read from Keras's description: {error}") from error


def _value(key: str, value: Any, where: str) -> Any:
    """Value of an argument, with the object that it describes."""
    if not isinstance(value, dict):
        return value
    kind = _kind_of(key)
    if kind not in MODULES:
        raise ValueError(f"{where} has {key}={value!r}, where a number or a name is needed")
    function = _function(value)
    if function is not None:
        return function
    return _read(*_class_and_config(value, f"the {key} of {where}"), kind, f"the {key} of {where}")


def _check_neutral(kind: str, name: str, key: str, value: Any, where: str) -> None:
    known = NEUTRAL.get(kind, {})
    if key == "dtype" and isinstance(value, dict):
        value = _dtype(value, where)
    if key not in known:
        raise ValueError(f"{where} ({name}) has {key}={value!r}, which fastmlp doesn't have")
    if not any(allowed is _ANY or _same(allowed, value) for allowed in known[key]):
        raise ValueError(
            f"{where} ({name}) has {key}={value!r}; here it works as {key}={known[key][0]!r} only"
        )  # fmt: skip


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _class_and_config(described: Any, what: str) -> tuple[str, dict[str, Any]]:
    """Class and arguments of a description; ValueError if the class isn't one of Keras's own."""
    if (
        not isinstance(described, dict)
        or not isinstance(described.get("class_name"), str)
        or not isinstance(described.get("config"), dict)
    ):
        raise ValueError(f"expected Keras's description of {what}, with class_name and config, got {_short(described)}")
    name, registered = described["class_name"], described.get("registered_name")
    module = described.get("module") or "keras"
    if not isinstance(module, str) or module.partition(".")[0] != "keras" or registered not in (None, name):
        label = described["config"].get("name")
        raise ValueError(
            f"{what}{f' {label!r}' if isinstance(label, str) else ''} is {_short(registered or module)} ({name}), no "
            "class of Keras's own; nothing else is read from its files"
        )
    return name, described["config"]


def _function(described: Any) -> str | None:
    """Name of one of Keras's functions, or None where something else is described."""
    if not isinstance(described, dict) or described.get("class_name") != "function":
        return None
    if not isinstance(described.get("config"), str) or described.get("module") not in ("builtins", None):
        raise ValueError(f"{_short(described)} is a function of one's own, which can't be read")
    return str(described["config"])


def _dtype(described: Any, where: str) -> str | None:
    if isinstance(described, dict) and described.get("class_name") == "DTypePolicy":
        described = dict(described.get("config") or {}).get("name")
    if described in (None, "float32", "float64"):
        return None if described is None else str(described)
    raise ValueError(f"{where} computes in {_short(described)}; float32 and float64 are possible here")


def _text(what: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{what} must be a text, got {_short(value)}")


def _sample(where: str, shape: Any) -> tuple[int, ...]:
    """Shape of one sample of the shape of a batch."""
    sizes = tuple(_listed(shape, f"the shape of {where}"))[1:]
    if not sizes or not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**48 for size in sizes
    ):
        raise ValueError(f"{where} has the shape {_short(shape)}; all sizes behind the batch's must be known")
    if math.prod(sizes) >= 2**48:
        raise ValueError(f"{where} has the shape {_short(shape)}, too large for any memory")
    return sizes


def _listed(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list as {what}, got {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _single(value: Any) -> Any:
    """The one of a list or a dictionary by outputs."""
    if isinstance(value, dict) and "class_name" not in value:
        value = list(value.values())
    if isinstance(value, list):
        if len(value) != 1:
            raise ValueError(f"it was compiled with {len(value)} losses; a model has one here")
        return value[0]
    return value


def _several(value: Any) -> list[Any]:
    """Metrics of the one output."""
    if isinstance(value, dict) and "class_name" not in value:
        value = list(value.values())
    if value is None:
        return []
    if not isinstance(value, list):
        return [value]
    if len(value) == 1 and isinstance(value[0], list):
        return value[0]
    return value


# ------------------------------------------------------------------ Functional models


def _row(entries: list[Any], config: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of a Functional in the order in which samples pass them.

    Raises:
        ValueError: If they are no row: a layer has several inputs, is used twice, or its output is used twice.
    """
    by_name: dict[str, dict[str, Any]] = {}
    for entry in entries:
        _class_and_config(entry, "a layer")
        name = _text("a layer's name", entry.get("name", entry["config"].get("name")))
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
    row = [first]
    while row[-1] in behind:
        row.append(behind.pop(row[-1]))
    if row[-1] != last or behind or any(name not in by_name for name in row):
        raise ValueError(f"the layers are no row from {first!r} to {last!r}: a model has no branches here")
    return [by_name[name] for name in row]


def _end(ends: Any, what: str) -> str:
    """Name of the one layer at an end: ["name", 0, 0], alone or in a list."""
    if isinstance(ends, dict):
        ends = list(ends.values())
    if isinstance(ends, list) and len(ends) == 1:
        ends = ends[0]
    if not (isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str)):
        raise ValueError(f"a model has one input and one output here, but its {what} are {_short(ends)}")
    return ends[0]


def _before(name: str, nodes: Any) -> str:
    """Name of the layer whose output is the one input of this."""
    refused = f"layer {name!r} has several inputs, or is used more than once; a model is a row of layers here"
    if not isinstance(nodes, list) or len(nodes) != 1:
        raise ValueError(refused)
    node = nodes[0]
    kwargs: Any = {}
    if isinstance(node, dict):
        arguments, kwargs = node.get("args"), node.get("kwargs") or {}
        tensor = arguments[0] if isinstance(arguments, list) and len(arguments) == 1 else None
        place = dict(tensor.get("config") or {}).get("keras_history") if isinstance(tensor, dict) else None
    else:  # as Keras 2 wrote it: [["name", 0, 0, {}]]
        place = node[0] if isinstance(node, list) and len(node) == 1 else None
        if isinstance(place, list) and len(place) == 4:
            place, kwargs = place[:3], place[3]
    if not (isinstance(place, list) and len(place) == 3 and isinstance(place[0], str) and place[1:] == [0, 0]):
        raise ValueError(refused)
    for key, value in dict(kwargs).items():
        if (key, value) not in (("training", False), ("training", None), ("mask", None)):
            raise ValueError(f"layer {name!r} is called with {key}={_short(value)}, which can't be kept here")
    return place[0]
