"""Filters by columns mean what they say, and nothing that cannot be read gets through."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visim_models import Gallery, QueryError
from visim_models.search import PictureTexts
from visim_models.search.where import ColumnValues, Where

TEXTS = PictureTexts(
    [f"{number}.jpg" for number in range(5)],
    ["suv", "suv", "sedan", "truck", ""],
    {
        "price": ["19999", "20000.0", "1e3", "free", ""],
        "city": ["Bonn", 'B"onn', "it's", "back\\slash", "ключ"],
        "on sale": ["2024-05-31", "2024-06-01", "2023-12-31", "", "2025"],
    },
)


def found(text: str) -> list[int]:
    return np.flatnonzero(Where.parse(text).mask(ColumnValues(TEXTS.by_column))).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price < 20000", [0, 2]),
        ("price <= 2e4", [0, 1, 2]),
        ("price != 1000", [0, 1, 3, 4]),
        ("price >= -.5", [0, 1, 2]),
        ("price == 'free'", [3]),
        ('price < 20000 and city == "Bonn"', [0]),
        ("label == 'suv' or label == 'truck' and price > 0", [0, 1]),
        ("(label == 'suv' or label == 'truck') and not price == 20000", [0, 3]),
        ("not not label in ['sedan', \"\"]", [2, 4]),
        ("price in [1000, 'free', 20000]", [1, 2, 3]),
        ("`on sale` >= '2024-01-01' AND `on sale` < '2025'", [0, 1]),
        (r"""city == 'B"onn' or city == 'it\'s' or city == "back\\slash" or city == 'ключ'""", [1, 2, 3, 4]),
        ("file_name == '3.jpg'", [3]),
        ("not price < 20000", [1, 3, 4]),
    ],
)
def test_what_a_filter_lets_through(text: str, expected: list[int]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a column"),
        ("price", "== !="),
        ("price <", "a number, or a text"),
        ("price < Bonn", "a number, or a text"),
        ("price < 1 city == 2", "and, or, or the end"),
        ("price = 1", "cannot be read at '= 1'"),
        ("price < '1", "cannot be read"),
        ("1 < price", "a column"),
        ("(price < 1", r"\)"),
        ("price in [1", r"\]"),
        ("price in []", "a number, or a text"),
        ("and", "a column"),
        ("price < 1 and", "a column"),
        ("__import__('os').system('x')", "== !="),
        ("(" * 60 + "price < 1" + ")" * 60, "nested"),
        ("not " * 60 + "price < 1", "nested"),
        ("price < 1 or " * 300 + "price < 1", "2,000 letters"),
        ("price < 1; drop", "cannot be read at '; drop'"),
        ("colour == 'red'", "no column 'colour' .* file_name, label, price, city, on sale"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        found(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["price", "(", ")", "not", "and", "or", "<", "==", "in", "[", "]", ",", "1", "'a'", "`"]))
)
def test_whatever_is_written_only_a_query_error_comes_out(tokens: list[str]) -> None:
    with suppress(QueryError):
        assert set(found(" ".join(tokens))) <= set(range(5))


def test_a_gallery_is_searched_by_it_and_by_its_columns_as_they_are_now() -> None:
    gallery = Gallery(TEXTS.file_names, TEXTS.labels, np.eye(5), columns={"price": TEXTS.columns["price"]})
    query = np.array([[1.0, 2, 3, 4, 5]])
    assert gallery.search(query, top_k=9, where="price > 0")[1].tolist() == [[2, 1, 0]]
    assert gallery.search(query, top_k=9, where="price > 0", label="suv")[1].tolist() == [[1, 0]]
    assert gallery.search(query, top_k=9, where="price > 99999")[1].shape == (1, 0)
    gallery.columns = {"price": ["1", "x", "x", "x", "2"]}
    assert gallery.search(query, top_k=9, where="price > 0")[1].tolist() == [[4, 0]]
    with pytest.raises(QueryError, match="no column 'size'"):
        gallery.search(query, top_k=1, where="size > 3")


@pytest.mark.parametrize(
    ("text", "equalities"),
    [
        ("price < 3", []),
        ("label == 'suv' and price < 3", [[("label", "suv")]]),
        ("(label == 'suv' or city in ['a', 'b']) and label != 'x'", [[("label", "suv"), ("city", "a"), ("city", "b")]]),
        ("label == 'suv' or price < 3", []),
        ("not label == 'suv'", []),
        ("(label == 'a' and city == 'b') or label == 'c'", []),
    ],
)
def test_what_an_engine_is_asked_for(text: str, equalities: list[list[tuple[str, str]]]) -> None:
    assert Where.parse(text).equalities() == equalities
