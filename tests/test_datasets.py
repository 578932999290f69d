"""Each test runs with folders of its own and without a network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pooch
import pytest

from fastmlp.datasets import _store, mnist, printed_digits

# Found before the tests point everything elsewhere.
REAL_PLACES = mnist._places("mnist.npz")
REAL_DOWNLOAD = mnist._download


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The three folders that MNIST is looked for in, empty, in the order of load_data."""
    monkeypatch.setenv("FASTMLP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folders = [tmp_path / "data", tmp_path / "cache" / "datasets", tmp_path / "keras" / "datasets"]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """A download fails as it does without a network; returns the targets that were asked for."""
    asked = []

    def download(target):
        asked.append(target)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(mnist, "_download", download)
    return asked


@pytest.fixture
def digits(monkeypatch):
    """A small data set that passes for MNIST."""
    shapes = {"x_train": (6, 2, 2), "y_train": (6,), "x_test": (3, 2, 2), "y_test": (3,)}
    monkeypatch.setattr(_store, "SHAPES", shapes)
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in _store.SHAPES.items()}
    monkeypatch.setattr(mnist, "_DATA_SHA256", _store.digest(arrays))
    return arrays


@pytest.fixture
def few(monkeypatch):
    """printed_digits with 40 + 20 images; returns the list of the seeds that were drawn."""
    shapes = {"x_train": (40, 28, 28), "y_train": (40,), "x_test": (20, 28, 28), "y_test": (20,)}
    monkeypatch.setattr(_store, "SHAPES", shapes)
    drawn, generate = [], printed_digits._generate
    monkeypatch.setattr(printed_digits, "_generate", lambda seed, *n: drawn.append(seed) or generate(seed, *n))
    return drawn


def assert_equal(data, arrays):
    (x_train, y_train), (x_test, y_test) = data
    for found, name in zip((x_train, y_train, x_test, y_test), ("x_train", "y_train", "x_test", "y_test")):
        np.testing.assert_array_equal(found, arrays[name])


def damage(path):
    """Change one byte in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# -- mnist


def test_the_real_mnist_is_accepted():
    path = next((place for place in REAL_PLACES if place.exists()), None)
    if path is None:
        pytest.skip("no mnist.npz on this machine")
    (x_train, y_train), (x_test, y_test) = mnist.load_data(str(path))
    assert [a.shape for a in (x_train, y_train, x_test, y_test)] == [
        (60000, 28, 28),
        (60000,),
        (10000, 28, 28),
        (10000,),
    ]
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_places_come_in_order(places):
    assert mnist._places("mnist.npz") == [folder / "mnist.npz" for folder in places]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_place_is_read(digits, places, place):
    _store.write(places[place] / "mnist.npz", digits)
    assert_equal(mnist.load_data(), digits)


def test_a_later_place_is_not_even_opened(digits, places):
    _store.write(places[0] / "mnist.npz", digits)
    (places[1] / "mnist.npz").write_bytes(b"a warning, if it is read")
    assert_equal(mnist.load_data(), digits)


def test_another_name_is_looked_for_in_both_own_folders(digits, places):
    _store.write(places[1] / "copy.npz", digits)
    assert_equal(mnist.load_data("copy.npz"), digits)


def test_a_full_path_is_taken_as_it_is(digits, tmp_path):
    _store.write(tmp_path / "elsewhere.npz", digits)
    assert_equal(mnist.load_data(str(tmp_path / "elsewhere.npz")), digits)


def test_a_compressed_file_is_the_same_data(digits, places):
    np.savez_compressed(places[0] / "mnist.npz", **digits)
    assert_equal(mnist.load_data(), digits)


@pytest.mark.parametrize("wrong", ["one byte", "half", "empty", "text", "folder", "npy", "other data"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_wrong_file_is_passed_over_with_a_warning(digits, places, place, wrong):
    path = places[place] / "mnist.npz"
    if wrong == "folder":
        path.mkdir()
    elif wrong == "npy":
        with open(path, "wb") as file:
            np.save(file, digits["x_train"])
    elif wrong == "other data":
        _store.write(path, digits | {"y_test": digits["y_test"] + 1})
    else:
        _store.write(path, digits)
        if wrong == "one byte":
            damage(path)
        else:
            content = {"half": path.read_bytes()[:900], "empty": b"", "text": b"<html>not found</html>"}
            path.write_bytes(content[wrong])
    _store.write(places[2] / "mnist.npz", digits)
    with pytest.warns(UserWarning, match="passed over") as caught:
        assert_equal(mnist.load_data(), digits)
    assert [str(path) in str(warning.message) for warning in caught] == [True]


@pytest.mark.parametrize(
    "change",
    [
        {"x_train": np.zeros((6, 2, 3), np.uint8)},
        {"y_train": np.zeros(6, np.int64)},
        {"x_test": np.zeros((), np.uint8)},
    ],
    ids=["shape", "dtype", "scalar"],
)
def test_arrays_of_another_kind_are_refused(digits, tmp_path, change):
    _store.write(tmp_path / "other.npz", digits | change)
    with pytest.raises(ValueError, match=f"{next(iter(change))} should be uint8"):
        _store.read(tmp_path / "other.npz")


def test_a_missing_array_is_refused(digits, tmp_path):
    del digits["y_test"]
    _store.write(tmp_path / "other.npz", digits)
    with pytest.raises(ValueError, match="y_test"):
        _store.read(tmp_path / "other.npz")


def test_whichever_bit_is_damaged_the_data_are_right_or_refused(digits, tmp_path):
    path = tmp_path / "mnist.npz"
    _store.write(path, digits)
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            found = _store.read(path)
        except ValueError:
            refused += 1
        else:  # a date, or a size that is written twice
            assert _digests(found) == _digests(digits)
    assert refused > len(content) / 2


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_never_opened(digits, places, tmp_path):
    trapped = digits | {"x_train": np.array([Trap(tmp_path / "sprung")], dtype=object)}
    np.savez(places[0] / "mnist.npz", **trapped)
    _store.write(places[1] / "mnist.npz", digits)
    with pytest.warns(UserWarning, match=r"x_train should be uint8 .* but is object"):
        assert_equal(mnist.load_data(), digits)
    assert not (tmp_path / "sprung").exists()


def test_a_download_goes_to_the_own_cache(digits, places, monkeypatch):
    monkeypatch.setattr(mnist, "_download", lambda target: _store.write(target, digits))
    assert_equal(mnist.load_data(), digits)
    assert (places[1] / "mnist.npz").exists()


def test_a_download_takes_the_place_of_a_damaged_file(digits, places, monkeypatch):
    (places[1] / "mnist.npz").write_bytes(b"half a download")
    monkeypatch.setattr(mnist, "_download", lambda target: _store.write(target, digits))
    with pytest.warns(UserWarning, match="passed over"):
        mnist.load_data()
    assert_equal(mnist.load_data(), digits)


def test_pooch_is_given_url_hash_and_target(tmp_path, monkeypatch):
    calls = []

    def retrieve(*args, path, **options):
        calls.append((args, options))
        (Path(path) / "mnist.npz").write_bytes(b"all of it")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    folder = tmp_path / "own"
    folder.mkdir()
    REAL_DOWNLOAD(folder / "mnist.npz")
    assert calls == [((mnist.URL, mnist._FILE_SHA256), {"fname": "mnist.npz", "progressbar": True})]
    assert [path.name for path in folder.iterdir()] == ["mnist.npz"]


def test_pooch_leaves_no_file_of_another_hash(tmp_path, monkeypatch):
    def downloader(url, file, pooch):
        Path(file).write_bytes(b"half a file")

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar: downloader)
    with pytest.raises(ValueError, match="hash"):
        REAL_DOWNLOAD(tmp_path / "mnist.npz")
    assert list(tmp_path.glob("*.npz")) == []


def test_without_a_network_the_error_says_what_can_be_done(places, no_network):
    with pytest.raises(FileNotFoundError) as caught:
        mnist.load_data()
    text = str(caught.value)
    assert no_network == [places[1] / "mnist.npz"]
    for word in (
        *places,
        mnist.URL,
        "no route to host",
        "FASTMLP_DATA_DIR",
        "fastmlp.datasets.printed_digits",
    ):
        assert str(word) in text


def test_importing_the_data_sets_loads_neither_pooch_nor_pyplot():
    code = "import sys, fastmlp.datasets; print([m for m in ('pooch', 'matplotlib.pyplot') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# -- printed_digits


def test_digits_look_like_mnist_to_a_program():
    arrays = printed_digits._generate(0, 400, 200)
    for x, y, n in ((arrays["x_train"], arrays["y_train"], 400), (arrays["x_test"], arrays["y_test"], 200)):
        assert x.shape == (n, 28, 28)
        assert x.dtype == y.dtype == np.uint8
        assert 0.15 < (x > 0).mean() < 0.25
        assert np.bincount(y, minlength=10).tolist() == [n // 10] * 10
        assert (np.diff(y) != 0).mean() > 0.8  # shuffled
        assert (x.max(axis=(1, 2)) > 100).all()  # no image is without ink


def test_same_seed_same_bits():
    first, second = (printed_digits._generate(3, 50, 20) for _ in range(2))
    assert _digests(first) == _digests(second)


def test_another_seed_gives_other_digits():
    first, second = (printed_digits._generate(seed, 50, 20) for seed in (0, 1))
    assert not set(_digests(first)) & set(_digests(second))


def test_test_digits_are_not_training_digits():
    arrays = printed_digits._generate(0, 200, 200)
    train, test = ({image.tobytes() for image in arrays[name]} for name in ("x_train", "x_test"))
    assert len(train) == len(test) == 200
    assert not train & test


def test_the_test_set_does_not_depend_on_the_size_of_the_other():
    first, second = (printed_digits._generate(0, n, 30) for n in (10, 50))
    np.testing.assert_array_equal(first["x_test"], second["x_test"])


def test_the_second_call_reads_the_cached_file(few, places):
    first = printed_digits.load_data(seed=5)
    second = printed_digits.load_data(seed=5)
    assert few == [5]
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
        assert b[0].flags.writeable
    (path,) = places[1].iterdir()
    assert path.name == f"printed_digits-v{printed_digits._VERSION}-seed5.npz"


def test_each_seed_has_a_file_of_its_own(few, places):
    printed_digits.load_data(seed=1)
    printed_digits.load_data(seed=2)
    assert len(list(places[1].iterdir())) == 2


def test_a_damaged_cache_file_is_remade(few, places):
    data = printed_digits.load_data()
    (path,) = places[1].iterdir()
    damage(path)
    again = printed_digits.load_data()
    printed_digits.load_data()
    assert few == [0, 0]
    np.testing.assert_array_equal(data[0][0], again[0][0])


def test_an_unwritable_cache_only_means_drawing_again(few, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "file"))  # not a folder: nobody can write into it
    for _ in range(2):
        with pytest.warns(UserWarning, match="FASTMLP_CACHE_DIR"):
            printed_digits.load_data()
    assert few == [0, 0]


def test_an_interrupted_write_leaves_nothing(places, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        _store.write(places[1] / "digits.npz", {})
    assert list(places[1].iterdir()) == []


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError), (None, TypeError)])
def test_a_seed_is_a_whole_number_from_0(seed, error):
    with pytest.raises(error, match="seed should be"):
        printed_digits.load_data(seed)


