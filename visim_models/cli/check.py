"""`visim check`: try the verdict of a gallery on drawn pictures again."""

import argparse

from visim_models.cli.texts import REPO_HELP, Commands, add_backend, add_index_uri
from visim_models.galleries.verdict_check import check_verdict, summary
from visim_models.pipeline import VisualSimilarity

__all__ = ["add_check"]


_EXAMPLES = """\
examples:
  visim check my-gallery"""


def add_check(commands: Commands) -> None:
    """Add the command `check`."""
    parser = commands.add_parser(
        "check",
        help="try the verdict of a gallery on drawn pictures",
        description="Try the verdict of a gallery on drawn pictures, which surely are of another kind: some seconds.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo with the gallery: {REPO_HELP}")
    add_backend(parser)
    add_index_uri(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    similarity = VisualSimilarity.from_pretrained(options.repo, backend=options.backend, index_uri=options.index_uri)
    figures = check_verdict(similarity, progress=True)
    print(summary(figures) if figures else "The gallery has too few pictures for a verdict.")
    return 0
