// From an embedding and its neighbours to the verdict, as Python's `measurements` and `ood` give it.

const NEIGHBOURS = 10;

/** How many neighbours `judge` needs; fewer where the gallery has fewer. */
export const neighboursFor = count => Math.min(count, NEIGHBOURS);

/**
 * Judge a picture.
 *
 * detector: of gallery.json. answer: {embedding, logProbabilities, reconstructionError} of the network.
 * cosines: with the nearest pictures, nearest first.
 * Returns {isOod, canTell, score, pValue, falseAlarmRate, word}; word is one of the three that Python says.
 */
export function judge(detector, answer, cosines) {
  const values = measure(answer, cosines);
  if (detector.probe_weight) values.probe = dot(detector.probe_weight, answer.embedding) + detector.probe_bias;
  let score = 0;
  for (const [name, { weight, mean, std }] of Object.entries(detector.weightings)) {
    score += (weight * (values[name] - mean)) / std;
  }
  const calibration = detector.calibration_scores; // rising
  const pValue = (1 + calibration.length - firstAtLeast(calibration, score)) / (calibration.length + 1);
  const rate = detector.false_alarm_rate;
  const isOod = detector.threshold === null ? pValue <= rate : score > detector.threshold;
  const canTell = detector.can_tell;
  const word = !canTell ? "cannot tell" : isOod ? "not one of these" : "one of these";
  return { isOod, canTell, score, pValue, falseAlarmRate: rate, word };
}

function measure({ embedding, logProbabilities, reconstructionError }, cosines) {
  const nearest = cosines.slice(0, NEIGHBOURS);
  const length = Math.sqrt(dot(embedding, embedding));
  return {
    top_distance: 1 - nearest[0],
    neighbour_distance: 1 - nearest.reduce((sum, cosine) => sum + cosine, 0) / nearest.length,
    embedding_norm: -Math.log(Math.max(length, 1e-6)),
    uncertainty: logProbabilities && -Math.max(...logProbabilities),
    reconstruction_error: reconstructionError,
  };
}

const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);

// The index of the first of rising numbers that is at least a value.
function firstAtLeast(rising, value) {
  let low = 0, high = rising.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The probability that a match with this score has the query's label; null where that was not measured. */
export function matchProbability(table, score) {
  if (!table) return null;
  const { scores, probabilities } = table;
  const above = scores.findIndex(each => each >= score);
  if (above === 0) return probabilities[0];
  if (above < 0) return probabilities.at(-1);
  const share = (score - scores[above - 1]) / (scores[above] - scores[above - 1]);
  return probabilities[above - 1] + share * (probabilities[above] - probabilities[above - 1]);
}

/** The percentage of a score, rounded as Python rounds: halves to the even number. */
export function percentOf(score) {
  const exact = 100 * score, below = Math.floor(exact);
  if (exact - below !== 0.5) return Math.round(exact);
  return below % 2 === 0 ? below : below + 1;
}
