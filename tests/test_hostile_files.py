"""Files that ask for much: a few bytes that declare, repeat or nest so much that who believes them has no memory left.

One process makes and reads them all, with so much memory that none of them may be believed; each is one test. Those
that are merely damaged are in test_fuzz.py.
"""

import hashlib
import io
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from support import compiled_only

import fastmlp
from fastmlp import callbacks, layers, models
from fastmlp.datasets import _idx, _store

resource = pytest.importorskip("resource")

#: Bytes beyond what the process has when it begins, and seconds of computing, that a file may take.
MOST_BYTES, MOST_SECONDS = 400 << 20, 4.0

#: By name: what makes a file in a folder and reads it, and how the error that it ends in begins to say why.
CASES = {}


def case(match):
    """Decorator: a file that is refused with such a text; None for one that is read, soon and in little memory."""

    def register(function):
        CASES[function.__name__] = function, match
        return function

    return register


def zeros(size):
    """A raw deflate stream of so many MiB of zeros, made without compressing them all."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return block * size + compressor.flush()


def model(**options):
    made = fastmlp.Sequential([layers.Input((4,)), layers.Dense(3, "relu"), layers.Dense(2, "softmax")], **options)
    made.compile("adam", "sparse_categorical_crossentropy")
    return made


# ------------------------------------------------------------------ .safetensors


def safetensors(path, arrays, description=None, **metadata):
    from safetensors.numpy import save_file

    if description is not None:
        metadata["fastmlp"] = description if isinstance(description, str) else json.dumps(description)
    save_file(arrays, path, metadata or None)
    return path


def raw_safetensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def terabyte_of_nothing(path):
    """A file that takes no place on the disk."""
    path.touch()
    os.truncate(path, 1 << 40)
    return path


def described(**changes):
    """A description of a model."""
    made = model()
    return {
        "format": 1,
        "config": made.get_config(),
        "compile": fastmlp.saving.description.compile_of(made),
        "iterations": 0,
        "seeds": {},
        **changes,
    }


@case("can't be read as a .safetensors file")
def safetensors_header_longer_than_the_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 26) + b"{}")
    models.load_model(path)


@case("can't be read as a .safetensors file")
def safetensors_array_larger_than_the_file(folder):
    header = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}
    models.load_model(raw_safetensors(folder / "model.safetensors", header, bytes(4)))


@case("can't be read as a .safetensors file")
def safetensors_shape_whose_product_overflows(folder):
    header = {"a": {"dtype": "F32", "shape": [1 << 32, 1 << 32, 4], "data_offsets": [0, 0]}}
    models.load_model(raw_safetensors(folder / "model.safetensors", header))


@case("can't be read as a .safetensors file")
def safetensors_terabyte_of_nothing(folder):
    models.load_model(terabyte_of_nothing(folder / "model.safetensors"))


@case("layers")
def safetensors_description_of_very_many_layers(folder):
    entries = [{"class_name": "Dropout", "config": {"rate": 0.5}}] * 100_000
    config = {"name": "m", "dtype": "float32", "layers": entries, "build_input_shape": [None, 4]}
    models.load_model(safetensors(folder / "model.safetensors", {}, described(config=config, compile=None)))


@case("metrics")
def safetensors_description_of_very_many_metrics(folder):
    entry = {"class_name": "AUC", "config": {"num_thresholds": 1_000_000}}
    compiled = {**described()["compile"], "metrics": [entry] * 1000}
    arrays = {name: np.array(view) for name, view in fastmlp.saving.description.weights_of(model()).items()}
    models.load_model(safetensors(folder / "model.safetensors", arrays, described(compile=compiled)))


@case("can't be read as a .safetensors file")
def safetensors_description_nested_deeply(folder):
    models.load_model(safetensors(folder / "model.safetensors", {}, '{"config":' * 200_000))


@case("layers")
def json_of_very_many_layers(folder):
    entries = [{"class_name": "Dropout", "config": {"rate": 0.5}}] * 100_000
    config = {"name": "m", "dtype": "float32", "layers": entries, "build_input_shape": [None, 4]}
    models.model_from_json(json.dumps({"class_name": "Sequential", "config": config}))


@case("of no Linear layer|layers")
def state_dict_of_very_many_layers(folder):
    count = 100_000
    header = {
        f"{i}.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(count)
    }
    models.from_torch(raw_safetensors(folder / "net.safetensors", header, bytes(4 * count)), "relu")


@case("doesn't fit the model")
def weights_of_very_many_arrays(folder):
    count = 100_000
    header = {f"x/{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(count)}
    model().load_weights(raw_safetensors(folder / "w.safetensors", header, bytes(4 * count)))


# ------------------------------------------------------------------ backups


def backup(folder, callback_states, extra=(), **place):
    """A backup of a training, with the states of its callbacks changed."""
    from safetensors.numpy import load_file, save_file

    made = model()
    x, y = np.zeros((8, 4), np.float32), np.zeros(8, int)
    made.fit(x, y, verbose=0, callbacks=[callbacks.BackupAndRestore(folder, delete_checkpoint=False)])
    path = folder / "latest.safetensors"
    arrays = load_file(path)
    metadata = {"epoch": "1", "batch": "0", "stopped": "0", "callbacks": callback_states, **place}
    save_file(arrays, path, metadata)
    resumed = [callbacks.BackupAndRestore(folder), *extra]
    before = [w.copy() for w in made.get_weights()]
    try:
        made.fit(x, y, epochs=2, verbose=0, callbacks=resumed)
    finally:
        assert all((a == b).all() for a, b in zip(before, made.get_weights())) or not callback_states


@case("can't be read")
def backup_nested_deeply(folder):
    backup(folder, "[" * 200_000)


@case("can't be read")
def backup_that_names_an_array_it_lacks(folder):
    backup(folder, json.dumps([["BackupAndRestore", 0, {"dict": {"counter": {"array": 3}}}, 0]]))


@case("can't be read")
def backup_of_an_epoch_before_the_first(folder):
    backup(folder, "[]", epoch="-5")


@case("can't be read")
def backup_of_half_a_callback(folder):
    state = {"dict": {"best": "x"}}
    backup(folder, json.dumps([["EarlyStopping", 0, state, 0]]), [callbacks.EarlyStopping("loss")])


@case("can't be read")
def backup_of_a_callback_of_other_types(folder):
    state = {"dict": {"wait": "x", "best": [], "best_epoch": {"dict": {}}, "stopped_epoch": None}}
    backup(folder, json.dumps([["EarlyStopping", 0, state, 0]]), [callbacks.EarlyStopping("loss")])


# ------------------------------------------------------------------ .keras and .h5


def keras_members(made=None):
    path = io.BytesIO()
    made = made or model()
    from fastmlp.saving import hdf5, keras_arrays, keras_configs

    path = {
        "metadata.json": json.dumps({"keras_version": "3.0.0"}).encode(),
        "config.json": json.dumps(keras_configs.config_of(made)).encode(),
        "model.weights.h5": hdf5.written(keras_arrays.groups(made)),
    }
    return path


def zipped(path, members, claimed=None):
    """A zip of members: bytes, or a pair of a raw deflate stream and the size that is claimed of it."""
    made = io.BytesIO()
    places = []
    for name, content in members.items():
        packed, size, method = (content[0], content[1], 8) if isinstance(content, tuple) else (content, len(content), 0)
        crc = 0 if isinstance(content, tuple) else zlib.crc32(content)
        places.append((name.encode(), made.tell(), method, crc, len(packed), size))
        head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, method, 0, 0x21, crc, len(packed), size, len(name), 0)
        made.write(head + name.encode() + packed)
    begin = made.tell()
    for name, offset, method, crc, held, size in places:
        extra = b""
        if claimed and name.decode() in claimed:
            extra = struct.pack("<2H2Q", 1, 16, *claimed[name.decode()])
            held = size = 0xFFFFFFFF
        made.write(
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, method, 0, 0x21, crc, held, size, len(name), len(extra),
                        0, 0, 0, 0, offset)
            + name
            + extra
        )  # fmt: skip
    size = made.tell() - begin
    made.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(places), len(places), size, begin, 0))
    path.write_bytes(made.getvalue())
    return path


@case("can't be read|would grow")
def keras_member_that_grows_beyond_what_it_says(folder):
    members = {**keras_members(), "config.json": (zeros(1500), 1000)}
    models.load_model(zipped(folder / "m.keras", members))


@case("would grow")
def keras_member_that_grows_as_it_says(folder):
    members = {**keras_members(), "model.weights.h5": (zeros(1500), 1500 << 20)}
    models.load_model(zipped(folder / "m.keras", members))


@case("more than there are")
def keras_member_longer_than_the_file(folder):
    members = keras_members()
    claimed = {"model.weights.h5": (1 << 46, 1 << 46)}
    models.load_model(zipped(folder / "m.keras", members, claimed))


@case("numbers")
def keras_model_of_as_many_numbers_as_zeros_behind_its_arrays(folder):
    made = fastmlp.Sequential([layers.Input((4,)), layers.Dense(3, "relu")])
    members = keras_members(made)
    config = json.loads(members["config.json"])
    text = json.dumps(config).replace('"units": 3', '"units": 40000000')
    grown = members["model.weights.h5"] + bytes(63 << 20)
    members |= {"config.json": text.encode()}
    path = folder / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if name != "model.weights.h5" else grown)
    models.load_model(path)


@case("isn't as Keras writes it|no JSON")
def keras_description_nested_deeply(folder):
    models.load_model(zipped(folder / "m.keras", {**keras_members(), "config.json": b"[" * 1_000_000}))


@case("no JSON|doesn't fit|whole number|must be|digits")
def keras_description_with_a_number_of_a_million_digits(folder):
    members = keras_members()
    members["config.json"] = members["config.json"].replace(b'"units": 3', b'"units": ' + b"9" * 1_000_000)
    models.load_model(zipped(folder / "m.keras", members))


@case("times, which is refused")
def keras_file_with_a_member_twice(folder):
    path = folder / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in keras_members().items():
            archive.writestr(name, content)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr("config.json", "{}")
    models.load_model(path)


@case("name")
def keras_layers_of_one_name(folder):
    members = keras_members()
    config = json.loads(members["config.json"])
    for entry in config["config"]["layers"]:
        if entry["class_name"] == "Dense":
            entry["config"]["name"] = "same"
    models.load_model(zipped(folder / "m.keras", {**members, "config.json": json.dumps(config).encode()}))


@case("name")
def keras_layer_whose_name_no_file_can_hold(folder):
    members = keras_members()
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["name"] = "\ud800"
    models.load_model(zipped(folder / "m.keras", {**members, "config.json": json.dumps(config).encode()}))


def h5(path, change, made=None):
    import h5py

    (made or model()).save_weights(path)
    with h5py.File(path, "r+") as file:
        change(file, h5py)
    return path


@case("bytes")
def h5_array_of_which_nothing_was_written(folder):
    def change(file, h5py):
        held = file["layers/dense/vars"]
        shape = held["0"].shape
        del held["0"]
        held.create_dataset("0", shape, "f4")

    model().load_weights(h5(folder / "w.weights.h5", change))


@case("instead of")
def h5_array_of_a_petabyte(folder):
    def change(file, h5py):
        held = file["layers/dense/vars"]
        del held["0"]
        held.create_dataset("0", (1 << 24, 1 << 24), "f4", chunks=(1024, 1024))

    model().load_weights(h5(folder / "w.weights.h5", change))


@case("compressed")
def h5_array_compressed(folder):
    def change(file, h5py):
        held = file["layers/dense/vars"]
        del held["0"]
        held.create_dataset("0", (4, 3), "f4", compression="gzip")

    model().load_weights(h5(folder / "w.weights.h5", change))


@case("may take more than")
def h5_names_that_are_one_long_text_many_times(folder):
    import h5py

    path, count = folder / "w.h5", 2000
    with h5py.File(path, "w") as file:
        texts = np.array(["x" * (1 << 20), *["y"] * (count - 1)], dtype=object)
        file.attrs.create("layer_names", texts, dtype=h5py.string_dtype())
    content = path.read_bytes()
    # Length, place and number of each.
    lengths = [struct.pack("<I", 1 << 20), struct.pack("<I", 1), struct.pack("<I", 1)]
    first = next(
        at for at in range(len(content)) if [content[at + 16 * i : at + 16 * i + 4] for i in range(3)] == lengths
    )
    path.write_bytes(content[:first] + content[first : first + 16] * count + content[first + 16 * count :])
    model().load_weights(path)


@case("doesn't fit")
def h5_of_very_many_groups(folder):
    def change(file, h5py):
        for i in range(20_000):
            file["layers"].create_group(f"g{i}")
            if i < 100:
                file["layers"].create_group(f"g{i}/vars").create_dataset("0", data=[1.0])

    model().load_weights(h5(folder / "w.weights.h5", change))


# ------------------------------------------------------------------ ONNX


def onnx_file(path, nodes, constants=(), sample=(4,), change=None):
    import onnx
    from onnx import helper, numpy_helper

    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [None, *sample]), ("y", [None, None]))
    ]
    made = [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes]
    arrays = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph(made, "graph", [values[0]], [values[1]], arrays)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    if change is not None:
        change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def one_layer(width=4):
    return [("MatMul", ["x", "w"], ["y"])], {"w": np.ones((width, 2), np.float32)}


@case("axes")
def onnx_array_of_very_many_axes(folder):
    def change(proto):
        proto.graph.initializer[0].dims.extend([2**62] * 300_000)

    models.from_onnx(onnx_file(folder / "n.onnx", *one_layer(), change=change))


@case("axes")
def onnx_input_of_very_many_axes(folder):
    def change(proto):
        dims = proto.graph.input[0].type.tensor_type.shape.dim
        for _ in range(100_000):
            dims.add().dim_value = 2**62

    nodes = [("Flatten", ["x"], ["f"]), ("MatMul", ["f", "w"], ["y"])]
    models.from_onnx(onnx_file(folder / "n.onnx", nodes, one_layer()[1], change=change))


@case("bytes")
def onnx_weights_that_are_shared_by_very_many_layers(folder):
    count = 3000
    nodes = [("MatMul", [f"h{i}" if i else "x", "w"], [f"h{i + 1}" if i < count - 1 else "y"]) for i in range(count)]
    models.from_onnx(onnx_file(folder / "n.onnx", nodes, {"w": np.eye(256, dtype=np.float32)}, (256,)))


@case("bytes")
def onnx_constants_that_are_shared_by_very_many_nodes(folder):
    count = 5000
    nodes = [("Mul", [f"h{i}" if i else "x", "c"], [f"h{i + 1}"]) for i in range(count)]
    nodes.append(("MatMul", [f"h{count}", "w"], ["y"]))
    constants = {"c": np.ones(1 << 16, np.float32), "w": np.ones((1 << 16, 1), np.float32)}
    models.from_onnx(onnx_file(folder / "n.onnx", nodes, constants, (1 << 16,)))


@case("floats are needed")
def onnx_arrays_without_numbers_that_are_wide(folder):
    nodes = [("MatMul", ["x", "w"], ["h"]), ("PRelu", ["h", "s"], ["g"]), ("MatMul", ["g", "v"], ["y"])]
    constants = {"w": np.ones((0, 1), np.float32), "s": np.ones(1, np.float32), "v": np.ones((0, 1), np.float32)}

    def change(proto):
        proto.graph.initializer[0].dims[1] = 1 << 40
        proto.graph.initializer[2].dims[:] = [1 << 40, 0]

    models.from_onnx(onnx_file(folder / "n.onnx", nodes, constants, (0,), change))


@case("more than|bytes")
def onnx_arrays_outside_that_are_all_in_one_place(folder):
    size = 1 << 20
    (folder / "data.bin").write_bytes(bytes(size))

    def change(proto):
        for i in range(600):
            array = proto.graph.initializer.add()
            array.name, array.data_type, array.data_location = f"c{i}", 1, 1
            array.dims.append(size // 4)
            entry = array.external_data.add()
            entry.key, entry.value = "location", "data.bin"

    models.from_onnx(onnx_file(folder / "n.onnx", *one_layer(), change=change))


@case("can't be read as an ONNX file|too|larger")
def onnx_terabyte_of_nothing(folder):
    models.from_onnx(terabyte_of_nothing(folder / "n.onnx"))


@case("nodes")
def onnx_of_very_many_nodes(folder):
    path = onnx_file(folder / "n.onnx", *one_layer())
    import onnx

    proto = onnx.load(path)
    node = proto.graph.node[0]
    proto.graph.node.extend([node] * 50_000)
    path.write_bytes(proto.SerializeToString())
    models.from_onnx(path)


@case(None)
def onnx_slopes_of_one_number_for_very_many_units(folder):
    count = 5000
    nodes = [("MatMul", ["x", "w"], ["h0"])]
    nodes += [("PRelu", [f"h{i}", "c"], [f"h{i + 1}"]) for i in range(count)]
    nodes.append(("MatMul", [f"h{count}", "v"], ["y"]))
    wide = np.ones((1, 1 << 16), np.float32)
    models.from_onnx(onnx_file(folder / "n.onnx", nodes, {"w": wide, "c": 0.5 * wide[0, :1], "v": wide.T}, (1,)))


@case(None)
def onnx_row_of_as_many_nodes_as_are_read(folder):
    count = 9_990
    nodes = [("Relu" if i % 2 else "Tanh", [f"h{i}"], [f"h{i + 1}"]) for i in range(count)]
    nodes.append(("MatMul", [f"h{count}", "w"], ["y"]))
    nodes[0] = ("Relu", ["x"], ["h1"])
    models.from_onnx(onnx_file(folder / "n.onnx", nodes, one_layer()[1]))


@case(None)
def onnx_flows_that_meet_again_and_again(folder):
    count = 3000
    nodes = []
    for i in range(count):
        nodes += [("Sigmoid", [f"h{i}" if i else "x"], [f"s{i}"])]
        nodes += [("Mul", [f"h{i}" if i else "x", f"s{i}"], [f"h{i + 1}"])]
    nodes.append(("MatMul", [f"h{count}", "w"], ["y"]))
    models.from_onnx(onnx_file(folder / "n.onnx", nodes, one_layer()[1]))


# ------------------------------------------------------------------ data sets


def npz(path, name, content):
    """A data set's file of which one member is something else."""
    members = {}
    for key, shape in _store.SHAPES.items():
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        members[f"{key}.npy"] = header.getvalue()
    return zipped(path, {**members, name: content})


