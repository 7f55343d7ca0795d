"""Tell uploads that are of another kind than the gallery's pictures: a score and its conformal p-value."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from visim_models.errors import ConfigurationError, QueryError, WeightsError
from visim_models.measurements import Measured
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import OOD, OOD_TENSORS

__all__ = ["ARTICLE_TOP_SCORE", "PROBE", "OODVerdict", "OutOfDistributionDetector", "Weighting"]

ARTICLE_TOP_SCORE = 0.5
"""The second article's rule: a top score under this is out of distribution."""

_LARGEST = 1e9
_LEAST_STD = 1e-9
"""Bounds of a detector's numbers: within them every score of a finite embedding is finite."""

PROBE = "probe"
"""The measurement that a detector makes itself: a linear function of the embedding."""


@dataclass(frozen=True)
class OODVerdict:
    """The verdict on one picture.

    Attributes:
        is_ood: the picture does not look like those that the detector was calibrated on.
        score: how strange it is; higher is stranger. The unit is the detector's own.
        p_value: share of calibration pictures at least as strange, (1 + count) / (n + 1); in (0, 1].
        false_alarm_rate: share of in-distribution pictures that the detector is set to call out of distribution.
        calibration_size: n.
    """

    is_ood: bool
    score: float
    p_value: float
    false_alarm_rate: float
    calibration_size: int


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
        probe_weight: (D,) weights of the linear probe.
        probe_bias: bias of the linear probe.

    Raises:
        ConfigurationError: a value does not fit.
    """

    def __init__(
        self,
        weightings: Mapping[str, Weighting],
        *,
        calibration_scores: Tensor | None = None,
        false_alarm_rate: float = 0.05,
        threshold: float | None = None,
        probe_weight: Tensor | None = None,
        probe_bias: float = 0.0,
    ) -> None:
        scores = torch.empty(0) if calibration_scores is None else calibration_scores
        numbers = [number for each in weightings.values() for number in vars(each).values()]
        if not weightings or not all(each.std > _LEAST_STD for each in weightings.values()):
            raise ConfigurationError(f"A detector needs weightings, each with a std above {_LEAST_STD:g}.")
        if not all(abs(number) <= _LARGEST for number in (*numbers, probe_bias, threshold or 0.0)) or not all(
            bool((tensor.abs() <= _LARGEST).all()) for tensor in (scores, probe_weight) if tensor is not None
        ):
            raise ConfigurationError(f"A detector's numbers must be finite, and not beyond {_LARGEST:g}.")
        if not 0 < false_alarm_rate < 1:
            raise ConfigurationError(f"false_alarm_rate is {false_alarm_rate!r}: it must be between 0 and 1.")
        if (PROBE in weightings) != (probe_weight is not None):
            raise ConfigurationError("A detector with a probe needs its weights, and one without has none.")
        if threshold is not None and len(scores):
            raise ConfigurationError("A detector decides by its calibration or by a threshold, not by both.")
        if threshold is None and not len(scores):
            raise ConfigurationError("A detector needs calibration scores, or a threshold to decide by.")
        self.weightings = dict(weightings)
        self.calibration_scores = scores.float().sort().values  # (n,)
        self.false_alarm_rate, self.threshold = false_alarm_rate, threshold
        self.probe_weight, self.probe_bias = probe_weight, probe_bias

    @classmethod
    def top_score_rule(cls, *, threshold: float = ARTICLE_TOP_SCORE) -> Self:
        """Return the second article's rule: out of distribution where the nearest picture scores under the threshold.

        It has no calibration: its p-values are all 1.
        """
        return cls({"top_distance": Weighting(weight=1.0, mean=0.0, std=1.0)}, threshold=1 - threshold)

    def calibrated(self, scores: Tensor) -> Self:
        """Return a detector with the same score, whose p-values rest on other (n,) calibration scores."""
        return type(self)(
            self.weightings,
            calibration_scores=scores,
            false_alarm_rate=self.false_alarm_rate,
            probe_weight=self.probe_weight,
            probe_bias=self.probe_bias,
        )

    @property
    def can_reject(self) -> bool:
        """Return whether any picture can be called out of distribution: with few calibration scores none can."""
        return self.threshold is not None or 1 / (len(self.calibration_scores) + 1) <= self.false_alarm_rate

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

    def score(self, measured: Measured) -> Tensor:
        """Score N pictures: (N,); higher is stranger.

        Raises:
            QueryError: a measurement is missing, or the embeddings are of another width than the probe.
        """
        self.check_fits(measured.values.keys(), width=measured.embeddings.shape[1])
        values = dict(measured.values)
        if self.probe_weight is not None:
            values[PROBE] = measured.embeddings.float() @ self.probe_weight + self.probe_bias  # (N,)
        total = torch.zeros(len(measured))
        for name, each in self.weightings.items():
            total += each.weight * (values[name] - each.mean) / each.std
        return total

    def verdicts(self, measured: Measured) -> list[OODVerdict]:
        """Judge N pictures.

        Raises:
            QueryError: a measurement is missing, or the embeddings are of another width than the probe.
        """
        scores = self.score(measured)
        size = len(self.calibration_scores)
        at_least = size - torch.searchsorted(self.calibration_scores, scores)  # (N,)
        verdicts = []
        for score, count in zip(scores.tolist(), at_least.tolist(), strict=True):
            p_value = (1 + count) / (size + 1)
            is_ood = p_value <= self.false_alarm_rate if self.threshold is None else score > self.threshold
            verdicts.append(OODVerdict(is_ood, score, p_value, self.false_alarm_rate, size))
        return verdicts

    def write_files(self, draft: RepoDraft) -> None:
        """Write ood.json and ood.safetensors into a draft."""
        values = {
            "weightings": {name: vars(each) for name, each in self.weightings.items()},
            "false_alarm_rate": self.false_alarm_rate,
            "threshold": self.threshold,
            "calibration_size": len(self.calibration_scores),
            "probe_bias": self.probe_bias,
        }
        draft.write_json(OOD, values)
        tensors = {"calibration_scores": self.calibration_scores}
        if self.probe_weight is not None:
            tensors["probe_weight"] = self.probe_weight
        draft.write_tensors(OOD_TENSORS, tensors)

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
        if set(values) != expected:
            raise ConfigurationError(
                f"{path} must have the keys {sorted(expected)}, but has {sorted(values)}.", path=path
            )
        tensors = repo.tensors(OOD_TENSORS)
        scores = tensors.get("calibration_scores", torch.empty(0))
        probe = tensors.get("probe_weight")
        fits = scores.ndim == 1 and len(scores) == values["calibration_size"] and (probe is None or probe.ndim == 1)
        fits = fits and tensors.keys() <= {"calibration_scores", "probe_weight"}
        if not fits or not all(t.is_floating_point() and torch.isfinite(t.float()).all() for t in tensors.values()):
            raise WeightsError(f"{repo / OOD_TENSORS} does not fit {OOD}: export the repo again.", path=path)
        try:
            return cls(
                {str(name): Weighting(**_numbers(each)) for name, each in values["weightings"].items()},
                calibration_scores=scores,
                **_numbers({"false_alarm_rate": values["false_alarm_rate"], "probe_bias": values["probe_bias"]}),
                threshold=None
                if values["threshold"] is None
                else _numbers({"threshold": values["threshold"]})["threshold"],
                probe_weight=None if probe is None else probe.float(),
            )
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigurationError(
                f"{path} has a value that does not fit ({error}): export the repo again.", path=path
            ) from error


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in values.values()):
        raise ValueError(f"{dict(values)} must all be finite numbers")
    return {name: float(value) for name, value in values.items()}
