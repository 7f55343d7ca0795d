"""Find near-duplicates between two sets of pictures, such as a test set and the pictures that a network learns from.

The cosine of two embeddings alone says little: in a crowd of blue skies everything is alike. The embeddings are
whitened, and a pair is scored by how much nearer its two pictures are to each other than to their other neighbours
(local scaling: Zelnik-Manor and Perona, "Self-tuning spectral clustering", NIPS 2004). Where the pictures are at hand,
the best candidates are also compared as pictures, at other sizes and shifts and mirrored.
"""

from dataclasses import dataclass
from typing import Final

import torch

from visim_models.cleaning.alignment import compare_pairs
from visim_models.cleaning.likeness import Pictures, candidates, cosines
from visim_models.cleaning.local_pictures import local_thumbnails
from visim_models.cleaning.nearness import nearness, whitened
from visim_models.errors import GalleryMismatchError
from visim_models.gallery import Gallery

__all__ = ["LEAK", "Pair", "find_leaks", "leaks_between"]

LEAK: Final = 0.67
"""Score from which on a pair counts as a near-duplicate, where the pictures were compared: 96 % of such pairs are
right, among photographs of Tiny ImageNet and copies as below."""

_BY_EMBEDDING: Final = 8
_BY_PIXELS: Final = 3
_SHARE: Final = 0.5
"""Weight of the embeddings beside the pictures. For 400 photographs of Tiny ImageNet, cropped, recoloured, mirrored or
put before another background, the average precision is 0.67 to 0.69 with weights of 0.1 to 0.5, 0.66 without
embeddings and 0.32 by them alone; the milder copies in CIFAR-10 call for the largest of these."""
_AS_NEAR: Final = 0.015
"""Score up to which another picture is as near as the nearest."""


@dataclass(frozen=True)
class Pair:
    """Two pictures of two sets.

    Attributes:
        first: file name in the first set.
        second: file name in the second set.
        score: how alike they are, 1 for the same picture; less than 0 where others are nearer.
        cosine: of their embeddings.
    """

    first: str
    second: str
    score: float
    cosine: float


def find_leaks(first: Gallery, second: Gallery, *, top: int | None = None, progress: bool = False) -> list[Pair]:
    """Find the pictures of a gallery that are most like those of another: near-duplicates come first.

    Where the image roots of both are a folder or zip on this machine, the pictures are read and compared, too.

    Args:
        first: N pictures, such as a test set.
        second: of the same network, such as the pictures that were learnt from.
        top: how many pairs to return; None for all.
        progress: show progress bars.

    Returns:
        A pair for each picture of `first`, and more where others of `second` are as near; best first.

    Raises:
        GalleryMismatchError: the galleries are of different networks.
    """
    widths = first.embeddings.shape[1], second.embeddings.shape[1]
    if widths[0] != widths[1] or (
        first.weights_sha256 and second.weights_sha256 and first.weights_sha256 != second.weights_sha256
    ):
        raise GalleryMismatchError(
            f"The galleries were embedded by different networks (of {widths[0]} and {widths[1]} numbers): build both "
            "with one."
        )
    thumbnails = local_thumbnails(first, progress=progress)
    others = None if thumbnails is None else local_thumbnails(second, progress=progress)
    found = leaks_between(
        Pictures(torch.from_numpy(first.embeddings), thumbnails),
        Pictures(torch.from_numpy(second.embeddings), others),
        progress=progress,
    )
    pairs = [
        Pair(first.file_names[row], second.file_names[column], score, cosine) for row, column, score, cosine in found
    ]
    return pairs[:top]


def leaks_between(first: Pictures, second: Pictures, *, progress: bool = False) -> list[tuple[int, int, float, float]]:
    """Return index in `first`, index in `second`, score and cosine of the pairs of `find_leaks`, best first."""
    one, two = whitened(first.embeddings, second.embeddings)
    found = candidates(
        Pictures(one, first.thumbnails),
        Pictures(two, second.thumbnails),
        by_embedding=_BY_EMBEDDING,
        by_pixels=_BY_PIXELS,
        progress=progress,
    )  # (N, k)
    rows = torch.arange(len(found)).repeat_interleave(found.shape[1])  # (P,)
    keys = torch.unique(rows * len(second) + found.flatten())
    rows, columns = keys // len(second), keys % len(second)  # each pair once
    scores = nearness(one, two, rows, columns)
    if first.thumbnails is not None and second.thumbnails is not None:
        aligned = compare_pairs(first.thumbnails, second.thumbnails, rows, columns, progress=progress)
        scores = (aligned + _SHARE * scores) / (1 + _SHARE)
    best = torch.full((len(first),), -torch.inf).scatter_reduce(0, rows, scores, "amax")  # (N,)
    chosen = (scores >= best[rows] - _AS_NEAR).nonzero()[:, 0]
    order = chosen[scores[chosen].argsort(descending=True, stable=True)]
    rows, columns = rows[order], columns[order]
    cosine = cosines(first.embeddings, second.embeddings, rows, columns)
    return list(zip(*(part.tolist() for part in (rows, columns, scores[order], cosine)), strict=True))
