"""How probable it is that a match is a true one: of its query's label, by its score."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from visim_models.errors import ConfigurationError
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import MATCHES

__all__ = ["MatchProbability", "isotonic"]

_MOST_STEPS = 10_000
_MOST_BLOCKS: Final = 100
"""Of the scores that a probability is fitted on: each stands for as many matches."""
_BINS: Final = 10
"""Of the probabilities, for the calibration error."""


@dataclass(frozen=True)
class MatchProbability:
    """A rising function of the score, fitted by isotonic regression (Zadrozny and Elkan 2002) on held-out queries.

    Attributes:
        scores: rising cosines, at least one.
        probabilities: of each score, 0 to 1, never falling; between two scores it is a straight line, beyond the ends
            the nearest one counts.
        queries: how many pictures it was fitted on.
        calibration_error: how far a stated probability is from the share of true matches, on average, where the
            function was fitted on half of the queries and tried on the others (expected calibration error of ten bins,
            Naeini et al. 2015); None where that was not measured.
    """

    scores: Sequence[float]
    probabilities: Sequence[float]
    queries: int
    calibration_error: float | None = None

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
            and (self.calibration_error is None or 0 <= self.calibration_error <= 1)
        )
        if not fits:
            raise ConfigurationError("Scores must rise and probabilities, 0 to 1, must not fall, one for each score.")

    def __call__(self, score: float) -> float:
        """Return the probability that a match with this score is a true one."""
        return float(np.interp(score, self.scores, self.probabilities))

    def write_files(self, draft: RepoDraft) -> None:
        """Write match_probability.json into a draft."""
        error = {} if self.calibration_error is None else {"calibration_error": self.calibration_error}
        values = {"scores": list(self.scores), "probabilities": list(self.probabilities), **error}
        draft.write_json(MATCHES, {"queries": self.queries, **values})

    @classmethod
    def fitted(cls, scores: npt.NDArray[np.floating[Any]], is_true: npt.NDArray[Any]) -> Self:
        """Fit the probability on the matches of queries that the gallery does not have.

        Args:
            scores: (Q, k) cosines of each query's matches; one that is not finite is no match.
            is_true: (Q, k) whether the match is a true one.
        """
        there = np.isfinite(scores)

        def function(rows: slice) -> tuple[list[float], list[float]]:
            return isotonic(scores[rows][there[rows]], is_true[rows][there[rows]].astype(float))

        error = None
        if len(scores) > 1:
            halves = slice(None, None, 2), slice(1, None, 2)
            stated = [np.interp(scores[one][there[one]], *function(other)) for one, other in (halves, halves[::-1])]
            true = [is_true[half][there[half]] for half in halves]
            error = round(_calibration_error(np.concatenate(stated), np.concatenate(true)), 5)
        rising, probabilities = function(slice(None))
        return cls(tuple(rising), tuple(probabilities), len(scores), error)

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
            if values.keys() - {"calibration_error"} != {"queries", "scores", "probabilities"}:
                raise TypeError(f"it has the keys {sorted(values)}")
            error = values.get("calibration_error")
            return cls(tuple(values["scores"]), tuple(values["probabilities"]), values["queries"], error)
        except (TypeError, ConfigurationError) as error:
            raise ConfigurationError(
                f"{repo / MATCHES} has a value that does not fit ({error}): export the repo again.", path=repo / MATCHES
            ) from error


def isotonic(
    inputs: npt.NDArray[np.floating[Any]], values: npt.NDArray[np.floating[Any]]
) -> tuple[list[float], list[float]]:
    """Fit the never falling function that is nearest to values, in squares, by pooling adjacent violators.

    Args:
        inputs: (n,), in any order.
        values: (n,) of the inputs.

    Returns:
        Rising inputs, the mean one of each of at most `_MOST_BLOCKS` blocks, and the mean value of each.
    """
    order = np.argsort(inputs, kind="stable")
    blocks: list[list[float]] = []  # [sum of inputs, sum of values, count]
    for part in np.array_split(order, min(_MOST_BLOCKS, len(order))):
        blocks.append([float(inputs[part].sum()), float(values[part].sum()), float(len(part))])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last = blocks.pop()
            blocks[-1] = [one + other for one, other in zip(blocks[-1], last, strict=True)]
    kept = {round(total / count, 5): round(value / count, 5) for total, value, count in blocks}
    return list(kept), list(kept.values())


def _calibration_error(stated: npt.NDArray[np.floating[Any]], true: npt.NDArray[Any]) -> float:
    """Return the mean distance of (n,) stated probabilities from the shares of true matches, by bins."""
    bins = np.minimum((stated * _BINS).astype(int), _BINS - 1)
    sums = [np.bincount(bins, weights=values, minlength=_BINS) for values in (stated, true.astype(float))]
    return float(np.abs(sums[0] - sums[1]).sum() / max(len(stated), 1))
