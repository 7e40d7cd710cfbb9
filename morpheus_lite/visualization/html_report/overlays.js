// Segments: which source a pixel belongs to, their fill and their outlines.

const sources = { arrays: null, boxes: null, rings: null };
const UNLISTED = N_ROWS + 1; // a segment that the table does not hold
const BUCKET = 256;

async function loadSources() {
  const arrays = await unpack("sources", payload.sources.index);
  const boxes = new Float32Array(4 * (N_ROWS + 2)); // left, top, right, bottom in (u, v)
  for (let i = 0; i < boxes.length; i += 4) boxes.set([Infinity, Infinity, -Infinity, -Infinity], i);
  const rings = Array.from({ length: N_ROWS + 2 }, () => []);
  for (let ring = 0; ring + 1 < arrays.ring_start.length; ring++) {
    const source = arrays.ring_source[ring];
    rings[source].push(ring);
    for (let k = arrays.ring_start[ring]; k < arrays.ring_start[ring + 1]; k++) {
      const [u, v, at] = [arrays.corner_u[k], arrays.corner_v[k], 4 * source];
      boxes[at] = Math.min(boxes[at], u);
      boxes[at + 1] = Math.min(boxes[at + 1], v);
      boxes[at + 2] = Math.max(boxes[at + 2], u);
      boxes[at + 3] = Math.max(boxes[at + 3], v);
    }
  }
  Object.assign(sources, { arrays, boxes, rings });
}

// Row of the table at a pixel: -1 on the sky, N_ROWS for a segment that the table does not hold.
function rowAt(x, y) {
  const [u, v] = [Math.floor(x + 0.5), Math.floor(NY - y - 0.5)];
  if (u < 0 || v < 0 || u >= NX || v >= NY) return -1;
  const { run_x: start, run_length: length, run_source: source } = sources.arrays;
  const run = lastRunAt(u, v);
  return run >= 0 && u < start[run] + length[run] ? source[run] - 1 : -1;
}

// The last run of a row that starts at or left of u; -1 where there is none.
function lastRunAt(u, v) {
  const { row_start: rowStart, run_x: start } = sources.arrays;
  let [low, high] = [rowStart[v], rowStart[v + 1]];
  const first = low;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (start[middle] <= u) low = middle + 1;
    else high = middle;
  }
  return low - 1 >= first ? low - 1 : -1;
}

// Where a row lies on the picture: its centroid, else the middle of its segment; null where it has neither.
function placeOf(row) {
  const [x, y] = [xColumn, yColumn].map((column) => (column && !column.isText ? column.data[row] : NaN));
  if (Number.isFinite(x + y)) return { u: x + 0.5, v: NY - y - 0.5 };
  const [left, top, right, bottom] = boxOf(row);
  return right > left ? { u: (left + right) / 2, v: (top + bottom) / 2 } : null;
}

const boxOf = (row) => sources.boxes.subarray(4 * (row + 1), 4 * (row + 1) + 4);

// ---- fill ------------------------------------------------------------------------------------------------------

const FILLS = [
  "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#86bcb6",
  "#d4a6c8", "#fabfd2",
];

function segmentLayer(colorOf) {
  const words = new Uint32Array(N_ROWS + 2);
  for (let row = 0; row <= N_ROWS; row++) words[row + 1] = word(...channels(colorOf(row)), 255);
  return new TileLayer({
    width: NX, height: NY, step: 1,
    paint: paintedWith((pixels, left, top, width, height) => {
      const { row_start: rowStart, run_x: start, run_length: length, run_source: source } = sources.arrays;
      for (let row = 0; row < height; row++) {
        const end = rowStart[top + row + 1];
        for (let run = Math.max(rowStart[top + row], lastRunAt(left, top + row)); run < end; run++) {
          const [a, b] = [Math.max(start[run] - left, 0), Math.min(start[run] + length[run] - left, width)];
          if (a >= width) break;
          if (b > a) pixels.fill(words[source[run]], row * width + a, row * width + b);
        }
      }
    }),
  });
}

