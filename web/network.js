// The networks, by ONNX Runtime in WebAssembly: pixels -> embedding, log-probabilities, reconstruction.

import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
let runtime = null;

/** Load ONNX Runtime once, with progress: report(bytes). */
export function startRuntime(report) {
  runtime ??= download("ort/ort-wasm-simd-threaded.wasm", report).then(bytes => (ort.env.wasm.wasmBinary = bytes));
  runtime.catch(() => (runtime = null)); // the next try asks again
  return runtime;
}

// Threads need a page that is isolated from others; without them it works, too. They wait by spinning, so that more of
// them than free cores are slower than one: half of the cores are left to everything else.
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.max(1, Math.min(4, navigator.hardwareConcurrency >> 1)) : 1;

/** Fetch a file of the site; report(bytes) is called as it comes in. */
export async function download(address, report = () => {}) {
  const chunks = [];
  let size = 0;
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      report((size += value.length));
    }
  } catch (error) {
    throw Object.assign(new Error(`${address}: ${error.message}`), { key: "part_lost" });
  }
  const bytes = new Uint8Array(size);
  chunks.reduce((at, chunk) => (bytes.set(chunk, at), at + chunk.length), 0);
  return bytes.buffer;
}

export class Network {
  static async load(folder, facts, report) {
    const network = new Network();
    network.size = facts.processor.size;
    network.session = await open(`${folder}/${facts.model}`, so => report(so, facts.model_bytes));
    if (facts.decoder) network.decoder = await open(`${folder}/${facts.decoder}`, () => {});
    return network;
  }

  /** Embed n pictures, (n, 3, S, S): [{embedding, logProbabilities, reconstructionError}]. */
  async run(pixels, n = 1) {
    const { size } = this, shape = [n, 3, size, size];
    const [input] = this.session.inputNames;
    const found = await this.session.run({ [input]: new ort.Tensor("float32", pixels, shape) });
    const rows = name => found[name] && split(found[name].data, n);
    const embeddings = rows("embedding"), logs = rows("log_probabilities");
    const errors = this.decoder && (await this.#errors(found.embedding, pixels, n));
    return embeddings.map((embedding, index) => ({
      embedding,
      logProbabilities: logs?.[index],
      reconstructionError: errors?.[index],
    }));
  }

  async #errors(codes, pixels, n) {
    const decoded = await this.decoder.run({ [this.decoder.inputNames[0]]: codes });
    const drawn = split(decoded[this.decoder.outputNames[0]].data, n);
    return split(pixels, n).map((each, index) => {
      let sum = 0;
      for (let at = 0; at < each.length; at++) sum += (drawn[index][at] - each[at]) ** 2;
      return sum / each.length;
    });
  }
}

async function open(address, report) {
  const [bytes] = await Promise.all([download(address, report), runtime]);
  return ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
}

function split(values, n) {
  const width = values.length / n;
  return Array.from({ length: n }, (_, index) => Float32Array.from(values.subarray(index * width, (index + 1) * width)));
}
