"""Run the demo in a process of its own, started as its users start it: `python demo/app.py`."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["PROJECT", "DemoProcess", "running_demo"]

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
