import json

import numpy as np
import pytest

from fastmlp import constraints, initializers, metrics, regularizers, schedules, serialization
from fastmlp.initializers import Constant, Initializer, RandomNormal
from fastmlp.regularizers import L1L2, L2, Regularizer
from fastmlp.schedules import ExponentialDecay, LearningRateSchedule
from fastmlp.serialization import Configurable, deserialize, register_serializable, serialize

EXAMPLES = {
    "initializer": [initializers.get(name)
                    for name in ("zeros", "glorot_uniform", "orthogonal", "identity", "truncated_normal")]
    + [Constant(2.5), initializers.VarianceScaling(2.0, "fan_avg", "uniform", seed=3)],
    "regularizer": [regularizers.L1(0.1), L2(0.2), L1L2(0.1, 0.2), regularizers.OrthogonalRegularizer(0.3, "columns")],
    "constraint": [constraints.MaxNorm(3.0), constraints.NonNeg(), constraints.UnitNorm(1),
                   constraints.MinMaxNorm(0.5, 2.0, 0.1)],
    "schedule": [ExponentialDecay(0.1, 10, 0.5, staircase=True),
                 schedules.PiecewiseConstantDecay((3, 7), (0.3, 0.2, 0.1)), schedules.PolynomialDecay(0.1, 10),
                 schedules.InverseTimeDecay(0.1, 10, 0.5), schedules.CosineDecay(0.1, 10, warmup_target=0.2),
                 schedules.CosineDecayRestarts(0.1, 10)],
}  # fmt: skip
CASES = [(kind, described) for kind, examples in EXAMPLES.items() for described in examples]


@pytest.fixture(autouse=True)
def _forgotten_classes(monkeypatch):
    """What a test registers is unknown to the next."""
    monkeypatch.setattr(serialization, "_classes", {k: dict(v) for k, v in serialization._classes.items()})
    monkeypatch.setattr(serialization, "_names", dict(serialization._names))


@pytest.mark.parametrize(("kind", "described"), CASES, ids=lambda value: type(value).__name__)
def test_round_trip_through_json_gives_an_equal_object(kind, described):
    written = serialize(described)
    assert list(written) == ["class_name", "config"]
    again = deserialize(json.loads(json.dumps(written)), kind)
    assert type(again) is type(described)
    assert repr(again) == repr(described)
    assert serialize(again) == written
    assert serialize(deserialize(written)) == written


@pytest.mark.parametrize(("kind", "described"), CASES, ids=lambda value: type(value).__name__)
def test_keras_reads_what_is_written(kind, described):
    keras = pytest.importorskip("keras")
    module = keras.optimizers.schedules if kind == "schedule" else getattr(keras, f"{kind}s")
    theirs = module.deserialize(serialize(described))
    assert type(theirs).__name__ == type(described).__name__
    config = theirs.get_config()
    for name, value in serialize(described)["config"].items():
        # Keras keeps some as float32, and leaves out the gain of Identity.
        assert config.get(name, value) == (pytest.approx(value) if isinstance(value, float) else value)


def test_every_class_of_the_package_is_known_and_no_base():
    known = serialization._classes
    assert set(known["schedule"]) == {type(example).__name__ for example in EXAMPLES["schedule"]}
    assert set(known["constraint"]) == {type(example).__name__ for example in EXAMPLES["constraint"]}
    assert set(known["regularizer"]) == {type(example).__name__ for example in EXAMPLES["regularizer"]}
    assert {type(initializers.get(name)).__name__ for name in initializers._NAMES} == set(known["initializer"])


def test_numpy_values_become_plain_ones():
    config = Constant(np.float32(0.5)).get_config()
    assert config == {"value": 0.5}
    assert type(config["value"]) is float
    assert Constant(np.arange(4).reshape(2, 2)).get_config() == {"value": [[0, 1], [2, 3]]}
    assert Constant((1, np.int8(2), np.bool_(True), np.str_("a"), np.longdouble(1.5), None)).get_config() == {
        "value": [1, 2, True, "a", 1.5, None]
    }


def test_nested_objects_become_dictionaries_and_objects_again():
    @register_serializable()
    class Sum(Regularizer):
        def __init__(self, parts, names=None):
            self.parts, self.names = parts, names

        def __call__(self, w):
            return sum(part(w) for part in self.parts)

    written = json.loads(json.dumps(serialize(Sum((L2(0.5), Sum([L2(1.0)])), {"first": L2(2.0)}))))
    assert written["class_name"] == "Custom>Sum"
    assert written["config"]["parts"][0] == {"class_name": "L2", "config": {"l2": 0.5}}
    again = deserialize(written, "regularizer")
    assert again(np.ones(2)) == 3.0
    assert again.names["first"].l2 == 2.0


def test_arguments_include_those_that_kwargs_hand_to_the_base():
    @register_serializable("tests", name="Own")
    class Shifted(RandomNormal):
        def __init__(self, shift, *, scale=2.0, **kwargs):
            super().__init__(**kwargs)
            self.shift, self._scale = shift, scale

    written = serialize(Shifted(1.0, stddev=0.5))
    assert written["class_name"] == "tests>Own"
    assert written["config"] == {"shift": 1.0, "scale": 2.0, "mean": 0.0, "stddev": 0.5, "seed": None}
    again = deserialize(written, "initializer")
    assert (again.shift, again._scale, again.stddev) == (1.0, 2.0, 0.5)


def test_arguments_of_the_base_stay_out_without_kwargs():
    assert initializers.Zeros().get_config() == {}
    assert Constant().get_config() == {"value": 0.0}


