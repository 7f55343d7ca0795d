"""The result of building or changing a gallery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from visim_models.galleries.changes import Changes
from visim_models.galleries.skipped import Skipped
from visim_models.galleries.verdict_check import summary
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import SKIPPED
from visim_models.repo_folder.metrics import Figure

__all__ = ["BuildReport"]


@dataclass(frozen=True)
class BuildReport:
    """What a gallery has now, and what was changed.

    Attributes:
        repo: the repo folder.
        pictures: how many pictures the gallery has.
        image_root: where they can be fetched from.
        calibration_size: how many of them the detector's p-values rest on.
        can_reject: whether these are enough to call any query out of distribution.
        added: names that are new.
        changed: names whose files have changed.
        renamed: new name -> old name of the same content.
        removed: names that are gone.
        differing: names whose files have changed, but that the gallery keeps as they were.
        skipped: files that were left out.
        unknown: names to remove that the gallery does not have.
        notes: lines about records and pictures that do not belong together.
        check: how many drawn pictures the verdict finds, as figures; none where nothing was built.
    """

    repo: Path
    pictures: int
    image_root: str
    calibration_size: int
    can_reject: bool
    added: Sequence[str] = ()
    changed: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    removed: Sequence[str] = ()
    differing: Sequence[str] = ()
    skipped: Sequence[Skipped] = ()
    unknown: Sequence[str] = ()
    notes: Sequence[str] = ()
    check: Sequence[Figure] = ()

    @classmethod
    def of_gallery(
        cls,
        gallery: Gallery,
        detector: OutOfDistributionDetector,
        *,
        repo: Path,
        changes: Changes | None = None,
        skipped: Sequence[Skipped] = (),
        unknown: Sequence[str] = (),
        notes: Sequence[str] = (),
        check: Sequence[Figure] = (),
    ) -> Self:
        """Return the report of a gallery, its detector and the changes that led to it, if any."""
        made = Changes() if changes is None else changes
        return cls(
            repo=repo,
            pictures=len(gallery),
            image_root=gallery.image_root,
            calibration_size=len(detector.calibration_scores),
            can_reject=detector.can_reject,
            added=made.added,
            changed=made.changed,
            renamed=made.renamed,
            removed=made.removed,
            differing=made.differing,
            skipped=skipped,
            unknown=unknown,
            notes=notes,
            check=check,
        )

    def lines(self) -> list[str]:
        """Say in lines of text what the gallery has and what was done."""
        lines = [
            f"{self.repo}: {self.pictures:,} pictures ({self._changes()}), which are looked up under "
            f"{self.image_root or 'no root'}",
            f"The detector is calibrated on {self.calibration_size:,} of this gallery's pictures."
            if self.can_reject
            else f"{self.calibration_size:,} pictures are too few for a verdict: every query passes as of this kind.",
            *([summary(self.check)] if self.check else []),
            *self.notes,
        ]
        if self.differing:
            lines.append(
                f"{_counted(len(self.differing), 'picture')} with other content now stayed as before "
                f"({listed(self.differing)}): remove them first to replace them."
            )
        if self.unknown:
            lines.append(f"{_counted(len(self.unknown), 'name')} to remove not in the gallery: {listed(self.unknown)}")
        if self.skipped:
            lines.append(f"{_counted(len(self.skipped), 'file')} left out, with the reasons in {self.repo / SKIPPED}")
        return lines

    def _changes(self) -> str:
        counts = {
            "added": len(self.added),
            "embedded again": len(self.changed),
            "renamed": len(self.renamed),
            "removed": len(self.removed),
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing changed"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
