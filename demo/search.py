"""One search of a visitor, as the page keeps it, and how it is made. Each writes one line to the log."""

import csv
import io
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from demo.collection import Collection
from demo.copies import Found
from demo.links import Asked, Source
from visim_models import Match, OODVerdict, VisualSimilarity
from visim_models.models import Classifier
from visim_models.search.feedback import average_embedding, less_like

__all__ = ["QUERIES", "Search", "matches_csv", "nearest", "refined", "search_gallery", "search_pictures"]

QUERIES = "queries"
"""The one queue of all functions that search: Gradio's limit on work at once counts each queue by itself."""

_REACH = 300
"""How many of the nearest are ranked again, where some pictures are not wanted."""

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
        files: paths of the uploads, where their average is searched with.
        label: the one label that matches may have; "" for any.
        less: names of gallery pictures that the matches shall not be like.
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
    files: tuple[str, ...] = ()
    label: str = ""
    less: tuple[str, ...] = ()
    classes: Mapping[str, float] = field(default_factory=dict)
    found: Sequence[Found] = ()
    is_in_gallery: bool = False
    is_revealed: bool = False

    @property
    def asked(self) -> Asked | None:
        """What finds this search again; None where nothing does."""
        if not self.name:
            return None
        return Asked(name=self.name, source=self.source, way=self.way, top_k=len(self.matches), less=self.less)

    @property
    def is_usual(self) -> bool:
        """Whether its matches are as those whose probability was measured: of one right picture, of all labels."""
        return not self.label and not self.files and not (self.verdict is not None and self.verdict.is_ood)

    @property
    def is_hidden(self) -> bool:
        """Whether the matches wait behind the warning."""
        return self.verdict is not None and self.verdict.is_ood and not self.is_revealed


def search_pictures(
    collection: Collection,
    pictures: Iterable[Image.Image],
    *,
    way: str,
    top_k: int,
    label: str = "",
    less: Sequence[str] = (),
    classifies: bool = False,
) -> Search:
    """Search with an upload, or with the average of several: of their embeddings, each of length 1.

    Args:
        collection: the gallery.
        pictures: the uploads, at least one, of which one at a time is used. The verdict is on the strangest.
        way: how pictures are compared.
        top_k: how many matches.
        label: the one label that they may have; "" for any.
        less: names of gallery pictures that they shall not be like.
        classifies: also tell the label of a single upload, where the network that judges it can.

    Raises:
        VisimError: `top_k` is beyond the gallery, or a name of `less` is not in it.
    """
    start = time.perf_counter()
    chosen = collection.ways[way]
    judge = collection.judge or chosen
    results, judged = [], []
    for picture in pictures:
        results.append(chosen.search(picture, top_k=top_k))
        judged.append(results[-1] if judge is chosen else judge.search(picture, top_k=1))
    embedding = results[0].embedding if len(results) == 1 else average_embedding([each.embedding for each in results])
    strangest = min(judged, key=lambda each: (each.ood.p_value, -each.ood.score))
    classes: Mapping[str, float] = {}
    if classifies and len(results) == 1 and not strangest.ood.is_ood and isinstance(judge.model, Classifier):
        classes = judge.classify_embedding(strangest.embedding)
    is_plain = len(results) == 1 and not label and not less
    search = Search(
        way=way,
        embedding=embedding,
        matches=results[0].matches if is_plain else nearest(chosen, embedding, top_k=top_k, label=label, less=less),
        verdict=strangest.ood,
        label=label,
        less=tuple(less),
        classes=classes,
        is_revealed=bool(collection.basis.cannot_tell),
    )
    _log_line(collection, search, start)
    return search


def search_gallery(
    collection: Collection, file_name: str, *, way: str, top_k: int, label: str = "", less: Sequence[str] = ()
) -> Search:
    """Search with a picture of the gallery: its embedding is there already.

    Raises:
        VisimError: the gallery has no such picture, or `top_k` is beyond it.
    """
    start = time.perf_counter()
    similarity = collection.ways[way]
    embedding = similarity.gallery.embedding(file_name)
    matches = nearest(similarity, embedding, top_k=top_k, label=label, less=less)
    search = Search(
        way=way,
        embedding=embedding,
        matches=matches,
        name=file_name,
        source="gallery",
        label=label,
        less=tuple(less),
    )
    _log_line(collection, search, start)
    return search


def refined(
    collection: Collection, search: Search, *, top_k: int | None = None, less: Sequence[str] | None = None
) -> Search:
    """Repeat a search with another number of matches, or less like other pictures, without embedding anything again.

    Raises:
        VisimError: `top_k` is beyond the gallery, or a name of `less` is not in it.
    """
    start = time.perf_counter()
    similarity = collection.ways[search.way]
    less = search.less if less is None else tuple(less)
    top_k = len(search.matches) if top_k is None else top_k
    matches = nearest(similarity, search.embedding, top_k=top_k, label=search.label, less=less)
    search = replace(search, matches=matches, less=less, found=())
    _log_line(collection, search, start)
    return search


def nearest(
    similarity: VisualSimilarity, embedding: Any, *, top_k: int, label: str = "", less: Sequence[str] = ()
) -> list[Match]:
    """Find the nearest matches of an embedding, of one label if that is given; fewer where it has fewer pictures.

    The nearest is the first, also of those that are left when others are not wanted.

    Args:
        similarity: has the gallery.
        embedding: (D,) of the query.
        top_k: how many matches.
        label: the one label that they may have; "" for any.
        less: names of gallery pictures that they shall not be like, as in `visim_models.search.feedback.less_like`.

    Raises:
        VisimError: `top_k` is beyond the gallery, or a name of `less` is not in it.
    """
    wanted = top_k if not less else max(top_k, min(_REACH, len(similarity.gallery)))
    found = similarity.nearest(embedding, top_k=wanted, label=label or None)
    if not less:
        return found
    return sorted(less_like(similarity.gallery, found, less)[:top_k], key=lambda match: -match.score)


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
