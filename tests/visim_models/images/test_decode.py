"""Any upload ends in the right upright RGB picture or in an ImageDecodeError, soon and in little memory."""

import io
import os
import struct
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from tests.hostile_images import hostile_uploads
from tests.image_files import FLAG, Picture, Upload, encoded, png, quadrants, tiff
from visim_models.errors import ImageDecodeError
from visim_models.images.decode import decode_image

UPLOADS = hostile_uploads()
A, B, C, D = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def pixels(image: Image.Image) -> list[list[tuple[int, ...]]]:
    """Return the pixels, row by row."""
    return [[tuple(pixel) for pixel in row] for row in np.asarray(image).tolist()]


def assert_shows(image: Image.Image, picture: Picture) -> None:
    assert image.mode == "RGB"
    assert image.size == picture.size
    width, height = image.size
    centres = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    seen = np.array([image.getpixel(centre) for centre in centres], int)  # (4, 3)
    assert np.abs(seen - np.array(picture.colours)).max() <= picture.tolerance, f"{seen} is not {picture.colours}"


def test_the_corpus_has_forty_kinds_and_no_name_twice() -> None:
    names = [upload.name for upload in UPLOADS]
    assert len(names) == len(set(names))
    assert len(names) >= 40
    assert sum(upload.picture is not None for upload in UPLOADS) >= 40


@pytest.mark.parametrize("upload", UPLOADS, ids=[upload.name for upload in UPLOADS])
def test_upload_ends_in_its_picture_or_a_clear_error(upload: Upload) -> None:
    if upload.picture is None:
        with pytest.raises(ImageDecodeError) as caught:
            decode_image(upload.data)
        assert len(str(caught.value)) > 40  # the fault, and a way out
    else:
        assert_shows(decode_image(upload.data), upload.picture)


# For each orientation of EXIF: where the stored first row and first column are seen.
STORED = {
    1: [[A, B], [C, D]],  # row: top, column: left
    2: [[B, A], [D, C]],  # top, right
    3: [[D, C], [B, A]],  # bottom, right
    4: [[C, D], [A, B]],  # bottom, left
    5: [[A, C], [B, D]],  # left, top
    6: [[B, D], [A, C]],  # right, top
    7: [[D, B], [C, A]],  # right, bottom
    8: [[C, A], [D, B]],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
def test_four_pixels_are_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.array(STORED[orientation], np.uint8))
    image = decode_image(encoded(stored, "PNG", exif=exif))
    assert pixels(image) == [[A, B], [C, D]]
    assert pixels(decode_image(image)) == [[A, B], [C, D]]  # and not turned again


