import numpy as np
import pytest
import twins
from support import DTYPES, SIZES, Padded, lanes, some, whole_lines
from tolerance import H, assert_close, central_difference, difference_tolerance, ulps

from fastmlp.kernels import activations
from fastmlp.kernels._jit import JIT, VECTORS
from fastmlp.kernels.activations import FORMS, KEEP_SLOPES, NAMES, WITHOUT_GRADIENT

MIXING = ("softmax", "log_softmax")
ELEMENTWISE = [name for name in NAMES if name not in MIXING]
TRAINABLE = [name for name in NAMES if FORMS[name][1] is not None]

#: Numbers of the functions that have any, as the kernels take them and as the twins do; two sets where they branch.
NUMBERS = {
    "leaky_relu": [((0.2,), {"negative_slope": 0.2})],
    "elu": [((1.0,), {"alpha": 1.0}), ((0.3,), {"alpha": 0.3})],
    "general_relu": [
        ((0.25, 5.0, 1.0), {"negative_slope": 0.25, "max_value": 5.0, "threshold": 1.0}),
        ((0.0, np.inf, 0.5), {"threshold": 0.5}),
        ((0.0, 3.0, 0.0), {"max_value": 3.0}),
    ],
}
TWINS = {"general_relu": "relu", "gelu_approximate": "gelu"}

#: What the functions promise over all of float32 and float64, in units of the last place: two of these where it isn't
#: one. A value or the factor of z in it that is no normal number may be 0.
ULPS = {
    "linear": 0,
    "step": 0,
    "relu": 0,
    "relu6": 0,
    "leaky_relu": 1,
    "general_relu": 1,
    "hard_sigmoid": 1,
    "sigmoid": 3,
    "tanh": 2,
    "exponential": 2,
    "elu": 4,
    "selu": 5,
    "gelu": 7,
    "gelu_approximate": (200, 2000),
    "silu": 3,
    "mish": 5,
    "softplus": 3,
    "softsign": 2,
}


def cases(names):
    """Pairs of a function and the numbers it is tried with, each by its place in NUMBERS."""
    return [(name, i) for name in names for i in range(len(NUMBERS.get(name, [0])))]


def own(name, case):
    """A function's numbers behind two of somebody else's, and the twin's arguments."""
    numbers, arguments = NUMBERS[name][case] if name in NUMBERS else ((), {})
    return np.array([7.0, 7.0, *numbers]), arguments | ({"approximate": True} if name == "gelu_approximate" else {})


def twin(name, case=0, slope=False):
    """The plain version of a function, or of its slope, with its arguments."""
    function, arguments = getattr(twins, TWINS.get(name, name) + "_slope" * slope), own(name, case)[1]
    return lambda z: function(z, **arguments)


def numbers(dtype, shape, seed=0):
    return np.asarray(4 * np.random.default_rng(seed).standard_normal(shape), dtype)


def forward(name, case, a, rows, units, bias, bias_at, in_lanes, slopes=None):
    none = np.zeros(0, a.flat.dtype)
    FORMS[name][0](own(name, case)[0], 2, a.flat, none if slopes is None else slopes.flat, a.at, a.row, rows, units,
                   bias, bias_at, in_lanes)  # fmt: skip


def backward(name, case, acts, slopes, delta, rows, units, in_lanes):
    none = np.zeros(0, acts.flat.dtype)
    FORMS[name][1](own(name, case)[0], 2, acts.flat, none if slopes is None else slopes.flat, delta.flat, acts.at,
                   acts.row, rows, units, in_lanes)  # fmt: skip


def elementwise(name, z, case=0):
    """(activation, slope) of an array of any length; the slope is that which training keeps, or NaN."""
    whole, none = whole_lines(max(z.size, 1), z.dtype), np.zeros(0, z.dtype)
    a, slopes = np.zeros(whole, z.dtype), np.full(whole, np.nan, z.dtype)
    a[: z.size] = z
    FORMS[name][0](own(name, case)[0], 2, a, slopes if name in KEEP_SLOPES else none, 0, whole, 1, whole,
                   np.zeros(whole, z.dtype), 0, 0)  # fmt: skip
    return a[: z.size], slopes[: z.size]


