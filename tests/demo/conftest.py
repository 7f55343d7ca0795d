"""Tiny collections made with the real classes, and the demo served for them on a free port."""

import io
import json
import random
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, expect, sync_playwright
from torch import nn

import hub
from demo.app import launch_options, queue_options
from demo.collection import Collection
from demo.files import Tiles
from demo.page import build_demo
from demo.settings import Settings
from demo.texts import Words
from demo.uploads import KeptUploads
from lab.data import table_of
from lab.fitting import DetectorFit
from visim_models import (
    CarFeatureExtractor,
    Cifar10Classifier,
    ConvolutionalAutoencoder,
    Gallery,
    ImageProcessor,
    VisualSimilarity,
)
from visim_models.models import TorchNetwork
from visim_models.models.base import PretrainedModel
from visim_models.repo_folder import RepoFolder
from visim_models.search.results import MatchProbability

expect.set_options(timeout=30_000)  # milliseconds: a busy machine is slow, not wrong

CIFAR10 = Words("cifar10", "a CIFAR-10 picture", "CIFAR-10 pictures", is_own=False)
CARS = Words("cars", "a car", "cars", is_own=False)
LABELS = ("coupe", "sedan", "suv", "truck")
A_LABEL = 5
BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def drawn_picture(number: int) -> Image.Image:
    """A picture of two flat colours, another one for each number."""
    picture = Image.new("RGB", (64, 48), (40 + 9 * number % 200, 60 + 23 * number % 180, 90 + 41 * number % 150))
    box = (8 + number % 5, 10, 40 + number % 11, 40)
    ImageDraw.Draw(picture).rectangle(box, fill=(250 - 7 * number % 200, 30 + 13 * number % 200, 17 * number % 255))
    return picture


