import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import fastmlp
from fastmlp import plotting
from fastmlp.callbacks import History
from fastmlp.layers import Dense, Flatten, Input

RNG = np.random.default_rng(3)


class Inspectable(fastmlp.Sequential):
    """What the pictures ask of a model, in NumPy, for stacks of Dense layers that end in softmax."""

    def layer_outputs(self, x):
        a, outputs = np.asarray(x, self.dtype), {}
        for layer in self.layers:
            a = a.reshape(len(a), -1)
            if isinstance(layer, Dense):
                z = a @ layer.kernel + (0 if layer.bias is None else layer.bias)
                a = np.asarray(getattr(fastmlp.activations, layer.activation)(z))
            outputs[layer.name] = a
        return outputs

    def layer_gradients(self, x, y):
        outputs = self.layer_outputs(x)
        inputs = [np.reshape(x, (len(x), -1)), *outputs.values()]
        probabilities = inputs[-1]
        delta = (probabilities - np.eye(probabilities.shape[1])[y]) / len(y)
        gradients = {}
        for layer, before, after in reversed(list(zip(self.layers, inputs, inputs[1:]))):
            gradients[layer.name] = []
            if isinstance(layer, Dense):
                slopes = {"relu": after > 0, "sigmoid": after * (1 - after), "tanh": 1 - after**2}
                delta = delta * slopes.get(layer.activation, 1)
                gradients[layer.name] = [before.T @ delta, delta.sum(axis=0)][: len(layer.weights)]
                delta = delta @ layer.kernel.T
        return dict(reversed(gradients.items()))


def drawn(axes):
    """Draw for real: layout problems and missing glyphs are warnings, and warnings are errors."""
    np.ravel(np.asarray(axes, dtype=object))[0].figure.canvas.draw()
    return axes


def net(*layers, inputs=(4,)):
    return Inspectable([Input(inputs), *layers])


def titles(axes, loc="center"):
    return [ax.get_title(loc=loc) for ax in axes]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


# ------------------------------------------------------------------ what holds for all


def calls():
    model = net(Dense(3, activation="relu"), Dense(2, activation="softmax"), inputs=(2,))
    x, y = RNG.standard_normal((20, 2)), np.arange(20) % 2
    history = History()
    history.add(0, {"loss": 1.0, "val_loss": 2.0, "accuracy": 0.5}, 0.1)
    return {
        "history": lambda ax: history.plot(ax=ax),
        "confusion_matrix": lambda ax: plotting.confusion_matrix(model, x, y, ax=ax),
        "first_layer": lambda ax: plotting.first_layer(model, shape=(1, 2), ax=ax),
        "activation_statistics": lambda ax: plotting.activation_statistics(model, x, ax=ax),
        "gradient_norms": lambda ax: plotting.gradient_norms(model, x, y, ax=ax),
        "decision_regions": lambda ax: plotting.decision_regions(model, x, y, resolution=20, ax=ax),
    }


@pytest.mark.parametrize("name", calls())
@pytest.mark.parametrize("given", [False, True], ids=["new figure", "given Axes"])
def test_pictures_leave_matplotlib_as_it_is(name, given):
    import matplotlib.pyplot as plt

    current, before = plt.figure(), dict(matplotlib.rcParams)
    other = Figure(layout="constrained").subplots(1, 2)
    axes = drawn(calls()[name](other[0] if given else None))
    assert plt.gcf() is current
    assert plt.get_fignums() == [current.number]
    assert dict(matplotlib.rcParams) == before
    assert not current.axes
    figures = {ax.figure for ax in np.ravel(np.asarray(axes, dtype=object))}
    assert len(figures) == 1
    assert (other[0].figure in figures) == given
    assert not other[1].has_data()
    plt.close(current)


@pytest.mark.parametrize("name", calls())
def test_what_is_no_axes_is_refused(name):
    with pytest.raises(TypeError, match=r"ax must be .*Axes.*, got 'here'"):
        calls()[name]("here")


