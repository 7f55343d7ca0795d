"""Keep files in a folder by key: written whole or not at all, and bounded in size."""

import logging
import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["DiskCache"]

_PRUNE_EVERY: Final = 200  # files written between two looks at the size of all

_log = logging.getLogger(__name__)


class DiskCache:
    """Files by key in one folder; a disk that is full or read-only only means that nothing is kept.

    Args:
        folder: Made when the first file is kept.
        max_bytes: Once all files together exceed it, the oldest go until half of it is left.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 512 * 2**20) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._writes = 0

    def get(self, key: str) -> bytes | None:
        """Return the file of a key, or None where none is kept."""
        try:
            return (self._folder / key).read_bytes()
        except OSError:
            return None

    def put(self, key: str, content: bytes) -> None:
        """Keep a file under a key, which has letters and digits alone, like a hash."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._writes % _PRUNE_EVERY == 0:
                self._prune()
            self._writes += 1
            descriptor, staged = tempfile.mkstemp(dir=self._folder, prefix=".")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                os.replace(staged, self._folder / key)
            except OSError:
                Path(staged).unlink(missing_ok=True)
                raise
        except OSError as error:
            _log.warning("the picture cache %s cannot be written: %s", self._folder, error)

    def _prune(self) -> None:
        """Delete files, the oldest first, until half of the limit is left, once it is exceeded."""
        files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in self._folder.iterdir())
        total = sum(size for _, size, _ in files)
        if total <= self._max_bytes:
            return
        for _, size, file in files:
            file.unlink(missing_ok=True)
            total -= size
            if total <= self._max_bytes // 2:
                return
