"""Count the groups of prefix codes in a lossless WebP stream, which decide how much memory its decoder takes.

Source: RFC 9649, section 3 (WebP lossless). libwebp keeps about 6 to 12 kB for each group, and a stream can ask for
65,536 of them in 160 kB, so a WebP of 300 kB takes 400 MB. The groups are numbered by the pixels of a small image near
the start of the stream. Its pixels are read here, but not put together: a copy repeats earlier numbers.
"""

from typing import Final, TypeAlias

from visim_models.images.containers.reduced import RefusedError

__all__ = ["check_vp8l"]

_MAX_GROUPS: Final = 5_000  # libwebp's encoder makes at most 2,600
_MAX_BLOCKS: Final = 150_000  # pixels of the small images; libwebp's encoder makes about 100,000 of 12 megapixels

_Code: TypeAlias = tuple[list[tuple[int, int]], int]  # (symbol, bits) by the next bits, and the mask of these bits

_LITERALS, _LENGTHS, _DISTANCES = 256, 24, 40  # symbols of each kind
_PREDICTOR, _COLOUR, _INDEXING = 0, 1, 3  # transforms; 2, subtract green, has no data
_CODE_LENGTH_ORDER: Final = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_REPEATS: Final = {16: (3, 2), 17: (3, 3), 18: (11, 7)}  # code length symbol: fewest repeats, extra bits
_MAX_BITS: Final = 15  # of one symbol


def check_vp8l(stream: bytes | memoryview, size: tuple[int, int] | None = None) -> None:
    """Refuse a lossless stream that asks for more groups of prefix codes than encoders write.

    Args:
        stream: The content of a VP8L chunk, or of an ALPH chunk after its first byte.
        size: Width and height where the stream has no header of its own (ALPH).

    Raises:
        RefusedError: There are too many groups or blocks, or the stream is damaged.
    """
    reader = _Reader(stream)
    try:
        if size is None:
            reader.read(8)  # signature
            size = reader.read(14) + 1, reader.read(14) + 1
            reader.read(4)  # alpha, version
        groups = reader.groups(*size)
    except RefusedError:
        raise
    except (IndexError, ValueError) as error:
        raise RefusedError("is a damaged WebP. Save it again as WebP or PNG.") from error
    if groups > _MAX_GROUPS:
        raise RefusedError("is a lossless WebP of more prefix codes than it needs. Save it again as WebP or PNG.")


class _Reader:
    """Read bits from the least significant one up, and what they encode."""

    def __init__(self, stream: bytes | memoryview) -> None:
        self._stream = stream
        self._position = 0  # in bits
        self._blocks_left = _MAX_BLOCKS

    def read(self, bits: int) -> int:
        start = self._position >> 3
        value = int.from_bytes(self._stream[start : start + 4], "little") >> (self._position & 7)
        self._position += bits
        return value & ((1 << bits) - 1)

    def _symbol(self, code: _Code) -> int:
        symbol, bits = code[0][self.read(_MAX_BITS) & code[1]]
        self._position += bits - _MAX_BITS
        return symbol

    def groups(self, width: int, height: int) -> int:
        """Return the number of groups, from the start of the transforms."""
        seen = set[int]()
        while self.read(1):
            transform = self.read(2)
            if transform in seen:
                raise ValueError("a transform is there twice")
            seen.add(transform)
            if transform in (_PREDICTOR, _COLOUR):
                self._largest_number(*self._blocks(width, height))
            elif transform == _INDEXING:
                colours = self.read(8) + 1
                self._largest_number(colours, 1)
                packed = 8 if colours <= 2 else 4 if colours <= 4 else 2 if colours <= 16 else 1
                width = -(-width // packed)
        if self.read(1):
            self.read(4)  # bits of the colour cache
        return 1 + self._largest_number(*self._blocks(width, height)) if self.read(1) else 1

    def _blocks(self, width: int, height: int) -> tuple[int, int]:
        side = 4 << self.read(3)
        return -(-width // side), -(-height // side)

    def _largest_number(self, width: int, height: int) -> int:
        """Read a small image, and return the largest number that its red and green make: a literal pixel has it."""
        cache = 1 << self.read(4) if self.read(1) else 0
        green, red, blue, alpha, distance = (
            self._prefix_code(symbols)
            for symbols in (_LITERALS + _LENGTHS + cache, _LITERALS, _LITERALS, _LITERALS, _DISTANCES)
        )
        left, largest = width * height, 0
        if not (green[1] or red[1] or blue[1] or alpha[1]) and green[0][0][0] < _LITERALS:
            return red[0][0][0] << 8 | green[0][0][0]  # one colour, in no bits at all
        while left > 0:
            self._blocks_left -= 1
            if self._blocks_left < 0:
                raise RefusedError("is a lossless WebP of finer blocks than it needs. Save it again as WebP or PNG.")
            if self._position > 8 * len(self._stream):
                raise ValueError("the stream is cut off")
            symbol = self._symbol(green)
            if symbol < _LITERALS:
                largest = max(largest, self._symbol(red) << 8 | symbol)
                self._symbol(blue), self._symbol(alpha)
                left -= 1
            elif symbol < _LITERALS + _LENGTHS:
                left -= self._prefixed(symbol - _LITERALS)
                self._prefixed(self._symbol(distance))
            else:
                left -= 1
        return largest

    def _prefixed(self, prefix: int) -> int:
        """Return the length or distance of a prefix symbol and its extra bits."""
        if prefix < 4:
            return prefix + 1
        extra = (prefix - 2) >> 1
        return ((2 + (prefix & 1)) << extra) + self.read(extra) + 1

    def _prefix_code(self, symbols: int) -> _Code:
        lengths = [0] * symbols
        if self.read(1):  # one or two symbols, listed
            both = self.read(1)
            lengths[self.read(8 if self.read(1) else 1)] = 1
            if both:
                lengths[self.read(8)] = 1
            return _table(lengths)
        of_lengths = [0] * len(_CODE_LENGTH_ORDER)
        for index in range(4 + self.read(4)):
            of_lengths[_CODE_LENGTH_ORDER[index]] = self.read(3)
        code, last = _table(of_lengths), 8
        left = 2 + self.read(2 + 2 * self.read(3)) if self.read(1) else symbols
        index = 0
        while index < symbols and left > 0:
            left -= 1
            length, times = self._symbol(code), 1
            if length in _REPEATS:
                fewest, extra = _REPEATS[length]
                length, times = (last if length == 16 else 0), fewest + self.read(extra)
            last = length or last
            lengths[index : index + times] = [length] * times
            index += times
        if index > symbols:
            raise ValueError("more code lengths than symbols")
        return _table(lengths)


def _table(lengths: list[int]) -> _Code:
    """Return the canonical prefix code of the symbols whose lengths, in bits, are given; 0 is no symbol."""
    used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    if len(used) < 2:
        return [(used[0][1] if used else 0, 0)], 0
    longest = used[-1][0]
    table: list[tuple[int, int] | None] = [None] * (1 << longest)
    code = previous = 0
    for length, symbol in used:
        code <<= length - previous
        previous = length
        first = int(f"{code:0{length}b}"[::-1], 2)  # the stream has a code's first bit first
        table[first :: 1 << length] = [(symbol, length)] * (1 << longest - length)
        code += 1
    if code != 1 << longest:
        raise ValueError("a prefix code leaves bits without a symbol")
    return [entry for entry in table if entry is not None], (1 << longest) - 1
