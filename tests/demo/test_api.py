"""The endpoints for programs, through the real client: they answer as the library does, and survive hostile uploads."""

import logging
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demo.collection import Collection
from tests.demo.conftest import drawn_picture, noise, png_bytes


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with_client = Client(address, verbose=False)
    yield with_client
    with_client.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "somebody.png"
    path.write_bytes(png_bytes(drawn_picture(7)))
    return path


@pytest.mark.parametrize("place", [0, 1], ids=["cifar10", "cars"])
@pytest.mark.parametrize("top_k", [1, 4, 20])
def test_an_endpoint_gives_what_the_library_finds(
    client: Client, collections: list[Collection], picture: Path, place: int, top_k: int
) -> None:
    collection = collections[place]
    answer = client.predict(image=handle_file(picture), top_k=top_k, api_name=f"/search_{collection.key}")
    expected = collection.usual.search(picture, top_k=top_k)
    assert [match["file_name"] for match in answer["matches"]] == [match.file_name for match in expected.matches]
    result = expected.to_dict()
    for found, match in zip(answer["matches"], result["matches"], strict=True):
        assert found == {key: pytest.approx(value, abs=1e-5) for key, value in match.items()}
    ood = {
        key: value if isinstance(value, str) else pytest.approx(value, rel=1e-4) for key, value in result["ood"].items()
    }
    assert answer["ood"] == ood
    assert answer["ood"].keys() >= {"is_ood", "can_tell", "score", "p_value", "false_alarm_rate"}


def test_a_gallery_picture_finds_itself_and_noise_is_strange(client: Client, tmp_path: Path) -> None:
    (tmp_path / "known.png").write_bytes(png_bytes(drawn_picture(7)))
    (tmp_path / "noise.png").write_bytes(png_bytes(noise(5)))
    known = client.predict(image=handle_file(tmp_path / "known.png"), top_k=4, api_name="/search_cars")
    strange = client.predict(image=handle_file(tmp_path / "noise.png"), top_k=4, api_name="/search_cars")
    assert known["matches"][0]["file_name"] == "sedan/sedan_0002.jpg"
    assert known["matches"][0]["percent"] == 100
    assert (known["ood"]["is_ood"], strange["ood"]["is_ood"]) == (False, True)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text.jpg", b"this is no picture", "not"),
        ("empty.png", b"", "empty"),
        ("cut.png", png_bytes(drawn_picture(1))[:60], "lost a part"),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "JPEG"),
    ],
)
def test_a_hostile_upload_is_refused_in_words_and_the_next_query_works(
    client: Client, picture: Path, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError, match=said) as caught:
        client.predict(image=handle_file(tmp_path / name), top_k=4, api_name="/search_cars")
    assert "/" not in str(caught.value), "a path of the server is shown"
    answer = client.predict(image=handle_file(picture), top_k=4, api_name="/search_cars")
    assert len(answer["matches"]) == 4


@pytest.mark.parametrize(("top_k", "said"), [(0, "from 1 to 100"), (101, "from 1 to 100"), (2.5, "whole")])
def test_a_top_k_that_cannot_be_is_refused(client: Client, picture: Path, top_k: float, said: str) -> None:
    with pytest.raises(AppError, match=said):
        client.predict(image=handle_file(picture), top_k=top_k, api_name="/search_cifar10")


def test_a_missing_picture_is_refused(client: Client) -> None:
    with pytest.raises(AppError, match="No picture was given"):
        client.predict(image=None, top_k=4, api_name="/search_cifar10")


def test_only_the_two_endpoints_are_offered(address: str) -> None:
    info = httpx.get(f"{address}gradio_api/info", timeout=30).json()
    assert set(info["named_endpoints"]) == {"/search_cifar10", "/search_cars"}
    assert info["unnamed_endpoints"] == {}
    for endpoint in info["named_endpoints"].values():
        assert [parameter["parameter_name"] for parameter in endpoint["parameters"]] == ["image", "top_k"]
        assert "look most like" in endpoint["description"]


def test_the_tools_of_mcp_are_named_as_the_endpoints(demo: gr.Blocks) -> None:
    """Gradio names a tool after its function; that both tools work was tried with the extra and a client of MCP."""
    offered = [function for function in demo.fns.values() if function.api_visibility == "public"]
    assert [function.api_name for function in offered] == [function.fn.__name__ for function in offered]
    assert len(offered) == 2


def test_the_page_is_healthy_and_serves_no_other_file(address: str, picture: Path) -> None:
    assert httpx.get(f"{address}healthz", timeout=30).text == "ok"
    for path in (picture, Path(__file__)):
        assert httpx.get(f"{address}gradio_api/file={path}", timeout=30).status_code == 403


def test_a_query_is_one_line_in_the_log_without_a_name(
    client: Client, picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="demo"):
        client.predict(image=handle_file(picture), top_k=3, api_name="/search_cars")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("demo")]
    assert len(lines) == 1
    assert "cars by body: top 3" in lines[0]
    assert "somebody" not in lines[0]
