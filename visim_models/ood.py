"""Is an upload the kind of picture that the gallery knows? A strangeness score, and a conformal p-value for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from visim_models import repository
from visim_models.errors import ConfigurationError, QueryError, WeightsError

__all__ = ["ARTICLE_TOP_SCORE", "Evidence", "OODVerdict", "OutOfDistributionDetector", "Term"]

ARTICLE_TOP_SCORE = 0.5
"""The second article's rule: a top score under this is out of distribution."""

Evidence = Mapping[str, Tensor]
"""Name -> (N,): measurements of strangeness, higher is stranger."""

_CONFIG_FILE = "ood.json"
_TENSORS_FILE = "ood.safetensors"
_PROBE = "probe"
_TERMS_PENALTY = 1e-3
"""Of the measurements' weights; chosen on the photographs for tuning, of which it finds all at 1 % false alarms."""


@dataclass(frozen=True)
class OODVerdict:
    """What is said of one picture.

    Attributes:
        is_ood: it does not look like the pictures that the detector was calibrated on.
        score: its strangeness; higher is stranger. The unit is the detector's own.
        p_value: share of calibration pictures at least as strange, (1 + count) / (n + 1); in (0, 1].
        false_alarm_rate: share of in-distribution pictures that the detector was set to call strange.
        calibration_size: n.
    """

    is_ood: bool
    score: float
    p_value: float
    false_alarm_rate: float
    calibration_size: int


@dataclass(frozen=True)
class Term:
    """How one measurement enters the score: weight * (value - mean) / std."""

    weight: float
    mean: float
    std: float


