"""`python -m lab.summary`: write the tables of figures in README.md and docs/figures.md from the repos' metrics."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hub.locate import REPO_NAMES, locate
from visim_models.errors import VisimError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.metrics import Figure, Metrics, is_met

__all__ = ["main", "main_figures_table", "targets_table", "with_table"]

_MAIN_FIGURES: Final = (
    ("cars, dealers' photographs: body told right", "car-extractor", "accuracy"),
    ("cars, other people's photographs of models never seen: body told right", "car-extractor", "wild_accuracy"),
    ("the same: top 4 matches of the query's body", "car-extractor", "wild_retrieval_top_4"),
    ("the same: called no car, set for 5 %", "car-extractor", "wild_false_alarms_at_5"),
    ("photographs of other things: called no car", "car-extractor", "ood_found_at_5_photographs"),
    ("CIFAR-10 by kind: told right, of 10,000", "cifar10-extractor", "accuracy"),
)
"""What a row of the README says, the repo, and the figure of its metrics.json."""

_PAGES: Final = {"README.md": "How good it is", "docs/figures.md": "Targets"}
"""Page -> the heading above the table that is written into it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both tables; return 0 if it went well, 2 with a message if not."""
    parser = argparse.ArgumentParser(prog="python -m lab.summary", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="the checkout [%(default)s]")
    folder = parser.parse_args(arguments).folder
    try:
        tables = dict(zip(_PAGES, (main_figures_table(), targets_table()), strict=True))
        for page, heading in _PAGES.items():
            text = (folder / page).read_text(encoding="utf-8")
            (folder / page).write_text(with_table(text, heading, tables[page]), encoding="utf-8")
    except (VisimError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def with_table(text: str, heading: str, table: str) -> str:
    """Return a page with a table in place of the first one below a heading.

    Raises:
        ValueError: the page has no such table.
    """
    before, title, after = text.partition(f"\n## {heading}\n")
    changed, count = re.subn(r"(?:^\|.*\|\n)+", lambda _: table, after, count=1, flags=re.MULTILINE)
    if not count:
        raise ValueError(f'there is no table below "{heading}"')
    return before + title + changed


def main_figures_table() -> str:
    """Return the README's table in Markdown: one number a row, with its interval."""
    figures = {repo: _figures(repo) for repo in {repo for _, repo, _ in _MAIN_FIGURES}}
    rows = [(text, figures[repo][name]) for text, repo, name in _MAIN_FIGURES]
    return _markdown(
        ("what", "figure", "95 % interval"),
        [(text, figure.formatted(), figure.formatted_interval()) for text, figure in rows],
    )


def targets_table() -> str:
    """Return every figure of a shipped repo that has a target, in Markdown, and whether it is met."""
    rows = []
    for repo in REPO_NAMES:
        for figure in _figures(repo).values():
            if (met := is_met(figure)) is not None:
                row = (figure.title, figure.formatted(), figure.formatted_interval(), figure.formatted_target())
                rows.append((repo, *row, "met" if met else "missed"))
    return _markdown(("repo", "figure", "value", "95 % interval", "target", ""), rows)


def _figures(repo: str) -> Mapping[str, Figure]:
    """Return name -> figure of a repo's own method; none where it has no metrics.json."""
    folder = RepoFolder(locate(repo))
    return {each.name: each for each in Metrics.read(folder).figures} if folder.has("metrics.json") else {}


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, ("---",) * len(headings), *rows))


if __name__ == "__main__":
    sys.exit(main())
