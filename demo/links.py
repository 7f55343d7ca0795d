"""The address of a search: what it asks for, and how it is read again. All of it may come from anyone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlencode

__all__ = ["LONGEST", "MOST_LESS", "Asked", "Source"]

Source = Literal["gallery", "example", "upload", "visit"]
"""A picture of the gallery by its file name; an example by its number; an upload that is kept, by its token; one of
this visit alone, by its path, which no address holds."""

LONGEST = 2000
MOST_LESS = 8


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The search that an address asks for.

    Attributes:
        name: of the picture, by its source; of several uploads of one visit, each on a line.
        source: where the picture comes from.
        way: how pictures are compared; "" for the usual way.
        top_k: how many matches; None for the usual number.
        less: names of gallery pictures that the matches shall not be like.
    """

    name: str
    source: Source = "gallery"
    way: str = ""
    top_k: int | None = None
    less: tuple[str, ...] = ()

    @classmethod
    def read(cls, key: str, values: Mapping[str, object]) -> "Asked | None":
        """Read the parameters of an address; None where they ask for nothing of the gallery `key`.

        Args:
            key: of the gallery.
            values: parameter -> value, of any type. One that does not fit counts as left out.
        """
        name, source, way, number = (str(values.get(each, ""))[:LONGEST] for each in (key, "of", "way", "top_k"))
        if not name:
            return None
        less = str(values.get("less", ""))[:LONGEST].split("\n")[:MOST_LESS]
        is_number = number.isdecimal() and len(number) < 4  # Python refuses to read thousands of digits
        known: tuple[Source, ...] = get_args(Source)
        return cls(
            name=name,
            source=next((each for each in known if each == source), "gallery"),
            way=way,
            top_k=int(number) if is_number else None,
            less=tuple(filter(None, less)),
        )

    def address(self, key: str) -> str:
        """Return the address, relative to the page; "" for a picture of this visit alone."""
        if self.source == "visit":
            return ""
        of = {} if self.source == "gallery" else {"of": self.source}
        less = {"less": "\n".join(self.less)} if self.less else {}
        return f"?{urlencode({key: self.name, **of, 'way': self.way, 'top_k': self.top_k or '', **less})}"
