"""Every row of cleaning runs at a small size, and its measures are right; the dirty set is as it says."""

from pathlib import Path

import pytest
import torch

from benchmarks.cleaning import average_precision, copy_rows, like_rows, recall_at_precision, recalls
from benchmarks.cleaning_speed import speed_rows
from benchmarks.dirty_set import main
from benchmarks.scale import Scale
from tests.benchmarks.test_rows import assert_whole
from tests.builders import tiny_repo
from visim_models.build.model_parts import ModelParts


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> ModelParts:
    return ModelParts.load(tiny_repo(tmp_path_factory.mktemp("cleaning") / "model"))


def test_rows_of_copies_and_look_alikes(parts: ModelParts, tmp_path: Path) -> None:
    pytest.importorskip("imagehash", reason="ImageHash is not installed: it is in the extra 'dev'")
    scale = Scale.quick(data=tmp_path)
    assert_whole(list(copy_rows(scale, parts)), 8)
    assert_whole(list(like_rows(scale, parts)), 2)


def test_rows_of_speed(parts: ModelParts, tmp_path: Path) -> None:
    pytest.importorskip("imagehash", reason="ImageHash is not installed: it is in the extra 'dev'")
    whole, looking, groups = speed_rows(Scale.quick(data=tmp_path), parts)
    assert [floor.name for floor in whole.floors] == ["looking and embedding", "comparing"]
    assert_whole([looking, groups], 2)


def test_measures() -> None:
    pairs, known = [(0, 0), (1, 5), (2, 2), (3, 3)], {(0, 0), (2, 2), (9, 9), (3, 4)}
    assert recalls(pairs, known, 1) == 0.25
    assert recalls(pairs, known, 3) == 0.5
    assert average_precision(pairs, known) == pytest.approx((1 + 2 / 3) / 4)
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    every = torch.ones(4, dtype=torch.bool)
    assert recall_at_precision(scores, torch.tensor([True, True, False, True]), every) == 0.5
    assert recall_at_precision(torch.ones(4), torch.tensor([True, True, False, True]), every) == 0.0


def test_the_dirty_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "photos"), "--count", "100", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("100 files in")
    names = [path.name.split("_")[0] for path in (tmp_path / "photos").iterdir()]
    assert {kind: names.count(kind) for kind in set(names)} == {
        "car": 86, "listing": 3, "seat": 3, "repost": 7, "upload": 1,
    }  # fmt: skip
