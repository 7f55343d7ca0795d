"""How often the matches of a held-out picture have its label: by the repo's own search, and by other ways to search."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.baselines import nearest, raw_pixels
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.evaluation.figures import loss_figure, share_figure
from lab.evaluation.measures import histogram, label_share
from lab.training.augmentation import paint_decorations
from visim_models.gallery import Gallery
from visim_models.repo_folder.metrics import Figure

__all__ = [
    "RAW_PIXELS",
    "decorated_retrieval",
    "match_tables",
    "paint_around",
    "pixel_retrieval",
    "retrieval_figures",
    "retrieval_shares",
]

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
