"""Outliers: photographs of other things and drawn pictures, for training a network, fitting its detector, or figures.

A network remembers the outliers that it was trained on, so a detector that is fitted on the same ones learns too little
of how others look; and a figure counts only on kinds of things that nothing was fitted to. Each kind of thing, a folder
of its source, is therefore dealt to one purpose by its name, whatever run asks. Drawn ones train no network.
"""

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from lab.data import load_images
from visim_models.galleries.built_gallery import label_of
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.models import CAR_CLASSES
from visim_models.processing import ImageProcessor

__all__ = ["Outliers", "left_out_labels", "load_outliers", "outlier_part"]

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
