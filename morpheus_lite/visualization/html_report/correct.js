// Corrections by hand: classes, false sources, joined and split ones. What is saved names sources by their labels and is
// bound to the image and the label map by their digests (morpheus_lite.io.corrections reads it).

const NO_SOURCE = CLASS_NAMES[CLASS_NAMES.length - 1]; // the class of a source that is none
const CLASS_KEYS = ["S", "D", "I", "T"]; // of SOURCE_CLASSES
const FALSE_TEXT = "no source";
const CAN_CORRECT = Boolean(payload.corrections && labelColumn);

// The corrections, without the page. An entry is what was said of one source, or of several that are one:
// { rows, kind, parts: [{ x, y, kind }] }, kind a class name or null.
class Corrections {
  constructor(onchange) {
    Object.assign(this, { entries: [], past: [], isSaved: true, onchange });
    this.index();
  }

  index() {
    this.byRow = new Map(this.entries.flatMap((entry) => entry.rows.map((row) => [row, entry])));
  }

  of(row) {
    return this.byRow.get(row) || null;
  }

  // Every change goes through here, so that every change can be taken back.
  change(act) {
    this.past.push(JSON.stringify(this.entries));
    act();
    this.entries = this.entries.filter(({ rows, kind, parts }) => rows.length > 1 || kind || parts.length);
    this.index();
    this.isSaved = false;
    this.onchange();
  }

  undo() {
    if (!this.past.length) return false;
    this.entries = JSON.parse(this.past.pop());
    this.index();
    this.isSaved = !this.entries.length;
    this.onchange();
    return true;
  }

  entryFor(row) {
    let entry = this.of(row);
    if (!entry) {
      entry = { rows: [row], kind: null, parts: [] };
      this.entries.push(entry);
      this.byRow.set(row, entry);
    }
    return entry;
  }

  // Class of a source, or of one part of a split one.
  setKind(row, kind, part = null) {
    this.change(() => {
      const entry = this.entryFor(row);
      if (part !== null) entry.parts[part].kind = kind;
      else if (kind === NO_SOURCE) Object.assign(entry, { kind, parts: [] });
      else if (entry.parts.length) entry.parts.forEach((each) => (each.kind = kind));
      else entry.kind = kind;
    });
  }

  join(row, other) {
    this.change(() => {
      const [entry, joined] = [this.entryFor(row), this.of(other) || { rows: [other] }];
      if (entry === joined) return;
      this.entries = this.entries.filter((each) => each !== joined);
      entry.rows = [...entry.rows, ...joined.rows];
      entry.parts = [];
      if (entry.kind === NO_SOURCE) entry.kind = null;
    });
  }

  // A pixel of a part: the source's pixels go to the part that they are nearest to.
  addPart(row, x, y) {
    this.change(() => {
      const entry = this.entryFor(row);
      if (entry.parts.some((part) => part.x === x && part.y === y)) return;
      entry.parts.push({ x, y, kind: entry.kind === NO_SOURCE ? null : entry.kind });
      entry.kind = null;
    });
  }

  removePart(row, part) {
    this.change(() => {
      const entry = this.of(row);
      const [gone] = entry.parts.splice(part, 1);
      if (entry.parts.length < 2) Object.assign(entry, { kind: (entry.parts[0] || gone).kind, parts: [] });
    });
  }

  clear(row) {
    if (this.of(row)) this.change(() => (this.entries = this.entries.filter((entry) => entry !== this.of(row))));
  }

  // What a table says of a row: its class, and what was done to it.
  kindOf(row) {
    const entry = this.of(row);
    if (!entry) return null;
    const kinds = new Set(entry.parts.map((part) => part.kind));
    return entry.parts.length ? (kinds.size === 1 ? [...kinds][0] : null) : entry.kind;
  }

  textOf(row, kindBefore) {
    const entry = this.of(row);
    if (!entry) return "";
    if (entry.kind === NO_SOURCE) return FALSE_TEXT;
    const words = [];
    const kind = this.kindOf(row);
    if (kind) words.push(kind === kindBefore ? "confirmed" : "class");
    if (entry.rows.length > 1) words.push("joined");
    if (entry.parts.length) words.push(entry.parts.length > 1 ? `split in ${entry.parts.length}` : "to be split");
    return words.join(", ");
  }