@case("it cannot be read as an npz file|x_train")
def npz_header_that_grows(folder):
    magic = b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFF0)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = compressor.compress(magic) + compressor.flush(zlib.Z_FULL_FLUSH)
    _store.read(npz(folder / "mnist.npz", "x_train.npy", (head + zeros(3000), 3000 << 20)))


@case("it cannot be read as an npz file|x_train")
def npz_array_under_the_name_without_its_ending(folder):
    header = io.BytesIO()
    shape = (1500 << 20,)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = compressor.compress(header.getvalue()) + compressor.flush(zlib.Z_FULL_FLUSH)
    _store.read(npz(folder / "mnist.npz", "x_train", (head + zeros(1500), (1500 << 20) + len(header.getvalue()))))


@case("does not begin")
def idx_file_that_grows(folder):
    packed = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + zeros(1500)
    path = folder / "train.gz"
    path.write_bytes(packed)
    _idx.read_idx(path, hashlib.sha256(packed).hexdigest(), (60000, 28, 28))


# ------------------------------------------------------------------ tables


def read_table(path, **options):
    from fastmlp.tables import read_table

    return read_table(path, **options)


@case("cannot be read: field larger")
def csv_header_of_one_long_cell(folder):
    (folder / "t.csv").write_text("x" * 400_000 + "\n1\n")
    read_table(folder / "t.csv")


