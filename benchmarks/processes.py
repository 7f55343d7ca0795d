"""Run the demo, engines and a Ray cluster in processes of their own on the loopback interface, and ask the demo."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx

from visim_models import EngineError
from visim_models.search.engine import EngineAddress, MilvusConnection

__all__ = [
    "PROJECT", "DemoProcess", "EngineProcess", "RefusedError", "Visitor", "missing_package", "peak_memory",
    "reset_peak", "resident_memory", "running_cluster", "running_demo", "running_engine",
]  # fmt: skip

PROJECT = Path(__file__).resolve().parents[1]

_SECONDS_TO_START: Final = 120
_SECONDS_TO_END: Final = 20
_ENGINES: Final = {
    "milvus-lite": ("milvus_lite", ["-m", "milvus_lite.cmdline", "server", "--host", "127.0.0.1", "--port", "{port}",
                                    "--data-dir"]),
    "milvus 2.3.5": ("milvus", ["-c", "import milvus; milvus.main()", "--proxy-port", "{port}", "--data"]),
}  # fmt: skip
"""Name -> the package that it is in, and the arguments of Python that start it, before the folder of its files."""
_OBJECT_STORE: Final = 200_000_000


def resident_memory(pid: int | str = "self") -> int:
    """Return the bytes that are resident now."""
    return _status(pid, "VmRSS")


def peak_memory(pid: int | str = "self") -> int:
    """Return the most bytes that were resident since the start, or since `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak() -> None:
    """Make `peak_memory` of this process count from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(pid: int | str, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


@contextmanager
def _running(
    command: Sequence[str],
    output: Path,
    is_ready: Callable[[], bool],
    *,
    folder: Path = PROJECT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run a program in a group of processes of its own, from when it is ready until the block ends; yield the group.

    Raises:
        RuntimeError: it ends, or is not ready in time; the message has its output.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _SECONDS_TO_START
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = output.read_text(encoding="utf-8", errors="replace")[-4000:]
                raise RuntimeError(f"{' '.join(command[:4])} did not start:\n{said}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_END)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    folder: Path, *, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[DemoProcess]:
    """Serve the demo by `python demo/app.py` on a free port, from when it is healthy until the block ends.

    Args:
        folder: for its log and its cache.
        options: of its command line.
        environment: variables besides those of this process.
    """
    url, log = f"http://127.0.0.1:{(port := _free_port())}/", folder / "demo.log"
    variables = {"XDG_CACHE_HOME": str(folder), "GRADIO_TEMP_DIR": str(folder / "uploads"), **(environment or {})}

    def is_healthy() -> bool:
        try:
            return httpx.get(f"{url}healthz", timeout=5).text == "ok"
        except httpx.HTTPError:
            return False

    command = [sys.executable, "demo/app.py", "--port", str(port), *options]
    with _running(command, log, is_healthy, environment=variables) as pid:
        yield DemoProcess(url, pid, log)


@dataclass(frozen=True)
class EngineProcess:
    """An engine that runs.

    Attributes:
        address: where it is.
        folder: its files.
        group: its group of processes.
    """

    address: EngineAddress
    folder: Path
    group: int

    @property
    def memory(self) -> int:
        """Return the bytes that its processes have in memory."""
        found = 0
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, StopIteration):
                if os.getpgid(int(path.name)) == self.group:
                    found += resident_memory(path.name)
        return found

    @property
    def disk(self) -> int:
        """Return the bytes that its files take."""
        found = 0
        for path in self.folder.rglob("*"):
            with suppress(OSError):
                found += path.lstat().st_blocks * 512
        return found


def missing_package(name: str) -> str:
    """Return the package that an engine lacks here; "" where it is installed."""
    return next((package for package in ("pymilvus", _ENGINES[name][0]) if not importlib.util.find_spec(package)), "")


@contextmanager
def running_engine(name: str, folder: Path) -> Iterator[EngineProcess]:
    """Run an engine in a new folder until the block ends."""
    address = EngineAddress(f"http://127.0.0.1:{(port := _free_port())}")
    folder.mkdir(parents=True)
    arguments = [argument.format(port=port) for argument in _ENGINES[name][1]]
    connection = MilvusConnection(address, timeout=2)

    def answers() -> bool:
        try:
            connection.call("list_collections")
        except EngineError:
            return False
        connection.close()
        return True

    command = [sys.executable, *arguments, str(folder / "data")]
    with _running(command, folder / "output.txt", answers, folder=folder) as group:
        yield EngineProcess(address, folder / "data", group)


@contextmanager
def running_cluster(folder: Path, *, workers: int = 2) -> Iterator[str]:
    """Run a Ray cluster of one node until the block ends; yield its address, as `--runner` takes it.

    Args:
        folder: an existing one, for the node's output.
        workers: how many tasks run at once.
    """
    if not importlib.util.find_spec("ray"):
        raise RuntimeError("A cluster needs the package ray.")
    client = _free_port()
    options = {
        "node-ip-address": "127.0.0.1", "port": _free_port(), "ray-client-server-port": client, "num-cpus": workers,
        "include-dashboard": "false", "object-store-memory": _OBJECT_STORE,
    }  # fmt: skip
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "start", "--head", "--block", "--disable-usage-stats"]  # `--block` ends its other processes, too
    command += [f"--{name}={value}" for name, value in options.items()]
    output = folder / "ray.txt"
    with _running(command, output, lambda: b"will now block" in output.read_bytes(), folder=folder):
        yield f"ray://127.0.0.1:{client}"


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

    def ask(self, picture: bytes, *, tab: str, top_k: int = 4) -> dict[str, Any]:
        """Search by one request, `POST /search/<tab>`, and return its answer.

        Raises:
            RefusedError: the demo refuses the query.
            httpx.HTTPError: it does not answer as a server does.
        """
        answer = self._client.post(f"search/{tab}", content=picture, params={"top_k": top_k})
        if answer.status_code != 200:
            raise RefusedError(answer.text)
        found: dict[str, Any] = answer.json()
        return found

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
