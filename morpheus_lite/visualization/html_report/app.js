// Putting the page together.

const HELP = [
  ["wheel, + −", "zoom; double-click zooms in, with Shift out"], ["drag, arrows", "move the picture"], ["0", "show all"],
  ["1 … 5", "switch field, classes, uncertainty, segments, outlines"], ["click, Enter", "select the source under the cursor, or at the centre"],
  ["N, P", "next and previous source of the table"], ["Esc", "select nothing"],
  ...(CAN_CORRECT ? [
    ["S, D, I, T", "this source is a spheroid, a disk, irregular, a point source (sTar)"], ["K", "its class is right"], ["X", "it is no source"],
    ["J", "join it with the source that is clicked next"], ["C", "cut it: click each part; a class is then for the last part"], ["Z, R", "take back the last correction; all of this source"],
    ["U", "least certain sources first"],
  ] : []),
  ["p_disk > 0.5", "filter: a condition on a column: < <= > >= = !="], ["morphology ~ disk", "text contains; !~ does not"],
  ["flags ~ edge", "a flag is set; !~ is not set"], ["p_disk > 0.5, flags = 0", "several conditions, joined by commas or “and”"],
  ["1234", "a bare number: the source with this label"], ["53.1612 -27.7855", "in the filter box, then Enter: go to a place on the sky (degrees)"],
];

async function start() {
  if (typeof DecompressionStream === "undefined") throw new Error("it needs a browser of 2023 or later");
  $("title").textContent = payload.title;
  const [table] = await Promise.all([N_ROWS || columns.length ? unpack("table", payload.table.index) : {}, loadSources(), loadSky()]);
  prepareColumns(table);
  addPageColumns();
  document.documentElement.dataset.state = "drawing";
  const app = new App();
  await app.load();
  $("loading").hidden = true;
  document.documentElement.dataset.state = "ready";
}

class App {
  constructor() {
    this.isShown = new Uint8Array(N_ROWS).fill(1);
    this.hiddenClasses = new Set();
    this.test = () => true;
    this.viewer = new Viewer($("stage"), $("base"), $("top"));
    this.outlines = new OutlineLayer((row) => this.isShown[row]);
    this.table = new SourceTable($("grid"), {
      onselect: (row) => this.select(row, "table"), onopen: () => $("top").focus(), onsort: () => this.refilter(), onkey: (key) => this.key(key),
    });
    this.statistics = new Statistics($("panel-statistics"));
    this.buildLayers();
    this.buildControls();
    const narrow = matchMedia("(max-width: 900px)");
    const unfold = () => ($("layers").open = !narrow.matches);
    narrow.addEventListener("change", unfold);
    unfold();
    attachGestures(this.viewer, {
      onplace: (x, y) => this.place(x, y), onpick: (x, y) => this.pick(x, y), onkey: (key) => this.key(key),
    });
    this.viewer.onview = () => this.place(...(this.cursor || [null, null]));
    this.corrector = CAN_CORRECT ? new Corrector(this) : null;
    if (this.corrector) this.viewer.drawMarks = (context) => drawCorrections(context, this.viewer, this.corrector.corrections);
    buildRunPanel($("panel-run"));
    this.buildTabs();
    this.refilter();
    this.place(null, null);
    $("summary").textContent = this.summary();
    // For scripts and tests: the view, and what the page knows of a place.
    window.morpheusReport = { viewer: this.viewer, skyAt, pixelOf, rowAt, valuesAt, classProbabilities, select: (row) => this.select(row, "table"), corrections: this.corrector?.corrections };
  }

  summary() {
    const parts = [`${NX.toLocaleString("en")} × ${NY.toLocaleString("en")} px`];
    if (payload.sky) parts.push(`${Number(payload.sky.pixel_scale.toPrecision(3))}″/px`);
    parts.push(payload.bands.map((band) => band.name).join(" "), `${N_ROWS.toLocaleString("en")} sources`);
    if (payload.run.model) parts.push(`model ${payload.run.model}`);
    return parts.join("  ·  ");
  }

  // ---- layers

