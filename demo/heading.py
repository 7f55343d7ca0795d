"""The heading of the page, and what a link to the page shows where it is passed on: title, description, a picture."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo.answer import shortened
from demo.collection import Collection
from demo.files import png_bytes
from demo.settings import Settings
from demo.texts import LANGUAGES, say
from visim_models import DataError, ImageDecodeError, VisimError, decode_image

__all__ = ["PREVIEW_PICTURE", "USUAL_HEADING", "Heading", "make_heading"]

_LOGO_BYTES = 512 * 1024
_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif", ".svg": "svg+xml"}

PREVIEW_PICTURE = "preview.png"
_SIZE = (1200, 630)
_PICTURES = 4
_SIDE = 240
_BACKGROUND, _TITLE, _TEXT = "#0f766e", "#ffffff", "#ccfbf1"


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


def preview_route(picture: bytes) -> Route:
    """Make the route that serves the picture, a PNG file; also to visitors without a password."""

    async def answer(_: Request) -> Response:
        return Response(picture, media_type="image/png", headers={"cache-control": "public, max-age=3600"})

    return Route(f"/{PREVIEW_PICTURE}", answer)


def draw_preview(heading: Heading, collection: Collection | None = None) -> bytes:
    """Draw the picture: the heading above pictures of a gallery, as far as a decoder draws them; a PNG file.

    Args:
        heading: of the page.
        collection: the first tab's.
    """
    picture = Image.new("RGB", _SIZE, _BACKGROUND)
    pen = ImageDraw.Draw(picture)
    pen.text((60, 50), shortened(heading.title, 34), fill=_TITLE, font=ImageFont.load_default(64))
    font = ImageFont.load_default(34)
    for number, line in enumerate(wrap(shortened(heading.description, 190), 58)):
        pen.text((60, 145 + 46 * number), line, fill=_TEXT, font=font)
    for number, drawing in enumerate(_drawings(collection) if collection else []):
        left = 60 + number * (_SIDE + 40)
        picture.paste(drawing.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), (left, 345))
    return png_bytes(picture)


def _drawings(collection: Collection) -> list[Image.Image]:
    """Draw pictures of labels far apart."""
    decoder = collection.decoder
    if decoder is None:
        return []
    gallery = decoder.gallery
    first = dict(zip(reversed(gallery.labels), reversed(gallery.file_names), strict=True))
    labels = sorted(first)
    chosen = labels[:: max(1, len(labels) // _PICTURES)][:_PICTURES]
    try:
        return [Image.fromarray(decoder.decode_gallery(first[label])) for label in chosen]
    except VisimError:
        return []
