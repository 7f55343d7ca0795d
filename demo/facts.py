"""What a gallery tells of its pictures, in further columns: below a tile, and in full beside the chosen one."""

from html import escape
from urllib.parse import urlsplit

from demo.texts import say
from visim_models import GalleryAbout, Match
from visim_models.gallery import is_link

__all__ = ["explain_facts", "fact_line", "link_to", "shortened"]

_BELOW_A_TILE = 2
_LINE = 60
_VALUE = 600
"""Most columns below a tile; most characters of one there, and beside the chosen tile. Anyone may have written them."""


def shortened(text: str, most: int) -> str:
    """Return a text on one line, of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def fact_line(match: Match, about: GalleryAbout) -> str:
    """Return the line below the tile of a match: plain text, of its first columns that are not empty."""
    return " · ".join(shortened(f"{name}: {value}", _LINE) for name, value in _facts(match, about)[:_BELOW_A_TILE])


def link_to(match: Match, about: GalleryAbout) -> str:
    """Write the link to the page of a match as HTML; "" where it has none.

    A link is written only if it is an http or https address: a gallery is anyone's.
    """
    address = match.columns.get(about.link, "").strip()
    if not is_link(address):
        return ""
    return (
        f'<a href="{escape(address)}" target="_blank" rel="noopener nofollow">'
        f"{escape(say('open_link'))}<span> {escape(say('at'))} <bdi>{escape(_host(address))}</bdi></span> ↗</a>"
    )


def explain_facts(match: Match, about: GalleryAbout) -> str:
    """Write all columns of a match, and the link to its page, as HTML; "" where it has none."""
    rows = "".join(
        f"<dt><bdi>{escape(name)}</bdi></dt><dd><bdi>{escape(_cut(value))}</bdi></dd>"
        for name, value in _facts(match, about)
    )
    return (f"<dl>{rows}</dl>" if rows else "") + link_to(match, about)


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
