"""One search of a visitor: what an address or a page asks for, how it is made, and what the page keeps of it."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args
from urllib.parse import urlencode

from PIL import Image

from demo.collection import Collection
from demo.files import Tile, Tiles
from visim_models import Match, OODVerdict, QueryError, VisualSimilarity
from visim_models.galleries.near_duplicates import picture_groups
from visim_models.search.feedback import average_embedding, less_like

__all__ = [
    "MOST_LESS",
    "QUERIES",
    "Asked",
    "Found",
    "Options",
    "Search",
    "Source",
    "find_distinct",
    "nearest",
    "read_top_k",
    "refined",
    "search_gallery",
    "search_pictures",
    "with_tiles",
]

QUERIES = "queries"
"""The one queue of all functions that search: Gradio's limit on work at once counts each queue by itself."""

Source = Literal["gallery", "example", "upload", "visit"]
"""A picture of the gallery by its file name; an example by its number; an upload that is kept, by its token; one of
this visit alone, by its path, which no address holds."""

_LONGEST = 2000
MOST_LESS = 8
_REACH = 300
"""How many of the nearest are ranked again, where some pictures are not wanted."""
_SAME = 0.99
"""Stricter than for keeping splits apart: two pictures that are called one must be one."""
_ROUNDS = 3
"""How often more matches are asked for while copies take the room: each round makes tiles, perhaps from the web."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The search that an address asks for. All of it may come from anyone.

    Attributes:
        name: of the picture, by its source; of several uploads of one visit, each on a line.
        source: where the picture comes from.
        way: how pictures are compared; "" for the usual way.
        top_k: how many matches; None for the usual number.
        less: names of gallery pictures that the matches shall not be like.
    """

    name: str
    source: Source = "gallery"
    way: str = ""
    top_k: int | None = None
    less: tuple[str, ...] = ()

    @classmethod
    def read(cls, key: str, values: Mapping[str, object]) -> Self | None:
        """Read the parameters of an address; None where they ask for nothing of the gallery `key`.

        A value, which may be of any type, counts as left out where it does not fit.
        """
        name, source, way, number = (str(values.get(each, ""))[:_LONGEST] for each in (key, "of", "way", "top_k"))
        if not name:
            return None
        less = str(values.get("less", ""))[:_LONGEST].split("\n")[:MOST_LESS]
        is_number = number.isdecimal() and len(number) < 4  # Python refuses to read thousands of digits
        known: tuple[Source, ...] = get_args(Source)
        return cls(
            name=name,
            source=next((each for each in known if each == source), "gallery"),
            way=way,
            top_k=int(number) if is_number else None,
            less=tuple(filter(None, less)),
        )

    def address(self, key: str) -> str:
        """Return the address, relative to the page; "" for a picture of this visit alone."""
        if self.source == "visit":
            return ""
        of = {} if self.source == "gallery" else {"of": self.source}
        less = {"less": "\n".join(self.less)} if self.less else {}
        return f"?{urlencode({key: self.name, **of, 'way': self.way, 'top_k': self.top_k or '', **less})}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to search.

    Attributes:
        way: how pictures are compared, a key of `Collection.ways`.
        top_k: how many matches.
        label: the one label that matches may have; "" for any.
        less: names of gallery pictures that the matches shall not be like.
    """

    way: str
    top_k: int
    label: str = ""
    less: tuple[str, ...] = ()

    @classmethod
    def read(cls, collection: Collection, *, way: object, label: object, top_k: object, most: int) -> Self:
        """Read how to search, as a visitor's side sends it: values of any type, and at most so many matches.

        Raises:
            QueryError: one of them does not fit.
        """
        ways = list(collection.ways)
        if way not in (*ways, ""):
            raise QueryError(f"the way to compare must be one of {', '.join(ways)}.", key="way")
        if not isinstance(label, str | None):
            raise QueryError("the label must be a text: choose one of the list.", key="label")
        return cls(way=str(way or ways[0]), top_k=read_top_k(top_k, most=most), label=label or "")


def read_top_k(value: object, *, most: int) -> int:
    """Return the number of matches that a visitor asks for, by an input of any type.

    Raises:
        QueryError: it is not a whole number from 1 to `most`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most or value != int(value):
        raise QueryError(f"the number of matches, top_k, must be a whole number from 1 to {most}.", key="top_k")
    return int(value)


