"""The journal of a clean-up: every move is written down, and on disk, before it is made. Undoing needs nothing else.

    {"visim_journal": 1, "roots": {"": "PATH OF THE PICTURES"}}
    {"move": "cars/x.jpg", "root": "", "sha256": "...", "bytes": 12345}

It is in the quarantine folder. A move brings ROOT/cars/x.jpg to QUARANTINE/[key of the root/]cars/x.jpg. A process that
was killed leaves entries of moves that were not made, and perhaps half of a last line: `undo` takes both as they are.
"""

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tqdm import tqdm

from visim_models.errors import DataError, ImageSourceError, VisimError
from visim_models.galleries.sources import Skipped
from visim_models.repo_folder.formats import file_sha256, one_line, read_text
from visim_models.sources.file_names import check_file_name

__all__ = [
    "Journal",
    "JournalWriter",
    "Move",
    "Undone",
    "checked_path",
    "move_file",
    "partial_copy",
    "rename_without_replacing",
    "sync_folder",
]

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_PARTIAL: Final = ".visim-partial"
"""Ends the name of a copy that is not whole yet."""
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def checked_path(root: Path, file_name: str) -> Path:
    """Return the path of a file under a root.

    Args:
        root: a folder without symbolic links in its path.
        file_name: a relative path with forward slashes.

    Raises:
        ImageSourceError: the name leads out of the root, or a part of it is a symbolic link.
    """
    check_file_name(file_name)
    path = root
    for part in file_name.split("/"):
        path = path / part
        if path.is_symlink():
            raise ImageSourceError(f"{path} is a symbolic link: it stays as it is.", path=path)
    return path


def move_file(source: Path, target: Path, *, sha256: str) -> None:
    """Move a file to a path where nothing is yet; its content, rights and time of change stay.

    A process killed at any moment leaves the whole file at one of the two paths, or at both.

    Args:
        source: a regular file.
        target: where it goes; its folder is made where there is none.
        sha256: of its content, with which a copy to another file system is compared.

    Raises:
        FileExistsError: there is something at `target`.
        OSError: it cannot be moved; it is then still at `source`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        rename_without_replacing(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_then_remove(source, target, sha256)


def partial_copy(target: Path, sha256: str) -> Path:
    """Return where a copy to `target` is while it is not whole."""
    return target.with_name(f".{sha256[:32]}{_PARTIAL}")


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rename_without_replacing(source: Path, target: Path) -> None:
    """Rename a file; raise FileExistsError where there is something at `target`, and OSError where it cannot be."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        if not library.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):  # which file systems say that do not know the flag
            raise OSError(number, os.strerror(number), str(source), None, str(target))
    try:
        os.link(source, target, follow_symlinks=False)  # fails where there is something
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        os.rename(source, target)
    else:
        os.unlink(source)


