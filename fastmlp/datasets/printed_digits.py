"""70,000 printed digits with MNIST's shapes, drawn from the fonts that Matplotlib brings along."""

import functools
import operator
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.datasets import _store
from fastmlp.kernels.printed_digits import draw_glyphs

#: Part of the cached file's name: raise it with every change that alters a pixel.
_VERSION = 1

# Listed, not found by a pattern: a font that a later Matplotlib adds would change the data.
_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)

_SIDE = 28  # pixels
_GLYPH = 20  # pixels of a glyph's longer side before warping, as in MNIST
_DENSITY = 1.5  # samples of the signed distance per pixel: it is smoother than an image of the glyph
_SAMPLES = 48  # samples per side: 32 pixels, so that the outermost are background in every glyph
_CONTROL = 5  # control points of the elastic displacement per side

#: What is drawn evenly between two bounds for each image; lengths in pixels.
_RANGES = {
    "tilt": (-0.25, 0.25),  # tangent of the rotation
    "slant": (-0.25, 0.25),
    "width": (0.75, 1.05),
    "height": (0.8, 1.05),
    "right": (-1.5, 1.5),
    "down": (-1.5, 1.5),
    "weight": (0.0, 0.7),  # by how much the outline moves outwards
    "blur": (1.2, 2.2),
    "mottle": (0.0, 0.4),
    "dust": (0.0, 0.6),
}
_ELASTIC = 1.5  # a control point moves by up to so many pixels


def load_data(seed: int = 0) -> tuple[_store.Split, _store.Split]:
    """Printed digits in place of MNIST: the same shapes and dtypes, and no download.

    Glyphs of 21 fonts are rotated, slanted, squeezed, shifted, bent, thickened, blurred and speckled,
    white on black. The first call for a seed draws them (a few seconds) and keeps them as a file of 55 MB
    in `datasets` of `$FASTMLP_CACHE_DIR` or of fastmlp's folder in the user's cache; later calls read it.
    Where it cannot be kept, every call draws anew; a damaged file is replaced.

    The same seed gives the same bits on any number of threads. They come from PCG64's uniform numbers by
    sums, products, quotients and square roots, which IEEE 754 rounds alike everywhere, so machines agree
    too. What is not promised: that another release or build of Matplotlib places an outline exactly where
    this one does, and that another release of NumPy draws the same numbers.

    Args:
        seed: Names the data set: another seed gives other digits. At least 0.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images (60000, 28, 28) and (10000, 28, 28), 0 the background
        and 255 the ink; labels (60000,) and (10000,), 0 to 9, each equally often, shuffled. All are uint8 and
        belong to the caller. The test images come from the same fonts and ranges with draws of their own.

    Raises:
        TypeError: If seed is not an integer.
        ValueError: If seed is negative.

    Source: Simard, Steinkraus & Platt (2003), ICDAR: affine and elastic distortion of digits.

    Example:
        >>> from fastmlp.datasets import printed_digits
        >>> (x_train, y_train), (x_test, y_test) = printed_digits.load_data()
        >>> x_train.shape, x_train.dtype, y_test.shape
        ((60000, 28, 28), dtype('uint8'), (10000,))
    """
    seed = _checked_seed(seed)
    name = f"printed_digits-v{_VERSION}-seed{seed}.npz"
    try:
        return _store.split(_store.read(_store.cache_folder() / name))
    except (FileNotFoundError, ValueError):
        pass  # not there yet or damaged: both are mended by drawing
    arrays = _generate(seed, *(_store.SHAPES[name][0] for name in ("x_train", "x_test")))
    try:
        _store.write(_store.cache_folder() / name, arrays)
    except OSError as error:
        warnings.warn(
            f"the digits cannot be kept on disk ({error}), so each call draws them anew; "
            "set FASTMLP_CACHE_DIR to a writable folder",
            stacklevel=2,
        )
    return _store.split(arrays)


def _checked_seed(seed: Any) -> int:
    """The seed as an int that is at least 0; TypeError or ValueError otherwise."""
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"seed should be an integer such as 0, but is {seed!r}") from None
    if number < 0:
        raise ValueError(f"seed should be at least 0, but is {number}; use for example {-number}")
    return number


