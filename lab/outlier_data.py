"""Outliers: photographs of other things and drawn pictures, some for training a network, others for its detector.

A network remembers the outliers that it was trained on, so a detector that is fitted on the same ones learns too little
of how others look. Each outlier is therefore dealt to one of the two by the hash of its file, whatever run asks.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from lab.data import load_images
from visim_models.models import CAR_CLASSES
from visim_models.processing import ImageProcessor
from visim_models.synthetic import SYNTHETIC_KINDS, synthetic_outliers

__all__ = ["Outliers", "left_out_labels", "load_outliers", "outlier_part"]

OutlierPart = Literal["train", "fit"]

_FIT_SHARE: Final = 4
"""One outlier of so many is for the fit."""
_PER_SOURCE: Final = 4000
_PER_KIND: Final = 400
_FIT_SEED: Final = 1_000_000
"""Added to a run's seed where its drawn outliers are for the fit."""
_CAR_LIKE: Final = frozenset({"automobile", "truck", "car_side", "car"})
"""Classes of CIFAR-10 and Caltech-101 that show cars, which no car model should learn to call strange."""


@dataclass(frozen=True)
class Outliers:
    """Pictures of other things than the gallery's.

    Attributes:
        pixels: (M, 3, S, S) uint8, RGB.
        sources: for training.json: the "source" of some of them, its "part", and how many "pictures" they are.
    """

    pixels: Tensor
    sources: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.pixels)


def outlier_part(sha256: str) -> OutlierPart:
    """Return whether an outlier is for training or for the fit, by the SHA-256 of its file."""
    return "train" if int(sha256[:8], 16) % _FIT_SHARE else "fit"


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
    limit: int | None = None,
) -> Outliers:
    """Read outliers of some sources, and draw some of each synthetic kind.

    Args:
        sources: folders or zips; of each, up to 4,000 evenly spaced pictures are dealt to the two parts.
        size: side of the squares, in pixels.
        part: which part to load.
        seed: of the drawn ones.
        leave_out: labels whose pictures are no outliers.
        limit: take at most so many of each source and kind.

    Raises:
        DataError: a source has no picture.
        ImageSourceError: a source is no folder or zip.
    """
    processor = ImageProcessor(size=size)
    pixels, rows = [], []
    for source in sources:
        # A trial's few pictures could all be of one part: read enough that both have some.
        found = load_images(
            source,
            processor,
            limit=_FIT_SHARE * limit if limit else _PER_SOURCE,
            keep=lambda h: outlier_part(h) == part,
        )
        own = found.pixels[[label not in leave_out for label in found.labels]][:limit]
        pixels.append(own)
        rows.append({"source": os.fspath(source), "part": part, "pictures": len(own)})
    offset = _FIT_SEED if part == "fit" else 0
    for index, kind in enumerate(SYNTHETIC_KINDS):
        count = min(_PER_KIND, limit or _PER_KIND)
        pixels.append(synthetic_outliers(kind, count, size, seed=seed + offset + index))
        rows.append({"source": f"drawn: {kind}", "part": part, "pictures": count})
    return Outliers(torch.cat(pixels), rows)
