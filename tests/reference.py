"""Every kernel's plain version, under the same name: NumPy, float64, no concern for speed."""

import numpy as np


def draw_glyphs(distance, glyph, affine, elastic, basis, stroke, noise):
    """Images (n, h, h), uint8, as fastmlp.kernels.printed_digits.draw_glyphs writes them."""
    n, h = noise.shape[:2]
    y, x = np.indices((h, h))
    images = np.zeros((n, h, h), np.uint8)
    for i in range(n):
        last = distance.shape[1] - 1
        field = np.pad(distance[glyph[i]].astype(np.float64), (0, 1))
        bend = np.einsum("yj,xk,cjk->cyx", *(a.astype(np.float64) for a in (basis, basis, elastic[i])))
        u, v = (affine[i, c, 0] * x + affine[i, c, 1] * y + affine[i, c, 2] + bend[c] for c in range(2))
        inside = (u >= 0) & (u < last) & (v >= 0) & (v < last)
        u, v = np.where(inside, u, 0), np.where(inside, v, 0)
        column, row = u.astype(int), v.astype(int)
        right, down = u - column, v - row
        d = (1 - down) * ((1 - right) * field[row, column] + right * field[row, column + 1]) + down * (
            (1 - right) * field[row + 1, column] + right * field[row + 1, column + 1]
        )
        weight, blur, mottle, dust = stroke[i].astype(np.float64)
        t = np.clip((weight - d) / blur + 0.5, 0, 1)
        ink = inside * (3 * t**2 - 2 * t**3) * (1 - mottle * noise[i] / 255)
        ink = np.where(noise[i] == 255, np.maximum(ink, dust), ink)
        images[i] = np.floor(255 * ink + 0.5)
    return images
