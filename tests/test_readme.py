"""Every figure in the README's tables is one that was measured: of metrics.json, or of docs/bench.json.

A figure that moved must be written again, and no number may be there that neither file has.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.table import Floor, Row, as_text
from hub import locate
from visim_models.metrics import Figure, Metrics, is_met
from visim_models.repo_folder import RepoFolder

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "docs" / "bench.json"
CARS, CIFAR10, BY_LOOK = "car-extractor", "cifar10-autoencoder", "car-autoencoder"
RULE, NEIGHBOURS, PIXELS, COMPONENTS = (
    "top score under 0.50",
    "distance to neighbour 50",
    "raw pixels, Euclidean",
    "PCA, 1000 components",
)

STATED = [
    # the row begins with, repo, figure, method ("" for visim itself), the README's text
    ("car body type", CARS, "accuracy", "", "{n} held-out photographs"),
    ("car body type", CARS, "accuracy", "", "{value:.1f} % right (target {at_least:g} %{missed})"),
    ("car retrieval", CARS, "retrieval_top_4", "", "{value:.1f} % (target {at_least:g} %{missed})"),
    ("car retrieval", CARS, "retrieval_top_4", PIXELS, "raw pixels {value:.1f} %"),
    ("car retrieval", CARS, "retrieval_top_4", BY_LOOK, "codes {value:.1f} %"),
    ("the same with", CARS, "decorated_retrieval_top_4", "", "{value:.1f} %"),
    ("cars against photographs", CARS, "ood_auroc_photographs", "", "AUROC {value:.4f}"),
    ("cars against photographs", CARS, "ood_auroc_photographs", RULE, '"top score < 0.5": {value:.4f}'),
    ("cars against photographs", CARS, "ood_auroc_photographs", NEIGHBOURS, "neighbours: {value:.4f}"),
    ("strange pictures found in the car tab", CARS, "ood_found_at_5_photographs", "", "{value:.0f} % of {n} ("),
    ("strange pictures found in the car tab", CARS, "ood_found_at_1_photographs", "", "at 1 %: {value:.1f} %) |"),
    (
        "strange pictures found in the car tab",
        CARS,
        "ood_found_at_5_photographs",
        RULE,
        '"top score < 0.5": {value:.0f} %',
    ),
    (
        "strange pictures found in the car tab",
        CARS,
        "ood_found_at_5_photographs",
        NEIGHBOURS,
        "neighbours: {value:.1f} %",
    ),
    (
        "strange pictures found in the car tab",
        CARS,
        "ood_found_at_1_photographs",
        NEIGHBOURS,
        "(at 1 %: {value:.1f} %)",
    ),
    *(
        ("... animals", CARS, f"ood_found_at_5_{kind}", method, text)
        for kind in ("animals", "noise", "text", "plain")
        for method, text in (("", "{value:.0f} % of {n} each"), (RULE, '"top score < 0.5": {value:.0f} %'))
    ),
    ("false alarms", CARS, "ood_false_alarms_at_5", "", "{value:.1f} % cars"),
    ("false alarms", CIFAR10, "ood_false_alarms_at_5", "", "{value:.1f} % CIFAR-10"),
    ("car reconstruction", BY_LOOK, "reconstruction_psnr", "", "{n} held-out photographs"),
    ("car reconstruction", BY_LOOK, "reconstruction_psnr", "", "{value:.1f} dB (target {at_least:g} dB{missed})"),
    ("car reconstruction", BY_LOOK, "reconstruction_psnr", COMPONENTS, "components {value:.1f} dB"),
    ("CIFAR-10 reconstruction", CIFAR10, "reconstruction_psnr", "", "{n:,} validation pictures"),
    ("CIFAR-10 reconstruction", CIFAR10, "reconstruction_psnr", "", "{value:.1f} dB (target {at_least:g} dB{missed})"),
    ("CIFAR-10 reconstruction", CIFAR10, "reconstruction_psnr", COMPONENTS, "components {value:.1f} dB"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_1", "", "| {value:.1f} % ("),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_10", "", "top 10: {value:.1f} %)"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_1", PIXELS, "raw pixels {value:.1f} %"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_10", PIXELS, "({value:.1f} %), PCA"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_1", COMPONENTS, "PCA {value:.1f} %"),
    ("CIFAR-10 retrieval", CIFAR10, "retrieval_top_10", COMPONENTS, "({value:.1f} %) |"),
    *(
        ("strange pictures found in the CIFAR-10 tab", CIFAR10, f"ood_found_at_5_{kind}", "", f"{name} {{value:.1f}} %")
        for kind, name in {"noise": "noise", "plain": "plain colours", "text": "text", "plot": "plots"}.items()
    ),
    *(
        ("strange pictures found in the CIFAR-10 tab", CIFAR10, f"ood_found_at_5_{kind}", RULE, "{value:.1f} %")
        for kind in ("noise", "plain", "text", "plot")
    ),
]
PROSE = [
    # a sentence of the README, repo, figure
    ("from its own ten classes: it finds {value:.0f} % of them", CIFAR10, "ood_found_at_5_photographs"),
]
NO_FIGURES = re.compile(
    r'"top score < 0\.5"|CIFAR-10|\btop \d+|at \d+ % false alarms|set for \d+ %|at \d+ pixels|\d+ components|at 1 %:'
)
"""Numbers in the rows that say what was measured, not how it came out."""


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of the README; the table's own headings come first."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    found = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert found, f"the README has no table below {heading!r}"
    return cells_of(found.group())


def cells_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\-\s:]+", line)]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def line_of(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def figure_of(repo: str, name: str, method: str) -> Figure:
    metrics = Metrics.read(RepoFolder(locate(repo)))
    every = (*metrics.figures, *metrics.baselines)
    (found,) = [figure for figure in every if (figure.name, figure.method) == (name, method)]
    return found


def stated_text(repo: str, name: str, method: str, text: str) -> str:
    figure = figure_of(repo, name, method)
    missed = ": missed" if is_met(figure) is False else ""
    return text.format(value=figure.value, n=figure.n, missed=missed, **(figure.target or {}))


def numbers_left(line: str, texts: list[str]) -> list[str]:
    """Return the numbers in a row that are in none of its stated texts."""
    for text in sorted(texts, key=len, reverse=True):
        line = line.replace(text, "|")
    return re.findall(r"\d[\d,.]*", NO_FIGURES.sub("", line))


@pytest.mark.parametrize(("row", "repo", "name", "method", "text"), STATED)
def test_the_readme_states_what_was_measured(row: str, repo: str, name: str, method: str, text: str) -> None:
    (cells,) = [each for each in table("How good it is") if each[0].startswith(row)]
    assert stated_text(repo, name, method, text) in line_of(cells)


@pytest.mark.parametrize(("text", "repo", "name"), PROSE)
def test_the_readme_says_what_was_measured(text: str, repo: str, name: str) -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert stated_text(repo, name, "", text) in readme


def test_the_readme_states_no_other_figure() -> None:
    left = {}
    for cells in table("How good it is")[1:]:
        texts = [stated_text(*each) for row, *each in STATED if cells[0].startswith(row)]
        if numbers := numbers_left(line_of(cells), texts):
            left[cells[0]] = numbers
    assert left == {}


def test_a_figure_that_nobody_measured_is_seen() -> None:
    texts = ["93.8 % right", "raw pixels 45.9 %"]
    assert numbers_left("| top 4 | 93.8 % right | raw pixels 45.9 % |", texts) == []
    assert numbers_left("| top 4 | 93.8 % right | raw pixels 45.9 %, PCA 12.3 % |", texts) == ["12.3"]
    assert numbers_left("| top 4 | 93.9 % right | raw pixels 45.9 % |", texts) == ["93.9"]


def rows_of(bench: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the rows of a benchmark as `make bench` prints them: heading -> cell."""
    rows = [Row(**{**row, "floors": tuple(Floor(**each) for each in row["floors"])}) for row in bench["rows"]]
    conditions = {key: value for key, value in bench.items() if key != "rows"}
    headings, *printed = cells_of(as_text(rows, conditions))
    return [dict(zip(headings, cells, strict=True)) for cells in printed]


def test_the_speed_table_is_the_one_that_was_printed() -> None:
    """It may leave out rows and columns, and that is all: `make bench ARGS='--json docs/bench.json'` prints both."""
    assert BENCH.exists(), "measure with: make bench ARGS='--json docs/bench.json', and put its table into the README"
    printed = rows_of(json.loads(BENCH.read_text(encoding="utf-8")))
    headings, *rows = table("How fast it is")
    assert headings[0] == "what"
    for cells in rows:
        assert cells in [[row[heading] for heading in headings] for row in printed]
