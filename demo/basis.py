"""The ground that the verdict of a gallery has: what it is calibrated on, and what it was found to find."""

import logging
from dataclasses import dataclass
from pathlib import Path

from visim_models import VisimError, VisualSimilarity
from visim_models.build.verdict_check import check_figures, summary
from visim_models.metrics import Metrics
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import MEASUREMENTS, METRICS

__all__ = ["VerdictBasis", "read_basis"]

_log = logging.getLogger(__name__)

_LEAST_FOUND = 50
"""A verdict that finds less than this of every kind of drawn pictures, in percent, is none."""


@dataclass(frozen=True)
class VerdictBasis:
    """The ground that a verdict has.

    Attributes:
        is_self_calibrated: it is calibrated on the gallery's own pictures, and not on others of their kind.
        finds: a sentence on how many drawn pictures it finds; "" where that was not measured.
        cannot_tell: a sentence that says why it cannot tell; "" where it can.
    """

    is_self_calibrated: bool = False
    finds: str = ""
    cannot_tell: str = ""


def read_basis(repo: Path, similarity: VisualSimilarity) -> VerdictBasis:
    """Read the ground of a gallery's verdict from its repo folder.

    Args:
        repo: the folder.
        similarity: as it was loaded from there.
    """
    folder = RepoFolder(repo)
    if not similarity.ood.can_reject:
        return VerdictBasis(True, cannot_tell="This gallery has too few pictures for a verdict.")
    if not folder.has(MEASUREMENTS):  # `visim build` did not make it
        return VerdictBasis()
    figures = []
    if folder.has(METRICS):
        try:
            figures = check_figures(Metrics.read(folder).figures)
        except VisimError as error:
            _log.warning("the page does not say what the verdict finds: %s", error)
    if not figures:
        return VerdictBasis(True)
    finds = f"{summary(figures)} Tried with {figures[0].n} drawn pictures of each kind."
    if all(figure.value < _LEAST_FOUND for figure in figures):
        return VerdictBasis(True, finds, "Its verdict misses most of what is surely of another kind.")
    return VerdictBasis(True, finds)
