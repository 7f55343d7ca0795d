"""Synthetic outliers are pictures of the stated form, the same for the same seed; real ones come without their cars."""

from pathlib import Path

import pytest
import torch

from lab.outlier_data import load_outliers
from tests.builders import write_pictures
from visim_models import DataError
from visim_models.synthetic import SYNTHETIC_KINDS, synthetic_outliers


@pytest.mark.parametrize("kind", SYNTHETIC_KINDS)
@pytest.mark.parametrize("size", [8, 32, 100])
def test_form_and_seed(kind: str, size: int) -> None:
    drawn = synthetic_outliers(kind, 3, size, seed=1)
    assert (drawn.shape, drawn.dtype) == ((3, 3, size, size), torch.uint8)
    assert torch.equal(drawn, synthetic_outliers(kind, 3, size, seed=1))
    assert not torch.equal(drawn, synthetic_outliers(kind, 3, size, seed=2))
    assert not torch.equal(drawn[0], drawn[1])


def test_the_kinds_look_like_what_they_are() -> None:
    def roughness(kind: str) -> float:
        drawn = synthetic_outliers(kind, 20, 32, seed=0).float()
        return (drawn[..., 1:] - drawn[..., :-1]).abs().mean().item()

    assert roughness("plain") < 5
    assert roughness("gradient") < roughness("noise") / 3
    assert {"noise", "plain", "gradient", "stripes", "text", "plot"} == set(SYNTHETIC_KINDS)


def test_drawing_leaves_the_callers_random_numbers() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    for kind in SYNTHETIC_KINDS:
        synthetic_outliers(kind, 1, 16, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_sources_come_without_their_cars(tmp_path: Path) -> None:
    write_pictures(tmp_path / "things", 2, classes=["accordion", "automobile", "truck", "car_side"])
    synthetic = 2 * len(SYNTHETIC_KINDS)
    assert len(load_outliers([], 16, seed=0, limit=2)) == synthetic
    found = load_outliers([tmp_path / "things"], 16, seed=0, limit=8)
    assert found.shape == (2 + 8 * len(SYNTHETIC_KINDS), 3, 16, 16)


def test_a_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        load_outliers([tmp_path / "nothing"], 16, seed=0, limit=2)
