import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import keras_in_float64

from fastmlp import constraints
from fastmlp.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm

axis = st.sampled_from([0, 1])
CASES = st.one_of(
    st.tuples(st.just("MaxNorm"), st.fixed_dictionaries({"max_value": st.floats(0, 5), "axis": axis})),
    st.tuples(st.just("UnitNorm"), st.fixed_dictionaries({"axis": axis})),
    st.tuples(st.just("NonNeg"), st.just({})),
    st.tuples(
        st.just("MinMaxNorm"),
        st.fixed_dictionaries(
            {"min_value": st.floats(0, 2), "max_value": st.floats(2, 5), "rate": st.floats(0, 1), "axis": axis}
        ),
    ),
)


@settings(max_examples=80, deadline=None)
@given(case=CASES, shape=st.sampled_from([(2, 2), (5, 3), (1, 4)]), seed=st.integers(0, 2**32 - 1))
def test_weights_are_those_of_keras(case, shape, seed):
    name, arguments = case
    w = np.random.default_rng(seed).standard_normal(shape) * 2
    w[:, 0] *= seed % 2  # a unit without weights
    before = w.copy()
    bounded = getattr(constraints, name)(**arguments)(w)
    with keras_in_float64() as keras:
        expected = np.asarray(getattr(keras.constraints, name)(**arguments)(w))
    np.testing.assert_allclose(bounded, expected, rtol=1e-12, atol=1e-300)  # JAX flushes denormal numbers
    np.testing.assert_array_equal(w, before)


@pytest.mark.parametrize("constraint", [MaxNorm(1.0), UnitNorm(), NonNeg(), MinMaxNorm(0.5, 1.0, 0.5)])
def test_float32_stays_float32_and_is_that_of_keras(constraint):
    keras = pytest.importorskip("keras")
    w = np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)
    theirs = getattr(keras.constraints, type(constraint).__name__)(**constraint.get_config())
    bounded = constraint(w)
    assert bounded.dtype == np.float32
    np.testing.assert_allclose(bounded, np.asarray(theirs(w)), rtol=1e-6)


def test_whole_numbers_become_float64():
    assert UnitNorm()([[3], [4]]).dtype == np.float64
    np.testing.assert_array_equal(NonNeg()([-1, 2]), [0.0, 2.0])


def test_norms_lie_within_the_bounds():
    w = np.random.default_rng(0).standard_normal((9, 7)) * np.array([0.01, 0.1, 1, 1, 1, 10, 100])
    assert (np.linalg.norm(MaxNorm(2.0)(w), axis=0) <= 2).all()
    assert (np.linalg.norm(MaxNorm(2.0, axis=1)(w), axis=1) <= 2).all()
    norms = np.linalg.norm(MinMaxNorm(0.5, 2.0)(w), axis=0)
    assert ((norms > 0.5 - 1e-5) & (norms <= 2)).all()
    np.testing.assert_allclose(np.linalg.norm(UnitNorm()(w), axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["MaxNorm", "UnitNorm", "NonNeg", "MinMaxNorm"])
def test_config_is_that_of_keras(name):
    keras = pytest.importorskip("keras")
    ours = getattr(constraints, name)()
    theirs = getattr(keras.constraints, name)()
    assert ours.get_config() == theirs.get_config()
    assert type(ours).from_config(ours.get_config()).get_config() == ours.get_config()


@pytest.mark.parametrize("name", ["max_norm", "MaxNorm", "non_neg", "NonNeg", "unit_norm", "UnitNorm", "min_max_norm",
                                  "MinMaxNorm"])  # fmt: skip
def test_name_of_keras_gives_the_class_of_keras(name):
    keras = pytest.importorskip("keras")
    assert type(constraints.get(name)).__name__ == type(keras.constraints.get(name)).__name__
    assert getattr(constraints, name).__name__ == getattr(keras.constraints, name).__name__


def test_get_takes_none_objects_classes_and_dictionaries():
    own = MaxNorm(3)
    assert constraints.get(None) is None
    assert constraints.get(own) is own
    assert type(constraints.get(NonNeg)) is NonNeg
    assert constraints.get({"class_name": "MaxNorm", "config": {"max_value": 3.0}}).max_value == 3.0


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: MaxNorm(-1), ValueError, "max_value must be finite and at least 0, got -1"),
        (lambda: MaxNorm(axis=2), ValueError, "axis must be 0 .* or 1 .*, got 2"),
        (lambda: UnitNorm(axis=[0]), TypeError, r"axis must be an integer of at least 0, got \[0\]"),
        (lambda: UnitNorm(axis=1)(np.ones(3)), ValueError, r"shape \(3,\) have no axis 1"),
        (lambda: MinMaxNorm(2, 1), ValueError, "max_value must be at least min_value=2, got 1"),
        (lambda: MinMaxNorm(rate=1.5), ValueError, "rate must be finite and at least 0 and at most 1, got 1.5"),
        (lambda: constraints.get("maxnrm"), ValueError, "did you mean 'max_norm'"),
        (lambda: constraints.get(2), TypeError, "a name or a Constraint, got 2"),
        (lambda: Constraint()(1), NotImplementedError, "must define __call__"),
    ],
)
def test_wrong_argument_is_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
