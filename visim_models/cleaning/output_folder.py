"""The folder of a clean-up: plan.csv, report.html, decisions.csv, and what was seen of the pictures."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TextIO, TypeAlias, cast, get_args

from visim_models.cleaning.plan import Plan, PlanRow
from visim_models.errors import DataError, OutputError, RepositoryError, VisimError
from visim_models.repo_folder import check_apart
from visim_models.repo_folder.formats import file_sha256, one_line, read_json, read_text, write_json

__all__ = ["CleanFolder", "Decision", "Decisions", "Said", "decisions_in", "is_clean_folder", "take_decisions"]

Said: TypeAlias = Literal["same", "different", "keep both"]
"""Two pictures show the same; they do not; or they do, and both are kept."""

_COLUMNS: Final = ("decision", "first", "second", "first_sha256", "second_sha256")
_MOST_BYTES: Final = 2**28


@dataclass(frozen=True)
class Decision:
    """What was said of a pair.

    Attributes:
        said: the decision.
        first_sha256: of the one picture's file, in hexadecimal.
        second_sha256: of the other's.
        first: name of the one file when it was said.
        second: name of the other.
    """

    said: Said
    first_sha256: str
    second_sha256: str
    first: str = ""
    second: str = ""

    @property
    def key(self) -> frozenset[str]:
        """Return the pair, in no order."""
        return frozenset((self.first_sha256, self.second_sha256))


class Decisions:
    """The decisions of a clean-up's folder.

    Args:
        path: decisions.csv; it need not exist.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._by_pair = {decision.key: decision for decision in self._read()}

    def __len__(self) -> int:
        return len(self._by_pair)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._by_pair.values())

    def _read(self) -> Iterator[Decision]:
        if not self.path.exists():
            return
        try:
            text = read_text(self.path, most=_MOST_BYTES).removeprefix("\ufeff")
            for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
                if row["decision"] not in get_args(Said):
                    raise ValueError(f"row {number}: the decision is {row['decision']!r}")
                said = cast(Said, row["decision"])
                yield Decision(said, row["first_sha256"], row["second_sha256"], row["first"], row["second"])
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise DataError(
                f"{self.path} cannot be read ({one_line(error)}): its columns are {', '.join(_COLUMNS)}, and "
                f"a decision is {', '.join(get_args(Said))}.",
                path=self.path,
            ) from error

    def said_of(self, first_sha256: str, second_sha256: str) -> Said | None:
        """Return what was said of two pictures, None where nothing was."""
        found = self._by_pair.get(frozenset((first_sha256, second_sha256)))
        return found.said if found else None

    def add(self, decisions: Iterable[Decision]) -> int:
        """Take decisions down, those of known pairs in place of the older ones, and write the file in one step.

        Returns:
            How many are new or others than before.

        Raises:
            OSError: the file cannot be written.
        """
        fresh = [each for each in decisions if self.said_of(each.first_sha256, each.second_sha256) != each.said]
        if not fresh:
            return 0
        self._by_pair |= {decision.key: decision for decision in fresh}
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([each.said, each.first, each.second, each.first_sha256, each.second_sha256] for each in self)
        staged = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            staged.write_text("\ufeff" + table.getvalue(), encoding="utf-8", newline="")
            os.replace(staged, self.path)
        finally:
            staged.unlink(missing_ok=True)
        return len(fresh)


def decisions_in(edited: Plan, made: Plan) -> Iterator[Decision]:
    """Yield what the edits of a plan say of its groups of duplicates.

    A file that is kept now, and was to be removed or looked at, is kept beside the one that is kept in its group. One
    that is removed now, and was to be looked at, is the same.

    Args:
        edited: the plan as a person has left it.
        made: as visim wrote it.
    """
    before = {(row.find, row.group, row.root, row.file_name): row.action for row in made.rows}
    kept: dict[int, PlanRow] = {}
    for row in made.rows:
        if row.find == "duplicates" and row.action == "keep" and row.score is None:
            kept.setdefault(row.group, row)
    for row in edited.rows:
        first = kept.get(row.group)
        action = before.get((row.find, row.group, row.root, row.file_name))
        if row.find != "duplicates" or first is None or first.sha256 == row.sha256 or action in (None, row.action):
            continue
        if not first.sha256 or not row.sha256 or row.action == "look":
            continue
        said: Said = "keep both" if row.action == "keep" else "same"
        yield Decision(said, first.sha256, row.sha256, first.file_name, row.file_name)