def test_pictures_leave_pyplot_and_imports_alone():
    code = (
        "import sys, fastmlp; from fastmlp.callbacks import History; import fastmlp.plotting\n"
        "assert 'matplotlib' not in sys.modules\n"
        "h = History(); h.add(0, {'loss': 1.0}, 0.1); h.plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "draw",
    [
        lambda model: plotting.confusion_matrix(model, [[0, 0]], [0]),
        plotting.first_layer,
        lambda model: plotting.activation_statistics(model, [[0, 0]]),
        lambda model: plotting.activation_summary(model, [[0, 0]]),
        lambda model: plotting.gradient_norms(model, [[0, 0]], [0]),
        lambda model: plotting.decision_regions(model, [[0, 0]], [0]),
    ],
)
def test_a_model_without_weights_is_refused(draw):
    with pytest.raises(RuntimeError, match=r"has no weights yet: give it an InputLayer\(shape=\.\.\.\) first, or call"):
        draw(Inspectable([Dense(2)]))


def test_a_model_that_cannot_be_asked_is_refused():
    with pytest.raises(TypeError, match="expected a model with a method layer_outputs"):
        plotting.activation_summary("model", [[0]])


# ------------------------------------------------------------------ history


def history(**values):
    kept = History()
    for epoch in range(max(map(len, values.values()))):
        kept.add(epoch, {name: series[epoch] for name, series in values.items() if epoch < len(series)}, 0.1)
    return kept


FULL = {
    "accuracy": [0.3, 0.5, 0.6],
    "learning_rate": [0.1, 0.1, 0.01],
    "loss": [2.0, 1.5, 1.0],
    "val_accuracy": [0.4, 0.6, 0.5],
    "val_loss": [1.9, 1.4, 1.6],
}


def test_history_has_a_panel_for_each_metric_losses_first_learning_rate_last():
    axes = drawn(history(**FULL, aux_loss=[1, 2, 3]).plot())
    assert [ax.get_ylabel() for ax in axes] == ["loss", "aux loss", "accuracy", "learning rate"]
    assert {ax.get_xlabel() for ax in axes} == {"epoch"}
    assert len(axes[0].figure.axes) == 4


def test_history_draws_training_beside_validation_and_rings_the_best():
    loss, accuracy, _ = drawn(history(**FULL).plot())
    assert legend(loss) == ["training", "validation", "best: epoch 2, 1.4"]
    assert legend(accuracy) == ["training", "validation", "best: epoch 2, 0.6"]
    for name, ax in (("loss", loss), ("accuracy", accuracy)):
        training, validation, ring = ax.lines
        np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(training.get_ydata(), FULL[name])
        np.testing.assert_array_equal(validation.get_ydata(), FULL[f"val_{name}"])
        assert ring.get_xydata().tolist() == [[2, FULL[f"val_{name}"][1]]]


def test_history_rings_nothing_where_the_name_does_not_say_what_is_better():
    (ax,) = history(strangeness=[1, 2], val_strangeness=[2, 1]).plot()
    assert legend(ax) == ["training", "validation"]


def test_history_draws_the_learning_rate_on_a_log_scale_between_decades():
    ax = drawn(history(**FULL).plot("learning_rate"))[0]
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert (low < 0.01, high > 0.1) == (True, True)
    assert ax.get_legend() is None


def test_history_of_one_epoch_shows_its_points():
    axes = drawn(history(**{name: values[:1] for name, values in FULL.items()}).plot())
    for ax in axes:
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1]
        assert ax.lines[0].get_markevery() == [0]
        assert ax.lines[0].get_marker() == "o"


def test_history_of_a_thousand_epochs_is_lines_without_points():
    values = np.linspace(1, 0.1, 1000)
    (ax,) = drawn(history(loss=values, val_loss=values).plot())
    assert ax.lines[0].get_markevery() == []
    ticks = [tick for tick in ax.get_xticks() if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]]
    assert 3 <= len(ticks) <= 11
    assert 0 not in ticks  # there is no epoch 0
    assert all(tick == int(tick) for tick in ticks)


