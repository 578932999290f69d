"""Each callback beside Keras's own, both driven by the same logs; then what is different here, and the errors."""

import json
import os
import struct
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp import callbacks as ours
from fastmlp.callbacks.monitor import direction

os.environ.setdefault("KERAS_BACKEND", "jax")


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras", reason="pip install 'fastmlp[keras]'")


class Optimizer:
    """A learning rate that remembers what it was set to, and a number of steps."""

    def __init__(self, rate=0.1):
        self.learning_rate, self.iterations = rate, 0


class Model:
    """What callbacks use of a model; its one weight is the number of the epoch or batch it was trained to."""

    name = "net"
    metrics_names = ("loss",)
    built = True

    def __init__(self, rate=0.1):
        self.optimizer = Optimizer(rate)
        self.stop_training = False
        self.weight = np.zeros(1)
        self.saved = []
        self.history = None

    def get_weights(self):
        return [self.weight.copy()]

    def set_weights(self, weights):
        self.weight = weights[0].copy()

    def save(self, path, overwrite=True):
        self.saved.append(("model", path, float(self.weight[0])))

    def save_weights(self, path, overwrite=True):
        self.saved.append(("weights", path, float(self.weight[0])))

    def training_state(self):
        # Its elements lie in another order than a careless writer would store them in.
        turned = np.arange(6, dtype=np.float32).reshape(3, 2).T + np.float32(self.weight[0])
        return {"weight": self.weight, "turned": turned, "iterations": np.array(self.optimizer.iterations)}

    def restore_training_state(self, state):
        self.weight = state["weight"].copy()
        self.turned = state["turned"]
        self.optimizer.iterations = int(state["iterations"])


def drive(callback, epochs, model=None, *, steps=2, first=0, batch_logs=None, params=None):
    """Call a callback as fit does, for logs of some epochs; returns the model and the logs as they were after it."""
    model, seen = model or Model(), []
    callback.set_params(params or {"verbose": 0, "epochs": len(epochs), "steps": steps})
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, logs in enumerate(epochs, first):
        callback.on_epoch_begin(epoch, {})
        for batch in range(steps):
            callback.on_train_batch_begin(batch, logs={})
            model.weight += 1
            model.optimizer.iterations += 1
            callback.on_train_batch_end(batch, logs=dict(batch_logs or {"loss": epoch + batch / 10}))
            if model.stop_training:
                break
        logs = dict(logs)
        callback.on_epoch_end(epoch, logs)
        seen.append(logs)
        if model.stop_training:
            break
    callback.on_train_end(seen[-1] if seen else {})
    return model, seen


def losses(*values, name="val_loss"):
    return [{name: value} for value in values]


# NaN, ties and small differences decide where a comparison is written the wrong way round.
VALUES = st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.2, 0.5, 1.0, float("nan"), float("inf")])
SEQUENCES = st.lists(VALUES, min_size=1, max_size=14)


# ---------------------------------------------------------------------- base


class Recorder(ours.Callback):
    """Writes down every call."""

    def __init__(self):
        self.calls = []


def _record(name):
    def hook(self, *place, **logs):
        self.calls.append((name, *(value for value in place if isinstance(value, int))))

    return hook


HOOKS = [name for name in dir(ours.Callback) if name.startswith("on_")]
for _name in HOOKS:
    setattr(Recorder, _name, _record(_name))


def test_callback_has_the_methods_of_kerass(keras):
    theirs = {name for name in dir(keras.callbacks.Callback()) if not name.startswith("_")}
    assert theirs <= set(dir(ours.Callback()))


@pytest.mark.parametrize(
    "name",
    ["EarlyStopping", "ModelCheckpoint", "CSVLogger", "LearningRateScheduler", "ReduceLROnPlateau", "TerminateOnNaN",
     "LambdaCallback", "BackupAndRestore", "TensorBoard", "CallbackList"],
)  # fmt: skip
def test_arguments_and_defaults_are_kerass(keras, name):
    import inspect

    def arguments(module):
        parameters = inspect.signature(getattr(module, name).__init__).parameters.values()
        return [(p.name, p.default) for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]

    assert arguments(ours) == arguments(keras.callbacks)


def test_list_calls_all_in_order():
    order = []
    first = ours.LambdaCallback(on_epoch_end=lambda epoch, logs: (order.append("first"), logs.update(more=1.0)))
    second = ours.LambdaCallback(on_epoch_end=lambda epoch, logs: order.append(("second", epoch, logs)))
    ours.CallbackList([first, [second]]).on_epoch_end(3, {"loss": np.float32(0.5), "accuracy": 1})
    assert order == ["first", ("second", 3, {"accuracy": 1.0, "loss": 0.5, "more": 1.0})]


@pytest.mark.parametrize("hook", HOOKS)
def test_list_calls_every_hook(hook):
    recorder = Recorder()
    callbacks = ours.CallbackList(recorder)
    place = (4,) if "batch" in hook or "epoch" in hook else ()
    getattr(callbacks, hook)(*place, {"loss": 1.0})
    assert recorder.calls == [(hook, *place)]


