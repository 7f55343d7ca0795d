"""`visim info`: show what a repo folder holds."""

import argparse

from visim_models.cli.repo_info import info_lines
from visim_models.cli.texts import REPO_HELP, Commands
from visim_models.errors import RepositoryError
from visim_models.repo_folder import RepoFolder, is_repo

__all__ = ["add_info"]

_EXAMPLES = """\
examples:
  visim info my-gallery
  visim info car-extractor"""


def add_info(commands: Commands) -> None:
    """Add the command `info`."""
    parser = commands.add_parser(
        "info",
        help="show what a repo holds",
        description="Show the network, gallery and detector of a repo, and its files with their sizes and hashes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repo", metavar="REPO", help=f"the repo: {REPO_HELP}")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    repo = RepoFolder.find(options.repo)
    if not is_repo(repo.path):
        raise RepositoryError(f"{options.repo} is no visim repo: it has no config.json of visim.", path=repo.path)
    print("\n".join(info_lines(repo)))
    return 0
