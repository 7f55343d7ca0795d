"""What a visitor gives: files that browsers do not show, frames for a part, and addresses of slow hosts."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import gradio as gr
import httpx
import pytest

from demo.uploads import FetchBusyError, FetchLimit, crop, event_field, fetch
from tests.demo.conftest import ask, ask_page, drawn_picture, function_index, png_bytes, upload
from visim_models import ImageSourceError, QueryError

ADDRESS = "http://somewhere.example/slow"
FILE = {"path": ADDRESS, "meta": {"_type": "gradio.FileData"}}
ROOM = 12  # fetches at once, and those that wait


@pytest.fixture
def slow_host(monkeypatch: pytest.MonkeyPatch) -> Iterator["SlowHost"]:
    """Replace the download by one that hangs until it is released."""
    host = SlowHost()
    monkeypatch.setattr("demo.uploads.download", host.download)
    yield host
    host.over.set()


class SlowHost:
    """Begins to answer each download, and goes on once `over` is set."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.begun = 0

    def download(self, _: str, *, timeout: float) -> bytes:
        assert timeout < 10
        self.begun += 1
        self.over.wait(60)
        return png_bytes(drawn_picture(7))


def test_some_run_some_wait_and_the_others_are_refused() -> None:
    limit, over = FetchLimit(at_once=2, waiting=3), threading.Event()
    running: list[int] = []

    def work(number: int) -> None:
        with limit.slot():
            running.append(number)
            over.wait(30)

    with ThreadPoolExecutor(5) as pool:
        done = [pool.submit(work, number) for number in range(5)]
        while len(running) < 2:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(running) == 2
        with pytest.raises(FetchBusyError, match="try again"), limit.slot():
            pass
        over.set()
    assert all(future.exception() is None for future in done)
    assert len(running) == 5
    with limit.slot():  # there is room again
        pass


@pytest.mark.parametrize("address", [None, "", "  ", "h" * 3000])
def test_an_address_that_is_none_is_refused(address: str | None) -> None:
    with pytest.raises(ImageSourceError, match=r"no address was given|longer than 2000"):
        fetch(address)


@pytest.mark.parametrize("way", ["call", "run", "join"])
def test_a_flood_of_fetches_leaves_the_queue_to_others(
    way: str, http: httpx.Client, address: str, demo: gr.Blocks, slow_host: SlowHost
) -> None:
    index = function_index(demo, "_on_address")
    requests = {
        "call": ("call/search_cars", {"data": [FILE, 2]}),
        "run": ("run/_on_address", {"data": [ADDRESS, "by code", "", 2], "fn_index": index, "session_hash": "x"}),
        "join": ("queue/join", {"data": [ADDRESS, "by code", "", 2], "fn_index": index, "session_hash": "x"}),
    }
    path, body = requests[way]
    picture = upload(http, drawn_picture(7))
    with Flood(address, path, body) as flood:
        flood.wait_for(flood.size - ROOM)
        for _ in range(3):
            start = time.monotonic()
            assert ask(http, "search_cars", [picture, 2])[0] == "complete"
            assert (
                ask_page(http, function_index(demo, "_on_upload"), [None, picture, "by code", "", 2])[0] == "complete"
            )
            assert time.monotonic() - start < 3
        assert slow_host.begun <= 4
        refusal = str(json.loads(flood.refusals[-1]))
        assert ("queue of its own" if way == "join" else "Too many pictures") in refusal
        slow_host.over.set()
    if way != "join":
        assert len(flood.refusals) == flood.size - ROOM  # the others were answered in the end


class Flood:
    """140 requests at once, more than Gradio's queue holds in these tests (128)."""

    size = 140

    def __init__(self, address: str, path: str, body: dict[str, Any]) -> None:
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.Client(base_url=address, timeout=60, limits=limits, verify=False)
        self._threads = [threading.Thread(target=self._ask, args=(path, body)) for _ in range(self.size)]
        self.refusals: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(60)
        self._client.close()

    def wait_for(self, refusals: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.refusals) < refusals:
            assert time.monotonic() < deadline, f"only {len(self.refusals)} of {self.size} were refused"
            time.sleep(0.05)

    def _ask(self, path: str, body: dict[str, Any]) -> None:
        answer = self._client.post(f"gradio_api/{path}", json=body)
        if answer.status_code != 200 or "Too many pictures" in answer.text:
            self.refusals.append(answer.text)


def test_the_part_in_the_frame_is_cut_out() -> None:
    picture = drawn_picture(7)  # 64 x 48
    part = crop(picture, [0.25, 0.5, 0.75, 1])
    assert part.size == (32, 24)
    assert part.getpixel((0, 0)) == picture.getpixel((16, 24))


def test_what_is_no_frame_is_refused() -> None:
    nan, inf = float("nan"), float("inf")
    wrong: list[Any] = [
        None, "all", [0, 0, 1], [0, 0, 1, "1"], [0, 0, 1, True], [-0.1, 0, 1, 1], [0, 0, 1, 1.1], [0.5, 0, 0.5, 1],
        [0.6, 0, 0.4, 1], [0, 0, nan, 1], [0, 0, inf, 1],
    ]  # fmt: skip
    for box in wrong:
        with pytest.raises(QueryError, match="draw a frame"):
            crop(drawn_picture(7), box)
    assert event_field(gr.EventData(None, {}), "box") is None


def test_a_strip_has_at_least_a_pixel() -> None:
    assert crop(drawn_picture(7), [0, 0, 0.02, 0.02]).size == (1, 1)
