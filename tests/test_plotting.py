import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from fastmlp import plotting

X = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
Y = np.array([3, 1, 4, 1, 5, 9])


def texts(ax):
    return [text.get_text() for text in ax.texts]


def drawn(figure):
    """Draw for real: layout problems and missing glyphs are warnings, and warnings are errors."""
    figure.canvas.draw()
    return figure


def test_importing_fastmlp_does_not_import_matplotlib():
    code = "import sys, fastmlp, fastmlp.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_figures_leave_pyplot_alone():
    code = (
        "import sys; from fastmlp import plotting; plotting.confusion_matrix([0, 1], [0, 1]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sample_digits_draws_each_image_under_its_label():
    figure = drawn(plotting.sample_digits(X, Y, rows=2, columns=2))
    assert [ax.get_title() for ax in figure.axes] == ["3", "1", "4", "1"]
    for ax, image in zip(figure.axes, X):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)
        assert ax.images[0].get_clim() == (0, X[:4].max())  # one scale for all


def test_sample_digits_shows_what_there_is():
    assert len(drawn(plotting.sample_digits(X, Y)).axes) == 6


def test_sample_digits_draws_blank_images():
    assert len(drawn(plotting.sample_digits(np.zeros((2, 4, 4)), [0, 1])).axes) == 2


def test_sample_digits_takes_one_hot_labels():
    figure = plotting.sample_digits(X, np.eye(10)[Y])
    assert [ax.get_title() for ax in figure.axes] == ["3", "1", "4", "1", "5", "9"]


def test_sample_digits_draws_into_a_given_subfigure():
    whole = Figure()
    left, _ = whole.subfigures(1, 2)
    assert plotting.sample_digits(X, Y, figure=left) is whole
    assert len(left.axes) == 6


def test_flat_images_are_refused():
    with pytest.raises(ValueError, match=r"x has shape \(6, 16\) but images have shape .*reshape\(-1, 28, 28\)"):
        plotting.sample_digits(X.reshape(6, -1), Y)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="x has 6, y has 5"):
        plotting.sample_digits(X, Y[:5])


def test_activation_functions_draws_six_named_curves():
    figure = drawn(plotting.activation_functions())
    names = ["linear", "step", "sigmoid", "tanh", "relu", "softmax of (z, 0)"]
    assert [ax.get_title() for ax in figure.axes] == names
    lines = {ax.get_title(): [line for line in ax.lines if len(line.get_xdata()) > 2] for ax in figure.axes}
    z = lines["linear"][0].get_xdata()
    np.testing.assert_array_equal(lines["linear"][0].get_ydata(), z)
    np.testing.assert_array_equal(lines["step"][0].get_ydata(), z > 0)
    np.testing.assert_array_equal(lines["relu"][0].get_ydata(), np.maximum(z, 0))
    np.testing.assert_allclose(lines["sigmoid"][0].get_ydata(), 1 / (1 + np.exp(-z)), rtol=1e-5)
    np.testing.assert_allclose(lines["tanh"][0].get_ydata(), np.tanh(z), rtol=1e-5, atol=1e-7)


def test_softmax_panel_shows_two_shares_that_sum_to_one():
    ax = plotting.activation_functions().axes[-1]
    first, second = (line.get_ydata() for line in ax.lines if len(line.get_xdata()) > 2)
    np.testing.assert_allclose(first + second, 1, rtol=1e-6)
    assert texts(ax) == ["share of z", "share of 0"]


HISTORY = {"accuracy": [0.3, 0.5], "loss": [2.0, 1.5], "val_accuracy": [0.4, 0.6], "val_loss": [1.9, 1.4]}


def test_training_curves_show_loss_and_accuracy_from_epoch_one():
    figure = drawn(plotting.training_curves(HISTORY))
    loss, accuracy = figure.axes
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["epoch", "epoch"]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), [1, 2])
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), HISTORY["val_loss"])
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), HISTORY["accuracy"])


