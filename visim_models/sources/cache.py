"""What spares a host: files that it gave are kept, and while it does not answer it is left alone."""

import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

__all__ = ["DiskCache", "HostPause", "cache_folder"]

_PRUNE_EVERY: Final = 200  # files written between two looks at the size of all

_log = logging.getLogger(__name__)


def cache_folder(name: str) -> Path:
    """Return the folder of this user for one kind of cached files, which may not exist yet.

    A user without a home folder, as in many containers, has it among the temporary files.
    """
    home = os.path.expanduser("~")
    kept = (
        os.path.join(home, ".cache")
        if home != "~"
        else os.path.join(tempfile.gettempdir(), f"cache-{getattr(os, 'getuid', int)()}")
    )
    return Path(os.environ.get("XDG_CACHE_HOME") or kept, "visim", name)


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


class HostPause:
    """The one decision about one host, for all threads that ask it: may it be asked, or is it left alone for a while.

    A request that fails starts a pause, unless the host has answered another request in the meantime: then one file
    failed, not the host. When the pause is over, one request goes ahead alone; the pause ends once the host answers.

    Args:
        name: named in the log.
        seconds: length of a pause.
    """

    def __init__(self, name: str, *, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._lock = threading.Lock()
        self._paused_until: float | None = None
        self._answered_at = -float("inf")

    @property
    def is_on(self) -> bool:
        """Whether the host is left alone now."""
        return self._paused_until is not None

    def take_retry(self) -> bool:
        """Return True to one caller once the pause is over: it asks again, while all others go on waiting."""
        with self._lock:
            if self._paused_until is None or time.monotonic() < self._paused_until:
                return False
            self._paused_until = time.monotonic() + self._seconds
            return True

    def answered(self) -> None:
        """End the pause: the host has answered, be it with an error."""
        with self._lock:
            self._answered_at = time.monotonic()
            self._paused_until = None

    def failed(self, reason: str, *, since: float) -> None:
        """Start a pause because a request got no answer.

        Args:
            reason: for the log.
            since: `time.monotonic()` at the start of the request.
        """
        with self._lock:
            if self._answered_at > since:
                return
            was_on = self._paused_until is not None
            self._paused_until = time.monotonic() + self._seconds
        if not was_on:
            _log.warning("no pictures from %s for %g s: %s", self._name, self._seconds, reason)
