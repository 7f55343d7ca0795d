"""Streams of libwebp pass the count of prefix codes, and damaged ones are refused."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.image_files import encoded, webp
from visim_models.images.containers import vp8l
from visim_models.images.containers.reduced import RefusedError
from visim_models.images.containers.webp import reduce_webp
from visim_models.images.decode import MAX_PIXELS, decode_image

RNG = np.random.default_rng(8)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)).resize((210, 150), Image.Resampling.BICUBIC)
NOISE = Image.fromarray(RNG.integers(0, 256, (90, 120, 4), dtype=np.uint8))
STREAM = encoded(SMOOTH, "WEBP", lossless=True, method=4, quality=100, exact=True)[20:]  # 8 groups


@pytest.mark.parametrize(("method", "quality"), [(0, 0), (3, 75), (4, 100), (6, 75)])
def test_lossless_streams_of_libwebp(method: int, quality: int) -> None:
    for image in (SMOOTH, NOISE, *(SMOOTH.convert("RGB").quantize(colours) for colours in (2, 4, 16, 200))):
        rgba = image.convert("RGBA")
        data = encoded(rgba, "WEBP", lossless=True, method=method, quality=quality, exact=True)
        reduce_webp(data, MAX_PIXELS)
        assert np.array_equal(np.asarray(decode_image(data)), np.asarray(decode_image(rgba)))


@pytest.mark.parametrize("image", [SMOOTH, NOISE])
def test_lossless_alpha_beside_a_lossy_picture(image: Image.Image) -> None:
    for data in (
        encoded(image, "WEBP", quality=80),
        encoded(image, "WEBP", save_all=True, append_images=[image.rotate(180)], quality=80),
    ):
        assert b"ALPH" in data
        assert decode_image(data).size == image.size


def test_the_groups_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = webp((b"VP8L", STREAM))
    reduce_webp(data, MAX_PIXELS)
    monkeypatch.setattr(vp8l, "_MAX_GROUPS", 7)
    with pytest.raises(RefusedError, match="prefix codes"):
        reduce_webp(data, MAX_PIXELS)
    monkeypatch.setattr(vp8l, "_MAX_BLOCKS", 10)
    with pytest.raises(RefusedError, match="finer blocks"):
        reduce_webp(data, MAX_PIXELS)


def test_a_damaged_stream_is_refused() -> None:
    twice = bytes([0x2F, 0, 0, 0, 0, 0b00101101, 0])  # subtract green, and again
    for stream in (twice, STREAM[:12]):
        with pytest.raises(RefusedError):
            reduce_webp(webp((b"VP8L", stream)), MAX_PIXELS)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(5, 200), st.binary(min_size=1, max_size=8))
def test_mutations_end_in_a_file_or_a_refusal(at: int, patch: bytes) -> None:
    with contextlib.suppress(RefusedError):
        reduce_webp(webp((b"VP8L", STREAM[:at] + patch + STREAM[at + len(patch) :])), MAX_PIXELS)
