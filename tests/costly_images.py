"""Small files that ask a decoder for much memory or time, made on the spot.

`costly_uploads()` gives them all. Where the costly part makes no pixels, the picture may be read without it; every one
may be refused. They are for the processes of limited memory and time alone.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.avif_files import Item, av1, avif, box, grid
from tests.image_files import (
    FLAG,
    FLAG_LOSSY,
    RED,
    Picture,
    Upload,
    after_soi,
    bmp,
    chunk,
    encoded,
    exif_block,
    png,
    quadrants,
    segment,
    tiff,
    webp,
)

__all__ = ["costly_uploads"]

BLACK_PICTURE = Picture((24, 16), ((0, 0, 0),) * 4)
BYTE, SHORT, LONG, SBYTE, UNDEFINED = 1, 3, 4, 6, 7
MEGABYTE = zlib.compress(bytes(1_000_000), 9)  # 1 kB


def costly_uploads() -> Iterator[Upload]:
    """Yield all of them."""
    for maker in (_exif, _tiff_tags, _png_texts, _jpeg_segments, _blocks, _deflate, _webp_codes, _jpeg_in_tiff, _avif):
        yield from maker()


def _shared(tags: int, size: int) -> bytes:
    """Return EXIF whose tags all point at one region."""
    return exif_block([(1000 + tag, UNDEFINED, size, 14 + 12 * tags) for tag in range(tags)], bytes(size))


def _with_chunks(extra: bytes) -> bytes:
    """Return the flag as a PNG with further chunks before its pixels."""
    flag = encoded(quadrants(), "PNG")
    return flag[:33] + extra + flag[33:]


def _jpeg() -> bytes:
    return encoded(quadrants(), "JPEG", quality=95, subsampling=0)


def _exif() -> Iterator[Upload]:
    many, large = _shared(20_000, 100_000), _shared(300, 8_000_000)
    yield Upload("png, exif of 20,000 tags on one region", _with_chunks(chunk(b"eXIf", many)), FLAG)
    yield Upload("png, exif of 300 tags on 8 MB", _with_chunks(chunk(b"eXIf", large)), FLAG)
    still = encoded(quadrants(), "WEBP", lossless=True)[20:]
    canvas = bytes([0x08, 0, 0, 0, 23, 0, 0, 15, 0, 0])  # with EXIF; width and height less one
    extended = webp((b"VP8X", canvas), (b"VP8L", still), (b"EXIF", large))
    yield Upload("webp, exif of 300 tags on 8 MB", extended, FLAG)
    parts = (large[start : start + 65_000] for start in range(0, len(large), 65_000))
    several = b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts)
    yield Upload("jpeg, exif of 300 tags on 8 MB in several segments", after_soi(_jpeg(), several), FLAG_LOSSY)
    about = box(b"cdsc", struct.pack(">HHH", 2, 1, 1))  # item 2 describes item 1
    data = avif([av1(quadrants()), Item(b"Exif", bytes(4) + large)], references=about)
    yield Upload("avif, exif of 300 tags on 8 MB", data, FLAG._replace(tolerance=25))


def _tiff_tags() -> Iterator[Upload]:
    for tags, size in ((1_500, 1_000_000), (20_000, 64_000)):
        more = [(30_000 + tag, UNDEFINED, size, None) for tag in range(tags)]
        data = tiff(24, 16, bytes(384), more=more, region=bytes(size))
        yield Upload(f"tiff of {tags:,} tags on one region", data, BLACK_PICTURE)
    for kind, name in ((BYTE, "byte"), (SBYTE, "signed byte")):
        more = [(tag, kind, 5_000_000, None) for tag in (273, 279)]
        data = tiff(24, 16, b"", tags={278: 1}, more=more, region=bytes(5_000_000))  # one row a strip
        yield Upload(f"tiff of five million strips, offsets as {name}", data, None)
    rows, width = 32_768, 760
    offsets = struct.pack(f"<{rows}L", *(8 + row % 2 for row in range(rows)))
    size = 100_000
    table = [(273, LONG, rows, 8 + size), (279, LONG, rows, 8 + size), (278, LONG, 1, 1)]
    pixels = bytes(size) + offsets
    yield Upload("tiff of 32,768 strips on one region", tiff(width, rows, pixels, more=table), None)


def _png_texts() -> Iterator[Upload]:
    bomb, latin = b"\0\0" + MEGABYTE, zlib.compress(b"\xff" * 1_000_000, 9)
    yield Upload("png of 10,000 colour profiles", _with_chunks(chunk(b"iCCP", b"a" + bomb) * 10_000), FLAG)
    yield Upload("png of 10,000 texts without a keyword", _with_chunks(chunk(b"zTXt", bomb) * 10_000), FLAG)
    texts = chunk(b"iTXt", b"C\0\1\0\0\0" + latin) * 10_000
    yield Upload("png of 10,000 texts that are not utf-8", _with_chunks(texts), FLAG)
    texts = b"".join(chunk(b"iTXt", b"%d\0\1\0\0\0" % number + MEGABYTE) for number in range(63))
    yield Upload("png of 63 texts of 1 MB", _with_chunks(texts), FLAG)


def _jpeg_segments() -> Iterator[Upload]:
    exif = segment(0xE1, b"Exif\0\0" + bytes(3_290)) * 9_900
    yield Upload("jpeg of 9,900 exif segments", after_soi(_jpeg(), exif), FLAG_LOSSY)
    tables = segment(0xDB, (b"\0" + b"\1" * 64) * 1_008) * 500
    yield Upload("jpeg of half a million quantisation tables", after_soi(_jpeg(), tables), None)


def _blocks() -> Iterator[Upload]:
    gif = encoded(quadrants(), "GIF")
    frame = gif.index(b",\0\0\0\0")
    comment = b"!\xfe" + (b"\xff" + bytes(255)) * 24_000 + b"\0"
    yield Upload("gif with a comment of 6 MB", gif[:frame] + comment + gif[frame:], FLAG)
    comments = (b"!\xfe\xff" + bytes(255) + b"\0") * 12_000
    yield Upload("gif of 12,000 comments", gif[:frame] + comments + gif[frame:], FLAG)
    yield Upload("bmp of 25 megapixels in runs of one", bmp(5_000, 5_000, b"\1\1\0\0" * 5_000, compression=1), None)


def _deflate() -> Iterator[Upload]:
    rows = b"\0" + bytes(RED)
    block = _empty_block()
    stream = b"\x78\x9c" + block * (31_000_000 // len(block)) + zlib.compress(rows)[2:]
    whole = png(1, 1, rows=rows)
    header = whole[: whole.index(b"IDAT") - 4]
    yield Upload("png of 2.7 million empty deflate blocks", header + chunk(b"IDAT", stream) + chunk(b"IEND", b""), None)


def _empty_block() -> bytes:
    """Return eight deflate blocks, each with prefix codes of its own and nothing else, in whole bytes."""
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
    lengths = {18: 1, 0: 2, 1: 2}  # of the codes for code lengths: 18 is 0, 1 is 11
    numbers = [(0, 1), (2, 2), (0, 5), (0, 5), (len(order) - 1 - 4, 4)]
    numbers += [(lengths.get(symbol, 0), 3) for symbol in order[:-1]]
    numbers += [(0, 1), (127, 7), (0, 1), (107, 7)]  # 138 and 118 literals of no length
    numbers += [(3, 2), (3, 2), (0, 1)]  # the end of a block and one distance, one bit each; the end
    bits = "".join(f"{number:0{count}b}"[::-1] for number, count in numbers) * 8
    return bytes(int(bits[start : start + 8][::-1], 2) for start in range(0, len(bits), 8))


def _webp_codes() -> Iterator[Upload]:
    """Yield a lossless stream that is 300 kB long and has 65,536 groups of prefix codes."""

    def number(value: int, bits: int) -> str:
        return f"{value:0{bits}b}"[::-1]

    def every_byte(symbols: int) -> str:  # a prefix code in which 0 to 255 have eight bits each
        lengths = "".join(number(int(symbol in (0, 8)), 3) for symbol in (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8))
        return "0" + number(8, 4) + lengths + "0" + "1" * 256 + "0" * (symbols - 256)

    one_symbol, side = "1000", 1_024
    header = number(0x2F, 8) + number(side - 1, 14) * 2 + "0" + "000"
    blocks = "".join(f"{index & 255:08b}{index >> 8:08b}" for index in range((side // 4) ** 2))
    small_image = "0" + every_byte(280) + every_byte(256) + 3 * one_symbol + blocks
    bits = header + "0" + "0" + "1" + "000" + small_image + 5 * one_symbol * 65_536
    values = np.frombuffer(bits.encode(), np.uint8) - ord("0")
    yield Upload(
        "webp of 65,536 groups of codes", webp((b"VP8L", np.packbits(values, bitorder="little").tobytes())), None
    )


def _jpeg_in_tiff() -> Iterator[Upload]:
    side = 3_000
    jpeg = encoded(Image.new("RGB", (side, side), RED), "JPEG", progressive=True, subsampling=0)
    first = jpeg.index(b"\xff\xda")
    scan = jpeg[first : jpeg.index(b"\xff\xc4", first)]
    stream = jpeg[:-2] + scan * 80 + jpeg[-2:]
    more = [(258, SHORT, 3, None), (530, SHORT, 2, 1 | 1 << 16)]
    tags = {259: 7, 262: 6, 277: 3}
    data = tiff(side, side, stream, tags=tags, more=more, region=struct.pack("<3H", 8, 8, 8))
    yield Upload("tiff of a jpeg of 90 scans", data, None)


def _avif() -> Iterator[Upload]:
    large = av1(Image.new("L", (4_000, 4_000)), (24, 16))
    cells = [av1(Image.new("RGB", (64, 64), colour), (3_500, 3_500)) for colour in FLAG.colours]
    small = av1(quadrants())
    many = small._replace(content=av1(Image.new("RGB", (3_500, 3_500))).content * 100)
    yield Upload("avif of 24 x 16 over a frame of 16 megapixels", avif([large]), None)
    yield Upload("avif of 24 x 16 over a grid of 49 megapixels", grid(cells, 2, (7_000, 7_000), (24, 16)), None)
    yield Upload("avif of 24 x 16 over a grid of one large frame", grid([large] * 4, 2, (48, 32)), None)
    yield Upload("avif of 24 x 16 over 100 frames of 12 megapixels", avif([many]), None)
    yield Upload("avif of 10,000 items", avif([small] + [Item(b"none", b"x")] * 10_000), None)
    film = encoded(quadrants(), "AVIF", save_all=True, append_images=[quadrants()] * 3)
    meta = film.index(b"meta")
    yield Upload("avif of a film alone", film[:meta] + b"free" + film[meta + 4 :], None)
