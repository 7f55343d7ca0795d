"""The kinds of outliers, and the figures of detectors on measurements made by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab.data import outlier_part
from lab.evaluation.evaluated_repo import DataFolder, EvaluatedRepo
from lab.evaluation.outliers import MeasuredParts, outlier_figures, outliers_of, strangeness_table
from visim_models import ImageProcessor, OutOfDistributionDetector
from visim_models.galleries.picture_table import PictureTable
from visim_models.ood import Weighting


def measured(*values: float) -> PictureTable:
    arrays = {"embeddings": np.ones((len(values), 514), np.float32), "measured.x": np.array(values, np.float32)}
    return PictureTable([""] * len(values), arrays)


@pytest.fixture
def parts() -> MeasuredParts:
    return MeasuredParts(
        calibration=measured(*range(100)),
        test=measured(*range(90), *range(95, 105)),
        test_groups=list(range(100)),
        kinds={"noise": measured(50.0, 97.5, 200.0, 300.0)},
    )


@pytest.fixture
def detector() -> OutOfDistributionDetector:
    return OutOfDistributionDetector({"x": Weighting(1, 0, 1)}, calibration_scores=np.arange(100.0))


def test_outliers_are_of_the_reporting_half(drawn_data: Path, car_repo: Path, autoencoder_repo: Path) -> None:
    data = DataFolder(drawn_data, limit=24)
    kinds = dict(outliers_of(EvaluatedRepo.load(car_repo, data)))
    every = data.read("not_cars/imagenet.zip", ImageProcessor(size=100))
    assert np.array_equal(kinds["photographs"]["pixels"], every["pixels"][8:])
    assert len(kinds["animals"]) == 24
    drawn = ["noise", "plain", "gradient", "stripes", "text", "plot"]
    assert list(kinds) == ["photographs", "other_kinds", "animals", *drawn]
    reported = [f"kind_{number}" for number in range(8) if outlier_part(f"kind_{number}") == "report"]
    assert len(kinds["other_kinds"]) == 2 * 2 * len(reported) > 0
    assert "animals" not in dict(outliers_of(EvaluatedRepo.load(autoencoder_repo, DataFolder(drawn_data, limit=2))))


def test_false_alarms_and_findings_by_hand(
    drawn_data: Path, car_repo: Path, parts: MeasuredParts, detector: OutOfDistributionDetector
) -> None:
    """Of 100 calibration scores 0 to 99, p-values up to 0.05 are those of scores above 95."""
    repo = EvaluatedRepo.load(car_repo, DataFolder(drawn_data, limit=2))
    repo.similarity.ood = detector
    figures = {figure.name: figure for figure in outlier_figures(repo, parts)}
    assert figures["ood_false_alarms_at_5"].value == pytest.approx(9)
    assert figures["ood_false_alarms_at_1"].value == pytest.approx(5)
    assert figures["ood_found_at_5_noise"].value == pytest.approx(75)
    assert figures["ood_found_at_1_noise"].value == pytest.approx(50)
    # 50 is above 50 of the 100 and equal to one, 97.5 above 93, the others above all.
    assert figures["ood_auroc_noise"].value == pytest.approx((50.5 + 93 + 100 + 100) / 400)
    assert figures["ood_auroc_noise"].target is None
    assert figures["ood_found_at_5_noise"].target == {"at_least": 95}


def test_a_drawn_kind_is_judged_by_a_detector_that_has_not_seen_it(
    drawn_data: Path, car_repo: Path, parts: MeasuredParts, detector: OutOfDistributionDetector
) -> None:
    repo = EvaluatedRepo.load(car_repo, DataFolder(drawn_data, limit=2))
    repo.similarity.ood = detector
    blind = OutOfDistributionDetector({"x": Weighting(1, 0, 1)}, calibration_scores=np.arange(1000.0))
    figures = {figure.name: figure for figure in outlier_figures(repo, replace(parts, refitted={"noise": blind}))}
    assert figures["ood_found_at_5_noise"].value == 0
    assert figures["ood_false_alarms_at_5"].value == pytest.approx(9)


def test_the_table_of_scores_counts_every_picture(parts: MeasuredParts, detector: OutOfDistributionDetector) -> None:
    table = strangeness_table(detector, parts)
    assert {kind: sum(counts) for kind, counts in table["counts"].items()} == {"held-out": 100, "noise": 4}
    assert len(table["edges"]) == len(table["counts"]["noise"]) + 1
    assert table["threshold"] == 95
