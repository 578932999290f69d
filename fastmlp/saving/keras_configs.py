"""Models in Keras 3's words: layers, and how they are compiled.

Most classes have Keras's names and arguments, so that a description differs by little more than its form:

    fastmlp   {"class_name": "L2", "config": {"l2": 0.01}}
    Keras     {"module": "keras.regularizers", "class_name": "L2", "config": {"l2": 0.01}, "registered_name": None}

What differs beyond the form stands below. What Keras can't hold is a ValueError that names it. The way back is in
keras_networks.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastmlp import losses, metrics
from fastmlp.layers import InputLayer, Layer, Normalization
from fastmlp.serialization import Configurable, serialize

from .keras_words import kind_of

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
OWN = {("loss", "Custom"), ("loss", "Canonical"), ("metric", "Custom"), ("metric", "ConfusionMatrix")}

#: Activations that Keras doesn't have.
OWN_ACTIVATIONS = ("step",)

#: Metrics that Keras has as functions alone; it wraps them.
FUNCTIONS = {
    "Huber": "huber",
    "BinaryFocalCrossentropy": "binary_focal_crossentropy",
    "CategoricalFocalCrossentropy": "categorical_focal_crossentropy",
}
WRAPPER = "MeanMetricWrapper"


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
            f".safetensors{', or compile with another loss' * (kind == 'loss')}"
        )
    config = {
        key: _translated(value, kind_of(key), where) if isinstance(value, dict) and "class_name" in value else value
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
    return _form("keras.src.metrics.reduction_metrics", WRAPPER, config, WRAPPER)


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
