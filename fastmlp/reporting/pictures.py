"""Samples and weights as small PNGs within the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.checks import positive_int

# The map RdBu of ColorBrewer, blue to red, at five places.
_BLUE_TO_RED = np.array([[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]])


def shape_of(sample: tuple[int, ...], image_shape: Any = None) -> tuple[int, int] | None:
    """Rows and columns of samples that are pictures in grey, or None.

    Args:
        sample: Shape of a sample.
        image_shape: (rows, columns) of samples that are flat rows.

    Raises:
        ValueError: If it doesn't have as many pixels as the sample.
    """
    if image_shape is not None:
        sizes = tuple(positive_int("a size in image_shape", size) for size in image_shape)
        if len(sizes) != 2 or np.prod(sizes) != np.prod(sample):
            raise ValueError(
                f"image_shape is {sizes} but samples have shape {sample}: expected (rows, columns) with "
                f"{int(np.prod(sample))} pixels"
            )
        return sizes[0], sizes[1]
    if len(sample) == 3 and sample[2] == 1:
        sample = sample[:2]
    # A single row or column is a list of numbers.
    return (sample[0], sample[1]) if len(sample) == 2 and min(sample) > 1 else None


@dataclass(frozen=True)
class Scale:
    """What numbers paper and ink are in the samples.

    Attributes:
        paper: Of the background.
        ink: Of the darkest stroke.
        whole: Whether pixels are whole numbers.
    """

    paper: float = 0.0
    ink: float = 255.0
    whole: bool = True

    def levels(self, x: np.ndarray) -> np.ndarray:
        """Bytes: 0 paper, 255 ink."""
        share = (x.astype(np.float64) - self.paper) / (self.ink - self.paper)
        return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def scale_of(images: np.ndarray) -> Scale:
    """Paper is what the border mostly shows, ink the number farthest from it; images (samples, rows, columns).

    >>> scale_of(np.pad(np.ones((1, 2, 2)), ((0, 0), (1, 1), (1, 1))))
    Scale(paper=0.0, ink=1.0, whole=False)
    """
    border = np.concatenate([images[:, [0, -1], :].ravel(), images[:, :, [0, -1]].ravel()])
    low, high, paper = float(images.min()), float(images.max()), float(np.median(border))
    if low == high:
        return Scale(low, low + 1, images.dtype.kind in "iu")
    dark, light = (low, high) if high - paper < paper - low else (high, low)
    return Scale(light, dark, images.dtype.kind in "iu")


def ink(levels: np.ndarray) -> str:
    """A picture in bytes, 0 paper, as a data URI of black on white."""
    from PIL import Image

    return _uri(Image.fromarray(255 - levels))


def diverging(values: np.ndarray, limit: float) -> str:
    """A matrix as a data URI: blue below 0, white, red above, from -limit to limit."""
    from PIL import Image

    places = np.linspace(0, 4, 255)
    colors = np.stack([np.interp(places, range(5), channel) for channel in _BLUE_TO_RED.T], axis=1)
    share = np.nan_to_num(values / limit, nan=0.0, posinf=1.0, neginf=-1.0)
    image = Image.fromarray(np.rint(127 + 127 * np.clip(share, -1, 1)).astype(np.uint8))
    image.putpalette(np.rint(colors).astype(np.uint8).tobytes())
    return _uri(image)


def shaded(share: np.ndarray) -> str:
    """A matrix of shares from 0 to 1 as a data URI, white to dark."""
    return ink(np.rint(255 * np.sqrt(share)).astype(np.uint8))


def _uri(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
