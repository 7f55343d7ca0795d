"""The detector of a gallery: calibrated on the gallery's own pictures, and tried on drawn ones.

A detector that came with the network was fitted to tell its own pictures from others, cars for example, and knows
nothing of a gallery of anything. So the score is the distance to the nearest pictures (Sun et al. 2022), and the
gallery's own pictures say which distances are usual. Each is scored against all the others, without itself and without
its near-duplicates, as if it had just been uploaded; these are the calibration scores, and a query's p-value is (1 +
how many of them are at least as strange) / (n + 1).

That rate of false alarms holds for every query that comes from where the gallery's pictures came from. With n pictures
and a query that are exchangeable, the ranks of their n + 1 scores, each against the n others, are uniform (full
conformal prediction; Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005). A calibration score
here lacks one neighbour of those n, the query; one neighbour more can only bring the nearest nearer (and the weights of
the distances are not negative), so these scores are if anything too high, the p-values too large, and the alarms fewer
than stated. The rate does not hold if the network was trained on the gallery's pictures: they look too familiar to it,
and new ones raise more alarms than stated.

Drawn pictures surely are of another kind. The share of each kind of them that the detector finds is its `check`.

In a gallery with labels, the same searches show how probable a match with a score has the label of its query.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from visim_models.errors import DataError
from visim_models.galleries.near_duplicates import SAME_PHOTOGRAPH, near_duplicate_groups, near_duplicates_of
from visim_models.galleries.picture_table import MEASURED, PictureTable
from visim_models.galleries.synthetic import synthetic_outliers
from visim_models.gallery import Gallery
from visim_models.images.decode_ahead import decode_ahead, pictures_at_once
from visim_models.measurements import NEIGHBOURS, measure, measure_neighbours
from visim_models.models.network import Network
from visim_models.ood import OutOfDistributionDetector, Weighting
from visim_models.processing import ImageProcessor
from visim_models.repo_folder.metrics import Figure
from visim_models.search import SearchIndex
from visim_models.search.results import MatchProbability

__all__ = [
    "LARGEST_CALIBRATION",
    "check_figures",
    "check_verdict",
    "distance_detector",
    "evenly_spaced",
    "leave_one_out",
    "leave_one_out_in",
    "match_probability",
    "probability_summary",
    "summary",
]

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

LARGEST_CALIBRATION: Final = 5000
"""Of larger galleries, so many pictures calibrate, evenly spaced: the p-value's grain is fine enough then."""

_FALSE_ALARM_RATE: Final = 0.05
_LEAST_LABELLED: Final = 50
"""So many pictures, each with another of its label, show how probable a match is a true one."""
_CELLS_AT_ONCE: Final = 2**24
"""Of the cosines of some pictures with all others: 64 MB, and twice as much for their order."""
_QUERIES_AT_ONCE: Final = 64
_MORE: Final = 54
"""Neighbours that an engine finds beside the `NEIGHBOURS`: as many near-duplicates are left out."""

_DRAWN: Final = {
    "noise": "noise",
    "plain": "plain colours",
    "gradient": "gradients",
    "stripes": "stripes and chequerboards",
    "text": "pages of text",
    "plot": "charts",
}
"""Kind of drawn pictures -> what it is called."""
_A_KIND: Final = 40
_SEED: Final = 14
_TOLERANCE: Final = 5.0
"""Two of 40 pictures, that another machine's arithmetic may turn over, in percent."""


def distance_detector(measured: PictureTable) -> OutOfDistributionDetector:
    """Return the detector of a gallery of anything, calibrated on pictures that were measured as queries."""
    weightings = {"neighbour_distance": Weighting(weight=1.0, mean=0.0, std=1.0)}
    untried = OutOfDistributionDetector(weightings, threshold=0.0, false_alarm_rate=_FALSE_ALARM_RATE)
    return untried.calibrated(untried.score(measured.measured, measured["embeddings"]))


