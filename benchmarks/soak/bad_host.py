"""A web server on loopback that answers as slowly, or as much, as it can."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

__all__ = ["BEHAVIOURS", "BadHost"]

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


def _endless() -> Iterator[bytes]:
    yield _HEAD + b"\r\n"
    while True:
        yield bytes(2**16)


def _dripped_header() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    while True:
        time.sleep(0.2)
        yield b"a"


def _processing() -> Iterator[bytes]:
    while True:
        time.sleep(0.2)
        yield b"HTTP/1.1 102 Processing\r\n\r\n"


def _dripped_chunk() -> Iterator[bytes]:
    yield _HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x="
    while True:
        time.sleep(0.2)
        yield b"a"


def _silent() -> Iterator[bytes]:
    while True:
        time.sleep(0.2)
        yield b""


BEHAVIOURS: dict[str, Callable[[], Iterator[bytes]]] = {
    "endless": _endless,
    "dripping a header": _dripped_header,
    "processing (102)": _processing,
    "dripping a chunk": _dripped_chunk,
    "silent": _silent,
}


class BadHost:
    """A server on a free port, as a context, until it is left; then every connection is closed.

    Args:
        behaviour: a key of `BEHAVIOURS`.
    """

    def __init__(self, behaviour: str) -> None:
        answer, over = BEHAVIOURS[behaviour], threading.Event()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.recv(2**16)
                try:
                    for part in answer():
                        if over.is_set():
                            return
                        self.request.sendall(part)
                except OSError:
                    return  # the demo hung up

        self._over = over
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,))

    @property
    def address(self) -> str:
        """The address of a picture on this host."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/picture.jpg"

    def hang_up(self) -> None:
        """Close each connection, now and from now on."""
        self._over.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
