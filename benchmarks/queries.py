"""Rows: one query, from the bytes of a JPEG to the ranked result with its verdict."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import hub
from benchmarks.article_work import Article, CarArticle, Cifar10Article
from benchmarks.parts import query_parts, time_floors
from benchmarks.pictures import upload
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import Work, interleaved, medians, percentile
from visim_models import VisualSimilarity

__all__ = ["car_query_rows", "check_same_ranking", "cifar10_query_rows"]

_LEAST_RATIO = 60.0
_MOST_MILLISECONDS = 20.0


def car_query_rows(scale: Scale) -> Iterator[Row]:
    """Measure one query of the car tab."""
    similarity, picture = _similarity(scale, "cars"), upload("cars", data=scale.data)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
        article = CarArticle(similarity, Path(folder))
        check_same_ranking(similarity, article, picture)
        yield _row(scale, "cars", similarity, picture, lambda: article.search(picture), most=_MOST_MILLISECONDS)


def cifar10_query_rows(scale: Scale) -> Iterator[Row]:
    """Measure one query of the CIFAR-10 tab."""
    similarity, picture = _similarity(scale, "cifar10"), upload("cifar10", data=scale.data)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
        path = Path(folder) / "upload.jpg"
        path.write_bytes(picture)
        article = Cifar10Article(similarity)
        check_same_ranking(similarity, article, picture)
        yield _row(scale, "cifar10", similarity, picture, lambda: article.search(path))


def _similarity(scale: Scale, tab: str) -> VisualSimilarity:
    similarity = hub.load(dict(scale.repos)[tab])
    if scale.gallery_limit is not None:
        similarity.gallery = similarity.gallery.subset(range(min(scale.gallery_limit, len(similarity.gallery))))
    return similarity


def _row(
    scale: Scale, tab: str, similarity: VisualSimilarity, picture: bytes, article: Work, *, most: float | None = None
) -> Row:
    parts = query_parts(similarity, picture)
    seconds = interleaved(
        {"visim": lambda: similarity.search(picture), "article": article, **parts},
        rounds=scale.rounds,
        each=dict.fromkeys(("visim", *parts), scale.queries),
    )
    times = medians(seconds, scale=1e3)
    ours, ratio = times["visim"], times["article"] / times["visim"]
    ordinal = {"cars": "second", "cifar10": "first"}[tab]
    return Row(
        what=f"one query, JPEG of 640 x 480 to verdict, {tab}, gallery of {len(similarity.gallery):,}",
        measured=ours,
        unit="ms",
        baseline_name=f"the {ordinal} article's work for an upload",
        baseline=times["article"],
        ratio=ratio,
        ratio_unit="times faster",
        floors=time_floors(times, parts),
        target=f">= {_LEAST_RATIO:.0f} times faster" + (f", < {most:.0f} ms" if most else ""),
        met=ratio >= _LEAST_RATIO and (most is None or ours < most),
        note=f"p95 {percentile(seconds['visim'], 0.95) * 1e3:.1f} ms",
    )


def check_same_ranking(similarity: VisualSimilarity, article: Article, picture: bytes) -> None:
    """Check that both find the same for the same pixels: else their times cannot be compared.

    The pixels are visim's: the articles resize without averaging, and each to numbers of its own.

    Raises:
        RuntimeError: they do not.
    """
    theirs = article.rank(similarity.processor(picture)[None])
    scores = dict(theirs)  # by name: copies of a picture in the gallery may have each other's rank
    for rank, match in enumerate(similarity.search(picture).matches):
        if abs(match.score - theirs[rank][1]) > 1e-3 or abs(match.score - scores[match.file_name]) > 1e-3:
            raise RuntimeError(f"At rank {rank} the article's work finds {theirs[rank]}, and visim {match}.")
