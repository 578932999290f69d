"""Hostile inputs, each made by a random generator: values, arrays, damaged bytes, changed descriptions.

All of them take a `random.Random`, or what behaves like one: plain seeds, Hypothesis and Atheris can drive them.
"""

import copy
import datetime
import struct
import warnings
from random import Random

import numpy as np

# ------------------------------------------------------------------ values

#: Numbers at edges: of types, of memory, of sense.
NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    7,
    127,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32,
    2**48,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    10**400,
    -(2**31),
    -(2**63),
    0.0,
    -0.0,
    0.5,
    1.0,
    1.5,
    -3.25,
    1e-320,
    1e-45,
    1e30,
    1e39,
    1e308,
    -1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)

TEXTS = (
    "",
    " ",
    "relu",
    "softmax",
    "linear",
    "sigmoid",
    "mse",
    "adam",
    "no such name",
    "\0",
    "../../x",
    "a/b",
    "{0.__class__}",
    "%s%n",
    "nan",
    "1e999",
    "é\u202e",
    "x" * 3000,
    "__class__",
    "os.system",
    "eval",
    "float64",
    "float16",
    "Dense",
    "Sequential",
)


def value(rng: Random, depth: int = 0):
    """Anything JSON can hold, and some more at the top."""
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind <= 1:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice(TEXTS)
    if kind == 3:
        return rng.choice((None, True, False))
    if kind == 4:
        return rng.choice(([], {}, [[]], [None], [0], [-1, 2], [1, 2, 3], {"a": 1}))
    if kind == 5:
        return rng.randrange(-3, 40)
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {rng.choice(TEXTS): value(rng, depth + 1) for _ in range(rng.randrange(3))}
    return {
        "class_name": rng.choice(("Dense", "Adam", "HeNormal", "L2", "nothing", 3)),
        "config": value(rng, depth + 1),
    }


def thing(rng: Random):
    """Anything Python has, as an argument."""
    if rng.random() < 0.7:
        return value(rng)
    return rng.choice(
        (
            b"bytes",
            (),
            (1,),
            set(),
            1j,
            object(),
            len,
            int,
            np.float32(0.5),
            np.int64(3),
            np.bool_(True),
            np.array(0.5),
            np.array([]),
            np.array([0.1, 0.2]),
            np.nan,
            range(3),
            datetime.date(2020, 1, 1),
            np.datetime64("NaT"),
            "x" * 10,
            np.float16(7),
            Ellipsis,
        )
    )


# ------------------------------------------------------------------ arrays

_DTYPES = (
    "f4",
    "f8",
    "f2",
    "g",
    ">f4",
    ">f8",
    "u1",
    "i1",
    "i4",
    "i8",
    "u8",
    ">i4",
    "?",
    "c8",
    "c16",
    "O",
    "U3",
    "S3",
    "M8[s]",
    "m8[s]",
    "V8",
    "f4,i4",
    "i2",
    "u4",
)

_EXTREMES = (np.nan, np.inf, -np.inf, 1e-320, 1e-45, 1e39, 1e300, -1e300, 0.0, -0.0, 255, 256, -1, 2**31, 2**53, 2**63)


class Sub(np.ndarray):
    """A subclass without a purpose."""


def array(rng: Random, shape: tuple[int, ...]) -> object:
    """An array of about that shape, which mostly is wrong in some way."""
    return rng.choice((_plain, _odd_shape, _odd_type, _odd_memory, _odd_values, _odd_kind))(rng, tuple(shape))


def _numbers(rng: Random, shape: tuple[int, ...], dtype="f4") -> np.ndarray:
    made = np.random.default_rng(rng.randrange(2**32)).integers(0, 3, shape)
    return made.astype(dtype)


def _plain(rng: Random, shape: tuple[int, ...]) -> object:
    return _numbers(rng, shape, rng.choice(("f4", "f8", "u1", "i8", "?")))


def _odd_shape(rng: Random, shape: tuple[int, ...]) -> object:
    sizes = [rng.choice((size, size, 0, 1, size + 1, 2 * size)) for size in shape]
    how = rng.randrange(5)
    if how == 0:
        sizes = sizes[1:]
    elif how == 1:
        sizes.insert(rng.randrange(len(sizes) + 1), rng.choice((0, 1, 2)))
    elif how == 2:
        sizes = sizes[:1]
    elif how == 3:
        return np.broadcast_to(np.float32(rng.choice((0, 1, np.nan))), (rng.choice((3, 2**40)), *sizes[1:], 0))
    return _numbers(rng, tuple(sizes))


