"""The result of a query: the matches, and the verdict on the picture that was searched with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from visim_models.ood import OODVerdict
from visim_models.search.notebook import picture_strip

__all__ = ["Match", "SimilarityResult"]


@dataclass(frozen=True)
class Match:
    """A picture of the gallery that was found.

    Attributes:
        file_name: its name under the gallery's image root.
        label: its label.
        score: cosine similarity with the query, in [-1, 1].
        columns: name -> value of the gallery's further columns.
        probability: share of the matches with this score that have the label of their query, measured on held-out
            pictures; None where it was not measured.
    """

    file_name: str
    label: str
    score: float
    columns: Mapping[str, str] = field(default_factory=dict)
    probability: float | None = None

    @property
    def percent(self) -> int:
        """Return the score in whole percent."""
        return round(100 * self.score)

    def to_dict(self) -> dict[str, Any]:
        """Return the match in plain JSON types."""
        return {
            "file_name": self.file_name,
            "label": self.label,
            "score": self.score,
            "percent": self.percent,
            "probability": self.probability,
            "columns": dict(self.columns),
        }

    def __repr__(self) -> str:
        return f"Match({self.file_name!r}, {self.label!r}, {self.percent} %)"


@dataclass(frozen=True)
class SimilarityResult:
    """The answer to one query. Two results are equal where their matches and verdicts are.

    Attributes:
        matches: nearest first.
        ood: whether the query is the kind of picture that the gallery knows.
        embedding: (D,) float32 of the query.
        image_root: where the pictures of the gallery are, for notebooks; "" if unknown.
        trusts_root: the root may be on this machine.
    """

    matches: list[Match]
    ood: OODVerdict
    embedding: npt.NDArray[np.float32] = field(compare=False, repr=False)
    image_root: str = field(default="", compare=False, repr=False)
    trusts_root: bool = field(default=False, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the matches and the verdict in plain JSON types."""
        return {"matches": [match.to_dict() for match in self.matches], "ood": vars(self.ood).copy()}

    def _repr_html_(self) -> str:
        verdict = (
            "does not look like this gallery's pictures" if self.ood.is_ood else "looks like this gallery's pictures"
        )
        return picture_strip(
            self.matches,
            image_root=self.image_root,
            trusted=self.trusts_root,
            verdict=f"The picture {verdict} (p = {self.ood.p_value:.3f}).",
        )

    def __repr__(self) -> str:
        verdict = "out of distribution" if self.ood.is_ood else "in distribution"
        return f"SimilarityResult({self.matches!r}, {verdict}, p = {self.ood.p_value:.3f})"
