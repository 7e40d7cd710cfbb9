// Layer control, legend, read-out, the selected source, and what is told of the run.

// ---- layers ----------------------------------------------------------------------------------------------------

// entries: { name, key, isOn, opacity, variants: [{ label, ...}] , chosen }
function buildLayerControl(entries, changed, recolored) {
  const list = $("layer-list");
  for (const entry of entries) {
    entry.box = make("input", { type: "checkbox", checked: entry.isOn, id: `layer-${entry.id}` });
    entry.box.addEventListener("change", () => {
      entry.isOn = entry.box.checked;
      changed(entry);
    });
    const label = make("label", { title: `Key ${entry.key}` }, entry.box, entry.name);
    const choice = make("select", { "aria-label": `What ${entry.name} shows`, id: `variant-${entry.id}`, hidden: entry.variants.length < 2 },
      ...entry.variants.map((variant, at) => make("option", { value: at }, variant.label)));
    choice.addEventListener("change", () => {
      entry.chosen = Number(choice.value);
      entry.isOn = entry.box.checked = true;
      changed(entry);
    });
    const slider = make("input", { type: "range", min: 0, max: 100, value: Math.round(100 * entry.opacity), "aria-label": `Opacity of ${entry.name}`, id: `opacity-${entry.id}` });
    slider.addEventListener("input", () => {
      entry.opacity = Number(slider.value) / 100;
      changed(entry);
    });
    list.append(make("span", {}, label, choice, slider, ...(entry.controls || [])));
  }
  const palette = make("select", { "aria-label": "Colours of the classes", id: "palette" },
    ...Object.keys(payload.palettes).map((name) => make("option", { value: name }, name)));
  palette.addEventListener("change", () => {
    choosePalette(palette.value);
    recolored();
  });
  list.append(make("span", {}, "Colours", palette));
}

function showLegend(entries) {
  const isOn = (id) => entries.some((entry) => entry.id === id && entry.isOn);
  const parts = [];
  if (isOn("classes") || isOn("outlines") || isOn("segments")) {
    const kinds = sourceKinds().filter((kind) => kind >= 0 || (kind === UNCERTAIN && (isOn("outlines") || isOn("segments"))));
    parts.push(make("div", { class: "classes" }, ...kinds.map((kind) => make("span", {}, swatch(colorOfClass(kind)), kindName(kind)))));
  }
  for (const entry of entries.filter((each) => each.isOn)) {
    const { full, about } = entry.variants[entry.chosen];
    if (full) parts.push(ramp(full, about));
  }
  $("legend").replaceChildren(...parts);
}

function ramp(full, about) {
  const canvas = newCanvas(255, 1);
  const context = canvas.getContext("2d");
  rampColors.slice(0, 255).forEach((color, x) => {
    context.fillStyle = `rgb(${color.join(" ")})`;
    context.fillRect(x, 0, 1, 1);
  });
  return make("div", { class: "ramp" }, "0", canvas, `${full}  ${about}`);
}

// ---- read-out --------------------------------------------------------------------------------------------------

function showReadout(x, y, where) {
  const isInside = x >= -0.5 && y >= -0.5 && x < NX - 0.5 && y < NY - 0.5;
  const place = isInside ? skyAt(x, y) : null;
  $("at-pixel").replaceChildren(isInside ? `x ${x.toFixed(1)}   y ${y.toFixed(1)}  px` : "outside the image", make("small", {}, ` ${where}`));
  $("at-sky").replaceChildren();
  if (place) {
    $("at-sky").append(skyText(place), make("br"), `${place.ra.toFixed(6)}  ${place.dec.toFixed(6)}°`.replace("-", "−"));
  } else if (isInside) $("at-sky").textContent = payload.sky ? "off the sky" : "no WCS";
  const row = isInside ? rowAt(x, y) : -1;
  $("at-source").textContent = row < 0 ? "" : row === N_ROWS ? "a segment that is not in the table" : sourceTitle(row);
  const pairs = (entries) => entries.flatMap(([name, content]) => [make("dt", {}, name), make("dd", {}, content)]);
  const measured = (isInside && valuesAt(x, y)) || [];
  $("at-values").replaceChildren(...pairs(measured.map(({ name, unit, value }) => [name, `${Number.isNaN(value) ? "not usable" : numberText(value)} ${unit || ""}`])));
  const shares = isInside ? classProbabilities(x, y) : null;
  $("at-classes").replaceChildren(...pairs((shares || []).map((share, k) => [
    nameText(CLASS_NAMES[k]),
    Number.isNaN(share) ? "not classified" : meter(share, CLASS_COLORS[k] || "var(--bar)", share.toFixed(2)),
  ])));
}

