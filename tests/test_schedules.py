import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import keras_in_float64

import fastmlp
from fastmlp import schedules
from fastmlp.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

EXAMPLES = {
    "ExponentialDecay": (0.1, 10, 0.5),
    "PiecewiseConstantDecay": ([3, 7], [0.3, 0.2, 0.1]),
    "PolynomialDecay": (0.1, 10),
    "InverseTimeDecay": (0.1, 10, 0.5),
    "CosineDecay": (0.1, 10),
    "CosineDecayRestarts": (0.1, 10),
}

rate = st.floats(1e-5, 10)
share = st.floats(0, 1)
length = st.integers(1, 5000)

ARGUMENTS = st.one_of(
    st.tuples(
        st.sampled_from(["ExponentialDecay", "InverseTimeDecay"]),
        st.fixed_dictionaries(
            {"initial_learning_rate": rate, "decay_steps": length, "decay_rate": st.floats(0.01, 1)},
            optional={"staircase": st.booleans()},
        ),
    ),
    st.tuples(
        st.just("PiecewiseConstantDecay"),
        st.lists(length, min_size=1, max_size=6, unique=True).flatmap(
            lambda boundaries: st.fixed_dictionaries(
                {
                    "boundaries": st.just(sorted(boundaries)),
                    "values": st.lists(rate, min_size=len(boundaries) + 1, max_size=len(boundaries) + 1),
                }
            )
        ),
    ),
    st.tuples(
        st.just("PolynomialDecay"),
        st.fixed_dictionaries(
            {"initial_learning_rate": rate, "decay_steps": length},
            optional={"end_learning_rate": rate, "power": st.floats(0.2, 3), "cycle": st.booleans()},
        ),
    ),
    st.tuples(
        st.just("CosineDecay"),
        st.fixed_dictionaries(
            {"initial_learning_rate": rate, "decay_steps": length},
            optional={"alpha": share, "warmup_target": rate, "warmup_steps": st.integers(0, 5000)},
        ),
    ),
    st.tuples(
        st.just("CosineDecayRestarts"),
        st.fixed_dictionaries(
            {"initial_learning_rate": rate, "first_decay_steps": length},
            optional={"t_mul": st.sampled_from([1.0, 1.3, 2.0]), "m_mul": st.floats(0.5, 1), "alpha": share},
        ),
    ),
)


def in_float64(arguments):
    """Keras computes in the type of the first rate, and takes Python's floats for float32."""
    if "values" in arguments:
        return arguments | {"values": [np.float64(value) for value in arguments["values"]]}
    return arguments | {"initial_learning_rate": np.float64(arguments["initial_learning_rate"])}


@settings(max_examples=150, deadline=None)
@given(case=ARGUMENTS, steps=st.lists(st.integers(0, 20000), min_size=3, max_size=3))
def test_rates_are_those_of_keras(case, steps):
    name, arguments = case
    ours = getattr(schedules, name)(**arguments)
    with keras_in_float64() as keras:
        theirs = getattr(keras.optimizers.schedules, name)(**in_float64(arguments))
        expected = [float(theirs(step)) for step in steps]
    # Keras takes cosines in float32 even then; where one is nearly 0, only digits of its largest value count.
    top = max(arguments.get("initial_learning_rate", 0), arguments.get("warmup_target", 0))
    within = 2e-7 * top if name.startswith("Cosine") else 1e-300  # JAX flushes denormal numbers
    np.testing.assert_allclose(ours(np.array(steps)), expected, rtol=1e-11, atol=within)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *EXAMPLES.items(),
        ("ExponentialDecay", (0.01, 10, 1.5)),
        ("ExponentialDecay", (0.1, 7, 0.5, True)),
        ("InverseTimeDecay", (0.1, 7, -0.05, True)),
        ("PolynomialDecay", (0.1, 7, 0.2, 0.5, True)),
        ("CosineDecay", (0.0, 10, 0.1, "warm", 0.2, 5)),
        ("CosineDecay", (0.3, 10, 1.5, "warm", 0.2, 0)),
        ("CosineDecayRestarts", (0.1, 5, 1.0, 1.1, 0.2)),
        ("CosineDecayRestarts", (0.1, 5, 1.4, 1.1, 0.2)),
        ("CosineDecayRestarts", (0.1, 30, 0.5, 0.9)),
    ],
)
def test_rates_are_those_of_keras_in_float32(name, arguments):
    keras = pytest.importorskip("keras")
    theirs = getattr(keras.optimizers.schedules, name)(*arguments)
    expected = [float(theirs(step)) for step in range(40)]
    np.testing.assert_allclose(getattr(schedules, name)(*arguments).rates(0, 40), expected, rtol=1e-6, atol=2e-8)


@pytest.mark.parametrize("name", EXAMPLES)
def test_arrays_of_steps_give_the_rates_of_single_steps(name):
    schedule = getattr(schedules, name)(*EXAMPLES[name])
    single = schedule(5)
    assert type(single) is float
    rates = schedule(np.arange(40).reshape(8, 5))
    assert rates.dtype == np.float64
    assert rates.shape == (8, 5)
    np.testing.assert_array_equal(rates.ravel(), [schedule(step) for step in range(40)])
    np.testing.assert_array_equal(schedule.rates(7, 12), rates.ravel()[7:19])
    assert schedule.rates(3, 0).shape == (0,)


