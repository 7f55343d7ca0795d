"""Reading a visitor's picture: the upload component, and a clear message where the upload is not a picture."""

import base64
import binascii
import logging
from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.gallery import GalleryData, GalleryVideo
from gradio.data_classes import ImageData
from PIL import Image

from demo.fetching import fetch
from visim_models import EngineError, ImageDecodeError, decode_image
from visim_models.images.decode import MAX_BYTES

__all__ = ["fetch_picture", "open_upload", "picture_input", "pictures_input", "sentence"]

_log = logging.getLogger(__name__)


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


# Gradio makes a component again from its class after each event, so the class itself must have the method. It is made
# without the class statement because Gradio writes an interface file beside the source of every subclass.
_PictureInput: type[gr.Image] = ABCMeta.__new__(
    type(gr.Image), "PictureInput", (gr.Image,), {"preprocess": _hand_on, "is_template": True, "__module__": __name__}
)


def _hand_on_all(_: gr.Gallery, payload: GalleryData | None) -> list[str]:
    """Return the paths of uploaded files."""
    files = (each.video if isinstance(each, GalleryVideo) else each.image for each in payload.root) if payload else ()
    return [file.path for file in files if file.path]


_PicturesInput: type[gr.Gallery] = ABCMeta.__new__(
    type(gr.Gallery),
    "PicturesInput",
    (gr.Gallery,),
    {"preprocess": _hand_on_all, "is_template": True, "__module__": __name__},
)


def picture_input(**options: Any) -> gr.Image:
    """Make a `gr.Image` that hands the file on as it came, undecoded.

    Gradio's own would open it with Pillow first: whatever Pillow finds wrong ends there, as an error without a reason.
    """
    return _PictureInput(type="filepath", image_mode=None, **options)


def pictures_input(**options: Any) -> gr.Gallery:
    """Make a `gr.Gallery` that takes pictures and hands their paths on as they came, undecoded."""
    return _PicturesInput(type="filepath", interactive=True, file_types=["image"], **options)


def open_upload(source: str | bytes) -> Image.Image:
    """Decode an upload that `picture_input` handed on into an upright RGB picture.

    Raises:
        ImageDecodeError: it is not a picture. The message speaks of "the picture", not of a path on the server.
    """
    if isinstance(source, bytes):
        return decode_image(source)
    try:
        with Path(source).open("rb") as file:
            return decode_image(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise ImageDecodeError("the picture is no longer on the server: upload it again.") from error


def fetch_picture(address: str | None) -> Image.Image:
    """Fetch the picture at a public web address, inside `fetch_slot`, and decode it into an upright RGB picture.

    Raises:
        ImageSourceError: the address is refused, or cannot be reached in time.
        ImageDecodeError: the file is not a picture.
    """
    return decode_image(fetch(address))


def sentence(error: Exception) -> str:
    """Return an error's message with a capital letter, unless it begins with an address.

    Where the engine of a gallery fails, the message, which has the engine's address, is for the host's log alone.
    """
    if isinstance(error, EngineError):
        _log.warning("%s", error)
        return "The gallery cannot be reached at the moment. Please try again in a minute."
    text = str(error)
    return text if text.startswith("http") else text[:1].upper() + text[1:]
