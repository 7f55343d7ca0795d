"""Whatever a stranger uploads -> an upright RGB picture, or an ImageDecodeError that says why not.

The bytes are not trusted. The first bytes pick one decoder out of a fixed list, the declared size is checked before a
single pixel is decoded, and what makes a small file slow to read (a progressive JPEG of ten thousand scans, a PNG of a
million chunks, a TIFF of a million strips) is counted and refused. Colour profiles (ICC) are ignored, as they were for
the pictures that the models learnt from: the numbers in the file are taken for sRGB.
"""

import io
import math
import os
import re
import stat
import struct
import threading
import warnings
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from visim_models.errors import ImageDecodeError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "ImageSource", "decode_image"]

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[np.uint8]

MAX_BYTES: Final = 32 * 2**20
MAX_PIXELS: Final = 25_000_000  # a 24 megapixel camera's picture; about 12 bytes of memory a pixel at the peak

_MAX_SIDE: Final = 32_768
_MAX_READS: Final = 50_000  # Pillow walks chunks and blocks in Python, one read or more for each
_MAX_JPEG_SEGMENTS: Final = 10_000
_MAX_JPEG_SCANS: Final = 32  # encoders write about ten; each may pass over the whole picture again
_MAX_TIFF_VALUES: Final = 200_000  # values of one tag: a strip a row, or tiles of 16 x 16, stay below

# Pillow's WebP and AVIF decoders hold about twice as much a pixel as the others, so they get half the pixels.
_PIXEL_SHARE: Final = {"WEBP": 2, "AVIF": 2}
_READABLE: Final = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
_ADVICE: Final = f"Use a {_READABLE} picture that opens in an image viewer, or save this one again as JPEG or PNG."

# Opening by class rather than by Image.open keeps the bytes from every other decoder, and the outcome from
# Image.MAX_IMAGE_PIXELS, which any library in the process may have changed. Of an MPO (several JPEGs) the first opens.
_DECODERS: Final[tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"BM"), BmpImageFile),
    (re.compile(rb"II\*\x00|MM\x00\*"), TiffImageFile),
    (re.compile(rb".{4}ftyp(avif|avis|mif1|msf1)", re.DOTALL), AvifImageFile),
)
_JPEG_MARKER: Final = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither stuffing, nor a restart, nor a fill byte


def decode_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Decodes a picture from anywhere into upright RGB.

    Orientation (EXIF, all eight) is applied; transparency is laid over white; of an animation the first frame is
    taken; 16-bit greys are divided by 257; other wide greys are scaled as `_eight_bit_grey` says.

    Args:
        source: A path, a file's bytes, a PIL image (not changed), or an (H, W, 3) uint8 RGB array (taken as upright).
        max_pixels: Largest width x height; a WebP or AVIF may have half as many. No side may exceed 32,768.
        max_bytes: Largest file, in bytes.

    Returns:
        A new image of mode RGB that shares nothing with `source` and carries no metadata.

    Raises:
        ImageDecodeError: `source` is not such a picture, is damaged, or is beyond a limit. Nothing else is raised.
    """
    name = "the picture"
    try:
        if isinstance(source, Image.Image):
            return _upright_rgb(source, name, max_pixels)
        if isinstance(source, np.ndarray):
            return _from_array(source, max_pixels)
        if isinstance(source, bytes | bytearray | memoryview):
            _check_bytes(memoryview(source).nbytes, name, max_bytes)
            return _decode(bytes(source), name, max_pixels)
        if isinstance(source, str | os.PathLike):
            name = f"{os.fspath(source)!r}"
            return _decode(_read(source, name, max_bytes), name, max_pixels)
    except ImageDecodeError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds on damaged data, MemoryError and RecursionError among them
        raise ImageDecodeError(f"{name} is damaged, cut off or of a rare kind ({_reason(error)}). {_ADVICE}") from error
    raise ImageDecodeError(
        f"{type(source).__name__} is not something visim can read a picture from; "
        "give a path, the file's bytes, a PIL image, or an (H, W, 3) uint8 array"
    )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _check_bytes(size: int, name: str, max_bytes: int) -> None:
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
            f"{name} is too large: {width} x {height} pixels, and the limit is {max_pixels:,} pixels in all "
            f"and {_MAX_SIDE:,} a side. Make the picture smaller and try again."
        )


def _read(path: str | os.PathLike[str], name: str, max_bytes: int) -> bytes:
    """The file's bytes, if it is a plain file within the limit."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(path)) or str(path).startswith("data:"):
        raise ImageDecodeError(f"{name[:80]} is an address, not a file. Download it and give its path or bytes.")
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageDecodeError(f"{name} is a folder. Give the path of one picture in it.")
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device could block for ever
            raise ImageDecodeError(f"{name} is not a plain file. Give the path of a picture, or its bytes.")
        _check_bytes(status.st_size, name, max_bytes)
        with open(path, "rb") as file:
            # Asked for all that the limit allows, Python would fetch 32 MiB of memory for a picture of 1 kB.
            data = file.read(min(os.fstat(file.fileno()).st_size, max_bytes) + 1)
    except FileNotFoundError as error:
        raise ImageDecodeError(f"there is no file {name}. Check the path, and the folder it starts from.") from error
    except (OSError, ValueError) as error:
        raise ImageDecodeError(f"{name} cannot be read ({_reason(error)}). Check the path and permissions.") from error
    _check_bytes(len(data), name, max_bytes)  # the file may have grown since
    return data


