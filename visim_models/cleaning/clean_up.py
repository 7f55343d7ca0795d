"""One clean-up: find over surveyed pictures, and turn what was found into a plan with the reasons."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from PIL import Image

from visim_models.cleaning.duplicates import BY_PICTURE, Grouping, Member, small_picture, some_frames
from visim_models.cleaning.faults import (
    are_labels,
    find_faults,
    find_other_labels,
    find_poor,
    find_strange,
    is_of_a_known_kind,
    label_of,
    split_of,
)
from visim_models.cleaning.leaks import LEAK, leaks_between
from visim_models.cleaning.look_alikes import embed_examples, look_alike_scores, threshold_of
from visim_models.cleaning.output_folder import Decisions
from visim_models.cleaning.plan import Action, Plan, PlanRow, consistent
from visim_models.cleaning.quality import Copy, Preference
from visim_models.cleaning.survey import Survey
from visim_models.errors import DataError, VisimError
from visim_models.galleries.embed import Embedder
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import Skipped, open_store
from visim_models.images.kinds import may_be_whole
from visim_models.sources.store import ImageStore

__all__ = ["FINDS", "THRESHOLDS", "CleanUp", "Mirrored", "Wanted"]

FINDS: Final = ("like", "duplicates", "leaks", "labels", "broken", "blank", "tiny", "shape", "quality", "strange")
"""In the order of the plan and the report."""
THRESHOLDS: Final = ("like", "duplicates", "leaks")
"""Those that have a threshold."""
Mirrored: TypeAlias = Literal["no", "look", "yes"]

_FLOOR: Final = 0.1
"""So far below its threshold `like` lists files, which the plan keeps: the report shows what a lower one would take."""
_DIGITS: Final = 4
_MORE_PIXELS: Final = 1.1


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a clean-up looks for.

    Attributes:
        like: examples.
        not_like: counterexamples.
        duplicates: groups of near-duplicates.
        strange: pictures unlike all others.
        broken: files that do not decode, and blank, tiny and odd-shaped pictures.
        quality: blurred, dark, bright and flat pictures, and grey ones among colours.
        labels: pictures under two labels, and those whose neighbours have another one; folders are the labels.
        at: find -> threshold; the others have their defaults.
        top: of `like`, remove so many of the best.
        mirrored: whether a mirrored copy is none, one to look at, or one to remove.
        preference: which copy of a group is kept.
    """

    like: Sequence[str] = ()
    not_like: Sequence[str] = ()
    duplicates: bool = False
    strange: bool = False
    broken: bool = False
    quality: bool = False
    labels: bool = False
    at: Mapping[str, float] = field(default_factory=dict)
    top: int | None = None
    mirrored: Mirrored = "look"
    preference: Preference = field(default_factory=Preference)


@dataclass(frozen=True)
class _Folder:
    """The pictures of one root, and whether all of them are kept: others are only compared with them."""

    root: str
    pictures: PictureTable
    is_kept: bool = False

    def row(
        self, index: int, find: str, action: Action, *, group: int = 0, score: float | None = None, reason: str
    ) -> PlanRow:
        """Return the row of a picture."""
        pictures = self.pictures
        return PlanRow(
            file_name=pictures.file_names[index],
            root=self.root,
            find=find,
            action=action,
            group=group,
            score=None if score is None else _rounded(score),
            reason=reason,
            size=f"{pictures['width'][index]} x {pictures['height'][index]}",
            bytes=int(pictures["bytes"][index]),
            sha256=pictures["sha256"][index].tobytes().hex(),
        )