def test_class_may_define_its_own_config():
    @register_serializable()
    class Table(LearningRateSchedule):
        def __init__(self, *rates):
            self.table = rates

        def __call__(self, step):
            return self.table[step]

        def get_config(self):
            return {"rates": self.table}

        @classmethod
        def from_config(cls, config):
            return cls(*config["rates"])

    assert deserialize(json.loads(json.dumps(serialize(Table(0.2, 0.1)))), "schedule").table == (0.2, 0.1)


def test_class_that_hides_an_argument_is_told_so():
    @register_serializable()
    class Hiding(Regularizer):
        def __init__(self, price):
            self.cost = price

    with pytest.raises(NotImplementedError, match=r"Hiding keeps no attribute 'price'.*define get_config"):
        serialize(Hiding(1))
    assert repr(Hiding(1)) == "<Hiding>"


def test_unregistered_class_of_a_user_is_not_written():
    class Own(L2):
        pass

    with pytest.raises(ValueError, match=r"Own isn't registered.*@register_serializable\(\)"):
        serialize(Own())
    with pytest.raises(ValueError, match="Own isn't registered"):
        Constant(Own()).get_config()


def test_class_may_be_registered_again_but_not_under_the_name_of_another():
    def define():
        @register_serializable()
        class Own(L2):
            pass

        return Own

    define()
    newest = define()
    assert deserialize({"class_name": "Custom>Own", "config": {}}, "regularizer").__class__ is newest

    with pytest.raises(ValueError, match=r"'Custom>Own' is already .*Own; give register_serializable another name"):

        @register_serializable(name="Own")
        class Other(L2):
            pass


def test_only_descriptions_can_be_registered():
    with pytest.raises(TypeError, match="must be a class derived from one of fastmlp's"):
        register_serializable()(int)
    with pytest.raises(TypeError, match="needs its parentheses"):
        register_serializable(L2)


@pytest.mark.parametrize(
    ("dictionary", "kind", "error", "message"),
    [
        ({"class_name": "L3", "config": {}}, "regularizer", ValueError,
         "regularizer 'L3' is unknown.* Known: L1, L1L2, L2, OrthogonalRegularizer"),
        ({"class_name": "Zeros", "config": {}}, "regularizer", ValueError, "regularizer 'Zeros' is unknown"),
        ({"class_name": "Nothing", "config": {}}, None, ValueError, "class 'Nothing' is unknown.* Known: .*L2"),
        ({"class_name": "os.system", "config": {"command": "true"}}, None, ValueError, "is unknown"),
        ({"class_name": "UnitNorm", "config": {"axes": 1}}, "constraint", ValueError,
         "UnitNorm has no argument 'axes'; did you mean 'axis'.* Known: axis"),
        ({"class_name": "NonNeg", "config": {"__class__": 1}}, None, ValueError,
         "no argument '__class__'. Known: none"),
        ({"class_name": "ExponentialDecay", "config": {"decay_steps": 3}}, None, ValueError,
         "lacks initial_learning_rate, decay_rate"),
        ({"class_name": "L2", "config": [1]}, None, TypeError, r"the config of L2 must be a dictionary, got \[1\]"),
        ({"class_name": "L2", "config": {"l2": -1}}, None, ValueError, "l2 must be finite and at least 0, got -1"),
        ({"class_name": "Constant", "config": {"value": {"class_name": "x", "config": {}}}}, None, ValueError,
         "class 'x' is unknown"),
        ({"config": {}}, None, TypeError, "expected a dictionary with class_name and config"),
        ("L2", None, TypeError, "expected a dictionary with class_name and config, got 'L2'"),
        ({"class_name": "L2", "config": {}}, "regulariser", ValueError, "did you mean 'regularizer'"),
    ],
)  # fmt: skip
def test_dictionary_that_is_wrong_is_refused(dictionary, kind, error, message):
    with pytest.raises(error, match=message):
        deserialize(dictionary, kind)


def test_name_of_two_kinds_needs_the_kind():
    class Other(Configurable, kind="other"):
        pass

    class Base(Other):
        pass

    register_serializable("a", name="Same")(Base)
    register_serializable("a", name="Same")(type("Base", (L2,), {}))
    with pytest.raises(ValueError, match=r"'a>Same' may be a .*: deserialize needs the kind"):
        deserialize({"class_name": "a>Same", "config": {}})
    assert isinstance(deserialize({"class_name": "a>Same", "config": {}}, "other"), Base)


@pytest.mark.parametrize("value", [object(), {1: 2}, 1j, np.complex64(1), {1, 2}, np.sin])
def test_value_unknown_to_json_is_refused(value):
    with pytest.raises(TypeError, match="Constant's value can't be written to JSON"):
        Constant(value).get_config()
    with pytest.raises(TypeError, match="only descriptions"):
        serialize(value)


def test_bases_are_kinds_of_their_own():
    assert {"initializer", "regularizer", "constraint", "schedule"} <= set(serialization._classes)
    assert Initializer._described_kind == "initializer"


def test_a_metric_that_is_a_loss_keeps_the_arguments_of_the_loss():
    made = metrics.BinaryCrossentropy("mine", from_logits=True, label_smoothing=0.1)
    again = deserialize(serialize(made), "metric")
    assert again.get_config() == made.get_config() == {"name": "mine", "from_logits": True, "label_smoothing": 0.1}
    assert again.scoring(3) == made.scoring(3)
    assert deserialize(serialize(metrics.Huber(delta=2.0)), "metric").loss.delta == 2.0
