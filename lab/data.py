"""Read pictures to learn from and to measure with, `class/name.jpg` of an image store, and outliers of other kinds.

They are tables with the arrays `pixels`, (N, 3, S, S) uint8 RGB, and `sha256` of the files; the folder is the label.

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
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from visim_models.errors import DataError, VisimError
from visim_models.galleries.picture_table import PictureTable, hash_array
from visim_models.galleries.sources import label_of
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.images.decode import decode_image
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.models import CAR_CLASSES
from visim_models.processing import ImageProcessor
from visim_models.sources.store import ImageStore

__all__ = [
    "CIFAR10_DOWNLOAD", "hashes_of", "labels_of", "left_out_labels", "load_images", "load_outliers", "load_source",
    "local_paths", "outlier_part", "read_column", "read_named", "table_of", "targets_of",
]  # fmt: skip

CIFAR10_DOWNLOAD: Final = "cifar10"
"""As the name of a source: torchvision's own download of the training pictures."""

OutlierPart = Literal["train", "fit", "report"]
_Pixels = npt.NDArray[np.uint8]

_DOWNLOAD_FOLDER: Final = Path("data")
_DEALT: Final[tuple[OutlierPart, ...]] = ("train", "train", "fit", "report")
"""Kinds of outliers are dealt to these in equal shares."""
_DEALT_BY_HAND: Final[dict[str, OutlierPart]] = {
    "interior": "train", "boot": "report", "engine_bay": "fit",
    "lorry": "train", "motorbike": "train", "train": "fit", "bus": "report",
}  # fmt: skip
"""The few kinds of the sources that are near a gallery's: of each family one is kept for the figures."""
_PER_SOURCE: Final = 4000
_PER_KIND: Final = 400
_CAR_LIKE: Final = frozenset({"automobile", "truck", "car_side", "car"})
"""Classes of CIFAR-10 and Caltech-101 that show cars, which no car model should learn to call strange."""


def table_of(pixels: _Pixels, *, label: str = "") -> PictureTable:
    """Return a table of (N, 3, S, S) uint8 pictures that come from no file."""
    return PictureTable([f"{label}/{number:05d}" for number in range(len(pixels))], {"pixels": pixels})


def labels_of(pictures: PictureTable) -> list[str]:
    """Return the label of each picture: its folder, "" where it is in none."""
    return [label_of(name) for name in pictures.file_names]


def hashes_of(pictures: PictureTable) -> list[str]:
    """Return the SHA-256 of each picture's file, in hexadecimal; names may come twice, in several sources."""
    return [row.tobytes().hex() for row in pictures["sha256"]]