def _odd_type(rng: Random, shape: tuple[int, ...]) -> object:
    dtype = np.dtype(rng.choice(_DTYPES))
    if rng.random() < 0.5 and dtype.kind in "biufc":
        return _numbers(rng, shape, dtype)
    if dtype.kind == "O":
        made = np.empty(shape, object)
        made.fill(rng.choice((None, "x", 1, 1.5, [1, 2], {}, 10**400, Ellipsis)))
        return made
    return np.zeros(shape, dtype)


def _odd_memory(rng: Random, shape: tuple[int, ...]) -> object:
    base, how = _numbers(rng, shape, rng.choice(("f4", "f8", "u1"))), rng.randrange(9)
    if how == 0:
        return np.asfortranarray(base)
    if how == 1 and base.ndim:
        return base[::-1]
    if how == 2 and base.ndim:
        return base[..., ::-1]
    if how == 3:
        base.flags.writeable = False
        return base
    if how == 4:
        raw = bytearray(base.nbytes + 1)
        odd = np.frombuffer(raw, base.dtype, offset=1, count=base.size).reshape(base.shape) if base.size else base
        return odd  # not aligned
    if how == 5:
        return np.repeat(base, 2, axis=-1)[..., ::2] if base.ndim else base
    if how == 6 and base.size:
        return np.lib.stride_tricks.as_strided(base, base.shape, (0,) * base.ndim)
    if how == 7 and base.size and base.ndim:  # rows that overlap
        return np.lib.stride_tricks.sliding_window_view(np.arange(base.size + 50, dtype=base.dtype), base.shape[-1:])[
            : len(base)
        ]
    return base.astype(base.dtype.newbyteorder())


def _odd_values(rng: Random, shape: tuple[int, ...]) -> object:
    made = _numbers(rng, shape, rng.choice(("f4", "f8", "f8", "i8", "u8")))
    if made.size:
        with np.errstate(all="ignore"):
            new = np.array(rng.choice(_EXTREMES)).astype(made.dtype)
        made.ravel()[rng.randrange(made.size)] = new
        if rng.random() < 0.3:
            made[...] = new
    return made


class _Protocol:
    """An object whose protocol is what is given."""

    def __init__(self, **methods):
        self.__dict__.update(methods)


def _odd_kind(rng: Random, shape: tuple[int, ...]) -> object:
    base, how = _numbers(rng, shape), rng.randrange(14)
    if how == 0:
        return np.ma.masked_equal(base, rng.choice((0, 99)))
    if how == 1:
        return base.view(Sub)
    if how == 2 and base.ndim == 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asmatrix(base)
    if how == 3:
        return base.tolist()
    if how == 4:
        return [*base.tolist(), rng.choice(([1], None, "x", [[1]], []))] if base.ndim else None
    if how == 5:
        return memoryview(np.ascontiguousarray(base))
    if how == 6:
        return base.tobytes()
    if how == 7:
        return None
    if how == 8:
        return rng.choice(("text", 7, 0.5, {}, {"x": base}, set(), object(), len, 1j, iter(()), range(3)))
    if how == 9:
        return type(
            "Interface",
            (),
            {
                "__array_interface__": rng.choice(
                    (
                        {},
                        None,
                        {"shape": shape, "typestr": "<f4"},
                        {"shape": (-1, 5), "typestr": "<f4", "version": 3},
                        # None that lies about the size of its memory: NumPy believes it, as it believes any address.
                        {"shape": shape, "typestr": "nonsense", "version": 3, "data": base.tobytes()},
                    )
                )
            },
        )()
    if how == 10:
        answer = rng.choice((None, "text", 3, [1], base))
        return type("Array", (), {"__array__": lambda self, *a, **k: answer})()
    if how == 11:
        device = rng.choice(((1, 0), (2, 0), None, (), "x", (99, 0)))
        answer = rng.choice((None, 3, "x"))
        return type("Pack", (), {"__dlpack__": lambda self, **k: answer, "__dlpack_device__": lambda self: device})()
    if how == 12:

        def fails(self, *args, **kwargs):
            raise ValueError("this object can't be read")

        return type("Fails", (), {"__array__": fails, "__len__": fails, "__dlpack__": fails})()
    deep: object = 1.0
    for _ in range(rng.choice((3, 40, 70))):
        deep = [deep]
    return deep