_PLAN: Final = "plan.csv"
_REPORT: Final = "report.html"
_MARK: Final = "visim-clean.json"
_SURVEY: Final = "survey"
_MADE: Final = ".plan-as-made.csv"
"""The plan as visim wrote it: what differs in plan.csv was decided by a person."""
_DECISIONS: Final = "decisions.csv"


class CleanFolder:
    """A new or empty folder, or one that `visim clean` wrote before.

    Args:
        path: the folder.
        inputs: the pictures: it is outside them.

    Raises:
        OutputError: it holds other files, or is, holds or is in the pictures.
        RepositoryError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, inputs: Sequence[str | os.PathLike[str]]) -> None:
        self.path = check_apart(path, inputs=inputs)
        try:
            is_empty = not self.path.exists() or not any(self.path.iterdir())
        except OSError as error:
            raise OutputError(f"The output {path} cannot be read ({one_line(error)}).", path=self.path) from error
        if not is_empty and not (self.path / _MARK).is_file():
            raise OutputError(
                f"The output {path} holds files that visim clean did not write: nothing was changed. Choose a new or "
                "empty folder with --out.",
                path=self.path,
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / _MARK).exists():
                write_json(self.path / _MARK, {})
        except OSError as error:
            raise RepositoryError(f"{path} cannot be written ({one_line(error)}).", path=self.path) from error

    @property
    def plan(self) -> Path:
        """Return the path of the plan."""
        return self.path / _PLAN

    @property
    def report(self) -> Path:
        """Return the path of the report."""
        return self.path / _REPORT

    @property
    def survey(self) -> Path:
        """Return the folder that keeps what was seen of pictures."""
        return self.path / _SURVEY

    @property
    def decisions(self) -> Path:
        """Return the path of what a person has decided."""
        return self.path / _DECISIONS

    def take_decisions(self) -> Decisions:
        """Return the decisions, with those that the edited plan makes.

        Raises:
            DataError: decisions.csv, or the edited plan, cannot be read.
            RepositoryError: they cannot be written.
        """
        return take_decisions(self.path)

    def write(self, plan: Plan, write_report: Callable[[TextIO], None]) -> Path | None:
        """Write the plan and the report; each is the old one or the new one at any moment.

        Returns:
            Where an older plan is now that was edited by hand; None where there was none.

        Raises:
            RepositoryError: they cannot be written.
        """
        content = plan.to_text()
        try:
            edited = self._put_aside()
            self._replace(self.report, write_report)
            self._replace(self.path / _MADE, lambda file: file.write(content))
            self._replace(self.plan, lambda file: file.write(content))
            write_json(self.path / _MARK, {"plan_sha256": file_sha256(self.plan)})
        except OSError as error:
            raise RepositoryError(
                f"{self.path} cannot be written ({one_line(error)}): make room, then run the same command again.",
                path=self.path,
            ) from error
        return edited

    def _put_aside(self) -> Path | None:
        """Rename a plan that somebody has edited since it was written."""
        written = ""
        with suppress(VisimError):
            written = str(read_json(self.path / _MARK).get("plan_sha256"))
        if not self.plan.exists() or file_sha256(self.plan) == written:
            return None
        number = 1
        while os.path.lexists(aside := self.path / f"plan-edited-{number}.csv"):
            number += 1
        self.plan.rename(aside)
        return aside

    def _replace(self, path: Path, write: Callable[[TextIO], object]) -> None:
        staged = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with staged.open("w", encoding="utf-8", newline="") as file:
                write(file)
            os.replace(staged, path)
        finally:
            staged.unlink(missing_ok=True)


def is_clean_folder(folder: Path) -> bool:
    """Return whether `visim clean` wrote a folder."""
    return (folder / _MARK).is_file()


def take_decisions(folder: Path) -> Decisions:
    """Return the decisions in a folder of a clean-up, with those that the edited plan makes.

    Raises:
        DataError: decisions.csv, or the edited plan, cannot be read.
        RepositoryError: they cannot be written.
    """
    decisions = Decisions(folder / _DECISIONS)
    plan, made = folder / _PLAN, folder / _MADE
    if plan.is_file() and made.is_file() and file_sha256(plan) != file_sha256(made):
        try:
            decisions.add(decisions_in(Plan.read(plan), Plan.read(made)))
        except OSError as error:
            raise RepositoryError(f"{decisions.path} cannot be written ({one_line(error)}).", path=folder) from error
    return decisions
