"""One clean-up: look at the pictures, find, write the plan and the report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from visim_models.cleaning.duplicates import BY_PICTURE, groups_within
from visim_models.cleaning.faults import find_faults
from visim_models.cleaning.finds import Folder, broken_rows, consistent, copy_rows, group_rows, rounded, row_of
from visim_models.cleaning.leaks import LEAK, leaks_between
from visim_models.cleaning.likeness import Pictures
from visim_models.cleaning.look_alikes import embed_examples, look_alike_scores, threshold_of
from visim_models.cleaning.plan import Plan, PlanRow
from visim_models.cleaning.strange import find_strange
from visim_models.cleaning.survey import Survey, SurveyedPictures
from visim_models.errors import DataError
from visim_models.galleries.embed import Embedder
from visim_models.galleries.sources import open_store

__all__ = ["FINDS", "THRESHOLDS", "CleanUp", "Wanted"]

FINDS: Final = ("like", "duplicates", "leaks", "broken", "blank", "tiny", "shape", "strange")
"""In the order of the plan and the report."""
THRESHOLDS: Final = ("like", "duplicates", "leaks")
"""Those that have a threshold."""

_FLOOR: Final = 0.1
"""So far below its threshold a find lists files, which the plan keeps: the report shows what a lower one would take."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a clean-up looks for.

    Attributes:
        like: examples.
        not_like: counterexamples.
        duplicates: groups of near-duplicates.
        strange: pictures unlike all others.
        broken: files that do not decode, and blank, tiny and odd-shaped pictures.
        at: find -> threshold; the others have their defaults.
        top: of `like`, remove so many of the best.
    """

    like: Sequence[str] = ()
    not_like: Sequence[str] = ()
    duplicates: bool = False
    strange: bool = False
    broken: bool = False
    at: Mapping[str, float] = field(default_factory=dict)
    top: int | None = None


class CleanUp:
    """Finds over the pictures of one or two folders.

    Args:
        surveys: of the pictures to clean.
        stays: of pictures that are only compared with them: none of these is ever removed.
        parts: the network that embedded them.
        progress: show progress bars.

    Raises:
        DataError: there is no picture to clean.
    """

    def __init__(
        self, surveys: Survey, *, stays: Survey | None = None, parts: Embedder, progress: bool = False
    ) -> None:
        self._survey, self._parts, self._progress = surveys, parts, progress
        self.thresholds: dict[str, float] = {}
        if surveys.pictures is None:
            raise DataError(f"{surveys.root} has no picture that can be decoded.", path=surveys.root)
        self._folders = [Folder(surveys.root, surveys.pictures)]
        if stays is not None and stays.pictures is not None:
            self._folders.append(Folder(stays.root, stays.pictures, stays=True))
        self._all = SurveyedPictures.concatenate([folder.pictures for folder in self._folders])

    def plan(self, wanted: Wanted, *, leaks: Survey | None = None) -> Plan:
        """Look for everything that is wanted, and return the plan.

        Args:
            wanted: what to look for.
            leaks: other pictures, such as a test set: near-duplicates of them are removed here.

        Raises:
            ImageDecodeError: an example is not a picture.
        """
        rows: list[PlanRow] = []
        if wanted.like:
            rows += self._like(wanted)
        if leaks is not None and leaks.pictures is not None:
            rows += self._leaks(Folder(leaks.root, leaks.pictures, stays=True), wanted.at.get("leaks", LEAK))
        if wanted.broken:
            rows += self._faulty()
        if wanted.duplicates:
            gone = frozenset((row.root, row.file_name) for row in rows if row.action == "remove")
            rows += self._duplicates(wanted.at.get("duplicates", BY_PICTURE), gone)
        if wanted.strange:
            rows += self._strange()
        return consistent(sorted(rows, key=lambda row: FINDS.index(row.find)))

    def _where(self, index: int) -> tuple[Folder, int]:
        """Return the folder of a picture among all, and its index there."""
        first = len(self._folders[0].pictures)
        return (self._folders[0], index) if index < first else (self._folders[1], index - first)

    def _like(self, wanted: Wanted) -> Iterable[PlanRow]:
        pictures = self._folders[0].pictures
        examples, others = (embed_examples(self._parts, images) for images in (wanted.like, wanted.not_like))
        scores = look_alike_scores(pictures.embeddings, examples, others)
        order = scores.argsort(descending=True, stable=True).tolist()
        at = wanted.at.get("like", threshold_of(scores, parts=not len(others)) if wanted.top is None else -1.0)
        if wanted.top is not None:  # a threshold says the same, and moves in the report
            best = rounded(float(scores[order[: wanted.top]].min()))
            at = max(at, math.floor(best * 100) / 100)
        self.thresholds["like"] = at
        for number, index in enumerate(order):
            score = rounded(float(scores[index]))
            if score < at - _FLOOR:
                break
            goes = score >= at and (wanted.top is None or number < wanted.top)
            reason = (
                "looks like the examples" if goes
                else "looks less like them than the threshold says" if score < at
                else f"looks like the examples, but is not among the best {wanted.top}"
            )  # fmt: skip
            yield row_of(self._folders[0], index, "like", "remove" if goes else "keep", score=score, reason=reason)

    def _duplicates(self, at: float, gone: frozenset[tuple[str, str]]) -> Iterable[PlanRow]:
        self.thresholds["duplicates"] = at
        groups = groups_within(
            Pictures(self._all.embeddings, self._all.thumbnails),
            at=at,
            floor=at - _FLOOR,
            hashes=self._all.hashes,
            progress=self._progress,
        )
        number = 0
        for group in groups:
            members = [(*self._where(index), score) for index, score in group]
            if all(folder.stays for folder, _, _ in members):
                continue
            number += 1
            yield from group_rows(members, group=number, at=at, gone=gone)

    def _leaks(self, other: Folder, at: float) -> Iterable[PlanRow]:
        self.thresholds["leaks"] = at
        mine = self._folders[0]
        pairs = leaks_between(
            Pictures(other.pictures.embeddings, other.pictures.thumbnails),
            Pictures(mine.pictures.embeddings, mine.pictures.thumbnails),
            progress=self._progress,
        )
        near = [(column, row, score) for row, column, score, _ in pairs if rounded(score) >= at - _FLOOR]
        yield from copy_rows(mine, other, near, at=at)

    def _faulty(self) -> Iterable[PlanRow]:
        yield from broken_rows(open_store(self._survey.root), self._survey.root, self._survey.broken)
        for fault in find_faults(self._folders[0].pictures):
            action = "keep" if fault.find == "shape" else "remove"
            yield row_of(self._folders[0], fault.index, fault.find, action, reason=fault.reason)  # type: ignore[arg-type]

    def _strange(self) -> Iterable[PlanRow]:
        for index, verdict in find_strange(self._all, progress=self._progress):
            if not verdict.is_ood:
                break
            folder, own = self._where(index)
            if not folder.stays:
                reason = f"unlike all the others (p = {verdict.p_value:.3f}): look at it; the plan keeps it"
                yield row_of(folder, own, "strange", "keep", score=verdict.score, reason=reason)