def test_history_leaves_out_what_is_not_finite_and_says_so():
    (ax,) = drawn(history(loss=[1, np.nan, 3, np.inf], val_loss=[np.nan, 2, 1, np.nan]).plot())
    assert ax.get_title() == "Loss by epoch\n4 of 8 values not finite, left out"
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, np.nan, 3, np.nan])
    assert legend(ax)[-1] == "best: epoch 3, 1"


def test_history_of_nothing_but_nan_is_drawn():
    loss, rate = drawn(history(loss=[np.nan], val_loss=[np.nan], learning_rate=[0.0]).plot())
    assert legend(loss) == ["training", "validation"]
    assert rate.get_title() == "Learning rate by epoch\n1 of 1 values not above 0, left out"


def test_a_single_point_between_gaps_in_a_long_history_is_seen():
    values = np.ones(100)
    values[[49, 51]] = np.nan
    (ax,) = history(loss=values).plot()
    assert ax.lines[0].get_markevery() == [50]


def test_history_draws_values_at_the_epochs_they_came_in():
    kept = History()
    for epoch in range(6):
        logs = {"loss": 1.0} | ({"val_loss": 2.0} if epoch % 3 == 2 else {})
        kept.add(epoch, logs, 0.1)
    (ax,) = kept.plot()
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [3, 6])


def test_history_goes_on_counting_in_a_second_fit_and_from_initial_epoch():
    kept = History()
    for epoch in (5, 6, 0, 1):
        kept.add(epoch, {"loss": 1.0}, 0.1)
    np.testing.assert_array_equal(kept.plot()[0].lines[0].get_xdata(), [6, 7, 8, 9])


def test_history_of_fit_is_drawn(blobs, classifier):
    kept = classifier.fit(*blobs, epochs=2, validation_split=0.5, verbose=0)
    loss, accuracy = drawn(kept.plot())
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), kept.history["loss"])
    np.testing.assert_array_equal(accuracy.lines[1].get_ydata(), kept.history["val_accuracy"])


def test_history_draws_chosen_metrics_in_given_axes():
    figure = Figure()
    given = figure.subplots(1, 2)
    axes = history(**FULL).plot(["accuracy", "val_loss"], ax=given)
    assert list(axes) == list(given)
    assert [ax.get_ylabel() for ax in axes] == ["loss", "accuracy"]


def test_a_single_axes_is_divided_up():
    ax = Figure().subplots()
    axes = drawn(history(**FULL).plot(ax=ax))
    assert list(axes) == ax.child_axes
    assert len(axes) == 3
    assert not ax.axison


def test_panels_and_axes_must_be_as_many():
    with pytest.raises(
        ValueError, match=r"there are 3 panels, one for each of loss, accuracy, learning_rate, but ax has"
    ):
        history(**FULL).plot(ax=Figure().subplots(1, 2))


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metric 'acuracy' is unknown; did you mean 'accuracy'"):
        history(**FULL).plot("acuracy")
    with pytest.raises(ValueError, match="metrics is empty; leave it out for all, or choose from"):
        history(**FULL).plot([])


def test_a_history_without_epochs_is_refused():
    with pytest.raises(ValueError, match="holds no epoch"):
        History().plot()


# ------------------------------------------------------------------ confusion matrix


def test_a_model_is_asked_for_its_classes():
    model = net(Dense(3, activation="softmax"), inputs=(3,))
    model.set_weights([np.eye(3) * 5, np.zeros(3)])
    ax = drawn(plotting.confusion_matrix(model, np.eye(3)[[0, 0, 1, 2]], [0, 1, 1, 0], labels=["a", "b", "c"]))
    assert texts(ax) == ["1\n50 %", "0", "1\n50 %", "1\n50 %", "1\n50 %", "0", "0", "0", "0"]
    assert tick_labels(ax.xaxis) == tick_labels(ax.yaxis) == ["a", "b", "c"]
    assert ax.get_title() == "2 of 4 right (50.00 %)"


