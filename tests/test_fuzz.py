"""Hostile input at every door: no crash, no code, no size believed, no hang, errors that speak, models unchanged.

The doors are in tests/fuzz/. Here each has some inputs with fixed seeds, in a process of its own that may crash and has
bounded memory. `pytest -m long tests/test_fuzz.py -s` tries as many as $FASTMLP_FUZZ_SECONDS give time for (600).
"""

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import compiled_only

import fastmlp
from fastmlp import callbacks, initializers, layers, models
from fastmlp.datasets import _store

pytestmark = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="what newer versions of other libraries refuse, older warn of"
)

HERE = Path(__file__).resolve().parent
SOURCES = sorted([*(HERE.parent / "fastmlp").rglob("*.py"), *(HERE.parent / "kernels").rglob("*.py")])

#: Take seconds: for each type of array, as Numba compiles it, and for scikit-learn's own checks.
SLOW = ("compiled_function", "estimators")


def fuzz(*words, note):
    """Output of tests/fuzz/run.py, which must find nothing."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "FASTMLP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz" / "run.py"), "--note", str(note), *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    last = note.read_text() if note.exists() else "none"
    assert done.returncode == 0, f"status {done.returncode} at input {last}{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture
def doors(monkeypatch):
    for name in ("h5py", "onnx", "scipy", "pandas", "sklearn"):
        pytest.importorskip(name)
    monkeypatch.syspath_prepend(str(HERE / "fuzz"))
    import doors_data  # noqa: F401 - registers doors
    import doors_descriptions  # noqa: F401
    import doors_files  # noqa: F401
    import harness

    return harness


@compiled_only
def test_hostile_inputs_are_refused_at_every_door(doors, tmp_path):
    quick = [name for name in doors.DOORS if name not in SLOW]
    fuzz("--inputs", 60, *quick, note=tmp_path / "note")


@pytest.mark.long
@pytest.mark.parametrize("seed", [int(os.environ.get("FASTMLP_FUZZ_SEED", "1000"))])
def test_hostile_inputs_by_the_hundred_thousand(doors, tmp_path, seed):
    seconds = os.environ.get("FASTMLP_FUZZ_SECONDS", "600")
    print("\n" + fuzz("--seconds", seconds, "--seed", seed, note=tmp_path / "note"))


@compiled_only
@pytest.mark.parametrize("name", ["predict", "train_on_batch", "from_config"])
def test_hypothesis_finds_no_input_that_breaks_a_door(doors, name):
    @settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def holds(rng):
        found = doors.try_with(name, "of hypothesis", rng)
        assert found is None, str(found)

    holds()


# ------------------------------------------------------------------ no code out of data

#: Where a module is imported by a name that is computed, and why no file has a say in it.
IMPORTS_BY_NAME = {
    "fastmlp/_interpreter.py": "a list in the file itself",
    "fastmlp/reference.py": "'keras' and 'fastmlp'",
    "fastmlp/saving/__init__.py": "the modules of fastmlp.saving, by a table of endings",
}
FORBIDDEN_CALLS = {"eval", "exec", "__import__", "compile"}
FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "joblib",
    "yaml",
    "subprocess",
    "runpy",
}
#: What starts programs, or reads code, under an attribute.
FORBIDDEN_ATTRIBUTES = {("os", "system"), ("os", "popen"), ("os", "execv"), ("torch", "load"), ("np", "load")}


def suspicious(source: str, name: str) -> list[str]:
    """What in a file could run code that comes from data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS:
                found.append(f"{name}:{node.lineno} {called.id}(")
            elif isinstance(called, ast.Attribute) and called.attr == "import_module" and name not in IMPORTS_BY_NAME:
                found.append(f"{name}:{node.lineno} import_module(")
            elif isinstance(called, ast.Attribute) and (ast.unparse(called.value), called.attr) in FORBIDDEN_ATTRIBUTES:
                found.append(f"{name}:{node.lineno} {ast.unparse(called)}(")
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg == "allow_pickle" and not (isinstance(value, ast.Constant) and value.value is False):
                    found.append(f"{name}:{node.lineno} allow_pickle")
        elif isinstance(node, ast.Import):
            modules = [alias.name.partition(".")[0] for alias in node.names]
            found += [f"{name}:{node.lineno} import {module}" for module in modules if module in FORBIDDEN_MODULES]
        elif (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES
        ):
            found.append(f"{name}:{node.lineno} from {node.module}")
    return found


