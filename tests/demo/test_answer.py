"""From an answer to HTML: the verdict in words and its statistics, the tiles, a gallery's own columns, the table."""

from dataclasses import replace
from typing import Any

import pytest

from demo.answer import (
    chosen_card,
    crop_frame,
    explain_basis,
    explain_classes,
    explain_verdict,
    matches_csv,
    meaning,
    message,
    mood_of,
    tile_grid,
)
from demo.collection import Collection
from demo.files import Tile, Tiles
from demo.search import Found, Options, Search
from demo.texts import Words, writing_in
from tests.demo.conftest import CARS
from visim_models import GalleryAbout, Match, OODVerdict
from visim_models.repo_folder.metrics import Figure

ABOUT = GalleryAbout(columns=("price", "maker", "url"), link="url")


def gallery(key: str = "cars", one: str = "a car", many: str = "cars", **more: Any) -> Collection:
    """A gallery whose pictures are not asked for."""
    words = Words(key, one, many, is_own=key != "cars")
    return Collection(key=key, title="", words=words, ways={}, tiles=Tiles(None, None), **more)


def verdict(at_least_as_strange: int, *, size: int = 380, rate: float = 0.05, can_tell: bool = True) -> OODVerdict:
    p_value = (1 + at_least_as_strange) / (size + 1)
    return OODVerdict(p_value <= rate, can_tell, 1.5, p_value, rate, size)


def searched(collections: list[Collection], verdict: OODVerdict | None) -> Search:
    way = next(iter(collections[1].ways))
    return Search(options=Options(way=way, top_k=4), embedding=None, matches=[], verdict=verdict)


def figures(**values: float) -> dict[str, Figure]:
    return {
        name: Figure(name=name, value=value, unit="%", n=709, what="", tolerance=1.0) for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("at_least_as_strange", "mood", "claim", "alarm"),
    [
        (0, "strange", "This does not look like a car.", "About one in 100 real cars gets this warning."),
        (2, "strange", "This does not look like a car.", "About one in 100 real cars gets this warning."),
        (3, "unsure", "This is probably not a car.", "About one in 20 real cars gets this warning."),
        (18, "unsure", "This is probably not a car.", "About one in 20 real cars gets this warning."),
        (19, "known", "This looks like a car.", ""),
        (380, "known", "This looks like a car.", ""),
    ],
)
def test_the_verdict_is_plain_and_says_how_often_it_is_wrong(
    at_least_as_strange: int, mood: str, claim: str, alarm: str
) -> None:
    judged = verdict(at_least_as_strange)
    assert mood_of(judged) == mood
    said = explain_verdict(judged, gallery())
    assert claim in said
    assert alarm in said
    assert ("gets this warning" in said) == bool(alarm)
    assert "%" not in said


def test_one_right_picture_in_twenty_gets_a_warning() -> None:
    moods = [mood_of(verdict(rank, size=999)) for rank in range(1, 1000)]  # p-values of right pictures are uniform
    assert sum(mood != "known" for mood in moods) / len(moods) == pytest.approx(0.05, abs=0.002)


def test_a_rate_that_was_measured_is_said_instead_of_the_one_it_is_set_for() -> None:
    measured = figures(ood_false_alarms_at_5=2.68, ood_false_alarms_at_1=0.141)
    assert "About one in 35 real cars" in explain_verdict(verdict(10), gallery(figures=measured))
    assert "Fewer than one in 500 real cars" in explain_verdict(verdict(0), gallery(figures=measured))
    wild = gallery(figures={**measured, **figures(wild_false_alarms_at_5=9.8)})
    assert "About one in 10 real cars" in explain_verdict(verdict(10), wild)


@pytest.mark.parametrize("at_least_as_strange", [0, 380])
def test_what_the_library_cannot_tell_the_page_does_not_claim(
    collections: list[Collection], at_least_as_strange: int
) -> None:
    search = searched(collections, verdict(at_least_as_strange, can_tell=False))
    assert search.verdict is not None
    assert not search.is_hidden
    said = explain_verdict(search.verdict, collections[1])
    assert "Cannot tell whether this is a car." in said
    assert "misses most of what is surely of another kind" in said
    assert "visim-plain" in said
    assert "stranger than" not in explain_basis(search, collections[1])


def test_the_statistics_are_in_the_fold(collections: list[Collection]) -> None:
    measured = figures(ood_false_alarms_at_5=2.68, ood_found_at_5_noise=99.6, other=1)
    said = explain_basis(searched(collections, verdict(30)), replace(collections[1], figures=measured))
    assert "It is stranger than 92.1 % of 380 cars that were held out; the warning is set for 5 % false alarms." in said
    assert "Measured on 709 other cars: 2.7 % of them got a warning, firm or mild." in said
    assert "Of pictures of other kinds, it finds 100 % of noise." in said
    assert "What a percentage means was measured with 100 held-out pictures" in said
    own = replace(collections[1], is_self_calibrated=True, figures=measured)
    said = explain_basis(searched(collections, verdict(200)), own)
    assert "stranger than 47.4 % of 380 pictures of this gallery" in said
    assert "Tried on drawn pictures (709 of each kind), the verdict finds 100 % of noise." in said