def _generate(seed: int, n_train: int, n_test: int) -> _store.Arrays:
    """Both sets, each from a random stream of its own: the size of one does not change the other."""
    distance = _distances()
    train, test = np.random.SeedSequence(seed).spawn(2)
    x_train, y_train = _draw(distance, np.random.Generator(np.random.PCG64(train)), n_train)
    x_test, y_test = _draw(distance, np.random.Generator(np.random.PCG64(test)), n_test)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _draw(distance: np.ndarray, rng: np.random.Generator, n: int) -> _store.Split:
    """Images (n, 28, 28) and labels (n,) from the distances (10, fonts, s, s) of all glyphs.

    Only rng.random and rng.bytes are used: they hand out PCG64's bits with the least between, so they are
    what a later NumPy is least likely to change.
    """
    labels = np.argsort(rng.random(n), kind="stable") % 10
    fonts = distance.shape[1]
    glyph = labels * fonts + (rng.random(n) * fonts).astype(np.int64)
    value = {name: low + (high - low) * rng.random(n) for name, (low, high) in _RANGES.items()}
    stroke = np.stack([value[name] for name in ("weight", "blur", "mottle", "dust")], axis=1)
    elastic = (2 * rng.random((n, 2, _CONTROL, _CONTROL)) - 1) * (_ELASTIC * _DENSITY)
    noise = np.frombuffer(rng.bytes(n * _SIDE * _SIDE), np.uint8).reshape(n, _SIDE, _SIDE)
    images = np.empty((n, _SIDE, _SIDE), np.uint8)
    draw_glyphs(
        distance.reshape(-1, _SAMPLES, _SAMPLES),
        glyph,
        _affine(value).astype(np.float32),
        elastic.astype(np.float32),
        _basis().astype(np.float32),
        stroke.astype(np.float32),
        noise,
        np.empty((2, _CONTROL), np.float32),
        images,
    )
    return images, labels.astype(np.uint8)


def _affine(value: dict[str, np.ndarray]) -> np.ndarray:
    """The maps (n, 2, 3) from an image's pixels to a glyph's samples, centre to centre.

    Rotation by its tangent: sine and cosine from a square root are rounded alike on every machine.
    """
    cosine = 1 / np.sqrt(1 + value["tilt"] ** 2)
    sine = value["tilt"] * cosine
    centre = (_SIDE - 1) / 2
    across, along = _DENSITY / value["width"], _DENSITY / value["height"]
    result = np.empty((len(cosine), 2, 3))
    result[:, 0, 0] = across * (cosine + value["slant"] * sine)
    result[:, 0, 1] = across * (value["slant"] * cosine - sine)
    result[:, 1, 0] = along * sine
    result[:, 1, 1] = along * cosine
    x, y = centre + value["right"], centre + value["down"]
    result[:, :, 2] = (_SAMPLES - 1) / 2 - (result[:, :, 0] * x[:, None] + result[:, :, 1] * y[:, None])
    return result


def _basis() -> np.ndarray:
    """Weights (28, control points) of a quadratic B-spline: they sum to 1 at every pixel."""
    place = np.arange(_SIDE) * ((_CONTROL - 2) / (_SIDE - 1))
    first = np.minimum(place.astype(np.int64), _CONTROL - 3)
    f = place - first
    result = np.zeros((_SIDE, _CONTROL))
    for offset, weight in enumerate(((1 - f) ** 2 / 2, 0.5 + f * (1 - f), f**2 / 2)):
        result[np.arange(_SIDE), first + offset] = weight
    return result


@functools.cache  # 2 MB, and another seed takes half the time
def _distances() -> np.ndarray:
    """Signed distances (10, fonts, s, s) in pixels, float32, of all digits in all fonts."""
    import matplotlib  # as late as this: a cached data set needs no fonts

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [folder / f"{font}.ttf" for font in _FONTS]
    return np.stack([[_signed_distance(*_outline(font, digit)) for font in fonts] for digit in "0123456789"])


def _outline(font: Path, digit: str) -> tuple[np.ndarray, np.ndarray]:
    """Start and end (segments, 2) of a digit's outline in samples (column, row), centred."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    # At size 40 straight pieces replace the curves to within a fifth of a pixel; finer takes longer.
    path = TextPath((0, 0), digit, size=40, prop=FontProperties(fname=str(font)))
    polygons = [np.asarray(polygon) for polygon in path.to_polygons()]
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = _GLYPH * _DENSITY / (high - low).max() * np.array([1, -1])  # font rows run upwards
    start = np.concatenate([polygon[:-1] for polygon in polygons])
    end = np.concatenate([polygon[1:] for polygon in polygons])
    longer = (start != end).any(axis=1)
    start, end = ((part[longer] - (low + high) / 2) * scale + (_SAMPLES - 1) / 2 for part in (start, end))
    return start, end


def _signed_distance(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (s, s) in pixels of each sample to the nearest segment, negative where they wind around it."""
    row, column = (part.reshape(-1, 1) for part in np.indices((_SAMPLES, _SAMPLES)))
    along_x, along_y = (end - start).T
    x, y = column - start[:, 0], row - start[:, 1]
    place = np.clip((x * along_x + y * along_y) / (along_x**2 + along_y**2), 0, 1)
    squared = (x - place * along_x) ** 2 + (y - place * along_y) ** 2
    left = along_x * y - along_y * x > 0
    starts_above, ends_above = row >= start[:, 1], row >= end[:, 1]
    downwards, upwards = starts_above & ~ends_above & left, ~starts_above & ends_above & ~left
    sign = np.where(downwards.sum(axis=1) == upwards.sum(axis=1), 1, -1)
    return (sign * np.sqrt(squared.min(axis=1)) / _DENSITY).astype(np.float32).reshape(_SAMPLES, _SAMPLES)
