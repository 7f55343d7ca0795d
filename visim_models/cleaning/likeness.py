"""How alike two pictures of one set or of two sets are: by their embeddings, and as pictures where they are at hand."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from visim_models.cleaning.alignment import compare_pairs
from visim_models.cleaning.neighbours import nearest_in

__all__ = ["Pictures", "candidates", "cosines", "likeness"]

_SMALL: Final = 8
"""Side of the thumbnails by which candidates are found that the network takes for different: mirrored ones."""
_SHARE: Final = 0.35
_MOST_TAKEN: Final = 0.06
"""A distance of the embeddings takes so much from the similarity of the pictures, at most 0.06: what is the same to the
pixel stays a copy, whatever the network says of mirrored ones. Chosen on the copies of 140 car photographs among 1,720:
with this share, 98 % of them have a score of 0.92 that only 29 pairs of the others have, and 50 without it."""


@dataclass(frozen=True)
class Pictures:
    """N pictures to compare.

    Attributes:
        embeddings: (N, D).
        thumbnails: (N, 3, 32, 32) uint8; None where the pictures are not at hand.
    """

    embeddings: Tensor
    thumbnails: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeddings)


def candidates(
    first: Pictures, second: Pictures, *, by_embedding: int, by_pixels: int, progress: bool = False
) -> Tensor:
    """Find the pictures of a set that are most like those of another, by their embeddings and by their pixels.

    Args:
        first: N pictures.
        second: M pictures; may be the same set.
        by_embedding: how many of each, by the cosine of the embeddings.
        by_pixels: how many of each by their pixels, and as many for the mirrored picture, where both are at hand.
        progress: show progress bars.

    Returns:
        (N, k) indices of `second`; an index may be twice in a row.
    """
    parts = [
        nearest_in(first.embeddings, second.embeddings, top_k=by_embedding, progress=progress, text="comparing")[1]
    ]
    if first.thumbnails is not None and second.thumbnails is not None:
        small, turned = _small(second.thumbnails), _small(first.thumbnails.flip(-1))
        parts.append(nearest_in(_small(first.thumbnails), small, top_k=by_pixels, progress=progress, text="pixels")[1])
        parts.append(nearest_in(turned, small, top_k=by_pixels, progress=progress, text="mirrored")[1])
    return torch.cat(parts, dim=1)


def likeness(first: Pictures, second: Pictures, rows: Tensor, columns: Tensor, *, progress: bool = False) -> Tensor:
    """Return how alike P pairs are: as pictures where both sets are at hand, else by the cosine of their embeddings.

    Of pictures, the network has a say, too: it tells two cars in one studio apart, whose thumbnails are nearly
    the same.

    Args:
        first: N pictures.
        second: M pictures.
        rows: (P,) indices in `first`.
        columns: (P,) indices in `second`.
        progress: show a progress bar.

    Returns:
        (P,) float32 in [-1, 1].
    """
    cosine = cosines(first.embeddings, second.embeddings, rows, columns)
    if first.thumbnails is not None and second.thumbnails is not None:
        aligned = compare_pairs(first.thumbnails, second.thumbnails, rows, columns, progress=progress)
        return aligned - (_SHARE * (1 - cosine)).clamp(max=_MOST_TAKEN)
    return cosine


def cosines(first: Tensor, second: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the (P,) cosines of pairs of (N, D) and (M, D) embeddings."""
    found = [torch.empty(0)]
    for row, column in zip(rows.long().split(8192), columns.long().split(8192), strict=True):
        found.append(F.cosine_similarity(first[row].float(), second[column].float(), dim=1))
    return torch.cat(found).clamp_(-1, 1)


def _small(thumbnails: Tensor) -> Tensor:
    """Reduce (N, 3, 32, 32) thumbnails to (N, 192), centred: their cosines compare pixels."""
    parts = [
        F.interpolate(part.float(), size=(_SMALL, _SMALL), mode="area").flatten(1) for part in thumbnails.split(4096)
    ]
    pixels = torch.cat(parts)  # (N, 192)
    return pixels - pixels.mean(dim=1, keepdim=True)
