"""Find groups of duplicates and near-duplicates within a set of pictures.

Pairs come from exact nearest neighbours. Where the pictures are at hand they are compared as pictures, at other sizes
and shifts and mirrored; else by the cosine of their embeddings. The groups are held together by their medoids, so that
chains do not join.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from visim_models.cleaning.grouping import medoid_groups
from visim_models.cleaning.likeness import Pictures, candidates, likeness
from visim_models.cleaning.local_pictures import local_thumbnails
from visim_models.cleaning.neighbours import Pairs, near_pairs
from visim_models.gallery import Gallery

__all__ = ["BY_EMBEDDING", "BY_PICTURE", "Group", "find_duplicates", "groups_within"]

BY_PICTURE: Final = 0.92
"""Least similarity of aligned pictures, less the network's doubts."""
BY_EMBEDDING: Final = 0.95
"""Least cosine of embeddings, where the pictures are not at hand."""

_CANDIDATES: Final = 8
_BY_PIXELS: Final = 3
_MOST_ROUNDS: Final = 20

_Members = list[tuple[int, float]]
"""Index and score with the medoid; the medoid first."""


@dataclass(frozen=True)
class Group:
    """Pictures that are near-duplicates of one of them, the medoid.

    Attributes:
        file_names: the medoid first, then the others, those most like it first.
        scores: of each with the medoid; 1 for itself and for exact copies.
        indices: of the pictures in the gallery.
    """

    file_names: tuple[str, ...]
    scores: tuple[float, ...]
    indices: tuple[int, ...]

    @property
    def medoid(self) -> str:
        """Return the name of the picture that all others are like."""
        return self.file_names[0]

    def __len__(self) -> int:
        return len(self.file_names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.file_names)

    def __contains__(self, file_name: object) -> bool:
        return file_name in self.file_names


def find_duplicates(gallery: Gallery, *, at: float | None = None, progress: bool = False) -> list[Group]:
    """Find groups of duplicates and near-duplicates in a gallery.

    Where the image root is a folder or zip on this machine, the pictures are read and compared, too: that finds copies
    that are cropped, framed or mirrored, and tells different things of one kind apart.

    Args:
        gallery: the pictures.
        at: least score within a group, 0 to 1; by default 0.92 between pictures, 0.95 between embeddings.
        progress: show progress bars.

    Returns:
        Groups of at least two pictures, the largest first; no picture is in two.
    """
    pictures = Pictures(torch.from_numpy(gallery.embeddings), local_thumbnails(gallery, progress=progress))
    return [
        Group(
            tuple(gallery.file_names[index] for index, _ in group),
            tuple(score for _, score in group),
            tuple(index for index, _ in group),
        )
        for group in groups_within(pictures, at=at, progress=progress)
    ]


def groups_within(
    pictures: Pictures,
    *,
    at: float | None = None,
    floor: float | None = None,
    hashes: Tensor | None = None,
    progress: bool = False,
) -> list[_Members]:
    """Return the groups of `find_duplicates` as indices and scores.

    Args:
        pictures: N pictures.
        at: least score.
        floor: a lower score: of the pictures that are in no group, those of at least this score are grouped, too, after
            the others.
        hashes: (N, 32) uint8, SHA-256 of the files: equal ones are in one group, whatever they look like.
        progress: show progress bars.
    """
    least = at if at is not None else BY_EMBEDDING if pictures.thumbnails is None else BY_PICTURE
    copies = _copies(pictures.embeddings if hashes is None else hashes)
    kept = torch.tensor([same[0] for same in copies])
    single = Pictures(pictures.embeddings[kept], None if pictures.thumbnails is None else pictures.thumbnails[kept])
    pairs = _alike(single, least if floor is None else min(floor, least), progress=progress)
    groups = medoid_groups(pairs.at_least(least))
    if single.thumbnails is not None:
        groups = _merged(groups, single, least)
    found = _with_copies(groups, copies)
    if floor is None:
        return found
    free = torch.ones(len(single), dtype=torch.bool)
    free[torch.tensor([index for group in groups for index, _ in group], dtype=torch.long)] = False
    weaker = medoid_groups(pairs.chosen(free[pairs.first.long()] & free[pairs.second.long()]))
    lone = [[(copies[index][0], score) for index, score in group] for group in weaker]
    taken = {index for group in found for index, _ in group}
    return [*found, *(rest for group in lone if len(rest := [item for item in group if item[0] not in taken]) > 1)]


