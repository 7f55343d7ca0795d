"""Every way in takes a picture by address through visim's own limited download, or refuses it; the rest is shut."""

import json
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.processing_utils
import gradio.routes
import httpx
import pytest
from gradio_client import Client, handle_file

from tests.demo.conftest import ask, ask_page, drawn_picture, function_index, png_bytes, upload
from visim_models import ImageSourceError

ADDRESS = "https://somewhere.example/sedan.png"
FILE = {"path": ADDRESS, "meta": {"_type": "gradio.FileData"}}
OWN_PICTURE = "sedan/sedan_0002.jpg"  # of the gallery: drawn_picture(7)


@pytest.fixture(autouse=True)
def gradio_downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the addresses that Gradio downloads by itself, without a limit: there must be none."""
    asked: list[str] = []

    async def download(url: str, cache_dir: str) -> str:
        asked.append(url)
        return str(Path(cache_dir) / "file")

    async def proxy(url: str, _: Any) -> httpx.Response:
        asked.append(url)
        raise OSError("no network in tests")

    monkeypatch.setattr(gradio.processing_utils, "async_ssrf_protected_download", download)
    monkeypatch.setattr(gradio.processing_utils, "async_ssrf_protected_get", download)
    monkeypatch.setattr(gradio.processing_utils, "save_url_to_cache", download)
    monkeypatch.setattr(gradio.routes, "secure_url_stream_response", proxy)
    return asked


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the addresses that visim's own download is asked for; it answers with a picture of the gallery."""
    asked: list[str] = []

    def download(url: str, *, timeout: float) -> bytes:
        assert timeout < 10
        asked.append(url)
        if "nothing" in url:
            raise ImageSourceError(f"{url} is refused.")
        return png_bytes(drawn_picture(7))

    monkeypatch.setattr("demo.fetching.download", download)
    return asked


def test_an_endpoint_takes_a_picture_by_address(
    http: httpx.Client, downloads: list[str], gradio_downloads: list[str]
) -> None:
    name, answer = ask(http, "search_cars", [FILE, 2])
    assert (name, answer[0]["matches"][0]["file_name"]) == ("complete", OWN_PICTURE)
    assert (downloads, gradio_downloads) == ([ADDRESS], [])


def test_every_other_way_in_takes_it_so_too(
    http: httpx.Client, address: str, downloads: list[str], gradio_downloads: list[str], demo: gr.Blocks
) -> None:
    assert http.post("gradio_api/call/v2/search_cars", json={"image": FILE, "top_k": 2}).status_code == 200
    name, answer = ask_page(http, function_index(demo, "search_cars"), [FILE, 2])
    assert (name, answer[0]["matches"][0]["file_name"]) == ("complete", OWN_PICTURE)
    name, _ = ask_page(http, function_index(demo, "_on_upload"), [None, {**FILE, "url": ADDRESS}, "by code", "", 2])
    assert name == "complete"
    client = Client(address, verbose=False)
    answer = client.predict(image=handle_file(ADDRESS), top_k=2, api_name="/search_cars")
    client.close()
    assert answer["matches"][0]["file_name"] == OWN_PICTURE
    assert (downloads, gradio_downloads) == ([ADDRESS] * 4, [])


def test_an_address_that_is_refused_is_explained(
    http: httpx.Client, address: str, downloads: list[str], gradio_downloads: list[str]
) -> None:
    file = {**FILE, "path": "http://somewhere.example/nothing"}
    status, detail = ask(http, "search_cars", [file, 2])
    assert (status, detail[0]["message"]) == ("422", "http://somewhere.example/nothing is refused.")
    client = Client(address, verbose=False)
    with pytest.raises(ValueError, match="nothing is refused"):
        client.predict(image=handle_file("http://somewhere.example/nothing"), top_k=2, api_name="/search_cars")
    client.close()
    assert len(downloads) == 2
    assert gradio_downloads == []


