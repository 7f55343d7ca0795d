// The pictures of a gallery: names, labels, columns and embeddings, and exact search by cosine similarity.

import { download } from "./network.js";

const HALVES = new Float32Array(2 ** 16); // every float16 value, by its bits

function fillHalves() {
  for (let bits = 0; bits < HALVES.length; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent === 31 ? (fraction ? NaN : Infinity)
      : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
    HALVES[bits] = sign * size;
  }
}

export class Gallery {
  /** Load a gallery's texts and embeddings; report(bytes, of) is called as parts come in. */
  static async load(folder, facts, report) {
    if (!HALVES[1]) fillHalves();
    const gallery = new Gallery();
    Object.assign(gallery, { count: facts.count, width: facts.width, labelNames: facts.labels });
    const total = facts.parts.reduce((sum, part) => sum + part.bytes, facts.texts_bytes);
    let done = 0;
    const get = async name => {
      const bytes = await download(`${folder}/${name}`, so => report(done + so, total));
      done += bytes.byteLength;
      return bytes;
    };
    const texts = JSON.parse(new TextDecoder().decode(await get("texts.json")));
    Object.assign(gallery, { fileNames: texts.file_names, labels: texts.labels, columns: texts.columns });
    gallery.rows = new Float32Array(facts.count * facts.width);
    let at = 0;
    for (const part of facts.parts) {
      for (const bits of new Uint16Array(await get(part.file))) gallery.rows[at++] = HALVES[bits];
    }
    if (at !== gallery.rows.length) throw Object.assign(new Error(`${folder}: a part is cut off`), { key: "part_lost" });
    gallery.inverse = inverseLengths(gallery.rows, facts.width);
    return gallery;
  }

  label(index) {
    return this.labelNames[this.labels[index]];
  }

  embedding(index) {
    return this.rows.subarray(index * this.width, (index + 1) * this.width);
  }

  /** The k nearest: [{index, score}], nearest first; of equal scores the lower index. label: only these; null for all. */
  search(query, k, label = null) {
    const wanted = label === null ? -1 : this.labelNames.indexOf(label);
    const scores = this.#cosines(query);
    const best = [];
    for (let index = 0; index < this.count; index++) {
      if (label !== null && this.labels[index] !== wanted) continue;
      if (best.length === k && scores[index] <= best[k - 1].score) continue;
      let to = best.length;
      while (to > 0 && best[to - 1].score < scores[index]) to--;
      best.splice(to, 0, { index, score: scores[index] });
      if (best.length > k) best.pop();
    }
    return best;
  }

  #cosines(query) {
    const { rows, width, count, inverse } = this, scores = new Float32Array(count);
    const length = Math.hypot(...query) || Infinity, unit = Float32Array.from(query, value => value / length);
    const even = width & ~3;
    for (let index = 0, start = 0; index < count; index++, start += width) {
      let a = 0, b = 0, c = 0, d = 0;
      for (let at = 0; at < even; at += 4) {
        a += rows[start + at] * unit[at];
        b += rows[start + at + 1] * unit[at + 1];
        c += rows[start + at + 2] * unit[at + 2];
        d += rows[start + at + 3] * unit[at + 3];
      }
      for (let at = even; at < width; at++) a += rows[start + at] * unit[at];
      scores[index] = Math.min(1, Math.max(-1, (a + b + c + d) * inverse[index]));
    }
    return scores;
  }

  /** Order matches by their score, less half of their mean cosine with unwanted pictures (Rocchio 1971). */
  lessLike(matches, unwanted) {
    const direction = average(unwanted.map(index => this.embedding(index)));
    const cosine = index => this.inverse[index] * this.embedding(index).reduce((sum, value, at) => sum + value * direction[at], 0);
    return matches
      .filter(({ index }) => !unwanted.includes(index))
      .map(match => ({ match, rank: match.score - 0.5 * cosine(match.index) }))
      .sort((one, other) => other.rank - one.rank)
      .map(({ match }) => match);
  }
}

/** The mean of embeddings, each of length 1. */
export function average(embeddings) {
  const mean = new Float32Array(embeddings[0].length);
  for (const embedding of embeddings) {
    const length = Math.max(Math.hypot(...embedding), 1e-12);
    embedding.forEach((value, at) => (mean[at] += value / length / embeddings.length));
  }
  return mean;
}

function inverseLengths(rows, width) {
  const inverse = new Float32Array(rows.length / width);
  for (let index = 0; index < inverse.length; index++) {
    let sum = 0;
    for (let at = index * width; at < (index + 1) * width; at++) sum += rows[at] * rows[at];
    inverse[index] = sum > 0 ? 1 / Math.sqrt(sum) : 0;
  }
  return inverse;
}
