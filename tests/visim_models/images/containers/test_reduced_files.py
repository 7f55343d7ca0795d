"""A reduced file decodes to the same pixels as the whole one, and holds nothing else."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.image_files import after_soi, bmp, chunk, encoded, exif_block, png, quadrants, segment, tiff, webp
from visim_models.images.containers.bmp import reduce_bmp
from visim_models.images.containers.gif import reduce_gif
from visim_models.images.containers.jpeg import reduce_jpeg
from visim_models.images.containers.png import reduce_png
from visim_models.images.containers.reduced import RefusedError
from visim_models.images.containers.tiff import reduce_tiff
from visim_models.images.containers.webp import reduce_webp
from visim_models.images.decode import MAX_PIXELS

NOISE = Image.fromarray(np.random.default_rng(9).integers(0, 256, (48, 64, 3), dtype=np.uint8))
SECRET = b"somewhere in the south"
EXIF = b"Exif\0\0" + exif_block([(270, 2, len(SECRET), 26)], SECRET)


def shown(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGBA"))


def with_metadata() -> dict[str, tuple[bytes, object]]:
    """Return a file of each format, with everything that Pillow can add, and what reduces it."""
    more = {"exif": EXIF, "icc_profile": SECRET * 9, "xmp": SECRET}
    gif = encoded(NOISE, "GIF", comment=SECRET, save_all=True, append_images=[NOISE.rotate(180)])
    first = gif.index(b",\0\0\0\0")
    gif = gif[:first] + b"!\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET + b"\0" + gif[first:]
    clear = NOISE.quantize(16)
    tags = {270: SECRET.decode(), 700: SECRET}
    film = {"save_all": True, "append_images": [NOISE.rotate(180)]}
    return {
        "jpeg": (after_soi(encoded(NOISE, "JPEG", comment=SECRET, **more), segment(0xED, SECRET)), reduce_jpeg),
        "progressive jpeg": (encoded(NOISE, "JPEG", progressive=True, **more), reduce_jpeg),
        "cmyk jpeg": (encoded(NOISE.convert("CMYK"), "JPEG", **more), reduce_jpeg),
        "mpo": (encoded(NOISE, "MPO", comment=SECRET, **film), reduce_jpeg),
        "png": (encoded(NOISE, "PNG", **more), reduce_png),
        "palette png": (encoded(clear, "PNG", transparency=3, **more), reduce_png),
        "apng": (encoded(NOISE, "PNG", **film, **more), reduce_png),
        "webp": (encoded(NOISE, "WEBP", **more), reduce_webp),
        "lossless webp": (encoded(NOISE.convert("RGBA"), "WEBP", lossless=True, **more), reduce_webp),
        "webp film": (encoded(NOISE, "WEBP", **film, **more), reduce_webp),
        "gif": (gif, reduce_gif),
        "tiff": (encoded(NOISE, "TIFF", tiffinfo=tags, icc_profile=SECRET), reduce_tiff),
        "tiff of strips": (encoded(NOISE, "TIFF", compression="tiff_lzw", strip_size=500, tiffinfo=tags), reduce_tiff),
        "jpeg in tiff": (encoded(NOISE, "TIFF", compression="jpeg", tiffinfo=tags), reduce_tiff),
        "palette tiff": (encoded(clear, "TIFF", tiffinfo=tags), reduce_tiff),
        "bmp": (encoded(NOISE, "BMP"), reduce_bmp),
    }


@pytest.mark.parametrize("name", with_metadata())
def test_the_pixels_remain_and_the_rest_goes(name: str) -> None:
    data, reduce = with_metadata()[name]
    reduced = reduce(data, MAX_PIXELS)  # type: ignore[operator]
    assert np.array_equal(shown(reduced.data), shown(data))
    with Image.open(io.BytesIO(reduced.data)) as image:
        image.load()
        assert not {"exif", "icc_profile", "xmp", "comment", "mp", "photoshop", "XML:com.adobe.xmp"} & set(image.info)
        assert getattr(image, "n_frames", 1) == 1 or name == "gif"  # a GIF's further frames are never looked at
    if "tiff" not in name:  # whose old directory is left where it was
        assert SECRET not in reduced.data
        assert reduce(reduced.data, MAX_PIXELS).data == reduced.data  # type: ignore[operator]


def jpeg_of_scans(count: int) -> bytes:
    """Return a progressive JPEG of 1,000 x 1,000 pixels whose first scan, of three components, is there so often."""
    jpeg = encoded(Image.new("RGB", (1000, 1000)), "JPEG", progressive=True, subsampling=0)
    first = jpeg.index(b"\xff\xda")
    scan = jpeg[first : jpeg.index(b"\xff\xc4", first)]
    return jpeg[:-2] + scan * (count - 1) + jpeg[-2:]


def test_scans_are_limited_by_the_size_of_the_picture() -> None:
    pixels = 1000 * 1000
    reduce_jpeg(jpeg_of_scans(12), pixels)  # 36 components, and 9 in the other scans
    with pytest.raises(RefusedError, match="more scans"):
        reduce_jpeg(jpeg_of_scans(15), pixels)
    reduce_jpeg(jpeg_of_scans(15), 2 * pixels)
    with pytest.raises(RefusedError, match="more scans"):
        reduce_jpeg(jpeg_of_scans(33), 1000 * pixels)


def test_the_coefficients_of_a_jpeg_are_limited() -> None:
    cmyk = Image.new("CMYK", (1000, 1000))
    reduce_jpeg(encoded(cmyk, "JPEG"), 1_000_000)
    progressive = encoded(cmyk, "JPEG", progressive=True, subsampling=0)
    reduce_jpeg(progressive, 1_200_000)
    with pytest.raises(RefusedError, match="memory"):
        reduce_jpeg(progressive, 1_000_000)


def test_the_strips_of_a_compressed_tiff_are_limited() -> None:
    data = zlib.compress(bytes(1000 * 1000 * 8))
    tags = {258: 16, 259: 8, 262: 2, 277: 4}
    reduce_tiff(tiff(1000, 1000, data, tags=tags), 1_400_000)
    with pytest.raises(RefusedError, match="memory"):
        reduce_tiff(tiff(1000, 1000, data, tags=tags), 1_000_000)
    reduce_tiff(tiff(1000, 1000, data, tags=tags | {278: 500}), 1_000_000)
    reduce_tiff(tiff(1000, 1000, bytes(8_000_000), tags=tags | {259: 1}), 1_000_000)
    with pytest.raises(RefusedError, match="tiles beyond"):
        reduce_tiff(tiff(24, 16, bytes(384), tags={322: 1008, 323: 1008, 324: 8, 325: 384}), 1_000_000)


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 277, 278])
def test_tags_of_a_strange_type_are_refused(tag: int) -> None:
    for kind, count in ((2, 4), (5, 1), (16, 1), (3, 0), (4, 199_999)):
        with pytest.raises(RefusedError, match=f"tag {tag}"):
            reduce_tiff(tiff(24, 16, bytes(384), more=[(tag, kind, count, 24)]), MAX_PIXELS)


def test_lzma_is_limited() -> None:
    size = 12 * 2**20
    for compression in (34_925, 50_000):
        data = tiff(24, 16, bytes(size), tags={259: compression})
        if compression == 50_000:
            reduce_tiff(data, MAX_PIXELS)
        else:
            with pytest.raises(RefusedError, match="LZMA"):
                reduce_tiff(data, MAX_PIXELS)


def test_a_png_of_tiny_chunks_is_one_of_one() -> None:
    whole = encoded(NOISE, "PNG")
    start = whole.index(b"IDAT") + 4
    pixels = whole[start : start + struct.unpack_from(">L", whole, start - 8)[0]]
    tiny = b"".join(chunk(b"IDAT", pixels[at : at + 1]) for at in range(len(pixels)))
    data = whole[:33] + tiny + chunk(b"IEND", b"")
    assert reduce_png(data, MAX_PIXELS).data.count(b"IDAT") == 1
    assert np.array_equal(shown(reduce_png(data, MAX_PIXELS).data), np.asarray(NOISE.convert("RGBA")))


def test_a_png_may_be_stored_uncompressed_but_no_larger() -> None:
    rows = b"".join(b"\0" + bytes(row) for row in np.asarray(NOISE).reshape(48, -1))
    reduce_png(png(64, 48, rows=rows, level=0), MAX_PIXELS)
    with pytest.raises(RefusedError, match="compressed bytes"):
        reduce_png(png(64, 48, rows=rows + bytes(80_000), level=0), MAX_PIXELS)


def test_a_run_length_encoded_bmp_has_fewer_pixels() -> None:
    data = bmp(24, 16, (b"\x18\5" + b"\0\0") * 16 + b"\0\1", compression=1)
    assert reduce_bmp(data, 24 * 16 * 5).data == data
    with pytest.raises(RefusedError, match="24 x 16"):
        reduce_bmp(data, 24 * 16 * 5 - 1)
    from_top = data[:22] + struct.pack("<l", -16) + data[26:]
    with pytest.raises(RefusedError, match="24 x 16"):
        reduce_bmp(from_top, 24 * 16 * 5 - 1)
    reduce_bmp(encoded(quadrants(), "BMP"), 1)


def test_a_webp_that_is_cut_off_or_lies_about_its_canvas() -> None:
    still = encoded(NOISE, "WEBP", lossless=True)
    with pytest.raises(RefusedError, match="cut off"):
        reduce_webp(still[:-1], MAX_PIXELS)
    small = webp((b"VP8X", bytes([0, 0, 0, 0, 7, 0, 0, 7, 0, 0])), (b"VP8L", still[20:]))
    with pytest.raises(OSError, match="decoder"):
        shown(reduce_webp(small, MAX_PIXELS).data)
