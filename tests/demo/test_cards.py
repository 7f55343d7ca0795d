"""The words below and beside the tiles."""

from dataclasses import replace

import pytest

from demo.cards import meaning
from demo.search import Search
from demo.verdict import Words
from visim_models import Match, OODVerdict

CARS = Words("cars", "a car", "cars", is_own=False)


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


def test_the_probability_is_said_of_usual_searches_alone() -> None:
    known = OODVerdict(is_ood=False, can_tell=True, score=0.0, p_value=0.5, false_alarm_rate=0.05, calibration_size=60)
    strange = replace(known, is_ood=True)
    usual = Search(way="by body", embedding=None, matches=[], verdict=known)
    assert usual.is_usual
    assert replace(usual, verdict=None).is_usual
    for unusual in ({"verdict": strange}, {"label": "suv"}, {"files": ("a.png", "b.png")}):
        assert not replace(usual, **unusual).is_usual
