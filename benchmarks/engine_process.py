"""Engines to measure, each in processes of its own on the loopback interface, with their memory and their disk."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.process_memory import resident_memory
from visim_models import EngineError
from visim_models.search.engine import EngineAddress
from visim_models.search.milvus_client import MilvusConnection

__all__ = ["ENGINES", "EngineProcess", "missing_package", "running_engine"]

ENGINES: Final = {
    "milvus-lite": ("milvus_lite", ["-m", "milvus_lite.cmdline", "server", "--host", "127.0.0.1", "--port", "{port}"]),
    "milvus 2.3.5": ("milvus", ["-c", "import milvus; milvus.main()", "--proxy-port", "{port}"]),
}
"""Name -> the package that it is in, and the arguments of Python that start it."""

_DATA_OPTIONS: Final = {"milvus-lite": "--data-dir", "milvus 2.3.5": "--data"}
_SECONDS_TO_START: Final = 120


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
    return next((package for package in ("pymilvus", ENGINES[name][0]) if not importlib.util.find_spec(package)), "")


@contextmanager
def running_engine(name: str, folder: Path) -> Iterator[EngineProcess]:
    """Run an engine in a new folder until the block ends.

    Raises:
        RuntimeError: it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True)
    arguments = [argument.format(port=port) for argument in ENGINES[name][1]]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments, _DATA_OPTIONS[name], str(folder / "data")],
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    address = EngineAddress(f"http://127.0.0.1:{port}")
    try:
        _wait_for(address, process)
        yield EngineProcess(address, folder / "data", process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(address: EngineAddress, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    connection = MilvusConnection(address, timeout=2)
    while True:
        try:
            connection.call("list_collections")
            break
        except EngineError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The engine at {address} does not start: {error}") from error
            time.sleep(0.2)
    connection.close()
