"""How much of the repository one upload passes: a page that is small enough to read."""

import threading
from collections import defaultdict
from pathlib import Path
from types import FrameType

import httpx

from demo.collection import Collection
from demo.page import build_demo
from tests.demo.conftest import ask_page, drawn_picture, function_index, served, upload

ROOT = f"{Path(__file__).resolve().parents[2]}/"
MOST_FILES, MOST_FUNCTIONS = 20, 155


def test_an_upload_passes_few_files(collections: list[Collection]) -> None:
    """From the request to the answer, in every thread of the server, when the tiles have been made already."""
    passed: dict[str, set[str]] = defaultdict(set)

    def note(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(ROOT) and not name.startswith((f"{ROOT}tests/", f"{ROOT}.venv/")):
            passed[name.removeprefix(ROOT)].add(frame.f_code.co_qualname)

    page = build_demo([collections[1]])
    threading.setprofile(note)  # of the threads that begin from now on
    try:
        with served(page) as address, httpx.Client(base_url=address, timeout=60) as http:
            index = function_index(page, "_on_upload")
            for number in (7, 7):
                passed.clear()
                picture = upload(http, drawn_picture(number))
                assert ask_page(http, index, [None, picture, "by body", "", 2])[0] == "complete"
    finally:
        threading.setprofile(None)
    files = {file: sorted(name for name in names if "<locals>.<" not in name) for file, names in passed.items()}
    assert "demo/tab.py" in files
    assert "demo/guard.py" in files
    assert len(files) <= MOST_FILES, files
    assert sum(map(len, files.values())) <= MOST_FUNCTIONS, files
