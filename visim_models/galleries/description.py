"""What its owner says of a gallery: labels, further columns from a table, and the words for its page.

A table is a CSV with the column file_name, or JSON Lines; it is joined with the gallery by file name.
"""

import csv
import io
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from visim_models.errors import ConfigurationError, DataError
from visim_models.gallery import Gallery, GalleryAbout, is_link
from visim_models.repo_folder.formats import listed, one_line, read_text

__all__ = ["Description", "MetadataTable"]

_MOST_BYTES: Final = 512 * 2**20
_KEY: Final = "file_name"
_SIMPLE: Final = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class MetadataTable:
    """Further values of pictures.

    Attributes:
        path: of the file, for messages.
        columns: the names of the columns, without file_name.
        rows: file name -> the values, one a column.
    """

    path: Path
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a table; a file whose name ends in .jsonl or .ndjson has an object a line.

        Raises:
            DataError: the file cannot be read, has no column file_name, a column or file name twice, or a value that
                is no text, number or truth value.
        """
        path = Path(path)
        is_json = path.suffix.lower() in (".jsonl", ".ndjson")
        try:
            text = read_text(path, most=_MOST_BYTES)
            records = _json_lines(text) if is_json else _csv_rows(text)
        except FileNotFoundError as error:
            raise DataError(f"There is no file {path}.", path=path) from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8: save it as CSV UTF-8 (comma delimited).", path=path) from error
        except (OSError, ValueError, csv.Error, RecursionError) as error:
            raise DataError(f"{path} cannot be used ({one_line(error)}).", path=path) from error
        columns = list(dict.fromkeys(name for record in records for name in record if name != _KEY))
        rows: dict[str, Sequence[str]] = {}
        for number, record in enumerate(records, start=1):
            if not (name := record.get(_KEY)):
                raise DataError(f"{path}, record {number} has no {_KEY}.", path=path, key=_KEY)
            if name in rows:
                raise DataError(f"{path} has {name!r} twice: leave one record a picture.", path=path, key=name)
            rows[name] = [record.get(column, "") for column in columns]
        if "" in columns:
            raise DataError(f"{path} has a column without a name.", path=path)
        return cls(path, columns, rows)

    def column(self, name: str, file_names: Sequence[str], old: Sequence[str] | None = None) -> list[str]:
        """Return the values of a column for some pictures; an old value, or "", where the table has no record.

        Raises:
            DataError: there is no such column.
        """
        if name not in self.columns:
            raise DataError(
                f"{self.path} has no column {name!r}: it has {list(self.columns)}.", path=self.path, key=name
            )
        at = self.columns.index(name)
        before = [""] * len(file_names) if old is None else old
        return [
            self.rows[file_name][at] if file_name in self.rows else value
            for file_name, value in zip(file_names, before, strict=True)
        ]

    def notes(self, file_names: Sequence[str]) -> list[str]:
        """Return a line for the records without a picture, and one for the pictures without a record."""
        known = set(file_names)
        strangers, without = self.rows.keys() - known, known - self.rows.keys()
        notes = []
        if strangers:
            notes.append(f"records of {self.path.name} that name no picture: {len(strangers):,}, {listed(strangers)}")
        if without:
            notes.append(f"pictures without a record in {self.path.name}: {len(without):,}, {listed(without)}")
        return notes


@dataclass(frozen=True, kw_only=True)
class Description:
    """Changes of what a gallery says of itself and its pictures; nothing that is left out changes.

    Attributes:
        metadata: further values of pictures.
        label: the column of `metadata` that is the label; "" for none.
        about: keys of `GalleryAbout` -> new values.
    """

    metadata: MetadataTable | None = None
    label: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.metadata is not None or bool(self.about)

    def check(self, columns: Collection[str] = (), about: GalleryAbout | None = None) -> None:
        """Check all that can be checked before any picture is embedded.

        Args:
            columns: further columns that the gallery has already.
            about: what it says of itself already.

        Raises:
            DataError: the column of the labels is none of the table's, or a value of the column that links is no http
                or https address.
            ConfigurationError: a text does not fit, or a column to show does not exist.
        """
        table = self.metadata
        if self.label and table is None:
            raise DataError("A column of labels needs a table: give --metadata, too.", key="label")
        if self.label and table is not None:
            table.column(self.label, [])
        changed = self._changed(about or GalleryAbout())
        changed.check_fits({*columns, *self._columns()})
        if table is not None and changed.link in self._columns():
            names = list(table.rows)
            _check_links(names, table.column(changed.link, names))

    def apply(self, gallery: Gallery) -> list[str]:
        """Change a gallery; return lines about records and pictures that do not belong together.

        Raises:
            DataError: a value of the column that links is no http or https address, or a column cannot be had.
            ConfigurationError: a column to show does not exist.
        """
        table = self.metadata
        notes: list[str] = []
        if table is not None:
            for name in self._columns():
                gallery.columns[name] = table.column(name, gallery.file_names, gallery.columns.get(name))
            if label := self.label or ("label" if "label" in table.columns else ""):
                gallery.labels = table.column(label, gallery.file_names, gallery.labels)
            notes = table.notes(gallery.file_names)
        gallery.about = self._changed(gallery.about)
        gallery.about.check_fits(gallery.columns)
        if link := gallery.about.link:
            _check_links(gallery.file_names, gallery.columns[link])
        return notes

    def _columns(self) -> list[str]:
        """Return the columns of the table that are not the label."""
        return [name for name in (self.metadata.columns if self.metadata else ()) if name not in (self.label, "label")]

    def _changed(self, about: GalleryAbout) -> GalleryAbout:
        try:
            return replace(about, **self.about)
        except TypeError as error:
            raise ConfigurationError(f"A gallery does not describe itself by {sorted(self.about)}.") from error


def _csv_rows(text: str) -> list[dict[str, str]]:
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True))
    if not rows or _KEY not in rows[0]:
        raise ValueError(f"it must begin with a row of names, one of them {_KEY}")
    names = rows[0]
    if len(set(names)) != len(names):
        raise ValueError("it has a column twice")
    records = []
    for number, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} values, not {len(names)}")
        if row:
            records.append(dict(zip(names, row, strict=True)))
    return records


def _delimiter(text: str) -> str:
    """Return what parts the columns: Excel writes semicolons where the comma is in numbers."""
    head = text.partition("\n")[0]
    return ";" if ";" in head and "," not in head else ","


def _json_lines(text: str) -> list[dict[str, str]]:
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        pairs = json.loads(line, object_pairs_hook=lambda found: found)
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            raise ValueError(f"line {number} holds no object")
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError(f"line {number} has a key twice")
        records.append({name: _text(value, number) for name, value in pairs})
    return records


def _text(value: Any, number: int) -> str:
    if not isinstance(value, _SIMPLE):
        raise ValueError(f"line {number} has a value that is no text, number or truth value")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _check_links(file_names: Sequence[str], links: Sequence[str]) -> None:
    for file_name, link in zip(file_names, links, strict=True):
        if link and not is_link(link):
            raise DataError(
                f"The link of {file_name} is {link[:80]!r}: it must be an http or https address, or empty.",
                key=file_name,
            )
