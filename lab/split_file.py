"""split.csv: the part of each picture of the training data, by the content of its file. Read and written here alone.

    sha256,part,group
    00a3...,train,
    00f2...,calibration,17

A row is a content, and the rows are in its order. `sha256` are the first 32 hexadecimal digits of the SHA-256 of the
file's bytes: 128 bits tell all pictures apart, in half of the space. `group` is the number of a group of
near-duplicates, which are in one part; it is empty for a picture without any. There are no file names: a picture that
is copied or renamed stays in its part.

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
from pathlib import Path
from typing import Final, Self

from visim_models.errors import DataError

__all__ = ["HELD_OUT", "PARTS", "Split"]

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
        self._parts = {key[:_DIGITS]: part for key, part in parts.items()}
        self._groups = {key[:_DIGITS]: group for key, group in (groups or {}).items()}

    def __len__(self) -> int:
        return len(self._parts)

    def part_of(self, sha256: str) -> str | None:
        """Return the part of a picture, or None where the split does not have it.

        Args:
            sha256: of the file, in hexadecimal.
        """
        return self._parts.get(sha256[:_DIGITS])

    def group_of(self, sha256: str) -> int | None:
        """Return the number of a picture's group of near-duplicates, or None where it has none."""
        return self._groups.get(sha256[:_DIGITS])

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
        """Count the pictures of each part, copies once; parts without any are left out.

        Args:
            hashes: SHA-256 of each picture's file.
        """
        found = Counter(self.part_of(sha256) for sha256 in set(hashes))
        return {part: found[part] for part in PARTS if found[part]}

    def has_exactly(self, hashes: Sequence[str]) -> bool:
        """Return whether these are the pictures of the split, no more and no fewer."""
        return {sha256[:_DIGITS] for sha256 in hashes} == self._parts.keys()

    def of(self, hashes: Collection[str]) -> Self:
        """Return the split of those of its pictures that are among others.

        Args:
            hashes: SHA-256 of each of the other pictures' files.
        """
        found = {sha256[:_DIGITS] for sha256 in hashes}
        parts = {key: part for key, part in self._parts.items() if key in found}
        return type(self)(parts, {key: group for key, group in self._groups.items() if key in found})

    def count_missing(self, hashes: Sequence[str], parts: Collection[str]) -> int:
        """Count the pictures of some parts that are not among others.

        Args:
            hashes: SHA-256 of each of the other pictures' files.
            parts: some of `PARTS`.
        """
        found = {sha256[:_DIGITS] for sha256 in hashes}
        return sum(part in parts and key not in found for key, part in self._parts.items())

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the split's text: the name under which runs and models record it."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    def to_text(self) -> str:
        """Return the content of split.csv; the same split gives the same text."""
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([key, part, self._groups.get(key, "")] for key, part in sorted(self._parts.items()))
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
            if len(row) != len(_COLUMNS) or not _fits(*row) or row[0] in parts:
                raise DataError(
                    f"{path}, row {number} is {','.join(row)!r}, which no split has: restore the file.", path=path
                )
            parts[row[0]] = row[1]
            if row[2]:
                groups[row[0]] = int(row[2])
        return cls(parts, groups)


def _fits(sha256: str, part: str, group: str) -> bool:
    return (
        bool(re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", sha256))
        and part in PARTS
        and bool(re.fullmatch(r"\d{0,9}", group, re.ASCII))
    )
