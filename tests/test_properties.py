"""What holds for any network: random ones of all layers, activations, losses, optimizers and regularizers."""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fastmlp
from fastmlp import activations, constraints, layers, losses, optimizers, regularizers, threads, training
from fastmlp.callbacks import BackupAndRestore, Callback, LambdaCallback
from fastmlp.kernels import workers
from fastmlp.kernels._jit import JIT
from fastmlp.models import Sequential, load_model

# The same examples each time; more come with HYPOTHESIS_EXAMPLES.
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "40"))
few = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

# What is drawn stands for a net: it is built several times.
SCHEDULE = {"class_name": "ExponentialDecay",
            "config": {"initial_learning_rate": 0.01, "decay_steps": 3, "decay_rate": 0.7}}  # fmt: skip

OPTIMIZERS = [
    ("SGD", {"learning_rate": 0.01}),
    ("SGD", {"learning_rate": SCHEDULE, "momentum": 0.9}),
    ("SGD", {"momentum": 0.5, "nesterov": True, "global_clipnorm": 0.1}),
    ("SGD", {"weight_decay": 0.1, "gradient_accumulation_steps": 2}),
    ("Adam", {"learning_rate": SCHEDULE, "amsgrad": True}),
    ("Adam", {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 2}),
    ("AdamW", {"clipvalue": 0.01}),
    ("Nadam", {"clipnorm": 0.1}),
    ("Adamax", {"gradient_accumulation_steps": 3}),
    ("RMSprop", {"momentum": 0.3}),
    ("RMSprop", {"centered": True, "use_ema": True}),
    ("Adagrad", {"weight_decay": 0.01}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Lion", {"learning_rate": SCHEDULE}),
]

# Loss, its arguments, activation of the last layer, kind of its targets.
LOSSES = [
    ("MeanSquaredError", {}, "linear", "values"),
    ("MeanAbsoluteError", {}, "tanh", "values"),
    ("MeanAbsolutePercentageError", {}, "linear", "shares"),
    ("MeanSquaredLogarithmicError", {}, "softplus", "shares"),
    ("Huber", {"delta": 0.5}, "linear", "values"),
    ("LogCosh", {}, "linear", "values"),
    ("Poisson", {}, "softplus", "shares"),
    ("CosineSimilarity", {}, "linear", "values"),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, "sigmoid", "bits"),
    ("BinaryCrossentropy", {"from_logits": True}, "linear", "shares"),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True}, "sigmoid", "bits"),
    ("Hinge", {}, "tanh", "bits"),
    ("SquaredHinge", {}, "linear", "bits"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "softmax", "one_hot"),
    ("CategoricalCrossentropy", {"from_logits": True}, "linear", "one_hot"),
    ("SparseCategoricalCrossentropy", {}, "softmax", "labels"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "linear", "labels"),
    ("CategoricalFocalCrossentropy", {}, "softmax", "one_hot"),
    ("CategoricalHinge", {}, "softmax", "one_hot"),
    ("KLDivergence", {}, "softmax", "one_hot"),
]

SMOOTH = [
    ("Activation", {"activation": "gelu"}),
    ("ELU", {"alpha": 0.5}),
    ("LeakyReLU", {}),
    ("ReLU", {"max_value": 3.0, "negative_slope": 0.1}),
    ("PReLU", {"alpha_initializer": "ones"}),
    ("Softmax", {}),
    ("BatchNormalization", {}),
    ("BatchNormalization", {"scale": False, "momentum": 0.5}),
    ("LayerNormalization", {}),
    ("LayerNormalization", {"rms_scaling": True}),
    ("Normalization", {"mean": 0.1, "variance": 2.0}),
    ("Rescaling", {"scale": 2.0, "offset": 0.1}),
    ("ActivityRegularization", {"l1": 0.01, "l2": 0.01}),
]
NOISY = [("Dropout", {"rate": 0.3}), ("GaussianNoise", {"stddev": 0.1}), ("GaussianDropout", {"rate": 0.2})]

ACTIVATIONS = [name for name in activations.NAMES if name not in ("step", "exponential")]
REGULARIZERS = [
    None,
    regularizers.L1(0.01),
    regularizers.L2(0.01),
    regularizers.L1L2(0.01, 0.02),
    regularizers.OrthogonalRegularizer(0.01),
    regularizers.OrthogonalRegularizer(0.01, "columns"),
]
CONSTRAINTS = [
    None,
    constraints.MaxNorm(1.0),
    constraints.NonNeg(),
    constraints.UnitNorm(),
    constraints.MinMaxNorm(0.5, 1.0, 0.5, axis=1),
]


