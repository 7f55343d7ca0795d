"""Exact nearest neighbours and near pairs of pictures, in blocks of bounded memory, and groups of near pairs."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

__all__ = ["MOST_PAIRS", "Pairs", "cosines", "medoid_groups", "near_pairs", "nearest_in", "unit_rows"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

MOST_PAIRS: Final = 2**21
"""Pairs that are held at most, some 500 MB while they are grouped. Of more, the least alike are left out."""

_BLOCK: Final = 2048
_ITSELF: Final = 2.0
"""Above every score: a medoid is not taken away by another."""
_WORTH_PROJECTING: Final = 8192
"""Rows from which on near pairs are first sought among fewer numbers."""
_PROJECTED: Final = 256
_SAMPLE: Final = 8192


@dataclass(frozen=True)
class Pairs:
    """P pairs of pictures.

    Attributes:
        first: (P,) int64 indices.
        second: (P,) int64 indices.
        scores: (P,) float32 of each pair.
        is_cut: there were more than `MOST_PAIRS`: the least alike were left out.
    """

    first: Indices
    second: Indices
    scores: Floats
    is_cut: bool = False

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, score: float) -> "Pairs":
        """Return the pairs of at least this score."""
        return self.chosen(self.scores >= score)

    def chosen(self, which: npt.NDArray[Any]) -> "Pairs":
        """Return the pairs that (P,) booleans or indices choose."""
        return Pairs(self.first[which], self.second[which], self.scores[which], self.is_cut)


def unit_rows(rows: npt.NDArray[Any]) -> Floats:
    """Scale (N, D) rows to length 1: float32."""
    found = np.asarray(rows, np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)  # type: ignore[no-any-return]


def near_pairs(embeddings: Floats, *, at_least: float, progress: bool = False) -> Pairs:
    """Find all pairs within a set whose cosine is at least a threshold, each pair once.

    Many rows are first compared by their parts along the main directions and by the lengths of the rest, which bounds
    their cosine from above; only pairs that the bound lets through are compared in full.

    Args:
        embeddings: (N, D), unnormalised.
        at_least: least cosine.
        progress: show a progress bar.

    Returns:
        The pairs, the index of `first` below that of `second`.
    """
    bounding = _bounding(embeddings) if len(embeddings) >= _WORTH_PROJECTING and embeddings.shape[1] > 512 else None
    rows = unit_rows(embeddings) if bounding is None else bounding
    parts: list[Pairs] = []
    count, floor, is_cut = 0, at_least, False
    with tqdm(total=len(rows), desc="comparing", unit="picture", disable=not progress) as bar:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            for column in range(start, len(rows), 8 * _BLOCK):  # the products are symmetric: none before the diagonal
                part = _pairs_of_block(block @ rows[column : column + 8 * _BLOCK].T, start, column, floor)
                if bounding is not None:
                    part = Pairs(part.first, part.second, cosines(embeddings, embeddings, part.first, part.second))
                    part = part.at_least(floor)
                parts.append(part)
                count += len(part)
            if count > MOST_PAIRS:
                best = _joined(parts)
                best = best.chosen(np.argpartition(-best.scores, MOST_PAIRS // 2)[: MOST_PAIRS // 2])
                parts, count, floor, is_cut = [best], len(best), float(best.scores.min()), True
            bar.update(len(block))
    found = _joined(parts)
    return Pairs(found.first, found.second, found.scores.clip(-1, 1), is_cut)


def _bounding(embeddings: Floats) -> Floats:
    """Return (N, 257) rows whose products are at least the cosines of (N, D) embeddings, and near them.

    Unit rows are written as a part along the main directions of a sample and a rest at right angles to these; the
    product of two rests is at most that of their lengths.
    """
    sample = unit_rows(embeddings[:: max(len(embeddings) // _SAMPLE, 1)])
    directions = np.linalg.eigh((sample.T @ sample).astype(np.float64))[1][:, -_PROJECTED:].astype(
        np.float32
    )  # (D, 256)
    found = np.empty((len(embeddings), _PROJECTED + 1), np.float32)
    for start in range(0, len(embeddings), _BLOCK):
        part = unit_rows(embeddings[start : start + _BLOCK]) @ directions  # (B, 256)
        found[start : start + len(part), :-1] = part
        found[start : start + len(part), -1] = np.sqrt(np.maximum(1 + 1e-5 - np.square(part).sum(axis=1), 0))
    return found


def cosines(first: Floats, second: Floats, rows: Indices, columns: Indices) -> Floats:
    """Return the (P,) cosines of pairs of (N, D) and (M, D) embeddings."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(rows), _BLOCK):
        pairs = slice(start, start + _BLOCK)
        found.append(np.einsum("pd,pd->p", unit_rows(first[rows[pairs]]), unit_rows(second[columns[pairs]])))
    return np.concatenate(found).clip(-1, 1)


