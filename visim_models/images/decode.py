"""Decode an upload, path, array or PIL image into an upright RGB image, or raise an ImageDecodeError that says why not.

The bytes are not trusted. The first bytes pick one format out of a fixed list; `image_containers` reduces the file to
the parts that make pixels, so that Pillow parses no metadata, and refuses a small file that would take much time or
memory; the declared size is checked before a pixel is decoded; and `MeteredBytes` bounds the rest of the work. Colour
profiles (ICC) are ignored, as they were for the pictures that the models learnt from: the numbers in the file are taken
for sRGB.
"""

import os
import re
import stat
import threading
import warnings
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from visim_models.errors import ImageDecodeError
from visim_models.images.containers.avif import reduce_avif
from visim_models.images.containers.bmp import reduce_bmp
from visim_models.images.containers.gif import reduce_gif
from visim_models.images.containers.jpeg import reduce_jpeg
from visim_models.images.containers.metered import MeteredBytes
from visim_models.images.containers.orientation import exif_orientation
from visim_models.images.containers.png import reduce_png
from visim_models.images.containers.reduced import Reduced, RefusedError
from visim_models.images.containers.tiff import reduce_tiff
from visim_models.images.containers.webp import reduce_webp
from visim_models.images.conversion import to_rgb, turned

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "STRANGER_BYTES",
    "STRANGER_PIXELS",
    "TOO_LARGE",
    "ImageSource",
    "check_bytes",
    "decode_image",
]

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[np.uint8]

MAX_BYTES: Final = 32 * 2**20
MAX_PIXELS: Final = 25_000_000  # a 24 megapixel camera's picture; at most 12 bytes of memory a pixel

STRANGER_BYTES: Final = MAX_BYTES
STRANGER_PIXELS: Final = MAX_PIXELS

TOO_LARGE: Final = "is too large"
"""What an error says of a picture that is beyond a limit of size, and may be a good one."""

_MAX_SIDE: Final = 32_768
_READABLE: Final = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
_ADVICE: Final = f"Use a {_READABLE} picture that opens in an image viewer, or save this one again as JPEG or PNG."


class _Format(NamedTuple):
    signature: re.Pattern[bytes]
    decoder: type[ImageFile.ImageFile]
    reduce: Callable[[bytes, int], Reduced]
    pixel_share: int = 1  # the decoders of WebP and AVIF hold about twice as much a pixel as the others


# Opening by class rather than by Image.open keeps the bytes from every other decoder, and the outcome from
# Image.MAX_IMAGE_PIXELS, which any library in the process may have changed.
_FORMATS: Final = (
    _Format(re.compile(rb"\xff\xd8\xff"), JpegImageFile, reduce_jpeg),
    _Format(re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile, reduce_png),
    _Format(re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile, reduce_webp, 2),
    _Format(re.compile(rb"GIF8[79]a"), GifImageFile, reduce_gif),
    _Format(re.compile(rb"BM"), BmpImageFile, reduce_bmp),
    _Format(re.compile(rb"II\*\x00|MM\x00\*"), TiffImageFile, reduce_tiff),
    _Format(re.compile(rb".{4}ftyp(avif|avis|mif1|msf1)", re.DOTALL), AvifImageFile, reduce_avif, 2),
)


