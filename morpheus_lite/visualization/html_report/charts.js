// Statistics of the catalogue: how many of each class, and the distribution of any column, all and shown.

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const sourceKinds = () => [...SOURCE_CLASSES.map((_, k) => k), UNCERTAIN, OTHER];
const kindName = (kind) => nameText({ [UNCERTAIN]: "uncertain", [OTHER]: "other" }[kind] || CLASS_NAMES[kind]);

function countClasses(rows) {
  const counts = new Map(sourceKinds().map((kind) => [kind, 0]));
  for (const row of rows) counts.set(classOf(row), (counts.get(classOf(row)) ?? 0) + 1);
  return counts;
}

function classChart(all, shown) {
  const kinds = [...all.keys()].filter((kind) => kind >= 0 || all.get(kind));
  const [width, step, left] = [560, 26, 110];
  const largest = Math.max(1, ...all.values());
  const bar = (count) => ((width - left - 110) * count) / largest;
  const description = kinds.map((kind) => `${kindName(kind)} ${all.get(kind)}`).join(", ");
  const svg = draw("svg", { viewBox: `0 0 ${width} ${kinds.length * step + 4}`, width, role: "img", "aria-label": `Sources by class: ${description}` });
  kinds.forEach((kind, at) => {
    const y = at * step + 4;
    const [total, some] = [all.get(kind), shown.get(kind) || 0];
    svg.append(
      draw("text", { x: left - 8, y: y + 14, "text-anchor": "end" }, kindName(kind)),
      draw("rect", { class: "all", x: left, y, width: Math.max(bar(total), 0.5), height: 18 }),
      draw("rect", { fill: colorOfClass(kind), stroke: "#8888", x: left, y, width: bar(some), height: 18 }),
      draw("text", { x: left + bar(total) + 6, y: y + 14 }, some === total ? total.toLocaleString("en") : `${some.toLocaleString("en")} of ${total.toLocaleString("en")}`),
    );
  });
  return svg;
}

// Bins of equal width, of log10 where a positive quantity spans more than two decades.
function binning(column) {
  const finite = Array.from(column.data).filter(Number.isFinite).sort((a, b) => a - b);
  if (!finite.length) return null;
  const at = (share) => finite[Math.floor(share * (finite.length - 1))];
  const isLog = at(0.01) > 0 && at(0.99) / at(0.01) > 100;
  const transform = isLog ? Math.log10 : (value) => value;
  let [low, high] = [transform(at(0.005)), transform(at(0.995))];
  if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
  const ticks = niceTicks(low, high, 6);
  const n = Math.max(8, Math.min(40, Math.round(3 * Math.cbrt(finite.length))));
  return { isLog, transform, low, high, n, ticks, finite, median: at(0.5) };
}

function niceTicks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function histogram(column, shownRows) {
  const bins = binning(column);
  if (!bins) return make("p", { class: "note" }, `${column.name} has no finite value.`);
  const { n, low, high, transform, isLog } = bins;
  const binOf = (value) => Math.floor(((transform(value) - low) / (high - low)) * n);
  const all = new Array(n).fill(0);
  for (const value of column.data) if (binOf(value) >= 0 && binOf(value) < n) all[binOf(value)]++;
  const stacks = new Map(sourceKinds().map((kind) => [kind, new Array(n).fill(0)]));
  for (const row of shownRows) {
    const bin = binOf(column.data[row]);
    if (bin >= 0 && bin < n) (stacks.get(classOf(row)) || stacks.get(OTHER))[bin]++;
  }
  const [width, height, left, bottom, top] = [560, 260, 46, 42, 8];
  const largest = Math.max(1, ...all);
  const X = (value) => left + ((width - left - 10) * (value - low)) / (high - low);
  const Y = (count) => height - bottom - ((height - bottom - top) * count) / largest;
  const title = `${column.name}${column.unit ? ` [${column.unit}]` : ""}`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, role: "img", "aria-label": `Histogram of ${title}: median ${numberText(bins.median)} of ${bins.finite.length} values` });
  for (const tick of niceTicks(0, largest, 4).filter(Number.isInteger)) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - 10, y1: Y(tick), y2: Y(tick) }), draw("text", { x: left - 6, y: Y(tick) + 4, "text-anchor": "end" }, tick));
  }
  const barWidth = (width - left - 10) / n;
  for (let bin = 0; bin < n; bin++) {
    const x = left + bin * barWidth + 0.5;
    svg.append(draw("rect", { class: "all", x, y: Y(all[bin]), width: barWidth - 1, height: Y(0) - Y(all[bin]) }));
    let base = 0;
    for (const [kind, counts] of stacks) {
      if (counts[bin]) svg.append(draw("rect", { fill: colorOfClass(kind), x, y: Y(base + counts[bin]), width: barWidth - 1, height: Y(base) - Y(base + counts[bin]) }));
      base += counts[bin];
    }
  }
  svg.append(draw("line", { class: "axis", x1: left, x2: width - 10, y1: Y(0), y2: Y(0) }));
  for (const tick of bins.ticks) {
    const text = isLog ? (Number.isInteger(tick) && tick > -4 && tick < 5 ? String(10 ** tick) : numberText(10 ** tick, 2)) : String(tick).replace("-", "−");
    svg.append(draw("line", { class: "axis", x1: X(tick), x2: X(tick), y1: Y(0), y2: Y(0) + 5 }), draw("text", { x: X(tick), y: Y(0) + 18, "text-anchor": "middle" }, text));
  }
  svg.append(draw("text", { x: (left + width) / 2, y: height - 5, "text-anchor": "middle" }, title));
  return svg;
}

class Statistics {
  constructor(panel) {
    const numeric = columns.filter((column) => !column.isText && column !== labelColumn);
    const first = brightnessColumns()[0] || findColumn("area") || numeric[0];
    this.choice = make("select", { id: "histogram-column", "aria-label": "Column of the histogram", onchange: () => this.update() },
      ...numeric.map((column) => make("option", { value: column.number, selected: column === first }, column.name)));
    this.classes = make("div", { id: "class-chart" });
    this.values = make("div", { id: "histogram" });
    this.note = make("p", { class: "note" });
    panel.append(make("h2", {}, "Classes"), this.classes, make("h2", {}, "Distribution of ", this.choice), this.values, this.note);
    this.panel = panel;
    this.rows = [];
  }

  update(rows = this.rows) {
    this.rows = rows;
    if (this.panel.hidden) return; // drawn when it is looked at
    this.classes.replaceChildren(classChart(countClasses(Array(N_ROWS).keys()), countClasses(rows)));
    const column = columns[Number(this.choice.value)];
    this.values.replaceChildren(column ? histogram(column, rows) : "");
    this.note.textContent = "Colours: the sources shown, by class; the pale bars behind: all sources. The outermost 0.5 % on each side are left out of the axis.";
  }
}
