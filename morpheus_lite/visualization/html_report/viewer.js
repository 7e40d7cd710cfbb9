// The picture: which part is in sight, and drawing it.

class Viewer {
  constructor(stage, base, top) {
    Object.assign(this, { stage, base, top, ratio: 1, u: NX / 2, v: NY / 2, zoom: 1 });
    this.layers = []; // from the bottom up: { layer, isOn, opacity }
    this.hovered = -1;
    this.selected = -1;
    this.showsCentre = false;
    this.isPlacing = false; // clicks join or split sources: two quick ones are no zoom
    this.drawMarks = () => {};
    this.waiting = { base: false, top: false };
    this.onview = () => {};
    new ResizeObserver(() => this.resize()).observe(stage);
    this.resize();
    this.fit();
  }

  // zoom: screen pixels (CSS) for a pixel of the image; scale: device pixels for one.
  get scale() {
    return this.zoom * this.ratio;
  }

  toX(u) {
    return (u - this.u) * this.scale + this.base.width / 2;
  }

  toY(v) {
    return (v - this.v) * this.scale + this.base.height / 2;
  }

  bounds() {
    const [halfWidth, halfHeight] = [this.base.width / 2 / this.scale, this.base.height / 2 / this.scale];
    return { left: this.u - halfWidth, top: this.v - halfHeight, right: this.u + halfWidth, bottom: this.v + halfHeight };
  }

  // Pixel position (0-based) of a place on the stage, in CSS pixels from its top left corner.
  pixelAt(stageX, stageY) {
    const u = this.u + (stageX - this.stage.clientWidth / 2) / this.zoom;
    const v = this.v + (stageY - this.stage.clientHeight / 2) / this.zoom;
    return { x: u - 0.5, y: NY - v - 0.5 };
  }

  stageAt(x, y) {
    return {
      x: (x + 0.5 - this.u) * this.zoom + this.stage.clientWidth / 2,
      y: (NY - y - 0.5 - this.v) * this.zoom + this.stage.clientHeight / 2,
    };
  }

  get fitZoom() {
    return Math.min(this.stage.clientWidth / NX, this.stage.clientHeight / NY) * 0.98 || 1;
  }

  fit() {
    Object.assign(this, { u: NX / 2, v: NY / 2, zoom: this.fitZoom });
    this.changed();
  }

  pan(dx, dy) {
    this.u -= dx / this.zoom;
    this.v -= dy / this.zoom;
    this.changed();
  }

  // Zoom by a factor, the place (in CSS pixels on the stage) staying where it is.
  zoomBy(factor, stageX = this.stage.clientWidth / 2, stageY = this.stage.clientHeight / 2) {
    const zoom = Math.max(Math.min(this.fitZoom / 2, 1), Math.min(60, this.zoom * factor));
    const [x, y] = [stageX - this.stage.clientWidth / 2, stageY - this.stage.clientHeight / 2];
    this.u += x / this.zoom - x / zoom;
    this.v += y / this.zoom - y / zoom;
    this.zoom = zoom;
    this.changed();
  }

  // Centre a source; closer, where it would be too small to see.
  centreOn(row) {
    const place = placeOf(row);
    if (!place) return;
    const [left, top, right, bottom] = boxOf(row);
    const size = Math.max(right - left, bottom - top, 4);
    if (size * this.zoom < 28) this.zoom = Math.min(8, 28 / size);
    Object.assign(this, place);
    this.changed();
  }

  changed() {
    this.u = Math.max(0, Math.min(NX, this.u));
    this.v = Math.max(0, Math.min(NY, this.v));
    this.onview();
    this.redraw();
  }