def decode_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Decode a picture from anywhere into upright RGB.

    The orientation that the metadata states (all eight) is applied; transparency is laid over white; of an animation
    the first frame is taken; 16-bit greys are divided by 257; other wide greys are scaled as `to_rgb` says.

    Args:
        source: A path, a file's bytes, a PIL image (not changed), or an (H, W, 3) uint8 RGB array (taken as upright).
        max_pixels: Largest width x height. A WebP or AVIF may have half as many, a run-length encoded BMP a fifth. No
            side may exceed 32,768.
        max_bytes: Largest file, in bytes. The coded picture of an AVIF may have 16 MiB.

    Returns:
        A new image of mode RGB that shares nothing with `source` and carries no metadata.

    Raises:
        ImageDecodeError: `source` is not such a picture, is damaged, or is beyond a limit. Nothing else is raised.
    """
    name, path = "the picture", None
    try:
        if isinstance(source, Image.Image):
            return _from_pil(source, name, max_pixels)
        if isinstance(source, np.ndarray):
            return _from_array(source, max_pixels)
        if isinstance(source, bytes | bytearray | memoryview):
            check_bytes(memoryview(source).nbytes, name, max_bytes)
            return _from_bytes(bytes(source), name, max_pixels)
        if isinstance(source, str | os.PathLike):
            name, path = f"{os.fspath(source)!r}", source
            return _from_bytes(_read(source, name, max_bytes), name, max_pixels)
    except ImageDecodeError as error:
        error.path = path
        raise
    except RefusedError as error:
        raise ImageDecodeError(f"{name} {error}", path=path) from error
    except Exception as error:  # Pillow raises a dozen kinds on damaged data, MemoryError and RecursionError among them
        raise ImageDecodeError(
            f"{name} is damaged, cut off or of a rare kind ({_reason(error)}). {_ADVICE}", path=path
        ) from error
    raise ImageDecodeError(
        f"{type(source).__name__} is not something visim can read a picture from; "
        "give a path, the file's bytes, a PIL image, or an (H, W, 3) uint8 array"
    )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def check_bytes(size: int, name: str, max_bytes: int) -> None:
    """Check the size of a file.

    Raises:
        ImageDecodeError: It is empty, or larger than the limit.
    """
    if size == 0:
        raise ImageDecodeError(f"{name} is empty (0 bytes): nothing was uploaded or saved. Choose the picture again.")
    if size > max_bytes:
        raise ImageDecodeError(
            f"{name} has {size:,} bytes, more than the limit of {max_bytes:,}. Save the picture smaller, or as JPEG."
        )


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageDecodeError(f"{name} is {width} x {height} pixels: there is nothing in it. Choose another picture.")
    if width * height > max_pixels or max(size) > _MAX_SIDE:
        raise ImageDecodeError(
            f"{name} {TOO_LARGE}: {width} x {height} pixels, and the limit is {max_pixels:,} pixels in all "
            f"and {_MAX_SIDE:,} a side. Make the picture smaller and try again."
        )


def _read(path: str | os.PathLike[str], name: str, max_bytes: int) -> bytes:
    """Return the file's bytes, if it is a plain file within the limit."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(path)) or str(path).startswith("data:"):
        raise ImageDecodeError(f"{name[:80]} is an address, not a file. Download it and give its path or bytes.")
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageDecodeError(f"{name} is a folder. Give the path of one picture in it.")
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device could block forever
            raise ImageDecodeError(f"{name} is not a plain file. Give the path of a picture, or its bytes.")
        check_bytes(status.st_size, name, max_bytes)
        with open(path, "rb") as file:
            # Asked for all that the limit allows, Python would fetch 32 MiB of memory for a picture of 1 kB.
            data = file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
    except FileNotFoundError as error:
        raise ImageDecodeError(f"there is no file {name}. Check the path, and the folder it starts from.") from error
    except (OSError, ValueError) as error:
        raise ImageDecodeError(f"{name} cannot be read ({_reason(error)}). Check the path and permissions.") from error
    check_bytes(len(data), name, max_bytes)  # the file may have grown since
    return data


class _PillowWarningsIgnored:
    """Keep Pillow's warnings about tags and sizes from becoming the caller's.

    `warnings.catch_warnings` swaps the whole filter list, and threads that overlap leave the wrong one behind. This
    adds one filter that concerns Pillow's modules alone, and takes out that one when the last thread has left.
    """

    _lock = threading.Lock()
    _inside = 0

    def __enter__(self) -> None:
        with self._lock:
            warnings.filterwarnings("ignore", module=r"(?#visim)PIL\.")  # the mark keeps it apart from anyone else's
            self._filter = warnings.filters[0]
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            filters = cast(list[Any], warnings.filters)
            if self._inside == 0 and self._filter in filters:
                filters.remove(self._filter)


_PILLOW_WARNINGS_IGNORED: Final = _PillowWarningsIgnored()


def _from_array(array: npt.NDArray[Any], max_pixels: int) -> Image.Image:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ImageDecodeError(
            f"the array has shape {array.shape} and dtype {array.dtype}; it must be (H, W, 3) and uint8, in RGB order"
        )
    _check_size((array.shape[1], array.shape[0]), "the array", max_pixels)
    return Image.fromarray(np.array(array, order="C"))  # a copy: the picture must not follow later writes


def _from_pil(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    _check_size(image.size, name, max_pixels)
    with _PILLOW_WARNINGS_IGNORED:
        image.load()
        rgb = to_rgb(image)
        try:
            orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        except Exception:  # damaged EXIF raises struct.error, SyntaxError, TypeError and more; the pixels may be good
            orientation = 1
    return turned(rgb, orientation)


def _from_bytes(data: bytes, name: str, max_pixels: int) -> Image.Image:
    form = next((form for form in _FORMATS if form.signature.match(data)), None)
    if form is None:
        raise ImageDecodeError(f"{name} is not a {_READABLE} picture, whatever its name ends in. {_ADVICE}")
    reduced = form.reduce(data, max_pixels)
    del data  # a file of 32 MiB need not be there twice while it is decoded
    with _PILLOW_WARNINGS_IGNORED:
        rgb, orientation = _decode(form.decoder, reduced, name, max_pixels // form.pixel_share)
    return turned(rgb, orientation)  # only now: the decoder has let go of its memory


def _decode(
    decoder: type[ImageFile.ImageFile], reduced: Reduced, name: str, max_pixels: int
) -> tuple[Image.Image, int]:
    """Return the pixels as they are stored, and the orientation that turns them upright."""
    with decoder(MeteredBytes(reduced.data)) as image:
        _check_size(image.size, name, max_pixels)
        image.load()
        rgb = to_rgb(image, white_is_zero=reduced.white_is_zero)
        made_by_decoder = image.info.get("exif", b"")  # of an AVIF's properties; any other is gone with the metadata
        return rgb, reduced.orientation or exif_orientation(made_by_decoder) or 1
