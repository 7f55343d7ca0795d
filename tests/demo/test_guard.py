"""What a stranger may send is limited: pictures by address, inputs that do not fit, sizes, files of the machine."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.processing_utils
import gradio.routes
import httpx
import pytest
from gradio_client import Client, handle_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from benchmarks.processes import RefusedError, Visitor
from demo.guard import Preview
from demo.search import read_top_k
from demo.settings import Settings
from tests.demo.conftest import ask, ask_page, drawn_picture, function_index, png_bytes, upload
from visim_models import ImageSourceError, QueryError

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

    monkeypatch.setattr("demo.uploads.download", download)
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
        demo(FILE, 2, "", "", None, None, None, None, api_name="search_cars")
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


@pytest.mark.parametrize(
    ("root_path", "scope_root", "expected"),
    [
        ("", "", "http://host/"), ("/visim", "", "http://host/visim/"), ("", "/below", "http://host/below/"),
        ("https://a.example/visim", "", "https://a.example/visim/"),
    ],
)  # fmt: skip
def test_the_tags_name_the_address_under_which_the_page_is_shown(
    root_path: str, scope_root: str, expected: str
) -> None:
    async def page(request: Request) -> Response:
        return HTMLResponse("<html><head></head></html>")

    app = Preview(Starlette(routes=[Route("/", page)]), root_path=root_path)
    outer = Starlette(routes=[Mount(scope_root, app)]) if scope_root else app
    answer = TestClient(outer, base_url="http://host").get(f"{scope_root}/")
    assert f'<meta property="og:image" content="{expected}preview.png" />' in answer.text
    assert f'<meta property="og:url" content="{expected}" />' in answer.text


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


@pytest.mark.parametrize("top_k", [True, False, "4", None, {}, [], [4], "x", 0, 101, 2.5, 1e300])
def test_a_wrong_top_k_is_explained(http: httpx.Client, capfd: pytest.CaptureFixture[str], top_k: Any) -> None:
    name, error = ask(http, "search_cars", [upload(http, drawn_picture(1)), top_k])
    assert (name, "whole number from 1 to 100" in error["error"]) == ("error", True)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_whole_number_may_come_as_a_float(http: httpx.Client) -> None:
    name, answer = ask(http, "search_cars", [upload(http, drawn_picture(1)), 2.0])
    assert (name, len(answer[0]["matches"])) == ("complete", 2)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        ("_on_upload", [None]), ("_on_upload", [None, "text", "by code", "", 4]),
        ("_on_upload", [None, {"path": 3}, "by code", "", 4]), ("_on_upload", [None, {}, {"a": "by code"}, "", 4]),
        ("_on_upload", [None, None, "by smell", "", 4]), ("_on_upload", [None, None, "by code", "<b>", 4]),
        ("_on_several", [[{"image": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}], "by code", "", 4]),
        ("_on_several", ["text", "by code", "", 4]), ("_on_several", [[{"path": "/etc/passwd"}], "by code", "", 4]),
        ("_on_frame", [None, {"path": 3}]), ("_on_crop", [{"path": "/etc/passwd"}, "by code", "", 4]),
        ("_on_top_k", [None, "4"]), ("_on_top_k", [None, None]), ("_on_top_k", [None, 99]),
        ("_on_option", [None, None, "by code", "", "4"]), ("partial", ["by code", "", "4"]),
        ("partial", ["by code", "", None]),
        ("search_cars", []), ("search_cars", ["text", 4]), ("search_cars", [{"path": "x" * 5000}, 4]),
        ("search_cars", [[[[]]], 4]),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_explained(
    http: httpx.Client, demo: gr.Blocks, capfd: pytest.CaptureFixture[str], function: str, inputs: list[Any]
) -> None:
    name, error = ask_page(http, function_index(demo, function), inputs)
    assert name == "error"
    assert len(error["error"]) > 20
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("function", ["_on_again", "partial", "_on_upload"])
def test_true_is_no_number_for_the_page_either(http: httpx.Client, demo: gr.Blocks, function: str) -> None:
    first = {"_on_again": ["coupe/coupe_0001.jpg"], "partial": [], "_on_upload": [None, upload(http, drawn_picture(1))]}
    name, answer = ask_page(http, function_index(demo, function), [*first[function], "by code", "", True])
    assert (name, "whole number from 1 to 12" in str(answer)) == ("complete", True)


def test_a_gallery_picture_without_a_name_is_explained(http: httpx.Client, demo: gr.Blocks) -> None:
    for wrong in (None, "", 7, ["a"]):
        name, answer = ask_page(http, function_index(demo, "_on_again"), [wrong, "by code", "", 4])
        assert (name, "visim-error" in str(answer)) == ("complete", True)


@pytest.mark.parametrize(
    "event", [None, {}, [], "", 3, {"index": None}, {"index": "1"}, {"index": True}, {"index": -1}, {"index": [0, 0]}]
)
def test_a_choice_of_no_tile_is_explained(
    http: httpx.Client, demo: gr.Blocks, capfd: pytest.CaptureFixture[str], event: Any
) -> None:
    name, error = ask_page(http, function_index(demo, "_on_select"), [None], event_data=event)
    assert (name, "No tile was chosen" in error["error"]) == ("error", True)
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "event",
    [
        None, {}, [], "", 3, {"values": 3},
        {"values": {"cars": "/etc/passwd", "of": "visit"}}, {"values": {"cars": "../../x\x00", "of": "visit"}},
        {"values": {"cars": "9" * 9000, "of": "example"}}, {"values": {"cars": "0", "of": "example"}},
        {"values": {"cars": "a" * 22, "of": "upload"}}, {"key": "cars", "reason": "<b>"}, {"key": "cars", "reason": []},
    ],
)  # fmt: skip
def test_a_report_that_does_not_fit_shows_no_search(
    http: httpx.Client, demo: gr.Blocks, capfd: pytest.CaptureFixture[str], event: Any
) -> None:
    """What `page.js` sends of the history and of refused files, anyone may send: no file of the machine is read."""
    indices = [number for number, function in demo.fns.items() if function.name in ("go_back", "refuse")]
    assert len(indices) == 4
    for index in indices:
        name, answer = ask_page(http, index, [], event_data=event)
        assert name == "complete"
        assert "visim-tiles" not in str(answer)
        assert "root:" not in str(answer)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_report_that_names_a_file_is_refused(http: httpx.Client, demo: gr.Blocks) -> None:
    event = {"values": {"cars": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "of": "visit"}}
    name, error = ask_page(http, function_index(demo, "go_back"), [], event_data=event)
    assert name == "error"
    assert "root:" not in str(error)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("call/nothing", b'{"data": []}'), ("call/v2/nothing", b"{}"), ("call/v2/search_cars", b"{}"),
        ("call/_on_upload", b'{"data": []}'), ("call/v2/_on_upload", b"{}"), ("run/nothing", b'{"data": []}'),
        ("queue/join", b'{"data": [], "session_hash": "a"}'), ("queue/join", b"[]"), ("queue/join", b"3"),
        ("queue/join", b'{"data": [], "session_hash": "a", "fn_index": 9999}'),
        ("queue/join", b'{"data": [], "session_hash": "a", "fn_index": true}'),
        ("queue/join", b'{"data": [], "session_hash": "a", "fn_index": "1"}'),
        ("queue/join", b'{"data": '), ("queue/join", b"[" * 500_000), ("call/search_cars", b'{"data": ' * 100_000),
        ("call/search_cars", b"\xff\xfe"), ("call/v2/search_cars", b'{"image": null, "top_k": 4, "more": 1}'),
    ],
)  # fmt: skip
def test_a_request_that_does_not_fit_is_refused(
    http: httpx.Client, capfd: pytest.CaptureFixture[str], path: str, body: bytes
) -> None:
    answer = http.post(f"gradio_api/{path}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 404, 422), answer.text
    assert "Traceback" not in "".join(capfd.readouterr())


def test_the_log_does_not_name_a_visitors_file(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="demo"):
        ask(http, "search_cars", [{"path": "/nowhere/my-holidays.png", "meta": {"_type": "gradio.FileData"}}, 4])
        ask(http, "search_cars", ["my-holidays.png", 4])
    assert "inputs refused" in caplog.text
    assert "my-holidays" not in caplog.text


def test_what_a_number_is() -> None:
    assert [read_top_k(value, most=5) for value in (1, 5, 2.0)] == [1, 5, 2]
    for wrong in (float("nan"), float("inf"), 6, 0, -1, True, "1", b"1", None, [1]):
        with pytest.raises(QueryError, match="from 1 to 5"):
            read_top_k(wrong, most=5)


@pytest.fixture
def visitor(address: str) -> Iterator[Visitor]:
    with Visitor(address) as visiting:
        yield visiting


def test_an_upload_beyond_the_limit_is_refused_and_the_next_query_works(visitor: Visitor) -> None:
    with pytest.raises(RefusedError, match="size"):
        visitor.search(bytes(Settings.max_size * 2**20 + 1), tab="cars")
    assert len(visitor.search(png_bytes(drawn_picture(7)), tab="cars")["matches"]) == 4


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
