"""Write a network of a repo folder as ONNX, for ONNX Runtime and the browser: `python -m hub export --onnx REPO`."""

import argparse
import os
from pathlib import Path

from hub.locate import REPO_NAMES, local_folder
from visim_models.errors import MissingExtraError
from visim_models.models import load_model
from visim_models.models.onnx_export import export_onnx
from visim_models.repo_folder import RepoFolder, drafting
from visim_models.repo_folder.manifest import ONNX_MODEL, WEIGHTS

__all__ = ["add_arguments", "add_missing_onnx", "add_onnx", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub export`."""
    names = ", ".join(REPO_NAMES)
    parser.add_argument(
        "--onnx", nargs="+", required=True, metavar="REPO", help=f"write onnx/ into these folders; or of {names}"
    )


def run(options: argparse.Namespace) -> None:
    """Export the repos that the options name, and say what was written.

    Raises:
        VisimError: as `add_onnx` raises.
    """
    for name in options.onnx:
        for path in add_onnx(local_folder(name)):
            print(f"{path}: {path.stat().st_size:,} bytes")


def add_onnx(folder: str | os.PathLike[str]) -> list[Path]:
    """Write the ONNX files of a repo folder's network into it, in one step; return their paths.

    Raises:
        RepositoryError: the folder is no repo, or cannot be written.
        MissingExtraError: onnx or onnxscript is not installed.
        ConfigurationError: the network has an operation that ONNX has not.
        WeightsError: the weights are missing or damaged.
    """
    repo = RepoFolder(Path(folder))
    files = export_onnx(load_model(repo), weights_sha256=repo.sha256(WEIGHTS))
    with drafting(folder) as draft:
        for name, content in files.items():
            draft.path(name).write_bytes(content)
    return [repo / name for name in files]


def add_missing_onnx(folder: str | os.PathLike[str], *, dry_run: bool = False) -> None:
    """Write the ONNX files of a repo folder that has none, or say why not: it is whole without them.

    Args:
        folder: the repo folder.
        dry_run: only say that they would be written.

    Raises:
        VisimError: as `add_onnx` raises, but for a package that is missing.
    """
    if RepoFolder(Path(folder)).has(ONNX_MODEL):
        return
    if dry_run:
        print(f"note: {folder} has no {ONNX_MODEL} yet: it is written before the files are sent")
        return
    try:
        add_onnx(folder)
    except MissingExtraError as error:
        print(f"note: {folder} is published without ONNX files, so that using it takes torch. {error}")
