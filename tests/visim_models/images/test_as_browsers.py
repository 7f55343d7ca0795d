"""Pictures look as in a browser that manages colours: what Pillow alone would show otherwise."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from tests.avif_files import av1, avif, box
from tests.image_files import chunk, encoded, tiff
from visim_models.errors import ImageDecodeError
from visim_models.images.decode import decode_image
from visim_models.images.kinds import kind_of, unread_summary

Array = npt.NDArray[Any]
WIDTH, HEIGHT = 64, 48
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
COLOURS = np.stack([X * 4, Y * 5, 255 - (X + Y) * 2], -1).astype(np.uint8)  # (48, 64, 3)
GREYS = (X * 255 // (WIDTH - 1)).astype(np.uint8)
LIGHT = np.where(COLOURS <= 10, COLOURS / 255 / 12.92, ((COLOURS / 255 + 0.055) / 1.055) ** 2.4)


def distance(source: Any, wanted: Array) -> float:
    """Return the mean difference, 0 to 255, of a decoded picture from the right one."""
    got = np.asarray(decode_image(source)).astype(int)
    wanted = wanted if wanted.ndim == 3 else np.repeat(wanted[..., None], 3, -1)
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).mean())


def png(samples: Array, *chunks: bytes, depth: int = 8, colour: int = 2, after: bytes = b"") -> bytes:
    """Return a PNG of samples, with chunks before its pixels, and after them."""
    rows = (
        [np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -depth:].ravel() for row in samples]
        if depth < 8
        else []
    )
    packed = [np.packbits(row).tobytes() for row in rows] or [
        row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in samples
    ]
    header = struct.pack(">LLBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in packed)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + pixels + after + chunk(b"IEND", b"")


def profile(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...], gamma: float) -> bytes:
    """Return an ICC profile of primaries in XYZ (D50) and a gamma."""

    def numbers(values: tuple[float, ...]) -> bytes:
        return b"".join(struct.pack(">l", round(value * 65_536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">LHH", 1, round(gamma * 256), 0)
    white = (0.9642, 1.0, 0.8249)
    tags = {
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"desc": b"desc\0\0\0\0" + struct.pack(">L", 5) + b"test\0" + bytes(79),
    }
    tags |= {
        name: b"XYZ \0\0\0\0" + numbers(point)
        for name, point in ((b"wtpt", white), (b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue))
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    start, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">LL", start + len(body), len(content))
        body += content
    head = struct.pack(">L4sL4s4s4s", start + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head = (head + bytes(12) + b"acsp").ljust(68, b"\0") + numbers(white)
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + body


PROPHOTO = profile((0.79767, 0.28804, 0), (0.13519, 0.71187, 0), (0.03135, 0.00009, 0.82521), 1.8)
P3 = profile((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407), 2.2)


@pytest.mark.parametrize("icc", [PROPHOTO, P3], ids=["ProPhoto", "P3"])
def test_an_embedded_profile_is_applied(icc: bytes) -> None:
    srgb, target = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(icc))
    stored = ImageCms.buildTransform(srgb, target, "RGB", "RGB").apply(Image.fromarray(COLOURS))
    exact: list[tuple[str, dict[str, Any]]] = [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
    for form, options in exact:
        assert distance(encoded(stored, form, icc_profile=icc, **options), COLOURS) < 1, form
    assert distance(encoded(stored.convert("RGBA"), "PNG", icc_profile=icc), COLOURS) < 1
    assert distance(encoded(stored, "JPEG", icc_profile=icc, quality=97, subsampling=0), COLOURS) < 2
    opened = Image.open(io.BytesIO(encoded(stored, "PNG", icc_profile=icc)))
    assert distance(opened, COLOURS) < 1
    opened.load()
    assert distance(opened, COLOURS) < 1
    assert distance(opened.convert("RGB"), np.asarray(stored)) == 0  # taken as it is


def test_a_profile_that_is_srgb_or_no_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (srgb, b"no profile" * 20, PROPHOTO[:200], b"\0" * 128):
        assert distance(encoded(Image.fromarray(COLOURS), "PNG", icc_profile=icc), COLOURS) == 0
    assert distance(encoded(Image.fromarray(GREYS), "PNG", icc_profile=PROPHOTO), GREYS) == 0  # for colours


def pq(light: Array) -> Array:
    power = (light * 203 / 10_000) ** (1305 / 8192)
    return np.asarray(((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
GAMMA_1 = chunk(b"gAMA", struct.pack(">L", 100_000))


@pytest.mark.parametrize(
    ("samples", "chunks", "depth"),
    [
        (LIGHT, [GAMMA_1], 16),
        (LIGHT, [GAMMA_1], 8),
        (LIGHT ** (1 / 1.8), [chunk(b"gAMA", struct.pack(">L", 55_556))], 8),
        (LIGHT, [chunk(b"cICP", bytes([1, 8, 0, 1]))], 16),
        (pq(LIGHT), [chunk(b"cICP", bytes([1, 16, 0, 1]))], 8),
        (pq(np.clip(LIGHT @ BT2020.T, 0, 1)), [chunk(b"cICP", bytes([9, 16, 0, 1]))], 16),
        (COLOURS / 255, [chunk(b"gAMA", struct.pack(">L", 45_455))], 8),
        (COLOURS / 255, [chunk(b"sRGB", b"\0"), GAMMA_1], 8),
        (COLOURS / 255, [chunk(b"cICP", bytes([1, 13, 0, 1])), GAMMA_1], 8),
    ],
    ids=["linear 16", "linear 8", "1/1.8", "cICP linear", "PQ", "PQ 2020", "1/2.2", "sRGB first", "cICP first"],
)
def test_gamma_and_code_points_of_a_png_are_applied(samples: Array, chunks: list[bytes], depth: int) -> None:
    stored = np.rint(samples * (2**depth - 1))
    assert distance(png(stored, *chunks, depth=depth), COLOURS) < (0.1 if depth == 16 else 1.0)


def test_the_transparent_sample_is_known_at_every_depth() -> None:
    for depth in (1, 2, 4, 8, 16):
        top = 2**depth - 1
        samples = np.rint(GREYS / 255 * top).astype(int)
        clear = int(samples[0, 20])
        wanted = np.where(samples == clear, 255, np.rint(samples * 255 / top))
        data = png(samples, chunk(b"tRNS", struct.pack(">H", clear)), depth=depth, colour=0)
        assert distance(data, wanted) == 0, depth
    deep = COLOURS.astype(int) * 257
    deep[..., 0] -= (X == 7) & (deep[..., 0] > 0)  # differs in the low byte alone: it is another colour
    clear = chunk(b"tRNS", struct.pack(">3H", *(COLOURS[0, 8].astype(int) * 257)))
    assert (
        distance(png(deep, clear, depth=16), np.where((X == 8)[..., None] & (Y == 0)[..., None], 255, deep >> 8)) == 0
    )


def frame_of(sequence: int, width: int, height: int, left: int = 0, top: int = 0) -> bytes:
    return chunk(b"fcTL", struct.pack(">5L2H2B", sequence, width, height, left, top, 1, 10, 0, 0))


def test_of_an_animation_the_first_frame_that_is_shown_is_taken() -> None:
    hidden, start = np.full_like(COLOURS, 90), chunk(b"acTL", struct.pack(">LL", 1, 0))

    def data_of(pixels: Array) -> bytes:
        return chunk(b"fdAT", struct.pack(">L", 1) + zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels)))

    whole = png(hidden, start, after=frame_of(0, WIDTH, HEIGHT) + data_of(COLOURS))
    assert distance(whole, COLOURS) == 0
    part = png(hidden, start, after=frame_of(0, 20, 10, 5, 6) + data_of(COLOURS[6:16, 5:25]))
    wanted = np.full_like(COLOURS, 255)
    wanted[6:16, 5:25] = COLOURS[6:16, 5:25]
    assert distance(part, wanted) == 0
    gif = bytearray(encoded(Image.fromarray(COLOURS[6:16, 5:25]).quantize(16), "GIF"))
    seen = np.asarray(decode_image(bytes(gif)))
    at = gif.index(b",\0\0\0\0")
    gif[6:10], gif[at + 1 : at + 5] = struct.pack("<HH", WIDTH, HEIGHT), struct.pack("<HH", 5, 6)
    wanted[6:16, 5:25] = seen
    assert distance(bytes(gif), wanted) == 0


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'


def test_orientation_counts_in_exif_and_not_in_xmp_alone() -> None:
    image, exif = Image.fromarray(COLOURS), Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    stated = {
        "PNG": ({"pnginfo": text}, {"exif": exif}),
        "WEBP": ({"lossless": True, "xmp": XMP}, {"lossless": True, "exif": exif.tobytes()}),
        "TIFF": ({"tiffinfo": {700: XMP}}, {"tiffinfo": {274: 6, 700: XMP}}),
    }
    for form, (by_xmp, by_exif) in stated.items():
        assert distance(encoded(image, form, **by_xmp), COLOURS) == 0, form
        assert distance(encoded(image, form, **by_exif), np.rot90(COLOURS, -1)) == 0, form
    assert decode_image(encoded(image, "JPEG", xmp=XMP)).size == image.size


def test_an_image_of_pillow_is_read_like_its_file_until_someone_changes_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(COLOURS), "PNG", exif=exif)
    image = Image.open(io.BytesIO(data))
    assert decode_image(image).size == decode_image(data).size == (HEIGHT, WIDTH)
    image.load()
    assert decode_image(image).size == (HEIGHT, WIDTH)
    other = Image.open(io.BytesIO(encoded(Image.fromarray(COLOURS), "PPM")))  # a kind that visim does not open itself
    assert distance(other, COLOURS) == 0
    by_hand = image.rotate(270, expand=True)
    assert by_hand.getexif()[0x0112] == 6  # it still says so
    assert distance(by_hand, np.rot90(COLOURS, -1)) == 0
    negative = Image.open(
        io.BytesIO(
            tiff(WIDTH, HEIGHT, (65_535 - GREYS.astype(int) * 257).astype("<u2").tobytes(), bits=16, tags={262: 0})
        )
    )
    assert distance(negative, GREYS) == 0


def test_the_clean_aperture_of_an_avif_is_cut_out_and_a_byte_behind_its_end_ignored() -> None:
    item = av1(Image.fromarray(COLOURS))
    whole = np.asarray(decode_image(avif([item])))
    for left, top in ((16, 12), (0, 0)):  # of the middle 32 x 24, and at the corner
        offsets = (2 * left - 32, 2, 2 * top - 24, 2)
        aperture = box(b"clap", struct.pack(">LLLLlLlL", 32, 1, 24, 1, *offsets))
        data = avif([item._replace(properties=(*item.properties, aperture))])
        assert distance(data, whole[top : top + 24, left : left + 32]) == 0
    assert distance(avif([item]) + b"\0", whole) == 0


def packed(values: Array, bits: int) -> bytes:
    """Return samples of so many bits, one behind the other, each row in whole bytes."""
    each = values[..., None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(each.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("negative", [False, True])
def test_greys_of_rare_depths_are_scaled_by_it(bits: int, negative: bool) -> None:
    values = GREYS.astype(np.uint32) * (2**bits - 1) // 255
    stored = 2**bits - 1 - values if negative else values
    data = tiff(WIDTH, HEIGHT, packed(stored, bits), bits=bits, tags={262: int(not negative)})
    assert distance(data, GREYS) == 0
    inside = (GREYS.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    assert distance(encoded(Image.fromarray(inside), "PNG"), GREYS) == 0  # in 16 bits, of which few are used


def test_greys_of_32_bits_and_of_a_small_part_of_their_range() -> None:
    wide = GREYS.astype(np.uint32) * 16_843_009
    assert distance(tiff(WIDTH, HEIGHT, wide.tobytes(), bits=32), GREYS) == 0
    warm = (GREYS.astype(np.uint32) * 8 + 29_000).astype(np.uint16)  # a thermal camera's
    assert distance(encoded(Image.fromarray(warm), "PNG"), GREYS) < 1
    even = np.full((HEIGHT, WIDTH), 30_000, np.uint16)
    assert distance(encoded(Image.fromarray(even), "PNG"), np.full((HEIGHT, WIDTH), 117)) == 0  # nothing to stretch


def test_planes_of_16_bits_and_palettes_of_8() -> None:
    deep = (COLOURS.astype(np.uint16) * 257).transpose(2, 0, 1)  # (3, 48, 64)
    size = WIDTH * HEIGHT * 2
    region = struct.pack("<3H", 16, 16, 16) + struct.pack("<3L", *(8 + plane * size for plane in range(3)))
    region += struct.pack("<3L", *[size] * 3)
    at = len(tiff(WIDTH, HEIGHT, deep.tobytes(), tags={284: 2}))
    more = [(258, 3, 3, at), (273, 4, 3, at + 6), (279, 4, 3, at + 18)]
    data = tiff(WIDTH, HEIGHT, deep.tobytes(), tags={262: 2, 277: 3, 284: 2}, more=more, region=region)
    assert distance(data, COLOURS) == 0
    image = Image.fromarray(COLOURS).quantize(256)
    colours = np.array(image.getpalette()).reshape(-1, 3).T  # (3, N)
    colours = np.pad(colours, ((0, 0), (0, 256 - colours.shape[1])))
    for scale in (1, 257):  # 8 bits, and 16 as the rule is
        palette = (colours * scale).astype("<u2").tobytes()
        data = tiff(WIDTH, HEIGHT, image.tobytes(), tags={262: 3}, more=[(320, 3, 768, None)], region=palette)
        assert distance(data, np.asarray(image.convert("RGB"))) == 0


def heic(image: Image.Image, **options: Any) -> bytes:
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, **options)
    return file.getvalue()


def test_heic_of_every_brand_is_read_or_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(Image.fromarray(COLOURS))
    for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        file = data[:8] + brand + data[12:]
        assert distance(file, COLOURS) < 4, brand
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(ImageDecodeError, match=r"is HEIC, .*visim-models\[heif\].*Most Compatible"):
            decode_image(file)
        monkeypatch.undo()
    clear = Image.fromarray(COLOURS).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 32, 48))
    assert np.asarray(decode_image(heic(clear)))[:, :28].min() > 245


NOT_READ: dict[str, Callable[[], bytes]] = {
    "CR2": lambda: b"II*\0\x10\0\0\0CR\2\0",
    "CR3": lambda: b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "DNG": lambda: tiff(24, 16, bytes(384), more=[(50_706, 1, 4, 0x0401)]),
    "NEF": lambda: tiff(
        24, 16, bytes(384), tags={254: 1, 330: 8}, more=[(271, 2, 18, None)], region=b"NIKON CORPORATION\0"
    ),
    "RAF": lambda: b"FUJIFILMCCD-RAW 0201",
    "JPEG XL": lambda: b"\xff\x0a\0\0",
    "JPEG 2000": lambda: encoded(Image.new("RGB", (16, 16)), "JPEG2000"),
    "PSD": lambda: b"8BPS\0\1",
    "SVG": lambda: b"<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "MOV": lambda: b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
    "MP4": lambda: b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
    "PDF": lambda: b"%PDF-1.7",
}


def test_kinds_that_are_not_read_are_told_by_their_first_bytes() -> None:
    reasons = []
    for name, make in NOT_READ.items():
        with pytest.raises(
            ImageDecodeError, match=rf"is {name}, a kind of file that visim does not read\. \w"
        ) as caught:
            decode_image(make())
        reasons.append(str(caught.value))
    assert unread_summary(reasons).startswith(f"{len(NOT_READ)} files of kinds that visim does not read: 1 CR2, 1 CR3")
    assert unread_summary(["it is empty"]) == ""
    big = tiff(24, 16, bytes(384)).replace(b"II*\0", b"II+\0")
    assert kind_of(big) == kind_of(tiff(24, 16, bytes(384)))  # BigTIFF is read
