"""What a gallery tells of its pictures, in further columns: below a tile, and in full beside the chosen one."""

from html import escape
from urllib.parse import urlsplit

from visim_models import GalleryAbout, Match
from visim_models.about import is_link

__all__ = ["explain_facts", "fact_lines", "shortened"]

_BELOW_A_TILE = 3
_LINE = 60
_VALUE = 600
"""Most columns below a tile; most characters of one there, and beside the chosen tile. Anyone may have written them."""


def shortened(text: str, most: int) -> str:
    """Return a text on one line, of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def fact_lines(match: Match, about: GalleryAbout) -> list[str]:
    """Return the lines below the tile of a match: plain text, of its first columns that are not empty."""
    return [shortened(f"{name}: {value}", _LINE) for name, value in _facts(match, about)][:_BELOW_A_TILE]


def explain_facts(match: Match, about: GalleryAbout) -> str:
    """Write all columns of a match, and the link to its page, as HTML; "" where it has none.

    A link is written only if it is an http or https address: a gallery is anyone's.
    """
    rows = "".join(
        f"<dt><bdi>{escape(name)}</bdi></dt><dd><bdi>{escape(_cut(value))}</bdi></dd>"
        for name, value in _facts(match, about)
    )
    table = f"<dl>{rows}</dl>" if rows else ""
    address = match.columns.get(about.link, "").strip()
    if not is_link(address):
        return table
    return (
        f'{table}<a href="{escape(address)}" target="_blank" rel="noopener nofollow">'
        f"Open its page<span> at <bdi>{escape(_host(address))}</bdi></span> ↗</a>"
    )


def _facts(match: Match, about: GalleryAbout) -> list[tuple[str, str]]:
    """Return the columns of a match that are shown as text and are not empty, with their values."""
    facts = [(name, match.columns.get(name, "").strip()) for name in about.columns if name != about.link]
    return [(name, value) for name, value in facts if value]


def _cut(value: str) -> str:
    return value if len(value) <= _VALUE else f"{value[:_VALUE]}…"


def _host(address: str) -> str:
    """Return the host of an address, without what could pass for another one before an "@"."""
    try:
        return shortened(urlsplit(address).hostname or address, _LINE)
    except ValueError:  # a broken IPv6 address
        return shortened(address, _LINE)
