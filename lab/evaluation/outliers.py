"""How well a repo tells pictures that are not of its kind, beside the article's rule and the k nearest neighbours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lab.data import labels_of, left_out_labels, outlier_part, table_of
from lab.evaluation.evaluated_repo import CARS, EvaluatedRepo, is_strange
from lab.evaluation.figures import area_figure, histogram, share_figure
from visim_models.galleries.picture_table import MEASURED, PictureTable
from visim_models.galleries.sources import label_of
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers
from visim_models.ood import OutOfDistributionDetector, Weighting
from visim_models.repo_folder.metrics import Figure

__all__ = ["MeasuredParts", "outlier_baselines", "outlier_figures", "outliers_of", "strangeness_table"]

_DESCRIPTIONS: Final = {
    "photographs": "photographs of other things (one of each ImageNet class; the half that no tuning saw)",
    "other_kinds": "photographs of kinds of things that neither training nor fitting saw",
    "car_parts": "interiors, open boots and engine bays of cars",
    "vehicles": "buses, lorries and trains",
    "motorbike": "motorbikes of another source",
    "bus": "buses of another source",
    "train": "trains of another source",
    "animals": "animals of CIFAR-10, enlarged",
    "noise": "drawn noise, left out of the fit",
    "plain": "drawn plain colours, left out of the fit",
    "gradient": "drawn gradients, left out of the fit",
    "stripes": "drawn stripes and chequerboards, left out of the fit",
    "text": "drawn pages of text, left out of the fit",
    "plot": "drawn charts, left out of the fit",
}
"""Kind -> what its pictures are."""

_ANIMALS: Final = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})
_OTHER_THINGS: Final = "not_cars/imagenet.zip"
_ANIMALS_FILE: Final = "cifar10/test.zip"
_SYNTHETIC_SEED: Final = 12345
"""Different from any export's: with seed s it draws its outliers with s, s + 1, ..."""
_PER_KIND: Final = 300
_PER_FILE: Final = 1500

_RATES: Final = (0.05, 0.01)
_NEIGHBOUR: Final = 50
_NEIGHBOUR_DISTANCE: Final = "kth_neighbour_distance"
_DRAWN_TARGET: Final = 95.0
_TARGETS: Final[Mapping[str, Mapping[str, tuple[float | None, float]]]] = {
    "car-classifier": {
        "photographs": (0.99, 98.0), "other_kinds": (0.99, 95.0), "car_parts": (None, 95.0), "vehicles": (None, 95.0),
    },
    "cifar10-classifier": {
        "other_kinds": (0.93, 60.0), "motorbike": (None, 60.0), "bus": (None, 60.0), "train": (None, 60.0),
    },
}  # fmt: skip
"""`model_type` -> kind of photographs -> the AUROC, if any, and the share found at 5 % that are aimed at."""
_SCORE_BINS: Final = 40


