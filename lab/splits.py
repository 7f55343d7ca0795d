"""Deal pictures out into parts that do not leak, and keep the part of each in split.csv, by the content of its file.

    sha256,part,group
    00a3...,train,
    00f2...,calibration,17

Near-duplicates are grouped first, and a group is in one part. A row of the file is a content, and the rows are in its
order. `sha256` are the first 32 hexadecimal digits of the SHA-256 of the file's bytes: 128 bits tell all pictures
apart, in half of the space. `group` is the number of a group of near-duplicates; it is empty for a picture without any.
There are no file names: a picture that is copied or renamed stays in its part.

    train         the network learns from it
    validation    epochs and recipes are chosen by it
    fit           the detector's weights are fitted on it
    calibration   the p-values rest on it; only one picture of each group is here
    test          the figures are measured on it
    unused        the other pictures of the groups in `calibration`
"""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch

from lab.data import hashes_of, labels_of
from visim_models.errors import DataError
from visim_models.galleries.near_duplicates import SAME_PHOTOGRAPH, near_duplicate_groups
from visim_models.galleries.picture_table import PictureTable

__all__ = [
    "HELD_OUT", "PARTS", "Shares", "Split", "deal", "extended", "keep_one_of_each_group", "learned_beside",
    "not_held_out", "split_images",
]  # fmt: skip

HELD_OUT: Final = ("validation", "fit", "calibration", "test", "unused")
"""The parts that the network has not learnt from."""

PARTS: Final = ("train", *HELD_OUT)
"""All parts."""

_DIGITS: Final = 32
_COLUMNS: Final = ["sha256", "part", "group"]


class Split:
    """The part of each picture, by content.

    Args:
        parts: SHA-256 of a file, or its first 32 hexadecimal digits -> one of `PARTS`.
        groups: the same -> number of the group of near-duplicates, where there is one.
    """

    def __init__(self, parts: Mapping[str, str], groups: Mapping[str, int] | None = None) -> None:
        self.parts = {key[:_DIGITS]: part for key, part in parts.items()}
        self.groups = {key[:_DIGITS]: group for key, group in (groups or {}).items()}

    def __len__(self) -> int:
        return len(self.parts)

    def part_of(self, sha256: str) -> str | None:
        """Return the part of a picture by the SHA-256 of its file, or None where the split does not have it."""
        return self.parts.get(sha256[:_DIGITS])

    def group_of(self, sha256: str) -> int | None:
        """Return the number of a picture's group of near-duplicates, or None where it has none."""
        return self.groups.get(sha256[:_DIGITS])

    def indices(self, hashes: Sequence[str], parts: Collection[str], *, with_copies: bool = False) -> list[int]:
        """Return the indices of the pictures that are in one of some parts.

        Args:
            hashes: SHA-256 of each picture's file.
            parts: some of `PARTS`.
            with_copies: return every file of a content, not only the first: the same picture must not count twice.
        """
        found = [index for index, sha256 in enumerate(hashes) if self.part_of(sha256) in parts]
        if with_copies:
            return found
        first: dict[str, int] = {}
        for index in found:
            first.setdefault(hashes[index], index)
        return list(first.values())

    def counts(self, hashes: Sequence[str]) -> dict[str, int]:
        """Count the pictures of each part by the SHA-256 of each, copies once; parts without any are left out."""
        found = Counter(self.part_of(sha256) for sha256 in set(hashes))
        return {part: found[part] for part in PARTS if found[part]}

    def has_exactly(self, hashes: Sequence[str]) -> bool:
        """Return whether these are the pictures of the split, no more and no fewer."""
        return {sha256[:_DIGITS] for sha256 in hashes} == self.parts.keys()

    def of(self, hashes: Collection[str]) -> Self:
        """Return the split of those of its pictures that are among others, by the SHA-256 of each."""
        found = {sha256[:_DIGITS] for sha256 in hashes}
        parts = {key: part for key, part in self.parts.items() if key in found}
        return type(self)(parts, {key: group for key, group in self.groups.items() if key in found})

    def joined(self, new: "Split") -> "Split":
        """Return this split with the pictures of another, whose groups are numbered after its own."""
        first = max(self.groups.values(), default=-1) + 1
        groups = {key: first + group for key, group in new.groups.items()}
        return Split({**new.parts, **self.parts}, {**groups, **self.groups})

    def count_missing(self, hashes: Sequence[str], parts: Collection[str]) -> int:
        """Count the pictures of some parts that are not among others, by the SHA-256 of each."""
        found = {sha256[:_DIGITS] for sha256 in hashes}
        return sum(part in parts and key not in found for key, part in self.parts.items())

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the split's text: the name under which runs and models record it."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    def to_text(self) -> str:
        """Return the content of split.csv; the same split gives the same text."""
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([key, part, self.groups.get(key, "")] for key, part in sorted(self.parts.items()))
        return table.getvalue()

    def write(self, path: Path) -> None:
        """Write split.csv."""
        path.write_text(self.to_text(), encoding="utf-8", newline="")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a split.csv.

        Raises:
            DataError: the file is missing, or is not of this form.
        """
        try:
            rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True))
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(
                f"{path} cannot be read ({error}): without it nobody knows which pictures were held out.", path=path
            ) from error
        if not rows or rows[0] != _COLUMNS:
            raise DataError(
                f"{path} must begin with the columns {','.join(_COLUMNS)}: train or export again.", path=path
            )
        parts, groups = {}, {}
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(_COLUMNS) or not _is_row(*row) or row[0] in parts:
                raise DataError(
                    f"{path}, row {number} is {','.join(row)!r}, which no split has: restore the file.", path=path
                )
            parts[row[0]] = row[1]
            if row[2]:
                groups[row[0]] = int(row[2])
        return cls(parts, groups)


def _is_row(sha256: str, part: str, group: str) -> bool:
    has_hash, has_number = re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", sha256), re.fullmatch(r"\d{0,9}", group, re.ASCII)
    return bool(has_hash and part in PARTS and has_number)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Shares of the pictures that are held out, 0 to 1 each; the rest is learnt from.

    Attributes:
        test: for the figures.
        calibration: for the p-values.
        fit: for the detector's weights.
        validation: for choosing epochs and recipes.
    """

    test: float = 0.02
    calibration: float = 0.02
    fit: float = 0.01
    validation: float = 0.01


