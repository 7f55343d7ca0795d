"""What the commands share: the words for a repo, and the option that says where an engine is."""

import argparse
from typing import TypeAlias

__all__ = ["REPO_HELP", "Commands", "add_index_uri"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

REPO_HELP = "a folder, namespace/repo on the Hub, or a short name such as car-extractor"


def add_index_uri(parser: argparse.ArgumentParser) -> None:
    """Add the option `--index-uri`."""
    parser.add_argument(
        "--index-uri",
        metavar="URI",
        help="where the engine of a gallery in an engine is: http://HOST:PORT, or a local path that ends in .db "
        "[VISIM_INDEX_URI; its token: VISIM_INDEX_TOKEN]",
    )
