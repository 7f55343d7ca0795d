"""What a link to the page shows where it is passed on: title, description and a picture, visim's own."""

import re
from html import escape
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.collection import Collection
from demo.facts import shortened
from demo.heading import USUAL_HEADING, Heading
from visim_models import VisimError

__all__ = ["Preview", "draw_preview", "preview_route"]

PICTURE = "preview.png"
_GRADIO_TAGS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>')
_SIZE = (1200, 630)
_PICTURES = 4
_SIDE = 240
_BACKGROUND, _TITLE, _TEXT = "#0f766e", "#ffffff", "#ccfbf1"


class Preview:
    """ASGI middleware that puts the page's own tags in the place of Gradio's.

    Args:
        app: the routes behind it.
        heading: of the page.
        root_path: path under which a proxy shows the page.
    """

    def __init__(self, app: ASGIApp, *, heading: Heading = USUAL_HEADING, root_path: str = "") -> None:
        self._app, self._heading, self._root = app, heading, root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the page itself with other tags."""
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        if scope["type"] != "http" or scope["method"] != "GET" or path not in ("", "/"):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def changed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            headers = MutableHeaders(raw=start["headers"])
            content = bytes(body)
            if headers.get("content-type", "").startswith("text/html"):
                content = self._changed(content, Headers(scope=scope), scope)
                headers["content-length"] = str(len(content))
            await send(start)
            await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, changed)

    def _changed(self, page: bytes, headers: Headers, scope: Scope) -> bytes:
        scheme = headers.get("x-forwarded-proto", scope.get("scheme", "http")).split(",")[0].strip()
        host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
        address = f"{scheme}://{host}{self._root}/"
        values = {
            "og:type": "website",
            "og:title": self._heading.title,
            "og:description": " ".join(self._heading.description.split()),
            "og:image": f"{address}{PICTURE}",
            "og:url": address,
        }
        tags = "".join(f'<meta property="{name}" content="{escape(value)}" />' for name, value in values.items())
        tags += '<meta name="twitter:card" content="summary_large_image" />'
        return _GRADIO_TAGS.sub(b"", page).replace(b"<head>", b"<head>" + tags.encode(), 1)


def preview_route(picture: bytes) -> Route:
    """Make the route that serves the picture, a PNG file; also to visitors without a password."""

    async def answer(_: Request) -> Response:
        return Response(picture, media_type="image/png", headers={"cache-control": "public, max-age=3600"})

    return Route(f"/{PICTURE}", answer)


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
    for number, line in enumerate(_lines(shortened(heading.description, 190), font)):
        pen.text((60, 145 + 46 * number), line, fill=_TEXT, font=font)
    for number, drawing in enumerate(_drawings(collection) if collection else []):
        left = 60 + number * (_SIDE + 40)
        picture.paste(drawing.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), (left, 345))
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _lines(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= _SIZE[0] - 120 else [*lines, word]
    return lines[:4]


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
