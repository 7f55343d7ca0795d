"""A JPEG is read where all its pixels are there, and refused where some are lost, as people lose them."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from tests.image_files import encoded
from visim_models.errors import ImageDecodeError
from visim_models.images.decode import decode_image
from visim_models.images.kinds import PARTLY_LOST, may_be_whole

FORMS = {
    "baseline": {"quality": 90},
    "optimised": {"quality": 80, "optimize": True, "subsampling": 0},
    "restarts": {"quality": 90, "restart_marker_rows": 1},
    "progressive": {"quality": 90, "progressive": True},
    "grey": {"quality": 90},
    "cmyk": {"quality": 90},
}
MOTION_PHOTO = b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + random.Random(1).randbytes(60_000) + b"SEFHk\0\0\0SEFT"


def photo(seed: int = 0, size: tuple[int, int] = (400, 304)) -> Image.Image:
    """Return shapes and noise: every block has something in it."""
    width, height = size
    values = np.random.default_rng(seed)
    small = Image.fromarray(values.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    large = np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((large + values.integers(-12, 12, large.shape)).clip(0, 255).astype(np.uint8))


def jpeg(form: str, seed: int = 0) -> bytes:
    image = photo(seed)
    return encoded(image.convert({"grey": "L", "cmyk": "CMYK"}.get(form, "RGB")), "JPEG", **FORMS[form])


def seen(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_picture_is_read_whatever_follows_it_and_without_its_end_mark(form: str) -> None:
    data = jpeg(form)
    whole = {
        "whole": data,
        "no end mark": data[:-2],
        "no end mark, a film": data[:-2] + MOTION_PHOTO,
        "a film": data + MOTION_PHOTO,
        "another JPEG": data + jpeg("baseline", 1),
        "a few bytes more": data[:-2] + b"\0\0" + data[-2:],
    }
    for name, variant in whole.items():
        assert np.array_equal(np.asarray(decode_image(variant)), seen(data)), name


def damaged(data: bytes, *, rng: random.Random) -> dict[str, bytes]:
    start = data.index(b"\xff\xda") + 20
    at = rng.randrange(start + (len(data) - start) // 5, start + (len(data) - start) * 3 // 5)
    lost = min(4096, (len(data) - at) // 2)
    return {
        "a block of zeros": data[:at] + bytes(lost) + data[at + lost :],
        "a block of 0xff": data[:at] + b"\xff" * lost + data[at + lost :],
        "an unfinished download": data[:at] + bytes(len(data) - at - 2) + data[-2:],
        "cut": data[:at],
        "cut and closed": data[:at] + b"\xff\xd9",
    }


def refusal(data: bytes) -> str:
    """Return why a picture is refused, or ""."""
    try:
        decode_image(data)
    except ImageDecodeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_that_has_lost_a_part_is_refused_and_never_called_broken(form: str) -> None:
    rng, read = random.Random(0), []
    for seed in range(8):
        for name, variant in damaged(jpeg(form, seed), rng=rng).items():
            if reason := refusal(variant):
                assert PARTLY_LOST in reason, name
                assert may_be_whole(reason), name  # a person sees the rest of it
            else:
                read.append((seed, name))
    assert len(read) <= 2, read  # of 40: at least 95 %


def test_of_a_progressive_jpeg_a_missing_scan_is_noticed() -> None:
    data = jpeg("progressive")
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageDecodeError, match=PARTLY_LOST):
        decode_image(data[:last] + b"\xff\xd9")


def test_a_large_picture_of_ones_own_is_decoded_at_half_its_size() -> None:
    data = encoded(Image.new("RGB", (6000, 5000), "teal"), "JPEG")
    image = decode_image(data)
    assert image.size == (3000, 2500)
    assert decode_image(encoded(Image.new("L", (5000, 5000)), "JPEG")).size == (5000, 5000)
    with pytest.raises(ImageDecodeError, match="too large: 6000 x 5000"):
        decode_image(data, max_pixels=25_000_000)
