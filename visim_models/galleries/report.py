"""The result of building or changing a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from visim_models.galleries.calibration import summary
from visim_models.galleries.changes import Changes
from visim_models.galleries.sources import Skipped
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder.formats import listed
from visim_models.repo_folder.manifest import SKIPPED

__all__ = ["BuildReport"]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a gallery has now, and what was changed.

    Attributes:
        repo: the repo folder.
        gallery: the pictures.
        detector: calibrated on them, and tried.
        changes: names that are new, changed, renamed or gone, or that differ from what the gallery keeps.
        skipped: files that were left out.
        unknown: names to remove that the gallery does not have.
        notes: lines about records and pictures that do not belong together.
    """

    repo: Path
    gallery: Gallery
    detector: OutOfDistributionDetector
    changes: Changes = field(default_factory=Changes)
    skipped: Sequence[Skipped] = ()
    unknown: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def pictures(self) -> int:
        """Return how many pictures the gallery has."""
        return len(self.gallery)

    def lines(self) -> list[str]:
        """Say in lines of text what the gallery has and what was done."""
        lines = [
            f"{self.repo}: {self.pictures:,} pictures ({self._changes()}), which are looked up under "
            f"{self.gallery.image_root or 'no root'}",
            self._verdict(),
            *([summary(self.detector.check)] if self.detector.check else []),
            *self.notes,
        ]
        if differing := self.changes.differing:
            lines.append(
                f"{_counted(len(differing), 'picture')} with other content now stayed as before "
                f"({listed(differing)}): remove them first to replace them."
            )
        if self.unknown:
            lines.append(f"{_counted(len(self.unknown), 'name')} to remove not in the gallery: {listed(self.unknown)}")
        if self.skipped:
            lines.append(f"{_counted(len(self.skipped), 'file')} left out, with the reasons in {self.repo / SKIPPED}")
        return lines

    def _verdict(self) -> str:
        """Say which of the three words a query gets."""
        size = f"{len(self.detector.calibration_scores):,}"
        if self.detector.can_tell:
            return f'A query is "one of these" or "not one of these", as {size} of the pictures calibrate the detector.'
        if self.detector.can_reject:
            return 'Every query gets "cannot tell": the detector misses most of every kind of drawn pictures.'
        return f'Every query gets "cannot tell": {size} pictures are too few for a verdict.'

    def _changes(self) -> str:
        counts = {
            "added": len(self.changes.added),
            "embedded again": len(self.changes.changed),
            "renamed": len(self.changes.renamed),
            "removed": len(self.changes.removed),
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing changed"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
