"""Move files into a quarantine: check each and the one kept in its place, write the move into the journal, move it."""

import hashlib
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from tqdm import tqdm

from visim_models.cleaning.journal import JournalWriter, Move, checked_path, move_file
from visim_models.errors import DataError, ImageSourceError, RepositoryError, VisimError
from visim_models.galleries.sources import Skipped
from visim_models.repo_folder import check_apart
from visim_models.repo_folder.formats import file_sha256, one_line
from visim_models.sources.file_names import is_picture_name

__all__ = ["Applied", "File", "Removal", "apply_removals"]

_SUFFIX: Final = "-quarantine"
_RAW: Final = frozenset(
    f".{kind}"
    for kind in "cr2 cr3 crw nef nrw arw srf sr2 dng orf rw2 raf pef srw 3fr x3f raw".split()  # noqa: SIM905
)
"""Suffixes of raw files: of the same stem as a JPEG, they are the same photograph."""


@dataclass
class Applied:
    """What applying a plan did, or in a dry run would do.

    Attributes:
        quarantine: the folder that the files go to; None where no file can be moved.
        journal: with which `Journal.undo` brings them back; None where nothing was moved.
        moved: file names that were moved, in a dry run those that would be.
        beside: file names that go with these, for they belong to them: sidecars, films, raw files, labels.
        already: file names that an earlier call has moved.
        elsewhere: file names in zips and at addresses, which no command can move: only a gallery can forget them.
        failed: files that stay, with the reasons.
        bytes: size of the files of `moved`.
        is_dry_run: nothing was moved.
    """

    quarantine: Path | None = None
    journal: Path | None = None
    moved: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: list[Skipped] = field(default_factory=list)
    bytes: int = 0
    is_dry_run: bool = False

    @property
    def gone(self) -> list[str]:
        """Return the names that a gallery of these pictures shall forget."""
        return [*self.moved, *self.already, *self.elsewhere]


@dataclass(frozen=True)
class File:
    """A file as a plan saw it.

    Attributes:
        root: the folder, zip or address that it is in.
        file_name: relative to the root.
        sha256: of its content, in hexadecimal; "" where it is not known.
        size: in bytes; 0 where it is not known.
    """

    root: str
    file_name: str
    sha256: str
    size: int = 0

    @property
    def path(self) -> Path:
        """Return the path of a file in a folder."""
        return Path(self.root, self.file_name)


@dataclass(frozen=True)
class Removal:
    """A file to move away, and the files that are kept in its place: one of them must be there."""

    file: File
    kept: tuple[File, ...] = ()


def apply_removals(
    removals: Sequence[Removal],
    *,
    quarantine: str | os.PathLike[str] | None,
    dry_run: bool,
    alone: bool = False,
    progress: bool = False,
) -> Applied:
    """Move files into a quarantine folder.

    Args:
        removals: what to move.
        quarantine: the folder; None for one beside the pictures.
        dry_run: move nothing.
        alone: leave the files that belong to a picture where they are.
        progress: show progress bars.

    Raises:
        OutputError: the quarantine is, holds or is in the pictures.
        RepositoryError: the journal cannot be written.
    """
    applied = Applied(is_dry_run=dry_run)
    rows = []
    for removal in removals:
        file = removal.file
        if Path(file.root).is_dir():
            rows.append(removal)
        elif "://" in file.root or Path(file.root).is_file():
            applied.elsewhere.append(file.file_name)
        else:
            applied.failed.append(Skipped(file.file_name, f"there is no folder {file.root!r}"))
    if not rows:
        return applied
    roots = {name: Path(name).resolve() for name in dict.fromkeys(row.file.root for row in rows)}
    first = next(iter(roots.values()))
    if quarantine is None and not first.name:
        raise DataError(f"The pictures are in {first}, which has no folder beside it: name a --quarantine.", path=first)
    folder = check_apart(quarantine or first.with_name(first.name + _SUFFIX), inputs=list(roots.values()))
    applied.quarantine = folder
    keys = _keys(roots)
    kept = _Kept()
    moves: list[Move] = []
    made: list[Move] = []
    for row in tqdm(rows, desc="checking", unit="file", disable=not progress):
        try:
            move, is_made = _checked(row.file, roots[row.file.root], keys[row.file.root], folder)
            if not is_made:
                kept.check(row)
        except (OSError, VisimError) as error:
            applied.failed.append(Skipped(row.file.file_name, one_line(error)))
        else:
            (made if is_made else moves).append(move)
    applied.already = [move.file_name for move in made]
    if not alone:
        _add_companions(moves, made, {keys[name]: path for name, path in roots.items()}, folder, applied)
    if dry_run:
        applied.moved = [move.file_name for move in moves if move.file_name not in applied.beside]
        applied.bytes = sum(move.size for move in moves)
    elif moves:
        places = {keys[name]: path for name, path in roots.items()}
        _move_all(moves, made, places, folder, applied, progress=progress)
    return applied


