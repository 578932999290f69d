"""Arrays, tables and buffers of other libraries as x, y and weights."""

import array
import sys
import types
from functools import partial

import numpy as np
import pytest

import fastmlp
from fastmlp import arrays, checks, layers, notebook

X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
Y = np.arange(12) % 3
WEIGHTS = np.linspace(0.5, 2, 12).astype(np.float32)


class Interface:
    """An array that is known by __array_interface__ alone."""

    def __init__(self, values):
        self.values, self.__array_interface__ = values, values.__array_interface__


class Capsule:
    """An array that is known by DLPack alone, on a device of that kind."""

    def __init__(self, values, device=1):
        self.values, self.device = values, device

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device, 0


class OnCuda:
    """What CuPy's arrays look like; their __array__ raises."""

    def __init__(self, values):
        self.shape, self.__cuda_array_interface__ = values.shape, {}

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion")


def torch_tensor(values, **options):
    return pytest.importorskip("torch").tensor(values, **options)


def jax_array(values):
    return pytest.importorskip("jax.numpy").asarray(values)


def pandas_frame(values, **options):
    pandas = pytest.importorskip("pandas")
    columns = None if values.ndim == 1 else [f"c{i}" for i in range(values.shape[1])]
    return pandas.Series(values, **options) if columns is None else pandas.DataFrame(values, columns=columns, **options)


def polars_frame(values):
    polars = pytest.importorskip("polars")
    return polars.Series("s", values) if values.ndim == 1 else polars.DataFrame(values)


def arrow_table(values):
    arrow = pytest.importorskip("pyarrow")
    if values.ndim == 1:
        return arrow.chunked_array([values[:5], values[5:]])
    return arrow.table({f"c{i}": values[:, i] for i in range(values.shape[1])})


def nullable(values):
    """A frame or series of pandas whose dtypes are its own, with room for missing values."""
    return pandas_frame(values).astype({"f": "Float32", "i": "Int64"}[values.dtype.kind])


