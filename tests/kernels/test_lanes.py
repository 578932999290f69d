import numpy as np
import pytest
import reference
from support import DTYPES, SIZES, Padded, lanes

from fastmlp.kernels.lanes import transpose

pytestmark = pytest.mark.parametrize("dtype", DTYPES)


def matrix(dtype, rows, columns):
    return np.random.default_rng(0).standard_normal((rows, columns)).astype(dtype)


@pytest.mark.parametrize("rows", SIZES)
def test_transpose_equals_its_twin(rows, dtype):
    for columns in SIZES:
        x = matrix(dtype, rows, columns)
        source, target = Padded(x, 3, np.nan), Padded(np.zeros((columns, rows), dtype), 5, 55)
        transpose(*source.place, rows, columns, *target.place)
        np.testing.assert_array_equal(target.matrix, reference.transpose(x))
        target.assert_only_written(slice(None), slice(rows))
        source.assert_untouched()


def test_rows_and_columns_that_were_not_asked_for_stay(dtype):
    size = 2 * lanes(dtype) + 1
    source, target = Padded(matrix(dtype, size, size), 3, np.nan), Padded(np.zeros((size, size), dtype), 5, 55)
    for rows, columns in ((0, size), (size, 0), (lanes(dtype), 1), (1, lanes(dtype)), (size - 1, size - 2)):
        target.flat[:] = target.start
        transpose(*source.place, rows, columns, *target.place)
        np.testing.assert_array_equal(
            target.matrix[:columns, :rows], reference.transpose(source.matrix[:rows, :columns])
        )
        target.assert_only_written(slice(columns), slice(rows))


def test_rows_may_follow_each_other_without_padding(dtype):
    for rows, columns in ((lanes(dtype), 3), (lanes(dtype) + 1, 2 * lanes(dtype) + 3)):
        x, turned = matrix(dtype, rows, columns), np.zeros((columns, rows), dtype)
        transpose(x.reshape(-1), 0, columns, rows, columns, turned.reshape(-1), 0, rows)
        np.testing.assert_array_equal(turned, reference.transpose(x))


def test_nan_and_the_sign_of_zero_are_kept(dtype):
    x = np.zeros((lanes(dtype), lanes(dtype) + 1), dtype)
    x[0, 1], x[1, 0], x[2, lanes(dtype)] = np.nan, -0.0, np.nan
    turned = np.zeros(x.T.shape, dtype)
    transpose(x.reshape(-1), 0, x.shape[1], *x.shape, turned.reshape(-1), 0, x.shape[0])
    assert turned.tobytes() == reference.transpose(x).tobytes()