# ---------------------------------------------------------------------------------------------- the whole range


def normal(z):
    """The normal distribution function: Taylor's series around 0, from 2 on Laplace's continued fraction."""
    size = np.abs(z)
    density = np.exp(-size * size / 2) / np.sqrt(2 * np.pi * np.ones_like(z))
    small = np.minimum(size, 2)
    term = total = small
    for i in range(3, 101, 2):
        term = term * small * small / i
        total = total + term
    ratio = large = np.maximum(size, 2)
    for i in range(300, 0, -1):
        ratio = large + i / ratio
    below = np.where(size < 2, z.dtype.type(0.5) - density * total, density / ratio)
    return np.where(z < 0, below, 1 - below)


def logistic(z):
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1) / (1 + e)


def exact(name, case, z):
    """The function in the wider type of z; apart where the twin loses digits that float64 doesn't need."""
    one = z.dtype.type(1)
    return {
        "linear": lambda: z,
        "sigmoid": lambda: logistic(z),
        "selu": lambda: (
            z.dtype.type("1.0507009873554804934193349852946")
            * np.where(z > 0, z, z.dtype.type("1.6732632423543772848170429916717") * np.expm1(np.minimum(z, 0)))
        ),
        "gelu": lambda: z * normal(z),
        "gelu_approximate": lambda: (
            z * logistic(2 * np.sqrt(2 / (4 * np.arctan(one))) * (z + z.dtype.type("0.044715") * z**3))
        ),
        "silu": lambda: z * logistic(z),
        "leaky_relu": lambda: np.where(z < 0, own(name, case)[0].astype(z.dtype)[2] * z, z),
    }.get(name, lambda: twin(name, case)(z))()


def every_number(dtype):
    """All exponents and both signs, denormal numbers among them, and densely where something happens."""
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    count = some(1 << 19, 1 << 12)
    stride = int(np.iinfo(unsigned).max) // count | 1
    bits = (np.arange(count) * stride).astype(unsigned).view(dtype) if dtype == np.float32 else (
        np.arange(count, dtype=np.uint64) * np.uint64(stride)
    ).view(dtype)  # fmt: skip
    lowest = {np.float32: -110, np.float64: -760}[dtype]
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    parts = [bits[np.isfinite(bits)], [tiny, -tiny, largest, -largest, 0.0, -0.0]]
    for low, high in ((lowest, 90), (-45, 45), (-8, 8), (-1, 1)):
        parts.append(np.linspace(low, high, some(1 << 18, 1 << 11)))
    return np.concatenate(parts).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(ELEMENTWISE))
def test_functions_are_as_accurate_over_the_whole_range_as_they_say(name, case, dtype):
    z = every_number(dtype)
    wide, promised = z.astype(np.longdouble), ULPS[name]
    if name == "gelu" and (not JIT or VECTORS == "sse2"):
        promised = 7 + 709  # without an fma nothing tells what the rounding of z^2 / 2, up to 709, took off
    if isinstance(promised, tuple):
        promised = promised[dtype is np.float64]
    with np.errstate(all="ignore"):  # infinity is a result
        a, _ = elementwise(name, z, case)
        expected = exact(name, case, wide)
        floor = np.finfo(dtype).tiny * np.maximum(1, np.abs(wide))
        overflows = np.abs(expected) > np.finfo(dtype).max
        error = np.where(np.abs(a - expected) <= floor, 0, ulps(a, expected))
    assert np.isfinite(a[~overflows]).all()
    assert (a[overflows] == np.sign(expected[overflows]) * np.inf).all()
    worst = np.argmax(np.where(overflows, 0, error))
    assert error[worst] <= promised, f"{a[worst]} is not {expected[worst]} at {z[worst]}"