def split_images(
    images: PictureTable, shares: Shares, *, seed: int, kept_together: Mapping[str, str] | None = None
) -> Split:
    """Deal pictures out, near-duplicates together. The names of the files and their order do not matter.

    Args:
        images: the pictures; two files of one content count once.
        shares: how much is held out.
        seed: of the shuffle.
        kept_together: SHA-256 of a file -> what the picture is kept together by, such as the model of a car: all
            pictures of one are in one part, so that the figures are of models that the network has never seen.
    """
    every = hashes_of(images)
    labels: dict[str, str] = {}
    for label, sha256 in sorted(zip(labels_of(images), every, strict=True)):
        labels.setdefault(sha256, label)
    hashes = sorted(labels)
    index_of = {sha256: index for index, sha256 in enumerate(every)}
    pixels = images["pixels"][[index_of[sha256] for sha256 in hashes]]
    copies = dict(zip(hashes, near_duplicate_groups(pixels, threshold=SAME_PHOTOGRAPH), strict=True))
    return deal(labels, _joined(copies, kept_together or {}), shares, seed=seed, copies=copies)


def extended(
    split: Split, images: PictureTable, shares: Shares, *, seed: int, kept_together: Mapping[str, str] | None = None
) -> Split:
    """Deal out the pictures that a split lacks, as if there were no others, and add them; the others stay.

    A new picture that is a near-duplicate of an old one gets that one's part; where that is "calibration", none.

    Args:
        split: of some of the pictures.
        images: all pictures.
        shares: how much of the new ones is held out.
        seed: of the shuffle.
        kept_together: as `split_images` takes it.
    """
    hashes = hashes_of(images)
    unknown = [index for index, sha256 in enumerate(hashes) if split.part_of(sha256) is None]
    new = split_images(images.subset(unknown), shares, seed=seed, kept_together=kept_together)
    parts = dict(new.parts)
    numbers = near_duplicate_groups(images["pixels"], threshold=SAME_PHOTOGRAPH)
    old = {number: sha256 for number, sha256 in zip(numbers, hashes, strict=True) if split.part_of(sha256)}
    for index in unknown:
        if beside := old.get(numbers[index]):
            part = split.parts[beside[:_DIGITS]]
            parts[hashes[index][:_DIGITS]] = "unused" if part == "calibration" else part
    return split.joined(Split(parts, new.groups))


