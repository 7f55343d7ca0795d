"""Two demos on one machine, with a short time to keep visitors' files: each keeps the files of its own page alone."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks.demo_process import running_demo
from benchmarks.visitor import Visitor
from demo.temporary import delete_dead_folders
from tests.demo.conftest import drawn_picture, png_bytes

KEEP = 4


def icons(address: str) -> list[str]:
    """List the addresses of the pictures on the example buttons of a demo."""
    components = httpx.get(f"{address}config", timeout=30).json()["components"]
    return [icon["url"] for component in components if (icon := component["props"].get("icon"))]


def all_there(address: str) -> bool:
    found = [httpx.get(icon, timeout=30) for icon in icons(address)]
    return len(found) == 10 and all(answer.status_code == 200 and answer.content[:4] == b"\x89PNG" for answer in found)


def test_two_demos(repos: dict[str, Path], tmp_path: Path) -> None:
    """Started as a Space starts it: by path, from the repository's root."""
    shared = tmp_path / "shared"
    of_repos = ["--car-repo", str(repos["car-extractor"]), "--cifar10-repo", str(repos["cifar10-autoencoder"])]
    options = ["--keep", str(KEEP), *of_repos]
    with ExitStack() as stack:
        environment = {"GRADIO_TEMP_DIR": str(shared), "OMP_NUM_THREADS": "1"}
        starting = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            starting.append(running_demo(tmp_path / name, options=options, environment=environment))
        with ThreadPoolExecutor() as pool:
            first, second = pool.map(stack.enter_context, starting)
        folders = set(shared.iterdir())
        assert len(folders) == 2
        assert "visim" in httpx.get(first.url, timeout=30).text
        with Visitor(second.url) as visitor:
            visitor.search(png_bytes(drawn_picture(7)), tab="cifar10")
        uploads = [path for path in shared.rglob("*") if path.name == "picture"]
        assert len(uploads) == 1

        os.kill(first.pid, signal.SIGTERM)
        deadline = time.monotonic() + KEEP + 20
        while uploads[0].exists() or len(set(shared.iterdir())) > 1:
            assert time.monotonic() < deadline, "files are left beyond their time, or those of a demo that has ended"
            time.sleep(0.2)
        assert all_there(second.url)

        with Visitor(second.url) as visitor:
            visitor.search(png_bytes(drawn_picture(8)), tab="cifar10")
        (left,) = shared.iterdir()
        os.kill(second.pid, signal.SIGKILL)
        assert [path.name for path in left.rglob("picture")] == ["picture"]
    delete_dead_folders(shared)  # as the next demo does
    assert list(shared.iterdir()) == []
