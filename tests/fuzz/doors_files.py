"""Doors for files: valid ones that were damaged, and ones that are well formed and say something else."""

import contextlib
import functools
import gzip
import hashlib
import io
import json
import os
import struct
import tempfile
import zipfile
from pathlib import Path
from random import Random

import inputs
import numpy as np
from doors_descriptions import everything, plain, use
from harness import NO_ANSWERS, door, unchanged

import fastmlp
from fastmlp import callbacks
from fastmlp.datasets import _idx, _store
from fastmlp.models import from_onnx, from_torch, load_model


@functools.cache
def _folder() -> Path:
    """A folder for this process."""
    holder = tempfile.TemporaryDirectory(prefix="fastmlp-fuzz-")
    _holders.append(holder)
    return Path(holder.name)


_holders: list = []


def _file(name: str, content: bytes) -> str:
    path = _folder() / name
    path.write_bytes(content)
    return str(path)


@functools.cache
def _valid(ending: str) -> tuple[bytes, ...]:
    """Files of that ending."""
    made = []
    for number, model in enumerate((plain(), everything())):
        path = str(_folder() / f"valid{number}{ending}")
        if ending == ".onnx":
            model.export(path)
        elif ending == ".torch.safetensors":
            model = plain() if number else _of_linear()
            model.export(path, format="torch")
        elif ending.startswith(".weights"):
            model.save_weights(path)
        else:
            model.save(path)
        made.append(Path(path).read_bytes())
    return tuple(made)


def _of_linear() -> fastmlp.Sequential:
    return fastmlp.Sequential([fastmlp.Input((4,)), fastmlp.Dense(3), fastmlp.Dense(2)])


@functools.cache
def _targets() -> tuple[fastmlp.Sequential, ...]:
    return plain(), everything()


def _with_limits(names: tuple[str, ...]) -> None:
    """Nothing else lies in the folder: no door writes where a file tells it to."""
    wrong = [name for name in os.listdir(_folder()) if not name.startswith(("valid", *names))]
    if wrong:
        raise AssertionError(f"files {wrong} were written")


# ------------------------------------------------------------------ safetensors


def _safetensors(rng: Random, content: bytes) -> bytes:
    """Damaged bytes; or another header, or another description in it, around the same arrays."""
    how = rng.randrange(4)
    if how == 0:
        return inputs.damaged(rng, content, _valid(".safetensors"))
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    metadata = header.get("__metadata__", {})
    if how >= 2 and "fastmlp" in metadata:
        metadata["fastmlp"] = json.dumps(inputs.changed(rng, json.loads(metadata["fastmlp"])))
        if rng.random() < 0.03:
            metadata["fastmlp"] = rng.choice(("[" * 10**5, '{"config":' * 10**5, "", "3", "[]", '"x"'))
    else:
        header = inputs.changed(rng, header, _header_value)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _header_value(rng: Random) -> object:
    return rng.choice(
        (
            "F16",
            "BF16",
            "F8_E4M3",
            "F8_E5M2",
            "I64",
            "BOOL",
            "U8",
            "F64",
            "C64",
            "F4",
            [0, 4],
            [5],
            [0],
            [2**40, 4],
            [],
            inputs.value(rng),
        )
    )


@door
def safetensors_model(rng: Random) -> None:
    path = _file("model.safetensors", _safetensors(rng, rng.choice(_valid(".safetensors"))))
    use(load_model(path) if rng.random() < 0.7 else load_model(path, compile=False))


@door
def safetensors_weights(rng: Random) -> None:
    number = rng.randrange(2)
    model = _targets()[number]
    path = _file(
        "weights.safetensors", _safetensors(rng, _valid(rng.choice((".safetensors", ".weights.safetensors")))[number])
    )
    _load_weights(model, path)


def _load_weights(model: fastmlp.Sequential, path: str) -> None:
    before = model.get_weights()
    try:
        unchanged(model, lambda: model.load_weights(path))
    finally:
        model.set_weights(before)


@door
def torch_weights(rng: Random) -> None:
    path = _file("torch.safetensors", _safetensors(rng, _valid(".torch.safetensors")[0]))
    use(from_torch(path, "relu"))


