"""Servers and name servers to fetch from in tests, on the loopback interface only."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

__all__ = ["FileServer", "NameServer", "running", "scripted"]


class FileServer(ThreadingHTTPServer):
    """Serves `files` by path; a path in `redirects` leads elsewhere, one in `statuses` has another status.

    It records the paths and Host headers that were asked for, and the token for each path. It waits `delay`
    seconds before each answer, or the seconds that `delays` gives for the path.
    """

    daemon_threads = True

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__((host, port), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        self.asked: list[str] = []
        self.hosts: list[str] = []
        self.tokens: dict[str, str] = {}
        self.delay = 0.0
        self.delays: dict[str, float] = {}

    @property
    def address(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that refuses a certificate hangs up


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.hosts.append(self.headers.get("Host", ""))
        self.server.tokens[self.path] = self.headers.get("Authorization", "")
        time.sleep(self.server.delays.get(self.path, self.server.delay))
        content = self.server.files.get(self.path)
        status = 404 if content is None else 200
        with suppress(OSError):  # the client has had enough
            if self.path in self.server.redirects:
                self.send_response(302)
                self.send_header("Location", self.server.redirects[self.path])
                self.end_headers()
                return
            self.send_response(self.server.statuses.get(self.path, status))
            self.end_headers()
            self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running(server: FileServer) -> Iterator[FileServer]:
    """Run a server until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def scripted(script: Callable[[socket.socket], None], *, host: str = "127.0.0.1") -> Iterator[int]:
    """Run a server that hands each connection to `script`, until the block ends; yields the port."""
    ended = threading.Event()

    def handle(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(20)
            script(connection)

    def serve() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                connection, _ = listening.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server((host, 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            thread.join()


class NameServer:
    """Takes the place of the resolver: only `names` have addresses, and nothing leaves this machine.

    Attributes:
        names: Host -> addresses; a list of lists is used up, one list a look-up, down to the last.
        asked: Hosts that were looked up.
        delay: Seconds before each answer.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.delay = 0.0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        name = host.encode("idna").decode() if isinstance(host, str) else host.decode()  # as the real one does
        self.asked.append(name)
        time.sleep(self.delay)
        with suppress(socket.gaierror):
            return self._real(name, port, *args, **{**options, "flags": socket.AI_NUMERICHOST})
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.names[name]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in found for entry in self._real(address, port, type=socket.SOCK_STREAM)]
