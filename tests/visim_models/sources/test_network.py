"""Addresses: which are public, and look-ups that end in time."""

import socket
import threading
import time

import pytest

from tests.loopback import NameServer
from visim_models.sources import network
from visim_models.sources.network import is_public, resolve


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "168.63.129.15", "2606:4700::1111", "2a00:1450:4001::5", "::ffff:1.1.1.1"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "198.18.0.1", "192.0.2.1", "192.88.99.1", "168.63.129.16", "192.0.0.1", "192.0.0.9",
        "192.0.0.192", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "ff0e::1", "2001:db8::1",
        "fec0::1", "::ffff:10.0.0.1", "::ffff:168.63.129.16", "::ffff:192.0.0.9", "not an address", "",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("embedded", ["127.0.0.1", "10.0.0.1", "1.1.1.1"])
@pytest.mark.parametrize(
    "network",
    ["::", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1:2:3:4::", "2001:0:1111:2222:3333:4444::"],
    ids=["compatible", "translated", "NAT64", "NAT64 of one site", "Teredo"],
)
def test_an_embedded_address_is_never_public(network: str, embedded: str) -> None:
    packed = socket.inet_pton(socket.AF_INET6, network)[:12] + socket.inet_aton(embedded)
    assert not is_public(socket.inet_ntop(socket.AF_INET6, packed))
    assert not is_public(socket.inet_ntop(socket.AF_INET6, b"\x20\x02" + socket.inet_aton(embedded) + bytes(10)))


def test_a_host_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    NameServer(monkeypatch).names["two.example"] = [["127.0.0.1", "::1"]]
    found = resolve("two.example", 80, seconds=5)
    assert [(family, address[:2]) for family, address in found] == [
        (socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80)),
    ]  # fmt: skip
    for host in ("none.example", "a..b", "x" * 64):
        with pytest.raises(OSError):  # noqa: PT011
            resolve(host, 80, seconds=5)


def test_look_ups_that_hang_take_a_limited_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait(20) and [])
    monkeypatch.setattr(network, "_free_look_ups", threading.BoundedSemaphore(3))
    others = set(threading.enumerate())  # of look-ups that other tests left to hang
    start = time.monotonic()
    for _ in range(6):
        with pytest.raises(TimeoutError):
            resolve("hangs.example", 80, seconds=0.05)
    assert time.monotonic() - start < 2
    waiting = [thread for thread in threading.enumerate() if thread.name == "visim-resolve" and thread not in others]
    assert len(waiting) == 3
    assert all(thread.daemon for thread in waiting)  # the program can end although they hang
    answer.set()
    for thread in waiting:
        thread.join(5)
    assert resolve("answers.example", 80, seconds=5) == []
