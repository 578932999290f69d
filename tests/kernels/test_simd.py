import math

import numpy as np
import pytest
from support import DTYPES, compiled_only, lanes, small_kernel, some
from tolerance import assert_close, ulps

from fastmlp.kernels import simd
from fastmlp.kernels.simd import absolute as absolute_lanes
from fastmlp.kernels.simd import (
    element,
    fma,
    keep_first,
    keep_rolled,
    load,
    load_as,
    load_first,
    max_lanes,
    maximum,
    minimum,
    random_line,
    splat,
    splat_element,
    store,
    store_first,
    sum_lanes,
    transpose_block,
    where_at_most,
    where_equal,
    where_less,
)
from fastmlp.kernels.simd import exp as exp_lanes
from fastmlp.kernels.simd import log as log_lanes
from fastmlp.kernels.simd import sqrt as sqrt_lanes
from fastmlp.kernels.simd import tanh as tanh_lanes

pytestmark = pytest.mark.parametrize("dtype", DTYPES)


def numbers(dtype, count, seed=0):
    return np.random.default_rng(seed).standard_normal(count).astype(dtype)


# ---------------------------------------------------------------------------------------------- memory


@small_kernel
def copy_line(source, at, target, to):
    store(target, to, load(source, at))


@small_kernel
def copy_first(source, at, target, to, count):
    store_first(target, to, load_first(source, at, count), count)


@small_kernel
def first_of(source, at, target, count):
    store(target, 0, load_first(source, at, count))


@small_kernel
def number_at(source, at):
    return element(source, at)


@small_kernel
def fill(target, number):
    store(target, 0, splat(target, number))


@small_kernel
def fill_like(target, source, number):
    store(target, 0, splat(load(source, 0), number))


def test_a_line_is_loaded_and_stored_at_any_element_of_an_array_of_any_shape(dtype):
    width = lanes(dtype)
    source = numbers(dtype, 6 * width).reshape(3, 2, width)
    for at in range(0, 5 * width, 3):
        for to in (0, 1, width - 1, width):
            target = np.full((2, width), 7, dtype)
            before = source.copy()
            copy_line(source, at, target, to)
            expected = np.full(2 * width, 7, dtype)
            expected[to : to + width] = source.ravel()[at : at + width]
            np.testing.assert_array_equal(target.ravel(), expected)
            np.testing.assert_array_equal(source, before)


def test_only_the_first_lanes_are_stored(dtype):
    width = lanes(dtype)
    source = numbers(dtype, 2 * width)
    for count in range(width + 1):
        target = np.full(2 * width, 7, dtype)
        copy_first(source, 3, target, 5, count)
        expected = np.full(2 * width, 7, dtype)
        expected[5 : 5 + count] = source[3 : 3 + count]
        np.testing.assert_array_equal(target, expected)


def test_lanes_beyond_the_first_are_loaded_as_zero_and_their_memory_is_not_read(dtype):
    width = lanes(dtype)
    for count in range(width + 1):
        source = numbers(dtype, 2 + count)  # ends where the wanted lanes end
        target = np.full(width, 7, dtype)
        first_of(source, 2, target, count)
        np.testing.assert_array_equal(target, np.concatenate([source[2:], np.zeros(width - count, dtype)]))


@small_kernel
def convert_line(source, at, target):
    store(target, 0, load_as(target, source, at))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int32, None])
def test_a_line_is_loaded_from_an_array_of_another_type(kind, dtype):
    source = np.random.default_rng(0).integers(-100, 100, 60).astype(kind or dtype)
    for at in (0, 1, 7):
        target = np.full(lanes(dtype), 7, dtype)
        convert_line(source, at, target)
        np.testing.assert_array_equal(target, source[at : at + lanes(dtype)].astype(dtype))


@small_kernel
def turn(source, at, row, target, to, distance):
    transpose_block(source, at, row, target, to, distance)


def test_a_block_of_lines_is_turned(dtype):
    width = lanes(dtype)
    for row, distance in ((width, width), (width + 3, 2 * width + 1)):
        source = numbers(dtype, 2 + width * row)
        target = np.full(1 + width * distance, 7, dtype)
        turn(source, 2, row, target, 1, distance)
        block = source[2:].reshape(width, row)[:, :width]
        written = target[1:].reshape(width, distance)
        np.testing.assert_array_equal(written[:, :width], block.T)
        assert (written[:, width:] == 7).all()
        assert target[0] == 7


