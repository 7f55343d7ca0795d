"""The command `visim`, a module for each of its commands; here is what they share."""

import argparse
import os
from typing import TypeAlias

from visim_models.models.network import BACKENDS

__all__ = ["REPO_HELP", "Commands", "add_backend", "add_index_uri"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

REPO_HELP = "a folder, namespace/repo on the Hub, or a short name such as car-extractor"


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add the option `--backend`."""
    parser.add_argument(
        "--backend",
        default=os.environ.get("VISIM_BACKEND", BACKENDS[0]),
        choices=BACKENDS,
        help="what computes the network: onnx (ONNX Runtime) needs no torch [VISIM_BACKEND; %(default)s]",
    )


def add_index_uri(parser: argparse.ArgumentParser) -> None:
    """Add the option `--index-uri`."""
    parser.add_argument(
        "--index-uri",
        metavar="URI",
        help="where the engine of a gallery in an engine is: http://HOST:PORT, or a local path that ends in .db "
        "[VISIM_INDEX_URI; its token: VISIM_INDEX_TOKEN]",
    )
