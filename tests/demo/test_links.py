"""The address of a search, which may come from anyone."""

from typing import Any

import pytest

from demo.links import Asked


@pytest.mark.parametrize(
    "asked",
    [
        Asked(name="suv/suv 1&2.jpg", way="by look", top_k=6),
        Asked(name="2", source="example", way="by body", top_k=4),
        Asked(name="t-o_k", source="upload", way="by body", top_k=4),
        Asked(name="a.jpg", way="by body", top_k=4, less=("b & c.jpg", "d.jpg")),
    ],
)
def test_an_address_asks_for_what_it_was_made_of(asked: Asked) -> None:
    from urllib.parse import parse_qsl

    assert Asked.read("cars", dict(parse_qsl(asked.address("cars").removeprefix("?")))) == asked


def test_a_picture_of_this_visit_is_in_no_address() -> None:
    assert Asked(name="/a/b.png", source="visit").address("cars") == ""


@pytest.mark.parametrize("values", [{}, {"cars": ""}, {"other": "a.jpg"}])
def test_what_asks_for_nothing_is_nothing(values: dict[str, Any]) -> None:
    assert Asked.read("cars", values) is None


@pytest.mark.parametrize("number", ["-1", "1e9", "9" * 5000, "", [], {"a": 1}, None, "²"])
def test_a_number_that_does_not_fit_counts_as_left_out(number: Any) -> None:
    asked = Asked.read("cars", {"cars": "a.jpg", "of": ["upload"], "way": {}, "top_k": number})
    assert asked is not None
    assert (asked.top_k, asked.source) == (None, "gallery")