def test_a_single_sigmoid_unit_tells_two_classes():
    model = net(Dense(1, activation="sigmoid"), inputs=(1,))
    model.set_weights([[[1.0]], [0.0]])
    ax = plotting.confusion_matrix(model, [[-1.0], [2.0], [0.0]], [0, 1, 0])
    assert texts(ax) == ["2\n100 %", "0", "0", "1\n100 %"]  # one half is not above one half


def test_a_matrix_of_counts_is_drawn_as_it_is():
    ax = drawn(plotting.confusion_matrix(np.array([[3, 1], [0, 0]])))
    assert texts(ax) == ["3\n75 %", "1\n25 %", "0", "0"]


@pytest.mark.parametrize(
    ("normalize", "expected", "whole"),
    [("true", ["75 %", "25 %", "0", "100 %"], "a row"), ("pred", ["100 %", "33 %", "0", "67 %"], "a column"),
     ("all", ["50 %", "17 %", "0", "33 %"], "all samples")],
)  # fmt: skip
def test_shares_are_of_the_row_the_column_or_all(normalize, expected, whole):
    ax = drawn(plotting.confusion_matrix([[3, 1], [0, 2]], normalize=normalize))
    assert texts(ax) == expected
    assert ax.get_ylabel() == f"true class (100 % is {whole})"


def test_one_class_is_a_matrix():
    assert texts(drawn(plotting.confusion_matrix([[7]]))) == ["7\n100 %"]


def test_twenty_classes_have_counts_but_no_room_for_shares():
    ax = drawn(plotting.confusion_matrix(np.diag(np.full(20, 900))))
    assert texts(ax)[0] == "900"
    assert len(texts(ax)) == 400


def test_thirty_classes_have_colours_under_scales_and_no_numbers():
    names = [f"class {i}" for i in range(30)]
    ax = drawn(plotting.confusion_matrix(np.full((30, 30), 10), labels=names))
    assert texts(ax) == []
    assert tick_labels(ax.yaxis) == names
    bars = [other.get_ylabel() for other in ax.figure.axes if other is not ax]
    assert bars == ["share of a row, hits", "share of a row, errors"]


