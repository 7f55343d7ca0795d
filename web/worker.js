// Everything that takes time, away from the page: decoding, networks, search, verdict and explanation.
//
// The page sends {id, task, ...}; the worker answers {id, result} or {id, error}, and {id, progress: [done, of]} before.

import { Network, download, startRuntime } from "./network.js";
import { crop, decode, normalize, process, toSquare } from "./picture.js";
import { Gallery, average } from "./search.js";
import { judge, matchProbability, neighboursFor, percentOf } from "./verdict.js";

const repos = new Map(); // folder -> promise of {facts, network, gallery}
const queries = new Map(); // key of a collection -> {pictures, answers: folder -> [answer]}

const tasks = {
  /** Load a way to compare, and how its collection judges. */
  async open({ folders }, report) {
    const found = await all(folders, report);
    return found.map(({ facts, gallery }) => ({ ...facts, columns: gallery.columns, fileNames: gallery.fileNames, labels: facts.labels }));
  },

  /** Take pictures as the query of a collection: they are decoded, and what is seen of the first comes back. */
  async take({ key, blobs }) {
    const pictures = [];
    for (const blob of blobs) pictures.push(await decode(blob));
    queries.set(key, { whole: pictures, pictures, answers: new Map() });
    const [{ width, height, rgb }] = pictures;
    return { width, height, rgba: toRgba(rgb) };
  },

  /** Search with a part of the query's picture; box is [left, top, right, bottom] as shares, null for all. */
  async frame({ key, box }) {
    const query = queries.get(key);
    const pixels = ({ width, height }) => box.map((share, at) => Math.round(share * (at % 2 ? height : width)));
    query.pictures = box ? query.whole.map(picture => crop(picture, pixels(picture))) : query.whole;
    query.answers.clear();
  },

  /** Search: with the query, or with a picture of the gallery (from: its index). */
  async search({ key, way, judge: judging, from, topK, label, unwanted = [] }, report) {
    const [repo, judgeRepo] = await all([way, judging], report);
    const count = repo.gallery.count, k = Math.min(topK, count);
    const ask = Math.min(count, unwanted.length ? Math.max(100, 4 * k) : k);
    const answers = from === null ? await answersOf(key, repo, way) : null;
    const embedding = answers ? (answers.length > 1 ? average(answers.map(each => each.embedding)) : answers[0].embedding)
      : repo.gallery.embedding(from);
    let matches = repo.gallery.search(embedding, ask, label);
    if (unwanted.length) matches = repo.gallery.lessLike(matches, unwanted).slice(0, k);
    const single = answers?.length === 1;
    const states = single && !label && !unwanted.length;
    return {
      matches: matches.map(({ index, score }) => ({
        index, score, percent: percentOf(score),
        fileName: repo.gallery.fileNames[index], label: repo.gallery.label(index),
        columns: Object.fromEntries(Object.entries(repo.gallery.columns).map(([name, values]) => [name, values[index]])),
        probability: states ? matchProbability(repo.facts.match_probability, score) : null,
      })),
      verdict: answers && strangest(await verdicts(key, judgeRepo, judging)),
      classes: single ? classesOf(judgeRepo.facts, (await answersOf(key, judgeRepo, judging))[0]) : null,
      embedding: Array.from(embedding),
    };
  },

  /** Colour the parts of the query, or of another picture (blob), that make it like a picture of the gallery. */
  async explain({ key, way, index, blob }, report) {
    const [repo] = await all([way], () => {});
    const picture = blob ? await decode(blob) : queries.get(key).pictures[0];
    const other = blob ? (await answersOf(key, repo, way))[0].embedding : repo.gallery.embedding(index);
    const square = toSquare(picture, repo.facts.processor);
    return { size: square.width, rgba: toRgba(square.rgb), heat: await heatOf(repo, square, other, index, report) };
  },
};

function all(folders, report) {
  return Promise.all(folders.map(folder => {
    if (!repos.has(folder)) {
      repos.set(folder, load(folder, report).catch(error => {
        repos.delete(folder); // the next try asks again
        throw error;
      }));
    }
    return repos.get(folder);
  }));
}

async function load(folder, report) {
  const facts = JSON.parse(new TextDecoder().decode(await download(`${folder}/gallery.json`)));
  startRuntime(bytes => report([bytes, facts.runtime_bytes, "ort"]));
  const done = {}, of = {};
  const sum = parts => Object.values(parts).reduce((total, part) => total + part, 0);
  const reporter = name => (bytes, total) => {
    done[name] = bytes;
    of[name] = total;
    report([sum(done), facts.bytes, folder]);
  };
  const [network, gallery] = await Promise.all([
    Network.load(folder, facts, reporter("network")), Gallery.load(folder, facts, reporter("gallery")),
  ]);
  return { facts, network, gallery };
}