function sourceTitle(row) {
  const label = labelColumn ? cellText(labelColumn, row) : row + 1;
  const kind = classColumn ? nameText(cellText(classColumn, row)) : "";
  return `source ${label}${kind ? `: ${kind}` : ""}`;
}

// ---- selected source -------------------------------------------------------------------------------------------

// Links, and no more than links: nothing is asked of a server before somebody clicks.
function linksOut(row) {
  const place = placeOf(row);
  const at = place && skyAt(place.u - 0.5, NY - place.v - 0.5);
  if (!at) return [];
  const position = encodeURIComponent(`${at.ra.toFixed(6)} ${at.dec < 0 ? "" : "+"}${at.dec.toFixed(6)}`);
  const places = [
    ["Aladin Lite", `https://aladin.cds.unistra.fr/AladinLite/?target=${position}&fov=0.01`],
    ["SIMBAD", `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${position}&CooFrame=ICRS&Radius=5&Radius.unit=arcsec`],
  ];
  return places.map(([name, href]) => make("a", { href, target: "_blank", rel: "noopener noreferrer", title: `Open ${name} at this position` }, `${name} ↗`));
}

function showDetails(row, onclose, ...first) {
  const panel = $("details");
  panel.hidden = row < 0;
  if (row < 0) return;
  const close = make("button", { type: "button", "aria-label": "Close", onclick: onclose }, "×");
  const bars = make("dl", { class: "bars" });
  SOURCE_CLASSES.forEach((name, k) => {
    const column = findColumn(`p_${name}`);
    if (!column || column.isText) return;
    const share = column.data[row];
    bars.append(make("dt", {}, nameText(name)), make("dd", {}, meter(share, CLASS_COLORS[k], Number.isNaN(share) ? "–" : share.toFixed(2))));
  });
  const light = brightnessColumns();
  const pairs = make("dl", { class: "pairs" }, ...[...light, ...columns.filter((column) => !light.includes(column))].map((column) => {
    let text = cellText(column, row);
    if (column.isFlags) text += ` ${flagNames(column.data[row]).map(nameText).join(", ")}`;
    else if (column.unit && text !== "–") text += ` ${column.unit}`;
    return make("div", { class: "pair", title: column.description }, make("dt", {}, column.name), make("dd", {}, text));
  }));
  panel.replaceChildren(make("div", { class: "line" }, make("h2", {}, sourceTitle(row)), make("span", { class: "links" }, ...linksOut(row)), close), ...first, bars, pairs);
  panel.scrollTop = 0;
}

// ---- run -------------------------------------------------------------------------------------------------------

function buildRunPanel(panel) {
  const { warnings = [], timings, ...rest } = payload.run;
  const notes = [].concat(warnings).map(String).filter(Boolean);
  if (notes.length) {
    panel.append(make("h2", {}, "Warnings"), make("ul", { class: "warnings" }, ...notes.map((text) => make("li", {}, text))));
    $("tab-run").append(make("span", { class: "badge", title: "warnings" }, String(notes.length)));
  }
  if (timings && typeof timings === "object") panel.append(make("h2", {}, "Time"), timingTable(timings));
  panel.append(make("h2", {}, "Run"), nested({ ...rest, "written by": `morpheus_lite ${payload.version}`, "written at": payload.created }));
  panel.append(make("h2", {}, "Image"), bandTable(), nested(payload.image));
  panel.append(make("h2", {}, "About this page"), ...pageNotes().map((text) => make("p", { class: "note" }, text)));
}

