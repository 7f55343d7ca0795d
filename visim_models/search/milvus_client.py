"""Calls to a Milvus engine: connected when it is needed, each within a deadline, each failure an `EngineError`."""

import logging
import re
import threading
from typing import Any, Final

from visim_models.errors import EngineError, MissingExtraError
from visim_models.repo_folder.formats import one_line
from visim_models.search.engine import EngineAddress

__all__ = ["SECONDS_A_QUERY", "MilvusConnection"]

SECONDS_A_QUERY: Final = 5.0
"""Deadline of a call that somebody waits for."""

_UNREACHABLE: Final = ("UNAVAILABLE", "DEADLINE", "Retry timeout", "Retry run out", "Fail connecting", "closed channel")
_REFUSED: Final = ("UNAUTHENTICATED", "PERMISSION_DENIED", "auth check failure", "auth failed", "token")
_NAMES: Final = re.compile(r"visim_\w+|'[^']*'|\"[^\"]*\"")
"""What an engine's words quote: the name of a gallery says nothing of what failed."""

_CHANNEL: Final = {
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.keepalive_permit_without_calls": 0,  # milvus-lite hangs up on a client that sends pings without a call
}


class MilvusConnection:
    """A client of one engine, which any thread may use.

    Args:
        address: where the engine is.
        timeout: deadline of a call, in seconds.

    Raises:
        MissingExtraError: pymilvus or, for a local file, milvus-lite is not installed.
    """

    def __init__(self, address: EngineAddress, *, timeout: float = SECONDS_A_QUERY) -> None:
        self.address, self.timeout = address, timeout
        self._milvus = _pymilvus(address)
        self._client: Any = None
        self._lock = threading.Lock()

    def call(self, name: str, *arguments: Any, is_task: bool = False, **options: Any) -> Any:
        """Call a method of `pymilvus.MilvusClient`.

        Args:
            name: of the method.
            arguments: of the method.
            is_task: it takes as long as there is much to do: it has no deadline, but ends when the engine is gone.
            options: of the method.

        Raises:
            EngineError: the engine cannot be reached within the deadline, or refuses the call.
        """
        limits: dict[str, Any] = {"timeout": None, "retry_times": 1} if is_task else {"timeout": self.timeout}
        try:
            return getattr(self._connected(), name)(*arguments, **limits, **options)
        except Exception as error:  # pymilvus raises its own, grpc's, and plain ValueErrors
            raise self._translated(error) from error

    def rows(self, collection: str, *, at_once: int, fields: list[str]) -> Any:
        """Yield all rows of a collection, in lists of at most `at_once`.

        Raises:
            EngineError: the engine cannot be reached within the deadline.
        """
        pages = self.call("query_iterator", collection, batch_size=at_once, output_fields=fields)
        try:
            while page := pages.next():
                yield page
        except Exception as error:
            raise self._translated(error) from error
        finally:
            pages.close()

    def call_local(self, name: str, **options: Any) -> Any:
        """Call a method of the class `pymilvus.MilvusClient`, which asks no engine."""
        return getattr(self._milvus.MilvusClient, name)(**options)

    @property
    def types(self) -> Any:
        """Return `pymilvus.DataType`."""
        return self._milvus.DataType

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._milvus.MilvusClient(
                    uri=self.address.uri,
                    token=self.address.token,
                    timeout=self.timeout,
                    dedicated=True,
                    grpc_options=_CHANNEL,
                )
            return self._client

    def _translated(self, error: Exception) -> EngineError:
        reason = self._reason(error)
        told = _NAMES.sub("", reason)
        if any(sign in told for sign in _REFUSED):
            return EngineError(
                f"The index at {self.address} refuses the token: set VISIM_INDEX_TOKEN to NAME:PASSWORD or an API key.",
                key="index_token",
            )
        if any(sign in told for sign in _UNREACHABLE):
            return EngineError(
                f"The index at {self.address} cannot be reached within {self.timeout:g} seconds: start it, or name "
                "another with --index-uri.",
                key="index_uri",
            )
        if self.address.is_local and "Open local milvus failed" in reason:
            return EngineError(
                f"The index {self.address} cannot be opened: one process at a time can use it. End the other one, or "
                "start `milvus-lite server` for both.",
                path=self.address.uri,
            )
        return EngineError(f"The index at {self.address} failed: {reason}")

    def _reason(self, error: Exception) -> str:
        """Return the engine's own words without the address, which may have a password."""
        codes = [getattr(each, "code", "") for each in (error.__cause__, error)]  # gRPC alone tells a refused token
        told = " ".join(str(code() if callable(code) else code) for code in codes)
        words = f"{told} {getattr(error, 'message', '') or error}"
        for secret in (self.address.uri, self.address.token):
            words = words.replace(secret, "...") if secret else words
        return one_line(ValueError(words))


def _pymilvus(address: EngineAddress) -> Any:
    """Import the client, and quiet it: it logs a traceback for every failure, which comes as an exception too."""
    try:
        import pymilvus

        if address.is_local:
            import milvus_lite  # noqa: F401
    except ImportError as error:
        missing = error.name or "pymilvus"
        raise MissingExtraError(missing.replace("_", "-"), extra="milvus", purpose="An index in Milvus") from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    return pymilvus