def test_an_element_is_found_by_its_flat_offset(dtype):
    source = numbers(dtype, 12).reshape(3, 4)
    assert [number_at(source, i) for i in range(12)] == list(source.ravel())
    assert dtype(number_at(source, 5)) == source[1, 1]


def test_splat_fills_every_lane_in_the_type_of_its_pattern(dtype):
    target = np.zeros(lanes(dtype), dtype)
    for number in (3, -0.1, np.float32(0.1), np.float64(0.1), np.uint8(200)):
        fill(target, number)
        np.testing.assert_array_equal(target, dtype(number))
        fill_like(target, np.zeros_like(target), -number if number != 200 else number)
        np.testing.assert_array_equal(target, dtype(-number if number != 200 else number))


@small_kernel
def fill_from(target, source, at):
    store(target, 0, splat_element(target, source, at))


def test_an_element_of_another_array_fills_every_lane(dtype):
    (source,) = numbers(dtype, (1, 12))
    for at in range(12):
        target = np.full(lanes(dtype) + 1, 7, dtype)
        fill_from(target, source.reshape(3, 4), at)
        np.testing.assert_array_equal(target, [*[source[at]] * lanes(dtype), 7])


def test_every_byte_fills_the_lanes_as_a_float(dtype):
    source, target = np.arange(256).astype(np.uint8), np.zeros(lanes(dtype), dtype)
    for at in range(256):
        fill_from(target, source, at)
        np.testing.assert_array_equal(target, dtype(at))


@small_kernel
def rolled_sum(source, last):
    total = source.dtype.type(0)
    for i in range(last):
        keep_rolled()
        total += source[i]
    return total


def test_a_loop_that_is_kept_rolled_takes_all_its_turns(dtype):
    source = np.arange(40).astype(dtype)
    assert [rolled_sum(source, last) for last in range(41)] == list(np.concatenate([[0], np.cumsum(source)]))


# ---------------------------------------------------------------------------------------------- arithmetic


@small_kernel
def add(a, b, c, out):
    store(out, 0, load(a, 0) + load(b, 0))


@small_kernel
def subtract(a, b, c, out):
    store(out, 0, load(a, 0) - load(b, 0))


@small_kernel
def multiply(a, b, c, out):
    store(out, 0, load(a, 0) * load(b, 0))


@small_kernel
def divide(a, b, c, out):
    store(out, 0, load(a, 0) / load(b, 0))


@small_kernel
def negate(a, b, c, out):
    store(out, 0, -load(a, 0))


@small_kernel
def larger(a, b, c, out):
    store(out, 0, maximum(load(a, 0), load(b, 0)))


@small_kernel
def smaller(a, b, c, out):
    store(out, 0, minimum(load(a, 0), load(b, 0)))


@small_kernel
def less(a, b, c, out):
    store(out, 0, where_less(load(a, 0), load(b, 0), load(c, 0), load(a, 0)))


@small_kernel
def most(a, b, c, out):
    store(out, 0, where_at_most(load(a, 0), load(b, 0), load(c, 0), load(a, 0)))


@small_kernel
def equal(a, b, c, out):
    store(out, 0, where_equal(load(a, 0), load(b, 0), load(c, 0), load(a, 0)))


EXACT = {
    add: lambda a, b, c: a + b,
    subtract: lambda a, b, c: a - b,
    multiply: lambda a, b, c: a * b,
    divide: lambda a, b, c: a / b,
    negate: lambda a, b, c: -a,
    larger: lambda a, b, c: np.where(a < b, b, a),
    smaller: lambda a, b, c: np.where(a > b, b, a),
    less: lambda a, b, c: np.where(a < b, c, a),
    most: lambda a, b, c: np.where(a <= b, c, a),
    equal: lambda a, b, c: np.where(a == b, c, a),
}


@pytest.mark.parametrize("operation", EXACT, ids=lambda f: f.__name__.split("_")[0])
def test_arithmetic_has_the_bits_of_numpy(operation, dtype):
    for seed in range(20):
        a, b, c = numbers(dtype, (3, lanes(dtype)), seed)
        a[:4] = 0, -0.0, *b[2:4]
        out = np.empty_like(a)
        operation(a, b, c, out)
        expected = EXACT[operation](a, b, c)
        assert expected.dtype == out.dtype
        assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("operation", [larger, smaller, less, most, equal], ids=lambda f: f.__name__.split("_")[0])
