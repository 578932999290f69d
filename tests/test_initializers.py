import numpy as np
import pytest

from fastmlp import initializers
from fastmlp.initializers import Identity, Orthogonal, TruncatedNormal

NAMES = [
    "zeros", "ones", "constant", "random_uniform", "random_normal", "truncated_normal", "variance_scaling",
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal",
    "identity",
]  # fmt: skip


@pytest.mark.parametrize("name", [*NAMES, "zero", "one", "uniform", "normal", "OrthogonalInitializer"])
def test_name_of_keras_gives_the_class_of_keras(name):
    keras = pytest.importorskip("keras")
    if name != "constant":  # which Keras knows but can't make without a value
        assert type(initializers.get(name)).__name__ == type(keras.initializers.get(name)).__name__


@pytest.mark.parametrize("name", NAMES)
def test_config_is_that_of_keras(name):
    keras = pytest.importorskip("keras")
    described = initializers.get(name)
    ours = described.get_config()
    theirs = getattr(keras.initializers, type(described).__name__)().get_config()
    # The axes of a convolution's kernel; Keras leaves out the gain of Identity.
    assert {**theirs, "gain": 1.0} | ours == {**theirs, "gain": 1.0}
    assert theirs.keys() - ours.keys() <= {"input_axes", "output_axes"}


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_gives_the_same_values(name):
    first = type(initializers.get(name))
    own = first(seed=5) if "seed" in first().get_config() else first()
    again = initializers.get({"class_name": first.__name__, "config": own.get_config()})
    assert type(again) is first
    assert repr(again) == repr(own)
    np.testing.assert_array_equal(again((3, 4)), own((3, 4)))


@pytest.mark.parametrize(("mean", "stddev"), [(0.0, 0.05), (3.0, 2.0), (-1.0, 0.0)])
def test_truncated_normal_has_the_moments_of_keras(mean, stddev):
    keras = pytest.importorskip("keras")
    theirs = np.asarray(keras.initializers.TruncatedNormal(mean, stddev, seed=1)((400, 300)))
    ours = TruncatedNormal(mean, stddev)((400, 300))
    assert np.abs(ours - mean).max() <= 2 * stddev
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.02 * stddev + 1e-6)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02, abs=1e-6)
    assert ours.std() == pytest.approx(0.8796 * stddev, rel=0.01)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 1), (2, 3, 4)])
@pytest.mark.parametrize("gain", [1.0, -2.5])
def test_orthogonal_has_right_angles_and_the_length_gain(shape, gain):
    w = Orthogonal(gain)(shape)
    assert w.shape == shape
    flat = w.reshape(-1, shape[-1])
    product = flat @ flat.T if len(flat) < flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-13 * gain**2)


def test_orthogonal_matrices_are_spread_evenly():
    # Without the sign of R's diagonal, LAPACK's Q has a first entry below zero always.
    generator = [Orthogonal(seed=seed)((3, 3)) for seed in range(2000)]
    assert np.abs(np.mean(generator, axis=0)).max() < 0.06
    np.testing.assert_allclose(np.mean(np.square(generator), axis=0), 1 / 3, atol=0.03)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
def test_identity_is_that_of_keras(shape):
    keras = pytest.importorskip("keras")
    np.testing.assert_array_equal(Identity(1.5)(shape), np.asarray(keras.initializers.Identity(1.5)(shape)))


def test_seed_repeats_and_no_seed_does_not():
    for cls in (TruncatedNormal, Orthogonal):
        own = cls(seed=4)
        np.testing.assert_array_equal(own((3, 3)), own((3, 3)))
        free = cls()
        assert (free((3, 3)) != free((3, 3))).all()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Orthogonal()((3,)), ValueError, r"shape \(3,\); it can't start a bias"),
        (lambda: Identity()((3,)), ValueError, r"shape \(3,\); it can't start a bias"),
        (lambda: TruncatedNormal(stddev=-1), ValueError, "stddev must be finite and at least 0, got -1"),
        (lambda: Orthogonal(gain="1"), TypeError, "gain must be a number, got '1'"),
        (lambda: initializers.get("orthogonl"), ValueError, "did you mean 'orthogonal'"),
        (lambda: initializers.get(None), TypeError, "a name or an Initializer"),
    ],
)
def test_wrong_argument_is_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
