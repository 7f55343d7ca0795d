"""A corpus of hostile and odd uploads, made on the spot: no file of it is kept in the repository.

`hostile_uploads()` gives them all. Each says what must come of it: a picture of a given size whose four quadrants have
given colours, or (`picture is None`) an ImageDecodeError. Files that a decoder may settle either way are left out.
tests/upload_costs.py measures the cost of each; the costly ones come first.
"""

import functools
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from tests.avif_files import av1, grid
from tests.image_files import (
    BLUE,
    FLAG,
    FLAG_LOSSY,
    GREEN,
    RED,
    WHITE,
    Picture,
    Upload,
    after_soi,
    chunk,
    encoded,
    png,
    quadrants,
    segment,
    tiff,
    webp,
)

__all__ = ["hostile_uploads"]

BLACK, GREY = (0, 0, 0), (128, 128, 128)
RAMP = Picture((24, 16), (BLACK, GREY, (64, 64, 64), WHITE), tolerance=1)


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def _truncated() -> Iterator[Upload]:
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        whole = encoded(_noise(), form)
        for tenth in range(1, 10):
            yield Upload(f"{form.lower()} cut at {tenth}0 %", whole[: len(whole) * tenth // 10], None)
    progressive = encoded(_noise(), "JPEG", progressive=True)
    yield Upload("progressive jpeg cut in half", progressive[: len(progressive) // 2], None)
    yield Upload("gif header alone", encoded(quadrants(), "GIF")[:20], None)


def _no_pictures() -> Iterator[Upload]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("picture.png", encoded(quadrants(), "PNG"))
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><image href='file:///etc/passwd'/></svg>"
    flag = encoded(quadrants(), "PNG")
    yield Upload("empty", b"", None)
    yield Upload("one byte", b"\xff", None)
    yield Upload("zeros", bytes(4096), None)
    yield Upload("random bytes", np.random.default_rng(1).bytes(4096), None)
    yield Upload("text, as if renamed .jpg", b"I am a text file.\n" * 40, None)
    yield Upload("html", b"<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>", None)
    yield Upload("json", json.dumps({"path": "picture.png"}).encode(), None)
    yield Upload("svg", svg, None)
    yield Upload(
        "svg with xml declaration and entity", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>" + svg, None
    )
    yield Upload("zip", archive.getvalue(), None)
    yield Upload("pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF", None)
    yield Upload("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\nshowpage\n", None)
    yield Upload("pickle", b"\x80\x04\x95\x17\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93.", None)
    yield Upload("ppm, a form that is not read", b"P6 1 1 255\n\xff\x00\x00", None)
    yield Upload("ico, a form that is not read", encoded(quadrants(size=(16, 16)), "ICO"), None)
    yield Upload("jpeg 2000, a form that is not read", encoded(quadrants(size=(16, 16)), "JPEG2000"), None)
    yield Upload("heic brand", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), None)
    yield Upload("wrong magic: png as jpeg", b"\xff\xd8\xff" + flag[3:], None)
    yield Upload("wrong magic: jpeg as png", flag[:8] + encoded(quadrants(), "JPEG")[8:], None)
    yield Upload("wrong magic: png without its first byte", flag[1:], None)
    yield Upload("base64 of a png", b"data:image/png;base64,iVBORw0KGgo=", None)


def _zeros_png(side: int) -> bytes:
    """A whole and correct 1-bit PNG of side x side black pixels, compressed row by row."""
    packer, row = zlib.compressobj(1), bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, depth=1, colour=0).split(b"\0\0\0\x08IDAT")[0] + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _bombs() -> Iterator[Upload]:
    gif = encoded(quadrants(), "GIF")
    frame = gif.index(b",\0\0\0\0") + 5
    jpeg = encoded(quadrants(), "JPEG")
    size = jpeg.index(b"\xff\xc0") + 5
    avif = encoded(quadrants(), "AVIF")
    ispe = avif.index(b"ispe") + 8
    bmp = encoded(quadrants(), "BMP")
    dots = bytes(24 * 16)
    yield Upload("png bomb, declared", png(60_000, 60_000, rows=bytes(64)), None)
    yield Upload("png bomb, largest sides", png(2**31 - 1, 2**31 - 1, rows=bytes(64)), None)
    yield Upload("png bomb, real", _zeros_png(16_000), None)
    yield Upload("png too long a side", png(100_000, 1, rows=bytes(300_001)), None)
    yield Upload("gif bomb", gif[:6] + b"\xff" * 4 + gif[10:], None)
    yield Upload("gif bomb in its frame", gif[:frame] + b"\xff" * 4 + gif[frame + 4 :], None)
    yield Upload("tiff bomb", tiff(60_000, 60_000, dots), None)
    table = struct.pack("<2sHLH", b"II", 42, 8, 1) + struct.pack("<HHLL", 273, 4, 2_000_000, 26) + bytes(8_000_004)
    yield Upload("tiff of two million strips", table, None)
    yield Upload("webp bomb, extended", webp((b"VP8X", bytes(4) + b"\xfe\xff\xff" + b"\xfe\x00\x00")), None)
    lossless = b"\x2f" + struct.pack("<L", (16_383 - 1) | ((16_383 - 1) << 14)) + bytes(32)
    yield Upload("webp bomb, lossless", webp((b"VP8L", lossless)), None)
    yield Upload("jpeg bomb", jpeg[:size] + struct.pack(">HH", 65_500, 65_500) + jpeg[size + 4 :], None)
    yield Upload("avif bomb", avif[:ispe] + struct.pack(">LL", 16_000, 16_000) + avif[ispe + 8 :], None)
    yield Upload("bmp bomb", bmp[:18] + struct.pack("<ll", 60_000, 60_000) + bmp[26:], None)
    yield Upload("bmp of negative width", bmp[:18] + struct.pack("<ll", -24, 16) + bmp[26:], None)
    many = b"".join(chunk(b"teSt", b"") for _ in range(200_000))
    yield Upload("png of 200,000 chunks", png(1, 1, rows=b"\0\xff\0\0", extra=many), Picture((1, 1), (RED,) * 4))
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 1))
    yield Upload("png with a text bomb", png(1, 1, rows=b"\0\xff\0\0", extra=text), Picture((1, 1), (RED,) * 4))


