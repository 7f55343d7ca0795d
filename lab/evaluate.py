"""`python -m lab.evaluate REPO --data DATA`: measure a repo, and print, keep or check its figures."""

import argparse
import sys
from pathlib import Path

from lab.evaluation.report import format_report
from lab.evaluation.run import evaluate
from lab.evaluation.subject import find_repo
from visim_models.errors import ConfigurationError, VisimError
from visim_models.metrics import METRICS_FILE, Metrics, moved, unmeasured

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if it went well, 1 if a figure has moved, 2 with a message if it could not be done."""
    options = _parser().parse_args(arguments)
    try:
        folder = find_repo(options.repo)
        stated = _stated(folder, options.limit) if options.check else None
        compare = [find_repo(name) for name in options.compare]
        measured = evaluate(folder, options.data, compare=compare, limit=options.limit)
        print(format_report(measured))
        if options.write:
            measured.write(folder)
            print(f"\nwritten: {folder / METRICS_FILE}")
    except VisimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return _report_check(stated, measured) if stated else 0


def _stated(folder: Path, limit: int | None) -> Metrics:
    """What the repo states; read first, so that nothing is measured in vain.

    Raises:
        ConfigurationError: it states nothing, or was measured on another number of pictures.
    """
    stated = Metrics.read(folder)
    if stated.limit != limit:
        raise ConfigurationError(
            f"{folder / METRICS_FILE} was measured with a limit of {stated.limit}, not {limit}: "
            f"reproduce it with: {stated.command}"
        )
    return stated


def _report_check(stated: Metrics, measured: Metrics) -> int:
    for title in unmeasured(stated, measured):
        print(f"not measured this time: {title}")
    faults = moved(stated, measured)
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    if not faults:
        print(f"\nchecked: all {len(stated.figures)} figures stand within their stated noise")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.evaluate", description=__doc__)
    parser.add_argument("repo", help="short name (car-extractor, ...) of a bundled repo, a folder, or namespace/repo")
    parser.add_argument("--data", type=Path, required=True, help="folder with cars/, cifar10/ and not_cars/")
    parser.add_argument(
        "--compare", nargs="*", default=[], metavar="REPO", help="other repos, whose main figures become baselines"
    )
    parser.add_argument(
        "--limit", type=_at_least_two, help="use at most so many pictures of each part, to try things out"
    )
    outcome = parser.add_mutually_exclusive_group()
    outcome.add_argument("--write", action="store_true", help=f"keep the figures as the repo's {METRICS_FILE}")
    outcome.add_argument(
        "--check", action="store_true", help=f"compare with the repo's {METRICS_FILE}; exit 1 if moved"
    )
    return parser


def _at_least_two(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError("at least 2 pictures are needed")
    return value


if __name__ == "__main__":
    sys.exit(main())
