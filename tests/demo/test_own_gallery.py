"""Galleries of the host's own: built and brought up to date, with their words, their examples and their verdicts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demo.answer import explain_basis, explain_search
from demo.app import main
from demo.collection import Collection, default_out, load_collections
from demo.examples import make_examples
from demo.files import VisitorFiles
from demo.heading import USUAL_HEADING, make_heading, read_logo
from demo.page import build_demo
from demo.search import Options, search_pictures
from demo.settings import Settings
from demo.tab import SearchTab
from tests.builders import edit_json, tiny_repo, write_pictures
from tests.demo.conftest import drawn_picture, noise
from visim_models import DataError
from visim_models.galleries import Description, build, building

TWO = Options(way="by features", top_k=2)
ABOUT = {"title": "Oak & Sons", "one": "a chair", "many": "chairs", "description": "From our workshop."}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a gallery of them; tests leave it as it is, or change a copy."""
    folder = tmp_path_factory.mktemp("workshop")
    pictures = write_pictures(folder / "pictures", 8, classes=["chairs", "lamps", "tables"])
    model = tiny_repo(folder / "model")
    build(pictures, folder / "my-gallery", model=model, description=Description(about=ABOUT), progress=False)
    return folder


@pytest.fixture
def load(workshop: Path) -> Callable[..., list[Collection]]:
    def load(**settings: Any) -> list[Collection]:
        return load_collections(Settings(galleries=(str(workshop / "my-gallery"),), only=True, **settings))

    return load


def test_a_gallery_has_its_own_words(load: Callable[..., list[Collection]]) -> None:
    (collection,) = load()
    assert (collection.key, collection.title) == ("my_gallery", "Oak & Sons")
    assert (collection.words.one, collection.words.many) == ("a chair", "chairs")
    page = build_demo([collection])
    assert [function.api_name for function in page.fns.values() if function.api_visibility == "public"] == [
        "search_my_gallery", "embed_my_gallery"
    ]  # fmt: skip


def test_its_examples_are_its_pictures(load: Callable[..., list[Collection]], workshop: Path, tmp_path: Path) -> None:
    (collection,) = load()
    examples = make_examples(collection, tmp_path)
    assert [example.caption for example in examples] == ["chairs", "chairs", "lamps", "tables", "tables"]
    shutil.copytree(workshop / "my-gallery", tmp_path / "moved")
    (elsewhere,) = load_collections(
        Settings(galleries=(str(tmp_path / "moved"),), only=True, images={"moved": str(workshop / "model")})
    )
    assert make_examples(elsewhere, tmp_path) == []


def test_a_picture_that_is_not_at_hand_says_so(load: Callable[..., list[Collection]], workshop: Path) -> None:
    """In a gallery whose network is no autoencoder."""
    (found,) = load(images={"my_gallery": str(workshop / "model")})
    tiles = type(found.tiles)(None, None)
    collection = Collection(key="k", title="", words=found.words, ways=found.ways, tiles=tiles, is_own=True)
    with gr.Blocks() as page:
        tab = SearchTab(collection, VisitorFiles(page))
    search = search_pictures(collection, [drawn_picture(3)], TWO)
    updates = tab._show(search)
    _, *tiles_shown = updates[tab.gallery].split("<li>")
    assert len(tiles_shown) == 2
    assert all("not at hand" in tile and "drawn" not in tile for tile in tiles_shown)
    assert "Grey tiles stand for pictures that are not at hand." in updates[tab.gallery]


def test_a_verdict_that_finds_nothing_hides_nothing_and_says_so(load: Callable[..., list[Collection]]) -> None:
    """An untrained network finds next to nothing of what is drawn."""
    (collection,) = load()
    assert collection.is_self_calibrated
    for picture in (drawn_picture(1), noise(1)):
        search = search_pictures(collection, [picture], TWO)
        assert search.verdict is not None
        assert search.verdict.word == "cannot tell"
        assert not search.is_hidden
        said = explain_basis(search, collection)
        assert "Tried on drawn pictures (40 of each kind), the verdict finds " in said