def test_list_hands_out_model_and_params():
    callback, model = ours.Callback(), Model()
    assert callback.model is None
    callbacks = ours.CallbackList([], model=model, epochs=3)
    callbacks.append(callback)
    callbacks.set_model(model)
    callbacks.set_params({"epochs": 3})
    assert callback.model is model
    assert callback.params == {"epochs": 3}


def test_list_adds_history_and_bar_unless_there_are_some():
    kinds = [type(c) for c in ours.CallbackList(ours.Callback(), add_history=True, add_progbar=True).callbacks]
    assert kinds == [ours.Callback, ours.History, ours.ProgbarLogger]
    history, bar = ours.History(), ours.ProgbarLogger()
    callbacks = ours.CallbackList([bar, history], add_history=True, add_progbar=True)
    assert callbacks.callbacks == [bar, history]
    assert callbacks.history is history
    assert ours.CallbackList().history is None


def test_logs_of_a_list_are_a_new_dict_of_floats():
    seen = []
    logs = {"outputs": np.ones((1, 1)), "z": {"b": 2, "a": np.float32(1)}, "text": "none", "loss": np.array(3)}
    before = dict(logs)
    callbacks = ours.CallbackList(ours.LambdaCallback(on_predict_batch_end=lambda batch, logs: seen.append(logs)))
    callbacks.on_predict_batch_end(0, logs)
    assert logs == before
    assert list(seen[0]) == ["loss", "outputs", "text", "a", "b"]
    assert seen[0]["loss"] == 3.0
    assert seen[0]["outputs"] is logs["outputs"]


def test_older_names_of_the_batch_hooks_are_called():
    class Old(ours.Callback):
        calls = ()

        def on_batch_begin(self, batch, logs=None):
            self.calls += (("begin", batch),)

        def on_batch_end(self, batch, logs=None):
            self.calls += (("end", batch),)

    old = Old()
    drive(ours.CallbackList(old), losses(1), steps=2)
    assert old.calls == (("begin", 0), ("end", 0), ("begin", 1), ("end", 1))
    assert old.wants_train_batches


@pytest.mark.parametrize("phase", ["train", "test", "predict"])
@pytest.mark.parametrize("moment", ["begin", "end"])
def test_overridden_batch_hooks_are_wanted(phase, moment):
    hook = f"on_{phase}_batch_{moment}"
    by_class = type("ByClass", (ours.Callback,), {hook: lambda self, batch, logs=None: None})()
    by_object = ours.LambdaCallback(**{hook: lambda batch, logs: None})
    for callback in (by_class, by_object, ours.CallbackList([ours.Callback(), by_object])):
        wanted = [p for p in ("train", "test", "predict") if getattr(callback, f"wants_{p}_batches")]
        assert wanted == [phase]


def test_callbacks_that_need_no_batches_let_an_epoch_run_at_once(tmp_path):
    free = [
        ours.EarlyStopping(), ours.ModelCheckpoint(tmp_path / "a.keras"), ours.CSVLogger(tmp_path / "a.csv"),
        ours.LearningRateScheduler(lambda epoch: 0.1), ours.ReduceLROnPlateau(), ours.TerminateOnNaN(),
        ours.LambdaCallback(on_epoch_end=print), ours.BackupAndRestore(tmp_path), ours.ProgbarLogger(), ours.History(),
    ]  # fmt: skip
    callbacks = ours.CallbackList(free)
    assert not any([callbacks.wants_train_batches, callbacks.wants_test_batches, callbacks.wants_predict_batches])
    assert ours.ModelCheckpoint(tmp_path / "a.keras", save_freq=3).wants_train_batches
    assert ours.BackupAndRestore(tmp_path, save_freq=3).wants_train_batches


@pytest.mark.parametrize("kind", [ours.TerminateOnNaN, ours.ProgbarLogger, ours.TensorBoard, ours.ModelCheckpoint])
def test_users_hook_of_a_subclass_is_wanted(kind, tmp_path):
    if kind is ours.TensorBoard:
        pytest.importorskip("tensorboardX", reason="pip install 'fastmlp[tensorboard]'")
    arguments = (tmp_path / "a.keras",) if kind is ours.ModelCheckpoint else ()
    assert not kind(*arguments).wants_train_batches
    child = type("Child", (kind,), {"on_train_batch_end": lambda self, batch, logs=None: None})
    assert child(*arguments).wants_train_batches


def test_callback_may_say_that_it_needs_no_batches():
    class Content(ours.Callback):
        wants_train_batches = False

        def on_train_batch_end(self, batch, logs=None):
            pass

    assert not ours.CallbackList(Content()).wants_train_batches


@pytest.mark.parametrize("wrong", [3, [ours.Callback(), "x"], ours.EarlyStopping])
def test_list_refuses_what_is_no_callback(wrong):
    with pytest.raises(TypeError, match=r"must be objects of fastmlp.callbacks.Callback, got"):
        ours.CallbackList(wrong)


def test_list_says_what_to_do_with_a_class_or_kerass_own(keras):
    with pytest.raises(TypeError, match=r"add \(\)"):
        ours.CallbackList([ours.EarlyStopping])
    with pytest.raises(TypeError, match="same under the same names"):
        ours.CallbackList([keras.callbacks.EarlyStopping()])


