"""A gallery's own pictures, each left out in its turn, calibrate the detector as queries would."""

from pathlib import Path

import pytest
import torch

from visim_models import OutOfDistributionDetector, VisualSimilarity
from visim_models.galleries import build
from visim_models.galleries.embedded import EmbeddedPictures, Measured
from visim_models.galleries.existing_gallery import ExistingGallery
from visim_models.galleries.self_calibration import calibrated_on, leave_one_out
from visim_models.measurements import measure_neighbours
from visim_models.ood import Weighting
from visim_models.repo_folder import RepoFolder


def pictures_of(embeddings: torch.Tensor, thumbnails: torch.Tensor) -> EmbeddedPictures:
    names = [str(number) for number in range(len(embeddings))]
    return EmbeddedPictures(names, torch.zeros(len(names), 32, dtype=torch.uint8), Measured(embeddings, {}), thumbnails)


def noise(count: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 255, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)


def test_the_calibration_measures_as_a_query_is_measured(model: Path, pictures: Path, tmp_path: Path) -> None:
    """Each picture left out is measured as `VisualSimilarity.measure` measures it against the gallery without it."""
    build(pictures, tmp_path / "mine", model=model, progress=False)
    mine = VisualSimilarity.from_pretrained(tmp_path / "mine")
    left_out = leave_one_out(ExistingGallery.load(RepoFolder(tmp_path / "mine")).pictures)
    assert len(left_out) == 16
    for index in range(0, 16, 3):
        pixels = mine.processor(pictures / mine.gallery.file_names[index])[None]
        others = mine.gallery.subset([other for other in range(16) if other != index])
        seen, _ = mine.measure(pixels, gallery=others)
        assert set(seen) == set(left_out.values)
        for name, values in seen.items():
            assert values.item() == pytest.approx(left_out.values[name][index].item(), rel=2e-3, abs=2e-3), name


def test_near_duplicates_are_left_out_together() -> None:
    embeddings = torch.eye(4)[[0, 0, 1, 2]] + 0.01
    thumbnails = noise(4, torch.Generator().manual_seed(0))
    thumbnails[1] = thumbnails[0]
    left_out = leave_one_out(pictures_of(embeddings, thumbnails))
    assert left_out.values["top_distance"][:2].min() > 0.9  # not 0, the distance of each other


def test_the_rate_of_false_alarms_is_kept() -> None:
    """On exchangeable pictures: alarms on fresh ones stay at the stated rate, within three standard errors."""
    generator = torch.Generator().manual_seed(5)
    known = torch.randn(400, 6, generator=generator)
    fresh = torch.randn(1000, 6, generator=generator)
    detector = OutOfDistributionDetector({"neighbour_distance": Weighting(1.0, 0.0, 1.0)}, threshold=0.0)
    calibrated = calibrated_on(pictures_of(known, noise(400, generator)), detector)
    cosines = torch.nn.functional.normalize(fresh) @ torch.nn.functional.normalize(known).T
    measured = measure_neighbours(fresh.numpy(), cosines.topk(10, dim=1).values.numpy()), fresh.numpy()
    alarms = sum(verdict.is_ood for verdict in calibrated.verdicts(*measured)) / 1000
    spread = (0.05 * 0.95 * (1 / 400 + 1 / 1000)) ** 0.5
    assert 0.05 - 3 * spread < alarms < 0.05 + 3 * spread


def test_a_large_gallery_is_calibrated_on_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visim_models.galleries.self_calibration.LARGEST_CALIBRATION", 20)
    generator = torch.Generator().manual_seed(1)
    pictures = pictures_of(torch.randn(50, 6, generator=generator), noise(50, generator))
    measured = leave_one_out(pictures)
    assert len(measured) == 20
    assert torch.equal(measured.embeddings[[0, -1]], pictures.embeddings[[0, -1]])
