"""With --auth only the page for the login answers without a login; with one, everything works as before."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file

from demo.collection import Collection
from demo.page import build_demo
from tests.demo.conftest import ask, drawn_picture, png_bytes, served, upload

NAME, PASSWORD = "someone", "a secret"
MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
MCP_HEADERS = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def closed(collections: list[Collection]) -> Iterator[str]:
    """Serve a demo that asks for a login, with MCP where that is installed, and yield its address."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            import mcp  # noqa: F401
        except ImportError:
            patch.delenv("GRADIO_MCP_SERVER", raising=False)
        else:
            patch.setenv("GRADIO_MCP_SERVER", "True")
        with served(build_demo(collections), auth=(NAME, PASSWORD)) as url:
            yield url


@pytest.fixture
def stranger(closed: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=closed, timeout=30, verify=False) as client:
        yield client


@pytest.fixture
def guest(closed: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=closed, timeout=30, verify=False) as client:
        assert client.post("login", data={"username": NAME, "password": PASSWORD}).status_code == 200
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "mcp/schema", None), ("GET", "mcp/sse", None), ("POST", "mcp/", MESSAGE), ("POST", "mcp", MESSAGE),
        ("POST", "mcp/http/", MESSAGE), ("POST", "mcp/messages/?session_id=0", MESSAGE), ("GET", "mcp/", None),
        ("POST", "cancel", {"session_hash": "a", "fn_index": 0, "event_id": "b"}), ("POST", "reset", {"event_id": "b"}),
        ("GET", "heartbeat/abc", None), ("GET", "queue/data?session_hash=a", None), ("GET", "info", None),
        ("POST", "queue/join", {"data": [], "session_hash": "a", "fn_index": 0}), ("POST", "upload", {}),
        ("POST", "call/search_cars", {"data": [None, 4]}), ("POST", "run/x", {"data": [], "fn_index": 1}),
        ("GET", "file=a.png", None), ("GET", "app_id", None), ("GET", "openapi.json", None),
        ("GET", "queue/status", None), ("POST", "../search/cars", {}),
    ],
)  # fmt: skip
def test_a_stranger_gets_no_answer(stranger: httpx.Client, method: str, path: str, body: Any) -> None:
    with stranger.stream(method, f"gradio_api/{path}", json=body, headers=MCP_HEADERS) as answer:
        assert answer.status_code == 401


@pytest.mark.parametrize("token", ["", "x", "None", "null"])
def test_a_made_up_cookie_is_no_login(stranger: httpx.Client, token: str) -> None:
    page = stranger.get("").text
    assert "auth_required" in page
    cookies = {f"access-token-{kind}{suffix}": token for kind in ("", "unsecure-") for suffix in ("", "None", "x")}
    stranger.cookies.update(cookies)
    assert stranger.get("gradio_api/mcp/schema").status_code == 401


def test_the_page_for_the_login_is_whole(stranger: httpx.Client) -> None:
    page = stranger.get("")
    assert (page.status_code, "auth_required" in page.text) == (200, True)
    for path in ("healthz", "theme.css", "gradio_api/theme.css", "manifest.json", "favicon.ico", "robots.txt"):
        assert stranger.get(path).status_code == 200, path
    assert stranger.get("config").status_code == 401
    assert stranger.post("login", data={"username": NAME, "password": "wrong"}).status_code == 400
    assert stranger.head("").status_code == 200


def test_a_guest_can_search_and_a_program_too(guest: httpx.Client, closed: str, tmp_path: Path) -> None:
    name, _ = ask(guest, "search_cars", [upload(guest, drawn_picture(7)), 2])
    assert name == "complete"
    (tmp_path / "a.png").write_bytes(png_bytes(drawn_picture(7)))
    client = Client(closed, auth=(NAME, PASSWORD), verbose=False)
    assert len(client.predict(handle_file(tmp_path / "a.png"), 3, api_name="/search_cars")["matches"]) == 3
    client.close()


def test_a_guest_may_list_the_tools(guest: httpx.Client) -> None:
    pytest.importorskip("mcp", reason="mcp is not installed: it is in the extra 'dev'")
    names = {tool["name"] for tool in guest.get("gradio_api/mcp/schema").json()}
    assert names >= {"search_cifar10", "search_cars", "embed_cars", "classify_cars"}
    answer = guest.post("gradio_api/mcp/", json=MESSAGE, headers=MCP_HEADERS)
    assert "search_cars" in json.dumps(answer.text)


def test_nobody_elses_query_can_be_cancelled(guest: httpx.Client) -> None:
    """`cancel` needs the visitor's own random session, or the id of the query: both are given to that visitor alone."""
    picture = upload(guest, drawn_picture(7))
    call = guest.post("gradio_api/call/search_cars", json={"data": [picture, 2]}).json()["event_id"]
    for session in ("", "a", "%", "*"):
        wrong = {"session_hash": session, "fn_index": 0, "event_id": "0" * 32}
        assert guest.post("gradio_api/cancel", json=wrong).status_code == 200
    assert guest.post("gradio_api/reset", json={"event_id": "0" * 32}).status_code == 200
    assert "event: complete" in guest.get(f"gradio_api/call/search_cars/{call}").text
    assert len(call) == 32
