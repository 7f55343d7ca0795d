"""A visitor's picture: the components that take it, its address on the web, and how its bytes become a picture."""

import base64
import binascii
import logging
import re
import secrets
import tempfile
import threading
import time
from abc import ABCMeta
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.gallery import GalleryData, GalleryVideo
from gradio.data_classes import FileData, ImageData, ListFiles
from PIL import Image

from demo.temporary import sweep
from demo.texts import say, static
from visim_models import EngineError, ImageDecodeError, ImageSourceError, QueryError, decode_image
from visim_models.images.decode import MAX_BYTES
from visim_models.images.limited import decode_untrusted
from visim_models.sources.download import download

__all__ = [
    "FETCHES",
    "MOST_FILES",
    "Choice",
    "FetchBusyError",
    "FetchLimit",
    "Files",
    "KeptUploads",
    "Number",
    "Numbers",
    "Texts",
    "crop",
    "event_field",
    "fetch",
    "is_shown_by_browsers",
    "open_upload",
    "picture_input",
    "sentence",
    "shown_picture",
    "upload_area",
    "upload_many",
]

_log = logging.getLogger(__name__)

MOST_FILES = 8
"""Most pictures whose average is searched with."""
_SECONDS = 8.0
_LONGEST_ADDRESS = 2000
_LEAST_SIDE = 0.02
"""Smallest side of a frame, of the picture's."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
_KEPT_SIDE = 1024
_KEPT_BYTES = 2**30
_SHOWN = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".avif"}
"""Ends of the names of files that every browser shows."""


# The components. Gradio makes one again from its class after each event, so the class itself must have the method. It
# is made without the class statement because Gradio writes an interface file beside the source of every subclass.


def _hand_on(_: gr.Image, payload: ImageData | None) -> str | bytes | None:
    """Return the path of an uploaded file (Gradio has checked that it is one), or the bytes of a data: address."""
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):
        try:
            return base64.b64decode(payload.url.partition(",")[2], validate=True)
        except binascii.Error:
            return b"not base64"  # no picture: the decoder says so
    return payload.path


def _hand_on_all(_: gr.Gallery, payload: GalleryData | None) -> list[str]:
    """Return the paths of uploaded files."""
    files = (each.video if isinstance(each, GalleryVideo) else each.image for each in payload.root) if payload else ()
    return [file.path for file in files if file.path]


def _hand_on_paths(_: gr.File, payload: ListFiles | FileData | None) -> list[str]:
    """Return the paths of uploaded files."""
    files = payload.root if isinstance(payload, ListFiles) else [payload]
    return [file.path for file in files if isinstance(file, FileData)]


def _hand_on_as_it_is(_: Any, payload: Any) -> Any:
    """Return an input of any type: Gradio's own compares a number with limits, of whatever type it is."""
    return payload


def raw_input(base: type[Any], preprocess: Any = _hand_on_as_it_is, schema: Mapping[str, Any] | None = None) -> Any:
    """Return a class of Gradio's that hands its input on as it came, so that what does not fit is refused in our words.

    The schema of the input is for where Gradio's own says too little.
    """
    values = {"preprocess": preprocess, "is_template": True, "__module__": __name__}
    values |= {"api_info": lambda _: dict(schema)} if schema else {}
    return ABCMeta.__new__(type(base), f"Raw{base.__name__}", (base,), values)


_Picture = raw_input(gr.Image, _hand_on)
_Pictures = raw_input(gr.Gallery, _hand_on_all)
Files = raw_input(gr.File, _hand_on_paths)
"""Takes several files, and hands their paths on."""
Number = raw_input(gr.Number)
Choice = raw_input(gr.Dropdown)
Numbers = raw_input(gr.JSON, schema={"type": "array", "items": {"type": "number"}})
Texts = raw_input(gr.JSON, schema={"type": "array", "items": {"type": "string"}})


def picture_input(**options: Any) -> gr.Image:
    """Make a `gr.Image` that hands the file on as it came, undecoded.

    Gradio's own would open it with Pillow first: whatever Pillow finds wrong ends there, as an error without a reason.
    """
    component: gr.Image = _Picture(type="filepath", image_mode=None, **options)
    return component


def upload_area(key: str, elem_id: str) -> gr.Image:
    """Make the area that takes a picture from a file, the clipboard or a camera; `key` is of its label."""
    return picture_input(
        label=static(lambda: say(key)),
        alt_text=say(key),
        sources=["upload", "webcam", "clipboard"],
        height=290,
        buttons=[],
        elem_id=elem_id,
        elem_classes="visim-upload",
        placeholder=static(lambda: say("drop")),
    )


def upload_many(key: str, elem_id: str) -> gr.Gallery:
    """Make the area that takes several pictures and hands their paths on as they came; `key` is of its label."""
    component: gr.Gallery = _Pictures(
        type="filepath",
        interactive=True,
        file_types=["image"],
        label=static(lambda: say(key)),
        show_label=False,
        columns=4,
        height=220,
        allow_preview=False,
        buttons=[],
        elem_id=elem_id,
        elem_classes="visim-several",
    )
    return component


def shown_picture(key: str, elem_id: str) -> gr.Image:
    """Make a picture of the page that a visitor only looks at; `key` is of its label."""
    return gr.Image(
        label=static(lambda: say(key)),
        alt_text=say(key),
        format="png",
        interactive=False,
        buttons=[],
        height=240,
        min_width=140,
        elem_id=elem_id,
        elem_classes="visim-picture",
    )


# The picture.


