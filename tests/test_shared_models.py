"""One model in many threads: built, described, frozen, compiled and extended by some while others use it."""

import sys
import threading
import time

import numpy as np
import pytest

import fastmlp
from fastmlp.layers import Dense, Dropout, Input
from fastmlp.summary import table

X = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
Y = np.arange(40) % 3


@pytest.fixture(autouse=True)
def short_turns():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def net(*inputs):
    model = fastmlp.Sequential([*inputs, Dense(8, activation="tanh"), Dense(3, activation="softmax")])
    model.compile(fastmlp.optimizers.SGD(0.0), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def together(*tasks):
    """Results of the functions, each called in a thread of its own, all begun at once."""
    results, barrier = [None] * len(tasks), threading.Barrier(len(tasks))

    def work(i):
        barrier.wait()
        try:
            results[i] = tasks[i]()
        except Exception as error:
            results[i] = error

    crew = [threading.Thread(target=work, args=(i,)) for i in range(len(tasks))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(120)
        assert not thread.is_alive()
    return results


def until(end, function):
    """What it returns, or its errors, called again and again until `end` is set."""
    results = []
    while True:
        try:
            results.append(function())
        except (RuntimeError, ValueError) as error:
            results.append(error)
        if end.is_set():
            return results


def beside(work, *others):
    """Results of what others do again and again while work() is done, a list of each."""
    end = threading.Event()

    def first():
        try:
            return work()
        finally:
            end.set()

    results = together(first, *[lambda other=other: until(end, other) for other in others])
    assert not isinstance(results[0], Exception), repr(results[0])
    print(f"{sum(map(len, results[1:])):,} calls by {len(others)} threads beside the changes")
    return results[1:]


#: How long calls go on beside changes; longer behind the marker `long`.
durations = pytest.mark.parametrize("seconds", [0.4, pytest.param(15, marks=pytest.mark.long)])


def rounds(seconds, *functions):
    """Call them in turn for so long."""
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        for function in functions:
            function()


@pytest.mark.parametrize("attempt", range(15))
def test_threads_that_use_a_new_model_at_once_share_its_weights(attempt):
    model = net()
    answers = together(*[lambda: model.predict(X)] * 5, lambda: model.evaluate(X, Y, verbose=0))
    assert not isinstance(answers.pop(), Exception)
    for answer in answers:
        np.testing.assert_array_equal(answer, model.predict(X))


@durations
def test_descriptions_beside_predictions_change_nothing(seconds):
    model = net(Input((6,)))
    shapes, config = [layer.input_shape for layer in model._layers], model.get_config()
    expected = [model.predict(X), model.predict(X[:1])]

    def describe():
        assert model.get_config() == config
        return table(model), repr(model), model.to_json()

    tasks = [lambda: rounds(seconds, describe)] * 3
    answers = beside(lambda: together(*tasks), lambda: model.predict(X), lambda: model.predict(X[:1]))
    assert [layer.input_shape for layer in model._layers] == shapes
    for own, right in zip(answers, expected):
        assert all(np.array_equal(answer, right) for answer in own)


@durations
def test_predictions_while_layers_are_frozen_are_those_of_the_weights(seconds):
    model = net(Input((6,)))
    expected = [model.predict(X), model.predict(X[:1])]

    def freeze():
        for layer in model.layers:
            layer.trainable = not layer.trainable
            model.train_on_batch(X, Y)

    answers = beside(lambda: rounds(seconds, freeze), lambda: model.predict(X), lambda: model.predict(X[:1]))
    for own, right in zip(answers, expected):
        assert all(np.array_equal(answer, right) for answer in own)


@pytest.mark.parametrize("attempt", range(10))
def test_predictions_while_layers_are_added_are_those_before_or_those_behind(attempt):
    model, networks = net(Input((6,))), []
    networks.append(model.predict(X))

    def extend():
        for layer in (Dropout(0.1), Dense(2), Dense(4, activation="tanh")):
            time.sleep(0.005)
            model.add(layer)
            networks.append(model.predict(X))

    for answers, rows in zip(beside(extend, lambda: model.predict(X), lambda: model.predict(X[:1])), (40, 1)):
        assert all(any(np.array_equal(answer, right[:rows]) for right in networks) for answer in answers)


@durations
def test_scores_while_a_model_is_compiled_anew_are_of_one_of_the_two_ways_or_an_error(seconds):
    model, one_hot = net(Input((6,))), np.eye(3)[Y]
    right = []
    ways = [("sparse_categorical_crossentropy", ["accuracy"]), ("categorical_crossentropy", ["accuracy", "mae"])]
    for (loss, metrics), y in zip(ways, (Y, one_hot)):
        model.compile("sgd", loss, metrics)
        right.append(model.evaluate(X, y, verbose=0))

    def anew():
        for loss, metrics in ways:
            model.compile("sgd", loss, metrics)

    answers = beside(
        lambda: rounds(seconds, anew), *[lambda y=y: model.evaluate(X, y, verbose=0) for y in (Y, one_hot)]
    )
    for own in answers:
        errors = [answer for answer in own if isinstance(answer, Exception)]
        assert all(answer in right for answer in own if not isinstance(answer, Exception))
        assert all("compiled anew" in str(e) or isinstance(e, ValueError) for e in errors), errors[:3]


@pytest.mark.parametrize("change", ["compile", "add", "freeze"])
def test_a_model_in_training_is_not_changed_by_its_callbacks_nor_by_other_threads(change):
    model, errors = net(Input((6,))), []

    def attempt():
        try:
            if change == "compile":
                model.compile("adam", "mse")
            elif change == "add":
                model.add(Dense(3))
            else:
                model.layers[0].trainable = False
                model.layer_gradients(X, Y)
        except RuntimeError as error:
            errors.append(str(error))

    class Changes(fastmlp.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            attempt()
            together(attempt)

    model.fit(X, Y, epochs=2, verbose=0, callbacks=[Changes()])
    assert len(errors) == 4
    assert all("is in training" in error for error in errors)
    model.fit(X, Y, verbose=0)
    attempt()
    assert len(errors) == 4
