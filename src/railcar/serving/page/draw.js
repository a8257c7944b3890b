/* The drawing pad: strokes in the network's pixels, white on black, as MNIST has its digits. */

import { make } from "./elements.js";

const LINE = 0.085; // of the shorter side: 2.4 of 28 pixels
const BOX = 20 / 28; // MNIST fits a digit into 20x20 pixels and puts its centre of mass into the middle of 28x28
const FINE = 8; // a pixel of the network is the mean of 8x8 drawn ones
const SIDE = 560; // pixels of the pad's longer side
const PAUSE_MS = 350;

/** `size` is the network's; `onDrawn` is called a moment after a stroke, `onCleared` when none is left. */
export function makePad(size, onDrawn, onCleared) {
  const scale = SIDE / Math.max(size.width, size.height);
  const canvas = make("canvas", {
    class: "pad", width: size.width * scale, height: size.height * scale, role: "img",
    "aria-label": "Drawing pad; a picture can be chosen below, too",
  });
  const line = LINE * Math.min(size.width, size.height);
  let strokes = [];
  let current = null;
  let timer = 0;

  const draw = () => paint(canvas, strokes, (point) => point.map((value) => value * scale), line * scale);
  const locate = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * size.width, ((clientY - box.top) / box.height) * size.height];
  };
  const keep = (kept) => {
    clearTimeout(timer);
    strokes = kept;
    draw();
    (strokes.length ? onDrawn : onCleared)();
  };

  canvas.onpointerdown = (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    clearTimeout(timer);
    current = [locate(event)];
    strokes.push(current);
    draw();
  };
  canvas.onpointermove = (event) => {
    if (!current || !event.isPrimary) return;
    const between = event.getCoalescedEvents?.() ?? [];
    current.push(...(between.length ? between : [event]).map(locate));
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    if (!current || !event.isPrimary) return;
    current = null;
    timer = setTimeout(onDrawn, PAUSE_MS);
  };
  draw();
  return {
    canvas,
    isEmpty: () => !strokes.length,
    undo: () => keep(strokes.slice(0, -1)),
    clear: () => keep([]),
    /** A canvas of the network's size; `isCentred`: as MNIST's digits are. */
    render: (isCentred) => {
      const values = (isCentred ? rasterizeCentred : rasterize)(strokes, size, line);
      const image = new ImageData(size.width, size.height);
      values.forEach((value, at) => image.data.set([value, value, value, 255], 4 * at));
      const small = make("canvas", size);
      small.getContext("2d").putImageData(image, 0, 0);
      return small;
    },
  };
}

/** All strokes on black, as curves through the middles of their points. */
function paint(canvas, strokes, place, line) {
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = "#fff";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = line;
  for (const stroke of strokes) {
    let [[x, y], ...rest] = stroke.map(place);
    context.beginPath();
    context.moveTo(x, y);
    for (const [nextX, nextY] of rest) {
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
      [x, y] = [nextX, nextY];
    }
    context.lineTo(x + 0.01, y); // a dot is a line, too
    context.stroke();
  }
}

/** Gray values 0 to 255, row by row. */
function rasterize(strokes, { width, height }, line, place = (point) => point) {
  const canvas = make("canvas", { width: width * FINE, height: height * FINE });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  paint(canvas, strokes, (point) => place(point).map((value) => value * FINE), line * FINE);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const sums = new Float64Array(width * height);
  for (let at = 0; at < data.length / 4; at++) {
    const [x, y] = [at % canvas.width, Math.floor(at / canvas.width)];
    sums[Math.floor(y / FINE) * width + Math.floor(x / FINE)] += data[4 * at];
  }
  return sums.map((sum) => sum / FINE ** 2);
}

function rasterizeCentred(strokes, size, line) {
  const ends = [0, 1].map((axis) => findEnds(strokes.flat().map((point) => point[axis])));
  const longest = Math.max(...ends.map(([low, high]) => high - low));
  // the line keeps its thickness whatever the size of the drawing; a dot stays a dot
  const scale = longest > line ? (BOX * Math.min(size.width, size.height) - line) / longest : 1;
  let middle = [size.width / 2, size.height / 2];
  const place = (point) =>
    point.map((value, axis) => (value - (ends[axis][0] + ends[axis][1]) / 2) * scale + middle[axis]);
  const [massX, massY] = findMass(rasterize(strokes, size, line, place), size.width);
  middle = [size.width - massX, size.height - massY];
  return rasterize(strokes, size, line, place);
}

function findEnds(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

function findMass(values, width) {
  let [mass, sumX, sumY] = [0, 0, 0];
  values.forEach((value, at) => {
    mass += value;
    sumX += value * ((at % width) + 0.5);
    sumY += value * (Math.floor(at / width) + 0.5);
  });
  return [sumX / mass, sumY / mass];
}
