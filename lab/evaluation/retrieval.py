"""How often the matches of a held-out picture have its label: the repo's own search, and other ways to search."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lab.data import ImageSet
from lab.evaluation.baselines import nearest, raw_pixels
from lab.evaluation.measures import histogram, label_share
from lab.evaluation.subject import CARS, Family, Subject
from lab.training.augmentation import paint_decorations
from visim_models.gallery import Gallery
from visim_models.metrics import Figure, share_figure

__all__ = [
    "decorated_retrieval",
    "match_tables",
    "paint_around",
    "pixel_retrieval",
    "ranks_of",
    "retrieval_figures",
    "retrieval_shares",
]

_MATCHES = 10
"""Matches of each query that the plots count."""
_PAINT_SEED = 2023
_BIN = 5
_CAR_TARGET = 95.0
_LARGEST_LOSS = 2.0


def ranks_of(family: Family) -> tuple[int, ...]:
    """The numbers of matches that are looked at: the app's four for cars, the first and ten for CIFAR-10."""
    return (4,) if family is CARS else (1, 10)


def retrieval_shares(labels: Sequence[str], places: Tensor, gallery: Gallery, top_k: int) -> Tensor:
    """(Q,) share of each query's first `top_k` matches that have its label; `places` (Q, >= top_k) in the gallery."""
    found = [[gallery.labels[place] for place in row[:top_k]] for row in places.tolist()]
    return label_share(labels, found)


def retrieval_figures(
    labels: Sequence[str], places: Tensor, subject: Subject, *, method: str = "", beat: Sequence[Figure] = ()
) -> list[Figure]:
    """One figure a rank.

    Args:
        labels: of the queries.
        places: (Q, >= 10) the matches in `subject.known`, nearest first.
        subject: whose gallery was searched.
        method: what searched, for a baseline.
        beat: figures of a baseline that are the targets, where there are no others.
    """
    figures = []
    beaten = {figure.name: figure.value for figure in beat}
    label = "body type" if subject.family is CARS else "class"
    for top_k in ranks_of(subject.family):
        name = f"retrieval_top_{top_k}"
        goal = _CAR_TARGET if subject.classifies else beaten.get(name)
        figures.append(
            share_figure(
                retrieval_shares(labels, places, subject.known, top_k),
                name=name,
                what=f"Share of the first {top_k} matches that have the {label} of a held-out query, in a gallery of "
                f"{len(subject.known)} without held-out pictures.",
                target=None if method or goal is None else {"at_least": goal},
                method=method,
            )
        )
    return figures


def pixel_retrieval(queries: ImageSet, known: ImageSet, subject: Subject) -> list[Figure]:
    """The figures of the nearest neighbours in raw pixels, by Euclidean distance at 32 x 32."""
    top_k = max(ranks_of(subject.family))
    places = nearest(raw_pixels(queries.pixels), raw_pixels(known.pixels), top_k=top_k)
    return retrieval_figures(queries.labels, places, subject, method="raw pixels, Euclidean")


def paint_around(images: Tensor) -> Tensor:
    """(N, 3, S, S) uint8 -> the same with a dealer's frame, banner or logo painted on, the same ones each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_PAINT_SEED)
        return paint_decorations(images.float(), 1.0).round().clamp(0, 255).to(torch.uint8)


def decorated_retrieval(labels: Sequence[str], clean: Tensor, painted: Tensor, subject: Subject) -> list[Figure]:
    """Retrieval by pictures that a frame, banner or logo was painted on, and what that loses.

    Args:
        labels: of the queries.
        clean: (Q, >= 4) matches of the pictures as they are.
        painted: (Q, >= 4) matches of the painted ones.
        subject: whose gallery was searched.
    """
    top_k = ranks_of(subject.family)[-1]
    before, after = (retrieval_shares(labels, places, subject.known, top_k) for places in (clean, painted))
    return [
        share_figure(
            after,
            name=f"decorated_retrieval_top_{top_k}",
            what="The same share after a dealer's frame, banner or logo was painted on the query.",
        ),
        share_figure(
            before - after,
            name="decoration_loss",
            what=f"What painting on the query loses of the share of the first {top_k}.",
            unit="points",
            target={"at_most": _LARGEST_LOSS} if subject.classifies else None,
        ),
    ]


def match_tables(labels: Sequence[str], scores: Tensor, places: Tensor, gallery: Gallery) -> dict[str, Any]:
    """What the plots of scores and percents are drawn from, over the ten nearest of each query.

    `match_scores`: how many true and false matches (of the query's label, or of another) have each whole percent.
    `reliability`: the share of true matches in bins of 5 percent, null where a bin is empty.

    Args:
        labels: of the queries.
        scores: (Q, k) cosines.
        places: (Q, k) in the gallery.
        gallery: that was searched.
    """
    scores, places = scores[:, :_MATCHES], places[:, :_MATCHES]
    found = [[gallery.labels[place] for place in row] for row in places.tolist()]
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