class CleanUp:
    """Finds over the pictures of one or two folders.

    Args:
        survey: of the pictures to clean.
        kept: of pictures that are only compared with them: none of these is ever removed.
        decisions: what a person has said before.
        parts: the network that embedded them.
        progress: show progress bars.

    Attributes:
        thresholds: find -> the threshold of the last plan.

    Raises:
        DataError: there is no picture to clean.

    Example:
        >>> parts = Embedder.load("my-gallery")
        >>> plan = CleanUp(survey_pictures("photos", parts), parts=parts).plan(Wanted(duplicates=True))
    """

    def __init__(
        self,
        survey: Survey,
        *,
        kept: Survey | None = None,
        decisions: Decisions | None = None,
        parts: Embedder,
        progress: bool = False,
    ) -> None:
        self._decisions = decisions
        self._survey, self._parts, self._progress = survey, parts, progress
        self.thresholds: dict[str, float] = {}
        if survey.pictures is None:
            raise DataError(f"{survey.root} has no picture that can be decoded.", path=survey.root)
        self._folders = [_Folder(survey.root, survey.pictures)]
        if kept is not None and kept.pictures is not None:
            self._folders.append(_Folder(kept.root, kept.pictures, is_kept=True))
        self._all = PictureTable.concatenate([folder.pictures for folder in self._folders])
        self._stores: dict[str, ImageStore] = {}

    def plan(self, wanted: Wanted, *, leaks: Sequence[Survey] = ()) -> Plan:
        """Look for everything that is wanted, and return the plan.

        Args:
            wanted: what to look for.
            leaks: of other pictures, such as test sets: near-duplicates of them are removed here.

        Raises:
            ImageDecodeError: an example is not a picture.
        """
        rows: list[PlanRow] = []
        if wanted.like:
            rows += self._like(wanted)
        if leaks:
            rows += self._leaks(leaks, wanted)
        if wanted.broken:
            rows += self._faulty()
        if wanted.duplicates:
            gone = frozenset((row.root, row.file_name) for row in rows if row.action == "remove")
            rows += self._duplicates(wanted, gone)
        elif wanted.labels:
            rows += [row for row in self._duplicates(wanted, frozenset()) if row.find == "labels"]
        if wanted.labels:
            rows += self._labels()
        if wanted.quality:
            rows += [
                self._folders[0].row(fault.index, fault.find, "look", score=fault.score, reason=fault.reason)
                for fault in find_poor(self._folders[0].pictures)
            ]
        if wanted.strange:
            rows += self._strange()
        return consistent(sorted(rows, key=lambda row: FINDS.index(row.find)))

    def _where(self, index: int) -> tuple[_Folder, int]:
        """Return the folder of a picture among all, and its index there."""
        first = len(self._folders[0].pictures)
        return (self._folders[0], index) if index < first else (self._folders[1], index - first)

    def _read(self, folder: _Folder, index: int) -> Image.Image:
        return small_picture(self._store_of(folder.root), folder.pictures.file_names[index])

    def _store(self, index: int) -> ImageStore:
        return self._store_of(self._where(index)[0].root)

    def _store_of(self, root: str) -> ImageStore:
        if root not in self._stores:
            self._stores[root] = open_store(root)
        return self._stores[root]

    # --- look-alikes

    def _like(self, wanted: Wanted) -> Iterator[PlanRow]:
        pictures = self._folders[0].pictures
        examples, others = (embed_examples(self._parts, images) for images in (wanted.like, wanted.not_like))
        scores = look_alike_scores(pictures["embeddings"], examples, others)
        order = np.argsort(-scores, kind="stable").tolist()
        at = wanted.at.get("like", threshold_of(scores, parts=not len(others)) if wanted.top is None else -1.0)
        if wanted.top is not None:  # a threshold says the same, and moves in the report
            best = _rounded(float(scores[order[: wanted.top]].min()))
            at = max(at, math.floor(best * 100) / 100)
        self.thresholds["like"] = at
        for number, index in enumerate(order):
            score = _rounded(float(scores[index]))
            if score < at - _FLOOR:
                break
            goes = score >= at and (wanted.top is None or number < wanted.top)
            reason = (
                "looks like the examples" if goes
                else "looks less like them than the threshold says" if score < at
                else f"looks like the examples, but is not among the best {wanted.top}"
            )  # fmt: skip
            yield self._folders[0].row(index, "like", "remove" if goes else "keep", score=score, reason=reason)

    # --- duplicates

    def _duplicates(self, wanted: Wanted, gone: frozenset[tuple[str, str]]) -> Iterator[PlanRow]:
        at = wanted.at.get("duplicates", BY_PICTURE)
        self.thresholds["duplicates"] = at
        copies = [self._copy(index) for index in range(len(self._all))]
        number_of = {id(copy): index for index, copy in enumerate(copies)}

        def order(indices: Sequence[int]) -> list[int]:
            """Sort by what is kept anyway, then by what no other find removes, then as the owner prefers."""
            parted: dict[tuple[bool, bool], list[Copy]] = {}
            for index in indices:
                copy = copies[index]
                folder, _ = self._where(index)
                parted.setdefault(((copy.root, copy.file_name) in gone, not folder.is_kept), []).append(copy)
            return [number_of[id(copy)] for key in sorted(parted) for copy in wanted.preference.order(parted[key])]

        hashes = [content.tobytes().hex() for content in self._all["sha256"]]

        def decided(one: int, other: int) -> bool | None:
            said = self._decisions.said_of(hashes[one], hashes[other]) if self._decisions else None
            return None if said is None else said == "same"

        grouping = Grouping(
            self._all,
            at=at,
            read=lambda index: self._read(*self._where(index)),
            order=order,
            frames=lambda index: some_frames(self._store(index), copies[index].file_name),
            decided=decided,
            progress=self._progress,
        )
        self._has_labels = are_labels(self._folders[0].pictures)
        number = 0
        for group in grouping.groups():
            linked = _links_of_one(group, copies)
            shown = [member for member in linked if wanted.mirrored != "no" or member.orientation % 2 == 0]
            if len(shown) < 2 or all(self._where(member.index)[0].is_kept for member in shown):
                continue
            number += 1
            yield from self._group_rows(shown, copies, number, wanted, gone)

    def _copy(self, index: int) -> Copy:
        folder, own = self._where(index)
        return Copy(folder.root, folder.pictures, own)

    def _group_rows(
        self,
        group: Sequence[Member],
        copies: Sequence[Copy],
        number: int,
        wanted: Wanted,
        gone: frozenset[tuple[str, str]],
    ) -> Iterator[PlanRow]:
        """Yield the rows of a group, the picture that is kept first."""
        kept = copies[group[0].index]
        is_gone = (kept.root, kept.file_name) in gone
        folder, own = self._where(group[0].index)
        reason = kept.why_kept(copies[group[1].index], wanted.preference)
        if any(member.relation == "same" and member.reason for member in group):
            reason = "kept: nothing is added to it, and nothing is missing"
        if folder.is_kept:
            reason = "kept: its folder is kept"
        if is_gone:
            reason = "the best of its group, which another find removes"
        names = [copies[member.index].file_name for member in group]
        labels = [label_of(name) for name in names]
        splits = sorted({split for name in names if (split := split_of(name))})
        across = f"; the group is across {' and '.join(splits)}" if len(splits) > 1 else ""
        yield folder.row(own, "duplicates", "remove" if is_gone else "keep", group=number, reason=reason + across)
        for member, label in zip(group[1:], labels[1:], strict=True):
            folder, own = self._where(member.index)
            action, reason = _judged(member, wanted)
            if self._has_labels and label != labels[0] and action == "remove" and not folder.is_kept:
                action, reason = "look", f"{reason}, but under another label: {label}, and {labels[0]}"
                if wanted.labels:
                    first, mine = self._where(group[0].index)
                    yield first.row(mine, "labels", "look", group=number, reason=f"the same picture is under {label}")
                    yield folder.row(own, "labels", "look", group=number, score=1.0, reason=reason)
            reason += across
            if folder.is_kept:
                action, reason = "keep", f"{reason}; its folder is kept"
            elif action == "remove" and self._where(group[0].index)[0].is_kept:
                better = _better(copies[member.index], kept, is_worse=member.is_worse)
                action, reason = ("look", better) if better else (action, reason)
            yield folder.row(own, "duplicates", action, group=number, score=member.score, reason=reason)

    # --- leaks

    def _leaks(self, surveys: Sequence[Survey], wanted: Wanted) -> Iterator[PlanRow]:
        at = wanted.at.get("leaks", LEAK)
        self.thresholds["leaks"] = at
        mine = self._folders[0]
        group = 0
        for survey in surveys:
            if survey.pictures is None:
                continue
            other = _Folder(survey.root, survey.pictures, is_kept=True)
            for leak in leaks_between(other.pictures, mine.pictures, progress=self._progress):
                if _rounded(leak.score) < at and not leak.is_alike:
                    continue
                action: Action = "remove"
                reason = (
                    "the same file as in the other folder"
                    if leak.is_same_file
                    else "nearly the same as in the other folder"
                )
                group += 1
                yield mine.row(leak.column, "leaks", action, group=group, score=max(leak.score, at), reason=reason)
                yield other.row(leak.row, "leaks", "keep", group=group, reason="the other folder is kept")

    # --- labels

    def _labels(self) -> Iterator[PlanRow]:
        for found in find_other_labels(self._folders[0].pictures):
            reason = f"{found.share:.0%} of the nearest are under {found.other}, none or one under {found.label}"
            yield self._folders[0].row(found.index, "labels", "look", score=found.share, reason=reason)

    # --- faults

    def _faulty(self) -> Iterator[PlanRow]:
        yield from _broken_rows(open_store(self._survey.root), self._survey.root, self._survey.broken)
        for fault in find_faults(self._folders[0].pictures):
            yield self._folders[0].row(fault.index, fault.find, "look", reason=fault.reason)

    def _strange(self) -> Iterator[PlanRow]:
        for index, verdict in find_strange(self._all, progress=self._progress):
            if not verdict.is_ood:
                break
            folder, own = self._where(index)
            if not folder.is_kept:
                reason = f"unlike all the others (p = {verdict.p_value:.3f})"
                yield folder.row(own, "strange", "look", score=verdict.score, reason=reason)