def _sizes() -> Iterator[Upload]:
    gif, bmp = encoded(quadrants(), "GIF"), encoded(quadrants(), "BMP")
    jpeg = encoded(quadrants(), "JPEG")
    size = jpeg.index(b"\xff\xc0") + 5
    yield Upload("png of no width", png(0, 16), None)
    yield Upload("png of no height", png(24, 0), None)
    yield Upload("jpeg of no width", jpeg[: size + 2] + bytes(2) + jpeg[size + 4 :], None)
    yield Upload(
        "gif of no size, frame too",
        gif[:6] + bytes(4) + gif[10:].replace(b",\0\0\0\0\x18\0\x10\0", b"," + bytes(8)),
        None,
    )
    yield Upload("bmp of no size", bmp[:18] + bytes(8) + bmp[26:], None)
    yield Upload("tiff of no size", tiff(0, 0, b""), None)
    for form in ("PNG", "GIF", "BMP", "TIFF"):
        dot = encoded(Image.new("RGB", (1, 1), RED), form)
        yield Upload(f"one pixel, {form.lower()}", dot, Picture((1, 1), (RED,) * 4))
    for form, options in (("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("AVIF", {"quality": 95})):
        dot = encoded(Image.new("RGB", (1, 1), GREY), form, **options)
        yield Upload(f"one pixel, {form.lower()}", dot, Picture((1, 1), (GREY,) * 4, tolerance=4))
    for form in ("PNG", "JPEG", "TIFF"):
        for strip in ((30_000, 2), (2, 30_000)):
            data = encoded(quadrants((GREY,) * 4, strip), form)
            yield Upload(
                f"{form.lower()} strip of {strip[0]} x {strip[1]}", data, Picture(strip, (GREY,) * 4, tolerance=3)
            )


def _polyglots() -> Iterator[Upload]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.py", "raise SystemExit")
    jpeg = encoded(quadrants(), "JPEG", quality=95, subsampling=0)
    script = b"<script>alert(1)</script>"
    yield Upload("jpeg and zip", jpeg + archive.getvalue(), FLAG_LOSSY)
    yield Upload("jpeg and html in a comment", after_soi(jpeg, segment(0xFE, b"--><html>" + script)), FLAG_LOSSY)
    yield Upload("jpeg and two megabytes of film", jpeg + np.random.default_rng(2).bytes(2**21), FLAG_LOSSY)
    yield Upload("gif and html", encoded(quadrants(), "GIF") + b"<html>" + script, FLAG)
    yield Upload("gif and javascript", encoded(quadrants(), "GIF", comment=b"*/=1;alert(1)//"), FLAG)
    yield Upload("png and php", encoded(quadrants(), "PNG") + b"<?php system($_GET[0]); ?>", FLAG)
    mpo = encoded(
        quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (24, 16))], quality=95, subsampling=0
    )
    yield Upload("mpo, two jpegs in one", mpo, FLAG_LOSSY)


