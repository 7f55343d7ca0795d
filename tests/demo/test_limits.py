"""What a stranger may ask of the demo is limited: the size of an upload, the queue, the files that are served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

import demo.app
from benchmarks.demo_process import RefusedError, Visitor
from demo.collection import Collection
from demo.search import QUERIES
from demo.settings import Settings
from tests.demo.conftest import drawn_picture, png_bytes


@pytest.fixture
def visitor(address: str) -> Iterator[Visitor]:
    with Visitor(address) as visiting:
        yield visiting


def test_an_upload_beyond_the_limit_is_refused_and_the_next_query_works(visitor: Visitor) -> None:
    with pytest.raises(RefusedError, match="size"):
        visitor.search(bytes(Settings.max_size * 2**20 + 1), tab="cars")
    assert len(visitor.search(png_bytes(drawn_picture(7)), tab="cars")["matches"]) == 4


def test_the_queue_is_limited(collections: list[Collection], monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[gr.Blocks, dict[str, Any]]] = []
    monkeypatch.setattr(demo.app, "load_collections", lambda _: collections)
    monkeypatch.setattr(gr.Blocks, "launch", lambda page, **options: launched.append((page, options)))
    assert demo.app.main(["--concurrency", "3"]) == 0
    ((page, options),) = launched
    assert page._queue.max_size == 3 * 64
    assert page._queue.default_concurrency_limit == 3
    assert page.api_open is False
    assert {function.concurrency_id for function in page.fns.values() if function.queue} == {QUERIES}
    assert options["state_session_capacity"] <= 1000  # each is remembered at about 150 kB
    assert (options["server_name"], options["max_file_size"]) == ("127.0.0.1", "32mb")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        str(Path(__file__)),
        "demo/app.py",
        "hub/pretrained/visim-car-extractor/config.json",
    ],
)
def test_no_file_of_the_machine_is_served(address: str, path: str) -> None:
    answer = httpx.get(f"{address}gradio_api/file={path}", timeout=30, follow_redirects=False)
    assert answer.status_code >= 400
    assert "root:" not in answer.text


@pytest.mark.parametrize("path", ["/etc/passwd", str(Path(__file__)), "../../../etc/passwd"])
def test_a_query_reads_no_file_of_the_machine(address: str, path: str) -> None:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    call = httpx.post(f"{address}gradio_api/call/search_cars", json={"data": [file, 4]}, timeout=30)
    if call.status_code == 200:
        answer = httpx.get(f"{address}gradio_api/call/search_cars/{call.json()['event_id']}", timeout=30)
        assert "event: error" in answer.text
        assert "matches" not in answer.text
    else:
        assert call.status_code >= 400
