"""Connections for one fetch: every wait ends at one deadline, and every byte counts towards one limit."""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import httpcore

from visim_models.errors import ImageSourceError
from visim_models.sources.addresses import SocketAddress

__all__ = ["LimitedBackend", "Limits"]

_STEP: Final = 16 * 1024
"""Bytes read at once: little enough that hostile answers cannot keep their parser busy far beyond the deadline."""

T = TypeVar("T")


class Limits:
    """The time and the bytes that one fetch has left, over all its connections.

    Args:
        url: named in messages.
        seconds: time from now.
        max_bytes: bytes read from the network, those of TLS and of headers included.
    """

    def __init__(self, url: str, *, seconds: float, max_bytes: int) -> None:
        self._url = url
        self._deadline = time.monotonic() + seconds
        self._max_bytes = max_bytes
        self._bytes_left = max_bytes

    def seconds_left(self) -> float:
        """Return the time left, which is above zero.

        Raises:
            TimeoutError: the deadline has passed.
        """
        if (left := self._deadline - time.monotonic()) <= 0:
            raise TimeoutError("the time is up")
        return left

    def count(self, size: int) -> None:
        """Count bytes that were read.

        Raises:
            ImageSourceError: they are more than the limit.
        """
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ImageSourceError(
                f"{self._url} sends more than {self._max_bytes:,} bytes in all: it is refused.", path=self._url
            )


class LimitedBackend(httpcore.NetworkBackend):
    """Connect to given addresses only, whatever host the caller names.

    A host name is looked up once, by the caller, and its addresses are checked: nothing resolves it again.

    Args:
        addresses: tried in this order; at least one.
        limits: of the fetch.
    """

    def __init__(self, addresses: Sequence[SocketAddress], limits: Limits) -> None:
        self._addresses = addresses
        self._limits = limits

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; each may take its share of the time left.

        Raises:
            OSError: none of them can be reached.
        """
        for index, (family, address) in enumerate(self._addresses, start=1):
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(self._limits.seconds_left() / (len(self._addresses) - index + 1))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.connect(address)
            except OSError:
                connection.close()
                if index == len(self._addresses):
                    raise
            else:
                return _SocketStream(connection, self._limits)
        raise OSError("there is no address to connect to")


class _SocketStream(httpcore.NetworkStream):
    """A TCP connection whose reads and writes keep to the limits."""

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._connection.settimeout(self._limits.seconds_left())
        content = self._connection.recv(min(max_bytes, _STEP))
        self._limits.count(len(content))
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._connection.settimeout(self._limits.seconds_left())
        self._connection.sendall(buffer)

    def close(self) -> None:
        self._connection.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TlsStream(self, ssl_context, server_hostname)


class _TlsStream(httpcore.NetworkStream):
    """TLS over another stream.

    `SSLSocket` would read from the socket itself: a host that sends nothing but records without content could hold it
    beyond the deadline, and what it sends would not be counted.
    """

    def __init__(self, below: httpcore.NetworkStream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._below = below
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=server_hostname)
            self._run(self._tls.do_handshake)
        except BaseException:
            below.close()
            raise

    def _run(self, step: Callable[[], T]) -> T:
        """Take a step of the protocol, with as much reading and writing as it needs."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._send()
                if content := self._below.read(_STEP):
                    self._received.write(content)
                else:
                    self._received.write_eof()
            else:
                self._send()
                return result

    def _send(self) -> None:
        if content := self._to_send.read():
            self._below.write(content)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._run(lambda: self._tls.read(max_bytes))
        except ssl.SSLEOFError:  # many servers close without a farewell
            return b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._run(lambda: self._tls.write(buffer))

    def close(self) -> None:
        self._below.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TlsStream(self, ssl_context, server_hostname)
