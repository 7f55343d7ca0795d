"""decisions.csv: what a person has said of pairs of pictures, by their content, so that nobody is asked twice."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast, get_args

from visim_models.cleaning.plan import Plan, PlanRow
from visim_models.errors import DataError
from visim_models.repo_folder.formats import one_line, read_text

__all__ = ["Decision", "Decisions", "Said", "decisions_in"]

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