  get unfinished() {
    return this.entries.filter((entry) => entry.parts.length === 1);
  }

  toJson() {
    const sources = this.entries.map(({ rows, kind, parts }) => {
      const labels = rows.map((row) => Number(labelColumn.data[row]));
      return parts.length ? { labels, parts: parts.map((part) => ({ x: part.x, y: part.y, class: part.kind })) } : { labels, class: kind };
    });
    const header = JSON.stringify({ ...payload.corrections, saved: new Date().toISOString() }).slice(0, -1);
    return `${header},\n"sources": [\n${sources.map((source) => JSON.stringify(source)).join(",\n")}\n]}\n`;
  }

  // Throws an Error that says why a file cannot be taken.
  fromJson(text) {
    const fail = (message) => { throw new Error(message); };
    let file;
    try {
      file = JSON.parse(text);
    } catch {
      fail("This is not a file of corrections: it is not JSON.");
    }
    const own = payload.corrections;
    if (!file || file.format !== own.format) fail("This is not a file of corrections.");
    if (file.version !== own.version) fail(`The file has version ${file.version} of its format; this page reads ${own.version}.`);
    if (file.labels !== own.labels) fail(`The file corrects other sources${file.image ? ` (${file.image.name})` : ""}: its label map is not that of this page.`);
    const rowOf = new Map(Array.from(labelColumn.data, (label, row) => [Number(label), row]));
    const seen = new Set();
    const kindIn = (kind, known) => (kind == null ? null : known.includes(kind) ? kind : fail(`There is no class “${kind}”.`));
    if (!Array.isArray(file.sources)) fail("The file holds no list of sources.");
    const entries = file.sources.map((source) => {
      const rows = (source.labels || []).map((label) => rowOf.get(label) ?? fail(`There is no source ${label}.`));
      for (const row of rows) if (seen.size === seen.add(row).size) fail(`Source ${labelColumn.data[row]} is corrected twice.`);
      const parts = (source.parts || []).map(({ x, y, class: kind }) => {
        if (!Number.isInteger(x) || !Number.isInteger(y) || !rows.includes(rowAt(x, y))) fail(`x ${x}, y ${y} is not a pixel of source ${source.labels[0]}.`);
        return { x, y, kind: kindIn(kind, SOURCE_CLASSES) };
      });
      return { rows, kind: kindIn(source.class, CLASS_NAMES), parts };
    });
    this.change(() => (this.entries = entries));
    this.isSaved = true;
    this.onchange();
  }
}

// ---- columns of the page ---------------------------------------------------------------------------------------

const originalKinds = new Array(N_ROWS).fill("");
const classBefore = (row) => (SOURCE_CLASSES.includes(originalKinds[row]) ? originalKinds[row] : null);
let [certaintyColumn, correctionColumn] = [null, null];

// Two columns that the catalogue does not have: how certain its class is, and what was corrected.
function addPageColumns() {
  const shares = SOURCE_CLASSES.map((name) => findColumn(`p_${name}`)).filter((column) => column && !column.isText);
  if (shares.length > 1) {
    const data = Float32Array.from({ length: N_ROWS }, (_, row) => {
      const [second, first] = shares.map((column) => column.data[row]).sort((a, b) => a - b).slice(-2);
      return first - second;
    });
    certaintyColumn = pageColumn("certainty", { kind: "float", decimals: 3, data }, "lead of the most probable class over the second");
  }
  if (!CAN_CORRECT) return;
  correctionColumn = pageColumn("correction", { kind: "text", isText: true, values: [""], data: new Int32Array(N_ROWS) }, "what was corrected on this page");
  if (!classColumn || !classColumn.isText) return;
  for (let row = 0; row < N_ROWS; row++) originalKinds[row] = classColumn.values[classColumn.data[row]];
}

function pageColumn(name, properties, description) {
  const column = { name, unit: "", description, isOfPage: true, number: columns.length, ...properties };
  columns.push(column);
  return column;
}