def test_nothing_in_the_sources_runs_code_out_of_data():
    assert len(SOURCES) > 100
    found = []
    for path in SOURCES:
        found += suspicious(path.read_text(encoding="utf-8"), path.relative_to(HERE.parent).as_posix())
    # Numba's machine code in the user's cache is code anyway, and only as safe as that folder.
    kernels = [line for line in found if line.startswith("kernels/_jit.py")]
    assert [line.partition(" ")[2] for line in kernels] == ["import pickle"]
    # Packages by the names that stand in the sources, see below.
    assert {line.partition(":")[0] for line in found if line not in kernels} <= {"fastmlp/optional.py"}


def test_optional_packages_are_named_in_the_sources():
    calls = [
        node
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "needed"
    ]
    assert len(calls) > 3
    assert all(isinstance(call.args[0], ast.Constant) for call in calls)


def test_the_scan_sees_what_it_is_for():
    for text in (
        "eval('1')",
        "import pickle",
        "from joblib import load",
        "np.load(f, allow_pickle=True)",
        "os.system('x')",
        "import importlib\nimportlib.import_module(name)",
        "__import__('os')",
        "import yaml",
    ):
        assert suspicious(text, "file.py"), text


# ------------------------------------------------------------------ what was found, each once


def compiled(*stack, loss="sparse_categorical_crossentropy", **options):
    model = fastmlp.Sequential(list(stack), **options)
    model.compile("adam", loss)
    return model


def small():
    return compiled(layers.Input((2,)), layers.Dense(3), layers.Dense(2, "softmax"))


def equal(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("last", [["x", "y"], [1e39, 0], [1j, 0]], ids=str)
def test_weights_of_which_the_last_cant_be_taken_change_nothing(last):
    model = small()
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError), match="array 3 of the weights"):
        model.set_weights([w + 1 for w in before[:3]] + [np.array(last)])
    assert equal(model.get_weights(), before)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.predict(x),
        lambda model, x: model.evaluate(0 * x, [0, 1, 0], callbacks=["none"], verbose=0),
        lambda model, x: model.fit(0 * x, [0, 1, 0], callbacks=["none"], verbose=0),
    ],
    ids=["predict", "evaluate", "fit"],
)
def test_a_refused_call_builds_nothing(call):
    model = compiled(layers.Dense(2, "softmax"))
    with np.errstate(invalid="ignore"), pytest.raises((ValueError, TypeError), match=r"x has inf|callbacks must be"):
        call(model, np.array([[0.0, 1.0], [np.inf if "predict" in call.__code__.co_names else 1.0, 1.0], [1.0, 1.0]]))
    assert not model.built


