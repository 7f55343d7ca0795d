"""Decide when a host that does not answer is asked again."""

import logging
import threading
import time

__all__ = ["HostPause"]

_log = logging.getLogger(__name__)


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
