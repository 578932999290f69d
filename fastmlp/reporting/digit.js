// Strokes as a picture in the form of MNIST. "The original black and white (bilevel) images from NIST were size
// normalized to fit in a 20x20 pixel box while preserving their aspect ratio. The resulting images contain grey levels
// as a result of the anti-aliasing technique used by the normalization algorithm. The images were centered in a 28x28
// image by computing the center of mass of the pixels, and translating the image so as to position this point at the
// center of the 28x28 field." LeCun, Cortes & Burges, The MNIST database of handwritten digits.
//
// strokes  lists of points [x, y] in pixels of the picture
// form     { rows, columns, box, pen }: sizes of the picture, of the box and of the pen, in pixels
// Returns a Float64Array of rows * columns levels, 0 paper to 1 ink, in steps of 1 / 255.
function pictureOf(strokes, { rows, columns, box, pen }) {
  const points = strokes.flat();
  if (!points.length) return new Float64Array(rows * columns);
  const edge = (way, choose) => points.reduce((found, point) => choose(found, point[way]), points[0][way]);
  const left = edge(0, Math.min), top = edge(1, Math.min);
  const width = edge(0, Math.max) - left, height = edge(1, Math.max) - top;
  // What is tiny, such as a dot, stays small.
  const scale = (box - pen) / Math.max(width, height, box / 4);

  // Every pixel by its distance from the nearest line, with an edge one pixel wide.
  function render(across, down) {
    const levels = new Float64Array(rows * columns), reach = pen / 2 + 0.5;
    const place = ([x, y]) => [(x - left) * scale + pen / 2 + across, (y - top) * scale + pen / 2 + down];
    for (const stroke of strokes) {
      const placed = stroke.map(place);
      for (let k = 0; k < placed.length; k++) {
        const [x1, y1] = placed[Math.max(k - 1, 0)], [x2, y2] = placed[k];
        const dx = x2 - x1, dy = y2 - y1, square = dx * dx + dy * dy;
        const [first, last] = [Math.min(y1, y2) - reach, Math.max(y1, y2) + reach];
        const [begin, end] = [Math.min(x1, x2) - reach, Math.max(x1, x2) + reach];
        for (let i = Math.max(0, Math.floor(first)); i < Math.min(rows, last); i++) {
          for (let j = Math.max(0, Math.floor(begin)); j < Math.min(columns, end); j++) {
            const px = j + 0.5 - x1, py = i + 0.5 - y1;
            const t = square ? Math.min(1, Math.max(0, (px * dx + py * dy) / square)) : 0;
            const level = Math.min(1, Math.max(0, reach - Math.hypot(px - t * dx, py - t * dy)));
            if (level > levels[i * columns + j]) levels[i * columns + j] = level;
          }
        }
      }
    }
    return levels;
  }

  const across = Math.floor((columns - width * scale - pen) / 2), down = Math.floor((rows - height * scale - pen) / 2);
  let mass = 0, massX = 0, massY = 0;
  render(across, down).forEach((level, i) => {
    mass += level;
    massX += level * (i % columns + 0.5);
    massY += level * (Math.floor(i / columns) + 0.5);
  });
  const moved = (centre, size) => Math.floor(size / 2) - Math.floor(centre / mass);
  const levels = render(across + moved(massX, columns), down + moved(massY, rows));
  return levels.map((level) => Math.round(255 * level) / 255);
}
