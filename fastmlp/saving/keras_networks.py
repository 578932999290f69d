"""What Keras's descriptions say, as layers, losses, metrics and optimizers of fastmlp.

Names are looked up among fastmlp's own classes alone: modules and registered names in a file are compared, never
imported. What fastmlp can't take is a ValueError that names it. Arguments that are Keras's alone pass where they do
nothing: see NEUTRAL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import losses, metrics, optimizers, random, serialization
from fastmlp.layers import InputLayer, Layer, check_count

from .description import numbers_of
from .keras_configs import MODULES, OWN, OWN_ACTIVATIONS, WRAPPER
from .keras_rows import row
from .keras_words import class_and_config, function_name, kind_of, layer_label, listed, short, text_or_none

if TYPE_CHECKING:
    from fastmlp.models import Sequential

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
        return 0 if self.input_shape is None else numbers_of(self.layers, self.input_shape)

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
            f"the model is of the class {short(kind)}; of Keras's models a Sequential can be read, and a Functional "
            "that is a row of layers"
        )
    class_and_config(described, "the model")
    entries = listed(config.get("layers"), "the layers")
    check_count(len(entries))
    if kind != "Sequential":
        entries = row(entries, config)
    shape = config.get("build_input_shape")
    with random.kept():
        made = _network(config, entries, None if shape is None else _sample("the model", shape))
    made.compile = described.get("compile_config") or None
    return made


def _network(config: dict[str, Any], entries: list[dict[str, Any]], built: tuple[int, ...] | None) -> Network:
    """The same of these layers, and the shape of a sample that the model was built for, if it is known."""
    layers: list[Layer] = []
    dtypes: dict[str, str] = {}
    axes: dict[int, tuple[int, ...]] = {}
    shape = built
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
    shape = layers[0].declared_shape if layers and layers[0].declared_shape else built
    return Network(text_or_none("the model's name", config.get("name")), dtype, layers, shape, axes)


def _read_layer(entry: Any, shape: tuple[int, ...] | None) -> tuple[Layer, dict[str, Any]]:
    """A layer, and what it says that its arguments here don't: dtype, axes. `shape` is that of a sample before it."""
    where = layer_label(entry)
    name, config = class_and_config(entry, where)
    text_or_none("a layer's name", config.get("name"))
    own: dict[str, Any] = {"dtype": None}
    config = {key: value for key, value in config.items() if key != "dtype"}
    if name == "InputLayer":
        config["shape"] = list(_sample(where, config.pop("batch_shape", None)))
    else:
        own["dtype"] = _dtype(entry["config"].get("dtype"), where)
    if name == "Normalization":
        own["axes"], config = _normalization(config, shape, where)
    elif isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    if isinstance(config.get("activation"), dict):
        config["activation"] = function_name(config["activation"]) or config["activation"]
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
        () if given is None else (given,) if isinstance(given, int) else tuple(listed(given, f"the axis of {where}"))
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
    optimizer = given if isinstance(given, str) else _read(*class_and_config(given, "the optimizer"), "optimizer",
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
    name = given if isinstance(given, str) else function_name(given)
    if name is not None:
        return losses.get(name)
    made: losses.Loss = _read(*class_and_config(given, "the loss"), "loss", "the loss")
    return made


def _read_metric(given: Any) -> metrics.Metric:
    name = given if isinstance(given, str) else function_name(given)
    if name is not None:
        return metrics.get(name)
    name, config = class_and_config(given, "a metric")
    where = f"metric {config.get('name')!r}"
    if name == "Accuracy":
        raise ValueError(
            f"{where} is keras.metrics.Accuracy, which compares outputs exactly; compile with metrics=['accuracy']"
        )
    if name == WRAPPER:
        function = config.get("fn")
        function = function if isinstance(function, str) else function_name(function)
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
            f"{where} is of the class {name}, which fastmlp doesn't have. It has {', '.join(sorted(known))}"
            + ("; make a model of these in Keras" if kind == "layer" else "")
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
    kind = kind_of(key)
    if kind not in MODULES:
        raise ValueError(f"{where} has {key}={value!r}, where a number or a name is needed")
    function = function_name(value)
    if function is not None:
        return function
    return _read(*class_and_config(value, f"the {key} of {where}"), kind, f"the {key} of {where}")


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


def _dtype(described: Any, where: str) -> str | None:
    if isinstance(described, dict) and described.get("class_name") == "DTypePolicy":
        described = dict(described.get("config") or {}).get("name")
    if described in (None, "float32", "float64"):
        return None if described is None else str(described)
    raise ValueError(f"{where} computes in {short(described)}; float32 and float64 are possible here")


def _sample(where: str, shape: Any) -> tuple[int, ...]:
    """Shape of one sample of the shape of a batch."""
    sizes = tuple(listed(shape, f"the shape of {where}"))[1:]
    if not sizes or not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**48 for size in sizes
    ):
        raise ValueError(f"{where} has the shape {short(shape)}; all sizes behind the batch's must be known")
    if math.prod(sizes) >= 2**48:
        raise ValueError(f"{where} has the shape {short(shape)}, too large for any memory")
    return sizes


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