# ---------------------------------------------------------------------- History, LambdaCallback, bar


def test_history_holds_what_callbacks_before_it_add():
    model = Model(0.5)
    callbacks = ours.CallbackList(ours.LearningRateScheduler(lambda e, r: r / 2), add_history=True)
    drive(callbacks, losses(1, 2), model)
    assert model.history is callbacks.history
    assert model.history.history == {"learning_rate": [0.25, 0.125], "val_loss": [1.0, 2.0]}
    assert model.history.epoch == [0, 1]
    assert model.history.params == {"verbose": 0, "epochs": 2, "steps": 2}
    assert len(model.history.seconds) == 2
    assert all(seconds >= 0 for seconds in model.history.seconds)


def test_a_history_passed_twice_counts_epochs_anew_as_kerass(keras):
    results = []
    for history in (ours.History(), keras.callbacks.History()):
        drive(history, losses(1, 2))
        drive(history, losses(3))
        results.append((history.history, history.epoch))
    assert results[0] == results[1]


def test_lambda_callback_calls_its_functions():
    calls = []
    names = ["on_epoch_begin", "on_train_batch_end", "on_train_end", "on_test_begin"]
    given_functions = {name: lambda *a, name=name, **k: calls.append(name) for name in names}
    callback = ours.LambdaCallback(on_epoch_end=None, **given_functions)
    drive(callback, losses(1), steps=1)
    callback.on_test_begin({})
    assert calls == names


def test_lambda_callback_names_what_is_wrong():
    with pytest.raises(TypeError, match=r"no hook 'on_epoch_stop'. Known: on_batch_begin"):
        ours.LambdaCallback(on_epoch_stop=print)
    with pytest.raises(TypeError, match="on_train_end must be a function, got 3"):
        ours.LambdaCallback(on_train_end=3)


def test_bar_prints_a_line_per_epoch_and_none_for_validation(capsys):
    bar = ours.ProgbarLogger()
    bar.set_params({"verbose": 2, "epochs": 2, "steps": 3})
    bar.on_train_begin()
    for epoch in range(2):
        bar.on_epoch_begin(epoch)
        bar.on_train_batch_end(2, {"loss": 1.0})
        bar.on_test_begin()
        bar.on_test_batch_end(0)
        bar.on_test_end({"loss": 9.0})
        bar.on_epoch_end(epoch, {"loss": 0.5})
    bar.on_train_end()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in lines] == ["Epoch 1/2", "3/3", "Epoch 2/2", "3/3"]
    assert lines[1].endswith(" - loss: 0.5000")


def test_bar_prints_a_line_for_evaluate(capsys):
    bar = ours.ProgbarLogger()
    bar.set_params({"verbose": "auto", "epochs": 1, "steps": 3})
    bar.on_test_begin()
    bar.on_test_batch_end(0, {"loss": 1.0})
    bar.on_test_end({"loss": 0.25})
    assert capsys.readouterr().out.endswith(" - loss: 0.2500\n")


def test_bar_is_closed_after_an_error(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    callbacks = ours.CallbackList(add_progbar=True, verbose=1, epochs=1, steps=3)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_end(1, {"loss": 1.0})
    callbacks.close()
    callbacks.close()
    assert "2/3" in capsys.readouterr().out


def test_bar_refuses_an_unknown_verbose():
    with pytest.raises(ValueError, match="verbose must be"):
        ours.CallbackList(add_progbar=True, verbose=7)


# ---------------------------------------------------------------------- monitors


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("acc val_accuracy binary_accuracy sparse_top_k_categorical_accuracy auc auc_1 recall precision_2", "max"),
        ("f1_score r2_score cosine_similarity mean_io_u sensitivity_at_specificity pearson_correlation", "max"),
        ("loss val_loss mse mean_squared_error mae mean_absolute_percentage_error binary_crossentropy hinge", "min"),
        ("mean_squared_logarithmic_error kl_divergence poisson logcosh val_huber root_mean_squared_error", "min"),
        ("learning_rate gloss mace pacc val_ x", None),
    ],
)
def test_direction_by_name(names, expected):
    assert {name: direction(name) for name in names.split()} == dict.fromkeys(names.split(), expected)


def test_direction_is_kerass_wherever_keras_has_one(keras):
    """Of all metrics that Keras makes without an argument, or with one."""
    checked = 0
    for kind in vars(keras.metrics).values():
        if not isinstance(kind, type) or not issubclass(kind, keras.metrics.Metric):
            continue
        for arguments in [(), (2,), (0.5,), (2, [0])]:
            try:
                metric = kind(*arguments)
            except (TypeError, ValueError):
                continue
            theirs = getattr(metric, "_direction", None)
            if theirs is not None:
                assert direction(metric.name) == {"up": "max", "down": "min"}[theirs], metric.name
                checked += 1
            break
    assert checked > 25


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint"])
def test_unknown_direction_is_an_error_at_the_first_epochs_end(kind, tmp_path):
    more = {"filepath": tmp_path / "x.keras", "save_best_only": True} if kind == "ModelCheckpoint" else {}
    callback = getattr(ours, kind)(monitor="val_wobble", **more)
    with pytest.raises(ValueError, match=f"{kind} can't tell by the name monitor='val_wobble'.*mode=\"max\""):
        drive(callback, losses(1, name="val_wobble"))
    drive(getattr(ours, kind)(monitor="val_wobble", mode="max", **more), losses(1, 2, name="val_wobble"))


