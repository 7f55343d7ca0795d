"""One search of a visitor, as the page keeps it, and how it is made. Each writes one line to the log."""

import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from demo.collection import Collection
from demo.copies import Found
from demo.links import Asked, Source
from visim_models import Match, OODVerdict, VisualSimilarity
from visim_models.models import Classifier

__all__ = ["QUERIES", "Search", "matches_csv", "nearest", "search_gallery", "search_picture", "with_top_k"]

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
        name: of the picture, by its source; "" where nothing can find it again.
        source: where the picture comes from.
        shown: path of the picture where the page, and not the visitor, has put it into the upload.
        label: the one label that matches may have; "" for any.
        classes: label -> probability of the upload, where a network of the gallery is a classifier.
        found: the tiles that are shown, copies of one picture together; () before they are made.
        is_in_gallery: the upload is a picture of the gallery.
        is_revealed: the nearest are shown although the upload looks strange: the visitor wants it, or the verdict
            cannot tell.
    """

    way: str
    embedding: Any
    matches: Sequence[Match]
    verdict: OODVerdict | None = None
    name: str = ""
    source: Source = "visit"
    shown: str = ""
    label: str = ""
    classes: Mapping[str, float] = field(default_factory=dict)
    found: Sequence[Found] = ()
    is_in_gallery: bool = False
    is_revealed: bool = False

    @property
    def asked(self) -> Asked | None:
        """What finds this search again; None where nothing does."""
        if not self.name:
            return None
        return Asked(name=self.name, source=self.source, way=self.way, top_k=len(self.matches))

    @property
    def is_hidden(self) -> bool:
        """Whether the matches wait behind the warning."""
        return self.verdict is not None and self.verdict.is_ood and not self.is_revealed


def search_picture(
    collection: Collection, picture: Image.Image, *, way: str, top_k: int, label: str = "", classifies: bool = False
) -> Search:
    """Search with an upload.

    Args:
        collection: the gallery.
        picture: the upload.
        way: how pictures are compared.
        top_k: how many matches.
        label: the one label that they may have; "" for any.
        classifies: also tell the upload's own label, where the network that judges it can.

    Raises:
        VisimError: `top_k` is beyond the gallery.
    """
    start = time.perf_counter()
    chosen = collection.ways[way]
    result = chosen.search(picture, top_k=top_k)
    judge = collection.judge or chosen
    judged = result if judge is chosen else judge.search(picture, top_k=1)
    verdict = judged.ood
    classes: Mapping[str, float] = {}
    if classifies and not verdict.is_ood and isinstance(judge.model, Classifier):
        classes = judge.classify_embedding(judged.embedding)
    search = Search(
        way=way,
        embedding=result.embedding,
        matches=nearest(chosen, result.embedding, top_k=top_k, label=label) if label else result.matches,
        verdict=verdict,
        label=label,
        classes=classes,
        is_revealed=bool(collection.basis.cannot_tell),
    )
    _log_line(collection, search, start)
    return search


def search_gallery(collection: Collection, file_name: str, *, way: str, top_k: int, label: str = "") -> Search:
    """Search with a picture of the gallery: its embedding is there already.

    Raises:
        VisimError: the gallery has no such picture, or `top_k` is beyond it.
    """
    start = time.perf_counter()
    similarity = collection.ways[way]
    embedding = similarity.gallery.embeddings[similarity.gallery.index_of(file_name)]
    matches = nearest(similarity, embedding, top_k=top_k, label=label)
    search = Search(way=way, embedding=embedding, matches=matches, name=file_name, source="gallery", label=label)
    _log_line(collection, search, start)
    return search


def with_top_k(collection: Collection, search: Search, top_k: int) -> Search:
    """Repeat a search with more or fewer matches, without embedding anything again.

    Raises:
        VisimError: `top_k` is beyond the gallery.
    """
    start = time.perf_counter()
    similarity = collection.ways[search.way]
    matches = nearest(similarity, search.embedding, top_k=top_k, label=search.label)
    search = replace(search, matches=matches, found=())
    _log_line(collection, search, start)
    return search


def nearest(similarity: VisualSimilarity, embedding: Any, *, top_k: int, label: str = "") -> list[Match]:
    """Find the nearest matches of an embedding, of one label if that is given; fewer where it has fewer pictures.

    Raises:
        VisimError: `top_k` is beyond the gallery.
    """
    found = similarity.nearest(embedding, top_k=top_k)
    reach, size = top_k, len(similarity.gallery)
    while label and reach < size and sum(match.label == label for match in found) < top_k:
        reach = min(size, 8 * reach)
        found = similarity.nearest(embedding, top_k=reach)
    return [match for match in found if not label or match.label == label][:top_k]


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
