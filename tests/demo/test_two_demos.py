"""Two demos on one machine, with a short time to keep visitors' files: each keeps the files of its own page alone."""

import os
import signal
import time
from pathlib import Path

import httpx

from benchmarks.processes import Visitor, running_demo
from demo.temporary import delete_dead_folders
from tests.demo.conftest import drawn_picture, png_bytes
from tests.demo.test_temporary import end, start

KEEP = 4


def icons(address: str) -> list[str]:
    """List the addresses of the pictures on the example buttons of a demo."""
    components = httpx.get(f"{address}config", timeout=30).json()["components"]
    return [icon["url"] for component in components if (icon := component["props"].get("icon"))]


def all_there(address: str) -> bool:
    """Say whether every example is served: at least a drawing and a refused one of each tab."""
    found = [httpx.get(icon, timeout=30) for icon in icons(address)]
    return len(found) >= 4 and all(answer.status_code == 200 and answer.content[:4] == b"\x89PNG" for answer in found)


def test_two_demos(repos: dict[str, Path], tmp_path: Path) -> None:
    """One is started as a Space starts it, by path from the repository's root; of the other, its private folder."""
    shared = tmp_path / "shared"
    shared.mkdir()
    of_repos = ["--car-repo", str(repos["car-extractor"]), "--cifar10-repo", str(repos["cifar10-autoencoder"])]
    options = ["--keep", str(KEEP), *of_repos]
    environment = {"GRADIO_TEMP_DIR": str(shared), "OMP_NUM_THREADS": "1"}
    other, folder = start(shared)
    with running_demo(tmp_path, options=options, environment=environment) as demo:
        assert folder in set(shared.iterdir())
        assert len(set(shared.iterdir())) == 2
        with Visitor(demo.url) as visitor:
            visitor.search(png_bytes(drawn_picture(7)), tab="cifar10")
        uploads = [path for path in shared.rglob("*") if path.name == "picture"]
        assert len(uploads) == 1

        end(other)
        assert len(set(shared.iterdir())) == 1
        deadline = time.monotonic() + KEEP + 20
        while uploads[0].exists():
            assert time.monotonic() < deadline, "an upload is left beyond its time"
            time.sleep(0.2)
        assert all_there(demo.url)

        with Visitor(demo.url) as visitor:
            visitor.search(png_bytes(drawn_picture(8)), tab="cifar10")
        (left,) = shared.iterdir()
        os.kill(demo.pid, signal.SIGKILL)
        assert [path.name for path in left.rglob("picture")] == ["picture"]
    delete_dead_folders(shared)  # as the next demo does
    assert list(shared.iterdir()) == []