@pytest.mark.parametrize("way", ["run/search_cars", "api/search_cars", "run/_on_upload"])
def test_a_direct_call_is_refused(
    http: httpx.Client, way: str, downloads: list[str], gradio_downloads: list[str]
) -> None:
    """It would pass the queue, and with it the limit on work at once."""
    answer = http.post(f"gradio_api/{way}", json={"data": [FILE, 2, 2]})
    assert answer.status_code == 404
    assert "queue" in answer.json()["detail"]
    assert gradio_downloads == []


def test_no_other_input_leads_to_a_download(
    http: httpx.Client, downloads: list[str], gradio_downloads: list[str], demo: gr.Blocks
) -> None:
    picture = upload(http, drawn_picture(1))
    for data in ([picture, FILE], [picture, {"deep": [[{"er": FILE}]]}], [[FILE], 2]):
        name, _ = ask(http, "search_cars", data)
        assert name == "error"
    index = function_index(demo, "_on_address")
    for address in (FILE, [FILE], {"a": FILE}):
        http.post("gradio_api/run/x", json={"data": [address, FILE["path"], 2], "fn_index": index})
    assert set(downloads) == {ADDRESS}
    assert gradio_downloads == []
    status, detail = ask(http, "search_cars", [FILE, FILE])
    assert (status, "one picture" in detail) == ("400", True)


def test_an_address_that_the_guard_did_not_see_is_refused(demo: gr.Blocks, gradio_downloads: list[str]) -> None:
    """As in a page that is launched without the guard, or by a way in that Gradio adds."""
    with pytest.raises(gr.Error, match="by address"):
        demo(FILE, 2, api_name="search_cars")
    assert gradio_downloads == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    ["file=http://127.0.0.1:1/", "file=HTTPS://a.example/b", "file/http://a.example/b", "proxy=http://a.example/b",
     "deep_link?session_hash=x", "dev/reload", "custom_component/a/client/b/c"],
)  # fmt: skip
def test_the_demo_is_no_proxy_and_closed_where_the_page_asks_nothing(
    http: httpx.Client, method: str, path: str, gradio_downloads: list[str]
) -> None:
    assert http.request(method, f"gradio_api/{path}").status_code == 403
    assert gradio_downloads == []


@pytest.mark.parametrize("path", ["process_recording", "component_server", "stream/x", "stream/x/close"])
def test_no_route_takes_files_or_data_beside_the_queue(http: httpx.Client, path: str) -> None:
    files = {"video": ("a.mp4", b"0")}
    assert http.post(f"gradio_api/{path}", files=files).status_code == 403


@pytest.mark.parametrize("key", ["path", "url"])
def test_a_picture_that_is_not_an_upload_is_not_read(
    http: httpx.Client, demo: gr.Blocks, tmp_path: Path, key: str
) -> None:
    """Without the key "meta", Gradio itself lets any path of the machine through."""
    private = tmp_path / "private.png"
    private.write_bytes(png_bytes(drawn_picture(7)))
    for file in ({key: str(private)}, {key: str(private), "meta": {}}, {key: str(private), "meta": None}):
        assert ask(http, "search_cars", [file, 2])[0] == "error"
        name, answer = ask_page(http, function_index(demo, "_on_upload"), [None, file, "by code", "", 2])
        assert name == "error" or "visim-error" in json.dumps(answer) or "Choose a picture" in json.dumps(answer)
        assert "sedan" not in json.dumps(answer)


def test_a_body_beyond_the_limit_is_refused(http: httpx.Client) -> None:
    picture = {"url": "data:image/png;base64," + "A" * 2**20, "meta": {"_type": "gradio.FileData"}}
    assert ask(http, "search_cars", [picture, 2])[0] == "413"
    many = [("files", (f"{number}.png", bytes(2**20))) for number in range(40)]  # each within the limit
    assert http.post("gradio_api/upload", files=many).status_code == 413
    assert http.post("login", data={"username": "a" * 2**20, "password": "b"}).status_code == 413
    assert ask(http, "search_cars", [upload(http, drawn_picture(7)), 2])[0] == "complete"


def test_an_event_that_does_not_exist_leaves_no_traceback(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        answer = http.get("gradio_api/call/search_cars/None")
    assert "404" in answer.text or answer.status_code == 404
    assert not [record for record in caplog.records if record.exc_info]
