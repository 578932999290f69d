"""Load on the example service (examples/service): python -m benchmarks.load [--model FILE] [--seconds 5] ...

A service of one process on loopback is sent requests of several kinds from 1, 8, 32 ... connections at once, each of
which sends its next request when its last one is answered. Printed are requests a second, and the seconds in which half
and 99 of 100 of them were answered, as the client sees them. Every answer must have the bits of `predict`. The client
is asyncio in this process, so it takes a share of the machine that is stated along: its own processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import urlopen

import numpy as np

import fastmlp
from fastmlp.layers import Dense, Input

ROOT = Path(__file__).resolve().parent.parent

RAW = "application/octet-stream"

#: Seconds in which the service must answer its first request, and end when it is told to.
_START, _END = 120, 20

#: Part of a run that goes before its clock starts.
_BEFORE = 0.2


class Service:
    """The example service in a process of its own, on a free port of loopback; a context that stops it by SIGTERM.

    Args:
        model: File of the model.
        arguments: Further arguments of uvicorn.
        variables: Further variables of its environment.

    Attributes:
        port: Where it listens.
        log: What it has printed, when it has ended.
        status: Its exit status then; it ends by the signal, once all requests are answered.
    """

    def __init__(self, model: str | os.PathLike[str], *arguments: str, variables: dict[str, str] | None = None):
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples" / "service"), "--factory",
             "app:create_app", "--port", "0", "--no-access-log", *arguments],
            env={**os.environ, "MODEL": os.fspath(model), "PYTHONPATH": path, **(variables or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.log, self.status, self.port = "", 0, 0

    def __enter__(self) -> Service:
        end = time.monotonic() + _START
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(f"the service doesn't start:\n{self._printed()}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        """Whether it is there; the port is known, and printed, before the processes behind it listen."""
        if not self.port and (found := re.search(r"http://127\.0\.0\.1:(\d+)", self._printed())):
            self.port = int(found.group(1))
        try:
            return self.port > 0 and urlopen(f"http://127.0.0.1:{self.port}/health", timeout=_START).status == 200
        except OSError:
            return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.status = self.process.wait(_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the service doesn't end within {_END} s of SIGTERM:\n{self._printed()}") from error
        finally:
            self.log = self._printed()
            self._log.close()

    def _printed(self) -> str:
        self._log.seek(0)
        return self._log.read()


@dataclass(frozen=True)
class Kind:
    """One kind of request, as the bytes that are sent, each with the answer's body as it must be."""

    name: str
    requests: list[tuple[bytes, bytes]]


def kinds(model: Any, port: int, batch: int) -> list[Kind]:
    """What a client asks: one row as bytes, of floats, in JSON; a batch; and nothing, for what the framework takes."""
    rng = np.random.default_rng(0)
    shape = model.input_shape[1:]
    pixels = rng.integers(0, 256, (16, *shape), np.uint8)
    floats = rng.random((16, *shape), np.float32)
    batches = rng.integers(0, 256, (4, batch, *shape), np.uint8)

    def raw(x: np.ndarray) -> tuple[bytes, bytes]:
        query = "?dtype=uint8" if x.dtype == np.uint8 else ""
        head = f"Content-Type: {RAW}\r\nAccept: {RAW}\r\n"
        return _message("POST", f"/predict{query}", port, head, x.tobytes()), model.predict(x).tobytes()

    def in_json(x: np.ndarray) -> tuple[bytes, bytes]:
        body = json.dumps({"x": x.tolist()}).encode()
        answer = json.dumps({"outputs": model.predict(x).tolist()}).encode()
        return _message("POST", "/predict", port, "Content-Type: application/json\r\n", body), answer

    return [
        Kind("health", [(_message("GET", "/health", port, "", b""), b"")]),
        Kind("1 row, uint8", [raw(row[None]) for row in pixels]),
        Kind("1 row, float32", [raw(row[None]) for row in floats]),
        Kind("1 row, JSON", [in_json(row[None]) for row in floats]),
        Kind(f"{batch} rows, uint8", [raw(rows) for rows in batches]),
    ]


def _message(method: str, path: str, port: int, head: str, body: bytes) -> bytes:
    line = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    return line.encode() + body


async def _connection(port: int, requests: list[tuple[bytes, bytes]], first: int, begin: float, end: float) -> Any:
    """Seconds of each answer between these times, one request after the other on one connection.

    Not by httpx, which takes more time for a request than the service.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken: list[float] = []
    with contextlib.closing(writer):
        turn = first
        while (sent := time.perf_counter()) < end:
            message, expected = requests[turn % len(requests)]
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(found.group(1)) if found else 0)
            if not head.startswith(b"HTTP/1.1 200") or (expected and body != expected):
                raise AssertionError(f"another answer than predict's: {head[:40]!r} {body[:80]!r}")
            if sent >= begin:
                taken.append(time.perf_counter() - sent)
            turn += 1
    return taken


async def _run(port: int, kind: Kind, connections: int, seconds: float) -> tuple[list[float], float]:
    begin = time.perf_counter() + _BEFORE * seconds
    runs = [_connection(port, kind.requests, i, begin, begin + seconds) for i in range(connections)]
    gathered = await asyncio.gather(*runs)
    return [seconds for taken in gathered for seconds in taken], time.perf_counter() - begin


def measure(port: int, kind: Kind, connections: int, seconds: float) -> dict[str, Any]:
    """Requests a second, and the median and the 99th percentile of the milliseconds until the answer."""
    own = time.process_time()
    taken, wall = asyncio.run(_run(port, kind, connections, seconds))
    own = (time.process_time() - own) / (wall + _BEFORE * seconds)
    half, most = (np.percentile(taken, [50, 99]) * 1e3).tolist()
    return {"kind": kind.name, "connections": connections, "requests": len(taken), "per_second": len(taken) / wall,
            "p50_ms": half, "p99_ms": most, "client_share_of_a_core": own}  # fmt: skip


def seed_net(path: Path) -> None:
    """A net of the size of the tutorial's, 784-16-8-10, whose weights are random: its speed doesn't depend on them."""
    fastmlp.utils.set_random_seed(0)
    hidden = [Dense(16, activation="sigmoid"), Dense(8, activation="sigmoid")]
    fastmlp.Sequential([Input((784,)), *hidden, Dense(10, activation="softmax")]).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Requests a second and p99 of the example service, on loopback.")
    parser.add_argument("--model", type=Path, help="file of a saved model (default: a new net 784-16-8-10)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each kind and number of connections")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--batch", type=int, default=256, help="rows of the batch")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or Path(folder) / "net.safetensors"
        if options.model is None:
            seed_net(path)
        model = fastmlp.models.load_model(path, compile=False)
        results = []
        print(f"{options.workers} process(es), {os.cpu_count()} cores, every answer compared with predict's bits\n")
        print("| request | connections | requests/s | p50 ms | p99 ms | client's share of a core |")
        print("| --- | --- | --- | --- | --- | --- |")
        with Service(path, "--workers", str(options.workers)) as service:
            for kind in kinds(model, service.port, options.batch):
                for connections in options.connections:
                    row = measure(service.port, kind, connections, options.seconds)
                    results.append(row)
                    print(f"| {kind.name} | {connections} | {row['per_second']:,.0f} | {row['p50_ms']:.2f} | "
                          f"{row['p99_ms']:.2f} | {row['client_share_of_a_core']:.0%} |", flush=True)  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