def test_training_curves_take_a_history_object_and_its_epochs():
    class History:
        history = HISTORY
        epoch = (5, 6)

    loss, _ = plotting.training_curves(History()).axes
    np.testing.assert_array_equal(loss.lines[0].get_xdata(), [6, 7])


def test_training_curves_without_validation_or_metrics_have_one_line():
    (ax,) = drawn(plotting.training_curves({"loss": [3.0], "learning_rate": [0.1]})).axes
    assert len(ax.lines) == 1
    assert ax.get_legend() is None


def test_training_curves_without_a_loss_are_refused():
    with pytest.raises(ValueError, match=r"needs the loss of at least one epoch but got \['accuracy'\]"):
        plotting.training_curves({"accuracy": [0.1]})


def test_confusion_matrix_writes_count_and_share_of_the_row():
    ax = plotting.confusion_matrix([0, 0, 0, 1, 2], [0, 0, 1, 1, 0])
    assert drawn(ax.figure).axes == [ax]
    assert texts(ax) == ["2\n67 %", "1\n33 %", "0", "0", "1\n100 %", "0", "1\n100 %", "0", "0"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class (100 % is a row)")
    assert ax.get_title() == "3 of 5 right (60.00 %)"


def test_confusion_matrix_colours_errors_on_their_own_scale():
    true, predicted = np.repeat([0, 1], 100), np.repeat([0, 1], 100)
    predicted[0] = 1  # one error in two hundred
    hits, errors = plotting.confusion_matrix(true, predicted).images
    assert errors.get_array()[0, 1] == 0.01
    assert errors.norm(0.01) > 0.5
    assert hits.get_array().mask.tolist() == [[False, True], [True, False]]


def test_confusion_matrix_takes_probabilities_and_class_names():
    ax = plotting.confusion_matrix([[1], [0]], [[0.2, 0.8], [0.9, 0.1]], labels=["cat", "horse"])
    drawn(ax.figure)
    assert texts(ax) == ["1\n100 %", "0", "0", "1\n100 %"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "horse"]


def test_confusion_matrix_draws_into_a_given_axes():
    ax = Figure().subplots()
    assert plotting.confusion_matrix([0, 1], [0, 1], ax=ax) is ax
    assert len(ax.images) == 2


def test_a_class_without_a_name_is_refused():
    with pytest.raises(ValueError, match="classes go up to 2 but labels has 2 names"):
        plotting.confusion_matrix([0, 2], [0, 1], labels=["a", "b"])


@pytest.mark.parametrize("labels", [[0, -1], [0.5, 1.0]])
def test_labels_that_are_no_indices_are_refused(labels):
    with pytest.raises(ValueError, match=r"y_true holds .* but class indices are 0, 1, 2"):
        plotting.confusion_matrix(labels, [0, 1])


def test_confident_mistakes_come_surest_first():
    probabilities = np.full((6, 10), 0.01)
    for row, (predicted, share) in enumerate([(3, 0.9), (7, 0.6), (2, 0.9999), (1, 0.5), (6, 0.8), (9, 1.0)]):
        probabilities[row, predicted] = share
    figure = drawn(plotting.confident_mistakes(X, Y, probabilities, count=2))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["true 4, predicted 2\n99.9 %", "true 5, predicted 6\n80.0 %"]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), X[2])
    assert figure.get_suptitle() == "The 2 surest of 3 mistakes in 6 samples"


def test_no_mistake_is_said_so():
    figure = drawn(plotting.confident_mistakes(X, Y, np.eye(10)[Y]))
    assert figure.axes == []
    assert figure.get_suptitle() == "No mistakes in 6 samples"


def test_class_indices_are_no_probabilities():
    with pytest.raises(ValueError, match=r"probabilities has shape \(6,\) but needs shape \(samples, classes\)"):
        plotting.confident_mistakes(X, Y, Y)
