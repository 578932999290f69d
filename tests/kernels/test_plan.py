import numpy as np
import pytest
from support import DTYPES, SIZES, lanes, network

from fastmlp.kernels.matmul import PANEL_LINES
from fastmlp.kernels.plan import aligned_zeros, padded, panel_shape
from fastmlp.layers import BatchNormalization, Dense, LayerNormalization, Normalization, PReLU, Rescaling
from fastmlp.optimizers import SGD, Adam


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_array_of_a_network_has_lines_of_its_own(dtype):
    row = (
        (7, "tanh"),
        BatchNormalization(),
        PReLU(),
        Normalization(),
        (130, "relu", False),
        LayerNormalization(),
        (3,),
    )
    net = network(20, *row, dtype=dtype)
    seen = np.zeros(net.theta.size, int)
    for i, arrays in enumerate(net.weights):
        for number, array in enumerate(net.layout.views(seen, i)):
            array += 1
            assert (arrays[number].ctypes.data - net.theta.ctypes.data) % 64 == 0
    assert seen.max() == 1
    lines = seen.reshape(-1, lanes(dtype))
    assert (lines.sum(axis=1) > 0).sum() * lanes(dtype) <= net.layout.size
    # Parameters come first; behind them a row of zeros, the bias of what has none, and what operations keep.
    tables, size = net.layout.tables, net.layout.trainable
    operations = [i for i, stage in enumerate(net.layout.stages) if stage.kind != "dense"]
    zeros = slice(size, size + max(tables["row"]))
    assert (tables["bias"][operations] == size).all()
    assert not seen[zeros].any()
    assert not net.theta[zeros].any()
    assert (tables["state"][operations] >= zeros.stop).all()


def test_a_network_of_dense_layers_alone_has_nothing_behind_its_parameters():
    layout = network(20, (7, "tanh"), (3, "linear")).layout
    assert layout.size == layout.trainable
    assert layout.only_dense


@pytest.mark.parametrize(
    ("row", "lowest"),
    [
        (((7,), (3,)), 0),
        ((Dense(7, trainable=False), (3,)), 1),
        ((Rescaling(2.0, 1.0), PReLU(), (3,)), 1),
        ((Dense(7, trainable=False), BatchNormalization(scale=False, center=False), (3,)), 2),
        ((Dense(7, trainable=False), Dense(3, trainable=False)), 2),
    ],
)
def test_deltas_are_needed_from_the_first_stage_that_is_trained(row, lowest):
    assert network(5, *row).layout.tables["lowest"] == lowest


def test_only_plain_sgd_adds_its_step_while_the_gradient_is_summed():
    more = ({"momentum": 0.5}, {"clipnorm": 1.0}, {"weight_decay": 0.1}, {"use_ema": True},
            {"gradient_accumulation_steps": 2})  # fmt: skip
    for optimizer, direct in ((SGD(), 1), *((SGD(**options), 0) for options in more), (Adam(), 0)):
        net = network(5, (3,), optimizer=optimizer)
        assert net.plan.direct == direct
        assert (net.plan.adjust != 0) == optimizer.adjusts
    assert network(5, Dense(3, kernel_regularizer="l2")).plan.direct == 0
