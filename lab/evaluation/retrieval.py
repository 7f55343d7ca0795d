"""How often the matches of a held-out picture have its label, and whether their stated probability is right."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from lab.data import labels_of
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.figures import Target, histogram, label_share, loss_figure, share_figure
from lab.training.augmentation import paint_decorations
from visim_models.galleries.picture_table import PictureTable
from visim_models.gallery import Gallery
from visim_models.repo_folder.metrics import Figure

__all__ = [
    "MATCHES", "RAW_PIXELS", "calibration_error", "decorated_retrieval", "match_calibration", "match_tables",
    "nearest", "nearest_label_figure", "paint_around", "pixel_retrieval", "raw_pixels", "retrieval_figure",
    "retrieval_figures",
]  # fmt: skip

_Floats = npt.NDArray[np.floating[Any]]
_Indices = npt.NDArray[np.int64]

RAW_PIXELS: Final = "raw pixels, Euclidean"
MATCHES: Final = 10
"""Matches of each query that plots and calibration count."""

_BLOCK: Final = 512
_PIXEL_SIDE: Final = 32
_PAINT_SEED: Final = 2023
_BIN: Final = 5
_TARGETS: Final = {"car-classifier": 95.0, "cifar10-classifier": 93.0}
"""`model_type` -> the share that is aimed at."""
_LARGEST_LOSS: Final = 2.0
_BINS: Final = 10
_LARGEST_ERROR: Final = 2.0
_RESAMPLES: Final = 200
_ERROR_TOLERANCE: Final = 0.1


def raw_pixels(pixels: npt.NDArray[np.uint8]) -> _Floats:
    """Return the pixels at 32 x 32, (N, 3072), of (N, 3, S, S) uint8 pictures; larger ones are averaged over areas."""
    blocks = torch.from_numpy(pixels).split(_BLOCK)
    small = [F.interpolate(block.float(), size=_PIXEL_SIDE, mode="area").flatten(1) for block in blocks]
    rows: _Floats = torch.cat(small).numpy()
    return rows


def nearest(queries: _Floats, rows: _Floats, *, top_k: int) -> _Indices:
    """Find the rows with the smallest Euclidean distance from each query: (Q, P), (N, P) -> (Q, k)."""
    centre = rows.mean(axis=0)  # (P,); distances between centred rows are smaller numbers, with more exact differences
    given, those = torch.from_numpy(queries - centre), torch.from_numpy(rows - centre)
    lengths = those.square().sum(dim=1)  # (N,)
    found = [(lengths - 2 * block @ those.T).topk(top_k, largest=False).indices for block in given.split(_BLOCK)]
    indices: _Indices = torch.cat(found).numpy()
    return indices


def nearest_label_figure(labels: Sequence[str], embeddings: _Floats, **stated: Any) -> Figure:
    """Return the share of N pictures whose nearest of all others, by cosine, has their label (Recall@1).

    Args:
        labels: of the pictures.
        embeddings: (N, D).
        stated: as `share_figure` takes it.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(min=1e-12)
    found = []
    for start in range(0, len(unit), _BLOCK):
        cosines = unit[start : start + _BLOCK] @ unit.T  # (B, N)
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -2
        found += [labels[index] for index in cosines.argmax(axis=1)]
    return share_figure((np.array(found) == np.array(labels)).astype(float), **stated)


def retrieval_figure(
    queries: PictureTable, indices: _Indices, gallery: Gallery, top_k: int, *, target: Target = None, **stated: Any
) -> Figure:
    """Return the share of the first matches that have the label of their query.

    Args:
        queries: Q pictures.
        indices: (Q, >= top_k) of their matches in the gallery, nearest first.
        gallery: what was searched.
        top_k: how many matches are looked at.
        target: in percent; a baseline, which has a method, has none.
        stated: as `share_figure` takes it.
    """
    shares = label_share(labels_of(queries), np.array(gallery.labels)[indices[:, :top_k]].tolist())
    return share_figure(shares, decisions=top_k, target=None if stated.get("method") else target, **stated)


