"""Read pictures to learn from and to measure with, `class/name.jpg` of an image store, and outliers of other kinds.

A network remembers the outliers that it was trained on, so a detector that is fitted on the same ones learns too little
of how others look; and a figure counts only on kinds of things that nothing was fitted to. Each kind of thing, a folder
of its source, is therefore dealt to one purpose by its name, whatever run asks. Drawn ones train no network.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from visim_models.errors import DataError, VisimError
from visim_models.galleries.sources import label_of
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.models import CAR_CLASSES
from visim_models.processing import ImageProcessor
from visim_models.sources.store import ImageStore

__all__ = [
    "CIFAR10_DOWNLOAD",
    "ImageSet",
    "Outliers",
    "left_out_labels",
    "load_images",
    "load_outliers",
    "load_source",
    "local_paths",
    "outlier_part",
    "read_column",
]

CIFAR10_DOWNLOAD: Final = "cifar10"
"""As the name of a source: torchvision's own download of the training pictures."""

_DOWNLOAD_FOLDER: Final = Path("data")


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one size, with names, labels and hashes.

    Attributes:
        file_names: paths relative to their source.
        labels: the class of each: its folder.
        pixels: (N, 3, S, S) uint8, RGB.
        sha256: SHA-256 of each file's bytes, in hexadecimal.
    """

    file_names: list[str]
    labels: list[str]
    pixels: Tensor
    sha256: list[str]

    def __len__(self) -> int:
        return len(self.file_names)

    def subset(self, indices: Sequence[int]) -> Self:
        """Return the pictures at these indices, in this order."""
        return type(self)(
            [self.file_names[index] for index in indices],
            [self.labels[index] for index in indices],
            self.pixels[torch.as_tensor(indices, dtype=torch.long)],
            [self.sha256[index] for index in indices],
        )

    @classmethod
    def concatenate(cls, parts: Sequence["ImageSet"]) -> Self:
        """Join at least one set of pictures of the same size."""
        return cls(
            [name for part in parts for name in part.file_names],
            [label for part in parts for label in part.labels],
            torch.cat([part.pixels for part in parts]),
            [sha256 for part in parts for sha256 in part.sha256],
        )

    def targets(self, classes: Sequence[str]) -> Tensor:
        """Return the (N,) int64 indices of the labels in `classes`.

        Raises:
            DataError: a label is none of the classes.
        """
        indices = {label: index for index, label in enumerate(classes)}
        if unknown := set(self.labels) - set(indices):
            raise DataError(f"The pictures have classes {sorted(unknown)}, but only {list(classes)} can be learnt.")
        return torch.tensor([indices[label] for label in self.labels], dtype=torch.long)


def load_images(
    source: str | os.PathLike[str],
    processor: ImageProcessor,
    *,
    limit: int | None = None,
    keep: Callable[[str], bool] | None = None,
    choose: Callable[[str], bool] | None = None,
    quiet: bool = False,
) -> ImageSet:
    """Read the pictures of a folder, a zip or a data set on the Hub, through the processor's resizing.

    A file that cannot be read or decoded is left out, and counted in a warning line.

    Args:
        source: folder, zip or `hf://datasets/...` of `class/name.jpg`.
        processor: its `resize` makes the squares.
        limit: read only so many, evenly spaced over the sorted names.
        keep: whether to decode a file, by the SHA-256 of its bytes; by default all. Where none is, the set is empty.
        choose: whether a file counts at all, by its name; by default all do.
        quiet: show no progress bar.

    Raises:
        DataError: there is no picture in the source, or none of them can be decoded.
        ImageSourceError: there is no such source.
    """
    store = ImageStore(source)
    names = store.list()
    if not names:
        raise DataError(f"{source} holds no pictures: put them there as class/name.jpg.", path=source)
    names = [name for name in names if choose is None or choose(name)]
    names = [names[index] for index in _evenly_spaced(len(names), limit)]
    if keep:
        names = [name for name in names if _is_kept(store, name, keep)]
    found: list[tuple[str, npt.NDArray[np.uint8], str]] = []
    left_out = len(store.unreadable)
    with tqdm(total=len(names), desc=f"reading {Path(source).name}", unit="picture", disable=quiet) as bar:
        for batch in store.decode_many(names, processor, at_once=pictures_at_once(processor.size)):
            found += [(name, *result) for name, result in batch if not isinstance(result, VisimError)]
            bar.update(len(batch))
    left_out += len(names) - len(found)
    if names and not found:
        raise DataError(f"None of the {len(names)} pictures in {source} can be used.", path=source)
    if left_out:
        tqdm.write(f"{left_out} files of {source} cannot be read as pictures and were left out.")
    empty = torch.empty(0, 3, processor.size, processor.size, dtype=torch.uint8)
    return ImageSet(
        [name for name, *_ in found],
        [label_of(name) for name, *_ in found],
        torch.from_numpy(np.stack([pixels for _, pixels, _ in found])) if found else empty,  # (N, 3, S, S)
        [sha256 for *_, sha256 in found],
    )


def _evenly_spaced(count: int, limit: int | None) -> list[int]:
    if limit is not None and limit < 1:
        raise DataError(f"A limit of {limit} pictures leaves none: give at least 1.")
    if limit is None or limit >= count:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, limit)]


def _is_kept(store: ImageStore, name: str, keep: Callable[[str], bool]) -> bool:
    try:
        return keep(store.hash(name))
    except VisimError:
        return False


def load_source(
    source: str, processor: ImageProcessor, *, limit: int | None = None, keep: Callable[[str], bool] | None = None
) -> ImageSet:
    """Read the pictures of a source of training data.

    Args:
        source: folder, zip or `hf://datasets/...` of `class/name.jpg`, or "cifar10" for torchvision's download.
        processor: its `resize` makes the squares.
        limit: read only so many.
        keep: whether to keep a picture, by its SHA-256; by default all.

    Raises:
        DataError: there is no picture in the source, or none of them can be decoded.
        ImageSourceError: there is no such source.
    """
    if source != CIFAR10_DOWNLOAD:
        return load_images(source, processor, limit=limit, keep=keep)
    found = download_cifar10(_DOWNLOAD_FOLDER, train=True)
    chosen = _evenly_spaced(len(found), limit)
    return found.subset([index for index in chosen if keep is None or keep(found.sha256[index])])


def local_paths(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return those of some sources that are on this machine."""
    names = [os.fspath(source) for source in sources]
    return [Path(name) for name in names if "://" not in name and name != CIFAR10_DOWNLOAD]