def _links_of_one(group: Sequence[Member], copies: Sequence[Copy]) -> list[Member]:
    """Return a group without the files that are hard links to the one that is kept: they are one file."""
    first = copies[group[0].index].inode
    return [group[0], *(member for member in group[1:] if first is None or copies[member.index].inode != first)]


def _rounded(score: float) -> float:
    """Return a score as plans and reports state it, and thresholds are compared with."""
    return round(score, _DIGITS)


def _judged(member: Member, wanted: Wanted) -> tuple[Action, str]:
    """Return what becomes of a member of a group that is not the one that is kept, and why."""
    if member.relation == "file":
        return "remove", "the same file"
    if member.relation == "look":
        return "look", f"alike, but {member.reason}"
    if member.orientation % 2:
        return ("remove", "the same picture, mirrored") if wanted.mirrored == "yes" else ("look", "alike, but mirrored")
    reason = "nearly the same picture" if not member.orientation else "the same picture, turned"
    return "remove", f"{reason}: {member.reason}" if member.reason else reason


def _better(copy: Copy, kept: Copy, *, is_worse: bool) -> str | None:
    """Say how a new picture is better than the one that is kept; None where it is not."""
    sizes = [
        (int(each.pictures["width"][each.index]), int(each.pictures["height"][each.index])) for each in (copy, kept)
    ]
    pixels = [width * height for width, height in sizes]
    shown = " than the one that is kept ({} x {}, {} x {})".format(*sizes[0], *sizes[1])
    if pixels[0] > _MORE_PIXELS * pixels[1]:
        more_detail = not is_worse and copy.information[-1] < kept.information[-1] * _MORE_PIXELS
        return ("it is better" if more_detail else "it is larger, though not more detailed,") + shown
    return None


def _broken_rows(store: ImageStore, root: str, broken: Iterable[Skipped]) -> Iterator[PlanRow]:
    """Yield the rows of files that do not decode, with the reasons; only those that open nowhere are removed."""
    for item in broken:
        row = PlanRow(file_name=item.file_name, root=root, find="broken", action="look", reason=item.reason)
        if may_be_whole(item.reason) or Path(root, item.file_name).is_symlink():
            yield replace(row, file_name=_printable(item.file_name))
            continue
        try:
            content = store.read(item.file_name)
        except VisimError:
            reason = f"it cannot be read: {item.reason}"
            yield replace(row, file_name=_printable(item.file_name), reason=reason)
        else:
            action: Action = "look" if content and is_of_a_known_kind(content) else "remove"
            yield replace(row, action=action, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]
