"""Run the demo in a process of its own, as its users start it, and ask its endpoints by plain HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

__all__ = ["PROJECT", "DemoProcess", "RefusedError", "Visitor", "running_demo"]

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class DemoProcess:
    """A running demo.

    Attributes:
        url: its address, with a slash at the end.
        pid: its process.
        log: the file with its output.
    """

    url: str
    pid: int
    log: Path


@contextmanager
def running_demo(
    folder: Path,
    *,
    program: str = "demo/app.py",
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    wait: float = 120.0,
) -> Iterator[DemoProcess]:
    """Serve the demo on a free port of this machine, from when it is healthy until the block ends.

    Args:
        folder: for its log and its cache.
        program: path of the program that serves it, from the repository's root.
        options: of its command line.
        environment: variables besides those of this process.
        wait: longest time until it is healthy, in seconds.

    Raises:
        RuntimeError: it ends, or is not healthy in time; the message has its log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "demo.log"
    variables = {**os.environ, "XDG_CACHE_HOME": str(folder), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    command = [sys.executable, program, "--port", str(port), *options]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, cwd=PROJECT, env={**variables, **(environment or {})}, stdout=file, stderr=file
        ) as app,
    ):
        try:
            demo = DemoProcess(f"http://127.0.0.1:{port}/", app.pid, log)
            _wait_until_healthy(demo, app, time.monotonic() + wait)
            yield demo
        finally:
            app.terminate()
            try:
                app.wait(20)
            except subprocess.TimeoutExpired:
                app.kill()


def _wait_until_healthy(demo: DemoProcess, app: "subprocess.Popen[bytes]", deadline: float) -> None:
    while time.monotonic() < deadline:
        if app.poll() is not None:
            break
        try:
            if httpx.get(f"{demo.url}healthz", timeout=5).text == "ok":
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise RuntimeError(f"The demo did not start:\n{demo.log.read_text(encoding='utf-8', errors='replace')}")


_API = "gradio_api"


class RefusedError(Exception):
    """The demo answered a query with an error; the message is the demo's."""


@dataclass
class Visitor:
    """One visitor, with a connection of its own.

    Args:
        url: of the demo, with a slash at the end.
        timeout: longest wait for an answer, in seconds.
    """

    url: str
    timeout: float = 60.0
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Over plain http there is nothing to verify, and loading the authorities takes longer than a query.
        self._client = httpx.Client(base_url=self.url, timeout=self.timeout, verify=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def search(self, picture: bytes, *, tab: str, top_k: int = 4) -> dict[str, Any]:
        """Upload a picture, search with it, and return the answer of `/search_<tab>`.

        Args:
            picture: the bytes of its file.
            tab: the tab to search in.
            top_k: how many matches to ask for.

        Raises:
            RefusedError: the demo refuses the upload or the query.
            httpx.HTTPError: it does not answer as a server does.
        """
        upload = self._client.post(f"{_API}/upload", files={"files": ("picture", picture)})
        if upload.status_code != 200:
            raise RefusedError(upload.text)
        file = {"path": upload.json()[0], "meta": {"_type": "gradio.FileData"}}
        call = self._client.post(f"{_API}/call/search_{tab}", json={"data": [file, top_k]})
        if call.status_code != 200:
            raise RefusedError(call.text)
        return self._result(f"{_API}/call/search_{tab}/{call.json()['event_id']}")

    def _result(self, path: str) -> dict[str, Any]:
        """Follow the server-sent events of a query to the answer."""
        event = ""
        with self._client.stream("GET", path) as stream:
            for line in stream.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event == "complete":
                    answer: dict[str, Any] = json.loads(value)[0]
                    return answer
                elif name == "data" and event == "error":
                    raise RefusedError(value)
        raise RefusedError("the demo ended its answer without a result")
