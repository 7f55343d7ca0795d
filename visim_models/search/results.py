"""The result of a query: matches, with the probability that each is a true one, and the verdict on the query."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from visim_models.errors import ConfigurationError, VisimError
from visim_models.images.decode import decode_image
from visim_models.ood import OODVerdict
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import MATCHES
from visim_models.sources.store import ImageStore

__all__ = ["Match", "MatchProbability", "SimilarityResult", "isotonic"]

_SIDE: Final = 128
_MOST: Final = 12
"""Of the pictures in a notebook."""
_MOST_STEPS: Final = 10_000
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
        return {"matches": [match.to_dict() for match in self.matches], "ood": self.ood.to_dict()}

    def _repr_html_(self) -> str:
        return _picture_strip(
            self.matches,
            image_root=self.image_root,
            trusted=self.trusts_root,
            verdict=f"The picture against this gallery: {self.ood.word} (p = {self.ood.p_value:.3f}).",
        )

    def __repr__(self) -> str:
        return f"SimilarityResult({self.matches!r}, {self.ood.word}, p = {self.ood.p_value:.3f})"


def _picture_strip(matches: Sequence[Match], *, image_root: str, trusted: bool, verdict: str) -> str:
    """Return the matches as HTML that needs no network and no file; a picture that is not on this machine is a frame.

    Args:
        matches: nearest first; the first twelve are shown.
        image_root: where the pictures are.
        trusted: the root may be on this machine.
        verdict: a sentence on the query.
    """
    shown = matches[:_MOST]
    found = _fetch([match.file_name for match in shown], image_root, trusted=trusted)
    tiles = "".join(_tile(match, found.get(match.file_name)) for match in shown)
    return f'<div><p>{escape(verdict)}</p><div style="display:flex;flex-wrap:wrap;gap:8px">{tiles}</div></div>'


def _fetch(file_names: Sequence[str], image_root: str, *, trusted: bool) -> dict[str, bytes]:
    try:
        store = ImageStore(image_root, trusted=trusted) if image_root else None
        return store.read_many(file_names) if store and not store.is_remote else {}
    except VisimError:
        return {}


def _tile(match: Match, content: bytes | None) -> str:
    caption = f"{match.percent} %" + (f" {match.label}" if match.label else "")
    picture = _thumbnail(content) if content else None
    image = (
        f'<img src="data:image/png;base64,{picture}" alt="{escape(match.file_name)}">'
        if picture
        else f'<div style="width:{_SIDE}px;height:{_SIDE}px;border:1px solid #999;overflow:hidden">'
        f"{escape(match.file_name)}</div>"
    )
    return f'<figure style="margin:0;width:{_SIDE}px">{image}<figcaption>{escape(caption)}</figcaption></figure>'


def _thumbnail(content: bytes) -> str | None:
    try:
        picture = decode_image(content)
    except VisimError:
        return None
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