def test_an_argument_of_evaluate_that_has_no_truth_builds_nothing():
    model = compiled(layers.Dense(2, "softmax"))
    with pytest.raises(ValueError, match="truth value"):
        model.evaluate(np.zeros((2, 2)), [0, 1], return_dict=np.zeros(2), verbose=0)
    assert not model.built


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer/iterations", np.array(np.nan)),
        ("optimizer/iterations", np.array(-1)),
        ("optimizer/learning_rate", -1.0),
        ("random", np.frombuffer(b'{"bit_generator": "PCG64", "state": {"state": -1, "inc": 0}}', np.uint8)),
        ("random", np.frombuffer(b"[" * 10**5, np.uint8)),
        ("random", np.array([0.5])),
        ("dense/kernel", np.full((2, 3), 1e300)),
        ("dense/kernel", "text"),
    ],
    ids=str,
)
def test_training_state_that_cant_be_taken_changes_nothing(name, value):
    model = small()
    model.fit(np.zeros((4, 2)), [0, 1, 0, 1], verbose=0)
    before = model.training_state()
    wrong = {
        key: array + np.ones((), array.dtype) if array.dtype.kind == "f" else array for key, array in before.items()
    }
    with pytest.raises((ValueError, TypeError)):
        model.restore_training_state({**wrong, name: value})
    assert equal(model.training_state().values(), before.values())


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", ">u2"])
def test_numbers_in_the_other_byte_order_are_taken(dtype):
    x, y = np.array([[0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1])
    fastmlp.utils.set_random_seed(1)
    model = small()
    swapped = model.evaluate(x.astype(dtype), y.astype(dtype), verbose=0)
    assert swapped == model.evaluate(x.astype(np.float32), y, verbose=0)


def test_numbers_that_no_float_holds_are_named():
    model = small()
    with pytest.raises(ValueError, match="x has a number that no float can hold"):
        model.predict([[10**400, 1]])
    with pytest.raises(ValueError, match="x has inf in row 1"):
        model.fit(np.array([[0, 1], [1e39, 1]]), [0, 1], verbose=0)
    with pytest.raises(ValueError, match=r"y has the label 1e\+300 in row 0"):
        model.fit(np.zeros((2, 2)), [1e300, 0], verbose=0)
    with pytest.raises(ValueError, match="learning_rate must be finite"):
        fastmlp.optimizers.SGD(10**400)
    with pytest.raises(ValueError, match="validation_split must lie between 0 and 1"):
        model.fit(np.zeros((2, 2)), [1, 0], validation_split=10**400, verbose=0)
    with pytest.raises(ValueError, match="weight of class 0 must be finite"):
        model.fit(np.zeros((2, 2)), [1, 0], class_weight={0: 1e300}, verbose=0)


@pytest.mark.parametrize("batches", [{0: 1}, {"x": 1}])
def test_a_dictionary_is_no_iterable_of_batches(batches):
    with pytest.raises(TypeError, match="a dictionary with the keys"):
        small().fit(batches, verbose=0)


def test_an_empty_batch_to_predict_is_named():
    with pytest.raises(ValueError, match="it yields nothing"):
        small().predict(iter([()]))


def corrupt(kind, **arrays):
    made = getattr(pytest.importorskip("scipy.sparse"), kind)(np.eye(4, 2))
    for name, values in arrays.items():
        vars(made)[name] = values
    return made


@pytest.mark.parametrize(
    ("kind", "arrays"),
    [
        ("dia_matrix", {"offsets": np.array([0, 1, 2, 3])}),
        ("dia_matrix", {"offsets": np.array([0.5])}),
        ("dia_matrix", {"data": np.zeros(3)}),
        ("csr_matrix", {"indptr": np.array([0.0, 1, 1, 1, 1])}),
        ("csr_matrix", {"indices": np.zeros((2, 1), int)}),
        ("csr_matrix", {"data": np.zeros((2, 2))}),
        ("csc_matrix", {"indptr": np.array([0, 2**63, 1], np.uint64)}),
        ("csc_matrix", {"_shape": (2**40, 2)}),
        ("coo_matrix", {"coords": (np.array([0, 1, 9]), np.array([0, 1, 1]))}),
        ("coo_matrix", {"coords": (np.array([0, 1]), np.array([0]))}),
        ("dok_matrix", {"_dict": {(9, 0): 1.0}}),
        ("dok_matrix", {"_dict": {"key": 1.0}}),
        ("bsr_matrix", {"indices": np.array([0j, 1j])}),
        ("bsr_matrix", {"indptr": np.array([0, 2, 0], np.int32), "data": np.ones((2, 2, 1), np.float32)}),
    ],
    ids=str,
)
def test_matrices_whose_arrays_contradict_each_other_are_named(kind, arrays):
    with pytest.raises(ValueError, match=r"x is a corrupt sparse matrix|x has shape"):
        small().predict(corrupt(kind, **arrays))


def test_diagonals_outside_a_matrix_are_left_out():
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.dia_matrix((np.ones((3, 4), np.float32), [0, -1, 70]), shape=(4, 2))
    model = small()
    assert equal([model.predict(x)], [model.predict(x.toarray())])


# -- sizes


@pytest.mark.parametrize("size", [2**40, 2**62, 2**70, 10**400], ids=["2^40", "2^62", "2^70", "10^400"])
def test_a_network_larger_than_the_memory_is_refused_before_it_is_made(size):
    with pytest.raises(ValueError, match=r"make it smaller|must be at most"):
        fastmlp.Sequential([layers.Dense(2)]).build((None, size))
    config = {
        "layers": [
            {"class_name": "InputLayer", "config": {"shape": [3]}},
            {"class_name": "Dense", "config": {"units": size}},
        ]
    }
    if size < 10**300:  # more digits than JSON reads
        with pytest.raises(ValueError, match=r"make it smaller|must be at most"):
            models.model_from_json(json.dumps({"class_name": "Sequential", "config": config}))


def test_a_file_that_describes_a_network_larger_than_itself_is_refused(tmp_path):
    from safetensors.numpy import save_file

    path, model = tmp_path / "model.safetensors", small()
    description = {"format": 1, "config": model.get_config(), "compile": None, "iterations": 0, "seeds": {}}
    description["config"]["layers"][1]["config"]["units"] = 2 * 10**6
    save_file({"dense/kernel": np.zeros((2, 3), np.float32)}, path, {"fastmlp": json.dumps(description)})
    with pytest.raises(ValueError, match="but the file holds far fewer"):
        models.load_model(path)


def test_rows_of_more_classes_than_the_memory_holds_are_refused():
    with pytest.raises(ValueError, match="more than the memory of this machine holds"):
        fastmlp.utils.to_categorical([0, 2**40])


def onnx_file(path, nodes, constants, sample=(4,)):
    onnx = pytest.importorskip("onnx")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [None, *sample]), ("y", [None, None]))
    ]
    nodes = [onnx.helper.make_node(*node) for node in nodes]
    arrays = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(nodes, "graph", [values[0]], [values[1]], arrays)
    path.write_bytes(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)]).SerializeToString()
    )
    return path