def test_unknown_mode_warns_and_is_auto():
    with pytest.warns(UserWarning, match="EarlyStopping has mode='least'") as caught:
        assert ours.EarlyStopping(mode="least").mode == "auto"
    assert caught[0].filename == __file__


@settings(max_examples=150, deadline=None)
@given(
    values=SEQUENCES,
    patience=st.integers(0, 3),
    min_delta=st.sampled_from([0, 0.1, -0.1]),
    mode=st.sampled_from(["auto", "min", "max"]),
    baseline=st.sampled_from([None, 0.1, 0.5]),
    restore=st.booleans(),
    start=st.integers(0, 3),
)
def test_early_stopping_does_what_kerass_does(keras, values, patience, min_delta, mode, baseline, restore, start):
    arguments = {
        "patience": patience, "min_delta": min_delta, "mode": mode, "baseline": baseline,
        "restore_best_weights": restore, "start_from_epoch": start,
    }  # fmt: skip
    results = []
    for module in (ours, keras.callbacks):
        stopping = module.EarlyStopping(**arguments)
        model, seen = drive(stopping, losses(*values))
        best = stopping.best if stopping.best == stopping.best else "NaN"
        results.append((len(seen), stopping.wait, stopping.best_epoch, stopping.stopped_epoch, best, model.weight[0]))
    assert results[0] == results[1]


def test_early_stopping_starts_anew_in_every_fit():
    stopping = ours.EarlyStopping(patience=1, restore_best_weights=True)
    for _ in range(2):
        _, seen = drive(stopping, losses(1, 2, 3, 4))
        assert (len(seen), stopping.best_epoch, stopping.stopped_epoch) == (2, 0, 1)


def test_early_stopping_says_what_it_did(capsys):
    drive(ours.EarlyStopping(patience=1, verbose=1, restore_best_weights=True), losses(1, 2, 3))
    out = capsys.readouterr().out
    assert "Epoch 2: stopped, val_loss has not improved for 1 epochs" in out
    assert "Weights of epoch 1, the best, are restored" in out


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau"])
def test_missing_value_is_a_warning_and_training_goes_on(kind):
    callback = getattr(ours, kind)()
    with pytest.warns(UserWarning, match=f"{kind} finds no 'val_loss' in the logs.*There: .*loss.*validation_data"):
        _, seen = drive(callback, losses(1, name="loss"))
    assert len(seen) == 1


@settings(max_examples=150, deadline=None)
@given(
    values=SEQUENCES,
    rate=st.sampled_from([0.1, 1.0, 0.011]),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    patience=st.integers(0, 3),
    min_delta=st.sampled_from([0.0, 1e-4, 0.1]),
    cooldown=st.integers(0, 2),
    min_lr=st.sampled_from([0.0, 0.01, 0.001, 0.3]),
    mode=st.sampled_from(["auto", "max"]),
)
def test_plateau_does_what_kerass_does(keras, values, rate, factor, patience, min_delta, cooldown, min_lr, mode):
    results = []
    for module in (ours, keras.callbacks):
        plateau = module.ReduceLROnPlateau(
            factor=factor, patience=patience, min_delta=min_delta, cooldown=cooldown, min_lr=min_lr, mode=mode
        )
        model, seen = drive(plateau, losses(*values), Model(rate))
        rates = [logs["learning_rate"] for logs in seen] + [model.optimizer.learning_rate]
        results.append((rates, plateau.wait, plateau.cooldown_counter))
    assert results[0] == results[1]


def test_plateau_says_what_it_did(capsys):
    drive(ours.ReduceLROnPlateau(patience=1, verbose=1), losses(1, 1))
    assert "Epoch 2: no improvement of val_loss, learning_rate is 0.01 now" in capsys.readouterr().out


def test_plateau_needs_a_factor_below_one():
    with pytest.raises(ValueError, match="a factor below 1, which reduces, got 1"):
        ours.ReduceLROnPlateau(factor=1)


# ---------------------------------------------------------------------- learning rate, NaN


@pytest.mark.parametrize(
    "schedule",
    [lambda epoch: 1 / (epoch + 2), lambda epoch, rate: rate * 0.7, lambda epoch, rate: np.float32(rate) / 3],
)
def test_scheduler_sets_the_learning_rates_of_kerass(keras, schedule):
    results = []
    for module in (ours, keras.callbacks):
        model, seen = drive(module.LearningRateScheduler(schedule), losses(1, 1, 1))
        results.append(([logs["learning_rate"] for logs in seen], model.optimizer.learning_rate))
    assert results[0] == results[1]


