"""Pictures to train on: a folder or a zip of `class/name.jpg`, read whole into memory as 8-bit tensors."""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from visim_models.errors import DataError, ImageDecodeError
from visim_models.images import decode_image
from visim_models.processing import ImageProcessor

__all__ = ["ImageSet", "download_cifar10", "list_images", "load_images", "open_images"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_DECODING_THREADS = 2


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one size, with names and labels.

    Attributes:
        file_names: `class/name.jpg`, sorted.
        labels: the class of each.
        pixels: (N, 3, S, S) uint8, RGB.
    """

    file_names: list[str]
    labels: list[str]
    pixels: Tensor

    def __len__(self) -> int:
        return len(self.file_names)

    def subset(self, indices: Sequence[int]) -> Self:
        """The pictures at these places, in this order."""
        return type(self)(
            [self.file_names[i] for i in indices],
            [self.labels[i] for i in indices],
            self.pixels[torch.as_tensor(indices, dtype=torch.long)],
        )

    def targets(self, classes: Sequence[str]) -> Tensor:
        """(N,) int64: the place of each label in `classes`.

        Raises:
            DataError: a label is none of the classes.
        """
        places = {label: place for place, label in enumerate(classes)}
        if unknown := set(self.labels) - set(places):
            raise DataError(f"The pictures have classes {sorted(unknown)}, but only {list(classes)} can be learnt.")
        return torch.tensor([places[label] for label in self.labels])


def list_images(source: Path) -> list[str]:
    """The sorted names, relative to `source`, of the pictures in a folder or a zip.

    Raises:
        DataError: there is no such folder or zip, or it holds no picture.
    """
    if source.is_dir():
        names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    else:
        raise DataError(f"{source} is neither a folder nor a zip of pictures.")
    names = sorted(name for name in names if Path(name).suffix.lower() in _SUFFIXES)
    if not names:
        raise DataError(f"{source} holds no pictures: they should lie in it as class/name.jpg.")
    return names


def open_images(source: Path) -> Callable[[str], bytes]:
    """A function from a name in `list_images(source)` to the bytes of that picture, for any thread to call."""
    if source.is_dir():
        return lambda name: (source / name).read_bytes()
    return zipfile.ZipFile(source).read


def load_images(source: Path, processor: ImageProcessor, *, limit: int | None = None, quiet: bool = False) -> ImageSet:
    """Every picture of a folder or zip, through the processor's resizing.

    A file that cannot be decoded is left out, and counted in a warning line.

    Args:
        source: folder or zip of `class/name.jpg`.
        processor: whose `resize` makes the squares.
        limit: take only so many, evenly spaced over the sorted names.
        quiet: show no progress bar.

    Raises:
        DataError: no such source, or no picture in it can be decoded.
    """
    if limit is not None and limit < 1:
        raise DataError(f"A limit of {limit} pictures leaves nothing: give at least 1.")
    names = list_images(source)
    if limit is not None and limit < len(names):
        names = [names[place] for place in np.linspace(0, len(names) - 1, limit).astype(int)]
    read = open_images(source)

    def decode(name: str) -> Tensor | None:
        try:
            return processor.resize(decode_image(read(name)))
        except (ImageDecodeError, OSError, zipfile.BadZipFile, zlib.error):
            return None

    with ThreadPoolExecutor(_DECODING_THREADS) as pool:
        bar = tqdm(pool.map(decode, names), total=len(names), desc=f"reading {source.name}", disable=quiet)
        decoded = list(bar)
    kept = [place for place, pixels in enumerate(decoded) if pixels is not None]
    if not kept:
        raise DataError(f"None of the {len(names)} pictures in {source} can be decoded.")
    if len(kept) < len(names):
        tqdm.write(f"{len(names) - len(kept)} files of {source.name} are no readable pictures and were left out.")
    file_names = [names[place] for place in kept]
    pixels = torch.stack([tensor for tensor in decoded if tensor is not None])  # (N, 3, S, S)
    return ImageSet(file_names, [Path(name).parent.name for name in file_names], pixels)


def download_cifar10(folder: Path, *, train: bool) -> ImageSet:
    """CIFAR-10 by torchvision's own download (170 MB, once), named as in the JPEG copy: `class/NNNN.jpg`.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).

    Raises:
        DataError: it could not be downloaded.
    """
    from torchvision.datasets import CIFAR10

    try:
        found = CIFAR10(folder, train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"CIFAR-10 could not be downloaded to {folder} ({error}): name a folder or zip.") from error
    labels = [found.classes[target] for target in found.targets]
    counts: dict[str, int] = {}
    names = []
    for label in labels:
        names.append(f"{label}/{counts.get(label, 0):04d}.jpg")
        counts[label] = counts.get(label, 0) + 1
    pixels = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    order = sorted(range(len(names)), key=names.__getitem__)
    return ImageSet(names, labels, pixels).subset(order)
