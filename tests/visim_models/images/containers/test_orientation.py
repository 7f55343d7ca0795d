"""The orientation is read from wherever Pillow would find it, and no other metadata is."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from tests.image_files import after_soi, chunk, encoded, exif_block, segment, tiff, webp
from visim_models.images.containers.orientation import exif_orientation, xmp_orientation
from visim_models.images.decode import decode_image

STORED = Image.fromarray(np.random.default_rng(4).integers(0, 256, (3, 5, 3), dtype=np.uint8))
XMP = b"<x:xmpmeta><rdf:Description tiff:Orientation='1' tiff:Orientation=\"6\"/></x:xmpmeta>"
OTHER = b"Exif\0\0" + exif_block([(271, 2, 4, 0x6D6163)])  # the maker of the camera
SHORT, LONG = 3, 4


def turned(data: bytes) -> Image.Image:
    """Return the picture as Pillow turns it."""
    with Image.open(io.BytesIO(data)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def exif_of(value: int) -> bytes:
    return exif_block([(271, 2, 4, 0x6D6163), (274, SHORT, 1, value)])


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("kind", [SHORT, LONG])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_the_tag_of_exif(endian: str, kind: int, prefix: bytes) -> None:
    head = (b"II" if endian == "<" else b"MM") + struct.pack(endian + "HLH", 42, 8, 2)
    for value in range(1, 9):
        tag = struct.pack(endian + ("HHLHH" if kind == SHORT else "HHLL"), 274, kind, 1, value, *[0] * (kind == SHORT))
        block = prefix + head + struct.pack(endian + "HHLL", 256, LONG, 1, 24) + tag
        assert exif_orientation(block) == value


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"", None),
        (b"Exif\0\0", None),
        (b"II*\0", None),
        (b"random bytes that are no exif", None),
        (exif_block([(271, 2, 4, 0)]), None),
        (exif_block([(274, SHORT, 1, 9)]), 1),
        (exif_block([(274, SHORT, 1, 0)]), 1),
        (exif_block([(274, 2, 2, 0x36)]), 1),  # as text
        (exif_block([(274, SHORT, 2**32 - 1, 6)]), 1),
        (exif_block([(274, SHORT, 1, 6)])[:12], None),
        (b"II*\0" + struct.pack("<L", 2**32 - 1) + bytes(40), None),
        (b"II*\0" + struct.pack("<L", 100_000) + bytes(99_992) + exif_of(6)[8:], None),  # beyond 64 kB
    ],
)
def test_a_damaged_or_missing_tag(block: bytes, expected: int | None) -> None:
    assert exif_orientation(block) == expected


def test_the_property_of_xmp() -> None:
    assert xmp_orientation(XMP) == 6
    assert xmp_orientation(b"<tiff:Orientation>8</tiff:Orientation>") == 8
    assert xmp_orientation(b'tiff:Orientation="0"') is None
    assert xmp_orientation(b"") is None
    assert xmp_orientation(bytes(70_000) + XMP) is None


def files_of(value: int) -> dict[str, bytes]:
    """Return the stored picture in each format, turned by its EXIF."""
    exif = Image.Exif()
    exif[274] = value
    options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 95}}
    files = {
        form: encoded(STORED, form, exif=exif.tobytes(), **options.get(form, {}))
        for form in ("JPEG", "PNG", "WEBP", "AVIF", "MPO")
    }
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate"):
        files[f"TIFF {compression}"] = encoded(STORED, "TIFF", compression=compression, tiffinfo={274: value})
    files["JPEG, big-endian"] = after_soi(
        encoded(STORED, "JPEG"),
        segment(0xE1, b"Exif\0\0MM" + struct.pack(">HLHHHLHH", 42, 8, 1, 274, SHORT, 1, value, 0) + bytes(4)),
    )
    digits = b"\nexif\n      44\n" + exif_of(value).hex().encode() + b"\n"
    plain = encoded(STORED, "PNG")
    raw = b"Raw profile type exif\0"
    files["PNG, text of ImageMagick"] = plain[:33] + chunk(b"tEXt", raw + digits) + plain[33:]
    files["PNG, compressed text"] = plain[:33] + chunk(b"zTXt", raw + b"\0" + zlib.compress(digits)) + plain[33:]
    files["PNG, exif after the pixels"] = plain[:-12] + chunk(b"eXIf", exif_of(value)) + plain[-12:]
    return files


@pytest.mark.parametrize("value", range(1, 9))
def test_every_format_is_turned_as_by_pillow(value: int) -> None:
    for name, data in files_of(value).items():
        expected, image = turned(data), decode_image(data)
        assert image.size == expected.size == ((5, 3) if value < 5 else (3, 5)), name
        assert np.array_equal(np.asarray(image), np.asarray(expected)), name


def test_xmp_counts_where_exif_states_nothing() -> None:
    plain = encoded(STORED, "PNG")
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    files = {
        "JPEG": encoded(STORED, "JPEG", xmp=XMP),
        "JPEG with other exif": encoded(
            STORED, "JPEG", xmp=XMP, exif=b"Exif\0\0" + exif_block([(271, 2, 4, 0x6D6163)])
        ),
        "PNG": plain[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP) + plain[33:],
        "PNG, compressed": encoded(STORED, "PNG", pnginfo=info),
        "WEBP": encoded(STORED, "WEBP", lossless=True, xmp=XMP),
        "TIFF": encoded(STORED, "TIFF", tiffinfo={700: XMP}),
    }
    for name, data in files.items():
        assert decode_image(data).size == (3, 5), name
        assert np.array_equal(np.asarray(decode_image(data)), np.asarray(turned(data))), name
    both = encoded(STORED, "JPEG", xmp=XMP, exif=b"Exif\0\0" + exif_of(3))
    assert decode_image(both).size == (5, 3)


def test_pillow_is_handed_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a TIFF's own directory is parsed as one, and it is down to the tags that make pixels."""

    def load(*_: object) -> None:
        raise AssertionError("Pillow parses EXIF")

    files = [*files_of(6).values(), encoded(STORED, "JPEG", xmp=XMP), encoded(STORED, "WEBP", xmp=XMP)]
    files.append(encoded(STORED, "AVIF", exif=OTHER))
    upright = [decode_image(file).tobytes() for file in files]
    monkeypatch.setattr(Image.Exif, "load", load)
    assert [decode_image(file).tobytes() for file in files] == upright
    seen = []
    monkeypatch.setattr(Image.Exif, "load_from_fp", lambda _, fp, offset: seen.append((fp.getvalue(), offset)))
    decode_image(encoded(STORED, "TIFF", tiffinfo={274: 6, 271: "maker", 700: XMP}, icc_profile=bytes(500)))
    (reduced, offset) = seen[0]
    (entries,) = struct.unpack_from("<H", reduced, offset)
    tags = {struct.unpack_from("<H", reduced, offset + 2 + 12 * entry)[0] for entry in range(entries)}
    assert tags == {256, 257, 258, 259, 262, 273, 277, 278, 279, 284}


def test_the_first_block_of_metadata_counts() -> None:
    plain = encoded(STORED, "PNG")
    data = plain[:33] + chunk(b"eXIf", exif_of(6)) + chunk(b"eXIf", exif_of(3)) + plain[33:]
    assert decode_image(data).size == (3, 5)
    jpeg = after_soi(encoded(STORED, "JPEG"), b"".join(segment(0xE1, b"Exif\0\0" + exif_of(v)) for v in (6, 3)))
    assert decode_image(jpeg).size == (3, 5)
    still = encoded(STORED, "WEBP", lossless=True)[20:]
    canvas = bytes([0x0C, 0, 0, 0, 4, 0, 0, 2, 0, 0])
    file = webp((b"VP8X", canvas), (b"VP8L", still), (b"EXIF", exif_of(6)), (b"EXIF", exif_of(3)))
    assert decode_image(file).size == (3, 5)
    twice = [(274, SHORT, 1, 3), (274, SHORT, 1, 6)]
    assert decode_image(tiff(5, 3, bytes(15), more=twice)).size == (5, 3)
    assert decode_image(tiff(5, 3, bytes(15), more=twice[1:])).size == (3, 5)
