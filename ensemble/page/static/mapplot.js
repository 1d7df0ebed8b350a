// Draws the points of a map on a canvas, and turns what pointers and keys do into moves, choices and lassos.
import { Dots, number } from "./mapdots.js";
import { Grid } from "./mapindex.js";

const MOST = 400; // zoom, relative to the view of all points
const FACTOR = 1.35;
const STEP = 60; // pixels that an arrow key moves
const REACH = { mouse: 9, pen: 12, touch: 20 };

// listeners: hover(i, x, y), pick(i), chosen(points), moved().
export class Plot {
  constructor(wrap, canvas, listeners) {
    Object.assign(this, { wrap, canvas, listeners, lassoing: false, waiting: false, current: -1 });
    this.context = canvas.getContext("2d");
    this.pointers = new Map();
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.set({ x: [], y: [] });
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave"]) {
      canvas.addEventListener(type, (event) => this[type](event));
    }
    wrap.addEventListener("keydown", (event) => this.key(event));
  }

  // x, y: from 0 to 65535, y upwards. shape: 1 for a triangle. ring: 1 for a marked point. faint: 1 for a pale one.
  set({ x, y, shape, ring, faint }) {
    this.x = Float32Array.from(x);
    this.y = Float32Array.from(y, (value) => 65535 - value);
    this.n = this.x.length;
    this.shape = shape ?? new Uint8Array(this.n);
    this.ring = ring ?? new Uint8Array(this.n);
    this.faint = faint ?? new Uint8Array(this.n);
    this.grid = new Grid(this.x, this.y);
    this.chosen = new Uint8Array(this.n);
    this.current = -1;
    this.paint({ of: new Uint8Array(this.n), colours: ["#888888"], hidden: new Set() });
  }

  // of: class of each point; colours: of each class; hidden: classes that are not drawn.
  paint({ of, colours, hidden }) {
    Object.assign(this, { of, colours, hidden });
    // pale points first and reported ones last; points of a class follow each other
    const looks = Uint32Array.from(this.x, (_, i) => ((1 - this.faint[i]) * 2 + this.shape[i]) * 256 + 255 - of[i]);
    this.order = Uint32Array.from(looks.keys()).sort((a, b) => looks[a] - looks[b]);
    this.redraw();
  }

  isShown = (i) => !this.hidden.has(this.of[i]);

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    const fresh = !this.width;
    this.dpr = Math.min(devicePixelRatio || 1, 3);
    if (!fresh) {
      this.left += (clientWidth - this.width) / 2;
      this.top += (clientHeight - this.height) / 2;
    }
    this.width = clientWidth;
    this.height = clientHeight;
    this.canvas.width = Math.round(clientWidth * this.dpr);
    this.canvas.height = Math.round(clientHeight * this.dpr);
    this.dots = new Dots(this.canvas.width, this.canvas.height);
    this.masks = null;
    if (fresh) this.all();
    this.draw();
  }

  // Show all points.
  all() {
    if (!this.width) return;
    const box = [65535, 65535, 0, 0];
    for (let i = 0; i < this.n; i += 1) {
      box[0] = Math.min(box[0], this.x[i]);
      box[1] = Math.min(box[1], this.y[i]);
      box[2] = Math.max(box[2], this.x[i]);
      box[3] = Math.max(box[3], this.y[i]);
    }
    const margin = 24;
    const tools = 36; // pixels at the lower edge that buttons cover
    const wide = Math.max(box[2] - box[0], 1000);
    const high = Math.max(box[3] - box[1], 1000);
    this.fit = Math.min((this.width - 2 * margin) / wide, (this.height - tools - 2 * margin) / high);
    this.scale = this.fit;
    this.left = this.width / 2 - ((box[0] + box[2]) / 2) * this.scale;
    this.top = (this.height - tools) / 2 - ((box[1] + box[3]) / 2) * this.scale;
    this.redraw();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.max(this.fit / 2, Math.min(this.fit * MOST, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.redraw();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  get radius() {
    const base = this.n > 4000 ? 2.4 : 3.2;
    return Math.min(base * (this.scale / this.fit) ** 0.25, 7);
  }

  // The mask of a shape in the present size, made once for a size.
  mask(triangle, faint, wider = 0) {
    const radius = Math.round(this.radius * 4) / 4;
    if (this.masks?.radius !== radius) this.masks = { radius, made: new Map() };
    const key = 4 * wider + 2 * triangle + faint;
    let made = this.masks.made.get(key);
    if (!made) {
      const size = (radius * (triangle ? 1.9 : 1) + wider) * this.dpr;
      const opacity = faint ? 0.28 : triangle ? 1 : 0.75;
      made = this.dots.mask(size, opacity, (context) => {
        if (!triangle) return context.arc(0, 0, size, 0, 7);
        context.moveTo(0, -size);
        context.lineTo(size * 0.9, size * 0.65);
        context.lineTo(-size * 0.9, size * 0.65);
        return context.closePath();
      });
      this.masks.made.set(key, made);
    }
    return made;
  }

  colour(name) {
    return getComputedStyle(this.wrap).getPropertyValue(name).trim();
  }

  draw() {
    if (!this.width) return;
    const { context, dpr, x, y, order, of, dots } = this;
    const [scale, left, top] = [this.scale * dpr, this.left * dpr, this.top * dpr];
    const page = number(this.colour("--page"));
    const colours = this.colours.map(number);
    const masks = [this.mask(0, 0), this.mask(0, 1), this.mask(1, 0), this.mask(1, 1)];
    const edge = this.mask(1, 0, 1.5);
    dots.clear(page);
    for (let at = 0; at < order.length; at += 1) {
      const i = order[at];
      if (this.hidden.has(of[i])) continue;
      const px = x[i] * scale + left;
      const py = y[i] * scale + top;
      if (this.shape[i]) dots.stamp(edge, page, px, py);
      dots.stamp(masks[2 * this.shape[i] + this.faint[i]], colours[of[i]], px, py);
    }
    dots.show(context);
    this.outlines(scale, left, top);
    if (this.line) this.lasso();
    this.listeners.moved();
  }

  // Squares around marked points, circles around chosen ones.
  outlines(scale, left, top) {
    const { context, dpr } = this;
    const size = (this.radius + 3) * dpr;
    const place = (i) => [this.x[i] * scale + left, this.y[i] * scale + top];
    context.lineWidth = 1.5 * dpr;
    context.strokeStyle = this.colour("--text");
    context.beginPath();
    for (let i = 0; i < this.n; i += 1) {
      if (!this.ring[i] || !this.isShown(i)) continue;
      const [px, py] = place(i);
      context.rect(px - size, py - size, 2 * size, 2 * size);
    }
    for (let i = 0; i < this.n; i += 1) {
      if (!this.chosen[i] || !this.isShown(i)) continue;
      const [px, py] = place(i);
      context.moveTo(px + size, py);
      context.arc(px, py, size, 0, 7);
    }
    context.stroke();
    if (this.current < 0) return;
    context.lineWidth = 3 * dpr;
    context.strokeStyle = this.colour("--accent");
    context.beginPath();
    context.arc(...place(this.current), size + 3 * dpr, 0, 7);
    context.stroke();
  }

  lasso() {
    const { context, dpr, line } = this;
    context.beginPath();
    for (let at = 0; at < line.length; at += 2) context.lineTo(line[at] * dpr, line[at + 1] * dpr);
    context.closePath();
    context.globalAlpha = 0.15;
    context.fillStyle = this.colour("--accent");
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5 * dpr;
    context.strokeStyle = this.colour("--accent");
    context.stroke();
  }

  // Points in view.
  inView() {
    return this.within([0, 0, this.width, 0, this.width, this.height, 0, this.height]);
  }

  // Points in a polygon of pixels.
  within(line) {
    const polygon = line.map((value, at) => (value - (at % 2 ? this.top : this.left)) / this.scale);
    return this.grid.inside(polygon, this.isShown);
  }

  at(x, y, reach) {
    return this.grid.nearest((x - this.left) / this.scale, (y - this.top) / this.scale, reach / this.scale, this.isShown);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * [1, 30, 300][event.deltaMode];
    this.zoom(Math.exp(-Math.max(-300, Math.min(300, pixels)) / 300), ...this.place(event));
  }

  pointerdown(event) {
    if (event.button) return;
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      // a pointer that has gone already
    }
    const [x, y] = this.place(event);
    this.pointers.set(event.pointerId, [x, y]);
    this.began = [x, y];
    this.still = this.pointers.size === 1;
    this.line = this.pointers.size === 1 && (this.lassoing || event.shiftKey) ? [x, y] : null;
    this.listeners.hover(-1);
  }

  pointermove(event) {
    const [x, y] = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") this.listeners.hover(this.at(x, y, REACH.mouse), x, y);
      return;
    }
    if (Math.hypot(x - this.began[0], y - this.began[1]) > 4) this.still = false;
    this.pointers.set(event.pointerId, [x, y]);
    if (this.line) {
      const [lx, ly] = this.line.slice(-2);
      if (Math.hypot(x - lx, y - ly) > 3) this.line.push(x, y);
      this.redraw();
    } else if (this.pointers.size === 2) this.pinch(event.pointerId, before, [x, y]);
    else if (this.pointers.size === 1 && !this.still) this.pan(x - before[0], y - before[1]);
  }

  pinch(id, before, now) {
    const [, other] = [...this.pointers].find(([key]) => key !== id);
    const [was, is] = [before, now].map(([x, y]) => Math.hypot(x - other[0], y - other[1]));
    this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    if (was > 0 && is > 0) this.zoom(is / was, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  pointerup(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const { line } = this;
    this.line = null;
    if (line && line.length > 4) this.listeners.chosen(this.within(line));
    else if (this.still) this.listeners.pick(this.at(...this.place(event), REACH[event.pointerType] ?? REACH.mouse));
    this.redraw();
  }

  pointercancel(event) {
    this.pointers.delete(event.pointerId);
    this.line = null;
    this.redraw();
  }

  pointerleave() {
    this.listeners.hover(-1);
  }

  key(event) {
    if (event.target !== this.wrap || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    if (event.key in moves) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(FACTOR);
    else if (event.key === "-" || event.key === "_") this.zoom(1 / FACTOR);
    else if (event.key === "0") this.all();
    else if (event.key === "Enter") this.listeners.chosen(this.inView());
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
