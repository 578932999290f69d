import numpy as np
import pytest
from reference import draw_glyphs as plain

from fastmlp.kernels.printed_digits import draw_glyphs


def arguments(n, h, s, p, dtype, seed=0):
    """Random inputs whose warped grid reaches over every edge of the samples."""
    rng = np.random.default_rng(seed)
    affine = rng.uniform(-0.3, 0.3, (n, 2, 3))
    affine[:, [0, 1], [0, 1]] += 1.3 * s / h
    affine[:, :, 2] -= 0.15 * s
    stroke = rng.uniform([-1, 0.5, 0, 0], [1, 2, 1, 1], (n, 4))
    basis = rng.random((h, p))
    real = (
        rng.uniform(-2, 2, (3, s, s)),
        affine,
        rng.uniform(-1, 1, (n, 2, p, p)),
        basis / basis.sum(axis=1, keepdims=True),
        stroke,
    )
    distance, affine, elastic, basis, stroke = (array.astype(dtype) for array in real)
    noise = rng.integers(0, 256, (n, h, h), dtype=np.uint8)
    noise[:, 0, 0] = 255
    return distance, rng.integers(0, 3, n), affine, elastic, basis, stroke, noise


def drawn(inputs):
    images = np.full(inputs[-1].shape, 77, np.uint8)  # every pixel must be written
    draw_glyphs(*inputs, np.empty((2, inputs[4].shape[1]), inputs[4].dtype), images)
    return images


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("h", [1, 2, 3, 7, 16, 17, 33])
def test_images_equal_the_plain_version(h, dtype):
    inputs = arguments(n=5, h=h, s=h + 4, p=4, dtype=dtype)
    difference = np.abs(drawn(inputs).astype(int) - plain(*inputs))
    # A grey level is 1 / 255 of full ink, far above the rounding of either dtype: only a value half way
    # between two levels may fall to the other side.
    assert difference.max() <= 1
    assert (difference > 0).mean() <= (0.01 if dtype is np.float32 else 0)


@pytest.mark.parametrize(("n", "s", "p"), [(0, 8, 3), (1, 2, 1), (2, 1, 3), (3, 48, 5)])
def test_any_number_of_images_samples_and_control_points(n, s, p):
    inputs = arguments(n=n, h=9, s=s, p=p, dtype=np.float64)
    np.testing.assert_array_equal(drawn(inputs), plain(*inputs))


def test_inputs_stay_as_they_are():
    inputs = arguments(n=3, h=7, s=9, p=3, dtype=np.float32)
    before = [array.copy() for array in inputs]
    drawn(inputs)
    for array, copy in zip(inputs, before):
        np.testing.assert_array_equal(array, copy)


def test_a_glyph_under_the_identity_is_its_own_soft_threshold():
    s = 12
    column = np.arange(s, dtype=np.float64)
    distance = np.broadcast_to(column - 5.5, (1, s, s)).copy()  # ink left of the middle
    affine = np.array([[[1.0, 0, 0], [0, 1, 0]]])
    stroke = np.array([[0.0, 1, 0, 0]])
    noise = np.zeros((1, s, s), np.uint8)
    elastic, basis = np.zeros((1, 2, 1, 1)), np.ones((s, 1))
    images = drawn((distance, np.zeros(1, int), affine, elastic, basis, stroke, noise))
    expected = np.where(column[:-1] < 5.5, 255, 0)
    np.testing.assert_array_equal(images[0, :-1, :-1], np.broadcast_to(expected, (s - 1, s - 1)))
    assert not images[0, -1].any()  # the last sample has no neighbour to go between
    assert not images[0, :, -1].any()


def test_dust_lies_only_where_noise_is_255():
    inputs = arguments(n=2, h=8, s=8, p=2, dtype=np.float64)
    inputs[0][:] = 9  # no ink anywhere
    images = drawn(inputs)
    np.testing.assert_array_equal(images > 0, inputs[-1] == 255)
