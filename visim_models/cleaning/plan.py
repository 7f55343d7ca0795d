"""plan.csv: a row for each file that was found, with the reason, and what becomes of it: keep, look or remove."""

import codecs
import csv
import io
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias, cast, get_args

from visim_models.cleaning.apply import Applied, File, Removal, apply_removals
from visim_models.errors import DataError, ImageSourceError
from visim_models.galleries.sources import Skipped
from visim_models.repo_folder.formats import one_line
from visim_models.sources.file_names import check_file_name

__all__ = ["Action", "Plan", "PlanRow", "consistent"]

Action: TypeAlias = Literal["keep", "look", "remove"]
"""What becomes of a file. `look` is for a person to decide: until then the file is kept."""

_MOST_BYTES: Final = 2**30
_COLUMNS: Final = ("row", "action", "file", "find", "group", "score", "reason", "size", "bytes", "sha256", "root")
_NEEDED: Final = {"action", "file", "sha256", "root"}
_FORMULA: Final = ("=", "+", "-", "@")
"""A spreadsheet takes a cell that begins so for a formula: such a file name is written with "./" in front."""
_BYTE_ORDER_MARK: Final = "\ufeff"
_REMOVED_BY: Final = "; removed by "
_SHA256: Final = re.compile(r"[0-9a-f]{64}|")


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """A file of a find.

    Attributes:
        file_name: relative to the root, with forward slashes.
        root: the folder or zip that it is in.
        find: what found it, one of `clean_up.FINDS`.
        action: keep, look or remove.
        group: number of its group in this find; 0 where there are no groups.
        score: of the find; None where there is none.
        reason: why it was found, and why it is kept or removed.
        size: width x height in pixels; "" where it could not be decoded.
        bytes: size of the file; None where it is not known.
        sha256: of its content, in hexadecimal; "" where it is not known: such a file is not moved.
    """

    file_name: str
    root: str
    find: str
    action: Action
    group: int = 0
    score: float | None = None
    reason: str = ""
    size: str = ""
    bytes: int | None = None
    sha256: str = ""

    @property
    def file(self) -> File:
        """Return the file of the row."""
        return File(self.root, self.file_name, self.sha256, self.bytes or 0)

    @property
    def is_removed_elsewhere(self) -> bool:
        """Return whether another find than this row's removes the file."""
        return _REMOVED_BY in self.reason

    def removed_by(self, find: str) -> "PlanRow":
        """Return the row of a file that another find removes: no threshold of its own decides over it any more."""
        return replace(self, action="remove", score=None, reason=f"{self.reason}{_REMOVED_BY}{find}")


