import numpy as np
import pytest
from support import DTYPES, SIZES, lanes

from fastmlp.kernels.matmul import PANEL_LINES
from fastmlp.kernels.plan import aligned_zeros, padded, panel_shape


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_is_whole_lines_and_an_odd_number_of_them_from_eight_on(dtype):
    width = lanes(dtype)
    for units in range(1, 40 * width):
        stored = padded(units, dtype)
        assert stored % width == 0
        needed = -(-units // width)
        assert stored // width == needed + (needed >= 8 and needed % 2 == 0)


@pytest.mark.parametrize("dtype", [*DTYPES, np.int64])
@pytest.mark.parametrize("size", [0, *SIZES, 1000])
def test_zeros_start_at_a_line(size, dtype):
    for shape in (size, (size, 3), (2, size)):
        array = aligned_zeros(shape, dtype)
        assert array.shape == np.zeros(shape).shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert not array.any()
        assert array.size == 0 or array.ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_thread_has_a_panel_of_its_own(dtype):
    assert panel_shape(3, dtype) == (3, PANEL_LINES * lanes(dtype))
