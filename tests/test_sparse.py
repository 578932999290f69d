"""Matrices of scipy.sparse as samples."""

import subprocess
import sys

import numpy as np
import pytest
from support import compiled_only

import fastmlp
from fastmlp import layers, sparse, threads
from fastmlp import plan as plans
from fastmlp.kernels._jit import JIT

scipy_sparse = pytest.importorskip("scipy.sparse")

FORMS = ("csr_matrix", "csr_array", "csc_matrix", "csc_array", "coo_matrix", "coo_array", "lil_matrix", "dok_matrix",
         "bsr_matrix", "dia_matrix")  # fmt: skip

# Where the kernels are compiled, so many samples that a batch is worth a team of threads.
N, K = (120, 300) if JIT else (24, 60)


def dense(n=N, k=K, share=0.1, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, k)) * (rng.random((n, k)) < share)).astype(dtype)


def labels(n=N, classes=3, seed=1):
    return np.random.default_rng(seed).integers(0, classes, n)


def model_of(*hidden, front=(), optimizer="sgd", dtype="float32", shape=None):
    fastmlp.utils.set_random_seed(7)
    inputs = [layers.Input(shape)] if shape else []
    model = fastmlp.Sequential(
        [*inputs, *front, *(layers.Dense(units, activation="tanh") for units in hidden),
         layers.Dense(3, activation="softmax")], dtype=dtype,
    )  # fmt: skip
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(x, y, *hidden, fit=None, **options):
    """Weights and history of a new model that has seen x."""
    model = model_of(*hidden, **options)
    history = model.fit(x, y, **{"epochs": 2, "batch_size": 16, "verbose": 0, **(fit or {})}).history
    return model, history


def assert_alike(one, other, dtype="float32"):
    """Weights and history of two models differ by rounding alone: in the order of sums over few numbers."""
    tolerance = 1e3 * np.finfo(dtype).eps
    for a, b in zip(one[0].get_weights(), other[0].get_weights()):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    assert one[1].keys() == other[1].keys()
    for name, values in one[1].items():
        np.testing.assert_allclose(values, other[1][name], rtol=0, atol=tolerance)


