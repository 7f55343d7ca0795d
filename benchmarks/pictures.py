"""The pictures to measure with: real ones where a data folder is beside the checkout, else drawn ones."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.demo_process import PROJECT

__all__ = ["DATA", "are_photographs", "jpegs", "upload", "write_folder"]

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
