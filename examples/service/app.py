r"""A saved model behind HTTP: what a small service of predictions looks like.

    pip install 'fastmlp[service]'
    MODEL=model.safetensors uvicorn --app-dir examples/service --factory app:create_app --port 8000

The model is read once, when a process starts, and its kernels are compiled before the first request comes. The bits of
an answer are those of `predict`.

    GET  /health    {"status": "ok", "model": ..., "input_shape": [784], "output_shape": [10], "parameters": ...}
    POST /predict   JSON {"x": [[0, 0, ...], ...]}, samples in rows                -> {"outputs": [[0.1, ...], ...]}
    POST /predict   Content-Type: application/octet-stream; raw rows, one after the other, little-endian, of float32,
                    or of uint8 with /predict?dtype=uint8                          -> the same
                    With Accept: application/octet-stream the answer is raw too: float32, little-endian, row by row,
                    or float64 of a model of that type.

What can't be read or doesn't fit the model is answered by 422 with the library's own message in "detail", a body of
another type by 415, and one that is too large by 413, before it is read.

Several processes, each with its share of the cores, share the memory of a model that is read before they are forked:

    pip install gunicorn
    MODEL=model.safetensors FASTMLP_NUM_THREADS=1 gunicorn --chdir examples/service --preload --workers 4 \
        --worker-class uvicorn.workers.UvicornWorker 'app:create_app()'

(uvicorn's own `--workers 4` works as well, but unless uvloop is installed, its answers wait 40 ms for the client to
confirm their first packet.)

Variables: MODEL is the file, .safetensors or .keras; MAX_BODY the most bytes of a request, 16 MiB unless set.
"""

import asyncio
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response

import fastmlp
from fastmlp.models import Sequential, load_model

RAW = "application/octet-stream"

#: Multiplications from which on a request is handed to a thread, so that others are answered meanwhile: some 1 ms. What
#: takes less is answered at once, as a thread costs 0.1 ms, on a busy machine many times that.
WORTH_A_THREAD = 10_000_000

#: What reading a byte of JSON is worth in multiplications.
JSON_BYTE = 200

#: Types of raw rows.
DTYPES = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}


def create_app(path: str | None = None, max_body: int | None = None) -> FastAPI:
    """The service of one model.

    Args:
        path: File of the model; None takes the variable MODEL.
        max_body: Most bytes of a request's body; None takes the variable MAX_BODY, or 16 MiB.
    """
    path = path or os.environ.get("MODEL")
    if not path:
        raise SystemExit("set MODEL to the file of a saved model, .safetensors or .keras")
    limit = max_body or int(os.environ.get("MAX_BODY", 2**24))
    model = load_model(path, compile=False)
    warm_up(model)
    # Multiplications that a byte of a request can be worth: a number takes one byte of uint8, and more in all else.
    work = model.count_params() / np.prod(model.input_shape[1:])
    # As many as compute at once: more of them only wait for each other, and some requests very long. No thread runs
    # before the first is needed, so processes may still be forked.
    pool = ThreadPoolExecutor(fastmlp.get_num_threads())
    app = FastAPI(title=f"Predictions of {model.name}")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "model": model.name,
            "input_shape": model.input_shape[1:],
            "output_shape": model.output_shape[1:],
            "parameters": model.count_params(),
            "fastmlp": fastmlp.__version__,
        }

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (RAW, "application/json"):
            raise HTTPException(415, f"Content-Type must be application/json or {RAW}, got {kind!r}")
        dtype = request.query_params.get("dtype", "float32") if kind == RAW else None
        wants_raw = request.headers.get("accept", "").partition(";")[0].strip().lower() == RAW
        body = await body_of(request, limit)
        try:
            if len(body) * (work + (JSON_BYTE if dtype is None else 1)) < WORTH_A_THREAD:
                return answer(model, body, dtype, wants_raw)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(pool, answer, model, body, dtype, wants_raw)
        except (ValueError, TypeError) as error:
            raise HTTPException(422, str(error)) from None

    return app


def warm_up(model: Sequential) -> None:
    """Compile, or read from disk, all kernels that predictions need."""
    for dtype in DTYPES.values():
        for rows in (1, 100):
            model.predict(np.zeros((rows, *model.input_shape[1:]), dtype))


async def body_of(request: Request, limit: int) -> bytes:
    """The request's body, of which no more than `limit` bytes are ever kept."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit:
        raise HTTPException(413, f"the body has {said} bytes, at most {limit} are taken; send fewer rows at a time")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise HTTPException(413, f"the body has more than {limit} bytes; send fewer rows at a time")
        parts.append(part)
    return b"".join(parts)


def answer(model: Sequential, body: bytes, dtype: str | None, wants_raw: bool) -> Response:
    """The response to a body of raw rows of that dtype, or of JSON if it is None.

    Raises:
        ValueError: If it can't be read, or doesn't fit the model.
        TypeError: If it holds no numbers.
    """
    x = rows_of_json(body) if dtype is None else raw_rows(body, dtype, model.input_shape[1:])
    out = model.predict(x)
    if wants_raw:
        return Response(out.astype(out.dtype.newbyteorder("<"), copy=False).tobytes(), media_type=RAW)
    if not np.isfinite(out).all():
        raise ValueError("the outputs are too large for JSON, which has no infinity; ask for Accept: " + RAW)
    return Response(json.dumps({"outputs": out.tolist()}), media_type="application/json")


def rows_of_json(body: bytes) -> Any:
    """What is under "x" in a JSON object."""
    if body.count(b'"') > 2:  # one long string would make an array of NumPy that has room for it in every element
        raise ValueError('the body must have no strings but "x"; x holds numbers')
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is no JSON: {error}") from None
    if not isinstance(given, dict) or given.keys() != {"x"} or not isinstance(given["x"], list):
        raise ValueError('the body must be an object with samples in rows, {"x": [[...], ...]}')
    return given["x"]


def raw_rows(body: bytes, dtype: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Samples (n, *shape) that lie in the bytes one after the other."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be {' or '.join(DTYPES)}, got {dtype!r}")
    size = int(np.prod(shape)) * DTYPES[dtype].itemsize
    if len(body) % size:
        raise ValueError(f"a sample of shape {shape} has {size} bytes in {dtype}, but the body has {len(body)}")
    return np.frombuffer(body, DTYPES[dtype]).reshape(-1, *shape)


if __name__ == "__main__":
    import uvicorn

    if len(sys.argv) != 2:
        raise SystemExit("usage: python examples/service/app.py model.safetensors")
    uvicorn.run(create_app(sys.argv[1]), access_log=False)
