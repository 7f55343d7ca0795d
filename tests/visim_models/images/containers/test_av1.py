"""The frames of AV1 streams are seen at the size that a decoder would allocate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.avif_files import av1
from tests.image_files import encoded
from visim_models.images.containers.av1 import Frame, frames


def frames_of(stream: bytes) -> list[Frame]:
    return list(frames(memoryview(stream)))


def unit(kind: int, bits: str) -> bytes:
    """Return a unit of the stream, with its size."""
    bits += "1" + "0" * 64
    payload = bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits) // 8 * 8, 8))
    return bytes([kind << 3 | 2, len(payload)]) + payload


def number(value: int, bits: int) -> str:
    return f"{value:0{bits}b}"


def sequence(*, side_bits: int = 16, side: int = 64, ids: bool = False, timing: bool = False, grain: int = 0) -> bytes:
    """Return a sequence header of profile 0 that is not the reduced one, for 10-bit 4:2:0."""
    bits = number(0, 3) + "0" + "0"  # profile, still_picture, reduced_still_picture_header
    if timing:
        bits += "1" + number(1, 32) + number(25, 32) + "0"  # no equal picture interval
        bits += "1" + number(4, 5) + number(1, 32) + number(9, 5) + number(11, 5)  # times of 12 bits
    else:
        bits += "0"
    bits += "1" + number(0, 5) + number(0, 12) + number(8, 5) + "0"  # one operating point of level 8
    bits += "1" + number(3, 10) + "0" if timing else ""  # its delays of 5 bits
    bits += "1" + number(2, 4)  # initial display delay
    bits += number(side_bits - 1, 4) * 2 + number(side - 1, side_bits) * 2
    bits += "1" + number(3, 4) + number(2, 3) if ids else "0"
    bits += "000" + "0000" + "1" + "00" + "1" + "1" + number(6, 3)  # order hints; tools and vectors chosen by frame
    bits += "000" + "1" + "0" + "0" + "0" + "00" + "0" + str(grain)  # 10 bits, colour, not described, limited range
    return unit(1, bits)


def key_frame(*, override: int, ids: bool = False, timing: bool = False) -> bytes:
    """Return the start of the header of a shown key frame."""
    time = number(77, 12) if timing else ""
    identity = number(1, 8) if ids else ""  # 3 + 2 bits, and 2 + 1 more
    return unit(6, "0" + "00" + "1" + time + "0" + "1" + "1" + identity + str(override))


@pytest.mark.parametrize(
    ("options", "memory"),
    [({"subsampling": "4:4:4"}, 3), ({"subsampling": "4:2:0"}, 1.5), ({"subsampling": "4:2:2"}, 2)],
)
def test_frames_of_pillow(options: dict[str, str], memory: float) -> None:
    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (70, 94, 3), dtype=np.uint8))
    data = encoded(image, "AVIF", **options)
    stream = data[data.index(b"mdat") + 4 :]
    assert frames_of(stream) == [Frame(70 * 94, int(70 * 94 * memory))]
    grey = av1(image.convert("L")).content
    assert frames_of(grey) == [Frame(70 * 94, 70 * 94)]
    assert len(frames_of(stream + grey * 3)) == 4


def test_each_frame_of_a_film_is_seen() -> None:
    image = Image.fromarray(np.random.default_rng(6).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    film = encoded(image, "AVIF", save_all=True, append_images=[image.rotate(90), image.rotate(180)])
    stream = film[film.index(b"mdat") + 4 :]
    assert [frame.pixels for frame in frames_of(stream)] == [64 * 80] * 3


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("timing", [False, True])
def test_a_frame_that_states_its_own_size_counts_as_the_largest(ids: bool, timing: bool) -> None:
    for side_bits in (6, 16):
        head = sequence(side_bits=side_bits, ids=ids, timing=timing)
        stated = frames_of(head + key_frame(override=0, ids=ids, timing=timing))
        assert stated == [Frame(64 * 64, 64 * 64 * 3)]
        own = frames_of(head + key_frame(override=1, ids=ids, timing=timing))
        assert own == [Frame(4**side_bits, 4**side_bits * 3)]


def test_film_grain_takes_another_copy() -> None:
    assert frames_of(sequence(grain=1) + key_frame(override=0)) == [Frame(64 * 64, 64 * 64 * 6)]


@pytest.mark.parametrize(
    "stream",
    [
        key_frame(override=0),  # before its sequence header
        b"\x80\0",  # the forbidden bit
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a size without an end
        b"\x0a\x05\0",  # a unit that is cut off
        b"\x0a\x01\0",  # a header that is cut off
        b"\x0a",
        b"\x0e",
    ],
)
def test_a_damaged_stream(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        frames_of(stream)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=60), st.integers(0, 40))
def test_random_streams_end_in_frames_or_an_error(noise: bytes, at: int) -> None:
    stream = sequence() + key_frame(override=1)
    try:
        found = frames_of(stream[:at] + noise + stream[at + len(noise) :])
    except ValueError:
        return
    assert all(frame.pixels > 0 and frame.memory > 0 for frame in found)
