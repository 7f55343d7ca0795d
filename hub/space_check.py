"""Check that the demo, or the page of a gallery, would run as a Space: a clean environment, its files alone, queries.

The environment gets the packages that the Hub's builder installs: requirements.txt, and beside it the Gradio of the
README's front matter with two of its extras, whose own requirements must fit. Its Python is the one that the front
matter names where this machine has it. ZeroGPU is not imitated: the function that is marked for it runs on the CPU.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
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

from hub.space import (
    PROGRAM,
    PROJECT,
    check_space,
    read_front_matter,
    stage_gallery_space,
    stage_space,
    torch_note,
    zero_gpu_note,
)
from visim_models import VisualSimilarity
from visim_models.errors import DataError

__all__ = ["ENDPOINTS", "Probe", "add_arguments", "check", "find_python", "probe_app", "run"]

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

    def lines(self) -> list[str]:
        """Format it, a line a measurement."""
        memory = self.peak_memory
        return [
            f"start to page    {self.start_seconds:.1f} s",
            *(f"{endpoint:<16} {seconds:.2f} s" for endpoint, seconds in self.query_seconds.items()),
            f"peak memory      {f'{memory / 1e6:.0f} MB' if memory else 'not measured on this system'}",
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m hub space-check`."""
    parser.add_argument("--python", type=Path, help="interpreter to use instead of the one that the README names")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="FOLDER",
        help="check the Space that shows this gallery alone, as `publish --gallery` makes it, instead of visim's own",
    )
    parser.add_argument("--timeout", type=float, default=300, help="seconds that the page may take to appear")


def run(options: argparse.Namespace) -> None:
    """Check as the options say."""
    print("\n".join(check(python=options.python, gallery=options.gallery, timeout=options.timeout)))


def check(
    project: Path = PROJECT, *, python: Path | None = None, gallery: Path | None = None, timeout: float = 300
) -> list[str]:
    """Install the Space's files and requirements, start the demo, query it, measure, and clean up.

    Args:
        project: the project's own folder.
        python: interpreter for the environment; by default the one that the front matter names, else this one.
        gallery: folder of the gallery that the Space shows alone; None for visim's own Space.
        timeout: seconds that the page may take to appear, and each answer.

    Returns:
        A line a measurement.

    Raises:
        ConfigurationError: the README's front matter is not that of a Space.
        VisimError: the gallery cannot be loaded.
        DataError: the requirements cannot be installed, or the app does not start or answer.
    """
    check_space(project)
    front = read_front_matter(project)
    print("\n".join(note for note in (torch_note(), zero_gpu_note(project)) if note))
    named = str(front["python_version"])
    base = python or find_python(named) or Path(sys.executable)
    version = _version(base)
    if version is None:
        raise DataError(f"{base} is no Python that runs.")
    with tempfile.TemporaryDirectory(prefix="visim-space-check-") as name:
        folder, environment = Path(name) / "space", Path(name) / "environment"
        folder.mkdir()
        if gallery:
            similarity = VisualSimilarity.from_pretrained(gallery)
            about, needs_timm = similarity.gallery.about, similarity.network.model_type == "timm-backbone"
            gallery_id = str(gallery.resolve())
            stage_gallery_space(project, folder, gallery_id=gallery_id, about=about, needs_timm=needs_timm)
        else:
            stage_space(project, folder)
        print(f"installing requirements.txt and gradio {front['sdk_version']} with Python {version}: minutes")
        installed = _install(base, environment, folder, str(front["sdk_version"]))
        program, endpoints = (PROGRAM, None) if gallery else (str(front["app_file"]), ENDPOINTS)
        probe = probe_app(installed, folder, program, endpoints=endpoints, timeout=timeout)
        is_named = version.split(".")[:2] == named.split(".")[:2]
        return [
            f"python           {version}{'' if is_named else ' (not the one that the README names)'}",
            f"repository       {_size(folder) / 1e6:.1f} MB",
            f"environment      {_size(environment) / 1e6:.0f} MB",
            *probe.lines(),
        ]


def find_python(version: str) -> Path | None:
    """Find an interpreter of a version (3.12 or 3.12.4) by its name on the path or among pyenv's; None if none runs."""
    minor = ".".join(version.split(".")[:2])
    found = shutil.which(f"python{minor}")
    candidates = [Path(found)] if found else []
    candidates += sorted(Path(os.path.expanduser("~/.pyenv/versions")).glob(f"{minor}*/bin/python"), reverse=True)
    return next((path for path in candidates if f"{_version(path)}.".startswith(f"{minor}.")), None)


def _version(python: Path) -> str | None:
    try:
        answer = subprocess.run(
            [python, "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _install(base: Path, environment: Path, folder: Path, gradio: str) -> Path:
    """Make a virtual environment with the packages that the Hub's builder installs; return its interpreter."""
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    steps: list[list[str | Path]] = [
        [base, "-m", "venv", environment],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement",
         folder / "requirements.txt", f"gradio[oauth,mcp]=={gradio}", "uvicorn>=0.14.0", "websockets>=10.4", "spaces"],
    ]  # fmt: skip
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise DataError(f"The requirements cannot be installed:\n{(done.stderr or done.stdout)[-2000:]}")
    return python


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


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