def test_scheduler_prints_if_asked(capsys):
    drive(ours.LearningRateScheduler(lambda epoch: 0.25, verbose=1), losses(1))
    assert "Epoch 1: learning_rate is 0.25" in capsys.readouterr().out


def test_scheduler_names_what_is_wrong():
    with pytest.raises(TypeError, match=r"schedule must be a function, got 0.1"):
        ours.LearningRateScheduler(0.1)
    with pytest.raises(ValueError, match="must return a float but returned 1 for epoch 0"):
        drive(ours.LearningRateScheduler(lambda epoch: 1), losses(1))


def test_error_within_a_schedule_is_shown():
    with pytest.raises(TypeError, match="unsupported operand"):
        drive(ours.LearningRateScheduler(lambda epoch, rate: rate + "x"), losses(1))


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1.0, None])
def test_nan_ends_training_where_it_does_in_keras(keras, loss, capsys):
    logs = {"accuracy": 1.0} if loss is None else {"loss": loss}
    results = []
    for module in (ours, keras.callbacks):
        model, seen = drive(module.TerminateOnNaN(), losses(1, 1), batch_logs=logs)
        results.append((model.stop_training, model.weight[0], len(seen)))
    assert results[0] == results[1]
    assert ("Batch 0: the loss is" in capsys.readouterr().out) == model.stop_training


def test_nan_raises_if_asked():
    with pytest.raises(RuntimeError, match="the loss is nan after batch 0"):
        drive(ours.TerminateOnNaN(raise_error=True), losses(1), batch_logs={"loss": float("nan")})


# ---------------------------------------------------------------------- CSVLogger


CSV_EPOCHS = {
    "no validation": [{"loss": 0.5, "accuracy": 1 / 3}, {"loss": 1e-9, "accuracy": 1.0}],
    "validation": [{"loss": 0.5, "val_loss": 2.0}, {"loss": 0.25, "val_loss": float("nan")}],
    "validation at times": [{"loss": 0.5}, {"loss": 0.25, "val_loss": 2.0}],
    "missing": [{"loss": 0.5, "val_loss": 2.0}, {"loss": 0.25}],
    "arrays and text": [{"loss": np.array([1, 2]), "b": "a,b", "c": np.array(3.5), "val_d": [1.5]}],
    "nothing": [],
}


@pytest.mark.parametrize("epochs", CSV_EPOCHS.values(), ids=CSV_EPOCHS)
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("append", [False, True])
def test_csv_files_are_kerass(keras, tmp_path, epochs, separator, append):
    files = []
    for name, module in (("ours", ours), ("keras", keras.callbacks)):
        path = tmp_path / f"{name}.csv"
        for _ in range(2):
            drive(module.CSVLogger(path, separator=separator, append=append), epochs)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_csv_file_can_be_read_during_training_and_is_closed_after_an_error(tmp_path):
    logger = ours.CSVLogger(tmp_path / "log.csv")
    callbacks = ours.CallbackList(logger)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {"loss": 0.5})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["epoch,loss,val_loss", "0,0.5,NA"]
    file = logger.csv_file
    callbacks.close()
    assert file.closed


def test_csv_logger_names_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError):
        ours.CSVLogger(tmp_path / "no" / "log.csv").on_train_begin()
    with pytest.raises(RuntimeError, match="call on_train_begin before"):
        ours.CSVLogger(tmp_path / "log.csv").on_epoch_end(0, {"loss": 1.0})


# ---------------------------------------------------------------------- ModelCheckpoint


CHECKPOINTS = [
    {},
    {"save_best_only": True},
    {"save_best_only": True, "mode": "max"},
    {"save_best_only": True, "initial_value_threshold": 0.3},
    {"save_weights_only": True},
    {"save_freq": 3},
    {"save_freq": 3, "name": "{epoch:02d}-{batch}-{loss:.1f}"},
    {"save_freq": 1, "save_weights_only": True, "name": "{batch:03d}"},
    {"save_freq": 100},
    {"name": "fixed"},
    {"name": "sub/{val_loss:.3f}"},
]


@pytest.mark.parametrize("case", CHECKPOINTS, ids=str)
def test_checkpoints_are_kerass(keras, tmp_path, case):
    case = dict(case)
    ending = ".weights.h5" if case.get("save_weights_only") else ".keras"
    name = case.pop("name", "{epoch}" if "save_freq" in case else "{epoch:02d}-{val_loss:.2f}")
    saved = []
    for module in (ours, keras.callbacks):
        callback = module.ModelCheckpoint(tmp_path / (name + ending), **case)
        model, _ = drive(callback, losses(0.5, 0.4, 0.45, 0.2, 0.9), steps=4)
        saved.append(model.saved)
    assert saved[0] == saved[1]


@settings(max_examples=60, deadline=None)
@given(values=SEQUENCES, mode=st.sampled_from(["min", "max"]), threshold=st.sampled_from([None, 0.1]))
def test_the_best_are_those_of_keras(keras, values, mode, threshold):
    saved = []
    for module in (ours, keras.callbacks):
        callback = module.ModelCheckpoint(
            "{epoch}.keras", save_best_only=True, mode=mode, initial_value_threshold=threshold
        )
        saved.append(drive(callback, losses(*values))[0].saved)
    assert saved[0] == saved[1]


