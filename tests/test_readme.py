"""Every figure in the tables of README.md and docs/figures.md was measured: it is of metrics.json or docs/bench.json.

A figure that moved must be written again, and no number may be there that neither file has.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.table import Floor, Row, as_text
from hub.locate import REPO_NAMES, locate
from lab.summary import main, summary_table, with_table
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Metrics, is_met

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "docs" / "bench.json"


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of a page; the table's own headings come first."""
    text = (ROOT / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    found = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert found, f"{page} has no table below {heading!r}"
    return cells_of(found.group())


def cells_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\-\s:]+", line)]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def line_of(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def test_the_readme_states_what_was_measured() -> None:
    """`python -m lab.summary` writes the table: no figure in it is typed by hand."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_table(readme) == readme
    assert len(table("README.md", "How good it is")) == summary_table().count("\n") - 1


def test_the_table_says_what_missed_its_target() -> None:
    every = [figure for repo in REPO_NAMES if (folder := RepoFolder(locate(repo))).has("metrics.json")
             for figure in Metrics.read(folder).figures]  # fmt: skip
    assert any(is_met(figure) for figure in every)
    shown = summary_table()
    assert not re.search(r"[{}]", shown)
    figures = {figure.name: figure for figure in Metrics.read(RepoFolder(locate("car-extractor"))).figures}
    for name in ("accuracy", "wild_accuracy", "wild_false_alarms_at_5"):
        figure = figures[name]
        stated = f"{figure.formatted()} (target {figure.formatted_target()}: missed)"
        assert (stated in shown) == (is_met(figure) is False)
        assert figure.formatted() in shown


def test_a_readme_without_the_table_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# nothing", encoding="utf-8")
    assert main([str(tmp_path / "README.md")]) == 2
    assert "How good it is" in capsys.readouterr().err


def rows_of(bench: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rows of a benchmark as `make bench` prints them: heading -> cell."""
    rows = [Row(**{**row, "floors": tuple(Floor(**each) for each in row["floors"])}) for row in bench["rows"]]
    conditions = {key: value for key, value in bench.items() if key != "rows"}
    headings, *printed = cells_of(as_text(rows, conditions))
    return [dict(zip(headings, cells, strict=True)) for cells in printed]


def test_the_speed_table_is_the_one_that_was_printed() -> None:
    """It may leave out rows and columns, and that is all: `make bench ARGS='--json docs/bench.json'` prints both."""
    printed = rows_of(json.loads(BENCH.read_text(encoding="utf-8")))
    headings, *rows = table("docs/figures.md", "How fast it is")
    assert headings[0] == "what"
    for cells in rows:
        assert cells in [[row[heading] for heading in headings] for row in printed]
