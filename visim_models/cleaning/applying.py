"""Carry a plan out: check every file, write each move into the journal, then move it."""

import hashlib
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tqdm import tqdm

from visim_models.cleaning.journal import JournalWriter, Move
from visim_models.cleaning.moving import checked_path, move_file
from visim_models.cleaning.plan import Plan, PlanRow
from visim_models.errors import DataError, ImageSourceError, RepositoryError, VisimError
from visim_models.galleries.sources import Skipped
from visim_models.repo_folder import check_apart
from visim_models.repo_folder.formats import file_sha256, one_line

__all__ = ["Applied", "apply_plan"]

_SUFFIX: Final = "-quarantine"


@dataclass
class Applied:
    """What applying a plan did, or in a dry run would do.

    Attributes:
        quarantine: the folder that the files go to; None where no file can be moved.
        journal: with which `Journal.undo` brings them back; None where nothing was moved.
        moved: file names that were moved, in a dry run those that would be.
        already: file names that an earlier call has moved.
        elsewhere: file names in zips and at addresses, which no command can move: only a gallery can forget them.
        failed: files that stay, with the reasons.
        bytes: size of the files of `moved`.
        is_dry_run: nothing was moved.
    """

    quarantine: Path | None = None
    journal: Path | None = None
    moved: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failed: list[Skipped] = field(default_factory=list)
    bytes: int = 0
    is_dry_run: bool = False

    @property
    def gone(self) -> list[str]:
        """Return the names that a gallery of these pictures shall forget."""
        return [*self.moved, *self.already, *self.elsewhere]


def apply_plan(plan: Plan, *, quarantine: str | os.PathLike[str] | None, dry_run: bool, progress: bool) -> Applied:
    """Move the files that a plan removes into a quarantine folder.

    Args:
        plan: the plan.
        quarantine: the folder; None for one beside the pictures.
        dry_run: move nothing.
        progress: show progress bars.

    Raises:
        OutputError: the quarantine is, holds or is in the pictures.
        RepositoryError: the journal cannot be written.
    """
    applied = Applied(is_dry_run=dry_run)
    applied.failed += [Skipped(row.file_name, "one row keeps it and another removes it") for row in plan.disputed]
    rows = []
    for row in plan.removed:
        if Path(row.root).is_dir():
            rows.append(row)
        elif "://" in row.root or Path(row.root).is_file():
            applied.elsewhere.append(row.file_name)
        else:
            applied.failed.append(Skipped(row.file_name, f"there is no folder {row.root!r}"))
    if not rows:
        return applied
    roots = {name: Path(name).resolve() for name in dict.fromkeys(row.root for row in rows)}
    first = next(iter(roots.values()))
    if quarantine is None and not first.name:
        raise DataError(f"The pictures are in {first}, which has no folder beside it: name a --quarantine.", path=first)
    folder = check_apart(quarantine or first.with_name(first.name + _SUFFIX), inputs=list(roots.values()))
    applied.quarantine = folder
    keys = _keys(roots)
    keepers = _Keepers(plan)
    moves: list[Move] = []
    made: list[Move] = []
    for row in tqdm(rows, desc="checking", unit="file", disable=not progress):
        try:
            move, is_made = _checked(row, roots[row.root], keys[row.root], folder)
            if not is_made:
                keepers.check(row)
        except (OSError, VisimError) as error:
            applied.failed.append(Skipped(row.file_name, one_line(error)))
        else:
            (made if is_made else moves).append(move)
    applied.already = [move.file_name for move in made]
    if dry_run:
        applied.moved = [move.file_name for move in moves]
        applied.bytes = sum(move.size for move in moves)
    elif moves:
        places = {keys[name]: path for name, path in roots.items()}
        _move_all(moves, made, places, folder, applied, progress=progress)
    return applied


class _Keepers:
    """The files that stay in place of others: while one of them is missing, the others stay, too.

    Args:
        plan: the plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._groups: dict[tuple[str, int], list[PlanRow]] = defaultdict(list)
        removed = {(row.root, row.file_name) for row in plan.removed}
        for row in plan.rows:
            if row.group and row.action == "keep" and (row.root, row.file_name) not in removed:
                self._groups[row.find, row.group].append(row)
        self._found: dict[tuple[str, str], bool] = {}

    def check(self, removed: PlanRow) -> None:
        """Check that a file in whose place this one is removed is there, and is another file.

        Raises:
            ImageSourceError: it is not.
        """
        rows = self._groups.get((removed.find, removed.group), [])
        best = [row for row in rows if row.score is None] or rows  # a score is that of a file below the threshold
        if best and not any(self._stays(row) and not _is_same_file(row, removed) for row in best):
            raise ImageSourceError(f"{best[0].file_name}, which stays in its place, is gone, changed, or the same file")

    def _stays(self, row: PlanRow) -> bool:
        """Return whether a file is as the plan saw it; one in a zip or at an address is not looked at."""
        key = (row.root, row.file_name)
        if key not in self._found:
            path = Path(row.root, row.file_name)
            is_here = Path(row.root).is_dir()
            self._found[key] = not is_here or (path.is_file() and row.sha256 in ("", file_sha256(path)))
        return self._found[key]


def _is_same_file(one: PlanRow, other: PlanRow) -> bool:
    first, second = Path(one.root, one.file_name), Path(other.root, other.file_name)
    return first.resolve() == second.resolve()


def _keys(roots: Mapping[str, Path]) -> dict[str, str]:
    """Return the folder in the quarantine of each root: the quarantine itself where there is one root."""
    if len(roots) == 1:
        return dict.fromkeys(roots, "")
    return {
        name: f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}".lstrip("-")
        for name, path in roots.items()
    }


def _checked(row: PlanRow, root: Path, key: str, folder: Path) -> tuple[Move, bool]:
    """Return the move of a row, and whether it was made before.

    Raises:
        ImageSourceError: the file must stay.
        OSError: it cannot be read.
    """
    path = checked_path(root, row.file_name)
    move = Move(row.file_name, key, row.sha256, row.bytes or 0)
    target = checked_path(folder, move.quarantined)
    if not row.sha256:
        raise ImageSourceError("the plan has no SHA-256 of it, so nobody knows whether it has changed")
    if not os.path.lexists(path):
        if target.is_file() and file_sha256(target) == row.sha256:
            return move, True
        raise ImageSourceError("there is no such file any more")
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ImageSourceError("it is no regular file")
    if file_sha256(path) != row.sha256:
        raise ImageSourceError("it has changed since the plan was made: make the plan again")
    if os.path.lexists(target):
        raise ImageSourceError(f"{target} exists already: move that away, or choose another --quarantine")
    if not os.access(path.parent, os.W_OK):
        raise ImageSourceError(f"the folder {path.parent} is read-only")
    return Move(row.file_name, key, row.sha256, path.stat().st_size), False


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
