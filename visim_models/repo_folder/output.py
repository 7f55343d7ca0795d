"""Decide where a repo folder may be written: nowhere that a file of anybody else could be lost."""

import os
from collections.abc import Sequence
from pathlib import Path

from visim_models.errors import OutputError, VisimError
from visim_models.repo_folder.formats import one_line, read_json
from visim_models.repo_folder.manifest import CONFIG, MODEL_TYPE_NAMES

__all__ = ["check_apart", "check_output", "is_repo"]


def check_output(path: str | os.PathLike[str], *, inputs: Sequence[str | os.PathLike[str]] = ()) -> Path:
    """Refuse a folder as an output where files could be lost in it.

    Args:
        path: the folder: new, empty, or a repo already. A symbolic link is followed.
        inputs: folders and files that the output is made from.

    Returns:
        The folder, without symbolic links.

    Raises:
        OutputError: the folder is a file, holds files and is no repo, or is, holds or is in one of the inputs.
    """
    target = check_apart(path, inputs=inputs)
    if reason := _why_not_replaceable(target):
        raise OutputError(f"The output {path} {reason}.", path=target)
    try:
        is_empty = not target.exists() or not any(target.iterdir())
    except OSError as error:
        raise OutputError(f"The output {path} cannot be read ({one_line(error)}).", path=target) from error
    if not is_empty and not is_repo(target):
        raise OutputError(
            f"The output {path} holds files that visim did not write, and is no visim repo: nothing was changed. "
            "Choose a new or empty folder.",
            path=target,
        )
    return target


def _why_not_replaceable(target: Path) -> str:
    """Return why a new version of a folder cannot be put in its place in one step; "" if it can."""
    if not os.path.lexists(target):
        return ""
    if not target.is_dir():
        return "is a file: choose another name"
    if _is_around_here(target):
        return "is, or holds, the folder that this program runs in, and is replaced by a new one: run it from elsewhere"
    if os.path.ismount(target):
        return "is a mount point, which cannot be replaced in one step: choose a folder in it"
    if not os.access(target, os.W_OK):
        return "is read-only: allow writing, or choose another folder"
    return ""


def check_apart(path: str | os.PathLike[str], *, inputs: Sequence[str | os.PathLike[str]]) -> Path:
    """Refuse an output that is, holds or is in one of its inputs.

    Args:
        path: the output, which may not exist yet. A symbolic link is followed.
        inputs: folders and files that the output is made from.

    Returns:
        The output, without symbolic links.

    Raises:
        OutputError: the output and an input are not apart.
    """
    target = Path(path).resolve()
    for source in (Path(item).resolve() for item in inputs):
        relation = (
            "is" if _same(target, source)
            else "holds" if any(_same(target, parent) for parent in source.parents)
            else "is in" if any(_same(source, parent) for parent in target.parents)
            else ""
        )  # fmt: skip
        if relation:
            raise OutputError(
                f"The output {path} {relation} the input {source}: choose another folder, outside the input.",
                path=target,
            )
    return target


def is_repo(folder: Path) -> bool:
    """Return whether visim wrote a repo into a folder: whether it has a config.json of one of visim's models."""
    try:
        return read_json(folder / CONFIG).get("model_type") in MODEL_TYPE_NAMES
    except (VisimError, TypeError):
        return False


def _is_around_here(folder: Path) -> bool:
    try:
        here = Path.cwd()
    except OSError:  # it was deleted
        return False
    return folder == here or folder in here.parents


def _same(path: Path, other: Path) -> bool:
    try:
        return path == other or path.samefile(other)
    except OSError:
        return False
