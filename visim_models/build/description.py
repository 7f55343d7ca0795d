"""What its owner says of a gallery: labels, further columns, and the words for its page."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from visim_models.about import is_link
from visim_models.build.metadata_table import MetadataTable
from visim_models.errors import ConfigurationError, DataError
from visim_models.gallery import Gallery

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

    def check(self) -> None:
        """Check what can be checked before any picture is read.

        Raises:
            DataError: the column of the labels is none of the table's.
        """
        if self.label and self.metadata is None:
            raise DataError("A column of labels needs a table: give --metadata, too.", key="label")
        if self.label and self.metadata is not None:
            self.metadata.column(self.label, [])

    def apply(self, gallery: Gallery) -> list[str]:
        """Change a gallery; return lines about records and pictures that do not belong together.

        Raises:
            DataError: a value of the column that links is no http or https address, or a column cannot be had.
            ConfigurationError: a column to show does not exist.
        """
        table = self.metadata
        notes: list[str] = []
        if table is not None:
            for name in table.columns:
                if name not in (self.label, "label"):
                    gallery.columns[name] = table.column(name, gallery.file_names, gallery.columns.get(name))
            if label := self.label or ("label" if "label" in table.columns else ""):
                gallery.labels = table.column(label, gallery.file_names, gallery.labels)
            notes = table.notes(gallery.file_names)
        try:
            gallery.about = replace(gallery.about, **self.about)
            gallery.about.check_fits(gallery.columns)
        except TypeError as error:
            raise ConfigurationError(f"A gallery does not describe itself by {sorted(self.about)}.") from error
        _check_links(gallery)
        return notes


def _check_links(gallery: Gallery) -> None:
    if not gallery.about.link:
        return
    for file_name, link in zip(gallery.file_names, gallery.columns[gallery.about.link], strict=True):
        if link and not is_link(link):
            raise DataError(
                f"The link of {file_name} is {link[:80]!r}: it must be an http or https address, or empty.",
                key=file_name,
            )