@dataclass(frozen=True)
class Plan:
    """What a clean-up would do.

    A file may have several rows, one for each find. It is removed where at least one says so and none says to keep it:
    the plan that visim writes never disagrees with itself, and after an edit by hand a disagreement keeps the file. A
    row that says `look` decides nothing.

    Attributes:
        rows: in the order of the finds.
    """

    rows: tuple[PlanRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a plan.csv, also one that a spreadsheet has saved: with semicolons or tabs, with columns left out.

        Raises:
            DataError: it cannot be read, lacks a column, or a row has another action than these three, or a file
                name that leads out of its root. Nothing of such a plan is applied.
        """
        try:
            text = _decoded(_content(Path(path)))
            head = text.split("\n", 1)[0]
            delimiter = max(",;\t", key=head.count)
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except (OSError, ValueError, csv.Error) as error:
            raise DataError(f"{path} cannot be read as CSV ({one_line(error)}).", path=path) from error
        names = [name.strip().lower() for name in rows[0]] if rows else []
        if missing := sorted(_NEEDED - set(names)):
            raise DataError(f"{path} lacks the column {missing[0]}: edit only the column action.", path=path)
        return cls(
            tuple(
                _row(dict(zip(names, row, strict=False)), f"{path}, row {number}")
                for number, row in enumerate(rows[1:], start=2)
                if any(row)
            )
        )

    def to_text(self) -> str:
        """Return the plan as CSV, with the mark by which Excel knows that it is UTF-8."""
        table = io.StringIO(newline="")
        table.write(_BYTE_ORDER_MARK)
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for number, row in enumerate(self.rows, start=1):
            writer.writerow([number, *(_cell(value) for value in _values(row))])
        return table.getvalue()

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as a new CSV.

        Raises:
            FileExistsError: there is such a file: it may have been edited by hand.
            OSError: it cannot be written.
        """
        with Path(path).open("x", encoding="utf-8", newline="") as file:
            file.write(self.to_text())

    @property
    def removed(self) -> list[PlanRow]:
        """Return one row for each file to remove, in the order of the plan."""
        return [row for row, actions in self._files() if actions - {"look"} == {"remove"}]

    @property
    def disputed(self) -> list[PlanRow]:
        """Return one row for each file that one row removes and another keeps: it stays."""
        return [row for row, actions in self._files() if actions >= {"keep", "remove"}]

    @property
    def groups_without_any(self) -> list[list[PlanRow]]:
        """Return the groups of which no file stays, though no other find removes one: visim writes no such plan."""
        groups: dict[tuple[str, int], list[PlanRow]] = defaultdict(list)
        removers: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in self.rows:
            removers[row.root, row.file_name].add(row.find if row.action == "remove" else row.action)
            if row.group:
                groups[row.find, row.group].append(row)
        return [
            rows
            for (find, _), rows in groups.items()
            if all(removers[row.root, row.file_name] == {find} for row in rows)
        ]

    def apply(
        self,
        *,
        quarantine: str | os.PathLike[str] | None = None,
        dry_run: bool = False,
        alone: bool = False,
        progress: bool = False,
    ) -> Applied:
        """Move the files to be removed into a quarantine folder; none is deleted or overwritten.

        Each move is written into a journal first, with which `Journal.undo` brings all of them back, also after this
        process was killed. Files that have changed, links, and files that cannot be moved stay, and are reported; the
        others are moved. Applied again, a plan goes on where it stopped.

        Args:
            quarantine: the folder for the files, outside the pictures; by default beside them, `<pictures>-quarantine`.
            dry_run: look at every file and report, but move none.
            alone: leave the files that belong to a picture, such as its .xmp, .MOV, .CR2 or .txt, where they are.
            progress: show a progress bar.

        Raises:
            OutputError: the quarantine is, holds or is in the pictures.
            RepositoryError: the journal cannot be written; the files of the moves that are not in it stay.

        Example:
            >>> applied = Plan.read("clean/plan.csv").apply(dry_run=True)
            >>> print(applied.moved, applied.failed)
        """
        applied = apply_removals(
            self._removals(), quarantine=quarantine, dry_run=dry_run, alone=alone, progress=progress
        )
        disputed = [Skipped(row.file_name, "one row keeps it and another removes it") for row in self.disputed]
        applied.failed[:0] = disputed
        return applied

    def _removals(self) -> list[Removal]:
        """Return the files to be removed, each with those of its group that are kept in its place."""
        kept: dict[tuple[str, int], list[PlanRow]] = defaultdict(list)
        removed = self.removed
        gone = {(row.root, row.file_name) for row in removed}
        for row in self.rows:
            if row.group and row.action != "remove" and (row.root, row.file_name) not in gone:
                kept[row.find, row.group].append(row)
        found = []
        for row in removed:
            rows = kept.get((row.find, row.group), [])
            best = [
                each for each in rows if each.score is None
            ] or rows  # a score is that of a file below the threshold
            found.append(Removal(row.file, tuple(each.file for each in best)))
        return found

    def _files(self) -> Iterable[tuple[PlanRow, set[str]]]:
        """Return the first row of each file, with the actions of all its rows."""
        found: dict[tuple[str, str], tuple[PlanRow, set[str]]] = {}
        for row in self.rows:
            found.setdefault((row.root, row.file_name), (row, set()))[1].add(row.action)
        return found.values()


def consistent(rows: Sequence[PlanRow]) -> Plan:
    """Return a plan in which a file that one find removes is removed in its other rows, too."""
    removed = {(row.root, row.file_name): row.find for row in rows if row.action == "remove"}
    found = []
    for row in rows:
        by = removed.get((row.root, row.file_name))
        found.append(row if row.action == "remove" or by is None else row.removed_by(by))
    return Plan(tuple(found))


def _content(path: Path) -> bytes:
    """Return the content of a regular file that is no larger than a plan can be; raises OSError otherwise."""
    if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size > _MOST_BYTES:
        raise OSError("it is no regular file, or far too large")
    return path.read_bytes()


def _decoded(content: bytes) -> str:
    """Return the text of a CSV as spreadsheets save it: UTF-8, UTF-16 with its mark, or else Windows' code page."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _values(row: PlanRow) -> tuple[object, ...]:
    score = None if row.score is None else f"{row.score:.4f}"
    name = f"./{row.file_name}" if row.file_name.startswith(_FORMULA) else row.file_name
    return (row.action, name, row.find, row.group or None, score, row.reason, row.size, row.bytes, row.sha256, row.root)


def _cell(value: object) -> object:
    """Return a value that a spreadsheet does not take for a formula; scores are numbers and may be negative."""
    text = "" if value is None else str(value)
    is_number = isinstance(value, str) and re.fullmatch(r"-?[0-9.]+", value)
    return f"'{text}" if text.startswith((*_FORMULA, "\t", "\r")) and not is_number else text


def _row(values: Mapping[str, str], where: str) -> PlanRow:
    action = values.get("action", "").strip().lower()
    if action not in get_args(Action):
        raise DataError(f"{where}: the action is {action!r}, but must be keep, look or remove. Nothing was applied.")
    name = values.get("file", "").removeprefix("./")
    sha256 = values.get("sha256", "").strip().lower()
    if not _SHA256.fullmatch(sha256):
        raise DataError(f"{where}: sha256 is {sha256[:80]!r}, which is no SHA-256. Nothing was applied.")
    if action == "remove":  # a row that only informs may name a file that no command can read
        try:
            check_file_name(name)
        except ImageSourceError as error:
            raise DataError(f"{where}: {error} Nothing was applied.") from error
    number, score = values.get("group", ""), values.get("score", "").replace(",", ".")
    size = values.get("bytes", "")
    return PlanRow(
        file_name=name,
        root=values.get("root", ""),
        find=values.get("find", ""),
        action=cast(Action, action),
        group=int(number) if number.isdecimal() else 0,
        score=float(score) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", score) else None,
        reason=values.get("reason", ""),
        size=values.get("size", ""),
        bytes=int(size) if size.isdecimal() else None,
        sha256=sha256,
    )
