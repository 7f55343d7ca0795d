"""README.md and docs/figures.md: every figure was measured, and the code runs as it stands."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.measuring import Floor, Row, as_text
from hub.locate import REPO_NAMES, locate
from lab.summary import main, main_figures_table, targets_table, with_table
from tests.builders import drawn_picture
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Metrics, is_met

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "docs" / "bench.json"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")


def table(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of a page; the table's own headings come first."""
    found = re.search(r"(?:^\|.*\|\n)+", text.partition(f"\n## {heading}\n")[2], re.MULTILINE)
    assert found, f"there is no table below {heading!r}"
    return cells_of(found.group())


def cells_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\-\s:]+", line)]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def test_the_readme_is_short() -> None:
    assert len(README.partition("\n---\n")[2].split()) <= 700


def test_the_tables_state_what_was_measured() -> None:
    """`python -m lab.summary` writes both: no figure in them is typed by hand."""
    assert with_table(README, "How good it is", main_figures_table()) == README
    assert with_table(FIGURES, "Targets", targets_table()) == FIGURES


def test_a_row_of_the_readme_has_one_number_and_its_interval() -> None:
    _, *rows = table(README, "How good it is")
    assert len(rows) == 6
    for _, figure, interval in rows:
        assert re.fullmatch(r"[\d.,]+( \S+)?", figure)
        assert re.fullmatch(r"-?[\d.,]+ to [\d.,]+", interval)


def test_the_targets_say_which_are_missed() -> None:
    _, *rows = table(FIGURES, "Targets")
    stated = {(repo, name): met for repo, name, *_, met in rows}
    for repo in REPO_NAMES:
        if (folder := RepoFolder(locate(repo))).has("metrics.json"):
            for figure in Metrics.read(folder).figures:
                expected = {True: "met", False: "missed", None: None}[is_met(figure)]
                assert stated.get((repo, figure.name)) == expected
    assert set(stated.values()) == {"met", "missed"}


def test_a_page_without_its_table_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# nothing", encoding="utf-8")
    assert main([str(tmp_path)]) == 2
    assert "How good it is" in capsys.readouterr().err


def test_the_three_lines_of_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert code.count("\n") == 3
    Image.fromarray(drawn_picture(1, size=64)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "SimilarityResult" in capsys.readouterr().out


def test_every_page_that_the_readme_names_is_there() -> None:
    assert [page for page in re.findall(r"\]\((docs/[^)]+)\)", README) if not (ROOT / page).exists()] == []


def rows_of(bench: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rows of a benchmark as `make bench` prints them: heading -> cell."""
    rows = [Row(**{**row, "floors": tuple(Floor(**each) for each in row["floors"])}) for row in bench["rows"]]
    conditions = {key: value for key, value in bench.items() if key != "rows"}
    headings, *printed = cells_of(as_text(rows, conditions))
    return [dict(zip(headings, cells, strict=True)) for cells in printed]


def test_the_speed_table_is_the_one_that_was_printed() -> None:
    """It may leave out rows and columns, and that is all: `make bench ARGS='--json docs/bench.json'` prints both."""
    printed = rows_of(json.loads(BENCH.read_text(encoding="utf-8")))
    headings, *rows = table(FIGURES, "How fast it is")
    assert headings[0] == "what"
    for cells in rows:
        assert cells in [[row[heading] for heading in headings] for row in printed]