@case("has 2000001 columns; up to")
def csv_of_very_many_columns_without_a_name(folder):
    (folder / "t.csv").write_text("a" + "," * 2_000_000 + "\n1" + "," * 2_000_000 + "\n")
    read_table(folder / "t.csv")


@case("has 400000 columns; up to")
def csv_of_very_many_columns(folder):
    names = ",".join(f"c{i}" for i in range(400_000))
    (folder / "t.csv").write_text(names + "\n" + "1," * 399_999 + "1\n")
    read_table(folder / "t.csv")


def parquet(path, columns, **options):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, **options)
    return path


@case("MiB, too many")
def parquet_of_a_hundred_million_equal_rows(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "t.parquet"
    piece = pa.table({"a": np.zeros(1 << 20, np.int64)})
    with pq.ParquetWriter(path, piece.schema) as writer:
        for _ in range(100):
            writer.write_table(piece)
    read_table(path)


@case("MiB, too many")
def parquet_of_one_long_text_many_times(folder):
    import pyarrow as pa

    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(4000, np.int32)), pa.array(["x" * (1 << 20)]))
    read_table(
        parquet(
            folder / "t.parquet",
            {"a": text, "b": np.arange(4000)},
            store_schema=False,
            dictionary_pagesize_limit=1 << 30,
        )
    )