class _Kept:
    """The files that are kept in place of others: while one of them is missing, the others are kept, too."""

    def __init__(self) -> None:
        self._found: dict[File, bool] = {}

    def check(self, removal: Removal) -> None:
        """Check that a file in whose place one is removed is there, and is another file.

        Raises:
            ImageSourceError: it is not.
        """
        path = removal.file.path.resolve()
        if removal.kept and not any(self._is_there(file) and file.path.resolve() != path for file in removal.kept):
            raise ImageSourceError(
                f"{removal.kept[0].file_name}, which is kept in its place, is gone, changed, or the same file"
            )

    def _is_there(self, file: File) -> bool:
        """Return whether a file is as the plan saw it; one in a zip or at an address is not looked at."""
        if file not in self._found:
            is_here = Path(file.root).is_dir()
            self._found[file] = not is_here or (file.path.is_file() and file.sha256 in ("", file_sha256(file.path)))
        return self._found[file]


def _keys(roots: Mapping[str, Path]) -> dict[str, str]:
    """Return the folder in the quarantine of each root: the quarantine itself where there is one root."""
    if len(roots) == 1:
        return dict.fromkeys(roots, "")
    return {
        name: f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}".lstrip("-")
        for name, path in roots.items()
    }


def _checked(file: File, root: Path, key: str, folder: Path) -> tuple[Move, bool]:
    """Return the move of a file, and whether it was made before.

    Raises:
        ImageSourceError: the file must stay.
        OSError: it cannot be read.
    """
    path = checked_path(root, file.file_name)
    move = Move(file.file_name, key, file.sha256, file.size)
    target = checked_path(folder, move.quarantined)
    if not file.sha256:
        raise ImageSourceError("the plan has no SHA-256 of it, so nobody knows whether it has changed")
    if not os.path.lexists(path):
        if target.is_file() and file_sha256(target) == file.sha256:
            return move, True
        raise ImageSourceError("there is no such file any more")
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ImageSourceError("it is no regular file")
    if file_sha256(path) != file.sha256:
        raise ImageSourceError("it has changed since the plan was made: make the plan again")
    if os.path.lexists(target):
        raise ImageSourceError(f"{target} exists already: move that away, or choose another --quarantine")
    if not os.access(path.parent, os.W_OK):
        raise ImageSourceError(f"the folder {path.parent} is read-only")
    return Move(file.file_name, key, file.sha256, path.stat().st_size), False


