"""The baselines of cleaning: ImageHash's perceptual hash, and plain pixels, compared pair by pair."""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

__all__ = ["nearest_by_hash", "nearest_by_pixels", "perceptual_hashes"]

_BLOCK = 1024


def perceptual_hashes(images: Iterable[Image.Image]) -> Tensor:
    """Return the perceptual hashes of N pictures as ImageHash makes them by default: (N, 64) of -1 and 1."""
    import imagehash

    bits = [imagehash.phash(image).hash.reshape(-1) for image in images]
    return torch.from_numpy(np.stack(bits)).float() * 2 - 1


def nearest_by_hash(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return minus the Hamming distances of each hash to its nearest of others, (N,), and the (N,) indices of those."""
    scores, indices = _nearest(first, second)
    return (scores - first.shape[1]) / 2, indices


def nearest_by_pixels(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines of the centred pixels of (N, 3, S, S) pictures with their nearest, and the indices."""
    return _nearest(_centred(first), _centred(second))


def _centred(pictures: Tensor) -> Tensor:
    parts = [part.float().flatten(1) for part in pictures.split(4096)]
    return torch.cat([F.normalize(part - part.mean(dim=1, keepdim=True), dim=1) for part in parts])


def _nearest(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    found = [(block @ second.T).max(dim=1) for block in first.split(_BLOCK)]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
