"""Works are timed in turns; the table and the JSON hold every figure of a row, and the conditions of a run."""

import datetime
import json
import os
import time
from pathlib import Path

import pytest

from benchmarks.measuring import Floor, Row, as_text, conditions, interleaved, median, medians, percentile, write_json
from benchmarks.scale import Scale
from tests.test_architecture import MACHINE_PATH

ROW = Row(
    what="a query",
    measured=8.04,
    unit="ms",
    baseline_name="the article's",
    baseline=953.2,
    ratio=118.6,
    ratio_unit="times faster",
    floors=(Floor("decoding", 1.5), Floor("sum", 4.25)),
    target=">= 60 times faster",
    met=False,
    note="p95 9 ms",
)


def test_json_holds_every_attribute_of_a_row(tmp_path: Path) -> None:
    write_json([ROW], tmp_path / "rows.json", {"cores": 2, "commit": "abc"})
    written = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert (written["cores"], written["commit"]) == (2, "abc")
    (row,) = written["rows"]
    assert row.pop("floors") == [{"name": "decoding", "value": 1.5}, {"name": "sum", "value": 4.25}]
    assert row == {name: value for name, value in vars(ROW).items() if name != "floors"}


def test_text_shows_every_figure() -> None:
    lines = as_text([ROW], {"cores": 2}).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "a query", "8.04 ms", "the article's: 953 ms", "119 times faster", "decoding 1.5, sum 4.25 ms",
        ">= 60 times faster", "no", "p95 9 ms",
    ]  # fmt: skip
    assert lines[-1].endswith("cores: 2")


def test_conditions(scale: Scale) -> None:
    found = conditions(scale)
    assert datetime.date.fromisoformat(found["date"])
    assert found["commit"] == "" or len(found["commit"]) == 40
    assert found["cores"] == os.cpu_count()
    assert found["quick"] is True
    assert found["pictures"] == "drawn"
    assert conditions(Scale())["quick"] is False
    assert MACHINE_PATH.search(json.dumps(found)) is None


def test_real_pictures_are_named_so_only_where_all_are(tmp_path: Path) -> None:
    for name, kind in (("cars/photos.zip", "drawn"), ("cifar10/test.zip", "real")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
        assert conditions(Scale(data=tmp_path))["pictures"] == kind


@pytest.mark.parametrize("quick", [True, False])
def test_only_quick_sizes_say_so(quick: bool) -> None:
    scale = Scale.quick() if quick else Scale()
    assert scale.is_quick is quick
    assert (scale.built == 7600) is not quick


def test_turns_are_taken_and_the_first_is_not_timed() -> None:
    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, each={"a": 2})
    assert "".join(calls) == "aab" * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 2}


def test_long_works_need_no_untimed_turn() -> None:
    calls: list[str] = []
    interleaved({"a": lambda: calls.append("a")}, rounds=2, warm_ups=0)
    assert calls == ["a", "a"]


def test_the_time_is_that_of_the_work() -> None:
    seconds = interleaved({"long": lambda: time.sleep(0.02), "short": lambda: None}, rounds=2, warm_ups=0)
    assert min(seconds["long"]) >= 0.02 > max(seconds["short"])


def test_medians_by_hand() -> None:
    assert median([9, 1, 2]) == 2
    assert median([4, 1]) == 2.5
    assert medians({"a": [0.003, 0.001, 0.1], "b": [1.0]}, scale=1e3) == {"a": 3.0, "b": 1000.0}


def test_percentiles_by_hand() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile([7], 0.95) == 7
