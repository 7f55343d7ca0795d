"""Tiles: from a picture where it is at hand, else drawn; copies of one picture share one."""

import gc
from collections.abc import Sequence
from pathlib import Path

import pytest
from gradio.utils import is_static_file
from PIL import Image

from demo.collection import Collection
from demo.files import Tiles, enlarged
from demo.search import find_distinct
from tests.demo.conftest import drawn_picture, noise, png_bytes
from visim_models import ImageStore, Match


def test_a_tile_is_the_picture_where_it_is_at_hand(tmp_path: Path, collections: list[Collection]) -> None:
    (tmp_path / "suv").mkdir()
    (tmp_path / "suv" / "suv_0001.jpg").write_bytes(png_bytes(drawn_picture(3).resize((640, 480))))
    (tmp_path / "suv" / "suv_0002.jpg").write_bytes(b"damaged")
    tiles = Tiles(ImageStore(tmp_path), collections[1].decoder)
    photo, damaged, missing = tiles.make(["suv/suv_0001.jpg", "suv/suv_0002.jpg", "suv/suv_0003.jpg"])
    assert (photo.is_drawn, damaged.is_drawn, missing.is_drawn) == (False, True, True)
    with Image.open(photo.path) as tile:
        assert (tile.format, tile.size) == ("PNG", (320, 240))


def test_a_drawn_tile_is_what_the_code_gives_with_crisp_pixels(collections: list[Collection]) -> None:
    cifar10 = collections[0].ways["by code"]
    drawn = Image.fromarray(cifar10.decode_gallery("coupe/coupe_0001.jpg"))
    tiles = Tiles(None, cifar10)
    with Image.open(tiles.make(["coupe/coupe_0001.jpg"])[0].path) as tile:
        assert tile.size == (192, 192)
        assert tile.resize((32, 32), Image.Resampling.NEAREST).tobytes() == drawn.tobytes()


def test_a_gallery_that_nothing_can_draw_has_blank_tiles(collections: list[Collection]) -> None:
    for decoder in (None, collections[1].ways["by body"], collections[0].decoder):
        tiles = Tiles(None, decoder)
        with Image.open(tiles.make(["of/another gallery.jpg"])[0].path) as blank:
            assert blank.size == (320, 240)


def test_a_picture_is_fetched_once(collections: list[Collection]) -> None:
    class Counting:
        asked: list[str] = []  # noqa: RUF012

        def read_many(self, file_names: Sequence[str]) -> dict[str, bytes]:
            self.asked.extend(file_names)
            return {name: png_bytes(drawn_picture(1)) for name in file_names}

    source = Counting()
    tiles = Tiles(source, collections[1].decoder)
    first = tiles.make(["suv/suv_0001.jpg", "suv/suv_0002.jpg"])
    assert tiles.make(["suv/suv_0001.jpg", "suv/suv_0002.jpg"]) == first
    assert source.asked == ["suv/suv_0001.jpg", "suv/suv_0002.jpg"]


def test_the_folder_is_bounded_and_the_least_recently_used_go(collections: list[Collection]) -> None:
    names = [f"{label}/{label}_{number:04d}.jpg" for label in ("coupe", "suv") for number in range(5)]
    unbounded = Tiles(None, collections[1].decoder)
    size = Path(unbounded.make(names[:1])[0].path).stat().st_size
    tiles = Tiles(None, collections[1].decoder, max_bytes=4 * size)
    first = tiles.make(names[:1])[0]
    folder = Path(first.path).parent
    for name in names[1:]:
        assert tiles.make([names[0]]) == [first]  # used again and again
        (shown,) = tiles.make([name])
        assert Path(shown.path).exists()
        assert sum(file.stat().st_size for file in folder.iterdir()) <= 5 * size
    assert 2 <= len(list(folder.iterdir())) < 8
    assert Path(first.path).exists()
    assert all(Path(tile.path).exists() for tile in tiles.make(names))  # all that are shown at once stay


def test_tiles_are_served_from_where_they_are() -> None:
    """Gradio copies nothing of them into its cache, where it would delete them."""
    tiles = Tiles(None, None)
    assert is_static_file(tiles.make(["a.jpg"])[0].path)


def test_the_files_go_with_the_tiles() -> None:
    tiles = Tiles(None, None)
    folder = Path(tiles.make(["a.jpg"])[0].path).parent
    del tiles
    gc.collect()
    assert not folder.exists()


def test_only_tiny_pictures_are_enlarged() -> None:
    assert enlarged(Image.new("RGB", (32, 32))).size == (192, 192)
    assert enlarged(Image.new("RGB", (128, 100))).size == (128, 100)


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