@case("a cell is one number")
def parquet_of_lists(folder):
    import pyarrow as pa

    read_table(parquet(folder / "t.parquet", {"a": pa.array([[1, 2], [3]]), "b": [1, 2]}))


@case("is no .parquet file")
def parquet_with_a_footer_longer_than_the_file(folder):
    (folder / "t.parquet").write_bytes(b"PAR1" + bytes(8) + struct.pack("<I", 0x7FFFFFF0) + b"PAR1")
    read_table(folder / "t.parquet")


@case("the table lacks")
def preprocessing_of_long_names_that_are_alike(folder):
    from fastmlp.tables import columns

    rng = np.random.default_rng(1)
    text = "".join(rng.choice(list("abcdefgh"), 30_000))
    other = "".join(rng.choice(list("abcdefgh"), 30_000))
    import pandas as pd

    made = columns.Preprocessing("regression", "y", [], [columns.Column(text + str(i), "number") for i in range(5)])
    made.transform(pd.DataFrame({other + str(i): [1.0] for i in range(5)}))


@case("and 2990 more")
def preprocessing_of_very_many_columns_that_the_table_lacks(folder):
    import pandas as pd

    from fastmlp.tables import columns

    made = columns.Preprocessing("regression", "y", [], [columns.Column(f"a{i}", "number") for i in range(3000)])
    made.transform(pd.DataFrame([[1.0] * 3000], columns=[f"b{i}" for i in range(3000)]))


