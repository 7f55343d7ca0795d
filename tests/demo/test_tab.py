"""What a visitor's side may send, and the page never would."""

from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from demo.collection import Collection
from demo.files import VisitorFiles
from demo.search import Options, search_pictures, with_tiles
from demo.tab import SearchTab
from tests.demo.conftest import drawn_picture, png_bytes

TWO = Options(way="by body", top_k=2)


def test_only_a_match_is_explained(
    collections: list[Collection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gr.Blocks() as page:
        tab = SearchTab(collections[1], VisitorFiles(page))
    search = with_tiles(collections[1], search_pictures(collections[1], [drawn_picture(7)], TWO), query=None)
    upload = tmp_path / "upload.png"
    upload.write_bytes(png_bytes(drawn_picture(7)))
    shown = {
        part.elem_id: value for part, value in tab._on_why(search, str(upload), search.matches[0].file_name).items()
    }
    assert not shown["cars-why-found"]["visible"]  # nothing is shown on a tile that is drawn
    assert "The tile is only drawn" in shown["cars-why-text"]

    def look_up(_: object, names: list[str]) -> None:
        raise AssertionError(f"{names} were looked up")

    monkeypatch.setattr(type(collections[1].tiles), "make", look_up)
    for name in ("../../../etc/passwd", "/etc/passwd", "none.jpg", ""):
        assert [value["visible"] for value in tab._on_why(search, str(upload), name).values()] == [False]


def test_more_pictures_than_eight_are_refused_unopened(collections: list[Collection], tmp_path: Path) -> None:
    with gr.Blocks() as page:
        tab = SearchTab(collections[1], VisitorFiles(page))
    files = [str(tmp_path / f"{number}.png") for number in range(9)]
    shown = {part.elem_id: value for part, value in tab._on_several(files, "by body", "", 4).items()}
    assert "Give at most 8 pictures at once." in shown["cars-verdict"]


def test_several_pictures_are_explained_on_the_match_alone(collections: list[Collection], tmp_path: Path) -> None:
    with gr.Blocks() as page:
        tab = SearchTab(collections[1], VisitorFiles(page))
    search = search_pictures(collections[1], [drawn_picture(7), drawn_picture(8)], TWO)
    search = replace(with_tiles(collections[1], search, query=None), files=("a.png", "b.png"))
    shown = {part.elem_id: value for part, value in tab._on_why(search, None, search.matches[0].file_name).items()}
    assert not shown["cars-why-query"]["visible"]
    assert "The tile is only drawn" in shown["cars-why-text"]