@door
def torch_dict(rng: Random) -> None:
    state: dict = {"0.weight": np.ones((3, 4)), "0.bias": np.ones(3), "2.weight": np.ones((2, 3)), "2.bias": np.ones(2)}
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(list(state))
        how = rng.randrange(4)
        if how == 0:
            state[rng.choice((*inputs.TEXTS, "0.weight.weight", "weight", "99999999999999999999.weight", 3, None))] = (
                state.pop(name)
            )
        elif how == 1:
            state[name] = inputs.thing(rng)
        else:
            state[name] = inputs.array(rng, np.shape(state[name]))
    more = (
        {rng.choice(("activation", "output_activation", "input_shape", "name")): inputs.thing(rng)}
        if (rng.random() < 0.3)
        else {}
    )
    use(from_torch(state, **{"activation": "relu", **more}))


@door
def backup(rng: Random) -> None:
    folder = _folder() / "valid-backup"
    model = _targets()[0]
    x, y = np.zeros((4, 4)), np.array([0, 1, 1, 0])
    if not (folder / "whole").exists():
        model.fit(x, y, verbose=0, callbacks=[callbacks.BackupAndRestore(folder, delete_checkpoint=False)])
        (folder / "latest.safetensors").rename(folder / "whole")
    (folder / "latest.safetensors").write_bytes(_safetensors(rng, (folder / "whole").read_bytes()))
    before = model.training_state()
    try:
        model.fit(x, y, verbose=0, epochs=2, callbacks=[callbacks.BackupAndRestore(folder, delete_checkpoint=False)])
    finally:
        model.restore_training_state(before)


# ------------------------------------------------------------------ Keras's files


def _repacked(members: dict[str, bytes], rng: Random) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


@door
def keras_model(rng: Random) -> None:
    content = rng.choice(_valid(".keras"))
    how = rng.randrange(4)
    if how == 0:
        content = inputs.damaged(rng, content)
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = "config.json" if how > 1 else rng.choice(list(members))
        if how > 1:
            members[name] = json.dumps(inputs.changed(rng, json.loads(members[name]))).encode()
        else:
            members[name] = inputs.damaged(rng, members[name])
        if rng.random() < 0.1:
            members[rng.choice(("../escaped", "/tmp/fastmlp-escaped", "x/../../y"))] = b"x"
        content = _repacked(members, rng)
    path = _file("model.keras", content)
    try:
        use(load_model(path))
    finally:
        _with_limits(("model", "weights", "torch", "preprocessing", "array", "table", "network"))


@door
def keras_weights(rng: Random) -> None:
    number = rng.randrange(2)
    _load_weights(
        _targets()[number],
        _file(
            "weights.h5" if rng.random() < 0.1 else "weights.weights.h5",
            inputs.damaged(rng, _valid(".weights.h5")[number]),
        ),
    )


# ------------------------------------------------------------------ ONNX


@functools.cache
def _onnx() -> tuple:
    import onnx

    return onnx, [onnx.load_model_from_string(content) for content in _valid(".onnx")]


def _changed_proto(rng: Random, proto) -> None:
    """Another value in some field of some message within."""
    fields = proto.ListFields()
    if not fields:
        return
    field, held = rng.choice(fields)
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    if field.message_type is not None:
        if not repeated:
            _changed_proto(rng, held)
        elif rng.random() < 0.75:
            _changed_proto(rng, rng.choice(held))
        elif rng.random() < 0.5:
            held.add().CopyFrom(rng.choice(held))
        else:
            del held[rng.randrange(len(held))]
        return
    new = _scalar(rng, field, held)
    with contextlib.suppress(ValueError, TypeError, UnicodeError):  # of another type or range
        if not repeated:
            setattr(proto, field.name, new)
        elif rng.random() < 0.3:
            held.append(new)
        elif rng.random() < 0.3:
            del held[rng.randrange(len(held))]
        else:
            held[rng.randrange(len(held))] = new