  buildLayers() {
    const field = fieldLayer();
    this.loadField = field.load;
    const probability = (name) => ({ label: nameText(name), make: () => planeLayer(`p_${name}`), full: 1, about: `probability of ${nameText(name)}` });
    this.entries = [
      { id: "field", name: "Field", isOn: true, opacity: 1, variants: [{ label: "colour", layer: field.layer }, ...payload.values.bands.map((band) => ({ label: band.name, make: () => bandLayer(band) }))], controls: this.fieldControls(field.layer) },
      { id: "classes", name: "Classes", isOn: false, opacity: 0.75, variants: [{ label: "most probable", make: classLayer }, ...SOURCE_CLASSES.map(probability)] },
      { id: "uncertainty", name: "Uncertainty", isOn: false, opacity: 0.85, variants: payload.classmap.planes.map(({ name, label, full, about }) => ({ label, full, about, make: () => planeLayer(name) })) },
      { id: "segments", name: "Segments", isOn: false, opacity: 0.45, variants: [{ label: "by source", make: () => segmentLayer(fillBySource) }, { label: "by class", make: () => segmentLayer(fillByClass) }] },
      { id: "outlines", name: "Outlines", isOn: true, opacity: 1, variants: [{ label: "by class", layer: this.outlines }] },
    ];
    this.entries.forEach((entry, at) => Object.assign(entry, { chosen: 0, key: String(at + 1) }));
    buildLayerControl(this.entries, () => this.showLayers(), () => this.recolor());
  }

  // Other colours of the classes.
  recolor() {
    for (const { id, variants } of this.entries) {
      if (id !== "field") variants.forEach((variant) => variant.make && (variant.layer = null));
    }
    this.table.setColumns(this.table.shown);
    this.refresh();
  }

  // Other classes of the sources.
  refresh() {
    this.entries.find((entry) => entry.id === "segments").variants.forEach((variant) => (variant.layer = null));
    this.outlines.clear();
    this.showLayers();
    this.showChips();
    this.table.redraw();
    this.refilter();
    this.showSelected();
  }

  showSelected() {
    const row = this.viewer.selected;
    const box = this.corrector && row >= 0 && row < N_ROWS ? [this.corrector.box(row)] : [];
    showDetails(row, () => this.select(-1, "table"), ...box);
    this.viewer.redrawTop();
  }

  // Stretch of single bands, and black and white of all pictures of the field.
  fieldControls(colour) {
    const redraw = () => {
      const [, ...bands] = this.entries[0].variants;
      bands.forEach((variant) => (variant.layer = null));
      colour.clear();
      this.showLayers();
    };
    const stretch = make("select", { id: "stretch", title: "Stretch of a single band", "aria-label": "Stretch of a single band" },
      ...Object.entries(STRETCHES).map(([value, text]) => make("option", { value }, text)));
    stretch.addEventListener("change", () => {
      levels.stretch = stretch.value;
      redraw();
    });
    const slider = (name, about) => {
      const input = make("input", { type: "range", id: `level-${name}`, min: 0, max: 100, value: levels[name], title: about, "aria-label": about });
      input.addEventListener("input", () => {
        levels[name] = Number(input.value);
        redraw();
      });
      return input;
    };
    const sliders = [slider("black", "What is black, in per cent of the range"), slider("white", "What is white, in per cent of the range")];
    const reset = make("button", { type: "button", id: "reset-levels", title: "The contrast as it was", "aria-label": "The contrast as it was" }, "↺");
    reset.addEventListener("click", () => {
      Object.assign(levels, { black: 0, white: 100 });
      sliders.forEach((input) => (input.value = levels[input.id.replace("level-", "")]));
      redraw();
    });
    return [stretch, "contrast", ...sliders, reset];
  }

  // A layer is made when it is first shown, as soon as what it shows is unpacked.
  showLayers() {
    for (const entry of this.entries) {
      const variant = entry.variants[entry.chosen];
      const isUnpacked = entry.id === "field" ? values.bands : classmap.planes;
      if (entry.isOn && !variant.layer && isUnpacked) variant.layer = variant.make();
      entry.layer = variant.layer;
    }
    $("stretch").disabled = this.entries[0].chosen === 0; // the colour picture has its own
    this.viewer.layers = this.entries;
    showLegend(this.entries);
    this.viewer.redraw();
  }

  async load() {
    this.showLayers();
    await this.loadField();
    this.viewer.redraw();
    await loadClassmap();
    await loadValues();
    this.showLayers();
    this.place(null, null);
  }

  // ---- selecting

  select(row, origin) {
    this.viewer.selected = row;
    this.corrector?.selected();
    this.showSelected();
    this.table.select(row, { scroll: origin === "picture" || row !== -1 });
    if (origin === "table" && row >= 0) this.viewer.centreOn(row);
    else this.viewer.redrawTop();
    $("announcement").textContent = row >= 0 ? sourceTitle(row) : "";
  }