// The columns of the table follow the corrections, and with them filters, sorting, colours and counts.
function showInColumns(corrections) {
  const setTexts = (column, texts) => {
    column.values = [...new Set(texts)].sort();
    const codes = new Map(column.values.map((text, code) => [text, code]));
    texts.forEach((text, row) => (column.data[row] = codes.get(text)));
  };
  const rows = [...originalKinds.keys()];
  setTexts(correctionColumn, rows.map((row) => corrections.textOf(row, originalKinds[row])));
  if (!classColumn || !classColumn.isText) return;
  const kindText = (row) => {
    const kind = corrections.kindOf(row);
    return kind === NO_SOURCE ? FALSE_TEXT : kind || originalKinds[row];
  };
  setTexts(classColumn, rows.map(kindText));
}

// ---- on the picture --------------------------------------------------------------------------------------------

function drawCorrections(context, view, corrections) {
  const dot = 4 * view.ratio;
  for (const entry of corrections.entries) {
    const places = entry.rows.map(placeOf).filter(Boolean).map(({ u, v }) => [view.toX(u), view.toY(v)]);
    if (!places.length) continue;
    const path = new Path2D();
    if (entry.kind === NO_SOURCE) {
      for (const [x, y] of places) {
        for (const side of [-1, 1]) {
          path.moveTo(x - 2 * dot, y - 2 * side * dot);
          path.lineTo(x + 2 * dot, y + 2 * side * dot);
        }
      }
    }
    if (places.length > 1) {
      path.moveTo(...places[0]);
      for (const place of places.slice(1)) path.lineTo(...place);
    }
    view.strokeTwice(context, path, 1.7 * view.ratio);
    if (!entry.parts.length) continue;
    context.save();
    context.setTransform(view.scale, 0, 0, view.scale, view.toX(0), view.toY(0));
    view.strokeTwice(context, divisionOf(entry), (1.7 * view.ratio) / view.scale);
    context.restore();
    for (const part of entry.parts) {
      const seed = new Path2D();
      seed.arc(view.toX(part.x + 0.5), view.toY(NY - part.y - 0.5), dot, 0, 2 * Math.PI);
      context.fillStyle = part.kind ? colorOfClass(CLASS_NAMES.indexOf(part.kind)) : "#fff";
      context.fill(seed);
      view.strokeTwice(context, seed, view.ratio);
    }
  }
}

const divisions = new WeakMap(); // entry -> the lines last drawn

function divisionOf(entry) {
  const key = JSON.stringify([entry.rows, entry.parts]);
  if (divisions.get(entry)?.key !== key) divisions.set(entry, { key, path: linesBetween(entry) });
  return divisions.get(entry).path;
}

// Where the parts of a split source meet, in (u, v).
function linesBetween({ rows, parts }) {
  const path = new Path2D();
  const boxes = rows.map(boxOf);
  const [left, top] = [0, 1].map((at) => Math.min(...boxes.map((box) => box[at])));
  const [right, bottom] = [2, 3].map((at) => Math.max(...boxes.map((box) => box[at])));
  const partAt = (u, v) => {
    const [x, y] = [u, NY - v - 1];
    if (!rows.includes(rowAt(x, y))) return -1;
    const distances = parts.map((part) => (x - part.x) ** 2 + (y - part.y) ** 2);
    return distances.indexOf(Math.min(...distances));
  };
  let above = [];
  for (let v = top; v < bottom; v++) {
    const line = [];
    for (let u = left; u < right; u++) {
      const part = partAt(u, v);
      line.push(part);
      if (part < 0) continue;
      const [before, over] = [line[u - left - 1] ?? -1, above[u - left] ?? -1];
      if (before >= 0 && before !== part) path.moveTo(u, v), path.lineTo(u, v + 1);
      if (over >= 0 && over !== part) path.moveTo(u, v), path.lineTo(u + 1, v);
    }
    above = line;
  }
  return path;
}

// ---- keys, buttons and files -----------------------------------------------------------------------------------