KINDS = {
    "torch": torch_tensor,
    "torch with a gradient": lambda v: torch_tensor(v, requires_grad=v.dtype.kind == "f"),
    "jax": jax_array,
    "pandas": pandas_frame,
    "pandas nullable": nullable,
    "polars": polars_frame,
    "pyarrow": arrow_table,
    "memoryview": memoryview,
    "array interface": Interface,
    "dlpack": Capsule,
    "lists": np.ndarray.tolist,
    "array of objects": lambda v: v.astype(object),
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def compiled(shape=None):
    fastmlp.utils.set_random_seed(0)
    inputs = [layers.Input(shape)] if shape else []
    model = fastmlp.Sequential([*inputs, layers.Dense(4, activation="tanh"), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    return model


def trained(x, y, weights):
    model = compiled()
    history = model.fit(x, y, sample_weight=weights, epochs=2, batch_size=5, verbose=0).history
    return [*model.get_weights(), history["loss"], model.predict(x), model.evaluate(x, y, verbose=0)]


@kinds
def test_data_of_every_kind_train_as_numpys(kind):
    for a, b in zip(trained(X, Y, WEIGHTS), trained(kind(X), kind(Y), kind(WEIGHTS))):
        np.testing.assert_array_equal(a, b)


@kinds
def test_validation_data_and_single_batches_of_every_kind_are_taken(kind):
    model, plain = compiled((3,)), compiled((3,))
    history = model.fit(kind(X), kind(Y), verbose=0, validation_data=(kind(X), kind(Y), kind(WEIGHTS))).history
    assert history == plain.fit(X, Y, verbose=0, validation_data=(X, Y, WEIGHTS)).history
    assert model.train_on_batch(kind(X), kind(Y)) == plain.train_on_batch(X, Y)
    np.testing.assert_array_equal(model.predict_on_batch(kind(X[:2])), plain.predict(X[:2]))


@kinds
def test_targets_in_columns_of_every_kind_are_taken(kind):
    targets = np.random.default_rng(1).standard_normal((12, 2)).astype(np.float32)
    found = []
    for y in (targets, kind(targets)):
        fastmlp.utils.set_random_seed(0)
        model = fastmlp.Sequential([layers.Dense(2)])
        model.compile("sgd", "mse")
        found.append(model.fit(X, y, verbose=0).history["loss"])
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [kind for name, kind in KINDS.items() if name != "array of objects"])
def test_to_categorical_takes_every_kind(kind):
    np.testing.assert_array_equal(fastmlp.utils.to_categorical(kind(Y)), fastmlp.utils.to_categorical(Y))


@kinds
def test_none_of_them_is_an_iterable_of_batches(kind):
    assert not checks.is_batches(kind(X), None)


def test_a_loader_of_tensors_is_an_iterable_of_batches():
    data = pytest.importorskip("torch.utils.data")
    loader = data.DataLoader(data.TensorDataset(torch_tensor(X), torch_tensor(Y)), batch_size=5)
    model, plain = compiled((3,)), compiled((3,))
    history = model.fit(loader, verbose=0).history
    assert history == plain.fit(X, Y, batch_size=5, shuffle=False, verbose=0).history
    np.testing.assert_array_equal(model.predict(loader), plain.predict(X))


def test_a_layer_adapts_to_a_frame():
    layer = layers.Normalization()
    layer.adapt(pandas_frame(X))
    np.testing.assert_allclose(layer.mean, X.mean(axis=0, dtype=np.float64))


def test_a_loss_takes_tensors():
    loss = fastmlp.losses.MeanSquaredError()
    assert loss(torch_tensor(X), torch_tensor(X + 1, requires_grad=True)) == pytest.approx(1)


def test_a_flat_buffer_is_one_number_a_sample():
    flat = array.array("f", [1, 2, 3, 4])
    model = fastmlp.Sequential([layers.Input((1,)), layers.Dense(2)])
    np.testing.assert_array_equal(model.predict(flat), model.predict([[1], [2], [3], [4]]))
    np.testing.assert_array_equal(model.predict(bytearray([1, 2])), model.predict([[1], [2]]))


# ---------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("kind", [torch_tensor, memoryview, Interface, Capsule, jax_array])
def test_rows_that_the_kernels_can_read_are_not_copied(kind, dtype):
    values = (X * 10).astype(dtype)
    given = kind(values)
    found = checks.samples(given, (3,), np.dtype(np.float32))
    assert found.flags.writeable
    assert np.shares_memory(found, checks.samples(given, (3,), np.dtype(np.float32)))
    if kind in (memoryview, Interface, Capsule):
        assert np.shares_memory(found, values)


def test_a_frame_that_lies_row_by_row_is_not_copied():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, copy=False)
    assert np.shares_memory(checks.samples(frame, (3,), np.dtype(np.float32)), X)


@pytest.mark.parametrize("column", [pandas_frame, polars_frame])
def test_a_column_is_not_copied(column):
    given = column(WEIGHTS)
    assert np.shares_memory(arrays.numbers("x", given), arrays.numbers("x", given))


def test_a_tensor_that_asks_for_a_gradient_is_not_copied():
    tensor = torch_tensor(X, requires_grad=True)
    assert np.shares_memory(arrays.numbers("x", tensor), tensor.detach().numpy())


# ---------------------------------------------------------------------------------------------- numbers NumPy lacks


def test_bfloat16_becomes_float32():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    for given in (torch_tensor(X).to(torch.bfloat16), jax.asarray(X).astype(jax.bfloat16)):
        found = arrays.numbers("x", given)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, X, rtol=2**-8)


def test_a_series_of_polars_may_hold_rows():
    polars = pytest.importorskip("polars")
    given = polars.Series("rows", X.tolist(), dtype=polars.Array(polars.Float32, 3))
    np.testing.assert_array_equal(arrays.numbers("x", given), X)


