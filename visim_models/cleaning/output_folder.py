"""The folder of a clean-up: plan.csv, report.html, and what was seen of the pictures."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from visim_models.cleaning.decisions import Decisions, decisions_in
from visim_models.cleaning.plan import Plan
from visim_models.errors import OutputError, RepositoryError, VisimError
from visim_models.repo_folder import check_apart
from visim_models.repo_folder.formats import file_sha256, one_line, read_json, write_json

__all__ = ["CleanFolder", "is_clean_folder", "take_decisions"]

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
