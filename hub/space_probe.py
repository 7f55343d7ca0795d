"""Start the demo as a Space would, query each gallery once, and measure the time and memory that it takes."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from visim_models.errors import DataError

__all__ = ["ENDPOINTS", "Probe", "probe_app"]

ENDPOINTS: Final = ("/search_cifar10", "/search_cars")
_TOP_K: Final = 4
_TAIL: Final = 2000


@dataclass(frozen=True)
class Probe:
    """Time and memory that starting and querying the app took.

    Attributes:
        start_seconds: from the start of the process to the first page.
        query_seconds: endpoint -> seconds of the first query.
        peak_memory: bytes of the largest resident size of the process and its children together; None off Linux.
    """

    start_seconds: float
    query_seconds: dict[str, float]
    peak_memory: int | None


def probe_app(
    python: Path,
    folder: Path,
    app_file: str,
    *,
    endpoints: Sequence[str] | None = ENDPOINTS,
    variables: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> Probe:
    """Start the app in its folder, wait for its page, query its endpoints, and stop it.

    Args:
        python: the interpreter that has the app's requirements.
        folder: the Space's files; the process starts in it.
        app_file: the program, relative to `folder`.
        endpoints: to query, once each; by default those of both bundled tabs; None for all that the app has.
        variables: of the environment, in addition.
        timeout: seconds that the page may take to appear, and each answer.

    Raises:
        DataError: the app stops, does not answer in time, or answers with something other than a result.
    """
    with tempfile.TemporaryDirectory(prefix="visim-probe-") as name:
        log = Path(name) / "log.txt"
        with _running(python, folder, app_file, log, variables or {}) as (process, address):
            start = time.monotonic()
            _wait_for_page(process, address, log, timeout)
            start_seconds = time.monotonic() - start
            _check_health(address, log)
            picture = Path(name) / "query.png"
            Image.new("RGB", (320, 240), "#b02020").save(picture)
            endpoints = _search_endpoints(address, log) if endpoints is None else endpoints
            query_seconds = {endpoint: _ask(address, endpoint, picture, timeout, log) for endpoint in endpoints}
            return Probe(start_seconds, query_seconds, _peak_memory(process.pid))


@contextmanager
def _running(
    python: Path, folder: Path, app_file: str, log: Path, variables: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the app in a process group of its own, and stop the whole group at the end."""
    port = _free_port()
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("GRADIO_", "VISIM_", "PYTHON"))
    }
    environment |= {
        "SYSTEM": "spaces",
        "SPACE_ID": "visim/space-check",
        "PYTHONUNBUFFERED": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_SSR_MODE": "True",  # as the Hub sets it
        # A Space listens on every address; this check must not.
        "VISIM_HOST": "127.0.0.1",
        "VISIM_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        **variables,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, app_file],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, sign)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    continue


def _wait_for_page(process: subprocess.Popen[bytes], address: str, log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DataError(f"The app stopped with status {process.returncode} before it served its page. {_tail(log)}")
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise DataError(f"The app served no page at {address} within {timeout:g} s. {_tail(log)}")


def _check_health(address: str, log: Path) -> None:
    """Refuse an app whose /healthz is the page: rendered on the server, the page would hide every other address."""
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=30) as response:
            is_page = response.headers.get_content_type() == "text/html"
    except urllib.error.HTTPError:  # it has none
        return
    if is_page:
        raise DataError(f"The app answers /healthz with its page: launch it with ssr_mode=False. {_tail(log)}")


def _search_endpoints(address: str, log: Path) -> list[str]:
    """Return the endpoints of the app that search a gallery."""
    try:
        with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=30) as response:
            named = json.load(response)["named_endpoints"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"The app does not say which endpoints it has ({error}). {_tail(log)}") from error
    if found := [name for name in named if name.startswith("/search_")]:
        return found
    raise DataError(f"The app has no endpoint that searches. {_tail(log)}")


def _ask(address: str, endpoint: str, picture: Path, timeout: float, log: Path) -> float:
    """Query an endpoint once; return the seconds that it took."""
    from gradio_client import Client, handle_file

    start = time.monotonic()
    try:
        client = Client(address, verbose=False, httpx_kwargs={"timeout": timeout})
        start = time.monotonic()
        answer = client.submit(handle_file(picture), _TOP_K, api_name=endpoint).result(timeout)
    except Exception as error:  # the client's own, its HTTP library's, and a timeout
        raise DataError(f"{endpoint} gave no answer ({error or type(error).__name__}). {_tail(log)}") from error
    seconds = time.monotonic() - start
    if not _is_result(answer):
        raise DataError(f"{endpoint} answered something else than {_TOP_K} matches and a verdict: {str(answer)[:200]}")
    return seconds


def _is_result(answer: Any) -> bool:
    if not isinstance(answer, dict) or not isinstance(answer.get("matches"), list):
        return False
    rows = answer["matches"]
    has_rows = len(rows) == _TOP_K and all({"file_name", "label", "score", "percent"} <= set(row) for row in rows)
    return has_rows and {"is_ood", "score", "p_value", "false_alarm_rate"} <= set(answer.get("ood") or {})


def _peak_memory(pid: int) -> int | None:
    """Sum the largest resident sizes of a process and its children, in bytes."""
    total, waiting = 0, [pid]
    while waiting:
        here = Path("/proc") / str(waiting.pop())
        try:
            status = (here / "status").read_text(encoding="utf-8")
            for thread in (here / "task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text(encoding="utf-8").split()]
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return total or None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    return "The end of its output:\n" + log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