@pytest.mark.parametrize("name", EXAMPLES)
def test_config_is_that_of_keras(name):
    keras = pytest.importorskip("keras")
    ours = getattr(schedules, name)(*EXAMPLES[name])
    theirs = getattr(keras.optimizers.schedules, name)(*EXAMPLES[name])
    assert ours.get_config() == theirs.get_config()
    np.testing.assert_array_equal(type(ours).from_config(ours.get_config()).rates(0, 40), ours.rates(0, 40))


def test_restart_falls_on_its_step_for_any_ratio():
    # log(3^5) / log(3) is 4.999..., and the rate there would be that of the period's end.
    schedule = CosineDecayRestarts(0.1, 1, t_mul=3.0)
    for period in range(1, 12):
        assert schedule((3**period - 1) // 2) == 0.1


def test_cycle_ends_at_the_end_rate_for_any_length():
    schedule = PolynomialDecay(0.1, 0.1, end_learning_rate=0.0, power=0.5, cycle=True)
    assert (schedule.rates(1, 1000) < 1e-6).all()


class Counting(LearningRateSchedule):
    def __init__(self, function):
        self.function = function
        self.calls = 0

    def __call__(self, step):
        self.calls += 1
        return self.function(step)


@pytest.mark.parametrize(
    "function",
    [
        lambda step: 0.1 if step < 3 else 0.01,
        lambda step: 0.1 * math.exp(-step),
        lambda step: 0.1,
        lambda step: {0: 0.1}.get(step, 0.2),
        lambda step: np.float32(0.1) if isinstance(step, int) else np.zeros(3),
        lambda step: 0.1 * 2 ** -(step % 5),
    ],
)
def test_schedules_for_single_steps_work_too(function):
    np.testing.assert_array_equal(Counting(function).rates(1, 6), [function(step) for step in range(1, 7)])
    np.testing.assert_array_equal(Counting(function).rates(1, 1), [function(1)])


def test_schedules_for_arrays_are_called_once():
    schedule = Counting(lambda step: 0.1 / (step + 1))
    np.testing.assert_array_equal(schedule.rates(0, 3), [0.1, 0.05, 0.1 / 3])
    assert schedule.calls == 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda step: 0.1 - 0.05 * step, "-0.05.* at step 3"),
        (lambda step: math.nan if step == 5 else 0.1, "nan at step 5"),
        (lambda step: np.where(step < 4, 0.1, np.inf), "inf at step 4"),
    ],
)
def test_rate_that_is_none_is_named_with_its_step(function, message):
    with pytest.raises(ValueError, match=message):
        Counting(function).rates(2, 9)


def test_built_in_schedules_name_the_step_too():
    with pytest.raises(ValueError, match=r"-0.1 at step 4"):
        InverseTimeDecay(0.1, 1, -0.5)(4)
    with pytest.raises(ValueError, match=r"CosineDecayRestarts\(.*nan at step 20"):
        CosineDecayRestarts(0.1, 10, t_mul=0.5)(np.array([19, 20]))


def test_errors_of_a_schedule_come_through():
    def broken(step):
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        Counting(broken).rates(0, 5)
    with pytest.raises(TypeError, match="None at step 0; a number is needed"):
        Counting(lambda step: None).rates(0, 5)
    with pytest.raises(NotImplementedError, match=r"must define __call__\(step\)"):
        LearningRateSchedule().rates(0, 5)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: ExponentialDecay(0.1, 0, 0.5), ValueError, "decay_steps must be positive, got 0"),
        (lambda: ExponentialDecay("0.1", 10, 0.5), TypeError, "initial_learning_rate must be a number, got '0.1'"),
        (lambda: ExponentialDecay(0.1, 10, -0.5), ValueError, "decay_rate must be finite and at least 0, got -0.5"),
        (lambda: InverseTimeDecay(0.1, 10, math.inf), ValueError, "decay_rate must be finite, got inf"),
        (lambda: PiecewiseConstantDecay([1, 2], [0.1]), ValueError, "got 1 values and 2 boundaries"),
        (lambda: PiecewiseConstantDecay([2, 2], [0.1] * 3), ValueError, r"must rise, got \[2, 2\]"),
        (lambda: CosineDecay(0.1, 10, warmup_target=-1), ValueError, "warmup_target .* got -1"),
        (lambda: CosineDecayRestarts(0.1, 10, t_mul=0), ValueError, "t_mul must be positive"),
        (lambda: CosineDecay(0.1, 10).rates(-1, 3), ValueError, "first must be at least 0, got -1"),
        (lambda: schedules.get("CosineDecay"), TypeError, "must be a LearningRateSchedule"),
    ],
)
def test_wrong_argument_is_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_schedules_are_found_where_keras_has_them():
    from fastmlp.optimizers.schedules import CosineDecay as imported

    assert imported is CosineDecay is fastmlp.optimizers.schedules.CosineDecay


def test_get_takes_an_object_or_a_dictionary():
    schedule = CosineDecay(0.1, 10)
    assert schedules.get(schedule) is schedule
    assert schedules.get({"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 10}})(
        0
    ) == schedule(0)
