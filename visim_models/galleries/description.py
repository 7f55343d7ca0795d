"""What its owner says of a gallery: labels, further columns, and the words for its page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from visim_models.errors import ConfigurationError, DataError
from visim_models.galleries.metadata_table import MetadataTable
from visim_models.gallery import Gallery, GalleryAbout, is_link

__all__ = ["Description"]


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


def _check_links(file_names: Sequence[str], links: Sequence[str]) -> None:
    for file_name, link in zip(file_names, links, strict=True):
        if link and not is_link(link):
            raise DataError(
                f"The link of {file_name} is {link[:80]!r}: it must be an http or https address, or empty.",
                key=file_name,
            )
