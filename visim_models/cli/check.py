"""`visim check`: try the verdict of a gallery on drawn pictures again."""

import argparse

from visim_models.cli.texts import REPO_HELP, Commands, add_backend, add_index_uri
from visim_models.galleries.calibration import check_verdict, summary
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
    tried = VisualSimilarity.from_pretrained(options.repo, backend=options.backend, index_uri=options.index_uri)
    found = check_verdict(tried.network, tried.processor, tried.gallery, tried.ood, progress=True)
    print(summary(found) if found else "The gallery has too few pictures for a verdict.")
    return 0
