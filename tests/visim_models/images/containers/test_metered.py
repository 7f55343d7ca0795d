"""Reads and bytes are both counted."""

import pytest

from visim_models.images.containers.metered import MAX_READS, MeteredBytes
from visim_models.images.containers.reduced import RefusedError


def test_a_file_is_read_as_any_other() -> None:
    file = MeteredBytes(b"0123456789")
    assert [file.read(4), file.read(), file.read(1)] == [b"0123", b"456789", b""]
    file.seek(2)
    assert (file.read(3), file.tell(), file.getvalue()) == (b"234", 5, b"0123456789")


def test_too_many_reads_are_refused() -> None:
    file = MeteredBytes(b"")
    for _ in range(MAX_READS):
        file.read(1)
    with pytest.raises(RefusedError, match="pieces"):
        file.read(1)


def test_too_many_bytes_are_refused() -> None:
    size = 2**20
    file = MeteredBytes(bytes(size))
    for _ in range(5):  # four times its size, and a mebibyte
        file.seek(0)
        file.read()
    file.seek(0)
    with pytest.raises(RefusedError, match="pieces"):
        file.read(1)