// Joins the corrections with the page: `app` has viewer, table, select and refresh.
class Corrector {
  constructor(app) {
    this.app = app;
    this.mode = null; // "join" or "split", of the selected source
    this.part = null; // which part of the selected source the next class is for
    this.corrections = new Corrections(() => this.changed());
    addEventListener("beforeunload", (event) => this.corrections.isSaved || event.preventDefault());
    $("correcting").hidden = false;
    $("unsure-first").hidden = !certaintyColumn;
    $("unsure-first").addEventListener("click", () => this.unsureFirst());
    $("save-corrections").addEventListener("click", () => this.save());
    $("load-corrections").addEventListener("click", () => $("corrections-file").click());
    $("corrections-file").addEventListener("change", (event) => this.load(event.target));
    this.showCount();
  }

  unsureFirst() {
    this.app.table.sortBy(certaintyColumn, false);
    if (this.app.table.rows.length) this.app.select(this.app.table.rows[0], "table");
    $("grid").focus();
  }

  // After a change: the table, the picture and the selected source.
  changed() {
    showInColumns(this.corrections);
    this.showCount();
    this.app.refresh();
  }

  showCount() {
    const n = this.corrections.entries.length;
    $("correction-count").textContent = n ? `${n.toLocaleString("en")} corrected${this.corrections.isSaved ? "" : ", not saved"}` : "";
    $("save-corrections").disabled = !n;
  }

  tell(text) {
    $("correction-message").textContent = text;
  }

  // Another source was selected.
  selected() {
    const left = this.corrections.unfinished[0];
    [this.mode, this.part, this.app.viewer.isPlacing] = [null, null, false];
    this.tell("");
    if (left) this.corrections.removePart(left.rows[0], 0);
  }

  get row() {
    return this.app.viewer.selected;
  }

  // True where the key was one of these.
  key(key) {
    const act = {
      x: () => this.say(NO_SOURCE), k: () => this.say(classBefore(this.row)), j: () => this.begin("join"), c: () => this.begin("split"),
      z: () => this.undo(), r: () => this.restore(),
      ...Object.fromEntries(CLASS_KEYS.map((name, k) => [name.toLowerCase(), () => this.say(SOURCE_CLASSES[k])])),
    }[key.toLowerCase()];
    if (key === "Escape" && this.mode) this.end();
    else if (key.toLowerCase() === "u" && certaintyColumn) this.unsureFirst();
    else if (!act || (this.row < 0 && key.toLowerCase() !== "z") || this.row >= N_ROWS) return false;
    else act();
    return true;
  }

  say(kind) {
    if (!kind) return;
    const { row, part } = this;
    const { rows } = this.app.table;
    const next = rows[rows.indexOf(row) + 1];
    this.corrections.setKind(row, kind, kind === NO_SOURCE ? null : part);
    if (part === null && $("go-on").checked && next !== undefined) this.app.select(next, "table");
  }

  restore() {
    this.end();
    this.corrections.clear(this.row);
  }

  // While a source is cut: its last part; cutting goes on.
  undo() {
    const isCutting = this.mode === "split";
    if (!isCutting) this.end();
    this.part = null; // what follows draws the buttons anew
    if (!this.corrections.undo()) this.tell("There is nothing to take back.");
    const n = this.corrections.of(this.row)?.parts.length;
    this.part = isCutting && n ? n - 1 : null;
    if (isCutting) this.app.showSelected();
  }

  begin(mode) {
    if (this.mode === mode) return this.end();
    [this.mode, this.part] = [mode, null];
    this.app.viewer.isPlacing = true;
    const act = mode === "join" ? "Click the source that is one with this" : "Click each part of the source";
    this.tell(`${act} (or Enter for the middle of the picture). Esc ends.`);
    this.app.showSelected();
  }

  end() {
    [this.mode, this.part, this.app.viewer.isPlacing] = [null, null, false];
    this.tell("");
    const left = this.corrections.unfinished[0];
    if (left) this.corrections.removePart(left.rows[0], 0);
    else this.app.showSelected();
  }

