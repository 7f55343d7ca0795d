"""How well a repo tells pictures that are not of its kind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from lab.data import left_out_labels, outlier_part
from lab.evaluation.evaluated_repo import CARS, EvaluatedRepo
from lab.evaluation.figures import area_figure, histogram, share_figure
from lab.tensors import Measured
from visim_models.galleries.sources import label_of
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector, Weighting
from visim_models.repo_folder.metrics import Figure

__all__ = ["MeasuredParts", "outlier_baselines", "outlier_figures", "outliers_of", "strangeness_table"]

ANIMALS: Final = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})
"""The classes of CIFAR-10 that are animals."""

DESCRIPTIONS: Final = {
    "photographs": "photographs of other things (one of each ImageNet class; the half that no tuning saw)",
    "other_kinds": "photographs of kinds of things that neither training nor fitting saw",
    "animals": "animals of CIFAR-10, enlarged",
    "noise": "drawn noise, left out of the fit",
    "plain": "drawn plain colours, left out of the fit",
    "gradient": "drawn gradients, left out of the fit",
    "stripes": "drawn stripes and chequerboards, left out of the fit",
    "text": "drawn pages of text, left out of the fit",
    "plot": "drawn charts, left out of the fit",
}
"""Kind -> what its pictures are."""

_OTHER_THINGS: Final = "not_cars/imagenet.zip"
_ANIMALS_FILE: Final = "cifar10/test.zip"
_SYNTHETIC_SEED: Final = 12345
"""Different from any export's: with seed s it draws its outliers with s, s + 1, ..."""
_PER_KIND: Final = 300
_PER_FILE: Final = 1500


