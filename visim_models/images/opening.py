"""Open a file of each kind with Pillow, and settle what Pillow leaves open: frame, crop, colours and depth.

Pillow parses; what stands here is only what a browser shows and Pillow does not, found with Pillow 12.3
(docs/compatibility.md lists it).
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImagePalette
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from visim_models.errors import MissingExtraError
from visim_models.images.colour import ColourSpace, cicp_space, gamma_space, icc_space
from visim_models.images.jpeg import WatchedJpeg
from visim_models.images.kinds import Kind, RefusedError, not_read, raw_kind

__all__ = ["Opened", "open_picture", "orientation_of"]

Box = tuple[int, int, int, int]
_XMP: Final = ("xmp", "XML:com.adobe.xmp")
_MAX_PROFILE: Final = 4 * 2**20  # bytes of a colour profile, unpacked


@dataclass
class Opened:
    """Hold a picture whose header was read and whose pixels were not, with what is needed to show it.

    Attributes:
        image: As Pillow opened it.
        orientation: EXIF's, 1 to 8.
        levels: The largest value that a grey of more than 8 bits declares; None where the image has none.
        is_unsigned: Whether the 32 bits of such a grey have no sign, though Pillow reads one.
        white_is_zero: Whether such a grey is a negative.
        space: The colours of the samples; None for sRGB.
        size: Width and height that are shown, and what `box` is relative to.
        box: Of the image on the screen, or None where it fills that: the rest is transparent.
        crop: The part of the image that is shown, or None for all of it.
        wide: Gives the samples of an image of 16 bits a colour, (H, W, C) uint16, which Pillow would cut to 8.
        clear: The sample, or samples, that are transparent, where `wide` or a wide grey has such.
        load: Decodes the pixels of `image`; None where that is Pillow's own way.
    """

    image: Image.Image
    orientation: int = 1
    levels: int | None = None
    is_unsigned: bool = False
    white_is_zero: bool = False
    space: ColourSpace | None = None
    size: tuple[int, int] = (0, 0)
    box: Box | None = None
    crop: Box | None = None
    wide: Callable[[], npt.NDArray[np.uint16]] | None = None
    clear: int | tuple[int, ...] | None = None
    load: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.size == (0, 0):
            self.size = self.image.size


def open_picture(kind: Kind, data: bytes) -> Opened:
    """Open a file.

    Args:
        kind: Of the file, as `kind_of` tells it.
        data: The file.

    Raises:
        RefusedError: visim does not read the kind, or such a file of it.
        Exception: It is damaged; Pillow raises a dozen kinds.
    """
    if kind.way_out:
        raise RefusedError(not_read(kind))
    return _OPENERS[kind.name](data)


def orientation_of(image: Image.Image) -> int:
    """Return the orientation that an image's EXIF states, 1 to 8; 1 where it states none or is damaged.

    Only EXIF counts: browsers do not turn a picture that states its orientation in XMP alone.
    """
    block = image.info.get("exif")
    if not block:
        return 1
    with suppress(Exception):  # damaged EXIF raises struct.error, SyntaxError, TypeError and more
        exif = Image.Exif()
        exif.load(block)
        value = exif.get(ExifTags.Base.Orientation, 1)
        return value if value in range(1, 9) else 1
    return 1


def _forget_xmp(image: Image.Image) -> None:
    for key in _XMP:
        image.info.pop(key, None)


def _open_jpeg(data: bytes) -> Opened:
    file = WatchedJpeg(data)
    image = JpegImageFile(file)
    return Opened(image, orientation_of(image), space=icc_space(image), load=lambda: file.load(image))


def _open_webp(data: bytes) -> Opened:
    image = WebPImageFile(io.BytesIO(data))
    return Opened(image, orientation_of(image), space=icc_space(image))


def _open_bmp(data: bytes) -> Opened:
    return Opened(BmpImageFile(io.BytesIO(data)))


def _open_gif(data: bytes) -> Opened:
    image = GifImageFile(io.BytesIO(data))
    box = cast(Box, image.tile[0].extents)
    whole = (0, 0, *image.size)
    return Opened(image, box=None if box == whole else box, crop=None if box == whole else box)


def _open_heic(data: bytes) -> Opened:
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise MissingExtraError("pillow-heif", extra="heif", purpose="A HEIC picture") from error
    image: Image.Image = HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]  # turned and cropped by libheif
    nclx = image.info.get("nclx_profile") or {}
    space = icc_space(image) or cicp_space(nclx.get("color_primaries", 1), nclx.get("transfer_characteristics", 13))
    return Opened(image, space=space)


def _open_avif(data: bytes) -> Opened:
    """Open an AVIF; libavif leaves the clean aperture and the code points of its colours to the reader."""
    image = AvifImageFile(io.BytesIO(data))
    start = data.find(b"meta")
    properties = data[start : start + int.from_bytes(data[start - 4 : start], "big")] if start >= 4 else b""
    space = icc_space(image)
    if space is None and (found := re.search(rb"colrnclx(....)", properties, re.DOTALL)):
        space = cicp_space(*struct.unpack(">HH", found[1]))
    crop = None
    if found := re.search(rb"\0\0\0\x28clap(.{32})", properties, re.DOTALL):
        crop = _clean_aperture(struct.unpack(">LLLLlLlL", found[1]), image.size)
    return Opened(image, orientation_of(image), space=space, crop=crop)


def _clean_aperture(values: tuple[int, ...], size: tuple[int, int]) -> Box | None:
    """Return the box that a clean aperture names (ISO/IEC 14496-12, section 12.1.4), or None for a wrong one."""
    if 0 in values[1::2]:
        return None
    width, height, across, down = (value / scale for value, scale in zip(values[::2], values[1::2], strict=True))
    left = round((size[0] - width) / 2 + across)
    top = round((size[1] - height) / 2 + down)
    box = left, top, left + round(width), top + round(height)
    return box if 0 <= left < box[2] <= size[0] and 0 <= top < box[3] <= size[1] else None


# PNG: only the chunks that make pixels reach Pillow, which would unpack texts and profiles, however many there are.
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_KEPT_BEFORE_PIXELS: Final = (b"PLTE", b"tRNS")
_COLOURS: Final = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
_SCALES: Final = {2: 85, 4: 17}  # of Pillow's greys of so many bits
_DAMAGED_PNG: Final = "is a damaged PNG. Save it again as PNG."


def _open_png(data: bytes) -> Opened:
    head: list[bytes] = []
    stated: dict[bytes, bytes] = {}
    pixels: list[bytes] = []
    frames: list[bytes] = []
    frame: list[bytes] = []
    is_animation = False
    for kind, body in _png_chunks(data):
        if kind == b"IHDR" or kind in _KEPT_BEFORE_PIXELS:
            head.append(data[body.start - 8 : body.stop + 4])
        elif kind == b"IDAT":
            pixels.append(data[body])
        elif kind in _COLOURS:
            stated.setdefault(kind, data[body])
        elif kind == b"acTL":
            is_animation = not pixels and body.stop - body.start == 8
        elif kind == b"fcTL":
            frames.append(data[body] if not pixels else b"hidden" + data[body])
        elif kind == b"fdAT" and len(frames) == 1:
            frame.append(data[body][4:])
    if not head or len(head[0]) != 25:
        raise RefusedError(_DAMAGED_PNG)
    size = struct.unpack(">LL", head[0][8:16])
    box = None
    if is_animation and frame and frames[0].startswith(b"hidden"):  # the default image is no part of the animation
        width, height, left, top = struct.unpack(">4L", frames[0][10:26])
        box = left, top, left + width, top + height
        header = struct.pack(">LL", width, height) + head[0][16:21]
        head[0], pixels = _png_chunk(b"IHDR", header), frame
    whole = b"".join([_PNG, *head, _png_chunk(b"IDAT", b"".join(pixels)), _png_chunk(b"IEND", b"")])
    image = PngImageFile(io.BytesIO(whole))
    if exif := stated.get(b"eXIf"):
        image.info["exif"] = exif
    opened = Opened(image, orientation_of(image), space=_png_space(stated), size=size, box=box)
    _note_depth(opened, whole, depth=head[0][16], colour=head[0][17])
    return opened


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """Yield the kind of each chunk, and where its content is; one that is cut off ends with the file."""
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        if kind == b"IEND":
            return
        if not kind.isalpha():
            raise RefusedError(_DAMAGED_PNG)
        yield kind, slice(at + 8, min(at + 8 + length, len(data)))
        at += 12 + length


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(content, zlib.crc32(kind)))


def _png_space(stated: dict[bytes, bytes]) -> ColourSpace | None:
    """Return the colours that chunks state: the PNG specification, third edition, section 4.3, gives their order."""
    if len(code := stated.get(b"cICP", b"")) == 4:
        return cicp_space(code[0], code[1])
    if b"iCCP" in stated:
        packed = stated[b"iCCP"].partition(b"\0")[2][1:]
        with suppress(zlib.error):
            return ColourSpace(profile=zlib.decompressobj().decompress(packed, _MAX_PROFILE))
    if b"sRGB" in stated or len(stated.get(b"gAMA", b"")) != 4:
        return None
    gamma = int.from_bytes(stated[b"gAMA"], "big") / 100_000
    chromaticities = stated.get(b"cHRM", b"")
    return gamma_space(gamma, struct.unpack(">8L", chromaticities) if len(chromaticities) == 32 else None)


def _note_depth(opened: Opened, whole: bytes, *, depth: int, colour: int) -> None:
    """Add to a PNG what Pillow does not tell, or tells in another scale: 16 bits, and the transparent sample."""
    image = opened.image
    clear = image.info.get("transparency")
    if depth in _SCALES and isinstance(clear, int) and image.mode == "L":
        image.info["transparency"] = clear * _SCALES[depth]
    if depth != 16:
        return
    if image.mode == "I;16":
        opened.levels = 65_535
        opened.clear = image.info.pop("transparency", None)
    elif colour in (2, 6) and ((opened.space is not None and opened.space.profile is None) or clear is not None):
        opened.clear = image.info.pop("transparency", None)
        opened.wide = lambda: _sixteen_bits(image, whole)


def _sixteen_bits(image: Image.Image, whole: bytes) -> npt.NDArray[np.uint16]:
    """Return the samples of a PNG of 16 bits, (H, W, C): Pillow gives the high bytes, and here the low ones, too."""
    low = PngImageFile(io.BytesIO(whole))
    low.tile = [tile._replace(args=tile.args.replace("16B", "16L")) for tile in low.tile]  # type: ignore[union-attr]
    samples = np.asarray(image).astype(np.uint16)  # (H, W, C)
    samples <<= 8
    samples |= np.asarray(low)
    return samples


class _Tiff(TiffImageFile):
    """A TIFF with what Pillow reads wrongly set right before it prepares the decoder."""

    white_is_zero = False
    is_unsigned = False
    levels: int | None = None

    def _setup(self) -> None:
        tags: Any = self.tag_v2
        bits = _values(tags, 258, 1)
        _refuse_raw(tags)
        form, depth = max(_values(tags, 339, 1)), max(bits)
        if len(bits) == 1 and depth in _PACKED and tags.get(259, 1) == 1 and 273 in tags:
            raise _PackedError(tags, depth)
        if len(bits) == 1 and depth > 8:
            self.white_is_zero = tags.get(262) == 0
            if tags.get(262, 0) == 0:
                tags[262] = 1
            self.levels = 2**depth - 1 if form == 1 else 2 ** (depth - 1) - 1 if form == 2 else None
            self.is_unsigned = (form, depth) == (1, 32)
            if self.is_unsigned:
                tags[339] = 2  # there is no other mode of 32 bits in the big-endian order
        try:
            if (form, depth) == (2, 8):  # Pillow takes signed bytes for unsigned ones
                raise KeyError(form)
            super()._setup()
        except (SyntaxError, KeyError) as error:
            samples = tags.get(277, len(bits))
            raise RefusedError(
                f"is a TIFF of {samples} x {depth} bits of {_FORMS.get(form, 'a rare form')} (photometric "
                f"{tags.get(262)}, compression {tags.get(259, 1)}), which visim does not read. "
                "Export it as a TIFF or PNG of 8 or 16 bits."
            ) from error
        if tags.get(284) == 2 and depth == 16 and not self.use_load_libtiff:  # Pillow would read bytes, not samples
            self.use_load_libtiff = True
            mode = f"{self.mode};16N"
            whole = (0, 0, *self._tile_size)
            args = (mode, "raw", False, tags.offset)
            self.tile = [self.tile[0]._replace(codec_name="libtiff", extents=whole, offset=0, args=args)]
        if self.mode in ("P", "PA") and max(colours := tags[320]) < 256:  # 8 bits, where 16 are the rule
            self.palette = ImagePalette.raw("RGB;L", bytes(colours))

    def load_prepare(self) -> None:
        if self._im is None:  # made here, without a look at Image.MAX_IMAGE_PIXELS
            self.im = Image.new(self.mode, self._tile_size).im
        super().load_prepare()


_FORMS: Final = {1: "unsigned integers", 2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}


def _values(tags: Any, number: int, default: int) -> tuple[int, ...]:
    value = tags.get(number, default)
    return value if isinstance(value, tuple) and value else (value or default,)


def _refuse_raw(tags: Any) -> None:
    """Refuse camera raw, whose first directory is often no more than a small preview."""
    is_dng = 50_706 in tags
    is_preview = 330 in tags and int(tags.get(254, 0)) & 1
    if is_dng or is_preview or tags.get(262) in (32_803, 34_892):
        raise RefusedError(not_read(raw_kind(str(tags.get(271, "")), is_dng=is_dng)))


_PACKED: Final = range(9, 16)  # bits of a grey, one behind the other; of these Pillow reads 12, in one byte order


class _PackedError(Exception):
    """The samples of a TIFF are packed without a decoder for them in Pillow."""

    def __init__(self, tags: Any, depth: int) -> None:
        super().__init__()
        self.tags, self.depth = tags, depth


def _unpacked(data: bytes, tags: Any, depth: int) -> Opened:
    """Return a grey of packed samples (TIFF 6.0, section 8): each row begins with a byte of its own."""
    width, height = int(tags[256]), int(tags[257])
    stride = -(-width * depth // 8)
    if height * stride > len(data) or not width:
        raise RefusedError("is a TIFF that is cut off. Save it again as PNG.")
    rows = min(int(tags.get(278, height)), height)
    image = Image.new("I;16", (width, height))
    powers = 1 << np.arange(depth - 1, -1, -1, dtype=np.uint16)
    for top in range(height):
        strip, row = divmod(top, rows)
        packed = np.frombuffer(data, np.uint8, stride, _values(tags, 273, 0)[strip] + row * stride)
        samples = np.unpackbits(packed)[: width * depth].reshape(1, width, depth) @ powers  # (1, W)
        image.paste(Image.fromarray(samples), (0, top))
    return Opened(image, tags.get(274, 1), levels=2**depth - 1, white_is_zero=tags.get(262) == 0)


def _open_tiff(data: bytes) -> Opened:
    try:
        image = _Tiff(io.BytesIO(data))
    except _PackedError as found:
        return _unpacked(data, found.tags, found.depth)
    _forget_xmp(image)  # Pillow turns a TIFF itself as soon as it is decoded
    return Opened(
        image,
        levels=image.levels,
        is_unsigned=image.is_unsigned,
        white_is_zero=image.white_is_zero,
        space=icc_space(image),
    )


_OPENERS: Final[dict[str, Callable[[bytes], Opened]]] = {
    "JPEG": _open_jpeg,
    "PNG": _open_png,
    "WebP": _open_webp,
    "GIF": _open_gif,
    "BMP": _open_bmp,
    "TIFF": _open_tiff,
    "AVIF": _open_avif,
    "HEIC": _open_heic,
}