# ---------------------------------------------------------------------------------------------- the same as dense


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [(8,), (100,), (100, 30)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_is_that_on_the_dense_samples(dtype, hidden, optimizer):
    x, y = dense(share=0.5, dtype=dtype), labels()  # so dense that the dense path multiplies zeros, too
    one = trained(scipy_sparse.csr_matrix(x), y, *hidden, optimizer=optimizer, dtype=dtype)
    assert_alike(one, trained(x, y, *hidden, optimizer=optimizer, dtype=dtype), dtype)


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken(form):
    x, y = dense(), labels()
    expected = trained(scipy_sparse.csr_matrix(x), y, 4)[0].get_weights()
    given = getattr(scipy_sparse, form)(x)
    for a, b in zip(expected, trained(given, y, 4)[0].get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [np.float64, np.int64, np.int8, np.uint8, np.uint16, bool])
def test_every_kind_of_number_is_taken(kind):
    x, y = (dense(share=0.2) * 3).astype(kind), labels()
    one = trained(scipy_sparse.csr_matrix(x), y, 4)
    assert_alike(one, trained(x.astype(np.float32), y, 4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_evaluate_and_layer_outputs_are_those_of_the_dense_samples(dtype):
    x, y = dense(dtype=dtype), labels()
    model, given = model_of(20, shape=(K,), dtype=dtype), scipy_sparse.csr_matrix(x)
    tolerance = 1e2 * np.finfo(dtype).eps
    np.testing.assert_allclose(model.predict(given), model.predict(x), atol=tolerance)
    np.testing.assert_allclose(model.predict(given[:1]), model.predict(x[:1]), atol=tolerance)
    np.testing.assert_allclose(model.evaluate(given, y, verbose=0), model.evaluate(x, y, verbose=0), atol=tolerance)
    np.testing.assert_allclose(model.test_on_batch(given, y), model.test_on_batch(x, y), atol=tolerance)
    for name, values in model.layer_outputs(x).items():
        np.testing.assert_allclose(model.layer_outputs(given)[name], values, atol=tolerance)
    gradients = model.layer_gradients(given, y)
    for name, arrays in model.layer_gradients(x, y).items():
        for a, b in zip(gradients[name], arrays):
            np.testing.assert_allclose(a, b, atol=tolerance)


def test_single_batches_train_as_dense_ones():
    x, y = dense(), labels()
    one, other = model_of(8, shape=(K,)), model_of(8, shape=(K,))
    for i in range(0, N, 10):
        rows = slice(i, i + 10)
        np.testing.assert_allclose(
            one.train_on_batch(scipy_sparse.csr_matrix(x[rows]), y[rows]),
            other.train_on_batch(x[rows], y[rows]), atol=1e-5,
        )  # fmt: skip
    for a, b in zip(one.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_predict_takes_large_matrices_in_pieces(monkeypatch):
    x = scipy_sparse.csr_matrix(dense())
    model = model_of(8, shape=(K,))
    whole = model.predict(x)
    monkeypatch.setattr(sparse, "_PIECE", 40)
    assert len(list(sparse.rows("x", x, np.dtype("float32")).pieces())) > 2
    np.testing.assert_array_equal(model.predict(x), whole)


def test_predict_watched_by_a_callback_takes_batches_of_a_matrix():
    class Counter(fastmlp.callbacks.Callback):
        seen = 0

        def on_predict_batch_end(self, batch, logs=None):
            self.seen += len(logs["outputs"])

    x, model, counter = scipy_sparse.csc_matrix(dense()), model_of(8, shape=(K,)), Counter()
    np.testing.assert_array_equal(model.predict(x, batch_size=7, callbacks=[counter]), model.predict(x))
    assert counter.seen == N


def test_an_iterable_may_yield_matrices():
    x, y = dense(), labels()

    class Batches:
        def __init__(self, of):
            self.of = of

        def __iter__(self):
            return ((self.of(x[i : i + 10]), y[i : i + 10]) for i in range(0, N, 10))

    one = trained(Batches(scipy_sparse.csr_matrix), None, 8, shape=(K,))
    assert_alike(one, trained(Batches(np.asarray), None, 8, shape=(K,)))
    np.testing.assert_allclose(one[0].predict(Batches(scipy_sparse.csr_array)), one[0].predict(x), atol=1e-6)


@pytest.mark.parametrize("how", ["tail", "shuffled", "stratified"])
def test_samples_are_split_off_as_dense_ones(how):
    x, y = dense(), labels()
    fit = {"validation_split": 0.25, "validation_from": how}
    assert_alike(trained(scipy_sparse.csr_matrix(x), y, 8, fit=fit), trained(x, y, 8, fit=fit))


def test_weights_and_validation_data_are_those_of_dense_samples():
    x, y, other = dense(), labels(), dense(30, seed=3)
    for weights in ({"sample_weight": np.linspace(0, 2, N)}, {"class_weight": {0: 2.0, 2: 0.5}}):
        held_out = labels(30, seed=4)
        one = trained(scipy_sparse.csr_matrix(x), y, 8,
                      fit={**weights, "validation_data": (scipy_sparse.coo_matrix(other), held_out)})  # fmt: skip
        assert_alike(one, trained(x, y, 8, fit={**weights, "validation_data": (other, held_out)}))


@compiled_only
@pytest.mark.parametrize("hidden", [(8,), (100,)])
def test_two_threads_give_the_bits_of_one(hidden, monkeypatch):
    x, y = scipy_sparse.random_array((N, K), density=0.3, format="csr", dtype=np.float32, rng=2), labels()
    found = []
    for team in (1, 2):
        monkeypatch.setattr(threads, "team_size", lambda operations, waking=False, team=team: team)
        model, history = trained(x, y, *hidden)
        found.append([*model.get_weights(), history["loss"], model.predict(x)])
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------------------------------------- wide ones


def wide(n, k, seed=0):
    """n rows of k inputs, some in the last columns."""
    rng = np.random.default_rng(seed)
    columns = np.stack([rng.choice(k, 4, replace=False) for _ in range(n)])
    columns[:, 0] = k - 1 - np.arange(n) % 3
    values = rng.standard_normal(columns.size).astype(np.float32)
    matrix = scipy_sparse.coo_matrix((values, (np.repeat(np.arange(n), 4), columns.reshape(-1))), (n, k))
    matrix.sum_duplicates()
    return matrix.tocsr()


@pytest.mark.parametrize("hidden", [(), (8,), (20,)])
def test_sgd_changes_the_rows_of_columns_that_occur_alone(hidden):
    x, y = wide(40, 200_000), labels(40)
    model = model_of(*hidden, shape=(200_000,))
    before = model.get_weights()[0]
    model.fit(x, y, batch_size=8, verbose=0)
    changed = np.flatnonzero((model.get_weights()[0] != before).any(axis=1))
    np.testing.assert_array_equal(changed, np.unique(x.indices))


def test_wide_samples_train_as_their_columns_alone():
    x, y = wide(40, 200_000), labels(40)
    used = np.unique(x.indices)
    one, other = model_of(20, shape=(200_000,)), model_of(20, shape=(len(used),))
    w, *rest = one.get_weights()
    other.set_weights([w[used], *rest])
    for model, rows in ((one, x), (other, x[:, used].toarray())):
        model.fit(rows, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip([one.get_weights()[0][used], *one.get_weights()[1:]], other.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_buffers_do_not_grow_with_the_width_of_compressed_rows():
    layout = model_of(8, shape=(1_000_000,))._need_built()
    compressed, read = (plans.scratch(layout, 64, 1, train=True, dense=flag) for flag in (False, True))
    assert sum(array.nbytes for array in compressed if isinstance(array, np.ndarray)) < 1 << 20
    assert read.acts.nbytes > 64 * 4_000_000 > read.delta.nbytes


def test_a_row_of_weights_beyond_what_columns_can_name_is_an_error():
    layout = plans.layout(5_000_000_000, [plans.Stage(plans.DENSE, 4)], np.dtype("float32"))
    rows = sparse.Sparse(np.array([0, 0]), np.zeros(0, np.int64), np.zeros(0, np.float32), (1, 5_000_000_000))
    with pytest.raises(ValueError, match="5000000000 inputs of 4 units are too many"):
        plans.data(layout, rows, None, None)


# ---------------------------------------------------------------------------------------------- layers in front


def test_flatten_and_a_scale_may_stand_in_front():
    x, y = dense(dtype=np.float64), labels()
    for front in (lambda: [layers.Flatten()], lambda: [layers.Rescaling(0.5)]):
        one = trained(scipy_sparse.csr_matrix(x), y, 8, front=front())
        assert_alike(one, trained(x, y, 8, front=front()))
    assert "rescaling" not in str(list(one[0].layer_outputs(scipy_sparse.csr_matrix(x))))


def test_the_kind_of_counts_is_kept_where_they_are_scaled():
    x, y = np.random.default_rng(0).integers(0, 2, (N, K)).astype(np.uint8) * 200, labels()
    one = trained(scipy_sparse.csr_matrix(x), y, 8, front=[layers.Rescaling(1 / 255)])
    assert_alike(one, trained(x, y, 8, front=[layers.Rescaling(1 / 255)]))


@pytest.mark.parametrize(
    "front",
    [
        lambda: layers.Dropout(0.5),
        lambda: layers.BatchNormalization(),
        lambda: layers.Normalization(mean=1.0, variance=2.0),
        lambda: layers.Rescaling(2.0, offset=-1.0),
        lambda: layers.ReLU(),
    ],
)
def test_a_layer_that_needs_the_zeros_is_named(front):
    front = front()
    model = model_of(8, front=[front])
    for call in (lambda x: model.fit(x, labels(), verbose=0), model.predict):
        with pytest.raises(ValueError, match=f"sparse matrix, but layer '{front.name}' .{type(front).__name__}.*first"):
            call(scipy_sparse.csr_matrix(dense()))
    assert not model.built


def test_dropout_behind_the_first_layer_is_no_trouble():
    x, y = dense(), labels()

    def made():
        model = fastmlp.Sequential([layers.Dense(20, activation="relu"), layers.Dropout(0.5, seed=3), layers.Dense(1)])
        model.compile("adam", "mse")
        return model

    found = []
    for rows in (scipy_sparse.csr_matrix(x), x):
        fastmlp.utils.set_random_seed(0)
        model = made()
        model.fit(rows, y, verbose=0)
        found.append(model.predict(x))
    np.testing.assert_allclose(*found, atol=1e-5)


# ---------------------------------------------------------------------------------------------- odd and wrong ones


def test_unsorted_and_repeated_indices_count_as_their_dense_sum():
    indptr, indices, values = [0, 3, 3, 5], [2, 0, 2, 1, 1], [1.0, 2.0, 4.0, 8.0, -8.0]
    x = scipy_sparse.csr_matrix((values, indices, indptr), (3, 4))
    before = x.indices.copy(), x.data.copy()
    model = model_of(4, shape=(4,))
    np.testing.assert_allclose(model.predict(x), model.predict(x.toarray()), atol=1e-6)
    np.testing.assert_array_equal(x.indices, before[0])
    np.testing.assert_array_equal(x.data, before[1])


def test_indices_that_were_changed_behind_scipys_back_are_looked_at():
    x = scipy_sparse.csr_matrix(np.eye(4, dtype=np.float32) + 1)
    assert x.has_canonical_format
    x.indices[:2] = x.indices[:2][::-1].copy()
    x.data[0] = 5
    model = model_of(4, shape=(4,))
    dense_rows = x.toarray()
    np.testing.assert_allclose(model.predict(x), model.predict(dense_rows), atol=1e-6)


@pytest.mark.parametrize("hidden", [(8,), (100,)])
def test_stored_zeros_are_nothing_to_the_kernels(hidden):
    x = scipy_sparse.csr_matrix(dense())
    x.data[::3] = 0
    x.data[x.indptr[4] : x.indptr[6]] = 0
    clean = x.copy()
    clean.eliminate_zeros()
    layout = model_of(*hidden, shape=(K,))._need_built()
    found = [plans.data(layout, sparse.rows("x", rows, np.dtype("float32")), None, None, train=True)
             for rows in (x, clean)]  # fmt: skip
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)


def test_a_matrix_of_zeros_alone_is_taken():
    x, y = scipy_sparse.csr_matrix((N, K), dtype=np.float32), labels()
    one = trained(x, y, 8)
    assert_alike(one, trained(x.toarray(), y, 8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_named_with_its_row(bad):
    x = scipy_sparse.csr_matrix(dense())
    x.data[x.indptr[5]] = bad
    model = model_of(8, shape=(K,))
    calls = (lambda: model.fit(x, labels(), verbose=0), lambda: model.predict(x),
             lambda: model.evaluate(x, labels(), verbose=0))  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match=f"x has {bad} in row 5"):
            call()


def test_a_number_beyond_the_models_type_is_named_with_its_row():
    x = scipy_sparse.csr_matrix(np.array([[0.0, 1.0], [1e300, 0.0]]))
    with pytest.raises(ValueError, match="x has inf in row 1"):
        model_of(2, shape=(2,)).predict(x)


def _broken(change):
    x = scipy_sparse.csr_matrix(np.eye(4, dtype=np.float32))
    change(x)
    return x


def _fall(x):
    x.indptr[:] = [0, 3, 2, 3, 4]


def _overrun(x):
    x.indptr[-1] = 9


def _begin(x):
    x.indptr[0] = 1


def _short(x):
    x.indptr = x.indptr[:-1]


def _below(x):
    x.indices[2] = -1


def _above(x):
    x.indices[2] = 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_fall, "indptr must not fall, but goes from 3 to 2 at 1"),
        (_overrun, "indptr ends at 9, but there are 4 indices and 4 values"),
        (_begin, "indptr must have 5 numbers from 0 on"),
        (_short, r"indptr must have 5 numbers from 0 on, has shape \(4,\)"),
        (_below, "index -1 at 2 lies outside 0 to 3"),
        (_above, "index 4 at 2 lies outside 0 to 3"),
    ],
)
def test_a_corrupt_matrix_is_an_error(change, message):
    model = model_of(2, shape=(4,))
    with pytest.raises(ValueError, match=f"x is a corrupt sparse matrix: .*{message}"):
        model.predict(_broken(change))


def test_corrupt_matrices_of_other_forms_are_errors():
    model = model_of(2, shape=(4,))
    csc, coo = scipy_sparse.csc_matrix(np.eye(4)), scipy_sparse.coo_matrix(np.eye(4))
    csc.indices[1], coo.row[2] = 1_000_000, 1_000_000
    with pytest.raises(ValueError, match="index 1000000 at 1"):
        model.predict(csc)
    with pytest.raises(ValueError, match="row 1000000 at 2"):
        model.predict(coo)


def test_shapes_are_checked_as_those_of_arrays():
    model = model_of(2, shape=(5,))
    with pytest.raises(ValueError, match=r"x has shape \(4, 6\) but the model was built for samples of shape \(5,\)"):
        model.predict(scipy_sparse.csr_matrix((4, 6)))
    with pytest.raises(ValueError, match="x is empty"):
        model.predict(scipy_sparse.csr_matrix((0, 5)))
    with pytest.raises(ValueError, match="x has 4 samples but y has 3 targets"):
        model.fit(scipy_sparse.csr_matrix((4, 5)), [0, 1, 2], verbose=0)
    images = fastmlp.Sequential([layers.Input((2, 3)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match="a sparse matrix has two axes"):
        images.predict(scipy_sparse.csr_matrix((4, 6)))


def test_complex_numbers_are_an_error():
    with pytest.raises(TypeError, match="x holds complex numbers"):
        model_of(2, shape=(5,)).predict(scipy_sparse.csr_matrix((4, 5), dtype=complex))


def test_targets_and_weights_can_not_be_sparse():
    model, x = model_of(2, shape=(5,)), np.zeros((4, 5))
    with pytest.raises(TypeError, match=r"y is a sparse matrix, which only x can be; give y.toarray\(\)"):
        model.fit(x, scipy_sparse.csr_matrix((4, 3)), verbose=0)
    with pytest.raises(TypeError, match="sample_weight is a sparse matrix"):
        model.fit(x, [0, 1, 2, 0], sample_weight=scipy_sparse.csr_matrix((4, 1)), verbose=0)


def test_scipy_is_not_imported():
    code = "import sys, fastmlp; fastmlp.utils.to_categorical([1]); assert 'scipy.sparse' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
