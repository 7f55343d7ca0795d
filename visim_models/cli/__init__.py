"""The command `visim`, a module for each of its commands; here is what they share."""

import argparse
import os
from typing import TypeAlias

from visim_models.galleries.sources import PictureSource
from visim_models.images.decode import MAX_PIXELS
from visim_models.models.loading import BACKENDS

__all__ = ["REPO_HELP", "Commands", "add_backend", "add_index_uri", "add_picture_choice", "chosen"]

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


def add_picture_choice(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose among the files of a source of pictures."""
    choice = parser.add_argument_group("which pictures")
    choice.add_argument(
        "--all",
        action="store_true",
        help="also take what programs keep beside pictures: hidden files, thumbnails, trash, visim's own quarantine",
    )
    choice.add_argument(
        "--exclude",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATTERN",
        help='leave out files and folders of such names or paths, as in --exclude raw "*.png" "2019/*"',
    )
    choice.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="NUMBER",
        help="largest width x height of a picture (default: %(default)s); a larger one is left out, with the reason",
    )


def chosen(pictures: str, options: argparse.Namespace) -> PictureSource:
    """Return a source of pictures with the choice that the options make."""
    return PictureSource(pictures, options.all, tuple(options.exclude), options.max_pixels)