  resize() {
    this.ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight].map((size) => Math.max(1, Math.round(size * this.ratio)));
    const wasFit = Math.abs(this.zoom / (this.lastFit || this.zoom) - 1) < 1e-6;
    for (const canvas of [this.base, this.top]) Object.assign(canvas, { width, height });
    if (wasFit) this.zoom = this.fitZoom;
    this.lastFit = this.fitZoom;
    this.redraw();
  }

  redraw() {
    this.request("base", () => this.drawBase(this.base.getContext("2d", { alpha: false })));
    this.redrawTop();
  }

  redrawTop() {
    this.request("top", () => this.drawTop(this.top.getContext("2d")));
  }

  request(which, draw) {
    if (this.waiting[which]) return;
    this.waiting[which] = true;
    requestAnimationFrame(() => {
      this.waiting[which] = false;
      draw();
    });
  }

  drawBase(context) {
    context.globalAlpha = 1;
    context.fillStyle = "#000";
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    context.save();
    context.beginPath();
    context.rect(this.toX(0), this.toY(0), NX * this.scale, NY * this.scale);
    context.clip();
    for (const { layer, isOn, opacity } of this.layers) {
      if (!isOn || !layer) continue;
      context.globalAlpha = opacity;
      layer.draw(context, this);
    }
    context.restore();
  }

  drawTop(context) {
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    this.drawMarks(context);
    if (this.hovered >= 0 && this.hovered !== this.selected) this.mark(context, this.hovered, 1.5, false);
    if (this.selected >= 0) this.mark(context, this.selected, 2.5, true);
    if (this.showsCentre) this.drawCentre(context);
    this.drawScaleBar(context);
    this.drawCompass(context);
  }

  mark(context, row, width, isStrong) {
    const path = new Path2D();
    if (row <= N_ROWS) addRings(path, row);
    context.save();
    context.setTransform(this.scale, 0, 0, this.scale, this.toX(0), this.toY(0));
    this.strokeTwice(context, path, (width * this.ratio) / this.scale);
    context.restore();
    const place = row < N_ROWS ? placeOf(row) : null;
    const [left, top, right, bottom] = boxOf(row);
    const radius = Math.max(14 * this.ratio, 0.62 * Math.hypot(right - left, bottom - top) * this.scale);
    if (!isStrong || !place || radius > 60 * this.ratio) return;
    const circle = new Path2D();
    circle.arc(this.toX(place.u), this.toY(place.v), Number.isFinite(radius) ? radius : 14 * this.ratio, 0, 2 * Math.PI);
    this.strokeTwice(context, circle, 1.5 * this.ratio);
  }

  strokeTwice(context, path, width) {
    for (const [style, factor] of [["#000", 2.4], ["#fff", 1]]) {
      context.strokeStyle = style;
      context.lineWidth = factor * width;
      context.stroke(path);
    }
  }

  drawCentre(context) {
    const [x, y, arm] = [context.canvas.width / 2, context.canvas.height / 2, 9 * this.ratio];
    const cross = new Path2D();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      cross.moveTo(x + (dx * arm) / 3, y + (dy * arm) / 3);
      cross.lineTo(x + dx * arm, y + dy * arm);
    }
    this.strokeTwice(context, cross, 1.5 * this.ratio);
  }

  // A round length between a tenth and a quarter of the width.
  scaleBar() {
    const perPixel = payload.sky ? payload.sky.pixel_scale : 1;
    const longest = (0.25 * this.stage.clientWidth * perPixel) / this.zoom;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map((factor) => factor * power).find((size) => size <= longest);
    const tidy = (value) => String(Number(value.toPrecision(3)));
    let text = `${tidy(length)} px`;
    if (payload.sky) text = length >= 3600 ? `${tidy(length / 3600)}°` : length >= 60 ? `${tidy(length / 60)}′` : `${tidy(length)}″`;
    return { pixels: length / perPixel, text };
  }

  drawScaleBar(context) {
    const { pixels, text } = this.scaleBar();
    const [x, y, width] = [14 * this.ratio, context.canvas.height - 14 * this.ratio, pixels * this.scale];
    const bar = new Path2D();
    bar.moveTo(x, y - 5 * this.ratio);
    bar.lineTo(x, y);
    bar.lineTo(x + width, y);
    bar.lineTo(x + width, y - 5 * this.ratio);
    this.strokeTwice(context, bar, 1.7 * this.ratio);
    this.write(context, text, x + width / 2, y - 8 * this.ratio);
  }

  drawCompass(context) {
    const { x, y } = this.pixelAt(this.stage.clientWidth / 2, this.stage.clientHeight / 2);
    const directions = compassAt(x, y);
    if (!directions) return;
    const [cx, cy, arm] = [context.canvas.width - 48 * this.ratio, context.canvas.height - 42 * this.ratio, 26 * this.ratio];
    for (const [name, [du, dv]] of [["N", directions.north], ["E", directions.east]]) {
      const line = new Path2D();
      line.moveTo(cx, cy);
      line.lineTo(cx + arm * du, cy + arm * dv);
      this.strokeTwice(context, line, 1.7 * this.ratio);
      this.write(context, name, cx + (arm + 9 * this.ratio) * du, cy + (arm + 9 * this.ratio) * dv + 4 * this.ratio);
    }
  }

  write(context, text, x, y) {
    context.font = `600 ${13 * this.ratio}px system-ui, "DejaVu Sans", sans-serif`;
    context.textAlign = "center";
    context.lineJoin = "round";
    context.lineWidth = 3 * this.ratio;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = "#fff";
    context.fillText(text, x, y);
  }

  save() {
    const whole = newCanvas(this.base.width, this.base.height);
    const context = whole.getContext("2d");
    context.drawImage(this.base, 0, 0);
    context.drawImage(this.top, 0, 0);
    whole.toBlob((blob) => saveBlob(blob, `${fileStem}_view.png`), "image/png");
  }
}