def retrieval_figures(
    queries: PictureTable, indices: _Indices, repo: EvaluatedRepo, *, method: str = "", beat: Sequence[Figure] = ()
) -> list[Figure]:
    """Return one figure for each of the benchmark's ranks.

    Args:
        queries: Q pictures of the split.
        indices: (Q, k) of their matches in `repo.known`, nearest first.
        repo: the repo whose gallery was searched.
        method: the method that searched, for a baseline.
        beat: figures of a baseline that are the targets where there are no others.
    """
    figures = []
    beaten = {figure.name: figure.value for figure in beat}
    for top_k in repo.benchmark.ranks:
        name = f"retrieval_top_{top_k}"
        goal = _TARGETS.get(repo.similarity.network.model_type, beaten.get(name))
        figures.append(
            retrieval_figure(
                queries,
                indices,
                repo.known,
                top_k,
                name=name,
                what=f"Share of the first {top_k} matches that have the {repo.benchmark.label_name} of a held-out "
                f"query, in a gallery of {len(repo.known)} without held-out pictures.",
                groups=repo.groups(queries),
                target=None if goal is None else {"at_least": goal},
                method=method,
            )
        )
    return figures


def pixel_retrieval(queries: PictureTable, repo: EvaluatedRepo) -> list[Figure]:
    """Return the figures of the nearest neighbours in raw pixels, by Euclidean distance at 32 x 32."""
    top_k = min(max(repo.benchmark.ranks), len(repo.known))
    indices = nearest(raw_pixels(queries["pixels"]), raw_pixels(repo.known_images["pixels"]), top_k=top_k)
    return retrieval_figures(queries, indices, repo, method=RAW_PIXELS)