def grey(image: Image.Image) -> list[int]:
    """Return the greys of a picture that must be one row."""
    values = np.asarray(image)  # (1, W, 3)
    assert (values == values[..., :1]).all()
    return [int(value) for value in values[0, :, 0]]


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    values = np.array([[0, 128, 129, 255, 256, 32768, 65535]], np.uint16)  # 257 steps to a grey: 129 rounds to 1
    expected = [0, 0, 1, 1, 1, 128, 255]
    assert grey(decode_image(encoded(Image.fromarray(values), "PNG"))) == expected
    assert grey(decode_image(Image.fromarray(values))) == expected
    big_endian = Image.frombytes("I;16B", (7, 1), values.astype(">u2").tobytes())
    assert grey(decode_image(big_endian)) == expected
    assert encoded(big_endian, "TIFF").startswith(b"MM")
    assert grey(decode_image(encoded(big_endian, "TIFF"))) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 7, 255], [0, 7, 255]),  # 8 bits in wide clothes
        ([0, 257, 65535], [0, 1, 255]),  # 16 bits
        ([-100, 0, 100], [0, 128, 255]),  # neither: smallest to largest
        ([0, 2**30, 2**31 - 1], [0, 128, 255]),
        ([-5, -5, -5], [0, 0, 0]),
    ],
)
def test_integers_are_scaled(values: list[int], expected: list[int]) -> None:
    data = tiff(3, 1, np.array(values, "<i4").tobytes(), bits=32, kind=2)
    assert grey(decode_image(data)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 1.0], [0, 51, 255]),
        ([0.2, 0.4, 0.6], [51, 102, 153]),  # within 0..1: not stretched
        ([100.0, 300.0, 200.0], [0, 255, 128]),
        ([float("nan"), 0.2, 0.4], [0, 51, 102]),
        ([float("-inf"), float("inf"), 0.4], [0, 255, 102]),
        ([7.0, 7.0, 7.0], [0, 0, 0]),
    ],
)
def test_floats_are_scaled(values: list[float], expected: list[int]) -> None:
    data = tiff(3, 1, np.array(values, "<f4").tobytes(), bits=32, kind=3)
    assert grey(decode_image(data)) == expected


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (5, 1))
    for x, colour in enumerate([(0, 0, 0, 0), (0, 0, 0, 255), (0, 0, 0, 51), (255, 0, 0, 128), (9, 9, 9, 0)]):
        clear.putpixel((x, 0), colour)
    expected = [[(255,) * 3, (0,) * 3, (204,) * 3, (255, 127, 127), (255,) * 3]]
    assert pixels(decode_image(encoded(clear, "PNG"))) == expected
    assert pixels(decode_image(clear)) == expected
    grey_clear = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 51)])
    assert pixels(decode_image(grey_clear)) == [[(224,) * 3]]  # 100 / 5 + 255 * 4 / 5


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_of_pillow_becomes_rgb(mode: str) -> None:
    via = {"La": "LA", "PA": "P", "RGBa": "RGBA"}.get(mode, mode)
    white = Image.new("RGB", (3, 2), "white").convert(via).convert(mode)
    before = white.tobytes()
    image = decode_image(white)
    assert image.mode == "RGB"
    assert np.asarray(image).min() >= 254
    assert (white.mode, white.tobytes()) == (mode, before)


def test_path_bytes_pil_image_and_array_agree(tmp_path: Path) -> None:
    data = encoded(quadrants(), "PNG")
    path = tmp_path / "flag.txt"  # the name does not matter
    path.write_bytes(data)
    array = np.asarray(quadrants())
    opened = Image.open(path)
    sources: list[Any] = [
        path,
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        quadrants(),
        opened,
        array,
        array[:],
    ]
    sources.append(np.asfortranarray(array))
    for source in sources:
        image = decode_image(source)
        assert type(image) is Image.Image
        assert image.info == {}
        assert dict(image.getexif()) == {}
        assert_shows(image, FLAG)
    opened.close()


def test_the_result_shares_nothing_with_its_source() -> None:
    array, image = np.asarray(quadrants()).copy(), quadrants()
    image.info["dpi"] = (72, 72)
    results = [decode_image(array), decode_image(image)]
    array[:] = 0
    for result in results:
        assert_shows(result, FLAG)
        result.paste("black", (0, 0, 24, 16))
    assert_shows(image, FLAG)
    assert image.info == {"dpi": (72, 72)}


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), object),
        np.array(3),
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)
def test_an_array_of_another_shape_or_dtype_is_named(array: Any) -> None:
    with pytest.raises(ImageDecodeError) as caught:
        decode_image(array)
    assert str(array.shape) in str(caught.value)
    assert str(array.dtype) in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [None, 7, 1.5, [1, 2], {"path": "a.png"}, object(), (b"a",), Image],
    ids=lambda source: type(source).__name__,
)
def test_other_kinds_of_source_are_refused(source: Any) -> None:
    with pytest.raises(ImageDecodeError, match="give a path"):
        decode_image(source)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3)])
