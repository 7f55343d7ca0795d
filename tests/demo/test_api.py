"""The endpoints for programs, through the real client: they answer as the library does, and survive hostile uploads."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


NAMES = {"/search_cifar10", "/search_cars", "/embed_cifar10", "/embed_cars", "/classify_cars"}


def test_only_the_endpoints_for_programs_are_offered(address: str) -> None:
    info = httpx.get(f"{address}gradio_api/info", timeout=30).json()
    assert set(info["named_endpoints"]) == NAMES
    assert info["unnamed_endpoints"] == {}
    endpoint = info["named_endpoints"]["/search_cars"]
    names = [parameter["parameter_name"] for parameter in endpoint["parameters"]]
    assert names == ["image", "top_k", "label", "way", "crop", "images", "less", "at_least"]
    assert [each["parameter_has_default"] for each in endpoint["parameters"]] == [False, *[True] * 7]
    for said in (
        "look most like",
        '"one of these", "not one of these" or "cannot tell"',
        "'enum': ['', 'by body', 'by look']",
    ):
        assert said in endpoint["description"] or said in str(endpoint)


def test_an_endpoint_searches_in_all_ways_of_the_page(client: Client, picture: Path, tmp_path: Path) -> None:
    def search(**asked: Any) -> dict[str, Any]:
        answer: dict[str, Any] = client.predict(image=handle_file(picture), api_name="/search_cars", **asked)
        return answer

    plain = search(top_k=5)
    names = [match["file_name"] for match in plain["matches"]]
    assert {match["label"] for match in search(label="truck")["matches"]} == {"truck"}
    assert search(label="boat")["matches"] == []
    assert search(way="by look")["matches"] != plain["matches"]
    less = search(top_k=5, less=[names[1]])["matches"]
    assert names[1] not in [match["file_name"] for match in less]
    least = plain["matches"][1]["score"]
    assert len(search(top_k=5, at_least=least)["matches"]) == 2
    part = search(crop=[0, 0, 0.5, 0.5])
    assert (part["crop"], plain["crop"]) == ([0, 0, 0.5, 0.5], None)
    assert part["matches"][0]["score"] != plain["matches"][0]["score"]
    assert plain["match_probability"] == {"queries": 100, "calibration_error": None}
    assert search(way="by look")["match_probability"] is None
    (tmp_path / "noise.png").write_bytes(png_bytes(noise(5)))
    both = search(images=[handle_file(tmp_path / "noise.png")])
    assert (plain["ood"]["word"], both["ood"]["word"]) == ("one of these", "not one of these")
    assert both["matches"] != plain["matches"][:4]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"way": "by smell"}, "one of by body, by look"), ({"way": 3}, "one of by body"),
        ({"crop": [0, 0, 2, 2]}, "draw a frame"), ({"crop": "all"}, "draw a frame"), ({"less": "a.jpg"}, "at most 8"),
        ({"less": ["none.jpg"]}, "no picture"), ({"less": ["a"] * 9}, "at most 8"), ({"at_least": "x"}, "a number"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_explained(client: Client, picture: Path, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(AppError, match=said):
        client.predict(image=handle_file(picture), api_name="/search_cars", **asked)


def test_a_picture_is_embedded_and_classified(client: Client, collections: list[Collection], picture: Path) -> None:
    cars = collections[1].usual
    answer = client.predict(image=handle_file(picture), api_name="/embed_cars")
    assert answer["embedding"] == pytest.approx(cars.embed(picture).tolist(), abs=1e-5)
    assert (answer["way"], answer["model_sha256"]) == ("by body", cars.gallery.weights_sha256)
    answer = client.predict(image=handle_file(picture), api_name="/classify_cars")
    assert answer["classes"] == pytest.approx(cars.classify(picture), abs=1e-5)
    assert answer["ood"]["word"] == cars.search(picture).ood.word
    with pytest.raises(AppError, match="No picture was given"):
        client.predict(image=None, api_name="/classify_cars")


def test_one_request_answers_as_the_endpoint_does(http: httpx.Client, client: Client, picture: Path) -> None:
    answer = http.post("search/cars", content=picture.read_bytes(), params={"top_k": 3, "label": "suv"})
    assert answer.status_code == 200
    expected = client.predict(image=handle_file(picture), top_k=3, label="suv", api_name="/search_cars")
    assert answer.json().keys() == expected.keys()
    names, expected_names = ([each["file_name"] for each in found["matches"]] for found in (answer.json(), expected))
    assert names == expected_names
    assert answer.json()["ood"] == pytest.approx(expected["ood"])
    cropped = http.post("search/cars?crop=0,0,0.5,0.5&at_least=0.1&less=suv/suv_0001.jpg", content=picture.read_bytes())
    assert cropped.json()["crop"] == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("search/boats", b"x", 404, "cifar10, cars"), ("search/cars", b"", 422, "No picture"),
        ("search/cars", b"x", 422, "not a"), ("search/cars?top_k=0", b"x", 422, "from 1 to 100"),
        ("search/cars?top_k=many", b"x", 422, "must be numbers"), ("search/cars?crop=1,2", b"x", 422, "not a"),
        ("search/cars", bytes(34 * 2**20), 413, "too large"),
    ],
)  # fmt: skip
def test_one_request_that_does_not_fit_is_refused(
    http: httpx.Client, path: str, content: bytes, status: int, said: str
) -> None:
    answer = http.post(path, content=content)
    assert (answer.status_code, bool(re.search(said, answer.text))) == (status, True), answer.text


def test_the_tools_of_mcp_are_named_as_the_endpoints(demo: gr.Blocks) -> None:
    """Gradio names a tool after its function; that both tools work was tried with the extra and a client of MCP."""
    offered = [function for function in demo.fns.values() if function.api_visibility == "public"]
    assert [function.api_name for function in offered] == [function.fn.__name__ for function in offered]
    assert len(offered) == len(NAMES)


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
