"""Milvus engines to test with, on the loopback interface: milvus-lite's server, and the real one where it installs."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["Server", "free_port", "need", "running_lite", "running_real"]

_SECONDS_TO_START = 60


def need(*modules: str) -> None:
    """Skip a test where optional packages are missing, and say which."""
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs the packages {', '.join(missing)}, which are not installed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """An engine in a process of its own, which can be stopped, killed, paused and started again on the same port."""

    def __init__(self, command: Sequence[str], port: int, folder: Path, *, prepare: Callable[[], None] | None) -> None:
        self.port, self.uri = port, f"http://127.0.0.1:{port}"
        self._command, self._folder, self._prepare = command, folder, prepare
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=self._prepare,
            )
        deadline = time.monotonic() + _SECONDS_TO_START
        while not _answers(self.uri):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError((folder / "output.txt").read_text(encoding="utf-8", errors="replace")[-2000:])
            time.sleep(0.1)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def running_lite(folder: Path, *, prepare: Callable[[], None] | None = None) -> Iterator[Server]:
    """Run milvus-lite's server, on the loopback interface alone: it binds all of them by default."""
    need("pymilvus", "milvus_lite")
    port = free_port()
    command = [sys.executable, "-m", "milvus_lite.cmdline", "server", "--data-dir", str(folder / "data")]
    yield from _running(Server([*command, "--host", "127.0.0.1", "--port", str(port)], port, folder, prepare=prepare))


@contextmanager
def running_real(folder: Path, *options: str) -> Iterator[Server]:
    """Run the server of the package `milvus`, in a clean folder, with one retry of its start."""
    need("pymilvus", "milvus")
    for attempt in (1, 2):
        port = free_port()
        clean = folder / str(attempt)
        command = [
            sys.executable,
            "-c",
            "import milvus; milvus.main()",
            "--data",
            str(clean / "data"),
            "--proxy-port",
            str(port),
            *options,
        ]
        server = Server(command, port, clean, prepare=None)
        try:
            server.start()
        except RuntimeError:
            if attempt == 2:
                raise
            continue
        try:
            yield server
        finally:
            server.kill()
        return


def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _answers(uri: str) -> bool:
    """Return whether a server answers: without a token, or with the one that it has when it is new."""
    import pymilvus

    for token in ("", "root:Milvus"):
        with suppress(Exception):  # of many kinds, while it starts
            client = pymilvus.MilvusClient(uri=uri, token=token, timeout=2, dedicated=True)
            client.list_collections(timeout=2)
            client.close()
            return True
    return False