@pytest.mark.parametrize("ending", [".safetensors", ".keras"])
def test_checkpoint_leaves_the_format_to_the_model(tmp_path, ending):
    path = str(tmp_path / "new" / f"model{ending}")
    model, _ = drive(ours.ModelCheckpoint(path), losses(1), steps=1)
    assert model.saved == [("model", path, 1.0)]
    assert os.path.isdir(tmp_path / "new")


def test_best_model_by_batches_is_found_before_the_first_epochs_end():
    callback = ours.ModelCheckpoint("{batch}.safetensors", monitor="loss", save_best_only=True, save_freq=1)
    model, _ = drive(callback, losses(1), steps=3)
    assert [path for _, path, _ in model.saved] == ["1.safetensors"]


@pytest.mark.parametrize("save_freq", [1, 2, 3, 5])
def test_checkpoint_counts_batches_that_it_only_hears_of_at_times(keras, save_freq):
    saved = []
    for module in (ours, keras.callbacks):
        callback, model = module.ModelCheckpoint("{epoch}-{batch}.keras", save_freq=save_freq), Model()
        callback.set_model(model)
        for epoch in range(3):
            callback.on_epoch_begin(epoch)
            for batch in (1, 2, 4, 6):
                callback.on_train_batch_end(batch, {"loss": 1.0})
        saved.append(model.saved)
    assert saved[0] == saved[1]


def test_checkpoint_says_what_it_did(capsys):
    drive(ours.ModelCheckpoint("{epoch}.keras", verbose=1), losses(1))
    drive(ours.ModelCheckpoint("{epoch}.keras", verbose=1, save_best_only=True), losses(1, 2))
    lines = capsys.readouterr().out.split("\n")
    assert [line for line in lines if line] == [
        "Epoch 1: saving to 1.keras",
        "Epoch 1: val_loss is 1.00000, better than nothing: saving to 1.keras",
        "Epoch 2: val_loss is 2.00000, no better than 1.00000",
    ]


def test_best_without_a_value_warns_and_saves():
    with pytest.warns(UserWarning, match="no 'val_loss' in the logs, so every model is saved. There: loss"):
        model, _ = drive(ours.ModelCheckpoint("a.keras", save_best_only=True), losses(1, name="loss"))
    assert len(model.saved) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filepath": "model.ckpt"}, r"must end in .safetensors or .keras for a whole model, got 'model.ckpt'"),
        ({"filepath": "a.keras", "save_weights_only": True}, r"must end in .safetensors or .weights.h5 for weights"),
        ({"filepath": "a.keras", "save_freq": "batch"}, "save_freq must be"),
        ({"filepath": "a.keras", "save_freq": 0}, "save_freq must be"),
        ({"filepath": "a.keras", "save_freq": True}, "save_freq must be"),
    ],
)
def test_checkpoint_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        ours.ModelCheckpoint(**arguments)


def test_checkpoint_names_an_unknown_field_of_its_path():
    with pytest.raises(KeyError, match="names 'val_mse' but there is only: epoch, val_loss"):
        drive(ours.ModelCheckpoint("{val_mse}.keras"), losses(1))