def _modes() -> Iterator[Upload]:
    flag, lossy = quadrants(), {"quality": 95, "subsampling": 0}
    alpha = flag.convert("RGBA")
    alpha.paste((0, 0, 0, 0), (0, 0, 12, 8))  # upper left: wholly transparent black, white when laid over white
    seen = FLAG._replace(colours=(WHITE, GREEN, BLUE, WHITE))
    palette = flag.quantize(4)
    index = palette.getpixel((0, 0))
    ramp8 = quadrants(RAMP.colours).convert("L")
    ramp = np.array([[0, 128], [64, 255]]).repeat(8, 0).repeat(12, 1)  # (16, 24), the greys of RAMP
    yield Upload("cmyk jpeg, inverted as Adobe does", encoded(flag.convert("CMYK"), "JPEG", **lossy), FLAG_LOSSY)
    yield Upload("cmyk tiff", encoded(flag.convert("CMYK"), "TIFF"), FLAG)
    yield Upload("ycbcr tiff", encoded(flag.convert("YCbCr"), "TIFF", compression="jpeg"), FLAG._replace(tolerance=40))
    yield Upload("lab tiff", encoded(_lab_grey(), "TIFF"), Picture((24, 16), (GREY,) * 4, tolerance=10))
    yield Upload("rgba png", encoded(alpha, "PNG"), seen)
    yield Upload("rgba webp", encoded(alpha, "WEBP", lossless=True), seen)
    yield Upload("rgba avif", encoded(alpha, "AVIF", quality=95), seen._replace(tolerance=25))
    yield Upload("la png", encoded(Image.merge("LA", (ramp8, Image.new("L", (24, 16), 255))), "PNG"), RAMP)
    yield Upload("grey jpeg", encoded(ramp8, "JPEG", quality=95), RAMP._replace(tolerance=6))
    yield Upload("palette png", encoded(palette, "PNG"), FLAG)
    yield Upload("palette png, one index transparent", encoded(palette, "PNG", transparency=index), seen)
    clear = bytes(0 if i == index else 255 for i in range(4))
    yield Upload("palette png, alpha of each index", encoded(palette, "PNG", transparency=clear), seen)
    yield Upload("palette gif, one index transparent", encoded(palette, "GIF", transparency=index), seen)
    yield Upload("rgb png, one colour transparent", encoded(flag, "PNG", transparency=RED), seen)
    bits = Picture((24, 16), (BLACK, WHITE, WHITE, BLACK))
    for form in ("PNG", "TIFF", "BMP", "GIF"):
        yield Upload(f"1-bit {form.lower()}", encoded(quadrants(bits.colours).convert("1"), form), bits)
    yield Upload("16-bit grey png", encoded(Image.fromarray((ramp * 257).astype(np.uint16)), "PNG"), RAMP)
    yield Upload("16-bit grey tiff", tiff(24, 16, (ramp * 257).astype("<u2").tobytes(), bits=16), RAMP)
    inverse = ((255 - ramp) * 257).astype(np.uint16)
    yield Upload("16-bit white is zero tiff", tiff(24, 16, inverse.tobytes(), bits=16, tags={262: 0}), RAMP)
    for mode, kind, options in (("I;16", "<u2", {"compression": "tiff_lzw"}), ("I;16B", ">u2", {})):
        wide = Image.frombytes(mode, (24, 16), inverse.astype(kind).tobytes())
        data = encoded(wide, "TIFF", tiffinfo={262: 0}, **options)
        name = "little end first, compressed" if options else "big end first"
        yield Upload(f"16-bit white is zero tiff, {name}", data, RAMP)
    floats = tiff(24, 16, (1 - ramp / 255).astype("<f4").tobytes(), bits=32, kind=3, tags={262: 0})
    yield Upload("float white is zero tiff", floats, RAMP)
    eight = tiff(24, 16, (255 - ramp).astype(np.uint8).tobytes(), tags={262: 0})
    yield Upload("8-bit white is zero tiff", eight, RAMP)
    yield Upload(
        "16-bit colour png",
        png(1, 1, depth=16, rows=b"\0" + b"\xff\xff\0\0\x80\x80"),
        Picture((1, 1), ((255, 0, 128),) * 4),
    )
    yield Upload("32-bit integer tiff", tiff(24, 16, (ramp * 257).astype("<i4").tobytes(), bits=32, kind=2), RAMP)
    yield Upload("float tiff, 0 to 1", _float_tiff(ramp / 255), RAMP)
    yield Upload("float tiff, -500 to 500", _float_tiff(ramp * (1000 / 255) - 500), RAMP)
    odd = np.where(ramp == 0, np.nan, np.where(ramp == 255, np.inf, ramp))  # what is finite: 64 to 128
    yield Upload(
        "float tiff with nan and infinity", _float_tiff(odd), RAMP._replace(colours=(BLACK, WHITE, BLACK, WHITE))
    )
    yield Upload(
        "float tiff, largest values",
        _float_tiff(np.where(ramp > 100, 3e38, -3e38)),
        Picture((24, 16), (BLACK, WHITE, BLACK, WHITE)),
    )
    yield Upload("float tiff of nan alone", _float_tiff(np.full((16, 24), np.nan)), None)