def _alike(pictures: Pictures, least: float, *, progress: bool) -> Pairs:
    """Return the pairs that are alike."""
    if pictures.thumbnails is None:
        return near_pairs(pictures.embeddings, at_least=least, progress=progress)
    found = candidates(
        pictures, pictures, by_embedding=_CANDIDATES + 1, by_pixels=_BY_PIXELS + 1, progress=progress
    )  # (N, k)
    rows = torch.arange(len(found)).repeat_interleave(found.shape[1])  # (P,)
    columns = found.flatten()
    low, high = torch.minimum(rows, columns), torch.maximum(rows, columns)
    keys = torch.unique((low * len(pictures) + high)[low < high])
    first, second = keys // len(pictures), keys % len(pictures)
    scores = likeness(pictures, pictures, first, second, progress=progress)
    return Pairs(first, second, scores).at_least(least)


def _merged(groups: Sequence[_Members], pictures: Pictures, least: float) -> list[_Members]:
    """Join groups of one large group: only so many neighbours of each picture were compared.

    Two groups are joined where all members of the one are like the medoid of the other.
    """
    found = [*groups]
    for _ in range(_MOST_ROUNDS):
        medoids = torch.tensor([group[0][0] for group in found])
        if len(found) < 2:
            break
        assert pictures.thumbnails is not None
        chosen = Pictures(pictures.embeddings[medoids], pictures.thumbnails[medoids])
        stars = medoid_groups(_alike(chosen, least, progress=False))
        joined = [merged for star in stars if (merged := _joined([found[index] for index, _ in star], pictures, least))]
        if not joined:
            break
        taken = {index for group in joined for index, _ in group}
        found = [*joined, *(group for group in found if group[0][0] not in taken)]
    return sorted(found, key=lambda group: (-len(group), group[0][0]))


def _joined(groups: Sequence[_Members], pictures: Pictures, least: float) -> _Members | None:
    """Return the groups that fit the first one's medoid as one; None where none does."""
    members = [*groups[0]]
    medoid = members[0][0]
    for group in groups[1:]:
        columns = torch.tensor([index for index, _ in group])
        scores = likeness(pictures, pictures, torch.full_like(columns, medoid), columns)
        if float(scores.min()) >= least:
            members += zip(columns.tolist(), scores.tolist(), strict=True)
    if len(members) == len(groups[0]):
        return None
    return [members[0], *sorted(members[1:], key=lambda item: (-item[1], item[0]))]


def _copies(rows: Tensor) -> list[list[int]]:
    """Return the indices of (N, W) rows, equal ones together, in the order of the first of each."""
    same: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows.numpy()):
        same.setdefault(row.tobytes(), []).append(index)
    return list(same.values())


def _with_copies(groups: Sequence[_Members], copies: Sequence[Sequence[int]]) -> list[_Members]:
    """Put the exact copies of the members into groups of pictures without copies, and make groups of the others."""
    found: list[_Members] = []
    grouped: set[int] = set()
    for group in groups:
        grouped.update(index for index, _ in group)
        found.append([(copy, score) for index, score in group for copy in copies[index]])
    found += [
        [(copy, 1.0) for copy in same] for index, same in enumerate(copies) if len(same) > 1 and index not in grouped
    ]
    return sorted(found, key=lambda group: (-len(group), group[0][0]))
