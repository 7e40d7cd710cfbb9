"use strict";
const survey = JSON.parse(document.getElementById("survey").textContent);
const tiles = survey.tiles;
const classes = Object.keys(survey.colours);

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
const number = (value, digits = 3) => value === null || value === undefined || !isFinite(value) ? "–"
  : Math.abs(value) >= 1e5 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(digits)).toString();
const words = (name) => name.replaceAll("_", " ");

function show_facts() {
  const t = survey.totals, merged = survey.merged;
  document.getElementById("made").textContent = `${survey.software}, ${survey.made}`;
  const area = tiles.reduce((sum, tile) => sum + (tile.area || 0), 0);
  const facts = {
    "tiles done": `${t.done} of ${t.tiles}`, "failed": t.failed, "megapixels": number(t.n_pixels / 1e6, 4),
    "square arcmin": area ? number(area, 4) : "–", "rows of tiles": t.n_sources.toLocaleString("en"),
    "sources, each once": merged ? merged.n_rows.toLocaleString("en") : "–",
    "rows left out": merged ? merged.n_duplicates.toLocaleString("en") : "–",
    "hours of work": number(t.tile_seconds / 3600), "seconds of this run": number(t.seconds),
  };
  for (const name of classes) facts[`rows: ${words(name)}`] = (survey.classes[name] || 0).toLocaleString("en");
  const list = document.getElementById("facts");
  for (const [key, value] of Object.entries(facts)) {
    const item = element("div");
    item.append(element("dt", key), element("dd", value));
    list.append(item);
  }
}

function show_list(id, items, say) {
  const section = document.getElementById(id);
  section.hidden = !items.length;
  for (const item of items.slice(0, 1000)) section.append(say(item));
  if (items.length > 1000) section.append(element("p", `and ${items.length - 1000} more, in report.json`));
}

function show_failed() {
  show_list("failed", survey.failed, (one) => {
    const details = element("details"), summary = element("summary");
    summary.append(element("b", one.tile), ` ${one.error}`);
    details.append(summary, element("pre", one.log || "(no log)"));
    return details;
  });
  const line = (name, texts) => { const made = element("p"); made.append(element("b", name), ` ${texts.join("; ")}`); return made; };
  show_list("warned", survey.warned, (one) => line(one.tile, one.warnings));
  show_list("outliers", tiles.filter((tile) => tile.outlier.length), (tile) => line(tile.name, tile.outlier));
  const large = survey.merged ? survey.merged.larger_than_overlap : [];
  show_list("large", large, (one) => element("p",
    `${one.tile}: RA ${one.ra.toFixed(5)}, Dec ${one.dec.toFixed(5)} needs an overlap of ${number(one.needed)} arcsec`));
}

const bands = [...new Set(tiles.flatMap((tile) => Object.keys(tile.depth)))];
const quantities = {
  "sources": (tile) => tile.n_sources,
  "sources per square arcmin": (tile) => tile.area ? tile.n_sources / tile.area : null,
  ...Object.fromEntries(bands.map((band) => [`depth in ${band} (5 sigma, AB)`, (tile) => tile.depth[band]])),
  ...Object.fromEntries(classes.map((name) => [`share of ${words(name)}`, (tile) => tile.n_sources ? tile.classes[name] / tile.n_sources : null])),
  "valid pixels (share)": (tile) => tile.valid_share,
  "seconds": (tile) => tile.seconds,
  "peak memory (GB)": (tile) => tile.peak_memory / 1e9,
};

function projected() {
  // Gnomonic about the mean direction; of surveys wider than 90 degrees, plain coordinates.
  const placed = tiles.filter((tile) => tile.corners);
  const rad = Math.PI / 180, sum = [0, 0, 0];
  for (const tile of placed) for (const [ra, dec] of tile.corners) {
    sum[0] += Math.cos(dec * rad) * Math.cos(ra * rad); sum[1] += Math.cos(dec * rad) * Math.sin(ra * rad); sum[2] += Math.sin(dec * rad);
  }
  const ra0 = Math.atan2(sum[1], sum[0]), dec0 = Math.atan2(sum[2], Math.hypot(sum[0], sum[1]));
  const project = ([ra, dec]) => {
    const a = ra * rad - ra0, d = dec * rad;
    const depth = Math.sin(dec0) * Math.sin(d) + Math.cos(dec0) * Math.cos(d) * Math.cos(a);
    return [-Math.cos(d) * Math.sin(a) / depth, -(Math.cos(dec0) * Math.sin(d) - Math.sin(dec0) * Math.cos(d) * Math.cos(a)) / depth, depth];
  };
  let shapes = placed.map((tile) => tile.corners.map(project));
  if (shapes.some((shape) => shape.some((point) => point[2] < 0.7))) shapes = placed.map((tile) => tile.corners.map(([ra, dec]) => [-ra, -dec]));
  return placed.map((tile, k) => ({ tile, shape: shapes[k] }));
}

