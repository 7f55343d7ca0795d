"""Queries of several pictures, and matches that are less like others."""

import numpy as np
import pytest
from PIL import Image

from tests.builders import drawn_pictures, tiny_similarity
from visim_models import Gallery, Match, QueryError
from visim_models.search.feedback import average_embedding, less_like, score_pair
from visim_models.search.results import MatchProbability

GALLERY = Gallery(["a", "b", "c", "d"], [""] * 4, np.array([[1.0, 0.0], [2.0, 2.0], [0.0, 3.0], [0.0, 0.0]]))
MATCHES = [Match("b", "", 0.9), Match("c", "", 0.8), Match("a", "", 0.7), Match("d", "", 0.1)]


def test_an_average_counts_each_picture_alike() -> None:
    average = average_embedding([np.array([10.0, 0.0], np.float32), np.array([0.0, 0.1], np.float32)])
    assert average.tolist() == pytest.approx([0.5, 0.5])
    assert average.dtype == np.float32
    assert average_embedding([np.zeros(2, np.float32)]).tolist() == [0, 0]


def test_matches_that_are_like_an_unwanted_picture_come_later() -> None:
    # Ranks: b 0.9 - 0.5 * 0.7071 = 0.546, a 0.7, d 0.1; the unwanted c is left out.
    found = less_like(GALLERY, MATCHES, ["c"])
    assert [match.file_name for match in found] == ["a", "b", "d"]
    assert [match.score for match in found] == [0.7, 0.9, 0.1]


def test_several_unwanted_pictures_count_by_their_mean() -> None:
    # Ranks: b 0.9 - 0.5 * 0.7071, d 0.1.
    assert [match.file_name for match in less_like(GALLERY, MATCHES, ["a", "c"])] == ["b", "d"]
    assert less_like(GALLERY, MATCHES[:1], ["b"]) == []


def test_an_unwanted_picture_that_is_not_there_is_an_error() -> None:
    with pytest.raises(QueryError, match="no picture 'none'"):
        less_like(GALLERY, MATCHES, ["none"])


def test_what_the_likeness_of_two_pictures_means() -> None:
    tiny = tiny_similarity(12)
    one, other = (Image.fromarray(picture) for picture in drawn_pictures(2))
    copy = score_pair(tiny, one, one.resize((40, 40)))
    assert copy.is_copy
    assert copy.score > 0.99
    different = score_pair(tiny, one, other)
    assert (different.is_copy, different.probability) == (False, None)
    a, b = (row / np.linalg.norm(row) for row in tiny.embed_batch([one, other]))
    assert different.score == pytest.approx(float(a @ b), abs=1e-5)
    rows = tiny.gallery.embeddings / tiny.gallery.norms[:, None]
    pairs = [rows[i] @ rows[j] for i in range(12) for j in range(i)]
    assert different.share_below == pytest.approx(np.mean([score < different.score for score in pairs]), abs=0.02)
    tiny.match_probability = MatchProbability((0.0, 1.0), (0.0, 1.0), 5)
    assert score_pair(tiny, one, other).probability == pytest.approx(max(different.score, 0), abs=1e-5)