def test_too_few_pictures_have_no_verdict(tmp_path: Path, workshop: Path) -> None:
    pictures = write_pictures(tmp_path / "few", 2, classes=["chairs"])
    build(pictures, tmp_path / "out", model=workshop / "model", progress=False)
    (collection,) = load_collections(Settings(galleries=(str(tmp_path / "out"),), only=True))
    search = search_pictures(collection, [drawn_picture(1)], TWO)
    assert "This gallery has too few pictures for a verdict." in explain_search(search, collection, moves="focus")


def test_figures_that_cannot_be_read_are_left_out(
    workshop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(workshop / "my-gallery", tmp_path / "damaged")
    edit_json(tmp_path / "damaged" / "metrics.json", figures="none")
    (collection,) = load_collections(Settings(galleries=(str(tmp_path / "damaged"),), only=True))
    assert not collection.figures
    assert "metrics.json" in caplog.text


def test_pictures_are_built_and_brought_up_to_date(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(building, "DEFAULT_MODEL", str(workshop / "model"))
    pictures = write_pictures(tmp_path / "My Photos", 8, classes=["chairs", "lamps"])
    settings = Settings(pictures=str(pictures), only=True)
    (collection,) = load_collections(settings)
    assert (collection.key, collection.title) == ("my_photos", "My Photos")
    assert (collection.words.one, collection.words.many) == ("a picture like these", "pictures")
    out = default_out(str(pictures))
    assert out.parts[:2] == (".visim", "galleries")
    assert f"{out}: 16 pictures (16 added), which are looked up under {pictures}" in capsys.readouterr().out
    (pictures / "chairs" / "0000.png").unlink()
    shutil.copy(workshop / "pictures" / "tables" / "0001.png", pictures / "lamps" / "0003.png")
    (collection,) = load_collections(settings)
    assert "15 pictures (1 embedded again, 1 removed)," in capsys.readouterr().out
    load_collections(settings)
    assert "15 pictures (nothing changed)," in capsys.readouterr().out


def test_two_folders_of_one_name_have_two_galleries(tmp_path: Path) -> None:
    first, second = (default_out(str(tmp_path / parent / "photos")) for parent in ("a", "b"))
    assert first != second
    assert default_out("hf://datasets/a/photos") != default_out("hf://datasets/b/photos")


@pytest.mark.usefixtures("bundled")
def test_an_own_gallery_comes_before_the_bundled_ones(repos: dict[str, Path], workshop: Path) -> None:
    gallery = str(workshop / "my-gallery")
    settings = Settings(
        galleries=(gallery, gallery),
        car_repo=str(repos["car-extractor"]),
        cifar10_repo=str(repos["cifar10-autoencoder"]),
    )
    keys = [collection.key for collection in load_collections(settings)]
    assert keys == ["my_gallery", "my_gallery_2", "cars", "cifar10"]


def test_the_heading_is_that_of_the_only_gallery(
    load: Callable[..., list[Collection]], collections: list[Collection], tmp_path: Path
) -> None:
    own = load()
    heading = make_heading(Settings(), own)
    assert (heading.title, heading.description, heading.is_of_gallery) == ("Oak & Sons", "From our workshop.", True)
    assert '<h1 dir="auto">Oak &amp; Sons</h1>' in heading.to_html()
    assert make_heading(Settings(title="<Mine>"), own).to_html().count("&lt;Mine&gt;") == 1
    assert make_heading(Settings(), [*own, *collections]) == USUAL_HEADING
    named = make_heading(Settings(title="Mine"), [*own, *collections])
    assert (named.title, named.description) == ("Mine", "")


def test_a_logo_must_be_a_picture(load: Callable[..., list[Collection]], tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
    assert read_logo(str(tmp_path / "logo.svg")).startswith("data:image/svg+xml;base64,")
    (tmp_path / "logo.png").write_bytes(b"no picture")
    (tmp_path / "logo.txt").write_bytes(b"no picture")
    for name, reason in (
        ("logo.png", "is not a picture"),
        ("logo.txt", "must be a PNG"),
        ("none.png", "cannot be read"),
    ):
        with pytest.raises(DataError, match=reason):
            read_logo(str(tmp_path / name))


def test_pictures_that_are_not_there_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["--pictures", str(tmp_path / "nowhere"), "--only", "--out", str(out)]) == 1
    assert "neither a folder, a zip, a list of addresses" in capsys.readouterr().err
    assert not out.exists()
