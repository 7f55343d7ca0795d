"""The command `visim`: build a gallery of pictures, search it, and show what a repo folder holds."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from visim_models.build import BuildReport, build, update
from visim_models.errors import DataError, RepositoryError, VisimError
from visim_models.pipeline import VisualSimilarity
from visim_models.repo_folder import RepoFolder, is_repo
from visim_models.repo_folder.formats import listed, one_line
from visim_models.repo_folder.manifest import EMBEDDINGS, SKIPPED
from visim_models.repo_info import info_lines
from visim_models.results import SimilarityResult

__all__ = ["main"]

_BUILD_EXAMPLES = """\
examples:
  visim build photos --out my-gallery --model car-extractor    a new gallery
  visim build photos --out my-gallery                          new and changed pictures, by content
  visim build photos --out my-gallery --sync                   the same, and remove those that are gone
  visim build --out my-gallery --add more-photos.zip
  visim build --out my-gallery --remove chairs/oak_2.jpg --remove-list sold.txt
  visim build --out my-gallery --image-root hf://datasets/NAME/my-pictures

A build that was killed goes on where it stopped when the same command is given again. Files whose names end like those
of pictures, but that cannot be used, are left out and listed in skipped.csv of the repo, with the reasons."""
_SEARCH_EXAMPLES = """\
examples:
  visim search my-gallery photo.jpg
  visim search car-extractor *.jpg --top-k 10 --json > results.jsonl"""
_INFO_EXAMPLES = """\
examples:
  visim info my-gallery
  visim info car-extractor"""
_TOP_K = 4
_MODEL_HELP = "a folder, namespace/repo on the Hub, or a short name such as car-extractor"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 if it went well, 2 after an error, 130 after an interruption.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal cannot show
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (VisimError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="visim", description="Visual similarity search in pictures of your own.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_build(commands)
    _add_search(commands)
    _add_info(commands)
    return parser


def _add_build(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "build",
        help="make a gallery of pictures, or change one",
        description="Make a repo folder with a gallery of your pictures, or bring the gallery of one up to date.",
        epilog=_BUILD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pictures",
        nargs="?",
        metavar="PICTURES",
        help="the pictures: a folder, a zip, or hf://datasets/NAMESPACE/NAME; their folder paths are their labels",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="REPO",
        help="the repo folder: a new or empty one, or one that has a gallery. Files that visim did not write stay",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"the repo whose network compares the pictures: {_MODEL_HELP}; a gallery that exists has its own",
    )
    parser.add_argument(
        "--image-root",
        metavar="ROOT",
        help="where the pictures can be fetched from later: a folder, a zip, an https address or hf://datasets/...; "
        "PICTURES by default, and a gallery that exists keeps its root. Everyone who gets the repo can read it",
    )
    parser.add_argument(
        "--sync",
        action="store_true",
        help="with PICTURES: also remove pictures that PICTURES does not have any more",
    )
    parser.add_argument(
        "--add",
        metavar="PATH",
        help="add the new pictures of another folder, zip or data set; pictures whose names the gallery has stay",
    )
    parser.add_argument(
        "--remove",
        nargs="+",
        default=[],
        metavar="NAME",
        help="remove pictures by their file names in gallery/metadata.csv, before others are added",
    )
    parser.add_argument(
        "--remove-list",
        type=Path,
        metavar="FILE",
        help="remove the pictures that a text file names, one a line; empty lines and lines with # are ignored",
    )
    parser.set_defaults(run=_build)


def _add_search(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "search",
        help="find the pictures of a gallery that look most like yours",
        description="Find the pictures of a gallery that look most like yours, and whether yours are of their kind.",
        epilog=_SEARCH_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo with the gallery: {_MODEL_HELP}")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="the files to search with")
    parser.add_argument("--top-k", type=int, metavar="K", help=f"how many matches to show (default: {_TOP_K})")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line, for each picture")
    parser.set_defaults(run=_search)


def _add_info(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "info",
        help="show what a repo holds",
        description="Show the network, gallery and detector of a repo, and its files with their sizes and hashes.",
        epilog=_INFO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo: {_MODEL_HELP}")
    parser.set_defaults(run=_info)


def _build(options: argparse.Namespace) -> int:
    changes = options.add is not None or options.remove or options.remove_list is not None
    if options.pictures is None:
        if options.model is not None or options.sync:
            raise DataError("--model and --sync go with PICTURES: name the folder or zip of all pictures.")
        if not changes and options.image_root is None:
            raise DataError(
                "Name PICTURES to build a gallery of them, or --add, --remove, --remove-list or --image-root to "
                "change one. See visim build --help."
            )
        removed = [*options.remove, *(_listed_names(options.remove_list) if options.remove_list else [])]
        report = update(options.out, add=options.add, remove=removed, image_root=options.image_root)
    elif changes:
        raise DataError("PICTURES are all pictures of the gallery: leave --add, --remove and --remove-list out.")
    else:
        report = build(
            options.pictures,
            options.out,
            model=options.model or _own_model(Path(options.out)),
            image_root=options.image_root,
            remove_missing=options.sync,
        )
    _print_report(report, options.out)
    return 0


def _own_model(out: Path) -> Path:
    """Return the repo of the network where none is named: the output, if it has a gallery already."""
    if is_repo(out) and (out / EMBEDDINGS).is_file():
        return out
    raise DataError(f"Name the network that compares the pictures with --model: {_MODEL_HELP}.", key="--model")


def _listed_names(path: Path) -> list[str]:
    """Read the file of --remove-list."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({one_line(error)}).", path=path) from error
    return [name for line in lines if (name := line.strip()) and not name.startswith("#")]