def _doubling(i):
    """A Concat of the last constant with itself."""
    return "Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"]


def test_constants_of_an_onnx_file_that_grow_without_measure_are_refused(tmp_path):
    ones = np.ones((256, 1), np.float32)
    doubled = [("Identity", ["one"], ["c0"]), *(_doubling(i) for i in range(40))]
    product = [
        ("Transpose", ["one"], ["flat"]),
        ("Mul", ["one", "flat"], ["c1"]),
        ("Transpose", ["long"], ["across"]),
        ("Mul", ["long", "across"], ["c2"]),
    ]
    cases = (
        (doubled, "c40", {"one": ones}),
        (
            [("Gather", ["one", "many"], ["wide"])],
            "wide",
            {"one": np.ones((1, 4096), np.float32), "many": np.zeros(10**5, np.int64)},
        ),
        (product, "c2", {"one": ones, "long": np.ones((4096, 1), np.float32)}),
    )
    for nodes, last, constants in cases:
        path = onnx_file(tmp_path / "bomb.onnx", [*nodes, ("MatMul", ["x", last], ["y"])], constants)
        with pytest.raises(ValueError, match=r"makes a constant of \d+ bytes, far more than the file holds"):
            models.from_onnx(path)


def test_onnx_files_of_more_nodes_than_any_network_has_are_refused(tmp_path):
    nodes = [("Relu", ["x"], ["y"])] * 10_001
    with pytest.raises(ValueError, match="it has 10001 nodes; up to 10000 are read"):
        models.from_onnx(onnx_file(tmp_path / "long.onnx", nodes, {}))


