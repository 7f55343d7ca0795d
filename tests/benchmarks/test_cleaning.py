"""Every row of cleaning runs at a small size, and its measures are right; the dirty set is as it says."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.cleaning import (
    average_precision,
    copy_rows,
    group_rows,
    leak_rows,
    like_rows,
    recall_at_precision,
    recalls,
    speed_rows,
)
from benchmarks.dirty_set import main
from benchmarks.measuring import Row
from benchmarks.scale import Scale
from tests.benchmarks.test_rows import assert_whole
from tests.builders import tiny_repo


@pytest.fixture
def scale(tmp_path_factory: pytest.TempPathFactory) -> Scale:
    pytest.importorskip("imagehash", reason="ImageHash is not installed: it is in the extra 'dev'")
    folder = tmp_path_factory.mktemp("cleaning")
    return replace(Scale.quick(data=folder), general=str(tiny_repo(folder / "model")))


@pytest.mark.parametrize(("rows", "count"), [(copy_rows, 8), (like_rows, 2), (group_rows, 1), (leak_rows, 0)])
def test_rows_of_cleaning(rows: Callable[[Scale], Iterator[Row]], count: int, scale: Scale) -> None:
    assert_whole(list(rows(scale)), count)


def test_parts_of_the_time(scale: Scale) -> None:
    whole, looking = speed_rows(scale)
    assert_whole([looking], 1)
    assert [floor.name for floor in whole.floors] == ["looking and embedding", "comparing"]


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
