"""Fashion-MNIST and KMNIST, from generated files: each test has folders of its own and no network."""

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pooch
import pytest

from fastmlp.datasets import _idx, _store, fashion_mnist, kmnist

MODULES = {"fashion_mnist": (fashion_mnist, "fashion-mnist"), "kmnist": (kmnist, "kmnist")}
SHAPES = {"x_train": (6, 2, 2), "y_train": (6,), "x_test": (3, 2, 2), "y_test": (3,)}


def idx(array):
    axes = b"".join(axis.to_bytes(4, "big") for axis in array.shape)
    return b"\x00\x00\x08" + bytes([array.ndim]) + axes + array.tobytes()


@pytest.fixture(params=MODULES)
def case(request, tmp_path, monkeypatch):
    """Module, arrays, files by name, the three folders that it looks at, and the addresses that were asked for."""
    module, keras_name = MODULES[request.param]
    monkeypatch.setenv("FASTMLP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(_store, "SHAPES", SHAPES)
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in SHAPES.items()}
    files = {_idx.FILES[name]: gzip.compress(idx(array), mtime=0) for name, array in arrays.items()}
    trust(monkeypatch, module, files)
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append((url, known_hash))
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    folders = [tmp_path / "data" / request.param, tmp_path / "cache" / "datasets" / request.param]
    return module, arrays, files, [*folders, tmp_path / "keras" / "datasets" / keras_name], asked


def trust(monkeypatch, module, files):
    """Take these files' hashes for the published ones."""
    sha256 = tuple(hashlib.sha256(files[name]).hexdigest() for name in _idx.FILES.values())
    monkeypatch.setattr(module, "_DATA_SET", dataclasses.replace(module._DATA_SET, sha256=sha256))


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def assert_equal(data, arrays):
    (x_train, y_train), (x_test, y_test) = data
    for found, name in zip((x_train, y_train, x_test, y_test), SHAPES):
        np.testing.assert_array_equal(found, arrays[name])
        assert found.dtype == np.uint8
        assert found.flags.writeable


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_place_is_read(case, place):
    module, arrays, files, folders, asked = case
    write(folders[place], files)
    assert_equal(module.load_data(), arrays)
    assert not asked


def test_a_full_path_is_taken_as_it_is(case, tmp_path):
    module, arrays, files, *_ = case
    write(tmp_path / "elsewhere", files)
    assert_equal(module.load_data(str(tmp_path / "elsewhere")), arrays)


def test_a_folder_that_lacks_a_file_is_no_place(case):
    module, arrays, files, folders, _ = case
    write(folders[0], dict(list(files.items())[:3]))
    write(folders[1], files)
    assert_equal(module.load_data(), arrays)


def test_a_file_with_another_hash_is_passed_over_with_a_warning(case):
    module, arrays, files, folders, _ = case
    name = _idx.FILES["y_test"]
    write(folders[0], {**files, name: gzip.compress(idx(arrays["y_test"] + 1), mtime=0)})
    write(folders[1], files)
    with pytest.warns(UserWarning, match=f"the SHA-256 of {name} is") as warned:
        assert_equal(module.load_data(), arrays)
    assert warned[0].filename == __file__


def test_without_files_and_network_the_error_says_what_to_do(case):
    module, _, _, folders, asked = case
    with pytest.raises(FileNotFoundError, match="no route to host") as caught:
        module.load_data()
    for words in (*map(str, folders), module._DATA_SET.url, "FASTMLP_DATA_DIR", "printed_digits"):
        assert words in str(caught.value)
    assert asked == [(f"{module._DATA_SET.url}/train-images-idx3-ubyte.gz", module._DATA_SET.sha256[0])]


def test_what_is_downloaded_is_kept(case, monkeypatch):
    module, arrays, files, _, asked = case

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append(url)
        write(Path(path), {fname: files[fname]})

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert_equal(module.load_data(), arrays)
    assert_equal(module.load_data(), arrays)
    assert len(asked) == 4


BOMB = gzip.compress(b"\0" * 50_000_000, mtime=0)
ARRAY = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
HOSTILE = {
    "empty": b"",
    "no gzip": b"plain text",
    "half": gzip.compress(idx(ARRAY), mtime=0)[:-12],
    "other magic": gzip.compress(b"\x00\x01" + idx(ARRAY)[2:], mtime=0),
    "other type": gzip.compress(b"\x00\x00\x0d" + idx(ARRAY)[3:], mtime=0),
    "other axes": gzip.compress(idx(ARRAY.reshape(6, 4)), mtime=0),
    "huge axes": gzip.compress(b"\x00\x00\x08\x03" + b"\xff" * 12 + ARRAY.tobytes(), mtime=0),
    "too short": gzip.compress(idx(ARRAY)[:-1], mtime=0),
    "too long": gzip.compress(idx(ARRAY) + b"\0", mtime=0),
}


@pytest.mark.parametrize("wrong", HOSTILE)
def test_a_file_that_is_no_such_array_is_refused_even_with_the_right_hash(tmp_path, wrong):
    path = tmp_path / "file.gz"
    path.write_bytes(HOSTILE[wrong])
    with pytest.raises(ValueError, match=r"file\.gz"):
        _idx.read_idx(path, hashlib.sha256(HOSTILE[wrong]).hexdigest(), ARRAY.shape)


def test_a_file_that_inflates_without_end_is_cut_off(tmp_path, monkeypatch):
    path = tmp_path / "file.gz"
    path.write_bytes(BOMB)
    shape = (400, 28, 28)  # whose data could take as many bytes as the packed file has
    assert len(BOMB) < 400 * 28 * 28
    with pytest.raises(ValueError, match="does not begin as an IDX file"):
        _idx.read_idx(path, hashlib.sha256(BOMB).hexdigest(), shape)


def test_a_file_larger_than_its_data_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "file.gz"
    path.write_bytes(bytes(10_000))
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(ValueError, match="is larger than the 1064 bytes"):
        _idx.read_idx(path, "0" * 64, ARRAY.shape)


@pytest.mark.parametrize("name", MODULES)
def test_ten_classes_have_names(name):
    assert len(set(MODULES[name][0].CLASS_NAMES)) == 10


def test_hashes_are_sha256():
    for module, _ in MODULES.values():
        assert [len(bytes.fromhex(digest)) for digest in module._DATA_SET.sha256] == [32] * 4