def _joined(groups: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    """Join the groups whose members share a name: SHA-256 -> number."""
    target: dict[int, int] = {}

    def root(number: int) -> int:
        while number in target:
            number = target[number]
        return number

    first: dict[str, int] = {}
    for sha256 in sorted(groups):
        if name := names.get(sha256):
            one, other = root(groups[sha256]), root(first.setdefault(name, groups[sha256]))
            if one != other:
                target[max(one, other)] = min(one, other)
    return {sha256: root(number) for sha256, number in groups.items()}


def deal(
    labels: Mapping[str, str],
    groups: Mapping[str, int],
    shares: Shares,
    *,
    seed: int,
    copies: Mapping[str, int] | None = None,
) -> Split:
    """Deal whole groups out at random, class by class, until each part has its share.

    A part that got too much or too little of one class gets less or more of the next, so that the shares also hold
    where the classes are small.

    Args:
        labels: SHA-256 of a file -> its class; the first picture of a group, by hash, decides for the group.
        groups: SHA-256 of a file -> number of the group that it is dealt with.
        shares: how much is held out.
        seed: of the shuffle.
        copies: SHA-256 of a file -> number of its group of near-duplicates; by default `groups`.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, str] = {}
    owed = dict.fromkeys(asdict(shares), 0.0)
    dealt = _members(labels, groups)
    for label in sorted(set(labels.values())):
        own = [pictures for pictures in dealt if labels[pictures[0]] == label]
        for part, share in asdict(shares).items():
            owed[part] += share * sum(map(len, own))
        for index in torch.randperm(len(own), generator=generator).tolist():
            part = next((part for part, count in owed.items() if count > 1e-6), "train")
            parts |= dict.fromkeys(own[index], part)
            if part != "train":
                owed[part] -= len(own[index])
    several = [pictures for pictures in _members(labels, copies or groups) if len(pictures) > 1]
    numbers = {sha256: number for number, pictures in enumerate(several) for sha256 in pictures}
    return Split(keep_one_of_each_group(parts, numbers), numbers)


def _members(hashes: Collection[str], groups: Mapping[str, int]) -> list[list[str]]:
    members: dict[int, list[str]] = {}
    for sha256 in sorted(hashes):
        members.setdefault(groups[sha256], []).append(sha256)
    return list(members.values())


def keep_one_of_each_group(parts: Mapping[str, str], groups: Mapping[str, int]) -> dict[str, str]:
    """Turn all but the first calibration picture of each group into unused ones.

    Near-duplicates among the calibration scores would let one dealer's photographs decide over the p-values.

    Args:
        parts: SHA-256 of a file -> its part.
        groups: SHA-256 of a file -> number of its group, where it has one.
    """
    kept, seen = dict(parts), set()
    for sha256 in sorted(parts):
        if parts[sha256] == "calibration" and sha256 in groups:
            if groups[sha256] in seen:
                kept[sha256] = "unused"
            seen.add(groups[sha256])
    return kept


def not_held_out(gallery: PictureTable, held_out: PictureTable, split: Split) -> list[int]:
    """Return the indices of a gallery's pictures that held-out ones may be compared with.

    Left out are the pictures that the split holds out, by the content of their files, and near-duplicates of them: the
    same picture in another size or file format has another content.

    Args:
        gallery: the gallery's pictures.
        held_out: the held-out pictures, of the same size.
        split: which says what is held out.

    Raises:
        DataError: no picture of the gallery is left.
    """
    of_gallery, of_others = _groups_of_both(gallery, held_out)
    left_out = set(split.indices(hashes_of(gallery), HELD_OUT, with_copies=True))
    kept = [i for i, group in enumerate(of_gallery) if group not in of_others and i not in left_out]
    if not kept:
        raise DataError("The gallery has only held-out pictures, or near-duplicates of them: add others to it.")
    return kept


def learned_beside(gallery: PictureTable, images: PictureTable, split: Split, *, at_most: int = 5000) -> PictureTable:
    """Return pictures of the part "train" that are not in a gallery, nor near-duplicates of one that is.

    Args:
        gallery: the gallery's pictures.
        images: the pictures of the split, of the same size.
        split: which says what was learnt.
        at_most: so many of them, evenly spaced.
    """
    shown, hashes = set(hashes_of(gallery)), hashes_of(images)
    others = [index for index in split.indices(hashes, ["train"]) if hashes[index] not in shown]
    chosen = images.subset(others[:: max(1, -(-len(others) // at_most))])
    of_chosen, of_gallery = _groups_of_both(chosen, gallery)
    return chosen.subset([index for index, group in enumerate(of_chosen) if group not in of_gallery])


def _groups_of_both(first: PictureTable, second: PictureTable) -> tuple[list[int], set[int]]:
    """Return the group of near-duplicates of each of some pictures, and the groups that others are in."""
    pixels = np.concatenate([first["pixels"], second["pixels"]])
    groups = near_duplicate_groups(pixels, threshold=SAME_PHOTOGRAPH)
    return groups[: len(first)], set(groups[len(first) :])