def _copy_then_remove(source: Path, target: Path, sha256: str) -> None:
    """Copy a file to another file system, and remove it once the copy is on disk and compared."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    partial = partial_copy(target, sha256)
    try:
        shutil.copy2(source, partial, follow_symlinks=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if file_sha256(partial) != sha256:
            raise OSError(errno.EIO, f"the copy differs from the file ({one_line(OSError(str(source)))})")
        rename_without_replacing(partial, target)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    os.unlink(source)


_VERSION: Final = 1
_MOST_BYTES: Final = 2**31
_NEW: Final = ".new"
"""Ends the name of a journal that has no line yet."""
_AT_ONCE: Final = 64
"""Moves that are written down together, before the first of them is made."""


@dataclass(frozen=True)
class Move:
    """A file that goes from a root into the quarantine.

    Attributes:
        file_name: relative to the root, with forward slashes.
        root: key of the root; also the folder in the quarantine, "" for the quarantine itself.
        sha256: of the content, in hexadecimal.
        size: of the file, in bytes.
    """

    file_name: str
    root: str
    sha256: str
    size: int

    @property
    def quarantined(self) -> str:
        """Return the path in the quarantine."""
        return f"{self.root}/{self.file_name}" if self.root else self.file_name

    def to_dict(self) -> dict[str, Any]:
        """Return the line of the journal."""
        return {"move": self.file_name, "root": self.root, "sha256": self.sha256, "bytes": self.size}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], roots: Mapping[str, Path]) -> Self:
        """Build the move from a line of a journal.

        Raises:
            ValueError: it is no such line.
        """
        move = cls(values["move"], values["root"], values["sha256"], values["bytes"])
        if not all(isinstance(text, str) for text in (move.file_name, move.root, move.sha256)):
            raise ValueError("a value that is no text")
        if move.root not in roots or type(move.size) is not int:
            raise ValueError("an unknown root, or a size that is no number")
        return move


@dataclass
class Undone:
    """What `Journal.undo` did.

    Attributes:
        restored: paths that are back.
        already: how many files were where they came from.
        failed: files that could not be brought back, with the reasons; they are where they were.
    """

    restored: list[Path] = field(default_factory=list)
    already: int = 0
    failed: list[Skipped] = field(default_factory=list)


class Journal:
    """A journal that `Plan.apply` wrote.

    Args:
        path: the file, in the quarantine folder.

    Raises:
        DataError: it cannot be read, or is no journal.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self.damaged: list[int] = []
        try:
            *lines, self._torn = read_text(self.path, most=_MOST_BYTES).split("\n")
            head = json.loads(lines[0])
            if head["visim_journal"] != _VERSION:
                raise ValueError(f"version {head['visim_journal']!r}")
            self.roots = {str(key): Path(root) for key, root in head["roots"].items()}
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is no journal of visim clean ({one_line(error)}): name the .jsonl file in the quarantine.",
                path=path,
            ) from error
        self.moves = list(self._parsed(lines[1:]))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a journal: the same as `Journal(path)`."""
        return cls(path)

    def _parsed(self, lines: Sequence[str]) -> Iterator[Move]:
        for number, line in enumerate(lines, start=2):
            try:
                yield Move.from_dict(json.loads(line), self.roots)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.damaged.append(number)

    def undo(self, *, progress: bool = False) -> Undone:
        """Bring every file back to where it was, byte for byte. What was not moved, or is back, is left alone.

        Nothing is overwritten: where another file has taken the name, or the one in the quarantine has changed, both
        stay as they are and are reported. It may be killed and called again.

        Args:
            progress: show a progress bar.
        """
        done = Undone(failed=[Skipped(f"line {number}", "the line is damaged") for number in self.damaged])
        for move in tqdm(reversed(self.moves), total=len(self.moves), desc="undoing", disable=not progress):
            try:
                path = self._restore(move)
            except (OSError, VisimError) as error:
                done.failed.append(Skipped(move.file_name, one_line(error)))
            else:
                if path is None:
                    done.already += 1
                else:
                    done.restored.append(path)
        self._remove_partial_copies()
        self._remove_empty_folders()
        if self._torn and (left := self._left_files()):
            done.failed.append(
                Skipped(
                    "the last line", f"it is cut off, and {left:,} files are in {self.path.parent}: see whose they are"
                )
            )
        return done

    def _restore(self, move: Move) -> Path | None:
        """Bring a file back; None where it is there already."""
        root = self.roots[move.root].resolve()
        if not root.is_dir():
            raise OSError(f"{root} is not there: bring the folder back first")
        source, target = checked_path(self.path.parent, move.quarantined), checked_path(root, move.file_name)
        if not source.exists():
            if target.exists():
                return None
            raise OSError(f"it is neither in {self.path.parent} nor in {root}")
        if file_sha256(source) != move.sha256:
            raise OSError(f"{source} has changed since it was moved: move it by hand")
        if target.exists():
            if not target.is_file() or file_sha256(target) != move.sha256:
                raise OSError(f"{target} has other content now: move {source} by hand")
            os.unlink(source)  # the move was cut off between copy and removal: both are the same file
            return None
        move_file(source, target, sha256=move.sha256)
        return target

    def _remove_partial_copies(self) -> None:
        """Remove copies that a killed process has not finished, of files that are where they were."""
        for move in self.moves:
            partial = partial_copy(self.path.parent / move.quarantined, move.sha256)
            if partial.is_file() and (self.roots[move.root] / move.file_name).is_file():
                partial.unlink()

    def _left_files(self) -> int:
        """Count the files of the quarantine but for journals, and those that never got their first line."""
        own = (self.path.suffix, _NEW)
        return sum(path.is_file() and path.suffix not in own for path in self.path.parent.rglob("*"))

    def _remove_empty_folders(self) -> None:
        """Remove folders of the quarantine that are empty now; a folder that holds anything stays."""
        folders = {parent for move in self.moves for parent in Path(move.quarantined).parents} - {Path()}
        for folder in sorted(folders, key=lambda item: -len(item.parts)):
            path = self.path.parent / folder
            if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()


class JournalWriter:
    """Writes a journal into a quarantine folder.

    Args:
        path: the file, which must not exist; its folder is made where there is none.
        roots: key -> folder that files come from.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, roots: Mapping[str, Path]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}{_NEW}")  # the journal has its first line as soon as it has its name
        self._file = new.open("w", encoding="utf-8", newline="")
        try:
            self._write([{"visim_journal": _VERSION, "roots": {key: str(root) for key, root in roots.items()}}])
            rename_without_replacing(new, path)
        except OSError:
            self._file.close()
            new.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

    def blocks(self, moves: Sequence[Move]) -> Iterator[Sequence[Move]]:
        """Write moves down, some at a time, and yield them once they are on disk.

        Raises:
            OSError: the journal cannot be written; the moves of that block must not be made.
        """
        for start in range(0, len(moves), _AT_ONCE):
            block = moves[start : start + _AT_ONCE]
            self._write(move.to_dict() for move in block)
            yield block

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._file.writelines(json.dumps(line) + "\n" for line in lines)
        self._file.flush()
        os.fsync(self._file.fileno())
