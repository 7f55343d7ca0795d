"""Measure a repo on pictures that its network, its detector and its calibration have not seen.

Without an option the figures are printed, each with its 95 % sampling interval, its tolerance and its target, and the
baselines below them. With --write they become the metrics.json of the repo folder, which its card is written from. With
--check they are compared with that file: the exit status is 1 if a figure or a baseline has moved by more than another
machine's arithmetic can explain.

The pictures are found by their content, through the split.csv of the repo. A gallery that `visim build` made has none:
give it labelled pictures of its kinds, in a folder or zip of label/name.jpg; those that are in it do not count.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hub.locate import REPO_NAMES, local_folder, locate
from lab.evaluation import evaluate
from lab.evaluation.labelled import recall_at_1
from lab.run import command_line, run_command
from visim_models.errors import ConfigurationError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import METRICS
from visim_models.repo_folder.metrics import Figure, Metrics, differences, is_met

__all__ = ["command_for", "main"]

_HEADINGS: Final = ("figure", "value", "95 % interval", "tolerance", "pictures", "target", "")
_VERDICTS: Final = {None: "", True: "met", False: "MISSED"}


def format_report(metrics: Metrics) -> str:
    """Format figures, then baselines, one a line, then the command that measured them."""
    tables = [
        f"{heading}\n{_table_of(figures)}"
        for heading, figures in (("Figures", metrics.figures), ("Baselines", metrics.baselines))
        if figures
    ]
    return "\n\n".join([*tables, f"Measured with: {metrics.command}"])


def _table_of(figures: Sequence[Figure]) -> str:
    rows = [_HEADINGS, *(_figure_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _figure_cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.title,
        figure.formatted(),
        figure.formatted_interval(),
        f"{figure.tolerance:.2g}",
        str(figure.n),
        figure.formatted_target(),
        _VERDICTS[is_met(figure)],
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if it went well, 1 if a figure has moved, 2 if it could not be done."""
    options = _parser().parse_args(arguments)

    def work() -> int:
        folder = (local_folder if options.write else locate)(options.repo)
        if options.recall:
            print(_table_of([recall_at_1(folder, options.data, limit=options.limit)]))
            return 0
        stated = _stated(folder, options.limit) if options.check else None
        command = command_for(options.repo, options.data, limit=options.limit)
        measured = evaluate(folder, options.data, command=command, limit=options.limit)
        print(format_report(measured))
        if options.write:
            measured.write(folder)
            print(f"\nwritten: {folder / METRICS}")
        return _report_check(stated, measured) if stated else 0

    return run_command(work, stopped="nothing was written")


def command_for(repo: str, data: Path, *, limit: int | None = None) -> str:
    """Return the command that measures a repo again, from the folder that this program runs in.

    Args:
        repo: as given: a short name, a folder or "namespace/repo". An absolute path is made relative.
        data: the folder of pictures, likewise.
        limit: the number of pictures that a trial is limited to.
    """
    more = [] if limit is None else ["--limit", str(limit)]
    return command_line("lab.evaluate", [repo, "--data", str(data), *more])


def _stated(folder: Path, limit: int | None) -> Metrics:
    """Read the stated metrics, before anything is measured.

    Raises:
        ConfigurationError: there are none, or they were measured with another limit.
    """
    stated = Metrics.read(RepoFolder(folder))
    if stated.limit != limit:
        raise ConfigurationError(
            f"{folder / METRICS} was measured with a limit of {stated.limit}, not {limit}: "
            f"reproduce it with: {stated.command}",
            path=folder / METRICS,
            key="limit",
        )
    return stated


def _report_check(stated: Metrics, measured: Metrics) -> int:
    faults = differences(stated, measured)
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    if not faults:
        print(
            f"\nchecked: {len(stated.figures)} figures and {len(stated.baselines)} baselines are within their tolerance"
        )
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "repo", help=f"the repo to measure: a short name ({', '.join(REPO_NAMES)}), a folder, or 'namespace/repo'"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="the project's folder of pictures (cars/photos.zip and so on); for a gallery without split.csv, a folder "
        "or zip of label/name.jpg",
    )
    parser.add_argument(
        "--limit",
        type=_at_least_two,
        metavar="N",
        help="use at most N pictures of each part: a trial that takes seconds and whose figures say little",
    )
    outcome = parser.add_mutually_exclusive_group()
    outcome.add_argument(
        "--recall",
        action="store_true",
        help="measure Recall@1 alone: whether the nearest of all other pictures of --data, label/name.jpg, has the "
        "label of a picture, such as the model of a car in Cars196",
    )
    outcome.add_argument("--write", action="store_true", help=f"write the figures into the repo's {METRICS}")
    outcome.add_argument(
        "--check",
        action="store_true",
        help=f"compare the figures and baselines with the repo's {METRICS}, with the tolerance of arithmetic alone",
    )
    return parser


def _at_least_two(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError("at least 2 pictures are needed")
    return value


if __name__ == "__main__":
    sys.exit(main())