def test_a_numpy_integer_is_a_seed(few):
    printed_digits.load_data(np.uint8(7))
    assert few == [7]


def test_distance_is_signed_and_in_pixels():
    # A square of 20 pixels with a hole of 10, the hole wound the other way as in a font.
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    samples, density = printed_digits._SAMPLES, printed_digits._DENSITY
    centre = (samples - 1) / 2
    outer, inner = centre + 10 * density * corners, centre + 5 * density * corners[::-1]
    start = np.concatenate([outer, inner])
    end = np.concatenate([np.roll(outer, -1, axis=0), np.roll(inner, -1, axis=0)])
    found = printed_digits._signed_distance(start, end)

    x = np.abs(np.arange(samples) - centre) / density
    largest = np.maximum(x[:, None], x)
    inside = (largest > 5) & (largest < 10)
    to_hole = np.hypot(np.maximum(x[:, None] - 5, 0), np.maximum(x - 5, 0))
    np.testing.assert_array_equal(found < 0, inside)
    np.testing.assert_allclose(found[inside], -np.minimum(10 - largest, to_hole)[inside], rtol=1e-6)


def test_control_points_weigh_one_together():
    np.testing.assert_allclose(printed_digits._basis().sum(axis=1), 1)


def _digests(arrays):
    return [hash(arrays[name].tobytes()) for name in _store.SHAPES]