def open_upload(source: str | bytes) -> Image.Image:
    """Decode an upload that `picture_input` handed on into an upright RGB picture, in a process of limited means.

    Raises:
        ImageDecodeError: it is not a picture. The message speaks of "the picture", not of a path on the server.
    """
    if isinstance(source, str):
        try:
            with Path(source).open("rb") as file:
                source = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ImageDecodeError("the picture is no longer on the server: upload it again.") from error
    return decode_untrusted(source)


def is_shown_by_browsers(path: str) -> bool:
    """Return whether browsers show an upload as it is: what another kind of file holds is shown by a copy."""
    return Path(path).suffix.lower() in _SHOWN


def event_field(event: gr.EventData, name: str) -> Any:
    """Return a field of an event, which may come from anyone; None where it has none."""
    try:
        return getattr(event, name)
    except (AttributeError, TypeError, KeyError):
        return None


def crop(picture: Image.Image, box: Any) -> Image.Image:
    """Return the part of a picture in a box: left, top, right and bottom as shares of its width and height.

    Raises:
        QueryError: it is no box, or one that is too small.
    """
    is_box = isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box)
    if not is_box or not all(0 <= box[side] <= box[side + 2] - _LEAST_SIDE <= 1 - _LEAST_SIDE for side in (0, 1)):
        raise QueryError("no part was framed: draw a frame on the picture.", key="box")
    sides = zip(box, (picture.width, picture.height) * 2, strict=True)
    x0, y0, x1, y1 = (round(share * length) for share, length in sides)
    return picture.crop((x0, y0, max(x0 + 1, x1), max(y0 + 1, y1)))


def sentence(error: Exception) -> str:
    """Return an error's message with a capital letter, unless it begins with an address.

    Where the engine of a gallery fails, the message, which has the engine's address, is for the host's log alone.
    """
    if isinstance(error, EngineError):
        _log.warning("%s", error)
        return "The gallery cannot be reached at the moment. Please try again in a minute."
    text = str(error)
    return text if text.startswith("http") else text[:1].upper() + text[1:]


# Uploads that links find again.


class KeptUploads:
    """A folder of uploads, each found by a random token of 128 bits alone, and deleted when its time is over.

    It keeps a copy of the pixels, of at most 1024 a side: what else a file holds, such as where a photograph was taken,
    is not in it.

    Args:
        hours: how long an upload is kept.
        folder: for the copies; by default a new one in the temporary folder of the process.
        max_bytes: all copies together; then the oldest go.
    """

    def __init__(self, hours: float, *, folder: Path | None = None, max_bytes: int = _KEPT_BYTES) -> None:
        self.hours = hours
        self.folder = folder or Path(tempfile.mkdtemp(prefix="visim-kept-"))
        self._max_bytes = max_bytes

    def keep(self, picture: Image.Image) -> str:
        """Keep a copy of a picture and return its token."""
        copy = picture.convert("RGB")
        copy.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
        token = secrets.token_urlsafe(16)
        clean = Image.new("RGB", copy.size)
        clean.paste(copy)
        clean.save(self._path(token), "PNG")
        sweep(self.folder, keep_seconds=3600 * self.hours, max_bytes=self._max_bytes)
        return token

    def open(self, token: str) -> Image.Image:
        """Return the picture of a token.

        Raises:
            ImageDecodeError: there is none, or its time is over.
        """
        path = self._path(token) if _TOKEN.fullmatch(token) else None
        try:
            if path is None or time.time() - path.stat().st_mtime > 3600 * self.hours:
                raise FileNotFoundError
            return decode_image(path.read_bytes())
        except OSError as error:
            raise ImageDecodeError("the picture of this link is no longer kept: give it again.") from error

    def _path(self, token: str) -> Path:
        return self.folder / f"{token}.png"


# A picture by its address: a few are fetched at once, a few more wait, and the others are refused at once.


class FetchBusyError(ImageSourceError):
    """So many pictures are being fetched that another one does not even wait."""


class FetchLimit:
    """A small queue of its own for fetching: slow hosts hold up other fetches, and never a query with an upload.

    Args:
        at_once: how many fetches run at the same time.
        waiting: how many more may wait.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._running = threading.BoundedSemaphore(at_once)
        self._room = at_once + waiting
        self._lock = threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until a fetch may run, and hold its slot: also for work on the picture that no other limit covers.

        Raises:
            FetchBusyError: too many wait already.
        """
        with self._lock:
            self.check()
            self._room -= 1
        try:
            with self._running:
                yield
        finally:
            with self._lock:
                self._room += 1

    def check(self) -> None:
        """Check that there is room for another fetch, to run or to wait.

        Raises:
            FetchBusyError: there is none.
        """
        if self._room <= 0:
            raise FetchBusyError(
                "too many pictures are being fetched: try again in some seconds, or upload the file itself."
            )


FETCHES = FetchLimit(at_once=4, waiting=8)
"""The limit of the whole process, which has one connection to the outside."""


def fetch(address: str | None) -> bytes:
    """Fetch the file at a public web address; to be called inside a slot of `FETCHES`.

    Raises:
        ImageSourceError: the address is refused, or cannot be reached in time.
    """
    if not (url := (address or "").strip()):
        raise ImageSourceError("no address was given: paste one like https://host/picture.jpg.", key="address")
    if len(url) > _LONGEST_ADDRESS:
        raise ImageSourceError(
            f"the address is longer than {_LONGEST_ADDRESS} characters: give a shorter one.", key="address"
        )
    try:
        return download(url, timeout=_SECONDS)
    except FileNotFoundError:
        refusal = ImageSourceError(f"{url} leads to no file: check the address.", path=url)
    except ImageSourceError as error:
        refusal = type(error)(str(error), path=url)
    raise refusal  # a new one: the frames of the first hold all that was read, and others may keep it for a while
