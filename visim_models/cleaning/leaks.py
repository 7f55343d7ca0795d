"""Find near-duplicates between two sets of pictures, such as a test set and the pictures that a network learns from.

The cosine of two embeddings alone says little: in a crowd of blue skies everything is alike. A pair is scored by how
much nearer its two pictures are to each other than to their other neighbours (cross-domain similarity local scaling:
Conneau et al., "Word translation without parallel data", ICLR 2018). Where the pictures are at hand, the best
candidates are also compared as pictures, at other sizes and shifts and mirrored, and that decides.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from visim_models.cleaning.alignment import compare_pairs
from visim_models.cleaning.likeness import Pictures, candidates, cosines
from visim_models.cleaning.local_pictures import local_thumbnails
from visim_models.cleaning.neighbours import nearest_in
from visim_models.errors import GalleryMismatchError
from visim_models.gallery import Gallery

__all__ = ["LEAK", "Pair", "find_leaks", "leaks_between"]

LEAK: Final = 0.9
"""Score from which on a pair counts as a near-duplicate, where the pictures were compared."""

_NEIGHBOURS: Final = 10
_BY_EMBEDDING: Final = 10
_BY_PIXELS: Final = 5
_SHARE: Final = 0.25
"""Weight of the embeddings beside the pictures. Chosen on photographs of Tiny ImageNet, cropped, recoloured and
mirrored: average precision 0.93 without them, 0.94 with this weight, 0.69 by embeddings alone."""
_AS_NEAR: Final = 0.005
"""Score up to which another picture is as near as the nearest."""


@dataclass(frozen=True)
class Pair:
    """Two pictures of two sets.

    Attributes:
        first: file name in the first set.
        second: file name in the second set.
        score: how alike they are, higher is more alike. It orders pairs; its scale is that of this comparison.
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
    found = candidates(first, second, by_embedding=_BY_EMBEDDING, by_pixels=_BY_PIXELS, progress=progress)  # (N, k)
    rows = torch.arange(len(found)).repeat_interleave(found.shape[1])  # (P,)
    columns = found.flatten()
    keys = torch.unique(rows * len(second) + columns)
    rows, columns = keys // len(second), keys % len(second)  # each pair once
    cosine = cosines(first.embeddings, second.embeddings, rows, columns)
    nearer = 2 * cosine - _crowd(first, second)[rows] - _crowd(second, first)[columns]
    scores = nearer
    if first.thumbnails is not None and second.thumbnails is not None:
        aligned = compare_pairs(first.thumbnails, second.thumbnails, rows, columns, progress=progress)
        scores = aligned + _SHARE * nearer
    best = torch.full((len(first),), -torch.inf).scatter_reduce(0, rows, scores, "amax")  # (N,)
    chosen = (scores >= best[rows] - _AS_NEAR).nonzero()[:, 0]
    order = chosen[scores[chosen].argsort(descending=True, stable=True)]
    parts = (rows, columns, scores, cosine)
    return list(zip(*(part[order].tolist() for part in parts), strict=True))


def _crowd(first: Pictures, second: Pictures) -> Tensor:
    """Return the (N,) mean cosine of each picture of `first` with its nearest in `second`, but the very nearest."""
    scores, _ = nearest_in(first.embeddings, second.embeddings, top_k=_NEIGHBOURS + 1)  # (N, k)
    return scores[:, 1:].mean(dim=1) if scores.shape[1] > 1 else torch.zeros(len(scores))