@dataclass(frozen=True)
class Net:
    """A net, how it is trained, and with how many samples."""

    stack: tuple[tuple[str, dict[str, Any]], ...]
    loss: tuple[str, dict[str, Any], str, str]
    optimizer: tuple[str, dict[str, Any]]
    dtype: str
    samples: int
    batch: int
    weighted: bool
    seed: int

    @property
    def units(self):
        return 1 if self.loss[3] in ("values", "bits") and self.seed % 2 else 3

    def build(self, optimizer=None):
        fastmlp.utils.set_random_seed(self.seed)
        made = [layers.Input((6,)), *(getattr(layers, name)(**arguments) for name, arguments in self.stack)]
        model = Sequential([*made, layers.Dense(self.units, self.loss[2])], dtype=self.dtype)
        name, arguments = self.optimizer
        loss = getattr(losses, self.loss[0])(**self.loss[1])
        model.compile(optimizer or getattr(optimizers, name)(**arguments), loss, metrics=["accuracy"])
        return model

    def data(self):
        """x, y and keyword arguments of fit."""
        rng = np.random.default_rng(self.seed)
        x, shape, kind = rng.standard_normal((self.samples, 6)), (self.samples, self.units), self.loss[3]
        y = {
            "values": rng.standard_normal(shape),
            "shares": rng.uniform(0.1, 1, shape),
            "bits": rng.integers(0, 2, shape),
            "labels": rng.integers(0, self.units, self.samples),
            "one_hot": rng.dirichlet(np.ones(self.units), self.samples),
        }[kind]
        return x, y, {"sample_weight": rng.uniform(0, 2, self.samples) if self.weighted else None}

    def train(self, model, callbacks=None, seed=1):
        """Losses of two epochs, and all that training has changed."""
        x, y, options = self.data()
        fastmlp.utils.set_random_seed(seed)
        try:
            history = model.fit(
                x, y, epochs=2, batch_size=self.batch, verbose=0, callbacks=callbacks, **options
            ).history  # fmt: skip
        except FloatingPointError:
            assume(False)
        state = model.training_state()
        assert all(np.isfinite(array).all() for array in state.values())
        return [*history["loss"], *history["accuracy"], *(state[name].tobytes() for name in state)]


@st.composite
def nets(draw, noisy=True, priced=True, dtypes=("float32", "float64")):
    """Nets of one to three dense layers before the last, with something between them."""
    stack = []
    if draw(st.booleans()):
        stack.append(draw(st.sampled_from(SMOOTH)))
    for _ in range(draw(st.integers(1, 3))):
        dense = {
            "units": draw(st.sampled_from([2, 3, 8, 17, 70])),
            "activation": draw(st.sampled_from(ACTIVATIONS)),
            "use_bias": draw(st.booleans()),
            "trainable": draw(st.integers(0, 5)) > 0,
            "activity_regularizer": draw(st.sampled_from([None, regularizers.L1L2(0.01, 0.01)])),
        }
        if priced:
            dense["kernel_regularizer"] = draw(st.sampled_from(REGULARIZERS))
            dense["bias_regularizer"] = draw(st.sampled_from([None, regularizers.L2(0.1)]))
            dense["kernel_constraint"] = draw(st.sampled_from(CONSTRAINTS))
        stack.append(("Dense", dense))
        if draw(st.booleans()):
            stack.append(draw(st.sampled_from(SMOOTH + NOISY if noisy else SMOOTH)))
    return Net(
        tuple(stack),
        draw(st.sampled_from(LOSSES)),
        draw(st.sampled_from(OPTIMIZERS)),
        draw(st.sampled_from(dtypes)),
        draw(st.integers(1, 70)),
        draw(st.sampled_from([1, 7, 32, 64])),
        draw(st.booleans()),
        draw(st.integers(0, 2**16)),
    )


@few
@given(nets())
def test_same_seed_gives_the_same_bits(net):
    assert net.train(net.build()) == net.train(net.build())


@pytest.mark.skipif(not JIT, reason="without the compiler there is one thread")
@few
@given(nets())
def test_one_and_two_threads_give_the_same_bits(net):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "WORTH", 1)
        patch.setattr(threads, "WORTH_WAKING", 1)
        results = []
        for size in (1, 2):
            patch.setattr(workers, "_limit", size)
            model = net.build()
            results.append([*net.train(model), model.predict(net.data()[0]).tobytes()])
    assert results[0] == results[1]


