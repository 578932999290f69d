"""Grey images of glyphs: warped, thickened or thinned, blurred and speckled in one pass over the pixels."""

from fastmlp.kernels._jit import kernel


@kernel
def draw_glyphs(distance, glyph, affine, elastic, basis, stroke, noise, rows, images):
    """Draw every image as the soft threshold of a warped signed distance.

        u_c = affine_c0 x + affine_c1 y + affine_c2 + sum_jk basis_yj basis_xk elastic_cjk    c = 0, 1
        d   = distance[glyph] between its samples, at column u_0 and row u_1
        t   = min(max((weight - d) / blur + 1/2, 0), 1)
        ink = t^2 (3 - 2 t) (1 - mottle noise / 255), and at least dust where noise is 255

    distance (g, s, s)     signed distance to a glyph's outline, < 0 inside; read
    glyph    (n,)          index into distance, read
    affine   (n, 2, 3)     from pixel (x, y) to sample (column, row), read
    elastic  (n, 2, p, p)  displacements at p x p control points, in samples, read
    basis    (h, p)        weight of a control point at a pixel, for rows and columns alike, read
    stroke   (n, 4)        weight and blur in the unit of distance, mottle and dust from 0 to 1; read
    noise    (n, h, h)     uint8, read
    rows     (2, p)        scratch
    images   (n, h, h)     uint8, 0 the background and 255 full ink; written

    Outside the samples of a glyph there is no ink.
    """
    real = affine.dtype.type
    zero, half, one, two, three, full = real(0), real(0.5), real(1), real(2), real(3), real(255)
    n, h = images.shape[:2]
    p = basis.shape[1]
    last = real(distance.shape[1] - 1)
    for i in range(n):
        field = distance[glyph[i]]
        weight, blur, mottle, dust = stroke[i, 0], stroke[i, 1], stroke[i, 2], stroke[i, 3]
        for y in range(h):
            for c in range(2):
                for k in range(p):
                    rows[c, k] = zero
                    for j in range(p):
                        rows[c, k] += basis[y, j] * elastic[i, c, j, k]
            for x in range(h):
                u = affine[i, 0, 0] * real(x) + affine[i, 0, 1] * real(y) + affine[i, 0, 2]
                v = affine[i, 1, 0] * real(x) + affine[i, 1, 1] * real(y) + affine[i, 1, 2]
                for k in range(p):
                    u += basis[x, k] * rows[0, k]
                    v += basis[x, k] * rows[1, k]
                ink = zero
                if zero <= u < last and zero <= v < last:
                    column, row = int(u), int(v)
                    right, down = u - real(column), v - real(row)
                    above = field[row, column] * (one - right) + field[row, column + 1] * right
                    below = field[row + 1, column] * (one - right) + field[row + 1, column + 1] * right
                    d = above * (one - down) + below * down
                    t = min(max((weight - d) / blur + half, zero), one)
                    ink = t * t * (three - two * t) * (one - mottle * real(noise[i, y, x]) / full)
                if noise[i, y, x] == 255:
                    ink = max(ink, dust)
                images[i, y, x] = int(full * ink + half)
