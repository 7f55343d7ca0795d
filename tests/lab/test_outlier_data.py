"""Outliers come without the gallery's own kinds, and each kind of things is for one purpose alone."""

from pathlib import Path

import pytest
from torch import Tensor

from lab.outlier_data import Outliers, left_out_labels, load_outliers, outlier_part
from tests.builders import write_pictures
from visim_models import CAR_CLASSES, ImageSourceError
from visim_models.galleries.synthetic import SYNTHETIC_KINDS

DRAWN = len(SYNTHETIC_KINDS)
KINDS = ["accordion", "anchor", "ant", "automobile", "barrel", "bass", "beaver", "binocular"]


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("things"), 4, classes=KINDS, size=16)


@pytest.fixture(autouse=True)
def _draw_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.outlier_data._PER_KIND", 3)


def rows(pixels: Tensor) -> set[bytes]:
    return {picture.numpy().tobytes() for picture in pixels}


def photographs(found: Outliers) -> set[bytes]:
    """The pictures of the first source; what is drawn comes after them."""
    return rows(found.pixels[: found.sources[0]["pictures"]])


def test_a_kind_is_for_one_purpose(things: Path) -> None:
    parts = {part: load_outliers([things], 16, part=part, seed=0) for part in ("train", "fit", "report")}
    kinds = {part: {kind for kind in found.kinds if not kind.startswith("drawn")} for part, found in parts.items()}
    assert kinds == {part: {kind for kind in KINDS if outlier_part(kind) == part} for part in parts}
    assert all(kinds.values())
    assert sum(found.sources[0]["pictures"] for found in parts.values()) == 4 * len(KINDS)
    assert not photographs(parts["train"]) & photographs(parts["fit"])


def test_kinds_are_dealt_out_in_shares() -> None:
    parts = [outlier_part(f"kind {number}") for number in range(4000)]
    counts = {part: parts.count(part) for part in ("train", "fit", "report")}
    assert counts["train"] == pytest.approx(2000, abs=150)
    assert counts["fit"] == pytest.approx(1000, abs=120)
    assert counts["report"] == pytest.approx(1000, abs=120)


def test_pictures_in_no_folder_are_each_a_kind(things: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(things.rglob("*.png"))):
        (tmp_path / f"{number}.png").write_bytes(path.read_bytes())
    found = {part: load_outliers([tmp_path], 16, part=part, seed=0) for part in ("train", "fit", "report")}
    assert sum(each.sources[0]["pictures"] for each in found.values()) == 4 * len(KINDS)
    assert all(each.sources[0]["pictures"] for each in found.values())


def test_what_is_recorded(things: Path) -> None:
    found = load_outliers([things], 16, part="fit", seed=0, limit=2)
    assert found.sources[0] == {"source": str(things), "part": "fit", "pictures": 2}
    assert found.sources[1:] == [
        {"source": f"drawn: {kind}", "part": "fit", "pictures": 2} for kind in SYNTHETIC_KINDS
    ]  # fmt: skip
    assert len(found) == len(found.kinds) == 2 + 2 * DRAWN
    assert found.pixels.shape[1:] == (3, 16, 16)


def test_the_kinds_of_the_gallery_are_left_out(things: Path) -> None:
    assert left_out_labels(["cat", "accordion"]) == {"cat", "accordion"}
    assert left_out_labels(CAR_CLASSES) >= {*CAR_CLASSES, "automobile", "car_side"}
    part = outlier_part("automobile")
    every, others = (
        load_outliers([things], 16, part=part, seed=0, leave_out=leave_out)
        for leave_out in ((), left_out_labels(CAR_CLASSES))
    )
    assert others.sources[0]["pictures"] == every.sources[0]["pictures"] - 4


def test_a_source_gives_at_most_so_many(things: Path) -> None:
    assert load_outliers([things], 16, part="train", seed=0, per_source=3).sources[0]["pictures"] == 3


def test_drawn_ones_are_for_the_fit_alone_and_follow_the_seed() -> None:
    one, same, other = (load_outliers([], 16, part="fit", seed=seed, limit=3).pixels for seed in (0, 0, 1))
    assert len(one) == 3 * DRAWN
    assert rows(one) == rows(same)
    assert rows(one) != rows(other)
    assert len(load_outliers([], 16, part="train", seed=0)) == 0


def test_a_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageSourceError, match="nothing"):
        load_outliers([tmp_path / "nothing"], 16, part="fit", seed=0, limit=2)