def paint_around(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Paint a dealer's frame, banner or logo on each of (N, 3, S, S) uint8 pictures, the same ones each time."""
    images = torch.from_numpy(pixels)
    painted, rest = images.clone(), torch.arange(len(images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_PAINT_SEED)
        while len(rest):  # of those that are painted at random, some get nothing
            painted[rest] = paint_decorations(images[rest].float(), 1.0).round().clamp(0, 255).to(torch.uint8)
            rest = rest[(painted[rest] == images[rest]).flatten(1).all(dim=1)]
    return painted.numpy()


def decorated_retrieval(queries: PictureTable, clean: _Indices, repo: EvaluatedRepo) -> list[Figure]:
    """Return the retrieval by pictures that a frame, banner or logo was painted on, and how much lower it is.

    Args:
        queries: Q pictures of the split, as they are.
        clean: (Q, k) indices of their matches in `repo.known`.
        repo: the repo whose gallery was searched.
    """
    top_k, groups, labels = repo.benchmark.ranks[-1], repo.groups(queries), labels_of(queries)
    measured = repo.measured(queries.with_arrays(pixels=paint_around(queries["pixels"])))
    painted, names = repo.matches(measured, top_k)[1], np.array(repo.known.labels)
    before, after = (label_share(labels, names[found[:, :top_k]].tolist()) for found in (clean, painted))  # (Q,) each
    return [
        share_figure(
            after,
            name=f"decorated_retrieval_top_{top_k}",
            what="The same share after a dealer's frame, banner or logo was painted on the query.",
            decisions=top_k,
            groups=groups,
        ),
        loss_figure(
            before,
            after,
            name="decoration_loss",
            what=f"How much lower the share of the first {top_k} is after painting on the query.",
            decisions=top_k,
            groups=groups,
            target={"at_most": _LARGEST_LOSS} if repo.classifies_bodies else None,
        ),
    ]


def match_tables(labels: Sequence[str], scores: _Floats, indices: _Indices, gallery: Gallery) -> dict[str, Any]:
    """Count true and false matches, of the query's label or of another, over the ten nearest of each query.

    Args:
        labels: Q labels of the queries.
        scores: (Q, k) cosines.
        indices: (Q, k) in the gallery.
        gallery: what was searched.

    Returns:
        `match_scores`: how many true and false matches have each whole percent; `reliability`: the share of true
        matches in bins of 5 percent, null where a bin is empty.
    """
    scores, indices = scores[:, :MATCHES], indices[:, :MATCHES]
    is_true = np.array(gallery.labels)[indices] == np.array(labels)[:, None]  # (Q, k)
    percent = (100 * scores.astype(float)).round()  # (Q, k)
    edges = [float(edge) for edge in range(102)]
    right, wrong = histogram(percent[is_true], edges), histogram(percent[~is_true], edges)
    bins = [slice(low, low + _BIN if low + _BIN < 100 else 101) for low in range(0, 100, _BIN)]
    totals = [sum(right[each]) + sum(wrong[each]) for each in bins]
    shares = [round(sum(right[each]) / total, 4) if total else None for each, total in zip(bins, totals, strict=True)]
    return {
        "match_scores": {
            "percent": list(range(101)),
            "true": right,
            "false": wrong,
            "matches_per_query": indices.shape[1],
        },
        "reliability": {"percent_from": [each.start for each in bins], "matches": totals, "true_share": shares},
    }


def match_calibration(repo: EvaluatedRepo) -> tuple[list[Figure], dict[str, Any]]:
    """Measure the error of `Match.probability` over the ten nearest of each test query with a label of the gallery.

    Returns:
        The figure and its table; nothing where the repo states no probability.
    """
    probability = repo.similarity.match_probability
    if probability is None:
        return [], {}
    stated, is_true = [], []
    for file in repo.divided_files("test"):
        images = repo.part("test", file=file)
        labels = labels_of(images)
        own = [index for index, label in enumerate(labels) if label in repo.benchmark.labels]
        scores, indices = repo.matches(repo.measured(images.subset(own)), MATCHES)
        stated.append(np.array([[probability(float(score)) for score in row] for row in scores]))
        is_true.append(np.array(repo.known.labels)[indices] == np.array(labels)[own][:, None])
    told, true = np.concatenate(stated), np.concatenate(is_true).astype(float)  # (Q, k)
    error, rows = calibration_error(told.ravel(), true.ravel())
    low, high = _error_interval(told, true)
    figure = Figure(
        name="match_calibration_error",
        value=100 * error,
        unit="points",
        n=len(told),
        what=f"Expected calibration error of the probability of a match, in {_BINS} bins of as many matches each.",
        tolerance=_ERROR_TOLERANCE,
        interval=(min(low, 100 * error), max(high, 100 * error)),
        target={"at_most": _LARGEST_ERROR},
    )
    return [figure], {"match_probability": {"stated": [row[0] for row in rows], "true": [row[1] for row in rows]}}


def calibration_error(stated: _Floats, is_true: _Floats) -> tuple[float, list[tuple[float, float]]]:
    """Compute the expected calibration error (Naeini et al. 2015) in bins of equal numbers.

    Args:
        stated: (M,) probabilities.
        is_true: (M,) ones where they came true.

    Returns:
        The mean distance of the stated and the true share, and both shares of each bin.
    """
    order = np.argsort(stated, kind="stable")
    ordered = stated[order]
    cuts = {0, len(ordered)}  # equal values stay together
    for edge in np.linspace(0, len(ordered), _BINS + 1).astype(int)[1:-1]:
        cuts.add(int(np.searchsorted(ordered, ordered[edge])))
    rows: list[tuple[float, float]] = []
    error = 0.0
    for low, high in pairwise(sorted(cuts)):
        row = float(ordered[low:high].mean()), float(is_true[order[low:high]].mean())
        rows.append((round(row[0], 4), round(row[1], 4)))
        error += abs(row[0] - row[1]) * (high - low) / len(stated)
    return error, rows


def _error_interval(stated: _Floats, is_true: _Floats) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles over queries drawn again, in points (bootstrap, Efron 1979)."""
    generator = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(_RESAMPLES):
        rows = torch.randint(len(stated), (len(stated),), generator=generator).numpy()
        errors.append(100 * calibration_error(stated[rows].ravel(), is_true[rows].ravel())[0])
    low, high = np.percentile(errors, [2.5, 97.5])
    return float(low), float(high)
