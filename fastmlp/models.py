"""Sequential: layers in a row, with compile, fit, evaluate and predict. It orchestrates; the kernels compute."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import checks, config, losses, optimizers, random, threads
from . import metrics as metrics_module
from . import plan as plans
from .callbacks import History
from .kernels import epoch as kernels
from .kernels import single
from .kernels.activations import NAMES as ACTIVATIONS
from .kernels.activations import WITHOUT_GRADIENT
from .kernels.optimizers import HYPER_SIZE
from .kernels.plan import Data, aligned_zeros
from .kernels.team import NOT_FINITE
from .layers import Dense, InputLayer, Layer, assign, automatic_name
from .progress import Progress

# Rows that a thread takes through the network at once in evaluate and predict: enough to use a packed panel of the
# weights many times, and few enough that their activations stay in the second-level cache.
_ROWS_PER_THREAD = 144

# Buffers of evaluate and predict that a model keeps of each size, and what a call without these results is given.
_KEPT_WORKSPACES = 4
_NO_TOTALS, _NO_HYPER = np.zeros(0), np.zeros(HYPER_SIZE)
_NO_OUT = {name: np.zeros((0, 0), name) for name in ("float32", "float64")}
_NO_SLOTS = {name: np.zeros(0, name) for name in ("float32", "float64")}

# Floating-point operations of the first slice of a training, before it is known how fast it is.
_FIRST_SLICE = 1.5e8


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

    def __init__(self, layers: Sequence[Layer] | None = None, *, name: str | None = None, dtype: Any = None):
        self.name = name or automatic_name("sequential")
        wish = config.floatx() if dtype is None else dtype
        self.dtype = np.dtype(checks.known_name("dtype", str(np.dtype(wish)), ("float32", "float64")))
        #: History of the last call of fit.
        self.history: History | None = None
        self.loss: losses.Loss | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self._layers: list[Layer] = []
        self._metrics: list[metrics_module.Metric] = []
        self._layout: plans.Layout | None = None
        self._theta = np.zeros(0, self.dtype)
        self._shape: tuple[int, ...] = ()
        self._slots: np.ndarray | None = None
        self._slots_of = ""
        self._training = False
        self._plan: Any = None
        self._one: Any = None
        self._one_shape: tuple[int, ...] | None = None
        self._as_it_is = (self.dtype, np.dtype(np.uint8))
        self._workspaces: dict[tuple[int, int, int], list[Any]] = {}
        for layer in layers or ():
            self.add(layer)

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
        if not isinstance(layer, Layer):
            raise TypeError(f"expected a layer of fastmlp.layers, got {layer!r}")
        if layer.output_shape is not None or layer in self._layers:
            raise ValueError(f"layer {layer.name!r} is in a model already; make a new one")
        if isinstance(layer, InputLayer) and self._layers:
            raise ValueError(f"{layer.name!r} is an InputLayer, which can only be the first layer")
        layers = [*self._layers, layer]
        shape = self._shape if self.built else layers[0].declared_shape
        if shape is not None:
            _shapes(layers, shape)
        self._layers, self._layout, self._slots, self._one_shape = layers, None, None, None
        if shape is not None and self._dense:
            self._build(shape)

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
        shape = tuple(input_shape)
        shape = shape[1:] if shape and shape[0] is None else shape
        self._build(tuple(checks.positive_int("a size in the input shape", size) for size in shape))

    def _build(self, shape: tuple[int, ...]) -> None:
        if self.built:
            return
        if not self._dense:
            raise ValueError(f"model {self.name!r} has no Dense layer; add one")
        shapes = _shapes(self._layers, shape)
        made = plans.layout(math.prod(shape), self._dense, self.dtype)
        theta = aligned_zeros(made.size, self.dtype)
        for i, dense in enumerate(self._dense):
            dense.attach(*made.views(theta, i))
        for layer, before, after in zip(self._layers, shapes, shapes[1:]):
            layer.input_shape, layer.output_shape = before, after
        self._layout, self._theta, self._shape = made, theta, shape
        self._plan = plans.plan(made, "mean_squared_error", (), "sgd")  # of predict, which uses neither loss nor step
        self._workspaces.clear()
        self._one = made.layers, (2, int(made.tables["row"][1:].max()))
        self._one_shape = (1, *shape)

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

    def summary(self) -> None:
        """Print the layers, their output shapes and numbers of parameters."""
        self._need_built()
        from .summary import table

        print(table(self))

    # ------------------------------------------------------------------ compile

    def compile(self, optimizer: Any = "sgd", loss: Any = None, metrics: Sequence[Any] | None = None) -> None:
        """Choose what to make small and how; the weights stay, the optimizer starts anew.

        Args:
            optimizer: Name or object of fastmlp.optimizers.
            loss: Name or object of fastmlp.losses.
            metrics: Names or objects of fastmlp.metrics; "accuracy" is chosen by the shape of the targets.

        Raises:
            ValueError: If a name is unknown, no loss is given, or the loss doesn't fit the last layer.
        """
        if loss is None:
            raise ValueError(f"compile needs a loss: {', '.join(losses.NAMES)}")
        if isinstance(metrics, (str, bytes)):
            raise TypeError(f"metrics must be a list, for instance metrics=[{metrics!r}]")
        new_optimizer, new_loss = optimizers.get(optimizer), losses.get(loss)
        new_metrics = [metrics_module.get(m) for m in metrics or ()]
        self._check_loss(new_loss)
        self.optimizer, self.loss, self._metrics = new_optimizer, new_loss, new_metrics
        self._slots = None

    def _check_loss(self, loss: losses.Loss) -> None:
        dense = self._dense
        if dense and dense[-1].units == 1 and "categorical" in loss.kernel_name:
            raise ValueError(
                f"{loss.kernel_name} needs a unit for each class but the last layer, {dense[-1].name!r}, has one. Use "
                f"loss='binary_crossentropy' with activation='sigmoid', or Dense(2, activation='softmax')"
            )

    @property
    def metrics_names(self) -> list[str]:
        """What evaluate returns, in order."""
        return ["loss", *(m.name for m in self._metrics)]

    def _need_compiled(self) -> tuple[optimizers.Optimizer, losses.Loss]:
        if self.loss is None or self.optimizer is None:
            raise RuntimeError("You must call `compile()` before using the model: model.compile(optimizer, loss)")
        self._check_loss(self.loss)
        return self.optimizer, self.loss

    # ------------------------------------------------------------------ data

    def _samples(self, x: Any, name: str = "x", all_finite: bool = True) -> tuple[np.ndarray, tuple[int, ...]]:
        """User's samples as rows (n, k), and the shape of one; builds nothing."""
        shape = self._shape if self.built else self._layers[0].declared_shape if self._layers else None
        if shape is None:
            shape = np.shape(x)[1:] or (1,)
        if not self.built:
            if not self._dense:
                raise ValueError(f"model {self.name!r} has no Dense layer; add one")
            _shapes(self._layers, shape)
        return checks.samples(x, shape, self.dtype, name, all_finite), shape

    def _targets(self, y: Any, loss: losses.Loss, name: str = "y") -> tuple[np.ndarray | None, np.ndarray | None]:
        """User's targets as class indices or None, and as values or None: what the loss and the metrics need."""
        units = self._dense[-1].units
        if loss.kernel_name == "sparse_categorical_crossentropy":
            return checks.class_indices(y, units, loss.kernel_name, name), None
        values = checks.targets(y, units, self.dtype, loss.kernel_name, name)
        if "categorical_accuracy" in self._metric_kernels(loss):
            return values.argmax(axis=1).astype(np.int32), values
        return None, values

    def _metric_kernels(self, loss: losses.Loss) -> list[str]:
        sparse = loss.kernel_name == "sparse_categorical_crossentropy"
        return [metric.kernel_name(self._dense[-1].units, sparse) for metric in self._metrics]

    def _pair(self, x: Any, y: Any, loss: losses.Loss, x_name: str = "x", y_name: str = "y") -> _Samples:
        """Samples and targets, checked."""
        rows, shape = self._samples(x, x_name)
        pair = _Samples(rows, *self._targets(y, loss, y_name), shape)
        for targets in (pair.labels, pair.targets):
            if targets is not None:
                checks.same_length(rows, targets, x_name, y_name)
        return pair

    # ------------------------------------------------------------------ fit

    def fit(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        *,
        validation_split: float = 0.0,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
    ) -> History:
        """Train.

        Args:
            x: Samples, shape (samples, *input_shape), anything NumPy can read; uint8 and the model's own float type are
                not copied, and not scaled.
            y: Targets: class indices (samples,) for the sparse crossentropy, else (samples, units).
            batch_size: Samples per step; None is 32, Keras's default. The last batch of an epoch may be shorter.
            epochs: Number of the epoch to stop before; with initial_epoch 0, how many.
            verbose: 0 prints nothing, 1 a live bar, 2 a line per epoch; "auto" is 1.
            validation_split: Share of the samples, the last ones, that is held out and reported as val_...
            validation_data: (x, y) to report as val_... instead.
            shuffle: Whether every epoch takes the samples in a new order.
            initial_epoch: Number of the first epoch, to go on counting.

        Returns:
            The History, also kept as model.history.

        Raises:
            ValueError: If data don't fit the model or the loss, or a number is out of range; the model is unchanged.
            TypeError: If data are no real numbers.
            RuntimeError: If the model is not compiled, or is in training in another thread.
            FloatingPointError: If the loss becomes NaN or infinite.
        """
        optimizer, loss = self._need_compiled()
        batch = checks.positive_int("batch_size", 32 if batch_size is None else batch_size)
        epochs = checks.positive_int("epochs", epochs, least=0)
        initial_epoch = checks.positive_int("initial_epoch", initial_epoch, least=0)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise TypeError(f"shuffle must be True or False, got {shuffle!r}")
        for layer in self._dense:
            if ACTIVATIONS.index(layer.activation) in WITHOUT_GRADIENT:
                raise ValueError(
                    f"layer {layer.name!r} has activation {layer.activation!r}, which has no gradient, so the network "
                    "can't be trained; use 'sigmoid' instead (predict and evaluate work with it)"
                )
        train = self._pair(x, y, loss)
        validation: _Samples | None = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
                raise ValueError("validation_data must be a pair (x_val, y_val)")
            validation = self._pair(*validation_data, loss, "x of validation_data", "y of validation_data")
            if validation.shape != train.shape:
                raise ValueError(f"samples of validation_data have shape {validation.shape}, those of x {train.shape}")
        elif validation_split:
            at = checks.split(len(train.x), validation_split)
            train, validation = train.part(0, at), train.part(at, None)
        progress = Progress(verbose, epochs, math.ceil(len(train.x) / batch))

        if self._training:
            raise RuntimeError(f"model {self.name!r} is in training in another thread; wait for it, or train a copy")
        self._training = True
        try:
            self._build(train.shape)
            return self._train(train, validation, optimizer, loss, batch, initial_epoch, epochs, shuffle, progress)
        finally:
            self._training = False
            progress.close()

    def _train(
        self,
        train: _Samples,
        validation: _Samples | None,
        optimizer: optimizers.Optimizer,
        loss: losses.Loss,
        batch: int,
        initial_epoch: int,
        epochs: int,
        shuffle: bool,
        progress: Progress,
    ) -> History:
        layout = self._need_built()
        samples, steps = len(train.x), math.ceil(len(train.x) / batch)
        batch = min(batch, samples)
        kernel = optimizer.kernel_name
        metric_kernels = self._metric_kernels(loss)
        plan = plans.plan(layout, loss.kernel_name, metric_kernels, kernel)
        if self._slots is None or self._slots_of != kernel:
            self._slots, self._slots_of = plans.slots(layout, kernel), kernel
        data = train.for_kernels(layout, train=True)
        inputs = len(data.value) / samples if len(data.starts) else layout.inputs
        operations = layout.step_operations(batch, inputs)
        team = min(threads.team_size(operations), layout.most_threads)
        pace = threads.Pace(team, max(1, int(_FIRST_SLICE / operations)))
        scratch = plans.scratch(layout, batch, team, len(metric_kernels), kernel)
        validation_data = None if validation is None else validation.for_kernels(layout)
        self.history = history = History({"verbose": progress.verbose, "epochs": epochs, "steps": steps})
        order = np.arange(samples)

        def take(size: int, first: int, last: int) -> float:
            """Train on the batches from first to last of the epoch with so many threads; the seconds it took."""
            begin = time.perf_counter()
            threads.run(
                kernels.run, size, scratch.sync,
                plan, self._theta, self._slots, optimizer.hyper(), data, order, batch, first, last, scratch, totals,
                _NO_OUT[self.dtype.name], True,
            )  # fmt: skip
            return time.perf_counter() - begin

        totals = plans.totals(1 + len(metric_kernels))
        take(team, 0, 0)  # loads the kernel and starts the threads, so that no slice's time has that in it
        for epoch in range(initial_epoch, epochs):
            progress.begin(epoch)
            start = time.perf_counter()
            if shuffle:
                order = random.generator().permutation(samples)
            totals[:] = 0
            first = 0
            while first < steps:
                size, count = pace.next(steps - first)
                last = first + count
                pace.took(count, take(size, first, last))
                first = last
                if not math.isfinite(totals[0]):
                    raise FloatingPointError(
                        f"training diverged in epoch {epoch + 1}: the loss is {totals[0]}. Try a smaller learning_rate "
                        f"(now {optimizer.learning_rate:g}), or inputs scaled to about -1 to 1. The weights are lost; "
                        "model.history holds the epochs before"
                    )
                logs = self._logs(totals / min(first * batch, samples))
                progress.update(first, logs)
            if validation_data is not None:
                results = self._evaluate(plan, validation_data)
                logs |= {f"val_{name}": value for name, value in self._logs(results).items()}
            history.add(epoch, logs, time.perf_counter() - start)
            progress.end(logs)
        return history

    def _logs(self, values: Any) -> dict[str, float]:
        return dict(zip(self.metrics_names, map(float, values)))

    # ------------------------------------------------------------------ evaluate, predict

    def evaluate(
        self,
        x: Any,
        y: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        *,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on data that the model is not trained on.

        Args:
            x: Samples, shape (samples, *input_shape).
            y: Targets, as in fit.
            batch_size: Taken for Keras's sake: all batches are computed alike, so only the step count printed uses it.
            verbose: 0 prints nothing, else one line.
            return_dict: Whether to return {"loss": ..., ...}.

        Returns:
            [loss, metrics ...], or the loss alone if there are no metrics, or the dict.

        Raises:
            ValueError: If data don't fit the model or the loss.
            RuntimeError: If the model is not compiled.
        """
        _, loss = self._need_compiled()
        batch = checks.positive_int("batch_size", 32 if batch_size is None else batch_size)
        pair = self._pair(x, y, loss)
        self._build(pair.shape)
        progress = Progress(verbose, 1, math.ceil(len(pair.x) / batch))
        progress.begin(0)
        layout = self._need_built()
        plan = plans.plan(layout, loss.kernel_name, self._metric_kernels(loss), "sgd")
        logs = self._logs(self._evaluate(plan, pair.for_kernels(layout, compress=False)))
        progress.end(logs)
        if return_dict:
            return logs
        return list(logs.values()) if self._metrics else logs["loss"]

    def _evaluate(self, plan: Any, data: Data) -> list[float]:
        """Means of the loss and of each metric."""
        totals = plans.totals(1 + len(plan.metrics))
        count = max(len(data.labels), len(data.targets))
        self._infer(plan, data, count, totals, _NO_OUT[self.dtype.name])
        return list(totals / count)

    def _infer(self, plan: Any, data: Data, count: int, totals: np.ndarray, out: np.ndarray) -> bool:
        """Run the network on `count` samples for whichever of totals and out are not empty.

        Returns whether all inputs are finite.
        """
        layout = self._need_built()
        size = threads.team_size(2.0 * layout.weights * count, waking=True)
        # A call on one row takes a few microseconds, making its buffers ten times as long: they are kept for the next
        # call, in two sizes for each team. Two threads in here at once have two of them.
        batch = 1 if count == 1 else _ROWS_PER_THREAD * size
        kept = self._workspaces.setdefault((batch, size, len(plan.metrics)), [])
        try:
            scratch = kept.pop()
        except IndexError:
            scratch = plans.scratch(layout, batch, size, len(plan.metrics))
        threads.run(
            kernels.run, size, scratch.sync,
            plan, self._theta, _NO_SLOTS[self.dtype.name], _NO_HYPER, data, np.arange(count), batch,
            0, -(-count // batch), scratch, totals, out, False,
        )  # fmt: skip
        finite = not scratch.sync[NOT_FINITE]
        scratch.sync[NOT_FINITE] = 0
        if len(kept) < _KEPT_WORKSPACES:
            kept.append(scratch)
        return finite

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto") -> np.ndarray:
        """Output of the last layer for every sample.

        Args:
            x: Samples, shape (samples, *input_shape).
            batch_size: Taken for Keras's sake; the result doesn't depend on it.
            verbose: Taken for Keras's sake; predict prints nothing.

        Returns:
            (samples, units) in the model's float type.

        Raises:
            ValueError: If x doesn't fit the model.
        """
        if type(x) is np.ndarray and x.shape == self._one_shape and x.dtype in self._as_it_is:
            out = self._predict_one(x)
            if out is not None:
                return out
        rows, shape = self._samples(x, all_finite=False)  # looked for while the rows are read anyway
        self._build(shape)
        layout = self._need_built()
        out = np.empty((len(rows), layout.outputs), self.dtype)
        if not self._infer(self._plan, plans.data(layout, rows, None, None), len(rows), _NO_TOTALS, out):
            checks.finite("x", rows)
        return out

    def _predict_one(self, x: np.ndarray) -> np.ndarray | None:
        """Output for a single sample of the right shape and type, or None if it must go the long way to its error."""
        flags = x.flags
        if not (flags.c_contiguous and flags.aligned and flags.writeable):
            return None
        tables, floats = self._one
        out = np.empty((1, tables[-1, single.UNITS]), self.dtype)
        return (
            out if single.predict_one(tables, self._theta, x.reshape(-1), np.empty(floats, self.dtype), out) else None
        )

    def __call__(self, x: Any) -> np.ndarray:
        """The same as predict(x)."""
        return self.predict(x)

    def __repr__(self) -> str:
        return f"<Sequential name={self.name}, layers={[layer.name for layer in self.layers]}>"


@dataclass(frozen=True)
class _Samples:
    """Checked samples (n, k) and targets; `shape` is that of one sample."""

    x: np.ndarray
    labels: np.ndarray | None
    targets: np.ndarray | None
    shape: tuple[int, ...]

    def part(self, first: int, last: int | None) -> _Samples:
        """Rows from first to last, as views."""
        rows = slice(first, last)
        return _Samples(
            self.x[rows],
            None if self.labels is None else self.labels[rows],
            None if self.targets is None else self.targets[rows],
            self.shape,
        )

    def for_kernels(self, layout: plans.Layout, *, compress: bool = True, train: bool = False) -> Data:
        return plans.data(layout, self.x, self.labels, self.targets, compress=compress, train=train)


def _shapes(layers: Sequence[Layer], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shape of a sample before the first layer and behind each."""
    shapes = [shape]
    for layer in layers:
        shapes.append(layer.shape_after(shapes[-1]))
    return shapes