def outliers_of(repo: EvaluatedRepo) -> Iterator[tuple[str, PictureTable]]:
    """Read or draw the outliers that a repo is measured on, kind by kind, at the size of its network.

    For cars, "photographs" are the second half by name of the ImageNet ones (the first is free for tuning), and
    "animals" are CIFAR-10's, enlarged. "other_kinds" are those of the benchmark's files that are for reports alone.
    Near kinds are those that neither training nor fitting saw. The others are drawn.
    """
    processor, data, benchmark = repo.similarity.processor, repo.data, repo.benchmark
    if benchmark is CARS:
        photographs = data.read(_OTHER_THINGS, processor)
        yield "photographs", photographs.subset(data.limited(range(len(photographs) // 2, len(photographs))))
    others = [_other_kinds(repo, file) for file in benchmark.outlier_files]
    yield "other_kinds", PictureTable.concatenate(others)
    for file in filter(data.has, benchmark.near_files):
        is_reported = repo.reported_kinds(file)
        near = data.read(file, processor, choose=lambda name, is_ours=is_reported: is_ours(label_of(name)))  # type: ignore[misc]
        labels = labels_of(near)
        names = {label: Path(file).stem if benchmark is CARS else label for label in labels}
        for kind in dict.fromkeys(names.values()):
            own = [index for index, label in enumerate(labels) if names[label] == kind]
            yield kind, near.subset(data.limited(own))
    if benchmark is CARS:
        # Of ten classes six are animals: a sample of the file saves enlarging all of it.
        sample = data.read(_ANIMALS_FILE, processor, at_most=_PER_KIND * 10 // 6)
        animals = [index for index, label in enumerate(labels_of(sample)) if label in _ANIMALS]
        yield "animals", sample.subset(data.limited(animals))
    for offset, kind in enumerate(SYNTHETIC_KINDS):
        count = min(_PER_KIND, data.limit or _PER_KIND)
        yield kind, table_of(synthetic_outliers(kind, count, processor.size, seed=_SYNTHETIC_SEED + offset))


def _other_kinds(repo: EvaluatedRepo, file: str) -> PictureTable:
    leave_out = left_out_labels(repo.benchmark.labels)

    def is_reported(name: str) -> bool:
        kind = label_of(name)
        return kind not in leave_out and outlier_part(kind or name) == "report"

    at_most = min(_PER_FILE, repo.data.limit or _PER_FILE)
    return repo.data.read(file, repo.similarity.processor, at_most=at_most, choose=is_reported)


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

    calibration: PictureTable
    test: PictureTable
    test_groups: Sequence[int]
    kinds: Mapping[str, PictureTable]
    refitted: Mapping[str, OutOfDistributionDetector] = field(default_factory=dict)

    @classmethod
    def measure(
        cls,
        repo: EvaluatedRepo,
        test: PictureTable,
        outliers: Mapping[str, PictureTable],
        *,
        refitted: Mapping[str, OutOfDistributionDetector],
    ) -> "MeasuredParts":
        """Measure all pictures as a repo, or another network's view of its pictures, sees them."""
        kinds = {kind: repo.measured(pictures) for kind, pictures in outliers.items()}
        calibration = repo.measured(repo.every_file("calibration"))
        return cls(calibration, repo.measured(test), repo.groups(test), kinds, refitted)


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
        _with_neighbour(parts.calibration, repo),
        _with_neighbour(parts.test, repo),
        parts.test_groups,
        {kind: _with_neighbour(measured, repo) for kind, measured in parts.kinds.items()},
    )
    neighbour = OutOfDistributionDetector(
        {_NEIGHBOUR_DISTANCE: Weighting(weight=1, mean=0, std=1)},
        calibration_scores=parts.calibration.measured[_NEIGHBOUR_DISTANCE],
    )
    return figures + _figures(repo, neighbour, parts, method=f"distance to neighbour {_NEIGHBOUR}")


def strangeness_table(detector: OutOfDistributionDetector, parts: MeasuredParts) -> dict[str, Any]:
    """Count the detector's scores in bins, for a plot.

    Returns:
        `edges` of the bins; `threshold`, the score above which a picture is out of distribution; and `counts`, kind ->
        pictures between the edges, "held-out" among the kinds. The end bins also hold the pictures beyond them.
    """
    inside = _score(detector, parts.test)
    scores = {kind: _score(detector, measured) for kind, measured in parts.kinds.items()}
    low = min(float(inside.min()), *(float(np.quantile(values, 0.02)) for values in scores.values()))
    high = max(float(np.quantile(values, 0.5)) for values in scores.values())
    high = max(high, float(inside.max()), low + 1e-6)
    edges = [float(f"{edge:.6g}") for edge in np.linspace(low, high, _SCORE_BINS + 1).tolist()]
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
                _score(judge, parts.test),
                _score(judge, measured),
                name=f"ood_auroc_{kind}",
                what=f"Area under the ROC curve of held-out pictures against {_DESCRIPTIONS[kind]}.",
                target=area_target,
                method=method,
            )
        )
        figures += [
            share_figure(
                _flagged(judge, measured, rate),
                name=f"ood_found_at_{100 * rate:.0f}_{kind}",
                what=f"Share called strange of {_DESCRIPTIONS[kind]}, set for {100 * rate:.0f} % false alarms.",
                target=found_target if rate == _RATES[0] else None,
                method=method,
            )
            for rate in rates
        ]
    return figures


def _targets(repo: EvaluatedRepo, kind: str) -> tuple[Mapping[str, float] | None, Mapping[str, float] | None]:
    """Return the targets of the AUROC and of the share found at 5 %, where there are any."""
    by_kind = _TARGETS.get(repo.similarity.network.model_type)
    if by_kind is None:
        return None, None
    if kind in by_kind:
        area, share = by_kind[kind]
        return None if area is None else {"at_least": area}, {"at_least": share}
    return None, {"at_least": _DRAWN_TARGET} if kind in SYNTHETIC_KINDS else None


def _score(detector: OutOfDistributionDetector, measured: PictureTable) -> npt.NDArray[np.float32]:
    return detector.score(measured.measured, measured["embeddings"])


def _flagged(detector: OutOfDistributionDetector, measured: PictureTable, rate: float) -> npt.NDArray[np.float64]:
    """Return (N,) ones where a picture is called strange at this rate, or by the detector's own threshold."""
    verdicts = detector.verdicts(measured.measured, measured["embeddings"])
    if detector.threshold is not None:
        return is_strange(verdicts)
    return np.array([float(verdict.p_value <= rate) for verdict in verdicts])


def _with_neighbour(measured: PictureTable, repo: EvaluatedRepo) -> PictureTable:
    """Add the distance, 1 - cosine, of the 50th neighbour."""
    scores, _ = repo.matches(measured, _NEIGHBOUR)
    return measured.with_arrays(**{MEASURED + _NEIGHBOUR_DISTANCE: 1 - scores[:, -1]})


def _threshold(detector: OutOfDistributionDetector) -> float:
    """Return the score above which a picture is out of distribution."""
    if detector.threshold is not None:
        return detector.threshold
    scores = detector.calibration_scores  # (n,), rising
    rank = max(int(detector.false_alarm_rate * (len(scores) + 1)), 1)
    return float(scores[-min(rank, len(scores))])