def targets_of(pictures: PictureTable, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the (N,) indices of the labels in `classes`.

    Raises:
        DataError: a label is none of the classes.
    """
    index_of, labels = {label: index for index, label in enumerate(classes)}, labels_of(pictures)
    if unknown := set(labels) - set(index_of):
        raise DataError(f"The pictures have classes {sorted(unknown)}, but only {list(classes)} can be learnt.")
    return np.array([index_of[label] for label in labels], np.int64)


def load_images(
    source: str | os.PathLike[str],
    processor: ImageProcessor,
    *,
    limit: int | None = None,
    choose: Callable[[str], bool] = lambda _: True,
    quiet: bool = False,
) -> PictureTable:
    """Read the pictures of a folder, a zip or a data set on the Hub, through the processor's resizing.

    A file that cannot be read or decoded is left out, and counted in a warning line.

    Args:
        source: folder, zip or `hf://datasets/...` of `class/name.jpg`.
        processor: its `resize` makes the squares.
        limit: read only so many, evenly spaced over the sorted names.
        choose: whether a file counts, by its name. Where none does, the table is empty.
        quiet: show no progress bar.

    Raises:
        DataError: there is no picture in the source, or none of them can be decoded.
        ImageSourceError: there is no such source.
    """
    store = ImageStore(source)
    if not (names := store.list()):
        raise DataError(f"{source} holds no pictures: put them there as class/name.jpg.", path=source)
    names = [name for name in names if choose(name)]
    names = [names[index] for index in _evenly_spaced(len(names), limit)]
    found: list[tuple[str, _Pixels, str]] = []
    with tqdm(total=len(names), desc=f"reading {Path(source).name}", unit="picture", disable=quiet) as bar:
        for batch in store.decode_many(names, processor, at_once=pictures_at_once(processor.size)):
            found += [(name, *result) for name, result in batch if not isinstance(result, VisimError)]
            bar.update(len(batch))
    if names and not found:
        raise DataError(f"None of the {len(names)} pictures in {source} can be used.", path=source)
    if left_out := len(store.unreadable) + len(names) - len(found):
        tqdm.write(f"{left_out} files of {source} cannot be read as pictures and were left out.")
    pixels = np.empty((len(found), 3, processor.size, processor.size), np.uint8)
    for index, (_, square, _) in enumerate(found):
        pixels[index] = square
    return PictureTable(
        [name for name, *_ in found], {"pixels": pixels, "sha256": hash_array(sha256 for *_, sha256 in found)}
    )


def read_named(
    source: str | os.PathLike[str],
    names: Sequence[str],
    processor: ImageProcessor,
    *,
    change: Callable[[Image.Image], Image.Image | bytes] | None = None,
) -> _Pixels:
    """Read some pictures of a source, in the order of the names: (N, 3, S, S) uint8.

    Args:
        source: folder or zip.
        names: of the pictures.
        processor: its `resize` makes the squares.
        change: what is done to a picture at its own size first; bytes are those of a file.

    Raises:
        VisimError: one of them cannot be read.
    """
    resized: Any = processor if change is None else _Changing(processor, change)
    batches = ImageStore(source).decode_many(names, resized, at_once=pictures_at_once(processor.size))
    found = []
    for result in (result for batch in batches for _, result in batch):
        if isinstance(result, VisimError):
            raise result
        found.append(result[0])
    return np.stack(found)


@dataclass(frozen=True)
class _Changing:
    """A processor that changes a picture before it resizes it."""

    processor: ImageProcessor
    change: Callable[[Image.Image], Image.Image | bytes]

    def resize(self, image: Image.Image) -> _Pixels:
        return self.processor.resize(decode_image(self.change(image)))


def _evenly_spaced(count: int, limit: int | None) -> list[int]:
    if limit is not None and limit < 1:
        raise DataError(f"A limit of {limit} pictures leaves none: give at least 1.")
    if limit is None or limit >= count:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, limit)]


def load_source(source: str, processor: ImageProcessor, *, limit: int | None = None) -> PictureTable:
    """Read the pictures of a source of training data.

    Args:
        source: folder, zip or `hf://datasets/...` of `class/name.jpg`, or "cifar10" for torchvision's download.
        processor: its `resize` makes the squares.
        limit: read only so many.

    Raises:
        DataError: there is no picture in the source, or none of them can be decoded.
        ImageSourceError: there is no such source.
    """
    if source != CIFAR10_DOWNLOAD:
        return load_images(source, processor, limit=limit)
    found = _download_cifar10(_DOWNLOAD_FOLDER)
    return found.subset(_evenly_spaced(len(found), limit))


def _download_cifar10(folder: Path) -> PictureTable:
    """Load the 50,000 pictures of torchvision's download (170 MB, once), named as in the JPEG copy: `class/NNNN.jpg`.

    The hash of each is that of its pixels, (32, 32, 3) uint8.
    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
    """
    from torchvision.datasets import CIFAR10

    try:
        found = CIFAR10(folder, train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"CIFAR-10 could not be downloaded to {folder} ({error}): name a folder or zip.") from error
    counts: dict[str, int] = {}
    names = []
    for label in (found.classes[target] for target in found.targets):
        names.append(f"{label}/{counts.get(label, 0):04d}.jpg")
        counts[label] = counts.get(label, 0) + 1
    pixels = np.ascontiguousarray(np.asarray(found.data).transpose(0, 3, 1, 2))  # (N, 3, 32, 32)
    hashes = hash_array(hashlib.sha256(picture.tobytes()).hexdigest() for picture in found.data)
    return PictureTable(names, {"pixels": pixels, "sha256": hashes}).in_order()


def local_paths(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return those of some sources that are on this machine."""
    names = [os.fspath(source) for source in sources]
    return [Path(name) for name in names if "://" not in name and name != CIFAR10_DOWNLOAD]


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


def outlier_part(kind: str) -> OutlierPart:
    """Return what a kind of things is for, by its name; where pictures are in no folder, each is a kind by its file."""
    if kind in _DEALT_BY_HAND:
        return _DEALT_BY_HAND[kind]
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
) -> tuple[PictureTable, list[dict[str, Any]]]:
    """Read outliers of some sources, and for the fit draw some of each synthetic kind.

    Args:
        sources: folders or zips.
        size: side of the squares, in pixels.
        part: which part to load.
        seed: of the drawn ones.
        leave_out: labels whose pictures are no outliers.
        per_source: take at most so many of each source, evenly spaced over the sorted names.
        limit: take at most so many of each source and kind, for a trial.

    Returns:
        The pictures, labelled by their kind: the folder, or "drawn: noise". And for training.json the "source" of some
        of them, its "part", and how many "pictures" they are.

    Raises:
        DataError: a source has no picture.
        ImageSourceError: a source is no folder or zip.
    """

    def is_chosen(name: str) -> bool:
        return label_of(name) not in leave_out and outlier_part(label_of(name) or name) == part

    parts, rows = [table_of(np.empty((0, 3, size, size), np.uint8))], []
    most = _PER_SOURCE if limit is None else limit
    for source in sources:
        found = load_images(source, ImageProcessor(size=size), limit=min(per_source, most), choose=is_chosen)
        parts.append(PictureTable(found.file_names, {"pixels": found["pixels"]}))
        rows.append({"source": os.fspath(source), "part": part, "pictures": len(found)})
    for index, kind in enumerate(SYNTHETIC_KINDS if part == "fit" else ()):
        drawn = synthetic_outliers(kind, min(_PER_KIND, most), size, seed=seed + index)
        parts.append(table_of(drawn, label=f"drawn: {kind}"))
        rows.append({"source": f"drawn: {kind}", "part": part, "pictures": len(drawn)})
    return PictureTable.concatenate(parts), rows
