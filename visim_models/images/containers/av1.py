"""Read how large the frames of an AV1 stream are, and how much memory they take, without decoding one.

Source: AV1 Bitstream & Decoding Process Specification, version 1.0.0 with errata 1, sections 5.3 to 5.9. A file's
container can state any size; the decoder allocates the one in the stream.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Frame", "frames"]

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME, _REDUNDANT_FRAME_HEADER = 1, 3, 6, 7  # obu_type
_KEY_FRAME, _SWITCH_FRAME = 0, 3  # frame_type
_SELECT: Final = 2  # SELECT_SCREEN_CONTENT_TOOLS and SELECT_INTEGER_MV: each frame says
_SRGB: Final = (1, 13, 0)  # colour primaries, transfer, matrix: RGB, which is never subsampled


class Frame(NamedTuple):
    """State the cost of one frame.

    Attributes:
        pixels: Width x height.
        memory: Bytes that the decoder takes for all planes, film grain included.
    """

    pixels: int
    memory: int


def frames(stream: memoryview) -> Iterator[Frame]:
    """Yield every frame that a decoder could find in `stream`, at least as large as it is.

    Args:
        stream: Open bitstream units (OBU) one after another, as an item of an AVIF file holds them.

    Raises:
        ValueError: The stream is damaged, or a frame comes before its sequence header.
    """
    sequence = None
    for kind, payload in _units(stream):
        if kind == _SEQUENCE_HEADER:
            sequence = _Sequence(_Bits(payload))
        elif kind in (_FRAME_HEADER, _FRAME, _REDUNDANT_FRAME_HEADER):
            if sequence is None:
                raise ValueError("a frame comes before its sequence header")
            yield sequence.frame(_Bits(payload))


def _units(stream: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield type and payload of each unit."""
    position = 0
    while position < len(stream):
        header = stream[position]
        if header & 0x80:
            raise ValueError("the forbidden bit is set")
        position += 2 if header & 4 else 1  # obu_extension_flag
        size = len(stream) - position
        if header & 2:  # obu_has_size_field
            size, shift, byte = 0, 0, 0x80
            while byte & 0x80:
                if shift > 49 or position >= len(stream):
                    raise ValueError("a size is damaged")
                byte = stream[position]
                size, shift, position = size | (byte & 0x7F) << shift, shift + 7, position + 1
        if size < 0 or position + size > len(stream):
            raise ValueError("a unit is cut off")
        yield header >> 3 & 15, stream[position : position + size]
        position += size


class _Bits:
    """Read bits from the most significant one down; beyond the end there are none."""

    def __init__(self, payload: memoryview) -> None:
        head = bytes(payload[:256])  # no header is longer
        self._value, self._left = int.from_bytes(head, "big"), 8 * len(head)

    def read(self, bits: int) -> int:
        self._left -= bits
        if self._left < 0:
            raise ValueError("a header is cut off")
        return self._value >> self._left & ((1 << bits) - 1)


class _Sequence:
    """Keep the fields of a sequence header that decide the size and the layout of frames."""

    def __init__(self, bits: _Bits) -> None:
        self._profile = bits.read(3)
        bits.read(1)  # still_picture
        self._reduced = bits.read(1)
        self._time_bits = 0  # of frame_presentation_time, where frames have it
        if self._reduced:
            bits.read(5)  # seq_level_idx
        else:
            self._read_operating_points(bits)
        width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
        self._largest = 1 << width_bits + height_bits
        self._pixels = (bits.read(width_bits) + 1) * (bits.read(height_bits) + 1)
        self._id_bits = 0
        if not self._reduced and bits.read(1):
            self._id_bits = bits.read(4) + 2
            self._id_bits += bits.read(3) + 1
        bits.read(3)  # 128 x 128 superblocks, filter intra, intra edge filter
        self._screen_content = self._integer_mv = _SELECT
        if not self._reduced:
            self._read_inter_tools(bits)
        bits.read(3)  # superres, cdef, restoration
        self._sample_memory = self._read_colours(bits)  # of two pixels
        self._copies = 1 + bits.read(1)  # film grain is added to a copy

    def _read_operating_points(self, bits: _Bits) -> None:
        delay_bits = 0
        if bits.read(1):  # timing_info_present_flag
            bits.read(64)
            equal_interval = bits.read(1)
            if equal_interval:
                zeros = 0
                while zeros < 32 and not bits.read(1):
                    zeros += 1
                bits.read(zeros if zeros < 32 else 0)
            if bits.read(1):  # decoder_model_info_present_flag
                delay_bits = bits.read(5) + 1
                bits.read(32 + 5)
                time_bits = bits.read(5) + 1
                self._time_bits = 0 if equal_interval else time_bits
        display_delay = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if delay_bits and bits.read(1):
                bits.read(2 * delay_bits + 1)
            if display_delay and bits.read(1):
                bits.read(4)

    def _read_inter_tools(self, bits: _Bits) -> None:
        bits.read(4)  # interintra and masked compound, warped motion, dual filter
        order_hint = bits.read(1)
        if order_hint:
            bits.read(2)
        if not bits.read(1):  # seq_choose_screen_content_tools
            self._screen_content = bits.read(1)
        if self._screen_content and not bits.read(1):  # seq_choose_integer_mv
            self._integer_mv = bits.read(1)
        if order_hint:
            bits.read(3)

    def _read_colours(self, bits: _Bits) -> int:
        """Return the bytes of two pixels in all planes."""
        deep = bits.read(1)
        twelve = bits.read(1) if self._profile == 2 and deep else 0
        grey = bits.read(1) if self._profile != 1 else 0
        described = tuple(bits.read(8) for _ in range(3)) if bits.read(1) else ()
        samples = 6  # of two pixels: luma, and both chroma planes in full
        if grey:
            samples = 2
            bits.read(1)
        elif described != _SRGB:
            bits.read(1)  # colour_range
            across = down = int(self._profile == 0)
            if self._profile == 2:
                across = bits.read(1) if twelve else 1
                down = bits.read(1) if twelve and across else 0
            samples = 2 + 4 // (1 + across) // (1 + down)
            if across and down:
                bits.read(2)
        if not grey:
            bits.read(1)  # separate_uv_delta_q
        return samples * (1 + deep)

    def frame(self, bits: _Bits) -> Frame:
        """Return the cost of the frame whose header is given; one that states its own size counts as the largest."""
        pixels = self._largest if not self._reduced and self._states_size(bits) else self._pixels
        return Frame(pixels, pixels * self._sample_memory * self._copies // 2)

    def _states_size(self, bits: _Bits) -> bool:
        """Return frame_size_override_flag."""
        if bits.read(1):  # show_existing_frame
            return False
        kind, shown = bits.read(2), bits.read(1)
        if shown:
            bits.read(self._time_bits)
        else:
            bits.read(1)  # showable_frame
        if not (kind == _SWITCH_FRAME or (kind == _KEY_FRAME and shown)):
            bits.read(1)  # error_resilient_mode
        bits.read(1)  # disable_cdf_update
        screen_content = bits.read(1) if self._screen_content == _SELECT else self._screen_content
        if screen_content and self._integer_mv == _SELECT:
            bits.read(1)
        bits.read(self._id_bits)
        return kind == _SWITCH_FRAME or bool(bits.read(1))