@dataclass(frozen=True)
class Found:
    """A tile of an answer.

    Attributes:
        match: the nearest of the pictures that it stands for.
        tile: its file.
        copies: how many pictures of the gallery it stands for.
        is_query: it is the picture that was searched with.
    """

    match: Match
    tile: Tile
    copies: int = 1
    is_query: bool = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search that a visitor's page shows.

    Attributes:
        options: how it searches.
        embedding: (D,) of the query: a change of the slider needs no more.
        matches: the pictures that were found, nearest first.
        verdict: on an upload; None for a picture of the gallery itself.
        name: of the picture, by its source; "" where nothing can find it again.
        source: where the picture comes from.
        shown: path of the picture where the page, and not the visitor, has put it into the upload.
        files: paths of the uploads, where their average is searched with.
        classes: label -> probability of the upload, where a network of the gallery is a classifier.
        found: the tiles that are shown, copies of one picture together; () before they are made.
        is_in_gallery: the upload is a picture of the gallery.
        is_revealed: the visitor wants to see the nearest although the upload is not one of these.
    """

    options: Options
    embedding: Any
    matches: Sequence[Match]
    verdict: OODVerdict | None = None
    name: str = ""
    source: Source = "visit"
    shown: str = ""
    files: tuple[str, ...] = ()
    classes: Mapping[str, float] = field(default_factory=dict)
    found: Sequence[Found] = ()
    is_in_gallery: bool = False
    is_revealed: bool = False

    @property
    def asked(self) -> Asked | None:
        """What finds this search again; None where nothing does."""
        if not 0 < len(self.name) <= _LONGEST:
            return None
        options = self.options
        return Asked(name=self.name, source=self.source, way=options.way, top_k=options.top_k, less=options.less)

    @property
    def is_refused(self) -> bool:
        """Whether the verdict is that the upload is not one of these."""
        return self.verdict is not None and self.verdict.word == "not one of these"

    @property
    def is_usual(self) -> bool:
        """Whether its matches are as those whose probability was measured: of one right picture, of all labels."""
        return not self.options.label and not self.files and not self.is_refused

    @property
    def is_hidden(self) -> bool:
        """Whether the matches wait behind the warning."""
        return self.is_refused and not self.is_revealed


def search_pictures(
    collection: Collection, pictures: Iterable[Image.Image], options: Options, *, classifies: bool = False
) -> Search:
    """Search with an upload, or with the average of several: of their embeddings, each of length 1.

    Args:
        collection: the gallery.
        pictures: the uploads, at least one, of which one at a time is used. The verdict is on the strangest.
        options: how to search.
        classifies: also give the label of a single upload, where the network that judges it can.

    Raises:
        VisimError: a name of `options.less` is not in the gallery.
    """
    start = time.perf_counter()
    chosen = collection.ways[options.way]
    judge = collection.judge or chosen
    results, judged = [], []
    for picture in pictures:
        results.append(chosen.search(picture, top_k=options.top_k))
        judged.append(results[-1] if judge is chosen else judge.search(picture, top_k=1))
    embedding = results[0].embedding if len(results) == 1 else average_embedding([each.embedding for each in results])
    strangest = min(judged, key=lambda each: (each.ood.p_value, -each.ood.score))
    is_plain = len(results) == 1 and not options.label and not options.less
    search = Search(
        options=options,
        embedding=embedding,
        matches=results[0].matches if is_plain else nearest(chosen, embedding, options),
        verdict=strangest.ood,
    )
    if classifies and len(results) == 1 and not search.is_refused and judge.network.class_names:
        search = replace(search, classes=judge.classify_embedding(strangest.embedding))
    return _logged(collection, search, start)


def search_gallery(collection: Collection, file_name: str, options: Options) -> Search:
    """Search with a picture of the gallery: its embedding is there already.

    Raises:
        VisimError: the gallery has no such picture, or none of a name in `options.less`.
    """
    start = time.perf_counter()
    similarity = collection.ways[options.way]
    embedding = similarity.gallery.embedding(file_name)
    matches = nearest(similarity, embedding, options)
    search = Search(options=options, embedding=embedding, matches=matches, name=file_name, source="gallery")
    return _logged(collection, search, start)


def refined(
    collection: Collection, search: Search, *, top_k: object, most: int, less: Sequence[str] | None = None
) -> Search:
    """Repeat a search with another number of matches, or less like other pictures, without embedding anything again.

    `top_k` is as it came, and at most `most`; of the unwanted pictures the last count, None is for those as before.

    Raises:
        VisimError: `top_k` does not fit, or a name of `less` is not in the gallery.
    """
    start = time.perf_counter()
    unwanted = search.options.less if less is None else tuple(dict.fromkeys(less))[-MOST_LESS:]
    options = replace(search.options, top_k=read_top_k(top_k, most=most), less=unwanted)
    matches = nearest(collection.ways[options.way], search.embedding, options)
    return _logged(collection, replace(search, options=options, matches=matches, found=()), start)


def nearest(similarity: VisualSimilarity, embedding: Any, options: Options) -> list[Match]:
    """Find the nearest matches of an embedding, of one label if that is given; fewer where it has fewer pictures.

    The nearest is the first, also of those that are left when others are not wanted (`less_like` of the library).

    Raises:
        VisimError: a name of `options.less` is not in the gallery.
    """
    reach = max(options.top_k, _REACH) if options.less else options.top_k
    found = similarity.nearest(embedding, top_k=reach, label=options.label or None)
    if not options.less:
        return found
    return sorted(less_like(similarity.gallery, found, options.less)[: options.top_k], key=lambda match: -match.score)


def with_tiles(collection: Collection, search: Search, *, query: Image.Image | None) -> Search:
    """Return a search with its tiles, copies of one picture together, and the upload found among them."""
    similarity = collection.ways[search.options.way]

    def more(number: int) -> list[Match]:
        return nearest(similarity, search.embedding, replace(search.options, top_k=number))

    found = find_distinct(search.matches, collection.tiles, more=more, query=query)
    return replace(search, found=found, is_in_gallery=search.is_in_gallery or any(each.is_query for each in found))


def find_distinct(
    matches: Sequence[Match], tiles: Tiles, *, more: Callable[[int], Sequence[Match]], query: Image.Image | None = None
) -> list[Found]:
    """Make the tiles of an answer, one for all copies of a picture, and find the query among them.

    `more` gives so many matches. There are as many tiles as matches, or fewer where there are too many copies.
    """
    wanted, candidates = len(matches), list(matches)
    made: dict[str, Tile] = {}
    for _ in range(_ROUNDS):
        names = [match.file_name for match in candidates]
        new = [name for name in names if name not in made]
        made.update(zip(new, tiles.make(new), strict=True))
        found = _grouped(candidates, [made[name] for name in names], query)
        if len(found) >= wanted:
            break
        further = list(more(len(candidates) + wanted - len(found)))
        if len(further) <= len(candidates):
            break
        candidates = further
    return found[:wanted]


def _grouped(matches: Sequence[Match], tiles: Sequence[Tile], query: Image.Image | None) -> list[Found]:
    """Group matches whose photographs show one picture. Drawings are too soft to tell; placeholders show none."""
    shown = [index for index, tile in enumerate(tiles) if tile.is_photo]
    if not shown:
        return [Found(*each) for each in zip(matches, tiles, strict=True)]
    pictures = [_open(tiles[index]) for index in shown]
    groups = picture_groups([*pictures, *([query] if query else [])], threshold=_SAME)
    group_of = dict(zip(shown, groups, strict=False))
    of_query = groups[-1] if query else None
    found: dict[int, Found] = {}
    for index, (match, tile) in enumerate(zip(matches, tiles, strict=True)):
        key = group_of.get(index, -1 - index)
        if key in found:
            found[key] = replace(found[key], copies=found[key].copies + 1)
        else:
            found[key] = Found(match, tile, is_query=query is not None and key == of_query)
    return list(found.values())


def _open(tile: Tile) -> Image.Image:
    with Image.open(tile.path) as picture:
        return picture.convert("RGB")


def _logged(collection: Collection, search: Search, start: float) -> Search:
    """Log a search, without the picture or its name, and return it."""
    verdict = f"p={search.verdict.p_value:.3f}, {search.verdict.word}" if search.verdict else "from the gallery"
    milliseconds = 1000 * (time.perf_counter() - start)
    count, way = len(search.matches), search.options.way
    _log.info("%s %s: top %d, %s, %.0f ms", collection.key, way, count, verdict, milliseconds)
    return search