def slope_size(name, z):
    """What a slope's roundings are multiplied by: 1 - s is off by eps where s is nearly 1, times what it meets."""
    size = np.minimum(np.abs(z.astype(np.float64)), 10)
    return 1 + (size * (1 + size**2 / 7) if name == "gelu_approximate" else 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(KEEP_SLOPES))
def test_kept_slopes_are_finite_over_the_whole_range(name, case, dtype):
    z = every_number(dtype)
    with np.errstate(all="ignore"):
        _, slope = elementwise(name, z, case)
        expected = twin(name, case, slope=True)(z.astype(np.float64))
    assert np.isfinite(slope).all()
    # Where the twin overflows it is 0 or 1 as it is before.
    known = np.isfinite(expected) & (np.abs(z.astype(np.float64)) < 1e100)
    # Two sides of a kink are two slopes.
    kinks = (0.0, *(n for numbers, _ in NUMBERS.get(name, []) for n in numbers if name == "general_relu"))
    away = known & ~np.isin(z, np.array(kinks, dtype))
    assert_close(slope[away], expected[away], 16, slope_size(name, z[away]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(ELEMENTWISE))
def test_infinity_has_the_value_of_the_twin_and_nan_is_kept(name, case, dtype):
    z = np.array([-np.inf, np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        a, _ = elementwise(name, z, case)
        expected = twin(name, case)(z.astype(np.float64))
    if name == "relu" or (name == "general_relu" and case > 0):
        expected[0] = 0  # the twin multiplies by the slope 0
    if name == "step":
        expected[2] = 0  # NaN is not above 0
    np.testing.assert_array_equal(a, expected.astype(dtype))


# ---------------------------------------------------------------------------------------------- the network's kernels


def assert_activated(name, case, a, z):
    """`a` is the activation of z, whose rows are samples and whose sum with the bias is rounded, as in the kernel."""
    wide = z.astype(np.float64)
    expected = twin(name, case)(wide)
    if name in MIXING:
        # z - max is rounded before the exponential, which makes a relative error of it.
        size = 1 + np.ptp(wide, axis=1, keepdims=True)
        assert_close(a, expected, z.shape[1] + 6, size * (expected if name == "softmax" else 1))
    else:
        size = np.abs(wide)
        # The twins take exponentials of rounded numbers, which makes a relative error of their size ...
        power = {"sigmoid": size, "silu": size, "mish": size, "gelu": size**2, "gelu_approximate": 4 * size + size**3}
        # ... and where 1 + tanh cancels all digits are lost.
        lost = size * (np.finfo(np.float64).eps / np.finfo(a.dtype).eps if name == "gelu_approximate" else 0)
        lost = lost + np.finfo(a.dtype).tiny / np.finfo(a.dtype).eps * size
        promised = 6 if name == "gelu_approximate" else ULPS[name]
        assert_close(a, expected, promised, np.abs(expected) * (1 + power.get(name, 0)) + lost)


def assert_gradient_by_z(name, case, by_z, a, by_a, slope):
    """The gradient by z belongs to the one by a; rows are samples, slope that of the twin."""
    a, by_a = a.astype(np.float64), by_a.astype(np.float64)
    size = np.abs(by_a)
    if name == "softmax":
        expected = twins.softmax_backward(a, by_a)
        assert_close(by_z, expected, a.shape[1] + 3, a * (size + (size * a).sum(axis=1, keepdims=True)))
    elif name == "log_softmax":
        expected = twins.log_softmax_backward(a, by_a)
        assert_close(by_z, expected, a.shape[1] + 5, size + np.exp(a) * size.sum(axis=1, keepdims=True))
    else:
        # A slope made of a sum, or of a rounded output, is off by its roundings; exp is its own.
        assert_close(by_z, by_a * slope, 16, size * np.maximum(1, np.abs(slope)))


@pytest.mark.parametrize("in_lanes", [0, 1], ids=["rows", "lanes"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(NAMES))
def test_forward_equals_its_twin(name, case, dtype, in_lanes):
    for units in SIZES:
        for n in some(SIZES, (1, 3, 17)):
            z, bias = numbers(dtype, (n, units)), Padded(numbers(dtype, (1, units), seed=2), 3, 0)
            kept = Padded(np.full((units, n) if in_lanes else (n, units), 55, dtype), 5, 55)
            a = Padded(z.T if in_lanes else z, 5, 0.5)
            whole = whole_lines(n, dtype)
            with np.errstate(all="ignore"):  # of what fills up a line
                if in_lanes:
                    forward(name, case, a, units, whole, bias.flat, bias.at, 1, kept)
                else:
                    forward(name, case, a, n, units, bias.flat, bias.at, 0, kept)
            got = a.matrix.T if in_lanes else a.matrix
            assert_activated(name, case, got, z + bias.matrix)
            a.assert_only_lines_written()
            bias.assert_untouched()
            if name in KEEP_SLOPES:
                slope = twin(name, case, slope=True)((z + bias.matrix).astype(np.float64))
                size = slope_size(name, z + bias.matrix)
                assert_close(kept.matrix.T if in_lanes else kept.matrix, slope, 16, size)
                kept.assert_only_lines_written()
            else:
                kept.assert_untouched()


@pytest.mark.parametrize("in_lanes", [0, 1], ids=["rows", "lanes"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(NAMES))
def test_forward_without_room_for_slopes_has_the_same_bits(name, case, dtype, in_lanes):
    z, bias = numbers(dtype, (7, lanes(dtype))), numbers(dtype, lanes(dtype), seed=2)
    trained, alone, slopes = Padded(z, 0, 0), Padded(z, 0, 0), Padded(z, 0, 0)
    forward(name, case, trained, 7, lanes(dtype), bias, 0, in_lanes, slopes)
    forward(name, case, alone, 7, lanes(dtype), bias, 0, in_lanes)
    assert trained.flat.tobytes() == alone.flat.tobytes()


@pytest.mark.parametrize("in_lanes", [0, 1], ids=["rows", "lanes"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(TRAINABLE))
def test_backward_equals_its_twin(name, case, dtype, in_lanes):
    for units in SIZES:
        for n in some(SIZES, (1, 3, 17)):
            z, by_a = numbers(dtype, (n, units)), numbers(dtype, (n, units), seed=1)
            wide = z.astype(np.float64)
            a, slope = twin(name, case)(wide).astype(dtype), None if name in MIXING else twin(name, case, True)(wide)
            turned = (lambda rows: rows.T) if in_lanes else (lambda rows: rows)
            acts, delta = Padded(turned(a), 5, 0), Padded(turned(by_a), 5, 0)
            slopes = Padded(turned(a if slope is None else slope.astype(dtype)), 5, 0)
            rows, width = (units, whole_lines(n, dtype)) if in_lanes else (n, units)
            backward(name, case, acts, slopes if name in KEEP_SLOPES else None, delta, rows, width, in_lanes)
            assert_gradient_by_z(name, case, turned(delta.matrix), a, by_a, slope)
            delta.assert_only_lines_written()
            acts.assert_untouched()
            slopes.assert_untouched()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(TRAINABLE))
def test_zeros_that_fill_up_a_row_of_deltas_stay_zeros(name, case, dtype):
    units = lanes(dtype) + 3
    for shift in (0, -1000):  # units far below what fills up the line
        z = numbers(dtype, (3, units)) + dtype(shift)
        acts, slopes = Padded(z, 0, 0), Padded(0 * z, 0, 0)
        delta, bias = Padded(numbers(dtype, (3, units), seed=1), 0, 0), np.zeros(acts.row, dtype)
        with np.errstate(all="ignore"):
            forward(name, case, acts, 3, units, bias, 0, 0, slopes)
            assert np.isfinite(acts.rows).all()
            acts.rows[:, units:] = 3
            backward(name, case, acts, slopes if name in KEEP_SLOPES else None, delta, 3, units, 0)
        assert not delta.rows[:, units:].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), cases(NAMES))
def test_a_member_of_a_team_keeps_to_its_own_units_or_samples(name, case, dtype):
    width = lanes(dtype)
    z, bias = numbers(dtype, (3, 3 * width)), numbers(dtype, 3 * width, seed=2)
    own_numbers, none = own(name, case)[0], np.zeros(0, dtype)
    whole = Padded(z, 5, 0.5)
    FORMS[name][0](own_numbers, 2, whole.flat, none, whole.at, whole.row, 3, 3 * width, bias, 0, 1)
    part = Padded(z, 5, 0.5)
    FORMS[name][0](own_numbers, 2, part.flat, none, part.at + width, part.row, 3, width, bias, 0, 1)
    part.assert_only_written(slice(None), slice(width, 2 * width))
    assert part.matrix[:, width : 2 * width].tobytes() == whole.matrix[:, width : 2 * width].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MIXING)
def test_samples_in_rows_are_what_they_are_in_lanes(name, dtype):
    for units in SIZES:
        z, bias = numbers(dtype, (lanes(dtype), units)), np.zeros(whole_lines(units, dtype), dtype)
        rows, columns = Padded(z, 0, 0), Padded(z.T, 0, 0)
        forward(name, 0, rows, lanes(dtype), units, bias, 0, 0)
        forward(name, 0, columns, units, lanes(dtype), bias, 0, 1)
        if JIT or name == "log_softmax":
            assert rows.matrix.tobytes() == columns.matrix.T.tobytes()
        else:
            assert_close(rows.matrix, columns.matrix.T.astype(np.float64), units, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MIXING)
def test_large_logits_neither_overflow_nor_vanish(name, dtype):
    for size in (1e4, float(np.finfo(dtype).max) / 4):
        z = np.array([[size, -size, 0, size], [-size, -size, -size, -size], [0, 0, -size, -size]], dtype)
        expected = np.array([[0.5, 0, 0, 0.5], [0.25] * 4, [0.5, 0.5, 0, 0]])
        if name == "log_softmax":
            expected = np.array([[0, -2, -1, 0], [0] * 4, [0, 0, -1, -1]]) * size - np.log([[2], [4], [2]])
        for in_lanes in (0, 1):
            a = Padded(z.T if in_lanes else z, 0, 0)
            with np.errstate(over="ignore"):
                forward(name, 0, a, *((4, lanes(dtype)) if in_lanes else (3, 4)), np.zeros(16, dtype), 0, in_lanes)
            assert_close(a.matrix.T if in_lanes else a.matrix, expected, 3, np.abs(expected))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softmax_of_large_close_logits_keeps_their_digits(dtype):
    z = np.array([[1000, 999.5, 998]], dtype)
    a = Padded(z, 0, 0)
    forward("log_softmax", 0, a, 1, 3, np.zeros(16, dtype), 0, 0)
    assert_close(a.matrix, twins.log_softmax(z.astype(np.float64)), 4, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "case"), [pair for pair in cases(NAMES) if pair[0] != "step"])  # NaN is not above 0
def test_nan_stays_in_its_sample(name, case, dtype):
    for at in range(lanes(dtype)):
        z = numbers(dtype, (3, lanes(dtype)))
        z[1, at] = np.nan
        a = Padded(z, 0, 0)
        with np.errstate(invalid="ignore"):
            forward(name, case, a, 3, lanes(dtype), np.zeros(3, dtype), 0, 1)
        expected = np.zeros(z.shape, bool)
        expected[slice(None) if name in MIXING else 1, at] = True
        np.testing.assert_array_equal(np.isnan(a.matrix), expected)


# ---------------------------------------------------------------------------------------------- slopes


@pytest.mark.parametrize("in_lanes", [0, 1], ids=["rows", "lanes"])
@pytest.mark.parametrize(("name", "case"), cases(name for name in TRAINABLE if name not in WITHOUT_GRADIENT))
def test_slopes_are_central_differences(name, case, in_lanes):
    rows, width = some((7, 17), (3, 8))
    z, upper = numbers(np.float64, (rows, width)) / 2, numbers(np.float64, (rows, width), seed=1)
    kinks = [-3, 0, 3, 6, *(n for numbers_of, _ in NUMBERS.get(name, []) for n in numbers_of)]
    for kink in kinks:
        z[np.abs(z - kink) < 2 * H] = 1.5
    bias = np.zeros(whole_lines(width, np.float64))

    def activated():
        acts, slopes = Padded(z, 0, 0), Padded(0 * z, 0, 0)
        forward(name, case, acts, rows, width, bias, 0, in_lanes, slopes)
        return acts, slopes

    (acts, slopes), delta = activated(), Padded(upper, 0, 0)
    backward(name, case, acts, slopes if name in KEEP_SLOPES else None, delta, rows, width, in_lanes)
    weighted = np.abs(upper) * np.maximum(1, np.abs(acts.matrix))
    difference = central_difference(lambda: float((activated()[0].matrix * upper).sum()), z)
    assert (np.abs(delta.matrix - difference) <= difference_tolerance(rows * width, weighted.max())).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "place", "slope"), [
    ("relu", 0, 0), ("relu6", 0, 0), ("relu6", 6, 0), ("leaky_relu", 0, 1), ("elu", 0, 1), ("hard_sigmoid", -3, 0),
    ("hard_sigmoid", 3, 0), ("selu", 0, twins.selu_slope(np.zeros(1))[0]),
])  # fmt: skip
def test_the_slope_at_a_kink_is_kerass(name, place, slope, dtype):
    assert twin(name, 0, slope=True)(np.array([float(place)]))[0] == slope
    acts, slopes = Padded(np.full((1, 3), place, dtype), 0, 0), Padded(np.zeros((1, 3), dtype), 0, 0)
    delta = Padded(np.ones((1, 3), dtype), 0, 0)
    forward(name, 0, acts, 1, 3, np.zeros(16, dtype), 0, 0, slopes)
    backward(name, 0, acts, slopes if name in KEEP_SLOPES else None, delta, 1, 3, 0)
    assert_close(delta.matrix, np.full((1, 3), slope), 1, slope)


