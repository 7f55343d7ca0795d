"""Find pictures whose label may be wrong: the same picture under two, and neighbours that all have another one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt

from visim_models.cleaning.neighbours import nearest_in
from visim_models.galleries.picture_table import PictureTable

__all__ = ["OtherLabel", "are_labels", "find_other_labels", "label_of", "split_of"]

_SPLITS: Final = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing", "holdout"}
_NEIGHBOURS: Final = 10
_MORE: Final = 20
"""Neighbours that are found beside these, for copies of the picture are left out."""
_COPY: Final = 0.97
_MOST_OWN: Final = 0.1
_LEAST_OTHER: Final = 0.7
_LEAST_AGREEMENT: Final = 0.6
"""Share of pictures whose nearest has their label, from which on folders are labels: it is far less for albums."""
_FEWEST: Final = 4


@dataclass(frozen=True)
class OtherLabel:
    """A picture whose nearest neighbours have another label.

    Attributes:
        index: of the picture.
        label: its own.
        other: that of most of its neighbours.
        share: of the neighbours that have it.
    """

    index: int
    label: str
    other: str
    share: float


def label_of(file_name: str) -> str:
    """Return the label of a picture, the last folder that is no part of a split; "" where there is none."""
    folders = [part for part in PurePosixPath(file_name).parts[:-1] if part.lower() not in _SPLITS]
    return folders[-1] if folders else ""


def split_of(file_name: str) -> str:
    """Return the part of a split that a picture is in, such as "test"; "" where its folders name none."""
    return next((part.lower() for part in PurePosixPath(file_name).parts[:-1] if part.lower() in _SPLITS), "")


def are_labels(pictures: PictureTable) -> bool:
    """Return whether the folders of pictures are labels: every picture has one, and looks like others of its own."""
    labels = [label_of(name) for name in pictures.file_names]
    counts = Counter(labels)
    if "" in counts or len(counts) < 2 or min(counts.values()) < _FEWEST:
        return False
    others = _neighbours(pictures, 1)
    agree = [labels[row[0]] == label for row, label in zip(others, labels, strict=True) if row]
    chance = sum((count / len(labels)) ** 2 for count in counts.values())
    return bool(agree) and float(np.mean(agree)) >= max(_LEAST_AGREEMENT, chance + (1 - chance) / 2)


def find_other_labels(pictures: PictureTable) -> list[OtherLabel]:
    """Return the pictures whose ten nearest, copies left out, have another label, the clearest first.

    Args:
        pictures: with embeddings; the folder of each is its label.
    """
    labels = [label_of(name) for name in pictures.file_names]
    if len(set(labels) - {""}) < 2:
        return []
    return sorted(_doubtful(labels, _neighbours(pictures, _NEIGHBOURS)), key=lambda found: (-found.share, found.index))


def _doubtful(labels: Sequence[str], neighbours: Sequence[Sequence[int]]) -> Iterator[OtherLabel]:
    for index, (label, near) in enumerate(zip(labels, neighbours, strict=True)):
        if not label or len(near) < _FEWEST:
            continue
        counts = Counter(labels[other] for other in near if labels[other])
        other, count = next(iter((counts - Counter({label: counts[label]})).most_common(1)), ("", 0))
        if counts[label] <= _MOST_OWN * len(near) and count >= _LEAST_OTHER * len(near):
            yield OtherLabel(index, label, other, count / len(near))


def _neighbours(pictures: PictureTable, count: int) -> list[list[int]]:
    """Return the nearest of each picture by the centred embeddings, without itself and its copies."""
    rows: npt.NDArray[np.float32] = pictures["embeddings"] - pictures["embeddings"].mean(axis=0)
    scores, indices = nearest_in(rows, rows, top_k=1 + count + _MORE)
    return [
        [other for score, other in zip(*pair, strict=True) if other != index and score < _COPY][:count]
        for index, pair in enumerate(zip(scores.tolist(), indices.tolist(), strict=True))
    ]