@few
@given(nets())
def test_saved_and_loaded_nets_predict_and_train_on_with_the_same_bits(net):
    model = net.build()
    net.train(model)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        model.save(path)
        again = load_model(path)
    x, y, options = net.data()
    assert model.predict(x).tobytes() == again.predict(x).tobytes()
    assert model.evaluate(x, y, verbose=0, **options) == again.evaluate(x, y, verbose=0, **options)
    assert net.train(model, seed=2) == net.train(again, seed=2)


@few
@given(nets())
def test_an_epoch_in_single_batches_has_the_same_bits(net):
    seen = []
    watcher = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    assert net.train(net.build()) == net.train(net.build(), [watcher])
    assert len(seen) == 2 * -(-net.samples // net.batch)


class Interrupt(Callback):
    """Raises behind so many batches."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise InterruptedError


@st.composite
def ways(draw):
    """How a training may run: threads, seconds of a slice, and behind which batch it is interrupted and begun again."""
    return draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1e-6, 1e-4, 1.0])), draw(st.integers(1, 12))


def assert_every_way_has_the_same_bits(net, way):
    size, seconds, batches = way
    expected = net.train(net.build())
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(threads, "WORTH", 1)
        patch.setattr(threads, "WORTH_WAKING", 1)
        patch.setattr(threads, "_SLICE", seconds)
        patch.setattr(training, "_FIRST_SLICE", 1.0)
        patch.setattr(workers, "_limit", size)
        kept = os.path.join(folder, "backup")
        backup = BackupAndRestore(kept, save_freq=1)
        with contextlib.suppress(InterruptedError):
            net.train(net.build(), [backup, Interrupt(batches)])
        patch.setattr(workers, "_limit", 4 - size)
        assert net.train(net.build(), [backup], seed=99 if os.path.exists(kept) else 1) == expected


@pytest.mark.skipif(not JIT, reason="without the compiler there is one thread")
@settings(few, max_examples=EXAMPLES // 2)
@given(nets(), ways())
def test_any_threads_slices_and_interruption_have_the_same_bits(net, way):
    assert_every_way_has_the_same_bits(net, way)


@pytest.mark.long
@pytest.mark.skipif(not JIT, reason="without the compiler there is one thread")
@settings(few, max_examples=1000)
@given(nets(), ways())
def test_any_threads_slices_and_interruption_of_a_thousand_nets_have_the_same_bits(net, way):
    assert_every_way_has_the_same_bits(net, way)


@few
@given(nets(noisy=False, priced=False, dtypes=("float64",)))
def test_gradients_are_those_of_the_loss(net):
    # A step of size 0 gives the loss in training, where normalization takes the batch's mean, and changes no weight.
    model, (x, y, _) = net.build(optimizers.SGD(0.0)), net.data()

    def loss():
        model.reset_metrics()
        return model.train_on_batch(x, y, return_dict=True)["loss"]

    def slope(place, array, step=1e-5):
        """By central differences, and how much it jumps there."""
        before = array[place]
        values = []
        for moves in (-2, -1, 0, 1, 2):
            array[place] = before + moves * step
            values.append(loss())
        array[place] = before
        below_2, below, here, above, above_2 = values
        wide, narrow = (above_2 - below_2) / (4 * step), (above - below) / (2 * step)
        jump = 2 * (above - 2 * here + below) / step - (above_2 - 2 * here + below_2) / (2 * step)
        return narrow, max(abs(wide - narrow), abs(jump))

    loss()  # lays the net out for training
    gradients = model.layer_gradients(x, y)
    rng = np.random.default_rng(net.seed)
    for layer in model.layers:
        arrays = [variable.view for variable in layer.trainable_variables]
        assert len(arrays) == len(gradients.get(layer.name, []))
        for array, gradient in zip(arrays, gradients.get(layer.name, [])):
            assert gradient.shape == array.shape
            for _ in range(3):
                place = tuple(rng.integers(0, array.shape))
                wanted, jump = slope(place, array)
                size = max(1, abs(wanted))
                if jump < 1e-6 * size:  # else there is a kink
                    assert abs(gradient[place] - wanted) < 3e-6 * size, (layer, place)
