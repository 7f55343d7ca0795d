"""The texts of a gallery's pictures: checked, and read from and written as gallery/metadata.csv."""

import csv
import io
from itertools import islice
from pathlib import Path

from visim_models.errors import GalleryError, ImageSourceError
from visim_models.repo_folder.formats import read_text
from visim_models.search.index import PictureTexts
from visim_models.sources.file_names import check_file_name

__all__ = ["KEY_COLUMNS", "check_texts", "metadata_csv", "read_metadata"]

KEY_COLUMNS = ["file_name", "label"]

_HEAD_BYTES = 2**20
_ROW_BYTES = 2**14
"""Most bytes of metadata.csv beside its rows, and of each row."""


def check_texts(texts: PictureTexts, count: int) -> None:
    """Check the texts of `count` pictures.

    Raises:
        GalleryError: there are more or fewer, a column or a file name is there twice, or a name leaves the root.
    """
    for name, values in {"file_name": texts.file_names, "label": texts.labels, **texts.columns}.items():
        if len(values) != count:
            raise GalleryError(
                f"There are {len(values)} values of {name}, and {count} embeddings: they must be of one length.",
                key=name,
            )
    if repeated := set(texts.columns) & set(KEY_COLUMNS):
        raise GalleryError(f"The gallery has the column {sorted(repeated)[0]} twice.")
    if len(set(texts.file_names)) != count:
        raise GalleryError("The gallery has a file name twice.")
    for name in texts.file_names:
        try:
            check_file_name(name)
        except ImageSourceError as error:
            raise GalleryError(str(error), key=name) from error


def metadata_csv(texts: PictureTexts) -> str:
    """Return the text of metadata.csv."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*KEY_COLUMNS, *texts.columns])
    writer.writerows(zip(texts.file_names, texts.labels, *texts.columns.values(), strict=True))
    return table.getvalue()


def read_metadata(path: Path, *, count: int) -> dict[str, list[str]]:
    """Read metadata.csv, which must have as many rows as there are embeddings: column -> values.

    Raises:
        GalleryError: the file is missing or damaged, or has another number of rows.
    """
    try:
        text = read_text(path, most=_HEAD_BYTES + count * _ROW_BYTES)
        rows = list(islice(csv.reader(io.StringIO(text, newline=""), strict=True), count + 2))
    except FileNotFoundError as error:
        raise GalleryError(
            f"{path.parent} has no {path.name}: export or download the gallery again.", path=path
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise GalleryError(f"{path} cannot be read as CSV ({error}): restore the file.", path=path) from error
    if not rows or rows[0][:2] != KEY_COLUMNS:
        raise GalleryError(f"{path} must begin with the columns file_name,label.", path=path)
    names = rows[0]
    if len(set(names)) != len(names) or not all(names):
        raise GalleryError(f"{path} has a column without a name, or one name twice.", path=path)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise GalleryError(f"{path}, row {number} has {len(row)} values, not {len(names)}.", path=path)
    if len(rows) - 1 != count:
        more = "or more " if len(rows) - 1 > count else ""
        raise GalleryError(
            f"{path} has {len(rows) - 1:,} {more}rows for {count:,} embeddings: they must be of one length. Restore "
            "both files, or embed the gallery again.",
            path=path,
        )
    return {name: [row[index] for row in rows[1:]] for index, name in enumerate(names)}
