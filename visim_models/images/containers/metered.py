"""A file in memory that bounds the work that a header can ask of a decoder."""

import io
from typing import Final

from visim_models.images.containers.reduced import RefusedError

__all__ = ["MAX_READS", "MeteredBytes"]

MAX_READS: Final = 50_000  # Pillow walks blocks in Python, one read or more for each

_READS_PER_BYTE: Final = 4  # Pillow reads a JPEG's header twice and a TIFF's directory three times
_FREE_BYTES: Final = 2**20


class MeteredBytes(io.BytesIO):
    """Serve bytes as a file, and refuse to be read in too many pieces or too often over.

    Args:
        data: The file's content. At most four times its size, plus a mebibyte, is ever handed out.

    Raises:
        RefusedError: A read is one too many, or the bytes read are far more than the file has.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = MAX_READS
        self._bytes_left = _READS_PER_BYTE * len(data) + _FREE_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes, or all that are left, and count them."""
        data = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(data)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise RefusedError("is cut into far more pieces than it needs. Save it again as PNG.")
        return data
