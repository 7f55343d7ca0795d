"""Searches with several pictures or less like others, and the address of a search, which may come from anyone."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

from demo.collection import Collection
from demo.search import Asked, Options, nearest, refined, search_gallery, search_pictures
from tests.demo.conftest import drawn_picture, noise
from visim_models import QueryError

WAY = "by body"
FOUR = Options(way=WAY, top_k=4)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_several_pictures_search_with_the_average_of_their_directions(collections: list[Collection]) -> None:
    cars = collections[1]
    pictures = [drawn_picture(3), drawn_picture(11)]
    search = search_pictures(cars, pictures, FOUR)
    directions = [unit(cars.ways[WAY].embed(picture)) for picture in pictures]
    assert search.embedding == pytest.approx(np.mean(directions, axis=0), abs=1e-5)
    expected = cars.ways[WAY].gallery.embeddings @ unit(search.embedding)
    expected /= cars.ways[WAY].gallery.norms
    assert [match.score for match in search.matches] == pytest.approx(sorted(expected, reverse=True)[:4], abs=1e-3)
    assert not search.classes


def test_the_verdict_on_several_pictures_is_on_the_strangest(collections: list[Collection]) -> None:
    cars = collections[1]
    both = search_pictures(cars, [drawn_picture(3), noise(5)], FOUR)
    alone = search_pictures(cars, [noise(5)], FOUR)
    assert both.verdict is not None
    assert both.verdict.is_ood
    assert both.verdict == alone.verdict
    assert both.is_hidden


def test_less_like_a_picture_leaves_out_what_is_like_it(collections: list[Collection]) -> None:
    cars = collections[1]
    similarity = cars.ways[WAY]
    gallery = similarity.gallery
    every = search_pictures(cars, [drawn_picture(7)], replace(FOUR, top_k=len(gallery))).matches
    search = search_pictures(cars, [drawn_picture(7)], FOUR)
    unwanted = search.matches[1].file_name
    found = refined(cars, search, top_k=4, most=12, less=(unwanted,)).matches
    directions = gallery.embeddings / gallery.norms[:, None]
    likeness = directions @ directions[gallery.index_of(unwanted)]
    left = [match for match in every if match.file_name != unwanted]
    ranks = {match.file_name: match.score - 0.5 * likeness[gallery.index_of(match.file_name)] for match in left}
    assert {match.file_name for match in found} == set(sorted(ranks, key=lambda name: -ranks[name])[:4])
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)  # with the query
    assert [match.file_name for match in found] != [match.file_name for match in search.matches]
    again = refined(cars, refined(cars, search, top_k=4, most=12, less=(unwanted,)), top_k=4, most=12, less=()).matches
    assert [match.file_name for match in again] == [match.file_name for match in search.matches]


def test_less_goes_with_a_label_and_with_a_picture_of_the_gallery(collections: list[Collection]) -> None:
    cars = collections[1]
    options = replace(FOUR, label="suv", less=("suv/suv_0002.jpg", "suv/suv_0003.jpg"))
    search = search_gallery(cars, "suv/suv_0001.jpg", options)
    assert search.asked is not None
    assert search.asked.less == ("suv/suv_0002.jpg", "suv/suv_0003.jpg")
    names = {match.file_name for match in search.matches}
    assert names == {"suv/suv_0000.jpg", "suv/suv_0001.jpg", "suv/suv_0004.jpg"}


def test_less_like_what_is_not_there_is_an_error(collections: list[Collection]) -> None:
    similarity = collections[1].ways[WAY]
    with pytest.raises(QueryError, match="no picture"):
        nearest(similarity, similarity.gallery.embeddings[0], replace(FOUR, less=("none.jpg",)))


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
