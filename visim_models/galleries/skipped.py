"""Files that a gallery was built without, listed in skipped.csv with the reasons."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from visim_models.errors import ImageHostError, VisimError
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import one_line, read_text
from visim_models.repo_folder.manifest import SKIPPED

__all__ = ["Skipped", "read_skipped", "sort_out", "write_skipped"]

_COLUMNS = ["file_name", "reason"]
_MOST_BYTES = 64 * 2**20

_Result = TypeVar("_Result")


@dataclass(frozen=True, order=True)
class Skipped:
    """A file or folder that was left out, and the reason."""

    file_name: str
    reason: str

    @classmethod
    def of_error(cls, file_name: str, error: Exception) -> "Skipped":
        """Return the file with the error that it raised."""
        return cls(file_name, one_line(error))


def sort_out(batch: Iterable[tuple[str, _Result | VisimError]]) -> tuple[dict[str, _Result], list[Skipped]]:
    """Part the files of a batch that could be read from those that are left out.

    Args:
        batch: file names, each with what was read of it, or with the error.

    Returns:
        File name -> what was read of it, and the files that are left out.

    Raises:
        ImageHostError: the host does not answer, which says nothing of a file.
    """
    found: dict[str, _Result] = {}
    skipped = []
    for name, result in batch:
        if isinstance(result, ImageHostError):
            raise result
        if isinstance(result, VisimError):
            skipped.append(Skipped.of_error(name, result))
        else:
            found[name] = result
    return found, skipped


def write_skipped(draft: RepoDraft, skipped: Iterable[Skipped]) -> None:
    """Write skipped.csv, sorted by file name."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_printable(item.file_name), _printable(item.reason)] for item in sorted(set(skipped)))
    draft.write_text(SKIPPED, table.getvalue())


def read_skipped(repo: RepoFolder) -> list[Skipped]:
    """Read skipped.csv; nothing where it is missing or cannot be read, for it only informs."""
    try:
        rows = list(csv.reader(io.StringIO(read_text(repo / SKIPPED, most=_MOST_BYTES), newline="")))
    except (OSError, ValueError, csv.Error):
        return []
    return [Skipped(*row) for row in rows[1:] if len(row) == len(_COLUMNS)]


def _printable(text: str) -> str:
    """Escape a text that a file name of a disk or a zip has made unfit for a text file."""
    return text if text.isprintable() else ascii(text)[1:-1]
