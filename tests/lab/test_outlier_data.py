"""Outliers come without the gallery's own kinds, and those for the fit are others than those for training."""

from pathlib import Path

import pytest
from torch import Tensor

from lab.data import load_images
from lab.outlier_data import Outliers, left_out_labels, load_outliers, outlier_part
from tests.builders import write_pictures
from visim_models import CAR_CLASSES, ImageProcessor, ImageSourceError
from visim_models.synthetic import SYNTHETIC_KINDS

DRAWN = len(SYNTHETIC_KINDS)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("things"), 24, classes=["accordion", "automobile"], size=16)


@pytest.fixture(autouse=True)
def _draw_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.outlier_data._PER_KIND", 3)


def rows(pixels: Tensor) -> set[bytes]:
    return {picture.numpy().tobytes() for picture in pixels}


def photographs(found: Outliers) -> set[bytes]:
    """The pictures of the first source; what is drawn comes after them."""
    return rows(found.pixels[: found.sources[0]["pictures"]])


def test_an_outlier_is_for_training_or_for_the_fit(things: Path) -> None:
    parts = {part: load_outliers([things], 16, part=part, seed=0) for part in ("train", "fit")}
    counts = {part: found.sources[0]["pictures"] for part, found in parts.items()}
    assert sum(counts.values()) == 48
    assert counts["train"] > counts["fit"] > 0
    assert not photographs(parts["train"]) & photographs(parts["fit"])
    every = load_images(things, ImageProcessor(size=16), quiet=True)
    assert counts["fit"] == [outlier_part(sha256) for sha256 in every.sha256].count("fit")


def test_the_part_follows_the_content(things: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(things.rglob("*.png"))):
        (tmp_path / "others").mkdir(exist_ok=True)
        (tmp_path / "others" / f"{99 - number}.png").write_bytes(path.read_bytes())
    there, here = (load_outliers([source], 16, part="fit", seed=0) for source in (things, tmp_path))
    assert photographs(there) == photographs(here)


def test_what_is_recorded(things: Path) -> None:
    found = load_outliers([things], 16, part="fit", seed=0, limit=2)
    assert found.sources[0] == {"source": str(things), "part": "fit", "pictures": 2}
    assert found.sources[1:] == [
        {"source": f"drawn: {kind}", "part": "fit", "pictures": 2} for kind in SYNTHETIC_KINDS
    ]  # fmt: skip
    assert len(found) == 2 + 2 * DRAWN
    assert found.pixels.shape[1:] == (3, 16, 16)


def test_the_kinds_of_the_gallery_are_left_out(things: Path) -> None:
    assert left_out_labels(["cat", "accordion"]) == {"cat", "accordion"}
    assert left_out_labels(CAR_CLASSES) >= {*CAR_CLASSES, "automobile", "car_side"}
    every, others = (
        load_outliers([things], 16, part="train", seed=0, leave_out=leave_out)
        for leave_out in ((), left_out_labels(CAR_CLASSES))
    )
    assert 0 < others.sources[0]["pictures"] < every.sources[0]["pictures"]


def test_the_seed_draws_and_the_parts_differ() -> None:
    one, same, other, fit = (
        load_outliers([], 16, part=part, seed=seed, limit=3).pixels
        for part, seed in (("train", 0), ("train", 0), ("train", 1), ("fit", 0))
    )
    assert len(one) == 3 * DRAWN
    assert rows(one) == rows(same)
    assert rows(one) != rows(other)
    assert not rows(one) & rows(fit)


def test_a_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match="nothing"):
        load_outliers([tmp_path / "nothing"], 16, part="fit", seed=0, limit=2)
