"""Decode a path, bytes, array or PIL image into an upright RGB picture in sRGB, or raise an ImageDecodeError.

The first bytes pick one decoder out of a fixed list, so that no other ever sees them, and the size that the file
declares is checked before a pixel is decoded. Nothing here limits what a decoder takes: `limited.decode_untrusted` does
that for the bytes of strangers.
"""

import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from visim_models.errors import ImageDecodeError, MissingExtraError
from visim_models.images.colour import ColourSpace, Curve, icc_space
from visim_models.images.kinds import HEAD_BYTES, PARTLY_LOST, PICTURES, TOO_LARGE, RefusedError, kind_of
from visim_models.images.opening import Box, Opened, open_picture, orientation_of

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "STRANGER_BYTES",
    "STRANGER_PIXELS",
    "ImageSource",
    "check_bytes",
    "decode_and_report",
    "decode_image",
    "to_srgb",
    "turned",
]

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[np.uint8]

MAX_BYTES: Final = 2**30
MAX_PIXELS: Final = 200_000_000
"""Limits for the pictures of the person who runs this: of the largest cameras, and of panoramas."""

STRANGER_BYTES: Final = 32 * 2**20
STRANGER_PIXELS: Final = 25_000_000
"""Limits for everybody else's: a 24 megapixel camera's picture."""

_FULL_PIXELS: Final = 25_000_000
"""A JPEG of more is decoded at half its width and height, or less: no network sees the difference, and it is light."""

_MAX_SIDE: Final = 65_535
_ADVICE: Final = f"Use a {PICTURES} picture that opens in an image viewer, or save this one again as JPEG or PNG."


