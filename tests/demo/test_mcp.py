"""The tools of MCP: they answer, and take pictures by address through visim's own limited download."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio.processing_utils
import httpx
import pytest

from demo.collection import Collection
from demo.page import build_demo
from tests.demo.conftest import drawn_picture, png_bytes, served

pytest.importorskip("mcp", reason="mcp is not installed: it is in the extra 'dev'")

ADDRESS = "https://somewhere.example/sedan.png"
HEADERS = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def tools(collections: list[Collection]) -> Iterator[httpx.Client]:
    """Make a client of a demo with MCP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_MCP_SERVER", "True")
        with (
            served(build_demo(collections)) as url,
            httpx.Client(base_url=url, timeout=30, headers=HEADERS, verify=False) as client,
        ):
            yield client


def use(tools: httpx.Client, **arguments: Any) -> dict[str, Any]:
    """Use the tool `search_cars` and return its result."""
    call = {"name": "search_cars", "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    answer = tools.post("gradio_api/mcp/", json=message)
    data = next(line for line in answer.text.splitlines() if line.startswith("data: "))
    result: dict[str, Any] = json.loads(data.removeprefix("data: "))["result"]
    return result


@pytest.fixture(autouse=True)
def gradio_downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the addresses that Gradio downloads by itself, without a limit: there must be none."""
    asked: list[str] = []

    async def download(url: str, cache_dir: str) -> str:
        asked.append(url)
        return str(Path(cache_dir) / "file")

    monkeypatch.setattr(gradio.processing_utils, "async_ssrf_protected_download", download)
    return asked


def test_a_tool_takes_a_picture_by_address(
    tools: httpx.Client, monkeypatch: pytest.MonkeyPatch, gradio_downloads: list[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("demo.uploads.download", lambda url, **_: (asked.append(url), png_bytes(drawn_picture(7)))[1])
    result = use(tools, image=ADDRESS, top_k=2)
    assert "sedan/sedan_0002.jpg" in result["content"][0]["text"]
    nested = use(tools, image={"path": ADDRESS, "url": ADDRESS, "meta": {"_type": "gradio.FileData"}}, top_k=2)
    assert nested["isError"]
    assert (asked, gradio_downloads) == ([ADDRESS], [])


def test_an_address_that_is_refused_is_explained(tools: httpx.Client, gradio_downloads: list[str]) -> None:
    result = use(tools, image="http://127.0.0.1:9/a.png", top_k=2)
    assert (result["isError"], "private or local" in result["content"][0]["text"]) == (True, True)
    assert gradio_downloads == []


def test_a_tool_takes_a_picture_inside_the_message(tools: httpx.Client) -> None:
    content = base64.b64encode(png_bytes(drawn_picture(7))).decode()
    assert "sedan/sedan_0002.jpg" in use(tools, image=f"data:image/png;base64,{content}", top_k=2)["content"][0]["text"]


def test_a_wrong_top_k_is_explained(tools: httpx.Client) -> None:
    content = base64.b64encode(png_bytes(drawn_picture(7))).decode()
    result = use(tools, image=f"data:image/png;base64,{content}", top_k=0)
    assert (result["isError"], "from 1 to 100" in result["content"][0]["text"]) == (True, True)


def test_a_message_beyond_the_limit_is_refused(tools: httpx.Client) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"a": "A" * 5 * 2**20}}
    assert tools.post("gradio_api/mcp/", json=message).status_code == 413
    assert "search_cars" in tools.get("gradio_api/mcp/schema").text
