"""The heading of the page: the host's words, those of the one gallery that it shows, or visim's own."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from demo.collection import Collection
from demo.settings import Settings
from demo.texts import LANGUAGES, say
from visim_models import DataError, ImageDecodeError, decode_image

__all__ = ["USUAL_HEADING", "Heading", "make_heading"]

_LOGO_BYTES = 512 * 1024
_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif", ".svg": "svg+xml"}


@dataclass(frozen=True)
class Heading:
    """The words and the picture on top of the page.

    Attributes:
        title: also of the browser's window.
        description: a few sentences.
        logo: a data: address of a picture, or "".
        is_of_gallery: title and description are those of the only tab, which does not repeat them.
    """

    title: str
    description: str
    logo: str = ""
    is_of_gallery: bool = False

    def to_html(self) -> str:
        """Write the heading as HTML."""
        logo = f'<img src="{escape(self.logo)}" alt="">' if self.logo else ""
        description = say("heading") if self.description == USUAL_HEADING.description else self.description
        text = f'<p dir="auto">{escape(description)}</p>' if description else ""
        return f'<header>{logo}<div><h1 dir="auto">{escape(self.title)}</h1>{text}</div></header>'


USUAL_HEADING = Heading("visim: visual similarity", LANGUAGES["en"]["heading"])


def make_heading(settings: Settings, collections: Sequence[Collection], *, logo: str = "") -> Heading:
    """Return the heading of a page with these tabs, and with a logo of `read_logo`."""
    is_single = len(collections) == 1
    usual = USUAL_HEADING
    title, description = (collections[0].title, collections[0].about.description) if is_single else ("", "")
    return Heading(
        settings.title or title or usual.title,
        settings.description or description or (usual.description if not (settings.title or title) else ""),
        logo,
        is_single,
    )


def read_logo(name: str) -> str:
    """Read a picture file as a data: address; "" for none. A page runs no program of an SVG that it shows as a picture.

    Raises:
        DataError: it is not a picture that a page can show.
    """
    if not name:
        return ""
    path = Path(name)
    kind = _KINDS.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            content = file.read(_LOGO_BYTES + 1)
    except OSError as error:
        raise DataError(f"The logo {path} cannot be read ({error.strerror}).", path=path) from error
    if kind is None or len(content) > _LOGO_BYTES:
        raise DataError(
            f"The logo {path} must be a PNG, JPEG, WebP, GIF or SVG file of at most {_LOGO_BYTES // 1024} kB.",
            path=path,
        )
    try:
        if kind != "svg+xml":
            decode_image(content)
        elif b"<svg" not in content:
            raise ImageDecodeError("it has no <svg>.")
    except ImageDecodeError as error:
        raise DataError(f"The logo {path} is not a picture: {error}", path=path) from error
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
