import json
import sys
from importlib import resources

import numpy as np
import pytest

import fastmlp
from fastmlp import reference

# Keras's own variables, met by NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def keras():
    # importorskip alone would import Keras with TensorFlow, whichever backend is installed.
    try:
        return reference.import_keras()
    except ImportError as error:
        pytest.skip(str(error))


def small_net(library):
    layers = library.layers
    return library.models.Sequential(
        [
            layers.InputLayer((6,)),
            layers.Dense(5, activation="sigmoid"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def small_data(n=70):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)


def recorded(accuracies):
    return reference.Recorded(20, list(range(len(accuracies))), accuracies, "3.15.1", "jax")


def test_recorded_statistics():
    runs = recorded([0.8, 0.9, 0.85])
    assert (runs.lowest, runs.highest) == (0.8, 0.9)
    assert runs.mean == pytest.approx(0.85)
    assert runs.std == pytest.approx(np.std(runs.accuracies, ddof=1))


TEN = [0.80, 0.90, 0.85, 0.84, 0.86, 0.83, 0.87, 0.82, 0.88, 0.85]


def test_span_holds_a_further_run_19_times_out_of_20():
    runs = recorded(TEN)
    # 2.262: the t distribution's 0.975 quantile for nine degrees of freedom, from a table
    width = 2.262 * runs.std * np.sqrt(1.1)
    assert runs.span == pytest.approx((0.85 - width, 0.85 + width), abs=3e-4)
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4000, 11))
    inside = [recorded(list(row[:10])).place(row[10]) == "within" for row in draws]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(("accuracy", "place"), [(0.77, "below"), (0.80, "within"), (0.90, "within"), (0.93, "above")])
def test_place_in_the_span(accuracy, place):
    assert recorded(TEN).place(accuracy) == place


def test_recorded_survives_json():
    content = json.loads(json.dumps(recorded([0.8, 0.9]).as_dict()))
    assert content["accuracies"] == [0.8, 0.9]
    assert content["highest"] == 0.9


def test_shipped_reference_covers_both_data_sets():
    assert resources.files("fastmlp").joinpath("keras_reference.json").is_file()
    runs = reference.recorded()
    assert set(runs) == {"mnist", "printed_digits"}
    for jobs in runs.values():
        assert {name: job.epochs for name, job in jobs.items()} == {"sparse": 20, "tutorial": 40}
        for job in jobs.values():
            assert len(job.seeds) == len(job.accuracies) >= 5
            assert 0.1 < job.lowest <= job.mean <= job.highest <= 1
            assert job.keras.startswith("3.")
            assert job.backend


def test_recorded_statistics_are_those_in_the_file():
    content = json.loads(resources.files("fastmlp").joinpath("keras_reference.json").read_text())
    for data, jobs in reference.recorded().items():
        for name, job in jobs.items():
            summary = content["results"][data]["jobs"][name]["test_accuracy"]
            found = {"mean": job.mean, "std": job.std, "min": job.lowest, "max": job.highest}
            assert found == pytest.approx(summary, abs=2e-6)


def test_tutorial_model_has_the_tutorials_shapes():
    shapes = [w.shape for w in reference.tutorial_model(fastmlp).get_weights()]
    assert shapes == [(784, 16), (16,), (16, 8), (8,), (8, 10), (10,)]


def test_fastmlp_follows_keras_on_the_same_batches(keras):
    x, y = small_data()
    lines = []
    result = reference.compare(
        x[:50], y[:50], (x[50:], y[50:]), build=small_net, epochs=3, batch_size=16, learning_rate=0.5,
        report=lines.append,
    )  # fmt: skip
    for name in reference.METRICS:
        np.testing.assert_allclose(result.keras.history[name], result.fastmlp.history[name], atol=1e-5)
    assert len(result.weight_differences) == 3
    assert max(result.weight_differences) < 1e-5
    assert len(result.rounding) == 3
    assert 0 < max(result.rounding) < 1e-5
    assert result.keras.history["loss"][2] < result.keras.history["loss"][0]


def test_comparison_reports_epochs_and_times(keras):
    x, y = small_data()
    lines = []
    result = reference.compare(x, y, (x, y), build=small_net, epochs=2, report=lines.append)
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows if row and row[0].isdigit()] == ["1", "2"]
    assert rows[2][1:3] == [
        f"{result.keras.history['loss'][0]:.4f}",
        f"{result.fastmlp.history['loss'][0]:.4f}",
    ]
    text = "\n".join(lines)
    assert f"in float64 by up to {result.rounding[-1]:.1e}" in text
    assert f"Keras {keras.__version__} ({keras.backend.backend()})" in text
    assert f"fastmlp {fastmlp.__version__}" in text
    assert f"A steady epoch takes Keras {result.ratio:.2f} times as long as fastmlp." in text
    assert max(map(len, lines)) <= 80


def test_comparison_leaves_the_float_type_as_it_was(keras):
    x, y = small_data()
    reference.compare(x, y, (x, y), build=small_net, epochs=1, report=lambda line: None)
    assert fastmlp.config.floatx() == "float32"


def test_one_epoch_has_no_steady_time(keras):
    x, y = small_data()
    lines = []
    result = reference.compare(x, y, (x, y), build=small_net, epochs=1, report=lines.append)
    assert np.isnan(result.ratio)
    assert "steady" not in "\n".join(lines)


def test_steady_seconds_leave_out_the_first_epoch():
    keras, ours = (
        reference.Run("Keras", seconds=[9.0, 2.0, 4.0, 3.0]),
        reference.Run("fastmlp", seconds=[5.0, 1.5]),
    )
    assert (keras.first_seconds, keras.steady_seconds) == (9.0, 3.0)
    assert reference.Comparison(keras, ours).ratio == 2.0


def test_without_keras_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(reference.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[keras\]"'):
        reference.import_keras()


def test_a_missing_backend_is_replaced_by_an_installed_one(monkeypatch, tmp_path):
    asked = []
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # unconfigured: Keras would take TensorFlow
    monkeypatch.setenv("KERAS_BACKEND", "to be restored")
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setattr(reference.importlib.util, "find_spec", lambda name: name in ("keras", "torch") or None)
    monkeypatch.setattr(reference.importlib, "import_module", asked.append)
    reference.import_keras()
    assert asked == ["keras"]
    assert reference.os.environ["KERAS_BACKEND"] == "torch"


def test_the_configured_backend_is_kept(monkeypatch, tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert reference._configured_backend() == "jax"


def test_an_unknown_backend_is_an_import_error(monkeypatch):
    def fail(name):
        raise ValueError("Unable to import backend : foo")

    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "foo")
    monkeypatch.setattr(reference.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(reference.importlib, "import_module", fail)
    with pytest.raises(ImportError, match=r"Unable to import backend : foo.*KERAS_BACKEND"):
        reference.import_keras()