def test_checkpoint_does_not_write_over_a_folder(tmp_path):
    (tmp_path / "a.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="but that is a folder"):
        drive(ours.ModelCheckpoint(tmp_path / "a.keras"), losses(1))


# ---------------------------------------------------------------------- BackupAndRestore


class Interrupted(Exception):
    """What stands for a power cut."""


def interrupt(epoch, batch=None):
    def at_epoch(now, logs=None):
        if now == epoch:
            raise Interrupted

    if batch is None:
        return ours.LambdaCallback(on_epoch_begin=at_epoch)
    now = [0]
    return ours.LambdaCallback(
        on_epoch_begin=lambda e, logs: now.__setitem__(0, e),
        on_train_batch_begin=lambda b, logs: at_epoch(now[0] if b == batch else -1),
    )


def backed_up(folder, *, at, batch=None, steps=2, **settings):
    """A fit of five epochs that is interrupted; returns the model it was."""
    model = Model()
    callbacks = ours.CallbackList([ours.BackupAndRestore(folder, **settings), interrupt(at, batch)])
    with pytest.raises(Interrupted):
        drive(callbacks, losses(*range(5)), model, steps=steps)
    return model


def resumed(folder, **settings):
    """A new model after on_train_begin, and the epoch that fit shall begin with."""
    model, backup = Model(), ours.BackupAndRestore(folder, **settings)
    callbacks = ours.CallbackList([ours.Callback(), backup], model=model)
    callbacks.on_train_begin()
    return model, callbacks.resume_epoch


def test_interrupted_training_goes_on_where_it_was(tmp_path):
    before = backed_up(tmp_path / "backup", at=3)
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["latest.safetensors"]
    model, epoch = resumed(tmp_path / "backup")
    assert epoch == 3
    assert model.weight == before.weight == 6
    assert model.optimizer.iterations == 6
    np.testing.assert_array_equal(model.turned, [[6, 8, 10], [7, 9, 11]])
    assert model.turned.dtype == np.float32


def test_backup_goes_on_with_kerass_epoch(keras, tmp_path):
    """Keras's, with its weights' file written and read by hand."""

    class KerasModel(Model):
        def save_weights(self, filepath, overwrite=True):
            with open(filepath, "w") as file:
                json.dump(self.weight.tolist(), file)

        def load_weights(self, filepath):
            with open(filepath) as file:
                self.weight = np.array(json.load(file))

        @property
        def optimizer(self):
            return None

        @optimizer.setter
        def optimizer(self, value):
            pass

    for save_freq, at, batch in [("epoch", 3, None), (3, 3, 1), (1, 2, 1), (5, 1, 0)]:
        folder = tmp_path / f"{save_freq}-{at}-{batch}"
        backed_up(folder / "ours", at=at, batch=batch, save_freq=save_freq)
        model, epoch = resumed(folder / "ours", save_freq=save_freq)

        theirs, backup = KerasModel(), keras.callbacks.BackupAndRestore(str(folder / "keras"), save_freq=save_freq)
        theirs._initial_epoch = None
        theirs.optimizer = None
        backup.set_model(theirs)
        backup.on_train_begin()
        done = False
        for e in range(5):
            backup.on_epoch_begin(e)
            for b in range(2):
                if (e, b) == (at, batch or 0):
                    done = True
                    break
                theirs.weight += 1
                backup.on_train_batch_end(b)
            if done:
                break
            backup.on_epoch_end(e)
        again = KerasModel()
        again._initial_epoch = None
        backup.set_model(again)
        backup.on_train_begin()
        assert (epoch or 0, model.weight[0]) == (again._initial_epoch or 0, again.weight[0]), (save_freq, at, batch)


def test_backup_is_deleted_at_the_end(tmp_path):
    backup = ours.BackupAndRestore(tmp_path / "backup", double_checkpoint=True)
    drive(backup, losses(1, 2, 3))
    assert not (tmp_path / "backup").exists()
    assert backup.resume_epoch is None


def test_only_the_backup_is_deleted(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    drive(ours.BackupAndRestore(tmp_path), losses(1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_backup_stays_if_asked_and_a_finished_training_has_nothing_left_to_do(tmp_path):
    drive(ours.BackupAndRestore(tmp_path, delete_checkpoint=False), losses(1, 2))
    assert resumed(tmp_path)[1] == 2


def test_a_damaged_backup_is_an_error_or_the_one_before_it_is_taken(tmp_path):
    backed_up(tmp_path, at=3, double_checkpoint=True)
    latest = tmp_path / "latest.safetensors"
    latest.write_bytes(latest.read_bytes()[:-3])
    model, epoch = resumed(tmp_path, double_checkpoint=True)
    assert (epoch, model.weight[0]) == (2, 4)
    latest.unlink()
    assert resumed(tmp_path)[1] == 2
    (tmp_path / "previous.safetensors").write_bytes(b"nothing")
    with pytest.raises(OSError, match=r"previous.safetensors can't be read .*delete it"):
        resumed(tmp_path)


def test_interrupted_writing_leaves_the_backup_before(tmp_path, monkeypatch):
    backed_up(tmp_path, at=2)

    def cut(*arguments):
        raise Interrupted

    monkeypatch.setattr(os, "fsync", cut)
    model, backup = Model(), ours.BackupAndRestore(tmp_path)
    with pytest.raises(Interrupted):
        drive(backup, losses(1), model)
    assert resumed(tmp_path)[1] == 2


def test_a_second_fit_with_the_same_callback_starts_anew(tmp_path):
    backed_up(tmp_path, at=2)
    backup = ours.BackupAndRestore(tmp_path)
    backup.set_model(Model())
    backup.on_train_begin()
    assert backup.resume_epoch == 2
    backup.on_train_end()
    backup.on_train_begin()
    assert backup.resume_epoch is None


def test_backup_names_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="backup_dir is empty"):
        ours.BackupAndRestore("")
    with pytest.raises(ValueError, match="save_freq must be"):
        ours.BackupAndRestore(tmp_path, save_freq=False)


# ---------------------------------------------------------------------- TensorBoard


def events(folder):
    """{(folder, tag, step): value} of all event files, whose records are length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                key = (path.parent.name, value.tag, event.step)
                found[key] = value.simple_value if kind == "simple_value" else getattr(value, kind)
    return found


class Summary:
    """tensorflow.summary as far as Keras's callback uses it: scalars go into a dict."""

    def __init__(self):
        self.found, self._folder, self._record = {}, [None], [lambda: True]

    def create_file_writer(self, path):
        return SimpleNamespace(as_default=lambda step=None: self._within(self._folder, os.path.basename(path)),
                               close=lambda: None)  # fmt: skip

    def record_if(self, condition):
        return self._within(self._record, condition)

    @staticmethod
    @contextmanager
    def _within(stack, value):
        stack.append(value)
        yield
        stack.pop()

    def scalar(self, tag, value, step):
        if self._folder[-1] and self._record[-1]():
            self.found[self._folder[-1], tag, int(step)] = pytest.approx(float(value), rel=1e-6)


@pytest.fixture
def tensorboard():
    pytest.importorskip("tensorboardX", reason="pip install 'fastmlp[tensorboard]'")
    return ours.TensorBoard


# Keras's variables don't take NumPy's copy argument yet.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_tensorboard_writes_what_kerass_does(keras, tensorboard, tmp_path):
    """update_freq 1 and "epoch": with another number Keras leaves out what its batch counter doesn't divide."""

    class CountingSGD(keras.optimizers.SGD):
        iterations = 0

    epochs = [{"loss": 0.5, "accuracy": 0.1, "val_loss": 0.6, "val_accuracy": 0.2}, {"loss": 0.25, "accuracy": 0.3}]
    for update_freq in ("epoch", "batch"):
        folder, summary = tmp_path / update_freq, Summary()
        mine, theirs = (
            kind(log_dir=folder, write_graph=False, update_freq=update_freq)
            for kind in (tensorboard, keras.callbacks.TensorBoard)
        )
        theirs._summary_module = summary
        for callback in (mine, theirs):
            model = Model()
            if callback is theirs:
                model.optimizer = CountingSGD(0.1)
            drive(callback, epochs, model, steps=3)
            callback.on_test_begin({})
            callback.on_test_batch_begin(0)
            callback.on_test_batch_end(0, {"loss": 0.75})
            callback.on_test_end({"loss": 0.75})
            callback._close() if callback is mine else callback._close_writers()
        assert events(folder) == summary.found
        assert len(summary.found) > 8


def test_tensorboard_writes_every_so_many_batches(tensorboard, tmp_path):
    drive(tensorboard(tmp_path, update_freq=2), losses(1, 2), steps=3)
    found = events(tmp_path)
    assert [step for _, tag, step in found if tag == "batch_loss"] == [2, 4, 6]
    assert [step for _, tag, step in found if tag == "epoch_loss"] == [0, 1]


def test_tensorboard_writes_speeds(tensorboard, tmp_path):
    drive(tensorboard(tmp_path, update_freq=1, write_steps_per_second=True), losses(1), steps=2)
    found = events(tmp_path)
    assert [key[1:] for key, value in found.items() if "steps_per_second" in key[1] and value > 0] == [
        ("batch_steps_per_second", 1),
        ("batch_steps_per_second", 2),
        ("epoch_steps_per_second", 0),
    ]


def test_tensorboard_counts_steps_that_it_only_hears_of_at_times(tensorboard, tmp_path):
    callback = tensorboard(tmp_path, write_steps_per_second=True)
    callback.set_model(Model())
    callback.on_train_begin()
    for epoch in range(2):
        callback.on_epoch_begin(epoch)
        callback.on_train_batch_end(999, {"loss": 1.0})
        callback.on_epoch_end(epoch, {"loss": 1.0})
    assert callback._batches == 2000
    assert not callback.wants_train_batches
    callback.on_train_end()


def test_tensorboard_writes_histograms_and_images_of_the_weights(tensorboard, tmp_path):
    model = Model()
    kernel, bias = np.array([[-1, 0.5], [2, 0.25], [0, np.nan]], np.float32), np.full(2, np.inf)
    model.layers = [SimpleNamespace(name="flatten", weights=[]), SimpleNamespace(name="dense", weights=[kernel, bias])]
    drive(tensorboard(tmp_path, histogram_freq=2, write_images=True), losses(1, 2, 3), model)
    found = events(tmp_path)
    tags = sorted({tag for _, tag, _ in found if "net/" in tag})
    assert tags == ["net/dense/bias/image", "net/dense/kernel/histogram", "net/dense/kernel/image"]
    assert [step for _, tag, step in found if tag.endswith("histogram")] == [0, 2]
    histogram = found["train", "net/dense/kernel/histogram", 0]
    assert (histogram.num, histogram.min, histogram.max, sum(histogram.bucket)) == (5, -1, 2, 5)
    image = found["train", "net/dense/kernel/image", 0]
    assert (image.height, image.width) == (2, 3)


def test_two_fits_into_one_folder_lose_nothing(tensorboard, tmp_path):
    callback = tensorboard(tmp_path)
    for first in (0, 1):
        drive(callback, losses(1), first=first)
    assert sorted(step for _, tag, step in events(tmp_path) if tag == "epoch_loss") == [0, 1]


def test_tensorboard_makes_no_file_before_there_is_something_to_write(tensorboard, tmp_path):
    drive(tensorboard(tmp_path / "logs"), [])
    assert not (tmp_path / "logs").exists()


def test_tensorboard_names_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[tensorboard\]"'):
        ours.TensorBoard(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile_batch": 2}, "profile_batch must be 0"),
        ({"embeddings_freq": 1}, "no embeddings here"),
        ({"update_freq": "batches"}, "update_freq must be"),
        ({"update_freq": 0}, "update_freq must be"),
    ],
)
def test_tensorboard_names_what_is_wrong(tensorboard, arguments, message):
    with pytest.raises(ValueError, match=message):
        tensorboard(**arguments)