def test_columns_of_mixed_numbers_become_floats():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = {"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]}
    for frame in (pandas.DataFrame(columns), polars.DataFrame(columns), pandas.DataFrame(columns).astype(object)):
        np.testing.assert_array_equal(np.asarray(arrays.numbers("x", frame), float), [[1, 0.5, 1], [2, 1.5, 0]])


def test_class_weights_may_be_a_series_or_hold_scalars_of_a_library():
    pandas = pytest.importorskip("pandas")
    expected = compiled().fit(X, Y, class_weight={0: 2.0, 2: 0.5}, verbose=0).history
    for given in (
        pandas.Series({0: 2.0, 2: 0.5}),
        {0: torch_tensor(2.0), 2: np.float32(0.5)},
        {0: jax_array(2.0), 2: 0.5},
    ):
        assert compiled().fit(X, Y, class_weight=given, verbose=0).history == expected


# ---------------------------------------------------------------------------------------------- errors


def _errors():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    words = {"size": [1.0, 2.0], "color": ["red", "blue"]}
    dates = pandas.DataFrame({"day": pandas.to_datetime(["2020-01-01", "2021-01-01"]), "n": [1, 2]})
    mixed = pandas.DataFrame({"a": [1, "two"]}, dtype=object)
    return [
        (pandas.DataFrame(words), TypeError, r"columns that hold no real numbers: 'color' \(.*\); .*get_dummies"),
        (pandas.DataFrame(words).astype({"color": "category"}), TypeError, r"'color' \(category\)"),
        (dates, TypeError, r"'day' \(datetime64"),
        (mixed, TypeError, r"'a' \(object\)"),
        (polars.DataFrame(words), TypeError, r"columns that hold no real numbers: 'color' \(String\); .*to_dummies"),
        (polars.DataFrame(words).lazy(), TypeError, r"x is a LazyFrame.*give x.collect\(\)"),
        (pandas.Series(["a", "b"]), TypeError, r"x holds no real numbers .*pandas.factorize\(x, sort=True\)"),
        (polars.Series(["a", "b"]), TypeError, r"x holds no real numbers \(dtype String\).*Enum"),
        (pandas.Series([1, None], dtype="Int64"), ValueError, "x has a missing value in row 1; remove"),
        (pandas.Series([None, True], dtype="boolean"), ValueError, "x has a missing value in row 0"),
        (pandas.DataFrame({"a": [1, 2], "b": pandas.Series([0.5, None], dtype="Float64")}), ValueError,
         "missing value in row 1, column 'b'"),
        (polars.DataFrame({"a": [1, 2, None], "b": [1, 2, 3]}), ValueError, "missing value in row 2, column 'a'"),
        (polars.Series("s", [True, None]), ValueError, "missing value in row 1"),
        (OnCuda(X), TypeError, "x is a OnCuda in the memory of another device; copy it to the host"),
        (Capsule(X, 2), TypeError, "x is a Capsule in the memory of another device"),
        (torch.ones(2, 3, device="meta"), TypeError, r"x is a tensor on meta; give x.cpu\(\)"),
        (torch.ones(2, 3).to_sparse(), TypeError, r"layout torch.sparse_coo; give x.to_dense\(\)"),
        (torch.ones(2, 3, dtype=torch.complex64), TypeError, "x holds complex numbers"),
        (jax.ones((2, 3), jax.complex64), TypeError, "x holds complex numbers"),
        (b"abc", TypeError, "x holds bytes"),
        (object(), TypeError, "x holds objects that are no numbers"),
        ([[1, 2], [3]], ValueError, "rows differ in length"),
        ([[1, 10**400]], ValueError, "x has a number that no float can hold"),
    ]  # fmt: skip


@pytest.mark.parametrize("i", range(23))
def test_what_is_no_array_of_numbers_is_named(i):
    given, kind, message = _errors()[i]
    with pytest.raises(kind, match=message):
        arrays.numbers("x", given)


def test_a_missing_value_among_floats_is_named_with_its_row():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [1.0, None]})
    model = fastmlp.Sequential([layers.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="x has nan in row 1"):
        model.predict(frame)
    with pytest.raises(ValueError, match="x has nan in row 1"):
        fastmlp.utils.to_categorical(pandas.Series([1, None]))


@pytest.mark.parametrize("library", ["scipy.sparse", "pandas", "IPython"])
def test_a_library_that_another_thread_is_importing_is_no_matter(library, monkeypatch):
    model = compiled()
    expected = model.predict(X)
    monkeypatch.setitem(sys.modules, library, types.ModuleType(library))  # without any of its names, as it is then
    np.testing.assert_array_equal(model.predict(X), expected)
    model.fit(X, np.arange(len(X)) % 2, verbose=0)
    assert not notebook.is_notebook()


def test_a_number_that_is_too_large_for_the_type_is_an_error_and_no_warning():
    model = fastmlp.Sequential([layers.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="x has inf in row 1"):
        model.predict([[1.0, 2.0], [1e300, 1.0]])


def test_frames_of_strings_stop_fit_before_the_model_is_built():
    model, frame = compiled(), pytest.importorskip("pandas").DataFrame({"a": ["x", "y"], "b": [1, 2]})
    for call in (partial(model.fit, frame, [0, 1], verbose=0), partial(model.predict, frame)):
        with pytest.raises(TypeError, match="x has columns that hold no real numbers: 'a'"):
            call()
    assert not model.built


def test_a_dlpack_that_numpy_refuses_is_an_error():
    class Refusing(Capsule):
        def __dlpack__(self, **options):
            raise BufferError("not today")

    with pytest.raises(TypeError, match="x can't be read through __dlpack__: not today; give a NumPy array"):
        arrays.numbers("x", Refusing(X))
