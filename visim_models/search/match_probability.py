"""How probable it is that a match is a true one: of its query's label, by its score."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from visim_models.errors import ConfigurationError
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import MATCHES

__all__ = ["MatchProbability"]

_MOST_STEPS = 10_000


@dataclass(frozen=True)
class MatchProbability:
    """A rising function of the score, fitted by isotonic regression (Zadrozny and Elkan 2002) on held-out queries.

    Attributes:
        scores: rising cosines, at least one.
        probabilities: of each score, 0 to 1, never falling; between two scores it is a straight line, beyond the ends
            the nearest one counts.
        queries: how many pictures it was fitted on.
    """

    scores: Sequence[float]
    probabilities: Sequence[float]
    queries: int

    def __post_init__(self) -> None:
        numbers = (*self.scores, *self.probabilities)
        fits = (
            0 < len(self.scores) == len(self.probabilities) <= _MOST_STEPS
            and type(self.queries) is int
            and self.queries > 0
            and all(type(number) in (int, float) and -1.001 <= number <= 1.001 for number in numbers)
            and all(low < high for low, high in pairwise(self.scores))
            and all(low <= high for low, high in pairwise(self.probabilities))
            and 0 <= self.probabilities[0] <= self.probabilities[-1] <= 1
        )
        if not fits:
            raise ConfigurationError("Scores must rise and probabilities, 0 to 1, must not fall, one for each score.")

    def __call__(self, score: float) -> float:
        """Return the probability that a match with this score is a true one."""
        return float(np.interp(score, self.scores, self.probabilities))

    def write_files(self, draft: RepoDraft) -> None:
        """Write match_probability.json into a draft."""
        values = {"queries": self.queries, "scores": list(self.scores), "probabilities": list(self.probabilities)}
        draft.write_json(MATCHES, values)

    @classmethod
    def load(cls, repo: RepoFolder) -> Self | None:
        """Load the one of a repo folder; None where it has none.

        Raises:
            ConfigurationError: match_probability.json has a missing, unknown or wrong key.
        """
        if not repo.has(MATCHES):
            return None
        values = repo.json(MATCHES)
        try:
            if values.keys() != {"queries", "scores", "probabilities"}:
                raise TypeError(f"it has the keys {sorted(values)}")
            return cls(tuple(values["scores"]), tuple(values["probabilities"]), values["queries"])
        except (TypeError, ConfigurationError) as error:
            raise ConfigurationError(
                f"{repo / MATCHES} has a value that does not fit ({error}): export the repo again.", path=repo / MATCHES
            ) from error
