import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import keras_in_float64

from fastmlp import regularizers
from fastmlp.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

factor = st.floats(0, 10)
CASES = st.one_of(
    st.tuples(st.just("L1"), st.fixed_dictionaries({"l1": factor})),
    st.tuples(st.just("L2"), st.fixed_dictionaries({"l2": factor})),
    st.tuples(st.just("L1L2"), st.fixed_dictionaries({"l1": factor, "l2": factor})),
    st.tuples(
        st.just("OrthogonalRegularizer"),
        st.fixed_dictionaries({"factor": factor, "mode": st.sampled_from(["rows", "columns"])}),
    ),
)


@settings(max_examples=60, deadline=None)
@given(case=CASES, shape=st.sampled_from([(2, 2), (5, 3), (3, 8)]), seed=st.integers(0, 2**32 - 1))
def test_penalty_is_that_of_keras(case, shape, seed):
    name, arguments = case
    w = np.random.default_rng(seed).standard_normal(shape) * 3
    w[0] *= (0, 1, 1e-8)[seed % 3]  # a row of zeros has no direction, a tiny one keeps some of its length
    penalty = getattr(regularizers, name)(**arguments)(w)
    assert type(penalty) is float
    with keras_in_float64() as keras:
        theirs = getattr(keras.regularizers, name)(**arguments)
        expected = float(theirs(keras.ops.convert_to_tensor(w)))
    assert penalty == pytest.approx(expected, rel=1e-13)


def test_penalties_of_keras_in_float32():
    keras = pytest.importorskip("keras")
    w = np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)
    for name in ("L1", "L2", "OrthogonalRegularizer"):
        expected = float(getattr(keras.regularizers, name)()(keras.ops.convert_to_tensor(w)))
        assert getattr(regularizers, name)()(w) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", [lambda r: r.L1(0.5), lambda r: r.L2(0.5), lambda r: r.L1L2(0.5, 0.25),
                                  lambda r: r.OrthogonalRegularizer(0.5, "columns"), lambda r: r.L1L2(None, None),
                                  lambda r: r.L1(None), lambda r: r.l2(None), lambda r: r.l1_l2(0.5)])  # fmt: skip
def test_config_is_that_of_keras(make):
    keras = pytest.importorskip("keras")
    ours = make(regularizers)
    assert ours.get_config() == pytest.approx(make(keras.regularizers).get_config())
    assert type(ours).from_config(ours.get_config()).get_config() == ours.get_config()


def test_l1_and_l2_are_plain_numbers_of_all_three():
    for regularizer, expected in ((L1(1), (1.0, 0.0)), (L2(2), (0.0, 2.0)), (L1L2(1, 2), (1.0, 2.0))):
        assert isinstance(regularizer, L1L2)
        assert (regularizer.l1, regularizer.l2) == expected
        assert {type(regularizer.l1), type(regularizer.l2)} == {float}


def test_price_of_zero_is_free():
    assert L1L2()(np.array([np.inf])) == 0.0
    assert L1(0)(np.array([np.inf])) == 0.0
    assert L2()(np.ones((2, 3), np.float32)) == 0.06
    assert L1L2(1, 2)([1, -3]) == 4 + 20


def test_matrix_without_a_pair_costs_nothing():
    assert OrthogonalRegularizer()(np.ones((1, 4))) == 0.0
    assert OrthogonalRegularizer(mode="columns")(np.ones((4, 1))) == 0.0


@pytest.mark.parametrize(
    ("name", "cls"),
    [("l1", L1), ("L2", L2), ("l1_l2", L1L2), ("L1L2", L1L2), ("orthogonal_regularizer", OrthogonalRegularizer),
     ("OrthogonalRegularizer", OrthogonalRegularizer), (L1, L1)],
)  # fmt: skip
def test_get_takes_names_and_classes(name, cls):
    assert type(regularizers.get(name)) is cls


def test_get_takes_none_objects_and_dictionaries():
    own = L1(3)
    assert regularizers.get(None) is None
    assert regularizers.get(own) is own
    assert regularizers.get({"class_name": "L1", "config": {"l1": 3.0}}).l1 == 3.0


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: L1(-1), ValueError, "l1 must be finite and at least 0, got -1"),
        (lambda: L2(np.nan), ValueError, "l2 must be finite and at least 0, got nan"),
        (lambda: L1L2(l2="x"), TypeError, "l2 must be a number, got 'x'"),
        (lambda: OrthogonalRegularizer(mode="row"), ValueError, "did you mean 'rows'"),
        (lambda: OrthogonalRegularizer()(np.ones(3)), ValueError, r"matrices, got shape \(3,\)"),
        (lambda: regularizers.get("l3"), ValueError, "Known: l1, l1_l2, l2, orthogonal_regularizer"),
        (lambda: regularizers.get(0.01), TypeError, "a name or a Regularizer, got 0.01"),
        (lambda: Regularizer()(1), NotImplementedError, "must define __call__"),
    ],
)
def test_wrong_argument_is_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
