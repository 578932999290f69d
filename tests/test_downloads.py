"""Downloads that are cut off, wrong, killed or made twice at once: a data set is whole or not there."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from support import full, posix_only
from test_idx_datasets import SHAPES, idx

from fastmlp.datasets import _idx, _store, kmnist, mnist

ROOT = Path(__file__).parent.parent


class Server:
    """Files by name, sent as `manner` says.

    whole    as they are
    cut      the connection ends in the middle
    short    half of the file, and a header that says so
    long     the file, and more
    garbage  as many other bytes
    missing  404
    stalled  half of the file, and then nothing
    """

    def __init__(self):
        self.files, self.manner, self.asked, self.stalls = {}, "whole", [], threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                server.asked.append(name)
                content, manner = server.files[name], server.manner
                half = content[: len(content) // 2]
                if manner == "missing":
                    self.send_error(404)
                    return
                sent = {"short": half, "long": content + half, "garbage": bytes(len(content))}.get(manner, content)
                self.send_response(200)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(half if manner in ("cut", "stalled") else sent)
                if manner == "stalled":
                    self.wfile.flush()
                    server.stalls.set()
                    time.sleep(20)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.socket.close()  # not server_close, which waits for those that stall


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves a small mnist.npz and the files of a small KMNIST, for which the modules are made to look."""
    monkeypatch.setenv("FASTMLP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(_store, "SHAPES", SHAPES)
    made = Server()
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in SHAPES.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    made.arrays = arrays
    made.files = {_idx.FILES[name]: gzip.compress(idx(array), mtime=0) for name, array in arrays.items()}
    sha256 = tuple(hashlib.sha256(content).hexdigest() for content in made.files.values())
    made.files["mnist.npz"] = buffer.getvalue()
    monkeypatch.setattr(mnist, "URL", f"{made.url}/mnist.npz")
    monkeypatch.setattr(mnist, "_FILE_SHA256", hashlib.sha256(buffer.getvalue()).hexdigest())
    monkeypatch.setattr(mnist, "_DATA_SHA256", _store.digest(arrays))
    monkeypatch.setattr(kmnist, "_DATA_SET", dataclasses.replace(kmnist._DATA_SET, url=made.url, sha256=sha256))
    yield made
    made.close()


MODULES = {"mnist": mnist, "kmnist": kmnist}


def left(tmp_path):
    """Files in the cache."""
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def assert_loads(module, server):
    (x, y), (x_test, y_test) = module.load_data()
    for found, name in zip((x, y, x_test, y_test), SHAPES):
        np.testing.assert_array_equal(found, server.arrays[name])


@pytest.mark.parametrize("manner", ["cut", "short", "long", "garbage", "missing"])
@pytest.mark.parametrize("name", MODULES)
def test_download_that_goes_wrong_leaves_nothing_and_the_next_begins_anew(server, tmp_path, name, manner):
    server.manner = manner
    with pytest.raises(FileNotFoundError, match="downloading it failed"):
        MODULES[name].load_data()
    assert left(tmp_path) == []
    server.manner = "whole"
    assert_loads(MODULES[name], server)
    expected = ["mnist.npz"] if name == "mnist" else sorted(_idx.FILES.values())
    assert left(tmp_path) == expected


def test_download_onto_a_full_disk_leaves_nothing_and_the_next_begins_anew(server, tmp_path, monkeypatch):
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(FileNotFoundError, match=r"downloading it failed(.|\n)*No space left on device"):
                mnist.load_data()
        assert list((tmp_path / "cache" / "datasets").iterdir()) == []
    assert_loads(mnist, server)


def test_what_is_whole_of_several_files_is_not_fetched_again(server, tmp_path):
    folder = tmp_path / "cache" / "datasets" / "kmnist"
    for name, sha256 in list(zip(_idx.FILES.values(), kmnist._DATA_SET.sha256))[:2]:
        _store.download(f"{server.url}/{name}", sha256, folder / name)
    server.asked.clear()
    assert_loads(kmnist, server)
    assert server.asked == list(_idx.FILES.values())[2:]


def test_file_that_is_half_there_is_fetched_again(server, tmp_path):
    folder = tmp_path / "cache" / "datasets" / "kmnist"
    folder.mkdir(parents=True)
    for name in _idx.FILES.values():
        (folder / name).write_bytes(server.files[name][:50])
    with pytest.warns(UserWarning, match="does not hold KMNIST, so it is passed over"):
        assert_loads(kmnist, server)


#: What a process of its own needs to look for the same small data.
_CHILD = """
import sys; sys.path[:0] = [{tests!r}]
from test_idx_datasets import SHAPES
from fastmlp.datasets import _store, mnist
_store.SHAPES, mnist.URL = SHAPES, {url!r}
mnist._FILE_SHA256, mnist._DATA_SHA256 = {sha256!r}, {data!r}
(x, _), _ = mnist.load_data()
print(int(x.sum()))
"""


def child():
    code = _CHILD.format(
        tests=str(ROOT / "tests"), url=mnist.URL, sha256=mnist._FILE_SHA256, data=mnist._DATA_SHA256
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_processes_that_download_at_once_all_have_the_data(server, tmp_path):
    children = [child() for _ in range(2)]
    for process in children:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out.strip()) == (0, str(int(server.arrays["x_train"].sum()))), err
    assert left(tmp_path) == ["mnist.npz"]


@posix_only
def test_killed_download_is_never_used_and_removed_an_hour_later(server, tmp_path):
    server.manner = "stalled"
    process = child()
    assert server.stalls.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    server.manner = "whole"
    assert_loads(mnist, server)
    cache = tmp_path / "cache" / "datasets"
    halves = [path for path in cache.iterdir() if path.name != "mnist.npz"]
    assert [path.name.endswith(".unfinished") for path in halves] == [True]
    then = time.time() - 4000
    for path in (*halves[0].iterdir(), halves[0]):
        os.utime(path, (then, then))
    (cache / "mnist.npz").unlink()
    with contextlib.suppress(FileNotFoundError):
        assert_loads(mnist, server)
    assert [path.name for path in cache.iterdir()] == ["mnist.npz"]
