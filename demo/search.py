"""One search of a visitor, as the page keeps it, and how it is made. Each writes one line to the log."""

import csv
import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from demo.collection import Collection
from visim_models import Match, OODVerdict
from visim_models.agreement import agreement_map

__all__ = ["QUERIES", "Search", "agreement", "matches_csv", "search_gallery", "search_picture", "with_top_k"]

QUERIES = "queries"
"""The one queue of all functions that search: Gradio's limit on work at once counts each queue by itself."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search that a visitor's page shows.

    Attributes:
        way: how pictures are compared, a key of `Collection.ways`.
        embedding: (D,) of the query: a change of the slider needs no more.
        matches: the pictures that were found, nearest first.
        verdict: on an upload; None for a picture of the gallery itself.
        file_name: of that picture of the gallery; "" for an upload.
        is_revealed: the nearest are shown although the upload looks strange: the visitor wants it, or the verdict
            cannot tell.
    """

    way: str
    embedding: Any
    matches: Sequence[Match]
    verdict: OODVerdict | None = None
    file_name: str = ""
    is_revealed: bool = False

    @property
    def is_hidden(self) -> bool:
        """Whether the matches wait behind the warning."""
        return self.verdict is not None and self.verdict.is_ood and not self.is_revealed


def search_picture(collection: Collection, picture: Image.Image, *, way: str, top_k: int) -> Search:
    """Search with an upload.

    Raises:
        VisimError: `top_k` is beyond the gallery.
    """
    start = time.perf_counter()
    chosen = collection.ways[way]
    result = chosen.search(picture, top_k=top_k)
    judge = collection.judge or chosen
    verdict = result.ood if judge is chosen else judge.search(picture, top_k=1).ood
    search = Search(
        way=way,
        embedding=result.embedding,
        matches=result.matches,
        verdict=verdict,
        is_revealed=bool(collection.basis.cannot_tell),
    )
    _log_line(collection, search, start)
    return search


def search_gallery(collection: Collection, file_name: str, *, way: str, top_k: int) -> Search:
    """Search with a picture of the gallery: its embedding is there already.

    Raises:
        VisimError: the gallery has no such picture, or `top_k` is beyond it.
    """
    start = time.perf_counter()
    similarity = collection.ways[way]
    embedding = similarity.gallery.embedding(file_name)
    matches = similarity.nearest(embedding, top_k=top_k)
    search = Search(way=way, embedding=embedding, matches=matches, file_name=file_name)
    _log_line(collection, search, start)
    return search


def with_top_k(collection: Collection, search: Search, top_k: int) -> Search:
    """Repeat a search with more or fewer matches, without embedding anything again.

    Raises:
        VisimError: `top_k` is beyond the gallery.
    """
    start = time.perf_counter()
    search = replace(search, matches=collection.ways[search.way].nearest(search.embedding, top_k=top_k))
    _log_line(collection, search, start)
    return search


def agreement(
    collection: Collection, search: Search, file_name: str, *, query: Image.Image, found: Image.Image
) -> tuple[Any, Any]:
    """Measure where the query, and where a match that was found, are like the other.

    Returns:
        Two (S, S) float arrays in [0, 1], of the query and of the match.

    Raises:
        VisimError: the gallery has no such picture.
    """
    similarity = collection.ways[search.way]
    embedding = similarity.gallery.embedding(file_name)
    return agreement_map(similarity, query, embedding), agreement_map(similarity, found, search.embedding)


def matches_csv(matches: Sequence[Match], columns: Sequence[str] = ()) -> str:
    """Write the matches as a CSV table: rank, file_name, label, score, and these further columns."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["rank", "file_name", "label", "score", *(_as_text(name) for name in columns)])
    for rank, match in enumerate(matches, start=1):
        # A name that begins like a formula would be run by a spreadsheet: the gallery may be anyone's.
        name, label, *further = (
            _as_text(value)
            for value in (match.file_name, match.label, *(match.columns.get(column, "") for column in columns))
        )
        writer.writerow([rank, name, label, f"{match.score:.6f}", *further])
    return file.getvalue()


def _as_text(value: str) -> str:
    return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value


def _log_line(collection: Collection, search: Search, start: float) -> None:
    """Log a search, without the picture or its name."""
    verdict = f"p={search.verdict.p_value:.3f} ood={search.verdict.is_ood}" if search.verdict else "from the gallery"
    milliseconds = 1000 * (time.perf_counter() - start)
    _log.info("%s %s: top %d, %s, %.0f ms", collection.key, search.way, len(search.matches), verdict, milliseconds)