async function answersOf(key, { facts, network }, folder) {
  const { pictures, answers } = queries.get(key);
  if (!answers.has(folder)) {
    const found = [];
    for (const picture of pictures) found.push((await network.run(process(picture, facts.processor)))[0]);
    answers.set(folder, found);
  }
  return answers.get(folder);
}

async function verdicts(key, repo, folder) {
  return (await answersOf(key, repo, folder)).map(answer => {
    const found = repo.gallery.search(answer.embedding, neighboursFor(repo.gallery.count));
    return judge(repo.facts.detector, answer, found.map(({ score }) => score));
  });
}

const strangest = all => all.reduce((worst, each) => (each.pValue < worst.pValue ? each : worst));

function classesOf({ class_names: names }, { logProbabilities }) {
  if (!logProbabilities) return null;
  return names.map((name, at) => [name, Math.exp(logProbabilities[at])]).sort((one, other) => other[1] - one[1]);
}

const STEPS = 9, WINDOW = 4, UNRELATED = 100, PERCENTILE = 0.95, AT_ONCE = 9;

// (STEPS, STEPS) of how much covering a part costs of the cosine with a picture; 1 is the most that it costs of that
// with an unrelated one (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks").
async function heatOf({ facts, network, gallery }, square, other, index, report) {
  const size = square.width, plain = normalize(square.rgb, facts.processor);
  const others = [other, ...unrelated(gallery, index).map(each => gallery.embedding(each))].map(unit);
  const cosines = embedding => others.map(each => dot(each, unit(embedding)));
  const before = cosines((await network.run(plain))[0].embedding);
  const losses = [];
  for (let row = 0; row < STEPS; row++) {
    const batch = new Float32Array(AT_ONCE * plain.length);
    for (let column = 0; column < STEPS; column++) batch.set(covered(plain, size, row, column), column * plain.length);
    for (const { embedding } of await network.run(batch, AT_ONCE)) {
      losses.push(cosines(embedding).map((cosine, at) => Math.max(0, before[at] - cosine)));
    }
    report([row + 1, STEPS]);
  }
  const most = others.slice(1).map((_, at) => Math.max(...losses.map(loss => loss[at + 1]))).sort((one, two) => one - two);
  const usual = Math.max(quantile(most, PERCENTILE), 1e-6);
  return losses.map(([loss]) => loss / usual);
}

function unrelated(gallery, index) {
  const everything = [...gallery.labels.keys()];
  const unlike = everything.filter(each => gallery.labels[each] !== gallery.labels[index]);
  const from = unlike.length ? unlike : everything, step = Math.max(1, Math.floor(from.length / UNRELATED));
  return from.filter((_, at) => at % step === 0).slice(0, UNRELATED);
}

function covered(plain, size, row, column) {
  const pixels = plain.slice(), half = size / (2 * WINDOW), count = size * size;
  const near = (at, step) => Math.abs(at + 0.5 - (step * size) / (STEPS - 1)) <= half;
  for (let channel = 0; channel < 3; channel++) {
    const plane = plain.subarray(channel * count, (channel + 1) * count);
    const mean = plane.reduce((sum, value) => sum + value, 0) / count;
    for (let y = 0; y < size; y++) {
      if (!near(y, row)) continue;
      for (let x = 0; x < size; x++) if (near(x, column)) pixels[channel * count + y * size + x] = mean;
    }
  }
  return pixels;
}

const dot = (one, other) => one.reduce((sum, value, at) => sum + value * other[at], 0);
const unit = row => {
  const length = Math.max(Math.sqrt(dot(row, row)), 1e-12);
  return Float32Array.from(row, value => value / length);
};
const quantile = (rising, share) => {
  const at = share * (rising.length - 1), low = Math.floor(at);
  return rising[low] + (at - low) * ((rising[low + 1] ?? rising[low]) - rising[low]);
};

function toRgba(rgb) {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) rgba.set(rgb.subarray(from, from + 3), to);
  return rgba;
}

self.onmessage = async ({ data: { id, task, ...values } }) => {
  try {
    self.postMessage({ id, result: await tasks[task](values, progress => self.postMessage({ id, progress })) });
  } catch (error) {
    self.postMessage({ id, error: error.key ?? "", detail: String(error) });
  }
};
self.postMessage({ id: 0, result: "started" });
