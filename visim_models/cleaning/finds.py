"""Turn what was found into rows of a plan: which file of a group is kept, what is removed, and the reasons."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from visim_models.cleaning.plan import Action, Plan, PlanRow
from visim_models.cleaning.survey import SurveyedPictures
from visim_models.errors import VisimError
from visim_models.galleries.sources import Skipped
from visim_models.images.kinds import may_be_whole
from visim_models.sources.store import ImageStore

__all__ = ["Folder", "broken_rows", "consistent", "copy_rows", "group_rows", "rounded", "row_of"]

_DIGITS: Final = 4
_LESS: Final = "less alike than the threshold says"


@dataclass(frozen=True)
class Folder:
    """The pictures of one root.

    Attributes:
        root: folder, zip or address.
        pictures: what was seen of them.
        stays: none of its files is ever to be removed: pictures that others are only compared with.
    """

    root: str
    pictures: SurveyedPictures
    stays: bool = False


def rounded(score: float) -> float:
    """Return a score as plans and reports state it, and thresholds are compared with."""
    return round(score, _DIGITS)


def row_of(
    folder: Folder, index: int, find: str, action: Action, *, group: int = 0, score: float | None = None, reason: str
) -> PlanRow:
    """Return the row of a picture."""
    pictures = folder.pictures
    width, height, size = pictures.facts[index].tolist()
    return PlanRow(
        file_name=pictures.file_names[index],
        root=folder.root,
        find=find,
        action=action,
        group=group,
        score=None if score is None else rounded(score),
        reason=reason,
        size=f"{width} x {height}",
        bytes=size,
        sha256=pictures.sha256(index),
    )


def group_rows(
    members: Sequence[tuple[Folder, int, float]], *, group: int, at: float, gone: frozenset[tuple[str, str]]
) -> list[PlanRow]:
    """Return the rows of a group of near-duplicates: the best is kept, those at least as like as `at` are removed.

    The best has the most pixels, then is the sharpest, then the largest file, then the first name. A file that another
    find removes anyway is never the one that is kept, and one of a folder that stays always is.

    Args:
        members: folder, index and score with the medoid of each.
        group: number of the group.
        at: least score to be removed.
        gone: root and name of the files that other finds remove.
    """

    def key(member: tuple[Folder, int, float]) -> tuple[bool, bool, int, float, int, str]:
        folder, index, _ = member
        pictures = folder.pictures
        width, height, size = pictures.facts[index].tolist()
        name = pictures.file_names[index]
        sharp = round(float(pictures.quality[index, 0]), 1)
        return (folder.root, name) in gone, not folder.stays, -width * height, -sharp, -size, name

    ordered = sorted(members, key=key)
    folder, index, nearness = ordered[0]
    best = folder.pictures.sha256(index)
    has_best = (folder.root, folder.pictures.file_names[index]) not in gone
    rows = []
    if has_best:
        rows.append(row_of(folder, index, "duplicates", "keep", group=group, reason=_why_best(ordered)))
    for member in ordered[1:] if has_best else ordered:
        folder, index, score = member
        is_copy = folder.pictures.sha256(index) == best
        both = 1.0 if is_copy else rounded(min(score, nearness))  # both must be that like the medoid
        reason = "the same file" if is_copy else "nearly the same picture"
        if member is ordered[0]:
            reason = "the best of its group, which another find removes"
        if folder.stays:
            rows.append(row_of(folder, index, "duplicates", "keep", group=group, reason=f"{reason}; its folder stays"))
        else:
            action: Action = "remove" if both >= at else "keep"
            reason = reason if both >= at else _LESS
            rows.append(row_of(folder, index, "duplicates", action, group=group, score=both, reason=reason))
    return rows


def copy_rows(first: Folder, second: Folder, pairs: Iterable[tuple[int, int, float]], *, at: float) -> list[PlanRow]:
    """Return the rows of near-duplicates between two folders: those of the first are removed, the second stays."""
    rows = []
    for group, (row, column, score) in enumerate(pairs, start=1):
        action: Action = "remove" if rounded(score) >= at else "keep"
        same = first.pictures.sha256(row) == second.pictures.sha256(column)
        reason = "the same file as in the other folder" if same else "nearly the same as in the other folder"
        reason = reason if action == "remove" else _LESS
        rows.append(row_of(first, row, "leaks", action, group=group, score=score, reason=reason))
        rows.append(row_of(second, column, "leaks", "keep", group=group, reason="the other folder stays"))
    return rows


def broken_rows(store: ImageStore, root: str, broken: Iterable[Skipped]) -> list[PlanRow]:
    """Return the rows of files that do not decode, with the reasons. Those that cannot be named or read, links, and
    pictures of which a person can see something stay."""
    rows = []
    for item in broken:
        row = PlanRow(file_name=item.file_name, root=root, find="broken", action="keep", reason=item.reason)
        if may_be_whole(item.reason) or Path(root, item.file_name).is_symlink():
            rows.append(replace(row, file_name=_printable(item.file_name), reason=f"it stays: {item.reason}"))
            continue
        try:
            content = store.read(item.file_name)
        except VisimError:
            row = replace(
                row,
                file_name=_printable(item.file_name),
                reason=f"it stays, for it cannot be read: {item.reason}",
            )
        else:
            sha256 = hashlib.sha256(content).hexdigest()
            row = replace(row, action="remove", bytes=len(content), sha256=sha256)
        rows.append(row)
    return rows


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def consistent(rows: Sequence[PlanRow]) -> Plan:
    """Return a plan in which a file that one find removes is removed in its other rows, too."""
    removed = {(row.root, row.file_name): row.find for row in rows if row.action == "remove"}
    found = []
    for row in rows:
        by = removed.get((row.root, row.file_name))
        if row.action == "keep" and by is not None:
            row = row.removed_by(by)
        found.append(row)
    return Plan(tuple(found))


def _why_best(ordered: Sequence[tuple[Folder, int, float]]) -> str:
    """Say by which rule the first of a group is the best."""
    if ordered[0][0].stays:
        return "kept: its folder stays"
    facts = [folder.pictures.facts[index].tolist() for folder, index, _ in ordered[:2]]
    sharp = [round(float(folder.pictures.quality[index, 0]), 1) for folder, index, _ in ordered[:2]]
    pixels = [math.prod(each[:2]) for each in facts]
    if pixels[0] != pixels[1]:
        return "kept: the most pixels"
    if sharp[0] != sharp[1]:
        return "kept: as many pixels as another, and sharper"
    if facts[0][2] != facts[1][2]:
        return "kept: as sharp as another, and the larger file"
    return "kept: the first by name of equal files"
