"""The outliers that a network is exposed to in training: photographs of other things, and synthetic pictures."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lab.data import load_images
from visim_models.processing import ImageProcessor
from visim_models.synthetic import SYNTHETIC_KINDS, synthetic_outliers

__all__ = ["load_outliers"]

_PER_SOURCE = 3000
_PER_KIND = 400
_CAR_LIKE = frozenset({"automobile", "truck", "car_side", "car"})
"""Classes of CIFAR-10 and Caltech-101 that show cars, which no car model should learn to call strange."""


def load_outliers(sources: Sequence[Path], size: int, *, seed: int, limit: int | None = None) -> Tensor:
    """(M, 3, size, size) uint8: up to 3,000 pictures of each source without its cars, and 400 of each synthetic kind.

    Raises:
        DataError: a source is no folder or zip of pictures.
    """
    processor = ImageProcessor(size=size)
    parts = []
    for source in sources:
        found = load_images(source, processor, limit=limit or _PER_SOURCE)
        parts.append(found.pixels[[label not in _CAR_LIKE for label in found.labels]])
    for place, kind in enumerate(SYNTHETIC_KINDS):
        parts.append(synthetic_outliers(kind, min(_PER_KIND, limit or _PER_KIND), size, seed=seed + place))
    return torch.cat(parts)
