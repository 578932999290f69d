"""What notebooks show: tables of models and histories, and progress in one line."""

import math
import sys
import types
from html.parser import HTMLParser

import numpy as np
import pytest

import fastmlp
from fastmlp import layers, notebook
from fastmlp.callbacks import EarlyStopping, History
from fastmlp.progress import Progress

EVIL = "<img src=x onerror='alert(1)'>\"&"


class Page(HTMLParser):
    """Tags and texts of a page, whose tags must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)

    def count(self, tag):
        return sum(tag == name for name, _ in self.tags)


def history_of(**values):
    history = History()
    for epoch in range(max(map(len, values.values()))):
        logs = {name: v[epoch] for name, v in values.items() if epoch < len(v)}
        history.add(epoch, logs, seconds=0.5)
    return history


# ------------------------------------------------------------------ models


def test_model_is_a_table_of_its_layers(classifier):
    page = Page(classifier._repr_html_())
    assert page.count("tr") == 3
    first = classifier.layers[0].name
    at = page.texts.index(first)
    assert page.texts[at : at + 5] == [first, "Dense", "sigmoid", "(None, 8)", "48"]
    assert "75 parameters, float32 · SGD on sparse_categorical_crossentropy" in page.texts


def test_model_without_weights_says_so():
    page = Page(fastmlp.Sequential([layers.Dense(3)])._repr_html_())
    assert any("not built" in text for text in page.texts)


def test_empty_model_has_a_table():
    assert Page(fastmlp.Sequential()._repr_html_()).count("tr") == 1


def test_frozen_layers_are_told():
    model = fastmlp.Sequential([layers.Input((3,)), layers.Dense(2, trainable=False), layers.Dense(1)])
    page = Page(model._repr_html_())
    assert "(frozen)" in page.texts
    assert "11 parameters, float32, 8 of them not trained" in page.texts


def test_names_are_texts_whatever_they_hold():
    model = fastmlp.Sequential([layers.Input((3,)), layers.Dense(2, name=EVIL)], name=EVIL)
    page = Page(model._repr_html_())
    assert page.count("img") == 0
    assert page.texts.count(EVIL) == 2


# ------------------------------------------------------------------ histories


def test_history_is_a_table_with_curves():
    history = history_of(loss=[3.0, 2.0, 1.0], val_loss=[3.5, 1.5, 2.5], learning_rate=[0.1, 0.1, 0.1])
    page = Page(history._repr_html_())
    at = page.texts.index("loss")
    assert page.texts[at : at + 4] == ["loss", "1", "2.5", "1.5 (2)"]
    assert page.texts[page.texts.index("learning_rate") + 1] == "0.1"
    assert page.count("polyline") == 3
    assert "3 epochs in 1.5 s" in page.texts


def test_history_without_validation_has_no_column_of_it():
    assert "Validation" not in Page(history_of(loss=[2.0, 1.0])._repr_html_()).texts


def test_curves_stay_within_their_picture():
    page = Page(history_of(loss=[1e30, -5.0, math.nan, math.inf, 3.0])._repr_html_())
    (points,) = [attributes["points"] for tag, attributes in page.tags if tag == "polyline"]
    places = np.array([point.split(",") for point in points.split()], float)
    assert places.shape == (3, 2)
    assert places.min() >= 0
    assert (places <= [150, 30]).all()


def test_one_epoch_is_a_dot_and_none_is_said():
    assert Page(history_of(loss=[2.0])._repr_html_()).count("circle") == 1
    assert "no epoch yet" in Page(History()._repr_html_()).texts


def test_values_that_are_not_finite_have_no_curve():
    page = Page(history_of(loss=[math.nan, math.nan])._repr_html_())
    assert "nan" in page.texts
    assert page.count("svg") == 0


def test_matrices_are_left_out():
    history = history_of(loss=[2.0, 1.0])
    history.history["matrix"] = [np.eye(2), np.eye(2)]
    assert "matrix" not in Page(history._repr_html_()).texts


def test_table_of_many_epochs_stays_small():
    assert len(history_of(loss=list(np.random.default_rng(0).random(20000)))._repr_html_()) < 5000


def test_names_of_metrics_are_texts_whatever_they_hold():
    page = Page(history_of(loss=[1.0], **{EVIL: [1.0]})._repr_html_())
    assert page.count("img") == 0
    assert EVIL in page.texts


# ------------------------------------------------------------------ progress


@pytest.fixture
def page(monkeypatch):
    """A notebook's page: the texts shown, and how many lines there are."""

    class ZMQInteractiveShell:
        pass

    shown = types.SimpleNamespace(texts=[], lines=0)

    class Handle:
        def update(self, content, raw):
            shown.texts.append(content["text/plain"])

    def display(content, raw, display_id):
        shown.lines += 1
        shown.texts.append(content["text/plain"])
        return Handle()

    module = types.ModuleType("IPython")
    module.get_ipython = ZMQInteractiveShell
    module.display = types.SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", module)
    return shown


def test_only_a_kernels_shell_is_a_notebook(page, monkeypatch):
    assert notebook.is_notebook()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert not notebook.is_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.is_notebook()


def test_training_shows_one_line_that_ends_with_the_last_epoch(page, blobs, classifier, capsys):
    history = classifier.fit(*blobs, epochs=50, validation_split=0.2)
    assert page.lines == 1
    assert capsys.readouterr().out == ""
    assert page.texts[-1].startswith("Epoch 50/50  3/3 ━━━━━━━━━━━━━━━━━━━━ ")
    assert page.texts[-1].endswith(f"- val_loss: {history.history['val_loss'][-1]:.4f}")


def test_page_is_changed_ten_times_a_second_at_most(page, monkeypatch):
    from fastmlp import progress

    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    bar = Progress(1, 100, 10)
    for epoch in range(100):
        bar.begin(epoch)
        for step in range(10):
            now[0] += 0.001
            bar.update(step + 1, {"loss": 1.0})
        bar.end({"loss": 1.0})
    assert len(page.texts) == 11
    assert page.texts[-1].startswith("Epoch 100/100")


def test_training_that_stops_early_shows_its_last_epoch(page, blobs, classifier):
    stop = EarlyStopping(monitor="loss", min_delta=100, patience=2)
    classifier.fit(*blobs, epochs=50, callbacks=[stop])
    assert page.texts[-1].startswith("Epoch 3/50")


def test_evaluation_shows_one_line(page, blobs, classifier):
    classifier.evaluate(*blobs)
    assert page.lines == 1
    assert page.texts[-1].startswith("4/4 ━━━━━━━━━━━━━━━━━━━━ ")


def test_two_is_a_line_for_each_epoch_and_zero_is_nothing(page, blobs, classifier, capsys):
    classifier.fit(*blobs, epochs=3, verbose=2)
    assert capsys.readouterr().out.count("Epoch") == 3
    classifier.fit(*blobs, epochs=3, verbose=0)
    assert capsys.readouterr().out == ""
    assert page.lines == 0
