"""Exact nearest neighbours of every picture of a set, in blocks of bounded memory."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

__all__ = ["MOST_PAIRS", "Pairs", "near_pairs", "nearest_in"]

MOST_PAIRS: Final = 2**21
"""Pairs that are held at most, some 500 MB while they are grouped. Of more, the least alike are left out."""

_BLOCK: Final = 2048


@dataclass(frozen=True)
class Pairs:
    """P pairs of pictures.

    Attributes:
        first: (P,) int32 indices.
        second: (P,) int32 indices.
        scores: (P,) float32 of each pair.
        is_cut: there were more than `MOST_PAIRS`: the least alike were left out.
    """

    first: Tensor
    second: Tensor
    scores: Tensor
    is_cut: bool = False

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, score: float) -> "Pairs":
        """Return the pairs of at least this score."""
        return self.chosen(self.scores >= score)

    def chosen(self, which: Tensor) -> "Pairs":
        """Return the pairs that (P,) booleans or indices choose."""
        return Pairs(self.first[which], self.second[which], self.scores[which], self.is_cut)

    def rescored(self, scores: Tensor) -> "Pairs":
        """Return the same pairs with other (P,) scores."""
        return Pairs(self.first, self.second, scores, self.is_cut)


def near_pairs(embeddings: Tensor, *, at_least: float, progress: bool = False) -> Pairs:
    """Find all pairs within a set whose cosine is at least a threshold, each pair once.

    Args:
        embeddings: (N, D), unnormalised.
        at_least: least cosine.
        progress: show a progress bar.

    Returns:
        The pairs, the index of `first` below that of `second`.
    """
    unit = F.normalize(embeddings.float(), dim=1)  # (N, D)
    parts: list[Pairs] = []
    count, floor, is_cut = 0, at_least, False
    with tqdm(total=len(unit), desc="comparing", unit="picture", disable=not progress) as bar:
        for start in range(0, len(unit), _BLOCK):
            rows = unit[start : start + _BLOCK]
            for column in range(start, len(unit), 8 * _BLOCK):  # the products are symmetric: none before the diagonal
                part = _pairs_of_block(rows @ unit[column : column + 8 * _BLOCK].T, start, column, floor)
                parts.append(part)
                count += len(part)
            if count > MOST_PAIRS:
                best = _joined(parts)
                best = best.chosen(best.scores.topk(MOST_PAIRS // 2).indices)
                parts, count, floor, is_cut = [best], len(best), float(best.scores.min()), True
            bar.update(len(rows))
    found = _joined(parts)
    return Pairs(found.first, found.second, found.scores.clamp_(-1, 1), is_cut)


def nearest_in(
    queries: Tensor, embeddings: Tensor, *, top_k: int, progress: bool = False, text: str = "comparing"
) -> tuple[Tensor, Tensor]:
    """Find the nearest of each query in another set.

    Args:
        queries: (Q, D), unnormalised.
        embeddings: (N, D), unnormalised.
        top_k: how many, at most N.
        progress: show a progress bar.
        text: of the progress bar.

    Returns:
        scores: (Q, k) cosines, nearest first.
        indices: (Q, k) of the embeddings.
    """
    unit, rows = F.normalize(embeddings.float(), dim=1), F.normalize(queries.float(), dim=1)
    count = min(top_k, len(unit))
    scores, indices = [torch.empty(0, count)], [torch.empty(0, count, dtype=torch.long)]
    with tqdm(total=len(rows), desc=text, unit="picture", disable=not progress) as bar:
        at_once = max(2**25 // max(len(unit), 1), 1)  # scores of 128 MiB
        for block in rows.split(at_once):
            best = (block @ unit.T).topk(count, dim=1)  # (B, k)
            scores.append(best.values)
            indices.append(best.indices)
            bar.update(len(block))
    return torch.cat(scores).clamp_(-1, 1), torch.cat(indices)


def _pairs_of_block(cosines: Tensor, start: int, column: int, floor: float) -> Pairs:
    """Return the pairs of a (B, C) block of cosines whose row is before their column."""
    found = (cosines >= floor).nonzero()  # (P, 2)
    first, second = found[:, 0] + start, found[:, 1] + column
    before = first < second
    scores = cosines[found[before, 0], found[before, 1]]
    return Pairs(first[before].int(), second[before].int(), scores)


def _joined(parts: list[Pairs]) -> Pairs:
    if not parts:
        return Pairs(torch.empty(0, dtype=torch.int), torch.empty(0, dtype=torch.int), torch.empty(0))
    first, second, scores = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("first", "second", "scores")
    )
    return Pairs(first, second, scores)
