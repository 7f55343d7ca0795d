"""`olah`, a server of the Hub's protocol from PyPI, in an environment of its own: it serves git checkouts over HTTP."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from filelock import FileLock

__all__ = ["FlakyNetwork", "commit", "flaky_network", "installed_olah", "serving_checkouts"]

VERSION = "0.5.4"


def installed_olah() -> Path:
    """The program, installed once, inside the environment that runs the tests; skips the test where it cannot be."""
    home = Path(sys.prefix) / f"olah-{VERSION}"
    with FileLock(f"{home}.lock"):  # the tests run in several processes
        if not (home / "installed").exists():
            _install(home)
    return home / "bin" / "olah-cli"


def _install(home: Path) -> None:
    steps = [
        [sys.executable, "-m", "venv", home],
        [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"olah=={VERSION}"],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
            pytest.skip(f"olah {VERSION}, which serves the Hub's protocol, cannot be installed here: {reason}")
    (home / "installed").touch()


def commit(checkout: Path, *, tag: str = "") -> None:
    """Commit everything in a folder, making it a git checkout where it is none."""
    identity = ["-c", "user.name=visim", "-c", "user.email=visim@example.org", "-c", "commit.gpgsign=false"]
    steps = [["add", "--all"], [*identity, "commit", "--quiet", "--allow-empty", "--message", "state"]]
    if not (checkout / ".git").exists():
        steps.insert(0, ["init", "--quiet", "--initial-branch", "main"])
    if tag:
        steps.append([*identity, "tag", tag])
    for step in steps:
        subprocess.run(["git", *step], cwd=checkout, check=True, capture_output=True)


@contextmanager
def serving_checkouts(mirrors: Path, work: Path) -> Iterator[int]:
    """Serve the checkouts under `mirrors`/models/namespace/name until the block ends; the port."""
    port = free_port()
    settings = work / "olah.toml"
    settings.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{work / "repos"}"\nmirrors-path = ["{mirrors}"]\n'
        "[accessibility]\noffline = true\n",
        encoding="utf-8",
    )
    with (work / "olah.log").open("wb") as log:
        process = subprocess.Popen(
            [installed_olah(), "--config", settings, "--log-path", work / "logs"],
            cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(work)},
        )  # fmt: skip
    try:
        _wait(process, port, work / "olah.log")
        yield port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"olah does not answer: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FlakyNetwork:
    """A relay to a port of this machine. After `bytes_left` bytes of answers it hangs up, and stays away."""

    def __init__(self, target: int) -> None:
        self.bytes_left: int | None = None
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    @property
    def is_down(self) -> bool:
        """It has hung up."""
        return self.bytes_left is not None and self.bytes_left <= 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_down:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, is_answer in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, is_answer), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1024):
                if is_answer and self.bytes_left is not None:
                    self.bytes_left -= len(data)
                    if self.is_down:
                        break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def flaky_network(target: int) -> Iterator[FlakyNetwork]:
    """A relay until the block ends."""
    network = FlakyNetwork(target)
    try:
        yield network
    finally:
        network.close()