def outliers_of(repo: EvaluatedRepo) -> Iterator[tuple[str, Tensor]]:
    """Read or draw the outliers that a repo is measured on, kind by kind.

    For cars, "photographs" are the second half by name of the ImageNet ones (the first is free for tuning), and
    "animals" are CIFAR-10's, enlarged. "other_kinds" are those of the benchmark's files that are for reports alone. The
    others are drawn.

    Yields:
        Kind, and (M, 3, S, S) uint8 pictures at the size of the repo's network.
    """
    processor, data = repo.similarity.processor, repo.data
    if repo.benchmark is CARS:
        photographs = data.read(_OTHER_THINGS, processor)
        half = range(len(photographs) // 2, len(photographs))
        yield "photographs", photographs.subset(data.limited(half)).pixels
    yield "other_kinds", torch.cat([_other_kinds(repo, file) for file in repo.benchmark.outlier_files])
    if repo.benchmark is CARS:
        # Of ten classes six are animals: a sample of the file saves enlarging all of it.
        sample = data.read(_ANIMALS_FILE, processor, at_most=_PER_KIND * 10 // 6)
        animals = [index for index, label in enumerate(sample.labels) if label in ANIMALS]
        yield "animals", sample.subset(data.limited(animals)).pixels
    for offset, kind in enumerate(SYNTHETIC_KINDS):
        count = min(_PER_KIND, data.limit or _PER_KIND)
        yield kind, torch.from_numpy(synthetic_outliers(kind, count, processor.size, seed=_SYNTHETIC_SEED + offset))


def _other_kinds(repo: EvaluatedRepo, file: str) -> Tensor:
    leave_out = left_out_labels(repo.benchmark.labels)

    def is_reported(name: str) -> bool:
        kind = label_of(name)
        return kind not in leave_out and outlier_part(kind or name) == "report"

    at_most = min(_PER_FILE, repo.data.limit or _PER_FILE)
    return repo.data.read(file, repo.similarity.processor, at_most=at_most, choose=is_reported).pixels


_RATES: Final = (0.05, 0.01)
_NEIGHBOUR: Final = 50
_NEIGHBOUR_DISTANCE: Final = "kth_neighbour_distance"
_DRAWN_TARGET: Final = 95.0
_TARGETS: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "car-classifier": {"photographs": (0.99, 95.0), "other_kinds": (0.99, 95.0)},
    "cifar10-classifier": {"other_kinds": (0.93, 60.0)},
}
"""`model_type` -> kind of photographs -> the AUROC and the share found at 5 % that are aimed at."""
_BINS: Final = 40


@dataclass(frozen=True)
class MeasuredParts:
    """All that detectors are judged by, measured against the gallery without held-out pictures.

    Attributes:
        calibration: held-out pictures that the detector was calibrated on.
        test: held-out pictures that nothing was fitted to.
        test_groups: the group of near-duplicates of each test picture.
        kinds: kind of outliers -> its pictures.
        refitted: kind of outliers -> the repo's detector, fitted again without them.
    """

    calibration: Measured
    test: Measured
    test_groups: Sequence[int]
    kinds: Mapping[str, Measured]
    refitted: Mapping[str, OutOfDistributionDetector] = field(default_factory=dict)


def outlier_figures(repo: EvaluatedRepo, parts: MeasuredParts, *, method: str = "") -> list[Figure]:
    """Return the figures of the repo's own detector, or of another network's on the same pictures, as a baseline.

    Args:
        repo: the repo, or another network's view of its pictures.
        parts: what the detector judges.
        method: the method, for a baseline.
    """
    return _figures(repo, repo.similarity.ood, parts, method=method)


def outlier_baselines(repo: EvaluatedRepo, parts: MeasuredParts) -> list[Figure]:
    """Return the figures of the article's rule, and of the distance to the 50th neighbour (Sun et al. 2022).

    The threshold of the second is from the same calibration pictures as that of the repo's own detector.
    """
    rule = OutOfDistributionDetector.top_score_rule()
    figures = _figures(repo, rule, parts, method="top score under 0.50")
    parts = MeasuredParts(
        _with_neighbour(parts.calibration, repo.known),
        _with_neighbour(parts.test, repo.known),
        parts.test_groups,
        {kind: _with_neighbour(measured, repo.known) for kind, measured in parts.kinds.items()},
    )
    neighbour = OutOfDistributionDetector(
        {_NEIGHBOUR_DISTANCE: Weighting(weight=1, mean=0, std=1)},
        calibration_scores=parts.calibration.values[_NEIGHBOUR_DISTANCE].numpy(),
    )
    return figures + _figures(repo, neighbour, parts, method=f"distance to neighbour {_NEIGHBOUR}")


def strangeness_table(detector: OutOfDistributionDetector, parts: MeasuredParts) -> dict[str, Any]:
    """Count the detector's scores in bins, for a plot.

    Returns:
        `edges` of the bins; `threshold`, the score above which a picture is out of distribution; and `counts`, kind ->
        pictures between the edges, "held-out" among the kinds. The end bins also hold the pictures beyond them.
    """
    inside = torch.from_numpy(detector.score(*parts.test))
    scores = {kind: torch.from_numpy(detector.score(*measured)) for kind, measured in parts.kinds.items()}
    low = min(inside.min().item(), *(values.quantile(0.02).item() for values in scores.values()))
    high = max(values.quantile(0.5).item() for values in scores.values())
    high = max(high, inside.max().item(), low + 1e-6)
    edges = [float(f"{edge:.6g}") for edge in torch.linspace(low, high, _BINS + 1).tolist()]
    counts = {"held-out": histogram(inside, edges)}
    counts |= {kind: histogram(values, edges) for kind, values in scores.items()}
    return {"edges": edges, "threshold": float(f"{_threshold(detector):.6g}"), "counts": counts}


def _figures(
    repo: EvaluatedRepo, detector: OutOfDistributionDetector, parts: MeasuredParts, *, method: str
) -> list[Figure]:
    rates = _RATES if detector.threshold is None else _RATES[:1]
    figures = [
        share_figure(
            _flagged(detector, parts.test, rate),
            name=f"ood_false_alarms_at_{100 * rate:.0f}",
            what=f"Share of held-out pictures called strange, set for {100 * rate:.0f} % false alarms.",
            groups=parts.test_groups,
            target={"at_least": 3.0, "at_most": 7.0} if rate == _RATES[0] and not method else None,
            method=method,
        )
        for rate in rates
    ]
    for kind, measured in parts.kinds.items():
        judge = detector if method else parts.refitted.get(kind, detector)
        area_target, found_target = (None, None) if method else _targets(repo, kind)
        figures.append(
            area_figure(
                torch.from_numpy(judge.score(*parts.test)),
                torch.from_numpy(judge.score(*measured)),
                name=f"ood_auroc_{kind}",
                what=f"Area under the ROC curve of held-out pictures against {DESCRIPTIONS[kind]}.",
                target=area_target,
                method=method,
            )
        )
        figures += [
            share_figure(
                _flagged(judge, measured, rate),
                name=f"ood_found_at_{100 * rate:.0f}_{kind}",
                what=f"Share called strange of {DESCRIPTIONS[kind]}, set for {100 * rate:.0f} % false alarms.",
                target=found_target if rate == _RATES[0] else None,
                method=method,
            )
            for rate in rates
        ]
    return figures


def _targets(repo: EvaluatedRepo, kind: str) -> tuple[Mapping[str, float] | None, Mapping[str, float] | None]:
    """Return the targets of the AUROC and of the share found at 5 %, where there are any."""
    by_kind = _TARGETS.get(repo.similarity.model.model_type)
    if by_kind is None:
        return None, None
    if kind in by_kind:
        area, share = by_kind[kind]
        return {"at_least": area}, {"at_least": share}
    return None, {"at_least": _DRAWN_TARGET} if kind in SYNTHETIC_KINDS else None


def _flagged(detector: OutOfDistributionDetector, measured: Measured, rate: float) -> Tensor:
    """Return (N,) ones where a picture is called strange at this rate, or by the detector's own threshold."""
    verdicts = detector.verdicts(*measured)
    if detector.threshold is not None:
        return torch.tensor([float(verdict.is_ood) for verdict in verdicts])
    return torch.tensor([float(verdict.p_value <= rate) for verdict in verdicts])


def _with_neighbour(measured: Measured, known: Gallery) -> Measured:
    """Add the distance, 1 - cosine, of the 50th neighbour."""
    scores, _ = known.search(measured.embeddings.numpy(), top_k=min(_NEIGHBOUR, len(known)))
    distance = 1 - torch.from_numpy(scores[:, -1].copy())  # (N,)
    return Measured(measured.embeddings, {**measured.values, _NEIGHBOUR_DISTANCE: distance})


def _threshold(detector: OutOfDistributionDetector) -> float:
    """Return the score above which a picture is out of distribution."""
    if detector.threshold is not None:
        return detector.threshold
    scores = detector.calibration_scores  # (n,), rising
    rank = max(int(detector.false_alarm_rate * (len(scores) + 1)), 1)
    return float(scores[-min(rank, len(scores))])
