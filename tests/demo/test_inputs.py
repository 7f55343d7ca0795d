"""Inputs that the page never sends get one clear message, and the log no traceback."""

import logging
from typing import Any

import gradio as gr
import httpx
import pytest

from demo.inputs import read_index, read_top_k
from tests.demo.conftest import ask, ask_page, drawn_picture, function_index, upload
from visim_models import QueryError


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
    assert read_index(gr.EventData(None, {"index": 2})) == 2