class OutOfDistributionDetector:
    """A weighted sum of measurements, against those of held-out pictures (conformal prediction, Vovk et al. 2005).

    Args:
        terms: how each measurement enters the score. "probe" is the detector's own: a linear function of the embedding.
        calibration_scores: (n,) scores of held-out pictures; none where only a threshold decides.
        false_alarm_rate: p-values up to this are out of distribution.
        threshold: decide by score > threshold instead of by the p-value.
        probe_weight: (D,) of the linear probe.
        probe_bias: of the linear probe.

    Raises:
        ConfigurationError: a value that does not fit.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        *,
        calibration_scores: Tensor | None = None,
        false_alarm_rate: float = 0.05,
        threshold: float | None = None,
        probe_weight: Tensor | None = None,
        probe_bias: float = 0.0,
    ) -> None:
        scores = torch.empty(0) if calibration_scores is None else calibration_scores
        if not terms or not all(term.std > 0 and math.isfinite(sum(vars(term).values())) for term in terms.values()):
            raise ConfigurationError("A detector needs terms with finite weights and means, and a std above 0.")
        if not 0 < false_alarm_rate < 1:
            raise ConfigurationError(f"false_alarm_rate is {false_alarm_rate!r}: it must lie between 0 and 1.")
        if (_PROBE in terms) != (probe_weight is not None):
            raise ConfigurationError("A detector with a probe needs its weights, and one without has none.")
        if threshold is not None and not math.isfinite(threshold):
            raise ConfigurationError(f"threshold is {threshold!r}: it must be a finite number.")
        if threshold is None and not len(scores):
            raise ConfigurationError("A detector needs calibration scores, or a threshold to decide by.")
        self.terms = dict(terms)
        self.calibration_scores = scores.float().sort().values  # (n,)
        self.false_alarm_rate, self.threshold = false_alarm_rate, threshold
        self.probe_weight, self.probe_bias = probe_weight, probe_bias

    @classmethod
    def top_score_rule(cls, *, threshold: float = ARTICLE_TOP_SCORE) -> Self:
        """The second article's rule: out of distribution where the nearest picture scores under the threshold.

        It has no calibration: its p-values are all 1.
        """
        return cls({"top_distance": Term(weight=1.0, mean=0.0, std=1.0)}, threshold=1 - threshold)

    @classmethod
    def fit(
        cls,
        inside: Evidence,
        outside: Evidence,
        *,
        inside_embeddings: Tensor,
        outside_embeddings: Tensor,
        probe: tuple[Tensor, float],
        false_alarm_rate: float = 0.05,
    ) -> Self:
        """Weigh the measurements so that they best tell `inside` from `outside`, and calibrate on `inside`.

        Args:
            inside: measurements of held-out pictures of the right kind.
            outside: the same of pictures of other things.
            inside_embeddings: (n, D).
            outside_embeddings: (m, D).
            probe: (D,) weight and bias from `fit_probe`, learnt on other pictures than these.
            false_alarm_rate: of the detector.
        """
        weight, bias = probe
        inside = {**inside, _PROBE: inside_embeddings @ weight + bias}
        outside = {**outside, _PROBE: outside_embeddings @ weight + bias}
        means = {name: values.mean().item() for name, values in inside.items()}
        stds = {name: max(values.std().item(), 1e-6) for name, values in inside.items()}
        table = [
            torch.stack([(part[name] - means[name]) / stds[name] for name in inside], dim=1)
            for part in (inside, outside)
        ]  # (n, T), (m, T)
        weights, _ = fit_probe(table[0].clamp(-20, 20), table[1].clamp(-20, 20), penalty=_TERMS_PENALTY)  # (T,)
        terms = {
            name: Term(
                weight=round(max(weights[place].item(), 0.0), 6), mean=round(means[name], 6), std=round(stds[name], 6)
            )
            for place, name in enumerate(inside)
        }
        untested = cls(terms, threshold=0.0, probe_weight=weight, probe_bias=bias)
        scores = untested.score(inside, inside_embeddings)
        return cls(
            terms,
            calibration_scores=scores,
            false_alarm_rate=false_alarm_rate,
            probe_weight=weight,
            probe_bias=bias,
        )

    def score(self, evidence: Evidence, embeddings: Tensor) -> Tensor:
        """(N,) strangeness of N pictures.

        Args:
            evidence: the measurements, at least those that the detector's terms name.
            embeddings: (N, D).

        Raises:
            QueryError: a measurement is missing, or the embeddings are of another width than the probe.
        """
        total = torch.zeros(len(embeddings))
        for name, term in self.terms.items():
            if name == _PROBE and self.probe_weight is not None:
                if embeddings.shape[1] != len(self.probe_weight):
                    raise QueryError(
                        f"The detector is for embeddings of width {len(self.probe_weight)}, not {embeddings.shape[1]}."
                    )
                values = embeddings.float() @ self.probe_weight + self.probe_bias
            elif name in evidence:
                values = evidence[name]
            else:
                raise QueryError(f"The detector needs {name!r}, which this model does not measure.")
            total += term.weight * (values - term.mean) / term.std
        return total

    def verdicts(self, evidence: Evidence, embeddings: Tensor) -> list[OODVerdict]:
        """The verdict on each of N pictures. Arguments and errors are those of `score`."""
        scores = self.score(evidence, embeddings)
        size = len(self.calibration_scores)
        at_least = size - torch.searchsorted(self.calibration_scores, scores)  # (N,)
        verdicts = []
        for score, count in zip(scores.tolist(), at_least.tolist(), strict=True):
            p_value = (1 + count) / (size + 1)
            is_ood = p_value <= self.false_alarm_rate if self.threshold is None else score > self.threshold
            verdicts.append(OODVerdict(is_ood, score, p_value, self.false_alarm_rate, size))
        return verdicts

    def write_files(self, folder: Path) -> None:
        """Write ood.json and ood.safetensors into an existing folder."""
        values = {
            "terms": {name: vars(term) for name, term in self.terms.items()},
            "false_alarm_rate": self.false_alarm_rate,
            "threshold": self.threshold,
            "calibration_size": len(self.calibration_scores),
            "probe_bias": self.probe_bias,
        }
        repository.write_json(folder / _CONFIG_FILE, values)
        tensors = {"calibration_scores": self.calibration_scores}
        if self.probe_weight is not None:
            tensors["probe_weight"] = self.probe_weight
        repository.write_tensors(folder / _TENSORS_FILE, tensors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector of a repo folder.

        Raises:
            ConfigurationError: ood.json is missing, or has a missing, unknown or unfit key.
            WeightsError: ood.safetensors is missing or damaged, or does not fit ood.json.
        """
        path = folder / _CONFIG_FILE
        values = repository.read_json(path)
        expected = {"terms", "false_alarm_rate", "threshold", "calibration_size", "probe_bias"}
        if set(values) != expected:
            raise ConfigurationError(f"{path} must have the keys {sorted(expected)}, but has {sorted(values)}.")
        tensors = repository.read_tensors(folder / _TENSORS_FILE)
        scores = tensors.get("calibration_scores", torch.empty(0))
        probe = tensors.get("probe_weight")
        fits = scores.ndim == 1 and len(scores) == values["calibration_size"] and (probe is None or probe.ndim == 1)
        fits = fits and tensors.keys() <= {"calibration_scores", "probe_weight"}
        if not fits or not all(t.is_floating_point() and torch.isfinite(t.float()).all() for t in tensors.values()):
            raise WeightsError(f"{folder / _TENSORS_FILE} does not fit {_CONFIG_FILE}: export the repo again.")
        try:
            return cls(
                {str(name): Term(**_numbers(term)) for name, term in values["terms"].items()},
                calibration_scores=scores,
                **_numbers({"false_alarm_rate": values["false_alarm_rate"], "probe_bias": values["probe_bias"]}),
                threshold=None
                if values["threshold"] is None
                else _numbers({"threshold": values["threshold"]})["threshold"],
                probe_weight=None if probe is None else probe.float(),
            )
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigurationError(
                f"{path} has a value that does not fit ({error}): export the repo again."
            ) from error


def fit_probe(inside: Tensor, outside: Tensor, *, penalty: float) -> tuple[Tensor, float]:
    """Logistic regression that is positive outside: (n, D) and (m, D) -> weight (D,) and bias.

    Both sides weigh the same, whatever their sizes; `penalty` is that of the squared weights, on standardised inputs.
    """
    rows = torch.cat([inside, outside])  # (n + m, D)
    mean, std = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-6)
    rows = (rows - mean) / std
    targets = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))])
    share = torch.cat([torch.full((len(inside),), 0.5 / len(inside)), torch.full((len(outside),), 0.5 / len(outside))])
    weight = torch.zeros(rows.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = F.binary_cross_entropy_with_logits(rows @ weight + bias, targets, reduction="none")
        loss = (share * losses).sum() + penalty * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    raw = (weight / std).detach()
    return raw, float(bias.detach() - raw @ mean)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in values.values()):
        raise ValueError(f"{dict(values)} must all be finite numbers")
    return {name: float(value) for name, value in values.items()}
