"""Sequential: layers in a row, with compile, fit, evaluate and predict. It orchestrates; the kernels compute."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from . import checks, config, losses, optimizers, random, saving
from . import metrics as metrics_module
from . import plan as plans
from .activations import Form
from .batches import Arrays, Batches, Source, inputs_of, split
from .callbacks import Callback, CallbackList, History
from .callbacks.base import check_kind as check_callbacks
from .kernels.activations import WITHOUT_GRADIENT
from .kernels.plan import aligned_zeros
from .layers import Dense, InputLayer, Layer, assign, automatic_name, check_count, stages_of
from .memory import memory
from .saving import load_model as load_model
from .saving import model_from_json as model_from_json
from .sparse import Sparse
from .training import Runner, Samples, Scorer, Trainer, divergence, names, penalty

if TYPE_CHECKING:
    from .saving.onnx_reader import from_onnx as from_onnx
    from .saving.torch_files import from_torch as from_torch


def __getattr__(name: str) -> Any:
    # At their first use: they took a tenth of the time of `import fastmlp`.
    if name == "from_onnx":
        from .saving.onnx_reader import from_onnx

        return from_onnx
    if name == "from_torch":
        from .saving.torch_files import from_torch

        return from_torch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Last activations behind which a loss of probabilities can't be meant: their outputs may be negative.
_NO_PROBABILITY = ("linear", "tanh", "softsign", "log_softmax", "leaky_relu", "elu", "selu", "gelu", "gelu_approximate",
                   "silu", "mish", "general_relu")  # fmt: skip


# Who changes what a model consists of holds it, for moments; who computes goes on with what was there. One for all
# models, so that a fork can wait until none is half changed.
_changing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_changing.acquire, after_in_parent=_changing.release, after_in_child=_changing.release)


class Sequential:
    """A stack of layers.

    Args:
        layers: Layers in order; more come with add().
        name: Name of the model.
        dtype: "float32" or "float64"; None takes config.floatx(), float32 unless set.

    >>> import fastmlp
    >>> from fastmlp.layers import Dense, Input
    >>> fastmlp.utils.set_random_seed(0)
    >>> model = fastmlp.Sequential([Input((2,)), Dense(8, activation="tanh"), Dense(1, activation="sigmoid")])
    >>> model.compile(optimizer=fastmlp.optimizers.SGD(1.0), loss="binary_crossentropy", metrics=["accuracy"])
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = model.fit(x, y, epochs=500, verbose=0)
    >>> history.history["accuracy"][-1]
    1.0
    """

    def __init__(
        self, layers: Sequence[Layer] | None = None, *, name: str | None = None, dtype: DTypeLike | None = None
    ):
        self.name = checks.text("the model's name", name) if name else automatic_name("sequential")
        wish = config.floatx() if dtype is None else dtype
        self.dtype = np.dtype(checks.float_type(wish))
        #: History of the last call of fit.
        self.history: History | None = None
        #: Set by a callback, ends the training behind the batch or epoch.
        self.stop_training = False
        self.loss: losses.Loss | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self._layers: list[Layer] = []
        self._metrics: list[metrics_module.Metric] = []
        self._weighted_metrics: list[metrics_module.Metric] = []
        self._layout: plans.Layout | None = None
        self._theta = np.zeros(0, self.dtype)
        self._shape: tuple[int, ...] = ()
        self._trainer: Trainer | None = None
        self._runner: Runner | None = None
        self._source: Source | None = None  # while it is trained
        self._trained_by: dict[int, object] = {}  # under 0 the call that trains it
        self._flags: tuple[bool, ...] = ()
        self._version = 0  # of what calls are checked by: compile and add change it
        self._as_it_is = (self.dtype, np.dtype(np.uint8))
        if layers:
            self._extend(list(layers))

    # ------------------------------------------------------------------ layers

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the InputLayer."""
        return [layer for layer in self._layers if not isinstance(layer, InputLayer)]

    @property
    def _dense(self) -> list[Dense]:
        return [layer for layer in self._layers if isinstance(layer, Dense)]

    def add(self, layer: Layer) -> None:
        """Put a layer behind the others, whose weights stay.

        Raises:
            TypeError: If it is no layer.
            ValueError: If it is in a model already, can't follow the others, or is a second InputLayer.
        """
        self._extend([layer])

    def _extend(self, more: Sequence[Layer]) -> None:
        """Put layers behind the others: all of them, or none."""
        with _changing:
            layers = list(self._layers)
            there, taken = set(map(id, layers)), {other.name for other in layers}
            for layer in more:
                if not isinstance(layer, Layer):
                    raise TypeError(f"expected a layer of fastmlp.layers, got {layer!r}")
                if layer.output_shape is not None or id(layer) in there:
                    raise ValueError(f"layer {layer.name!r} is in a model already; make a new one")
                if layer.dtype not in (None, self.dtype.name):
                    raise ValueError(
                        f"layer {layer.name!r} asks for {layer.dtype} but the model computes in {self.dtype.name}; "
                        f"give Sequential(dtype={layer.dtype!r})"
                    )
                if isinstance(layer, InputLayer) and layers:
                    raise ValueError(f"{layer.name!r} is an InputLayer, which can only be the first layer")
                while layer.name in taken and not layer._is_named:
                    layer.name = automatic_name(layer.kind)
                if layer.name in taken:
                    raise ValueError(f"the model has a layer {layer.name!r} already; give this one another name")
                layers.append(layer)
                there.add(id(layer))
                taken.add(layer.name)
            check_count(len(layers))
            self._check_untrained("add layers to it")
            shape = self._shape if self.built else layers[0].declared_shape if layers else None
            if shape is not None:
                _shapes(layers, shape)
            self._version += 1
            if shape is not None and any(isinstance(other, Dense) for other in layers):
                self._lay_out(layers, shape)
            else:
                self._layers = layers

    @property
    def built(self) -> bool:
        """Whether the input shape is known and the weights exist."""
        return self._layout is not None

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(None, ...): shape of a batch."""
        self._need_built()
        return (None, *self._shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, units): shape of a batch of outputs."""
        return (None, self._need_built().outputs)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for samples of that shape; a None in front stands for the batch and is left out."""
        if not isinstance(input_shape, (list, tuple)):
            raise TypeError(f"the input shape must be a tuple of sizes, such as (None, 784), got {input_shape!r}")
        shape = tuple(input_shape)
        shape = shape[1:] if shape and shape[0] is None else shape
        self._build(tuple(checks.positive_int("a size in the input shape", size) for size in shape))

    def _build(self, shape: tuple[int, ...]) -> None:
        if self.built:
            return
        if not self._dense:
            raise ValueError(f"model {self.name!r} has no Dense layer; add one")
        with _changing:
            if not self.built:
                self._lay_out(self._layers, shape)

    def _lay_out(self, layers: list[Layer], shape: tuple[int, ...]) -> None:
        """Make these the model's layers and lay their weights out, which keep their values; by one thread at a time.

        Calls that run meanwhile go on with the network that they have found.
        """
        shapes = _shapes(layers, shape)
        made = plans.layout(math.prod(shape), stages_of(layers, math.prod(shape)), self.dtype)
        _check_memory(made.size * self.dtype.itemsize)
        theta = aligned_zeros(made.size, self.dtype)
        for layer, before, after in zip(layers, shapes, shapes[1:]):
            layer.input_shape, layer.output_shape = before, after
        kept, is_done = [layer._arrays for layer in layers], False
        try:
            own: dict[int, list[np.ndarray]] = {}
            for i, stage in enumerate(made.stages):
                own.setdefault(stage.owner, []).extend(made.views(theta, i))
            for i, layer in enumerate(layers):
                if own.get(i):
                    layer.attach(own[i])
            runner = Runner(made, theta, shape)
            self._layers, self._theta, self._shape, self._trainer = layers, theta, shape, None
            self._runner, self._layout, is_done = runner, made, True
        finally:
            if not is_done:  # as by Ctrl-C
                for layer, arrays in zip(layers, kept):
                    layer._arrays = arrays

    def _need_built(self) -> plans.Layout:
        if self._layout is None:
            raise RuntimeError(
                f"model {self.name!r} has no weights yet: give it an InputLayer(shape=...) first, or call fit or build"
            )
        return self._layout

    # ------------------------------------------------------------------ weights

    @property
    def weights(self) -> list[np.ndarray]:
        """All parameters, kernel and bias of each layer in turn, as views."""
        return [w for layer in self._layers for w in layer.weights]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all parameters: kernel (inputs, units) and bias (units,) of each layer in turn."""
        return [w.copy() for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Give the model these parameters, in the order of get_weights().

        Raises:
            ValueError: If their number or a shape differs; nothing is changed then.
        """
        assign(self.weights, list(weights), f"model {self.name!r}")

    def count_params(self) -> int:
        """Number of parameters."""
        self._need_built()
        return sum(w.size for w in self.weights)

    @property
    def trainable_weights(self) -> list[np.ndarray]:
        """Parameters that fit changes by their gradients, as views."""
        return [variable.view for layer in self._layers for variable in layer.trainable_variables]

    @property
    def non_trainable_weights(self) -> list[np.ndarray]:
        """The others: running means, and parameters of layers that are not trainable."""
        trained = {id(w) for w in self.trainable_weights}
        return [w for w in self.weights if id(w) not in trained]

    def summary(self) -> None:
        """Print the layers, their output shapes and numbers of parameters."""
        self._need_built()
        from .printable import printable
        from .summary import table

        print(printable(table(self)))

    # ------------------------------------------------------------------ compile

    def compile(
        self,
        optimizer: optimizers.Identifier = "rmsprop",
        loss: losses.Identifier | None = None,
        metrics: Sequence[metrics_module.Identifier] | None = None,
        weighted_metrics: Sequence[metrics_module.Identifier] | None = None,
        *,
        loss_weights: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose what to make small and how; the weights stay, the optimizer starts anew.

        Args:
            optimizer: Name or object of fastmlp.optimizers; "rmsprop" is Keras's default.
            loss: Name or object of fastmlp.losses, or losses.Custom.
            metrics: Names or objects of fastmlp.metrics, which take all samples alike; "accuracy" is chosen by the
                shape of the targets.
            weighted_metrics: The same, with the samples' weights.
            loss_weights: Taken for Keras's sake: there is one loss, and its weight is 1.
            run_eagerly: Taken for Keras's sake, as the three that follow: the kernels are always compiled, and run as
                many steps at once as the callbacks allow.
            steps_per_execution: See run_eagerly.
            jit_compile: See run_eagerly.
            auto_scale_loss: See run_eagerly.

        Raises:
            ValueError: If a name is unknown, no loss is given, it doesn't fit the last layer, or loss_weights is not 1.
        """
        if loss_weights is not None and not _is_one(loss_weights):
            raise ValueError(
                f"loss_weights must be None or 1, as there is one loss, got {loss_weights!r}; give sample_weight or "
                "another learning_rate instead"
            )
        checks.positive_int("steps_per_execution", steps_per_execution)
        if loss is None:
            raise ValueError(f"compile needs a loss: {', '.join(losses.NAMES)}")
        for key, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if isinstance(value, (str, bytes, metrics_module.Metric)):
                raise TypeError(f"{key} must be a list, for instance {key}=[{value!r}]")
        new_optimizer, new_loss = optimizers.get(optimizer), losses.get(loss)
        new_metrics = [metrics_module.get(m) for m in metrics or ()]
        new_weighted = [metrics_module.get(m) for m in weighted_metrics or ()]
        self._check_loss(new_loss)
        for metric in (*new_metrics, *new_weighted):
            metric.prepare(self.dtype)
        with _changing:
            self._check_untrained("compile it")
            if self.optimizer is not new_optimizer:
                new_optimizer.iterations = 0
            self._version += 1
            self.optimizer, self.loss, self._metrics, self._weighted_metrics, self._trainer = (
                new_optimizer,
                new_loss,
                new_metrics,
                new_weighted,
                None,
            )

    @property
    def _last_units(self) -> int:
        return self._dense[-1].units

    def _last_activation(self) -> Form:
        """What the output goes through last."""
        stages = stages_of(self._layers, 1) if self._layout is None else self._layout.stages
        return stages[-1].activation

    def _check_loss(self, loss: losses.Loss) -> None:
        dense = self._dense
        if not dense:
            return
        if dense[-1].units == 1 and loss.classes:
            raise ValueError(
                f"{loss.name} needs a unit for each class but the last layer, {dense[-1].name!r}, has one. Use "
                f"loss='binary_crossentropy' with activation='sigmoid', or Dense(2, activation='softmax')"
            )
        last, numbers = self._last_activation()
        if getattr(loss, "from_logits", False) and last in ("softmax", "sigmoid"):
            raise ValueError(
                f"{loss.name} with from_logits=True expects a linear last layer, but it ends with {last!r}, which "
                "would be applied twice; leave out one of them"
            )
        if loss.probabilities and not getattr(loss, "from_logits", False) and last in _NO_PROBABILITY:
            raise ValueError(
                f"{loss.name} compares probabilities, but the last layer ends with {last!r}, which gives none: "
                "end with 'sigmoid' or 'softmax'"
                + (", or take from_logits=True" if hasattr(loss, "from_logits") else "")
            )
        loss.prepare(dense[-1].units, (last, numbers), self.dtype)

    @property
    def metrics_names(self) -> list[str]:
        """What evaluate returns, in order."""
        return names(self._metrics, self._weighted_metrics)

    def _need_compiled(self) -> tuple[optimizers.Optimizer, losses.Loss]:
        if self.loss is None or self.optimizer is None:
            raise RuntimeError("You must call `compile()` before using the model: model.compile(optimizer, loss)")
        self._check_loss(self.loss)
        return self.optimizer, self.loss

    def _check_trainable(self) -> None:
        for stage in stages_of(self._layers, 1):
            if stage.activation[0] in WITHOUT_GRADIENT:
                name = self._layers[stage.owner].name
                raise ValueError(
                    f"layer {name!r} has activation {stage.activation[0]!r}, which has no gradient, so the network "
                    "can't be trained; use 'sigmoid' instead (predict and evaluate work with it)"
                )

    # ------------------------------------------------------------------ data

    def _samples(
        self, x: Any, name: str = "x", all_finite: bool = True
    ) -> tuple[np.ndarray | Sparse, tuple[int, ...]]:  # fmt: skip
        """User's samples as rows (n, k), and the shape of one; builds nothing."""
        shape = self._shape if self.built else self._layers[0].declared_shape if self._layers else None
        if shape is None:
            shape = checks.shape_of_one(name, x)
        if not self.built:
            if not self._dense:
                raise ValueError(f"model {self.name!r} has no Dense layer; add one")
            _shapes(self._layers, shape)
        if checks.in_slices(x, self.dtype):
            checks.samples(x[:1], shape, self.dtype, name)
            return x, shape
        rows = checks.samples(x, shape, self.dtype, name, all_finite)
        if isinstance(rows, Sparse):
            self._check_sparse(name, math.prod(shape))
        return rows, shape

    def _check_sparse(self, name: str, inputs: int) -> None:
        """ValueError where a layer would have to see the zeros of a sparse matrix."""
        first = plans.folded(stages_of(self._layers, inputs))[1][0]
        if first.kind != plans.DENSE:
            layer = self._layers[first.owner]
            raise ValueError(
                f"{name} is a sparse matrix, but layer {layer.name!r} ({type(layer).__name__}) before the first Dense "
                "layer works on all inputs, zeros as well; put it behind the Dense layer, apply it to the matrix "
                f"beforehand, or give {name}.toarray()"
            )

    def _targets(self, y: Any, loss: losses.Loss, name: str = "y") -> tuple[np.ndarray | None, np.ndarray | None]:
        """User's targets as class indices or None, and as values or None: what the loss and the metrics need."""
        units = self._last_units
        if loss.sparse:
            return checks.class_indices(y, units, loss.name, name), None
        values = checks.targets(y, units, self.dtype, loss.name, name)
        metrics = [m.for_targets(units, False) for m in (*self._metrics, *self._weighted_metrics)]
        if units > 1 and any(metric.needs == "labels" for metric in metrics):
            return values.argmax(axis=1).astype(np.int32), values
        return None, values

    def _pair(
        self,
        x: Any,
        y: Any,
        weights: Any = None,
        class_weight: dict[int, float] | None = None,
        of: str = "",
    ) -> Samples:
        """Samples, targets and weights, checked; `of` is what errors say behind their names."""
        version = self._version
        _, loss = self._need_compiled()
        if y is None:
            raise ValueError(f"y{of} is missing: give x and y, or an iterable of batches (x, y)")
        rows, shape = self._samples(x, f"x{of}")
        labels, targets = self._targets(y, loss, f"y{of}")
        for array in (labels, targets):
            if array is not None:
                checks.same_length(rows, array, f"x{of}", f"y{of}")
        own = None if weights is None else checks.weights(weights, len(rows), self.dtype, f"sample_weight{of}")
        if class_weight is not None:
            if weights is not None:
                raise ValueError(
                    "class_weight and sample_weight can't be used together: multiply the samples' weights by those of "
                    "their classes, and give sample_weight alone"
                )
            classes = labels if labels is not None else None
            if classes is None and targets is not None:
                classes = targets.argmax(axis=1) if targets.shape[1] > 1 else np.rint(targets[:, 0])
            own = checks.class_weights(class_weight, np.asarray(classes), max(2, self._last_units), self.dtype)
        return Samples(rows, labels, targets, own, shape, version)

    def _scorer(self, samples: Samples) -> Scorer:
        _, loss = self._need_compiled()
        with _changing:
            if samples.version == self._version:
                return Scorer(loss, self._metrics, self._weighted_metrics, self._last_units, samples.targets)
        raise RuntimeError(
            f"model {self.name!r} was compiled anew, or got another layer, in the middle of this call; call it again"
        )

    def _need_trainer(self, call: object = None) -> Trainer:
        """What trains the model; made anew where a layer's `trainable` has changed.

        Args:
            call: The training that asks, if it is one; another's would go on with weights that are the model's no more.
        """
        optimizer, _ = self._need_compiled()
        with _changing:
            flags = tuple(layer.trainable for layer in self._layers)
            if self._trainer is None or self._flags != flags:
                if self._trained_by.get(0) is not call:
                    self._check_untrained("freeze its layers")
                self._need_built()
                if self._trainer is not None or not all(flags):
                    self._lay_out(self._layers, self._shape)
                self._trainer = Trainer(self._layers, self._need_built(), self._theta, optimizer)
                self._flags = flags
            return self._trainer

    def _trainer_as_it_is(self) -> Trainer | None:
        """What trains the model, or None where the next training makes it anew."""
        flags = tuple(layer.trainable for layer in self._layers)
        return self._trainer if self._flags == flags else None

    def _renumber(self) -> None:
        """Take the layers' numbers anew, such as seeds; arrays and what trains them stay."""
        if self._layout is None:
            return
        stages = tuple(stages_of(self._layers, math.prod(self._shape)))
        self._layout = dataclasses.replace(self._layout, stages=stages)
        if self._trainer is not None:
            self._trainer.renumber(self._layout)

    # ------------------------------------------------------------------ fit

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callback | Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        validation_from: str = "tail",
    ) -> History:
        """Train.

        Args:
            x: Samples, shape (samples, *input_shape), anything that holds numbers: arrays and tensors of NumPy,
                PyTorch, JAX and others, tables of pandas, polars and pyarrow, lists. uint8 and the model's own float
                type are not scaled, and not copied where they lie row by row. Or a matrix of scipy.sparse, best in
                CSR: its zeros are never made, and plain SGD changes only the weights of columns that occur. Or an
                iterable of batches (x, y) or (x, y, weights), without y: a generator, a data loader, a list-like
                object of batches.
            y: Targets: class indices (samples,) for the sparse losses, else (samples, units).
            batch_size: Samples per step; None is 32, Keras's default. The last batch of an epoch may be shorter.
            epochs: Number of the epoch to stop before; with initial_epoch 0, how many.
            verbose: 0 prints nothing, 1 a live bar, 2 a line per epoch; "auto" is 1.
            callbacks: Callbacks of fastmlp.callbacks. Those that only look at epochs cost nothing; for one that looks
                at batches each is a call of its own.
            validation_split: Share of the samples that is held out and reported as val_...
            validation_data: (x, y), (x, y, weights) or an iterable of batches to report as val_... instead.
            shuffle: Whether every epoch takes the samples in a new order.
            class_weight: Weight of each class in the loss, {class index: weight}; classes left out weigh 1.
            sample_weight: Weight of each sample in the loss, (samples,).
            initial_epoch: Number of the first epoch, to go on counting.
            steps_per_epoch: Batches of an epoch of an iterable; None takes all.
            validation_steps: The same for validation_data.
            validation_batch_size: Taken for Keras's sake: the result doesn't depend on it.
            validation_freq: Validate every so many epochs, or behind those of a list, counted from 1.
            validation_from: Which samples validation_split takes: "tail", the last ones, as Keras does; "shuffled",
                any; "stratified", any, so many of each class.

        Returns:
            The History, also kept as model.history.

        Raises:
            ValueError: If data don't fit the model or the loss, or a number is out of range; the model is unchanged.
            TypeError: If data are no real numbers.
            RuntimeError: If the model is not compiled, or is in training in another thread.
            FloatingPointError: If the loss becomes NaN or infinite; the batch whose loss that is changes nothing.
        """
        self._need_compiled()
        batch = checks.positive_int("batch_size", 32 if batch_size is None else batch_size)
        epochs = checks.positive_int("epochs", epochs, least=0)
        initial_epoch = checks.positive_int("initial_epoch", initial_epoch, least=0)
        for key, steps in (("steps_per_epoch", steps_per_epoch), ("validation_steps", validation_steps)):
            if steps is not None:
                checks.positive_int(key, steps)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise TypeError(f"shuffle must be True or False, got {shuffle!r}")
        validates = checks.frequency("validation_freq", validation_freq)
        check_callbacks(callbacks)
        self._check_trainable()
        if checks.is_batches(x, y):
            if validation_split:
                raise ValueError(
                    "validation_split needs arrays; give validation_data where x is an iterable of batches"
                )
            if sample_weight is not None:
                raise ValueError("sample_weight needs arrays; an iterable yields batches (x, y, weights) instead")
            source: Source = Batches(self, x, steps_per_epoch, class_weight)
            validation = None
        else:
            validation = None
            chosen, again, drawn = None, None, None
            train = self._pair(x, y, sample_weight, class_weight)
            if validation_data is None and validation_split:
                drawn = random.state() if validation_from != "tail" else None
                again = functools.partial(split, train, validation_split, validation_from)
                train, chosen, validation = again()
            source = Arrays(self, train, chosen, batch, bool(shuffle), steps_per_epoch, again, drawn)
        held_out: Any = validation
        if validation_data is not None:
            held_out = self._validation(validation_data, validation_steps)
            if isinstance(held_out, Samples) and held_out.shape != source.shape:
                raise ValueError(f"samples of validation_data have shape {held_out.shape}, those of x {source.shape}")
        if verbose not in (0, 1, 2, "auto"):
            raise ValueError(f'verbose must be 0, 1, 2 or "auto", got {verbose!r}')

        call, owner = object(), self._trained_by
        try:
            self._begin_training(call)
            self._build(source.shape)
            trainer = self._need_trainer(call)
            source.begin(trainer)
            watchers = callbacks if isinstance(callbacks, CallbackList) else CallbackList(
                callbacks, add_history=True, add_progbar=verbose != 0, model=self, verbose=verbose, epochs=epochs,
                steps=source.steps,
            )  # fmt: skip
            with contextlib.closing(watchers):
                self._source = source
                try:
                    self._train(source, held_out, watchers, initial_epoch, epochs, validates)
                finally:
                    self._source = None
                if epochs > initial_epoch:
                    trainer.finish()
        finally:  # without a call, behind which a signal could be heard before it is done
            if 0 in owner and owner[0] is call:
                del owner[0]
        assert self.history is not None
        return self.history

    def _begin_training(self, call: object) -> None:
        """RuntimeError where another call trains the model already."""
        with _changing:
            owner = self._trained_by.setdefault(0, call)
        if owner is not call:
            raise RuntimeError(f"model {self.name!r} is in training in another thread; wait for it, or train a copy")

    def _check_untrained(self, what: str) -> None:
        """RuntimeError while the model is trained, by another thread or by the fit that has called a callback."""
        if self._trained_by:
            raise RuntimeError(f"model {self.name!r} is in training; {what} when that has ended, or change a copy")

    def _train(
        self,
        source: Source,
        held_out: Any,
        watchers: CallbackList,
        initial_epoch: int,
        epochs: int,
        validates: Any,
    ) -> None:
        optimizer, _ = self._need_compiled()
        self.stop_training = False
        watchers.on_train_begin()
        single = watchers.wants_train_batches
        first_epoch = initial_epoch if watchers.resume_epoch is None else watchers.resume_epoch
        held_out = held_out if source.held_out is None else source.held_out
        validation_data = None
        logs: dict[str, Any] = {}
        for epoch in range(first_epoch, epochs):
            watchers.on_epoch_begin(epoch)
            for begin, done, logs in source.epoch(single):
                if done <= begin:
                    if done == begin:
                        watchers.on_train_batch_begin(begin)
                    continue
                watchers.on_train_batch_end(done - 1, logs)
                if self.stop_training:
                    break
                if not math.isfinite(logs["loss"]):
                    raise FloatingPointError(divergence(self._layers, optimizer, logs["loss"], epoch + 1, done))
            if source.is_empty:
                break
            if held_out is not None and validates(epoch + 1):
                if isinstance(held_out, Samples) and not held_out.in_slices and validation_data is None:
                    validation_data = held_out.for_kernels(self._need_built())
                results = self._evaluate(held_out, validation_data, watchers)
                logs = logs | {f"val_{name}": value for name, value in results.items()}
            watchers.on_epoch_end(epoch, dict(sorted(logs.items())))
            if self.stop_training:
                break
        watchers.on_train_end(logs)

    def _validation(self, data: Any, steps: int | None) -> Any:
        """validation_data as checked samples, or as the iterable it is."""
        if checks.is_batches(data, None):
            return Batches(self, data, steps, None)
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(
                "validation_data must be (x_val, y_val), (x_val, y_val, weights) or an iterable of batches"
            )
        x, y, *weights = data
        return self._pair(x, y, weights[0] if weights else None, of=" of validation_data")

    def _evaluate(self, held_out: Any, data: Any, watchers: CallbackList | None) -> dict[str, Any]:
        """Loss and metrics of samples, or of an iterable of batches, with the hooks of test."""
        runner = self._need_runner()
        layout = runner.layout
        if watchers is not None:
            watchers.on_test_begin()
        if isinstance(held_out, Samples):
            scorer = self._scorer(held_out)
            if held_out.in_slices or (watchers is not None and watchers.wants_test_batches):
                pieces = held_out.pieces(layout.inputs, self.dtype)
                logs = self._evaluate_pieces(pieces, scorer, watchers, runner)
            else:
                if data is None:
                    data = held_out.for_kernels(layout, compress=False)
                totals = runner.totals(scorer, data, np.arange(len(held_out)))
                logs = scorer.logs(totals, len(held_out), held_out.weights is not None, penalty(self._layers))
        else:
            logs = self._evaluate_pieces(held_out.pieces(), None, watchers, runner)
        if watchers is not None:
            watchers.on_test_end(logs)
        return logs

    def _evaluate_pieces(
        self, pieces: Iterable[Samples], scorer: Scorer | None, watchers: CallbackList | None, runner: Runner
    ) -> dict[str, Any]:  # fmt: skip
        layout = runner.layout
        totals, count, logs = None, 0, {}
        extra = penalty(self._layers)
        for step, piece in enumerate(pieces):
            if watchers is not None:
                watchers.on_test_batch_begin(step)
            scorer = scorer or self._scorer(piece)
            own = runner.totals(scorer, piece.for_kernels(layout, compress=False), np.arange(len(piece)))
            totals = own if totals is None else totals + own
            count += len(piece)
            logs = scorer.logs(totals, count, piece.weights is not None, extra)
            if watchers is not None:
                watchers.on_test_batch_end(step, logs)
        if not count:
            raise ValueError("the iterable of batches to evaluate is empty")
        return logs

    def _need_runner(self) -> Runner:
        self._need_built()
        assert self._runner is not None  # which is there before the layout is
        return self._runner

    # ------------------------------------------------------------------ evaluate, predict

    # Without a dict it is a number or a list: which depends on the metrics, so no type can tell.
    @overload
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        *,
        return_dict: Literal[True],
    ) -> dict[str, float]: ...

    @overload
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        *,
        return_dict: bool = False,
    ) -> Any: ...

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        *,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on data that the model is not trained on.

        Args:
            x: Samples, shape (samples, *input_shape), or an iterable of batches, as in fit.
            y: Targets, as in fit.
            batch_size: Taken for Keras's sake: all batches are computed alike, so only the step count printed uses it.
            verbose: 0 prints nothing, else one line.
            sample_weight: Weight of each sample in the loss and in weighted_metrics.
            steps: Batches of an iterable; None takes all.
            callbacks: Callbacks of fastmlp.callbacks, for their hooks of test.
            return_dict: Whether to return {"loss": ..., ...}.

        Returns:
            [loss, metrics ...], or the loss alone if there are no metrics, or the dict.

        Raises:
            ValueError: If data don't fit the model or the loss.
            RuntimeError: If the model is not compiled.
        """
        return_dict = bool(return_dict)  # first: an array has no truth
        self._need_compiled()
        batch = checks.positive_int("batch_size", 32 if batch_size is None else batch_size)
        check_callbacks(callbacks)
        if checks.is_batches(x, y):
            source: Any = Batches(self, x, steps, None)
            count = steps
        else:
            source = self._pair(x, y, sample_weight)
            count = math.ceil(len(source) / batch)
        self._build(source.shape)
        watchers = callbacks if isinstance(callbacks, CallbackList) else CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, epochs=1, steps=count
        )  # fmt: skip
        try:
            logs = self._evaluate(source, None, watchers)
        finally:
            if watchers is not callbacks:
                watchers.close()
        if return_dict:
            return logs
        return list(logs.values()) if len(logs) > 1 else logs["loss"]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
    ) -> np.ndarray:
        """Output of the last layer for every sample.

        Args:
            x: Samples, shape (samples, *input_shape), or an iterable of batches (x alone, or in front of others).
            batch_size: Taken for Keras's sake; the result doesn't depend on it.
            verbose: Taken for Keras's sake; predict prints nothing.
            steps: Batches of an iterable; None takes all.
            callbacks: Callbacks of fastmlp.callbacks, for their hooks of predict.

        Returns:
            (samples, units) in the model's float type.

        Raises:
            ValueError: If x doesn't fit the model.
        """
        if callbacks is not None:
            return self._predict_watched(x, batch_size, steps, callbacks)
        runner = self._runner
        if runner is not None and type(x) is np.ndarray and x.shape == runner.one_shape and x.dtype in self._as_it_is:
            flags = x.flags
            # Bytes of a request are copied: 0.3 us for 784 of them, and the long way takes 25.
            out = runner.one(x if flags.c_contiguous and flags.aligned and flags.writeable else x.copy())
            if out is not None:
                return out
        if checks.is_batches(x, None):
            parts = [self.predict(part) for part in inputs_of(x, steps)]
            if not parts:
                raise ValueError("the iterable of batches to predict is empty")
            return np.concatenate(parts)
        # Where the model is built, NaN is looked for while the rows are read anyway.
        rows, shape = self._samples(x, all_finite=not self.built)
        self._build(shape)
        runner = self._need_runner()
        layout = runner.layout
        if isinstance(rows, Sparse):
            parts = [runner.outputs(plans.data(layout, piece, None, None), len(piece))[0] for piece in rows.pieces()]
            return np.concatenate(parts)
        if checks.in_slices(rows, self.dtype):
            pieces = Samples(rows, None, None, None, shape).pieces(layout.inputs, self.dtype)
            return np.concatenate([self.predict(np.asarray(piece.x).reshape(-1, *shape)) for piece in pieces])
        out, finite = runner.outputs(plans.data(layout, rows, None, None), len(rows))
        if not finite:
            checks.finite("x", rows)
        return out

    def _predict_watched(self, x: Any, batch_size: int | None, steps: int | None, callbacks: Any) -> np.ndarray:
        """Predict with the hooks of callbacks, batch by batch only where one wants them."""
        watchers = callbacks if isinstance(callbacks, CallbackList) else CallbackList(callbacks, model=self)
        batch = checks.positive_int("batch_size", 32 if batch_size is None else batch_size)
        watchers.on_predict_begin()
        try:
            if checks.is_batches(x, None):
                pieces: Iterable[Any] = inputs_of(x, steps)
            elif watchers.wants_predict_batches:
                rows = checks.in_rows("x", x)
                pieces = (rows[i : i + batch] for i in range(0, rows.shape[0], batch))
            else:
                pieces = [x]
            parts = []
            for step, piece in enumerate(pieces):
                watchers.on_predict_batch_begin(step)
                parts.append(self.predict(piece))
                watchers.on_predict_batch_end(step, {"outputs": parts[-1]})
            watchers.on_predict_end()
        finally:
            if watchers is not callbacks:
                watchers.close()
        return np.concatenate(parts)

    def as_njit(self) -> Any:
        """The network as a function that your own `@njit` code calls, in loops of any kind, without Python.

            f(x)        output (units,) of a sample x, or (n, units) of a batch (n, ...)
            f(x, out)   the same into out, which is C-ordered and of float32 or float64: nothing is allocated

        x is an array of float32, float64, integers or truth values, of the shape of a sample or with one more dimension
        in front; a flat sample (k,) is taken for any input shape. Rows and columns that are cut from larger arrays may
        lie apart. x is not looked through: where it holds NaN, so does the output. The function can be called from
        Python, from functions with parallel=True or nogil=True, and from several threads at once.

        The weights are a copy from the time of the call: after more training, call as_njit again and compile anew what
        calls it. Outputs differ from those of predict by rounding. A function that calls it can't be kept by Numba's
        cache=True, of which Numba warns, since its code holds the weights' address. Like all that Numba compiles, the
        function stays in memory until the process ends, once it has been called, and its weights with it.

        Raises:
            RuntimeError: If the model has no weights yet.
            ValueError: If they are not finite, or a layer has more than 8,192 units. The function itself raises it
                where shapes don't fit, and Numba a TypingError where types don't.

        >>> import fastmlp, numba
        >>> import numpy as np
        >>> model = fastmlp.Sequential([fastmlp.layers.Input((2,)), fastmlp.layers.Dense(1)])
        >>> model.set_weights([[[1.0], [2.0]], [0.5]])
        >>> net = model.as_njit()
        >>> @numba.njit
        ... def simulate(x, steps):
        ...     out = np.empty(1)
        ...     for _ in range(steps):
        ...         net(x, out)
        ...         x[0] += 0.1 * out[0]
        ...     return x
        >>> simulate(np.array([0.0, 1.0]), 2)
        array([0.525, 1.   ])
        """
        from . import compiled  # not above: who doesn't need it doesn't wait for it

        return compiled.function(self)

    # ------------------------------------------------------------------ single batches

    @overload
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        *,
        return_dict: Literal[True],
    ) -> dict[str, float]: ...

    @overload
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any: ...

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step of training.

        Args:
            x: Samples of the batch.
            y: Targets, as in fit.
            sample_weight: Weight of each sample.
            class_weight: Weight of each class.
            return_dict: Whether to return {"loss": ..., ...}.

        Returns:
            As evaluate, of this batch before the step. Where its loss is NaN or infinite, no step is made.

        Raises:
            RuntimeError: If the model is not compiled, or is in training in another thread.
        """
        self._check_trainable()
        pair = self._pair(x, y, sample_weight, class_weight)
        call, owner = object(), self._trained_by
        try:
            self._begin_training(call)
            self._build(pair.shape)
            trainer = self._need_trainer(call)
            data = pair.for_kernels(self._need_built(), compress=False, train=True)
            return self._on_batch(
                pair, return_dict, lambda scorer, totals: trainer.batch(scorer, data, len(pair), totals)
            )
        finally:
            if 0 in owner and owner[0] is call:
                del owner[0]

    @overload
    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, return_dict: Literal[True]
    ) -> dict[str, float]: ...

    @overload
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any: ...

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch, as train_on_batch returns them; nothing is trained."""
        pair = self._pair(x, y, sample_weight)
        self._build(pair.shape)
        runner = self._need_runner()
        data = pair.for_kernels(runner.layout, compress=False)

        def score(scorer: Scorer, totals: np.ndarray) -> None:
            totals += runner.totals(scorer, data, np.arange(len(pair)))
            totals[0] += len(pair) * penalty(self._layers)

        return self._on_batch(pair, return_dict, score)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The same as predict(x)."""
        return self.predict(x)

    def _on_batch(self, pair: Samples, return_dict: bool, run: Any) -> Any:
        scorer = self._scorer(pair)
        totals = plans.totals(self._need_runner().plan(scorer), scorer.scorings)
        run(scorer, totals)
        logs = scorer.logs(totals, len(pair), pair.weights is not None)
        if return_dict:
            return logs
        return list(logs.values()) if len(logs) > 1 else logs["loss"]

    def reset_metrics(self) -> None:
        """Taken for Keras's sake: no call leaves anything of its metrics behind."""

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write layers, weights, and how it is compiled with the optimizer's state, to a file for models.load_model.

        The file is whole or not there, at every moment. It holds no code.

        Args:
            path: Path that ends in .safetensors, fastmlp's own format, or in .keras, which Keras 3 reads; in a folder
                that exists.
            overwrite: Whether to replace a file of that name.

        Raises:
            ValueError: If the path ends in something else, a layer, loss ... is of a class that is not registered, or
                of one that Keras's files can't hold.
            ImportError: If it ends in .keras and h5py isn't installed.
            FileExistsError: If there is one, without overwrite.
            RuntimeError: If the model has no weights yet.

        >>> import os, tempfile
        >>> import fastmlp
        >>> model = fastmlp.Sequential([fastmlp.Input((3,)), fastmlp.Dense(2)])
        >>> model.compile(optimizer="adam", loss="mse")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(os.path.join(folder, "model.safetensors"))
        ...     again = fastmlp.models.load_model(os.path.join(folder, "model.safetensors"))
        >>> bool((again.predict([[1, 2, 3]]) == model.predict([[1, 2, 3]])).all())
        True
        """
        saving.save(self, path, overwrite)

    def save_weights(self, path: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights alone, to a .safetensors file under "layer/variable" or to Keras's .weights.h5; see save.

        As Keras does it, .weights.h5 has the optimizer's state, too.
        """
        saving.save_weights(self, path, overwrite)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Take the weights of a file of save_weights or save, of a model of the same layers; the rest stays as it is.

        Layers that were not given a name are known by their kind and place, and in Keras's files all of them are.

        Args:
            path: A .safetensors file, or one of Keras's: .weights.h5, .keras, or an .h5 of Keras 2.

        Raises:
            ValueError: If arrays are missing, unknown or of another shape; nothing is changed then.
            OSError: If the file can't be read.
            RuntimeError: If the model has no weights yet.
        """
        saving.load_weights(self, path)

    def export(self, path: str | os.PathLike[str], format: str | None = None, **options: Any) -> Any:
        """Write the trained network for other tools, without what only training needs.

        Args:
            path: The file.
            format: "c", one header in C99, "javascript", "onnx", or "torch", weights for torch.nn.Sequential; None
                takes the path's ending, .h, .js, .onnx or .safetensors.
            options: Of the format, see `export` of fastmlp.saving.c_header, .javascript, .onnx_files and .torch_files.

        Returns:
            What the format's export returns; for "torch" the Python text that makes the modules.

        Raises:
            ValueError: If the format is unknown, or can't hold a layer, which is named.
            RuntimeError: If the model has no weights yet.
        """
        return saving.export(self, path, format, **options)

    def get_config(self) -> dict[str, Any]:
        """Name, dtype, layers and input shape, for from_config; without weights."""
        return saving.config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """Model from what get_config returned, with new weights and not compiled.

        Raises:
            ValueError: If a class or an argument is unknown.
            TypeError: If it is no such dictionary.
        """
        return saving.model_of(cls, config)

    def to_json(self, format: str | None = None, **options: Any) -> str:
        """get_config as a JSON text for models.model_from_json.

        Args:
            format: "keras" writes what keras.models.model_from_json reads, which can't hold all that fastmlp has;
                models.model_from_json reads both.
            options: Of json.dumps.

        Raises:
            ValueError: If Keras doesn't have a layer, which is named.
            RuntimeError: For Keras, if the model has no weights yet.
        """
        return saving.to_json(self, format, **options)

    def training_state(self) -> dict[str, np.ndarray]:
        """All that the training depends on, as copies, for restore_training_state.

        Weights, the optimizer's state, steps and learning rate, seeds of layers, and the state of fastmlp's generator.
        """
        return saving.training_state(self)

    def restore_training_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there: what is trained next has the same bits as if nothing had come between.

        Args:
            state: What training_state returned, of a model that was made and compiled in the same way.

        Raises:
            ValueError: If arrays are missing, unknown or of another shape; nothing is changed then.
            RuntimeError: If the model is not compiled or has no weights yet.
        """
        saving.restore_training_state(self, state)

    # ------------------------------------------------------------------ a look inside

    def layer_outputs(self, x: Any) -> dict[str, np.ndarray]:
        """Output (samples, units) of each layer for these samples, by the layers' names, in order.

        A layer whose activation is a layer of its own is given with it. A rescaling in front is left out where x is a
        sparse matrix. Nothing is trained.
        """
        rows, shape = self._samples(x)
        self._build(shape)
        return self._need_runner().layer_outputs(self._layers, rows)

    def layer_gradients(self, x: Any, y: Any) -> dict[str, list[np.ndarray]]:
        """Gradient of the mean loss of these samples by each array of each layer that is trained, by the layers' names.

        As one batch, in training (dropout is on); nothing is changed.
        """
        pair = self._pair(x, y)
        self._build(pair.shape)
        trainer = self._need_trainer()
        data = pair.for_kernels(trainer.layout, compress=False, train=True)
        return trainer.gradients(self._layers, self._scorer(pair), data, len(pair))

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy.deepcopy keep: layers, weights, and how it is compiled with the optimizer's state."""
        return saving.state(self)

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Become what __getstate__ kept."""
        saving.restore(self, kept)

    def __call__(self, x: Any) -> np.ndarray:
        """The same as predict(x)."""
        return self.predict(x)

    def _repr_html_(self) -> str:
        """The summary as a table, where a notebook's cell ends with the model."""
        from .notebook import model_html

        return model_html(self)

    def __repr__(self) -> str:
        return f"<Sequential name={self.name}, layers={[layer.name for layer in self.layers]}>"


def _check_memory(size: int) -> None:
    """ValueError for a network that this machine has no memory for: a description may ask for any size."""
    most = memory()
    # Its initial values are drawn in float64, layer by layer, and a training needs about as much again.
    if 2 * size > most:
        raise ValueError(
            f"the network needs {size / 2**30:,.1f} GiB and as much again to be filled, but this machine has "
            f"{most / 2**30:,.1f} GiB; make it smaller"
        )


def _is_one(weights: Any) -> bool:
    """Whether it is 1, or a list of it."""
    try:
        return np.array_equal(np.ravel(weights), [1.0])
    except ValueError:  # rows of different lengths
        return False


def _shapes(layers: Sequence[Layer], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shape of a sample before the first layer and behind each."""
    shapes = [shape]
    for layer in layers:
        shapes.append(layer.shape_after(shapes[-1]))
    return shapes
