// The catalogue: only the rows in sight are in the document, so that ten thousand cost what thirty do.

const ROW_HEIGHT = 26;

class SourceTable {
  constructor(grid, { onselect, onopen, onsort, onkey }) {
    Object.assign(this, { grid, onselect, onopen, onsort, onkey });
    this.order = Uint32Array.from({ length: N_ROWS }, (_, row) => row); // all rows, sorted
    this.rows = this.order; // those shown
    this.sort = { column: null, isDown: false };
    this.selected = -1;
    this.startWithBrightest();
    this.shown = defaultColumns();
    this.pool = [];
    this.head = make("div", { class: "head", role: "row" });
    this.body = make("div", { role: "rowgroup" });
    this.body.style.position = "relative";
    grid.append(this.head, this.body);
    grid.addEventListener("scroll", () => this.requestDraw(), { passive: true });
    grid.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.onselect(Number(row.dataset.row));
    });
    new ResizeObserver(() => this.requestDraw()).observe(grid);
    this.setColumns(this.shown);
  }

  setColumns(shown) {
    this.shown = shown;
    this.grid.style.setProperty("--columns", shown.map((column) => `${columnWidth(column, this.grid)}px`).join(" "));
    this.grid.setAttribute("aria-colcount", shown.length);
    this.head.replaceChildren(...shown.map((column) => this.headerCell(column)));
    this.pool = [];
    this.body.replaceChildren();
    this.showSort();
    this.draw();
  }

  headerCell(column) {
    const button = make("button", { type: "button", title: [column.name, column.unit && `[${column.unit}]`, column.description].filter(Boolean).join("  "), tabIndex: -1 },
      column.name, make("small", {}, column.unit));
    button.addEventListener("click", () => this.sortBy(column));
    const kind = `${column.isText ? "text" : ""} ${column === this.shown[0] ? "first" : ""}`;
    const cell = make("div", { role: "columnheader", class: kind }, button);
    cell.dataset.column = column.name;
    return cell;
  }

  // Up first; the same column again turns it round; NaN and empty texts stay at the end.
  sortBy(column, isDown = this.sort.column === column && !this.sort.isDown) {
    this.sort = { column, isDown };
    this.sortRows();
    this.showSort();
    this.onsort();
  }

  startWithBrightest() {
    const column = brightnessColumns()[0];
    if (!column) return;
    this.sort = { column, isDown: !/mag/i.test(column.name) };
    this.sortRows();
  }

  sortRows() {
    const { column, isDown } = this.sort;
    const sign = isDown ? -1 : 1;
    const { data } = column;
    const isMissing = column.isText ? (value) => column.values[value] === "" : Number.isNaN;
    this.order.sort((a, b) => {
      const [x, y] = [data[a], data[b]];
      const [noX, noY] = [isMissing(x), isMissing(y)];
      if (noX || noY) return noX - noY || a - b;
      return sign * (x - y) || a - b;
    });
  }

  showSort() {
    for (const [at, cell] of [...this.head.children].entries()) {
      const isSorted = this.shown[at] === this.sort.column;
      cell.setAttribute("aria-sort", isSorted ? (this.sort.isDown ? "descending" : "ascending") : "none");
      cell.firstChild.firstChild.data = this.shown[at].name + (isSorted ? (this.sort.isDown ? " ▼" : " ▲") : "");
    }
  }

  // Shows the rows for which `test` holds, in the order of the sort.
  filter(test) {
    this.rows = this.order.filter(test);
    this.grid.setAttribute("aria-rowcount", this.rows.length + 1);
    this.body.style.height = `${this.rows.length * ROW_HEIGHT}px`;
    this.draw();
  }

  select(row, { scroll = true } = {}) {
    this.selected = row;
    if (scroll) this.scrollTo(this.rows.indexOf(row));
    this.draw();
  }

  scrollTo(at) {
    if (at < 0) return;
    const [top, height] = [at * ROW_HEIGHT, this.grid.clientHeight - this.head.offsetHeight];
    const isInSight = top >= this.grid.scrollTop && top + ROW_HEIGHT <= this.grid.scrollTop + height;
    if (!isInSight) this.grid.scrollTop = Math.max(0, top - height / 2);
  }

  step(by) {
    if (!this.rows.length) return;
    const at = this.rows.indexOf(this.selected);
    this.onselect(this.rows[at < 0 ? 0 : Math.max(0, Math.min(this.rows.length - 1, at + by))]);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW_HEIGHT) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target !== this.grid) return;
    if (event.key in steps) this.step(steps[event.key]);
    else if (event.key === "Enter" && this.selected >= 0) this.onopen(this.selected);
    else if (event.ctrlKey || event.metaKey || event.altKey || !this.onkey(event.key)) return;
    event.preventDefault();
  }

  // After the values changed.
  redraw() {
    for (const element of this.pool) delete element.dataset.row;
    this.draw();
  }

  requestDraw() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.draw();
    });
  }

  draw() {
    const first = Math.max(0, Math.floor(this.grid.scrollTop / ROW_HEIGHT) - 4);
    const n = Math.min(this.rows.length - first, Math.ceil(this.grid.clientHeight / ROW_HEIGHT) + 8);
    while (this.pool.length < n) this.pool.push(this.newRow());
    this.pool.forEach((element, k) => {
      element.hidden = k >= n;
      if (k < n) this.fill(element, first + k);
    });
    const active = this.pool.find((element) => !element.hidden && Number(element.dataset.row) === this.selected);
    if (active) this.grid.setAttribute("aria-activedescendant", active.id);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  newRow() {
    const cells = this.shown.map((column, at) =>
      make("div", { role: "gridcell", class: `cell ${column.isText ? "text" : ""} ${at ? "" : "first"}` }));
    const element = make("div", { role: "row", class: "row", id: `row-${this.pool.length}` }, ...cells);
    this.body.append(element);
    return element;
  }

  fill(element, at) {
    const row = this.rows[at];
    element.style.transform = `translateY(${at * ROW_HEIGHT}px)`;
    element.setAttribute("aria-rowindex", at + 2);
    element.setAttribute("aria-selected", row === this.selected);
    if (element.dataset.row === String(row)) return;
    element.dataset.row = row;
    this.shown.forEach((column, k) => fillCell(element.children[k], column, row));
  }

  csv() {
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const raw = (column, row) => (column.isText ? column.values[column.data[row]] : Number.isNaN(column.data[row]) ? "" : String(column.data[row]));
    const own = columns.filter((column) => !column.isOfPage);
    const lines = [own.map((column) => quoted(column.name)).join(",")];
    for (const row of this.rows) lines.push(own.map((column) => quoted(raw(column, row))).join(","));
    return `${lines.join("\n")}\n`;
  }
}