def decode_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Decode a picture from anywhere into upright RGB, as a browser shows it.

    The orientation that EXIF states (all eight) is applied; colours become sRGB, by the embedded profile, a PNG's gamma
    or the code points of video; transparency is laid over white; of an animation the first frame is taken; greys of
    more than 8 bits are scaled as `to_srgb` says. A JPEG of more than 25 megapixels is decoded at a half, a fourth or
    an eighth of its width and height.

    Args:
        source: A path, a file's bytes, a PIL image (not changed), or an (H, W, 3) uint8 RGB array (taken as upright).
            An image as `PIL.Image.open` gave it is read like its file; any other PIL image is taken as it is, whatever
            orientation and colour profile it still carries: whoever made it may have applied them.
        max_pixels: Largest width x height. No side may exceed 65,535.
        max_bytes: Largest file, in bytes.

    Returns:
        A new image of mode RGB that shares nothing with `source` and carries no metadata.

    Raises:
        ImageDecodeError: `source` is not such a picture, is damaged, or is beyond a limit. Nothing else is raised.
    """
    return decode_and_report(source, max_pixels, max_bytes, lambda kind, size: None)


def decode_and_report(
    source: ImageSource, max_pixels: int, max_bytes: int, opened: Callable[[str, tuple[int, int]], None]
) -> Image.Image:
    """Decode as `decode_image` does, and call `opened` with the kind and size that a file declares, before its pixels.

    Raises:
        ImageDecodeError: `source` is not such a picture, is damaged, or is beyond a limit.
    """
    name, path = "the picture", None
    try:
        if isinstance(source, Image.Image):
            return _from_pil(source, name, max_pixels)
        if isinstance(source, np.ndarray):
            return _from_array(source, max_pixels)
        if isinstance(source, bytes | bytearray | memoryview):
            check_bytes(memoryview(source).nbytes, name, max_bytes)
            return _from_bytes(bytes(source), name, max_pixels, opened)
        if isinstance(source, str | os.PathLike):
            name, path = f"{os.fspath(source)!r}", source
            return _from_bytes(_read(source, name, max_bytes), name, max_pixels, opened)
    except ImageDecodeError as error:
        error.path = path
        raise
    except (RefusedError, MissingExtraError) as error:
        raise ImageDecodeError(f"{name} {error}", path=path) from error
    except MemoryError as error:
        raise ImageDecodeError(f"{name} {TOO_LARGE} for the memory that it may take. {_ADVICE}", path=path) from error
    except Exception as error:  # Pillow raises a dozen kinds on damaged data, RecursionError among them
        raise ImageDecodeError(
            f"{name} is damaged, cut off or of a rare kind ({_reason(error)}). {_ADVICE}", path=path
        ) from error
    raise ImageDecodeError(
        f"{type(source).__name__} is not something visim can read a picture from; "
        "give a path, the file's bytes, a PIL image, or an (H, W, 3) uint8 array"
    )


def _from_bytes(
    data: bytes,
    name: str,
    max_pixels: int,
    opened: Callable[[str, tuple[int, int]], None] = lambda kind, size: None,
) -> Image.Image:
    kind = kind_of(data[:HEAD_BYTES])
    if kind is None:
        raise ImageDecodeError(f"{name} is not a {PICTURES} picture, whatever its name ends in. {_ADVICE}")
    with _PILLOW_WARNINGS_IGNORED:
        found = open_picture(kind, data)
        _check_size(found.size, name, max_pixels)
        _check_size(found.image.size, name, max_pixels)
        opened(kind.name, found.size)
        if isinstance(found.image, JpegImageFile):
            _draft(found.image)
        try:
            rgb = to_srgb(found)
        except (MemoryError, RefusedError):
            raise
        except Exception as error:
            raise RefusedError(f"is damaged and {PARTLY_LOST} ({_reason(error)}). {_ADVICE}") from error
        finally:
            found.image.close()
    orientation = found.orientation
    del found, data  # the decoder has let go of its memory before the turned copy is made
    return turned(rgb, orientation)


def _draft(image: JpegImageFile) -> None:
    """Let a large JPEG be decoded at a scale of 1/2, 1/4 or 1/8."""
    width, height = image.size
    for scale in (1, 2, 4, 8):
        if width * height <= _FULL_PIXELS * scale**2 or scale == 8:
            if scale > 1:
                image.draft(None, (width // scale, height // scale))
            return


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
    if not isinstance(image, ImageFile.ImageFile):
        if image.mode == "RGB" and not image.has_transparency_data:
            return image.copy()
        with _PILLOW_WARNINGS_IGNORED:
            return to_srgb(Opened(image))
    if image.tile and image.fp is not None and image.tell() == 0 and not image.decoderconfig:
        position = image.fp.tell()
        try:
            image.fp.seek(0)
            data = image.fp.read()
        finally:
            image.fp.seek(position)
        kind = kind_of(data[:HEAD_BYTES])
        if kind is not None and not kind.way_out:  # of another kind, whoever opened it has chosen to read it
            return _from_bytes(data, name, max_pixels)
    with _PILLOW_WARNINGS_IGNORED:  # it is decoded already, or another of its frames is chosen
        return turned(to_srgb(Opened(image, space=icc_space(image))), orientation_of(image))


_BAND: Final = 2**20  # pixels
_LEAST_BITS: Final = 8  # of a grey that is stretched
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_srgb(opened: Opened) -> Image.Image:
    """Return a new image of mode RGB in sRGB, with transparency laid over white, not turned yet.

    Args:
        opened: A picture whose pixels may not be decoded yet. Its greys of more than 8 bits are scaled from 0 to the
            largest value that they declare; where they use less than a fourth of that range, to the smallest depth, of
            8 bits or more, that holds them, or from their smallest to their largest. Floats are taken as 0..1 if all
            finite values are within, else from smallest to largest. NaN and -inf become the smallest value, inf the
            largest.

    Raises:
        RefusedError: All values of a float image are infinite or NaN.
    """
    (opened.load or opened.image.load)()
    has_curve = opened.space is not None and opened.space.profile is None
    if opened.wide is not None and (has_curve or opened.clear is not None):
        rgb = _from_wide(opened)
    elif opened.image.mode.startswith("I") or opened.image.mode == "F":
        rgb = _from_grey(opened)
    else:
        rgb = _from_eight_bits(opened.image, opened.space)
    if opened.crop is not None:
        rgb = _cut(rgb, opened.crop)
    if opened.box is not None:
        screen = Image.new("RGB", opened.size, "white")
        screen.paste(rgb, opened.box[:2])
        rgb = screen
    return rgb


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image upright.

    Args:
        image: The image as it is stored.
        orientation: EXIF's orientation, 1 to 8; any other value turns nothing.
    """
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _from_eight_bits(image: Image.Image, space: ColourSpace | None) -> Image.Image:
    """Return an image of any mode of 8 bits in sRGB."""
    if not image.has_transparency_data:
        return _opaque(image, space)
    rgb = Image.new("RGB", image.size, "white")
    for top, band in _bands(image):
        rgba = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
        rgb.paste(_opaque(rgba, space), (0, top), mask=rgba.getchannel("A"))
    return rgb