def test_a_small_axes_has_no_numbers_and_gets_no_scales():
    figure = Figure(figsize=(4, 4))
    ax = figure.subplots(3, 3)[0, 0]
    assert texts(plotting.confusion_matrix(np.full((10, 10), 10), ax=ax)) == []
    assert len(figure.axes) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]],), r"shape \(classes, classes\), got \(1, 2\)"),
        (([[0.5, 0.5], [0, 1]],), "the matrix holds 0.5 but counts are 0, 1, 2"),
        (([[-1, 0], [0, 1]],), "the matrix holds -1 but counts"),
        (([[np.nan, 0], [0, 1]],), "the matrix holds nan but counts"),
        (([[1, 0], [0, 1]], None, None, ["a"]), "the matrix has 2 classes but labels has 1 names"),
        (([[1, 0], [0, 1]], None, None, None, "rows"), "normalize 'rows' is unknown.*Known: all, pred, true"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plotting.confusion_matrix(*arguments)


def test_a_model_needs_samples_and_classes_that_it_knows():
    model = net(Dense(2, activation="softmax"))
    with pytest.raises(ValueError, match=r"confusion_matrix\(model, x, y\)"):
        plotting.confusion_matrix(model, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="y holds class 2 but the model tells 2 classes, 0 to 1"):
        plotting.confusion_matrix(model, np.zeros((1, 4)), [2])
    with pytest.raises(ValueError, match="the model tells 2 classes but labels has 3 names"):
        plotting.confusion_matrix(model, np.zeros((1, 4)), [1], labels="abc")
    with pytest.raises(ValueError, match="y has 2, x has 1"):
        plotting.confusion_matrix(model, np.zeros((1, 4)), [1, 0])
    with pytest.raises(TypeError, match="the first argument must be a model, got list"):
        plotting.confusion_matrix([0], [1], [1])


def test_a_regression_has_no_classes():
    model = net(Dense(1))
    model.set_weights([np.full((4, 1), 2.0), [0.0]])
    with pytest.raises(ValueError, match=r"single unit gives values from 0 to 8, but the probability .*'sigmoid'"):
        plotting.confusion_matrix(model, np.ones((1, 4)), [1])


# ------------------------------------------------------------------ first layer


def test_first_layer_draws_each_unit_in_the_shape_of_the_input():
    model = net(Flatten(), Dense(5), Dense(2), inputs=(3, 4))
    axes = drawn(plotting.first_layer(model))
    assert titles(axes) == ["0", "1", "2", "3", "4"]
    w = model.layers[1].kernel
    for unit, ax in enumerate(axes):
        np.testing.assert_array_equal(ax.images[0].get_array(), w[:, unit].reshape(3, 4))
        assert ax.images[0].get_clim() == (-np.abs(w).max(), np.abs(w).max())  # one scale for all
    assert axes[0].figure.get_suptitle() == f"Weights of layer {model.layers[1].name!r}, 5 units"


@pytest.mark.parametrize(
    ("inputs", "shape", "expected"),
    [((9,), None, (3, 3)), ((12,), (2, 6), (2, 6)), ((3, 4), (4, 3), (4, 3)), ((2, 3, 1), None, (2, 3)),
     ((1,), None, (1, 1))],
)  # fmt: skip
def test_first_layer_finds_or_takes_a_shape(inputs, shape, expected):
    layers = [Dense(1)] if len(inputs) == 1 else [Flatten(), Dense(1)]
    (ax,) = drawn(plotting.first_layer(net(*layers, inputs=inputs), shape))
    assert ax.images[0].get_array().shape == expected


def test_first_layer_without_a_shape_is_refused():
    with pytest.raises(
        ValueError, match=r"has 12 inputs, .* no square image. Pass shape=\(rows, columns\) with .* = 12"
    ):
        plotting.first_layer(net(Dense(2), inputs=(12,)))
    with pytest.raises(ValueError, match=r"shape \(4, 4, 4\), which are no square image"):
        plotting.first_layer(net(Flatten(), Dense(2), inputs=(4, 4, 4)))
    with pytest.raises(ValueError, match=r"shape is \(2, 5\) but the first layer has 12 inputs"):
        plotting.first_layer(net(Dense(2), inputs=(12,)), (2, 5))


def test_first_layer_draws_so_many_units_and_no_more_than_64_unasked():
    model = net(Dense(70))
    assert len(plotting.first_layer(model)) == 64
    axes = drawn(plotting.first_layer(model, count=3))
    assert axes[0].figure.get_suptitle().endswith("first 3 of 70 units")
    assert len(plotting.first_layer(model, count=65)) == 65
    with pytest.raises(ValueError, match=r"count is 71 but layer .* has 70 units"):
        plotting.first_layer(model, count=71)


def test_first_layer_draws_zeros_and_nan():
    model = net(Dense(2))
    model.layers[0].kernel[:] = 0
    assert drawn(plotting.first_layer(model))[0].images[0].get_clim() == (-1, 1)
    model.layers[0].kernel[0] = np.nan
    model.layers[0].kernel[1, 0] = 3
    assert drawn(plotting.first_layer(model))[0].images[0].get_clim() == (-3, 3)


# ------------------------------------------------------------------ activations


def strange_net():
    """Layers: relu with 2 of 3 units dead; sigmoid with 1 of 2 saturated; tanh all saturated; softmax."""
    model = net(
        Dense(3, activation="relu", name="rectified"),
        Dense(2, activation="sigmoid", name="squeezed"),
        Dense(2, activation="tanh", name="stuck"),
        Dense(2, activation="softmax", name="out"),
        inputs=(2,),
    )
    model.set_weights(
        [
            [[1, 0, -1], [0, 1, 0]], [0, -100, -100],  # only the first unit answers
            [[100, 0.1], [0, 0], [0, 0]], [5, 0],
            [[300, 300], [300, 300]], [0, 0],
            [[1, 0], [0, 1]], [0, 0],
        ]
    )  # fmt: skip
    return model


X = np.linspace(0.1, 2, 100)[:, None] * [1, 1]


def test_summary_counts_dead_and_saturated_units():
    rectified, squeezed, stuck, out = plotting.activation_summary(strange_net(), X)
    assert (rectified.layer, rectified.units, rectified.activation) == ("rectified", 3, "relu")
    assert rectified.dead_share == pytest.approx(2 / 3)
    assert rectified.saturated_share == 0
    assert rectified.mean == pytest.approx(X[:, 0].mean() / 3, rel=1e-6)
    assert rectified.std == pytest.approx(np.std(np.c_[X[:, 0], 0 * X]), rel=1e-6)
    assert (squeezed.saturated_share, stuck.saturated_share) == (0.5, 1)
    assert out.saturated_share == 0  # softmax has no limits of its own


def test_a_constant_unit_of_any_activation_is_dead():
    model = net(Dense(4, name="all the same"), inputs=(2,))
    model.set_weights([np.zeros((2, 4)), [1, 2, 3, 4]])
    (summary,) = plotting.activation_summary(model, X)
    assert summary.dead_share == 1
    assert summary.mean == 2.5


def test_a_unit_at_its_limit_for_95_percent_is_not_yet_saturated():
    model = net(Dense(1, activation="sigmoid", use_bias=False), inputs=(1,))
    model.set_weights([[[1.0]]])
    for inner, expected in ((5, 0), (4, 1)):
        x = np.full((100, 1), 10.0)
        x[:inner] = 0
        assert plotting.activation_summary(model, x)[0].saturated_share == expected


def test_units_that_are_not_finite_are_counted_apart():
    model = net(Dense(2, activation="relu"), inputs=(2,))
    model.layer_outputs = lambda x: {model.layers[0].name: np.array([[np.nan, 1.0], [0.0, 3.0]])}
    (summary,) = plotting.activation_summary(model, X)
    assert (summary.not_finite_share, summary.dead_share) == (0.5, 0)
    assert summary.mean == pytest.approx(4 / 3)
    (ax,) = drawn(plotting.activation_statistics(model, X))
    assert ax.get_title(loc="right") == "1 of 2 units not finite"
    model.layer_outputs = lambda x: {model.layers[0].name: np.full((2, 2), np.nan)}
    assert titles(drawn(plotting.activation_statistics(model, X)), "right") == ["every unit not finite"]
    assert np.isnan(plotting.activation_summary(model, X)[0].mean)


def test_statistics_say_in_words_what_is_wrong():
    axes = drawn(plotting.activation_statistics(strange_net(), X))
    assert titles(axes, "right")[:3] == [
        "2 of 3 units dead",
        "1 of 2 units saturated",
        "every unit dead, every unit saturated",  # at 1.0 for all samples
    ]
    assert titles(axes, "left")[0] == "rectified (relu, 3 units): mean 0.35, std 0.589"
    for ax, (_, _, out) in zip(axes, plotting.inside._outputs(strange_net(), X)):
        low, high = ax.get_xlim()
        assert low < out.min() <= out.max() < high
        assert len(ax.collections) == 1  # the histogram


def test_a_healthy_layer_is_called_so_and_a_dead_one_is_shaded():
    model = net(Dense(3, activation="tanh"), Dense(3, activation="relu"), Dense(1, activation="relu"))
    model.layers[1].bias[:] = -100
    model.layers[2].bias[:] = 1
    x = RNG.standard_normal((50, 4))
    healthy, dead, constant = drawn(plotting.activation_statistics(model, x))
    assert titles([healthy, dead, constant], "right") == [
        "no unit dead or saturated",
        "every unit dead",
        "the unit dead",
    ]
    assert healthy.get_facecolor() == (1, 1, 1, 1)
    assert dead.get_facecolor() == constant.get_facecolor() != (1, 1, 1, 1)


def test_flatten_is_no_layer_to_look_at():
    model = net(Flatten(), Dense(2), inputs=(2, 2))
    assert [summary.units for summary in plotting.activation_summary(model, RNG.random((3, 2, 2)))] == [2]


def test_a_single_sample_tells_nothing():
    with pytest.raises(ValueError, match=r"x has 1 sample, on which every unit is constant\. Pass at least two"):
        plotting.activation_summary(strange_net(), X[:1])


def test_captions_give_way_to_words_in_a_narrow_axes():
    ax = Figure(figsize=(3, 6)).subplots()
    axes = plotting.activation_statistics(strange_net(), X, ax=ax)
    assert titles(axes, "left")[:2] == ["rectified", "squeezed"]


# ------------------------------------------------------------------ gradients


def bars(ax):
    """Widths of the two kinds of bars, as ends on the axis."""
    return [[bar.get_x() + bar.get_width() for bar in container] for container in ax.containers]


def test_gradient_norms_draw_each_kernels_root_mean_square_and_ratio():
    model = net(Flatten(), Dense(3, activation="tanh", name="first"), Dense(2, activation="softmax", name="last"))
    x, y = RNG.standard_normal((10, 4)), np.arange(10) % 2
    ax = drawn(plotting.gradient_norms(model, x, y))
    assert ax.get_xscale() == "log"
    assert tick_labels(ax.yaxis) == ["first", "last"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first layer on top
    expected = [np.sqrt(np.mean(g[0] ** 2)) for g in model.layer_gradients(x, y).values() if g]
    ratios = [g / np.sqrt(np.mean(layer.kernel**2)) for g, layer in zip(expected, model.layers[1:])]
    np.testing.assert_allclose(bars(ax), [expected, ratios], rtol=1e-5)
    assert texts(ax) == [f"{value:.2g}" for value in expected + ratios]
    assert legend(ax) == ["RMS of the gradient", "its ratio to the RMS of the weights"]


def test_a_gradient_of_zero_or_nan_is_said_so():
    model = net(Dense(3, activation="relu"), Dense(2, activation="softmax"))
    model.layers[0].bias[:] = -100
    x, y = RNG.standard_normal((10, 4)), np.arange(10) % 2
    assert texts(drawn(plotting.gradient_norms(model, x, y))) == ["0: no gradient arrives"] * 2 + ["0"] * 2
    model.layer_gradients = lambda x, y: {model.layers[0].name: [np.full((4, 3), np.nan)]}
    assert texts(drawn(plotting.gradient_norms(model, x, y))) == ["not finite"] * 2
    model.layer_gradients = lambda x, y: {model.layers[0].name: [np.full((4, 3), 0.5)]}
    model.layers[0].kernel[:] = 0
    assert texts(drawn(plotting.gradient_norms(model, x, y))) == ["0.5", "the weights are 0"]


# ------------------------------------------------------------------ decision regions


def halves():
    """A net that parts the plane at feature 0 = 0."""
    model = net(Dense(1, activation="sigmoid"), inputs=(2,))
    model.set_weights([[[4.0], [0.0]], [0.0]])
    return model


def test_a_sigmoid_unit_colours_the_plane_in_two():
    x = [[-1.0, 0.0], [1.0, 10.0]]
    ax = drawn(plotting.decision_regions(halves(), x, [0, 1], resolution=50))
    assert ax.get_xlim() == pytest.approx((-1.2, 1.2))  # a tenth of the extent around the data
    assert ax.get_ylim() == pytest.approx((-1, 11))
    image = ax.images[0].get_array()
    assert image.shape == (50, 50, 3)
    blue, red = image[10, 0], image[10, -1]
    assert blue[2] > blue[0] + 0.2
    assert red[0] > red[2] + 0.2
    saturation = np.ptp(image[10], axis=1)
    assert saturation[0] > saturation[20] > saturation[24]  # pale where the net is unsure
    assert saturation[24] < 0.1
    points = [collection for collection in ax.collections if collection.get_label().startswith("class")]
    assert [collection.get_offsets().tolist() for collection in points] == [[x[0]], [x[1]]]
    assert legend(ax) == ["class 0", "class 1"]


def test_softmax_classes_have_colours_of_their_own():
    model = net(Dense(3, activation="softmax"), inputs=(2,))
    model.set_weights([[[20, -20, 0], [0, 0, 20]], np.zeros(3)])
    x = np.array([[1.0, 0], [-1, 0], [0, 1]])
    ax = drawn(plotting.decision_regions(model, x, np.eye(3)[[0, 1, 2]], resolution=40))
    corners = {tuple(ax.images[0].get_array()[place].round(2)) for place in ((0, 0), (0, -1), (-1, 20))}
    assert len(corners) == 3


def test_logits_are_taken_as_such():
    model = net(Dense(2), inputs=(2,))
    model.set_weights([[[5, -5], [0, 0]], np.zeros(2)])
    twin = net(Dense(2, activation="softmax"), inputs=(2,))
    twin.set_weights(model.get_weights())
    x = [[-1, 0], [1, 1]]
    images = [plotting.decision_regions(m, x, [1, 0], 30).images[0].get_array() for m in (model, twin)]
    np.testing.assert_allclose(*images, atol=1e-6)


def test_a_plane_of_one_class_and_a_feature_without_extent_are_drawn():
    model = net(Dense(1, activation="sigmoid"), inputs=(2,))
    model.set_weights([np.zeros((2, 1)), [3.0]])
    ax = drawn(plotting.decision_regions(model, [[1, 2], [1, 3]], [1, 1]))
    assert ax.get_xlim() == (0.5, 1.5)
    assert legend(ax) == ["class 1"]


def test_thirty_classes_are_told_apart():
    colors = plotting.regions._colors(30)
    looks = {(tuple(colors[i]), plotting.regions._MARKERS[i % 5]) for i in range(30)}
    assert len(looks) == 30


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((5, 3)), np.zeros(5), r"plane of 2 features, .* but it has \(5, 3\). Take two columns, x\[:, :2\]"),
        (np.zeros((0, 2)), np.zeros(0), r"needs shape \(samples, 2\), but it has \(0, 2\)"),
        (np.zeros((5, 2)), np.zeros(4), "x has 5, y has 4"),
        (np.zeros((2, 2)), [0, 2], "y holds class 2 but the model tells 2 classes"),
        ([[0, np.nan]], [0], "x has nan in row 0"),
    ],
)
def test_samples_that_lie_in_no_plane_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        plotting.decision_regions(halves(), x, y)


def test_a_model_of_more_features_is_refused():
    with pytest.raises(ValueError, match=r"built for samples of shape \(4,\); train one on 2 features"):
        plotting.decision_regions(net(Dense(2)), [[0, 0]], [0])


@pytest.mark.parametrize(("resolution", "error"), [(1, ValueError), (2.5, TypeError), (10**6, ValueError)])
def test_a_resolution_that_is_none_is_refused(resolution, error):
    with pytest.raises(error, match="resolution"):
        plotting.decision_regions(halves(), [[0, 0]], [0], resolution)


def test_inputs_are_not_changed():
    x, y = RNG.standard_normal((30, 2)), np.arange(30) % 2
    kept = x.copy(), y.copy()
    plotting.decision_regions(halves(), x, y, 20)
    plotting.confusion_matrix(halves(), x, y)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(y, kept[1])