def nearest_in(
    queries: Floats, embeddings: Floats, *, top_k: int, progress: bool = False, text: str = "comparing"
) -> tuple[Floats, Indices]:
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
    unit = unit_rows(embeddings)
    count = min(top_k, len(unit))
    scores, indices = [np.empty((0, count), np.float32)], [np.empty((0, count), np.int64)]
    at_once = max(2**25 // max(len(unit), 1), 1)  # scores of 128 MiB
    with tqdm(total=len(queries), desc=text, unit="picture", disable=not progress) as bar:
        for start in range(0, len(queries), at_once):
            products = unit_rows(queries[start : start + at_once]) @ unit.T  # (B, N)
            best = np.argpartition(products, len(unit) - count, axis=1)[:, len(unit) - count :]  # (B, k), in no order
            found = np.take_along_axis(products, best, axis=1)
            order = np.lexsort((best, -found), axis=1)  # equal scores by their index
            scores.append(np.take_along_axis(found, order, axis=1))
            indices.append(np.take_along_axis(best, order, axis=1))
            bar.update(len(products))
    return np.concatenate(scores).clip(-1, 1), np.concatenate(indices)


def _pairs_of_block(products: Floats, start: int, column: int, floor: float) -> Pairs:
    """Return the pairs of a (B, C) block of cosines whose row is before their column."""
    first, second = (products >= floor).nonzero()
    scores = products[first, second]
    first, second = first + start, second + column
    before = first < second
    return Pairs(first[before], second[before], scores[before])


def _joined(parts: list[Pairs]) -> Pairs:
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    first, second, scores = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "second", "scores")
    )
    return Pairs(first, second, scores)


def medoid_groups(pairs: Pairs) -> list[list[tuple[int, float]]]:
    """Group pictures around medoids, so that chains do not join: every member is like the medoid of its group.

    The picture that is like the most others is the first medoid, and takes all that are like it; then the next of those
    that no medoid has taken. A member that is like several medoids goes to the one that it is most like.

    Args:
        pairs: all pairs that are alike, each once.

    Returns:
        Groups of at least two pictures, the largest first. Each is a list of indices with their scores: the medoid
        first, with 1, then the others, those most like it first.
    """
    likes: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for one, two, score in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.scores.tolist(), strict=True):
        likes[one].append((two, score))
        likes[two].append((one, score))
    taken: dict[int, tuple[float, int]] = {}  # picture -> its score with its medoid, and the medoid
    for index in sorted(likes, key=lambda item: (-len(likes[item]), item)):
        if index in taken:
            continue
        taken[index] = (_ITSELF, index)
        for other, score in likes[index]:
            if score > taken.get(other, (-_ITSELF, -1))[0]:
                taken[other] = (score, index)
    members: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for index, (score, medoid) in taken.items():
        members[medoid].append((index, min(score, 1.0)))
    groups = [
        sorted(group, key=lambda item, medoid=medoid: (item[0] != medoid, -item[1], item[0]))  # type: ignore[misc]
        for medoid, group in members.items()
        if len(group) > 1
    ]
    return sorted(groups, key=lambda group: (-len(group), group[0][0]))