function fillCell(cell, column, row) {
  const text = cellText(column, row);
  if (column === classColumn) cell.replaceChildren(swatch(colorOfClass(classOf(row))), nameText(text));
  else cell.textContent = text;
  if (column.isFlags) cell.title = flagNames(column.data[row]).map(nameText).join(", ") || "no flag";
}

const ruler = newCanvas(1, 1).getContext("2d");

// Pixels that the header and the cells of a column want.
function columnWidth(column, grid) {
  const { fontSize, fontFamily } = getComputedStyle(grid);
  ruler.font = `600 ${fontSize} ${fontFamily}`;
  let widest = Math.max(ruler.measureText(`${column.name} ▼`).width, ruler.measureText(column.unit).width);
  ruler.font = `${fontSize} ${fontFamily}`;
  const extra = column === classColumn ? 20 : 0;
  if (column === correctionColumn) widest = Math.max(widest, ruler.measureText("confirmed, joined").width);
  for (let row = 0; row < N_ROWS; row += Math.max(1, Math.floor(N_ROWS / 200))) {
    widest = Math.max(widest, ruler.measureText(cellText(column, row)).width + extra);
  }
  return Math.round(Math.min(Math.max(widest, 30), 220) + 18);
}

// Total magnitudes, that of the reference band first; else whatever tells how bright a source is.
function brightnessColumns() {
  const band = String(payload.table.reference_band || "").toLowerCase();
  const isKnown = ({ data }) => data.some(Number.isFinite);
  for (const stem of ["total_mag", "kron_mag", "mag", "total_flux", "kron_flux", "segment_flux", "flux"]) {
    const found = columns.filter((column) => column.kind === "float" && new RegExp(`^${stem}(_|$)(?!err)`).test(column.name.toLowerCase()) && isKnown(column));
    const isReference = (column) => column.name.toLowerCase() === `${stem}_${band}`;
    if (found.length) return found.sort((a, b) => isReference(b) - isReference(a) || a.number - b.number);
  }
  return [];
}

// What most want to see first; all others are one click away.
function defaultColumns() {
  const wanted = [/^label$/, /^x(_centroid)?$/, /^y(_centroid)?$/, /^ra$/, /^dec$/, /^area$/, /^flags$/, /^p_(?!.*(err|std))/];
  const [brightness, ...others] = brightnessColumns().slice(0, 4);
  const first = [labelColumn, classColumn, brightness, certaintyColumn, correctionColumn, ...others].filter(Boolean);
  const chosen = columns.filter((column) => !first.includes(column) && wanted.some((name) => name.test(column.name.toLowerCase())));
  return first.length + chosen.length > 1 ? [...first, ...chosen] : columns.slice(0, 12);
}