def labels(rng: Random, count: int, classes: int) -> object:
    """Targets of that many samples, out of range, of a wrong type or shape."""
    how = rng.randrange(6)
    if how == 0:
        return array(rng, (count,))
    if how == 1:
        return array(rng, (count, classes))
    made = (
        np.random.default_rng(rng.randrange(2**32))
        .integers(0, classes, count)
        .astype(rng.choice(("i8", "i4", "u1", "f4", "f8", "u8")))
    )
    if how == 2 and count:
        with np.errstate(all="ignore"):
            made[rng.randrange(count)] = np.array(rng.choice(_EXTREMES)).astype(made.dtype)
    if how == 3:
        return made.astype(object)
    if how == 4:
        return made[:, None]
    return made


# ------------------------------------------------------------------ bytes

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**48, 2**63 - 1, 2**64 - 1)


def damaged(rng: Random, content: bytes, others: tuple[bytes, ...] = ()) -> bytes:
    """The content with a few bytes flipped, written over, cut out, put in, or taken from elsewhere."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        _DAMAGES[rng.randrange(len(_DAMAGES))](rng, made, others or (content,))
    return bytes(made)


def _place(rng: Random, made: bytearray) -> int:
    """Somewhere: more often near an end, where headers and directories are."""
    if not made:
        return 0
    near = min(len(made), 128)
    return rng.choice((rng.randrange(len(made)), rng.randrange(near), len(made) - 1 - rng.randrange(near)))


def _flip(rng, made, others):
    if made:
        made[_place(rng, made)] ^= 1 << rng.randrange(8)


def _overwrite(rng, made, others):
    if made:
        made[_place(rng, made)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _length(rng, made, others):
    size = rng.choice((1, 2, 4, 8))
    at = _place(rng, made)
    number = rng.choice((*_EDGES, len(made), len(made) + 1, max(len(made) - 1, 0))) % 256**size
    made[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _nudge(rng, made, others):
    """A field of four or eight bytes, one more or less."""
    size = rng.choice((2, 4, 8))
    at = _place(rng, made)
    if at + size <= len(made):
        order = rng.choice(("little", "big"))
        number = int.from_bytes(made[at : at + size], order) + rng.choice((-1, 1, 8, -8))
        made[at : at + size] = (number % 256**size).to_bytes(size, order)


def _cut(rng, made, others):
    at = _place(rng, made)
    del made[at : at + rng.choice((1, 2, 4, 8, 100, len(made)))]


def _insert(rng, made, others):
    at = _place(rng, made)
    made[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 30))))


def _repeat(rng, made, others):
    at, size = _place(rng, made), rng.choice((1, 8, 64, 500))
    made[at:at] = made[at : at + size] * rng.choice((1, 2, 20))


def _splice(rng, made, others):
    other = rng.choice(others)
    if other:
        at, size = rng.randrange(len(other)), rng.choice((8, 64, 500))
        place = _place(rng, made)
        made[place : place + size] = other[at : at + size]


def _float(rng, made, others):
    at = _place(rng, made)
    made[at : at + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38, 1e-45)))


def _digit(rng, made, others):
    """A number in a text."""
    digits = [i for i, byte in enumerate(made[:5000]) if 48 <= byte <= 57]
    if digits:
        at = rng.choice(digits)
        made[at : at + 1] = rng.choice((b"-1", b"1e999", b"99999999999", b"0", b"NaN", b"1.5", b"[]", b"null"))


_DAMAGES = (_flip, _overwrite, _length, _nudge, _cut, _insert, _repeat, _splice, _float, _digit)

# ------------------------------------------------------------------ descriptions


def changed(rng: Random, described: object, foreign: object = value) -> object:
    """A copy of nested lists and dictionaries in which one or two places hold something else."""
    made = copy.deepcopy(described)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(made))
        if not places:
            return foreign(rng)
        owner, key = rng.choice(places)
        how = rng.randrange(8)
        if how == 0:
            del owner[key]
        elif how == 1 and isinstance(owner, list):
            owner.insert(key, copy.deepcopy(owner[key]))
        elif how == 2 and isinstance(owner, dict):
            owner[rng.choice(TEXTS)] = owner.pop(key)
        elif how == 3:
            other, name = rng.choice(places)
            with_it = other[name] if name in other or (isinstance(other, list) and name < len(other)) else None
            owner[key] = copy.deepcopy(with_it)
        elif how == 4 and isinstance(owner[key], (int, float)):
            owner[key] = rng.choice(NUMBERS)
        else:
            owner[key] = foreign(rng)
    return made


def _places(described: object):
    """All places of a description, as (owner, key)."""
    entries = described.items() if isinstance(described, dict) else enumerate(described)
    for key, held in list(entries):
        yield described, key
        if isinstance(held, (dict, list)):
            yield from _places(held)