  // The source at a place on the stage: that of the segment, else the nearest position within 10 screen pixels.
  rowNear(stageX, stageY) {
    const { x, y } = this.viewer.pixelAt(stageX, stageY);
    const row = rowAt(x, y);
    if (row >= 0) return row < N_ROWS && this.isShown[row] ? row : -1;
    let [best, distance] = [-1, 10 / this.viewer.zoom];
    for (let each = 0; each < N_ROWS; each++) {
      if (!this.isShown[each]) continue;
      const place = placeOf(each);
      const away = place ? Math.hypot(place.u - x - 0.5, place.v - (NY - y - 0.5)) : Infinity;
      if (away < distance) [best, distance] = [each, away];
    }
    return best;
  }

  pick(stageX, stageY) {
    if (!this.corrector?.pick(stageX, stageY)) this.select(this.rowNear(stageX, stageY), "picture");
  }

  place(stageX, stageY) {
    const isAway = stageX === null;
    const [x, y] = isAway ? [this.viewer.stage.clientWidth / 2, this.viewer.stage.clientHeight / 2] : [stageX, stageY];
    this.cursor = isAway ? null : [x, y];
    const pixel = this.viewer.pixelAt(x, y);
    showReadout(pixel.x, pixel.y, isAway || this.viewer.showsCentre ? "(centre)" : "");
    const row = isAway ? -1 : rowAt(pixel.x, pixel.y);
    const hovered = row >= 0 && row < N_ROWS && this.isShown[row] ? row : -1;
    if (hovered !== this.viewer.hovered || this.viewer.showsCentre) {
      this.viewer.hovered = hovered;
      this.viewer.redrawTop();
    }
  }

  key(key) {
    const entry = this.entries.find((each) => each.key === key);
    if (this.corrector?.key(key)) return true;
    if (entry) entry.box.click();
    else if (key === "Enter") this.pick(this.viewer.stage.clientWidth / 2, this.viewer.stage.clientHeight / 2);
    else if (key === "Escape") this.select(-1, "table");
    else if (/^[np]$/i.test(key)) this.table.step(/n/i.test(key) ? 1 : -1);
    else return false;
    return true;
  }

  // ---- filtering

  buildControls() {
    const filter = $("filter");
    const example = findColumn("p_disk") ? "p_disk > 0.5, flags = 0" : `${columns.length ? columns[0].name : "label"} > 1`;
    filter.placeholder = `Filter, e.g. ${example}`;
    filter.addEventListener("input", () => this.refilter());
    filter.addEventListener("keydown", (event) => event.key === "Enter" && this.goTo(filter.value));
    this.showChips();
    $("save-table").addEventListener("click", () => saveBlob(new Blob([this.table.csv()], { type: "text/csv" }), `${fileStem}_sources.csv`));
    const tools = { "zoom-in": () => this.viewer.zoomBy(1.5), "zoom-out": () => this.viewer.zoomBy(1 / 1.5), "zoom-fit": () => this.viewer.fit(), "zoom-one": () => this.viewer.zoomBy(1 / this.viewer.zoom), "save-view": () => this.viewer.save() };
    for (const [id, act] of Object.entries(tools)) $(id).addEventListener("click", act);
    $("help-list").append(...HELP.flatMap(([key, text]) => [make("dt", {}, key), make("dd", {}, text)]));
    $("help").addEventListener("click", () => $("help-dialog").showModal());
    this.buildColumnChoice();
    attachSplitter();
    attachTheme();
  }

  showChips() {
    const counts = [...countClasses(Array(N_ROWS).keys())].filter(([, count]) => count && classColumn);
    $("class-chips").replaceChildren(...counts.map(([kind, count]) => this.chip(kind, count)));
  }

  chip(kind, count) {
    const button = make("button", { type: "button", class: "chip", "aria-pressed": String(!this.hiddenClasses.has(kind)) }, swatch(colorOfClass(kind)), `${kindName(kind)} ${count.toLocaleString("en")}`);
    button.addEventListener("click", () => {
      if (!this.hiddenClasses.delete(kind)) this.hiddenClasses.add(kind);
      button.setAttribute("aria-pressed", String(!this.hiddenClasses.has(kind)));
      this.refilter();
    });
    return button;
  }

