"""Copies of one picture share a tile, and an upload is found among them."""

from collections.abc import Sequence

import pytest

from demo.copies import find_distinct
from demo.tiles import Tiles
from tests.demo.conftest import noise, png_bytes
from visim_models import Match

COPIES = {"a.png": 1, "b.png": 1, "c.png": 2, "d.png": 1, "e.png": 3, "f.png": 4}


class Pictures:
    """A source in which some pictures are there under several names."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def read_many(self, file_names: Sequence[str]) -> dict[str, bytes]:
        self.asked += file_names
        return {name: png_bytes(noise(COPIES[name], (16, 16)).resize((320, 240))) for name in file_names}


@pytest.fixture
def matches() -> list[Match]:
    return [Match(name, "x", 1 - index / 10) for index, name in enumerate(COPIES)]


def test_copies_share_a_tile_and_others_take_their_room(matches: list[Match]) -> None:
    source = Pictures()
    found = find_distinct(matches[:3], Tiles(source, None), more=lambda number: matches[:number])
    assert [(each.match.file_name, each.copies) for each in found] == [("a.png", 3), ("c.png", 1), ("e.png", 1)]
    assert len(source.asked) == len(set(source.asked)) == 5  # no more than it takes
    assert not any(each.is_query for each in found)


def test_without_copies_nothing_more_is_asked_for(matches: list[Match]) -> None:
    def more(_: int) -> list[Match]:
        raise AssertionError("no more matches are needed")

    distinct = [matches[0], matches[2]]
    assert [each.match for each in find_distinct(distinct, Tiles(Pictures(), None), more=more)] == distinct


def test_the_upload_is_found_among_the_matches(matches: list[Match]) -> None:
    query = noise(2, (16, 16)).resize((100, 80))
    found = find_distinct(matches[:3], Tiles(Pictures(), None), more=lambda number: matches[:number], query=query)
    assert [each.match.file_name for each in found if each.is_query] == ["c.png"]
    other = find_distinct(matches[:3], Tiles(Pictures(), None), more=lambda n: matches[:n], query=noise(9))
    assert not any(each.is_query for each in other)


def test_placeholders_are_not_copies_of_each_other(matches: list[Match]) -> None:
    found = find_distinct(matches[:3], Tiles(None, None), more=lambda number: matches[:number])
    assert [each.copies for each in found] == [1, 1, 1]
    assert all(each.tile.is_missing for each in found)