  // A place on the stage while joining or splitting; false where nothing of the kind is going on.
  pick(stageX, stageY) {
    if (!this.mode) return false;
    const place = this.app.viewer.pixelAt(stageX, stageY);
    const [x, y] = [place.x, place.y].map(Math.round);
    const there = rowAt(x, y);
    if (this.mode === "split") {
      const rows = this.corrections.of(this.row)?.rows || [this.row];
      if (!rows.includes(there)) this.tell("This is outside of the source. Click inside its outline; Esc ends.");
      else {
        this.corrections.addPart(this.row, x, y);
        this.part = this.corrections.of(this.row).parts.length - 1;
        this.tell(`${this.part + 1} part${this.part ? "s" : ": click the next"}. A class is for the last one. Esc ends.`);
        this.app.showSelected();
      }
    } else if (there < 0 || there >= N_ROWS || there === this.row) this.tell("There is no other source. Click one; Esc ends.");
    else {
      this.corrections.join(this.row, there);
      this.end();
    }
    return true;
  }

  save() {
    this.end();
    const name = payload.corrections.image.name.replace(/[^\w.-]+/g, "_").slice(0, 80) || "image";
    saveBlob(new Blob([this.corrections.toJson()], { type: "application/json" }), `${name}_corrections.json`);
    this.corrections.isSaved = true;
    this.showCount();
  }

  async load(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      this.corrections.fromJson(await file.text());
      this.tell(`${this.corrections.entries.length} corrections loaded.`);
    } catch (error) {
      this.tell(error.message);
    }
  }

  // Buttons for the selected source.
  box(row) {
    const entry = this.corrections.of(row);
    const kind = this.part === null ? this.corrections.kindOf(row) : entry.parts[this.part].kind;
    const button = (text, key, isPressed, act, ...before) => {
      const made = make("button", { type: "button", title: `Key ${key}`, "aria-pressed": String(isPressed), "aria-keyshortcuts": key }, ...before, text, make("kbd", {}, key));
      made.addEventListener("click", () => {
        act();
        $(this.mode ? "top" : "grid").focus(); // this button is gone, and the keys go on
      });
      return made;
    };
    const classes = SOURCE_CLASSES.map((name, k) => button(nameText(name), CLASS_KEYS[k], kind === name, () => this.say(name), swatch(CLASS_COLORS[k])));
    const acts = [
      button("class is right", "K", Boolean(kind) && kind === originalKinds[row], () => this.say(classBefore(row))),
      button(FALSE_TEXT, "X", kind === NO_SOURCE, () => this.say(NO_SOURCE)),
      button("join", "J", this.mode === "join", () => this.begin("join")),
      button("cut", "C", this.mode === "split", () => this.begin("split")),
      button("undo", "Z", false, () => this.undo()),
    ];
    if (!classBefore(row)) acts.shift();
    if (entry) acts.push(button("as it was", "R", false, () => this.restore()));
    const box = make("div", { id: "correct", role: "group", "aria-label": "Correct this source" }, make("div", { class: "line" }, ...classes), make("div", { class: "line" }, ...acts));
    if (entry) box.append(make("p", { class: "note", id: "corrected-as" }, this.describe(entry)));
    if (entry?.parts.length) box.append(this.partList(row, entry));
    return box;
  }

  describe({ rows, kind, parts }) {
    const words = [];
    if (kind === NO_SOURCE) words.push("Said to be no source.");
    else if (kind) words.push(`Said to be ${nameText(kind)}.`);
    if (rows.length > 1) words.push(`One source: ${rows.map((row) => labelColumn.data[row]).join(", ")}.`);
    if (parts.length) words.push(`Split in ${parts.length}, every pixel going to the nearest mark.`);
    return words.join(" ");
  }

  partList(row, { parts }) {
    const items = parts.map((part, at) => {
      const choice = make("select", { "aria-label": `Class of part ${at + 1}` }, ...[null, ...SOURCE_CLASSES].map((name) => make("option", { value: name || "", selected: part.kind === name }, name ? nameText(name) : "class not said")));
      choice.addEventListener("change", () => this.corrections.setKind(row, choice.value || null, at));
      const remove = make("button", { type: "button", "aria-label": `Take part ${at + 1} away` }, "×");
      remove.addEventListener("click", () => {
        this.part = null;
        this.corrections.removePart(row, at);
      });
      return make("li", {}, `x ${part.x}, y ${part.y} `, choice, remove);
    });
    return make("ol", { id: "parts" }, ...items);
  }
}
