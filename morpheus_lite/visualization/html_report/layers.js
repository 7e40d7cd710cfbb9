// The picture's layers: tiles at full size, halved again and again for smaller scales.
// Places on the picture are (u, v): pixels from its left and from its top edge, so pixel (x, y) is centred on
// u = x + 0.5, v = NY - y - 0.5.

const TILE_SIDE = 1024;

class TileLayer {
  // width, height: of the layer's own pixels, each `step` by `step` pixels of the image.
  // paint(left, top, width, height) gives a canvas or bitmap of a part, or null where it is not there yet.
  constructor({ width, height, step, paint }) {
    Object.assign(this, { width, height, step, paint });
    this.columns = Math.ceil(width / TILE_SIDE);
    this.rows = Math.ceil(height / TILE_SIDE);
    this.tiles = new Map();
  }

  clear() {
    this.tiles.clear();
  }

  // The picture of a tile, 2 ** level times smaller than its full size.
  picture(column, row, level) {
    const key = row * this.columns + column;
    let levels = this.tiles.get(key);
    if (!levels) {
      const [left, top] = [column * TILE_SIDE, row * TILE_SIDE];
      const full = this.paint(left, top, Math.min(TILE_SIDE, this.width - left), Math.min(TILE_SIDE, this.height - top));
      if (!full) return null;
      levels = [full];
      this.tiles.set(key, levels);
    }
    while (levels.length <= level) levels.push(halved(levels[levels.length - 1]));
    return levels[level];
  }

  draw(context, view) {
    const scale = view.scale * this.step; // device pixels for a pixel of the layer
    const level = Math.max(0, Math.min(6, Math.floor(Math.log2(1 / scale))));
    context.imageSmoothingEnabled = scale < 3;
    for (const [column, row] of this.visible(view)) {
      const picture = this.picture(column, row, level);
      if (!picture) continue;
      const side = TILE_SIDE * this.step;
      const right = Math.min((column + 1) * TILE_SIDE, this.width) * this.step;
      const bottom = Math.min((row + 1) * TILE_SIDE, this.height) * this.step;
      // Whole device pixels: fractions would show as seams between the tiles.
      const [x0, y0] = [Math.round(view.toX(column * side)), Math.round(view.toY(row * side))];
      const [x1, y1] = [Math.round(view.toX(right)), Math.round(view.toY(bottom))];
      if (x1 > x0 && y1 > y0) context.drawImage(picture, x0, y0, x1 - x0, y1 - y0);
    }
  }

  *visible(view) {
    const side = TILE_SIDE * this.step;
    const { left, top, right, bottom } = view.bounds();
    for (let row = Math.max(0, Math.floor(top / side)); row < Math.min(this.rows, bottom / side); row++) {
      for (let column = Math.max(0, Math.floor(left / side)); column < Math.min(this.columns, right / side); column++) {
        yield [column, row];
      }
    }
  }
}

function newCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function halved(picture) {
  const canvas = newCanvas(Math.max(1, Math.ceil(picture.width / 2)), Math.max(1, Math.ceil(picture.height / 2)));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// A canvas whose pixels `fill(pixels, left, top, width, height)` writes as ABGR words.
function paintedWith(fill) {
  return (left, top, width, height) => {
    const canvas = newCanvas(width, height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    fill(new Uint32Array(image.data.buffer), left, top, width, height);
    context.putImageData(image, 0, 0);
    return canvas;
  };
}

const channels = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
const word = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

// ---- field -----------------------------------------------------------------------------------------------------

function fieldLayer() {
  const { width, height, step, columns: nColumns, rows, mime } = payload.field;
  const bitmaps = [];
  const paint = (left, top) => {
    const bitmap = bitmaps[(top / TILE_SIDE) * nColumns + left / TILE_SIDE];
    return bitmap && !levels.arePlain ? levelled(bitmap) : bitmap || null;
  };
  const load = async () => {
    for (let number = 0; number < rows * nColumns; number++) {
      bitmaps[number] = await createImageBitmap(new Blob([takeBytes(`field-${number}`)], { type: mime }));
    }
  };
  return { layer: new TileLayer({ width, height, step, paint }), load };
}

// Which part of the picture's range is shown, in per cent, and how light becomes grey in a single band.
const STRETCHES = { asinh: "asinh", log: "log", sqrt: "square root", linear: "linear" };
const levels = {
  stretch: "asinh", black: 0, white: 100,
  get arePlain() {
    return this.black === 0 && this.white === 100;
  },
  // A value of 0 to 1 between black and white: 0 to 255.
  byte(value) {
    const share = (100 * value - this.black) / Math.max(this.white - this.black, 1);
    return Math.round(255 * Math.max(0, Math.min(1, share)));
  },
};

function levelled(bitmap) {
  const canvas = newCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const bytes = Uint8Array.from({ length: 256 }, (_, value) => levels.byte(value / 255));
  image.data.forEach((value, at) => at % 4 < 3 && (image.data[at] = bytes[value]));
  context.putImageData(image, 0, 0);
  return canvas;
}

// One band in grey, from 2 sigma below the sky to where a pixel in a thousand is brighter.
function bandLayer({ name, softening }) {
  const codes = values.bands[name];
  const valueOf = (code) => softening * Math.sinh(code * payload.values.quantum);
  const every = Math.max(1, Math.floor(codes.length / 200000));
  const sample = Float64Array.from(codes.filter((code, at) => at % every === 0 && code !== NO_VALUE), valueOf).sort();
  const at = (share) => sample[Math.floor(share * (sample.length - 1))] ?? 0;
  const noise = Math.max(at(0.5) - at(0.1587), softening / 1000);
  const low = at(0.5) - 2 * noise;
  const range = Math.max(at(0.999) - low, 20 * noise);
  const stretch = {
    linear: (share) => share,
    sqrt: Math.sqrt,
    log: (share) => Math.log10(1 + 1000 * share) / Math.log10(1001),
    asinh: (share) => Math.asinh((share * range) / (3 * noise)) / Math.asinh(range / (3 * noise)),
  }[levels.stretch];
  const greys = new Uint32Array(65536);
  for (let code = -32767; code < 32768; code++) {
    const grey = levels.byte(stretch(Math.max(0, Math.min(1, (valueOf(code) - low) / range))));
    greys[code + 32768] = word(grey, grey, grey, 255);
  }
  greys[NO_VALUE + 32768] = word(64, 64, 64, 255);
  const height = Math.ceil(NY / values.step);
  return new TileLayer({
    width: values.width, height, step: values.step,
    paint: paintedWith((pixels, left, top, width, rows) => {
      for (let row = 0; row < rows; row++) {
        const from = (top + row) * values.width + left;
        for (let column = 0; column < width; column++) pixels[row * width + column] = greys[codes[from + column] + 32768];
      }
    }),
  });
}

// ---- classes and uncertainty -----------------------------------------------------------------------------------

const MISSING = 255;
const classmap = { planes: null, width: 0, height: 0, step: payload.classmap.step };
const RAMP = ["#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"];

async function loadClassmap() {
  classmap.planes = await unpack("classmap", payload.classmap.index);
  [classmap.height, classmap.width] = payload.classmap.index.entropy.shape;
}

// Value of a plane under a pixel; null outside, NaN where it has none.
function planeAt(name, full, x, y) {
  const place = placeIn(classmap, x, y);
  if (place < 0 || !classmap.planes) return null;
  const code = classmap.planes[name][place];
  return code === MISSING ? NaN : (code / 254) * full;
}

function placeIn({ width, step }, x, y) {
  const [u, v] = [Math.floor(x + 0.5), Math.floor(NY - y - 0.5)];
  if (u < 0 || v < 0 || u >= NX || v >= NY) return -1;
  return Math.floor(v / step) * width + Math.floor(u / step);
}

function classProbabilities(x, y) {
  const source = SOURCE_CLASSES.map((name) => planeAt(`p_${name}`, 1, x, y));
  if (source[0] === null) return null;
  return [...source, Math.max(0, 1 - source.reduce((a, b) => a + b, 0))];
}

const rampColors = Array.from({ length: 256 }, (_, code) => {
  const place = (Math.min(code, 254) / 254) * (RAMP.length - 1);
  const from = Math.min(RAMP.length - 2, Math.floor(place));
  const [a, b] = [channels(RAMP[from]), channels(RAMP[from + 1])];
  return a.map((value, k) => Math.round(value + (b[k] - value) * (place - from)));
});
const rampWords = Uint32Array.from(rampColors, (color, code) => (code === MISSING ? 0 : word(...color, 255)));

function planeLayer(name) {
  const plane = classmap.planes[name];
  return new TileLayer({
    ...classmap,
    paint: paintedWith((pixels, left, top, width, height) => {
      for (let row = 0; row < height; row++) {
        const from = (top + row) * classmap.width + left;
        for (let column = 0; column < width; column++) pixels[row * width + column] = rampWords[plane[from + column]];
      }
    }),
  });
}

// Colour of the most probable source class, whiter the closer the second comes; as opaque as a source is probable.
// Over black this is the colour that morpheus_lite.visualization.plots.colorize gives.
function classLayer() {
  const planes = SOURCE_CLASSES.map((name) => classmap.planes[`p_${name}`]);
  const colors = SOURCE_CLASSES.map((_, k) => channels(CLASS_COLORS[k]));
  return new TileLayer({
    ...classmap,
    paint: paintedWith((pixels, left, top, width, height) => {
      for (let row = 0; row < height; row++) {
        let from = (top + row) * classmap.width + left;
        for (let place = row * width; place < (row + 1) * width; place++, from++) {
          let [first, second, best, total] = [-1, -1, 0, 0];
          for (let k = 0; k < planes.length; k++) {
            const code = planes[k][from];
            total += code;
            if (code > first) [second, first, best] = [first, code, k];
            else if (code > second) second = code;
          }
          if (first === MISSING || total === 0) continue;
          const lead = (first - second) / 254;
          const [red, green, blue] = colors[best];
          const mixed = (value) => Math.round(255 - (255 - value) * lead);
          pixels[place] = word(mixed(red), mixed(green), mixed(blue), Math.min(255, Math.round((total * 255) / 254)));
        }
      }
    }),
  });
}

// ---- pixel values ----------------------------------------------------------------------------------------------

const NO_VALUE = -32768;
const values = { bands: null, step: payload.values.step, width: Math.ceil(NX / payload.values.step) };

async function loadValues() {
  values.bands = await unpack("values", payload.values.index);
}

function valuesAt(x, y) {
  const place = placeIn(values, x, y);
  if (place < 0 || !values.bands) return null;
  return payload.values.bands.map(({ name, unit, softening }) => {
    const code = values.bands[name][place];
    return { name, unit, value: code === NO_VALUE ? NaN : softening * Math.sinh(code * payload.values.quantum) };
  });
}