def _add_companions(
    moves: list[Move], made: list[Move], roots: Mapping[str, Path], folder: Path, applied: Applied
) -> None:
    """Add the files that belong to pictures that go: of the same stem, and no picture themselves.

    They stay where another picture of the stem stays, for they may belong to that one.
    """
    going: dict[tuple[str, Path], set[str]] = defaultdict(set)
    for move in (*moves, *made):
        path = Path(move.file_name)
        going[move.root, path.parent].add(path.name)
    for (root, parent), names in sorted(going.items()):
        for place in (roots[root] / parent, folder / root / parent):
            for name in _companions(place, names):
                try:
                    move, is_made = _companion(
                        File("", str(PurePosixPath(parent, name)), ""), roots[root], root, folder
                    )
                except (OSError, VisimError) as error:
                    applied.failed.append(Skipped(name, one_line(error)))
                    continue
                if move.file_name not in applied.beside:
                    applied.beside.append(move.file_name)
                    (made if is_made else moves).append(move)


def _companions(folder: Path, names: set[str]) -> list[str]:
    """Return the files of a folder that belong to pictures of these names, and to no other picture."""
    try:
        files = sorted(entry.name for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False))
    except OSError:
        return []
    stems = {PurePosixPath(name).stem.lower() for name in names} | {name.lower() for name in names}
    staying = [name for name in files if is_picture_name(name) and name not in names and not _is_raw(name)]
    kept = {PurePosixPath(name).stem.lower() for name in staying} | {name.lower() for name in staying}
    return [
        name for name in files
        if PurePosixPath(name).suffix and PurePosixPath(name).stem.lower() in stems - kept and name not in names
        and (not is_picture_name(name) or _is_raw(name))
    ]  # fmt: skip


def _is_raw(file_name: str) -> bool:
    return PurePosixPath(file_name).suffix.lower() in _RAW


def _companion(file: File, root: Path, key: str, folder: Path) -> tuple[Move, bool]:
    """Return the move of a file that no plan names, and whether it was made before."""
    path = checked_path(root, file.file_name)
    target = checked_path(folder, Move(file.file_name, key, "", 0).quarantined)
    source = path if os.path.lexists(path) else target
    return _checked(replace(file, sha256=file_sha256(source), size=source.stat().st_size), root, key, folder)


def _move_all(
    moves: Sequence[Move],
    made: Sequence[Move],
    roots: Mapping[str, Path],
    folder: Path,
    applied: Applied,
    *,
    progress: bool,
) -> None:
    """Write the journal and make its moves, block by block.

    It names the moves that were made before, too: the last journal of a plan undoes all of it.
    """
    try:
        journal = JournalWriter(_journal_path(folder), roots)
    except OSError as error:
        raise RepositoryError(
            f"{folder} cannot be written ({one_line(error)}): nothing was moved. Name another --quarantine.",
            path=folder,
        ) from error
    applied.journal = journal.path
    beside = set(applied.beside)
    try:
        for _ in _written(journal, made):
            pass
        for move in tqdm(_written(journal, moves), total=len(moves), desc="moving", unit="file", disable=not progress):
            try:
                path = checked_path(roots[move.root], move.file_name)
                move_file(path, checked_path(folder, move.quarantined), sha256=move.sha256)
            except (OSError, VisimError) as error:
                applied.failed.append(Skipped(move.file_name, one_line(error)))
            else:
                if move.file_name not in beside:
                    applied.moved.append(move.file_name)
                applied.bytes += move.size
    finally:
        journal.close()


def _written(journal: JournalWriter, moves: Sequence[Move]) -> Iterator[Move]:
    """Yield moves that are in the journal."""
    try:
        for block in journal.blocks(moves):
            yield from block
    except OSError as error:
        raise RepositoryError(
            f"{journal.path} cannot be written ({one_line(error)}): the moves that it names were made, the others not. "
            "Make room, then give the same command again.",
            path=journal.path,
        ) from error


def _journal_path(folder: Path) -> Path:
    """Return the path of a new journal: named after the time, and after how many there are of that second."""
    stem = time.strftime("journal-%Y%m%d-%H%M%S")
    return next(
        path for number in range(1, 10_000)
        if not os.path.lexists(path := folder / f"{stem}{f'-{number}' if number > 1 else ''}.jsonl")
    )  # fmt: skip