def download_cifar10(folder: Path, *, train: bool) -> ImageSet:
    """Load CIFAR-10 by torchvision's own download (170 MB, once), named as in the JPEG copy: `class/NNNN.jpg`.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).

    Args:
        folder: keeps the download.
        train: the 50,000 training pictures, else the 10,000 others.

    Returns:
        The pictures; the hash of each is that of its pixels, (32, 32, 3) uint8.

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
    hashes = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in found.data]
    order = sorted(range(len(names)), key=names.__getitem__)
    return ImageSet(names, labels, pixels, hashes).subset(order)


def read_column(table: str | os.PathLike[str], column: str) -> dict[str, str]:
    """Read a column of a CSV file with a column `file_name`: file name -> value.

    Raises:
        DataError: the file is missing or no CSV, or lacks one of the two columns.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            return {row["file_name"]: row[column] for row in csv.DictReader(file, strict=True)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(f"{table} cannot be read ({error}): it needs the columns file_name and {column}.") from error


OutlierPart = Literal["train", "fit", "report"]

_DEALT: Final[tuple[OutlierPart, ...]] = ("train", "train", "fit", "report")
"""Kinds are dealt to these in equal shares."""
_PER_SOURCE: Final = 4000
_PER_KIND: Final = 400
_CAR_LIKE: Final = frozenset({"automobile", "truck", "car_side", "car"})
"""Classes of CIFAR-10 and Caltech-101 that show cars, which no car model should learn to call strange."""


@dataclass(frozen=True)
class Outliers:
    """Pictures of other things than the gallery's.

    Attributes:
        pixels: (M, 3, S, S) uint8, RGB.
        kinds: the kind of each: its folder, or "drawn: noise".
        sources: for training.json: the "source" of some of them, its "part", and how many "pictures" they are.
    """

    pixels: Tensor
    kinds: list[str]
    sources: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.pixels)


def outlier_part(kind: str) -> OutlierPart:
    """Return what a kind of things is for, by its name; where pictures are in no folder, each is a kind by its file."""
    digest = hashlib.sha256(kind.encode()).hexdigest()
    return _DEALT[int(digest[:8], 16) % len(_DEALT)]


def left_out_labels(classes: Collection[str]) -> frozenset[str]:
    """Return the labels that are no outliers for a network of these classes: the classes, and for cars what is one."""
    return frozenset(classes) | (_CAR_LIKE if set(classes) == set(CAR_CLASSES) else frozenset())


def load_outliers(
    sources: Sequence[str | os.PathLike[str]],
    size: int,
    *,
    part: OutlierPart,
    seed: int,
    leave_out: Collection[str] = (),
    per_source: int = _PER_SOURCE,
    limit: int | None = None,
) -> Outliers:
    """Read outliers of some sources, and for the fit draw some of each synthetic kind.

    Args:
        sources: folders or zips.
        size: side of the squares, in pixels.
        part: which part to load.
        seed: of the drawn ones.
        leave_out: labels whose pictures are no outliers.
        per_source: take at most so many of each source, evenly spaced over the sorted names.
        limit: take at most so many of each source and kind, for a trial.

    Raises:
        DataError: a source has no picture.
        ImageSourceError: a source is no folder or zip.
    """
    processor = ImageProcessor(size=size)
    pixels, rows, kinds = [], [], []
    for source in sources:
        found = load_images(
            source,
            processor,
            limit=min(per_source, limit or per_source),
            choose=lambda name: label_of(name) not in leave_out and outlier_part(label_of(name) or name) == part,
        )
        pixels.append(found.pixels)
        kinds += found.labels
        rows.append({"source": os.fspath(source), "part": part, "pictures": len(found)})
    for index, kind in enumerate(SYNTHETIC_KINDS if part == "fit" else ()):
        count = min(_PER_KIND, limit or _PER_KIND)
        pixels.append(torch.from_numpy(synthetic_outliers(kind, count, size, seed=seed + index)))
        kinds += [f"drawn: {kind}"] * count
        rows.append({"source": f"drawn: {kind}", "part": part, "pictures": count})
    empty = torch.empty(0, 3, size, size, dtype=torch.uint8)
    return Outliers(torch.cat([empty, *pixels]), kinds, rows)
