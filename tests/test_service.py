"""The example service: every answer is that of predict, broken requests are told what is wrong, and it ends cleanly."""

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_cache_dir
from support import compiled_only

import fastmlp
from fastmlp.layers import Dense, Input, Rescaling

httpx, _, _ = (pytest.importorskip(name, reason="fastmlp[service]") for name in ("httpx", "fastapi", "uvicorn"))

pytestmark = compiled_only

ROOT = Path(__file__).resolve().parent.parent
RAW = "application/octet-stream"


def module(path):
    """A file that is in no package, imported."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def model():
    fastmlp.set_random_seed(3)
    layers = [Input((4, 3)), fastmlp.layers.Flatten(), Rescaling(1 / 255), Dense(20, "relu"), Dense(5, "softmax")]
    return fastmlp.Sequential(layers)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("service") / "model.safetensors"
    model.save(file)
    return file


@pytest.fixture(scope="module")
def app(path):
    return module(ROOT / "examples" / "service" / "app.py").create_app(path, max_body=4000)


def ask(app, method, path, **request):
    """The answer of the app, without a server."""

    async def answer():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.request(method, path, **request)

    return asyncio.run(answer())


def test_health_describes_the_model(app, model):
    answer = ask(app, "GET", "/health")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok", "model": model.name, "input_shape": [4, 3], "output_shape": [5],
        "parameters": model.count_params(), "fastmlp": fastmlp.__version__,
    }  # fmt: skip


ROW = [[1.0, 2.0, 3.0]] * 4
JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": RAW}


@pytest.mark.parametrize(
    ("status", "message", "headers", "body"),
    [
        (422, "x has shape (1, 2) but the model was built for samples of shape (4, 3)", JSON, b'{"x": [[1, 2]]}'),
        (422, "a single sample needs a leading axis", JSON, json.dumps({"x": ROW}).encode()),
        (422, "x has shape (0,)", JSON, b'{"x": []}'),
        (422, "rows differ in length", JSON, b'{"x": [[1], [1, 2]]}'),
        (422, "rows differ in length", JSON, b'{"x": ' + b"[" * 70 + b"1" + b"]" * 70 + b"}"),
        (422, "x has nan in row 0", JSON, json.dumps({"x": [[[float("nan")] * 3] * 4]}).encode()),
        (422, "x has nan in row 0", JSON, json.dumps({"x": [[[None] * 3] * 4]}).encode()),
        (422, "x has inf in row 0", JSON, json.dumps({"x": [[[1e300] * 3] * 4]}).encode()),
        (422, "x has a number that no float can hold", JSON, json.dumps({"x": [[[10**309] * 3] * 4]}).encode()),
        (422, "no strings", JSON, json.dumps({"x": [[["1"] * 3] * 4]}).encode()),
        (422, "the body must be an object with samples", JSON, b"[1, 2]"),
        (422, "the body must be an object with samples", JSON, b'{"x": 1}'),
        (422, "the body must be an object with samples", JSON, b'{"y": [[1]]}'),
        (422, "the body is no JSON", JSON, b""),
        (422, "the body is no JSON", JSON, b'{"x": [[1, 2'),
        (422, "the body is no JSON", JSON, b"\xff\xff\xff"),
        (422, "the body is no JSON", JSON, b"[" * 3999),
        (422, "a sample of shape (4, 3) has 48 bytes in float32, but the body has 47", BYTES, bytes(47)),
        (422, "x is empty", BYTES, b""),
        (422, "x has nan in row 1", BYTES, np.repeat(np.array([0, np.nan], "<f4"), 12).tobytes()),
        (413, "the body has 4001 bytes, at most 4000", BYTES, bytes(4001)),
        (415, "Content-Type must be", {"Content-Type": "text/plain"}, b"1"),
        (415, "Content-Type must be", {}, b"1"),
    ],
)  # fmt: skip
def test_broken_request_is_told_what_is_wrong(app, status, message, headers, body):
    answer = ask(app, "POST", "/predict", headers=headers, content=body)
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_a_body_of_unknown_length_is_read_no_further_than_the_limit(app):
    sent = []

    async def parts():
        for _ in range(100):
            sent.append(1000)
            yield bytes(1000)

    answer = ask(app, "POST", "/predict", headers=BYTES, content=parts())
    assert answer.status_code == 413
    assert "the body has more than 4000 bytes" in answer.json()["detail"]
    assert sum(sent) == 5000


def test_unknown_type_of_raw_rows_is_refused(app):
    answer = ask(app, "POST", "/predict?dtype=int8", headers=BYTES, content=bytes(12))
    assert answer.status_code == 422
    assert answer.json()["detail"] == "dtype must be float32 or uint8, got 'int8'"


def test_outputs_that_json_can_not_hold_are_given_as_bytes(tmp_path):
    model = fastmlp.Sequential([Input((1,)), Dense(1)])
    model.set_weights([[[3e38]], [0.0]])
    model.save(tmp_path / "large.safetensors")
    app = module(ROOT / "examples" / "service" / "app.py").create_app(tmp_path / "large.safetensors")
    answer = ask(app, "POST", "/predict", headers=JSON, content=b'{"x": [[10]]}')
    assert answer.status_code == 422
    assert "ask for Accept: application/octet-stream" in answer.json()["detail"]
    answer = ask(app, "POST", "/predict", headers={**JSON, "Accept": RAW}, content=b'{"x": [[10]]}')
    assert np.frombuffer(answer.content, "<f4") == [np.inf]


def test_service_without_a_model_says_which_variable_to_set(monkeypatch):
    monkeypatch.delenv("MODEL", raising=False)
    with pytest.raises(SystemExit, match="set MODEL to the file of a saved model"):
        module(ROOT / "examples" / "service" / "app.py").create_app()


def requests(model, count):
    """Requests, valid and broken ones in turn: (arguments of httpx, status, bits of the outputs or None)."""
    rng = np.random.default_rng(0)
    for i in range(count):
        rows = (1, 3, 700)[i % 3]
        pixels = rng.integers(0, 256, (rows, 4, 3), np.uint8)
        floats = rng.random((rows, 4, 3), np.float32)
        raw = {**BYTES, "Accept": RAW} if i % 2 else BYTES
        yield dict(url="/predict", headers=raw, content=floats.tobytes()), 200, model.predict(floats)
        yield dict(url="/predict?dtype=uint8", headers=raw, content=pixels.tobytes()), 200, model.predict(pixels)
        yield dict(url="/predict", json={"x": floats.tolist()}), 200, model.predict(floats)
        yield dict(url="/predict", json={"x": floats[:, :3].tolist()}), 422, None
        yield dict(url="/predict", headers=BYTES, content=floats.tobytes()[:-1]), 422, None
        yield dict(url="/predict", headers=JSON, content=b'{"x": [['), 422, None


def outputs(answer):
    if answer.headers["content-type"] == RAW:
        return np.frombuffer(answer.content, "<f4").reshape(-1, 5)
    return np.array(answer.json()["outputs"], np.float32)


async def all_at_once(port, model, count):
    """Send them over 16 connections; how many answers were compared."""
    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60) as client:

        async def one(arguments, status, expected):
            answer = await client.post(**arguments)
            assert answer.status_code == status, answer.text
            if expected is not None:
                np.testing.assert_array_equal(outputs(answer), expected)

        sent = [one(*request) for request in requests(model, count)]
        await asyncio.gather(*sent)
        return len(sent)


def test_running_service_answers_as_predict_does_and_ends_by_sigterm(path, model):
    load = module(ROOT / "benchmarks" / "load.py")
    with load.Service(path) as service:
        assert asyncio.run(all_at_once(service.port, model, 30)) == 180
    assert service.status in (0, -signal.SIGTERM)
    assert "Finished server process" in service.log
    assert "Traceback" not in service.log
    assert "Error" not in service.log


def test_load_is_measured_and_compared(path, model):
    load = module(ROOT / "benchmarks" / "load.py")
    with load.Service(path) as service:
        found = [load.measure(service.port, kind, 4, 0.1) for kind in load.kinds(model, service.port, 100)]
    assert all(row["requests"] and 0 < row["p50_ms"] <= row["p99_ms"] for row in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_workers_that_gunicorn_forks_from_a_process_that_has_predicted_answer_as_predict_does(path, model, tmp_path):
    pytest.importorskip("gunicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("w+")
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--chdir",
        str(ROOT / "examples" / "service"),
        "--preload",
        "--workers",
        "2",
        "--worker-class",
        "uvicorn.workers.UvicornWorker",
        "--bind",
        f"127.0.0.1:{port}",
        "app:create_app()",
    ]
    # It puts a socket into the home folder; the compiled kernels stay where they are.
    environment = {**os.environ, "MODEL": str(path), "HOME": str(tmp_path), "XDG_CACHE_HOME": user_cache_dir(),
                   "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
    master = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(1200):
            with contextlib.suppress(httpx.ConnectError):
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).status_code == 200:
                    break
            assert master.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        assert asyncio.run(all_at_once(port, model, 20)) == 120
        master.send_signal(signal.SIGTERM)
        assert master.wait(30) == 0
    finally:
        master.kill()
        master.wait()
        log.close()
    printed = (tmp_path / "log").read_text()
    assert printed.count("Booting worker") == 2
    assert "Traceback" not in printed
