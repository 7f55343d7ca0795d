"""The sizes that figures are stated for, and the pictures to measure with: real ones, or drawn where there are none."""

import io
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from benchmarks.processes import PROJECT, DemoProcess, running_demo

__all__ = ["DATA", "Scale", "are_photographs", "jpegs", "upload", "write_folder"]

DATA = PROJECT.parent / "shared" / "data"

_ARCHIVES = {"cars": "cars/photos.zip", "cifar10": "cifar10/test.zip"}
_SIZES = {"cars": (320, 240), "cifar10": (32, 32)}


def are_photographs(tab: str, *, data: Path = DATA) -> bool:
    """Return whether the pictures of a tab, "cars" or "cifar10", are real ones: else they are drawn."""
    return (data / _ARCHIVES[tab]).is_file()


def jpegs(tab: str, count: int, *, data: Path = DATA) -> list[bytes]:
    """Return `count` different JPEG files as the gallery of a tab holds them; of real ones no more than there are."""
    if not are_photographs(tab, data=data):
        return [_jpeg(_drawn(number, _SIZES[tab])) for number in range(count)]
    with zipfile.ZipFile(data / _ARCHIVES[tab]) as file:
        names = [name for name in file.namelist() if name.endswith(".jpg")]
        return [file.read(names[number * len(names) // count]) for number in range(min(count, len(names)))]


def upload(tab: str, *, data: Path = DATA) -> bytes:
    """Return a visitor's picture: a JPEG of 640 x 480 pixels."""
    with Image.open(io.BytesIO(jpegs(tab, 3, data=data)[1])) as picture:
        return _jpeg(picture.convert("RGB").resize((640, 480), Image.Resampling.BICUBIC))


def write_folder(pictures: Sequence[bytes], folder: Path) -> list[Path]:
    """Write pictures into a new folder, and return their paths."""
    folder.mkdir()
    paths = [folder / f"{number:05d}.jpg" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(picture)
    return paths


def _drawn(number: int, size: tuple[int, int]) -> Image.Image:
    """Draw smooth blotches of colour, different for each number and about as hard to encode as a photograph."""
    coarse = np.random.default_rng(number).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes and repetitions of every row.

    Attributes:
        rounds: turns of each short measurement.
        long_rounds: turns of each measurement that takes seconds.
        queries: queries in one turn.
        gallery_limit: most pictures of a gallery that a query is compared with; None for all.
        built: photographs in the folder that a repo is built from.
        built_generally: the same for the general extractor, whose network is larger.
        searched: rows of the matrices that are searched.
        indexed: rows of the matrices that are put in engines.
        indexed_models: the repos whose embeddings, repeated with noise, these are.
        seconds_an_index: an index that would take longer to build is not measured.
        copied: photographs whose copies are looked for, among fifteen times as many.
        hidden: pictures of each kind that are hidden among a hundred times as many.
        grouped: rows of the matrix whose near-duplicates are grouped.
        cleaned: photographs in the folder that is cleaned.
        general: the repo of the network for pictures of anything.
        seconds: how long visitors use the demo in one turn.
        data: the folder of real pictures.
        repos: tab -> the name of its repo, as `hub.load` takes it.
        serve: given a folder, and options of the command line, serves a demo while it is entered.
        is_quick: whether the sizes are too small for the figures to mean anything.
    """

    rounds: int = 5
    long_rounds: int = 3
    queries: int = 20
    gallery_limit: int | None = None
    built: int = 7600
    built_generally: int = 1500
    searched: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    indexed: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    indexed_models: tuple[str, ...] = ("car-extractor", "general-extractor")
    seconds_an_index: float = 900.0
    copied: int = 500
    hidden: int = 50
    grouped: int = 100_000
    cleaned: int = 7600
    general: str = "general-extractor"
    seconds: float = 8.0
    data: Path = DATA
    repos: tuple[tuple[str, str], ...] = (("cars", "car-extractor"), ("cifar10", "cifar10-autoencoder"))
    serve: Callable[..., AbstractContextManager[DemoProcess]] = running_demo
    is_quick: bool = False

    @classmethod
    def quick(cls, **others: Any) -> Self:
        """Return sizes that are small enough to run every row in seconds."""
        small: dict[str, Any] = {
            "rounds": 1, "long_rounds": 1, "queries": 2, "gallery_limit": 20, "built": 40,
            "built_generally": 8,
            "searched": (300, 1_000),
            "indexed": (300,), "indexed_models": ("car-extractor",),
            "copied": 3, "hidden": 2, "grouped": 3_000, "cleaned": 40,
            "seconds": 0.5, "is_quick": True,
        }  # fmt: skip
        return cls(**{**small, **others})
