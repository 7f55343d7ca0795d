"""How often the matches of a held-out picture have its label, and whether their stated probability is right."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.figures import histogram, label_share, loss_figure, share_figure
from lab.fitting import measure_images
from lab.training.augmentation import paint_decorations
from visim_models.gallery import Gallery
from visim_models.repo_folder.metrics import Figure

__all__ = [
    "RAW_PIXELS",
    "calibration_error",
    "decorated_retrieval",
    "match_calibration",
    "match_tables",
    "nearest",
    "paint_around",
    "pixel_retrieval",
    "raw_pixels",
    "retrieval_figures",
    "retrieval_shares",
]

_BLOCK: Final = 512
_PIXEL_SIDE: Final = 32


def raw_pixels(images: Tensor) -> Tensor:
    """Return the pixels at 32 x 32, (N, 3072), of (N, 3, S, S) uint8 pictures; larger ones are averaged over areas."""
    return torch.cat(
        [F.interpolate(block.float(), size=_PIXEL_SIDE, mode="area").flatten(1) for block in images.split(_BLOCK)]
    )


def nearest(queries: Tensor, rows: Tensor, *, top_k: int) -> Tensor:
    """Find the rows with the smallest Euclidean distance from each query.

    Args:
        queries: (Q, P).
        rows: (N, P).
        top_k: how many to find.

    Returns:
        (Q, k) int64 indices of the rows, nearest first.
    """
    centre = rows.mean(dim=0)  # (P,); distances between centred rows are smaller numbers, with more exact differences
    queries, rows = queries - centre, rows - centre
    lengths = rows.square().sum(dim=1)  # (N,)
    found = [(lengths - 2 * block @ rows.T).topk(top_k, largest=False).indices for block in queries.split(_BLOCK)]
    return torch.cat(found)


RAW_PIXELS: Final = "raw pixels, Euclidean"

_MATCHES: Final = 10
"""Matches of each query that the plots count."""
_PAINT_SEED: Final = 2023
_BIN: Final = 5
_TARGETS: Final = {"car-classifier": 95.0, "cifar10-classifier": 93.0}
"""`model_type` -> the share that is aimed at."""
_LARGEST_LOSS: Final = 2.0


def retrieval_shares(labels: Sequence[str], indices: Tensor, gallery: Gallery, top_k: int) -> Tensor:
    """Return the share of each query's first `top_k` matches that have its label.

    Args:
        labels: Q labels of the queries.
        indices: (Q, >= top_k) of their matches in the gallery, nearest first.
        gallery: what was searched.
        top_k: how many matches are looked at.

    Returns:
        (Q,) float32.
    """
    found = [[gallery.labels[index] for index in row[:top_k]] for row in indices.tolist()]
    return label_share(labels, found)


def retrieval_figures(
    queries: ImageSet, indices: Tensor, repo: EvaluatedRepo, *, method: str = "", beat: Sequence[Figure] = ()
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
        goal = _TARGETS.get(repo.similarity.model.model_type, beaten.get(name))
        figures.append(
            share_figure(
                retrieval_shares(queries.labels, indices, repo.known, top_k),
                name=name,
                what=f"Share of the first {top_k} matches that have the {repo.benchmark.label_name} of a held-out "
                f"query, in a gallery of {len(repo.known)} without held-out pictures.",
                decisions=top_k,
                groups=repo.groups(queries),
                target=None if method or goal is None else {"at_least": goal},
                method=method,
            )
        )
    return figures


def pixel_retrieval(queries: ImageSet, repo: EvaluatedRepo) -> list[Figure]:
    """Return the figures of the nearest neighbours in raw pixels, by Euclidean distance at 32 x 32."""
    top_k = min(max(repo.benchmark.ranks), len(repo.known))
    indices = nearest(raw_pixels(queries.pixels), raw_pixels(repo.known_images.pixels), top_k=top_k)
    return retrieval_figures(queries, indices, repo, method=RAW_PIXELS)


def paint_around(images: Tensor) -> Tensor:
    """Paint a dealer's frame, banner or logo on each of (N, 3, S, S) uint8 pictures, the same ones each time."""
    painted = images.clone()
    rest = torch.arange(len(images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_PAINT_SEED)
        while len(rest):  # of those that are painted at random, some get nothing
            painted[rest] = paint_decorations(images[rest].float(), 1.0).round().clamp(0, 255).to(torch.uint8)
            rest = rest[(painted[rest] == images[rest]).flatten(1).all(dim=1)]
    return painted


def decorated_retrieval(queries: ImageSet, clean: Tensor, painted: Tensor, repo: EvaluatedRepo) -> list[Figure]:
    """Return the retrieval by pictures that a frame, banner or logo was painted on, and how much lower it is.

    Args:
        queries: Q pictures of the split, as they are.
        clean: (Q, k) indices of their matches in `repo.known`.
        painted: (Q, k) indices of the matches of the painted ones.
        repo: the repo whose gallery was searched.
    """
    top_k = repo.benchmark.ranks[-1]
    groups = repo.groups(queries)
    before, after = (
        retrieval_shares(queries.labels, indices, repo.known, top_k) for indices in (clean, painted)
    )  # (Q,) each
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


def match_tables(labels: Sequence[str], scores: Tensor, indices: Tensor, gallery: Gallery) -> dict[str, Any]:
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
    scores, indices = scores[:, :_MATCHES], indices[:, :_MATCHES]
    found = [[gallery.labels[index] for index in row] for row in indices.tolist()]
    truth = torch.tensor([[match == label for match in row] for label, row in zip(labels, found, strict=True)])
    percent = (100 * scores.double()).round()  # (Q, k)
    edges = [float(edge) for edge in range(102)]
    right, wrong = histogram(percent[truth], edges), histogram(percent[~truth], edges)
    bins = [slice(low, low + _BIN if low + _BIN < 100 else 101) for low in range(0, 100, _BIN)]
    totals = [sum(right[each]) + sum(wrong[each]) for each in bins]
    return {
        "match_scores": {
            "percent": list(range(101)),
            "true": right,
            "false": wrong,
            "matches_per_query": len(found[0]),
        },
        "reliability": {
            "percent_from": [each.start for each in bins],
            "matches": totals,
            "true_share": [
                round(sum(right[each]) / total, 4) if total else None for each, total in zip(bins, totals, strict=True)
            ],
        },
    }


_CALIBRATION_BINS: Final = 10
_TARGET: Final = 2.0
_RESAMPLES: Final = 200
_TOLERANCE: Final = 0.1


def match_calibration(repo: EvaluatedRepo) -> tuple[list[Figure], dict[str, Any]]:
    """Measure the error of `Match.probability` over the ten nearest of each test query with a label of the gallery.

    Returns:
        The figure and its table; nothing where the repo states no probability.
    """
    probability = repo.similarity.match_probability
    if probability is None:
        return [], {}
    stated, true = [], []
    for file in repo.divided_files("test"):
        images = repo.part("test", file=file)
        own = images.subset([index for index, label in enumerate(images.labels) if label in repo.benchmark.labels])
        embeddings = measure_images(repo.similarity, own.pixels, gallery=repo.known).embeddings
        scores, indices = repo.known.search(embeddings.numpy(), top_k=min(_MATCHES, len(repo.known)))
        stated += [[probability(float(score)) for score in row] for row in scores]
        true += [
            [repo.known.labels[index] == label for index in row] for label, row in zip(own.labels, indices, strict=True)
        ]
    told, is_true = torch.tensor(stated), torch.tensor(true).float()  # (Q, k)
    error, rows = calibration_error(told.flatten(), is_true.flatten())
    low, high = _interval(told, is_true)
    figure = Figure(
        name="match_calibration_error",
        value=100 * error,
        unit="points",
        n=len(told),
        what=f"Expected calibration error of a match's probability, in {_CALIBRATION_BINS} bins of equal numbers.",
        tolerance=_TOLERANCE,
        interval=(min(low, 100 * error), max(high, 100 * error)),
        target={"at_most": _TARGET},
    )
    return [figure], {"match_probability": {"stated": [row[0] for row in rows], "true": [row[1] for row in rows]}}


def calibration_error(stated: Tensor, is_true: Tensor) -> tuple[float, list[tuple[float, float]]]:
    """Compute the expected calibration error (Naeini et al. 2015) in bins of equal numbers.

    Args:
        stated: (M,) probabilities.
        is_true: (M,) ones where they came true.

    Returns:
        The mean distance of the stated and the true share, and both shares of each bin.
    """
    order = stated.argsort(stable=True)
    rows: list[tuple[float, float]] = []
    error = 0.0
    for part in _equal_bins(stated[order]):
        chosen = order[part]
        row = stated[chosen].double().mean().item(), is_true[chosen].double().mean().item()
        rows.append((round(row[0], 4), round(row[1], 4)))
        error += abs(row[0] - row[1]) * len(chosen) / len(stated)
    return error, rows


def _equal_bins(ordered: Tensor) -> Sequence[slice]:
    """Split rising values into bins of about equal numbers; equal values stay together."""
    cuts = {0, len(ordered)}
    for edge in np.linspace(0, len(ordered), _CALIBRATION_BINS + 1).astype(int)[1:-1]:
        cuts.add(int(torch.searchsorted(ordered, ordered[edge])))
    edges = sorted(cuts)
    return [slice(low, high) for low, high in pairwise(edges)]


def _interval(stated: Tensor, is_true: Tensor) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles over queries drawn again, in points (bootstrap, Efron 1979)."""
    generator = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(_RESAMPLES):
        rows = torch.randint(len(stated), (len(stated),), generator=generator)
        errors.append(100 * calibration_error(stated[rows].flatten(), is_true[rows].flatten())[0])
    low, high = np.percentile(errors, [2.5, 97.5])
    return float(low), float(high)
