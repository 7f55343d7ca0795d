"""How well a repo tells what is not its kind of picture, beside the article's rule and k nearest neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.evaluation.measures import auroc, auroc_error, histogram
from lab.evaluation.subject import Subject
from visim_models.metrics import Figure, share_figure
from visim_models.ood import OutOfDistributionDetector, Term
from visim_models.pipeline import Observation

__all__ = ["Seen", "outlier_baselines", "outlier_figures", "strangeness_table"]

_RATES = (0.05, 0.01)
_NEIGHBOUR = 50
_NEIGHBOUR_DISTANCE = "kth_neighbour_distance"
_TARGET_KINDS = frozenset({"photographs", "animals", "noise", "text", "plain"})
_FOUND_TARGETS = {0.05: 98.0, 0.01: 95.0}
_AUROC_TARGET = 0.995
_BINS = 40

_WHAT = {
    "photographs": "photographs of other things (one of each ImageNet class; the half that no tuning saw)",
    "animals": "animals of CIFAR-10, enlarged",
    "noise": "drawn noise",
    "plain": "drawn plain colours",
    "gradient": "drawn gradients",
    "stripes": "drawn stripes and chequerboards",
    "text": "drawn pages of text",
    "plot": "drawn charts",
}


@dataclass(frozen=True)
class Seen:
    """What was observed, all of it compared with the gallery without held-out pictures.

    Attributes:
        calibration: held-out pictures that the detector was calibrated on.
        test: held-out pictures that nothing has seen.
        kinds: kind of other things -> observation.
    """

    calibration: Observation
    test: Observation
    kinds: Mapping[str, Observation]


def outlier_figures(subject: Subject, seen: Seen) -> list[Figure]:
    """The figures of the repo's own detector."""
    return _figures(subject, subject.similarity.ood, seen, method="")


def outlier_baselines(subject: Subject, seen: Seen) -> list[Figure]:
    """The same of the article's rule, and of the distance to the 50th neighbour (Sun et al. 2022).

    The second is thresholded on the same calibration pictures as the repo's own detector.
    """
    rule = OutOfDistributionDetector.top_score_rule()
    figures = _figures(subject, rule, seen, method="top score under 0.50")
    seen = Seen(
        _with_neighbour(seen.calibration, subject),
        _with_neighbour(seen.test, subject),
        {kind: _with_neighbour(observed, subject) for kind, observed in seen.kinds.items()},
    )
    neighbour = OutOfDistributionDetector(
        {_NEIGHBOUR_DISTANCE: Term(weight=1, mean=0, std=1)},
        calibration_scores=seen.calibration.evidence[_NEIGHBOUR_DISTANCE],
    )
    return figures + _figures(subject, neighbour, seen, method=f"distance to neighbour {_NEIGHBOUR}")


def strangeness_table(subject: Subject, seen: Seen) -> dict[str, Any]:
    """Histograms of the detector's score: `edges`, and for "held-out" pictures and each kind the counts between them.

    `threshold` is the score above which a picture is called strange. What lies beyond the edges is in the end bins.
    """
    detector = subject.similarity.ood
    inside = detector.score(seen.test.evidence, seen.test.embeddings)
    scores = {kind: detector.score(each.evidence, each.embeddings) for kind, each in seen.kinds.items()}
    low = min(inside.min().item(), *(values.quantile(0.02).item() for values in scores.values()))
    high = max(values.quantile(0.5).item() for values in scores.values())
    high = max(high, inside.max().item(), low + 1e-6)
    edges = [float(f"{edge:.6g}") for edge in torch.linspace(low, high, _BINS + 1).tolist()]
    counts = {"held-out": histogram(inside, edges)}
    counts |= {kind: histogram(values, edges) for kind, values in scores.items()}
    return {"edges": edges, "threshold": float(f"{_threshold(detector):.6g}"), "counts": counts}


def _figures(subject: Subject, detector: OutOfDistributionDetector, seen: Seen, *, method: str) -> list[Figure]:
    inside = detector.score(seen.test.evidence, seen.test.embeddings)
    rates = _RATES if detector.threshold is None else _RATES[:1]
    figures = [
        share_figure(
            _flagged(detector, seen.test, rate),
            name=f"ood_false_alarms_at_{100 * rate:.0f}",
            what=f"Share of held-out pictures called strange, set for {100 * rate:.0f} % false alarms.",
            target={"at_least": 3.0, "at_most": 7.0} if rate == _RATES[0] and not method else None,
            method=method,
        )
        for rate in rates
    ]
    for kind, observed in seen.kinds.items():
        targeted = subject.classifies and not method and kind in _TARGET_KINDS
        figures.append(_area(inside, detector.score(observed.evidence, observed.embeddings), kind, targeted, method))
        figures += [
            share_figure(
                _flagged(detector, observed, rate),
                name=f"ood_found_at_{100 * rate:.0f}_{kind}",
                what=f"Share called strange of {_WHAT[kind]}, set for {100 * rate:.0f} % false alarms.",
                target={"at_least": _FOUND_TARGETS[rate]} if targeted else None,
                method=method,
            )
            for rate in rates
        ]
    return figures


def _area(inside: Tensor, strange: Tensor, kind: str, targeted: bool, method: str) -> Figure:
    area = auroc(inside, strange)
    return Figure(
        name=f"ood_auroc_{kind}",
        value=area,
        noise=auroc_error(area, len(inside), len(strange)),
        unit="",
        n=len(strange),
        what=f"Area under the ROC curve of held-out pictures against {_WHAT[kind]}.",
        target={"at_least": _AUROC_TARGET} if targeted else None,
        method=method,
    )


def _flagged(detector: OutOfDistributionDetector, observed: Observation, rate: float) -> Tensor:
    """(N,) 1 where a picture is called strange at this rate of false alarms, or by the detector's own threshold."""
    verdicts = detector.verdicts(observed.evidence, observed.embeddings)
    if detector.threshold is not None:
        return torch.tensor([float(verdict.is_ood) for verdict in verdicts])
    return torch.tensor([float(verdict.p_value <= rate) for verdict in verdicts])


def _with_neighbour(observed: Observation, subject: Subject) -> Observation:
    """With the distance, 1 - cosine, of the 50th neighbour; normalised features have no other distance."""
    scores, _ = subject.known.search(observed.embeddings, top_k=min(_NEIGHBOUR, len(subject.known)))
    distance = 1 - torch.from_numpy(scores[:, -1].copy())  # (N,)
    return Observation(observed.embeddings, {**observed.evidence, _NEIGHBOUR_DISTANCE: distance})


def _threshold(detector: OutOfDistributionDetector) -> float:
    """The score above which a picture is called strange."""
    if detector.threshold is not None:
        return detector.threshold
    scores = detector.calibration_scores  # (n,), rising
    rank = max(int(detector.false_alarm_rate * (len(scores) + 1)), 1)
    return scores[-min(rank, len(scores))].item()
