"""The network within limits: look-ups that end in time, public addresses, and connections with one deadline."""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeAlias, TypeVar

import httpcore

from visim_models.errors import ImageSourceError

__all__ = ["LimitedBackend", "Limits", "SocketAddress", "is_public", "resolve"]

SocketAddress: TypeAlias = tuple[int, tuple[Any, ...]]
"""An address family and an address of it, as `socket.socket` and `connect` take them."""

_LOOK_UPS_AT_ONCE: Final = 32
_STEP: Final = 16 * 1024
"""Bytes read at once: little enough that hostile answers cannot keep their parser busy far beyond the deadline."""

T = TypeVar("T")

# `is_global` calls some of these public, or did so in some Python versions. An IPv6 network whose
# addresses embed IPv4 ones is refused whole: a gateway decides which host a packet reaches.
_NOT_PUBLIC: Final = [
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # the host services of Azure, reachable from every machine there
        "192.0.0.0/24",  # protocol assignments of the IETF; metadata services use it
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible, ::a.b.c.d
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of one site
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
]

# A look-up cannot be stopped: this bounds the threads that wait for a name server that does not answer.
_free_look_ups = threading.BoundedSemaphore(_LOOK_UPS_AT_ONCE)


def resolve(host: str, port: int, *, seconds: float) -> list[SocketAddress]:
    """Look up the addresses of a host.

    Args:
        host: ASCII host name, or an IPv4 or IPv6 address without brackets.
        port: 1 to 65535.
        seconds: longest wait for the answer.

    Returns:
        At least one address, in the order of the system's preference.

    Raises:
        TimeoutError: there is no answer in time.
        OSError: there is no such host.
    """
    deadline = time.monotonic() + seconds
    if not _free_look_ups.acquire(timeout=max(seconds, 0)):
        raise TimeoutError(f"the name server does not answer within {seconds:g} s")
    answer: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.set_exception(error)
        finally:
            _free_look_ups.release()

    # A daemon, unlike the threads of a pool: the program does not wait for a hanging look-up before it ends.
    threading.Thread(target=look_up, name="visim-resolve", daemon=True).start()
    try:
        return [(entry[0], entry[4]) for entry in answer.result(max(deadline - time.monotonic(), 0))]
    except UnicodeError as error:  # an empty or overlong label
        raise OSError(f"{host!r} is no host name") from error


def is_public(address: str) -> bool:
    """Return whether an IPv4 or IPv6 address belongs to the public internet.

    An IPv4-mapped address (::ffff:a.b.c.d) is judged by the IPv4 address in it. The other forms that embed one
    (IPv4-compatible, IPv4-translated, 6to4, Teredo, NAT64) are never public.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_global and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)


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
