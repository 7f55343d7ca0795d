"""Find pictures that are no use, or may be none: broken, blank, tiny, of an extreme shape, of poor quality, strange.

Only what opens nowhere is surely useless. All else is for a person to look at.
"""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.cleaning.neighbours import nearest_in
from visim_models.galleries.calibration import distance_detector, leave_one_out
from visim_models.galleries.picture_table import PictureTable, thumbnails_of
from visim_models.images.kinds import HEAD_BYTES, kind_of
from visim_models.ood import OODVerdict

__all__ = [
    "Fault",
    "OtherLabel",
    "are_labels",
    "find_faults",
    "find_other_labels",
    "find_poor",
    "find_strange",
    "is_of_a_known_kind",
    "label_of",
    "split_of",
]

_TINY_SHARE: Final = 0.25
_TINY_SIDE: Final = 8
"""A picture is tiny whose shorter side has less than a quarter of the usual pixels, or less than eight."""
_LONG: Final = 4.0
"""Ratio of the sides from which on a shape is extreme, unless it is usual here."""


@dataclass(frozen=True)
class Fault:
    """A picture that may be no use.

    Attributes:
        index: of the picture.
        find: blank, tiny, shape or quality.
        reason: one sentence.
        score: how clearly, where faults are ranked; the highest first.
    """

    index: int
    find: str
    reason: str
    score: float | None = None


def is_of_a_known_kind(content: bytes) -> bool:
    """Return whether a file that visim cannot read may open elsewhere: by its first bytes, or as Pillow sees it."""
    if kind_of(content[:HEAD_BYTES]):
        return True
    try:
        with Image.open(io.BytesIO(content)):
            return True
    except Exception:  # Pillow raises a dozen kinds on what is no picture
        return False


def find_faults(pictures: PictureTable) -> Iterator[Fault]:
    """Yield the faults of pictures; one may have several."""
    width, height = pictures["width"], pictures["height"]
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    usual = float(np.sort(shorter)[(len(shorter) - 1) // 2])
    ratios = longer / shorter
    usual_ratio = float(np.sort(ratios)[len(ratios) // 2])
    for index, side in enumerate(shorter.tolist()):
        size = f"{width[index]} x {height[index]}"
        if pictures["is_blank"][index]:
            yield Fault(index, "blank", "it has one colour")
        if side < max(_TINY_SHARE * usual, _TINY_SIDE):
            yield Fault(index, "tiny", f"{size} pixels, where {usual:.0f} are usual for the shorter side")
        if ratios[index] >= max(_LONG, 2 * usual_ratio):
            yield Fault(index, "shape", f"{size} pixels: one side is {ratios[index]:.1f} times the other")


_BLURRED: Final = 25.0
_DARK: Final = 70.0
_BRIGHT: Final = 180.0
_LOW_CONTRAST: Final = 50.0
_GREY: Final = 2.0
_MOSTLY_COLOURED: Final = 0.8


def find_poor(pictures: PictureTable) -> list[Fault]:
    """Return pictures of poor quality, the clearest first: blurred, dark, bright, flat, or grey among colours."""
    found = []
    dark, bright, sharpness, colour = (pictures[name] for name in ("dark", "bright", "sharpness", "colour"))
    is_grey = colour < _GREY
    are_coloured = float(1 - is_grey.mean()) >= _MOSTLY_COLOURED
    for index in range(len(pictures)):
        if pictures["is_blank"][index]:
            continue
        kinds = {
            "it is dark": (_DARK - dark[index]) / _DARK,
            "it is bright": (bright[index] - _BRIGHT) / (255 - _BRIGHT),
            "it has little contrast": (_LOW_CONTRAST - (dark[index] - bright[index])) / _LOW_CONTRAST,
            "it is blurred": (_BLURRED - sharpness[index]) / _BLURRED,
            "it is grey, and most others have colours": 0.01 if is_grey[index] and are_coloured else 0.0,
        }
        shown = [text for text, value in kinds.items() if value > 0]
        if shown:
            found.append(Fault(index, "quality", "; ".join(shown), min(float(max(kinds.values())), 1.0)))
    return sorted(found, key=lambda fault: (-(fault.score or 0), fault.index))


def find_strange(pictures: PictureTable, *, progress: bool = False) -> list[tuple[int, OODVerdict]]:
    """Return index and verdict of every picture, the strangest first.

    Each is measured against all the others, without itself and its near-duplicates, as if it had just been uploaded,
    and its p-value is its rank among them: of any pictures, a share of the false-alarm rate is called strange.

    Args:
        pictures: at least two that are not near-duplicates.
        progress: show a progress bar.

    Raises:
        DataError: there are no two pictures that are not near-duplicates.
    """
    arrays = {"embeddings": pictures["embeddings"], "thumbnails": thumbnails_of(pictures["squares"])}
    measured = leave_one_out(PictureTable(pictures.file_names, arrays), most=len(pictures), progress=progress)
    verdicts = distance_detector(measured).verdicts(measured.measured, measured["embeddings"])
    return sorted(enumerate(verdicts), key=lambda item: (-item[1].score, item[0]))


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
