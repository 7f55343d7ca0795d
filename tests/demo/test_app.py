"""The program: which repos it loads, how it starts and how it refuses to."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

import demo.app
import hub
from demo.answer import mood_of
from demo.app import launch_options, main, queue_options
from demo.collection import Collection, load_collections
from demo.examples import make_examples
from demo.search import QUERIES
from demo.settings import Settings
from tests.demo.conftest import drawn_picture, png_bytes
from visim_models import ImageSourceError, RepositoryError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.usefixtures("bundled")
def test_the_collections_of_both_tabs(repos: dict[str, Path]) -> None:
    cars, cifar10 = load_collections(Settings())
    assert (cifar10.key, list(cifar10.ways)) == ("cifar10", ["by look", "by kind"])
    assert cifar10.judge is cifar10.ways["by kind"]
    assert (cars.key, list(cars.ways)) == ("cars", ["by body", "by look"])
    assert cars.decoder is cars.ways["by look"]
    expected = hub.load(repos["car-extractor"]).gallery.file_names
    assert all(way.gallery.file_names == expected for way in cars.ways.values())


@pytest.mark.usefixtures("bundled")
def test_a_gallery_of_cars_of_ones_own_is_compared_by_body_only(repos: dict[str, Path], tmp_path: Path) -> None:
    own = hub.load(repos["car-extractor"])
    own.gallery = own.gallery.subset(range(5))
    own.save_pretrained(tmp_path / "own")
    cars = load_collections(Settings(car_repo=str(tmp_path / "own")))[0]
    assert list(cars.ways) == ["by body"]
    assert cars.decoder is not None


@pytest.mark.usefixtures("bundled")
def test_an_image_root_that_the_host_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match="neither a folder, a zip, a list of addresses"):
        load_collections(Settings(images={"cars": str(tmp_path / "nowhere")}))


def test_a_repo_that_is_not_there_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with pytest.raises(RepositoryError):
        load_collections(Settings(cifar10_repo=missing))
    assert main(["--cifar10-repo", missing]) == 1
    assert "The demo cannot start." in capsys.readouterr().err


def test_the_examples_are_known_but_for_the_last(tmp_path: Path) -> None:
    """With the trained repos, as visitors see them: an untrained network tells noise from pictures only by chance."""
    if not all((ROOT / "hub" / "pretrained" / repo).is_dir() for repo in hub.REPO_NAMES.values()):
        pytest.skip("the trained repos are not in hub/pretrained yet")
    for collection in load_collections(Settings()):
        *drawn, refused = make_examples(collection, tmp_path)
        judge = collection.usual_judge
        assert len({example.caption for example in drawn}) == len(drawn) >= 1
        assert all(mood_of(judge.search(example.path).ood) == "known" for example in drawn)
        assert refused.caption in ("text", "plot", "noise")
        assert judge.search(refused.path).ood.is_ood


def test_the_launch_options_are_known_to_gradio() -> None:
    settings = Settings(max_size=7, auth=("a", "b"), root_path="/visim")
    options = launch_options(settings)
    assert set(options) <= set(gr.Blocks.launch.__code__.co_varnames)
    assert set(queue_options(settings)) <= set(gr.Blocks.queue.__code__.co_varnames)
    assert (options["server_name"], options["max_file_size"], options["auth"]) == ("127.0.0.1", "7mb", ("a", "b"))


@pytest.mark.usefixtures("bundled")
def test_no_query_asks_for_a_gpu_on_zero_gpu(repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a marked function costs the visitor's quota, and visim computes on the CPU; a Space needs one."""
    marked, called = [], []

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        marked.append(function)
        return lambda *_: called.append(function)

    spaces = types.ModuleType("spaces")
    spaces.GPU = mark  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    launched: list[gr.Blocks] = []
    monkeypatch.setattr(gr.Blocks, "launch", lambda page, **_: launched.append(page))
    assert main(["--cifar10-repo", str(repos["cifar10-autoencoder"]), "--car-repo", str(repos["car-extractor"])]) == 0
    assert len(marked) == 1
    (page,) = launched
    (endpoint,) = [function.fn for function in page.fns.values() if function.api_name == "search_cifar10"]
    assert len(endpoint(png_bytes(drawn_picture(1)), 2)["matches"]) == 2
    assert called == []


def test_the_queue_is_limited(collections: list[Collection], monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[gr.Blocks, dict[str, Any]]] = []
    monkeypatch.setattr(demo.app, "load_collections", lambda _: collections)
    monkeypatch.setattr(gr.Blocks, "launch", lambda page, **options: launched.append((page, options)))
    assert demo.app.main(["--concurrency", "3"]) == 0
    ((page, options),) = launched
    assert page._queue.max_size == 3 * 64
    assert page._queue.default_concurrency_limit == 3
    assert page.api_open is False
    assert {function.concurrency_id for function in page.fns.values() if function.queue} == {QUERIES}
    assert options["state_session_capacity"] <= 1000  # each is remembered at about 150 kB
    assert (options["server_name"], options["max_file_size"]) == ("127.0.0.1", "32mb")
