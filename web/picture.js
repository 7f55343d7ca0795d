// From any picture file to the array that a network takes, as Python's `ImageProcessor` makes it.
//
// The browser decodes: upright by EXIF, in sRGB, the first frame. Transparency is laid over white. `resize` is Pillow's
// resampling (triangle or cubic, antialiased, 8 bits between its two passes), so that both sides get the same levels.

export const MAX_PIXELS = 25_000_000;

/** A picture that cannot be used; `key` names the message in texts.json. */
export class PictureError extends Error {
  constructor(key) {
    super(key);
    this.key = key;
  }
}

// What browsers do not decode, told by its first bytes.
const UNREADABLE = [
  [/^.{4}ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)/s, "heic"],
  [/^(\x00\x00\x00\x0cJXL |\xff\x0a|II\*\x00|MM\x00\*|II\+\x00|8BPS|\x00\x00\x00\x0cjP)/s, "other_kind"],
];

/** Decode a Blob: {width, height, rgb}, rgb of width * height * 3 bytes. */
export async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    const head = String.fromCharCode(...new Uint8Array(await blob.slice(0, 32).arrayBuffer()));
    throw new PictureError(UNREADABLE.find(([pattern]) => pattern.test(head))?.[1] ?? "no_image");
  }
  try {
    return fromBitmap(bitmap);
  } finally {
    bitmap.close();
  }
}

function fromBitmap(bitmap) {
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new PictureError("large");
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return { width, height, rgb };
}

/** Cut a part out; the box is [left, top, right, bottom] in pixels. */
export function crop({ width, rgb }, [left, top, right, bottom]) {
  const wide = right - left, high = bottom - top, part = new Uint8Array(wide * high * 3);
  for (let row = 0; row < high; row++) {
    const start = ((top + row) * width + left) * 3;
    part.set(rgb.subarray(start, start + wide * 3), row * wide * 3);
  }
  return { width: wide, height: high, rgb: part };
}

/** Process a picture: pixels of (3, S, S) floats, the network's input. */
export function process(picture, processor) {
  const square = toSquare(picture, processor);
  return normalize(square.rgb, processor);
}

/** Resize a picture to the processor's square. */
export function toSquare(picture, { size, resample, center_crop: share }) {
  let { width, height } = picture, box = [0, 0, width, height];
  if (share) {
    const side = share * Math.min(width, height);
    const left = (width - side) / 2, top = (height - side) / 2;
    box = [left, top, left + side, top + side];
  }
  return resize(picture, size, size, FILTERS[resample], box);
}

/** Normalize interleaved RGB bytes of an S x S square to planes, (3, S, S). */
export function normalize(rgb, { rescale_factor: factor, image_mean: mean, image_std: std, flip }) {
  const count = rgb.length / 3, pixels = new Float32Array(rgb.length);
  for (let channel = 0; channel < 3; channel++) {
    const from = flip ? 2 - channel : channel;
    for (let at = 0; at < count; at++) {
      pixels[channel * count + at] = (Math.fround(rgb[at * 3 + from] * factor) - mean[channel]) / std[channel];
    }
  }
  return pixels;
}

const triangle = { support: 1, at: x => Math.max(0, 1 - Math.abs(x)) };
const cubic = {
  support: 2,
  at: x => {
    x = Math.abs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  },
};
const nearest = null;
const FILTERS = { 0: nearest, 2: triangle, 3: cubic };

/** Resize the box [left, top, right, bottom] of a picture; its sides may be fractions. */
export function resize(picture, width, height, filter, box = [0, 0, picture.width, picture.height]) {
  if (!filter) return pickNearest(picture, width, height, box);
  const whole = box[0] === 0 && box[1] === 0 && box[2] === picture.width && box[3] === picture.height;
  if (whole && width === picture.width && height === picture.height) return picture;
  const across = weights(picture.width, box[0], box[2], width, filter);
  const down = weights(picture.height, box[1], box[3], height, filter);
  return resampleDown(resampleAcross(picture, width, across), height, down);
}

const BITS = 22;

// For each output pixel, the first input pixel and the weights in fixed point.
function weights(size, from, to, out, filter) {
  const scale = (to - from) / out, wide = Math.max(scale, 1), support = filter.support * wide;
  return Array.from({ length: out }, (_, index) => {
    const center = from + (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(size, Math.trunc(center + support + 0.5));
    const raw = [];
    let sum = 0;
    for (let at = first; at < last; at++) {
      const weight = filter.at((at - center + 0.5) / wide);
      raw.push(weight);
      sum += weight;
    }
    return { first, fixed: Int32Array.from(raw, weight => Math.trunc((weight / sum) * 2 ** BITS + (weight < 0 ? -0.5 : 0.5))) };
  });
}

const clipped = sum => (sum < 0 ? 0 : Math.min(255, sum >> BITS));

function resampleAcross({ width, height, rgb }, out, table) {
  const result = new Uint8Array(out * height * 3);
  for (let row = 0, to = 0; row < height; row++) {
    for (const { first, fixed } of table) {
      let red = 2 ** (BITS - 1), green = red, blue = red;
      for (let at = 0, from = (row * width + first) * 3; at < fixed.length; at++, from += 3) {
        red += rgb[from] * fixed[at];
        green += rgb[from + 1] * fixed[at];
        blue += rgb[from + 2] * fixed[at];
      }
      result[to++] = clipped(red);
      result[to++] = clipped(green);
      result[to++] = clipped(blue);
    }
  }
  return { width: out, height, rgb: result };
}

function resampleDown({ width, rgb }, out, table) {
  const stride = width * 3, result = new Uint8Array(stride * out), sums = new Float64Array(stride);
  table.forEach(({ first, fixed }, row) => {
    sums.fill(2 ** (BITS - 1));
    fixed.forEach((weight, at) => {
      const start = (first + at) * stride;
      for (let column = 0; column < stride; column++) sums[column] += rgb[start + column] * weight;
    });
    for (let column = 0; column < stride; column++) result[row * stride + column] = clipped(sums[column]);
  });
  return { width, height: out, rgb: result };
}

function pickNearest({ width, rgb }, wide, high, [left, top, right, bottom]) {
  const result = new Uint8Array(wide * high * 3);
  for (let row = 0, to = 0; row < high; row++) {
    const line = Math.trunc(top + ((row + 0.5) * (bottom - top)) / high);
    for (let column = 0; column < wide; column++, to += 3) {
      const from = (line * width + Math.trunc(left + ((column + 0.5) * (right - left)) / wide)) * 3;
      result.set(rgb.subarray(from, from + 3), to);
    }
  }
  return { width: wide, height: high, rgb: result };
}