def _lab_grey() -> Image.Image:
    return Image.merge(
        "LAB", [Image.new("L", (24, 16), value) for value in (137, 128, 128)]
    )  # L* 53.7, a* and b* 0: sRGB 128


def _float_tiff(values: npt.NDArray[Any]) -> bytes:
    return tiff(values.shape[1], values.shape[0], values.astype("<f4").tobytes(), bits=32, kind=3)


def _metadata() -> Iterator[Upload]:
    stored: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    lossy = {"quality": 95, "subsampling": 0}
    for value, turn in stored.items():
        exif = Image.Exif()
        exif[0x0112] = value
        jpeg = encoded(turn(quadrants()), "JPEG", exif=exif, **lossy)
        yield Upload(f"jpeg of exif orientation {value}", jpeg, FLAG_LOSSY)
        yield Upload(f"png of exif orientation {value}", encoded(turn(quadrants()), "PNG", exif=exif), FLAG)
        webp_file = encoded(turn(quadrants()), "WEBP", lossless=True, exif=exif.tobytes())
        yield Upload(f"webp of exif orientation {value}", webp_file, FLAG)
        avif_file = encoded(turn(quadrants()), "AVIF", quality=95, exif=exif.tobytes())
        yield Upload(f"avif of orientation {value}", avif_file, FLAG._replace(tolerance=25))
        yield Upload(f"tiff of orientation {value}", encoded(turn(quadrants()), "TIFF", tiffinfo={0x0112: value}), FLAG)
    jpeg = encoded(quadrants(), "JPEG", **lossy)
    broken = {
        "random": b"Exif\0\0" + np.random.default_rng(3).bytes(200),
        "cut off": b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\x01",
        "pointing at itself": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
        "of orientation 99": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
        "of orientation as text": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x03\0\0\0six\0\0\0\0\0",
        "of four billion orientations": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0" + b"\xff" * 4 + bytes(8),
    }
    for name, data in broken.items():
        yield Upload(f"jpeg with exif {name}", after_soi(jpeg, segment(0xE1, data)), FLAG_LOSSY)
        yield Upload(f"png with exif {name}", encoded(quadrants(), "PNG", exif=data[6:]), FLAG)
    profile = b"this is no colour profile" * 9
    yield Upload("jpeg with broken icc", encoded(quadrants(), "JPEG", icc_profile=profile, **lossy), FLAG_LOSSY)
    yield Upload("png with broken icc", encoded(quadrants(), "PNG", icc_profile=profile), FLAG)
    yield Upload(
        "webp with broken icc and exif",
        encoded(quadrants(), "WEBP", lossless=True, icc_profile=profile, exif=broken["random"]),
        FLAG,
    )
    info = PngImagePlugin.PngInfo()
    info.add_text("XML:com.adobe.xmp", "<x:xmpmeta tiff:Orientation='nine'>")
    yield Upload("png with broken xmp", encoded(quadrants(), "PNG", pnginfo=info), FLAG)
    flag = encoded(quadrants(), "PNG")
    yield Upload("png with broken animation chunk", flag[:33] + chunk(b"acTL", bytes(8)) + flag[33:], FLAG)
    yield Upload("png with a wrong checksum", flag[:29] + bytes(4) + flag[33:], None)


def _animated() -> Iterator[Upload]:
    other = [quadrants((BLACK,) * 4), quadrants((GREY,) * 4)]
    for form, options in (("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = encoded(quadrants(), form, save_all=True, append_images=other, **options)
        yield Upload(f"several frames, {form.lower()}", data, FLAG)
    cells = [av1(quadrants((colour,) * 4, (64, 64))) for colour in FLAG.colours]
    yield Upload("a grid, avif", grid(cells, 2, (128, 128)), FLAG._replace(size=(128, 128), tolerance=25))
    yield Upload(
        "several frames, avif",
        encoded(quadrants(), "AVIF", save_all=True, append_images=other, quality=95),
        FLAG._replace(tolerance=25),
    )


@functools.cache
def hostile_uploads() -> tuple[Upload, ...]:
    """Return the whole corpus, the same at each call."""
    makers = (_truncated, _no_pictures, _bombs, _sizes, _polyglots, _modes, _metadata, _animated)
    return tuple(upload for maker in makers for upload in maker())