def leave_one_out(
    pictures: PictureTable, *, labels: Sequence[str] | None = None, most: int | None = None, progress: bool = False
) -> PictureTable:
    """Measure pictures as queries against the gallery without them and their near-duplicates.

    Args:
        pictures: of the gallery, with embeddings, and thumbnails where there are pictures.
        labels: of the pictures, for `match_probability`.
        most: how many pictures are measured at most; by default `LARGEST_CALIBRATION`.
        progress: show a progress bar.

    Returns:
        n of the pictures, evenly spaced, at most `most`, with what is measured of their neighbours: "measured.NAME",
        "cosines", (n, k), nearest first, and "same_label", (n, k): 1 or 0, nan where a label is missing.

    Raises:
        DataError: a picture has no other to be compared with.
    """
    indices = evenly_spaced(len(pictures), LARGEST_CALIBRATION if most is None else most)
    lengths = np.linalg.norm(pictures["embeddings"], axis=1, keepdims=True)
    unit = pictures["embeddings"] / np.maximum(lengths, np.float32(1e-12))  # (N, D)
    count, at_once = min(NEIGHBOURS, len(pictures)), max(1, _CELLS_AT_ONCE // len(pictures))
    cosines, nearest = [], []
    with tqdm(total=len(indices), desc="calibrating", unit="picture", disable=not progress) as bar:
        near_duplicates = _near_duplicates(pictures)
        for start in range(0, len(indices), at_once):
            rows = indices[start : start + at_once]
            found = np.clip(unit[rows] @ unit.T, -1, 1)  # (B, N)
            for row, index in enumerate(rows.tolist()):
                found[row, near_duplicates[index]] = -np.inf
            first = np.argpartition(-found, count - 1, axis=1)[:, :count]  # (B, k)
            order = np.argsort(-np.take_along_axis(found, first, axis=1), axis=1)
            nearest.append(np.take_along_axis(first, order, axis=1))
            cosines.append(np.take_along_axis(found, nearest[-1], axis=1))
            bar.update(len(rows))
    measured = _with_neighbours(pictures.subset(indices), np.concatenate(cosines))
    if labels is None:
        return measured
    counts, all_labels = Counter(labels), np.array(labels, dtype=object)
    own = [labels[index] if counts[labels[index]] > 1 else "" for index in indices.tolist()]
    return measured.with_arrays(same_label=_same_label(own, all_labels[np.concatenate(nearest)]))


def leave_one_out_in(
    index: SearchIndex,
    sample: PictureTable,
    thumbnails_of: Callable[[Collection[str]], Mapping[str, Pixels]],
    *,
    labels: Sequence[str],
    progress: bool = False,
) -> PictureTable:
    """Measure pictures of a gallery in an engine as `leave_one_out` does.

    Only the pictures that the engine finds first are compared with a query for near-duplicates, which are nearly always
    among them; one that is connected with the query by a third picture alone counts as another picture.

    Args:
        index: of all pictures.
        sample: n of them.
        thumbnails_of: file names -> the (3, 16, 16) thumbnail of each.
        labels: of the n pictures.
        progress: show a progress bar.

    Returns:
        Those of the n pictures that have another picture to be compared with.

    Raises:
        DataError: none has.
        EngineError: the engine does not answer within the deadline.
    """
    found: list[list[tuple[float, str, str]]] = []  # cosine, name and label of the first matches of each picture
    starts = range(0, len(sample), _QUERIES_AT_ONCE)
    for start in tqdm(starts, desc="calibrating", unit="batch", disable=not progress):
        block = sample["embeddings"][start : start + _QUERIES_AT_ONCE]
        scores, indices = index.search(block, top_k=min(1 + NEIGHBOURS + _MORE, len(index)))  # (B, k)
        texts, k = index.texts(indices.ravel()), indices.shape[1]
        matches = list(zip(scores.ravel().tolist(), texts.file_names, texts.labels, strict=True))
        found += [matches[row * k : (row + 1) * k] for row in range(len(scores))]
    thumbnails = thumbnails_of({name for matches in found for _, name, _ in matches})
    others = [
        _others(name, thumbnail, matches, thumbnails)
        for name, thumbnail, matches in zip(sample.file_names, sample["thumbnails"], found, strict=True)
    ]
    rows = np.array([[cosine for cosine, _ in row] for row in others], np.float32)  # (n, NEIGHBOURS)
    compared = np.flatnonzero(np.isfinite(rows).any(axis=1))
    if not len(compared):
        raise DataError("A gallery needs at least two pictures that are not near-duplicates of each other.")
    theirs = np.array([[label for _, label in others[row]] for row in compared.tolist()], dtype=object)
    measured = _with_neighbours(sample.subset(compared), rows[compared])
    return measured.with_arrays(same_label=_same_label([labels[row] for row in compared.tolist()], theirs))


def _others(
    file_name: str,
    thumbnail: Pixels,
    matches: Sequence[tuple[float, str, str]],
    thumbnails: Mapping[str, Pixels],
) -> list[tuple[float, str]]:
    """Return cosine and label of the `NEIGHBOURS` nearest others, nearest first; -inf where there is none."""
    others = [match for match in matches if match[1] != file_name]
    kept: list[tuple[float, str]] = []
    if others:
        shown = np.stack([thumbnails[name] for _, name, _ in others])
        same = near_duplicates_of(thumbnail, shown, threshold=SAME_PHOTOGRAPH).tolist()
        kept = [(cosine, label) for (cosine, _, label), is_same in zip(others, same, strict=True) if not is_same]
    return [*kept[:NEIGHBOURS], *[(-math.inf, "")] * (NEIGHBOURS - len(kept))]


def _same_label(own: Sequence[str], theirs: npt.NDArray[np.object_]) -> Floats:
    """Return (n, k): 1 where a neighbour has the label of its picture, else 0; nan where the picture has none."""
    mine = np.array(own, dtype=object)[:, None]  # (n, 1)
    return np.where(mine == "", np.nan, mine == theirs).astype(np.float32)


def match_probability(measured: PictureTable) -> MatchProbability | None:
    """Return how probable a match has the label of its query, by its score, measured leave-one-out.

    Args:
        measured: pictures with "cosines" and "same_label".

    Returns:
        None where too few pictures have a label that another one has, or all matches have it.
    """
    is_labelled = np.isfinite(measured["same_label"]).any(axis=1)
    cosines, same = measured["cosines"][is_labelled], measured["same_label"][is_labelled]
    true = same[np.isfinite(cosines)]
    if len(same) < _LEAST_LABELLED or not len(true) or true.all():
        return None
    return MatchProbability.fitted(cosines, same)


def _with_neighbours(pictures: PictureTable, cosines: Floats) -> PictureTable:
    """Return pictures with what is measured of their (n, k) similarities with the nearest others."""
    measured = measure_neighbours(pictures["embeddings"], cosines)
    arrays = {f"{MEASURED}{name}": values for name, values in measured.items()}
    return pictures.with_arrays(cosines=cosines, **arrays)


def _near_duplicates(pictures: PictureTable) -> list[list[int]]:
    """Return the indices of each picture's near-duplicates, its own among them: equal vectors, without thumbnails."""
    members: dict[int, list[int]] = defaultdict(list)
    if "thumbnails" in pictures.arrays:
        groups = near_duplicate_groups(pictures["thumbnails"], threshold=SAME_PHOTOGRAPH)
    else:
        groups = np.unique(pictures["embeddings"], axis=0, return_inverse=True)[1].ravel().tolist()
    for index, group in enumerate(groups):
        members[group].append(index)
    if len(members) < 2:
        raise DataError("A gallery needs at least two pictures that are not near-duplicates of each other.")
    return [members[group] for group in groups]


def evenly_spaced(count: int, most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` indices of `count` items, evenly spaced."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.int64)


def check_verdict(
    network: Network,
    processor: ImageProcessor,
    gallery: Gallery,
    detector: OutOfDistributionDetector,
    *,
    progress: bool = False,
) -> dict[str, float]:
    """Measure how many drawn pictures of each kind a detector calls of another kind.

    Args:
        network: embedded the gallery.
        processor: makes the network's input.
        gallery: the pictures.
        detector: judges; `detector.checked` keeps the result.
        progress: show a progress bar.

    Returns:
        Kind of drawn pictures -> share that was found, 0 to 1; none where the detector can call nothing so.
    """
    if not detector.can_reject:
        return {}

    def found(batch: tuple[str, Pixels]) -> tuple[str, list[bool]]:
        kind, pictures = batch
        pixels = processor.normalize(pictures)
        embeddings = network.embed(pixels)  # (B, D)
        scores, _ = gallery.search(embeddings, top_k=min(NEIGHBOURS, len(gallery)))  # (B, k)
        measured = measure(network, pixels, embeddings, scores)
        return kind, [verdict.is_ood for verdict in detector.verdicts(measured, embeddings)]

    verdicts: dict[str, list[bool]] = {kind: [] for kind in _DRAWN}
    with tqdm(total=_A_KIND * len(_DRAWN), desc="trying the verdict", unit="picture", disable=not progress) as bar:
        for kind, are_ood in network.map_batches(found, _drawn(processor.size)):
            verdicts[kind] += are_ood
            bar.update(len(are_ood))
    return {kind: sum(are_ood) / len(are_ood) for kind, are_ood in verdicts.items()}


def _drawn(size: int) -> Iterator[tuple[str, Pixels]]:
    """Draw the pictures, a kind and (B, 3, S, S) uint8 at a time; the next kinds while one is tried."""
    draw = partial(synthetic_outliers, count=_A_KIND, size=size, seed=_SEED)
    at_once = pictures_at_once(size)
    for group in decode_ahead(_DRAWN, draw, at_once=1):
        for kind, pictures in group:
            assert isinstance(pictures, np.ndarray)
            for start in range(0, len(pictures), at_once):
                yield kind, pictures[start : start + at_once]


def check_figures(detector: OutOfDistributionDetector) -> list[Figure]:
    """Return the check of a detector as the figures of metrics.json; none where it was not tried."""
    rate = 100 * detector.false_alarm_rate
    return [
        Figure(
            name=f"ood_found_at_{rate:.0f}_{kind}",
            value=100 * share,
            unit="%",
            n=_A_KIND,
            what=f"Share called of another kind of drawn {_DRAWN[kind]}, set for {rate:g} % false alarms.",
            tolerance=_TOLERANCE,
        )
        for kind, share in (detector.check or {}).items()
    ]


def probability_summary(probability: MatchProbability) -> str:
    """Say in one sentence what the probability of a match rests on."""
    error = probability.calibration_error
    off = "" if error is None else f"; on pictures that it was not fitted on, it is off by {100 * error:.1f} points"
    return f"The probability that a match has its query's label rests on {probability.queries:,} pictures{off}."


def summary(check: Mapping[str, float]) -> str:
    """Say in one sentence what a verdict finds."""
    found = ", ".join(f"{100 * share:.0f} % of {_DRAWN.get(kind, kind)}" for kind, share in check.items())
    return f"The verdict finds {found}."
