"""A Ray cluster of one node on the loopback interface, in processes of its own."""

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["running_cluster"]

_SECONDS_TO_START: Final = 120
_READY: Final = b"will now block"
_OBJECT_STORE: Final = 200_000_000


@contextmanager
def running_cluster(folder: Path, *, workers: int = 2) -> Iterator[str]:
    """Run a cluster until the block ends; yield its address, as `--runner` takes it.

    Args:
        folder: an existing one, for the node's output.
        workers: how many tasks run at once.

    Raises:
        RuntimeError: it does not start.
    """
    if not importlib.util.find_spec("ray"):
        raise RuntimeError("A cluster needs the package ray.")
    head, client = _free_port(), _free_port()
    options = {
        "node-ip-address": "127.0.0.1", "port": head, "ray-client-server-port": client, "num-cpus": workers,
        "include-dashboard": "false", "object-store-memory": _OBJECT_STORE,
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"]
    output = folder / "ray.txt"
    with output.open("wb") as file:
        node = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())], stdout=file, stderr=file, cwd=folder
        )
    try:
        deadline = time.monotonic() + _SECONDS_TO_START
        while _READY not in output.read_bytes():  # who asks before that waits in vain
            if node.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(output.read_text(encoding="utf-8", errors="replace")[-2000:])
            time.sleep(0.2)
        yield f"ray://127.0.0.1:{client}"
    finally:
        node.terminate()  # `--block` ends the node's other processes, too
        node.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
