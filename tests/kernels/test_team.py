import threading

import numpy as np
import pytest
from support import compiled_only, network, samples, small_kernel

from fastmlp.kernels import team
from fastmlp.kernels.plan import aligned_zeros
from fastmlp.kernels.team import FAILED, SYNC_SIZE, barrier, flush_denormals, restore_denormals, share

TINY = np.finfo(np.float32).tiny


def test_the_shares_cover_everything_once_and_in_whole_tiles():
    for count in (0, 1, 2, 11, 12, 13, 24, 47, 100, 1000):
        for tile in (1, 8, 12, 16, 64):
            for size in (1, 2, 3, 4, 7, 16):
                end = 0
                for rank in range(size):
                    first, last = share(count, tile, rank, size)
                    assert first == end
                    assert first <= last
                    assert first == count or first % tile == 0
                    end = last
                assert end == count


def test_the_shares_differ_by_one_tile_at_most():
    for size in (2, 3, 7):
        parts = [share(12 * 100, 12, rank, size) for rank in range(size)]
        tiles = [(last - first) // 12 for first, last in parts]
        assert max(tiles) - min(tiles) <= 1


# ---------------------------------------------------------------------------------------------- barrier


@small_kernel
def meet(sync, rounds, turn, wrong, rank, size):
    """Every member says which round it is in; between two barriers all must say the same."""
    for i in range(rounds):
        turn[rank * 8] = i
        barrier(sync, size)
        for other in range(size):
            wrong[rank] += turn[other * 8] != i
        barrier(sync, size)


@small_kernel
def wait(sync, size):
    barrier(sync, size)


def in_threads(function, *arguments, timeout=120):
    """Call function(*arguments_i) for each tuple in a thread of its own; they must end in time."""
    threads = [threading.Thread(target=function, args=each, daemon=True) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    return [thread for thread in threads if thread.is_alive()]


def test_alone_nobody_waits():
    wait(aligned_zeros(SYNC_SIZE, np.int64), 1)


@compiled_only
@pytest.mark.parametrize(("size", "rounds"), [(2, 5000), (3, 500), (9, 50)])  # the last two: more than the cores
def test_no_round_of_the_barrier_is_lost(size, rounds):
    sync, turn = aligned_zeros(SYNC_SIZE, np.int64), aligned_zeros(8 * size, np.int64)
    wrong = np.zeros(size, np.int64)
    meet(sync, 0, turn, wrong, 0, size)  # compiled here, once
    late = in_threads(meet, *[(sync, rounds, turn, wrong, rank, size) for rank in range(size)])
    sync[FAILED] = 1  # whoever is left may go
    assert not late
    assert not wrong.any()
    assert sync[team.ROUND] == 2 * rounds
    assert sync[team.ARRIVED] == 0


@compiled_only
def test_a_failed_member_lets_everyone_through():
    sync = aligned_zeros(SYNC_SIZE, np.int64)
    wait(sync, 1)
    threads = [threading.Thread(target=wait, args=(sync, 3), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()  # the third is missing
    sync[FAILED] = 1
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not in_threads(wait, (sync, 3))  # and whoever comes later


# ---------------------------------------------------------------------------------------------- denormals


def denormal_product():
    """Half the smallest normal number, by NumPy on this thread: 0 while denormals are flushed."""
    return float((np.full(4, TINY) * np.full(4, np.float32(0.5)))[0])


@compiled_only
def test_denormals_are_flushed_in_between_only():
    assert denormal_product() > 0
    before = flush_denormals()
    try:
        inside = denormal_product()
        nested = flush_denormals()
        restore_denormals(nested)  # found flushed, left flushed
        still_inside = denormal_product()
    finally:
        restore_denormals(before)
    assert inside == 0
    assert still_inside == 0
    assert denormal_product() > 0


@small_kernel
def states():
    """Control word before, between and after."""
    found = team._control_word()
    before = flush_denormals()
    between = team._control_word()
    restore_denormals(before)
    return found, before, between, team._control_word()


@compiled_only
def test_the_floating_point_state_is_left_as_found():
    found, before, between, after = states()
    assert found == before == after
    assert between == found | between
    assert between != found


@compiled_only
def test_denormals_are_flushed_on_the_calling_thread_alone():
    elsewhere, flushed = [], threading.Event()

    def other():  # started before: a new thread inherits its creator's state
        flushed.wait(60)
        elsewhere.append(denormal_product())

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    before = flush_denormals()
    try:
        flushed.set()
        thread.join(60)
    finally:
        restore_denormals(before)
    assert elsewhere[0] > 0


def test_training_and_inference_leave_the_floating_point_state():
    net = network(3, (2, "sigmoid"), dtype=np.float32)
    _, _, data = samples(net, 4)
    net.train(data, np.arange(4), 2)
    assert denormal_product() > 0
    net.infer(data, np.arange(4), capacity=2)
    assert denormal_product() > 0


def test_without_the_compiler_denormals_stay():
    if team.JIT:
        pytest.skip("says something about plain Python only")
    assert flush_denormals() == 0
    assert denormal_product() > 0
    restore_denormals(0)