# ------------------------------------------------------------------ files that are what they should be


def calls_system(where):
    """A pickle that leaves a file when it is read."""

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {where}",)

    return pickle.dumps(Trap())


@case(None)
def valid_models_of_every_kind_run_no_code(folder):
    for ending in (".safetensors", ".keras"):
        model().save(folder / f"m{ending}")
        models.load_model(folder / f"m{ending}")
    for ending in (".safetensors", ".weights.h5"):
        model().save_weights(folder / f"w{ending}")
        model().load_weights(folder / f"w{ending}")
    model().export(folder / "net.onnx")
    models.from_onnx(folder / "net.onnx")
    model().export(folder / "net.safetensors", format="torch")
    models.from_torch(folder / "net.safetensors", "relu")
    models.model_from_json(model().to_json())


@case(None)
def pickles_under_the_endings_of_models_are_not_run(folder):
    import h5py

    content = calls_system(folder / "sprung")
    for ending in (".safetensors", ".keras", ".h5", ".weights.h5", ".onnx", ".csv", ".parquet", ".npz"):
        (folder / f"m{ending}").write_bytes(content)
    np.savez(folder / "objects.npz", **dict.fromkeys(_store.SHAPES, np.array([calls_system], dtype=object)))
    with h5py.File(folder / "text.weights.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.void(content))
    for read in (
        lambda: models.load_model(folder / "m.safetensors"),
        lambda: models.load_model(folder / "m.keras"),
        lambda: models.from_torch(folder / "m.safetensors", "relu"),
        lambda: models.from_onnx(folder / "m.onnx"),
        lambda: model().load_weights(folder / "m.weights.h5"),
        lambda: model().load_weights(folder / "m.h5"),
        lambda: model().load_weights(folder / "text.weights.h5"),
        lambda: read_table(folder / "m.csv"),
        lambda: read_table(folder / "m.parquet"),
        lambda: _store.read(folder / "m.npz"),
        lambda: _store.read(folder / "objects.npz"),
    ):
        with pytest.raises((ValueError, OSError)):
            read()
    assert not (folder / "sprung").exists()


# ------------------------------------------------------------------ the process that reads them


class TookTooLong(BaseException):
    """A file that took more than MOST_SECONDS."""


def late(signum, frame):
    raise TookTooLong


#: What runs code, or reads it: events of the interpreter's audit.
TRAPS = (
    "compile", "exec", "marshal.loads", "pickle.find_class", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn",
    "os.system", "subprocess.Popen", "ctypes.dlopen", "socket.connect", "urllib.Request",
)  # fmt: skip


def watch(run):
    """Note in `run`, from now on, which traps are sprung, except by modules that are imported from the packages."""

    def hook(event, arguments):
        if event not in TRAPS:
            return
        frames, frame = [], sys._getframe(1)
        while frame is not None:
            frames.append(frame.f_code.co_filename)
            frame = frame.f_back
        # NumPy parses the headers of its files, and ast runs nothing of what it parses.
        is_parsed = event == "compile" and Path(frames[0]).name == "ast.py"
        if not is_parsed and not any("importlib" in name for name in frames):
            run.append(f"{event} {str(arguments)[:200]} by {frames[0]}")

    sys.addaudithook(hook)


def read_all(names):
    """Make and read these files in this process; one line of JSON before and behind each."""
    # What is imported and compiled when it is first needed isn't the files' memory.
    import h5py  # noqa: F401
    import onnx  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import safetensors.numpy  # noqa: F401

    model().fit(np.zeros((4, 4)), np.zeros(4), verbose=0)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, late)
    run: list[str] = []
    watch(run)
    exec("")
    assert run, "no trap was sprung by code that is run"
    for name in names or CASES:
        print(json.dumps([name]), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            what, text = "nothing", ""
            run.clear()
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
            try:
                CASES[name][0](Path(folder))
            except BaseException as error:
                what = "refused" if isinstance(error, (ValueError, OSError)) else type(error).__name__
                text = str(error)[:2000]
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([name, what, text, run]), flush=True)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What became of each file: (name, what, text); of the last that was tried its name alone, if the process died."""
    for package in ("h5py", "onnx", "pandas", "pyarrow"):
        pytest.importorskip(package)
    here = Path(__file__).resolve()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (here.parent.parent, here.parent))),
        "FASTMLP_NUM_THREADS": "1",
        "TMPDIR": str(tmp_path_factory.mktemp("files")),
    }
    done = subprocess.run(
        [sys.executable, str(here)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert lines, done.stderr[-3000:]
    return {line[0]: line for line in lines}


@compiled_only
@pytest.mark.parametrize("name", CASES)
def test_a_file_that_asks_for_much_is_refused_in_little_memory_and_time(answers, name):
    assert name in answers, f"the process died at {list(answers)[-1]}"
    assert len(answers[name]) == 4, f"the process died at {name}"
    what, text, run = answers[name][1:]
    assert not run
    match = CASES[name][1]
    if match is None:
        assert what == "nothing", f"{what}: {text}"
    else:
        assert what == "refused", f"{what}: {text}"
        assert re.search(match, text), text


if __name__ == "__main__":
    read_all(sys.argv[1:])
