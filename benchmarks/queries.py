"""Rows: one query, from the bytes of a JPEG to the ranked result with its verdict."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import hub
from benchmarks.article_work import ArticleWork
from benchmarks.pictures import upload
from benchmarks.scale import Scale
from benchmarks.table import Row
from benchmarks.timing import interleaved, percentile
from visim_models import VisualSimilarity

__all__ = ["first_tab_rows", "second_tab_rows"]

_LEAST_RATIO = 60.0
_MOST_MILLISECONDS = 20.0


def second_tab_rows(scale: Scale) -> Iterator[Row]:
    """One query of the car tab."""
    return _rows(scale, "cars", "the second article's work", most=_MOST_MILLISECONDS)


def first_tab_rows(scale: Scale) -> Iterator[Row]:
    """One query of the CIFAR-10 tab."""
    return _rows(scale, "cifar10", "the first article's work")


def _rows(scale: Scale, tab: str, baseline: str, *, most: float | None = None) -> Iterator[Row]:
    similarity = hub.load(dict(scale.repos)[tab])
    if scale.gallery_limit is not None:
        similarity.gallery = similarity.gallery.subset(range(min(scale.gallery_limit, len(similarity.gallery))))
    picture = upload(tab, data=scale.data)
    with tempfile.TemporaryDirectory(prefix="visim-bench-") as folder:
        article = ArticleWork(similarity, Path(folder))
        file = Path(folder) / "upload.jpg"
        file.write_bytes(picture)
        _check_same(similarity, article, file)
        seconds = interleaved(
            {"visim": lambda: similarity.search(picture), "article": lambda: article.search(file)},
            rounds=scale.rounds,
            each={"visim": scale.queries},
        )
    ours, theirs = (percentile(seconds[name], 0.5) * 1e3 for name in ("visim", "article"))
    size = f"{len(similarity.gallery):,}"
    yield Row(
        what=f"one query, {tab}, gallery of {size}", measured=ours, unit="ms",
        baseline_name=baseline, baseline=theirs, ratio=theirs / ours,
        target=f">= {_LEAST_RATIO:.0f}x faster" + (f", p50 < {most:.0f} ms" if most else ""),
        met=theirs / ours >= _LEAST_RATIO and (most is None or ours < most),
        note=f"p95 {percentile(seconds['visim'], 0.95) * 1e3:.1f} ms",
    )  # fmt: skip


def _check_same(similarity: VisualSimilarity, article: ArticleWork, picture: Path) -> None:
    """Both must find the same, or their times cannot be compared.

    Raises:
        RuntimeError: they do not.
    """
    theirs = article.search(picture, top_k=len(similarity.gallery))
    scores = dict(theirs)  # by name: copies of a picture in the gallery may change places
    for rank, match in enumerate(similarity.search(picture).matches):
        if abs(match.score - theirs[rank][1]) > 1e-3 or abs(match.score - scores[match.file_name]) > 1e-3:
            raise RuntimeError(f"at rank {rank} the article's work finds {theirs[rank]}, and visim {match}")
