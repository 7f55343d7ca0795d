"""What a query gives: the matches, and the verdict on what was searched with."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visim_models.ood import OODVerdict

__all__ = ["Match", "SimilarityResult"]


@dataclass(frozen=True)
class Match:
    """A picture of the gallery that was found.

    Attributes:
        file_name: its name under the gallery's image root.
        label: its label.
        score: cosine similarity with the query, in [-1, 1].
    """

    file_name: str
    label: str
    score: float

    @property
    def percent(self) -> int:
        """The score in whole percent."""
        return round(100 * self.score)


@dataclass(frozen=True)
class SimilarityResult:
    """The answer to one query.

    Attributes:
        matches: nearest first.
        ood: whether the query is the kind of picture that the gallery knows.
        embedding: (D,) float32 of the query.
    """

    matches: list[Match]
    ood: OODVerdict
    embedding: npt.NDArray[np.float32]
