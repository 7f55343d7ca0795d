"""Write a repo folder: additive, in one step, and only where no file of anybody else can be lost."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from visim_models.errors import GalleryMismatchError, OutputError, RepositoryError, VisimError
from visim_models.repo_folder.atomic import link_or_copy, replacing_files
from visim_models.repo_folder.card import is_marked, mark_card
from visim_models.repo_folder.formats import (
    file_sha256,
    one_line,
    read_header,
    read_json,
    read_text,
    write_json,
    write_tensors,
)
from visim_models.repo_folder.manifest import (
    CARD,
    CONFIG,
    EMBEDDINGS,
    MODEL_TYPE_NAMES,
    OF_THE_WEIGHTS,
    PROCESSOR,
    WEIGHTS,
    is_in_manifest,
    manifest_files,
)
from visim_models.repo_folder.reader import RepoFolder, content_sha256, snapshot_of

__all__ = ["RepoDraft", "Version", "check_apart", "check_output", "drafting", "is_repo", "version_of"]

Version = Mapping[str, tuple[int, int, int]]
"""File -> its inode, time of change and size."""

_MAX_CARD_BYTES: Final = 4 * 2**20


class RepoDraft:
    """The next version of a repo folder, made by `drafting`.

    Args:
        staged: the folder that the files are written into.
        target: the folder that they will be in, which may not exist yet.
    """

    def __init__(self, staged: Path, target: Path) -> None:
        self._staged, self._target = staged, target
        self._dropped: set[str] = set()

    def path(self, name: str) -> Path:
        """Return the path to write a file of the manifest to; its folder exists.

        Raises:
            ValueError: the file is not in the manifest.
        """
        if not is_in_manifest(name):
            raise ValueError(f"{name} is not in the manifest of a repo folder")
        path = self._staged / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file."""
        write_json(self.path(name), values)

    def write_tensors(
        self, name: str, tensors: Mapping[str, npt.NDArray[Any]], *, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write a safetensors file."""
        write_tensors(self.path(name), tensors, metadata=metadata)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file in UTF-8."""
        self.path(name).write_text(text, encoding="utf-8", newline="")

    def write_card(self, text: str) -> bool:
        """Write README.md, unless the repo has one that a person wrote or edited; return whether it was written."""
        if not _is_own_card(self._target / CARD):
            return False
        self.write_text(CARD, mark_card(text))
        return True

    def copy(self, name: str, source: RepoFolder) -> None:
        """Copy a file of another repo."""
        shutil.copyfile(source / name, self.path(name))

    def sha256(self, name: str) -> str:
        """Return the hash of a file that the draft or, where the draft has none, the old repo has; "" for none.

        It is that of `RepoFolder.sha256`.
        """
        for folder in (self._staged, self._target):
            if (folder / name).is_file():
                return content_sha256(folder / name)
        return ""

    def old(self, name: str) -> Path | None:
        """Return the path of a file of the old repo, or None where it has none."""
        return self._target / name if (self._target / name).is_file() else None

    def drop(self, *names: str) -> None:
        """Leave files of the old repo out of the new one."""
        self._dropped.update(names)

    def finish(self) -> None:
        """Take over the files of the old repo that stay, and check that they fit the new ones.

        Raises:
            GalleryMismatchError: the gallery that would stay is of other weights or of another processor.
        """
        if self._weights_change():
            self._dropped.update(OF_THE_WEIGHTS)
            if _is_own_card(self._target / CARD):
                self._dropped.add(CARD)
        for name in manifest_files(self._target):
            if name not in self._dropped and not (self._staged / name).exists():
                link_or_copy(self._target / name, self._staged / name)
        _check_gallery(self._staged, self._target)

    def _weights_change(self) -> bool:
        new, old = self._staged / WEIGHTS, self._target / WEIGHTS
        return new.is_file() and old.is_file() and file_sha256(new) != file_sha256(old)


def version_of(folder: str | os.PathLike[str]) -> Version:
    """Return what changes whenever a repo folder is written, by anyone."""
    stats = ((name, Path(folder, name)) for name in manifest_files(Path(folder)))
    return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, path in stats for stat in (path.lstat(),)}


@contextmanager
def drafting(
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[str | os.PathLike[str]] = (),
    version: Version | None = None,
) -> Iterator[RepoDraft]:
    """Write files of a repo folder: all of them in one step when the block ends well, none otherwise.

    Files of an old repo that are not written stay, except those that describe other weights than the new ones.

    Args:
        path: the folder: new, empty, or a repo already. A symbolic link is followed.
        inputs: folders and files that the new repo is made from.
        version: of the repo that the new one is made from (`version_of`); None where that does not matter.

    Raises:
        OutputError: the folder holds files and is no repo, or is, holds or is in one of the inputs.
        GalleryMismatchError: the gallery that would stay is of other weights or of another processor.
        RepositoryError: the folder cannot be written, or another program has changed it since `version`.
    """
    target = check_output(path, inputs=inputs)
    with replacing_files(target, owned=is_in_manifest) as staged:
        draft = RepoDraft(staged, target)
        yield draft
        if version is not None and version_of(target) != version:
            raise RepositoryError(
                f"Another program has changed {target} in the meantime: nothing was written. Run the same again.",
                path=target,
            )
        draft.finish()


def check_output(path: str | os.PathLike[str], *, inputs: Sequence[str | os.PathLike[str]] = ()) -> Path:
    """Refuse a folder as an output where files could be lost in it.

    Args:
        path: the folder: new, empty, or a repo already. A symbolic link is followed.
        inputs: folders and files that the output is made from.

    Returns:
        The folder, without symbolic links.

    Raises:
        OutputError: the folder is a file, holds files and is no repo, is in the Hub's cache, or is, holds or is in one
            of the inputs.
    """
    target = check_apart(path, inputs=inputs)
    if snapshot_of(target) or snapshot_of(Path(os.path.abspath(path))):
        raise OutputError(
            f"The output {path} is in the Hub's cache, where it would change that repo for every program: choose "
            "another folder.",
            path=target,
        )
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


def _is_own_card(path: Path) -> bool:
    """Whether a card may be replaced: there is none, or visim wrote it and nobody has edited it since."""
    try:
        return is_marked(read_text(path, most=_MAX_CARD_BYTES))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def _check_gallery(staged: Path, target: Path) -> None:
    """Refuse a repo whose gallery was embedded by other weights, or through another processor, than it holds."""
    if not (staged / EMBEDDINGS).is_file():
        return
    header = read_header(staged / EMBEDDINGS)
    for key, name in (("weights_sha256", WEIGHTS), ("processor_sha256", PROCESSOR)):
        stated = header.get(key)
        if stated and (staged / name).is_file() and stated != content_sha256(staged / name):
            raise GalleryMismatchError(
                f"{target} has a gallery that was embedded by another {name}: nothing was written. Save the whole "
                "VisualSimilarity, or save into another folder.",
                path=target,
                key=key,
            )
