// The page's data: unpacking, columns of the catalogue, and numbers as text.

const $ = (id) => document.getElementById(id);
const payload = JSON.parse($("payload").textContent);
const [NY, NX] = payload.shape;
const TYPES = {
  u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array, u4: Uint32Array, i4: Int32Array,
  f4: Float32Array, f8: Float64Array,
};

function bytesOfBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// The element goes once its text is taken: the largest hold tens of megabytes.
function takeBytes(name) {
  const element = $(`block-${name}`);
  const bytes = bytesOfBase64(element.textContent);
  element.remove();
  return bytes;
}

async function unpack(name, index) {
  const stream = new Blob([takeBytes(name)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const arrays = {};
  for (const [key, { dtype, shape, offset }] of Object.entries(index)) {
    const width = Number(dtype[1]);
    const n = shape.reduce((a, b) => a * b, 1);
    const plain = new Uint8Array(n * width);
    for (let k = 0; k < width; k++) {
      for (let i = 0, from = offset + k * n, to = k; i < n; i++, from++, to += width) plain[to] = bytes[from];
    }
    arrays[key] = new TYPES[dtype](plain.buffer);
  }
  return arrays;
}

// ---- catalogue -------------------------------------------------------------------------------------------------

const columns = payload.table.columns;
const N_ROWS = payload.table.n_rows;

function findColumn(...names) {
  for (const name of names) {
    const found = columns.findIndex((column) => column.name.toLowerCase() === name);
    if (found >= 0) return columns[found];
  }
  return null;
}

function prepareColumns(arrays) {
  columns.forEach((column, number) => {
    column.number = number;
    column.data = arrays[number];
    column.decimals = column.kind === "float" ? decimalsOf(column) : 0;
    column.isText = column.kind === "text";
    column.isFlags = column.name.toLowerCase() === "flags" && column.kind === "int";
  });
}

function decimalsOf(column) {
  const name = column.name.toLowerCase();
  if (/^(ra|dec)(_|\.|$)/.test(name) && !/err/.test(name)) return 6;
  if (/^p_/.test(name)) return 3;
  const sizes = Array.from(column.data.filter((value) => Number.isFinite(value) && value !== 0), Math.abs).sort((a, b) => a - b);
  if (!sizes.length) return 2;
  const [low, middle, high] = [0.1, 0.5, 0.9].map((share) => sizes[Math.floor(share * (sizes.length - 1))]);
  if (high / low > 1e4 || middle < 1e-4 || high >= 1e7) return null; // no common number of decimals serves
  if (/^[xy](_|$)/.test(name)) return 2;
  if (sizes.every(Number.isInteger)) return 0;
  return Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(middle))));
}

function numberText(value, digits = 4) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(digits - 1).replace("e+", "e").replaceAll("-", "−");
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(places, 8)).replace("-", "−");
}

function cellText(column, row) {
  const value = column.data[row];
  if (column.isText) return column.values[value];
  if (column.kind === "bool") return value ? "yes" : "no";
  if (column.kind === "int") return String(value);
  if (!Number.isFinite(value)) return "–";
  return column.decimals === null ? numberText(value) : value.toFixed(column.decimals).replace("-", "−");
}

function flagNames(value) {
  return Object.entries(payload.flags).filter(([bit]) => value & Number(bit)).map(([, name]) => name);
}

const labelColumn = findColumn("label");
const classColumn = findColumn("morphology", "class", "morphology_class", "top_class");
const xColumn = findColumn("x_centroid", "x", "xcentroid");
const yColumn = findColumn("y_centroid", "y", "ycentroid");
const CLASS_NAMES = payload.classes;
const SOURCE_CLASSES = CLASS_NAMES.slice(0, -1);
const CLASS_COLORS = []; // of the source classes, in the palette chosen
const OTHER_COLOR = "#9aa4ae";
const nameText = (name) => name.replaceAll("_", " ");

function choosePalette(name) {
  CLASS_COLORS.splice(0, Infinity, ...payload.palettes[name]);
}
choosePalette(Object.keys(payload.palettes)[0]);

const [UNCERTAIN, OTHER] = [-1, -2]; // kinds of sources without a class: none is probable enough, or nothing is known

// Index into CLASS_NAMES of a row's class, UNCERTAIN or OTHER.
function classOf(row) {
  const name = classColumn && classColumn.isText ? classColumn.values[classColumn.data[row]] : "";
  return name === "uncertain" ? UNCERTAIN : CLASS_NAMES.includes(name) ? CLASS_NAMES.indexOf(name) : OTHER;
}
const colorOfClass = (index) => CLASS_COLORS[index] || OTHER_COLOR;

// ---- elements --------------------------------------------------------------------------------------------------

// Texts only ever become text nodes: nothing of the data is read as markup.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function swatch(color) {
  const element = make("span", { class: "swatch" });
  element.style.background = color;
  return element;
}

function meter(share, color, text) {
  const bar = make("i");
  bar.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  bar.style.background = color;
  return make("div", { class: "meter" }, bar, make("b", {}, text));
}

function saveBlob(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const fileStem = payload.title.replace(/[^\w.-]+/g, "_").slice(0, 80) || "report";