def noise(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture of pure noise, another one for each number."""
    return Image.frombytes("RGB", size, random.Random(number).randbytes(size[0] * size[1] * 3))


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def tiny_similarity(model: PretrainedModel, size: int) -> VisualSimilarity:
    """A gallery of 20 drawn pictures, and a detector that tells noise from drawn pictures."""
    processor = ImageProcessor(size=size)
    names = [f"{label}/{label}_{number:04d}.jpg" for label in LABELS for number in range(A_LABEL)]
    labels = [label for label in LABELS for _ in range(A_LABEL)]
    pixels = np.stack([processor(drawn_picture(number)) for number in range(len(names))])
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None  # the plain average of all batches: features that tell pictures apart, untrained
    with torch.inference_mode():
        model.train().embed(torch.from_numpy(pixels))
    network = TorchNetwork(model)
    gallery = Gallery(names, labels, network.embed(pixels))
    kinds = ((drawn_picture, range(100, 130)), (drawn_picture, range(130, 190)), (noise, range(100, 160)))
    fit, calibration, outliers = (
        table_of(np.stack([processor.resize(draw(number)) for number in numbers])) for draw, numbers in kinds
    )
    detector = DetectorFit.measure(
        gallery, network, processor, fit=fit, calibration=calibration, outliers=outliers
    ).detector()
    return VisualSimilarity(model, processor, gallery, detector)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give Gradio a folder for visitors' files that goes with the tests."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def repos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Short name -> folder of a tiny repo, saved as the real ones are."""
    folder = tmp_path_factory.mktemp("repos")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        autoencoder = ConvolutionalAutoencoder(base_channels=2, latent_dim=16)
        look = ConvolutionalAutoencoder(image_size=64, base_channels=2, latent_dim=16)
        extractor = CarFeatureExtractor()
        similarities = {
            "cifar10-autoencoder": tiny_similarity(autoencoder, 32),
            "car-extractor": tiny_similarity(extractor, 100),
            "car-autoencoder": tiny_similarity(look, 64),
            "cifar10-extractor": tiny_similarity(Cifar10Classifier(), 32),
        }
    similarities["car-extractor"].match_probability = MatchProbability([0.5, 1.0], [0.2, 0.96], 100)
    for name, similarity in similarities.items():
        similarity.save_pretrained(folder / name)
    return {name: folder / name for name in similarities}


@pytest.fixture
def bundled(repos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny repos in the place of the bundled ones."""
    for name, folder in repos.items():
        shutil.copytree(folder, tmp_path / f"visim-{name}")
    monkeypatch.setattr(RepoFolder, "bundles", [tmp_path])
    return tmp_path


@pytest.fixture(scope="session")
def collections(repos: dict[str, Path]) -> list[Collection]:
    """Both collections, without a network and without pictures: their tiles are drawn."""
    cifar10, cars, look = (
        hub.load(repos[name]) for name in ("cifar10-autoencoder", "car-extractor", "car-autoencoder")
    )
    return [
        Collection(
            key="cifar10", title="CIFAR-10", words=CIFAR10,
            ways={"by code": cifar10}, tiles=Tiles(None, cifar10), decoder=cifar10,
        ),
        Collection(
            key="cars", title="Cars", words=CARS,
            ways={"by body": cars, "by look": look}, tiles=Tiles(None, look), decoder=look,
        ),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def demo(collections: list[Collection]) -> gr.Blocks:
    """The page, not launched."""
    return build_demo(collections)


@contextmanager
def served(page: gr.Blocks, collections: Sequence[Collection] = (), **chosen: Any) -> Iterator[str]:
    """Serve a page as `demo/app.py` serves it, on a free port, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(port=port, concurrency=2, **chosen)
    page.queue(**queue_options(settings))
    _, url, _ = page.launch(**launch_options(settings, collections), prevent_thread_lock=True, quiet=True)
    yield url
    page.close()


@pytest.fixture(scope="session")
def address(demo: gr.Blocks, collections: list[Collection]) -> Iterator[str]:
    """Serve the page and yield its address."""
    with served(demo, collections) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Open headless Chromium."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium here: install Debian's package `chromium` to test the page in a browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=BROWSER_OPTIONS)
        yield opened
        opened.close()


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    """Make a client for requests that the page would not send."""
    with httpx.Client(base_url=address, timeout=30, verify=False) as client:
        yield client


def upload(http: httpx.Client, picture: Image.Image) -> dict[str, Any]:
    """Upload a picture and return the input that names it."""
    answer = http.post("gradio_api/upload", files={"files": ("picture.png", png_bytes(picture))})
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def end_of(http: httpx.Client, events: str) -> tuple[str, Any]:
    """Return the last event at a path: its name ("complete" or "error") and its data."""
    name, data = "", ""
    for line in http.get(events).text.splitlines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            data = value
    return name, json.loads(data)


def ask(http: httpx.Client, function: str, data: list[Any], **more: Any) -> tuple[str, Any]:
    """Call an endpoint through the queue and return the last event as `end_of` does, or the status and the refusal."""
    answer = http.post(f"gradio_api/call/{function}", json={"data": data, **more})
    if answer.status_code != 200:
        return str(answer.status_code), answer.json()["detail"]
    return end_of(http, f"gradio_api/call/{function}/{answer.json()['event_id']}")


def ask_page(http: httpx.Client, index: int, data: list[Any], **more: Any) -> tuple[str, Any]:
    """Call a function of the page by its index, as the page does, and return the same as `ask`."""
    session = f"session-{random.random()}"
    body = {"data": data, "fn_index": index, "session_hash": session, **more}
    answer = http.post("gradio_api/queue/join", json=body)
    if answer.status_code != 200:
        return str(answer.status_code), answer.json()["detail"]
    for line in http.get("gradio_api/queue/data", params={"session_hash": session}).text.splitlines():
        message = json.loads(line.removeprefix("data: ")) if line else {}
        if message.get("msg") == "process_completed":
            output = message["output"]
            return ("complete", output["data"]) if message["success"] else ("error", output)
    raise AssertionError("the page's function gave no answer")


def function_index(page: gr.Blocks, name: str) -> int:
    """Return the index of a function of the page, by its name; of two tabs, the first has the plain name."""
    return next(number for number, function in page.fns.items() if function.api_name == name)


class Photographs:
    """A source of photographs in which each picture is there twice."""

    def read_many(self, file_names: Sequence[str]) -> dict[str, bytes]:
        def number(name: str) -> int:
            return int(name[-5]) + 10 * name.startswith(("suv", "truck"))

        return {name: png_bytes(noise(number(name), (16, 12)).resize((320, 240))) for name in file_names}


@pytest.fixture(scope="module")
def photographed(collections: list[Collection], tmp_path_factory: pytest.TempPathFactory) -> gr.Blocks:
    """The page of the cars, with photographs and with links to uploads."""
    cars = collections[1]
    shown = Collection(
        key="cars", title="Cars", words=CARS, ways=cars.ways, tiles=Tiles(Photographs(), cars.decoder),
        judge=cars.judge, decoder=cars.decoder,
    )  # fmt: skip
    return build_demo([shown], kept=KeptUploads(24, folder=tmp_path_factory.mktemp("kept")))


@pytest.fixture(scope="module")
def photo_address(photographed: gr.Blocks) -> Iterator[str]:
    with served(photographed) as url:
        yield url
