"""The ground that the verdict of a gallery has: what it is calibrated on, and what was measured of it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from visim_models import VisimError, VisualSimilarity
from visim_models.galleries.synthetic import SYNTHETIC_KINDS
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import MEASUREMENTS, METRICS
from visim_models.repo_folder.metrics import Figure, Metrics

__all__ = ["VerdictBasis", "read_basis"]

_log = logging.getLogger(__name__)

_LEAST_FOUND = 50
"""A verdict that finds less than this of every kind of drawn pictures, in percent, is none."""


@dataclass(frozen=True)
class VerdictBasis:
    """The ground that a verdict has.

    Attributes:
        is_self_calibrated: it is calibrated on the gallery's own pictures, and not on others of their kind.
        figures: what was measured of it.
        cannot_tell: why it cannot tell, a key of the page's texts; "" where it can.
    """

    is_self_calibrated: bool = False
    figures: Sequence[Figure] = field(default=(), repr=False)
    cannot_tell: Literal["", "too_few", "misses"] = ""

    def alarms(self, rate: float) -> Figure | None:
        """Return the measured share of right pictures that are called strange at a rate, other people's if measured."""
        names = [f"{kind}_false_alarms_at_{100 * rate:.0f}" for kind in ("wild", "ood")]
        found = {figure.name: figure for figure in self.figures}
        return next((found[name] for name in names if name in found), None)

    def found(self, rate: float) -> dict[str, Figure]:
        """Return kind of other pictures -> measured share of them that is called strange at a rate."""
        prefix = f"ood_found_at_{100 * rate:.0f}_"
        return {figure.name.removeprefix(prefix): figure for figure in self.figures if figure.name.startswith(prefix)}


def read_basis(repo: Path, similarity: VisualSimilarity) -> VerdictBasis:
    """Read the ground of a gallery's verdict from its repo folder.

    Args:
        repo: the folder.
        similarity: as it was loaded from there.
    """
    folder = RepoFolder(repo)
    if not similarity.ood.can_reject:
        return VerdictBasis(True, cannot_tell="too_few")
    is_self_calibrated = folder.has(MEASUREMENTS)  # `visim build` made it
    figures: Sequence[Figure] = ()
    if folder.has(METRICS):
        try:
            figures = Metrics.read(folder).figures
        except VisimError as error:
            _log.warning("the page does not say what the verdict finds: %s", error)
    drawn = [
        figure for figure in figures
        if figure.name.startswith("ood_found_at_") and figure.name.rpartition("_")[2] in SYNTHETIC_KINDS
    ]  # fmt: skip
    if is_self_calibrated and drawn and all(figure.value < _LEAST_FOUND for figure in drawn):
        return VerdictBasis(True, figures, "misses")
    return VerdictBasis(is_self_calibrated, figures)