function timingTable(timings) {
  const entries = Object.entries(timings).filter(([, seconds]) => typeof seconds === "number");
  const total = entries.reduce((sum, [, seconds]) => sum + seconds, 0);
  const rows = entries.map(([stage, seconds]) => make("tr", {}, make("td", {}, stage), make("td", { class: "number" }, `${seconds.toFixed(2)} s`), make("td", { width: 200 }, meter(total ? seconds / total : 0, "var(--bar)", `${total ? Math.round((100 * seconds) / total) : 0} %`))));
  rows.push(make("tr", {}, make("th", {}, "total"), make("td", { class: "number" }, `${total.toFixed(2)} s`), make("td")));
  return make("table", { class: "plain", id: "timings" }, make("tbody", {}, ...rows));
}

function bandTable() {
  const rows = payload.bands.map(({ name, unit, zero_point: zero }) => make("tr", {}, make("td", {}, name), make("td", {}, unit || "unknown"), make("td", {}, zero === null ? "unknown" : numberText(zero, 6))));
  return make("table", { class: "plain" }, make("thead", {}, make("tr", {}, ...["Band", "Unit", "AB zero-point"].map((text) => make("th", {}, text)))), make("tbody", {}, ...rows));
}

function nested(value) {
  if (value === null || typeof value !== "object") return value === null || value === "" ? "–" : String(value);
  if (Array.isArray(value) && value.every((item) => item === null || typeof item !== "object")) return value.join(", ") || "–";
  const entries = Array.isArray(value) ? value.map((item, at) => [at + 1, item]) : Object.entries(value);
  return make("dl", {}, ...entries.map(([key, item]) => {
    const isBranch = item !== null && typeof item === "object" && Object.keys(item).length && !(Array.isArray(item) && item.every((each) => each === null || typeof each !== "object"));
    return make("div", isBranch ? {} : { class: "pair" }, make("dt", {}, String(key)), make("dd", {}, nested(item)));
  }));
}

function pageNotes() {
  const each = (step) => (step > 1 ? `as means of ${step} × ${step} pixels` : "pixel by pixel");
  const { field, classmap: maps, values: pixels } = payload;
  const notes = [
    `The image has ${NX.toLocaleString("en")} × ${NY.toLocaleString("en")} pixels and is drawn with y upwards; pixel (0, 0) is centred in the lower left corner.`,
    `This page holds the field ${each(field.step)} (${field.mime === "image/png" ? "lossless" : "JPEG"}), class probabilities and uncertainty ${each(maps.step)} in steps of 1/254, pixel values ${each(pixels.step)} in steps of a quarter of the noise on the sky and of 0.5 % where they are bright, and segments pixel by pixel.`,
    payload.sky
      ? `Sky positions (ICRS) are interpolated on a grid; measured against the WCS they are good to ${payload.sky.max_error < 0.001 ? "better than 0.001" : payload.sky.max_error.toFixed(3)} pixels. One pixel at the centre is ${numberText(payload.sky.pixel_scale)}″.`
      : "The image has no celestial WCS, so there are no sky positions.",
    `${(100 * payload.invalid_fraction).toFixed(2)} % of the pixels were not usable; ${(100 * payload.unclassified_fraction).toFixed(2)} % have no class.`,
    "Class map: colour of the most probable source class by mean probability, whiter the closer the second; as opaque as a source is probable. “legible” colours stay apart for colour-blind readers; “paper” are those of Hausen & Robertson (2020).",
    "Numbers of the table are held in single precision, positions in double; the catalogue file has them all in full.",
  ];
  if (!payload.corrections) notes.push("Sources cannot be corrected here, since this page holds means of blocks of pixels; a report of a part of the image can.");
  if (payload.table.left_out.length) notes.push(`Columns that a flat table cannot show: ${payload.table.left_out.join(", ")}.`);
  return notes;
}
