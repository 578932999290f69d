"""The page about a model: its content, and in a browser what it does."""

import base64
import hashlib
import html.parser
import itertools
import os
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

import fastmlp
from fastmlp import layers
from fastmlp.reporting import charts, draw_page, results

VOID = {"meta", "img", "br", "hr"}


class Page(html.parser.HTMLParser):
    """Elements of a page as (tag, attributes), its text, and whether what is opened is closed."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self._open = [], "", []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        self.text += data if self._open and self._open[-1] not in ("style", "script") else ""

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def digits(n=60, seed=0):
    """Pictures (n, 28, 28) of noise with an empty border, and a class for each."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, 28, 28), np.uint8)
    x[:, 4:24, 4:24] = rng.integers(0, 256, (n, 20, 20))
    return x, np.resize(np.arange(10), n)


def digit_net(activation="softmax", units=10):
    model = fastmlp.Sequential(
        [
            layers.Input((28, 28)),
            layers.Flatten(),
            layers.Rescaling(1 / 255),
            layers.Dense(16, activation="relu"),
            layers.Dense(units, activation=activation),
        ],
        name="net",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def rows_net(units, activation, loss, inputs=5):
    model = fastmlp.Sequential([layers.Input((inputs,)), layers.Dense(units, activation=activation)])
    model.compile("adam", loss)
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report on pictures, and its model."""
    fastmlp.utils.set_random_seed(3)
    path, model, (x, y) = tmp_path_factory.mktemp("report") / "report.html", digit_net(), digits()
    history = model.fit(x, y, epochs=3, validation_split=0.2, verbose=0)
    fastmlp.report(model, history, x, y, path, title="Digits & <more>")
    return path, model


def report_of(tmp_path, model, x, y, history=None, **options):
    fastmlp.report(model, history, x, y, tmp_path / "report.html", **options)
    return Page((tmp_path / "report.html").read_text("utf-8"))


# ---------------------------------------------------------------------------------------------- the file


def test_page_is_well_formed_and_loads_nothing(written):
    source = written[0].read_text("utf-8")
    page = Page(source)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"https?:|url\(|@import|//cdn", source)
    (policy,) = (one["content"] for one in page.all("meta") if "http-equiv" in one)
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy  # default-src stands for it


def test_policy_lets_only_the_pages_own_script_run(written):
    source = written[0].read_text("utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in source


def test_page_without_canvas_has_no_script(tmp_path, blobs, classifier):
    page = report_of(tmp_path, classifier, *blobs)
    assert page.all("script", "canvas") == []
    assert "script-src 'none'" in (tmp_path / "report.html").read_text("utf-8")


def test_page_is_accessible(written):
    page = Page(written[0].read_text("utf-8"))
    assert page.all("html")[0]["lang"] == "en"
    assert all("alt" in image for image in page.all("img"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in page.all("svg"))
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = [link["href"][1:] for link in page.all("a")]
    used += [a[key] for _, a in page.elements for key in ("aria-labelledby", "aria-describedby") if key in a]
    assert set(used) <= set(ids)


def test_page_of_pictures_has_all_parts(written):
    page = Page(written[0].read_text("utf-8"))
    for words in ("Loss by epoch", "Accuracy by epoch", "Confusion matrix", "Precision", "surest of", "look for"):
        assert words in page.text
    for words in ("How it was compiled", "Adam (learning_rate=0.001)", "An epoch", "numba", "28 × 28 inputs"):
        assert words in page.text
    weights = [image for image in page.all("img") if image["alt"].startswith("Weights of unit")]
    assert len(weights) == 16
    assert len([image for image in page.all("img") if image["alt"].startswith("Sample ")]) == 20


def test_report_of_the_tutorials_net_on_ten_thousand_samples_is_small(tmp_path):
    model, (x, y) = digit_net(), digits(10_000)
    fastmlp.report(model, None, x, y, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 400_000


def test_names_from_outside_are_escaped(tmp_path):
    bad = '</script><script>alert("1")</script><b>\'&'
    model, (x, y) = digit_net(), digits()
    model.layers[2].name = bad
    page = report_of(tmp_path, model, x, y, {"loss": [1.0], bad: [2.0]}, labels=[bad] * 10, title=bad)
    assert len(page.all("script")) == 2  # the form's data, and the page's own
    assert page.text.count(bad) >= 10


def test_page_takes_the_place_of_an_older_one_and_leaves_nothing_beside_it(tmp_path, blobs, classifier):
    (tmp_path / "report.html").write_text("old")
    report_of(tmp_path, classifier, *blobs)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_data_and_model_stay_as_they_are(tmp_path, blobs, classifier):
    (x, y), weights = blobs, classifier.get_weights()
    before = x.copy(), y.copy()
    report_of(tmp_path, classifier, x, y)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    for now, then in zip(classifier.get_weights(), weights):
        np.testing.assert_array_equal(now, then)


def test_importing_fastmlp_does_not_import_the_report():
    code = (
        "import sys, fastmlp; print('fastmlp.reporting' in sys.modules, 'PIL' in sys.modules, fastmlp.report.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False report\n"


# ---------------------------------------------------------------------------------------------- kinds of models


def test_confusion_matrix_counts_true_classes_in_rows(tmp_path):
    model = rows_net(2, "softmax", "sparse_categorical_crossentropy", inputs=2)
    model.set_weights([np.eye(2) * 9, np.zeros(2)])
    page = report_of(tmp_path, model, np.eye(2)[[0, 0, 0, 1, 1]], [0, 0, 1, 1, 1], labels=["cat", "dog"])
    titles = [cell["title"].replace("\xa0", " ") for cell in page.all("td") if "title" in cell]
    assert titles == ["cat taken for cat: 100 %", "cat taken for dog: 0.0 %",
                      "dog taken for cat: 33.3 %", "dog taken for dog: 66.6 %"]  # fmt: skip


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", None])
@pytest.mark.parametrize("one_hot", [False, True])
def test_classes_come_as_indices_or_one_hot_whatever_the_loss(loss, one_hot, tmp_path, blobs):
    x, y = blobs
    model = rows_net(3, "softmax", loss or "mse")
    if loss is None:
        model = fastmlp.Sequential([layers.Input((5,)), layers.Dense(3, activation="softmax")])
    page = report_of(tmp_path, model, x, fastmlp.to_categorical(y) if one_hot else y)
    accuracy = (model.predict(x).argmax(axis=1) == y).mean()
    assert f"Mistakes{round(120 * (1 - accuracy))}" in page.text
    assert ("not compiled" in page.text) == (loss is None)


def test_two_classes_have_a_roc_curve_and_thresholds(tmp_path, blobs):
    x, y = blobs
    page = report_of(
        tmp_path, rows_net(1, "sigmoid", "binary_crossentropy"), x, (y == 1)[:, None], labels=["no", "yes"]
    )
    assert "ROC curve, area" in page.text
    assert "Thresholds for “yes”" in page.text


@pytest.mark.parametrize("target", [[0, 1], [-1, 1]])
def test_hinge_tells_two_classes_at_zero(target, blobs):
    x, y = blobs
    model = rows_net(1, "tanh", "hinge")
    found = results.results(model, x, np.array(target)[(y == 1).astype(int)])
    assert (found.kind, found.are_shares) == ("binary", False)
    np.testing.assert_array_equal(found.predicted, model.predict(x)[:, 0] > 0)
    np.testing.assert_array_equal(found.true, y == 1)


@pytest.mark.parametrize(("activation", "from_logits"), [("linear", True), ("log_softmax", False)])
def test_logits_and_logarithms_become_shares(activation, from_logits, blobs):
    x, y = blobs
    loss = fastmlp.losses.SparseCategoricalCrossentropy(from_logits=True) if from_logits else "mse"
    model = rows_net(3, activation, loss)
    found = results.results(model, x, y if from_logits else fastmlp.to_categorical(y))
    assert found.are_shares
    np.testing.assert_allclose(found.shares.sum(axis=1), 1, atol=1e-5)


def test_sparse_samples_give_the_page_of_dense_ones(tmp_path, blobs, classifier):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    x, y = blobs
    x = x * (x > 1)
    pages = [report_of(tmp_path, classifier, samples, y).text for samples in (x, scipy_sparse.csc_matrix(x))]
    of_results = [page[page.index("Right and wrong", 200) : page.index("How it was compiled")] for page in pages]
    assert "surest of" in of_results[0]
    assert of_results[0] == of_results[1]


def test_inputs_have_the_names_of_a_frames_columns(tmp_path, blobs, classifier):
    pandas = pytest.importorskip("pandas")
    x, y = blobs
    report_of(tmp_path, classifier, pandas.DataFrame(x, columns=["a", "size <m²>", "c", "d", "e"]), y)
    assert '<th scope="col">size &lt;m²&gt;</th>' in (tmp_path / "report.html").read_text("utf-8")


def test_an_estimators_network_is_named_where_the_estimator_is_given(tmp_path, blobs, classifier):
    estimator = types.SimpleNamespace(model_=classifier)
    refused(tmp_path, blobs, classifier, TypeError, "its network is model.model_", model=estimator)


def test_numbers_of_an_axis_stay_in_the_picture_and_apart():
    chart = charts.points("t", np.array([3e4, 6e5]), np.array([3e4, 6e5]), x_label="x", y_label="y", diagonal=True)
    ticks = re.findall(r'<text x="([0-9.]+)" y="[0-9.]+" text-anchor="middle">([0-9,]+)</text>', str(chart))
    edges = [(float(x) - 3.4 * len(said), float(x) + 3.4 * len(said)) for x, said in ticks]
    assert len(edges) >= 2
    assert all(right < left for (_, right), (left, _) in itertools.pairwise(edges))
    assert edges[-1][1] <= charts.WIDTH


def test_several_labels_at_once_have_a_row_each(tmp_path, blobs):
    x, y = blobs
    labels = np.stack([y > 0, y > 1, y == 0], axis=1).astype(int)
    page = report_of(tmp_path, rows_net(3, "sigmoid", "binary_crossentropy"), x, labels, labels=["a", "b", "c"])
    assert "Each class against the others" in page.text
    assert "Confusion matrix" not in page.text


def test_regression_shows_errors_of_each_output(tmp_path, blobs):
    x, _ = blobs
    page = report_of(tmp_path, rows_net(2, "linear", "mse"), x, x[:, :2] * 1000, labels=["width", "height"])
    assert "Predicted against true of width" in page.text
    assert "How often which error occurs of height" in page.text
    assert "The 12 largest errors in 120 samples" in page.text


def test_many_classes_have_a_picture_of_the_matrix(tmp_path):
    rng = np.random.default_rng(0)
    page = report_of(tmp_path, rows_net(40, "softmax", "sparse_categorical_crossentropy"),
                     rng.normal(size=(80, 5)), rng.integers(0, 40, 80))  # fmt: skip
    assert any(image["alt"].startswith("Confusion matrix") for image in page.all("img"))
    assert "The most frequent mistakes" in page.text


def test_flat_rows_are_pictures_where_said(tmp_path):
    model = fastmlp.Sequential([layers.Input((784,)), layers.Dense(10, activation="softmax")])
    x, y = digits()
    assert report_of(tmp_path, model, x.reshape(-1, 784), y).all("canvas") == []
    page = report_of(tmp_path, model, x.reshape(-1, 784), y, image_shape=(28, 28))
    assert len(page.all("canvas")) == 2


@pytest.mark.parametrize("history", [None, {}, {"loss": [0.5, float("nan")], "val_loss": [1, 2]}])
def test_history_may_be_missing_or_a_dictionary(history, tmp_path, blobs, classifier):
    page = report_of(tmp_path, classifier, *blobs, history)
    assert ("Loss by epoch" in page.text) == bool(history)


def test_metrics_of_each_class_for_itself_are_no_curve(tmp_path, blobs):
    model = rows_net(3, "softmax", "categorical_crossentropy")
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy", "ConfusionMatrix"])
    history = model.fit(blobs[0], fastmlp.to_categorical(blobs[1]), epochs=2, verbose=0)
    charts = report_of(tmp_path, model, *blobs, history).all("svg")
    assert [chart["aria-label"].split(":")[0] for chart in charts] == ["Loss by epoch", "Accuracy by epoch"]


def test_one_sample_and_constant_values_are_enough(tmp_path):
    page = report_of(tmp_path, rows_net(1, "linear", "mse"), np.zeros((1, 5)), [2.0])
    assert "Predicted against true" in page.text


def test_canvas_is_left_out_of_networks_that_make_a_large_page(tmp_path):
    model, (x, y) = digit_net(), digits()
    large = fastmlp.Sequential([layers.Input((28, 28)), layers.Flatten(), layers.Dense(900), layers.Dense(10)])
    assert report_of(tmp_path, large, x, y).all("canvas") == []
    assert len(report_of(tmp_path, large, x, y, draw=True).all("canvas")) == 2
    assert report_of(tmp_path, model, x, y, draw=False).all("canvas") == []


# ---------------------------------------------------------------------------------------------- numbers


def test_precision_recall_and_f1_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    wanted = np.transpose(metrics.precision_recall_fscore_support(true, predicted))
    found = [[row.precision, row.recall, row.f1, row.support] for row in results.class_rows(true, predicted, 4)]
    np.testing.assert_allclose(found, wanted)


def test_area_below_the_roc_curve_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true, score = rng.integers(0, 2, 500), rng.integers(0, 20, 500) / 20  # many equal scores
    assert results.roc(true, score)[2] == pytest.approx(metrics.roc_auc_score(true, score), abs=1e-12)


def test_errors_of_values_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true = rng.normal(size=(50, 2))
    predicted = true + rng.normal(size=(50, 2))
    for j, row in enumerate(results.value_rows(true, predicted)):
        assert row.r2 == pytest.approx(metrics.r2_score(true[:, j], predicted[:, j]))
        assert row.mae == pytest.approx(metrics.mean_absolute_error(true[:, j], predicted[:, j]))
        assert row.largest == pytest.approx(metrics.max_error(true[:, j], predicted[:, j]))


def test_scores_are_those_of_evaluate(blobs, classifier):
    found = results.results(classifier, *blobs)
    wanted = classifier.evaluate(*blobs, verbose=0, return_dict=True)
    assert found.scores == pytest.approx(wanted)
    assert found.accuracy == pytest.approx(wanted["accuracy"])


# ---------------------------------------------------------------------------------------------- bad input


def refused(tmp_path, blobs, classifier, error, words, **changed):
    x, y = blobs
    given = {"model": classifier, "history": None, "x": x, "y": y, "path": tmp_path / "report.html"} | changed
    with pytest.raises(error, match=words):
        fastmlp.report(**given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words", "changed"),
    [
        (TypeError, "expected a fastmlp.Sequential, got 3", {"model": 3}),
        (RuntimeError, "has no weights yet", {"model": fastmlp.Sequential([layers.Dense(3)])}),
        (ValueError, r"x has shape \(4, 6\) but the model was built for .* shape \(5,\)", {"x": np.ones((4, 6))}),
        (ValueError, "x has 120 samples but y has 3 targets", {"y": [0, 1, 2]}),
        (ValueError, "y has the label 7 in row 0, but the last layer has 3 units", {"y": np.full(120, 7)}),
        (ValueError, r"y has shape \(120, 4\)", {"y": np.zeros((120, 4))}),
        (TypeError, "y holds strings .* makes class indices of names", {"y": ["a"] * 120}),
        (TypeError, "history must be what fit returned, or its dictionary", {"history": [1, 2]}),
        (TypeError, "history must be what fit returned, or its dictionary", {"history": {"loss": 3}}),
        (ValueError, "labels must be a list of 3 names, one for each of .*, got 2 names", {"labels": ["a", "b"]}),
        (ValueError, "labels must be a list of 3 names, .* got 'abc'", {"labels": "abc"}),
        (ValueError, "feature_names must be a list of 5 names, .* got 2 names", {"feature_names": ["a", "b"]}),
        (ValueError, r"image_shape is \(2, 2\) but samples have shape \(5,\)", {"image_shape": (2, 2)}),
        (ValueError, "draw=True needs samples that are pictures", {"draw": True}),
        (ValueError, "path must end in .html, got 'report.pdf'", {"path": "report.pdf"}),
        (TypeError, "path must be a str", {"path": b"report.html"}),
        (FileNotFoundError, "the folder .*nowhere doesn't exist; make it first", {"path": "nowhere/report.html"}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(error, words, changed, tmp_path, blobs, classifier):
    refused(tmp_path, blobs, classifier, error, words, **changed)


def test_a_model_that_predicts_nan_is_refused(tmp_path, blobs, classifier):
    classifier.set_weights([w * np.nan for w in classifier.get_weights()])
    refused(tmp_path, blobs, classifier, ValueError, r"the model predicts \[nan, nan, nan\] for row 0 of x")


def test_a_folder_is_no_page(tmp_path, blobs, classifier):
    (tmp_path / "a.html").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; give the path of a file in it"):
        fastmlp.report(classifier, None, *blobs, tmp_path / "a.html")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("x needs y", {"x": digits()[0]}),
        ("y says what the samples x are", {"y": digits()[1]}),
        ("labels must be a list of 10 names", {"labels": ["a"]}),
        ("image_shape is", {"image_shape": (2, 3)}),
    ],
)
def test_draw_page_refuses_what_does_not_fit(words, options, tmp_path):
    with pytest.raises(ValueError, match=words):
        draw_page(digit_net(), tmp_path / "draw.html", **options)


def test_draw_page_needs_pictures(tmp_path, classifier):
    with pytest.raises(ValueError, match=r"samples have shape \(5,\), which is no picture; give image_shape"):
        draw_page(classifier, tmp_path / "draw.html")


# ---------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; the tests are skipped without it unless FASTMLP_BROWSER is "required"."""
    required = os.environ.get("FASTMLP_BROWSER") == "required"
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        webdriver = None
    if None in (binary, driver, webdriver):
        say = pytest.fail if required else pytest.skip
        say("needs chromium, chromedriver and selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.add_argument("--window-size=1000,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


def opened(browser, path):
    browser.get(path.as_uri())
    return browser


def stroke(browser, points, kind="mouse"):
    """One stroke over the canvas, points in 28ths of its side."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput
    from selenium.webdriver.common.by import By

    canvas = browser.find_element(By.ID, "draw-canvas")
    ActionChains(browser, duration=0).scroll_to_element(canvas).perform()
    side = canvas.size["width"]
    builder = ActionBuilder(browser, mouse=PointerInput(kind, kind), duration=10)
    pointer = builder.pointer_action
    for i, (x, y) in enumerate(points):
        pointer.move_to(canvas, round((x / 28 - 0.5) * side), round((y / 28 - 0.5) * side))
        if i == 0:
            pointer.pointer_down()
    pointer.pointer_up()
    builder.perform()


def picture(browser):
    return np.array(browser.execute_script("return drawing.picture()"))


def shown(browser):
    """The percentages at the bars, as shares; None where nothing stands."""
    texts = browser.execute_script(
        "return [...document.querySelectorAll('#draw-bars .share')].map((e) => e.textContent)"
    )
    return [float(said.replace("%", "")) / 100 if said else None for said in texts]


ZERO = [(14 + 6 * np.sin(t), 14 - 8 * np.cos(t)) for t in np.linspace(0, 2 * np.pi, 20)]
STROKES = {"1": [(14, 5), (13, 23)], "7": [(8, 6), (20, 6), (13, 23)], "0": ZERO}


def test_report_opens_without_errors_and_is_not_blank(browser, written):
    opened(browser, written[0])
    assert browser.get_log("browser") == []
    assert browser.title == "Digits & <more>"
    Image = pytest.importorskip("PIL.Image")
    import io

    shot = np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L"))
    assert shot.std() > 10


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_page_is_as_wide_as_the_screen(width, browser, written):
    opened(browser, written[0])
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    found = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert found == width


def test_what_is_drawn_is_predicted_as_the_model_does(browser, written):
    path, model = written
    opened(browser, path)
    seen = []
    for points in STROKES.values():
        browser.execute_script("drawing.clear()")
        assert shown(browser) == [None] * 10
        stroke(browser, points)
        x = picture(browser)
        assert x.dtype.kind == "i"
        wanted = model.predict(x.reshape(1, 28, 28).astype(np.uint8))[0]
        made = browser.execute_script("return drawing.predicted()")
        np.testing.assert_allclose(made, wanted, atol=1e-5)
        assert sum(made) == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(shown(browser), wanted, atol=1.1e-3)
        said = browser.execute_script("return document.getElementById('draw-said').textContent")
        assert said.startswith(f"It reads {wanted.argmax()}: ")
        seen.append(wanted)
    assert np.abs(seen[0] - seen[1]).max() > 0.01
    assert np.abs(seen[1] - seen[2]).max() > 0.01
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("kind", ["mouse", "pen", "touch"])
def test_mouse_pen_and_touch_draw(kind, browser, written):
    opened(browser, written[0])
    stroke(browser, STROKES["7"], kind)
    assert picture(browser).max() == 255


@pytest.mark.parametrize("name", list(STROKES))
def test_drawings_have_the_form_of_mnist(name, browser, written):
    opened(browser, written[0])
    stroke(browser, [(x / 2 + 1, y / 2 + 2) for x, y in STROKES[name]])  # small, and in a corner
    x = picture(browser).reshape(28, 28)
    sides = (x > 0).any(axis=1).sum(), (x > 0).any(axis=0).sum()
    assert max(sides) == 20
    for axis in (0, 1):
        assert (x.sum(axis=1 - axis) * (np.arange(28) + 0.5)).sum() / x.sum() == pytest.approx(14.5, abs=0.51)


def test_keyboard_draws_and_clears(browser, written):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, written[0])
    canvas = browser.find_element(By.ID, "draw-canvas")
    canvas.send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 10, Keys.SPACE, *[Keys.ARROW_RIGHT] * 3)
    drawn = picture(browser).reshape(28, 28)
    assert (drawn > 0).any(axis=1).sum() == 20  # a line downwards, as long as the box
    assert (drawn > 0).any(axis=0).sum() <= 4
    canvas.send_keys(Keys.DELETE)
    assert picture(browser).max() == 0


def test_samples_are_loaded_and_cleared_by_buttons(browser, written):
    from selenium.webdriver.common.by import By

    path, model = written
    opened(browser, path)
    buttons = browser.find_elements(By.CSS_SELECTOR, "#draw [data-sample]")
    assert [button.text for button in buttons] == [str(i) for i in range(10)]
    browser.execute_script("arguments[0].click()", buttons[3])
    x = picture(browser)
    np.testing.assert_array_equal(x.reshape(28, 28), digits()[0][3])
    np.testing.assert_allclose(shown(browser), model.predict(digits()[0][3:4])[0], atol=1.1e-3)
    browser.execute_script("arguments[0].click()", browser.find_element(By.ID, "draw-clear"))
    assert picture(browser).max() == 0


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("linear", fastmlp.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ("log_softmax", "mse"),
        ("sigmoid", "binary_crossentropy"),
    ],
)
def test_every_kind_of_last_layer_shows_its_shares(activation, loss, browser, tmp_path):
    last = layers.Dense(1 if activation == "sigmoid" else 4, activation=activation)
    model = fastmlp.Sequential([layers.Input((8, 6)), layers.Flatten(), last])
    model.compile("sgd", loss)
    x = np.random.default_rng(0).uniform(-1, 1, (12, 8, 6))
    y = np.resize(np.arange(2), 12)
    y = fastmlp.to_categorical(y, 4) if loss == "mse" else y
    draw_page(model, tmp_path / "draw.html", x, y)
    opened(browser, tmp_path / "draw.html")
    browser.execute_script("document.querySelector('[data-sample=\"1\"]').click()")
    given = picture(browser).reshape(1, 8, 6)
    np.testing.assert_allclose(given, x[1:2], atol=0.005)
    made = browser.execute_script("return drawing.predicted()")
    np.testing.assert_allclose(made, results.results(model, given, y[1:2]).shares[0], atol=1e-5)
    assert sum(made) == pytest.approx(1)
    assert browser.get_log("browser") == []


def test_draw_page_without_samples_goes_from_0_to_255(browser, tmp_path):
    model = digit_net()
    draw_page(model, tmp_path / "draw.html", title="Draw")
    opened(browser, tmp_path / "draw.html")
    stroke(browser, STROKES["0"])
    x = picture(browser)
    assert (x.min(), x.max()) == (0, 255)
    np.testing.assert_allclose(shown(browser), model.predict(x.reshape(1, 28, 28).astype(np.uint8))[0], atol=1.1e-3)
