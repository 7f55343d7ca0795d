"""Taking in a picture: the upload component, and a clear message where what came is none."""

import base64
import binascii
from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from visim_models import ImageDecodeError, ImageSourceError, decode_image
from visim_models.download import download
from visim_models.images import MAX_BYTES

__all__ = ["fetch_picture", "open_upload", "picture_input", "sentence"]

_FETCH_SECONDS = 8.0


def _hand_on(_: gr.Image, payload: ImageData | None) -> str | bytes | None:
    """The path of an uploaded file (Gradio has checked that it is one), or the bytes of a data: address."""
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):
        try:
            return base64.b64decode(payload.url.partition(",")[2], validate=True)
        except binascii.Error:
            return b"not base64"  # no picture: the decoder says so
    return payload.path


# Gradio makes a component anew from its class after each event, so the class itself must have the method. It is made
# without the class statement because Gradio writes an interface file beside the source of every subclass.
_PictureInput: type[gr.Image] = ABCMeta.__new__(
    type(gr.Image), "PictureInput", (gr.Image,), {"preprocess": _hand_on, "is_template": True, "__module__": __name__}
)


def picture_input(**options: Any) -> gr.Image:
    """A `gr.Image` that hands the file on as it came, undecoded.

    Gradio's own would open it with Pillow first: whatever Pillow finds wrong ends there, as an error without a reason.
    """
    return _PictureInput(type="filepath", image_mode=None, **options)


def open_upload(source: str | bytes) -> Image.Image:
    """An upright RGB picture of what `picture_input` handed on.

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


def fetch_picture(address: str) -> Image.Image:
    """The upright RGB picture at a web address, which must be public.

    Raises:
        ImageSourceError: the address is refused, or cannot be reached in time.
        ImageDecodeError: there is no picture.
    """
    if not (url := address.strip()):
        raise ImageSourceError("no address was given: paste one like https://host/picture.jpg.")
    try:
        content = download(url, timeout=_FETCH_SECONDS)
    except FileNotFoundError as error:
        raise ImageSourceError(f"{url} leads to no file: check the address.") from error
    return decode_image(content)


def sentence(error: Exception) -> str:
    """An error's message with a capital letter, unless it begins with an address."""
    text = str(error)
    return text if text.startswith("http") else text[:1].upper() + text[1:]
