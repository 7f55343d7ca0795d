"""Look host names up within a time limit, and tell public addresses from private ones."""

import ipaddress
import socket
import threading
import time
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

__all__ = ["SocketAddress", "is_public", "resolve"]

SocketAddress: TypeAlias = tuple[int, tuple[Any, ...]]
"""An address family and an address of it, as `socket.socket` and `connect` take them."""

_LOOK_UPS_AT_ONCE: Final = 32

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