def test_an_array_of_no_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageDecodeError, match="nothing in it"):
        decode_image(np.zeros(shape, np.uint8))


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "empty.png").write_bytes(b"")
    wrong: list[tuple[Any, str]] = [
        (tmp_path, "folder"),
        (tmp_path / "missing.png", "no file"),
        (tmp_path / "empty.png", "empty"),
        (tmp_path / "empty.png" / "inside.png", "cannot be read"),
        (pipe, "not a plain file"),
        ("", "no file"),
        ("a\0b.png", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        ("https://example.org/car.jpg", "Download"),
        ("file:///etc/hostname", "Download"),
        ("data:image/png;base64,iVBORw0KGgo=", "Download"),
        ("/dev/zero", "not a plain file"),
    ]
    for path, message in wrong:
        with pytest.raises(ImageDecodeError, match=message):
            decode_image(path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flag.png"
    path.write_bytes(encoded(quadrants(), "PNG"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root, whom no permission stops
    with pytest.raises(ImageDecodeError, match="permissions"):
        decode_image(path)


def test_the_limits_are_the_callers(tmp_path: Path) -> None:
    data = encoded(quadrants(), "PNG")  # 24 x 16 = 384 pixels
    path = tmp_path / "flag.png"
    path.write_bytes(data)
    for source in (data, path, quadrants(), np.asarray(quadrants())):
        assert decode_image(source, max_pixels=384).size == (24, 16)
        with pytest.raises(ImageDecodeError, match="too large: 24 x 16"):
            decode_image(source, max_pixels=383)
    for file in (data, path):
        assert decode_image(file, max_bytes=len(data)).size == (24, 16)
        with pytest.raises(ImageDecodeError, match="bytes, more than the limit"):
            decode_image(file, max_bytes=len(data) - 1)


def test_a_closed_or_damaged_pil_image_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    data = encoded(Image.effect_noise((64, 64), 50), "PNG")
    path.write_bytes(data[: len(data) // 2])
    with Image.open(path) as lazy, pytest.raises(ImageDecodeError):
        decode_image(lazy)
    closed = quadrants()
    closed.close()
    with pytest.raises(ImageDecodeError):
        decode_image(closed)


def test_pillows_global_limit_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (400, 400)), "PNG")
    for limit in (1, 100_000, None):  # Pillow would raise; warn; allow anything
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert decode_image(data).size == (400, 400)
        with pytest.raises(ImageDecodeError, match="too large"):
            decode_image(png(60_000, 60_000))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_filters_of_warnings_are_left_as_they_were_by_many_threads() -> None:
    odd = tiff(24, 16, bytes(384), more=[(256, 3, 2, 24 | 24 << 16)])  # two widths: Pillow warns, and takes the first
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(30):
                assert decode_image(odd).size == (24, 16)
        except BaseException as error:
            failures.append(error)

    before = list(warnings.filters)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="too many entries"):  # Pillow still warns others
        Image.open(io.BytesIO(odd)).close()


VALID = [upload.data for upload in UPLOADS if upload.picture is not None and len(upload.data) < 4000]
SIGNATURES = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"\0\0\0\x1cftypavif",
]


def decode_or_refuse(data: bytes) -> None:
    try:
        image = decode_image(data, max_pixels=1_000_000)
    except ImageDecodeError:
        return
    assert image.mode == "RGB"
    assert min(image.size) >= 1


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([b"", *SIGNATURES]), st.binary(max_size=400))
def test_random_bytes_are_decoded_or_refused(signature: bytes, rest: bytes) -> None:
    decode_or_refuse(signature + rest)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
    st.integers(0, 4000),
    st.integers(0, 40),
)
def test_mutated_files_are_decoded_or_refused(
    valid: bytes, writes: list[tuple[int, bytes]], at: int, lost: int
) -> None:
    data = bytearray(valid)
    for position, patch in writes:
        start = position % len(data)
        data[start : start + len(patch)] = patch
    start = at % len(data)
    del data[start : start + lost]
    decode_or_refuse(bytes(data))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339]
        ),
        st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1)),
        max_size=6,
    ),
    st.binary(max_size=100),
)
def test_mutated_tiff_tags_are_decoded_or_refused(tags: dict[int, int], rest: bytes) -> None:
    decode_or_refuse(tiff(5, 4, rest.ljust(20, b"\0"), tags=tags) + struct.pack("<L", 0))