def _scalar(rng: Random, field, held):
    if field.cpp_type == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return inputs.damaged(rng, held if isinstance(held, bytes) else b"none")
        return rng.choice(
            (*inputs.TEXTS, "x", "input", "Concat", "Reshape", "Gather", "Transpose", "Where", "ReduceMean", "Sub")
        )
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
    return rng.choice((0, 1, -1, 2, 3, 5, 7, 100, 2**31 - 1, 2**40, 2**62, -(2**63)))


@door
def onnx_model(rng: Random) -> None:
    onnx, protos = _onnx()
    if rng.random() < 0.4:
        content = inputs.damaged(rng, rng.choice(_valid(".onnx")), _valid(".onnx"))
    else:
        proto = onnx.ModelProto()
        proto.CopyFrom(rng.choice(protos))
        for _ in range(rng.choice((1, 1, 2, 4))):
            _changed_proto(rng, proto)
        content = proto.SerializeToString()
    use(from_onnx(_file("network.onnx", content)))


@door
def onnx_graph(rng: Random) -> None:
    """Graphs of operators that were thrown together."""
    onnx, _ = _onnx()
    from onnx import helper, numpy_helper

    from fastmlp.saving.onnx_operators import _CONSTANTS, OPERATORS

    sizes = (1, 2, 3, 4)
    constants = [
        numpy_helper.from_array(
            np.ones(
                rng.choice(((), (1,), (4,), (4, 4), (4, 2), (1, 4), (0,), (2, 3, 4))),
                rng.choice((np.float32, np.int64)),
            ),
            f"c{i}",
        )
        for i in range(4)
    ]
    names = ["x", *(constant.name for constant in constants)]
    nodes = []
    for i in range(rng.randrange(1, 12)):
        operator = rng.choice((*OPERATORS, *_CONSTANTS, "Reshape", "Shape", "MatMul", "Gemm"))
        domain, _, name = operator.rpartition(".")
        given = [rng.choice((names[-1], rng.choice(names))) for _ in range(rng.choice((1, 2, 2, 3, 4, 6)))]
        attributes = {
            rng.choice(
                (
                    "axis",
                    "axes",
                    "perm",
                    "to",
                    "alpha",
                    "epsilon",
                    "min",
                    "max",
                    "value",
                    "keepdims",
                    "transB",
                    "scale",
                    "offset",
                    "gamma",
                    "beta",
                    "approximate",
                )
            ): rng.choice((0, 1, -1, 2**40, 0.5, float("nan"), [0], [1, 0], [7], "text", constants[0]))
            for _ in range(rng.randrange(3))
        }
        nodes.append(helper.make_node(name, given, [f"n{i}"], domain=domain, **attributes))
        names.append(f"n{i}")
    shape = [
        rng.choice((None, "n", 1, *sizes)),
        *(rng.choice((4, 4, None, 2**40, *sizes)) for _ in range(rng.choice((1, 1, 2)))),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(names[-1], onnx.TensorProto.FLOAT, [None, None])
    graph = helper.make_graph(nodes, "graph", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", rng.choice((7, 13, 20)))])
    use(from_onnx(_file("network.onnx", model.SerializeToString())))


# ------------------------------------------------------------------ data sets

_SHAPES = {"x_train": (6, 2, 2), "y_train": (6,), "x_test": (3, 2, 2), "y_test": (3,)}


@door
def npz(rng: Random) -> None:
    arrays: dict = {name: np.zeros(shape, np.uint8) for name, shape in _SHAPES.items()}
    content = io.BytesIO()
    if rng.random() < 0.4:
        arrays[rng.choice(list(arrays))] = rng.choice(
            (np.zeros(3), np.array([object()]), np.zeros((6, 2, 2), "O"), np.array("x"))
        )
    np.savez_compressed(content, **arrays) if rng.random() < 0.5 else np.savez(content, **arrays)
    made = content.getvalue()
    if rng.random() < 0.8:
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(list(members))
        members[name] = inputs.damaged(rng, members[name])
        made = _repacked(members, rng) if rng.random() < 0.6 else inputs.damaged(rng, made)
    before = dict(_store.SHAPES)
    _store.SHAPES.update(_SHAPES)
    try:
        _store.read(Path(_file("array.npz", made)))
    finally:
        _store.SHAPES.update(before)


@door
def idx(rng: Random) -> None:
    """The hash is that of the damaged file, so that what lies behind it is reached."""
    shape = (6, 2, 2)
    content = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in shape) + bytes(24)
    if rng.random() < 0.6:
        content = inputs.damaged(rng, content)
    packed = gzip.compress(content, mtime=0)
    if rng.random() < 0.6:
        packed = inputs.damaged(rng, packed)
    made = _idx.read_idx(Path(_file("array.gz", packed)), hashlib.sha256(packed).hexdigest(), shape)
    if made.shape != shape or made.dtype != np.uint8:
        raise AssertionError(f"read {made.dtype} {made.shape}")


# ------------------------------------------------------------------ tables and the command line

_CSV = b"height,town,weight,group\n" + b"".join(
    b"%d.5,%s,%d,%s\n" % (150 + i, (b"Bonn", b'"K,ln"', b"")[i % 3], 40 + i * 7 % 50, (b"a", b"b")[i % 2])
    for i in range(24)
)


def _csv(rng: Random) -> bytes:
    how = rng.randrange(6)
    if how == 0:
        return inputs.damaged(rng, _CSV.decode().encode(rng.choice(("utf-16", "utf-8-sig", "utf-32", "utf-16-le"))))
    if how == 1:
        lines = _CSV.split(b"\n")
        at = rng.randrange(len(lines))
        cells = lines[at].split(b",")
        cells[rng.randrange(len(cells))] = rng.choice(
            (
                b"",
                b'"',
                b'""',
                b"1e999",
                b"nan",
                b"-inf",
                b"x" * 10**5,
                b"\xff",
                b"=cmd()",
                b"height",
                b"1_000",
                b"0x10",
                b"\r",
                b"9" * 400,
                b"True",
            )
        )
        lines[at] = b",".join(cells)
        return b"\n".join(lines)
    if how == 2:
        return rng.choice(
            (
                b"",
                b"\n\n",
                b",",
                b"a",
                b"a,b\n",
                b"\0",
                b"\xff\xfe",
                b'"',
                b"a;b|c\t\n1;2\n",
                b",,,\n1,2,3,4\n",
                b"a,a\n1,2\n",
                b"a" + b",a" * 3000 + b"\n",
                b"\x0b\n1",
                b"\x1c1\n2\n",
                b"a\n" + b'"' * 9,
            )
        )
    return inputs.damaged(rng, _CSV)


@door
def table(rng: Random) -> None:
    from fastmlp import tables
    from fastmlp.tables import columns, reading

    path = _file(rng.choice(("table.csv", "table.csv", "table.tsv")), _csv(rng))
    more = {}
    if rng.random() < 0.3:
        more["encoding"] = rng.choice(
            (
                "latin-1",
                "utf-16",
                "idna",
                "punycode",
                "undefined",
                "hex",
                "zlib",
                "rot13",
                "",
                "x" * 500,
                "unicode_escape",
                "raw_unicode_escape",
                "mbcs",
                "\0",
                "utf-7",
                "cp037",
            )
        )
    if rng.random() < 0.3:
        more["separator"] = rng.choice((",", ";", "\t", " ", "a", '"', "1"))
    read = reading.read_table(path, **more)
    frame = read.frame
    target = rng.choice([*frame.columns, "group"])
    if rng.random() < 0.05:
        settings = tables.Settings(epochs=1, hidden=(2,)) if hasattr(tables, "Settings") else None
        if settings is not None and hasattr(tables, "train_table"):
            with _quiet():
                tables.train_table(read, str(target), settings=settings)
        return
    for name in frame.columns:
        columns._decide(frame[name], name)
        columns.numbers(frame[name])
        columns.class_names(frame[name])


@functools.cache
def _parquet() -> bytes:
    """A table of numbers, texts, dates and missing cells."""
    import pandas as pd

    frame = pd.DataFrame({
        "height": [150.5 + i for i in range(24)],
        "town": ["Bonn", "Ulm", None] * 8,
        "born": pd.date_range("2020", periods=24),
        "group": pd.Categorical(["a", "b"] * 12),
    })  # fmt: skip
    made = io.BytesIO()
    frame.to_parquet(made)
    return made.getvalue()


@door
def parquet_table(rng: Random) -> None:
    from fastmlp import tables
    from fastmlp.tables import columns

    read = tables.read_table(_file("table.parquet", inputs.damaged(rng, _parquet())))
    for name in read.frame.columns:
        columns._decide(read.frame[name], name)


def _quiet() -> contextlib.AbstractContextManager:
    return contextlib.redirect_stdout(io.StringIO())


@functools.cache
def _trained() -> tuple[bytes, bytes]:
    """model.safetensors and preprocessing.json of a training."""
    from fastmlp import cli

    path, folder = _file("table.csv", _CSV), _folder() / "valid-trained"
    with _quiet():
        cli.main(["train", path, "--target", "group", "--out", str(folder), "--epochs", "1", "--hidden", "3"])
    return (folder / "model.safetensors").read_bytes(), (folder / "preprocessing.json").read_bytes()


@door
def predict_folder(rng: Random) -> None:
    """What `fastmlp train` wrote, changed, and `fastmlp predict` with it."""
    from fastmlp.tables import predict_table, read_table

    model, text = _trained()
    content = rng.choice(
        (
            lambda: inputs.damaged(rng, text),
            lambda: json.dumps(inputs.changed(rng, json.loads(text))).encode(),
            lambda: json.dumps(inputs.changed(rng, json.loads(text))).encode(),
            lambda: rng.choice((b"[" * 10**5, b"3", b"[]", b"null", b'{"columns":' * 10**4)),
        )
    )()
    folder = _folder() / "valid-changed"
    folder.mkdir(exist_ok=True)
    (folder / "preprocessing.json").write_bytes(content)
    (folder / "model.safetensors").write_bytes(model if rng.random() < 0.7 else _safetensors(rng, model))
    predict_table(folder, read_table(_file("table.csv", _CSV if rng.random() < 0.7 else _csv(rng))))


@door
def command_line(rng: Random) -> None:
    """One line and a status: no traceback, whatever the words are."""
    from fastmlp import cli

    path = _file("table.csv", _CSV if rng.random() < 0.7 else _csv(rng))
    words = rng.choice(
        (
            [
                "train",
                path,
                "--target",
                "group",
                "--epochs",
                "1",
                "--hidden",
                "2",
                "--out",
                str(_folder() / "valid-out"),
            ],
            ["predict", str(_folder() / "valid-trained"), path, "--out", "-"],
            ["digits", "--epochs", "x"],
            ["completion", "bash"],
            ["info"],
            ["no-such"],
            [],
        )
    )
    _trained()
    words = list(words)
    options = (
        "--target",
        "--task",
        "--test",
        "--hidden",
        "--activation",
        "--batch-size",
        "--learning-rate",
        "--seed",
        "--separator",
        "--encoding",
        "--epochs",
        "-h",
        "--",
        "-",
        "--version",
    )
    values = (
        "",
        "0",
        "-1",
        "nan",
        "inf",
        "1e400",
        "9" * 30,
        "9" * 5000,
        "group",
        "town",
        "weight",
        "0.5",
        ",",
        "1,2",
        "2,,",
        "relu",
        "softmax",
        "\u0663",
        "²",
        "é",
        ";;",
        "\\t",
        "zlib",
        "undefined",
        "punycode",
        "/",
        "classification",
    )
    for _ in range(rng.choice((0, 1, 1, 2))):
        option = rng.choice(options)
        words += [option, rng.choice(values)] if rng.random() < 0.8 else [rng.choice(values)]
    if words[:1] in (["digits"], ["info"]) and "--epochs" not in words:
        words.append("--nonsense")
    if any(word in ("9" * 30, "9" * 5000) for word in words) and "--epochs" in words[-4:]:
        return  # it would train as long as it is told to
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.main(words)
    except SystemExit as leave:
        status = leave.code
    except NO_ANSWERS:
        raise
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise AssertionError(f"fastmlp {words} raised {error!r}") from error
    if status not in (0, 1, 2) or (status and not err.getvalue().strip()):
        raise AssertionError(f"fastmlp {words} ended with {status} and {err.getvalue()!r}")