const fillBySource = (row) => (row === N_ROWS ? OTHER_COLOR : FILLS[(row * 7) % FILLS.length]);
const fillByClass = (row) => (row === N_ROWS ? OTHER_COLOR : colorOfClass(classOf(row)));

// ---- outlines --------------------------------------------------------------------------------------------------

// Outlines of the rows shown, as one path a colour in buckets of BUCKET pixels, in image units (u, v).
class OutlineLayer {
  constructor(isShown) {
    this.isShown = isShown;
    this.clear();
  }

  clear() {
    this.paths = null;
    this.raster = new Map();
  }

  build() {
    this.paths = new Map();
    const nColumns = Math.ceil(NX / BUCKET);
    for (let row = 0; row <= N_ROWS; row++) {
      if (row < N_ROWS && !this.isShown(row)) continue;
      const [left, top, right, bottom] = boxOf(row);
      if (!(right > left)) continue;
      const key = Math.floor(Math.min(top, NY - 1) / BUCKET) * nColumns + Math.floor(Math.min(left, NX - 1) / BUCKET);
      let bucket = this.paths.get(key);
      if (!bucket) this.paths.set(key, (bucket = { box: [left, top, right, bottom], byColor: new Map() }));
      bucket.box = [
        Math.min(bucket.box[0], left), Math.min(bucket.box[1], top), Math.max(bucket.box[2], right), Math.max(bucket.box[3], bottom),
      ];
      const color = row === N_ROWS ? OTHER_COLOR : colorOfClass(classOf(row));
      let path = bucket.byColor.get(color);
      if (!path) bucket.byColor.set(color, (path = new Path2D()));
      addRings(path, row);
    }
  }

  // Close up the paths themselves are stroked; from afar, where thousands are in sight, a stored drawing of them.
  draw(context, view) {
    if (!this.paths) this.build();
    if (view.scale >= 1) this.stroke(context, view, 1.6 * view.ratio);
    else this.rasterAt(Math.min(6, Math.floor(Math.log2(1 / view.scale)))).draw(context, view);
  }

  rasterAt(level) {
    let layer = this.raster.get(level);
    if (!layer) {
      const step = 2 ** level;
      const paint = (left, top, width, height) => {
        const canvas = newCanvas(width, height);
        this.stroke(canvas.getContext("2d"), partView(left * step, top * step, width * step, height * step, 1 / step), 1.3);
        return canvas;
      };
      layer = new TileLayer({ width: Math.ceil(NX / step), height: Math.ceil(NY / step), step, paint });
      this.raster.set(level, layer);
    }
    return layer;
  }

  stroke(context, view, width) {
    const { left, top, right, bottom } = view.bounds();
    context.save();
    context.setTransform(view.scale, 0, 0, view.scale, view.toX(0), view.toY(0));
    context.lineJoin = "round";
    for (const { box, byColor } of this.paths.values()) {
      if (box[2] < left || box[0] > right || box[3] < top || box[1] > bottom) continue;
      for (const [color, path] of byColor) {
        context.strokeStyle = "rgb(0 0 0 / 0.55)";
        context.lineWidth = (2.2 * width) / view.scale;
        context.stroke(path);
        context.strokeStyle = color;
        context.lineWidth = width / view.scale;
        context.stroke(path);
      }
    }
    context.restore();
  }
}

function partView(left, top, width, height, scale) {
  return {
    scale,
    toX: (u) => (u - left) * scale,
    toY: (v) => (v - top) * scale,
    bounds: () => ({ left, top, right: left + width, bottom: top + height }),
  };
}

function addRings(path, row) {
  const { ring_start: ringStart, corner_u: u, corner_v: v } = sources.arrays;
  for (const ring of sources.rings[row + 1]) {
    const [from, to] = [ringStart[ring], ringStart[ring + 1]];
    path.moveTo(u[from], v[from]);
    for (let k = from + 1; k < to; k++) path.lineTo(u[k], v[k]);
    path.closePath();
  }
}
