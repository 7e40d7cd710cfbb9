// Sky positions: unit vectors on a coarse grid, interpolated linearly and normalised.

const sky = { vectors: null, n: 0 };
const DEGREE = Math.PI / 180;

async function loadSky() {
  if (!payload.sky) return;
  sky.vectors = (await unpack("sky", payload.sky.index)).vectors;
  sky.n = payload.sky.index.vectors.shape[0];
}

// ICRS unit vector of a pixel position (0-based, pixel centres whole); null off the sky.
function vectorAt(x, y) {
  if (!sky.vectors) return null;
  const n = sky.n;
  const column = ((x + 0.5) / NX) * (n - 1);
  const row = ((y + 0.5) / NY) * (n - 1);
  const i = Math.max(0, Math.min(n - 2, Math.floor(column)));
  const j = Math.max(0, Math.min(n - 2, Math.floor(row)));
  const s = column - i;
  const t = row - j;
  const vector = [0, 1, 2].map((k) => {
    const at = (jj, ii) => sky.vectors[3 * (jj * n + ii) + k];
    return (at(j, i) * (1 - s) + at(j, i + 1) * s) * (1 - t) + (at(j + 1, i) * (1 - s) + at(j + 1, i + 1) * s) * t;
  });
  const length = Math.hypot(...vector);
  return Number.isFinite(length) && length > 0 ? vector.map((value) => value / length) : null;
}

// Right ascension and declination in degrees; null off the sky.
function skyAt(x, y) {
  const vector = vectorAt(x, y);
  if (!vector) return null;
  const ra = Math.atan2(vector[1], vector[0]) / DEGREE;
  return { ra: (ra + 360) % 360, dec: Math.atan2(vector[2], Math.hypot(vector[0], vector[1])) / DEGREE };
}

// Pixel position of a place on the sky, by Newton's method from the nearest node; null where it does not converge.
function pixelOf(ra, dec) {
  if (!sky.vectors) return null;
  const wanted = [
    Math.cos(dec * DEGREE) * Math.cos(ra * DEGREE), Math.cos(dec * DEGREE) * Math.sin(ra * DEGREE), Math.sin(dec * DEGREE),
  ];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  let best = -2;
  let [x, y] = [0, 0];
  for (let j = 0; j < sky.n; j++) {
    for (let i = 0; i < sky.n; i++) {
      const closeness = dot(sky.vectors.subarray(3 * (j * sky.n + i), 3 * (j * sky.n + i) + 3), wanted);
      if (closeness > best) [best, x, y] = [closeness, (i / (sky.n - 1)) * NX - 0.5, (j / (sky.n - 1)) * NY - 0.5];
    }
  }
  for (let round = 0; round < 20; round++) {
    const [here, right, up] = [vectorAt(x, y), vectorAt(x + 1, y), vectorAt(x, y + 1)];
    if (!here || !right || !up) return null;
    const difference = (a, b) => a.map((value, k) => value - b[k]);
    const [d, a, b] = [difference(wanted, here), difference(right, here), difference(up, here)];
    const [aa, ab, bb, ad, bd] = [dot(a, a), dot(a, b), dot(b, b), dot(a, d), dot(b, d)];
    const determinant = aa * bb - ab * ab;
    const [dx, dy] = [(ad * bb - bd * ab) / determinant, (bd * aa - ad * ab) / determinant];
    if (!Number.isFinite(dx + dy)) return null;
    x += dx;
    y += dy;
    if (Math.hypot(dx, dy) < 1e-4) return x > -1 && x < NX && y > -1 && y < NY ? { x, y } : null;
  }
  return null;
}

function sexagesimal(degrees, perUnit, decimals, signed) {
  const unit = 3600 * 10 ** decimals;
  let whole = Math.round((Math.abs(degrees) / perUnit) * unit);
  if (!signed) whole %= 24 * unit;
  const seconds = (whole % (60 * 10 ** decimals)) / 10 ** decimals;
  const minutes = Math.floor(whole / (60 * 10 ** decimals)) % 60;
  const pad = (value, width, places = 0) => value.toFixed(places).padStart(width, "0");
  const sign = signed ? (degrees < 0 ? "−" : "+") : "";
  return `${sign}${pad(Math.floor(whole / unit), 2)}:${pad(minutes, 2)}:${pad(seconds, 3 + decimals, decimals)}`;
}

function skyText({ ra, dec }) {
  return `${sexagesimal(ra, 15, 3, false)} ${sexagesimal(dec, 1, 2, true)}`;
}

// Directions of North and East at a pixel, as unit steps in (u, v) = (right, down) on the picture; null without a sky.
function compassAt(x, y) {
  const [here, right, up] = [vectorAt(x, y), vectorAt(x + 1, y), vectorAt(x, y + 1)];
  if (!here || !right || !up) return null;
  const horizontal = Math.hypot(here[0], here[1]);
  if (horizontal < 1e-9) return null;
  const east = [-here[1] / horizontal, here[0] / horizontal, 0];
  const north = [-here[2] * east[1], here[2] * east[0], horizontal];
  const along = (step, axis) => step.reduce((sum, value, k) => sum + (value - here[k]) * axis[k], 0);
  const [a, b, c, d] = [along(right, east), along(up, east), along(right, north), along(up, north)];
  const determinant = a * d - b * c;
  const direction = (e, n) => {
    const [dx, dy] = [(d * e - b * n) / determinant, (a * n - c * e) / determinant];
    const length = Math.hypot(dx, dy);
    return [dx / length, -dy / length];
  };
  return { north: direction(0, 1), east: direction(1, 0) };
}