def _opaque(image: Image.Image, space: ColourSpace | None) -> Image.Image:
    """Return a new image of mode RGB in sRGB, without a look at transparency."""
    base = image if image.mode in ("L", "CMYK") and space is not None else image.convert("RGB")
    rgb = (space and space.converted(base)) or (image.convert("RGB") if base is image else base)
    rgb.info = {}
    return rgb


def _cut(image: Image.Image, box: Box) -> Image.Image:
    # Not crop(): it minds Image.MAX_IMAGE_PIXELS, which any library in the process may have changed.
    return image.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST, box=box)


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield copies of the rows from the top down, each with the index of its first row."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, _cut(image, (0, top, image.width, min(top + rows, image.height)))


def _from_wide(opened: Opened) -> Image.Image:
    """Return a picture of 16 bits a colour in sRGB."""
    assert opened.wide is not None
    samples = opened.wide()  # (H, W, C)
    colours = samples[..., :3]
    space = opened.space
    if space is not None and space.profile is None:
        curve = Curve(space, 65_536)
        rgb = np.concatenate([curve(colours[top : top + 256]) for top in range(0, len(colours), 256)])
    else:
        rgb = (colours >> 8).astype(np.uint8)
    image = Image.fromarray(rgb)
    if opened.clear is not None:
        image.paste("white", mask=Image.fromarray((colours == np.array(opened.clear)).all(-1)))
    elif samples.shape[2] == 4:
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=Image.fromarray((samples[..., 3] >> 8).astype(np.uint8)))
        return ground
    return image if space is None or space.profile is None else _opaque(image, space)


def _from_grey(opened: Opened) -> Image.Image:
    """Return a grey of more than 8 bits, or a float, in sRGB."""
    image, space = opened.image, opened.space
    curve = None if space is None or space.profile is not None else Curve(space, 65_536).table
    rgb = Image.new("RGB", image.size, "white")
    low, high = _range(opened)
    for top, band in _bands(image):
        values = _values(opened, band)  # (H, W)
        scaled = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        scaled = np.clip((scaled - low) / (high - low or 1.0), 0, 1)
        if opened.white_is_zero:
            scaled = 1 - scaled
        grey = np.rint(scaled * 255).astype(np.uint8) if curve is None else curve[np.rint(scaled * 65_535).astype(int)]
        shown = _opaque(Image.fromarray(grey), space if curve is None else None)
        mask = None if opened.clear is None else Image.fromarray(values != opened.clear)
        rgb.paste(shown, (0, top), mask)
    return rgb


def _values(opened: Opened, band: Image.Image) -> npt.NDArray[np.float64]:
    values: npt.NDArray[Any] = np.asarray(band)  # (H, W)
    return (values.view(np.uint32) if opened.is_unsigned else values).astype(np.float64)


def _range(opened: Opened) -> tuple[float, float]:
    """Return the values of a wide grey image that become black and white."""
    lows, highs = [], []
    for _, band in _bands(opened.image):
        values = _values(opened, band)
        finite = values[np.isfinite(values)]  # (N,)
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        raise RefusedError("has no finite value in it: there is no picture to see. Export it again.")
    low, high = min(lows), max(highs)
    if opened.image.mode == "F":
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    levels = opened.levels or 65_535
    if low < 0:
        return low, high
    if high < (levels + 1) / 4:
        return 0.0, float(2 ** max(int(high).bit_length(), _LEAST_BITS) - 1)
    return (low, high) if 0 < high - low < (levels + 1) / 4 else (0.0, float(levels))