# ---------------------------------------------------------------------------------------------- public functions

PUBLIC = ("step", "sigmoid", "tanh", "relu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_take_any_shape_and_write_nothing_behind_it(name, dtype):
    for shape in (*SIZES, (), 0, (3, 5), (2, 3, 7)):
        z = numbers(dtype, shape)
        before, memory = z.copy(), np.full(z.size + lanes(dtype), 7, dtype)
        a = memory[: z.size].reshape(shape)
        getattr(activations, name)(z, a)
        assert (ulps(a, exact(name, 0, z.astype(np.longdouble))) <= ULPS[name]).all()
        assert (memory[z.size :] == 7).all()
        np.testing.assert_array_equal(z, before)
        getattr(activations, name)(z, z)
        assert z.tobytes() == a.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", SIZES)
def test_public_softmax_equals_its_twin(units, dtype):
    for n in SIZES:
        z = numbers(dtype, (n, units))
        before, a = z.copy(), np.full((n, units), np.nan, dtype)
        activations.softmax(z, a)
        expected = twins.softmax(z.astype(np.float64))
        assert_close(a, expected, units + 4, expected * (1 + np.ptp(z, axis=1, keepdims=True)))
        assert_close(a.sum(axis=1, dtype=np.float64), np.ones(n), units + 4, 1, dtype)
        np.testing.assert_array_equal(z, before)
        activations.softmax(z, z)
        assert z.tobytes() == a.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_public_softmax_keeps_nan_in_its_row(dtype):
    for at in range(lanes(dtype) + 3):
        z = numbers(dtype, (3, lanes(dtype) + 3))
        z[1, at] = np.nan
        activations.softmax(z, z)
        np.testing.assert_array_equal(np.isnan(z).all(axis=1), [False, True, False])
        assert not np.isnan(z[[0, 2]]).any()