def test_an_array_that_declares_another_shape_is_not_read(tmp_path, monkeypatch):
    path, header = tmp_path / "data.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**13,)})
    with zipfile.ZipFile(path, "w") as archive:
        for name in _store.SHAPES:
            archive.writestr(f"{name}.npy", header.getvalue())
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(
        ValueError, match=r"x_train should be uint8 \(60000, 28, 28\), but is uint8 \(10000000000000,\)"
    ):
        _store.read(path)


# -- texts


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5], ids=["lists", "dictionaries"])
def test_json_nested_without_end_is_refused(tmp_path, text):
    from safetensors.numpy import save_file

    with pytest.raises(ValueError, match="nested too deeply"):
        models.model_from_json(text)
    save_file({"a": np.zeros(1)}, tmp_path / "model.safetensors", {"fastmlp": text})
    with pytest.raises(OSError, match=r"can't be read as a .safetensors file"):
        models.load_model(tmp_path / "model.safetensors")


def test_what_is_no_json_text_is_named():
    with pytest.raises(TypeError, match="expected a JSON text"):
        models.model_from_json(None)


def test_iterations_and_seeds_in_a_file_must_be_counts(tmp_path):
    from safetensors.numpy import save_file

    path, model = tmp_path / "model.safetensors", small()
    arrays = {name: array.copy() for name, array in fastmlp.saving.description.weights_of(model).items()}
    for key, value in (("iterations", -1), ("iterations", 1e400), ("iterations", 0.5), ("seeds", {"dense": -1})):
        description = {
            "format": 1,
            "config": model.get_config(),
            "compile": None,
            "iterations": 0,
            "seeds": {},
            key: value,
        }
        save_file(arrays, path, {"fastmlp": json.dumps(description)})
        with pytest.raises(ValueError, match="must be a whole number of at least 0"):
            models.load_model(path)


def test_a_backup_of_a_type_that_numpy_lacks_is_an_error_of_its_file(tmp_path):
    header = json.dumps(
        {"__metadata__": {"epoch": "0"}, "a": {"dtype": "F8_E5M2", "shape": [1], "data_offsets": [0, 1]}}
    )
    content = len(header).to_bytes(8, "little") + header.encode() + b"\0"
    (tmp_path / "latest.safetensors").write_bytes(content)
    with pytest.raises(OSError, match=r"backup .* can't be read"):
        small().fit(np.zeros((2, 2)), [0, 1], callbacks=[callbacks.BackupAndRestore(tmp_path)], verbose=0)


@pytest.mark.parametrize(
    ("content", "options", "match"),
    [
        (b'a,b\n1,2\n3,"4', {}, "is no table|cannot be read"),
        (b"a,b\n1,2\n", {"encoding": "undefined"}, "can't be read with the encoding 'undefined'"),
        (b"a,b\n1,\xe9\n", {"encoding": "idna"}, "encoding|is not in"),
    ],
)
def test_tables_that_another_reader_refuses_are_named(tmp_path, content, options, match):
    pytest.importorskip("pandas")
    from fastmlp.tables import reading

    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(reading.TableError, match=match):
        reading.read_table(tmp_path / "table.csv", **options)


def test_a_header_of_very_many_columns_takes_no_time():
    pytest.importorskip("pandas")
    from fastmlp.tables import reading

    reading._check_header([str(i) for i in range(300_000)], "table.csv")  # minutes, if each were counted


