"""The result of building or changing a gallery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from visim_models.build.changes import Changes
from visim_models.build.skipped import Skipped
from visim_models.gallery import Gallery
from visim_models.metrics import Figure
from visim_models.ood import OutOfDistributionDetector

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