def test_comparisons_keep_a_nan_in_their_first_argument(operation, dtype):
    a, b, c = numbers(dtype, (3, lanes(dtype)))
    a[::2] = np.nan
    b[1::4] = np.nan
    out = np.empty_like(a)
    operation(a, b, c, out)
    # Every ordered comparison with NaN is false, so all of them give a, which stands in the place of `no` above.
    np.testing.assert_array_equal(out, EXACT[operation](a, b, c))
    assert np.isnan(out[::2]).all()


@small_kernel
def multiply_add(a, b, c, out):
    store(out, 0, fma(load(a, 0), load(b, 0), load(c, 0)))


def test_fma_is_within_its_two_roundings(dtype):
    for seed in range(20):
        a, b, c = numbers(dtype, (3, lanes(dtype)), seed)
        out = np.empty_like(a)
        multiply_add(a, b, c, out)
        wide = [v.astype(np.longdouble) for v in (a, b, c)]
        assert_close(out, (wide[0] * wide[1] + wide[2]).astype(np.float64), 2, np.abs(a * b) + np.abs(c))


# ---------------------------------------------------------------------------------------------- across lanes


@small_kernel
def keep(a, count, fill, out):
    store(out, 0, keep_first(load(a, 0), count, splat(a, fill)))


@small_kernel
def total(a):
    return sum_lanes(load(a, 0))


@small_kernel
def largest(a):
    return max_lanes(load(a, 0))


def test_keep_first_fills_the_other_lanes(dtype):
    a = numbers(dtype, lanes(dtype))
    for count in range(-1, 3 * len(a)):
        out = np.empty_like(a)
        keep(a, count, -math.inf, out)
        np.testing.assert_array_equal(out, np.where(np.arange(len(a)) < count, a, -np.inf))


def test_sum_lanes_is_the_sum(dtype):
    for seed in range(20):
        a = numbers(dtype, lanes(dtype), seed)
        result = total(a)
        assert_close(dtype(result), a.sum(dtype=np.float64), len(a), np.abs(a).sum(dtype=np.float64))
    ones = np.ones(lanes(dtype), dtype)
    assert total(ones) == lanes(dtype)


