"""The further columns of a match, which anyone may have written."""

import pytest

from demo.facts import explain_facts, fact_line
from demo.search import matches_csv
from visim_models import GalleryAbout, Match

ABOUT = GalleryAbout(columns=("price", "maker", "url"), link="url")


def match(**columns: str) -> Match:
    return Match("chairs/oak.jpg", "chairs", 0.9, columns)


def test_below_a_tile_is_a_short_line_without_the_link() -> None:
    found = match(price="120 €\n\nnew", maker="x" * 500, url="https://shop.example/1")
    price, maker = fact_line(found, ABOUT).split(" · ")
    assert price == "price: 120 € new"
    assert (len(maker), maker[-1]) == (60, "…")
    assert fact_line(match(price="", maker=" "), ABOUT) == ""


def test_the_chosen_tile_has_all_and_the_link() -> None:
    said = explain_facts(match(price="<b>120</b> & up", maker="", url='https://a@shop.example/?a="1"&b=2'), ABOUT)
    assert "<dt><bdi>price</bdi></dt><dd><bdi>&lt;b&gt;120&lt;/b&gt; &amp; up</bdi></dd>" in said
    assert "maker" not in said
    assert 'href="https://a@shop.example/?a=&quot;1&quot;&amp;b=2" target="_blank" rel="noopener nofollow"' in said
    assert "at <bdi>shop.example</bdi>" in said


@pytest.mark.parametrize(
    "link",
    ["", "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "//shop.example", "https://a b", "/x"],
)
def test_what_is_no_web_address_is_no_link(link: str) -> None:
    assert "<a" not in explain_facts(match(price="1", url=link), ABOUT)


def test_a_broken_address_is_a_link_to_nowhere_and_no_error() -> None:
    assert "http://[::1" in explain_facts(match(url="http://[::1"), ABOUT)


def test_the_table_has_the_columns_and_no_formulas() -> None:
    lines = matches_csv([match(price="=1+1", maker="Oak")], ["price", "maker"]).splitlines()
    assert lines == ["rank,file_name,label,score,price,maker", "1,chairs/oak.jpg,chairs,0.900000,'=1+1,Oak"]