@pytest.mark.parametrize(
    "change",
    [
        lambda held: {**held, "classes": ["a"]},
        lambda held: {**held, "classes": ["a", "a"]},
        lambda held: {**held, "columns": [{**held["columns"][0], "mean": 10**400}]},
    ],
)
def test_preprocessing_that_says_something_else_is_refused(tmp_path, change):
    pd = pytest.importorskip("pandas")
    from fastmlp.tables import columns, reading

    made = columns.Preprocessing(
        columns=[columns.Column("a", "number", 0.0, 1.0, 0.0)], target="b", task="classification", classes=["u", "v"]
    )
    made.save(tmp_path / "preprocessing.json")
    held = json.loads((tmp_path / "preprocessing.json").read_text())
    (tmp_path / "preprocessing.json").write_text(json.dumps(change(held)))
    with pytest.raises(reading.TableError, match="is not what `fastmlp train` writes"):
        columns.Preprocessing.load(tmp_path / "preprocessing.json")
    assert len(columns.numbers(pd.Series([10**400, 1], dtype=object))[0]) == 2


# -- arguments


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: initializers.HeNormal(seed=0.5), TypeError, "seed must be an integer"),
        (lambda: fastmlp.optimizers.SGD(ema_overwrite_frequency=2**70), ValueError, "must be at most"),
        (lambda: fastmlp.metrics.AUC(num_thresholds=2**40), ValueError, "num_thresholds must be at most 1000000"),
        (lambda: initializers.HeNormal(seed=-1), ValueError, "seed must be at least 0"),
        (lambda: initializers.RandomUniform(1.0, -1.0), ValueError, "minval must be at most maxval"),
        (lambda: initializers.RandomNormal(stddev="x"), TypeError, "stddev must be a number"),
        (lambda: initializers.VarianceScaling(mode=3), TypeError, "mode must be a name"),
        (lambda: layers.Dense(2, dtype=7.5), TypeError, "dtype must be float32 or float64"),
        (lambda: layers.Input(None), ValueError, "needs the shape"),
        (lambda: layers.Input(2.5), TypeError, "the input shape must be a size or several"),
        (lambda: layers.Normalization(mean=[np.nan], variance=[1.0]), ValueError, "mean has nan"),
        (lambda: fastmlp.Sequential(dtype="float99"), TypeError, "dtype must be float32 or float64"),
        (lambda: callbacks.EarlyStopping(monitor=3), TypeError, "monitor must be the name"),
        (lambda: callbacks.EarlyStopping(min_delta="x"), TypeError, "min_delta must be a number"),
        (lambda: layers.Normalization().adapt(np.zeros((3, 0))), ValueError, "at least one number"),
        (lambda: layers.Normalization().adapt([[1e300], [-1e300]]), ValueError, "scale them first"),
        (lambda: fastmlp.activations.relu(np.array([1j])), TypeError, "x holds complex numbers"),
        (lambda: fastmlp.utils.to_categorical([1e300]), ValueError, "too large for any"),
        (
            lambda: fastmlp.serialization.deserialize({"class_name": "Dense", "config": {}}, [3]),
            TypeError,
            "must be a name",
        ),
    ],
)
def test_arguments_of_another_kind_are_named(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_fixed_numbers_that_dont_fit_the_samples_are_named():
    with pytest.raises(
        ValueError, match=r"a mean and a variance of shape \(3,\), which doesn't fit samples of shape \(2,\)"
    ):
        fastmlp.Sequential(
            [layers.Input((2,)), layers.Normalization(mean=[0.0] * 3, variance=[1.0] * 3), layers.Dense(1)]
        )


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_estimators_name_matrices_whose_arrays_contradict_each_other(name):
    pytest.importorskip("sklearn", reason="pip install 'fastmlp[sklearn]'")
    from fastmlp import sklearn as estimators

    wrong = corrupt("coo_matrix", coords=(np.array([0, 1, 99]), np.array([0, 1, 1])))
    made = getattr(estimators, name)(hidden_layer_sizes=(2,), max_iter=1)
    with pytest.raises(ValueError, match="X is a corrupt sparse matrix"):
        made.fit(wrong, [0, 1, 0, 1])
