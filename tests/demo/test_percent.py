"""What is said of a percent comes from the measured table, and nothing is said where there is none."""

import json
import os
import re
from pathlib import Path

import pytest

from demo.percent import PercentTable, explain_percents, read_percent_table

TRUE = [0] * 80 + [30] * 21
FALSE = [0] * 60 + [10] * 41


def test_the_share_is_that_of_the_matches_around() -> None:
    said = explain_percents([90, 85, 85], PercentTable(TRUE, FALSE))
    assert "Of 120 matches near 90 %" in said  # 89, 90 and 91: 3 x 30 true, 3 x 10 false
    assert "75 % had the query" in said
    assert said.count("<line") == 2  # one a percent
    assert 'role="img"' in said


def test_too_few_matches_are_not_told_as_a_share() -> None:
    said = explain_percents([40], PercentTable(TRUE, FALSE))
    assert "Too few matches near 40 %" in said
    assert "had the query" not in said


def test_scores_below_zero_stay_on_the_plot() -> None:
    said = explain_percents([-7], PercentTable(TRUE, FALSE))
    assert all(0 <= float(x) <= 360 for x in re.findall(r'x1="([\d.-]+)"', said))


@pytest.mark.parametrize(
    "content",
    [
        "{}", "[]", "no json", '{"tables": {"match_scores": {"true": 3, "false": []}}}',
        '{"tables": {"match_scores": {"true": ["<b>"], "false": [1]}}}',
        '{"tables": {"match_scores": {"true": [1, 2], "false": [1, 2]}}}',
        '{"tables": {"match_scores": {"true": [Infinity], "false": [1]}}}',
        '{"tables": {"match_scores": {"true": [NaN], "false": [-Infinity]}}}',
        f'{{"tables": {{"match_scores": {{"true": {[10**400] * 101}, "false": {[1] * 101}}}}}}}',
        f'{{"tables": {{"match_scores": {{"true": {[-1] * 101}, "false": {[1] * 101}}}}}}}',
        "[" * 100_000, '{"tables": ' * 100_000, " " * (5 * 2**20), "9" * 10_000,
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_left_out(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_percent_table(tmp_path) is None
    assert caplog.text == ""
    (tmp_path / "metrics.json").write_text(content)
    assert read_percent_table(tmp_path) is None
    assert "metrics.json cannot be used" in caplog.text
    assert len(caplog.text) < 1000


def test_a_table_that_is_no_regular_file_does_not_hang(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "metrics.json")
    assert read_percent_table(tmp_path) is None
    assert "no regular file" in caplog.text


def test_a_table_is_read(tmp_path: Path) -> None:
    tables = {"match_scores": {"true": TRUE, "false": FALSE}}
    (tmp_path / "metrics.json").write_text(json.dumps({"tables": tables}))
    assert read_percent_table(tmp_path) == PercentTable(TRUE, FALSE)
