"""Still pictures pass, with alpha or a grid; files that cost more than their stated size are refused."""

import contextlib
import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.avif_files import Item, av1, avif, box, grid, size_property
from tests.image_files import FLAG, encoded, quadrants
from visim_models.images.containers.avif import reduce_avif
from visim_models.images.containers.reduced import RefusedError
from visim_models.images.decode import MAX_PIXELS, decode_image

NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (48, 64, 4), dtype=np.uint8))


def shown(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.copy()


def test_pictures_of_pillow_are_decoded_as_before() -> None:
    for mode in ("L", "RGB", "RGBA"):
        for options in ({}, {"icc_profile": bytes(500)}, {"xmp": b"<x/>"}, {"subsampling": "4:4:4", "quality": 100}):
            data = encoded(NOISE.convert(mode), "AVIF", **options)
            reduced = reduce_avif(data, MAX_PIXELS)
            assert len(reduced.data) == len(data)
            assert np.array_equal(np.asarray(shown(reduced.data)), np.asarray(shown(data)))


def test_a_film_shows_its_first_frame() -> None:
    frames = [quadrants((colour,) * 4, (32, 32)) for colour in FLAG.colours]
    film = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=95)
    assert film[8:12] == b"avis"
    reduced = reduce_avif(film, MAX_PIXELS).data
    assert b"avis" not in reduced
    assert b"moov" not in reduced
    assert np.array_equal(np.asarray(decode_image(film)), np.asarray(shown(film)))


def test_a_grid_is_decoded_as_before() -> None:
    cells = [av1(quadrants((colour,) * 4, (64, 64))) for colour in FLAG.colours]
    data = grid(cells, 2, (120, 100))
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(shown(data)))
    assert decode_image(data).size == (120, 100)


def test_metadata_becomes_an_item_of_no_kind() -> None:
    data = avif(
        [av1(quadrants()), Item(b"Exif", bytes(4) + b"II*\0\x08\0\0\0" + bytes(6)), Item(b"mime", b"<x:xmpmeta/>")],
        references=box(b"cdsc", struct.pack(">HHH", 2, 1, 1)) + box(b"cdsc", struct.pack(">HHH", 3, 1, 1)),
    )
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(reduce_avif(data, MAX_PIXELS).data)) as after:
        assert "exif" in before.info
        assert "exif" not in after.info
        assert "xmp" not in after.info
    assert decode_image(data).size == (24, 16)


def test_a_frame_over_the_limit_is_refused_wherever_it_is() -> None:
    small, large = av1(Image.new("RGB", (64, 64))), av1(Image.new("RGB", (200, 200)), (64, 64))
    files = {
        "the picture": avif([large]),
        "a later item": avif([small, large]),
        "a second frame": avif([small._replace(content=small.content + large.content)]),
        "a grey one": avif([av1(Image.new("L", (200, 200)), (64, 64))]),
        "a cell": grid([small, small, small, large], 2, (128, 128)),
    }
    for name, data in files.items():
        reduce_avif(data, 2 * 200 * 200)
        with pytest.raises(RefusedError) as caught:
            reduce_avif(data, 2 * 200 * 200 - 2)
        assert "frames are too large" in str(caught.value), name


def test_stated_sizes_over_the_limit_are_refused() -> None:
    small = av1(Image.new("RGB", (64, 64)))
    for data in (
        avif([av1(Image.new("RGB", (64, 64)), (129, 64))]),
        avif([small, small._replace(properties=(size_property(129, 64), small.properties[1]))]),
        grid([small, small], 2, (129, 64), stated=(24, 16)),
        grid([small, small], 2, (2**31, 2**31), stated=(24, 16)),
    ):
        with pytest.raises(RefusedError, match="too large"):
            reduce_avif(data, 2 * 128 * 64)
        reduce_avif(data, 2**64)


def test_all_frames_together_are_limited() -> None:
    small = av1(Image.new("RGB", (1000, 1000)))
    reduce_avif(avif([small] * 5), 2_000_000)
    with pytest.raises(RefusedError, match="too many"):
        reduce_avif(avif([small] * 7), 2_000_000)  # 1.5 MB each, and 4 bytes a pixel and a mebibyte are allowed


PLAIN = avif([av1(quadrants())])


def changed(kind: bytes, offset: int, patch: bytes) -> bytes:
    """Return the plain file with bytes changed at an offset from the name of its first box of a kind."""
    at = PLAIN.index(kind) + offset
    return PLAIN[:at] + patch + PLAIN[at + len(patch) :]


@pytest.mark.parametrize(
    "data",
    [
        changed(b"meta", 0, b"free"),
        changed(b"meta", -4, b"\xff\xff\xff\xff"),
        changed(b"iloc", 0, b"free"),
        changed(b"iinf", 0, b"free"),
        changed(b"iloc", 4, b"\3"),  # a version of the future
        changed(b"iloc", 8, b"\x33"),  # sizes of three bytes
        changed(b"iloc", 10, b"\xff\xff"),  # more items than the table has
        changed(b"iloc", 18, b"\xff\xff\xff\xff"),  # an item beyond the end
        changed(b"iloc", 22, b"\0\0\0\0"),  # an item without bytes
        changed(b"infe", 4, b"\1"),
        changed(b"pitm", 0, b"iinf"),  # a second list
        PLAIN[:-1],
        PLAIN[:20],
        PLAIN[:8],
    ],
)
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        reduce_avif(data, MAX_PIXELS)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=4))
def test_mutations_end_in_a_file_or_a_refusal(at: int, patch: bytes) -> None:
    with contextlib.suppress(RefusedError):
        reduce_avif(PLAIN[:at] + patch + PLAIN[at + len(patch) :], MAX_PIXELS)