function draw_map(shapes) {
  const canvas = document.getElementById("map"), ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
  const context = canvas.getContext("2d"), value = quantities[document.getElementById("quantity").value];
  const points = shapes.flatMap((one) => one.shape), edge = (k, pick) => points.reduce((best, point) => pick(best, point[k]), points[0][k]);
  const [left, right, top, bottom] = [edge(0, Math.min), edge(0, Math.max), edge(1, Math.min), edge(1, Math.max)];
  const scale = 0.94 * Math.min(canvas.width / (right - left || 1), canvas.height / (bottom - top || 1));
  const at = (point) => [canvas.width / 2 + (point[0] - (left + right) / 2) * scale, canvas.height / 2 + (point[1] - (top + bottom) / 2) * scale];
  const known = shapes.map((one) => value(one.tile)).filter((x) => x !== null && x !== undefined && isFinite(x)).sort((a, b) => a - b);
  const low = known[Math.floor(known.length * 0.02)] ?? 0, high = known[Math.ceil(known.length * 0.98) - 1] ?? 1;
  document.getElementById("scale").textContent = known.length ? `dark ${number(low)} … light ${number(high)}; outlined: stands out` : "not known";
  context.clearRect(0, 0, canvas.width, canvas.height);
  const paths = shapes.map(({ tile, shape }) => {
    const path = new Path2D(), x = value(tile), share = Math.min(1, Math.max(0, (x - low) / (high - low || 1)));
    shape.forEach((point, k) => k ? path.lineTo(...at(point)) : path.moveTo(...at(point)));
    path.closePath();
    context.fillStyle = x === null || x === undefined || !isFinite(x) ? "#8888" : `hsl(${260 - 200 * share} 70% ${25 + 45 * share}% / .8)`;
    context.fill(path);
    return path;
  });
  // After all others, which would lie over them.
  context.strokeStyle = "#d9480f"; context.lineWidth = 2 * ratio;
  shapes.forEach(({ tile }, k) => { if (tile.outlier.length) context.stroke(paths[k]); });
  canvas.onmousemove = (event) => {
    const box = canvas.getBoundingClientRect(), [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const k = paths.findLastIndex((path) => context.isPointInPath(path, x, y));
    const tile = k < 0 ? null : shapes[k].tile;
    document.getElementById("tip").textContent = tile ? `${tile.name}: ${document.getElementById("quantity").value} ${number(value(tile))}` : "";
  };
}

function show_map() {
  const shapes = projected(), choice = document.getElementById("quantity");
  if (!shapes.length) { document.getElementById("place").hidden = true; return; }
  for (const name of Object.keys(quantities)) choice.append(element("option", name));
  choice.onchange = () => draw_map(shapes);
  window.addEventListener("resize", () => draw_map(shapes));
  draw_map(shapes);
}

function show_counts() {
  const rows = classes.map((name) => survey.magnitudes[name]).filter(Boolean);
  if (!rows.length) { document.getElementById("counts").hidden = true; return; }
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg"), n = rows[0].length;
  const total = rows[0].map((_, k) => rows.reduce((sum, row) => sum + row[k], 0)), highest = Math.max(...total, 1);
  svg.setAttribute("viewBox", `0 0 ${n * 40} 260`); svg.setAttribute("width", n * 40);
  const put = (name, attributes, text) => {
    const made = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
    return made;
  };
  for (let k = 0; k < n; k++) {
    let y = 220;
    for (const name of classes) {
      const height = 190 * (survey.magnitudes[name]?.[k] ?? 0) / highest;
      y -= height;
      put("rect", { x: k * 40 + 4, y, width: 32, height, fill: survey.colours[name] }).append(
        Object.assign(document.createElementNS(space, "title"), { textContent: `${words(name)}: ${survey.magnitudes[name]?.[k] ?? 0}` }));
    }
    put("text", { x: k * 40 + 20, y: 236, "text-anchor": "middle" }, survey.magnitudes.brightest + k);
    if (total[k]) put("text", { x: k * 40 + 20, y: y - 4, "text-anchor": "middle" }, total[k]);
  }
  put("text", { x: 4, y: 254 }, "AB magnitude in the detection band, bins of 1; rows of all tiles");
  const key = element("p");
  for (const name of classes) { const mark = element("span", "■ ", { style: `color:${survey.colours[name]}` }); key.append(mark, `${words(name)}  `); }
  document.getElementById("bars").append(svg, key);
}

function show_tiles() {
  const columns = {
    "tile": (t) => t.name, "sources": (t) => t.n_sources, "per sq. arcmin": (t) => t.area ? t.n_sources / t.area : null,
    ...Object.fromEntries(classes.map((name) => [words(name), (t) => t.classes[name]])),
    ...Object.fromEntries(bands.map((band) => [`depth ${band}`, (t) => t.depth[band]])),
    "cut by edge": (t) => t.n_cut, "valid": (t) => t.valid_share, "seconds": (t) => t.seconds, "GB": (t) => t.peak_memory / 1e9,
  };
  const table = element("table"), head = element("tr"), body = element("tbody"), more = element("button", "Show more", { class: "more", type: "button" });
  let order = tiles.slice(), shown = 200, last = null;
  const fill = () => {
    body.replaceChildren(...order.slice(0, shown).map((tile) => {
      const row = element("tr");
      for (const value of Object.values(columns)) { const x = value(tile); row.append(element("td", typeof x === "string" ? x : number(x, 4))); }
      if (tile.outlier.length) row.classList.add("warn");
      return row;
    }));
    more.hidden = shown >= order.length;
  };
  for (const [name, value] of Object.entries(columns)) {
    const cell = element("th"), button = element("button", name, { type: "button" });
    button.onclick = () => {
      const up = last === name; last = up ? null : name;
      order.sort((a, b) => { const [x, y] = [value(a), value(b)]; return (x === null || x === undefined) - (y === null || y === undefined) || (x < y ? -1 : x > y ? 1 : 0) * (up || typeof x === "string" ? 1 : -1); });
      fill();
    };
    cell.append(button); head.append(cell);
  }
  more.onclick = () => { shown += 1000; fill(); };
  table.append(element("thead")); table.tHead.append(head); table.append(body);
  document.getElementById("tiles").append(table, more);
  fill();
}

show_facts(); show_failed(); show_map(); show_counts(); show_tiles();
document.documentElement.dataset.state = "ready";