def test_a_rule_without_calibration_says_so() -> None:
    said = explain_verdict(OODVerdict(True, True, 0.7, 1.0, 0.05, 0), gallery())
    assert "does not look like a car" in said
    assert "not calibrated on any pictures" in said


def test_a_gallery_of_ones_own_speaks_of_its_own_pictures() -> None:
    pictures = gallery("x", GalleryAbout.one, "pictures")
    assert "This looks like this gallery&#x27;s pictures." in explain_verdict(verdict(200), pictures)
    chairs = explain_verdict(verdict(10), gallery("x", "a chair", "chairs"))
    assert "This is probably not a chair." in chairs
    assert "About one in 20 pictures of this gallery gets this warning." in chairs


def test_the_label_is_said_with_the_others() -> None:
    said = explain_classes({"coupe": 0.951, "suv": 0.03, "sedan": 0.017, "truck": 0.002}, CARS)
    assert "<strong>Body: Coupe, 95 %</strong>" in said
    assert "SUV 3 % · sedan 2 % · truck &lt;1 %" in said
    said = explain_classes({"suv": 0.99, "<b>": 0.01}, CARS)
    assert "SUV, 99 %" in said
    assert "<b>" not in said


def test_the_verdict_is_said_in_german_too() -> None:
    with writing_in("de"):
        said = explain_verdict(verdict(10), gallery())
    assert "Von 20 echten Autos bekommt etwa eines diese Warnung." in said


def test_a_message_is_text_and_never_markup() -> None:
    assert "<script>" not in message("error", "<script>alert(1)</script>", "<b>")


@pytest.mark.parametrize(
    ("probability", "said"),
    [
        (None, ""),
        (0.964, "about 96 in 100 matches at 90 % are the same body."),
        (0.98, "nearly all matches at 90 % are the same body."),
        (1.0, "nearly all matches at 90 % are the same body."),
        (0.03, "about 3 in 100 matches at 90 % are the same body."),
        (0.0, "hardly any matches at 90 % are the same body."),
    ],
)
def test_a_percent_is_said_in_words_no_surer_than_it_is(probability: float | None, said: str) -> None:
    match = Match("a.jpg", "suv", 0.9, probability=probability)
    assert meaning(match, CARS).removeprefix("What the percentage means: ") == said


def test_the_probability_is_said_of_usual_searches_alone(collections: list[Collection]) -> None:
    usual = searched(collections, verdict(200))
    assert usual.is_usual
    assert replace(usual, verdict=None).is_usual
    of_suvs = replace(usual.options, label="suv")
    for unusual in ({"verdict": verdict(0)}, {"options": of_suvs}, {"files": ("a.png", "b.png")}):
        assert not replace(usual, **unusual).is_usual  # type: ignore[arg-type]


def shown(**columns: str) -> tuple[str, str]:
    """Write the tile of a match with these columns, and its card."""
    found = Found(Match("chairs/oak.jpg", "chairs", 0.9, columns), Tile("a.png"))
    chairs = gallery("x", "a chair", "chairs", about=ABOUT)
    search = Search(options=Options(way="", top_k=1), embedding=None, matches=[found.match], found=[found])
    return tile_grid(search, chairs), chosen_card(found, chairs, states_meaning=False, data="")


def test_below_a_tile_is_a_short_line_without_the_link() -> None:
    tile, _ = shown(price="120 €\n\nnew", maker="x" * 500, url="https://shop.example/1")
    assert f"<bdi>price: 120 € new · maker: {'x' * 52}…</bdi>" in tile
    tile, _ = shown(price="", maker=" ")
    assert "visim-facts-line" not in tile


def test_the_chosen_tile_has_all_columns_and_the_link() -> None:
    _, said = shown(price="<b>120</b> & up", maker="", url='https://a@shop.example/?a="1"&b=2')
    assert "<dt><bdi>price</bdi></dt><dd><bdi>&lt;b&gt;120&lt;/b&gt; &amp; up</bdi></dd>" in said
    assert "maker" not in said
    assert 'href="https://a@shop.example/?a=&quot;1&quot;&amp;b=2" target="_blank" rel="noopener nofollow"' in said
    assert "at <bdi>shop.example</bdi>" in said


def test_what_is_no_web_address_is_no_link() -> None:
    wrong = [
        "",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "//shop.example",
        "https://a b",
        "/x",
    ]
    assert [link for link in wrong if "<a" in "".join(shown(price="1", url=link))] == []
    assert "http://[::1" in shown(url="http://[::1")[1]  # a broken address is a link to nowhere, and no error


def test_the_table_has_the_columns_and_no_formulas() -> None:
    match = Match("chairs/oak.jpg", "chairs", 0.9, {"price": "=1+1", "maker": "Oak"})
    lines = matches_csv([match], ["price", "maker"]).splitlines()
    assert lines == ["rank,file_name,label,score,price,maker", "1,chairs/oak.jpg,chairs,0.900000,'=1+1,Oak"]


def test_the_frame_for_a_part_is_reached_by_the_keyboard() -> None:
    text = crop_frame("gradio_api/file=a.png", data=' data-answer="1"')
    assert 'tabindex="0"' in text
    assert 'src="gradio_api/file=a.png"' in text