def _decode(data: bytes, name: str, max_pixels: int) -> Image.Image:
    decoder = next((decoder for signature, decoder in _DECODERS if signature.match(data)), None)
    if decoder is None:
        raise ImageDecodeError(f"{name} is not a {_READABLE} picture, whatever its name ends in. {_ADVICE}")
    if decoder is JpegImageFile:
        _check_jpeg(data, name)
    if decoder is TiffImageFile:
        _check_tiff(data, name, max_pixels)
    limit = max_pixels // _PIXEL_SHARE.get(decoder.format or "", 1)
    with _PILLOW_WARNINGS_IGNORED, decoder(_MeteredBytes(data)) as image:
        return _upright_rgb(image, name, limit)


def _check_jpeg(data: bytes, name: str) -> None:
    """Counts segments and scans, which libjpeg does not: without a limit, 1 MB of empty scans takes minutes."""
    position, scans = 2, 0
    for _ in range(_MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)
        if found is None or found[1] == b"\xd9":
            return
        scans += found[1] == b"\xda"
        if scans > _MAX_JPEG_SCANS:
            break
        length = 0 if found[1] in b"\x01\xd8" else int.from_bytes(data[found.end() : found.end() + 2], "big")
        position = found.end() + length
    raise ImageDecodeError(f"{name} is a JPEG of more scans or segments than any camera writes. Save it again as JPEG.")


def _check_tiff(data: bytes, name: str, max_pixels: int) -> None:
    """Refuses tables and tiles that are out of all proportion, from the first directory alone."""
    endian = "<" if data.startswith(b"II") else ">"
    tile = {322: 1, 323: 1}  # TileWidth, TileLength
    try:
        (start,) = struct.unpack_from(endian + "L", data, 4)
        (entries,) = struct.unpack_from(endian + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(endian + "HHL", data, entry)
            if kind not in (1, 2, 6, 7) and count > _MAX_TIFF_VALUES:  # bytes and text (ICC, XMP) are one value
                raise ImageDecodeError(f"{name} is a TIFF of {count:,} values in tag {tag}. Save it again as PNG.")
            if tag in tile:
                (tile[tag],) = struct.unpack_from(endian + ("H" if kind == 3 else "L"), data, entry + 8)
    except struct.error as error:
        raise ImageDecodeError(f"{name} looks like a TIFF picture but is cut off. {_ADVICE}") from error
    if math.prod(tile.values()) > max_pixels:
        raise ImageDecodeError(f"{name} is a TIFF of tiles beyond {max_pixels:,} pixels. Save it again as PNG.")


class _MeteredBytes(io.BytesIO):
    """A file in memory that refuses to be read in too many small pieces: a bound on the work that a header asks for."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ImageDecodeError("the picture is cut into far more pieces than it needs. Save it again as PNG.")
        return super().read(size)


class _PillowWarningsIgnored:
    """Keeps Pillow's complaints about tags and sizes from becoming the caller's.

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


def _upright_rgb(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    _check_size(image.size, name, max_pixels)
    with _PILLOW_WARNINGS_IGNORED:
        image.load()
        rgb = _rgb(image, name)
        rgb.info = {}  # its EXIF may be damaged, and an orientation left in it would turn the picture again later
        rgb.getexif()[ExifTags.Base.Orientation] = _orientation(image)
        ImageOps.exif_transpose(rgb, in_place=True)
    rgb.getexif().clear()
    return rgb


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where the EXIF is damaged, since the picture itself may be good."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises struct.error, SyntaxError, TypeError and more
        return 1


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """A new image of mode RGB; transparency becomes white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit_grey(image, name).convert("RGB")
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image.convert("RGB")


def _eight_bit_grey(image: Image.Image, name: str) -> Image.Image:
    """Scales wide greys to 0..255, in steps of about a megapixel to bound the memory.

    16 bits: 0..65535. 32-bit integers: 0..255 or 0..65535 if all values are within, else smallest to largest. Floats:
    0..1 if all finite values are within, else smallest to largest; NaN and -inf become black, inf white.
    """
    values = np.asarray(image)  # (H, W)
    rows = max(1, 2**20 // image.width)
    bands = [slice(top, top + rows) for top in range(0, image.height, rows)]
    ends = [(part.min(), part.max()) for band in bands if (part := values[band][np.isfinite(values[band])]).size]
    if not ends:
        raise ImageDecodeError(f"{name} has no finite value in it: there is no picture to see. Export it again.")
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    spans = {"F": (1,), "I": (255, 65535)}.get(image.mode, (65535,))
    span = next((span for span in spans if low >= 0 and high <= span), None)
    if span is not None:
        low, high = 0.0, float(span)
    width = high - low or 1.0  # all values the same: black
    grey = np.empty(values.shape, np.uint8)  # (H, W)
    for band in bands:
        finite = np.nan_to_num(values[band].astype(np.float64), nan=low, posinf=high, neginf=low)
        grey[band] = np.rint((finite - low) / width * 255)
    return Image.fromarray(grey)
