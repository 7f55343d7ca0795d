"""`visim search`: find the pictures of a gallery that look most like others."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from visim_models.cli import REPO_HELP, Commands, add_backend, add_index_uri
from visim_models.errors import QueryError, VisimError
from visim_models.pipeline import VisualSimilarity
from visim_models.search.results import Match, SimilarityResult

__all__ = ["add_search"]

_EXAMPLES = """\
examples:
  visim search my-gallery photo.jpg
  visim search car-extractor *.jpg --top-k 10 --json > results.jsonl"""


def add_search(commands: Commands) -> None:
    """Add the command `search`."""
    parser = commands.add_parser(
        "search",
        help="find the pictures of a gallery that look most like yours",
        description="Find the pictures of a gallery that look most like yours, and whether yours are of their kind.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo with the gallery: {REPO_HELP}")
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="the files to search with, or file names of the gallery's own"
    )
    parser.add_argument("--top-k", type=int, default=4, metavar="K", help="how many matches to show (default: 4)")
    parser.add_argument("--label", metavar="LABEL", help="find pictures with this label alone")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line, for each picture")
    add_backend(parser)
    add_index_uri(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    similarity = VisualSimilarity.from_pretrained(options.repo, backend=options.backend, index_uri=options.index_uri)
    results = similarity.search_batch(
        options.pictures, top_k=options.top_k, label=options.label, on_error="skip", progress=len(options.pictures) > 1
    )
    failed = False
    for path, result in zip(options.pictures, results, strict=True):
        own = _matches_of_its_own(similarity, path, options) if isinstance(result, VisimError) else []
        if own:
            found = [{**match.to_dict()} for match in own]
            print(json.dumps({"picture": path, "matches": found}) if options.json else _own_lines(path, own))
        elif isinstance(result, VisimError):
            print(f"error: {' '.join(str(result).split())}", file=sys.stderr)
            failed = True
        elif options.json:
            print(json.dumps({"picture": path, **result.to_dict()}))
        else:
            print("\n".join(_result_lines(path, result)))
    return 2 if failed else 0


def _matches_of_its_own(similarity: VisualSimilarity, name: str, options: argparse.Namespace) -> list[Match]:
    """Return the matches of a picture of the gallery, itself the first; none where no picture has this name."""
    if os.path.exists(name):
        return []
    try:
        embedding = similarity.gallery.embedding(name)
    except QueryError:
        return []
    return similarity.nearest(embedding, top_k=options.top_k, label=options.label)


def _own_lines(name: str, matches: Sequence[Match]) -> str:
    return "\n".join([f"{name}: a picture of the gallery", *map(_match_line, matches)])


def _match_line(match: Match) -> str:
    return f"  {match.percent:>4} %  {match.file_name}" + f"  ({match.label})" * bool(match.label)


def _result_lines(path: str, result: SimilarityResult) -> list[str]:
    return [
        f"{path}: {result.ood.word} (p = {result.ood.p_value:.3f})",
        *map(_match_line, result.matches),
    ]
