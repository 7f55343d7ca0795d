"""The program: which repos it loads, how it starts and how it refuses to."""

import importlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

import hub
from demo.app import launch_options, main
from demo.collection import Collection, load_collections
from demo.examples import make_examples
from demo.search import search_picture
from demo.settings import Settings
from demo.tiles import Tiles
from tests.demo.conftest import drawn_picture
from visim_models import ImageSourceError, RepositoryError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundled(repos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny repos in the place of the bundled ones."""
    for name, folder in repos.items():
        shutil.copytree(folder, tmp_path / f"visim-{name}")
    monkeypatch.setattr(importlib.import_module("hub.locate"), "BUNDLED", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("bundled")
def test_the_collections_of_both_tabs(repos: dict[str, Path]) -> None:
    cifar10, cars = load_collections(Settings())
    assert (cifar10.key, list(cifar10.ways)) == ("cifar10", ["by code"])
    assert (cars.key, list(cars.ways), cars.default_way) == ("cars", ["by body", "by look"], "by body")
    assert cars.decoder is cars.ways["by look"]
    expected = hub.load(repos["car-extractor"]).gallery.file_names
    assert all(way.gallery.file_names == expected for way in cars.ways.values())


@pytest.mark.usefixtures("bundled")
def test_a_gallery_of_cars_of_ones_own_is_compared_by_body_only(repos: dict[str, Path], tmp_path: Path) -> None:
    own = hub.load(repos["car-extractor"])
    own.gallery = own.gallery.subset(range(5))
    own.save_pretrained(tmp_path / "own")
    cars = load_collections(Settings(car_repo=str(tmp_path / "own")))[1]
    assert list(cars.ways) == ["by body"]
    assert cars.decoder is not None


@pytest.mark.usefixtures("bundled")
def test_an_image_root_that_the_host_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match="neither a folder, a zip, nor an address"):
        load_collections(Settings(images={"cars": str(tmp_path / "nowhere")}))


def test_a_repo_that_is_not_there_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with pytest.raises(RepositoryError):
        load_collections(Settings(cifar10_repo=missing))
    assert main(["--cifar10-repo", missing]) == 1
    assert "The demo cannot start." in capsys.readouterr().err


def test_the_examples_are_five_and_one_is_strange(tmp_path: Path) -> None:
    """With the trained repos, as visitors see them: an untrained network tells noise from pictures only by chance."""
    if not all((ROOT / "hub" / "pretrained" / repo).is_dir() for repo in hub.REPO_NAMES.values()):
        pytest.skip("the trained repos are not in hub/pretrained yet")
    for collection in load_collections(Settings()):
        *drawn, noise = make_examples(collection, tmp_path)
        similarity = collection.ways[collection.default_way]
        assert len({example.caption for example in drawn}) == 4
        assert not any(similarity.search(example.path).ood.is_ood for example in drawn)
        assert noise.caption == "noise"
        assert similarity.search(noise.path).ood.is_ood


def test_the_launch_options_are_known_to_gradio() -> None:
    options = launch_options(Settings(max_size=7, auth=("a", "b"), root_path="/visim"))
    known = gr.Blocks.launch.__code__.co_varnames
    assert set(options) <= set(known)
    assert (options["server_name"], options["max_file_size"], options["auth"]) == ("127.0.0.1", "7mb", ("a", "b"))


def test_the_program_serves_the_bundled_repos(tmp_path: Path) -> None:
    """As a Space starts it: by path, from the repository's root."""
    if not all((ROOT / "hub" / "pretrained" / repo).is_dir() for repo in hub.REPO_NAMES.values()):
        pytest.skip("the trained repos are not in hub/pretrained yet")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"VISIM_PORT": str(port), "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(temporary)}
    log = (tmp_path / "log").open("wb")
    with (
        log,
        subprocess.Popen([sys.executable, "demo/app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log) as app,
    ):
        try:
            deadline = time.monotonic() + 120
            while not _is_healthy(port):
                assert app.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
                assert time.monotonic() < deadline, "the demo did not start within two minutes"
                time.sleep(0.3)
            page = httpx.get(f"http://127.0.0.1:{port}/", timeout=30)
            assert "visim" in page.text
            assert list(temporary.glob("visim-*"))
        finally:
            app.terminate()
            app.wait(30)
    assert list(temporary.glob("visim-*")) == []  # the temporary files go with the program


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).text == "ok"
    except httpx.HTTPError:
        return False


def test_every_query_runs_in_the_function_that_is_marked_for_zero_gpu(
    repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        def marked(*arguments: Any) -> Any:
            asked.append(arguments[0])
            return function(*arguments)

        return marked

    monkeypatch.setattr("demo.collection.gpu", mark)
    cars = hub.load(repos["car-extractor"])
    collection = Collection(
        key="cars", title="Cars", one="a car", many="cars", ways={"by body": cars}, tiles=Tiles(None, None)
    )
    search_picture(collection, drawn_picture(1), way="by body", top_k=2)
    assert asked == ["by body"]
