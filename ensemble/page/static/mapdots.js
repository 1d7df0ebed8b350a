// Small shapes stamped into an image: ten thousand take a few milliseconds, several times fewer than as calls of a canvas.

const MARGIN = 48; // pixels around the image, so that no stamp has to be cut; larger than any stamp

export class Dots {
  constructor(width, height) {
    this.width = width + 2 * MARGIN;
    this.height = height + 2 * MARGIN;
    this.image = new ImageData(this.width, this.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  clear(colour) {
    this.pixels.fill(0xff000000 | colour);
  }

  // The pixels of a shape, with its opacity. draw(context): draws the shape around (0, 0), at most `size` from it.
  mask(size, opacity, draw) {
    const half = Math.min(Math.ceil(size) + 1, MARGIN);
    const canvas = document.createElement("canvas");
    canvas.width = 2 * half;
    canvas.height = 2 * half;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.translate(half, half);
    context.beginPath();
    draw(context);
    context.fill();
    const { data } = context.getImageData(0, 0, 2 * half, 2 * half);
    const at = [];
    const alpha = [];
    for (let y = 0; y < 2 * half; y += 1) {
      for (let x = 0; x < 2 * half; x += 1) {
        const value = Math.round(data[4 * (2 * half * y + x) + 3] * opacity);
        if (value > 3) {
          at.push((y - half) * this.width + x - half);
          alpha.push(value);
        }
      }
    }
    return { at: Int32Array.from(at), alpha: Uint8Array.from(alpha) };
  }

  // Blend a colour into the pixels of a mask around a place, which may be outside.
  stamp(mask, colour, x, y) {
    const column = Math.round(x) + MARGIN;
    const row = Math.round(y) + MARGIN;
    if (column < MARGIN || row < MARGIN || column >= this.width - MARGIN || row >= this.height - MARGIN) return;
    const { pixels } = this;
    const { at, alpha } = mask;
    const middle = row * this.width + column;
    const [red, green, blue] = [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];
    for (let k = 0; k < at.length; k += 1) {
      const place = middle + at[k];
      const under = pixels[place];
      const own = alpha[k];
      const rest = 255 - own;
      pixels[place] =
        0xff000000 |
        ((((((under >> 16) & 255) * rest + blue * own) / 255) & 255) << 16) |
        ((((((under >> 8) & 255) * rest + green * own) / 255) & 255) << 8) |
        ((((under & 255) * rest + red * own) / 255) & 255);
    }
  }

  show(context) {
    context.putImageData(this.image, -MARGIN, -MARGIN);
  }
}

// A colour of CSS, #rrggbb, as a number with red in the lowest byte.
export function number(colour) {
  const value = parseInt(colour.slice(1), 16);
  return ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}
