"""Tell uploads that are of another kind than the gallery's pictures: a score and its conformal p-value."""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from visim_models.errors import ConfigurationError, QueryError, WeightsError
from visim_models.measurements import Measurements
from visim_models.repo_folder import FindOptions, RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import OOD, OOD_TENSORS

__all__ = ["ARTICLE_TOP_SCORE", "PROBE", "OODVerdict", "OutOfDistributionDetector", "VerdictWord", "Weighting"]

VerdictWord: TypeAlias = Literal["one of these", "not one of these", "cannot tell"]

_Floats: TypeAlias = npt.NDArray[np.float32]

ARTICLE_TOP_SCORE = 0.5
"""The second article's rule: a top score under this is out of distribution."""

_LARGEST = 1e9
_LEAST_STD = 1e-9
"""Bounds of a detector's numbers: within them every score of a finite embedding is finite."""

_LEAST_FOUND: Final = 0.5
"""A detector whose trial found less than this share of every kind of surely strange pictures cannot tell."""
_MOST_KINDS: Final = 100

PROBE = "probe"
"""The measurement that a detector makes itself: a linear function of the embedding."""


@dataclass(frozen=True)
class OODVerdict:
    """The verdict on one picture.

    Attributes:
        is_ood: the picture does not look like those that the detector was calibrated on. Without `can_tell` it says
            nothing.
        can_tell: the detector has enough pictures to judge, and did not miss what is surely strange when it was tried.
        score: how strange it is; higher is stranger. The unit is the detector's own.
        p_value: share of calibration pictures at least as strange, (1 + count) / (n + 1); in (0, 1].
        false_alarm_rate: share of in-distribution pictures that the detector is set to call out of distribution.
        calibration_size: n.
    """

    is_ood: bool
    can_tell: bool
    score: float
    p_value: float
    false_alarm_rate: float
    calibration_size: int

    @property
    def word(self) -> VerdictWord:
        """Return the verdict in words, the same in every place that shows it."""
        if not self.can_tell:
            return "cannot tell"
        return "not one of these" if self.is_ood else "one of these"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict in plain JSON types."""
        return {**asdict(self), "word": self.word}


@dataclass(frozen=True)
class Weighting:
    """How one measurement enters the score: weight * (value - mean) / std."""

    weight: float
    mean: float
    std: float


class OutOfDistributionDetector:
    """A weighted sum of measurements, ranked among those of held-out pictures (conformal prediction, Vovk et al. 2005).

    Args:
        weightings: how each measurement enters the score, by its name. "probe" is the detector's own measurement.
        calibration_scores: (n,) scores of held-out pictures; none where only a threshold decides.
        false_alarm_rate: p-values up to this are out of distribution.
        threshold: decide by score > threshold instead of by the p-value.
        probe_weight: (D,) float weights of the linear probe.
        probe_bias: bias of the linear probe.
        check: kind of surely strange pictures -> share of them that a trial found, 0 to 1; None where none was made.

    Raises:
        ConfigurationError: a value does not fit.
    """

    def __init__(
        self,
        weightings: Mapping[str, Weighting],
        *,
        calibration_scores: npt.NDArray[Any] | None = None,
        false_alarm_rate: float = 0.05,
        threshold: float | None = None,
        probe_weight: npt.NDArray[Any] | None = None,
        probe_bias: float = 0.0,
        check: Mapping[str, float] | None = None,
    ) -> None:
        with np.errstate(over="ignore"):  # what is beyond float32 is refused below
            scores = np.sort(np.asarray([] if calibration_scores is None else calibration_scores, np.float32))  # (n,)
            probe = None if probe_weight is None else np.asarray(probe_weight, np.float32)  # (D,)
        numbers = [number for each in weightings.values() for number in vars(each).values()]
        if not weightings or not all(each.std > _LEAST_STD for each in weightings.values()):
            raise ConfigurationError(f"A detector needs weightings, each with a std above {_LEAST_STD:g}.")
        if not all(abs(number) <= _LARGEST for number in (*numbers, probe_bias, threshold or 0.0)) or not all(
            bool((np.abs(array) <= _LARGEST).all()) for array in (scores, probe) if array is not None
        ):
            raise ConfigurationError(f"A detector's numbers must be finite, and not beyond {_LARGEST:g}.")
        if not 0 < false_alarm_rate < 1:
            raise ConfigurationError(f"false_alarm_rate is {false_alarm_rate!r}: it must be between 0 and 1.")
        if (PROBE in weightings) != (probe is not None):
            raise ConfigurationError("A detector with a probe needs its weights, and one without has none.")
        if threshold is not None and len(scores):
            raise ConfigurationError("A detector decides by its calibration or by a threshold, not by both.")
        if threshold is None and not len(scores):
            raise ConfigurationError("A detector needs calibration scores, or a threshold to decide by.")
        if check is not None and (len(check) > _MOST_KINDS or not all(0 <= share <= 1 for share in check.values())):
            raise ConfigurationError(f"check is {dict(check)!r}: a share from 0 to 1 of each kind is needed.")
        self.weightings, self.calibration_scores = dict(weightings), scores
        self.false_alarm_rate, self.threshold = false_alarm_rate, threshold
        self.probe_weight, self.probe_bias = probe, probe_bias
        self.check = None if check is None else dict(check)

    @classmethod
    def top_score_rule(cls, *, threshold: float = ARTICLE_TOP_SCORE) -> Self:
        """Return the second article's rule: out of distribution where the nearest picture scores under the threshold.

        It has no calibration: its p-values are all 1.
        """
        return cls({"top_distance": Weighting(weight=1.0, mean=0.0, std=1.0)}, threshold=1 - threshold)

    def calibrated(self, scores: npt.NDArray[Any]) -> Self:
        """Return a detector with the same score, whose p-values rest on other (n,) calibration scores; untried."""
        return self._with(calibration_scores=scores, threshold=None, check=None)

    def checked(self, check: Mapping[str, float]) -> Self:
        """Return the same detector with the shares of surely strange pictures that a trial of it found."""
        return self._with(check=check)

    def _with(self, **changes: Any) -> Self:
        names = ("calibration_scores", "false_alarm_rate", "threshold", "probe_weight", "probe_bias", "check")
        return type(self)(self.weightings, **{name: getattr(self, name) for name in names} | changes)

    @property
    def can_reject(self) -> bool:
        """Return whether any picture can be called out of distribution: with few calibration scores none can."""
        return self.threshold is not None or 1 / (len(self.calibration_scores) + 1) <= self.false_alarm_rate

    @property
    def misses_strangers(self) -> bool:
        """Return whether a trial found less than half of every kind of surely strange pictures."""
        return bool(self.check) and all(share < _LEAST_FOUND for share in (self.check or {}).values())

    @property
    def can_tell(self) -> bool:
        """Return whether a verdict says anything: a picture can be rejected, and not all that is strange is missed."""
        return self.can_reject and not self.misses_strangers

    def check_fits(self, names: Collection[str], *, width: int) -> None:
        """Check that the detector can score pictures that these are measured of.

        Args:
            names: the measurements.
            width: D, the length of the embeddings.

        Raises:
            QueryError: a measurement is missing, or the embeddings are of another width than the probe.
        """
        if missing := self.weightings.keys() - {*names, PROBE}:
            raise QueryError(f"The detector needs {sorted(missing)}, which this model does not measure.")
        if self.probe_weight is not None and width != len(self.probe_weight):
            raise QueryError(f"The detector is for embeddings of width {len(self.probe_weight)}, not {width}.")

    def score(self, measurements: Measurements, embeddings: _Floats) -> _Floats:
        """Score N pictures: (N,) float32; higher is stranger.

        Args:
            measurements: name -> (N,).
            embeddings: (N, D).

        Raises:
            QueryError: a measurement is missing, or the embeddings are of another width than the probe.
        """
        self.check_fits(measurements.keys(), width=embeddings.shape[1])
        values = dict(measurements)
        if self.probe_weight is not None:
            values[PROBE] = np.asarray(embeddings, np.float32) @ self.probe_weight + self.probe_bias  # (N,)
        total = np.zeros(len(embeddings), np.float32)
        for name, each in self.weightings.items():
            total += each.weight * (np.asarray(values[name], np.float32) - each.mean) / each.std
        return total

    def verdicts(self, measurements: Measurements, embeddings: _Floats) -> list[OODVerdict]:
        """Judge N pictures, which are given as to `score`."""
        scores = self.score(measurements, embeddings)
        size = len(self.calibration_scores)
        at_least = size - np.searchsorted(self.calibration_scores, scores)  # (N,)
        verdicts = []
        for score, count in zip(scores.tolist(), at_least.tolist(), strict=True):
            p_value = (1 + count) / (size + 1)
            is_ood = p_value <= self.false_alarm_rate if self.threshold is None else score > self.threshold
            verdicts.append(OODVerdict(is_ood, self.can_tell, score, p_value, self.false_alarm_rate, size))
        return verdicts

    def write_files(self, draft: RepoDraft) -> None:
        """Write ood.json and ood.safetensors into a draft."""
        values = {
            "weightings": {name: vars(each) for name, each in self.weightings.items()},
            "false_alarm_rate": self.false_alarm_rate,
            "threshold": self.threshold,
            "calibration_size": len(self.calibration_scores),
            "probe_bias": self.probe_bias,
            **({} if self.check is None else {"check": self.check}),
        }
        draft.write_json(OOD, values)
        tensors = {"calibration_scores": self.calibration_scores}
        if self.probe_weight is not None:
            tensors["probe_weight"] = self.probe_weight
        draft.write_tensors(OOD_TENSORS, tensors)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str] | RepoFolder, **options: Unpack[FindOptions]) -> Self:
        """Load the detector of a folder or of a Hub repo.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", or an open repo folder.
            options: where to look for it, as `RepoFolder.find` takes them.

        Raises:
            RepositoryError: the folder or repo cannot be found or downloaded.
            ConfigurationError: ood.json is missing, or has a missing, unknown or wrong key.
            WeightsError: ood.safetensors is missing or damaged, or does not fit ood.json.
        """
        return cls.load(RepoFolder.find(source, **options))

    @classmethod
    def load(cls, repo: RepoFolder) -> Self:
        """Load the detector of a repo folder.

        Raises:
            ConfigurationError: ood.json is missing, or has a missing, unknown or wrong key.
            WeightsError: ood.safetensors is missing or damaged, or does not fit ood.json.
        """
        path = repo / OOD
        values = repo.json(OOD)
        expected = {"weightings", "false_alarm_rate", "threshold", "calibration_size", "probe_bias"}
        if set(values) - {"check"} != expected:
            raise ConfigurationError(
                f"{path} must have the keys {sorted(expected)}, and may have check, but has {sorted(values)}.",
                path=path,
            )
        tensors = repo.tensors(OOD_TENSORS)
        scores = tensors.get("calibration_scores", np.empty(0, np.float32))
        probe = tensors.get("probe_weight")
        fits = scores.ndim == 1 and len(scores) == values["calibration_size"] and (probe is None or probe.ndim == 1)
        fits = fits and tensors.keys() <= {"calibration_scores", "probe_weight"}
        if not fits or not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in tensors.values()):
            raise WeightsError(f"{repo / OOD_TENSORS} does not fit {OOD}: export the repo again.", path=path)
        try:
            return cls(
                {str(name): Weighting(**_numbers(each)) for name, each in values["weightings"].items()},
                calibration_scores=scores,
                **_numbers({"false_alarm_rate": values["false_alarm_rate"], "probe_bias": values["probe_bias"]}),
                threshold=None
                if values["threshold"] is None
                else _numbers({"threshold": values["threshold"]})["threshold"],
                probe_weight=probe,
                check=None if values.get("check") is None else _numbers(values["check"]),
            )
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigurationError(
                f"{path} has a value that does not fit ({error}): export the repo again.", path=path
            ) from error


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in values.values()):
        raise ValueError(f"{dict(values)} must all be finite numbers")
    return {name: float(value) for name, value in values.items()}