@compiled_only
def test_sum_lanes_folds_the_upper_half_onto_the_lower(dtype):
    a = numbers(dtype, lanes(dtype))
    folded = a
    while len(folded) > 1:
        folded = folded[: len(folded) // 2] + folded[len(folded) // 2 :]
    assert dtype(total(a)) == folded[0]


def test_max_lanes_finds_the_largest_in_any_lane(dtype):
    for at in range(lanes(dtype)):
        a = -1 - np.abs(numbers(dtype, lanes(dtype)))
        a[at] = -0.5
        assert largest(a) == -0.5


# ---------------------------------------------------------------------------------------------- exp, tanh


@small_kernel
def exp_all(x, out):
    lanes = 64 // x.itemsize
    for i in range(0, x.size, lanes):
        store(out, i, exp_lanes(load(x, i)))


@small_kernel
def log_all(x, out):
    lanes = 64 // x.itemsize
    for i in range(0, x.size, lanes):
        store(out, i, log_lanes(load(x, i)))


@small_kernel
def tanh_all(x, out):
    lanes = 64 // x.itemsize
    for i in range(0, x.size, lanes):
        store(out, i, tanh_lanes(load(x, i)))


def every_exponent(dtype):
    """Bit patterns at a stride that is prime to every power of two: all exponents, both signs, scattered mantissas."""
    count = some(1 << 20, 1 << 13)
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    stride = int(np.iinfo(unsigned).max) // count | 1
    with np.errstate(over="ignore"):
        x = (np.arange(count, dtype=unsigned) * unsigned.type(stride)).view(dtype)
    return x[~np.isnan(x)]


def evaluated(function, x):
    padded = np.zeros(-(-len(x) // lanes(x.dtype)) * lanes(x.dtype), x.dtype)
    padded[: len(x)] = x
    out = np.empty_like(padded)
    function(padded, out)
    return out[: len(x)]


def around(value, dtype, count=40):
    """The value and its neighbours on both sides."""
    values = [dtype(value)]
    for direction in (-np.inf, np.inf):
        neighbour = dtype(value)
        for _ in range(count):
            neighbour = np.nextafter(neighbour, dtype(direction))
            values.append(neighbour)
    return np.array(values, dtype)


def normal_range(dtype):
    """x between which exp(x) is a normal number."""
    info = np.finfo(dtype)
    return math.log(info.tiny), float(np.log(np.longdouble(info.max)))


def dense(low, high, dtype):
    return np.linspace(low, high, some(1 << 19, 1 << 12)).astype(dtype)


def test_exp_is_within_2_ulp_over_its_whole_range(dtype):
    lowest, highest = normal_range(dtype)
    x = np.concatenate([every_exponent(dtype), dense(lowest - 20, highest + 2, dtype), dense(-1, 1, dtype)])
    # Results that are no normal numbers have tests of their own.
    x = x[(x > lowest) & (x < highest)]
    # The rounding to multiples of ln 2 changes side half way between them.
    halves = [(n + 0.5) * math.log(2) for n in range(int(lowest), int(highest), some(7, 70))]
    x = np.concatenate([x, *(around(h, dtype, 4) for h in halves if lowest < h < highest)])
    assert ulps(evaluated(exp_all, x), np.exp(x.astype(np.longdouble))).max() <= 2


def test_exp_at_its_special_values(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(evaluated(exp_all, x), np.array([1, 1, np.inf, 0, np.nan, 1, np.inf], dtype))


def test_exp_overflows_where_its_value_does(dtype):
    _, highest = normal_range(dtype)
    x = around(highest, dtype)
    result = evaluated(exp_all, x)
    exact = np.exp(x.astype(np.longdouble))
    # Within 2 ulp of the largest number the result may be infinite already, or finite still.
    limit = np.longdouble(np.finfo(dtype).max)
    near = np.abs(exact / limit - 1) <= 2 * np.finfo(dtype).eps
    inside = exact <= limit
    assert np.isinf(result[~inside & ~near]).all()
    assert (ulps(result[inside & ~near], exact[inside & ~near]) <= 2).all()
    assert (result >= np.finfo(dtype).max * (1 - 200 * np.finfo(dtype).eps * highest)).all()


def test_exp_underflows_to_zero_or_to_a_denormal(dtype):
    lowest, _ = normal_range(dtype)
    x = np.concatenate([around(lowest, dtype), np.linspace(lowest - 40, lowest, 1000).astype(dtype)])
    result = evaluated(exp_all, x)
    tiny = np.finfo(dtype).tiny
    exact = np.exp(x.astype(np.longdouble))
    assert (np.abs(result - exact) <= tiny).all()
    assert (result >= 0).all()


@compiled_only
def test_exp_is_zero_below_the_normal_numbers(dtype):
    lowest, _ = normal_range(dtype)
    x = around(lowest, dtype)
    result = evaluated(exp_all, x)
    assert ((result == 0) | (result >= np.finfo(dtype).tiny)).all()


def test_log_is_within_2_ulp_over_its_whole_range(dtype):
    x = np.abs(np.concatenate([every_exponent(dtype), dense(0.5, 2, dtype), around(1, dtype), around(0.5**0.5, dtype)]))
    x = x[(x > 0) & np.isfinite(x)]
    assert ulps(evaluated(log_all, x), np.log(x.astype(np.longdouble))).max() <= 2


def test_log_at_its_special_values(dtype):
    x = np.array([1, 0.0, -0.0, np.inf, -np.inf, np.nan, -1, -np.finfo(dtype).smallest_subnormal], dtype)
    expected = np.array([0, -np.inf, -np.inf, np.inf, np.nan, np.nan, np.nan, np.nan], dtype)
    np.testing.assert_array_equal(evaluated(log_all, x), expected)


def test_tanh_is_within_2_ulp_over_its_whole_range(dtype):
    x = np.concatenate([every_exponent(dtype), dense(-1, 1, dtype), dense(-25, 25, dtype)])
    x = np.concatenate([x, around(0.625, dtype), around(-0.625, dtype)])  # where the two formulas meet
    x = x[np.abs(x) >= np.finfo(dtype).tiny]
    assert ulps(evaluated(tanh_all, x), np.tanh(x.astype(np.longdouble))).max() <= 2


def test_tanh_at_its_special_values(dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, smallest, -smallest, np.finfo(dtype).max], dtype)
    result = evaluated(tanh_all, x)
    np.testing.assert_array_equal(result, np.array([0, 0, 1, -1, np.nan, smallest, -smallest, 1], dtype))
    assert list(np.signbit(result[:2])) == [False, True]


def test_tanh_is_odd_and_at_most_one(dtype):
    x = every_exponent(dtype)
    result = evaluated(tanh_all, x)
    assert (np.abs(result) <= 1).all()
    np.testing.assert_array_equal(evaluated(tanh_all, -x), -result)


def test_a_nan_in_one_lane_stays_in_that_lane(dtype):
    for function in (exp_all, log_all, tanh_all):
        for at in range(lanes(dtype)):
            x = np.abs(numbers(dtype, lanes(dtype)))
            x[at] = np.nan
            np.testing.assert_array_equal(np.isnan(evaluated(function, x)), np.isnan(x))


# ---------------------------------------------------------------------------------------------- sqrt, absolute


@small_kernel
def sqrt_all(x, out):
    for i in range(0, x.size, 64 // x.itemsize):
        store(out, i, sqrt_lanes(load(x, i)))


@small_kernel
def absolute_all(x, out):
    for i in range(0, x.size, 64 // x.itemsize):
        store(out, i, absolute_lanes(load(x, i)))


def test_square_roots_and_sizes_have_the_bits_of_numpy(dtype):
    x = every_exponent(dtype)
    sizes = np.abs(x)
    assert evaluated(absolute_all, x).tobytes() == sizes.tobytes()
    assert evaluated(sqrt_all, sizes).tobytes() == np.sqrt(sizes).tobytes()


def test_square_roots_and_sizes_at_their_special_values(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1, -np.finfo(dtype).smallest_subnormal], dtype)
    np.testing.assert_array_equal(evaluated(sqrt_all, x), np.array([0, 0, np.inf, *[np.nan] * 4], dtype))
    assert list(np.signbit(evaluated(sqrt_all, x)[:2])) == [False, True]
    assert evaluated(absolute_all, x).tobytes() == np.abs(x).tobytes()


# ---------------------------------------------------------------------------------------------- random numbers


@small_kernel
def draw(key, first, out):
    for i in range(0, out.size, 64 // out.itemsize):
        store(out, i, random_line(out, key, first + i))


def drawn(key, count, dtype, first=0):
    out = np.zeros(-(-count // lanes(dtype)) * lanes(dtype), dtype)
    with np.errstate(over="ignore"):  # which is how the numbers are mixed
        draw(key, first, out)
    return out[:count]


def splitmix(key, index, dtype):
    """Uniform number of an index, in Python's whole numbers; Steele, Lea & Flood (2014)."""

    def mixed(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    kept = 24 if dtype == np.float32 else 53
    z = mixed((mixed(key % 2**64) + (index + 1) * 0x9E3779B97F4A7C15) % 2**64)
    return (z >> (64 - kept)) * 2.0**-kept


#: Of both signs, near each other and far apart.
KEYS = (0, 1, 2, -1, 1234567, 1000003 * 7 + 5, 2**62 + 1, -(2**63))


@pytest.mark.parametrize("key", KEYS)
def test_random_numbers_are_those_of_the_formula_bit_by_bit(key, dtype):
    for first in (0, 5, 2**40):
        expected = np.array([splitmix(key, first + i, dtype) for i in range(40)], dtype)
        assert drawn(key, 40, dtype, first).tobytes() == expected.tobytes()


def test_random_numbers_depend_on_key_and_index_alone(dtype):
    whole = drawn(3, 1000, dtype)
    for first in (0, 1, 7, 16, 500):
        assert drawn(3, 64, dtype, first).tobytes() == whole[first : first + 64].tobytes()


def assert_uniform(counts):
    """Chi-square over so many equally likely cells: within five deviations of its mean, by Wilson and Hilferty."""
    free, expected = counts.size - 1, counts.sum() / counts.size
    square = ((counts - expected) ** 2 / expected).sum()
    normal = ((square / free) ** (1 / 3) - (1 - 2 / (9 * free))) / math.sqrt(2 / (9 * free))
    assert abs(normal) < 5


@pytest.mark.parametrize("key", KEYS)
def test_random_numbers_are_uniform(key, dtype):
    count = some(1 << 18, 1 << 13)
    x = drawn(key, count, dtype)
    assert x.min() >= 0
    assert x.max() < 1
    assert_uniform(np.bincount((x * 64).astype(int), minlength=64))
    # Their last bits, too; and neighbours in pairs.
    assert_uniform(np.bincount((x.astype(np.float64) * 2.0**24).astype(int) % 64, minlength=64))
    pairs = (x.reshape(-1, 2) * 8).astype(int)
    assert_uniform(np.bincount(pairs[:, 0] * 8 + pairs[:, 1], minlength=64))


def test_random_numbers_of_neighbouring_keys_are_independent(dtype):
    count = some(1 << 18, 1 << 13)
    for key in KEYS[:4]:
        a, b = ((drawn(k, count, dtype) * 8).astype(int) for k in (key, key + 1))
        assert_uniform(np.bincount(a * 8 + b, minlength=64))


def test_a_vector_is_one_line_of_64_bytes(dtype):
    assert lanes(dtype) * np.dtype(dtype).itemsize == simd.LINE
