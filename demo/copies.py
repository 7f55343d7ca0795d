"""Copies among the matches: near-duplicates of one picture share a tile, and further matches take their room."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from demo.tiles import Tile, Tiles
from visim_models import Match
from visim_models.galleries.near_duplicates import picture_groups

__all__ = ["Found", "find_distinct"]

_SAME = 0.99
"""Stricter than for keeping splits apart: two pictures that are called one must be one."""
_ROUNDS = 3
"""How often more matches are asked for while copies take the room: each round makes tiles, perhaps from the web."""


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


def find_distinct(
    matches: Sequence[Match], tiles: Tiles, *, more: Callable[[int], Sequence[Match]], query: Image.Image | None = None
) -> list[Found]:
    """Make the tiles of an answer, one for all copies of a picture.

    Args:
        matches: nearest first.
        tiles: of the gallery.
        more: number -> as many matches, nearest first.
        query: the upload, to find it among the matches.

    Returns:
        As many tiles as there are matches, or fewer where there are too many copies.
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
    pictures = [_open(tiles[index]) for index in shown]
    groups = picture_groups([*pictures, *([query] if query else [])], threshold=_SAME)
    group_of = dict(zip(shown, groups, strict=False))
    of_query = groups[-1] if query else None
    found: dict[int, Found] = {}
    for index, (match, tile) in enumerate(zip(matches, tiles, strict=True)):
        key = group_of.get(index, -1 - index)
        first = found.get(key)
        is_query = query is not None and key == of_query
        found[key] = Found(match, tile, 1, is_query) if first is None else _with_copy(first)
    return list(found.values())


def _with_copy(found: Found) -> Found:
    return Found(found.match, found.tile, found.copies + 1, found.is_query)


def _open(tile: Tile) -> Image.Image:
    with Image.open(tile.path) as picture:
        return picture.convert("RGB")