def _print_report(report: BuildReport, out: str) -> None:
    changes = (
        (len(report.added), "added"),
        (len(report.changed), "embedded again"),
        (len(report.renamed), "renamed"),
        (len(report.removed), "removed"),
    )
    made = ", ".join(f"{count:,} {what}" for count, what in changes if count) or "nothing changed"
    print(f"{out}: {report.pictures:,} pictures ({made}), which are looked up under {report.image_root or 'no root'}")
    if report.can_reject:
        print(f"The detector is calibrated on {report.calibration_size:,} of this gallery's pictures.")
    else:
        print(f"{report.calibration_size:,} pictures are too few for a verdict: every query will pass as of this kind.")
    if report.differing:
        print(
            f"{_counted(len(report.differing), 'picture')} with other content now stayed as before "
            f"({listed(report.differing)}): remove them first to replace them."
        )
    if report.unknown:
        print(f"{_counted(len(report.unknown), 'name')} to remove not in the gallery: {listed(report.unknown)}")
    if report.skipped:
        print(f"{_counted(len(report.skipped), 'file')} left out, with the reasons in {Path(out) / SKIPPED}")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _search(options: argparse.Namespace) -> int:
    similarity = VisualSimilarity.from_pretrained(options.repo)
    top_k = min(_TOP_K, len(similarity.gallery)) if options.top_k is None else options.top_k
    results = similarity.search_batch(
        options.pictures, top_k=top_k, on_error="skip", progress=len(options.pictures) > 1
    )
    failed = False
    for path, result in zip(options.pictures, results, strict=True):
        if isinstance(result, VisimError):
            print(f"error: {' '.join(str(result).split())}", file=sys.stderr)
            failed = True
        elif options.json:
            print(json.dumps({"picture": path, **result.to_dict()}))
        else:
            print("\n".join(_result_lines(path, result, can_reject=similarity.ood.can_reject)))
    return 2 if failed else 0


def _result_lines(path: str, result: SimilarityResult, *, can_reject: bool) -> list[str]:
    verdict = (
        f"looks like this gallery's pictures (p = {result.ood.p_value:.3f})"
        if not result.ood.is_ood
        else f"does not look like this gallery's pictures (p = {result.ood.p_value:.3f})"
    )
    if not can_reject:
        verdict = "no verdict, for the gallery has too few pictures"
    return [
        f"{path}: {verdict}",
        *(
            f"  {match.percent:>4} %  {match.file_name}" + f"  ({match.label})" * bool(match.label)
            for match in result.matches
        ),
    ]


def _info(options: argparse.Namespace) -> int:
    repo = RepoFolder.find(options.repo)
    if not is_repo(repo.path):
        raise RepositoryError(f"{options.repo} is no visim repo: it has no config.json of visim.", path=repo.path)
    print("\n".join(info_lines(repo)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
