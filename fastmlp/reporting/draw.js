// The canvas, its buttons, and the bars beside it. Needs network, and pictureOf of digit.js.
const drawing = (() => {
  "use strict";
  const find = (id) => document.getElementById(id);
  const form = JSON.parse(find("draw-form").textContent);
  const { rows, columns } = form;
  const canvas = find("draw-canvas"), seen = find("draw-seen"), said = find("draw-said");
  const bars = [...find("draw-bars").children];
  let strokes = [], sample = null, cursor = null, keyPen = false;

  const shares = {
    as_it_is: (a) => a,
    exp: (a) => a.map(Math.exp),
    sigmoid: (a) => a.map((z) => 1 / (1 + Math.exp(-z))),
    softmax: (a) => {
      const top = Math.max(...a), e = a.map((z) => Math.exp(z - top)), total = e.reduce((sum, value) => sum + value, 0);
      return e.map((value) => value / total);
    },
  }[form.shares];

  // ---------------------------------------------------------------- what the network gets and gives

  const levels = () => sample ?? pictureOf(strokes, form);
  const picture = () => Array.from(levels(), (level) => {
    const value = form.paper + level * (form.ink - form.paper);
    return form.whole ? Math.round(value) : value;
  });

  function predicted() {
    const made = Array.from(shares(network.predict(picture())));
    if (made.length > 1) return made;
    return form.signed ? [-made[0], made[0]] : [1 - made[0], made[0]];
  }

  const percent = (share) => share >= 0.99995 ? "100\u00a0%" : (Math.floor(share * 1000) / 10).toFixed(1) + "\u00a0%";
  const worded = (value) => form.percents ? percent(value) : value.toFixed(3);

  function update(finished) {
    const blank = sample === null && strokes.length === 0;
    const values = blank ? bars.map(() => 0) : predicted();
    const best = values.indexOf(Math.max(...values));
    bars.forEach((bar, i) => {
      bar.classList.toggle("best", !blank && i === best);
      bar.querySelector(".fill").style.width = `${100 * Math.min(1, Math.max(0, values[i]))}%`;
      bar.querySelector(".share").textContent = blank ? "" : worded(values[i]);
    });
    if (finished) {
      said.textContent = blank ? "Nothing is drawn yet." : `It reads ${form.labels[best]}: ${worded(values[best])}.`;
    }
    paint();
  }

  // ---------------------------------------------------------------- what is on the canvas

  function paint() {
    const size = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
    const unit = size / columns;
    if (canvas.width !== size) Object.assign(canvas, { width: size, height: Math.round(unit * rows) });
    const color = getComputedStyle(canvas).color, context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (sample) pixels(context, unit, color, sample);
    Object.assign(context, { strokeStyle: color, lineCap: "round", lineJoin: "round", lineWidth: form.pen * unit });
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(stroke[0][0] * unit, stroke[0][1] * unit);
      stroke.forEach(([x, y]) => context.lineTo(x * unit, y * unit));
      context.stroke();
    }
    if (cursor && document.activeElement === canvas) {
      context.lineWidth = unit / 4;
      context.beginPath();
      context.arc(cursor[0] * unit, cursor[1] * unit, form.pen * unit, 0, 7);
      context.stroke();
    }
    const small = seen.getContext("2d");
    small.clearRect(0, 0, columns, rows);
    pixels(small, 1, color, levels());
  }

  function pixels(context, unit, color, shades) {
    context.fillStyle = color;
    shades.forEach((level, i) => {
      context.globalAlpha = level;
      const x = i % columns * unit, y = Math.floor(i / columns) * unit;
      if (level) context.fillRect(Math.floor(x), Math.floor(y), Math.ceil(unit), Math.ceil(unit));
    });
    context.globalAlpha = 1;
  }

  function clear() {
    strokes = [];
    sample = null;
    keyPen = false;
    update(true);
  }

  // ---------------------------------------------------------------- mouse, pen and touch

  function place(event) {
    const edge = canvas.getBoundingClientRect();
    return [(event.clientX - edge.left) / edge.width * columns, (event.clientY - edge.top) / edge.height * rows];
  }

  let drawn = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drawn !== null) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true, focusVisible: false });
    canvas.setPointerCapture(event.pointerId);
    drawn = event.pointerId;
    cursor = null;
    if (sample) strokes = [];
    sample = null;
    strokes.push([place(event)]);
    update(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drawn) return;
    const between = event.getCoalescedEvents?.() ?? [];
    strokes.at(-1).push(...(between.length ? between : [event]).map(place));
    update(false);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      if (event.pointerId !== drawn) return;
      drawn = null;
      update(true);
    });
  }

  // ---------------------------------------------------------------- the keyboard

  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    cursor ??= [columns / 2, rows / 4];
    if (event.key in steps) {
      cursor = cursor.map((at, way) => Math.min([columns, rows][way], Math.max(0, at + steps[event.key][way])));
      if (keyPen) strokes.at(-1).push([...cursor]);
    } else if (event.key === " ") {
      keyPen = !keyPen;
      if (keyPen) {
        if (sample) strokes = [];
        sample = null;
        strokes.push([[...cursor]]);
      }
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else {
      return;
    }
    event.preventDefault();
    update(true);
  });
  canvas.addEventListener("blur", () => {
    keyPen = false;
    paint();
  });
  canvas.addEventListener("focus", paint);

  // ---------------------------------------------------------------- buttons

  find("draw-clear").addEventListener("click", clear);
  document.querySelectorAll("#draw [data-sample]").forEach((button) => {
    const bytes = atob(form.samples[Number(button.dataset.sample)]);
    button.addEventListener("click", () => {
      strokes = [];
      keyPen = false;
      sample = Float64Array.from(bytes, (letter) => letter.charCodeAt(0) / 255);
      update(true);
    });
  });
  addEventListener("resize", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  update(true);
  return { picture, predicted, clear };
})();