  refilter() {
    const [filter, message] = [$("filter"), $("filter-message")];
    try {
      // A place on the sky is no condition; Enter goes there.
      this.test = skyPlace(filter.value) ? () => true : compileFilter(filter.value);
      message.textContent = "";
      filter.removeAttribute("aria-invalid");
    } catch (error) {
      message.textContent = error.message;
      filter.setAttribute("aria-invalid", "true");
      return;
    }
    let changed = false;
    for (let row = 0; row < N_ROWS; row++) {
      const isShown = Number(!this.hiddenClasses.has(classOf(row)) && this.test(row));
      changed ||= isShown !== this.isShown[row];
      this.isShown[row] = isShown;
    }
    this.table.filter((row) => this.isShown[row]);
    const n = this.table.rows.length;
    $("count").textContent = n === N_ROWS ? `${n.toLocaleString("en")} sources` : `${n.toLocaleString("en")} of ${N_ROWS.toLocaleString("en")} sources`;
    this.statistics.update(this.table.rows);
    if (!changed) return;
    // While a filter is being typed the table follows every letter, the picture every pause.
    clearTimeout(this.redrawing);
    this.redrawing = setTimeout(() => {
      this.outlines.clear();
      this.viewer.redraw();
    }, 120);
  }

  goTo(text) {
    const place = skyPlace(text);
    const pixel = place && pixelOf(...place);
    if (place && !pixel) $("filter-message").textContent = payload.sky ? "This place is outside the image." : "The image has no WCS.";
    else if (pixel) {
      Object.assign(this.viewer, { u: pixel.x + 0.5, v: NY - pixel.y - 0.5, zoom: Math.max(this.viewer.zoom, 4), showsCentre: true });
      this.viewer.changed();
    } else if (this.table.rows.length === 1) this.select(this.table.rows[0], "table");
  }

  buildColumnChoice() {
    const boxes = columns.map((column) => {
      const box = make("input", { type: "checkbox", checked: this.table.shown.includes(column) });
      box.addEventListener("change", () => {
        const shown = box.checked ? [...this.table.shown, column] : this.table.shown.filter((each) => each !== column);
        if (shown.length) this.table.setColumns(shown);
        else box.checked = true;
      });
      return make("label", {}, box, make("span", {}, column.name), make("span", {}, column.unit), make("span", {}, column.description));
    });
    $("column-list").append(...boxes);
    $("column-search").addEventListener("input", (event) => {
      const wanted = event.target.value.toLowerCase();
      boxes.forEach((label) => (label.hidden = !label.textContent.toLowerCase().includes(wanted)));
    });
    $("choose-columns").addEventListener("click", () => $("columns-dialog").showModal());
  }

  buildTabs() {
    const tabs = [...$("tabs").children];
    const open = (tab) => {
      for (const each of tabs) {
        const isOpen = each === tab;
        each.setAttribute("aria-selected", isOpen);
        each.tabIndex = isOpen ? 0 : -1;
        $(each.getAttribute("aria-controls")).hidden = !isOpen;
      }
      this.statistics.update();
    };
    for (const [at, tab] of tabs.entries()) {
      tab.addEventListener("click", () => open(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(at + step + tabs.length) % tabs.length];
        next.focus();
        open(next);
      });
    }
  }
}

// Right ascension and declination written as two numbers of degrees; null for any other text.
function skyPlace(text) {
  const match = /^\s*([\d.]+)[\s,]+([+\-−]?[\d.]+)\s*$/.exec(text);
  const place = match && [Number(match[1]), Number(match[2].replace("−", "-"))];
  return place && place[0] <= 360 && Math.abs(place[1]) <= 90 ? place : null;
}

function attachSplitter() {
  const splitter = $("splitter");
  const main = splitter.parentElement;
  const set = (share) => {
    const percent = Math.round(Math.max(20, Math.min(80, share)));
    main.style.setProperty("--left", `${percent}%`);
    splitter.setAttribute("aria-valuenow", percent);
  };
  splitter.addEventListener("pointerdown", (event) => splitter.setPointerCapture(event.pointerId));
  splitter.addEventListener("pointermove", (event) => {
    if (splitter.hasPointerCapture(event.pointerId)) set((100 * event.clientX) / main.clientWidth);
  });
  splitter.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (step) set(Number(splitter.getAttribute("aria-valuenow")) + step);
  });
}

function attachTheme() {
  const root = document.documentElement;
  const wish = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => (root.dataset.theme = wish.matches ? "dark" : "light");
  follow();
  wish.addEventListener("change", follow);
  $("theme").addEventListener("click", () => (root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"));
}

start().catch((error) => {
  $("loading").hidden = false;
  $("loading").textContent = `This report cannot be shown: ${error.message}`;
  document.documentElement.dataset.state = "failed";
  throw error;
});
