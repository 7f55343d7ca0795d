"""Searches with several pictures, and with pictures that the matches shall not be like."""

import numpy as np
import pytest

from demo.collection import Collection
from demo.search import nearest, refined, search_gallery, search_pictures
from tests.demo.conftest import drawn_picture, noise
from visim_models import QueryError

WAY = "by body"


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_several_pictures_search_with_the_average_of_their_directions(collections: list[Collection]) -> None:
    cars = collections[1]
    pictures = [drawn_picture(3), drawn_picture(11)]
    search = search_pictures(cars, pictures, way=WAY, top_k=4)
    directions = [unit(cars.ways[WAY].embed(picture)) for picture in pictures]
    assert search.embedding == pytest.approx(np.mean(directions, axis=0), abs=1e-5)
    expected = cars.ways[WAY].gallery.embeddings @ unit(search.embedding)
    expected /= cars.ways[WAY].gallery.norms
    assert [match.score for match in search.matches] == pytest.approx(sorted(expected, reverse=True)[:4], abs=1e-3)
    assert not search.classes


def test_the_verdict_on_several_pictures_is_on_the_strangest(collections: list[Collection]) -> None:
    cars = collections[1]
    both = search_pictures(cars, [drawn_picture(3), noise(5)], way=WAY, top_k=4)
    alone = search_pictures(cars, [noise(5)], way=WAY, top_k=4)
    assert both.verdict is not None
    assert both.verdict.is_ood
    assert both.verdict == alone.verdict
    assert both.is_hidden


def test_less_like_a_picture_leaves_out_what_is_like_it(collections: list[Collection]) -> None:
    cars = collections[1]
    similarity = cars.ways[WAY]
    gallery = similarity.gallery
    every = search_pictures(cars, [drawn_picture(7)], way=WAY, top_k=len(gallery.file_names)).matches
    search = search_pictures(cars, [drawn_picture(7)], way=WAY, top_k=4)
    unwanted = search.matches[1].file_name
    found = refined(cars, search, less=(unwanted,)).matches
    directions = gallery.embeddings / gallery.norms[:, None]
    likeness = directions @ directions[gallery.index_of(unwanted)]
    left = [match for match in every if match.file_name != unwanted]
    ranks = {match.file_name: match.score - 0.5 * likeness[gallery.index_of(match.file_name)] for match in left}
    assert {match.file_name for match in found} == set(sorted(ranks, key=lambda name: -ranks[name])[:4])
    assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)  # with the query
    assert [match.file_name for match in found] != [match.file_name for match in search.matches]
    again = refined(cars, refined(cars, search, less=(unwanted,)), less=()).matches
    assert [match.file_name for match in again] == [match.file_name for match in search.matches]


def test_less_goes_with_a_label_and_with_a_picture_of_the_gallery(collections: list[Collection]) -> None:
    cars = collections[1]
    search = search_gallery(
        cars, "suv/suv_0001.jpg", way=WAY, top_k=4, label="suv", less=("suv/suv_0002.jpg", "suv/suv_0003.jpg")
    )
    assert search.asked is not None
    assert search.asked.less == ("suv/suv_0002.jpg", "suv/suv_0003.jpg")
    names = {match.file_name for match in search.matches}
    assert names == {"suv/suv_0000.jpg", "suv/suv_0001.jpg", "suv/suv_0004.jpg"}


def test_less_like_what_is_not_there_is_an_error(collections: list[Collection]) -> None:
    similarity = collections[1].ways[WAY]
    with pytest.raises(QueryError, match="no picture"):
        nearest(similarity, similarity.gallery.embeddings[0], top_k=2, less=("none.jpg",))
