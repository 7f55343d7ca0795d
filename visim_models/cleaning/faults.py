"""Find pictures that are no use whatever they show: of one colour, far too small, or of an extreme shape."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from visim_models.cleaning.survey import SurveyedPictures

__all__ = ["Fault", "find_faults"]

_BLANK: Final = 2.0
"""Standard deviation of the colours, in grey levels, up to which a picture is blank."""
_TINY_SHARE: Final = 0.25
_TINY_SIDE: Final = 8
"""A picture is tiny whose shorter side has less than a quarter of the usual pixels, or less than eight."""
_LONG: Final = 4.0
"""Ratio of the sides from which on a shape is extreme, unless it is usual here."""


@dataclass(frozen=True)
class Fault:
    """A picture that is no use.

    Attributes:
        index: of the picture.
        find: blank, tiny or shape.
        reason: one sentence.
    """

    index: int
    find: str
    reason: str


def find_faults(pictures: SurveyedPictures) -> Iterator[Fault]:
    """Yield the faults of pictures; one may have several."""
    width, height = pictures.facts[:, 0], pictures.facts[:, 1]
    shorter = pictures.facts[:, :2].amin(dim=1)  # (N,)
    usual = float(shorter.double().median())
    ratios = (pictures.facts[:, :2].amax(dim=1) / shorter).tolist()
    spreads = pictures.quality[:, 1].tolist()
    usual_ratio = sorted(ratios)[len(ratios) // 2]
    for index, side in enumerate(shorter.tolist()):
        size = f"{int(width[index])} x {int(height[index])}"
        if spreads[index] <= _BLANK:
            yield Fault(index, "blank", "it has one colour")
        if side < max(_TINY_SHARE * usual, _TINY_SIDE):
            yield Fault(index, "tiny", f"{size} pixels, where {usual:.0f} are usual for the shorter side")
        if ratios[index] >= max(_LONG, 2 * usual_ratio):
            yield Fault(index, "shape", f"{size} pixels: one side is {ratios[index]:.1f} times the other")
