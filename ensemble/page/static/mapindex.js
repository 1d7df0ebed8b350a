// Finds points of a map by place: a grid over the square that holds all of them, as arrays without objects.

const SIZE = 65536;

// x, y: coordinates from 0 to 65535.
export class Grid {
  constructor(x, y) {
    this.x = x;
    this.y = y;
    this.side = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(x.length / 4))));
    this.width = SIZE / this.side;
    const cells = new Uint32Array(x.length);
    this.start = new Uint32Array(this.side * this.side + 1);
    for (let i = 0; i < x.length; i += 1) {
      cells[i] = this.cell(x[i]) + this.side * this.cell(y[i]);
      this.start[cells[i] + 1] += 1;
    }
    for (let c = 0; c < this.side * this.side; c += 1) this.start[c + 1] += this.start[c];
    const next = this.start.slice();
    this.order = new Uint32Array(x.length);
    for (let i = 0; i < x.length; i += 1) {
      this.order[next[cells[i]]] = i;
      next[cells[i]] += 1;
    }
  }

  cell(value) {
    return Math.max(0, Math.min(this.side - 1, Math.floor(value / this.width)));
  }

  // Calls visit(i) for the points of all cells that a rectangle touches.
  near(x0, y0, x1, y1, visit) {
    const [left, right, top, bottom] = [this.cell(x0), this.cell(x1), this.cell(y0), this.cell(y1)];
    for (let row = top; row <= bottom; row += 1) {
      const end = this.start[row * this.side + right + 1];
      for (let at = this.start[row * this.side + left]; at < end; at += 1) visit(this.order[at]);
    }
  }

  // The nearest point within a radius, -1 without one. shown(i): whether a point counts.
  nearest(x, y, radius, shown) {
    let best = radius * radius;
    let found = -1;
    this.near(x - radius, y - radius, x + radius, y + radius, (i) => {
      const distance = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (distance <= best && shown(i)) {
        best = distance;
        found = i;
      }
    });
    return found;
  }

  // Numbers of the points in a polygon [x, y, x, y, ...].
  inside(polygon, shown) {
    const box = [SIZE, SIZE, 0, 0];
    for (let at = 0; at < polygon.length; at += 2) {
      box[0] = Math.min(box[0], polygon[at]);
      box[1] = Math.min(box[1], polygon[at + 1]);
      box[2] = Math.max(box[2], polygon[at]);
      box[3] = Math.max(box[3], polygon[at + 1]);
    }
    const found = [];
    this.near(...box, (i) => {
      if (shown(i) && isInside(polygon, this.x[i], this.y[i])) found.push(i);
    });
    return found.sort((a, b) => a - b);
  }
}

// Whether a point is in a polygon [x, y, ...], by the number of its sides to the right of the point.
export function isInside(polygon, x, y) {
  let odd = false;
  for (let at = 0, before = polygon.length - 2; at < polygon.length; before = at, at += 2) {
    const [x1, y1, x2, y2] = [polygon[at], polygon[at + 1], polygon[before], polygon[before + 1]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
  }
  return odd;
}
